#include "snapshot/modules.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "git/git.h"
#include "snapshot/fingerprint.h"
#include "snapshot/git-parts.h"
#include "snapshot/layers.h"
#include "snapshot/modules-internal.h"
#include "snapshot/settings.h"
#include "snapshot/settle.h"
#include "store/layer.h"

enum { TRIES = 10, OBSERVATIONS = 200 };

/* Work in progress, beside HEAD. */
static const char *const in_progress[] = {
	"AUTO_MERGE",	       "BISECT_ANCESTORS_OK", "BISECT_EXPECTED_REV",
	"BISECT_FIRST_PARENT", "BISECT_LOG",	      "BISECT_NAMES",
	"BISECT_RUN",	       "BISECT_START",	      "BISECT_TERMS",
	"CHERRY_PICK_HEAD",    "COMMIT_EDITMSG",      "MERGE_HEAD",
	"MERGE_MODE",	       "MERGE_MSG",	      "MERGE_RR",
	"REBASE_HEAD",	       "REVERT_HEAD",	      "SQUASH_MSG",
	"rebase-apply",	       "rebase-merge",	      "sequencer",
};

struct observation {
	struct hash *hash;
	struct timespec newest;
	char *what; /* the file that it was seen at */
};

static void observe_file(struct observation *seen, const char *directory, const char *name)
{
	autofree char *path = xasprintf("%s/%s", directory, name);
	struct stat st;
	struct {
		uint64_t ino, mode, size;
		int64_t changed, changed_ns, modified, modified_ns;
	} facts;

	memset(&facts, 0, sizeof facts);
	hash_text(seen->hash, name);
	if (lstat(path, &st) < 0)
		return;
	facts.ino = st.st_ino;
	facts.mode = st.st_mode;
	facts.size = (uint64_t)st.st_size;
	facts.changed = st.st_ctim.tv_sec;
	facts.changed_ns = st.st_ctim.tv_nsec;
	facts.modified = st.st_mtim.tv_sec;
	facts.modified_ns = st.st_mtim.tv_nsec;
	hash_bytes(seen->hash, &facts, sizeof facts);
	if (fingerprint_is_later(&st.st_ctim, &seen->newest)) {
		seen->newest = st.st_ctim;
		free(seen->what);
		seen->what = steal_ptr(&path);
	}
}

static void observe_files(const struct module *module, const struct strv *paths,
			  struct observation *seen)
{
	for (size_t i = 0; i < paths->len; i++)
		observe_file(seen, module->repository.top, paths->items[i]);
}

/*
 * Files that git status has been told not to look at: they come along as they are. "S PATH", or a small
 * letter before one that is assumed to be unchanged.
 */
static int observe_quiet(const struct module *module, struct observation *seen, struct error *err)
{
	const char *const args[] = {"ls-files", "-v", "-z", NULL};
	struct git_place place = module_place(&module->repository);
	autostr struct str output = STR_INIT;

	if (git_run(&place, args, &output, err) < 0)
		return -1;
	for (size_t at = 0; at < output.len; at += strlen(output.s + at) + 1) {
		const char *line = output.s + at;

		if ((line[0] == 'S' || islower((unsigned char)line[0])) && line[1] == ' ')
			observe_file(seen, module->repository.top, line + 2);
	}
	return 0;
}

static int observe_work_tree(const struct modules_request *request, struct module *module,
			     struct process *status, struct observation *seen, struct error *err)
{
	const struct repository *repository = &module->repository;

	observe_file(seen, repository->git_dir, "index");
	for (size_t i = 0; i < ARRAY_SIZE(in_progress); i++)
		observe_file(seen, repository->git_dir, in_progress[i]);
	if (observe_quiet(module, seen, err) < 0) {
		process_abandon(status);
		return error_wrap(err, "submodule %s", module->path);
	}
	if (git_finish(status, &module->status, NULL, NULL, err) < 0)
		return error_wrap(err, "submodule %s", module->path);
	hash_bytes(seen->hash, module->status.len ? module->status.s : "", module->status.len);
	if (module_read_status(request, module, err) < 0)
		return error_wrap(err, "submodule %s", module->path);
	observe_files(module, &module->changed, seen);
	observe_files(module, &module->copied, seen);
	return 0;
}

