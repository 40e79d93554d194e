#include "support.h"

#include <string.h>

#include "snapshot/status.h"

#define O1 "1111111111111111111111111111111111111111"
#define O2 "2222222222222222222222222222222222222222"

/* A copy, because parsing cuts it up; exactly as long, so that a sanitizer sees a read beyond it. */
static char *copy_of(const char *bytes, size_t len)
{
	char *copy = xmalloc(len ? len : 1);

	memcpy(copy, bytes, len);
	return copy;
}

static void every_record(void **state)
{
	static const char bytes[] =
		"# branch.oid " O1 "\0"
		"# branch.head to/pic\0"
		"# branch.upstream origin/x\0"
		"1 M. N... 100644 100755 100755 " O1 " " O2 " a b\n\"c\0"
		"1 .D S.C. 160000 160000 000000 " O1 " " O1 " sub\0"
		"u UU N... 100644 100644 100644 120000 " O1 " " O2 " " O1 " \xff\xfe\0"
		"? new file\0"
		"? nested/\0"
		"! big/";
	autofree char *copy = copy_of(bytes, sizeof bytes);
	autostatus struct status status = STATUS_INIT;
	autoerror struct error err = ERROR_INIT;

	(void)state;
	assert_success(status_parse(copy, sizeof bytes, &status, &err), &err);
	assert_string_equal(status.commit, O1);
	assert_string_equal(status.branch, "to/pic");
	assert_int_equal(status.count, 3);
	assert_string_equal(status.items[0].path, "a b\n\"c");
	assert_int_equal(status.items[0].staged, 'M');
	assert_int_equal(status.items[0].unstaged, '.');
	assert_int_equal(status.items[0].in_commit, 0100644);
	assert_int_equal(status.items[0].in_index, 0100755);
	assert_int_equal(status.items[0].in_tree, 0100755);
	assert_false(status.items[0].unmerged);
	assert_int_equal(status.items[1].in_index, MODE_GITLINK);
	assert_int_equal(status.items[1].in_tree, 0);
	assert_int_equal(status.items[1].unstaged, 'D');
	assert_true(status.items[2].unmerged);
	assert_int_equal(status.items[2].in_tree, 0120000);
	assert_string_equal(status.items[2].path, "\xff\xfe");
	assert_int_equal(status.untracked.len, 2);
	assert_string_equal(status.untracked.items[0], "new file");
	assert_string_equal(status.untracked.items[1], "nested/");
	assert_int_equal(status.ignored.len, 1);
	assert_string_equal(status.ignored.items[0], "big/");
}

static void without_commit_or_branch(void **state)
{
	static const char unborn[] = "# branch.oid (initial)\0# branch.head main";
	static const char detached[] = "# branch.oid " O1 "\0# branch.head (detached)";
	autofree char *one = copy_of(unborn, sizeof unborn);
	autofree char *two = copy_of(detached, sizeof detached);
	autoerror struct error err = ERROR_INIT;
	autostatus struct status first = STATUS_INIT;
	autostatus struct status second = STATUS_INIT;
	autostatus struct status empty = STATUS_INIT;

	(void)state;
	assert_success(status_parse(one, sizeof unborn, &first, &err), &err);
	assert_null(first.commit);
	assert_string_equal(first.branch, "main");
	assert_success(status_parse(two, sizeof detached, &second, &err), &err);
	assert_string_equal(second.commit, O1);
	assert_null(second.branch);
	assert_success(status_parse(NULL, 0, &empty, &err), &err);
	assert_int_equal(empty.count, 0);
}

static void many(void **state)
{
	autostr struct str bytes = STR_INIT;
	autostatus struct status status = STATUS_INIT;
	autoerror struct error err = ERROR_INIT;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		str_addf(&bytes, "1 .M N... 100644 100644 100644 " O1 " " O1 " f%d", i);
		str_add_char(&bytes, '\0');
	}
	assert_success(status_parse(bytes.s, bytes.len, &status, &err), &err);
	assert_int_equal(status.count, 1000);
	for (int i = 0; i < 1000; i++) {
		autofree char *name = xasprintf("f%d", i);

		assert_string_equal(status.items[i].path, name);
	}
}

static void refused(void **state)
{
	static const char *const bad[] = {
		"x",
		"1",
		"1 ",
		"? ",
		"! ",
		"? /etc/passwd",
		"1 /etc/passwd",
		"9 M. N... 100644 100644 100644 " O1 " " O2 " a",
		"2 R. N... 100644 100644 100644 " O1 " " O2 " R100 a",
		"1 M N... 100644 100644 100644 " O1 " " O2 " a",
		"1 Z. N... 100644 100644 100644 " O1 " " O2 " a",
		"1 M. N... 100649 100644 100644 " O1 " " O2 " a",
		"1 M. N... 1006444 100644 100644 " O1 " " O2 " a",
		"1 M. N... 100644 100644 100644 " O1 " " O2 " ",
		"1 M. N... 100644 100644 100644 " O1 " " O2 " /a",
		"1 M. N... 100644 100644 100644 " O1 " " O2,
		"u UU N... 100644 100644 100644 100644 " O1 " " O2 " " O1,
		"u UU N... 100644 100644 100644 -00644 " O1 " " O2 " " O1 " a",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		autofree char *copy = xstrdup(bad[i]);
		autostatus struct status status = STATUS_INIT;
		autoerror struct error err = ERROR_INIT;

		assert_failure(status_parse(copy, strlen(bad[i]) + 1, &status, &err), &err, ERR_GIT,
			       "git status says");
	}
	autofree char *cut = copy_of("? abc", 5);
	autostatus struct status status = STATUS_INIT;
	autoerror struct error err = ERROR_INIT;

	assert_failure(status_parse(cut, 5, &status, &err), &err, ERR_GIT, "cut off");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_record),
		cmocka_unit_test(without_commit_or_branch),
		cmocka_unit_test(many),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
