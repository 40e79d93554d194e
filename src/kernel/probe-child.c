#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/process.h"
#include "kernel/probe-internal.h"

#define DIR_PREFIX ".jib-probe-"
#define DIR_PATTERN DIR_PREFIX "[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]"

static int read_result(int fd, struct probe_result *ret)
{
	ssize_t n;

	do
		n = read(fd, ret, sizeof *ret);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof *ret ? 0 : -1;
}

int probe_in_child(probe_body *body, void *data, struct probe_result *ret, struct error *err)
{
	int pipe_fds[2];
	struct probe_result result;
	int status;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_errno(err, "cannot make a pipe");
	autofd int from = pipe_fds[0];
	autofd int to = pipe_fds[1];
	pid_t pid = fork();

	if (pid < 0)
		return error_errno(err, "cannot start a process");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		result = body(data);
		_exit(write_all(to, &result, sizeof result) < 0);
	}
	fd_close(&to);
	int failed = read_result(from, &result);

	if (wait_for(pid, &status) < 0)
		return error_errno(err, "cannot wait for a process");
	if (failed && WIFSIGNALED(status))
		return error_set(err, ERR_UNSUPPORTED, "killed by signal %d (%s) while trying",
				 WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (failed)
		return error_set(err, ERR_UNSUPPORTED, "the try ended without an answer");
	*ret = result;
	return 0;
}

/* What killed tries have left: our own, unlocked, and named like no other. */
static void sweep(int dirfd)
{
	const struct dirent *entry;
	struct stat st;
	int fd = open_beneath(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		fd_close(&fd);
		return;
	}
	while ((entry = readdir(dir))) {
		if (fnmatch(DIR_PATTERN, entry->d_name, 0) != 0)
			continue;
		autofd int held = open_beneath(dirfd, entry->d_name, O_RDONLY | O_DIRECTORY, 0);

		if (held >= 0 && fstat(held, &st) == 0 && st.st_uid == geteuid() &&
		    lock_directory_try(held, NULL) == 0 &&
		    lock_still_named(dirfd, entry->d_name, held))
			tree_remove_at(dirfd, entry->d_name, NULL);
	}
}

int probe_dir_make(int dirfd, char **ret_name, int *ret_fd, struct error *err)
{
	sweep(dirfd);
	for (int tries = 0; tries < 16; tries++) {
		uint32_t number;

		if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
			return error_errno(err, "cannot get a random number");
		autofree char *name = xasprintf(DIR_PREFIX "%08" PRIx32, number);

		if (mkdirat(dirfd, name, 0700) < 0) {
			if (errno == EEXIST)
				continue;
			return error_errno(err, "cannot make a directory");
		}
		autofd int fd = open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0);

		/* Somebody's sweep may come between; then there is a next try. */
		if (fd < 0 && errno == ENOENT)
			continue;
		int busy = fd < 0 ? error_errno(err, "cannot open %s", name)
				  : lock_directory_try(fd, err);

		if (busy < 0) {
			unlinkat(dirfd, name, AT_REMOVEDIR);
			return -1;
		}
		if (busy || !lock_still_named(dirfd, name, fd))
			continue;
		*ret_name = steal_ptr(&name);
		*ret_fd = steal_fd(&fd);
		return 0;
	}
	return error_set(err, ERR_SYSTEM, "cannot make a directory of one's own to try in");
}

void probe_dir_remove(int dirfd, const char *name)
{
	tree_remove_at(dirfd, name, NULL);
}
