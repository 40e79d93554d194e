#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/process.h"
#include "base/str.h"
#include "kernel/cgroup-internal.h"
#include "kernel/proc.h"

/* ---- what a user writes ---- */

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t size; /* 0: not understood; 1: too much */
	} cases[] = {
		{"4096", 4096},
		{"512M", 512ULL << 20},
		{"512m", 512ULL << 20},
		{"2G", 2ULL << 30},
		{"1.5G", 3ULL << 29},
		{"0.5K", 512},
		{"3T", 3ULL << 40},
		{"1.000001T", (1ULL << 40) + 1099511},
		{"9223372036854775807", INT64_MAX},
		{"9223372036854775808", 1},
		{"18446744073709551616", 1},
		{"99999999999T", 1},
		{"", 0},
		{"0", 0},
		{"0.0G", 0},
		{"0.0001K", 0},
		{"-1", 0},
		{"-1G", 0},
		{"+1G", 0},
		{" 1G", 0},
		{"1G ", 0},
		{"1 G", 0},
		{"G", 0},
		{".5G", 0},
		{"1.G", 0},
		{"1.5", 0},
		{"1.5.5G", 0},
		{"1.0000001G", 0},
		{"1GB", 0},
		{"1GiB", 0},
		{"1P", 0},
		{"0x10", 0},
		{"1e3", 0},
		{"inf", 0},
		{"nan", 0},
		{"1,5G", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t size = 77;
		int result = limits_parse_size(cases[i].text, &size);

		if (cases[i].size > 1) {
			assert_int_equal(result, 0);
			assert_int_equal(size, cases[i].size);
			continue;
		}
		if (result != -1)
			print_error("accepted: '%s'\n", cases[i].text);
		assert_int_equal(result, -1);
		assert_int_equal(errno, cases[i].size ? ERANGE : EINVAL);
		assert_int_equal(size, 77);
	}
}

static void cpus(void **state)
{
	static const char *const bad[] = {"",
					  "0",
					  "0.00",
					  "0.009",
					  "-1",
					  "1.5x",
					  "1.2345",
					  "x",
					  "1,5",
					  "inf",
					  " 1",
					  "1 ",
					  "1.",
					  ".5",
					  "1K",
					  "10001",
					  "99999999999999999999"};
	uint64_t milli;

	(void)state;
	assert_int_equal(limits_parse_cpus("1.5", &milli), 0);
	assert_int_equal(milli, 1500);
	assert_int_equal(limits_parse_cpus("2", &milli), 0);
	assert_int_equal(milli, 2000);
	assert_int_equal(limits_parse_cpus("0.01", &milli), 0);
	assert_int_equal(milli, 10);
	assert_int_equal(limits_parse_cpus("0.125", &milli), 0);
	assert_int_equal(milli, 125);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(limits_parse_cpus(bad[i], &milli), -1);
	assert_int_equal(milli, 125);
}

static void counts(void **state)
{
	static const char *const bad[] = {"",  "0",  "-1", "1.0", "1K",
					  "x", " 1", "1 ", "+1",  "99999999999999999999"};
	uint64_t count;

	(void)state;
	assert_int_equal(limits_parse_count("256", &count), 0);
	assert_int_equal(count, 256);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(limits_parse_count(bad[i], &count), -1);
	assert_int_equal(count, 256);
}

/* ---- what the kernel writes ---- */

static void controller_lists(void **state)
{
	autostr struct str text = STR_INIT;

	(void)state;
	assert_int_equal(cgroup_controllers_parse("cpuset cpu io memory hugetlb pids rdma\n"),
			 CGROUP_MEMORY | CGROUP_PIDS | CGROUP_CPU);
	assert_int_equal(cgroup_controllers_parse("cpu,cpuacct"), CGROUP_CPU);
	assert_int_equal(cgroup_controllers_parse("cpuacct cpuset memoryx"), 0);
	assert_int_equal(cgroup_controllers_parse("\n"), 0);
	assert_int_equal(cgroup_controllers_parse(""), 0);
	cgroup_controllers_text(CGROUP_MEMORY | CGROUP_PIDS | CGROUP_CPU, &text);
	assert_string_equal(text.s, "memory, pids and cpu");
}

