#include "guest/freeze.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

enum { STAT_MAX = 4096, STEP_MS = 1, PATIENCE_MS = 5000, WAITING_MS = 100, INIT = 1 };

struct process {
	pid_t pid;
	pid_t parent;
	size_t depth;
};

struct processes {
	struct process *items;
	size_t count;
};

/* State and parent, fields 3 and 4 of a stat file (proc(5)); false when it is gone. */
static bool read_stat(int dirfd, const char *path, char *ret_state, pid_t *ret_parent)
{
	autoerror struct error ignored = ERROR_INIT;
	autostr struct str text = STR_INIT;
	autofd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read_all(fd, STAT_MAX, &text, &ignored) < 0 || !text.len)
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
		ret->items = xreallocarray(ret->items, ret->count + 1, sizeof *ret->items);
		ret->items[ret->count++] = (struct process){.pid = pid, .parent = parent};
	}
}

enum standing { STANDING_STOPPED, STANDING_WAITING, STANDING_RUNNING };

/*
 * A thread in state D ends what it does soon, and then stops; but the parent of a vfork(2) waits so until
 * its child, which is stopped, goes on.
 */
static enum standing standing_of(int proc, pid_t pid)
{
	autofree char *path = xasprintf("%d/task", (int)pid);
	int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autodir DIR *tasks = fd < 0 ? NULL : fdopendir(fd);
	enum standing standing = STANDING_STOPPED;

	for (const struct dirent *entry; tasks && (entry = readdir(tasks));) {
		autofree char *stat = xasprintf("%s/stat", entry->d_name);
		pid_t parent;
		char state;

		if (entry->d_name[0] == '.' || !read_stat(dirfd(tasks), stat, &state, &parent))
			continue;
		if (state == 'D' && standing == STANDING_STOPPED)
			standing = STANDING_WAITING;
		else if (!strchr("TtZXxD", state))
			standing = STANDING_RUNNING;
	}
	return standing;
}

static bool was_stopped(const struct freeze *freeze, pid_t pid)
{
	for (size_t i = 0; i < freeze->before_count; i++)
		if (freeze->before[i] == pid)
			return true;
	return false;
}

static int by_depth(const void *a, const void *b)
{
	size_t x = ((const struct process *)a)->depth, y = ((const struct process *)b)->depth;

	return x > y ? -1 : x < y;
}

static void set_depths(struct processes *processes)
{
	for (size_t i = 0; i < processes->count; i++) {
		pid_t parent = processes->items[i].parent;

		for (size_t k = 0;
		     k < processes->count && processes->items[i].depth < processes->count;)
			if (processes->items[k].pid == parent) {
				parent = processes->items[k].parent;
				processes->items[i].depth++;
				k = 0;
			} else {
				k++;
			}
	}
	if (processes->count)
		qsort(processes->items, processes->count, sizeof *processes->items, by_depth);
}

/* One that does not stop at once is seen to later. */
static void stop_one(int proc, pid_t pid)
{
	enum { STEP_NS = 50000, STEPS = 200 };

	if (kill(pid, SIGSTOP) < 0)
		return;
	for (int i = 0; i < STEPS && standing_of(proc, pid) != STANDING_STOPPED; i++)
		nanosleep(&(struct timespec){.tv_nsec = STEP_NS}, NULL);
}

/*
 * Parents first, and each has stopped before its children do: a shell that waits for one (WUNTRACED)
 * would else be told that it was stopped, and take it for a job in the background.
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
	set_depths(&processes);
	for (size_t i = processes.count; i-- > 0;)
		if (!was_stopped(freeze, processes.items[i].pid))
			stop_one(dirfd(proc), processes.items[i].pid);
	free(processes.items);
	freeze->frozen = true;
	/* And what has come meanwhile. */
	kill(-1, SIGSTOP);
}

/* One look at all. */
static enum standing look(DIR *proc)
{
	struct processes processes = {0};
	enum standing all = STANDING_STOPPED;

	list_processes(proc, &processes);
	for (size_t i = 0; i < processes.count; i++) {
		enum standing one = standing_of(dirfd(proc), processes.items[i].pid);

		if (one == STANDING_RUNNING)
			kill(processes.items[i].pid, SIGSTOP);
		if (one > all)
			all = one;
	}
	free(processes.items);
	return all;
}

int freeze_await(struct freeze *freeze)
{
	autodir DIR *proc = opendir("/proc");
	int waiting = 0;

	for (int spent = 0; proc && spent < PATIENCE_MS; spent += STEP_MS) {
		enum standing standing = look(proc);

		if (standing == STANDING_STOPPED)
			return 0;
		waiting = standing == STANDING_WAITING ? waiting + STEP_MS : 0;
		if (waiting > WAITING_MS)
			return 0;
		nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
	}
	freeze_thaw(freeze);
	errno = ETIMEDOUT;
	return -1;
}

/* Children first: a shell that waits must not find one stopped. */
void freeze_thaw(struct freeze *freeze)
{
	autodir DIR *proc = freeze->frozen ? opendir("/proc") : NULL;
	struct processes processes = {0};

	if (proc)
		list_processes(proc, &processes);
	set_depths(&processes);
	for (size_t i = 0; i < processes.count; i++)
		if (!was_stopped(freeze, processes.items[i].pid))
			kill(processes.items[i].pid, SIGCONT);
	free(processes.items);
	free(freeze->before);
	*freeze = (struct freeze){0};
}
