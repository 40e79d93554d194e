#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "git/git.h"
#include "snapshot/carry.h"
#include "snapshot/fingerprint.h"
#include "snapshot/modules-internal.h"
#include "snapshot/settle.h"
#include "snapshot/status.h"

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A large ignored directory cannot be shown from the host here, as it can in the superproject. */
static int decide_carried(const struct modules_request *request, struct module *module,
			  const struct status *status, struct error *err)
{
	autofd int top = open(module->repository.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autostrv struct strv untracked = STRV_INIT;
	autocarry struct carry carry = CARRY_INIT;

	if (top < 0)
		return error_errno(err, "cannot open %s", module->repository.top);
	/* A repository that nobody added has a slash at the end. */
	for (size_t i = 0; i < status->untracked.len; i++)
		strv_add(str_ends(status->untracked.items[i], "/") ? &module->left_out : &untracked,
			 status->untracked.items[i]);
	const struct carry_request decision = {
		.root = request->root,
		.repository = &module->repository,
		.top = top,
		.untracked = &untracked,
		.ignored = &status->ignored,
		.carry_ignored = request->wishes->ignored,
		.budget = request->wishes->budget,
		.mask = &request->wishes->mask,
		.unmask = &request->wishes->unmask,
	};

	if (carry_decide(&decision, &carry, err) < 0)
		return -1;
	strv_add_all(&module->copied, &carry.copied);
	strv_add_all(&module->masked, &carry.masked);
	strv_add_all(&module->left_out, &carry.left_out);
	strv_add_all(&module->left_out, &carry.mounted);
	return 0;
}

int module_read_status(const struct modules_request *request, struct module *module,
		       struct error *err)
{
	autostatus struct status status = STATUS_INIT;

	if (status_parse(module->status.s, module->status.len, &status, err) < 0)
		return -1;
	for (size_t i = 0; i < status.count; i++)
		if (status.items[i].unmerged || status.items[i].unstaged != '.')
			strv_add(&module->changed, status.items[i].path);
	if (module->changed.len)
		qsort(module->changed.items, module->changed.len, sizeof *module->changed.items,
		      by_text);
	return decide_carried(request, module, &status, err);
}

struct copying {
	const struct module *module;
	const struct timespec *since;
	int from;
	int to;
	/* Where the file before was; they come in order. */
	char *directory;
	int from_parent; /* -1: the host has no such directory */
	int to_parent;
};

static void copying_release(struct copying *copying)
{
	free(copying->directory);
	fd_close(&copying->from_parent);
	fd_close(&copying->to_parent);
	fd_close(&copying->from);
}

/*
 * Opens the directory of a path on both sides. 1 when the host has none: no symbolic link is followed, as git
 * does not follow it.
 */
static int enter(struct copying *copying, const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (copying->directory && strlen(copying->directory) == len &&
	    memcmp(copying->directory, path, len) == 0)
		return copying->from_parent < 0;
	free(copying->directory);
	fd_close(&copying->from_parent);
	fd_close(&copying->to_parent);
	copying->directory = xstrndup(path, len);
	copying->from_parent = open_beneath(copying->from, len ? copying->directory : ".",
					    O_RDONLY | O_DIRECTORY, 0);
	if (copying->from_parent < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
			       ? 1
			       : error_errno(err, "cannot open %s", copying->directory);
	return dir_make_path_at(copying->to, copying->directory, 0755, &copying->to_parent, err);
}

static int unstable(const struct copying *copying, const char *path, struct error *err)
{
	return error_set(err, ERR_UNSTABLE, "%s/%s keeps changing while it is captured",
			 copying->module->repository.top, path);
}

static int copy_symlink(const struct copying *copying, const char *name, const struct stat *st,
			struct error *err)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	char target[PATH_MAX];
	ssize_t len = readlinkat(copying->from_parent, name, target, sizeof target - 1);

	if (len < 0)
		return error_errno(err, "cannot read the link %s", name);
	target[len] = '\0';
	if (symlinkat(target, copying->to_parent, name) < 0 ||
	    utimensat(copying->to_parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, "cannot create the link %s", name);
	return 0;
}

static int copy_regular(const struct copying *copying, const char *name, const struct stat *st,
			struct error *err)
{
	autofd int fd = openat(copying->from_parent, name,
			       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat after;

	if (fd < 0)
		return error_errno(err, "cannot read %s", name);
	if (file_copy_at(fd, copying->to_parent, name, err) < 0)
		return -1;
	/* It was not written meanwhile, nor is it another one. */
	if (fstat(fd, &after) < 0 || after.st_ino != st->st_ino ||
	    after.st_ctim.tv_sec != st->st_ctim.tv_sec ||
	    after.st_ctim.tv_nsec != st->st_ctim.tv_nsec)
		return 1;
	return 0;
}

/* 0; 1 when there is no such file on the host, or a directory. */
static int copy_file(struct copying *copying, const char *path, struct error *err)
{
	int result = enter(copying, path, err);
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	struct stat st, there;

	if (result != 0)
		return result;
	if (fstatat(copying->from_parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 1 : error_errno(err, "cannot stat %s", path);
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return 1;
	if (!fingerprint_is_settled(copying->since, &st.st_ctim))
		return unstable(copying, path, err);
	/* An unmerged path comes once for each stage. */
	if (fstatat(copying->to_parent, name, &there, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	result = S_ISLNK(st.st_mode) ? copy_symlink(copying, name, &st, err)
				     : copy_regular(copying, name, &st, err);
	if (result > 0)
		return unstable(copying, path, err);
	return result < 0 ? error_wrap(err, "%s", path) : 0;
}

static bool is_changed(const struct module *module, const char *path)
{
	return module->changed.len && bsearch(&path, module->changed.items, module->changed.len,
					      sizeof *module->changed.items, by_text);
}

static int decide(void *data, const char *path, bool skipped, struct stat *st, struct error *err)
{
	struct copying *copying = data;
	const char *slash = strrchr(path, '/');
	int result = copy_file(copying, path, err);

	if (result < 0)
		return -1;
	if (skipped)
		return INDEX_LEAVE;
	if (result == 1 || is_changed(copying->module, path))
		return INDEX_SET;
	if (fstatat(copying->to_parent, slash ? slash + 1 : path, st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, "cannot stat %s", path);
	return INDEX_SET;
}

/* A copy of the host's index in the plain format. 1 when the host has none. */
static int copy_index(const struct module *module, int git, struct error *err)
{
	autofree char *path = xasprintf("%s/index", module->repository.git_dir);
	autofree char *directory = realpath(fd_path(git).s, NULL);
	autofree char *copy = directory ? xasprintf("%s/index", directory) : NULL;
	autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct git_place place = {.directory = module->repository.top, .index = copy};
	const char *const args[] = {"-c",
				    "core.splitIndex=false",
				    "-c",
				    "feature.manyFiles=false",
				    "-c",
				    "index.sparse=false",
				    "-c",
				    "index.skipHash=false",
				    "update-index",
				    "--index-version",
				    "2",
				    "--force-write-index",
				    NULL};
	autostr struct str output = STR_INIT;

	if (!copy)
		return error_errno(err, "cannot name the layer's directory");
	if (fd < 0)
		return errno == ENOENT ? 1 : error_errno(err, "cannot read %s", path);
	if (file_copy_at(fd, git, "index", err) < 0)
		return -1;
	return git_run(&place, args, &output, err);
}

static int copy_carried(struct copying *copying, const char *path, struct error *err)
{
	autofd int made = -1;

	return str_ends(path, "/") ? dir_make_path_at(copying->to, path, 0755, &made, err)
				   : copy_file(copying, path, err);
}

int module_copy(const struct module *module, const struct timespec *since, bool sha256, int tree,
		int git, struct error *err)
{
	__attribute__((cleanup(copying_release))) struct copying copying = {
		.module = module,
		.since = since,
		.from = open(module->repository.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.to = tree,
		.from_parent = -1,
		.to_parent = -1,
	};

	if (copying.from < 0)
		return error_errno(err, "cannot open %s", module->repository.top);
	int result = copy_index(module, git, err);

	if (result < 0 ||
	    (result == 0 && index_rewrite(git, "index", sha256, decide, &copying, err) < 0))
		return -1;
	for (size_t i = 0; i < module->copied.len; i++)
		if (copy_carried(&copying, module->copied.items[i], err) < 0)
			return -1;
	return 0;
}
