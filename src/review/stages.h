/*
 * stages: the versions of a conflict in the host's index, as a merge of git's leaves them.
 *
 * Entries are prepared as files beside a transaction's journal, those that are to be and those that
 * are there, and written with one `git update-index`, which replaces the index as a whole or not at
 * all. Blobs are cleaned as `git add` would (filters, line endings).
 */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "git/repository.h"
#include "review/merge.h"

/* ERR_RUNNING when some other program holds the index. */
int stages_check_lock(const struct repository *repository, int git_dir, struct error *err);

/*
 * Prepares the conflicts that have sides: stage 1 base, 2 the host, 3 the sandbox. 1 when there are
 * none. Writes blobs into the repository, and else nothing of it.
 */
int stages_prepare(const struct repository *repository, const struct merge *merge, int dirfd,
		   struct error *err);
/* Prepares the way back, from what another transaction has prepared in `from`. */
int stages_reverse(int from, int dirfd, struct error *err);

/* Writes what was prepared, or (`back`) what was there before; either may be repeated. */
int stages_write(const struct repository *repository, int dirfd, bool back, struct error *err);

/* The paths among those prepared whose entries are not (any more) what was prepared. */
int stages_find_changed(const struct repository *repository, int dirfd, struct strv *ret,
			struct error *err);
