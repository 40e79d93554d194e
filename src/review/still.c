#include "review/still.h"

#include <poll.h>

#include "base/memory.h"
#include "run/lifetime.h"
#include "run/session.h"

int hold_still(const struct root *root, const struct sandbox *sandbox, int *ret_keep,
	       bool *ret_frozen, struct error *err)
{
	enum { TRIES = 100 };

	for (int i = 0; i < TRIES; i++) {
		autoerror struct error failure = ERROR_INIT;
		int result = sandbox_lease(root, sandbox, ret_keep, err);

		if (result <= 0)
			return result < 0 ? -1 : lifetime_await(*ret_keep, err);
		if (session_freeze(sandbox, ret_keep, &failure) == 0) {
			*ret_frozen = true;
			return 0;
		}
		/* It has ended meanwhile, or somebody else only looks at it. */
		if (failure.code != ERR_NOT_RUNNING) {
			*err = failure;
			failure = (struct error)ERROR_INIT;
			return -1;
		}
	}
	return error_set(err, ERR_RUNNING, "the sandbox %s cannot be held still", sandbox->name);
}

bool is_still(int keep)
{
	struct pollfd polled = {.fd = keep, .events = POLLIN};

	/* The monitor says nothing more until it ends. */
	return poll(&polled, 1, 0) == 0;
}
