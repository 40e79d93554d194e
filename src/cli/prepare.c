#include "cli/prepare.h"

#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "git/repository.h"
#include "review/plan-git.h"

static int add_each(struct plan *plan, const struct invocation *invocation,
		    const struct config *config, const char *option, const char *key,
		    int (*add)(struct plan *, const char *, struct error *), struct error *err)
{
	const char *value;

	for (size_t at = 0; (value = config_next(config, key, &at));)
		if (add(plan, value, err) < 0)
			return error_wrap(err, "%s", key);
	for (size_t at = 0; (value = option_next(invocation, option, &at));)
		if (add(plan, value, err) < 0)
			return -1;
	return 0;
}

static const char *setting(const struct invocation *invocation, const struct config *config,
			   const char *option, const char *key)
{
	const char *value = option_value(invocation, option);

	return value ? value : config_value(config, key);
}

static int set_limit(const struct invocation *invocation, const struct config *config,
		     const char *option, const char *key, int (*parse)(const char *, uint64_t *),
		     uint64_t *limit, struct error *err)
{
	const char *value = setting(invocation, config, option, key);

	if (value && parse(value, limit) < 0)
		return error_set(err, ERR_USAGE, "--%s: \"%s\" is not a limit", option, value);
	return 0;
}

/* What plan_check() cannot know: a git directory may lie outside of the work tree. */
static int check_git_dirs(const struct plan *plan, const struct sandbox *sandbox, struct error *err)
{
	for (size_t i = 0; i < plan->bind_count; i++)
		for (size_t k = 0; plan->binds[i].writable && k < sandbox->repo_count; k++) {
			autorepository struct repository found = REPOSITORY_INIT;
			struct error gone = ERROR_INIT;

			/* The host may have removed it meanwhile; then there is none to protect. */
			if (repository_find(sandbox->repos[k].host, &found, &gone) < 0) {
				error_clear(&gone);
				continue;
			}
			if (plan_check_writable(&plan->binds[i], found.git_dir, err) < 0 ||
			    plan_check_writable(&plan->binds[i], found.common_dir, err) < 0)
				return -1;
		}
	return 0;
}

int prepare_plan(const struct invocation *invocation, const struct config *config,
		 const struct sandbox *sandbox, const char *root_path, struct plan *ret,
		 struct error *err)
{
	autoplan struct plan plan = {0};
	const char *network = setting(invocation, config, "net", "jib.net");

	if (plan_start(sandbox, &plan, err) < 0 ||
	    add_each(&plan, invocation, config, "bind", "jib.bind", plan_add_bind, err) < 0 ||
	    add_each(&plan, invocation, config, "env", "jib.env", plan_add_env, err) < 0 ||
	    (network && plan_set_network(&plan, network, err) < 0) ||
	    set_limit(invocation, config, "memory", "jib.memory", limits_parse_size,
		      &plan.limits.memory, err) < 0 ||
	    set_limit(invocation, config, "pids", "jib.pids", limits_parse_count, &plan.limits.pids,
		      err) < 0 ||
	    set_limit(invocation, config, "cpus", "jib.cpus", limits_parse_cpus,
		      &plan.limits.cpu_milli, err) < 0 ||
	    plan_check(&plan, sandbox, root_path, err) < 0 ||
	    check_git_dirs(&plan, sandbox, err) < 0 ||
	    plan_set_git(&plan, config, config_place(sandbox), err) < 0)
		return -1;
	*ret = plan;
	plan = (struct plan){0};
	return 0;
}

const char *config_place(const struct sandbox *sandbox)
{
	const char *host = sandbox->repo_count ? sandbox->repos[0].host : "/";

	return access(host, X_OK) == 0 ? host : "/";
}

int refuse_run_options(const struct invocation *invocation, const struct sandbox *sandbox,
		       struct error *err)
{
	static const char *const names[] = {"bind", "net", "memory", "pids", "cpus"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (option_given(invocation, names[i])) {
			error_set(err, ERR_RUNNING,
				  "--%s cannot be changed while the sandbox %s is running",
				  names[i], sandbox->name);
			return error_hint(err, "`jib stop %s` first", sandbox->name);
		}
	return 0;
}

/* The directory inside that corresponds to the caller's; NULL when it is in no repository. */
static char *corresponding(const struct sandbox *sandbox)
{
	autofree char *here = getcwd(NULL, 0);
	const struct sandbox_repo *best = NULL;
	size_t best_len = 0;

	for (size_t i = 0; here && i < sandbox->repo_count; i++) {
		const char *host = sandbox->repos[i].host;
		size_t len = strlen(host);

		if (strncmp(here, host, len) == 0 && (here[len] == '/' || !here[len]) &&
		    len > best_len) {
			best = &sandbox->repos[i];
			best_len = len;
		}
	}
	return best ? xasprintf("%s%s", best->path, here + best_len) : NULL;
}

int prepare_spawn(const struct invocation *invocation, const struct sandbox *sandbox,
		  const struct plan *plan, struct spawn *ret, struct error *err)
{
	struct spawn spawn = {0};

	if (invocation->rest && invocation->rest_count == 0)
		return error_set(err, ERR_USAGE, "there is no command after `--`");
	for (char **word = invocation->rest; word && *word; word++)
		strv_add(&spawn.argv, *word);
	if (!spawn.argv.len)
		strv_add(&spawn.argv, plan->shell);
	if (!*spawn.argv.items[0]) {
		spawn_release(&spawn);
		return error_set(err, ERR_USAGE, "the command is empty");
	}
	for (size_t i = 0; i < plan->env.len; i++)
		strv_add(&spawn.env, plan->env.items[i]);
	spawn.fallback = xstrdup(sandbox->repo_count ? sandbox->repos[0].path : "/");
	spawn.directory = corresponding(sandbox);
	if (!spawn.directory)
		spawn.directory = xstrdup(spawn.fallback);
	*ret = spawn;
	return 0;
}
