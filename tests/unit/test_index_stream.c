#include "support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "snapshot/index.h"

static const char *const formats[] = {"sha1", "sha256"};

/* A repository with files of all kinds, staged. */
static char *prepare(const struct temp *temp, const char *format)
{
	autofree char *object_format = xasprintf("--object-format=%s", format);
	char *path = temp_path(temp, format);

	git(temp->path, "init", "-q", object_format, format, NULL);
	autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	make_dirs(fd, "a/b/c");
	make_dirs(fd, "a-b");
	put_text(fd, "empty", "");
	put_text(fd, "a/one", "1\n");
	put_text(fd, "a/b/c/two", "22\n");
	put_text(fd, "a-b/four", "4444\n");
	put_text(fd, "run", "#!/bin/sh\n");
	put_text(fd, "\xff\n\"odd\"", "x\n");
	assert_int_equal(fchmodat(fd, "run", 0755, 0), 0);
	assert_int_equal(symlinkat("nowhere", fd, "link"), 0);
	/* Names of every length modulo 8: entries are padded. */
	for (int i = 1; i <= 9; i++) {
		autofree char *name = xasprintf("%.*s", i, "nnnnnnnnn");

		put_text(fd, name, "n");
	}
	git(path, "add", "-A", NULL);
	return path;
}

