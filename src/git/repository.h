/*
 * repository: where a host repository's parts are.
 *
 * repository_find() walks up to the work tree as git does (gitrepository-layout(5): a `.git`
 * directory, or a file "gitdir: PATH"; `commondir` in a linked worktree) without starting git:
 * it is on the path of every run. What needs git's own judgement (ownership, HEAD, format) is
 * asked by repository_inspect(), once for each state of the repository, and remembered with the
 * git layer that is made from it.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct repository {
	char *top;	  /* the work tree: absolute, no symbolic links */
	char *git_dir;	  /* of this work tree */
	char *common_dir; /* same as git_dir, but for a linked worktree */
	char *name;	  /* last component of top */
	bool trusted;	  /* the owner of all three is the caller */
};

#define REPOSITORY_INIT                       \
	{                                     \
		NULL, NULL, NULL, NULL, false \
	}

/* ERR_NOT_REPOSITORY, ERR_BARE. */
int repository_find(const char *directory, struct repository *ret, struct error *err);
void repository_release(struct repository *repository);
#define autorepository __attribute__((cleanup(repository_release)))

struct repository_head {
	char *commit; /* object id; NULL when there is no commit yet */
	char *tree;   /* the commit's tree object; NULL without a commit */
	char *ref;    /* what HEAD points to, "refs/heads/main"; NULL when it is detached */
	char *format; /* "sha1" or "sha256" */
	long time;    /* the committer's date of the commit, seconds; 0 without a commit */
};

/*
 * Asks git. ERR_OWNERSHIP when git refuses the repository's owner (safe.directory), ERR_GIT when
 * it cannot be read.
 */
int repository_inspect(const struct repository *repository, struct repository_head *ret,
		       struct error *err);
/*
 * The same for another commit than HEAD's: `revision` is what the user calls it (a branch, a tag,
 * an id, HEAD~3). `ref` is set when it is the name of a local branch. ERR_NOT_FOUND.
 */
int repository_resolve(const struct repository *repository, const char *revision,
		       struct repository_head *ret, struct error *err);
void repository_head_release(struct repository_head *head);
