#include "support.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "snapshot/index.h"
#include "snapshot/layers.h"
#include "snapshot/pin.h"

enum { PAST = 1500000000, COMMITTED = 1600000000, MANY = 40 };

/* ---- a repository, its layers, and what they show together ---- */

struct scene {
	const struct temp *temp;
	char *path;
	int host;
	bool sha256;
	struct root root;
	struct pin pin;
	char *view;
	char *git;
};

static void scene_release(struct scene *scene)
{
	free(scene->path);
	fd_close(&scene->host);
	root_close(&scene->root);
	pin_release(&scene->pin);
	free(scene->view);
	free(scene->git);
}

#define autoscene __attribute__((cleanup(scene_release)))

static struct scene scene_empty(const struct temp *temp, bool sha256)
{
	struct scene scene = {
		.temp = temp,
		.path = temp_path(temp, "r"),
		.sha256 = sha256,
		.root = ROOT_INIT,
		.view = temp_path(temp, "view"),
	};

	git(temp->path, "init", "-q", sha256 ? "--object-format=sha256" : "--object-format=sha1",
	    "r", NULL);
	scene.host = open(scene.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(scene.host >= 0);
	open_test_root(temp, &scene.root);
	return scene;
}

static void put(const struct scene *scene, const char *name, const char *text)
{
	const char *slash = strrchr(name, '/');
	autofree char *parent = slash ? xstrndup(name, (size_t)(slash - name)) : NULL;

	if (parent)
		make_dirs(scene->host, parent);
	put_text(scene->host, name, text);
}

static void drop(const struct scene *scene, const char *name)
{
	assert_int_equal(tree_remove_at(scene->host, name, NULL), 0);
}

static int set_time(void *data, int dirfd, const char *name, const char *path,
		    const struct stat *st)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {PAST, 123456789}};

	(void)data;
	if (strcmp(path, ".git") == 0)
		return TREE_SKIP;
	/* One that git knows already stays as it is: git looks at seconds alone. */
	if (!S_ISDIR(st->st_mode) && st->st_mtim.tv_sec != PAST)
		assert_int_equal(utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW), 0);
	return 0;
}

/* All that there is, with an index that knows of every file that it has not changed since. */
static void commit_all(const struct scene *scene)
{
	autoerror struct error err = ERROR_INIT;

	assert_success(tree_walk(scene->host, set_time, NULL, &err), &err);
	git(scene->path, "add", "-A", NULL);
	git(scene->path, "commit", "-q", "-m", "c", NULL);
}

static struct scene scene_setup(const struct temp *temp, bool sha256)
{
	struct scene scene = scene_empty(temp, sha256);

	for (int i = 0; i < MANY; i++) {
		autofree char *name = xasprintf("many/%02d", i);
		autofree char *text = xasprintf("%d\n", i);

		put(&scene, name, text);
	}
	put(&scene, "script", "#!/bin/sh\n");
	assert_int_equal(fchmodat(scene.host, "script", 0755, 0), 0);
	assert_int_equal(symlinkat("many/01", scene.host, "link"), 0);
	put(&scene, "gone/a", "1\n");
	put(&scene, "gone/very/deep/b", "1\n");
	put(&scene, "turn/a", "1\n");
	put(&scene, "turn/b/c", "1\n");
	commit_all(&scene);
	return scene;
}

static void show_layers(struct scene *scene)
{
	assert_int_equal(tree_remove_at(scene->temp->fd, "view", NULL), 0);
	make_dirs(scene->temp->fd, "view");
	autofd int to = open(scene->view, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = scene->pin.tree.len; i-- > 0;) {
		autofree char *part = xasprintf("%s/tree", scene->pin.tree.items[i]);
		autofd int from = open_beneath(scene->root.layers, part, O_RDONLY | O_DIRECTORY, 0);

		assert_true(from >= 0);
		lay_over(from, to);
	}
}

