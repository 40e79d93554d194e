#include "run/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

enum {
	PUMP_FULL = 65536,
	CHUNK = 32768,
	PATIENCE_MS = 2000, /* with a reader that takes nothing, at the end */
};

/* Pumps. */

static void pump_poll(const struct pump *pump, struct pollfd *from, struct pollfd *to)
{
	bool full = pump->pending.len >= PUMP_FULL;

	*from = (struct pollfd){.fd = full ? -1 : pump->from, .events = POLLIN};
	*to = (struct pollfd){.fd = pump->pending.len ? pump->to : -1, .events = POLLOUT};
}

static void pump_push(struct pump *pump)
{
	while (pump->pending.len && pump->to >= 0) {
		ssize_t n = write(pump->to, pump->pending.s, pump->pending.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			/* Nobody listens, or the disk is full: the command gets to know by SIGPIPE. */
			fd_close(&pump->to);
			fd_close(&pump->from);
			str_clear(&pump->pending);
			return;
		}
		str_drop(&pump->pending, (size_t)n);
	}
	if (!pump->pending.len && pump->from < 0 && !pump->fed)
		fd_close(&pump->to);
}

/* Returns whether there may be more. */
static bool pump_pull(struct pump *pump)
{
	char buffer[CHUNK];
	ssize_t n = read(pump->from, buffer, sizeof buffer);

	if (n > 0) {
		str_add_bytes(&pump->pending, buffer, (size_t)n);
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		fd_close(&pump->from);
	return n < 0 && errno == EINTR;
}

static void pump_turn(struct pump *pump, const struct pollfd *from, const struct pollfd *to)
{
	if (from->revents && pump->from >= 0)
		pump_pull(pump);
	if (pump->to >= 0 && (to->revents || pump->pending.len || pump->from < 0))
		pump_push(pump);
}

static void pump_finish(struct pump *pump)
{
	/* Everybody who could write is dead: what is in the pipe is all there is. */
	while (pump->from >= 0 && pump->to >= 0 && pump_pull(pump))
		pump_push(pump);
	for (struct pollfd to = {.events = POLLOUT}; pump->pending.len && pump->to >= 0;) {
		to.fd = pump->to;
		if (poll(&to, 1, PATIENCE_MS) == 0)
			break;
		pump_push(pump);
	}
	fd_close(&pump->from);
	fd_close(&pump->to);
	str_release(&pump->pending);
}

/* Opening. */

/*
 * A terminal of the caller's, opened anew: non-blocking is a property of the open file, and this
 * one is shared with the caller's shell. Where that is not allowed the writes may block.
 */
static int open_terminal(int fd)
{
	int own = open(fd_path(fd).s, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* Puts a pipe between the caller's stream and the command. *ret_theirs is the command's end. */
static int open_pump(struct pump *pump, int stream, int *ret_theirs, struct error *err)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, "cannot make a pipe");
	int mine = ends[stream == STDIN_FILENO ? 1 : 0];
	int theirs = ends[stream == STDIN_FILENO ? 0 : 1];
	int caller = fcntl(stream, F_DUPFD_CLOEXEC, 3);

	if (caller < 0 || fcntl(mine, F_SETFL, O_NONBLOCK) < 0) {
		error_errno(err, "cannot make a pipe");
		fd_close(&caller);
		fd_close(&mine);
		fd_close(&theirs);
		return -1;
	}
	pump->from = stream == STDIN_FILENO ? caller : mine;
	pump->to = stream == STDIN_FILENO ? mine : caller;
	*ret_theirs = theirs;
	return 0;
}

static bool same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino && x.st_rdev == y.st_rdev;
}

static int add_stream(struct stdio *io, int stream, int *output, struct packet *packet,
		      struct error *err)
{
	int fd;
	int result = streams_open(stream, &fd, err);

	/* `> log 2>&1`: through one pipe, so that the lines keep their order. */
	if (result == 1 && stream == STDERR_FILENO && *output >= 0 &&
	    same_file(STDOUT_FILENO, STDERR_FILENO)) {
		fd = fcntl(*output, F_DUPFD_CLOEXEC, 3);
		result = fd < 0 ? error_errno(err, "cannot duplicate a pipe") : 0;
	} else if (result == 1) {
		result = open_pump(&io->pumps[stream], stream, &fd, err);
		if (result == 0 && stream == STDOUT_FILENO)
			*output = fd; /* the packet's */
	}
	if (result < 0)
		return -1;
	packet_give_fd(packet, fd);
	return 0;
}

