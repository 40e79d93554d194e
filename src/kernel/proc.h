/*
 * proc: what the kernel tells in /proc and /sys, by absolute path.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/str.h"

/* Appends the whole file, at most `max` bytes. */
int proc_read(const char *path, size_t max, struct str *ret, struct error *err);

/* The first number in the file; -1 when there is no such file or no number in it. */
long proc_read_number(const char *path);
