#include "cli/colour.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/str.h"

static bool equals(const char *word, size_t len, const char *text)
{
	return strlen(text) == len && strncasecmp(word, text, len) == 0;
}

/* The colour of the number as parameters of SGR; `base` is 30, or 40 for the background. */
static void add_number(struct str *ret, long number, int base)
{
	if (number < 8)
		str_addf(ret, "%ld", base + number);
	else if (number < 16)
		str_addf(ret, "%ld", base + 60 + number - 8);
	else
		str_addf(ret, "%d;5;%ld", base + 8, number);
}

static long hex_pair(const char *text)
{
	char pair[3] = {text[0], text[1], '\0'};

	return strtol(pair, NULL, 16);
}

static int add_numeric(struct str *ret, const char *word, size_t len, int base)
{
	size_t digits = len;

	if (len == 7 && word[0] == '#') {
		for (size_t i = 1; i < len; i++)
			if (!isxdigit((unsigned char)word[i]))
				return -1;
		str_addf(ret, "%d;2;%ld;%ld;%ld", base + 8, hex_pair(word + 1), hex_pair(word + 3),
			 hex_pair(word + 5));
		return 0;
	}
	for (size_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)word[i]))
			return -1;
	if (digits > 3 || strtol(word, NULL, 10) > 255)
		return -1;
	add_number(ret, strtol(word, NULL, 10), base);
	return 0;
}

/* Nothing is added for "normal". */
static int add_colour(struct str *ret, const char *word, size_t len, int base)
{
	static const char *const names[] = {"black", "red",	"green", "yellow",
					    "blue",  "magenta", "cyan",	 "white"};
	bool bright = len > 6 && strncasecmp(word, "bright", 6) == 0;
	size_t skipped = bright ? 6 : 0;

	if (equals(word, len, "normal") || equals(word, len, "-1"))
		return 0;
	if (equals(word, len, "default")) {
		str_addf(ret, "%d", base + 9);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (equals(word + skipped, len - skipped, names[i])) {
			add_number(ret, (long)i + (bright ? 8 : 0), base);
			return 0;
		}
	return add_numeric(ret, word, len, base);
}

/* The parameter of an attribute, or -1. */
static int attribute(const char *word, size_t len)
{
	static const struct {
		const char *name;
		int on, off;
	} attributes[] = {
		{"bold", 1, 22},  {"dim", 2, 22},     {"italic", 3, 23}, {"ul", 4, 24},
		{"blink", 5, 25}, {"reverse", 7, 27}, {"strike", 9, 29},
	};
	bool no = len > 2 && strncasecmp(word, "no", 2) == 0;
	size_t skipped = no ? 2 + (word[2] == '-') : 0;

	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++)
		if (equals(word + skipped, len - skipped, attributes[i].name))
			return no ? attributes[i].off : attributes[i].on;
	return -1;
}

/* git puts the attributes first, by their numbers. */
static void add_attributes(struct str *ret, const bool attributes[static 30])
{
	for (int i = 0; i < 30; i++)
		if (attributes[i])
			str_addf(ret, "%s%d", ret->len ? ";" : "", i);
}

int colour_parse(const char *text, char ret[static COLOUR_SIZE])
{
	autostr struct str parameters = STR_INIT, colours = STR_INIT;
	bool attributes[30] = {false};
	int seen = 0;

	ret[0] = '\0';
	if (strcasecmp(text, "reset") == 0) {
		snprintf(ret, COLOUR_SIZE, "%s", COLOUR_RESET);
		return 0;
	}
	for (text += strspn(text, " \t"); *text; text += strspn(text, " \t")) {
		size_t len = strcspn(text, " \t");
		int number = attribute(text, len);
		autostr struct str one = STR_INIT;

		if (number >= 0)
			attributes[number] = true;
		else if (seen == 2 || add_colour(&one, text, len, seen ? 40 : 30) < 0)
			return -1;
		else
			seen++;
		if (one.len)
			str_addf(&colours, "%s%s", colours.len ? ";" : "", one.s);
		text += len;
	}
	add_attributes(&parameters, attributes);
	if (colours.len)
		str_addf(&parameters, "%s%s", parameters.len ? ";" : "", colours.s);
	if (parameters.len + sizeof "\033[m" > COLOUR_SIZE)
		return -1;
	if (parameters.len)
		snprintf(ret, COLOUR_SIZE, "\033[%sm", parameters.s);
	return 0;
}

void palette_read(const struct config *config, struct palette *ret)
{
	static const struct {
		const char *key, *standard;
	} slots[COLOUR_SLOTS] = {
		[COLOUR_CONTEXT] = {"color.diff.context", "normal"},
		[COLOUR_META] = {"color.diff.meta", "bold"},
		[COLOUR_FRAG] = {"color.diff.frag", "cyan"},
		[COLOUR_FUNC] = {"color.diff.func", "normal"},
		[COLOUR_OLD] = {"color.diff.old", "red"},
		[COLOUR_NEW] = {"color.diff.new", "green"},
		[COLOUR_COMMIT] = {"color.diff.commit", "yellow"},
	};

	for (size_t i = 0; i < COLOUR_SLOTS; i++) {
		const char *value = config_value(config, slots[i].key);

		/* Its name of old */
		if (!value && i == COLOUR_CONTEXT)
			value = config_value(config, "color.diff.plain");
		if (!value || colour_parse(value, ret->slots[i]) < 0)
			colour_parse(slots[i].standard, ret->slots[i]);
	}
}

static bool terminal_has_colours(void)
{
	const char *term = getenv("TERM");
	const char *denied = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0 && !(denied && denied[0]);
}

int output_coloured(const struct config *config, bool paged, bool *ret, struct error *err)
{
	const char *key = config_value(config, "color.diff") ? "color.diff" : "color.ui";
	const char *value = config_value(config, key);
	bool wanted = true;

	if (value && strcasecmp(value, "always") == 0) {
		*ret = true;
		return 0;
	}
	if (value && strcasecmp(value, "never") == 0)
		wanted = false;
	else if (!(value && strcasecmp(value, "auto") == 0) &&
		 config_bool(config, key, true, &wanted, err) < 0)
		return -1;
	if (wanted && paged && config_bool(config, "color.pager", true, &wanted, err) < 0)
		return -1;
	*ret = wanted && terminal_has_colours();
	return 0;
}
