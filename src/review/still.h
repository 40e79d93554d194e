/*
 * still: a sandbox that holds still while the host looks at its files.
 *
 * One that does not run is leased, so that nothing starts in it; one that runs is frozen.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "store/root.h"
#include "store/sandbox.h"

/*
 * For as long as *ret_keep is open, be it closed by the end of the process. *ret_frozen is set when
 * something runs in it. ERR_RUNNING when it cannot be had; what sandbox_lease() says.
 */
int hold_still(const struct root *root, const struct sandbox *sandbox, int *ret_keep,
	       bool *ret_frozen, struct error *err);

/*
 * Whether one that was frozen has been still until now. It may have been stopped, or its monitor killed;
 * then nobody keeps others from running something in it.
 */
bool is_still(int keep);
