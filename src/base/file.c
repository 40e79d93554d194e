#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"

static int open_resolved(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned int)flags | O_CLOEXEC,
		.mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
		.resolve = resolve | RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int tries = 100;
	int fd;

	/* EAGAIN: a rename elsewhere raced with the walk (openat2(2)). */
	do
		fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
	while (fd < 0 && (errno == EINTR || (errno == EAGAIN && --tries)));
	return fd;
}

int open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
	return open_resolved(dirfd, path, flags, mode, 0);
}

int open_within(int dirfd, const char *path, int flags)
{
	return open_resolved(dirfd, path, flags, 0, RESOLVE_NO_XDEV);
}

struct fd_path fd_path(int fd)
{
	struct fd_path path;

	snprintf(path.s, sizeof path.s, "/proc/self/fd/%d", fd);
	return path;
}

int write_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd full = {.fd = fd, .events = POLLOUT};

			if (poll(&full, 1, -1) < 0 && errno != EINTR)
				return -1;
			continue;
		}
		if (n < 0)
			return -1;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int read_all(int fd, size_t max, struct str *ret, struct error *err)
{
	char buffer[16384];
	size_t total = 0;

	for (;;) {
		ssize_t n = read(fd, buffer, sizeof buffer);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, "cannot read");
		if (n == 0)
			break;
		total += (size_t)n;
		if (total > max) {
			errno = EFBIG;
			return error_errno(err, "more than %zu bytes", max);
		}
		str_add_bytes(ret, buffer, (size_t)n);
	}
	str_add_bytes(ret, "", 0);
	return 0;
}

int file_read_at(int dirfd, const char *name, size_t max, struct str *ret, struct error *err)
{
	struct stat st;
	/* O_NONBLOCK: a FIFO in the place of the file must not hang the reader. */
	autofd int fd = open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "cannot read %s", name);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERR_CORRUPT, "%s is not a regular file", name);
	if (read_all(fd, max, ret, err) < 0)
		return error_wrap(err, "%s", name);
	return 0;
}

int file_replace_at(int dirfd, const char *name, const void *bytes, size_t len, mode_t mode,
		    bool durable, struct error *err)
{
	/* The process id makes it ours among writers; a leftover of a crash is overwritten. */
	autofree char *temporary = xasprintf("%s.%d.tmp", name, (int)getpid());
	autofd int fd = open_beneath(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC, mode);

	if (fd < 0)
		return error_errno(err, "cannot create %s", temporary);
	if (write_all(fd, bytes, len) < 0 || (durable && fsync(fd) < 0) ||
	    renameat(dirfd, temporary, dirfd, name) < 0) {
		error_errno(err, "cannot write %s", name);
		unlinkat(dirfd, temporary, 0);
		return -1;
	}
	if (durable && fsync(dirfd) < 0)
		return error_errno(err, "cannot sync the directory of %s", name);
	return 0;
}

/* From where both files stand; what ends before is no error. */
static int copy_bytes(int from, int to, off_t len)
{
	enum { AT_ONCE = 1 << 30 };
	char buffer[65536];

	while (len > 0) {
		ssize_t n = copy_file_range(from, NULL, to, NULL,
					    len < AT_ONCE ? (size_t)len : AT_ONCE, 0);

		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		len -= n;
	}
	if (len > 0 && errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
		return -1;
	while (len > 0) {
		ssize_t n = read(from, buffer,
				 len < (off_t)sizeof buffer ? (size_t)len : sizeof buffer);

		if (n == 0)
			return 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || write_all(to, buffer, (size_t)n) < 0)
			return -1;
		len -= n;
	}
	return 0;
}

/* Holes stay holes: the image of a disk may be far larger than what is in it. */
static int copy_data(int from, int to)
{
	for (off_t at = 0;;) {
		off_t data = lseek(from, at, SEEK_DATA);

		if (data < 0 && errno == ENXIO) {
			off_t end = lseek(from, 0, SEEK_END);

			return end < 0 ? -1 : ftruncate(to, end);
		}
		off_t hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);

		if (hole < 0 || lseek(from, data, SEEK_SET) < 0 || lseek(to, data, SEEK_SET) < 0 ||
		    copy_bytes(from, to, hole - data) < 0)
			return -1;
		at = hole;
	}
}

int file_copy(int from, int to)
{
	struct stat st;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	if (fstat(from, &st) < 0)
		return -1;
	/* Not only where there are holes: a file may be compressed, or inline. */
	if (st.st_blocks < st.st_size / 512)
		return copy_data(from, to);
	return copy_bytes(from, to, INT64_MAX);
}

