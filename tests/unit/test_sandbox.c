#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/process.h"
#include "store/sandbox.h"

static void describe(struct sandbox *sandbox, const char *name)
{
	struct sandbox_repo *repo;

	sandbox->name = xstrdup(name);
	sandbox->home = xstrdup("/home/me");
	repo = sandbox_add_repo(sandbox);
	repo->name = xstrdup("r");
	repo->host = xstrdup("/work/r");
	repo->path = xstrdup("/work/r");
	strv_add(&repo->tree, "tree-1");
	strv_add(&repo->git, "git-1");
	strv_add(&repo->git, "git-0");
}

static void create(const struct root *root, const char *name)
{
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;

	describe(&sandbox, name);
	assert_success(sandbox_create(root, &sandbox, false, NULL, &err), &err);
}

static enum sandbox_state state_of(const struct root *root, const char *name)
{
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;
	enum sandbox_state found = SANDBOX_BROKEN;

	assert_success(sandbox_open(root, name, &sandbox, &err), &err);
	assert_success(sandbox_state(&sandbox, &found, &err), &err);
	return found;
}

static void creating_and_opening(void **state)
{
	static const char *const made[] = {"upper/repos/r", "upper/repos/s", "upper/git/r",
					   "upper/git/s",   "work/repos/r",  "work/repos/s",
					   "work/git/r",    "work/git/s",    "work/home",
					   "home",	    "sandbox.json"};
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT, found = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;
	struct sandbox_repo *repo;

	open_test_root(*state, &root);
	describe(&sandbox, "one");
	sandbox.layout = LAYOUT_JIB;
	sandbox.live = true;
	repo = sandbox_add_repo(&sandbox);
	repo->name = xstrdup("s");
	repo->host = xstrdup("/work/\xc3\xa4 \"s\"\n");
	repo->path = xstrdup("/home/jib/repos/s");
	repo->git_path = xstrdup("/home/jib/.git/s");
	repo->base = xstrdup("0123");
	repo->branch = xstrdup("main");
	repo->live_git_dir = xstrdup("/work/s/.git/worktrees/s");
	repo->live_common_dir = xstrdup("/work/s/.git");
	assert_success(sandbox_create(&root, &sandbox, true, NULL, &err), &err);
	assert_true(sandbox.fd >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(made); i++)
		if (!exists(sandbox.fd, made[i]))
			fail_msg("no %s", made[i]);
	assert_int_equal(count_entries(root.temp), 0);

	assert_success(sandbox_open(&root, "one", &found, &err), &err);
	assert_string_equal(found.name, "one");
	assert_string_equal(found.home, "/home/me");
	assert_int_equal(found.layout, LAYOUT_JIB);
	assert_true(found.live);
	assert_int_equal(strlen(found.created), strlen("2020-01-01T00:00:00Z"));
	assert_int_equal(found.repo_count, 2);
	assert_null(found.repos[0].base);
	assert_null(found.repos[0].branch);
	assert_null(found.repos[0].git_path);
	assert_null(found.repos[0].live_git_dir);
	assert_int_equal(found.repos[0].git.len, 2);
	assert_string_equal(found.repos[0].git.items[1], "git-0");
	assert_string_equal(found.repos[0].tree.items[0], "tree-1");
	assert_string_equal(found.repos[1].host, "/work/\xc3\xa4 \"s\"\n");
	assert_string_equal(found.repos[1].path, "/home/jib/repos/s");
	assert_string_equal(found.repos[1].git_path, "/home/jib/.git/s");
	assert_string_equal(found.repos[1].base, "0123");
	assert_string_equal(found.repos[1].branch, "main");
	assert_string_equal(found.repos[1].live_git_dir, "/work/s/.git/worktrees/s");
	assert_string_equal(found.repos[1].live_common_dir, "/work/s/.git");
	assert_int_equal(found.repos[1].tree.len, 0);
	assert_success(sandbox_settle(&root, &found, &err), &err);
}

