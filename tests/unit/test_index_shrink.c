#include "place.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "snapshot/hash.h"

/* The name of the shared index that the place was given. */
static char *shared_of(const struct place *place)
{
	autodir DIR *dir = fdopendir(openat(place->git_dir, ".", O_RDONLY | O_CLOEXEC));
	const struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (str_starts(entry->d_name, "sharedindex."))
			return xstrdup(entry->d_name);
	fail();
	return NULL;
}

static int shrink_in(const struct place *place, int dirfd)
{
	autoerror struct error err = ERROR_INIT;
	autofree char *shared = shared_of(place);
	struct index_shrinking request = {
		.sha256 = place->sha256,
		.base_dir = place->git_dir,
		.base = shared,
		.dirfd = dirfd,
		.scratch = place->layer,
		.durable = true,
	};
	size_t before = count_entries(place->layer);
	size_t fds = count_fds();
	int result = index_shrink(&request, &err);

	assert_int_equal(result < 0, error_is_set(&err));
	assert_int_equal(count_entries(place->layer), before);
	assert_int_equal(count_fds(), fds);
	return result;
}

static off_t size_of(const struct place *place)
{
	struct stat st;

	assert_int_equal(fstatat(place->git_dir, "index", &st, 0), 0);
	return st.st_size;
}

static bool is_split(const struct place *place)
{
	autofree char *base = git_says(place->path, "rev-parse", "--shared-index-path", NULL);

	return *base;
}

/* As git does it by itself where it learns of an entry that it is unchanged. */
static void write_in_full(const struct place *place)
{
	git(place->path, "-c", "core.splitIndex=false", "update-index", "--force-write-index",
	    NULL);
	assert_false(is_split(place));
}

/* Prepares a place in which these steps were done after its index was composed. */
static void begin(struct place *place, const struct temp *temp, bool sha256,
		  const struct step *steps)
{
	place_init(place, temp, sha256);
	replace_index(place, SPLIT, true);
	monitor_on(place);
	for (; !is_last(steps); steps++)
		act(place, steps);
}

static void assert_shrinks(const struct place *place, int expected)
{
	autofree char *first = view_of(place);
	autofree char *before = view_of(place);
	off_t size = size_of(place);

	assert_string_equal(first, before);
	assert_int_equal(shrink_in(place, place->git_dir), expected);
	if (expected == INDEX_SHRUNK) {
		assert_true(is_split(place));
		assert_true(size_of(place) < size);
	}
	autofree char *after = view_of(place);

	assert_string_equal(after, before);
	git(place->path, "fsck", "--strict", NULL);
	assert_status(place);
}

static void says_the_same(void **state)
{
	const struct temp *temp = *state;

	for (size_t i = 0; beginnings[i]; i++) {
		struct place place;

		begin(&place, temp, i % 2, beginnings[i]);
		write_in_full(&place);
		/* The last one has nothing in common with the base. */
		assert_shrinks(&place, beginnings[i + 1] ? INDEX_SHRUNK : 0);
		place_clear(&place);
	}
}

static void work_goes_on(void **state)
{
	struct place place;
	size_t shrunk = 0;

	begin(&place, *state, false, beginnings[0]);
	for (const struct step *step = session; !is_last(step); step++) {
		act(&place, step);
		if (is_split(&place))
			write_in_full(&place);
		shrunk += shrink_in(&place, place.git_dir) == INDEX_SHRUNK;
		assert_status(&place);
	}
	git(place.path, "fsck", "--strict", NULL);
	assert_true(shrunk >= 20);
	place_clear(&place);
}

