#include "kernel/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "kernel/cgroup-internal.h"
#include "kernel/proc.h"

enum {
	CPU_PERIOD = 100000, /* microseconds */
	PIDS_MAX = 4194304,  /* the kernel knows no more processes (PID_MAX_LIMIT) */
};

struct cgroup {
	struct cgroup_dir dirs[CGROUP_CONTROLLERS];
	size_t len;
};

/* Controllers that share a place, and so a directory. */
struct group {
	struct cgroup_place place;
	unsigned int controllers;
};

struct groups {
	struct group items[CGROUP_CONTROLLERS];
	size_t len;
};

static void groups_release(struct groups *groups)
{
	for (size_t i = 0; i < groups->len; i++)
		cgroup_place_release(&groups->items[i].place);
	groups->len = 0;
}

/* Turns a reason into the refusal of the limits that it concerns. */
static int refuse(struct error *err, unsigned int controllers, int version, struct error *why)
{
	autostr struct str names = STR_INIT;

	cgroup_controllers_text(controllers, &names);
	error_set(err, ERR_LIMIT, "the limit on %s cannot be enforced here: %s", names.s,
		  why->message ? why->message : "unknown reason");
	if (why->hint)
		error_hint(err, "%s", why->hint);
	else if (version == 0)
		error_hint(err, "leave the limit out, or boot a kernel that has this controller");
	else if (geteuid() == 0)
		error_hint(err, "leave the limit out, or run jib outside of the container that "
				"keeps this cgroup from it");
	else if (version == 2)
		error_hint(err, "run `systemd-run --user --scope -p Delegate=yes jib run ...`, or "
				"run jib as root");
	else
		error_hint(err, "run jib as root: only root can limit through cgroup v1");
	error_clear(why);
	return -1;
}

/* ---- limits ---- */

static int set(const struct cgroup_dir *dir, const char *name, const char *text, struct error *err)
{
	if (cgroup_write(dir->fd, name, text) < 0)
		return error_errno(err, "cannot write %s to %s/%s", text, dir->path, name);
	return 0;
}

static int set_if_there(const struct cgroup_dir *dir, const char *name, const char *text,
			struct error *err)
{
	if (faccessat(dir->fd, name, F_OK, 0) < 0 && errno == ENOENT)
		return 0;
	return set(dir, name, text, err);
}

static int limit_memory(const struct cgroup_dir *dir, uint64_t bytes, struct error *err)
{
	autofree char *text = xasprintf("%" PRIu64, bytes);

	if (dir->version == 1) {
		/* In this order: memory and swap together may not be less than memory. */
		if (set(dir, "memory.limit_in_bytes", text, err) < 0)
			return -1;
		return set_if_there(dir, "memory.memsw.limit_in_bytes", text, err);
	}
	if (set(dir, "memory.max", text, err) < 0 ||
	    set_if_there(dir, "memory.swap.max", "0", err) < 0)
		return -1;
	/* A sandbox that lost one process to the limit is of no use; end it as a whole. */
	return set_if_there(dir, "memory.oom.group", "1", err);
}

static int limit_cpu(const struct cgroup_dir *dir, uint64_t milli, struct error *err)
{
	uint64_t quota = milli * (CPU_PERIOD / 1000);
	autofree char *text = xasprintf("%" PRIu64, quota);
	autofree char *period = xasprintf("%d", CPU_PERIOD);
	autofree char *both = xasprintf("%s %s", text, period);

	if (dir->version == 2)
		return set(dir, "cpu.max", both, err);
	if (set(dir, "cpu.cfs_period_us", period, err) < 0)
		return -1;
	if (cgroup_write(dir->fd, "cpu.cfs_quota_us", text) == 0)
		return 0;
	error_errno(err, "cannot write %s to %s/cpu.cfs_quota_us", text, dir->path);
	if (err && err->number == EINVAL)
		error_hint(err, "a cgroup above allows fewer CPUs than that: ask for fewer");
	return -1;
}

static int limit_pids(const struct cgroup_dir *dir, uint64_t count, struct error *err)
{
	autofree char *text = xasprintf("%" PRIu64, count > PIDS_MAX ? PIDS_MAX : count);

	return set(dir, "pids.max", text, err);
}

