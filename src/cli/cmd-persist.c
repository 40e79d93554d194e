#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "cli/ask.h"
#include "cli/commands.h"
#include "cli/look.h"
#include "cli/output.h"
#include "cli/persist-apply.h"
#include "review/memo.h"
#include "review/persist.h"
#include "review/pick.h"

static const struct option options[] = {
	{0, "apply", NULL, "into the host's work tree instead: a three-way merge, all or nothing"},
	{0, "conflicts", "markers|refuse",
	 "with --apply: write what merges, and mark what does not"},
	{0, "include", "PATH", "with --apply: an ignored file or directory too (repeatable)"},
	{0, "undo", NULL, "put back what the last --apply has changed"},
	{0, "as", "BRANCH", "the host's name of the branch, instead of jib/NAME/BRANCH"},
	{0, "update", NULL, "fast-forward the host's own branch of that name"},
	{0, "branch", "BRANCH", "only this branch of the sandbox (repeatable)"},
	{0, "no-wip", NULL, "only what is committed"},
	{0, "tags", NULL, "new tags too, as jib/NAME/TAG"},
	{0, "notes", NULL, "new notes too, as refs/notes/jib/NAME/..."},
	{0, "stash", NULL, "stashes too, as refs/jib/NAME/stash/N"},
	{0, "nested", NULL, "submodules that were added, and files of repositories inside too"},
	{'i', "interactive", NULL, "choose commits and files"},
	{0, "export", "DIR", "write patches (for git am) and a bundle instead"},
	{'n', "dry-run", NULL, "only tell what would come"},
	LOOK_OPTIONS,
	{0, NULL, NULL, NULL},
};

static const char *what_name(enum persist_what what)
{
	static const char *const names[] = {
		[PERSIST_CREATED] = "created",
		[PERSIST_UPDATED] = "updated",
		[PERSIST_SAME] = "unchanged",
	};

	return names[what];
}

static const char *short_ref(const char *ref)
{
	static const char heads[] = "refs/heads/";

	return str_starts(ref, heads) ? ref + strlen(heads) : ref;
}

static const char *deed(const struct persisted *item, const struct persist_wishes *wishes)
{
	if (item->what == PERSIST_SAME)
		return "is there already";
	if (wishes->export_to)
		return wishes->dry_run ? "would be written" : "written";
	if (item->what == PERSIST_CREATED)
		return wishes->dry_run ? "would be created" : "created";
	return wishes->dry_run ? "would be updated" : "updated";
}

static void describe(const struct persisted *item, const struct persist_wishes *wishes,
		     struct str *text)
{
	const char *name = short_ref(item->target);

	str_add_escaped(text, name, strlen(name));
	str_addf(text, "  %s: ", deed(item, wishes));
	if (item->commits)
		str_addf(text, "%zu commit%s", item->commits, item->commits == 1 ? "" : "s");
	if (item->wip)
		str_addf(text, "%suncommitted work", item->commits ? " and " : "");
	str_addf(text, item->commits || item->wip ? "  (%.12s)\n" : "%.12s\n", item->new_oid);
}

static json_t *result_json(const struct sandbox_repo *repo, const struct persist_result *result)
{
	json_t *branches = json_array();

	for (size_t i = 0; i < result->count; i++) {
		const struct persisted *item = &result->items[i];

		json_array_append_new(
			branches,
			json_pack("{s:o,s:o,s:o,s:s,s:I,s:b,s:s}", "source",
				  output_json_text(item->source), "ref",
				  output_json_text(item->target), "old",
				  *item->old_oid ? json_string(item->old_oid) : json_null(), "new",
				  item->new_oid, "commits", (json_int_t)item->commits, "wip",
				  item->wip, "result", what_name(item->what)));
	}
	return json_pack("{s:o,s:o,s:o,s:b,s:o}", "name", output_json_text(repo->name), "host",
			 output_json_text(repo->host), "branches", branches, "whole", result->whole,
			 "left_out", left_out_json(&result->state));
}

