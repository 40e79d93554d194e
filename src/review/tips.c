#include "review/tips.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { OUTPUT_MAX = 64 << 20 };

static const char heads[] = "refs/heads/";

static struct persisted *add(struct persist_result *result, const char *source, const char *oid,
			     size_t commits)
{
	result->items = xreallocarray(result->items, result->count + 1, sizeof *result->items);
	struct persisted *item = &result->items[result->count++];

	*item = (struct persisted){.source = xstrdup(source), .commits = commits};
	memcpy(item->new_oid, oid, strlen(oid) + 1);
	return item;
}

/* How many commits there are that the sandbox did not start with. */
static int count_commits(struct viewer *viewer, size_t repo, const struct state *state,
			 const char *oid, size_t *ret, struct error *err)
{
	const char *const args[] = {"rev-list", "--count", "--ignore-missing", "--stdin", NULL};
	struct viewer_call call = {.repo = repo, .place = VIEWER_BARE, .args = args};
	autostr struct str input = STR_INIT, output = STR_INIT;

	str_addf(&input, "%s\n", oid);
	if (*state->base)
		str_addf(&input, "^%s\n", state->base);
	for (size_t i = 0; i < state->refs_then.count; i++)
		str_addf(&input, "^%s\n", state->refs_then.items[i].oid);
	if (viewer_run(viewer, &call, &input, OUTPUT_MAX, &output, NULL, err) < 0)
		return error_wrap(err, "cannot count the commits of %s", oid);
	*ret = strtoul(output.s, NULL, 10);
	return 0;
}

static bool is_moved(const struct state *state, const struct ref *ref)
{
	const struct ref *then = refs_find(&state->refs_then, ref->name);

	return !then || strcmp(then->oid, ref->oid) != 0;
}

static bool is_wanted(const struct persist_wishes *wishes, const char *branch)
{
	if (!wishes->branches || !wishes->branches->len)
		return true;
	for (size_t i = 0; i < wishes->branches->len; i++)
		if (strcmp(wishes->branches->items[i], branch) == 0)
			return true;
	return false;
}

static int add_branches(struct viewer *viewer, size_t repo, const struct persist_wishes *wishes,
			struct persist_result *ret, struct error *err)
{
	const struct state *state = &ret->state;

	for (size_t i = 0; i < state->refs.count; i++) {
		const struct ref *ref = &state->refs.items[i];
		size_t commits;

		if (!str_starts(ref->name, heads) || !is_moved(state, ref))
			continue;
		if (count_commits(viewer, repo, state, ref->oid, &commits, err) < 0)
			return -1;
		if (!commits)
			continue;
		if (is_wanted(wishes, ref->name + strlen(heads)))
			add(ret, ref->name, ref->oid, commits);
		else
			ret->whole = false;
	}
	return 0;
}

static bool has_branch(const struct state *state, const char *branch)
{
	autofree char *name = xasprintf("%s%s", heads, branch);

	return refs_find(&state->refs, name) || (!state->head.ref && strcmp(branch, "HEAD") == 0);
}

static int check_wanted(const struct viewer *viewer, const struct persist_wishes *wishes,
			const struct state *state, struct error *err)
{
	for (size_t i = 0; wishes->branches && i < wishes->branches->len; i++) {
		if (!has_branch(state, wishes->branches->items[i]))
			return error_set(err, ERR_NOT_FOUND, "the sandbox %s has no branch %s",
					 viewer->sandbox->name, wishes->branches->items[i]);
	}
	return 0;
}

/* Whether the branches that come have a commit. */
static int is_reached(struct viewer *viewer, size_t repo, const struct persist_result *result,
		      const char *oid, bool *ret, struct error *err)
{
	const char *const args[] = {"rev-list", "--max-count=1", "--ignore-missing", "--stdin",
				    NULL};
	struct viewer_call call = {.repo = repo, .place = VIEWER_BARE, .args = args};
	autostr struct str input = STR_INIT, output = STR_INIT;

	str_addf(&input, "%s\n", oid);
	for (size_t i = 0; i < result->count; i++)
		str_addf(&input, "^%s\n", result->items[i].new_oid);
	if (viewer_run(viewer, &call, &input, OUTPUT_MAX, &output, NULL, err) < 0)
		return error_wrap(err, "cannot find out which branches have %s", oid);
	*ret = output.len == 0;
	return 0;
}

