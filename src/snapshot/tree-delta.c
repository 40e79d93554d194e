#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "snapshot/host-index.h"
#include "snapshot/tree-files.h"
#include "snapshot/tree-making.h"

struct delta {
	const struct tree_making *making;
	const struct tree_parent *parent;
	struct tree_file *files; /* one for each edit of the difference that is no removal */
	size_t count;
	size_t *edit_of;
};

static int make_files(struct delta *delta, struct error *err)
{
	const struct tree_making *making = delta->making;
	const struct index_edits *edits = &delta->parent->diff.files;
	autohostindex struct host_index host = HOST_INDEX_INIT;

	if (host_index_open(making->repository, making->layer, making->sha256, &host, err) < 0)
		return -1;
	delta->files = xcalloc(edits->count + 1, sizeof *delta->files);
	delta->edit_of = xcalloc(edits->count + 1, sizeof *delta->edit_of);
	for (size_t i = 0; i < edits->count; i++) {
		const struct index_edit *edit = &edits->items[i];
		struct tree_file file = {.path = edit->entry.path, .mode = edit->entry.mode};

		if (edit->removed)
			continue;
		int clean = host_index_ask(&host, &edit->entry, &file.host, err);

		if (clean < 0)
			return -1;
		file.on_host = clean == 1;
		delta->edit_of[delta->count] = i;
		delta->files[delta->count++] = file;
	}
	if (unlinkat(making->layer, "host-index", 0) < 0 && errno != ENOENT)
		return error_errno(err, "cannot tidy a layer");
	return tree_files_make(&(struct tree_places){.target = making->tree, .host = making->host},
			       delta->files, delta->count, err);
}

/* Adds an entry to a list that becomes an index for git. */
static void want(struct index_edits *list, const struct index_entry *entry)
{
	index_edits_add(list, entry, false, false);
}

/*
 * What git needs to write files as the commit has them: their entries, and the attributes of all
 * directories.
 */
static int list_attributes(const struct delta *delta, struct index_edits *list, struct error *err)
{
	const struct tree_making *making = delta->making;
	const struct strv *ids = &delta->parent->ids;
	autoreader struct index_reader *reader = NULL;
	autofd int bottom = open_beneath(making->root->layers, ids->items[ids->len - 1],
					 O_RDONLY | O_DIRECTORY, 0);
	const struct index_entry *entry;
	int result;

	if (bottom < 0)
		return error_errno(err, "cannot open the layer %s", ids->items[ids->len - 1]);
	if (index_reader_open(bottom, "base", making->sha256, &reader, err) < 0)
		return -1;
	/* There is no delta where an attributes file differs: all of them are in the full layer. */
	while ((result = index_reader_next(reader, &entry, err)) == 1)
		if (strcmp(path_last(entry->path), ".gitattributes") == 0)
			want(list, entry);
	return result;
}

static int write_index(const struct tree_making *making, const struct index_edits *list,
		       struct error *err)
{
	autowriter struct index_writer *writer = NULL;

	if (index_writer_open(making->layer, "index", making->sha256, (uint32_t)list->count,
			      &writer, err) < 0)
		return -1;
	for (size_t i = 0; i < list->count; i++)
		if (index_writer_add(writer, &list->items[i].entry, err) < 0)
			return -1;
	return index_writer_finish(&writer, err);
}

/* What is not to be had from the host. */
static int write_rest(struct delta *delta, struct error *err)
{
	const struct tree_making *making = delta->making;
	autoedits struct index_edits list = INDEX_EDITS_INIT;
	autostr struct str wanted = STR_INIT;

	for (size_t i = 0; i < delta->count; i++) {
		const struct tree_file *file = &delta->files[i];

		if (file->made)
			continue;
		want(&list, &delta->parent->diff.files.items[delta->edit_of[i]].entry);
		str_add_bytes(&wanted, file->path, strlen(file->path) + 1);
	}
	if (!wanted.len)
		return 0;
	if (list_attributes(delta, &list, err) < 0)
		return -1;
	index_edits_sort(&list);
	if (write_index(making, &list, err) < 0 ||
	    file_replace_at(making->layer, "wanted", wanted.s, wanted.len, 0600, false, err) < 0 ||
	    tree_check_out(making, "index", "wanted", err) < 0)
		return -1;
	for (size_t i = 0; i < delta->count; i++)
		if (!delta->files[i].made &&
		    tree_settle(making, delta->files[i].path, NULL, &delta->files[i].stat, err) < 0)
			return -1;
	if (unlinkat(making->layer, "wanted", 0) < 0 || unlinkat(making->layer, "index", 0) < 0)
		return error_errno(err, "cannot tidy a layer");
	return 0;
}

static int compare_tree(const void *path, const void *tree)
{
	return strcmp(path, ((const struct index_tree *)tree)->path);
}

static bool is_directory(const struct index_trees *trees, const char *path)
{
	return bsearch(path, trees->items, trees->count, sizeof *trees->items, compare_tree) !=
	       NULL;
}

