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

/* In the child. Returns only on failure, with what could not be done. */
static const char *become(const struct spawn *spawn, struct packet *packet, int slave)
{
	int streams[3];

	reset_signals();
	if (setsid() < 0)
		return "start a session";
	if (spawn->terminal && ioctl(slave, TIOCSCTTY, 0) < 0)
		return "take the terminal";
	for (int i = 0; i < 3; i++)
		streams[i] = spawn->terminal & 1U << i ? slave : packet_take_fd(packet);
	for (int i = 0; i < 3; i++)
		if (streams[i] < 0 || dup2(streams[i], i) < 0)
			return "connect standard input and output";
	if (chdir(spawn->directory) < 0 && chdir(spawn->fallback) < 0 && chdir("/") < 0)
		return "enter the directory";
	environ = spawn->env.items;
	execvp(spawn->argv.items[0], spawn->argv.items);
	return "run";
}

static void tell_parent(int fd, int number, const char *what)
{
	char text[128] = {0};

	memcpy(text, &number, sizeof number);
	memcpy(text + sizeof number, what, strnlen(what, sizeof text - sizeof number - 1));
	while (write(fd, text, sizeof text) < 0 && errno == EINTR)
		;
}

/* Starts a command; on failure *ret_what says at which step, with errno. */
static pid_t start(const struct spawn *spawn, struct packet *packet, int *ret_master,
		   char ret_what[128])
{
	int report[2];
	autofd int slave = -1;
	autofd int master = -1;

	memcpy(ret_what, "start", sizeof "start");
	if (spawn->terminal && open_pty(spawn, &master, &slave) < 0)
		return -1;
	if (pipe2(report, O_CLOEXEC) < 0)
		return -1;
	pid_t pid = fork();

	if (pid == 0) {
		const char *what = become(spawn, packet, slave);

		tell_parent(report[1], errno, what);
		_exit(127);
	}
	int saved = errno;

	fd_close(&report[1]);
	char text[128];
	ssize_t n = 0;

	while (pid > 0 && (n = read(report[0], text, sizeof text)) < 0 && errno == EINTR)
		;
	fd_close(&report[0]);
	errno = saved;
	if (pid > 0 && n == (ssize_t)sizeof text) {
		/* The child says why it could not be; the end of the pipe means that it runs. */
		waitpid(pid, NULL, 0);
		memcpy(&errno, text, sizeof errno);
		memcpy(ret_what, text + sizeof errno, sizeof text - sizeof errno);
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
	char what[128] = "";
	int master = -1;

	if (spawn_decode(packet, &spawn, &err) < 0) {
		reply_failed(init, packet->id, EPROTO, "understand the request");
		return;
	}
	pid_t pid = start(&spawn, packet, &master, what);

	if (pid < 0) {
		reply_failed(init, packet->id, errno, what);
		return;
	}
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

/* Returns whether the first command is still running. */
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
			going_on = going_on && id != FIRST_COMMAND;
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
