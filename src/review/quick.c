#include "review/quick.h"

#include <string.h>

#include "base/memory.h"
#include "base/str.h"
#include "review/changes.h"
#include "review/host-refs.h"
#include "review/marks.h"
#include "review/memo.h"

const char *work_name(enum work work)
{
	static const char *const names[] = {"none", "persisted", "unpersisted"};

	return names[work];
}

void glance_release(struct glance *glance)
{
	view_survey_release(&glance->survey);
}

/*
 * Whether all the layers are those of the moment of its creation. Others hold work of their own,
 * of this sandbox or of the one that it was made from.
 */
static bool stands_on_snapshot(const struct sandbox *sandbox)
{
	return !sandbox->states.len && !sandbox_keeps_others(sandbox);
}

/* What the memo says of a repository still holds on the host. */
static bool holds(const struct memo_repo *repo)
{
	for (size_t i = 0; i < repo->ref_count; i++)
		if (!host_ref_is(repo->host, repo->refs[i].ref, repo->refs[i].oid))
			return false;
	return !repo->applied || memo_stands(repo);
}

static bool is_persisted(const struct sandbox *sandbox, const struct memo *memo,
			 const struct view_survey *survey, bool snapshot)
{
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];
		const struct memo_repo *noted = memo_find_repo(memo, repo->name);
		bool changed = !snapshot || survey->repos[i].tree || survey->repos[i].git;

		if (noted ? strcmp(noted->host, repo->host) != 0 || !holds(noted) : changed)
			return false;
	}
	return true;
}

int glance_at(const struct root *root, const struct sandbox *sandbox, struct glance *ret,
	      struct error *err)
{
	automarks struct marks marks = {0};
	automemo struct memo memo = MEMO_INIT;
	autosurvey struct view_survey survey = {0};
	bool noted = memo_read(sandbox, &memo);

	if (view_survey(sandbox, noted ? marks_add : NULL, &marks, &survey, err) < 0)
		return -1;
	changes_correct(root, sandbox, &survey);
	bool snapshot = stands_on_snapshot(sandbox);
	enum work work = WORK_UNPERSISTED;

	if (snapshot && !survey.changes.tree && !survey.changes.git) {
		work = WORK_NONE;
	} else if (noted && !sandbox_keeps_others(sandbox)) {
		autofree char *fingerprint = marks_end(&marks, sandbox);

		if (strcmp(fingerprint, memo.fingerprint) == 0 &&
		    is_persisted(sandbox, &memo, &survey, snapshot))
			work = WORK_PERSISTED;
	}
	*ret = (struct glance){survey, work};
	survey = (struct view_survey){0};
	return 0;
}

int work_quick(const struct root *root, const struct sandbox *sandbox, enum work *ret,
	       struct error *err)
{
	autoglance struct glance glance = {0};

	if (glance_at(root, sandbox, &glance, err) < 0)
		return -1;
	*ret = glance.work;
	return 0;
}
