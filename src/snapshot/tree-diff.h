/*
 * tree-diff: what differs between the trees of two commits.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "git/repository.h"
#include "snapshot/index.h"

struct tree_diff {
	/* Files that are new or different in the second one, and removed ones; sorted by path. */
	struct index_edits files;
	struct index_trees trees; /* tree objects that are new or different; not sorted */
	struct strv gone;	  /* directories that the second one has not */
	bool attributes; /* a .gitattributes is among the files: it decides what others look like */
};

/* ERR_GIT also when a name is one that git refuses to check out, as ".git" is. */
int tree_diff(const struct repository *repository, const char *from, const char *to,
	      struct tree_diff *ret, struct error *err);
void tree_diff_release(struct tree_diff *diff);
#define autodiff __attribute__((cleanup(tree_diff_release)))

/* What becomes of a file at this path; NULL when it is the same in both. */
const struct index_edit *tree_diff_find(const struct tree_diff *diff, const char *path);

/* Reads 40 or 64 hexadecimal digits. */
bool oid_parse(const char *text, size_t digits, unsigned char *ret);
