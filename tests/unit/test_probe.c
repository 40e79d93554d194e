#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/str.h"
#include "kernel/probe-internal.h"

/* ---- parsers and explanations ---- */

static void seccomp_field(void **state)
{
	(void)state;
	assert_int_equal(probe_parse_seccomp("Name:\tx\nNoNewPrivs:\t0\nSeccomp:\t2\n"
					     "Seccomp_filters:\t1\n"),
			 2);
	assert_int_equal(probe_parse_seccomp("Name:\tSeccomp:\nSeccomp:\t0\n"), 0);
	assert_int_equal(probe_parse_seccomp("Name:\tx\n"), -1);
	assert_int_equal(probe_parse_seccomp(""), -1);
}

static void git_versions(void **state)
{
	static const char *const bad[] = {"",
					  "git",
					  "git version",
					  "git version x.y",
					  "git version 2",
					  "hg version 2.3",
					  "git version 2."};
	unsigned int major = 7, minor = 7;

	(void)state;
	assert_int_equal(probe_parse_git_version("git version 2.39.5", &major, &minor), 0);
	assert_int_equal(major, 2);
	assert_int_equal(minor, 39);
	assert_int_equal(
		probe_parse_git_version("git version 2.50.1 (Apple Git-155)", &major, &minor), 0);
	assert_int_equal(minor, 50);
	assert_int_equal(probe_parse_git_version("git version 3.0-rc1", &major, &minor), 0);
	assert_int_equal(major, 3);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(probe_parse_git_version(bad[i], &major, &minor), -1);
	assert_int_equal(major, 3);
}

