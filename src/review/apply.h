/*
 * apply: what a sandbox has changed in its work tree, as changes for merge.h.
 *
 * Which files have changed git tells from the two trees (state.h); their bytes are those of the
 * layers and the upper, as they are, because the host's files are compared with them byte by byte.
 */
#pragma once

#include "review/merge.h"
#include "review/persist.h"
#include "review/viewer.h"

struct apply_wishes {
	const struct strv *include; /* ignored files and directories that come all the same */
	bool nested;		    /* files of repositories inside of the work tree */
};

struct apply_changes {
	struct persist_result found; /* with the state, and what else there is */
	struct change *items;
	size_t count;
	struct strv submodules; /* that are another commit now: not brought */
	struct strv paths;	/* that the items refer to */
};

/* Valid as long as the viewer. ERR_NOT_FOUND when something to be included has not changed. */
int apply_read(struct viewer *viewer, size_t repo, const struct apply_wishes *wishes,
	       struct apply_changes *ret, struct error *err);
void apply_release(struct apply_changes *changes);
#define autoapply __attribute__((cleanup(apply_release)))
