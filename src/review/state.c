#include "review/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "review/raw.h"
#include "review/sorting.h"
#include "review/trees.h"
#include "view/stack.h"

enum { OIDS_MAX = 1 << 30, ANSWER_MAX = 65536 };

void state_release(struct state *state)
{
	refs_release(&state->refs);
	refs_release(&state->refs_then);
	free(state->head.ref);
	for (size_t i = 0; i < state->left_out_count; i++)
		free(state->left_out[i].path);
	free(state->left_out);
	*state = (struct state){0};
}

bool state_left_work(const struct state *state)
{
	static const char *const work[] = {"nested-repository",	   "bare-repository", "submodule",
					   "unreadable-directory", "unreadable-file", "too-large",
					   "path-too-long"};

	for (size_t i = 0; i < state->left_out_count; i++)
		for (size_t k = 0; k < ARRAY_SIZE(work); k++)
			if (strcmp(state->left_out[i].why, work[k]) == 0)
				return true;
	return false;
}

const char *state_tree(const struct state *state, const char *tree)
{
	if (*tree)
		return tree;
	return strlen(state->now) == OID_HEX_MAX || strlen(state->head.oid) == OID_HEX_MAX
		       ? EMPTY_TREE_SHA256
		       : EMPTY_TREE_SHA1;
}

/* One of the two trees: what differs from the one before, and how git is told of it. */
struct side {
	const struct view_mount *mount;
	enum viewer_place place;
	struct frontier frontier;
	bool *taken;
	struct strv
		oids; /* of the regular files that are taken, in order; "" where it is told inline */
};

static void side_release(struct side *side)
{
	frontier_release(&side->frontier);
	free(side->taken);
	strv_release(&side->oids);
}

struct reading {
	struct viewer *viewer;
	size_t repo;
	const struct state_wishes *wishes;
	struct trees trees;
	struct side then;
	/*
	 * What was carried and has not been touched, by the rules of now: only what is ignored by now, or is
	 * not any more.
	 */
	struct side late;
	bool *left; /* of each entry of `late`: it was taken then, and is not now */
	struct side now;
	bool file_mode;
	struct str stream; /* for git fast-import */
	struct state state;
};

/* Hashing. */

static bool is_readable(const struct frontier_entry *entry)
{
	return entry->st.st_mode & S_IRUSR;
}

static bool is_taken_file(const struct side *side, size_t i)
{
	return side->taken[i] && side->frontier.items[i].kind == FRONTIER_FILE;
}

static int split_oids(struct side *side, const char *output, struct error *err)
{
	for (size_t i = 0; i < side->frontier.count; i++) {
		if (!is_taken_file(side, i))
			continue;
		if (!is_readable(&side->frontier.items[i])) {
			strv_add(&side->oids, "");
			continue;
		}
		size_t len = strcspn(output, "\n");

		if ((len != 40 && len != OID_HEX_MAX) || strspn(output, "0123456789abcdef") != len)
			return error_set(err, ERR_GIT, "git did not hash all files");
		strv_give(&side->oids, xstrndup(output, len));
		output += len + (output[len] == '\n');
	}
	return 0;
}

static int hash_files(struct reading *r, struct side *side, struct error *err)
{
	const char *const args[] = {"hash-object", "-w", "--stdin-paths", NULL};
	struct viewer_call call = {.repo = r->repo, .place = side->place, .args = args};
	autostr struct str input = STR_INIT, output = STR_INIT;

	for (size_t i = 0; i < side->frontier.count; i++)
		if (is_taken_file(side, i) && is_readable(&side->frontier.items[i])) {
			viewer_quote(&input, side->frontier.items[i].path);
			str_add_char(&input, '\n');
		}
	if (input.len && viewer_run(r->viewer, &call, &input, OIDS_MAX, &output, NULL, err) < 0)
		return error_wrap(err, "cannot read the changed files of %s",
				  r->viewer->sandbox->name);
	return split_oids(side, output.len ? output.s : "", err);
}

/*
 * A file that its owner may not read is opened all the same, as git would not: the rights say what its
 * user may do, and what it holds is work.
 */