static void pin(struct scene *scene)
{
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;

	pin_release(&scene->pin);
	assert_success(repository_find(scene->path, &found, &err), &err);
	assert_success(pin_repository(&scene->root, &found, NULL, &scene->pin, &err), &err);
	free(scene->git);
	scene->git = xasprintf("%s/.layers/%s/tree", scene->root.path, scene->pin.git.items[0]);
	show_layers(scene);
}

/* The layer directory, or one of its parts. */
static int open_part(const struct scene *scene, size_t layer, const char *part, int flags)
{
	autofree char *path = xasprintf("%s/%s", scene->pin.tree.items[layer], part);

	return open_beneath(scene->root.layers, path, flags, 0);
}

static bool part_stat(const struct scene *scene, size_t layer, const char *path, struct stat *st)
{
	autofree char *full = xasprintf("%s/tree/%s", scene->pin.tree.items[layer], path);

	return fstatat(scene->root.layers, full, st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* What a path is in the uppermost layer that has it. */
static struct stat stat_of(const struct scene *scene, const char *path)
{
	struct stat st;

	for (size_t i = 0; i < scene->pin.tree.len; i++)
		if (part_stat(scene, i, path, &st))
			return st;
	fail_msg("%s is in no layer", path);
	return (struct stat){0};
}

static bool hidden(const struct scene *scene, const char *path)
{
	struct stat st;

	return part_stat(scene, 0, path, &st) && is_whiteout(&st);
}

#define inside(scene, ...)                                                                       \
	git_says((scene)->view, "--no-optional-locks", "--git-dir", (scene)->git, "--work-tree", \
		 (scene)->view, __VA_ARGS__, NULL)

/* ---- what has to hold of every one ---- */

static int list_entry(void *data, int dirfd, const char *name, const char *path,
		      const struct stat *st)
{
	struct strv *list = data;
	char target[PATH_MAX] = "";

	if (strcmp(path, ".git") == 0)
		return TREE_SKIP;
	if (S_ISLNK(st->st_mode))
		assert_true(readlinkat(dirfd, name, target, sizeof target - 1) > 0);
	autofree char *text = S_ISREG(st->st_mode) ? get_text(dirfd, name) : NULL;

	strv_addf(list, "%s %o %s%s", path, st->st_mode & (S_IFMT | S_IXUSR), target,
		  text ? text : "");
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *joined(struct strv *list)
{
	struct str text = STR_INIT;

	if (list->len)
		qsort(list->items, list->len, sizeof *list->items, compare);
	for (size_t i = 0; i < list->len; i++)
		str_addf(&text, "%s\n", list->items[i]);
	return str_take(&text);
}

static char *listing(const char *directory)
{
	autofd int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autostrv struct strv list = STRV_INIT;
	autoerror struct error err = ERROR_INIT;

	assert_success(tree_walk(fd, list_entry, &list, &err), &err);
	return joined(&list);
}

static bool is_all_zero(const struct index_stat *stat)
{
	static const struct index_stat zero;

	return memcmp(stat, &zero, sizeof zero) == 0;
}

/* Each entry has the stat data of the file that the layers show: git need not look at it. */
static void check_stats(const struct scene *scene)
{
	autofd int git_dir = open(scene->git, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoreader struct index_reader *reader = NULL;
	autoerror struct error err = ERROR_INIT;
	const struct index_entry *entry;
	int result;

	assert_success(index_reader_open(git_dir, "index", scene->sha256, &reader, &err), &err);
	while ((result = index_reader_next(reader, &entry, &err)) == 1) {
		if (entry->mode == MODE_GITLINK || entry->skip_worktree) {
			assert_true(is_all_zero(&entry->stat));
			continue;
		}
		struct stat st = stat_of(scene, entry->path);
		struct index_stat found = index_stat_of(&st);

		found.dev = entry->stat.dev;
		if (memcmp(&found, &entry->stat, sizeof found) != 0)
			fail_msg("%s is not what the index says", entry->path);
	}
	assert_int_equal(result, 0);
}

/* The cache tree is the commit's: "<id> <directory>" of all of them. */
static void check_trees(const struct scene *scene)
{
	autofd int git_dir = open(scene->git, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autotrees struct index_trees trees = INDEX_TREES_INIT;
	autoerror struct error err = ERROR_INIT;
	autostrv struct strv list = STRV_INIT;
	autofree char *root = inside(scene, "rev-parse", "HEAD^{tree}");
	autofree char *others = inside(scene, "ls-tree", "-r", "-t", "-d",
				       "--format=%(objecttype) %(objectname) %(path)", "HEAD");
	autostrv struct strv wanted = STRV_INIT;
	char *at = others;

	strv_addf(&wanted, "%s ", root);
	for (char *line; (line = strsep(&at, "\n"));)
		if (str_starts(line, "tree "))
			strv_add(&wanted, line + strlen("tree "));
	assert_success(index_trees_read(git_dir, "index", scene->sha256, &trees, &err), &err);
	for (size_t i = 0; i < trees.count; i++) {
		autostr struct str oid = STR_INIT;

		for (int k = 0; k < (scene->sha256 ? 32 : 20); k++)
			str_addf(&oid, "%02x", trees.items[i].oid[k]);
		strv_addf(&list, "%s %s", oid.s, trees.items[i].path);
	}
	autofree char *found = joined(&list);
	autofree char *expected = joined(&wanted);

	assert_string_equal(found, expected);
}

/* Everything that git can tell of the index, and nothing more in a layer than belongs there. */
static void check_index(const struct scene *scene)
{
	autofree char *status = inside(scene, "status", "--porcelain", "--ignored");
	autofree char *staged = inside(scene, "diff-index", "--cached", "HEAD");
	autofree char *host =
		git_says(scene->path, "ls-tree", "-r",
			 "--format=%(objectmode) %(objectname) 0%x09%(path)", "HEAD", NULL);
	autofree char *entries = inside(scene, "ls-files", "-s");

	assert_string_equal(status, "");
	assert_string_equal(staged, "");
	assert_string_equal(entries, host);
	check_stats(scene);
	check_trees(scene);
	for (size_t i = 0; i < scene->pin.tree.len; i++) {
		autofd int layer = open_part(scene, i, ".", O_RDONLY | O_DIRECTORY);

		/* layer.json, tree, trees, and base or edits */
		assert_int_equal(count_entries(layer), 4);
	}
	assert_int_equal(count_entries(scene->root.temp), 0);
}

/* Pins, and compares what the layers show with what git makes of the commit. */
static void pin_and_check(struct scene *scene, size_t layers)
{
	autofree char *checkout = temp_path(scene->temp, "checkout");

	pin(scene);
	assert_int_equal(scene->pin.tree.len, layers);
	git(scene->path, "worktree", "add", "-q", "--detach", checkout, "HEAD", NULL);
	autofree char *shown = listing(scene->view);
	autofree char *expected = listing(checkout);

	assert_string_equal(shown, expected);
	git(scene->path, "worktree", "remove", "--force", checkout, NULL);
	check_index(scene);
}

/* ---- full ---- */

static void add_submodule(const struct scene *scene, const char *path)
{
	autofree char *commit = git_says(scene->path, "rev-parse", "HEAD", NULL);
	autofree char *info = xasprintf("160000,%s,%s", commit, path);

	git(scene->path, "update-index", "--add", "--cacheinfo", info, NULL);
	git(scene->path, "commit", "-q", "-m", "submodule", NULL);
	make_dirs(scene->host, path);
}

static void assert_mtime(const struct scene *scene, const char *path, long seconds,
			 long nanoseconds)
{
	struct stat st = stat_of(scene, path);

	if (st.st_mtim.tv_sec != seconds || st.st_mtim.tv_nsec != nanoseconds)
		fail_msg("%s is of %lld.%09ld", path, (long long)st.st_mtim.tv_sec,
			 st.st_mtim.tv_nsec);
}

static void full(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);
	const struct timespec future[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 4000000000}};
	const struct timespec past[2] = {{.tv_nsec = UTIME_OMIT}, {PAST, 123456789}};

	put(&scene, "empty", "");
	commit_all(&scene);
	add_submodule(&scene, "modules/one");
	/* Nobody can tell whether it changes right after this. */
	assert_int_equal(utimensat(scene.host, "many/04", future, 0), 0);
	git(scene.path, "update-index", "-q", "--refresh", NULL);
	put(&scene, "many/01", "changed\n");
	/* As long as before, and with the same time. */
	put(&scene, "many/02", "X\n");
	assert_int_equal(utimensat(scene.host, "many/02", past, 0), 0);
	drop(&scene, "many/03");
	put(&scene, "many/untracked", "1\n");
	assert_int_equal(fchmodat(scene.host, "many/05", 0600, 0), 0);
	drop(&scene, "link");
	put(&scene, "link", "no link\n");
	pin_and_check(&scene, 1);
	assert_mtime(&scene, "many/00", PAST, 123456789);
	assert_mtime(&scene, "script", PAST, 123456789);
	assert_mtime(&scene, "gone/very/deep/b", PAST, 123456789);
	assert_mtime(&scene, "empty", PAST, 123456789);
	assert_mtime(&scene, "many/01", COMMITTED, 0);
	assert_mtime(&scene, "many/02", COMMITTED, 0);
	assert_mtime(&scene, "many/03", COMMITTED, 0);
	assert_mtime(&scene, "many/04", 4000000000, 0);
	assert_mtime(&scene, "many/05", COMMITTED, 0);
	assert_mtime(&scene, "link", COMMITTED, 0);
}

static void symlinks(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);

	assert_int_equal(symlinkat("/nowhere/at all", scene.host, "dangling"), 0);
	assert_int_equal(symlinkat("many", scene.host, "to directory"), 0);
	commit_all(&scene);
	pin_and_check(&scene, 1);
	assert_mtime(&scene, "link", PAST, 123456789);
	assert_mtime(&scene, "dangling", PAST, 123456789);
	assert_mtime(&scene, "to directory", PAST, 123456789);
}

/* A directory is as it is on the host, but never closed to its owner. */
static void directory_modes(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);

	assert_int_equal(fchmodat(scene.host, "many", 0750, 0), 0);
	assert_int_equal(fchmodat(scene.host, "turn", 0550, 0), 0);
	pin_and_check(&scene, 1);
	assert_int_equal(stat_of(&scene, "many").st_mode & 0777, 0750);
	assert_int_equal(stat_of(&scene, "turn").st_mode & 0777, 0750);
	assert_int_equal(fchmodat(scene.host, "turn", 0750, 0), 0);
}

/* More files than one thread is given. */
static void sha256(void **state)
{
	autoscene struct scene scene = scene_setup(*state, true);

	for (int i = 0; i < 100; i++) {
		autofree char *name = xasprintf("more/%d/x", i);

		put(&scene, name, "1\n");
	}
	commit_all(&scene);
	drop(&scene, "many/03");
	pin_and_check(&scene, 1);
	put(&scene, "many/04", "new\n");
	drop(&scene, "gone");
	commit_all(&scene);
	pin_and_check(&scene, 2);
	assert_true(hidden(&scene, "gone"));
}

static void empty(void **state)
{
	autoscene struct scene scene = scene_empty(*state, false);

	pin(&scene);
	assert_int_equal(scene.pin.tree.len, 1);
	assert_null(scene.pin.head.commit);
	autofree char *shown = listing(scene.view);
	autofree char *status = inside(&scene, "status", "--porcelain");
	autofree char *entries = inside(&scene, "ls-files", "-s");

	assert_string_equal(shown, "");
	assert_string_equal(status, "");
	assert_string_equal(entries, "");
	/* And the first commit after it. */
	put(&scene, "file", "1\n");
	commit_all(&scene);
	pin_and_check(&scene, 1);
	/* One that removes everything. */
	drop(&scene, "file");
	commit_all(&scene);
	pin_and_check(&scene, 1);
}

/* What the host has checked out is kept as it is, however git would write it today. */
static void line_endings(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);

	git(scene.path, "config", "filter.shout.smudge", "tr a-z A-Z", NULL);
	git(scene.path, "config", "filter.shout.clean", "tr A-Z a-z", NULL);
	git(scene.path, "config", "core.safecrlf", "false", NULL);
	put(&scene, ".gitattributes", "*.txt text eol=crlf\n*.loud filter=shout\n");
	put(&scene, "crlf.txt", "1\r\n2\r\n");
	put(&scene, "missing.txt", "1\r\n2\r\n");
	put(&scene, "deep/missing.loud", "VOICE\n");
	put(&scene, "here.loud", "VOICE\n");
	commit_all(&scene);
	drop(&scene, "missing.txt");
	drop(&scene, "deep");
	pin_and_check(&scene, 1);
	assert_mtime(&scene, "crlf.txt", PAST, 123456789);
	assert_mtime(&scene, "here.loud", PAST, 123456789);
	autofd int tree = open_part(&scene, 0, "tree", O_RDONLY | O_DIRECTORY);
	autofree char *missing = get_text(tree, "missing.txt");
	autofree char *loud = get_text(tree, "deep/missing.loud");

	assert_string_equal(missing, "1\r\n2\r\n");
	assert_string_equal(loud, "VOICE\n");
	/* In a delta the attributes below it count, too. */
	git(scene.path, "checkout", "-q", "-f", "HEAD", NULL);
	put(&scene, "new.txt", "3\r\n");
	put(&scene, "deep/new.loud", "NEW\n");
	commit_all(&scene);
	drop(&scene, "new.txt");
	drop(&scene, "deep");
	pin_and_check(&scene, 2);
	/* Written by hand, and clean for git. */
	put(&scene, "lf.txt", "1\n");
	commit_all(&scene);
	pin(&scene);
	autofree char *lf = get_text(scene.temp->fd, "view/lf.txt");

	assert_string_equal(lf, "1\n");
	check_index(&scene);
}

