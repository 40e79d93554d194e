/*
 * copy: an upper directory, copied as overlayfs wants to find it.
 *
 * Whiteouts, the marks in user.overlay.*, hard links, holes, modes and times are kept; blocks are
 * shared where the file system can. FIFOs and sockets are made anew and never opened. The names and
 * depth are a sandbox's choice; nothing in it may change meanwhile.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/*
 * All that is in `from` into the empty directory `to`. With `git` it is one of a git dir, and locks stay
 * behind: only the process that has made one may remove it, and that is not in the copy.
 */
int copy_upper(int from, int to, bool git, struct error *err);

/* Mode, times and extended attributes of an open directory; `marks`: those of overlayfs as well. */
int copy_look(int from, int to, bool marks, struct error *err);