static bool is_new_submodule(const struct tree_parent *parent, const char *path)
{
	const struct index_edit *edit = tree_diff_find(&parent->diff, path);

	return edit && !edit->removed && edit->entry.mode == MODE_GITLINK;
}

/* Hides a path of the layers below: the whole directory, when nothing of it is left. */
static int hide(const struct tree_making *making, const struct tree_parent *parent,
		const struct index_trees *trees, const char *path, struct error *err)
{
	autofree char *gone = xstrdup(path);

	for (char *slash = strchr(gone, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		/* What is below shows through the directory of a submodule. */
		if (!is_directory(trees, gone) && !is_new_submodule(parent, gone))
			break;
		*slash = '/';
	}
	const struct index_edit *edit = tree_diff_find(&parent->diff, gone);

	/* What took its place hides it. */
	if (is_directory(trees, gone) || (edit && !edit->removed))
		return 0;
	const char *base = path_last(gone);
	autofree char *directory = xstrndup(gone, (size_t)(base - gone));
	autofd int dir = -1;

	if (tree_directory(making->tree, making->host, directory, &dir, err) < 0)
		return -1;
	if (mknodat(dir, base, S_IFCHR, makedev(0, 0)) < 0 && errno != EEXIST)
		return error_errno(err, "cannot hide %s", gone);
	return 0;
}

static int make_whiteouts(const struct tree_making *making, const struct tree_parent *parent,
			  const struct index_trees *trees, struct error *err)
{
	for (size_t i = 0; i < parent->diff.files.count; i++) {
		const struct index_edit *edit = &parent->diff.files.items[i];

		if (edit->removed && hide(making, parent, trees, edit->entry.path, err) < 0)
			return -1;
	}
	return 0;
}

static int next_trees(const struct tree_making *making, const struct tree_parent *parent, int below,
		      struct index_trees *ret, struct error *err)
{
	const struct index_trees *changed = &parent->diff.trees;
	unsigned char oid[INDEX_OID_MAX] = {0};

	if (!oid_parse(making->head->tree, strlen(making->head->tree), oid))
		return error_set(err, ERR_GIT, "git names a tree %s", making->head->tree);
	if (index_trees_load(below, "trees", making->sha256, ret, err) < 0)
		return -1;
	for (size_t i = 0; i < changed->count; i++)
		index_trees_set(ret, changed->items[i].path, changed->items[i].oid);
	for (size_t i = 0; i < parent->diff.gone.len; i++)
		index_trees_forget(ret, parent->diff.gone.items[i]);
	index_trees_set(ret, "", oid);
	index_trees_sort(ret);
	return 0;
}

static int store(const struct delta *delta, const struct index_edits *older,
		 const struct index_trees *trees, struct error *err)
{
	const struct tree_making *making = delta->making;
	autoedits struct index_edits newer = INDEX_EDITS_INIT;
	autoedits struct index_edits all = INDEX_EDITS_INIT;
	size_t next = 0;

	for (size_t i = 0; i < delta->parent->diff.files.count; i++) {
		const struct index_edit *edit = &delta->parent->diff.files.items[i];
		struct index_entry entry = edit->entry;

		if (!edit->removed && entry.mode != MODE_GITLINK)
			entry.stat = delta->files[next].stat;
		if (!edit->removed)
			next++;
		index_edits_add(&newer, &entry, edit->removed, false);
	}
	index_edits_sort(&newer);
	index_edits_merge(older, &newer, &all);
	if (index_edits_store(&all, making->layer, "edits", making->sha256, err) < 0)
		return -1;
	return index_trees_store(trees, making->layer, "trees", making->sha256, err);
}

static int make(struct delta *delta, size_t *ret_files, struct error *err)
{
	const struct tree_making *making = delta->making;
	const struct tree_parent *parent = delta->parent;
	autoedits struct index_edits older = INDEX_EDITS_INIT;
	autotrees struct index_trees trees = INDEX_TREES_INIT;
	autofd int below =
		open_beneath(making->root->layers, parent->ids.items[0], O_RDONLY | O_DIRECTORY, 0);

	if (below < 0)
		return error_errno(err, "cannot open the layer %s", parent->ids.items[0]);
	/* One on a full layer has none below. */
	if ((parent->ids.len > 1 &&
	     index_edits_load(below, "edits", making->sha256, &older, err) < 0) ||
	    make_files(delta, err) < 0 || write_rest(delta, err) < 0 ||
	    next_trees(making, parent, below, &trees, err) < 0 ||
	    make_whiteouts(making, parent, &trees, err) < 0 ||
	    store(delta, &older, &trees, err) < 0)
		return -1;
	*ret_files = parent->files;
	return 0;
}

int tree_make_delta(const struct tree_making *making, const struct tree_parent *parent,
		    size_t *ret_files, struct error *err)
{
	struct delta delta = {.making = making, .parent = parent};
	int result = make(&delta, ret_files, err);

	free(delta.files);
	free(delta.edit_of);
	return result;
}
