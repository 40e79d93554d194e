/*
 * pin: a host repository at this moment, as immutable layers.
 *
 * A tree layer holds the files of HEAD's commit and the index that fits them; it is shared by
 * every sandbox on that commit. A git layer holds a self-contained git dir: objects by hard link,
 * refs, HEAD, and a configuration without credentials; it is shared until a ref or the
 * configuration changes. When both are there already, pinning costs a walk over the loose refs
 * and starts no process.
 *
 * Whatever the host does afterwards (edit, checkout, rebase, gc --prune=now) changes nothing in
 * a layer: files are copies, and a hard link outlives the name it was made from.
 */
#pragma once

#include "base/error.h"
#include "base/progress.h"
#include "base/str.h"
#include "git/config.h"
#include "git/repository.h"
#include "store/layer.h"
#include "store/root.h"

struct pin {
	struct repository_head head;
	char *fingerprint; /* of the state of the repository that was pinned */
	struct strv tree;  /* layer ids, uppermost first; none with --live */
	struct strv git;
	/* What config_finish() gives for the repository, when the layer remembers it. */
	struct config config;
	bool config_known;
	char *excludes_file; /* the user's core.excludesFile on the host, or NULL */
	/* All of the layers, until a record names them; the caller may move them elsewhere. */
	struct layer_holds holds;
};

/*
 * pin_repository() where nothing has to be made: 0, or 1 when something has. It starts no process,
 * and neither does the configuration then, which the layer remembers: as long as none of the
 * files that it comes from has changed, git would say the same.
 */
int pin_recall(const struct root *root, const struct repository *repository, struct pin *ret,
	       struct error *err);

/*
 * `progress` may be NULL. ERR_UNSTABLE when the repository keeps changing while it is captured; ERR_OWNERSHIP, ERR_GIT
 * as of repository_inspect().
 */
int pin_repository(const struct root *root, const struct repository *repository,
		   const struct progress *progress, struct pin *ret, struct error *err);

/* Whether it is still what it was when it was pinned: 1 yes, 0 no, -1. */
int pin_is_current(const struct repository *repository, const struct pin *pin, struct error *err);

/* The error of one that never is. */
int pin_unstable(const struct repository *repository, struct error *err);

/* The branch that a ref is, or the ref itself; NULL for NULL. */
char *pin_branch(const char *ref);

/*
 * For --live: the host's own directories are the lower layers, and only a layer on top of them
 * is made, with the sanitised configuration and whiteouts over locks, over what ties a
 * linked worktree to its host, and over what may hold credentials: FETCH_HEAD, config.worktree,
 * and modules/ as a whole, so that submodules are seen as files without a repository.
 */
int pin_live(const struct root *root, const struct repository *repository, struct pin *ret,
	     struct error *err);

void pin_release(struct pin *pin);
#define autopin __attribute__((cleanup(pin_release)))
