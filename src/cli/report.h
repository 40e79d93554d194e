/*
 * report: what there is to say of a sandbox, gathered once and rendered as text or JSON; for
 * `ls`, `show` and `new`.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "review/quick.h"
#include "store/root.h"
#include "store/sandbox.h"

struct report {
	char *name;
	enum sandbox_state state;
	char *broken;		/* why, in words, when it is */
	struct sandbox sandbox; /* empty when it is broken */
	struct glance glance;
	enum work work; /* of a broken one WORK_UNPERSISTED: nobody knows what it holds */
};

/* A broken sandbox is a report too; -1 when there is none of this name. */
int report_gather(const struct root *root, const char *name, struct report *ret, struct error *err);

/* Looks closer whether its work is unpersisted (judge.h), which may take longer. */
int report_judge(const struct root *root, struct report *report, struct error *err);

/*
 * The reports of many, in the order of the names, by as many threads as are worth it. One that is
 * removed meanwhile has no name. Their sandboxes are closed.
 */
void report_gather_all(const struct root *root, const struct strv *names, struct report *ret);
void report_release(struct report *report);
#define autoreport __attribute__((cleanup(report_release)))

/* The stable fields of house.md 8. */
json_t *report_json(const struct report *report);
int report_json_one(const struct root *root, const char *name, struct error *err);

/* "3 days", "12 s": how long ago. */
char *report_age(const struct report *report);
/* "1.2 MiB" */
char *report_size(uint64_t bytes);
