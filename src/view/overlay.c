#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "kernel/mounts.h"
#include "view/view.h"

void view_release(struct view *view)
{
	for (size_t i = 0; i < view->count; i++) {
		for (size_t k = 0; k < view->mounts[i].lower_count; k++)
			fd_close(&view->mounts[i].lowers[k]);
		free(view->mounts[i].lowers);
		free(view->mounts[i].target);
		fd_close(&view->mounts[i].upper);
		fd_close(&view->mounts[i].work);
	}
	free(view->mounts);
	free(view->source);
	*view = (struct view)VIEW_INIT;
}

static struct view_mount *add_mount(struct view *view, enum view_kind kind, const char *target)
{
	view->mounts = xreallocarray(view->mounts, view->count + 1, sizeof *view->mounts);
	struct view_mount *mount = &view->mounts[view->count++];

	*mount = (struct view_mount){
		.kind = kind, .target = xstrdup(target), .upper = -1, .work = -1};
	return mount;
}

static void add_lower(struct view_mount *mount, int fd)
{
	mount->lowers = xreallocarray(mount->lowers, mount->lower_count + 1, sizeof *mount->lowers);
	mount->lowers[mount->lower_count++] = fd;
}

static int cannot_open(const struct root *root, const char *id, struct error *err)
{
	error_errno(err, "cannot open the layer %s", id);
	if (faccessat(root->layers, id, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return error_hint(err,
				  "it is damaged: remove %s/.layers/%s; a new sandbox of the same "
				  "commit makes it anew",
				  root->path, id);
	return error_hint(err, "it was removed from %s/.layers", root->path);
}

static int add_layers(const struct root *root, struct view_mount *mount, const struct strv *ids,
		      const char *part, struct error *err)
{
	for (size_t i = 0; i < ids->len; i++) {
		autofree char *path = xasprintf("%s/%s", ids->items[i], part);
		int fd = open_beneath(root->layers, path, O_PATH | O_DIRECTORY, 0);

		if (fd < 0)
			return cannot_open(root, ids->items[i], err);
		add_lower(mount, fd);
	}
	return 0;
}

/* A part that a layer has only where there is something in it; the layer itself must be there. */
static int add_part(const struct root *root, struct view_mount *mount, const char *id,
		    const char *part, struct error *err)
{
	if (!id)
		return 0;
	autofd int layer = open_beneath(root->layers, id, O_PATH | O_DIRECTORY, 0);
	int fd = layer < 0 ? -1 : open_beneath(layer, part, O_PATH | O_DIRECTORY, 0);

	if (fd < 0 && (layer < 0 || errno != ENOENT))
		return cannot_open(root, id, err);
	if (fd >= 0)
		add_lower(mount, fd);
	return 0;
}

/* A directory of the host itself, for --live. */
static int add_host(struct view_mount *mount, const char *path, struct error *err)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, "cannot open the live directory %s", path);
	add_lower(mount, fd);
	return 0;
}

/*
 * What was changed before the upper, as far as there is something in it: a state has a part for each
 * upper that was not empty.
 */
static int add_states(const struct root *root, const struct sandbox *sandbox,
		      struct view_mount *mount, const char *part, struct error *err)
{
	autofree char *path = xasprintf("tree/%s", part);
	size_t before = mount->lower_count;

	for (size_t i = 0; i < sandbox->states.len; i++)
		if (add_part(root, mount, sandbox->states.items[i], path, err) < 0)
			return -1;
	mount->changed += mount->lower_count - before;
	return 0;
}

/* Opens upper/<part>/<name> and work/<part>/<name>, or home and work/home when name is NULL. */
static int open_upper(const struct root *root, const struct sandbox *sandbox,
		      struct view_mount *mount, const char *part, const char *name,
		      struct error *err)
{
	autofree char *inner = name ? xasprintf("%s/%s", part, name) : xstrdup("home");
	autofree char *upper = name ? xasprintf("upper/%s", inner) : xstrdup("home");
	autofree char *work = xasprintf("work/%s", inner);

