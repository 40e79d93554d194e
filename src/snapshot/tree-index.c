#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/layers.h"
#include "snapshot/settings.h"

enum { RULES_MAX = 16 << 20 };

/* Patterns that git knows beside those of the work tree; *ret_there: whether there are any. */
static int find_excludes(const struct tree_index *request, unsigned char *info, bool *ret_info,
			 unsigned char *user, bool *ret_user, struct error *err)
{
	autofd int common = open(request->repository->common_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	autostr struct str text = STR_INIT;
	struct error missing = ERROR_INIT;

	*ret_info = common >= 0 &&
		    file_read_at(common, "info/exclude", RULES_MAX, &text, &missing) == 0;
	error_clear(&missing);
	index_exclude_id(request->sha256, text.len ? text.s : "", text.len, info);
	str_clear(&text);
	if (settings_patterns(request->excludes_file, &text, err) < 0)
		return -1;
	*ret_user = text.len > 0;
	index_exclude_id(request->sha256, text.len ? text.s : "", text.len, user);
	return 0;
}

/* git looks at the shared part's time: the guest answers for one that is marked as the layer's. */
static int mark_shared(int dirfd, struct error *err)
{
	int fd = open_beneath(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		return error_errno(err, "cannot read a layer");
	for (const struct dirent *entry; (entry = readdir(dir));) {
		if (!str_starts(entry->d_name, "sharedindex.") || str_ends(entry->d_name, ".keep"))
			continue;
		autofree char *keep = xasprintf("%s.keep", entry->d_name);
		autofd int made = open_beneath(dirfd, keep, O_WRONLY | O_CREAT, 0444);

		if (made < 0)
			return error_errno(err, "cannot create %s", keep);
	}
	return 0;
}

int tree_entries(const struct root *root, const struct strv *tree, bool sha256,
		 struct index_reader **ret_base, struct index_edits *ret_edits, struct error *err)
{
	autofd int top = open_beneath(root->layers, tree->items[0], O_RDONLY | O_DIRECTORY, 0);
	autofd int base =
		open_beneath(root->layers, tree->items[tree->len - 1], O_RDONLY | O_DIRECTORY, 0);
	autoedits struct index_edits edits = INDEX_EDITS_INIT;

	if (top < 0 || base < 0)
		return error_errno(err, "cannot open the layer %s", tree->items[0]);
	if ((tree->len > 1 && index_edits_load(top, "edits", sha256, &edits, err) < 0) ||
	    index_reader_open(base, "base", sha256, ret_base, err) < 0)
		return -1;
	*ret_edits = edits;
	edits = (struct index_edits)INDEX_EDITS_INIT;
	return 0;
}

int tree_index(const struct root *root, const struct tree_index *request, int dirfd,
	       struct error *err)
{
	const struct strv *ids = request->tree;
	autoedits struct index_edits older = INDEX_EDITS_INIT;
	autoedits struct index_edits all = INDEX_EDITS_INIT;
	autotrees struct index_trees trees = INDEX_TREES_INIT;
	autofd int top = open_beneath(root->layers, ids->items[0], O_RDONLY | O_DIRECTORY, 0);
	autofd int base =
		open_beneath(root->layers, ids->items[ids->len - 1], O_RDONLY | O_DIRECTORY, 0);
	unsigned char info[INDEX_OID_MAX] = {0}, user[INDEX_OID_MAX] = {0};
	bool has_info, has_user;

	if (top < 0 || base < 0)
		return error_errno(err, "cannot open the layers of %s", request->repository->top);
	if ((ids->len > 1 && index_edits_load(top, "edits", request->sha256, &older, err) < 0) ||
	    index_trees_load(top, "trees", request->sha256, &trees, err) < 0)
		return -1;
	if (request->more)
		index_edits_merge(&older, request->more, &all);
	if (find_excludes(request, info, &has_info, user, &has_user, err) < 0)
		return -1;
	int result = index_compose(
		&(struct index_composition){
			.sha256 = request->sha256,
			.base_dir = base,
			.edits = request->more ? &all : &older,
			.trees = &trees,
			.staged = request->staged,
			.location = request->location,
			.info_exclude = has_info ? info : NULL,
			.excludes_file = has_user ? user : NULL,
			.fsmonitor = true,
			.split_from = INDEX_SPLIT_FROM,
		},
		dirfd, err);

	return result < 0 ? -1 : mark_shared(dirfd, err);
}
