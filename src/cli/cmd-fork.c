#include "cli/commands.h"
#include "cli/output.h"
#include "cli/report.h"
#include "review/states.h"

static const struct option options[] = {
	{0, "json", NULL, "print the new sandbox as one object, as `jib show` does"},
	{0, NULL, NULL, NULL},
};

static int fork_sandbox(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	const char *name = invocation->args[0], *new_name = invocation->args[1];

	if (root_open_existing(&root, err) < 0 || states_fork(&root, name, new_name, err) < 0)
		return -1;
	if (option_given(invocation, "json"))
		return report_json_one(&root, new_name, err);
	say("%s has the same state as %s; go on in it: jib run %s", new_name, name, new_name);
	return 0;
}

const struct command cmd_fork = {
	.name = "fork",
	.synopsis = "NAME NEW [--json]",
	.summary = "make a second sandbox with the same state, also of a running one",
	.options = options,
	.min_args = 2,
	.max_args = 2,
	.failure = 1,
	.run = fork_sandbox,
};
