#include "cli/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

static const char standard[] = "less";

/* pager.NAME, which is a boolean or a command. True when it decides; NULL for no pager. */
static bool own_setting(const struct config *config, const char *name, const char **ret)
{
	autofree char *key = xasprintf("pager.%s", name);
	const char *value = config_value(config, key);
	autoerror struct error ignored = ERROR_INIT;
	bool wanted = true;

	if (!value)
		return false;
	if (config_bool(config, key, true, &wanted, &ignored) < 0) {
		*ret = value;
		return true;
	}
	*ret = NULL;
	return !wanted;
}

static const char *chosen(const struct config *config, const char *name)
{
	const char *value;
	bool decided = own_setting(config, name, &value);

	/* The variable says which one, and the setting whether. */
	if (decided && !value)
		return NULL;
	if (getenv("GIT_PAGER"))
		return getenv("GIT_PAGER");
	if (decided)
		return value;
	value = config_value(config, "core.pager");
	if (!value)
		value = getenv("PAGER");
	return value ? value : standard;
}

/* Only a shell can make sense of it, at least of the first word with an assignment. */
static bool needs_shell(const char *value)
{
	const char *first = value + strspn(value, " \t");

	if (value[strcspn(value, "|&;<>()$`\\\"'\n*?[")])
		return true;
	if (memchr(first, '=', strcspn(first, " \t")))
		return true;
	for (const char *word = first; *word; word += strspn(word, " \t")) {
		if (*word == '~' || *word == '#')
			return true;
		word += strcspn(word, " \t");
	}
	return false;
}

void pager_words(const struct config *config, const char *name, struct strv *ret)
{
	const char *value = chosen(config, name);

	if (value && needs_shell(value))
		value = standard;
	if (!value)
		return;
	for (value += strspn(value, " \t"); *value; value += strspn(value, " \t")) {
		size_t len = strcspn(value, " \t");

		strv_give(ret, xstrndup(value, len));
		value += len;
	}
	if (ret->len == 1 && strcmp(ret->items[0], "cat") == 0)
		strv_release(ret);
}

static void add_environment(struct strv *env)
{
	for (char **item = environ; *item; item++)
		strv_add(env, *item);
	if (!getenv("LESS"))
		strv_add(env, "LESS=FRX");
	if (!getenv("LV"))
		strv_add(env, "LV=-c");
}

/* A handler, because what is ignored stays so in the programs that are started meanwhile. */
static void nothing(int number)
{
	(void)number;
}

static void take_signals(struct pager *pager)
{
	struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};

	sigaction(SIGPIPE, &action, &pager->pipe);
	if (!pager->paged)
		return;
	sigaction(SIGINT, &action, &pager->interrupt);
	sigaction(SIGQUIT, &action, &pager->quit);
}

static void give_signals_back(const struct pager *pager)
{
	sigaction(SIGPIPE, &pager->pipe, NULL);
	if (!pager->paged)
		return;
	sigaction(SIGINT, &pager->interrupt, NULL);
	sigaction(SIGQUIT, &pager->quit, NULL);
}

/* Leaves the pager as it is when the program cannot be started. */
static int start(const struct strv *words, struct pager *pager, struct error *err)
{
	autoerror struct error ignored = ERROR_INIT;
	autostrv struct strv env = STRV_INIT;
	autofd int reader = -1;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, "cannot make a pipe");
	reader = ends[0];
	add_environment(&env);
	if (process_start(&(struct process_spec){.program = words->items[0],
						 .argv = words->items,
						 .env = env.items,
						 .stdin_fd = reader,
						 .keeps_outputs = true},
			  &pager->process, &ignored) < 0) {
		close(ends[1]);
		return 0;
	}
	pager->fd = ends[1];
	pager->paged = true;
	return 0;
}

int pager_start(const struct config *config, const char *name, bool wanted, struct pager *ret,
		struct error *err)
{
	autostrv struct strv words = STRV_INIT;
	struct pager pager = {.fd = STDOUT_FILENO, .process = PROCESS_INIT};

	if (wanted && isatty(STDOUT_FILENO))
		pager_words(config, name, &words);
	if (words.len && start(&words, &pager, err) < 0)
		return -1;
	take_signals(&pager);
	*ret = pager;
	return 0;
}

int pager_write(struct pager *pager, const void *bytes, size_t len, struct error *err)
{
	if (write_all(pager->fd, bytes, len) == 0)
		return 0;
	if (errno == EPIPE)
		return 1;
	return error_errno(err, pager->paged ? "cannot write to the pager"
					     : "cannot write to standard output");
}

int pager_finish(struct pager *pager, struct error *err)
{
	autostr struct str none = STR_INIT;
	int result = 0, status;

	if (pager->fd < 0)
		return 0;
	if (pager->paged) {
		fd_close(&pager->fd);
		result = process_finish(&pager->process, &none, NULL, &status, err);
	}
	pager->fd = -1;
	give_signals_back(pager);
	pager->paged = false;
	return result < 0 ? error_wrap(err, "the pager") : 0;
}

void pager_release(struct pager *pager)
{
	autoerror struct error ignored = ERROR_INIT;

	pager_finish(pager, &ignored);
}
