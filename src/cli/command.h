/*
 * command: the one table that dispatch, --help, completions and the check of the man pages
 * come from.
 *
 * A command declares its options as data; the parser (options.c) fills a `struct invocation`
 * and never touches anything else, so parsing can be tested without running. A command returns
 * the exit status, or -1 with an error, which main renders as text or JSON.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/str.h"

struct option {
	char letter;	      /* 0: none */
	const char *name;     /* long name without "--"; NULL ends the table */
	const char *argument; /* its name in help ("DIR"), or NULL for a flag */
	const char *help;
};

struct invocation;

struct command {
	const char *name;
	const char *synopsis; /* what follows the name: "[NAME] [options] [-- CMD...]" */
	const char *summary;  /* one line, lower case, no full stop */
	const struct option *options;
	size_t min_args; /* positional arguments before "--" */
	size_t max_args;
	bool takes_command; /* what follows "--" is a command to run */
	/* 125 where the exit status belongs to the command that is run, else 1 (house.md 8). */
	int failure;
	int (*run)(const struct invocation *invocation, struct error *err);
};

extern const struct command *const commands[]; /* NULL-terminated, in the order of help */

struct given {
	const struct option *option;
	const char *value; /* NULL for a flag */
};

/* What was said on the command line. Strings belong to argv. */
struct invocation {
	const struct command *command;
	struct given *given;
	size_t given_count;
	char **args;
	size_t arg_count;
	char **rest; /* what follows "--", NULL-terminated; NULL without "--" */
	size_t rest_count;
	bool help;
};

/*
 * Parses argv after the command's name. Options may stand anywhere before "--"; "--name=value"
 * and "--name value" and "-n value" and "-nvalue" are the same; short flags may be joined.
 * Everything that the table does not know is a usage error that names it.
 */
int invocation_parse(const struct command *command, int argc, char **argv, struct invocation *ret,
		     struct error *err);
void invocation_release(struct invocation *invocation);

bool option_given(const struct invocation *invocation, const char *name);
/* The value given last, or NULL. */
const char *option_value(const struct invocation *invocation, const char *name);
/* Every value of a repeatable option, in order: start with *at = 0; NULL at the end. */
const char *option_next(const struct invocation *invocation, const char *name, size_t *at);

const struct command *command_find(const char *name);

/* The help texts, made from the table. */
void command_help(const struct command *command, struct str *ret);
void command_overview(struct str *ret);
/* One line per command and option, tab-separated; completions and tests read it. */
void command_table(struct str *ret);
