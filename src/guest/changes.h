/*
 * changes: init's part of the fsmonitor. It holds the file descriptors of the upper directories
 * (base/upper.h), which lead nowhere else and cannot be written through, and hands them to whoever
 * connects to UPPER_SOCKET and asks by the path of a work tree. Whoever runs inside may do so, and
 * learns nothing that the work tree itself does not say.
 *
 *   MESSAGE_CHANGES path               is answered by
 *   MESSAGE_CHANGES state, carried     with UPPER_FDS files; or without any, when `path` is not
 *                                      a work tree whose changes are known
 *
 * Nothing here blocks, and of those who connect and say nothing only the latest few are kept.
 */
#pragma once

#include <poll.h>
#include <stddef.h>

enum { CHANGES_CLIENTS = 8, CHANGES_POLLS = CHANGES_CLIENTS + 1 };

struct changes {
	char *const *names; /* as in base/upper.h; NULL-terminated */
	int listener;	    /* -1: nobody can ask */
	int clients[CHANGES_CLIENTS];
	size_t oldest;
};

/*
 * At once when init starts: the file descriptors become CLOEXEC, so that no command has them (T1).
 * 0, or -1 when they do not; that nobody will be able to ask is no failure.
 */
int changes_start(struct changes *changes, char *const *names);

/*
 * In a child of init, before it follows a path that the sandbox has made: one that leads through
 * /proc/self/fd must not lead into an upper (T11).
 */
void changes_forget(void);

/* Fills CHANGES_POLLS entries. */
void changes_poll(const struct changes *changes, struct pollfd *polled);
void changes_turn(struct changes *changes, const struct pollfd *polled);
