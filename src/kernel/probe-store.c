#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "kernel/probe-internal.h"

int probe_open_nearest(const char *path, int *ret_fd, char **ret_path, struct error *err)
{
	autofree char *at = xstrdup(path);

	for (;;) {
		int fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0) {
			*ret_fd = fd;
			*ret_path = steal_ptr(&at);
			return 0;
		}
		if (errno != ENOENT || !strcmp(at, "/") || !strcmp(at, "."))
			return error_errno(err, "cannot open %s", at);
		char *slash = strrchr(at, '/');

		if (!slash)
			memcpy(at, ".", 2);
		else
			slash[slash == at] = '\0';
	}
}

/* Two files, one made of the blocks of the other. */
static int try_reflink(int dir, struct error *err)
{
	static const char bytes[] = "blocks to be shared";
	autofd int from = open_beneath(dir, "from", O_RDWR | O_CREAT | O_EXCL, 0600);
	autofd int to = open_beneath(dir, "to", O_RDWR | O_CREAT | O_EXCL, 0600);

	if (from < 0 || to < 0 || write_all(from, bytes, sizeof bytes) < 0)
		return error_errno(err, "cannot make a file");
	if (ioctl(to, FICLONE, from) < 0)
		return error_errno(err, "cannot share blocks");
	return 0;
}

int probe_reflink_in(int dirfd, struct error *err)
{
	autofree char *name = NULL;
	autofd int dir = -1;

	if (probe_dir_make(dirfd, &name, &dir, err) < 0)
		return -1;
	int result = try_reflink(dir, err);

	probe_dir_remove(dirfd, name);
	return result;
}

static bool is_fanout(const char *name)
{
	return strlen(name) == 2 && strspn(name, "0123456789abcdef") == 2;
}

/* The first regular file in a directory, or NULL. */
static char *first_file(int dirfd, const char *name)
{
	const struct dirent *entry;
	struct stat st;
	int fd = open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		fd_close(&fd);
		return NULL;
	}
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' &&
		    fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			return xasprintf("%s/%s", name, entry->d_name);
	return NULL;
}

static char *find_object(int objects)
{
	char *found = first_file(objects, "pack");
	const struct dirent *entry;
	int fd = open_beneath(objects, ".", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir) {
		fd_close(&fd);
		return found;
	}
	while (!found && (entry = readdir(dir)))
		if (is_fanout(entry->d_name))
			found = first_file(objects, entry->d_name);
	return found;
}

int probe_link_into(const char *objects, int dirfd, struct error *err)
{
	autofd int from = open(objects, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofd int dir = -1;
	autofree char *name = NULL;
	struct stat here, there;

	if (from < 0 || fstat(from, &here) < 0 || fstat(dirfd, &there) < 0)
		return error_errno(err, "cannot open %s", objects);
	autofree char *object = find_object(from);

	if (!object) {
		if (here.st_dev != there.st_dev)
			return error_set(err, ERR_FILESYSTEM, "%s is on another file system",
					 objects);
		return 1;
	}
	/* The device number alone does not tell: btrfs subvolumes, bind mounts. */
	if (probe_dir_make(dirfd, &name, &dir, err) < 0)
		return -1;
	int result = linkat(from, object, dir, "object", 0);

	if (result < 0 && errno == EXDEV)
		error_set(err, ERR_FILESYSTEM, "%s is on another file system", objects);
	else if (result < 0 && errno == EPERM)
		error_set(err, ERR_PERMISSION,
			  "objects in %s belong to somebody else (fs.protected_hardlinks)",
			  objects);
	else if (result < 0)
		error_errno(err, "cannot link from %s", objects);
	probe_dir_remove(dirfd, name);
	return result;
}
