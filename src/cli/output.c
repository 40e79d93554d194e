#include "cli/output.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"

mode_t caller_umask = 022;

static bool quiet;

void output_quiet(void)
{
	quiet = true;
}

bool output_is_quiet(void)
{
	return quiet;
}

static void print_line(const char *prefix, const char *text)
{
	autostr struct str line = STR_INIT;

	str_add(&line, prefix);
	str_add_escaped(&line, text, strlen(text));
	str_add_char(&line, '\n');
	/* stderr is all there is to report to. */
	if (write_all(STDERR_FILENO, line.s, line.len) < 0)
		return;
}

void say(const char *fmt, ...)
{
	va_list args;
	autofree char *text = NULL;

	if (quiet)
		return;
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	va_end(args);
	print_line("jib: ", text);
}

json_t *output_json_text(const char *text)
{
	autostr struct str escaped = STR_INIT;
	json_t *value = text ? json_string(text) : json_null();

	if (value)
		return value;
	/* Not UTF-8: shown as a terminal would show it. */
	str_add_escaped(&escaped, text, strlen(text));
	return json_string(escaped.s);
}

void output_error(const struct error *err, bool json)
{
	const char *message = err->message ? err->message : "failed";

	if (json) {
		struct error ignored = ERROR_INIT;
		output_json(json_pack("{s:{s:s,s:o,s:o?}}", "error", "code",
				      error_code_name(err->code), "message",
				      output_json_text(message), "hint",
				      err->hint ? output_json_text(err->hint) : NULL),
			    &ignored);
		error_clear(&ignored);
		return;
	}
	print_line("jib: ", message);
	if (err->hint)
		print_line("     ", err->hint);
}

int output_text(const char *text, struct error *err)
{
	if (write_all(STDOUT_FILENO, text, strlen(text)) < 0)
		return error_errno(err, "cannot write to standard output");
	return 0;
}

int output_json(json_t *value, struct error *err)
{
	/* In ASCII: a terminal may take U+009B for the beginning of a control sequence. */
	autofree char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENSURE_ASCII);

	json_decref(value);
	if (!text)
		return error_set(err, ERR_CORRUPT, "something cannot be shown as JSON");
	autofree char *line = xasprintf("%s\n", text);

	return output_text(line, err);
}
