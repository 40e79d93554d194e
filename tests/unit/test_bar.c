#include "support.h"

#include <string.h>
#include <unistd.h>

#include "cli/bar.h"
#include "cli/output.h"

enum { BEGAN = 1000 };

/* What is drawn at a time, or NULL when nothing is; without what begins and ends the line. */
static char *drawn(struct bar *bar, uint64_t now, size_t columns, const char *what,
		   unsigned long done, unsigned long total)
{
	struct str text = STR_INIT;

	bar_draw(bar, now, columns, what, done, total, &text);
	if (!text.len)
		return NULL;
	assert_int_equal(text.s[0], '\r');
	assert_true(str_ends(text.s, "\033[K"));
	text.s[text.len - 3] = '\0';
	memmove(text.s, text.s + 1, strlen(text.s));
	return text.s;
}

static void assert_drawn(struct bar *bar, uint64_t now, size_t columns, unsigned long done,
			 unsigned long total, const char *expected)
{
	autofree char *text = drawn(bar, now, columns, "copying", done, total);

	if (!expected) {
		assert_null(text);
		return;
	}
	assert_non_null(text);
	assert_string_equal(text, expected);
}

static void only_what_takes_long(void **state)
{
	struct bar bar = {.began = BEGAN};

	(void)state;
	assert_drawn(&bar, BEGAN, 80, 1, 10, NULL);
	assert_drawn(&bar, BEGAN + 499, 80, 1, 10, NULL);
	assert_drawn(&bar, BEGAN + 500, 80, 5, 10, "jib: copying [##########          ]  50%");
	/* At most ten times a second */
	assert_drawn(&bar, BEGAN + 599, 80, 6, 10, NULL);
	assert_drawn(&bar, BEGAN + 600, 80, 6, 10, "jib: copying [############        ]  60%");
	assert_drawn(&bar, BEGAN + 650, 80, 7, 10, NULL);
	assert_drawn(&bar, BEGAN + 9000, 80, 10, 10, "jib: copying [####################] 100%");
}

static void what_is_known(void **state)
{
	struct bar bar = {.began = BEGAN};
	uint64_t now = BEGAN + 1000;

	(void)state;
	assert_drawn(&bar, now += 100, 80, 0, 10, "jib: copying [                    ]   0%");
	assert_drawn(&bar, now += 100, 80, 11, 10, "jib: copying [####################] 100%");
	assert_drawn(&bar, now += 100, 80, (unsigned long)-1, (unsigned long)-1,
		     "jib: copying [####################] 100%");
	assert_drawn(&bar, now += 100, 80, 1234, 0, "jib: copying 1234");
}

/* To the end and back, one column at a time. */
static void nothing_is_known(void **state)
{
	struct bar bar = {.began = BEGAN};
	int before = -1, rightmost = 0;

	(void)state;
	for (unsigned int i = 0; i < 64; i++) {
		autofree char *text = drawn(&bar, BEGAN + 1000 + 100UL * i, 80, "copying", 0, 0);
		char *mark = strstr(text, "====");
		int at = (int)(mark - text);

		assert_int_equal(strlen(text), strlen("jib: copying [                    ]"));
		assert_true(before < 0 || abs(at - before) == 1);
		before = at;
		rightmost = at > rightmost ? at : rightmost;
	}
	assert_int_equal(rightmost, strlen("jib: copying [                "));
	assert_int_equal(before, strlen("jib: copying [") + 1);
}

static void as_wide_as_the_terminal(void **state)
{
	struct bar bar = {.began = BEGAN};
	uint64_t now = BEGAN + 1000;

	(void)state;
	assert_drawn(&bar, now += 100, 41, 5, 10, "jib: copying [##########          ]  50%");
	assert_drawn(&bar, now += 100, 40, 5, 10, "jib: copyin [##########          ]  50%");
	assert_drawn(&bar, now += 100, 34, 5, 10, "jib:  [##########          ]  50%");
	assert_drawn(&bar, now += 100, 20, 5, 10, "jib: copying");
	assert_drawn(&bar, now += 100, 10, 5, 10, "jib: copy");
	assert_drawn(&bar, now += 100, 2, 5, 10, "j");
	assert_drawn(&bar, now += 100, 1, 5, 10, NULL);
	assert_drawn(&bar, now += 100, 0, 5, 10, NULL);
}

static void what_is_said_is_escaped(void **state)
{
	struct bar bar = {.began = BEGAN};
	uint64_t now = BEGAN + 1000;

	(void)state;
	autofree char *text = drawn(&bar, now += 100, 80, "a\033[2Jb\r\nc", 1, 0);

	assert_string_equal(text, "jib: a\\x1b[2Jb\\x0d\\nc 1");
	/* Two columns for each of them, and never half of one */
	autofree char *wide = drawn(&bar, now += 100, 14, "a\xe6\x96\x87\xe6\x96\x87", 12345, 0);

	assert_string_equal(wide, "jib: a 12345");
	autofree char *more = drawn(&bar, now += 100, 15, "a\xe6\x96\x87\xe6\x96\x87", 12345, 0);

	assert_string_equal(more, "jib: a\xe6\x96\x87 12345");
}

/* The interface: nothing is given to the work where nothing would be seen. */
static void not_on_a_terminal(void **state)
{
	autofd int kept = dup(STDERR_FILENO);
	struct bar bar;
	int pipes[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(dup2(pipes[1], STDERR_FILENO), STDERR_FILENO);
	bar_begin(&bar);
	const struct progress *progress = bar_progress(&bar);

	progress_step(progress, "copying", 1, 2);
	bar_end(&bar);
	bar_end(&bar);
	assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
	close(pipes[1]);
	assert_null(progress);
	assert_int_equal(read(pipes[0], &byte, 1), 0);
	close(pipes[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_takes_long),
		cmocka_unit_test(what_is_known),
		cmocka_unit_test(nothing_is_known),
		cmocka_unit_test(as_wide_as_the_terminal),
		cmocka_unit_test(what_is_said_is_escaped),
		cmocka_unit_test(not_on_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
