/*
 * create: from what the user said to a new sandbox; shared by `run` and `new`.
 */
#pragma once

#include "cli/command.h"
#include "git/config.h"
#include "git/repository.h"
#include "store/root.h"
#include "store/sandbox.h"
#include "view/view.h"

/* The options that decide what a new sandbox is; both commands have them. */
#define CREATE_OPTIONS                                                                             \
	{0, "repo", "DIR", "a repository to hold (repeatable; default: the current one)"},         \
		{0, "clean", NULL, "without uncommitted changes and ignored files"},               \
		{0, "from", "REV", "clean, from another commit than HEAD"},                        \
		{'b', "branch", "NAME", "on a new branch"},                                        \
		{0, "ignored", "carry|none", "whether ignored files come along (default: carry)"}, \
		{0, "unmask", "PATTERN",                                                           \
		 "bring files although they look like credentials (repeatable)"},                  \
		{0, "live", NULL, "the host's own directories as lower layers, not a snapshot"},   \
		{0, "volatile", NULL, "do not sync: a power cut may tear what is written"},        \
	{                                                                                          \
		0, "layout", "host|jib", "repositories at their host paths, or below /home/jib"    \
	}

/* Whether one of them was given. */
bool create_options_given(const struct invocation *invocation, const char **ret_which);

struct sources {
	struct repository *repositories;
	size_t count;
};

/* The repositories named with --repo, or the one around the current directory. */
int sources_find(const struct invocation *invocation, struct sources *ret, struct error *err);
void sources_release(struct sources *sources);
#define autosources __attribute__((cleanup(sources_release)))

/* root_open() with the trial mount that proves that a new root can hold an upper. */
int open_root(struct root *ret, struct error *err);

/*
 * Pins the repositories and creates the sandbox. `name` NULL: one is invented. *ret_lease may be
 * NULL, see sandbox_create(). Otherwise it is made to be run, and endings_block() is in effect from
 * the moment it exists: nobody knows its name yet, so it must not be left behind. *ret_config is
 * the first repository's configuration.
 */
int create_sandbox(const struct root *root, const struct invocation *invocation,
		   const struct sources *sources, const char *name, bool durable,
		   struct sandbox *ret, struct config *ret_config, int *ret_lease,
		   struct error *err);

/* The signals that end a program (INT, TERM, HUP, QUIT) wait, but for those that are ignored. */
void endings_block(void);
bool endings_pending(void);
/* Those that wait now end this process. */
void endings_unblock(void);

/*
 * Promises that the sandbox survives a power cut from now on: syncs it and its layers; of a
 * volatile one only the layers.
 */
int settle_sandbox(const struct root *root, const struct sandbox *sandbox, struct error *err);
