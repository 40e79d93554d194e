#include "guest/init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/packet.h"
#include "base/spawn.h"
#include "guest/changes.h"
#include "guest/freeze.h"
#include "guest/notify.h"

struct command {
	uint32_t id;
	pid_t pid;
};

struct init {
	int control;
	int signals;
	struct changes changes;
	struct command *commands;
	size_t count;
	struct listener *listeners; /* of commands that run, or have left something running */
	size_t listener_count;
	struct worker *workers;
	size_t worker_count;
	int working; /* a pipe that is open as long as a child of notify.h works, and its lock */
	int worked;  /* its end for reading */
	bool linger;
	struct freeze freeze;
};

enum { FIRST_COMMAND = 1 };

static void reply(const struct init *init, uint32_t type, uint32_t id, struct packet *packet)
{
	autoerror struct error ignored = ERROR_INIT;

	/* A monitor that is gone is noticed by poll(2). */
	packet_send(init->control, type, id, packet, &ignored);
}

static void reply_failed(const struct init *init, uint32_t id, int number, const char *what)
{
	autopacket struct packet packet = PACKET_INIT;

	packet_put_u32(&packet, (uint32_t)number);
	packet_put_string(&packet, what);
	reply(init, MESSAGE_FAILED, id, &packet);
}

/* A pty of the sandbox's own devpts: the master for the monitor, the slave for the command. */
static int open_pty(const struct spawn *spawn, int *ret_master, int *ret_slave)
{
	struct winsize size = {
		.ws_row = (unsigned short)spawn->rows,
		.ws_col = (unsigned short)spawn->columns,
	};
	int unlock = 0;
	autofd int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0 ||
	    ioctl(master, TIOCSWINSZ, &size) < 0)
		return -1;
	int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (slave < 0)
		return -1;
	*ret_master = steal_fd(&master);
	*ret_slave = slave;
	return 0;
}

