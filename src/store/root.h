/*
 * root: the directory under which everything of jib's lives.
 *
 *   ROOT/.layers/<id>/     immutable layers, see layer.h
 *   ROOT/.tmp/             what is being made or removed; swept by the next command
 *   ROOT/<sandbox>/        see sandbox.h
 *
 * It is $JIB_ROOT or ~/.jib-overlays, mode 0700, of the caller's own. The first command that
 * uses a root proves by a trial mount that it can hold an overlay's upper directory, and marks
 * it with an extended attribute so that later ones need not.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct root {
	char *path;
	int fd;
	int layers;
	int temp;
};

#define ROOT_INIT                \
	{                        \
		NULL, -1, -1, -1 \
	}

/* Where the root is, whether it exists or not. */
int root_path(char **ret, struct error *err);

/*
 * Opens the root and makes what is missing: for commands that create. `prove` is called with the
 * fd of a root that has not been proven yet (the trial mount; store/ cannot do it itself), or
 * NULL.
 */
typedef int root_prove(int dirfd, struct error *err);
int root_open(root_prove *prove, struct root *ret, struct error *err);

/*
 * For all other commands: makes no root, and no empty directory into one. Where there is none the
 * root has the path alone, and holds no sandboxes.
 */
int root_open_existing(struct root *ret, struct error *err);
void root_close(struct root *root);
#define autoroot __attribute__((cleanup(root_close)))

/*
 * The same root seen from another mount namespace: opened anew by its path, and refused if that
 * is not the same directory. An fd that was opened before leads to mounts of the old namespace,
 * and those the kernel does not take as layers.
 */
int root_reopen(const struct root *root, struct root *ret, struct error *err);

/*
 * A new directory in .tmp, "<prefix>-<random>", locked (lock.h) through the returned fd for as
 * long as its maker lives.
 */
int root_make_temp(const struct root *root, const char *prefix, char **ret_name, int *ret_fd,
		   struct error *err);

/* Moves ROOT/<name> (in `dirfd`) into .tmp, where it no longer exists for anyone, and deletes it. */
int root_discard(const struct root *root, int dirfd, const char *name, struct error *err);

/*
 * Who removes layers that nobody uses holds this lock, for as long as *ret_fd is open, from its
 * first look at the records until the last layer is out of .layers: two at once would each find in
 * use what the other one only looks at. Waits.
 */
int root_lock_collecting(const struct root *root, int *ret_fd, struct error *err);

/* Removes what dead commands left in .tmp. Failures are not reported: the next sweep tries again. */
void root_sweep(const struct root *root);
