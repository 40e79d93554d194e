#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "git/config.h"

/* The string literal with all of its NUL bytes. */
#define PARSE(text, config) config_parse(text, sizeof(text) - 1, config)

static void parsing(void **state)
{
	autoconfig struct config config = CONFIG_INIT;

	(void)state;
	PARSE("system\0jib.a\none\0"
	      "global\0jib.b\nline 1\nline 2\0"
	      "local\0jib.flag\0"
	      "worktree\0jib.empty\n\0"
	      "local\0alias.X.y\na=b\0",
	      &config);
	assert_int_equal(config.count, 5);
	assert_string_equal(config.items[0].key, "jib.a");
	assert_string_equal(config.items[0].value, "one");
	assert_false(config.items[0].local);
	assert_string_equal(config.items[1].value, "line 1\nline 2");
	assert_false(config.items[1].local);
	assert_null(config.items[2].value);
	assert_true(config.items[2].local);
	assert_string_equal(config.items[3].value, "");
	assert_true(config.items[3].local);
	assert_string_equal(config.items[4].key, "alias.X.y");
	assert_string_equal(config.items[4].value, "a=b");
}

/* What stands in jib's own file travels as -c, and gives way to everything else. */
static void own_defaults_come_first(void **state)
{
	autoconfig struct config config = CONFIG_INIT;
	size_t at = 0;

	(void)state;
	PARSE("system\0jib.a\nsystem\0global\0jib.b\nglobal\0"
	      "command\0jib.a\ncommand\0command\0jib.c\ncommand\0",
	      &config);
	assert_string_equal(config_value(&config, "jib.a"), "system");
	assert_string_equal(config_value(&config, "jib.b"), "global");
	assert_string_equal(config_value(&config, "jib.c"), "command");
	assert_null(config_value(&config, "jib.d"));
	assert_null(config_value(&config, "jib"));
	assert_string_equal(config_next(&config, "jib.a", &at), "command");
	assert_string_equal(config_next(&config, "jib.a", &at), "system");
	assert_null(config_next(&config, "jib.a", &at));
	assert_null(config_next(&config, "jib.a", &at));
}

static void damaged_output(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		size_t count;
	} cases[] = {
		{"", 0, 0},
		{"local", 5, 0},
		{"local\0", 6, 0},
		{"local\0jib.a", 11, 1},
		{"local\0jib.a\n", 12, 1},
		{"\0\0", 2, 1},
		{"local\0jib.a\nx\0local", 19, 1},
		{"\0\0\0\0\0", 5, 2},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		/* No byte more than there is: the sanitizer sees what reads too far. */
		autofree char *bytes = xmalloc(cases[i].len);
		autoconfig struct config config = CONFIG_INIT;

		memcpy(bytes, cases[i].bytes, cases[i].len);
		config_parse(bytes, cases[i].len, &config);
		assert_int_equal(config.count, cases[i].count);
	}
}