static void reset_signals(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		sigaction(number, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What a command could not do, as init words it and the child reports it. */
enum step {
	STEP_START,
	STEP_SESSION,
	STEP_TERMINAL,
	STEP_STREAMS,
	STEP_DIRECTORY,
	STEP_LISTEN,
	STEP_RUN,
};

static const char *const step_names[] = {
	[STEP_START] = "start",
	[STEP_SESSION] = "start a session for",
	[STEP_TERMINAL] = "give a terminal to",
	[STEP_STREAMS] = "connect standard input and output of",
	[STEP_DIRECTORY] = "enter the directory of",
	[STEP_LISTEN] = "listen to",
	[STEP_RUN] = "run",
};

struct failure {
	int number;
	enum step step;
};

/*
 * In the child. Without a listener the command runs all the same, with overlayfs as it is. With
 * one, init has to have it: it is sent ahead of whatever the command does.
 */
static int be_listened_to(int report)
{
	autopacket struct packet packet = PACKET_INIT;
	autoerror struct error err = ERROR_INIT;
	int listener = notify_install();

	if (listener < 0)
		return 0;
	packet_give_fd(&packet, listener);
	return packet_send(report, MESSAGE_STARTED, 0, &packet, &err) == 0 ? 0 : -1;
}

/* In the child. Returns only on failure, with what could not be done. */
static enum step become(const struct spawn *spawn, struct packet *packet, int slave, int report)
{
	int streams[3];

	reset_signals();
	if (setsid() < 0)
		return STEP_SESSION;
	if (spawn->terminal && ioctl(slave, TIOCSCTTY, 0) < 0)
		return STEP_TERMINAL;
	for (int i = 0; i < 3; i++)
		streams[i] = spawn->terminal & 1U << i ? slave : packet_take_fd(packet);
	for (int i = 0; i < 3; i++)
		if (streams[i] < 0 || dup2(streams[i], i) < 0)
			return STEP_STREAMS;
	changes_forget();
	if (chdir(spawn->directory) < 0 && chdir(spawn->fallback) < 0 && chdir("/") < 0)
		return STEP_DIRECTORY;
	if (be_listened_to(report) < 0)
		return STEP_LISTEN;
	environ = spawn->env.items;
	execvp(spawn->argv.items[0], spawn->argv.items);
	return STEP_RUN;
}

static void report_failure(int report, const struct failure *failure)
{
	autopacket struct packet packet = PACKET_INIT;
	autoerror struct error ignored = ERROR_INIT;

	packet_put_u32(&packet, (uint32_t)failure->number);
	packet_put_u32(&packet, failure->step);
	packet_send(report, MESSAGE_FAILED, 0, &packet, &ignored);
}

/*
 * Waits for a child's word. Another process of the sandbox can stop the child before it has become
 * the command; init has others to serve.
 */
static bool await(int report, pid_t pid)
{
	enum { PATIENCE_MS = 10000, STEP_MS = 100 };
	struct pollfd polled = {.fd = report, .events = POLLIN};

	for (int spent = 0; spent < PATIENCE_MS; spent += STEP_MS) {
		if (poll(&polled, 1, STEP_MS) > 0)
			return true;
		kill(pid, SIGCONT);
	}
	return false;
}

/*
 * The child sends the listener, and why it could not be; the end means that it runs. Returns 0, or
 * -1 with *ret_failure.
 */
static int hear(int report, pid_t pid, int *ret_listener, struct failure *ret_failure)
{
	for (;;) {
		autoerror struct error err = ERROR_INIT;
		autopacket struct packet packet = PACKET_INIT;
		uint32_t number, step;

		if (!await(report, pid)) {
			*ret_failure = (struct failure){ETIMEDOUT, STEP_START};
			return -1;
		}
		int result = packet_receive(report, false, &packet, &err);

		if (result == 1)
			return 0;
		if (result == 0 && packet.type == MESSAGE_STARTED && packet.fd_count == 1) {
			*ret_listener = packet_take_fd(&packet);
			continue;
		}
		if (result == 0 && packet_get_u32(&packet, &number, &err) == 0 &&
		    packet_get_u32(&packet, &step, &err) == 0 && step < ARRAY_SIZE(step_names))
			*ret_failure = (struct failure){(int)number, (enum step)step};
		else
			*ret_failure = (struct failure){EPROTO, STEP_START};
		return -1;
	}
}

/* Starts a command. Returns its pid, or -1 with *ret_failure. */
static pid_t start(const struct spawn *spawn, struct packet *packet, int *ret_master,
		   int *ret_listener, struct failure *ret_failure)
{
	int report[2] = {-1, -1};
	autofd int slave = -1;
	autofd int master = -1;
	autofd int listener = -1;
	pid_t pid = -1;

	if ((!spawn->terminal || open_pty(spawn, &master, &slave) == 0) &&
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, report) == 0)
		pid = fork();
	if (pid == 0) {
		struct failure failure = {.step = become(spawn, packet, slave, report[1])};

		failure.number = errno;
		report_failure(report[1], &failure);
		_exit(127);
	}
	*ret_failure = (struct failure){errno, STEP_START};
	fd_close(&report[1]);
	bool failed = pid > 0 && hear(report[0], pid, &listener, ret_failure) < 0;

	fd_close(&report[0]);
	if (failed) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return -1;
	}
	*ret_master = steal_fd(&master);
	*ret_listener = steal_fd(&listener);
	return pid;
}

static void add_listener(struct init *init, int fd)
{
	notify_prepare(fd);
	init->listeners =
		xreallocarray(init->listeners, init->listener_count + 1, sizeof *init->listeners);
	init->listeners[init->listener_count++] =
		(struct listener){.fd = fd, .lock = init->working};
}

