/*
 * config: what git config says, in one git process.
 *
 * config_start() starts it early, config_finish() collects: what lies between costs nothing on
 * a machine with two cores. Only the sections that jib or the sandbox's own git need are asked
 * for: `jib.*`, and those of which the sandbox gets the harmless settings as its system
 * configuration (settings.h). The least binding of all is ~/.config/jib/config (or
 * $XDG_CONFIG_HOME/jib/config), in the same syntax.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/process.h"
#include "base/str.h"
#include "git/git.h"

struct config_item {
	char *key;   /* section and name in lower case, as git prints them */
	char *value; /* NULL: a key without "=", which git takes as true */
	bool local;  /* of the repository itself, not of the user or the machine */
};

struct config {
	struct config_item *items; /* in git's order: a later one overrides */
	size_t count;
};

#define CONFIG_INIT     \
	{               \
		NULL, 0 \
	}

/* The file with jib's own defaults, whether it exists or not; NULL without a home. */
char *config_own_file(void);

/* `directory` decides which repository's configuration is included. */
int config_start(const char *directory, struct process *ret, struct error *err);
int config_finish(struct process *process, struct config *ret, struct error *err);
void config_release(struct config *config);
#define autoconfig __attribute__((cleanup(config_release)))

/* Everything that is set for a repository, in every scope. */
int config_read_all(const char *directory, struct config *ret, struct error *err);
/* The same where discovery would not find the git dir; `directory` must be set. */
int config_read_place(const struct git_place *place, struct config *ret, struct error *err);

/* The last value of a key, or NULL; "" for a key without a value. */
const char *config_value(const struct config *config, const char *key);
/* A boolean in git's words; `fallback` when the key is not there. ERR_CONFIG. */
int config_bool(const struct config *config, const char *key, bool fallback, bool *ret,
		struct error *err);
/* Every value of a key, in order: start with *at = 0; NULL at the end. */
const char *config_next(const struct config *config, const char *key, size_t *at);

/*
 * Parses what `git config -z --show-scope` prints: SCOPE NUL KEY LF VALUE NUL, or SCOPE NUL KEY
 * NUL. What was said with -c comes first, so that everything else overrides it; of that only what
 * ~/.config/jib/config may say is taken: jib.*, identity, aliases, init.*.
 */
void config_parse(const char *bytes, size_t len, struct config *ret);

/* Appends one setting in git's file syntax, quoted. `key` is SECTION[.SUBSECTION].NAME. */
void config_write_item(struct str *file, const char *key, const char *value);
