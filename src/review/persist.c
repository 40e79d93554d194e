#include "review/persist.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/memory.h"
#include "git/git.h"
#include "review/bare.h"
#include "review/export.h"
#include "review/pick.h"
#include "review/publish.h"
#include "review/quarantine.h"
#include "review/tips.h"

enum { OUTPUT_MAX = 256 << 20 };

static const char heads[] = "refs/heads/";

void persist_result_release(struct persist_result *result)
{
	for (size_t i = 0; i < result->count; i++) {
		free(result->items[i].source);
		free(result->items[i].target);
	}
	free(result->items);
	state_release(&result->state);
	*result = (struct persist_result){0};
}

struct persisting {
	struct viewer *viewer;
	size_t repo;
	const struct persist_wishes *wishes;
	struct repository host;
	bool hostless;
	struct refs host_refs;
	struct quarantine quarantine;
	struct strv known; /* what the sandbox started with, and the host still has */
	struct persist_result result;
};

static struct git_place host_place(const struct persisting *p)
{
	return (struct git_place){.directory = p->host.top};
}

/* Names. */

/* Of commits that no branch has: "detached", or with a number when the sandbox has a branch named so. */
static char *detached_name(const struct refs *refs)
{
	for (int n = 1;; n++) {
		autofree char *name = n == 1 ? xstrdup("detached") : xasprintf("detached-%d", n);
		autofree char *ref = xasprintf("%s%s", heads, name);
		size_t len = strlen(ref);
		bool taken = false;

		for (size_t i = 0; i < refs->count && !taken; i++) {
			const char *other = refs->items[i].name;

			taken = str_starts(other, ref) && (!other[len] || other[len] == '/');
		}
		if (!taken)
			return steal_ptr(&name);
	}
}

static char *target_of(const struct persisting *p, const struct persisted *item)
{
	static const char *const kinds[] = {"refs/tags/", "refs/notes/"};
	const struct persist_wishes *wishes = p->wishes;
	const char *name = p->viewer->sandbox->name;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_starts(item->source, kinds[i]))
			return xasprintf("%sjib/%s/%s", kinds[i], name,
					 item->source + strlen(kinds[i]));
	if (str_starts(item->source, "refs/stash/"))
		return xasprintf("refs/jib/%s/stash/%s", name, path_last(item->source));
	autofree char *detached = detached_name(&p->result.state.refs);
	const char *branch =
		str_starts(item->source, heads) ? item->source + strlen(heads) : detached;

	if (wishes->as)
		return xasprintf("%s%s", heads, wishes->as);
	return wishes->update ? xasprintf("%s%s", heads, branch)
			      : xasprintf("%sjib/%s/%s", heads, name, branch);
}

static int find_host(struct persisting *p, struct error *err)
{
	const char *const args[] = {"for-each-ref", "--format=%(objectname) %(refname)", NULL};
	const char *path = p->viewer->sandbox->repos[p->repo].host;
	autostr struct str output = STR_INIT;

	if (repository_find(path, &p->host, err) < 0 || strcmp(p->host.top, path) != 0) {
		error_clear(err);
		p->hostless = p->wishes->export_to != NULL;
		if (p->hostless)
			return 0;
		error_set(err, ERR_NOT_FOUND, "the repository %s is not there any more", path);
		return error_hint(err, "`jib persist --export DIR` writes patches and a bundle");
	}
	const struct git_place place = host_place(p);

	if (git_run(&place, args, &output, err) < 0)
		return error_wrap(err, "%s", path);
	refs_parse(output.s, &p->host_refs);
	return 0;
}

/* Receiving. */

static void add_known(const char *oid, struct strv *oids)
{
	enum { KNOWN_MAX = 2000 };

	for (size_t i = 0; i < oids->len; i++)
		if (strcmp(oids->items[i], oid) == 0)
			return;
	if (oids->len < KNOWN_MAX)
		strv_add(oids, oid);
}

