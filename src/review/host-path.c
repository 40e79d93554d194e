#include "review/host-path.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"

/* How many bytes at `at` are a character that HFS+ does not see in a name. */
static size_t ignored_by_hfs(const char *at, size_t len)
{
	const unsigned char *c = (const unsigned char *)at;

	if (len < 3)
		return 0;
	if (c[0] == 0xe2 && c[1] == 0x80 &&
	    ((c[2] >= 0x8c && c[2] <= 0x8f) || (c[2] >= 0xaa && c[2] <= 0xae)))
		return 3; /* U+200C to U+200F, U+202A to U+202E */
	if (c[0] == 0xe2 && c[1] == 0x81 && c[2] >= 0xaa && c[2] <= 0xaf)
		return 3; /* U+206A to U+206F */
	if (c[0] == 0xef && c[1] == 0xbb && c[2] == 0xbf)
		return 3; /* U+FEFF */
	return 0;
}

/* What stands before a stream name, less trailing dots and spaces. */
static size_t ntfs_length(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (name[i] == ':')
			len = i;
	while (len && (name[len - 1] == '.' || name[len - 1] == ' '))
		len--;
	return len;
}

static bool is_short_name(const char *name, size_t len)
{
	if (len < 5 || strncasecmp(name, "git~", 4) != 0)
		return false;
	for (size_t i = 4; i < len; i++)
		if (name[i] < '0' || name[i] > '9')
			return false;
	return true;
}

static bool is_dot_git(const char *name, size_t len)
{
	char seen[8];
	size_t count = 0;

	for (size_t i = 0; i < len && count < sizeof seen;) {
		size_t skip = ignored_by_hfs(name + i, len - i);

		if (!skip)
			seen[count++] = name[i];
		i += skip ? skip : 1;
	}
	if (count == 4 && strncasecmp(seen, ".git", 4) == 0)
		return true;
	len = ntfs_length(name, len);
	return (len == 4 && strncasecmp(name, ".git", 4) == 0) || is_short_name(name, len);
}

/* NTFS has two separators. */
static bool holds_dot_git(const char *name, size_t len)
{
	for (size_t at = 0; at <= len;) {
		const char *end = memchr(name + at, '\\', len - at);
		size_t part = end ? (size_t)(end - name) - at : len - at;

		if (is_dot_git(name + at, part))
			return true;
		at += part + 1;
	}
	return false;
}

const char *host_path_refusal(const char *top, const char *path)
{
	if (strlen(top) + 1 + strlen(path) >= PATH_MAX)
		return "the path is too long";
	for (const char *at = path;; at++) {
		size_t len = strcspn(at, "/");

		if (len == 0 || (len == 1 && at[0] == '.') ||
		    (len == 2 && at[0] == '.' && at[1] == '.'))
			return "the path leads out of the work tree";
		if (len > NAME_MAX)
			return "the path is too long";
		if (holds_dot_git(at, len))
			return "the path is that of a git directory";
		at += len;
		if (!*at)
			return NULL;
	}
}