static int dir_limit(const struct cgroup_dir *dir, const struct cgroup_limits *limits,
		     struct error *err)
{
	autoerror struct error why = ERROR_INIT;

	if (dir->controllers & CGROUP_MEMORY && limit_memory(dir, limits->memory, &why) < 0)
		return refuse(err, CGROUP_MEMORY, dir->version, &why);
	if (dir->controllers & CGROUP_PIDS && limit_pids(dir, limits->pids, &why) < 0)
		return refuse(err, CGROUP_PIDS, dir->version, &why);
	if (dir->controllers & CGROUP_CPU && limit_cpu(dir, limits->cpu_milli, &why) < 0)
		return refuse(err, CGROUP_CPU, dir->version, &why);
	return 0;
}

/* ---- creation ---- */

static int groups_find(const char *self, const char *mountinfo, unsigned int wanted,
		       struct groups *ret, struct error *err)
{
	for (unsigned int bit = 1; bit < 1U << CGROUP_CONTROLLERS; bit <<= 1) {
		struct cgroup_place place = {0};
		autoerror struct error why = ERROR_INIT;
		size_t i;

		if (!(wanted & bit))
			continue;
		if (cgroup_locate(self, mountinfo, bit, &place, &why) < 0)
			return refuse(err, bit, 0, &why);
		for (i = 0; i < ret->len; i++)
			if (!strcmp(ret->items[i].place.top, place.top))
				break;
		ret->items[i].controllers |= bit;
		if (i < ret->len) {
			cgroup_place_release(&place);
			continue;
		}
		ret->items[i].place = place;
		ret->len++;
	}
	return 0;
}

/* "a/b" becomes "a", "a" becomes ".". */
static void to_parent(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash)
		*slash = '\0';
	else
		memcpy(path, ".", 2);
}

/* One candidate as parent. 0; 1 like cgroup_v2_prepare(); -1 with the reason. */
static int dir_make_in(int top, const struct group *group, const char *relative, const char *name,
		       bool dry, struct cgroup_dir *dir, struct error *why)
{
	bool whole = !strcmp(relative, ".");
	autofree char *path =
		xasprintf("%s%s%s", group->place.top, whole ? "" : "/", whole ? "" : relative);
	autofd int fd = open_beneath(top, relative, O_RDONLY | O_DIRECTORY, 0);
	int off = 0;

	if (fd < 0)
		return error_errno(why, "cannot open %s", path);
	if (group->place.version == 2)
		off = cgroup_v2_prepare(fd, path, group->controllers, dry, why);
	if (off < 0 || cgroup_dir_make(fd, path, name, dir, why) < 0)
		return -1;
	cgroup_sweep(fd);
	dir->parent = steal_fd(&fd);
	dir->version = group->place.version;
	dir->controllers = group->controllers;
	return off;
}

/*
 * v1: below the process's own cgroup. v2: in the nearest ancestor that can have limited
 * children; the own one cannot, as it has processes in it, unless it is the root.
 */
static int group_create(const struct group *group, const char *name, bool dry,
			struct cgroup_dir *ret, struct error *err)
{
	autofd int top = open(group->place.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofree char *relative = xstrdup(group->place.own);
	autoerror struct error why = ERROR_INIT;
	int made = -1;

	if (top < 0)
		error_errno(&why, "cannot open %s", group->place.top);
	else if (group->place.version == 1)
		made = dir_make_in(top, group, relative, name, dry, ret, &why);
	while (top >= 0 && group->place.version == 2) {
		autoerror struct error reason = ERROR_INIT;

		to_parent(relative);
		made = dir_make_in(top, group, relative, name, dry, ret, &reason);
		/* The first reason is the one to tell: it is about the nearest ancestor. */
		if (made < 0)
			error_set(&why, ERR_LIMIT, "%s", reason.message);
		if (made >= 0 || !strcmp(relative, "."))
			break;
	}
	if (made < 0)
		return refuse(err, group->controllers, group->place.version, &why);
	return made;
}

int cgroup_create_from(const char *self, const char *mountinfo, const char *name,
		       const struct cgroup_limits *limits, bool dry, struct cgroup **ret,
		       struct error *err)
{
	unsigned int wanted = (limits->memory ? CGROUP_MEMORY : 0U) |
			      (limits->pids ? CGROUP_PIDS : 0U) |
			      (limits->cpu_milli ? CGROUP_CPU : 0U);
	__attribute__((cleanup(groups_release))) struct groups groups = {0};
	struct cgroup *cgroup;

