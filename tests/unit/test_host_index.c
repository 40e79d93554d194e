#include "support.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/host-index.h"

/* The blobs of "" and of "content\n". */
static const unsigned char nothing[20] = {0xe6, 0x9d, 0xe2, 0x9b, 0xb2, 0xd1, 0xd6,
					  0x43, 0x4b, 0x8b, 0x29, 0xae, 0x77, 0x5a,
					  0xd8, 0xc2, 0xe4, 0x8c, 0x53, 0x91};
static const unsigned char content[20] = {0xd9, 0x5f, 0x3a, 0xd1, 0x4d, 0xee, 0x63,
					  0x3a, 0x75, 0x8d, 0x2e, 0x33, 0x11, 0x51,
					  0xe9, 0x50, 0xdd, 0x13, 0xe4, 0xed};

static struct index_entry entry_of(const char *path, const unsigned char *oid, uint32_t size,
				   uint32_t modified)
{
	struct index_entry entry = {.path = path, .mode = 0100644};

	memcpy(entry.oid, oid, 20);
	entry.stat.size = size;
	entry.stat.modified = modified;
	entry.stat.modified_ns = 7;
	return entry;
}

static void write_host_index(const struct temp *temp, const struct index_entry *entries,
			     size_t count)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {1000, 7}};
	autofd int git_dir = openat(temp->fd, "r/.git", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autowriter struct index_writer *writer = NULL;
	autoerror struct error err = ERROR_INIT;

	assert_int_equal(unlinkat(git_dir, "index", 0), 0);
	assert_success(index_writer_open(git_dir, "index", false, (uint32_t)count, &writer, &err),
		       &err);
	for (size_t i = 0; i < count; i++)
		assert_success(index_writer_add(writer, &entries[i], &err), &err);
	assert_success(index_writer_finish(&writer, &err), &err);
	assert_int_equal(utimensat(git_dir, "index", times, 0), 0);
}

static int ask(struct host_index *index, const struct index_entry *entry)
{
	struct index_stat stat = {0};
	autoerror struct error err = ERROR_INIT;
	int result = host_index_ask(index, entry, &stat, &err);

	if (result == 1)
		assert_memory_equal(&stat, &entry->stat, sizeof stat);
	return result;
}

static void answers(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autorepository struct repository found = REPOSITORY_INIT;
	autohostindex struct host_index index = HOST_INDEX_INIT;
	autoerror struct error err = ERROR_INIT;
	struct index_entry entries[] = {
		entry_of("clean", content, 8, 999),
		entry_of("just before", content, 8, 1000),
		entry_of("new", content, 8, 1001),
		entry_of("nothing in it", nothing, 0, 999),
		entry_of("other content", content, 8, 999),
		entry_of("other mode", content, 8, 999),
		entry_of("same time", content, 8, 1000),
		/* What git writes when it has found a file to be changed right after it was added. */
		entry_of("smudged", content, 0, 999),
		entry_of("the last", content, 8, 999),
		entry_of("unmerged", content, 8, 999),
		entry_of("wanted", content, 8, 999),
	};
	static const int wanted[] = {1, 1, HOST_UNSURE, 1, 0, 0, HOST_UNSURE, HOST_UNSURE, 1, 0, 0};

	entries[1].stat.modified_ns = 6;
	entries[9].stage = 2;
	entries[10].intent_to_add = true;
	write_host_index(temp, entries, ARRAY_SIZE(entries));
	assert_success(repository_find(path, &found, &err), &err);
	assert_success(host_index_open(&found, temp->fd, false, &index, &err), &err);
	const struct index_entry before = entry_of("a", content, 8, 999);
	const struct index_entry between = entry_of("just", content, 8, 999);
	const struct index_entry after = entry_of("z", content, 8, 999);

	memcpy(entries[4].oid, nothing, 20);
	entries[5].mode = 0100755;
	entries[9].stage = 0;
	assert_int_equal(ask(&index, &before), 0);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		if (i == 1)
			assert_int_equal(ask(&index, &between), 0);
		if (ask(&index, &entries[i]) != wanted[i])
			fail_msg("%s: not %d", entries[i].path, wanted[i]);
	}
	assert_int_equal(ask(&index, &after), 0);
	assert_false(exists(temp->fd, "host-index"));
}

static void without_one(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autorepository struct repository found = REPOSITORY_INIT;
	autohostindex struct host_index index = HOST_INDEX_INIT;
	autoerror struct error err = ERROR_INIT;
	const struct index_entry entry = entry_of("file", content, 8, 999);

	assert_int_equal(unlinkat(temp->fd, "r/.git/index", 0), 0);
	assert_success(repository_find(path, &found, &err), &err);
	assert_success(host_index_open(&found, temp->fd, false, &index, &err), &err);
	assert_int_equal(ask(&index, &entry), 0);
}

/* git writes out in full what nobody else understands, and not where the host has it. */
static void foreign(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autorepository struct repository found = REPOSITORY_INIT;
	autohostindex struct host_index index = HOST_INDEX_INIT;
	autoerror struct error err = ERROR_INIT;
	const struct timespec past[2] = {{.tv_nsec = UTIME_OMIT}, {1000, 7}};
	struct index_stat stat;
	struct stat before, after;
	struct index_entry entry = entry_of("file", content, 8, 1000);

	assert_int_equal(utimensat(temp->fd, "r/file", past, 0), 0);
	git(path, "update-index", "--refresh", NULL);
	git(path, "update-index", "--split-index", NULL);
	assert_int_equal(fstatat(temp->fd, "r/.git/index", &before, 0), 0);
	assert_success(repository_find(path, &found, &err), &err);
	assert_success(host_index_open(&found, temp->fd, false, &index, &err), &err);
	assert_int_equal(host_index_ask(&index, &entry, &stat, &err), 1);
	assert_int_equal(stat.modified, 1000);
	assert_int_equal(stat.modified_ns, 7);
	assert_true(exists(temp->fd, "host-index"));
	assert_int_equal(fstatat(temp->fd, "r/.git/index", &after, 0), 0);
	assert_int_equal(after.st_ino, before.st_ino);
	assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
}

static void damaged(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autorepository struct repository found = REPOSITORY_INIT;
	autohostindex struct host_index index = HOST_INDEX_INIT;
	autoerror struct error err = ERROR_INIT;

	put_text(temp->fd, "r/.git/index", "DIRC nonsense");
	assert_success(repository_find(path, &found, &err), &err);
	assert_failure(host_index_open(&found, temp->fd, false, &index, &err), &err, ERR_GIT,
		       "cannot read the index");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(answers),
		WITH_TEMP(without_one),
		WITH_TEMP(foreign),
		WITH_TEMP(damaged),
	};

	return cmocka_run_group_tests_name("host index", tests, NULL, NULL);
}
