/*
 * carry-links: the other names of what is masked.
 *
 * A file with several names (hard links) may be masked by one of them and not by another. When all
 * else is decided, the inodes of all that is masked are gathered, and every name of them is masked
 * among what is copied and in what is mounted. Nothing mounted is read unless there is such an inode.
 */
#pragma once

#include <stddef.h>
#include <sys/stat.h>

#include "snapshot/carry.h"
#include "snapshot/secrets.h"

struct carry_link {
	dev_t dev;
	ino_t ino;
	size_t copied; /* its place in carry.copied */
};

struct carry_links {
	struct carry_link *items;
	size_t len;
};

void carry_links_add(struct carry_links *links, const struct stat *st, size_t copied);

/*
 * `copied` has the copied files with several names. Moves names from carry->copied to carry->masked,
 * and leaves a NULL in the place of each; adds to carry->masks and carry->masked. A mount that
 * cannot be read to its end is left out. carry->masked and carry->left_out are not sorted then.
 */
void carry_links_mask(int top, const struct secrets *secrets, const struct carry_links *copied,
		      struct carry *carry);
