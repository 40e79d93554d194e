/*
 * faults: a child that is killed at a system call, or to which one fails.
 *
 *   for (int n = 1; faults_run(body, data, &(struct fault){.at = n}) != FAULT_NONE; n++)
 *           ... look at what is left ...
 */
#pragma once

#include <stdbool.h>

struct fault {
	int at;	      /* the n-th system call of the child that writes, or awaits who does */
	int number;   /* fails with this errno; 0: the child is killed instead */
	bool forever; /* all later ones fail too */
};

enum fault_result {
	FAULT_NONE,   /* it ended before: with success */
	FAULT_KILLED, /* it was */
	FAULT_FAILED, /* `body` has returned something else than 0 */
	FAULT_HIDDEN, /* a system call failed, and `body` has returned 0 */
};

/*
 * Runs `body` in a child. Between two calls that count nothing changes on the disk, and it makes no
 * difference where the child is killed.
 */
enum fault_result faults_run(int (*body)(void *data), void *data, const struct fault *fault);
