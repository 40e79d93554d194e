#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "git/git.h"
#include "snapshot/fingerprint.h"
#include "snapshot/host-index.h"
#include "snapshot/status.h"
#include "snapshot/tree-files.h"
#include "snapshot/tree-making.h"

/* Entries are handled in batches: memory does not grow with the repository. */
enum { BATCH = 8192 };

static const char from_commit[] = "index"; /* as git reads it from the commit */

struct full {
	const struct tree_making *making;
	const struct tree_parent *parent;
	struct tree_places places;
	struct host_index host;
	struct index_entry entries[BATCH];
	struct tree_file files[BATCH];
	bool same[BATCH]; /* the host's index has the same entry */
	size_t count;
	struct str wanted; /* paths that git has to write */
	/* What git says, when the host's index alone does not tell. */
	bool asked;
	struct timespec since; /* before it was asked */
	struct str said;
	struct status status;
	size_t done, total;
};

/*
 * The index of the commit. With sparse patterns only git knows which files there are: it writes
 * them at the same time.
 */
static int read_commit(const struct tree_making *making, struct error *err)
{
	autofree char *place = realpath(fd_path(making->layer).s, NULL);
	autostrv struct strv args = STRV_INIT;
	static const char *const settings[] = {
		"index.version=2",	   "core.splitIndex=false",
		"feature.manyFiles=false", "index.sparse=false",
		"checkout.workers=2",	   "checkout.thresholdForParallelism=500",
	};

	if (!place)
		return error_errno(err, "cannot name the layer's directory");
	autofree char *index = xasprintf("%s/%s", place, from_commit);
	autofree char *tree = xasprintf("%s/tree", place);
	struct git_place git = {.directory = making->repository->top,
				.index = index,
				.progress = making->progress,
				.what = "reading the commit"};

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		strv_add(&args, "-c");
		strv_add(&args, settings[i]);
	}
	strv_add(&args, "read-tree");
	if (making->sparse) {
		/* Discovery would find the host's work tree. */
		git.git_dir = making->repository->git_dir;
		git.work_tree = tree;
		strv_add(&args, "--reset");
		strv_add(&args, "-u");
		strv_add(&args, "--no-recurse-submodules");
	}
	strv_add(&args, making->head->commit);
	return tree_run_git(making, &git, (const char *const *)args.items, err);
}

/*
 * The index does not know a file that was touched and not changed: git looks into it. With the
 * answer goes the moment before the question; what was changed later is not known again.
 */
static int ask_git(struct full *full, struct error *err)
{
	const char *const args[] = {"status",
				    "--porcelain=v2",
				    "-z",
				    "--branch",
				    "--no-renames",
				    "--untracked-files=no",
				    "--ignore-submodules=all",
				    NULL};

	full->asked = true;
	clock_gettime(CLOCK_REALTIME_COARSE, &full->since);
	if (git_run(&(struct git_place){.directory = full->making->repository->top}, args,
		    &full->said, err) < 0)
		return error_wrap(err, "cannot ask what has changed in %s",
				  full->making->repository->top);
	return status_parse(full->said.len ? full->said.s : (char[]){""}, full->said.len,
			    &full->status, err);
}

static bool has_changed(const struct status *status, const char *path)
{
	for (size_t i = 0; i < status->count; i++)
		if (strcmp(status->items[i].path, path) == 0)
			return true;
	return false;
}

/*
 * Whether git, which compares seconds and perhaps no more than the times of content, has to read the
 * file to know what it is.
 */
static bool git_reads(const struct full *full, const struct index_stat *known,
		      const struct stat *st)
{
	return known->modified >= (uint32_t)full->host.written.tv_sec ||
	       known->modified != (uint32_t)st->st_mtim.tv_sec ||
	       known->size != (uint32_t)st->st_size;
}

/*
 * 1 when it is the same as in the index, and has been before git was asked; *stat is what the index
 * knows of it, and becomes what it looks like.
 */
