#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "snapshot/hash.h"
#include "snapshot/index.h"
#include "snapshot/local.h"
#include "snapshot/pin.h"

/* ---- a repository, its layers, and what a sandbox on them would see ---- */

struct scene {
	const struct temp *temp;
	char *path;
	int host;
	struct root root;
	struct repository repository;
	struct repository_head head;
	struct pin pin;
	struct local_wishes wishes;
	struct local local;
	char *tree; /* where the layers are put together */
	char *git;
};

static void scene_release(struct scene *scene)
{
	free(scene->path);
	fd_close(&scene->host);
	root_close(&scene->root);
	repository_release(&scene->repository);
	repository_head_release(&scene->head);
	pin_release(&scene->pin);
	local_release(&scene->local);
	free(scene->tree);
	free(scene->git);
}

#define autoscene __attribute__((cleanup(scene_release)))

static struct scene scene_of(const struct temp *temp, char *path)
{
	struct scene scene = {
		.temp = temp,
		.path = path,
		.host = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.root = ROOT_INIT,
		.wishes = {.ignored = true, .budget = 1 << 24},
		.tree = temp_path(temp, "v/tree"),
		.git = temp_path(temp, "v/git"),
	};
	autoerror struct error err = ERROR_INIT;

	assert_true(scene.host >= 0);
	open_test_root(temp, &scene.root);
	assert_success(repository_find(path, &scene.repository, &err), &err);
	return scene;
}

static struct scene scene_setup(const struct temp *temp)
{
	char *path = make_repository(temp, "r");

	return scene_of(temp, path);
}

static void pin_again(struct scene *scene)
{
	autoerror struct error err = ERROR_INIT;

	repository_head_release(&scene->head);
	pin_release(&scene->pin);
	assert_success(repository_inspect(&scene->repository, &scene->head, &err), &err);
	assert_success(pin_repository(&scene->root, &scene->repository, NULL, &scene->pin, &err),
		       &err);
}

static struct local_request request_of(const struct scene *scene)
{
	return (struct local_request){
		.root = &scene->root,
		.repository = &scene->repository,
		.head = &scene->head,
		.location = scene->repository.top,
		.tree = &scene->pin.tree,
		.git_id = scene->pin.git.items[0],
		.wishes = &scene->wishes,
	};
}

static int try_capture(struct scene *scene, struct error *err)
{
	autolocalstatus struct local_status status = LOCAL_STATUS_INIT;

	pin_again(scene);
	const struct local_request request = request_of(scene);

	local_release(&scene->local);
	if (local_start(&scene->repository, &scene->wishes, &status, err) < 0)
		return -1;
	return local_capture(&request, &status, &scene->local, err);
}

static void capture(struct scene *scene)
{
	autoerror struct error err = ERROR_INIT;

	assert_success(try_capture(scene, &err), &err);
}

/* Puts a part of a layer, if it has that, over what is in `to`. */
static void overlay(const struct scene *scene, const char *layer, const char *part, const char *to)
{
	autofree char *path = xasprintf("%s/%s", layer, part);
	autofd int from_fd = open_beneath(scene->root.layers, path, O_RDONLY | O_DIRECTORY, 0);
	autofd int to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (from_fd >= 0)
		lay_over(from_fd, to_fd);
}

static void view(struct scene *scene)
{
	assert_int_equal(tree_remove_at(scene->temp->fd, "v", NULL), 0);
	make_dirs(scene->temp->fd, "v/tree");
	make_dirs(scene->temp->fd, "v/git");
	for (size_t i = scene->pin.tree.len; i-- > 0;)
		overlay(scene, scene->pin.tree.items[i], "tree", scene->tree);
	overlay(scene, scene->pin.git.items[0], "tree", scene->git);
	if (scene->local.id) {
		overlay(scene, scene->local.id, "tree", scene->tree);
		overlay(scene, scene->local.id, "git", scene->git);
	}
}

#define inside(scene, ...)                                                                       \
	git_says((scene)->tree, "--no-optional-locks", "--git-dir", (scene)->git, "--work-tree", \
		 (scene)->tree, __VA_ARGS__, NULL)
#define outside(scene, ...) git_says((scene)->path, "--no-optional-locks", __VA_ARGS__, NULL)
#define assert_same(scene, ...)                                   \
	do {                                                      \
		autofree char *in = inside(scene, __VA_ARGS__);   \
		autofree char *out = outside(scene, __VA_ARGS__); \
                                                                  \
		assert_string_equal(in, out);                     \
	} while (0)

