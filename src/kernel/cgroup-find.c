#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "kernel/cgroup-internal.h"
#include "kernel/mounts.h"

static const char *const controller_names[CGROUP_CONTROLLERS] = {"memory", "pids", "cpu"};

static const char *controller_name(enum cgroup_controller controller)
{
	return controller_names[__builtin_ctz(controller)];
}

void cgroup_controllers_text(unsigned int controllers, struct str *ret)
{
	for (unsigned int i = 0; i < CGROUP_CONTROLLERS; i++) {
		if (!(controllers & 1U << i))
			continue;
		str_add(ret, controller_names[i]);
		controllers &= ~(1U << i);
		if (controllers)
			str_add(ret, controllers & (controllers - 1) ? ", " : " and ");
	}
}

unsigned int cgroup_controllers_parse(const char *list)
{
	unsigned int found = 0;

	while (*list) {
		size_t len = strcspn(list, " ,\n");

		for (unsigned int i = 0; i < CGROUP_CONTROLLERS; i++)
			if (len == strlen(controller_names[i]) &&
			    !memcmp(list, controller_names[i], len))
				found |= 1U << i;
		list += len;
		list += strspn(list, " ,\n");
	}
	return found;
}

void cgroup_place_release(struct cgroup_place *place)
{
	free(place->top);
	free(place->own);
	*place = (struct cgroup_place){0};
}

/* The next line of *text as a copy of its own, or NULL. */
static char *next_line(const char **text)
{
	size_t len = strcspn(*text, "\n");

	if (!**text)
		return NULL;
	char *line = xstrndup(*text, len);

	*text += len + ((*text)[len] == '\n');
	return line;
}

/*
 * The path of the process in the hierarchy that has the controller (v1), or in the v2 one with
 * controller 0. Lines are "4:memory:/path", "3:cpu,cpuacct:/path", "0::/path".
 */
static char *parse_self(const char *self, unsigned int controller)
{
	char *found = NULL;
	char *line;

	while (!found && (line = next_line(&self))) {
		char *rest = line;
		const char *id = strsep(&rest, ":");
		const char *list = strsep(&rest, ":");

		if (rest && *rest == '/' &&
		    (controller ? (cgroup_controllers_parse(list) & controller) != 0
				: !strcmp(id, "0") && !*list))
			found = xstrdup(rest);
		free(line);
	}
	return found;
}

struct mount_line {
	char *root;
	char *point;
	char *type;
	char *options;
};

/* "31 23 0:28 /root /point rw,relatime shared:1 - cgroup cgroup rw,memory"; cuts the line up. */
static bool mount_line_parse(char *line, struct mount_line *ret)
{
	const char *field;

	for (int i = 0; i < 3; i++)
		(void)strsep(&line, " ");
	ret->root = strsep(&line, " ");
	ret->point = strsep(&line, " ");
	do
		field = strsep(&line, " ");
	while (field && strcmp(field, "-") != 0);
	ret->type = strsep(&line, " ");
	(void)strsep(&line, " ");
	ret->options = strsep(&line, " ");
	if (!ret->options)
		return false;
	mountinfo_unescape(ret->root);
	mountinfo_unescape(ret->point);
	return true;
}

/* `own` relative to a mount that shows the hierarchy from `root` down; NULL: not below it. */
static char *own_below(const char *root, const char *own)
{
	size_t len = strcmp(root, "/") ? strlen(root) : 0;

	/* A cgroup outside of the cgroup namespace is shown with "..": nothing to build on. */
	if (strstr(own, "/..") || strstr(root, "/..") || strncmp(own, root, len) != 0 ||
	    (own[len] && own[len] != '/'))
		return NULL;
	own += len + strspn(own + len, "/");
	return xstrdup(*own ? own : ".");
}

static bool find_mount(const char *mountinfo, unsigned int controller, const char *own,
		       struct cgroup_place *ret)
{
	bool found = false;
	char *line;

