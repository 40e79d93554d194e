/*
 * state: what a repository of a sandbox looked like when it was made, and looks like now, as trees.
 *
 * Both are written by git in the viewer, as `git add -A` would have it: files are cleaned by the
 * attributes and settings of the layers and the work tree, ignored files are left out unless they
 * are tracked, and no flag of the index (assume-unchanged, skip-worktree) hides anything (T43).
 * Only what the sandbox has changed is read (frontier.h).
 */
#pragma once

#include "review/frontier.h"
#include "review/refs.h"
#include "review/viewer.h"

struct state_wishes {
	bool whole;   /* `then` and `now` with all that was carried, not only where they differ */
	bool ignored; /* with ignored files */
	bool nested;  /* with the files of repositories inside of the work tree */
};

/* What is not in `now`. */
struct left_out {
	char *path;
	const char *why; /* "fifo", "ignored", "nested-repository", ...: stable, appears in JSON */
};

struct state {
	char base[OID_HEX_MAX + 1]; /* the commit that it started from; or "" */
	char base_tree[OID_HEX_MAX + 1];
	struct refs refs;
	struct refs refs_then;
	struct head head;
	char head_tree[OID_HEX_MAX + 1]; /* "" without a commit */
	char then[OID_HEX_MAX + 1];	 /* the tree when the sandbox was made */
	char now[OID_HEX_MAX + 1];	 /* the tree as it is */
	long newest;			 /* change time of the latest change; 0: none */
	struct left_out *left_out;	 /* by path */
	size_t left_out_count;
};

int state_read(struct viewer *viewer, size_t repo, const struct state_wishes *wishes,
	       struct state *ret, struct error *err);
void state_release(struct state *state);

/* Whether something was left out that is work all the same: what cannot be persisted, or only on request. */
bool state_left_work(const struct state *state);

/* One of its trees, or the empty one where there is no commit. */
const char *state_tree(const struct state *state, const char *tree);
#define autostate __attribute__((cleanup(state_release)))
