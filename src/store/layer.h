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
#include <stddef.h>

#include "base/error.h"
#include "base/str.h"
#include "store/root.h"

/*
 * 0 and the description and an fd of the layer's directory; 1 when there is none. One without a
 * description is none.
 */
int layer_open(const struct root *root, const char *id, json_t **ret_description, int *ret_fd,
	       struct error *err);

/*
 * Locks a usable layer against being discarded, for as long as *ret_fd is open; any number may.
 * 1 when there is none.
 */
int layer_hold(const struct root *root, const char *id, int *ret_fd, struct error *err);

/*
 * Layers that are held together. What decides to use a layer, or has just made it, holds it until
 * a sandbox's record that names it is in place: what nobody holds and no record names is removed
 * (collect.h) at any moment, also one that was there, or was made, an instant ago. So:
 *
 *   find or make the layer
 *   layer_holds_add(root, id, &holds, err) == 1 -> it is gone again: start over
 *   ... use what is in it, write the record ...
 *   layer_holds_release(&holds);
 */
struct layer_holds {
	int *fds;
	size_t count;
};

/* 0; 1 when there is no such layer. */
int layer_holds_add(const struct root *root, const char *id, struct layer_holds *holds,
		    struct error *err);
/* The same, and the layer's description. */
int layer_holds_open(const struct root *root, const char *id, struct layer_holds *holds,
		     json_t **ret_description, struct error *err);
/* Adds all of `from`, which is empty afterwards. */
void layer_holds_move(struct layer_holds *from, struct layer_holds *to);
void layer_holds_release(struct layer_holds *holds);
#define autoholds __attribute__((cleanup(layer_holds_release)))

/*
 * The ids of the layers that a layer's description names, usable or not: every string, alone or in
 * an array, under "tree", "stack", "parent" and "layers". None when there is no such layer.
 */
int layer_references(const struct root *root, const char *id, struct strv *ret, struct error *err);

/* Whether something can be a layer's id: one path component, and not a hidden one. */
bool layer_is_id(const char *text);

struct layer_making {
	const struct root *root;
	char *id;
	char *temp;
	int fd; /* the layer's directory; `tree` is the maker's to create */
	int lock;
	bool lasting; /* the maker's: what is in it is nowhere else, and is never made anew (state.h) */
};

#define LAYER_MAKING_INIT                       \
	{                                       \
		NULL, NULL, NULL, -1, -1, false \
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

/* Names this boot of the machine; "unknown" where the kernel does not say. */
const char *boot_id(void);
