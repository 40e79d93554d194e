#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "snapshot/layers.h"
#include "snapshot/pin.h"

/* What is done to the repository while a tree layer is made, and how many layers that were. */
static const char *meddle_in;
static const char *meddle_ref;
static int progressed;

/* It is said once of each of them: the repositories here are small. */
static bool is_making(const char *what, unsigned long done, unsigned long total)
{
	if (strcmp(what, "preparing the files of the commit") != 0)
		return false;
	assert_int_equal(done, total);
	progressed++;
	return true;
}

static void meddle(void *data, const char *what, unsigned long done, unsigned long total)
{
	(void)data;
	if (is_making(what, done, total) && meddle_in)
		git(meddle_in, "update-ref", meddle_ref, "HEAD", NULL);
}

static void pin(const struct root *root, const char *path, struct pin *ret)
{
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;

	const struct progress progress = {.step = meddle};

	progressed = 0;
	assert_success(repository_find(path, &found, &err), &err);
	assert_success(pin_repository(root, &found, &progress, ret, &err), &err);
}

static char *layer_path(const struct root *root, const struct strv *ids, const char *part)
{
	assert_int_equal(ids->len, 1);
	return xasprintf("%s/.layers/%s/%s", root->path, ids->items[0], part);
}

/* The layers put together as in a sandbox: git dir and work tree. */
struct view {
	char *git_dir;
	char *tree;
};

static void view_release(struct view *view)
{
	free(view->git_dir);
	free(view->tree);
}

#define autoview __attribute__((cleanup(view_release)))

static struct view layers_of(const struct root *root, const struct pin *pinned)
{
	return (struct view){layer_path(root, &pinned->git, "tree"),
			     layer_path(root, &pinned->tree, "tree")};
}

#define IN(view) "--no-optional-locks", "--git-dir", (view).git_dir, "--work-tree", (view).tree

