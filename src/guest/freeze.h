/*
 * freeze: holding all processes of a sandbox still, for who looks at its files from the host.
 *
 * SIGSTOP to everything in the pid namespace but init, and a wait until each thread has really
 * stopped: one in the middle of a system call ends it first. The kernel delivers the signal to all
 * before any of them runs on, and a stopped process cannot wake another one; what some process woke just
 * before is stopped again.
 *
 * Processes that were stopped before stay so when the others go on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct freeze {
	bool frozen;
	pid_t *before; /* that were stopped already */
	size_t before_count;
};

/* Sends the signal. freeze_await() then; or freeze_thaw(). */
void freeze_begin(struct freeze *freeze);
/* Waits, for some seconds at most. 0, or -1 with errno (ETIMEDOUT), and all go on. */
int freeze_await(struct freeze *freeze);
/* Accepts one that is not frozen. */
void freeze_thaw(struct freeze *freeze);