	while (!found && (line = next_line(&mountinfo))) {
		struct mount_line mount = {0};

		if (mount_line_parse(line, &mount) &&
		    !strcmp(mount.type, controller ? "cgroup" : "cgroup2") &&
		    (!controller || cgroup_controllers_parse(mount.options) & controller)) {
			ret->own = own_below(mount.root, own);
			if (ret->own) {
				ret->top = xstrdup(mount.point);
				ret->version = controller ? 1 : 2;
				found = true;
			}
		}
		free(line);
	}
	return found;
}

int cgroup_locate(const char *self, const char *mountinfo, enum cgroup_controller controller,
		  struct cgroup_place *ret, struct error *err)
{
	/* A controller that a v1 hierarchy has is not in v2, so v1 is asked first. */
	autofree char *own = parse_self(self, controller);

	if (own) {
		if (!find_mount(mountinfo, controller, own, ret))
			return error_set(err, ERR_LIMIT,
					 "the cgroup v1 hierarchy of the %s controller is not "
					 "mounted here",
					 controller_name(controller));
		return 0;
	}
	own = parse_self(self, 0);
	if (!own)
		return error_set(err, ERR_LIMIT, "the kernel has no %s controller",
				 controller_name(controller));
	if (!find_mount(mountinfo, 0, own, ret))
		return error_set(err, ERR_LIMIT, "the cgroup v2 file system is not mounted here");
	return 0;
}

static int read_controllers(int fd, const char *path, const char *name, unsigned int *ret,
			    struct error *err)
{
	autostr struct str text = STR_INIT;

	if (file_read_at(fd, name, 65536, &text, err) < 0)
		return error_wrap(err, "%s", path);
	*ret = cgroup_controllers_parse(text.s);
	return 0;
}

static bool has_processes(int fd)
{
	autostr struct str text = STR_INIT;

	/* The true root (it alone has no cgroup.type) may have both processes and children. */
	if (faccessat(fd, "cgroup.type", F_OK, 0) < 0 && errno == ENOENT)
		return false;
	return file_read_at(fd, "cgroup.procs", 1 << 24, &text, NULL) == 0 && text.len > 0;
}

static int switch_on(int fd, const char *path, unsigned int controllers, struct error *err)
{
	autostr struct str names = STR_INIT;
	autofd int control = open_beneath(fd, "cgroup.subtree_control", O_WRONLY, 0);

	for (unsigned int i = 0; i < CGROUP_CONTROLLERS; i++)
		if (controllers & 1U << i)
			str_addf(&names, "%s+%s", names.len ? " " : "", controller_names[i]);
	if (control < 0 || write_all(control, names.s, names.len) < 0)
		return error_errno(err, "cannot write %s to %s/cgroup.subtree_control", names.s,
				   path);
	return 0;
}

int cgroup_v2_prepare(int fd, const char *path, unsigned int controllers, bool dry,
		      struct error *err)
{
	autostr struct str names = STR_INIT;
	unsigned int offered = 0, enabled = 0;

	if (read_controllers(fd, path, "cgroup.controllers", &offered, err) < 0 ||
	    read_controllers(fd, path, "cgroup.subtree_control", &enabled, err) < 0)
		return -1;
	if (controllers & ~offered) {
		cgroup_controllers_text(controllers & ~offered, &names);
		return error_set(err, ERR_LIMIT, "%s is not among the controllers in %s/%s",
				 names.s, path, "cgroup.controllers");
	}
	if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
		return error_errno(err, "%s", path);
	/* To move a process one needs the right to write to the cgroup.procs of the nearest
	 * common ancestor of where it is and where it goes, which is this one. */
	if (faccessat(fd, "cgroup.procs", W_OK, AT_EACCESS) < 0)
		return error_errno(err, "%s/cgroup.procs", path);
	controllers &= ~enabled;
	if (!controllers)
		return 0;
	if (has_processes(fd))
		return error_set(err, ERR_LIMIT,
				 "%s has processes of its own, so that its children cannot be "
				 "limited",
				 path);
	if (!dry)
		return switch_on(fd, path, controllers, err);
	if (faccessat(fd, "cgroup.subtree_control", W_OK, AT_EACCESS) < 0)
		return error_errno(err, "%s/cgroup.subtree_control", path);
	return 1;
}
