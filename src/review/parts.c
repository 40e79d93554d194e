#include "review/parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "review/copy.h"

void parts_list(const struct sandbox *sandbox, struct strv *ret)
{
	/* One that was made to be discarded has its home in memory. */
	if (faccessat(sandbox->fd, "home", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		strv_add(ret, "home");
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];

		strv_addf(ret, "repos/%s", repo->name);
		strv_addf(ret, "git/%s", repo->name);
		for (size_t n = 0; n < repo->carried.len; n++)
			strv_addf(ret, "carried/%s/%zu", repo->name, n);
	}
}

char *part_path(const char *part)
{
	return strcmp(part, "home") == 0 ? xstrdup(part) : xasprintf("upper/%s", part);
}

/* Whether the directory has another mode than in the uppermost state that has it. */
static bool was_changed(const struct root *root, const struct sandbox *sandbox, const char *part,
			const struct stat *upper)
{
	struct stat st;

	for (size_t i = 0; i < sandbox->states.len; i++) {
		autofree char *path = xasprintf("%s/tree/%s", sandbox->states.items[i], part);

		if (fstatat(root->layers, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
			return st.st_mode != upper->st_mode;
	}
	return false;
}

/* 1 when it is not. */
static int is_filled(const struct root *root, const struct sandbox *sandbox, const char *part,
		     struct error *err)
{
	autofree char *path = part_path(part);
	int fd = open_beneath(sandbox->fd, path, O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	struct stat st;

	if (!dir)
		return errno == EACCES ? 0 : error_errno(err, "cannot open %s", path);
	if (fstat(fd, &st) < 0)
		return error_errno(err, "cannot look at %s", path);
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			return 0;
	return was_changed(root, sandbox, part, &st) ? 0 : 1;
}

int parts_filled(const struct root *root, const struct sandbox *sandbox, struct strv *ret,
		 struct error *err)
{
	autostrv struct strv parts = STRV_INIT;

	parts_list(sandbox, &parts);
	for (size_t i = 0; i < parts.len; i++) {
		int result = is_filled(root, sandbox, parts.items[i], err);

		if (result < 0)
			return -1;
		if (result == 0)
			strv_add(ret, parts.items[i]);
	}
	return 0;
}

int part_make(const struct sandbox *sandbox, int tree, const char *part, struct error *err)
{
	autofree char *path = part_path(part);
	autofd int upper = open_beneath(sandbox->fd, path, O_PATH | O_DIRECTORY, 0);
	autofd int made = -1;

	if (upper < 0)
		return error_errno(err, "cannot open %s", path);
	if (dir_make_path_at(tree, part, 0700, &made, err) < 0)
		return -1;
	return copy_look(upper, made, false, err);
}
