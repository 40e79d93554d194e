#include "kernel/privilege.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"
#include "kernel/seccomp-filter.h"

_Static_assert(ARRAY_SIZE(seccomp_filter) > 0 && ARRAY_SIZE(seccomp_filter) <= BPF_MAXINSNS,
	       "the kernel does not take a filter of this length");

/* There are 64 bits for capabilities in the kernel's interface. */
enum { CAP_END = 64 };

static int lock_securebits(struct error *err)
{
	unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
			     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
			     SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

	if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0)
		return error_errno(err, "cannot lock the securebits");
	return 0;
}

static int empty_bounding_set(struct error *err)
{
	for (unsigned long cap = 0; cap < CAP_END; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
			continue;
		/* One past the last capability that this kernel knows; it may know more than we. */
		if (errno == EINVAL && cap > CAP_SETPCAP)
			return 0;
		return error_errno(err, "cannot drop capability %lu from the bounding set", cap);
	}
	return 0;
}

static int empty_other_sets(struct error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return error_errno(err, "cannot clear the ambient capabilities");
	if (syscall(SYS_capset, &header, none) < 0)
		return error_errno(err, "cannot give up the capabilities");
	return 0;
}

int privilege_drop(struct error *err)
{
	/* The first two need CAP_SETPCAP, which the third gives up. */
	if (lock_securebits(err) < 0 || empty_bounding_set(err) < 0 || empty_other_sets(err) < 0)
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_errno(err, "cannot set no_new_privs");
	return 0;
}

int privilege_new_keyring(struct error *err)
{
	/* Without a name: one with a name could be joined by others. */
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0) >= 0)
		return 0;
	if (errno == ENOSYS || errno == EDQUOT || errno == EPERM || errno == EACCES)
		return 0;
	return error_errno(err, "cannot join a new session keyring");
}

int privilege_filter(struct error *err)
{
	struct sock_fprog program = {
		.len = ARRAY_SIZE(seccomp_filter),
		.filter = (struct sock_filter *)seccomp_filter,
	};
	/*
	 * Without SPEC_ALLOW, kernels before 5.16 turn off speculative store bypass and restrict
	 * indirect branch speculation for whoever has a filter, which makes everything in the
	 * sandbox slower. Newer kernels do so only when asked: it guards secrets within one
	 * process, and a sandbox is one trust domain. With the flag it is the same on all
	 * kernels, and a browser can still ask for itself with prctl(2).
	 */
	unsigned int flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) < 0)
		return error_errno(err, "cannot install the system call filter");
	return 0;
}
