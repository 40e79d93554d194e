#include "kernel/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/process.h"
#include "base/str.h"
#include "kernel/cgroup.h"
#include "kernel/probe-internal.h"
#include "kernel/proc.h"

/* From 2.32 on GIT_CONFIG_GLOBAL and GIT_CONFIG_SYSTEM are heeded, which running it safely
 * depends on. */
enum { GIT_MAJOR = 2, GIT_MINOR = 32 };

/* What the checks tell each other. */
struct machine {
	struct probe_report *report;
	int root; /* the root or its nearest ancestor; -1 when it cannot be opened */
	char *root_path;
	const char *objects;
};

/* Takes `found` and `remedy`. */
static void add(struct machine *machine, const char *name, enum probe_state state,
		const char *needed_for, char *found, char *remedy)
{
	struct probe_report *report = machine->report;

	report->checks = xreallocarray(report->checks, report->len + 1, sizeof *report->checks);
	report->checks[report->len++] = (struct probe_check){
		.name = name,
		.state = state,
		.found = found,
		.needed_for = needed_for,
		.remedy = remedy,
	};
}

/* From an error: its message is what was found, its hint (or else `remedy`) what mends it. */
static void add_error(struct machine *machine, const char *name, enum probe_state state,
		      const char *needed_for, const struct error *why, const char *remedy)
{
	add(machine, name, state, needed_for, xstrdup(why->message),
	    xstrdup(why->hint ? why->hint : remedy));
}

static void check_kernel(struct machine *machine)
{
	struct utsname name;

	if (uname(&name) < 0)
		return;
	add(machine, "kernel", PROBE_OK, "everything; what counts is tried below",
	    xasprintf("%s %s %s", name.sysname, name.release, name.machine), NULL);
}

static void check_namespaces(struct machine *machine)
{
	static const char user[] = "user-namespaces", user_for[] = "every sandbox";
	static const char proc[] = "private-proc", proc_for[] = "the /proc of a sandbox";
	struct namespace_facts facts;
	autoerror struct error err = ERROR_INIT;
	char *found = NULL, *remedy = NULL;

	if (probe_namespaces(&facts, &err) < 0) {
		add_error(machine, user, PROBE_MISSING, user_for, &err,
			  "start the container around it with `--security-opt seccomp=unconfined`");
		return;
	}
	if (facts.result.step)
		probe_explain_namespaces(&facts, &found, &remedy);
	if (facts.result.step && facts.result.step != NAMESPACE_PROC) {
		add(machine, user, PROBE_MISSING, user_for, found, remedy);
		add(machine, proc, PROBE_MISSING, proc_for, xstrdup("not tried"), xstrdup(remedy));
		return;
	}
	add(machine, user, PROBE_OK, user_for,
	    facts.max_user_namespaces > 0 ? xasprintf("work, up to %ld", facts.max_user_namespaces)
					  : xstrdup("work"),
	    NULL);
	if (facts.result.step)
		add(machine, proc, PROBE_MISSING, proc_for, found, remedy);
	else
		add(machine, proc, PROBE_OK, proc_for, xstrdup("can be mounted"), NULL);
}

static void check_root(struct machine *machine, const char *root)
{
	static const char name[] = "root", needed_for[] = "all that sandboxes hold";
	autoerror struct error err = ERROR_INIT;

	if (probe_open_nearest(root, &machine->root, &machine->root_path, &err) < 0) {
		add_error(machine, name, PROBE_MISSING, needed_for, &err,
			  "export JIB_ROOT=/path/to/a/directory/of/yours");
		return;
	}
	autofree char *filesystem = probe_filesystem_name(machine->root);
	bool exists = !strcmp(root, machine->root_path);

	if (faccessat(machine->root, ".", W_OK | X_OK, AT_EACCESS) < 0) {
		add(machine, name, PROBE_MISSING, needed_for,
		    xasprintf("cannot write to %s: %s", machine->root_path, strerror(errno)),
		    xstrdup("export JIB_ROOT=/path/to/a/directory/of/yours"));
		fd_close(&machine->root);
		return;
	}
	add(machine, name, PROBE_OK, needed_for,
	    exists ? xasprintf("%s, on %s", root, filesystem)
		   : xasprintf("%s, to be made in %s, on %s", root, machine->root_path, filesystem),
	    NULL);
}

static bool overlay_known(void)
{
	autostr struct str text = STR_INIT;

	return proc_read("/proc/filesystems", 65536, &text, NULL) == 0 &&
	       strstr(text.s, "\toverlay\n");
}

