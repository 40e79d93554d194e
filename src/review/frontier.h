/*
 * frontier: the paths at which a sandbox's work tree may differ from its layers.
 *
 * overlayfs keeps what was changed in the upper directory, so this list is the upper, and costs what
 * was changed. It is read by the host, without following anything: names and types are a sandbox's
 * word, and nothing but directories is opened.
 */
#pragma once

#include <stddef.h>
#include <sys/stat.h>

#include "base/error.h"
#include "view/view.h"

enum frontier_kind {
	FRONTIER_GONE,	    /* removed, with all that was below it */
	FRONTIER_FILE,	    /* a regular file */
	FRONTIER_LINK,	    /* a symbolic link */
	FRONTIER_DIRECTORY, /* a directory that is not what the layers have there: see `opaque` */
	FRONTIER_OTHER,	    /* a FIFO, a socket, a device */
	FRONTIER_CLOSED,    /* a directory that its owner may not list */
};

struct frontier_entry {
	char *path; /* relative to the work tree; any bytes */
	enum frontier_kind kind;
	bool opaque;	   /* nothing of what the layers have below it is seen */
	int directory;	   /* the lower that has it: the mount's, */
	const char *inner; /* and its path there, in `path` */
	size_t level;
	struct stat st;
};

struct frontier {
	struct frontier_entry *items; /* by path */
	size_t count;
	long newest; /* change time of the latest one, seconds; 0 when there is none */
};

/*
 * Of the first mount->changed lowers. `prefix` is where in the work tree that is mounted, "" or with a
 * slash at its end. The git dir at the top is left out. ERR_LIMIT when there are more paths than
 * anybody has.
 */
int frontier_read(const struct view_mount *mount, const char *prefix, struct frontier *ret,
		  struct error *err);
/* Adds all of another one, which is empty afterwards. */
void frontier_add(struct frontier *frontier, struct frontier *more);
void frontier_release(struct frontier *frontier);
#define autofrontier __attribute__((cleanup(frontier_release)))

/* The entry of a path, or of the nearest directory above it that is gone or replaced; or NULL. */
const struct frontier_entry *frontier_covering(const struct frontier *frontier, const char *path);
