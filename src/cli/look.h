/*
 * look: what `diff`, `log`, `status` and `persist` have in common: a sandbox, opened to be looked
 * at, of which some repositories are chosen.
 */
#pragma once

#include <jansson.h>

#include "cli/command.h"
#include "cli/pager.h"
#include "review/state.h"
#include "review/viewer.h"
#include "store/root.h"
#include "store/sandbox.h"

#define LOOK_OPTIONS                                                                          \
	{0, "repo", "REPO", "only this repository: its name, or its directory (repeatable)"}, \
	{                                                                                     \
		0, "json", NULL, "print one object"                                           \
	}
#define PAGER_OPTIONS                                                                      \
	{0, "no-pager", NULL, "print it all at once, also on a terminal"},                 \
	{                                                                                  \
		0, "color", "WHEN", "always, never, or auto (as git's color.diff decides)" \
	}

struct look {
	struct root root;
	struct sandbox sandbox;
	struct viewer viewer;
	bool *chosen; /* of each repository */
	size_t chosen_count;
};

#define LOOK_INIT                                                                 \
	{                                                                         \
		.root = ROOT_INIT, .sandbox = SANDBOX_INIT, .viewer = VIEWER_INIT \
	}

/* The sandbox is the first argument. Only which one, and what of it: there is no viewer. */
int look_choose(const struct invocation *invocation, struct look *ret, struct error *err);
/* It is held still until look_close(). */
int look_open(const struct invocation *invocation, struct look *ret, struct error *err);
void look_close(struct look *look);
#define autolook __attribute__((cleanup(look_close)))

/* Where a command writes: a pager, a terminal, or something else. */
struct outlet {
	struct pager pager;
	int style; /* enum render_style */
	struct palette *palette;
	int spool; /* -1: not needed */
	bool gone; /* nobody reads on */
};

#define OUTLET_INIT                              \
	{                                        \
		.pager = PAGER_INIT, .spool = -1 \
	}

/*
 * `name` is the command's, for pager.NAME. `exact`: a patch, of which a pipe is to get every byte. A running
 * sandbox is not held still for as long as somebody reads: what there is to show waits in a file.
 */
int outlet_open(const struct invocation *invocation, const struct viewer *viewer, const char *name,
		bool exact, struct outlet *ret, struct error *err);
/* jib's own words, which are safe already. */
int outlet_text(struct outlet *outlet, const char *text, struct error *err);
/* All that git says; waits for it. */
int outlet_git(struct outlet *outlet, struct viewer *viewer, struct viewer_git *git,
	       struct error *err);
/* The last thing that is done with a viewer: it is closed when the sandbox is held still. */
int outlet_close(struct outlet *outlet, struct viewer *viewer, struct error *err);
void outlet_release(struct outlet *outlet);
#define autooutlet __attribute__((cleanup(outlet_release)))

/* What is not part of the work tree's state, on stderr; and as an array of objects. */
void say_left_out(const struct sandbox_repo *repo, const struct state *state);
/* What came to the host is there, but could not be noted: a warning, no failure. */
void say_unnoted(const struct error *err);
json_t *left_out_json(const struct state *state);

/* A header before the part of each repository, when there are several. */
int outlet_repository(struct outlet *outlet, const struct look *look, size_t repo,
		      struct error *err);