static void check_place(const char *self, const char *mountinfo, enum cgroup_controller controller,
			int version, const char *top, const char *own)
{
	autoerror struct error err = ERROR_INIT;
	struct cgroup_place place = {0};

	assert_int_equal(cgroup_locate(self, mountinfo, controller, &place, &err), 0);
	assert_int_equal(place.version, version);
	assert_string_equal(place.top, top);
	assert_string_equal(place.own, own);
	cgroup_place_release(&place);
}

static void check_no_place(const char *self, const char *mountinfo, const char *message)
{
	autoerror struct error err = ERROR_INIT;
	struct cgroup_place place = {0};

	assert_int_equal(cgroup_locate(self, mountinfo, CGROUP_MEMORY, &place, &err), -1);
	assert_int_equal(err.code, ERR_LIMIT);
	assert_non_null(strstr(err.message, message));
	assert_null(place.top);
}

static const char unified_mountinfo[] =
	"22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
	"30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate\n";

static const char hybrid_mountinfo[] =
	"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
	"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	"35 31 0:32 / /sys/fs/cgroup/my\\040memory rw - cgroup cgroup rw,memory\n"
	"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

static void locate_v2(void **state)
{
	static const char own[] = "0::/user.slice/user-1000.slice/session-2.scope\n";

	(void)state;
	check_place(own, unified_mountinfo, CGROUP_MEMORY, 2, "/sys/fs/cgroup",
		    "user.slice/user-1000.slice/session-2.scope");
	check_place("0::/\n", unified_mountinfo, CGROUP_CPU, 2, "/sys/fs/cgroup", ".");
	check_place("0::/a:b c\n", unified_mountinfo, CGROUP_CPU, 2, "/sys/fs/cgroup", "a:b c");
}

static void locate_v1(void **state)
{
	static const char self[] = "9:name=systemd:/x\n"
				   "4:memory:/a/b\n"
				   "3:cpu,cpuacct:/\n"
				   "0::/u\n";

	(void)state;
	check_place(self, hybrid_mountinfo, CGROUP_MEMORY, 1, "/sys/fs/cgroup/my memory", "a/b");
	check_place(self, hybrid_mountinfo, CGROUP_CPU, 1, "/sys/fs/cgroup/cpu,cpuacct", ".");
	/* No v1 hierarchy has it, so v2 may. */
	check_place(self, hybrid_mountinfo, CGROUP_PIDS, 2, "/sys/fs/cgroup/unified", "u");
}

/* A container without a cgroup namespace sees its own part, mounted at the top. */
static void locate_below_a_mount_root(void **state)
{
	static const char mounts[] =
		"1 2 0:3 /docker/abc /sys/fs/cgroup/m ro - cgroup c rw,memory\n";

	(void)state;
	check_place("4:memory:/docker/abc/d\n", mounts, CGROUP_MEMORY, 1, "/sys/fs/cgroup/m", "d");
	check_place("4:memory:/docker/abc\n", mounts, CGROUP_MEMORY, 1, "/sys/fs/cgroup/m", ".");
	check_no_place("4:memory:/docker/abcd\n", mounts, "not mounted");
	check_no_place("4:memory:/\n", mounts, "not mounted");
	check_no_place("4:memory:/../x\n", hybrid_mountinfo, "not mounted");
}

static void locate_nothing(void **state)
{
	(void)state;
	check_no_place("", unified_mountinfo, "no memory controller");
	check_no_place("4:pids:/\n", hybrid_mountinfo, "no memory controller");
	check_no_place("4:memory:/\n", unified_mountinfo, "not mounted");
	check_no_place("0::/\n", "", "not mounted");
	check_no_place("garbage\n\n:\n::\n", "garbage\n- - -\n\n1 2 3 4 5 6 -\n", "no memory");
	check_no_place("0::/\n", "1 2 3 / /x rw - cgroup2\n", "not mounted");
}

/* ---- the decisions of v2, on a tree of ordinary files ---- */

static char *make_temp(void)
{
	const char *where = getenv("TMPDIR");
	char *path = xasprintf("%s/test-cgroup-XXXXXX", where ? where : "/tmp");

	assert_non_null(mkdtemp(path));
	assert_int_equal(chmod(path, 0755), 0);
	return path;
}

