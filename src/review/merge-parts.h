/*
 * merge-parts: what the files of merge.c share.
 */
#pragma once

#include "review/merge.h"

/* A path that the merge removes from the work tree, and the change that does. */
struct path_owner {
	const char *path;
	size_t index;
};

/* Makes the verdict a conflict; returns 0. What was decided before is forgotten. */
int merge_conflict(struct verdict *verdict, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Merges the bytes of three files with git, into the private directory. */
int merge_text(const struct merge *merge, struct verdict *verdict, bool executable,
	       struct error *err);

/* Lists what the changes remove. 1 when a path is named twice: *ret_twice says which. */
int merge_list_leaving(struct merge *merge, const char **ret_twice);

/*
 * Whether what is in the way of `path` is removed by the merge itself: the file that a directory
 * takes the place of, or all that is in the directory which becomes a file. 1 when it is.
 */
int merge_way_is_clear(const struct merge *merge, const char *path, const struct content *host,
		       struct error *err);

/*
 * Whether a file that is to be removed has made way already, for a directory, or for a file or a
 * link above that is the merge's own. 1 when it has.
 */
int merge_is_replaced(const struct merge *merge, const char *path, const struct content *host,
		      struct error *err);
