#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "git/git.h"
#include "snapshot/git-parts.h"
#include "snapshot/local-internal.h"

struct adding {
	struct capture *capture;
	int host; /* objects/ of the host, of the git layer, of the new layer */
	int below;
	int here;
	struct strv packed; /* what is no loose object of the host */
	struct error *err;
};

static char *hex_of(const unsigned char *oid, size_t len)
{
	char *hex = xmalloc(2 * len + 1);

	for (size_t i = 0; i < len; i++)
		snprintf(hex + 2 * i, 3, "%02x", oid[i]);
	return hex;
}

/* It is immutable: a link is as good as a copy, where there can be one. */
static int link_loose(struct adding *adding, const char *hex)
{
	autofree char *path = xasprintf("%.2s/%s", hex, hex + 2);
	autofree char *directory = xstrndup(hex, 2);
	autofd int fd = -1;

	if (faccessat(adding->below, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (faccessat(adding->host, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		strv_add(&adding->packed, hex);
		return 0;
	}
	if (dir_make_at(adding->here, directory, 0755, &fd, adding->err) < 0)
		return -1;
	if (linkat(adding->host, path, adding->here, path, 0) == 0 || errno == EEXIST)
		return 0;
	if (errno != EXDEV && errno != EPERM && errno != EMLINK && errno != EACCES)
		return error_errno(adding->err, "cannot link the object %s", hex);
	autofd int from = open_beneath(adding->host, path, O_RDONLY, 0);

	if (from < 0)
		return error_errno(adding->err, "cannot read the object %s", hex);
	return file_copy_at(from, adding->here, path, adding->err);
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_staged(struct adding *adding)
{
	const struct capture *capture = adding->capture;
	const struct strv *staged = &capture->staged;
	size_t size = strcmp(capture->request->head->format, "sha256") == 0 ? 32 : 20;

	for (size_t i = 0; i < capture->edits.count; i++) {
		const struct index_edit *edit = &capture->edits.items[i];
		const char *path = edit->entry.path;

		if (edit->removed || edit->entry.intent_to_add || S_ISDIR(edit->entry.mode) ||
		    edit->entry.mode == MODE_GITLINK || !staged->len ||
		    !bsearch(&path, staged->items, staged->len, sizeof path, compare_strings))
			continue;
		autofree char *hex = hex_of(edit->entry.oid, size);

		if (link_loose(adding, hex) < 0)
			return -1;
	}
	return 0;
}

/* Runs git with lines as its stdin. What it writes goes to `objects`; NULL: it writes nothing. */
static int run_with(const struct local_request *request, const char *objects,
		    const char *const *args, const struct str *lines, struct str *output,
		    struct error *err)
{
	autofd int input = memfd_create("git", MFD_CLOEXEC);
	autofree char *host = xasprintf("%s/objects", request->repository->common_dir);
	const struct git_place place = {.directory = request->repository->top,
					.git_dir = request->repository->git_dir,
					.objects = objects,
					.alternates = objects ? host : NULL,
					.input = input};

	if (input < 0 || write_all(input, lines->s, lines->len) < 0 ||
	    lseek(input, 0, SEEK_SET) < 0)
		return error_errno(err, "cannot write for git");
	return git_run(&place, args, output, err);
}

/* `lacks`: of a partial clone. Without a mark what is missing would be damage. */
static int pack(struct adding *adding, const struct str *lines, bool lacks)
{
	autofd int fd = -1;
	autostr struct str output = STR_INIT;

	if (!lines->len)
		return 0;
	if (dir_make_at(adding->here, "pack", 0755, &fd, adding->err) < 0)
		return -1;
	autofree char *objects = realpath(fd_path(adding->here).s, NULL);

	if (!objects)
		return error_errno(adding->err, "cannot name a directory of objects");
	autofree char *name = xasprintf("%s/pack/pack", objects);
	const char *const args[] = {"pack-objects", "-q", name, NULL};

	if (run_with(adding->capture->request, objects, args, lines, &output, adding->err) < 0)
		return -1;
	if (!lacks)
		return 0;
	autofree char *mark =
		xasprintf("pack-%.*s.promisor", (int)strcspn(output.s, "\n"), output.s);

	return file_replace_at(fd, mark, "", 0, 0444, false, adding->err);
}

static void add_lines(struct str *lines, const struct strv *ids)
{
	for (size_t i = 0; i < ids->len; i++)
		str_addf(lines, "%s\n", ids->items[i]);
}

/*
 * Commits and trees, with everything in them that no ref leads to. Some may have been pruned on the
 * host too, and of a partial clone some never were there. The git layer is that of this work tree's
 * refs: what only the HEAD of another one leads to may be newer.
 */
static int list_reachable(struct adding *adding, const struct strv *ids, const char *missing,
			  struct str *ret)
{
	const char *const args[] = {"rev-list",
				    "--objects",
				    missing,
				    "--ignore-missing",
				    "--single-worktree",
				    "--stdin",
				    "--not",
				    "--all",
				    NULL};
	autostr struct str lines = STR_INIT;

	add_lines(&lines, ids);
	return run_with(adding->capture->request, NULL, args, &lines, ret, adding->err);
}

static int add_reachable(struct adding *adding, const struct strv *ids)
{
	autostr struct str objects = STR_INIT;
	bool lacks;

	if (!ids->len)
		return 0;
	if (list_reachable(adding, ids, "--missing=print", &objects) < 0)
		return -1;
	lacks = objects.len && (objects.s[0] == '?' || strstr(objects.s, "\n?"));
	if (lacks) {
		/* Only git tells what a partial clone lacks from damage. */
		str_clear(&objects);
		if (list_reachable(adding, ids, "--missing=allow-promisor", &objects) < 0)
			return -1;
	}
	return pack(adding, &objects, lacks);
}

static int open_objects(struct adding *adding, int git)
{
	const struct local_request *request = adding->capture->request;
	autofree char *host = xasprintf("%s/objects", request->repository->common_dir);
	autofree char *below = xasprintf("%s/tree/objects", request->git_id);

	adding->host = open(host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (adding->host < 0)
		return error_errno(adding->err, "cannot read %s", host);
	adding->below = open_beneath(request->root->layers, below, O_RDONLY | O_DIRECTORY, 0);
	if (adding->below < 0)
		return error_errno(adding->err, "cannot read %s", below);
	return dir_make_at(git, "objects", 0755, &adding->here, adding->err);
}

static int add_all(struct adding *adding, int git)
{
	const struct capture *capture = adding->capture;
	autostr struct str lines = STR_INIT;
	autostrv struct strv ids = STRV_INIT;

	/* The git layer has those of its own commit. */
	if (capture->request->switched &&
	    git_link_fetched(capture->request->root, capture->request->tree, git, adding->err) < 0)
		return -1;
	if (add_staged(adding) < 0)
		return -1;
	add_lines(&lines, &adding->packed);
	if (pack(adding, &lines, false) < 0)
		return -1;
	if (capture->in_progress &&
	    states_objects(capture->request->repository, &ids, adding->err) < 0)
		return -1;
	/* One that was fetched, or made without a ref, since the git layer was. */
	if (capture->request->switched && capture->request->head->commit)
		strv_add(&ids, capture->request->head->commit);
	return add_reachable(adding, &ids);
}

int local_objects_write(struct capture *capture, int git, struct error *err)
{
	struct adding adding = {
		.capture = capture, .host = -1, .below = -1, .here = -1, .err = err};
	int result = 0;

	if (capture->staged.len || capture->in_progress || capture->request->switched)
		result = open_objects(&adding, git) < 0 ? -1 : add_all(&adding, git);
	fd_close(&adding.host);
	fd_close(&adding.below);
	fd_close(&adding.here);
	strv_release(&adding.packed);
	/* Where there was nothing to add. */
	if (result == 0 && unlinkat(git, "objects", AT_REMOVEDIR) < 0 && errno != ENOENT &&
	    errno != ENOTEMPTY)
		return error_errno(err, "cannot remove an empty directory");
	return result;
}
