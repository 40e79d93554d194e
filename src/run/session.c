#include "run/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/packet.h"
#include "run/stdio.h"

enum { DETACH_FIRST = 0x10, DETACH_SECOND = 0x11 }; /* ctrl-p ctrl-q */

static int connect_once(const struct sandbox *sandbox, int fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autofree char *path = xasprintf("%s/control", fd_path(sandbox->fd).s);

	memcpy(address.sun_path, path, strlen(path) + 1);
	return connect(fd, (struct sockaddr *)&address, sizeof address);
}

/* Between the lease and the socket a monitor starts, or tidies up: that is waited for. */
static bool is_in_between(const struct sandbox *sandbox)
{
	autoerror struct error ignored = ERROR_INIT;
	enum sandbox_state state;

	if (sandbox_state(sandbox, &state, &ignored) < 0 || state != SANDBOX_RUNNING)
		return false;
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	return true;
}

static int connect_monitor(const struct sandbox *sandbox, int *ret, struct error *err)
{
	enum { TRIES = 5000 };
	autofd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int tries = 0;

	if (fd < 0)
		return error_errno(err, "cannot make a socket");
	while (connect_once(sandbox, fd) < 0) {
		if (errno != ENOENT && errno != ECONNREFUSED)
			return error_errno(err, "cannot reach the sandbox %s", sandbox->name);
		if (tries++ < TRIES && is_in_between(sandbox))
			continue;
		error_set(err, ERR_NOT_RUNNING, "the sandbox %s is not running", sandbox->name);
		return error_hint(err, "start it with `jib run %s`", sandbox->name);
	}
	*ret = steal_fd(&fd);
	return 0;
}

static int catch_signals(int *ret, struct error *err)
{
	static const int caught[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
		sigaddset(&set, caught[i]);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

	if (fd < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return error_errno(err, "cannot catch signals");
	signal(SIGPIPE, SIG_IGN);
	*ret = fd;
	return 0;
}

static int lost(const struct sandbox *sandbox, struct error *err)
{
	return error_set(err, ERR_NOT_RUNNING, "the sandbox %s ended", sandbox->name);
}

struct session {
	const struct sandbox *sandbox;
	int monitor;
	int signals;
	struct stdio io;	/* of `exec` */
	struct streams streams; /* of `attach` */
	int status;		/* as of wait(2), or -1 */
	int failed_status;
	bool started; /* the monitor has agreed */
	bool attached;
	bool left;
	bool saw_detach_first;
};

#define SESSION_INIT(name)                                                                      \
	{                                                                                       \
		.sandbox = (name), .monitor = -1, .signals = -1, .io = STDIO_INIT, .status = -1 \
	}

static void send_number(struct session *s, uint32_t type, uint32_t number)
{
	autoerror struct error ignored = ERROR_INIT;
	autopacket struct packet packet = PACKET_INIT;

	packet_put_u32(&packet, number);
	packet_send(s->monitor, type, 0, &packet, &ignored);
}

static void send_size(struct session *s, uint32_t type)
{
	autoerror struct error ignored = ERROR_INIT;
	autopacket struct packet packet = PACKET_INIT;

	packet_put_u32(&packet, s->streams.rows);
	packet_put_u32(&packet, s->streams.columns);
	packet_send(s->monitor, type, 0, &packet, &ignored);
}

static void handle_signals(struct session *s, bool attached)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGWINCH) {
			if (!attached) {
				stdio_resize(&s->io);
			} else if (s->streams.output >= 0) {
				terminal_size(s->streams.output, &s->streams.rows,
					      &s->streams.columns);
				send_size(s, MESSAGE_RESIZE);
			}
		} else if (attached) {
			s->left = true; /* the terminal goes, the command stays */
		} else {
			send_number(s, MESSAGE_SIGNAL, info.ssi_signo);
		}
	}
}

static int failed(struct session *s, struct packet *packet, const char *program, struct error *err)
{
	autoerror struct error ignored = ERROR_INIT;
	uint32_t number = 0;
	const char *what = "run";

	if (packet_get_u32(packet, &number, &ignored) < 0 ||
	    packet_get_string(packet, &what, &ignored) < 0)
		return error_set(err, ERR_PROTOCOL, "the sandbox sent something unreadable");
	s->failed_status = exit_status_of_failure((int)number);
	return error_set(err, ERR_NOT_FOUND, "cannot %s %s: %s", what, program,
			 strerror((int)number));
}

