/*
 * The steps of a transaction: one rename(2) each, which brings the new content in and takes the old
 * one out, so that what was there is never lost, and can be looked at when nobody else writes to it
 * by its name any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "review/transaction-parts.h"

enum move {
	MOVE_IN,   /* from the stage to a path where there is nothing */
	MOVE_OUT,  /* from the path to the stage */
	MOVE_SWAP, /* both */
};

enum { CHANGED = 1 };

struct step_name step_name(size_t step)
{
	struct step_name name;

	snprintf(name.s, sizeof name.s, "%zu", step);
	return name;
}

static char *parent_of(const char *path)
{
	const char *last = path_last(path);

	return last == path ? xstrdup(".") : xstrndup(path, (size_t)(last - path) - 1);
}

static int rename_at(int from, const char *name, int to, const char *other, unsigned int flags)
{
	return (int)syscall(SYS_renameat2, from, name, to, other, flags);
}

static int move(const struct transaction *t, size_t step, int parent, enum move move)
{
	const char *last = path_last(t->journal.steps[step].path);
	struct step_name name = step_name(step);
	int stage = transaction_stage(t);

	if (move == MOVE_OUT)
		return rename_at(parent, last, stage, name.s, RENAME_NOREPLACE);
	return rename_at(stage, name.s, parent, last,
			 move == MOVE_IN ? RENAME_NOREPLACE : RENAME_EXCHANGE);
}

static enum move reverse(enum move move)
{
	if (move == MOVE_SWAP)
		return MOVE_SWAP;
	return move == MOVE_IN ? MOVE_OUT : MOVE_IN;
}

/* Removes the directories above a path that are empty now. Those stay that were there before. */
static int remove_empty(const struct transaction *t, const struct step *step, struct error *err)
{
	autofree char *path = xstrdup(step->path);

	for (;;) {
		char *slash = strrchr(path, '/');

		if (!slash || (size_t)(slash - path) <= step->kept)
			return 0;
		*slash = '\0';
		autofree char *above = parent_of(path);
		autofd int parent = open_within(t->top, above, O_RDONLY | O_DIRECTORY);

		if (parent >= 0 && unlinkat(parent, path_last(path), AT_REMOVEDIR) == 0) {
			if (fsync(parent) < 0)
				return error_errno(err, "cannot sync a directory");
			continue;
		}
		/* A command that was killed may have removed only some of them. */
		if (errno == ENOENT)
			continue;
		if (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EROFS)
			return error_errno(err, "cannot remove a directory");
		/* Not empty, a mount, a link by now: whatever it is, it is not ours to remove. */
		return 0;
	}
}

/* Whether the directory that is held open is still the one of that name. */
static bool still_there(const struct transaction *t, const char *path, int parent)
{
	struct stat held, named;
	autofd int fd = open_within(t->top, path, O_PATH | O_DIRECTORY);

	return fd >= 0 && fstat(fd, &named) == 0 && fstat(parent, &held) == 0 &&
	       named.st_ino == held.st_ino && named.st_dev == held.st_dev;
}

/* What was taken out is what is expected, and what was brought in is where it belongs. */
static int verify(const struct transaction *t, size_t step, const char *above, int parent,
		  enum move move, const struct content *expected, struct error *err)
{
	struct step_name name = step_name(step);
	struct content found;

	if (!still_there(t, above, parent))
		return CHANGED;
	if (move == MOVE_IN)
		return 0;
	if (content_look(transaction_stage(t), name.s, &found, err) < 0)
		return -1;
	return content_equal(&found, expected) ? 0 : CHANGED;
}

static bool is_other_state(int number)
{
	return number == ENOENT || number == ENOTDIR || number == ELOOP || number == EEXIST ||
	       number == EISDIR || number == ENOTEMPTY || number == EXDEV;
}

/* Directories that were made for a file last no less than the file. */
static int sync_above(const struct transaction *t, const struct step *step, struct error *err)
{
	autofree char *path = parent_of(step->path);

	while (strcmp(path, ".") != 0 && strlen(path) > step->kept) {
		autofree char *above = parent_of(path);
		autofd int fd = open_within(t->top, above, O_RDONLY | O_DIRECTORY);

		if (fd >= 0 && fsync(fd) < 0)
			return error_errno(err, "cannot sync a directory");
		free(path);
		path = steal_ptr(&above);
	}
	return 0;
}

/* Opens the directory of a step's path, and makes it when something is to go there. */
static int open_parent(const struct transaction *t, const char *above, enum move what, int *ret_fd,
		       struct error *err)
{
	autoerror struct error made = ERROR_INIT;

	if (what == MOVE_IN) {
		if (dir_make_path_at(t->top, above, 0777, ret_fd, &made) == 0)
			return 0;
		errno = made.number;
	} else {
		*ret_fd = open_within(t->top, above, O_RDONLY | O_DIRECTORY);
		if (*ret_fd >= 0)
			return 0;
	}
	return is_other_state(errno) ? CHANGED : error_errno(err, "cannot open a directory");
}