/* What decides how the files of a commit look. */
static int observe_settings(const struct module *module, struct observation *seen,
			    struct error *err)
{
	autoconfig struct config settings = CONFIG_INIT;
	struct git_place place = module_place(&module->repository);

	if (config_read_place(&place, &settings, err) < 0)
		return -1;
	for (size_t i = 0; i < settings.count; i++) {
		hash_text(seen->hash, settings.items[i].key);
		hash_text(seen->hash, settings.items[i].value ? settings.items[i].value : "");
	}
	return 0;
}

static int observe(const struct modules_request *request, struct module *module,
		   struct observation *seen, struct error *err)
{
	const char *const args[] = {
		"status",
		"--porcelain=v2",
		"-z",
		"--branch",
		"--no-ahead-behind",
		"--no-renames",
		"--untracked-files=all",
		"--ignore-submodules=all",
		request->wishes->ignored ? "--ignored=matching" : "--ignored=no",
		NULL,
	};
	struct git_place place = module_place(&module->repository);
	struct process status = PROCESS_INIT;
	bool looks = module->work_tree && !module->commit;

	hash_text(seen->hash, module->path);
	hash_text(seen->hash, module->place);
	hash_text(seen->hash, module->work_tree ? "work tree" : "");
	hash_text(seen->hash, module->commit ? module->commit : "");
	str_clear(&module->status);
	strv_release(&module->changed);
	strv_release(&module->copied);
	strv_release(&module->masked);
	strv_release(&module->left_out);
	if (looks && git_start(&place, args, &status, err) < 0)
		return -1;
	/* While git looks at the files */
	if (fingerprint_take(&module->repository, seen->hash, err) < 0) {
		process_abandon(&status);
		return -1;
	}
	if (looks)
		return observe_work_tree(request, module, &status, seen, err);
	return module->work_tree ? observe_settings(module, seen, err) : 0;
}

/* The id of the layer, and the moment since which nothing of what it stands for has changed. */
static int observe_all(const struct modules_request *request, struct modules *modules,
		       char **ret_id, struct timespec *ret_since, struct error *err)
{
	for (int i = 0; i < OBSERVATIONS; i++) {
		struct hash hash;
		struct observation seen = {.hash = &hash};
		int result = 0;

		hash_init(&hash);
		hash_text(&hash, "modules 1");
		hash_text(&hash, request->wishes->clean ? "clean" : "");
		clock_gettime(CLOCK_REALTIME_COARSE, ret_since);
		for (size_t k = 0; k < modules->count && result == 0; k++)
			result = observe(request, &modules->items[k], &seen, err);
		bool settled = fingerprint_is_settled(ret_since, &seen.newest);

		if (result == 0 && !settled && i == OBSERVATIONS - 1)
			result = error_set(err, ERR_UNSTABLE,
					   "%s keeps changing while it is captured", seen.what);
		free(seen.what);
		if (result < 0)
			return -1;
		if (settled) {
			*ret_id = hash_id(&hash, "modules");
			return 0;
		}
		fingerprint_wait(&seen.newest);
	}
	return -1;
}

/* "../" for each component of a path */
static void add_up(struct str *text, const char *path)
{
	str_add(text, "../");
	for (; *path; path++)
		if (*path == '/')
			str_add(text, "../");
}

static int write_config(const struct module *module, const struct config *settings, int git,
			struct error *err)
{
	autostr struct str config = STR_INIT;
	autostr struct str work_tree = STR_INIT;

	settings_sanitise(settings, &config);
	settings_add_hooks(&module->repository, settings, &config);
	/* Out of its place, and out of .git */
	add_up(&work_tree, module->place);
	str_add(&work_tree, "../");
	str_add(&work_tree, module->path);
	if (module->work_tree)
		config_write_item(&config, "core.worktree", work_tree.s);
	return file_replace_at(git, "config", config.s, config.len, 0644, false, err);
}

