#include "support.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "base/spawn.h"

static struct spawn example(void)
{
	struct spawn spawn = {
		.terminal = 5,
		.rows = 24,
		.columns = 80,
		.directory = xstrdup("/work/tree"),
		.fallback = xstrdup("/"),
	};

	strv_add(&spawn.argv, "sh");
	strv_add(&spawn.argv, "-c");
	strv_add(&spawn.argv, "");
	strv_add(&spawn.env, "A=b=c");
	return spawn;
}

static void round_trip(void **state)
{
	autospawn struct spawn sent = example();
	autospawn struct spawn received = {0};
	autopacket struct packet packet = PACKET_INIT;
	autoerror struct error err = ERROR_INIT;

	(void)state;
	spawn_encode(&sent, &packet);
	assert_success(spawn_decode(&packet, &received, &err), &err);
	assert_int_equal(received.terminal, 5);
	assert_int_equal(received.rows, 24);
	assert_int_equal(received.columns, 80);
	assert_string_equal(received.directory, "/work/tree");
	assert_string_equal(received.fallback, "/");
	assert_int_equal(received.argv.len, 3);
	assert_string_equal(received.argv.items[2], "");
	assert_null(received.argv.items[3]);
	assert_int_equal(received.env.len, 1);
	assert_string_equal(received.env.items[0], "A=b=c");
}

/* Cut off anywhere, it is refused, and nothing of it comes out. */
static void every_truncation(void **state)
{
	autospawn struct spawn sent = example();
	autopacket struct packet packet = PACKET_INIT;

	(void)state;
	spawn_encode(&sent, &packet);
	for (size_t len = 0; len < packet.payload.len; len++) {
		autopacket struct packet cut = PACKET_INIT;
		autoerror struct error err = ERROR_INIT;
		struct spawn untouched = {.rows = 77};

		str_add_bytes(&cut.payload, packet.payload.s, len);
		assert_failure(spawn_decode(&cut, &untouched, &err), &err, ERR_PROTOCOL,
			       "malformed");
		assert_int_equal(untouched.rows, 77);
		assert_null(untouched.argv.items);
	}
}

static void nonsense(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		autospawn struct spawn sent = example();
		autopacket struct packet packet = PACKET_INIT;
		autoerror struct error err = ERROR_INIT;
		struct spawn untouched = {0};

		if (i == 0)
			strv_release(&sent.argv);
		else
			sent.terminal = 8;
		spawn_encode(&sent, &packet);
		assert_failure(spawn_decode(&packet, &untouched, &err), &err, ERR_PROTOCOL,
			       "malformed");
	}
}

static int status_of(int code, int number)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (number)
			kill(getpid(), number);
		_exit(code);
	}
	assert_int_equal(wait_for(pid, &status), 0);
	return status;
}

static void exit_statuses(void **state)
{
	(void)state;
	assert_int_equal(exit_status_of(status_of(0, 0)), 0);
	assert_int_equal(exit_status_of(status_of(42, 0)), 42);
	assert_int_equal(exit_status_of(status_of(255, 0)), 255);
	assert_int_equal(exit_status_of(status_of(0, SIGKILL)), 137);
	assert_int_equal(exit_status_of(status_of(0, SIGTERM)), 143);
	assert_int_equal(exit_status_of_failure(ENOENT), 127);
	assert_int_equal(exit_status_of_failure(ENOTDIR), 127);
	assert_int_equal(exit_status_of_failure(EACCES), 126);
	assert_int_equal(exit_status_of_failure(ENOEXEC), 126);
	assert_int_equal(exit_status_of_failure(EISDIR), 126);
	assert_int_equal(exit_status_of_failure(ENOMEM), 125);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(exit_statuses),
	};

	return cmocka_run_group_tests_name("spawn", tests, NULL, NULL);
}
