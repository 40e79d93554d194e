/*
 * export: what was received in a quarantine, as files: patches that `git am` takes, one for each
 * commit, and a bundle that git fetches from.
 *
 *   DIR/<branch>/0001-<subject>.patch ...   of each branch; a merge has no patch
 *   DIR/<sandbox>.bundle                    all of it, under the names that the branches get on a host
 */
#pragma once

#include "review/persist.h"
#include "review/quarantine.h"

/* `known`: commits that whoever takes the files is expected to have. `dir` is made; it may exist and be empty. */
int export_write(const struct quarantine *quarantine, const struct persist_result *result,
		 const struct strv *known, const char *sandbox, const char *dir, struct error *err);