/* Attributes may stand in a file that the configuration names. */
static void attributes_elsewhere(void **state)
{
	const struct temp *temp = *state;
	autoscene struct scene scene = scene_setup(temp, false);
	autofree char *file = temp_path(temp, "attributes");

	git(scene.path, "config", "core.attributesFile", file, NULL);
	drop(&scene, "many/07");
	pin(&scene);
	autofree char *before = get_text(temp->fd, "view/many/07");
	autofree char *id = xstrdup(scene.pin.tree.items[0]);

	put_text(temp->fd, "attributes", "0* text eol=crlf\n");
	pin(&scene);
	autofree char *after = get_text(temp->fd, "view/many/07");

	assert_string_equal(before, "7\n");
	assert_string_equal(after, "7\r\n");
	assert_string_not_equal(scene.pin.tree.items[0], id);
}

/* An index that only git can read. */
static void split_index(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);

	git(scene.path, "update-index", "--split-index", NULL);
	put(&scene, "many/00", "new\n");
	commit_all(&scene);
	git(scene.path, "update-index", "--split-index", NULL);
	pin_and_check(&scene, 1);
	assert_mtime(&scene, "many/00", PAST, 123456789);
	assert_mtime(&scene, "many/01", PAST, 123456789);
	put(&scene, "many/00", "newer\n");
	commit_all(&scene);
	pin_and_check(&scene, 2);
	assert_mtime(&scene, "many/00", PAST, 123456789);
}

