/*
 * fingerprint: has anything changed in a repository that a git layer is made from?
 *
 * A hash over what HEAD says and over the stat data (inode, ctime, mtime, size) of HEAD, the
 * configuration, every ref and reflog, packed-refs, shallow, info/, hooks/, rr-cache/, and of the
 * directories of LFS objects. git replaces most of these by rename(2), so a change is a new inode or
 * at least a new ctime. Objects are left out: they are immutable, and what the refs reach was there
 * when the layer was made (what nothing reaches yet a local layer brings, see local.h). The cost is
 * one stat per loose ref and one per reflog.
 *
 * A change within the same tick of the kernel's clock as the fingerprint would be missed, so
 * when something is that new, fingerprint_take() waits for the tick to pass first.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>

#include "base/error.h"
#include "git/repository.h"
#include "snapshot/hash.h"

/* Adds the state of the repository to the hash. ERR_UNSTABLE when it never rests for a tick. */
int fingerprint_take(const struct repository *repository, struct hash *hash, struct error *err);

/*
 * The rule itself, for other files: is what was seen, the newest with that ctime, older than the
 * tick in which looking began? If not, wait until the kernel's clock for files has passed it and
 * look again.
 */
bool fingerprint_is_settled(const struct timespec *before, const struct timespec *newest);
void fingerprint_wait(const struct timespec *newest);

/* For other files too: adds what is hashed of each. */
void fingerprint_add_stat(struct hash *hash, const char *what, const struct stat *st);
bool fingerprint_is_later(const struct timespec *a, const struct timespec *b);