static void handle_spawn(struct init *init, struct packet *packet)
{
	autoerror struct error err = ERROR_INIT;
	autospawn struct spawn spawn = {0};
	autopacket struct packet answer = PACKET_INIT;
	struct failure failure;
	int master = -1, listener = -1;

	if (spawn_decode(packet, &spawn, &err) < 0) {
		reply_failed(init, packet->id, EPROTO, "understand the request");
		return;
	}
	pid_t pid = start(&spawn, packet, &master, &listener, &failure);

	if (pid < 0) {
		reply_failed(init, packet->id, failure.number, step_names[failure.step]);
		return;
	}
	if (listener >= 0)
		add_listener(init, listener);
	if (packet->id == FIRST_COMMAND)
		init->linger = spawn.linger != 0;
	init->commands = xreallocarray(init->commands, init->count + 1, sizeof *init->commands);
	init->commands[init->count++] = (struct command){packet->id, pid};
	if (master >= 0)
		packet_give_fd(&answer, master);
	reply(init, MESSAGE_STARTED, packet->id, &answer);
}

static void handle_signal(const struct init *init, struct packet *packet)
{
	autoerror struct error err = ERROR_INIT;
	uint32_t number;

	if (packet_get_u32(packet, &number, &err) < 0 || number == 0 || number >= NSIG)
		return;
	for (size_t i = 0; i < init->count; i++)
		if (init->commands[i].id == packet->id)
			kill(-init->commands[i].pid, (int)number);
}

static bool reap(struct init *init);

/*
 * What a worker has begun it ends: in the middle of a rename no directory is what anybody made it.
 * Nobody asks for another one meanwhile, because all who could are stopped.
 */
static void finish_workers(struct init *init)
{
	enum { WORKER_MS = 10, TRIES = 1000 };

	for (int i = 0; i < TRIES && init->worker_count; i++) {
		for (size_t k = 0; k < init->worker_count; k++)
			kill(init->workers[k].pid, SIGCONT);
		poll(&(struct pollfd){.fd = init->signals, .events = POLLIN}, 1, WORKER_MS);
		reap(init);
	}
}

static void handle_freeze(struct init *init)
{
	autopacket struct packet answer = PACKET_INIT;
	int failed = 0;

	if (!init->freeze.frozen) {
		freeze_begin(&init->freeze);
		finish_workers(init);
		failed = freeze_await(&init->freeze) < 0 ? errno : 0;
	}
	packet_put_u32(&answer, (uint32_t)failed);
	reply(init, MESSAGE_FROZEN, 0, &answer);
}

/* Returns whether the monitor is still there. */
static bool handle_message(struct init *init)
{
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet packet = PACKET_INIT;

	if (packet_receive(init->control, true, &packet, &err) != 0)
		return false;
	switch (packet.type) {
	case MESSAGE_SPAWN:
		handle_spawn(init, &packet);
		break;
	case MESSAGE_SIGNAL:
		handle_signal(init, &packet);
		break;
	case MESSAGE_STOP:
		kill(-1, SIGTERM);
		break;
	case MESSAGE_FREEZE:
		handle_freeze(init);
		break;
	case MESSAGE_THAW:
		freeze_thaw(&init->freeze);
		break;
	default:
		break;
	}
	return true;
}

static void bury_worker(struct init *init, pid_t pid)
{
	for (size_t i = 0; i < init->worker_count; i++) {
		if (init->workers[i].pid != pid)
			continue;
		notify_bury(&init->workers[i]);
		init->workers[i] = init->workers[--init->worker_count];
		return;
	}
}

static bool is_worker(const struct init *init, pid_t pid)
{
	for (size_t i = 0; i < init->worker_count; i++)
		if (init->workers[i].pid == pid)
			return true;
	return false;
}

/* Returns whether there is a reason to go on: the first command, or any while init lingers. */
static bool reap(struct init *init)
{
	bool going_on = true;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		bury_worker(init, pid);
		for (size_t i = 0; i < init->count; i++) {
			if (init->commands[i].pid != pid)
				continue;
			autopacket struct packet packet = PACKET_INIT;
			uint32_t id = init->commands[i].id;

			packet_put_u32(&packet, (uint32_t)status);
			reply(init, MESSAGE_EXITED, id, &packet);
			init->commands[i] = init->commands[--init->count];
			going_on = init->linger ? init->count > 0 : going_on && id != FIRST_COMMAND;
			break;
		}
	}
	return going_on;
}

