/*
 * The filter and the dropping of privileges, tried with real system calls.
 *
 * Each case runs in a forked child, which reports the first thing that was wrong. The arguments
 * are such that an unfiltered call does no harm and, as root at least, fails with another errno
 * than the filter's: without the filter the tests of denials fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "kernel/privilege.h"

#define GARBAGE (1UL << 32)

enum { CLONE_NEW_TIME = 0x80, OPEN_TREE_ATTR = 467, MOVE_MOUNT = 429, X32 = 0x40000000 };

static int failures;

/* In the child: says what was wrong, and goes on, so that one run shows all of it. */
static void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void wrong(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	failures++;
}

static void expect(const char *what, long result, int error)
{
	if (error == 0 && result < 0)
		wrong("%s: %s, but should work", what, strerror(errno));
	else if (error != 0 && result >= 0)
		wrong("%s: succeeded", what);
	else if (error != 0 && errno != error)
		wrong("%s: %s instead of %s", what, strerrorname_np(errno), strerrorname_np(error));
}

/* The status of wait(2): 0 when the child is content. */
static int run_child(void (*body)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		failures = 0;
		body();
		_exit(failures != 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

static void (*filtered_body)(void);

static void install_and_run(void)
{
	struct error err = ERROR_INIT;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		wrong("no_new_privs: %s", strerror(errno));
	else if (privilege_filter(&err) < 0)
		wrong("%s", err.message);
	else
		filtered_body();
	error_clear(&err);
}

static void run_filtered(void (*body)(void))
{
	filtered_body = body;
	assert_int_equal(run_child(install_and_run), 0);
}

/* One call to be denied; `error` 0 stands for EPERM. */
struct call {
	const char *name;
	long number;
	unsigned long args[6];
	int error;
};

static void expect_denied(const struct call *calls, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct call *c = &calls[i];
		long result = syscall(c->number, c->args[0], c->args[1], c->args[2], c->args[3],
				      c->args[4], c->args[5]);

		expect(c->name, result, c->error ? c->error : EPERM);
	}
}

#ifdef __x86_64__

static long int80(long number, const unsigned long *args)
{
	long result;

	/* Kernels before 4.17 do not preserve r8 to r11. */
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(args[0]), "c"(args[1]), "d"(args[2]), "S"(args[3]),
			   "D"(args[4])
			 : "memory", "r8", "r9", "r10", "r11");
	if ((int)result < 0 && (int)result >= -4095) {
		errno = -(int)result;
		return -1;
	}
	return (int)result;
}

static void try_int80(void)
{
	static const unsigned long none[6];

	expect("getpid by int 0x80", int80(20, none), 0);
}

/* Without IA32 emulation int 0x80 is a SIGSEGV or ENOSYS: every call is denied. */
static bool has_i386;

static int find_i386(void **state)
{
	(void)state;
	has_i386 = run_child(try_int80) == 0;
	if (!has_i386)
		print_message("no i386 system calls in this kernel: all of them are denied\n");
	return 0;
}

static void expect_denied_i386(const struct call *calls, size_t count)
{
	if (!has_i386)
		return;
	for (size_t i = 0; i < count; i++)
		expect(calls[i].name, int80(calls[i].number, calls[i].args),
		       calls[i].error ? calls[i].error : EPERM);
}

/* The filter answers ENOSYS to all of x32, as kernels without it do. */
static void expect_no_x32(const long *numbers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		expect("an x32 call", syscall(numbers[i] | X32, 0, 0, 0, 0, 0, 0), ENOSYS);
}

#endif

