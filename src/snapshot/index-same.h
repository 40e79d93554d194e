/*
 * index-same: whether two indexes say the same.
 *
 * git writes its index anew when it has only looked: the stat data of a file was too young to be
 * trusted, and now it is not. That is no change of anybody's.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/*
 * Whether both have the same entries but for stat data; not, when that cannot be told: one
 * cannot be read, is damaged, or is split. Either may be a sandbox's, hostile as it likes.
 */
bool index_same(int dirfd_a, int dirfd_b, const char *name, bool sha256);
