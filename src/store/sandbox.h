/*
 * sandbox: a name, a stack of layers per repository, and the directories that hold what is
 * changed.
 *
 *   ROOT/<name>/sandbox.json        the record, with a schema version
 *   ROOT/<name>/lease               locked while something runs in it; made by the first run
 *   ROOT/<name>/control             the monitor's socket, while something runs
 *   ROOT/<name>/upper/repos/<repo>  what was changed in the work tree
 *   ROOT/<name>/upper/git/<repo>    what was changed in the git dir
 *   ROOT/<name>/upper/carried/<repo>/<n>  in the n-th directory that is mounted from the host
 *   ROOT/<name>/work/...            overlayfs' work directories
 *   ROOT/<name>/empty/              stands in for a carried directory that the host has removed
 *   ROOT/<name>/boot                of a volatile one: the boot in which it was made or ran last
 *   ROOT/<name>/home/               the private home directory
 *   ROOT/<name>/log/                output of a detached run
 *
 * What a sandbox has changed can be turned into a layer of its own, a state (state.h): it lies then
 * between an upper, which is empty again, and the layers that were there before.
 *
 * The disk is the truth: whoever is alive holds the lease, and a directory that is removed with
 * rm -rf is a sandbox that does not exist. A new sandbox is built in ROOT/.tmp and appears by
 * one rename(2), which also decides who wins when two create the same name.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"
#include "store/layer.h"
#include "store/root.h"

enum layout { LAYOUT_HOST, LAYOUT_JIB };

struct sandbox_repo {
	char *name;	/* unique in the sandbox: the directory in upper/repos and upper/git */
	char *host;	/* the work tree on the host */
	char *path;	/* the work tree inside */
	char *git_path; /* where the git dir is seen inside besides PATH/.git, or NULL */
	char *base;	/* commit id; NULL when the repository had no commit */
	char *branch;	/* NULL when HEAD was detached */
	/* Layers. Work tree and git dir each see, uppermost first: local, modules, tree or git. */
	char *local;	  /* what was not committed; or NULL */
	char *modules;	  /* submodules; or NULL */
	struct strv tree; /* uppermost first; empty with --live */
	struct strv git;
	/*
	 * Directories of the work tree, relative to it, that are overlays of their own over the
	 * host's; the n-th has upper/carried/<name>/<n>.
	 */
	struct strv carried;
	char *live_git_dir;    /* with --live: the host's git dir of this work tree */
	char *live_common_dir; /* and its common dir */
};

/* A state that was kept on purpose: the sandbox can be taken back to it. */
struct checkpoint {
	unsigned int number; /* from 1 on, rising */
	char *created;	     /* RFC 3339, UTC */
	char *message;	     /* or NULL */
	struct strv states;  /* what it stands on, as of struct sandbox */
};

struct sandbox {
	char *name;
	int fd;	       /* its directory; -1 before it is created */
	char *created; /* RFC 3339, UTC */
	enum layout layout;
	bool live;
	bool is_volatile; /* never synced: a power cut may tear what it has changed */
	char *home;	  /* the home directory's path inside */
	bool passing; /* not in the record: made for one run and discarded, without a home on disk */
	struct sandbox_repo *repos;
	size_t repo_count;
	struct strv states; /* layers with what was changed before the uppers, uppermost first */
	struct checkpoint *checkpoints; /* the oldest first */
	size_t checkpoint_count;
	/* Which record was read: see sandbox_lease(). */
	uint64_t record_ino;
	int64_t record_time;
};

#define SANDBOX_INIT     \
	{                \
		.fd = -1 \
	}

void sandbox_release(struct sandbox *sandbox);
#define autosandbox __attribute__((cleanup(sandbox_release)))
/* Appends an empty repository to fill in. */
struct sandbox_repo *sandbox_add_repo(struct sandbox *sandbox);

