/*
 * record: a sandbox as its file sandbox.json says it; for sandbox.c alone.
 *
 * The file has a schema version. One that is newer than this jib, or that cannot be understood, is an
 * error (ERR_CORRUPT); what an older one does not have is empty.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "store/sandbox.h"

/* In the sandbox's directory. ERR_UNSUPPORTED for a path that is not UTF-8, as JSON has to be. */
int record_write(const struct sandbox *sandbox, int dirfd, bool durable, struct error *err);

/* Notes in `record_ino` and `record_time` which file it is; another one comes with each change. */
int record_identify(int dirfd, struct sandbox *sandbox, struct error *err);

/*
 * Fills all but `name`, `fd` and `passing`. On failure too *ret is the caller's to release; err->number is
 * ENOENT when there is no record.
 */
int record_read(int dirfd, struct sandbox *ret, struct error *err);
