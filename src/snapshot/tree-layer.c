#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "git/git.h"
#include "snapshot/fingerprint.h"
#include "snapshot/git-parts.h"
#include "snapshot/hash.h"
#include "snapshot/layers.h"
#include "snapshot/settings.h"
#include "snapshot/tree-making.h"
#include "store/json.h"

enum {
	DEPTH_MAX = 16, /* layers in a stack; then a full one is made of them */
	CANDIDATES = 3, /* of the newest layers it is asked how near they are */
	NEAR_ENOUGH = 200,
	DELTA_SHARE = 4, /* no delta that changes more than a quarter of the files */
	RULES_MAX = 16 << 20,
};

/*
 * Which files a commit becomes depends on more than the commit: line endings, filters,
 * attributes. Two states of the configuration that differ in one of these get two layers.
 */
static bool decides_checkout(const char *key)
{
	static const char *const exact[] = {
		"core.autocrlf",       "core.eol",
		"core.symlinks",       "core.filemode",
		"core.ignorecase",     "core.precomposeunicode",
		"core.sparsecheckout", "core.sparsecheckoutcone",
		"core.attributesfile", "extensions.objectformat",
	};

	if (str_starts(key, "filter."))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(exact); i++)
		if (strcmp(key, exact[i]) == 0)
			return true;
	return false;
}

static void add_file(struct hash *hash, const char *path)
{
	autofd int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	autostr struct str text = STR_INIT;
	struct error ignored = ERROR_INIT;

	if (fd >= 0)
		read_all(fd, RULES_MAX, &text, &ignored);
	error_clear(&ignored);
	hash_bytes(hash, text.len ? text.s : "", text.len);
}

static void add_files(struct hash *hash, const struct repository *repository,
		      const struct config *settings)
{
	autofree char *own = xasprintf("%s/info/attributes", repository->common_dir);
	autofree char *patterns = xasprintf("%s/info/sparse-checkout", repository->git_dir);
	autofree char *user =
		settings_file(settings, "core.attributesfile", "attributes", repository->top);

	add_file(hash, own);
	add_file(hash, patterns);
	add_file(hash, user);
	add_file(hash, "/etc/gitattributes");
}

/*
 * Layers of one family can stand on each other: the same repository, and all that decides what
 * a commit's files look like. "tree-" and its beginning is what their names begin with.
 */
static char *family_of(const struct repository *repository, const struct config *settings)
{
	enum { PREFIX = 5 + 12 };
	struct hash hash;

	hash_init(&hash);
	hash_text(&hash, "tree 3");
	hash_text(&hash, repository->common_dir);
	for (size_t i = 0; i < settings->count; i++) {
		const struct config_item *item = &settings->items[i];

		if (decides_checkout(item->key)) {
			hash_text(&hash, item->key);
			hash_text(&hash, item->value ? item->value : "true");
		}
	}
	add_files(&hash, repository, settings);
	char *family = hash_id(&hash, "tree");

	family[PREFIX] = '\0';
	return family;
}

static char *layer_id(const char *family, const char *commit)
{
	struct hash hash;

	hash_init(&hash);
	hash_text(&hash, commit ? commit : "");
	return hash_id(&hash, family);
}

time_t tree_past(const struct repository_head *head)
{
	time_t past = time(NULL) - 10;

	/* The same commit looks the same whenever its layer is made. */
	return head->time > 0 && head->time < past ? head->time : past;
}

int tree_run_git(const struct tree_making *making, const struct git_place *where,
		 const char *const *args, struct error *err)
{
	autofree char *place = realpath(fd_path(making->layer).s, NULL);
	autofree char *objects = xasprintf("%s/objects", place ? place : "");
	autofree char *host = xasprintf("%s/objects", making->repository->common_dir);
	autostr struct str output = STR_INIT;
	struct git_place git = *where;

	if (!place || (mkdirat(making->layer, "objects", 0755) < 0 && errno != EEXIST))
		return error_errno(err, "cannot create a directory of objects");
	git.objects = objects;
	git.alternates = host;
	if (git_run(&git, args, &output, err) < 0)
		return -1;
	/* Where there was nothing to fetch. */
	if (unlinkat(making->layer, "objects", AT_REMOVEDIR) < 0 && errno != ENOTEMPTY)
		return error_errno(err, "cannot remove an empty directory");
	return 0;
}

