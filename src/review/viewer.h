/*
 * viewer: git over what a sandbox holds, where it can do no harm.
 *
 * What a sandbox wrote is to the host what an untrusted remote is (house.md 1.3). So git looks at it
 * in a throwaway sandbox on the same layers, with the upper as a layer too and nothing writable but
 * a directory for new objects; without a network; with git dirs of jib's own making, so that no
 * configuration, hook, attribute or exclude file of the sandbox's git dir counts. All that comes out
 * is a stream of bytes, which the host reads as hostile.
 *
 *   viewer_open(&root, &sandbox, &viewer, err)      starts it: some milliseconds
 *   viewer_git(&viewer, &call, &git, err)           starts git, with pipes
 *   ... read git.output, write git.input ...
 *   viewer_wait(&viewer, &git, err)                 or viewer_run(), for all of it
 *   viewer_close(&viewer)
 *
 * Of each repository, by its number in the record, there are inside:
 *
 *   its path            the work tree as it is now
 *   VIEW_BASES/<repo>   the work tree as it was when the sandbox was made
 *   a git dir           whose objects are the sandbox's and those that were made here
 *   another one         that also has the sandbox's refs and index
 *
 * Nothing else may change the sandbox meanwhile: a resting one is leased, a running one frozen.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "git/config.h"
#include "run/start.h"
#include "store/layer.h"
#include "store/root.h"
#include "store/sandbox.h"
#include "view/view.h"

struct viewer {
	const struct root *root;
	const struct sandbox *sandbox;
	struct view view;     /* view_peek(), for the host to read in: see viewer_mount() */
	struct config config; /* the user's and the first repository's */
	struct layer_holds holds;
	int keep; /* the lease, or what keeps the sandbox frozen */
	bool frozen;
	char *scratch;
	int scratch_fd; /* holds <n>/objects of each repository */
	struct started started;
	uint32_t last; /* id */
	struct ended *ended;
	size_t ended_count;
};

#define VIEWER_INIT                                                                     \
	{                                                                               \
		.view = VIEW_INIT, .config = CONFIG_INIT, .keep = -1, .scratch_fd = -1, \
		.started = {                                                            \
			-1,                                                             \
			-1                                                              \
		}                                                                       \
	}

/*
 * `root` and `sandbox` stay the caller's, and have to outlive it. `leased` when the caller holds the
 * sandbox's lease. SIGPIPE is ignored from now on.
 */
int viewer_open(const struct root *root, const struct sandbox *sandbox, bool leased,
		struct viewer *ret, struct error *err);
void viewer_close(struct viewer *viewer);
#define autoviewer __attribute__((cleanup(viewer_close)))

/* Where the host finds the files of a repository's work tree, or the base's: lowers of layers. */
const struct view_mount *viewer_mount(const struct viewer *viewer, size_t repo, bool base);

/* The same of the n-th carried directory; NULL when it has no place any more. */
const struct view_mount *viewer_carried(const struct viewer *viewer, size_t repo, size_t n);
/* The same of a git dir. */
const struct view_mount *viewer_git_mount(const struct viewer *viewer, size_t repo);

/*
 * A small file of a stack of layers, read by the host; *ret_text is NULL when there is none, or something
 * else than a file. The first `skip` lowers do not count: mount->changed for what the layers have.
 */
int viewer_read(const struct view_mount *mount, size_t skip, const char *path, char **ret_text,
		struct error *err);

enum viewer_place {
	VIEWER_TREE,  /* in the work tree, as the user has configured git */
	VIEWER_BASE,  /* in that of the beginning */
	VIEWER_BARE,  /* in no work tree: no attributes, and none of the user's settings */
	VIEWER_REFS,  /* the same, with the sandbox's refs and reflogs */
	VIEWER_INDEX, /* in the work tree, with the sandbox's refs and index */
};

struct viewer_call {
	size_t repo;
	enum viewer_place place;
	const char *const *args; /* after "git", NULL-terminated */
	const char *const *env;	 /* more variables, or NULL */
	int input;		 /* what it reads; 0: nothing, -1: a pipe whose end is git.input */
	int output;		 /* where it writes; 0: a pipe whose end is git.output */
};

struct viewer_git {
	uint32_t id;
	int input;
	int output;
	int errors;
	struct str said; /* the last of what it wrote to standard error */
};

#define VIEWER_GIT_INIT                 \
	{                               \
		0, -1, -1, -1, STR_INIT \
	}

int viewer_git(struct viewer *viewer, const struct viewer_call *call, struct viewer_git *ret,
	       struct error *err);

/* Closes the pipes and waits. ERR_GIT with what git said, unless `ret_status` (as of wait(2)) is given. */
int viewer_wait(struct viewer *viewer, struct viewer_git *git, int *ret_status, struct error *err);
/* Accepts one that was waited for. */
void viewer_git_release(struct viewer_git *git);
#define autoviewergit __attribute__((cleanup(viewer_git_release)))

/* Gives it `input` (may be NULL), and appends to *ret what it answers, `limit` bytes at most. */
int viewer_run(struct viewer *viewer, const struct viewer_call *call, const struct str *input,
	       size_t limit, struct str *ret, int *ret_status, struct error *err);

/*
 * A path, and a NUL, where git takes names of files for pathspecs: one that begins with a colon would
 * have magic. What git answers begins in the same way.
 */
void viewer_add_path(struct str *ret, const char *path);
const char *viewer_answered_path(const char *answer);

/* A path as git's line-based input takes it: quoted where it needs to be. */
void viewer_quote(struct str *ret, const char *path);
