/*
 * modules: the submodules of a repository, at any depth, as one immutable layer.
 *
 *   .layers/modules-<id>/tree/  the work tree of every initialised submodule at its path, with its
 *                               `.git` file
 *   .layers/modules-<id>/git/   modules/<name>/... : a self-contained git dir for each
 *
 * A submodule is what .gitmodules names and the index (clean: the commit) has as one. It is captured
 * as it is on the host (its own HEAD, index, uncommitted, untracked and small ignored files), or,
 * clean, at the commit that the superproject records. Where that is missing, or the
 * submodule was given up, its git dir alone comes along, from which git can bring it back. As
 * everywhere: a file that changes meanwhile makes it start over, and nothing that looks like a
 * credential and is not tracked comes along.
 *
 * Two sandboxes made from the same state share a layer, and for the second nothing is copied.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "git/repository.h"
#include "snapshot/local.h"
#include "snapshot/pin.h"
#include "store/root.h"

struct modules_request {
	const struct root *root;
	const struct repository *repository;
	const struct repository_head *head;
	const struct local_wishes *wishes;
	const struct progress *progress;
	/* Added to, for the user, relative to the superproject's work tree; both may be NULL. */
	struct strv *masked;   /* paths that look like credentials */
	struct strv *left_out; /* repositories that nobody added, ignored files too large to copy */
};

/* *ret_id is NULL when there is no submodule of which there is anything. ERR_UNSTABLE. */
int modules_layer(const struct modules_request *request, char **ret_id, struct error *err);
