/* What git config prints, and what of it a sandbox gets: as a file that git reads the same way. */
#include <string.h>

#include "base/memory.h"
#include "git/config.h"
#include "snapshot/layers.h"
#include "support.h"

/* Reads back what config_write_item() has written, by the rules of git-config(1). */
static void read_value(const char **at, struct str *ret)
{
	MUST(*(*at)++ == '"');
	while (**at != '"') {
		char c = *(*at)++;

		MUST(c && c != '\n');
		if (c == '\\') {
			c = *(*at)++;
			MUST(c == 'n' || c == 't' || c == 'b' || c == '"' || c == '\\');
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'b' ? '\b' : c;
		}
		str_add_char(ret, c);
	}
	(*at)++;
}

static void check_item(const struct config_item *item)
{
	struct str file = STR_INIT, key = STR_INIT, value = STR_INIT;

	config_write_item(&file, item->key, item->value);
	if (!strchr(item->key, '.')) {
		MUST(file.len == 0);
		return;
	}
	/* Keys that git would not print; it refuses a line feed in a subsection. */
	const char *last = strrchr(item->key, '.');

	if (strpbrk(item->key, "\n") || strpbrk(last, " =\"]\\[") ||
	    memchr(item->key, ']', strcspn(item->key, ".")) ||
	    memchr(item->key, ' ', strcspn(item->key, "."))) {
		str_release(&file);
		return;
	}
	const char *at = file.s;

	MUST(*at++ == '[');
	while (*at && *at != ']' && *at != ' ')
		str_add_char(&key, *at++);
	str_add_char(&key, '.');
	if (*at == ' ') {
		MUST(*++at == '"');
		for (at++; *at && *at != '"'; at++) {
			if (*at == '\\')
				at++;
			str_add_char(&key, *at);
		}
		MUST(*at++ == '"');
		str_add_char(&key, '.');
	}
	MUST(*at++ == ']' && *at++ == '\n' && *at++ == '\t');
	while (*at && *at != ' ' && *at != '\n')
		str_add_char(&key, *at++);
	MUST(strcmp(key.s, item->key) == 0);
	if (item->value) {
		str_add(&value, "");
		MUST(at[0] == ' ' && at[1] == '=' && at[2] == ' ');
		at += 3;
		read_value(&at, &value);
		MUST(strcmp(value.s, item->value) == 0);
	}
	MUST(at[0] == '\n' && !at[1]);
	str_release(&file);
	str_release(&key);
	str_release(&value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config config = CONFIG_INIT;
	struct str text = STR_INIT;
	struct error err = ERROR_INIT;
	size_t at = 0;
	bool value;

	config_parse((const char *)data, size, &config);
	for (size_t i = 0; i < config.count; i++) {
		MUST(config.items[i].key);
		check_item(&config.items[i]);
		MUST(config_value(&config, config.items[i].key));
		config_bool(&config, config.items[i].key, false, &value, &err);
		error_clear(&err);
		if (config.items[i].value) {
			char *clean = url_without_credentials(config.items[i].value);
			char *cleaner = url_without_credentials(clean);

			MUST(strlen(clean) <= strlen(config.items[i].value));
			free(clean);
			free(cleaner);
		}
	}
	while (config_next(&config, "jib.bind", &at))
		;
	settings_sanitise(&config, &text);
	MUST(str_starts(text.s, "[core]\n"));
	str_release(&text);
	config_release(&config);
	return 0;
}
