#include "review/merge.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "review/host-path.h"
#include "review/merge-parts.h"

const char *verdict_name(enum verdict_kind kind)
{
	static const char *const names[] = {
		[VERDICT_SAME] = "same",
		[VERDICT_TAKE] = "take",
		[VERDICT_MERGED] = "merged",
		[VERDICT_CONFLICT] = "conflict",
	};

	return names[kind];
}

int merge_conflict(struct verdict *verdict, const char *fmt, ...)
{
	va_list args;
	char *reason;

	va_start(args, fmt);
	if (vasprintf(&reason, fmt, args) < 0)
		abort();
	va_end(args);
	free(verdict->reason);
	verdict->reason = reason;
	verdict->kind = VERDICT_CONFLICT;
	verdict->source = SOURCE_NONE;
	verdict->markers = false;
	verdict->conflicts = 0;
	return 0;
}

static bool is_version(const struct content *content)
{
	return content->kind == CONTENT_ABSENT || content->kind == CONTENT_FILE ||
	       content->kind == CONTENT_LINK;
}

static int look_at_side(const struct side *side, const char *path, struct content *ret,
			struct error *err)
{
	enum content_kind kind = side->kind == SIDE_FILE   ? CONTENT_FILE
				 : side->kind == SIDE_LINK ? CONTENT_LINK
							   : CONTENT_ABSENT;

	if (kind == CONTENT_ABSENT) {
		*ret = (struct content){.kind = kind};
		return 0;
	}
	if (content_look(side->dirfd, side->path, ret, err) < 0)
		return -1;
	if (ret->kind != kind && ret->kind != CONTENT_UNREADABLE) {
		autostr struct str safe = STR_INIT;

		str_add_escaped(&safe, path, strlen(path));
		return error_set(err, ERR_UNSTABLE, "a version of %s is %s by now", safe.s,
				 content_kind_text(ret));
	}
	ret->executable = kind == CONTENT_FILE && side->executable;
	return 0;
}

static int take(struct verdict *verdict)
{
	verdict->kind = VERDICT_TAKE;
	verdict->result = verdict->theirs;
	verdict->source = verdict->theirs.kind == CONTENT_ABSENT ? SOURCE_NONE : SOURCE_THEIRS;
	return 0;
}

static int same(struct verdict *verdict)
{
	verdict->kind = VERDICT_SAME;
	verdict->result = verdict->host;
	return 0;
}

/* Three regular files: bytes and executable bit, each three-way. */
static int merge_files(const struct merge *merge, struct verdict *verdict, struct error *err)
{
	const struct content *base = &verdict->base;
	const struct content *host = &verdict->host;
	const struct content *theirs = &verdict->theirs;
	bool executable =
		host->executable == base->executable ? theirs->executable : host->executable;

	verdict->kind = VERDICT_MERGED;
	if (content_same_bytes(host, theirs) || content_same_bytes(base, theirs)) {
		verdict->result = *host;
		verdict->source = SOURCE_HOST;
	} else if (content_same_bytes(host, base)) {
		verdict->result = *theirs;
		verdict->source = SOURCE_THEIRS;
	} else if (merge_text(merge, verdict, executable, err) < 0) {
		return -1;
	}
	verdict->result.executable = executable;
	if (verdict->kind == VERDICT_MERGED && !verdict->change->from &&
	    content_equal(&verdict->result, host))
		return same(verdict);
	return 0;
}

/* Two versions that do not go together. */
static int disagree(struct verdict *verdict)
{
	verdict->sided = true;
	if (verdict->base.kind == CONTENT_ABSENT)
		return merge_conflict(verdict, "both have added it, the host as %s that differs",
				      content_kind_text(&verdict->host));
	if (verdict->host.kind == CONTENT_ABSENT)
		return merge_conflict(verdict, "deleted on the host, changed in the sandbox");
	if (verdict->theirs.kind == CONTENT_ABSENT)
		return merge_conflict(verdict, "changed on the host, deleted in the sandbox");
	if (verdict->host.kind != verdict->theirs.kind)
		return merge_conflict(verdict, "%s on the host, %s in the sandbox",
				      content_kind_text(&verdict->host),
				      content_kind_text(&verdict->theirs));
	return merge_conflict(verdict, "%s, and changed on both sides",
			      content_kind_text(&verdict->host));
}

