/*
 * uppers: what init may know about changes of the work trees, for `git status` inside.
 *
 * overlayfs keeps what a sandbox has changed in its upper directories, which are nowhere to be
 * seen inside. The guest's fsmonitor lists them through file descriptors that init is started
 * with (guest/changes.h): clones of mounts that are attached nowhere, so that mountinfo does not
 * show them and `..` ends at the upper itself, and that nobody can write through.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "store/root.h"
#include "store/sandbox.h"

struct uppers {
	struct strv names; /* arguments of init, and what it inherits: see base/upper.h */
	int *fds;
	size_t count;
};

#define UPPERS_INIT                \
	{                          \
		STRV_INIT, NULL, 0 \
	}

/*
 * Before the root is entered, with `root` and `sandbox` opened in the same mount namespace. Adds to an empty
 * *ret. A live repository is left out, and every one where the kernel cannot do it: git then looks at each
 * file, as it does without a monitor.
 */
void uppers_open(const struct root *root, const struct sandbox *sandbox, struct uppers *ret);
void uppers_release(struct uppers *uppers);
#define autouppers __attribute__((cleanup(uppers_release)))
