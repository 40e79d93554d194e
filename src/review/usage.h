/*
 * usage: what the store takes on the disk, and what of it can be freed.
 *
 * Every file is counted once. One with hard links that are not in the store (objects of a host
 * repository, linked into a git layer) is shared with the host: to remove it here frees nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/file.h"
#include "base/str.h"
#include "store/root.h"

struct layer_usage {
	char *id;
	char *host; /* the work tree of the repository whose sandboxes use it; NULL: none does */
	struct tree_usage
		own; /* what goes with it: hard links that it shares with another layer count once */
	uint64_t shared; /* bytes that the host has as well */
};

struct sandbox_usage {
	char *name;
	struct strv
		layers; /* all that it needs, also by way of other layers; unknown of a broken one */
	struct tree_usage own;
};

struct store_usage {
	struct sandbox_usage *sandboxes; /* sorted by name */
	size_t sandbox_count;
	struct layer_usage *layers; /* sorted by id */
	size_t layer_count;
	struct tree_usage other; /* what is being made or removed, and jib's own notes */
};

/* Takes a walk over all of it. What disappears meanwhile is not counted. */
int store_usage(const struct root *root, struct store_usage *ret, struct error *err);
void store_usage_release(struct store_usage *usage);
#define autousage __attribute__((cleanup(store_usage_release)))

/* The layers that a sandbox of these layers keeps: they, and what their descriptions name. */
int layers_needed(const struct root *root, struct strv *ids, struct error *err);

/* In all, but for what is shared with the host. */
struct tree_usage store_usage_total(const struct store_usage *usage);
