#include "cli/persist-apply.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/ask.h"
#include "cli/look.h"
#include "cli/output.h"
#include "git/repository.h"
#include "review/apply.h"
#include "review/memo.h"
#include "review/transaction.h"

struct wished {
	struct strv include;
	bool markers;
	bool nested;
	bool interactive;
	bool dry_run;
};

static int read_wishes(const struct invocation *invocation, struct wished *ret, struct error *err)
{
	const char *conflicts = option_value(invocation, "conflicts");
	const char *path;

	for (size_t at = 0; (path = option_next(invocation, "include", &at));) {
		autofree char *plain =
			xstrndup(path, strlen(path) - (*path && str_ends(path, "/")));

		if (!*plain || *plain == '/')
			return error_set(err, ERR_USAGE,
					 "--include %s: a path from the top of the work tree",
					 path);
		strv_add(&ret->include, plain);
	}
	ret->markers = conflicts && strcmp(conflicts, "markers") == 0;
	if (conflicts && !ret->markers && strcmp(conflicts, "refuse") != 0)
		return error_set(err, ERR_USAGE, "--conflicts: \"%s\" is not markers or refuse",
				 conflicts);
	ret->nested = option_given(invocation, "nested");
	ret->interactive = option_given(invocation, "interactive");
	ret->dry_run = option_given(invocation, "dry-run");
	return 0;
}

/* What is told in the end. */
struct told {
	struct str text;
	json_t *repos;
	size_t conflicts;
};

static const char *action(const struct verdict *verdict)
{
	switch (verdict->kind) {
	case VERDICT_SAME:
		return "same";
	case VERDICT_MERGED:
		return "merged";
	case VERDICT_CONFLICT:
		return "CONFLICT";
	default:
		break;
	}
	if (verdict->result.kind == CONTENT_ABSENT)
		return "removed";
	return verdict->host.kind == CONTENT_ABSENT ? "added" : "changed";
}

static void add_escaped(struct str *text, const char *path)
{
	str_add_escaped(text, path, strlen(path));
}

static void describe(const struct verdict *verdict, struct str *text)
{
	const struct change *change = verdict->change;

	str_addf(text, "%-8s  ",
		 change->from && verdict->kind != VERDICT_CONFLICT ? "renamed" : action(verdict));
	if (change->from) {
		add_escaped(text, change->from);
		str_add(text, " -> ");
	}
	add_escaped(text, change->path);
	if (verdict->reason)
		str_addf(text, ": %s", verdict->reason);
	str_add_char(text, '\n');
}

static json_t *verdict_json(const struct verdict *verdict)
{
	return json_pack("{s:o,s:o,s:s,s:o}", "path", output_json_text(verdict->change->path),
			 "from", output_json_text(verdict->change->from), "verdict",
			 verdict_name(verdict->kind), "reason", output_json_text(verdict->reason));
}

static void tell(struct told *told, const struct sandbox_repo *repo, const struct merge *merge,
		 const struct apply_changes *changes, bool written)
{
	json_t *files = json_array();
	bool any = false;

	for (size_t i = 0; i < merge->count; i++) {
		any = any || merge->items[i].kind != VERDICT_SAME;
		if (merge->items[i].kind != VERDICT_SAME)
			describe(&merge->items[i], &told->text);
		json_array_append_new(files, verdict_json(&merge->items[i]));
	}
	if (!any)
		str_add(&told->text, "nothing to apply\n");
	json_array_append_new(told->repos,
			      json_pack("{s:o,s:o,s:o,s:I,s:b,s:o}", "name",
					output_json_text(repo->name), "host",
					output_json_text(repo->host), "files", files, "conflicts",
					(json_int_t)merge->conflicts, "written", written,
					"left_out", left_out_json(&changes->found.state)));
	told->conflicts += merge->conflicts;
}

static int choose(struct apply_changes *changes, struct error *err)
{
	struct ask asking = ASK_INIT;
	size_t kept = 0;

	for (size_t i = 0; i < changes->count; i++) {
		const struct change *change = &changes->items[i];
		const char *what = change->theirs.kind == SIDE_ABSENT ? "remove"
				   : change->base.kind == SIDE_ABSENT ? "add"
								      : "change";
		autofree char *question = xasprintf("%s %s?", what, change->path);
		bool chosen;

		if (ask(&asking, question, &chosen, err) < 0)
			return -1;
		if (chosen)
			changes->items[kept++] = *change;
	}
	changes->found.whole = changes->found.whole && kept == changes->count;
	changes->count = kept;
	return 0;
}

static int find_host(const struct sandbox_repo *repo, struct repository *ret, struct error *err)
{
	if (repository_find(repo->host, ret, err) == 0 && strcmp(ret->top, repo->host) == 0)
		return 0;
	error_clear(err);
	error_set(err, ERR_NOT_FOUND, "the repository %s is not there any more", repo->host);
	return error_hint(err, "`jib persist NAME --export DIR` writes patches and a bundle");
}

