#include "support.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "snapshot/hash.h"
#include "snapshot/settle.h"

enum { PAST = 1600000000 };

static const char *const formats[] = {"sha1", "sha256"};

/*
 * A repository with files of all kinds, whose index has version 2 or 3. Cleaning a *.txt file
 * leaves a mark, so that it shows whether git has read one.
 */
static char *prepare(const struct temp *temp, const char *format)
{
	autofree char *object_format = xasprintf("--object-format=%s", format);
	autofree char *filter = xasprintf("touch '%s/read'; cat", temp->path);
	char *path = temp_path(temp, format);

	git(temp->path, "init", "-q", object_format, format, NULL);
	autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	make_dirs(fd, "a/b/c");
	make_dirs(fd, "a-b");
	put_text(fd, ".gitattributes", "*.txt filter=loud\n");
	put_text(fd, "empty.txt", "");
	put_text(fd, "a/one.txt", "1\n");
	put_text(fd, "a/b/c/two.txt", "22\n");
	put_text(fd, "a/three.txt", "333\n");
	put_text(fd, "a-b/four.txt", "4444\n");
	put_text(fd, "z.txt", "last\n");
	put_text(fd, "run.txt", "#!/bin/sh\n");
	put_text(fd, "\xff\n\"odd\".txt", "x\n");
	assert_int_equal(fchmodat(fd, "run.txt", 0755, 0), 0);
	assert_int_equal(symlinkat("a/one.txt", fd, "link"), 0);
	assert_int_equal(symlinkat("nowhere", fd, "dangling"), 0);
	/* Names of every length modulo 8: entries are padded. */
	for (int i = 1; i <= 9; i++) {
		autofree char *name = xasprintf("%.*s.txt", i, "nnnnnnnnn");

		put_text(fd, name, "n");
	}
	git(path, "-c", "index.version=2", "add", "-A", NULL);
	git(path, "commit", "-q", "-m", "all", NULL);
	git(path, "config", "filter.loud.clean", filter, NULL);
	return path;
}

static int settle(const char *path, bool sha256, struct error *err)
{
	autofree char *git_dir = xasprintf("%s/.git", path);
	autofd int tree = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofd int dir = open(git_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return index_settle(dir, "index", tree, sha256, PAST, err);
}

/* Whether git has to read files in order to know that nothing is changed. */
static bool reads(const struct temp *temp, const char *path)
{
	unlinkat(temp->fd, "read", 0);
	autofree char *status =
		git_says(path, "--no-optional-locks", "status", "--porcelain", NULL);

	assert_string_equal(status, "");
	return exists(temp->fd, "read");
}

static void settled(void **state)
{
	const struct temp *temp = *state;
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		autofree char *path = prepare(temp, formats[i]);
		autofree char *before = git_says(path, "ls-files", "--stage", NULL);
		autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		autoerror struct error err = ERROR_INIT;

		/* As a copy of the files would be: nothing of the stat data fits. */
		const struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 5}};

		assert_int_equal(utimensat(fd, "a/one.txt", times, 0), 0);
		assert_true(reads(temp, path));
		assert_success(settle(path, i == 1, &err), &err);
		assert_false(reads(temp, path));
		autofree char *after = git_says(path, "ls-files", "--stage", NULL);

		assert_string_equal(before, after);
		/* fsck verifies the checksum of the index as well. */
		assert_int_equal(git_status(path, "fsck", "--strict", NULL), 0);
		assert_int_equal(git_status(path, "diff-files", "--quiet", NULL), 0);
		assert_int_equal(fstatat(fd, "a/b/c/two.txt", &st, 0), 0);
		assert_int_equal(st.st_mtim.tv_sec, PAST);
		assert_int_equal(st.st_mtim.tv_nsec, 0);
		/* Every git sees the same, also one that looks at nanoseconds. */
		autofree char *seen = git_says(path, "ls-files", "--debug", "a/b/c/two.txt", NULL);
		autofree char *times_seen =
			xasprintf("ctime: %ld:%ld\n  mtime: %d:0\n", (long)st.st_ctim.tv_sec,
				  st.st_ctim.tv_nsec, PAST);
		autofree char *rest_seen = xasprintf("ino: %u\n  uid: %u\tgid: %u\n  size: %u",
						     (unsigned int)st.st_ino, st.st_uid, st.st_gid,
						     (unsigned int)st.st_size);

		assert_contains(seen, times_seen);
		assert_contains(seen, rest_seen);
		assert_int_equal(fstatat(fd, "link", &st, AT_SYMLINK_NOFOLLOW), 0);
		assert_int_equal(st.st_mtim.tv_sec, PAST);
	}
}

