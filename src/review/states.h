/*
 * states: what a sandbox has changed, as an immutable layer.
 *
 *   ROOT/.layers/state-<random>/tree/repos/<repo>        as upper/repos/<repo>
 *                              /tree/git/<repo>          as upper/git/<repo>
 *                              /tree/carried/<repo>/<n>  as upper/carried/<repo>/<n>
 *                              /tree/home                as home
 *
 * A part is missing where there was nothing. Any number of sandboxes and checkpoints may stand on a
 * state. A record names all that a sandbox stands on, uppermost first.
 *
 * Of a sandbox that does not run the uppers themselves become the layer. The record names it first, while
 * its parts are empty; then each upper is exchanged with its part by one rename(2). So the sandbox
 * shows the same at every moment, whoever is killed, and whatever an upper holds costs nothing.
 *
 * The uppers of a running sandbox are copied while it is frozen. What only a live process can own is left
 * out: the locks of git.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"
#include "store/layer.h"
#include "store/root.h"
#include "store/sandbox.h"

/*
 * More would make each mount slow, and the kernel takes a limited number. The way back must stay open when
 * there are so many.
 */
enum { STATES_MAX = 40, STATES_MAX_ROLLBACK = 80 };

/*
 * The caller holds the lease, and nothing is mounted. Afterwards the uppers are empty and
 * sandbox->states, in the record too, is what it stands on. ERR_LIMIT when there are `max` of them.
 */
int states_push(const struct root *root, struct sandbox *sandbox, size_t max, struct error *err);

/*
 * The present state, as what a record can name: pushed, or copied when the sandbox runs, and then
 * *ret_running. Until a record names it the layers have to be held, and of one that does not run the
 * lease: *ret_keep. Adds to an empty *ret.
 */
int states_take(const struct root *root, struct sandbox *sandbox, struct strv *ret,
		struct layer_holds *ret_holds, int *ret_keep, bool *ret_running, struct error *err);

/*
 * A new sandbox with the same state. ERR_EXISTS, ERR_NAME, ERR_MOUNTED, ERR_LIMIT, ERR_UNSTABLE. A
 * failure leaves the first one as it was.
 */
int states_fork(const struct root *root, const char *name, const char *new_name, struct error *err);

/* Keeps the present state as a checkpoint. `message` may be NULL. */
int states_checkpoint(const struct root *root, const char *name, const char *message,
		      unsigned int *ret_number, struct error *err);

/*
 * Takes the sandbox back to a checkpoint, 0: the latest. What it is now becomes one as well,
 * *ret_kept. ERR_RUNNING; ERR_NOT_FOUND when there is no such checkpoint.
 */
int states_rollback(const struct root *root, const char *name, unsigned int number,
		    unsigned int *ret_number, unsigned int *ret_kept, struct error *err);
