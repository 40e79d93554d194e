/*
 * quarantine: a bare repository in the store, which no sandbox can reach, for what comes out of one.
 *
 * Objects come as a pack, a stream that git makes in the viewer, and are taken in by `index-pack
 * --strict`: hashed anew and checked. What the host's repository has already is found there, by an
 * alternate; a sandbox's store never is one (T47). From here it is
 * published (publish.h).
 */
#pragma once

#include "git/git.h"
#include "git/repository.h"
#include "review/refs.h"
#include "review/viewer.h"
#include "store/root.h"

struct quarantine {
	const struct root *root;
	char *name;
	char *path;
	int fd;
	bool sha256;
};

#define QUARANTINE_INIT                     \
	{                                   \
		NULL, NULL, NULL, -1, false \
	}

/* With the host repository's objects at hand, or none when it is NULL. */
int quarantine_open(const struct root *root, const struct repository *host, bool sha256,
		    struct quarantine *ret, struct error *err);
void quarantine_close(struct quarantine *quarantine);
#define autoquarantine __attribute__((cleanup(quarantine_close)))

/* To run git in it. Valid as long as the quarantine. */
struct git_place quarantine_place(const struct quarantine *quarantine);

/*
 * Brings what `tips` reach and `known` do not, and names the tips as the refs `tips` says; into an empty
 * quarantine. ERR_CORRUPT when something is malformed, or an object that another one names is missing.
 */
int quarantine_receive(const struct quarantine *quarantine, struct viewer *viewer, size_t repo,
		       const struct refs *tips, const struct strv *known, struct error *err);

/*
 * Whether all is there that the tips need and `known` do not reach. That costs as much as the trees of the
 * known commits are large: for when something has failed. ERR_CORRUPT.
 */
int quarantine_check(const struct quarantine *quarantine, const struct refs *tips,
		     const struct strv *known, struct error *err);

/* Which of these ids are objects of a repository. */
int quarantine_filter_known(const struct git_place *place, const struct strv *oids,
			    struct strv *ret, struct error *err);
