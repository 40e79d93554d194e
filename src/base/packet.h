/*
 * packet: messages between the monitor, the guest's init, and the clients of both.
 *
 * One message is one datagram of a SOCK_SEQPACKET unix socket: a type, an id, a payload of
 * strings and numbers in host byte order (both ends are of one machine and one build of jib),
 * and a few file descriptors. A payload that does not fit a datagram travels in a memfd, which
 * takes the place of one of them, and which only receivers that say so accept.
 *
 * Whoever receives from a sandbox treats the bytes as hostile: every read is bounded, and a
 * message that does not parse is an error of its sender (ERR_PROTOCOL).
 *
 *   struct packet packet = PACKET_INIT;
 *   packet_put_u32(&packet, rows);
 *   packet_send(fd, MESSAGE_RESIZE, 0, &packet, err);
 *   packet_release(&packet);
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

/* monitor -> init, and client -> monitor where marked C */
enum message {
	MESSAGE_SPAWN = 1, /* C: spawn.h */
	MESSAGE_SIGNAL,	   /* C: u32 signal, to the process group of command `id` */
	MESSAGE_STOP,	   /* C: u32 grace in milliseconds: TERM to all, then KILL */
	MESSAGE_ATTACH,	   /* C: u32 rows, u32 columns */
	MESSAGE_INPUT,	   /* C: bytes for the terminal */
	MESSAGE_RESIZE,	   /* C: u32 rows, u32 columns */
	MESSAGE_WHERE,	   /* C: which process is init? only the monitor answers this */
	MESSAGE_FREEZE,	   /* C: hold everything still; a client's, until it has gone */
	MESSAGE_THAW,

	/* init -> monitor, and monitor -> client where marked C */
	MESSAGE_STARTED = 100, /* C: the pty's master as fd, if one was asked for */
	MESSAGE_FAILED,	       /* C: u32 errno, string what */
	MESSAGE_EXITED,	       /* C: u32 status as of wait(2) */
	MESSAGE_OUTPUT,	       /* C: bytes from the terminal */
	MESSAGE_REFUSED,       /* C: string why */
	MESSAGE_HERE,	       /* C: u32 pid of init, as the host sees it */
	MESSAGE_FROZEN,	       /* C: u32 errno; 0: everything is still now */

	/* inside, between git's fsmonitor and init: see guest/changes.h */
	MESSAGE_CHANGES = 200,
};

enum { PACKET_FDS = 4, PACKET_INLINE = 65536, PACKET_LARGE = 8 << 20 };

struct packet {
	uint32_t type;
	uint32_t id;
	struct str payload;
	size_t at; /* read position in the payload */
	int fds[PACKET_FDS];
	size_t fd_count;
};

#define PACKET_INIT                                    \
	{                                              \
		0, 0, STR_INIT, 0, {-1, -1, -1, -1}, 0 \
	}

/* Frees the payload and closes the fds that are still in it. */
void packet_release(struct packet *packet);
#define autopacket __attribute__((cleanup(packet_release)))

void packet_put_u32(struct packet *packet, uint32_t number);
void packet_put_bytes(struct packet *packet, const void *bytes, size_t len);
void packet_put_string(struct packet *packet, const char *text);
void packet_put_strings(struct packet *packet, char *const *items);
/* The packet owns the fd from now on. */
void packet_give_fd(struct packet *packet, int fd);

int packet_get_u32(struct packet *packet, uint32_t *ret, struct error *err);
/* Points into the payload; a string with NUL bytes in it is refused. */
int packet_get_string(struct packet *packet, const char **ret, struct error *err);
int packet_get_bytes(struct packet *packet, const void **ret, size_t *ret_len, struct error *err);
int packet_get_strings(struct packet *packet, struct strv *ret, struct error *err);
/* -1 when there is no fd left. */
int packet_take_fd(struct packet *packet);

/* 0; 1 when the peer is gone (EPIPE, ECONNRESET) or, on a non-blocking socket, does not read. */
int packet_send(int fd, uint32_t type, uint32_t id, struct packet *packet, struct error *err);

/*
 * Receives one message into an empty packet. 0; 1 when the peer has closed; 2 when a
 * non-blocking socket has none. `large` accepts payloads in a memfd.
 */
int packet_receive(int fd, bool large, struct packet *ret, struct error *err);
