#include "review/apply.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "review/bare.h"
#include "review/diff.h"
#include "review/tips.h"
#include "view/stack.h"

void apply_release(struct apply_changes *changes)
{
	free(changes->items);
	persist_result_release(&changes->found);
	strv_release(&changes->submodules);
	strv_release(&changes->paths);
	*changes = (struct apply_changes){0};
}

struct reading {
	struct viewer *viewer;
	size_t repo;
	const struct apply_wishes *wishes;
	struct apply_changes changes;
};

/* A copy that outlives the list it comes from. */
static const char *keep(struct reading *r, const char *path)
{
	strv_add(&r->changes.paths, path);
	return r->changes.paths.items[r->changes.paths.len - 1];
}

/* The mount that shows a path, and the path in it. */
static const struct view_mount *mount_of(const struct reading *r, const char *path, bool base,
					 const char **ret_inner)
{
	const struct sandbox_repo *repo = &r->viewer->sandbox->repos[r->repo];

	for (size_t i = 0; i < repo->carried.len; i++) {
		size_t len = strlen(repo->carried.items[i]);
		const struct view_mount *mount = viewer_carried(r->viewer, r->repo, i);

		if (mount && strncmp(path, repo->carried.items[i], len) == 0 && path[len] == '/') {
			*ret_inner = path + len + 1;
			return mount;
		}
	}
	*ret_inner = path;
	return viewer_mount(r->viewer, r->repo, base);
}

/*
 * A directory that is mounted from the host is no snapshot: only what is older than the sandbox is what it
 * started from.
 */
static bool is_older(const struct reading *r, const struct stat *st)
{
	struct tm tm = {0};

	return strptime(r->viewer->sandbox->created, "%Y-%m-%dT%H:%M:%SZ", &tm) &&
	       st->st_ctim.tv_sec < timegm(&tm);
}

/* One version: what is found in the layers, with what the sandbox has changed or without. */
static int find_side(const struct reading *r, const char *path, bool base, struct side *ret,
		     struct error *err)
{
	const char *inner;
	const struct view_mount *mount = mount_of(r, path, base, &inner);
	size_t skip = base && mount->kind == VIEW_CARRIED ? mount->changed : 0;
	struct stack_entry entry;

	*ret = (struct side){.kind = SIDE_ABSENT, .dirfd = -1};
	if (stack_find(mount->lowers + skip, mount->lower_count - skip, inner, &entry, err) < 0)
		return -1;
	if ((entry.kind != STACK_FILE && entry.kind != STACK_LINK) ||
	    (skip && !is_older(r, &entry.st)))
		return 0;
	ret->kind = entry.kind == STACK_FILE ? SIDE_FILE : SIDE_LINK;
	ret->executable = entry.kind == STACK_FILE && entry.st.st_mode & S_IXUSR;
	ret->dirfd = mount->lowers[skip + entry.level];
	ret->path = inner;
	return 0;
}

static int add_change(struct reading *r, const char *path, const char *from, struct error *err)
{
	struct apply_changes *changes = &r->changes;
	struct change change = {.path = keep(r, path), .from = from ? keep(r, from) : NULL};

	if (find_side(r, change.from ? change.from : change.path, true, &change.base, err) < 0 ||
	    find_side(r, change.path, false, &change.theirs, err) < 0)
		return error_wrap(err, "cannot find %s", path);
	changes->items = xreallocarray(changes->items, changes->count + 1, sizeof *changes->items);
	changes->items[changes->count++] = change;
	return 0;
}

static bool is_known(const struct apply_changes *changes, const char *path)
{
	for (size_t i = 0; i < changes->count; i++)
		if (strcmp(changes->items[i].path, path) == 0)
			return true;
	return false;
}

static int add_files(struct reading *r, const struct diff *diff, struct error *err)
{
	for (size_t i = 0; i < diff->count; i++) {
		const struct diff_file *file = &diff->items[i];

		if (file->new_mode == MODE_SUBMODULE || file->old_mode == MODE_SUBMODULE)
			strv_add(&r->changes.submodules, file->path);
		else if (!is_known(&r->changes, file->path) &&
			 add_change(r, file->path, file->old_path, err) < 0)
			return -1;
	}
	return 0;
}

static int compare(struct reading *r, const struct state *state, char *const *pathspecs,
		   struct error *err)
{
	autodiff struct diff diff = {0};
	const struct diff_request request = {
		.viewer = r->viewer,
		.repo = r->repo,
		.from = state->then,
		.to = state->now,
		.pathspecs = pathspecs,
		.exact = pathspecs != NULL,
	};

	if (diff_read(&request, &diff, err) < 0)
		return -1;
	if (pathspecs && !diff.count)
		return error_set(err, ERR_NOT_FOUND,
				 "--include %s: nothing there was changed in the sandbox",
				 pathspecs[0] + strlen(":(literal)"));
	return add_files(r, &diff, err);
}

static int add_included(struct reading *r, struct error *err)
{
	const struct state_wishes wishes = {.ignored = true, .nested = r->wishes->nested};
	autostate struct state state = {0};

	if (!r->wishes->include || !r->wishes->include->len)
		return 0;
	if (state_read(r->viewer, r->repo, &wishes, &state, err) < 0)
		return -1;
	for (size_t i = 0; i < r->wishes->include->len; i++) {
		autofree char *spec = xasprintf(":(literal)%s", r->wishes->include->items[i]);
		char *const specs[] = {spec, NULL};

		if (compare(r, &state, specs, err) < 0)
			return -1;
	}
	return 0;
}

/* T45: what is not committed of one was left out already. */
static int refuse_bare(const struct reading *r, struct error *err)
{
	const char *name = r->viewer->sandbox->name;
	autostrv struct strv added = STRV_INIT;

	for (size_t i = 0; i < r->changes.count; i++) {
		const struct change *change = &r->changes.items[i];

		if (change->theirs.kind != SIDE_ABSENT &&
		    (change->from || change->base.kind == SIDE_ABSENT))
			strv_add(&added, change->path);
	}
	const char *bare = bare_find(&added);

	if (!bare)
		return 0;
	error_set(err, ERR_UNSUPPORTED, "%s has added a bare repository at %s", name, bare);
	return error_hint(err, "if that is wanted: jib persist %s --apply --nested", name);
}

int apply_read(struct viewer *viewer, size_t repo, const struct apply_wishes *wishes,
	       struct apply_changes *ret, struct error *err)
{
	const struct persist_wishes all = {
		.nested = wishes->nested, .tags = true, .notes = true, .stash = true};
	struct reading r = {.viewer = viewer, .repo = repo, .wishes = wishes};

	if (viewer->sandbox->repos[repo].live_git_dir) {
		error_set(err, ERR_UNSUPPORTED,
			  "the sandbox %s is live: there is no snapshot to merge from",
			  viewer->sandbox->name);
		return error_hint(err, "bring it as a branch: jib persist %s",
				  viewer->sandbox->name);
	}
	if (tips_find(viewer, repo, &all, &r.changes.found, err) < 0 ||
	    compare(&r, &r.changes.found.state, NULL, err) < 0 || add_included(&r, err) < 0 ||
	    (!wishes->nested && refuse_bare(&r, err) < 0)) {
		apply_release(&r.changes);
		return -1;
	}
	*ret = r.changes;
	return 0;
}