static void deny_terminal_input(void)
{
	static const struct call native[] = {
		{"TIOCSTI", SYS_ioctl, {-1, TIOCSTI}, 0},
		{"TIOCLINUX", SYS_ioctl, {-1, TIOCLINUX}, 0},
		{"TIOCSTI | 1 << 32", SYS_ioctl, {-1, TIOCSTI | GARBAGE}, 0},
		{"TIOCSTI | 0xdeadbeef << 32", SYS_ioctl, {-1, TIOCSTI | 0xdeadbeefUL << 32}, 0},
		{"TIOCLINUX | 1 << 63", SYS_ioctl, {-1, TIOCLINUX | 1UL << 63}, 0},
		/* And only those. */
		{"TCGETS", SYS_ioctl, {-1, TCGETS}, EBADF},
	};

	expect_denied(native, ARRAY_SIZE(native));
#ifdef __x86_64__
	static const struct call i386[] = {
		{"i386 TIOCSTI", 54, {-1, TIOCSTI}, 0},
		{"i386 TIOCLINUX", 54, {-1, TIOCLINUX}, 0},
		{"i386 TCGETS", 54, {-1, TCGETS}, EBADF},
	};
	static const long x32[] = {16, 514};

	expect_denied_i386(i386, ARRAY_SIZE(i386));
	expect_no_x32(x32, ARRAY_SIZE(x32));
	/* Its x32 number without the x32 bit, which kernels before 5.4 took. */
	expect("ioctl 514", syscall(514, -1, TIOCSTI, 0), ENOSYS);
#endif
}

static void test_T2_terminal_input_is_denied_on_every_abi(void **state)
{
	(void)state;
	run_filtered(deny_terminal_input);
}

static void deny_open_by_handle(void)
{
	static const struct call native[] = {
		{"open_by_handle_at", SYS_open_by_handle_at, {-1, 0, 0}, 0},
	};

	expect_denied(native, ARRAY_SIZE(native));
	/* Naming a file is harmless: here it only finds that the arguments are bad. */
	expect("name_to_handle_at", syscall(SYS_name_to_handle_at, -1, "/", NULL, NULL, 0), EFAULT);
#ifdef __x86_64__
	static const struct call i386[] = {{"i386 open_by_handle_at", 342, {-1, 0, 0}, 0}};
	static const long x32[] = {304};

	expect_denied_i386(i386, ARRAY_SIZE(i386));
	expect_no_x32(x32, ARRAY_SIZE(x32));
#endif
}

static void test_T4_open_by_handle_is_denied_on_every_abi(void **state)
{
	(void)state;
	run_filtered(deny_open_by_handle);
}

/* reboot and vhangup are left out: they would act when the filter is missing. */
static void deny_machine(void)
{
	static const struct call native[] = {
		{"kexec_load", SYS_kexec_load, {0, 0, 0, -1UL}, 0},
		{"kexec_file_load", SYS_kexec_file_load, {-1, -1, 0, 0, -1UL}, 0},
		{"init_module", SYS_init_module, {0, 0, 0}, 0},
		{"finit_module", SYS_finit_module, {-1, 0, 0}, 0},
		{"delete_module", SYS_delete_module, {0, 0}, 0},
		{"swapon", SYS_swapon, {0, 0}, 0},
		{"swapoff", SYS_swapoff, {0}, 0},
		{"syslog", SYS_syslog, {10, 0, 0}, 0},
		{"acct", SYS_acct, {1}, 0},
		{"quotactl", SYS_quotactl, {-1, 0, 0, 0}, 0},
		{"quotactl_fd", 443, {-1, -1, 0, 0}, 0},
		{"settimeofday", SYS_settimeofday, {0, 0}, 0},
		{"clock_settime", SYS_clock_settime, {0, 0}, 0},
		{"clock_adjtime", SYS_clock_adjtime, {0, 0}, 0},
	};

	expect_denied(native, ARRAY_SIZE(native));
#ifdef __x86_64__
	static const struct call i386[] = {
		{"i386 iopl", 110, {0}, 0},
		{"i386 ioperm", 101, {0, 0, 0}, 0},
		{"i386 kexec_load", 283, {0, 0, 0, -1UL}, 0},
		{"i386 init_module", 128, {0}, 0},
		{"i386 stime", 25, {0}, 0},
		{"i386 clock_settime64", 404, {0, 0}, 0},
		{"i386 vm86old", 113, {0}, 0},
		{"i386 vm86", 166, {0, 0}, 0},
	};
	static const long x32[] = {175, 246, 528};

	expect("iopl", syscall(SYS_iopl, 0), EPERM);
	expect("ioperm", syscall(SYS_ioperm, 0, 0, 0), EPERM);
	expect_denied_i386(i386, ARRAY_SIZE(i386));
	expect_no_x32(x32, ARRAY_SIZE(x32));
#endif
}

