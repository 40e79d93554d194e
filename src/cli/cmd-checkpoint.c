#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "review/states.h"

static const struct option checkpoint_options[] = {
	{'m', "message", "TEXT", "what it is remembered by"},
	{0, "json", NULL, "print its number as one object"},
	{0, NULL, NULL, NULL},
};

static int checkpoint(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	const char *name = invocation->args[0];
	unsigned int number;

	if (root_open_existing(&root, err) < 0 ||
	    states_checkpoint(&root, name, option_value(invocation, "message"), &number, err) < 0)
		return -1;
	if (option_given(invocation, "json"))
		return output_json(
			json_pack("{s:s,s:I}", "name", name, "number", (json_int_t)number), err);
	say("this is checkpoint %u of %s; back to it: jib rollback %s %u", number, name, name,
	    number);
	return 0;
}

const struct command cmd_checkpoint = {
	.name = "checkpoint",
	.synopsis = "NAME [-m TEXT] [--json]",
	.summary = "keep the present state of a sandbox, to go back to it",
	.options = checkpoint_options,
	.min_args = 1,
	.max_args = 1,
	.failure = 1,
	.run = checkpoint,
};

static const struct option rollback_options[] = {
	{0, "json", NULL, "print the numbers as one object"},
	{0, NULL, NULL, NULL},
};

static int parse_number(const char *text, unsigned int *ret, struct error *err)
{
	char *end;

	errno = 0;
	unsigned long number = strtoul(text, &end, 10);

	if (errno || *end || text[0] < '1' || text[0] > '9' || number > INT_MAX)
		return error_set(err, ERR_USAGE, "%s is not the number of a checkpoint", text);
	*ret = (unsigned int)number;
	return 0;
}

static int rollback(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	const char *name = invocation->args[0];
	unsigned int number = 0, kept;

	if (invocation->arg_count > 1 && parse_number(invocation->args[1], &number, err) < 0)
		return -1;
	if (root_open_existing(&root, err) < 0 ||
	    states_rollback(&root, name, number, &number, &kept, err) < 0)
		return -1;
	if (option_given(invocation, "json"))
		return output_json(json_pack("{s:s,s:I,s:I}", "name", name, "number",
					     (json_int_t)number, "kept", (json_int_t)kept),
				   err);
	say("%s is as it was at checkpoint %u; undo it: jib rollback %s %u", name, number, name,
	    kept);
	return 0;
}

const struct command cmd_rollback = {
	.name = "rollback",
	.synopsis = "NAME [N] [--json]",
	.summary = "take a sandbox back to a checkpoint",
	.options = rollback_options,
	.min_args = 1,
	.max_args = 2,
	.failure = 1,
	.run = rollback,
};
