/*
 * merge: what becomes of a host's work tree when a sandbox's changes are brought into it.
 *
 * Three-way, path by path, in raw bytes of work tree files: `base` is what the sandbox started
 * from, `theirs` what it has made of that, and the host's file is what it is now. Nothing is
 * written into the work tree, and nothing into the repository; transaction.h does that, from the
 * verdicts. A path of the host is opened beneath its work tree, through no link and no mount; what
 * is no regular file is never opened.
 *
 *   SAME      the host has it already, or the sandbox has changed nothing
 *   TAKE      the host has what the sandbox started from: theirs replaces it, or removes it
 *   MERGED    both have changed it, and the changes fit together
 *   CONFLICT  anything else, with a reason in words
 *
 * Text is merged by `git merge-file`, which decides what is binary. `from` makes a change a
 * rename: the host's changes to `from` go along to `path`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "git/repository.h"
#include "review/content.h"

enum side_kind {
	SIDE_ABSENT,
	SIDE_FILE,
	SIDE_LINK,
};

/* One version of a file: opened when it is needed, beneath `dirfd`, which stays the caller's. */
struct side {
	enum side_kind kind;
	bool executable;
	int dirfd;
	const char *path;
};

struct change {
	const char *path; /* relative to the work tree; a sandbox's word, any bytes */
	const char *from; /* theirs is a rename of this; else NULL */
	struct side base; /* of a rename: at `from` */
	struct side theirs;
};

enum verdict_kind {
	VERDICT_SAME,
	VERDICT_TAKE,
	VERDICT_MERGED,
	VERDICT_CONFLICT,
};

enum verdict_source {
	SOURCE_NONE, /* there is nothing to be written */
	SOURCE_THEIRS,
	SOURCE_HOST,	/* the host's own bytes, under another name or with another mode */
	SOURCE_SCRATCH, /* what git has merged */
};

struct verdict {
	const struct change *change;
	enum verdict_kind kind;
	char *reason;  /* of a conflict: why, safe to be shown; else NULL */
	bool sided;    /* of a conflict: there are versions to put into the stages of an index */
	bool markers;  /* of a conflict: the result is text with git's markers */
	bool cleared;  /* it needs other paths of the merge to be removed first */
	int conflicts; /* regions with markers */
	struct content base, theirs;
	struct content host;   /* of a rename: at `from` */
	struct content result; /* what is to be at `path`: CONTENT_ABSENT when it is removed */
	enum verdict_source source;
};

struct merge {
	char *name;
	int top;	       /* the work tree */
	struct verdict *items; /* in the order of the changes */
	size_t count;
	size_t conflicts; /* how many are */
	char *scratch;	  /* a private directory */
	int scratch_fd;
	int scratch_above;	    /* where it is */
	bool decided;		    /* all verdicts are there */
	struct path_owner *leaving; /* by path */
	size_t leaving_count;
};

#define MERGE_INIT                                               \
	{                                                        \
		.top = -1, .scratch_fd = -1, .scratch_above = -1 \
	}

struct merge_request {
	const struct repository *repository;
	const struct change *changes; /* stay the caller's, for as long as the merge is used */
	size_t count;
	const char *name;    /* the sandbox: the label of its side in markers */
	const char *scratch; /* an existing directory that no sandbox can write, for the versions
				that git merges; never the work tree */
};

/* Decides; a conflict is no error. ERR_UNSTABLE when a file does not hold still. */
int merge_make(const struct merge_request *request, struct merge *ret, struct error *err);
/* Removes the private directory too. */
void merge_release(struct merge *merge);
#define automerge __attribute__((cleanup(merge_release)))

/* "same", "take", "merged", "conflict": stable, appears in JSON. */
const char *verdict_name(enum verdict_kind kind);

/* The name of what git has merged, in the private directory. */
char *merge_scratch_name(const struct merge *merge, const struct verdict *verdict);
