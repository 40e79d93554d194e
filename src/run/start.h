/*
 * start: from a plan to a running init.
 *
 * Forks a child into new namespaces, which builds its root, gives up every right, installs the
 * filter and becomes the guest's init. The parent holds one end of the control socket.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "kernel/cgroup.h"
#include "run/plan.h"
#include "store/root.h"

struct started {
	pid_t pid;   /* of init, in our pid namespace */
	int control; /* speaks packet.h; a setup that failed sends MESSAGE_FAILED with id 0 */
};

/*
 * `forgetful` as of view_open(); `cgroup` may be NULL. The child dies with the calling process (PR_SET_PDEATHSIG), so it is the
 * monitor that calls this.
 */
int sandbox_start(const struct root *root, const struct plan *plan, const struct sandbox *sandbox,
		  bool forgetful, const struct cgroup *cgroup, struct started *ret,
		  struct error *err);