static void name_is_taken(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox second = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;

	open_test_root(*state, &root);
	create(&root, "one");
	describe(&second, "one");
	assert_failure(sandbox_create(&root, &second, false, NULL, &err), &err, ERR_EXISTS,
		       "already");
	assert_int_equal(second.fd, -1);
	assert_int_equal(count_entries(root.temp), 0);
	error_clear(&err);
	/* Whatever it is that has the name. */
	put_text(root.fd, "file", "");
	assert_int_equal(symlinkat("nowhere", root.fd, "link"), 0);
	free(second.name);
	second.name = xstrdup("file");
	assert_failure(sandbox_create(&root, &second, false, NULL, &err), &err, ERR_EXISTS, "file");
	error_clear(&err);
	free(second.name);
	second.name = xstrdup("link");
	assert_failure(sandbox_create(&root, &second, false, NULL, &err), &err, ERR_EXISTS, "link");
}

/* Of many that create one name at the same time, one does. */
static void race_for_a_name(void **state)
{
	enum { PROCESSES = 12 };
	autoroot struct root root = ROOT_INIT;
	pid_t pids[PROCESSES];
	int winners = 0;

	open_test_root(*state, &root);
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			struct sandbox sandbox = SANDBOX_INIT;
			struct error err = ERROR_INIT;

			describe(&sandbox, "one");
			if (sandbox_create(&root, &sandbox, false, NULL, &err) == 0)
				_exit(1);
			_exit(err.code == ERR_EXISTS ? 0 : 2);
		}
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;

		assert_int_equal(wait_for(pids[i], &status), 0);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
		winners += WEXITSTATUS(status);
	}
	assert_int_equal(winners, 1);
	assert_int_equal(state_of(&root, "one"), SANDBOX_CREATED);
	assert_int_equal(count_entries(root.temp), 0);
}

static void impossible_paths(void **state)
{
	autoroot struct root root = ROOT_INIT;

	open_test_root(*state, &root);
	for (int i = 0; i < 4; i++) {
		autosandbox struct sandbox sandbox = SANDBOX_INIT;
		autoerror struct error err = ERROR_INIT;
		char *bad = xstrdup("/work/\xff");

		describe(&sandbox, "one");
		char **field = i == 0	? &sandbox.home
			       : i == 1 ? &sandbox.repos[0].host
			       : i == 2 ? &sandbox.repos[0].path
					: &sandbox.repos[0].live_git_dir;

		free(*field);
		*field = bad;
		if (i == 3)
			sandbox.repos[0].live_common_dir = xstrdup("/c");
		assert_failure(sandbox_create(&root, &sandbox, false, NULL, &err), &err,
			       ERR_UNSUPPORTED, "not valid UTF-8");
		assert_false(exists(root.fd, "one"));
		assert_int_equal(count_entries(root.temp), 0);
	}
}

static void not_there(void **state)
{
	static const char *const invalid[] = {"..", ".layers", "a/b", "", "-x"};
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;

	open_test_root(*state, &root);
	for (size_t i = 0; i < ARRAY_SIZE(invalid); i++) {
		autoerror struct error err = ERROR_INIT;

		assert_failure(sandbox_open(&root, invalid[i], &sandbox, &err), &err, ERR_NAME, "");
	}
	autoerror struct error err = ERROR_INIT;

	assert_failure(sandbox_open(&root, "none", &sandbox, &err), &err, ERR_NOT_FOUND, "none");
	assert_contains(err.hint, "jib ls");
	error_clear(&err);
	/* Not through a link that somebody put there. */
	create(&root, "one");
	assert_int_equal(symlinkat("one", root.fd, "link"), 0);
	assert_failure(sandbox_open(&root, "link", &sandbox, &err), &err, ERR_SYSTEM, "link");
	assert_int_equal(sandbox.fd, -1);
}

/* ---- damaged and hostile records ---- */

static const char good[] =
	"{\"schema\":1,\"name\":\"one\",\"created\":\"x\",\"view\":\"overlay\","
	"\"engine\":\"native\",\"xattr\":\"user\",\"layout\":\"host\",\"live\":false,"
	"\"home\":\"/home/me\",\"repos\":[{\"name\":\"r\",\"host\":\"/r\",\"path\":\"/r\","
	"\"git_path\":null,\"base\":null,\"branch\":null,\"tree\":[\"t\"],\"git\":[\"g\"]}]}";

/* The good record with one part replaced. */
static char *with(const char *part, const char *replacement)
{
	const char *at = strstr(good, part);

	if (!at)
		fail_msg("%s is not in the record", part);
	return xasprintf("%.*s%s%s", (int)(at - good), good, replacement, at + strlen(part));
}

