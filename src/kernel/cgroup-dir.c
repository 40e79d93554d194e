#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/str.h"
#include "kernel/cgroup-internal.h"

enum { REMOVE_TIMEOUT_MS = 5000, NAME_KEPT = 64, DEPTH_MAX = 32 };

#define RANDOM_PATTERN "[0-9a-f][0-9a-f][0-9a-f][0-9a-f]"
/* Exact enough not to take the cgroup of some jib-gateway.service for a leftover. */
#define NAME_PATTERN "jib-*-" RANDOM_PATTERN RANDOM_PATTERN RANDOM_PATTERN

void cgroup_dir_release(struct cgroup_dir *dir)
{
	fd_close(&dir->parent);
	fd_close(&dir->fd);
	free(dir->name);
	free(dir->path);
	*dir = (struct cgroup_dir){.parent = -1, .fd = -1};
}

int cgroup_write(int dir, const char *name, const char *text)
{
	autofd int fd = open_beneath(dir, name, O_WRONLY, 0);

	return fd < 0 ? -1 : write_all(fd, text, strlen(text));
}

static char *make_name(const char *name)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789._-";
	uint64_t number = 0;
	char *made;

	if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
		number = (uint64_t)getpid();
	made = xasprintf("jib-%.*s-%012" PRIx64, NAME_KEPT, name,
			 number & ((UINT64_C(1) << 48) - 1));
	for (char *c = made; *c; c++)
		if (!strchr(plain, *c))
			*c = '_';
	return made;
}

int cgroup_dir_make(int parent, const char *path, const char *name, struct cgroup_dir *ret,
		    struct error *err)
{
	/* Between making and locking, somebody's sweep may take it for a leftover. */
	for (int tries = 0; tries < 16; tries++) {
		autofree char *made = make_name(name);

		if (mkdirat(parent, made, 0700) < 0) {
			if (errno == EEXIST)
				continue;
			return error_errno(err, "cannot make a cgroup in %s", path);
		}
		autofd int fd = open_beneath(parent, made, O_RDONLY | O_DIRECTORY, 0);

		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0) {
			error_errno(err, "cannot open the cgroup %s/%s", path, made);
			unlinkat(parent, made, AT_REMOVEDIR);
			return -1;
		}
		int busy = lock_directory_try(fd, err);

		if (busy < 0) {
			unlinkat(parent, made, AT_REMOVEDIR);
			return error_wrap(err, "%s/%s", path, made);
		}
		if (busy || !lock_still_named(parent, made, fd))
			continue;
		ret->fd = steal_fd(&fd);
		ret->path = xasprintf("%s/%s", path, made);
		ret->name = steal_ptr(&made);
		return 0;
	}
	return error_set(err, ERR_LIMIT, "other processes keep removing new cgroups in %s", path);
}

/* rmdir(2) from the leaves up; the files of a cgroup do not count. 0, or -1 with errno. */
static int remove_below(int parent, const char *name, int depth)
{
	const struct dirent *entry;

	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != EBUSY || depth >= DEPTH_MAX)
		return -1;
	int fd = open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		fd_close(&fd);
		return -1;
	}
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_DIR && strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			remove_below(fd, entry->d_name, depth + 1);
	return unlinkat(parent, name, AT_REMOVEDIR);
}

void cgroup_sweep(int parent)
{
	const struct dirent *entry;
	int fd = open_beneath(parent, ".", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		fd_close(&fd);
		return;
	}
	while ((entry = readdir(dir))) {
		if (fnmatch(NAME_PATTERN, entry->d_name, 0) != 0)
			continue;
		autofd int held = open_beneath(parent, entry->d_name, O_RDONLY | O_DIRECTORY, 0);

		if (held >= 0 && lock_directory_try(held, NULL) == 0 &&
		    lock_still_named(parent, entry->d_name, held))
			remove_below(parent, entry->d_name, 0);
	}
}

static void kill_all(const struct cgroup_dir *dir)
{
	autostr struct str text = STR_INIT;
	char *at, *end;

	if (dir->version == 2 && cgroup_write(dir->fd, "cgroup.kill", "1") == 0)
		return;
	if (file_read_at(dir->fd, "cgroup.procs", 16 << 20, &text, NULL) < 0)
		return;
	for (at = text.s; at && *at; at = end) {
		long pid = strtol(at, &end, 10);

		if (end == at)
			break;
		/* 0: a process of another pid namespace, which has no number here. */
		if (pid > 0 && pid != getpid())
			kill((pid_t)pid, SIGKILL);
		end += *end == '\n';
	}
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Sleeps until something may have changed: v2 tells through cgroup.events, v1 does not. */
static void wait_a_little(int events, int ms)
{
	struct pollfd polled = {.fd = events, .events = POLLPRI};
	char buffer[512];

	poll(&polled, events >= 0 ? 1 : 0, ms);
	/* Reading makes the next poll wait for the next change. */
	if (events >= 0 && pread(events, buffer, sizeof buffer, 0) < 0)
		poll(NULL, 0, ms);
}

void cgroup_dir_remove(const struct cgroup_dir *dir)
{
	int64_t deadline = now_ms() + REMOVE_TIMEOUT_MS;
	int ms = 1;

	if (remove_below(dir->parent, dir->name, 0) == 0 || errno != EBUSY)
		return;
	autofd int events =
		dir->version == 2 ? open_beneath(dir->fd, "cgroup.events", O_RDONLY, 0) : -1;
	do {
		kill_all(dir);
		wait_a_little(events, ms);
		if (ms < 32)
			ms *= 2;
	} while (remove_below(dir->parent, dir->name, 0) < 0 && errno == EBUSY &&
		 now_ms() < deadline);
}