static void self_contained(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin pinned = {0};

	commit_file(path, "two", "2\n");
	git(path, "branch", "other", "HEAD~", NULL);
	git(path, "tag", "-a", "-m", "t", "v1", NULL);
	git(path, "repack", "-q", "-a", "-d", NULL);
	commit_file(path, "three", "3\n");
	put_text(temp->fd, "r/uncommitted", "x");
	put_text(temp->fd, "r/two", "changed");
	open_test_root(temp, &root);
	pin(&root, path, &pinned);
	autofree char *commit = git_says(path, "rev-parse", "HEAD", NULL);

	assert_string_equal(pinned.head.commit, commit);
	assert_string_equal(pinned.head.ref, "refs/heads/main");
	autoview struct view view = layers_of(&root, &pinned);
	autofree char *host_refs = git_says(path, "for-each-ref", NULL);
	autofree char *refs = git_says("/", IN(view), "for-each-ref", NULL);

	assert_string_equal(refs, host_refs);
	assert_int_equal(git_status("/", IN(view), "fsck", "--strict", NULL), 0);
	/* A clean checkout of HEAD. (The mount point .git is empty and so not seen.) */
	autofree char *status = git_says(view.tree, IN(view), "status", "--porcelain", NULL);

	assert_string_equal(status, "");
	autofree char *two = xasprintf("%s/two", view.tree);
	autofree char *text = get_text(AT_FDCWD, two);

	assert_string_equal(text, "2\n");
	/* Whatever happens to the host's repository, this one lives. */
	assert_success(tree_remove_at(temp->fd, "r", NULL), &(struct error)ERROR_INIT);
	assert_int_equal(git_status("/", IN(view), "fsck", "--strict", NULL), 0);
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return lstat(a, &x) == 0 && lstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* Objects are shared by hard link; everything that git writes to is not. */
static void hard_links(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin pinned = {0};

	git(path, "repack", "-q", "-a", "-d", NULL);
	git(path, "commit-graph", "write", NULL);
	git(path, "multi-pack-index", "write", NULL);
	commit_file(path, "two", "2\n");
	git(path, "pack-refs", "--all", NULL);
	put_text(temp->fd, "r/.git/hooks/pre-commit", "#!/bin/sh\nexit 0\n");
	open_test_root(temp, &root);
	pin(&root, path, &pinned);
	autoview struct view view = layers_of(&root, &pinned);
	autofree char *commit = git_says(path, "rev-parse", "HEAD", NULL);
	autofree char *loose = xasprintf("objects/%.2s/%s", commit, commit + 2);
	autofree char *pack = git_says(path, "count-objects", "-v", NULL);
	autofree char *names = git_says(
		path, "-c", "alias.ls=!cd .git/objects/pack && ls *.pack *.idx", "ls", NULL);
	const char *const shared[] = {loose, "objects/info/commit-graph"};
	static const char *const own[] = {"HEAD", "config", "packed-refs", "hooks/pre-commit"};

	assert_contains(pack, "packs: 1");
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++) {
		autofree char *a = xasprintf("%s/.git/%s", path, shared[i]);
		autofree char *b = xasprintf("%s/%s", view.git_dir, shared[i]);

		if (!same_file(a, b))
			fail_msg("%s is not shared", shared[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		autofree char *a = xasprintf("%s/.git/%s", path, own[i]);
		autofree char *b = xasprintf("%s/%s", view.git_dir, own[i]);

		if (access(b, F_OK) < 0 || same_file(a, b))
			fail_msg("%s is missing or shared", own[i]);
	}
	char *at = names;

	for (char *name; (name = strsep(&at, "\n"));) {
		autofree char *a = xasprintf("%s/.git/objects/pack/%s", path, name);
		autofree char *b = xasprintf("%s/objects/pack/%s", view.git_dir, name);
		size_t stem = strlen(b) - (str_ends(b, ".pack") ? 5 : 4);
		autofree char *keep = xasprintf("%.*s.keep", (int)stem, b);

		assert_true(same_file(a, b));
		/* A gc inside leaves the host's packs as they are. */
		assert_int_equal(access(keep, F_OK), 0);
	}
	/* It names packs that may be gone: left out. */
	autofree char *midx = xasprintf("%s/objects/pack/multi-pack-index", view.git_dir);

	assert_int_equal(access(midx, F_OK), -1);
	/* Nothing is added to the host's repository. */
	autofree char *keeps = git_says(
		path, "-c", "alias.k=!ls .git/objects/pack | grep -c keep || true", "k", NULL);

	assert_string_equal(keeps, "0");
}

static void made_once(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin first = {0}, second = {0}, third = {0};

	open_test_root(temp, &root);
	pin(&root, path, &first);
	assert_int_equal(progressed, 1);
	assert_int_equal(count_entries(root.layers), 2);
	/* Again: no git at all is started. */
	autofree char *path_variable = xstrdup(getenv("PATH"));

	setenv("PATH", "/nonexistent", 1);
	pin(&root, path, &second);
	setenv("PATH", path_variable, 1);
	assert_int_equal(progressed, 0);
	assert_string_equal(second.head.commit, first.head.commit);
	assert_string_equal(second.head.ref, "refs/heads/main");
	assert_string_equal(second.tree.items[0], first.tree.items[0]);
	assert_string_equal(second.git.items[0], first.git.items[0]);
	assert_int_equal(count_entries(root.layers), 2);
	/* Another branch on the same commit: another git dir, the same files. */
	git(path, "switch", "-q", "-c", "other", NULL);
	pin(&root, path, &third);
	assert_int_equal(progressed, 0);
	assert_string_equal(third.head.ref, "refs/heads/other");
	assert_string_equal(third.tree.items[0], first.tree.items[0]);
	assert_string_not_equal(third.git.items[0], first.git.items[0]);
	assert_int_equal(count_entries(root.temp), 0);
}

static void heads(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin detached = {0}, outside = {0};

	open_test_root(temp, &root);
	git(path, "checkout", "-q", "--detach", NULL);
	pin(&root, path, &detached);
	assert_null(detached.head.ref);
	autofree char *head = layer_path(&root, &detached.git, "tree/HEAD");
	autofree char *text = get_text(AT_FDCWD, head);
	autofree char *expected = xasprintf("%s\n", detached.head.commit);

	assert_string_equal(text, expected);
	/* A HEAD beside the branches, as some tools make it */
	git(path, "update-ref", "refs/wip/x", "HEAD", NULL);
	put_text(temp->fd, "r/.git/HEAD", "ref: refs/wip/x\n");
	pin(&root, path, &outside);
	assert_string_equal(outside.head.ref, "refs/wip/x");
	autofree char *other = layer_path(&root, &outside.git, "tree/HEAD");
	autofree char *symbolic = get_text(AT_FDCWD, other);

	assert_string_equal(symbolic, "ref: refs/wip/x\n");
}

static void without_a_commit(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "r");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin pinned = {0};

	git(temp->path, "init", "-q", "-b", "trunk", "r", NULL);
	open_test_root(temp, &root);
	pin(&root, path, &pinned);
	assert_null(pinned.head.commit);
	assert_string_equal(pinned.head.ref, "refs/heads/trunk");
	autoview struct view view = layers_of(&root, &pinned);
	autofree char *status = git_says(view.tree, IN(view), "status", "--porcelain", NULL);

	assert_string_equal(status, "");
	autofree char *branch = git_says(view.tree, IN(view), "symbolic-ref", "HEAD", NULL);

	assert_string_equal(branch, "refs/heads/trunk");
}

static void sha256_and_worktrees(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "r");
	autofree char *worktree = temp_path(temp, "wt");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin pinned = {0};

	git(temp->path, "init", "-q", "--object-format=sha256", "r", NULL);
	commit_file(path, "f", "x\n");
	git(path, "branch", "base", NULL);
	git(path, "worktree", "add", "-q", "-b", "other", worktree, NULL);
	commit_file(worktree, "g", "y\n");
	git(worktree, "update-ref", "refs/worktree/own", "HEAD", NULL);
	open_test_root(temp, &root);
	pin(&root, worktree, &pinned);
	assert_string_equal(pinned.head.ref, "refs/heads/other");
	autoview struct view view = layers_of(&root, &pinned);
	autofree char *status = git_says(view.tree, IN(view), "status", "--porcelain", NULL);

	assert_string_equal(status, "");
	/* Its own and the common refs, in one repository that knows of no other work tree. */
	assert_int_equal(
		git_status("/", IN(view), "rev-parse", "-q", "--verify", "refs/worktree/own", NULL),
		0);
	assert_int_equal(git_status("/", IN(view), "rev-parse", "-q", "--verify", "base", NULL), 0);
	static const char *const absent[] = {"commondir", "gitdir", "worktrees"};

	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		autofree char *file = xasprintf("%s/%s", view.git_dir, absent[i]);

		assert_int_equal(access(file, F_OK), -1);
	}
}

