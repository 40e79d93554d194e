/*
 * judge: whether a sandbox's work would be lost with it, for who is about to remove it.
 */
#pragma once

#include "base/error.h"
#include "review/quick.h"

/* What a glance has told of the sandbox, looked at closer where it was WORK_UNPERSISTED. */
int work_judge(const struct root *root, const struct sandbox *sandbox, const struct glance *glance,
	       enum work *ret, struct error *err);
