/* What the guest's init does for the kernel, as far as it needs no overlay. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/directory.h"
#include "guest/notify.h"
#include "guest/place.h"

static void split(void **state)
{
	static const struct {
		const char *path, *parent, *name, *spelled;
	} cases[] = {
		{"a", ".", "a", "a"},	     {"a/b", "a/", "b", "b"},
		{"/a", "/", "a", "a"},	     {"//a//b//", "//a//", "b", "b//"},
		{"../a/", "../", "a", "a/"}, {"...", ".", "...", "..."},
		{"./.a", "./", ".a", ".a"},  {"", NULL, NULL, NULL},
		{"/", NULL, NULL, NULL},     {"///", NULL, NULL, NULL},
		{".", NULL, NULL, NULL},     {"a/.", NULL, NULL, NULL},
		{"a/../", NULL, NULL, NULL}, {"/..", NULL, NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autoplace struct place place = PLACE_INIT;
		autofree char *parent = NULL;

		assert_int_equal(place_split(cases[i].path, &parent, &place),
				 cases[i].name != NULL);
		if (!cases[i].name) {
			assert_null(parent);
			continue;
		}
		assert_string_equal(parent, cases[i].parent);
		assert_string_equal(place.name, cases[i].name);
		assert_string_equal(place.spelled, cases[i].spelled);
	}
}

static void stamped(void **state)
{
	static const struct {
		const char *path, *keep;
	} cases[] = {
		{"pack-1.pack", "pack-1.keep"},
		{"a.pack/b.pack", "a.pack/b.keep"},
		{".git/sharedindex.0123abcd", ".git/sharedindex.0123abcd.keep"},
		{".pack", NULL},
		{"a/.pack", NULL},
		{"a.pack/b", NULL},
		{"pack-1.idx", NULL},
		{"sharedindex.", NULL},
		{"sharedindex.01.lock", NULL},
		{"sharedindex.01/x", NULL},
		{"xsharedindex.01", NULL},
		{"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autofree char *keep = NULL;

		assert_int_equal(notify_is_stamped(cases[i].path, &keep), cases[i].keep != NULL);
		if (cases[i].keep)
			assert_string_equal(keep, cases[i].keep);
		else
			assert_null(keep);
	}
}

static void assert_reads(const char *at, const char *expected)
{
	autofree char *text = place_read(getpid(), (uint64_t)(uintptr_t)at);

	assert_non_null(text);
	assert_string_equal(text, expected);
}

/* A path may end with the last byte that is mapped, and may cross a page. */
static void reading(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *map =
		mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(mprotect(map + 3 * page, page, PROT_NONE), 0);
	memcpy(map + 3 * page - 2, "z", 2);
	assert_reads(map + 3 * page - 2, "z");
	assert_reads(map + 3 * page - 1, "");
	memcpy(map + page - 2, "over", 5);
	assert_reads(map + page - 2, "over");

	memset(map, 'x', 3 * page);
	assert_null(place_read(getpid(), (uint64_t)(uintptr_t)(map + 3 * page - 2)));
	assert_int_equal(errno, EFAULT);
	map[page + PATH_MAX - 1] = '\0';
	autofree char *longest = place_read(getpid(), (uint64_t)(uintptr_t)(map + page));

	assert_non_null(longest);
	assert_int_equal(strlen(longest), PATH_MAX - 1);
	assert_null(place_read(getpid(), (uint64_t)(uintptr_t)(map + page - 1)));
	assert_int_equal(errno, ENAMETOOLONG);
	munmap(map, 4 * page);
}

/* What another process calls self is not this one. */
static void links_of_the_process(void **state)
{
	const struct temp *temp = *state;
	autoplace struct place place = PLACE_INIT;

	assert_int_equal(place_open(getpid(), AT_FDCWD, "/proc/self/cwd/x", &place), -1);
	assert_int_equal(errno, ELOOP);
	assert_int_equal(place_open(getpid(), temp->fd, "missing/x", &place), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(place_open(getpid(), temp->fd, "x/..", &place), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(place.parent, -1);

	assert_int_equal(place_open(getpid(), temp->fd, "./x/", &place), 0);
	struct stat here, there;

	assert_int_equal(fstat(temp->fd, &here), 0);
	assert_int_equal(fstat(place.parent, &there), 0);
	assert_int_equal(here.st_ino, there.st_ino);
	assert_false(place_same_overlay(temp->fd, place.parent));
}

static void empty(void **state)
{
	const struct temp *temp = *state;

	assert_int_equal(mkdirat(temp->fd, "d", 0700), 0);
	autofd int fd = openat(temp->fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(directory_is_empty(fd));
	assert_int_equal(mkdirat(fd, "...", 0700), 0);
	assert_false(directory_is_empty(fd));
	assert_false(directory_is_empty(-1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split), cmocka_unit_test(stamped),	  cmocka_unit_test(reading),
		WITH_TEMP(empty),	 WITH_TEMP(links_of_the_process),
	};

	return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
