/* What git says about a sandbox, in any pieces: no byte of it steers a terminal or is a colour. */
#include <string.h>

#include "cli/render.h"
#include "support.h"

/* The first byte decides about the pieces, the rest is the text. */
static void render_all(enum render_style style, const struct palette *palette, const char *text,
		       size_t len, size_t piece, struct str *ret)
{
	struct render render;

	render_init(&render, style, palette);
	for (size_t at = 0; at < len; at += piece) {
		render_feed(&render, text + at, piece < len - at ? piece : len - at, ret);
		MUST(render.kept.len <= RENDER_KEPT);
	}
	render_finish(&render, ret);
	str_add(ret, "");
}

/* Only the colours of the palette, each ended in its line; *ret is what is between them. */
static void take_colours_off(const struct palette *palette, const struct str *shown,
			     struct str *ret)
{
	bool open = false;

	for (size_t at = 0; at < shown->len;) {
		size_t len = 0;

		if (shown->s[at] != '\033') {
			MUST(shown->s[at] != '\n' || !open);
			str_add_char(ret, shown->s[at++]);
			continue;
		}
		if (str_starts(shown->s + at, COLOUR_RESET)) {
			len = strlen(COLOUR_RESET);
			open = false;
		}
		for (size_t i = 0; i < COLOUR_SLOTS && !len; i++)
			if (palette->slots[i][0] && str_starts(shown->s + at, palette->slots[i])) {
				len = strlen(palette->slots[i]);
				open = true;
			}
		MUST(len);
		at += len;
	}
	MUST(!open);
	str_add(ret, "");
}

static bool same(const struct str *one, const struct str *other)
{
	return one->len == other->len && memcmp(one->s, other->s, one->len) == 0;
}

/* Between tabs and newlines as str_add_escaped() does it, which has a target of its own. */
static void escape(const char *text, size_t len, struct str *ret)
{
	for (size_t at = 0, began = 0; at <= len; at++) {
		if (at < len && text[at] != '\n' && text[at] != '\t')
			continue;
		str_add_escaped(ret, text + began, at - began);
		if (at < len)
			str_add_char(ret, text[at]);
		began = at + 1;
	}
	str_add(ret, "");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str whole = STR_INIT, pieces = STR_INIT, plain = STR_INIT, bare = STR_INIT,
		   expected = STR_INIT, raw = STR_INIT;
	const struct config none = CONFIG_INIT;
	struct palette palette;

	if (!size)
		return 0;
	size_t piece = (size_t)data[0] + 1, len = size - 1;
	const char *text = (const char *)data + 1;

	palette_read(&none, &palette);
	render_all(RENDER_COLOURED, &palette, text, len, len ? len : 1, &whole);
	render_all(RENDER_COLOURED, &palette, text, len, piece, &pieces);
	render_all(RENDER_PLAIN, NULL, text, len, piece, &plain);
	render_all(RENDER_RAW, NULL, text, len, piece, &raw);
	escape(text, len, &expected);
	take_colours_off(&palette, &whole, &bare);
	MUST(same(&whole, &pieces));
	MUST(same(&plain, &expected));
	MUST(same(&bare, &expected));
	MUST(raw.len == len && memcmp(raw.s, text, len) == 0);
	str_release(&whole);
	str_release(&pieces);
	str_release(&plain);
	str_release(&bare);
	str_release(&expected);
	str_release(&raw);
	return 0;
}