/* Where HEAD is: a branch, or commits that no branch has. */
static int add_head(struct viewer *viewer, size_t repo, const struct persist_wishes *wishes,
		    struct persist_result *ret, struct persisted **ret_head, struct error *err)
{
	const struct state *state = &ret->state;
	const char *source = state->head.ref ? state->head.ref : "HEAD";
	bool reached = false;
	size_t commits = 0;

	*ret_head = NULL;
	for (size_t i = 0; i < ret->count; i++)
		if (strcmp(ret->items[i].source, source) == 0)
			*ret_head = &ret->items[i];
	if (*ret_head || state->head.ref || !*state->head.oid)
		return 0;
	if (count_commits(viewer, repo, state, state->head.oid, &commits, err) < 0)
		return -1;
	if (commits && is_reached(viewer, repo, ret, state->head.oid, &reached, err) < 0)
		return -1;
	if (!commits || reached)
		return 0;
	if (is_wanted(wishes, "HEAD"))
		*ret_head = add(ret, "HEAD", state->head.oid, commits);
	else
		ret->whole = false;
	return 0;
}

/* Uncommitted work. */

static const char *identity(const struct config *config, const char *key, const char *fallback)
{
	const char *value = config_value(config, key);

	return value && *value ? value : fallback;
}

static int commit(struct viewer *viewer, size_t repo, const struct state *state,
		  char ret[OID_HEX_MAX + 1], struct error *err)
{
	const struct config *config = &viewer->config;
	autofree char *name = xasprintf("GIT_AUTHOR_NAME=%s", identity(config, "user.name", "jib"));
	autofree char *email =
		xasprintf("GIT_AUTHOR_EMAIL=%s", identity(config, "user.email", "jib@localhost"));
	/* All of it may have been carried: then it is as old as the sandbox. */
	autofree char *date = state->newest ? xasprintf("@%ld +0000", state->newest)
					    : xstrdup(viewer->sandbox->created);
	autofree char *author_date = xasprintf("GIT_AUTHOR_DATE=%s", date);
	autofree char *committer_date = xasprintf("GIT_COMMITTER_DATE=%s", date);
	const char *const env[] = {name,
				   email,
				   "GIT_COMMITTER_NAME=jib",
				   "GIT_COMMITTER_EMAIL=jib@localhost",
				   author_date,
				   committer_date,
				   NULL};
	const char *args[8] = {"commit-tree", state->now, "-F", "-"};
	struct viewer_call call = {.repo = repo, .place = VIEWER_BARE, .args = args, .env = env};
	autostr struct str message = STR_INIT, output = STR_INIT;

	if (*state->head.oid) {
		args[4] = "-p";
		args[5] = state->head.oid;
	}
	str_addf(&message,
		 "Uncommitted work of the sandbox %s\n\n"
		 "All that was in its work tree and not committed: changed, new and removed\n"
		 "files, without ignored ones. Made by `jib persist`.\n",
		 viewer->sandbox->name);
	if (viewer_run(viewer, &call, &message, OUTPUT_MAX, &output, NULL, err) < 0)
		return error_wrap(err, "cannot commit what is not committed");
	size_t len = strcspn(output.s, "\n");

	if (len > OID_HEX_MAX)
		return error_set(err, ERR_GIT, "git commit-tree said something unexpected");
	memcpy(ret, output.s, len);
	ret[len] = '\0';
	return 0;
}

/* What was only carried the host has itself, as long as nothing else has happened. */
static bool has_uncommitted(const struct persist_result *result)
{
	const struct state *state = &result->state;

	if (strcmp(state->now, state->head_tree) == 0)
		return false;
	return strcmp(state->now, state->then) != 0 || result->count;
}