int file_copy_at(int from, int dirfd, const char *name, struct error *err)
{
	struct stat st;

	if (fstat(from, &st) < 0)
		return error_errno(err, "cannot stat %s", name);
	autofd int to = open_beneath(dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	if (to < 0)
		return error_errno(err, "cannot create %s", name);
	struct timespec times[2] = {st.st_atim, st.st_mtim};

	if (file_copy(from, to) < 0 || fchmod(to, st.st_mode & 0777) < 0 || futimens(to, times) < 0)
		return error_errno(err, "cannot copy %s", name);
	return 0;
}

int dir_make_at(int dirfd, const char *name, mode_t mode, int *ret_fd, struct error *err)
{
	if (mkdirat(dirfd, name, mode) < 0 && errno != EEXIST)
		return error_errno(err, "cannot create the directory %s", name);
	int fd = open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return error_errno(err, "cannot open the directory %s", name);
	*ret_fd = fd;
	return 0;
}

int dir_make_path_at(int dirfd, const char *path, mode_t mode, int *ret_fd, struct error *err)
{
	autofd int at = -1;

	while (*path) {
		size_t len = strcspn(path, "/");
		autofree char *component = xstrndup(path, len);

		path += len + (path[len] == '/');
		if (!len || strcmp(component, ".") == 0)
			continue;
		int next;

		if (dir_make_at(at < 0 ? dirfd : at, component, mode, &next, err) < 0)
			return -1;
		fd_close(&at);
		at = next;
	}
	if (at < 0)
		at = open_beneath(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	if (at < 0)
		return error_errno(err, "cannot open a directory");
	*ret_fd = steal_fd(&at);
	return 0;
}

/*
 * Removal. A directory nested deeper than this is first moved up to the top, so that neither the
 * stack nor the number of open files grows with the depth that a sandbox chose.
 */
enum { REMOVE_DEPTH = 64, REMOVE_TRIES = 100 };

struct removal {
	int top;
	unsigned int moved;
	struct error *err;
};

static int remove_entry(struct removal *r, int dirfd, const char *name, int depth);

/* Root may have made it immutable, or appendable only. Whether it was, and is not any more. */
static bool make_mutable(int fd)
{
	unsigned int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || !(flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)))
		return false;
	flags &= ~(unsigned int)(FS_IMMUTABLE_FL | FS_APPEND_FL);
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

/* The flag may be the entry's own, or that of the directory it is in. */
static bool make_removable(int dirfd, const char *name)
{
	struct stat st;
	bool changed = make_mutable(dirfd);

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
		return changed;
	autofd int fd = open_within(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);

	return (fd >= 0 && make_mutable(fd)) || changed;
}

/* unlinkat(2), whatever flags are in the way. */
static int unlink_at(int dirfd, const char *name, int flags)
{
	if (unlinkat(dirfd, name, flags) == 0)
		return 0;
	if (errno != EPERM)
		return -1;
	if (make_removable(dirfd, name))
		return unlinkat(dirfd, name, flags);
	errno = EPERM;
	return -1;
}

/*
 * Removes what is no directory or an empty one; 1 when it is a directory that holds something.
 */
static int remove_simple(int dirfd, const char *name, struct error *err)
{
	if (unlink_at(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	/* Linux says EISDIR for a directory, POSIX EPERM; so does Linux for an immutable file. */
	if (errno != EISDIR && errno != EPERM)
		return error_errno(err, "cannot remove %s", name);
	if (unlink_at(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno == EBUSY)
		return error_errno(err, "cannot remove %s: something is mounted there", name);
	if (errno == ENOTDIR) {
		errno = EPERM;
		return error_errno(err, "cannot remove %s", name);
	}
	return 1;
}

/* Opens a directory in order to empty it, whatever its mode is; never one that is mounted there. */
static int open_to_empty(int dirfd, const char *name)
{
	struct stat st;
	autofd int where = open_within(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);

	if (where < 0 || fstat(where, &st) < 0)
		return -1;
	/* Writable also for move_up(): a directory that gets another parent is written to. */
	if ((st.st_mode & 0700) != 0700)
		chmod(fd_path(where).s, 0700);
	return open_within(where, ".", O_RDONLY | O_DIRECTORY);
}

static int remove_content(struct removal *r, int fd, int depth)
{
	autodir DIR *dir = fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 3));

	if (!dir)
		return error_errno(r->err, "cannot read a directory");
	/* The duplicate shares its position with `fd`, of which this may not be the first. */
	rewinddir(dir);
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);

		if (!entry)
			return errno ? error_errno(r->err, "cannot read a directory") : 0;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (remove_entry(r, fd, entry->d_name, depth) < 0)
			return -1;
	}
}

static int move_up(struct removal *r, int dirfd, const char *name)
{
	for (;;) {
		autofree char *target = xasprintf("deep-%u", r->moved++);

		if (syscall(SYS_renameat2, dirfd, name, r->top, target, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -1;
	}
}

static int remove_entry(struct removal *r, int dirfd, const char *name, int depth)
{
	int result = remove_simple(dirfd, name, r->err);

	if (result <= 0)
		return result;
	autofd int fd = open_to_empty(dirfd, name);

	if (fd < 0)
		return error_errno(r->err, "cannot remove %s", name);
	if (depth >= REMOVE_DEPTH && move_up(r, dirfd, name) == 0)
		return 0;
	if (remove_content(r, fd, depth + 1) < 0)
		return error_wrap(r->err, "%s", name);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
		return error_errno(r->err, "cannot remove %s", name);
	return 0;
}

int tree_remove_at(int dirfd, const char *name, struct error *err)
{
	int result = remove_simple(dirfd, name, err);

	if (result <= 0)
		return result;
	autofd int top = open_to_empty(dirfd, name);
	struct removal removal = {.top = top, .err = err};

	if (top < 0)
		return error_errno(err, "cannot remove %s", name);
	/* Deep directories land in the top as it is read; empty it until nothing is left. */
	for (int again = 0;; again++) {
		unsigned int before = removal.moved;

		if (remove_content(&removal, top, 1) < 0)
			return error_wrap(err, "cannot remove %s", name);
		if (removal.moved != before)
			continue;
		if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
			return 0;
		/* Who still has it open may have made a file in it at the last moment. */
		if (errno != ENOTEMPTY || again >= REMOVE_TRIES)
			return error_errno(err, "cannot remove %s", name);
	}
}
