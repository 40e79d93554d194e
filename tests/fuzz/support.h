/*
 * support: what the fuzz targets share.
 *
 * A target that needs files works in a directory of its own below TMPDIR, which is removed when
 * the run ends. What must hold for every input is checked with MUST, which ends the run with the
 * input saved.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)           \
	do {                      \
		if (!(condition)) \
			abort();  \
	} while (0)

/* The directory, which is made by the first call. */
int fuzz_directory(const char **ret_path);