static void broken(const struct root *root, const char *text, size_t len, const char *reason)
{
	struct sandbox untouched = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;
	size_t fds = count_fds();

	put_bytes(root->fd, "one/sandbox.json", text, len);
	int result = sandbox_open(root, "one", &untouched, &err);

	if (result == 0)
		fail_msg("opened: %s", text);
	assert_failure(result, &err, ERR_CORRUPT, "the sandbox one is broken");
	assert_contains(err.message, reason);
	assert_contains(err.hint, "one/upper");
	assert_null(untouched.name);
	assert_int_equal(count_fds(), fds);
	/* and without somebody to tell */
	assert_int_equal(sandbox_open(root, "one", &untouched, NULL), -1);
}

static void hostile_records(void **state)
{
	static const struct {
		const char *part;
		const char *replacement;
	} cases[] = {
		{"\"schema\":1", "\"schema\":0"},
		{"\"schema\":1", "\"schema\":-1"},
		{"\"schema\":1", "\"schema\":\"1\""},
		{"\"schema\":1", "\"schema\":1.0"},
		{"\"schema\":1", "\"schema\":99999999999999999999"},
		{"\"schema\":1,", ""},
		{"\"overlay\"", "\"copy\""},
		{"\"view\":\"overlay\",", ""},
		{"\"xattr\":\"user\"", "\"xattr\":\"trusted\""},
		{"\"xattr\":\"user\"", "\"xattr\":1"},
		{"\"created\":\"x\"", "\"created\":null"},
		{"\"created\":\"x\"", "\"created\":[]"},
		{"\"layout\":\"host\"", "\"layout\":\"other\""},
		{"\"layout\":\"host\"", "\"layout\":1"},
		{"\"live\":false", "\"live\":\"true\""},
		{"\"live\":false,", ""},
		{"\"live\":false", "\"live\":false,\"volatile\":1"},
		{"\"home\":\"/home/me\"", "\"home\":\"relative\""},
		{"\"home\":\"/home/me\"", "\"home\":null"},
		{"\"home\":\"/home/me\"", "\"home\":\"/a\\u0000b\""},
		{"\"home\"", "\"live\":false,\"home\""},
		{"\"repos\":[{", "\"repos\":[1,{"},
		{"\"repos\":[{", "\"repos\":[null,{"},
		{"\"name\":\"r\"", "\"name\":\"..\""},
		{"\"name\":\"r\"", "\"name\":\".\""},
		{"\"name\":\"r\"", "\"name\":\"\""},
		{"\"name\":\"r\"", "\"name\":\"a/../../b\""},
		{"\"name\":\"r\"", "\"name\":{}"},
		{"\"host\":\"/r\"", "\"host\":7"},
		{"\"path\":\"/r\"", "\"path\":\"r\""},
		{"\"path\":\"/r\"", "\"path\":\"\""},
		{"\"git_path\":null", "\"git_path\":\"g\""},
		{"\"git_path\":null", "\"git_path\":false"},
		{"\"base\":null", "\"base\":1"},
		{"\"branch\":null", "\"branch\":[\"main\"]"},
		{"\"tree\":[\"t\"]", "\"tree\":\"t\""},
		{"\"tree\":[\"t\"],", ""},
		{"\"tree\":[\"t\"]", "\"tree\":[\"../t\"]"},
		{"\"tree\":[\"t\"]", "\"tree\":[\"..\"]"},
		{"\"tree\":[\"t\"]", "\"tree\":[\"\"]"},
		{"\"tree\":[\"t\"]", "\"tree\":[null]"},
		{"\"git\":[\"g\"]", "\"git\":[\"g\",\"a/b\"]"},
		{"\"git\":[\"g\"]", "\"git\":[\"g\",\".tmp\"]"},
		{"\"git\":[\"g\"]", "\"git\":[\"g\",[\"g\"]]"},
		{"\"git\":[\"g\"]", "\"git\":[\"g\"],\"live_git_dir\":\"/g\""},
		{"\"git\":[\"g\"]", "\"git\":[\"g\"],\"live_common_dir\":\"/g\""},
		{"}]}", "}],\"states\":1}"},
		{"}]}", "}],\"states\":[\"a/b\"]}"},
		{"}]}", "}],\"checkpoints\":{}}"},
		{"}]}", "}],\"checkpoints\":[1]}"},
		{"}]}", "}],\"checkpoints\":[{\"number\":1}]}"},
		{"}]}", "}],\"checkpoints\":[{\"number\":0,\"created\":\"x\"}]}"},
		{"}]}", "}],\"checkpoints\":[{\"number\":1,\"created\":\"x\"},"
			"{\"number\":1,\"created\":\"x\"}]}"},
		{"}]}", "}],\"checkpoints\":[{\"number\":4294967297,\"created\":\"x\"}]}"},
		{"}]}", "}],\"checkpoints\":[{\"number\":1,\"created\":\"x\",\"message\":2}]}"},
		{"}]}",
		 "},{\"name\":\"r\",\"host\":\"/s\",\"path\":\"/s\",\"tree\":[],\"git\":[]}]}"},
	};
	static const char *const texts[] = {"",	     "{",  "[]",       "null", "1",
					    "\"x\"", "{}", "\xff\xfe", "{}{}", "\n\n"};
	autoroot struct root root = ROOT_INIT;

	open_test_root(*state, &root);
	make_dirs(root.fd, "one");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autofree char *text = with(cases[i].part, cases[i].replacement);

		broken(&root, text, strlen(text), "sandbox.json cannot be understood");
	}
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		broken(&root, texts[i], strlen(texts[i]), "cannot be understood");
	/* A NUL byte does not end it early. */
	broken(&root, good, sizeof good, "cannot be understood");
	autofree char *newer = with("\"schema\":1", "\"schema\":4");

	broken(&root, newer, strlen(newer), "schema 4, this jib knows up to 3");
	/* What the others differ from */
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;

	put_text(root.fd, "one/sandbox.json", good);
	assert_success(sandbox_open(&root, "one", &sandbox, &err), &err);
}