static int open_closed(const struct frontier_entry *entry, struct error *err)
{
	autofd int place = open_beneath(entry->directory, entry->inner, O_PATH | O_NOFOLLOW, 0);
	struct stat st;

	if (place < 0 || fstat(place, &st) < 0 || !S_ISREG(st.st_mode))
		return error_errno(err, "cannot open %s", entry->path);
	int fd = open(fd_path(place).s, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	mode_t mode = st.st_mode & 07777;

	if (chmod(fd_path(place).s, mode | S_IRUSR) < 0)
		return error_errno(err, "cannot open %s", entry->path);
	fd = open(fd_path(place).s, O_RDONLY | O_CLOEXEC);
	if (chmod(fd_path(place).s, mode) < 0 || fd < 0) {
		error_errno(err, "cannot open %s", entry->path);
		fd_close(&fd);
		return -1;
	}
	return fd;
}

/* The stream. */

static void add_data(struct str *stream, const char *bytes, size_t len)
{
	str_addf(stream, "data %zu\n", len);
	str_add_bytes(stream, bytes, len);
	str_add_char(stream, '\n');
}

static void add_remove(struct str *stream, const char *path)
{
	str_add(stream, "D ");
	viewer_quote(stream, path);
	str_add_char(stream, '\n');
}

static void add_modify(struct str *stream, const char *mode, const char *what, const char *path)
{
	str_addf(stream, "M %s %s ", mode, what);
	viewer_quote(stream, path);
	str_add_char(stream, '\n');
}

static int add_link(struct reading *r, const struct frontier_entry *entry, struct error *err)
{
	autofd int fd = open_beneath(entry->directory, entry->inner, O_PATH | O_NOFOLLOW, 0);
	size_t size = (size_t)entry->st.st_size + 1;
	autofree char *target = xmalloc(size);
	ssize_t len = fd < 0 ? -1 : readlinkat(fd, "", target, size);

	if (len < 0 || (size_t)len >= size)
		return error_errno(err, "cannot read the link %s", entry->path);
	add_modify(&r->stream, "120000", "inline", entry->path);
	add_data(&r->stream, target, (size_t)len);
	return 0;
}

static int file_mode(struct reading *r, const struct frontier_entry *entry, const char **ret,
		     struct error *err)
{
	struct tree_entry tracked;

	*ret = entry->st.st_mode & S_IXUSR ? "100755" : "100644";
	if (r->file_mode)
		return 0;
	int result = trees_find(&r->trees, *r->state.head_tree ? r->state.head_tree : NULL,
				entry->path, &tracked, err);

	if (result == 0)
		*ret = tracked.mode == 0100755 ? "100755" : "100644";
	else
		*ret = "100644";
	return result < 0 ? -1 : 0;
}

static int add_file(struct reading *r, const struct frontier_entry *entry, const char *oid,
		    struct error *err)
{
	const char *mode;

	if (file_mode(r, entry, &mode, err) < 0)
		return -1;
	if (*oid) {
		add_modify(&r->stream, mode, oid, entry->path);
		return 0;
	}
	autofd int fd = open_closed(entry, err);
	autostr struct str bytes = STR_INIT;

	if (fd < 0 || read_all(fd, UNREADABLE_MAX, &bytes, err) < 0)
		return error_wrap(err, "cannot read %s", entry->path);
	add_modify(&r->stream, mode, "inline", entry->path);
	add_data(&r->stream, bytes.len ? bytes.s : "", bytes.len);
	return 0;
}

/*
 * A directory where there was a file. Most are where nothing was; one of a layer that is no upper has no
 * mark, also where it is merged with those below.
 */
static int add_directory(struct reading *r, const struct side *side,
			 const struct frontier_entry *entry, struct error *err)
{
	const struct frontier_entry *before =
		side == &r->now ? frontier_covering(&r->then.frontier, entry->path) : NULL;
	bool was_file = before && (before->kind == FRONTIER_FILE || before->kind == FRONTIER_LINK);
	struct tree_entry tracked;

	if (entry->opaque || was_file) {
		add_remove(&r->stream, entry->path);
		return 0;
	}
	int result = trees_find(&r->trees, *r->state.base_tree ? r->state.base_tree : NULL,
				entry->path, &tracked, err);

	if (result == 0 && tracked.mode != MODE_TREE && tracked.mode != MODE_SUBMODULE)
		add_remove(&r->stream, entry->path);
	return result < 0 ? -1 : 0;
}

static int add_entry(struct reading *r, const struct side *side, const struct frontier_entry *entry,
		     const char *oid, struct error *err)
{
	switch (entry->kind) {
	case FRONTIER_GONE:
	case FRONTIER_OTHER:
		add_remove(&r->stream, entry->path);
		return 0;
	case FRONTIER_LINK:
		return add_link(r, entry, err);
	case FRONTIER_DIRECTORY:
		return add_directory(r, side, entry, err);
	case FRONTIER_FILE:
		return add_file(r, entry, oid, err);
	default:
		return 0;
	}
}

/* Whether what was carried can make a difference: see state.h, `whole`. */
static bool matters(const struct reading *r, const struct side *side, size_t i)
{
	const struct frontier_entry *entry = &side->frontier.items[i];

	return side == &r->now || r->wishes->whole ||
	       (entry->kind != FRONTIER_FILE && entry->kind != FRONTIER_LINK) ||
	       frontier_covering(&r->now.frontier, entry->path);
}

/*
 * Which commit a submodule is at is not in the work tree of the superproject: what was committed there
 * counts.
 */
static int add_gitlinks(struct reading *r, struct error *err)
{
	const struct state *state = &r->state;
	const char *const args[] = {"diff-tree",
				    "-r",
				    "-z",
				    "--raw",
				    "--no-renames",
				    "--no-abbrev",
				    "--end-of-options",
				    state_tree(state, state->base_tree),
				    state->head_tree,
				    "--",
				    NULL};
	struct viewer_call call = {.repo = r->repo, .place = VIEWER_BARE, .args = args};
	autostr struct str output = STR_INIT;

	if (!*state->head_tree || strcmp(state->head_tree, state->base_tree) == 0)
		return 0;
	if (viewer_run(r->viewer, &call, NULL, OIDS_MAX, &output, NULL, err) < 0)
		return error_wrap(err, "cannot find the submodules");
	for (size_t at = 0; at < output.len;) {
		const char *head = output.s + at;
		const char *path = head + strlen(head) + 1;
		struct raw raw;

		if (path >= output.s + output.len || raw_parse(head, &raw) < 0)
			return error_set(err, ERR_GIT, "git diff-tree said something unexpected");
		if (raw.new_mode == MODE_SUBMODULE)
			add_modify(&r->stream, "160000", raw.new_oid, path);
		else if (raw.old_mode == MODE_SUBMODULE && !raw.new_mode)
			add_remove(&r->stream, path);
		at = (size_t)(path - output.s) + strlen(path) + 1;
	}
	return 0;
}

static int add_late(struct reading *r, struct error *err)
{
	size_t oid = 0;

	for (size_t i = 0; i < r->late.frontier.count; i++) {
		const struct frontier_entry *entry = &r->late.frontier.items[i];
		const char *hashed = is_taken_file(&r->late, i) ? r->late.oids.items[oid++] : "";

		if (r->left[i])
			add_remove(&r->stream, entry->path);
		else if (r->late.taken[i] && add_entry(r, &r->late, entry, hashed, err) < 0)
			return -1;
	}
	return 0;
}

static int add_commit(struct reading *r, const struct side *side, int mark, const char *from,
		      struct error *err)
{
	size_t oid = 0;

	str_addf(&r->stream, "commit refs/jib/%d\nmark :%d\ncommitter jib <jib> 0 +0000\n", mark,
		 mark);
	add_data(&r->stream, "", 0);
	if (from)
		str_addf(&r->stream, "from %s\n", from);
	for (size_t i = 0; i < side->frontier.count; i++) {
		const char *hashed = is_taken_file(side, i) ? side->oids.items[oid++] : "";

		if (side->taken[i] && add_entry(r, side, &side->frontier.items[i], hashed, err) < 0)
			return -1;
	}
	if (side == &r->now && (add_late(r, err) < 0 || add_gitlinks(r, err) < 0))
		return -1;
	str_addf(&r->stream, "\nls :%d \n", mark);
	return 0;
}

/* "040000 tree OID\t" for each. */
static int parse_trees(const char *answer, struct state *state, struct error *err)
{
	char *const trees[] = {state->then, state->now};

	for (size_t i = 0; i < ARRAY_SIZE(trees); i++) {
		static const char start[] = "040000 tree ";
		size_t len = strcspn(answer, "\n");
		const char *oid = answer + strlen(start);
		size_t oid_len = str_starts(answer, start) ? strcspn(oid, "\t\n") : 0;

		if (oid_len == 0 || oid_len > OID_HEX_MAX)
			return error_set(err, ERR_GIT, "git did not write the trees");
		memcpy(trees[i], oid, oid_len);
		trees[i][oid_len] = '\0';
		answer += len + (answer[len] == '\n');
	}
	return 0;
}

static int write_trees(struct reading *r, struct error *err)
{
	const char *const args[] = {"fast-import", "--quiet", "--done", "--force", NULL};
	struct viewer_call call = {.repo = r->repo, .place = VIEWER_BARE, .args = args};
	autostr struct str answer = STR_INIT;
	const char *base = r->state.base;

	if (add_commit(r, &r->then, 1, *base ? base : NULL, err) < 0 ||
	    add_commit(r, &r->now, 2, ":1", err) < 0)
		return -1;
	str_add(&r->stream, "done\n");
	if (viewer_run(r->viewer, &call, &r->stream, ANSWER_MAX, &answer, NULL, err) < 0)
		return error_wrap(err, "cannot put together the work tree of %s",
				  r->viewer->sandbox->name);
	return parse_trees(answer.s, &r->state, err);
}

/* Preparation. */

static int look_up(struct reading *r, const char *commit, char tree[OID_HEX_MAX + 1],
		   struct error *err)
{
	if (!*commit)
		return 0;
	int result = trees_of_commit(&r->trees, commit, tree, err);

	if (result == 1)
		return error_set(err, ERR_CORRUPT, "the commit %s is missing in the sandbox %s",
				 commit, r->viewer->sandbox->name);
	return result;
}

static int find_commits(struct reading *r, struct error *err)
{
	const char *base = r->viewer->sandbox->repos[r->repo].base;
	struct state *state = &r->state;

	if (base && strlen(base) <= OID_HEX_MAX)
		memcpy(state->base, base, strlen(base) + 1);
	if (refs_now(r->viewer, r->repo, &state->refs, err) < 0 ||
	    refs_then(r->viewer, r->repo, &state->refs_then, err) < 0 ||
	    head_now(r->viewer, r->repo, &state->refs, &state->head, err) < 0 ||
	    look_up(r, state->base, state->base_tree, err) < 0 ||
	    look_up(r, state->head.oid, state->head_tree, err) < 0)
		return -1;
	return 0;
}

static int sort_side(struct reading *r, struct side *side, struct state *left_out,
		     struct error *err)
{
	struct sorting_request request = {
		.viewer = r->viewer,
		.repo = r->repo,
		.place = side->place,
		.wishes = r->wishes,
		.trees = &r->trees,
		.trees_tracked = {*r->state.base_tree ? r->state.base_tree : NULL,
				  *r->state.head_tree ? r->state.head_tree : NULL},
	};

	return sort_frontier(&request, &side->frontier, &side->taken, left_out, err);
}

static int compare_left_out(const void *a, const void *b)
{
	return strcmp(((const struct left_out *)a)->path, ((const struct left_out *)b)->path);
}

static bool rules_changed(const struct frontier *frontier)
{
	for (size_t i = 0; i < frontier->count; i++)
		if (strcmp(path_last(frontier->items[i].path), ".gitignore") == 0)
			return true;
	return false;
}

/* Which of the directories that are mounted from the host are ignored, as they all were once. */
static int find_ignored(struct reading *r, struct str *ret, struct error *err)
{
	const char *const args[] = {"check-ignore", "-z", "--stdin", "--no-index", NULL};
	const struct sandbox_repo *repo = &r->viewer->sandbox->repos[r->repo];
	struct viewer_call call = {.repo = r->repo, .place = VIEWER_TREE, .args = args};
	autostr struct str input = STR_INIT;
	int status;

	for (size_t i = 0; i < repo->carried.len; i++)
		viewer_add_path(&input, repo->carried.items[i]);
	if (!rules_changed(&r->now.frontier)) {
		str_add_bytes(ret, input.len ? input.s : "", input.len);
		return 0;
	}
	if (input.len && viewer_run(r->viewer, &call, &input, OIDS_MAX, ret, &status, err) < 0)
		return error_wrap(err, "cannot tell which directories are ignored");
	return 0;
}

/* Which files of these directories the sandbox's index has all the same. */
static int find_tracked(struct reading *r, struct str *ret, struct error *err)
{
	const struct sandbox_repo *repo = &r->viewer->sandbox->repos[r->repo];
	autostrv struct strv args = STRV_INIT;
	int status;

	if (!repo->carried.len)
		return 0;
	strv_add(&args, "ls-files");
	strv_add(&args, "-z");
	strv_add(&args, "--cached");
	strv_add(&args, "--");
	for (size_t i = 0; i < repo->carried.len; i++)
		strv_addf(&args, ":(literal)%s", repo->carried.items[i]);
	struct viewer_call call = {
		.repo = r->repo, .place = VIEWER_INDEX, .args = (const char *const *)args.items};

	/* An index that a sandbox has damaged tracks nothing. */
	return viewer_run(r->viewer, &call, NULL, OIDS_MAX, ret, &status, err);
}

/* Whether some file of a directory is tracked, by the index or by HEAD. */
static int is_tracked_below(struct reading *r, const struct str *tracked, const char *directory,
			    bool *ret, struct error *err)
{
	size_t len = strlen(directory);
	struct tree_entry entry;

	*ret = true;
	for (size_t at = 0; at < tracked->len; at += strlen(tracked->s + at) + 1)
		if (strncmp(tracked->s + at, directory, len) == 0 && tracked->s[at + len] == '/')
			return 0;
	int result = trees_find(&r->trees, *r->state.head_tree ? r->state.head_tree : NULL,
				directory, &entry, err);

	*ret = result == 0;
	return result < 0 ? -1 : 0;
}

static bool is_in_list(const struct str *list, const char *path)
{
	for (size_t at = 0; at < list->len; at += strlen(list->s + at) + 1)
		if (strcmp(viewer_answered_path(list->s + at), path) == 0)
			return true;
	return false;
}

/*
 * What was changed in directories that are mounted from the host; of one that is not ignored any more, or
 * has tracked files by now, all that is in it, as git would take it.
 */
static int add_carried(struct reading *r, struct error *err)
{
	const struct sandbox_repo *repo = &r->viewer->sandbox->repos[r->repo];
	autostr struct str ignored = STR_INIT, tracked = STR_INIT;
	bool whole = false;

	if (find_ignored(r, &ignored, err) < 0 || find_tracked(r, &tracked, err) < 0)
		return -1;
	for (size_t i = 0; i < repo->carried.len; i++) {
		const struct view_mount *mount = viewer_carried(r->viewer, r->repo, i);
		autofree char *prefix = xasprintf("%s/", repo->carried.items[i]);
		struct frontier more = {0};
		struct stack_entry place;

		if (!mount)
			continue;
		if (stack_find(r->now.mount->lowers, r->now.mount->lower_count,
			       repo->carried.items[i], &place, err) < 0)
			return -1;
		/* The sandbox has put something else there. */
		if (place.kind != STACK_DIRECTORY)
			continue;
		struct view_mount looked = *mount;

		if (is_tracked_below(r, &tracked, repo->carried.items[i], &whole, err) < 0)
			return -1;
		if (whole || !is_in_list(&ignored, repo->carried.items[i]))
			looked.changed = looked.lower_count;
		if (frontier_read(&looked, prefix, &more, err) < 0)
			return -1;
		frontier_add(&r->now.frontier, &more);
	}
	return 0;
}

static bool is_untouched(const struct reading *r, const struct frontier_entry *entry)
{
	return (entry->kind == FRONTIER_FILE || entry->kind == FRONTIER_LINK) &&
	       !frontier_covering(&r->now.frontier, entry->path);
}

/* Whether the rules may say something else by now of what was carried: they, or what is tracked. */
static bool may_be_late(const struct reading *r)
{
	bool any = rules_changed(&r->now.frontier) && r->then.frontier.count;

	for (size_t i = 0; i < r->then.frontier.count && !any; i++)
		any = !r->then.taken[i] && is_untouched(r, &r->then.frontier.items[i]);
	return any;
}

static int read_late(struct reading *r, struct error *err)
{
	autostate struct state unused = {0};
	struct frontier *late = &r->late.frontier;
	autofree bool *then = xcalloc(r->then.frontier.count + 1, sizeof *then);

	if (r->wishes->ignored || !may_be_late(r))
		return 0;
	late->items = xcalloc(r->then.frontier.count + 1, sizeof *late->items);
	for (size_t i = 0; i < r->then.frontier.count; i++) {
		struct frontier_entry entry = r->then.frontier.items[i];

		if (!is_untouched(r, &entry))
			continue;
		then[late->count] = r->then.taken[i];
		entry.path = xstrdup(entry.path);
		entry.inner = entry.path;
		late->items[late->count++] = entry;
	}
	if (sort_side(r, &r->late, &unused, err) < 0)
		return -1;
	r->left = xcalloc(late->count + 1, sizeof *r->left);
	for (size_t i = 0; i < late->count; i++) {
		r->left[i] = then[i] && !r->late.taken[i];
		r->late.taken[i] = r->late.taken[i] && !then[i];
	}
	return 0;
}

/* Whether an entry of `then` is in that tree, and not in the one of now. */
static bool has_left(const struct reading *r, size_t i)
{
	const struct frontier_entry *entry =
		frontier_covering(&r->late.frontier, r->then.frontier.items[i].path);

	return entry && r->left[entry - r->late.frontier.items];
}

static int read_sides(struct reading *r, struct error *err)
{
	autostate struct state unused = {0};

	if (frontier_read(r->now.mount, "", &r->now.frontier, err) < 0 ||
	    frontier_read(r->then.mount, "", &r->then.frontier, err) < 0 || add_carried(r, err) < 0)
		return -1;
	r->state.newest = r->now.frontier.newest;
	if (sort_side(r, &r->now, &r->state, err) < 0 || sort_side(r, &r->then, &unused, err) < 0)
		return -1;
	if (read_late(r, err) < 0)
		return -1;
	for (size_t i = 0; i < r->then.frontier.count; i++)
		r->then.taken[i] = r->then.taken[i] && (matters(r, &r->then, i) || has_left(r, i));
	if (r->state.left_out_count)
		qsort(r->state.left_out, r->state.left_out_count, sizeof *r->state.left_out,
		      compare_left_out);
	if (hash_files(r, &r->now, err) < 0 || hash_files(r, &r->then, err) < 0 ||
	    hash_files(r, &r->late, err) < 0)
		return -1;
	return 0;
}

static int read_state(struct reading *r, struct error *err)
{
	if (config_bool(&r->viewer->config, "core.filemode", true, &r->file_mode, err) < 0 ||
	    trees_open(r->viewer, r->repo, &r->trees, err) < 0 || find_commits(r, err) < 0 ||
	    read_sides(r, err) < 0)
		return -1;
	return write_trees(r, err);
}

int state_read(struct viewer *viewer, size_t repo, const struct state_wishes *wishes,
	       struct state *ret, struct error *err)
{
	struct reading r = {
		.viewer = viewer,
		.repo = repo,
		.wishes = wishes,
		.trees = TREES_INIT,
		.then = {.mount = viewer_mount(viewer, repo, true), .place = VIEWER_BASE},
		.now = {.mount = viewer_mount(viewer, repo, false), .place = VIEWER_TREE},
		.late = {.mount = viewer_mount(viewer, repo, true), .place = VIEWER_TREE},
	};
	int result = read_state(&r, err);

	trees_close(&r.trees);
	side_release(&r.then);
	side_release(&r.now);
	side_release(&r.late);
	free(r.left);
	str_release(&r.stream);
	if (result < 0) {
		state_release(&r.state);
		return error_wrap(err, "repository %s", viewer->sandbox->repos[repo].name);
	}
	*ret = r.state;
	return 0;
}
