/*
 * cgroup: the limits of one sandbox, through cgroup v2 where it is delegated and through v1
 * where that is what the machine has (also mixed: each controller where it lives).
 *
 *   struct cgroup *cgroup = NULL;
 *
 *   if (cgroup_create(name, &limits, &cgroup, err) < 0)
 *           return -1;                         ERR_LIMIT: says which limit, why, what to do
 *   child = fork ...                           waits for a byte before it does anything
 *   cgroup_enter(cgroup, child, err);          what it starts from now on is limited too
 *   ...
 *   if (cgroup_hit_memory_limit(cgroup)) ...   before the removal
 *   cgroup = cgroup_remove(cgroup);
 *
 * A limit that cannot be enforced is refused, never dropped; what was made until then is
 * removed again. Only a controller that was switched on for a v2 parent stays on.
 *
 * Each cgroup is a directory `jib-<name>-<random>`, which its creator holds locked (flock) for as
 * long as it lives. Directories of that form which nobody holds and no process is in are what a
 * crash has left; cgroup_create() takes them away.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* 0: not limited. */
struct cgroup_limits {
	uint64_t memory; /* bytes, swap included */
	uint64_t pids;
	uint64_t cpu_milli; /* 1500: one and a half CPUs; at least 10 */
};

struct cgroup;

/* With no limit at all this makes an object without any directory, and needs no rights. */
int cgroup_create(const char *name, const struct cgroup_limits *limits, struct cgroup **ret,
		  struct error *err);

/* Moves a process in, and with it all that it starts later; 0 is the caller itself. */
int cgroup_enter(const struct cgroup *cgroup, pid_t pid, struct error *err);

/* Whether the kernel has killed a process in it for want of memory. */
bool cgroup_hit_memory_limit(const struct cgroup *cgroup);

/*
 * Kills what is still in it (the caller must not be), removes its directories, and waits a few
 * seconds for processes that are still dying. What then remains goes with the next
 * cgroup_create(). Accepts NULL; returns NULL.
 */
struct cgroup *cgroup_remove(struct cgroup *cgroup);

/*
 * Whether cgroup_create() with these limits would work here for this user, found by trying;
 * leaves nothing behind. *ret_version (may be NULL) is 1 or 2, the lowest of those in use; ask
 * for one limit at a time to know it of each.
 */
int cgroup_available(const struct cgroup_limits *wanted, int *ret_version, struct error *err);

/*
 * Parsers of what a user writes. 0, or -1 with errno EINVAL (not understood, zero, negative)
 * or ERANGE (too much). *ret is untouched on failure.
 *
 * size:  bytes, with a binary suffix K, M, G or T in either case: "512M", "1.5G"
 * cpus:  in thousandths: "1.5" gives 1500; from 0.01, at most three decimals
 * count: a whole number from 1
 */
int limits_parse_size(const char *text, uint64_t *ret);
int limits_parse_cpus(const char *text, uint64_t *ret);
int limits_parse_count(const char *text, uint64_t *ret);