static void huge_records(void **state)
{
	enum { HUGE_SIZE = 3 << 20 };
	autoroot struct root root = ROOT_INIT;
	autofree char *text = xmalloc(HUGE_SIZE);
	autoerror struct error err = ERROR_INIT;
	struct sandbox sandbox = SANDBOX_INIT;

	open_test_root(*state, &root);
	make_dirs(root.fd, "one");
	/* Nested deeper than any stack, but within the size that is read at all. */
	memset(text, '[', HUGE_SIZE);
	broken(&root, text, 1 << 20, "cannot be understood");
	put_bytes(root.fd, "one/sandbox.json", text, HUGE_SIZE);
	assert_failure(sandbox_open(&root, "one", &sandbox, &err), &err, ERR_SYSTEM, "1048576");
}

static void without_a_record(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	struct sandbox sandbox = SANDBOX_INIT;

	open_test_root(*state, &root);
	make_dirs(root.fd, "one/upper");
	assert_failure(sandbox_open(&root, "one", &sandbox, &err), &err, ERR_CORRUPT, "one");
	error_clear(&err);
	make_dirs(root.fd, "two/sandbox.json");
	assert_failure(sandbox_open(&root, "two", &sandbox, &err), &err, ERR_CORRUPT,
		       "not a regular file");
	error_clear(&err);
	/* A broken one can be removed all the same. */
	assert_success(sandbox_remove(&root, "one", &err), &err);
	assert_false(exists(root.fd, "one"));
}

static void listing(void **state)
{
	const struct temp *temp = *state;
	autoroot struct root root = ROOT_INIT;
	autostrv struct strv none = STRV_INIT, names = STRV_INIT;
	autoerror struct error err = ERROR_INIT;

	open_test_root(temp, &root);
	assert_success(sandbox_names(&root, &none, &err), &err);
	assert_int_equal(none.len, 0);
	create(&root, "b");
	create(&root, "a-2");
	create(&root, "B");
	make_dirs(root.fd, "broken");
	make_dirs(root.fd, "not a name");
	make_dirs(root.fd, ".hidden");
	put_text(root.fd, "file", "");
	assert_int_equal(symlinkat("b", root.fd, "link"), 0);
	assert_success(sandbox_names(&root, &names, &err), &err);
	assert_int_equal(names.len, 4);
	assert_string_equal(names.items[0], "B");
	assert_string_equal(names.items[1], "a-2");
	assert_string_equal(names.items[2], "b");
	assert_string_equal(names.items[3], "broken");
}

/* ---- life ---- */

