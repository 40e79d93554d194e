#include "review/bare.h"

#include <string.h>

#include "base/memory.h"

/* What git asks for: HEAD, and objects and refs, there or where `commondir` says. */
const char *bare_find(const struct strv *files)
{
	for (size_t i = 0; i < files->len; i++) {
		const char *path = files->items[i];

		if (!str_ends(path, "/HEAD") && strcmp(path, "HEAD") != 0)
			continue;
		size_t len = strlen(path) - strlen("HEAD");
		autofree char *common = xasprintf("%.*scommondir", (int)len, path);
		autofree char *objects = xasprintf("%.*sobjects/", (int)len, path);
		autofree char *refs = xasprintf("%.*srefs/", (int)len, path);
		bool has_common = false, has_objects = false, has_refs = false;

		for (size_t k = 0; k < files->len; k++) {
			has_common = has_common || strcmp(files->items[k], common) == 0;
			has_objects = has_objects || str_starts(files->items[k], objects);
			has_refs = has_refs || str_starts(files->items[k], refs);
		}
		if (has_common || (has_objects && has_refs))
			return path;
	}
	return NULL;
}
