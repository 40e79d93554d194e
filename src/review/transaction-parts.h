/*
 * transaction-parts: what the files of transaction.c share.
 */
#pragma once

#include "review/journal.h"
#include "review/transaction.h"

struct transaction {
	const struct repository *repository;
	int top;     /* the work tree */
	int git_dir; /* GITDIR */
	int home;    /* GITDIR/jib */
	int lock;
	int own;	  /* GITDIR/jib/apply; -1 when there is none */
	int outside;	  /* the directory in the work tree, when the git dir is on another mount */
	bool rolled_back; /* it has failed, and all is as it was before */
	struct journal journal;
};

#define TRANSACTION_INIT                                          \
	{                                                         \
		NULL, -1, -1, -1, -1, -1, -1, false, JOURNAL_INIT \
	}

/* Where new content waits, and what is taken out goes. */
static inline int transaction_stage(const struct transaction *transaction)
{
	return transaction->outside >= 0 ? transaction->outside : transaction->own;
}

/* The name of a step in it. */
struct step_name {
	char s[24];
};
struct step_name step_name(size_t step);

/* Opens and locks. 1 when there is no GITDIR/jib and none shall be made. */
int transaction_open(const struct repository *repository, bool make, struct transaction *ret,
		     struct error *err);
void transaction_close(struct transaction *transaction);
#define autotransaction __attribute__((cleanup(transaction_close)))

/* Carries on with what is on disk, if anything; transaction->own is closed afterwards. */
int transaction_settle(struct transaction *transaction, enum transaction_recovery *ret,
		       struct error *err);

/* Makes GITDIR/jib/apply and a journal that says so. */
int transaction_begin(struct transaction *transaction, struct error *err);
/* Throws away what is prepared. */
int transaction_discard(struct transaction *transaction, struct error *err);
/* From `preparing` to the end, or back. */
int transaction_commit(struct transaction *transaction, struct error *err);

/*
 * Does all steps, or those that are not done yet, and syncs. When one of them finds something else
 * than the journal says, or fails, it is undone by itself; ERR_UNSTABLE.
 */
int steps_forward(const struct transaction *transaction, bool resumed, struct error *err);
/*
 * Undoes the steps that are done. Files that somebody has written to since are left, and *ret_left
 * says how many; what was to be put back stays staged.
 */
int steps_backward(const struct transaction *transaction, size_t *ret_left, struct error *err);