static void kill_others(const struct init *init)
{
	autodir DIR *proc = opendir("/proc");

	for (const struct dirent *entry; proc && (entry = readdir(proc));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 1 && !is_worker(init, pid))
			kill(pid, SIGKILL);
	}
}

/*
 * What a command asked for is not left half done because it, or another one, has ended. All others
 * are killed first, so that nobody can hold a worker up; there may have been time to stop it.
 */
static int finish(struct init *init)
{
	enum { WORKER_MS = 10 };
	struct pollfd polled = {.fd = init->worked};

	fd_close(&init->working);
	while (init->worker_count) {
		poll(&polled, 1, WORKER_MS);
		kill_others(init);
		for (size_t i = 0; i < init->worker_count; i++)
			kill(init->workers[i].pid, SIGCONT);
		reap(init);
	}
	return 0;
}

static int prepare(struct init *init, char *const *names)
{
	int pipe[2];
	sigset_t all;

	/* Not even the sandbox's own processes may look into this one. */
	prctl(PR_SET_DUMPABLE, 0);
	/* Who has the control socket speaks to the monitor as init: no command may inherit it (T1). */
	if (fcntl(init->control, F_SETFD, FD_CLOEXEC) < 0 ||
	    changes_start(&init->changes, names) < 0 || pipe2(pipe, O_CLOEXEC) < 0)
		return -1;
	init->worked = pipe[0];
	init->working = pipe[1];
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	init->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	return init->signals < 0 ? -1 : 0;
}

static bool handle_signals(struct init *init)
{
	struct signalfd_siginfo info;

	while (read(init->signals, &info, sizeof info) > 0)
		;
	return reap(init);
}

static void serve(struct init *init, struct listener *listener)
{
	struct worker worker;

	if (!notify_serve(listener, &worker))
		return;
	init->workers = xreallocarray(init->workers, init->worker_count + 1, sizeof *init->workers);
	init->workers[init->worker_count++] = worker;
}

/* Backwards, because the last one takes the place of one that is gone. */
static void handle_listeners(struct init *init, const struct pollfd *polled)
{
	for (size_t i = init->listener_count; i-- > 0;) {
		if (polled[i].revents & POLLIN) {
			serve(init, &init->listeners[i]);
		} else if (polled[i].revents) {
			/* Nobody has that filter any more. */
			fd_close(&init->listeners[i].fd);
			init->listeners[i] = init->listeners[--init->listener_count];
		}
	}
}

int init_serve(int control, char *const *names)
{
	struct init init = {.control = control, .signals = -1, .working = -1, .worked = -1};

	if (prepare(&init, names) < 0)
		return 125;
	for (;;) {
		enum { CONTROL, SIGNALS, CHANGES, LISTENERS = CHANGES + CHANGES_POLLS };
		size_t count = LISTENERS + init.listener_count;
		autofree struct pollfd *polled = xcalloc(count, sizeof *polled);

		polled[CONTROL] = (struct pollfd){.fd = init.control, .events = POLLIN};
		polled[SIGNALS] = (struct pollfd){.fd = init.signals, .events = POLLIN};
		changes_poll(&init.changes, polled + CHANGES);
		for (size_t i = 0; i < init.listener_count; i++)
			polled[LISTENERS + i] =
				(struct pollfd){.fd = init.listeners[i].fd, .events = POLLIN};
		if (poll(polled, count, -1) < 0 && errno != EINTR)
			return 125;
		handle_listeners(&init, polled + LISTENERS);
		if (polled[SIGNALS].revents && !handle_signals(&init))
			return finish(&init);
		if (polled[CONTROL].revents && !handle_message(&init))
			return finish(&init);
		changes_turn(&init.changes, polled + CHANGES);
	}
}