static int add_uncommitted(struct viewer *viewer, size_t repo, const struct persist_wishes *wishes,
			   struct persist_result *ret, struct persisted *head, struct error *err)
{
	const struct state *state = &ret->state;
	const char *source = state->head.ref ? state->head.ref : "HEAD";
	const char *branch = str_starts(source, heads) ? source + strlen(heads) : source;
	char oid[OID_HEX_MAX + 1];

	if (!has_uncommitted(ret))
		return 0;
	if (wishes->no_wip || !is_wanted(wishes, branch)) {
		ret->whole = false;
		return 0;
	}
	if (commit(viewer, repo, state, oid, err) < 0)
		return -1;
	if (!head)
		head = add(ret, source, oid, 0);
	memcpy(head->new_oid, oid, sizeof oid);
	head->wip = true;
	return 0;
}

/* On request: tags, notes, stashes. */

static int add_others(const struct persist_wishes *wishes, struct persist_result *ret)
{
	const struct {
		const char *prefix;
		bool wanted;
	} kinds[] = {{"refs/tags/", wishes->tags}, {"refs/notes/", wishes->notes}};
	const struct state *state = &ret->state;

	for (size_t i = 0; i < state->refs.count; i++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
			const struct ref *ref = &state->refs.items[i];

			if (!str_starts(ref->name, kinds[k].prefix) || !is_moved(state, ref))
				continue;
			if (kinds[k].wanted)
				add(ret, ref->name, ref->oid, 0);
			else
				ret->whole = false;
		}
	return 0;
}

static int add_stashes(struct viewer *viewer, size_t repo, const struct persist_wishes *wishes,
		       struct persist_result *ret, struct error *err)
{
	const char *const args[] = {"log",	  "-g", "--format=%H", "--no-show-signature",
				    "refs/stash", "--", NULL};
	struct viewer_call call = {.repo = repo, .place = VIEWER_REFS, .args = args};
	const struct ref *stash = refs_find(&ret->state.refs, "refs/stash");
	autostr struct str output = STR_INIT;

	if (!stash || !is_moved(&ret->state, stash))
		return 0;
	if (!wishes->stash) {
		ret->whole = false;
		return 0;
	}
	if (viewer_run(viewer, &call, NULL, OUTPUT_MAX, &output, NULL, err) < 0)
		return error_wrap(err, "cannot list the stashes");
	char *rest = output.s;
	size_t n = 0;

	for (char *line; (line = strsep(&rest, "\n"));) {
		if (!*line || strlen(line) > OID_HEX_MAX)
			continue;
		autofree char *name = xasprintf("refs/stash/%zu", n++);

		add(ret, name, line, 0);
	}
	return 0;
}

int tips_find(struct viewer *viewer, size_t repo, const struct persist_wishes *wishes,
	      struct persist_result *ret, struct error *err)
{
	const struct state_wishes all = {.whole = true, .nested = wishes->nested};
	struct persisted *head;

	ret->whole = true;
	if (state_read(viewer, repo, &all, &ret->state, err) < 0 ||
	    check_wanted(viewer, wishes, &ret->state, err) < 0 ||
	    add_branches(viewer, repo, wishes, ret, err) < 0 ||
	    add_head(viewer, repo, wishes, ret, &head, err) < 0 ||
	    add_uncommitted(viewer, repo, wishes, ret, head, err) < 0)
		return -1;
	ret->whole = ret->whole && !state_left_work(&ret->state);
	/* One name can only stand for one branch. */
	if (wishes->as && ret->count > 1) {
		error_set(err, ERR_USAGE, "--as %s: %zu branches of %s have something new",
			  wishes->as, ret->count, viewer->sandbox->name);
		return error_hint(err, "choose one with --branch");
	}
	if (add_others(wishes, ret) < 0 || add_stashes(viewer, repo, wishes, ret, err) < 0)
		return -1;
	return 0;
}
