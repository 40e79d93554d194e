#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "run/plan.h"

/* ---- binds ---- */

static void binds(void **state)
{
	const struct temp *temp = *state;
	static const struct {
		const char *rest;   /* after "<temp>/d" */
		const char *target; /* NULL: the source itself */
		bool writable;
	} cases[] = {
		{"", NULL, false},
		{":ro", NULL, false},
		{":rw", NULL, true},
		{":/x", "/x", false},
		{":/x:ro", "/x", false},
		{":/x:rw", "/x", true},
		{":/x/y z", "/x/y z", false},
		{"/../d", NULL, false},
		{"/.:rw", NULL, true},
		/* however it is spelt, it can be compared */
		{"://x//y/./z/", "/x/y/z", false},
		{":/./proc", "/proc", false},
		{":/..x/...", "/..x/...", false},
		{":/", "/", false},
		{"://./", "/", false},
	};
	autofree char *real = temp_path(temp, "d");

	make_dirs(temp->fd, "d");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autofree char *text = xasprintf("%s%s", real, cases[i].rest);
		autoplan struct plan plan = {0};
		autoerror struct error err = ERROR_INIT;

		assert_success(plan_add_bind(&plan, text, &err), &err);
		assert_int_equal(plan.bind_count, 1);
		assert_string_equal(plan.binds[0].source, real);
		assert_string_equal(plan.binds[0].target, cases[i].target ? cases[i].target : real);
		assert_int_equal(plan.binds[0].writable, cases[i].writable);
		assert_true(plan.binds[0].directory);
		assert_true(plan.binds[0].fd >= 0);
	}
}

static void links_are_resolved(void **state)
{
	const struct temp *temp = *state;
	autofree char *link = temp_path(temp, "link");
	autofree char *file = temp_path(temp, "file");
	autofree char *fifo = temp_path(temp, "fifo");
	autoplan struct plan plan = {0};
	autoerror struct error err = ERROR_INIT;

	put_text(temp->fd, "file", "");
	assert_int_equal(symlinkat("file", temp->fd, "link"), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_success(plan_add_bind(&plan, link, &err), &err);
	assert_string_equal(plan.binds[0].source, file);
	assert_string_equal(plan.binds[0].target, file);
	assert_false(plan.binds[0].directory);
	/* Not opened for reading, which would wait for a writer. */
	assert_success(plan_add_bind(&plan, fifo, &err), &err);
	assert_int_equal(plan.bind_count, 2);
}

static void bad_binds(void **state)
{
	static const struct {
		const char *text;
		enum error_code code;
	} cases[] = {
		{"", ERR_USAGE},
		{":/x", ERR_USAGE},
		{"/tmp:x", ERR_USAGE},
		{"/tmp:", ERR_USAGE},
		{"/tmp:/x:", ERR_USAGE},
		{"/tmp:/x:rx", ERR_USAGE},
		{"/tmp:/x:rw:y", ERR_USAGE},
		{"/tmp:ro:rw", ERR_USAGE},
		{"/tmp:/../x", ERR_USAGE},
		{"/tmp:/x/..", ERR_USAGE},
		{"/tmp:..", ERR_USAGE},
		{"/tmp:/x/../y", ERR_USAGE},
		{"/nonexistent", ERR_SYSTEM},
		{"/etc/passwd/x", ERR_SYSTEM},
	};
	size_t fds = count_fds();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autoplan struct plan plan = {0};
		autoerror struct error err = ERROR_INIT;

		assert_failure(plan_add_bind(&plan, cases[i].text, &err), &err, cases[i].code,
			       "--bind");
		assert_int_equal(plan.bind_count, 0);
	}
	assert_int_equal(count_fds(), fds);
}

/* ---- what no plan may do ---- */

static int check(const struct temp *temp, const char *source, const char *rest, struct error *err)
{
	autofree char *place = temp_path(temp, source);
	autofree char *text = xasprintf("%s%s", *source == '/' ? source : place, rest);
	autofree char *root = temp_path(temp, "root");
	autofree char *host = temp_path(temp, "work/repo");
	autoplan struct plan plan = {0};
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error ignored = ERROR_INIT;

	struct sandbox_repo *repo = sandbox_add_repo(&sandbox);

	repo->host = xstrdup(host);
	repo->path = xstrdup("/inside/repo");
	repo->git_path = xstrdup("/inside/.git/repo");
	assert_success(plan_add_bind(&plan, text, &ignored), &ignored);
	return plan_check(&plan, &sandbox, root, err);
}

