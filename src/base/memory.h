/*
 * memory: allocation that cannot fail, and variables that clean up after themselves.
 *
 * The x-functions return memory from malloc(3) and never NULL: when the kernel has none left
 * the process aborts. Under overcommit no other answer would be tested, and every state that
 * jib keeps on disk survives an abort at any instant.
 *
 * `autofree`, `autofd` and `autodir` release a variable when it goes out of scope, preserve
 * errno, and accept the empty value (NULL, -1, NULL). Hand a value on with steal_ptr() or
 * steal_fd(), which leave the empty value behind.
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *old, size_t size) __attribute__((returns_nonnull));
void *xreallocarray(void *old, size_t count, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t len) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...)
	__attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

/* Closes *fd if it is one, leaves -1 in it, and leaves errno alone. */
static inline void fd_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		*fd = -1;
		errno = saved;
	}
}

static inline int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

static inline void *steal_void(void *where)
{
	void *stolen = *(void **)where;

	*(void **)where = NULL;
	return stolen;
}

#define steal_ptr(p) ((__typeof__(*(p)))steal_void(p))

static inline void cleanup_free(void *where)
{
	int saved = errno;

	free(*(void **)where);
	errno = saved;
}

static inline void cleanup_dir(DIR **dir)
{
	if (*dir) {
		int saved = errno;

		closedir(*dir);
		errno = saved;
	}
}

#define autofree __attribute__((cleanup(cleanup_free)))
#define autofd __attribute__((cleanup(fd_close)))
#define autodir __attribute__((cleanup(cleanup_dir)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
