#include "kernel/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"

/* Of <sys/mount.h>, which cannot be included beside <linux/mount.h> in glibc 2.36. */
int mount(const char *source, const char *target, const char *type, unsigned long flags,
	  const void *data);
int umount2(const char *target, int flags);

enum { DETACH = 2 /* MNT_DETACH */, NO_FOLLOW = 8 /* UMOUNT_NOFOLLOW */ };

int mount_make_private(struct error *err)
{
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_errno(err, "cannot make mounts private");
	return 0;
}

static bool is_missing(int number)
{
	return number == ENOSYS || number == EOPNOTSUPP;
}

/* The way before mount_setattr(2), Linux 5.12: one mount, then its flags. */
static int bind_old(int source, int target, unsigned long flags)
{
	struct fd_path from = fd_path(source), to = fd_path(target);

	if (mount(from.s, to.s, NULL, MS_BIND, NULL) < 0)
		return -1;
	/* The target fd still means the directory below: reach the mount through its path. */
	autofree char *path = realpath(to.s, NULL);

	if (!path)
		return -1;
	return mount("none", path, NULL, MS_REMOUNT | MS_BIND | flags, NULL);
}

int mount_bind(int source, int target, unsigned int flags, struct error *err)
{
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID};
	unsigned int recursive = flags & BIND_RECURSIVE ? AT_RECURSIVE : 0;
	unsigned long old_flags = MS_NOSUID;

	if (flags & BIND_READ_ONLY) {
		attributes.attr_set |= MOUNT_ATTR_RDONLY;
		old_flags |= MS_RDONLY;
	}
	if (flags & BIND_NO_DEVICES) {
		attributes.attr_set |= MOUNT_ATTR_NODEV;
		old_flags |= MS_NODEV;
	}
	if (flags & BIND_NO_EXEC) {
		attributes.attr_set |= MOUNT_ATTR_NOEXEC;
		old_flags |= MS_NOEXEC;
	}
	autofd int tree =
		(int)syscall(SYS_open_tree, source, "",
			     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive);

	if (tree >= 0 &&
	    syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | recursive, &attributes,
		    sizeof attributes) == 0 &&
	    syscall(SYS_move_mount, tree, "", target, "",
		    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0)
		return 0;
	if (!is_missing(errno) || bind_old(source, target, old_flags) < 0)
		return error_errno(err, "cannot bind");
	return 0;
}

int mount_tmpfs(int target, const char *options, struct error *err)
{
	if (mount("tmpfs", fd_path(target).s, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
		return error_errno(err, "cannot mount a tmpfs");
	return 0;
}

int mount_proc(int target, struct error *err)
{
	if (mount("proc", fd_path(target).s, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
		  NULL) == 0)
		return 0;
	error_errno(err, "cannot mount a new /proc");
	if (errno == EPERM)
		error_hint(err, "an outer container masks its /proc: start it with "
				"--security-opt systempaths=unconfined");
	return -1;
}

int mount_devpts(int target, struct error *err)
{
	if (mount("devpts", fd_path(target).s, "devpts", MS_NOSUID | MS_NOEXEC,
		  "newinstance,ptmxmode=0666,mode=0620") < 0)
		return error_errno(err, "cannot mount a devpts");
	return 0;
}

int mount_overlay(const struct overlay *overlay, int target, struct error *err)
{
	autostr struct str options = STR_INIT;

	str_add(&options, "userxattr,lowerdir=");
	for (size_t i = 0; i < overlay->lower_count; i++)
		str_addf(&options, "%s%s", i ? ":" : "", fd_path(overlay->lowers[i]).s);
	if (overlay->upper >= 0)
		str_addf(&options, ",upperdir=%s,workdir=%s%s", fd_path(overlay->upper).s,
			 fd_path(overlay->work).s, overlay->forgetful ? ",volatile" : "");
	if (options.len >= 4096)
		return error_set(err, ERR_UNSUPPORTED, "%zu layers are more than one mount takes",
				 overlay->lower_count);
	if (mount(overlay->source, fd_path(target).s, "overlay", MS_NOSUID | MS_NODEV, options.s) <
	    0) {
		error_errno(err, "cannot mount an overlay");
		return error_hint(err, "`jib doctor` tells what is missing");
	}
	return 0;
}

int mount_pivot(int root, struct error *err)
{
	/* pivot_root(".", "."): the new root is stacked on the old, which is then let go. */
	if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", DETACH) < 0 ||
	    chdir("/") < 0)
		return error_errno(err, "cannot change the root");
	return 0;
}

/* mountinfo writes space, tab, newline and backslash as \\ooo (proc(5)). */
static char *unescape(const char *text, size_t len)
{
	struct str plain = STR_INIT;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\\' && i + 3 < len && text[i + 1] >= '0' && text[i + 1] <= '3') {
			str_add_char(&plain,
				     (char)((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 |
					    (text[i + 3] - '0')));
			i += 3;
		} else {
			str_add_char(&plain, text[i]);
		}
	}
	return str_take(&plain);
}

