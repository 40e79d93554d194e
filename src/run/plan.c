#include "run/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "kernel/mounts.h"

void plan_release(struct plan *plan)
{
	for (size_t i = 0; i < plan->bind_count; i++) {
		free(plan->binds[i].source);
		free(plan->binds[i].target);
		fd_close(&plan->binds[i].fd);
	}
	free(plan->binds);
	for (size_t i = 0; i < plan->file_count; i++) {
		free(plan->files[i].path);
		free(plan->files[i].text);
	}
	free(plan->files);
	free(plan->hostname);
	free(plan->user);
	free(plan->shell);
	free(plan->guest);
	free(plan->git_config);
	free(plan->git_ignore);
	free(plan->git_attributes);
	strv_release(&plan->covered);
	strv_release(&plan->env);
	*plan = (struct plan){0};
}

/* Beside jib itself (a build tree), else where it is installed. */
static int find_guest(char **ret, struct error *err)
{
	autofree char *self = realpath("/proc/self/exe", NULL);

	if (self) {
		char *slash = strrchr(self, '/');
		autofree char *beside = xasprintf("%.*s/jib-guest", (int)(slash - self), self);

		if (access(beside, X_OK) == 0) {
			*ret = steal_ptr(&beside);
			return 0;
		}
	}
	if (access(JIB_LIBEXECDIR "/jib-guest", X_OK) == 0) {
		*ret = xstrdup(JIB_LIBEXECDIR "/jib-guest");
		return 0;
	}
	error_set(err, ERR_NOT_FOUND, "the guest program %s is missing",
		  JIB_LIBEXECDIR "/jib-guest");
	return error_hint(err, "install jib again: ./dev install");
}

/* A command line has `sh` everywhere; a shell that the sandbox does not see is no shell. */
static char *usable_shell(const char *shell)
{
	static const char *const seen[] = {"/bin/", "/usr/", "/opt/"};

	for (size_t i = 0; shell && i < ARRAY_SIZE(seen); i++)
		if (str_starts(shell, seen[i]) && access(shell, X_OK) == 0)
			return xstrdup(shell);
	return xstrdup("/bin/sh");
}

static bool set_in(const struct strv *env, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < env->len; i++)
		if (strncmp(env->items[i], name, len) == 0 && env->items[i][len] == '=')
			return true;
	return false;
}

static void set_env(struct strv *env, const char *name, const char *value)
{
	size_t len = strlen(name);
	char *item = xasprintf("%s=%s", name, value);

	for (size_t i = 0; i < env->len; i++) {
		if (strncmp(env->items[i], name, len) == 0 && env->items[i][len] == '=') {
			free(env->items[i]);
			env->items[i] = item;
			return;
		}
	}
	strv_give(env, item);
}

