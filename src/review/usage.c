#include "review/usage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "store/layer.h"
#include "store/sandbox.h"

void store_usage_release(struct store_usage *usage)
{
	for (size_t i = 0; i < usage->sandbox_count; i++) {
		free(usage->sandboxes[i].name);
		strv_release(&usage->sandboxes[i].layers);
	}
	for (size_t i = 0; i < usage->layer_count; i++) {
		free(usage->layers[i].id);
		free(usage->layers[i].host);
	}
	free(usage->sandboxes);
	free(usage->layers);
	*usage = (struct store_usage){0};
}

struct tree_usage store_usage_total(const struct store_usage *usage)
{
	struct tree_usage total = usage->other;

	for (size_t i = 0; i < usage->sandbox_count; i++) {
		total.bytes += usage->sandboxes[i].own.bytes;
		total.inodes += usage->sandboxes[i].own.inodes;
	}
	for (size_t i = 0; i < usage->layer_count; i++) {
		total.bytes += usage->layers[i].own.bytes;
		total.inodes += usage->layers[i].own.inodes;
	}
	return total;
}

/* Names of files with more than one, to be counted when all of them are known. */
struct linked {
	dev_t dev;
	ino_t ino;
	nlink_t links;
	uint64_t bytes;
	size_t layer;
};

struct counting {
	struct tree_usage *into;
	size_t layer;
	struct linked *linked;
	size_t count;
};

static void add_linked(struct counting *c, const struct stat *st)
{
	/* To grow by doubling: whenever the count is a power of two, the array is full. */
	if ((c->count & (c->count - 1)) == 0)
		c->linked =
			xreallocarray(c->linked, c->count ? c->count * 2 : 1, sizeof *c->linked);
	c->linked[c->count++] = (struct linked){st->st_dev, st->st_ino, st->st_nlink,
						(uint64_t)st->st_blocks * 512, c->layer};
}

static int count(void *data, int dirfd, const char *name, const char *path, const struct stat *st)
{
	struct counting *c = data;

	(void)dirfd;
	(void)name;
	(void)path;
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
		add_linked(c, st);
		return 0;
	}
	c->into->bytes += (uint64_t)st->st_blocks * 512;
	c->into->inodes++;
	return S_ISDIR(st->st_mode) && (st->st_mode & 0500) != 0500 ? TREE_SKIP : 0;
}

static int compare_linked(const void *a, const void *b)
{
	const struct linked *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return (x->layer > y->layer) - (x->layer < y->layer);
}

/* All names of a file are in the store, or some are the host's. */
static void settle_linked(struct counting *c, struct store_usage *usage)
{
	if (c->count)
		qsort(c->linked, c->count, sizeof *c->linked, compare_linked);
	for (size_t i = 0, end; i < c->count; i = end) {
		const struct linked *file = &c->linked[i];
		struct layer_usage *layer = &usage->layers[file->layer];

		for (end = i + 1; end < c->count && c->linked[end].ino == file->ino &&
				  c->linked[end].dev == file->dev;)
			end++;
		if (end - i < file->links) {
			layer->shared += file->bytes;
			continue;
		}
		layer->own.bytes += file->bytes;
		layer->own.inodes++;
	}
}

/* A directory with all that is in it; what is gone or cannot be entered takes what it shows. */
static void count_tree(struct counting *c, int dirfd, const char *name)
{
	autofd int fd = open_within(dirfd, name, O_RDONLY | O_DIRECTORY);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0) {
		count(c, dirfd, name, name, &st);
		tree_walk(fd, count, c, NULL);
	}
}

int layers_needed(const struct root *root, struct strv *ids, struct error *err)
{
	/* It grows meanwhile. */
	for (size_t i = 0; i < ids->len; i++) {
		autostrv struct strv references = STRV_INIT;

		if (layer_references(root, ids->items[i], &references, err) < 0)
			return -1;
		for (size_t k = 0; k < references.len; k++)
			if (!strv_holds(ids, references.items[k]))
				strv_add(ids, references.items[k]);
	}
	return 0;
}

static int compare_layers(const void *a, const void *b)
{
	return strcmp(((const struct layer_usage *)a)->id, ((const struct layer_usage *)b)->id);
}