static void sparse(void **state)
{
	static const char *const ways[] = {"--cone", "--no-cone"};
	static const char *const files[] = {"many/01", "turn/a"};
	struct stat st;
	autoscene struct scene scene = scene_setup(*state, false);

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		git(scene.path, "sparse-checkout", "set", ways[i], i ? "/turn/" : "many", NULL);
		pin(&scene);
		assert_int_equal(scene.pin.tree.len, 1);
		autofree char *shown = listing(scene.view);
		autofree char *expected = listing(scene.path);
		autofree char *flags = inside(&scene, "ls-files", "-t");
		autofree char *host = git_says(scene.path, "ls-files", "-t", NULL);

		assert_string_equal(shown, expected);
		assert_string_equal(flags, host);
		check_index(&scene);
		assert_int_equal(fstatat(scene.host, files[i], &st, 0), 0);
		assert_mtime(&scene, files[i], st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	}
	put(&scene, "turn/a", "second\n");
	git(scene.path, "commit", "-q", "-a", "-m", "2", NULL);
	pin(&scene);
	assert_int_equal(scene.pin.tree.len, 1);
	check_index(&scene);
}

/* ---- deltas ---- */

static void changes(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);
	struct stat st;

	pin_and_check(&scene, 1);
	put(&scene, "many/00", "new\n");
	put(&scene, "many/01", "new\n");
	put(&scene, "new/directory/file", "new\n");
	assert_int_equal(fchmodat(scene.host, "many/02", 0755, 0), 0);
	drop(&scene, "many/03");
	drop(&scene, "link");
	assert_int_equal(symlinkat("script", scene.host, "link"), 0);
	commit_all(&scene);
	put(&scene, "many/01", "newer\n");
	pin_and_check(&scene, 2);
	assert_mtime(&scene, "many/00", PAST, 123456789);
	assert_mtime(&scene, "many/01", COMMITTED, 0);
	assert_mtime(&scene, "link", PAST, 123456789);
	assert_true(hidden(&scene, "many/03"));
	assert_false(part_stat(&scene, 0, "many/04", &st));
	assert_false(part_stat(&scene, 0, "script", &st));
	/* Back to where it was: that layer is there already. */
	git(scene.path, "reset", "-q", "--hard", "HEAD~", NULL);
	pin_and_check(&scene, 1);
}

