/*
 * git-parts: what a self-contained git dir in a layer is made of, for the repository itself and for
 * each of its submodules.
 *
 * Everything is read from a git dir of the host that no sandbox can write. It may change meanwhile: a
 * result is only good if the fingerprint is the same before and after.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/str.h"
#include "git/config.h"
#include "git/repository.h"
#include "store/root.h"

/* A directory of the host; a symbolic link is followed. */
int git_open(int base, const char *name);

/*
 * Makes `objects` (packs with a `.keep`, loose objects, commit graphs, what alternates lend) and
 * `lfs/objects` in the git dir `git`, by hard link.
 */
int git_link_objects(const struct repository *repository, const struct config *settings, int git,
		     struct error *err);

/*
 * What git has fetched to check out these tree layers, of a partial clone (tree-making.h): into `objects`
 * of `git` as well.
 */
int git_link_fetched(const struct root *root, const struct strv *tree, int git, struct error *err);

/*
 * Copies a file or a directory of a git dir; what is not there is left out, as are locks and samples. What
 * is there already stays.
 */
int git_copy(int from, int to, const char *name, struct error *err);
/* The same for what is in a directory, into another one. */
int git_copy_content(int from, int to, struct error *err);
/* As git_copy(), and addresses lose their credentials: for reflogs. */
int git_copy_scrubbed(int from, int to, const char *name, struct error *err);
/* The same for an open file: as file_copy_at(), with the mode and time of a new file. */
int git_copy_file_scrubbed(int from, int dirfd, const char *name, struct error *err);

/*
 * Refs, reflogs, shallow, info, hooks, recorded conflict resolutions. Every ref that can be is packed,
 * since a file costs more to copy than a line to write.
 */
int git_copy_refs(const struct repository *repository, const struct config *settings, int git,
		  struct error *err);

/* HEAD as it is at `head`. */
int git_write_head(int git, const struct repository_head *head, struct error *err);

/*
 * The packed-refs that loose and packed refs make together. `loose` is sorted by name; of a name in
 * both the loose one counts. Here for its test.
 */
struct loose_ref {
	char *name;
	char *oid;
};
void packed_refs_merge(const struct str *packed, const struct loose_ref *loose, size_t count,
		       struct str *ret);
