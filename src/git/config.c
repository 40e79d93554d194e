#include "git/config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>

#include "base/memory.h"
#include "git/git.h"

char *config_own_file(void)
{
	const char *xdg = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");

	if (xdg && xdg[0] == '/')
		return xasprintf("%s/jib/config", xdg);
	return home && home[0] == '/' ? xasprintf("%s/.config/jib/config", home) : NULL;
}

int config_start(const char *directory, struct process *ret, struct error *err)
{
	autofree char *file = config_own_file();
	autofree char *defaults = file ? xasprintf("include.path=%s", file) : NULL;
	const char *const args[] = {
		"-c",
		defaults ? defaults : "jib.none=",
		"config",
		"-z",
		"--show-scope",
		"--get-regexp",
		"^(advice|alias|apply|author|blame|branch|checkout|clean|"
		"color|column|commit|committer|core|diff|feature|fetch|filter|"
		"format|gc|grep|i18n|index|init|interactive|jib|log|merge|notes|"
		"pack|pager|pull|push|rebase|rerere|sequence|stash|status|submodule|"
		"switch|tag|transfer|user|versionsort|worktree)\\.",
		NULL};

	return git_start(&(struct git_place){.directory = directory}, args, ret, err);
}

int config_finish(struct process *process, struct config *ret, struct error *err)
{
	autostr struct str output = STR_INIT;
	autostr struct str errors = STR_INIT;
	int status;

	if (git_finish(process, &output, &status, &errors, err) < 0)
		return -1;
	/* 1: nothing matches. */
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) {
		size_t len = errors.len ? strcspn(errors.s, "\n") : 0;

		return error_set(err, ERR_CONFIG, "git config failed: %.*s", (int)len,
				 errors.len ? errors.s : "");
	}
	config_parse(output.s, output.len, ret);
	return 0;
}

static void append(struct config *config, struct config_item item)
{
	config->items = xreallocarray(config->items, config->count + 1, sizeof *config->items);
	config->items[config->count++] = item;
}

static struct config_item parse_item(const char *text, size_t size, const char *scope)
{
	const char *newline = memchr(text, '\n', size);
	size_t key = newline ? (size_t)(newline - text) : size;

	return (struct config_item){
		.key = xstrndup(text, key),
		.value = newline ? xstrndup(newline + 1, size - key - 1) : NULL,
		.local = strcmp(scope, "local") == 0 || strcmp(scope, "worktree") == 0,
	};
}

/* With -c jib steers its own git; only ~/.config/jib/config, which is included so, speaks for the user. */
static bool is_own_default(const char *key)
{
	static const char *const sections[] = {"jib.",	"user.",   "alias.",
					       "init.", "author.", "committer."};

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		if (str_starts(key, sections[i]))
			return true;
	return false;
}

void config_parse(const char *bytes, size_t len, struct config *ret)
{
	struct config config = CONFIG_INIT;

	for (int pass = 0; pass < 2; pass++) {
		for (size_t at = 0; at < len;) {
			const char *scope = bytes + at;

			at += strnlen(scope, len - at) + 1;
			if (at >= len)
				break;
			const char *item = bytes + at;
			size_t size = strnlen(item, len - at);

			bool command = strcmp(scope, "command") == 0;

			if (command == (pass == 0) && (!command || is_own_default(item)))
				append(&config, parse_item(item, size, scope));
			at += size + 1;
		}
	}
	*ret = config;
}

int config_read_place(const struct git_place *place, struct config *ret, struct error *err)
{
	const char *const args[] = {"config", "--list", "-z", "--show-scope", NULL};
	autostr struct str output = STR_INIT;

	if (git_run(place, args, &output, err) < 0)
		return error_wrap(err, "cannot read the configuration of %s", place->directory);
	config_parse(output.s, output.len, ret);
	return 0;
}

int config_read_all(const char *directory, struct config *ret, struct error *err)
{
	return config_read_place(&(struct git_place){.directory = directory}, ret, err);
}

void config_release(struct config *config)
{
	for (size_t i = 0; i < config->count; i++) {
		free(config->items[i].key);
		free(config->items[i].value);
	}
	free(config->items);
	*config = (struct config)CONFIG_INIT;
}

const char *config_value(const struct config *config, const char *key)
{
	for (size_t i = config->count; i-- > 0;)
		if (strcmp(config->items[i].key, key) == 0)
			return config->items[i].value ? config->items[i].value : "";
	return NULL;
}

const char *config_next(const struct config *config, const char *key, size_t *at)
{
	while (*at < config->count) {
		const struct config_item *item = &config->items[(*at)++];

		if (strcmp(item->key, key) == 0)
			return item->value ? item->value : "";
	}
	return NULL;
}

int config_bool(const struct config *config, const char *key, bool fallback, bool *ret,
		struct error *err)
{
	static const char *const yes[] = {"true", "yes", "on", "1"};
	static const char *const no[] = {"false", "no", "off", "0", ""};
	const struct config_item *found = NULL;

	for (size_t i = 0; i < config->count; i++)
		if (strcmp(config->items[i].key, key) == 0)
			found = &config->items[i];
	if (!found || !found->value) {
		*ret = found ? true : fallback;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		if (strcasecmp(found->value, yes[i]) == 0) {
			*ret = true;
			return 0;
		}
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (strcasecmp(found->value, no[i]) == 0) {
			*ret = false;
			return 0;
		}
	return error_set(err, ERR_CONFIG, "%s is \"%s\", which is neither true nor false", key,
			 found->value);
}

static void add_quoted(struct str *file, const char *text)
{
	str_add_char(file, '"');
	for (; *text; text++) {
		if (*text == '\n')
			str_add(file, "\\n");
		else if (*text == '\t')
			str_add(file, "\\t");
		else if (*text == '\b')
			str_add(file, "\\b");
		else if (*text == '"' || *text == '\\')
			str_addf(file, "\\%c", *text);
		else
			str_add_char(file, *text);
	}
	str_add_char(file, '"');
}

void config_write_item(struct str *file, const char *key, const char *value)
{
	const char *first = strchr(key, '.');
	const char *last = strrchr(key, '.');

	if (!first)
		return;
	str_addf(file, "[%.*s", (int)(first - key), key);
	if (last != first) {
		/* In a subsection only `"` and `\` are escaped (git-config(1), SYNTAX). */
		str_add(file, " \"");
		for (const char *c = first + 1; c < last; c++) {
			if (*c == '"' || *c == '\\')
				str_add_char(file, '\\');
			str_add_char(file, *c);
		}
		str_add_char(file, '"');
	}
	str_addf(file, "]\n\t%s", last + 1);
	if (value) {
		str_add(file, " = ");
		add_quoted(file, value);
	}
	str_add_char(file, '\n');
}
