/*
 * error: what went wrong, on what, why, and what to do about it.
 *
 * The error law of the whole code base:
 *
 *   int f(inputs, T *ret_x, struct error *err);
 *
 * 0 is success. Below 0 is failure, with *err filled and *ret_x untouched. Above 0 is only
 * returned where the header enumerates it. Libraries neither print nor exit; the command line
 * renders the error once, as text or as JSON.
 *
 *   struct error err = ERROR_INIT;
 *
 *   if (open_it(path, &fd, &err) < 0)
 *           return error_wrap(&err, "cannot read the layer %s", id);
 *
 * The setters return -1, so that `return error_set(...)` is a whole failure path. `err` may be
 * NULL where a caller does not want to know. The first error stays: a later error_set() on a
 * filled error is ignored, so that clean-up code cannot hide the cause.
 */
#pragma once

#include <stdbool.h>

/* Stable: the names (error_code_name) appear in JSON and are never renamed. */
enum error_code {
	ERR_NONE,
	ERR_SYSTEM,	    /* a system call failed; errno is in `number` */
	ERR_USAGE,	    /* the command line cannot be understood */
	ERR_CONFIG,	    /* a configuration value cannot be used */
	ERR_NAME,	    /* not a valid sandbox name */
	ERR_NOT_FOUND,	    /* no such sandbox, file or command */
	ERR_EXISTS,	    /* there is one already */
	ERR_RUNNING,	    /* the sandbox is running, and that is in the way */
	ERR_NOT_RUNNING,    /* the sandbox is not running, and would have to be */
	ERR_MOUNTED,	    /* the sandbox is mounted on the host, and that is in the way */
	ERR_UNPERSISTED,    /* there are changes that would be lost */
	ERR_CONFLICT,	    /* the host and a sandbox have changed the same */
	ERR_QUIT,	    /* the user, being asked, did not want to go on */
	ERR_NOT_REPOSITORY, /* no git repository there */
	ERR_BARE,	    /* a repository without a work tree */
	ERR_OWNERSHIP,	    /* a repository that belongs to somebody else */
	ERR_GIT,	    /* git itself failed */
	ERR_UNSTABLE,	    /* the repository keeps changing while it is captured */
	ERR_CORRUPT,	    /* state on disk that cannot be read */
	ERR_FILESYSTEM,	    /* the file system cannot do what is needed */
	ERR_UNSUPPORTED,    /* the kernel or the machine cannot do what is needed */
	ERR_LIMIT,	    /* a limit cannot be enforced here */
	ERR_PERMISSION,	    /* needs rights that the caller does not have */
	ERR_PROTOCOL,	    /* a peer sent something that cannot be understood */
};

struct error {
	enum error_code code;
	int number; /* errno, or 0 */
	char *message;
	char *hint; /* what to do; may be NULL */
};

#define ERROR_INIT                      \
	{                               \
		ERR_NONE, 0, NULL, NULL \
	}

/* Sets a message. Returns -1. */
int error_set(struct error *err, enum error_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Sets ERR_SYSTEM with the message and ": " and the text of errno. Returns -1. */
int error_errno(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the message. Returns -1. */
int error_wrap(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds what to do about it, unless a deeper layer has said so. Returns -1. */
int error_hint(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Back to ERROR_INIT; frees what it holds. */
void error_clear(struct error *err);

static inline bool error_is_set(const struct error *err)
{
	return err->code != ERR_NONE;
}

/* The stable name of a code, such as "not-a-repository". Never NULL. */
const char *error_code_name(enum error_code code);

#define autoerror __attribute__((cleanup(error_clear)))

#ifdef __clang_analyzer__
/* The analyzer does not look into another file: what the setters return, in so many words. */
#define error_set(...) (error_set(__VA_ARGS__), -1)
#define error_errno(...) (error_errno(__VA_ARGS__), -1)
#define error_wrap(...) (error_wrap(__VA_ARGS__), -1)
#define error_hint(...) (error_hint(__VA_ARGS__), -1)
#endif
