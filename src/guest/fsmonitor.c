#include "guest/fsmonitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/packet.h"
#include "base/upper.h"

enum { NSEC = 1000000000, REPORTED_MAX = 1 << 26 };

static int64_t nanoseconds(struct timespec time)
{
	return (int64_t)time.tv_sec * NSEC + time.tv_nsec;
}

/* Tokens: "jib:2:<boot>:<stack>:<clock>:<since>:<untracked>", see struct question. */

static int read_boot(struct str *ret)
{
	enum { BOOT_MAX = 64 };
	autoerror struct error ignored = ERROR_INIT;
	autofd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read_all(fd, BOOT_MAX, ret, &ignored) < 0 || ret->len == 0)
		return -1;
	ret->len = strcspn(ret->s, "\n");
	ret->s[ret->len] = '\0';
	return 0;
}

struct moment {
	struct str boot;
	int64_t clock; /* ms between the clock and the time since the boot: another when it was set */
	int64_t time; /* ns; by the clock that file systems use */
};

static int moment_now(struct moment *ret)
{
	struct timespec real, since_boot, coarse;

	if (read_boot(&ret->boot) < 0 || clock_gettime(CLOCK_REALTIME, &real) < 0 ||
	    clock_gettime(CLOCK_BOOTTIME, &since_boot) < 0 ||
	    clock_gettime(CLOCK_REALTIME_COARSE, &coarse) < 0)
		return -1;
	ret->clock = (nanoseconds(real) - nanoseconds(since_boot)) / (NSEC / 1000);
	ret->time = nanoseconds(coarse);
	return 0;
}

/*
 * What a token says: since when git wants to know. After "everything" git forgets what it knew of
 * files, but it writes its cache of untracked files to the index as it was, and trusts it the
 * next time. So the token remembers since when that has not been told anything.
 *
 * The stack is what the upper lies on (base/upper.h). When what was changed becomes a layer, nothing of
 * it is in the upper any more: a token of another stack says nothing.
 */
struct question {
	bool known;
	int64_t since; /* ns; 0: since the layers were made */
	int64_t untracked;
};

static bool parse_time(const char **at, char ending, int64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoll(*at, &end, 10);
	if (errno || end == *at || *end != ending)
		return false;
	*at = end + 1;
	return true;
}

static struct question parse(const char *token, const struct moment *now, const char *stack)
{
	enum { CLOCK_SLACK = 50 };
	autofree char *start = xasprintf("jib:2:%s:%s:", now->boot.s, stack);
	const char *at = token + strlen(start);
	struct question question = {0};
	int64_t clock;

	if (strcmp(token, FSMONITOR_START) == 0)
		question.known = strcmp(stack, UPPER_FRESH) == 0;
	else if (str_starts(token, start) && parse_time(&at, ':', &clock) &&
		 parse_time(&at, ':', &question.since) &&
		 parse_time(&at, '\0', &question.untracked))
		question.known = llabs(clock - now->clock) <= CLOCK_SLACK && question.since > 0 &&
				 question.since <= now->time;
	return question.known ? question : (struct question){0};
}

/* Asking init. */

struct upper {
	struct str stack;
	struct strv carried;
	int fds[UPPER_FDS];
};

static int connect_init(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = UPPER_SOCKET};
	struct timeval patience = {.tv_sec = 5};
	autofd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -1;
	return steal_fd(&fd);
}

/* 0, or -1 when the changes of the current directory are not known. */
static int ask(struct upper *ret)
{
	autoerror struct error ignored = ERROR_INIT;
	autopacket struct packet question = PACKET_INIT;
	autopacket struct packet answer = PACKET_INIT;
	autofree char *here = getcwd(NULL, 0);
	autofd int fd = connect_init();

	if (!here || fd < 0)
		return -1;
	packet_put_string(&question, here);
	if (packet_send(fd, MESSAGE_CHANGES, 0, &question, &ignored) != 0 ||
	    packet_receive(fd, false, &answer, &ignored) != 0 || answer.fd_count != UPPER_FDS)
		return -1;
	const char *text;

	if (packet_get_string(&answer, &text, &ignored) < 0)
		return -1;
	str_add(&ret->stack, text);
	while (answer.at < answer.payload.len) {
		if (packet_get_string(&answer, &text, &ignored) < 0)
			return -1;
		strv_add(&ret->carried, text);
	}
	for (size_t i = 0; i < UPPER_FDS; i++)
		ret->fds[i] = steal_fd(&answer.fds[i]);
	return 0;
}

