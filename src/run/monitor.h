/*
 * monitor: the host side of a running sandbox.
 *
 * It holds the lease and the terminal, starts the sandbox, forwards signals and input, serves
 * the clients of `exec`, `attach` and `stop` at ROOT/<name>/control, and ends with the sandbox.
 * When it is killed, the kernel releases the lease and kills init, and with it everything in
 * the sandbox.
 *
 * What runs in a sandbox is over when its first command ends, as in a container. Where somebody
 * has only started a resting sandbox for a command of his own (`exec`), others who join it must
 * not suffer from that: then it lingers until all of them are done.
 *
 * A foreground run is a monitor in the process of `jib run`; a detached one has left its session
 * and writes what its terminal prints to ROOT/<name>/log/output.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/spawn.h"
#include "run/plan.h"
#include "store/root.h"
#include "store/sandbox.h"

struct monitor_request {
	const struct root *root;
	const struct sandbox *sandbox;
	const struct plan *plan;
	struct spawn *spawn; /* argv, env, directory; the streams are filled in */
	int lease;	     /* held by the caller, see lifetime.h */
	bool linger;	     /* do not end before the commands that have joined */
	bool forgetful;	     /* the sandbox is discarded at its end */
	bool detached;
	/* Detached: called once when the command runs, or when it could not be started. */
	void (*ready)(void *data, const struct error *failure);
	void *data;
};

/*
 * Runs until the command ends. *ret_status is the exit status as of house.md 8: the command's
 * own, 126, 127 or 128+n. -1 with an error when there was no sandbox to run it in. `ended` says
 * in words why a command that was killed ended, when it is known (a memory limit), else NULL.
 */
int monitor_run(const struct monitor_request *request, int *ret_status, const char **ret_ended,
		struct error *err);
