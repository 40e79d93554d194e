#include "snapshot/pin.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/fingerprint.h"
#include "snapshot/layers.h"
#include "snapshot/settings.h"
#include "snapshot/sources.h"
#include "store/json.h"

enum { TRIES = 20, GENERATIONS = 1000 };

void pin_release(struct pin *pin)
{
	repository_head_release(&pin->head);
	free(pin->fingerprint);
	free(pin->excludes_file);
	strv_release(&pin->tree);
	strv_release(&pin->git);
	config_release(&pin->config);
	layer_holds_release(&pin->holds);
	*pin = (struct pin){0};
}

char *pin_branch(const char *ref)
{
	static const char heads[] = "refs/heads/";

	if (!ref)
		return NULL;
	return xstrdup(str_starts(ref, heads) ? ref + strlen(heads) : ref);
}

static int git_layer_id(const struct repository *repository, char **ret, struct error *err)
{
	const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME");
	struct hash hash;

	hash_init(&hash);
	hash_text(&hash, "git 6");
	/* They decide which configuration is the user's. */
	hash_text(&hash, home ? home : "");
	hash_text(&hash, xdg ? xdg : "");
	/* The index names it. */
	hash_text(&hash, repository->top);
	if (fingerprint_take(repository, &hash, err) < 0)
		return -1;
	*ret = hash_id(&hash, "git");
	return 0;
}

/* Beside 0, 1 and -1: the layer is there, but what it was made from is not, or is different. */
enum { STALE = 2 };

