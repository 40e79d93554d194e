#include "support.h"

#include <string.h>

#include "cli/command.h"

static const struct option options[] = {
	{'r', "repo", "DIR", "a repository"},
	{'d', "detach", NULL, "a flag"},
	{'f', "force", NULL, "another"},
	{0, "long-only", "VALUE", "without a letter"},
	{0, "live", NULL, "a flag without a letter"},
	{0, "longer-only", NULL, "begins like another"},
	{0, NULL, NULL, NULL},
};

static const struct command with_command = {
	.name = "run",
	.synopsis = "[NAME] [-- CMD...]",
	.summary = "for tests",
	.options = options,
	.min_args = 0,
	.max_args = 1,
	.takes_command = true,
};

static const struct command with_names = {
	.name = "rm",
	.synopsis = "NAME...",
	.summary = "for tests",
	.options = options,
	.min_args = 1,
	.max_args = 3,
};

/* The words of a line, split at blanks; `''` is an empty word. */
struct words {
	struct strv v;
	struct invocation inv;
};

static void words_release(struct words *words)
{
	invocation_release(&words->inv);
	strv_release(&words->v);
}

#define autowords __attribute__((cleanup(words_release)))

static int parse(const struct command *command, const char *line, struct words *words,
		 struct error *err)
{
	autofree char *copy = xstrdup(line);
	char *at = copy;

	for (char *word; (word = strsep(&at, " "));)
		if (*word)
			strv_add(&words->v, strcmp(word, "''") == 0 ? "" : word);
	return invocation_parse(command, (int)words->v.len, words->v.items, &words->inv, err);
}

/*
 * What was understood, in one line: options as "name=value;" or "name;", then the arguments as
 * "<arg>", then "--" and what follows.
 */
static char *understood(const struct invocation *inv)
{
	struct str text = STR_INIT;

	for (size_t i = 0; i < inv->given_count; i++) {
		str_add(&text, inv->given[i].option->name);
		if (inv->given[i].value)
			str_addf(&text, "=%s", inv->given[i].value);
		str_add_char(&text, ';');
	}
	for (size_t i = 0; i < inv->arg_count; i++)
		str_addf(&text, "<%s>", inv->args[i]);
	if (inv->rest)
		str_add(&text, "--");
	for (size_t i = 0; inv->rest && i < inv->rest_count; i++)
		str_addf(&text, "<%s>", inv->rest[i]);
	return str_take(&text);
}