static void test_T5_the_machine_is_out_of_reach_on_every_abi(void **state)
{
	(void)state;
	run_filtered(deny_machine);
}

static const unsigned long namespaces[] = {
	CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
	CLONE_NEWUSER, CLONE_NEWPID,	CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNS,
};

/* clone(2) with bad flags may succeed, and then there are two of us. */
static void expect_no_clone(const char *what, unsigned long flags)
{
	long result = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

	if (result == 0)
		_exit(0);
	expect(what, result, EPERM);
}

static void deny_namespaces(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		unsigned long flags = namespaces[i];

		expect("unshare", syscall(SYS_unshare, flags), EPERM);
		expect("unshare | 1 << 32", syscall(SYS_unshare, flags | GARBAGE), EPERM);
		expect("unshare with FILES", syscall(SYS_unshare, flags | CLONE_FILES), EPERM);
		expect_no_clone("clone", flags);
		expect_no_clone("clone | 1 << 32", flags | GARBAGE);
#ifdef __x86_64__
		const struct call i386 = {"i386 unshare", 310, {flags}, 0};

		expect_denied_i386(&i386, 1);
#endif
	}
	expect("unshare(NEWTIME)", syscall(SYS_unshare, CLONE_NEW_TIME), EPERM);
	expect("unshare(NEWTIME | 1 << 32)", syscall(SYS_unshare, CLONE_NEW_TIME | GARBAGE), EPERM);
	expect("clone3", syscall(SYS_clone3, NULL, 0), ENOSYS);
	expect("setns", syscall(SYS_setns, -1, 0), EPERM);
#ifdef __x86_64__
	static const struct call i386[] = {
		{"i386 clone3", 435, {0, 0}, ENOSYS},
		{"i386 setns", 346, {-1, 0}, 0},
	};
	static const long x32[] = {56, 272, 308, 435};

	if (has_i386) {
		const unsigned long args[6] = {CLONE_NEWUSER | SIGCHLD};
		long result = int80(120, args);

		if (result == 0)
			_exit(0);
		expect("i386 clone", result, EPERM);
	}
	expect_denied_i386(i386, ARRAY_SIZE(i386));
	expect_no_x32(x32, ARRAY_SIZE(x32));
#endif
}

static void test_T6_namespaces_are_denied_on_every_abi(void **state)
{
	(void)state;
	run_filtered(deny_namespaces);
}