static int git_dir_of(const char *path)
{
	autofree char *git_dir = xasprintf("%s/.git", path);
	int fd = open(git_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* Copies `from` through reader and writer. What index_reader_next() ended with. */
static int copy(int dirfd, const char *from, const char *to, bool sha256, struct error *err)
{
	autoreader struct index_reader *reader = NULL;
	autowriter struct index_writer *writer = NULL;
	const struct index_entry *entry = NULL;
	int result;

	if (index_reader_open(dirfd, from, sha256, &reader, err) < 0)
		return -1;
	assert_success(
		index_writer_open(dirfd, to, sha256, index_reader_count(reader), &writer, err),
		err);
	while ((result = index_reader_next(reader, &entry, err)) == 1)
		assert_success(index_writer_add(writer, entry, err), err);
	return result ? result : index_writer_finish(&writer, err);
}

static char *listing(const char *path)
{
	return git_says(path, "ls-files", "-s", "-v", "--debug", NULL);
}

/* git sees in a copy what it sees in its own, and finds the checksum right. */
static void expect_copy(const char *path, bool sha256)
{
	autoerror struct error err = ERROR_INIT;
	autofd int dir = git_dir_of(path);
	autofree char *before = listing(path);

	assert_success(copy(dir, "index", "copy", sha256, &err), &err);
	assert_int_equal(renameat(dir, "copy", dir, "index"), 0);
	autofree char *after = listing(path);

	assert_string_equal(before, after);
	git(path, "fsck", "--strict", NULL);
}

/* Flags of every kind, and an unmerged path. */
static void complicate(const char *path)
{
	autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	git(path, "commit", "-q", "-m", "all", NULL);
	git(path, "checkout", "-q", "-b", "other", NULL);
	commit_file(path, "a/one", "other\n");
	git(path, "checkout", "-q", "-", NULL);
	commit_file(path, "a/one", "ours\n");
	assert_int_not_equal(git_status(path, "merge", "-q", "other", NULL), 0);
	put_text(fd, "later", "l\n");
	git(path, "add", "-N", "later", NULL);
	git(path, "update-index", "--assume-unchanged", "run", NULL);
	git(path, "update-index", "--skip-worktree", "a-b/four", NULL);
}

static void versions(const char *path, bool sha256, const char *const *numbers)
{
	for (; *numbers; numbers++) {
		git(path, "update-index", "--index-version", *numbers, NULL);
		expect_copy(path, sha256);
	}
}

static void each_version_and_format(void **state)
{
	const struct temp *temp = *state;

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		autofree char *path = prepare(temp, formats[i]);

		versions(path, i == 1, (const char *const[]){"2", "4", NULL});
		complicate(path);
		versions(path, i == 1, (const char *const[]){"3", "4", NULL});
	}
}

static void the_numbers_are_those_of_the_file(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = prepare(temp, "sha1");
	autoerror struct error err = ERROR_INIT;
	autofd int tree = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofd int dir = git_dir_of(path);
	autoreader struct index_reader *reader = NULL;
	const struct index_entry *entry = NULL;
	uint32_t count = 0;

	assert_success(index_reader_open(dir, "index", false, &reader, &err), &err);
	while (index_reader_next(reader, &entry, &err) == 1) {
		struct stat st;

		count++;
		assert_int_equal(fstatat(tree, entry->path, &st, AT_SYMLINK_NOFOLLOW), 0);
		struct index_stat expected = index_stat_of(&st);

		assert_memory_equal(&entry->stat, &expected, sizeof expected);
		assert_int_equal(entry->stat.size, st.st_size);
		assert_int_equal(entry->stat.modified, st.st_mtim.tv_sec);
		assert_int_equal(entry->stat.changed_ns, st.st_ctim.tv_nsec);
		assert_int_equal(entry->mode & S_IFMT, st.st_mode & S_IFMT);
	}
	assert_int_equal(count, 16);
	assert_int_equal(index_reader_count(reader), count);
	assert_false(error_is_set(&err));
}

/* A writer's entry for a path. */
static struct index_entry entry_of(const char *path)
{
	return (struct index_entry){.path = path, .mode = 0100644, .oid = {1, 2, 3}};
}

/* Several times what is held in memory at once, and paths of up to 4 KiB. */
static void more_than_a_window(void **state)
{
	enum { COUNT = 3000 };
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autoerror struct error err = ERROR_INIT;
	autofd int dir = git_dir_of(path);
	autowriter struct index_writer *writer = NULL;
	autoreader struct index_reader *reader = NULL;
	autofree char *longest = xmalloc(4100);
	autostr struct str names = STR_INIT;
	const struct index_entry *read = NULL;

	assert_success(index_writer_open(dir, "large", false, COUNT, &writer, &err), &err);
	memset(longest, 'x', 4100);
	for (int i = 0; i < COUNT; i++) {
		snprintf(longest, 4100, "%06d", i);
		longest[6] = 'x';
		size_t len = 6 + (size_t)i * 7919 % 4090;
		char cut = longest[len];

		longest[len] = '\0';
		struct index_entry entry = entry_of(longest);

		assert_success(index_writer_add(writer, &entry, &err), &err);
		str_addf(&names, "%s\n", longest);
		longest[len] = cut;
	}
	assert_success(index_writer_finish(&writer, &err), &err);
	assert_success(index_reader_open(dir, "large", false, &reader, &err), &err);
	autostr struct str seen = STR_INIT;

	while (index_reader_next(reader, &read, &err) == 1)
		str_addf(&seen, "%s\n", read->path);
	assert_false(error_is_set(&err));
	assert_int_equal(seen.len, names.len);
	assert_memory_equal(seen.s, names.s, names.len);
	assert_int_equal(renameat(dir, "large", dir, "index"), 0);
	autofree char *said = git_says(path, "ls-files", NULL);

	assert_int_equal(strlen(said), names.len - 1);
	assert_memory_equal(said, names.s, names.len - 1);
}

static void a_writer_keeps_its_promise_or_leaves_nothing(void **state)
{
	const struct temp *temp = *state;
	struct error err = ERROR_INIT;
	struct index_writer *writer = NULL;
	struct index_entry entry = entry_of("f");

	assert_success(index_writer_open(temp->fd, "w", false, 1, &writer, &err), &err);
	assert_failure(index_writer_finish(&writer, &err), &err, ERR_CORRUPT, "1 entries");
	error_clear(&err);
	assert_null(writer);
	assert_false(exists(temp->fd, "w"));

	assert_success(index_writer_open(temp->fd, "w", false, 1, &writer, &err), &err);
	assert_success(index_writer_add(writer, &entry, &err), &err);
	assert_failure(index_writer_add(writer, &entry, &err), &err, ERR_CORRUPT, "more entries");
	error_clear(&err);
	index_writer_abort(&writer);
	assert_false(exists(temp->fd, "w"));

	put_text(temp->fd, "w", "old");
	assert_failure(index_writer_open(temp->fd, "w", false, 1, &writer, &err), &err, ERR_SYSTEM,
		       "w: File exists");
	error_clear(&err);
	autofree char *kept = get_text(temp->fd, "w");

	assert_string_equal(kept, "old");
}

/* Everything there is, to the end. 0, INDEX_FOREIGN, or -1. */
static int read_whole(int dirfd, const char *name, struct error *err)
{
	autoreader struct index_reader *reader = NULL;
	const struct index_entry *entry = NULL;
	int result = index_reader_open(dirfd, name, false, &reader, err);

	if (result < 0)
		return result;
	do
		result = index_reader_next(reader, &entry, err);
	while (result == 1);
	return result;
}

/* An index of two entries, an extension between them and the checksum. */
static void put_index(int dirfd, const char *first, const char *second, const char *extension)
{
	static const char checksum[20];
	autostr struct str bytes = STR_INIT;
	const char *const paths[] = {first, second};

	str_add_bytes(&bytes, "DIRC\0\0\0\2\0\0\0\2", 12);
	for (size_t i = 0; i < 2; i++) {
		size_t len = strlen(paths[i]);
		size_t start = bytes.len;
		char numbers[62] = {0};

		numbers[26] = (char)0x81;
		numbers[27] = (char)0xa4;
		numbers[61] = (char)len;
		str_add_bytes(&bytes, numbers, sizeof numbers);
		str_add(&bytes, paths[i]);
		do
			str_add_char(&bytes, '\0');
		while ((bytes.len - start) % 8);
	}
	if (extension) {
		str_add(&bytes, extension);
		str_add_bytes(&bytes, "\0\0\0\3abc", 7);
	}
	str_add_bytes(&bytes, checksum, sizeof checksum);
	unlinkat(dirfd, "index", 0);
	put_bytes(dirfd, "index", bytes.s, bytes.len);
}

static void extensions_and_order(void **state)
{
	static const struct {
		const char *first, *second, *extension;
		int result;
	} cases[] = {
		{"a", "b", NULL, 0},
		{"a", "b", "Xyz ", 0},
		{"a", "b", "xyz ", -1},
		{"a", "b", "link", INDEX_FOREIGN},
		{"a", "b", "sdir", INDEX_FOREIGN},
		{"", "b", NULL, INDEX_FOREIGN},
		{"b", "a", NULL, -1},
		{"a", "a", NULL, -1},
		{"a.b", "a/b", NULL, 0},
		{"a/b", "a.b", NULL, -1},
		{"z", "\xc3", NULL, 0},
	};
	const struct temp *temp = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autoerror struct error err = ERROR_INIT;

		put_index(temp->fd, cases[i].first, cases[i].second, cases[i].extension);
		int result = read_whole(temp->fd, "index", &err);

		assert_int_equal(result, cases[i].result);
		if (result < 0)
			assert_failure(result, &err, ERR_GIT, "index cannot be understood");
	}
}

