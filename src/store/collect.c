#include "store/collect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "store/layer.h"
#include "store/sandbox.h"

/* So many are locked at once, each with an open file. */
enum { CHUNK = 128 };

void collection_release(struct collection *collection)
{
	for (size_t i = 0; i < collection->count; i++) {
		free(collection->items[i].id);
		free(collection->items[i].kept);
	}
	free(collection->items);
	*collection = (struct collection){0};
}

static struct collected *add_item(struct collection *collection, const char *id)
{
	collection->items =
		xreallocarray(collection->items, collection->count + 1, sizeof *collection->items);
	struct collected *item = &collection->items[collection->count++];

	*item = (struct collected){.id = xstrdup(id)};
	return item;
}

/* Names that begin with a dot are not layers. */
static int list_layers(const struct root *root, struct strv *ret, struct error *err)
{
	int fd = open_beneath(root->layers, ".", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		return error_errno(err, "cannot read %s/.layers", root->path);
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);

		if (!entry)
			return errno ? error_errno(err, "cannot read %s/.layers", root->path) : 0;
		if (layer_is_id(entry->d_name))
			strv_add(ret, entry->d_name);
	}
}

/* Who uses what: a set of ids, as the keys of an object. */

static void use(json_t *used, const char *id, struct strv *ret_new)
{
	if (json_object_get(used, id))
		return;
	/* Fails for what is not UTF-8, which cannot stand in a record either. */
	if (json_object_set_new(used, id, json_true()) == 0)
		strv_add(ret_new, id);
}

/* 0; 1 when it is gone. */
static int use_sandbox(const struct root *root, const char *name, json_t *used,
		       struct strv *ret_new, struct error *err)
{
	enum { TRIES = 3 };

	/* While one is removed, and another one of its name made, it can look broken. */
	for (int i = 1;; i++) {
		autosandbox struct sandbox sandbox = SANDBOX_INIT;
		autostrv struct strv ids = STRV_INIT;
		autoerror struct error failure = ERROR_INIT;

		if (sandbox_open(root, name, &sandbox, &failure) == 0) {
			sandbox_layers(&sandbox, &ids);
			for (size_t k = 0; k < ids.len; k++)
				use(used, ids.items[k], ret_new);
			return 0;
		}
		if (failure.code == ERR_NOT_FOUND ||
		    (faccessat(root->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT))
			return 1;
		if (i < TRIES)
			continue;
		error_set(err, ERR_CORRUPT, "no layer is removed: %s", failure.message);
		return failure.hint ? error_hint(err, "%s", failure.hint) : -1;
	}
}

/* Adds what the layers name, which are used already; and what that names. */
static int use_named(const struct root *root, struct strv *ids, json_t *used, struct error *err)
{
	/* It grows meanwhile. */
	for (size_t i = 0; i < ids->len; i++) {
		autostrv struct strv references = STRV_INIT;

		if (layer_references(root, ids->items[i], &references, err) < 0)
			return error_wrap(err, "no layer is removed");
		for (size_t k = 0; k < references.len; k++)
			use(used, references.items[k], ids);
	}
	return 0;
}

/* Adds what the sandboxes use. */
static int use_recorded(const struct root *root, const struct strv *without, json_t *used,
			struct error *err)
{
	autostrv struct strv names = STRV_INIT;
	autostrv struct strv found = STRV_INIT;

	if (sandbox_names(root, &names, err) < 0)
		return -1;
	for (size_t i = 0; i < names.len; i++)
		if (!(without && strv_holds(without, names.items[i])) &&
		    use_sandbox(root, names.items[i], used, &found, err) < 0)
			return -1;
	return use_named(root, &found, used, err);
}

/* Removal. */

struct collecting {
	const struct root *root;
	bool dry_run;
	const struct strv *without; /* sandboxes that are taken for gone; or NULL */
	struct collection *result;
	/* In .tmp, locked: layers that are gone for everyone, until they are deleted. */
	char *grave_name;
	int grave;
};

static int count_freed(void *data, int dirfd, const char *name, const char *path,
		       const struct stat *st)
{
	uint64_t *bytes = data;

	(void)dirfd;
	(void)name;
	(void)path;
	if (S_ISDIR(st->st_mode) || st->st_nlink == 1)
		*bytes += (uint64_t)st->st_blocks * 512;
	return S_ISDIR(st->st_mode) && (st->st_mode & 0500) != 0500 ? TREE_SKIP : 0;
}

static uint64_t measure(int dirfd, const char *name)
{
	autofd int fd = open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0);
	uint64_t bytes = 0;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0) {
		count_freed(&bytes, dirfd, name, name, &st);
		tree_walk(fd, count_freed, &bytes, NULL);
	}
	return bytes;
}

/* On a disk without space for a grave: who waits for the layer's lock waits for all of it. */
static int delete_at_once(struct collecting *c, const char *id, struct error *err)
{
	uint64_t bytes = measure(c->root->layers, id);

	if (root_discard(c->root, c->root->layers, id, err) < 0)
		return -1;
	add_item(c->result, id)->bytes = bytes;
	return 0;
}

/* Takes a layer that is locked out of .layers. Who waits for its lock then finds it gone. */
static int bury(struct collecting *c, const char *id, struct error *err)
{
	autoerror struct error failure = ERROR_INIT;

	if (!c->grave_name &&
	    root_make_temp(c->root, "gone", &c->grave_name, &c->grave, &failure) < 0)
		return delete_at_once(c, id, err);
	if (renameat(c->root->layers, id, c->grave, id) < 0)
		return error_errno(err, "cannot remove the layer %s", id);
	add_item(c->result, id)->buried = true;
	return 0;
}

