#include "support.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "view/view.h"

static struct sandbox_repo *add(struct sandbox *sandbox, const char *name, const char *path)
{
	struct sandbox_repo *repo = sandbox_add_repo(sandbox);

	repo->name = xstrdup(name);
	repo->host = xstrdup(path);
	repo->path = xstrdup(path);
	return repo;
}

static void make_layer(const struct root *root, const char *id)
{
	autofree char *tree = xasprintf("%s/tree", id);
	autofree char *top = xasprintf("%s/top", id);

	make_dirs(root->layers, tree);
	make_dirs(root->layers, top);
}

static void create(const struct root *root, struct sandbox *sandbox)
{
	autoerror struct error err = ERROR_INIT;

	sandbox->name = xstrdup("one");
	sandbox->home = xstrdup("/home/me");
	assert_success(sandbox_create(root, sandbox, false, NULL, &err), &err);
}

/* ---- changes ---- */

static void count(const struct sandbox *sandbox, size_t tree, size_t git_count, size_t home)
{
	struct view_changes changes;
	autoerror struct error err = ERROR_INIT;

	assert_success(view_changes(sandbox, &changes, &err), &err);
	assert_int_equal(changes.tree, tree);
	assert_int_equal(changes.git, git_count);
	assert_int_equal(changes.home, home);
	assert_int_equal(view_changed(&changes), tree || git_count || home);
}

static void set_mark(const struct sandbox *sandbox, const char *path, const char *name,
		     const char *value)
{
	autofd int fd = openat(sandbox->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fsetxattr(fd, name, value, strlen(value), 0), 0);
}

static void set_opaque(const struct sandbox *sandbox, const char *path, const char *value)
{
	set_mark(sandbox, path, "user.overlay.opaque", value);
}

static void set_copied_up(const struct sandbox *sandbox, const char *path, const char *origin)
{
	set_mark(sandbox, path, "user.overlay.origin", origin);
}

static void counting(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;

	open_test_root(*state, &root);
	add(&sandbox, "r", "/work/r");
	add(&sandbox, "s", "/work/s");
	create(&root, &sandbox);
	count(&sandbox, 0, 0, 0);
	/* Merged directories are none: somebody has only been there. */
	make_dirs(sandbox.fd, "upper/repos/r/a/b");
	make_dirs(sandbox.fd, "upper/git/r/objects/ab");
	set_copied_up(&sandbox, "upper/repos/r/a/b", "");
	set_copied_up(&sandbox, "upper/git/r/objects/ab", "a file handle");
	count(&sandbox, 0, 0, 0);
	put_text(sandbox.fd, "upper/repos/r/a/b/f", "");
	count(&sandbox, 1, 0, 0);
	assert_int_equal(symlinkat("f", sandbox.fd, "upper/repos/s/link"), 0);
	count(&sandbox, 2, 0, 0);
	/* A whiteout is a removed file. */
	assert_int_equal(mknodat(sandbox.fd, "upper/repos/r/gone", S_IFCHR, makedev(0, 0)), 0);
	assert_int_equal(mkfifoat(sandbox.fd, "upper/repos/r/fifo", 0600), 0);
	count(&sandbox, 4, 0, 0);
	put_text(sandbox.fd, "upper/git/s/HEAD", "");
	put_text(sandbox.fd, "upper/git/r/objects/ab/cd", "");
	count(&sandbox, 4, 2, 0);
	/* The work directories are overlayfs' own. */
	put_text(sandbox.fd, "work/repos/r/f", "");
	count(&sandbox, 4, 2, 0);
}

static void opaque_directories(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;

	open_test_root(*state, &root);
	add(&sandbox, "r", "/work/r");
	create(&root, &sandbox);
	make_dirs(sandbox.fd, "upper/repos/r/new/inner");
	make_dirs(sandbox.fd, "upper/repos/r/merged");
	set_copied_up(&sandbox, "upper/repos/r/merged", "");
	set_opaque(&sandbox, "upper/repos/r/new", "y");
	/* The one that hides what was there, and the empty one in it. */
	count(&sandbox, 2, 0, 0);
	put_text(sandbox.fd, "upper/repos/r/new/inner/f", "");
	count(&sandbox, 2, 0, 0);
	/* Other values mean other things. */
	set_opaque(&sandbox, "upper/repos/r/merged", "x");
	count(&sandbox, 2, 0, 0);
}

