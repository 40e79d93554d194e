#include "review/gc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "review/discard.h"
#include "review/judge.h"
#include "store/collect.h"

void gc_result_release(struct gc_result *result)
{
	for (size_t i = 0; i < result->count; i++) {
		free(result->items[i].name);
		free(result->items[i].reason);
	}
	free(result->items);
	*result = (struct gc_result){0};
}

struct candidates {
	struct candidate *items;
	size_t count;
};

static void candidates_release(struct candidates *candidates)
{
	for (size_t i = 0; i < candidates->count; i++) {
		free(candidates->items[i].name);
		free(candidates->items[i].held);
	}
	free(candidates->items);
}
#define autocandidates __attribute__((cleanup(candidates_release)))

/* Looking. */

static char *first_line(struct error *err)
{
	char *text = steal_ptr(&err->message);

	error_clear(err);
	return text;
}

/* Whether it runs, is mounted, or cannot be looked at: then why. */
static char *why_held(const struct root *root, const struct sandbox *sandbox,
		      struct candidate *candidate)
{
	autoglance struct glance glance = {0};
	autoerror struct error failure = ERROR_INIT;
	enum sandbox_state state;

	if (sandbox_state(sandbox, &state, &failure) < 0 ||
	    glance_at(root, sandbox, &glance, &failure) < 0)
		return first_line(&failure);
	candidate->bytes = glance.survey.usage.bytes;
	candidate->used = glance.survey.used;
	candidate->seen = glance.survey.used;
	candidate->has_run = state != SANDBOX_CREATED;
	if (state == SANDBOX_RUNNING)
		return xstrdup("it is running");
	if (refuse_mounted(sandbox, &failure) < 0 ||
	    work_judge(root, sandbox, &glance, false, &candidate->work, &failure) < 0)
		return first_line(&failure);
	/* To read a closed file it is opened and closed again, and that leaves a time. */
	if (glance.work == WORK_UNPERSISTED) {
		glance_release(&glance);
		if (glance_at(root, sandbox, &glance, &failure) < 0)
			return first_line(&failure);
		candidate->seen = glance.survey.used;
	}
	return NULL;
}

static int look_at(const struct root *root, const char *name, struct candidates *ret,
		   struct error *err)
{
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error failure = ERROR_INIT;
	struct candidate candidate = {.work = WORK_UNPERSISTED};

