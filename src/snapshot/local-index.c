#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "git/git.h"
#include "snapshot/local-internal.h"

enum {
	TOUCHED_MAX = 2000, /* local.h */
	TOUCHED_BYTES_MAX = 256 << 20,
};

struct changed {
	const char *path;
	struct status_entry *entry;
};

struct pass {
	struct capture *capture;
	struct changed *changed; /* by path */
	size_t count;
	struct index_reader *tree;
	const struct index_entry *tree_entry;
	struct index_edits tree_edits;
	size_t tree_at;
	struct index_edits touched; /* with the stat data that the tree layers have */
	struct str missing; /* the directory that was found to be missing last, with a slash */
	struct error *err;
};

static int compare_paths(const void *a, const void *b)
{
	const struct changed *one = a, *two = b;

	return strcmp(one->path, two->path);
}

/* What git status says of a path; NULL: the commit, the index and the work tree are the same. */
static struct status_entry *find(const struct pass *pass, const char *path)
{
	const struct changed wanted = {.path = path};
	const struct changed *found = pass->count ? bsearch(&wanted, pass->changed, pass->count,
							    sizeof wanted, compare_paths)
						  : NULL;

	return found ? found->entry : NULL;
}

/* Whether the index is not as the commit. */
static bool is_staged(const struct status_entry *changed)
{
	return changed && (changed->unmerged || changed->staged != '.');
}

static void list_changed(struct pass *pass)
{
	struct status *status = &pass->capture->status;

	pass->changed = xcalloc(status->count ? status->count : 1, sizeof *pass->changed);
	for (size_t i = 0; i < status->count; i++) {
		struct status_entry *entry = &status->items[i];

		pass->changed[pass->count++] = (struct changed){entry->path, entry};
	}
	if (pass->count)
		qsort(pass->changed, pass->count, sizeof *pass->changed, compare_paths);
}

/* The entry of a path in the tree layers: *ret is NULL when there is none. Paths come in order. */
static int seek_tree(struct pass *pass, const char *path, const struct index_entry **ret)
{
	const struct index_edits *edits = &pass->tree_edits;
	int result = 1;

	*ret = NULL;
	while (pass->tree_at < edits->count &&
	       strcmp(edits->items[pass->tree_at].entry.path, path) < 0)
		pass->tree_at++;
	while (pass->tree && result == 1 &&
	       (!pass->tree_entry || strcmp(pass->tree_entry->path, path) < 0)) {
		result = index_reader_next(pass->tree, &pass->tree_entry, pass->err);
		if (result == 0)
			index_reader_close(&pass->tree);
	}
	if (result == INDEX_FOREIGN)
		return error_set(pass->err, ERR_CORRUPT, "the index of a tree layer is not plain");
	if (result < 0)
		return -1;
	if (pass->tree_at < edits->count &&
	    strcmp(edits->items[pass->tree_at].entry.path, path) == 0)
		*ret = edits->items[pass->tree_at].removed ? NULL
							   : &edits->items[pass->tree_at].entry;
	else if (pass->tree && strcmp(pass->tree_entry->path, path) == 0)
		*ret = pass->tree_entry;
	return 0;
}

/* Of what a sparse checkout leaves out whole directories are missing: one look for each. */
static bool is_on_host(struct pass *pass, const char *path)
{
	int top = pass->capture->top;

	if (pass->missing.len && str_starts(path, pass->missing.s))
		return false;
	autofd int fd = open_beneath(top, path, O_PATH | O_NOFOLLOW, 0);

	if (fd >= 0)
		return true;
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		autofree char *directory = xstrndup(path, (size_t)(slash - path));
		autofd int there = open_beneath(top, directory, O_PATH | O_DIRECTORY, 0);

		if (there >= 0)
			continue;
		str_clear(&pass->missing);
		str_addf(&pass->missing, "%s/", directory);
		break;
	}
	return false;
}

static void set_quiet(struct pass *pass, const char *path, struct status_entry *changed)
{
	if (changed)
		changed->quiet = true;
	else
		strv_add(&pass->capture->quiet, path);
}

/*
 * git finds the file to be what the commit has, and the layers have that too: but of another time, or
 * with other line ends. More than there may be are not counted.
 */
static void note_touched(struct pass *pass, const struct index_entry *entry,
			 const struct index_entry *below)
{
	struct index_entry touched = *entry;

	if (!below || pass->touched.count > TOUCHED_MAX ||
	    (entry->stat.modified == below->stat.modified &&
	     entry->stat.modified_ns == below->stat.modified_ns) ||
	    !(S_ISREG(entry->mode) || S_ISLNK(entry->mode)) || entry->mode != below->mode ||
	    memcmp(entry->oid, below->oid, INDEX_OID_MAX) != 0 || entry->stage ||
	    entry->skip_worktree || entry->intent_to_add || find(pass, entry->path))
		return;
	touched.stat = below->stat;
	index_edits_add(&pass->touched, &touched, false, false);
}