/* A change in the very second of the settling is seen. */
static void changes_are_seen(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = prepare(temp, "sha1");
	autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoerror struct error err = ERROR_INIT;

	assert_success(settle(path, false, &err), &err);
	put_text(fd, "z.txt", "LAST\n");
	autofree char *status = git_says(path, "status", "--porcelain", NULL);

	assert_string_equal(status, " M z.txt");
}

/* Version 3: flags for files that are not there, and for ones that are only announced. */
static void extended_entries(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = prepare(temp, "sha1");
	autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoerror struct error err = ERROR_INIT;

	git(path, "update-index", "--skip-worktree", "a/one.txt", NULL);
	assert_int_equal(unlinkat(fd, "a/one.txt", 0), 0);
	put_text(fd, "intended", "x");
	git(path, "add", "-N", "intended", NULL);
	autofree char *index = get_text(fd, ".git/index");

	assert_memory_equal(index, "DIRC\0\0\0\3", 8);
	assert_success(settle(path, false, &err), &err);
	autofree char *status = git_says(path, "status", "--porcelain", NULL);

	assert_string_equal(status, " A intended");
	assert_int_equal(git_status(path, "fsck", NULL), 0);
}

/* A submodule is a directory here, and nothing of it is looked at. */
static void submodules(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = prepare(temp, "sha1");
	autofree char *commit = git_says(path, "rev-parse", "HEAD", NULL);
	autofree char *info = xasprintf("160000,%s,sub", commit);
	autoerror struct error err = ERROR_INIT;

	git(path, "update-index", "--add", "--cacheinfo", info, NULL);
	assert_success(settle(path, false, &err), &err);
	assert_int_equal(git_status(path, "ls-files", "--error-unmatch", "sub", NULL), 0);
}

static void empty_index(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "r");
	autoerror struct error err = ERROR_INIT;

	git(temp->path, "init", "-q", "r", NULL);
	git(path, "read-tree", "--empty", NULL);
	assert_success(settle(path, false, &err), &err);
	assert_int_equal(git_status(path, "status", NULL), 0);
}

/* ---- damage ---- */

