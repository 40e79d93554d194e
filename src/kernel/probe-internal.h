/*
 * probe-internal: what the probe*.c files share. Included by them and by their test only.
 */
#pragma once

#include <stdint.h>

#include "kernel/probe.h"

/* ---- probe-child.c: trying something in a child process, which may not survive it ---- */

struct probe_result {
	int step;   /* 0: all worked; else where it failed, in the numbering of the body */
	int number; /* errno */
};

typedef struct probe_result probe_body(void *data);

/*
 * Runs the body in a forked child. A child that dies without a word (a seccomp filter that
 * kills) is an error. The body must only make system calls, as exec'ed code would.
 */
int probe_in_child(probe_body *body, void *data, struct probe_result *ret, struct error *err);

/*
 * A directory for a try below dirfd, with a name that no other has. It is locked while open;
 * those of tries that were killed are removed on the way.
 */
int probe_dir_make(int dirfd, char **ret_name, int *ret_fd, struct error *err);
void probe_dir_remove(int dirfd, const char *name);

/* ---- probe-namespaces.c ---- */

enum namespace_step {
	NAMESPACE_USER = 1, /* unshare(CLONE_NEWUSER) */
	NAMESPACE_MAP,	    /* write the uid and gid maps */
	NAMESPACE_OTHERS,   /* unshare mount, pid, ipc, uts, net */
	NAMESPACE_MOUNT,    /* mount a tmpfs */
	NAMESPACE_PROC,	    /* mount a fresh /proc */
	NAMESPACE_STEPS,
};

/* In a child: a user namespace with the caller's own ids, and capabilities in it. */
struct probe_result probe_enter_user_namespace(void);

struct namespace_facts {
	struct probe_result result;
	bool root;
	/* -1: the kernel has no such setting. */
	long userns_clone;	  /* kernel.unprivileged_userns_clone */
	long max_user_namespaces; /* user.max_user_namespaces */
	long apparmor_restrict;	  /* kernel.apparmor_restrict_unprivileged_userns */
	long seccomp;		  /* of this process: 0 none, 1 strict, 2 a filter */
};

/* The settings that explain a failure; the result is for others to fill. */
void probe_namespace_settings(struct namespace_facts *ret);

int probe_namespaces(struct namespace_facts *ret, struct error *err);

/* What blocks it, and the command that mends it. For a result that has failed. */
void probe_explain_namespaces(const struct namespace_facts *facts, char **ret_found,
			      char **ret_remedy);

/* The field "Seccomp:" of a /proc/PID/status; -1 without. */
long probe_parse_seccomp(const char *status);

/* ---- probe-seccomp.c ---- */

/* 0 both work; 1 a filter can be installed, but without user notification; -1 no filter. */
int probe_seccomp(struct error *err);

/* ---- probe-store.c ---- */

/* Blocks shared between files (FICLONE) in this directory. 0 or -1 with the reason. */
int probe_reflink_in(int dirfd, struct error *err);

/* A hard link from some object into the directory. 0; 1 same file system, but no object to try. */
int probe_link_into(const char *objects, int dirfd, struct error *err);

/* Opens the directory or its nearest existing ancestor; *ret_path is the one that was opened. */
int probe_open_nearest(const char *path, int *ret_fd, char **ret_path, struct error *err);

/* ---- probe-overlay.c ---- */

/* Why a file system of this kind holds no upper; NULL if nothing is known against it. */
const char *probe_filesystem_objection(uint64_t type);
char *probe_filesystem_type_name(uint64_t type);

/* ---- probe.c ---- */

/* "git version 2.39.5 (something)" into numbers. 0 or -1. */
int probe_parse_git_version(const char *text, unsigned int *ret_major, unsigned int *ret_minor);
