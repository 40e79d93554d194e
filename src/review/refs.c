#include "review/refs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

enum { REFS_BYTES_MAX = 256 << 20, SHA1_HEX = 40 };

void refs_release(struct refs *refs)
{
	for (size_t i = 0; i < refs->count; i++)
		free(refs->items[i].name);
	free(refs->items);
	*refs = (struct refs){0};
}

static bool is_oid(const char *text, size_t len)
{
	return (len == SHA1_HEX || len == OID_HEX_MAX) && strspn(text, "0123456789abcdef") >= len;
}

/* More than git itself refuses: what has a control character in it cannot be a name. */
static bool is_name(const char *text, size_t len)
{
	if (len < strlen("refs/x") || strncmp(text, "refs/", strlen("refs/")) != 0 ||
	    text[len - 1] == '/' || text[len - 1] == '.')
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c <= ' ' || c == 0x7f || strchr("~^:?*[\\", c) ||
		    (i && text[i - 1] == '/' && (c == '/' || c == '.')) ||
		    (i && text[i - 1] == '.' && c == '.'))
			return false;
	}
	return true;
}

static void add(struct refs *refs, const char *name, size_t len, const char *oid, size_t oid_len)
{
	if (!is_name(name, len) || !is_oid(oid, oid_len))
		return;
	refs->items = xreallocarray(refs->items, refs->count + 1, sizeof *refs->items);
	struct ref *ref = &refs->items[refs->count];

	ref->rank = refs->count++;

	ref->name = xstrndup(name, len);
	memcpy(ref->oid, oid, oid_len);
	ref->oid[oid_len] = '\0';
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct ref *)a)->name, ((const struct ref *)b)->name);
}

static int compare_ranked(const void *a, const void *b)
{
	const struct ref *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* By name; of two the first one counts. */
static void sort(struct refs *refs)
{
	size_t kept = 0;

	if (refs->count)
		qsort(refs->items, refs->count, sizeof *refs->items, compare_ranked);
	for (size_t i = 0; i < refs->count; i++) {
		if (kept && strcmp(refs->items[kept - 1].name, refs->items[i].name) == 0)
			free(refs->items[i].name);
		else
			refs->items[kept++] = refs->items[i];
	}
	refs->count = kept;
}

static void parse(const char *text, struct refs *ret)
{
	while (*text) {
		size_t line = strcspn(text, "\n");
		size_t oid = strcspn(text, " \n");

		if (oid < line)
			add(ret, text + oid + 1, line - oid - 1, text, oid);
		text += line + (text[line] == '\n');
	}
}

void refs_parse(const char *text, struct refs *ret)
{
	parse(text, ret);
	sort(ret);
}

int refs_now(struct viewer *viewer, size_t repo, struct refs *ret, struct error *err)
{
	const char *const args[] = {"for-each-ref",
				    "--format=%(if)%(symref)%(then)%(else)%(objectname) "
				    "%(refname)%(end)",
				    NULL};
	struct viewer_call call = {.repo = repo, .place = VIEWER_REFS, .args = args};
	autostr struct str output = STR_INIT;

	if (viewer_run(viewer, &call, NULL, REFS_BYTES_MAX, &output, NULL, err) < 0)
		return error_wrap(err, "cannot list the refs of %s", viewer->sandbox->name);
	refs_parse(output.s, ret);
	return 0;
}

static int visit(void *data, int dirfd, const char *name, const char *path, const struct stat *st)
{
	enum { REF_MAX = 512 };
	struct refs *refs = data;
	autoerror struct error ignored = ERROR_INIT;
	autostr struct str text = STR_INIT;
	autofree char *full = xasprintf("refs/%s", path);

	if (S_ISREG(st->st_mode) && file_read_at(dirfd, name, REF_MAX, &text, &ignored) == 0)
		add(refs, full, strlen(full), text.s, strcspn(text.s, "\n"));
	return 0;
}

int refs_then(const struct viewer *viewer, size_t repo, struct refs *ret, struct error *err)
{
	const struct view_mount *mount = viewer_git_mount(viewer, repo);
	autofree char *packed = NULL;
	struct refs refs = {0};

	/* A loose one overrides what is packed, and an upper layer a lower one. */
	for (size_t i = mount->changed; i < mount->lower_count; i++) {
		autofd int dir = open_beneath(mount->lowers[i], "refs", O_RDONLY | O_DIRECTORY, 0);

		if (dir >= 0 && tree_walk(dir, visit, &refs, err) < 0) {
			refs_release(&refs);
			return -1;
		}
	}
	if (viewer_read(mount, mount->changed, "packed-refs", &packed, err) < 0) {
		refs_release(&refs);
		return -1;
	}
	if (packed)
		parse(packed, &refs);
	sort(&refs);
	*ret = refs;
	return 0;
}

const struct ref *refs_find(const struct refs *refs, const char *name)
{
	struct ref wanted = {.name = (char *)name};

	return refs->count
		       ? bsearch(&wanted, refs->items, refs->count, sizeof *refs->items, compare)
		       : NULL;
}

bool refs_have(const struct refs *refs, const char *oid)
{
	for (size_t i = 0; i < refs->count; i++)
		if (strcmp(refs->items[i].oid, oid) == 0)
			return true;
	return false;
}

/* A branch may be another name of one: where that leads, only git knows. */
static int follow(struct viewer *viewer, size_t repo, char **name, struct error *err)
{
	const char *const args[] = {"symbolic-ref", "-q", "HEAD", NULL};
	struct viewer_call call = {.repo = repo, .place = VIEWER_REFS, .args = args};
	autostr struct str output = STR_INIT;
	int status;

	if (viewer_run(viewer, &call, NULL, REFS_BYTES_MAX, &output, &status, err) < 0)
		return -1;
	size_t len = strcspn(output.s, "\n");

	if (status != 0 || !is_name(output.s, len))
		return 0;
	free(*name);
	*name = xstrndup(output.s, len);
	return 0;
}

int head_now(struct viewer *viewer, size_t repo, const struct refs *now, struct head *ret,
	     struct error *err)
{
	static const char symbolic[] = "ref: ";
	autofree char *text = NULL;

	if (viewer_read(viewer_git_mount(viewer, repo), 0, "HEAD", &text, err) < 0)
		return -1;
	*ret = (struct head){0};
	if (!text)
		return error_set(err, ERR_CORRUPT, "the sandbox %s has no HEAD any more",
				 viewer->sandbox->name);
	size_t len = strcspn(text, "\n");

	if (str_starts(text, symbolic)) {
		const char *name = text + strlen(symbolic);
		size_t name_len = len - strlen(symbolic);

		if (!is_name(name, name_len))
			return error_set(err, ERR_CORRUPT, "the HEAD of %s names no ref",
					 viewer->sandbox->name);
		ret->ref = xstrndup(name, name_len);
		if (!refs_find(now, ret->ref) && follow(viewer, repo, &ret->ref, err) < 0) {
			free(steal_ptr(&ret->ref));
			return -1;
		}
		const struct ref *ref = refs_find(now, ret->ref);

		if (ref)
			memcpy(ret->oid, ref->oid, sizeof ret->oid);
		return 0;
	}
	if (!is_oid(text, len))
		return error_set(err, ERR_CORRUPT, "the HEAD of %s cannot be understood",
				 viewer->sandbox->name);
	memcpy(ret->oid, text, len);
	ret->oid[len] = '\0';
	return 0;
}
