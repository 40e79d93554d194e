/*
 * pick: a branch in a quarantine, made of some of the commits that were received, and of some of the files
 * that were not committed.
 *
 * Nothing is checked out: each change is applied to an index (`git apply --cached --3way`), so it costs
 * what was changed. A commit keeps its author and its message; one whose parent is where the branch is already
 * is taken as it is.
 */
#pragma once

#include <stdbool.h>

#include "review/quarantine.h"
#include "review/trees.h"

struct pick_commit {
	char oid[OID_HEX_MAX + 1];
	char *subject; /* a sandbox's word */
	bool merge;
	bool chosen;
};

struct pick_file {
	char *path; /* the same */
	char status;
	bool chosen;
};

/* What there is to choose from. All of it is chosen to begin with. */
struct pick {
	char *source;		     /* the ref in the sandbox */
	struct pick_commit *commits; /* the oldest first */
	size_t commit_count;
	bool wip; /* the tip is one commit more, of what was not committed: */
	struct pick_file *files;
	size_t file_count;
};

/* `known` as of quarantine_receive(). */
int pick_read(const struct quarantine *quarantine, const char *source, const char *tip, bool wip,
	      const struct strv *known, struct pick *ret, struct error *err);
void pick_release(struct pick *pick);
#define autopick __attribute__((cleanup(pick_release)))

/*
 * Makes what was chosen: *ret_tip is the commit, or "" when nothing was. ERR_CONFLICT when a commit does not fit without
 * one that was not chosen.
 */
int pick_make(const struct quarantine *quarantine, const struct pick *pick, const char *tip,
	      char ret_tip[OID_HEX_MAX + 1], struct error *err);