static void deleted_directories(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);
	struct stat st;

	pin_and_check(&scene, 1);
	drop(&scene, "gone");
	drop(&scene, "turn/b");
	commit_all(&scene);
	pin_and_check(&scene, 2);
	/* The topmost one, and nothing below it. */
	assert_true(hidden(&scene, "gone"));
	assert_true(hidden(&scene, "turn/b"));
	assert_false(part_stat(&scene, 0, "many", &st));
	/* It comes back with something else in it. */
	put(&scene, "gone/very/new", "1\n");
	commit_all(&scene);
	pin_and_check(&scene, 3);
	drop(&scene, "gone");
	commit_all(&scene);
	pin_and_check(&scene, 4);
}

/* To the same name again and again, each time something else. */
static void kinds(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);

	pin_and_check(&scene, 1);
	drop(&scene, "turn");
	put(&scene, "turn", "a file\n");
	commit_all(&scene);
	pin_and_check(&scene, 2);
	drop(&scene, "turn");
	put(&scene, "turn/b/d", "a directory\n");
	commit_all(&scene);
	pin_and_check(&scene, 3);
	drop(&scene, "turn");
	assert_int_equal(symlinkat("gone", scene.host, "turn"), 0);
	commit_all(&scene);
	pin_and_check(&scene, 4);
	drop(&scene, "turn");
	put(&scene, "turn/b/e", "a directory\n");
	commit_all(&scene);
	pin_and_check(&scene, 5);
}