/* Removal is by name, and the name may be another sandbox's by the time the lease is free. */
static void lease_of_a_removed_one(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox old = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;
	autofd int lease = -1;

	open_test_root(*state, &root);
	create(&root, "one");
	assert_success(sandbox_open(&root, "one", &old, &err), &err);
	/* Out of the way, but not deleted: as it is while somebody still deletes it. */
	assert_int_equal(renameat(root.fd, "one", root.temp, "gone"), 0);
	assert_failure(sandbox_lease(&root, &old, &lease, &err), &err, ERR_NOT_FOUND, "one");
	error_clear(&err);
	create(&root, "one");
	assert_failure(sandbox_lease(&root, &old, &lease, &err), &err, ERR_NOT_FOUND, "one");
	error_clear(&err);
	assert_failure(sandbox_lease_wait(&root, &old, &lease, &err), &err, ERR_NOT_FOUND, "one");
	error_clear(&err);
	assert_int_equal(lease, -1);
	assert_success(sandbox_lease_wait(NULL, &old, &lease, &err), &err);
}

/* Who has read an old record does not know what its layers hold by now. */
static void states_and_checkpoints(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT, stale = SANDBOX_INIT,
				   again = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;
	autofd int lease = -1;

	open_test_root(*state, &root);
	create(&root, "one");
	assert_success(sandbox_open(&root, "one", &sandbox, &err), &err);
	assert_success(sandbox_open(&root, "one", &stale, &err), &err);
	strv_add(&sandbox.states, "state-1");
	assert_int_equal(sandbox_add_checkpoint(&sandbox, NULL)->number, 1);
	strv_add(&sandbox.states, "state-0");
	assert_int_equal(sandbox_add_checkpoint(&sandbox, "m\n\x1b")->number, 2);
	assert_success(sandbox_rewrite(&sandbox, &err), &err);
	assert_failure(sandbox_lease(&root, &stale, &lease, &err), &err, ERR_UNSTABLE, "one");
	error_clear(&err);
	fd_close(&stale.fd);
	assert_success(sandbox_open(&root, "one", &again, &err), &err);
	assert_success(sandbox_lease(&root, &again, &lease, &err), &err);
	assert_int_equal(again.states.len, 2);
	assert_string_equal(again.states.items[1], "state-0");
	assert_int_equal(again.checkpoint_count, 2);
	assert_int_equal(again.checkpoints[0].states.len, 1);
	assert_null(again.checkpoints[0].message);
	assert_int_equal(again.checkpoints[1].number, 2);
	assert_string_equal(again.checkpoints[1].message, "m\n\x1b");
	assert_string_equal(again.checkpoints[1].created, sandbox.checkpoints[1].created);
	assert_int_equal(again.checkpoints[1].states.len, 2);
	sandbox_add_checkpoint(&again, "\xff");
	assert_failure(sandbox_rewrite(&again, &err), &err, ERR_UNSUPPORTED, "UTF-8");
}

static void leases_and_states(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;
	autofd int lease = -1, second = -1;

	open_test_root(*state, &root);
	create(&root, "one");
	assert_int_equal(state_of(&root, "one"), SANDBOX_CREATED);
	/* Looking does not make it one that has run. */
	assert_int_equal(state_of(&root, "one"), SANDBOX_CREATED);
	assert_success(sandbox_open(&root, "one", &sandbox, &err), &err);
	assert_int_equal(sandbox_lease(&root, &sandbox, &lease, &err), 0);
	assert_int_equal(state_of(&root, "one"), SANDBOX_RUNNING);
	assert_int_equal(sandbox_lease(&root, &sandbox, &second, &err), 1);
	assert_int_equal(second, -1);
	fd_close(&lease);
	assert_int_equal(state_of(&root, "one"), SANDBOX_STOPPED);
	assert_success(sandbox_lease_wait(&root, &sandbox, &lease, &err), &err);
	assert_int_equal(state_of(&root, "one"), SANDBOX_RUNNING);
	assert_string_equal(sandbox_state_name(SANDBOX_CREATED), "created");
	assert_string_equal(sandbox_state_name(SANDBOX_RUNNING), "running");
	assert_string_equal(sandbox_state_name(SANDBOX_STOPPED), "stopped");
	assert_string_equal(sandbox_state_name(SANDBOX_BROKEN), "broken");
}

static void created_with_its_lease(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;
	autofd int lease = -1;

	open_test_root(*state, &root);
	describe(&sandbox, "one");
	assert_success(sandbox_create(&root, &sandbox, false, &lease, &err), &err);
	assert_int_equal(state_of(&root, "one"), SANDBOX_RUNNING);
	fd_close(&lease);
	assert_int_equal(state_of(&root, "one"), SANDBOX_STOPPED);
}

