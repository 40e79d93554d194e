#include "guest/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/str.h"
#include "guest/directory.h"
#include "guest/place.h"

enum question {
	ASKED_NOTHING,
	ASKED_RENAME,
	ASKED_RENAMEAT,
	ASKED_RENAMEAT2,
	ASKED_RMDIR,
	ASKED_UNLINKAT,
	ASKED_UTIME,
	ASKED_UTIMENSAT,
	ASKED_RESTRICT,
};

#include "guest/notify-filter.h"

/* Linux 5.19: once its question was read, only a fatal signal interrupts a system call. */
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
/* Linux 6.6: asking and answering switch between the two processes on one processor. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

/* The calls that do the same thing, in one form. */
struct asked {
	enum question question;
	int dir;
	uint64_t path;
	int other_dir;
	uint64_t other;
	unsigned int flags;
};

static bool sizes_are_known(void)
{
	struct seccomp_notif_sizes sizes;

	if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
		return false;
	errno = EOPNOTSUPP;
	return sizes.seccomp_notif == sizeof(struct seccomp_notif) &&
	       sizes.seccomp_notif_resp == sizeof(struct seccomp_notif_resp);
}

int notify_install(void)
{
	struct sock_fprog program = {
		.len = ARRAY_SIZE(notify_filter),
		.filter = (struct sock_filter *)notify_filter,
	};
	unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW;

	if (!sizes_are_known())
		return -1;
	long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			  flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);

	if (fd < 0 && errno == EINVAL)
		fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	return (int)fd;
}

void notify_prepare(int listener)
{
	/* It is only faster; an older kernel does not know it. */
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

static void answer(int listener, uint64_t id, int error, uint32_t flags)
{
	struct seccomp_notif_resp response = {.id = id, .error = -error, .flags = flags};

	/* ENOENT: who asked is gone, or has an answer. */
	while (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) < 0 && errno == EINTR)
		;
}

static struct asked understand(const struct seccomp_data *data)
{
	const __u64 *args = data->args;
	enum question question = ASKED_NOTHING;

	for (size_t i = 0; i < ARRAY_SIZE(notify_questions) && !question; i++)
		if (notify_questions[i].arch == data->arch &&
		    notify_questions[i].number == data->nr)
			question = notify_questions[i].question;
	switch (question) {
	case ASKED_RENAME:
		return (struct asked){question, AT_FDCWD, args[0], AT_FDCWD, args[1], 0};
	case ASKED_RENAMEAT:
		return (struct asked){question, (int)args[0], args[1], (int)args[2], args[3], 0};
	case ASKED_RENAMEAT2:
		return (struct asked){question,	    (int)args[0], args[1],
				      (int)args[2], args[3],	  (unsigned int)args[4]};
	case ASKED_UNLINKAT:
		return (struct asked){question, (int)args[0],	      args[1], -1,
				      0,	(unsigned int)args[2]};
	case ASKED_UTIMENSAT:
		return (struct asked){question, (int)args[0], args[1], -1, 0, 0};
	default:
		return (struct asked){question, AT_FDCWD, args[0], -1, 0, 0};
	}
}

/* What counts here; false too when there is nothing at all. */
static bool is_directory(pid_t tid, int dirfd, const char *path)
{
	autofree char *where = place_locate(tid, dirfd, path);
	struct statx st;

	return statx(AT_FDCWD, where, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE, &st) ==
		       0 &&
	       S_ISDIR(st.stx_mode);
}

static bool concerns_directory(pid_t tid, const struct asked *asked)
{
	autofree char *path = place_read(tid, asked->path);

	if (path && is_directory(tid, asked->dir, path))
		return true;
	if (!(asked->flags & RENAME_EXCHANGE))
		return false;
	autofree char *other = place_read(tid, asked->other);

	return other && is_directory(tid, asked->other_dir, other);
}