static void deny_mounts(void)
{
	static const struct call native[] = {
		{"mount", SYS_mount, {0, 0, 0, 0, 0}, 0},
		{"umount2", SYS_umount2, {0, 0}, 0},
		{"pivot_root", SYS_pivot_root, {0, 0}, 0},
		{"chroot", SYS_chroot, {0}, 0},
		{"open_tree", 428, {-1, 0, 0}, 0},
		{"move_mount", MOVE_MOUNT, {-1, 0, -1, 0, 0}, 0},
		{"fsopen", 430, {0, 0}, 0},
		{"fsconfig", 431, {-1, -1, 0, 0, 0}, 0},
		{"fsmount", 432, {-1, 0, 0}, 0},
		{"fspick", 433, {-1, 0, 0}, 0},
		{"mount_setattr", 442, {-1, 0, 0, 0, 0}, 0},
		/* Newer than the filter, and so not there at all. */
		{"open_tree_attr", OPEN_TREE_ATTR, {-1, 0, 0, 0, 0}, ENOSYS},
	};

	expect_denied(native, ARRAY_SIZE(native));
#ifdef __x86_64__
	static const struct call i386[] = {
		{"i386 mount", 21, {0, 0, 0, 0, 0}, 0},
		{"i386 umount", 22, {0}, 0},
		{"i386 umount2", 52, {0, 0}, 0},
		{"i386 pivot_root", 217, {0, 0}, 0},
		{"i386 chroot", 61, {0}, 0},
		{"i386 open_tree", 428, {-1, 0, 0}, 0},
		{"i386 move_mount", MOVE_MOUNT, {-1, 0, -1, 0, 0}, 0},
		{"i386 fsopen", 430, {0, 0}, 0},
		{"i386 fsconfig", 431, {-1, -1, 0, 0, 0}, 0},
		{"i386 fsmount", 432, {-1, 0, 0}, 0},
		{"i386 fspick", 433, {-1, 0, 0}, 0},
		{"i386 mount_setattr", 442, {-1, 0, 0, 0, 0}, 0},
		{"i386 open_tree_attr", OPEN_TREE_ATTR, {-1, 0, 0, 0, 0}, ENOSYS},
	};
	static const long x32[] = {155, 161, 165, 166, 428, 429, 430, 442, 467};

	expect_denied_i386(i386, ARRAY_SIZE(i386));
	expect_no_x32(x32, ARRAY_SIZE(x32));
#endif
}

static void test_T6_mounts_are_denied_on_every_abi(void **state)
{
	(void)state;
	run_filtered(deny_mounts);
}

static void deny_io_uring(void)
{
	static const struct call native[] = {
		{"io_uring_setup", 425, {0, 0}, 0},
		{"io_uring_enter", 426, {-1, 0, 0, 0, 0, 0}, 0},
		{"io_uring_register", 427, {-1, 0, 0, 0}, 0},
	};

	expect_denied(native, ARRAY_SIZE(native));
#ifdef __x86_64__
	static const long x32[] = {425, 426, 427};

	/* The same numbers. */
	expect_denied_i386(native, ARRAY_SIZE(native));
	expect_no_x32(x32, ARRAY_SIZE(x32));
#endif
}

static void test_T7_io_uring_is_denied_on_every_abi(void **state)
{
	(void)state;
	run_filtered(deny_io_uring);
}

static void deny_kernel_surface(void)
{
	static const struct call native[] = {
		{"bpf", SYS_bpf, {-1, 0, 0}, 0},
		{"perf_event_open", SYS_perf_event_open, {0, 0, 0, -1, 0}, 0},
		{"userfaultfd", SYS_userfaultfd, {-1}, 0},
		{"fanotify_init", SYS_fanotify_init, {-1, 0}, 0},
		{"lookup_dcookie", SYS_lookup_dcookie, {0, 0, 0}, 0},
		{"move_pages", SYS_move_pages, {0, 0, 0, 0, 0, 0}, 0},
		{"keyctl", SYS_keyctl, {KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0}, 0},
		{"add_key", SYS_add_key, {0, 0, 0, 0, 0}, 0},
		{"request_key", SYS_request_key, {0, 0, 0, 0}, 0},
	};

	expect_denied(native, ARRAY_SIZE(native));
#ifdef __x86_64__
	static const struct call i386[] = {
		{"i386 bpf", 357, {-1, 0, 0}, 0},
		{"i386 perf_event_open", 336, {0, 0, 0, -1, 0}, 0},
		{"i386 userfaultfd", 374, {-1}, 0},
		{"i386 fanotify_init", 338, {-1, 0}, 0},
		{"i386 move_pages", 317, {0, 0, 0, 0, 0}, 0},
		{"i386 keyctl", 288, {KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0}, 0},
		{"i386 add_key", 286, {0, 0, 0, 0, 0}, 0},
		{"i386 request_key", 287, {0, 0, 0, 0}, 0},
	};
	static const long x32[] = {248, 249, 250, 298, 321, 323, 533};

	expect_denied_i386(i386, ARRAY_SIZE(i386));
	expect_no_x32(x32, ARRAY_SIZE(x32));
#endif
}

