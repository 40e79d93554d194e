#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/colour.h"
#include "cli/pager.h"

static const char *const variables[] = {"GIT_PAGER", "PAGER", "LESS", "LV", "NO_COLOR"};

static int clean_setup(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
		unsetenv(variables[i]);
	setenv("TERM", "xterm", 1);
	return temp_setup(state);
}
#define WITH_CLEAN(test) cmocka_unit_test_setup_teardown(test, clean_setup, temp_teardown)

/* A configuration of up to two settings. */
static struct config configured(const char *key, const char *value, const char *key2,
				const char *value2)
{
	struct config config = {xcalloc(2, sizeof *config.items), 0};

	if (key)
		config.items[config.count++] =
			(struct config_item){xstrdup(key), xstrdup(value), false};
	if (key2)
		config.items[config.count++] =
			(struct config_item){xstrdup(key2), xstrdup(value2), false};
	return config;
}

static void assert_words(const struct config *config, const char *expected)
{
	autostrv struct strv words = STRV_INIT;
	autostr struct str joined = STR_INIT;

	pager_words(config, "diff", &words);
	for (size_t i = 0; i < words.len; i++)
		str_addf(&joined, "[%s]", words.items[i]);
	str_add(&joined, "");
	assert_string_equal(joined.s, expected);
}

static void which_one(void **state)
{
	autoconfig struct config none = CONFIG_INIT;
	autoconfig struct config core = configured("core.pager", "of core", NULL, NULL);
	autoconfig struct config own = configured("core.pager", "of core", "pager.diff", "own");
	autoconfig struct config off = configured("core.pager", "of core", "pager.diff", "false");
	autoconfig struct config on = configured("core.pager", "of core", "pager.diff", "true");
	autoconfig struct config log = configured("pager.log", "false", NULL, NULL);

	(void)state;
	assert_words(&none, "[less]");
	assert_words(&core, "[of][core]");
	assert_words(&own, "[own]");
	assert_words(&off, "");
	assert_words(&on, "[of][core]");
	assert_words(&log, "[less]");
	setenv("PAGER", "most", 1);
	assert_words(&none, "[most]");
	assert_words(&core, "[of][core]");
	setenv("GIT_PAGER", "git's own", 1);
	assert_words(&core, "[less]");
	setenv("GIT_PAGER", "first of all", 1);
	assert_words(&core, "[first][of][all]");
	assert_words(&own, "[first][of][all]");
	assert_words(&off, "");
}

static void words_without_a_shell(void **state)
{
	static const char *const pagers[][2] = {
		{"less -R  --tabs=4 ", "[less][-R][--tabs=4]"},
		{"\tdelta --a=#b x~", "[delta][--a=#b][x~]"},
		{"", ""},
		{"  ", ""},
		{"cat", ""},
		{" cat ", ""},
		{"cat -v", "[cat][-v]"},
		{"a | less -S", "[less]"},
		{"less; touch x", "[less]"},
		{"less 'a b'", "[less]"},
		{"less \"a\"", "[less]"},
		{"less $X", "[less]"},
		{"`x`", "[less]"},
		{"LESS=x more", "[less]"},
		{"~/bin/p", "[less]"},
		{"p ~/x", "[less]"},
		{"p # x", "[less]"},
		{"p *", "[less]"},
		{"p\nq", "[less]"},
		{"p \\x", "[less]"},
	};
	autoconfig struct config none = CONFIG_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pagers); i++) {
		setenv("GIT_PAGER", pagers[i][0], 1);
		assert_words(&none, pagers[i][1]);
	}
}

/* stdout becomes a terminal, of which the other end stays open in *ret. */
static int on_terminal(int *ret)
{
	*ret = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*ret < 0 || grantpt(*ret) < 0 || unlockpt(*ret) < 0)
		return -1;
	autofd int slave = open(ptsname(*ret), O_RDWR | O_NOCTTY | O_CLOEXEC);

	return slave < 0 || dup2(slave, STDOUT_FILENO) < 0 ? -1 : 0;
}

/* A pager that notes what it was given, and its environment. */
static void put_pager(const struct temp *temp)
{
	autofree char *text =
		xasprintf("#!/bin/sh\nexec >%s/got\necho \"$LESS,$LV\"\ncat\n", temp->path);

	put_text(temp->fd, "pager", text);
	if (fchmodat(temp->fd, "pager", 0755, 0) < 0)
		abort();
}

static int paging(const struct temp *temp)
{
	autofree char *path = temp_path(temp, "pager");
	autoconfig struct config config = configured("core.pager", path, NULL, NULL);
	autopager struct pager pager = PAGER_INIT;
	autoerror struct error err = ERROR_INIT;
	autofd int master = -1;

	NEED(on_terminal(&master) == 0);
	size_t fds = count_fds();

	NEED(pager_start(&config, "diff", true, &pager, &err) == 0);
	NEED(pager.paged && pager.fd != STDOUT_FILENO);
	NEED(raise(SIGINT) == 0 && raise(SIGQUIT) == 0);
	NEED(pager_write(&pager, "one\n", 4, &err) == 0);
	NEED(pager_write(&pager, "two\n", 4, &err) == 0);
	NEED(pager_finish(&pager, &err) == 0);
	NEED(count_fds() == fds);
	autofree char *got = get_text(temp->fd, "got");

	NEED(strcmp(got, "FRX,-c\none\ntwo\n") == 0);
	NEED(pager_finish(&pager, &err) == 0);
	return 0;
}

static void what_is_written_gets_there(void **state)
{
	put_pager(*state);
	in_child(paging, *state);
}