int stdio_open(struct stdio *io, bool detached, struct spawn *spawn, struct packet *packet,
	       struct error *err)
{
	int output = -1;

	if (detached)
		io->streams =
			(struct streams){.terminal = 7, .output = -1, .rows = 24, .columns = 80};
	else if (streams_examine(&io->streams, err) < 0)
		return -1;
	spawn->terminal = io->streams.terminal;
	spawn->rows = io->streams.rows;
	spawn->columns = io->streams.columns;
	if (io->streams.output >= 0)
		io->output.to = open_terminal(io->streams.output);
	for (int i = 0; i < 3; i++)
		if (!(spawn->terminal & 1U << i) && add_stream(io, i, &output, packet, err) < 0)
			return -1;
	return 0;
}

void stdio_started(struct stdio *io, int master)
{
	if (master >= 0 && isatty(master) && fcntl(master, F_SETFL, O_NONBLOCK) == 0)
		io->relay.master = steal_fd(&master);
	fd_close(&master);
	if (io->streams.interactive) {
		io->raw = terminal_raw(STDIN_FILENO, &io->saved) == 0;
		io->relay.input = STDIN_FILENO;
	}
	relay_flush(&io->relay);
}

/* The loop. */

void stdio_poll(const struct stdio *io, bool hold, struct pollfd *polled)
{
	struct pollfd none;

	relay_poll(&io->relay, &polled[0], &polled[1]);
	if (hold || io->output.pending.len >= PUMP_FULL) {
		polled[1].events = (short)(polled[1].events & ~POLLIN);
		/* A hang-up is always reported; it would turn the loop while nobody looks. */
		if (!polled[1].events)
			polled[1].fd = -1;
	}
	pump_poll(&io->output, &none, &polled[2]);
	for (size_t i = 0; i < STDIO_PUMPS; i++)
		pump_poll(&io->pumps[i], &polled[3 + 2 * i], &polled[4 + 2 * i]);
}

/* Returns whether something was read. */
static bool print(struct stdio *io)
{
	char buffer[CHUNK];
	ssize_t n = relay_read(&io->relay, buffer, sizeof buffer);

	if (n <= 0)
		return false;
	if (io->seen)
		io->seen(io->data, buffer, (size_t)n);
	if (io->output.to >= 0)
		str_add_bytes(&io->output.pending, buffer, (size_t)n);
	return true;
}

void stdio_turn(struct stdio *io, const struct pollfd *polled)
{
	relay_input(&io->relay, &polled[0]);
	if (polled[1].revents & POLLOUT)
		relay_flush(&io->relay);
	if (polled[1].revents & (POLLIN | POLLHUP | POLLERR))
		print(io);
	pump_push(&io->output);
	for (size_t i = 0; i < STDIO_PUMPS; i++)
		pump_turn(&io->pumps[i], &polled[3 + 2 * i], &polled[4 + 2 * i]);
}

void stdio_set_size(struct stdio *io, uint32_t rows, uint32_t columns)
{
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};

	if (io->relay.master >= 0)
		ioctl(io->relay.master, TIOCSWINSZ, &size);
}

void stdio_resize(struct stdio *io)
{
	if (io->streams.output < 0)
		return;
	terminal_size(io->streams.output, &io->streams.rows, &io->streams.columns);
	stdio_set_size(io, io->streams.rows, io->streams.columns);
}

void stdio_finish(struct stdio *io)
{
	struct pollfd master = {.events = POLLIN};

	/* poll(2) on a pty makes the kernel deliver what was written to the other side. */
	while (io->relay.master >= 0) {
		master.fd = io->relay.master;
		if (poll(&master, 1, 0) <= 0 || !print(io))
			break;
		pump_push(&io->output);
	}
	pump_finish(&io->output);
	for (size_t i = 0; i < STDIO_PUMPS; i++)
		pump_finish(&io->pumps[i]);
	if (io->raw)
		terminal_restore(STDIN_FILENO, &io->saved);
	relay_release(&io->relay);
}