static int look_at_host(struct full *full, const char *path, struct index_stat *stat,
			struct error *err)
{
	autofd int fd = open_beneath(full->places.host, path, O_PATH | O_NOFOLLOW, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !git_reads(full, stat, &st))
		return 0;
	if (!full->asked && ask_git(full, err) < 0)
		return -1;
	if (fingerprint_is_later(&full->since, &st.st_ctim) == 0 ||
	    has_changed(&full->status, path))
		return 0;
	*stat = index_stat_of(&st);
	return 1;
}

static int add_entry(struct full *full, const struct index_entry *entry, struct error *err)
{
	struct tree_file *file = &full->files[full->count];
	struct index_entry *kept = &full->entries[full->count++];

	*kept = *entry;
	kept->path = xstrdup(entry->path);
	kept->stat = (struct index_stat){0};
	*file = (struct tree_file){.path = kept->path, .mode = entry->mode};
	int clean = host_index_ask(&full->host, entry, &file->host, err);

	if (clean < 0)
		return -1;
	file->on_host = clean == 1;
	full->same[full->count - 1] = clean != 0;
	file->in_stack = full->parent && full->places.stack_count &&
			 !tree_diff_find(&full->parent->diff, entry->path);
	return 0;
}

static int settle(const struct full *full, struct tree_file *file, struct error *err)
{
	file->made = true;
	return tree_settle(full->making, file->path, file->on_host ? &file->host : NULL,
			   &file->stat, err);
}

static bool is_submodule(const struct index_entry *entry)
{
	return entry->mode == MODE_GITLINK;
}

static int try_again(struct full *full, struct error *err)
{
	for (size_t i = 0; i < full->count; i++) {
		struct tree_file *file = &full->files[i];
		int same = file->made || !full->same[i]
				   ? 0
				   : look_at_host(full, file->path, &file->host, err);

		file->on_host = file->on_host || same == 1;
		if (same < 0 || (same == 1 && tree_files_make(&full->places, file, 1, err) < 0))
			return -1;
	}
	return 0;
}

static int make_batch(struct full *full, struct error *err)
{
	const struct tree_making *making = full->making;

	if (!making->sparse)
		return tree_files_make(&full->places, full->files, full->count, err) < 0
			       ? -1
			       : try_again(full, err);
	for (size_t i = 0; i < full->count; i++)
		if (!full->entries[i].skip_worktree && !is_submodule(&full->entries[i]) &&
		    settle(full, &full->files[i], err) < 0)
			return -1;
	return 0;
}

static int flush(struct full *full, struct index_writer *base, struct error *err)
{
	int result = make_batch(full, err);

	for (size_t i = 0; i < full->count; i++) {
		struct index_entry *entry = &full->entries[i];
		const struct tree_file *file = &full->files[i];

		if (file->made && !is_submodule(entry))
			entry->stat = file->stat;
		else if (!file->made && !entry->skip_worktree && !is_submodule(entry))
			str_add_bytes(&full->wanted, entry->path, strlen(entry->path) + 1);
		if (result == 0)
			result = index_writer_add(base, entry, err);
		free((char *)entry->path);
	}
	full->done += full->count;
	full->count = 0;
	progress_step(full->making->progress, "preparing the files of the commit", full->done,
		      full->total);
	return result;
}

static int fill(struct full *full, const char *name, struct error *err)
{
	const struct tree_making *making = full->making;
	autoreader struct index_reader *reader = NULL;
	autowriter struct index_writer *base = NULL;
	const struct index_entry *entry;
	int result;

	if (index_reader_open(making->layer, from_commit, making->sha256, &reader, err) < 0)
		return -1;
	full->total = index_reader_count(reader);
	if (index_writer_open(making->layer, name, making->sha256, (uint32_t)full->total, &base,
			      err) < 0)
		return -1;
	while ((result = index_reader_next(reader, &entry, err)) == 1) {
		if (add_entry(full, entry, err) < 0 ||
		    (full->count == BATCH && flush(full, base, err) < 0))
			return -1;
	}
	if (result != 0)
		return result < 0 ? -1 : error_set(err, ERR_GIT, "git wrote a split index");
	if (flush(full, base, err) < 0)
		return -1;
	return index_writer_finish(&base, err);
}

