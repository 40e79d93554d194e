#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "snapshot/git-parts.h"
#include "snapshot/pin.h"

/* A git layer of a repository, and how git is told to use it. */
struct layer {
	struct root root;
	struct pin pin;
	char *git_dir;
	char *tree;
	int fd;
};

static void layer_release(struct layer *layer)
{
	pin_release(&layer->pin);
	root_close(&layer->root);
	free(layer->git_dir);
	free(layer->tree);
	fd_close(&layer->fd);
}

#define autolayer __attribute__((cleanup(layer_release)))

static void layer_make(const struct temp *temp, const char *path, struct layer *ret)
{
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;

	open_test_root(temp, &ret->root);
	assert_success(repository_find(path, &found, &err), &err);
	assert_success(pin_repository(&ret->root, &found, NULL, &ret->pin, &err), &err);
	ret->git_dir = xasprintf("%s/.layers/%s/tree", ret->root.path, ret->pin.git.items[0]);
	ret->tree = xasprintf("%s/.layers/%s/tree", ret->root.path, ret->pin.tree.items[0]);
	ret->fd = open(ret->git_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(ret->fd >= 0);
}

/* Nothing open, nothing owned */
#define LAYER_INIT                                                         \
	{                                                                  \
		.root = ROOT_INIT, .git_dir = NULL, .tree = NULL, .fd = -1 \
	}
#define IN(layer) "--no-optional-locks", "--git-dir", (layer).git_dir, "--work-tree", (layer).tree

#define assert_same(path, layer, ...)                                                       \
	do {                                                                                \
		autofree char *there = git_says(path, __VA_ARGS__, NULL);                   \
		autofree char *here = git_says((layer).tree, IN(layer), __VA_ARGS__, NULL); \
                                                                                            \
		assert_string_equal(here, there);                                           \
	} while (0)

static char *merged(const char *packed, const struct loose_ref *loose, size_t count)
{
	autostr struct str text = STR_INIT;
	struct str result = STR_INIT;

	str_add(&text, packed);
	packed_refs_merge(&text, loose, count, &result);
	return str_take(&result);
}

static void merging_packed_refs(void **state)
{
	static const struct loose_ref loose[] = {
		{(char *)"refs/heads/a", (char *)"11"},
		{(char *)"refs/heads/b/c", (char *)"22"},
		{(char *)"refs/tags/z", (char *)"33"},
	};
	/* Of an old git, which did not sort; the last line without its end. */
	autofree char *odd = merged("# pack-refs with: peeled fully-peeled \n"
				    "66 refs/tags/t\n^67\n"
				    "55 refs/heads/b/c\n^56\n"
				    "44 refs/heads/b\n"
				    "77 refs/tags/y",
				    loose, ARRAY_SIZE(loose));
	autofree char *none = merged("", loose, 1);
	autofree char *only = merged("44 refs/heads/b\n", loose, 0);

	(void)state;
	assert_string_equal(odd, "# pack-refs with: sorted \n"
				 "11 refs/heads/a\n"
				 "44 refs/heads/b\n"
				 "22 refs/heads/b/c\n"
				 "66 refs/tags/t\n^67\n"
				 "77 refs/tags/y\n"
				 "33 refs/tags/z\n");
	assert_string_equal(none, "# pack-refs with: sorted \n11 refs/heads/a\n");
	assert_string_equal(only, "# pack-refs with: sorted \n44 refs/heads/b\n");
}

static int count_file(void *data, int dirfd, const char *name, const char *path,
		      const struct stat *st)
{
	(void)dirfd;
	(void)name;
	(void)path;
	*(size_t *)data += !S_ISDIR(st->st_mode);
	return 0;
}

static void refs(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autolayer struct layer layer = LAYER_INIT;
	autoerror struct error err = ERROR_INIT;
	autofd int at = -1;
	size_t files = 0;

	git(path, "tag", "-a", "-m", "t", "packed", NULL);
	git(path, "branch", "moved", NULL);
	git(path, "branch", "gone", NULL);
	git(path, "pack-refs", "--all", NULL);
	commit_file(path, "two", "2\n");
	git(path, "branch", "-f", "moved", "HEAD", NULL);
	git(path, "branch", "-D", "-q", "gone", NULL);
	git(path, "tag", "-a", "-m", "t", "loose", NULL);
	git(path, "branch", "deep/er/branch", NULL);
	git(path, "notes", "add", "-m", "a note", NULL);
	put_text(temp->fd, "r/two", "stashed\n");
	git(path, "stash", "-q", NULL);
	git(path, "update-ref", "refs/remotes/origin/main", "HEAD~", NULL);
	git(path, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main", NULL);
	git(path, "bisect", "start", "-q", NULL);
	git(path, "update-ref", "refs/bisect/bad", "HEAD", NULL);
	layer_make(temp, path, &layer);
	assert_same(path, layer, "for-each-ref",
		    "--format=%(refname) %(objectname) %(*objectname) %(symref)");
	assert_same(path, layer, "show-ref", "--dereference");
	assert_same(path, layer, "stash", "list");
	assert_same(path, layer, "stash", "show", "-p");
	assert_same(path, layer, "notes", "list");
	assert_same(path, layer, "reflog", "--all");
	assert_same(path, layer, "describe", "--all", "--long");
	assert_same(path, layer, "fsck", "--full", "--strict", "--no-dangling");
	/* A symbolic ref and a bisect stay files. */
	at = open_beneath(layer.fd, "refs", O_RDONLY | O_DIRECTORY, 0);
	assert_success(tree_walk(at, count_file, &files, &err), &err);
	assert_int_equal(files, 2);
}

/* What git takes for damage in a file it must not meet in packed-refs. */
static void damaged_refs(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *commit = git_says(path, "rev-parse", "HEAD", NULL);
	autofree char *line = xasprintf("%s\n", commit);
	autolayer struct layer layer = LAYER_INIT;
	static const char *const names[] = {"a b", "a..b", ".a", "a~1", "a\nb", "x@{1}"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autofree char *file = xasprintf("r/.git/refs/heads/%s", names[i]);

		put_text(temp->fd, file, line);
	}
	put_text(temp->fd, "r/.git/refs/heads/empty", "");
	put_text(temp->fd, "r/.git/refs/heads/zero", "0000000000000000000000000000000000000000\n");
	git(path, "branch", "good", NULL);
	layer_make(temp, path, &layer);
	assert_same(path, layer, "for-each-ref");
	autofree char *packed = get_text(layer.fd, "packed-refs");
	autofree char *expected = xasprintf("# pack-refs with: sorted \n%s refs/heads/good\n"
					    "%s refs/heads/main\n",
					    commit, commit);

	assert_string_equal(packed, expected);
}

/* Of a linked worktree: what it shares, and its own, but nothing of the main one. */
static void linked_worktree(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *worktree = temp_path(temp, "wt");
	autolayer struct layer layer = LAYER_INIT;

	commit_file(path, "two", "2\n");
	git(path, "worktree", "add", "-q", "-b", "other", worktree, NULL);
	git(path, "update-ref", "refs/bisect/bad", "HEAD", NULL);
	git(path, "update-ref", "refs/custom/x", "--create-reflog", "HEAD", NULL);
	git(path, "sparse-checkout", "set", "--no-cone", "/file", NULL);
	git(worktree, "update-ref", "refs/worktree/own", "HEAD~", NULL);
	put_text(temp->fd, "r/.git/info/exclude", "*.o\n");
	layer_make(temp, worktree, &layer);
	assert_same(worktree, layer, "for-each-ref");
	assert_same(worktree, layer, "reflog");
	assert_same(worktree, layer, "reflog", "refs/custom/x");
	assert_same(worktree, layer, "status", "--porcelain=v2", "--branch");
	assert_false(exists(layer.fd, "refs/bisect"));
	assert_false(exists(layer.fd, "info/sparse-checkout"));
	assert_true(exists(layer.fd, "info/exclude"));
}

static void small_files(void **state)
{
	static const char *const files[][2] = {
		{"info/exclude", "*.o\n"},
		{"info/attributes", "*.x binary\n"},
		{"info/grafts", "# none\n"},
		{"rr-cache/0123/preimage", "<<<<<<<\n"},
	};
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autolayer struct layer layer = LAYER_INIT;

	commit_file(path, "two", "2\n");
	git(path, "reset", "-q", "--hard", "HEAD~", NULL);
	make_dirs(temp->fd, "r/.git/rr-cache/0123");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		autofree char *file = xasprintf("r/.git/%s", files[i][0]);

		put_text(temp->fd, file, files[i][1]);
	}
	layer_make(temp, path, &layer);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		autofree char *text = get_text(layer.fd, files[i][0]);

		assert_string_equal(text, files[i][1]);
	}
	assert_same(path, layer, "rev-parse", "ORIG_HEAD");
}

