#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "review/copy.h"
#include "review/parts.h"
#include "review/states.h"
#include "run/lifetime.h"
#include "store/name.h"
#include "view/view.h"

/* Who changes the states of a sandbox: one at a time, also while it is running. */
struct change {
	const struct root *root;
	struct sandbox sandbox; /* opened with the lock: nobody replaces its record */
	char *lock_name;
	int lock;
	/* Its present state, from change_take(). */
	struct strv states;
	struct layer_holds holds;
	int keep;
	bool running;
};

#define CHANGE_INIT                                              \
	{                                                        \
		.sandbox = SANDBOX_INIT, .lock = -1, .keep = -1, \
	}

static void change_end(struct change *change)
{
	fd_close(&change->keep);
	layer_holds_release(&change->holds);
	strv_release(&change->states);
	sandbox_release(&change->sandbox);
	if (change->lock >= 0)
		lock_named_release(change->root->temp, change->lock_name, &change->lock);
	free(change->lock_name);
}
#define autochange __attribute__((cleanup(change_end)))

static int change_begin(const struct root *root, const char *name, struct change *change,
			struct error *err)
{
	/* Before anything is made for it: that there is such a sandbox, and that it is whole. */
	if (sandbox_open(root, name, &change->sandbox, err) < 0)
		return -1;
	change->root = root;
	change->lock_name = xasprintf("states-%s.lock", name);
	if (lock_named(root->temp, change->lock_name, &change->lock, err) < 0)
		return -1;
	sandbox_release(&change->sandbox);
	return sandbox_open(root, name, &change->sandbox, err);
}

static int change_take(struct change *change, struct error *err)
{
	return states_take(change->root, &change->sandbox, &change->states, &change->holds,
			   &change->keep, &change->running, err);
}

/* Fork. */

/* The uppers are empty, but they show what their sandbox made of the directory itself. */
static int copy_looks(const struct sandbox *from, const struct sandbox *to, struct error *err)
{
	autostrv struct strv parts = STRV_INIT;

	parts_list(to, &parts);
	for (size_t i = 0; i < parts.len; i++) {
		autofree char *path = part_path(parts.items[i]);
		autofd int source = open_beneath(from->fd, path, O_PATH | O_DIRECTORY, 0);
		autofd int target = open_beneath(to->fd, path, O_PATH | O_DIRECTORY, 0);

		/* One that was made to be discarded has no home. */
		if (source < 0 && errno == ENOENT)
			continue;
		if (source < 0 || target < 0)
			return error_errno(err, "cannot open %s", path);
		if (copy_look(source, target, false, err) < 0)
			return error_wrap(err, "%s", path);
	}
	return 0;
}

static void forget_checkpoints(struct sandbox *sandbox)
{
	struct sandbox rest = {
		.fd = -1,
		.checkpoints = sandbox->checkpoints,
		.checkpoint_count = sandbox->checkpoint_count,
	};

	sandbox->checkpoints = NULL;
	sandbox->checkpoint_count = 0;
	sandbox_release(&rest);
}

static int create_fork(const struct change *change, const char *new_name, struct error *err)
{
	autosandbox struct sandbox fork = SANDBOX_INIT;
	autostrv struct strv layers = STRV_INIT;

	/* The record once more: its own copy. */
	if (sandbox_open(change->root, change->sandbox.name, &fork, err) < 0)
		return -1;
	free(fork.name);
	fork.name = xstrdup(new_name);
	forget_checkpoints(&fork);
	strv_release(&fork.states);
	strv_add_all(&fork.states, &change->states);
	sandbox_layers(&fork, &layers);
	if (layer_settle(change->root, layers.items, err) < 0 ||
	    sandbox_create(change->root, &fork, !fork.is_volatile, NULL, err) < 0)
		return -1;
	if (copy_looks(&change->sandbox, &fork, err) == 0)
		return 0;
	sandbox_remove(change->root, new_name, NULL);
	return error_wrap(err, "cannot create the sandbox %s", new_name);
}

