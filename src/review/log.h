/*
 * log: the commits that a sandbox has made: what its branches and its HEAD reach, and nothing reached
 * that it started with. All of it is the sandbox's word.
 */
#pragma once

#include "review/refs.h"
#include "review/viewer.h"

struct log_commit {
	char oid[OID_HEX_MAX + 1];
	struct strv parents;
	char *author_name, *author_email;
	char *author_date, *committer_date; /* RFC 3339 */
	char *subject, *body;
};

struct log {
	struct log_commit *items; /* the latest first */
	size_t count;
};

/* `max` 0: all. */
int log_read(struct viewer *viewer, size_t repo, unsigned long max, struct log *ret,
	     struct error *err);
void log_release(struct log *log);
#define autolog __attribute__((cleanup(log_release)))

/* Starts git log with more options, for the caller to read. 1 when there is no commit at all. */
int log_start(struct viewer *viewer, size_t repo, unsigned long max, const char *const *options,
	      struct viewer_git *ret, struct error *err);
