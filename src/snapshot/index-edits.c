#include "base/memory.h"
#include "snapshot/index-internal.h"

/*
 * On disk: as an index, with a signature that git does not take for one. The upper half of a
 * mode is unused in an index.
 */
#define EDITS_SIGNATURE "JIBE"
enum {
	EDITS_VERSION = 1,
	EDITS_MAX = 1 << 24,
	MODE_REMOVED = 0x10000,
	MODE_DIRTY = 0x20000,
	MODE_GIT = 0xffff,
};

/* Room grows by doubling: whenever the count is a power of two there is none left. */
static struct index_edit *append(struct index_edits *edits)
{
	size_t count = edits->count;

	if ((count & (count - 1)) == 0)
		edits->items =
			xreallocarray(edits->items, count ? count * 2 : 1, sizeof *edits->items);
	edits->count++;
	return &edits->items[count];
}

void index_edits_add(struct index_edits *edits, const struct index_entry *entry, bool removed,
		     bool dirty)
{
	struct index_edit *edit = append(edits);

	*edit = (struct index_edit){.entry = *entry, .removed = removed, .dirty = dirty};
	edit->entry.path = xstrdup(entry->path);
}

static void release_edit(struct index_edit *edit)
{
	free((char *)edit->entry.path);
}

void index_edits_release(struct index_edits *edits)
{
	for (size_t i = 0; i < edits->count; i++)
		release_edit(&edits->items[i]);
	free(edits->items);
	*edits = (struct index_edits)INDEX_EDITS_INIT;
}

static int compare_entries(const struct index_entry *a, const struct index_entry *b)
{
	int order = strcmp(a->path, b->path);

	return order ? order : (int)a->stage - (int)b->stage;
}

static int compare_edits(const void *a, const void *b)
{
	const struct index_edit *one = *(struct index_edit *const *)a;
	const struct index_edit *two = *(struct index_edit *const *)b;
	int order = compare_entries(&one->entry, &two->entry);

	/* Both lie in one array: the one that was added first comes first. */
	return order ? order : (one > two) - (one < two);
}

void index_edits_sort(struct index_edits *edits)
{
	if (!edits->count)
		return;
	autofree struct index_edit **order = xcalloc(edits->count, sizeof(void *));
	struct index_edits sorted = INDEX_EDITS_INIT;

	for (size_t i = 0; i < edits->count; i++)
		order[i] = &edits->items[i];
	qsort(order, edits->count, sizeof(void *), compare_edits);
	for (size_t i = 0; i < edits->count; i++) {
		if (i + 1 < edits->count &&
		    compare_entries(&order[i]->entry, &order[i + 1]->entry) == 0)
			release_edit(order[i]);
		else
			*append(&sorted) = *order[i];
	}
	free(edits->items);
	*edits = sorted;
}

static void copy_edit(struct index_edits *to, const struct index_edit *edit)
{
	index_edits_add(to, &edit->entry, edit->removed, edit->dirty);
}

void index_edits_merge(const struct index_edits *older, const struct index_edits *newer,
		       struct index_edits *ret)
{
	struct index_edits merged = INDEX_EDITS_INIT;
	size_t o = 0;

	for (size_t n = 0; n < newer->count; n++) {
		const char *path = newer->items[n].entry.path;

		for (; o < older->count; o++) {
			int order = strcmp(older->items[o].entry.path, path);

			if (order > 0)
				break;
			if (order < 0)
				copy_edit(&merged, &older->items[o]);
		}
		copy_edit(&merged, &newer->items[n]);
	}
	for (; o < older->count; o++)
		copy_edit(&merged, &older->items[o]);
	*ret = merged;
}

int index_edits_store(const struct index_edits *edits, int dirfd, const char *name, bool sha256,
		      struct error *err)
{
	autoout struct index_out out = INDEX_OUT_INIT;

	if (edits->count > EDITS_MAX)
		return error_set(err, ERR_LIMIT, "%zu changed paths are too many", edits->count);
	if (index_out_open(dirfd, name, sha256, &out, err) < 0 ||
	    index_out_header(&out, EDITS_SIGNATURE, EDITS_VERSION, (uint32_t)edits->count, err) < 0)
		return -1;
	for (size_t i = 0; i < edits->count; i++) {
		const struct index_edit *edit = &edits->items[i];
		uint32_t mode = edit->entry.mode & MODE_GIT;

		if (edit->removed)
			mode |= MODE_REMOVED;
		if (edit->dirty)
			mode |= MODE_DIRTY;
		if (index_out_entry(&out, &edit->entry, edit->entry.path, mode, err) < 0)
			return -1;
	}
	return index_out_finish(&out, err);
}

static void hand_over(struct index_edits *edits, struct index_edits *ret)
{
	*ret = *edits;
	*edits = (struct index_edits)INDEX_EDITS_INIT;
}

int index_edits_load(int dirfd, const char *name, bool sha256, struct index_edits *ret,
		     struct error *err)
{
	autoreader struct index_reader *reader = NULL;
	autoedits struct index_edits edits = INDEX_EDITS_INIT;
	const struct index_entry *entry = NULL;
	int result;

	if (index_reader_open_as(dirfd, name, sha256, EDITS_SIGNATURE, EDITS_VERSION, &reader,
				 err) < 0)
		return -1;
	if (index_reader_count(reader) > EDITS_MAX)
		return index_damaged(name, err);
	while ((result = index_reader_next(reader, &entry, err)) == 1) {
		struct index_entry plain = *entry;

		plain.mode &= MODE_GIT;
		index_edits_add(&edits, &plain, entry->mode & MODE_REMOVED,
				entry->mode & MODE_DIRTY);
	}
	if (result == INDEX_FOREIGN)
		return index_damaged(name, err);
	if (result < 0)
		return -1;
	hand_over(&edits, ret);
	return 0;
}
