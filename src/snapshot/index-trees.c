#include "base/file.h"
#include "base/memory.h"
#include "snapshot/index-internal.h"

#define TREES_SIGNATURE "JIBT"
enum { TREES_VERSION = 1, TREES_MAX = 1 << 28 };

/* As in index-edits.c. */
static struct index_tree *append(struct index_trees *trees)
{
	size_t count = trees->count;

	if ((count & (count - 1)) == 0)
		trees->items =
			xreallocarray(trees->items, count ? count * 2 : 1, sizeof *trees->items);
	trees->count++;
	return &trees->items[count];
}

static void add(struct index_trees *trees, char *path, const unsigned char *oid, size_t size)
{
	struct index_tree *tree = append(trees);

	*tree = (struct index_tree){.path = path};
	if (oid)
		memcpy(tree->oid, oid, size);
}

void index_trees_set(struct index_trees *trees, const char *path,
		     const unsigned char oid[INDEX_OID_MAX])
{
	add(trees, xstrdup(path), oid, INDEX_OID_MAX);
}

/* Until they are sorted it is one without an id. */
void index_trees_forget(struct index_trees *trees, const char *path)
{
	add(trees, xstrdup(path), NULL, 0);
}

void index_trees_release(struct index_trees *trees)
{
	for (size_t i = 0; i < trees->count; i++)
		free(trees->items[i].path);
	free(trees->items);
	*trees = (struct index_trees)INDEX_TREES_INIT;
}

static int compare_trees(const void *a, const void *b)
{
	const struct index_tree *one = *(struct index_tree *const *)a;
	const struct index_tree *two = *(struct index_tree *const *)b;
	int order = strcmp(one->path, two->path);

	/* Both lie in one array: the one that was added first comes first. */
	return order ? order : (one > two) - (one < two);
}

static bool is_forgotten(const struct index_tree *tree)
{
	static const unsigned char none[INDEX_OID_MAX];

	return memcmp(tree->oid, none, sizeof none) == 0;
}

void index_trees_sort(struct index_trees *trees)
{
	if (!trees->count)
		return;
	autofree struct index_tree **order = xcalloc(trees->count, sizeof(void *));
	struct index_trees sorted = INDEX_TREES_INIT;

	for (size_t i = 0; i < trees->count; i++)
		order[i] = &trees->items[i];
	qsort(order, trees->count, sizeof(void *), compare_trees);
	for (size_t i = 0; i < trees->count; i++) {
		bool last =
			i + 1 == trees->count || strcmp(order[i]->path, order[i + 1]->path) != 0;

		if (last && !is_forgotten(order[i]))
			*append(&sorted) = *order[i];
		else
			free(order[i]->path);
	}
	free(trees->items);
	*trees = sorted;
}

static void hand_over(struct index_trees *trees, struct index_trees *ret)
{
	*ret = *trees;
	*trees = (struct index_trees)INDEX_TREES_INIT;
}

/* A node that still has subtrees to come, of the cache tree that is being read. */
struct level {
	size_t path; /* how long that of the directory is */
	size_t left;
};

struct cache_tree {
	const unsigned char *at, *end;
	size_t oid;
	struct str path; /* of the last node */
	struct level *levels;
	size_t depth;
	struct index_trees *trees;
};

/* A decimal number and what ends it. */
static bool read_number(struct cache_tree *tree, unsigned char last, size_t *ret)
{
	size_t number = 0;
	const unsigned char *start = tree->at;

	for (; tree->at < tree->end && *tree->at >= '0' && *tree->at <= '9'; tree->at++) {
		number = number * 10 + (*tree->at - '0');
		if (number > UINT32_MAX)
			return false;
	}
	*ret = number;
	return tree->at > start && tree->at < tree->end && *tree->at++ == last;
}

/* The path of a node: that of its parent, and a name. */
static bool read_name(struct cache_tree *tree)
{
	const unsigned char *at = tree->at;
	size_t left = (size_t)(tree->end - at);
	const unsigned char *nul = at && left ? memchr(at, 0, left) : NULL;

	if (!nul || (nul == tree->at) != (tree->depth == 0) ||
	    memchr(tree->at, '/', (size_t)(nul - tree->at)))
		return false;
	if (tree->depth) {
		struct level *level = &tree->levels[tree->depth - 1];

		level->left--;
		tree->path.len = level->path;
		if (level->path)
			str_add_char(&tree->path, '/');
	}
	str_add_bytes(&tree->path, tree->at, (size_t)(nul - tree->at));
	tree->at = nul + 1;
	return tree->path.len <= INDEX_PATH_MAX;
}