int tree_check_out(const struct tree_making *making, const char *index, const char *wanted,
		   struct error *err)
{
	/* Not /proc/self/fd: git changes its directory and names files absolutely. */
	autofree char *place = realpath(fd_path(making->layer).s, NULL);
	autofd int input = open_beneath(making->layer, wanted, O_RDONLY, 0);

	if (!place || input < 0)
		return error_errno(err, "cannot open the layer's directory");
	autofree char *tree = xasprintf("%s/tree", place);
	autofree char *index_file = xasprintf("%s/%s", place, index);
	struct git_place git = {
		.directory = making->repository->top,
		.git_dir = making->repository->git_dir,
		.work_tree = tree,
		.index = index_file,
		.input = input,
		.progress = making->progress,
		.what = "writing files of the commit",
	};
	const char *const args[] = {"-c",
				    "checkout.workers=2",
				    "-c",
				    "checkout.thresholdForParallelism=500",
				    "checkout-index",
				    "-q",
				    "-z",
				    "--stdin",
				    NULL};
	return tree_run_git(making, &git, args, err);
}

/* 0 or -1 with errno. */
static int take_mode(const struct tree_making *making, const char *path, int dir, const char *base)
{
	autofd int host = open_beneath(making->host, path, O_PATH | O_NOFOLLOW, 0);
	struct stat there, here;

	if (host < 0 || fstat(host, &there) < 0 || !S_ISREG(there.st_mode))
		return 0;
	if (fstatat(dir, base, &here, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(here.st_mode))
		return -1;
	return fchmodat(dir, base, there.st_mode & 0777, 0);
}

int tree_settle(const struct tree_making *making, const char *path, const struct index_stat *host,
		struct index_stat *ret, struct error *err)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = tree_past(making->head)}};
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	autofree char *parent = xstrndup(path, (size_t)(base - path));
	autofd int dir = open_beneath(making->tree, slash ? parent : ".", O_PATH | O_DIRECTORY, 0);
	struct stat st;

	if (host) {
		times[1].tv_sec = host->modified;
		times[1].tv_nsec = host->modified_ns;
	}
	if (dir < 0 || (making->modes_differ && take_mode(making, path, dir, base) < 0) ||
	    utimensat(dir, base, times, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, "git did not write %s", path);
	*ret = index_stat_of(&st);
	return 0;
}

int tree_stack_open(const struct root *root, const struct strv *ids, int **ret, struct error *err)
{
	int *stack = xcalloc(ids->len + 1, sizeof *stack);

	for (size_t i = 0; i < ids->len; i++) {
		autofree char *path = xasprintf("%s/tree", ids->items[i]);

		stack[i] = open_beneath(root->layers, path, O_PATH | O_DIRECTORY, 0);
		if (stack[i] < 0) {
			error_errno(err, "cannot open the layer %s", ids->items[i]);
			tree_stack_close(stack, i);
			return -1;
		}
	}
	*ret = stack;
	return 0;
}

void tree_stack_close(int *stack, size_t count)
{
	for (size_t i = 0; stack && i < count; i++)
		fd_close(&stack[i]);
	free(stack);
}

/* The layer and those below it, held. 0; 1 when it is not there, or cannot be used. */
static int open_stack(const struct root *root, const char *id, struct strv *ret,
		      struct layer_holds *ret_holds, json_t **ret_description, struct error *err)
{
	__attribute__((cleanup(json_decrefp))) json_t *description = NULL;
	autoholds struct layer_holds holds = {0};
	autostrv struct strv ids = STRV_INIT;
	int result = layer_holds_open(root, id, &holds, &description, err);

	if (result != 0)
		return result;
	const json_t *stack = json_object_get(description, "stack");

