#include "snapshot/tree-diff.h"

#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "git/git.h"

void tree_diff_release(struct tree_diff *diff)
{
	index_edits_release(&diff->files);
	index_trees_release(&diff->trees);
	strv_release(&diff->gone);
	*diff = (struct tree_diff){0};
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool oid_parse(const char *text, size_t digits, unsigned char *ret)
{
	for (size_t i = 0; i < digits; i += 2) {
		int high = digit(text[i]), low = high < 0 ? -1 : digit(text[i + 1]);

		if (low < 0)
			return false;
		ret[i / 2] = (unsigned char)(high << 4 | low);
	}
	return true;
}

/* ":OLDMODE NEWMODE OLDOID NEWOID STATUS" */
static bool parse_record(const char *text, struct index_entry *entry, uint32_t *old_mode,
			 char *status)
{
	char *end;

	if (*text != ':')
		return false;
	*old_mode = (uint32_t)strtoul(text + 1, &end, 8);
	if (*end != ' ')
		return false;
	entry->mode = (uint32_t)strtoul(end + 1, &end, 8);
	if (*end != ' ')
		return false;
	size_t digits = strcspn(end + 1, " ");
	const char *oid = end + 1 + digits;

	if (*oid++ != ' ' || (digits != 40 && digits != 64) || strcspn(oid, " ") != digits ||
	    !oid_parse(oid, digits, entry->oid) || oid[digits] != ' ')
		return false;
	*status = oid[digits + 1];
	return true;
}

static void add(struct tree_diff *diff, const struct index_entry *entry, uint32_t old_mode,
		char status)
{
	bool tree = S_ISDIR(entry->mode) || (status == 'D' && S_ISDIR(old_mode));

	if (tree && status == 'D')
		strv_add(&diff->gone, entry->path);
	else if (tree)
		index_trees_set(&diff->trees, entry->path, entry->oid);
	else
		index_edits_add(&diff->files, entry, status == 'D', false);
	if (strcmp(path_last(entry->path), ".gitattributes") == 0)
		diff->attributes = true;
}

/* A name that git does not check out: who wrote the commit may have meant it to lead elsewhere. */
static bool is_hostile(const char *path)
{
	for (;;) {
		size_t len = strcspn(path, "/");

		if (!len || (len == 1 && path[0] == '.') ||
		    (len == 2 && strncmp(path, "..", 2) == 0) ||
		    (len == 4 && strncasecmp(path, ".git", 4) == 0))
			return true;
		if (!path[len])
			return false;
		path += len + 1;
	}
}

int tree_diff(const struct repository *repository, const char *from, const char *to,
	      struct tree_diff *ret, struct error *err)
{
	const char *const args[] = {"diff-tree",
				    "-r",
				    "-t",
				    "-z",
				    "--raw",
				    "--no-renames",
				    "--full-index",
				    "--no-ext-diff",
				    "--ignore-submodules=none",
				    "--end-of-options",
				    from,
				    to,
				    "--",
				    NULL};
	autostr struct str output = STR_INIT;
	autodiff struct tree_diff diff = {0};

	if (git_run(&(struct git_place){.directory = repository->top}, args, &output, err) < 0)
		return error_wrap(err, "cannot compare two commits of %s", repository->top);
	for (size_t at = 0; at < output.len;) {
		const char *record = output.s + at;
		struct index_entry entry = {0};
		uint32_t old_mode;
		char status;

		at += strlen(record) + 1;
		if (at >= output.len || !parse_record(record, &entry, &old_mode, &status))
			return error_set(err, ERR_GIT, "git diff-tree says \"%s\"", record);
		entry.path = output.s + at;
		at += strlen(entry.path) + 1;
		if (is_hostile(entry.path))
			return error_set(err, ERR_GIT, "a commit holds the name \"%s\"",
					 entry.path);
		/* A file that became a directory is told as both. */
		add(&diff, &entry, old_mode, status);
	}
	index_edits_sort(&diff.files);
	*ret = diff;
	diff = (struct tree_diff){0};
	return 0;
}

static int compare_path(const void *path, const void *edit)
{
	return strcmp(path, ((const struct index_edit *)edit)->entry.path);
}

const struct index_edit *tree_diff_find(const struct tree_diff *diff, const char *path)
{
	if (!diff->files.count)
		return NULL;
	return bsearch(path, diff->files.items, diff->files.count, sizeof *diff->files.items,
		       compare_path);
}
