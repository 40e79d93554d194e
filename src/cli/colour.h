/*
 * colour: whether and in which colours something is shown, as git decides it.
 *
 * The configuration is the user's own, read where no sandbox can write (config_start("/")): a
 * current directory may be anything.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "git/config.h"

enum colour_slot {
	COLOUR_CONTEXT,
	COLOUR_META,
	COLOUR_FRAG,
	COLOUR_FUNC,
	COLOUR_OLD,
	COLOUR_NEW,
	COLOUR_COMMIT,
	COLOUR_SLOTS,
};

enum { COLOUR_SIZE = 64 };

/* What begins each slot: "\033[...m", or "" for none. All of them end with COLOUR_RESET. */
struct palette {
	char slots[COLOUR_SLOTS][COLOUR_SIZE];
};

#define COLOUR_RESET "\033[m"

/*
 * color.diff, else color.ui: always, never, auto (and true, and nothing at all). With auto there
 * are colours where stdout is a terminal that knows them (TERM is not "dumb"), NO_COLOR is not
 * set, and, if `paged`, color.pager does not deny the pager them. ERR_CONFIG.
 */
int output_coloured(const struct config *config, bool paged, bool *ret, struct error *err);

/* color.diff.SLOT, or what git takes by itself; also for a value that is no colour. */
void palette_read(const struct config *config, struct palette *ret);

/*
 * Parses a colour in git's words ("bold red", "ul #ff8000 blue", "12"). Returns 0, or -1 when
 * it is none.
 */
int colour_parse(const char *text, char ret[static COLOUR_SIZE]);