static void holder_is_killed(void **state)
{
	autoroot struct root root = ROOT_INIT;
	int ready[2], status;
	char byte;

	open_test_root(*state, &root);
	create(&root, "one");
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct sandbox sandbox = SANDBOX_INIT;
		int lease;

		if (sandbox_open(&root, "one", &sandbox, NULL) == 0 &&
		    sandbox_lease(&root, &sandbox, &lease, NULL) == 0 &&
		    write(ready[1], "x", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	assert_int_equal(state_of(&root, "one"), SANDBOX_RUNNING);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(wait_for(pid, &status), 0);
	assert_int_equal(state_of(&root, "one"), SANDBOX_STOPPED);
}

static void removing(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	uint64_t before, after;
	autofree char *bytes = xmalloc(1 << 20);

	open_test_root(*state, &root);
	create(&root, "one");
	create(&root, "two");
	assert_success(sandbox_disk(&root, "one", &before, &err), &err);
	memset(bytes, 'x', 1 << 20);
	put_bytes(root.fd, "one/upper/repos/r/f", bytes, 1 << 20);
	autofd int fd = openat(root.fd, "one/upper/repos/r/f", O_RDONLY | O_CLOEXEC);

	assert_int_equal(fsync(fd), 0);
	assert_success(sandbox_disk(&root, "one", &after, &err), &err);
	assert_true(after >= before + (1 << 20));
	assert_success(sandbox_remove(&root, "one", &err), &err);
	assert_false(exists(root.fd, "one"));
	assert_true(exists(root.fd, "two/sandbox.json"));
	assert_int_equal(count_entries(root.temp), 0);
}

static void volatile_ones(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT, found = SANDBOX_INIT,
				   other = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;

	open_test_root(*state, &root);
	describe(&sandbox, "one");
	sandbox.is_volatile = true;
	assert_success(sandbox_create(&root, &sandbox, false, NULL, &err), &err);
	assert_success(sandbox_open(&root, "one", &found, &err), &err);
	assert_true(found.is_volatile);
	assert_false(sandbox_outlived_boot(&found));
	put_text(found.fd, "boot", "another");
	assert_true(sandbox_outlived_boot(&found));
	assert_success(sandbox_note_boot(&found, &err), &err);
	assert_false(sandbox_outlived_boot(&found));
	/* A power cut may have taken the note itself, or torn it. */
	put_text(found.fd, "boot", "");
	assert_true(sandbox_outlived_boot(&found));
	assert_int_equal(unlinkat(found.fd, "boot", 0), 0);
	assert_true(sandbox_outlived_boot(&found));
	/* Others have no note. */
	create(&root, "two");
	assert_success(sandbox_open(&root, "two", &other, &err), &err);
	assert_false(other.is_volatile);
	assert_false(exists(other.fd, "boot"));
}

static void mount_source(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox one = SANDBOX_INIT, again = SANDBOX_INIT, two = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;

	open_test_root(*state, &root);
	create(&root, "one");
	create(&root, "two");
	assert_success(sandbox_open(&root, "one", &one, &err), &err);
	assert_success(sandbox_open(&root, "one", &again, &err), &err);
	assert_success(sandbox_open(&root, "two", &two, &err), &err);
	autofree char *a = sandbox_mount_source(&one);
	autofree char *b = sandbox_mount_source(&again);
	autofree char *c = sandbox_mount_source(&two);

	assert_string_equal(a, b);
	assert_string_not_equal(a, c);
	/* T39: it tells neither the name nor the place. */
	assert_true(str_starts(a, "jib-"));
	assert_lacks(a, "one");
	assert_lacks(a, "/");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(creating_and_opening),
		WITH_TEMP(name_is_taken),
		WITH_TEMP(race_for_a_name),
		WITH_TEMP(impossible_paths),
		WITH_TEMP(not_there),
		WITH_TEMP(hostile_records),
		WITH_TEMP(huge_records),
		WITH_TEMP(without_a_record),
		WITH_TEMP(listing),
		WITH_TEMP(states_and_checkpoints),
		WITH_TEMP(leases_and_states),
		WITH_TEMP(lease_of_a_removed_one),
		WITH_TEMP(created_with_its_lease),
		WITH_TEMP(holder_is_killed),
		WITH_TEMP(removing),
		WITH_TEMP(mount_source),
		WITH_TEMP(volatile_ones),
	};

	return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
