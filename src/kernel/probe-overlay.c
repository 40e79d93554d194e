#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "kernel/probe-internal.h"

/* ---- file systems ---- */

static const char network[] = "a network file system cannot";
static const char no_xattrs[] = "it has no user extended attributes";
static const char no_files[] = "it does not hold ordinary files";
static const char read_only[] = "it is read-only";

static const struct {
	uint64_t type;
	const char *name;
	const char *objection;
} filesystems[] = {
	{EXT4_SUPER_MAGIC, "ext4", NULL},
	{0x58465342, "xfs", NULL},
	{BTRFS_SUPER_MAGIC, "btrfs", NULL},
	{F2FS_SUPER_MAGIC, "f2fs", NULL},
	{0xca451a4e, "bcachefs", NULL},
	{0x2fc12fc1, "zfs", "this version of zfs lacks what overlayfs needs"},
	{TMPFS_MAGIC, "tmpfs", "this kernel's tmpfs has no user extended attributes"},
	{OVERLAYFS_SUPER_MAGIC, "overlayfs", "an overlay cannot be the upper of another overlay"},
	{NFS_SUPER_MAGIC, "nfs", network},
	{SMB_SUPER_MAGIC, "smb", network},
	{CIFS_SUPER_MAGIC, "cifs", network},
	{SMB2_SUPER_MAGIC, "smb2", network},
	{CEPH_SUPER_MAGIC, "ceph", network},
	{AFS_SUPER_MAGIC, "afs", network},
	{AFS_FS_MAGIC, "afs", network},
	{CODA_SUPER_MAGIC, "coda", network},
	{V9FS_MAGIC, "9p", network},
	{FUSE_SUPER_MAGIC, "fuse", "a FUSE file system (virtiofs too) cannot"},
	{0x786f4256, "vboxsf", "a folder shared with the host of a virtual machine cannot"},
	{MSDOS_SUPER_MAGIC, "vfat", no_xattrs},
	{EXFAT_SUPER_MAGIC, "exfat", no_xattrs},
	{0x5346544e, "ntfs", no_xattrs},
	{0x7366746e, "ntfs3", "it lacks what overlayfs needs"},
	{HPFS_SUPER_MAGIC, "hpfs", no_xattrs},
	{MINIX3_SUPER_MAGIC, "minix", no_xattrs},
	{RAMFS_MAGIC, "ramfs", no_xattrs},
	{HUGETLBFS_MAGIC, "hugetlbfs", no_xattrs},
	{ECRYPTFS_SUPER_MAGIC, "ecryptfs", "an encrypting layer cannot be an upper"},
	{ISOFS_SUPER_MAGIC, "iso9660", read_only},
	{SQUASHFS_MAGIC, "squashfs", read_only},
	{EROFS_SUPER_MAGIC_V1, "erofs", read_only},
	{CRAMFS_MAGIC, "cramfs", read_only},
	{PROC_SUPER_MAGIC, "proc", no_files},
	{SYSFS_MAGIC, "sysfs", no_files},
	{CGROUP_SUPER_MAGIC, "cgroup", no_files},
	{CGROUP2_SUPER_MAGIC, "cgroup2", no_files},
	{DEVPTS_SUPER_MAGIC, "devpts", no_files},
	{DEBUGFS_MAGIC, "debugfs", no_files},
	{SECURITYFS_MAGIC, "securityfs", no_files},
};

const char *probe_filesystem_objection(uint64_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(filesystems); i++)
		if (filesystems[i].type == type)
			return filesystems[i].objection;
	return NULL;
}

char *probe_filesystem_type_name(uint64_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(filesystems); i++)
		if (filesystems[i].type == type)
			return xstrdup(filesystems[i].name);
	return xasprintf("unknown file system 0x%llx", (unsigned long long)type);
}

static uint64_t filesystem_type(int fd)
{
	struct statfs fs;

	/* Some magic numbers have bit 31 set, which a signed f_type extends. */
	return fstatfs(fd, &fs) < 0 ? 0 : (uint32_t)fs.f_type;
}

char *probe_filesystem_name(int fd)
{
	return probe_filesystem_type_name(filesystem_type(fd));
}

