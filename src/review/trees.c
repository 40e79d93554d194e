#include "review/trees.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

enum { TREE_MAX = 256 << 20, LINE_MAX_BYTES = 512 };

struct known {
	char oid[OID_HEX_MAX + 1];
	char *bytes;
	size_t len;
};

static int compare_known(const void *a, const void *b)
{
	return strcmp(((const struct known *)a)->oid, ((const struct known *)b)->oid);
}

int trees_open(struct viewer *viewer, size_t repo, struct trees *ret, struct error *err)
{
	const char *const args[] = {"cat-file", "--batch", NULL};
	struct trees trees = TREES_INIT;

	trees.viewer = viewer;
	if (viewer_git(viewer,
		       &(struct viewer_call){
			       .repo = repo, .place = VIEWER_BARE, .args = args, .input = -1},
		       &trees.git, err) < 0)
		return -1;
	*ret = trees;
	return 0;
}

static void free_known(void *node)
{
	struct known *known = node;

	free(known->bytes);
	free(known);
}

void trees_close(struct trees *trees)
{
	viewer_git_release(&trees->git);
	str_release(&trees->waiting);
	tdestroy(trees->known, free_known);
	*trees = (struct trees)TREES_INIT;
}

static int broken(struct error *err)
{
	return error_set(err, ERR_CORRUPT,
			 "the sandbox has a tree object that cannot be understood");
}

/* Makes `len` more bytes available after what was used. */
static int fill(struct trees *trees, size_t len, struct error *err)
{
	char buffer[65536];

	if (trees->at == trees->waiting.len) {
		str_clear(&trees->waiting);
		trees->at = 0;
	}
	while (trees->waiting.len - trees->at < len) {
		ssize_t n = read(trees->git.output, buffer, sizeof buffer);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, "cannot read objects");
		if (n == 0)
			return error_set(err, ERR_GIT, "git ended while it read objects");
		str_add_bytes(&trees->waiting, buffer, (size_t)n);
	}
	return 0;
}

static int read_line(struct trees *trees, char line[LINE_MAX_BYTES], struct error *err)
{
	for (size_t len = 0; len < LINE_MAX_BYTES; len++) {
		if (fill(trees, len + 1, err) < 0)
			return -1;
		line[len] = trees->waiting.s[trees->at + len];
		if (line[len] == '\n') {
			line[len] = '\0';
			trees->at += len + 1;
			return 0;
		}
	}
	return broken(err);
}

/* Asks for an object; 1 when there is none. The content follows, and a newline. */
static int ask(struct trees *trees, const char *name, const char *type, char oid[OID_HEX_MAX + 1],
	       size_t *ret_size, struct error *err)
{
	autofree char *question = xasprintf("%s\n", name);
	char line[LINE_MAX_BYTES];

	if (write_all(trees->git.input, question, strlen(question)) < 0)
		return error_errno(err, "cannot ask git for an object");
	if (read_line(trees, line, err) < 0)
		return -1;
	if (str_ends(line, " missing"))
		return 1;
	/* "OID TYPE SIZE" */
	size_t oid_len = strspn(line, "0123456789abcdef");
	const char *said = line + oid_len + 1;
	const char *number = line[oid_len] == ' ' ? strchr(said, ' ') : NULL;

	if (!number || !oid_len || oid_len > OID_HEX_MAX)
		return broken(err);
	unsigned long long size = strtoull(number + 1, NULL, 10);

	if (size > TREE_MAX)
		return broken(err);
	if ((size_t)(number - said) != strlen(type) || strncmp(said, type, strlen(type)) != 0)
		return error_set(err, ERR_CORRUPT, "%s is a %.*s in the sandbox, not a %s", name,
				 (int)(number - said), said, type);
	memcpy(oid, line, oid_len);
	oid[oid_len] = '\0';
	*ret_size = (size_t)size;
	return 0;
}

static int get_tree(struct trees *trees, const char *name, const struct known **ret,
		    struct error *err)
{
	struct known wanted;
	size_t size;

