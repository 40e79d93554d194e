/*
 * ask: one question after the other, on stderr, answered on stdin.
 *
 *   y  yes      a  yes, and to all that follow
 *   n  no       d  no, and to all that follow
 *   q  (or the end of the input) quit, and do nothing at all
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct ask {
	char rest; /* 'a' or 'd': nothing more is asked */
};

#define ASK_INIT  \
	{         \
		0 \
	}

/* The question is escaped. ERR_QUIT, "nothing was done", when the user quits. */
int ask(struct ask *ask, const char *question, bool *ret, struct error *err);
