/*
 * git: running git on the user's own repository.
 *
 * Only ever on a repository that no sandbox can write (house.md 1.3): the user's own, which is
 * trusted as far as git itself trusts it, or a directory that jib made. Every call goes through
 * here: an argv array, no shell, the inherited GIT_* variables dropped, nothing that asks a
 * question, no hooks, no background maintenance, no optional locks. The user's configuration
 * is read, because filters (LFS, line endings) and `safe.directory` are decided there.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/process.h"
#include "base/progress.h"
#include "base/str.h"

/* What is put into the environment beside the cleaned one; NULL leaves a variable out. */
struct git_place {
	const char *directory; /* -C: where git discovers the repository */
	const char *git_dir;   /* GIT_DIR: no discovery; the caller has checked the owner */
	const char *work_tree; /* GIT_WORK_TREE */
	const char *index;     /* GIT_INDEX_FILE */
	/* Where git puts objects and its temporary files, and where else it finds objects. */
	const char *objects;	/* GIT_OBJECT_DIRECTORY */
	const char *alternates; /* GIT_ALTERNATE_OBJECT_DIRECTORIES: one, which gets quoted */
	int input;		/* what git reads as its standard input; 0: nothing */
	const char *const *env; /* more variables, NULL-terminated; or NULL */
	/* A repository that jib has made, of what a sandbox says: no configuration but its own counts. */
	bool own;
	/* Told that git goes on, with these words; or NULL. */
	const struct progress *progress;
	const char *what;
};

/*
 * Starts `git ARGS...` (args is NULL-terminated and does not hold "git"). Finish with
 * git_finish().
 */
int git_start(const struct git_place *place, const char *const *args, struct process *ret,
	      struct error *err);

/*
 * Waits, and appends stdout to *ret. A non-zero exit is ERR_GIT with the last line of git's
 * stderr, unless `ret_status` is given: then it is handed out and `ret_errors` (may be NULL)
 * gets stderr.
 */
int git_finish(struct process *process, struct str *ret, int *ret_status, struct str *ret_errors,
	       struct error *err);

/*
 * Appends the line of git's stderr that says what went wrong: the last one that begins with fatal:
 * or error:, else the first.
 */
void git_quote_errors(const struct str *errors, struct str *ret);

/* What git is to read, as a file in memory: it may be more than fits into a pipe. */
int git_input(const struct str *text, int *ret_fd, struct error *err);

/* git_run() with `input` as git's standard input. */
int git_run_with(const struct git_place *place, const char *const *args, const struct str *input,
		 struct str *ret, struct error *err);

/* git_start() and git_finish() in one. */
int git_run(const struct git_place *place, const char *const *args, struct str *ret,
	    struct error *err);