static void remove_temp(char *path)
{
	autofree char *freed = path;

	char *slash = strrchr(freed, '/');

	*slash = '\0';
	autofd int parent = open(freed, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(tree_remove_at(parent, slash + 1, NULL), 0);
}

static void put(const char *top, const char *dir, const char *name, const char *text)
{
	autofree char *path = xasprintf("%s/%s/%s", top, dir, name);
	autofd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write_all(fd, text, strlen(text)), 0);
}

static char *get(const char *top, const char *dir, const char *name)
{
	autofree char *path = xasprintf("%s/%s/%s", top, dir, name);
	autostr struct str text = STR_INIT;

	assert_int_equal(proc_read(path, 4096, &text, NULL), 0);
	return str_take(&text);
}

static void put_cgroup(const char *top, const char *dir, const char *controllers,
		       const char *enabled, const char *procs)
{
	autofree char *path = xasprintf("%s/%s", top, dir);

	if (mkdir(path, 0755) < 0)
		assert_int_equal(errno, EEXIST);
	put(top, dir, "cgroup.controllers", controllers);
	put(top, dir, "cgroup.subtree_control", enabled);
	put(top, dir, "cgroup.procs", procs);
	if (strcmp(dir, ".") != 0)
		put(top, dir, "cgroup.type", "domain\n");
}

static size_t count_made(const char *top, const char *dir_name)
{
	autofree char *path = xasprintf("%s/%s", top, dir_name);
	autodir DIR *dir = opendir(path);
	const struct dirent *entry;
	size_t count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		count += str_starts(entry->d_name, "jib-");
	return count;
}

/* Tries to create in the fake tree; files that only a kernel would make are missing there. */
static int try_create(const char *top, const char *own, bool dry, struct error *err)
{
	const struct cgroup_limits limits = {.memory = 1 << 20, .pids = 10};
	autofree char *mountinfo = xasprintf("1 2 0:3 / %s rw - cgroup2 cgroup2 rw\n", top);
	autofree char *self = xasprintf("0::/%s\n", own);
	struct cgroup *cgroup = NULL;

	int result = cgroup_create_from(self, mountinfo, "fake", &limits, dry, &cgroup, err);

	if (result == 0)
		assert_int_equal(cgroup_version(cgroup), 2);
	cgroup_remove(cgroup);
	return result;
}

static void v2_goes_up_to_the_nearest(void **state)
{
	char *top = make_temp();
	autoerror struct error err = ERROR_INIT;

	(void)state;
	put_cgroup(top, ".", "cpu memory pids", "memory pids", "");
	put_cgroup(top, "a", "memory pids", "", "");
	put_cgroup(top, "a/b", "memory", "", "");
	put_cgroup(top, "a/b/own", "", "", "123\n");
	/* b lacks pids; a has both, and they would have to be switched on. */
	assert_int_equal(try_create(top, "a/b/own", true, &err), 0);
	autofree char *untouched = get(top, "a", "cgroup.subtree_control");
	assert_string_equal(untouched, "");
	assert_int_equal(count_made(top, "a"), 0);

	/* For real they are, and the first file that a kernel would have made is missing. */
	assert_int_equal(try_create(top, "a/b/own", false, &err), -1);
	autofree char *enabled = get(top, "a", "cgroup.subtree_control");
	assert_string_equal(enabled, "+memory +pids");
	assert_int_equal(err.code, ERR_LIMIT);
	assert_non_null(strstr(err.message, "limit on memory"));
	assert_non_null(strstr(err.message, "/a/jib-fake-"));
	assert_non_null(strstr(err.message, "memory.max"));
	assert_non_null(err.hint);
	assert_int_equal(count_made(top, "a"), 0);
	remove_temp(top);
}

static void v2_refuses_without_a_controller(void **state)
{
	char *top = make_temp();
	autoerror struct error err = ERROR_INIT;

	(void)state;
	put_cgroup(top, ".", "cpu memory", "cpu memory", "");
	put_cgroup(top, "own", "cpu memory", "", "1\n");
	assert_int_equal(try_create(top, "own", true, &err), -1);
	assert_int_equal(err.code, ERR_LIMIT);
	assert_non_null(strstr(err.message, "pids is not among the controllers"));
	assert_int_equal(count_made(top, "."), 0);
	remove_temp(top);
}

