#include "support.h"

#include <stdlib.h>
#include <string.h>

static void growing(void **state)
{
	autostr struct str str = STR_INIT;
	autofree char *expected = xmalloc(100001);
	autofree char *empty = NULL;

	(void)state;
	empty = str_take(&str);
	assert_string_equal(empty, "");
	for (int i = 0; i < 100000; i++) {
		str_add_char(&str, (char)('a' + i % 26));
		expected[i] = (char)('a' + i % 26);
		/* Terminated after every step. */
		if (str.s[str.len])
			fail();
	}
	expected[100000] = '\0';
	assert_int_equal(str.len, 100000);
	assert_string_equal(str.s, expected);
	str_clear(&str);
	assert_int_equal(str.len, 0);
	assert_string_equal(str.s, "");
	str_addf(&str, "%s-%d", "x", 7);
	str_add_bytes(&str, "a\0b", 3);
	str_add_bytes(&str, NULL, 0);
	assert_int_equal(str.len, 6);
	assert_memory_equal(str.s, "x-7a\0b", 7);
}

static void taking(void **state)
{
	struct str str = STR_INIT;

	(void)state;
	str_add(&str, "text");
	autofree char *text = str_take(&str);

	assert_string_equal(text, "text");
	assert_null(str.s);
	assert_int_equal(str.len, 0);
	str_clear(&str);
	str_release(&str);
	str_release(&str);
}

static void vectors(void **state)
{
	autostrv struct strv v = STRV_INIT;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		strv_addf(&v, "%d", i);
		assert_null(v.items[v.len]);
	}
	strv_add(&v, "");
	strv_give(&v, xstrdup("given"));
	assert_int_equal(v.len, 1002);
	assert_string_equal(v.items[999], "999");
	assert_string_equal(v.items[1000], "");
	assert_string_equal(v.items[1001], "given");
	strv_release(&v);
	assert_null(v.items);
	assert_int_equal(v.len, 0);
}

static void ends(void **state)
{
	(void)state;
	assert_true(str_starts("abc", "ab"));
	assert_true(str_starts("abc", ""));
	assert_false(str_starts("ab", "abc"));
	assert_true(str_ends("abc", "bc"));
	assert_true(str_ends("abc", ""));
	assert_true(str_ends("abc", "abc"));
	assert_false(str_ends("bc", "abc"));
	assert_false(str_ends("abd", "bc"));
}

