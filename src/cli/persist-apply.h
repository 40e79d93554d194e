/*
 * persist-apply: `jib persist --apply` and `--undo`, for cmd-persist.c.
 */
#pragma once

#include "cli/command.h"

int persist_apply(const struct invocation *invocation, struct error *err);
int persist_undo(const struct invocation *invocation, struct error *err);
