/*
 * tips: what a sandbox has that the host does not: its branches with new commits, and one commit
 * for what is not committed. For persist.c.
 */
#pragma once

#include "review/persist.h"

/* Fills all of *ret but for targets and what becomes of them. */
int tips_find(struct viewer *viewer, size_t repo, const struct persist_wishes *wishes,
	      struct persist_result *ret, struct error *err);
