/*
 * support: what the unit tests share.
 *
 * Every test works in a directory of its own below TMPDIR (temp_setup, temp_teardown), which is
 * also its HOME, so that neither the machine's nor the developer's configuration of git is seen.
 * What a helper does for a test it asserts; it never returns a failure.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/str.h"
#include "store/root.h"

struct temp {
	char *path;
	int fd;
};

/* Setup and teardown functions; *state is a struct temp. */
int temp_setup(void **state);
int temp_teardown(void **state);
#define WITH_TEMP(test) cmocka_unit_test_setup_teardown(test, temp_setup, temp_teardown)

/* "<path of the test's directory>/<name>" */
char *temp_path(const struct temp *temp, const char *name);

/* Opens JIB_ROOT, which is "root" in the test's directory. */
void open_test_root(const struct temp *temp, struct root *ret);

void put_text(int dirfd, const char *name, const char *text);
void put_bytes(int dirfd, const char *name, const void *bytes, size_t len);
char *get_text(int dirfd, const char *name);
bool exists(int dirfd, const char *name);
void make_dirs(int dirfd, const char *path);

/* Entries of a directory, without "." and "..". */
size_t count_entries(int dirfd);

/* File descriptors that this process has open. */
size_t count_fds(void);

/* Fails the test with the error's message. */
void assert_success(int result, const struct error *err);
/* Fails unless result is -1, the code is this one, and the message contains the text. */
void assert_failure(int result, const struct error *err, enum error_code code, const char *text);
void assert_contains(const char *text, const char *part);
void assert_lacks(const char *text, const char *part);

bool is_whiteout(const struct stat *st);
/* Puts a layer's directory over what is in `to`, as overlayfs would show it; without `.git`. */
void lay_over(int from, int to);

/*
 * Runs the body in a child and fails when it does not return 0. A failed assertion would end the
 * child's copy of the test run instead of the child, so a body uses NEED.
 */
typedef int child_body(const struct temp *temp);
void in_child(child_body *body, const struct temp *temp);
/* The same without capabilities: root is an ordinary user there, for whom modes count. */
void in_user_child(child_body *body, const struct temp *temp);
/* The same in a user and a mount namespace of its own; skips where there are none. */
void in_mount_child(child_body *body, const struct temp *temp);

#define NEED(condition)                                                                   \
	do {                                                                              \
		if (!(condition)) {                                                       \
			fprintf(stderr, "# %s:%d: %s\n", __FILE__, __LINE__, #condition); \
			return 1;                                                         \
		}                                                                         \
	} while (0)

/*
 * git ARGS... in a directory; ends with NULL. git() fails the test when git fails, git_says()
 * gives its stdout without the last newline, git_status() its exit status.
 */
#define git(directory, ...) git_at(directory, (const char *const[]){__VA_ARGS__})
#define git_says(directory, ...) git_says_at(directory, (const char *const[]){__VA_ARGS__})
#define git_status(directory, ...) git_status_at(directory, (const char *const[]){__VA_ARGS__})
void git_at(const char *directory, const char *const *args);
char *git_says_at(const char *directory, const char *const *args);
int git_status_at(const char *directory, const char *const *args);

/* A repository with one commit of the file `file` on branch main. */
char *make_repository(const struct temp *temp, const char *name);
void commit_file(const char *repository, const char *file, const char *text);
