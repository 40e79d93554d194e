#include "store/name.h"

#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "base/memory.h"

static bool letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool valid(char c)
{
	return letter_or_digit(c) || c == '.' || c == '_' || c == '-';
}

int name_check(const char *name, struct error *err)
{
	autoerror struct error unasked = ERROR_INIT;
	size_t len = strlen(name);

	if (!err)
		err = &unasked;
	if (len == 0)
		error_set(err, ERR_NAME, "a sandbox needs a name, this one is empty");
	else if (len > NAME_MAX_LENGTH)
		error_set(err, ERR_NAME, "a sandbox name has at most %d characters, this one %zu",
			  NAME_MAX_LENGTH, len);
	else if (!letter_or_digit(name[0]))
		error_set(err, ERR_NAME,
			  "\"%s\" is no sandbox name: it does not begin with a "
			  "letter or a digit",
			  name);
	for (const char *c = name; *c; c++)
		if (!valid(*c))
			error_set(err, ERR_NAME, "\"%s\" is no sandbox name: %s", name,
				  *c == '/' ? "it contains a slash"
					    : "it contains a character that is not allowed");
	if (!error_is_set(err))
		return 0;
	return error_hint(err, "use letters, digits, `.`, `_` and `-`");
}

char *name_invent(const char *repository)
{
	enum { STEM = 40 };
	char stem[STEM + 1];
	size_t len = 0;
	uint32_t random = 0;

	for (const char *c = repository; *c && len < STEM; c++)
		if (len > 0 || letter_or_digit(*c))
			stem[len++] = valid(*c) ? *c : '-';
	stem[len] = '\0';
	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		abort(); /* cannot happen for so few bytes (getrandom(2)) */
	char letters[5];

	for (size_t i = 0; i < 4; i++, random /= 26)
		letters[i] = (char)('a' + random % 26);
	letters[4] = '\0';
	return xasprintf("%s-%s", len ? stem : "repo", letters);
}
