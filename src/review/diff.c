#include "review/diff.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "review/raw.h"

enum { LIST_MAX = 1 << 30 };

void diff_release(struct diff *diff)
{
	for (size_t i = 0; i < diff->count; i++) {
		free(diff->items[i].path);
		free(diff->items[i].old_path);
	}
	free(diff->items);
	*diff = (struct diff){0};
}

static void add_arguments(const struct diff_request *request, const char *const *options,
			  struct strv *args)
{
	static const char *const fixed[] = {"diff-tree", "-r", "--no-ext-diff", "--no-textconv",
					    "--no-color"};

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		strv_add(args, fixed[i]);
	strv_add(args, request->exact ? "--no-renames" : "-M");
	for (; *options; options++)
		strv_add(args, *options);
	strv_add(args, "--end-of-options");
	strv_add(args, request->from);
	strv_add(args, request->to);
	strv_add(args, "--");
	for (char *const *spec = request->pathspecs; spec && *spec; spec++)
		strv_add(args, *spec);
}

int diff_start(const struct diff_request *request, const char *const *options,
	       struct viewer_git *ret, struct error *err)
{
	autostrv struct strv args = STRV_INIT;

	add_arguments(request, options, &args);
	return viewer_git(request->viewer,
			  &(struct viewer_call){.repo = request->repo,
						.place = VIEWER_BARE,
						.args = (const char *const *)args.items},
			  ret, err);
}

struct cursor {
	const char *at;
	const char *end;
};

/* The next string; NULL after the last. */
static const char *next(struct cursor *cursor)
{
	const char *text = cursor->at;
	size_t len = strnlen(text, (size_t)(cursor->end - text));

	if (text + len >= cursor->end)
		return NULL;
	cursor->at = text + len + 1;
	return text;
}

static int broken(struct error *err)
{
	return error_set(err, ERR_GIT, "what git says of the differences cannot be understood");
}

/* ":MODE MODE OID OID S", and one path or two. */
static int parse_raw(struct cursor *cursor, const char *head, struct diff *ret, struct error *err)
{
	struct diff_file file = {0};
	struct raw raw;

	if (raw_parse(head, &raw) < 0)
		return broken(err);
	char status = raw.status;

	file.old_mode = raw.old_mode;
	file.new_mode = raw.new_mode;
	memcpy(file.old_oid, raw.old_oid, sizeof file.old_oid);
	memcpy(file.new_oid, raw.new_oid, sizeof file.new_oid);
	const char *first = next(cursor);
	const char *second = status == 'R' || status == 'C' ? next(cursor) : first;

	if (!first || !second)
		return broken(err);
	file.status = status;
	file.path = xstrdup(second);
	file.old_path = second == first ? NULL : xstrdup(first);
	ret->items = xreallocarray(ret->items, ret->count + 1, sizeof *ret->items);
	ret->items[ret->count++] = file;
	return 0;
}

/* "ADDED TAB REMOVED TAB PATH", or of a rename nothing and then both paths; in the same order. */
static int parse_number(struct cursor *cursor, const char *head, struct diff_file *file,
			struct error *err)
{
	const char *tab = strchr(head, '\t');
	const char *path = tab ? strchr(tab + 1, '\t') : NULL;

	if (!path)
		return broken(err);
	file->binary = head[0] == '-';
	if (!file->binary) {
		file->added = strtoul(head, NULL, 10);
		file->removed = strtoul(tab + 1, NULL, 10);
	}
	path++;
	if (!*path && (!next(cursor) || !(path = next(cursor))))
		return broken(err);
	return strcmp(path, file->path) == 0 ? 0 : broken(err);
}

static int parse(const struct str *output, struct diff *ret, struct error *err)
{
	struct cursor cursor = {output->s, output->s + output->len};
	const char *head = next(&cursor);

	for (; head && *head == ':'; head = next(&cursor))
		if (parse_raw(&cursor, head, ret, err) < 0)
			return -1;
	for (size_t i = 0; i < ret->count; i++, head = next(&cursor))
		if (!head || parse_number(&cursor, head, &ret->items[i], err) < 0)
			return head ? -1 : broken(err);
	return 0;
}

static const char *sized_oid(const struct diff_file *file)
{
	if (!file->binary)
		return NULL;
	return file->status == 'D' ? file->old_oid : file->new_oid;
}

/* Sizes of what is not text. */
static int read_sizes(const struct diff_request *request, struct diff *diff, struct error *err)
{
	const char *const args[] = {"cat-file", "--batch-check=%(objectsize)", NULL};
	struct viewer_call call = {.repo = request->repo, .place = VIEWER_BARE, .args = args};
	autostr struct str input = STR_INIT, output = STR_INIT;

	for (size_t i = 0; i < diff->count; i++)
		if (sized_oid(&diff->items[i]))
			str_addf(&input, "%s\n", sized_oid(&diff->items[i]));
	if (!input.len)
		return 0;
	if (viewer_run(request->viewer, &call, &input, LIST_MAX, &output, NULL, err) < 0)
		return -1;
	const char *line = output.s;

	for (size_t i = 0; i < diff->count; i++) {
		if (!sized_oid(&diff->items[i]))
			continue;
		diff->items[i].bytes = strtoull(line, NULL, 10);
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return 0;
}

int diff_read(const struct diff_request *request, struct diff *ret, struct error *err)
{
	static const char *const options[] = {"-z", "--raw", "--numstat", "--no-abbrev", NULL};
	autostrv struct strv args = STRV_INIT;
	autostr struct str output = STR_INIT;
	autodiff struct diff diff = {0};

	add_arguments(request, options, &args);
	struct viewer_call call = {.repo = request->repo,
				   .place = VIEWER_BARE,
				   .args = (const char *const *)args.items};

	if (viewer_run(request->viewer, &call, NULL, LIST_MAX, &output, NULL, err) < 0)
		return error_wrap(err, "cannot compare");
	if (parse(&output, &diff, err) < 0 || read_sizes(request, &diff, err) < 0)
		return -1;
	*ret = diff;
	diff = (struct diff){0};
	return 0;
}

const char *mode_name(uint32_t mode)
{
	switch (mode) {
	case 0100644:
		return "file";
	case 0100755:
		return "executable";
	case 0120000:
		return "symlink";
	case MODE_SUBMODULE:
		return "submodule";
	default:
		return NULL;
	}
}
