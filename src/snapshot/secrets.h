/*
 * secrets: what looks like a credential among untracked and ignored files.
 *
 * First the name is judged, then, for a few names, the beginning of the file:
 *
 *   switch (secrets_name(&secrets, path)) {
 *   case SECRET_NO:   not one
 *   case SECRET_YES:  mask it
 *   case SECRET_LOOK: secrets_content(&secrets, dirfd, name, path) tells
 *   }
 *
 * Paths are relative to the work tree. The built-in list is a table in docs/carry.md, and its names
 * are compared without regard to case. The patterns of the user: docs/carry.md, too. `unmask`
 * wins over everything.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"
#include "snapshot/hash.h"

struct secrets {
	const struct strv *mask; /* NULL: none */
	const struct strv *unmask;
};

enum secret { SECRET_NO, SECRET_YES, SECRET_LOOK };

/* Of a file or a symbolic link. */
enum secret secrets_name(const struct secrets *secrets, const char *path);

/*
 * Whether a file for which secrets_name() said SECRET_LOOK holds a credential. `name` is where it
 * is below `dirfd`. What cannot be read does, to be safe; what is not there (any more) does not.
 */
bool secrets_content(const struct secrets *secrets, int dirfd, const char *name, const char *path);

/* Whether `unmask` names this path. */
bool secrets_unmasked(const struct secrets *secrets, const char *path);

/* Whether a directory (no slash at the end) is masked with everything below. */
bool secrets_directory(const struct secrets *secrets, const char *path);

/* Adds all that a judgement depends on, but for the files. */
void secrets_hash(const struct secrets *secrets, struct hash *hash);
