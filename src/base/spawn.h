/*
 * spawn: what the guest's init is told to start, as it travels in a MESSAGE_SPAWN.
 *
 * Of the three standard streams each is either a terminal (its bit is set in `terminal`: the
 * command gets the slave of a new pty, and the answer carries the master) or a file descriptor
 * of the message, in the order stdin, stdout, stderr.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/packet.h"
#include "base/str.h"

struct spawn {
	uint32_t terminal; /* bit 0 stdin, 1 stdout, 2 stderr */
	uint32_t rows;
	uint32_t columns;
	uint32_t linger; /* of the first command: 1: init does not end before all commands have */
	char *directory; /* where to start */
	char *fallback;	 /* where to start when that does not exist inside */
	struct strv argv;
	struct strv env;
};

void spawn_encode(const struct spawn *spawn, struct packet *packet);
int spawn_decode(struct packet *packet, struct spawn *ret, struct error *err);
void spawn_release(struct spawn *spawn);
#define autospawn __attribute__((cleanup(spawn_release)))

/* The exit status that a wait(2) status becomes: the command's own, or 128+n. */
int exit_status_of(int wait_status);
/* The exit status when a command could not be executed: 127, 126 or 125. */
int exit_status_of_failure(int number);
