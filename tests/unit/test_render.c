#include "support.h"

#include <string.h>

#include "cli/render.h"

static struct palette palette;

static int standard_palette(void **state)
{
	struct config none = CONFIG_INIT;

	(void)state;
	palette_read(&none, &palette);
	return 0;
}

/* In pieces of `size` bytes, the first one of `first`. */
static char *rendered(enum render_style style, const char *bytes, size_t len, size_t first,
		      size_t size)
{
	struct str out = STR_INIT;
	struct render render;

	render_init(&render, style, &palette);
	for (size_t at = 0, piece = first; at < len; at += piece, piece = size) {
		if (piece > len - at)
			piece = len - at;
		render_feed(&render, bytes + at, piece, &out);
		assert_true(render.kept.len <= RENDER_KEPT);
	}
	render_finish(&render, &out);
	return str_take(&out);
}

static void assert_bytes(enum render_style style, const char *bytes, size_t len,
			 const char *expected)
{
	autofree char *whole = rendered(style, bytes, len, len, len);
	autofree char *single = rendered(style, bytes, len, 1, 1);

	assert_string_equal(whole, expected);
	assert_string_equal(single, expected);
	for (size_t at = 1; at < len; at++) {
		autofree char *split = rendered(style, bytes, len, at, len);

		assert_string_equal(split, expected);
	}
}

static void assert_plain(const char *text, const char *expected)
{
	assert_bytes(RENDER_PLAIN, text, strlen(text), expected);
}

static void assert_coloured(const char *text, const char *expected)
{
	assert_bytes(RENDER_COLOURED, text, strlen(text), expected);
}

/* As in str_add_escaped(), but for these two. */
static void every_byte(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		char byte = (char)c;
		struct str expected = STR_INIT;

		if (c == '\n' || c == '\t')
			str_add_char(&expected, byte);
		else
			str_add_escaped(&expected, &byte, 1);
		assert_bytes(RENDER_PLAIN, &byte, 1, expected.s);
		str_release(&expected);
	}
}

