/*
 * transaction: writes what a merge has decided into the host's work tree, all of it or nothing.
 *
 *   GITDIR/jib/lock      who writes holds it
 *   GITDIR/jib/apply/    the transaction that is under way: its journal, and what it has staged
 *   GITDIR/jib/undo/     the same of the last one, with what it has taken out
 *   GITDIR/jib/kept-N/   what an interrupted transaction could not put back, because somebody had
 *                        written to the same file; never removed by jib
 *
 * Everything is staged and synced first, then the journal says `committing`, and one rename(2) for
 * each file brings the new content in and takes the old one out. What was taken out is read, and is
 * what was merged; if somebody has written to it meanwhile, all is put back (ERR_UNSTABLE). A
 * transaction that is killed before `committing` is discarded, later it is carried on with: by
 * transaction_recover(), which every command that looks at or writes a work tree calls first.
 *
 * Parent directories are held open, and no link and no mount is followed. Directories that are
 * needed are made, and those that a removal empties are removed; when they are made again their
 * mode is a new directory's. A file that is replaced keeps its permissions, less or with those to
 * execute; a new one gets what the umask leaves. HEAD is never touched, and the index only where
 * conflicts are marked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "git/repository.h"
#include "review/merge.h"

enum transaction_recovery {
	RECOVERY_NONE,	    /* nothing was under way */
	RECOVERY_DISCARDED, /* the work tree is as it was before */
	RECOVERY_FINISHED,  /* what was under way is done now */
};

/*
 * Finishes or discards what a killed command has left. ERR_RUNNING when the other command is still
 * at work.
 */
int transaction_recover(const struct repository *repository, enum transaction_recovery *ret,
			struct error *err);

/*
 * Writes. 1 when there are conflicts: then nothing is written, but with `markers`: then what merges
 * is written, overlapping text gets git's markers, and conflicts with sides get stages 1, 2, 3 in
 * the host's index; other conflicts are left as they are on the host.
 * A file that both have added is left as it is, too. ERR_RUNNING when some git process, or another
 * jib, is at work on the repository; ERR_UNSTABLE when the host has changed since the merge.
 */
int transaction_apply(const struct repository *repository, const struct merge *merge, bool markers,
		      struct error *err);

/* A path that is not what the transaction has written any more, and why that is in the way. */
struct undo_conflict {
	char *path;
	const char *reason;
};

struct undo {
	char *name; /* the sandbox whose changes were brought */
	bool again; /* it was an undo that is undone: the changes are there again */
	size_t files;
	struct undo_conflict *conflicts;
	size_t conflict_count;
};

#define UNDO_INIT                       \
	{                               \
		NULL, false, 0, NULL, 0 \
	}

/*
 * Puts all files and index entries back that the last transaction has written, and is one itself:
 * an undo of an undo writes the changes again. 1 when there are conflicts, and nothing was written.
 * With `dry` nothing is written in any case. ERR_NOT_FOUND when there is nothing to undo.
 */
int transaction_undo(const struct repository *repository, bool dry, struct undo *ret,
		     struct error *err);
void undo_release(struct undo *undo);
#define autoundo __attribute__((cleanup(undo_release)))