static void accepted(void **state)
{
	static const struct {
		const struct command *command;
		const char *line;
		const char *expected;
	} cases[] = {
		{&with_command, "", ""},
		{&with_command, "name", "<name>"},
		{&with_command, "--repo d", "repo=d;"},
		{&with_command, "--repo=d", "repo=d;"},
		{&with_command, "--repo=", "repo=;"},
		{&with_command, "--repo ''", "repo=;"},
		{&with_command, "--repo=a=b", "repo=a=b;"},
		{&with_command, "--repo --detach", "repo=--detach;"},
		{&with_command, "--repo -- x", "repo=--;<x>"},
		{&with_command, "-r d", "repo=d;"},
		{&with_command, "-rd", "repo=d;"},
		{&with_command, "-r=d", "repo==d;"},
		{&with_command, "-df", "detach;force;"},
		{&with_command, "-dfr x", "detach;force;repo=x;"},
		{&with_command, "-dfrx", "detach;force;repo=x;"},
		{&with_command, "-drf", "detach;repo=f;"},
		{&with_command, "-d name -f", "detach;force;<name>"},
		{&with_command, "--repo a --repo b -r c", "repo=a;repo=b;repo=c;"},
		{&with_command, "-", "<->"},
		{&with_command, "''", "<>"},
		{&with_command, "--", "--"},
		{&with_command, "name -- ls -l --repo x -- y",
		 "<name>--<ls><-l><--repo><x><--><y>"},
		{&with_command, "-- --help", "--<--help>"},
		{&with_command, "--long-only=5 --longer-only", "long-only=5;longer-only;"},
		{&with_names, "a b c", "<a><b><c>"},
		{&with_names, "-- -a --force", "<-a><--force>"},
		{&with_names, "a -- -f --", "<a><-f><-->"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autowords struct words words = {0};
		autoerror struct error err = ERROR_INIT;

		assert_success(parse(cases[i].command, cases[i].line, &words, &err), &err);
		autofree char *text = understood(&words.inv);

		assert_string_equal(text, cases[i].expected);
		assert_false(words.inv.help);
		if (words.inv.rest)
			assert_null(words.inv.rest[words.inv.rest_count]);
		assert_null(words.inv.args[words.inv.arg_count]);
	}
}

static void refused(void **state)
{
	static const struct {
		const struct command *command;
		const char *line;
		const char *reason;
	} cases[] = {
		{&with_command, "--unknown", "`jib run` has no option --unknown"},
		{&with_command, "--unknown=x", "no option --unknown=x"},
		{&with_command, "--rep d", "no option --rep"},
		{&with_command, "--long", "no option --long"},
		{&with_command, "--=x", "no option --=x"},
		{&with_command, "---", "no option ---"},
		{&with_command, "-x", "no option -x"},
		{&with_command, "-dx", "no option -x"},
		{&with_command, "-d-", "no option --"},
		{&with_command, "--detach=1", "--detach takes no value"},
		{&with_command, "--detach=", "--detach takes no value"},
		{&with_command, "--repo", "--repo needs a value: --repo DIR"},
		{&with_command, "-r", "--repo needs a value"},
		{&with_command, "-dr", "--repo needs a value"},
		{&with_command, "one two", "does not know what to do with \"two\""},
		{&with_command, "one two three", "\"two\""},
		{&with_names, "", "needs more: jib rm NAME..."},
		{&with_names, "--", "needs more"},
		{&with_names, "-f", "needs more"},
		{&with_names, "1 2 3 4", "\"4\""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autowords struct words words = {0};
		autoerror struct error err = ERROR_INIT;

		assert_failure(parse(cases[i].command, cases[i].line, &words, &err), &err,
			       ERR_USAGE, cases[i].reason);
		assert_null(words.inv.command);
		/* and without somebody to tell */
		assert_int_equal(parse(cases[i].command, "", &words, NULL), -1);
	}
}

/* Whoever asks for help gets it, whatever else is there or missing. */
static void help(void **state)
{
	static const char *const lines[] = {"--help", "-h", "-dh", "a b c --help", "a --help -f"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		autowords struct words words = {0};
		autoerror struct error err = ERROR_INIT;

		assert_success(parse(&with_command, lines[i], &words, &err), &err);
		assert_true(words.inv.help);
	}
	autowords struct words words = {0};
	autoerror struct error err = ERROR_INIT;

	assert_success(parse(&with_names, "--help", &words, &err), &err);
	assert_true(words.inv.help);
}

static void looking_up(void **state)
{
	autowords struct words words = {0};
	autoerror struct error err = ERROR_INIT;
	size_t at = 0;

	(void)state;
	assert_success(parse(&with_command, "-r a --live --repo=b", &words, &err), &err);
	assert_true(option_given(&words.inv, "live"));
	assert_false(option_given(&words.inv, "detach"));
	assert_string_equal(option_value(&words.inv, "repo"), "b");
	assert_null(option_value(&words.inv, "live"));
	assert_null(option_value(&words.inv, "long-only"));
	assert_string_equal(option_next(&words.inv, "repo", &at), "a");
	assert_string_equal(option_next(&words.inv, "repo", &at), "b");
	assert_null(option_next(&words.inv, "repo", &at));
	assert_null(option_next(&words.inv, "repo", &at));
}

/* ---- the real table ---- */

static void table(void **state)
{
	(void)state;
	assert_null(command_find("none"));
	assert_null(command_find(""));
	for (size_t i = 0; commands[i]; i++) {
		const struct command *command = commands[i];

		assert_ptr_equal(command_find(command->name), command);
		assert_non_null(command->run);
		assert_true(command->min_args <= command->max_args);
		assert_true(command->failure == 1 || command->failure == 125);
		for (const struct option *o = command->options; o->name; o++) {
			assert_string_not_equal(o->name, "help");
			assert_int_not_equal(o->letter, 'h');
			assert_non_null(o->help);
			for (const struct option *p = command->options; p != o; p++) {
				assert_string_not_equal(o->name, p->name);
				if (o->letter)
					assert_int_not_equal(o->letter, p->letter);
			}
		}
	}
}

static void help_texts(void **state)
{
	autostr struct str overview = STR_INIT, all = STR_INIT;

	(void)state;
	command_overview(&overview);
	command_table(&all);
	for (size_t i = 0; commands[i]; i++) {
		autostr struct str text = STR_INIT;

		command_help(commands[i], &text);
		assert_contains(overview.s, commands[i]->summary);
		assert_contains(all.s, commands[i]->name);
		assert_contains(text.s, commands[i]->synopsis);
		for (const struct option *o = commands[i]->options; o->name; o++) {
			autofree char *name = xasprintf("--%s", o->name);

			assert_contains(text.s, name);
			assert_contains(text.s, o->help);
			assert_contains(all.s, o->name);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted), cmocka_unit_test(refused),
		cmocka_unit_test(help),	    cmocka_unit_test(looking_up),
		cmocka_unit_test(table),    cmocka_unit_test(help_texts),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