static bool are_files(const struct verdict *verdict)
{
	return verdict->base.kind == CONTENT_FILE && verdict->host.kind == CONTENT_FILE &&
	       verdict->theirs.kind == CONTENT_FILE;
}

static int decide_plain(const struct merge *merge, struct verdict *verdict, struct error *err)
{
	if (content_equal(&verdict->host, &verdict->theirs) ||
	    content_equal(&verdict->base, &verdict->theirs))
		return same(verdict);
	if (content_equal(&verdict->host, &verdict->base))
		return take(verdict);
	if (are_files(verdict))
		return merge_files(merge, verdict, err);
	return disagree(verdict);
}

/* What the host has at a path is in the way of any version. */
static int conflict_with_host(struct verdict *verdict, const struct content *host)
{
	if (host->kind == CONTENT_UNREADABLE)
		return merge_conflict(verdict, "cannot be read on the host: %s",
				      strerror(host->number));
	return merge_conflict(verdict, "on the host it is %s", content_kind_text(host));
}

/*
 * What the host has at `path`; 1 when that makes it a conflict. What the merge itself removes does
 * not count.
 */
static int look_at_target(const struct merge *merge, struct verdict *verdict, struct content *ret,
			  struct error *err)
{
	const char *path = verdict->change->path;

	if (content_look(merge->top, path, ret, err) < 0)
		return -1;
	if (is_version(ret))
		return 0;
	int clear = merge_way_is_clear(merge, path, ret, err);

	if (clear == 0 && verdict->theirs.kind == CONTENT_ABSENT)
		clear = merge_is_replaced(merge, path, ret, err);
	if (clear < 0)
		return -1;
	if (!clear) {
		conflict_with_host(verdict, ret);
		return 1;
	}
	*ret = (struct content){.kind = CONTENT_ABSENT};
	verdict->cleared = true;
	return 0;
}

static int decide_rename(const struct merge *merge, struct verdict *verdict,
			 const struct content *target, struct error *err)
{
	const struct change *change = verdict->change;
	autostr struct str from = STR_INIT;

	if (content_look(merge->top, change->from, &verdict->host, err) < 0)
		return -1;
	str_add_escaped(&from, change->from, strlen(change->from));
	if (!is_version(&verdict->host))
		return conflict_with_host(verdict, &verdict->host);
	if (verdict->host.kind == CONTENT_ABSENT && content_equal(target, &verdict->theirs))
		return same(verdict);
	if (target->kind != CONTENT_ABSENT)
		return merge_conflict(verdict, "renamed from %s, but the host has %s there", from.s,
				      content_kind_text(target));
	if (verdict->host.kind == CONTENT_ABSENT) {
		verdict->sided = true;
		return merge_conflict(verdict, "renamed from %s, which the host has no more",
				      from.s);
	}
	if (content_equal(&verdict->host, &verdict->base))
		return take(verdict);
	if (are_files(verdict))
		return merge_files(merge, verdict, err);
	return disagree(verdict);
}

static int decide(const struct merge *merge, const struct merge_request *request,
		  struct verdict *verdict, struct error *err)
{
	const struct change *change = verdict->change;
	const char *top = request->repository->top;
	const char *refusal = host_path_refusal(top, change->path);
	struct content target;

	if (!refusal && change->from)
		refusal = host_path_refusal(top, change->from);
	if (refusal)
		return merge_conflict(verdict, "%s", refusal);
	if (look_at_side(&change->base, change->path, &verdict->base, err) < 0 ||
	    look_at_side(&change->theirs, change->path, &verdict->theirs, err) < 0)
		return -1;
	if (change->from &&
	    (change->base.kind == SIDE_ABSENT || change->theirs.kind == SIDE_ABSENT))
		return error_set(err, ERR_CORRUPT, "a rename needs what was renamed");
	const struct content *unreadable =
		verdict->base.kind == CONTENT_UNREADABLE ? &verdict->base : &verdict->theirs;