/* What the sandbox started with, as far as the host still has it. */
static int find_known(const struct persisting *p, const struct git_place *place, struct strv *ret,
		      struct error *err)
{
	const struct state *state = &p->result.state;
	autostrv struct strv oids = STRV_INIT;

	if (*state->base)
		add_known(state->base, &oids);
	for (size_t i = 0; i < state->refs_then.count; i++)
		add_known(state->refs_then.items[i].oid, &oids);
	return quarantine_filter_known(place, &oids, ret, err);
}

/* Inside the quarantine they are called what they will be called on the host. */
static void name_tips(const struct persisting *p, struct refs *ret)
{
	for (size_t i = 0; i < p->result.count; i++) {
		const struct persisted *item = &p->result.items[i];

		ret->items = xreallocarray(ret->items, ret->count + 1, sizeof *ret->items);
		struct ref *ref = &ret->items[ret->count++];

		*ref = (struct ref){.name = xstrdup(item->target)};
		memcpy(ref->oid, item->new_oid, sizeof ref->oid);
	}
}

static int receive(struct persisting *p, struct error *err)
{
	autorefs struct refs tips = {0};
	bool sha256 = p->result.count && strlen(p->result.items[0].new_oid) == OID_HEX_MAX;

	name_tips(p, &tips);
	quarantine_close(&p->quarantine);
	if (quarantine_open(p->viewer->root, p->hostless ? NULL : &p->host, sha256, &p->quarantine,
			    err) < 0)
		return -1;
	return quarantine_receive(&p->quarantine, p->viewer, p->repo, &tips, &p->known, err);
}

/* Judging. */

static int refuse_nested(const struct persisting *p, const struct persisted *item, const char *path,
			 const char *what, struct error *err)
{
	error_set(err, ERR_UNSUPPORTED, "%s of %s adds %s at %s", item->source,
		  p->viewer->sandbox->name, what, path);
	return error_hint(err, "if that is wanted: jib persist %s --nested",
			  p->viewer->sandbox->name);
}

static int run_status(const struct git_place *place, const char *const *args, int *ret,
		      struct error *err)
{
	struct process process = PROCESS_INIT;
	autostr struct str output = STR_INIT;
	int status;

	if (git_start(place, args, &process, err) < 0 ||
	    git_finish(&process, &output, &status, NULL, err) < 0)
		return -1;
	*ret = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
	return 0;
}

/* T45: repositories inside of the work tree do not come along by the way. */
static int check_nested(const struct persisting *p, const struct persisted *item, struct error *err)
{
	const struct state *state = &p->result.state;
	const struct git_place place = quarantine_place(&p->quarantine);
	const char *const args[] = {"diff-tree",
				    "-r",
				    "-z",
				    "--raw",
				    "--no-renames",
				    "--no-abbrev",
				    "--end-of-options",
				    *state->base ? state->base : "--root",
				    item->new_oid,
				    "--",
				    NULL};
	const char *const whole[] = {"ls-tree", "-r", "-z", item->new_oid, NULL};
	autofree char *tree = xasprintf("%s^{tree}", item->new_oid);
	autostr struct str output = STR_INIT;
	autostrv struct strv added = STRV_INIT;

	const char *const peel[] = {"rev-parse", "--quiet", "--verify", tree, NULL};
	int status;

	/* A tag may stand for a single file. */
	if (run_status(&place, peel, &status, err) < 0)
		return -1;
	if (status != 0)
		return 0;
	/* Of one that the host does not have any more all of it is new. */
	if (git_run(&place, strv_holds(&p->known, state->base) ? args : whole, &output, err) < 0)
		return error_wrap(err, "cannot look through %s", item->source);
	for (size_t at = 0; at < output.len;) {
		const char *head = output.s + at;
		bool raw = *head == ':';
		const char *path = raw ? head + strlen(head) + 1 : strchr(head, '\t');
		const char *mode = raw ? head + strlen(":100644 ") : head;

		if (!path || path >= output.s + output.len)
			return error_set(err, ERR_GIT, "git diff-tree said something unexpected");
		path += !raw;
		if (str_starts(mode, "160000") && !(raw && str_starts(head, ":160000")))
			return refuse_nested(p, item, path, "a submodule", err);
		if (!raw || str_starts(head, ":000000"))
			strv_add(&added, path);
		at = (size_t)(path - output.s) + strlen(path) + 1;
	}
	const char *bare = bare_find(&added);

	return bare ? refuse_nested(p, item, bare, "a bare repository", err) : 0;
}

