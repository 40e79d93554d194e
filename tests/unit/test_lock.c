#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/process.h"

static int open_lock(const struct temp *temp)
{
	int fd = openat(temp->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void trying(void **state)
{
	autoerror struct error err = ERROR_INIT;
	autofd int holder = open_lock(*state);
	autofd int other = open_lock(*state);

	assert_int_equal(lock_probe(other, &err), 0);
	assert_int_equal(lock_try(holder, &err), 0);
	/* Two openings compete within one process too; the holder may take it again. */
	assert_int_equal(lock_try(other, &err), 1);
	assert_int_equal(lock_probe(other, &err), 1);
	assert_int_equal(lock_try(holder, &err), 0);
	assert_int_equal(lock_probe(holder, &err), 0);
	/* Closing another opening of the file does not drop it, as it would with F_SETLK. */
	fd_close(&other);
	other = open_lock(*state);
	assert_int_equal(lock_probe(other, &err), 1);
	fd_close(&holder);
	assert_int_equal(lock_probe(other, &err), 0);
	assert_int_equal(lock_try(other, &err), 0);
	assert_false(error_is_set(&err));
}

static void probing_takes_nothing(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	autofd int one = open_lock(temp);
	autofd int two = open_lock(temp);
	autofd int reader = openat(temp->fd, "lock", O_RDONLY | O_CLOEXEC);

	assert_int_equal(lock_probe(one, &err), 0);
	assert_int_equal(lock_try(two, &err), 0);
	assert_int_equal(lock_probe(reader, &err), 1);
	fd_close(&two);
	assert_int_equal(lock_probe(reader, &err), 0);
}

static void failures(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	autofd int reader = -1;
	int untouched = -7;

	put_text(temp->fd, "lock", "");
	reader = openat(temp->fd, "lock", O_RDONLY | O_CLOEXEC);
	assert_failure(lock_try(reader, &err), &err, ERR_SYSTEM, "lock");
	error_clear(&err);
	assert_failure(lock_wait(-1, &err), &err, ERR_SYSTEM, "lock");
	error_clear(&err);
	assert_failure(lock_probe(-1, &err), &err, ERR_SYSTEM, "lock");
	error_clear(&err);
	assert_failure(lock_directory_try(-1, &err), &err, ERR_SYSTEM, "lock");
	error_clear(&err);
	assert_int_equal(symlinkat("lock", temp->fd, "link"), 0);
	assert_failure(lock_named(temp->fd, "link", &untouched, &err), &err, ERR_SYSTEM, "link");
	assert_int_equal(untouched, -7);
}

/* A child that says through a pipe that it is there, and stays until it is killed. */
static pid_t stay(int *ret_ready)
{
	int ready[2];
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (write(ready[1], "x", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	*ret_ready = ready[0];
	return pid;
}

static void kill_and_wait(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(wait_for(pid, &status), 0);
	assert_true(WIFSIGNALED(status));
}

static void shared_across_fork(void **state)
{
	autoerror struct error err = ERROR_INIT;
	autofd int holder = open_lock(*state);
	autofd int other = open_lock(*state);
	autofd int ready = -1;

	assert_int_equal(lock_try(holder, &err), 0);
	pid_t pid = stay(&ready);

	/* The child has a copy of the fd: the lock outlives ours. */
	fd_close(&holder);
	assert_int_equal(lock_probe(other, &err), 1);
	assert_int_equal(lock_try(other, &err), 1);
	kill_and_wait(pid);
	assert_int_equal(lock_probe(other, &err), 0);
	assert_int_equal(lock_try(other, &err), 0);
}

static int ends_with_exec(const struct temp *temp)
{
	int fd = open_beneath(temp->fd, "lock", O_RDWR | O_CREAT, 0600);
	int ready[2];
	char byte;

	NEED(lock_try(fd, NULL) == 0 && pipe2(ready, O_CLOEXEC) == 0);
	pid_t pid = fork();

	if (pid == 0) {
		execlp("sleep", "sleep", "1000", (char *)NULL);
		_exit(1);
	}
	/* The pipe closes at the execve(2), and so does the lock. */
	close(ready[1]);
	NEED(read(ready[0], &byte, 1) == 0);
	close(fd);
	fd = open_beneath(temp->fd, "lock", O_RDWR, 0);
	int held = lock_probe(fd, NULL);
	int status;

	NEED(kill(pid, SIGKILL) == 0 && wait_for(pid, &status) == 0);
	NEED(held == 0);
	return 0;
}

static void not_inherited_by_programs(void **state)
{
	in_child(ends_with_exec, *state);
}

static void waiting(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	autofd int holder = open_lock(temp);
	int *order = mmap(NULL, sizeof *order, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);
	int status;

	assert_true(order != MAP_FAILED);
	assert_int_equal(lock_wait(holder, &err), 0);
	pid_t pid = fork();

	if (pid == 0) {
		int fd = openat(temp->fd, "lock", O_RDWR | O_CLOEXEC);

		/* Our own copy would hold it for ever. */
		close(holder);
		if (lock_wait(fd, NULL) < 0)
			_exit(1);
		_exit(*order == 1 ? 0 : 2);
	}
	*order = 1;
	fd_close(&holder);
	assert_int_equal(wait_for(pid, &status), 0);
	assert_int_equal(status, 0);
	munmap(order, sizeof *order);
}

static void locking_directories(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	autofd int holder = open_beneath(temp->fd, ".", O_RDONLY | O_DIRECTORY, 0);
	autofd int other = open_beneath(temp->fd, ".", O_RDONLY | O_DIRECTORY, 0);
	autofd int ready = -1;

	assert_int_equal(lock_directory_try(holder, &err), 0);
	assert_int_equal(lock_directory_try(other, &err), 1);
	pid_t pid = stay(&ready);

	fd_close(&holder);
	assert_int_equal(lock_directory_try(other, &err), 1);
	kill_and_wait(pid);
	assert_int_equal(lock_directory_try(other, &err), 0);
}

static void named(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	size_t entries = count_entries(temp->fd);
	int fd = -1;

	lock_named_release(temp->fd, "n", &fd);
	assert_success(lock_named(temp->fd, "n", &fd, &err), &err);
	assert_true(exists(temp->fd, "n"));
	lock_named_release(temp->fd, "n", &fd);
	assert_int_equal(fd, -1);
	assert_int_equal(count_entries(temp->fd), entries);
	/* What a killed holder left behind is no obstacle. */
	put_text(temp->fd, "n", "");
	assert_success(lock_named(temp->fd, "n", &fd, &err), &err);
	lock_named_release(temp->fd, "n", &fd);
	assert_int_equal(count_entries(temp->fd), entries);
}

/* Many processes take the lock in turn; two in it at a time would lose counts. */
static void named_by_many(void **state)
{
	enum { PROCESSES = 16, ROUNDS = 100 };
	const struct temp *temp = *state;
	size_t entries = count_entries(temp->fd);
	struct shared {
		volatile long counter;
		volatile int inside;
		volatile int collisions;
	} *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			 -1, 0);
	pid_t pids[PROCESSES];

	assert_true(shared != MAP_FAILED);
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] > 0)
			continue;
		for (int round = 0; round < ROUNDS; round++) {
			int fd = -1;

			if (lock_named(temp->fd, "n", &fd, NULL) < 0)
				_exit(1);
			if (shared->inside++)
				shared->collisions++;
			long before = shared->counter;

			sched_yield();
			shared->counter = before + 1;
			shared->inside--;
			lock_named_release(temp->fd, "n", &fd);
		}
		_exit(0);
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;

		assert_int_equal(wait_for(pids[i], &status), 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(shared->collisions, 0);
	assert_int_equal(shared->counter, PROCESSES * ROUNDS);
	assert_int_equal(count_entries(temp->fd), entries);
	munmap(shared, sizeof *shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(trying),
		WITH_TEMP(probing_takes_nothing),
		WITH_TEMP(failures),
		WITH_TEMP(shared_across_fork),
		WITH_TEMP(not_inherited_by_programs),
		WITH_TEMP(waiting),
		WITH_TEMP(locking_directories),
		WITH_TEMP(named),
		WITH_TEMP(named_by_many),
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