static int recover(const struct repository *repository, struct error *err)
{
	enum transaction_recovery recovery;

	if (transaction_recover(repository, &recovery, err) < 0)
		return -1;
	if (recovery == RECOVERY_FINISHED)
		say("%s: finished what an interrupted command had begun", repository->top);
	if (recovery == RECOVERY_DISCARDED)
		say("%s: an interrupted command had changed nothing", repository->top);
	return 0;
}

/*
 * What came as files is on the host, and with it the commits of the branch that they were made in.
 * Of other branches that is not so.
 */
static bool is_all(const struct apply_changes *changes)
{
	const struct head *head = &changes->found.state.head;
	const char *source = head->ref ? head->ref : "HEAD";

	for (size_t i = 0; i < changes->found.count; i++)
		if (strcmp(changes->found.items[i].source, source) != 0)
			return false;
	return changes->found.whole && !changes->submodules.len;
}

static int note(const struct look *look, size_t repo, const struct apply_changes *changes,
		struct error *err)
{
	const struct sandbox_repo *which = &look->sandbox.repos[repo];
	automemo struct memo memo = MEMO_INIT, before = MEMO_INIT;

	/* With several repositories the next look tells. */
	if (look->viewer.frozen || !is_all(changes) || look->sandbox.repo_count > 1)
		return 0;
	if (memo_fingerprint(&look->sandbox, &memo.fingerprint, err) < 0)
		return -1;
	/* It is on the host as a branch already, which stays when this is undone. */
	if (memo_read(&look->sandbox, &before) &&
	    strcmp(before.fingerprint, memo.fingerprint) == 0 &&
	    memo_find_repo(&before, which->name) && !memo_find_repo(&before, which->name)->applied)
		return 0;
	struct memo_repo *noted = memo_add_repo(&memo, which->name, which->host);

	noted->applied = true;
	noted->tree = xstrdup(changes->found.state.now);
	for (size_t i = 0; i < changes->count; i++) {
		strv_add(&noted->files, changes->items[i].path);
		if (changes->items[i].from)
			strv_add(&noted->files, changes->items[i].from);
	}
	noted->standing = memo_standing(which->host, &noted->files);
	return memo_write(&look->sandbox, &memo, err);
}

static int write_merge(const struct look *look, size_t repo, const struct repository *host,
		       const struct wished *wished, const struct merge *merge,
		       const struct apply_changes *changes, bool *ret_written, struct error *err)
{
	autoerror struct error unnoted = ERROR_INIT;

	*ret_written = false;
	if (wished->dry_run || (merge->conflicts && !wished->markers))
		return 0;
	mode_t own = umask(caller_umask);
	int result = transaction_apply(host, merge, wished->markers, err);

	umask(own);
	if (result < 0)
		return -1;
	*ret_written = result == 0 || wished->markers;
	if (result == 0 && note(look, repo, changes, &unnoted) < 0)
		say_unnoted(&unnoted);
	return 0;
}

static int apply_one(struct look *look, size_t repo, const struct wished *wished, struct told *told,
		     struct error *err)
{
	const struct sandbox_repo *which = &look->sandbox.repos[repo];
	const struct apply_wishes wishes = {.include = &wished->include, .nested = wished->nested};
	autofree char *scratch = xasprintf("%s/.tmp", look->root.path);
	autorepository struct repository host = REPOSITORY_INIT;
	autoapply struct apply_changes changes = {0};
	automerge struct merge merge = MERGE_INIT;
	bool written;

	if (find_host(which, &host, err) < 0 || recover(&host, err) < 0 ||
	    apply_read(&look->viewer, repo, &wishes, &changes, err) < 0 ||
	    (wished->interactive && choose(&changes, err) < 0))
		return -1;
	const struct merge_request request = {.repository = &host,
					      .changes = changes.items,
					      .count = changes.count,
					      .name = look->sandbox.name,
					      .scratch = scratch};

	if (merge_make(&request, &merge, err) < 0 ||
	    write_merge(look, repo, &host, wished, &merge, &changes, &written, err) < 0)
		return -1;
	tell(told, which, &merge, &changes, written);
	say_left_out(which, &changes.found.state);
	for (size_t i = 0; i < changes.submodules.len; i++)
		say("%s: the submodule %s is another commit now; that is not applied", which->name,
		    changes.submodules.items[i]);
	return 0;
}

static int conclude(const struct look *look, const struct wished *wished, const struct told *told,
		    struct error *err)
{
	if (!told->conflicts || wished->dry_run)
		return 0;
	error_set(err, ERR_CONFLICT, "%zu conflict%s with the host", told->conflicts,
		  told->conflicts == 1 ? "" : "s");
	if (wished->markers)
		return error_hint(err, "what merges is written; solve the rest, then `git add` it; "
				       "`jib persist --undo` takes all of it back");
	return error_hint(err,
			  "nothing was written; `jib persist %s --apply --conflicts markers` "
			  "writes what merges, and marks the rest",
			  look->sandbox.name);
}