static void test_T7_bpf_perf_keys_are_denied_on_every_abi(void **state)
{
	(void)state;
	run_filtered(deny_kernel_surface);
}

static bool family_is_allowed(int family)
{
	return family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
}

static void deny_families(void)
{
	for (int family = 0; family < AF_MAX + 20; family++) {
		unsigned long f = (unsigned long)family;

		if (family_is_allowed(family))
			continue;
		expect("socket", syscall(SYS_socket, f, SOCK_STREAM, 0), EAFNOSUPPORT);
		expect("socket | 1 << 32", syscall(SYS_socket, f | GARBAGE, SOCK_SEQPACKET, 0),
		       EAFNOSUPPORT);
		expect("socket dgram", syscall(SYS_socket, f, SOCK_DGRAM, 0), EAFNOSUPPORT);
		expect("socketpair", syscall(SYS_socketpair, f, SOCK_STREAM, 0, NULL),
		       EAFNOSUPPORT);
	}
	/* All netlink but routing, of which the first two are there on every kernel. */
	expect("NETLINK_KOBJECT_UEVENT", socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT),
	       EPROTONOSUPPORT);
	expect("NETLINK_GENERIC", socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC), EPROTONOSUPPORT);
	expect("NETLINK_NETFILTER",
	       syscall(SYS_socket, AF_NETLINK | GARBAGE, SOCK_RAW, NETLINK_NETFILTER | GARBAGE),
	       EPROTONOSUPPORT);
#ifdef __x86_64__
	static const struct call i386[] = {
		/* With a NULL for its arguments: EFAULT if it were let through. */
		{"i386 socketcall socket", 102, {1, 0}, ENOSYS},
		{"i386 socketcall bind", 102, {2, 0}, ENOSYS},
		{"i386 socketcall socketpair", 102, {8, 0}, ENOSYS},
		{"i386 AF_VSOCK", 359, {AF_VSOCK, SOCK_STREAM, 0}, EAFNOSUPPORT},
		{"i386 AF_ALG", 359, {AF_ALG, SOCK_SEQPACKET, 0}, EAFNOSUPPORT},
		{"i386 AF_PACKET", 359, {AF_PACKET, SOCK_RAW, 0}, EAFNOSUPPORT},
		{"i386 NETLINK_GENERIC",
		 359,
		 {AF_NETLINK, SOCK_RAW, NETLINK_GENERIC},
		 EPROTONOSUPPORT},
		{"i386 socketpair", 360, {AF_TIPC, SOCK_STREAM, 0, 0}, EAFNOSUPPORT},
		/* The direct call works: a bad type of an allowed family. */
		{"i386 AF_UNIX", 359, {AF_UNIX, 15, 0}, EINVAL},
	};
	static const long x32[] = {41, 53};

	expect_denied_i386(i386, ARRAY_SIZE(i386));
	expect_no_x32(x32, ARRAY_SIZE(x32));
#endif
}

static void test_T7_socket_families_are_denied_on_every_abi(void **state)
{
	(void)state;
	run_filtered(deny_families);
}

