/*
 * output: everything that jib itself says.
 *
 * stdout carries data (what a command was asked for); jib's own words go to stderr, prefixed
 * "jib: ". Whatever comes from a repository, a sandbox or the user's arguments is escaped, so
 * that it cannot move the cursor or forge a line.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include <sys/types.h>

#include "base/error.h"

/*
 * What the caller wants new files of his own to be; jib itself has 022, whoever calls.
 */
extern mode_t caller_umask;

/* "jib: ..." on stderr, escaped. Not said after output_quiet(). */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void output_quiet(void);
bool output_is_quiet(void);

/* The error, as text on stderr or, under --json, as one object on stdout. */
void output_error(const struct error *err, bool json);

/* Text for stdout, as it is. */
int output_text(const char *text, struct error *err);

/* Any bytes as a JSON string: what is not UTF-8 as it would be shown on a terminal. NULL is null. */
json_t *output_json_text(const char *text);

/* Pretty-printed, with a newline. Takes the reference. */
int output_json(json_t *value, struct error *err);
