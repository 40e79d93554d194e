/*
 * discard: removing a sandbox that nobody uses, for `rm` and `gc`.
 *
 * The lease is held from before the last look until the sandbox is gone: what starts in it before
 * is seen, and what wants to start meanwhile finds it removed.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"
#include "store/root.h"
#include "store/sandbox.h"

/* Asked under the lease. -1 and an error: the sandbox stays. */
typedef int discard_check(void *data, const struct root *root, const struct sandbox *sandbox,
			  struct error *err);

/*
 * With `force` one that is running is stopped, and one that is broken is removed too; `check` may be
 * NULL. Adds to *ret_layers what the sandbox stood on, for collect(); of a broken one it is not
 * known. ERR_MOUNTED, ERR_RUNNING, ERR_NOT_FOUND; what `check` says.
 */
int discard_sandbox(const struct root *root, const char *name, bool force, discard_check *check,
		    void *data, struct strv *ret_layers, struct error *err);
