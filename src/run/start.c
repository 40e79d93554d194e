#include "run/start.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/packet.h"
#include "base/process.h"
#include "base/upper.h"
#include "kernel/namespaces.h"
#include "kernel/privilege.h"
#include "run/rootfs.h"
#include "run/uppers.h"
#include "view/view.h"

enum { CONTROL = 3 };

/*
 * Only stdio (pointing nowhere), the control socket and the uppers go on to init (T1). The uppers
 * are moved out of the way of all of them first.
 */
static int keep_only(int control, const struct uppers *uppers, struct error *err)
{
	int end = UPPER_FIRST + (int)uppers->count;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (size_t i = 0; i < uppers->count; i++)
		if ((uppers->fds[i] = fcntl(uppers->fds[i], F_DUPFD_CLOEXEC, end)) < 0)
			return error_errno(err, "cannot pass the upper directories");
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		return error_errno(err, "cannot open /dev/null");
	if (control != CONTROL && dup2(control, CONTROL) < 0)
		return error_errno(err, "cannot pass the control socket");
	if (control == CONTROL && fcntl(CONTROL, F_SETFD, 0) < 0)
		return error_errno(err, "cannot pass the control socket");
	for (size_t i = 0; i < uppers->count; i++)
		if (dup2(uppers->fds[i], UPPER_FIRST + (int)i) < 0)
			return error_errno(err, "cannot pass the upper directories");
	if (syscall(SYS_close_range, end, ~0U, 0) < 0)
		return error_errno(err, "cannot close file descriptors");
	return 0;
}

struct child {
	const struct root *root;
	const struct plan *plan;
	const struct sandbox *sandbox;
	bool forgetful;
	int control;
	int go; /* readable when the parent has put the child into its cgroup; -1: no waiting */
};

/* The sandbox's directories, opened in the mount namespace in which they are mounted. */
static int enter_root(const struct child *child, struct uppers *uppers, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	autoview struct view view = VIEW_INIT;
	struct sandbox sandbox = *child->sandbox;

	if (root_reopen(child->root, &root, err) < 0)
		return -1;
	autofd int fd = open_beneath(root.fd, sandbox.name, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return error_errno(err, "cannot open the sandbox %s", sandbox.name);
	sandbox.fd = fd;
	if (child->plan->looking ? view_peek(&root, &sandbox, &view, err) < 0
				 : view_open(&root, &sandbox, child->forgetful, &view, err) < 0)
		return -1;
	if (!child->plan->looking)
		uppers_open(&root, &sandbox, uppers);
	return rootfs_enter(child->plan, &sandbox, &view, &root, err);
}

static int set_up(const struct child *child, struct uppers *uppers, struct error *err)
{
	const struct plan *plan = child->plan;
	char go;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return error_errno(err, "cannot tie the sandbox to its monitor");
	if (child->go >= 0 && read(child->go, &go, 1) != 1)
		return error_set(err, ERR_LIMIT, "the limits were not set");
	if (namespaces_enter(plan->uid, plan->gid, plan->hostname, plan->host_network, err) < 0 ||
	    enter_root(child, uppers, err) < 0 || privilege_new_keyring(err) < 0 ||
	    privilege_drop(err) < 0 || keep_only(child->control, uppers, err) < 0 ||
	    privilege_filter(err) < 0)
		return -1;
	return 0;
}

static _Noreturn void run_child(const struct child *child)
{
	static const char guest[] = ROOTFS_GUEST;
	char *const env[] = {NULL};
	struct uppers uppers = UPPERS_INIT;
	struct error err = ERROR_INIT;
	sigset_t none;

	sigemptyset(&none);
	umask(022);
	if (set_up(child, &uppers, &err) == 0) {
		autostrv struct strv argv = STRV_INIT;

		strv_add(&argv, guest);
		strv_add(&argv, "init");
		for (size_t i = 0; i < uppers.names.len; i++)
			strv_add(&argv, uppers.names.items[i]);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execve(guest, argv.items, env);
		error_errno(&err, "cannot start %s", guest);
	}
	autopacket struct packet packet = PACKET_INIT;
	struct error ignored = ERROR_INIT;

	packet_put_u32(&packet, (uint32_t)err.number);
	packet_put_u32(&packet, (uint32_t)err.code);
	packet_put_string(&packet, err.message ? err.message : "unknown");
	packet_put_string(&packet, err.hint ? err.hint : "");
	/* keep_only() may have moved it; the original is still open if not. */
	if (packet_send(child->control, MESSAGE_FAILED, 0, &packet, &ignored) != 0)
		packet_send(CONTROL, MESSAGE_FAILED, 0, &packet, &ignored);
	_exit(125);
}

int sandbox_start(const struct root *root, const struct plan *plan, const struct sandbox *sandbox,
		  bool forgetful, const struct cgroup *cgroup, struct started *ret,
		  struct error *err)
{
	int pair[2], go[2] = {-1, -1};

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(err, "cannot make the control socket");
	autofd int mine = pair[0], theirs = pair[1];

	if (cgroup && pipe2(go, O_CLOEXEC) < 0)
		return error_errno(err, "cannot make a pipe");
	autofd int go_read = go[0], go_write = go[1];
	pid_t pid = namespaces_fork(plan->host_network, err);

	if (pid < 0)
		return -1;
	if (pid == 0) {
		fd_close(&go_write);
		run_child(&(struct child){
			.root = root,
			.plan = plan,
			.sandbox = sandbox,
			.forgetful = forgetful,
			.control = theirs,
			.go = go_read,
		});
	}
	if (cgroup && (cgroup_enter(cgroup, pid, err) < 0 || write_all(go_write, "g", 1) < 0)) {
		int status;

		error_errno(err, "cannot start the sandbox in its limits");
		kill(pid, SIGKILL);
		wait_for(pid, &status);
		return -1;
	}
	/* A sandbox that does not read must not hold up its monitor. */
	if (fcntl(mine, F_SETFL, O_NONBLOCK) < 0) {
		error_errno(err, "cannot prepare the control socket");
		kill(pid, SIGKILL);
		wait_for(pid, NULL);
		return -1;
	}
	*ret = (struct started){.pid = pid, .control = steal_fd(&mine)};
	return 0;
}
