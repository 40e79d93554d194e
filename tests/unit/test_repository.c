#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "git/repository.h"

#define autohead __attribute__((cleanup(repository_head_release)))

static void find(const char *directory, struct repository *ret)
{
	autoerror struct error err = ERROR_INIT;

	assert_success(repository_find(directory, ret, &err), &err);
}

static void not_found(const char *directory, enum error_code code, const char *text)
{
	autoerror struct error err = ERROR_INIT;
	struct repository untouched = REPOSITORY_INIT;

	assert_failure(repository_find(directory, &untouched, &err), &err, code, text);
	assert_null(untouched.top);
}

static void plain(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *git_dir = temp_path(temp, "r/.git");
	autorepository struct repository found = REPOSITORY_INIT;

	find(path, &found);
	assert_string_equal(found.top, path);
	assert_string_equal(found.git_dir, git_dir);
	assert_string_equal(found.common_dir, git_dir);
	assert_string_equal(found.name, "r");
	assert_true(found.trusted);
}

static void from_elsewhere(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	static const char *const froms[] = {"r/a/b", "r/a/../a/./b/", "link", "into"};

	make_dirs(temp->fd, "r/a/b");
	assert_int_equal(symlinkat("r", temp->fd, "link"), 0);
	assert_int_equal(symlinkat("r/a/b", temp->fd, "into"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(froms); i++) {
		autofree char *from = temp_path(temp, froms[i]);
		autorepository struct repository found = REPOSITORY_INIT;

		find(from, &found);
		assert_string_equal(found.top, path);
	}
}

static void nearest_one(void **state)
{
	const struct temp *temp = *state;
	autofree char *outer = make_repository(temp, "outer");
	autofree char *inner = make_repository(temp, "outer/inner");
	autofree char *hollow = temp_path(temp, "outer/hollow");
	autorepository struct repository first = REPOSITORY_INIT;
	autorepository struct repository second = REPOSITORY_INIT;

	find(inner, &first);
	assert_string_equal(first.top, inner);
	/* A .git that is none does not stop git, nor us. */
	make_dirs(temp->fd, "outer/hollow/.git");
	find(hollow, &second);
	assert_string_equal(second.top, outer);
}

static void separate_git_dir(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "r");
	autofree char *git_dir = temp_path(temp, "elsewhere/g");
	autorepository struct repository found = REPOSITORY_INIT;
	autorepository struct repository relative = REPOSITORY_INIT;

	make_dirs(temp->fd, "elsewhere");
	git(temp->path, "init", "-q", "--separate-git-dir", git_dir, "r", NULL);
	find(path, &found);
	assert_string_equal(found.top, path);
	assert_string_equal(found.git_dir, git_dir);
	assert_string_equal(found.common_dir, git_dir);
	put_text(temp->fd, "r/.git", "gitdir: ../elsewhere/g\r\n");
	find(path, &relative);
	assert_string_equal(relative.git_dir, git_dir);
	/* A .git that is a symbolic link */
	autorepository struct repository linked = REPOSITORY_INIT;

	assert_int_equal(unlinkat(temp->fd, "r/.git", 0), 0);
	assert_int_equal(symlinkat("../elsewhere/g", temp->fd, "r/.git"), 0);
	find(path, &linked);
	assert_string_equal(linked.git_dir, git_dir);
}

static void linked_worktree(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *worktree = temp_path(temp, "wt");
	autofree char *git_dir = temp_path(temp, "r/.git/worktrees/wt");
	autofree char *common = temp_path(temp, "r/.git");
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;
	autohead struct repository_head head = {0};

	git(path, "worktree", "add", "-q", "-b", "other", worktree, NULL);
	find(worktree, &found);
	assert_string_equal(found.top, worktree);
	assert_string_equal(found.git_dir, git_dir);
	assert_string_equal(found.common_dir, common);
	assert_string_equal(found.name, "wt");
	assert_true(found.trusted);
	assert_success(repository_inspect(&found, &head, &err), &err);
	assert_string_equal(head.ref, "refs/heads/other");
}

