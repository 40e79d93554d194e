#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "git/git.h"
#include "snapshot/modules-internal.h"

enum { MODULES_DEPTH = 32 };

/* .gitmodules: which path has which name */
struct mapping {
	struct strv paths;
	struct strv names;
};

static void mapping_release(struct mapping *mapping)
{
	strv_release(&mapping->paths);
	strv_release(&mapping->names);
}

#define automapping __attribute__((cleanup(mapping_release)))

void modules_release(struct modules *modules)
{
	for (size_t i = 0; i < modules->count; i++) {
		struct module *module = &modules->items[i];

		free(module->path);
		free(module->place);
		free(module->commit);
		repository_release(&module->repository);
		str_release(&module->status);
		strv_release(&module->changed);
		strv_release(&module->copied);
		strv_release(&module->masked);
		strv_release(&module->left_out);
	}
	free(modules->items);
	*modules = (struct modules){0};
}

struct git_place module_place(const struct repository *repository)
{
	/* Of somebody else's repository git decides itself, when it discovers it. */
	if (!repository->trusted || strcmp(repository->top, repository->git_dir) != 0)
		return (struct git_place){.directory = repository->top};
	/* The work tree that core.worktree names may be gone: any other will do. */
	return (struct git_place){.directory = repository->git_dir,
				  .git_dir = repository->git_dir,
				  .work_tree = repository->git_dir};
}

/*
 * A relative path without detours. Names and paths come from a file that anybody may have
 * written, and become directories of the layer.
 */
static bool is_plain_path(const char *path)
{
	if (!*path || strlen(path) >= 4096)
		return false;
	for (const char *at = path;; at++) {
		size_t len = strcspn(at, "/");

		if (!len || (len == 1 && at[0] == '.') ||
		    (len == 2 && at[0] == '.' && at[1] == '.') ||
		    (len == 4 && strncasecmp(at, ".git", 4) == 0))
			return false;
		at += len;
		if (!*at)
			return true;
	}
}

/* KEY LF VALUE NUL, the key submodule.NAME.path. A later line counts. */
static void parse_mapping(const struct str *output, struct mapping *ret)
{
	for (size_t at = 0; at < output->len; at += strlen(output->s + at) + 1) {
		const char *key = output->s + at;
		const char *newline = strchr(key, '\n');
		size_t head = strlen("submodule."), tail = strlen(".path");

		if (!newline || (size_t)(newline - key) <= head + tail)
			continue;
		char *name = xstrndup(key + head, (size_t)(newline - key) - head - tail);

		/* For git the path of another one is an error, and would be that of all of them. */
		if (!is_plain_path(newline + 1)) {
			free(name);
			continue;
		}
		strv_give(&ret->names, name);
		strv_add(&ret->paths, newline + 1);
	}
}

/* From the work tree, or from a commit. */
static int read_mapping(const struct repository *super, const char *commit, struct mapping *ret,
			struct error *err)
{
	autofree char *file = xasprintf("%s/.gitmodules", super->top);
	autofree char *blob =
		commit ? xasprintf("--blob=%s:.gitmodules", commit) : xasprintf("--file=%s", file);
	const char *const args[] = {"config", blob, "-z", "--get-regexp", "^submodule\\..*\\.path$",
				    NULL};
	struct git_place place = module_place(super);
	autostr struct str output = STR_INIT;
	struct process process = PROCESS_INIT;
	struct stat st;
	int status;

	/* git, too, does not take it for more than a name when it is a link. */
	if (!commit && (lstat(file, &st) < 0 || !S_ISREG(st.st_mode)))
		return 0;
	if (git_start(&place, args, &process, err) < 0 ||
	    git_finish(&process, &output, &status, NULL, err) < 0)
		return -1;
	/* Without the file, or with one that cannot be read, there is no submodule for git either. */
	if (status == 0)
		parse_mapping(&output, ret);
	return 0;
}

