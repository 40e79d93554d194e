#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "snapshot/fingerprint.h"

static char *take(const char *path)
{
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;
	struct hash hash;

	assert_success(repository_find(path, &found, &err), &err);
	hash_init(&hash);
	assert_success(fingerprint_take(&found, &hash, &err), &err);
	return hash_id(&hash, "test");
}

static void same(const char *path, char **last, const char *what)
{
	char *now = take(path);

	if (strcmp(*last, now) != 0)
		fail_msg("changed by: %s", what);
	free(*last);
	*last = now;
}

static void differs(const char *path, char **last, const char *what)
{
	char *now = take(path);

	if (strcmp(*last, now) == 0)
		fail_msg("not changed by: %s", what);
	free(*last);
	*last = now;
}

static void what_changes_it(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	char *last = take(path);

	commit_file(path, "two", "2");
	differs(path, &last, "a commit");
	git(path, "branch", "b", NULL);
	differs(path, &last, "a new branch");
	git(path, "update-ref", "refs/heads/deep/er", "HEAD", NULL);
	differs(path, &last, "a ref in a new directory");
	git(path, "update-ref", "refs/heads/deep/er", "HEAD~", NULL);
	differs(path, &last, "a ref that moves");
	git(path, "tag", "t", NULL);
	differs(path, &last, "a tag");
	git(path, "switch", "-q", "b", NULL);
	differs(path, &last, "another branch");
	git(path, "checkout", "-q", "--detach", NULL);
	differs(path, &last, "detaching HEAD, at the same commit");
	git(path, "pack-refs", "--all", NULL);
	differs(path, &last, "packed-refs");
	git(path, "update-ref", "-d", "refs/heads/deep/er", NULL);
	differs(path, &last, "a packed ref that is deleted");
	git(path, "config", "core.eol", "lf", NULL);
	differs(path, &last, "a setting");
	put_text(temp->fd, "r/.git/info/exclude", "*.o\n");
	differs(path, &last, "info/exclude");
	put_text(temp->fd, "r/.git/info/attributes", "*.o binary\n");
	differs(path, &last, "info/attributes");
	put_text(temp->fd, "r/.git/hooks/pre-commit", "#!/bin/sh\n");
	differs(path, &last, "a hook");
	assert_int_equal(fchmodat(temp->fd, "r/.git/hooks/pre-commit", 0755, 0), 0);
	differs(path, &last, "a hook that becomes executable");
	put_text(temp->fd, "r/.git/objects/info/alternates", "# none\n");
	differs(path, &last, "alternates");
	git(path, "update-ref", "ORIG_HEAD", "HEAD", NULL);
	differs(path, &last, "ORIG_HEAD");
	free(last);
}

/* What the layer holds and no ref tells of. */
static void beside_the_refs(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *linked = temp_path(temp, "linked");

	commit_file(path, "two", "2");
	git(path, "branch", "b", NULL);
	git(path, "worktree", "add", "-q", "-b", "c", linked, NULL);
	git(linked, "commit", "-q", "--allow-empty", "-m", "linked", NULL);
	char *last = take(path);

	git(path, "reflog", "delete", "HEAD@{1}", NULL);
	differs(path, &last, "a line of HEAD's reflog that is deleted");
	git(path, "reflog", "delete", "main@{1}", NULL);
	differs(path, &last, "a line of a branch's reflog that is deleted");
	git(path, "reflog", "expire", "--expire=all", "b", NULL);
	differs(path, &last, "a reflog that is expired");
	make_dirs(temp->fd, "r/.git/lfs/objects/12/34");
	differs(path, &last, "a new directory of LFS objects");
	put_text(temp->fd, "r/.git/lfs/objects/12/34/1234", "x");
	differs(path, &last, "a new LFS object");
	make_dirs(temp->fd, "r/.git/rr-cache/0123");
	put_text(temp->fd, "r/.git/rr-cache/0123/preimage", "<<<<<<<\n");
	differs(path, &last, "a recorded conflict");
	put_text(temp->fd, "r/.git/rr-cache/0123/postimage", "x\n");
	differs(path, &last, "a recorded resolution");
	free(last);
	last = take(linked);
	git(linked, "reflog", "delete", "HEAD@{0}", NULL);
	differs(linked, &last, "a line of the reflog of a worktree's HEAD");
	git(linked, "reflog", "delete", "c@{0}", NULL);
	differs(linked, &last, "a line of the reflog of a worktree's branch");
	free(last);
}

/* The same content in the same place is a new state when git has written it anew. */
static void same_size_same_second(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *first = git_says(path, "rev-parse", "HEAD", NULL);

	commit_file(path, "two", "2");
	autofree char *second = git_says(path, "rev-parse", "HEAD", NULL);
	char *last = take(path);

	for (int i = 0; i < 20; i++) {
		/* In place: inode and size stay, and the time may be the same tick. */
		autofree char *text = xasprintf("%s\n", i % 2 ? second : first);

		put_text(temp->fd, "r/.git/refs/heads/main", text);
		differs(path, &last, "a ref that is written in place");
	}
	free(last);
}

