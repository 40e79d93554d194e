/*
 * cgroup-internal: the parts of cgroup that work on given text and directories, so that their
 * decisions can be tested on any machine. Included by cgroup*.c and its test only.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"
#include "kernel/cgroup.h"

/* Bits, so that a set of them is an unsigned int. */
enum cgroup_controller {
	CGROUP_MEMORY = 1,
	CGROUP_PIDS = 2,
	CGROUP_CPU = 4,
};
enum { CGROUP_CONTROLLERS = 3 };

/* "memory and cpu", for messages. */
void cgroup_controllers_text(unsigned int controllers, struct str *ret);

/* The controllers named in a list separated by blanks or commas; unknown ones are ignored. */
unsigned int cgroup_controllers_parse(const char *list);

/* Where a controller is, and where in it this process is. */
struct cgroup_place {
	int version; /* 1 or 2 */
	char *top;   /* the mount point */
	char *own;   /* the process's own cgroup, relative to it; "." is the mount itself */
};
void cgroup_place_release(struct cgroup_place *place);

/*
 * Finds the place of one controller from the text of /proc/self/cgroup and /proc/self/mountinfo.
 * Whether a v2 mount offers the controller at all is for its cgroup.controllers to say.
 */
int cgroup_locate(const char *self, const char *mountinfo, enum cgroup_controller controller,
		  struct cgroup_place *ret, struct error *err);

/*
 * Whether a v2 cgroup can get children with these controllers, and a process below it be moved
 * into them: the controllers are there, and are or can be switched on for children, which `dry`
 * does not do. 0; 1 when they would have to be switched on (dry only); -1 with the reason.
 */
int cgroup_v2_prepare(int fd, const char *path, unsigned int controllers, bool dry,
		      struct error *err);

/* cgroup_create() with its sources as parameters; `dry` sets no limit that needs switching on. */
int cgroup_create_from(const char *self, const char *mountinfo, const char *name,
		       const struct cgroup_limits *limits, bool dry, struct cgroup **ret,
		       struct error *err);

/* The version in use: 1 or 2, the lowest; 0 without any. */
int cgroup_version(const struct cgroup *cgroup);

/* ---- cgroup-dir.c: one directory of a cgroup file system ---- */

struct cgroup_dir {
	int parent;
	int fd; /* locked while we live */
	char *name;
	char *path; /* for messages */
	int version;
	unsigned int controllers;
};

/*
 * Makes and locks a directory in `parent`, whose path is for messages. Sets fd, name and path of
 * *ret.
 */
int cgroup_dir_make(int parent, const char *path, const char *name, struct cgroup_dir *ret,
		    struct error *err);

/* Kills what is in it and removes it, within a few seconds. */
void cgroup_dir_remove(const struct cgroup_dir *dir);
void cgroup_dir_release(struct cgroup_dir *dir);

/* Takes away what crashes have left in `parent`. A failure here is no reason not to go on. */
void cgroup_sweep(int parent);

/* Writes to a file that is there. 0, or -1 with errno. */
int cgroup_write(int dir, const char *name, const char *text);