static void none(void **state)
{
	const struct temp *temp = *state;
	autofree char *nothing = temp_path(temp, "nothing");
	autofree char *odd = temp_path(temp, "odd");

	make_dirs(temp->fd, "odd");
	assert_int_equal(mkfifoat(temp->fd, "odd/.git", 0600), 0);
	not_found(temp->path, ERR_NOT_REPOSITORY, "not inside a git repository");
	not_found(odd, ERR_NOT_REPOSITORY, "not inside a git repository");
	not_found("/", ERR_NOT_REPOSITORY, "/ is not inside");
	not_found(nothing, ERR_SYSTEM, "nothing");
}

static void bare(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "b.git");
	autofree char *refs = temp_path(temp, "b.git/refs");
	autofree char *inside = temp_path(temp, "r/.git/refs/heads");

	free(make_repository(temp, "r"));
	git(temp->path, "init", "-q", "--bare", "b.git", NULL);
	not_found(path, ERR_BARE, "without a work tree");
	not_found(refs, ERR_BARE, "without a work tree");
	/* In the git dir of an ordinary one there is no work tree either. */
	not_found(inside, ERR_BARE, "r/.git");
}

static void broken_gitfiles(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "r");
	static const char *const texts[] = {
		"",
		"gitdir:",
		"gitdir: nowhere\n",
		"gitdir:/\n",
		"something else\n",
		"gitdir: ../empty\n",
		"gitdir: ../file\n",
		"gitdir: \n",
	};
	autofree char *long_text = xcalloc(1, 100001);

	make_dirs(temp->fd, "r");
	make_dirs(temp->fd, "empty");
	put_text(temp->fd, "file", "");
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		put_text(temp->fd, "r/.git", texts[i]);
		not_found(path, ERR_NOT_REPOSITORY, "r/.git");
	}
	memset(long_text, 'x', 100000);
	put_text(temp->fd, "r/.git", long_text);
	not_found(path, ERR_NOT_REPOSITORY, "r/.git");
}

static int unreadable_body(const struct temp *temp)
{
	autofree char *path = temp_path(temp, "r");
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;

	NEED(mkdirat(temp->fd, "r", 0755) == 0 && mkdirat(temp->fd, "r/.git", 0) == 0);
	NEED(repository_find(path, &found, &err) == -1);
	NEED(err.code == ERR_SYSTEM && strstr(err.message, "r/.git: Permission denied"));
	return 0;
}

static void unreadable(void **state)
{
	in_user_child(unreadable_body, *state);
}

/* ---- HEAD ---- */

static void inspect(const char *path, struct repository_head *ret)
{
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;

	find(path, &found);
	assert_success(repository_inspect(&found, ret, &err), &err);
}

static void on_a_branch(void **state)
{
	autofree char *path = make_repository(*state, "r");
	autofree char *commit = git_says(path, "rev-parse", "HEAD", NULL);
	autohead struct repository_head head = {0};

	inspect(path, &head);
	assert_string_equal(head.commit, commit);
	assert_string_equal(head.ref, "refs/heads/main");
	assert_string_equal(head.format, "sha1");
	assert_int_equal(head.time, 1600000000);
}

static void detached(void **state)
{
	autofree char *path = make_repository(*state, "r");
	autofree char *commit = git_says(path, "rev-parse", "HEAD", NULL);
	autohead struct repository_head head = {0};

	git(path, "checkout", "-q", "--detach", NULL);
	inspect(path, &head);
	assert_string_equal(head.commit, commit);
	assert_null(head.ref);
}

static void unborn(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "r");
	autohead struct repository_head head = {0};

	git(temp->path, "init", "-q", "-b", "trunk", "r", NULL);
	inspect(path, &head);
	assert_null(head.commit);
	assert_string_equal(head.ref, "refs/heads/trunk");
	assert_int_equal(head.time, 0);
}

