#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/str.h"
#include "kernel/probe-internal.h"
#include "kernel/proc.h"

static struct probe_result failed_at(int step)
{
	return (struct probe_result){.step = step, .number = errno};
}

static int write_to(const char *path, const char *text)
{
	autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -1 : write_all(fd, text, strlen(text));
}

static int map_self(const char *path, unsigned int id)
{
	char line[64];

	snprintf(line, sizeof line, "%u %u 1\n", id, id);
	return write_to(path, line);
}

struct probe_result probe_enter_user_namespace(void)
{
	unsigned int uid = geteuid(), gid = getegid();

	if (unshare(CLONE_NEWUSER) < 0)
		return failed_at(NAMESPACE_USER);
	/* Without setgroups=deny no ordinary user may write the map of groups (since 3.19). */
	if (map_self("/proc/self/uid_map", uid) < 0 ||
	    write_to("/proc/self/setgroups", "deny") < 0 || map_self("/proc/self/gid_map", gid) < 0)
		return failed_at(NAMESPACE_MAP);
	return (struct probe_result){0};
}

/* As the first process of the new pid namespace; its exit status is the errno. */
static int try_proc(void)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -1;
	if (pid == 0)
		_exit(mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0
			      ? errno & 0xff
			      : 0);
	if (wait_for(pid, &status) < 0)
		return -1;
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
	return errno ? -1 : 0;
}

static struct probe_result try_namespaces(void *data)
{
	struct probe_result result = probe_enter_user_namespace();

	(void)data;
	if (result.step)
		return result;
	if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET) < 0)
		return failed_at(NAMESPACE_OTHERS);
	/* AppArmor's restriction shows here: the namespace is there, the capabilities are not.
	 * Nothing of this reaches the host: a mount namespace of a user namespace is a slave. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NODEV, NULL) < 0)
		return failed_at(NAMESPACE_MOUNT);
	if (try_proc() < 0)
		return failed_at(NAMESPACE_PROC);
	return result;
}

long probe_parse_seccomp(const char *status)
{
	static const char key[] = "\nSeccomp:";
	const char *at = strstr(status, key);

	return at ? strtol(at + sizeof key - 1, NULL, 10) : -1;
}

void probe_namespace_settings(struct namespace_facts *ret)
{
	autostr struct str status = STR_INIT;

	*ret = (struct namespace_facts){
		.root = geteuid() == 0,
		.userns_clone = proc_read_number("/proc/sys/kernel/unprivileged_userns_clone"),
		.max_user_namespaces = proc_read_number("/proc/sys/user/max_user_namespaces"),
		.apparmor_restrict =
			proc_read_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
		.seccomp = -1,
	};

	if (proc_read("/proc/self/status", 65536, &status, NULL) == 0)
		ret->seccomp = probe_parse_seccomp(status.s);
}

int probe_namespaces(struct namespace_facts *ret, struct error *err)
{
	struct namespace_facts facts;

	probe_namespace_settings(&facts);
	if (probe_in_child(try_namespaces, NULL, &facts.result, err) < 0)
		return -1;
	*ret = facts;
	return 0;
}

static const char *step_text(int step)
{
	static const char *const texts[NAMESPACE_STEPS] = {
		[NAMESPACE_USER] = "cannot make a user namespace",
		[NAMESPACE_MAP] = "cannot map a user into a user namespace",
		[NAMESPACE_OTHERS] = "cannot make mount, pid, ipc, uts and net namespaces",
		[NAMESPACE_MOUNT] = "cannot mount in a user namespace",
		[NAMESPACE_PROC] = "cannot mount a fresh /proc in a pid namespace",
	};

	return step > 0 && step < NAMESPACE_STEPS ? texts[step] : "failed";
}

/* Namespaces of one kind are used up, or there may be none. */
static char *explain_exhausted(const struct namespace_facts *facts, char **ret_remedy)
{
	if (facts->result.step != NAMESPACE_USER) {
		*ret_remedy = xstrdup("sudo sysctl -w user.max_mnt_namespaces=15000 "
				      "user.max_pid_namespaces=15000 user.max_ipc_namespaces=15000 "
				      "user.max_uts_namespaces=15000 "
				      "user.max_net_namespaces=15000");
		return xstrdup("the limit of namespaces (user.max_*_namespaces) is reached");
	}
	if (facts->max_user_namespaces <= 0) {
		*ret_remedy = xstrdup("sudo sysctl -w user.max_user_namespaces=15000");
		return xstrdup("user.max_user_namespaces is 0");
	}
	*ret_remedy = xasprintf("sudo sysctl -w user.max_user_namespaces=%ld",
				facts->max_user_namespaces * 2);
	return xasprintf("all %ld user namespaces are in use, or they are nested too deep",
			 facts->max_user_namespaces);
}

/* Who says EPERM or EACCES? */
static char *explain_denied(const struct namespace_facts *facts, char **ret_remedy)
{
	if (facts->result.step == NAMESPACE_PROC) {
		*ret_remedy = xstrdup("start the container around it with "
				      "`--security-opt systempaths=unconfined`");
		return xstrdup("parts of /proc are masked by a container around it");
	}
	/* The sysctl is of Debian and its heirs; it does not hold for root. */
	if (facts->result.step == NAMESPACE_USER && facts->userns_clone == 0 && !facts->root) {
		*ret_remedy = xstrdup("sudo sysctl -w kernel.unprivileged_userns_clone=1");
		return xstrdup("kernel.unprivileged_userns_clone is 0");
	}
	if (facts->apparmor_restrict > 0 && !facts->root) {
		*ret_remedy =
			xstrdup("sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
		return xstrdup("AppArmor takes the capabilities in user namespaces away "
			       "(kernel.apparmor_restrict_unprivileged_userns is 1)");
	}
	if (facts->seccomp == 2) {
		*ret_remedy = xstrdup("start the container around it with `--security-opt "
				      "seccomp=unconfined --security-opt apparmor=unconfined`");
		return xstrdup("blocked by the seccomp filter of a container around it");
	}
	*ret_remedy = xstrdup("look for the denial with `sudo dmesg | tail`: a security module or "
			      "a chroot around it forbids user namespaces");
	return NULL;
}

void probe_explain_namespaces(const struct namespace_facts *facts, char **ret_found,
			      char **ret_remedy)
{
	autofree char *why = NULL;

	switch (facts->result.number) {
	case ENOSPC:
	case EUSERS:
		why = explain_exhausted(facts, ret_remedy);
		break;
	case EPERM:
	case EACCES:
		why = explain_denied(facts, ret_remedy);
		break;
	case ENOSYS:
	case EINVAL:
		if (facts->seccomp == 2) {
			why = explain_denied(facts, ret_remedy);
			break;
		}
		why = xstrdup("the kernel is built without these namespaces");
		*ret_remedy = xstrdup("sudo apt install linux-image-$(dpkg --print-architecture)");
		break;
	default:
		*ret_remedy = xstrdup("look for the cause with `sudo dmesg | tail`");
		break;
	}
	*ret_found = xasprintf("%s: %s", step_text(facts->result.step),
			       why ? why : strerror(facts->result.number));
}
