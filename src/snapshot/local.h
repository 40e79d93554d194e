/*
 * local: what a work tree holds beyond its commit, at one moment, as an immutable layer.
 *
 *   .layers/local-<id>/tree/        files over the tree layers: modified, staged, untracked, small ignored
 *                                   ones; whiteouts for deleted ones; mount points of carried directories
 *   .layers/local-<id>/git/         over the git layer: index when something is staged, HEAD and the new branch,
 *                                   merges, rebases, cherry-picks, bisects in progress
 *   .layers/local-<id>/carried/<n>/ whiteouts over what is masked in the n-th carried directory
 *   .layers/local-<id>/reported     paths, NUL-terminated, that the fsmonitor reports always
 *
 * A part that would be empty is not there. Names are bytes everywhere: `reported` is no JSON, and
 * a carried directory whose name is not UTF-8 (a sandbox's record could not hold it) is left out.
 * Two sandboxes made from the same state share a layer: the id is a hash over what is carried and
 * the stat data of every file of it.
 *
 * A tree layer has files of the time at which it was made. One that was written since, and is to git
 * what the commit has, is in `tree` too, with the time (and the line ends) that it has on the host, and
 * known to be unchanged by `index`: what is built from it is neither older nor newer inside. That is
 * told by the host's index alone, and so not of a file that was only touched. Of more than 2,000 such
 * files, or 256 MiB, none is: what is carried follows what was changed, not the size of the repository.
 *
 * The moment is the one in which git status was started: a file that was changed after it (its
 * ctime tells) makes the capture start over; after some tries it is refused (ERR_UNSTABLE), naming
 * the file. No lock of git is ever carried (T35).
 */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "base/error.h"
#include "base/process.h"
#include "base/str.h"
#include "git/config.h"
#include "git/repository.h"
#include "store/root.h"

/* What the user wants carried, from options and configuration. */
struct local_wishes {
	bool clean;	      /* --clean, --from: nothing uncommitted, nothing ignored */
	bool ignored;	      /* jib.ignored, --ignored */
	unsigned long budget; /* jib.ignoredLimit: bytes of ignored files that are copied */
	struct strv mask;     /* patterns beside the built-in list */
	struct strv unmask;   /* patterns that are not masked */
	const char *branch;   /* -b: a new branch, or NULL */
};

struct local_request {
	const struct root *root;
	const struct repository *repository;
	const struct repository_head *head; /* the commit that the sandbox starts from */
	/*
	 * --from, which is clean: HEAD inside is not the host's but the new branch, or head->ref, or
	 * head->commit.
	 */
	bool switched;
	const struct strv *tree;   /* tree layers of head->commit, uppermost first */
	const char *location;	   /* the work tree's path inside */
	const char *excludes_file; /* the user's core.excludesFile on the host, or NULL */
	const char *git_id;
	const struct local_wishes *wishes;
};

struct local {
	char *id;	     /* NULL when there is nothing to carry */
	struct strv carried; /* directories relative to the work tree, mounted from the host */
	struct strv masked;  /* paths that look like credentials */
	/*
	 * Ignored files too large to be copied or changing all the time; what cannot be read; other
	 * repositories inside the work tree (with a slash at the end).
	 */
	struct strv left_out;
};

void local_release(struct local *local);
#define autolocal __attribute__((cleanup(local_release)))

/*
 * git status takes the longest by far: started first, it runs while the layers below are looked for.
 * Not with `clean`: then there is nothing to start, and local_capture() takes an empty status.
 */
struct local_status {
	struct process process;
	struct timespec since; /* the moment */
	char *stamp;	       /* of index, HEAD, and what is in progress, at the moment */
	bool in_progress;
};

#define LOCAL_STATUS_INIT                      \
	{                                      \
		PROCESS_INIT, {0}, NULL, false \
	}

int local_start(const struct repository *repository, const struct local_wishes *wishes,
		struct local_status *ret, struct error *err);
/* Accepts an empty one, also one that was consumed. */
void local_abandon(struct local_status *status);
#define autolocalstatus __attribute__((cleanup(local_abandon)))

/*
 * Consumes the status. With nothing to carry *ret is empty but for left_out and masked.
 *
 * ERR_UNSTABLE when the work tree never rests, or when HEAD is not request->head any more (then the
 * layers below have to be looked for again). Of a branch: ERR_USAGE when the name is none, ERR_EXISTS,
 * ERR_UNSUPPORTED in a repository with a reftable.
 */
int local_capture(const struct local_request *request, struct local_status *status,
		  struct local *ret, struct error *err);
