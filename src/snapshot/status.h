/*
 * status: what `git status --porcelain=v2 -z --branch --no-renames` says (git-status(1)).
 *
 * Names are bytes: whatever a work tree holds but NUL. Output that does not parse is an error of git
 * (ERR_GIT); nothing is guessed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "snapshot/index.h"

/* A tracked path in which commit, index and work tree are not all the same. */
struct status_entry {
	const char *path; /* in the bytes that were parsed */
	bool unmerged;
	bool quiet;	    /* for who reads the index: git has been told not to look at it */
	char staged;	    /* index against commit: '.', 'M', 'T', 'A' or 'D' */
	char unstaged;	    /* work tree against index: the same; 'A' is an intent to add */
	uint32_t in_commit; /* modes; 0: there is none. Of an unmerged path only in_tree is known */
	uint32_t in_index;
	uint32_t in_tree;
};

struct status {
	const char *commit; /* NULL: there is none yet */
	const char *branch; /* NULL: HEAD is detached */
	struct status_entry *items;
	size_t count;
	struct strv untracked; /* with a slash at the end: a repository of its own */
	struct strv ignored;   /* with a slash at the end: a directory */
};

#define STATUS_INIT                                       \
	{                                                 \
		NULL, NULL, NULL, 0, STRV_INIT, STRV_INIT \
	}

/* `bytes` is cut up and has to live as long as *ret. */
int status_parse(char *bytes, size_t len, struct status *ret, struct error *err);
void status_release(struct status *status);
#define autostatus __attribute__((cleanup(status_release)))