static int discard_locked(struct collecting *c, const char *id, int fd, const json_t *used,
			  struct error *err)
{
	if (json_object_get(used, id) || !lock_still_named(c->root->layers, id, fd))
		return 0;
	if (!c->dry_run)
		return bury(c, id, err);
	add_item(c->result, id);
	return 0;
}

/* 0, 1 when somebody holds it, 2 when it is gone or cannot be opened. */
static int lock_candidate(struct collecting *c, const char *id, int *ret_fd, struct error *err)
{
	*ret_fd = open_beneath(c->root->layers, id, O_RDONLY | O_DIRECTORY, 0);
	if (*ret_fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 2;
	if (*ret_fd < 0 && errno == EACCES) {
		add_item(c->result, id)->kept = xstrdup("it cannot be opened");
		return 2;
	}
	if (*ret_fd < 0)
		return error_errno(err, "cannot open the layer %s", id);
	int result = lock_directory_try(*ret_fd, err);

	if (result != 0)
		fd_close(ret_fd);
	return result;
}

/* What somebody holds is used too: perhaps there is no record of it yet. */
static int use_held(struct collecting *c, const struct strv *held, json_t *used, struct error *err)
{
	autostrv struct strv found = STRV_INIT;

	for (size_t i = 0; i < held->len; i++)
		use(used, held->items[i], &found);
	for (size_t i = 0; i < found.len; i++)
		add_item(c->result, found.items[i])->kept = xstrdup("in use");
	return use_named(c->root, &found, used, err);
}

static int collect_chunk(struct collecting *c, char *const *ids, size_t count, struct error *err)
{
	autostrv struct strv held = STRV_INIT;
	json_t *used = json_object();
	int fds[CHUNK];
	int result = 0;

	for (size_t i = 0; i < count; i++)
		fds[i] = -1;
	for (size_t i = 0; i < count && result >= 0; i++) {
		result = lock_candidate(c, ids[i], &fds[i], err);
		if (result == 1)
			strv_add(&held, ids[i]);
	}
	/* Only now: who came in between has found them locked. */
	if (result >= 0)
		result = use_recorded(c->root, c->without, used, err);
	if (result == 0)
		result = use_held(c, &held, used, err);
	for (size_t i = 0; i < count && result == 0; i++)
		if (fds[i] >= 0)
			result = discard_locked(c, ids[i], fds[i], used, err);
	for (size_t i = 0; i < count; i++)
		fd_close(&fds[i]);
	json_decref(used);
	return result;
}

/* What is unused at a first look; only that is locked. */
static int find_candidates(const struct collecting *c, const struct strv *only, struct strv *ret,
			   struct error *err)
{
	autostrv struct strv all = STRV_INIT;
	json_t *seen = json_object();
	int result = only ? 0 : list_layers(c->root, &all, err);

	if (result == 0)
		result = use_recorded(c->root, c->without, seen, err);
	if (!only)
		only = &all;
	for (size_t i = 0; result == 0 && i < only->len; i++)
		use(seen, only->items[i], ret);
	json_decref(seen);
	return result;
}

static int compare_items(const void *a, const void *b)
{
	return strcmp(((const struct collected *)a)->id, ((const struct collected *)b)->id);
}

/* A failure does not bring a layer back: a sweep goes on with it. */
static void delete_buried(struct collecting *c, struct collected *item)
{
	autoerror struct error failure = ERROR_INIT;

	item->bytes = measure(c->grave, item->id);
	if (tree_remove_at(c->grave, item->id, &failure) < 0)
		item->kept = xstrdup(failure.message);
}

/* What takes long, while nobody waits for it: the layers are out of .layers. */
static void finish(struct collecting *c)
{
	for (size_t i = 0; i < c->result->count; i++) {
		struct collected *item = &c->result->items[i];

		if (item->buried)
			delete_buried(c, item);
		else if (c->dry_run && !item->kept)
			item->bytes = measure(c->root->layers, item->id);
	}
	if (c->grave_name)
		tree_remove_at(c->root->temp, c->grave_name, NULL);
	free(steal_ptr(&c->grave_name));
	fd_close(&c->grave);
}

static int run(struct collecting *c, const struct strv *only, struct error *err)
{
	autostrv struct strv candidates = STRV_INIT;
	autofd int lock = -1;

	if (root_lock_collecting(c->root, &lock, err) < 0)
		return -1;
	int status = find_candidates(c, only, &candidates, err);

	for (size_t i = 0; status == 0 && i < candidates.len; i += CHUNK) {
		size_t left = candidates.len - i;

		status = collect_chunk(c, candidates.items + i, left < CHUNK ? left : CHUNK, err);
	}
	fd_close(&lock);
	if (c->result->count)
		qsort(c->result->items, c->result->count, sizeof *c->result->items, compare_items);
	finish(c);
	return status;
}

int collect(const struct root *root, const struct strv *only, bool dry_run, struct collection *ret,
	    struct error *err)
{
	autocollection struct collection result = {0};
	struct collecting c = {.root = root, .dry_run = dry_run, .result = &result, .grave = -1};

	if (root->fd >= 0 && !(only && only->len == 0) && run(&c, only, err) < 0)
		return -1;
	*ret = result;
	result = (struct collection){0};
	return 0;
}

int collect_without(const struct root *root, const struct strv *without, struct collection *ret,
		    struct error *err)
{
	autocollection struct collection result = {0};
	struct collecting c = {
		.root = root, .dry_run = true, .without = without, .result = &result, .grave = -1};

	if (root->fd >= 0 && run(&c, NULL, err) < 0)
		return -1;
	*ret = result;
	result = (struct collection){0};
	return 0;
}
