#include "faults.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

#include <linux/ptrace.h>

#if defined(__x86_64__)

/* At the entry: another call, which does not exist. At the exit: what it has returned. */
static void skip_call(pid_t pid)
{
	struct user_regs_struct regs;

	assert_int_equal(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	regs.orig_rax = (unsigned long long)-1;
	assert_int_equal(ptrace(PTRACE_SETREGS, pid, NULL, &regs), 0);
}

static void set_result(pid_t pid, int number)
{
	struct user_regs_struct regs;

	assert_int_equal(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	regs.rax = (unsigned long long)(long long)-number;
	assert_int_equal(ptrace(PTRACE_SETREGS, pid, NULL, &regs), 0);
}

#elif defined(__aarch64__)

static void skip_call(pid_t pid)
{
	int call = -1;
	struct iovec iov = {&call, sizeof call};

	assert_int_equal(ptrace(PTRACE_SETREGSET, pid, (void *)NT_ARM_SYSTEM_CALL, &iov), 0);
}

static void set_result(pid_t pid, int number)
{
	struct user_regs_struct regs;
	struct iovec iov = {&regs, sizeof regs};

	assert_int_equal(ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &iov), 0);
	regs.regs[0] = (unsigned long long)(long long)-number;
	assert_int_equal(ptrace(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS, &iov), 0);
}

#else
#error "how does a system call fail on this machine?"
#endif

static bool is_writing(uint64_t call)
{
	static const long calls[] = {
		SYS_write,	     SYS_fsync,	   SYS_mkdirat,	  SYS_openat2,
		SYS_renameat2,	     SYS_renameat, SYS_unlinkat,  SYS_symlinkat,
		SYS_copy_file_range, SYS_fchmod,   SYS_ftruncate, SYS_clone,
	};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if ((long)call == calls[i])
			return true;
	return false;
}

/* Between two of these nothing changes on the disk. */
static bool counts(uint64_t call, const struct fault *fault)
{
	return is_writing(call) || (!fault->number && (call == SYS_wait4 || call == SYS_clone3 ||
						       call == SYS_exit_group));
}

static pid_t start(int (*body)(void *data), void *data)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 || raise(SIGSTOP) != 0)
		_exit(99);
	_exit(body(data) == 0 ? 0 : 1);
}

static int await(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	return status;
}

enum fault_result faults_run(int (*body)(void *data), void *data, const struct fault *fault)
{
	pid_t pid = start(body, data);
	int count = 0, signal_number = 0, injected = 0;
	bool skipping = false;

	assert_true(WIFSTOPPED(await(pid)));
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, NULL,
				(void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)),
			 0);
	for (;;) {
		struct ptrace_syscall_info info;

		assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)signal_number),
				 0);
		int status = await(pid);

		signal_number = 0;
		if (WIFEXITED(status)) {
			assert_int_not_equal(WEXITSTATUS(status), 99);
			if (WEXITSTATUS(status) != 0)
				return FAULT_FAILED;
			return injected ? FAULT_HIDDEN : FAULT_NONE;
		}
		if (WIFSIGNALED(status))
			fail_msg("killed by signal %d", WTERMSIG(status));
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			signal_number = WSTOPSIG(status);
			continue;
		}
		assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) > 0);
		if (info.op == PTRACE_SYSCALL_INFO_EXIT && skipping) {
			set_result(pid, fault->number);
			skipping = false;
		}
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !counts(info.entry.nr, fault))
			continue;
		count++;
		if (count < fault->at || (count > fault->at && !fault->forever))
			continue;
		if (fault->number) {
			skip_call(pid);
			skipping = true;
			injected++;
			continue;
		}
		kill(pid, SIGKILL);
		await(pid);
		return FAULT_KILLED;
	}
}
