#include "review/frontier.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/xattr.h>

#include "base/file.h"
#include "base/memory.h"
#include "view/stack.h"

enum { ENTRIES_MAX = 10000000 };

struct reading {
	const struct view_mount *mount;
	const char *prefix;
	struct frontier frontier;
	size_t alloc;
	size_t level;
	bool too_many;
};

void frontier_release(struct frontier *frontier)
{
	for (size_t i = 0; i < frontier->count; i++)
		free(frontier->items[i].path);
	free(frontier->items);
	*frontier = (struct frontier){0};
}

static void add(struct reading *reading, const char *path, enum frontier_kind kind, bool opaque,
		const struct stat *st)
{
	struct frontier *frontier = &reading->frontier;

	if (frontier->count == reading->alloc) {
		reading->alloc = reading->alloc ? 2 * reading->alloc : 64;
		frontier->items =
			xreallocarray(frontier->items, reading->alloc, sizeof *frontier->items);
	}
	if (st->st_ctim.tv_sec > frontier->newest)
		frontier->newest = st->st_ctim.tv_sec;
	char *whole = xasprintf("%s%s", reading->prefix, path);

	frontier->items[frontier->count++] = (struct frontier_entry){
		.path = whole,
		.inner = whole + strlen(reading->prefix),
		.directory = reading->mount->lowers[reading->level],
		.kind = kind,
		.opaque = opaque,
		.level = reading->level,
		.st = *st,
	};
}

/* One that was only entered or stamped was copied up: it carries the mark of its origin. */
static bool is_copied_up(int fd)
{
	char value;

	return getxattr(fd_path(fd).s, "user.overlay.origin", &value, 0) >= 0;
}

static int visit(void *data, int dirfd, const char *name, const char *path, const struct stat *st)
{
	static const enum frontier_kind kinds[] = {
		[STACK_HIDDEN] = FRONTIER_GONE,
		[STACK_FILE] = FRONTIER_FILE,
		[STACK_LINK] = FRONTIER_LINK,
		[STACK_OTHER] = FRONTIER_OTHER,
	};
	struct reading *reading = data;

	if (!*reading->prefix && strcmp(path, ".git") == 0)
		return TREE_SKIP;
	if (reading->frontier.count == ENTRIES_MAX) {
		reading->too_many = true;
		return 2;
	}
	autofd int fd = open_beneath(dirfd, name, O_PATH | O_NOFOLLOW, 0);

	/* What is gone between two looks was not there: nothing but a frozen sandbox's own. */
	if (fd < 0)
		return TREE_SKIP;
	if (!S_ISDIR(st->st_mode)) {
		add(reading, path, kinds[stack_kind_of(fd, st)], false, st);
		return 0;
	}
	bool opaque = stack_is_opaque(fd);

	if (opaque || !is_copied_up(fd))
		add(reading, path, FRONTIER_DIRECTORY, opaque, st);
	/* Of a repository inside no more is asked than that it is one. */
	if (strcasecmp(name, ".git") == 0)
		return TREE_SKIP;
	if ((st->st_mode & 0500) == 0500)
		return 0;
	add(reading, path, FRONTIER_CLOSED, false, st);
	return TREE_SKIP;
}

static int compare(const void *a, const void *b)
{
	const struct frontier_entry *x = a, *y = b;
	int order = strcmp(x->path, y->path);

	/* Of one path the uppermost level comes first. */
	return order ? order : x->level < y->level ? -1 : x->level > y->level;
}

static void sort(struct frontier *frontier)
{
	if (frontier->count)
		qsort(frontier->items, frontier->count, sizeof *frontier->items, compare);
}

void frontier_add(struct frontier *frontier, struct frontier *more)
{
	frontier->items = xreallocarray(frontier->items, frontier->count + more->count + 1,
					sizeof *frontier->items);
	if (more->count)
		memcpy(frontier->items + frontier->count, more->items,
		       more->count * sizeof *more->items);
	frontier->count += more->count;
	if (more->newest > frontier->newest)
		frontier->newest = more->newest;
	free(more->items);
	*more = (struct frontier){0};
	sort(frontier);
}

/*
 * Of several levels the uppermost one that has a path decides, and nothing counts that lies below
 * what is gone or opaque above it.
 */
static int settle(const struct view_mount *mount, struct frontier *frontier, struct error *err)
{
	size_t kept = 0;

	for (size_t i = 0; i < frontier->count; i++) {
		struct frontier_entry *item = &frontier->items[i];
		struct stack_entry found;

		if (stack_find(mount->lowers, mount->changed, item->inner, &found, err) < 0)
			return -1;
		bool again = kept && strcmp(frontier->items[kept - 1].path, item->path) == 0 &&
			     frontier->items[kept - 1].kind == item->kind;

		/* A directory of a lower level may be opaque there, and so for what is below it. */
		if (again || (item->level != found.level && item->kind != FRONTIER_DIRECTORY) ||
		    (item->kind == FRONTIER_DIRECTORY && found.kind != STACK_DIRECTORY)) {
			free(item->path);
			continue;
		}
		frontier->items[kept++] = *item;
	}
	frontier->count = kept;
	return 0;
}

int frontier_read(const struct view_mount *mount, const char *prefix, struct frontier *ret,
		  struct error *err)
{
	struct reading reading = {.mount = mount, .prefix = prefix};

	for (; reading.level < mount->changed; reading.level++) {
		if (tree_walk(mount->lowers[reading.level], visit, &reading, err) < 0) {
			frontier_release(&reading.frontier);
			return -1;
		}
		if (reading.too_many) {
			frontier_release(&reading.frontier);
			return error_set(err, ERR_LIMIT, "more than %d files were changed",
					 ENTRIES_MAX);
		}
	}
	sort(&reading.frontier);
	if (mount->changed > 1 && settle(mount, &reading.frontier, err) < 0) {
		frontier_release(&reading.frontier);
		return -1;
	}
	*ret = reading.frontier;
	return 0;
}

static int compare_path(const void *key, const void *item)
{
	return strcmp(key, ((const struct frontier_entry *)item)->path);
}

const struct frontier_entry *frontier_covering(const struct frontier *frontier, const char *path)
{
	for (size_t len = strlen(path); frontier->count && len > 0;) {
		autofree char *prefix = xstrndup(path, len);
		const struct frontier_entry *entry =
			bsearch(prefix, frontier->items, frontier->count, sizeof *frontier->items,
				compare_path);

		if (entry &&
		    (path[len] == '\0' || entry->kind != FRONTIER_DIRECTORY || entry->opaque))
			return entry;
		while (len > 0 && path[--len] != '/')
			;
	}
	return NULL;
}
