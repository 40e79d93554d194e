#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/process.h"

static char path[] = "PATH=/usr/bin:/bin", only[] = "ONLY=this";
static char sh[] = "sh", dash_c[] = "-c", env_program[] = "env", sleep_program[] = "sleep",
	    forever[] = "1000";
static char *const no_env[] = {path, NULL};

struct outcome {
	struct str out, err;
	int status;
};

static void outcome_release(struct outcome *outcome)
{
	str_release(&outcome->out);
	str_release(&outcome->err);
}

#define autooutcome __attribute__((cleanup(outcome_release)))

static int run(const char *script, size_t limit, int input, struct outcome *ret, struct error *err)
{
	autofree char *text = xstrdup(script);
	char *const argv[] = {sh, dash_c, text, NULL};
	const struct process_spec spec = {.program = "/bin/sh",
					  .argv = argv,
					  .env = no_env,
					  .limit = limit,
					  .stdin_fd = input};
	struct process process = PROCESS_INIT;

	if (process_start(&spec, &process, err) < 0)
		return -1;
	int result = process_finish(&process, &ret->out, &ret->err, &ret->status, err);

	assert_int_equal(process.pid, -1);
	assert_int_equal(process.out, -1);
	assert_int_equal(process.err, -1);
	return result;
}

static void nothing_is_left(size_t fds)
{
	assert_int_equal(count_fds(), fds);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void both_outputs(void **state)
{
	autoerror struct error err = ERROR_INIT;
	autooutcome struct outcome outcome = {0};
	size_t fds = count_fds();

	(void)state;
	assert_success(run("echo out; echo err >&2; printf 'a\\0b'; exit 3", 0, -1, &outcome, &err),
		       &err);
	assert_int_equal(outcome.out.len, 7);
	assert_memory_equal(outcome.out.s, "out\na\0b", 8);
	assert_string_equal(outcome.err.s, "err\n");
	assert_true(WIFEXITED(outcome.status));
	assert_int_equal(WEXITSTATUS(outcome.status), 3);
	nothing_is_left(fds);
}

static void no_output(void **state)
{
	autoerror struct error err = ERROR_INIT;
	autooutcome struct outcome outcome = {0};

	(void)state;
	assert_success(run(":", 0, -1, &outcome, &err), &err);
	assert_string_equal(outcome.out.s, "");
	assert_int_equal(outcome.status, 0);
}

/* A program that fills both pipes at once must not wait for a reader of the other one. */
static void a_lot_on_both(void **state)
{
	autoerror struct error err = ERROR_INIT;
	autooutcome struct outcome outcome = {0};

	(void)state;
	assert_success(run("i=0; while [ $i -lt 40 ]; do head -c 8192 /dev/zero; "
			   "head -c 8192 /dev/zero >&2; i=$((i+1)); done; printf last >&2",
			   0, -1, &outcome, &err),
		       &err);
	assert_int_equal(outcome.out.len, 40 * 8192);
	/* Of what it complains about, the end is kept, because that is what says why. */
	assert_true(outcome.err.len >= 4 && outcome.err.len <= 16384);
	assert_string_equal(outcome.err.s + outcome.err.len - 4, "last");
}

/* What a process leaves behind may hold the pipes for as long as it likes. */
static void outlived(void **state)
{
	autoerror struct error err = ERROR_INIT;
	autooutcome struct outcome outcome = {0};
	size_t fds = count_fds();
	time_t start = time(NULL);

	(void)state;
	assert_success(run("sleep 5 & echo out; echo err >&2", 0, -1, &outcome, &err), &err);
	assert_true(time(NULL) - start < 4);
	assert_string_equal(outcome.out.s, "out\n");
	assert_string_equal(outcome.err.s, "err\n");
	nothing_is_left(fds);
}

static void output_limit(void **state)
{
	autoerror struct error err = ERROR_INIT;
	autooutcome struct outcome fits = {0}, endless = {0};
	size_t fds = count_fds();

	(void)state;
	assert_success(run("head -c 100000 /dev/zero", 100000, -1, &fits, &err), &err);
	assert_int_equal(fits.out.len, 100000);
	/* One that never ends is killed. */
	assert_failure(run("cat /dev/zero", 100000, -1, &endless, &err), &err, ERR_SYSTEM,
		       "more than 100000 bytes");
	nothing_is_left(fds);
}

static void input(void **state)
{
	autoerror struct error err = ERROR_INIT;
	autooutcome struct outcome none = {0}, given = {0};
	int ends[2];

	(void)state;
	assert_success(run("cat; readlink /proc/self/fd/0", 0, -1, &none, &err), &err);
	assert_string_equal(none.out.s, "/dev/null\n");
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], "given", 5), 5);
	close(ends[1]);
	assert_success(run("cat", 0, ends[0], &given, &err), &err);
	close(ends[0]);
	assert_string_equal(given.out.s, "given");
}