/* Listing. */

struct listing {
	struct str paths; /* NUL-terminated each */
	const char *prefix;
	struct question since;
};

static void name(struct listing *listing, const char *path, const char *suffix)
{
	str_add(&listing->paths, listing->prefix);
	str_add(&listing->paths, path);
	str_add_bytes(&listing->paths, suffix, strlen(suffix) + 1);
}

/*
 * Everything in a directory. git takes "d/" for all files in its index that are below, not for a file
 * of that name, which may be what the directory has replaced; and of untracked ones only for those
 * beside d: for those in d it takes the name of anything in it.
 */
static void name_inside(struct listing *listing, const char *path)
{
	name(listing, path, *path ? "/.jib" : ".jib");
}

static void name_directory(struct listing *listing, const char *path)
{
	name(listing, path, "");
	name(listing, path, "/");
	name_inside(listing, path);
}

/*
 * Whether something with this change time has changed since. A file system without nanoseconds has
 * full seconds, or two. Otherwise it is the clock that the token was taken from, of the same tick.
 */
static bool is_after(struct timespec changed, int64_t since)
{
	int64_t precision = changed.tv_nsec ? NSEC / 1000 : (int64_t)2 * NSEC;

	return nanoseconds(changed) + precision >= since;
}

static bool has_mark(int fd, const char *xattr, char wanted)
{
	char value;
	ssize_t len = fgetxattr(fd, xattr, &value, 1);

	return wanted ? len == 1 && value == wanted : len >= 0 || errno == ERANGE;
}

/* One that is not merged with what the layers have there: new, or in the place of another. */
static bool is_new_directory(int dirfd, const char *entry)
{
	autofd int fd = open_beneath(dirfd, entry, O_RDONLY | O_DIRECTORY, 0);

	return fd < 0 || has_mark(fd, "user.overlay.opaque", 'y') ||
	       !has_mark(fd, "user.overlay.origin", '\0');
}

static int list_entry(void *data, int dirfd, const char *entry, const char *path,
		      const struct stat *st)
{
	struct listing *listing = data;

	if (S_ISDIR(st->st_mode)) {
		bool closed = (st->st_mode & 0500) != 0500;
		bool changed = listing->since.since ? is_after(st->st_ctim, listing->since.since)
						    : is_new_directory(dirfd, entry);

		if (closed || changed)
			name_directory(listing, path);
		else if (listing->since.since && is_after(st->st_ctim, listing->since.untracked))
			name_inside(listing, path);
		return closed ? TREE_SKIP : 0;
	}
	if (listing->since.since && !is_after(st->st_ctim, listing->since.since))
		return 0;
	name(listing, path, "");
	/*
	 * A whiteout, which newer kernels may also write as an empty file with a mark, may hide a
	 * directory.
	 */
	if ((S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0)) ||
	    (S_ISREG(st->st_mode) && st->st_size == 0))
		name_directory(listing, path);
	return 0;
}

static int list_carried(struct listing *listing, int dirfd, const struct strv *carried,
			struct error *err)
{
	for (size_t i = 0; i < carried->len; i++) {
		autofree char *number = xasprintf("%zu", i);
		autofree char *prefix = xasprintf("%s/", carried->items[i]);
		autofd int fd = open_beneath(dirfd, number, O_RDONLY | O_DIRECTORY, 0);
		struct stat st;

		if (fd < 0 || fstat(fd, &st) < 0)
			return error_errno(err, "cannot open %s", number);
		listing->prefix = "";
		if (is_after(st.st_ctim, listing->since.since))
			name_directory(listing, carried->items[i]);
		else if (is_after(st.st_ctim, listing->since.untracked))
			name_inside(listing, carried->items[i]);
		listing->prefix = prefix;
		if (tree_walk(fd, list_entry, listing, err) < 0)
			return -1;
	}
	return 0;
}

