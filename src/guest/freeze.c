#include "guest/freeze.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

enum { STAT_MAX = 4096, SYSCALL_MAX = 256, STEP_MS = 1, PATIENCE_MS = 20000, INIT = 1 };

struct process {
	pid_t pid;
	pid_t parent;
	size_t children; /* that are to go on before it */
};

struct processes {
	struct process *items;
	size_t count;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool read_file(int dirfd, const char *path, size_t max, struct str *ret)
{
	autoerror struct error ignored = ERROR_INIT;
	autofd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read_all(fd, max, ret, &ignored) == 0 && ret->len;
}

/* State and parent, fields 3 and 4 of a stat file (proc(5)); false when it is gone. */
static bool read_stat(int dirfd, const char *path, char *ret_state, pid_t *ret_parent)
{
	autostr struct str text = STR_INIT;

	if (!read_file(dirfd, path, STAT_MAX, &text))
		return false;
	/* The name may hold anything, but no field after it holds a parenthesis. */
	const char *end = strrchr(text.s, ')');

	if (!end || strlen(end) < strlen(") T 1"))
		return false;
	*ret_state = end[2];
	*ret_parent = (pid_t)strtol(end + 4, NULL, 10);
	return true;
}

static void list_processes(DIR *proc, struct processes *ret)
{
	rewinddir(proc);
	for (const struct dirent *entry; (entry = readdir(proc));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		autofree char *path = xasprintf("%s/stat", entry->d_name);
		pid_t parent;
		char state;

		if (pid <= INIT || !read_stat(dirfd(proc), path, &state, &parent))
			continue;
		/* By doubling: whenever the count is a power of two, the array is full. */
		if ((ret->count & (ret->count - 1)) == 0)
			ret->items = xreallocarray(ret->items, ret->count ? 2 * ret->count : 1,
						   sizeof *ret->items);
		ret->items[ret->count++] = (struct process){.pid = pid, .parent = parent};
	}
}

/*
 * What a thread is at; and what a process or all of them are, the last of these that is true for one.
 * HELD: by its tracer or by a child, which are stopped themselves.
 */
enum standing {
	STANDING_ENDED,
	STANDING_STOPPED,
	STANDING_HELD,
	STANDING_UNKNOWN,
	STANDING_RUNNING
};

/*
 * A thread in state D is in the middle of a system call, at the end of which it stops: a write to a slow
 * disk may take its time. Only the parent of a vfork(2), which waits for its child in the same state, does
 * not get there as long as the child is stopped.
 */
static enum standing standing_in_call(int tasks, const char *thread)
{
	autofree char *path = xasprintf("%s/syscall", thread);
	autostr struct str text = STR_INIT;
	char *end;

	/* Not everywhere may init look at what others are doing. */
	if (!read_file(tasks, path, SYSCALL_MAX, &text))
		return STANDING_UNKNOWN;
	long number = strtol(text.s, &end, 10);

	if (end == text.s)
		return STANDING_RUNNING;
#ifdef SYS_vfork
	if (number == SYS_vfork)
		return STANDING_HELD;
#endif
	return number == SYS_clone || number == SYS_clone3 ? STANDING_HELD : STANDING_RUNNING;
}

static enum standing standing_of_thread(int tasks, const char *thread)
{
	autofree char *path = xasprintf("%s/stat", thread);
	pid_t parent;
	char state;

	if (!read_stat(tasks, path, &state, &parent))
		return STANDING_ENDED;
	switch (state) {
	case 'Z':
	case 'X':
	case 'x':
		return STANDING_ENDED;
	case 'T':
		return STANDING_STOPPED;
	case 't':
		return STANDING_HELD;
	case 'D':
		return standing_in_call(tasks, thread);
	default:
		return STANDING_RUNNING;
	}
}

static enum standing standing_of(int proc, pid_t pid)
{
	autofree char *path = xasprintf("%d/task", (int)pid);
	int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autodir DIR *tasks = fd < 0 ? NULL : fdopendir(fd);
	enum standing all = STANDING_ENDED;