static int handle_answer(struct session *s, const char *program, struct error *err)
{
	autopacket struct packet packet = PACKET_INIT;
	const char *why;
	const void *bytes;
	size_t len;
	uint32_t status;
	int result = packet_receive(s->monitor, false, &packet, err);

	if (result < 0)
		return -1;
	if (result == 1)
		return lost(s->sandbox, err);
	switch (packet.type) {
	case MESSAGE_STARTED:
		s->started = true;
		if (!s->attached)
			stdio_started(&s->io, packet_take_fd(&packet));
		return 0;
	case MESSAGE_FAILED:
		return failed(s, &packet, program, err);
	case MESSAGE_EXITED:
		if (packet_get_u32(&packet, &status, err) < 0)
			return -1;
		s->status = (int)status;
		return 0;
	case MESSAGE_OUTPUT:
		if (packet_get_bytes(&packet, &bytes, &len, err) < 0)
			return -1;
		if (write_all(STDOUT_FILENO, bytes, len) < 0)
			s->left = true;
		return 0;
	case MESSAGE_REFUSED:
		if (packet_get_string(&packet, &why, err) < 0)
			return -1;
		return error_set(err, ERR_NOT_RUNNING, "the sandbox %s refuses: %s",
				 s->sandbox->name, why);
	default:
		return 0;
	}
}

static int exec_turn(struct session *s, const char *program, struct error *err)
{
	struct pollfd polled[2 + STDIO_POLLS] = {
		{.fd = s->monitor, .events = POLLIN},
		{.fd = s->signals, .events = POLLIN},
	};

	stdio_poll(&s->io, false, polled + 2);
	if (poll(polled, ARRAY_SIZE(polled), -1) < 0)
		return errno == EINTR ? 0 : error_errno(err, "cannot wait for events");
	stdio_turn(&s->io, polled + 2);
	if (polled[1].revents)
		handle_signals(s, false);
	return polled[0].revents ? handle_answer(s, program, err) : 0;
}

static int send_spawn(struct session *s, struct spawn *spawn, struct error *err)
{
	autopacket struct packet packet = PACKET_INIT;

	if (stdio_open(&s->io, false, spawn, &packet, err) < 0)
		return -1;
	spawn_encode(spawn, &packet);
	int result = packet_send(s->monitor, MESSAGE_SPAWN, 0, &packet, err);

	return result == 1 ? lost(s->sandbox, err) : result;
}

static void session_release(struct session *s)
{
	fd_close(&s->monitor);
	fd_close(&s->signals);
}

int session_exec(const struct sandbox *sandbox, struct spawn *spawn, int *ret_status,
		 struct error *err)
{
	struct session s = SESSION_INIT(sandbox);
	int result = -1;

	if (connect_monitor(sandbox, &s.monitor, err) == 0 && catch_signals(&s.signals, err) == 0 &&
	    send_spawn(&s, spawn, err) == 0) {
		result = 0;
		while (result == 0 && s.status < 0)
			result = exec_turn(&s, spawn->argv.items[0], err);
	}
	stdio_finish(&s.io);
	if (result == 0)
		*ret_status = exit_status_of(s.status);
	else if (s.failed_status)
		*ret_status = s.failed_status;
	session_release(&s);
	return result;
}

/* Sends what was typed, but for the keys that end the attachment. */
static void attach_input(struct session *s)
{
	autoerror struct error ignored = ERROR_INIT;
	autostr struct str typed = STR_INIT;
	autopacket struct packet packet = PACKET_INIT;
	char buffer[4096];
	ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);

	if (n <= 0) {
		s->left = n == 0 || errno != EINTR;
		return;
	}
	for (ssize_t i = 0; i < n && !s->left; i++) {
		if (s->saw_detach_first && buffer[i] == DETACH_SECOND) {
			s->left = true;
		} else {
			if (s->saw_detach_first)
				str_add_char(&typed, DETACH_FIRST);
			s->saw_detach_first = buffer[i] == DETACH_FIRST;
			if (!s->saw_detach_first)
				str_add_char(&typed, buffer[i]);
		}
	}
	if (typed.len) {
		packet_put_bytes(&packet, typed.s, typed.len);
		packet_send(s->monitor, MESSAGE_INPUT, 0, &packet, &ignored);
	}
}

static int attach_turn(struct session *s, struct error *err)
{
	struct pollfd polled[3] = {
		{.fd = s->monitor, .events = POLLIN},
		{.fd = s->signals, .events = POLLIN},
		/* Before the monitor's answer the end of the input would hide a refusal. */
		{.fd = s->started ? STDIN_FILENO : -1, .events = POLLIN},
	};

	if (poll(polled, ARRAY_SIZE(polled), -1) < 0 && errno != EINTR)
		return error_errno(err, "cannot wait for events");
	if (polled[2].revents)
		attach_input(s);
	if (polled[1].revents)
		handle_signals(s, true);
	return polled[0].revents ? handle_answer(s, "", err) : 0;
}

