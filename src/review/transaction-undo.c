/*
 * The last transaction, backwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "review/stages.h"
#include "review/transaction-parts.h"

void undo_release(struct undo *undo)
{
	for (size_t i = 0; i < undo->conflict_count; i++)
		free(undo->conflicts[i].path);
	free(undo->conflicts);
	free(undo->name);
	*undo = (struct undo)UNDO_INIT;
}

static void add_conflict(struct undo *undo, const char *path, const char *reason)
{
	undo->conflicts =
		xreallocarray(undo->conflicts, undo->conflict_count + 1, sizeof *undo->conflicts);
	undo->conflicts[undo->conflict_count++] = (struct undo_conflict){xstrdup(path), reason};
}

/* Whether an undo itself removes what a path is below of: a file that became a directory. */
static bool is_written_by(const struct journal *last, const char *path)
{
	for (size_t i = 0; i < last->count; i++) {
		size_t len = strlen(last->steps[i].path);

		if (last->steps[i].after.kind != CONTENT_ABSENT &&
		    strncmp(last->steps[i].path, path, len) == 0 && path[len] == '/')
			return true;
		if (last->steps[i].after.kind != CONTENT_ABSENT &&
		    str_starts(last->steps[i].path, path) &&
		    last->steps[i].path[strlen(path)] == '/')
			return true;
	}
	return false;
}

static int check_file(const struct transaction *t, const struct journal *last,
		      const struct step *step, struct undo *undo, struct error *err)
{
	struct content now;

	if (content_look(t->top, step->path, &now, err) < 0)
		return -1;
	if (content_equal(&now, &step->after))
		return 0;
	if (step->after.kind == CONTENT_ABSENT &&
	    (now.kind == CONTENT_BLOCKED || now.kind == CONTENT_DIRECTORY) &&
	    is_written_by(last, step->path))
		return 0;
	add_conflict(undo, step->path,
		     now.kind == CONTENT_ABSENT		  ? "it was removed since"
		     : step->after.kind == CONTENT_ABSENT ? "it was made again since"
							  : "it was changed since");
	return 0;
}

static int find_conflicts(const struct transaction *t, const struct journal *last, int from,
			  struct undo *undo, struct error *err)
{
	autostrv struct strv changed = STRV_INIT;

	for (size_t i = 0; i < last->count; i++)
		if (check_file(t, last, &last->steps[i], undo, err) < 0)
			return -1;
	if (last->index && stages_find_changed(t->repository, from, &changed, err) < 0)
		return -1;
	for (size_t i = 0; i < changed.len; i++)
		add_conflict(undo, changed.items[i], "its entry in the index was changed since");
	return 0;
}

static int prepare(struct transaction *t, const struct journal *last, int from, struct error *err)
{
	t->journal.name = xstrdup(last->name);
	t->journal.undoes = !last->undoes;
	t->journal.index = last->index;
	if (transaction_begin(t, err) < 0)
		return -1;
	for (size_t i = 0; i < last->count; i++)
		journal_add(&t->journal, last->steps[i].path, &last->steps[i].after,
			    &last->steps[i].before, last->steps[i].kept);
	journal_arrange(&t->journal);
	for (size_t i = 0; i < last->count; i++) {
		const struct content *content = &last->steps[i].before;
		const struct content_wish wish = {
			.mode = content->mode, .exact = true, .synced = true};
		struct step_name name = step_name(i);
		struct step_name other =
			step_name(journal_find(&t->journal, last->steps[i].path, false));

		if (content->kind != CONTENT_ABSENT &&
		    content_copy(from, name.s, content, &wish, transaction_stage(t), other.s, err) <
			    0)
			return error_wrap(err, "what was kept for an undo is damaged");
	}
	return last->index ? stages_reverse(from, t->own, err) : 0;
}

static int open_last(const struct transaction *t, int *ret_fd, struct journal *ret,
		     struct error *err)
{
	autofd int fd = open_beneath(t->home, "undo", O_RDONLY | O_DIRECTORY, 0);
	int result = fd < 0 ? 1 : journal_read(fd, ret, err);

	if (fd < 0 && errno != ENOENT)
		return error_errno(err, "cannot open %s/jib/undo", t->repository->git_dir);
	if (result < 0)
		return error_wrap(err, "%s/jib/undo", t->repository->git_dir);
	if (result > 0)
		return error_set(err, ERR_NOT_FOUND, "nothing was applied to %s",
				 t->repository->top);
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int undo_last(struct transaction *t, bool dry, struct undo *undo, struct error *err)
{
	autojournal struct journal last = JOURNAL_INIT;
	autofd int from = -1;

	if (open_last(t, &from, &last, err) < 0)
		return -1;
	undo->name = xstrdup(last.name);
	undo->again = last.undoes;
	undo->files = last.count;
	if (find_conflicts(t, &last, from, undo, err) < 0)
		return -1;
	if (undo->conflict_count || dry)
		return undo->conflict_count > 0;
	if (stages_check_lock(t->repository, t->git_dir, err) < 0)
		return -1;
	if (prepare(t, &last, from, err) < 0) {
		transaction_discard(t, NULL);
		return -1;
	}
	return transaction_commit(t, err);
}

int transaction_undo(const struct repository *repository, bool dry, struct undo *ret,
		     struct error *err)
{
	autotransaction struct transaction t = TRANSACTION_INIT;
	autoundo struct undo undo = UNDO_INIT;
	enum transaction_recovery recovery;
	int result = transaction_open(repository, false, &t, err);

	if (result > 0)
		return error_set(err, ERR_NOT_FOUND, "nothing was applied to %s", repository->top);
	if (result < 0 || transaction_settle(&t, &recovery, err) < 0)
		return -1;
	result = undo_last(&t, dry, &undo, err);
	if (result < 0)
		return -1;
	*ret = undo;
	undo = (struct undo)UNDO_INIT;
	return result;
}
