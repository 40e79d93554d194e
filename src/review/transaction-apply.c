/*
 * From a merge to a transaction.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "review/stages.h"
#include "review/transaction-parts.h"

/* How much of the path's directories is there already. */
static int measure_kept(const struct transaction *t, const char *path, size_t *ret,
			struct error *err)
{
	size_t kept = 0;

	for (const char *end = strchr(path, '/'); end; end = strchr(end + 1, '/')) {
		autofree char *above = xstrndup(path, (size_t)(end - path));
		struct content content;

		if (content_peek(t->top, above, &content, err) < 0)
			return -1;
		if (content.kind != CONTENT_DIRECTORY)
			break;
		kept = (size_t)(end - path);
	}
	*ret = kept;
	return 0;
}

static bool is_written(const struct verdict *verdict, bool markers)
{
	return verdict->kind == VERDICT_TAKE || verdict->kind == VERDICT_MERGED ||
	       (verdict->kind == VERDICT_CONFLICT && verdict->markers && markers);
}

static int add_steps(struct transaction *t, const struct verdict *verdict, struct error *err)
{
	static const struct content absent = {.kind = CONTENT_ABSENT};
	const struct change *change = verdict->change;
	const struct content *before = change->from ? &absent : &verdict->host;
	size_t kept = 0;

	if (change->from)
		journal_add(&t->journal, change->from, &verdict->host, &absent, 0);
	if (before->kind == CONTENT_ABSENT && measure_kept(t, change->path, &kept, err) < 0)
		return -1;
	journal_add(&t->journal, change->path, before, &verdict->result, kept);
	return 0;
}

static mode_t with_execution(mode_t mode, bool executable)
{
	return executable ? mode | ((mode & 0444) >> 2) : mode & ~(mode_t)0111;
}

static int stage_result(struct transaction *t, size_t step, const struct merge *merge,
			const struct verdict *verdict, struct error *err)
{
	const struct change *change = verdict->change;
	autofree char *scratch = merge_scratch_name(merge, verdict);
	struct step_name name = step_name(step);
	bool executable = verdict->result.executable;
	struct content_wish wish = {.mode = executable ? 0777 : 0666, .synced = true};
	int from = -1;
	const char *path = NULL;

	if (verdict->host.kind == CONTENT_FILE) {
		wish.mode = with_execution(verdict->host.mode, executable);
		wish.exact = true;
	}
	switch (verdict->source) {
	case SOURCE_NONE:
		return 0;
	case SOURCE_THEIRS:
		from = change->theirs.dirfd;
		path = change->theirs.path;
		break;
	case SOURCE_HOST:
		from = merge->top;
		path = change->from ? change->from : change->path;
		break;
	case SOURCE_SCRATCH:
		from = merge->scratch_fd;
		path = scratch;
		break;
	}
	struct content staged;

	if (content_copy(from, path, &verdict->result, &wish, transaction_stage(t), name.s, err) <
		    0 ||
	    content_peek(transaction_stage(t), name.s, &staged, err) < 0)
		return -1;
	t->journal.steps[step].after.mode = staged.mode;
	return 0;
}

static int stage_all(struct transaction *t, const struct merge *merge, bool markers,
		     struct error *err)
{
	for (size_t i = 0; i < merge->count; i++) {
		const struct verdict *verdict = &merge->items[i];

		if (!is_written(verdict, markers) || verdict->source == SOURCE_NONE)
			continue;
		size_t step = journal_find(&t->journal, verdict->change->path, false);

		if (stage_result(t, step, merge, verdict, err) < 0) {
			autostr struct str safe = STR_INIT;

			str_add_escaped(&safe, t->journal.steps[step].path,
					strlen(t->journal.steps[step].path));
			return error_wrap(err, "cannot prepare %s", safe.s);
		}
	}
	return 0;
}

static int prepare(struct transaction *t, const struct merge *merge, bool markers,
		   struct error *err)
{
	t->journal.name = xstrdup(merge->name);
	if (transaction_begin(t, err) < 0)
		return -1;
	for (size_t i = 0; i < merge->count; i++)
		if (is_written(&merge->items[i], markers) &&
		    add_steps(t, &merge->items[i], err) < 0)
			return -1;
	journal_arrange(&t->journal);
	if (markers) {
		int none = stages_prepare(t->repository, merge, t->own, err);

		if (none < 0)
			return -1;
		t->journal.index = none == 0;
	}
	return stage_all(t, merge, markers, err);
}

static bool has_work(const struct merge *merge, bool markers)
{
	for (size_t i = 0; i < merge->count; i++)
		if (is_written(&merge->items[i], markers) || (markers && merge->items[i].sided))
			return true;
	return false;
}

int transaction_apply(const struct repository *repository, const struct merge *merge, bool markers,
		      struct error *err)
{
	autotransaction struct transaction t = TRANSACTION_INIT;
	enum transaction_recovery recovery;

	if (merge->conflicts && !markers)
		return 1;
	if (!has_work(merge, markers))
		return merge->conflicts > 0;
	if (transaction_open(repository, true, &t, err) < 0 ||
	    transaction_settle(&t, &recovery, err) < 0 ||
	    stages_check_lock(repository, t.git_dir, err) < 0)
		return -1;
	if (prepare(&t, merge, markers, err) < 0) {
		transaction_discard(&t, NULL);
		return -1;
	}
	if (transaction_commit(&t, err) < 0)
		return -1;
	return merge->conflicts > 0;
}
