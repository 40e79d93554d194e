#include "support.h"

#include <errno.h>
#include <string.h>

static void set_once(void **state)
{
	autoerror struct error err = ERROR_INIT;

	(void)state;
	assert_false(error_is_set(&err));
	assert_int_equal(error_set(&err, ERR_NAME, "name %d", 1), -1);
	assert_true(error_is_set(&err));
	assert_int_equal(err.number, 0);
	assert_string_equal(err.message, "name 1");
	assert_null(err.hint);
	/* The cause stays, whatever cleaning up runs into. */
	assert_int_equal(error_set(&err, ERR_GIT, "later"), -1);
	errno = EIO;
	assert_int_equal(error_errno(&err, "later"), -1);
	assert_string_equal(err.message, "name 1");
	assert_int_equal(err.code, ERR_NAME);
	assert_int_equal(err.number, 0);
}

static void with_errno(void **state)
{
	autoerror struct error err = ERROR_INIT;

	(void)state;
	errno = EACCES;
	assert_int_equal(error_errno(&err, "cannot open %s", "x"), -1);
	assert_int_equal(err.code, ERR_SYSTEM);
	assert_int_equal(err.number, EACCES);
	assert_string_equal(err.message, "cannot open x: Permission denied");
	assert_null(err.hint);
}

static void full_disk(void **state)
{
	static const int numbers[] = {ENOSPC, EDQUOT};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		autoerror struct error err = ERROR_INIT;

		errno = numbers[i];
		error_errno(&err, "cannot write");
		assert_contains(err.hint, "jib rm");
	}
}

static void context_and_hints(void **state)
{
	autoerror struct error err = ERROR_INIT;

	(void)state;
	/* There is nothing yet that the context could be of. */
	assert_int_equal(error_wrap(&err, "context"), -1);
	assert_false(error_is_set(&err));
	assert_null(err.message);

	error_set(&err, ERR_GIT, "100%% sure");
	assert_int_equal(error_wrap(&err, "in %s", "%s%n"), -1);
	assert_int_equal(error_wrap(&err, "outer"), -1);
	assert_string_equal(err.message, "outer: in %s%n: 100% sure");
	assert_int_equal(err.code, ERR_GIT);
	/* What the deepest layer advises is the most precise. */
	assert_int_equal(error_hint(&err, "do %d", 1), -1);
	assert_int_equal(error_hint(&err, "do 2"), -1);
	assert_string_equal(err.hint, "do 1");
	error_clear(&err);
	assert_int_equal(err.code, ERR_NONE);
	assert_null(err.message);
	assert_null(err.hint);
	error_clear(&err);
}

static void nobody_asks(void **state)
{
	(void)state;
	errno = EIO;
	assert_int_equal(error_set(NULL, ERR_GIT, "x"), -1);
	assert_int_equal(error_errno(NULL, "x"), -1);
	assert_int_equal(error_wrap(NULL, "x"), -1);
	assert_int_equal(error_hint(NULL, "x"), -1);
}

/* The names are an interface: each code has one, no two the same. */
static void names(void **state)
{
	(void)state;
	for (int code = ERR_NONE; code <= ERR_PROTOCOL; code++) {
		assert_non_null(error_code_name(code));
		for (int other = ERR_NONE; other < code; other++)
			assert_string_not_equal(error_code_name(code), error_code_name(other));
	}
	assert_string_equal(error_code_name(ERR_NOT_REPOSITORY), "not-a-repository");
	assert_string_equal(error_code_name(ERR_PROTOCOL), "protocol");
	assert_string_equal(error_code_name(ERR_PROTOCOL + 1), "none");
	assert_string_equal(error_code_name(-1), "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_once),    cmocka_unit_test(with_errno),
		cmocka_unit_test(full_disk),   cmocka_unit_test(context_and_hints),
		cmocka_unit_test(nobody_asks), cmocka_unit_test(names),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