/* An allowlist: what else the caller has in the environment may be a credential. */
static void start_environment(const struct sandbox *sandbox, struct plan *plan)
{
	static const char *const passed[] = {"TERM=", "LANG=", "LC_", "TZ=", "COLORTERM="};

	for (char **item = environ; *item; item++)
		for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
			if (str_starts(*item, passed[i]))
				strv_add(&plan->env, *item);
	if (!set_in(&plan->env, "TERM"))
		set_env(&plan->env, "TERM", "dumb");
	set_env(&plan->env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	set_env(&plan->env, "HOME", sandbox->home);
	set_env(&plan->env, "USER", plan->user);
	set_env(&plan->env, "LOGNAME", plan->user);
	set_env(&plan->env, "SHELL", plan->shell);
	set_env(&plan->env, "JIB_SANDBOX", sandbox->name);
}

int plan_start(const struct sandbox *sandbox, struct plan *ret, struct error *err)
{
	autoplan struct plan plan = {0};
	const char *shell = getenv("SHELL");

	plan.uid = geteuid();
	plan.gid = getegid();
	if (find_guest(&plan.guest, err) < 0)
		return -1;
	const struct passwd *user = getpwuid(plan.uid);

	plan.user = xstrdup(user && *user->pw_name ? user->pw_name : "jib");
	plan.shell = usable_shell(shell && *shell ? shell : user ? user->pw_shell : NULL);
	plan.hostname = xstrdup(sandbox->name);
	plan.git_config = xstrdup("");
	start_environment(sandbox, &plan);
	*ret = plan;
	plan = (struct plan){0};
	return 0;
}

static int bad_bind(const char *text, const char *why, struct error *err)
{
	error_set(err, ERR_USAGE, "--bind %s: %s", text, why);
	return error_hint(err, "the form is SRC[:DST][:ro|rw], with absolute paths");
}

/*
 * A path inside without what says nothing (`//`, `/./`, a slash at the end), so that it can be
 * compared with others; NULL when it leads up.
 */
static char *plain_path(const char *path)
{
	autostr struct str plain = STR_INIT;

	while (*path) {
		size_t len = strcspn(path, "/");

		if (len == 2 && path[0] == '.' && path[1] == '.')
			return NULL;
		if (len && !(len == 1 && path[0] == '.')) {
			str_add_char(&plain, '/');
			str_add_bytes(&plain, path, len);
		}
		path += len + (path[len] == '/');
	}
	if (!plain.len)
		str_add_char(&plain, '/');
	return str_take(&plain);
}

int plan_add_bind(struct plan *plan, const char *text, struct error *err)
{
	autofree char *copy = xstrdup(text);
	char *rest = copy;
	const char *source = strsep(&rest, ":");
	const char *second = rest ? strsep(&rest, ":") : NULL;
	const char *third = rest ? strsep(&rest, ":") : NULL;
	struct plan_bind bind = {.fd = -1};

	if (rest)
		return bad_bind(text, "too many `:`", err);
	if (second && !third && (strcmp(second, "ro") == 0 || strcmp(second, "rw") == 0)) {
		third = second;
		second = NULL;
	}
	if (third && strcmp(third, "ro") != 0 && strcmp(third, "rw") != 0)
		return bad_bind(text, "what follows the last `:` is neither ro nor rw", err);
	bind.writable = third && strcmp(third, "rw") == 0;
	autofree char *target = second ? plain_path(second) : NULL;

	if (!*source || (second && (second[0] != '/' || !target)))
		return bad_bind(text, "not an absolute path", err);
	bind.source = realpath(source, NULL);
	if (!bind.source)
		return error_errno(err, "--bind %s", source);
	bind.target = target ? steal_ptr(&target) : xstrdup(bind.source);
	/* O_PATH opens nothing: a device or a FIFO stays untouched. */
	bind.fd = open(bind.source, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	struct stat st;

	if (bind.fd < 0 || fstat(bind.fd, &st) < 0) {
		error_errno(err, "--bind %s", source);
		free(bind.source);
		free(bind.target);
		fd_close(&bind.fd);
		return -1;
	}
	bind.directory = S_ISDIR(st.st_mode);
	plan->binds = xreallocarray(plan->binds, plan->bind_count + 1, sizeof *plan->binds);
	plan->binds[plan->bind_count++] = bind;
	return 0;
}

static void add_file(struct plan *plan, const char *path, const char *text, bool link)
{
	plan->files = xreallocarray(plan->files, plan->file_count + 1, sizeof *plan->files);
	plan->files[plan->file_count++] =
		(struct plan_file){.path = xstrdup(path), .text = xstrdup(text), .link = link};
}

void plan_add_file(struct plan *plan, const char *path, const char *text)
{
	add_file(plan, path, text, false);
}

void plan_add_link(struct plan *plan, const char *path, const char *target)
{
	add_file(plan, path, target, true);
}

int plan_add_env(struct plan *plan, const char *text, struct error *err)
{
	size_t len = strcspn(text, "=");
	autofree char *name = xstrndup(text, len);

	if (len == 0)
		return error_set(err, ERR_USAGE, "--env %s: no name before `=`", text);
	if (text[len]) {
		set_env(&plan->env, name, text + len + 1);
		return 0;
	}
	const char *value = getenv(name);

	if (!value)
		return error_set(err, ERR_USAGE, "--env %s: there is no such variable to pass on",
				 name);
	set_env(&plan->env, name, value);
	return 0;
}

int plan_set_network(struct plan *plan, const char *text, struct error *err)
{
	if (strcmp(text, "host") != 0 && strcmp(text, "none") != 0)
		return error_set(err, ERR_USAGE, "the network is `none` or `host`, not \"%s\"",
				 text);
	plan->host_network = strcmp(text, "host") == 0;
	return 0;
}

static bool overlap(const char *a, const char *b)
{
	return path_within(a, b) || path_within(b, a);
}

int plan_check_writable(const struct plan_bind *bind, const char *repository, struct error *err)
{
	if (!overlap(bind->source, repository))
		return 0;
	error_set(err, ERR_USAGE, "--bind %s:rw would let the sandbox write the host repository %s",
		  bind->source, repository);
	return error_hint(err, "bind it read-only");
}

/*
 * A directory is bound with what is mounted below it. Who mounts something there after this is
 * root on the host, and means it.
 */
static int check_kernel(const struct plan_bind *bind, struct error *err)
{
	autostrv struct strv found = {0};
	struct stat st;

	if (fstat(bind->fd, &st) < 0)
		return error_errno(err, "--bind %s", bind->source);
	/* A device as such: no bind lets it be opened. */
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		return 0;
	if (mount_list_kernel(bind->source, bind->fd, &found, err) < 0)
		return error_wrap(err, "--bind %s", bind->source);
	if (!found.len)
		return 0;
	error_set(err, ERR_USAGE,
		  "--bind %s: %s is a mount of the host's kernel, which is never visible",
		  bind->source, found.items[0]);
	return error_hint(err, "bind a directory without it");
}

/* A mount point there would be made in what the sandbox keeps, and show up as a change. */
static int check_target(const struct plan_bind *bind, const struct sandbox *sandbox,
			struct error *err)
{
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];

		if ((!repo->path || !path_within(bind->target, repo->path)) &&
		    (!repo->git_path || !path_within(bind->target, repo->git_path)))
			continue;
		error_set(err, ERR_USAGE, "--bind %s: %s lies in a repository of the sandbox",
			  bind->source, bind->target);
		return error_hint(err, "bind it beside the repository");
	}
	return 0;
}

