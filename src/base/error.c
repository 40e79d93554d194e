#include "base/error.h"

#undef error_set
#undef error_errno
#undef error_wrap
#undef error_hint

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static const char *const code_names[] = {
	[ERR_NONE] = "none",
	[ERR_SYSTEM] = "system",
	[ERR_USAGE] = "usage",
	[ERR_CONFIG] = "config",
	[ERR_NAME] = "invalid-name",
	[ERR_NOT_FOUND] = "not-found",
	[ERR_EXISTS] = "exists",
	[ERR_RUNNING] = "running",
	[ERR_NOT_RUNNING] = "not-running",
	[ERR_MOUNTED] = "mounted",
	[ERR_UNPERSISTED] = "unpersisted",
	[ERR_CONFLICT] = "conflict",
	[ERR_QUIT] = "quit",
	[ERR_NOT_REPOSITORY] = "not-a-repository",
	[ERR_BARE] = "bare-repository",
	[ERR_OWNERSHIP] = "ownership",
	[ERR_GIT] = "git",
	[ERR_UNSTABLE] = "repository-changing",
	[ERR_CORRUPT] = "corrupt",
	[ERR_FILESYSTEM] = "file-system",
	[ERR_UNSUPPORTED] = "unsupported",
	[ERR_LIMIT] = "limit",
	[ERR_PERMISSION] = "permission",
	[ERR_PROTOCOL] = "protocol",
};

__attribute__((format(printf, 1, 0))) static char *format(const char *fmt, va_list args)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, args) < 0)
		abort();
	return text;
}

int error_set(struct error *err, enum error_code code, const char *fmt, ...)
{
	va_list args;

	if (!err || error_is_set(err))
		return -1;
	va_start(args, fmt);
	err->message = format(fmt, args);
	va_end(args);
	err->code = code;
	return -1;
}

int error_errno(struct error *err, const char *fmt, ...)
{
	int number = errno;
	va_list args;

	if (!err || error_is_set(err))
		return -1;
	va_start(args, fmt);
	autofree char *what = format(fmt, args);
	va_end(args);
	err->message = xasprintf("%s: %s", what, strerror(number));
	err->code = ERR_SYSTEM;
	err->number = number;
	if (number == ENOSPC || number == EDQUOT)
		error_hint(err,
			   "free some space: `jib gc` removes layers that nothing uses, "
			   "`jib ls` shows what each sandbox holds, `jib rm NAME` discards one");
	return -1;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
	va_list args;

	if (!err || !error_is_set(err))
		return -1;
	va_start(args, fmt);
	autofree char *context = format(fmt, args);
	va_end(args);
	char *wrapped = xasprintf("%s: %s", context, err->message);

	free(err->message);
	err->message = wrapped;
	return -1;
}

int error_hint(struct error *err, const char *fmt, ...)
{
	va_list args;

	if (!err || err->hint)
		return -1;
	va_start(args, fmt);
	err->hint = format(fmt, args);
	va_end(args);
	return -1;
}

void error_clear(struct error *err)
{
	free(err->message);
	free(err->hint);
	*err = (struct error)ERROR_INIT;
}

const char *error_code_name(enum error_code code)
{
	if ((size_t)code >= ARRAY_SIZE(code_names))
		return "none";
	return code_names[code];
}
