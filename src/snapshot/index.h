/*
 * index: git's index as jib prepares it (gitformat-index(5)).
 *
 * Nothing here holds an index in memory: entries are read and written as a stream, so that a
 * repository of a million files costs no more memory than one of a thousand.
 *
 *   reader   entries of an index that git or jib wrote, in order
 *   writer   a plain index without extensions: the `base` of a full tree layer
 *   edits    entries that differ from such a base, sorted: what a delta layer or uncommitted work adds
 *   trees    the tree objects of a commit by path, for the cache tree
 *   compose  base + edits -> the index that git inside finds, with everything that makes its
 *            first `git status` cheap: cache tree, untracked cache, fsmonitor; for large ones as a split
 *            index, whose shared part is a hard link to the base
 *   shrink   an index that git has written in full -> a split one over that shared part
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/str.h"

enum { INDEX_OID_MAX = 32, MODE_GITLINK = 0160000 /* of a submodule */ };

/* What git compares to know that a file is unchanged; truncated to 32 bits as in the file. */
struct index_stat {
	uint32_t changed, changed_ns;
	uint32_t modified, modified_ns;
	uint32_t dev, ino;
	uint32_t uid, gid;
	uint32_t size;
};

struct index_stat index_stat_of(const struct stat *st);

struct index_entry {
	const char *path;
	uint32_t mode; /* as in the index: 0100644, 0100755, 0120000, 0160000 */
	unsigned char oid[INDEX_OID_MAX];
	struct index_stat stat; /* all zero: git looks at the file */
	unsigned int stage;	/* 0, or 1 to 3 of an unmerged path */
	bool assume_valid;
	bool skip_worktree;
	bool intent_to_add;
};

/* Reader: versions 2, 3 and 4. */

struct index_reader;

int index_reader_open(int dirfd, const char *name, bool sha256, struct index_reader **ret,
		      struct error *err);

/*
 * 1 and the next entry, which is valid until the next call; 0 at the end; INDEX_FOREIGN when it
 * is a split or a sparse index, which git has to write out in full first. That may turn out at any
 * time: what was read before is to be forgotten then. The paths of a hostile index may be any text.
 */
enum { INDEX_FOREIGN = 2 };
int index_reader_next(struct index_reader *reader, const struct index_entry **ret,
		      struct error *err);
/* How many there are, as the header says. */
uint32_t index_reader_count(const struct index_reader *reader);
/* Accepts NULL. */
void index_reader_close(struct index_reader **where);
#define autoreader __attribute__((cleanup(index_reader_close)))

/* Writer: a file without extensions, version 3 (which may hold extended flags). */

struct index_writer;

/*
 * A new file; there must be none. `count` entries will follow, in the order of paths. The directory
 * has to stay open until the end.
 */
int index_writer_open(int dirfd, const char *name, bool sha256, uint32_t count,
		      struct index_writer **ret, struct error *err);
int index_writer_add(struct index_writer *writer, const struct index_entry *entry,
		     struct error *err);
/* ERR_CORRUPT when there were not `count` entries. Frees the writer in any case. */
int index_writer_finish(struct index_writer **where, struct error *err);
/* Removes what was written; accepts NULL. */
void index_writer_abort(struct index_writer **where);
#define autowriter __attribute__((cleanup(index_writer_abort)))

/* Edits. */

struct index_edit {
	struct index_entry entry; /* path is owned */
	bool removed;		  /* only the path counts */
	bool dirty; /* the work tree may differ: never taken as unchanged without a look */
};

struct index_edits {
	struct index_edit *items;
	size_t count;
};

#define INDEX_EDITS_INIT \
	{                \
		NULL, 0  \
	}

/*
 * Copies what it is given. In any order; an unmerged path has one for each of its stages. Of two
 * for the same path and stage the later one counts.
 */
void index_edits_add(struct index_edits *edits, const struct index_entry *entry, bool removed,
		     bool dirty);
/* By path (bytes) and stage, as every function below wants them. */
void index_edits_sort(struct index_edits *edits);
/* older + newer: for a path that is in both only what newer says of it is kept. */
void index_edits_merge(const struct index_edits *older, const struct index_edits *newer,
		       struct index_edits *ret);
