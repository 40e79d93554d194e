#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/file.h"
#include "run/relay.h"

struct pty {
	int master;
	int slave;
};

static int setup(void **state)
{
	struct pty *pty = xcalloc(1, sizeof *pty);
	char name[64];

	pty->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (pty->master < 0 || unlockpt(pty->master) < 0 ||
	    ptsname_r(pty->master, name, sizeof name) != 0)
		return -1;
	pty->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	*state = pty;
	return pty->slave < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct pty *pty = *state;

	fd_close(&pty->master);
	fd_close(&pty->slave);
	free(pty);
	return 0;
}

/* ---- which streams are a terminal ---- */

/* The three standard streams: T the pty, P a pipe, D a directory, - closed. */
static int examine(const struct pty *pty, const char *kinds, struct streams *ret, struct error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -2;
	autofd int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; i < 3; i++) {
		int from = kinds[i] == 'T' ? pty->slave : kinds[i] == 'P' ? ends[0] : dir;

		if (kinds[i] == '-')
			close(i);
		else if (dup2(from, i) < 0)
			return -2;
	}
	return streams_examine(ret, err);
}

static const struct {
	const char *kinds;
	uint32_t terminal;
	bool interactive;
	int output;
} stream_cases[] = {
	{"TTT", 7, true, 1},   {"PPP", 0, false, -1}, {"TPP", 0, false, -1}, {"PTT", 6, false, 1},
	{"TPT", 4, false, 2},  {"TTP", 3, true, 1},   {"PPT", 4, false, 2},  {"PTP", 2, false, 1},
	{"---", 0, false, -1}, {"-TT", 6, false, 1},  {"T--", 0, false, -1},
};

static void in_stream_child(const struct pty *pty, size_t i)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct streams streams;
		int result = examine(pty, stream_cases[i].kinds, &streams, NULL);

		_exit(result == 0 && streams.terminal == stream_cases[i].terminal &&
				      streams.interactive == stream_cases[i].interactive &&
				      streams.output == stream_cases[i].output &&
				      streams.rows == (streams.output < 0 ? 24 : 33) &&
				      streams.columns == (streams.output < 0 ? 80 : 99)
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("%s", stream_cases[i].kinds);
}

static void streams(void **state)
{
	const struct pty *pty = *state;
	const struct winsize size = {.ws_row = 33, .ws_col = 99};

	assert_int_equal(ioctl(pty->slave, TIOCSWINSZ, &size), 0);
	for (size_t i = 0; i < ARRAY_SIZE(stream_cases); i++)
		in_stream_child(pty, i);
}

