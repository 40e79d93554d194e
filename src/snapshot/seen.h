/*
 * seen: what of a directory that is mounted from the host must not be seen inside.
 *
 * All names below it are read once and remembered in ROOT/.layers/.seen/<hash>, with the stat data
 * of every directory and of every file that was looked into: later only what has changed is read
 * again. The hash is over the directory's path on the host and over all rules and patterns, so
 * that other patterns never find old answers. A file there is overwritten by the next scan of the
 * same directory, and is removed safely at any time; one that is damaged counts for nothing.
 *
 * Other mounts are not entered: an overlay does not see them either.
 */
#pragma once

#include <stddef.h>

#include "base/str.h"
#include "snapshot/secrets.h"
#include "store/root.h"

struct seen_request {
	const struct root *root;
	const struct secrets *secrets;
	const char *host;      /* absolute path of the work tree */
	const char *directory; /* relative to the work tree, no slash at the end */
	int fd;		       /* the directory */
};

struct seen {
	/* Relative to the directory, sorted; a slash at the end: a whole directory. */
	struct strv secrets;
	/* Directories that nobody can look into now: unreadable, too deep, mount points. */
	struct strv closed;
	size_t read;   /* directories that were read, for they had changed or were new */
	size_t looked; /* files that were looked into */
};

#define SEEN_INIT                          \
	{                                  \
		STRV_INIT, STRV_INIT, 0, 0 \
	}

/* 0, or 1 when the directory cannot be read. */
int seen_scan(const struct seen_request *request, struct seen *ret);
void seen_release(struct seen *seen);
#define autoseen __attribute__((cleanup(seen_release)))