/* The second pass: what git has written since gets its stat data. */
static int settle_wanted(const struct full *full, const char *from, const char *to,
			 struct error *err)
{
	const struct tree_making *making = full->making;
	autoreader struct index_reader *reader = NULL;
	autowriter struct index_writer *base = NULL;
	const char *wanted = full->wanted.s, *end = full->wanted.s + full->wanted.len;
	const struct index_entry *entry;
	int result;

	if (index_reader_open(making->layer, from, making->sha256, &reader, err) < 0 ||
	    index_writer_open(making->layer, to, making->sha256, index_reader_count(reader), &base,
			      err) < 0)
		return -1;
	while ((result = index_reader_next(reader, &entry, err)) == 1) {
		struct index_entry settled = *entry;

		if (wanted < end && strcmp(wanted, entry->path) == 0) {
			struct tree_file file = {.path = entry->path, .mode = entry->mode};

			if (settle(full, &file, err) < 0)
				return -1;
			settled.stat = file.stat;
			wanted += strlen(wanted) + 1;
		}
		if (index_writer_add(base, &settled, err) < 0)
			return -1;
	}
	if (result < 0)
		return -1;
	return index_writer_finish(&base, err);
}

static int write_wanted(const struct full *full, struct error *err)
{
	const struct tree_making *making = full->making;

	if (!full->wanted.len)
		return renameat(making->layer, "base.new", making->layer, "base") < 0
			       ? error_errno(err, "cannot rename the layer's index")
			       : 0;
	if (file_replace_at(making->layer, "wanted", full->wanted.s, full->wanted.len, 0600, false,
			    err) < 0 ||
	    tree_check_out(making, from_commit, "wanted", err) < 0 ||
	    settle_wanted(full, "base.new", "base", err) < 0)
		return -1;
	if (unlinkat(making->layer, "wanted", 0) < 0 || unlinkat(making->layer, "base.new", 0) < 0)
		return error_errno(err, "cannot tidy a layer");
	return 0;
}

static int make(struct full *full, struct error *err)
{
	const struct tree_making *making = full->making;
	autotrees struct index_trees trees = INDEX_TREES_INIT;

	if (read_commit(making, err) < 0 ||
	    host_index_open(making->repository, making->layer, making->sha256, &full->host, err) <
		    0 ||
	    fill(full, "base.new", err) < 0 || write_wanted(full, err) < 0 ||
	    index_trees_read(making->layer, from_commit, making->sha256, &trees, err) < 0 ||
	    index_trees_store(&trees, making->layer, "trees", making->sha256, err) < 0)
		return -1;
	if (unlinkat(making->layer, from_commit, 0) < 0 ||
	    (unlinkat(making->layer, "host-index", 0) < 0 && errno != ENOENT))
		return error_errno(err, "cannot tidy a layer");
	return 0;
}

int tree_make_full(const struct tree_making *making, const struct tree_parent *parent,
		   size_t *ret_files, struct error *err)
{
	struct full *full = xcalloc(1, sizeof *full);
	int *stack = NULL;
	int result = -1;

	full->making = making;
	full->parent = parent;
	full->places = (struct tree_places){.target = making->tree, .host = making->host};
	if (!parent || tree_stack_open(making->root, &parent->ids, &stack, err) == 0) {
		full->places.stack = stack;
		full->places.stack_count = parent ? parent->ids.len : 0;
		result = make(full, err);
	}
	*ret_files = full->total;
	tree_stack_close(stack, full->places.stack_count);
	host_index_close(&full->host);
	for (size_t i = 0; i < full->count; i++)
		free((char *)full->entries[i].path);
	str_release(&full->wanted);
	str_release(&full->said);
	status_release(&full->status);
	free(full);
	return result;
}
