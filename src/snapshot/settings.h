/*
 * settings: which single setting a sandbox may see. layers.h has the whole configuration.
 */
#pragma once

#include <stdbool.h>

/*
 * Whether neither key nor value (NULL for none) holds an address with credentials, and nothing is
 * named that only the host has: a program, a signing key, a file at an absolute path.
 */
bool setting_is_safe(const char *key, const char *value);