	mount->upper = open_beneath(sandbox->fd, upper, O_PATH | O_DIRECTORY, 0);
	if (mount->upper < 0)
		return error_errno(err, "cannot open %s", upper);
	mount->work = open_beneath(sandbox->fd, work, O_PATH | O_DIRECTORY, 0);
	if (mount->work < 0)
		return error_errno(err, "cannot open %s", work);
	return add_states(root, sandbox, mount, inner, err);
}

static int open_repo(const struct root *root, const struct sandbox *sandbox,
		     const struct sandbox_repo *repo, struct view *view, struct error *err)
{
	bool live = repo->live_git_dir != NULL;
	struct view_mount *tree = add_mount(view, VIEW_TREE, repo->path);

	if (open_upper(root, sandbox, tree, "repos", repo->name, err) < 0 ||
	    (live && (add_layers(root, tree, &repo->git, "top", err) < 0 ||
		      add_host(tree, repo->host, err) < 0)) ||
	    add_part(root, tree, repo->local, "tree", err) < 0 ||
	    add_part(root, tree, repo->modules, "tree", err) < 0 ||
	    add_layers(root, tree, &repo->tree, "tree", err) < 0)
		return -1;
	struct view_mount *git = add_mount(view, VIEW_GIT, repo->path);

	if (open_upper(root, sandbox, git, "git", repo->name, err) < 0 ||
	    add_part(root, git, repo->local, "git", err) < 0 ||
	    add_part(root, git, repo->modules, "git", err) < 0 ||
	    add_layers(root, git, &repo->git, "tree", err) < 0 ||
	    (live && add_host(git, repo->live_git_dir, err) < 0))
		return -1;
	if (live && strcmp(repo->live_git_dir, repo->live_common_dir) != 0) {
		git->wrapped = git->lower_count - 1;
		return add_host(git, repo->live_common_dir, err);
	}
	return 0;
}

/*
 * The directory of the host's work tree, or -1 when it is not there any more: not even as a link,
 * which would lead elsewhere.
 */
static int open_carried_lower(const struct root *root, const struct sandbox_repo *repo,
			      const char *inner, int *ret, struct error *err)
{
	autofd int top = open(repo->host, O_PATH | O_DIRECTORY | O_CLOEXEC);
	autofd int fd = top < 0 ? -1 : open_beneath(top, inner, O_PATH | O_DIRECTORY, 0);

	*ret = -1;
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
			       ? 0
			       : error_errno(err, "cannot open %s/%s", repo->host, inner);
	autofree char *store = realpath(root->path, NULL);
	autofree char *path = realpath(fd_path(fd).s, NULL);

	if (!store || !path)
		return error_errno(err, "cannot find %s/%s", repo->host, inner);
	if (path_within(store, path)) {
		error_set(err, ERR_UNSUPPORTED, "%s/%s cannot be mounted: the store %s lies in it",
			  repo->host, inner, store);
		return error_hint(err, "set JIB_ROOT to a directory outside of the repository");
	}
	*ret = steal_fd(&fd);
	return 0;
}

static int open_carried(const struct root *root, const struct sandbox *sandbox,
			const struct sandbox_repo *repo, size_t n, struct view *view,
			struct error *err)
{
	const char *inner = repo->carried.items[n];
	autofree char *target = xasprintf("%s/%s", repo->path, inner);
	autofree char *upper = xasprintf("%s/%zu", repo->name, n);
	autofree char *masks = xasprintf("carried/%zu", n);
	struct view_mount *mount = add_mount(view, VIEW_CARRIED, target);
	int host = -1;

	if (open_upper(root, sandbox, mount, "carried", upper, err) < 0 ||
	    add_part(root, mount, repo->local, masks, err) < 0 ||
	    open_carried_lower(root, repo, inner, &host, err) < 0)
		return -1;
	/* What the sandbox has written there outlasts the host's directory. */
	if (host < 0 && mount->lower_count == 0 &&
	    dir_make_at(sandbox->fd, "empty", 0700, &host, err) < 0)
		return -1;
	if (host >= 0)
		add_lower(mount, host);
	return 0;
}