static void check_overlay(struct machine *machine)
{
	static const char kernel[] = "overlayfs", kernel_for[] = "the copy-on-write view";
	static const char upper[] = "overlay-upper",
			  upper_for[] = "changes of a sandbox, in the root";
	autoerror struct error err = ERROR_INIT;
	int result = -1;

	if (machine->root >= 0)
		result = probe_overlay_in(machine->root, &err);
	/* Asked after the try, which loads the module where the kernel can. */
	if (result == 0 || overlay_known())
		add(machine, kernel, PROBE_OK, kernel_for, xstrdup("known to the kernel"), NULL);
	else
		add(machine, kernel, PROBE_MISSING, kernel_for, xstrdup("not known to the kernel"),
		    xstrdup("sudo modprobe overlay"));
	if (result == 0)
		add(machine, upper, PROBE_OK, upper_for,
		    xstrdup("mounted in a user namespace and tried"), NULL);
	else if (machine->root >= 0 && err.code == ERR_FILESYSTEM)
		add(machine, upper, PROBE_MISSING, upper_for, xstrdup(err.message),
		    xstrdup("export JIB_ROOT=/path/on/ext4"));
	else if (machine->root >= 0)
		add_error(machine, upper, PROBE_MISSING, upper_for, &err,
			  "export JIB_ROOT=/path/to/a/directory/of/yours");
	else
		add(machine, upper, PROBE_MISSING, upper_for, xstrdup("not tried without a root"),
		    xstrdup("export JIB_ROOT=/path/on/ext4"));
}

static void check_seccomp(struct machine *machine)
{
	static const char filter[] = "seccomp",
			  filter_for[] = "the system call filter of a sandbox";
	static const char notify[] = "seccomp-notification",
			  notify_for[] = "renaming directories that came with a commit";
	static const char remedy[] = "start the container around it with "
				     "`--security-opt seccomp=unconfined`";
	autoerror struct error err = ERROR_INIT;
	int result = probe_seccomp(&err);

	if (result < 0)
		add_error(machine, filter, PROBE_MISSING, filter_for, &err, remedy);
	else
		add(machine, filter, PROBE_OK, filter_for, xstrdup("works"), NULL);
	if (result > 0)
		add_error(machine, notify, PROBE_DEGRADED, notify_for, &err, remedy);
	else if (result == 0)
		add(machine, notify, PROBE_OK, notify_for, xstrdup("works"), NULL);
	else
		add(machine, notify, PROBE_DEGRADED, notify_for, xstrdup("not tried"),
		    xstrdup(remedy));
}

static void check_sharing(struct machine *machine)
{
	static const char reflink[] = "reflink",
			  reflink_for[] = "copying files without their blocks";
	static const char links[] = "hard-links", links_for[] = "sharing git objects, not copying";
	autoerror struct error reflink_err = ERROR_INIT;
	autoerror struct error links_err = ERROR_INIT;

	if (machine->root < 0)
		return;
	if (probe_reflink_in(machine->root, &reflink_err) == 0)
		add(machine, reflink, PROBE_OK, reflink_for, xstrdup("works"), NULL);
	else
		add_error(machine, reflink, PROBE_DEGRADED, reflink_for, &reflink_err,
			  "export JIB_ROOT=/path/on/btrfs/or/xfs");
	if (!machine->objects)
		return;
	int result = probe_link_into(machine->objects, machine->root, &links_err);

	if (result < 0 && links_err.code == ERR_PERMISSION)
		add_error(machine, links, PROBE_DEGRADED, links_for, &links_err,
			  "run jib as the owner of the repository");
	else if (result < 0)
		add_error(machine, links, PROBE_DEGRADED, links_for, &links_err,
			  "export JIB_ROOT=/path/on/the/file/system/of/the/repository");
	else
		add(machine, links, PROBE_OK, links_for,
		    xasprintf("%s from %s", result ? "not tried (no objects yet)" : "work",
			      machine->objects),
		    NULL);
}