	if (groups_find(self, mountinfo, wanted, &groups, err) < 0)
		return -1;
	cgroup = xcalloc(1, sizeof *cgroup);
	for (size_t i = 0; i < groups.len; i++) {
		struct cgroup_dir *dir = &cgroup->dirs[i];

		*dir = (struct cgroup_dir){.parent = -1, .fd = -1};
		int off = group_create(&groups.items[i], name, dry, dir, err);

		if (off >= 0)
			cgroup->len++;
		if (off < 0 || (off == 0 && dir_limit(dir, limits, err) < 0)) {
			cgroup_remove(cgroup);
			return -1;
		}
	}
	*ret = cgroup;
	return 0;
}

static int create_here(const char *name, const struct cgroup_limits *limits, bool dry,
		       struct cgroup **ret, struct error *err)
{
	autostr struct str self = STR_INIT;
	autostr struct str mountinfo = STR_INIT;

	if (!limits->memory && !limits->pids && !limits->cpu_milli) {
		*ret = xcalloc(1, sizeof **ret);
		return 0;
	}
	if (proc_read("/proc/self/cgroup", 1 << 20, &self, err) < 0 ||
	    proc_read("/proc/self/mountinfo", 16 << 20, &mountinfo, err) < 0)
		return error_wrap(err, "cannot find out about cgroups");
	return cgroup_create_from(self.s, mountinfo.s, name, limits, dry, ret, err);
}

int cgroup_create(const char *name, const struct cgroup_limits *limits, struct cgroup **ret,
		  struct error *err)
{
	return create_here(name, limits, false, ret, err);
}

int cgroup_version(const struct cgroup *cgroup)
{
	int version = 0;

	for (size_t i = 0; i < cgroup->len; i++)
		if (!version || cgroup->dirs[i].version < version)
			version = cgroup->dirs[i].version;
	return version;
}

int cgroup_available(const struct cgroup_limits *wanted, int *ret_version, struct error *err)
{
	struct cgroup *cgroup;

	if (create_here("probe", wanted, true, &cgroup, err) < 0)
		return -1;
	if (ret_version)
		*ret_version = cgroup_version(cgroup);
	cgroup_remove(cgroup);
	return 0;
}

/* ---- use ---- */

int cgroup_enter(const struct cgroup *cgroup, pid_t pid, struct error *err)
{
	autofree char *text = xasprintf("%d", (int)pid);

	for (size_t i = 0; i < cgroup->len; i++) {
		const struct cgroup_dir *dir = &cgroup->dirs[i];
		autoerror struct error why = ERROR_INIT;

		if (set(dir, "cgroup.procs", text, &why) < 0)
			return refuse(err, dir->controllers, dir->version, &why);
	}
	return 0;
}

bool cgroup_hit_memory_limit(const struct cgroup *cgroup)
{
	static const char key[] = "oom_kill ";

	for (size_t i = 0; i < cgroup->len; i++) {
		const struct cgroup_dir *dir = &cgroup->dirs[i];
		const char *file = dir->version == 2 ? "memory.events" : "memory.oom_control";
		autostr struct str text = STR_INIT;

		if (!(dir->controllers & CGROUP_MEMORY) ||
		    file_read_at(dir->fd, file, 65536, &text, NULL) < 0)
			continue;
		for (const char *at = text.s; at; at = strchr(at, '\n')) {
			at += *at == '\n';
			if (str_starts(at, key))
				return strtoull(at + sizeof key - 1, NULL, 10) > 0;
		}
	}
	return false;
}

/* ---- removal ---- */

struct cgroup *cgroup_remove(struct cgroup *cgroup)
{
	if (!cgroup)
		return NULL;
	for (size_t i = 0; i < CGROUP_CONTROLLERS && cgroup->dirs[i].name; i++) {
		cgroup_dir_remove(&cgroup->dirs[i]);
		cgroup_dir_release(&cgroup->dirs[i]);
	}
	free(cgroup);
	return NULL;
}