static void homes(void **state)
{
	static const char *const noise[] = {"home/.bash_history",   "home/.zsh_history",
					    "home/.python_history", "home/.lesshst",
					    "home/.viminfo",	    "home/.wget-hsts"};
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;

	open_test_root(*state, &root);
	create(&root, &sandbox);
	for (size_t i = 0; i < ARRAY_SIZE(noise); i++)
		put_text(sandbox.fd, noise[i], "");
	make_dirs(sandbox.fd, "home/.cache/pip");
	put_text(sandbox.fd, "home/.cache/pip/f", "");
	count(&sandbox, 0, 0, 0);
	/* Only there, and only these. */
	make_dirs(sandbox.fd, "home/project");
	put_text(sandbox.fd, "home/project/.bash_history", "");
	count(&sandbox, 0, 0, 1);
	put_text(sandbox.fd, "home/.bashrc", "");
	put_text(sandbox.fd, "home/.cached", "");
	count(&sandbox, 0, 0, 3);
	/* In a work tree such a file is a file like any other. */
	add(&sandbox, "r", "/work/r");
	make_dirs(sandbox.fd, "upper/repos/r");
	make_dirs(sandbox.fd, "upper/git/r");
	put_text(sandbox.fd, "upper/repos/r/.viminfo", "");
	count(&sandbox, 1, 0, 3);
}

static void missing_upper(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	struct view_changes untouched = {7, 7, 7};
	autoerror struct error err = ERROR_INIT;

	open_test_root(*state, &root);
	add(&sandbox, "r", "/work/r");
	create(&root, &sandbox);
	assert_int_equal(unlinkat(sandbox.fd, "upper/git/r", AT_REMOVEDIR), 0);
	assert_failure(view_changes(&sandbox, &untouched, &err), &err, ERR_SYSTEM, "upper/git/r");
	assert_int_equal(untouched.tree, 7);
}

/* A directory that its owner has closed is a change, and no reason to give up. */
static int count_closed(const struct temp *temp)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;
	struct view_changes changes;
	autofree char *path = temp_path(temp, "root");

	setenv("JIB_ROOT", path, 1);
	NEED(root_open(NULL, &root, &err) == 0);
	add(&sandbox, "r", "/work/r");
	sandbox.name = xstrdup("one");
	sandbox.home = xstrdup("/home/me");
	NEED(sandbox_create(&root, &sandbox, false, NULL, &err) == 0);
	put_text(sandbox.fd, "upper/repos/r/f", "");
	static const mode_t modes[] = {0000, 0100, 0200, 0300, 0400, 0600};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		autofree char *name = xasprintf("upper/repos/r/closed-%zu", i);

		NEED(mkdirat(sandbox.fd, name, 0755) == 0 &&
		     fchmodat(sandbox.fd, name, modes[i], 0) == 0);
	}
	if (view_changes(&sandbox, &changes, &err) < 0)
		fprintf(stderr, "# %s\n", err.message);
	NEED(!error_is_set(&err));
	NEED(changes.tree == 1 + ARRAY_SIZE(modes));
	return 0;
}

static void closed_directories(void **state)
{
	in_user_child(count_closed, *state);
}

/* ---- views ---- */

static void order(void **state)
{
	static const struct {
		enum view_kind kind;
		const char *target;
	} expected[] = {
		{VIEW_HOME, "/home/me"},    {VIEW_TREE, "/work/r"},    {VIEW_GIT, "/work/r"},
		{VIEW_TREE, "/work/r/sub"}, {VIEW_GIT, "/work/r/sub"},
	};
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoview struct view view = VIEW_INIT;
	autoerror struct error err = ERROR_INIT;
	struct sandbox_repo *repo;
	struct stat st, there;

	open_test_root(*state, &root);
	make_layer(&root, "tree-1");
	make_layer(&root, "git-1");
	make_layer(&root, "git-0");
	repo = add(&sandbox, "sub", "/work/r/sub");
	strv_add(&repo->tree, "tree-1");
	strv_add(&repo->git, "git-1");
	strv_add(&repo->git, "git-0");
	add(&sandbox, "r", "/work/r");
	create(&root, &sandbox);
	assert_success(view_open(&root, &sandbox, false, &view, &err), &err);
	assert_false(view.forgetful);
	assert_int_equal(view.count, ARRAY_SIZE(expected));
	for (size_t i = 0; i < view.count; i++) {
		assert_int_equal(view.mounts[i].kind, expected[i].kind);
		assert_string_equal(view.mounts[i].target, expected[i].target);
		assert_true(view.mounts[i].upper >= 0 && view.mounts[i].work >= 0);
	}
	assert_int_equal(view.mounts[3].lower_count, 1);
	assert_int_equal(view.mounts[4].lower_count, 2);
	/* Uppermost first. */
	assert_int_equal(fstat(view.mounts[4].lowers[1], &st), 0);
	assert_int_equal(fstatat(root.layers, "git-0/tree", &there, 0), 0);
	assert_int_equal(st.st_ino, there.st_ino);
	assert_int_equal(fstat(view.mounts[4].upper, &st), 0);
	assert_int_equal(fstatat(sandbox.fd, "upper/git/sub", &there, 0), 0);
	assert_int_equal(st.st_ino, there.st_ino);
}