static int check_bind(const struct plan_bind *bind, const struct sandbox *sandbox,
		      const char *root_path, struct error *err)
{
	static const char *const taken[] = {"/proc", "/dev", "/run/jib"};

	if (strcmp(bind->target, "/") == 0)
		return error_set(err, ERR_USAGE, "--bind %s: the root itself cannot be replaced",
				 bind->source);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		if (path_within(bind->target, taken[i]))
			return error_set(err, ERR_USAGE, "--bind %s: %s is the sandbox's own",
					 bind->source, bind->target);
	/* It shows the host's processes, and writes the host's settings where root calls. */
	if (path_within(bind->source, "/proc"))
		return error_set(err, ERR_USAGE, "--bind %s: the host's /proc is never visible",
				 bind->source);
	if (overlap(bind->source, root_path))
		return error_set(err, ERR_USAGE,
				 "--bind %s: the store %s is never visible in a sandbox",
				 bind->source, root_path);
	for (size_t i = 0; bind->writable && i < sandbox->repo_count; i++)
		if (plan_check_writable(bind, sandbox->repos[i].host, err) < 0)
			return -1;
	if (check_kernel(bind, err) < 0 || check_target(bind, sandbox, err) < 0)
		return -1;
	return 0;
}

int plan_check(const struct plan *plan, const struct sandbox *sandbox, const char *root_path,
	       struct error *err)
{
	autofree char *resolved = realpath(root_path, NULL);

	for (size_t i = 0; i < plan->bind_count; i++)
		if (check_bind(&plan->binds[i], sandbox, resolved ? resolved : root_path, err) < 0)
			return -1;
	return 0;
}