static int compare_depth(const void *a, const void *b)
{
	const struct sandbox_repo *const *x = a;
	const struct sandbox_repo *const *y = b;
	size_t xl = strlen((*x)->path), yl = strlen((*y)->path);

	return xl < yl ? -1 : xl > yl;
}

/* One that was made to be discarded, and then was not, has none yet. */
static int make_home(const struct sandbox *sandbox, struct error *err)
{
	autofd int home = -1, work = -1;

	if (dir_make_at(sandbox->fd, "home", 0700, &home, err) < 0)
		return -1;
	return dir_make_path_at(sandbox->fd, "work/home", 0700, &work, err);
}

/* By the depth of their paths: a repository inside another one's work tree is mounted after it. */
static const struct sandbox_repo **sorted_repos(const struct sandbox *sandbox)
{
	const struct sandbox_repo **repos =
		xcalloc(sandbox->repo_count + 1, sizeof(struct sandbox_repo *));

	for (size_t i = 0; i < sandbox->repo_count; i++)
		repos[i] = &sandbox->repos[i];
	qsort(repos, sandbox->repo_count, sizeof(struct sandbox_repo *), compare_depth);
	return repos;
}

static int open_all(const struct root *root, const struct sandbox *sandbox, struct view *view,
		    struct error *err)
{
	autofree const struct sandbox_repo **repos = sorted_repos(sandbox);

	for (size_t i = 0; i < sandbox->repo_count; i++) {
		if (open_repo(root, sandbox, repos[i], view, err) < 0)
			return error_wrap(err, "sandbox %s", sandbox->name);
		for (size_t n = 0; n < repos[i]->carried.len; n++)
			if (open_carried(root, sandbox, repos[i], n, view, err) < 0)
				return error_wrap(err, "sandbox %s", sandbox->name);
	}
	return 0;
}

int view_open(const struct root *root, const struct sandbox *sandbox, bool forgetful,
	      struct view *ret, struct error *err)
{
	autoview struct view view = VIEW_INIT;

	view.source = sandbox_mount_source(sandbox);
	view.forgetful = forgetful || sandbox->is_volatile;
	if (!forgetful && (make_home(sandbox, err) < 0 ||
			   open_upper(root, sandbox, add_mount(&view, VIEW_HOME, sandbox->home),
				      "home", NULL, err) < 0))
		return error_wrap(err, "sandbox %s", sandbox->name);
	if (open_all(root, sandbox, &view, err) < 0)
		return -1;
	*ret = view;
	view = (struct view)VIEW_INIT;
	return 0;
}

/* The upper becomes the uppermost lower, and is not written. */
static void lower_upper(struct view_mount *mount)
{
	add_lower(mount, -1);
	memmove(mount->lowers + 1, mount->lowers, (mount->lower_count - 1) * sizeof *mount->lowers);
	mount->lowers[0] = steal_fd(&mount->upper);
	mount->wrapped += mount->wrapped != 0;
	mount->changed++;
	fd_close(&mount->work);
}

static void put_beside(const struct sandbox *sandbox, struct view_mount *git)
{
	for (size_t i = 0; i < sandbox->repo_count; i++)
		if (strcmp(sandbox->repos[i].path, git->target) == 0) {
			free(git->target);
			git->target = xasprintf("%s/%s", VIEW_GITS, sandbox->repos[i].name);
			git->kind = VIEW_BESIDE;
			return;
		}
}

static int add_base(const struct root *root, const struct sandbox_repo *repo, struct view *view,
		    struct error *err)
{
	autofree char *target = xasprintf("%s/%s", VIEW_BASES, repo->name);
	struct view_mount *base = add_mount(view, VIEW_BESIDE, target);

	if (add_part(root, base, repo->local, "tree", err) < 0)
		return -1;
	base->changed = base->lower_count;
	if (add_part(root, base, repo->modules, "tree", err) < 0)
		return -1;
	if (repo->live_git_dir)
		return add_host(base, repo->host, err);
	return add_layers(root, base, &repo->tree, "tree", err);
}

