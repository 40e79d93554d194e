/*
 * host-index: what the host's own index says of its work tree.
 *
 * Read from the file, without git; a split or sparse index git writes out in full first, into a
 * directory of jib's. The host's file is never written.
 */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "base/error.h"
#include "git/repository.h"
#include "snapshot/index.h"

struct host_index {
	struct index_reader *reader;	   /* NULL when there is no index */
	const struct index_entry *current; /* the next one not yet asked for; NULL at the end */
	struct timespec written;
	bool sha256;
};

#define HOST_INDEX_INIT                   \
	{                                 \
		NULL, NULL, {0, 0}, false \
	}

/* `scratch` is where a full copy is put under the name `host-index` when one is needed. */
int host_index_open(const struct repository *repository, int scratch, bool sha256,
		    struct host_index *ret, struct error *err);
void host_index_close(struct host_index *index);
#define autohostindex __attribute__((cleanup(host_index_close)))

/*
 * Whether the host's file at this path is, as far as its index knows, what the entry says. Asked
 * in the order of paths. 1 or HOST_UNSURE and the stat data that the index has of it; 0 when it is
 * not; -1.
 *
 * Of a file that git has been told not to look at (assume-unchanged, skip-worktree) nothing is
 * known: what the user has in it is private.
 *
 * As with git, an entry whose time is not older than the index itself says nothing: the file may
 * have been changed right after.
 */
enum { HOST_UNSURE = 2 };
int host_index_ask(struct host_index *index, const struct index_entry *entry,
		   struct index_stat *ret, struct error *err);
