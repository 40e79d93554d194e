#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"
#include "kernel/probe-internal.h"

enum { STEP_FILTER = 1, STEP_NOTIFY };

static struct probe_result try_seccomp(void *data)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {.len = 1, .filter = &allow};
	struct seccomp_notif_sizes sizes;

	(void)data;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return (struct probe_result){STEP_FILTER, errno};
	/* EBUSY here: a filter around us has a listener already, and there can be but one. */
	if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
		    &program) < 0)
		return (struct probe_result){STEP_NOTIFY, errno};
	return (struct probe_result){0};
}

int probe_seccomp(struct error *err)
{
	struct probe_result result;

	if (probe_in_child(try_seccomp, NULL, &result, err) < 0)
		return -1;
	if (!result.step)
		return 0;
	error_set(err, ERR_UNSUPPORTED, "%s: %s",
		  result.step == STEP_FILTER ? "cannot install a filter" : "no user notification",
		  result.number == EBUSY ? "a filter around this process has a listener already"
					 : strerror(result.number));
	return result.step == STEP_FILTER ? -1 : 1;
}
