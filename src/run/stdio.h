/*
 * stdio: the standard streams of one command, between the caller and the sandbox.
 *
 * A pipe or a socket of the caller is handed to the command as it is. A terminal is replaced by
 * a pty of the sandbox. Everything else (a regular file, a device) is relayed through a pipe:
 * whoever holds an open file can open it again through /proc/self/fd with other rights than it
 * was opened with, truncate a log that is only appended to, or write what is only to be read
 * (principle 1, T1).
 *
 *   stdio_open(&io, detached, spawn, packet, err)   fills the request for init
 *   stdio_started(&io, master)                      init has answered
 *   stdio_poll() / stdio_turn()                     in the event loop
 *   stdio_finish(&io)                               what is still on its way arrives
 *
 * Nothing here blocks but stdio_finish(), and that not for ever: a terminal that nobody reads
 * holds up the command that prints, never the monitor.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <termios.h>

#include "base/error.h"
#include "base/packet.h"
#include "base/spawn.h"
#include "run/relay.h"

/* Bytes on their way from one file to another. */
struct pump {
	int from; /* -1: at its end */
	int to;	  /* -1: nobody listens any more */
	bool fed; /* by hand: the end of `from` is not the end */
	struct str pending;
};

enum { STDIO_PUMPS = 3, STDIO_POLLS = 2 + 1 + 2 * STDIO_PUMPS };

struct stdio {
	struct streams streams;
	struct relay relay;
	struct pump output; /* from the pty to the caller's terminal */
	struct pump pumps[STDIO_PUMPS];
	bool raw;
	struct termios saved;
	/* Sees what the pty printed, before the caller's terminal does; may be NULL. */
	void (*seen)(void *data, const char *bytes, size_t len);
	void *data;
};

#define PUMP_INIT                       \
	{                               \
		-1, -1, false, STR_INIT \
	}
#define STDIO_INIT                                                                          \
	{                                                                                   \
		.relay = {-1, -1, STR_INIT}, .output = {-1, -1, true, STR_INIT}, .pumps = { \
			PUMP_INIT,                                                          \
			PUMP_INIT,                                                          \
			PUMP_INIT                                                           \
		}                                                                           \
	}

/* `detached`: a terminal of its own for all three, and no caller. */
int stdio_open(struct stdio *io, bool detached, struct spawn *spawn, struct packet *packet,
	       struct error *err);

/* `master` is the pty's, or -1; taken over. Puts the caller's terminal into raw mode. */
void stdio_started(struct stdio *io, int master);

/* Fills STDIO_POLLS entries. `hold` stops reading what the command prints. */
void stdio_poll(const struct stdio *io, bool hold, struct pollfd *polled);
void stdio_turn(struct stdio *io, const struct pollfd *polled);

/* The caller's terminal has another size now. */
void stdio_resize(struct stdio *io);
void stdio_set_size(struct stdio *io, uint32_t rows, uint32_t columns);

/* Delivers the rest, restores the terminal, and releases everything. */
void stdio_finish(struct stdio *io);