static int read_mountinfo(struct str *ret, struct error *err)
{
	enum { MOUNTINFO_MAX = 64 << 20 };
	autofd int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, "cannot read /proc/self/mountinfo");
	if (read_all(fd, MOUNTINFO_MAX, ret, err) < 0)
		return error_wrap(err, "/proc/self/mountinfo");
	return 0;
}

/* The mount point in the line that holds `at` (proc(5), /proc/pid/mountinfo: the fifth field). */
static char *target_of_line(const char *text, const char *at)
{
	enum { TARGET_FIELD = 4 };

	while (at > text && at[-1] != '\n')
		at--;
	for (int i = 0; i < TARGET_FIELD; i++)
		at += strcspn(at, " ") + 1;
	return unescape(at, strcspn(at, " "));
}

int mount_find(const char *source, char **ret_target, struct error *err)
{
	autostr struct str text = STR_INIT;
	autofree char *wanted = xasprintf(" - overlay %s ", source);

	if (read_mountinfo(&text, err) < 0)
		return -1;
	const char *found = strstr(text.s, wanted);

	if (!found)
		return 1;
	*ret_target = target_of_line(text.s, found);
	return 0;
}

int mount_clone(int directory, int *ret_mount, struct error *err)
{
	int fd = (int)syscall(SYS_open_tree, directory, "",
			      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (fd < 0)
		return error_errno(err, "cannot copy a mount");
	*ret_mount = fd;
	return 0;
}

int mount_place(int mount, int target, struct error *err)
{
	if (syscall(SYS_move_mount, mount, "", target, "",
		    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return error_errno(err, "cannot attach a mount");
	return 0;
}

static bool is_at_or_below(const char *target, const char *path)
{
	size_t len = strlen(path);

	if (strncmp(target, path, len) != 0)
		return false;
	return !target[len] || (target[len] == '/' && !strchr(target + len + 1, '/'));
}

int mount_remove(const char *path, const char *prefix, struct error *err)
{
	autofree char *place = realpath(path, NULL);
	autofree char *wanted = xasprintf(" - overlay %s", prefix);
	autostr struct str text = STR_INIT;
	bool any = false;

	if (!place)
		return error_errno(err, "cannot unmount %s", path);
	if (read_mountinfo(&text, err) < 0)
		return -1;
	for (const char *at = text.s; (at = strstr(at, wanted)); at++) {
		autofree char *target = target_of_line(text.s, at);

		if (!is_at_or_below(target, place))
			continue;
		if (umount2(target, NO_FOLLOW) < 0)
			return error_errno(err, "cannot unmount %s", target);
		any = true;
	}
	if (!any)
		return error_set(err, ERR_NOT_FOUND, "no sandbox is mounted at %s", place);
	return 0;
}
