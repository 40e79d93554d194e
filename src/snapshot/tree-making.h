/*
 * tree-making: what the makers of tree layers share; tree-layer.c decides which one is made.
 *
 *   <id>/tree/   the files; of a delta those that differ from the layers below, and whiteouts
 *   <id>/base    of a full layer: its index, without extensions (index.h)
 *   <id>/edits   of a delta: all that differs from the base of the full layer at the bottom
 *   <id>/trees   the commit's tree objects
 *   <id>/objects of a partial clone: what git had to fetch for the files, which is not the host's
 */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "git/git.h"
#include "git/repository.h"
#include "snapshot/index.h"
#include "snapshot/pin.h"
#include "snapshot/tree-diff.h"
#include "store/layer.h"

struct tree_making {
	const struct root *root;
	const struct repository *repository;
	const struct repository_head *head;
	bool sha256;
	bool sparse;	   /* git decides which files there are */
	bool modes_differ; /* core.fileMode is off: on the host files may be executable or not */
	const struct progress *progress;
	int layer; /* the layer's directory */
	int tree;  /* and the one of its files */
	int host;  /* the host's work tree */
};

/* The layers of another commit, and how it differs from the one that is made. */
struct tree_parent {
	struct strv ids; /* uppermost first; empty: there is none */
	struct layer_holds holds;
	size_t files;
	struct tree_diff diff;
};

/* The time that files get which are not the host's: the commit's, but never the present. */
time_t tree_past(const struct repository_head *head);

/*
 * git_run(), for a git that may have to fetch what a partial clone lacks: that goes to the layer's
 * `objects`, not to the host's.
 */
int tree_run_git(const struct tree_making *making, const struct git_place *where,
		 const char *const *args, struct error *err);

/*
 * Has git write files of the commit into the tree: the paths in the layer's file `wanted`
 * (NUL-terminated), by the index of that name in the layer's directory.
 */
int tree_check_out(const struct tree_making *making, const char *index, const char *wanted,
		   struct error *err);

/*
 * Settles a file that git has written: its time (or that of tree_past()), the mode that it has on the host where
 * that says nothing to git. *ret is what it looks like then.
 */
int tree_settle(const struct tree_making *making, const char *path, const struct index_stat *host,
		struct index_stat *ret, struct error *err);

/* Opens a directory of each layer; the array is the caller's, closed by tree_stack_close(). */
int tree_stack_open(const struct root *root, const struct strv *ids, int **ret, struct error *err);
void tree_stack_close(int *stack, size_t count);

int tree_make_full(const struct tree_making *making, const struct tree_parent *parent,
		   size_t *ret_files, struct error *err);
int tree_make_delta(const struct tree_making *making, const struct tree_parent *parent,
		    size_t *ret_files, struct error *err);
