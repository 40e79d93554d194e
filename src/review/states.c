#include "review/states.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "review/copy.h"
#include "review/parts.h"
#include "review/still.h"
#include "store/collect.h"
#include "view/view.h"

/* A layer. */

static char *new_id(void)
{
	uint64_t random;

	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		abort(); /* cannot happen for so few bytes (getrandom(2)) */
	return xasprintf("state-%016llx", (unsigned long long)random);
}

typedef int fill_part(const struct sandbox *sandbox, int tree, const char *part, struct error *err);

static int fill(const struct sandbox *sandbox, const struct strv *parts, fill_part *fill_one,
		const struct layer_making *making, struct error *err)
{
	autofd int tree = -1;

	if (dir_make_at(making->fd, "tree", 0700, &tree, err) < 0)
		return -1;
	for (size_t i = 0; i < parts->len; i++)
		if (fill_one(sandbox, tree, parts->items[i], err) < 0)
			return error_wrap(err, "%s of %s", parts->items[i], sandbox->name);
	return 0;
}

/* `lasting`: it is on the disk as well as what it is made from. */
static int make_layer(const struct root *root, const struct sandbox *sandbox,
		      const struct strv *parts, fill_part *fill_one, bool lasting, char **ret_id,
		      struct layer_holds *holds, struct error *err)
{
	for (;;) {
		automaking struct layer_making making = LAYER_MAKING_INIT;
		autofree char *id = new_id();
		int result = layer_begin(root, id, &making, err);

		if (result < 0)
			return -1;
		if (result == 1)
			continue;
		making.lasting = lasting;
		if (fill(sandbox, parts, fill_one, &making, err) < 0 ||
		    layer_finish(&making, json_pack("{s:s}", "kind", "state"), err) < 0)
			return -1;
		result = layer_holds_add(root, id, holds, err);
		if (result < 0)
			return -1;
		/* Somebody has removed it in between, as long as nobody held it. */
		if (result == 1)
			continue;
		*ret_id = steal_ptr(&id);
		return 0;
	}
}

static void put_first(struct strv *states, const char *id)
{
	struct strv fresh = STRV_INIT;

	strv_add(&fresh, id);
	strv_add_all(&fresh, states);
	strv_release(states);
	*states = fresh;
}

static int check_count(const struct sandbox *sandbox, size_t max, struct error *err)
{
	if (sandbox->states.len < max)
		return 0;
	error_set(err, ERR_LIMIT, "the sandbox %s stands on %zu states, and more cannot be had",
		  sandbox->name, sandbox->states.len);
	return error_hint(err,
			  "bring its work to the host (`jib persist %s`) and go on in a new one",
			  sandbox->name);
}

/* Of a sandbox that does not run. */

static int exchange_names(const struct sandbox *sandbox, const char *upper, int tree,
			  const char *part)
{
	return (int)syscall(SYS_renameat2, sandbox->fd, upper, tree, part, RENAME_EXCHANGE);
}

static int exchange(const struct sandbox *sandbox, int tree, const char *part, struct error *err)
{
	autofree char *upper = part_path(part);
	autofd int fd = open_beneath(sandbox->fd, upper, O_PATH | O_DIRECTORY, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "cannot open %s", upper);
	if (exchange_names(sandbox, upper, tree, part) == 0)
		return 0;
	if (errno != EACCES)
		return error_errno(err, "cannot turn %s into a layer", upper);
	/* A directory that gets another parent is written to; its mode was chosen inside. */
	autofd int empty = open_beneath(tree, part, O_PATH | O_DIRECTORY, 0);
	int result = 0;

	if (empty < 0 || chmod(fd_path(empty).s, 0700) < 0 || chmod(fd_path(fd).s, 0700) < 0 ||
	    exchange_names(sandbox, upper, tree, part) < 0)
		result = error_errno(err, "cannot turn %s into a layer", upper);
	if (empty >= 0)
		chmod(fd_path(empty).s, st.st_mode & 07777);
	if (chmod(fd_path(fd).s, st.st_mode & 07777) < 0 && result == 0)
		result = error_errno(err, "cannot close %s", upper);
	return result;
}

/* One exchange is one change of the file system: with the layer's directory the sandbox's is synced. */
static int sync_parent(int tree, const char *part, struct error *err)
{
	const char *slash = strrchr(part, '/');
	autofree char *parent = slash ? xstrndup(part, (size_t)(slash - part)) : xstrdup(".");
	autofd int fd = open_beneath(tree, parent, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0 || fsync(fd) < 0)
		return error_errno(err, "cannot sync %s", parent);
	return 0;
}

