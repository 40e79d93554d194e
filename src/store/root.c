#include "store/root.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"

static const char proven_mark[] = "user.jib.upper";

int root_path(char **ret, struct error *err)
{
	const char *root = getenv("JIB_ROOT");
	const char *home = getenv("HOME");

	if (root && *root) {
		if (root[0] != '/')
			return error_set(err, ERR_CONFIG,
					 "JIB_ROOT is \"%s\", not an absolute path", root);
		*ret = xstrdup(root);
		return 0;
	}
	if (!home || home[0] != '/') {
		error_set(err, ERR_CONFIG, "neither JIB_ROOT nor HOME names a directory");
		return error_hint(err, "set JIB_ROOT to a directory on ext4, xfs or btrfs");
	}
	*ret = xasprintf("%s/.jib-overlays", home);
	return 0;
}

/*
 * Whether a directory that was there before is a root, or can become one. Any other holds what is
 * not jib's: it must not be made private, and what is in it must not be taken for sandboxes.
 */
static int check_contents(int fd, const char *path, struct error *err)
{
	static const char *const ours[] = {".", "..", ".layers", ".tmp", "lost+found"};
	const struct dirent *entry;

	if (faccessat(fd, ".layers", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	int again = open_beneath(fd, ".", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = again < 0 ? NULL : fdopendir(again);

	if (!dir)
		return error_errno(err, "cannot read %s", path);
	while ((entry = readdir(dir))) {
		bool known = false;

		/* Another first command may be making its own at this moment. */
		for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
			known = known || strcmp(entry->d_name, ours[i]) == 0;
		if (known)
			continue;
		error_set(err, ERR_CONFIG, "%s holds other things than sandboxes", path);
		return error_hint(err, "set JIB_ROOT to a new or empty directory");
	}
	return 0;
}

/* 1 when there is none and `create` is false. */
static int open_root_directory(const char *path, bool create, int *ret, struct error *err)
{
	struct stat st;

	if (create && mkdir(path, 0700) < 0 && errno != EEXIST) {
		error_errno(err, "cannot create %s", path);
		return error_hint(err, "set JIB_ROOT to a directory that you can write");
	}
	autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && !create)
		return 1;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "cannot open %s", path);
	if (st.st_uid != geteuid()) {
		error_set(err, ERR_PERMISSION, "%s belongs to somebody else", path);
		return error_hint(err, "set JIB_ROOT to a directory of your own");
	}
	if (check_contents(fd, path, err) < 0)
		return -1;
	/* Empty, and whoever asks for a list has not given it to jib. */
	if (!create && faccessat(fd, ".layers", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 1;
	/* Sandboxes hold setuid files of their own making: nobody else may reach them (T14). */
	if (st.st_mode & 0077 && fchmod(fd, 0700) < 0)
		return error_errno(err, "cannot make %s private (mode 0700)", path);
	*ret = steal_fd(&fd);
	return 0;
}

static int prove_once(const struct root *root, root_prove *prove, struct error *err)
{
	char mark;

	if (fgetxattr(root->fd, proven_mark, &mark, sizeof mark) == 1)
		return 0;
	if (prove(root->temp, err) < 0)
		return error_wrap(err, "%s cannot hold sandboxes", root->path);
	if (fsetxattr(root->fd, proven_mark, "1", 1, 0) < 0)
		return error_errno(err, "cannot mark %s as proven", root->path);
	return 0;
}

static int open_any(bool create, root_prove *prove, struct root *ret, struct error *err)
{
	autoroot struct root root = ROOT_INIT;

	if (root_path(&root.path, err) < 0)
		return -1;
	int missing = open_root_directory(root.path, create, &root.fd, err);

	if (missing < 0)
		return -1;
	if (missing) {
		*ret = root;
		root = (struct root)ROOT_INIT;
		return 0;
	}
	if (dir_make_at(root.fd, ".layers", 0700, &root.layers, err) < 0 ||
	    dir_make_at(root.fd, ".tmp", 0700, &root.temp, err) < 0)
		return error_wrap(err, "%s", root.path);
	root_sweep(&root);
	if (prove && prove_once(&root, prove, err) < 0)
		return -1;
	*ret = root;
	root = (struct root)ROOT_INIT;
	return 0;
}

int root_open(root_prove *prove, struct root *ret, struct error *err)
{
	return open_any(true, prove, ret, err);
}

int root_open_existing(struct root *ret, struct error *err)
{
	return open_any(false, NULL, ret, err);
}

int root_reopen(const struct root *root, struct root *ret, struct error *err)
{
	autoroot struct root again = ROOT_INIT;
	struct stat before, after;

	again.path = xstrdup(root->path);
	again.fd = open(root->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (again.fd < 0 || fstat(again.fd, &after) < 0 || fstat(root->fd, &before) < 0)
		return error_errno(err, "cannot open %s", root->path);
	if (before.st_dev != after.st_dev || before.st_ino != after.st_ino)
		return error_set(err, ERR_CORRUPT, "%s was replaced meanwhile", root->path);
	if (dir_make_at(again.fd, ".layers", 0700, &again.layers, err) < 0 ||
	    dir_make_at(again.fd, ".tmp", 0700, &again.temp, err) < 0)
		return error_wrap(err, "%s", root->path);
	*ret = again;
	again = (struct root)ROOT_INIT;
	return 0;
}

void root_close(struct root *root)
{
	free(root->path);
	fd_close(&root->fd);
	fd_close(&root->layers);
	fd_close(&root->temp);
	*root = (struct root)ROOT_INIT;
}

static char *temp_name(const char *prefix)
{
	uint64_t random;

	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		abort(); /* cannot happen for so few bytes (getrandom(2)) */
	return xasprintf("%s-%016llx", prefix, (unsigned long long)random);
}

int root_make_temp(const struct root *root, const char *prefix, char **ret_name, int *ret_fd,
		   struct error *err)
{
	for (int tries = 0; tries < 100; tries++) {
		autofree char *name = temp_name(prefix);

		if (mkdirat(root->temp, name, 0700) < 0)
			return error_errno(err, "cannot create a directory in %s/.tmp", root->path);
		autofd int fd = open_beneath(root->temp, name, O_RDONLY | O_DIRECTORY, 0);
		/* Between mkdir and lock a sweeper may have taken it for a leftover. */
		int held = fd >= 0 ? lock_directory_try(fd, err) : 1;

		if (held < 0)
			return -1;
		if (held == 0 && lock_still_named(root->temp, name, fd)) {
			*ret_name = steal_ptr(&name);
			*ret_fd = steal_fd(&fd);
			return 0;
		}
	}
	return error_set(err, ERR_SYSTEM, "cannot keep a directory in %s/.tmp", root->path);
}

int root_discard(const struct root *root, int dirfd, const char *name, struct error *err)
{
	autofree char *grave = temp_name("gone");
	autofd int held = open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0);

	if (held >= 0 && lock_directory_try(held, err) < 0)
		return -1;
	if (syscall(SYS_renameat2, dirfd, name, root->temp, grave, RENAME_NOREPLACE) < 0) {
		if (errno == ENOENT)
			return 0;
		return error_errno(err, "cannot remove %s", name);
	}
	return tree_remove_at(root->temp, grave, err);
}

/* A lock that needs no file: on a full disk layers have to be removed, too. */
int root_lock_collecting(const struct root *root, int *ret_fd, struct error *err)
{
	autofd int fd = open_beneath(root->layers, ".", O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0 || lock_directory_wait(fd, err) < 0)
		return error_errno(err, "cannot lock %s/.layers", root->path);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/*
 * Whoever makes or removes something here, and whoever holds a named lock, holds its lock. The
 * lock that is taken to find out is kept in *ret_fd while what is abandoned is removed.
 */
static bool claim_abandoned(const struct root *root, const char *name, int *ret_fd)
{
	autoerror struct error ignored = ERROR_INIT;

	*ret_fd = open_beneath(root->temp, name, O_RDWR | O_NONBLOCK, 0);
	int busy = *ret_fd >= 0 ? lock_try(*ret_fd, &ignored) : 0;

	/*
	 * Only what certainly is no lock is taken without one: a link or a socket, or a directory
	 * that was closed. A name that is gone may be a newcomer's lock at the next look.
	 */
	if (*ret_fd < 0 && errno != EISDIR)
		return errno == ELOOP || errno == ENXIO;
	if (*ret_fd < 0) {
		*ret_fd = open_beneath(root->temp, name, O_RDONLY | O_DIRECTORY, 0);
		if (*ret_fd < 0)
			return errno == EACCES;
		busy = lock_directory_try(*ret_fd, &ignored);
	}
	/* The name may be a newcomer's by now, whose lock is another. */
	return busy == 0 && lock_still_named(root->temp, name, *ret_fd);
}

void root_sweep(const struct root *root)
{
	int fd = open_beneath(root->temp, ".", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		autoerror struct error ignored = ERROR_INIT;
		autofd int held = -1;

		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    claim_abandoned(root, entry->d_name, &held))
			tree_remove_at(root->temp, entry->d_name, &ignored);
	}
}
