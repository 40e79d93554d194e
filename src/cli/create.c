#include "cli/create.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/output.h"
#include "kernel/mounts.h"
#include "kernel/probe.h"
#include "run/rootfs.h"
#include "snapshot/pin.h"
#include "store/layer.h"
#include "store/name.h"

bool create_options_given(const struct invocation *invocation, const char **ret_which)
{
	static const char *const names[] = {"repo", "live", "layout"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (option_given(invocation, names[i])) {
			*ret_which = names[i];
			return true;
		}
	return false;
}

static int add_source(struct sources *sources, const char *directory, struct error *err)
{
	struct repository found;

	if (repository_find(directory, &found, err) < 0)
		return -1;
	for (size_t i = 0; i < sources->count; i++)
		if (strcmp(sources->repositories[i].top, found.top) == 0) {
			error_set(err, ERR_USAGE, "--repo %s: %s is named twice", directory,
				  found.top);
			repository_release(&found);
			return -1;
		}
	sources->repositories = xreallocarray(sources->repositories, sources->count + 1,
					      sizeof *sources->repositories);
	sources->repositories[sources->count++] = found;
	return 0;
}

int sources_find(const struct invocation *invocation, struct sources *ret, struct error *err)
{
	struct sources sources = {0};
	const char *directory;
	size_t at = 0;
	int result = 0;

	while (result == 0 && (directory = option_next(invocation, "repo", &at)))
		result = add_source(&sources, directory, err);
	if (result == 0 && sources.count == 0)
		result = add_source(&sources, ".", err);
	if (result < 0) {
		sources_release(&sources);
		return -1;
	}
	*ret = sources;
	return 0;
}

void sources_release(struct sources *sources)
{
	for (size_t i = 0; i < sources->count; i++)
		repository_release(&sources->repositories[i]);
	free(sources->repositories);
	*sources = (struct sources){0};
}

int open_root(struct root *ret, struct error *err)
{
	return root_open(probe_overlay_in, ret, err);
}

static void show_progress(const char *text)
{
	say("%s", text);
}

static int choose_layout(const struct invocation *invocation, const struct config *config,
			 enum layout *ret, struct error *err)
{
	const char *layout = option_value(invocation, "layout");

	if (!layout)
		layout = config_value(config, "jib.layout");
	if (layout && strcmp(layout, "host") != 0 && strcmp(layout, "jib") != 0)
		return error_set(err, ERR_USAGE, "the layout is `host` or `jib`, not \"%s\"",
				 layout);
	*ret = layout && strcmp(layout, "jib") == 0 ? LAYOUT_JIB : LAYOUT_HOST;
	return 0;
}

/* The home directory's path inside: the caller's own, or below /home for who has none. */
static char *home_path(enum layout layout)
{
	const char *home = getenv("HOME");

	if (layout == LAYOUT_JIB || !home || home[0] != '/' || !home[1])
		return xstrdup("/home/jib");
	char *resolved = realpath(home, NULL);

	return resolved ? resolved : xstrdup(home);
}

/* Two repositories of the same name get a number. */
static char *unique_name(const struct sandbox *sandbox, const char *name)
{
	char *candidate = xstrdup(name);

	for (unsigned int n = 2;; n++) {
		bool taken = false;

		for (size_t i = 0; i < sandbox->repo_count; i++)
			taken = taken || (sandbox->repos[i].name &&
					  strcmp(sandbox->repos[i].name, candidate) == 0);
		if (!taken)
			return candidate;
		free(candidate);
		candidate = xasprintf("%s-%u", name, n);
	}
}

/*
 * At a path where the sandbox has something of its own the repository would hide it, or be
 * hidden.
 */
static int check_place(const char *path, struct error *err)
{
	static const char *const own[] = {"/etc", "/dev", "/proc", "/run/jib"};
	const char *taken = NULL;

	for (size_t i = 0; i < ROOTFS_SYSTEM; i++)
		if (path_within(path, rootfs_system[i]))
			taken = rootfs_system[i];
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (path_within(path, own[i]))
			taken = own[i];
	if (taken) {
		error_set(err, ERR_UNSUPPORTED, "a repository in %s cannot be seen at its own path",
			  taken);
		return error_hint(err, "use --layout jib");
	}
	if (strcmp(path, "/") == 0)
		return error_set(err, ERR_UNSUPPORTED, "the root directory as a repository");
	return 0;
}

/* Live layers show all that the host has there, the other sandboxes in the store included. */
static int check_live(const struct root *root, const struct repository *source, struct error *err)
{
	autofree char *store = realpath(root->path, NULL);

	if (!store || (!path_within(store, source->top) && !path_within(store, source->common_dir)))
		return 0;
	error_set(err, ERR_UNSUPPORTED, "--live would show the store %s, which is inside %s", store,
		  source->top);
	return error_hint(err, "set JIB_ROOT to a directory outside of the repository");
}

/* Consumes the pin. */
static int add_pinned(const struct repository *source, struct pin *pin, struct sandbox *sandbox,
		      struct error *err)
{
	char *name = unique_name(sandbox, source->name);
	struct sandbox_repo *repo = sandbox_add_repo(sandbox);

	repo->name = name;
	repo->host = xstrdup(source->top);
	if (sandbox->layout == LAYOUT_JIB) {
		repo->path = xasprintf("/home/jib/repos/%s", name);
		repo->git_path = xasprintf("/home/jib/.git/%s", name);
	} else {
		repo->path = xstrdup(source->top);
		if (check_place(repo->path, err) < 0)
			return -1;
	}
	if (sandbox->live) {
		repo->live_git_dir = xstrdup(source->git_dir);
		repo->live_common_dir = xstrdup(source->common_dir);
	}
	repo->base = steal_ptr(&pin->base);
	repo->branch = steal_ptr(&pin->branch);
	repo->tree = pin->tree;
	repo->git = pin->git;
	pin->tree = pin->git = (struct strv)STRV_INIT;
	return 0;
}

static int add_repository(const struct root *root, const struct repository *source,
			  struct sandbox *sandbox, struct error *err)
{
	autopin struct pin pin = {0};

	if (sandbox->live && check_live(root, source, err) < 0)
		return -1;
	if (sandbox->live ? pin_live(root, source, &pin, err) < 0
			  : pin_repository(root, source, show_progress, &pin, err) < 0)
		return -1;
	return add_pinned(source, &pin, sandbox, err);
}

/* From the layer, when it remembers, else from git. */
static int find_config(const struct repository *repository, struct pin *pin, struct config *ret,
		       struct error *err)
{
	struct process process = PROCESS_INIT;

	if (pin->config_known) {
		*ret = pin->config;
		pin->config = (struct config)CONFIG_INIT;
		return 0;
	}
	if (config_start(repository->top, &process, err) < 0)
		return -1;
	return config_finish(&process, ret, err);
}

static int create_named(const struct root *root, struct sandbox *sandbox, const char *stem,
			const char *name, bool durable, int *ret_lease, struct error *err)
{
	enum { TRIES = 50 };

	if (name) {
		sandbox->name = xstrdup(name);
		return sandbox_create(root, sandbox, durable, ret_lease, err);
	}
	for (int i = 0; i < TRIES; i++) {
		error_clear(err);
		free(sandbox->name);
		sandbox->name = name_invent(stem);
		int result = sandbox_create(root, sandbox, durable, ret_lease, err);

		if (result == 0 || err->code != ERR_EXISTS)
			return result;
	}
	return -1;
}

static void say_base(const struct sandbox *sandbox)
{
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];
		const char *where = sandbox->repo_count > 1 ? repo->name : sandbox->name;

		if (sandbox->live)
			say("live: %s shows the host's files as they are now; when the host changes "
			    "them, files appear, vanish or mix inside, and its commits can be lost",
			    where);
		else if (repo->base)
			say("%s starts clean from %.12s%s%s; uncommitted changes of the host are not "
			    "in it",
			    where, repo->base, repo->branch ? " on " : "",
			    repo->branch ? repo->branch : " (detached)");
		else
			say("%s starts empty: the repository has no commit yet", where);
	}
}

