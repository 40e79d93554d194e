/*
 * gc-plan: which sandboxes a `jib gc` removes. Pure data; it looks at nothing itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/str.h"
#include "review/quick.h"
#include "review/usage.h"

struct gc_request {
	bool dry_run;
	bool force; /* with an age also what holds unpersisted work */
	bool aged;
	time_t older_than; /* seconds since the last use */
	bool capped;
	uint64_t max_disk; /* bytes */
};

/* One that nobody has used for less than this is about to be. */
enum { GC_GRACE = 60 };

struct candidate {
	char *name;
	char *held; /* why it cannot be removed whatever is asked for; or NULL */
	uint64_t bytes;
	struct timespec used;
	struct timespec seen; /* the same, when it was left after the last look */
	enum work work;
	bool has_run;
	/* What the plan says. */
	bool removed;
	const char *reason; /* why; or, when it is mentioned at all, why not */
};

/* Decides by work and age. */
void gc_plan(const struct gc_request *request, time_t now, struct candidate *candidates,
	     size_t count);

/*
 * Decides on more of them, the longest unused first, until what the rest takes is below the limit.
 * Returns what that is. `usage` is of the same sandboxes, or more.
 */
uint64_t gc_plan_cap(const struct gc_request *request, time_t now, const struct store_usage *usage,
		     struct candidate *candidates, size_t count);
