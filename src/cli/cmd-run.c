#include <unistd.h>

#include "base/memory.h"
#include "cli/commands.h"
#include "cli/create.h"
#include "cli/output.h"
#include "cli/prepare.h"
#include "cli/running.h"
#include "run/session.h"

static const struct option options[] = {
	{0, "rm", NULL, "discard the sandbox at the end"},
	{'d', "detach", NULL, "run in the background; see attach, logs, stop"},
	CREATE_OPTIONS,
	RUN_OPTIONS,
	{'q', "quiet", NULL, "say nothing but errors"},
	{0, NULL, NULL, NULL},
};

/* Opens NAME when it exists; 1 when it does not. */
static int open_existing(const struct root *root, const char *name, struct sandbox *ret,
			 struct error *err)
{
	struct error missing = ERROR_INIT;

	if (sandbox_open(root, name, ret, &missing) == 0)
		return 0;
	if (missing.code == ERR_NOT_FOUND) {
		error_clear(&missing);
		return 1;
	}
	*err = missing;
	return -1;
}

static int check_reopening(const struct invocation *invocation, const char *name, struct error *err)
{
	const char *which;

	if (!create_options_given(invocation, &which))
		return 0;
	error_set(err, ERR_USAGE, "--%s decides how a sandbox is made, and %s exists already",
		  which, name);
	return error_hint(err, "leave it out to go on in %s, or choose another name", name);
}

/* Somebody else's run holds the lease: the command joins it. */
static int join(const struct invocation *invocation, struct running *running, struct error *err)
{
	autospawn struct spawn spawn = {0};
	int status = -1;

	if (option_given(invocation, "detach") || option_given(invocation, "rm")) {
		error_set(err, ERR_RUNNING, "the sandbox %s is running already",
			  running->sandbox.name);
		return error_hint(err, "`jib exec %s -- CMD` joins it", running->sandbox.name);
	}
	if (refuse_run_options(invocation, &running->sandbox, err) < 0 ||
	    prepare_spawn(invocation, &running->sandbox, &running->plan, &spawn, err) < 0 ||
	    session_exec(&running->sandbox, &spawn, &status, err) < 0)
		return status;
	return status;
}

static int prepare_new(const struct invocation *invocation, const struct sources *sources,
		       struct running *running, struct error *err)
{
	const char *name = invocation->arg_count ? invocation->args[0] : NULL;

	running->created = true;
	return create_sandbox(&running->root, invocation, sources, name, false, &running->sandbox,
			      &running->config, &running->lease, err);
}

/* 1 when somebody else holds the lease. */
static int prepare_existing(struct running *running, bool *ret_again, struct error *err)
{
	struct process process = PROCESS_INIT;

	if (config_start(config_place(&running->sandbox), &process, err) < 0 ||
	    config_finish(&process, &running->config, err) < 0)
		return -1;
	int joins = sandbox_lease(&running->root, &running->sandbox, &running->lease, err);

	if (joins < 0)
		*ret_again = err->code == ERR_NOT_FOUND;
	/* A live view that `jib mount` shows is of what is joined. */
	if (joins < 0 || (joins == 0 && refuse_mounted(&running->sandbox, err) < 0))
		return -1;
	return joins;
}

/* Everything up to the point where the command can be started. 1 when it has to join. */
static int prepare(const struct invocation *invocation, struct running *running, bool *ret_again,
		   struct error *err)
{
	autosources struct sources sources = {0};
	const char *name = invocation->arg_count ? invocation->args[0] : NULL;
	int existing = 1, joins;

	if (open_root(&running->root, err) < 0)
		return -1;
	if (name)
		existing = open_existing(&running->root, name, &running->sandbox, err);
	if (existing < 0 || (existing == 0 && check_reopening(invocation, name, err) < 0))
		return -1;
	if (existing == 1 && sources_find(invocation, &sources, err) < 0)
		return -1;
	joins = existing == 1 ? prepare_new(invocation, &sources, running, err)
			      : prepare_existing(running, ret_again, err);
	if (joins < 0)
		return -1;
	if (prepare_plan(invocation, &running->config, &running->sandbox, running->root.path,
			 &running->plan, err) < 0)
		return -1;
	return joins;
}

/* One attempt; *ret_again when somebody else was quicker, and the answer is another now. */
static int attempt(const struct invocation *invocation, bool *ret_again, struct error *err)
{
	autorunning struct running running = RUNNING_INIT;
	int result = prepare(invocation, &running, ret_again, err);

	if (result == 1) {
		result = join(invocation, &running, err);
		*ret_again = error_is_set(err) && err->code == ERR_NOT_RUNNING;
		return result;
	}
	running.discard = option_given(invocation, "rm");
	if (result < 0 ||
	    prepare_spawn(invocation, &running.sandbox, &running.plan, &running.spawn, err) < 0) {
		*ret_again = *ret_again || (err->code == ERR_EXISTS && invocation->arg_count);
		running_undo(&running);
		endings_unblock();
		return -1;
	}
	/* From here on the monitor hands them to the command. */
	if (running.created && endings_pending()) {
		running_undo(&running);
		endings_unblock();
		return -1;
	}
	return option_given(invocation, "detach") ? running_detach(&running, err)
						  : running_foreground(&running, err);
}

static int run(const struct invocation *invocation, struct error *err)
{
	enum { TRIES = 10 };

	if (option_given(invocation, "quiet"))
		output_quiet();
	/* Two who run the same new name at once: one creates it, the other joins. */
	for (int i = 0;; i++) {
		bool again = false;
		int status = attempt(invocation, &again, err);

		if (!again || i == TRIES)
			return status;
		error_clear(err);
	}
}

const struct command cmd_run = {
	.name = "run",
	.synopsis = "[NAME] [options] [-- CMD...]",
	.summary = "create a sandbox, or go on in one, and run a command or a shell in it",
	.options = options,
	.max_args = 1,
	.takes_command = true,
	.failure = 125,
	.run = run,
};
