/*
 * syscalls ABI PREFIX: makes every system call of the table whose name begins with PREFIX, through
 * one of the machine's ABIs (native, i386, x32), and expects it to be denied.
 *
 * Prints what was not denied as it should be, and then how many were. The arguments are such that,
 * as far as possible, a kernel without the filter answers something else than the filter does, and
 * that nothing happens to a machine that lets them pass.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NONE (-1)
#define HIGH (1UL << 32) /* what a filter that compares 64 bits trips over */

struct attempt {
	const char *name; /* the threat, then the system call */
	long native;
	long i386;
	int error;
	unsigned long args[6];
};

enum { FAN_REPORT_FID = 0x200, READ_IMPLIES_EXEC = 0x0400000, NETLINK_NETFILTER = 12 };
enum { VSOCK = 40, ALG = 38, PACKET = 17, BLUETOOTH = 31, CAN = 29, TIPC = 30, XDP = 44 };
enum { KEYCTL_GET_KEYRING_ID = 0, SESSION_KEYRING = -3, USER_KEYRING = -4 };

#ifdef __x86_64__
#define I386(number) (number)
#else
#define I386(number) NONE
#endif

/* A new user namespace gives the right to make all the others. */
#define NEW_NAMESPACE(name, flag)                                                      \
	{"T6 unshare " name, SYS_unshare, I386(310), EPERM, {CLONE_NEWUSER | (flag)}}, \
		{"T6 unshare only " name, SYS_unshare, I386(310), EPERM, {flag}},      \
		{"T6 clone " name,                                                     \
		 SYS_clone,                                                            \
		 I386(120),                                                            \
		 EPERM,                                                                \
		 {CLONE_NEWUSER | (flag) | SIGCHLD}},                                  \
	{                                                                              \
		"T6 clone with high bits " name, SYS_clone, I386(120), EPERM,          \
		{                                                                      \
			HIGH | CLONE_NEWUSER | (flag) | SIGCHLD                        \
		}                                                                      \
	}

#define FAMILY(name, family)                                                          \
	{"T7 socket " name, SYS_socket, I386(359), EAFNOSUPPORT, {family, SOCK_RAW}}, \
		{"T7 socket with high bits " name,                                    \
		 SYS_socket,                                                          \
		 I386(359),                                                           \
		 EAFNOSUPPORT,                                                        \
		 {HIGH | (family), SOCK_STREAM}},                                     \
	{                                                                             \
		"T7 socketpair " name, SYS_socketpair, I386(360), EAFNOSUPPORT,       \
		{                                                                     \
			family, SOCK_STREAM                                           \
		}                                                                     \
	}

static const char nowhere[] = "/nonexistent";

