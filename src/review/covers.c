#include "review/covers.h"

#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/memory.h"
#include "view/stack.h"

enum { COVERS_MAX = 1000, REF_MAX = 65536, RULES_MAX = 16 << 20, OTHER_MAX = 1 << 30 };

struct finding {
	const struct view_mount *mount;
	struct plan *plan;
};

static int cover(struct finding *finding, const char *path)
{
	if (finding->plan->covered.len == COVERS_MAX)
		return 2;
	strv_addf(&finding->plan->covered, "%s/%s", finding->mount->target, path);
	return 0;
}

static enum stack_kind kind_at(int dirfd, const char *name, const struct stat *st)
{
	autofd int fd = open_beneath(dirfd, name, O_PATH | O_NOFOLLOW, 0);

	/* What is gone between two looks was not there: nothing but a frozen sandbox's own. */
	return fd < 0 ? STACK_NOWHERE : stack_kind_of(fd, st);
}

/* Packs may be large; git maps them, and believes nothing of their length. */
static bool is_too_large(const char *path, off_t size)
{
	return (str_starts(path, "refs/") && size > REF_MAX) ||
	       (!str_starts(path, "objects/") && size > OTHER_MAX);
}

/* Where its owner may not go git does not come either. */
static bool is_closed(const struct stat *st)
{
	return (st->st_mode & 0500) != 0500;
}

/* Everything: git follows links in its own directory. */
static int visit_git(void *data, int dirfd, const char *name, const char *path,
		     const struct stat *st)
{
	if (S_ISDIR(st->st_mode))
		return is_closed(st) ? TREE_SKIP : 0;
	enum stack_kind kind = kind_at(dirfd, name, st);

	/* Objects from elsewhere are nobody's (T47). */
	return kind == STACK_OTHER || kind == STACK_LINK ||
			       (kind == STACK_FILE &&
				strcmp(path, "objects/info/alternates") == 0) ||
			       (kind == STACK_FILE && is_too_large(path, st->st_size))
		       ? cover(data, path)
		       : 0;
}

/* What git reads of a work tree without being asked. It follows no links there. */
static int visit_tree(void *data, int dirfd, const char *name, const char *path,
		      const struct stat *st)
{
	if (S_ISDIR(st->st_mode))
		return is_closed(st) || strcasecmp(name, ".git") == 0 ? TREE_SKIP : 0;
	if (strcmp(name, ".gitignore") != 0 && strcmp(name, ".gitattributes") != 0)
		return 0;
	enum stack_kind kind = kind_at(dirfd, name, st);

	return kind == STACK_OTHER || (kind == STACK_FILE && st->st_size > RULES_MAX)
		       ? cover(data, path)
		       : 0;
}

static int find(struct finding *finding, tree_visit *visit, struct error *err)
{
	for (size_t i = 0; i < finding->mount->changed; i++) {
		int result = tree_walk(finding->mount->lowers[i], visit, finding, err);

		if (result < 0)
			return -1;
		if (result > 0)
			return error_set(err, ERR_LIMIT,
					 "more than %d files of it cannot be read by git: FIFOs, "
					 "devices, links or huge files",
					 COVERS_MAX);
	}
	return 0;
}

int covers_find(const struct viewer *viewer, struct plan *plan, struct error *err)
{
	for (size_t i = 0; i < viewer->view.count; i++) {
		struct finding finding = {.mount = &viewer->view.mounts[i], .plan = plan};
		bool git = str_starts(finding.mount->target, VIEW_GITS "/");
		bool base = str_starts(finding.mount->target, VIEW_BASES "/");

		if (!base && find(&finding, git ? visit_git : visit_tree, err) < 0)
			return -1;
	}
	return 0;
}
