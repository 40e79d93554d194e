#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

static int set_lock(int fd, int command)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int result;

	do
		result = fcntl(fd, command, &whole);
	while (result < 0 && errno == EINTR);
	return result;
}

int lock_try(int fd, struct error *err)
{
	if (set_lock(fd, F_OFD_SETLK) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return 1;
	return error_errno(err, "cannot lock");
}

int lock_probe(int fd, struct error *err)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_GETLK, &whole) < 0)
		return error_errno(err, "cannot probe a lock");
	return whole.l_type != F_UNLCK;
}

int lock_wait(int fd, struct error *err)
{
	if (set_lock(fd, F_OFD_SETLKW) < 0)
		return error_errno(err, "cannot lock");
	return 0;
}

static int lock_directory(int fd, int operation, struct error *err)
{
	int result;

	do
		result = flock(fd, operation);
	while (result < 0 && errno == EINTR);
	if (result == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return 1;
	return error_errno(err, "cannot lock a directory");
}

int lock_directory_try(int fd, struct error *err)
{
	return lock_directory(fd, LOCK_EX | LOCK_NB, err);
}

int lock_directory_wait(int fd, struct error *err)
{
	return lock_directory(fd, LOCK_EX, err);
}

int lock_directory_shared(int fd, struct error *err)
{
	return lock_directory(fd, LOCK_SH, err);
}

bool lock_still_named(int dirfd, const char *name, int fd)
{
	struct stat open_one, named;

	return fstat(fd, &open_one) == 0 && open_one.st_nlink > 0 &&
	       fstatat(dirfd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       open_one.st_ino == named.st_ino && open_one.st_dev == named.st_dev;
}

int lock_named(int dirfd, const char *name, int *ret_fd, struct error *err)
{
	for (;;) {
		autofd int fd = open_beneath(dirfd, name, O_RDWR | O_CREAT, 0600);

		if (fd < 0 || set_lock(fd, F_OFD_SETLKW) < 0)
			return error_errno(err, "cannot lock %s", name);
		/* Removed by the one who held it. */
		if (!lock_still_named(dirfd, name, fd))
			continue;
		*ret_fd = steal_fd(&fd);
		return 0;
	}
}

void lock_named_release(int dirfd, const char *name, int *fd)
{
	if (*fd < 0)
		return;
	unlinkat(dirfd, name, 0);
	fd_close(fd);
}
