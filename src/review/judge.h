/*
 * judge: whether a sandbox's work would be lost with it, for who is about to remove it.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "review/quick.h"

/*
 * What a glance has told of the sandbox; where that was WORK_UNPERSISTED git is asked, in a viewer and
 * on the host: whether every commit, and one for what is not committed, is reached by a ref of the
 * host's. One that runs is not stopped for that. `leased` when the caller holds its lease. What cannot
 * be told stays WORK_UNPERSISTED.
 */
int work_judge(const struct root *root, const struct sandbox *sandbox, const struct glance *glance,
	       bool leased, enum work *ret, struct error *err);
