#include "base/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static void reserve(struct str *str, size_t more)
{
	if (more > SIZE_MAX / 2 - str->len - 1)
		abort();
	size_t need = str->len + more + 1;

	if (need <= str->alloc)
		return;
	size_t alloc = str->alloc ? str->alloc * 2 : 64;

	if (alloc < need)
		alloc = need;
	str->s = xrealloc(str->s, alloc);
	str->alloc = alloc;
}

void str_add_bytes(struct str *str, const void *bytes, size_t len)
{
	reserve(str, len);
	if (len)
		memcpy(str->s + str->len, bytes, len);
	str->len += len;
	str->s[str->len] = '\0';
}

void str_add(struct str *str, const char *text)
{
	str_add_bytes(str, text, strlen(text));
}

void str_add_char(struct str *str, char c)
{
	str_add_bytes(str, &c, 1);
}

void str_addf(struct str *str, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, fmt);
	int len = vasprintf(&text, fmt, args);

	va_end(args);
	if (len < 0)
		abort();
	str_add_bytes(str, text, (size_t)len);
	free(text);
}

char *str_take(struct str *str)
{
	reserve(str, 0);
	str->s[str->len] = '\0';
	char *taken = str->s;

	*str = (struct str)STR_INIT;
	return taken;
}

void str_clear(struct str *str)
{
	str->len = 0;
	if (str->s)
		str->s[0] = '\0';
}

void str_drop(struct str *str, size_t len)
{
	if (!len)
		return;
	memmove(str->s, str->s + len, str->len - len + 1);
	str->len -= len;
}

void str_release(struct str *str)
{
	free(str->s);
	*str = (struct str)STR_INIT;
}

/*
 * The length of the UTF-8 sequence at `s` (RFC 3629: no overlong forms, no surrogates, nothing
 * above U+10FFFF), or 0 when there is none. C1 controls (U+0080 to U+009F) count as none: some
 * terminals obey them.
 */
static size_t utf8_length(const unsigned char *s, size_t len)
{
	size_t need;
	uint32_t code;

	if (s[0] >= 0xc2 && s[0] <= 0xdf) {
		need = 2;
		code = s[0] & 0x1fU;
	} else if (s[0] >= 0xe0 && s[0] <= 0xef) {
		need = 3;
		code = s[0] & 0x0fU;
	} else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		need = 4;
		code = s[0] & 0x07U;
	} else {
		return 0;
	}
	if (len < need)
		return 0;
	for (size_t i = 1; i < need; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3fU);
	}
	if (code < 0xa0 || (need == 3 && code < 0x800) || (need == 4 && code < 0x10000) ||
	    (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff)
		return 0;
	/* Bidirectional overrides and isolates reorder what a person reads. */
	if ((code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069))
		return 0;
	return need;
}

void str_add_escaped(struct str *str, const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;

	for (size_t i = 0; i < len;) {
		if (s[i] >= 0x20 && s[i] < 0x7f) {
			str_add_char(str, text[i++]);
			continue;
		}
		size_t sequence = s[i] >= 0x80 ? utf8_length(s + i, len - i) : 0;

		if (sequence) {
			str_add_bytes(str, text + i, sequence);
			i += sequence;
		} else {
			if (s[i] == '\n')
				str_add(str, "\\n");
			else if (s[i] == '\t')
				str_add(str, "\\t");
			else
				str_addf(str, "\\x%02x", s[i]);
			i++;
		}
	}
}

void strv_add_all(struct strv *v, const struct strv *more)
{
	for (size_t i = 0; i < more->len; i++)
		strv_add(v, more->items[i]);
}

void strv_give(struct strv *v, char *text)
{
	v->items = xreallocarray(v->items, v->len + 2, sizeof *v->items);
	v->items[v->len++] = text;
	v->items[v->len] = NULL;
}

void str_add_word(struct str *str, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789/._-+:@%,=";

	if (*text && strspn(text, plain) == strlen(text)) {
		str_add(str, text);
		return;
	}
	str_add_char(str, '\'');
	for (; *text; text++)
		if (*text == '\'')
			str_add(str, "'\\''");
		else
			str_add_char(str, *text);
	str_add_char(str, '\'');
}

void str_add_encoded(struct str *str, const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
		    (*c >= '0' && *c <= '9') || strchr("/._-", *c))
			str_add_char(str, (char)*c);
		else
			str_addf(str, "%%%02x", *c);
	}
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int str_hex_byte(const char *text)
{
	int high = hex_value(text[0]);
	int low = high < 0 ? -1 : hex_value(text[1]);

	return low < 0 ? -1 : high * 16 + low;
}

char *str_decoded(const char *text)
{
	autostr struct str decoded = STR_INIT;

	for (const char *at = text; *at; at++) {
		int byte = *at == '%' ? str_hex_byte(at + 1) : (unsigned char)*at;

		if (byte <= 0)
			return NULL;
		str_add_char(&decoded, (char)byte);
		at += *at == '%' ? 2 : 0;
	}
	return str_take(&decoded);
}

void strv_add(struct strv *v, const char *text)
{
	strv_give(v, xstrdup(text));
}

void strv_addf(struct strv *v, const char *fmt, ...)
{
	va_list args;
	char *text = NULL;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	strv_give(v, text);
}

bool strv_holds(const struct strv *v, const char *text)
{
	for (size_t i = 0; i < v->len; i++)
		if (strcmp(v->items[i], text) == 0)
			return true;
	return false;
}

void strv_release(struct strv *v)
{
	for (size_t i = 0; i < v->len; i++)
		free(v->items[i]);
	free(v->items);
	*v = (struct strv)STRV_INIT;
}

bool str_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *text, const char *suffix)
{
	size_t len = strlen(text), tail = strlen(suffix);

	return len >= tail && strcmp(text + len - tail, suffix) == 0;
}

const char *path_last(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool path_within(const char *inner, const char *outer)
{
	size_t len = strcmp(outer, "/") ? strlen(outer) : 0;

	return strncmp(inner, outer, len) == 0 && (inner[len] == '/' || !inner[len]);
}