/* The rule of no internal processes, which spares the true root. */
static void v2_skips_what_has_processes(void **state)
{
	char *top = make_temp();
	autoerror struct error err = ERROR_INIT;

	(void)state;
	put_cgroup(top, ".", "memory pids", "", "1\n2\n");
	put_cgroup(top, "a", "memory pids", "", "3\n");
	put_cgroup(top, "a/own", "memory pids", "", "4\n");
	assert_int_equal(try_create(top, "a/own", true, &err), 0);
	/* The root of a cgroup namespace is no true root. */
	put(top, ".", "cgroup.type", "domain\n");
	assert_int_equal(try_create(top, "a/own", true, &err), -1);
	assert_non_null(strstr(err.message, "has processes of its own"));
	assert_non_null(strstr(err.message, "/a "));
	remove_temp(top);
}

/* Runs `body` without root's rights: in a child as nobody when root. Returns its exit status. */
static int as_nobody(int (*body)(const char *top), const char *top)
{
	int status;

	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
			_exit(99);
		_exit(body(top));
	}
	assert_int_equal(wait_for(pid, &status), 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int refused_without_rights(const char *top)
{
	autoerror struct error err = ERROR_INIT;

	if (try_create(top, "a/own", true, &err) != -1)
		return 1;
	if (err.code != ERR_LIMIT || !strstr(err.message, "Permission denied") ||
	    !strstr(err.message, "/a") || !strstr(err.hint, "systemd-run --user"))
		return 2;
	return 0;
}

static void v2_refuses_what_is_not_delegated(void **state)
{
	char *top = make_temp();
	autofree char *dir = xasprintf("%s/a", top);
	autofree char *procs = xasprintf("%s/a/cgroup.procs", top);

	(void)state;
	put_cgroup(top, ".", "memory pids", "memory pids", "");
	put_cgroup(top, "a", "memory pids", "memory pids", "");
	put_cgroup(top, "a/own", "memory pids", "", "4\n");
	assert_int_equal(chmod(dir, 0555), 0);
	assert_int_equal(chmod(top, 0555), 0);
	assert_int_equal(as_nobody(refused_without_rights, top), 0);
	/* A directory that may be written, whose cgroup.procs may not: nothing can be moved. */
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(chmod(procs, 0444), 0);
	assert_int_equal(as_nobody(refused_without_rights, top), 0);
	assert_int_equal(chmod(top, 0755), 0);
	remove_temp(top);
}

/* ---- for real ---- */

static void no_limits_need_nothing(void **state)
{
	const struct cgroup_limits limits = {0};
	struct cgroup *cgroup = NULL;
	autoerror struct error err = ERROR_INIT;

	(void)state;
	assert_int_equal(cgroup_create("x", &limits, &cgroup, &err), 0);
	assert_int_equal(cgroup_enter(cgroup, getpid(), &err), 0);
	assert_false(cgroup_hit_memory_limit(cgroup));
	assert_null(cgroup_remove(cgroup));
	assert_null(cgroup_remove(NULL));
}

/*
 * Whether limits can be enforced here. Where the machine does not let them, the test is another
 * one: they are refused (T92). Anything but the machine's fault is ours.
 */
static bool limits_work(const struct cgroup_limits *limits)
{
	static const char *const reasons[] = {"Permission denied", "Read-only",
					      "not permitted",	   "controller",
					      "not mounted",	   "processes of its own"};
	autoerror struct error err = ERROR_INIT;
	struct cgroup *cgroup;
	size_t i = 0;

	if (cgroup_available(limits, NULL, &err) == 0)
		return true;
	while (i < ARRAY_SIZE(reasons) && !strstr(err.message, reasons[i]))
		i++;
	if (i == ARRAY_SIZE(reasons))
		fail_msg("%s", err.message);
	error_clear(&err);
	assert_int_equal(cgroup_create("refused", limits, &cgroup, &err), -1);
	assert_int_equal(err.code, ERR_LIMIT);
	return false;
}

/* Starts a child that runs `body` once it is in the cgroup. */
static pid_t start_in(const struct cgroup *cgroup, int (*body)(void))
{
	autoerror struct error err = ERROR_INIT;
	int gate[2];
	char byte = 0;

	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(read(gate[0], &byte, 1) == 1 ? body() : 99);
	if (cgroup_enter(cgroup, pid, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(write(gate[1], &byte, 1), 1);
	close(gate[0]);
	close(gate[1]);
	return pid;
}

enum { MIB = 1 << 20 };

static int allocate(void)
{
	char *memory =
		mmap(NULL, 256 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < 256; i++)
		memset(memory + i * MIB, 1, MIB);
	return 0;
}

static void memory_limit_kills(void **state)
{
	const struct cgroup_limits limits = {.memory = 32 * MIB};
	autoerror struct error err = ERROR_INIT;
	struct cgroup *cgroup;
	int status;

	(void)state;
	if (!limits_work(&limits))
		return;
	assert_int_equal(cgroup_create("memory", &limits, &cgroup, &err), 0);
	assert_false(cgroup_hit_memory_limit(cgroup));
	pid_t pid = start_in(cgroup, allocate);

	assert_int_equal(wait_for(pid, &status), 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_true(cgroup_hit_memory_limit(cgroup));
	cgroup_remove(cgroup);
}

/* A fork bomb of processes that stay. The exit status is the number of them. */
static int fork_loop(void)
{
	int count = 0;

	for (; count < 90; count++) {
		pid_t pid = fork();

		if (pid == 0)
			for (;;)
				pause();
		if (pid < 0)
			return errno == EAGAIN ? count : 97;
	}
	return 96;
}

static void pids_limit_stops_forks(void **state)
{
	const struct cgroup_limits limits = {.pids = 8};
	autoerror struct error err = ERROR_INIT;
	struct cgroup *cgroup;
	int status;

	(void)state;
	if (!limits_work(&limits))
		return;
	assert_int_equal(cgroup_create("pids", &limits, &cgroup, &err), 0);
	pid_t pid = start_in(cgroup, fork_loop);

	assert_int_equal(wait_for(pid, &status), 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	/* Seven are still there; the removal ends them. */
	cgroup_remove(cgroup);
}

static int64_t clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The exit status is how many hundredths of one CPU it got. */
static int burn(void)
{
	int64_t start = clock_ms(CLOCK_MONOTONIC);
	int64_t used = clock_ms(CLOCK_PROCESS_CPUTIME_ID);

	while (clock_ms(CLOCK_MONOTONIC) < start + 500)
		;
	return (int)((clock_ms(CLOCK_PROCESS_CPUTIME_ID) - used) * 100 /
		     (clock_ms(CLOCK_MONOTONIC) - start));
}

static void cpu_limit_slows(void **state)
{
	const struct cgroup_limits limits = {.cpu_milli = 100};
	autoerror struct error err = ERROR_INIT;
	struct cgroup *cgroup;
	int status;

	(void)state;
	if (!limits_work(&limits))
		return;
	assert_int_equal(cgroup_create("cpu", &limits, &cgroup, &err), 0);
	pid_t pid = start_in(cgroup, burn);

	assert_int_equal(wait_for(pid, &status), 0);
	assert_true(WIFEXITED(status));
	assert_in_range(WEXITSTATUS(status), 0, 40);
	cgroup_remove(cgroup);
}

/* Where cgroups of this test are made, as far as they are of v1 and so below the own one. */
static char *own_directory(enum cgroup_controller controller)
{
	autostr struct str self = STR_INIT;
	autostr struct str mountinfo = STR_INIT;
	struct cgroup_place place = {0};
	char *path = NULL;

	assert_int_equal(proc_read("/proc/self/cgroup", 1 << 20, &self, NULL), 0);
	assert_int_equal(proc_read("/proc/self/mountinfo", 1 << 20, &mountinfo, NULL), 0);
	if (cgroup_locate(self.s, mountinfo.s, controller, &place, NULL) == 0 && place.version == 1)
		path = xasprintf("%s/%s", place.top, place.own);
	cgroup_place_release(&place);
	return path;
}

static size_t count_named(const char *path, const char *prefix)
{
	autodir DIR *dir = opendir(path);
	const struct dirent *entry;
	size_t count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		count += str_starts(entry->d_name, prefix);
	return count;
}

static int create_and_die(void)
{
	const struct cgroup_limits limits = {.memory = MIB, .pids = 5, .cpu_milli = 1000};
	struct cgroup *cgroup;

	return cgroup_create("crash victim/\n", &limits, &cgroup, NULL) < 0;
}

static void leftovers_of_a_crash_go(void **state)
{
	static const char prefix[] = "jib-crash_victim__-";
	const struct cgroup_limits limits = {.memory = MIB, .pids = 5, .cpu_milli = 1000};
	autoerror struct error err = ERROR_INIT;
	struct cgroup *cgroup;
	int status;

	(void)state;
	if (!limits_work(&limits))
		return;
	autofree char *directory = own_directory(CGROUP_MEMORY);

	if (!directory)
		return; /* cgroup v2: the sweep is tested on a tree of its own */
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(create_and_die());
	assert_int_equal(wait_for(pid, &status), 0);
	assert_int_equal(status, 0);
	assert_int_equal(count_named(directory, prefix), 1);
	assert_int_equal(cgroup_create("next", &limits, &cgroup, &err), 0);
	assert_int_equal(count_named(directory, prefix), 0);
	assert_int_equal(count_named(directory, "jib-next-"), 1);
	cgroup_remove(cgroup);
	assert_int_equal(count_named(directory, "jib-next-"), 0);
}

static int create_often(void)
{
	const struct cgroup_limits limits = {.pids = 5};

	for (int i = 0; i < 100; i++) {
		struct cgroup *cgroup;

		if (cgroup_create("often", &limits, &cgroup, NULL) < 0)
			return 1;
		/* What another's sweep has taken away cannot be entered. */
		pid_t pid = fork();

		if (pid == 0)
			_exit(cgroup_enter(cgroup, 0, NULL) < 0);
		int status;

		if (pid < 0 || wait_for(pid, &status) < 0 || status)
			return 2;
		cgroup_remove(cgroup);
	}
	return 0;
}

/* Nobody takes another's new cgroup, still without a process, for a leftover. */
static void creations_do_not_disturb_each_other(void **state)
{
	const struct cgroup_limits limits = {.pids = 5};
	pid_t pids[8];

	(void)state;
	if (!limits_work(&limits))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			_exit(create_often());
	}
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		int status;

		assert_int_equal(wait_for(pids[i], &status), 0);
		assert_int_equal(status, 0);
	}
	autofree char *directory = own_directory(CGROUP_PIDS);

	if (directory)
		assert_int_equal(count_named(directory, "jib-often-"), 0);
}

static int refused_here(const char *top)
{
	const struct cgroup_limits limits = {.memory = MIB};
	struct cgroup *cgroup = NULL;
	autoerror struct error err = ERROR_INIT;

	(void)top;
	/* Where a user's cgroups are delegated it works, which is as good. */
	if (cgroup_create("refused", &limits, &cgroup, &err) == 0) {
		cgroup_remove(cgroup);
		return 0;
	}
	if (err.code != ERR_LIMIT || !strstr(err.message, "memory") || !err.hint || cgroup)
		return 1;
	return cgroup_available(&limits, NULL, NULL) == -1 ? 0 : 2;
}

/* T92: a limit that is not available is refused, never dropped. */
static void t92_refused_without_rights(void **state)
{
	(void)state;
	assert_int_equal(as_nobody(refused_here, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(cpus),
		cmocka_unit_test(counts),
		cmocka_unit_test(controller_lists),
		cmocka_unit_test(locate_v2),
		cmocka_unit_test(locate_v1),
		cmocka_unit_test(locate_below_a_mount_root),
		cmocka_unit_test(locate_nothing),
		cmocka_unit_test(v2_goes_up_to_the_nearest),
		cmocka_unit_test(v2_refuses_without_a_controller),
		cmocka_unit_test(v2_skips_what_has_processes),
		cmocka_unit_test(v2_refuses_what_is_not_delegated),
		cmocka_unit_test(no_limits_need_nothing),
		cmocka_unit_test(memory_limit_kills),
		cmocka_unit_test(pids_limit_stops_forks),
		cmocka_unit_test(cpu_limit_slows),
		cmocka_unit_test(leftovers_of_a_crash_go),
		cmocka_unit_test(creations_do_not_disturb_each_other),
		cmocka_unit_test(t92_refused_without_rights),
	};

	return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