static void enter(struct cache_tree *tree, size_t subtrees)
{
	if ((tree->depth & (tree->depth - 1)) == 0)
		tree->levels = xreallocarray(tree->levels, tree->depth ? tree->depth * 2 : 1,
					     sizeof *tree->levels);
	tree->levels[tree->depth++] = (struct level){tree->path.len, subtrees};
	while (tree->depth && !tree->levels[tree->depth - 1].left)
		tree->depth--;
}

static bool read_node(struct cache_tree *tree)
{
	size_t entries, subtrees;

	if (!read_name(tree))
		return false;
	bool valid = tree->at == tree->end || *tree->at != '-';

	tree->at += !valid;
	if (!read_number(tree, ' ', &entries) || !read_number(tree, '\n', &subtrees))
		return false;
	if (valid) {
		if ((size_t)(tree->end - tree->at) < tree->oid)
			return false;
		add(tree->trees, xstrdup(tree->path.s), tree->at, tree->oid);
		tree->at += tree->oid;
	}
	enter(tree, subtrees);
	return true;
}

static bool read_cache_tree(const struct str *content, size_t oid, struct index_trees *trees)
{
	const unsigned char *start = (const unsigned char *)content->s;
	struct cache_tree tree = {
		.at = start, .end = start + content->len, .oid = oid, .trees = trees};
	bool good;

	do
		good = read_node(&tree);
	while (good && tree.depth);
	good = good && tree.at == tree.end;
	str_release(&tree.path);
	free(tree.levels);
	return good;
}

/* Reads to the end. */
static int collect(int dirfd, const char *name, bool sha256, struct str *content, struct error *err)
{
	autoreader struct index_reader *reader = NULL;
	const struct index_entry *entry = NULL;
	int result;

	if (index_reader_open(dirfd, name, sha256, &reader, err) < 0)
		return -1;
	index_reader_collect(reader, "TREE", content);
	while ((result = index_reader_next(reader, &entry, err)) == 1)
		;
	return result < 0 ? -1 : 0;
}

int index_trees_read(int dirfd, const char *name, bool sha256, struct index_trees *ret,
		     struct error *err)
{
	autostr struct str content = STR_INIT;
	autotrees struct index_trees trees = INDEX_TREES_INIT;

	if (collect(dirfd, name, sha256, &content, err) < 0)
		return -1;
	if (content.len && !read_cache_tree(&content, index_oid_size(sha256), &trees))
		return index_damaged(name, err);
	index_trees_sort(&trees);
	hand_over(&trees, ret);
	return 0;
}

int index_trees_store(const struct index_trees *trees, int dirfd, const char *name, bool sha256,
		      struct error *err)
{
	autoout struct index_out out = INDEX_OUT_INIT;

	if (trees->count > UINT32_MAX)
		return error_set(err, ERR_LIMIT, "%zu directories are too many", trees->count);
	if (index_out_open(dirfd, name, sha256, &out, err) < 0 ||
	    index_out_header(&out, TREES_SIGNATURE, TREES_VERSION, (uint32_t)trees->count, err) < 0)
		return -1;
	for (size_t i = 0; i < trees->count; i++) {
		const struct index_tree *tree = &trees->items[i];

		if (index_out_bytes(&out, tree->oid, index_oid_size(sha256), err) < 0 ||
		    index_out_bytes(&out, tree->path, strlen(tree->path) + 1, err) < 0)
			return -1;
	}
	return index_out_finish(&out, err);
}

/* Fails when they are not in order. */
static bool read_stored(const struct str *bytes, size_t oid, struct index_trees *trees)
{
	const char *at = bytes->s + INDEX_HEADER;
	const char *end = bytes->s + bytes->len - oid;

	for (uint32_t left = get_u32(bytes->s + 8); left; left--) {
		const char *nul = NULL;

		if ((size_t)(end - at) > oid)
			nul = memchr(at + oid, 0, (size_t)(end - at) - oid);
		if (!nul)
			return false;
		if (trees->count && strcmp(trees->items[trees->count - 1].path, at + oid) >= 0)
			return false;
		add(trees, xstrdup(at + oid), (const unsigned char *)at, oid);
		at = nul + 1;
	}
	return at == end;
}

int index_trees_load(int dirfd, const char *name, bool sha256, struct index_trees *ret,
		     struct error *err)
{
	autostr struct str bytes = STR_INIT;
	autotrees struct index_trees trees = INDEX_TREES_INIT;
	size_t oid = index_oid_size(sha256);

	if (file_read_at(dirfd, name, TREES_MAX, &bytes, err) < 0)
		return -1;
	if (bytes.len < INDEX_HEADER + oid ||
	    memcmp(bytes.s, TREES_SIGNATURE, INDEX_SIGNATURE) != 0 ||
	    get_u32(bytes.s + 4) != TREES_VERSION || !read_stored(&bytes, oid, &trees))
		return index_damaged(name, err);
	hand_over(&trees, ret);
	return 0;
}