/* Rules of the user's that git finds by way of a link. */
static void linked_rules(void **state)
{
	static const char *const names[] = {"exclude", "attributes", "sparse-checkout"};
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *rules = temp_path(temp, "rules");
	autolayer struct layer layer = LAYER_INIT;

	put_text(temp->fd, "rules", "*.bak\n");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autofree char *link = xasprintf("r/.git/info/%s", names[i]);

		if (unlinkat(temp->fd, link, 0) < 0)
			assert_int_equal(errno, ENOENT);
		assert_int_equal(symlinkat(rules, temp->fd, link), 0);
	}
	/* No other file, and nothing that is not a small one */
	assert_int_equal(symlinkat(rules, temp->fd, "r/.git/info/other"), 0);
	layer_make(temp, path, &layer);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autofree char *file = xasprintf("info/%s", names[i]);
		autofree char *text = get_text(layer.fd, file);

		assert_string_equal(text, "*.bak\n");
	}
	assert_false(exists(layer.fd, "info/other"));
}

static void unusable_linked_rules(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *large = temp_path(temp, "large");
	autolayer struct layer layer = LAYER_INIT;

	put_text(temp->fd, "large", "");
	assert_int_equal(truncate(large, (1 << 20) + 1), 0);
	assert_int_equal(symlinkat(large, temp->fd, "r/.git/info/attributes"), 0);
	assert_int_equal(symlinkat("/dev/zero", temp->fd, "r/.git/info/sparse-checkout"), 0);
	if (unlinkat(temp->fd, "r/.git/info/exclude", 0) < 0)
		assert_int_equal(errno, ENOENT);
	assert_int_equal(symlinkat("/nonexistent", temp->fd, "r/.git/info/exclude"), 0);
	layer_make(temp, path, &layer);
	assert_false(exists(layer.fd, "info/attributes"));
	assert_false(exists(layer.fd, "info/sparse-checkout"));
	assert_false(exists(layer.fd, "info/exclude"));
}

