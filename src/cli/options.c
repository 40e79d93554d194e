#include <string.h>

#include "base/memory.h"
#include "cli/command.h"

static const struct option *find_long(const struct command *command, const char *name, size_t len)
{
	for (const struct option *o = command->options; o->name; o++)
		if (strlen(o->name) == len && strncmp(o->name, name, len) == 0)
			return o;
	return NULL;
}

static const struct option *find_short(const struct command *command, char letter)
{
	for (const struct option *o = command->options; o->name; o++)
		if (o->letter == letter)
			return o;
	return NULL;
}

static void add_given(struct invocation *inv, const struct option *option, const char *value)
{
	inv->given = xreallocarray(inv->given, inv->given_count + 1, sizeof *inv->given);
	inv->given[inv->given_count++] = (struct given){option, value};
}

static int unknown(const struct command *command, const char *what, struct error *err)
{
	error_set(err, ERR_USAGE, "`jib %s` has no option %s", command->name, what);
	return error_hint(err, "`jib %s --help` lists them", command->name);
}

static int lacks_value(const struct option *option, struct error *err)
{
	return error_set(err, ERR_USAGE, "--%s needs a value: --%s %s", option->name, option->name,
			 option->argument);
}

/* Parses argv[*at], a long option, and moves *at past its value. */
static int parse_long(struct invocation *inv, int argc, char **argv, int *at, struct error *err)
{
	const char *text = argv[*at] + 2;
	size_t len = strcspn(text, "=");
	const struct option *option = find_long(inv->command, text, len);
	const char *value = text[len] ? text + len + 1 : NULL;

	if (len == strlen("help") && strncmp(text, "help", len) == 0) {
		inv->help = true;
		return 0;
	}
	if (!option)
		return unknown(inv->command, argv[*at], err);
	if (!option->argument && value)
		return error_set(err, ERR_USAGE, "--%s takes no value", option->name);
	if (option->argument && !value) {
		if (*at + 1 >= argc)
			return lacks_value(option, err);
		value = argv[++*at];
	}
	add_given(inv, option, value);
	return 0;
}

static int parse_short(struct invocation *inv, int argc, char **argv, int *at, struct error *err)
{
	for (const char *c = argv[*at] + 1; *c; c++) {
		const struct option *option = find_short(inv->command, *c);
		const char shown[] = {'-', *c, '\0'};

		if (*c == 'h' && !option) {
			inv->help = true;
			continue;
		}
		if (!option)
			return unknown(inv->command, shown, err);
		if (!option->argument) {
			add_given(inv, option, NULL);
			continue;
		}
		if (!c[1] && *at + 1 >= argc)
			return lacks_value(option, err);
		add_given(inv, option, c[1] ? c + 1 : argv[++*at]);
		break;
	}
	return 0;
}

static int check_counts(const struct invocation *inv, struct error *err)
{
	const struct command *command = inv->command;
	bool few = inv->arg_count < command->min_args;
	bool many = inv->arg_count > command->max_args;

	if (inv->help || (!few && !many))
		return 0;
	if (few)
		error_set(err, ERR_USAGE, "`jib %s` needs more: jib %s %s", command->name,
			  command->name, command->synopsis);
	else
		error_set(err, ERR_USAGE, "`jib %s` does not know what to do with \"%s\"",
			  command->name, inv->args[command->max_args]);
	return command->takes_command
		       ? error_hint(err, "what is to run stands after `--`: jib %s %s",
				    command->name, command->synopsis)
		       : error_hint(err, "`jib %s --help`", command->name);
}

int invocation_parse(const struct command *command, int argc, char **argv, struct invocation *ret,
		     struct error *err)
{
	struct invocation inv = {.command = command};

	inv.args = xcalloc((size_t)argc + 1, sizeof *inv.args);
	for (int at = 0; at < argc; at++) {
		int result = 0;

		if (strcmp(argv[at], "--") == 0 && command->takes_command) {
			inv.rest = argv + at + 1;
			inv.rest_count = (size_t)(argc - at - 1);
			break;
		}
		if (strcmp(argv[at], "--") == 0) {
			while (++at < argc)
				inv.args[inv.arg_count++] = argv[at];
			break;
		}
		if (strncmp(argv[at], "--", 2) == 0)
			result = parse_long(&inv, argc, argv, &at, err);
		else if (argv[at][0] == '-' && argv[at][1])
			result = parse_short(&inv, argc, argv, &at, err);
		else
			inv.args[inv.arg_count++] = argv[at];
		if (result < 0) {
			invocation_release(&inv);
			return -1;
		}
	}
	if (check_counts(&inv, err) < 0) {
		invocation_release(&inv);
		return -1;
	}
	*ret = inv;
	return 0;
}

void invocation_release(struct invocation *inv)
{
	free(inv->given);
	free(inv->args);
	*inv = (struct invocation){0};
}

bool option_given(const struct invocation *inv, const char *name)
{
	for (size_t i = 0; i < inv->given_count; i++)
		if (strcmp(inv->given[i].option->name, name) == 0)
			return true;
	return false;
}

const char *option_value(const struct invocation *inv, const char *name)
{
	for (size_t i = inv->given_count; i-- > 0;)
		if (strcmp(inv->given[i].option->name, name) == 0)
			return inv->given[i].value;
	return NULL;
}

const char *option_next(const struct invocation *inv, const char *name, size_t *at)
{
	while (*at < inv->given_count) {
		const struct given *given = &inv->given[(*at)++];

		if (strcmp(given->option->name, name) == 0)
			return given->value;
	}
	return NULL;
}