static const struct attempt attempts[] = {
	{"T2 TIOCSTI", SYS_ioctl, I386(54), EPERM, {-1UL, TIOCSTI}},
	{"T2 TIOCSTI with high bits", SYS_ioctl, I386(54), EPERM, {-1UL, HIGH | TIOCSTI}},
	{"T2 TIOCLINUX", SYS_ioctl, I386(54), EPERM, {-1UL, TIOCLINUX}},
	{"T2 TIOCLINUX with high bits", SYS_ioctl, I386(54), EPERM, {-1UL, HIGH | TIOCLINUX}},

	{"T4 open_by_handle_at", SYS_open_by_handle_at, I386(342), EPERM, {-1UL}},

	{"T5 kexec_load", SYS_kexec_load, I386(283), EPERM, {0, 0, 0, ~0UL}},
	{"T5 init_module", SYS_init_module, I386(128), EPERM, {0}},
	{"T5 finit_module", SYS_finit_module, I386(350), EPERM, {-1UL}},
	{"T5 delete_module", SYS_delete_module, I386(129), EPERM, {0}},
	{"T5 reboot", SYS_reboot, I386(88), EPERM, {0}},
	{"T5 swapon", SYS_swapon, I386(87), EPERM, {0}},
	{"T5 swapoff", SYS_swapoff, I386(115), EPERM, {0}},
	{"T5 syslog", SYS_syslog, I386(103), EPERM, {10}},
	{"T5 acct", SYS_acct, I386(51), EPERM, {-1UL}},
	{"T5 quotactl", SYS_quotactl, I386(131), EPERM, {-1UL}},
	{"T5 settimeofday", SYS_settimeofday, I386(79), EPERM, {-1UL}},
	{"T5 clock_settime", SYS_clock_settime, I386(264), EPERM, {0, -1UL}},
	{"T5 clock_adjtime", SYS_clock_adjtime, I386(343), EPERM, {0, -1UL}},
	{"T5 vhangup", SYS_vhangup, I386(111), EPERM, {0}},
#ifdef __x86_64__
	{"T5 iopl", SYS_iopl, 110, EPERM, {0}},
	{"T5 ioperm", SYS_ioperm, 101, EPERM, {0}},
	{"T5 stime", NONE, 25, EPERM, {-1UL}},
	{"T5 clock_settime64", NONE, 404, EPERM, {0, -1UL}},
#endif

	NEW_NAMESPACE("user", CLONE_NEWUSER),
	NEW_NAMESPACE("mount", CLONE_NEWNS),
	NEW_NAMESPACE("pid", CLONE_NEWPID),
	NEW_NAMESPACE("net", CLONE_NEWNET),
	NEW_NAMESPACE("ipc", CLONE_NEWIPC),
	NEW_NAMESPACE("uts", CLONE_NEWUTS),
	NEW_NAMESPACE("cgroup", CLONE_NEWCGROUP),
	{"T6 unshare time", SYS_unshare, I386(310), EPERM, {CLONE_NEWUSER | 0x80}},
	{"T6 clone3", SYS_clone3, I386(435), ENOSYS, {0}},
	{"T6 setns", SYS_setns, I386(346), EPERM, {-1UL}},
	{"T6 mount", SYS_mount, I386(21), EPERM, {0}},
	{"T6 umount2", SYS_umount2, I386(52), EPERM, {(unsigned long)nowhere}},
	{"T6 pivot_root", SYS_pivot_root, I386(217), EPERM, {0}},
	{"T6 chroot", SYS_chroot, I386(61), EPERM, {(unsigned long)nowhere}},
	{"T6 fsopen", SYS_fsopen, I386(430), EPERM, {0}},
	{"T6 fsconfig", SYS_fsconfig, I386(431), EPERM, {-1UL}},
	{"T6 fsmount", SYS_fsmount, I386(432), EPERM, {-1UL}},
	{"T6 fspick", SYS_fspick, I386(433), EPERM, {-1UL}},
	{"T6 open_tree", SYS_open_tree, I386(428), EPERM, {-1UL, (unsigned long)nowhere}},
	{"T6 move_mount", SYS_move_mount, I386(429), EPERM, {-1UL}},
	{"T6 mount_setattr", SYS_mount_setattr, I386(442), EPERM, {-1UL}},
	{"T6 open_tree_attr", 467, I386(467), ENOSYS, {-1UL, (unsigned long)nowhere}},
	{"T6 what the kernel gets later", 480, I386(480), ENOSYS, {0}},
#ifdef __x86_64__
	{"T6 umount", NONE, 22, EPERM, {(unsigned long)nowhere}},
#endif

	{"T7 io_uring_setup", SYS_io_uring_setup, I386(425), EPERM, {1}},
	{"T7 io_uring_enter", SYS_io_uring_enter, I386(426), EPERM, {-1UL}},
	{"T7 io_uring_register", SYS_io_uring_register, I386(427), EPERM, {-1UL}},
	{"T7 bpf", SYS_bpf, I386(357), EPERM, {0, 0, 4}},
	{"T7 perf_event_open", SYS_perf_event_open, I386(336), EPERM, {0}},
	{"T7 userfaultfd", SYS_userfaultfd, I386(374), EPERM, {1}},
	{"T7 fanotify_init", SYS_fanotify_init, I386(338), EPERM, {FAN_REPORT_FID}},
	{"T7 move_pages", SYS_move_pages, I386(317), EPERM, {0}},
	{"T7 personality", SYS_personality, I386(136), EPERM, {READ_IMPLIES_EXEC}},
	{"T7 personality with high bits",
	 SYS_personality,
	 I386(136),
	 EPERM,
	 {HIGH | READ_IMPLIES_EXEC}},
	FAMILY("AF_VSOCK", VSOCK),
	FAMILY("AF_ALG", ALG),
	FAMILY("AF_PACKET", PACKET),
	FAMILY("AF_BLUETOOTH", BLUETOOTH),
	FAMILY("AF_CAN", CAN),
	FAMILY("AF_TIPC", TIPC),
	FAMILY("AF_XDP", XDP),
	{"T7 netlink of the firewall",
	 SYS_socket,
	 I386(359),
	 EPROTONOSUPPORT,
	 {AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER}},
#ifdef __x86_64__
	{"T7 socketcall", NONE, 102, ENOSYS, {1}},
	{"T7 vm86old", NONE, 113, EPERM, {0}},
	{"T7 vm86", NONE, 166, EPERM, {0}},
#endif

	{"T9 keyctl",
	 SYS_keyctl,
	 I386(288),
	 EPERM,
	 {KEYCTL_GET_KEYRING_ID, (unsigned long)SESSION_KEYRING}},
	{"T9 keyctl of the user keyring",
	 SYS_keyctl,
	 I386(288),
	 EPERM,
	 {KEYCTL_GET_KEYRING_ID, (unsigned long)USER_KEYRING}},
	{"T9 add_key", SYS_add_key, I386(286), EPERM, {0}},
	{"T9 request_key", SYS_request_key, I386(287), EPERM, {0}},
};

