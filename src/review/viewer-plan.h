/*
 * viewer-plan: what a viewer is made of, for viewer.c alone.
 */
#pragma once

#include "review/viewer.h"
#include "run/plan.h"

/* The git dirs of the n-th repository inside. */
char *viewer_git_dir(size_t repo);
char *viewer_refs_dir(size_t repo);

/* Fills the scratch directory, and says in the plan which files and binds there are. */
int viewer_plan(const struct viewer *viewer, struct plan *ret, struct error *err);
