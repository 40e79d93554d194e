#include "snapshot/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "git/git.h"
#include "snapshot/fingerprint.h"
#include "snapshot/local-internal.h"
#include "store/json.h"

enum { TRIES = 8, REST = 200 };

void local_release(struct local *local)
{
	free(local->id);
	strv_release(&local->carried);
	strv_release(&local->masked);
	strv_release(&local->left_out);
	*local = (struct local){0};
}

void local_abandon(struct local_status *status)
{
	process_abandon(&status->process);
	free(status->stamp);
	*status = (struct local_status)LOCAL_STATUS_INIT;
}

/* ---- the moment ---- */

int capture_unstable(struct capture *capture, const char *path)
{
	free(capture->culprit);
	capture->culprit = xstrdup(path);
	return UNSTABLE;
}

int capture_settled(struct capture *capture, const char *path, const struct stat *st)
{
	struct timespec now;

	if (fingerprint_is_later(&capture->since, &st->st_ctim))
		return 0;
	/* From the future: the clock was set back. Waiting does not help. */
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (st->st_ctim.tv_sec > now.tv_sec + 1)
		return 0;
	capture->newest = st->st_ctim;
	return capture_unstable(capture, path);
}

/* Notes the moment, in which nothing of the git dir is too new to tell whether it changes. */
static int take_moment(const struct repository *repository, struct local_status *status,
		       struct error *err)
{
	for (int i = 0; i < REST; i++) {
		struct timespec newest;
		autofree char *stamp = NULL;

		clock_gettime(CLOCK_REALTIME_COARSE, &status->since);
		if (states_stamp(repository, &stamp, &newest, &status->in_progress, err) < 0)
			return -1;
		if (fingerprint_is_settled(&status->since, &newest)) {
			status->stamp = steal_ptr(&stamp);
			return 0;
		}
		fingerprint_wait(&newest);
	}
	return error_set(err, ERR_UNSTABLE, "the index of %s keeps changing", repository->top);
}

int local_start(const struct repository *repository, const struct local_wishes *wishes,
		struct local_status *ret, struct error *err)
{
	const char *const args[] = {
		"status",
		"--porcelain=v2",
		"-z",
		"--branch",
		"--no-ahead-behind",
		"--no-renames",
		"--untracked-files=all",
		/* Which commit a submodule is at belongs to it, what is in there does not. */
		"--ignore-submodules=dirty",
		wishes->ignored ? "--ignored=matching" : "--ignored=no",
		NULL,
	};
	/* The directory is named too: of one that is not the current one git cannot say the top. */
	const struct git_place place = {.directory = repository->top,
					.git_dir = repository->git_dir,
					.work_tree = repository->top};
	autolocalstatus struct local_status status = LOCAL_STATUS_INIT;

	if (take_moment(repository, &status, err) < 0 ||
	    git_start(&place, args, &status.process, err) < 0)
		return -1;
	*ret = status;
	status = (struct local_status)LOCAL_STATUS_INIT;
	return 0;
}

/* ---- one try ---- */

static void capture_release(struct capture *capture)
{
	fd_close(&capture->top);
	str_release(&capture->output);
	status_release(&capture->status);
	strv_release(&capture->quiet);
	strv_release(&capture->touched);
	index_edits_release(&capture->edits);
	strv_release(&capture->staged);
	carry_release(&capture->carry);
	strv_release(&capture->mounted);
	free(capture->masks);
	strv_release(&capture->left_out);
	free(capture->files);
	strv_release(&capture->gone);
	strv_release(&capture->directories);
	str_release(&capture->reported);
	free(capture->culprit);
}

#define autocapture __attribute__((cleanup(capture_release)))

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* The layers below are those of request->head. */
static int check_head(const struct capture *capture, struct error *err)
{
	static const char heads[] = "refs/heads/";
	const struct repository_head *head = capture->request->head;
	const struct status *status = &capture->status;
	const char *branch =
		head->ref && str_starts(head->ref, heads) ? head->ref + strlen(heads) : head->ref;

	if (same(status->commit, head->commit) && same(status->branch, branch))
		return 0;
	return error_set(err, ERR_UNSTABLE, "HEAD of %s changed while it was captured",
			 capture->request->repository->top);
}

/* A repository of its own, which only it may show. */
static void leave_out_nested(struct capture *capture)
{
	struct strv *untracked = &capture->status.untracked;
	size_t kept = 0;

	for (size_t i = 0; i < untracked->len; i++) {
		if (str_ends(untracked->items[i], "/"))
			strv_give(&capture->left_out, untracked->items[i]);
		else
			untracked->items[kept++] = untracked->items[i];
	}
	untracked->len = kept;
	if (untracked->items)
		untracked->items[kept] = NULL;
}