static void alternates(void **state)
{
	const struct temp *temp = *state;
	autofree char *origin = make_repository(temp, "origin");
	autofree char *path = temp_path(temp, "r");
	autofree char *second = temp_path(temp, "second");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin pinned = {0};

	git(temp->path, "clone", "-q", "--shared", origin, "second", NULL);
	commit_file(second, "two", "2\n");
	git(temp->path, "clone", "-q", "--shared", second, "r", NULL);
	commit_file(path, "three", "3\n");
	/* A relative one, a comment, and what is no directory, which git only warns of */
	put_text(temp->fd, "r/.git/objects/info/alternates",
		 "# comment\n\n/nonexistent/objects\n/dev/null/objects\n/dev/null\n"
		 "../../../second/.git/objects\n");
	open_test_root(temp, &root);
	pin(&root, path, &pinned);
	autoview struct view view = layers_of(&root, &pinned);
	autofree char *file = xasprintf("%s/objects/info/alternates", view.git_dir);

	assert_int_equal(access(file, F_OK), -1);
	assert_success(tree_remove_at(temp->fd, "origin", NULL), &(struct error)ERROR_INIT);
	assert_success(tree_remove_at(temp->fd, "second", NULL), &(struct error)ERROR_INIT);
	assert_int_equal(git_status("/", IN(view), "fsck", "--strict", NULL), 0);
}

static void endless_alternates(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;
	autoroot struct root root = ROOT_INIT;
	autopin struct pin pinned = {0};

	put_text(temp->fd, "r/.git/objects/info/alternates", "../objects\n");
	open_test_root(temp, &root);
	assert_success(repository_find(path, &found, &err), &err);
	assert_failure(pin_repository(&root, &found, NULL, &pinned, &err), &err, ERR_GIT,
		       "too deep");
	assert_int_equal(count_entries(root.temp), 0);
}

/* No credential comes along, whichever file it stands in. */
static void no_credentials(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin pinned = {0};

	git(path, "remote", "add", "origin", "https://u:SECRET@example.org/x", NULL);
	git(path, "config", "http.extraHeader", "SECRET", NULL);
	put_text(temp->fd, "r/.git/FETCH_HEAD", "0 branch 'x' of https://u:SECRET@example.org/x\n");
	put_text(temp->fd, "r/.git/credentials", "https://u:SECRET@example.org\n");
	put_text(temp->fd, "r/.git/config.worktree", "[http]\n\textraHeader = SECRET\n");
	open_test_root(temp, &root);
	pin(&root, path, &pinned);
	autofree char *layers = temp_path(temp, "root/.layers");
	autofree char *alias = xasprintf("alias.find=!grep -r SECRET '%s' || echo none", layers);
	autofree char *found = git_says(path, "-c", alias, "find", NULL);

	assert_string_equal(found, "none");
}

