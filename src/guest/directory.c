#include "guest/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/str.h"

/* A directory, its content on the way to another one. */
struct moving {
	int parent;
	const char *name;
	struct stat st;
	int from;
	int to_parent;
	const char *to_name;
	int to;
};

static int move_directory(int parent, const char *name, int to_parent, const char *to_name,
			  bool in_place);

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static DIR *list(int dirfd)
{
	autofd int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (dir)
		steal_fd(&fd);
	return dir;
}

bool directory_is_empty(int dirfd)
{
	autodir DIR *dir = list(dirfd);
	const struct dirent *entry;

	errno = dir ? 0 : errno;
	while (dir && (entry = readdir(dir)))
		if (!is_dots(entry->d_name))
			return false;
	return dir && errno == 0;
}

/* A directory that is closed for writing may get a new name, but no new parent. */
static int move_closed(int from, const char *name, int to)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno;
	if (!S_ISDIR(st.st_mode))
		return EACCES;
	if (fchmodat(from, name, (st.st_mode & 07777) | S_IRWXU, 0) < 0)
		return errno;
	int error = renameat(from, name, to, name) < 0 ? errno : 0;

	fchmodat(error ? from : to, name, st.st_mode & 07777, 0);
	return error;
}

/* What is gone by now is moved. Returns 0 or errno. */
static int move_simply(int from, const char *name, int to)
{
	int error = renameat(from, name, to, name) < 0 ? errno : 0;

	if (error == EACCES)
		error = move_closed(from, name, to);
	return error == ENOENT ? 0 : error;
}

static int move_entry(int from, const char *name, int to)
{
	int error = move_simply(from, name, to);

	return error == EXDEV ? move_directory(from, name, to, name, false) : error;
}

/* Moves what is in one directory into another. Returns 0 or errno. */
static int move_content(int from, int to)
{
	autodir DIR *dir = list(from);
	const struct dirent *entry;
	int error = 0;

	if (!dir)
		return errno;
	while (!error && (errno = 0, entry = readdir(dir)))
		if (!is_dots(entry->d_name))
			error = move_entry(from, entry->d_name, to);
	return error ? error : errno;
}

/* What has been moved is of the upper alone, so it can be renamed, whatever it is. */
static void move_back(int from, int to)
{
	autodir DIR *dir = list(from);
	const struct dirent *entry;

	/* What does not go back stays where it is: that is better than gone. */
	while (dir && (entry = readdir(dir)))
		if (!is_dots(entry->d_name))
			move_simply(from, entry->d_name, to);
}

static bool is_copied(const char *xattr)
{
	return (str_starts(xattr, "user.") && !str_starts(xattr, "user.overlay.")) ||
	       str_starts(xattr, "system.posix_acl_");
}

static int copy_xattr(int from, int to, const char *name)
{
	ssize_t size = fgetxattr(from, name, NULL, 0);

	if (size < 0)
		return errno == ENODATA ? 0 : -1;
	autofree char *value = xmalloc((size_t)size + 1);

	size = fgetxattr(from, name, value, (size_t)size);
	return size < 0 ? -1 : fsetxattr(to, name, value, (size_t)size, 0);
}

static int copy_xattrs(int from, int to)
{
	ssize_t size = flistxattr(from, NULL, 0);

	if (size < 0)
		return errno == ENOTSUP ? 0 : -1;
	autofree char *names = xmalloc((size_t)size + 1);

	size = flistxattr(from, names, (size_t)size);
	for (ssize_t at = 0; at < size; at += (ssize_t)strlen(names + at) + 1)
		if (is_copied(names + at) && copy_xattr(from, to, names + at) < 0)
			return -1;
	return size < 0 ? -1 : 0;
}

static int set_mode_and_times(int fd, const struct stat *st)
{
	struct timespec times[] = {st->st_atim, st->st_mtim};

	return fchmod(fd, st->st_mode & 07777) < 0 || futimens(fd, times) < 0 ? -1 : 0;
}

static int copy_attributes(const struct moving *moving)
{
	const struct stat *st = &moving->st;
	struct stat now;

	if (copy_xattrs(moving->from, moving->to) < 0 || fstat(moving->to, &now) < 0)
		return errno;
	/* Of a group that the caller is not in, no new directory can be. */
	if ((now.st_uid != st->st_uid || now.st_gid != st->st_gid) &&
	    fchown(moving->to, st->st_uid, st->st_gid) < 0 && errno != EPERM)
		return errno;
	return set_mode_and_times(moving->to, st) < 0 ? errno : 0;
}

/*
 * The emptied directory goes: removed, or replaced by the new one. Somebody may have put something
 * into it meanwhile.
 */
static int retire(const struct moving *moving, bool in_place)
{
	enum { ATTEMPTS = 16 };
	int error = 0;

	for (int i = 0; i < ATTEMPTS && !error; i++) {
		int result = in_place ? renameat(moving->to_parent, moving->to_name, moving->parent,
						 moving->name)
				      : unlinkat(moving->parent, moving->name, AT_REMOVEDIR);

		/* Gone: then somebody else has removed it, and all in it that had not moved yet. */
		if (result == 0 || (!in_place && errno == ENOENT))
			return 0;
		if (errno != ENOTEMPTY && errno != EEXIST)
			return errno;
		error = move_content(moving->from, moving->to);
	}
	return error ? error : EBUSY;
}