static void missing_layers(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	struct view untouched = VIEW_INIT;
	autoerror struct error err = ERROR_INIT;

	open_test_root(*state, &root);
	strv_add(&add(&sandbox, "r", "/work/r")->tree, "tree-gone");
	create(&root, &sandbox);
	size_t fds = count_fds();

	assert_failure(view_open(&root, &sandbox, false, &untouched, &err), &err, ERR_SYSTEM,
		       "tree-gone");
	assert_contains(err.hint, ".layers");
	assert_int_equal(untouched.count, 0);
	assert_int_equal(count_fds(), fds);
}

/* What a sandbox put in the place of its own directories leads nowhere. */
static void links_in_uppers(void **state)
{
	const struct temp *temp = *state;
	static const char *const places[] = {"upper/repos/r", "work/git/r", "home", "upper"};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		autoroot struct root root = ROOT_INIT;
		autosandbox struct sandbox sandbox = SANDBOX_INIT;
		autoerror struct error err = ERROR_INIT;
		struct view untouched = VIEW_INIT;

		open_test_root(temp, &root);
		add(&sandbox, "r", "/work/r");
		create(&root, &sandbox);
		assert_int_equal(renameat(sandbox.fd, places[i], temp->fd, "moved"), 0);
		assert_int_equal(symlinkat(temp->path, sandbox.fd, places[i]), 0);
		assert_failure(view_open(&root, &sandbox, false, &untouched, &err), &err,
			       ERR_SYSTEM, "");
		assert_int_equal(tree_remove_at(temp->fd, "moved", NULL), 0);
		error_clear(&err);
		assert_success(sandbox_remove(&root, "one", &err), &err);
	}
}

static void live_layers(void **state)
{
	const struct temp *temp = *state;
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoview struct view view = VIEW_INIT;
	autoerror struct error err = ERROR_INIT;
	autofree char *host = temp_path(temp, "host");
	autofree char *own = temp_path(temp, "host/.git/worktrees/w");
	autofree char *common = temp_path(temp, "host/.git");
	struct sandbox_repo *repo;

	open_test_root(temp, &root);
	make_layer(&root, "live-1");
	make_dirs(temp->fd, "host/.git/worktrees/w");
	repo = add(&sandbox, "r", host);
	strv_add(&repo->git, "live-1");
	repo->live_git_dir = xstrdup(own);
	repo->live_common_dir = xstrdup(common);
	sandbox.live = true;
	create(&root, &sandbox);
	assert_success(view_open(&root, &sandbox, false, &view, &err), &err);
	assert_int_equal(view.mounts[1].lower_count, 2);
	assert_int_equal(view.mounts[2].lower_count, 3);
	assert_int_equal(tree_remove_at(temp->fd, "host", NULL), 0);
	struct view untouched = VIEW_INIT;

	assert_failure(view_open(&root, &sandbox, false, &untouched, &err), &err, ERR_SYSTEM,
		       "live directory");
}

/* ---- local layers, submodules, carried directories ---- */

static void put_layer(const struct root *root, const char *path, const char *text)
{
	autofree char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));

	make_dirs(root->layers, dir);
	put_text(root->layers, path, text);
}

