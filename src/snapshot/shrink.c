#include "snapshot/shrink.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/index.h"

enum { SHRINK_FROM = 512 << 10 };

#define SHARED "sharedindex."

struct shared {
	int dirfd;
	char *name;
};

static void shared_release(struct shared *shared)
{
	fd_close(&shared->dirfd);
	free(shared->name);
}
#define autoshared __attribute__((cleanup(shared_release)))

static size_t id_length(const char *name)
{
	return strspn(name + strlen(SHARED), "0123456789abcdef");
}

static bool is_shared_index(int dirfd, const char *name)
{
	struct stat st;

	if (!str_starts(name, SHARED) || name[strlen(SHARED) + id_length(name)] ||
	    (id_length(name) != 40 && id_length(name) != 64))
		return false;
	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static bool find_in(const struct root *root, const char *layer, const char *part,
		    struct shared *ret)
{
	autofree char *path = xasprintf("%s/%s", layer, part);
	int fd = open_beneath(root->layers, path, O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		if (!is_shared_index(fd, entry->d_name))
			continue;
		ret->name = xstrdup(entry->d_name);
		ret->dirfd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		return ret->dirfd >= 0;
	}
	return false;
}

/* The uppermost one that the layers of the git dir show. */
static bool find_shared(const struct root *root, const struct sandbox_repo *repo,
			struct shared *ret)
{
	if (repo->local && find_in(root, repo->local, "git", ret))
		return true;
	for (size_t i = 0; i < repo->git.len; i++)
		if (find_in(root, repo->git.items[i], "tree", ret))
			return true;
	return false;
}

/*
 * Inside it is seen unless something lies over it: a whiteout, or another file. Nothing will,
 * later: git removes a shared index only when it writes another one and this is old enough, and
 * the configuration that comes with the layer says that none ever is.
 */
static bool is_visible(int upper, const char *name)
{
	struct stat st;

	return fstatat(upper, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* Nor does anything in what was changed before. */
static bool is_visible_in_all(const struct root *root, const struct sandbox *sandbox,
			      const struct sandbox_repo *repo, int upper, const char *name)
{
	bool visible = is_visible(upper, name);

	for (size_t i = 0; i < sandbox->states.len && visible; i++) {
		autofree char *path =
			xasprintf("%s/tree/git/%s", sandbox->states.items[i], repo->name);
		autofd int state = open_beneath(root->layers, path, O_RDONLY | O_DIRECTORY, 0);

		visible = state < 0 ? errno == ENOENT : is_visible(state, name);
	}
	return visible;
}

static bool has_large_index(int upper)
{
	struct stat st;

	return fstatat(upper, "index", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size > SHRINK_FROM;
}

static void shrink_index(const struct root *root, const struct sandbox *sandbox,
			 const struct sandbox_repo *repo)
{
	autoerror struct error ignored = ERROR_INIT;
	autoshared struct shared shared = {.dirfd = -1};
	autofree char *upper_path = xasprintf("upper/git/%s", repo->name);
	autofree char *work_path = xasprintf("work/git/%s", repo->name);
	autofd int upper = open_beneath(sandbox->fd, upper_path, O_RDONLY | O_DIRECTORY, 0);
	autofd int work = open_beneath(sandbox->fd, work_path, O_RDONLY | O_DIRECTORY, 0);

	if (upper < 0 || work < 0 || !has_large_index(upper) || !find_shared(root, repo, &shared) ||
	    !is_visible_in_all(root, sandbox, repo, upper, shared.name))
		return;
	index_shrink(
		&(struct index_shrinking){
			.sha256 = id_length(shared.name) == 64,
			.base_dir = shared.dirfd,
			.base = shared.name,
			.dirfd = upper,
			.scratch = work,
			.durable = !sandbox->is_volatile,
		},
		&ignored);
}

void shrink_indexes(const struct root *root, const struct sandbox *sandbox)
{
	for (size_t i = 0; i < sandbox->repo_count; i++)
		shrink_index(root, sandbox, &sandbox->repos[i]);
}