static void check_personality(void)
{
	static const struct call native[] = {
		{"READ_IMPLIES_EXEC", SYS_personality, {READ_IMPLIES_EXEC}, 0},
		{"MMAP_PAGE_ZERO", SYS_personality, {MMAP_PAGE_ZERO}, 0},
		{"READ_IMPLIES_EXEC | 1 << 32", SYS_personality, {READ_IMPLIES_EXEC | GARBAGE}, 0},
		{"allowed and denied", SYS_personality, {ADDR_NO_RANDOMIZE | MMAP_PAGE_ZERO}, 0},
		{"PER_SVR4", SYS_personality, {PER_SVR4}, 0},
		{"almost the query", SYS_personality, {0xfffffffeUL}, 0},
	};

	expect_denied(native, ARRAY_SIZE(native));
	expect("query", syscall(SYS_personality, 0xffffffffUL), 0);
	expect("ADDR_NO_RANDOMIZE", syscall(SYS_personality, ADDR_NO_RANDOMIZE), 0);
	expect("PER_LINUX", syscall(SYS_personality, PER_LINUX), 0);
#ifdef __x86_64__
	static const struct call i386[] = {
		{"i386 READ_IMPLIES_EXEC", 136, {READ_IMPLIES_EXEC}, 0},
	};
	static const long x32[] = {135};

	expect("PER_LINUX32", syscall(SYS_personality, PER_LINUX32 | ADDR_NO_RANDOMIZE), 0);
	expect("PER_LINUX", syscall(SYS_personality, PER_LINUX), 0);
	expect_denied_i386(i386, ARRAY_SIZE(i386));
	expect_no_x32(x32, ARRAY_SIZE(x32));
#endif
}

static void test_T7_only_harmless_personalities(void **state)
{
	(void)state;
	run_filtered(check_personality);
}

static void try_unknown_numbers(void)
{
	for (long number = OPEN_TREE_ATTR; number < 1000; number++)
		expect("an unknown number", syscall(number, -1, -1, -1, -1, -1), ENOSYS);
	expect("number -1", syscall(-1), ENOSYS);
}

static void test_T7_unknown_numbers_are_ENOSYS(void **state)
{
	(void)state;
	run_filtered(try_unknown_numbers);
}

static void *in_thread(void *data)
{
	*(int *)data = 42;
	return NULL;
}

static void expect_exit(const char *what, pid_t pid, int code)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		wrong("%s: %s", what, strerror(errno));
	else if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
		wrong("%s: status %#x", what, status);
}

static void expect_shell(const char *what, const char *script, int code)
{
	const char *argv[] = {"sh", "-c", script, NULL};
	pid_t pid;

	if (posix_spawn(&pid, "/bin/sh", NULL, NULL, (char *const *)argv, environ) != 0)
		wrong("posix_spawn");
	else
		expect_exit(what, pid, code);
}

static void use_processes(void)
{
	pthread_t thread;
	int value = 0;
	pid_t pid;

	pid = fork();
	if (pid == 0)
		_exit(3);
	expect_exit("fork", pid, 3);

	pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): it is what is tested */
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "exit 6", NULL);
		_exit(127);
	}
	expect_exit("vfork and exec", pid, 6);
	expect_shell("posix_spawn", "(exit 4) | (exit 5) & wait; exit 7", 7);

	if (pthread_create(&thread, NULL, in_thread, &value) != 0 ||
	    pthread_join(thread, NULL) != 0 || value != 42)
		wrong("a thread");
	expect("unshare(CLONE_FILES)", unshare(CLONE_FILES), 0);
	expect("unshare(CLONE_FS)", unshare(CLONE_FS), 0);
}

static void test_processes_and_threads_work(void **state)
{
	(void)state;
	run_filtered(use_processes);
}

