#include "base/packet.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

struct header {
	uint32_t type;
	uint32_t id;
	uint32_t length; /* of the payload */
	uint32_t large;	 /* 1: the payload is in the last fd */
};

void packet_release(struct packet *packet)
{
	str_release(&packet->payload);
	for (size_t i = 0; i < packet->fd_count; i++)
		fd_close(&packet->fds[i]);
	*packet = (struct packet)PACKET_INIT;
}

void packet_put_u32(struct packet *packet, uint32_t number)
{
	str_add_bytes(&packet->payload, &number, sizeof number);
}

void packet_put_bytes(struct packet *packet, const void *bytes, size_t len)
{
	packet_put_u32(packet, (uint32_t)len);
	str_add_bytes(&packet->payload, bytes, len);
}

void packet_put_string(struct packet *packet, const char *text)
{
	packet_put_bytes(packet, text, strlen(text) + 1);
}

void packet_put_strings(struct packet *packet, char *const *items)
{
	uint32_t count = 0;

	while (items && items[count])
		count++;
	packet_put_u32(packet, count);
	for (uint32_t i = 0; i < count; i++)
		packet_put_string(packet, items[i]);
}

void packet_give_fd(struct packet *packet, int fd)
{
	if (packet->fd_count == PACKET_FDS)
		abort();
	packet->fds[packet->fd_count++] = fd;
}

static int malformed(struct error *err)
{
	return error_set(err, ERR_PROTOCOL, "malformed message");
}

int packet_get_u32(struct packet *packet, uint32_t *ret, struct error *err)
{
	if (packet->payload.len - packet->at < sizeof *ret)
		return malformed(err);
	memcpy(ret, packet->payload.s + packet->at, sizeof *ret);
	packet->at += sizeof *ret;
	return 0;
}

int packet_get_bytes(struct packet *packet, const void **ret, size_t *ret_len, struct error *err)
{
	uint32_t len;

	if (packet_get_u32(packet, &len, err) < 0)
		return -1;
	if (packet->payload.len - packet->at < len)
		return malformed(err);
	*ret = packet->payload.s + packet->at;
	*ret_len = len;
	packet->at += len;
	return 0;
}

int packet_get_string(struct packet *packet, const char **ret, struct error *err)
{
	const void *bytes;
	size_t len;

	if (packet_get_bytes(packet, &bytes, &len, err) < 0)
		return -1;
	if (len == 0 || memchr(bytes, '\0', len) != (const char *)bytes + len - 1)
		return malformed(err);
	*ret = bytes;
	return 0;
}

int packet_get_strings(struct packet *packet, struct strv *ret, struct error *err)
{
	uint32_t count;

	if (packet_get_u32(packet, &count, err) < 0)
		return -1;
	for (uint32_t i = 0; i < count; i++) {
		const char *text;

		if (packet_get_string(packet, &text, err) < 0)
			return -1;
		strv_add(ret, text);
	}
	return 0;
}

int packet_take_fd(struct packet *packet)
{
	for (size_t i = 0; i < packet->fd_count; i++)
		if (packet->fds[i] >= 0)
			return steal_fd(&packet->fds[i]);
	return -1;
}

static int into_memfd(const struct str *payload, int *ret_fd, struct error *err)
{
	autofd int fd = memfd_create("jib-message", MFD_CLOEXEC);

	if (fd < 0 || write_all(fd, payload->s, payload->len) < 0)
		return error_errno(err, "cannot pass a large message");
	*ret_fd = steal_fd(&fd);
	return 0;
}

int packet_send(int fd, uint32_t type, uint32_t id, struct packet *packet, struct error *err)
{
	struct packet empty = PACKET_INIT;

	if (!packet)
		packet = &empty;
	struct header header = {type, id, (uint32_t)packet->payload.len, 0};
	int fds[PACKET_FDS];
	size_t fd_count = packet->fd_count;
	autofd int memfd = -1;

	memcpy(fds, packet->fds, sizeof packet->fds);
	if (packet->payload.len > PACKET_LARGE)
		return error_set(err, ERR_USAGE,
				 "arguments and environment are larger than %d bytes",
				 PACKET_LARGE);
	if (packet->payload.len > PACKET_INLINE) {
		/* The receiver has room for no more than PACKET_FDS, the memfd included. */
		if (fd_count == PACKET_FDS)
			return error_set(err, ERR_PROTOCOL,
					 "a large message can carry %d files at most",
					 PACKET_FDS - 1);
		if (into_memfd(&packet->payload, &memfd, err) < 0)
			return -1;
		fds[fd_count++] = memfd;
		header.large = 1;
	}
	union {
		char bytes[CMSG_SPACE(sizeof fds)];
		struct cmsghdr align;
	} control;
	struct iovec parts[2] = {
		{&header, sizeof header},
		{packet->payload.s, header.large ? 0 : packet->payload.len},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

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
	ssize_t n;

	do
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	if (errno == EPIPE || errno == ECONNRESET || errno == EAGAIN || errno == ENOTCONN)
		return 1;
	return error_errno(err, "cannot send a message");
}

static int read_large(struct packet *packet, uint32_t length, struct error *err)
{
	struct stat st;

	if (packet->fd_count == 0 || length > PACKET_LARGE)
		return malformed(err);
	autofd int fd = steal_fd(&packet->fds[--packet->fd_count]);

	/* Only a file of exactly this length, read by offset: the offset is shared. */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != (off_t)length)
		return malformed(err);
	autofree char *bytes = xmalloc(length);

	for (size_t at = 0; at < length;) {
		ssize_t n = pread(fd, bytes + at, length - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return malformed(err);
		at += (size_t)n;
	}
	str_add_bytes(&packet->payload, bytes, length);
	return 0;
}

static void take_fds(struct msghdr *message, struct packet *packet)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg;
	     cmsg = CMSG_NXTHDR(message, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof fd, sizeof fd);
			if (packet->fd_count < PACKET_FDS)
				packet->fds[packet->fd_count++] = fd;
			else
				fd_close(&fd);
		}
	}
}

int packet_receive(int fd, bool large, struct packet *ret, struct error *err)
{
	autopacket struct packet packet = PACKET_INIT;
	struct header header;
	autofree char *bytes = xmalloc(PACKET_INLINE);
	union {
		char bytes[CMSG_SPACE(PACKET_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec parts[2] = {{&header, sizeof header}, {bytes, PACKET_INLINE}};
	struct msghdr message = {
		.msg_iov = parts,
		.msg_iovlen = 2,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	ssize_t n;

	/*
	 * That a peer has ended with something unread is told once, ahead of what it had sent: its
	 * last words come with the next call, and after them the end.
	 */
	do
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 2;
	/* First of all: an empty datagram, which looks like the end, may bring files too. */
	if (n >= 0)
		take_fds(&message, &packet);
	if (n == 0)
		return 1;
	if (n < 0)
		return error_errno(err, "cannot receive a message");
	if ((size_t)n < sizeof header || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return malformed(err);
	packet.type = header.type;
	packet.id = header.id;
	if (header.large) {
		if (!large)
			return malformed(err);
		if (read_large(&packet, header.length, err) < 0)
			return -1;
	} else {
		if (header.length != (size_t)n - sizeof header)
			return malformed(err);
		str_add_bytes(&packet.payload, bytes, header.length);
	}
	*ret = packet;
	packet = (struct packet)PACKET_INIT;
	return 0;
}