	if (sandbox_open(root, name, &sandbox, &failure) < 0) {
		/* Removed since it was listed. */
		if (failure.code == ERR_NOT_FOUND ||
		    faccessat(root->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			return 0;
		error_set(err, ERR_CORRUPT, "nothing is removed: %s", failure.message);
		return failure.hint ? error_hint(err, "%s", failure.hint) : -1;
	}
	candidate.held = why_held(root, &sandbox, &candidate);
	candidate.name = xstrdup(name);
	ret->items[ret->count++] = candidate;
	return 0;
}

static int look(const struct root *root, struct candidates *ret, struct error *err)
{
	autostrv struct strv names = STRV_INIT;

	if (sandbox_names(root, &names, err) < 0)
		return -1;
	ret->items = xcalloc(names.len + 1, sizeof *ret->items);
	for (size_t i = 0; i < names.len; i++)
		if (look_at(root, names.items[i], ret, err) < 0)
			return -1;
	return 0;
}

/* Removing. */

static void add_item(struct gc_result *result, struct gc_item item)
{
	result->items = xreallocarray(result->items, result->count + 1, sizeof *result->items);
	result->items[result->count++] = item;
	if (!item.kept)
		result->bytes += item.bytes;
}

/* It may have been used since it was chosen. */
static int check_still(void *data, const struct root *root, const struct sandbox *sandbox,
		       struct error *err)
{
	const struct candidate *candidate = data;
	autoglance struct glance glance = {0};
	enum work work;

	if (glance_at(root, sandbox, &glance, err) < 0 ||
	    work_judge(root, sandbox, &glance, true, &work, err) < 0)
		return -1;
	/* Of one that has never run the lease is as new as this look. */
	bool used = candidate->has_run &&
		    memcmp(&glance.survey.used, &candidate->seen, sizeof candidate->seen) != 0;

	if (work > candidate->work || used)
		return error_set(err, ERR_RUNNING, "it was used meanwhile");
	return 0;
}

static void remove_candidate(const struct root *root, const struct gc_request *request,
			     struct candidate *candidate, struct gc_result *result)
{
	autoerror struct error failure = ERROR_INIT;
	autostrv struct strv layers = STRV_INIT;
	struct gc_item item = {
		.is_sandbox = true, .name = xstrdup(candidate->name), .bytes = candidate->bytes};

	if (!request->dry_run && discard_sandbox(root, candidate->name, false, check_still,
						 candidate, &layers, &failure) < 0) {
		/* Somebody else was quicker. */
		if (failure.code == ERR_NOT_FOUND) {
			free(item.name);
			return;
		}
		item.kept = true;
	}
	item.reason = item.kept ? first_line(&failure) : xstrdup(candidate->reason);
	add_item(result, item);
}

static void remove_candidates(const struct root *root, const struct gc_request *request,
			      struct candidates *candidates, struct gc_result *result)
{
	for (size_t i = 0; i < candidates->count; i++) {
		struct candidate *candidate = &candidates->items[i];

		if (candidate->removed)
			remove_candidate(root, request, candidate, result);
		else if (candidate->reason)
			add_item(result, (struct gc_item){.is_sandbox = true,
							  .name = xstrdup(candidate->name),
							  .bytes = candidate->bytes,
							  .reason = xstrdup(candidate->reason),
							  .kept = true});
	}
}

static int remove_layers(const struct root *root, const struct gc_request *request,
			 const struct candidates *candidates, struct gc_result *result,
			 struct error *err)
{
	autocollection struct collection collection = {0};
	autostrv struct strv gone = STRV_INIT;

	for (size_t i = 0; i < candidates->count; i++)
		if (candidates->items[i].removed)
			strv_add(&gone, candidates->items[i].name);
	if (request->dry_run ? collect_without(root, &gone, &collection, err) < 0
			     : collect(root, NULL, false, &collection, err) < 0)
		return -1;
	for (size_t i = 0; i < collection.count; i++) {
		const struct collected *layer = &collection.items[i];

		add_item(result,
			 (struct gc_item){.name = xstrdup(layer->id),
					  .bytes = layer->bytes,
					  .reason = xstrdup(layer->kept ? layer->kept
									: "no sandbox uses it"),
					  .kept = layer->kept != NULL});
	}
	return 0;
}

static int measure(const struct root *root, uint64_t *ret, struct error *err)
{
	autousage struct store_usage usage = {0};

	if (store_usage(root, &usage, err) < 0)
		return -1;
	*ret = store_usage_total(&usage).bytes;
	return 0;
}

static int plan_cap(const struct root *root, const struct gc_request *request, time_t now,
		    struct candidates *candidates, uint64_t *ret_disk, struct error *err)
{
	autousage struct store_usage usage = {0};

	if (store_usage(root, &usage, err) < 0)
		return -1;
	*ret_disk = gc_plan_cap(request, now, &usage, candidates->items, candidates->count);
	return 0;
}

int gc(const struct root *root, const struct gc_request *request, struct gc_result *ret,
       struct error *err)
{
	autogc struct gc_result result = {0};
	autocandidates struct candidates candidates = {0};
	time_t now = time(NULL);

	if (look(root, &candidates, err) < 0)
		return -1;
	gc_plan(request, now, candidates.items, candidates.count);
	if (request->capped && plan_cap(root, request, now, &candidates, &result.disk, err) < 0)
		return -1;
	remove_candidates(root, request, &candidates, &result);
	if (remove_layers(root, request, &candidates, &result, err) < 0 ||
	    (request->capped && !request->dry_run && measure(root, &result.disk, err) < 0))
		return -1;
	*ret = result;
	result = (struct gc_result){0};
	return 0;
}
