/*
 * Messages from whoever is at the other end of a socket. The first byte of the input says how many
 * file descriptors come along (bits 0 to 2), whether payloads in a memfd are accepted (3), and
 * whether the payload is in one (4) and how much longer than claimed that is (5 and 6).
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/spawn.h"
#include "support.h"

enum { HEADER_SIZE = 16, MOST_FDS = 8 };

static int lowest_free(void)
{
	int fd = 0;

	while (fcntl(fd, F_GETFD) >= 0)
		fd++;
	return fd;
}

static void send_input(int to, const uint8_t *data, size_t size, const int *fds, size_t fd_count)
{
	union {
		char bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = {(void *)(uintptr_t)data, size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	memset(&control, 0, sizeof control);
	if (fd_count) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, fd_count * sizeof(int));
	}
	/* A message that does not fit is not sent, and the receiver finds none. */
	(void)!sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void read_all_ways(struct packet *packet)
{
	struct error err = ERROR_INIT;
	struct spawn spawn = {0};
	const char *text;
	const void *bytes;
	uint32_t number;
	size_t len;

	/* As what it is meant to be, and as everything else. */
	if (spawn_decode(packet, &spawn, &err) == 0) {
		struct packet again = PACKET_INIT;

		MUST(spawn.argv.len && spawn.terminal <= 7);
		spawn_encode(&spawn, &again);
		MUST(again.payload.len == packet->at);
		MUST(memcmp(again.payload.s, packet->payload.s, packet->at) == 0);
		packet_release(&again);
	}
	spawn_release(&spawn);
	for (int way = 0; way < 4; way++) {
		int result = 0;

		packet->at = 0;
		while (result == 0) {
			struct strv items = STRV_INIT;

			error_clear(&err);
			if (way == 0)
				result = packet_get_u32(packet, &number, &err);
			else if (way == 1)
				result = packet_get_string(packet, &text, &err);
			else if (way == 2)
				result = packet_get_bytes(packet, &bytes, &len, &err);
			else
				result = packet_get_strings(packet, &items, &err);
			MUST(packet->at <= packet->payload.len);
			MUST(result == 0 || err.code == ERR_PROTOCOL);
			if (result == 0 && way == 1)
				MUST(text + strlen(text) < packet->payload.s + packet->payload.len);
			strv_release(&items);
		}
	}
	error_clear(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct packet packet = PACKET_INIT;
	struct error err = ERROR_INIT;
	int before = lowest_free();
	int ends[2], fds[MOST_FDS + 1];
	size_t fd_count;

	if (size < 1)
		return -1;
	unsigned int choice = *data++;

	size--;
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
	for (fd_count = 0; fd_count < (choice & 7); fd_count++)
		fds[fd_count] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (choice & 16 && size >= HEADER_SIZE) {
		int fd = memfd_create("fuzz", MFD_CLOEXEC);

		MUST(write_all(fd, data + HEADER_SIZE, size - HEADER_SIZE) == 0);
		MUST(ftruncate(fd, (off_t)(size - HEADER_SIZE + (choice >> 5 & 3))) == 0);
		fds[fd_count++] = fd;
		size = HEADER_SIZE;
	}
	send_input(ends[1], data, size, fds, fd_count > MOST_FDS ? MOST_FDS : fd_count);
	while (fd_count)
		close(fds[--fd_count]);
	int result = packet_receive(ends[0], choice & 8, &packet, &err);

	MUST(result >= -1 && result <= 2);
	MUST(result < 0 ? err.code != ERR_NONE : err.code == ERR_NONE);
	if (result == 0)
		read_all_ways(&packet);
	else
		MUST(packet.fd_count == 0 && !packet.payload.s);
	packet_release(&packet);
	error_clear(&err);
	close(ends[0]);
	close(ends[1]);
	/* Not one file descriptor is left behind. */
	MUST(lowest_free() == before);
	return 0;
}