static int read_status(struct capture *capture, struct process *process, struct error *err)
{
	const char *top = capture->request->repository->top;

	if (git_finish(process, &capture->output, NULL, NULL, err) < 0 ||
	    status_parse(capture->output.s, capture->output.len, &capture->status, err) < 0)
		return error_wrap(err, "%s", top);
	return check_head(capture, err);
}

/* UNSTABLE. */
static int find_all(struct capture *capture, struct error *err)
{
	const struct local_request *request = capture->request;

	leave_out_nested(capture);
	const struct carry_request carry = {
		.root = request->root,
		.repository = request->repository,
		.top = capture->top,
		.untracked = &capture->status.untracked,
		.ignored = &capture->status.ignored,
		.carry_ignored = request->wishes->ignored,
		.budget = request->wishes->budget,
		.mask = &request->wishes->mask,
		.unmask = &request->wishes->unmask,
	};

	if (local_index_read(capture, err) < 0 || carry_decide(&carry, &capture->carry, err) < 0)
		return -1;
	int result = capture_list(capture);

	/* There may be very many, and those that are carried have a copy by now. */
	strv_release(&capture->status.untracked);
	strv_release(&capture->status.ignored);
	return result;
}

static int check_stamp(struct capture *capture, struct error *err)
{
	autofree char *now = NULL;
	struct timespec newest;
	bool in_progress;

	if (states_stamp(capture->request->repository, &now, &newest, &in_progress, err) < 0)
		return -1;
	if (strcmp(now, capture->stamp) == 0)
		return 0;
	capture->newest = newest;
	return capture_unstable(capture, "the index");
}

static void hash_list(struct hash *hash, const struct strv *list)
{
	hash_bytes(hash, &list->len, sizeof list->len);
	for (size_t i = 0; i < list->len; i++)
		hash_text(hash, list->items[i]);
}

static void hash_request(const struct local_request *request, struct hash *hash)
{
	const struct repository_head *head = request->head;

	hash_text(hash, "local 2");
	hash_text(hash, request->repository->top);
	hash_text(hash, request->repository->git_dir);
	hash_list(hash, request->tree);
	hash_text(hash, request->git_id);
	hash_text(hash, request->location);
	hash_text(hash, head->commit ? head->commit : "");
	hash_text(hash, head->ref ? head->ref : "");
	hash_text(hash, request->switched ? "switched" : "");
	hash_text(hash, request->wishes->branch ? request->wishes->branch : "");
}

/* Everything that decides what is in the layer. UNSTABLE. */
static int take_id(struct capture *capture, char **ret, struct error *err)
{
	struct hash hash;

	hash_init(&hash);
	hash_request(capture->request, &hash);
	int result = capture_stock(capture, &hash, err);

	if (result == 0)
		result = check_stamp(capture, err);
	if (result != 0)
		return result;
	local_index_hash(capture, &hash);
	hash_list(&hash, &capture->directories);
	hash_bytes(&hash, capture->reported.s, capture->reported.len);
	hash_list(&hash, &capture->mounted);
	for (size_t i = 0; i < capture->mounted.len; i++)
		hash_list(&hash, capture_masks(capture, i));
	/* A refreshed index is no other state; a merge in progress is told by its files. */
	hash_text(&hash, capture->in_progress ? capture->stamp : "");
	*ret = hash_id(&hash, "local");
	return 0;
}

static int fill_git(struct capture *capture, int layer, struct error *err)
{
	const struct local_request *request = capture->request;
	autofd int git = -1;

	if (!capture->in_progress && !capture->edits.count && !local_index_is_own(request) &&
	    !request->wishes->branch)
		return 0;
	if (dir_make_at(layer, "git", 0755, &git, err) < 0)
		return -1;
	if (capture->in_progress) {
		int result = states_copy(request->repository, git, err);

		if (result != 0)
			return result < 0 ? -1 : capture_unstable(capture, "what is in progress");
	}
	if (local_objects_write(capture, git, err) < 0 ||
	    local_index_write(capture, layer, git, err) < 0 || branch_write(request, git, err) < 0)
		return -1;
	return 0;
}