	strv_add(&ids, id);
	for (size_t i = 0; i < json_array_size(stack); i++) {
		const char *below = json_string_value(json_array_get(stack, i));

		if (!below || !layer_is_id(below))
			return error_set(err, ERR_CORRUPT, "the layer %s cannot be read", id);
		result = layer_holds_add(root, below, &holds, err);
		if (result != 0)
			return result;
		strv_add(&ids, below);
	}
	*ret = ids;
	ids = (struct strv)STRV_INIT;
	layer_holds_move(&holds, ret_holds);
	if (ret_description)
		*ret_description = json_incref(description);
	return 0;
}

/* The parent. */

struct candidate {
	char *id;
	struct timespec made;
};

/* Keeps the newest, newest first. */
static void offer(struct candidate *best, const char *name, const struct stat *st)
{
	struct candidate candidate = {xstrdup(name), st->st_mtim};

	for (size_t i = 0; i < CANDIDATES; i++)
		if (!best[i].id || fingerprint_is_later(&candidate.made, &best[i].made)) {
			struct candidate moved = best[i];

			best[i] = candidate;
			candidate = moved;
		}
	free(candidate.id);
}

static int find_candidates(const struct root *root, const char *family, struct candidate *best,
			   struct error *err)
{
	int fd = open_beneath(root->layers, ".", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t len = strlen(family);
	struct stat st;

	if (!dir)
		return error_errno(err, "cannot read the layers");
	for (const struct dirent *entry; (entry = readdir(dir));)
		if (strncmp(entry->d_name, family, len) == 0 && entry->d_name[len] == '-' &&
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			offer(best, entry->d_name, &st);
	return 0;
}

static void parent_release(struct tree_parent *parent)
{
	strv_release(&parent->ids);
	layer_holds_release(&parent->holds);
	tree_diff_release(&parent->diff);
	*parent = (struct tree_parent){0};
}

#define autoparent __attribute__((cleanup(parent_release)))

/* 0; 1 when it cannot be one. */
static int try_parent(const struct tree_making *making, const char *id, struct tree_parent *ret,
		      struct error *err)
{
	__attribute__((cleanup(json_decrefp))) json_t *description = NULL;
	autoparent struct tree_parent parent = {0};
	autoerror struct error gone = ERROR_INIT;
	int result = open_stack(making->root, id, &parent.ids, &parent.holds, &description, err);

	if (result != 0)
		return result;
	const char *commit = json_string_value(json_object_get(description, "commit"));

	/* A layer may outlive its commit; and what is hostile git refuses when it reads all of it. */
	if (!commit ||
	    tree_diff(making->repository, commit, making->head->commit, &parent.diff, &gone) < 0)
		return 1;
	parent.files = (size_t)json_integer_value(json_object_get(description, "files"));
	*ret = parent;
	parent = (struct tree_parent){0};
	return 0;
}

/* The nearest of the newest. ret->ids is empty when there is none. */
static int find_parent(const struct tree_making *making, const char *family,
		       struct tree_parent *ret, struct error *err)
{
	struct candidate best[CANDIDATES] = {0};
	autoparent struct tree_parent nearest = {0};
	int result = find_candidates(making->root, family, best, err);

	for (size_t i = 0; i < CANDIDATES && best[i].id && result == 0; i++) {
		autoparent struct tree_parent parent = {0};

		if (nearest.ids.len && nearest.diff.files.count <= NEAR_ENOUGH)
			break;
		int tried = try_parent(making, best[i].id, &parent, err);

		if (tried < 0)
			result = -1;
		if (tried != 0 ||
		    (nearest.ids.len && nearest.diff.files.count <= parent.diff.files.count))
			continue;
		parent_release(&nearest);
		nearest = parent;
		parent = (struct tree_parent){0};
	}
	for (size_t i = 0; i < CANDIDATES; i++)
		free(best[i].id);
	if (result == 0) {
		*ret = nearest;
		nearest = (struct tree_parent){0};
	}
	return result;
}

/* Where there is no commit yet. */
static int make_empty(const struct tree_making *making, struct error *err)
{
	const struct index_trees none = INDEX_TREES_INIT;
	struct index_writer *writer = NULL;

	if (index_writer_open(making->layer, "base", making->sha256, 0, &writer, err) < 0 ||
	    index_writer_finish(&writer, err) < 0)
		return -1;
	return index_trees_store(&none, making->layer, "trees", making->sha256, err);
}

static int fill(const struct tree_making *making, const struct tree_parent *parent, bool *ret_delta,
		size_t *ret_files, struct error *err)
{
	/* Where git draws the git dir's mount point; it never checks out a path of this name. */
	if (mkdirat(making->tree, ".git", 0755) < 0)
		return error_errno(err, "cannot create the mount point of the git dir");
	if (!making->head->commit)
		return make_empty(making, err);
	/* Which files an attribute decides about git would have to tell. */
	if (!parent->ids.len || parent->diff.attributes)
		return tree_make_full(making, NULL, ret_files, err);
	if (parent->ids.len >= DEPTH_MAX ||
	    parent->diff.files.count * DELTA_SHARE > parent->files) {
		if (git_link_fetched(making->root, &parent->ids, making->layer, err) < 0)
			return -1;
		return tree_make_full(making, parent, ret_files, err);
	}
	*ret_delta = true;
	return tree_make_delta(making, parent, ret_files, err);
}

static int make(struct tree_making *making, struct layer_making *layer, const char *family,
		struct error *err)
{
	autoparent struct tree_parent parent = {0};
	autofd int tree = -1;
	autofd int host = open(making->repository->top, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct strv none = STRV_INIT;
	bool delta = false;
	size_t files = 0;

	if (host < 0)
		return error_errno(err, "cannot open %s", making->repository->top);
	if ((making->head->commit && !making->sparse &&
	     find_parent(making, family, &parent, err) < 0) ||
	    dir_make_at(layer->fd, "tree", 0755, &tree, err) < 0)
		return -1;
	making->layer = layer->fd;
	making->tree = tree;
	making->host = host;
	if (fill(making, &parent, &delta, &files, err) < 0)
		return -1;
	return layer_finish(layer,
			    json_pack("{s:i,s:s,s:s?,s:I,s:o}", "version", 2, "kind",
				      delta ? "delta" : "tree", "commit", making->head->commit,
				      "files", (json_int_t)files, "stack",
				      json_strings(delta ? &parent.ids : &none)),
			    err);
}

/* What cannot be understood git has complained about, or will. */
static bool is_set(const struct config *settings, const char *key, bool usually)
{
	bool value = usually;

	return config_bool(settings, key, usually, &value, NULL) == 0 ? value : usually;
}

/* A layer whose layers below are gone is of no use to anyone. */
static int discard_stale(const struct root *root, const char *id, struct error *err)
{
	autofd int fd = open_beneath(root->layers, id, O_RDONLY | O_DIRECTORY, 0);
	int busy = fd < 0 ? 1 : lock_directory_try(fd, err);

	if (busy < 0)
		return -1;
	return busy ? 0 : root_discard(root, root->layers, id, err);
}

int tree_layers(const struct root *root, const struct repository *repository,
		const struct repository_head *head, const struct config *settings,
		const struct progress *progress, struct strv *ret, struct layer_holds *holds,
		struct error *err)
{
	enum { TRIES = 3 };
	autofree char *family = family_of(repository, settings);
	autofree char *id = layer_id(family, head->commit);
	struct tree_making making = {
		.root = root,
		.repository = repository,
		.head = head,
		.sha256 = strcmp(head->format, "sha256") == 0,
		.sparse = is_set(settings, "core.sparsecheckout", false),
		.modes_differ = !is_set(settings, "core.filemode", true),
		.progress = progress,
	};

	for (int i = 0; i < TRIES; i++) {
		automaking struct layer_making layer = LAYER_MAKING_INIT;
		int result = open_stack(root, id, ret, holds, NULL, err);

		if (result <= 0)
			return result;
		result = layer_begin(root, id, &layer, err);
		if (result < 0 || (result == 1 && discard_stale(root, id, err) < 0))
			return -1;
		if (result == 0 && make(&making, &layer, family, err) < 0)
			return error_wrap(err, "cannot prepare the files of %s", repository->top);
	}
	return error_set(err, ERR_UNSTABLE, "the layer %s keeps being removed", id);
}