static int rename_verified(const struct transaction *t, size_t index, int parent, const char *above,
			   enum move what, const struct content *expected, struct error *err)
{
	const struct step *step = &t->journal.steps[index];

	if (move(t, index, parent, what) < 0) {
		if (is_other_state(errno))
			return CHANGED;
		if (errno == EINVAL)
			return error_set(err, ERR_FILESYSTEM,
					 "this file system cannot exchange two files");
		return error_errno(err, "cannot rename");
	}
	int result = verify(t, index, above, parent, what, expected, err);

	if (result == 0 && fsync(parent) < 0)
		result = error_errno(err, "cannot sync a directory");
	if (result == 0 && what == MOVE_IN)
		result = sync_above(t, step, err);
	if (result != 0 && move(t, index, parent, reverse(what)) < 0)
		return error_errno(err, "cannot put back what was taken out");
	return result;
}

/* CHANGED when the host has something else there than `expected`: then it is as it was before. */
static int move_verified(const struct transaction *t, size_t index, enum move what,
			 const struct content *expected, struct error *err)
{
	const struct step *step = &t->journal.steps[index];
	autofree char *above = parent_of(step->path);
	autofd int parent = -1;
	int result = open_parent(t, above, what, &parent, err);

	if (result == 0)
		result = rename_verified(t, index, parent, above, what, expected, err);
	if (result != 0 && what == MOVE_IN)
		remove_empty(t, step, NULL);
	return result;
}

/* Puts the path of a step before a message. */
static int wrap(const struct step *step, struct error *err)
{
	autostr struct str safe = STR_INIT;

	str_add_escaped(&safe, step->path, strlen(step->path));
	return error_wrap(err, "cannot write %s", safe.s);
}

static int fail_changed(const struct step *step, struct error *err)
{
	autostr struct str safe = STR_INIT;

	str_add_escaped(&safe, step->path, strlen(step->path));
	error_set(err, ERR_UNSTABLE, "%s has changed on the host meanwhile", safe.s);
	return error_hint(err, "try again");
}

static enum move forward_move(const struct step *step)
{
	if (step->before.kind == CONTENT_ABSENT)
		return MOVE_IN;
	return step->after.kind == CONTENT_ABSENT ? MOVE_OUT : MOVE_SWAP;
}

/* By what is staged: 1 done, 0 not, -1. */
static int is_done(const struct transaction *t, size_t index, struct error *err)
{
	const struct step *step = &t->journal.steps[index];
	struct step_name name = step_name(index);
	struct content staged;

	if (content_look(transaction_stage(t), name.s, &staged, err) < 0)
		return -1;
	switch (forward_move(step)) {
	case MOVE_IN:
		return staged.kind == CONTENT_ABSENT;
	case MOVE_OUT:
		return staged.kind != CONTENT_ABSENT;
	default:
		return !content_equal(&staged, &step->after);
	}
}

/* A step that a killed command has done, but perhaps not looked at. */
static int check_done(const struct transaction *t, size_t index, struct error *err)
{
	const struct step *step = &t->journal.steps[index];
	struct step_name name = step_name(index);
	struct content staged;

	if (content_look(transaction_stage(t), name.s, &staged, err) < 0)
		return -1;
	return content_equal(&staged, &step->before) ? 0 : fail_changed(step, err);
}

static int do_step(const struct transaction *t, size_t index, struct error *err)
{
	const struct step *step = &t->journal.steps[index];
	enum move what = forward_move(step);
	int result = move_verified(t, index, what, &step->before, err);

	if (result == CHANGED)
		return fail_changed(step, err);
	return result < 0 ? wrap(step, err) : 0;
}

int steps_forward(const struct transaction *t, bool resumed, struct error *err)
{
	for (size_t i = 0; i < t->journal.count; i++) {
		const struct step *step = &t->journal.steps[i];
		int done = resumed ? is_done(t, i, err) : 0;

		if (done < 0 || (done && check_done(t, i, err) < 0) ||
		    (!done && do_step(t, i, err) < 0))
			return -1;
		if (step->after.kind == CONTENT_ABSENT && remove_empty(t, step, err) < 0)
			return -1;
	}
	return fsync(transaction_stage(t)) < 0 ? error_errno(err, "cannot sync a directory") : 0;
}

int steps_backward(const struct transaction *t, size_t *ret_left, struct error *err)
{
	size_t left = 0;

	for (size_t i = t->journal.count; i-- > 0;) {
		const struct step *step = &t->journal.steps[i];
		int done = is_done(t, i, err);

		if (done < 0)
			return -1;
		if (!done)
			continue;
		int result = move_verified(t, i, reverse(forward_move(step)), &step->after, err);

		if (result < 0)
			return wrap(step, err);
		left += result == CHANGED;
		if (step->before.kind == CONTENT_ABSENT && remove_empty(t, step, err) < 0)
			return -1;
	}
	*ret_left = left;
	return 0;
}
