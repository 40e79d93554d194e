#include "run/lifetime.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"

enum { STAT_MAX = 4096, NOTE_MAX = 64 };

/* In the inode: a block of its own for so little would be most of what a lease costs. */
static const char note_name[] = "user.jib.init";

/* Field 22 of /proc/PID/stat (proc(5)), in clock ticks after boot. 1 when there is no process. */
static int start_time(pid_t pid, unsigned long long *ret, struct error *err)
{
	enum { FIELDS_AFTER_NAME = 20 };
	autofree char *path = xasprintf("/proc/%d/stat", (int)pid);
	autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	autostr struct str text = STR_INIT;

	if (fd < 0)
		return errno == ENOENT ? 1 : error_errno(err, "cannot read %s", path);
	if (read_all(fd, STAT_MAX, &text, err) < 0) {
		if (err && err->number == ESRCH) {
			error_clear(err);
			return 1;
		}
		return -1;
	}
	/* The name may hold anything, but no field after it holds a parenthesis. */
	const char *at = strrchr(text.s, ')');

	for (int i = 0; at && i < FIELDS_AFTER_NAME; i++)
		at = strchr(at + 1, ' ');
	if (!at)
		return error_set(err, ERR_SYSTEM, "%s cannot be understood", path);
	*ret = strtoull(at, NULL, 10);
	return 0;
}

int lifetime_note(int lease, pid_t init, struct error *err)
{
	unsigned long long started;
	int result = start_time(init, &started, err);

	if (result != 0)
		return result < 0 ? -1 : 0; /* dead already: nothing to wait for */
	autofree char *note = xasprintf("%d %llu\n", (int)init, started);

	if (fsetxattr(lease, note_name, note, strlen(note), 0) < 0)
		return error_errno(err, "cannot note in the lease who holds it");
	return 0;
}

int lifetime_clear(int lease, struct error *err)
{
	if (fremovexattr(lease, note_name) < 0 && errno != ENODATA)
		return error_errno(err, "cannot clear the lease");
	return 0;
}

int lifetime_await(int lease, struct error *err)
{
	char note[NOTE_MAX + 1];
	ssize_t n = fgetxattr(lease, note_name, note, NOTE_MAX);
	unsigned long long started, now;
	char *end;

	if (n < 0)
		return errno == ENODATA ? 0 : error_errno(err, "cannot read the lease");
	note[n] = '\0';
	pid_t pid = (pid_t)strtol(note, &end, 10);

	if (pid <= 1 || *end != ' ')
		return lifetime_clear(lease, err);
	started = strtoull(end, NULL, 10);
	autofd int process = (int)syscall(SYS_pidfd_open, pid, 0);

	if (process < 0 && errno != ESRCH && errno != EINVAL)
		return error_errno(err, "cannot look for the process %d", (int)pid);
	int result = process < 0 ? 1 : start_time(pid, &now, err);

	if (result < 0)
		return -1;
	/* The monitor is dead, so init has been sent SIGKILL; it only takes its time. */
	for (struct pollfd dead = {.fd = process, .events = POLLIN};
	     result == 0 && started == now && !dead.revents;)
		if (poll(&dead, 1, -1) < 0 && errno != EINTR)
			return error_errno(err, "cannot wait for the process %d", (int)pid);
	return lifetime_clear(lease, err);
}
