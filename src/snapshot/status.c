#include "snapshot/status.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static int misunderstood(const char *record, struct error *err)
{
	autostr struct str shown = STR_INIT;

	str_add_escaped(&shown, record, strnlen(record, 80));
	return error_set(err, ERR_GIT, "git status says what cannot be understood: %s", shown.s);
}

/* The next field of a record, which ends with a space; NULL when there is none. */
static char *field(char **at)
{
	char *start = *at;
	char *end = strchr(start, ' ');

	if (!end)
		return NULL;
	*end = '\0';
	*at = end + 1;
	return start;
}

static bool read_mode(const char *text, uint32_t *ret)
{
	char *end;
	unsigned long mode = text ? strtoul(text, &end, 8) : 0;

	if (!text || strlen(text) != 6 || *end || strspn(text, "01234567") != 6)
		return false;
	*ret = (uint32_t)mode;
	return true;
}

static bool skip_fields(char **at, int count)
{
	while (count--)
		if (!field(at))
			return false;
	return true;
}

/* git's own checks make such a path impossible; what is opened by it must not depend on them. */
static bool is_path(const char *path)
{
	return *path && *path != '/';
}

static bool is_change(char c)
{
	return c && strchr(".MTAD", c);
}

static struct status_entry *add_entry(struct status *status)
{
	/* Doubled at every power of two. */
	if ((status->count & (status->count - 1)) == 0)
		status->items = xreallocarray(status->items, status->count ? status->count * 2 : 1,
					      sizeof *status->items);
	struct status_entry *entry = &status->items[status->count++];

	*entry = (struct status_entry){0};
	return entry;
}

/* <XY> <sub> <mH> <mI> <mW> <hH> <hI> <path> */
static bool parse_changed(char *at, struct status_entry *entry)
{
	const char *changes = field(&at);

	if (!changes || strlen(changes) != 2 || !is_change(changes[0]) || !is_change(changes[1]) ||
	    !skip_fields(&at, 1) || !read_mode(field(&at), &entry->in_commit) ||
	    !read_mode(field(&at), &entry->in_index) || !read_mode(field(&at), &entry->in_tree) ||
	    !skip_fields(&at, 2) || !is_path(at))
		return false;
	entry->staged = changes[0];
	entry->unstaged = changes[1];
	entry->path = at;
	return true;
}

/* <XY> <sub> <m1> <m2> <m3> <mW> <h1> <h2> <h3> <path> */
static bool parse_unmerged(char *at, struct status_entry *entry)
{
	if (!skip_fields(&at, 5) || !read_mode(field(&at), &entry->in_tree) ||
	    !skip_fields(&at, 3) || !is_path(at))
		return false;
	entry->unmerged = true;
	entry->path = at;
	return true;
}

static void parse_header(const char *header, struct status *status)
{
	static const char oid[] = "branch.oid ", head[] = "branch.head ";

	if (str_starts(header, oid))
		status->commit = strcmp(header + strlen(oid), "(initial)") == 0
					 ? NULL
					 : header + strlen(oid);
	else if (str_starts(header, head))
		status->branch = strcmp(header + strlen(head), "(detached)") == 0
					 ? NULL
					 : header + strlen(head);
}

static int parse_record(char *record, struct status *status, struct error *err)
{
	bool good = record[0] && record[1] == ' ';
	char *rest = good ? record + 2 : record;

	if (!good)
		return misunderstood(record, err);
	switch (record[0]) {
	case '#':
		parse_header(rest, status);
		break;
	case '1':
		good = parse_changed(rest, add_entry(status));
		break;
	case 'u':
		good = parse_unmerged(rest, add_entry(status));
		break;
	case '?':
	case '!':
		good = is_path(rest);
		if (good)
			strv_add(record[0] == '?' ? &status->untracked : &status->ignored, rest);
		break;
	default:
		good = false;
	}
	return good ? 0 : misunderstood(record, err);
}

int status_parse(char *bytes, size_t len, struct status *ret, struct error *err)
{
	autostatus struct status status = STATUS_INIT;

	if (len && bytes[len - 1] != '\0')
		return error_set(err, ERR_GIT, "git status was cut off");
	for (size_t at = 0; at < len;) {
		/* Fields are cut off the record as it is parsed. */
		size_t next = at + strlen(bytes + at) + 1;

		if (parse_record(bytes + at, &status, err) < 0)
			return -1;
		at = next;
	}
	*ret = status;
	status = (struct status)STATUS_INIT;
	return 0;
}

void status_release(struct status *status)
{
	free(status->items);
	strv_release(&status->untracked);
	strv_release(&status->ignored);
	*status = (struct status)STATUS_INIT;
}
