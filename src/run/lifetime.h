/*
 * lifetime: waiting for what a killed monitor has left behind.
 *
 * The lease is the truth about who runs a sandbox. When a monitor is killed, the kernel frees the
 * lease at once and kills init too, but until the last process of the sandbox is gone its
 * mounts are still there: a second mount of the same upper now would be two (T23). So the
 * monitor notes at the lease file (an extended attribute) which process init is, and removes the
 * note when init is gone; whoever gets a lease with a note waits for that process.
 *
 * It is nothing but what to wait for: a pid that belongs to somebody else by now has another
 * start time.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"

int lifetime_note(int lease, pid_t init, struct error *err);
int lifetime_clear(int lease, struct error *err);
int lifetime_await(int lease, struct error *err);