/* Every obstacle leads to the command that takes it away. */
static void obstacles(void **state)
{
	static const struct {
		struct namespace_facts facts;
		const char *found;
		const char *remedy;
	} cases[] = {
		{{{NAMESPACE_USER, EPERM}, false, 0, 1000, -1, 0},
		 "unprivileged_userns_clone is 0",
		 "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
		/* The sysctl does not hold for root: something else it must be. */
		{{{NAMESPACE_USER, EPERM}, true, 0, 1000, -1, 2}, "seccomp", "seccomp=unconfined"},
		{{{NAMESPACE_USER, ENOSPC}, false, -1, 0, -1, 0},
		 "max_user_namespaces is 0",
		 "sudo sysctl -w user.max_user_namespaces=15000"},
		{{{NAMESPACE_USER, ENOSPC}, false, -1, 10, -1, 0},
		 "all 10 user namespaces",
		 "sudo sysctl -w user.max_user_namespaces=20"},
		{{{NAMESPACE_OTHERS, ENOSPC}, false, -1, 10, -1, 0},
		 "limit of namespaces",
		 "user.max_net_namespaces="},
		{{{NAMESPACE_MOUNT, EACCES}, false, 1, 1000, 1, 0},
		 "AppArmor",
		 "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		{{{NAMESPACE_MAP, EPERM}, false, 1, 1000, 1, 0},
		 "AppArmor",
		 "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		{{{NAMESPACE_USER, EPERM}, false, 1, 1000, 0, 2}, "seccomp", "seccomp=unconfined"},
		{{{NAMESPACE_USER, ENOSYS}, false, -1, -1, -1, 2}, "seccomp", "seccomp=unconfined"},
		{{{NAMESPACE_USER, EINVAL}, false, -1, -1, -1, 0}, "built without", "linux-image"},
		{{{NAMESPACE_PROC, EPERM}, false, 1, 1000, -1, 2}, "masked", "systempaths="},
		{{{NAMESPACE_USER, EPERM}, false, 1, 1000, 0, 0}, "not permitted", "dmesg"},
		{{{NAMESPACE_USER, ENOMEM}, false, 1, 1000, 0, 0}, "Cannot allocate", "dmesg"},
		{{{99, ENOMEM}, false, 1, 1000, 0, 0}, "Cannot allocate", "dmesg"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autofree char *found = NULL;
		autofree char *remedy = NULL;

		probe_explain_namespaces(&cases[i].facts, &found, &remedy);
		if (!strstr(found, cases[i].found) || !strstr(remedy, cases[i].remedy))
			fail_msg("case %zu: %s; %s", i, found, remedy);
	}
}

static void filesystem_names(void **state)
{
	autofree char *ext4 = probe_filesystem_type_name(0xef53);
	autofree char *btrfs = probe_filesystem_type_name(0x9123683e);
	autofree char *unknown = probe_filesystem_type_name(0x1234);
	autofd int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofree char *proc = probe_filesystem_name(fd);

	(void)state;
	assert_string_equal(ext4, "ext4");
	assert_string_equal(btrfs, "btrfs");
	assert_string_equal(unknown, "unknown file system 0x1234");
	assert_string_equal(proc, "proc");
	assert_null(probe_filesystem_objection(0xef53));
	assert_null(probe_filesystem_objection(0x1234));
	assert_non_null(strstr(probe_filesystem_objection(0x6969), "network"));
	assert_non_null(strstr(probe_filesystem_objection(0x794c7630), "another overlay"));
}

/* ---- for real ---- */

struct temp {
	char *path;
	int fd;
};

static int setup(void **state)
{
	const char *where = getenv("TMPDIR");
	struct temp *temp = xcalloc(1, sizeof *temp);

	/* With the characters that separate mount options. */
	temp->path = xasprintf("%s/test-probe,a:b\\ c-XXXXXX", where ? where : "/tmp");
	if (!mkdtemp(temp->path))
		return -1;
	temp->fd = open(temp->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = temp;
	return temp->fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct temp *temp = *state;
	char *slash = strrchr(temp->path, '/');

	*slash = '\0';
	autofd int parent = open(temp->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = tree_remove_at(parent, slash + 1, NULL);

	close(temp->fd);
	free(temp->path);
	free(temp);
	return result;
}

static size_t count_entries(int dirfd)
{
	int fd = open_beneath(dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fdopendir(fd);
	size_t count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	return count - 2;
}

/* What the tests are about is what user namespaces make possible: a machine without has no jib. */
static void need_namespaces(void)
{
	struct namespace_facts facts;

	if (probe_namespaces(&facts, NULL) < 0 ||
	    (facts.result.step && facts.result.step < NAMESPACE_PROC))
		fail_msg("user namespaces are needed for this test");
}

static void overlay_here(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;

	need_namespaces();
	int result = probe_overlay_in(temp->fd, &err);

	assert_int_equal(count_entries(temp->fd), 0);
	autofree char *filesystem = probe_filesystem_name(temp->fd);

	/* TMPDIR may be anywhere; but where uppers are known to work, they do. */
	if (result < 0 && (!strcmp(filesystem, "ext4") || !strcmp(filesystem, "xfs") ||
			   !strcmp(filesystem, "btrfs")))
		fail_msg("%s", err.message);
	if (result < 0)
		assert_int_equal(err.code, ERR_FILESYSTEM);
}

static void overlay_nowhere(void **state)
{
	autofd int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoerror struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(probe_overlay_in(proc, &err), -1);
	assert_int_equal(err.code, ERR_FILESYSTEM);
	assert_non_null(strstr(err.message, "(proc)"));
	assert_non_null(strstr(err.hint, "JIB_ROOT"));
}

/* In a child: mounts something over the directory, in namespaces of its own, and probes it. */
static int probe_on(const struct temp *temp, const char *type, const char *options,
		    const char *expected)
{
	autoerror struct error err = ERROR_INIT;

	if (fchdir(temp->fd) < 0 || probe_enter_user_namespace().step || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 10;
	if (mkdir("m", 0700) < 0 || mkdir("l", 0700) < 0 || mkdir("u", 0700) < 0 ||
	    mkdir("w", 0700) < 0 || mount("test", "m", type, 0, options) < 0)
		return 11;
	autofd int fd = open("m", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return 12;
	if (probe_overlay_in(fd, &err) != -1 || err.code != ERR_FILESYSTEM ||
	    !strstr(err.message, expected) || !err.hint || !strstr(err.hint, "JIB_ROOT")) {
		print_error("%s: %s\n", type, err.message ? err.message : "accepted");
		return 13;
	}
	DIR *dir = fdopendir(fd);
	size_t count = 0;

	steal_fd(&fd);
	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count == 2 ? 0 : 14;
}

static void in_child(const struct temp *temp, const char *type, const char *options,
		     const char *expected)
{
	int status;

	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(probe_on(temp, type, options, expected));
	assert_int_equal(wait_for(pid, &status), 0);
	assert_int_equal(status, 0);
}

static void overlay_on_ramfs(void **state)
{
	need_namespaces();
	in_child(*state, "ramfs", "",
		 "(ramfs) cannot hold the changes of a sandbox: it has no user");
}

static void overlay_on_overlay(void **state)
{
	need_namespaces();
	in_child(*state, "overlay", "lowerdir=l,upperdir=u,workdir=w,userxattr",
		 "(overlayfs) cannot hold the changes of a sandbox: an overlay cannot");
}

static int unwritable(const struct temp *temp)
{
	autoerror struct error err = ERROR_INIT;

	if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
		return 99;
	return probe_overlay_in(temp->fd, &err) != -1 || err.code != ERR_PERMISSION;
}

static void overlay_without_rights(void **state)
{
	const struct temp *temp = *state;
	int status;

	assert_int_equal(fchmod(temp->fd, 0555), 0);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(unwritable(temp));
	assert_int_equal(wait_for(pid, &status), 0);
	assert_int_equal(status, 0);
	assert_int_equal(fchmod(temp->fd, 0700), 0);
}

/* A probe that is killed leaves something at most until the next. */
static void overlay_killed(void **state)
{
	const struct temp *temp = *state;
	int status;

	need_namespaces();
	for (int i = 0; i < 40; i++) {
		struct timespec moment = {.tv_nsec = i * 200000L};
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			for (;;)
				probe_overlay_in(temp->fd, NULL);
		nanosleep(&moment, NULL);
		kill(pid, SIGKILL);
		assert_int_equal(wait_for(pid, &status), 0);
	}
	/* Its child, which holds the lock, dies a moment after it. */
	for (int i = 0; i < 50 && (i == 0 || count_entries(temp->fd)); i++) {
		probe_overlay_in(temp->fd, NULL);
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	assert_int_equal(count_entries(temp->fd), 0);
}

static void put_file(int dirfd, const char *name)
{
	autofd int fd = open_beneath(dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0444);

	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, "x", 1), 0);
}

static void links(void **state)
{
	const struct temp *temp = *state;
	autofree char *objects = xasprintf("%s/objects", temp->path);
	autofd int shm = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoerror struct error err = ERROR_INIT;
	struct stat here, there;

	assert_int_equal(mkdirat(temp->fd, "objects", 0700), 0);
	assert_int_equal(mkdirat(temp->fd, "objects/pack", 0700), 0);
	assert_int_equal(mkdirat(temp->fd, "objects/ab", 0700), 0);
	assert_int_equal(mkdirat(temp->fd, "root", 0700), 0);
	autofd int root = open_beneath(temp->fd, "root", O_RDONLY | O_DIRECTORY, 0);

	assert_int_equal(probe_link_into(objects, root, &err), 1);
	put_file(temp->fd, "objects/ab/cdef");
	assert_int_equal(probe_link_into(objects, root, &err), 0);
	put_file(temp->fd, "objects/pack/p.pack");
	assert_int_equal(probe_link_into(objects, root, &err), 0);
	assert_int_equal(count_entries(root), 0);
	assert_int_equal(fstatat(temp->fd, "objects/ab/cdef", &here, 0), 0);
	assert_int_equal(here.st_nlink, 1);
	if (shm >= 0 && fstat(shm, &there) == 0 && there.st_dev != here.st_dev) {
		assert_int_equal(probe_link_into(objects, shm, &err), -1);
		assert_int_equal(err.code, ERR_FILESYSTEM);
		error_clear(&err);
	}
	assert_int_equal(probe_link_into("/nonexistent", root, &err), -1);
}

static void reflinks(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;

	/* Both are right, depending on the machine; but never a trace of it. */
	if (probe_reflink_in(temp->fd, &err) < 0)
		assert_non_null(strstr(err.message, "share blocks"));
	assert_int_equal(count_entries(temp->fd), 0);
}

static void nearest(void **state)
{
	const struct temp *temp = *state;
	autofree char *deep = xasprintf("%s/a/b/c", temp->path);
	autofree char *file = xasprintf("%s/file/a", temp->path);
	autofree char *path = NULL;
	autofree char *other = NULL;
	autofree char *top = NULL;
	autoerror struct error err = ERROR_INIT;
	autofd int fd = -1;
	autofd int other_fd = -1;
	autofd int top_fd = -1;

	assert_int_equal(probe_open_nearest(deep, &fd, &path, &err), 0);
	assert_string_equal(path, temp->path);
	assert_int_equal(probe_open_nearest("nonexistent-here/x", &other_fd, &other, &err), 0);
	assert_string_equal(other, ".");
	assert_int_equal(probe_open_nearest("/nonexistent-here", &top_fd, &top, &err), 0);
	assert_string_equal(top, "/");
	put_file(temp->fd, "file");
	assert_int_equal(probe_open_nearest(file, &fd, &path, &err), -1);
}

static void report(void **state)
{
	const struct temp *temp = *state;
	autofree char *root = xasprintf("%s/not/there", temp->path);
	struct probe_report made;
	autoerror struct error err = ERROR_INIT;
	bool missing = false;

	assert_int_equal(probe_machine(root, NULL, &made, &err), 0);
	assert_int_equal(count_entries(temp->fd), 0);
	assert_true(made.len > 8);
	for (size_t i = 0; i < made.len; i++) {
		const struct probe_check *check = &made.checks[i];

		assert_non_null(check->found);
		assert_non_null(check->needed_for);
		/* What fails says how to mend it, and only that does. */
		assert_int_equal(check->state != PROBE_OK, check->remedy != NULL);
		missing |= check->state == PROBE_MISSING;
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(check->name, made.checks[k].name);
	}
	assert_int_equal(probe_works(&made), !missing);
	probe_report_release(&made);
	assert_int_equal(made.len, 0);
}

static void report_without_a_root(void **state)
{
	struct probe_report made;
	autoerror struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(probe_machine("/proc/nothing", "/nonexistent", &made, &err), 0);
	assert_false(probe_works(&made));
	probe_report_release(&made);
	assert_int_equal(probe_machine("/proc/version/x", NULL, &made, &err), 0);
	assert_false(probe_works(&made));
	probe_report_release(&made);
}

static struct probe_result die(void *data)
{
	(void)data;
	raise(SIGKILL);
	return (struct probe_result){0};
}

/* A seccomp filter around us may kill instead of saying EPERM. */
static void killed_child(void **state)
{
	autoerror struct error err = ERROR_INIT;
	struct probe_result result = {77, 77};

	(void)state;
	assert_int_equal(probe_in_child(die, NULL, &result, &err), -1);
	assert_int_equal(err.code, ERR_UNSUPPORTED);
	assert_non_null(strstr(err.message, "signal 9"));
	assert_int_equal(result.step, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seccomp_field),
		cmocka_unit_test(git_versions),
		cmocka_unit_test(obstacles),
		cmocka_unit_test(filesystem_names),
		cmocka_unit_test(killed_child),
		cmocka_unit_test_setup_teardown(overlay_here, setup, teardown),
		cmocka_unit_test(overlay_nowhere),
		cmocka_unit_test_setup_teardown(overlay_on_ramfs, setup, teardown),
		cmocka_unit_test_setup_teardown(overlay_on_overlay, setup, teardown),
		cmocka_unit_test_setup_teardown(overlay_without_rights, setup, teardown),
		cmocka_unit_test_setup_teardown(overlay_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(links, setup, teardown),
		cmocka_unit_test_setup_teardown(reflinks, setup, teardown),
		cmocka_unit_test_setup_teardown(nearest, setup, teardown),
		cmocka_unit_test_setup_teardown(report, setup, teardown),
		cmocka_unit_test(report_without_a_root),
	};

	return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
