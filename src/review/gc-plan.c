#include "review/gc-plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static time_t age_of(const struct candidate *candidate, time_t now)
{
	/* One from the future, after the clock was set back, is new. */
	return candidate->used.tv_sec > now ? 0 : now - candidate->used.tv_sec;
}

static const char *reason_of(enum work work)
{
	static const char *const reasons[] = {
		[WORK_NONE] = "no changes",
		[WORK_PERSISTED] = "its work is on the host",
		[WORK_UNPERSISTED] = "unpersisted work is discarded",
	};

	return reasons[work];
}

static void choose(struct candidate *candidate)
{
	candidate->removed = true;
	candidate->reason = reason_of(candidate->work);
}

void gc_plan(const struct gc_request *request, time_t now, struct candidate *candidates,
	     size_t count)
{
	time_t limit = request->aged ? request->older_than : GC_GRACE;

	for (size_t i = 0; i < count; i++) {
		struct candidate *candidate = &candidates[i];

		if (candidate->held || age_of(candidate, now) < limit)
			continue;
		if (candidate->work == WORK_NONE ||
		    (request->aged && (candidate->work == WORK_PERSISTED || request->force)))
			choose(candidate);
		else if (request->aged)
			candidate->reason = "it holds unpersisted work";
	}
}

/* Which are removed to make room, and in which order: 0 is never. */
static int rank_of(const struct gc_request *request, time_t now, const struct candidate *candidate)
{
	time_t grace =
		request->aged && request->older_than < GC_GRACE ? request->older_than : GC_GRACE;
	time_t age = age_of(candidate, now);

	if (candidate->removed || candidate->held || age < grace)
		return 0;
	switch (candidate->work) {
	case WORK_NONE:
		return 1;
	case WORK_PERSISTED:
		return 2;
	case WORK_UNPERSISTED:
		break;
	}
	return request->force && request->aged && age >= request->older_than ? 3 : 0;
}

static bool is_earlier(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

static struct candidate *next_of(const struct gc_request *request, time_t now,
				 struct candidate *candidates, size_t count)
{
	struct candidate *best = NULL;
	int best_rank = 0;

	for (size_t i = 0; i < count; i++) {
		struct candidate *candidate = &candidates[i];
		int rank = rank_of(request, now, candidate);

		if (rank && (!best || rank < best_rank ||
			     (rank == best_rank && is_earlier(&candidate->used, &best->used)))) {
			best = candidate;
			best_rank = rank;
		}
	}
	return best;
}

/* What is left while one after the other is taken away. */
struct rest {
	const struct store_usage *usage;
	size_t *users; /* of each layer */
	uint64_t bytes;
};

static int compare_id(const void *key, const void *layer)
{
	return strcmp(key, ((const struct layer_usage *)layer)->id);
}

static int compare_name(const void *key, const void *sandbox)
{
	return strcmp(key, ((const struct sandbox_usage *)sandbox)->name);
}

/* Counts a sandbox in, or out; with it go the layers that nobody else uses. */
static void count_sandbox(struct rest *rest, const struct sandbox_usage *sandbox, bool in)
{
	rest->bytes += in ? sandbox->own.bytes : -sandbox->own.bytes;
	for (size_t i = 0; i < sandbox->layers.len; i++) {
		const struct layer_usage *layer =
			bsearch(sandbox->layers.items[i], rest->usage->layers,
				rest->usage->layer_count, sizeof *layer, compare_id);

		if (!layer)
			continue;
		size_t *users = &rest->users[layer - rest->usage->layers];

		if (in && (*users)++ == 0)
			rest->bytes += layer->own.bytes;
		else if (!in && --*users == 0)
			rest->bytes -= layer->own.bytes;
	}
}

static void take_away(struct rest *rest, const struct candidate *candidate)
{
	const struct store_usage *usage = rest->usage;
	const struct sandbox_usage *sandbox =
		bsearch(candidate->name, usage->sandboxes, usage->sandbox_count, sizeof *sandbox,
			compare_name);

	if (sandbox)
		count_sandbox(rest, sandbox, false);
}

static void say_why_kept(struct candidate *candidates, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct candidate *candidate = &candidates[i];

		if (candidate->removed || candidate->reason)
			continue;
		candidate->reason = candidate->held ? candidate->held
				    : candidate->work == WORK_UNPERSISTED
					    ? "it holds unpersisted work"
					    : "it was used just now";
	}
}

uint64_t gc_plan_cap(const struct gc_request *request, time_t now, const struct store_usage *usage,
		     struct candidate *candidates, size_t count)
{
	autofree size_t *users = xcalloc(usage->layer_count + 1, sizeof *users);
	struct rest rest = {usage, users, usage->other.bytes};
	struct candidate *next;

	for (size_t i = 0; i < usage->sandbox_count; i++)
		count_sandbox(&rest, &usage->sandboxes[i], true);
	for (size_t i = 0; i < count; i++)
		if (candidates[i].removed)
			take_away(&rest, &candidates[i]);
	while (rest.bytes > request->max_disk &&
	       (next = next_of(request, now, candidates, count))) {
		choose(next);
		take_away(&rest, next);
	}
	if (rest.bytes > request->max_disk)
		say_why_kept(candidates, count);
	return rest.bytes;
}
