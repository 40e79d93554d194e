/*
 * rootfs: the root directory of a sandbox.
 *
 *   /usr /opt (/bin /lib ...)  the host's, read-only
 *   /etc                       a few known files of the host, read-only or copied; own passwd,
 *                              group, hosts, nsswitch.conf, gitconfig
 *   /dev                       six devices, an own devpts, shm
 *   /proc                      of the own pid namespace, read-only
 *   /tmp /run /var             empty, in memory
 *   /run/jib/guest             the guest program, read-only
 *   the home directory and the repositories: views (view.h)
 *
 * Everything that is not a bind or a view is one tmpfs and gone at the end; so is the home
 * directory of a forgetful view.
 */
#pragma once

#include "base/error.h"
#include "run/plan.h"
#include "view/view.h"

#define ROOTFS_GUEST "/run/jib/guest"

/*
 * In the child, in its new namespaces: builds the root on top of the directory `scratch` (whose
 * own content is not touched, only covered) and makes it the root.
 */
int rootfs_enter(const struct plan *plan, const struct sandbox *sandbox, const struct view *view,
		 int scratch, struct error *err);