static void submodules(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);

	pin_and_check(&scene, 1);
	add_submodule(&scene, "deep/module");
	pin_and_check(&scene, 2);
	/* A directory of files becomes one. */
	git(scene.path, "rm", "-q", "-r", "turn", NULL);
	add_submodule(&scene, "turn");
	pin_and_check(&scene, 3);
	/* And that a file, and another one nothing. */
	git(scene.path, "rm", "-q", "--cached", "turn", "deep/module", NULL);
	drop(&scene, "turn");
	drop(&scene, "deep");
	put(&scene, "turn", "a file\n");
	commit_all(&scene);
	pin_and_check(&scene, 4);
	git(scene.path, "rm", "-q", "turn", NULL);
	add_submodule(&scene, "turn");
	pin_and_check(&scene, 5);
	git(scene.path, "rm", "-q", "--cached", "turn", NULL);
	put(&scene, "turn/a", "a directory\n");
	commit_all(&scene);
	pin_and_check(&scene, 6);
}

static ino_t inode(const struct scene *scene, const char *path)
{
	return stat_of(scene, path).st_ino;
}

/* What decides how files look: all of them are made anew, and none is shared. */
static void attributes_change(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);

	pin_and_check(&scene, 1);
	ino_t before = inode(&scene, "many/01");

	ino_t other = inode(&scene, "script");

	put(&scene, "many/.gitattributes", "* text eol=crlf\n");
	commit_all(&scene);
	drop(&scene, "many");
	pin_and_check(&scene, 1);
	assert_int_not_equal(inode(&scene, "many/01"), before);
	assert_int_not_equal(inode(&scene, "script"), other);
	git(scene.path, "rm", "-q", "many/.gitattributes", NULL);
	git(scene.path, "commit", "-q", "-m", "without", NULL);
	pin_and_check(&scene, 1);
}