/* Whether the thread still waits, and so everything that was read was its own. */
static bool still_waits(const struct listener *listener, uint64_t id)
{
	return ioctl(listener->fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

static bool open_place(pid_t tid, int dirfd, uint64_t address, struct place *ret)
{
	autofree char *path = place_read(tid, address);

	return path && place_open(tid, dirfd, path, ret) == 0;
}

static void rename_directory(const struct listener *listener, const struct seccomp_notif *asking,
			     const struct asked *asked)
{
	autoplace struct place from = PLACE_INIT, to = PLACE_INIT;
	pid_t tid = (pid_t)asking->pid;

	if (open_place(tid, asked->dir, asked->path, &from) &&
	    open_place(tid, asked->other_dir, asked->other, &to) &&
	    still_waits(listener, asking->id))
		answer(listener->fd, asking->id,
		       directory_rename(&from, &to, asked->flags, listener->lock), 0);
	else
		answer(listener->fd, asking->id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

/* Returns whether somebody will answer. */
static bool start_rename(const struct listener *listener, const struct seccomp_notif *asking,
			 const struct asked *asked, struct worker *ret)
{
	if (!concerns_directory((pid_t)asking->pid, asked))
		return false;
	autofd int fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);
	pid_t pid = fd < 0 ? -1 : fork();

	if (pid == 0) {
		rename_directory(listener, asking, asked);
		_exit(0);
	}
	if (pid < 0)
		return false;
	*ret = (struct worker){pid, steal_fd(&fd), asking->id};
	return true;
}

/* A cheap look first: hardly ever is it a mount point. */
static bool is_mount_point(pid_t tid, int dirfd, const char *path)
{
	autofree char *where = place_locate(tid, dirfd, path);
	struct statx st;

	return statx(AT_FDCWD, where, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE, &st) ==
		       0 &&
	       st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

static bool is_removed(const struct place *place)
{
	if (!place_is_carried(place->parent, place->name))
		return false;
	autofd int fd =
		openat(place->parent, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && directory_is_empty(fd);
}

static bool counts_as_removed(const struct listener *listener, const struct seccomp_notif *asking,
			      const struct asked *asked)
{
	pid_t tid = (pid_t)asking->pid;
	autoplace struct place place = PLACE_INIT;
	autofree char *path = place_read(tid, asked->path);

	return path && is_mount_point(tid, asked->dir, path) &&
	       place_open(tid, asked->dir, path, &place) == 0 &&
	       still_waits(listener, asking->id) && is_removed(&place);
}

bool notify_is_stamped(const char *path, char **ret_keep)
{
	static const char pack[] = ".pack", shared[] = "sharedindex.";
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	if (str_starts(name, shared) && name[sizeof shared - 1] &&
	    !strchr(name + sizeof shared - 1, '.'))
		*ret_keep = xasprintf("%s.keep", path);
	else if (str_ends(name, pack) && strlen(name) > sizeof pack - 1)
		*ret_keep = xasprintf("%.*s.keep", (int)(strlen(path) - (sizeof pack - 1)), path);
	else
		return false;
	return true;
}

static bool counts_as_stamped(const struct asked *asked, pid_t tid)
{
	autofree char *path = place_read(tid, asked->path);
	autofree char *keep = NULL;

	if (!path || !notify_is_stamped(path, &keep))
		return false;
	autofree char *kept = place_locate(tid, asked->dir, path);
	autofree char *mark = place_locate(tid, asked->dir, keep);

	return faccessat(AT_FDCWD, kept, F_OK, 0) == 0 && faccessat(AT_FDCWD, mark, F_OK, 0) == 0;
}

/* Returns whether a worker has the question now. */
static bool consider(struct listener *listener, const struct seccomp_notif *asking,
		     struct worker *ret)
{
	struct asked asked = understand(&asking->data);
	uint32_t flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;

	if (asked.question == ASKED_RESTRICT)
		listener->restricted = true;
	if (listener->restricted)
		asked.question = ASKED_NOTHING;
	switch (asked.question) {
	case ASKED_RENAME:
	case ASKED_RENAMEAT:
	case ASKED_RENAMEAT2:
		if (start_rename(listener, asking, &asked, ret))
			return true;
		break;
	case ASKED_RMDIR:
	case ASKED_UNLINKAT:
		if (counts_as_removed(listener, asking, &asked))
			flags = 0;
		break;
	case ASKED_UTIME:
	case ASKED_UTIMENSAT:
		if (counts_as_stamped(&asked, (pid_t)asking->pid))
			flags = 0;
		break;
	case ASKED_RESTRICT:
	case ASKED_NOTHING:
		break;
	}
	answer(listener->fd, asking->id, 0, flags);
	return false;
}

bool notify_serve(struct listener *listener, struct worker *ret)
{
	/* The kernel insists on zeros. */
	struct seccomp_notif asking = {0};

	/* ENOENT: who asked was killed meanwhile. It never waits after poll(2) said POLLIN. */
	return ioctl(listener->fd, SECCOMP_IOCTL_NOTIF_RECV, &asking) == 0 &&
	       consider(listener, &asking, ret);
}

void notify_bury(struct worker *worker)
{
	answer(worker->fd, worker->question, EIO, 0);
	fd_close(&worker->fd);
}
