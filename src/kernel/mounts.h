/*
 * mounts: the few mounts that a sandbox is made of.
 *
 * Sources and targets are open files (O_PATH), never paths: what was checked is what is mounted,
 * whatever somebody renames meanwhile. All of these are for a process in its own mount
 * namespace. Binds use open_tree(2) and mount_setattr(2) and fall back to mount(2) where the
 * kernel (before 5.12) or an outer container does not have them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/str.h"

/* Nothing that is mounted from now on propagates anywhere. */
int mount_make_private(struct error *err);

enum {
	BIND_READ_ONLY = 1,
	BIND_NO_DEVICES = 2,
	BIND_NO_EXEC = 4,
	BIND_RECURSIVE = 8, /* with what is mounted below */
};

/* Always nosuid. */
int mount_bind(int source, int target, unsigned int flags, struct error *err);

/* `options` as of tmpfs(5), or NULL. nosuid, nodev. */
int mount_tmpfs(int target, const char *options, struct error *err);

/* An empty directory that nobody can write, over what must not be seen. nosuid, nodev, noexec. */
int mount_empty(int target, struct error *err);

/* A /proc of the current pid namespace, read-only as a whole: nothing in it can be written (T10). */
int mount_proc(int target, struct error *err);

/* A devpts of its own. */
int mount_devpts(int target, struct error *err);

struct overlay {
	const int *lowers; /* uppermost first */
	size_t lower_count;
	int upper; /* -1: read-only */
	int work;
	const char *source; /* the name in mountinfo */
	bool forgetful;	    /* `volatile`: no sync when it goes; for what is discarded anyway */
};

/*
 * Mounts an overlay with `userxattr`: the only format a user namespace may mount, and one that
 * root mounts too. Layers are named /proc/self/fd/N, so that no path with a `:` or `,` can break
 * the options and mountinfo inside does not tell where the layers are (T12, T39). nosuid, nodev.
 */
int mount_overlay(const struct overlay *overlay, int target, struct error *err);

/* Makes the directory the root of the mount namespace; the old root is gone. */
int mount_pivot(int root, struct error *err);

/*
 * Looks for a mount of this process's namespace by the name given as its source. 0 and where it
 * is mounted, 1 when there is none.
 */
int mount_find(const char *source, char **ret_target, struct error *err);

/* Looks for anything that is mounted at or below `path` (resolved); as mount_find(). */
int mount_find_within(const char *path, char **ret_target, struct error *err);

/*
 * Adds the mount points at or below `path` (resolved) of file systems that show or steer the
 * host's kernel: proc, sysfs, cgroups, devices and their like. With `fd`, an open file, also the
 * one on which that lies; -1: without. Mounts that are covered by others are in it too.
 */
int mount_list_kernel(const char *path, int fd, struct strv *ret, struct error *err);

/* mountinfo writes space, tab, newline and backslash as \ooo (proc(5)); undone in place. */
void mountinfo_unescape(char *s);

/*
 * A detached copy of the mount at an open directory of this mount namespace, without submounts.
 * nosuid, nodev.
 */
int mount_clone(int directory, int *ret_mount, struct error *err);

/*
 * The same of a file or a directory, and nothing can be written or executed through it. Fails
 * before Linux 5.12.
 */
int mount_clone_read_only(int file, int *ret_mount, struct error *err);

/*
 * Whether an open directory is on an overlay of that source: 0, or ERR_CORRUPT. `proc` is an open
 * /proc in which this process has a number, also after it has joined another mount namespace.
 */
int mount_check_overlay(int proc, int directory, const char *source, struct error *err);
/* Attaches a detached mount. */
int mount_place(int mount, int target, struct error *err);

/*
 * Unmounts every overlay at `path` or directly below it whose source begins with `prefix`;
 * ERR_NOT_FOUND when there is none.
 */
int mount_remove(const char *path, const char *prefix, struct error *err);
