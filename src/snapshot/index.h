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
#include <time.h>

#include "base/error.h"

/*
 * `dirfd` holds the index file `name`; `tree` is the work tree it describes. Only versions 2 and
 * 3 without split index are understood, which is what jib asks git for.
 */
int index_settle(int dirfd, const char *name, int tree, bool sha256, time_t mtime,
		 struct error *err);
