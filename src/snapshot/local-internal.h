/*
 * local-internal: what the files that make a local layer share (local.h).
 *
 *   local.c          the tries, the layer's id, the layer
 *   capture.c        which files, and whether they stand still
 *   local-layer.c    copies, whiteouts, mount points
 *   place.c          paths below a directory
 *   local-index.c    entries of the host's index that differ from the commit's
 *   local-objects.c  objects that the index and what is in progress need
 *   states.c         the git dir: what stands still while it is looked at, merges and rebases in progress
 *   branch.c         HEAD and a new branch
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "snapshot/carry.h"
#include "snapshot/hash.h"
#include "snapshot/index.h"
#include "snapshot/layers.h"
#include "snapshot/local.h"
#include "snapshot/status.h"

/* Beside 0 and -1: something changed after the moment, which `culprit` names. */
enum { UNSTABLE = 1 };

struct local_file {
	const char *path;
	enum { TRACKED, UNTRACKED, IGNORED } kind;
};

struct capture {
	const struct local_request *request;
	int try; /* how many there were before */
	struct timespec since;
	int top;	   /* the host's work tree */
	const char *stamp; /* of the git dir, at the moment */
	bool in_progress;  /* a merge or the like is */
	struct str output; /* what the paths in `status` point into */
	struct status status;
	struct strv quiet; /* paths that git status has been told not to look at */
	struct strv
		touched; /* tracked and unchanged, but not of the time that the tree layers have */
	struct index_edits edits;
	struct strv staged; /* those of them that change what the next commit is */
	struct carry carry;
	struct strv mounted; /* of carry.mounted, what can be recorded */
	size_t *masks;	     /* places in carry.masks */
	struct strv left_out;
	struct local_file *files;
	size_t count;
	struct strv gone;	 /* tracked, and not on the host */
	struct strv directories; /* empty ones: also of gitlinks, where the commit has none */
	struct str reported;	 /* each path with a NUL, as the layer's file has them */
	struct timespec newest;
	char *culprit;
};

/* local.c: */

/* Whether this was so already at the moment; if not, UNSTABLE because of `path`. */
int capture_settled(struct capture *capture, const char *path, const struct stat *st);
int capture_unstable(struct capture *capture, const char *path);

/* capture.c: */

/* Sorts everything that is known into files, gone, directories and reported. UNSTABLE. */
int capture_list(struct capture *capture);
/*
 * Adds to the hash where every file and every missing one stands. An ignored file that is not the same
 * in one try after the other moves to left_out. UNSTABLE.
 */
int capture_stock(struct capture *capture, struct hash *hash, struct error *err);
/* Whether there is anything for it to do. */
bool capture_is_empty(const struct capture *capture);
/* What is masked in the n-th of `mounted`. */
const struct strv *capture_masks(const struct capture *capture, size_t n);

/* local-layer.c: */

/* Fills the layer's directory but for `git`. UNSTABLE. */
int capture_files(struct capture *capture, int layer, struct error *err);

/* place.c: */

/* The directory that was used last: paths come in order. */
struct place {
	int base;
	int fd;
	char *path; /* NULL: none was */
};

void place_release(struct place *place);
#define autoplace __attribute__((cleanup(place_release)))

/* Opens the parent of a path. 0; 1 when it is another than before; -1 with errno. */
int place_enter(struct place *place, const char *path);
/* What was removed, or replaced by something else, since git looked. */
bool is_gone(int number);
const char *base_name(const char *path);
/* "." of a name alone. */
char *parent_of(const char *path);
/*
 * How much of a path is not there as a directory: 0 when all of it is one. *ret_parent, which has to be
 * -1 or an fd, becomes the directory above that.
 */
size_t missing_length(int top, const char *path, int *ret_parent);
/* Whether a path is, or is below, what was found to be missing before; that may be NULL. */
bool is_below(const char *path, const char *missing);

/* local-index.c: */

/* Reads the host's index: fills edits, staged, quiet, and touched. */
int local_index_read(struct capture *capture, struct error *err);
void local_index_hash(const struct capture *capture, struct hash *hash);
/* Whether an index has to be written although nothing is staged. */
bool local_index_is_own(const struct local_request *request);
/* Writes `index` and what belongs to it, after capture_files(). */
int local_index_write(struct capture *capture, int layer, int git, struct error *err);

/* states.c: */

/*
 * The state of index, HEAD, and of what is in progress, as a text to be compared. *newest is the latest
 * change in it.
 */
int states_stamp(const struct repository *repository, char **ret, struct timespec *ret_newest,
		 bool *ret_in_progress, struct error *err);
/* Copies what is in progress into a git dir. 1 when something vanished. */
int states_copy(const struct repository *repository, int git, struct error *err);

/* The object ids in its files, in hexadecimal. */
int states_objects(const struct repository *repository, struct strv *ret, struct error *err);

/* local-objects.c: */

/*
 * Objects that were made since the git layer was: a ref tells of every other one, but not of what is
 * staged or in progress, nor of the commit that --from names. Into the layer's git dir.
 */
int local_objects_write(struct capture *capture, int git, struct error *err);

/* branch.c: */

/* ERR_USAGE, ERR_EXISTS, ERR_UNSUPPORTED. */
int branch_check(const struct local_request *request, struct error *err);
/* HEAD, and of a new branch its ref, both with a line in their reflogs. */
int branch_write(const struct local_request *request, int git, struct error *err);
