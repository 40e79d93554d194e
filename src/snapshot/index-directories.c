#include "snapshot/index-directories.h"

#include "base/memory.h"
#include "snapshot/ewah.h"
#include "snapshot/index-internal.h"

/* What git has in dir_flags: DIR_SHOW_OTHER_DIRECTORIES and DIR_HIDE_EMPTY_DIRECTORIES. */
enum { UNTRACKED_FLAGS = 6, UNTRACKED_STAT = 36 };

enum { NONE = UINT32_MAX };

struct directory {
	uint32_t parent, child, next; /* numbers; parents come before children */
	uint32_t children;
	uint32_t entries; /* at any depth, once all are known */
	size_t name;	  /* in `names`, NUL-terminated */
	size_t path;	  /* how long the whole path is */
	const unsigned char *tree;
	unsigned char ignore[INDEX_OID_MAX]; /* the blob of its .gitignore */
	bool has_ignore;
	bool altered; /* something in it, at any depth, is not as in the commit */
	bool unsure;  /* its .gitignore, or one above or below */
};

struct index_directories {
	const struct index_composition *composition;
	size_t oid;
	struct directory *items;
	size_t count, alloc;
	struct str names;
	struct str path; /* of the current one */
	uint32_t current;
	size_t hint; /* where in composition->trees the next one probably is */
	const struct index_edit *
		*unsure; /* edits of a .gitignore that may differ in the work tree */
	size_t unsure_count;
};

static const char ignore_name[] = ".gitignore";

static bool is_ignore(const char *path)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash ? slash + 1 : path, ignore_name) == 0;
}

static bool is_null(const unsigned char *oid, size_t size)
{
	static const unsigned char none[INDEX_OID_MAX];

	return memcmp(oid, none, size) == 0;
}

static void find_unsure(struct index_directories *d)
{
	const struct index_edits *edits = d->composition->edits;

	for (size_t i = 0; edits && i < edits->count; i++) {
		const struct index_edit *edit = &edits->items[i];

		if (!edit->dirty || !is_ignore(edit->entry.path))
			continue;
		if ((d->unsure_count & (d->unsure_count - 1)) == 0)
			d->unsure =
				xreallocarray(d->unsure, d->unsure_count ? d->unsure_count * 2 : 1,
					      sizeof(const struct index_edit *));
		d->unsure[d->unsure_count++] = edit;
	}
}

/* "<first len bytes of dir><rest>" against a path. */
static int compare_joined(const char *dir, size_t len, const char *rest, const char *path)
{
	int order = len ? strncmp(dir, path, len) : 0;

	return order ? order : strcmp(rest, path + len);
}

/* Whether something that is staged lies in the directory, at any depth. */
static bool holds_staged(const struct strv *staged, const char *path, size_t len)
{
	const char *slash = len ? "/" : "";
	size_t low = 0, high = staged ? staged->len : 0;
	size_t count = high;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_joined(path, len, slash, staged->items[middle]) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && strncmp(staged->items[low], path, len) == 0 &&
	       str_starts(staged->items[low] + len, slash);
}

