#include "review/content.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"

enum { LOOKS = 3 };

/* Puts "cannot DO PATH" with the path made safe. */
static int fail(struct error *err, const char *what, const char *path)
{
	int number = errno;
	autostr struct str safe = STR_INIT;

	str_add_escaped(&safe, path, strlen(path));
	errno = number;
	return error_errno(err, "cannot %s %s", what, safe.s);
}

static int fail_changed(struct error *err, const char *path)
{
	autostr struct str safe = STR_INIT;

	str_add_escaped(&safe, path, strlen(path));
	return error_set(err, ERR_UNSTABLE, "%s has changed while it was read", safe.s);
}

/* A regular file's bytes; another process may write to it. */
static int hash_file(int fd, uint8_t *ret)
{
	struct sha256_ctx context;
	uint8_t buffer[65536];

	sha256_init(&context);
	for (off_t at = 0;;) {
		ssize_t n = pread(fd, buffer, sizeof buffer, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		sha256_update(&context, (size_t)n, buffer);
		at += n;
	}
	sha256_digest(&context, CONTENT_HASH, ret);
	return 0;
}

static int hash_link(int fd, uint8_t *ret, uint64_t *ret_size)
{
	struct sha256_ctx context;
	char target[PATH_MAX];
	ssize_t len = readlinkat(fd, "", target, sizeof target);

	if (len < 0)
		return -1;
	sha256_init(&context);
	sha256_update(&context, (size_t)len, (const uint8_t *)target);
	sha256_digest(&context, CONTENT_HASH, ret);
	*ret_size = (uint64_t)len;
	return 0;
}

static bool same_state(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mode == b->st_mode &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static int describe_open_error(struct content *ret, const char *path, struct error *err)
{
	ret->number = errno;
	switch (errno) {
	case ENOENT:
		ret->kind = CONTENT_ABSENT;
		return 0;
	case ENOTDIR:
	case ELOOP:
		ret->kind = CONTENT_BLOCKED;
		return 0;
	case EXDEV:
		ret->kind = CONTENT_MOUNT;
		return 0;
	case EACCES:
	case EPERM:
	case ENAMETOOLONG:
		ret->kind = CONTENT_UNREADABLE;
		return 0;
	default:
		return fail(err, "open", path);
	}
}

static void describe(const struct stat *st, struct content *ret)
{
	if (S_ISREG(st->st_mode))
		ret->kind = CONTENT_FILE;
	else if (S_ISLNK(st->st_mode))
		ret->kind = CONTENT_LINK;
	else if (S_ISDIR(st->st_mode))
		ret->kind = CONTENT_DIRECTORY;
	else
		ret->kind = CONTENT_SPECIAL;
	ret->mode = st->st_mode & 0777;
	ret->executable = S_ISREG(st->st_mode) && (st->st_mode & S_IXUSR);
	ret->size = (uint64_t)st->st_size;
	ret->dev = st->st_dev;
	ret->ino = st->st_ino;
}

/* 0: looked; 1: it has changed meanwhile. */
static int look_once(int dirfd, const char *path, bool read, struct content *ret, struct error *err)
{
	struct stat before, after;
	/* A path does not open what it names: to open a FIFO or a device is to act on it. */
	autofd int where = open_within(dirfd, path, O_PATH | O_NOFOLLOW);

	*ret = (struct content){.kind = CONTENT_ABSENT};
	if (where < 0)
		return describe_open_error(ret, path, err);
	if (fstat(where, &before) < 0)
		return fail(err, "stat", path);
	describe(&before, ret);
	if (!read || (ret->kind != CONTENT_FILE && ret->kind != CONTENT_LINK))
		return 0;
	if (ret->kind == CONTENT_LINK)
		return hash_link(where, ret->hash, &ret->size) < 0 ? fail(err, "read", path) : 0;
	autofd int fd = open(fd_path(where).s, O_RDONLY | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 && (errno == EACCES || errno == EPERM)) {
		ret->kind = CONTENT_UNREADABLE;
		ret->number = errno;
		return 0;
	}
	if (fd < 0 || hash_file(fd, ret->hash) < 0 || fstat(fd, &after) < 0)
		return fail(err, "read", path);
	return !same_state(&before, &after);
}

int content_look(int dirfd, const char *path, struct content *ret, struct error *err)
{
	struct content content;

	for (int i = 0; i < LOOKS; i++) {
		int result = look_once(dirfd, path, true, &content, err);

		if (result < 0)
			return -1;
		if (result > 0)
			continue;
		*ret = content;
		return 0;
	}
	return fail_changed(err, path);
}

int content_peek(int dirfd, const char *path, struct content *ret, struct error *err)
{
	struct content content;

	if (look_once(dirfd, path, false, &content, err) < 0)
		return -1;
	*ret = content;
	return 0;
}

bool content_same_bytes(const struct content *a, const struct content *b)
{
	return a->kind == CONTENT_FILE && b->kind == CONTENT_FILE && a->size == b->size &&
	       memcmp(a->hash, b->hash, CONTENT_HASH) == 0;
}

bool content_equal(const struct content *a, const struct content *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case CONTENT_ABSENT:
		return true;
	case CONTENT_FILE:
		return a->executable == b->executable && content_same_bytes(a, b);
	case CONTENT_LINK:
		return a->size == b->size && memcmp(a->hash, b->hash, CONTENT_HASH) == 0;
	default:
		return false;
	}
}

int content_open(int dirfd, const char *path, int *ret_fd, struct error *err)
{
	struct stat st;
	autofd int where = open_within(dirfd, path, O_PATH | O_NOFOLLOW);

	if (where < 0 || fstat(where, &st) < 0)
		return fail(err, "open", path);
	if (!S_ISREG(st.st_mode))
		return fail_changed(err, path);
	int fd = open(fd_path(where).s, O_RDONLY | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return fail(err, "open", path);
	*ret_fd = fd;
	return 0;
}

static int copy_link(int dirfd, const char *path, int to, const char *name, struct error *err)
{
	char target[PATH_MAX];
	autofd int where = open_within(dirfd, path, O_PATH | O_NOFOLLOW);
	ssize_t len = where < 0 ? -1 : readlinkat(where, "", target, sizeof target - 1);

	if (len < 0)
		return errno == EINVAL ? fail_changed(err, path) : fail(err, "read", path);
	target[len] = '\0';
	if (symlinkat(target, to, name) < 0)
		return fail(err, "copy", path);
	return 0;
}

static int copy_file(int dirfd, const char *path, const struct content_wish *wish, int to,
		     const char *name, struct error *err)
{
	autofd int from = -1;

	if (content_open(dirfd, path, &from, err) < 0)
		return -1;
	autofd int fd = open_beneath(to, name, O_WRONLY | O_CREAT | O_EXCL, wish->mode);

	if (fd < 0 || file_copy(from, fd) < 0 || (wish->exact && fchmod(fd, wish->mode) < 0) ||
	    (wish->synced && fsync(fd) < 0))
		return fail(err, "copy", path);
	return 0;
}

int content_copy(int dirfd, const char *path, const struct content *seen,
		 const struct content_wish *wish, int to, const char *name, struct error *err)
{
	struct content copy;
	int result = seen->kind == CONTENT_LINK ? copy_link(dirfd, path, to, name, err)
						: copy_file(dirfd, path, wish, to, name, err);

	if (result < 0 || content_look(to, name, &copy, err) < 0)
		return -1;
	copy.executable = seen->executable;
	return content_equal(&copy, seen) ? 0 : fail_changed(err, path);
}

void content_hash_text(const struct content *content, char ret[2 * CONTENT_HASH + 1])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < CONTENT_HASH; i++) {
		ret[2 * i] = digits[content->hash[i] >> 4];
		ret[2 * i + 1] = digits[content->hash[i] & 15];
	}
	ret[2 * CONTENT_HASH] = '\0';
}

const char *content_kind_text(const struct content *content)
{
	switch (content->kind) {
	case CONTENT_ABSENT:
		return "nothing";
	case CONTENT_FILE:
		return "a file";
	case CONTENT_LINK:
		return "a symbolic link";
	case CONTENT_DIRECTORY:
		return "a directory";
	case CONTENT_SPECIAL:
		return "a FIFO, a socket or a device";
	case CONTENT_BLOCKED:
		return "below something that is no directory";
	case CONTENT_MOUNT:
		return "on another file system";
	case CONTENT_UNREADABLE:
		return "unreadable";
	}
	return "unknown";
}
