#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "snapshot/index.h"

static void add(struct index_edits *edits, const char *path, unsigned int stage, unsigned char id,
		bool removed, bool dirty)
{
	struct index_entry entry = {
		.path = path,
		.mode = removed ? 0 : 0100755,
		.oid = {id, 2, 3, [19] = 4},
		.stat = {1, 2, 3, 4, 5, 6, 7, 8, id},
		.stage = stage,
		.assume_valid = id & 1,
		.skip_worktree = id & 2,
		.intent_to_add = id & 4,
	};

	index_edits_add(edits, &entry, removed, dirty);
}

/* One line an edit: "path stage id flags". */
static char *text_of(const struct index_edits *edits)
{
	struct str text = STR_INIT;

	for (size_t i = 0; i < edits->count; i++) {
		const struct index_edit *edit = &edits->items[i];

		str_addf(&text, "%s %u %u%s%s\n", edit->entry.path, edit->entry.stage,
			 edit->entry.oid[0], edit->removed ? " removed" : "",
			 edit->dirty ? " dirty" : "");
	}
	return str_take(&text);
}

static void assert_edits(const struct index_edits *edits, const char *expected)
{
	autofree char *text = text_of(edits);

	assert_string_equal(text, expected);
}

static void sorted_with_the_last_word(void **state)
{
	autoedits struct index_edits edits = INDEX_EDITS_INIT;

	(void)state;
	index_edits_sort(&edits);
	add(&edits, "b/x", 0, 1, false, false);
	add(&edits, "b", 3, 2, false, false);
	add(&edits, "a", 0, 3, false, false);
	add(&edits, "b", 1, 4, false, true);
	add(&edits, "b-", 0, 5, false, false);
	add(&edits, "\xff", 0, 6, false, false);
	add(&edits, "a", 0, 7, true, false);
	add(&edits, "a", 0, 8, false, false);
	index_edits_sort(&edits);
	assert_edits(&edits, "a 0 8\nb 1 4 dirty\nb 3 2\nb- 0 5\nb/x 0 1\n\xff 0 6\n");
}

static void newer_wins_path_by_path(void **state)
{
	autoedits struct index_edits older = INDEX_EDITS_INIT;
	autoedits struct index_edits newer = INDEX_EDITS_INIT;
	autoedits struct index_edits merged = INDEX_EDITS_INIT;

	(void)state;
	add(&older, "a", 0, 1, false, false);
	add(&older, "m", 1, 2, false, false);
	add(&older, "m", 2, 3, false, false);
	add(&older, "n", 0, 4, false, false);
	add(&older, "z", 0, 5, false, true);
	add(&newer, "b", 0, 6, false, false);
	add(&newer, "m", 0, 7, true, false);
	add(&newer, "n", 2, 8, false, false);
	add(&newer, "n", 3, 9, false, false);
	index_edits_merge(&older, &newer, &merged);
	assert_edits(&merged, "a 0 1\nb 0 6\nm 0 7 removed\nn 2 8\nn 3 9\nz 0 5 dirty\n");
}

static void stored_and_loaded(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;

	for (int sha256 = 0; sha256 < 2; sha256++) {
		autoedits struct index_edits edits = INDEX_EDITS_INIT;
		autoedits struct index_edits loaded = INDEX_EDITS_INIT;

		for (unsigned char i = 0; i < 32; i++) {
			autofree char *path = xasprintf("d/%02u", i);

			add(&edits, path, i & 3, i, i & 8, i & 16);
		}
		unlinkat(temp->fd, "edits", 0);
		assert_success(index_edits_store(&edits, temp->fd, "edits", sha256, &err), &err);
		assert_success(index_edits_load(temp->fd, "edits", sha256, &loaded, &err), &err);
		assert_int_equal(loaded.count, edits.count);
		for (size_t i = 0; i < edits.count; i++) {
			struct index_edit *a = &edits.items[i], *b = &loaded.items[i];

			assert_string_equal(a->entry.path, b->entry.path);
			assert_memory_equal(&a->entry.stat, &b->entry.stat, sizeof a->entry.stat);
			assert_memory_equal(a->entry.oid, b->entry.oid, sizeof a->entry.oid);
			assert_int_equal(a->entry.mode, b->entry.mode);
			assert_int_equal(a->entry.stage, b->entry.stage);
			assert_int_equal(a->entry.assume_valid, b->entry.assume_valid);
			assert_int_equal(a->entry.skip_worktree, b->entry.skip_worktree);
			assert_int_equal(a->entry.intent_to_add, b->entry.intent_to_add);
			assert_int_equal(a->removed, b->removed);
			assert_int_equal(a->dirty, b->dirty);
		}
	}
}

static void refuses_what_is_not_its_own(void **state)
{
	static const size_t places[] = {7, 0};
	const struct temp *temp = *state;
	struct error err = ERROR_INIT;
	autoedits struct index_edits edits = INDEX_EDITS_INIT;
	autostr struct str bytes = STR_INIT;

	assert_failure(index_edits_load(temp->fd, "none", false, &edits, &err), &err, ERR_SYSTEM,
		       "No such file");
	error_clear(&err);
	add(&edits, "f", 0, 1, false, false);
	assert_success(index_edits_store(&edits, temp->fd, "edits", false, &err), &err);
	assert_success(file_read_at(temp->fd, "edits", 1 << 20, &bytes, &err), &err);
	/* Another version, and then another kind of file. */
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		bytes.s[places[i]]++;
		unlinkat(temp->fd, "edits", 0);
		put_bytes(temp->fd, "edits", bytes.s, bytes.len);
		assert_failure(index_edits_load(temp->fd, "edits", false, &edits, &err), &err,
			       ERR_GIT, "edits cannot be understood");
		error_clear(&err);
		bytes.s[places[i]]--;
	}
	assert_edits(&edits, "f 0 1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorted_with_the_last_word),
		cmocka_unit_test(newer_wins_path_by_path),
		WITH_TEMP(stored_and_loaded),
		WITH_TEMP(refuses_what_is_not_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