static void use_sockets(void)
{
	struct ifaddrs *addresses;
	int pair[2];

	expect("AF_UNIX", socket(AF_UNIX, SOCK_STREAM, 0), 0);
	expect("AF_UNIX | 1 << 32", syscall(SYS_socket, AF_UNIX | GARBAGE, SOCK_STREAM, GARBAGE),
	       0);
	expect("AF_INET", socket(AF_INET, SOCK_STREAM, 0), 0);
	/* There may be no IPv6 here; the filter's answer is the same as the kernel's then. */
	if (access("/proc/net/if_inet6", F_OK) == 0)
		expect("AF_INET6", socket(AF_INET6, SOCK_DGRAM, 0), 0);
	expect("AF_NETLINK",
	       syscall(SYS_socket, AF_NETLINK | GARBAGE, SOCK_RAW, NETLINK_ROUTE | GARBAGE), 0);
	expect("socketpair", socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	if (getifaddrs(&addresses) < 0)
		wrong("getifaddrs: %s", strerror(errno));
	else
		freeifaddrs(addresses);
}

static void test_T7_ordinary_sockets_work(void **state)
{
	(void)state;
	run_filtered(use_sockets);
}

static void use_tracing_and_sandboxing(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		wrong("a traced child did not stop: status %#x", status);
	expect("PTRACE_CONT", ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
	expect_exit("a traced child", pid, 0);

	/* A program's own sandbox: a second filter, and landlock if the kernel has it. */
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {1, &allow};

	expect("a second filter", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), 0);
	if (syscall(444, NULL, 0, 1) < 0 && errno != ENOSYS && errno != EOPNOTSUPP)
		wrong("landlock_create_ruleset: %s", strerror(errno));
	if (privilege_filter(NULL) < 0)
		wrong("the filter on top of itself");
}

static void test_T13_tracing_and_own_sandboxes_work(void **state)
{
	(void)state;
	run_filtered(use_tracing_and_sandboxing);
}

/* A tracer skips a call and sets its result; the filter must not replace that. */
static void skip_a_call(void)
{
#ifdef __x86_64__
	enum { RAX = 10 * 8, ORIG_RAX = 15 * 8 };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(syscall(SYS_getppid) == 77 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) < 0 ||
		    waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			break;
		if (ptrace(PTRACE_PEEKUSER, pid, (void *)ORIG_RAX, NULL) != SYS_getppid)
			continue;
		ptrace(PTRACE_POKEUSER, pid, (void *)ORIG_RAX, (void *)-1L);
		ptrace(PTRACE_POKEUSER, pid, (void *)RAX, (void *)77L);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		wrong("the result that a tracer has chosen was replaced: status %#x", status);
#endif
}

static void test_T13_a_tracer_may_skip_calls(void **state)
{
	(void)state;
	run_filtered(skip_a_call);
}

static void check_status(const char *key, const char *expected)
{
	char line[256];
	FILE *file = fopen("/proc/self/status", "re");
	size_t length = strlen(key);

	if (!file) {
		wrong("/proc/self/status: %s", strerror(errno));
		return;
	}
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, length) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line + length, expected) != 0)
			wrong("%s%s", key, line + length);
		fclose(file);
		return;
	}
	wrong("no %s in /proc/self/status", key);
	fclose(file);
}

/* As uid 0 of a new user namespace, where every way back to capabilities would be open. */
static bool become_root_of_a_namespace(void)
{
	uid_t uid = geteuid();
	char map[32];
	int fd;

	if (unshare(CLONE_NEWUSER) < 0) {
		wrong("cannot make a user namespace: %s", strerror(errno));
		return false;
	}
	snprintf(map, sizeof(map), "0 %u 1", uid);
	fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, map, strlen(map)) < 0) {
		wrong("cannot map the uid: %s", strerror(errno));
		return false;
	}
	close(fd);
	return true;
}