int view_peek(const struct root *root, const struct sandbox *sandbox, struct view *ret,
	      struct error *err)
{
	autoview struct view view = VIEW_INIT;

	view.source = sandbox_mount_source(sandbox);
	if (open_all(root, sandbox, &view, err) < 0)
		return -1;
	for (size_t i = 0; i < view.count; i++) {
		lower_upper(&view.mounts[i]);
		if (view.mounts[i].kind == VIEW_GIT)
			put_beside(sandbox, &view.mounts[i]);
	}
	for (size_t i = 0; i < sandbox->repo_count; i++)
		if (add_base(root, &sandbox->repos[i], &view, err) < 0)
			return error_wrap(err, "sandbox %s", sandbox->name);
	*ret = view;
	view = (struct view)VIEW_INIT;
	return 0;
}

/*
 * The git directory of a linked worktree lies inside the common one, and overlayfs refuses layers
 * of which one holds another. Through an overlay of its own, which the one that is seen will
 * cover, it is a different directory. That takes a second layer: the first, which is above anyway.
 */
static int wrap_lower(const struct view *view, const struct view_mount *mount, int target, int *ret,
		      struct error *err)
{
	const int lowers[] = {mount->lowers[mount->wrapped], mount->lowers[0]};
	struct overlay overlay = {
		.lowers = lowers,
		.lower_count = ARRAY_SIZE(lowers),
		.upper = -1,
		.work = -1,
		.source = view->source,
	};

	if (mount_overlay(&overlay, target, err) < 0)
		return -1;
	/* The fd still means what is covered: the mount is reached through its path. */
	autofree char *path = realpath(fd_path(target).s, NULL);
	int fd = path ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd < 0)
		return error_errno(err, "cannot open the git directory of a worktree");
	*ret = fd;
	return 0;
}

int view_mount(const struct view *view, const struct view_mount *mount, int target, int home_lower,
	       struct error *err)
{
	struct overlay overlay = {
		.lowers = mount->lowers,
		.lower_count = mount->lower_count,
		.upper = mount->upper,
		.work = mount->work,
		.source = view->source,
		.forgetful = view->forgetful,
	};

	autofree int *lowers = NULL;
	autofd int wrapper = -1;

	/* An overlay has two layers at least. Of a repository without a commit there may be none. */
	if (mount->upper < 0 && mount->lower_count == 0)
		return mount_empty(target, err);
	if (mount->upper < 0 && mount->lower_count == 1)
		return mount_bind(mount->lowers[0], target, BIND_READ_ONLY | BIND_NO_DEVICES, err);
	if (mount->kind == VIEW_HOME || mount->wrapped) {
		lowers = xcalloc(mount->lower_count + 1, sizeof *lowers);
		if (mount->lower_count)
			memcpy(lowers, mount->lowers, mount->lower_count * sizeof *lowers);
		overlay.lowers = lowers;
	}
	if (mount->kind == VIEW_HOME) {
		lowers[overlay.lower_count++] = home_lower;
	} else if (mount->wrapped) {
		if (wrap_lower(view, mount, target, &wrapper, err) < 0)
			return -1;
		lowers[mount->wrapped] = wrapper;
	}
	return mount_overlay(&overlay, target, err);
}

static void tidy(const struct sandbox *sandbox, const char *work)
{
	autofd int fd = open_beneath(sandbox->fd, work, O_PATH | O_DIRECTORY, 0);

	/* What cannot be removed stays: the next mount says what is wrong with it. */
	if (fd >= 0)
		tree_remove_at(fd, "work", NULL);
}

void view_tidy(const struct sandbox *sandbox)
{
	tidy(sandbox, "work/home");
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		autofree char *tree = xasprintf("work/repos/%s", sandbox->repos[i].name);
		autofree char *git = xasprintf("work/git/%s", sandbox->repos[i].name);

		tidy(sandbox, tree);
		tidy(sandbox, git);
		for (size_t n = 0; n < sandbox->repos[i].carried.len; n++) {
			autofree char *carried =
				xasprintf("work/carried/%s/%zu", sandbox->repos[i].name, n);

			tidy(sandbox, carried);
		}
	}
}
