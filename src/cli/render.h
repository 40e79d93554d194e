/*
 * render: what git has said about a sandbox, such that it can be shown.
 *
 *   struct render render;
 *
 *   render_init(&render, style, &palette);
 *   while (... a piece of git's output ...)
 *           render_feed(&render, bytes, len, &out);   (write `out`, and clear it)
 *   render_finish(&render, &out);
 *
 * File names, content and messages are a sandbox's. All that is not printable text, newline or tab
 * is escaped as str_add_escaped() does it (a carriage return is \x0d), so that it can neither
 * steer a terminal nor forge a colour. Pieces may end anywhere; what is kept between them is never
 * more than RENDER_KEPT bytes, however long a line is. What one piece becomes is at most sixteen
 * times as long, and a few colours more.
 *
 * The colours are put on here, and what git writes has none. A patch is read by its structure: the
 * lines of a hunk are counted off against its header, so that content which looks like a header
 * is coloured as the content that it is. Known are the output of `git diff-tree -p` and
 * `git log [-p]` in their default formats, with or without --stat; no combined diffs. Bad white
 * space is not marked.
 *
 * RENDER_RAW is for stdout that is neither a terminal nor a pager: a patch in a file must be the
 * one that `git apply` takes, byte for byte, and then nothing is escaped or coloured.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "cli/colour.h"

enum render_style {
	RENDER_RAW,
	RENDER_PLAIN, /* escaped, no colours */
	RENDER_COLOURED,
};

/* Enough to know a line by: a commit with an id, the header of a hunk, a line of --stat. */
enum { RENDER_KEPT = 512 };

struct render {
	enum render_style style;
	const struct palette *palette;
	struct str kept; /* what is not decided yet: the begin of a line, or of a UTF-8 sequence */
	bool in_line;
	bool in_file;			  /* behind a "diff --git" */
	unsigned long old_left, new_left; /* lines of the hunk that are still to come */
	const char *waiting;		  /* the colour in which the rest of an added line begins */
	bool open;			  /* a reset is due at the end of the line */
};

/* Only the style RENDER_COLOURED needs a palette, which stays the caller's. */
void render_init(struct render *ret, enum render_style style, const struct palette *palette);
/* Appends to *ret. */
void render_feed(struct render *render, const char *bytes, size_t len, struct str *ret);
/* The rest; releases what the struct holds. */
void render_finish(struct render *render, struct str *ret);
void render_release(struct render *render);
#define autorender __attribute__((cleanup(render_release)))