static void drop_everything(void)
{
	static const char *const caps[] = {"CapInh:\t", "CapPrm:\t", "CapEff:\t", "CapBnd:\t",
					   "CapAmb:\t"};
	static const unsigned long locked = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED |
					    SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
					    SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
					    SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
	struct error err = ERROR_INIT;

	if (!become_root_of_a_namespace())
		return;
	if (privilege_drop(&err) < 0) {
		wrong("%s", err.message);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		check_status(caps[i], "0000000000000000");
	check_status("NoNewPrivs:\t", "1");
	if (prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) != (int)locked)
		wrong("the securebits are %#x", prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
	expect("PR_SET_SECUREBITS", prctl(PR_SET_SECUREBITS, 0, 0, 0, 0), EPERM);
	expect("PR_CAP_AMBIENT_RAISE",
	       prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0), EPERM);
	/* Still uid 0, so that a program it starts would have had everything again. */
	expect_shell("no capabilities after exec as uid 0",
		     "grep -q '^CapEff:.0000000000000000$' /proc/self/status", 0);
	/* A second time there is nothing to give up with. */
	if (privilege_drop(&err) == 0)
		wrong("dropping without CAP_SETPCAP says that it worked");
	error_clear(&err);
}

static void test_T5_capabilities_are_gone_for_good(void **state)
{
	(void)state;
	assert_int_equal(run_child(drop_everything), 0);
}

static long find_key(void)
{
	return syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "jib-test", 0);
}

static void leave_keys_behind(void)
{
	struct error err = ERROR_INIT;
	bool have = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0 &&
		    syscall(SYS_add_key, "user", "jib-test", "x", 1, KEY_SPEC_SESSION_KEYRING) >= 0;

	if (!have)
		print_message("no keys to be had here (%s)\n", strerror(errno));
	else
		expect("the key before", find_key(), 0);
	if (privilege_new_keyring(&err) < 0)
		wrong("%s", err.message);
	if (have)
		expect("the key after", find_key(), ENOKEY);
	error_clear(&err);
}

static void test_T9_session_keys_stay_behind(void **state)
{
	(void)state;
	assert_int_equal(run_child(leave_keys_behind), 0);
}

static int keyctl_error;

/* Makes keyctl(2) fail as an outer container or a full quota would. */
static void tolerate_keyctl_error(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_keyctl, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)keyctl_error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {ARRAY_SIZE(code), code};
	bool tolerated = keyctl_error != ENOMEM;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	expect("a filter", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), 0);
	if ((privilege_new_keyring(NULL) == 0) != tolerated)
		wrong("%s was%s tolerated", strerrorname_np(keyctl_error), tolerated ? " not" : "");
}

static void test_T9_a_kernel_without_keys_is_tolerated(void **state)
{
	static const int errors[] = {ENOSYS, EDQUOT, EPERM, EACCES, ENOMEM};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		keyctl_error = errors[i];
		assert_int_equal(run_child(tolerate_keyctl_error), 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_T2_terminal_input_is_denied_on_every_abi),
		cmocka_unit_test(test_T4_open_by_handle_is_denied_on_every_abi),
		cmocka_unit_test(test_T5_the_machine_is_out_of_reach_on_every_abi),
		cmocka_unit_test(test_T5_capabilities_are_gone_for_good),
		cmocka_unit_test(test_T6_namespaces_are_denied_on_every_abi),
		cmocka_unit_test(test_T6_mounts_are_denied_on_every_abi),
		cmocka_unit_test(test_T7_io_uring_is_denied_on_every_abi),
		cmocka_unit_test(test_T7_bpf_perf_keys_are_denied_on_every_abi),
		cmocka_unit_test(test_T7_socket_families_are_denied_on_every_abi),
		cmocka_unit_test(test_T7_only_harmless_personalities),
		cmocka_unit_test(test_T7_unknown_numbers_are_ENOSYS),
		cmocka_unit_test(test_T7_ordinary_sockets_work),
		cmocka_unit_test(test_T9_session_keys_stay_behind),
		cmocka_unit_test(test_T9_a_kernel_without_keys_is_tolerated),
		cmocka_unit_test(test_T13_tracing_and_own_sandboxes_work),
		cmocka_unit_test(test_T13_a_tracer_may_skip_calls),
		cmocka_unit_test(test_processes_and_threads_work),
	};

#ifdef __x86_64__
	return cmocka_run_group_tests(tests, find_i386, NULL);
#else
	return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}
