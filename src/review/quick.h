/*
 * quick: whether a sandbox holds work that is nowhere else, told without starting a process.
 *
 * It is computed, never remembered: a host's ref that is deleted or moved after a persist makes the
 * sandbox's work unpersisted again. What cannot be told quickly is WORK_UNPERSISTED; judge.h looks
 * closer.
 */
#pragma once

#include "base/error.h"
#include "store/root.h"
#include "store/sandbox.h"
#include "view/view.h"

enum work {
	WORK_NONE,	  /* work trees and git dirs are as they were; the home does not count */
	WORK_PERSISTED,	  /* all of it is on the host: the memo holds (memo.h) */
	WORK_UNPERSISTED, /* perhaps */
};

/* "none", "persisted", "unpersisted": stable, as they stand in JSON. */
const char *work_name(enum work work);

/* What one look at a sandbox tells. */
struct glance {
	struct view_survey survey; /* less what git does by itself (changes.h) */
	enum work work;
};

int glance_at(const struct root *root, const struct sandbox *sandbox, struct glance *ret,
	      struct error *err);
void glance_release(struct glance *glance);
#define autoglance __attribute__((cleanup(glance_release)))

/* The same, for who asks for nothing else. */
int work_quick(const struct root *root, const struct sandbox *sandbox, enum work *ret,
	       struct error *err);
