#include "run/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/memory.h"

enum { TYPED_AHEAD = 65536 };

int streams_examine(struct streams *ret, struct error *err)
{
	static const char *const names[] = {"input", "output", "error"};
	struct streams streams = {.output = -1, .rows = 24, .columns = 80};
	bool terminal[3];

	for (int i = 0; i < 3; i++) {
		struct stat st;

		if (fstat(i, &st) == 0 && S_ISDIR(st.st_mode)) {
			error_set(err, ERR_USAGE, "standard %s is a directory", names[i]);
			return error_hint(err, "a sandbox sees a directory with --bind DIR");
		}
		terminal[i] = isatty(i);
	}
	if (terminal[1] || terminal[2]) {
		streams.interactive = terminal[0] && terminal[1];
		streams.output = terminal[1] ? 1 : 2;
		for (unsigned int i = 0; i < 3; i++)
			if (terminal[i] && (i > 0 || streams.interactive))
				streams.terminal |= 1U << i;
		terminal_size(streams.output, &streams.rows, &streams.columns);
	}
	*ret = streams;
	return 0;
}

int streams_open(int i, int *ret, struct error *err)
{
	struct stat st;
	bool open_already = !isatty(i) && fstat(i, &st) == 0;
	bool null = open_already && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);

	if (open_already && !null && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
		return 1;
	int fd = open_already && !null ? fcntl(i, F_DUPFD_CLOEXEC, 3)
				       : open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, "cannot open /dev/null");
	*ret = fd;
	return 0;
}

int terminal_raw(int fd, struct termios *ret_saved)
{
	struct termios raw;

	if (tcgetattr(fd, ret_saved) < 0)
		return -1;
	raw = *ret_saved;
	cfmakeraw(&raw);
	return tcsetattr(fd, TCSADRAIN, &raw);
}

void terminal_restore(int fd, const struct termios *saved)
{
	tcsetattr(fd, TCSADRAIN, saved);
}

void terminal_size(int fd, uint32_t *ret_rows, uint32_t *ret_columns)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col) {
		*ret_rows = size.ws_row;
		*ret_columns = size.ws_col;
	}
}

bool relay_is_full(const struct relay *relay)
{
	return relay->pending.len >= TYPED_AHEAD;
}

void relay_poll(const struct relay *relay, struct pollfd *input, struct pollfd *master)
{
	bool room = !relay_is_full(relay);

	*input = (struct pollfd){.fd = room && relay->master >= 0 ? relay->input : -1,
				 .events = POLLIN};
	*master = (struct pollfd){.fd = relay->master,
				  .events = (short)(POLLIN | (relay->pending.len ? POLLOUT : 0))};
}

void relay_flush(struct relay *relay)
{
	while (relay->pending.len && relay->master >= 0) {
		ssize_t n = write(relay->master, relay->pending.s, relay->pending.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		str_drop(&relay->pending, (size_t)n);
	}
}

void relay_type(struct relay *relay, const void *bytes, size_t len)
{
	if (!relay_is_full(relay))
		str_add_bytes(&relay->pending, bytes, len);
	relay_flush(relay);
}

void relay_input(struct relay *relay, const struct pollfd *input)
{
	char buffer[4096];

	if (!input->revents)
		return;
	ssize_t n = read(relay->input, buffer, sizeof buffer);

	if (n > 0)
		relay_type(relay, buffer, (size_t)n);
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		relay->input = -1; /* the terminal is gone; SIGHUP says the rest */
}

ssize_t relay_read(struct relay *relay, char *buffer, size_t size)
{
	ssize_t n = read(relay->master, buffer, size);

	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	fd_close(&relay->master);
	return -1;
}

void relay_release(struct relay *relay)
{
	fd_close(&relay->master);
	str_release(&relay->pending);
}