static bool has_unsure(const struct index_directories *d, const char *path, size_t len)
{
	const char *rest = len ? "/.gitignore" : ignore_name;
	size_t low = 0, high = d->unsure_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_joined(path, len, rest, d->unsure[middle]->entry.path);

		if (order == 0)
			return true;
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static const unsigned char *find_tree(struct index_directories *d, const char *path, size_t len)
{
	const struct index_trees *trees = d->composition->trees;
	size_t low = 0, high = trees ? trees->count : 0;
	size_t middle = d->hint;

	if (middle >= high)
		middle = low + (high - low) / 2;
	while (low < high) {
		int order = compare_joined(path, len, "", trees->items[middle].path);

		if (order == 0) {
			d->hint = middle + 1;
			return trees->items[middle].oid;
		}
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
		middle = low + (high - low) / 2;
	}
	return NULL;
}

/* Enters the directory with the first `len` bytes of the path, the last of which are its name. */
static void enter(struct index_directories *d, const char *path, size_t len, size_t name)
{
	uint32_t parent = d->current;

	if (d->count == d->alloc) {
		d->alloc = d->alloc ? d->alloc * 2 : 64;
		d->items = xreallocarray(d->items, d->alloc, sizeof *d->items);
	}
	d->current = (uint32_t)d->count++;
	d->items[d->current] = (struct directory){
		.parent = parent,
		.child = NONE,
		.next = NONE,
		.name = d->names.len,
		.path = len,
		.tree = find_tree(d, path, len),
		.altered = holds_staged(d->composition->staged, path, len),
		.unsure = has_unsure(d, path, len),
	};
	if (parent != NONE)
		d->items[parent].children++;
	str_add_bytes(&d->names, path + len - name, name);
	str_add_char(&d->names, '\0');
	str_clear(&d->path);
	str_add_bytes(&d->path, path, len);
}

struct index_directories *index_directories_new(const struct index_composition *composition)
{
	struct index_directories *d = xcalloc(1, sizeof *d);

	d->composition = composition;
	d->oid = index_oid_size(composition->sha256);
	d->current = NONE;
	find_unsure(d);
	enter(d, "", 0, 0);
	return d;
}

void index_directories_free(struct index_directories **where)
{
	struct index_directories *d = *where;

	if (!d)
		return;
	free(d->items);
	free(d->unsure);
	str_release(&d->names);
	str_release(&d->path);
	free(d);
	*where = NULL;
}

/* Up to the first directory that holds the path; where in the path its name in that begins. */
static size_t leave(struct index_directories *d, const char *path)
{
	while (d->path.len &&
	       (strncmp(path, d->path.s, d->path.len) != 0 || path[d->path.len] != '/')) {
		d->current = d->items[d->current].parent;
		d->path.len = d->items[d->current].path;
	}
	return d->path.len ? d->path.len + 1 : 0;
}

static void note_ignore(const struct index_directories *d, struct directory *directory,
			const struct index_entry *entry)
{
	/* git reads it only from a file. */
	directory->has_ignore = S_ISREG(entry->mode);
	memcpy(directory->ignore, entry->oid, d->oid);
	if (entry->stage || entry->intent_to_add || is_null(entry->oid, d->oid))
		directory->unsure = true;
}

void index_directories_add(struct index_directories *d, const struct index_entry *entry)
{
	const char *name = entry->path + leave(d, entry->path);
	const char *slash;

	while ((slash = strchr(name, '/'))) {
		enter(d, entry->path, (size_t)(slash - entry->path), (size_t)(slash - name));
		name = slash + 1;
	}
	struct directory *directory = &d->items[d->current];

	directory->entries++;
	if (entry->stage || entry->intent_to_add)
		directory->altered = true;
	if (*name == '.' && strcmp(name, ignore_name) == 0)
		note_ignore(d, directory, entry);
}

void index_directories_end(struct index_directories *d)
{
	/* A rule in a directory tells of what is below. */
	for (size_t i = 1; i < d->count; i++)
		if (d->items[d->items[i].parent].unsure)
			d->items[i].unsure = true;
	/* And git looks into a directory only if it looks into the one above. */
	for (size_t i = d->count - 1; i > 0; i--) {
		const struct directory *directory = &d->items[i];
		struct directory *parent = &d->items[directory->parent];

		parent->entries += directory->entries;
		parent->altered |= directory->altered;
		parent->unsure |= directory->unsure;
	}
}

struct named {
	const char *name;
	uint32_t number;
};

/* The cache tree: shorter names first. */
static int compare_lengths(const void *a, const void *b)
{
	const char *one = ((const struct named *)a)->name;
	const char *two = ((const struct named *)b)->name;
	size_t one_len = strlen(one), two_len = strlen(two);

	if (one_len != two_len)
		return one_len < two_len ? -1 : 1;
	return strcmp(one, two);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

/* Puts the children of each directory into the given order. */
static void order_children(struct index_directories *d, int (*compare)(const void *, const void *))
{
	autofree size_t *starts = xcalloc(d->count + 1, sizeof *starts);
	autofree struct named *all = xcalloc(d->count, sizeof *all);

	for (size_t i = 0; i < d->count; i++)
		starts[i + 1] = starts[i] + d->items[i].children;
	for (size_t i = 1; i < d->count; i++)
		all[starts[d->items[i].parent]++] =
			(struct named){d->names.s + d->items[i].name, (uint32_t)i};
	for (size_t i = 0; i < d->count; i++) {
		size_t count = d->items[i].children;
		struct named *first = all + starts[i] - count;

		if (count > 1)
			qsort(first, count, sizeof *first, compare);
		d->items[i].child = count ? first[0].number : NONE;
		for (size_t k = 0; k < count; k++)
			d->items[first[k].number].next = k + 1 < count ? first[k + 1].number : NONE;
	}
}

/* The one after this, parents first. */
static uint32_t after(const struct index_directories *d, uint32_t number)
{
	if (d->items[number].child != NONE)
		return d->items[number].child;
	while (number != NONE && d->items[number].next == NONE)
		number = d->items[number].parent;
	return number == NONE ? NONE : d->items[number].next;
}

void index_directories_cache_tree(struct index_directories *d, struct str *ret)
{
	order_children(d, compare_lengths);
	for (uint32_t i = 0; i != NONE; i = after(d, i)) {
		const struct directory *directory = &d->items[i];
		bool valid = directory->tree && !directory->altered;
		char numbers[32];
		const char *name = d->names.s + directory->name;
		int len = snprintf(numbers, sizeof numbers, "%ld %u\n",
				   valid ? (long)directory->entries : -1L, directory->children);

		str_add_bytes(ret, name, strlen(name) + 1);
		str_add_bytes(ret, numbers, (size_t)len);
		if (valid)
			str_add_bytes(ret, directory->tree, d->oid);
	}
}

/* Where, for which excludes, and how git looked. */
static void add_conditions(const struct index_directories *d, struct str *ret)
{
	static const unsigned char none[INDEX_OID_MAX];
	static const unsigned char stats[2 * UNTRACKED_STAT];
	const struct index_composition *c = d->composition;
	autofree char *where = xasprintf("Location %s, system Linux", c->location);

	index_put_varint(ret, strlen(where) + 1);
	str_add_bytes(ret, where, strlen(where) + 1);
	str_add_bytes(ret, stats, sizeof stats);
	str_add_u32(ret, UNTRACKED_FLAGS);
	str_add_bytes(ret, c->info_exclude ? c->info_exclude : none, d->oid);
	str_add_bytes(ret, c->excludes_file ? c->excludes_file : none, d->oid);
	str_add_bytes(ret, ignore_name, sizeof ignore_name);
}

void index_directories_untracked(struct index_directories *d, struct str *ret)
{
	static const unsigned char stat[UNTRACKED_STAT];
	autoewah struct ewah valid = EWAH_INIT;
	autoewah struct ewah check_only = EWAH_INIT;
	autoewah struct ewah has_ignore = EWAH_INIT;
	autostr struct str stats = STR_INIT;
	autostr struct str ignores = STR_INIT;
	uint32_t position = 0;

	order_children(d, compare_names);
	add_conditions(d, ret);
	index_put_varint(ret, d->count);
	for (uint32_t i = 0; i != NONE; i = after(d, i), position++) {
		const struct directory *directory = &d->items[i];
		const char *name = d->names.s + directory->name;

		index_put_varint(ret, 0);
		index_put_varint(ret, directory->children);
		str_add_bytes(ret, name, strlen(name) + 1);
		if (directory->unsure)
			continue;
		ewah_set(&valid, position);
		str_add_bytes(&stats, stat, sizeof stat);
		if (directory->has_ignore) {
			ewah_set(&has_ignore, position);
			str_add_bytes(&ignores, directory->ignore, d->oid);
		}
	}
	ewah_add_to(&valid, ret);
	ewah_add_to(&check_only, ret);
	ewah_add_to(&has_ignore, ret);
	str_add_bytes(ret, stats.s, stats.len);
	str_add_bytes(ret, ignores.s, ignores.len);
	str_add_char(ret, '\0');
}

void index_exclude_id(bool sha256, const void *content, size_t len,
		      unsigned char ret[INDEX_OID_MAX])
{
	struct checksum checksum;
	char header[32];
	size_t newline = len ? 1 : 0;
	int header_len = snprintf(header, sizeof header, "blob %zu", len + newline);

	checksum_init(&checksum, sha256);
	checksum_bytes(&checksum, header, (size_t)header_len + 1);
	checksum_bytes(&checksum, content, len);
	checksum_bytes(&checksum, "\n", newline);
	checksum_end(&checksum, ret);
}
