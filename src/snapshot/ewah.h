/*
 * ewah: a compressed bitmap as git keeps it in its index (gitformat-bitmap(5), appendix A).
 *
 * Bits are set in ascending order; then ewah_add_to() appends the finished bitmap to a string.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct ewah {
	uint64_t *words;
	size_t len, alloc;
	size_t marker;	  /* the last run length word */
	uint64_t pending; /* bits of the word that is being filled */
	uint32_t word;	  /* which one that is */
	uint32_t bits;	  /* the last one that is set, plus one */
};

#define EWAH_INIT                      \
	{                              \
		NULL, 0, 0, 0, 0, 0, 0 \
	}

void ewah_set(struct ewah *ewah, uint32_t position);
void ewah_add_to(struct ewah *ewah, struct str *str);
void ewah_release(struct ewah *ewah);
#define autoewah __attribute__((cleanup(ewah_release)))
