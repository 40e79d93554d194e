/*
 * layer: immutable directories, shared by sandboxes.
 *
 *   ROOT/.layers/<id>/layer.json    what it is
 *   ROOT/.layers/<id>/tree/         its content, a lower directory of overlays
 *   ROOT/.layers/<id>/...           more, as its maker likes (a tree layer's index)
 *
 * An id says what is in the layer (a hash over what it is made from), so whoever needs it makes
 * it when it is missing, once:
 *
 *   result = layer_begin(root, id, &making, err);
 *   if (result == 1) -> it is there now
 *   ... fill making.fd ...
 *   layer_finish(&making, description, err);
 *
 * A layer becomes visible by rename(2) when it is complete. Its content is not synced then: that
 * would make the first sandbox wait for the disk. Instead the layer carries the id of the boot
 * it was made in until layer_settle() has synced it, and is made anew when the machine was
 * restarted in between, because a power cut may have torn it.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "store/root.h"

/* 0 and the description and an fd of the layer's directory; 1 when there is none. */
int layer_open(const struct root *root, const char *id, json_t **ret_description, int *ret_fd,
	       struct error *err);

/*
 * Locks a usable layer against being discarded, for as long as *ret_fd is open; any number may.
 * 1 when there is none.
 */
int layer_hold(const struct root *root, const char *id, int *ret_fd, struct error *err);

struct layer_making {
	const struct root *root;
	char *id;
	char *temp;
	int fd; /* the layer's directory; `tree` is the maker's to create */
	int lock;
};

#define LAYER_MAKING_INIT                \
	{                                \
		NULL, NULL, NULL, -1, -1 \
	}

/*
 * Waits for another maker of the same layer. 0, or 1 when the layer exists. ERR_RUNNING when it
 * has to be made anew and a sandbox still uses what is there.
 */
int layer_begin(const struct root *root, const char *id, struct layer_making *ret,
		struct error *err);
/* Consumes the description. */
int layer_finish(struct layer_making *making, json_t *description, struct error *err);
/* Gives up an unfinished layer; accepts a finished or empty one. */
void layer_abort(struct layer_making *making);
#define automaking __attribute__((cleanup(layer_abort)))

/* Whether a layer still has to be synced before a sandbox on it can be promised to last. */
bool layer_is_settled(const json_t *description);

/* Syncs the file system of the layers and marks these as lasting. ERR_CORRUPT when one is gone. */
int layer_settle(const struct root *root, char *const *ids, struct error *err);