static void what_does_not_change_it(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	char *last = take(path);

	same(path, &last, "nothing");
	git(path, "status", NULL);
	git(path, "log", NULL);
	git(path, "diff", "HEAD", NULL);
	git(path, "rev-parse", "HEAD", NULL);
	git(path, "for-each-ref", NULL);
	git(path, "fsck", NULL);
	git(path, "config", "--list", NULL);
	same(path, &last, "reading");
	put_text(temp->fd, "r/new", "x");
	git(path, "add", "new", NULL);
	same(path, &last, "the index and the work tree");
	git(path, "hash-object", "-w", "new", NULL);
	git(path, "repack", "-q", "-a", "-d", NULL);
	git(path, "commit-graph", "write", NULL);
	same(path, &last, "objects");
	put_text(temp->fd, "r/.git/HEAD.lock", "");
	put_text(temp->fd, "r/.git/refs/heads/main.lock", "");
	put_text(temp->fd, "r/.git/refs/heads/other.lock", "");
	put_text(temp->fd, "r/.git/config.lock", "");
	put_text(temp->fd, "r/.git/packed-refs.lock", "");
	same(path, &last, "locks that are taken");
	assert_int_equal(unlinkat(temp->fd, "r/.git/refs/heads/main.lock", 0), 0);
	assert_int_equal(unlinkat(temp->fd, "r/.git/refs/heads/other.lock", 0), 0);
	same(path, &last, "locks that are released");
	put_text(temp->fd, "r/.git/FETCH_HEAD", "x\n");
	put_text(temp->fd, "r/.git/COMMIT_EDITMSG", "x\n");
	same(path, &last, "notes of git to itself");
	free(last);
}

static void of_a_linked_worktree(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *worktree = temp_path(temp, "wt");

	git(path, "worktree", "add", "-q", "-b", "other", worktree, NULL);
	char *here = take(worktree);
	char *there = take(path);

	assert_string_not_equal(here, there);
	git(path, "branch", "common", NULL);
	differs(worktree, &here, "a ref of all work trees");
	differs(path, &there, "a ref of all work trees");
	git(worktree, "checkout", "-q", "--detach", NULL);
	differs(worktree, &here, "its own HEAD");
	same(path, &there, "the HEAD of another work tree");
	git(worktree, "update-ref", "refs/worktree/own", "HEAD", NULL);
	differs(worktree, &here, "its own refs");
	free(here);
	free(there);
}

static void of_another_repository(void **state)
{
	const struct temp *temp = *state;
	autofree char *one = make_repository(temp, "one");
	autofree char *two = temp_path(temp, "two");

	/* The same files, even the same inodes' times, elsewhere. */
	assert_int_equal(git_status(temp->path, "clone", "-q", one, "two", NULL), 0);
	autofree char *first = take(one);
	autofree char *second = take(two);

	assert_string_not_equal(first, second);
}

static void unreadable(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;
	struct hash hash, before;

	assert_success(repository_find(path, &found, &err), &err);
	hash_init(&hash);
	before = hash;
	assert_int_equal(unlinkat(temp->fd, "r/.git/HEAD", 0), 0);
	assert_failure(fingerprint_take(&found, &hash, &err), &err, ERR_SYSTEM, "HEAD");
	assert_memory_equal(&hash, &before, sizeof hash);
}

/* What the clock for files shows, when this is set, and what it goes on by after each look. */
static struct timespec shown;
static time_t step;
static int looked;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int clock_gettime(clockid_t clock, struct timespec *ret)
{
	if (!shown.tv_sec || clock != CLOCK_REALTIME_COARSE)
		return (int)syscall(SYS_clock_gettime, clock, ret);
	*ret = shown;
	ret->tv_sec += looked++ % 2 ? step : 0;
	return 0;
}

/* A clock that was set back by years does not keep anybody waiting as long. */
static void clock_was_set_back(void **state)
{
	autofree char *path = make_repository(*state, "r");
	autofree char *before = take(path);

	shown.tv_sec = 1000;
	step = looked = 0;
	autofree char *after = take(path);

	shown.tv_sec = 0;
	assert_string_equal(before, after);
	assert_int_equal(looked, 1);
}

/*
 * A repository that never rests is an error, and is not looked at for ever. To whoever looks it
 * seems so when the clock stands at the last change while looking begins, and has moved on
 * whenever it is waited for.
 */
static void never_at_rest(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;
	struct hash hash;
	struct stat st;

	assert_success(repository_find(path, &found, &err), &err);
	put_text(temp->fd, "r/.git/refs/heads/last", "");
	assert_int_equal(fstatat(temp->fd, "r/.git/refs/heads/last", &st, 0), 0);
	hash_init(&hash);
	shown = st.st_ctim;
	step = 1;
	looked = 0;
	int result = fingerprint_take(&found, &hash, &err);

	shown.tv_sec = 0;
	assert_failure(result, &err, ERR_UNSTABLE, "keeps changing");
	assert_true(looked > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(what_changes_it),
		WITH_TEMP(beside_the_refs),
		WITH_TEMP(same_size_same_second),
		WITH_TEMP(what_does_not_change_it),
		WITH_TEMP(of_a_linked_worktree),
		WITH_TEMP(of_another_repository),
		WITH_TEMP(unreadable),
		WITH_TEMP(clock_was_set_back),
		WITH_TEMP(never_at_rest),
	};

	return cmocka_run_group_tests_name("fingerprint", tests, NULL, NULL);
}
