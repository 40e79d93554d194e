#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/packet.h"

struct header {
	uint32_t type, id, length, large;
};

struct pair {
	int a, b;
	size_t fds; /* that were open before */
};

static int setup(void **state)
{
	struct pair *pair = xcalloc(1, sizeof *pair);
	int ends[2];

	pair->fds = count_fds();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	pair->a = ends[0];
	pair->b = ends[1];
	*state = pair;
	return 0;
}

/* No test may leave a file descriptor behind. */
static int teardown(void **state)
{
	struct pair *pair = *state;

	fd_close(&pair->a);
	fd_close(&pair->b);
	bool leak = count_fds() != pair->fds;

	free(pair);
	if (leak)
		print_error("a file descriptor is left open\n");
	return leak ? -1 : 0;
}

static void round_trip(void **state)
{
	const struct pair *pair = *state;
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet sent = PACKET_INIT;
	autopacket struct packet received = PACKET_INIT;
	autostrv struct strv items = STRV_INIT;
	autostrv struct strv none = STRV_INIT;
	autostrv struct strv list = STRV_INIT;
	const char *text;
	const void *bytes;
	size_t len;
	uint32_t number;

	packet_put_u32(&sent, 0xfedcba98);
	packet_put_string(&sent, "text");
	packet_put_bytes(&sent, "a\0b", 3);
	strv_add(&list, "one");
	strv_add(&list, "");
	strv_add(&list, "thr\xff\xee");
	packet_put_strings(&sent, list.items);
	packet_put_strings(&sent, NULL);
	packet_put_bytes(&sent, "", 0);
	assert_int_equal(packet_send(pair->a, MESSAGE_SPAWN, 7, &sent, &err), 0);
	assert_int_equal(packet_receive(pair->b, false, &received, &err), 0);
	assert_int_equal(received.type, MESSAGE_SPAWN);
	assert_int_equal(received.id, 7);
	assert_success(packet_get_u32(&received, &number, &err), &err);
	assert_int_equal(number, 0xfedcba98);
	assert_success(packet_get_string(&received, &text, &err), &err);
	assert_string_equal(text, "text");
	assert_success(packet_get_bytes(&received, &bytes, &len, &err), &err);
	assert_int_equal(len, 3);
	assert_memory_equal(bytes, "a\0b", 3);
	assert_success(packet_get_strings(&received, &items, &err), &err);
	assert_int_equal(items.len, 3);
	assert_string_equal(items.items[0], "one");
	assert_string_equal(items.items[1], "");
	assert_string_equal(items.items[2], "thr\xff\xee");
	assert_success(packet_get_strings(&received, &none, &err), &err);
	assert_int_equal(none.len, 0);
	assert_success(packet_get_bytes(&received, &bytes, &len, &err), &err);
	assert_int_equal(len, 0);
	assert_failure(packet_get_u32(&received, &number, &err), &err, ERR_PROTOCOL, "malformed");
	assert_int_equal(packet_take_fd(&received), -1);
}

static void without_payload(void **state)
{
	const struct pair *pair = *state;
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet received = PACKET_INIT;
	uint32_t number;

	assert_int_equal(packet_send(pair->a, MESSAGE_WHERE, 0, NULL, &err), 0);
	assert_int_equal(packet_receive(pair->b, false, &received, &err), 0);
	assert_int_equal(received.type, MESSAGE_WHERE);
	assert_failure(packet_get_u32(&received, &number, &err), &err, ERR_PROTOCOL, "");
}

/* ---- file descriptors ---- */

static void give_pipes(struct packet *packet, size_t count, int *ret_reader)
{
	for (size_t i = 0; i < count; i++) {
		int ends[2];

		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		packet_give_fd(packet, ends[1]);
		if (i == 0 && ret_reader)
			*ret_reader = ends[0];
		else
			close(ends[0]);
	}
}