/* How much git looks at for its status: what its caches do not tell. */
static char *looked_at(const struct place *place)
{
	static const char *const counts[] = {
		"opendir:", "node-creation:", "sum_lstat:", "gitignore-invalidation:"};
	autofree char *target = temp_path(place->temp, "trace");
	struct str found = STR_INIT;

	unlinkat(place->temp->fd, "trace", 0);
	git(place->path, "config", "--global", "trace2.perfTarget", target, NULL);
	git(place->path, "--no-optional-locks", "status", NULL);
	git(place->path, "config", "--global", "--unset", "trace2.perfTarget", NULL);
	autofree char *trace = get_text(place->temp->fd, "trace");

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		const char *count = strstr(trace, counts[i]);

		assert_non_null(count);
		str_add_bytes(&found, count, strcspn(count, "\n") + 1);
	}
	return str_take(&found);
}

/* What git knows of untracked files and of unchanged ones it still knows. */
static void nothing_more_is_looked_at(void **state)
{
	static const struct step one[] = {
		{NULL, {"rm", "-q", "--cached", "a/b/file-0"}}, {NULL, {"status"}}, {NULL, {NULL}}};
	struct place place;

	begin(&place, *state, false, one);
	write_in_full(&place);
	autofree char *before = looked_at(&place);

	assert_int_equal(shrink_in(&place, place.git_dir), INDEX_SHRUNK);
	autofree char *after = looked_at(&place);

	assert_string_equal(after, before);
	place_clear(&place);
}

static void a_torn_one_is_replaced(void **state)
{
	struct place place;

	begin(&place, *state, false, staged);
	write_in_full(&place);
	/* Left by a run that was killed. */
	put_text(place.layer, "index.new", "torn");
	size_t before = count_entries(place.layer);
	autofree char *shared = shared_of(&place);
	struct index_shrinking request = {
		.base_dir = place.git_dir,
		.base = shared,
		.dirfd = place.git_dir,
		.scratch = place.layer,
	};

	assert_int_equal(index_shrink(&request, NULL), INDEX_SHRUNK);
	assert_int_equal(count_entries(place.layer), before - 1);
	assert_status(&place);
	place_clear(&place);
}

static void set_mode_and_time(const struct place *place, mode_t mode, time_t modified)
{
	const struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = modified, .tv_nsec = 7}};

	assert_int_equal(fchmodat(place->git_dir, "index", mode, 0), 0);
	assert_int_equal(utimensat(place->git_dir, "index", times, 0), 0);
}

