#include "kernel/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "kernel/proc.h"

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

int mount_empty(int target, struct error *err)
{
	if (mount("tmpfs", fd_path(target).s, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
		  "mode=0755") < 0)
		return error_errno(err, "cannot mount an empty directory");
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

void mountinfo_unescape(char *s)
{
	char *to = s;

	for (; *s; s++, to++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to = *s;
		}
	}
	*to = '\0';
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
	char *target = xstrndup(at, strcspn(at, " "));

	mountinfo_unescape(target);
	return target;
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

int mount_find_within(const char *path, char **ret_target, struct error *err)
{
	autostr struct str text = STR_INIT;

	if (read_mountinfo(&text, err) < 0)
		return -1;
	for (const char *at = text.s; at && *at; at += strcspn(at, "\n"), at += *at == '\n') {
		autofree char *target = target_of_line(text.s, at);

		if (!path_within(target, path))
			continue;
		*ret_target = steal_ptr(&target);
		return 0;
	}
	return 1;
}

/* The mount that an open file lies on, as the first field of mountinfo names it; -1: unknown. */
static long mount_id(int fd)
{
	static const char key[] = "mnt_id:";
	autofree char *path = xasprintf("/proc/self/fdinfo/%d", fd);
	autostr struct str text = STR_INIT;

	if (proc_read(path, 4096, &text, NULL) < 0)
		return -1;
	const char *found = text.s ? strstr(text.s, key) : NULL;

	return found ? strtol(found + strlen(key), NULL, 10) : -1;
}

static bool is_of_kernel(const char *type)
{
	static const char *const types[] = {
		"proc",	   "sysfs",	  "cgroup",    "cgroup2",  "cpuset", "debugfs",
		"tracefs", "securityfs",  "selinuxfs", "smackfs",  "bpf",    "configfs",
		"fusectl", "devpts",	  "devtmpfs",  "efivarfs", "pstore", "mqueue",
		"nfsd",	   "binfmt_misc", "resctrl",
	};
	size_t len = strcspn(type, " ");

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (len == strlen(types[i]) && memcmp(type, types[i], len) == 0)
			return true;
	return false;
}

int mount_list_kernel(const char *path, int fd, struct strv *ret, struct error *err)
{
	autostr struct str text = STR_INIT;
	long id = fd < 0 ? -1 : mount_id(fd);

	if (fd >= 0 && id < 0)
		return error_set(err, ERR_UNSUPPORTED, "cannot tell on which mount %s lies", path);
	if (read_mountinfo(&text, err) < 0)
		return -1;
	/* The first " - " of a line ends its optional fields; blanks in names are escaped. */
	for (const char *at = text.s; (at = strstr(at, " - ")); at += strcspn(at, "\n")) {
		const char *line = at;

		if (!is_of_kernel(at + strlen(" - ")))
			continue;
		while (line > text.s && line[-1] != '\n')
			line--;
		autofree char *target = target_of_line(text.s, at);

		if (path_within(target, path) || (id >= 0 && strtol(line, NULL, 10) == id))
			strv_add(ret, target);
	}
	return 0;
}

/* What is mounted by others may lack the flags that all of jib's mounts have. */
static int make_harmless(int mount)
{
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
	struct statvfs st;

	if (syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attributes, sizeof attributes) ==
	    0)
		return 0;
	/* Before mount_setattr(2), Linux 5.12, one that has them will do. */
	if (is_missing(errno) && fstatvfs(mount, &st) == 0 && st.f_flag & ST_NOSUID &&
	    st.f_flag & ST_NODEV)
		return 0;
	return -1;
}

static int clone_mount(int file, int *ret, struct error *err)
{
	*ret = (int)syscall(SYS_open_tree, file, "",
			    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	return *ret < 0 ? error_errno(err, "cannot copy a mount") : 0;
}

int mount_clone(int directory, int *ret_mount, struct error *err)
{
	autofd int fd = -1;

	if (clone_mount(directory, &fd, err) < 0)
		return -1;
	if (make_harmless(fd) < 0)
		return error_errno(err, "cannot make a mount nosuid and nodev");
	*ret_mount = steal_fd(&fd);
	return 0;
}

int mount_clone_read_only(int file, int *ret_mount, struct error *err)
{
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
						    MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
	autofd int fd = -1;

	if (clone_mount(file, &fd, err) < 0)
		return -1;
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0)
		return error_errno(err, "cannot make a mount read-only");
	*ret_mount = steal_fd(&fd);
	return 0;
}

/* The line of mountinfo for a mount, by the number that begins it; NULL when there is none. */
static const char *line_of_mount(const char *text, long id)
{
	while (text && *text) {
		if (strtol(text, NULL, 10) == id)
			return text;
		text = strchr(text, '\n');
		text += text != NULL;
	}
	return NULL;
}

int mount_check_overlay(int proc, int directory, const char *source, struct error *err)
{
	enum { MOUNTINFO_MAX = 64 << 20, FDINFO_MAX = 1 << 16 };
	static const char key[] = "mnt_id:";
	autofree char *info_path = xasprintf("self/fdinfo/%d", directory);
	autofree char *wanted = xasprintf(" - overlay %s ", source);
	autostr struct str info = STR_INIT, mounts = STR_INIT;
	/* Not open_beneath(): "self" is a link. */
	autofd int info_fd = openat(proc, info_path, O_RDONLY | O_CLOEXEC);
	autofd int mounts_fd = openat(proc, "self/mountinfo", O_RDONLY | O_CLOEXEC);

	if (info_fd < 0 || mounts_fd < 0)
		return error_errno(err, "cannot read about mounts");
	if (read_all(info_fd, FDINFO_MAX, &info, err) < 0 ||
	    read_all(mounts_fd, MOUNTINFO_MAX, &mounts, err) < 0)
		return error_wrap(err, "cannot read about mounts");
	const char *id = strstr(info.s, key);
	const char *line = id ? line_of_mount(mounts.s, strtol(id + strlen(key), NULL, 10)) : NULL;
	const char *found = line ? strstr(line, wanted) : NULL;

	if (!found || found > line + strcspn(line, "\n"))
		return error_set(err, ERR_CORRUPT, "it is not a view of the sandbox");
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