/* rename(2) does not ask for the permissions of what is below the directory. */
static int open_source(struct moving *moving)
{
	if (fstatat(moving->parent, moving->name, &moving->st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	if (!S_ISDIR(moving->st.st_mode)) {
		errno = ENOTDIR;
		return -1;
	}
	if ((moving->st.st_mode & S_IRWXU) != S_IRWXU &&
	    fchmodat(moving->parent, moving->name, (moving->st.st_mode & 07777) | S_IRWXU, 0) < 0)
		return -1;
	moving->from = openat(moving->parent, moving->name,
			      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return moving->from < 0 ? -1 : 0;
}

static int open_target(struct moving *moving)
{
	if (mkdirat(moving->to_parent, moving->to_name, 0700) < 0)
		return -1;
	moving->to = openat(moving->to_parent, moving->to_name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return moving->to < 0 ? -1 : 0;
}

/* Both directories are open. */
static int move_opened(const struct moving *moving, bool in_place)
{
	int error = move_content(moving->from, moving->to);

	if (!error)
		error = copy_attributes(moving);
	if (!error)
		error = retire(moving, in_place);
	if (error) {
		/* It may have got its final mode already, which may keep us out. */
		fchmod(moving->to, 0700);
		move_back(moving->to, moving->from);
	}
	return error;
}

/*
 * Makes the new directory `to_name` out of a directory. With `in_place` it takes its name in the
 * end. Returns 0, or errno with everything moved back.
 */
static int move_directory(int parent, const char *name, int to_parent, const char *to_name,
			  bool in_place)
{
	struct moving moving = {
		.parent = parent,
		.name = name,
		.from = -1,
		.to_parent = to_parent,
		.to_name = to_name,
		.to = -1,
	};
	int error = open_source(&moving) < 0 || open_target(&moving) < 0 ? errno : 0;

	if (!error)
		error = move_opened(&moving, in_place);
	if (error && moving.to >= 0)
		unlinkat(to_parent, to_name, AT_REMOVEDIR);
	if (error && moving.from >= 0)
		set_mode_and_times(moving.from, &moving.st);
	fd_close(&moving.from);
	fd_close(&moving.to);
	return error;
}

static int make_movable(const struct place *place)
{
	uint64_t number;

	if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
		return EIO;
	autofree char *temporary = xasprintf(".jib-rename-%016llx", (unsigned long long)number);

	return move_directory(place->parent, place->name, place->parent, temporary, true);
}

/* What overlayfs would have looked at after it had decided on EXDEV. */
static bool would_replace(const struct place *to)
{
	autofd int fd = openat(to->parent, to->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && !directory_is_empty(fd);
}

/* Without room there is no other way either; for the rest mv(1) knows one when it reads EXDEV. */
static int answer_of(int error)
{
	switch (error) {
	case 0:
	case ENOSPC:
	case EDQUOT:
	case EIO:
	case EROFS:
		return error;
	default:
		return EXDEV;
	}
}

static int try_rename(const struct place *from, const struct place *to, unsigned int flags)
{
	return renameat2(from->parent, from->spelled, to->parent, to->spelled, flags) < 0 ? errno
											  : 0;
}

/* Every level of a deep tree takes a few. */
static void allow_many_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Two that emptied one directory would each have a part of it. The lock ends with the process. */
static int lock_all(int lock)
{
	struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	while (fcntl(lock, F_SETLKW, &all) < 0)
		if (errno != EINTR)
			return -1;
	return 0;
}

/* After EXDEV. */
static int rename_movable(const struct place *from, const struct place *to, unsigned int flags)
{
	/* An exchange has two sides that may be in the way. */
	const struct place *sides[] = {from, (flags & RENAME_EXCHANGE) ? to : NULL};
	/* Whoever held the lock may have been at the same directory. */
	int error = try_rename(from, to, flags);

	if (error == EXDEV && !(flags & RENAME_EXCHANGE) && would_replace(to))
		return ENOTEMPTY;
	for (size_t i = 0; i < ARRAY_SIZE(sides) && sides[i] && error == EXDEV; i++) {
		error = make_movable(sides[i]);
		/* Of an exchange one side may be a file. */
		if (error && error != ENOTDIR)
			return answer_of(error);
		error = try_rename(from, to, flags);
	}
	return error;
}

int directory_rename(const struct place *from, const struct place *to, unsigned int flags, int lock)
{
	int error = try_rename(from, to, flags);

	if (error == EBUSY && place_is_carried(from->parent, from->name))
		return EXDEV;
	if (error != EXDEV || !place_same_overlay(from->parent, to->parent) || lock_all(lock) < 0)
		return error;
	allow_many_files();
	return rename_movable(from, to, flags);
}
