/*
 * collect: removing layers that nobody uses.
 *
 * A layer is used when a sandbox's record names it, when somebody holds it (layer.h), or when a
 * used layer's description names it. What an unused layer names is not kept by that.
 *
 * A candidate is locked first and the records are read then, so that there is no moment in which
 * one could come into use unseen: a creation holds its layers until its record is in place. It is
 * either seen by the lock or by the record, or it finds the layer gone and makes it anew. A layer
 * leaves .layers by one rename(2), and is deleted afterwards: killed at any moment, what is left
 * is in .tmp, where the next command sweeps it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "store/root.h"

struct collected {
	char *id;
	uint64_t bytes; /* that its removal frees: what has other names elsewhere is not counted */
	char *kept;	/* why it is still there although no sandbox uses it; or NULL */
	bool buried;	/* of collect.c: taken out of .layers, still to be deleted */
};

struct collection {
	struct collected *items;
	size_t count;
};

/*
 * Looks at the layers `only`, or at all of them when it is NULL. With `dry_run` nothing is removed,
 * and the items are what would be. ERR_CORRUPT, and nothing is removed, when the record of a
 * sandbox or the description of a used layer cannot be read: nobody knows what it uses.
 */
int collect(const struct root *root, const struct strv *only, bool dry_run, struct collection *ret,
	    struct error *err);

/*
 * What collect() would remove if these sandboxes were not there. Removes nothing.
 */
int collect_without(const struct root *root, const struct strv *without, struct collection *ret,
		    struct error *err);
void collection_release(struct collection *collection);
#define autocollection __attribute__((cleanup(collection_release)))
