#include "review/marks.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/str.h"
#include "snapshot/fingerprint.h"
#include "snapshot/hash.h"

enum { DIGEST = SHA256_DIGEST_SIZE };

void marks_release(struct marks *marks)
{
	free(marks->digests);
	*marks = (struct marks){0};
}

/* The index of the repository, or of a submodule or a worktree that was made inside. */
static bool is_index(const char *inner)
{
	const char *name = path_last(inner);

	if (strcmp(name, "index") != 0 && !str_starts(name, "sharedindex."))
		return false;
	/* A branch may be called so. */
	return name == inner ||
	       ((str_starts(inner, "modules/") || str_starts(inner, "worktrees/")) &&
		!strstr(inner, "/refs/"));
}

static bool is_refreshed(const struct view_entry *entry)
{
	return entry->kind == VIEW_GIT && !S_ISDIR(entry->st->st_mode) &&
	       (is_index(entry->inner) || str_ends(entry->inner, ".lock"));
}

static void add_digest(struct marks *marks, struct hash *hash)
{
	/* To grow by doubling: whenever the count is a power of two, the array is full. */
	if ((marks->count & (marks->count - 1)) == 0)
		marks->digests =
			xreallocarray(marks->digests, marks->count ? marks->count * 2 : 1, DIGEST);
	sha256_digest(&hash->context, DIGEST, marks->digests + marks->count++ * DIGEST);
}

void marks_add(void *data, const struct view_entry *entry)
{
	struct marks *marks = data;
	struct stat st = *entry->st;
	struct hash hash;

	if (is_refreshed(entry))
		return;
	/* A directory changes with every temporary file; its entries are in it themselves. */
	if (S_ISDIR(st.st_mode)) {
		st.st_size = 0;
		st.st_mtim = st.st_ctim = (struct timespec){0};
	}
	if (fingerprint_is_later(&st.st_ctim, &marks->newest))
		marks->newest = st.st_ctim;
	hash_init(&hash);
	fingerprint_add_stat(&hash, entry->path, &st);
	hash_bytes(&hash, &entry->opaque, sizeof entry->opaque);
	add_digest(marks, &hash);
}

static int compare_digests(const void *a, const void *b)
{
	return memcmp(a, b, DIGEST);
}

char *marks_end(struct marks *marks, const struct sandbox *sandbox)
{
	autostrv struct strv layers = STRV_INIT;
	struct hash hash;

	hash_init(&hash);
	hash_text(&hash, "work 1");
	sandbox_layers(sandbox, &layers);
	for (size_t i = 0; i < layers.len; i++)
		hash_text(&hash, layers.items[i]);
	if (marks->count)
		qsort(marks->digests, marks->count, DIGEST, compare_digests);
	hash_bytes(&hash, marks->digests, marks->count * DIGEST);
	return hash_id(&hash, "work");
}
