#include "support.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "snapshot/index.h"

static void set(struct index_trees *trees, const char *path, unsigned char id)
{
	unsigned char oid[INDEX_OID_MAX] = {id, [19] = 9};

	index_trees_set(trees, path, oid);
}

static char *text_of(const struct index_trees *trees)
{
	struct str text = STR_INIT;

	str_add(&text, "");
	for (size_t i = 0; i < trees->count; i++)
		str_addf(&text, "<%s> %u\n", trees->items[i].path, trees->items[i].oid[0]);
	return str_take(&text);
}

static void assert_trees(const struct index_trees *trees, const char *expected)
{
	autofree char *text = text_of(trees);

	assert_string_equal(text, expected);
}

static void the_last_word_counts(void **state)
{
	autotrees struct index_trees trees = INDEX_TREES_INIT;

	(void)state;
	index_trees_sort(&trees);
	set(&trees, "b", 1);
	set(&trees, "", 2);
	set(&trees, "a/b", 3);
	index_trees_forget(&trees, "b");
	index_trees_forget(&trees, "c");
	set(&trees, "c", 4);
	set(&trees, "a/b", 5);
	set(&trees, "a-b", 6);
	index_trees_forget(&trees, "never");
	index_trees_sort(&trees);
	assert_trees(&trees, "<> 2\n<a-b> 6\n<a/b> 5\n<c> 4\n");
	set(&trees, "a-b", 7);
	index_trees_forget(&trees, "");
	index_trees_sort(&trees);
	assert_trees(&trees, "<a-b> 7\n<a/b> 5\n<c> 4\n");
}

static void stored_and_loaded(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	autostr struct str bytes = STR_INIT;
	autotrees struct index_trees loaded = INDEX_TREES_INIT;

	for (int sha256 = 0; sha256 < 2; sha256++) {
		autotrees struct index_trees trees = INDEX_TREES_INIT;

		set(&trees, "", 1);
		set(&trees, "a", 2);
		set(&trees, "a/b", 3);
		unlinkat(temp->fd, "trees", 0);
		assert_success(index_trees_store(&trees, temp->fd, "trees", sha256, &err), &err);
		index_trees_release(&loaded);
		assert_success(index_trees_load(temp->fd, "trees", sha256, &loaded, &err), &err);
		assert_trees(&loaded, "<> 1\n<a> 2\n<a/b> 3\n");
		assert_memory_equal(loaded.items[2].oid, trees.items[2].oid, INDEX_OID_MAX);
	}
	/* With the other size of ids, and cut anywhere, it is not understood. */
	assert_success(file_read_at(temp->fd, "trees", 1 << 20, &bytes, &err), &err);
	for (size_t len = 0; len <= bytes.len; len++) {
		struct error why = ERROR_INIT;

		unlinkat(temp->fd, "trees", 0);
		put_bytes(temp->fd, "trees", bytes.s, len);
		assert_failure(index_trees_load(temp->fd, "trees", len == bytes.len ? false : true,
						&loaded, &why),
			       &why, ERR_GIT, "trees cannot be understood");
		error_clear(&why);
	}
}

