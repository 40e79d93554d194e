/*
 * process: starting programs of the host, with an argv and an environment of our own.
 *
 *   struct process p;
 *   process_start(&(struct process_spec){.argv = argv, .env = env}, &p, err);
 *   ... other work, while it runs ...
 *   process_finish(&p, &out, &err_text, &status, err);
 *
 * No shell, ever. The program's stdin is /dev/null, its stdout is captured up to a limit, its
 * stderr too (the last of it is what an error message quotes). Starting uses posix_spawn(3).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/progress.h"
#include "base/str.h"

struct process_spec {
	const char *program; /* absolute path, or a name to look up in PATH */
	char *const *argv;   /* NULL-terminated, argv[0] included */
	char *const *env;    /* NULL-terminated */
	int stdin_fd;	     /* -1 or 0: /dev/null */
	size_t limit;	     /* of captured stdout, bytes; 0: 64 MiB */
	bool keeps_outputs;  /* stdout and stderr are the caller's: nothing is captured */
};

struct process {
	pid_t pid;
	int out;
	int err;
	size_t limit;
	/* Set by who has started it, to be told now and then that it still runs; or NULL. */
	const struct progress *progress;
	const char *what; /* for progress_step() */
};

#define PROCESS_INIT                      \
	{                                 \
		-1, -1, -1, 0, NULL, NULL \
	}

int process_start(const struct process_spec *spec, struct process *ret, struct error *err);

/*
 * Reads both outputs until the process has ended, whoever else holds them open, and waits. *ret_status is what wait(2) gives. `errors` may be
 * NULL. Whatever happens, the process is waited for and the struct is empty afterwards.
 */
int process_finish(struct process *process, struct str *output, struct str *errors, int *ret_status,
		   struct error *err);

/* Kills and waits for a process that is not wanted any more; accepts an empty one. */
void process_abandon(struct process *process);

/* waitpid(2) through EINTR. Returns 0, or -1 with errno. */
int wait_for(pid_t pid, int *ret_status);