static void large_change(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);

	pin_and_check(&scene, 1);

	for (int i = 0; i < MANY / 2; i++) {
		autofree char *name = xasprintf("many/%02d", i);

		put(&scene, name, "new\n");
	}
	drop(&scene, "gone");
	commit_all(&scene);
	drop(&scene, "many/39");
	pin_and_check(&scene, 1);
	/* What is the same is shared. */
}

static void deep_stack(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);
	enum { DEPTH = 16 };

	pin_and_check(&scene, 1);
	for (size_t i = 2; i <= DEPTH; i++) {
		autofree char *text = xasprintf("%zu\n", i);
		autofree char *name = xasprintf("many/new %zu", i);

		drop(&scene, "many/00");
		put(&scene, "many/00", text);
		put(&scene, name, text);
		if (i == 3)
			drop(&scene, "gone");
		if (i == 5)
			put(&scene, "gone/very/new", "1\n");
		commit_all(&scene);
		pin_and_check(&scene, i);
	}
	put(&scene, "many/01", "last\n");
	drop(&scene, "many/02");
	commit_all(&scene);
	pin_and_check(&scene, 1);
	put(&scene, "many/01", "the next one\n");
	commit_all(&scene);
	pin_and_check(&scene, 2);
}

/* ---- which layer it stands on ---- */

static void nearest(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);

	for (int i = 0; i < 300; i++) {
		autofree char *name = xasprintf("more/%d", i);

		put(&scene, name, "1\n");
	}
	commit_all(&scene);
	pin_and_check(&scene, 1);
	autofree char *near = xstrdup(scene.pin.tree.items[0]);

	git(scene.path, "branch", "near", NULL);
	for (int i = 0; i < 250; i++) {
		autofree char *name = xasprintf("more/%d", i);

		put(&scene, name, "second\n");
	}
	commit_all(&scene);
	pin_and_check(&scene, 1);
	/* Made last, but not the nearest. */
	autofree char *far = xstrdup(scene.pin.tree.items[0]);

	assert_string_not_equal(near, far);
	git(scene.path, "checkout", "-q", "near", NULL);
	put(&scene, "many/00", "second\n");
	commit_all(&scene);
	pin_and_check(&scene, 2);
	assert_string_equal(scene.pin.tree.items[1], near);
}