static void checks(void **state)
{
	const struct temp *temp = *state;
	static const struct {
		const char *source;
		const char *rest;
		const char *reason; /* NULL: allowed */
	} cases[] = {
		{"other", "", NULL},
		{"other", ":rw", NULL},
		{"other", ":/x/proc:rw", NULL},
		{"other", ":/processes", NULL},
		{"work/repo", ":ro", NULL},
		{"work/repository", ":rw", NULL},
		{"roots", ":rw", NULL},
		{"other", ":/inside", NULL},
		{"other", ":/inside/repo", "lies in a repository"},
		{"other", ":/inside/repo/new", "lies in a repository"},
		{"other", ":/inside/.git/repo/new", "lies in a repository"},
		{"other", ":/inside/repository", NULL},
		/* the host's kernel */
		{"/sys", ":/x", "/sys is a mount of the host's kernel"},
		{"/sys/kernel", ":/x", "a mount of the host's kernel"},
		{"/dev/null", ":/x", NULL},
		/* the sandbox's own places */
		{"other", ":/", "root itself"},
		{"other", "://", "root itself"},
		{"other", ":/proc", "/proc is the sandbox's own"},
		{"other", ":/proc/sys", "/proc/sys is the sandbox's own"},
		{"other", "://proc", "/proc is the sandbox's own"},
		{"other", ":/./dev/./shm", "/dev/shm is the sandbox's own"},
		{"other", ":/run//jib/", "/run/jib is the sandbox's own"},
		{"/proc/sys", ":/x", "/proc is never visible"},
		/* the store, also around it, also read-only */
		{"root", ":/x", "the store"},
		{"root/.layers", ":/x", "the store"},
		{"link-to-root", ":/x", "the store"},
		{".", ":/x", "the store"},
		{"/", ":/x", "the store"},
		/* the host's repository */
		{"work/repo", ":rw", "would let the sandbox write the host repository"},
		{"work/repo/.git", ":/x:rw", "would let the sandbox write the host repository"},
		{"work", ":rw", "would let the sandbox write the host repository"},
		{"link-to-work", ":/x:rw", "would let the sandbox write the host repository"},
	};

	make_dirs(temp->fd, "root/.layers");
	make_dirs(temp->fd, "roots");
	make_dirs(temp->fd, "other");
	make_dirs(temp->fd, "work/repo/.git");
	make_dirs(temp->fd, "work/repository");
	assert_int_equal(symlinkat("root", temp->fd, "link-to-root"), 0);
	assert_int_equal(symlinkat("work", temp->fd, "link-to-work"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autoerror struct error err = ERROR_INIT;
		int result = check(temp, cases[i].source, cases[i].rest, &err);

		if (!cases[i].reason)
			assert_success(result, &err);
		else if (result == 0)
			fail_msg("%s%s is allowed", cases[i].source, cases[i].rest);
		else
			assert_failure(result, &err, ERR_USAGE, cases[i].reason);
	}
}

/* A root whose path leads through a link is the same root. */
static void root_by_another_name(void **state)
{
	const struct temp *temp = *state;
	autofree char *bind = temp_path(temp, "real/root");
	autofree char *named = temp_path(temp, "link/root");
	autoplan struct plan plan = {0};
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;

	make_dirs(temp->fd, "real/root");
	assert_int_equal(symlinkat("real", temp->fd, "link"), 0);
	assert_success(plan_add_bind(&plan, bind, &err), &err);
	assert_failure(plan_check(&plan, &sandbox, named, &err), &err, ERR_USAGE, "the store");
}

/* ---- environment and network ---- */

static void environment(void **state)
{
	autoplan struct plan plan = {0};
	autoerror struct error err = ERROR_INIT;

	(void)state;
	setenv("JIB_TEST", "from outside", 1);
	assert_success(plan_add_env(&plan, "A=1", &err), &err);
	assert_success(plan_add_env(&plan, "AB=a=b", &err), &err);
	assert_success(plan_add_env(&plan, "EMPTY=", &err), &err);
	assert_success(plan_add_env(&plan, "JIB_TEST", &err), &err);
	assert_success(plan_add_env(&plan, "A=2", &err), &err);
	unsetenv("JIB_TEST");
	assert_int_equal(plan.env.len, 4);
	/* The last word counts, and a longer name is another one. */
	assert_string_equal(plan.env.items[0], "A=2");
	assert_string_equal(plan.env.items[1], "AB=a=b");
	assert_string_equal(plan.env.items[2], "EMPTY=");
	assert_string_equal(plan.env.items[3], "JIB_TEST=from outside");
	assert_failure(plan_add_env(&plan, "JIB_TEST", &err), &err, ERR_USAGE, "JIB_TEST");
	error_clear(&err);
	assert_failure(plan_add_env(&plan, "=x", &err), &err, ERR_USAGE, "no name");
	error_clear(&err);
	assert_failure(plan_add_env(&plan, "", &err), &err, ERR_USAGE, "no name");
	assert_int_equal(plan.env.len, 4);
}

static void networks(void **state)
{
	static const char *const bad[] = {"", "Host", "hosts", "gateway", "none "};
	autoplan struct plan plan = {0};
	autoerror struct error err = ERROR_INIT;

	(void)state;
	assert_success(plan_set_network(&plan, "host", &err), &err);
	assert_true(plan.host_network);
	assert_success(plan_set_network(&plan, "none", &err), &err);
	assert_false(plan.host_network);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_failure(plan_set_network(&plan, bad[i], &err), &err, ERR_USAGE, "network");
		error_clear(&err);
	}
}

