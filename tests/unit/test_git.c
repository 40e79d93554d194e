#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "git/git.h"

/* A stand-in for git that shows what it was given; PATH leads to it for the rest of the test. */
static void pretend(const struct temp *temp, const char *script)
{
	const char *path = getenv("PATH");
	autofree char *text = xasprintf("#!/bin/sh\n%s\n", script);
	autofree char *changed = xasprintf("%s:%s", temp->path, path);

	put_text(temp->fd, "git", text);
	assert_int_equal(fchmodat(temp->fd, "git", 0755, 0), 0);
	if (!str_starts(path, temp->path))
		setenv("PATH", changed, 1);
}

static char *path_before;

static int setup(void **state)
{
	path_before = xstrdup(getenv("PATH"));
	return temp_setup(state);
}

static int teardown(void **state)
{
	setenv("PATH", path_before, 1);
	free(path_before);
	return temp_teardown(state);
}

static void environment(void **state)
{
	const struct temp *temp = *state;
	static const char *const hostile[] = {
		"GIT_DIR",
		"GIT_WORK_TREE",
		"GIT_INDEX_FILE",
		"GIT_CONFIG",
		"GIT_CONFIG_GLOBAL",
		"GIT_CONFIG_PARAMETERS",
		"GIT_CONFIG_COUNT",
		"GIT_CONFIG_KEY_0",
		"GIT_OBJECT_DIRECTORY",
		"GIT_EXTERNAL_DIFF",
		"GIT_ALTERNATE_OBJECT_DIRECTORIES",
		"GIT_SSH_COMMAND",
		"GIT_TRACE",
		"GIT_NAMESPACE",
		"GIT_EXEC_PATH",
		"GIT_EDITOR",
		"GIT_CEILING_DIRECTORIES",
		"SSH_ASKPASS",
		"LC_MESSAGES",
		"LANG",
		"LANGUAGE",
		"PAGER",
		"TERM",
	};
	static const char *const expected[] = {
		"\nLC_ALL=C\n",
		"\nGIT_TERMINAL_PROMPT=0\n",
		"\nGIT_ASKPASS=/bin/false\n",
		"\nSSH_ASKPASS=/bin/false\n",
		"\nGIT_OPTIONAL_LOCKS=0\n",
		"\nGIT_EDITOR=/bin/false\n",
		"\nKEPT=kept\n",
	};
	const char *const args[] = {"status", NULL};
	autoerror struct error err = ERROR_INIT;
	autostr struct str output = STR_INIT;

	pretend(temp, "echo; env");
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++)
		setenv(hostile[i], "hostile", 1);
	setenv("KEPT", "kept", 1);
	int result = git_run(&(struct git_place){0}, args, &output, &err);

	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++)
		unsetenv(hostile[i]);
	unsetenv("KEPT");
	assert_success(result, &err);
	assert_lacks(output.s, "hostile");
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_contains(output.s, expected[i]);
	assert_lacks(output.s, "\nGIT_DIR=");
	assert_lacks(output.s, "\nGIT_WORK_TREE=");
	assert_lacks(output.s, "\nGIT_INDEX_FILE=");
}

static void places(void **state)
{
	const struct temp *temp = *state;
	const struct git_place place = {
		.directory = "/d", .git_dir = "/g", .work_tree = "/w t", .index = "/i"};
	const char *const args[] = {"log", "a b", "", "$(x)", NULL};
	autoerror struct error err = ERROR_INIT;
	autostr struct str output = STR_INIT;

	pretend(temp, "env; for a; do echo \"<$a>\"; done; cat");
	assert_success(git_run(&place, args, &output, &err), &err);
	assert_contains(output.s, "\nGIT_DIR=/g\n");
	assert_contains(output.s, "\nGIT_WORK_TREE=/w t\n");
	assert_contains(output.s, "\nGIT_INDEX_FILE=/i\n");
	assert_contains(output.s, "<-C>\n</d>\n<-c>\n<core.hooksPath=/dev/null>\n");
	assert_contains(output.s, "<core.fsmonitor=false>\n");
	assert_contains(output.s, "<gc.auto=0>\n");
	/* No shell has seen them. */
	assert_true(str_ends(output.s, "<log>\n<a b>\n<>\n<$(x)>\n"));
}

