/*
 * prepare: how a command is going to run in a sandbox; shared by `run` and `exec`.
 */
#pragma once

#include "base/spawn.h"
#include "cli/command.h"
#include "git/config.h"
#include "run/plan.h"
#include "store/sandbox.h"

/* The options that decide how a sandbox runs. */
#define RUN_OPTIONS                                                                            \
	{0, "bind", "SRC[:DST][:ro|rw]", "show a file or directory of the host (repeatable)"}, \
		{'e', "env", "NAME[=VALUE]",                                                   \
		 "set a variable, or pass on the caller's (repeatable)"},                      \
		{0, "net", "none|host", "loopback only (default), or the host's network"},     \
		{0, "memory", "SIZE", "limit of memory: 512M, 2G"},                            \
		{0, "pids", "N", "limit of processes and threads"},                            \
	{                                                                                      \
		0, "cpus", "N", "limit of processor time: 1.5"                                 \
	}

/* The directory whose configuration counts for a sandbox: its first repository's, while it is there. */
const char *config_place(const struct sandbox *sandbox);

/* What decides how a running sandbox runs was decided by who started it: no such option may be given. */
int refuse_run_options(const struct invocation *invocation, const struct sandbox *sandbox,
		       struct error *err);

/* Options first, then jib.bind, jib.env, jib.net, jib.memory, jib.pids, jib.cpus. */
int prepare_plan(const struct invocation *invocation, const struct config *config,
		 const struct sandbox *sandbox, const char *root_path, struct plan *ret,
		 struct error *err);

/*
 * The command after `--`, or the shell; in the directory that corresponds to the current one, or
 * in the first repository.
 */
int prepare_spawn(const struct invocation *invocation, const struct sandbox *sandbox,
		  const struct plan *plan, struct spawn *ret, struct error *err);
