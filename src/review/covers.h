/*
 * covers: what of a sandbox git would hang or choke on, and so does not get to see; for viewer-plan.c.
 *
 * In a git dir and for ignore and attribute files git opens what it finds by name. A FIFO there has no
 * end, nor has a link to /dev/zero, and a sparse file fills the memory (T41, T56). In the viewer
 * something that cannot be opened lies over them: they count as damaged, and the rest is shown.
 */
#pragma once

#include "base/error.h"
#include "review/viewer.h"
#include "run/plan.h"

/* ERR_LIMIT when there are more than anybody has by accident. */
int covers_find(const struct viewer *viewer, struct plan *plan, struct error *err);
