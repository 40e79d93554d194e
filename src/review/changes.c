#include "review/changes.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/index-same.h"

/* Whether the directory holds a file of this name and nothing else. */
static bool holds_only(int dirfd, const char *name)
{
	int fd = open_beneath(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t count = 0;
	bool found = false;

	for (const struct dirent *entry; dir && count < 2 && (entry = readdir(dir));) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		count++;
		found = strcmp(entry->d_name, name) == 0;
	}
	return count == 1 && found;
}

static bool has_index(int fd)
{
	return fd >= 0 && faccessat(fd, "index", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The git dir of the layer in which the sandbox found its index. */
static int open_layer(const struct root *root, const struct sandbox *sandbox,
		      const struct sandbox_repo *repo)
{
	for (size_t i = 0; i < sandbox->states.len; i++) {
		autofree char *state =
			xasprintf("%s/tree/git/%s", sandbox->states.items[i], repo->name);
		int fd = open_beneath(root->layers, state, O_RDONLY | O_DIRECTORY, 0);

		if (has_index(fd))
			return fd;
		fd_close(&fd);
	}

	autofree char *local = repo->local ? xasprintf("%s/git", repo->local) : NULL;
	autofree char *git = xasprintf("%s/tree", repo->git.items[repo->git.len - 1]);
	int fd = local ? open_beneath(root->layers, local, O_RDONLY | O_DIRECTORY, 0) : -1;

	if (has_index(fd))
		return fd;
	fd_close(&fd);
	return open_beneath(root->layers, git, O_RDONLY | O_DIRECTORY, 0);
}

static bool only_looked(const struct root *root, const struct sandbox *sandbox,
			const struct sandbox_repo *repo)
{
	autofree char *path = xasprintf("upper/git/%s", repo->name);
	autofd int upper = open_beneath(sandbox->fd, path, O_RDONLY | O_DIRECTORY, 0);

	if (upper < 0 || !repo->base || !repo->git.len || repo->live_git_dir ||
	    !holds_only(upper, "index"))
		return false;
	autofd int layer = open_layer(root, sandbox, repo);

	return layer >= 0 && index_same(upper, layer, "index", strlen(repo->base) == 64);
}

int changes_of(const struct root *root, const struct sandbox *sandbox, struct view_changes *ret,
	       struct error *err)
{
	if (view_changes(sandbox, ret, err) < 0)
		return -1;
	for (size_t i = 0; i < sandbox->repo_count && ret->git; i++)
		if (only_looked(root, sandbox, &sandbox->repos[i]))
			ret->git--;
	return 0;
}

void changes_correct(const struct root *root, const struct sandbox *sandbox,
		     struct view_survey *survey)
{
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		/* More than one is more than the index. */
		if (survey->repos[i].git != 1 || !only_looked(root, sandbox, &sandbox->repos[i]))
			continue;
		survey->repos[i].git--;
		survey->changes.git--;
	}
}