int index_edits_store(const struct index_edits *edits, int dirfd, const char *name, bool sha256,
		      struct error *err);
int index_edits_load(int dirfd, const char *name, bool sha256, struct index_edits *ret,
		     struct error *err);
void index_edits_release(struct index_edits *edits);
#define autoedits __attribute__((cleanup(index_edits_release)))

/* Trees: directory path ("" is the root, no slash at the end) -> tree object id. */

struct index_tree {
	char *path;
	unsigned char oid[INDEX_OID_MAX];
};

struct index_trees {
	struct index_tree *items;
	size_t count;
};

#define INDEX_TREES_INIT \
	{                \
		NULL, 0  \
	}

/* From the cache tree of an index that git has written; without one there are none. */
int index_trees_read(int dirfd, const char *name, bool sha256, struct index_trees *ret,
		     struct error *err);
/* Any number of set and forget, in any order, then sort; the last one of a path counts. */
void index_trees_set(struct index_trees *trees, const char *path,
		     const unsigned char oid[INDEX_OID_MAX]);
/* A directory that is no more. */
void index_trees_forget(struct index_trees *trees, const char *path);
void index_trees_sort(struct index_trees *trees);
int index_trees_store(const struct index_trees *trees, int dirfd, const char *name, bool sha256,
		      struct error *err);
int index_trees_load(int dirfd, const char *name, bool sha256, struct index_trees *ret,
		     struct error *err);
void index_trees_release(struct index_trees *trees);
#define autotrees __attribute__((cleanup(index_trees_release)))

/* Compose. */

struct index_composition {
	bool sha256;
	int base_dir;			 /* holds the file `base`, which index_writer made */
	const struct index_edits *edits; /* relative to the base, sorted; or NULL */
	/*
	 * Of the commit, sorted. A directory that has none here, or above whose files an edit that
	 * is not part of the commit lies (see below), gets no entry in the cache tree.
	 */
	const struct index_trees *trees;
	/* Sorted paths of edits that the trees do not know of: staged work. Or NULL. */
	const struct strv *staged;
	/*
	 * With an untracked cache that knows every directory to hold nothing untracked, for a work
	 * tree that git inside sees at this path; NULL: without. What is untracked all the same, also
	 * a file of ignore rules, the monitor has to name.
	 */
	const char *location;
	/* index_exclude_id() of info/exclude and core.excludesFile; NULL when there is no such file. */
	const unsigned char *info_exclude;
	const unsigned char *excludes_file;
	/*
	 * Every entry but the dirty ones is known to be unchanged since the token "jib:0". With a split
	 * index git 2.39 leaves the shared part aside, and writes the index in full, as soon as it
	 * learns of a further entry that it is unchanged: with the first `git add`.
	 */
	bool fsmonitor;
	/* From this many entries on a split index: then `sharedindex.<id>` is linked beside it. */
	uint32_t split_from;
};

enum { INDEX_SPLIT_FROM = 8192 };

/*
 * By what an untracked cache knows a file of ignore rules outside of the work tree: the blob id of
 * its content as git holds it in memory, with one more newline at the end unless it is empty.
 */
void index_exclude_id(bool sha256, const void *content, size_t len,
		      unsigned char ret[INDEX_OID_MAX]);

/*
 * Writes the new file `index` (and perhaps the link to the base, which is a copy where there can be
 * none) into the directory `dirfd`. After a failure there is no `index`, but perhaps the link.
 */
int index_compose(const struct index_composition *composition, int dirfd, struct error *err);

/* Shrink. */

struct index_shrinking {
	bool sha256;
	int base_dir; /* holds the shared index `base`, as index_compose() has linked it */
	const char *base;
	int dirfd;    /* holds the file `index`, of which nothing is believed */
	int scratch;  /* a directory of the same file system for the new one, while it is written */
	bool durable; /* synced before it takes the old one's place */
};

/*
 * Writes `index` anew, as what differs from the shared one: INDEX_SHRUNK. It says the same then, with
 * the same extensions, mode, owner and time. 0 when that would not make it less than half as large.
 * -1 when it stays as it is: because it is damaged, not sorted, split, sparse or of version 4, differs
 * in many entries, or cannot be written.
 */
enum { INDEX_SHRUNK = 1 };
int index_shrink(const struct index_shrinking *request, struct error *err);