static void sha256(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "r");
	autohead struct repository_head head = {0};

	git(temp->path, "init", "-q", "--object-format=sha256", "r", NULL);
	commit_file(path, "f", "x");
	inspect(path, &head);
	assert_string_equal(head.format, "sha256");
	assert_int_equal(strlen(head.commit), 64);
}

static void newline_in_the_path(void **state)
{
	autofree char *path = make_repository(*state, "a\nb");
	autohead struct repository_head head = {0};

	inspect(path, &head);
	assert_string_equal(head.ref, "refs/heads/main");
}

static void refused(const char *path, enum error_code code, const char *text)
{
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;
	struct repository_head untouched = {0};

	find(path, &found);
	assert_failure(repository_inspect(&found, &untouched, &err), &err, code, text);
	assert_null(untouched.ref);
	assert_null(untouched.format);
}

/* A branch that leads nowhere is damage, and not a branch without commits. */
static void damaged(void **state)
{
	const struct temp *temp = *state;
	autofree char *lost = make_repository(temp, "lost");
	autofree char *garbage = make_repository(temp, "garbage");
	autofree char *headless = make_repository(temp, "headless");

	put_text(temp->fd, "lost/.git/refs/heads/main",
		 "1234567890123456789012345678901234567890\n");
	refused(lost, ERR_GIT, "lost");
	put_text(temp->fd, "garbage/.git/refs/heads/main", "garbage\n");
	refused(garbage, ERR_GIT, "garbage");
	put_text(temp->fd, "headless/.git/HEAD", "garbage\n");
	refused(headless, ERR_GIT, "headless");
}

static void work_tree_elsewhere(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");

	make_dirs(temp->fd, "other");
	git(path, "config", "core.worktree", "../../other", NULL);
	refused(path, ERR_NOT_REPOSITORY, "core.worktree");
}

static void of_somebody_else(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autorepository struct repository found = REPOSITORY_INIT;

	/* Only root can make such a one, and not in a user namespace of only himself. */
	if (fchownat(temp->fd, "r/file", 65534, 65534, 0) < 0) {
		assert_true(errno == EPERM || errno == EINVAL);
		find(path, &found);
		assert_true(found.trusted);
		return;
	}
	autofree char *worktree = temp_path(temp, "wt");
	autorepository struct repository linked = REPOSITORY_INIT;

	git(path, "worktree", "add", "-q", worktree, NULL);
	assert_int_equal(fchownat(temp->fd, "r/.git/worktrees/wt", 65534, 65534, 0), 0);
	find(worktree, &linked);
	assert_false(linked.trusted);
	assert_int_equal(fchownat(temp->fd, "r/.git", 65534, 65534, 0), 0);
	find(path, &found);
	assert_false(found.trusted);
	assert_int_equal(fchownat(temp->fd, "r", 65534, 65534, 0), 0);
	unsetenv("SUDO_UID");
	refused(path, ERR_OWNERSHIP, "belongs to somebody else");
	/* Where the user trusts it, git's word counts. */
	autohead struct repository_head head = {0};

	git(temp->path, "config", "--global", "--add", "safe.directory", path, NULL);
	inspect(path, &head);
	assert_string_equal(head.ref, "refs/heads/main");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(plain),
		WITH_TEMP(from_elsewhere),
		WITH_TEMP(nearest_one),
		WITH_TEMP(separate_git_dir),
		WITH_TEMP(linked_worktree),
		WITH_TEMP(none),
		WITH_TEMP(bare),
		WITH_TEMP(broken_gitfiles),
		WITH_TEMP(unreadable),
		WITH_TEMP(on_a_branch),
		WITH_TEMP(detached),
		WITH_TEMP(unborn),
		WITH_TEMP(sha256),
		WITH_TEMP(newline_in_the_path),
		WITH_TEMP(damaged),
		WITH_TEMP(work_tree_elsewhere),
		WITH_TEMP(of_somebody_else),
	};

	return cmocka_run_group_tests_name("repository", tests, NULL, NULL);
}
