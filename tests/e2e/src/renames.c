/*
 * renames: system calls about directories, from a static binary.
 *
 *   renames CALL OLD NEW     rename, renameat, noreplace, exchange, both (of the last two):
 *                            prints "ok" or the errno's name
 *   renames i386 OLD NEW     rename(2) through the 32-bit ABI; status 3 when there is none
 *   renames rmdir PATH       the same
 *   renames stamp PATH       utimensat(2) to now
 *   renames swing A B COUNT  renames A to B and back, COUNT times
 *   renames chdir            renames a.d and b.d by paths relative to the directory c.d: an open
 *                            one, and the working directory of a single thread
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int say(int result)
{
	puts(result == 0 ? "ok" : strerrorname_np(errno));
	return 0;
}

#ifdef __x86_64__
static void no_such_abi(int number)
{
	(void)number;
	_exit(3);
}

static char *low(const char *text)
{
	enum { SIZE = 4096 };
	char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	return map == MAP_FAILED ? NULL : memcpy(map, text, strlen(text) + 1);
}

static int rename_i386(const char *from, const char *to)
{
	enum { RENAME = 38 };
	int result;

	/* A kernel without that ABI answers `int 0x80` with a fault. */
	signal(SIGSEGV, no_such_abi);
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(RENAME), "b"(low(from)), "c"(low(to))
			 : "memory", "cc", "r8", "r9", "r10", "r11");
	if (result == -ENOSYS)
		return 3;
	errno = -result;
	return say(result);
}
#else
static int rename_i386(const char *from, const char *to)
{
	(void)from;
	(void)to;
	return 3;
}
#endif

static int swing(const char *a, const char *b, long count)
{
	for (long i = 0; i < count; i++)
		if (rename(i % 2 ? b : a, i % 2 ? a : b) < 0)
			return say(-1), 1;
	return say(0);
}

static void *in_directory(void *data)
{
	(void)data;
	/* With the thread's own working directory, what counts is the thread and not its process. */
	if (syscall(SYS_unshare, CLONE_FS) < 0 || chdir("c.d") < 0)
		return NULL;
	say(rename("../a.d", "../moved"));
	return NULL;
}

static int from_elsewhere(void)
{
	pthread_t thread;
	int dir = open("c.d", O_PATH | O_DIRECTORY | O_CLOEXEC);

	say(renameat2(dir, "../a.d", dir, "../b.d", RENAME_EXCHANGE));
	if (pthread_create(&thread, NULL, in_directory, NULL) != 0)
		return 1;
	pthread_join(thread, NULL);
	return say(rename("moved", "a.d"));
}

int main(int argc, char **argv)
{
	const char *call = argc > 1 ? argv[1] : "";

	if (argc == 4 && strcmp(call, "rename") == 0)
		return say(rename(argv[2], argv[3]));
	if (argc == 4 && strcmp(call, "renameat") == 0)
		return say((int)syscall(SYS_renameat, AT_FDCWD, argv[2], AT_FDCWD, argv[3]));
	if (argc == 4 && strcmp(call, "noreplace") == 0)
		return say(renameat2(AT_FDCWD, argv[2], AT_FDCWD, argv[3], RENAME_NOREPLACE));
	if (argc == 4 && strcmp(call, "exchange") == 0)
		return say(renameat2(AT_FDCWD, argv[2], AT_FDCWD, argv[3], RENAME_EXCHANGE));
	if (argc == 4 && strcmp(call, "both") == 0)
		return say(renameat2(AT_FDCWD, argv[2], AT_FDCWD, argv[3], 3));
	if (argc == 4 && strcmp(call, "i386") == 0)
		return rename_i386(argv[2], argv[3]);
	if (argc == 3 && strcmp(call, "rmdir") == 0)
		return say(rmdir(argv[2]));
	if (argc == 3 && strcmp(call, "stamp") == 0)
		return say(utimensat(AT_FDCWD, argv[2], NULL, 0));
	if (argc == 5 && strcmp(call, "swing") == 0)
		return swing(argv[2], argv[3], strtol(argv[4], NULL, 10));
	if (argc == 2 && strcmp(call, "chdir") == 0)
		return from_elsewhere();
	return 2;
}
