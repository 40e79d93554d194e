/*
 * probe: what this machine can do, found by trying. Versions are read to be printed, never to
 * be compared (but git's, which is a program). Everything is tried in child processes and in
 * temporary directories, and nothing is left behind.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum probe_state {
	PROBE_OK,
	PROBE_MISSING,	/* without it the main job is impossible */
	PROBE_DEGRADED, /* something does not work, or works slower */
};

struct probe_check {
	const char *name; /* "user-namespaces"; stable, it appears in JSON */
	enum probe_state state;
	char *found;
	const char *needed_for;
	char *remedy; /* the command that mends it; NULL when fine */
};

struct probe_report {
	struct probe_check *checks;
	size_t len;
};

/*
 * Tries everything. `root` is the store's root, which need not exist yet: then its nearest
 * existing ancestor is tried in its place. `objects` is the objects directory of a repository,
 * to try hard links from, or NULL. A machine that can do nothing is a report too, not an error.
 */
int probe_machine(const char *root, const char *objects, struct probe_report *ret,
		  struct error *err);
void probe_report_release(struct probe_report *report);

/* Whether nothing is PROBE_MISSING. */
bool probe_works(const struct probe_report *report);

/* "ok", "missing", "degraded": stable. */
const char *probe_state_name(enum probe_state state);

/*
 * Whether a directory can hold the upper of a sandbox: mounts an overlay in a user namespace of
 * its own, with all three directories below `dirfd`, and looks whether what is removed stays
 * away, what is replaced is opaque, and what is changed keeps its inode number.
 *
 * ERR_FILESYSTEM names the file system and why; ERR_UNSUPPORTED when not the directory but the
 * machine is in the way; ERR_SYSTEM or ERR_PERMISSION when the directory cannot be written.
 */
int probe_overlay_in(int dirfd, struct error *err);

/* "ext4", "btrfs", ...; "unknown file system 0x..." for others. */
char *probe_filesystem_name(int fd);
