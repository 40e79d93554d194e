#include "review/discard.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "run/session.h"
#include "view/view.h"

enum { GRACE_MS = 2000 };

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

int discard_sandbox(const struct root *root, const char *name, bool force, discard_check *check,
		    void *data, struct strv *ret_layers, struct error *err)
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
	if (check && check(data, root, &sandbox, err) < 0)
		return -1;
	if (sandbox_remove(root, name, err) < 0)
		return -1;
	sandbox_layers(&sandbox, ret_layers);
	return 0;
}
