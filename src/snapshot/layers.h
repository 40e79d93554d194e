/*
 * layers: how the layers of a repository are made; pin.h says when.
 */
#pragma once

#include "base/error.h"
#include "git/config.h"
#include "git/repository.h"
#include "snapshot/pin.h"
#include "store/layer.h"

/*
 * The repository's configuration as a sandbox may see it: known settings only, no credentials
 * (URLs lose user and password), nothing that points at the host. Everything else is dropped,
 * because a token can stand in any setting that some tool invented.
 */
void settings_sanitise(const struct config *settings, struct str *ret);

/*
 * A URL without the password, and but for ssh without the user; of http(s) also without the query.
 * Anything else as it is.
 */
char *url_without_credentials(const char *url);

/* The id of the tree layer, which is made when it is missing. */
int tree_layer(const struct root *root, const struct repository *repository,
	       const struct repository_head *head, const struct config *settings,
	       pin_progress *progress, char **ret_id, struct error *err);

/*
 * Fills a git layer that layer_begin() has opened. `tree_id` is where the index comes from, or
 * NULL. Links race with a gc of the host; a result is only good if the fingerprint is the same
 * before and after.
 */
int git_layer_fill(const struct layer_making *making, const struct repository *repository,
		   const struct repository_head *head, const struct config *settings,
		   const char *tree_id, struct error *err);