static json_t *describe(const struct capture *capture)
{
	const struct local_request *request = capture->request;

	return json_pack("{s:i,s:s,s:o,s:s,s:o}", "version", 1, "kind", "local", "tree",
			 json_strings(request->tree), "git", request->git_id, "carried",
			 json_strings(&capture->mounted));
}

/* UNSTABLE. */
static int make_layer(struct capture *capture, const char *id, struct error *err)
{
	automaking struct layer_making making = LAYER_MAKING_INIT;
	autofree char *after = NULL;
	int result = layer_begin(capture->request->root, id, &making, err);

	if (result != 0)
		return result < 0 ? -1 : 0;
	result = capture_files(capture, making.fd, err);
	if (result == 0)
		result = fill_git(capture, making.fd, err);
	if (result == 0 && capture->top >= 0)
		result = take_id(capture, &after, err);
	if (result == 0 && after && strcmp(after, id) != 0)
		result = capture_unstable(capture, "the work tree");
	return result == 0 ? layer_finish(&making, describe(capture), err) : result;
}

static void move_list(struct strv *from, struct strv *to)
{
	*to = *from;
	*from = (struct strv)STRV_INIT;
}

static void hand_out(struct capture *capture, char **id, struct local *ret)
{
	ret->id = steal_ptr(id);
	move_list(&capture->mounted, &ret->carried);
	move_list(&capture->carry.masked, &ret->masked);
	move_list(&capture->left_out, &ret->left_out);
}

static bool is_needed(const struct capture *capture)
{
	return capture->in_progress || capture->edits.count || capture->request->wishes->branch ||
	       local_index_is_own(capture->request) || !capture_is_empty(capture);
}

static int try_capture(struct capture *capture, struct local_status *status, struct local *ret,
		       struct error *err)
{
	autofree char *id = NULL;

	capture->top = open(capture->request->repository->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (capture->top < 0)
		return error_errno(err, "cannot open %s", capture->request->repository->top);
	if (read_status(capture, &status->process, err) < 0)
		return -1;
	int result = find_all(capture, err);

	if (result == 0)
		result = take_id(capture, &id, err);
	if (result == 0 && is_needed(capture))
		result = make_layer(capture, id, err);
	else if (result == 0)
		free(steal_ptr(&id));
	if (result == 0)
		hand_out(capture, &id, ret);
	return result;
}

/* ---- and all of them ---- */

/* Nothing of the work tree: only HEAD, a branch, the index of another commit. */
static int capture_clean(const struct local_request *request, struct local *ret, struct error *err)
{
	autocapture struct capture capture = {.request = request, .top = -1};
	struct hash hash;

	if (!local_index_is_own(request) && !request->wishes->branch)
		return 0;
	hash_init(&hash);
	hash_request(request, &hash);
	autofree char *id = hash_id(&hash, "local");

	if (make_layer(&capture, id, err) < 0)
		return -1;
	hand_out(&capture, &id, ret);
	return 0;
}

static int give_up(const struct capture *capture, struct error *err)
{
	autostr struct str shown = STR_INIT;

	str_add_escaped(&shown, capture->culprit, strlen(capture->culprit));
	error_set(err, ERR_UNSTABLE, "%s keeps changing while %s is captured", shown.s,
		  capture->request->repository->top);
	return error_hint(err, "wait until what writes it is done, or leave uncommitted work out "
			       "with --clean");
}

static int capture_all(const struct local_request *request, struct local_status *status,
		       struct local *ret, struct error *err)
{
	for (int try = 0;; try++) {
		autocapture struct capture capture = {
			.request = request,
			.try = try,
			.since = status->since,
			.top = -1,
			.stamp = status->stamp,
			.in_progress = status->in_progress,
		};
		int result = try_capture(&capture, status, ret, err);

		if (result != UNSTABLE)
			return result;
		if (try + 1 == TRIES)
			return give_up(&capture, err);
		fingerprint_wait(fingerprint_is_later(&capture.newest, &capture.since)
					 ? &capture.newest
					 : &capture.since);
		local_abandon(status);
		if (local_start(request->repository, request->wishes, status, err) < 0)
			return -1;
	}
}

int local_capture(const struct local_request *request, struct local_status *status,
		  struct local *ret, struct error *err)
{
	bool clean = request->wishes->clean || request->switched;
	autolocal struct local local = {0};
	int result = branch_check(request, err);

	if (result == 0)
		result = clean ? capture_clean(request, &local, err)
			       : capture_all(request, status, &local, err);
	local_abandon(status);
	if (result < 0)
		return -1;
	*ret = local;
	local = (struct local){0};
	return 0;
}