/* Which of these commits the sandbox has itself. */
static int filter_inside(const struct persisting *p, const struct strv *oids, size_t *ret_count,
			 struct error *err)
{
	const char *const args[] = {"cat-file", "--batch-check=%(objectname)", NULL};
	struct viewer_call call = {.repo = p->repo, .place = VIEWER_BARE, .args = args};
	autostr struct str input = STR_INIT, output = STR_INIT;

	for (size_t i = 0; i < oids->len; i++)
		str_addf(&input, "%s\n", oids->items[i]);
	*ret_count = 0;
	if (oids->len && viewer_run(p->viewer, &call, &input, OUTPUT_MAX, &output, NULL, err) < 0)
		return -1;
	char *rest = output.s;

	for (char *line; rest && (line = strsep(&rest, "\n"));)
		*ret_count += *line && !str_ends(line, " missing");
	return 0;
}

/* Whether every commit that the host's branch would lose is one that the sandbox gave it. */
static int is_ours(const struct persisting *p, const struct persisted *item, bool *ret,
		   struct error *err)
{
	const struct git_place place = quarantine_place(&p->quarantine);
	autofree char *not_new = xasprintf("^%s", item->new_oid);
	const char *const args[] = {"log", "--format=%H %cn <%ce>", item->old_oid, not_new, "--",
				    NULL};
	autostrv struct strv others = STRV_INIT;
	autostr struct str output = STR_INIT;
	size_t inside;

	if (git_run(&place, args, &output, err) < 0)
		return -1;
	char *rest = output.s;

	for (char *line; (line = strsep(&rest, "\n"));)
		if (*line && !str_ends(line, " " PERSIST_COMMITTER))
			strv_give(&others, xstrndup(line, strcspn(line, " ")));
	if (filter_inside(p, &others, &inside, err) < 0)
		return -1;
	*ret = inside == others.len;
	return 0;
}

static int refuse_move(const struct persisting *p, const struct persisted *item, struct error *err)
{
	const char *name = p->viewer->sandbox->name;

	if (p->wishes->update) {
		error_set(err, ERR_EXISTS,
			  "%s has gone on since the sandbox was made: it cannot be "
			  "fast-forwarded",
			  item->target);
		return error_hint(err, "without --update it becomes jib/%s/..., to be merged",
				  name);
	}
	error_set(err, ERR_EXISTS, "the host's %s has commits that the sandbox %s does not have",
		  item->target, name);
	return error_hint(err, "give it another name: jib persist %s --as BRANCH", name);
}

/* A branch that stands where the sandbox started from was not brought from it. */
static int refuse_own(const struct persisted *item, struct error *err)
{
	error_set(err, ERR_EXISTS, "there is a branch %s of the host's already",
		  item->target + strlen(heads));
	return error_hint(err, "--update fast-forwards it; or choose another name");
}

static int judge(struct persisting *p, struct persisted *item, struct error *err)
{
	const struct git_place place = quarantine_place(&p->quarantine);
	const struct ref *old =
		p->wishes->export_to ? NULL : refs_find(&p->host_refs, item->target);
	const char *const args[] = {"merge-base", "--is-ancestor", old ? old->oid : "",
				    item->new_oid, NULL};
	bool ours = false;
	int status;

	if (!p->wishes->nested && check_nested(p, item, err) < 0)
		return -1;
	item->what = PERSIST_CREATED;
	if (!old)
		return 0;
	memcpy(item->old_oid, old->oid, sizeof item->old_oid);
	item->what = strcmp(old->oid, item->new_oid) == 0 ? PERSIST_SAME : PERSIST_UPDATED;
	if (item->what == PERSIST_SAME)
		return 0;
	if (run_status(&place, args, &status, err) < 0)
		return -1;
	if (status == 0 && p->wishes->as && !p->wishes->update &&
	    strv_holds(&p->known, item->old_oid))
		return refuse_own(item, err);
	if (status == 0)
		return 0;
	if (status != 1)
		return error_set(err, ERR_GIT, "git cannot compare %s with what is there",
				 item->target);
	if (!p->wishes->update && is_ours(p, item, &ours, err) < 0)
		return -1;
	return ours ? 0 : refuse_move(p, item, err);
}