static void read_index(const char *path, struct str *ret)
{
	autofree char *git_dir = xasprintf("%s/.git", path);
	autofd int dir = open(git_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoerror struct error err = ERROR_INIT;

	assert_success(file_read_at(dir, "index", 1 << 24, ret, &err), &err);
}

static void refuse(const struct temp *temp, const char *path, const void *bytes, size_t len)
{
	autofd int tree = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoerror struct error err = ERROR_INIT;
	autostr struct str after = STR_INIT;

	put_bytes(temp->fd, "index", bytes, len);
	assert_int_equal(index_settle(temp->fd, "index", tree, false, PAST, &err), -1);
	assert_true(err.code == ERR_GIT || err.code == ERR_SYSTEM);
	/* It is left as it was. */
	error_clear(&err);
	assert_success(file_read_at(temp->fd, "index", 1 << 24, &after, &err), &err);
	assert_int_equal(after.len, len);
	assert_memory_equal(after.s, bytes, len);
}

static void truncated(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = prepare(temp, "sha1");
	autostr struct str index = STR_INIT;
	size_t entries = 12;

	read_index(path, &index);
	/* Everything up to the end of the last entry; what follows are extensions. */
	const char *tree = memmem(index.s, index.len, "TREE", 4);

	assert_non_null(tree);
	entries = (size_t)(tree - index.s);
	for (size_t len = 0; len < entries + 20; len += 7)
		refuse(temp, path, index.s, len);
	refuse(temp, path, index.s, entries + 19);
}

static void damaged_headers(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = prepare(temp, "sha1");
	static const struct {
		size_t at;
		unsigned char byte;
	} cases[] = {{0, 'X'}, {7, 1}, {7, 4}, {4, 1}, {8, 0xff}, {11, 0xff}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autostr struct str index = STR_INIT;

		read_index(path, &index);
		index.s[cases[i].at] = (char)cases[i].byte;
		refuse(temp, path, index.s, index.len);
	}
}

/* An index of one format is not read as one of the other. */
static void wrong_format(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = prepare(temp, "sha256");
	autoerror struct error err = ERROR_INIT;

	assert_int_equal(settle(path, false, &err), -1);
}

static void missing_files(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = prepare(temp, "sha1");
	autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoerror struct error err = ERROR_INIT;

	assert_int_equal(unlinkat(fd, "a/one.txt", 0), 0);
	assert_failure(settle(path, false, &err), &err, ERR_SYSTEM, "a/one.txt");
}

/* An index with one entry of this name. */
static void forge(struct str *index, const char *name)
{
	unsigned char checksum[20];
	uint32_t numbers[10] = {0};
	uint16_t flags = htobe16((uint16_t)strlen(name));

	str_add_bytes(index, "DIRC\0\0\0\2\0\0\0\1", 12);
	numbers[6] = htobe32(0100644);
	str_add_bytes(index, numbers, sizeof numbers);
	str_add_bytes(index, "01234567890123456789", 20);
	str_add_bytes(index, &flags, sizeof flags);
	str_add(index, name);
	do
		str_add_bytes(index, "", 1);
	while ((index->len - 12) % 8);
	hash_checksum(false, index->s, index->len, checksum);
	str_add_bytes(index, checksum, sizeof checksum);
}

/* Git refuses such names; should one ever come through, nothing outside of the tree is touched. */
static void hostile_names(void **state)
{
	const struct temp *temp = *state;
	autofree char *absolute = temp_path(temp, "outside/f");
	const char *const names[] = {
		"../outside/f", absolute, "up/f", "up/../f", "tree/../../outside/f",
		"..",		"d/..",	  ".",	  "d/",	     "d//",
		"none/f",	"file/f",
	};
	const struct timespec times[2] = {{.tv_sec = 7}, {.tv_sec = 7}};

	make_dirs(temp->fd, "outside");
	make_dirs(temp->fd, "tree/d");
	put_text(temp->fd, "outside/f", "x");
	put_text(temp->fd, "tree/file", "x");
	assert_int_equal(symlinkat("../outside", temp->fd, "tree/up"), 0);
	static const char *const untouched[] = {"outside/f", "outside", "tree", "tree/d", "."};

	for (size_t i = 0; i < ARRAY_SIZE(untouched); i++)
		assert_int_equal(utimensat(temp->fd, untouched[i], times, 0), 0);
	autofree char *tree_path = temp_path(temp, "tree");
	autofd int tree = open(tree_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autostr struct str index = STR_INIT;
		autoerror struct error err = ERROR_INIT;

		forge(&index, names[i]);
		make_dirs(temp->fd, "index-of");
		put_bytes(temp->fd, "index-of/index", index.s, index.len);
		autofd int dir = openat(temp->fd, "index-of", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (index_settle(dir, "index", tree, false, PAST, &err) == 0)
			fail_msg("%s is accepted", names[i]);
		for (size_t k = 0; k < ARRAY_SIZE(untouched) - 1; k++) {
			struct stat st;

			assert_int_equal(fstatat(temp->fd, untouched[k], &st, 0), 0);
			if (st.st_mtim.tv_sec != 7)
				fail_msg("%s touches %s", names[i], untouched[k]);
		}
	}
	/* The forgery is none that is refused for another reason. */
	autostr struct str index = STR_INIT;
	autoerror struct error err = ERROR_INIT;

	forge(&index, "file");
	put_bytes(temp->fd, "index-of/index", index.s, index.len);
	autofd int dir = openat(temp->fd, "index-of", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_success(index_settle(dir, "index", tree, false, PAST, &err), &err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(settled),	     WITH_TEMP(changes_are_seen),
		WITH_TEMP(extended_entries), WITH_TEMP(submodules),
		WITH_TEMP(empty_index),	     WITH_TEMP(truncated),
		WITH_TEMP(damaged_headers),  WITH_TEMP(wrong_format),
		WITH_TEMP(missing_files),    WITH_TEMP(hostile_names),
	};

	return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
