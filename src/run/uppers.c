#include "run/uppers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/upper.h"
#include "kernel/mounts.h"

void uppers_release(struct uppers *uppers)
{
	for (size_t i = 0; i < uppers->count; i++)
		fd_close(&uppers->fds[i]);
	free(uppers->fds);
	strv_release(&uppers->names);
	*uppers = (struct uppers)UPPERS_INIT;
}

static void add_fd(struct uppers *uppers, int *fd)
{
	uppers->fds = xreallocarray(uppers->fds, uppers->count + 1, sizeof *uppers->fds);
	uppers->fds[uppers->count++] = steal_fd(fd);
}

/*
 * Through the clone even a file that was opened for reading cannot be opened anew for writing,
 * which /proc/self/fd would allow otherwise.
 */
static int open_clone(int dirfd, const char *path, int flags, int *ret, struct error *err)
{
	autofd int source = open_beneath(dirfd, path, O_PATH | flags, 0);
	autofd int clone = -1;

	if (source < 0)
		return error_errno(err, "cannot open %s", path);
	if (mount_clone_read_only(source, &clone, err) < 0)
		return -1;
	*ret = open(fd_path(clone).s, O_RDONLY | O_CLOEXEC | flags);
	return *ret < 0 ? error_errno(err, "cannot open %s", path) : 0;
}

static int open_nothing(int *ret, struct error *err)
{
	*ret = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? error_errno(err, "cannot open /dev/null") : 0;
}

/*
 * A sealed copy in memory: the file is a layer's, which other sandboxes open as well, and who has a
 * descriptor of it could hold them up with a lease (fcntl(2), F_SETLEASE).
 */
static int open_copy(int dirfd, const char *path, int *ret, struct error *err)
{
	enum { CHUNK = 1 << 20 };
	autofd int source = open_beneath(dirfd, path, O_RDONLY, 0);
	autofd int copy = memfd_create("reported", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ssize_t n;

	if (source < 0 || copy < 0)
		return error_errno(err, "cannot open %s", path);
	while ((n = sendfile(copy, source, NULL, CHUNK)) > 0)
		;
	if (n < 0 ||
	    fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return error_errno(err, "cannot copy %s", path);
	*ret = open(fd_path(copy).s, O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? error_errno(err, "cannot open %s", path) : 0;
}

static int add_repo(const struct root *root, const struct sandbox *sandbox,
		    const struct sandbox_repo *repo, struct uppers *uppers, struct error *err)
{
	autofree char *tree = xasprintf("upper/repos/%s", repo->name);
	autofree char *carried = xasprintf("upper/carried/%s", repo->name);
	autofree char *reported = xasprintf("%s/reported", repo->local ? repo->local : "");
	autofd int upper = -1, inner = -1, always = -1;
	int *const fds[UPPER_FDS] = {
		[UPPER_TREE] = &upper, [UPPER_CARRIED] = &inner, [UPPER_REPORTED] = &always};

	if (open_clone(sandbox->fd, tree, O_DIRECTORY, &upper, err) < 0 ||
	    (repo->carried.len ? open_clone(sandbox->fd, carried, O_DIRECTORY, &inner, err) < 0
			       : open_nothing(&inner, err) < 0))
		return -1;
	/* What is missing is empty. */
	bool has_reported =
		repo->local && faccessat(root->layers, reported, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

	if (has_reported ? open_copy(root->layers, reported, &always, err) < 0
			 : open_nothing(&always, err) < 0)
		return -1;
	for (size_t i = 0; i < UPPER_FDS; i++)
		add_fd(uppers, fds[i]);
	strv_add(&uppers->names, repo->path);
	for (size_t i = 0; i < repo->carried.len; i++)
		strv_add(&uppers->names, repo->carried.items[i]);
	return 0;
}

void uppers_open(const struct root *root, const struct sandbox *sandbox, struct uppers *ret)
{
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		autoerror struct error without = ERROR_INIT;

		if (!sandbox->repos[i].live_git_dir)
			add_repo(root, sandbox, &sandbox->repos[i], ret, &without);
	}
}
