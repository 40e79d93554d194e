#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/process.h"
#include "store/root.h"

/* ---- where ---- */

static void path_of(const char *root, const char *home, const char *expected)
{
	autoerror struct error err = ERROR_INIT;
	autofree char *before = xstrdup(getenv("HOME"));
	autofree char *path = NULL;

	root ? setenv("JIB_ROOT", root, 1) : unsetenv("JIB_ROOT");
	home ? setenv("HOME", home, 1) : unsetenv("HOME");
	int result = root_path(&path, &err);

	unsetenv("JIB_ROOT");
	setenv("HOME", before, 1);
	if (expected) {
		assert_success(result, &err);
		assert_string_equal(path, expected);
	} else {
		assert_failure(result, &err, ERR_CONFIG, "");
		assert_null(path);
	}
}

static void where(void **state)
{
	(void)state;
	path_of("/r", "/h", "/r");
	path_of(NULL, "/h", "/h/.jib-overlays");
	path_of("", "/h", "/h/.jib-overlays");
	path_of("/r", NULL, "/r");
	path_of("relative", "/h", NULL);
	path_of(NULL, "relative", NULL);
	path_of(NULL, "", NULL);
	path_of(NULL, NULL, NULL);
}

static void opening(void **state)
{
	const struct temp *temp = *state;
	autoroot struct root root = ROOT_INIT;
	struct stat st;
	mode_t mask = umask(0);

	open_test_root(temp, &root);
	umask(mask);
	assert_int_equal(fstatat(temp->fd, "root", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_true(exists(root.fd, ".layers"));
	assert_true(exists(root.fd, ".tmp"));
	assert_int_equal(fstat(root.layers, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

/* T14: what is in a sandbox is for nobody else. */
static void made_private(void **state)
{
	const struct temp *temp = *state;
	autoroot struct root root = ROOT_INIT;
	struct stat st;

	make_dirs(temp->fd, "root");
	assert_int_equal(fchmodat(temp->fd, "root", 0777, 0), 0);
	open_test_root(temp, &root);
	assert_int_equal(fstatat(temp->fd, "root", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

static void of_somebody_else(void **state)
{
	const struct temp *temp = *state;
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	autofree char *path = temp_path(temp, "root");
	struct stat st;

	/* Who cannot give anything away finds enough that is not his. */
	make_dirs(temp->fd, "root");
	bool given = fchownat(temp->fd, "root", 65534, 65534, 0) == 0;

	/* In a user namespace of his own, root owns all that he sees. */
	if (!given && geteuid() == 0)
		return;
	setenv("JIB_ROOT", given ? path : "/usr", 1);
	assert_failure(root_open(NULL, &root, &err), &err, ERR_PERMISSION, "somebody else");
	assert_contains(err.hint, "JIB_ROOT");
	if (given) {
		assert_int_equal(fstatat(temp->fd, "root", &st, 0), 0);
		assert_int_equal(st.st_mode & 07777, 0755);
		assert_false(exists(temp->fd, "root/.tmp"));
	}
}

static void unusable(void **state)
{
	const struct temp *temp = *state;
	static const char *const paths[] = {"file", "file/x", "no/parent"};

	put_text(temp->fd, "file", "");
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		autofree char *path = temp_path(temp, paths[i]);
		autoroot struct root root = ROOT_INIT;
		autoerror struct error err = ERROR_INIT;

		setenv("JIB_ROOT", path, 1);
		assert_failure(root_open(NULL, &root, &err), &err, ERR_SYSTEM, path);
		assert_int_equal(root.fd, -1);
	}
}

/* A directory of the user's that holds other things is neither closed to others nor swept. */
static void other_things_in_it(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "root");
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	struct stat st;

	make_dirs(temp->fd, "root/projects");
	setenv("JIB_ROOT", path, 1);
	assert_failure(root_open(NULL, &root, &err), &err, ERR_CONFIG, "other things");
	assert_int_equal(fstatat(temp->fd, "root", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0755);
	assert_int_equal(count_entries(temp->fd), 2);
}

static void links_inside(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "root");
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;

	make_dirs(temp->fd, "outside/precious");
	make_dirs(temp->fd, "root/.layers");
	assert_int_equal(symlinkat("../outside", temp->fd, "root/.tmp"), 0);
	setenv("JIB_ROOT", path, 1);
	assert_failure(root_open(NULL, &root, &err), &err, ERR_SYSTEM, ".tmp");
	assert_true(exists(temp->fd, "outside/precious"));
}

/* ---- proof ---- */

static int proofs;

static int prove_well(int dirfd, struct error *err)
{
	(void)err;
	assert_true(fcntl(dirfd, F_GETFD) >= 0);
	proofs++;
	return 0;
}

static int prove_badly(int dirfd, struct error *err)
{
	(void)dirfd;
	proofs++;
	return error_set(err, ERR_FILESYSTEM, "cannot");
}

static void proven_once(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "root");
	autoroot struct root bad = ROOT_INIT, first = ROOT_INIT, second = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;

	assert_int_equal(setxattr(temp->path, "user.test", "1", 1, 0), 0);
	setenv("JIB_ROOT", path, 1);
	proofs = 0;
	assert_failure(root_open(prove_badly, &bad, &err), &err, ERR_FILESYSTEM,
		       "cannot hold sandboxes");
	error_clear(&err);
	/* A failure is not remembered, a success is. */
	assert_success(root_open(prove_well, &first, &err), &err);
	assert_int_equal(proofs, 2);
	assert_success(root_open(prove_badly, &second, &err), &err);
	assert_int_equal(proofs, 2);
}

/* ---- temporary directories ---- */

static void making_and_discarding(void **state)
{
	const struct temp *temp = *state;
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	autofree char *name = NULL;
	autofd int fd = -1;

	open_test_root(temp, &root);
	assert_success(root_make_temp(&root, "test", &name, &fd, &err), &err);
	assert_true(str_starts(name, "test-"));
	put_text(fd, "f", "");
	assert_true(exists(root.temp, name));
	/* While its maker lives nobody sweeps it. */
	root_sweep(&root);
	assert_true(exists(fd, "f"));
	assert_success(root_discard(&root, root.temp, name, &err), &err);
	assert_int_equal(count_entries(root.temp), 0);
	assert_success(root_discard(&root, root.temp, name, &err), &err);

	make_dirs(root.fd, "sandbox/deep");
	put_text(root.fd, "file", "");
	assert_success(root_discard(&root, root.fd, "sandbox", &err), &err);
	assert_success(root_discard(&root, root.fd, "file", &err), &err);
	assert_false(exists(root.fd, "sandbox"));
	assert_false(exists(root.fd, "file"));
	assert_int_equal(count_entries(root.temp), 0);
}

static void sweeping(void **state)
{
	const struct temp *temp = *state;
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	autofree char *name = NULL, *second = NULL;
	autofd int fd = -1, held = -1;
	int lock = -1;

	open_test_root(temp, &root);
	assert_success(root_make_temp(&root, "dead", &name, &fd, &err), &err);
	assert_success(root_make_temp(&root, "held", &second, &held, &err), &err);
	assert_success(lock_named(root.temp, "id.lock", &lock, &err), &err);
	put_text(fd, "f", "");
	make_dirs(root.temp, "left/behind");
	make_dirs(root.temp, ".hidden");
	make_dirs(temp->fd, "outside/precious");
	put_text(root.temp, "old.lock", "");
	assert_int_equal(mkfifoat(root.temp, "fifo", 0600), 0);
	assert_int_equal(symlinkat("../../outside", root.temp, "link"), 0);
	assert_int_equal(mknodat(root.temp, "socket", S_IFSOCK | 0600, 0), 0);
	fd_close(&fd);
	root_sweep(&root);
	assert_int_equal(count_entries(root.temp), 2);
	assert_true(exists(root.temp, second));
	assert_true(exists(root.temp, "id.lock"));
	assert_true(exists(temp->fd, "outside/precious"));
	lock_named_release(root.temp, "id.lock", &lock);
	fd_close(&held);
	/* Opening sweeps too. */
	autoroot struct root again = ROOT_INIT;

	open_test_root(temp, &again);
	assert_int_equal(count_entries(root.temp), 0);
}

/* A maker that is killed leaves nothing for ever. */
static void sweeping_after_a_kill(void **state)
{
	autoroot struct root root = ROOT_INIT;
	int ready[2], status;
	char byte;

	open_test_root(*state, &root);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		char *name;
		int fd;

		if (root_make_temp(&root, "x", &name, &fd, NULL) == 0 &&
		    write(ready[1], "x", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	root_sweep(&root);
	assert_int_equal(count_entries(root.temp), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(wait_for(pid, &status), 0);
	root_sweep(&root);
	assert_int_equal(count_entries(root.temp), 0);
}

/* A sweeper that opened a lock before it was released must not remove the next one of that name. */
static void sweeping_named_locks(void **state)
{
	enum { HOLDERS = 4, SWEEPERS = 4, ROUNDS = 2000 };
	autoroot struct root root = ROOT_INIT;
	struct shared {
		_Atomic int inside;
		_Atomic int collisions;
	} *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			 -1, 0);
	pid_t pids[HOLDERS + SWEEPERS];

	assert_true(shared != MAP_FAILED);
	open_test_root(*state, &root);
	for (int i = 0; i < HOLDERS + SWEEPERS; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] > 0)
			continue;
		for (int round = 0; round < ROUNDS; round++) {
			int fd = -1;

			if (i >= HOLDERS) {
				root_sweep(&root);
				continue;
			}
			if (lock_named(root.temp, "id.lock", &fd, NULL) < 0)
				_exit(1);
			if (shared->inside++)
				shared->collisions++;
			sched_yield();
			shared->inside--;
			lock_named_release(root.temp, "id.lock", &fd);
		}
		_exit(0);
	}
	for (int i = 0; i < HOLDERS + SWEEPERS; i++) {
		int status;

		assert_int_equal(wait_for(pids[i], &status), 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(shared->collisions, 0);
	munmap(shared, sizeof *shared);
}

/* Who only asks changes nothing: no root is made, and no directory becomes one. */
static void opening_what_exists(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = temp_path(temp, "root");
	autoroot struct root missing = ROOT_INIT, empty = ROOT_INIT, other = ROOT_INIT;
	autoroot struct root made = ROOT_INIT, found = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	struct stat st;

	setenv("JIB_ROOT", path, 1);
	assert_success(root_open_existing(&missing, &err), &err);
	assert_int_equal(missing.fd, -1);
	assert_string_equal(missing.path, path);
	assert_false(exists(temp->fd, "root"));
	make_dirs(temp->fd, "root");
	assert_success(root_open_existing(&empty, &err), &err);
	assert_int_equal(empty.fd, -1);
	assert_int_equal(fstatat(temp->fd, "root", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0755);
	assert_false(exists(temp->fd, "root/.tmp"));
	open_test_root(temp, &made);
	setenv("JIB_ROOT", path, 1);
	assert_success(root_open_existing(&found, &err), &err);
	assert_true(found.fd >= 0 && found.layers >= 0 && found.temp >= 0);
	make_dirs(temp->fd, "other/things");
	autofree char *other_path = temp_path(temp, "other");

	setenv("JIB_ROOT", other_path, 1);
	assert_failure(root_open_existing(&other, &err), &err, ERR_CONFIG, "other things");
}

/* Makers and sweepers at the same time: nobody loses what he holds. */
static void sweeping_while_making(void **state)
{
	enum { MAKERS = 6, ROUNDS = 150 };
	autoroot struct root root = ROOT_INIT;
	pid_t pids[MAKERS];

	open_test_root(*state, &root);
	for (int i = 0; i < MAKERS; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] > 0)
			continue;
		for (int k = 0; k < ROUNDS; k++) {
			autofree char *name = NULL;
			autofd int fd = -1;

			if (i % 2) {
				root_sweep(&root);
				continue;
			}
			if (root_make_temp(&root, "x", &name, &fd, NULL) < 0 ||
			    mkdirat(fd, "d", 0700) < 0)
				_exit(1);
			sched_yield();
			if (faccessat(fd, "d", F_OK, 0) < 0 ||
			    faccessat(root.temp, name, F_OK, 0) < 0 ||
			    root_discard(&root, root.temp, name, NULL) < 0)
				_exit(2);
		}
		_exit(0);
	}
	for (int i = 0; i < MAKERS; i++) {
		int status;

		assert_int_equal(wait_for(pids[i], &status), 0);
		assert_int_equal(status, 0);
	}
	root_sweep(&root);
	assert_int_equal(count_entries(root.temp), 0);
}

static void reopening(void **state)
{
	const struct temp *temp = *state;
	autoroot struct root root = ROOT_INIT, again = ROOT_INIT, other = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	struct stat one, two;

	open_test_root(temp, &root);
	assert_success(root_reopen(&root, &again, &err), &err);
	assert_int_equal(fstat(root.layers, &one), 0);
	assert_int_equal(fstat(again.layers, &two), 0);
	assert_int_equal(one.st_ino, two.st_ino);
	assert_int_equal(renameat(temp->fd, "root", temp->fd, "moved"), 0);
	make_dirs(temp->fd, "root");
	assert_failure(root_reopen(&root, &other, &err), &err, ERR_CORRUPT, "replaced");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(where),
		WITH_TEMP(opening),
		WITH_TEMP(made_private),
		WITH_TEMP(of_somebody_else),
		WITH_TEMP(unusable),
		WITH_TEMP(other_things_in_it),
		WITH_TEMP(links_inside),
		WITH_TEMP(proven_once),
		WITH_TEMP(making_and_discarding),
		WITH_TEMP(sweeping),
		WITH_TEMP(sweeping_after_a_kill),
		WITH_TEMP(sweeping_named_locks),
		WITH_TEMP(opening_what_exists),
		WITH_TEMP(sweeping_while_making),
		WITH_TEMP(reopening),
	};

	return cmocka_run_group_tests_name("root", tests, NULL, NULL);
}