/* What was known to the host must be complete: it is, if a ref of the host's reaches it. */
static int check_known(const struct persisting *p, struct error *err)
{
	const struct git_place place = host_place(p);
	/* Only since git 2.42 could the options be read with the commits. */
	const char *const args[] = {"rev-list", "--max-count=1", "--stdin", "--not", "--all", NULL};
	autostr struct str input = STR_INIT, output = STR_INIT;
	autorefs struct refs tips = {0};

	for (size_t i = 0; i < p->known.len; i++)
		if (!refs_have(&p->host_refs, p->known.items[i]))
			str_addf(&input, "%s\n", p->known.items[i]);
	if (!input.len)
		return 0;
	if (git_run_with(&place, args, &input, &output, err) < 0)
		return -1;
	if (!output.len)
		return 0;
	name_tips(p, &tips);
	return quarantine_check(&p->quarantine, &tips, &p->known, err);
}

static int publish_all(const struct persisting *p, struct error *err)
{
	autofree struct publish_ref *refs = xcalloc(p->result.count + 1, sizeof *refs);
	autofree char *reason = xasprintf("jib persist %s", p->viewer->sandbox->name);
	size_t count = 0;

	for (size_t i = 0; i < p->result.count; i++) {
		const struct persisted *item = &p->result.items[i];

		if (item->what == PERSIST_SAME)
			continue;
		if (publish_check(&p->host, item->target, err) < 0)
			return -1;
		refs[count++] = (struct publish_ref){item->target, item->old_oid, item->new_oid};
	}
	if (count && check_known(p, err) < 0)
		return -1;
	return publish(&p->quarantine, &p->host, refs, count, reason, err);
}

/* git itself makes no branch with such a name: it would be taken for an option, or for HEAD. */
static bool is_misleading(const char *target)
{
	const char *name = str_starts(target, heads) ? target + strlen(heads) : target;

	return *name == '-' || strcmp(name, "HEAD") == 0;
}

/* What the sandbox names is valid below jib/NAME/. */
static int check_names(struct persisting *p, struct error *err)
{
	for (size_t i = 0; i < p->result.count; i++) {
		const char *const args[] = {"check-ref-format", p->result.items[i].target, NULL};
		const struct git_place place = host_place(p);
		const char *name = p->result.items[i].target;
		int status = 0;

		if (p->wishes->as && run_status(&place, args, &status, err) < 0)
			return -1;
		if (status == 0 && !is_misleading(name))
			continue;
		if (p->wishes->as)
			return error_set(err, ERR_USAGE,
					 "--as: %s is not a valid name for a branch",
					 p->wishes->as);
		error_set(err, ERR_EXISTS, "the host cannot have a branch named %s",
			  name + strlen(heads));
		return error_hint(err,
				  "without --update it becomes jib/%s/..., or choose one with --as",
				  p->viewer->sandbox->name);
	}
	return 0;
}

/* Whoever takes the files has what the sandbox started with. */
static int export_all(const struct persisting *p, struct error *err)
{
	const struct git_place place = quarantine_place(&p->quarantine);
	autostrv struct strv known = STRV_INIT;

	if (find_known(p, &place, &known, err) < 0)
		return -1;
	return export_write(&p->quarantine, &p->result, &known, p->viewer->sandbox->name,
			    p->wishes->export_to, err);
}

