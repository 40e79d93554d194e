#include "review/viewer-plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "review/covers.h"
#include "review/plan-git.h"
#include "view/stack.h"

enum { TEXT_MAX = 8 << 20, SHARED_INDEXES_MAX = 64 };

#define DIRS "/run/jib/look"

char *viewer_git_dir(size_t repo)
{
	return xasprintf(DIRS "/%zu", repo);
}

char *viewer_refs_dir(size_t repo)
{
	return xasprintf(DIRS "/%zu-refs", repo);
}

const struct view_mount *viewer_git_mount(const struct viewer *viewer, size_t repo)
{
	autofree char *target = xasprintf("%s/%s", VIEW_GITS, viewer->sandbox->repos[repo].name);

	for (size_t i = 0; i < viewer->view.count; i++)
		if (strcmp(viewer->view.mounts[i].target, target) == 0)
			return &viewer->view.mounts[i];
	return NULL;
}

int viewer_read(const struct view_mount *mount, size_t skip, const char *path, char **ret_text,
		struct error *err)
{
	struct stack_entry entry;
	autostr struct str text = STR_INIT;

	*ret_text = NULL;
	if (stack_find(mount->lowers + skip, mount->lower_count - skip, path, &entry, err) < 0)
		return -1;
	if (entry.kind != STACK_FILE)
		return 0;
	if (file_read_at(mount->lowers[skip + entry.level], path, TEXT_MAX, &text, err) < 0)
		return -1;
	*ret_text = str_take(&text);
	return 0;
}

static void add_file(struct plan *plan, const char *dir, const char *name, const char *text)
{
	autofree char *path = xasprintf("%s/%s", dir, name);

	if (text)
		plan_add_file(plan, path, text);
}

static void add_link(struct plan *plan, const char *dir, const char *name, const char *target)
{
	autofree char *path = xasprintf("%s/%s", dir, name);

	plan_add_link(plan, path, target);
}

/* The shared parts of split indexes, which git looks for in the git dir. */
static int add_shared_indexes(struct plan *plan, const struct view_mount *mount, const char *refs,
			      struct error *err)
{
	autostrv struct strv known = STRV_INIT;

	for (size_t i = 0; i < mount->lower_count; i++) {
		int fd = open_beneath(mount->lowers[i], ".", O_RDONLY | O_DIRECTORY, 0);
		autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

		if (!dir)
			return error_errno(err, "cannot list a git dir");
		for (const struct dirent *entry; (entry = readdir(dir));) {
			bool again = false;

			for (size_t k = 0; k < known.len; k++)
				again = again || strcmp(known.items[k], entry->d_name) == 0;
			if (again || !str_starts(entry->d_name, "sharedindex.") ||
			    known.len == SHARED_INDEXES_MAX)
				continue;
			autofree char *target = xasprintf("%s/%s", mount->target, entry->d_name);

			strv_add(&known, entry->d_name);
			add_link(plan, refs, entry->d_name, target);
		}
	}
	return 0;
}

/*
 * The git dir that is written to has refs of its own. The one with the sandbox's refs needs a HEAD
 * that is a file: git takes a link to an absolute path for no HEAD.
 */
static int add_git_dirs(const struct viewer *viewer, size_t repo, struct plan *plan,
			struct error *err)
{
	static const char *const linked[] = {"refs", "packed-refs", "logs", "reftable", "index"};
	const struct view_mount *mount = viewer_git_mount(viewer, repo);
	autofree char *own = viewer_git_dir(repo), *refs = viewer_refs_dir(repo);
	autofree char *objects = xasprintf("%s/objects", own);
	autofree char *config = NULL, *shallow = NULL, *exclude = NULL, *head = NULL;
	size_t changed = mount->changed;

	/* As the layers have it: the sandbox's own is not asked. */
	if (viewer_read(mount, changed, "config", &config, err) < 0 ||
	    viewer_read(mount, changed, "shallow", &shallow, err) < 0 ||
	    viewer_read(mount, changed, "info/exclude", &exclude, err) < 0 ||
	    viewer_read(mount, 0, "HEAD", &head, err) < 0)
		return -1;
	add_file(plan, own, "config", config ? config : "");
	add_file(plan, own, "HEAD", "ref: refs/heads/jib\n");
	add_file(plan, own, "refs/heads/.jib", "");
	add_file(plan, own, "shallow", shallow);
	add_file(plan, own, "info/exclude", exclude);
	add_file(plan, refs, "config", config ? config : "");
	add_file(plan, refs, "HEAD", head ? head : "");
	add_file(plan, refs, "shallow", shallow);
	add_file(plan, refs, "info/exclude", exclude);
	add_link(plan, refs, "objects", objects);
	for (size_t i = 0; i < ARRAY_SIZE(linked); i++) {
		autofree char *target = xasprintf("%s/%s", mount->target, linked[i]);

		add_link(plan, refs, linked[i], target);
	}
	return add_shared_indexes(plan, mount, refs, err);
}

/* Where new objects go: on the disk, because there may be much of it. */
static int add_objects(const struct viewer *viewer, size_t repo, struct plan *plan,
		       struct error *err)
{
	autofree char *name = xasprintf("%zu/info", repo);
	autofree char *source =
		xasprintf("%s/.tmp/%s/%zu", viewer->root->path, viewer->scratch, repo);
	autofree char *own = viewer_git_dir(repo);
	autofree char *alternates =
		xasprintf("%s/%s/objects\n", VIEW_GITS, viewer->sandbox->repos[repo].name);
	autofd int info = -1;
	autofd int place = -1;

	if (dir_make_path_at(viewer->scratch_fd, name, 0700, &info, err) < 0 ||
	    file_replace_at(info, "alternates", alternates, strlen(alternates), 0600, false, err) <
		    0)
		return -1;
	autofree char *resolved = realpath(source, NULL);

	place = resolved ? open(resolved, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	if (place < 0)
		return error_errno(err, "cannot open %s", source);
	plan->binds = xreallocarray(plan->binds, plan->bind_count + 1, sizeof *plan->binds);
	plan->binds[plan->bind_count++] = (struct plan_bind){
		.source = steal_ptr(&resolved),
		.target = xasprintf("%s/objects", own),
		.writable = true,
		.directory = true,
		.fd = steal_fd(&place),
	};
	return 0;
}

int viewer_plan(const struct viewer *viewer, struct plan *ret, struct error *err)
{
	const struct sandbox *sandbox = viewer->sandbox;
	autoplan struct plan plan = {0};

	if (plan_start(sandbox, &plan, err) < 0 ||
	    plan_set_git(&plan, &viewer->config, sandbox->repos[0].host, err) < 0)
		return -1;
	plan.looking = true;
	if (covers_find(viewer, &plan, err) < 0)
		return -1;
	for (size_t i = 0; i < sandbox->repo_count; i++)
		if (add_git_dirs(viewer, i, &plan, err) < 0 ||
		    add_objects(viewer, i, &plan, err) < 0)
			return -1;
	*ret = plan;
	plan = (struct plan){0};
	return 0;
}