static void check_limits(struct machine *machine)
{
	/* The smallest that there are, so that no cgroup above allows less. */
	static const struct {
		const char *name;
		const char *needed_for;
		struct cgroup_limits limits;
	} wanted[] = {
		{"limit-memory", "--memory", {.memory = 1 << 20}},
		{"limit-pids", "--pids", {.pids = 1}},
		{"limit-cpus", "--cpus", {.cpu_milli = 10}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		autoerror struct error err = ERROR_INIT;
		int version = 0;

		if (cgroup_available(&wanted[i].limits, &version, &err) < 0)
			add_error(machine, wanted[i].name, PROBE_DEGRADED, wanted[i].needed_for,
				  &err, "run jib as root");
		else
			add(machine, wanted[i].name, PROBE_OK, wanted[i].needed_for,
			    xasprintf("works, through cgroup v%d", version), NULL);
	}
}

int probe_parse_git_version(const char *text, unsigned int *ret_major, unsigned int *ret_minor)
{
	static const char prefix[] = "git version ";
	char *end;

	if (!str_starts(text, prefix))
		return -1;
	text += sizeof prefix - 1;
	unsigned long major = strtoul(text, &end, 10);

	if (end == text || *end != '.' || major > 1000)
		return -1;
	text = end + 1;
	unsigned long minor = strtoul(text, &end, 10);

	if (end == text || minor > 100000)
		return -1;
	*ret_major = (unsigned int)major;
	*ret_minor = (unsigned int)minor;
	return 0;
}

static int git_version(struct str *ret, struct error *err)
{
	static const char *const argv[] = {"git", "--version", NULL};
	const char *path = getenv("PATH");
	autofree char *path_variable = xasprintf("PATH=%s", path ? path : "/usr/bin:/bin");
	char *env[] = {path_variable, (char[]){"LC_ALL=C"}, (char[]){"HOME=/nonexistent"}, NULL};
	struct process_spec spec = {.program = "git", .argv = (char *const *)argv, .env = env};
	struct process process = PROCESS_INIT;
	int status;

	if (process_start(&spec, &process, err) < 0 ||
	    process_finish(&process, ret, NULL, &status, err) < 0)
		return -1;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return error_set(err, ERR_GIT, "git --version failed");
	if (ret->len && ret->s[ret->len - 1] == '\n')
		ret->s[--ret->len] = '\0';
	return 0;
}

static void check_git(struct machine *machine)
{
	static const char name[] = "git", needed_for[] = "reading repositories";
	static const char remedy[] = "sudo apt install git";
	autoerror struct error err = ERROR_INIT;
	autostr struct str text = STR_INIT;
	unsigned int major, minor;

	if (git_version(&text, &err) < 0)
		add_error(machine, name, PROBE_MISSING, needed_for, &err, remedy);
	else if (probe_parse_git_version(text.s, &major, &minor) < 0)
		add(machine, name, PROBE_MISSING, needed_for,
		    xasprintf("not a git: it says \"%s\"", text.s), xstrdup(remedy));
	else if (major < GIT_MAJOR || (major == GIT_MAJOR && minor < GIT_MINOR))
		add(machine, name, PROBE_MISSING, needed_for,
		    xasprintf("%s, older than %d.%d", text.s, GIT_MAJOR, GIT_MINOR),
		    xstrdup(remedy));
	else
		add(machine, name, PROBE_OK, needed_for, str_take(&text), NULL);
}

static bool in_path(const char *program)
{
	const char *path = getenv("PATH");
	autofree char *copy = xstrdup(path ? path : "/usr/bin:/bin");
	char *rest = copy;
	const char *dir;

	while ((dir = strsep(&rest, ":"))) {
		autofree char *file = xasprintf("%s/%s", *dir ? dir : ".", program);

		if (faccessat(AT_FDCWD, file, X_OK, AT_EACCESS) == 0)
			return true;
	}
	return false;
}

static void check_engines(struct machine *machine)
{
	static const char *const engines[] = {"docker", "podman", "runc", "crun"};
	autostr struct str found = STR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		if (in_path(engines[i]))
			str_addf(&found, ", %s", engines[i]);
	add(machine, "engines", PROBE_OK, "nothing yet; other ways to run a sandbox later",
	    xasprintf("native%s", found.len ? found.s : ""), NULL);
}

int probe_machine(const char *root, const char *objects, struct probe_report *ret,
		  struct error *err)
{
	struct probe_report report = {0};
	struct machine machine = {.report = &report, .root = -1, .objects = objects};

	/* Without /proc every answer here would be about that. */
	if (access("/proc/self/status", R_OK) < 0)
		return error_errno(err, "cannot find out about this machine: /proc/self/status");
	check_kernel(&machine);
	check_namespaces(&machine);
	check_root(&machine, root);
	check_overlay(&machine);
	check_seccomp(&machine);
	check_sharing(&machine);
	check_limits(&machine);
	check_git(&machine);
	check_engines(&machine);
	fd_close(&machine.root);
	free(machine.root_path);
	*ret = report;
	return 0;
}

void probe_report_release(struct probe_report *report)
{
	for (size_t i = 0; i < report->len; i++) {
		free(report->checks[i].found);
		free(report->checks[i].remedy);
	}
	free(report->checks);
	*report = (struct probe_report){0};
}

bool probe_works(const struct probe_report *report)
{
	for (size_t i = 0; i < report->len; i++)
		if (report->checks[i].state == PROBE_MISSING)
			return false;
	return true;
}

const char *probe_state_name(enum probe_state state)
{
	static const char *const names[] = {
		[PROBE_OK] = "ok",
		[PROBE_MISSING] = "missing",
		[PROBE_DEGRADED] = "degraded",
	};

	return names[state];
}
