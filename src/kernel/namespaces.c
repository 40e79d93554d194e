#include "kernel/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

pid_t namespaces_fork(bool host_network, struct error *err)
{
	unsigned long flags =
		CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD;

	if (!host_network)
		flags |= CLONE_NEWNET;
	pid_t pid = (pid_t)syscall(SYS_clone, flags, 0, 0, 0, 0);

	if (pid < 0) {
		error_errno(err, "cannot create the sandbox's namespaces");
		error_hint(err, "`jib doctor` tells what blocks them");
	}
	return pid;
}

static int write_proc(const char *path, const char *text)
{
	autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -1 : write_all(fd, text, strlen(text));
}

static int loopback_up(void)
{
	autofd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo"};

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -1;
	request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
	return ioctl(fd, SIOCSIFFLAGS, &request);
}

int namespaces_enter(uid_t uid, gid_t gid, const char *hostname, bool host_network,
		     struct error *err)
{
	autofree char *uids = xasprintf("%u %u 1", uid, uid);
	autofree char *gids = xasprintf("%u %u 1", gid, gid);

	/* Without "deny" an unprivileged process may not write a gid_map (user_namespaces(7)). */
	if (write_proc("/proc/self/setgroups", "deny") < 0 ||
	    write_proc("/proc/self/uid_map", uids) < 0 ||
	    write_proc("/proc/self/gid_map", gids) < 0) {
		error_errno(err, "cannot map the user into the user namespace");
		return error_hint(err, "`jib doctor` tells what blocks user namespaces");
	}
	if (sethostname(hostname, strlen(hostname)) < 0)
		return error_errno(err, "cannot set the host name");
	if (!host_network && loopback_up() < 0)
		return error_errno(err, "cannot bring up the loopback network");
	return 0;
}
