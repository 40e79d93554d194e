/*
 * str: a growing byte string, and a growing array of strings.
 *
 * `struct str` is always NUL-terminated once something was added, and may hold NUL bytes
 * before that. Start with STR_INIT, end with str_release() (or declare it `autostr`).
 * str_take() hands the bytes over as a string of malloc(3).
 *
 * `struct strv` is an argv: items are owned copies, and `items` is NULL-terminated whenever
 * it is not NULL.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct str {
	char *s;
	size_t len;
	size_t alloc;
};

#define STR_INIT           \
	{                  \
		NULL, 0, 0 \
	}

void str_add(struct str *str, const char *text);
void str_add_bytes(struct str *str, const void *bytes, size_t len);
void str_add_char(struct str *str, char c);
void str_addf(struct str *str, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The bytes so far as a string of the caller; never NULL. The str is empty afterwards. */
char *str_take(struct str *str);
void str_clear(struct str *str);
/* Removes the first bytes. */
void str_drop(struct str *str, size_t len);
void str_release(struct str *str);
#define autostr __attribute__((cleanup(str_release)))

/*
 * Adds `text` such that it can be shown on a terminal: control characters, DEL, invalid UTF-8
 * and the C1 range appear as \xNN (newline as \n, tab as \t), so that a hostile file name
 * cannot move the cursor or forge a line.
 */
void str_add_escaped(struct str *str, const char *text, size_t len);

/* Adds `text` as one word of a shell's command line: as it is, or in single quotes. */
void str_add_word(struct str *str, const char *text);

/*
 * Adds `text` such that JSON can hold it, whatever its bytes: all but letters, digits, and "/._-" appear
 * as %xx. str_decoded() is the way back: a string of the caller, or NULL for what was not written so.
 */
void str_add_encoded(struct str *str, const char *text);
char *str_decoded(const char *text);

/* The byte that two lower-case hexadecimal digits say, or -1. */
int str_hex_byte(const char *text);

struct strv {
	char **items;
	size_t len;
};

#define STRV_INIT       \
	{               \
		NULL, 0 \
	}

void strv_add(struct strv *v, const char *text);
/* Copies of all that another one holds. */
void strv_add_all(struct strv *v, const struct strv *more);
/* Adds a string that the array owns from now on. */
void strv_give(struct strv *v, char *text);
void strv_addf(struct strv *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool strv_holds(const struct strv *v, const char *text);
void strv_release(struct strv *v);
#define autostrv __attribute__((cleanup(strv_release)))

bool str_starts(const char *text, const char *prefix);
bool str_ends(const char *text, const char *suffix);

/* What stands behind the last slash. */
const char *path_last(const char *path);
/* Whether the absolute path `inner` is `outer` or below it, by their names alone. */
bool path_within(const char *inner, const char *outer);
