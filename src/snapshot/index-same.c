#include "snapshot/index-same.h"

#include <string.h>

#include "snapshot/index.h"

static bool same_entry(const struct index_entry *a, const struct index_entry *b)
{
	return strcmp(a->path, b->path) == 0 && a->mode == b->mode && a->stage == b->stage &&
	       memcmp(a->oid, b->oid, INDEX_OID_MAX) == 0 && a->assume_valid == b->assume_valid &&
	       a->skip_worktree == b->skip_worktree && a->intent_to_add == b->intent_to_add;
}

static bool same_entries(struct index_reader *a, struct index_reader *b)
{
	if (index_reader_count(a) != index_reader_count(b))
		return false;
	for (;;) {
		autoerror struct error ignored = ERROR_INIT;
		const struct index_entry *one, *two;
		int first = index_reader_next(a, &one, &ignored);
		int second = index_reader_next(b, &two, &ignored);

		if (first != second || first < 0 || first > 1)
			return false;
		if (first == 0)
			return true;
		if (!same_entry(one, two))
			return false;
	}
}

bool index_same(int dirfd_a, int dirfd_b, const char *name, bool sha256)
{
	autoerror struct error ignored = ERROR_INIT;
	autoreader struct index_reader *a = NULL;
	autoreader struct index_reader *b = NULL;

	return index_reader_open(dirfd_a, name, sha256, &a, &ignored) == 0 &&
	       index_reader_open(dirfd_b, name, sha256, &b, &ignored) == 0 && same_entries(a, b);
}