static void assert_is(int fd, int dirfd, const char *path)
{
	struct stat found, expected;

	assert_int_equal(fstat(fd, &found), 0);
	assert_int_equal(fstatat(dirfd, path, &expected, 0), 0);
	assert_int_equal(found.st_dev, expected.st_dev);
	assert_int_equal(found.st_ino, expected.st_ino);
}

static void stacks(void **state)
{
	const struct temp *temp = *state;
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoview struct view view = VIEW_INIT;
	autoerror struct error err = ERROR_INIT;
	autofree char *host = temp_path(temp, "host");

	open_test_root(temp, &root);
	make_dirs(temp->fd, "host/a/modules");
	make_dirs(temp->fd, "host/vendor");
	make_layer(&root, "tree-1");
	make_layer(&root, "git-1");
	make_dirs(root.layers, "local-1/tree");
	make_dirs(root.layers, "local-1/carried/0");
	make_dirs(root.layers, "modules-1/git");
	struct sandbox_repo *repo = add(&sandbox, "r", host);

	repo->local = xstrdup("local-1");
	repo->modules = xstrdup("modules-1");
	strv_add(&repo->tree, "tree-1");
	strv_add(&repo->git, "git-1");
	strv_add(&repo->carried, "a/modules");
	strv_add(&repo->carried, "vendor");
	create(&root, &sandbox);
	assert_success(view_open(&root, &sandbox, false, &view, &err), &err);
	assert_int_equal(view.count, 5);
	/* What a layer has not is not in the stack. */
	assert_int_equal(view.mounts[1].lower_count, 2);
	assert_is(view.mounts[1].lowers[0], root.layers, "local-1/tree");
	assert_is(view.mounts[1].lowers[1], root.layers, "tree-1/tree");
	assert_int_equal(view.mounts[2].lower_count, 2);
	assert_is(view.mounts[2].lowers[0], root.layers, "modules-1/git");
	assert_is(view.mounts[2].lowers[1], root.layers, "git-1/tree");
	autofree char *first = temp_path(temp, "host/a/modules");

	assert_int_equal(view.mounts[3].kind, VIEW_CARRIED);
	assert_string_equal(view.mounts[3].target, first);
	assert_int_equal(view.mounts[3].lower_count, 2);
	assert_is(view.mounts[3].lowers[0], root.layers, "local-1/carried/0");
	assert_is(view.mounts[3].lowers[1], temp->fd, "host/a/modules");
	assert_is(view.mounts[3].upper, sandbox.fd, "upper/carried/r/0");
	assert_is(view.mounts[3].work, sandbox.fd, "work/carried/r/0");
	assert_int_equal(view.mounts[4].lower_count, 1);
	assert_is(view.mounts[4].lowers[0], temp->fd, "host/vendor");
	assert_is(view.mounts[4].upper, sandbox.fd, "upper/carried/r/1");
	view_release(&view);
	/* But the layer itself has to be there. */
	struct view untouched = VIEW_INIT;

	assert_int_equal(tree_remove_at(root.layers, "modules-1", NULL), 0);
	assert_failure(view_open(&root, &sandbox, false, &untouched, &err), &err, ERR_SYSTEM,
		       "modules-1");
}

static void carried_changes(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;

	open_test_root(*state, &root);
	strv_add(&add(&sandbox, "r", "/work/r")->carried, "a/modules");
	strv_add(&sandbox.repos[0].carried, "vendor");
	create(&root, &sandbox);
	count(&sandbox, 0, 0, 0);
	put_text(sandbox.fd, "upper/carried/r/0/f", "");
	put_text(sandbox.fd, "upper/carried/r/1/f", "");
	put_text(sandbox.fd, "upper/repos/r/f", "");
	count(&sandbox, 3, 0, 0);
	make_dirs(sandbox.fd, "work/carried/r/1/work/incompat/volatile");
	view_tidy(&sandbox);
	assert_true(exists(sandbox.fd, "work/carried/r/1"));
	assert_false(exists(sandbox.fd, "work/carried/r/1/work"));
}

