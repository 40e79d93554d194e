/*
 * seccomp-generate: compiles the sandbox's seccomp filters into C arrays, at build time.
 *
 * `seccomp-generate deny` prints the header that kernel/privilege.c includes. This file is the
 * filter's policy: what is denied, and for which threat of the catalog (T1 to T100,
 * design/threats.md). `seccomp-generate notify` prints the one that guest/notify.c includes: which
 * system calls of its commands the guest's init is asked about. A denial wins over a question.
 *
 * The denying program has three parts. BPF jumps are relative and go forward, so they can be put
 * together as they are:
 *
 *   1. a prologue, by hand, that refuses every number which is not known here;
 *   2. the dispatch by architecture and number, as a binary tree, by libseccomp;
 *   3. the checks of arguments, by hand. libseccomp compares all 64 bits of an argument and has
 *      no "any of these bits", but the kernel takes an int: with 64 bits compared,
 *      ioctl(fd, TIOCSTI | 1 << 32) would pass. A check loads the low half and nothing else.
 *
 * Part 2 hands over to part 3 through a tag: a system call with a check gets the action
 * TRACE(check), which nothing else uses, and each such return then becomes a jump to the check.
 *
 * What is not denied is allowed. ptrace(2) and process_vm_readv(2) are meant to work: the pid
 * namespace bounds what they reach (T13), and gdb and strace are tools of the trade.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/socket.h>

#include "base/memory.h"

/* The low half of an argument is its first four bytes. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "no big-endian machine is supported");

/*
 * The last number that was looked at; numbers are the same on every ABI since 403. What is
 * above is answered as an older kernel would answer it, with ENOSYS, and programs fall back:
 *
 *   - system calls that the kernel gets after this was written. The first of them is 467,
 *     open_tree_attr(2), which is a way around the ban on mount_setattr(2) (T6);
 *   - the whole x32 ABI, whose numbers have bit 30 set (T7). Nothing is built for it, and kernels
 *     before 5.4 ran any native system call under its x32 number too;
 *   - 512 to 547 without bit 30, by which those kernels reached x32's own variants.
 */
enum { LAST_NUMBER = 466 };

/* Private numbers of 32-bit ARM, such as set_tls. Start-up code needs them. */
enum { ARM_PRIVATE = 0x0f0000 };

enum {
	/* Everything that makes a new namespace. */
	NEW_NAMESPACE = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
			CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET,
	QUERY_PERSONALITY = 0xffffffffU,
	SKIPPED_BY_TRACER = 0xffffffffU,
};

/* A system call that is denied whatever its arguments are. */
struct denial {
	int error;
	const char *name;
};

static const struct denial denials[] = {
	/*
	 * T6: no mounts and no namespaces inside the sandbox. A nested user namespace gives back
	 * every capability, and with it most of the kernel that only root could reach. unshare(2)
	 * and clone(2) are in the checks. The flags of clone3(2) are in memory, where a filter
	 * cannot see them; on ENOSYS the C library falls back to clone(2).
	 */
	{ENOSYS, "clone3"},
	{EPERM, "setns"},
	{EPERM, "mount"},
	{EPERM, "umount"},
	{EPERM, "umount2"},
	{EPERM, "pivot_root"},
	{EPERM, "chroot"},
	{EPERM, "fsopen"},
	{EPERM, "fsconfig"},
	{EPERM, "fsmount"},
	{EPERM, "fspick"},
	{EPERM, "open_tree"},
	{EPERM, "move_mount"},
	{EPERM, "mount_setattr"},

	/* T4: opens any inode of a mounted file system. name_to_handle_at(2) only names one. */
	{EPERM, "open_by_handle_at"},

	/*
	 * T7: interfaces whose size or history makes them the usual way into the kernel. io_uring
	 * also does its work past any filter. fanotify_init(2) watches whole mounts.
	 */
	{EPERM, "io_uring_setup"},
	{EPERM, "io_uring_enter"},
	{EPERM, "io_uring_register"},
	{EPERM, "bpf"},
	{EPERM, "perf_event_open"},
	{EPERM, "userfaultfd"},
	{EPERM, "fanotify_init"},
	{EPERM, "lookup_dcookie"},
	{EPERM, "nfsservctl"},
	{EPERM, "move_pages"},
	{EPERM, "vm86"},
	{EPERM, "vm86old"},

	/* T7, T9: keyrings are not namespaced; what root or the user keeps there stays there. */
	{EPERM, "keyctl"},
	{EPERM, "add_key"},
	{EPERM, "request_key"},

	/* T7: on i386 it hides the arguments of socket(2) in memory. There are direct calls. */
	{ENOSYS, "socketcall"},

	/* T5: the machine itself. The capabilities are gone as well; this is the second lock. */
	{EPERM, "kexec_load"},
	{EPERM, "kexec_file_load"},
	{EPERM, "create_module"},
	{EPERM, "init_module"},
	{EPERM, "finit_module"},
	{EPERM, "delete_module"},
	{EPERM, "reboot"},
	{EPERM, "swapon"},
	{EPERM, "swapoff"},
	{EPERM, "syslog"},
	{EPERM, "acct"},
	{EPERM, "quotactl"},
	{EPERM, "quotactl_fd"},
	{EPERM, "settimeofday"},
	{EPERM, "stime"},
	{EPERM, "clock_settime"},
	{EPERM, "clock_settime64"},
	{EPERM, "clock_adjtime"},
	{EPERM, "clock_adjtime64"},
	{EPERM, "iopl"},
	{EPERM, "ioperm"},
	{EPERM, "vhangup"},
};