static void real_git_ignores_the_callers_variables(void **state)
{
	const struct temp *temp = *state;
	autofree char *here = make_repository(temp, "here");
	autofree char *other = make_repository(temp, "other");
	autofree char *other_git = temp_path(temp, "other/.git");
	const char *const args[] = {"rev-parse", "--show-toplevel", NULL};
	autoerror struct error err = ERROR_INIT;
	autostr struct str output = STR_INIT;

	setenv("GIT_DIR", other_git, 1);
	setenv("GIT_WORK_TREE", other, 1);
	int result = git_run(&(struct git_place){.directory = here}, args, &output, &err);

	unsetenv("GIT_DIR");
	unsetenv("GIT_WORK_TREE");
	assert_success(result, &err);
	autofree char *expected = xasprintf("%s\n", here);

	assert_string_equal(output.s, expected);
}

/* Neither the user's hooks nor the repository's monitor program run. */
static void nothing_of_the_repository_runs(void **state)
{
	const struct temp *temp = *state;
	autofree char *repository = make_repository(temp, "r");
	autofree char *marker = temp_path(temp, "marker");
	autofree char *script = xasprintf("#!/bin/sh\ntouch '%s'\n", marker);
	autofree char *hook = temp_path(temp, "r/.git/hooks/post-index-change");
	const char *const refresh[] = {"update-index", "--refresh", NULL};
	const char *const status[] = {"status", NULL};
	const char *const checkout[] = {"checkout", "-q", "-b", "new", NULL};
	autoerror struct error err = ERROR_INIT;
	autostr struct str output = STR_INIT;

	make_dirs(temp->fd, "r/.git/hooks");
	put_text(AT_FDCWD, hook, script);
	put_text(temp->fd, "r/.git/hooks/post-checkout", script);
	assert_int_equal(chmod(hook, 0755), 0);
	assert_int_equal(fchmodat(temp->fd, "r/.git/hooks/post-checkout", 0755, 0), 0);
	git(repository, "config", "core.fsmonitor", hook, NULL);
	const struct git_place place = {.directory = repository};

	assert_success(git_run(&place, refresh, &output, &err), &err);
	assert_success(git_run(&place, status, &output, &err), &err);
	assert_success(git_run(&place, checkout, &output, &err), &err);
	assert_false(exists(temp->fd, "marker"));
	/* They would have. */
	git(repository, "-c", "core.fsmonitor=false", "checkout", "-q", "-b", "newer", NULL);
	assert_true(exists(temp->fd, "marker"));
}

static void failures(void **state)
{
	static const struct {
		const char *script;
		const char *message;
	} cases[] = {
		{"echo 'warning: w' >&2; echo 'fatal: the reason' >&2; echo 'see x' >&2; exit 128",
		 "git failed: fatal: the reason"},
		{"echo 'error: one' >&2; echo 'fatal: two' >&2; exit 1", "git failed: fatal: two"},
		{"echo 'only this' >&2; exit 1", "git failed: only this"},
		{"exit 1", "without a message"},
		{"kill -KILL $$", "killed by signal 9"},
	};
	const struct temp *temp = *state;
	const char *const args[] = {"status", NULL};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autoerror struct error err = ERROR_INIT;
		autostr struct str output = STR_INIT;

		pretend(temp, cases[i].script);
		assert_failure(git_run(&(struct git_place){0}, args, &output, &err), &err, ERR_GIT,
			       cases[i].message);
		assert_lacks(err.message, "\n");
	}
}

static void statuses(void **state)
{
	const struct temp *temp = *state;
	const char *const args[] = {"config", NULL};
	struct process process = PROCESS_INIT;
	autoerror struct error err = ERROR_INIT;
	autostr struct str output = STR_INIT;
	autostr struct str errors = STR_INIT;
	int status = 0;

	pretend(temp, "echo out; echo err >&2; exit 5");
	assert_success(git_start(&(struct git_place){0}, args, &process, &err), &err);
	assert_success(git_finish(&process, &output, &status, &errors, &err), &err);
	assert_int_equal(WEXITSTATUS(status), 5);
	assert_string_equal(output.s, "out\n");
	assert_string_equal(errors.s, "err\n");
}

static void without_git(void **state)
{
	const struct temp *temp = *state;
	const char *const args[] = {"status", NULL};
	autoerror struct error err = ERROR_INIT;
	autostr struct str output = STR_INIT;

	setenv("PATH", temp->path, 1);
	assert_failure(git_run(&(struct git_place){0}, args, &output, &err), &err, ERR_SYSTEM,
		       "cannot start git");
	assert_contains(err.hint, "apt install git");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(environment),
		TEST(places),
		TEST(real_git_ignores_the_callers_variables),
		TEST(nothing_of_the_repository_runs),
		TEST(failures),
		TEST(statuses),
		TEST(without_git),
	};

	return cmocka_run_group_tests_name("git", tests, NULL, NULL);
}