/* -1 also when it is everything. */
static int list(const struct upper *upper, struct listing *listing)
{
	autoerror struct error ignored = ERROR_INIT;
	struct stat st;

	if (fstat(upper->fds[UPPER_TREE], &st) < 0 ||
	    (listing->since.since && is_after(st.st_ctim, listing->since.since)))
		return -1;
	listing->prefix = "";
	if (listing->since.since && is_after(st.st_ctim, listing->since.untracked))
		name_inside(listing, "");
	/*
	 * With a later token git has been told; of untracked files in states only when it asks again.
	 * Opened anew: others read through this one too.
	 */
	autofd int reported = open(fd_path(upper->fds[UPPER_REPORTED]).s, O_RDONLY | O_CLOEXEC);
	bool in_states = strcmp(upper->stack.s, UPPER_FRESH) != 0;
	bool untold = !(in_states ? listing->since.untracked : listing->since.since);

	if (reported < 0 ||
	    (untold && read_all(reported, REPORTED_MAX, &listing->paths, &ignored) < 0))
		return -1;
	if (tree_walk(upper->fds[UPPER_TREE], list_entry, listing, &ignored) < 0 ||
	    list_carried(listing, upper->fds[UPPER_CARRIED], &upper->carried, &ignored) < 0)
		return -1;
	return 0;
}

/* Who asks. */

static bool takes_value(const char *option)
{
	static const char *const options[] = {
		"-C",	       "-c",	       "--git-dir",   "--work-tree",
		"--namespace", "--config-env", "--exec-path", "--super-prefix"};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strcmp(option, options[i]) == 0)
			return true;
	return false;
}

/* The next argument; NULL after the last. */
static const char *next_argument(const struct str *line, size_t *at)
{
	if (*at >= line->len)
		return NULL;
	const char *argument = line->s + *at;

	*at += strlen(argument) + 1;
	return argument;
}

/*
 * git before 2.43 does not look at a file that it is told is unchanged, and then judges it by stat data
 * that it has not read (diff-lib.c, check_removed()): git diff, git add -A and others may take it
 * for removed. git status does not: it refreshes the index first. All other commands of git are
 * answered "everything", and work as without a monitor.
 */
static bool may_be_told(void)
{
	enum { LINE_MAX_BYTES = 1 << 20 };
	autofree char *path = xasprintf("/proc/%d/cmdline", (int)getppid());
	autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	autostr struct str line = STR_INIT;
	autoerror struct error ignored = ERROR_INIT;
	size_t at = 0;

	if (fd < 0 || read_all(fd, LINE_MAX_BYTES, &line, &ignored) < 0)
		return false;
	const char *program = next_argument(&line, &at);

	if (!program || strcmp(path_last(program), "git") != 0)
		return program && !str_starts(path_last(program), "git");
	for (const char *argument; (argument = next_argument(&line, &at));) {
		if (takes_value(argument))
			next_argument(&line, &at);
		else if (argument[0] != '-')
			return strcmp(argument, "status") == 0;
	}
	return false;
}

int fsmonitor_main(int argc, char **argv)
{
	struct moment now = {.boot = STR_INIT};
	struct upper upper = {STR_INIT, STRV_INIT, {-1, -1, -1}};
	struct listing listing = {.paths = STR_INIT};
	autostr struct str answer = STR_INIT;

	if (argc != 3 || strcmp(argv[1], "2") != 0 || moment_now(&now) < 0)
		return 1;
	bool asked = ask(&upper) == 0;

	/* For what cannot be asked about every token is new. */
	listing.since = parse(argv[2], &now, asked ? upper.stack.s : "");
	bool told = asked && may_be_told() && listing.since.known && list(&upper, &listing) == 0;

	str_addf(&answer, "jib:2:%s:%s:%lld:%lld:%lld", now.boot.s, asked ? upper.stack.s : "",
		 (long long)now.clock, (long long)now.time,
		 (long long)(told ? now.time : listing.since.untracked));
	str_add_bytes(&answer, "", 1);
	if (!told)
		str_add_bytes(&answer, "/", 2);
	else if (listing.paths.len)
		str_add_bytes(&answer, listing.paths.s, listing.paths.len);
	int written = write_all(STDOUT_FILENO, answer.s, answer.len);

	str_release(&now.boot);
	str_release(&listing.paths);
	str_release(&upper.stack);
	strv_release(&upper.carried);
	for (size_t i = 0; i < UPPER_FDS; i++)
		fd_close(&upper.fds[i]);
	return written < 0 ? 1 : 0;
}
