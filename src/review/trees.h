/*
 * trees: what tree objects of a sandbox hold, read through its viewer.
 *
 * One `git cat-file --batch` answers everything; what it has answered is remembered. Trees are a
 * sandbox's word: bounded, and what does not parse is an error.
 */
#pragma once

#include <stdint.h>

#include "review/viewer.h"

struct trees {
	struct viewer *viewer;
	struct viewer_git git;
	struct str waiting; /* read, but not used yet */
	size_t at;
	void *known; /* by object id, see tsearch(3) */
};

#define TREES_INIT                     \
	{                              \
		.git = VIEWER_GIT_INIT \
	}

enum { OID_HEX_MAX = 64, MODE_TREE = 040000, MODE_SUBMODULE = 0160000 };

/* git knows the empty tree without having it. */
#define EMPTY_TREE_SHA1 "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
#define EMPTY_TREE_SHA256 "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"

struct tree_entry {
	uint32_t mode; /* as in the tree: 0100644, 0100755, 0120000, 040000, 0160000 */
	char oid[OID_HEX_MAX + 1];
};

int trees_open(struct viewer *viewer, size_t repo, struct trees *ret, struct error *err);
void trees_close(struct trees *trees);
#define autotrees_reader __attribute__((cleanup(trees_close)))

/* The tree of a commit, in hexadecimal. 1 when there is no such commit. */
int trees_of_commit(struct trees *trees, const char *commit, char ret[OID_HEX_MAX + 1],
		    struct error *err);

/* What lies at a path: 0; 1 when there is nothing. `tree` may be NULL: the empty tree. */
int trees_find(struct trees *trees, const char *tree, const char *path, struct tree_entry *ret,
	       struct error *err);

/* The first component of a path that is a submodule: its length, or 0 when none is. */
int trees_find_gitlink(struct trees *trees, const char *tree, const char *path, size_t *ret_len,
		       struct error *err);
