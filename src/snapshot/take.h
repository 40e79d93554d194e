/*
 * take: a whole repository at one moment: what is committed (pin.h), what is not (local.h), and its
 * submodules (modules.h).
 *
 * The parts are made one after the other, so in the end it is asked whether the repository is still
 * the same; if not, all of it is done again.
 */
#pragma once

#include "base/error.h"
#include "git/repository.h"
#include "snapshot/local.h"
#include "snapshot/pin.h"
#include "store/root.h"

struct take_request {
	const struct repository *repository;
	const struct local_wishes *wishes;
	const char *from;     /* another commit than HEAD's, as the user calls it; or NULL */
	const char *location; /* the work tree's path inside */
	const struct progress *progress;
};

struct taken {
	struct pin pin; /* base and tree are those of `from` */
	char *modules;	/* layer id, or NULL */
	struct local local;
};

/*
 * `recalled` is what pin_recall() has found, and is consumed; or NULL. All layers are held in
 * ret->pin.holds. ERR_UNSTABLE when the repository keeps changing; ERR_NOT_FOUND for `from`.
 */
int take_repository(const struct root *root, const struct take_request *request,
		    struct pin *recalled, struct taken *ret, struct error *err);
void taken_release(struct taken *taken);
#define autotaken __attribute__((cleanup(taken_release)))