	if (unreadable->kind == CONTENT_UNREADABLE)
		return merge_conflict(verdict, "cannot be read in the sandbox: %s",
				      strerror(unreadable->number));
	int result = look_at_target(merge, verdict, &target, err);

	if (result != 0)
		return result < 0 ? -1 : 0;
	if (change->from)
		return decide_rename(merge, verdict, &target, err);
	verdict->host = target;
	return decide_plain(merge, verdict, err);
}

/* A path that needs others to go is a conflict when one of these is, and so on. */
static int settle_cleared(struct merge *merge, struct error *err)
{
	merge->decided = true;
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < merge->count; i++) {
			struct verdict *verdict = &merge->items[i];
			struct content host;

			if (!verdict->cleared || verdict->kind == VERDICT_CONFLICT ||
			    verdict->kind == VERDICT_SAME)
				continue;
			if (content_peek(merge->top, verdict->change->path, &host, err) < 0)
				return -1;
			int clear = merge_way_is_clear(merge, verdict->change->path, &host, err);

			if (clear < 0)
				return -1;
			if (clear)
				continue;
			conflict_with_host(verdict, &host);
			verdict->sided = false;
			again = true;
		}
	}
	return 0;
}

static int decide_all(struct merge *merge, const struct merge_request *request, struct error *err)
{
	const char *twice;

	if (merge_list_leaving(merge, &twice) > 0) {
		autostr struct str safe = STR_INIT;

		str_add_escaped(&safe, twice, strlen(twice));
		return error_set(err, ERR_CORRUPT, "%s is changed twice", safe.s);
	}
	for (size_t i = 0; i < merge->count; i++) {
		if (decide(merge, request, &merge->items[i], err) < 0) {
			autostr struct str safe = STR_INIT;
			const char *path = merge->items[i].change->path;

			str_add_escaped(&safe, path, strlen(path));
			return error_wrap(err, "cannot merge %s", safe.s);
		}
	}
	if (settle_cleared(merge, err) < 0)
		return -1;
	for (size_t i = 0; i < merge->count; i++)
		merge->conflicts += merge->items[i].kind == VERDICT_CONFLICT;
	return 0;
}

static int open_places(struct merge *merge, const struct merge_request *request, struct error *err)
{
	autofree char *scratch = xasprintf("%s/merge-XXXXXX", request->scratch);

	merge->top = open(request->repository->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (merge->top < 0)
		return error_errno(err, "cannot open %s", request->repository->top);
	merge->scratch_above = open(request->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (merge->scratch_above < 0)
		return error_errno(err, "cannot open %s", request->scratch);
	if (!mkdtemp(scratch))
		return error_errno(err, "cannot create a directory in %s", request->scratch);
	merge->scratch = steal_ptr(&scratch);
	merge->scratch_fd = open_beneath(merge->scratch_above, path_last(merge->scratch),
					 O_RDONLY | O_DIRECTORY, 0);
	if (merge->scratch_fd < 0)
		return error_errno(err, "cannot open %s", merge->scratch);
	return 0;
}

int merge_make(const struct merge_request *request, struct merge *ret, struct error *err)
{
	automerge struct merge merge = MERGE_INIT;

	merge.name = xstrdup(request->name);
	merge.items = xcalloc(request->count + 1, sizeof *merge.items);
	merge.count = request->count;
	for (size_t i = 0; i < merge.count; i++)
		merge.items[i].change = &request->changes[i];
	if (open_places(&merge, request, err) < 0 || decide_all(&merge, request, err) < 0)
		return -1;
	*ret = merge;
	merge = (struct merge)MERGE_INIT;
	return 0;
}

void merge_release(struct merge *merge)
{
	for (size_t i = 0; i < merge->count; i++)
		free(merge->items[i].reason);
	free(merge->items);
	free(merge->leaving);
	free(merge->name);
	fd_close(&merge->top);
	fd_close(&merge->scratch_fd);
	if (merge->scratch)
		tree_remove_at(merge->scratch_above, path_last(merge->scratch), NULL);
	fd_close(&merge->scratch_above);
	free(merge->scratch);
	*merge = (struct merge)MERGE_INIT;
}
