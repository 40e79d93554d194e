/*
 * view: a sandbox's layers as mounts.
 *
 * view_open() turns a record into open directories; view_mount() mounts them. Both are called in
 * the mount namespace where the mounts are made: the sandbox's, or for `jib mount` the host's.
 *
 *   work tree   layers of the tree, upper/repos/<repo>     at the repository's path inside
 *   git dir     layers of the git dir, upper/git/<repo>    at PATH/.git (and at git_path)
 *   carried     a directory of the host's work tree,       at its place in the work tree
 *               upper/carried/<repo>/<n>
 *   home        an empty directory of the root, home/      at the home directory
 *
 * The layers of a work tree are, uppermost first: `tree` of the local layer, of the submodules',
 * of the commit's; those of a git dir `git` of the first two, then `tree` of the git layers. Over
 * a carried directory lies `carried/<n>` of the local layer, with whiteouts over what is masked.
 * When the host has removed the directory meanwhile, only what the sandbox has written is seen.
 *
 * Above all of these, and directly below the upper, lie the sandbox's states: `tree/repos/<repo>`,
 * `tree/git/<repo>`, `tree/carried/<repo>/<n>` and `tree/home` of each (review/states.h).
 *
 * view_peek() is the same for who only wants to look (review/viewer.h): nothing can be written, the
 * upper is the uppermost lower, there is no home, and these lie beside the work trees:
 *
 *   git dir     as above                                   at VIEW_GITS/<repo>, and not in the work tree
 *   base        the layers of the tree without the upper:  at VIEW_BASES/<repo>
 *               the work tree when the sandbox was made
 *
 * The repository of a home directory that is itself inside it is mounted over it, so the home
 * comes first, and a repository inside another one's work tree after it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <time.h>

#include "base/error.h"
#include "base/file.h"
#include "store/root.h"
#include "store/sandbox.h"

enum view_kind { VIEW_HOME, VIEW_TREE, VIEW_GIT, VIEW_CARRIED, VIEW_BESIDE };

struct view_mount {
	enum view_kind kind;
	char *target; /* absolute inside: of VIEW_GIT the work tree */
	int *lowers;
	size_t lower_count;
	size_t wrapped; /* the lower that lies inside the next one; 0: none does */
	/*
	 * Of view_peek(): the first so many lowers are what the sandbox has changed; of a base, what was not
	 * committed when it was made.
	 */
	size_t changed;
	int upper;
	int work;
};

struct view {
	struct view_mount *mounts; /* in the order in which they are made */
	size_t count;
	char *source;
	bool forgetful;
};

#define VIEW_INIT                    \
	{                            \
		NULL, 0, NULL, false \
	}

/*
 * `forgetful` when the sandbox is new and going to be discarded at its end: nothing is synced
 * then, and the home directory stays in memory. Nor is anything synced of a volatile sandbox.
 */
int view_open(const struct root *root, const struct sandbox *sandbox, bool forgetful,
	      struct view *ret, struct error *err);
void view_release(struct view *view);
#define autoview __attribute__((cleanup(view_release)))

/*
 * For who only looks. Nothing may run in the sandbox meanwhile, or all that does must be frozen
 * (run/session.h): the kernel calls changes under a mounted overlay undefined.
 */
#define VIEW_BASES "/run/jib/base"
#define VIEW_GITS "/run/jib/git"
int view_peek(const struct root *root, const struct sandbox *sandbox, struct view *ret,
	      struct error *err);

/* Mounts one of them on an open directory. `home_lower` is the empty directory for VIEW_HOME. */
int view_mount(const struct view *view, const struct view_mount *mount, int target, int home_lower,
	       struct error *err);

/*
 * Removes what overlayfs leaves in its work directories: nearly a fifth of what a fresh sandbox
 * takes, and, where a forgetful one was killed, the mark that keeps it from being mounted again.
 * For a sandbox that does not run.
 */
void view_tidy(const struct sandbox *sandbox);

/*
 * ERR_MOUNTED when `jib mount` holds its uppers on the host, or when anything is mounted in its
 * directory, which a removal would meet.
 */
int refuse_mounted(const struct sandbox *sandbox, struct error *err);

/* What a sandbox has changed, as overlayfs left it in the uppers: nothing is mounted for it. */
struct view_changes {
	size_t tree; /* files written or removed in work trees, carried directories included */
	size_t git;  /* in git dirs */
	size_t home; /* in the home directory, but for histories and caches of shells */
};

/* ERR_SYSTEM when an upper of the record is not there. */
int view_changes(const struct sandbox *sandbox, struct view_changes *ret, struct error *err);
bool view_changed(const struct view_changes *changes);

/* All that one walk of a sandbox's directory tells. */
struct view_survey {
	struct view_changes changes;
	struct view_changes *repos; /* of each repository, in the order of the record; no home */
	struct tree_usage usage;
	/* The newest ctime of the record, the lease, the log, the home and the uppers. */
	struct timespec used;
};

/* An entry of an upper of a work tree, git dir or carried directory. */
struct view_entry {
	enum view_kind kind;
	size_t repo;	   /* its index in the record */
	const char *path;  /* relative to the sandbox's directory */
	const char *inner; /* to the upper */
	bool opaque;	   /* a directory that hides what is below it */
	const struct stat *st;
};

/* Called for each, parents first; `look` may be NULL. */
typedef void view_look(void *data, const struct view_entry *entry);
int view_survey(const struct sandbox *sandbox, view_look *look, void *data, struct view_survey *ret,
		struct error *err);
void view_survey_release(struct view_survey *survey);
#define autosurvey __attribute__((cleanup(view_survey_release)))
