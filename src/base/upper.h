/*
 * upper: how init is told where a sandbox's changes are.
 *
 * Its arguments name the repositories, each by the absolute path of its work tree, followed by what the
 * sandbox stands on (the id of its uppermost state, or UPPER_FRESH), and by the directories in it that
 * are overlays of their own, relative to it. The n-th repository has
 * UPPER_FDS file descriptors from UPPER_FIRST + n * UPPER_FDS on. What it does not have is
 * /dev/null.
 */
#pragma once

enum {
	UPPER_FIRST = 4, /* 3 is the control socket */

	UPPER_TREE = 0, /* the upper directory of the work tree */
	UPPER_CARRIED,	/* the directory with those of its inner overlays, called 0, 1, ... */
	/*
	 * A file: paths that differ from the layers already, NUL-terminated; with states all directories
	 * in which one has something.
	 */
	UPPER_REPORTED,
	UPPER_FDS,
};

#define UPPER_FRESH "-"

/* Where init says which they are: MESSAGE_CHANGES with the path, answered by the same. */
#define UPPER_SOCKET "/run/jib/changes"