static void lfs_objects(void **state)
{
	static const char object[] =
		"12/34/"
		"1234567890123456789012345678901234567890123456789012345678901234";
	static const char *const places[] = {"r/.git/lfs", "elsewhere"};
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *elsewhere = temp_path(temp, "elsewhere");

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		autolayer struct layer layer = LAYER_INIT;
		autofree char *directory = xasprintf("%s/objects/12/34", places[i]);
		autofree char *other = xasprintf("%s/objects/12/34/unfinished", places[i]);
		autofree char *file = xasprintf("%s/objects/%s", places[i], object);
		autofree char *inside = xasprintf("lfs/objects/%s", object);
		struct stat there, here;

		make_dirs(temp->fd, directory);
		put_text(temp->fd, other, "x");
		put_text(temp->fd, file, places[i]);
		if (i == 1)
			git(path, "config", "lfs.storage", elsewhere, NULL);
		layer_make(temp, path, &layer);
		assert_int_equal(fstatat(temp->fd, file, &there, 0), 0);
		assert_int_equal(fstatat(layer.fd, inside, &here, 0), 0);
		assert_int_equal(there.st_ino, here.st_ino);
		assert_false(exists(layer.fd, "lfs/objects/12/34/unfinished"));
	}
}

static void shallow(void **state)
{
	const struct temp *temp = *state;
	autofree char *origin = make_repository(temp, "origin");
	autofree char *url = xasprintf("file://%s", origin);
	autofree char *path = temp_path(temp, "r");
	autolayer struct layer layer = LAYER_INIT;

	commit_file(origin, "two", "2\n");
	commit_file(origin, "three", "3\n");
	git(temp->path, "clone", "-q", "--depth=2", url, "r", NULL);
	layer_make(temp, path, &layer);
	assert_same(path, layer, "log", "--format=%H %s");
	assert_same(path, layer, "rev-parse", "--is-shallow-repository");
	assert_same(path, layer, "fsck", "--full", "--strict", "--no-dangling");
}