/* What the user may want to do next. The name of a branch is a sandbox's word, and this is pasted into a shell. */
static void add_next(const struct look *look, size_t repo, const struct persist_wishes *wishes,
		     const struct persist_result *result, struct strv *next)
{
	const struct persisted *first = NULL;
	autostr struct str line = STR_INIT;

	for (size_t i = 0; i < result->count && !first; i++)
		if (str_starts(result->items[i].target, "refs/heads/"))
			first = &result->items[i];
	if (!first)
		return;
	if (wishes->export_to) {
		autofree char *patches =
			xasprintf("%s/%s/", wishes->export_to, short_ref(first->source));
		autofree char *bundle =
			xasprintf("%s/%s.bundle", wishes->export_to, look->sandbox.name);

		str_add(&line, "git am ");
		str_add_word(&line, patches);
		str_add(&line, "*.patch, or git fetch ");
		str_add_word(&line, bundle);
		str_add_char(&line, ' ');
		str_add_word(&line, first->target);
		strv_give(next, str_take(&line));
		return;
	}
	const char *branch = short_ref(first->target);

	str_add(&line, "git -C ");
	str_add_word(&line, look->sandbox.repos[repo].host);
	str_add(&line, " merge ");
	str_add_word(&line, *branch == '-' ? first->target : branch);
	strv_give(next, str_take(&line));
}

/*
 * Notes what came, so that it is known at a glance. Of a running sandbox nothing is noted: it goes on.
 */
struct noting {
	struct memo memo;
	bool whole;
};

static int begin_noting(const struct look *look, struct noting *ret, struct error *err)
{
	ret->whole = !look->viewer.frozen;
	return ret->whole ? memo_fingerprint(&look->sandbox, &ret->memo.fingerprint, err) : 0;
}

static void note(struct noting *noting, const struct sandbox_repo *repo,
		 const struct persist_result *result)
{
	struct memo_repo *noted = memo_add_repo(&noting->memo, repo->name, repo->host);

	noting->whole = noting->whole && result->whole;
	for (size_t i = 0; i < result->count; i++)
		memo_add_ref(noted, result->items[i].target, result->items[i].new_oid);
}

/* Of repositories that were not chosen now what was noted before still holds, if nothing has changed. */
static int end_noting(const struct look *look, struct noting *noting, struct error *err)
{
	automemo struct memo before = MEMO_INIT;

	if (!noting->whole)
		return 0;
	bool same = memo_read(&look->sandbox, &before) &&
		    strcmp(before.fingerprint, noting->memo.fingerprint) == 0;

	for (size_t i = 0; i < look->sandbox.repo_count; i++) {
		const char *name = look->sandbox.repos[i].name;
		const struct memo_repo *old = same ? memo_find_repo(&before, name) : NULL;

		if (look->chosen[i] || !old)
			continue;
		struct memo_repo *kept = memo_add_repo(&noting->memo, old->name, old->host);

		memo_copy_applied(old, kept);
		for (size_t k = 0; k < old->ref_count; k++)
			memo_add_ref(kept, old->refs[k].ref, old->refs[k].oid);
	}
	return memo_write(&look->sandbox, &noting->memo, err);
}