int persist_apply(const struct invocation *invocation, struct error *err)
{
	autolook struct look look = LOOK_INIT;
	struct told told = {.repos = json_array()};
	struct wished wished = {0};
	bool json = option_given(invocation, "json");
	int result = -1;

	if (read_wishes(invocation, &wished, err) == 0)
		result = look_open(invocation, &look, err);
	for (size_t i = 0; i < look.sandbox.repo_count && result == 0; i++)
		if (look.chosen[i])
			result = apply_one(&look, i, &wished, &told, err);
	if (result == 0 && json)
		result = output_json(json_pack("{s:s,s:b,s:O}", "name", look.sandbox.name,
					       "dry_run", wished.dry_run, "repos", told.repos),
				     err);
	else if (result == 0)
		result = output_text(told.text.len ? told.text.s : "", err);
	/* Under --json the object has said it. */
	if (result == 0 && json)
		result = told.conflicts && !wished.dry_run;
	else if (result == 0)
		result = conclude(&look, &wished, &told, err);
	json_decref(told.repos);
	str_release(&told.text);
	strv_release(&wished.include);
	return result;
}

/* Undo. */

/* Who names a sandbox does not mean what another one has brought. */
static int check_whose(const struct repository *host, const char *name, struct error *err)
{
	autoundo struct undo undo = UNDO_INIT;

	if (transaction_undo(host, true, &undo, err) < 0)
		return -1;
	if (strcmp(undo.name, name) == 0)
		return 0;
	error_set(err, ERR_NOT_FOUND, "what was applied to %s last is of the sandbox %s", host->top,
		  undo.name);
	return error_hint(err, "`jib persist --undo` puts that back");
}

static int undo_one(const char *directory, const char *name, bool dry_run, struct told *told,
		    struct error *err)
{
	autorepository struct repository host = REPOSITORY_INIT;
	autoundo struct undo undo = UNDO_INIT;
	json_t *conflicts;

	if (repository_find(directory, &host, err) < 0 || recover(&host, err) < 0 ||
	    (name && check_whose(&host, name, err) < 0))
		return -1;
	mode_t own = umask(caller_umask);
	int result = transaction_undo(&host, dry_run, &undo, err);

	umask(own);
	if (result < 0)
		return -1;
	conflicts = json_array();
	for (size_t i = 0; i < undo.conflict_count; i++) {
		str_add(&told->text, "CONFLICT  ");
		add_escaped(&told->text, undo.conflicts[i].path);
		str_addf(&told->text, ": %s\n", undo.conflicts[i].reason);
		json_array_append_new(conflicts, json_pack("{s:o,s:s}", "path",
							   output_json_text(undo.conflicts[i].path),
							   "reason", undo.conflicts[i].reason));
	}
	told->conflicts += undo.conflict_count;
	if (!undo.conflict_count)
		str_addf(&told->text, "%zu file%s %s%s as before\n", undo.files,
			 undo.files == 1 ? "" : "s", dry_run ? "would be " : "",
			 undo.again ? "applied again, the sandbox's" : "put back, the host's");
	json_array_append_new(told->repos,
			      json_pack("{s:o,s:o,s:b,s:I,s:o,s:b}", "host",
					output_json_text(host.top), "sandbox",
					output_json_text(undo.name), "again", undo.again, "files",
					(json_int_t)undo.files, "conflicts", conflicts, "written",
					!dry_run && !undo.conflict_count));
	return 0;
}

/* Those of a sandbox, or what --repo says, or the one around the current directory. */
static int undo_all(const struct invocation *invocation, struct told *told, struct error *err)
{
	bool dry_run = option_given(invocation, "dry-run");
	autolook struct look look = LOOK_INIT;
	const char *repo = option_value(invocation, "repo");

	if (!invocation->arg_count)
		return undo_one(repo ? repo : ".", NULL, dry_run, told, err);
	if (look_choose(invocation, &look, err) < 0)
		return -1;
	for (size_t i = 0; i < look.sandbox.repo_count; i++)
		if (look.chosen[i] &&
		    undo_one(look.sandbox.repos[i].host, look.sandbox.name, dry_run, told, err) < 0)
			return -1;
	return 0;
}

int persist_undo(const struct invocation *invocation, struct error *err)
{
	struct told told = {.repos = json_array()};
	bool json = option_given(invocation, "json");
	int result = undo_all(invocation, &told, err);

	if (result == 0)
		result = json ? output_json(json_pack("{s:O}", "repos", told.repos), err)
			      : output_text(told.text.len ? told.text.s : "", err);
	if (result == 0 && told.conflicts && json)
		result = 1;
	else if (result == 0 && told.conflicts)
		result = error_set(err, ERR_CONFLICT,
				   "nothing was undone: %zu file%s changed since then",
				   told.conflicts, told.conflicts == 1 ? " was" : "s were");
	json_decref(told.repos);
	str_release(&told.text);
	return result;
}