static void what_git_splits_is_foreign(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = prepare(temp, "sha1");
	autofd int dir = git_dir_of(path);
	autoerror struct error err = ERROR_INIT;

	git(path, "update-index", "--split-index", NULL);
	assert_int_equal(read_whole(dir, "index", &err), INDEX_FOREIGN);
	git(path, "commit", "-q", "-m", "all", NULL);
	git(path, "update-index", "--no-split-index", NULL);
	assert_int_equal(read_whole(dir, "index", &err), 0);
	git(path, "sparse-checkout", "set", "--cone", "--sparse-index", "a-b", NULL);
	assert_int_equal(read_whole(dir, "index", &err), INDEX_FOREIGN);
}

/* With any byte changed, and cut anywhere, it is read or refused; nothing else happens. */
static void damage(int dir)
{
	autostr struct str bytes = STR_INIT;
	autoerror struct error err = ERROR_INIT;
	size_t refused = 0;

	assert_success(file_read_at(dir, "index", 1 << 20, &bytes, &err), &err);
	for (size_t i = 0; i < bytes.len; i++) {
		struct error why = ERROR_INIT;

		unlinkat(dir, "cut", 0);
		put_bytes(dir, "cut", bytes.s, i);
		refused += read_whole(dir, "cut", &why) < 0;
		error_clear(&why);
		bytes.s[i] ^= (char)(1 << i % 8);
		unlinkat(dir, "flipped", 0);
		put_bytes(dir, "flipped", bytes.s, bytes.len);
		int result = read_whole(dir, "flipped", &why);

		assert_true(result < 0 ? why.code == ERR_GIT : why.code == ERR_NONE);
		error_clear(&why);
		bytes.s[i] ^= (char)(1 << i % 8);
	}
	/* Cut at the end of an extension the last of the rest is taken for the checksum. */
	assert_true(refused > bytes.len * 9 / 10);
}

static void hostile_bytes(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = prepare(temp, "sha1");
	autofd int dir = git_dir_of(path);

	damage(dir);
	complicate(path);
	git(path, "update-index", "--index-version", "4", NULL);
	damage(dir);
}

static void a_count_without_entries(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;

	put_bytes(temp->fd, "i",
		  "DIRC\0\0\0\2\xff\xff\xff\xff"
		  "01234567890123456789",
		  32);
	assert_failure(read_whole(temp->fd, "i", &err), &err, ERR_GIT, "cannot be understood");
	error_clear(&err);
	assert_int_equal(mkfifoat(temp->fd, "fifo", 0600), 0);
	assert_failure(read_whole(temp->fd, "fifo", &err), &err, ERR_GIT, "cannot be understood");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(each_version_and_format),
		WITH_TEMP(the_numbers_are_those_of_the_file),
		WITH_TEMP(more_than_a_window),
		WITH_TEMP(a_writer_keeps_its_promise_or_leaves_nothing),
		WITH_TEMP(extensions_and_order),
		WITH_TEMP(what_git_splits_is_foreign),
		WITH_TEMP(hostile_bytes),
		WITH_TEMP(a_count_without_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