/* Which of the paths are gitlinks: "MODE OID STAGE TAB PATH", "MODE commit OID TAB PATH". */
static int list_gitlinks(const struct repository *super, const char *commit,
			 const struct mapping *mapping, struct str *ret, struct error *err)
{
	autostrv struct strv args = STRV_INIT;
	struct git_place place = module_place(super);

	strv_add(&args, "--literal-pathspecs");
	strv_add(&args, commit ? "ls-tree" : "ls-files");
	strv_add(&args, "-z");
	strv_add(&args, commit ? "--full-tree" : "--stage");
	if (commit)
		strv_add(&args, commit);
	strv_add(&args, "--");
	for (size_t i = 0; i < mapping->paths.len; i++)
		strv_add(&args, mapping->paths.items[i]);
	return git_run(&place, (const char *const *)args.items, ret, err);
}

static bool is_git_dir(const char *path)
{
	static const char *const parts[] = {"HEAD", "objects", "refs"};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		autofree char *part = xasprintf("%s/%s", path, parts[i]);

		if (access(part, F_OK) < 0)
			return false;
	}
	return true;
}

/* What git leaves of a submodule whose work tree was removed. The caller's own ones only. */
static bool find_git_dir(const struct repository *super, const char *name, struct repository *ret)
{
	autofree char *path = xasprintf("%s/modules/%s", super->git_dir, name);
	autofree char *real = realpath(path, NULL);
	struct stat st;

	if (!real || !is_git_dir(real) || stat(real, &st) < 0 || st.st_uid != geteuid())
		return false;
	*ret = (struct repository){.top = xstrdup(real),
				   .git_dir = xstrdup(real),
				   .common_dir = xstrdup(real),
				   .name = xstrdup(name),
				   .trusted = true};
	return true;
}

/* 0 and the repository at a path of the work tree; 1 when there is none. */
static int find_work_tree(const struct repository *super, const char *path, struct repository *ret,
			  struct error *err)
{
	autofree char *top = xasprintf("%s/%s", super->top, path);
	autofree char *dot_git = xasprintf("%s/.git", top);
	autorepository struct repository found = REPOSITORY_INIT;
	autoerror struct error why = ERROR_INIT;
	struct stat st;

	if (lstat(dot_git, &st) < 0)
		return 1;
	if (repository_find(top, &found, &why) < 0) {
		if (why.code == ERR_NOT_REPOSITORY || why.code == ERR_BARE)
			return 1;
		return error_set(err, why.code, "submodule %s: %s", path, why.message);
	}
	/* Not the superproject, nor another place that a symbolic link leads to. */
	if (strcmp(found.top, top) != 0)
		return 1;
	*ret = found;
	found = (struct repository)REPOSITORY_INIT;
	return 0;
}

/* Whether the user has initialised a submodule, and not taken that back. */
static int is_initialised(const struct repository *super, const char *name, struct error *err)
{
	autofree char *key = xasprintf("submodule.%s.url", name);
	const char *const args[] = {"config", "--get", key, NULL};
	struct git_place place = module_place(super);
	autostr struct str output = STR_INIT;
	struct process process = PROCESS_INIT;
	int status;

	if (git_start(&place, args, &process, err) < 0 ||
	    git_finish(&process, &output, &status, NULL, err) < 0)
		return -1;
	return status == 0;
}

/* Whether its place is taken, or lies in, or around, one that is: git refuses such names as well. */
static bool is_free(const struct modules *modules, size_t first, const char *path,
		    const char *place)
{
	for (size_t i = first; i < modules->count; i++) {
		const struct module *other = &modules->items[i];

		if (strcmp(other->path, path) == 0 || path_within(other->place, place) ||
		    path_within(place, other->place))
			return false;
	}
	return true;
}

/* 1 when the commit is not there: then the submodule is not either. */
static int find_commit(struct module *module, struct error *err)
{
	const char *const args[] = {"log",	    module->commit, "-1", "--no-show-signature",
				    "--format=%ct", "--",	    NULL};
	struct git_place place = module_place(&module->repository);
	autostr struct str output = STR_INIT;
	struct process process = PROCESS_INIT;
	int status;

	if (git_start(&place, args, &process, err) < 0 ||
	    git_finish(&process, &output, &status, NULL, err) < 0)
		return -1;
	if (status != 0 || !output.len)
		return 1;
	module->time = strtol(output.s, NULL, 10);
	return 0;
}

struct search {
	const struct modules_request *request;
	const struct repository *super;
	const char *path;  /* of the superproject's work tree, with a slash; or "" */
	const char *place; /* of its git dir, with a slash; or "" */
	const char *commit;
	unsigned int depth;
	size_t first; /* of its submodules among all */
	struct modules *modules;
};