/* Appends a checkpoint of the present states, numbered and of now. `message` may be NULL. */
struct checkpoint *sandbox_add_checkpoint(struct sandbox *sandbox, const char *message);
/* Whether a checkpoint names a state that the sandbox does not stand on: work that no view shows. */
bool sandbox_keeps_others(const struct sandbox *sandbox);

/*
 * Makes the directories and the record, and takes the lease. ERR_EXISTS when the name is taken.
 * `durable` when the sandbox is promised to outlast a power cut from now on. *ret_lease may be
 * NULL: then nothing is leased.
 */
int sandbox_create(const struct root *root, struct sandbox *sandbox, bool durable, int *ret_lease,
		   struct error *err);

/* ERR_NOT_FOUND, ERR_NAME; ERR_CORRUPT when the record cannot be read. */
int sandbox_open(const struct root *root, const char *name, struct sandbox *ret, struct error *err);

/*
 * Replaces the record. The caller holds the lease, or at least a lock against others who do the same
 * while the sandbox is running.
 */
int sandbox_rewrite(struct sandbox *sandbox, struct error *err);

/* ERR_NOT_FOUND when it was removed since it was opened, whatever has its name now. */
int sandbox_check_kept(const struct root *root, const struct sandbox *sandbox, struct error *err);

/* The names of all sandboxes, sorted; broken ones too. */
int sandbox_names(const struct root *root, struct strv *ret, struct error *err);

/*
 * Takes the lease: 0 and the fd that holds it, 1 when somebody else has it. Beside the file the
 * directory itself (sandbox->fd) is locked: somebody who removes the file does not make a second
 * lease possible. ERR_NOT_FOUND when the sandbox was removed since it was opened, even if there is
 * another one of its name by now; ERR_UNSTABLE when its record was replaced, and the caller would
 * miss what stands in a layer by now and not in its uppers.
 */
int sandbox_lease(const struct root *root, const struct sandbox *sandbox, int *ret_fd,
		  struct error *err);

/*
 * Takes the lease as soon as whoever has it lets go. `root` may be NULL for who only waits, and
 * does nothing with a sandbox that may be gone then.
 */
int sandbox_lease_wait(const struct root *root, const struct sandbox *sandbox, int *ret_fd,
		       struct error *err);

/* The ids of all layers that a sandbox or one of its checkpoints stands on. */
void sandbox_layers(const struct sandbox *sandbox, struct strv *ret);

/*
 * For as long as the sandbox runs. ERR_CORRUPT when a layer was made before the last restart of
 * the machine and not synced: its files may be torn.
 */
int sandbox_hold_layers(const struct root *root, const struct sandbox *sandbox,
			struct layer_holds *ret, struct error *err);

enum sandbox_state { SANDBOX_CREATED, SANDBOX_RUNNING, SANDBOX_STOPPED, SANDBOX_BROKEN };
const char *sandbox_state_name(enum sandbox_state state);
/* From the disk alone: never run, lease held, or neither. */
int sandbox_state(const struct sandbox *sandbox, enum sandbox_state *ret, struct error *err);

/* Its own bytes on disk: uppers, home, logs, record. */
int sandbox_disk(const struct root *root, const char *name, uint64_t *ret_bytes, struct error *err);

/* Removes it. The caller holds the lease, or knows that the sandbox is broken and not running. */
int sandbox_remove(const struct root *root, const char *name, struct error *err);

/* Syncs the record of a sandbox that was created without `durable`. */
int sandbox_settle(const struct root *root, const struct sandbox *sandbox, struct error *err);

/* Notes in a volatile sandbox the boot in which it runs; not synced either. */
int sandbox_note_boot(const struct sandbox *sandbox, struct error *err);
/* Whether the machine was restarted since the volatile sandbox ran, or cannot be said not to be. */
bool sandbox_outlived_boot(const struct sandbox *sandbox);

/*
 * What the mounts of a sandbox are called in mountinfo: neutral inside, and enough to find a
 * mount that `jib mount` made. From the identity of its directory.
 */
char *sandbox_mount_source(const struct sandbox *sandbox);
