/*
 * publish: from a quarantine into the host's repository.
 *
 * What a fetch does, but for one thing: the objects are git's to store (unpack-objects, index-pack), the refs
 * are git's to move, all of them in one transaction that knows what each was before. A fetch would
 * then walk all trees of the commits that the host has already, to see whether the new ones are
 * connected with them, which grows with the repository. In the quarantine every object that a new
 * one names was found, and what the sandbox started with is a host's own commit; only when no ref
 * reaches that any more all is walked (quarantine_check()).
 *
 * Hooks do not run.
 */
#pragma once

#include "review/quarantine.h"

struct publish_ref {
	const char *name;
	const char *old_oid; /* "" when there was none */
	const char *new_oid;
};

/* ERR_EXISTS when a branch is checked out, or is being rebased, in one of the host's work trees. */
int publish_check(const struct repository *host, const char *ref, struct error *err);

/* All or nothing. ERR_GIT when a ref is not what it was, or cannot be. */
int publish(const struct quarantine *quarantine, const struct repository *host,
	    const struct publish_ref *refs, size_t count, const char *reason, struct error *err);
