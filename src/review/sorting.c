#include "review/sorting.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>

#include "base/memory.h"

enum { NAMES_MAX = 1 << 30 };

static const uint64_t file_max = (uint64_t)4 << 30;

/*
 * What git, on some file system, would take for its own directory: `.git` in any case, with dots and
 * spaces at its end, its short name, and with the characters that HFS+ ignores (none of which is ASCII).
 */
static bool is_git_name(const char *name, size_t len)
{
	char plain[8];
	size_t n = 0;

	while (len && (name[len - 1] == '.' || name[len - 1] == ' '))
		len--;
	if (len == strlen("git~1") && strncasecmp(name, "git~1", len) == 0)
		return true;
	for (size_t i = 0; i < len && n < sizeof plain; i++) {
		/* U+200C..F, U+202A..E, U+206A..F, U+FEFF */
		if (len - i >= 3 && (((unsigned char)name[i] == 0xe2 &&
				      ((unsigned char)name[i + 1] & 0xfe) == 0x80) ||
				     memcmp(name + i, "\xef\xbb\xbf", 3) == 0)) {
			i += 2;
			continue;
		}
		plain[n++] = name[i];
	}
	return n == strlen(".git") && strncasecmp(plain, ".git", n) == 0;
}

/* Up to the component before the first one that is git's; 0 when there is none. */
static bool find_git_component(const char *path, size_t *ret_len)
{
	for (size_t at = 0;;) {
		size_t len = strcspn(path + at, "/");

		if (is_git_name(path + at, len)) {
			*ret_len = at ? at - 1 : 0;
			return true;
		}
		if (!path[at + len])
			return false;
		at += len + 1;
	}
}

void leave_out(struct state *state, const char *path, const char *why)
{
	state->left_out =
		xreallocarray(state->left_out, state->left_out_count + 1, sizeof *state->left_out);
	state->left_out[state->left_out_count++] =
		(struct left_out){.path = xstrdup(path), .why = why};
}

static const char *other_kind(mode_t mode)
{
	return S_ISFIFO(mode) ? "fifo" : S_ISSOCK(mode) ? "socket" : "device";
}

/* Directories that are repositories of their own, sorted. */
static void find_nested(const struct frontier *frontier, struct strv *ret)
{
	size_t len;

	for (size_t i = 0; i < frontier->count; i++) {
		if (frontier->items[i].kind == FRONTIER_GONE ||
		    !find_git_component(frontier->items[i].path, &len) || !len)
			continue;
		autofree char *path = xstrndup(frontier->items[i].path, len);

		if (!ret->len || strcmp(ret->items[ret->len - 1], path) != 0)
			strv_add(ret, path);
	}
}

static bool is_there(const struct frontier *frontier, const char *directory, const char *name)
{
	autofree char *path = xasprintf("%s/%s", directory, name);
	const struct frontier_entry *entry = frontier_covering(frontier, path);

	return entry && strcmp(entry->path, path) == 0 && entry->kind != FRONTIER_GONE;
}

/* A bare repository: git, started in it, would take its configuration. */
static void find_bare(const struct frontier *frontier, struct strv *ret)
{
	for (size_t i = 0; i < frontier->count; i++) {
		const char *path = frontier->items[i].path;
		size_t len = strlen(path);

		if (!str_ends(path, "/HEAD") || frontier->items[i].kind == FRONTIER_GONE)
			continue;
		autofree char *directory = xstrndup(path, len - strlen("/HEAD"));

		if (is_there(frontier, directory, "commondir") ||
		    (is_there(frontier, directory, "objects") &&
		     is_there(frontier, directory, "refs")))
			strv_add(ret, directory);
	}
}

static const char *covering(const struct strv *directories, const char *path)
{
	for (size_t i = 0; i < directories->len; i++) {
		size_t len = strlen(directories->items[i]);

		if (strncmp(path, directories->items[i], len) == 0 && path[len] == '/')
			return directories->items[i];
	}
	return NULL;
}

static int is_tracked(const struct sorting_request *request, const char *path, bool *ret,
		      struct error *err)
{
	struct tree_entry entry;

	*ret = false;
	for (size_t i = 0; i < ARRAY_SIZE(request->trees_tracked) && !*ret; i++) {
		int result =
			trees_find(request->trees, request->trees_tracked[i], path, &entry, err);

		if (result < 0)
			return -1;
		*ret = result == 0 && entry.mode != MODE_TREE;
	}
	return 0;
}

static int in_submodule(const struct sorting_request *request, const char *path, size_t *ret_len,
			struct error *err)
{
	*ret_len = 0;
	for (size_t i = 0; i < ARRAY_SIZE(request->trees_tracked) && !*ret_len; i++)
		if (trees_find_gitlink(request->trees, request->trees_tracked[i], path, ret_len,
				       err) < 0)
			return -1;
	return 0;
}

/* Notes a directory once for all that is in it. */
static void leave_out_once(struct state *state, const char *path, const char *why)
{
	for (size_t i = state->left_out_count; i-- > 0;)
		if (strcmp(state->left_out[i].path, path) == 0)
			return;
	leave_out(state, path, why);
}

struct sorter {
	const struct sorting_request *request;
	const struct frontier *frontier;
	struct strv nested;
	struct strv bare;
	uint64_t unreadable; /* bytes */
	struct state *state;
	bool *taken;
};

static bool fits(struct sorter *sorter, const struct frontier_entry *entry)
{
	if (entry->st.st_mode & S_IRUSR)
		return true;
	if ((uint64_t)entry->st.st_size > UNREADABLE_MAX - sorter->unreadable)
		return false;
	sorter->unreadable += (uint64_t)entry->st.st_size;
	return true;
}