int states_fork(const struct root *root, const char *name, const char *new_name, struct error *err)
{
	autochange struct change change = CHANGE_INIT;

	if (name_check(new_name, err) < 0 || change_begin(root, name, &change, err) < 0)
		return -1;
	if (faccessat(root->fd, new_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return error_set(err, ERR_EXISTS, "there is a sandbox %s already", new_name);
	if (change_take(&change, err) < 0)
		return -1;
	return create_fork(&change, new_name, err);
}

/* Checkpoint and rollback. */

int states_checkpoint(const struct root *root, const char *name, const char *message,
		      unsigned int *ret_number, struct error *err)
{
	autochange struct change change = CHANGE_INIT;

	if (change_begin(root, name, &change, err) < 0 || change_take(&change, err) < 0)
		return -1;
	struct checkpoint *checkpoint = sandbox_add_checkpoint(&change.sandbox, message);

	strv_release(&checkpoint->states);
	strv_add_all(&checkpoint->states, &change.states);
	if (sandbox_rewrite(&change.sandbox, err) < 0)
		return -1;
	*ret_number = checkpoint->number;
	return 0;
}

/* Its index; the count when there is none. */
static size_t find_checkpoint(const struct sandbox *sandbox, unsigned int number)
{
	size_t i = 0;

	if (!number && sandbox->checkpoint_count)
		return sandbox->checkpoint_count - 1;
	while (i < sandbox->checkpoint_count && sandbox->checkpoints[i].number != number)
		i++;
	return i;
}

static int no_checkpoint(const struct sandbox *sandbox, unsigned int number, struct error *err)
{
	if (number)
		error_set(err, ERR_NOT_FOUND, "the sandbox %s has no checkpoint %u", sandbox->name,
			  number);
	else
		error_set(err, ERR_NOT_FOUND, "the sandbox %s has no checkpoint", sandbox->name);
	return error_hint(err, "`jib show %s` lists them; `jib checkpoint %s` makes one",
			  sandbox->name, sandbox->name);
}

/* The uppers show what the directories themselves were; of what no state has it is not known. */
static int restore_look(const struct root *root, const struct sandbox *sandbox, const char *part,
			struct error *err)
{
	autofree char *path = part_path(part);
	autofd int upper = open_beneath(sandbox->fd, path, O_PATH | O_DIRECTORY, 0);

	if (upper < 0)
		return error_errno(err, "cannot open %s", path);
	for (size_t i = 0; i < sandbox->states.len; i++) {
		autofree char *state = xasprintf("%s/tree/%s", sandbox->states.items[i], part);
		autofd int fd = open_beneath(root->layers, state, O_PATH | O_DIRECTORY, 0);

		if (fd >= 0)
			return copy_look(fd, upper, false, err);
		if (errno != ENOENT)
			return error_errno(err, "cannot open %s", state);
	}
	return 0;
}

static int restore_looks(const struct root *root, const struct sandbox *sandbox, struct error *err)
{
	autostrv struct strv parts = STRV_INIT;

	parts_list(sandbox, &parts);
	for (size_t i = 0; i < parts.len; i++)
		if (restore_look(root, sandbox, parts.items[i], err) < 0)
			return -1;
	return 0;
}

static int lease_resting(const struct root *root, const struct sandbox *sandbox, int *ret,
			 struct error *err)
{
	if (refuse_mounted(sandbox, err) < 0)
		return -1;
	int result = sandbox_lease(root, sandbox, ret, err);

	if (result == 1) {
		error_set(err, ERR_RUNNING, "the sandbox %s is running", sandbox->name);
		return error_hint(err, "`jib stop %s` first", sandbox->name);
	}
	if (result < 0 || lifetime_await(*ret, err) < 0)
		return -1;
	return refuse_mounted(sandbox, err);
}

int states_rollback(const struct root *root, const char *name, unsigned int number,
		    unsigned int *ret_number, unsigned int *ret_kept, struct error *err)
{
	autochange struct change change = CHANGE_INIT;
	struct sandbox *sandbox = &change.sandbox;

	if (change_begin(root, name, &change, err) < 0)
		return -1;
	size_t target = find_checkpoint(sandbox, number);

	if (target == sandbox->checkpoint_count)
		return no_checkpoint(sandbox, number, err);
	if (lease_resting(root, sandbox, &change.keep, err) < 0 ||
	    states_push(root, sandbox, STATES_MAX_ROLLBACK, err) < 0)
		return -1;
	number = sandbox->checkpoints[target].number;
	autofree char *message = xasprintf("before rollback to %u", number);

	*ret_number = number;
	*ret_kept = sandbox_add_checkpoint(sandbox, message)->number;
	strv_release(&sandbox->states);
	strv_add_all(&sandbox->states, &sandbox->checkpoints[target].states);
	/* With the uppers empty one new record is all that it takes. */
	if (sandbox_rewrite(sandbox, err) < 0)
		return -1;
	return restore_looks(root, sandbox, err);
}