static void endings(sigset_t *set)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++) {
		struct sigaction action;

		/* A blocked one would be kept, although it is ignored (nohup). */
		if (sigaction(ending[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(set, ending[i]);
	}
}

void endings_block(void)
{
	sigset_t set;

	endings(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

bool endings_pending(void)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	sigset_t pending;
	bool any = false;

	sigpending(&pending);
	for (size_t i = 0; i < ARRAY_SIZE(ending); i++)
		any = any || sigismember(&pending, ending[i]) == 1;
	return any;
}

void endings_unblock(void)
{
	sigset_t set;

	endings(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/*
 * Pins every repository. In the usual case nothing has to be made, and the first one's layer also
 * knows the configuration: then no process is started.
 */
static int add_repositories(const struct root *root, const struct invocation *invocation,
			    const struct sources *sources, struct sandbox *sandbox,
			    struct config *ret_config, struct error *err)
{
	autopin struct pin first = {0};
	bool live = option_given(invocation, "live");
	int result = live ? 1 : pin_recall(root, &sources->repositories[0], &first, err);

	if (result < 0 || find_config(&sources->repositories[0], &first, ret_config, err) < 0 ||
	    choose_layout(invocation, ret_config, &sandbox->layout, err) < 0 ||
	    (!live && config_bool(ret_config, "jib.live", false, &live, err) < 0))
		return -1;
	sandbox->live = live;
	sandbox->home = home_path(sandbox->layout);
	for (size_t i = 0; i < sources->count; i++) {
		const struct repository *source = &sources->repositories[i];

		if (i == 0 && result == 0 && !live ? add_pinned(source, &first, sandbox, err) < 0
						   : add_repository(root, source, sandbox, err) < 0)
			return -1;
	}
	return 0;
}

int create_sandbox(const struct root *root, const struct invocation *invocation,
		   const struct sources *sources, const char *name, bool durable,
		   struct sandbox *ret, struct config *ret_config, int *ret_lease,
		   struct error *err)
{
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoconfig struct config config = CONFIG_INIT;

	if ((name && name_check(name, err) < 0) ||
	    add_repositories(root, invocation, sources, &sandbox, &config, err) < 0)
		return -1;
	sandbox.passing = ret_lease && option_given(invocation, "rm");
	if (ret_lease)
		endings_block();
	if (create_named(root, &sandbox, sources->repositories[0].name, name, durable, ret_lease,
			 err) < 0) {
		if (ret_lease)
			endings_unblock();
		return -1;
	}
	say_base(&sandbox);
	*ret = sandbox;
	sandbox = (struct sandbox)SANDBOX_INIT;
	*ret_config = config;
	config = (struct config)CONFIG_INIT;
	return 0;
}

int settle_sandbox(const struct root *root, const struct sandbox *sandbox, struct error *err)
{
	for (size_t i = 0; i < sandbox->repo_count; i++)
		if (layer_settle(root, sandbox->repos[i].tree.items, err) < 0 ||
		    layer_settle(root, sandbox->repos[i].git.items, err) < 0)
			return -1;
	return sandbox_settle(root, sandbox, err);
}

int refuse_mounted(const struct sandbox *sandbox, struct error *err)
{
	autofree char *source = sandbox_mount_source(sandbox);
	autofree char *target = NULL;
	int result = mount_find(source, &target, err);

	if (result != 0)
		return result < 0 ? -1 : 0;
	error_set(err, ERR_MOUNTED, "the sandbox %s is mounted at %s", sandbox->name, target);
	return error_hint(err, "sudo jib umount %s", target);
}