	for (const struct dirent *entry; tasks && (entry = readdir(tasks));) {
		if (entry->d_name[0] == '.')
			continue;
		enum standing one = standing_of_thread(dirfd(tasks), entry->d_name);

		if (one > all)
			all = one;
	}
	return all;
}

static bool was_stopped(const struct freeze *freeze, pid_t pid)
{
	for (size_t i = 0; i < freeze->before_count; i++)
		if (freeze->before[i] == pid)
			return true;
	return false;
}

/* One that does not stop at once is seen to later. */
static void stop_one(int proc, pid_t pid)
{
	enum { STEP_NS = 50000, STEPS = 200 };

	if (kill(pid, SIGSTOP) < 0)
		return;
	for (int i = 0; i < STEPS && standing_of(proc, pid) >= STANDING_UNKNOWN; i++)
		nanosleep(&(struct timespec){.tv_nsec = STEP_NS}, NULL);
}

static bool is_among(const struct processes *processes, pid_t pid)
{
	for (size_t i = 0; i < processes->count; i++)
		if (processes->items[i].pid == pid)
			return true;
	return false;
}

/*
 * Parents before their children: a shell that waits for one (WUNTRACED) would else be told that it was
 * stopped, and take it for a job in the background. Of a crowd only what is near the top.
 */
static void stop_in_order(int proc, const struct freeze *freeze, const struct processes *processes)
{
	enum { DEPTH_MAX = 8, CROWD = 500 };
	autofree bool *done = xcalloc(processes->count + 1, sizeof *done);
	struct processes stopped = {0};

	if (processes->count > CROWD)
		return;
	stopped.items = xcalloc(processes->count + 1, sizeof *stopped.items);
	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		size_t before = stopped.count;

		for (size_t i = 0; i < processes->count; i++) {
			const struct process *process = &processes->items[i];
			struct processes above = {stopped.items, before};

			if (done[i] || (is_among(processes, process->parent) &&
					!is_among(&above, process->parent)))
				continue;
			done[i] = true;
			stopped.items[stopped.count++] = *process;
			if (!was_stopped(freeze, process->pid))
				stop_one(proc, process->pid);
		}
	}
	free(stopped.items);
}

/*
 * One that is only held at this moment has not been stopped: what is sent now would stop it as soon as it
 * is let go.
 */
void freeze_begin(struct freeze *freeze)
{
	autodir DIR *proc = opendir("/proc");
	struct processes processes = {0};

	if (proc)
		list_processes(proc, &processes);
	freeze->before = xcalloc(processes.count + 1, sizeof *freeze->before);
	freeze->before_count = 0;
	for (size_t i = 0; i < processes.count; i++)
		if (standing_of(dirfd(proc), processes.items[i].pid) == STANDING_STOPPED)
			freeze->before[freeze->before_count++] = processes.items[i].pid;
	if (proc)
		stop_in_order(dirfd(proc), freeze, &processes);
	free(processes.items);
	freeze->frozen = true;
	kill(-1, SIGSTOP);
}

/* One look at all. */
static enum standing look(DIR *proc)
{
	struct processes processes = {0};
	enum standing all = STANDING_ENDED;

	list_processes(proc, &processes);
	for (size_t i = 0; i < processes.count; i++) {
		enum standing one = standing_of(dirfd(proc), processes.items[i].pid);

		if (one > all)
			all = one;
	}
	free(processes.items);
	return all;
}

/*
 * Twice in a row: what was let go on by another one after it was looked at is seen the second time. All are
 * stopped again, since those of a group would wake one another if they were stopped one by one.
 */
int freeze_await(struct freeze *freeze)
{
	enum { LOOKS = 2, UNKNOWN_MS = 500 };
	autodir DIR *proc = opendir("/proc");
	int64_t now = now_ms(), end = now + PATIENCE_MS, unknown_since = 0;

	for (int still = 0; proc && now < end; now = now_ms()) {
		enum standing standing = look(proc);

		if (standing < STANDING_UNKNOWN) {
			if (++still == LOOKS)
				return 0;
			continue;
		}
		still = 0;
		if (standing == STANDING_RUNNING) {
			unknown_since = 0;
			kill(-1, SIGSTOP);
		} else if (!unknown_since) {
			unknown_since = now;
		} else if (now - unknown_since > UNKNOWN_MS) {
			return 0;
		}
		nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
	}
	freeze_thaw(freeze);
	errno = ETIMEDOUT;
	return -1;
}

static int by_pid(const void *a, const void *b)
{
	pid_t x = ((const struct process *)a)->pid, y = ((const struct process *)b)->pid;

	return x < y ? -1 : x > y;
}

static struct process *find(const struct processes *processes, pid_t pid)
{
	struct process wanted = {.pid = pid};

	return processes->count
		       ? bsearch(&wanted, processes->items, processes->count, sizeof wanted, by_pid)
		       : NULL;
}

/* This one, and each of its ancestors of which it was the last child. */
static void let_go(const struct freeze *freeze, const struct processes *processes,
		   struct process *process)
{
	while (process && process->children == 0) {
		/* Nobody's turn comes twice. */
		process->children = SIZE_MAX;
		if (!was_stopped(freeze, process->pid))
			kill(process->pid, SIGCONT);
		process = find(processes, process->parent);
		if (process)
			process->children--;
	}
}

/* Children first: a shell that waits must not find one stopped. */
void freeze_thaw(struct freeze *freeze)
{
	autodir DIR *proc = freeze->frozen ? opendir("/proc") : NULL;
	struct processes processes = {0};

	if (proc)
		list_processes(proc, &processes);
	if (processes.count)
		qsort(processes.items, processes.count, sizeof *processes.items, by_pid);
	for (size_t i = 0; i < processes.count; i++) {
		struct process *parent = find(&processes, processes.items[i].parent);

		if (parent)
			parent->children++;
	}
	for (size_t i = 0; i < processes.count; i++)
		let_go(freeze, &processes, &processes.items[i]);
	free(processes.items);
	free(freeze->before);
	*freeze = (struct freeze){0};
}