static void escaping(void **state)
{
	static const struct {
		const char *text;
		const char *shown;
	} cases[] = {
		{"plain ~ text", "plain ~ text"},
		{"\a\b\r\v\f\x1b[2J", "\\x07\\x08\\x0d\\x0b\\x0c\\x1b[2J"},
		{"a\nb\tc", "a\\nb\\tc"},
		{"\x7f", "\\x7f"},
		{"\x1f\x20", "\\x1f "},
		/* Text of all lengths stays, at both ends of each range. */
		{"\xc2\xa0 \xc3\xa4 \xdf\xbf", "\xc2\xa0 \xc3\xa4 \xdf\xbf"},
		{"\xe0\xa0\x80 \xe2\x82\xac \xef\xbf\xbd",
		 "\xe0\xa0\x80 \xe2\x82\xac \xef\xbf\xbd"},
		{"\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80"},
		{"\xf0\x90\x80\x80 \xf0\x9f\xa6\x84 \xf4\x8f\xbf\xbf",
		 "\xf0\x90\x80\x80 \xf0\x9f\xa6\x84 \xf4\x8f\xbf\xbf"},
		/* C1: U+009B is a CSI for some terminals, U+0085 a new line. */
		{"\xc2\x9b", "\\xc2\\x9b"},
		{"\xc2\x80\xc2\x85\xc2\x9f", "\\xc2\\x80\\xc2\\x85\\xc2\\x9f"},
		/* and as the naked bytes of an 8-bit terminal */
		{"\x9b", "\\x9b"},
		/* overlong */
		{"\xc0\xaf", "\\xc0\\xaf"},
		{"\xc1\x8a", "\\xc1\\x8a"},
		{"\xe0\x80\x8a", "\\xe0\\x80\\x8a"},
		{"\xe0\x9f\xbf", "\\xe0\\x9f\\xbf"},
		{"\xf0\x80\x80\x9b", "\\xf0\\x80\\x80\\x9b"},
		{"\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf"},
		/* surrogates, too large, no longer UTF-8 */
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"},
		{"\xed\xbf\xbf", "\\xed\\xbf\\xbf"},
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
		{"\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80"},
		{"\xff\xfe", "\\xff\\xfe"},
		/* cut short, at the end and before other text */
		{"\xe2\x82", "\\xe2\\x82"},
		{"\xc3", "\\xc3"},
		{"\xe2\x82x", "\\xe2\\x82x"},
		{"\xf0\x9f\xa6\xc3\xa4", "\\xf0\\x9f\\xa6\xc3\xa4"},
		/* An escape cannot hide behind a broken sequence. */
		{"\xc3\x1b[0m", "\\xc3\\x1b[0m"},
		/* bidirectional overrides, embeddings and isolates; their neighbours stay */
		/* NOLINTNEXTLINE(misc-misleading-bidirectional) */
		{"\xe2\x80\xaa\xe2\x80\xae", "\\xe2\\x80\\xaa\\xe2\\x80\\xae"},
		{"\xe2\x81\xa6\xe2\x81\xa9", "\\xe2\\x81\\xa6\\xe2\\x81\\xa9"},
		{"\xe2\x80\xaf\xe2\x81\xaa", "\xe2\x80\xaf\xe2\x81\xaa"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autostr struct str str = STR_INIT;

		str_add_escaped(&str, cases[i].text, strlen(cases[i].text));
		assert_string_equal(str.s, cases[i].shown);
	}
}

static void escaping_nul_and_bounds(void **state)
{
	autostr struct str str = STR_INIT;
	/* Exactly as much memory as there is text: the sanitizer sees a byte too far. */
	const char cut[] = {'x', '\xf0', '\x9f'};
	autofree char *text = xmalloc(sizeof cut);

	(void)state;
	str_add_escaped(&str, "a\0b", 3);
	assert_string_equal(str.s, "a\\x00b");
	str_clear(&str);
	memcpy(text, cut, sizeof cut);
	str_add_escaped(&str, text, 3);
	assert_string_equal(str.s, "x\\xf0\\x9f");
	str_add_escaped(&str, "", 0);
	assert_string_equal(str.s, "x\\xf0\\x9f");
}

/* Whatever the bytes are, what is shown has no control character and is UTF-8. */
static void every_pair(void **state)
{
	(void)state;
	for (unsigned int pair = 0; pair < 65536; pair++) {
		autostr struct str str = STR_INIT;
		const char text[2] = {(char)(pair >> 8), (char)pair};

		str_add_escaped(&str, text, 2);
		for (size_t i = 0; i < str.len; i++) {
			unsigned char c = (unsigned char)str.s[i];

			if (c < 0x20 || c == 0x7f)
				fail_msg("%04x gives a control character", pair);
			if (c >= 0x80 && (str.len != 2 || (unsigned char)text[0] < 0xc2 ||
					  (pair >= 0xc280 && pair <= 0xc29f)))
				fail_msg("%04x stays as it is", pair);
		}
	}
}

static void words_of_a_shell(void **state)
{
	static const char *const words[][2] = {
		{"jib/a/main", "jib/a/main"}, {"", "''"},
		{"$(id)", "'$(id)'"},	      {"a b", "'a b'"},
		{"it's", "'it'\\''s'"},	      {"a\nb", "'a\nb'"},
		{"~root", "'~root'"},	      {"a;b", "'a;b'"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		autostr struct str word = STR_INIT;

		str_add_word(&word, words[i][0]);
		assert_string_equal(word.s, words[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(growing),    cmocka_unit_test(taking),
		cmocka_unit_test(vectors),    cmocka_unit_test(ends),
		cmocka_unit_test(escaping),   cmocka_unit_test(escaping_nul_and_bounds),
		cmocka_unit_test(every_pair), cmocka_unit_test(words_of_a_shell),
	};

	return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
