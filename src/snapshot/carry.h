/*
 * carry: which of the ignored and untracked files a sandbox gets, and how.
 *
 * Small ones are copied, up to a budget in bytes and in number; a large directory is mounted
 * copy-on-write from the host; what looks like a credential is masked. In the work tree nothing is
 * written, and only names, stat data and the beginnings of a few suspicious files are read. Untracked
 * files are always copied and do not count. docs/carry.md tells the user all of it, .worktreeinclude
 * included.
 *
 * What vanishes, or becomes something else, while it is looked at is not listed, and no error.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"
#include "git/repository.h"
#include "store/root.h"

struct carry_request {
	const struct root *root; /* remembers what a large directory was found to hold */
	const struct repository *repository;
	int top;		      /* the work tree */
	const struct strv *untracked; /* as git status lists them: with a slash, a repository */
	const struct strv *ignored;   /* files, and directories with a slash at the end */
	bool carry_ignored;
	unsigned long budget;	   /* bytes */
	const struct strv *mask;   /* patterns (secrets.h), or NULL */
	const struct strv *unmask; /* patterns, or NULL */
};

struct carry_masks {
	struct strv paths; /* files and whole directories, relative to the carried directory */
};

/* All paths but those of masks are relative to the work tree; all lists are sorted. */
struct carry {
	/* Files and symbolic links, and empty directories with a slash at the end. */
	struct strv copied;
	struct strv mounted;	   /* directories, without a slash at the end; none in another */
	struct carry_masks *masks; /* one for each mounted */
	/* For the user; a slash at the end: a directory with all that is in it. */
	struct strv masked;
	struct strv left_out;
};

#define CARRY_INIT                                               \
	{                                                        \
		STRV_INIT, STRV_INIT, NULL, STRV_INIT, STRV_INIT \
	}

/* ERR_GIT; ERR_CONFIG when .worktreeinclude is no regular file. */
int carry_decide(const struct carry_request *request, struct carry *ret, struct error *err);
void carry_release(struct carry *carry);
#define autocarry __attribute__((cleanup(carry_release)))
