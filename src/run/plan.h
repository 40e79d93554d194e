/*
 * plan: what a run is going to be, as plain data.
 *
 * plan.c parses what the user said and validates it (paths, binds, environment) without doing
 * anything; rootfs.c and start.c execute it. Everything that can be wrong is found before a
 * namespace exists.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"
#include "kernel/cgroup.h"
#include "store/sandbox.h"

struct plan_bind {
	char *source; /* on the host: absolute, symbolic links resolved */
	char *target; /* inside: absolute */
	bool writable;
	bool directory;
	int fd; /* the source, O_PATH */
};

/* A small file, or with `link` a symbolic link, that is made in the root: see `looking`. */
struct plan_file {
	char *path; /* absolute inside, below /run/jib */
	char *text;
	bool link;
};

struct plan {
	char *hostname;
	char *user;
	char *shell;
	uid_t uid;
	gid_t gid;
	bool host_network;
	char *guest;	  /* the guest program on the host */
	char *git_config; /* /etc/gitconfig inside */
	/* /etc/gitignore and /etc/gitattributes, which it names; NULL: none */
	char *git_ignore;
	char *git_attributes;
	struct strv env;
	struct plan_bind *binds;
	size_t bind_count;
	struct cgroup_limits limits;
	/* The sandbox is looked at, nothing of it can be written, and its own programs never run (view_peek()). */
	bool looking;
	struct plan_file *files;
	size_t file_count;
	/* Files inside that nobody can open: absolute; one that is not there is no matter. */
	struct strv covered;
};

void plan_release(struct plan *plan);
#define autoplan __attribute__((cleanup(plan_release)))

/* Who the caller is, which shell, where the guest is; the environment's basis. */
int plan_start(const struct sandbox *sandbox, struct plan *ret, struct error *err);

/* "SRC[:DST][:ro|rw]"; read-only unless said otherwise. */
int plan_add_bind(struct plan *plan, const char *text, struct error *err);

/* A file, or a symbolic link. */
void plan_add_file(struct plan *plan, const char *path, const char *text);
void plan_add_link(struct plan *plan, const char *path, const char *target);

/* "NAME=VALUE", or "NAME" for the caller's own value. */
int plan_add_env(struct plan *plan, const char *text, struct error *err);

/* "none" or "host". */
int plan_set_network(struct plan *plan, const char *text, struct error *err);

/*
 * What no plan may do: bind over the root, /proc or /dev, or into one of the sandbox's
 * repositories; bind the store; bind what lies on, or has below it, a mount of the host's kernel
 * (mount_list_kernel()); bind a writable directory that holds, or lies in, the git dir of one of
 * the sandbox's repositories.
 */
int plan_check(const struct plan *plan, const struct sandbox *sandbox, const char *root_path,
	       struct error *err);

/* Refuses a writable bind that holds, or lies in, this directory of a host repository. */
int plan_check_writable(const struct plan_bind *bind, const char *repository, struct error *err);