static void layer_below_is_gone(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);

	pin_and_check(&scene, 1);
	autofree char *bottom = xstrdup(scene.pin.tree.items[0]);

	put(&scene, "many/00", "second\n");
	drop(&scene, "gone");
	commit_all(&scene);
	pin_and_check(&scene, 2);
	autofree char *top = xstrdup(scene.pin.tree.items[0]);

	pin_release(&scene.pin);
	assert_int_equal(tree_remove_at(scene.root.layers, bottom, NULL), 0);
	pin_and_check(&scene, 1);
	assert_string_equal(scene.pin.tree.items[0], top);
	/* A layer is no parent when what it stands on is gone. */
	put(&scene, "many/00", "the third\n");
	commit_all(&scene);
	pin_and_check(&scene, 2);
	pin_release(&scene.pin);
	assert_int_equal(tree_remove_at(scene.root.layers, top, NULL), 0);
	put(&scene, "many/00", "the fourth\n");
	commit_all(&scene);
	pin_and_check(&scene, 1);
}

/* Nor when its commit is. */
static void commit_is_gone(void **state)
{
	autoscene struct scene scene = scene_setup(*state, false);

	git(scene.path, "checkout", "-q", "--orphan", "other", NULL);
	git(scene.path, "commit", "-q", "-m", "other", NULL);
	pin_and_check(&scene, 1);
	git(scene.path, "checkout", "-q", "main", NULL);
	git(scene.path, "branch", "-q", "-D", "other", NULL);
	git(scene.path, "reflog", "expire", "--expire=now", "--all", NULL);
	git(scene.path, "update-ref", "-d", "ORIG_HEAD", NULL);
	git(scene.path, "prune", "--expire=now", NULL);
	put(&scene, "many/00", "second\n");
	commit_all(&scene);
	pin_and_check(&scene, 1);
}

/* git refuses such a commit; a delta must not be the way around that. */
static void hostile_commit(void **state)
{
	static const char *const names[] = {".git", "..", ".", ".GIT"};
	autoscene struct scene scene = scene_setup(*state, false);
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;

	pin_and_check(&scene, 1);
	assert_success(repository_find(scene.path, &found, &err), &err);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autopin struct pin pinned = {0};
		autofree char *alias =
			xasprintf("alias.evil=!{ git ls-tree HEAD; printf '100644 blob "
				  "%%s\\t%s\\n' $(git rev-parse HEAD:many/01); } | git mktree",
				  names[i]);
		autofree char *tree = git_says(scene.path, "-c", alias, "evil", NULL);
		autofree char *commit =
			git_says(scene.path, "commit-tree", "-m", "evil", tree, NULL);

		git(scene.path, "update-ref", "HEAD", commit, NULL);
		assert_failure(pin_repository(&scene.root, &found, NULL, &pinned, &err), &err,
			       ERR_GIT, "cannot prepare the files");
		error_clear(&err);
		git(scene.path, "update-ref", "HEAD", "HEAD@{1}", NULL);
	}
	assert_int_equal(count_entries(scene.root.temp), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(full),
		WITH_TEMP(symlinks),
		WITH_TEMP(directory_modes),
		WITH_TEMP(sha256),
		WITH_TEMP(empty),
		WITH_TEMP(line_endings),
		WITH_TEMP(attributes_elsewhere),
		WITH_TEMP(split_index),
		WITH_TEMP(sparse),
		WITH_TEMP(changes),
		WITH_TEMP(deleted_directories),
		WITH_TEMP(kinds),
		WITH_TEMP(submodules),
		WITH_TEMP(attributes_change),
		WITH_TEMP(large_change),
		WITH_TEMP(deep_stack),
		WITH_TEMP(nearest),
		WITH_TEMP(layer_below_is_gone),
		WITH_TEMP(commit_is_gone),
		WITH_TEMP(hostile_commit),
	};

	return cmocka_run_group_tests_name("tree layer", tests, NULL, NULL);
}
