#include "cli/command.h"

#include <string.h>

#include "cli/commands.h"

const struct command *const commands[] = {
	&cmd_run,   &cmd_new,	     &cmd_exec,	    &cmd_attach, &cmd_logs, &cmd_stop,
	&cmd_ls,    &cmd_show,	     &cmd_status,   &cmd_diff,	 &cmd_log,  &cmd_persist,
	&cmd_fork,  &cmd_checkpoint, &cmd_rollback, &cmd_rm,	 &cmd_gc,   &cmd_du,
	&cmd_mount, &cmd_umount,     &cmd_doctor,   NULL,
};

const struct command *command_find(const char *name)
{
	for (const struct command *const *command = commands; *command; command++)
		if (strcmp((*command)->name, name) == 0)
			return *command;
	return NULL;
}

static void add_option(const struct option *option, struct str *ret)
{
	struct str left = STR_INIT;

	if (option->letter)
		str_addf(&left, "-%c, ", option->letter);
	str_addf(&left, "--%s", option->name);
	if (option->argument)
		str_addf(&left, " %s", option->argument);
	str_addf(ret, "  %-28s %s\n", left.s, option->help);
	str_release(&left);
}

void command_help(const struct command *command, struct str *ret)
{
	str_addf(ret, "jib %s %s\n\n%s\n", command->name, command->synopsis, command->summary);
	if (command->options->name)
		str_add(ret, "\n");
	for (const struct option *option = command->options; option->name; option++)
		add_option(option, ret);
	str_addf(ret, "\nMore: man jib-%s\n", command->name);
}

void command_overview(struct str *ret)
{
	str_add(ret,
		"jib gives every agent, container or person its own copy-on-write view of your\n"
		"git repositories in milliseconds.\n\n"
		"  jib run [NAME] [options] [-- CMD...]\n\n");
	for (const struct command *const *command = commands; *command; command++)
		str_addf(ret, "  %-10s %s\n", (*command)->name, (*command)->summary);
	str_add(ret, "\n`jib COMMAND --help` and `man jib-COMMAND` tell more; `jib --version`.\n");
}

void command_table(struct str *ret)
{
	for (const struct command *const *command = commands; *command; command++) {
		str_addf(ret, "command\t%s\t%s\t%s\n", (*command)->name, (*command)->synopsis,
			 (*command)->summary);
		for (const struct option *o = (*command)->options; o->name; o++) {
			str_addf(ret, "option\t%s\t--%s\t", (*command)->name, o->name);
			if (o->letter)
				str_addf(ret, "-%c", o->letter);
			str_addf(ret, "\t%s\t%s\n", o->argument ? o->argument : "", o->help);
		}
	}
}