static void text_stays(void **state)
{
	(void)state;
	assert_plain("a\tb\n\n c\n", "a\tb\n\n c\n");
	assert_plain("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\n",
		     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\n");
	assert_plain("no newline", "no newline");
	assert_plain("", "");
	/* \x0d and not a return to the start of the line, where more could be written over it */
	assert_plain("dos\r\nover\rwritten\n", "dos\\x0d\nover\\x0dwritten\n");
}

static void what_steers_a_terminal(void **state)
{
	(void)state;
	assert_plain("\033[31mred\033[m\033]0;title\007\n",
		     "\\x1b[31mred\\x1b[m\\x1b]0;title\\x07\n");
	assert_plain("\033]8;;http://x\033\\link\b\b\x7f\n",
		     "\\x1b]8;;http://x\\x1b\\link\\x08\\x08\\x7f\n");
	/* C1 as a byte and as UTF-8, overrides and isolates */
	assert_plain("\x9b"
		     "31m \xc2\x9b"
		     "31m\n",
		     "\\x9b31m \\xc2\\x9b31m\n");
	assert_plain("\xe2\x80\xae\xe2\x81\xa6\n", "\\xe2\\x80\\xae\\xe2\\x81\\xa6\n");
}

static void broken_sequences(void **state)
{
	(void)state;
	assert_plain("\xc3", "\\xc3");
	assert_plain("\xe2\x82\n", "\\xe2\\x82\n");
	assert_plain("\xe2\x82\xc3\xbc\n", "\\xe2\\x82\xc3\xbc\n");
	assert_plain("\xf0\x9f\x98 x\n", "\\xf0\\x9f\\x98 x\n");
	assert_plain("\xf0\x9f\xf0\x9f\x98\x80\n", "\\xf0\\x9f\xf0\x9f\x98\x80\n");
	assert_plain("\x80\x80\x80\x80\x80\n", "\\x80\\x80\\x80\\x80\\x80\n");
	assert_plain("\xc0\xaf\xed\xa0\x80\xf5\x80\x80\x80\n",
		     "\\xc0\\xaf\\xed\\xa0\\x80\\xf5\\x80\\x80\\x80\n");
}

static void a_file_gets_all_bytes(void **state)
{
	static const char bytes[] = "+\033[31m\r\n\xff\xc3";
	char *raw = rendered(RENDER_RAW, bytes, sizeof bytes - 1, 1, 3);

	(void)state;
	assert_string_equal(raw, bytes);
	free(raw);
	/* Also what would end a string */
	struct str out = STR_INIT;
	struct render render;

	render_init(&render, RENDER_RAW, NULL);
	render_feed(&render, "a\0b", 3, &out);
	render_finish(&render, &out);
	assert_int_equal(out.len, 3);
	assert_memory_equal(out.s, "a\0b", 3);
	str_release(&out);
}

#define HEADER "diff --git a/f b/f\nindex 1111111..2222222 100644\n--- a/f\n+++ b/f\n"
#define META(line) "\033[1m" line "\033[m\n"
#define HEADER_COLOURED                       \
	META("diff --git a/f b/f")            \
	META("index 1111111..2222222 100644") \
	META("--- a/f") META("+++ b/f")
#define FRAG(text) "\033[36m" text "\033[m"
#define OLD(line) "\033[31m-" line "\033[m\n"
#define NEW(line) "\033[32m+\033[m\033[32m" line "\033[m\n"
#define SAME(line) " " line "\033[m\n"

static void a_patch(void **state)
{
	(void)state;
	assert_coloured(HEADER "@@ -1,3 +1,3 @@ int f(void)\n a\n-b\n+c\n d\n",
			HEADER_COLOURED FRAG("@@ -1,3 +1,3 @@") " \033[mint f(void)\033[m\n" SAME(
				"a") OLD("b") NEW("c") SAME("d"));
	/* Indentation, empty lines, no newline at the end */
	assert_coloured(HEADER
			"@@ -1 +1,3 @@\n-\tb\n\\ No newline at end of file\n+\t\tc d\n+\n+e\n",
			HEADER_COLOURED FRAG("@@ -1 +1,3 @@") "\n" OLD(
				"\tb") "\\ No newline at end of file\033[m\n"
				       "\033[32m+\033[m\t\t\033[32mc d\033[m\n"
				       "\033[32m+\033[m\n" NEW("e"));
	assert_coloured("diff --git a/b b/b\nBinary files a/b and b/b differ\nx\n",
			META("diff --git a/b b/b") "Binary files a/b and b/b differ\nx\n");
}

/* It has colours of its own, one of which is the one before. */
static void content_cannot_forge_colours(void **state)
{
	(void)state;
	assert_coloured(HEADER "@@ -1 +1 @@\n-\033[m\033[32m+x\n+\033[8mhidden\n",
			HEADER_COLOURED FRAG("@@ -1 +1 @@") "\n" OLD("\\x1b[m\\x1b[32m+x")
				NEW("\\x1b[8mhidden"));
	assert_coloured("diff --git \"a/\\033\" \033[31m\n",
			META("diff --git \"a/\\033\" \\x1b[31m"));
}

static void lines_are_known_by_their_place(void **state)
{
	(void)state;
	/* What was "-- a/f", "++ b/f", "@@ ..." and so on in the file */
	assert_coloured(
		HEADER "@@ -1,4 +1,3 @@\n--- a/f\n-@@ -1 +1 @@\n-diff --git a b\n diff --git a b\n"
		       "+++ b/f\n+commit 0123456789012345678901234567890123456789\n",
		HEADER_COLOURED FRAG("@@ -1,4 +1,3 @@") "\n" OLD("-- a/f") OLD("@@ -1 +1 @@")
			OLD("diff --git a b") SAME("diff --git a b") NEW("++ b/f")
				NEW("commit 0123456789012345678901234567890123456789"));
	/* Behind the last line of a hunk the next one begins, or the next file. */
	assert_coloured(HEADER "@@ -1 +0,0 @@\n--- a\n@@ -5 +4 @@\n-x\n+y\n" HEADER,
			HEADER_COLOURED FRAG("@@ -1 +0,0 @@") "\n" OLD("-- a")
				FRAG("@@ -5 +4 @@") "\n" OLD("x") NEW("y") HEADER_COLOURED);
	/* What a hunk does not announce is no line of it. */
	assert_coloured(HEADER "@@ -1 +1 @@\n-x\n-y\n",
			HEADER_COLOURED FRAG("@@ -1 +1 @@") "\n" OLD("x") "-y\n");
	assert_coloured(HEADER "@@ -1 +0,0 @@\n+++ b/f\n",
			HEADER_COLOURED FRAG("@@ -1 +0,0 @@") "\n" META("+++ b/f"));
	assert_coloured(
		HEADER "@@ -1,2 +1 @@\n-x\nno line of a hunk\n-y\n+z\n",
		HEADER_COLOURED FRAG("@@ -1,2 +1 @@") "\n" OLD("x") "no line of a hunk\n-y\n+z\n");
	/* A hunk without a file, a file without a hunk */
	assert_coloured("@@ -1 +1 @@\n-x\n+++ b\n", "@@ -1 +1 @@\n-x\n+++ b\n");
	/* diff.suppressBlankEmpty */
	assert_coloured(HEADER "@@ -1,2 +1 @@\n\n-x\n",
			HEADER_COLOURED FRAG("@@ -1,2 +1 @@") "\n\033[m\n" OLD("x"));
}

static void headers_that_are_none(void **state)
{
	static const char *const lines[] = {
		"@@ -1 +1\n",
		"@@ -1 +1 @\n",
		"@@ -a +1 @@\n",
		"@@ -1, +1 @@\n",
		"@@ +1 -1 @@\n",
		"@@ -1  +1 @@\n",
		"@@ -1 +1@@\n",
		"@@@ -1 -1 +1 @@@\n",
		"@@ -1234567890123456789 +1 @@\n",
		"@@ \n",
		"@@ -1\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		autofree char *text = xasprintf(HEADER "%s-x\n", lines[i]);
		autofree char *expected = xasprintf(HEADER_COLOURED "%s-x\n", lines[i]);

		assert_coloured(text, expected);
	}
}

static void a_log(void **state)
{
	(void)state;
	assert_coloured(
		"commit 0123456789012345678901234567890123456789\nAuthor: A <a@b>\n\n"
		"    commit 0123456789012345678901234567890123456789\n"
		"    diff --git a/x b/x\n    @@ -1 +1 @@\n\n" HEADER "@@ -1 +1 @@\n-x\n+y\n\n"
		"commit 0123456789012345678901234567890123456789 (main)\n",
		"\033[33mcommit 0123456789012345678901234567890123456789\033[m\n"
		"Author: A <a@b>\n\n"
		"    commit 0123456789012345678901234567890123456789\n"
		"    diff --git a/x b/x\n    @@ -1 +1 @@\n\n" HEADER_COLOURED FRAG(
			"@@ -1 +1 @@") "\n" OLD("x")
			NEW("y") "\n"
				 "\033[33mcommit 0123456789012345678901234567890123456789 (main)\033[m\n");
	assert_coloured("commit 01234\ncommit \n", "commit 01234\ncommit \n");
}

static void a_stat(void **state)
{
	(void)state;
	assert_coloured(" a | 9 ++ | 12 ++-\n b |  1 -\n c => d |  0\n x | Bin 0 -> 2 bytes\n"
			"    message | 3 +++\n | 3 +x-\n",
			" a | 9 ++ | 12 \033[32m++\033[m\033[31m-\033[m\n b |  1 \033[31m-\033[m\n"
			" c => d |  0\n x | Bin 0 -> 2 bytes\n    message | 3 +++\n | 3 +x-\n");
}

/* A line that never ends is neither kept nor copied whole. */
static void a_line_without_end(void **state)
{
	static char piece[65536];
	struct str out = STR_INIT;
	struct render render;
	size_t total = 0;

	(void)state;
	memset(piece, 'x', sizeof piece);
	for (int hunk = 0; hunk < 2; hunk++) {
		render_init(&render, RENDER_COLOURED, &palette);
		if (hunk)
			render_feed(&render, HEADER "@@ -1 +0,0 @@\n-", strlen(HEADER) + 15, &out);
		for (int i = 0; i < 200; i++) {
			str_clear(&out);
			render_feed(&render, piece, sizeof piece, &out);
			assert_true(render.kept.alloc < 4 * sizeof piece);
			total += out.len;
		}
		str_clear(&out);
		render_finish(&render, &out);
		assert_string_equal(out.s, hunk ? COLOUR_RESET : "");
	}
	assert_int_equal(total, 400 * sizeof piece);
	str_release(&out);
}

static char *read_raw(const char *repository, const char *colour)
{
	char *text = git_says(repository, "log", "-p", "--stat", "--no-renames", colour, NULL);
	char *line = xasprintf("%s\n", text);

	free(text);
	return line;
}

/* git_says() takes the last newline away; the colours are between that and the text. */
static void as_git_does_it(void **state)
{
	const struct temp *temp = *state;
	autofree char *repository = make_repository(temp, "r");

	commit_file(repository, "f", "int f(void)\n{\n\ta;\n\n\tb;\n\tc;\n\td;\n\te;\n\tg;\n\n}\n");
	commit_file(repository, "f",
		    "int f(void)\n{\n\ta;\n\n\tb;\n\tc;\n\td;\n\te;\n\tnew;\n\n}\n");
	commit_file(repository, "g", "-- a/f\n++ b/f\n@@ -1 +1 @@\n");
	commit_file(repository, "g", "x\n@@ -1 +1 @@");
	git(repository, "rm", "-q", "g", NULL);
	git(repository, "commit", "-qm", "gone\n\ncommit 1\n", NULL);
	autofree char *plain = read_raw(repository, "--no-color");
	autofree char *coloured = read_raw(repository, "--color");
	autofree char *ours = rendered(RENDER_COLOURED, plain, strlen(plain), 100, 7);

	assert_string_equal(ours, coloured);
}

static void assert_colour(const char *text, const char *expected)
{
	char colour[COLOUR_SIZE];

	assert_int_equal(colour_parse(text, colour), expected ? 0 : -1);
	if (expected)
		assert_string_equal(colour, expected);
}

static void colours(void **state)
{
	(void)state;
	assert_colour("red", "\033[31m");
	assert_colour("  bold Red  blue ", "\033[1;31;44m");
	assert_colour("ul nobold no-dim brightgreen", "\033[4;22;92m");
	assert_colour("normal red", "\033[41m");
	assert_colour("normal", "");
	assert_colour("", "");
	assert_colour("default -1 reverse", "\033[7;39m");
	assert_colour("12 200", "\033[94;48;5;200m");
	assert_colour("#ff8001", "\033[38;2;255;128;1m");
	assert_colour("reset", "\033[m");
	assert_colour("red green blue", NULL);
	assert_colour("reddish", NULL);
	assert_colour("256", NULL);
	assert_colour("-2", NULL);
	assert_colour("#ff80", NULL);
	assert_colour("#ff800g", NULL);
	assert_colour("\033[31m", NULL);
}

/* As git understands them */
static void colours_of_git(void **state)
{
	static const char *const values[] = {"bold red blue", "ul nodim brightgreen", "normal red",
					     "12 200",	      "#ff8001 bold dim",     "reset",
					     "white"};
	const struct temp *temp = *state;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		autofree char *said = git_says(temp->path, "config", "--get-color", "color.none",
					       values[i], NULL);

		assert_colour(values[i], said);
	}
}

