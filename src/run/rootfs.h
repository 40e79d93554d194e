/*
 * rootfs: the root directory of a sandbox.
 *
 *   /usr /opt (/bin /lib ...)  the host's, read-only; but for what is hidden, see below
 *   /etc                       a few known files of the host, read-only or copied; own passwd,
 *                              group, hosts, nsswitch.conf, gitconfig,
 *                              gitignore, gitattributes
 *   /dev                       six devices, an own devpts, shm
 *   /proc                      of the own pid namespace, read-only
 *   /tmp /run /var             empty, in memory
 *   /run/jib/guest             the guest program, read-only; /run/jib/fsmonitor is a link to it
 *   the home directory and the repositories: views (view.h)
 *
 * Everything that is not a bind or a view is one tmpfs and gone at the end; so is the home
 * directory of a forgetful view.
 *
 * Where the store, the caller's home or a mount of the host's kernel (mount_list_kernel()) lies
 * in a directory that is bound, something empty covers it. A repository there stays readable at
 * its own path, as everything else of /usr and /opt does.
 */
#pragma once

#include "base/error.h"
#include "run/plan.h"
#include "store/root.h"
#include "view/view.h"

/* The directories of the host's system: bound, or links where they are that on the host. */
enum { ROOTFS_SYSTEM = 8 };
extern const char *const rootfs_system[ROOTFS_SYSTEM];

#define ROOTFS_GUEST "/run/jib/guest"
/* The same by the name that makes it git's fsmonitor. */
#define ROOTFS_FSMONITOR "/run/jib/fsmonitor"

/*
 * In the child, in its new namespaces: builds the root on top of the store's .tmp (whose own
 * content is not touched, only covered) and makes it the root. `store` is that of this mount
 * namespace.
 */
int rootfs_enter(const struct plan *plan, const struct sandbox *sandbox, const struct view *view,
		 const struct root *store, struct error *err);
