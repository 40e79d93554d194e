/*
 * changes: what a sandbox has changed, as the user would say it: view_changes() and view_survey()
 * less what git does by itself when it only looks.
 */
#pragma once

#include "base/error.h"
#include "store/root.h"
#include "store/sandbox.h"
#include "view/view.h"

int changes_of(const struct root *root, const struct sandbox *sandbox, struct view_changes *ret,
	       struct error *err);

/* What view_survey() has told, corrected. */
void changes_correct(const struct root *root, const struct sandbox *sandbox,
		     struct view_survey *survey);
