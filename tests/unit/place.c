#include "place.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { PAST = 1600000000 };

/*
 * What the guest does inside: names every file that is not as it was when the index was made.
 * (Files that differ in inode or change time, or are in only one of two listings.)
 */
static const char monitor[] =
	"#!/bin/sh\n"
	"export LC_ALL=C\n"
	"find . -path ./.git -prune -o ! -type d -printf '%C@ %i %P\\0' | sort -z >.git/now\n"
	"printf 'jib:0\\0'\n"
	"comm -z -23 .git/then .git/now | cut -z -d ' ' -f 3-\n"
	"comm -z -13 .git/then .git/now | cut -z -d ' ' -f 3-\n";

static void fill(int fd)
{
	static const char *const directories[] = {
		"a", "a/b", "a/b/c", "a-b", "a.b", "a0", "deep/er/and/deep/er", "other", "gone"};

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		make_dirs(fd, directories[i]);
		for (int k = 0; k < 25; k++) {
			autofree char *name = xasprintf("%s/file-%d", directories[i], k * 13);
			autofree char *text = xasprintf("%s\n", name);

			put_text(fd, name, text);
		}
	}
	for (int k = 0; k < 60; k++) {
		autofree char *name = xasprintf("many-%d", k);

		make_dirs(fd, name);
		autofree char *file = xasprintf("%s/only", name);

		put_text(fd, file, "1\n");
	}
	put_text(fd, "\xff\n\"odd\"", "x\n");
	put_text(fd, "a/b/\xc3\xa4 \\ \t", "x\n");
	put_text(fd, "run", "#!/bin/sh\n");
	put_text(fd, "empty", "");
	put_text(fd, ".gitignore", "*.o\n");
	put_text(fd, "a/b/.gitignore", "*.log\n!keep.o\n");
	put_text(fd, "other/.gitignore", "");
	assert_int_equal(fchmodat(fd, "run", 0755, 0), 0);
	assert_int_equal(symlinkat("nowhere", fd, "a/link"), 0);
	assert_int_equal(symlinkat("a", fd, "directory-link"), 0);
}

static int set_time(void *data, int dirfd, const char *name, const char *path,
		    const struct stat *st)
{
	const struct timespec times[2] = {{.tv_sec = PAST}, {.tv_sec = PAST}};

	(void)data;
	if (strcmp(path, ".git") == 0)
		return TREE_SKIP;
	if (!S_ISDIR(st->st_mode))
		utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW);
	return 0;
}

/* The base: the commit, as the files of the work tree are now. */
static void make_base(struct place *place)
{
	autoerror struct error err = ERROR_INIT;
	autofree char *output = temp_path(place->temp, "layer/commit");
	autofree char *option = xasprintf("--index-output=%s", output);
	autoreader struct index_reader *reader = NULL;
	autowriter struct index_writer *writer = NULL;
	const struct index_entry *entry = NULL;
	int result;

	git(place->path, "read-tree", option, "HEAD", NULL);
	assert_success(index_trees_read(place->layer, "commit", place->sha256, &place->trees, &err),
		       &err);
	assert_success(index_reader_open(place->layer, "commit", place->sha256, &reader, &err),
		       &err);
	assert_success(index_writer_open(place->layer, "base", place->sha256,
					 index_reader_count(reader), &writer, &err),
		       &err);
	while ((result = index_reader_next(reader, &entry, &err)) == 1) {
		struct index_entry copy = *entry;
		struct stat st;

		assert_int_equal(fstatat(place->tree, entry->path, &st, AT_SYMLINK_NOFOLLOW), 0);
		if (!S_ISDIR(st.st_mode))
			copy.stat = index_stat_of(&st);
		assert_success(index_writer_add(writer, &copy, &err), &err);
	}
	assert_success(result, &err);
	assert_success(index_writer_finish(&writer, &err), &err);
}