static int visit(struct pass *pass, const struct index_entry *entry)
{
	const struct index_entry *below = NULL;

	if (seek_tree(pass, entry->path, &below) < 0)
		return -1;
	struct status_entry *changed = find(pass, entry->path);
	/*
	 * Of a sparse checkout the tree layers have the same patterns, and then the same flags. But a
	 * flag may also have been set by hand, or cleared.
	 */
	bool differs = (below && below->skip_worktree) != entry->skip_worktree;

	if (entry->assume_valid || differs ||
	    (entry->skip_worktree && is_on_host(pass, entry->path)))
		set_quiet(pass, entry->path, changed);
	else
		note_touched(pass, entry, below);
	if (!is_staged(changed) && !entry->assume_valid && !entry->intent_to_add && !differs)
		return 0;
	struct index_entry edit = *entry;
	bool dirty = entry->intent_to_add || entry->stage ||
		     (changed && !changed->unmerged && changed->unstaged != '.');

	edit.stat = (struct index_stat){0};
	index_edits_add(&pass->capture->edits, &edit, false, dirty);
	return 0;
}

static void forget(struct pass *pass)
{
	struct capture *capture = pass->capture;

	index_edits_release(&capture->edits);
	strv_release(&capture->quiet);
	for (size_t i = 0; i < pass->count; i++)
		pass->changed[i].entry->quiet = false;
	index_reader_close(&pass->tree);
	index_edits_release(&pass->tree_edits);
	index_edits_release(&pass->touched);
	pass->tree_entry = NULL;
	pass->tree_at = 0;
	str_clear(&pass->missing);
}

static bool is_sha256(const struct capture *capture)
{
	return strcmp(capture->request->head->format, "sha256") == 0;
}