/* Beside its three streams it has nothing of ours; what the test was started with does not count. */
static void only_three_descriptors(void **state)
{
	autoerror struct error err = ERROR_INIT;
	autooutcome struct outcome outcome = {0};

	(void)state;
	assert_success(run("for i in 1 2; do s=$(readlink /proc/$$/fd/$i); "
			   "for fd in /proc/$$/fd/*; do [ ${fd##*/} = $i ] || "
			   "[ \"$(readlink $fd)\" != \"$s\" ] || echo $fd is $i; done; done",
			   0, -1, &outcome, &err),
		       &err);
	assert_string_equal(outcome.out.s, "");
}

static void missing_programs(void **state)
{
	static const struct {
		const char *program;
		int number;
	} cases[] = {
		{"/nonexistent/program", ENOENT},
		{"no-such-program-anywhere", ENOENT},
		{"/", EACCES},
		{"/etc/passwd", EACCES},
		{"/etc/passwd/x", ENOTDIR},
	};
	char *const argv[] = {sh, NULL};
	autofree char *before = xstrdup(getenv("PATH"));
	size_t fds = count_fds();

	(void)state;
	/* Where nothing hides behind a directory that cannot be searched. */
	setenv("PATH", "/usr/bin:/bin", 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct process_spec spec = {
			.program = cases[i].program, .argv = argv, .env = no_env};
		struct process process = PROCESS_INIT;
		autoerror struct error err = ERROR_INIT;

		assert_failure(process_start(&spec, &process, &err), &err, ERR_SYSTEM,
			       cases[i].program);
		assert_int_equal(err.number, cases[i].number);
		assert_int_equal(process.pid, -1);
		process_abandon(&process);
	}
	setenv("PATH", before, 1);
	nothing_is_left(fds);
}

static void killed(void **state)
{
	autoerror struct error err = ERROR_INIT;
	autooutcome struct outcome outcome = {0};

	(void)state;
	assert_success(run("kill -KILL $$", 0, -1, &outcome, &err), &err);
	assert_true(WIFSIGNALED(outcome.status));
	assert_int_equal(WTERMSIG(outcome.status), SIGKILL);
}

/* What we block and ignore is not what a program starts with. */
static void signals_start_clean(void **state)
{
	autoerror struct error err = ERROR_INIT;
	autooutcome struct outcome outcome = {0};
	sigset_t all, before;

	(void)state;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	void (*pipe_before)(int) = signal(SIGPIPE, SIG_IGN);
	int result = run("grep -E '^Sig(Blk|Ign)' /proc/self/status", 0, -1, &outcome, &err);

	signal(SIGPIPE, pipe_before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	assert_success(result, &err);
	assert_contains(outcome.out.s, "SigBlk:\t0000000000000000\n");
	const char *ignored = outcome.out.s ? strstr(outcome.out.s, "SigIgn:\t") : NULL;

	if (!ignored) {
		fail();
		return;
	}
	assert_int_equal(strtoul(ignored + 8, NULL, 16) & (1UL << (SIGPIPE - 1)), 0);
}

static void environment(void **state)
{
	char *const argv[] = {env_program, NULL};
	char *const env[] = {only, NULL};
	struct process process = PROCESS_INIT;
	autooutcome struct outcome outcome = {0};
	autoerror struct error err = ERROR_INIT;

	(void)state;
	assert_success(
		process_start(&(struct process_spec){.program = "env", .argv = argv, .env = env},
			      &process, &err),
		&err);
	/* stderr may be of no interest */
	assert_success(process_finish(&process, &outcome.out, NULL, &outcome.status, &err), &err);
	assert_string_equal(outcome.out.s, "ONLY=this\n");
}

static void abandoning(void **state)
{
	char *const argv[] = {sleep_program, forever, NULL};
	struct process process = PROCESS_INIT;
	autoerror struct error err = ERROR_INIT;
	size_t fds = count_fds();

	(void)state;
	assert_success(
		process_start(
			&(struct process_spec){.program = "sleep", .argv = argv, .env = no_env},
			&process, &err),
		&err);
	pid_t pid = process.pid;

	process_abandon(&process);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	nothing_is_left(fds);
	process_abandon(&process);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_outputs),
		cmocka_unit_test(no_output),
		cmocka_unit_test(a_lot_on_both),
		cmocka_unit_test(outlived),
		cmocka_unit_test(output_limit),
		cmocka_unit_test(input),
		cmocka_unit_test(only_three_descriptors),
		cmocka_unit_test(missing_programs),
		cmocka_unit_test(killed),
		cmocka_unit_test(signals_start_clean),
		cmocka_unit_test(environment),
		cmocka_unit_test(abandoning),
	};

	return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
