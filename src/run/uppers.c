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

static int copy_file(int dirfd, const char *path, int to, struct error *err)
{
	enum { CHUNK = 1 << 20 };
	autofd int source = open_beneath(dirfd, path, O_RDONLY, 0);
	ssize_t n;

	/* What is missing is empty. */
	if (source < 0)
		return errno == ENOENT ? 0 : error_errno(err, "cannot open %s", path);
	while ((n = sendfile(to, source, NULL, CHUNK)) > 0)
		;
	return n < 0 ? error_errno(err, "cannot copy %s", path) : 0;
}

/* States: what git's cache of untracked files must not be trusted with. */

struct listing {
	struct str paths;
	const char *prefix;
	size_t count;
};

static int list_directory(void *data, int dirfd, const char *name, const char *path,
			  const struct stat *st)
{
	enum { ENTRIES_MAX = 50000 };
	struct listing *listing = data;

	(void)dirfd;
	(void)name;
	if (++listing->count > ENTRIES_MAX)
		return 2;
	if (!S_ISDIR(st->st_mode))
		return 0;
	/* git takes the name of anything in a directory for the directory. */
	str_addf(&listing->paths, "%s%s/.jib", listing->prefix, path);
	str_add_bytes(&listing->paths, "", 1);
	return (st->st_mode & 0500) != 0500 ? TREE_SKIP : 0;
}

static int list_part(const struct root *root, const char *id, const char *part, const char *prefix,
		     struct listing *listing, struct error *err)
{
	autofree char *path = xasprintf("%s/tree/%s", id, part);
	autofd int fd = open_beneath(root->layers, path, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return errno == ENOENT ? 0 : error_errno(err, "cannot open %s", path);
	listing->prefix = prefix;
	str_addf(&listing->paths, "%s.jib", prefix);
	str_add_bytes(&listing->paths, "", 1);
	int result = tree_walk(fd, list_directory, listing, err);

	return result > 0 ? error_set(err, ERR_LIMIT, "%s holds too much", path) : result;
}

static int list_states(const struct root *root, const struct sandbox *sandbox,
		       const struct sandbox_repo *repo, struct listing *listing, struct error *err)
{
	autofree char *tree = xasprintf("repos/%s", repo->name);

	for (size_t i = 0; i < sandbox->states.len; i++) {
		const char *id = sandbox->states.items[i];

		if (list_part(root, id, tree, "", listing, err) < 0)
			return -1;
		for (size_t n = 0; n < repo->carried.len; n++) {
			autofree char *part = xasprintf("carried/%s/%zu", repo->name, n);
			autofree char *prefix = xasprintf("%s/", repo->carried.items[n]);

			if (list_part(root, id, part, prefix, listing, err) < 0)
				return -1;
		}
	}
	return 0;
}

/*
 * A sealed copy in memory: the file is a layer's, which other sandboxes open as well, and who has a
 * descriptor of it could hold them up with a lease (fcntl(2), F_SETLEASE).
 */
static int open_reported(const struct root *root, const struct sandbox *sandbox,
			 const struct sandbox_repo *repo, int *ret, struct error *err)
{
	autofree char *path = xasprintf("%s/reported", repo->local ? repo->local : "");
	autofd int copy = memfd_create("reported", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct listing listing = {.paths = STR_INIT};

	if (copy < 0)
		return error_errno(err, "cannot make a file in memory");
	int result = list_states(root, sandbox, repo, &listing, err);

	if (result == 0 && repo->local)
		result = copy_file(root->layers, path, copy, err);
	if (result == 0 && listing.paths.len &&
	    write_all(copy, listing.paths.s, listing.paths.len) < 0)
		result = error_errno(err, "cannot write to memory");
	str_release(&listing.paths);
	if (result < 0)
		return -1;
	if (fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return error_errno(err, "cannot seal a file in memory");
	*ret = open(fd_path(copy).s, O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? error_errno(err, "cannot open a file in memory") : 0;
}

static int add_repo(const struct root *root, const struct sandbox *sandbox,
		    const struct sandbox_repo *repo, struct uppers *uppers, struct error *err)
{
	autofree char *tree = xasprintf("upper/repos/%s", repo->name);
	autofree char *carried = xasprintf("upper/carried/%s", repo->name);
	autofd int upper = -1, inner = -1, always = -1;
	int *const fds[UPPER_FDS] = {
		[UPPER_TREE] = &upper, [UPPER_CARRIED] = &inner, [UPPER_REPORTED] = &always};

	if (open_clone(sandbox->fd, tree, O_DIRECTORY, &upper, err) < 0 ||
	    (repo->carried.len ? open_clone(sandbox->fd, carried, O_DIRECTORY, &inner, err) < 0
			       : open_nothing(&inner, err) < 0))
		return -1;
	/* Nothing is what most have. */
	if (repo->local || sandbox->states.len
		    ? open_reported(root, sandbox, repo, &always, err) < 0
		    : open_nothing(&always, err) < 0)
		return -1;
	for (size_t i = 0; i < UPPER_FDS; i++)
		add_fd(uppers, fds[i]);
	strv_add(&uppers->names, repo->path);
	strv_add(&uppers->names, sandbox->states.len ? sandbox->states.items[0] : UPPER_FRESH);
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