/* ---- the try, in a child ---- */

enum {
	OVERLAY_MOUNT = NAMESPACE_STEPS,
	OVERLAY_TYPES,
	OVERLAY_UNLINK,
	OVERLAY_OPAQUE,
	OVERLAY_INODE,
};

static struct probe_result failed_at(int step)
{
	return (struct probe_result){.step = step, .number = errno};
}

/* Finds an entry by reading the directory, not by looking it up. 0 no, 1 yes, -1. */
static int listed(const char *path, const char *name, unsigned char *ret_type)
{
	const struct dirent *entry;
	autodir DIR *dir = opendir(path);

	if (!dir)
		return -1;
	while ((errno = 0, entry = readdir(dir)))
		if (!strcmp(entry->d_name, name)) {
			*ret_type = entry->d_type;
			return 1;
		}
	return errno ? -1 : 0;
}

/* What should not have happened gets an errno that the message can tell. */
static struct probe_result wrong_at(int step, int result)
{
	if (result >= 0)
		errno = 0;
	return failed_at(step);
}

static struct probe_result try_operations(void)
{
	unsigned char type = DT_UNKNOWN;
	struct stat before, after;
	char opaque = 0;

	int found = listed(".", "lower", &type);
	if (found != 1 || type != DT_DIR)
		return wrong_at(OVERLAY_TYPES, found);
	found = listed("merged", "removed", &type);
	if (found != 1 || type != DT_REG)
		return wrong_at(OVERLAY_TYPES, found);

	if (unlink("merged/removed") < 0)
		return failed_at(OVERLAY_UNLINK);
	found = listed("merged", "removed", &type);
	if (found != 0)
		return wrong_at(OVERLAY_UNLINK, found);

	if (unlink("merged/dir/file") < 0 || rmdir("merged/dir") < 0 ||
	    mkdir("merged/dir", 0700) < 0)
		return failed_at(OVERLAY_OPAQUE);
	found = listed("merged/dir", "file", &type);
	/* On disk too, not only in what the kernel has cached. */
	if (found != 0 || getxattr("upper/dir", "user.overlay.opaque", &opaque, 1) != 1 ||
	    opaque != 'y')
		return wrong_at(OVERLAY_OPAQUE, found);

	if (stat("merged/changed", &before) < 0)
		return failed_at(OVERLAY_INODE);
	autofd int fd = open("merged/changed", O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd < 0 || write_all(fd, "x", 1) < 0 || stat("merged/changed", &after) < 0)
		return failed_at(OVERLAY_INODE);
	if (before.st_ino != after.st_ino || after.st_size != before.st_size + 1)
		return wrong_at(OVERLAY_INODE, 0);
	return (struct probe_result){0};
}

static struct probe_result try_overlay(void *data)
{
	int dir = *(int *)data;
	struct probe_result result;

	/*
	 * The working directory, unlike an open file, moves into the new mount namespace, and
	 * only what is in it can be mounted. It also makes every path here relative and so free
	 * of the characters that separate mount options.
	 */
	if (fchdir(dir) < 0)
		return failed_at(OVERLAY_MOUNT);
	result = probe_enter_user_namespace();
	if (result.step)
		return result;
	if (unshare(CLONE_NEWNS) < 0)
		return failed_at(NAMESPACE_OTHERS);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return failed_at(NAMESPACE_MOUNT);
	/* When not even this can be mounted, then it is not for overlayfs. */
	if (mount("tmpfs", "merged", "tmpfs", 0, NULL) < 0)
		return failed_at(NAMESPACE_MOUNT);
	if (umount2("merged", MNT_DETACH) < 0)
		return failed_at(NAMESPACE_MOUNT);
	if (mount("overlay", "merged", "overlay", 0,
		  "lowerdir=lower,upperdir=upper,workdir=work,userxattr") < 0)
		return failed_at(OVERLAY_MOUNT);
	return try_operations();
}

/* ---- around it ---- */

static int make_file(int dir, const char *name)
{
	autofd int fd = open_beneath(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);

	return fd < 0 ? -1 : write_all(fd, "x", 1);
}