	if (strlen(name) > OID_HEX_MAX)
		return broken(err);
	memcpy(wanted.oid, name, strlen(name) + 1);
	void *const *found = tfind(&wanted, &trees->known, compare_known);

	if (found) {
		*ret = *found;
		return 0;
	}
	int result = ask(trees, name, "tree", wanted.oid, &size, err);

	if (result == 1)
		return error_set(err, ERR_CORRUPT, "the tree %s is missing in the sandbox", name);
	if (result < 0 || fill(trees, size + 1, err) < 0)
		return -1;
	struct known *known = xmalloc(sizeof *known);

	*known = wanted;
	known->len = size;
	known->bytes = xmalloc(size + 1);
	memcpy(known->bytes, trees->waiting.s + trees->at, size);
	known->bytes[size] = '\0';
	trees->at += size + 1;
	if (!tsearch(known, &trees->known, compare_known))
		abort();
	*ret = known;
	return 0;
}

int trees_of_commit(struct trees *trees, const char *commit, char ret[OID_HEX_MAX + 1],
		    struct error *err)
{
	autofree char *name = xasprintf("%s^{tree}", commit);
	size_t size;
	int result = ask(trees, name, "tree", ret, &size, err);

	if (result != 0)
		return result;
	if (fill(trees, size + 1, err) < 0)
		return -1;
	trees->at += size + 1;
	return 0;
}

/* "MODE SP NAME NUL OID" for each. */
static int find_in(const struct known *tree, const char *name, size_t len, struct tree_entry *ret,
		   struct error *err)
{
	size_t raw = strlen(tree->oid) / 2;

	for (size_t at = 0; at < tree->len;) {
		char *end;
		const char *entry = tree->bytes + at;
		unsigned long mode = strtoul(entry, &end, 8);
		size_t left = tree->len - at;
		size_t head = (size_t)(end - entry) + 1;

		if (*end != ' ' || end == entry || head >= left)
			return broken(err);
		size_t name_len = strnlen(entry + head, left - head);

		if (head + name_len + 1 + raw > left)
			return broken(err);
		if (name_len == len && memcmp(entry + head, name, len) == 0) {
			const unsigned char *oid =
				(const unsigned char *)entry + head + name_len + 1;

			ret->mode = (uint32_t)mode;
			for (size_t i = 0; i < raw; i++)
				snprintf(ret->oid + 2 * i, 3, "%02x", oid[i]);
			return 0;
		}
		at += head + name_len + 1 + raw;
	}
	return 1;
}

/* Goes down a path; `stop` ends at the first entry of that mode. */
static int descend(struct trees *trees, const char *root, const char *path, uint32_t stop,
		   struct tree_entry *ret, size_t *ret_len, struct error *err)
{
	const struct known *tree = NULL;
	struct tree_entry entry;
	const char *name = root;

	for (size_t at = 0;;) {
		size_t len = strcspn(path + at, "/");

		if (get_tree(trees, name, &tree, err) < 0)
			return -1;
		int result = find_in(tree, path + at, len, &entry, err);

		if (result != 0)
			return result;
		at += len;
		if (!path[at] || entry.mode == stop) {
			*ret = entry;
			*ret_len = at;
			return 0;
		}
		if (entry.mode != MODE_TREE)
			return 1;
		name = entry.oid;
		at++;
	}
}

int trees_find(struct trees *trees, const char *tree, const char *path, struct tree_entry *ret,
	       struct error *err)
{
	size_t len;

	return tree ? descend(trees, tree, path, 0, ret, &len, err) : 1;
}

int trees_find_gitlink(struct trees *trees, const char *tree, const char *path, size_t *ret_len,
		       struct error *err)
{
	struct tree_entry entry = {0};
	int result = tree ? descend(trees, tree, path, MODE_SUBMODULE, &entry, ret_len, err) : 1;

	if (result < 0)
		return -1;
	if (result == 1 || entry.mode != MODE_SUBMODULE)
		*ret_len = 0;
	return 0;
}