/* T1: an open directory of the host would be a way out. */
static void directories(void **state)
{
	static const char *const kinds[] = {"DPP", "PDP", "PPD", "TDT"};
	const struct pty *pty = *state;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (pid == 0) {
			struct error err = ERROR_INIT;
			struct streams untouched;
			int result = examine(pty, kinds[i], &untouched, &err);

			_exit(result == -1 && err.code == ERR_USAGE &&
					      strstr(err.message, "is a directory")
				      ? 0
				      : 1);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
}

static int open_streams(void)
{
	int ends[2], fd = -1;
	struct stat st, null, pipe_st;

	NEED(pipe2(ends, O_CLOEXEC) == 0 && stat("/dev/null", &null) == 0);
	NEED(dup2(ends[0], 0) == 0 && fstat(ends[0], &pipe_st) == 0);
	NEED(streams_open(0, &fd, NULL) == 0);
	NEED(fd > 2 && fcntl(fd, F_GETFD) & FD_CLOEXEC);
	NEED(fstat(fd, &st) == 0 && st.st_ino == pipe_st.st_ino);
	close(0);
	NEED(streams_open(0, &fd, NULL) == 0);
	NEED(fstat(fd, &st) == 0 && st.st_rdev == null.st_rdev);
	return 0;
}

static void opening(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(open_streams());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- the terminal ---- */

static void raw_and_back(void **state)
{
	const struct pty *pty = *state;
	struct termios before, saved, raw, after;
	int ends[2];

	assert_int_equal(tcgetattr(pty->slave, &before), 0);
	assert_int_equal(terminal_raw(pty->slave, &saved), 0);
	assert_int_equal(tcgetattr(pty->slave, &raw), 0);
	assert_int_equal(raw.c_lflag & (ICANON | ECHO | ISIG), 0);
	terminal_restore(pty->slave, &saved);
	assert_int_equal(tcgetattr(pty->slave, &after), 0);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_int_equal(after.c_iflag, before.c_iflag);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(terminal_raw(ends[0], &saved), -1);
	close(ends[0]);
	close(ends[1]);
}

static void sizes(void **state)
{
	const struct pty *pty = *state;
	struct winsize size = {.ws_row = 5, .ws_col = 0};
	uint32_t rows = 1, columns = 2;

	/* A size that nobody has set is none. */
	assert_int_equal(ioctl(pty->slave, TIOCSWINSZ, &size), 0);
	terminal_size(pty->slave, &rows, &columns);
	assert_int_equal(rows, 1);
	assert_int_equal(columns, 2);
	size.ws_col = 7;
	assert_int_equal(ioctl(pty->slave, TIOCSWINSZ, &size), 0);
	terminal_size(pty->slave, &rows, &columns);
	assert_int_equal(rows, 5);
	assert_int_equal(columns, 7);
}

/* ---- relaying ---- */

static struct relay start(struct pty *pty)
{
	struct termios ignored;

	assert_int_equal(terminal_raw(pty->slave, &ignored), 0);
	return (struct relay){.input = -1, .master = steal_fd(&pty->master)};
}

static void both_ways(void **state)
{
	struct pty *pty = *state;
	struct relay relay = start(pty);
	char buffer[64];
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	relay.input = ends[0];
	assert_int_equal(relay_read(&relay, buffer, sizeof buffer), 0);
	assert_int_equal(write(pty->slave, "printed", 7), 7);
	assert_int_equal(relay_read(&relay, buffer, sizeof buffer), 7);
	assert_memory_equal(buffer, "printed", 7);

	struct pollfd input, master;

	assert_int_equal(write(ends[1], "typed", 5), 5);
	relay_poll(&relay, &input, &master);
	assert_int_equal(input.fd, ends[0]);
	assert_int_equal(master.fd, relay.master);
	assert_int_equal(master.events, POLLIN);
	/* Nothing happens that poll(2) has not announced. */
	relay_input(&relay, &input);
	input.revents = POLLIN;
	relay_input(&relay, &input);
	assert_int_equal(relay.pending.len, 0);
	assert_int_equal(read(pty->slave, buffer, sizeof buffer), 5);
	assert_memory_equal(buffer, "typed", 5);
	/* The user's terminal goes away: no more input, but the command goes on. */
	close(ends[1]);
	relay_input(&relay, &input);
	assert_int_equal(relay.input, -1);
	close(ends[0]);
	/* The command's end */
	fd_close(&pty->slave);
	assert_int_equal(relay_read(&relay, buffer, sizeof buffer), -1);
	assert_int_equal(relay.master, -1);
	relay_poll(&relay, &input, &master);
	assert_int_equal(input.fd, -1);
	assert_int_equal(master.fd, -1);
	relay_type(&relay, "x", 1);
	relay_release(&relay);
	relay_release(&relay);
}

/* A command that does not read neither blocks who types nor fills the memory. */
static void typing_ahead(void **state)
{
	enum { CHUNK = 1000, CHUNKS = 200, LIMIT = 65536 };
	struct pty *pty = *state;
	struct relay relay = start(pty);
	struct pollfd input, master;
	char chunk[CHUNK];
	size_t received = 0, sent = 0;

	relay.input = 0; /* never read from here */
	for (size_t i = 0; i < CHUNKS; i++) {
		relay_poll(&relay, &input, &master);
		if (input.fd < 0)
			break;
		for (size_t k = 0; k < CHUNK; k++, sent++)
			chunk[k] = (char)('a' + sent % 26);
		relay_type(&relay, chunk, CHUNK);
	}
	assert_true(relay.pending.len >= LIMIT && relay.pending.len < LIMIT + CHUNK);
	relay_poll(&relay, &input, &master);
	assert_int_equal(input.fd, -1);
	assert_int_equal(master.events, POLLIN | POLLOUT);
	size_t full = relay.pending.len;

	relay_type(&relay, chunk, CHUNK);
	assert_int_equal(relay.pending.len, full);
	/* It all arrives, in order, once somebody reads. */
	assert_int_equal(fcntl(pty->slave, F_SETFL, O_NONBLOCK), 0);
	for (int idle = 0; received < sent && idle < 100000;) {
		ssize_t n = read(pty->slave, chunk, sizeof chunk);

		for (ssize_t k = 0; k < n; k++, received++)
			if (chunk[k] != (char)('a' + received % 26))
				fail_msg("byte %zu is wrong", received);
		idle = n > 0 ? 0 : idle + 1;
		relay_flush(&relay);
	}
	assert_int_equal(received, sent);
	assert_int_equal(relay.pending.len, 0);
	relay_release(&relay);
}

#define WITH_PTY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PTY(streams),	WITH_PTY(directories), cmocka_unit_test(opening),
		WITH_PTY(raw_and_back), WITH_PTY(sizes),       WITH_PTY(both_ways),
		WITH_PTY(typing_ahead),
	};

	return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