/* The configuration as a description holds it; NULL when it is not UTF-8. */
static json_t *config_to_json(const struct config *config)
{
	json_t *array = json_array();

	for (size_t i = 0; i < config->count; i++) {
		const struct config_item *item = &config->items[i];
		json_t *entry = json_pack("[s,s?,b]", item->key, item->value, item->local);

		if (json_array_append_new(array, entry) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static bool config_from_json(const json_t *array, struct config *ret)
{
	struct config config = CONFIG_INIT;
	size_t count = json_array_size(array);

	if (!json_is_array(array))
		return false;
	config.items = xcalloc(count, sizeof *config.items);
	for (size_t i = 0; i < count; i++) {
		const json_t *entry = json_array_get(array, i);
		const char *key = json_string_value(json_array_get(entry, 0));
		const char *value = json_string_value(json_array_get(entry, 1));

		if (!key) {
			config_release(&config);
			return false;
		}
		config.items[config.count++] = (struct config_item){
			.key = xstrdup(key),
			.value = value ? xstrdup(value) : NULL,
			.local = json_is_true(json_array_get(entry, 2)),
		};
	}
	*ret = config;
	return true;
}

static char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? xstrdup(text) : NULL;
}

static struct repository_head head_from_json(const json_t *object)
{
	return (struct repository_head){
		.commit = text_of(object, "commit"),
		.tree = text_of(object, "tree"),
		.ref = text_of(object, "ref"),
		.format = text_of(object, "format"),
		.time = (long)json_integer_value(json_object_get(object, "time")),
	};
}

static json_t *head_to_json(const struct repository_head *head)
{
	return json_pack("{s:s?,s:s?,s:s?,s:s,s:I}", "commit", head->commit, "tree", head->tree,
			 "ref", head->ref, "format", head->format, "time", (json_int_t)head->time);
}

/* What a git layer remembers of the repository. STALE when its tree layer is. */
static int recall(const struct root *root, const json_t *description, const char *id,
		  struct pin *ret, struct error *err)
{
	const json_t *tree = json_object_get(description, "tree");

	if (!json_array_size(tree))
		return error_set(err, ERR_CORRUPT, "the layer %s does not name its files", id);
	for (size_t i = 0; i < json_array_size(tree); i++) {
		const char *below = json_string_value(json_array_get(tree, i));
		int result = layer_holds_add(root, below ? below : "", &ret->holds, err);

		if (result != 0)
			return result < 0 ? -1 : STALE;
	}
	for (size_t i = 0; i < json_array_size(tree); i++)
		strv_add(&ret->tree, json_string_value(json_array_get(tree, i)));
	ret->head = head_from_json(json_object_get(description, "head"));
	if (!ret->head.format)
		return error_set(err, ERR_CORRUPT, "the layer %s does not name its commit", id);
	strv_add(&ret->git, id);
	ret->excludes_file = text_of(description, "excludes_file");
	ret->config_known = config_from_json(json_object_get(description, "config"), &ret->config);
	return 0;
}

static int open_recalled(const struct root *root, const char *id, struct pin *ret,
			 struct error *err)
{
	json_t *description = NULL;
	int result = layer_holds_open(root, id, &ret->holds, &description, err);

	if (result == 0)
		result = sources_same(json_object_get(description, "sources"))
				 ? recall(root, description, id, ret, err)
				 : STALE;
	if (result != 0)
		layer_holds_release(&ret->holds);
	json_decref(description);
	return result;
}

/*
 * A layer that does not fit any more may be in use and stays: the next one for the same state of
 * the repository gets another id. 0; 1 and the id to make; -1.
 */
static int find(const struct root *root, const char *fingerprint, struct pin *ret, char **ret_id,
		struct error *err)
{
	for (int i = 0; i < GENERATIONS; i++) {
		struct hash hash;

		hash_init(&hash);
		hash_text(&hash, fingerprint);
		hash_bytes(&hash, &i, sizeof i);
		autofree char *id = i ? hash_id(&hash, "git") : xstrdup(fingerprint);
		int result = open_recalled(root, id, ret, err);

		if (result == 1)
			*ret_id = steal_ptr(&id);
		if (result != STALE)
			return result;
	}
	return error_set(err, ERR_UNSTABLE, "the layers of a repository keep becoming stale");
}

int pin_recall(const struct root *root, const struct repository *repository, struct pin *ret,
	       struct error *err)
{
	autofree char *fingerprint = NULL;
	autofree char *id = NULL;

	/* Of somebody else's repository git decides each time whether it may be used. */
	if (!repository->trusted)
		return 1;
	if (git_layer_id(repository, &fingerprint, err) < 0)
		return -1;
	int result = find(root, fingerprint, ret, &id, err);

	if (result == 0)
		ret->fingerprint = steal_ptr(&fingerprint);
	return result;
}

/* What jib and the git inside are going to ask for, see config_start(). */
static int read_wanted(const struct repository *repository, json_t **ret, struct error *err)
{
	autoconfig struct config wanted = CONFIG_INIT;
	struct process process = PROCESS_INIT;

	if (config_start(repository->top, &process, err) < 0 ||
	    config_finish(&process, &wanted, err) < 0)
		return -1;
	settings_reduce(&wanted);
	*ret = config_to_json(&wanted);
	return 0;
}

/* Makes the layers. 0, 1 when the repository changed meanwhile (or another made them), -1. */
static int make(const struct root *root, const struct repository *repository,
		const char *fingerprint, json_t **sources, const struct progress *progress,
		struct repository_head *head, struct config *settings, struct error *err)
{
	automaking struct layer_making making = LAYER_MAKING_INIT;
	autoholds struct layer_holds tree_hold = {0};
	autopin struct pin found = {0};
	autofree char *id = NULL;
	autostrv struct strv tree = STRV_INIT;
	autofree char *after = NULL;
	__attribute__((cleanup(json_decrefp))) json_t *wanted = NULL;

	if (repository_inspect(repository, head, err) < 0 ||
	    /* before anything that they decide */
	    sources_take(repository, sources, err) < 0 ||
	    read_wanted(repository, &wanted, err) < 0 ||
	    config_read_all(repository->top, settings, err) < 0 ||
	    tree_layers(root, repository, head, settings, progress, &tree, &tree_hold, err) < 0)
		return -1;
	/* Perhaps only the tree layer was missing. */
	int result = find(root, fingerprint, &found, &id, err);

	if (result <= 0)
		return result < 0 ? -1 : 1;
	result = layer_begin(root, id, &making, err);
	if (result != 0)
		return result;
	if (git_layer_fill(&making, repository, head, settings, &tree, err) < 0)
		return error_wrap(err, "cannot capture the repository %s", repository->top);
	if (git_layer_id(repository, &after, err) < 0)
		return -1;
	if (strcmp(fingerprint, after) != 0 || !sources_same(*sources))
		return 1;
	autofree char *excludes =
		settings_file(settings, "core.excludesfile", "ignore", repository->top);
	json_t *description =
		json_pack("{s:i,s:s,s:o,s:o,s:s,s:s?,s:O,s:O?}", "version", 2, "kind", "git",
			  "tree", json_strings(&tree), "head", head_to_json(head), "repository",
			  repository->common_dir, "excludes_file", excludes, "sources", *sources,
			  "config", wanted);

	if (!description)
		return error_set(err, ERR_UNSUPPORTED, "a path or branch of %s is not valid UTF-8",
				 repository->top);
	return layer_finish(&making, description, err);
}

int pin_repository(const struct root *root, const struct repository *repository,
		   const struct progress *progress, struct pin *ret, struct error *err)
{
	if (!repository->trusted) {
		/* Somebody else's repository: git decides each time whether it may be used. */
		struct repository_head head = {0};

		if (repository_inspect(repository, &head, err) < 0)
			return -1;
		repository_head_release(&head);
	}
	for (int i = 0; i < TRIES; i++) {
		autofree char *fingerprint = NULL;
		autofree char *id = NULL;
		json_t *sources = NULL;
		struct repository_head head = {0};
		struct config settings = CONFIG_INIT;

		if (git_layer_id(repository, &fingerprint, err) < 0)
			return -1;
		int result = find(root, fingerprint, ret, &id, err);

		if (result == 0)
			ret->fingerprint = steal_ptr(&fingerprint);
		if (result <= 0)
			return result;
		result = make(root, repository, fingerprint, &sources, progress, &head, &settings,
			      err);
		json_decref(sources);
		repository_head_release(&head);
		config_release(&settings);
		if (result < 0)
			return -1;
	}
	return pin_unstable(repository, err);
}

int pin_unstable(const struct repository *repository, struct error *err)
{
	error_set(err, ERR_UNSTABLE, "%s keeps changing while it is captured", repository->top);
	return error_hint(err, "wait until what works on it is done, and try again");
}

int pin_is_current(const struct repository *repository, const struct pin *pin, struct error *err)
{
	autofree char *now = NULL;

	if (git_layer_id(repository, &now, err) < 0)
		return -1;
	return strcmp(now, pin->fingerprint) == 0;
}

/* --live */

static int whiteout(int dirfd, const char *name, struct error *err)
{
	/* A character device 0/0 hides the name in the layers below; no privilege is needed. */
	if (mknodat(dirfd, name, S_IFCHR, makedev(0, 0)) < 0)
		return error_errno(err, "cannot hide %s", name);
	return 0;
}

static int fill_live(const struct layer_making *making, bool linked, const struct str *config,
		     struct error *err)
{
	/*
	 * Beside locks: what holds addresses with credentials, and configuration that is not
	 * sanitised. Of `modules` that is one per submodule, at any depth: all of it goes.
	 */
	static const char *const hidden[] = {"index.lock",	 "HEAD.lock",	 "config.lock",
					     "packed-refs.lock", "shallow.lock", "worktrees",
					     "config.worktree",	 "FETCH_HEAD",	 "modules"};
	static const char *const hidden_linked[] = {"commondir", "gitdir", "locked"};
	autofd int git = -1, top = -1;

	if (dir_make_at(making->fd, "tree", 0755, &git, err) < 0 ||
	    dir_make_at(making->fd, "top", 0755, &top, err) < 0 ||
	    file_replace_at(git, "config", config->s, config->len, 0644, false, err) < 0)
		return -1;
	/* The mount point of the git dir, also where the host has a file of that name. */
	if (mkdirat(top, ".git", 0755) < 0)
		return error_errno(err, "cannot create the mount point of the git dir");
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		if (whiteout(git, hidden[i], err) < 0)
			return -1;
	for (size_t i = 0; linked && i < ARRAY_SIZE(hidden_linked); i++)
		if (whiteout(git, hidden_linked[i], err) < 0)
			return -1;
	return 0;
}

static int make_live(const struct root *root, const char *id, bool linked, const struct str *config,
		     struct error *err)
{
	automaking struct layer_making making = LAYER_MAKING_INIT;
	int result = layer_begin(root, id, &making, err);

	if (result != 0)
		return result < 0 ? -1 : 0;
	if (fill_live(&making, linked, config, err) < 0)
		return -1;
	return layer_finish(&making, json_pack("{s:i,s:s}", "version", 1, "kind", "live"), err);
}

int pin_live(const struct root *root, const struct repository *repository, struct pin *ret,
	     struct error *err)
{
	struct repository_head head = {0};
	struct config settings = CONFIG_INIT;
	autostr struct str config = STR_INIT;
	bool linked = strcmp(repository->git_dir, repository->common_dir) != 0;
	int result = -1;

	if (repository_inspect(repository, &head, err) == 0 &&
	    config_read_all(repository->top, &settings, err) == 0) {
		struct hash hash;

		settings_sanitise(&settings, &config);
		settings_add_hooks(repository, &settings, &config);
		hash_init(&hash);
		hash_text(&hash, linked ? "live 2 linked" : "live 2");
		hash_text(&hash, config.s);
		autofree char *id = hash_id(&hash, "live");

		do
			result = make_live(root, id, linked, &config, err);
		while (result == 0 && (result = layer_holds_add(root, id, &ret->holds, err)) == 1);
		if (result == 0) {
			strv_add(&ret->git, id);
			ret->head = head;
			head = (struct repository_head){0};
		}
	}
	repository_head_release(&head);
	config_release(&settings);
	return result;
}
