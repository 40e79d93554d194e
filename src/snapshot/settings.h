/*
 * settings: which parts of a configuration a sandbox may see. layers.h has that of a repository.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "git/config.h"
#include "git/repository.h"

/*
 * Whether neither key nor value (NULL for none) holds an address with credentials, and nothing is
 * named that only the host has: a program, a signing key, a file at an absolute path.
 */
bool setting_is_safe(const char *key, const char *value);

/*
 * The user's and the machine's settings as a sandbox may see them, as its system configuration: identity, aliases,
 * and what decides how git looks at files and shows them. Of the repository's own only the
 * first two, since the rest is in its git layer. Filters only when their program is inside, too.
 */
void settings_global(const struct config *config, struct str *ret);

/*
 * Leaves in a configuration what settings_global() and jib itself use, so that it can be kept.
 */
void settings_reduce(struct config *config);

/*
 * core.hooksPath, appended to the configuration of a layer when it is in the work tree: relative to that. A
 * place outside the repository does not exist inside and is left out.
 */
void settings_add_hooks(const struct repository *repository, const struct config *settings,
			struct str *ret);
/* Where the hooks are when core.hooksPath is in the git dir; else NULL. */
char *hooks_in_git_dir(const struct repository *repository, const struct config *settings);

/*
 * The file that a setting of this key names, or, without one, the file `usual` in git's directory below the home:
 * core.excludesFile ("ignore"), core.attributesFile ("attributes"). `top` is what a relative one is
 * relative to. NULL when there can be none.
 */
char *settings_file(const struct config *config, const char *key, const char *usual,
		    const char *top);

/*
 * Appends what a file of patterns says, as git inside will read it. One that is not there, or not
 * for the caller, says nothing; NULL neither.
 */
int settings_patterns(const char *path, struct str *ret, struct error *err);

/* A text with every address in it as url_without_credentials() makes it. */
void urls_scrub(const char *text, size_t len, struct str *ret);
