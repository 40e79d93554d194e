/*
 * memo: what `jib persist` has brought to the host, noted beside the sandbox.
 *
 *   ROOT/<name>/persisted.json
 *
 * Only the host writes it; nothing inside can reach it. It says nothing of now: whether a sandbox's
 * work is on the host is computed from it each time (quick.h), by comparing the fingerprint and what
 * the host's refs say.
 *
 *   struct memo memo = MEMO_INIT;
 *   memo_fingerprint(&sandbox, &memo.fingerprint, err);     before anything is read
 *   ... bring the work to the host ...
 *   repo = memo_add_repo(&memo, name, host);
 *   memo_add_ref(repo, "refs/heads/jib/fix/main", oid);
 *   memo_write(&sandbox, &memo, err);
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/str.h"
#include "store/sandbox.h"

struct memo_ref {
	char *ref; /* its full name on the host */
	char *oid;
};

/*
 * A repository of which everything came that there was: commits and uncommitted work, either by the
 * refs or, with `applied`, into the host's work tree. One with neither had nothing to bring. One
 * of which only a part came does not belong into a memo.
 */
struct memo_repo {
	char *name; /* in the sandbox */
	char *host; /* the host's work tree */
	bool applied;
	char *tree;	   /* the work tree that came, as a tree id; or NULL */
	struct strv files; /* of the host's that were written or removed then, */
	char *standing;	   /* and how they were left: memo_standing() */
	struct memo_ref *refs;
	size_t ref_count;
};

struct memo {
	char *fingerprint;
	struct memo_repo *repos;
	size_t repo_count;
};

#define MEMO_INIT             \
	{                     \
		NULL, NULL, 0 \
	}

void memo_release(struct memo *memo);
#define automemo __attribute__((cleanup(memo_release)))

/* The result is valid until the next one is added. */
struct memo_repo *memo_add_repo(struct memo *memo, const char *name, const char *host);
void memo_add_ref(struct memo_repo *repo, const char *ref, const char *oid);
/* What was applied, as another memo has noted it. */
void memo_copy_applied(const struct memo_repo *from, struct memo_repo *to);
const struct memo_repo *memo_find_repo(const struct memo *memo, const char *name);

/*
 * Inode, size, mode and times of files of a work tree, as a hash. As long as it is the same, what was applied
 * is on the host: not after an undo, or when another commit is checked out. NULL when a file cannot be
 * looked at.
 */
char *memo_standing(const char *host, const struct strv *files);
/* Whether what was applied still is where it was put. */
bool memo_stands(const struct memo_repo *repo);

/*
 * The fingerprint of what the sandbox holds now (marks.h), for memo_write(). Nothing may be running
 * in it, also not frozen: what is mapped into memory and was written to gets no new time when it is
 * written to again, until the kernel has brought it to the disk. A change that comes later, be it in
 * the next moment, makes another one. ERR_UNSTABLE when it keeps changing.
 */
int memo_fingerprint(const struct sandbox *sandbox, char **ret, struct error *err);

/* Durable. ERR_UNSUPPORTED for a repository whose path is not UTF-8, as JSON has to be. */
int memo_write(const struct sandbox *sandbox, const struct memo *memo, struct error *err);

/* False when there is none, or none that can be understood. */
bool memo_read(const struct sandbox *sandbox, struct memo *ret);
