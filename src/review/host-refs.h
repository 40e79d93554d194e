/*
 * host-refs: what a ref of a host repository says, without git.
 *
 * For many questions in a short time: the place of each repository and its packed-refs are
 * remembered in this process, the latter for as long as the file is the same. Any thread may ask.
 */
#pragma once

#include <stdbool.h>

/*
 * Whether the repository with the work tree `host` has a ref of this full name that is this object.
 * Not, when that cannot be told: a symbolic ref, a reftable, a repository that is gone.
 */
bool host_ref_is(const char *host, const char *ref, const char *oid);
