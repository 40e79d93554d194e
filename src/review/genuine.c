#include "review/genuine.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/memory.h"
#include "review/trees.h"
#include "review/viewer-plan.h"

enum { FANOUT = 2, ANSWER_MAX = 1 << 30, PACKS_MAX = 10000 };

struct added {
	struct str loose;  /* "OID^{object}" on lines: to name one like that has git hash it */
	struct strv packs; /* names of indexes in objects/pack */
};

static bool is_hex(const char *text, size_t len)
{
	return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

static int visit(void *data, int dirfd, const char *name, const char *path, const struct stat *st)
{
	struct added *added = data;
	const char *rest = path + FANOUT + 1;

	(void)dirfd;
	(void)name;
	if (S_ISDIR(st->st_mode))
		return (st->st_mode & 0500) == 0500 ? 0 : TREE_SKIP;
	if (!S_ISREG(st->st_mode))
		return 0;
	if (str_starts(path, "pack/")) {
		if (!str_ends(path, ".idx") || strchr(path + strlen("pack/"), '/'))
			return 0;
		if (added->packs.len == PACKS_MAX)
			return 2;
		strv_add(&added->packs, path + strlen("pack/"));
		return 0;
	}
	if (strlen(path) > FANOUT && path[FANOUT] == '/' &&
	    (is_hex(rest, 40 - FANOUT) || is_hex(rest, OID_HEX_MAX - FANOUT)) &&
	    strspn(path, "0123456789abcdef") == FANOUT)
		str_addf(&added->loose, "%.*s%s^{object}\n", FANOUT, path, rest);
	return 0;
}

static int find_added(const struct viewer *viewer, size_t repo, struct added *ret,
		      struct error *err)
{
	const struct view_mount *mount = viewer_git_mount(viewer, repo);

	for (size_t i = 0; i < mount->changed; i++) {
		autofd int objects =
			open_beneath(mount->lowers[i], "objects", O_RDONLY | O_DIRECTORY, 0);
		int result = objects < 0 ? 0 : tree_walk(objects, visit, ret, err);

		/* Not there, or something else, which is covered. */
		if (objects < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
			return error_errno(err, "cannot open its objects");
		if (result < 0)
			return -1;
		if (result > 0)
			return error_set(err, ERR_LIMIT, "it has more than %d packs", PACKS_MAX);
	}
	return 0;
}

static int refuse(const struct viewer *viewer, const char *what, struct error *err)
{
	error_set(err, ERR_CORRUPT, "%s in the git dir of %s is damaged, or forged", what,
		  viewer->sandbox->name);
	return error_hint(err, "`git fsck` in the sandbox tells more");
}

static int check_loose(struct viewer *viewer, size_t repo, const struct str *loose,
		       struct error *err)
{
	const char *const args[] = {"cat-file", "--batch-check=%(objectname)", NULL};
	struct viewer_call call = {.repo = repo, .place = VIEWER_BARE, .args = args};
	autostr struct str output = STR_INIT;

	if (!loose->len)
		return 0;
	if (viewer_run(viewer, &call, loose, ANSWER_MAX, &output, NULL, err) < 0)
		return error_wrap(err, "cannot check its objects");
	char *rest = output.s;

	for (char *line; rest && (line = strsep(&rest, "\n"));)
		if (str_ends(line, " missing")) {
			autofree char *what =
				xasprintf("the object %.*s", (int)strcspn(line, "^ "), line);

			return refuse(viewer, what, err);
		}
	return 0;
}

static int check_packs(struct viewer *viewer, size_t repo, const struct strv *packs,
		       struct error *err)
{
	const struct view_mount *mount = viewer_git_mount(viewer, repo);
	autostrv struct strv args = STRV_INIT;
	autostr struct str output = STR_INIT;
	int status;

	if (!packs->len)
		return 0;
	strv_add(&args, "verify-pack");
	for (size_t i = 0; i < packs->len; i++)
		strv_addf(&args, "%s/objects/pack/%s", mount->target, packs->items[i]);
	struct viewer_call call = {
		.repo = repo, .place = VIEWER_BARE, .args = (const char *const *)args.items};

	if (viewer_run(viewer, &call, NULL, ANSWER_MAX, &output, &status, err) < 0)
		return error_wrap(err, "cannot check its packs");
	return status == 0 ? 0 : refuse(viewer, "a pack", err);
}

int genuine_check(struct viewer *viewer, size_t repo, struct error *err)
{
	struct added added = {STR_INIT, STRV_INIT};
	int result = find_added(viewer, repo, &added, err);

	if (result == 0)
		result = check_loose(viewer, repo, &added.loose, err);
	if (result == 0)
		result = check_packs(viewer, repo, &added.packs, err);
	str_release(&added.loose);
	strv_release(&added.packs);
	return result;
}
