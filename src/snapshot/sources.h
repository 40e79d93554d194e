/*
 * sources: files outside of a repository that a git layer was made from.
 *
 * The fingerprint covers the git dir. The configuration also comes from the user's and the
 * machine's files and from whatever those include, and which files a commit becomes depends on
 * attributes there. Which ones these are only git knows, so it is asked when a layer is made; the
 * layer remembers each with its stat data, and to look again costs one stat for each.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "git/repository.h"

/*
 * A JSON object, path to state, as it stands in a layer's description. As with fingerprint_take(), whatever
 * changes after the call shows in sources_same().
 */
int sources_take(const struct repository *repository, json_t **ret, struct error *err);

/* Whether none of them has changed, come or gone. False for NULL. */
bool sources_same(const json_t *sources);