static int read_entries(struct pass *pass, int dirfd)
{
	const struct local_request *request = pass->capture->request;
	bool sha256 = is_sha256(pass->capture);
	autoreader struct index_reader *reader = NULL;
	const struct index_entry *entry = NULL;
	int result;

	forget(pass);
	/* A work tree in which nothing was ever added has none. */
	if (faccessat(dirfd, "index", F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	if (tree_entries(request->root, request->tree, sha256, &pass->tree, &pass->tree_edits,
			 pass->err) < 0)
		return -1;
	if (index_reader_open(dirfd, "index", sha256, &reader, pass->err) < 0)
		return -1;
	while ((result = index_reader_next(reader, &entry, pass->err)) == 1) {
		result = visit(pass, entry);
		if (result != 0)
			return result;
	}
	return result;
}

/* Lets git write a split or sparse index out in full, beside. */
static int expand(struct pass *pass, int git_dir, int temp)
{
	const struct repository *repository = pass->capture->request->repository;
	autofree char *place = realpath(fd_path(temp).s, NULL);
	autofd int from = open_beneath(git_dir, "index", O_RDONLY, 0);
	autostr struct str output = STR_INIT;
	const char *const args[] = {
		"-c",		"core.splitIndex=false", "-c", "index.sparse=false",
		"update-index", "--force-write-index",	 NULL};

	if (!place || from < 0)
		return error_errno(pass->err, "cannot read the index");
	autofree char *index = xasprintf("%s/index", place);
	struct git_place git = {
		.directory = repository->top,
		.git_dir = repository->git_dir,
		.work_tree = repository->top,
		.index = index,
	};

	if (file_copy_at(from, temp, "index", pass->err) < 0 ||
	    git_run(&git, args, &output, pass->err) < 0)
		return -1;
	return 0;
}

static int read_expanded(struct pass *pass, int git_dir)
{
	const struct root *root = pass->capture->request->root;
	autofree char *name = NULL;
	autofd int temp = -1;

	if (root_make_temp(root, "index", &name, &temp, pass->err) < 0)
		return -1;
	int result = expand(pass, git_dir, temp);

	if (result == 0)
		result = read_entries(pass, temp);
	tree_remove_at(root->temp, name, NULL);
	return result == INDEX_FOREIGN
		       ? error_set(pass->err, ERR_GIT, "git does not write its index out in full")
		       : result;
}

static int read_index(struct pass *pass)
{
	const struct repository *repository = pass->capture->request->repository;
	autofd int dir = open(repository->git_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return error_errno(pass->err, "cannot read the git directory %s",
				   repository->git_dir);
	int result = read_entries(pass, dir);

	return result == INDEX_FOREIGN ? read_expanded(pass, dir) : result;
}

/* git need not have read a file to know it: one that only it could read stays that of the layers. */
static bool is_touched(struct place *place, const struct index_entry *entry, off_t *ret_size)
{
	const char *name = base_name(entry->path);
	struct stat st;

	if (place_enter(place, entry->path) < 0 ||
	    fstatat(place->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	struct index_stat now = index_stat_of(&st);

	*ret_size = st.st_size;
	return (now.modified != entry->stat.modified ||
		now.modified_ns != entry->stat.modified_ns) &&
	       (S_ISLNK(st.st_mode) ||
		(S_ISREG(st.st_mode) && faccessat(place->fd, name, R_OK, AT_EACCESS) == 0));
}

static void add_touched(struct pass *pass)
{
	struct capture *capture = pass->capture;
	autoplace struct place place = {.base = capture->top, .fd = -1};
	off_t bytes = 0;

	if (pass->touched.count > TOUCHED_MAX)
		return;
	for (size_t i = 0; i < pass->touched.count; i++) {
		struct index_edit *edit = &pass->touched.items[i];
		off_t size = 0;

		edit->removed = !is_touched(&place, &edit->entry, &size);
		bytes += edit->removed ? 0 : size;
	}
	for (size_t i = 0; bytes <= TOUCHED_BYTES_MAX && i < pass->touched.count; i++) {
		struct index_edit *edit = &pass->touched.items[i];

		if (edit->removed)
			continue;
		edit->entry.stat = (struct index_stat){0};
		index_edits_add(&capture->edits, &edit->entry, false, false);
		strv_add(&capture->touched, edit->entry.path);
	}
}

/* What is staged as deleted has no entry. */
static void add_removed(struct pass *pass)
{
	for (size_t i = 0; i < pass->count; i++) {
		const struct status_entry *changed = pass->changed[i].entry;
		const struct index_entry entry = {.path = changed->path};

		if (!changed->unmerged && changed->staged == 'D')
			index_edits_add(&pass->capture->edits, &entry, true, false);
	}
}

/* Of edits only the flags of which differ the trees of the commit still hold. */
static void list_staged(struct pass *pass)
{
	const struct index_edits *edits = &pass->capture->edits;
	struct strv *staged = &pass->capture->staged;

	for (size_t i = 0; i < edits->count; i++) {
		const struct index_entry *entry = &edits->items[i].entry;

		if (!is_staged(find(pass, entry->path)) && !entry->intent_to_add)
			continue;
		if (!staged->len || strcmp(staged->items[staged->len - 1], entry->path) != 0)
			strv_add(staged, entry->path);
	}
}

int local_index_read(struct capture *capture, struct error *err)
{
	struct pass pass = {.capture = capture, .err = err};

	list_changed(&pass);
	int result = read_index(&pass);

	if (result == 0) {
		add_removed(&pass);
		add_touched(&pass);
		index_edits_sort(&capture->edits);
		list_staged(&pass);
	}
	free(pass.changed);
	index_reader_close(&pass.tree);
	index_edits_release(&pass.tree_edits);
	index_edits_release(&pass.touched);
	str_release(&pass.missing);
	return result < 0 ? error_wrap(err, "cannot read the index of %s",
				       capture->request->repository->top)
			  : 0;
}

void local_index_hash(const struct capture *capture, struct hash *hash)
{
	for (size_t i = 0; i < capture->edits.count; i++) {
		const struct index_edit *edit = &capture->edits.items[i];
		const struct index_entry *entry = &edit->entry;
		const uint32_t facts[] = {entry->mode,		entry->stage,
					  entry->assume_valid,	entry->skip_worktree,
					  entry->intent_to_add, edit->removed,
					  edit->dirty};

		hash_text(hash, entry->path);
		hash_bytes(hash, entry->oid, is_sha256(capture) ? 32 : 20);
		hash_bytes(hash, facts, sizeof facts);
	}
}

/*
 * What is staged and not changed since: the layer's own file is known to be that. Of a path that
 * git has been told not to look at nothing is known.
 */
static bool is_known(const struct index_edit *edit)
{
	return !edit->removed && !edit->dirty && !edit->entry.assume_valid &&
	       !edit->entry.skip_worktree;
}

static int fill_stat(int tree, struct index_edit *edit, struct error *err)
{
	autofd int fd = open_beneath(tree, edit->entry.path, O_PATH | O_NOFOLLOW, 0);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "cannot stat %s in the layer", edit->entry.path);
	if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
		edit->entry.stat = index_stat_of(&st);
	return 0;
}

/* That of the git layer is for the host's HEAD, and for the path that the work tree has there. */
bool local_index_is_own(const struct local_request *request)
{
	return request->switched || strcmp(request->location, request->repository->top) != 0;
}

int local_index_write(struct capture *capture, int layer, int git, struct error *err)
{
	const struct local_request *request = capture->request;
	struct index_edits *edits = &capture->edits;
	autofd int tree = open_beneath(layer, "tree", O_RDONLY | O_DIRECTORY, 0);

	if (!edits->count && !local_index_is_own(request))
		return 0;
	if (tree < 0 && errno != ENOENT)
		return error_errno(err, "cannot open the files of a layer");
	for (size_t i = 0; tree >= 0 && i < edits->count; i++) {
		struct index_edit *edit = &edits->items[i];

		if (is_known(edit) && fill_stat(tree, edit, err) < 0)
			return -1;
	}
	return tree_index(request->root,
			  &(struct tree_index){
				  .repository = request->repository,
				  .tree = request->tree,
				  .sha256 = strcmp(request->head->format, "sha256") == 0,
				  .location = request->location,
				  .excludes_file = request->excludes_file,
				  .more = edits->count ? edits : NULL,
				  .staged = edits->count ? &capture->staged : NULL,
			  },
			  git, err);
}
