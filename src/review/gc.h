/*
 * gc: removing what nobody needs any more: sandboxes without work of their own, and the layers that
 * no sandbox uses.
 *
 * A sandbox is looked at, chosen (gc-plan.h), and looked at again under its lease before it goes.
 * What fails with one is told of that one, and the rest goes on.
 */
#pragma once

#include "base/error.h"
#include "review/gc-plan.h"
#include "store/root.h"

struct gc_item {
	bool is_sandbox; /* else a layer */
	char *name;	 /* or id */
	uint64_t bytes;	 /* that its removal frees, or would */
	char *reason;
	bool kept;
};

struct gc_result {
	struct gc_item *items; /* sandboxes first */
	size_t count;
	uint64_t bytes; /* of what was removed */
	uint64_t disk;	/* with a limit: what the store takes then */
};

/*
 * With `dry_run` *ret is the same, and nothing is removed. ERR_CORRUPT, and nothing is removed, when the
 * record of a sandbox cannot be read: nobody knows what it uses.
 */
int gc(const struct root *root, const struct gc_request *request, struct gc_result *ret,
       struct error *err);
void gc_result_release(struct gc_result *result);
#define autogc __attribute__((cleanup(gc_result_release)))