static int describe_entry(void *data, int dirfd, const char *name, const char *path,
			  const struct stat *st)
{
	struct strv *list = data;
	char target[PATH_MAX] = "";

	if (strcmp(path, ".git") == 0)
		return TREE_SKIP;
	if (S_ISDIR(st->st_mode))
		return 0;
	if (S_ISLNK(st->st_mode))
		assert_true(readlinkat(dirfd, name, target, sizeof target - 1) > 0);
	autofree char *text = S_ISREG(st->st_mode) ? get_text(dirfd, name) : NULL;
	long long time = S_ISREG(st->st_mode) && str_starts(text, "t: ") ? st->st_mtim.tv_sec : 0;

	strv_addf(list, "%s %o %s %s %lld", path, st->st_mode, target, text ? text : "", time);
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *describe(const char *directory)
{
	autofd int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autostrv struct strv list = STRV_INIT;
	struct str text = STR_INIT;
	autoerror struct error err = ERROR_INIT;

	assert_success(tree_walk(fd, describe_entry, &list, &err), &err);
	if (list.len)
		qsort(list.items, list.len, sizeof *list.items, compare);
	for (size_t i = 0; i < list.len; i++)
		str_addf(&text, "%s\n", list.items[i]);
	return str_take(&text);
}

/* What git says and what is in the files is the same inside and outside. */
static void assert_equal(struct scene *scene)
{
	view(scene);
	autofree char *files = describe(scene->path);
	autofree char *copies = describe(scene->tree);

	assert_string_equal(copies, files);
	assert_same(scene, "status", "--porcelain=v2", "--branch", "-uall");
	assert_same(scene, "ls-files", "-s");
	assert_same(scene, "ls-files", "-v", "-t");
	assert_same(scene, "diff", "--cached", "--full-index", "--binary", "--submodule=short");
	assert_same(scene, "for-each-ref");
}

static void capture_and_compare(struct scene *scene)
{
	capture(scene);
	assert_equal(scene);
}

static bool in_layer(const struct scene *scene, const char *path)
{
	autofree char *full = xasprintf("%s/%s", scene->local.id, path);

	return exists(scene->root.layers, full);
}

static bool hidden_in_layer(const struct scene *scene, const char *path)
{
	autofree char *full = xasprintf("%s/%s", scene->local.id, path);
	struct stat st;

	return fstatat(scene->root.layers, full, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_whiteout(&st);
}

/* The list of what the fsmonitor reports, with | for the NUL bytes. */
static char *reported(const struct scene *scene)
{
	autofree char *path = xasprintf("%s/reported", scene->local.id);
	autostr struct str text = STR_INIT;
	autoerror struct error err = ERROR_INIT;

	assert_success(file_read_at(scene->root.layers, path, 65536, &text, &err), &err);
	for (size_t i = 0; i < text.len; i++)
		if (!text.s[i])
			text.s[i] = '|';
	return str_take(&text);
}

static bool has(const struct strv *list, const char *text)
{
	for (size_t i = 0; i < list->len; i++)
		if (strcmp(list->items[i], text) == 0)
			return true;
	return false;
}

static void put(const struct scene *scene, const char *name, const char *text)
{
	autofree char *directory = xstrdup(name);
	char *slash = strrchr(directory, '/');

	if (slash) {
		*slash = '\0';
		make_dirs(scene->host, directory);
	}
	put_text(scene->host, name, text);
}

static void drop(const struct scene *scene, const char *name)
{
	assert_true(exists(scene->host, name));
	assert_int_equal(tree_remove_at(scene->host, name, NULL), 0);
}

static void commit_all(const struct scene *scene)
{
	git(scene->path, "add", "-A", NULL);
	git(scene->path, "commit", "-q", "-m", "all", NULL);
}

/* ---- files and index ---- */

static void nothing(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	capture(&scene);
	assert_null(scene.local.id);
	assert_equal(&scene);
	/* A refreshed index is no change, nor is an empty directory. */
	assert_int_equal(utimensat(scene.host, "file", NULL, 0), 0);
	make_dirs(scene.host, "empty/deep");
	capture(&scene);
	assert_null(scene.local.id);
}

static void unstaged(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	static const struct timespec old[2] = {{.tv_sec = 1500000000}, {.tv_sec = 1500000000}};

	put(&scene, "a/gone", "1\n");
	put(&scene, "b/c/gone", "1\n");
	put(&scene, "b/c/gone too", "1\n");
	put(&scene, "script", "#!\n");
	put(&scene, "locked/in", "1\n");
	commit_all(&scene);
	put(&scene, "file", "t: changed\n");
	assert_int_equal(utimensat(scene.host, "file", old, 0), 0);
	drop(&scene, "a/gone");
	drop(&scene, "b");
	assert_int_equal(fchmodat(scene.host, "script", 0755, 0), 0);
	put(&scene, "locked/in", "2\n");
	assert_int_equal(fchmodat(scene.host, "locked", 0711, 0), 0);
	put(&scene, "new/un/tracked", "t: 1\n");
	assert_int_equal(symlinkat("/nowhere", scene.host, "link"), 0);
	capture_and_compare(&scene);
	/* Nothing is staged: the index of the commit is the right one. */
	assert_false(in_layer(&scene, "git"));
	assert_true(hidden_in_layer(&scene, "tree/a/gone"));
	assert_true(hidden_in_layer(&scene, "tree/b"));
	autofree char *names = reported(&scene);

	assert_string_equal(names, "a/gone|b/c/gone|b/c/gone too|file|locked/in|script|"
				   "link|new/un/tracked|");
	struct stat st;
	autofree char *locked = xasprintf("%s/tree/locked", scene.local.id);

	assert_int_equal(fstatat(scene.root.layers, locked, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
}

static void staged(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	for (int i = 0; i < 8; i++) {
		autofree char *name = xasprintf("d/%d", i);
		autofree char *text = xasprintf("this is the number %d\n", i);

		put(&scene, name, text);
	}
	commit_all(&scene);
	put(&scene, "file", "staged\n");
	put(&scene, "d/0", "staged first\n");
	put(&scene, "new", "t: new\n");
	put(&scene, "new and changed", "1\n");
	put(&scene, "new and gone", "1\n");
	git(scene.path, "mv", "d/1", "renamed", NULL);
	git(scene.path, "add", "-A", NULL);
	git(scene.path, "rm", "-q", "d/2", NULL);
	git(scene.path, "rm", "-q", "--cached", "d/3", NULL);
	git(scene.path, "rm", "-q", "d/4", NULL);
	put(&scene, "d/4", "untracked now\n");
	git(scene.path, "update-index", "--chmod=+x", "d/5", NULL);
	put(&scene, "d/0", "and changed again\n");
	put(&scene, "new and changed", "2\n");
	drop(&scene, "new and gone");
	capture_and_compare(&scene);
	autofree char *names = reported(&scene);

	assert_string_equal(names, "d/0|d/5|new and changed|new and gone|d/3|d/4|");
	assert_true(hidden_in_layer(&scene, "tree/d/1"));
	assert_true(hidden_in_layer(&scene, "tree/d/2"));
	/* Only because of its mode. */
	git(scene.path, "reset", "-q", "--hard", NULL);
	git(scene.path, "clean", "-q", "-fdx", NULL);
	git(scene.path, "rm", "-q", "-r", "d", NULL);
	capture_and_compare(&scene);
	assert_true(hidden_in_layer(&scene, "tree/d"));
}

/* git need not read what is staged and unchanged since to know that it is. */
static void stat_of_staged(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autoreader struct index_reader *reader = NULL;
	const struct index_entry *entry = NULL;
	autoerror struct error err = ERROR_INIT;
	struct stat st;

	git(scene.path, "update-index", "--assume-unchanged", "file", NULL);
	put(&scene, "file", "changed\n");
	put(&scene, "staged", "s\n");
	put(&scene, "staged and more", "s\n");
	git(scene.path, "add", "-A", NULL);
	put(&scene, "staged and more", "more\n");
	capture(&scene);
	autofree char *git_dir = xasprintf("%s/git", scene.local.id);
	autofree char *file = xasprintf("%s/tree/staged", scene.local.id);
	autofd int dir = open_beneath(scene.root.layers, git_dir, O_RDONLY | O_DIRECTORY, 0);

	assert_int_equal(fstatat(scene.root.layers, file, &st, 0), 0);
	assert_success(index_reader_open(dir, "index", false, &reader, &err), &err);
	/* Which may be changed, so that it is not known. */
	assert_int_equal(index_reader_next(reader, &entry, &err), 1);
	assert_string_equal(entry->path, "file");
	assert_int_equal(entry->stat.ino, 0);
	assert_int_equal(index_reader_next(reader, &entry, &err), 1);
	assert_string_equal(entry->path, "staged");
	assert_int_equal(entry->stat.ino, (uint32_t)st.st_ino);
	assert_int_equal(entry->stat.size, 2);
	assert_int_equal(index_reader_next(reader, &entry, &err), 1);
	assert_string_equal(entry->path, "staged and more");
	assert_int_equal(entry->stat.size, 0);
	assert_int_equal(entry->stat.ino, 0);
}

static struct stat stat_in_layer(const struct scene *scene, const char *path)
{
	autofree char *full = xasprintf("%s/tree/%s", scene->local.id, path);
	struct stat st;

	assert_int_equal(fstatat(scene->root.layers, full, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

static void set_time(const struct scene *scene, const char *path, time_t seconds, long ns)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
					  {.tv_sec = seconds, .tv_nsec = ns}};

	assert_int_equal(utimensat(scene->host, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

/* What is built from a file goes by its time, which the layers have as it was when they were made. */
static void touched(void **state)
{
	static const char *const paths[] = {"d/a", "d/nanoseconds", "link"};
	autoscene struct scene scene = scene_setup(*state);

	put(&scene, "d/a", "t: the same\n");
	put(&scene, "d/nanoseconds", "t: the same\n");
	put(&scene, "d/other", "t: the same\n");
	put(&scene, "lines", "1\n2\n");
	assert_int_equal(symlinkat("d/a", scene.host, "link"), 0);
	set_time(&scene, "d/nanoseconds", 1500000000, 1);
	set_time(&scene, "d/other", 1500000000, 1);
	git(scene.path, "config", "core.autocrlf", "input", NULL);
	commit_all(&scene);
	capture(&scene);
	assert_null(scene.local.id);
	set_time(&scene, "d/a", 1600000000, 5);
	set_time(&scene, "d/nanoseconds", 1500000000, 2);
	set_time(&scene, "link", 1600000000, 6);
	put(&scene, "lines", "1\r\n2\r\n");
	/* git itself may not look at parts of a second. */
	git(scene.path, "rm", "-q", "--cached", "d/nanoseconds", NULL);
	git(scene.path, "add", "-A", NULL);
	capture_and_compare(&scene);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct stat here, there = stat_in_layer(&scene, paths[i]);

		assert_int_equal(fstatat(scene.host, paths[i], &here, AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(there.st_mtim.tv_sec, here.st_mtim.tv_sec);
		assert_int_equal(there.st_mtim.tv_nsec, here.st_mtim.tv_nsec);
	}
	assert_true(in_layer(&scene, "tree/lines"));
	assert_false(in_layer(&scene, "tree/d/other"));
	/* And it is known that nothing is changed, without a look. */
	assert_false(in_layer(&scene, "reported"));
	assert_false(in_layer(&scene, "git/objects"));
	autofree char *git_dir = xasprintf("%s/git", scene.local.id);
	autofd int dir = open_beneath(scene.root.layers, git_dir, O_RDONLY | O_DIRECTORY, 0);
	autoreader struct index_reader *reader = NULL;
	const struct index_entry *entry = NULL;
	autoerror struct error err = ERROR_INIT;
	struct index_stat known;

	assert_success(index_reader_open(dir, "index", false, &reader, &err), &err);
	assert_int_equal(index_reader_next(reader, &entry, &err), 1);
	assert_string_equal(entry->path, "d/a");
	const struct stat copy = stat_in_layer(&scene, "d/a");

	known = index_stat_of(&copy);
	assert_memory_equal(&entry->stat, &known, sizeof known);
	/* It is another layer when it is another time. */
	autofree char *id = xstrdup(scene.local.id);

	capture(&scene);
	assert_string_equal(scene.local.id, id);
	set_time(&scene, "d/a", 1600000001, 5);
	git(scene.path, "update-index", "--refresh", NULL);
	capture(&scene);
	assert_string_not_equal(scene.local.id, id);
	assert_int_equal(stat_in_layer(&scene, "d/a").st_mtim.tv_sec, 1600000001);
}

static int unreadable_touched_body(const struct temp *temp)
{
	autoscene struct scene scene = scene_setup(temp);

	capture(&scene);
	set_time(&scene, "file", 1600000000, 0);
	git(scene.path, "update-index", "--refresh", NULL);
	NEED(fchmodat(scene.host, "file", 0, 0) == 0);
	capture(&scene);
	return scene.local.id ? 1 : 0;
}

/* git itself did not have to read it. */
static void unreadable_touched(void **state)
{
	in_user_child(unreadable_touched_body, *state);
}

/* As after another branch was checked out and this one again. */
static void too_many_touched(void **state)
{
	enum { MAX = 2000 };
	autoscene struct scene scene = scene_setup(*state);

	for (int i = 0; i < MAX + 1; i++) {
		autofree char *name = xasprintf("d/%d", i);

		put(&scene, name, "");
		set_time(&scene, name, 1500000000, 0);
	}
	commit_all(&scene);
	capture(&scene);
	for (int i = 0; i < MAX + 1; i++) {
		autofree char *name = xasprintf("d/%d", i);

		set_time(&scene, name, 1600000000, 0);
	}
	git(scene.path, "update-index", "--refresh", NULL);
	capture(&scene);
	assert_null(scene.local.id);
	set_time(&scene, "d/0", 1500000000, 0);
	git(scene.path, "update-index", "--refresh", NULL);
	capture(&scene);
	assert_true(in_layer(&scene, "tree/d/1"));
	assert_false(in_layer(&scene, "tree/d/0"));
	/* One huge file is as good as many. */
	put(&scene, "huge", "");
	autofd int huge = open_beneath(scene.host, "huge", O_WRONLY, 0);

	git(scene.path, "config", "filter.huge.clean", "true", NULL);
	put(&scene, ".gitattributes", "huge filter=huge\n");
	assert_int_equal(ftruncate(huge, (256L << 20) + 1), 0);
	commit_all(&scene);
	capture(&scene);
	set_time(&scene, "huge", 1600000000, 0);
	git(scene.path, "update-index", "--refresh", NULL);
	capture(&scene);
	assert_null(scene.local.id);
}

/* The git layer is older than what is staged, and than what is merged without a ref. */
static void new_objects(void **state)
{
	const struct temp *temp = *state;
	autoscene struct scene scene = scene_setup(temp);
	autofree char *other = make_repository(temp, "other");

	capture(&scene);
	autofree char *git_id = xstrdup(scene.pin.git.items[0]);

	put(&scene, "loose", "1\n");
	put(&scene, "packed", "2\n");
	git(scene.path, "add", "packed", NULL);
	git(scene.path, "repack", "-q", "-a", "-d", NULL);
	git(scene.path, "prune-packed", NULL);
	git(scene.path, "add", "loose", NULL);
	capture_and_compare(&scene);
	assert_string_equal(scene.pin.git.items[0], git_id);
	autofree char *staged = inside(&scene, "show", ":packed");

	assert_string_equal(staged, "2");
	git(scene.path, "commit", "-q", "-m", "mine", NULL);
	capture(&scene);
	free(git_id);
	git_id = xstrdup(scene.pin.git.items[0]);
	commit_file(other, "theirs", "1\n");
	git(scene.path, "fetch", "-q", other, NULL);
	autofree char *fetched = git_says(scene.path, "rev-parse", "FETCH_HEAD", NULL);
	autofree char *merged = xasprintf("%s\n", fetched);

	/* As git merge leaves it, but for ORIG_HEAD, which a git layer holds. */
	put(&scene, ".git/MERGE_HEAD", merged);
	put(&scene, ".git/MERGE_MODE", "");
	put(&scene, ".git/MERGE_MSG", "merged\n");
	capture_and_compare(&scene);
	assert_string_equal(scene.pin.git.items[0], git_id);
	autofree char *theirs = inside(&scene, "log", "--format=%s", "MERGE_HEAD");

	assert_string_equal(theirs, "theirs\nfile");
	git(scene.tree, "--git-dir", scene.git, "--work-tree", scene.tree, "commit", "-q", "-m",
	    "merged", NULL);
	assert_int_equal(git_status(scene.tree, "--git-dir", scene.git, "fsck", "--strict",
				    "--connectivity-only", NULL),
			 0);
}

static void types(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	put(&scene, "to link", "1\n");
	put(&scene, "to directory", "1\n");
	put(&scene, "to empty directory", "1\n");
	put(&scene, "directory/to/file", "1\n");
	put(&scene, "directory2/to/link", "1\n");
	put(&scene, "directory3/to/ignored", "1\n");
	put(&scene, "to fifo", "1\n");
	assert_int_equal(symlinkat("file", scene.host, "link to file"), 0);
	put(&scene, ".gitignore", "directory3\n");
	git(scene.path, "add", "-f", "directory3/to/ignored", NULL);
	commit_all(&scene);
	drop(&scene, "to link");
	assert_int_equal(symlinkat("file", scene.host, "to link"), 0);
	drop(&scene, "link to file");
	put(&scene, "link to file", "1\n");
	drop(&scene, "to directory");
	put(&scene, "to directory/a/b", "2\n");
	drop(&scene, "to empty directory");
	make_dirs(scene.host, "to empty directory");
	drop(&scene, "directory");
	put(&scene, "directory", "2\n");
	drop(&scene, "directory2");
	assert_int_equal(symlinkat("/etc", scene.host, "directory2"), 0);
	drop(&scene, "directory3");
	put(&scene, "directory3", "ignored\n");
	drop(&scene, "to fifo");
	assert_int_equal(mkfifoat(scene.host, "to fifo", 0600), 0);
	capture_and_compare(&scene);
	drop(&scene, "to fifo");
	git(scene.path, "add", "-A", NULL);
	capture_and_compare(&scene);
}

static void flags(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	for (int i = 0; i < 6; i++) {
		autofree char *name = xasprintf("f%d", i);

		put(&scene, name, name);
	}
	commit_all(&scene);
	put(&scene, "intended", "1\n");
	git(scene.path, "add", "-N", "intended", NULL);
	git(scene.path, "update-index", "--assume-unchanged", "f0", "f1", "f2", NULL);
	git(scene.path, "update-index", "--skip-worktree", "f3", "f4", "f5", NULL);
	capture_and_compare(&scene);
	/* git sees none of these. */
	put(&scene, "f0", "changed\n");
	drop(&scene, "f1");
	put(&scene, "f3", "changed\n");
	drop(&scene, "f4");
	capture_and_compare(&scene);
	assert_true(hidden_in_layer(&scene, "tree/f1"));
	assert_true(hidden_in_layer(&scene, "tree/f4"));
	/* And inside it is known what they are when it is told to look again. */
	git(scene.tree, "--git-dir", scene.git, "--work-tree", scene.tree, "update-index",
	    "--no-assume-unchanged", "f0", "f1", "f2", NULL);
	git(scene.tree, "--git-dir", scene.git, "--work-tree", scene.tree, "update-index",
	    "--no-skip-worktree", "f3", "f4", "f5", NULL);
	autofree char *status = inside(&scene, "status", "--porcelain");

	assert_string_equal(status, " M f0\n D f1\n M f3\n D f4\n A intended");
	/* Staged beside. */
	git(scene.path, "update-index", "--no-skip-worktree", "f5", NULL);
	put(&scene, "f5", "staged\n");
	git(scene.path, "add", "f5", NULL);
	git(scene.path, "update-index", "--skip-worktree", "f5", NULL);
	drop(&scene, "f5");
	capture(&scene);
	view(&scene);
	assert_same(&scene, "ls-files", "-s", "-v");
	assert_false(exists(AT_FDCWD, "v/tree/f5"));
}

static void sparse(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	put(&scene, "in/a", "1\n");
	put(&scene, "out/a", "1\n");
	put(&scene, "out/deep/b", "1\n");
	put(&scene, "out/deep/c", "1\n");
	commit_all(&scene);
	git(scene.path, "sparse-checkout", "set", "--no-cone", "/*", "!/out/", NULL);
	assert_false(exists(scene.host, "out"));
	capture(&scene);
	assert_null(scene.local.id);
	assert_equal(&scene);
	/* What is there all the same git looks at. */
	put(&scene, "out/a", "by hand\n");
	put(&scene, "out/deep/b", "1\n");
	capture_and_compare(&scene);
	assert_true(in_layer(&scene, "tree/out/a"));
	put(&scene, "out/a", "staged\n");
	git(scene.path, "add", "--sparse", "out/a", NULL);
	put(&scene, "out/a", "and more\n");
	capture_and_compare(&scene);
	git(scene.path, "reset", "-q", "--hard", NULL);
	/* Without git knowing. */
	git(scene.path, "update-index", "--no-skip-worktree", "out/deep/b", NULL);
	put(&scene, "out/deep/b", "1\n");
	git(scene.path, "update-index", "--skip-worktree", "in/a", NULL);
	drop(&scene, "in/a");
	capture_and_compare(&scene);
	assert_true(hidden_in_layer(&scene, "tree/in/a"));
	/* A sparse index has directories for entries. */
	git(scene.path, "reset", "-q", "--hard", NULL);
	git(scene.path, "sparse-checkout", "set", "--cone", "--sparse-index", "in", NULL);
	put(&scene, "in/a", "2\n");
	git(scene.path, "add", "in/a", NULL);
	capture_and_compare(&scene);
}

static void split_index(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	for (int i = 0; i < 40; i++) {
		autofree char *name = xasprintf("f%02d", i);

		put(&scene, name, name);
	}
	commit_all(&scene);
	git(scene.path, "update-index", "--split-index", NULL);
	put(&scene, "f07", "staged\n");
	git(scene.path, "add", "f07", NULL);
	git(scene.path, "update-index", "--assume-unchanged", "f20", NULL);
	autofree char *before = outside(&scene, "rev-parse", "--shared-index-path");

	assert_contains(before, "sharedindex.");
	capture_and_compare(&scene);
	/* The host's own stays split. */
	autofree char *after = outside(&scene, "rev-parse", "--shared-index-path");

	assert_string_equal(after, before);
	assert_int_equal(count_entries(scene.root.temp), 0);
}

static void names(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	static const char *const hostile[] = {
		"with\nnewline", "\"quoted\"", "inv\xff\xfelid",  " ", "-rf", "a:b",
		"back\\slash",	 "\x1b[2J",    "dir \xff/file\n", "*", "#",   "caf\xc3\xa9"};

	for (size_t i = 0; i < ARRAY_SIZE(hostile); i += 2)
		put(&scene, hostile[i], "1\n");
	commit_all(&scene);
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++)
		put(&scene, hostile[i], "2\n");
	git(scene.path, "add", "--", "a:b", "inv\xff\xfelid", "caf\xc3\xa9", NULL);
	drop(&scene, "with\nnewline");
	capture_and_compare(&scene);
}

static void without_a_commit(void **state)
{
	const struct temp *temp = *state;

	git(temp->path, "init", "-q", "empty", NULL);
	autoscene struct scene scene = scene_of(temp, temp_path(temp, "empty"));

	capture(&scene);
	assert_null(scene.local.id);
	put(&scene, "staged", "1\n");
	git(scene.path, "add", "staged", NULL);
	put(&scene, "untracked", "1\n");
	capture_and_compare(&scene);
}

static void modules(void **state)
{
	const struct temp *temp = *state;
	autoscene struct scene scene = scene_setup(temp);
	autofree char *other = make_repository(temp, "other");

	git(scene.path, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", other,
	    "old", NULL);
	commit_all(&scene);
	git(scene.path, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", other,
	    "new/module", NULL);
	commit_file(other, "more", "1\n");
	autofree char *old = temp_path(temp, "r/old");

	commit_file(old, "more", "1\n");
	capture(&scene);
	view(&scene);
	assert_same(&scene, "ls-files", "-s");
	assert_true(in_layer(&scene, "tree/new/module"));
	assert_false(in_layer(&scene, "tree/new/module/file"));
	assert_false(in_layer(&scene, "tree/old"));
	autofree char *list = reported(&scene);

	assert_string_equal(list, "old|");
	/* No repository any more. */
	drop(&scene, "old");
	put(&scene, "old", "a file\n");
	drop(&scene, "new/module");
	put(&scene, "new/module", "another file\n");
	capture_and_compare(&scene);
}

/* ---- ignored, masked, nested ---- */

static void ignored(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	put(&scene, ".gitignore", "*.log\n/big\n/big \xff\n.env\n");
	commit_all(&scene);
	put(&scene, "sub/x.log", "1\n");
	put(&scene, "big/data", "too large\n");
	put(&scene, "big/.env", "SECRET=1\n");
	scene.wishes.budget = 4;
	put(&scene, "big \xff/data", "too large\n");
	put(&scene, ".env", "SECRET=1\n");
	capture(&scene);
	assert_int_equal(scene.local.carried.len, 1);
	assert_string_equal(scene.local.carried.items[0], "big");
	assert_true(has(&scene.local.masked, ".env"));
	assert_true(has(&scene.local.masked, "big/.env"));
	/* It could not be recorded. */
	assert_true(has(&scene.local.left_out, "big \xff/"));
	assert_true(in_layer(&scene, "tree/sub/x.log"));
	assert_true(in_layer(&scene, "tree/big"));
	assert_false(in_layer(&scene, "tree/big/data"));
	assert_false(in_layer(&scene, "tree/.env"));
	assert_true(hidden_in_layer(&scene, "carried/0/.env"));
	autofree char *list = reported(&scene);

	assert_string_equal(list, "big/|");
	/* Another answer is another layer. */
	autofree char *id = xstrdup(scene.local.id);

	drop(&scene, "big/.env");
	capture(&scene);
	assert_string_not_equal(scene.local.id, id);
	assert_false(in_layer(&scene, "carried"));
	scene.wishes.ignored = false;
	capture(&scene);
	assert_null(scene.local.id);
	assert_int_equal(scene.local.carried.len, 0);
}

static void nested_repository(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	git(scene.path, "init", "-q", "nested", NULL);
	put(&scene, "nested/file", "1\n");
	capture(&scene);
	assert_null(scene.local.id);
	assert_true(has(&scene.local.left_out, "nested/"));
}

static int unreadable_body(const struct temp *temp)
{
	struct scene scene = scene_of(temp, temp_path(temp, "r"));
	struct error err = ERROR_INIT;

	NEED(try_capture(&scene, &err) == 0);
	NEED(has(&scene.local.left_out, "secret"));
	NEED(!has(&scene.local.left_out, "open"));
	NEED(in_layer(&scene, "tree/open"));
	/* What is tracked is never silently missing. */
	NEED(fchmodat(scene.host, "file", 0, 0) == 0);
	put(&scene, "open", "2\n");
	NEED(try_capture(&scene, &err) < 0);
	NEED(err.code == ERR_SYSTEM && strstr(err.message, "file"));
	scene_release(&scene);
	error_clear(&err);
	return 0;
}

static void unreadable(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	put(&scene, "open", "1\n");
	put(&scene, "secret", "1\n");
	put(&scene, "file", "changed\n");
	assert_int_equal(fchmodat(scene.host, "secret", 0, 0), 0);
	in_user_child(unreadable_body, *state);
}

/* ---- in progress ---- */

static void conflict(const struct scene *scene)
{
	put(scene, "both", "base\n");
	put(scene, "removed there", "base\n");
	commit_all(scene);
	git(scene->path, "checkout", "-q", "-b", "there", NULL);
	put(scene, "both", "there\n");
	put(scene, "only there", "1\n");
	git(scene->path, "rm", "-q", "removed there", NULL);
	commit_all(scene);
	git(scene->path, "checkout", "-q", "-", NULL);
	put(scene, "both", "here\n");
	put(scene, "removed there", "changed\n");
	commit_all(scene);
}

static void merging(void **state)
{
	const struct temp *temp = *state;
	autoscene struct scene scene = scene_setup(temp);

	conflict(&scene);
	assert_int_not_equal(git_status(scene.path, "merge", "-q", "there", NULL), 0);
	put_text(scene.host, ".git/MERGE_HEAD.lock", "");
	capture_and_compare(&scene);
	assert_same(&scene, "status");
	assert_same(&scene, "ls-files", "-u");
	assert_true(in_layer(&scene, "git/MERGE_MSG"));
	assert_false(in_layer(&scene, "git/MERGE_HEAD.lock"));
	assert_false(in_layer(&scene, "git/HEAD"));
	/* It can be finished inside. */
	git(scene.tree, "--git-dir", scene.git, "--work-tree", scene.tree, "add", "-A", NULL);
	git(scene.tree, "--git-dir", scene.git, "--work-tree", scene.tree, "commit", "-q", "-m",
	    "merged", NULL);
	autofree char *parents = inside(&scene, "rev-list", "--parents", "-1", "HEAD");

	assert_int_equal(strlen(parents), 3 * 40 + 2);
	/* Nothing but the state itself. */
	autoscene struct scene same = scene_of(temp, make_repository(temp, "same"));

	conflict(&same);
	git(same.path, "merge", "-q", "--no-commit", "-s", "ours", "there", NULL);
	capture_and_compare(&same);
	assert_same(&same, "status");
	assert_false(in_layer(&same, "git/index"));
	same.wishes.clean = true;
	capture(&same);
	assert_null(same.local.id);
}

static void rebasing(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	conflict(&scene);
	assert_int_not_equal(git_status(scene.path, "rebase", "-q", "there", NULL), 0);
	put_text(scene.host, ".git/rebase-merge/x.lock", "");
	capture_and_compare(&scene);
	assert_same(&scene, "status");
	assert_false(in_layer(&scene, "git/rebase-merge/x.lock"));
	git(scene.path, "rebase", "--abort", NULL);
	assert_int_not_equal(git_status(scene.path, "cherry-pick", "there", NULL), 0);
	capture_and_compare(&scene);
	assert_same(&scene, "status");
	git(scene.path, "cherry-pick", "--abort", NULL);
	git(scene.path, "bisect", "start", "HEAD", "HEAD~2", NULL);
	capture_and_compare(&scene);
	assert_same(&scene, "status");
	assert_same(&scene, "bisect", "log");
}

/* A message may quote an address that a command was given. */
static void credentials_in_progress(void **state)
{
	static const char *const places[] = {"MERGE_MSG", "rebase-merge/message", "sequencer/todo"};
	autoscene struct scene scene = scene_setup(*state);

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		autofree char *path = xasprintf(".git/%s", places[i]);

		put(&scene, path, "Merge of https://me:secret@example.com/r into\n\n\tthis\n");
	}
	capture(&scene);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		autofree char *path = xasprintf("%s/git/%s", scene.local.id, places[i]);
		autofree char *text = get_text(scene.root.layers, path);

		assert_string_equal(text, "Merge of https://example.com/r into\n\n\tthis\n");
	}
	/* A patch with less in it would not apply. */
	put(&scene, ".git/rebase-apply/0001", "+https://example.com/?page=1\n");
	capture(&scene);
	autofree char *path = xasprintf("%s/git/rebase-apply/0001", scene.local.id);
	autofree char *text = get_text(scene.root.layers, path);

	assert_string_equal(text, "+https://example.com/?page=1\n");
}

static void locked(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	put(&scene, "staged", "1\n");
	git(scene.path, "add", "staged", NULL);
	put_text(scene.host, ".git/index.lock", "");
	capture_and_compare(&scene);
	assert_false(in_layer(&scene, "git/index.lock"));
	assert_true(exists(scene.host, ".git/index.lock"));
}

/* ---- branches ---- */

static void new_branch(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autoerror struct error err = ERROR_INIT;

	scene.wishes.branch = "topic/one";
	put(&scene, "file", "changed\n");
	capture(&scene);
	view(&scene);
	autofree char *branch = inside(&scene, "symbolic-ref", "HEAD");
	autofree char *host = outside(&scene, "rev-parse", "HEAD");
	autofree char *tip = inside(&scene, "rev-parse", "topic/one");
	autofree char *status = inside(&scene, "status", "--porcelain");
	autofree char *back = inside(&scene, "rev-parse", "--abbrev-ref", "@{-1}");
	autofree char *log = inside(&scene, "reflog", "topic/one", "--format=%gs");
	autofree char *head_log = inside(&scene, "reflog", "-2", "--format=%gs");

	assert_string_equal(branch, "refs/heads/topic/one");
	assert_string_equal(tip, host);
	assert_string_equal(status, " M file");
	assert_string_equal(back, "main");
	assert_string_equal(log, "branch: Created from HEAD");
	assert_string_equal(head_log, "checkout: moving from main to topic/one\n"
				      "commit (initial): file");
	/* The same without what is uncommitted. */
	scene.wishes.clean = true;
	capture(&scene);
	assert_true(in_layer(&scene, "git/HEAD"));
	assert_false(in_layer(&scene, "tree"));
	assert_false(in_layer(&scene, "git/index"));

	static const char *const invalid[] = {"a..b", "-x", "@{-1}", "HEAD", "a b", "", "x.lock"};

	git(scene.path, "checkout", "-q", "-b", "a/b/c", NULL);
	git(scene.path, "checkout", "-q", "main", NULL);
	git(scene.path, "pack-refs", "--all", NULL);
	git(scene.path, "branch", "loose", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(invalid); i++) {
		scene.wishes.branch = invalid[i];
		assert_failure(try_capture(&scene, &err), &err, ERR_USAGE, "not a valid name");
		error_clear(&err);
	}
	static const char *const taken[] = {"main", "loose",   "a/b/c", "a",
					    "a/b",  "a/b/c/d", "main/x"};

	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		scene.wishes.branch = taken[i];
		assert_failure(try_capture(&scene, &err), &err, ERR_EXISTS, "branch");
		error_clear(&err);
	}
	scene.wishes.branch = "a/b/d";
	capture(&scene);
	make_dirs(scene.host, ".git/reftable");
	assert_failure(try_capture(&scene, &err), &err, ERR_UNSUPPORTED, "reftable");
}

static void branch_of_nothing(void **state)
{
	const struct temp *temp = *state;

	git(temp->path, "init", "-q", "empty", NULL);
	autoscene struct scene scene = scene_of(temp, temp_path(temp, "empty"));

	scene.wishes.branch = "topic";
	capture(&scene);
	view(&scene);
	autofree char *branch = inside(&scene, "symbolic-ref", "HEAD");

	assert_string_equal(branch, "refs/heads/topic");
	assert_int_not_equal(git_status(scene.tree, "--git-dir", scene.git, "rev-parse", "-q",
					"--verify", "HEAD", NULL),
			     0);
}

/* --from: the layers of another commit. Here the same one, which the caller says is another. */
static void switched(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autoerror struct error err = ERROR_INIT;

	commit_file(scene.path, "two", "2\n");
	put(&scene, "untracked", "1\n");
	pin_again(&scene);
	for (int branch = 0; branch < 3; branch++) {
		struct local_request request = request_of(&scene);
		autolocalstatus struct local_status status = LOCAL_STATUS_INIT;
		struct repository_head head = scene.head;

		head.ref = branch == 1 ? (char *)"refs/heads/other" : NULL;
		scene.wishes.branch = branch == 2 ? "topic" : NULL;
		request.head = &head;
		request.switched = true;
		local_release(&scene.local);
		assert_success(local_capture(&request, &status, &scene.local, &err), &err);
		view(&scene);
		autofree char *path = xasprintf("%s/HEAD", scene.git);
		autofree char *text = get_text(AT_FDCWD, path);
		autofree char *commit = xasprintf("%s\n", scene.head.commit);

		assert_string_equal(text, branch == 0	? commit
					  : branch == 1 ? "ref: refs/heads/other\n"
							: "ref: refs/heads/topic\n");
		assert_true(in_layer(&scene, "git/index"));
		assert_false(in_layer(&scene, "tree"));
	}
	autofree char *status = inside(&scene, "status", "--porcelain");

	assert_string_equal(status, "");
}

/* ---- sharing, and what changes meanwhile ---- */

static void shared(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	put(&scene, "file", "changed\n");
	put(&scene, "untracked", "1\n");
	capture(&scene);
	autofree char *id = xstrdup(scene.local.id);

	capture(&scene);
	assert_string_equal(scene.local.id, id);
	/* The same size. */
	put(&scene, "untracked", "2\n");
	capture_and_compare(&scene);
	assert_string_not_equal(scene.local.id, id);
	assert_int_equal(count_entries(scene.root.temp), 0);
}

static void head_moved(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autolocalstatus struct local_status status = LOCAL_STATUS_INIT;
	autoerror struct error err = ERROR_INIT;

	pin_again(&scene);
	const struct local_request request = request_of(&scene);

	git(scene.path, "checkout", "-q", "-b", "elsewhere", NULL);
	assert_success(local_start(&scene.repository, &scene.wishes, &status, &err), &err);
	assert_failure(local_capture(&request, &status, &scene.local, &err), &err, ERR_UNSTABLE,
		       "HEAD");
}

/* Between the moment and the copy: the copy is of a later moment, in which everything is right. */
static void changed_once(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autoerror struct error err = ERROR_INIT;

	for (int what = 0; what < 5; what++) {
		autolocalstatus struct local_status status = LOCAL_STATUS_INIT;

		git(scene.path, "reset", "-q", "--hard", NULL);
		git(scene.path, "clean", "-q", "-fdx", NULL);
		put(&scene, "file", "changed\n");
		put(&scene, "sub/untracked", "1\n");
		pin_again(&scene);
		const struct local_request request = request_of(&scene);
		siginfo_t ended;

		assert_success(local_start(&scene.repository, &scene.wishes, &status, &err), &err);
		/* Until git has seen everything, and said it: it is little. */
		assert_int_equal(waitid(P_PID, (id_t)status.process.pid, &ended, WEXITED | WNOWAIT),
				 0);
		if (what == 0)
			put(&scene, "file", "changed again\n");
		else if (what == 1)
			git(scene.path, "add", "-A", NULL);
		else if (what == 2)
			drop(&scene, "sub/untracked");
		else if (what == 3)
			assert_int_equal(renameat(scene.host, "sub", scene.host, "bus"), 0);
		else
			git(scene.path, "checkout", "-q", "file", NULL);
		local_release(&scene.local);
		assert_success(local_capture(&request, &status, &scene.local, &err), &err);
		assert_equal(&scene);
	}
}

/*
 * Directories of tracked files change places, with nothing in them that is newer than the moment: git has
 * looked at what is in the one, and what is in the other would be copied.
 */
static void exchanged(void **state)
{
	static const char *const pairs[][2] = {{"one", "two"}, {"one/in", "two/in"}};
	autoscene struct scene scene = scene_setup(*state);
	autoerror struct error err = ERROR_INIT;

	put(&scene, "one/in/file", "1\n");
	put(&scene, "two/in/file", "2\n");
	commit_all(&scene);
	for (size_t i = 0; i < 2; i++) {
		autolocalstatus struct local_status status = LOCAL_STATUS_INIT;

		git(scene.path, "reset", "-q", "--hard", NULL);
		put(&scene, "one/in/file", "changed\n");
		pin_again(&scene);
		const struct local_request request = request_of(&scene);
		siginfo_t ended;

		assert_success(local_start(&scene.repository, &scene.wishes, &status, &err), &err);
		assert_int_equal(waitid(P_PID, (id_t)status.process.pid, &ended, WEXITED | WNOWAIT),
				 0);
		assert_int_equal(renameat2(scene.host, pairs[i][0], scene.host, pairs[i][1],
					   RENAME_EXCHANGE),
				 0);
		local_release(&scene.local);
		assert_success(local_capture(&request, &status, &scene.local, &err), &err);
		assert_equal(&scene);
	}
}

/*
 * What happens in the middle of a capture, without any race: a filter that git status itself runs each
 * time, on a file that may have changed, after it has looked at what comes before that one.
 */
static void when_looked_at(const struct scene *scene, const char *command)
{
	autofree char *filter = xasprintf("cat; %s", command);

	put(scene, ".gitattributes", "watched filter=meddle\n");
	put(scene, "watched", "1\n");
	commit_all(scene);
	put(scene, "watched", "2\n");
	git(scene->path, "config", "filter.meddle.clean", filter, NULL);
}

/* git saw the one before and the other one after: there was no such moment. */
static void torn(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	put(&scene, "before/file", "1\n");
	put(&scene, "a", "1\n");
	put(&scene, "z", "1\n");
	when_looked_at(&scene, "if [ -d before ]; then mv before behind; fi");
	capture_and_compare(&scene);
	assert_false(exists(scene.host, "before"));
	git(scene.path, "config", "filter.meddle.clean", "cat; rm -f a z", NULL);
	capture_and_compare(&scene);
	assert_false(exists(scene.host, "a"));
}

static void never_rests(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autoerror struct error err = ERROR_INIT;

	put(&scene, ".gitignore", "*.log\n");
	when_looked_at(&scene, "touch 'busy\n'");
	assert_failure(try_capture(&scene, &err), &err, ERR_UNSTABLE, "busy\\n keeps changing");
	assert_non_null(err.hint);
	assert_int_equal(count_entries(scene.root.temp), 0);
}

/* A log that is ignored is no reason to refuse. */
static void ignored_never_rests(void **state)
{
	autoscene struct scene scene = scene_setup(*state);

	put(&scene, ".gitignore", "*.log\n");
	put(&scene, "steady.log", "1\n");
	when_looked_at(&scene, "touch busy.log");
	capture(&scene);
	assert_int_equal(scene.local.left_out.len, 1);
	assert_string_equal(scene.local.left_out.items[0], "busy.log");
	assert_true(in_layer(&scene, "tree/steady.log"));
	assert_true(in_layer(&scene, "tree/watched"));
	assert_false(in_layer(&scene, "tree/busy.log"));
}

static void worktree(void **state)
{
	const struct temp *temp = *state;
	autofree char *main = make_repository(temp, "main");

	git(main, "worktree", "add", "-q", "-b", "linked", "../linked", NULL);
	autoscene struct scene scene = scene_of(temp, temp_path(temp, "linked"));

	conflict(&scene);
	put(&scene, "both", "staged\n");
	git(scene.path, "add", "both", NULL);
	put(&scene, "both", "and more\n");
	capture_and_compare(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(nothing),
		WITH_TEMP(unstaged),
		WITH_TEMP(staged),
		WITH_TEMP(stat_of_staged),
		WITH_TEMP(touched),
		WITH_TEMP(unreadable_touched),
		WITH_TEMP(too_many_touched),
		WITH_TEMP(types),
		WITH_TEMP(new_objects),
		WITH_TEMP(flags),
		WITH_TEMP(sparse),
		WITH_TEMP(split_index),
		WITH_TEMP(names),
		WITH_TEMP(without_a_commit),
		WITH_TEMP(modules),
		WITH_TEMP(ignored),
		WITH_TEMP(nested_repository),
		WITH_TEMP(unreadable),
		WITH_TEMP(merging),
		WITH_TEMP(rebasing),
		WITH_TEMP(credentials_in_progress),
		WITH_TEMP(locked),
		WITH_TEMP(new_branch),
		WITH_TEMP(branch_of_nothing),
		WITH_TEMP(switched),
		WITH_TEMP(shared),
		WITH_TEMP(head_moved),
		WITH_TEMP(changed_once),
		WITH_TEMP(exchanged),
		WITH_TEMP(torn),
		WITH_TEMP(never_rests),
		WITH_TEMP(ignored_never_rests),
		WITH_TEMP(worktree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
