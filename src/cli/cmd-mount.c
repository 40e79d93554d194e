#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/packet.h"
#include "base/process.h"
#include "cli/commands.h"
#include "cli/create.h"
#include "cli/output.h"
#include "kernel/mounts.h"
#include "run/session.h"
#include "view/view.h"

static const struct option no_options[] = {{0, NULL, NULL, NULL}};

static int need_root(const char *what, struct error *err)
{
	if (geteuid() == 0)
		return 0;
	error_set(err, ERR_PERMISSION, "%s the host's file system needs root", what);
	return error_hint(err, "sudo JIB_ROOT=\"${JIB_ROOT:-$HOME/.jib-overlays}\" jib ...");
}

/*
 * The store may be another user's: everything in it is then touched as that user, so that no
 * file of root's appears there. What its records and its monitor say is that user's word: the
 * live directories of a record are refused, and a namespace that is not his is not entered.
 */
static int become_owner(struct error *err)
{
	autofree char *path = NULL;
	struct stat st;

	if (root_path(&path, err) < 0)
		return -1;
	if (stat(path, &st) < 0)
		return error_errno(err, "cannot open %s", path);
	/* Root's own groups would open what the owner may not. */
	if (setgroups(0, NULL) < 0 || setegid(st.st_gid) < 0 || seteuid(st.st_uid) < 0)
		return error_errno(err, "cannot act as the owner of %s", path);
	return 0;
}

static int become_root(struct error *err)
{
	if (seteuid(0) < 0 || setegid(0) < 0)
		return error_errno(err, "cannot act as root again");
	return 0;
}

static int open_target(const char *path, int *ret, struct error *err)
{
	autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 3));

	if (!dir)
		return error_errno(err, "cannot mount at %s", path);
	for (const struct dirent *entry; (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			return error_set(err, ERR_USAGE, "%s is not empty", path);
	*ret = steal_fd(&fd);
	return 0;
}

/* Where a repository goes: the directory itself, or one of its name below when there are more. */
static int repo_target(const struct sandbox *sandbox, const char *name, int target, int *ret,
		       struct error *err)
{
	if (sandbox->repo_count > 1)
		return dir_make_at(target, name, 0755, ret, err);
	*ret = fcntl(target, F_DUPFD_CLOEXEC, 3);
	return *ret < 0 ? error_errno(err, "cannot open the mount point") : 0;
}

/*
 * Where a live sandbox's directories are is written in the store: its owner could name one of
 * root's, and find it mounted.
 */
static int refuse_foreign_live(const struct sandbox *sandbox, struct error *err)
{
	bool live = sandbox->live;

	for (size_t i = 0; i < sandbox->repo_count; i++)
		live = live || sandbox->repos[i].live_git_dir;
	if (!live || geteuid() == 0)
		return 0;
	return error_set(err, ERR_PERMISSION,
			 "the sandbox is live, and its store belongs to another user");
}

/* Nothing runs: the layers and the upper are mounted here, while the lease is held. */
static int mount_resting(const struct root *root, const struct sandbox *sandbox, int target,
			 struct error *err)
{
	autoholds struct layer_holds layers = {0};
	autoview struct view view = VIEW_INIT;
	size_t repo = 0;

	if (refuse_foreign_live(sandbox, err) < 0 || refuse_mounted(sandbox, err) < 0 ||
	    sandbox_hold_layers(root, sandbox, &layers, err) < 0)
		return -1;
	view_tidy(sandbox);
	if (view_open(root, sandbox, false, &view, err) < 0 || become_root(err) < 0)
		return -1;
	/* The mark that it leaves would be root's, and its owner could not take it away. */
	view.forgetful = false;
	for (size_t i = 0; i < view.count; i++) {
		autofd int place = -1;

		if (view.mounts[i].kind != VIEW_TREE)
			continue;
		while (strcmp(sandbox->repos[repo].path, view.mounts[i].target) != 0)
			repo = (repo + 1) % sandbox->repo_count;
		if (repo_target(sandbox, sandbox->repos[repo].name, target, &place, err) < 0 ||
		    view_mount(&view, &view.mounts[i], place, -1, err) < 0)
			return -1;
	}
	return 0;
}

struct wanted {
	pid_t init; /* what the monitor says, which is a program of the owner's */
	uid_t owner;
	const char *source; /* of the mounts of this sandbox */
};

/* A sandbox's mounts belong to a user namespace that the store's owner has made for it. */
static int check_namespace(int ns, uid_t owner, struct error *err)
{
	struct stat theirs, ours;
	uid_t uid;
	autofd int user = ioctl(ns, NS_GET_USERNS);

	if (user < 0 || fstat(user, &theirs) < 0 || stat("/proc/self/ns/user", &ours) < 0 ||
	    ioctl(user, NS_GET_OWNER_UID, &uid) < 0)
		return error_errno(err, "cannot tell whose the sandbox's mounts are");
	if (uid != owner || (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino))
		return error_set(err, ERR_PERMISSION,
				 "the monitor names a process that is not the sandbox's");
	return 0;
}

/* In a child, because a process that has joined a mount namespace does not come back. */
static void send_clone(const struct wanted *wanted, const char *path, int answer)
{
	autoerror struct error err = ERROR_INIT;
	autopacket struct packet packet = PACKET_INIT;
	autofree char *namespace_path = xasprintf("/proc/%d/ns/mnt", (int)wanted->init);
	autofd int ns = open(namespace_path, O_RDONLY | O_CLOEXEC);
	/* In the sandbox's own /proc this process does not exist. */
	autofd int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int clone = -1;

	if (ns >= 0 && check_namespace(ns, wanted->owner, &err) < 0) {
		/* That is told. */
	} else if (ns < 0 || proc < 0 || setns(ns, CLONE_NEWNS) < 0) {
		error_errno(&err, "cannot enter the sandbox's mounts");
	} else {
		autofd int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		autofd int tree =
			open_beneath(root, path + strspn(path, "/"), O_PATH | O_DIRECTORY, 0);

		if (tree < 0)
			error_errno(&err, "cannot open %s in the sandbox", path);
		else if (mount_check_overlay(proc, tree, wanted->source, &err) == 0)
			mount_clone(tree, &clone, &err);
	}
	if (clone >= 0)
		packet_give_fd(&packet, clone);
	else
		packet_put_string(&packet, err.message);
	packet_send(answer, clone >= 0 ? MESSAGE_STARTED : MESSAGE_FAILED, 0, &packet, &err);
	_exit(0);
}

static int fetch_clone(const struct wanted *wanted, const char *path, int *ret, struct error *err)
{
	autopacket struct packet packet = PACKET_INIT;
	const char *why;
	int pair[2], status;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, "cannot make a socket");
	autofd int mine = pair[0], theirs = pair[1];
	pid_t pid = fork();

	if (pid < 0)
		return error_errno(err, "cannot start a process");
	if (pid == 0)
		send_clone(wanted, path, theirs);
	fd_close(&theirs);
	int result = packet_receive(mine, false, &packet, err);

	if (wait_for(pid, &status) < 0 || result != 0)
		return error_set(err, ERR_SYSTEM, "cannot look into the sandbox");
	if (packet.type != MESSAGE_STARTED)
		return packet_get_string(&packet, &why, err) < 0
			       ? -1
			       : error_set(err, ERR_SYSTEM, "%s", why);
	*ret = packet_take_fd(&packet);
	return 0;
}

