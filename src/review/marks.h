/*
 * marks: a fingerprint of all that a sandbox has changed, from stat data alone.
 *
 * It covers the layers that the sandbox stands on, and each entry of the uppers of its work trees,
 * git dirs and carried directories: path, mode, inode, and but for a directory size, mtime and
 * ctime, which nothing inside can set. The home is not in it, nor are indexes and locks of git,
 * which a mere `git status` writes.
 */
#pragma once

#include "base/error.h"
#include "store/sandbox.h"
#include "view/view.h"

struct marks {
	unsigned char *digests; /* of each entry, in the order of the walk */
	size_t count;
	struct timespec newest; /* ctime of what is in it */
};

/* A view_look(); the data is a struct marks. */
view_look marks_add;
/* The fingerprint; the order in which the entries were found does not count. */
char *marks_end(struct marks *marks, const struct sandbox *sandbox);
void marks_release(struct marks *marks);
#define automarks __attribute__((cleanup(marks_release)))