/* ---- a repository that changes meanwhile ---- */

static void ref_changes_in_between(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin pinned = {0}, again = {0};

	open_test_root(temp, &root);
	meddle_in = path;
	meddle_ref = "refs/heads/meanwhile";
	pin(&root, path, &pinned);
	meddle_in = NULL;
	assert_int_equal(progressed, 1);
	/* What was pinned is the state after the change, and not a mixture. */
	autoview struct view view = layers_of(&root, &pinned);

	assert_int_equal(
		git_status("/", IN(view), "rev-parse", "-q", "--verify", "meanwhile", NULL), 0);
	pin(&root, path, &again);
	assert_string_equal(again.git.items[0], pinned.git.items[0]);
	assert_int_equal(count_entries(root.layers), 2);
	assert_int_equal(count_entries(root.temp), 0);
}

static void move_head(void *data, const char *what, unsigned long done, unsigned long total)
{
	(void)data;
	if (is_making(what, done, total) && progressed == 1)
		git(meddle_in, "reset", "-q", "--soft", "tip", NULL);
}

/* HEAD itself moves on: files and history are of one and the same commit all the same. */
static void branch_moves_in_between(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *first = git_says(path, "rev-parse", "HEAD", NULL);
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;
	autoroot struct root root = ROOT_INIT;
	autopin struct pin pinned = {0};

	commit_file(path, "two", "2\n");
	autofree char *tip = git_says(path, "rev-parse", "HEAD", NULL);

	git(path, "tag", "tip", NULL);
	git(path, "reset", "-q", "--hard", first, NULL);
	open_test_root(temp, &root);
	const struct progress progress = {.step = move_head};

	progressed = 0;
	meddle_in = path;
	assert_success(repository_find(path, &found, &err), &err);
	int result = pin_repository(&root, &found, &progress, &pinned, &err);

	meddle_in = NULL;
	assert_success(result, &err);
	assert_int_equal(progressed, 2);
	assert_string_equal(pinned.head.commit, tip);
	autoview struct view view = layers_of(&root, &pinned);
	autofree char *status = git_says(view.tree, IN(view), "status", "--porcelain", NULL);

	assert_string_equal(status, "");
	assert_int_equal(count_entries(root.temp), 0);
}

/* A layer of files that somebody removed is made again, though the git layer is there. */
static void tree_layer_is_gone(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin first = {0}, second = {0};

	open_test_root(temp, &root);
	pin(&root, path, &first);
	assert_int_equal(tree_remove_at(root.layers, first.tree.items[0], NULL), 0);
	pin(&root, path, &second);
	assert_string_equal(second.tree.items[0], first.tree.items[0]);
	assert_true(exists(root.layers, first.tree.items[0]));
}

/* What decides how files are checked out decides which layer it is. */
static void line_endings(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin lf = {0}, crlf = {0};

	open_test_root(temp, &root);
	pin(&root, path, &lf);
	git(path, "config", "core.autocrlf", "true", NULL);
	/* One that is there and clean would be taken as it is. */
	assert_int_equal(unlinkat(temp->fd, "r/file", 0), 0);
	pin(&root, path, &crlf);
	assert_string_not_equal(lf.tree.items[0], crlf.tree.items[0]);
	autofree char *file = layer_path(&root, &crlf.tree, "tree/file");
	autofree char *text = get_text(AT_FDCWD, file);

	assert_string_equal(text, "content\r\n");
	autoview struct view view = layers_of(&root, &crlf);
	autofree char *status = git_says(view.tree, IN(view), "status", "--porcelain", NULL);

	assert_string_equal(status, "");
}

