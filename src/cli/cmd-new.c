#include "base/memory.h"
#include "cli/commands.h"
#include "cli/create.h"
#include "cli/output.h"
#include "cli/report.h"

static const struct option options[] = {
	CREATE_OPTIONS,
	{0, "json", NULL, "print the sandbox as `show --json` does"},
	{'q', "quiet", NULL, "say nothing but errors"},
	{0, NULL, NULL, NULL},
};

/* What could not be made to last is not left behind, unless somebody works in it already. */
static void take_back(const struct root *root, const struct sandbox *sandbox)
{
	autoerror struct error ignored = ERROR_INIT;
	autofd int lease = -1;

	if (sandbox_lease(root, sandbox, &lease, &ignored) == 0)
		sandbox_remove(root, sandbox->name, &ignored);
}

static int new (const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	autosources struct sources sources = {0};
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoconfig struct config config = CONFIG_INIT;

	if (option_given(invocation, "quiet"))
		output_quiet();
	if (open_root(&root, err) < 0 || sources_find(invocation, &sources, err) < 0 ||
	    create_sandbox(&root, invocation, &sources, invocation->args[0], true, &sandbox,
			   &config, NULL, err) < 0)
		return -1;
	if (settle_sandbox(&root, &sandbox, err) < 0) {
		take_back(&root, &sandbox);
		return -1;
	}
	if (option_given(invocation, "json"))
		return report_json_one(&root, sandbox.name, err);
	autofree char *line = xasprintf("%s\n", sandbox.name);

	return output_text(line, err);
}

const struct command cmd_new = {
	.name = "new",
	.synopsis = "NAME [options]",
	.summary = "create a sandbox without running anything in it",
	.options = options,
	.min_args = 1,
	.max_args = 1,
	.failure = 1,
	.run = new,
};
