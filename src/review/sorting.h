/*
 * sorting: which of the changed paths belong to a repository's tree; for state.c.
 */
#pragma once

#include "review/frontier.h"
#include "review/state.h"
#include "review/trees.h"

/* Files that their owner may not read are told inline: so many bytes of them, and no more. */
enum { UNREADABLE_MAX = 64 << 20 };

struct sorting_request {
	struct viewer *viewer;
	size_t repo;
	/*
	 * Whose ignore files count: VIEWER_TREE, and then what the sandbox's index has is not ignored either;
	 * or VIEWER_BASE.
	 */
	enum viewer_place place;
	const struct state_wishes *wishes;
	struct trees *trees;
	/* What is tracked in one of these is never ignored; NULL: none. */
	const char *trees_tracked[2];
};

/*
 * *ret_taken (of frontier->count, freed by the caller) says which entries are part of the tree. Others are added to
 * *left_out, but for plainly ignored ones.
 */
int sort_frontier(const struct sorting_request *request, const struct frontier *frontier,
		  bool **ret_taken, struct state *left_out, struct error *err);

void leave_out(struct state *state, const char *path, const char *why);
