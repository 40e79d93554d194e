#include "snapshot/carry-links.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"

void carry_links_add(struct carry_links *links, const struct stat *st, size_t copied)
{
	links->items = xreallocarray(links->items, links->len + 1, sizeof *links->items);
	links->items[links->len++] = (struct carry_link){st->st_dev, st->st_ino, copied};
}

static int by_inode(const void *a, const void *b)
{
	const struct carry_link *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return (x->ino > y->ino) - (x->ino < y->ino);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has(const struct carry_links *sorted, dev_t dev, ino_t ino)
{
	struct carry_link key = {.dev = dev, .ino = ino};

	return bsearch(&key, sorted->items, sorted->len, sizeof key, by_inode);
}

/* ---- the inodes of what is masked ---- */

static bool has_other_names(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_nlink > 1;
}

static int gather_entry(void *data, int dirfd, const char *name, const char *path,
			const struct stat *st)
{
	(void)path;
	if (has_other_names(st))
		carry_links_add(data, st, 0);
	/* One that cannot be read must not end the walk. */
	return S_ISDIR(st->st_mode) && faccessat(dirfd, name, R_OK | X_OK, AT_EACCESS) < 0
		       ? TREE_SKIP
		       : 0;
}

/* What is gone, or cannot be reached, has no inode to hide. */
static void gather(int top, const char *path, struct carry_links *ret)
{
	bool whole = str_ends(path, "/");
	autofree char *name = xstrndup(path, strlen(path) - whole);
	autofd int fd =
		open_beneath(top, name, whole ? O_RDONLY | O_DIRECTORY : O_PATH | O_NOFOLLOW, 0);
	autoerror struct error ignored = ERROR_INIT;
	struct stat st;

	if (fd < 0)
		return;
	if (whole)
		tree_walk(fd, gather_entry, ret, &ignored);
	else if (fstat(fd, &st) == 0 && has_other_names(&st))
		carry_links_add(ret, &st, 0);
}

/* ---- their other names ---- */

static void mask_copied(const struct secrets *secrets, const struct carry_links *copied,
			const struct carry_links *masked, struct carry *carry)
{
	for (size_t i = 0; i < copied->len; i++) {
		const struct carry_link *link = &copied->items[i];
		char **path = &carry->copied.items[link->copied];

		if (!has(masked, link->dev, link->ino) || secrets_unmasked(secrets, *path))
			continue;
		strv_give(&carry->masked, *path);
		*path = NULL;
	}
}

struct search {
	const struct secrets *secrets;
	const struct carry_links *masked;
	const char *directory;	  /* the mount */
	const struct strv *known; /* what is masked in it, sorted */
	struct strv found;	  /* relative to it */
};

static int search_entry(void *data, int dirfd, const char *name, const char *path,
			const struct stat *st)
{
	struct search *search = data;
	const struct strv *known = search->known;

	(void)dirfd;
	(void)name;
	if (known->len && bsearch(&path, known->items, known->len, sizeof path, by_name))
		return TREE_SKIP;
	if (!has_other_names(st) || !has(search->masked, st->st_dev, st->st_ino))
		return 0;
	autofree char *full = xasprintf("%s/%s", search->directory, path);

	if (!secrets_unmasked(search->secrets, full))
		strv_add(&search->found, path);
	return 0;
}

/* Masks them in a mount, too; -1 when it cannot be read to its end. */
static int mask_mounted(int top, const struct secrets *secrets, const struct carry_links *masked,
			struct carry *carry, size_t n)
{
	struct strv *masks = &carry->masks[n].paths;
	const char *directory = carry->mounted.items[n];
	struct search search = {secrets, masked, directory, masks, STRV_INIT};
	autoerror struct error ignored = ERROR_INIT;
	autofd int fd = open_beneath(top, directory, O_RDONLY | O_DIRECTORY, 0);
	int result = fd < 0 ? -1 : tree_walk(fd, search_entry, &search, &ignored);

	for (size_t i = 0; i < search.found.len; i++)
		strv_addf(&carry->masked, "%s/%s", directory, search.found.items[i]);
	if (search.found.len) {
		strv_add_all(masks, &search.found);
		qsort(masks->items, masks->len, sizeof *masks->items, by_name);
	}
	strv_release(&search.found);
	return result;
}

static void drop_mount(struct carry *carry, size_t n)
{
	struct strv *mounted = &carry->mounted;

	strv_addf(&carry->left_out, "%s/", mounted->items[n]);
	strv_release(&carry->masks[n].paths);
	free(mounted->items[n]);
	mounted->len--;
	/* With the NULL at the end. */
	memmove(&mounted->items[n], &mounted->items[n + 1],
		(mounted->len + 1 - n) * sizeof *mounted->items);
	memmove(&carry->masks[n], &carry->masks[n + 1], (mounted->len - n) * sizeof *carry->masks);
}

void carry_links_mask(int top, const struct secrets *secrets, const struct carry_links *copied,
		      struct carry *carry)
{
	struct carry_links masked = {0};

	if (!copied->len && !carry->mounted.len)
		return;
	for (size_t i = 0; i < carry->masked.len; i++)
		gather(top, carry->masked.items[i], &masked);
	if (!masked.len)
		return;
	qsort(masked.items, masked.len, sizeof *masked.items, by_inode);
	mask_copied(secrets, copied, &masked, carry);
	for (size_t i = 0; i < carry->mounted.len;) {
		if (mask_mounted(top, secrets, &masked, carry, i) < 0)
			drop_mount(carry, i);
		else
			i++;
	}
	free(masked.items);
}
