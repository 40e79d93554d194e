/*
 * raw: the head of a record of `git diff-tree --raw -z --no-abbrev`, ":MODE MODE OID OID STATUS"; the
 * path, of a rename two of them, follows behind a NUL.
 */
#pragma once

#include <stdint.h>

#include "review/trees.h"

struct raw {
	uint32_t old_mode, new_mode;
	char old_oid[OID_HEX_MAX + 1], new_oid[OID_HEX_MAX + 1];
	char status;
};

/* -1 when it is none. */
int raw_parse(const char *head, struct raw *ret);
