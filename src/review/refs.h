/*
 * refs: which refs a sandbox has, and had when it was made.
 */
#pragma once

#include "review/trees.h"
#include "review/viewer.h"

struct ref {
	char *name; /* "refs/heads/main" */
	char oid[OID_HEX_MAX + 1];
	size_t rank; /* of refs.c: the order in which they were found */
};

struct refs {
	struct ref *items; /* by name */
	size_t count;
};

/* A sandbox's word: names that git accepts, ids that look like ids. Symbolic and broken ones are left out. */
int refs_now(struct viewer *viewer, size_t repo, struct refs *ret, struct error *err);
/* From the layers; of a live sandbox those that the host has now. */
int refs_then(const struct viewer *viewer, size_t repo, struct refs *ret, struct error *err);
void refs_release(struct refs *refs);
#define autorefs __attribute__((cleanup(refs_release)))

const struct ref *refs_find(const struct refs *refs, const char *name);
bool refs_have(const struct refs *refs, const char *oid);

/* Parses lines of "OID NAME". */
void refs_parse(const char *text, struct refs *ret);

struct head {
	char *ref;		   /* what HEAD names in the end; NULL when it is detached */
	char oid[OID_HEX_MAX + 1]; /* "" when there is no commit */
};

int head_now(struct viewer *viewer, size_t repo, const struct refs *now, struct head *ret,
	     struct error *err);