static long call_native(long number, const unsigned long a[6])
{
	long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);

	return result < 0 ? -errno : result;
}

static long call(const char *abi, const struct attempt *attempt)
{
#ifdef __x86_64__
	enum { X32_BIT = 0x40000000 };
	const unsigned long *a = attempt->args;

	if (strcmp(abi, "x32") == 0)
		return call_native(X32_BIT | attempt->native, a);
	if (strcmp(abi, "i386") == 0) {
		int result;

		__asm__ volatile("int $0x80"
				 : "=a"(result)
				 : "a"((int)attempt->i386), "b"(a[0]), "c"(a[1]), "d"(a[2]),
				   "S"(a[3]), "D"(a[4])
				 : "memory", "cc", "r8", "r9", "r10", "r11");
		return result;
	}
#endif
	return call_native(attempt->native, attempt->args);
}

static long number_of(const char *abi, const struct attempt *attempt)
{
	return strcmp(abi, "i386") == 0 ? attempt->i386 : attempt->native;
}

static sigjmp_buf no_such_abi;

static void on_fault(int number)
{
	siglongjmp(no_such_abi, number);
}

int main(int argc, char **argv)
{
	const char *abi = argc > 1 ? argv[1] : "native";
	const char *prefix = argc > 2 ? argv[2] : "T";
	pid_t self = getpid();
	volatile int denied = 0, passed = 0;

	/* A kernel without the i386 ABI answers `int 0x80` with a fault. */
	signal(SIGSEGV, on_fault);
	if (sigsetjmp(no_such_abi, 1)) {
		printf("no such ABI\n");
		return 3;
	}
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
		const struct attempt *attempt = &attempts[i];
		int expected = strcmp(abi, "x32") == 0 ? ENOSYS : attempt->error;

		if (strncmp(attempt->name, prefix, strlen(prefix)) != 0 ||
		    attempt->name[strlen(prefix)] != ' ' || number_of(abi, attempt) == NONE)
			continue;
		long result = call(abi, attempt);

		if (getpid() != self || syscall(SYS_getpid) != self)
			_exit(0); /* the child of a clone that should not have been */
		if (result == -expected) {
			denied++;
			continue;
		}
		passed++;
		printf("not denied through %s: %s: %ld (%s), not %s\n", abi, attempt->name, result,
		       result < 0 ? strerror((int)-result) : "success", strerror(expected));
	}
	printf("%d denied\n", denied);
	return passed || !denied;
}
