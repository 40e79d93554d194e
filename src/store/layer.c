#include "store/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/str.h"

enum { DESCRIPTION_MAX = 1 << 20 };

const char *boot_id(void)
{
	static char id[64];

	if (!id[0]) {
		autofd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, id, sizeof id - 1);

		/* Without it layers are settled when they are made: safe, only slower. */
		if (n <= 0)
			return "unknown";
		id[strcspn(id, "\n")] = '\0';
	}
	return id;
}

bool layer_is_settled(const json_t *description)
{
	return !json_object_get(description, "boot");
}

static bool usable(const json_t *description)
{
	const char *boot = json_string_value(json_object_get(description, "boot"));

	return !boot || (strcmp(boot, boot_id()) == 0 && strcmp(boot, "unknown") != 0);
}

bool layer_is_id(const char *text)
{
	return *text && !strchr(text, '/') && text[0] != '.';
}

/* Usable or not. 1 when there is none. */
static int open_described(const struct root *root, const char *id, json_t **ret_description,
			  int *ret_fd, struct error *err)
{
	autostr struct str text = STR_INIT;
	autofd int fd = open_beneath(root->layers, id, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0 && errno == ENOENT)
		return 1;
	if (fd < 0)
		return error_errno(err, "cannot open the layer %s", id);
	/* Damage: it can only be made anew. */
	if (faccessat(fd, "layer.json", F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 1;
	if (file_read_at(fd, "layer.json", DESCRIPTION_MAX, &text, err) < 0)
		return error_wrap(err, "layer %s", id);
	/* What a power cut leaves of a description that was not synced. A settled one was. */
	if (text.len == 0)
		return 1;
	json_t *description = json_loadb(text.s, text.len, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_object(description)) {
		json_decref(description);
		error_set(err, ERR_CORRUPT, "the layer %s cannot be read", id);
		return error_hint(err, "remove %s/.layers/%s; it is made anew from the repository",
				  root->path, id);
	}
	*ret_description = description;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int layer_open(const struct root *root, const char *id, json_t **ret_description, int *ret_fd,
	       struct error *err)
{
	json_t *description = NULL;
	autofd int fd = -1;
	int result = open_described(root, id, &description, &fd, err);

	if (result != 0)
		return result;
	if (!usable(description)) {
		json_decref(description);
		return 1;
	}
	*ret_description = description;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int hold(const struct root *root, const char *id, json_t **ret_description, int *ret_fd,
		struct error *err)
{
	for (;;) {
		json_t *description = NULL;
		autofd int fd = -1;
		int result = layer_open(root, id, &description, &fd, err);

		if (result != 0)
			return result;
		/* Its maker, or who is about to discard it, lets go of it at any moment. */
		if (lock_directory_shared(fd, err) < 0) {
			json_decref(description);
			return error_wrap(err, "layer %s", id);
		}
		if (!lock_still_named(root->layers, id, fd)) {
			json_decref(description);
			continue;
		}
		*ret_description = description;
		*ret_fd = steal_fd(&fd);
		return 0;
	}
}

int layer_hold(const struct root *root, const char *id, int *ret_fd, struct error *err)
{
	json_t *description = NULL;
	int result = hold(root, id, &description, ret_fd, err);

	json_decref(description);
	return result;
}

int layer_holds_open(const struct root *root, const char *id, struct layer_holds *holds,
		     json_t **ret_description, struct error *err)
{
	int fd = -1;
	int result = hold(root, id, ret_description, &fd, err);

	if (result != 0)
		return result;
	holds->fds = xreallocarray(holds->fds, holds->count + 1, sizeof *holds->fds);
	holds->fds[holds->count++] = fd;
	return 0;
}

int layer_holds_add(const struct root *root, const char *id, struct layer_holds *holds,
		    struct error *err)
{
	json_t *description = NULL;
	int result = layer_holds_open(root, id, holds, &description, err);

	json_decref(description);
	return result;
}

void layer_holds_move(struct layer_holds *from, struct layer_holds *to)
{
	if (from->count == 0)
		return;
	to->fds = xreallocarray(to->fds, to->count + from->count, sizeof *to->fds);
	memcpy(to->fds + to->count, from->fds, from->count * sizeof *to->fds);
	to->count += from->count;
	free(from->fds);
	*from = (struct layer_holds){0};
}

void layer_holds_release(struct layer_holds *holds)
{
	for (size_t i = 0; i < holds->count; i++)
		fd_close(&holds->fds[i]);
	free(holds->fds);
	*holds = (struct layer_holds){0};
}

static void add_reference(const json_t *value, struct strv *ret)
{
	const char *id = json_string_value(value);

	if (id && layer_is_id(id))
		strv_add(ret, id);
}

int layer_references(const struct root *root, const char *id, struct strv *ret, struct error *err)
{
	static const char *const keys[] = {"tree", "stack", "parent", "layers"};
	json_t *description = NULL;
	autofd int fd = -1;
	int result = open_described(root, id, &description, &fd, err);

	if (result != 0)
		return result < 0 ? -1 : 0;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const json_t *value = json_object_get(description, keys[i]);

		add_reference(value, ret);
		for (size_t k = 0; k < json_array_size(value); k++)
			add_reference(json_array_get(value, k), ret);
	}
	json_decref(description);
	return 0;
}

/* One of an earlier boot that may be torn, or one without a description. */
static int discard_torn(const struct root *root, const char *id, struct error *err)
{
	autofd int held = open_beneath(root->layers, id, O_RDONLY | O_DIRECTORY, 0);
	autofd int collecting = -1;
	int busy = held < 0 ? 0 : lock_directory_try(held, err);

	/* Perhaps only until a collector has looked at it, or has removed it. */
	if (busy == 1) {
		if (root_lock_collecting(root, &collecting, err) < 0)
			return -1;
		busy = lock_directory_try(held, err);
	}
	if (busy < 0)
		return -1;
	if (busy) {
		error_set(err, ERR_RUNNING, "the layer %s must be made anew, and is in use", id);
		return error_hint(err, "`jib ls` tells which sandboxes run; stop them first");
	}
	return root_discard(root, root->layers, id, err);
}

int layer_begin(const struct root *root, const char *id, struct layer_making *ret,
		struct error *err)
{
	automaking struct layer_making making = LAYER_MAKING_INIT;
	autofree char *lock_name = xasprintf("%s.lock", id);
	json_t *description = NULL;
	autofd int existing = -1;

	making.root = root;
	making.id = xstrdup(id);
	if (lock_named(root->temp, lock_name, &making.lock, err) < 0)
		return -1;
	int result = layer_open(root, id, &description, &existing, err);

	json_decref(description);
	if (result < 0)
		return -1;
	if (result == 0)
		return 1;
	if (discard_torn(root, id, err) < 0)
		return -1;
	if (root_make_temp(root, "layer", &making.temp, &making.fd, err) < 0)
		return -1;
	*ret = making;
	making = (struct layer_making)LAYER_MAKING_INIT;
	return 0;
}

static int write_description(int fd, json_t *description, bool durable, struct error *err)
{
	autofree char *text = json_dumps(description, JSON_INDENT(2) | JSON_SORT_KEYS);

	if (!text)
		return error_set(err, ERR_CORRUPT,
				 "a layer cannot be described: a path or value "
				 "of the repository is not valid UTF-8");
	return file_replace_at(fd, "layer.json", text, strlen(text), 0600, durable, err);
}

int layer_finish(struct layer_making *making, json_t *description, struct error *err)
{
	/* Where the boots cannot be told apart a layer that waits to be settled would be torn. */
	bool known = strcmp(boot_id(), "unknown") != 0;
	bool settled = making->lasting || !known;

	if (!known && syncfs(making->fd) < 0) {
		json_decref(description);
		return error_errno(err, "cannot sync the layer %s", making->id);
	}
	if (!settled)
		json_object_set_new(description, "boot", json_string(boot_id()));
	int result = write_description(making->fd, description, settled, err);

	json_decref(description);
	if (result < 0)
		return -1;
	if (syscall(SYS_renameat2, making->root->temp, making->temp, making->root->layers,
		    making->id, RENAME_NOREPLACE) < 0)
		return error_errno(err, "cannot put the layer %s in place", making->id);
	if (settled && fsync(making->root->layers) < 0)
		return error_errno(err, "cannot sync the layer %s", making->id);
	free(steal_ptr(&making->temp));
	layer_abort(making);
	return 0;
}

void layer_abort(struct layer_making *making)
{
	struct error ignored = ERROR_INIT;

	if (making->temp)
		tree_remove_at(making->root->temp, making->temp, &ignored);
	error_clear(&ignored);
	if (making->lock >= 0) {
		autofree char *lock_name = xasprintf("%s.lock", making->id);

		lock_named_release(making->root->temp, lock_name, &making->lock);
	}
	fd_close(&making->fd);
	free(making->temp);
	free(making->id);
	*making = (struct layer_making)LAYER_MAKING_INIT;
}

/* By way of .tmp: what a crash leaves there is swept, in a layer it would stay for ever. */
static int replace_description(const struct root *root, int fd, json_t *description,
			       struct error *err)
{
	autofree char *temp = NULL;
	autofd int staging = -1;

	if (root_make_temp(root, "layer", &temp, &staging, err) < 0)
		return -1;
	int result = write_description(staging, description, true, err);

	if (result == 0 && (renameat(staging, "layer.json", fd, "layer.json") < 0 || fsync(fd) < 0))
		result = error_errno(err, "cannot mark a layer as lasting");
	tree_remove_at(root->temp, temp, NULL);
	return result;
}

int layer_settle(const struct root *root, char *const *ids, struct error *err)
{
	bool synced = false;

	for (; ids && *ids; ids++) {
		json_t *description = NULL;
		autofd int fd = -1;
		int result = layer_open(root, *ids, &description, &fd, err);

		if (result < 0)
			return -1;
		if (result == 1)
			return error_set(err, ERR_CORRUPT, "the layer %s is gone or torn", *ids);
		if (layer_is_settled(description)) {
			json_decref(description);
			continue;
		}
		if (!synced && syncfs(root->fd) < 0) {
			json_decref(description);
			return error_errno(err, "cannot sync %s", root->path);
		}
		synced = true;
		json_object_del(description, "boot");
		result = replace_description(root, fd, description, err);
		json_decref(description);
		if (result < 0)
			return -1;
	}
	return 0;
}
