#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

enum { DEFAULT_LIMIT = 64 << 20, ERRORS_KEPT = 8192, REST_READS = 64, PROGRESS_MS = 100 };

int wait_for(pid_t pid, int *ret_status)
{
	pid_t result;

	do
		result = waitpid(pid, ret_status, 0);
	while (result < 0 && errno == EINTR);
	return result < 0 ? -1 : 0;
}

/*
 * posix_spawnp(3) finds a program by trying to execute it in one directory of the PATH after the
 * other, and an execve(2) that fails costs many times a look.
 */
static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	struct stat st;

	if (strchr(name, '/'))
		return xstrdup(name);
	while (path && *path) {
		size_t len = strcspn(path, ":");
		char *candidate = xasprintf("%.*s/%s", (int)len, path, name);

		if (candidate[0] == '/' && stat(candidate, &st) == 0 && S_ISREG(st.st_mode) &&
		    access(candidate, X_OK) == 0)
			return candidate;
		free(candidate);
		path += len + (path[len] == ':');
	}
	return xstrdup(name);
}

int process_start(const struct process_spec *spec, struct process *ret, struct error *err)
{
	int out[2] = {-1, -1}, errors[2] = {-1, -1};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, defaults;
	autofree char *program = find_program(spec->program);
	pid_t pid = -1;

	if (!spec->keeps_outputs && (pipe2(out, O_CLOEXEC) < 0 || pipe2(errors, O_CLOEXEC) < 0)) {
		error_errno(err, "cannot make a pipe");
		fd_close(&out[0]);
		fd_close(&out[1]);
		return -1;
	}
	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (spec->stdin_fd > 0)
		posix_spawn_file_actions_adddup2(&actions, spec->stdin_fd, STDIN_FILENO);
	else
		posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!spec->keeps_outputs) {
		posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
		posix_spawn_file_actions_adddup2(&actions, errors[1], STDERR_FILENO);
	}
	errno = posix_spawnp(&pid, program, &actions, &attributes, spec->argv, spec->env);
	bool failed = errno != 0;

	if (failed)
		error_errno(err, "cannot start %s", spec->program);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	fd_close(&out[1]);
	fd_close(&errors[1]);
	if (failed) {
		fd_close(&out[0]);
		fd_close(&errors[0]);
		return -1;
	}
	*ret = (struct process){
		.pid = pid,
		.out = out[0],
		.err = errors[0],
		.limit = spec->limit ? spec->limit : DEFAULT_LIMIT,
	};
	return 0;
}

/* Returns 1 at the end of the file (or of what is there, of a non-blocking one), 0, or -1. */
static int drain(int fd, struct str *into)
{
	char buffer[16384];
	ssize_t n = read(fd, buffer, sizeof buffer);

	if (n < 0 && errno == EAGAIN)
		return 1;
	if (n < 0)
		return errno == EINTR ? 0 : -1;
	if (n > 0)
		str_add_bytes(into, buffer, (size_t)n);
	return n == 0;
}

static int drain_output(struct process *process, struct str *output, struct error *err)
{
	int end = drain(process->out, output);

	if (end < 0)
		return error_errno(err, "cannot read output");
	if (output->len > process->limit)
		return error_set(err, ERR_SYSTEM, "more than %zu bytes of output", process->limit);
	if (end)
		fd_close(&process->out);
	return 0;
}

static int drain_errors(struct process *process, struct str *errors, struct error *err)
{
	int end = drain(process->err, errors);

	if (end < 0)
		return error_errno(err, "cannot read output");
	if (errors->len > 2UL * ERRORS_KEPT) {
		size_t cut = errors->len - ERRORS_KEPT;

		memmove(errors->s, errors->s + cut, ERRORS_KEPT + 1UL);
		errors->len = ERRORS_KEPT;
	}
	if (end)
		fd_close(&process->err);
	return 0;
}

/*
 * What it has written before it ended is in the pipes. Another process may hold them open (a
 * filter that leaves one behind) and may even go on writing: no more than fits into a pipe is
 * read.
 */
static int collect_rest(struct process *process, struct str *output, struct str *errors,
			struct error *err)
{
	if (process->out >= 0)
		fcntl(process->out, F_SETFL, O_RDONLY | O_NONBLOCK);
	if (process->err >= 0)
		fcntl(process->err, F_SETFL, O_RDONLY | O_NONBLOCK);
	for (int i = 0; i < REST_READS && process->out >= 0; i++)
		if (drain_output(process, output, err) < 0)
			return -1;
	for (int i = 0; i < REST_READS && process->err >= 0; i++)
		if (drain_errors(process, errors, err) < 0)
			return -1;
	fd_close(&process->out);
	fd_close(&process->err);
	return 0;
}

static int collect(struct process *process, struct str *output, struct str *errors,
		   struct error *err)
{
	/* Without one (Linux before 5.3, a seccomp filter) only the ends of the pipes count. */
	autofd int ended = (int)syscall(SYS_pidfd_open, process->pid, 0);

	while (process->out >= 0 || process->err >= 0) {
		struct pollfd polled[3] = {
			{.fd = process->out, .events = POLLIN},
			{.fd = process->err, .events = POLLIN},
			{.fd = ended, .events = POLLIN},
		};

		int ready = poll(polled, 3, process->progress ? PROGRESS_MS : -1);

		if (ready < 0 && errno != EINTR)
			return error_errno(err, "cannot wait for output");
		progress_step(process->progress, process->what, 0, 0);
		if (ready <= 0)
			continue;
		if (polled[2].revents)
			return collect_rest(process, output, errors, err);
		if (polled[0].revents && drain_output(process, output, err) < 0)
			return -1;
		if (polled[1].revents && drain_errors(process, errors, err) < 0)
			return -1;
	}
	return 0;
}

int process_finish(struct process *process, struct str *output, struct str *errors, int *ret_status,
		   struct error *err)
{
	autostr struct str dropped = STR_INIT;
	int status;

	if (collect(process, output, errors ? errors : &dropped, err) < 0) {
		process_abandon(process);
		return -1;
	}
	pid_t pid = process->pid;

	process->pid = -1;
	if (wait_for(pid, &status) < 0)
		return error_errno(err, "cannot wait for a process");
	str_add_bytes(output, "", 0);
	*ret_status = status;
	return 0;
}

void process_abandon(struct process *process)
{
	int status;

	fd_close(&process->out);
	fd_close(&process->err);
	if (process->pid > 0) {
		kill(process->pid, SIGKILL);
		wait_for(process->pid, &status);
		process->pid = -1;
	}
}
