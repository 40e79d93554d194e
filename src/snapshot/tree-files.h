/*
 * tree-files: the files of a full tree layer, by two threads.
 *
 * A file of a commit can be had in three ways, best first:
 *
 *   stack   a copy from the layers of a commit in which it is the same
 *   host    a copy of the host's file (sharing blocks where the file system can), with the host's
 *           modification time, if it is still what the host's index says it is
 *   git     from the object store: not made here, the caller asks git for what is left
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/error.h"
#include "snapshot/index.h"

struct tree_places {
	int target;	  /* the directory that is filled */
	int host;	  /* the host's work tree */
	const int *stack; /* `tree` of layers, uppermost first */
	size_t stack_count;
};

struct tree_file {
	const char *path; /* from a commit, which anybody may have written */
	uint32_t mode;	  /* as in the index */
	bool in_stack;
	bool on_host;
	struct index_stat host; /* what it must look like there */
	bool made;		/* result: it is in the target, and this is its stat data */
	struct index_stat stat;
};

/*
 * Opens a directory of the target; what of it is missing is made, with the modes that it has on the
 * host. "" is the target itself.
 */
int tree_directory(int target, int host, const char *path, int *ret, struct error *err);

/* ERR_GIT when a path leads out of the tree; files that could not be made are no error. */
int tree_files_make(const struct tree_places *places, struct tree_file *files, size_t count,
		    struct error *err);
