#include "guest/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/memory.h"

void place_release(struct place *place)
{
	fd_close(&place->parent);
	free(place->name);
	free(place->spelled);
	*place = (struct place)PLACE_INIT;
}

/* Page by page: what comes after the string may not be mapped. */
char *place_read(pid_t tid, uint64_t address)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), length = 0;
	autofree char *text = xcalloc(1, PATH_MAX);

	while (length < PATH_MAX) {
		uint64_t from = address + length;
		size_t wanted = page - from % page;

		if (wanted > PATH_MAX - length)
			wanted = PATH_MAX - length;
		struct iovec local = {text + length, wanted};
		struct iovec remote = {(void *)(uintptr_t)from, wanted};

		if (process_vm_readv(tid, &local, 1, &remote, 1, 0) != (ssize_t)wanted)
			return NULL;
		if (memchr(text + length, '\0', wanted))
			return steal_ptr(&text);
		length += wanted;
	}
	errno = ENAMETOOLONG;
	return NULL;
}

/* Where a relative path of the thread begins. */
static char *base_of(pid_t tid, int dirfd)
{
	return dirfd == AT_FDCWD ? xasprintf("/proc/%d/cwd", tid)
				 : xasprintf("/proc/%d/fd/%d", tid, dirfd);
}

char *place_locate(pid_t tid, int dirfd, const char *path)
{
	if (path[0] == '/')
		return xstrdup(path);
	autofree char *base = base_of(tid, dirfd);

	return xasprintf("%s/%s", base, path);
}

bool place_split(const char *path, char **ret_parent, struct place *ret)
{
	size_t end = strlen(path), start;

	while (end && path[end - 1] == '/')
		end--;
	for (start = end; start && path[start - 1] != '/';)
		start--;
	autofree char *name = xstrndup(path + start, end - start);

	if (!name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	*ret_parent = start ? xstrndup(path, start) : xstrdup(".");
	*ret = (struct place){.parent = -1, .spelled = xstrdup(path + start)};
	ret->name = steal_ptr(&name);
	return true;
}

int place_open(pid_t tid, int dirfd, const char *path, struct place *ret)
{
	/* /proc/self and what is below it are ours here, and were meant to be those of the other. */
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_MAGICLINKS,
	};
	autoplace struct place place = PLACE_INIT;
	autofree char *parent = NULL;
	autofd int base = -1;

	if (!place_split(path, &parent, &place)) {
		errno = EINVAL;
		return -1;
	}
	if (path[0] != '/') {
		autofree char *where = base_of(tid, dirfd);

		base = open(where, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (base < 0)
			return -1;
	}
	place.parent = (int)syscall(SYS_openat2, base, parent, &how, sizeof how);
	if (place.parent < 0)
		return -1;
	*ret = place;
	place = (struct place)PLACE_INIT;
	return 0;
}

static bool is_overlay(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC;
}

bool place_is_carried(int parent, const char *name)
{
	struct statx st;

	if (statx(parent, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st) < 0 ||
	    !(st.stx_attributes & STATX_ATTR_MOUNT_ROOT) || !S_ISDIR(st.stx_mode) ||
	    strcmp(name, ".git") == 0 || !is_overlay(parent))
		return false;
	autofd int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && is_overlay(fd) && faccessat(fd, ".git", F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
	       faccessat(fd, "HEAD", F_OK, AT_SYMLINK_NOFOLLOW) < 0;
}

bool place_same_overlay(int one, int other)
{
	struct statx a, b;

	return statx(one, "", AT_EMPTY_PATH, STATX_MNT_ID, &a) == 0 &&
	       statx(other, "", AT_EMPTY_PATH, STATX_MNT_ID, &b) == 0 &&
	       a.stx_mask & STATX_MNT_ID && a.stx_mnt_id == b.stx_mnt_id && is_overlay(one);
}