static void the_users_palette(void **state)
{
	struct config config = CONFIG_INIT;
	struct palette own;
	static const char text[] =
		"global\0color.diff.old\nmagenta\0global\0color.diff.plain\ndim\0"
		"global\0color.diff.new\nno such colour\0";

	(void)state;
	config_parse(text, sizeof text - 1, &config);
	palette_read(&config, &own);
	assert_string_equal(own.slots[COLOUR_OLD], "\033[35m");
	assert_string_equal(own.slots[COLOUR_CONTEXT], "\033[2m");
	assert_string_equal(own.slots[COLOUR_NEW], "\033[32m");
	config_release(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte),
		cmocka_unit_test(text_stays),
		cmocka_unit_test(what_steers_a_terminal),
		cmocka_unit_test(broken_sequences),
		cmocka_unit_test(a_file_gets_all_bytes),
		cmocka_unit_test(a_patch),
		cmocka_unit_test(content_cannot_forge_colours),
		cmocka_unit_test(lines_are_known_by_their_place),
		cmocka_unit_test(headers_that_are_none),
		cmocka_unit_test(a_log),
		cmocka_unit_test(a_stat),
		cmocka_unit_test(a_line_without_end),
		WITH_TEMP(as_git_does_it),
		cmocka_unit_test(colours),
		WITH_TEMP(colours_of_git),
		cmocka_unit_test(the_users_palette),
	};

	return cmocka_run_group_tests(tests, standard_palette, NULL);
}
