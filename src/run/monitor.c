#include "run/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/packet.h"
#include "base/process.h"
#include "kernel/cgroup.h"
#include "run/lifetime.h"
#include "run/start.h"
#include "run/stdio.h"

enum {
	FIRST_COMMAND = 1,
	CLIENTS_MAX = 400, /* of them this many may hold a command or an attachment: */
	CLIENTS_BUSY = 300,
	CLIENT_BEHIND = 262144, /* bytes that an attached client may be behind */
	CLIENT_PATIENCE_MS = 5000,
	LOG_MAX = 16 << 20, /* then it becomes output.1 and a new one begins (T91) */
};

struct client {
	int fd;
	uint32_t command; /* the id of the command that it started, or 0 */
	bool attached;
	struct str behind; /* output that it has not taken yet */
	int64_t stuck_since;
	bool freezes; /* everything is held still for it, */
	bool told;    /* and it knows */
	bool waits;   /* with a command for which it is still held */
	struct packet command_later;
};

struct monitor {
	const struct monitor_request *request;
	struct stdio io;
	struct started started;
	struct cgroup *cgroup;
	int listener;
	int signals;
	int log;
	off_t log_size;
	struct client clients[CLIENTS_MAX];
	size_t client_count;
	uint32_t next_command;
	int64_t kill_at; /* monotonic milliseconds; 0: not stopping */
	bool running;
	bool ended;
	int status; /* of the first command, as of wait(2); -1: not known yet */
	struct error failure;
	int failed_status;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Preparation. */

static int listen_for_clients(struct monitor *m, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autofd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* A store may lie deeper than the 108 bytes of an address; through the fd it does not. */
	autofree char *path = xasprintf("%s/control", fd_path(m->request->sandbox->fd).s);

	if (fd < 0)
		return error_errno(err, "cannot make the control socket");
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* Only the holder of the lease is here: what is there is a dead monitor's. */
	if (unlinkat(m->request->sandbox->fd, "control", 0) < 0 && errno != ENOENT)
		return error_errno(err, "cannot remove an old control socket");
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 16) < 0)
		return error_errno(err, "cannot listen on the control socket");
	m->listener = steal_fd(&fd);
	return 0;
}