static struct layer_usage *find_layer(const struct store_usage *usage, const char *id)
{
	const struct layer_usage wanted = {.id = (char *)(uintptr_t)id};

	return usage->layer_count ? bsearch(&wanted, usage->layers, usage->layer_count,
					    sizeof *usage->layers, compare_layers)
				  : NULL;
}

/* The names in a directory; hidden ones are counted as other. */
static int list(struct counting *c, int dirfd, struct strv *ret, struct error *err)
{
	int fd = open_beneath(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir)
		return error_errno(err, "cannot read the store");
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    strcmp(entry->d_name, ".layers") == 0)
			continue;
		if (entry->d_name[0] == '.')
			count_tree(c, dirfd, entry->d_name);
		else
			strv_add(ret, entry->d_name);
	}
	return 0;
}

static int count_layers(const struct root *root, struct counting *c, struct store_usage *usage,
			struct error *err)
{
	autostrv struct strv ids = STRV_INIT;

	c->into = &usage->other;
	if (list(c, root->layers, &ids, err) < 0)
		return -1;
	usage->layers = xcalloc(ids.len + 1, sizeof *usage->layers);
	usage->layer_count = ids.len;
	for (size_t i = 0; i < ids.len; i++)
		usage->layers[i].id = xstrdup(ids.items[i]);
	if (ids.len)
		qsort(usage->layers, ids.len, sizeof *usage->layers, compare_layers);
	for (size_t i = 0; i < ids.len; i++) {
		c->into = &usage->layers[i].own;
		c->layer = i;
		count_tree(c, root->layers, usage->layers[i].id);
	}
	return 0;
}

/* What a repository's sandboxes use is that repository's. */
static int claim_layers(const struct root *root, const struct sandbox *sandbox,
			struct sandbox_usage *taken, struct store_usage *usage, struct error *err)
{
	sandbox_layers(sandbox, &taken->layers);
	if (layers_needed(root, &taken->layers, err) < 0)
		return -1;
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];
		/* Of several repositories' sandboxes each layer is known by what it is made from. */
		struct sandbox alone = {.fd = -1, .repos = &sandbox->repos[i], .repo_count = 1};
		autostrv struct strv ids = STRV_INIT;

		/* What was changed in all of them is counted with the first. */
		if (i == 0) {
			alone.states = sandbox->states;
			alone.checkpoints = sandbox->checkpoints;
			alone.checkpoint_count = sandbox->checkpoint_count;
		}
		sandbox_layers(&alone, &ids);
		if (layers_needed(root, &ids, err) < 0)
			return -1;
		for (size_t k = 0; k < ids.len; k++) {
			struct layer_usage *layer = find_layer(usage, ids.items[k]);

			if (layer && !layer->host)
				layer->host = xstrdup(repo->host);
		}
	}
	return 0;
}

static void count_sandbox(const struct root *root, const char *name, struct store_usage *usage)
{
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error broken = ERROR_INIT;
	struct tree_usage own = {0};

	if (tree_usage_at(root->fd, name, &own, NULL) < 0 &&
	    faccessat(root->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	struct sandbox_usage *taken = &usage->sandboxes[usage->sandbox_count++];

	*taken = (struct sandbox_usage){.name = xstrdup(name), .own = own};
	if (sandbox_open(root, name, &sandbox, &broken) == 0)
		claim_layers(root, &sandbox, taken, usage, &broken);
}

int store_usage(const struct root *root, struct store_usage *ret, struct error *err)
{
	autousage struct store_usage usage = {0};
	autostrv struct strv names = STRV_INIT;
	struct counting c = {0};

	if (root->fd < 0) {
		*ret = usage;
		return 0;
	}
	int result = sandbox_names(root, &names, err);

	if (result == 0)
		result = count_layers(root, &c, &usage, err);
	if (result == 0) {
		settle_linked(&c, &usage);
		usage.sandboxes = xcalloc(names.len + 1, sizeof *usage.sandboxes);
		for (size_t i = 0; i < names.len; i++)
			count_sandbox(root, names.items[i], &usage);
		c.into = &usage.other;
		count_tree(&c, root->temp, ".");
	}
	free(c.linked);
	if (result < 0)
		return -1;
	*ret = usage;
	usage = (struct store_usage){0};
	return 0;
}
