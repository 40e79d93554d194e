/*
 * privilege: what a process gives up before it becomes the guest.
 *
 * For a process inside the new user namespace, with all of that namespace's capabilities and
 * nothing left to set up that would need one. In this order:
 *
 *   privilege_new_keyring(err)   while keyctl(2) may still be called
 *   privilege_drop(err)          capabilities, and the ways back to them
 *   privilege_filter(err)        needs the no_new_privs that privilege_drop() has set
 *   execve(2)
 *
 * Everything here is inherited across fork(2) and execve(2) and cannot be undone. It acts on the
 * calling thread: call it while there is only one. Only system calls are made, so that a forked
 * child may call it before it execs; a failure allocates for its message, which is safe as long
 * as the parent had one thread too. On failure some of it may be in force already: the process
 * must not go on to run anything.
 */
#pragma once

#include "base/error.h"

/*
 * Empties the bounding, ambient, effective, permitted and inheritable capability sets, locks the
 * securebits such that neither being uid 0 nor changing uids brings a capability back, and sets
 * no_new_privs, so that setuid files and file capabilities have no effect. Needs CAP_SETPCAP in
 * the user namespace.
 */
int privilege_drop(struct error *err);

/*
 * Joins a new anonymous session keyring, so that the keys of the host's session are not possessed
 * any more (T9). Where that cannot be had it still succeeds, because privilege_filter() denies
 * the key system calls on every ABI and so is enough by itself:
 *
 *   ENOSYS         a kernel without keys
 *   EDQUOT         the user has as many keys as allowed
 *   EPERM, EACCES  the seccomp filter or security module of a container around jib
 */
int privilege_new_keyring(struct error *err);

/*
 * Installs the system call filter that was compiled into the program; seccomp-generate.c is the
 * policy, and says why. Denied calls fail with an errno; nothing is killed but what comes through
 * an ABI that the machine should not have.
 */
int privilege_filter(struct error *err);
