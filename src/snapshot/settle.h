/*
 * index: stat data of a git index (gitformat-index(5)).
 *
 * git has written the index and the files of a tree layer. index_settle() gives every file a
 * modification time in the past and the index the stat data that results, so that no entry is
 * "racily clean": neither the first `git status` in a sandbox nor any later one has to read a
 * file to know that it is unchanged, and a change in the very same second is still seen, since
 * it moves the time.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>

#include "base/error.h"

/*
 * `dirfd` holds the index file `name`; `tree` is the work tree it describes. Only versions 2 and
 * 3 without split index are understood, which is what jib asks git for.
 */
int index_settle(int dirfd, const char *name, int tree, bool sha256, time_t mtime,
		 struct error *err);

/*
 * The same with stat data that the caller decides on, for each file and symbolic link in order: `st`, which
 * is all zeroes (git looks at the file) unless it is filled, when INDEX_SET is returned.
 */
enum { INDEX_LEAVE, INDEX_SET };
typedef int index_decide(void *data, const char *path, bool skipped, struct stat *st,
			 struct error *err);
int index_rewrite(int dirfd, const char *name, bool sha256, index_decide *decide, void *data,
		  struct error *err);