#define LOAD_NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define LOAD_LOW(arg) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + (arg)*8)
/* As in BPF itself: `yes` and `no` are how many instructions to skip. */
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))
#define IF_ABOVE(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (value), (yes), (no))
#define IF_ANY_BIT(mask, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (mask), (yes), (no))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define DENY(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))

/* T6: fork and threads, but no new namespace. */
static const struct sock_filter check_clone[] = {
	LOAD_LOW(0),
	IF_ANY_BIT(NEW_NAMESPACE, 0, 1),
	DENY(EPERM),
	ALLOW,
};

/* CLONE_NEWTIME is here alone: clone(2) has the exit signal where that bit is. */
static const struct sock_filter check_unshare[] = {
	LOAD_LOW(0),
	IF_ANY_BIT(NEW_NAMESPACE | CLONE_NEWTIME, 0, 1),
	DENY(EPERM),
	ALLOW,
};

/* T2: no input put into a terminal, and no paste of the console's selection. */
static const struct sock_filter check_ioctl[] = {
	LOAD_LOW(1), IF_EQUAL(TIOCSTI, 1, 0), IF_EQUAL(TIOCLINUX, 0, 1), DENY(EPERM), ALLOW,
};

/* T7: only to ask, to be 32-bit, and to run without address randomisation as gdb does. */
static const struct sock_filter check_personality[] = {
	LOAD_LOW(0),
	IF_EQUAL(QUERY_PERSONALITY, 2, 0),
	IF_ANY_BIT(~(uint32_t)(PER_LINUX32 | ADDR_NO_RANDOMIZE), 0, 1),
	DENY(EPERM),
	ALLOW,
};

/*
 * T7: unix and internet sockets, and the netlink of getifaddrs(3). Neither AF_VSOCK nor AF_ALG
 * knows of network namespaces; the other families are kernel code that nobody needs in here. The
 * answers are those of a kernel that was built without them.
 */
static const struct sock_filter check_socket[] = {
	LOAD_LOW(0),
	IF_EQUAL(AF_UNIX, 5, 0),
	IF_EQUAL(AF_INET, 4, 0),
	IF_EQUAL(AF_INET6, 3, 0),
	IF_EQUAL(AF_NETLINK, 0, 3),
	LOAD_LOW(2),
	IF_EQUAL(NETLINK_ROUTE, 0, 2),
	ALLOW,
	DENY(EAFNOSUPPORT),
	DENY(EPROTONOSUPPORT),
};

/* A system call whose low argument halves decide. */
struct check {
	const char *name;
	const struct sock_filter *code;
	size_t length;
};

static const struct check checks[] = {
	{"clone", check_clone, ARRAY_SIZE(check_clone)},
	{"unshare", check_unshare, ARRAY_SIZE(check_unshare)},
	{"ioctl", check_ioctl, ARRAY_SIZE(check_ioctl)},
	{"personality", check_personality, ARRAY_SIZE(check_personality)},
	{"socket", check_socket, ARRAY_SIZE(check_socket)},
	{"socketpair", check_socket, ARRAY_SIZE(check_socket)},
};

/*
 * A tracer that skips a system call sets its number to -1, and has chosen the result already. An
 * answer from here would replace it.
 */
static const struct sock_filter prologue_x86[] = {
	LOAD_NUMBER,
	IF_ABOVE(LAST_NUMBER, 0, 2),
	IF_EQUAL(SKIPPED_BY_TRACER, 1, 0),
	DENY(ENOSYS),
};

/* Native numbers of this size do not exist, so the exception does no harm there. */
static const struct sock_filter prologue_arm[] = {
	LOAD_NUMBER,
	IF_ABOVE(LAST_NUMBER, 0, 2),
	IF_ABOVE(ARM_PRIVATE - 1, 1, 0),
	DENY(ENOSYS),
};

struct program {
	struct sock_filter code[BPF_MAXINSNS];
	size_t length;
};

