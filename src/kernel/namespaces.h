/*
 * namespaces: a child in namespaces of its own.
 *
 * Always a user namespace, for root too: what the child is allowed it is allowed there only.
 * The caller's own user and group are the only ones mapped, to themselves, so files that the
 * sandbox makes are the caller's.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * Like fork(2): 0 in the child, its pid in the parent, -1. New user, mount, pid, ipc and uts
 * namespaces, and a network namespace unless `host_network`. The child calls namespaces_enter()
 * first.
 */
pid_t namespaces_fork(bool host_network, struct error *err);

/*
 * In the child: maps uid and gid (of the parent, before it forked) to themselves, sets the host
 * name, and brings the loopback device up in a new network namespace.
 */
int namespaces_enter(uid_t uid, gid_t gid, const char *hostname, bool host_network,
		     struct error *err);