static int the_users_less(const struct temp *temp)
{
	autofree char *path = temp_path(temp, "pager");
	autoconfig struct config config = configured("core.pager", path, NULL, NULL);
	autopager struct pager pager = PAGER_INIT;
	autoerror struct error err = ERROR_INIT;
	autofd int master = -1;

	setenv("LESS", "mine", 1);
	setenv("LV", "", 1);
	NEED(on_terminal(&master) == 0);
	NEED(pager_start(&config, "diff", true, &pager, &err) == 0);
	NEED(pager_finish(&pager, &err) == 0);
	autofree char *got = get_text(temp->fd, "got");

	NEED(strcmp(got, "mine,\n") == 0);
	return 0;
}

static void what_is_set_stays(void **state)
{
	put_pager(*state);
	in_child(the_users_less, *state);
}

static int quitting(const struct temp *temp)
{
	static char much[1 << 20];
	autoconfig struct config config = configured("core.pager", "true", NULL, NULL);
	autopager struct pager pager = PAGER_INIT;
	autoerror struct error err = ERROR_INIT;
	autofd int master = -1;

	(void)temp;
	NEED(on_terminal(&master) == 0);
	NEED(pager_start(&config, "diff", true, &pager, &err) == 0);
	NEED(pager_write(&pager, much, sizeof much, &err) == 1);
	NEED(pager_finish(&pager, &err) == 0);
	NEED(!error_is_set(&err));
	return 0;
}

static void quitting_is_no_error(void **state)
{
	in_child(quitting, *state);
}

static int without(const struct temp *temp)
{
	autoconfig struct config gone = configured("core.pager", "/no/such/pager", NULL, NULL);
	autoconfig struct config cat = configured("core.pager", "cat", NULL, NULL);
	autoconfig struct config none = CONFIG_INIT;
	autoerror struct error err = ERROR_INIT;
	autofd int master = -1;
	int ends[2];

	(void)temp;
	NEED(on_terminal(&master) == 0);
	for (int i = 0; i < 4; i++) {
		autopager struct pager pager = PAGER_INIT;
		const struct config *const configs[] = {&gone, &cat, &none, &none};

		/* A pipe that nobody reads, and no terminal */
		if (i == 3)
			NEED(pipe(ends) == 0 && dup2(ends[1], STDOUT_FILENO) >= 0 &&
			     close(ends[0]) == 0 && close(ends[1]) == 0);
		NEED(pager_start(configs[i], "diff", i != 2, &pager, &err) == 0);
		NEED(!pager.paged && pager.fd == STDOUT_FILENO);
		NEED(pager_write(&pager, "x", 1, &err) == (i == 3));
	}
	NEED(fcntl(STDOUT_FILENO, F_GETFD) >= 0);
	return 0;
}

static void stdout_itself(void **state)
{
	in_child(without, *state);
}

static int colours(const struct config *config, bool paged)
{
	autoerror struct error err = ERROR_INIT;
	bool coloured;

	return output_coloured(config, paged, &coloured, &err) < 0 ? -1 : coloured;
}

static int colouring(const struct temp *temp)
{
	static const struct {
		const char *key, *value, *key2, *value2;
		int terminal, paged, file;
	} cases[] = {
		{NULL, NULL, NULL, NULL, 1, 1, 0},
		{"color.ui", "auto", NULL, NULL, 1, 1, 0},
		{"color.ui", "true", NULL, NULL, 1, 1, 0},
		{"color.ui", "Always", NULL, NULL, 1, 1, 1},
		{"color.ui", "never", NULL, NULL, 0, 0, 0},
		{"color.ui", "no", NULL, NULL, 0, 0, 0},
		{"color.ui", "sometimes", NULL, NULL, -1, -1, -1},
		{"color.ui", "never", "color.diff", "auto", 1, 1, 0},
		{"color.ui", "always", "color.diff", "false", 0, 0, 0},
		{"color.pager", "false", NULL, NULL, 1, 0, 0},
		{"color.pager", "perhaps", NULL, NULL, 1, -1, -1},
	};
	autofd int file = open("/dev/null", O_WRONLY | O_CLOEXEC);
	autofd int master = -1;

	(void)temp;
	NEED(on_terminal(&master) == 0);
	autofd int terminal = dup(STDOUT_FILENO);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autoconfig struct config config =
			configured(cases[i].key, cases[i].value, cases[i].key2, cases[i].value2);

		NEED(dup2(terminal, STDOUT_FILENO) >= 0);
		NEED(colours(&config, false) == cases[i].terminal);
		NEED(colours(&config, true) == cases[i].paged);
		NEED(dup2(file, STDOUT_FILENO) >= 0);
		NEED(colours(&config, cases[i].file == -1) == cases[i].file);
	}
	autoconfig struct config none = CONFIG_INIT;

	NEED(dup2(terminal, STDOUT_FILENO) >= 0);
	setenv("NO_COLOR", "1", 1);
	NEED(colours(&none, false) == 0);
	setenv("NO_COLOR", "", 1);
	NEED(colours(&none, false) == 1);
	setenv("TERM", "dumb", 1);
	NEED(colours(&none, false) == 0);
	unsetenv("TERM");
	NEED(colours(&none, false) == 0);
	return 0;
}

static void when_there_are_colours(void **state)
{
	in_child(colouring, *state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_CLEAN(which_one),
		WITH_CLEAN(words_without_a_shell),
		WITH_CLEAN(what_is_written_gets_there),
		WITH_CLEAN(what_is_set_stays),
		WITH_CLEAN(quitting_is_no_error),
		WITH_CLEAN(stdout_itself),
		WITH_CLEAN(when_there_are_colours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