/* All but ignore rules. */
static int sort_one(struct sorter *sorter, size_t i, struct error *err)
{
	const struct sorting_request *request = sorter->request;
	const struct frontier_entry *entry = &sorter->frontier->items[i];
	const char *nested = covering(&sorter->nested, entry->path);
	const char *bare = covering(&sorter->bare, entry->path);
	bool tracked;
	size_t len;

	if (find_git_component(entry->path, &len)) {
		if (entry->kind != FRONTIER_GONE)
			leave_out_once(sorter->state, nested ? nested : entry->path,
				       nested ? "nested-repository" : "git-directory");
		return 0;
	}
	if (in_submodule(request, entry->path, &len, err) < 0 ||
	    is_tracked(request, entry->path, &tracked, err) < 0)
		return -1;
	if (len) {
		autofree char *module = xstrndup(entry->path, len);

		leave_out_once(sorter->state, module, "submodule");
		return 0;
	}
	if ((nested || bare) && !tracked && !request->wishes->nested) {
		leave_out_once(sorter->state, nested ? nested : bare,
			       nested ? "nested-repository" : "bare-repository");
		return 0;
	}
	if (entry->kind == FRONTIER_OTHER) {
		leave_out(sorter->state, entry->path, other_kind(entry->st.st_mode));
		/* What was a file there before is none any more. */
		sorter->taken[i] = tracked;
		return 0;
	}
	/* No program can open it by its name, nor could the host have it. */
	if (strlen(entry->path) >= PATH_MAX)
		leave_out(sorter->state, entry->path, "path-too-long");
	else if (entry->kind == FRONTIER_CLOSED)
		leave_out(sorter->state, entry->path, "unreadable-directory");
	else if (entry->kind == FRONTIER_FILE && (uint64_t)entry->st.st_size > file_max)
		leave_out(sorter->state, entry->path, "too-large");
	else if (entry->kind == FRONTIER_FILE && !fits(sorter, entry))
		leave_out(sorter->state, entry->path, "unreadable-file");
	else
		sorter->taken[i] = true;
	return 0;
}

/* Calls git check-ignore with what may be ignored; what it answers is no longer taken. */
static int ask_ignored(const struct sorter *sorter, bool with_index, bool *maybe, bool *ret_any,
		       struct error *err)
{
	const struct sorting_request *request = sorter->request;
	const char *const args[] = {"check-ignore", "-z", "--stdin",
				    with_index ? NULL : "--no-index", NULL};
	struct viewer_call call = {.repo = request->repo,
				   .place = with_index ? VIEWER_INDEX : request->place,
				   .args = args};
	autostr struct str input = STR_INIT, output = STR_INIT;
	int status;

	for (size_t i = 0; i < sorter->frontier->count; i++)
		if (maybe[i])
			viewer_add_path(&input, sorter->frontier->items[i].path);
	*ret_any = false;
	if (!input.len)
		return 0;
	if (viewer_run(request->viewer, &call, &input, NAMES_MAX, &output, &status, err) < 0)
		return error_wrap(err, "cannot tell which files are ignored");
	/* 1: none is. With an index that a sandbox has damaged nothing more is tracked. */
	if (!WIFEXITED(status) || (WEXITSTATUS(status) > 1 && !with_index))
		return error_set(err, ERR_GIT, "git cannot tell which files are ignored");
	if (WEXITSTATUS(status) > 1) {
		*ret_any = true;
		return 0;
	}
	size_t at = 0;

	/* The answers come in the order of the questions. */
	for (size_t i = 0; i < sorter->frontier->count; i++) {
		const char *answer = at < output.len ? output.s + at : "";
		bool ignored = maybe[i] && strcmp(viewer_answered_path(answer),
						  sorter->frontier->items[i].path) == 0;

		if (ignored)
			at += strlen(answer) + 1;
		maybe[i] = ignored;
		*ret_any = *ret_any || ignored;
	}
	return 0;
}

static int sort_ignored(const struct sorter *sorter, struct error *err)
{
	const struct sorting_request *request = sorter->request;
	autofree bool *maybe = xcalloc(sorter->frontier->count + 1, sizeof *maybe);
	bool any = false;

	for (size_t i = 0; i < sorter->frontier->count; i++) {
		enum frontier_kind kind = sorter->frontier->items[i].kind;
		bool tracked;

		if (!sorter->taken[i] || (kind != FRONTIER_FILE && kind != FRONTIER_LINK))
			continue;
		if (is_tracked(request, sorter->frontier->items[i].path, &tracked, err) < 0)
			return -1;
		maybe[i] = !tracked;
	}
	/* What the index has all the same was added by force. */
	if (ask_ignored(sorter, false, maybe, &any, err) < 0 ||
	    (any && request->place == VIEWER_TREE &&
	     ask_ignored(sorter, true, maybe, &any, err) < 0))
		return -1;
	for (size_t i = 0; i < sorter->frontier->count; i++)
		if (maybe[i])
			sorter->taken[i] = false;
	return 0;
}

int sort_frontier(const struct sorting_request *request, const struct frontier *frontier,
		  bool **ret_taken, struct state *left_out, struct error *err)
{
	struct sorter sorter = {.request = request,
				.frontier = frontier,
				.state = left_out,
				.taken = xcalloc(frontier->count + 1, sizeof(bool))};
	int result = 0;

	find_nested(frontier, &sorter.nested);
	find_bare(frontier, &sorter.bare);
	for (size_t i = 0; i < frontier->count && result == 0; i++)
		result = sort_one(&sorter, i, err);
	if (result == 0 && !request->wishes->ignored)
		result = sort_ignored(&sorter, err);
	strv_release(&sorter.nested);
	strv_release(&sorter.bare);
	if (result < 0) {
		free(sorter.taken);
		return -1;
	}
	*ret_taken = sorter.taken;
	return 0;
}
