/*
 * journal: what a transaction is about to do to a work tree, and how far it has come.
 *
 * It lies beside what the transaction has staged, in a directory of the repository's git dir
 * (transaction.h), and is replaced as a whole. The number of a step is the name of what is staged
 * for it: first the new content; after the step, what the step has taken out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "review/content.h"

enum journal_state {
	JOURNAL_PREPARING,  /* nothing has been touched: to be discarded */
	JOURNAL_COMMITTING, /* to be carried on with */
	JOURNAL_DONE,	    /* what was taken out is what an undo puts back */
};

struct step {
	char *path;
	struct content before, after; /* CONTENT_ABSENT, CONTENT_FILE or CONTENT_LINK */
	/* Up to this length of the path, directories above stay when they are empty. */
	size_t kept;
};

struct journal {
	enum journal_state state;
	char *name;    /* the sandbox */
	bool undoes;   /* it is an undo of such a transaction */
	char *outside; /* where it stages, a directory of the work tree; NULL: beside the journal */
	bool index;    /* it changes entries of the index too (stages.h) */
	struct step *steps;
	size_t count;
};

#define JOURNAL_INIT                                                 \
	{                                                            \
		JOURNAL_PREPARING, NULL, false, NULL, false, NULL, 0 \
	}

/* Adds a step; the path is copied. */
void journal_add(struct journal *journal, const char *path, const struct content *before,
		 const struct content *after, size_t kept);
/*
 * Puts the steps into their order: what removes goes first, so that a directory can take the place
 * of a file and the reverse. A directory that something is written to stays when it is emptied.
 */
void journal_arrange(struct journal *journal);
/* The number of the step of a path, once they are in order. */
size_t journal_find(const struct journal *journal, const char *path, bool removes);

/* Durable when it returns. */
int journal_write(int dirfd, const struct journal *journal, struct error *err);
/* 1 when there is none. ERR_CORRUPT. */
int journal_read(int dirfd, struct journal *ret, struct error *err);
/* Durable too. */
int journal_remove(int dirfd, struct error *err);
void journal_release(struct journal *journal);
#define autojournal __attribute__((cleanup(journal_release)))