/* Commits one by one, then the files that were not committed. */
static int choose(void *data, struct pick *pick, struct error *err)
{
	struct ask commits = ASK_INIT, files = ASK_INIT;
	const char *branch = short_ref(pick->source);

	(void)data;
	for (size_t i = 0; i < pick->commit_count; i++) {
		struct pick_commit *commit = &pick->commits[i];
		autofree char *question = xasprintf("%s: bring the commit %.12s %s?", branch,
						    commit->oid, commit->subject);

		if (ask(&commits, question, &commit->chosen, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < pick->file_count; i++) {
		struct pick_file *file = &pick->files[i];
		autofree char *question = xasprintf("%s: bring the uncommitted %s (%c)?", branch,
						    file->path, file->status);

		if (ask(&files, question, &file->chosen, err) < 0)
			return -1;
	}
	return 0;
}

struct wished {
	struct persist_wishes wishes;
	struct strv branches;
};

static int read_wishes(const struct invocation *invocation, struct wished *ret, struct error *err)
{
	const char *branch;

	for (size_t at = 0; (branch = option_next(invocation, "branch", &at));)
		strv_add(&ret->branches, branch);
	ret->wishes = (struct persist_wishes){
		.no_wip = option_given(invocation, "no-wip"),
		.nested = option_given(invocation, "nested"),
		.tags = option_given(invocation, "tags"),
		.notes = option_given(invocation, "notes"),
		.stash = option_given(invocation, "stash"),
		.branches = &ret->branches,
		.as = option_value(invocation, "as"),
		.update = option_given(invocation, "update"),
		.dry_run = option_given(invocation, "dry-run"),
		.export_to = option_value(invocation, "export"),
		.choose = option_given(invocation, "interactive") ? choose : NULL,
	};
	if (ret->wishes.as && !*ret->wishes.as)
		return error_set(err, ERR_USAGE, "--as: the name of a branch is missing");
	return 0;
}

static int persist_one(struct look *look, size_t repo, const struct wished *wished,
		       struct noting *noting, json_t *repos, struct str *text, struct strv *next,
		       struct error *err)
{
	const struct sandbox_repo *which = &look->sandbox.repos[repo];
	autopersist struct persist_result result = {0};
	struct persist_wishes wishes = wished->wishes;
	autofree char *below = wishes.export_to && look->sandbox.repo_count > 1
				       ? xasprintf("%s/%s", wishes.export_to, which->name)
				       : NULL;

	if (below && mkdir(wishes.export_to, 0777) < 0 && errno != EEXIST)
		return error_errno(err, "cannot make %s", wishes.export_to);
	if (below)
		wishes.export_to = below;
	if (persist_repository(&look->viewer, repo, &wishes, &result, err) < 0)
		return -1;
	json_array_append_new(repos, result_json(which, &result));
	for (size_t i = 0; i < result.count; i++)
		describe(&result.items[i], &wished->wishes, text);
	if (!result.count)
		str_add(text, "nothing to persist\n");
	say_left_out(which, &result.state);
	if (!wishes.dry_run)
		add_next(look, repo, &wishes, &result, next);
	note(noting, which, &result);
	return 0;
}

static int persist_all(struct look *look, const struct wished *wished, json_t *repos,
		       struct str *text, struct strv *next, struct error *err)
{
	struct noting noting = {.memo = MEMO_INIT};
	autoerror struct error unnoted = ERROR_INIT;
	int result = begin_noting(look, &noting, err);

	for (size_t i = 0; i < look->sandbox.repo_count && result == 0; i++)
		if (look->chosen[i])
			result = persist_one(look, i, wished, &noting, repos, text, next, err);
	if (result == 0 && !wished->wishes.dry_run && !wished->wishes.export_to &&
	    end_noting(look, &noting, &unnoted) < 0)
		say_unnoted(&unnoted);
	memo_release(&noting.memo);
	return result;
}

static int persist_branches(const struct invocation *invocation, struct error *err)
{
	autolook struct look look = LOOK_INIT;
	autostr struct str text = STR_INIT;
	autostrv struct strv next = STRV_INIT;
	struct wished wished = {0};
	json_t *repos = json_array();
	bool json = option_given(invocation, "json");
	int result = -1;

	if (read_wishes(invocation, &wished, err) == 0 && look_open(invocation, &look, err) == 0)
		result = persist_all(&look, &wished, repos, &text, &next, err);
	strv_release(&wished.branches);
	if (result < 0 || !json) {
		json_decref(repos);
		if (result < 0 || output_text(text.len ? text.s : "", err) < 0)
			return -1;
		for (size_t i = 0; i < next.len; i++)
			say("next: %s", next.items[i]);
		return 0;
	}
	return output_json(json_pack("{s:s,s:b,s:o}", "name", look.sandbox.name, "dry_run",
				     wished.wishes.dry_run, "repos", repos),
			   err);
}

static int check_together(const struct invocation *invocation, struct error *err)
{
	static const char *const branches[] = {"as",   "update", "branch", "no-wip",
					       "tags", "notes",	 "stash",  "export"};
	static const char *const applying[] = {"conflicts", "include"};
	bool apply = option_given(invocation, "apply"), undo = option_given(invocation, "undo");

	for (size_t i = 0; i < ARRAY_SIZE(branches); i++)
		if ((apply || undo) && option_given(invocation, branches[i]))
			return error_set(err, ERR_USAGE, "--%s has no meaning with --%s",
					 branches[i], apply ? "apply" : "undo");
	for (size_t i = 0; i < ARRAY_SIZE(applying); i++)
		if (!apply && option_given(invocation, applying[i]))
			return error_set(err, ERR_USAGE, "--%s has a meaning with --apply only",
					 applying[i]);
	if (apply && undo)
		return error_set(err, ERR_USAGE, "--apply and --undo exclude each other");
	if (!undo && !invocation->arg_count)
		return error_set(err, ERR_USAGE, "the name of a sandbox is missing");
	return 0;
}

static int persist(const struct invocation *invocation, struct error *err)
{
	if (option_given(invocation, "json"))
		output_quiet();
	if (check_together(invocation, err) < 0)
		return -1;
	if (option_given(invocation, "undo"))
		return persist_undo(invocation, err);
	return option_given(invocation, "apply") ? persist_apply(invocation, err)
						 : persist_branches(invocation, err);
}

const struct command cmd_persist = {
	.name = "persist",
	.synopsis = "NAME [options]",
	.summary = "bring a sandbox's work to the host: as branches, or into the work tree",
	.options = options,
	.max_args = 1,
	.failure = 1,
	.run = persist,
};