void place_init(struct place *place, const struct temp *temp, bool sha256)
{
	autoerror struct error err = ERROR_INIT;
	autofree char *module = temp_path(temp, "r/modules/m");

	*place = (struct place){.temp = temp, .sha256 = sha256};
	place->path = temp_path(temp, "r");
	git(temp->path, "init", "-q", "-b", "main",
	    sha256 ? "--object-format=sha256" : "--object-format=sha1", "r", NULL);
	place->tree = openat(temp->fd, "r", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	place->git_dir = openat(temp->fd, "r/.git", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fill(place->tree);
	put_text(place->tree, ".gitmodules",
		 "[submodule \"m\"]\n\tpath = modules/m\n\turl = ./m\n");
	make_dirs(place->tree, "modules/m");
	git(module, "init", "-q", sha256 ? "--object-format=sha256" : "--object-format=sha1", NULL);
	git(module, "commit", "-q", "--allow-empty", "-m", "module", NULL);
	git(place->path, "-c", "advice.addEmbeddedRepo=false", "add", "-A", NULL);
	git(place->path, "commit", "-q", "-m", "all", NULL);
	assert_success(tree_walk(place->tree, set_time, NULL, &err), &err);
	make_dirs(temp->fd, "layer");
	place->layer = openat(temp->fd, "layer", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	make_base(place);
	put_text(temp->fd, "monitor", monitor);
	assert_int_equal(fchmodat(temp->fd, "monitor", 0755, 0), 0);
	put_text(place->git_dir, "then", "");
	autofree char *hook = temp_path(temp, "monitor");

	autofree char *then = xasprintf("!cd '%s' && '%s' >/dev/null && mv .git/now .git/then",
					place->path, hook);
	git(place->path, "config", "alias.then", then, NULL);
	git(place->path, "then", NULL);
	git(place->path, "update-index", "-q", "--refresh", NULL);
}

void place_clear(struct place *place)
{
	autoerror struct error err = ERROR_INIT;

	index_trees_release(&place->trees);
	fd_close(&place->tree);
	fd_close(&place->git_dir);
	fd_close(&place->layer);
	free(place->path);
	assert_success(tree_remove_at(place->temp->fd, "r", &err), &err);
	assert_success(tree_remove_at(place->temp->fd, "layer", &err), &err);
	assert_int_equal(unlinkat(place->temp->fd, "monitor", 0), 0);
}

/* What a composition takes that says what is in git's own index of the place. */
struct difference {
	struct index_edits edits;
	struct strv staged;
};

static void read_entries(const struct place *place, int dirfd, const char *name,
			 struct index_edits *ret)
{
	autoerror struct error err = ERROR_INIT;
	autoreader struct index_reader *reader = NULL;
	const struct index_entry *entry = NULL;
	int result;

	assert_success(index_reader_open(dirfd, name, place->sha256, &reader, &err), &err);
	while ((result = index_reader_next(reader, &entry, &err)) == 1)
		index_edits_add(ret, entry, false, false);
	assert_int_equal(result, 0);
	index_edits_sort(ret);
}

static bool has_path(const struct index_edits *edits, const char *path)
{
	for (size_t i = 0; i < edits->count; i++)
		if (strcmp(edits->items[i].entry.path, path) == 0)
			return true;
	return false;
}

/* Whether the base has the entry: 2 with the same stat data, 1 but for these. */
static int has_entry(const struct index_edits *base, const struct index_entry *entry)
{
	for (size_t i = 0; i < base->count; i++) {
		const struct index_entry *other = &base->items[i].entry;

		if (strcmp(other->path, entry->path) != 0 || other->stage != entry->stage ||
		    other->mode != entry->mode || entry->intent_to_add ||
		    memcmp(other->oid, entry->oid, sizeof entry->oid) != 0)
			continue;
		return memcmp(&other->stat, &entry->stat, sizeof entry->stat) == 0 &&
				       !entry->assume_valid && !entry->skip_worktree
			       ? 2
			       : 1;
	}
	return 0;
}

/* NUL-terminated paths that git prints. */
static void collect_paths(const struct place *place, const char *file, struct strv *ret)
{
	autoerror struct error err = ERROR_INIT;
	autostr struct str paths = STR_INIT;

	assert_success(file_read_at(place->git_dir, file, 1 << 20, &paths, &err), &err);
	for (size_t at = 0; at < paths.len; at += strlen(paths.s + at) + 1)
		strv_add(ret, paths.s + at);
}

static bool is_among(const struct strv *paths, const char *path)
{
	for (size_t i = 0; i < paths->len; i++)
		if (strcmp(paths->items[i], path) == 0)
			return true;
	return false;
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void find_difference(const struct place *place, struct difference *ret)
{
	autoedits struct index_edits base = INDEX_EDITS_INIT;
	autoedits struct index_edits own = INDEX_EDITS_INIT;
	autostrv struct strv dirty = STRV_INIT;

	*ret = (struct difference){INDEX_EDITS_INIT, STRV_INIT};
	git(place->path, "config", "alias.dirty", "!git diff-files -z --name-only >.git/dirty",
	    NULL);
	git(place->path, "dirty", NULL);
	collect_paths(place, "dirty", &dirty);
	read_entries(place, place->layer, "base", &base);
	read_entries(place, place->git_dir, "index", &own);
	for (size_t i = 0; i < own.count; i++) {
		const struct index_entry *entry = &own.items[i].entry;
		int same = has_entry(&base, entry);
		/* Of these it is known without being told. */
		bool plain = !entry->stage && !entry->intent_to_add;
		bool is_dirty = plain && is_among(&dirty, entry->path);

		if (same < 2 || is_dirty)
			index_edits_add(&ret->edits, entry, false, is_dirty);
		if (!same && plain && !is_among(&ret->staged, entry->path))
			strv_add(&ret->staged, entry->path);
	}
	for (size_t i = 0; i < base.count; i++) {
		const char *path = base.items[i].entry.path;

		if (has_path(&own, path))
			continue;
		index_edits_add(&ret->edits, &base.items[i].entry, true, true);
		strv_add(&ret->staged, path);
	}
	index_edits_sort(&ret->edits);
	if (ret->staged.len)
		qsort(ret->staged.items, ret->staged.len, sizeof(char *), compare_strings);
}

void replace_index(struct place *place, uint32_t split_from, bool caches)
{
	autoerror struct error err = ERROR_INIT;
	struct difference difference;
	unsigned char exclude[INDEX_OID_MAX] = {0};
	autofree char *text = get_text(place->git_dir, "info/exclude");

	find_difference(place, &difference);
	index_exclude_id(place->sha256, text, strlen(text), exclude);
	struct index_composition composition = {
		.sha256 = place->sha256,
		.base_dir = place->layer,
		.edits = &difference.edits,
		.trees = &place->trees,
		.staged = &difference.staged,
		.location = caches ? place->path : NULL,
		.info_exclude = exclude,
		.fsmonitor = caches,
		.split_from = split_from,
	};

	assert_int_equal(renameat(place->git_dir, "index", place->git_dir, "own"), 0);
	assert_success(index_compose(&composition, place->git_dir, &err), &err);
	index_edits_release(&difference.edits);
	strv_release(&difference.staged);
}

/* Every entry with its stat data; but not git's flags, which also say how it was read. */
static char *entries_of(const struct place *place)
{
	autofree char *text = git_says(place->path, "ls-files", "-s", "-v", "--debug", NULL);
	struct str lines = STR_INIT;

	for (const char *at = text; *at;) {
		const char *end = strchrnul(at, '\n');
		const char *flags = memmem(at, (size_t)(end - at), "\tflags: ", 8);

		str_add_bytes(&lines, at, (size_t)((flags ? flags : end) - at));
		str_add_char(&lines, '\n');
		at = *end ? end + 1 : end;
	}
	return str_take(&lines);
}

char *status_of(const struct place *place)
{
	return git_says(place->path, "--no-optional-locks", "-c", "core.fsmonitor=false", "-c",
			"core.untrackedCache=false", "status", "--porcelain=v2", "--branch", NULL);
}

void assert_status(const struct place *place)
{
	autofree char *expected = status_of(place);

	for (size_t i = 0; i < 2; i++) {
		autofree char *got =
			git_says(place->path, "status", "--porcelain=v2", "--branch", NULL);

		assert_string_equal(got, expected);
	}
	/* What was written is right for one who does not trust the monitor, too. */
	autofree char *got =
		git_says(place->path, "--no-optional-locks", "-c", "core.fsmonitor=false", "status",
			 "--porcelain=v2", "--branch", NULL);

	assert_string_equal(got, expected);
}

static void untracked(const struct place *place)
{
	make_dirs(place->tree, "new/er");
	put_text(place->tree, "new/er/file", "n\n");
	put_text(place->tree, "a/b/c/new", "n\n");
	put_text(place->tree, "a/b/c/ignored.o", "n\n");
	put_text(place->tree, "a/b/c/keep.o", "n\n");
	put_text(place->tree, "other/x.log", "n\n");
}

static void modified(const struct place *place)
{
	unlinkat(place->tree, "a/b/c/file-0", 0);
	put_text(place->tree, "a/b/c/file-0", "changed\n");
	unlinkat(place->tree, "a.b/file-13", 0);
	put_text(place->tree, "a.b/file-13", "changed\n");
	assert_int_equal(fchmodat(place->tree, "a0/file-0", 0755, 0), 0);
	assert_int_equal(unlinkat(place->tree, "a/link", 0), 0);
}

static void modified_ignore(const struct place *place)
{
	unlinkat(place->tree, "a/b/.gitignore", 0);
	put_text(place->tree, "a/b/.gitignore", "*.none\n");
	put_text(place->tree, "a/b/c/some.none", "n\n");
	put_text(place->tree, "a/b/c/keep.o", "n\n");
}

static void file_to_directory(const struct place *place)
{
	unlinkat(place->tree, "other/file-0", 0);
	make_dirs(place->tree, "other/file-0");
	put_text(place->tree, "other/file-0/inside", "n\n");
}

static void directory_to_file(const struct place *place)
{
	autoerror struct error err = ERROR_INIT;

	assert_success(tree_remove_at(place->tree, "gone", &err), &err);
	put_text(place->tree, "gone", "a file now\n");
}

static void ignore_rule_as_untracked(const struct place *place)
{
	put_text(place->tree, "a/.gitignore", "unwanted\n");
	put_text(place->tree, "a/b/unwanted", "n\n");
}

static void unmerged(const struct place *place)
{
	git(place->path, "checkout", "-q", "-b", "side", NULL);
	commit_file(place->path, "a/b/file-0", "side\n");
	commit_file(place->path, "both", "side\n");
	git(place->path, "checkout", "-q", "main", NULL);
	git(place->path, "rm", "-q", "a/b/file-13", NULL);
	commit_file(place->path, "a/b/file-0", "main\n");
	commit_file(place->path, "both", "main\n");
	assert_int_equal(git_status(place->path, "merge", "-q", "side", NULL), 1);
}

static const struct step nothing[] = {{NULL, {NULL}}};
static const struct step only_untracked[] = {{untracked, {NULL}}, {NULL, {NULL}}};
static const struct step only_modified[] = {{modified, {NULL}}, {NULL, {NULL}}};
const struct step staged[] = {
	{untracked, {NULL}},
	{modified, {NULL}},
	{NULL, {"add", "-A"}},
	{NULL, {"rm", "-q", "-r", "a-b"}},
	{NULL, {"rm", "-q", "a/b/c/file-26"}},
	{NULL, {"mv", "deep/er/and", "other/and"}},
	{NULL, {NULL}},
};
static const struct step mixed[] = {
	{modified, {NULL}},
	{NULL, {"add", "a.b/file-13"}},
	{untracked, {NULL}},
	{NULL, {"add", "-N", "a/b/c/new", "new/er/file"}},
	{NULL, {"update-index", "--assume-unchanged", "a-b/file-0"}},
	{NULL, {"update-index", "--skip-worktree", "a-b/file-13"}},
	{NULL, {NULL}},
};
static const struct step kinds[] = {
	{file_to_directory, {NULL}},
	{directory_to_file, {NULL}},
	{NULL, {NULL}},
};
static const struct step kinds_staged[] = {
	{file_to_directory, {NULL}},
	{directory_to_file, {NULL}},
	{NULL, {"add", "-A"}},
	{NULL, {NULL}},
};
static const struct step ignore_rules[] = {{modified_ignore, {NULL}}, {NULL, {NULL}}};
static const struct step ignore_rules_added[] = {
	{ignore_rule_as_untracked, {NULL}},
	{NULL, {NULL}},
};
static const struct step ignore_rules_uncached[] = {
	{untracked, {NULL}},
	{NULL, {"rm", "-q", "--cached", "a/b/.gitignore"}},
	{NULL, {NULL}},
};
static const struct step conflict[] = {{unmerged, {NULL}}, {NULL, {NULL}}};
static const struct step everything_gone[] = {{NULL, {"rm", "-q", "-r", "--cached", "."}},
					      {NULL, {NULL}}};

const struct step *const beginnings[] = {
	nothing,
	only_untracked,
	only_modified,
	staged,
	mixed,
	kinds,
	kinds_staged,
	ignore_rules,
	ignore_rules_added,
	ignore_rules_uncached,
	conflict,
	everything_gone,
	NULL,
};

void act(const struct place *place, const struct step *step)
{
	if (step->act)
		step->act(place);
	else
		git_at(place->path, step->args);
}

bool is_last(const struct step *step)
{
	return !step->act && !step->args[0];
}

char *view_of(const struct place *place)
{
	autofree char *entries = entries_of(place);
	autofree char *status = status_of(place);
	autofree char *tree = NULL;

	if (git_status(place->path, "diff", "--quiet", "--diff-filter=U", NULL) == 0)
		tree = git_says(place->path, "write-tree", NULL);
	return xasprintf("%s%s%s\n", entries, status, tree ? tree : "unmerged");
}

void monitor_on(const struct place *place)
{
	autofree char *hook = temp_path(place->temp, "monitor");

	git(place->path, "config", "core.fsmonitor", hook, NULL);
}

const struct step session[] = {
	{untracked, {NULL}},
	{modified, {NULL}},
	{NULL, {"add", "a"}},
	{NULL, {"commit", "-q", "-m", "one"}},
	{NULL, {"stash", "-q"}},
	{NULL, {"checkout", "-q", "-b", "other"}},
	{file_to_directory, {NULL}},
	{directory_to_file, {NULL}},
	{NULL, {"add", "-A"}},
	{NULL, {"commit", "-q", "-m", "two"}},
	{NULL, {"checkout", "-q", "main"}},
	{NULL, {"stash", "pop", "-q"}},
	{NULL, {"mv", "deep/er", "a/deep"}},
	{modified_ignore, {NULL}},
	{NULL, {"rm", "-q", "-r", "a.b", "-f"}},
	{NULL, {"commit", "-q", "-a", "-m", "three"}},
	{NULL, {"merge", "-q", "other", "-m", "merge"}},
	{NULL, {"reset", "-q", "--hard", "HEAD~2"}},
	{NULL, {"clean", "-q", "-fdx"}},
	{NULL, {"checkout", "-q", "other"}},
	{NULL, {"reset", "-q", "main~1"}},
	{NULL, {NULL}},
};
