/*
 * shrink: the index of a sandbox, small again after a run.
 *
 * A sandbox of a large repository starts with a split index, whose shared part lies in a layer. As
 * soon as it learns of one more file that it is unchanged, git 2.39 writes the index in full into
 * the upper: 11 MB at 100,000 files, with the first `git add`. Between two runs it is split again,
 * over the same shared part.
 */
#pragma once

#include "store/root.h"
#include "store/sandbox.h"

/*
 * The sandbox does not run, and the caller holds its lease. What an index holds was written inside:
 * one that is in any way unusual stays as it is, and so does the sandbox where anything fails.
 */
void shrink_indexes(const struct root *root, const struct sandbox *sandbox);