int session_attach(const struct sandbox *sandbox, int *ret_status, bool *ret_left,
		   struct error *err)
{
	struct session s = SESSION_INIT(sandbox);
	struct termios saved;
	bool raw = false;
	int result = -1;

	if (connect_monitor(sandbox, &s.monitor, err) == 0 &&
	    streams_examine(&s.streams, err) == 0 && catch_signals(&s.signals, err) == 0) {
		s.attached = true;
		send_size(&s, MESSAGE_ATTACH);
		raw = terminal_raw(STDIN_FILENO, &saved) == 0;
		result = 0;
		while (result == 0 && s.status < 0 && !s.left)
			result = attach_turn(&s, err);
		if (raw)
			terminal_restore(STDIN_FILENO, &saved);
	}
	if (result == 0) {
		*ret_left = s.left;
		*ret_status = s.left ? 0 : exit_status_of(s.status);
	}
	session_release(&s);
	return result;
}

/* Whether the monitor has taken the request. One with too many clients closes the connection. */
static int ask_to_stop(const struct sandbox *sandbox, uint32_t grace_ms, struct error *err)
{
	autoerror struct error ignored = ERROR_INIT;
	autopacket struct packet packet = PACKET_INIT;
	struct session s = SESSION_INIT(sandbox);

	if (connect_monitor(sandbox, &s.monitor, err) < 0)
		return -1;
	send_number(&s, MESSAGE_STOP, grace_ms);
	int result = packet_receive(s.monitor, false, &packet, &ignored);

	session_release(&s);
	return result == 0 ? 0 : 1;
}

int session_stop(const struct sandbox *sandbox, uint32_t grace_ms, struct error *err)
{
	enum { TRIES = 200 };
	autofd int lease = -1;
	int result = 1;

	for (int i = 0; result == 1; i++) {
		if (i == TRIES)
			return error_set(err, ERR_RUNNING, "the monitor of %s does not answer",
					 sandbox->name);
		result = ask_to_stop(sandbox, grace_ms, err);
		/* It has ended between two tries. */
		if (result < 0 && i > 0 && err->code == ERR_NOT_RUNNING) {
			error_clear(err);
			result = 0;
		}
		if (result == 1)
			nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	if (result < 0)
		return -1;
	/* The lease is free when everything inside is gone and the monitor has tidied up. */
	return sandbox_lease_wait(NULL, sandbox, &lease, err);
}

int session_where(const struct sandbox *sandbox, pid_t *ret_pid, int *ret_keep, struct error *err)
{
	autofd int monitor = -1;
	autopacket struct packet packet = PACKET_INIT;
	uint32_t pid;

	if (connect_monitor(sandbox, &monitor, err) < 0)
		return -1;
	if (packet_send(monitor, MESSAGE_WHERE, 0, NULL, err) != 0 ||
	    packet_receive(monitor, false, &packet, err) != 0)
		return lost(sandbox, err);
	if (packet.type != MESSAGE_HERE || packet_get_u32(&packet, &pid, err) < 0)
		return error_set(err, ERR_PROTOCOL, "the monitor sent something unexpected");
	*ret_pid = (pid_t)pid;
	*ret_keep = steal_fd(&monitor);
	return 0;
}

int session_freeze(const struct sandbox *sandbox, int *ret_keep, struct error *err)
{
	autofd int monitor = -1;
	autopacket struct packet packet = PACKET_INIT;
	uint32_t failed;

	if (connect_monitor(sandbox, &monitor, err) < 0)
		return -1;
	if (packet_send(monitor, MESSAGE_FREEZE, 0, NULL, err) != 0 ||
	    packet_receive(monitor, false, &packet, err) != 0 || packet.type == MESSAGE_REFUSED)
		return lost(sandbox, err);
	if (packet.type != MESSAGE_FROZEN || packet_get_u32(&packet, &failed, err) < 0)
		return error_set(err, ERR_PROTOCOL, "the monitor sent something unexpected");
	if (failed) {
		error_set(err, ERR_RUNNING, "what runs in the sandbox %s cannot be held still: %s",
			  sandbox->name, strerror((int)failed));
		return error_hint(err, "`jib stop %s` first", sandbox->name);
	}
	*ret_keep = steal_fd(&monitor);
	return 0;
}
