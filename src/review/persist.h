/*
 * persist: a sandbox's commits and uncommitted work as branches of the host's repository.
 *
 * git packs in the viewer, the host takes the pack into a quarantine, checks it, and takes it
 * from there (quarantine.h, publish.h). Of the host's repository only new objects and the named refs are written:
 * never its work tree, its index, or a branch that is checked out.
 *
 * Uncommitted work becomes one commit on top of the sandbox's HEAD, by the user and committed by
 * PERSIST_COMMITTER; the same state makes the same commit. A branch of the host's that was brought
 * before is moved as long as nothing is lost by that: every commit that it would lose is either such
 * a commit or one that the sandbox itself has, and so was replaced there. What the host has added
 * to it is never dropped.
 */
#pragma once

#include <stddef.h>

#include "git/repository.h"
#include "review/state.h"
#include "review/viewer.h"

#define PERSIST_COMMITTER "jib <jib@localhost>"

struct pick;
/* The user chooses (pick.h). -1: nothing is brought at all. */
typedef int persist_choose(void *data, struct pick *pick, struct error *err);

struct persist_wishes {
	bool no_wip; /* commits only */
	bool nested; /* gitlinks, and files of repositories inside of the work tree */
	bool tags, notes, stash;
	const struct strv *branches; /* only these; none: all that gained commits */
	const char *as;		     /* the host's name for the only one */
	bool update;		     /* fast-forward the host's own branch of that name */
	bool dry_run;
	/* A directory for patches and a bundle, instead of the host's repository. */
	const char *export_to;
	persist_choose *choose; /* or NULL: everything */
	void *data;
};

enum persist_what { PERSIST_CREATED, PERSIST_UPDATED, PERSIST_SAME };

struct persisted {
	char *source; /* the ref in the sandbox */
	char *target; /* the ref on the host */
	char old_oid[OID_HEX_MAX + 1];
	char new_oid[OID_HEX_MAX + 1];
	size_t commits; /* that the sandbox has made */
	bool wip;	/* one more for what was not committed */
	enum persist_what what;
};

struct persist_result {
	struct state state;
	struct persisted *items;
	size_t count;
	bool whole; /* nothing of the repository's work was left behind by the wishes */
};

/*
 * The name of a sandbox is part of the names of its branches. ERR_NOT_FOUND when the host's
 * repository is gone, ERR_EXISTS when a branch of the host's is in the way, ERR_UNSUPPORTED for a
 * repository inside of the work tree without the wish for it.
 */
int persist_repository(struct viewer *viewer, size_t repo, const struct persist_wishes *wishes,
		       struct persist_result *ret, struct error *err);
void persist_result_release(struct persist_result *result);
#define autopersist __attribute__((cleanup(persist_result_release)))
