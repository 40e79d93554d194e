#include "cli/commands.h"
#include "cli/output.h"
#include "review/discard.h"
#include "review/judge.h"
#include "store/collect.h"

static const struct option options[] = {
	{'f', "force", NULL, "also one that is running or holds unpersisted work"},
	{0, "json", NULL, "print the names of what was removed as an array"},
	{0, NULL, NULL, NULL},
};

static int refuse_work(void *data, const struct root *root, const struct sandbox *sandbox,
		       struct error *err)
{
	autoglance struct glance glance = {0};
	enum work work;

	(void)data;
	if (glance_at(root, sandbox, &glance, err) < 0 ||
	    work_judge(root, sandbox, &glance, true, &work, err) < 0)
		return -1;
	if (work != WORK_UNPERSISTED)
		return 0;
	error_set(err, ERR_UNPERSISTED, "the sandbox %s holds changes that exist nowhere else",
		  sandbox->name);
	return error_hint(err, "`jib show %s` tells how much; `jib rm --force %s` discards them",
			  sandbox->name, sandbox->name);
}

/* The sandboxes are gone whether this succeeds or not; `jib gc` does what it cannot do now. */
static void remove_layers(const struct root *root, const struct strv *layers)
{
	autocollection struct collection collection = {0};
	autoerror struct error err = ERROR_INIT;

	if (collect(root, layers, false, &collection, &err) < 0)
		say("%s", err.message);
}

static int discard(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	autostrv struct strv layers = STRV_INIT;
	bool force = option_given(invocation, "force");
	bool json = option_given(invocation, "json");
	json_t *removed = json_array();
	int result = root_open_existing(&root, err);
	bool opened = result == 0;

	/* Each is tried; the first failure is the one that is told, after all. */
	for (size_t i = 0; opened && i < invocation->arg_count; i++) {
		struct error failure = ERROR_INIT;

		if (discard_sandbox(&root, invocation->args[i], force, force ? NULL : refuse_work,
				    NULL, &layers, &failure) == 0) {
			json_array_append_new(removed, json_string(invocation->args[i]));
		} else if (result == 0) {
			*err = failure;
			result = -1;
		} else {
			if (!json)
				output_error(&failure, false);
			error_clear(&failure);
		}
	}
	remove_layers(&root, &layers);
	if (result == 0 && json)
		return output_json(removed, err);
	json_decref(removed);
	return result;
}

const struct command cmd_rm = {
	.name = "rm",
	.synopsis = "NAME... [--force] [--json]",
	.summary = "discard sandboxes",
	.options = options,
	.min_args = 1,
	.max_args = (size_t)-1,
	.failure = 1,
	.run = discard,
};