static void count_chosen(const struct pick *pick, struct persisted *item,
			 struct persist_result *result)
{
	size_t commits = 0, files = 0;

	for (size_t i = 0; i < pick->commit_count; i++)
		commits += pick->commits[i].chosen;
	for (size_t i = 0; i < pick->file_count; i++)
		files += pick->files[i].chosen;
	if (commits < pick->commit_count || files < pick->file_count)
		result->whole = false;
	item->commits = commits;
	item->wip = files > 0;
}

/* Only of branches; what is left of one that nothing was chosen of is dropped. */
static int choose(struct persisting *p, struct error *err)
{
	const struct git_place place = quarantine_place(&p->quarantine);
	size_t kept = 0;

	for (size_t i = 0; i < p->result.count; i++) {
		struct persisted *item = &p->result.items[i];
		const char *const args[] = {"update-ref", item->target, item->new_oid, NULL};
		bool branch = str_starts(item->target, heads);
		autopick struct pick pick = {0};
		autostr struct str output = STR_INIT;

		if (branch &&
		    (pick_read(&p->quarantine, item->source, item->new_oid, item->wip, &p->known,
			       &pick, err) < 0 ||
		     p->wishes->choose(p->wishes->data, &pick, err) < 0 ||
		     pick_make(&p->quarantine, &pick, item->new_oid, item->new_oid, err) < 0))
			return -1;
		if (branch)
			count_chosen(&pick, item, &p->result);
		if (*item->new_oid && git_run(&place, args, &output, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < p->result.count; i++) {
		struct persisted item = p->result.items[i];

		if (*item.new_oid) {
			p->result.items[kept++] = item;
			continue;
		}
		free(item.source);
		free(item.target);
	}
	p->result.count = kept;
	/* What was picked lies there object by object; it is published from packs. */
	const char *const repack[] = {"repack", "-q", "-d", "-l", NULL};
	autostr struct str output = STR_INIT;

	return git_run(&place, repack, &output, err);
}

/* From the sandbox into the quarantine, and from there to where it is wanted. */
static int bring(struct persisting *p, struct error *err)
{
	if (receive(p, err) < 0 || (p->wishes->choose && choose(p, err) < 0))
		return -1;
	for (size_t i = 0; i < p->result.count; i++)
		if (judge(p, &p->result.items[i], err) < 0)
			return -1;
	if (p->wishes->dry_run)
		return 0;
	return p->wishes->export_to ? export_all(p, err) : publish_all(p, err);
}

static int persist(struct persisting *p, struct error *err)
{
	if (find_host(p, err) < 0 || tips_find(p->viewer, p->repo, p->wishes, &p->result, err) < 0)
		return -1;
	for (size_t i = 0; i < p->result.count; i++)
		p->result.items[i].target = target_of(p, &p->result.items[i]);
	if (!p->result.count)
		return 0;
	const struct git_place place = host_place(p);

	if (check_names(p, err) < 0 || (!p->hostless && find_known(p, &place, &p->known, err) < 0))
		return -1;
	if (bring(p, err) == 0)
		return 0;
	/* The host may have pruned what lies behind something that it still has. */
	if (err->code != ERR_CORRUPT || !p->known.len || p->wishes->choose)
		return -1;
	error_clear(err);
	strv_release(&p->known);
	return bring(p, err);
}

int persist_repository(struct viewer *viewer, size_t repo, const struct persist_wishes *wishes,
		       struct persist_result *ret, struct error *err)
{
	struct persisting p = {
		.viewer = viewer,
		.repo = repo,
		.wishes = wishes,
		.host = REPOSITORY_INIT,
		.quarantine = QUARANTINE_INIT,
	};
	int result = persist(&p, err);

	quarantine_close(&p.quarantine);
	strv_release(&p.known);
	refs_release(&p.host_refs);
	repository_release(&p.host);
	if (result < 0) {
		persist_result_release(&p.result);
		return error_wrap(err, "cannot persist %s", viewer->sandbox->name);
	}
	*ret = p.result;
	return 0;
}