static void descriptors(void **state)
{
	const struct pair *pair = *state;
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet sent = PACKET_INIT;
	autopacket struct packet received = PACKET_INIT;
	autofd int reader = -1;
	char byte;

	give_pipes(&sent, PACKET_FDS, &reader);
	assert_int_equal(packet_send(pair->a, 1, 0, &sent, &err), 0);
	packet_release(&sent);
	assert_int_equal(packet_receive(pair->b, false, &received, &err), 0);
	assert_int_equal(received.fd_count, PACKET_FDS);
	autofd int writer = packet_take_fd(&received);

	assert_true(fcntl(writer, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(writer, "x", 1), 1);
	assert_int_equal(read(reader, &byte, 1), 1);
	/* The others close with the packet. */
}

static void send_raw(int fd, const void *bytes, size_t len, const int *fds, size_t fd_count)
{
	union {
		char bytes[CMSG_SPACE(64 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = {(void *)(uintptr_t)bytes, len};
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
	assert_int_equal(sendmsg(fd, &message, MSG_NOSIGNAL), (ssize_t)len);
}

/* Refused, with every file descriptor that came with it closed (teardown counts). */
static void refused(const struct pair *pair, const void *bytes, size_t len, size_t fd_count)
{
	autoerror struct error err = ERROR_INIT;
	struct packet received = {.type = 77, .fds = {-1, -1, -1, -1}};
	int fds[64] = {0};

	for (size_t i = 0; i < fd_count; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	send_raw(pair->a, bytes, len, fds, fd_count);
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	assert_failure(packet_receive(pair->b, true, &received, &err), &err, ERR_PROTOCOL,
		       "malformed");
	assert_int_equal(received.type, 77);
	assert_int_equal(received.fd_count, 0);
}

static void too_many_descriptors(void **state)
{
	const struct header header = {1, 0, 0, 0};

	refused(*state, &header, sizeof header, PACKET_FDS + 1);
	refused(*state, &header, sizeof header, 64);
}

static void truncated_headers(void **state)
{
	const struct header header = {1, 0, 0, 0};

	for (size_t len = 1; len < sizeof header; len++)
		refused(*state, &header, len, 2);
}

static void wrong_lengths(void **state)
{
	struct {
		struct header header;
		char payload[8];
	} message = {.header = {1, 0, 0, 0}};

	for (uint32_t length = 0; length < 12; length++) {
		if (length == 8)
			continue;
		message.header.length = length;
		refused(*state, &message, sizeof message, 1);
	}
	message.header.length = UINT32_MAX;
	refused(*state, &message, sizeof message, 1);
}

/* An empty datagram looks like the end of the connection, but may bring files. */
static void empty_message(void **state)
{
	const struct pair *pair = *state;
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet received = PACKET_INIT;
	autofd int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	send_raw(pair->a, "", 0, &null, 1);
	assert_int_equal(packet_receive(pair->b, false, &received, &err), 1);
	assert_int_equal(received.fd_count, 0);
}

/* ---- payloads in a memfd ---- */

static void large_payload(void **state)
{
	const struct pair *pair = *state;
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet sent = PACKET_INIT;
	autopacket struct packet received = PACKET_INIT;
	autofree char *text = xmalloc(PACKET_INLINE + 1);
	autofd int reader = -1;
	const char *arrived;

	memset(text, 'x', PACKET_INLINE);
	text[PACKET_INLINE] = '\0';
	packet_put_string(&sent, text);
	give_pipes(&sent, 3, &reader);
	assert_int_equal(packet_send(pair->a, 1, 0, &sent, &err), 0);
	assert_int_equal(packet_receive(pair->b, true, &received, &err), 0);
	assert_success(packet_get_string(&received, &arrived, &err), &err);
	assert_string_equal(arrived, text);
	assert_int_equal(received.fd_count, 3);
	/* Who does not ask for such a payload does not get one. */
	packet_release(&received);
	assert_int_equal(packet_send(pair->a, 1, 0, &sent, &err), 0);
	assert_failure(packet_receive(pair->b, false, &received, &err), &err, ERR_PROTOCOL, "");
}

static void largest_inline(void **state)
{
	const struct pair *pair = *state;
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet sent = PACKET_INIT;
	autopacket struct packet received = PACKET_INIT;
	autofree char *bytes = xcalloc(1, PACKET_INLINE);
	const void *arrived;
	size_t len;

	packet_put_bytes(&sent, bytes, PACKET_INLINE - sizeof(uint32_t));
	assert_int_equal(sent.payload.len, PACKET_INLINE);
	assert_int_equal(packet_send(pair->a, 1, 0, &sent, &err), 0);
	assert_int_equal(packet_receive(pair->b, false, &received, &err), 0);
	assert_success(packet_get_bytes(&received, &arrived, &len, &err), &err);
	assert_int_equal(len, PACKET_INLINE - sizeof(uint32_t));
}

static void too_large(void **state)
{
	const struct pair *pair = *state;
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet sent = PACKET_INIT;
	autofree char *bytes = xcalloc(1, PACKET_LARGE);

	packet_put_bytes(&sent, bytes, PACKET_LARGE);
	assert_failure(packet_send(pair->a, 1, 0, &sent, &err), &err, ERR_USAGE, "larger");
}

/* The file of a large payload needs a place among the descriptors; four others leave none. */
static void large_with_every_descriptor(void **state)
{
	const struct pair *pair = *state;
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet sent = PACKET_INIT;
	autofree char *bytes = xcalloc(1, PACKET_INLINE + 1);

	packet_put_bytes(&sent, bytes, PACKET_INLINE + 1);
	give_pipes(&sent, PACKET_FDS, NULL);
	assert_failure(packet_send(pair->a, 1, 0, &sent, &err), &err, ERR_PROTOCOL, "3 files");
}

static void hostile_large_payloads(void **state)
{
	const struct pair *pair = *state;
	const struct header claims[] = {
		{1, 0, 100, 1},		     /* longer than the file */
		{1, 0, 5, 1},		     /* shorter */
		{1, 0, PACKET_LARGE + 1, 1}, /* more than anybody may send */
		{1, 0, UINT32_MAX, 1},
	};
	autofd int file = memfd_create("test", MFD_CLOEXEC);
	autofd int huge = memfd_create("test", MFD_CLOEXEC);
	autofd int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	autofd int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet received = PACKET_INIT;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	autofd int reader = ends[0];
	autofd int writer = ends[1];
	const int others[] = {zero, dir, reader, writer};

	assert_int_equal(ftruncate(file, 10), 0);
	assert_int_equal(ftruncate(huge, (off_t)PACKET_LARGE + 1), 0);
	for (size_t i = 0; i < ARRAY_SIZE(claims); i++) {
		send_raw(pair->a, &claims[i], sizeof claims[i], i == 2 ? &huge : &file, 1);
		assert_failure(packet_receive(pair->b, true, &received, &err), &err, ERR_PROTOCOL,
			       "malformed");
		error_clear(&err);
	}
	/* Neither a file that never ends nor a pipe that never gives anything is read. */
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		const struct header header = {1, 0, i == 1 ? 4096 : 0, 1};

		send_raw(pair->a, &header, sizeof header, &others[i], 1);
		assert_failure(packet_receive(pair->b, true, &received, &err), &err, ERR_PROTOCOL,
			       "malformed");
		error_clear(&err);
	}
	refused(pair, &claims[1], sizeof claims[1], 0);
}

/* The file's offset belongs to the sender as well and must not matter. */
static void offset_of_a_large_payload(void **state)
{
	const struct pair *pair = *state;
	const struct header header = {1, 0, 4, 1};
	autofd int file = memfd_create("test", MFD_CLOEXEC);
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet received = PACKET_INIT;

	assert_int_equal(write_all(file, "abcd", 4), 0);
	send_raw(pair->a, &header, sizeof header, &file, 1);
	assert_int_equal(packet_receive(pair->b, true, &received, &err), 0);
	assert_memory_equal(received.payload.s, "abcd", 4);
}

/* ---- payloads that lie ---- */

static struct packet made_of(const void *bytes, size_t len)
{
	struct packet packet = PACKET_INIT;

	str_add_bytes(&packet.payload, bytes, len);
	return packet;
}

static void hostile_payloads(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} strings[] = {
		{"", 0},
		{"\4\0\0", 3},
		{"\4\0\0\0abc", 7},
		{"\3\0\0\0abc", 7}, /* no NUL */
		{"\4\0\0\0a\0c\0", 8},
		/* a NUL too many */ {"\0\0\0\0", 4}, /* no string at all */
		{"\xff\xff\xff\xff"
		 "abc",
		 7},
		{"\xfc\xff\xff\xff"
		 "abc",
		 7},
		{"\xff\xff\xff\x7f", 4},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		autopacket struct packet packet = made_of(strings[i].bytes, strings[i].len);
		autoerror struct error err = ERROR_INIT;
		const char *untouched = "before";

		assert_failure(packet_get_string(&packet, &untouched, &err), &err, ERR_PROTOCOL,
			       "malformed");
		assert_string_equal(untouched, "before");
		assert_true(packet.at <= packet.payload.len);
	}
	/* More strings announced than there are. */
	autopacket struct packet packet = made_of("\xff\xff\xff\xff\2\0\0\0a\0", 10);
	autoerror struct error err = ERROR_INIT;
	autostrv struct strv items = STRV_INIT;

	assert_failure(packet_get_strings(&packet, &items, &err), &err, ERR_PROTOCOL, "malformed");
	assert_true(items.len <= 1);
}

/* ---- the peer ---- */

static void peer_is_gone(void **state)
{
	struct pair *pair = *state;
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet received = PACKET_INIT;

	fd_close(&pair->a);
	assert_int_equal(packet_receive(pair->b, false, &received, &err), 1);
	/* and no SIGPIPE */
	assert_int_equal(packet_send(pair->b, 1, 0, NULL, &err), 1);
	assert_false(error_is_set(&err));
}

/* The kernel tells of the reset first; what was said before must not be lost over it. */
static void last_words(void **state)
{
	struct pair *pair = *state;
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet received = PACKET_INIT;
	autopacket struct packet nothing = PACKET_INIT;

	assert_int_equal(packet_send(pair->b, 1, 0, NULL, &err), 0); /* is never read */
	assert_int_equal(packet_send(pair->a, 2, 7, NULL, &err), 0);
	fd_close(&pair->a);
	assert_int_equal(packet_receive(pair->b, false, &received, &err), 0);
	assert_int_equal(received.type, 2);
	assert_int_equal(received.id, 7);
	assert_int_equal(packet_receive(pair->b, false, &nothing, &err), 1);
	assert_false(error_is_set(&err));
}

static void without_waiting(void **state)
{
	const struct pair *pair = *state;
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet received = PACKET_INIT;
	autopacket struct packet sent = PACKET_INIT;
	autofree char *bytes = xcalloc(1, 50000);
	int result = 0, count = 0;

	assert_int_equal(fcntl(pair->a, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(pair->b, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(packet_receive(pair->b, false, &received, &err), 2);
	packet_put_bytes(&sent, bytes, 50000);
	while (count++ < 100000 && (result = packet_send(pair->a, 1, 0, &sent, &err)) == 0)
		;
	assert_int_equal(result, 1);
	assert_failure(packet_send(-1, 1, 0, NULL, &err), &err, ERR_SYSTEM, "send");
	error_clear(&err);
	assert_failure(packet_receive(-1, false, &received, &err), &err, ERR_SYSTEM, "receive");
}

#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PAIR(round_trip),
		WITH_PAIR(without_payload),
		WITH_PAIR(descriptors),
		WITH_PAIR(too_many_descriptors),
		WITH_PAIR(truncated_headers),
		WITH_PAIR(wrong_lengths),
		WITH_PAIR(empty_message),
		WITH_PAIR(large_payload),
		WITH_PAIR(largest_inline),
		WITH_PAIR(too_large),
		WITH_PAIR(large_with_every_descriptor),
		WITH_PAIR(hostile_large_payloads),
		WITH_PAIR(offset_of_a_large_payload),
		WITH_PAIR(hostile_payloads),
		WITH_PAIR(peer_is_gone),
		WITH_PAIR(last_words),
		WITH_PAIR(without_waiting),
	};

	return cmocka_run_group_tests_name("packet", tests, NULL, NULL);
}
