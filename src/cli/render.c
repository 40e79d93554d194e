#include "cli/render.h"

#include <ctype.h>
#include <string.h>

#include "base/memory.h"

enum { ID_SHORT = 40, ID_LONG = 64, DIGITS = 12 };

void render_init(struct render *ret, enum render_style style, const struct palette *palette)
{
	*ret = (struct render){
		.style = palette || style != RENDER_COLOURED ? style : RENDER_PLAIN,
		.palette = palette,
		.kept = STR_INIT,
	};
}

/* ---- text ---- */

static void add_text(const char *text, size_t len, struct str *ret)
{
	for (size_t at = 0; at < len;) {
		const char *tab = memchr(text + at, '\t', len - at);
		size_t end = tab ? (size_t)(tab - text) : len;

		str_add_escaped(ret, text + at, end - at);
		if (tab)
			str_add_char(ret, '\t');
		at = end + (tab != NULL);
	}
}

/* How many bytes at the end may be the begin of a UTF-8 sequence, of which more is to come. */
static size_t unfinished(const char *text, size_t len)
{
	for (size_t back = 1; back <= 3 && back <= len; back++) {
		unsigned char c = (unsigned char)text[len - back];
		size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

		if ((c & 0xc0) != 0x80)
			return need > back ? back : 0;
	}
	return 0;
}

static const char *slot(const struct render *render, enum colour_slot which)
{
	return render->palette->slots[which];
}

/* The text in the colour, whole. */
static void add_coloured(const struct render *render, enum colour_slot which, const char *text,
			 size_t len, struct str *ret)
{
	str_add(ret, slot(render, which));
	add_text(text, len, ret);
	str_add(ret, COLOUR_RESET);
}

/* Inside of a line; ends before its newline. Returns how much it has taken. */
static size_t add_content(struct render *render, const char *text, size_t len, bool whole,
			  struct str *ret)
{
	size_t at = 0, end = whole ? len : len - unfinished(text, len);

	/* git colours what is added from behind the tabs on, and so looks for bad indentation. */
	if (render->waiting) {
		while (at < end && text[at] == '\t')
			at++;
		add_text(text, at, ret);
		if (at < end) {
			str_add(ret, render->waiting);
			render->waiting = NULL;
			render->open = true;
		}
	}
	add_text(text + at, end - at, ret);
	return end;
}

/* ---- the begin of a line ---- */

static bool starts(const char *line, size_t len, const char *prefix)
{
	size_t need = strlen(prefix);

	return len >= need && memcmp(line, prefix, need) == 0;
}

/* A line of which all is in one colour. Returns how much of it is written: nothing. */
static size_t begin_whole(struct render *render, enum colour_slot which, struct str *ret)
{
	str_add(ret, slot(render, which));
	render->open = true;
	return 0;
}

static bool parse_number(const char *line, size_t len, size_t *at, unsigned long *ret)
{
	size_t began = *at;

	*ret = 0;
	while (*at < len && *at - began < DIGITS && isdigit((unsigned char)line[*at]))
		*ret = *ret * 10 + (unsigned long)(line[(*at)++] - '0');
	return *at > began;
}

/* "-N" or "-N,COUNT" with that sign. */
static bool parse_range(const char *line, size_t len, char sign, size_t *at, unsigned long *ret)
{
	unsigned long first;

	if (*at == len || line[*at] != sign)
		return false;
	++*at;
	*ret = 1;
	if (!parse_number(line, len, at, &first))
		return false;
	if (*at == len || line[*at] != ',')
		return true;
	++*at;
	return parse_number(line, len, at, ret);
}

/* "@@ -1,2 +3 @@": how long that is, or 0; and how many lines of each side are to come. */
static size_t parse_hunk(const char *line, size_t len, unsigned long *ret_old,
			 unsigned long *ret_new)
{
	size_t at = strlen("@@ ");

	if (!starts(line, len, "@@ ") || !parse_range(line, len, '-', &at, ret_old) || at == len ||
	    line[at++] != ' ' || !parse_range(line, len, '+', &at, ret_new) ||
	    !starts(line + at, len - at, " @@"))
		return 0;
	return at + strlen(" @@");
}

/* Behind it git says in which function that is. */
static size_t begin_hunk(struct render *render, const char *line, size_t len, size_t header,
			 struct str *ret)
{
	size_t at = header;

	add_coloured(render, COLOUR_FRAG, line, header, ret);
	while (at < len && (line[at] == ' ' || line[at] == '\t'))
		at++;
	if (at > header)
		add_coloured(render, COLOUR_CONTEXT, line + header, at - header, ret);
	if (at < len)
		begin_whole(render, COLOUR_FUNC, ret);
	return at;
}

static size_t begin_added(struct render *render, struct str *ret)
{
	add_coloured(render, COLOUR_NEW, "+", 1, ret);
	render->waiting = slot(render, COLOUR_NEW);
	return 1;
}

/* Whether a line that begins so can be the next one of the hunk. */
static bool fits_hunk(const struct render *render, char sign)
{
	switch (sign) {
	case ' ':
		return render->old_left && render->new_left;
	case '-':
		return render->old_left;
	case '+':
		return render->new_left;
	case '\\': /* about the line before */
		return render->old_left || render->new_left;
	default:
		return false;
	}
}

static size_t begin_in_hunk(struct render *render, char sign, struct str *ret)
{
	render->old_left -= sign == ' ' || sign == '-';
	render->new_left -= sign == ' ' || sign == '+';
	if (sign == '+')
		return begin_added(render, ret);
	return begin_whole(render, sign == '-' ? COLOUR_OLD : COLOUR_CONTEXT, ret);
}

