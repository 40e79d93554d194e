#include "cli/create.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/bar.h"
#include "cli/draft.h"
#include "kernel/mounts.h"
#include "kernel/probe.h"
#include "store/layer.h"
#include "store/name.h"

bool create_options_given(const struct invocation *invocation, const char **ret_which)
{
	static const char *const names[] = {"repo",   "live",	 "layout", "clean",   "from",
					    "branch", "ignored", "unmask", "volatile"};

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

int create_sandbox(const struct root *root, const struct invocation *invocation,
		   const struct sources *sources, const char *name, bool durable,
		   struct sandbox *ret, struct config *ret_config, int *ret_lease,
		   struct error *err)
{
	autodraft struct draft draft = DRAFT_INIT;
	autoconfig struct config config = CONFIG_INIT;
	struct sandbox *sandbox = &draft.sandbox;
	autobar struct bar bar;

	bar_begin(&bar);
	draft.progress = bar_progress(&bar);
	if ((name && name_check(name, err) < 0) ||
	    draft_make(root, invocation, sources, &draft, &config, err) < 0)
		return -1;
	bar_end(&bar);
	sandbox->passing = ret_lease && option_given(invocation, "rm");
	if (ret_lease)
		endings_block();
	if (create_named(root, sandbox, sources->repositories[0].name, name, durable, ret_lease,
			 err) < 0) {
		if (ret_lease)
			endings_unblock();
		return -1;
	}
	draft_describe(&draft);
	*ret = *sandbox;
	*sandbox = (struct sandbox)SANDBOX_INIT;
	*ret_config = config;
	config = (struct config)CONFIG_INIT;
	return 0;
}

int settle_sandbox(const struct root *root, const struct sandbox *sandbox, struct error *err)
{
	autostrv struct strv ids = STRV_INIT;

	sandbox_layers(sandbox, &ids);
	/* Others use the layers too, and without them nothing of a volatile one would be left. */
	if (layer_settle(root, ids.items, err) < 0)
		return -1;
	return sandbox->is_volatile ? 0 : sandbox_settle(root, sandbox, err);
}
