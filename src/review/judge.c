#include "review/judge.h"

#include <string.h>
#include <sys/wait.h>

#include "base/memory.h"
#include "git/git.h"
#include "review/memo.h"
#include "review/persist.h"
#include "review/tips.h"
#include "review/viewer.h"

/* A ref of the host's that reaches a commit, "OID NAME"; 1 when there is none. */
static int find_ref(const char *host, const char *oid, struct str *ret, struct error *err)
{
	const char *const args[] = {
		"for-each-ref", "--count=1", "--format=%(objectname) %(refname)",
		"--contains",	oid,	     NULL};
	const char *const points[] = {
		"for-each-ref", "--count=1", "--format=%(objectname) %(refname)",
		"--points-at",	oid,	     NULL};
	const struct git_place place = {.directory = host};
	struct process process = PROCESS_INIT;
	int status;

	for (int i = 0; i < 2; i++) {
		/* Something that is no commit, as a tag, is only pointed at. */
		if (git_start(&place, i ? points : args, &process, err) < 0 ||
		    git_finish(&process, ret, &status, NULL, err) < 0)
			return -1;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && ret->len)
			return 0;
		str_clear(ret);
	}
	return 1;
}

static int judge_items(const struct sandbox_repo *repo, const struct persist_result *found,
		       const struct memo_repo *noted, struct memo_repo *memo, enum work *ret,
		       struct error *err)
{
	/* What was applied came as files: then the commits of that branch have served. */
	bool applied = noted && noted->applied && noted->tree &&
		       strcmp(noted->tree, found->state.now) == 0 && memo_stands(noted);
	const char *head = found->state.head.ref ? found->state.head.ref : "HEAD";

	*ret = applied ? WORK_PERSISTED : WORK_NONE;
	if (applied)
		memo_copy_applied(noted, memo);
	for (size_t i = 0; i < found->count; i++) {
		if (applied && strcmp(found->items[i].source, head) == 0)
			continue;
		autostr struct str ref = STR_INIT;
		int result = find_ref(repo->host, found->items[i].new_oid, &ref, err);

		if (result < 0)
			return -1;
		if (result == 1) {
			*ret = WORK_UNPERSISTED;
			return 0;
		}
		char *space = strchr(ref.s, ' ');

		*ret = WORK_PERSISTED;
		if (!space)
			continue;
		*space = '\0';
		space[1 + strcspn(space + 1, "\n")] = '\0';
		memo_add_ref(memo, space + 1, ref.s);
	}
	return 0;
}

static int judge_repo(struct viewer *viewer, size_t i, const struct memo *before, struct memo *memo,
		      enum work *ret, struct error *err)
{
	const struct persist_wishes all = {.tags = true, .notes = true, .stash = true};
	const struct sandbox_repo *repo = &viewer->sandbox->repos[i];
	autopersist struct persist_result found = {0};

	if (tips_find(viewer, i, &all, &found, err) < 0)
		return -1;
	if (state_left_work(&found.state)) {
		*ret = WORK_UNPERSISTED;
		return 0;
	}
	return judge_items(repo, &found, memo_find_repo(before, repo->name),
			   memo_add_repo(memo, repo->name, repo->host), ret, err);
}

static int judge(struct viewer *viewer, enum work *ret, struct error *err)
{
	automemo struct memo before = MEMO_INIT, memo = MEMO_INIT;
	enum work work = WORK_NONE;

	memo_read(viewer->sandbox, &before);
	if (memo_fingerprint(viewer->sandbox, &memo.fingerprint, err) < 0)
		return -1;
	for (size_t i = 0; i < viewer->sandbox->repo_count && work != WORK_UNPERSISTED; i++) {
		enum work one = WORK_UNPERSISTED;

		if (judge_repo(viewer, i, &before, &memo, &one, err) < 0)
			return -1;
		if (one > work)
			work = one;
	}
	/* What has changed is ignored, or has been taken back: still, it is not as it was. */
	if (work == WORK_NONE)
		work = WORK_PERSISTED;
	/* The next glance knows it too. */
	if (work == WORK_PERSISTED && memo_write(viewer->sandbox, &memo, err) < 0)
		return -1;
	*ret = work;
	return 0;
}

int work_judge(const struct root *root, const struct sandbox *sandbox, const struct glance *glance,
	       bool leased, enum work *ret, struct error *err)
{
	autoviewer struct viewer viewer = VIEWER_INIT;
	autoerror struct error unknown = ERROR_INIT;
	enum sandbox_state state;

	*ret = glance->work;
	/* What only a checkpoint shows no viewer will look at. */
	if (glance->work != WORK_UNPERSISTED || sandbox_keeps_others(sandbox))
		return 0;
	if (!leased && (sandbox_state(sandbox, &state, err) < 0))
		return -1;
	if (!leased && state == SANDBOX_RUNNING)
		return 0;
	if (viewer_open(root, sandbox, leased, &viewer, &unknown) == 0 && !viewer.frozen)
		judge(&viewer, ret, &unknown);
	return 0;
}