/* Files outside of the repository count too, and a removed tree layer does not get in the way. */
static void configuration_elsewhere(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *included = temp_path(temp, "included");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin lf = {0}, same = {0}, crlf = {0}, again = {0};

	git(path, "config", "include.path", included, NULL);
	open_test_root(temp, &root);
	pin(&root, path, &lf);
	pin(&root, path, &same);
	assert_string_equal(same.git.items[0], lf.git.items[0]);
	put_text(temp->fd, "included", "[core]\n\tautocrlf = true\n");
	assert_int_equal(unlinkat(temp->fd, "r/file", 0), 0);
	assert_int_equal(tree_remove_at(root.layers, lf.tree.items[0], NULL), 0);
	pin(&root, path, &crlf);
	assert_string_not_equal(crlf.git.items[0], lf.git.items[0]);
	autofree char *file = layer_path(&root, &crlf.tree, "tree/file");
	autofree char *text = get_text(AT_FDCWD, file);

	assert_string_equal(text, "content\r\n");
	assert_true(exists(root.layers, lf.git.items[0]));
	pin(&root, path, &again);
	assert_string_equal(again.git.items[0], crlf.git.items[0]);
}

/* A pack of git's maintenance, a link in a circle and one to a file outside. */
static void odd_files(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autoroot struct root root = ROOT_INIT;
	autopin struct pin pinned = {0};

	git(path, "maintenance", "run", "--task=loose-objects", NULL);
	git(path, "maintenance", "run", "--task=loose-objects", NULL);
	put_text(temp->fd, "secret", "SECRET");
	assert_int_equal(mkdirat(temp->fd, "r/.git/hooks", 0755) < 0 && errno != EEXIST, 0);
	autofree char *secret = temp_path(temp, "secret");

	assert_int_equal(symlinkat(secret, temp->fd, "r/.git/hooks/x"), 0);
	assert_int_equal(symlinkat(".", temp->fd, "r/.git/hooks/loop"), 0);
	open_test_root(temp, &root);
	pin(&root, path, &pinned);
	autoview struct view view = layers_of(&root, &pinned);
	autofree char *hook = layer_path(&root, &pinned.git, "tree/hooks/x");
	autofree char *loop = layer_path(&root, &pinned.git, "tree/hooks/loop");
	struct stat st;

	assert_int_equal(git_status("/", IN(view), "fsck", "--strict", NULL), 0);
	assert_int_equal(lstat(hook, &st), -1);
	assert_int_equal(lstat(loop, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

/* ---- live ---- */

static void live(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *worktree = temp_path(temp, "wt");
	autorepository struct repository plain = REPOSITORY_INIT, linked = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;
	autoroot struct root root = ROOT_INIT;
	autopin struct pin first = {0}, second = {0};
	struct stat st;

	git(path, "worktree", "add", "-q", "-b", "other", worktree, NULL);
	git(path, "config", "http.extraHeader", "SECRET", NULL);
	open_test_root(temp, &root);
	assert_success(repository_find(path, &plain, &err), &err);
	assert_success(pin_live(&root, &plain, &first, &err), &err);
	assert_int_equal(first.tree.len, 0);
	assert_string_equal(first.head.ref, "refs/heads/main");
	assert_non_null(first.head.commit);
	autofree char *lock = layer_path(&root, &first.git, "tree/index.lock");
	autofree char *modules = layer_path(&root, &first.git, "tree/modules");
	autofree char *config = layer_path(&root, &first.git, "tree/config");
	autofree char *commondir = layer_path(&root, &first.git, "tree/commondir");
	autofree char *text = get_text(AT_FDCWD, config);

	assert_int_equal(lstat(lock, &st), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
	assert_int_equal(lstat(modules, &st), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
	assert_lacks(text, "SECRET");
	assert_int_equal(lstat(commondir, &st), -1);

	assert_success(repository_find(worktree, &linked, &err), &err);
	assert_success(pin_live(&root, &linked, &second, &err), &err);
	assert_string_not_equal(first.git.items[0], second.git.items[0]);
	autofree char *hidden = layer_path(&root, &second.git, "tree/commondir");

	assert_int_equal(lstat(hidden, &st), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(self_contained),
		WITH_TEMP(hard_links),
		WITH_TEMP(made_once),
		WITH_TEMP(heads),
		WITH_TEMP(without_a_commit),
		WITH_TEMP(sha256_and_worktrees),
		WITH_TEMP(alternates),
		WITH_TEMP(endless_alternates),
		WITH_TEMP(no_credentials),
		WITH_TEMP(ref_changes_in_between),
		WITH_TEMP(branch_moves_in_between),
		WITH_TEMP(tree_layer_is_gone),
		WITH_TEMP(line_endings),
		WITH_TEMP(configuration_elsewhere),
		WITH_TEMP(odd_files),
		WITH_TEMP(live),
	};

	return cmocka_run_group_tests_name("pin", tests, NULL, NULL);
}
