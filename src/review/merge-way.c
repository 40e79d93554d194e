/*
 * What stands in the way of a path, and whether it goes: a file that becomes a directory, and a
 * directory that becomes a file, are several changes, which depend on each other.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "review/merge-parts.h"

static int compare_owners(const void *a, const void *b)
{
	return strcmp(((const struct path_owner *)a)->path, ((const struct path_owner *)b)->path);
}

/* A rename names two paths. */
static const char *find_twice(const struct merge *merge)
{
	autofree struct path_owner *all = xcalloc(2 * merge->count + 1, sizeof *all);
	size_t count = 0;

	for (size_t i = 0; i < merge->count; i++) {
		const struct change *change = merge->items[i].change;

		all[count++] = (struct path_owner){change->path, i};
		if (change->from)
			all[count++] = (struct path_owner){change->from, i};
	}
	qsort(all, count, sizeof *all, compare_owners);
	for (size_t i = 1; i < count; i++)
		if (strcmp(all[i - 1].path, all[i].path) == 0)
			return all[i].path;
	return NULL;
}

int merge_list_leaving(struct merge *merge, const char **ret_twice)
{
	const char *twice = find_twice(merge);

	if (twice) {
		*ret_twice = twice;
		return 1;
	}
	merge->leaving = xcalloc(merge->count + 1, sizeof *merge->leaving);
	for (size_t i = 0; i < merge->count; i++) {
		const struct change *change = merge->items[i].change;

		if (change->from || change->theirs.kind == SIDE_ABSENT)
			merge->leaving[merge->leaving_count++] =
				(struct path_owner){change->from ? change->from : change->path, i};
	}
	qsort(merge->leaving, merge->leaving_count, sizeof *merge->leaving, compare_owners);
	return 0;
}

static bool is_leaving(const struct merge *merge, const char *path)
{
	struct path_owner key = {path, 0};
	const struct path_owner *found =
		merge->leaving_count ? bsearch(&key, merge->leaving, merge->leaving_count,
					       sizeof key, compare_owners)
				     : NULL;

	if (!found || !merge->decided)
		return found;
	const struct verdict *owner = &merge->items[found->index];

	return owner->kind == VERDICT_TAKE ||
	       (owner->change->from && owner->kind == VERDICT_MERGED);
}

/* A directory that the merge does not empty stays. */
static bool holds_leaving(const struct merge *merge, const char *path)
{
	size_t len = strlen(path);
	size_t low = 0, high = merge->leaving_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strncmp(merge->leaving[middle].path, path, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < merge->leaving_count; low++) {
		const char *other = merge->leaving[low].path;

		if (strncmp(other, path, len) != 0)
			return false;
		if (other[len] == '/')
			return true;
	}
	return false;
}

struct emptying {
	const struct merge *merge;
	const char *above;
	dev_t dev;
};

/* Ends the walk with 2 at the first entry that stays. */
static int visit_leaving(void *data, int dirfd, const char *name, const char *path,
			 const struct stat *st)
{
	const struct emptying *emptying = data;
	autofree char *whole = xasprintf("%s/%s", emptying->above, path);

	(void)dirfd;
	(void)name;
	if (S_ISDIR(st->st_mode))
		return st->st_dev == emptying->dev && holds_leaving(emptying->merge, whole) ? 0 : 2;
	return is_leaving(emptying->merge, whole) ? 0 : 2;
}

static int directory_empties(const struct merge *merge, const char *path,
			     const struct content *host, struct error *err)
{
	struct emptying emptying = {merge, path, host->dev};
	autofd int fd = open_within(merge->top, path, O_RDONLY | O_DIRECTORY);

	if (fd < 0 || !holds_leaving(merge, path))
		return 0;
	int result = tree_walk(fd, visit_leaving, &emptying, err);

	return result < 0 ? -1 : result == 0;
}

/* What above a path is no directory. NULL in *ret_path when all are by now. */
static int find_blocker(const struct merge *merge, const char *path, char **ret_path,
			struct content *ret, struct error *err)
{
	for (const char *end = strchr(path, '/'); end; end = strchr(end + 1, '/')) {
		autofree char *above = xstrndup(path, (size_t)(end - path));

		if (content_look(merge->top, above, ret, err) < 0)
			return -1;
		if (ret->kind == CONTENT_DIRECTORY)
			continue;
		*ret_path = steal_ptr(&above);
		return 0;
	}
	*ret_path = NULL;
	return 0;
}

static int blocker_leaves(const struct merge *merge, const char *path, struct error *err)
{
	autofree char *blocker = NULL;
	struct content content;

	if (find_blocker(merge, path, &blocker, &content, err) < 0)
		return -1;
	return blocker && (content.kind == CONTENT_FILE || content.kind == CONTENT_LINK) &&
	       is_leaving(merge, blocker);
}

/* A link above may lead anywhere, unless it is what the sandbox has put there. */
static int is_theirs(const struct merge *merge, const char *path, const struct content *host,
		     struct error *err)
{
	for (size_t i = 0; i < merge->count; i++) {
		const struct change *change = merge->items[i].change;
		struct content theirs;

		if (strcmp(change->path, path) != 0 || change->theirs.kind != SIDE_LINK)
			continue;
		if (content_look(change->theirs.dirfd, change->theirs.path, &theirs, err) < 0)
			return -1;
		return content_equal(&theirs, host);
	}
	return 0;
}

int merge_is_replaced(const struct merge *merge, const char *path, const struct content *host,
		      struct error *err)
{
	autofree char *blocker = NULL;
	struct content content;

	if (host->kind == CONTENT_DIRECTORY)
		return 1;
	if (host->kind != CONTENT_BLOCKED)
		return 0;
	if (find_blocker(merge, path, &blocker, &content, err) < 0)
		return -1;
	if (!blocker || content.kind == CONTENT_FILE)
		return blocker != NULL;
	return content.kind == CONTENT_LINK ? is_theirs(merge, blocker, &content, err) : 0;
}

int merge_way_is_clear(const struct merge *merge, const char *path, const struct content *host,
		       struct error *err)
{
	if (host->kind == CONTENT_BLOCKED)
		return blocker_leaves(merge, path, err);
	if (host->kind == CONTENT_DIRECTORY)
		return directory_empties(merge, path, host, err);
	return 0;
}