static bool is_extended_header(const char *line, size_t len)
{
	static const char *const prefixes[] = {
		"index ",
		"--- ",
		"+++ ",
		"old mode ",
		"new mode ",
		"new file ",
		"deleted file ",
		"copy from ",
		"copy to ",
		"rename from ",
		"rename to ",
		"rename old ",
		"rename new ",
		"similarity index ",
		"dissimilarity index ",
	};

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (starts(line, len, prefixes[i]))
			return true;
	return false;
}

static bool is_commit(const char *line, size_t len)
{
	size_t at = strlen("commit "), began = at;

	if (!starts(line, len, "commit "))
		return false;
	while (at < len && isxdigit((unsigned char)line[at]))
		at++;
	return (at - began == ID_SHORT || at - began == ID_LONG) && (at == len || line[at] == ' ');
}

/*
 * " name | 12 ++++----": the graph is what stands behind the last bar. Lines of a message are
 * indented by more.
 */
static size_t begin_stat(const struct render *render, const char *line, size_t len, struct str *ret)
{
	/* One that is cut off is none. */
	bool may = len > 1 && len < RENDER_KEPT && line[0] == ' ' && line[1] != ' ';
	const char *bar = may ? memrchr(line, '|', len) : NULL;
	size_t at = bar ? (size_t)(bar - line) + 1 : len, plus;
	unsigned long count;

	while (at < len && line[at] == ' ')
		at++;
	if (!bar || !parse_number(line, len, &at, &count) || at == len || line[at++] != ' ')
		return 0;
	for (plus = at; plus < len && line[plus] == '+';)
		plus++;
	for (size_t i = plus; i < len; i++)
		if (line[i] != '-')
			return 0;
	add_text(line, at, ret);
	if (plus > at)
		add_coloured(render, COLOUR_NEW, line + at, plus - at, ret);
	if (len > plus)
		add_coloured(render, COLOUR_OLD, line + plus, len - plus, ret);
	return len;
}

/* Outside of hunks. Returns how much of the line is written. */
static size_t begin_outside(struct render *render, const char *line, size_t len, struct str *ret)
{
	size_t header;

	if (starts(line, len, "diff --git ")) {
		render->in_file = true;
		return begin_whole(render, COLOUR_META, ret);
	}
	if (render->in_file) {
		header = parse_hunk(line, len, &render->old_left, &render->new_left);
		if (header)
			return begin_hunk(render, line, len, header, ret);
		render->old_left = render->new_left = 0;
		if (is_extended_header(line, len))
			return begin_whole(render, COLOUR_META, ret);
		if (starts(line, len, "\\ "))
			return begin_whole(render, COLOUR_CONTEXT, ret);
	}
	render->in_file = false;
	if (is_commit(line, len))
		return begin_whole(render, COLOUR_COMMIT, ret);
	return begin_stat(render, line, len, ret);
}

/*
 * What is known of the line, without its newline, is at least its first byte in a hunk, and
 * RENDER_KEPT bytes, or all of it, elsewhere.
 */
static size_t begin_line(struct render *render, const char *line, size_t len, struct str *ret)
{
	char sign = len ? line[0] : ' '; /* diff.suppressBlankEmpty */

	if (render->style != RENDER_COLOURED)
		return 0;
	if (fits_hunk(render, sign))
		return begin_in_hunk(render, sign, ret);
	render->old_left = render->new_left = 0;
	return begin_outside(render, line, len, ret);
}

static void end_line(struct render *render, struct str *ret)
{
	if (render->open)
		str_add(ret, COLOUR_RESET);
	render->open = false;
	render->waiting = NULL;
	render->in_line = false;
}

/* ---- the stream ---- */

/* Whether what has come of a line, which has not ended, is enough to begin it. */
static bool enough(const struct render *render, const char *line, size_t len)
{
	if (render->style != RENDER_COLOURED)
		return true;
	return len >= RENDER_KEPT || (len && fits_hunk(render, line[0]));
}

/* Returns how much is done; the rest is needed again, with what follows it. */
static size_t render_some(struct render *render, const char *text, size_t len, bool last,
			  struct str *ret)
{
	for (size_t at = 0; at < len;) {
		const char *newline = memchr(text + at, '\n', len - at);
		size_t end = newline ? (size_t)(newline - text) : len;
		bool whole = newline || last;

		if (!render->in_line) {
			size_t known = end - at < RENDER_KEPT ? end - at : RENDER_KEPT;

			if (!whole && !enough(render, text + at, end - at))
				return at;
			render->in_line = true;
			at += begin_line(render, text + at, known, ret);
		}
		at += add_content(render, text + at, end - at, whole, ret);
		if (!newline)
			return at;
		end_line(render, ret);
		str_add_char(ret, '\n');
		at++;
	}
	return len;
}

void render_feed(struct render *render, const char *bytes, size_t len, struct str *ret)
{
	if (render->style == RENDER_RAW) {
		str_add_bytes(ret, bytes, len);
		return;
	}
	if (render->kept.len) {
		str_add_bytes(&render->kept, bytes, len);
		str_drop(&render->kept,
			 render_some(render, render->kept.s, render->kept.len, false, ret));
		return;
	}
	size_t done = render_some(render, bytes, len, false, ret);

	str_add_bytes(&render->kept, bytes + done, len - done);
}

void render_finish(struct render *render, struct str *ret)
{
	if (render->kept.len)
		render_some(render, render->kept.s, render->kept.len, true, ret);
	end_line(render, ret);
	render_release(render);
}

void render_release(struct render *render)
{
	str_release(&render->kept);
}
