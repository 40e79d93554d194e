/*
 * name: what a sandbox may be called.
 *
 * A name is a directory name, a host name and a word on a command line: 1 to 64 characters of
 * A-Z a-z 0-9 . _ -, the first one a letter or a digit.
 */
#pragma once

#include "base/error.h"

enum { NAME_MAX_LENGTH = 64 };

/* ERR_NAME, saying what is wrong with it. */
int name_check(const char *name, struct error *err);

/* "<repo>-<4 letters>": `repository` made valid and shortened, random letters. */
char *name_invent(const char *repository);
