/*
 * genuine: whether the objects that a sandbox has added are what their names say; for viewer.c.
 *
 * git believes the name of an object that it finds in its own directory. So a sandbox could put another tree
 * or file in the place of one that it started with, and its changes would look like none (T22, T43).
 */
#pragma once

#include "base/error.h"
#include "review/viewer.h"

/* ERR_CORRUPT when one is not. Costs what was added. */
int genuine_check(struct viewer *viewer, size_t repo, struct error *err);