static void fail(const char *what, int number) __attribute__((noreturn));
static void fail(const char *what, int number)
{
	fprintf(stderr, "seccomp-generate: %s: %s\n", what, strerror(number));
	exit(1);
}

static void append(struct program *program, const struct sock_filter *code, size_t length)
{
	if (length > ARRAY_SIZE(program->code) - program->length)
		fail("the filter is longer than the kernel takes", E2BIG);
	memcpy(program->code + program->length, code, length * sizeof(*code));
	program->length += length;
}

static void add_rule(scmp_filter_ctx filter, const char *name, uint32_t action)
{
	int number = seccomp_syscall_resolve_name(name);
	int result;

	if (number == __NR_SCMP_ERROR)
		fail(name, ENOSYS);
	/* Not the _exact variant: most names exist on one architecture and not on the other. */
	result = seccomp_rule_add(filter, action, number, 0);
	if (result < 0)
		fail(name, -result);
}

static void set_attribute(scmp_filter_ctx filter, enum scmp_filter_attr attribute, uint32_t value)
{
	int result = seccomp_attr_set(filter, attribute, value);

	if (result < 0)
		fail("seccomp_attr_set", -result);
}

/* A filter of both ABIs that allows everything as yet. */
static scmp_filter_ctx new_filter(uint32_t compat, uint32_t other_abi)
{
	scmp_filter_ctx filter;
	int result;

	/* What is built does not depend on the kernel of the build machine. 5: SCMP_ACT_NOTIFY. */
	result = seccomp_api_set(5);
	if (result < 0)
		fail("seccomp_api_set", -result);
	filter = seccomp_init(SCMP_ACT_ALLOW);
	if (!filter)
		fail("seccomp_init", ENOMEM);
	result = seccomp_arch_add(filter, compat);
	if (result < 0)
		fail("seccomp_arch_add", -result);
	set_attribute(filter, SCMP_FLTATR_ACT_BADARCH, other_abi);
	set_attribute(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return filter;
}

/* libseccomp's part, with a tag where a check has to follow. */
static scmp_filter_ctx build_dispatch(uint32_t compat)
{
	scmp_filter_ctx filter = new_filter(compat, SCMP_ACT_KILL_PROCESS);

	for (size_t i = 0; i < ARRAY_SIZE(denials); i++)
		add_rule(filter, denials[i].name, SCMP_ACT_ERRNO((uint32_t)denials[i].error));
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		add_rule(filter, checks[i].name, SCMP_ACT_TRACE(i));
	return filter;
}

/* Releases the filter. */
static void append_filter(struct program *program, scmp_filter_ctx filter)
{
	struct sock_filter code[BPF_MAXINSNS];
	FILE *file = tmpfile();
	size_t length;
	int result;

	if (!file)
		fail("tmpfile", errno);
	result = seccomp_export_bpf(filter, fileno(file));
	if (result < 0)
		fail("seccomp_export_bpf", -result);
	rewind(file);
	length = fread(code, sizeof(*code), ARRAY_SIZE(code), file);
	if (length == 0 || fgetc(file) != EOF)
		fail("the dispatch does not fit a filter", E2BIG);
	append(program, code, length);
	fclose(file);
	seccomp_release(filter);
}

static bool is_tag(const struct sock_filter *instruction, size_t check)
{
	return instruction->code == (BPF_RET | BPF_K) &&
	       instruction->k == (SECCOMP_RET_TRACE | (uint32_t)check);
}

/* Puts every check behind the dispatch, and turns the tags into jumps to them. */
static void append_checks(struct program *program)
{
	size_t end = program->length;

	for (size_t check = 0; check < ARRAY_SIZE(checks); check++) {
		bool used = false;

		for (size_t i = 0; i < end; i++) {
			if (!is_tag(&program->code[i], check))
				continue;
			program->code[i] = (struct sock_filter)BPF_STMT(
				BPF_JMP | BPF_JA, (uint32_t)(program->length - i - 1));
			used = true;
		}
		if (!used)
			fail(checks[check].name, ENOENT);
		append(program, checks[check].code, checks[check].length);
	}
}

/* Which system calls init is asked about, and what guest/notify.c calls the question. */
struct notice {
	const char *name;
	const char *question;
	unsigned int arg_count;
	struct scmp_arg_cmp args[3];
};

enum { LOW = 0xffffffffU };

/*
 * A null pointer is null in all 64 bits. Of an int the kernel takes the low half, and so does the
 * comparison. utimensat(2) of an open file, without a path, is not in question.
 */
#define NULL_IS(arg) SCMP_CMP64(arg, SCMP_CMP_EQ, 0, 0)
#define INT_IS(arg, value) SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, LOW, (uint32_t)(value))
#define BIT_IS_SET(arg, bit) SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, bit, bit)
#define STAMP_NOW_AT                                          \
	{                                                     \
		INT_IS(0, AT_FDCWD), NULL_IS(2), INT_IS(3, 0) \
	}

static const struct notice notices[] = {
	/* T37: overlayfs does not rename a directory of a layer. */
	{.name = "rename", .question = "ASKED_RENAME"},
	{.name = "renameat", .question = "ASKED_RENAMEAT"},
	{.name = "renameat2", .question = "ASKED_RENAMEAT2"},
	/* What is mounted into a sandbox can be emptied, and not removed. */
	{.name = "rmdir", .question = "ASKED_RMDIR"},
	{"unlinkat", "ASKED_UNLINKAT", 1, {BIT_IS_SET(2, AT_REMOVEDIR)}},
	/* git marks a pack as used by its time, and overlayfs would copy all of it for that. */
	{"utime", "ASKED_UTIME", 1, {NULL_IS(1)}},
	{"utimes", "ASKED_UTIME", 1, {NULL_IS(1)}},
	{"futimesat", "ASKED_UTIMENSAT", 2, {INT_IS(0, AT_FDCWD), NULL_IS(2)}},
	{"utimensat", "ASKED_UTIMENSAT", 3, STAMP_NOW_AT},
	{"utimensat_time64", "ASKED_UTIMENSAT", 3, STAMP_NOW_AT},
	/* Who takes rights from itself must not get them back by asking init. */
	{.name = "landlock_restrict_self", .question = "ASKED_RESTRICT"},
};

/*
 * Without a denial there is no reason to end a process of another ABI. What is allowed for every
 * argument the kernel knows after the first time, without running the program again.
 */
static void append_notices(struct program *program, uint32_t compat)
{
	scmp_filter_ctx filter = new_filter(compat, SCMP_ACT_ALLOW);

	for (size_t i = 0; i < ARRAY_SIZE(notices); i++) {
		const struct notice *notice = &notices[i];
		int number = seccomp_syscall_resolve_name(notice->name);
		int result;

		if (number == __NR_SCMP_ERROR)
			fail(notice->name, ENOSYS);
		result = seccomp_rule_add_array(filter, SCMP_ACT_NOTIFY, number, notice->arg_count,
						notice->args);
		if (result < 0)
			fail(notice->name, -result);
	}
	append_filter(program, filter);
}

static void print_program(const char *name, const struct program *program)
{
	printf("/* Made by seccomp-generate. Do not edit. */\n"
	       "#pragma once\n\n"
	       "#include <linux/filter.h>\n\n"
	       "static const struct sock_filter %s[] = {\n",
	       name);
	for (size_t i = 0; i < program->length; i++) {
		const struct sock_filter *at = &program->code[i];

		printf("\t{0x%02x, %u, %u, 0x%08x},\n", at->code, at->jt, at->jf, at->k);
	}
	printf("};\n");
}

/* The numbers of an ABI, with which the kernel asks. */
static void print_questions(uint32_t arch)
{
	for (size_t i = 0; i < ARRAY_SIZE(notices); i++) {
		int number = seccomp_syscall_resolve_name_arch(arch, notices[i].name);

		if (number >= 0)
			printf("\t{0x%08x, %d, %s}, /* %s */\n", arch, number, notices[i].question,
			       notices[i].name);
	}
}

static void print_notify(struct program *program, uint32_t compat)
{
	append_notices(program, compat);
	print_program("notify_filter", program);
	printf("\nstatic const struct {\n"
	       "\tunsigned int arch;\n"
	       "\tint number;\n"
	       "\tenum question question;\n"
	       "} notify_questions[] = {\n");
	print_questions(seccomp_arch_native());
	print_questions(compat);
	printf("};\n");
}

static void print_deny(struct program *program, uint32_t compat)
{
	if (compat == SCMP_ARCH_X86)
		append(program, prologue_x86, ARRAY_SIZE(prologue_x86));
	else
		append(program, prologue_arm, ARRAY_SIZE(prologue_arm));
	append_filter(program, build_dispatch(compat));
	append_checks(program);
	print_program("seccomp_filter", program);
}

static uint32_t compat_arch(void)
{
	switch (seccomp_arch_native()) {
	case SCMP_ARCH_X86_64:
		return SCMP_ARCH_X86;
	case SCMP_ARCH_AARCH64:
		return SCMP_ARCH_ARM;
	default:
		fail("the filter was not thought through for this architecture", ENOSYS);
	}
}

int main(int argc, char **argv)
{
	static struct program program;

	if (argc == 2 && strcmp(argv[1], "deny") == 0)
		print_deny(&program, compat_arch());
	else if (argc == 2 && strcmp(argv[1], "notify") == 0)
		print_notify(&program, compat_arch());
	else
		fail("usage: seccomp-generate deny|notify", EINVAL);
	if (fflush(stdout) != 0 || ferror(stdout))
		fail("cannot write the filter", errno);
	return 0;
}
