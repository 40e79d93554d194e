/*
 * stack: one path in a stack of layers, found as overlayfs would find it, without a mount.
 *
 * For who needs a file's bytes and not the whole view: the lowers of a view_mount (view.h), the
 * uppermost first. Whiteouts and opaque directories (Documentation/filesystems/overlayfs.rst, in
 * the format of `userxattr`) are honoured; nothing is followed.
 */
#pragma once

#include <stddef.h>
#include <sys/stat.h>

#include "base/error.h"

enum stack_kind {
	STACK_NOWHERE,	 /* in none of them */
	STACK_HIDDEN,	 /* a layer says that it is gone */
	STACK_FILE,	 /* a regular file */
	STACK_LINK,	 /* a symbolic link */
	STACK_DIRECTORY, /* a directory, perhaps merged with others below */
	STACK_OTHER,	 /* a FIFO, a socket, a device */
};

struct stack_entry {
	enum stack_kind kind;
	size_t level; /* of which directory; not of what is nowhere */
	struct stat st;
};

int stack_find(const int *directories, size_t count, const char *path, struct stack_entry *ret,
	       struct error *err);

/* What an entry of a layer is; `fd` is open with O_PATH. */
enum stack_kind stack_kind_of(int fd, const struct stat *st);
/* Whether a directory of a layer, open with O_PATH, hides what layers below have in it. */
int stack_is_opaque(int fd);
