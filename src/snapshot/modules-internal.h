/*
 * modules-internal: what the parts of modules.c share.
 */
#pragma once

#include "git/git.h"
#include "snapshot/modules.h"

struct module {
	char *path;  /* of its work tree in that of the superproject */
	char *place; /* of its git dir in the superproject's: "modules/a/modules/b" */
	/*
	 * On the host. `top` is that of its git dir when there is no work tree; git is then told where both are.
	 */
	struct repository repository;
	bool work_tree; /* it has one inside */
	char *commit;	/* clean: the one that the superproject records */
	long time;	/* of that commit, seconds */
	/* Else, as it is: */
	struct str status;   /* what git says of its work tree */
	struct strv changed; /* taken from it, sorted: files that are not as the index says */
	struct strv copied;  /* untracked and ignored ones that come along, as of carry.h */
	struct strv masked;
	struct strv left_out;
};

struct modules {
	struct module *items;
	size_t count;
};

void modules_release(struct modules *modules);

/* Where git is told of a repository, with or without a work tree. */
struct git_place module_place(const struct repository *repository);

/* Every submodule that there is something of, parents first. */
int modules_find(const struct modules_request *request, struct modules *ret, struct error *err);

/* Takes `status` apart, and decides what is copied. */
int module_read_status(const struct modules_request *request, struct module *module,
		       struct error *err);

/*
 * The work tree as it is, into the directory `tree`, and the index that fits it into the git dir `git`.
 * ERR_UNSTABLE when a file is not older than `since`.
 */
int module_copy(const struct module *module, const struct timespec *since, bool sha256, int tree,
		int git, struct error *err);
