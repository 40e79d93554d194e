#include "guest/init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/packet.h"
#include "base/spawn.h"

struct command {
	uint32_t id;
	pid_t pid;
};

struct init {
	int control;
	int signals;
	struct command *commands;
	size_t count;
	bool linger;
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
enum step { STEP_START, STEP_SESSION, STEP_TERMINAL, STEP_STREAMS, STEP_DIRECTORY, STEP_RUN };

static const char *const step_names[] = {
	[STEP_START] = "start",
	[STEP_SESSION] = "start a session for",
	[STEP_TERMINAL] = "give a terminal to",
	[STEP_STREAMS] = "connect standard input and output of",
	[STEP_DIRECTORY] = "enter the directory of",
	[STEP_RUN] = "run",
};

struct failure {
	int number;
	enum step step;
};

/* In the child. Returns only on failure, with what could not be done. */
static enum step become(const struct spawn *spawn, struct packet *packet, int slave)
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
	if (chdir(spawn->directory) < 0 && chdir(spawn->fallback) < 0 && chdir("/") < 0)
		return STEP_DIRECTORY;
	environ = spawn->env.items;
	execvp(spawn->argv.items[0], spawn->argv.items);
	return STEP_RUN;
}

/* The child says why it could not be; the end of the pipe means that it runs. */
static bool hear_failure(int fd, struct failure *ret)
{
	struct failure failure;
	ssize_t n;

	do
		n = read(fd, &failure, sizeof failure);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof failure)
		return false;
	*ret = failure;
	return true;
}

/* Starts a command. Returns its pid, or -1 with *ret_failure. */
static pid_t start(const struct spawn *spawn, struct packet *packet, int *ret_master,
		   struct failure *ret_failure)
{
	int report[2] = {-1, -1};
	autofd int slave = -1;
	autofd int master = -1;
	pid_t pid = -1;

	if ((!spawn->terminal || open_pty(spawn, &master, &slave) == 0) &&
	    pipe2(report, O_CLOEXEC) == 0)
		pid = fork();
	if (pid == 0) {
		struct failure failure = {.step = become(spawn, packet, slave)};

		failure.number = errno;
		while (write(report[1], &failure, sizeof failure) < 0 && errno == EINTR)
			;
		_exit(127);
	}
	*ret_failure = (struct failure){errno, STEP_START};
	fd_close(&report[1]);
	bool failed = pid > 0 && hear_failure(report[0], ret_failure);

	fd_close(&report[0]);
	if (failed) {
		waitpid(pid, NULL, 0);
		return -1;
	}
	*ret_master = steal_fd(&master);
	return pid;
}

static void handle_spawn(struct init *init, struct packet *packet)
{
	autoerror struct error err = ERROR_INIT;
	autospawn struct spawn spawn = {0};
	autopacket struct packet answer = PACKET_INIT;
	struct failure failure;
	int master = -1;

	if (spawn_decode(packet, &spawn, &err) < 0) {
		reply_failed(init, packet->id, EPROTO, "understand the request");
		return;
	}
	pid_t pid = start(&spawn, packet, &master, &failure);

	if (pid < 0) {
		reply_failed(init, packet->id, failure.number, step_names[failure.step]);
		return;
	}
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
	default:
		break;
	}
	return true;
}

/* Returns whether there is a reason to go on: the first command, or any while init lingers. */
static bool reap(struct init *init)
{
	bool going_on = true;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
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

int init_serve(int control)
{
	struct init init = {.control = control};
	sigset_t all;

	/* Not even the sandbox's own processes may look into this one. */
	prctl(PR_SET_DUMPABLE, 0);
	/* Who has the control socket speaks to the monitor as init: no command may inherit it (T1). */
	if (fcntl(control, F_SETFD, FD_CLOEXEC) < 0)
		return 125;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	init.signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (init.signals < 0)
		return 125;
	for (;;) {
		struct pollfd polled[2] = {
			{.fd = init.control, .events = POLLIN},
			{.fd = init.signals, .events = POLLIN},
		};

		if (poll(polled, 2, -1) < 0 && errno != EINTR)
			return 125;
		if (polled[1].revents) {
			struct signalfd_siginfo info;

			while (read(init.signals, &info, sizeof info) > 0)
				;
			if (!reap(&init))
				return 0;
		}
		if (polled[0].revents && !handle_message(&init))
			return 0;
	}
}