/* What is missing inside is git's to say. */
static void partial_clone(void **state)
{
	const struct temp *temp = *state;
	autofree char *origin = make_repository(temp, "origin");
	autofree char *url = xasprintf("file://%s", origin);
	autofree char *path = temp_path(temp, "r");
	autofree char *old = NULL;
	autolayer struct layer layer = LAYER_INIT;
	autoerror struct error err = ERROR_INIT;

	git(origin, "config", "uploadpack.allowFilter", "true", NULL);
	commit_file(origin, "file", "newer\n");
	git(temp->path, "clone", "-q", "--filter=blob:none", url, "r", NULL);
	old = git_says(path, "rev-parse", "HEAD~:file", NULL);
	layer_make(temp, path, &layer);
	assert_success(tree_remove_at(temp->fd, "origin", &err), &err);
	assert_same(path, layer, "log", "--format=%H %s");
	assert_same(path, layer, "cat-file", "-p", "HEAD:file");
	assert_same(path, layer, "fsck", "--no-dangling");
	assert_same(path, layer, "config", "remote.origin.partialclonefilter");
	assert_same(path, layer, "status", "--porcelain=v2", "--branch");
	assert_int_equal(git_status("/", IN(layer), "cat-file", "-e", old, NULL), 128);
}

static void sparse(void **state)
{
	static const char *const ways[] = {"--cone", "--no-cone"};
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");

	make_dirs(temp->fd, "r/in");
	make_dirs(temp->fd, "r/out");
	commit_file(path, "in/file", "1\n");
	commit_file(path, "out/file", "2\n");
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		autolayer struct layer layer = LAYER_INIT;

		git(path, "sparse-checkout", "set", ways[i], "in", NULL);
		layer_make(temp, path, &layer);
		assert_same(path, layer, "ls-files", "-t");
		assert_same(path, layer, "sparse-checkout", "list");
		assert_same(path, layer, "status", "--porcelain=v2", "--branch");
		assert_same(path, layer, "config", "--bool", "core.sparseCheckoutCone");
		/* From config.worktree, which itself is not there. */
		assert_false(exists(layer.fd, "config.worktree"));
		autofree char *out = xasprintf("%s/out", layer.tree);

		assert_int_equal(access(out, F_OK), -1);
	}
}

static char *setting_of(const struct layer *layer, const char *key)
{
	autofree char *file = xasprintf("%s/config", layer->git_dir);
	const char *const args[] = {"config", "-f", file, "--default", "(none)", key, NULL};

	return git_says_at("/", args);
}

static void hooks_path(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *outside = temp_path(temp, "outside");
	autofree char *in_tree = temp_path(temp, "r/tools/hooks");
	autofree char *in_git = temp_path(temp, "r/.git/other");
	const struct {
		const char *value;
		const char *inside;
		const char *hook; /* in hooks/ of the layer */
	} cases[] = {
		{".githooks", ".githooks", "usual"},
		{in_tree, "tools/hooks", "usual"},
		{"~/r/tools/hooks", "tools/hooks", "usual"},
		{in_git, "(none)", "other"},
		{".git/other", "(none)", "other"},
		{".git/hooks", "(none)", "usual"},
		{outside, "(none)", "usual"},
		{"../outside", "(none)", "usual"},
		{"tools/../../outside", "(none)", "usual"},
		{"", "(none)", "usual"},
	};

	make_dirs(temp->fd, "outside");
	make_dirs(temp->fd, "r/tools/hooks");
	make_dirs(temp->fd, "r/.git/other");
	put_text(temp->fd, "r/.git/hooks/pre-commit", "usual");
	put_text(temp->fd, "r/.git/other/pre-commit", "other");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autolayer struct layer layer = LAYER_INIT;

		git(path, "config", "core.hooksPath", cases[i].value, NULL);
		layer_make(temp, path, &layer);
		autofree char *value = setting_of(&layer, "core.hooksPath");
		autofree char *hook = get_text(layer.fd, "hooks/pre-commit");

		assert_string_equal(value, cases[i].inside);
		assert_string_equal(hook, cases[i].hook);
	}
}