/* It runs: its own mount is shown here too, never a second one of the same upper (T23). */
static int mount_running(const struct sandbox *sandbox, int target, struct error *err)
{
	autofd int keep = -1;
	autofree char *source = sandbox_mount_source(sandbox);
	struct wanted wanted = {.owner = geteuid(), .source = source};

	if (session_where(sandbox, &wanted.init, &keep, err) < 0 || become_root(err) < 0)
		return -1;
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		autofd int clone = -1, place = -1;

		if (fetch_clone(&wanted, sandbox->repos[i].path, &clone, err) < 0 ||
		    repo_target(sandbox, sandbox->repos[i].name, target, &place, err) < 0 ||
		    mount_place(clone, place, err) < 0)
			return -1;
	}
	return 0;
}

static int mount_command(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autofd int target = -1, lease = -1;

	if (need_root("mounting on", err) < 0 ||
	    open_target(invocation->args[1], &target, err) < 0 || become_owner(err) < 0 ||
	    root_open_existing(&root, err) < 0 ||
	    sandbox_open(&root, invocation->args[0], &sandbox, err) < 0)
		return -1;
	int held = sandbox_lease(&root, &sandbox, &lease, err);

	if (held < 0 || (held == 0 ? mount_resting(&root, &sandbox, target, err)
				   : mount_running(&sandbox, target, err)) < 0)
		return error_wrap(err, "cannot mount %s", invocation->args[0]);
	say("the git directory of %s is not shown: a git of the host must not trust what a sandbox "
	    "wrote",
	    sandbox.name);
	return 0;
}

const struct command cmd_mount = {
	.name = "mount",
	.synopsis = "NAME DIR",
	.summary = "show a sandbox's files on the host, for other tools (root)",
	.options = no_options,
	.min_args = 2,
	.max_args = 2,
	.failure = 1,
	.run = mount_command,
};

static int umount_command(const struct invocation *invocation, struct error *err)
{
	if (need_root("unmounting from", err) < 0)
		return -1;
	return mount_remove(invocation->args[0], "jib-", err);
}

const struct command cmd_umount = {
	.name = "umount",
	.synopsis = "DIR",
	.summary = "take away what `jib mount` has shown (root)",
	.options = no_options,
	.min_args = 1,
	.max_args = 1,
	.failure = 1,
	.run = umount_command,
};