static void booleans(void **state)
{
	static const struct {
		const char *value;
		int expected; /* -1: neither */
	} cases[] = {
		{"true", 1},   {"yes", 1}, {"on", 1},	  {"1", 1},  {"TRUE", 1},     {"On", 1},
		{"false", 0},  {"no", 0},  {"off", 0},	  {"0", 0},  {"", 0},	      {"No", 0},
		{"maybe", -1}, {"t", -1},  {" true", -1}, {"y", -1}, {"enabled", -1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_item item = {xstrdup("jib.live"), xstrdup(cases[i].value), false};
		struct config config = {&item, 1};
		autoerror struct error err = ERROR_INIT;
		bool value = !cases[i].expected;
		int result = config_bool(&config, "jib.live", !cases[i].expected, &value, &err);

		if (cases[i].expected < 0) {
			assert_failure(result, &err, ERR_CONFIG, "jib.live");
			assert_contains(err.message, cases[i].value);
		} else {
			assert_success(result, &err);
			assert_int_equal(value, cases[i].expected);
		}
		free(item.key);
		free(item.value);
	}
}

static void absent_and_bare_booleans(void **state)
{
	autoconfig struct config config = CONFIG_INIT;
	autoerror struct error err = ERROR_INIT;
	bool value = true;

	(void)state;
	PARSE("local\0jib.flag\0local\0jib.twice\nbad\0local\0jib.twice\nno\0", &config);
	assert_success(config_bool(&config, "jib.none", false, &value, &err), &err);
	assert_false(value);
	assert_success(config_bool(&config, "jib.none", true, &value, &err), &err);
	assert_true(value);
	assert_success(config_bool(&config, "jib.flag", false, &value, &err), &err);
	assert_true(value);
	assert_success(config_bool(&config, "jib.twice", true, &value, &err), &err);
	assert_false(value);
	assert_string_equal(config_value(&config, "jib.flag"), "");
}

/* ---- with git ---- */

static void config_of(const char *directory, struct config *ret)
{
	autoerror struct error err = ERROR_INIT;
	struct process process = PROCESS_INIT;

	assert_success(config_start(directory, &process, &err), &err);
	assert_success(config_finish(&process, ret, &err), &err);
}

static void precedence(void **state)
{
	const struct temp *temp = *state;
	autofree char *repository = make_repository(temp, "r");
	autofree char *xdg = temp_path(temp, "xdg");
	autoconfig struct config here = CONFIG_INIT;
	autoconfig struct config nowhere = CONFIG_INIT;
	autoconfig struct config other = CONFIG_INIT;

	make_dirs(temp->fd, ".config/jib");
	make_dirs(temp->fd, "xdg/jib");
	make_dirs(temp->fd, "empty");
	put_text(temp->fd, ".config/jib/config",
		 "[jib]\n\tonly = own\n\tglobal = own\n\tlocal = own\n");
	put_text(temp->fd, "xdg/jib/config", "[jib]\n\tonly = xdg\n");
	git(repository, "config", "--global", "jib.global", "global", NULL);
	git(repository, "config", "--global", "jib.local", "global", NULL);
	git(repository, "config", "--global", "credential.helper", "secret", NULL);
	git(repository, "config", "jib.local", "a \"local\" one\nof two lines", NULL);

	config_of(repository, &here);
	assert_string_equal(config_value(&here, "jib.only"), "own");
	assert_string_equal(config_value(&here, "jib.global"), "global");
	assert_string_equal(config_value(&here, "jib.local"), "a \"local\" one\nof two lines");
	assert_string_equal(config_value(&here, "user.name"), "Test");
	assert_null(config_value(&here, "credential.helper"));
	autofree char *empty = temp_path(temp, "empty");

	config_of(empty, &nowhere);
	assert_string_equal(config_value(&nowhere, "jib.local"), "global");
	setenv("XDG_CONFIG_HOME", xdg, 1);
	config_of(repository, &other);
	unsetenv("XDG_CONFIG_HOME");
	assert_string_equal(config_value(&other, "jib.only"), "xdg");
}

static void nothing_set(void **state)
{
	const struct temp *temp = *state;
	autoconfig struct config config = CONFIG_INIT;

	put_text(temp->fd, ".gitconfig", "[credential]\n\thelper = none\n");
	config_of(temp->path, &config);
	assert_null(config_value(&config, "jib.only"));
	assert_null(config_value(&config, "credential.helper"));
}

static void broken_configuration(void **state)
{
	const struct temp *temp = *state;
	autoconfig struct config config = CONFIG_INIT;
	autoerror struct error err = ERROR_INIT;
	struct process process = PROCESS_INIT;

	put_text(temp->fd, ".gitconfig", "[jib\nx = 1\n");
	assert_success(config_start(temp->path, &process, &err), &err);
	assert_failure(config_finish(&process, &config, &err), &err, ERR_CONFIG, "line 1");
	assert_lacks(err.message, "\n");
	error_clear(&err);
	assert_failure(config_read_all(temp->path, &config, &err), &err, ERR_GIT, temp->path);
	assert_int_equal(config.count, 0);
}

static void everything_of_a_repository(void **state)
{
	const struct temp *temp = *state;
	autofree char *repository = make_repository(temp, "r");
	autoconfig struct config config = CONFIG_INIT;
	autoerror struct error err = ERROR_INIT;
	bool found = false;

	git(repository, "config", "credential.helper", "x", NULL);
	assert_success(config_read_all(repository, &config, &err), &err);
	for (size_t i = 0; i < config.count; i++) {
		if (strcmp(config.items[i].key, "credential.helper") == 0) {
			assert_true(config.items[i].local);
			found = true;
		}
		if (strcmp(config.items[i].key, "user.name") == 0)
			assert_false(config.items[i].local);
	}
	assert_true(found);
	assert_string_equal(config_value(&config, "user.name"), "Test");
}

/* What is written, git reads as it was. */
static void quoting(void **state)
{
	static const struct {
		const char *key;
		const char *value;
	} items[] = {
		{"a.plain", "value"},
		{"a.empty", ""},
		{"a.spaces", "  leading and trailing  "},
		{"a.tabs", "\ttab\t"},
		{"a.comment", "a # b ; c"},
		{"a.quotes", "\"quoted\" and \\backslashed\\"},
		{"a.lines", "one\ntwo\n\nthree\n"},
		{"a.backspace", "x\by"},
		{"a.return", "cr\rlf\r\n"},
		{"a.end-backslash", "end\\"},
		{"a.equals", "= [x] ="},
		{"a.controls", "\x01\x1b[2J\x7f"},
		{"a.bytes", "\xc3\xa4 \xff"},
		{"a.dollar", "$HOME `x` $(x) 'x'"},
		{"remote.origin.url", "https://example.org/x.git"},
		{"branch.with.dots and spaces.merge", "refs/heads/x"},
		{"url.a\"b\\c.insteadof", "x"},
		{"branch.UPPER/lower#;=].remote", "."},
		{"s..name", "an empty subsection"},
		{"s.[x].name", "brackets"},
		{"a.plain", "a second value"},
	};
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "config");
	autostr struct str file = STR_INIT;
	autostr struct str expected = STR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		config_write_item(&file, items[i].key, items[i].value);
	config_write_item(&file, "a.flag", NULL);
	config_write_item(&file, "without-a-dot", "dropped");
	put_bytes(temp->fd, "config", file.s, file.len);

	/* -z: KEY LF VALUE NUL */
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		str_addf(&expected, "%s\n%s", items[i].key, items[i].value);
		str_add_bytes(&expected, "", 1);
	}
	str_add_bytes(&expected, "a.flag", sizeof "a.flag");
	git(temp->path, "config", "-f", path, "--list", NULL);
	autofree char *output_path = temp_path(temp, "output");
	autofree char *alias =
		xasprintf("alias.dump=!git config -z -f '%s' --list >'%s'", path, output_path);

	/* To a file, because the values hold NUL bytes between them. */
	git(temp->path, "-c", alias, "dump", NULL);
	autofd int fd = open(output_path, O_RDONLY | O_CLOEXEC);
	autofree char *said = xmalloc(expected.len + 1);

	assert_int_equal(read(fd, said, expected.len + 1), (ssize_t)expected.len);
	assert_memory_equal(said, expected.s, expected.len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parsing),
		cmocka_unit_test(own_defaults_come_first),
		cmocka_unit_test(damaged_output),
		cmocka_unit_test(booleans),
		cmocka_unit_test(absent_and_bare_booleans),
		WITH_TEMP(precedence),
		WITH_TEMP(nothing_set),
		WITH_TEMP(broken_configuration),
		WITH_TEMP(everything_of_a_repository),
		WITH_TEMP(quoting),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
