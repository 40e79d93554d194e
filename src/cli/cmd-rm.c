#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "cli/create.h"
#include "cli/output.h"
#include "review/judge.h"
#include "run/session.h"
#include "store/collect.h"
#include "store/name.h"
#include "view/view.h"

static const struct option options[] = {
	{'f', "force", NULL, "also one that is running or holds changes"},
	{0, "json", NULL, "print the names of what was removed as an array"},
	{0, NULL, NULL, NULL},
};

enum { GRACE_MS = 2000 };

static int refuse_changes(const struct root *root, const struct sandbox *sandbox, struct error *err)
{
	autoglance struct glance glance = {0};
	enum work work;

	if (glance_at(root, sandbox, &glance, err) < 0 ||
	    work_judge(root, sandbox, &glance, &work, err) < 0)
		return -1;
	if (work != WORK_UNPERSISTED)
		return 0;
	error_set(err, ERR_UNPERSISTED, "the sandbox %s holds changes that exist nowhere else",
		  sandbox->name);
	return error_hint(err, "`jib show %s` tells how much; `jib rm --force %s` discards them",
			  sandbox->name, sandbox->name);
}

/* A record that cannot be read: whether it runs is still known by its lease. */
static int remove_broken(const struct root *root, const char *name, bool force, struct error *err)
{
	autoerror struct error ignored = ERROR_INIT;
	autofree char *lease_path = xasprintf("%s/lease", name);
	autofd int lease = open_beneath(root->fd, lease_path, O_RDWR, 0);

	if (!force)
		return -1;
	if (lease >= 0 && lock_try(lease, &ignored) == 1)
		return -1;
	error_clear(err);
	return sandbox_remove(root, name, err);
}

static int take_lease(const struct root *root, const struct sandbox *sandbox, bool force, int *ret,
		      struct error *err)
{
	int result = sandbox_lease(root, sandbox, ret, err);

	if (result == 1 && force) {
		struct error gone = ERROR_INIT;

		/* It may end by itself meanwhile; the lease says when. */
		session_stop(sandbox, GRACE_MS, &gone);
		error_clear(&gone);
		return sandbox_lease_wait(root, sandbox, ret, err);
	}
	if (result == 1) {
		error_set(err, ERR_RUNNING, "the sandbox %s is running", sandbox->name);
		return error_hint(err, "`jib stop %s` first, or `jib rm --force %s`", sandbox->name,
				  sandbox->name);
	}
	return result;
}

/* *ret_layers gets the layers that it stood on; of a broken one they are not known. */
static int remove_one(const struct root *root, const char *name, bool force,
		      struct strv *ret_layers, struct error *err)
{
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autofd int lease = -1;

	if (sandbox_open(root, name, &sandbox, err) < 0)
		return err->code == ERR_NOT_FOUND || err->code == ERR_NAME
			       ? -1
			       : remove_broken(root, name, force, err);
	/* Before anything is stopped; and again, because it may be mounted meanwhile. */
	if (refuse_mounted(&sandbox, err) < 0 ||
	    take_lease(root, &sandbox, force, &lease, err) < 0 || refuse_mounted(&sandbox, err) < 0)
		return -1;
	if (!force && refuse_changes(root, &sandbox, err) < 0)
		return -1;
	if (sandbox_remove(root, name, err) < 0)
		return -1;
	sandbox_layers(&sandbox, ret_layers);
	return 0;
}

/* The sandboxes are gone whether this succeeds or not; `jib gc` does what it cannot do now. */
static void remove_layers(const struct root *root, const struct strv *layers)
{
	autocollection struct collection collection = {0};
	autoerror struct error err = ERROR_INIT;

	if (collect(root, layers, false, &collection, &err) < 0)
		say("%s", err.message);
}

static int discard(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	autostrv struct strv layers = STRV_INIT;
	bool force = option_given(invocation, "force");
	bool json = option_given(invocation, "json");
	json_t *removed = json_array();
	int result = root_open_existing(&root, err);
	bool opened = result == 0;

	/* Each is tried; the first failure is the one that is told, after all. */
	for (size_t i = 0; opened && i < invocation->arg_count; i++) {
		struct error failure = ERROR_INIT;

		if (remove_one(&root, invocation->args[i], force, &layers, &failure) == 0) {
			json_array_append_new(removed, json_string(invocation->args[i]));
		} else if (result == 0) {
			*err = failure;
			result = -1;
		} else {
			if (!json)
				output_error(&failure, false);
			error_clear(&failure);
		}
	}
	remove_layers(&root, &layers);
	if (result == 0 && json)
		return output_json(removed, err);
	json_decref(removed);
	return result;
}

const struct command cmd_rm = {
	.name = "rm",
	.synopsis = "NAME... [--force] [--json]",
	.summary = "discard sandboxes",
	.options = options,
	.min_args = 1,
	.max_args = (size_t)-1,
	.failure = 1,
	.run = discard,
};
