/*
 * layers: how the layers of a repository are made; pin.h says when.
 */
#pragma once

#include "base/error.h"
#include "git/config.h"
#include "git/repository.h"
#include "snapshot/index.h"
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

/*
 * The layers that show the files of a commit, uppermost first; what is missing is made, on top of
 * the nearest there are. A file that is unchanged on the host is taken from there, with its
 * modification time, so that what was built from it stays up to date. All of them are added to
 * `holds`.
 */
int tree_layers(const struct root *root, const struct repository *repository,
		const struct repository_head *head, const struct config *settings,
		const struct progress *progress, struct strv *ret, struct layer_holds *holds,
		struct error *err);

struct tree_index {
	const struct repository *repository;
	const struct strv *tree; /* of tree_layers() */
	bool sha256;
	const char *location;		/* the work tree's path inside */
	const char *excludes_file;	/* the user's core.excludesFile on the host, or NULL */
	const struct index_edits *more; /* uncommitted work, sorted; or NULL */
	const struct strv *staged; /* those of its paths that differ from the commit; or NULL */
};

/* Writes the index that fits the layers (index_compose()). */
int tree_index(const struct root *root, const struct tree_index *request, int dirfd,
	       struct error *err);

/*
 * Fills a git layer that layer_begin() has opened, with the index that fits the tree layers. Links
 * race with a gc of the host; a result is only good if the fingerprint is the same before and
 * after.
 */
int git_layer_fill(const struct layer_making *making, const struct repository *repository,
		   const struct repository_head *head, const struct config *settings,
		   const struct strv *tree, struct error *err);

/*
 * The index of a stack of tree layers, as entries: the reader of its base, and the edits over it,
 * sorted.
 */
int tree_entries(const struct root *root, const struct strv *tree, bool sha256,
		 struct index_reader **ret_base, struct index_edits *ret_edits, struct error *err);
