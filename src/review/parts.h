/*
 * parts: the uppers of a sandbox, by the names that they have in a state (states.h).
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"
#include "store/sandbox.h"

/* "home", "repos/<repo>", "git/<repo>", "carried/<repo>/<n>"; no home where there is none on disk. */
void parts_list(const struct sandbox *sandbox, struct strv *ret);
/* Where the upper is, relative to the sandbox's directory. */
char *part_path(const char *part);
/*
 * Only those that hold something, that cannot be read (those may), or whose own mode is not that of
 * the states.
 */
int parts_filled(const struct root *root, const struct sandbox *sandbox, struct strv *ret,
		 struct error *err);

/* Makes an empty directory in `tree` that shows as the upper does: mode, times and attributes. */
int part_make(const struct sandbox *sandbox, int tree, const char *part, struct error *err);
