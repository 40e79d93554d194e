/*
 * draft: a sandbox that is being put together: its repositories are captured, and no record names
 * their layers yet.
 */
#pragma once

#include "base/progress.h"
#include "base/str.h"
#include "cli/create.h"
#include "store/layer.h"

struct draft {
	struct sandbox sandbox;
	struct layer_holds holds;
	const struct progress *progress;
	struct strv masked;   /* what looks like a credential, and so is not in it */
	struct strv left_out; /* what could not be carried */
	bool switched;	      /* --from */
	bool clean;
};

#define DRAFT_INIT                      \
	{                               \
		.sandbox = SANDBOX_INIT \
	}

/* Captures the repositories as the user and the configuration want it. */
int draft_make(const struct root *root, const struct invocation *invocation,
	       const struct sources *sources, struct draft *ret, struct config *ret_config,
	       struct error *err);
void draft_release(struct draft *draft);
#define autodraft __attribute__((cleanup(draft_release)))

/* Says on stderr what the new sandbox starts from. */
void draft_describe(const struct draft *draft);