/* The directory is gone, or became something else: what the sandbox has written is still there. */
static void carried_gone(void **state)
{
	const struct temp *temp = *state;
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;
	autofree char *host = temp_path(temp, "host");

	open_test_root(temp, &root);
	make_dirs(temp->fd, "host");
	make_dirs(temp->fd, "elsewhere/modules");
	strv_add(&add(&sandbox, "r", host)->carried, "a/modules");
	create(&root, &sandbox);
	for (int i = 0; i < 4; i++) {
		autoview struct view view = VIEW_INIT;

		if (i == 1) {
			put_text(temp->fd, "host/a", "a file");
		} else if (i == 2) {
			assert_int_equal(unlinkat(temp->fd, "host/a", 0), 0);
			assert_int_equal(symlinkat("../elsewhere", temp->fd, "host/a"), 0);
		} else if (i == 3) {
			assert_int_equal(tree_remove_at(temp->fd, "host", NULL), 0);
		}
		assert_success(view_open(&root, &sandbox, false, &view, &err), &err);
		assert_int_equal(view.mounts[3].lower_count, 1);
		assert_is(view.mounts[3].lowers[0], sandbox.fd, "empty");
	}
}

static void carried_with_store(void **state)
{
	const struct temp *temp = *state;
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;
	struct view untouched = VIEW_INIT;
	autofree char *host = temp_path(temp, "..");
	const char *name = strrchr(temp->path, '/') + 1;

	open_test_root(temp, &root);
	strv_add(&add(&sandbox, "r", host)->carried, name);
	create(&root, &sandbox);
	assert_failure(view_open(&root, &sandbox, false, &untouched, &err), &err, ERR_UNSUPPORTED,
		       "the store");
	assert_contains(err.hint, "JIB_ROOT");
}

static void volatile_view(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoview struct view view = VIEW_INIT;
	autoerror struct error err = ERROR_INIT;

	open_test_root(*state, &root);
	sandbox.is_volatile = true;
	create(&root, &sandbox);
	assert_success(view_open(&root, &sandbox, false, &view, &err), &err);
	assert_true(view.forgetful);
	/* It is not discarded: the home is on disk. */
	assert_int_equal(view.count, 1);
	assert_int_equal(view.mounts[0].kind, VIEW_HOME);
}

/* ---- mounted ---- */

/* Eight deltas on a full layer, with everything that can lie above them. */
static int deep_body(const struct temp *temp)
{
	enum { DEPTH = 9 };
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoview struct view view = VIEW_INIT;
	autoerror struct error err = ERROR_INIT;
	autofree char *path = temp_path(temp, "root");
	autofree char *host = temp_path(temp, "host");

	setenv("JIB_ROOT", path, 1);
	NEED(root_open(NULL, &root, &err) == 0);
	struct sandbox_repo *repo = add(&sandbox, "r", host);

	for (int i = 0; i < DEPTH; i++) {
		autofree char *id = xasprintf("tree-%d", i);
		autofree char *file = xasprintf("%s/tree/%d", id, i);
		autofree char *shared = xasprintf("%s/tree/shared", id);

		put_layer(&root, file, id);
		put_text(root.layers, shared, id);
		strv_add(&repo->tree, id);
	}
	put_layer(&root, "modules-1/tree/sub/f", "x");
	put_layer(&root, "local-1/tree/local", "x");
	make_dirs(root.layers, "local-1/tree/deps");
	make_dirs(root.layers, "local-1/carried/0");
	NEED(mknodat(root.layers, "local-1/carried/0/.env", S_IFCHR, makedev(0, 0)) == 0);
	repo->local = xstrdup("local-1");
	repo->modules = xstrdup("modules-1");
	strv_add(&repo->git, "tree-0");
	strv_add(&repo->carried, "deps");
	make_dirs(temp->fd, "host/deps");
	put_text(temp->fd, "host/deps/.env", "secret");
	put_text(temp->fd, "host/deps/lib", "host");
	sandbox.name = xstrdup("one");
	sandbox.home = xstrdup("/home/me");
	NEED(sandbox_create(&root, &sandbox, false, NULL, &err) == 0);
	NEED(view_open(&root, &sandbox, false, &view, &err) == 0);
	make_dirs(temp->fd, "place");
	autofree char *place = temp_path(temp, "place");
	autofree char *inner = temp_path(temp, "place/deps");
	autofd int target = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);

	NEED(view_mount(&view, &view.mounts[1], target, -1, &err) == 0);
	autofd int deps = open(inner, O_PATH | O_DIRECTORY | O_CLOEXEC);

	NEED(view_mount(&view, &view.mounts[3], deps, -1, &err) == 0);
	NEED(exists(temp->fd, "place/0") && exists(temp->fd, "place/8"));
	NEED(exists(temp->fd, "place/sub/f") && exists(temp->fd, "place/local"));
	autofree char *shared = get_text(temp->fd, "place/shared");

	NEED(strcmp(shared, "tree-0") == 0);
	/* What is masked is not there, and what is written does not reach the host. */
	NEED(exists(temp->fd, "place/deps/lib") && !exists(temp->fd, "place/deps/.env"));
	put_text(temp->fd, "place/deps/lib", "sandbox");
	autofree char *kept = get_text(temp->fd, "host/deps/lib");

	NEED(strcmp(kept, "host") == 0 && exists(sandbox.fd, "upper/carried/r/0/lib"));
	fd_close(&deps);
	NEED(umount(inner) == 0 && umount(place) == 0);
	return 0;
}