static int fill_head(const struct module *module, int git, struct error *err)
{
	autofd int own = git_open(AT_FDCWD, module->repository.git_dir);

	if (own < 0)
		return error_errno(err, "cannot read %s", module->repository.git_dir);
	if (module->work_tree && module->commit) {
		const struct repository_head head = {.commit = module->commit};

		return git_write_head(git, &head, err);
	}
	if (git_copy(own, git, "HEAD", err) < 0)
		return -1;
	for (size_t i = 0; module->work_tree && i < ARRAY_SIZE(in_progress); i++)
		if (git_copy_scrubbed(own, git, in_progress[i], err) < 0)
			return -1;
	return 0;
}

static int check_out(const struct module *module, bool sha256, int tree, int git, struct error *err)
{
	autofree char *place = realpath(fd_path(tree).s, NULL);
	autofree char *git_place = realpath(fd_path(git).s, NULL);

	if (!place || !git_place)
		return error_errno(err, "cannot name the layer's directory");
	autofree char *index = xasprintf("%s/index", git_place);
	/* What a partial clone lacks git fetches; not into the host's. */
	autofree char *objects = xasprintf("%s/objects", git_place);
	autofree char *host = xasprintf("%s/objects", module->repository.common_dir);
	const struct git_place where = {
		.objects = objects,
		.alternates = host,
		.directory = module->repository.top,
		.git_dir = module->repository.git_dir,
		.work_tree = place,
		.index = index,
	};
	const char *const args[] = {
		"-c", "index.version=2",	 "-c",		 "core.splitIndex=false",
		"-c", "feature.manyFiles=false", "-c",		 "index.sparse=false",
		"-c", "index.skipHash=false",	 "read-tree",	 "--reset",
		"-u", "--no-recurse-submodules", module->commit, NULL};
	autostr struct str output = STR_INIT;
	time_t past = time(NULL) - 10;

	if (mkdirat(git, "objects", 0755) < 0)
		return error_errno(err, "cannot create %s", objects);
	if (git_run(&where, args, &output, err) < 0)
		return -1;
	return index_settle(git, "index", tree, sha256,
			    module->time > 0 && module->time < past ? module->time : past, err);
}

static int fill_work_tree(const struct module *module, const struct timespec *since, bool sha256,
			  int trees, int git, struct error *err)
{
	autostr struct str dot_git = STR_INIT;
	autofd int tree = -1;

	if (dir_make_path_at(trees, module->path, 0755, &tree, err) < 0)
		return -1;
	str_add(&dot_git, "gitdir: ");
	add_up(&dot_git, module->path);
	str_addf(&dot_git, ".git/%s\n", module->place);
	if (file_replace_at(tree, ".git", dot_git.s, dot_git.len, 0644, false, err) < 0)
		return -1;
	return module->commit ? check_out(module, sha256, tree, git, err)
			      : module_copy(module, since, sha256, tree, git, err);
}

static int fill_module(const struct module *module, const struct timespec *since, int trees,
		       int gits, struct error *err)
{
	autoconfig struct config settings = CONFIG_INIT;
	struct git_place place = module_place(&module->repository);
	autofd int git = -1;

	if (config_read_place(&place, &settings, err) < 0)
		return -1;
	const char *format = config_value(&settings, "extensions.objectformat");
	bool sha256 = format && strcmp(format, "sha256") == 0;

	if (dir_make_path_at(gits, module->place, 0755, &git, err) < 0 ||
	    git_copy_refs(&module->repository, &settings, git, err) < 0 ||
	    fill_head(module, git, err) < 0 || write_config(module, &settings, git, err) < 0 ||
	    (module->work_tree && fill_work_tree(module, since, sha256, trees, git, err) < 0))
		return -1;
	return git_link_objects(&module->repository, &settings, git, err);
}

static int fill(const struct modules *modules, const struct timespec *since, int layer,
		struct error *err)
{
	autofd int trees = -1, gits = -1;

	if (dir_make_at(layer, "tree", 0755, &trees, err) < 0 ||
	    dir_make_at(layer, "git", 0755, &gits, err) < 0)
		return -1;
	for (size_t i = 0; i < modules->count; i++)
		if (fill_module(&modules->items[i], since, trees, gits, err) < 0)
			return error_wrap(err, "cannot capture the submodule %s",
					  modules->items[i].path);
	return 0;
}