static int find_canary(void *data, int dirfd, const char *name, const char *path,
		       const struct stat *st)
{
	autofree char *text = S_ISREG(st->st_mode) ? get_text(dirfd, name) : NULL;

	(void)data;
	if (strstr(path, "CANARY") || (text && strstr(text, "CANARY")))
		fail_msg("%s holds a credential", path);
	return 0;
}

/* Into everything that git, or a tool, is known to put a credential into. */
static void no_credentials(void **state)
{
	static const char *const settings[][2] = {
		{"remote.origin.url", "https://u:CANARY@example.org/x"},
		{"remote.other.pushurl", "https://CANARY@example.org/x"},
		{"http.extraHeader", "Authorization: CANARY"},
		{"http.https://example.org/.extraHeader", "Authorization: CANARY"},
		{"http.proxy", "http://u:CANARY@example.org"},
		{"credential.helper", "!echo password=CANARY"},
		{"credential.https://example.org.helper", "!echo CANARY"},
		{"core.sshCommand", "ssh -i CANARY"},
		{"ssh.variant", "CANARY"},
		{"url.https://CANARY@example.org/.insteadOf", "https://example.org/"},
		{"submodule.x.url", "https://u:CANARY@example.org/x"},
		{"lfs.url", "https://u:CANARY@example.org/x"},
		{"branch.main.remote", "https://u:CANARY@example.org/x"},
		{"alias.leak", "!git push https://u:CANARY@example.org/x"},
		{"sendemail.smtpPass", "CANARY"},
	};
	static const char *const files[][2] = {
		{"FETCH_HEAD", "1234 branch 'main' of https://u:CANARY@example.org/x\n"},
		{"credentials", "https://u:CANARY@example.org\n"},
		{"config.worktree", "[http]\n\textraHeader = CANARY\n"},
		{"modules/x/config", "[http]\n\textraHeader = CANARY\n"},
		{"modules/x/FETCH_HEAD", "CANARY\n"},
		{"lfs/cache/locks", "CANARY\n"},
	};
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *included = temp_path(temp, "included");
	autolayer struct layer layer = LAYER_INIT;
	autoerror struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		git(path, "config", settings[i][0], settings[i][1], NULL);
		git(path, "config", "--global", settings[i][0], settings[i][1], NULL);
	}
	make_dirs(temp->fd, "r/.git/modules/x");
	make_dirs(temp->fd, "r/.git/lfs/cache");
	git(path, "config", "extensions.worktreeConfig", "true", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		autofree char *file = xasprintf("r/.git/%s", files[i][0]);

		put_text(temp->fd, file, files[i][1]);
	}
	put_text(temp->fd, "included",
		 "[http]\n\textraHeader = CANARY\n[alias]\n\tharmless = status\n");
	git(path, "config", "include.path", included, NULL);
	git(path, "update-ref", "-m", "clone: from https://CANARY@example.org/x.git",
	    "--create-reflog", "refs/remotes/origin/x", "HEAD", NULL);
	git(path, "reflog", "expire", "--expire=never", "--all", NULL);
	git(path, "update-ref", "-m", "pull https://u:CANARY@example.org/x?token=CANARY: done",
	    "HEAD", "HEAD", NULL);
	layer_make(temp, path, &layer);
	assert_success(tree_walk(layer.root.layers, find_canary, NULL, &err), &err);
	autofree char *log = get_text(layer.fd, "logs/refs/remotes/origin/x");
	autofree char *url = setting_of(&layer, "remote.origin.url");
	autofree char *harmless = setting_of(&layer, "alias.harmless");

	assert_contains(log, "clone: from https://example.org/x.git\n");
	assert_string_equal(url, "https://example.org/x");
	/* What the host's configuration includes is part of it. */
	assert_string_equal(harmless, "status");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merging_packed_refs),
		WITH_TEMP(refs),
		WITH_TEMP(damaged_refs),
		WITH_TEMP(linked_worktree),
		WITH_TEMP(small_files),
		WITH_TEMP(linked_rules),
		WITH_TEMP(unusable_linked_rules),
		WITH_TEMP(lfs_objects),
		WITH_TEMP(shallow),
		WITH_TEMP(partial_clone),
		WITH_TEMP(sparse),
		WITH_TEMP(hooks_path),
		WITH_TEMP(no_credentials),
	};

	return cmocka_run_group_tests_name("git-layer", tests, NULL, NULL);
}