/* "<path> id" of each directory, as git tells them of HEAD; and as read from an index. */
static void each_directory_of_a_commit(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	autofree char *path = make_repository(temp, "r");
	autofree char *index = temp_path(temp, "index");
	autofree char *option = xasprintf("--index-output=%s", index);
	autofd int dir = open_beneath(temp->fd, "r", O_RDONLY | O_DIRECTORY, 0);
	autotrees struct index_trees trees = INDEX_TREES_INIT;
	autostr struct str text = STR_INIT;

	make_dirs(dir, "a/b/c");
	make_dirs(dir, "long name");
	put_text(dir, "a/b/c/f", "1");
	put_text(dir, "a/b/g", "2");
	put_text(dir, "long name/h", "3");
	git(path, "add", "-A", NULL);
	git(path, "commit", "-q", "-m", "more", NULL);
	git(path, "read-tree", option, "HEAD", NULL);
	assert_success(index_trees_read(temp->fd, "index", false, &trees, &err), &err);
	for (size_t i = 0; i < trees.count; i++) {
		if (i)
			str_addf(&text, "%s040000 tree ", i > 1 ? "\n" : "");
		for (size_t k = 0; i && k < 20; k++)
			str_addf(&text, "%02x", trees.items[i].oid[k]);
		if (i)
			str_addf(&text, "\t%s", trees.items[i].path);
	}
	autofree char *said = git_says(path, "ls-tree", "-r", "-d", "HEAD", NULL);

	assert_string_equal(text.s, said);
	assert_string_equal(trees.items[0].path, "");
	/* What is changed since is known no more, and neither is what is above. */
	put_text(dir, "a/b/new", "4");
	git(path, "read-tree", "HEAD", NULL);
	git(path, "add", "a/b/new", NULL);
	autofd int git_dir = open_beneath(dir, ".git", O_RDONLY | O_DIRECTORY, 0);
	autotrees struct index_trees changed = INDEX_TREES_INIT;

	assert_success(index_trees_read(git_dir, "index", false, &changed, &err), &err);
	assert_int_equal(changed.count, 2);
	assert_string_equal(changed.items[0].path, "a/b/c");
	assert_string_equal(changed.items[1].path, "long name");
}

/* An index without entries, and with a cache tree of these bytes. */
static int read_tree(const struct temp *temp, const char *bytes, size_t len, struct error *err)
{
	autotrees struct index_trees trees = INDEX_TREES_INIT;
	autostr struct str index = STR_INIT;
	const char size[4] = {0, 0, (char)(len >> 8), (char)len};
	static const char checksum[20];

	str_add_bytes(&index, "DIRC\0\0\0\2\0\0\0\0TREE", 16);
	str_add_bytes(&index, size, 4);
	str_add_bytes(&index, bytes, len);
	str_add_bytes(&index, checksum, 20);
	unlinkat(temp->fd, "index", 0);
	put_bytes(temp->fd, "index", index.s, index.len);
	return index_trees_read(temp->fd, "index", false, &trees, err);
}

#define OID "01234567890123456789"

static void hostile_cache_trees(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool good;
	} cases[] = {
#define CASE(bytes, good) {bytes, sizeof(bytes) - 1, good}
		CASE("\0"
		     "1 0\n" OID,
		     true),
		CASE("\0"
		     "-1 1\na\0"
		     "1 0\n" OID,
		     true),
		CASE("\0"
		     "-1 1\na\0"
		     "-1 1\nb\0"
		     "-1 0\n",
		     true),
		CASE("\0"
		     "1 1\n" OID,
		     false),
		CASE("\0"
		     "-1 1\n\0"
		     "-1 0\n",
		     false),
		CASE("x\0"
		     "-1 0\n",
		     false),
		CASE("\0"
		     "-1 1\na/b\0"
		     "-1 0\n",
		     false),
		CASE("\0"
		     "-1 0\nrest",
		     false),
		CASE("\0"
		     "-1 0",
		     false),
		CASE("\0"
		     "1 0\n0123",
		     false),
		CASE("\0"
		     "1 99999999999999999999\n" OID,
		     false),
		CASE("\0"
		     " \n",
		     false),
		CASE("no end", false),
#undef CASE
	};
	const struct temp *temp = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autoerror struct error err = ERROR_INIT;
		int result = read_tree(temp, cases[i].bytes, cases[i].len, &err);

		if (cases[i].good)
			assert_success(result, &err);
		else
			assert_failure(result, &err, ERR_GIT, "index cannot be understood");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_word_counts),
		WITH_TEMP(stored_and_loaded),
		WITH_TEMP(each_directory_of_a_commit),
		WITH_TEMP(hostile_cache_trees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
