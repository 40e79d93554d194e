/*
 * bar: progress.h on a terminal.
 *
 *   autobar struct bar bar;
 *   bar_begin(&bar);
 *   ... work that is given bar_progress(&bar) ...
 *   bar_end(&bar);
 *
 * One line on stderr, drawn when half a second has passed and at most ten times a second, and
 * gone at the end; also when a signal ends the program meanwhile. Nothing is drawn where stderr is
 * not a terminal, or one that cannot erase a line (TERM=dumb), or after output_quiet(). In between
 * nothing else is to be said on stderr. One at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/progress.h"
#include "base/str.h"

struct bar {
	int fd;		    /* -1: nothing is drawn */
	struct progress to; /* what the work is given */
	uint64_t began;	    /* milliseconds of the monotonic clock */
	uint64_t drawn;	    /* when last; 0 when not yet */
	unsigned int turn;  /* of the mark that moves when there is no total */
};

void bar_begin(struct bar *ret);
/* NULL when nothing is drawn. It points into the bar, which stays where it is. */
const struct progress *bar_progress(const struct bar *bar);
/* Erases the line; accepts a bar that has ended. */
void bar_end(struct bar *bar);
#define autobar __attribute__((cleanup(bar_end)))

/*
 * Adds what has to be written at this moment, on so many columns, to show the step; nothing when
 * it is not time yet. For bar.c, and for its test.
 */
void bar_draw(struct bar *bar, uint64_t now, size_t columns, const char *what, unsigned long done,
	      unsigned long total, struct str *ret);