static void mode_and_time_stay(void **state)
{
	struct place place;
	struct stat st;

	begin(&place, *state, true, staged);
	write_in_full(&place);
	set_mode_and_time(&place, 0640, 1234567890);
	assert_int_equal(shrink_in(&place, place.git_dir), INDEX_SHRUNK);
	assert_int_equal(fstatat(place.git_dir, "index", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_mtim.tv_sec, 1234567890);
	assert_int_equal(st.st_mtim.tv_nsec, 7);
	place_clear(&place);
}

/* A file that was changed in the second in which the index was written. */
static void racily_clean_files_are_read(void **state)
{
	static const struct timespec then[2] = {{.tv_sec = 1700000000}, {.tv_sec = 1700000000}};
	struct place place;

	begin(&place, *state, false, beginnings[0]);
	git(place.path, "config", "--unset", "core.fsmonitor", NULL);
	git(place.path, "config", "core.trustctime", "false", NULL);
	put_text(place.tree, "young", "one\n");
	assert_int_equal(utimensat(place.tree, "young", then, 0), 0);
	git(place.path, "add", "young", NULL);
	write_in_full(&place);
	put_text(place.tree, "young", "two\n");
	assert_int_equal(utimensat(place.tree, "young", then, 0), 0);
	assert_int_equal(utimensat(place.git_dir, "index", then, 0), 0);
	assert_int_equal(shrink_in(&place, place.git_dir), INDEX_SHRUNK);
	autofree char *status = git_says(place.path, "diff-files", "--name-only", NULL);

	assert_string_equal(status, "young");
	place_clear(&place);
}

/* Extensions that tell where something stands go, unknown ones that git may ignore stay. */
static void add_extension(struct str *index, const char *signature, size_t oid)
{
	unsigned char checksum[32];

	index->len -= oid;
	str_add_bytes(index, signature, 4);
	str_add_bytes(index, "\0\0\0\4abcd", 8);
	hash_checksum(oid == 32, index->s, index->len, checksum);
	str_add_bytes(index, checksum, oid);
}

static void read_index(const struct place *place, struct str *ret)
{
	autoerror struct error err = ERROR_INIT;

	str_clear(ret);
	assert_success(file_read_at(place->git_dir, "index", 1 << 20, ret, &err), &err);
}

static bool holds(const struct str *index, const char *signature)
{
	return memmem(index->s, index->len, signature, 4);
}

static void replace_content(const struct place *place, const struct str *index)
{
	assert_int_equal(unlinkat(place->git_dir, "index", 0), 0);
	put_bytes(place->git_dir, "index", index->s, index->len);
}

static void extensions_stay(void **state)
{
	autostr struct str index = STR_INIT;
	struct place place;

	begin(&place, *state, false, staged);
	write_in_full(&place);
	read_index(&place, &index);
	add_extension(&index, "XTRA", 20);
	add_extension(&index, "IEOT", 20);
	add_extension(&index, "EOIE", 20);
	replace_content(&place, &index);
	assert_int_equal(shrink_in(&place, place.git_dir), INDEX_SHRUNK);
	read_index(&place, &index);
	assert_true(holds(&index, "XTRA") && holds(&index, "TREE") && holds(&index, "UNTR") &&
		    holds(&index, "FSMN"));
	assert_false(holds(&index, "IEOT") || holds(&index, "EOIE"));
	place_clear(&place);
}

static void assert_unchanged(const struct place *place, const struct str *expected)
{
	autostr struct str found = STR_INIT;

	assert_true(shrink_in(place, place->git_dir) <= 0);
	read_index(place, &found);
	assert_int_equal(found.len, expected->len);
	assert_memory_equal(found.s, expected->s, expected->len);
}

static void others_stay(void **state)
{
	autostr struct str index = STR_INIT;
	autostr struct str odd = STR_INIT;
	struct place place;

	begin(&place, *state, false, beginnings[0]);
	read_index(&place, &index); /* split */
	assert_unchanged(&place, &index);
	git(place.path, "-c", "core.splitIndex=false", "update-index", "--index-version", "4",
	    NULL);
	read_index(&place, &index);
	assert_unchanged(&place, &index);
	git(place.path, "update-index", "--index-version", "2", NULL);
	read_index(&place, &index);
	/* An extension without which an index must not be used. */
	str_add_bytes(&odd, index.s, index.len);
	add_extension(&odd, "need", 20);
	replace_content(&place, &odd);
	assert_unchanged(&place, &odd);
	/* Beside what a whole one holds. */
	str_clear(&odd);
	str_add_bytes(&odd, index.s, index.len);
	add_extension(&odd, "sdir", 20);
	replace_content(&place, &odd);
	assert_unchanged(&place, &odd);
	place_clear(&place);
}

/* What this flag means to a later git cannot be known. */
static void unknown_flags_stay(void **state)
{
	static const struct step one[] = {
		{NULL, {"update-index", "--skip-worktree", "a-b/file-13"}}, {NULL, {NULL}}};
	autostr struct str index = STR_INIT;
	struct place place;

	begin(&place, *state, false, one);
	write_in_full(&place);
	read_index(&place, &index);
	char *path = memmem(index.s, index.len, "a-b/file-13", 12);

	assert_non_null(path);
	path[-1] |= 1;
	hash_checksum(false, index.s, index.len - 20, (unsigned char *)index.s + index.len - 20);
	replace_content(&place, &index);
	assert_unchanged(&place, &index);
	path[-1] ^= 1;
	hash_checksum(false, index.s, index.len - 20, (unsigned char *)index.s + index.len - 20);
	replace_content(&place, &index);
	assert_shrinks(&place, INDEX_SHRUNK);
	place_clear(&place);
}

static void many_additions_stay(void **state)
{
	autostr struct str index = STR_INIT;
	struct place place;

	begin(&place, *state, false, beginnings[0]);
	make_dirs(place.tree, "more");
	for (int i = 0; i < 1100; i++) {
		autofree char *name = xasprintf("more/%d", i);

		put_text(place.tree, name, "");
	}
	git(place.path, "add", "-A", NULL);
	write_in_full(&place);
	read_index(&place, &index);
	assert_unchanged(&place, &index);
	place_clear(&place);
}

static void links_are_not_followed(void **state)
{
	struct place place;
	struct stat st;

	begin(&place, *state, false, staged);
	write_in_full(&place);
	assert_int_equal(renameat(place.git_dir, "index", place.git_dir, "other"), 0);
	assert_int_equal(symlinkat("other", place.git_dir, "index"), 0);
	assert_int_equal(shrink_in(&place, place.git_dir), -1);
	assert_int_equal(fstatat(place.git_dir, "index", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(unlinkat(place.git_dir, "index", 0), 0);
	assert_int_equal(mkfifoat(place.git_dir, "index", 0600), 0);
	assert_int_equal(shrink_in(&place, place.git_dir), -1);
	place_clear(&place);
}

static void truncated_ones_stay(void **state)
{
	autostr struct str index = STR_INIT;
	struct place place;

	begin(&place, *state, false, staged);
	write_in_full(&place);
	read_index(&place, &index);
	const size_t whole = index.len;

	/* At each length near the end and the beginning, and many between. */
	while (index.len > 8) {
		index.len -= index.len > whole - 2000 || index.len < 500 ? 1 : 7;
		replace_content(&place, &index);
		assert_unchanged(&place, &index);
	}
	place_clear(&place);
}

/* What git makes of an index of which nothing is known. */
static char *entries_of(const struct place *place)
{
	static const char *const args[] = {"ls-files", "-s", "-v", NULL};

	return git_status_at(place->path, args) ? xstrdup("") : git_says_at(place->path, args);
}

/* With a wrong checksum, and, as whoever means harm would, with the right one. */
static void flipped_bytes_do_no_harm(void **state)
{
	autostr struct str index = STR_INIT;
	struct place place;
	unsigned int seed = 1;
	size_t shrunk = 0;

	begin(&place, *state, false, staged);
	write_in_full(&place);
	read_index(&place, &index);
	for (size_t i = 0; i < 3000; i++) {
		size_t at = (size_t)rand_r(&seed) % (index.len - 20);
		/* Half of them at the ends, where most of an index is told. */
		size_t where = i % 2 ? at : i % 3 ? at % 4096 : index.len - 21 - at % 6000;
		char flip = (char)(1 << rand_r(&seed) % 8);

		index.s[where] ^= flip;
		replace_content(&place, &index);
		assert_unchanged(&place, &index);
		hash_checksum(false, index.s, index.len - 20,
			      (unsigned char *)index.s + index.len - 20);
		replace_content(&place, &index);
		autofree char *before = i % 64 == 1 ? entries_of(&place) : NULL;

		shrunk += shrink_in(&place, place.git_dir) == INDEX_SHRUNK;
		autofree char *after = before ? entries_of(&place) : NULL;

		if (before)
			assert_string_equal(after, before);
		index.s[where] ^= flip;
	}
	assert_true(shrunk > 1000);
	place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(says_the_same),
		WITH_TEMP(work_goes_on),
		WITH_TEMP(nothing_more_is_looked_at),
		WITH_TEMP(a_torn_one_is_replaced),
		WITH_TEMP(mode_and_time_stay),
		WITH_TEMP(racily_clean_files_are_read),
		WITH_TEMP(extensions_stay),
		WITH_TEMP(others_stay),
		WITH_TEMP(unknown_flags_stay),
		WITH_TEMP(many_additions_stay),
		WITH_TEMP(links_are_not_followed),
		WITH_TEMP(truncated_ones_stay),
		WITH_TEMP(flipped_bytes_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
