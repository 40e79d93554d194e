#include "cli/draft.h"

#include <string.h>

#include "base/memory.h"
#include "cli/output.h"
#include "kernel/cgroup.h"
#include "run/rootfs.h"
#include "snapshot/take.h"

enum { IGNORED_BUDGET = 16 << 20, NAMES_SHOWN = 8 };

void draft_release(struct draft *draft)
{
	sandbox_release(&draft->sandbox);
	layer_holds_release(&draft->holds);
	strv_release(&draft->masked);
	strv_release(&draft->left_out);
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

/* What comes along. */

static void wishes_release(struct local_wishes *wishes)
{
	strv_release(&wishes->mask);
	strv_release(&wishes->unmask);
}

static int wish_ignored(const struct invocation *invocation, const struct config *config,
			struct local_wishes *wishes, struct error *err)
{
	const char *text = option_value(invocation, "ignored");
	const char *budget = config_value(config, "jib.ignoredlimit");
	uint64_t bytes = IGNORED_BUDGET;

	if (!text)
		text = config_value(config, "jib.ignored");
	if (text && strcmp(text, "carry") != 0 && strcmp(text, "none") != 0)
		return error_set(err, ERR_USAGE, "ignored files: `carry` or `none`, not \"%s\"",
				 text);
	if (budget && strcmp(budget, "0") != 0 && limits_parse_size(budget, &bytes) < 0)
		return error_set(err, ERR_CONFIG, "jib.ignoredLimit: \"%s\" is not a size", budget);
	wishes->ignored = !text || strcmp(text, "carry") == 0;
	wishes->budget = budget && strcmp(budget, "0") == 0 ? 0 : bytes;
	return 0;
}

static int find_wishes(const struct invocation *invocation, const struct config *config,
		       struct local_wishes *wishes, struct error *err)
{
	const char *value;

	if (wish_ignored(invocation, config, wishes, err) < 0)
		return -1;
	for (size_t at = 0; (value = config_next(config, "jib.mask", &at));)
		strv_add(&wishes->mask, value);
	for (size_t at = 0; (value = config_next(config, "jib.unmask", &at));)
		strv_add(&wishes->unmask, value);
	for (size_t at = 0; (value = option_next(invocation, "unmask", &at));)
		strv_add(&wishes->unmask, value);
	wishes->clean = option_given(invocation, "clean") || option_given(invocation, "from");
	wishes->branch = option_value(invocation, "branch");
	return 0;
}

/* Putting it together. */

static int add_place(const struct repository *source, struct sandbox *sandbox,
		     struct sandbox_repo **ret, struct error *err)
{
	char *name = unique_name(sandbox, source->name);
	struct sandbox_repo *repo = sandbox_add_repo(sandbox);

	repo->name = name;
	repo->host = xstrdup(source->top);
	*ret = repo;
	if (sandbox->layout == LAYOUT_JIB) {
		repo->path = xasprintf("/home/jib/repos/%s", name);
		repo->git_path = xasprintf("/home/jib/.git/%s", name);
		return 0;
	}
	repo->path = xstrdup(source->top);
	return check_place(repo->path, err);
}

/* Consumes the pin. */
static void add_pinned(struct pin *pin, const char *branch, struct draft *draft,
		       struct sandbox_repo *repo)
{
	repo->base = steal_ptr(&pin->head.commit);
	repo->branch = branch ? xstrdup(branch) : pin_branch(pin->head.ref);
	repo->tree = pin->tree;
	repo->git = pin->git;
	pin->tree = pin->git = (struct strv)STRV_INIT;
	layer_holds_move(&pin->holds, &draft->holds);
}

static int add_live(const struct root *root, const struct repository *source, struct draft *draft,
		    struct error *err)
{
	autopin struct pin pin = {0};
	struct sandbox_repo *repo;

	if (check_live(root, source, err) < 0 ||
	    add_place(source, &draft->sandbox, &repo, err) < 0 ||
	    pin_live(root, source, &pin, err) < 0)
		return -1;
	repo->live_git_dir = xstrdup(source->git_dir);
	repo->live_common_dir = xstrdup(source->common_dir);
	add_pinned(&pin, NULL, draft, repo);
	return 0;
}

static void move_names(const struct sandbox_repo *repo, bool several, struct strv *from,
		       struct strv *to)
{
	for (size_t i = 0; i < from->len; i++)
		if (several)
			strv_addf(to, "%s/%s", repo->name, from->items[i]);
		else
			strv_add(to, from->items[i]);
}

static int add_taken(const struct root *root, const struct repository *source,
		     const struct local_wishes *wishes, const char *from, struct pin *recalled,
		     bool several, struct draft *draft, struct error *err)
{
	autotaken struct taken taken = {0};
	struct sandbox_repo *repo;

	if (add_place(source, &draft->sandbox, &repo, err) < 0)
		return -1;
	const struct take_request request = {
		.repository = source,
		.wishes = wishes,
		.from = from,
		.location = repo->path,
		.progress = draft->progress,
	};

	if (take_repository(root, &request, recalled, &taken, err) < 0)
		return -1;
	add_pinned(&taken.pin, wishes->branch, draft, repo);
	repo->local = steal_ptr(&taken.local.id);
	repo->modules = steal_ptr(&taken.modules);
	repo->carried = taken.local.carried;
	taken.local.carried = (struct strv)STRV_INIT;
	move_names(repo, several, &taken.local.masked, &draft->masked);
	move_names(repo, several, &taken.local.left_out, &draft->left_out);
	return 0;
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

static int check_options(const struct invocation *invocation, const struct sources *sources,
			 bool live, struct error *err)
{
	static const char *const pinned[] = {"clean", "from", "branch", "ignored", "unmask"};
	static const char *const single[] = {"from", "branch"};

	for (size_t i = 0; live && i < ARRAY_SIZE(pinned); i++)
		if (option_given(invocation, pinned[i]))
			return error_set(
				err, ERR_USAGE,
				"--%s and --live exclude each other: a live view shows the "
				"host's directories as they are",
				pinned[i]);
	for (size_t i = 0; sources->count > 1 && i < ARRAY_SIZE(single); i++)
		if (option_given(invocation, single[i]))
			return error_set(err, ERR_USAGE, "--%s is for a single repository",
					 single[i]);
	return 0;
}

static int add_all(const struct root *root, const struct invocation *invocation,
		   const struct sources *sources, struct pin *first, const struct config *config,
		   struct draft *draft, struct error *err)
{
	__attribute__((cleanup(wishes_release))) struct local_wishes wishes = {0};

	if (find_wishes(invocation, config, &wishes, err) < 0)
		return -1;
	draft->clean = wishes.clean;
	draft->switched = option_given(invocation, "from");
	for (size_t i = 0; i < sources->count; i++) {
		const struct repository *source = &sources->repositories[i];

		if (draft->sandbox.live
			    ? add_live(root, source, draft, err) < 0
			    : add_taken(root, source, &wishes, option_value(invocation, "from"),
					i == 0 ? first : NULL, sources->count > 1, draft, err) < 0)
			return -1;
	}
	return 0;
}

/*
 * In the usual case no layer has to be made, and the first repository's also knows the
 * configuration: then, if nothing uncommitted is wanted, no process is started.
 */
int draft_make(const struct root *root, const struct invocation *invocation,
	       const struct sources *sources, struct draft *ret, struct config *ret_config,
	       struct error *err)
{
	struct sandbox *sandbox = &ret->sandbox;
	autopin struct pin first = {0};
	bool live = option_given(invocation, "live");
	bool is_volatile = option_given(invocation, "volatile");
	int result = live ? 1 : pin_recall(root, &sources->repositories[0], &first, err);

	if (result < 0 || find_config(&sources->repositories[0], &first, ret_config, err) < 0 ||
	    choose_layout(invocation, ret_config, &sandbox->layout, err) < 0 ||
	    (!live && config_bool(ret_config, "jib.live", false, &live, err) < 0) ||
	    (!is_volatile &&
	     config_bool(ret_config, "jib.volatile", false, &is_volatile, err) < 0) ||
	    check_options(invocation, sources, live, err) < 0)
		return -1;
	sandbox->live = live;
	sandbox->is_volatile = is_volatile;
	sandbox->home = home_path(sandbox->layout);
	return add_all(root, invocation, sources, result == 0 ? &first : NULL, ret_config, ret,
		       err);
}

/* What the user is told. */

static void say_names(const char *why, const struct strv *names, const char *hint)
{
	autostr struct str list = STR_INIT;

	for (size_t i = 0; i < names->len && i < NAMES_SHOWN; i++) {
		str_add(&list, i ? ", " : "");
		str_add_escaped(&list, names->items[i], strlen(names->items[i]));
	}
	if (names->len > NAMES_SHOWN)
		str_addf(&list, " and %zu more", names->len - NAMES_SHOWN);
	if (names->len)
		say("%s: %s%s", why, list.s, hint);
}

static void say_base(const struct draft *draft, const struct sandbox_repo *repo)
{
	const struct sandbox *sandbox = &draft->sandbox;
	const char *where = sandbox->repo_count > 1 ? repo->name : sandbox->name;
	const char *what = draft->clean ? ", clean" : "";

	if (sandbox->live)
		say("live: %s shows the host's files as they are now; when the host changes "
		    "them, files appear, vanish or mix inside, and its commits can be lost",
		    where);
	else if (repo->base)
		say("%s starts from %.12s%s%s%s", where, repo->base, repo->branch ? " on " : "",
		    repo->branch ? repo->branch : " (detached)",
		    repo->local && !draft->clean ? ", with what is not committed" : what);
	else
		say("%s starts empty: the repository has no commit yet", where);
}

void draft_describe(const struct draft *draft)
{
	for (size_t i = 0; i < draft->sandbox.repo_count; i++)
		say_base(draft, &draft->sandbox.repos[i]);
	say_names("masked, because they look like credentials", &draft->masked,
		  " (--unmask PATTERN brings them)");
	say_names("left out", &draft->left_out,
		  ": too large (jib.ignoredLimit), special, or changing all the time");
}
