/*
 * file: files and directories, relative to a directory fd.
 *
 * Everything here works below a directory that the caller holds open, never follows a symbolic
 * link, and never leaves the file system where that matters, so that nothing which a sandbox
 * puts into its own directories can redirect the host. `name` is a path relative to `dirfd`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"

/*
 * openat2(2) with RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and RESOLVE_NO_MAGICLINKS, plus
 * O_CLOEXEC. Returns the fd, or -1 with errno. "." opens the directory itself.
 */
int open_beneath(int dirfd, const char *path, int flags, mode_t mode);

/* The same for what exists, and only in the file system of `dirfd`: EXDEV for what is mounted there. */
int open_within(int dirfd, const char *path, int flags);

/* The path through which a system call that only takes paths reaches an open file. */
struct fd_path {
	char s[32];
};
struct fd_path fd_path(int fd);

/* Writes all of it, also to a non-blocking file. Returns 0, or -1 with errno. */
int write_all(int fd, const void *bytes, size_t len);

/* Reads until end of file, at most `max` bytes; more is an error (EFBIG). */
int read_all(int fd, size_t max, struct str *ret, struct error *err);

/* Reads a regular file of at most `max` bytes. Appends to *ret, NUL-terminated. */
int file_read_at(int dirfd, const char *name, size_t max, struct str *ret, struct error *err);

/*
 * Writes a file such that a reader, whenever it looks, sees the old content or the new: a
 * temporary file in the same directory, rename(2) over the name. With `durable` the content
 * and then the directory are synced before it returns; without, a crash of the machine (not
 * of the process) may lose the change, but not tear it.
 */
int file_replace_at(int dirfd, const char *name, const void *bytes, size_t len, mode_t mode,
		    bool durable, struct error *err);

/*
 * Copies the content of one open regular file into another, which is empty: shares blocks where
 * the file system can (FICLONE), else copy_file_range(2), else read and write; keeps holes.
 * Returns 0, or -1 with errno.
 */
int file_copy(int from, int to);
/* file_copy() into the new file `name`; keeps mode and mtime. */
int file_copy_at(int from, int dirfd, const char *name, struct error *err);

/* mkdir(2) of one component, then opens it. An existing directory is taken as it is. */
int dir_make_at(int dirfd, const char *name, mode_t mode, int *ret_fd, struct error *err);

/* Makes every missing component of a relative path and opens the last one. */
int dir_make_path_at(int dirfd, const char *path, mode_t mode, int *ret_fd, struct error *err);

/*
 * Removes a file, or a directory with all that is in it, at any depth, with any modes. Does not
 * cross mounts: what is mounted below stays as it is, and the removal fails with EBUSY or
 * EXDEV. What does not exist is already removed.
 */
int tree_remove_at(int dirfd, const char *name, struct error *err);

/* What a directory tree holds, in its own file system; hard links count once per name. */
struct tree_usage {
	uint64_t bytes; /* allocated */
	uint64_t inodes;
};
int tree_usage_at(int dirfd, const char *name, struct tree_usage *ret, struct error *err);

/*
 * Calls `visit` for every entry below the directory (not for itself), parents first, `path`
 * relative to it. Symbolic links are not followed, mounts not crossed. `visit` returns 0 to go
 * on, TREE_SKIP not to descend, or anything else to end the walk with that result.
 * `dirfd` in the call is the directory that holds the entry, `name` its last component.
 */
enum { TREE_SKIP = 1 };
typedef int tree_visit(void *data, int dirfd, const char *name, const char *path,
		       const struct stat *st);
int tree_walk(int dirfd, tree_visit *visit, void *data, struct error *err);
