#include "review/transaction.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "review/stages.h"
#include "review/transaction-parts.h"

static const char own_name[] = "apply";
static const char undo_name[] = "undo";

int transaction_open(const struct repository *repository, bool make, struct transaction *ret,
		     struct error *err)
{
	autotransaction struct transaction t = TRANSACTION_INIT;

	t.repository = repository;
	t.top = open(repository->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t.top < 0)
		return error_errno(err, "cannot open %s", repository->top);
	t.git_dir = open(repository->git_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t.git_dir < 0)
		return error_errno(err, "cannot open %s", repository->git_dir);
	if (!make && faccessat(t.git_dir, "jib", F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 1;
	if (dir_make_at(t.git_dir, "jib", 0700, &t.home, err) < 0)
		return error_wrap(err, "%s", repository->git_dir);
	t.lock = open_beneath(t.home, "lock", O_RDWR | O_CREAT, 0600);
	if (t.lock < 0)
		return error_errno(err, "cannot create %s/jib/lock", repository->git_dir);
	int locked = lock_try(t.lock, err);

	if (locked < 0)
		return error_wrap(err, "%s/jib/lock", repository->git_dir);
	if (locked > 0) {
		error_set(err, ERR_RUNNING, "another jib is writing to %s", repository->top);
		return error_hint(err, "wait until it is done");
	}
	*ret = t;
	t = (struct transaction)TRANSACTION_INIT;
	return 0;
}

void transaction_close(struct transaction *t)
{
	fd_close(&t->top);
	fd_close(&t->git_dir);
	fd_close(&t->home);
	fd_close(&t->own);
	fd_close(&t->outside);
	fd_close(&t->lock);
	journal_release(&t->journal);
}

/* Whether a file can be renamed from one directory to the other. */
static int same_mount(int one, int other, struct error *err)
{
	struct statx a, b;

	if (statx(one, "", AT_EMPTY_PATH, STATX_MNT_ID, &a) < 0 ||
	    statx(other, "", AT_EMPTY_PATH, STATX_MNT_ID, &b) < 0)
		return error_errno(err, "cannot stat a directory");
	return a.stx_mnt_id == b.stx_mnt_id && a.stx_dev_major == b.stx_dev_major &&
	       a.stx_dev_minor == b.stx_dev_minor;
}

static int name_outside(struct transaction *t, struct error *err)
{
	int same = same_mount(t->top, t->own, err);
	uint64_t number;

	if (same != 0)
		return same < 0 ? -1 : 0;
	if (getrandom(&number, sizeof number, 0) != sizeof number)
		return error_errno(err, "cannot get random bytes");
	t->journal.outside = xasprintf(".jib-%016llx", (unsigned long long)number);
	return 0;
}

int transaction_begin(struct transaction *t, struct error *err)
{
	if (mkdirat(t->home, own_name, 0700) < 0)
		return error_errno(err, "cannot create %s/jib/%s", t->repository->git_dir,
				   own_name);
	t->own = open_beneath(t->home, own_name, O_RDONLY | O_DIRECTORY, 0);
	if (t->own < 0)
		return error_errno(err, "cannot open %s/jib/%s", t->repository->git_dir, own_name);
	if (name_outside(t, err) < 0 || journal_write(t->own, &t->journal, err) < 0)
		return -1;
	if (!t->journal.outside)
		return 0;
	if (mkdirat(t->top, t->journal.outside, 0700) < 0)
		return error_errno(err, "cannot create a directory in %s", t->repository->top);
	t->outside = open_beneath(t->top, t->journal.outside, O_RDONLY | O_DIRECTORY, 0);
	return t->outside < 0 ? error_errno(err, "cannot open %s", t->journal.outside) : 0;
}

/* The journal goes last, and at once: it says what is to be thrown away with it. */
int transaction_discard(struct transaction *t, struct error *err)
{
	fd_close(&t->outside);
	if (t->journal.outside && tree_remove_at(t->top, t->journal.outside, err) < 0)
		return -1;
	if (t->own >= 0 && journal_remove(t->own, err) < 0)
		return -1;
	fd_close(&t->own);
	return tree_remove_at(t->home, own_name, err);
}

/*
 * What was taken out, from the work tree's file system to where an undo looks for it. A command
 * that was killed may have brought some of it.
 */
static int bring_home(struct transaction *t, struct error *err)
{
	for (size_t i = 0; t->outside >= 0 && i < t->journal.count; i++) {
		const struct content *before = &t->journal.steps[i].before;
		const struct content_wish wish = {
			.mode = before->mode, .exact = true, .synced = true};
		struct step_name name = step_name(i);
		struct content here;

		if (before->kind == CONTENT_ABSENT)
			continue;
		if (content_look(t->own, name.s, &here, err) < 0)
			return -1;
		if (content_equal(&here, before) &&
		    (here.kind == CONTENT_LINK || here.mode == before->mode))
			continue;
		if (tree_remove_at(t->own, name.s, err) < 0 ||
		    content_copy(t->outside, name.s, before, &wish, t->own, name.s, err) < 0)
			return -1;
	}
	fd_close(&t->outside);
	return t->journal.outside ? tree_remove_at(t->top, t->journal.outside, err) : 0;
}

/* The journal says `done`. */
static int finish(struct transaction *t, struct error *err)
{
	if (bring_home(t, err) < 0)
		return -1;
	fd_close(&t->own);
	if (tree_remove_at(t->home, undo_name, err) < 0)
		return -1;
	if (renameat(t->home, own_name, t->home, undo_name) < 0 || fsync(t->home) < 0)
		return error_errno(err, "cannot keep what an undo needs");
	return 0;
}

/*
 * What could not be put back is the only copy of what the host had, and stays. Always -1, for what
 * *err says.
 */
static int keep(struct transaction *t, size_t left, struct error *err)
{
	const char *what = left == 1 ? "file was" : "files were";
	unsigned int number = 1;

	if (journal_remove(t->own, NULL) < 0)
		return error_wrap(err, "cannot remove the journal");
	if (t->journal.outside)
		return error_wrap(err,
				  "%zu %s written to meanwhile and left alone; what was there "
				  "before is in %s/%s",
				  left, what, t->repository->top, t->journal.outside);
	for (;; number++) {
		autofree char *name = xasprintf("kept-%u", number);

		if (faccessat(t->home, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			continue;
		if (renameat(t->home, own_name, t->home, name) < 0)
			return error_wrap(err, "cannot keep what could not be put back");
		fd_close(&t->own);
		return error_wrap(err,
				  "%zu %s written to meanwhile and left alone; what was there "
				  "before is in %s/jib/%s",
				  left, what, t->repository->git_dir, name);
	}
}

/* The index is written as a whole: all of the entries are there, or none. */
static int restore_index(const struct transaction *t, struct error *err)
{
	autostrv struct strv others = STRV_INIT;

	if (!t->journal.index)
		return 0;
	if (stages_find_changed(t->repository, t->own, &others, err) < 0)
		return -1;
	return others.len ? 0 : stages_write(t->repository, t->own, true, err);
}

/* Always -1: the transaction has failed, for what *err says. */
static int roll_back(struct transaction *t, struct error *err)
{
	autoerror struct error second = ERROR_INIT;
	size_t left = 0;

	/* In case that it was written, but not synced. */
	if (t->journal.state == JOURNAL_DONE) {
		t->journal.state = JOURNAL_COMMITTING;
		journal_write(t->own, &t->journal, NULL);
	}
	if (restore_index(t, &second) < 0 || steps_backward(t, &left, &second) < 0)
		return error_wrap(err, "half done, the next jib persist goes on (%s)",
				  second.message);
	if (left)
		return keep(t, left, err);
	t->rolled_back = transaction_discard(t, NULL) == 0;
	return -1;
}

static int carry_out(struct transaction *t, bool resumed, struct error *err)
{
	if (steps_forward(t, resumed, err) < 0 ||
	    (t->journal.index && stages_write(t->repository, t->own, false, err) < 0))
		return roll_back(t, err);
	t->journal.state = JOURNAL_DONE;
	if (journal_write(t->own, &t->journal, err) < 0)
		return roll_back(t, err);
	return 0;
}

int transaction_commit(struct transaction *t, struct error *err)
{
	int result =
		fsync(transaction_stage(t)) < 0 ? error_errno(err, "cannot sync a directory") : 0;

	t->journal.state = JOURNAL_COMMITTING;
	if (result == 0)
		result = journal_write(t->own, &t->journal, err);
	if (result < 0) {
		/* It may say so by now; but what has failed must not be done by a later command. */
		transaction_discard(t, NULL);
		return -1;
	}
	if (carry_out(t, false, err) < 0)
		return -1;
	/* The work tree is what it is to be; what is left the next command will do. */
	finish(t, NULL);
	return 0;
}

/* 1 when there is none. */
static int open_left(struct transaction *t, struct error *err)
{
	t->own = open_beneath(t->home, own_name, O_RDONLY | O_DIRECTORY, 0);
	if (t->own < 0)
		return errno == ENOENT ? 1 : error_errno(err, "cannot open a transaction");
	int result = journal_read(t->own, &t->journal, err);

	if (result < 0)
		return error_wrap(err, "%s/jib/%s", t->repository->git_dir, own_name);
	if (!t->journal.outside)
		return 0;
	t->outside = open_beneath(t->top, t->journal.outside, O_RDONLY | O_DIRECTORY, 0);
	if (t->outside < 0 && errno != ENOENT)
		return error_errno(err, "cannot open %s", t->journal.outside);
	return 0;
}

/* Goes on where it says `committing`. */
static int resume(struct transaction *t, enum transaction_recovery *ret, struct error *err)
{
	autoerror struct error cause = ERROR_INIT;

	*ret = RECOVERY_FINISHED;
	if (t->journal.index && stages_check_lock(t->repository, t->git_dir, err) < 0)
		return -1;
	if (carry_out(t, true, &cause) == 0)
		return finish(t, err);
	if (t->rolled_back) {
		*ret = RECOVERY_DISCARDED;
		return 0;
	}
	error_set(err, cause.code, "cannot finish what was interrupted: %s", cause.message);
	return cause.hint ? error_hint(err, "%s", cause.hint) : -1;
}

int transaction_settle(struct transaction *t, enum transaction_recovery *ret, struct error *err)
{
	int result = open_left(t, err);

	*ret = RECOVERY_NONE;
	if (result != 0)
		return result < 0 ? -1 : 0;
	switch (t->journal.state) {
	case JOURNAL_PREPARING:
		*ret = RECOVERY_DISCARDED;
		result = transaction_discard(t, err);
		break;
	case JOURNAL_COMMITTING:
		result = resume(t, ret, err);
		break;
	case JOURNAL_DONE:
		*ret = RECOVERY_FINISHED;
		result = finish(t, err);
		break;
	}
	t->rolled_back = false;
	journal_release(&t->journal);
	return result;
}

int transaction_recover(const struct repository *repository, enum transaction_recovery *ret,
			struct error *err)
{
	autotransaction struct transaction t = TRANSACTION_INIT;
	enum transaction_recovery recovery = RECOVERY_NONE;
	int result = transaction_open(repository, false, &t, err);

	if (result == 0)
		result = transaction_settle(&t, &recovery, err);
	if (result < 0)
		return -1;
	*ret = recovery;
	return 0;
}