static void deep(void **state)
{
	in_mount_child(deep_body, *state);
}

static int mounted_body(const struct temp *temp)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoview struct view view = VIEW_INIT;
	autoerror struct error err = ERROR_INIT;
	autofree char *path = temp_path(temp, "root");
	autofree char *place = temp_path(temp, "place");
	struct view_changes changes;

	setenv("JIB_ROOT", path, 1);
	NEED(root_open(NULL, &root, &err) == 0);
	make_layer(&root, "tree-1");
	put_text(root.layers, "tree-1/tree/kept", "kept");
	put_text(root.layers, "tree-1/tree/removed", "x");
	make_dirs(root.layers, "tree-1/tree/d/e");
	put_text(root.layers, "tree-1/tree/d/e/f", "x");
	make_dirs(root.layers, "tree-1/tree/x");
	put_text(root.layers, "tree-1/tree/x/y", "x");
	strv_add(&add(&sandbox, "r", "/work/r")->tree, "tree-1");
	strv_add(&sandbox.repos[0].git, "tree-1");
	sandbox.name = xstrdup("one");
	sandbox.home = xstrdup("/home/me");
	NEED(sandbox_create(&root, &sandbox, false, NULL, &err) == 0);
	NEED(view_open(&root, &sandbox, false, &view, &err) == 0);
	make_dirs(temp->fd, "place");
	autofd int target = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (view_mount(&view, &view.mounts[1], target, -1, &err) < 0) {
		fprintf(stderr, "# %s\n", err.message);
		return 1;
	}
	NEED(exists(temp->fd, "place/kept") && exists(temp->fd, "place/d/e/f"));
	/* Looking changes nothing. */
	NEED(view_changes(&sandbox, &changes, &err) == 0 && !view_changed(&changes));
	put_text(temp->fd, "place/new", "x");
	put_text(temp->fd, "place/d/e/f", "changed");
	NEED(unlinkat(temp->fd, "place/removed", 0) == 0);
	NEED(mkdirat(temp->fd, "place/empty", 0755) == 0);
	/* A removed directory that is made anew hides what it held. */
	NEED(unlinkat(temp->fd, "place/x/y", 0) == 0);
	NEED(unlinkat(temp->fd, "place/x", AT_REMOVEDIR) == 0);
	NEED(mkdirat(temp->fd, "place/x", 0755) == 0);
	NEED(view_changes(&sandbox, &changes, &err) == 0);
	/* new, f, the whiteout, x, and the empty directory; d and e are merged */
	NEED(changes.tree == 5);
	NEED(exists(root.layers, "tree-1/tree/removed"));
	NEED(umount(place) == 0);
	NEED(view_changes(&sandbox, &changes, &err) == 0 && changes.tree == 5);
	return 0;
}

static void mounted(void **state)
{
	in_mount_child(mounted_body, *state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(counting),
		WITH_TEMP(opaque_directories),
		WITH_TEMP(homes),
		WITH_TEMP(missing_upper),
		WITH_TEMP(closed_directories),
		WITH_TEMP(order),
		WITH_TEMP(missing_layers),
		WITH_TEMP(links_in_uppers),
		WITH_TEMP(live_layers),
		WITH_TEMP(mounted),
		WITH_TEMP(stacks),
		WITH_TEMP(carried_changes),
		WITH_TEMP(carried_gone),
		WITH_TEMP(carried_with_store),
		WITH_TEMP(volatile_view),
		WITH_TEMP(deep),
	};

	return cmocka_run_group_tests_name("view", tests, NULL, NULL);
}