static int search(struct search *search, struct error *err);

static int search_below(const struct search *parent, size_t at, struct error *err)
{
	const struct module *module = &parent->modules->items[at];
	autofree char *path = xasprintf("%s/", module->path);
	autofree char *place = xasprintf("%s/", module->place);
	/* The array moves when it grows. */
	const struct repository super = module->repository;
	struct search below = {.request = parent->request,
			       .super = &super,
			       .path = path,
			       .place = place,
			       .commit = module->commit,
			       .depth = parent->depth + 1,
			       .modules = parent->modules};

	if (!module->work_tree)
		return 0;
	return search(&below, err);
}

/* 0 when it was added; 1 when there is nothing of it. */
static int add(struct search *search, const char *path, const char *name, const char *commit,
	       struct error *err)
{
	autofree char *full = xasprintf("%s%s", search->path, path);
	autofree char *place = xasprintf("%smodules/%s", search->place, name);
	bool clean = search->request->wishes->clean;
	struct modules one = {xcalloc(1, sizeof *one.items), 1};
	__attribute__((cleanup(modules_release))) struct modules holder = one;
	struct module *module = &holder.items[0];

	if (!is_plain_path(path) || !is_plain_path(name) ||
	    !is_free(search->modules, search->first, full, place))
		return 1;
	int found = find_work_tree(search->super, path, &module->repository, err);

	if (found < 0)
		return -1;
	if (found == 1 && !find_git_dir(search->super, name, &module->repository))
		return 1;
	int initialised = found == 1 && clean ? is_initialised(search->super, name, err) : !found;

	if (initialised < 0)
		return -1;
	module->path = xstrdup(full);
	module->place = xstrdup(place);
	module->work_tree = initialised;
	if (clean) {
		module->commit = xstrdup(commit);
		int missing = find_commit(module, err);

		if (missing < 0)
			return -1;
		module->work_tree = initialised && !missing;
	}
	search->modules->items =
		xreallocarray(search->modules->items, search->modules->count + 1, sizeof *module);
	search->modules->items[search->modules->count++] = *module;
	*module = (struct module){0};
	return 0;
}

static const char *name_of(const struct mapping *mapping, const char *path)
{
	for (size_t i = mapping->paths.len; i-- > 0;)
		if (strcmp(mapping->paths.items[i], path) == 0)
			return mapping->names.items[i];
	return NULL;
}

static int search(struct search *search, struct error *err)
{
	automapping struct mapping mapping = {0};
	autostr struct str listed = STR_INIT;

	if (search->depth > MODULES_DEPTH)
		return error_set(err, ERR_GIT, "submodules are nested too deep at %s",
				 search->path);
	search->first = search->modules->count;
	if (read_mapping(search->super, search->commit, &mapping, err) < 0)
		return -1;
	if (!mapping.paths.len)
		return 0;
	if (list_gitlinks(search->super, search->commit, &mapping, &listed, err) < 0)
		return -1;
	for (size_t at = 0; at < listed.len; at += strlen(listed.s + at) + 1) {
		char *line = listed.s + at;
		const char *tab = strchr(line, '\t');
		const char *name = tab ? name_of(&mapping, tab + 1) : NULL;

		if (!name || !str_starts(line, "160000 "))
			continue;
		const char *oid =
			line + (search->commit ? strlen("160000 commit ") : strlen("160000 "));
		autofree char *commit = xstrndup(oid, strspn(oid, "0123456789abcdef"));

		if (add(search, tab + 1, name, commit, err) < 0)
			return -1;
	}
	for (size_t i = search->first, end = search->modules->count; i < end; i++)
		if (search_below(search, i, err) < 0)
			return -1;
	return 0;
}

int modules_find(const struct modules_request *request, struct modules *ret, struct error *err)
{
	__attribute__((cleanup(modules_release))) struct modules modules = {0};
	struct search top = {
		.request = request,
		.super = request->repository,
		.path = "",
		.place = "",
		.commit = request->wishes->clean ? request->head->commit : NULL,
		.modules = &modules,
	};

	/* Clean, and no commit yet: nothing that could record one. */
	if (request->wishes->clean && !request->head->commit)
		return 0;
	if (search(&top, err) < 0)
		return -1;
	*ret = modules;
	modules = (struct modules){0};
	return 0;
}