/* ---- the start, as a program beside a guest ---- */

static bool has(const struct plan *plan, const char *item)
{
	for (size_t i = 0; i < plan->env.len; i++)
		if (strcmp(plan->env.items[i], item) == 0)
			return true;
	return false;
}

static int check_start(void)
{
	static const char *const passed[] = {"TERM=xterm-test", "LANG=xx_XX",	"LC_TIME=yy_YY",
					     "TZ=Mars",		"COLORTERM=c",	"HOME=/home/inside",
					     "JIB_SANDBOX=one", "SHELL=/bin/sh"};
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;
	autoplan struct plan plan = {0};

	sandbox.name = xstrdup("one");
	sandbox.home = xstrdup("/home/inside");
	NEED(plan_start(&sandbox, &plan, &err) == 0);
	NEED(str_ends(plan.guest, "/jib-guest"));
	NEED(plan.uid == geteuid() && plan.gid == getegid());
	NEED(strcmp(plan.hostname, "one") == 0);
	NEED(!plan.host_network && plan.bind_count == 0);
	NEED(strcmp(plan.shell, "/bin/sh") == 0);
	for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
		if (!has(&plan, passed[i])) {
			fprintf(stderr, "# no %s\n", passed[i]);
			return 1;
		}
	for (size_t i = 0; i < plan.env.len; i++) {
		NEED(!strstr(plan.env.items[i], "SECRET"));
		for (size_t k = 0; k < i; k++) {
			size_t len = strcspn(plan.env.items[i], "=") + 1;

			NEED(strncmp(plan.env.items[i], plan.env.items[k], len) != 0);
		}
	}
	/* A shell that the sandbox does not see is none; without TERM there is one all the same. */
	unsetenv("TERM");
	setenv("SHELL", "/home/me/bin/sh", 1);
	autoplan struct plan other = {0};

	NEED(plan_start(&sandbox, &other, &err) == 0);
	NEED(strcmp(other.shell, "/bin/sh") == 0);
	NEED(has(&other, "TERM=dumb"));
	return 0;
}

static int start_beside_a_guest(const struct temp *temp)
{
	autofree char *program = temp_path(temp, "program");
	autofd int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	NEED(file_copy_at(self, temp->fd, "program", NULL) == 0);
	put_text(temp->fd, "jib-guest", "#!/bin/sh\n");
	NEED(fchmodat(temp->fd, "jib-guest", 0755, 0) == 0);
	setenv("TERM", "xterm-test", 1);
	setenv("LANG", "xx_XX", 1);
	setenv("LC_TIME", "yy_YY", 1);
	setenv("TZ", "Mars", 1);
	setenv("COLORTERM", "c", 1);
	setenv("SHELL", "/bin/sh", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "SECRET", 1);
	setenv("SSH_AUTH_SOCK", "SECRET", 1);
	setenv("TERMCAP", "SECRET", 1);
	setenv("LANGUAGE", "SECRET", 1);
	setenv("LD_PRELOAD_TOKEN", "SECRET", 1);
	execl(program, "program", "start", (char *)NULL);
	return 1;
}

static void starting(void **state)
{
	in_child(start_beside_a_guest, *state);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(binds),
		WITH_TEMP(links_are_resolved),
		cmocka_unit_test(bad_binds),
		WITH_TEMP(checks),
		WITH_TEMP(root_by_another_name),
		cmocka_unit_test(environment),
		cmocka_unit_test(networks),
		WITH_TEMP(starting),
	};

	if (argc == 2 && strcmp(argv[1], "start") == 0)
		return check_start();
	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