static int prepare(int dir)
{
	static const char *const dirs[] = {"lower", "lower/dir", "upper", "work", "merged"};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdirat(dir, dirs[i], 0700) < 0)
			return -1;
	if (make_file(dir, "lower/removed") < 0 || make_file(dir, "lower/changed") < 0)
		return -1;
	return make_file(dir, "lower/dir/file");
}

/* The directory is at fault: which file system, why, and where to go. */
static int refuse(int dirfd, const char *why, struct error *err)
{
	autofree char *name = probe_filesystem_name(dirfd);
	const char *objection = probe_filesystem_objection(filesystem_type(dirfd));

	error_set(err, ERR_FILESYSTEM,
		  "this file system (%s) cannot hold the changes of a sandbox: %s", name,
		  objection ? objection : why);
	return error_hint(err, "set JIB_ROOT to a directory on ext4, xfs or btrfs");
}

static const char *step_text(int step)
{
	switch (step) {
	case OVERLAY_TYPES:
		return "it does not tell the types of directory entries";
	case OVERLAY_UNLINK:
		return "what is removed in the overlay does not stay removed";
	case OVERLAY_OPAQUE:
		return "a directory that is removed and made again is not empty";
	case OVERLAY_INODE:
		return "a file changes its inode number when it is written to";
	default:
		return "overlayfs refuses it";
	}
}

static int explain(int dirfd, const struct probe_result *result, struct error *err)
{
	struct namespace_facts facts;
	autofree char *found = NULL;
	autofree char *remedy = NULL;

	if (result->step < NAMESPACE_STEPS) {
		probe_namespace_settings(&facts);
		facts.result = *result;
		probe_explain_namespaces(&facts, &found, &remedy);
		error_set(err, ERR_UNSUPPORTED, "%s", found);
		return error_hint(err, "%s", remedy);
	}
	if (result->step == OVERLAY_MOUNT && result->number == ENODEV) {
		error_set(err, ERR_UNSUPPORTED, "the kernel has no overlayfs");
		return error_hint(err, "sudo modprobe overlay");
	}
	if (result->step == OVERLAY_MOUNT && result->number == EPERM) {
		error_set(err, ERR_UNSUPPORTED,
			  "the kernel does not let a user namespace mount overlayfs");
		return error_hint(err, "boot a newer kernel (Linux 5.11 was the first that could)");
	}
	autofree char *why = result->number ? xasprintf("%s (%s)", step_text(result->step),
							strerror(result->number))
					    : xstrdup(step_text(result->step));

	return refuse(dirfd, why, err);
}

static int try_in(int dirfd, int dir, struct error *err)
{
	struct probe_result result;

	if (fsetxattr(dir, "user.jib.probe", "y", 1, 0) < 0 && errno == EOPNOTSUPP)
		return refuse(dirfd, no_xattrs, err);
	if (prepare(dir) < 0)
		return error_errno(err, "cannot make files to try an overlay with");
	if (probe_in_child(try_overlay, &dir, &result, err) < 0)
		return error_wrap(err, "cannot try an overlay");
	return result.step ? explain(dirfd, &result, err) : 0;
}

int probe_overlay_in(int dirfd, struct error *err)
{
	autofree char *name = NULL;
	autofd int dir = -1;
	autoerror struct error why = ERROR_INIT;

	if (probe_dir_make(dirfd, &name, &dir, &why) < 0) {
		const char *objection = probe_filesystem_objection(filesystem_type(dirfd));

		/* proc says ENOENT to mkdir(2), others EPERM: name what it is instead. */
		if (objection && why.number != ENOSPC && why.number != EACCES &&
		    why.number != EDQUOT)
			return refuse(dirfd, objection, err);
		if (why.number == EACCES || why.number == EPERM)
			return error_set(err, ERR_PERMISSION, "%s", why.message);
		errno = why.number;
		return why.number ? error_errno(err, "cannot make a directory")
				  : error_set(err, why.code, "%s", why.message);
	}
	int result = try_in(dirfd, dir, err);

	probe_dir_remove(dirfd, name);
	return result;
}
