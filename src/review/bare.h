/*
 * bare: bare repositories among the files that a sandbox has added.
 *
 * git, started in one, takes its configuration and its hooks: it is a repository wherever it lies, also when it
 * came as files of a commit (T45).
 */
#pragma once

#include "base/str.h"

/* The HEAD of one, as it stands in the list of paths; or NULL. */
const char *bare_find(const struct strv *files);
