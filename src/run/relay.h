/*
 * relay: between the user's terminal and the pty of a command.
 *
 * Used by whoever holds the master: the monitor for the first command, a client of `exec` for
 * its own. What the user types waits here until the command takes it; how what the command prints
 * reaches the user is in stdio.h.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

#include "base/error.h"
#include "base/str.h"

/* Which of the caller's streams are a terminal, and what becomes of each (see spawn.h). */
struct streams {
	uint32_t terminal; /* bits: which of the command's streams are the pty */
	bool interactive;  /* stdin and stdout are terminals: raw mode, input relayed */
	int output;	   /* where the pty's output goes: 1, 2, or -1 */
	uint32_t rows;
	uint32_t columns;
};

/*
 * Looks at fds 0, 1 and 2. A directory is refused: the command would hold a file descriptor of
 * the host's tree (T1).
 */
int streams_examine(struct streams *ret, struct error *err);

/*
 * The fd that stands for stream `i` of the command when it is no terminal: a duplicate of the
 * caller's pipe or socket, or /dev/null when it is closed, or when it is a terminal while stdout
 * is not (a pager behind a pipe reads the same keyboard). 1 for anything else, which has to be
 * relayed (stdio.h).
 */
int streams_open(int i, int *ret, struct error *err);

/* Raw mode. Returns 0 and what to restore, or -1 when `fd` is no terminal. */
int terminal_raw(int fd, struct termios *ret_saved);
void terminal_restore(int fd, const struct termios *saved);
void terminal_size(int fd, uint32_t *ret_rows, uint32_t *ret_columns);

struct relay {
	int input;	    /* the user's terminal; -1: nobody types */
	int master;	    /* non-blocking; -1: not there yet, or at its end */
	struct str pending; /* typed, but not taken yet */
};

/* Whether so much of what was typed is waiting that no more should be read. */
bool relay_is_full(const struct relay *relay);

/* -1 for a slot that is not to be polled. */
void relay_poll(const struct relay *relay, struct pollfd *input, struct pollfd *master);

/* Moves what was typed towards the master. */
void relay_input(struct relay *relay, const struct pollfd *input);
void relay_type(struct relay *relay, const void *bytes, size_t len);
void relay_flush(struct relay *relay);

/*
 * Reads what the command printed: > 0 bytes, 0 nothing now, -1 at the end (the slave has no
 * user any more, EIO).
 */
ssize_t relay_read(struct relay *relay, char *buffer, size_t size);

void relay_release(struct relay *relay);
