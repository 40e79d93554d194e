#include "place.h"

#include <unistd.h>

static void compare(const struct temp *temp, const struct step *steps, bool sha256,
		    uint32_t split_from, bool caches)
{
	struct place place;

	place_init(&place, temp, sha256);
	for (; !is_last(steps); steps++)
		act(&place, steps);
	/* Twice: the first write-tree leaves a cache tree. */
	autofree char *first = view_of(&place);
	autofree char *before = view_of(&place);

	assert_string_equal(first, before);
	replace_index(&place, split_from, caches);
	autofree char *after = view_of(&place);

	assert_string_equal(after, before);
	git(place.path, "fsck", "--strict", NULL);
	if (caches)
		monitor_on(&place);
	assert_status(&place);
	place_clear(&place);
}

static void all_beginnings(void **state, bool sha256, uint32_t split_from, bool caches)
{
	for (size_t i = 0; beginnings[i]; i++)
		compare(*state, beginnings[i], sha256, split_from, caches);
}

static void plain(void **state)
{
	all_beginnings(state, false, PLAIN, true);
}

static void split(void **state)
{
	all_beginnings(state, true, SPLIT, true);
}

static void without_caches(void **state)
{
	compare(*state, staged, false, SPLIT, false);
}

static char *traced(const struct place *place, const char *const *args)
{
	unlinkat(place->temp->fd, "trace", 0);
	git_at(place->path, args);
	return get_text(place->temp->fd, "trace");
}

/* git takes the caches for what they are: it reads no directory, looks at no file, hashes no tree. */
static void nothing_is_looked_at(void **state)
{
	static const uint32_t splits[] = {PLAIN, SPLIT};
	const struct temp *temp = *state;
	autofree char *target = temp_path(temp, "trace");

	for (size_t i = 0; i < ARRAY_SIZE(splits); i++) {
		struct place place;

		place_init(&place, temp, i == 1);
		replace_index(&place, splits[i], true);
		monitor_on(&place);
		git(place.path, "config", "--global", "trace2.perfTarget", target, NULL);
		autofree char *status = traced(
			&place, (const char *const[]){"--no-optional-locks", "status", NULL});
		autofree char *tree = traced(&place, (const char *const[]){"write-tree", NULL});

		git(place.path, "config", "--global", "--unset", "trace2.perfTarget", NULL);
		assert_contains(status, "token:jib:0");
		assert_contains(status, "opendir:0\n");
		assert_contains(status, "node-creation:0\n");
		assert_contains(status, "gitignore-invalidation:0\n");
		assert_contains(status, "sum_lstat:0\n");
		assert_contains(tree, "label:read");
		assert_lacks(tree, "label:update");
		place_clear(&place);
	}
}

static void work_goes_on(void **state)
{
	static const uint32_t splits[] = {PLAIN, SPLIT};
	const struct temp *temp = *state;

	for (size_t i = 0; i < ARRAY_SIZE(splits); i++) {
		struct place place;

		place_init(&place, temp, false);
		replace_index(&place, splits[i], true);
		monitor_on(&place);
		for (const struct step *step = session; !is_last(step); step++) {
			act(&place, step);
			assert_status(&place);
		}
		git(place.path, "fsck", "--strict", NULL);
		place_clear(&place);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(plain),	   WITH_TEMP(split),
		WITH_TEMP(without_caches), WITH_TEMP(nothing_is_looked_at),
		WITH_TEMP(work_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
