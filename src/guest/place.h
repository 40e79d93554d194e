/*
 * place: what a path means to another process of the sandbox.
 *
 * init has the same user, root directory and mounts as every command, and no rights beyond theirs.
 * So a path that is followed here leads nowhere that its process could not go itself, and one that
 * changes meanwhile harms only who changed it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A directory, and a name in it that is neither "." nor "..", and need not exist. */
struct place {
	int parent;
	char *name;
	char *spelled; /* the name with the slashes that came after it */
};

#define PLACE_INIT             \
	{                      \
		-1, NULL, NULL \
	}

void place_release(struct place *place);
#define autoplace __attribute__((cleanup(place_release)))

/*
 * The string at `address` in the memory of the thread `tid`, as malloc(3) gives it; NULL with errno
 * when it cannot be read, or is longer than a path may be.
 */
char *place_read(pid_t tid, uint64_t address);

/*
 * A path by which this process reaches what `path`, relative to `dirfd`, is for the thread `tid`.
 * It is too long for the kernel when `path` was nearly so already.
 */
char *place_locate(pid_t tid, int dirfd, const char *path);

/*
 * Opens the directory of a path. Returns 0, or -1 with errno: EINVAL where the last component is no
 * name, ELOOP where the way leads through links that are different ones for each process.
 */
int place_open(pid_t tid, int dirfd, const char *path, struct place *ret);

/* Splits a path, as place_open() does. Returns whether the last component is a name. */
bool place_split(const char *path, char **ret_parent, struct place *ret);

/*
 * Whether `name` is something that was mounted into the work tree for the sandbox: an overlay on an
 * overlay, but neither a repository nor a git directory. To whom it looks like a directory, it
 * should behave like one.
 */
bool place_is_carried(int parent, const char *name);

/* Whether two directories are in the same mount, and that is an overlay. */
bool place_same_overlay(int one, int other);
