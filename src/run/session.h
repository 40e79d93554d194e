/*
 * session: clients of a running sandbox's monitor.
 *
 * All of them find the monitor at ROOT/<name>/control and return ERR_NOT_RUNNING when nobody
 * answers there.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/spawn.h"
#include "store/sandbox.h"

/* Runs a command inside, with the caller's streams. Exit status as of house.md 8. */
int session_exec(const struct sandbox *sandbox, struct spawn *spawn, int *ret_status,
		 struct error *err);

/*
 * Connects the caller's terminal to that of the sandbox's first command, until that ends or
 * the user leaves with ctrl-p ctrl-q: then *ret_left, and the command goes on.
 */
int session_attach(const struct sandbox *sandbox, int *ret_status, bool *ret_left,
		   struct error *err);

/* Asks everything inside to end, kills it after the grace, and waits until it is gone. */
int session_stop(const struct sandbox *sandbox, uint32_t grace_ms, struct error *err);

/*
 * Holds everything that runs in the sandbox still until *ret_keep is closed, be it by the end of the
 * process: for who looks at its files. What wants to start meanwhile waits. ERR_RUNNING when it cannot be
 * had.
 */
int session_freeze(const struct sandbox *sandbox, int *ret_keep, struct error *err);

/* The pid of the sandbox's init. It stays this process at least as long as *ret_keep is open. */
int session_where(const struct sandbox *sandbox, pid_t *ret_pid, int *ret_keep, struct error *err);