static int exchange_all(const struct root *root, const struct sandbox *sandbox, const char *id,
			const struct strv *parts, struct error *err)
{
	autofree char *path = xasprintf("%s/tree", id);
	autofd int tree = open_beneath(root->layers, path, O_RDONLY | O_DIRECTORY, 0);

	if (tree < 0)
		return error_errno(err, "cannot open the layer %s", id);
	for (size_t i = 0; i < parts->len; i++)
		if (exchange(sandbox, tree, parts->items[i], err) < 0)
			return -1;
	for (size_t i = 0; i < parts->len && !sandbox->is_volatile; i++)
		if (sync_parent(tree, parts->items[i], err) < 0)
			return -1;
	return 0;
}

/* One that no record names after all. */
static void drop_layer(const struct root *root, const char *id, struct layer_holds *holds)
{
	autocollection struct collection collection = {0};
	autostrv struct strv ids = STRV_INIT;
	autoerror struct error ignored = ERROR_INIT;

	layer_holds_release(holds);
	strv_add(&ids, id);
	collect(root, &ids, false, &collection, &ignored);
}

int states_push(const struct root *root, struct sandbox *sandbox, size_t max, struct error *err)
{
	autostrv struct strv parts = STRV_INIT;
	autoholds struct layer_holds holds = {0};
	autofree char *id = NULL;

	if (parts_filled(root, sandbox, &parts, err) < 0)
		return -1;
	if (!parts.len)
		return 0;
	if (check_count(sandbox, max, err) < 0 ||
	    make_layer(root, sandbox, &parts, part_make, true, &id, &holds, err) < 0)
		return -1;
	put_first(&sandbox->states, id);
	if (sandbox_rewrite(sandbox, err) < 0) {
		drop_layer(root, id, &holds);
		return -1;
	}
	/* From here on it can stop anywhere: the sandbox shows the same. */
	return exchange_all(root, sandbox, id, &parts, err);
}

/* Of one that runs. */

static int copy_part(const struct sandbox *sandbox, int tree, const char *part, struct error *err)
{
	autofree char *path = part_path(part);
	autofd int upper = open_beneath(sandbox->fd, path, O_PATH | O_DIRECTORY, 0);
	autofd int made = -1;

	if (upper < 0)
		return error_errno(err, "cannot open %s", path);
	if (dir_make_path_at(tree, part, 0700, &made, err) < 0 ||
	    copy_upper(upper, made, str_starts(part, "git/"), err) < 0)
		return -1;
	return copy_look(upper, made, true, err);
}

/* 1 when it was not still until all was copied. */
static int copy_state(const struct root *root, const struct sandbox *sandbox, int *keep,
		      struct strv *ret, struct layer_holds *holds, struct error *err)
{
	autostrv struct strv parts = STRV_INIT;
	autofree char *id = NULL;
	int result = parts_filled(root, sandbox, &parts, err);

	if (result == 0 && parts.len) {
		result = check_count(sandbox, STATES_MAX, err);
		if (result == 0)
			result = make_layer(root, sandbox, &parts, copy_part, false, &id, holds,
					    err);
	}
	if (!is_still(*keep)) {
		if (id)
			drop_layer(root, id, holds);
		error_clear(err);
		return 1;
	}
	if (result < 0)
		return -1;
	/* It goes on while the copy is synced. */
	fd_close(keep);
	if (id) {
		strv_add(ret, id);
		strv_add_all(ret, &sandbox->states);
		return sandbox->is_volatile ? 0
					    : layer_settle(root, (char *const[]){id, NULL}, err);
	}
	strv_add_all(ret, &sandbox->states);
	return 0;
}

/* 1 when it has to be tried again. */
static int take(const struct root *root, struct sandbox *sandbox, struct strv *ret,
		struct layer_holds *holds, int *ret_keep, bool *ret_running, struct error *err)
{
	autofd int keep = -1;
	bool frozen = false;

	/* Before anything is held up; and again, because it may be mounted meanwhile. */
	if (refuse_mounted(sandbox, err) < 0 ||
	    hold_still(root, sandbox, &keep, &frozen, err) < 0 || refuse_mounted(sandbox, err) < 0)
		return -1;
	int result = frozen ? copy_state(root, sandbox, &keep, ret, holds, err)
			    : states_push(root, sandbox, STATES_MAX, err);

	if (result != 0)
		return result;
	if (!frozen)
		strv_add_all(ret, &sandbox->states);
	*ret_running = frozen;
	*ret_keep = steal_fd(&keep);
	return 0;
}

int states_take(const struct root *root, struct sandbox *sandbox, struct strv *ret,
		struct layer_holds *ret_holds, int *ret_keep, bool *ret_running, struct error *err)
{
	enum { TRIES = 10 };
	autoholds struct layer_holds holds = {0};

	for (int i = 0; i < TRIES; i++) {
		int result = take(root, sandbox, ret, &holds, ret_keep, ret_running, err);

		if (result < 0)
			return -1;
		if (result == 1)
			continue;
		*ret_holds = holds;
		holds = (struct layer_holds){0};
		return 0;
	}
	return error_set(err, ERR_UNSTABLE, "the sandbox %s was stopped whenever it was copied",
			 sandbox->name);
}
