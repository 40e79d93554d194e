#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "cli/create.h"
#include "cli/output.h"
#include "cli/prepare.h"
#include "cli/running.h"
#include "run/session.h"

static const struct option exec_options[] = {
	RUN_OPTIONS,
	{'q', "quiet", NULL, "say nothing but errors"},
	{0, NULL, NULL, NULL},
};

/* One attempt; *ret_again when the sandbox ended just before it could be joined. */
static int attempt(const struct invocation *invocation, bool *ret_again, struct error *err)
{
	autorunning struct running running = RUNNING_INIT;
	struct process process = PROCESS_INIT;
	int status = -1;

	if (open_root(&running.root, err) < 0 ||
	    sandbox_open(&running.root, invocation->args[0], &running.sandbox, err) < 0 ||
	    config_start(config_place(&running.sandbox), &process, err) < 0 ||
	    config_finish(&process, &running.config, err) < 0 ||
	    prepare_plan(invocation, &running.config, &running.sandbox, running.root.path,
			 &running.plan, err) < 0 ||
	    prepare_spawn(invocation, &running.sandbox, &running.plan, &running.spawn, err) < 0)
		return -1;
	int held = sandbox_lease(&running.root, &running.sandbox, &running.lease, err);

	if (held < 0)
		return -1;
	running.linger = true;
	if (held == 0)
		return refuse_mounted(&running.sandbox, err) < 0
			       ? -1
			       : running_foreground(&running, err);
	if (refuse_run_options(invocation, &running.sandbox, err) < 0)
		return -1;
	if (session_exec(&running.sandbox, &running.spawn, &status, err) < 0)
		*ret_again = err->code == ERR_NOT_RUNNING;
	return status;
}

static int exec_command(const struct invocation *invocation, struct error *err)
{
	enum { TRIES = 10 };

	if (option_given(invocation, "quiet"))
		output_quiet();
	if (!invocation->rest) {
		error_set(err, ERR_USAGE, "`jib exec` needs a command");
		return error_hint(err, "jib exec %s -- CMD...", invocation->args[0]);
	}
	for (int i = 0;; i++) {
		bool again = false;
		int status = attempt(invocation, &again, err);

		if (!again || i == TRIES)
			return status;
		error_clear(err);
	}
}

const struct command cmd_exec = {
	.name = "exec",
	.synopsis = "NAME [options] -- CMD...",
	.summary = "run a command in a sandbox: beside what runs in it, or by itself",
	.options = exec_options,
	.min_args = 1,
	.max_args = 1,
	.takes_command = true,
	.failure = 125,
	.run = exec_command,
};

static int open_named(const struct invocation *invocation, struct root *root,
		      struct sandbox *sandbox, struct error *err)
{
	if (root_open_existing(root, err) < 0)
		return -1;
	return sandbox_open(root, invocation->args[0], sandbox, err);
}

static const struct option no_options[] = {{0, NULL, NULL, NULL}};

static int attach(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	bool left = false;
	int status = -1;

	if (open_named(invocation, &root, &sandbox, err) < 0 ||
	    session_attach(&sandbox, &status, &left, err) < 0)
		return -1;
	if (left)
		say("left %s; it goes on running", sandbox.name);
	return status;
}

const struct command cmd_attach = {
	.name = "attach",
	.synopsis = "NAME",
	.summary = "connect to the terminal of a running sandbox (leave with ctrl-p ctrl-q)",
	.options = no_options,
	.min_args = 1,
	.max_args = 1,
	.failure = 125,
	.run = attach,
};

static const struct option stop_options[] = {
	{'t', "time", "SECONDS", "how long after TERM the rest is killed (default 10)"},
	{0, NULL, NULL, NULL},
};

static int stop(const struct invocation *invocation, struct error *err)
{
	enum { DEFAULT_GRACE = 10, GRACE_MAX = 86400 };
	const char *text = option_value(invocation, "time");
	unsigned long grace = DEFAULT_GRACE;
	char *end;

	if (text) {
		errno = 0;
		grace = strtoul(text, &end, 10);
		if (errno || !*text || *end || *text == '-' || grace > GRACE_MAX)
			return error_set(err, ERR_USAGE,
					 "--time: \"%s\" is not a number of seconds", text);
	}
	autoroot struct root root = ROOT_INIT;

	if (root_open_existing(&root, err) < 0)
		return -1;
	for (size_t i = 0; i < invocation->arg_count; i++) {
		autosandbox struct sandbox sandbox = SANDBOX_INIT;

		if (sandbox_open(&root, invocation->args[i], &sandbox, err) < 0 ||
		    session_stop(&sandbox, (uint32_t)grace * 1000, err) < 0)
			return -1;
	}
	return 0;
}

const struct command cmd_stop = {
	.name = "stop",
	.synopsis = "NAME... [--time SECONDS]",
	.summary = "end what runs in a sandbox: TERM, then KILL",
	.options = stop_options,
	.min_args = 1,
	.max_args = (size_t)-1,
	.failure = 1,
	.run = stop,
};

static const struct option logs_options[] = {
	{'f', "follow", NULL, "go on until the sandbox ends"},
	{0, NULL, NULL, NULL},
};

/* Copies what is new in the log; `fd` keeps the position. */
static int copy_new(int fd, struct error *err)
{
	char buffer[32768];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		if (write_all(STDOUT_FILENO, buffer, (size_t)n) < 0)
			return error_errno(err, "cannot write to standard output");
	return n < 0 ? error_errno(err, "cannot read the log") : 0;
}

static int follow(const struct sandbox *sandbox, int log, struct error *err)
{
	autoerror struct error ended = ERROR_INIT;
	autofd int monitor = -1;
	autofd int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	pid_t pid;

	if (notify < 0 || inotify_add_watch(notify, fd_path(log).s, IN_MODIFY) < 0)
		return error_errno(err, "cannot watch the log");
	/* The monitor's end of this connection closes with the sandbox. */
	if (session_where(sandbox, &pid, &monitor, &ended) < 0)
		return copy_new(log, err);
	for (;;) {
		char events[4096];
		struct pollfd polled[2] = {{.fd = notify, .events = POLLIN},
					   {.fd = monitor, .events = POLLIN}};

		if (copy_new(log, err) < 0)
			return -1;
		if (poll(polled, 2, -1) < 0 && errno != EINTR)
			return error_errno(err, "cannot wait for the log");
		while (read(notify, events, sizeof events) > 0)
			;
		if (polled[1].revents)
			return copy_new(log, err);
	}
}

static int logs(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;

	if (open_named(invocation, &root, &sandbox, err) < 0)
		return -1;
	autofd int older = open_beneath(sandbox.fd, "log/output.1", O_RDONLY, 0);
	autofd int log = open_beneath(sandbox.fd, "log/output", O_RDONLY, 0);

	if (log < 0) {
		if (errno != ENOENT)
			return error_errno(err, "cannot open the log of %s", sandbox.name);
		error_set(err, ERR_NOT_FOUND, "the sandbox %s has no log", sandbox.name);
		return error_hint(err, "a log is kept of what is started with `jib run --detach`");
	}
	if (older >= 0 && copy_new(older, err) < 0)
		return -1;
	if (option_given(invocation, "follow"))
		return follow(&sandbox, log, err);
	return copy_new(log, err);
}

const struct command cmd_logs = {
	.name = "logs",
	.synopsis = "NAME [--follow]",
	.summary = "print what a detached sandbox has printed",
	.options = logs_options,
	.min_args = 1,
	.max_args = 1,
	.failure = 1,
	.run = logs,
};