static int catch_signals(struct monitor *m, struct error *err)
{
	static const int forwarded[] = {SIGINT,	 SIGTERM, SIGQUIT,  SIGHUP,
					SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
		sigaddset(&set, forwarded[i]);
	m->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signals < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return error_errno(err, "cannot catch signals");
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static int open_log(struct monitor *m, struct error *err)
{
	autofd int dir = -1;

	if (!m->request->detached)
		return 0;
	if (dir_make_at(m->request->sandbox->fd, "log", 0700, &dir, err) < 0)
		return -1;
	m->log = open_beneath(dir, "output", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	if (m->log < 0 || (unlinkat(dir, "output.1", 0) < 0 && errno != ENOENT))
		return error_errno(err, "cannot open the log");
	return 0;
}

static int send_first(struct monitor *m, struct packet *packet, struct error *err)
{
	spawn_encode(m->request->spawn, packet);
	/* 1: the child has died already; what it said is read below. */
	return packet_send(m->started.control, MESSAGE_SPAWN, FIRST_COMMAND, packet, err) < 0 ? -1
											      : 0;
}

/* Clients. */

static void forward_spawn(struct monitor *m, struct client *client, struct packet *packet);

static bool is_frozen(const struct monitor *m)
{
	for (size_t i = 0; i < m->client_count; i++)
		if (m->clients[i].freezes)
			return true;
	return false;
}

/* Nobody looks any more: what had to wait starts now. */
static void thaw(struct monitor *m)
{
	autoerror struct error ignored = ERROR_INIT;

	packet_send(m->started.control, MESSAGE_THAW, 0, NULL, &ignored);
	for (size_t i = m->client_count; i-- > 0;) {
		struct client *client = &m->clients[i];

		if (!client->waits)
			continue;
		autopacket struct packet packet = client->command_later;

		client->waits = false;
		client->command_later = (struct packet)PACKET_INIT;
		forward_spawn(m, client, &packet);
	}
}

static void drop_client(struct monitor *m, struct client *client)
{
	autoerror struct error ignored = ERROR_INIT;
	autopacket struct packet packet = PACKET_INIT;

	bool froze = client->freezes;

	if (client->command) {
		/* Its terminal is gone: the command hears of it as it would of any. */
		packet_put_u32(&packet, SIGHUP);
		packet_send(m->started.control, MESSAGE_SIGNAL, client->command, &packet, &ignored);
	}
	fd_close(&client->fd);
	str_release(&client->behind);
	packet_release(&client->command_later);
	*client = m->clients[--m->client_count];
	if (froze && !is_frozen(m))
		thaw(m);
}

static void answer(struct monitor *m, struct client *client, uint32_t type, struct packet *packet)
{
	autoerror struct error ignored = ERROR_INIT;

	/* One that does not read is not waited for. */
	if (packet_send(client->fd, type, 0, packet, &ignored) != 0)
		drop_client(m, client);
}

static void refuse(struct monitor *m, struct client *client, const char *why)
{
	autopacket struct packet packet = PACKET_INIT;

	packet_put_string(&packet, why);
	answer(m, client, MESSAGE_REFUSED, &packet);
}

static size_t busy_clients(const struct monitor *m)
{
	size_t busy = 0;

	for (size_t i = 0; i < m->client_count; i++)
		busy += m->clients[i].command || m->clients[i].attached;
	return busy;
}

static void accept_client(struct monitor *m)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	/* cppcheck-suppress nullPointer ; accept4(2): nobody asks for the address */
	autofd int fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
	    (peer.uid != geteuid() && peer.uid != 0))
		return;
	m->clients[m->client_count++] =
		(struct client){.fd = steal_fd(&fd), .command_later = PACKET_INIT};
}

/* The earliest deadline of all who have asked counts. */
static void begin_stop(struct monitor *m, uint32_t grace)
{
	autoerror struct error ignored = ERROR_INIT;
	int64_t deadline = now_ms() + grace;

	if (!m->kill_at || deadline < m->kill_at)
		m->kill_at = deadline;
	packet_send(m->started.control, MESSAGE_STOP, 0, NULL, &ignored);
}

static void resize(struct monitor *m, struct packet *packet)
{
	autoerror struct error ignored = ERROR_INIT;
	uint32_t rows, columns;

	if (packet_get_u32(packet, &rows, &ignored) == 0 &&
	    packet_get_u32(packet, &columns, &ignored) == 0)
		stdio_set_size(&m->io, rows, columns);
}

static void forward_spawn(struct monitor *m, struct client *client, struct packet *packet)
{
	autoerror struct error err = ERROR_INIT;

	if (client->command || busy_clients(m) >= CLIENTS_BUSY) {
		refuse(m, client,
		       client->command ? "one command for one connection"
				       : "too many commands at once");
		return;
	}
	client->command = ++m->next_command;
	if (packet_send(m->started.control, MESSAGE_SPAWN, client->command, packet, &err) != 0)
		refuse(m, client, err.message ? err.message : "the sandbox is ending");
}

static void handle_client(struct monitor *m, struct client *client)
{
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet packet = PACKET_INIT;
	const void *bytes;
	size_t len;
	uint32_t number;
	int result = packet_receive(client->fd, true, &packet, &err);

	if (result == 2)
		return;
	if (result != 0) {
		drop_client(m, client);
		return;
	}
	switch (packet.type) {
	case MESSAGE_SPAWN:
		if (is_frozen(m) && !client->waits) {
			client->waits = true;
			client->command_later = packet;
			packet = (struct packet)PACKET_INIT;
			break;
		}
		forward_spawn(m, client, &packet);
		break;
	case MESSAGE_FREEZE:
		client->freezes = true;
		packet_release(&packet);
		packet_send(m->started.control, MESSAGE_FREEZE, 0, NULL, &err);
		break;
	case MESSAGE_SIGNAL:
		if (client->command)
			packet_send(m->started.control, MESSAGE_SIGNAL, client->command, &packet,
				    &err);
		break;
	case MESSAGE_STOP:
		if (packet_get_u32(&packet, &number, &err) == 0) {
			begin_stop(m, number);
			answer(m, client, MESSAGE_STARTED, NULL);
		}
		break;
	case MESSAGE_ATTACH:
		if (m->io.relay.master < 0 || busy_clients(m) >= CLIENTS_BUSY) {
			refuse(m, client,
			       m->io.relay.master < 0 ? "it has no terminal to attach to"
						      : "too many clients at once");
			break;
		}
		client->attached = true;
		resize(m, &packet);
		answer(m, client, MESSAGE_STARTED, NULL);
		break;
	case MESSAGE_INPUT:
		if (client->attached && packet_get_bytes(&packet, &bytes, &len, &err) == 0)
			relay_type(&m->io.relay, bytes, len);
		break;
	case MESSAGE_RESIZE:
		if (client->attached)
			resize(m, &packet);
		break;
	case MESSAGE_WHERE:
		packet_release(&packet);
		packet_put_u32(&packet, (uint32_t)m->started.pid);
		answer(m, client, MESSAGE_HERE, &packet);
		break;
	default:
		refuse(m, client, "not understood");
		break;
	}
}

/* The terminal. */

static void write_log(struct monitor *m, const char *bytes, size_t len)
{
	if (m->log < 0)
		return;
	if (m->log_size + (off_t)len > LOG_MAX) {
		autofd int dir =
			open_beneath(m->request->sandbox->fd, "log", O_RDONLY | O_DIRECTORY, 0);

		if (dir < 0 || renameat(dir, "output", dir, "output.1") < 0)
			return;
		fd_close(&m->log);
		m->log = open_beneath(dir, "output", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
		m->log_size = 0;
	}
	/* A full disk ends the log, not the command. */
	if (m->log >= 0 && write_all(m->log, bytes, len) < 0)
		fd_close(&m->log);
	m->log_size += (off_t)len;
}

/* Sends what an attached client has not seen yet; one that takes nothing for long is dropped. */
static void catch_up(struct monitor *m, struct client *client)
{
	enum { PART = 32768 };

	while (client->behind.len) {
		autoerror struct error ignored = ERROR_INIT;
		autopacket struct packet packet = PACKET_INIT;
		size_t part = client->behind.len < PART ? client->behind.len : PART;

		packet_put_bytes(&packet, client->behind.s, part);
		int result = packet_send(client->fd, MESSAGE_OUTPUT, 0, &packet, &ignored);

		if (result != 0) {
			if (!client->stuck_since)
				client->stuck_since = now_ms();
			if (result < 0 || now_ms() - client->stuck_since > CLIENT_PATIENCE_MS)
				drop_client(m, client);
			return;
		}
		client->stuck_since = 0;
		str_drop(&client->behind, part);
	}
}

static void see_output(void *data, const char *bytes, size_t len)
{
	struct monitor *m = data;

	write_log(m, bytes, len);
	for (size_t i = m->client_count; i-- > 0;) {
		if (!m->clients[i].attached)
			continue;
		str_add_bytes(&m->clients[i].behind, bytes, len);
		catch_up(m, &m->clients[i]);
	}
}

/* Whether an attached client is so far behind that the command has to wait for it. */
static bool is_held_up(const struct monitor *m)
{
	for (size_t i = 0; i < m->client_count; i++)
		if (m->clients[i].behind.len > CLIENT_BEHIND)
			return true;
	return false;
}

static void handle_signals(struct monitor *m)
{
	struct signalfd_siginfo info;

	while (read(m->signals, &info, sizeof info) == (ssize_t)sizeof info) {
		autoerror struct error ignored = ERROR_INIT;
		autopacket struct packet packet = PACKET_INIT;

		if (info.ssi_signo == SIGCHLD)
			continue;
		if (info.ssi_signo == SIGWINCH) {
			stdio_resize(&m->io);
			continue;
		}
		packet_put_u32(&packet, info.ssi_signo);
		packet_send(m->started.control, MESSAGE_SIGNAL, FIRST_COMMAND, &packet, &ignored);
	}
}

/* Init. What it says is a sandbox's word: bounded, and never more than a status or a text. */

static void tell_ready(struct monitor *m, const struct error *failure)
{
	if (m->request->ready)
		m->request->ready(m->request->data, failure);
}

static void first_started(struct monitor *m, struct packet *packet)
{
	m->running = true;
	stdio_started(&m->io, packet_take_fd(packet));
	tell_ready(m, NULL);
}

static void first_failed(struct monitor *m, struct packet *packet)
{
	autoerror struct error ignored = ERROR_INIT;
	const char *what = "", *hint = "";
	uint32_t number = 0, code = ERR_SYSTEM;
	bool in_setup = packet->id == 0;

	if (packet_get_u32(packet, &number, &ignored) < 0 ||
	    (in_setup && packet_get_u32(packet, &code, &ignored) < 0) ||
	    packet_get_string(packet, &what, &ignored) < 0)
		what = "something unreadable";
	if (in_setup) {
		error_set(&m->failure, (enum error_code)code, "cannot set up the sandbox: %s",
			  what);
		if (packet_get_string(packet, &hint, &ignored) == 0 && *hint)
			error_hint(&m->failure, "%s", hint);
		m->failure.number = (int)number;
	} else {
		error_set(&m->failure, ERR_NOT_FOUND, "cannot %s %s: %s", what,
			  m->request->spawn->argv.items[0], strerror((int)number));
		m->failed_status = exit_status_of_failure((int)number);
	}
	m->ended = true;
	tell_ready(m, &m->failure);
}

/* Passes init's answer on to the client that started the command. */
static void pass_on(struct monitor *m, struct packet *packet)
{
	for (size_t i = 0; i < m->client_count; i++)
		if (m->clients[i].command == packet->id) {
			if (packet->type != MESSAGE_STARTED)
				m->clients[i].command = 0;
			answer(m, &m->clients[i], packet->type, packet);
			return;
		}
}

/* Everything is still, or cannot be held so: all who wait for that are told. */
static void frozen(struct monitor *m, struct packet *packet)
{
	autoerror struct error ignored = ERROR_INIT;
	uint32_t failed = EPROTO;

	packet_get_u32(packet, &failed, &ignored);
	for (size_t i = m->client_count; i-- > 0;) {
		struct client *client = &m->clients[i];
		autopacket struct packet copy = PACKET_INIT;

		if (!client->freezes || client->told)
			continue;
		client->told = true;
		client->freezes = failed == 0;
		packet_put_u32(&copy, failed);
		answer(m, client, MESSAGE_FROZEN, &copy);
	}
	/* The last one may have gone while init was busy. */
	if (!is_frozen(m))
		thaw(m);
}

static void handle_init(struct monitor *m)
{
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet packet = PACKET_INIT;
	uint32_t status;

	int result = packet_receive(m->started.control, false, &packet, &err);

	if (result == 2)
		return;
	if (result != 0) {
		m->ended = true;
		return;
	}
	bool first = packet.id <= FIRST_COMMAND;

	if (packet.type == MESSAGE_FROZEN)
		frozen(m, &packet);
	else if (first && packet.type == MESSAGE_STARTED && !m->running)
		first_started(m, &packet);
	else if (first && packet.type == MESSAGE_FAILED && !m->running)
		first_failed(m, &packet);
	else if (first && packet.type == MESSAGE_EXITED &&
		 packet_get_u32(&packet, &status, &err) == 0) {
		m->status = (int)status;
		/* Init closes the socket when the last of the others has ended. */
		m->ended = !m->request->linger;
	} else if (!first) {
		pass_on(m, &packet);
	}
}

/* The loop. */

enum { POLL_CONTROL, POLL_SIGNALS, POLL_LISTENER, POLL_IO, POLL_CLIENTS = POLL_IO + STDIO_POLLS };

static int poll_timeout(const struct monitor *m, bool held_up)
{
	int64_t left = m->kill_at ? m->kill_at - now_ms() : -1;

	if (m->kill_at && left < 0)
		left = 0;
	if (held_up && (left < 0 || left > CLIENT_PATIENCE_MS))
		left = CLIENT_PATIENCE_MS;
	return left > 3600000 ? 3600000 : (int)left;
}

static void poll_clients(const struct monitor *m, struct pollfd *polled)
{
	for (size_t i = 0; i < m->client_count; i++) {
		const struct client *client = &m->clients[i];
		/* What is typed waits in the socket while the command does not read. */
		bool full = client->attached && relay_is_full(&m->io.relay);

		polled[i] = (struct pollfd){
			.fd = client->fd,
			.events = (short)((full ? 0 : POLLIN) | (client->behind.len ? POLLOUT : 0)),
		};
	}
}

static void turn_clients(struct monitor *m, const struct pollfd *polled, size_t count)
{
	/*
	 * From the last: one that is dropped is replaced by the last, which was handled. Output
	 * may have dropped one already: its slot is then another's, whose turn comes again.
	 */
	for (size_t i = count; i-- > 0;) {
		short events = polled[i].revents;

		if (i >= m->client_count || m->clients[i].fd != polled[i].fd)
			continue;
		if (m->clients[i].behind.len)
			catch_up(m, &m->clients[i]);
		if (i < m->client_count && m->clients[i].fd == polled[i].fd &&
		    events & (POLLIN | POLLHUP | POLLERR))
			handle_client(m, &m->clients[i]);
	}
}

static int turn(struct monitor *m, struct error *err)
{
	struct pollfd polled[POLL_CLIENTS + CLIENTS_MAX];
	size_t clients = m->client_count;
	bool held_up = is_held_up(m);

	polled[POLL_CONTROL] = (struct pollfd){.fd = m->started.control, .events = POLLIN};
	polled[POLL_SIGNALS] = (struct pollfd){.fd = m->signals, .events = POLLIN};
	polled[POLL_LISTENER] =
		(struct pollfd){.fd = clients < CLIENTS_MAX ? m->listener : -1, .events = POLLIN};
	stdio_poll(&m->io, held_up, &polled[POLL_IO]);
	poll_clients(m, &polled[POLL_CLIENTS]);
	if (poll(polled, POLL_CLIENTS + clients, poll_timeout(m, held_up)) < 0) {
		/* Nothing is known of any of them. */
		return errno == EINTR ? 0 : error_errno(err, "cannot wait for events");
	}
	if (m->kill_at && now_ms() >= m->kill_at)
		kill(m->started.pid, SIGKILL);
	stdio_turn(&m->io, &polled[POLL_IO]);
	turn_clients(m, &polled[POLL_CLIENTS], clients);
	if (polled[POLL_LISTENER].revents)
		accept_client(m);
	if (polled[POLL_SIGNALS].revents)
		handle_signals(m);
	if (polled[POLL_CONTROL].revents)
		handle_init(m);
	return 0;
}

static int loop(struct monitor *m, struct error *err)
{
	int result = 0;

	while (!m->ended && result == 0)
		result = turn(m, err);
	return result;
}

/* The end. */

static void tell_clients(struct monitor *m)
{
	for (size_t i = m->client_count; i-- > 0;) {
		struct client *client = &m->clients[i];
		autopacket struct packet packet = PACKET_INIT;

		/*
		 * A command of `exec` that is still there dies with the sandbox. One whose request
		 * was not read any more has not run at all, and may be tried again.
		 */
		if (!client->command && !client->attached) {
			refuse(m, client, "it is ending");
			continue;
		}
		packet_put_u32(&packet, client->command ? SIGKILL : (uint32_t)m->status);
		answer(m, client, MESSAGE_EXITED, &packet);
	}
}

static void release(struct monitor *m)
{
	for (size_t i = 0; i < m->client_count; i++) {
		fd_close(&m->clients[i].fd);
		str_release(&m->clients[i].behind);
		packet_release(&m->clients[i].command_later);
	}
	if (m->listener >= 0)
		unlinkat(m->request->sandbox->fd, "control", 0);
	fd_close(&m->listener);
	fd_close(&m->signals);
	fd_close(&m->log);
	fd_close(&m->started.control);
	m->cgroup = cgroup_remove(m->cgroup);
	error_clear(&m->failure);
}

static int conclude(struct monitor *m, int init_status, int *ret_status, const char **ret_ended,
		    struct error *err)
{
	if (error_is_set(&m->failure)) {
		*ret_status = m->failed_status;
		*err = m->failure;
		m->failure = (struct error)ERROR_INIT;
		return -1;
	}
	/* Init was killed before it could tell. */
	if (m->status < 0)
		m->status = WIFSIGNALED(init_status) ? WTERMSIG(init_status) : SIGKILL;
	*ret_status = exit_status_of(m->status);
	if (m->cgroup && cgroup_hit_memory_limit(m->cgroup))
		*ret_ended = "its memory limit was reached";
	return 0;
}

static int prepare(struct monitor *m, struct packet *first, struct error *err)
{
	const struct monitor_request *request = m->request;
	const struct cgroup_limits *limits = &request->plan->limits;

	request->spawn->linger = request->linger;
	m->io.seen = see_output;
	m->io.data = m;
	if (lifetime_await(request->lease, err) < 0 ||
	    stdio_open(&m->io, request->detached, request->spawn, first, err) < 0 ||
	    ((limits->memory || limits->pids || limits->cpu_milli) &&
	     cgroup_create(request->sandbox->name, limits, &m->cgroup, err) < 0) ||
	    open_log(m, err) < 0 || catch_signals(m, err) < 0 || listen_for_clients(m, err) < 0 ||
	    sandbox_start(request->root, request->plan, request->sandbox, request->forgetful,
			  m->cgroup, &m->started, err) < 0)
		return -1;
	return lifetime_note(request->lease, m->started.pid, err);
}

/* From init's start to its end, whatever happens in between. */
static int supervise(struct monitor *m, struct packet *first, int *ret_status,
		     const char **ret_ended, struct error *err)
{
	int init_status = 0;
	int result = send_first(m, first, err);

	/* The command's ends of its streams are the command's alone from now on. */
	packet_release(first);
	if (result == 0)
		result = loop(m, err);
	/* Init ends with the first command; without one it would wait for ever. */
	if (result < 0 || !m->running)
		kill(m->started.pid, SIGKILL);
	if (wait_for(m->started.pid, &init_status) < 0)
		result = error_errno(err, "cannot wait for the sandbox");
	if (lifetime_clear(m->request->lease, err) < 0)
		result = -1;
	stdio_finish(&m->io);
	if (result == 0)
		result = conclude(m, init_status, ret_status, ret_ended, err);
	tell_clients(m);
	return result;
}

int monitor_run(const struct monitor_request *request, int *ret_status, const char **ret_ended,
		struct error *err)
{
	autopacket struct packet first = PACKET_INIT;
	struct monitor m = {
		.request = request,
		.io = STDIO_INIT,
		.started = {-1, -1},
		.listener = -1,
		.signals = -1,
		.log = -1,
		.next_command = FIRST_COMMAND,
		.status = -1,
	};

	*ret_ended = NULL;
	int result = prepare(&m, &first, err);

	if (result < 0) {
		tell_ready(&m, err);
		if (m.started.pid > 0) {
			kill(m.started.pid, SIGKILL);
			wait_for(m.started.pid, &m.status);
		}
		stdio_finish(&m.io);
	} else {
		result = supervise(&m, &first, ret_status, ret_ended, err);
	}
	release(&m);
	return result;
}
