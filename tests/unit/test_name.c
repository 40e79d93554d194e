#include "support.h"

#include <string.h>

#include "store/name.h"

static void valid(void **state)
{
	static const char *const names[] = {"a",       "Z",   "0",  "jib-abcd",
					    "a.b_c-d", "A..", "x-", "1.2.3"};
	autoerror struct error err = ERROR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_success(name_check(names[i], &err), &err);
}

static void invalid(void **state)
{
	static const char *const names[] = {
		"",    ".",   "..",   ".tmp", ".layers",  "-a",	       "--force", "_a",
		"a/b", "/",   "../a", "a/",   "a b",	  "a\n",       "\x1b[2J", "a\x7f",
		"a:b", "a,b", "a\\b", "a*",   "\xc3\xa4", "a\xc3\xa4", "a\x80",	  "a'b",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autoerror struct error err = ERROR_INIT;

		assert_failure(name_check(names[i], &err), &err, ERR_NAME, "name");
		assert_contains(err.hint, "letters, digits");
		/* Who does not want to know why gets the same answer. */
		assert_int_equal(name_check(names[i], NULL), -1);
	}
	assert_int_equal(name_check("a", NULL), 0);
}

static void reasons(void **state)
{
	static const struct {
		const char *name;
		const char *reason;
	} cases[] = {
		{"", "empty"},	   {"a/b", "slash"},	   {".a", "begin"},
		{"-a/b", "begin"}, {"a b", "not allowed"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autoerror struct error err = ERROR_INIT;

		assert_failure(name_check(cases[i].name, &err), &err, ERR_NAME, cases[i].reason);
	}
}

static void length(void **state)
{
	char name[302];

	(void)state;
	for (size_t len = 1; len <= 301; len++) {
		autoerror struct error err = ERROR_INIT;

		memset(name, 'a', len);
		name[len] = '\0';
		if (len <= 64)
			assert_success(name_check(name, &err), &err);
		else
			assert_failure(name_check(name, &err), &err, ERR_NAME, "64 characters");
	}
}

static void inventing(void **state)
{
	static const struct {
		const char *repository;
		const char *stem;
	} cases[] = {
		{"jib", "jib-"},
		{"my repo", "my-repo-"},
		{".dotfiles", "dotfiles-"},
		{"--x", "x-"},
		{"", "repo-"},
		{"///", "repo-"},
		{"\xc3\xa4", "repo-"},
		{"a\xc3\xa4\nb", "a---b-"},
		{"0123456789012345678901234567890123456789and more",
		 "0123456789012345678901234567890123456789-"},
	};
	autofree char *before = NULL;
	int repeated = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autofree char *name = name_invent(cases[i].repository);
		autoerror struct error err = ERROR_INIT;

		assert_success(name_check(name, &err), &err);
		assert_true(str_starts(name, cases[i].stem));
		const char *letters = name + strlen(cases[i].stem);

		assert_int_equal(strlen(letters), 4);
		assert_int_equal(strspn(letters, "abcdefghijklmnopqrstuvwxyz"), 4);
	}
	for (int i = 0; i < 50; i++) {
		autofree char *name = name_invent("x");

		repeated += before && strcmp(before, name) == 0;
		free(before);
		before = xstrdup(name);
	}
	assert_true(repeated < 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid),  cmocka_unit_test(invalid),   cmocka_unit_test(reasons),
		cmocka_unit_test(length), cmocka_unit_test(inventing),
	};

	return cmocka_run_group_tests_name("name", tests, NULL, NULL);
}
