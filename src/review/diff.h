/*
 * diff: what differs between two trees of a sandbox.
 *
 * The names and patches are made by git in the viewer, without attributes, external diffs and text
 * conversions, which could hide content (T44). They are a sandbox's word: whoever shows them
 * escapes them.
 */
#pragma once

#include <stdint.h>

#include "review/state.h"
#include "review/viewer.h"

struct diff_file {
	char *path;
	char *old_path; /* of a rename; else NULL */
	char status;	/* A, M, D, R, T */
	uint32_t old_mode, new_mode;
	char old_oid[OID_HEX_MAX + 1], new_oid[OID_HEX_MAX + 1];
	bool binary;
	unsigned long added, removed; /* lines, unless binary */
	uint64_t bytes; /* of a binary file, the new one; the old one when it is removed */
};

struct diff {
	struct diff_file *items; /* by path */
	size_t count;
};

struct diff_request {
	struct viewer *viewer;
	size_t repo;
	const char *from, *to;	/* trees */
	char *const *pathspecs; /* NULL-terminated, as git takes them; or NULL */
	bool exact;		/* no renames */
};

int diff_read(const struct diff_request *request, struct diff *ret, struct error *err);
void diff_release(struct diff *diff);
#define autodiff __attribute__((cleanup(diff_release)))

/* Starts git diff-tree with more options; its output is for the caller to read. */
int diff_start(const struct diff_request *request, const char *const *options,
	       struct viewer_git *ret, struct error *err);

/* What a mode is, in words. */
const char *mode_name(uint32_t mode);