static int look(const struct modules_request *request, struct modules *ret, char **ret_id,
		struct timespec *ret_since, struct error *err)
{
	if (modules_find(request, ret, err) < 0)
		return -1;
	return ret->count ? observe_all(request, ret, ret_id, ret_since, err) : 0;
}

static json_t *describe(const struct modules *modules)
{
	json_t *paths = json_array();

	for (size_t i = 0; i < modules->count; i++)
		json_array_append_new(paths, json_string(modules->items[i].path));
	return json_pack("{s:i,s:s,s:o}", "version", 1, "kind", "modules", "paths", paths);
}

/* 0; 1 when something changed meanwhile, and `why` says what if it is known; -1. */
static int make(const struct modules_request *request, const struct modules *modules,
		const char *id, const struct timespec *since, struct error *why, struct error *err)
{
	automaking struct layer_making making = LAYER_MAKING_INIT;
	__attribute__((cleanup(modules_release))) struct modules again = {0};
	autofree char *after = NULL;
	struct timespec ignored;
	int result = layer_begin(request->root, id, &making, err);

	if (result != 0)
		return result < 0 ? -1 : 0;
	error_clear(why);
	if (fill(modules, since, making.fd, why) < 0) {
		if (why->code == ERR_UNSTABLE)
			return 1;
		return error_set(err, why->code, "%s", why->message);
	}
	if (look(request, &again, &after, &ignored, err) < 0)
		return -1;
	if (!after || strcmp(after, id) != 0)
		return 1;
	return layer_finish(&making, describe(modules), err);
}

static void tell(struct strv *to, const char *module, const struct strv *paths)
{
	for (size_t i = 0; to && i < paths->len; i++)
		strv_addf(to, "%s/%s", module, paths->items[i]);
}

static int is_there(const struct root *root, const char *id, struct error *err)
{
	json_t *description = NULL;
	autofd int fd = -1;
	int result = layer_open(root, id, &description, &fd, err);

	json_decref(description);
	return result;
}

/*
 * Without a git dir for one, or a description of where one could be, there is none; and nothing has
 * to be asked.
 */
static bool may_have_some(const struct repository *repository)
{
	autofree char *described = xasprintf("%s/.gitmodules", repository->top);
	autofree char *own = xasprintf("%s/modules", repository->git_dir);
	autofree char *common = xasprintf("%s/modules", repository->common_dir);
	struct stat st;

	return lstat(described, &st) == 0 || lstat(own, &st) == 0 || lstat(common, &st) == 0;
}

int modules_layer(const struct modules_request *request, char **ret_id, struct error *err)
{
	autoerror struct error why = ERROR_INIT;

	*ret_id = NULL;
	if (!may_have_some(request->repository))
		return 0;
	for (int i = 0; i < TRIES; i++) {
		__attribute__((cleanup(modules_release))) struct modules modules = {0};
		autofree char *id = NULL;
		struct timespec since;

		if (look(request, &modules, &id, &since, err) < 0)
			return -1;
		if (!id) {
			*ret_id = NULL;
			return 0;
		}
		int result = is_there(request->root, id, err);

		if (result == 1) {
			progress_step(request->progress, "preparing the submodules", 0, 0);
			result = make(request, &modules, id, &since, &why, err);
		}
		if (result < 0)
			return -1;
		for (size_t k = 0; k < modules.count && result == 0; k++) {
			const struct module *module = &modules.items[k];

			tell(request->masked, module->path, &module->masked);
			tell(request->left_out, module->path, &module->left_out);
		}
		if (result == 0) {
			*ret_id = steal_ptr(&id);
			return 0;
		}
	}
	error_set(err, ERR_UNSTABLE, "%s%s",
		  error_is_set(&why) ? "" : "the submodules keep changing: ",
		  error_is_set(&why) ? why.message : request->repository->top);
	return error_hint(err, "wait until what works on it is done, and try again");
}
