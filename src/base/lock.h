/*
 * lock: who is alive, told by the kernel.
 *
 * Both kinds of lock belong to the open file: shared by every copy of the fd, also across
 * fork(2), and dropped by the kernel when the last copy is closed, however the holder died.
 * There is no pid in it to be stale. Every fd here is CLOEXEC, so a lock ends with the process
 * that took it and never leaks into a program it starts.
 *
 * A regular file is locked with an open file description lock (fcntl(2)), because that can be
 * probed without being taken; a directory with flock(2), which does not need it writable.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Locks a regular file opened for writing. 0, 1 when somebody else holds it, or -1. */
int lock_try(int fd, struct error *err);

/* Whether somebody else holds lock_try()'s lock: 0 no, 1 yes, -1. Takes nothing. */
int lock_probe(int fd, struct error *err);

/* lock_try(), but waits until nobody else holds it. */
int lock_wait(int fd, struct error *err);

/* Locks a directory. 0, 1 when somebody else holds it, or -1. */
int lock_directory_try(int fd, struct error *err);
/* lock_directory_try(), but waits until nobody else holds it. */
int lock_directory_wait(int fd, struct error *err);
/* Waits, and shares it with others who do the same; lock_directory_try() fails meanwhile. */
int lock_directory_shared(int fd, struct error *err);

/*
 * Whether `name` in `dirfd` is still what is open. Asked after the lock was taken: between open
 * and lock the one who held it may have removed it, and a newcomer may have made it anew.
 */
bool lock_still_named(int dirfd, const char *name, int fd);

/*
 * A lock with a name, as a file in `dirfd` that exists while it is held or waited for. Waits
 * until it is free. Release with lock_named_release(), which removes the file.
 */
int lock_named(int dirfd, const char *name, int *ret_fd, struct error *err);
void lock_named_release(int dirfd, const char *name, int *fd);
