#include "guest/changes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/packet.h"
#include "base/upper.h"

/* The first file descriptor that is not of an upper. */
static int end = UPPER_FIRST;

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autofd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(address.sun_path, path, strlen(path));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
	    listen(fd, CHANGES_CLIENTS) < 0)
		return -1;
	return steal_fd(&fd);
}

int changes_start(struct changes *changes, char *const *names)
{
	*changes = (struct changes){.names = names, .listener = -1};
	for (size_t i = 0; i < CHANGES_CLIENTS; i++)
		changes->clients[i] = -1;
	for (size_t i = 0; names[i]; i++)
		for (size_t k = 0; names[i][0] == '/' && k < UPPER_FDS; k++, end++)
			if (fcntl(end, F_SETFD, FD_CLOEXEC) < 0)
				return -1;
	if (end > UPPER_FIRST)
		changes->listener = listen_at(UPPER_SOCKET);
	return 0;
}

void changes_forget(void)
{
	for (int fd = UPPER_FIRST; fd < end; fd++)
		close(fd);
}

/* Fills in the answer about a work tree that is known. */
static void tell(const struct changes *changes, const char *path, struct packet *answer)
{
	int fd = UPPER_FIRST;
	size_t i = 0;

	for (; changes->names[i] && strcmp(changes->names[i], path) != 0; i++)
		fd += changes->names[i][0] == '/' ? UPPER_FDS : 0;
	if (!changes->names[i] || path[0] != '/')
		return;
	for (i++; changes->names[i] && changes->names[i][0] != '/'; i++)
		packet_put_string(answer, changes->names[i]);
	for (int k = 0; k < UPPER_FDS; k++) {
		int copy = fcntl(fd + k, F_DUPFD_CLOEXEC, 0);

		/* Fewer than there should be are none to who asked. */
		if (copy >= 0)
			packet_give_fd(answer, copy);
	}
}

static void serve(struct changes *changes, int *client)
{
	autoerror struct error ignored = ERROR_INIT;
	autopacket struct packet question = PACKET_INIT;
	autopacket struct packet answer = PACKET_INIT;
	const char *path;
	int result = packet_receive(*client, false, &question, &ignored);

	if (result == 2)
		return;
	if (result == 0 && question.type == MESSAGE_CHANGES &&
	    packet_get_string(&question, &path, &ignored) == 0) {
		tell(changes, path, &answer);
		packet_send(*client, MESSAGE_CHANGES, 0, &answer, &ignored);
	}
	fd_close(client);
}

/* In the place of the one who has waited longest. */
static void welcome(struct changes *changes)
{
	/* cppcheck-suppress nullPointer ; accept4(2): nobody asks for the address */
	int fd = accept4(changes->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	fd_close(&changes->clients[changes->oldest]);
	changes->clients[changes->oldest] = fd;
	changes->oldest = (changes->oldest + 1) % CHANGES_CLIENTS;
}

void changes_poll(const struct changes *changes, struct pollfd *polled)
{
	for (size_t i = 0; i < CHANGES_CLIENTS; i++)
		polled[i] = (struct pollfd){.fd = changes->clients[i], .events = POLLIN};
	polled[CHANGES_CLIENTS] = (struct pollfd){.fd = changes->listener, .events = POLLIN};
}

void changes_turn(struct changes *changes, const struct pollfd *polled)
{
	for (size_t i = 0; i < CHANGES_CLIENTS; i++)
		if (polled[i].revents)
			serve(changes, &changes->clients[i]);
	/* One at a time: a flood of them is served between what else init does. */
	if (polled[CHANGES_CLIENTS].revents)
		welcome(changes);
}
