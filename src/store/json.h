/*
 * json: what the records of sandboxes and the descriptions of layers are made of.
 */
#pragma once

#include <jansson.h>

#include "base/str.h"

/* An array of strings. One that is not UTF-8, which JSON cannot hold, is left out. */
json_t *json_strings(const struct strv *v);
