#include "review/pick.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/memory.h"
#include "git/git.h"
#include "review/persist.h"

void pick_release(struct pick *pick)
{
	for (size_t i = 0; i < pick->commit_count; i++)
		free(pick->commits[i].subject);
	for (size_t i = 0; i < pick->file_count; i++)
		free(pick->files[i].path);
	free(pick->commits);
	free(pick->files);
	free(pick->source);
	*pick = (struct pick){0};
}

static int run(const struct quarantine *q, const char *const *args, struct str *ret,
	       struct error *err)
{
	const struct git_place place = quarantine_place(q);

	return git_run(&place, args, ret, err);
}

/* "OID PARENTS NUL SUBJECT NUL" for each. */
static int read_commits(const struct quarantine *q, const char *tip, const struct strv *known,
			struct pick *ret, struct error *err)
{
	autostrv struct strv args = STRV_INIT;
	autostr struct str output = STR_INIT;

	strv_add(&args, "log");
	strv_add(&args, "--reverse");
	strv_add(&args, "--topo-order");
	strv_add(&args, "--format=tformat:%H %P%x00%s%x00");
	strv_add(&args, tip);
	strv_add(&args, "--not");
	for (size_t i = 0; i < known->len; i++)
		strv_add(&args, known->items[i]);
	strv_add(&args, "--");
	if (run(q, (const char *const *)args.items, &output, err) < 0)
		return -1;
	for (size_t at = 0; at < output.len;) {
		const char *ids = output.s + at + strspn(output.s + at, "\n");
		size_t oid_len = strcspn(ids, " ");
		const char *subject = ids + strlen(ids) + 1;

		if (subject >= output.s + output.len || oid_len > OID_HEX_MAX)
			break;
		ret->commits =
			xreallocarray(ret->commits, ret->commit_count + 1, sizeof *ret->commits);
		struct pick_commit *commit = &ret->commits[ret->commit_count++];

		*commit = (struct pick_commit){.subject = xstrdup(subject), .chosen = true};
		memcpy(commit->oid, ids, oid_len);
		commit->merge = ids[oid_len] && strchr(ids + oid_len + 1, ' ');
		at = (size_t)(subject - output.s) + strlen(subject) + 1;
	}
	return 0;
}

static char *parent_of(const struct quarantine *q, const char *commit, struct error *err)
{
	autofree char *name = xasprintf("%s^", commit);
	const char *const args[] = {"rev-parse", "--verify", "--quiet", name, NULL};
	const struct git_place place = quarantine_place(q);
	struct process process = PROCESS_INIT;
	autostr struct str output = STR_INIT;
	int status;

	if (git_start(&place, args, &process, err) < 0 ||
	    git_finish(&process, &output, &status, NULL, err) < 0)
		return NULL;
	/* One without a parent stands on nothing. */
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return xstrdup(q->sha256 ? EMPTY_TREE_SHA256 : EMPTY_TREE_SHA1);
	return xstrndup(output.s, strcspn(output.s, "\n"));
}

static int read_files(const struct quarantine *q, const char *tip, struct pick *ret,
		      struct error *err)
{
	autofree char *parent = parent_of(q, tip, err);
	const char *const args[] = {
		"diff-tree", "-r", "-z", "--name-status", "--no-renames", parent, tip, "--", NULL};
	autostr struct str output = STR_INIT;

	if (!parent || run(q, args, &output, err) < 0)
		return -1;
	for (size_t at = 0; at < output.len;) {
		const char *status = output.s + at;
		const char *path = status + strlen(status) + 1;

		if (path >= output.s + output.len)
			break;
		ret->files = xreallocarray(ret->files, ret->file_count + 1, sizeof *ret->files);
		ret->files[ret->file_count++] = (struct pick_file){
			.path = xstrdup(path), .status = *status, .chosen = true};
		at = (size_t)(path - output.s) + strlen(path) + 1;
	}
	return 0;
}

int pick_read(const struct quarantine *q, const char *source, const char *tip, bool wip,
	      const struct strv *known, struct pick *ret, struct error *err)
{
	autopick struct pick pick = {.source = xstrdup(source), .wip = wip};

	if (read_commits(q, tip, known, &pick, err) < 0 ||
	    (wip && read_files(q, tip, &pick, err) < 0))
		return error_wrap(err, "cannot list what there is to choose from");
	/* What was not committed is offered as files. */
	if (wip && pick.commit_count)
		free(pick.commits[--pick.commit_count].subject);
	*ret = pick;
	pick = (struct pick){0};
	return 0;
}

/* Making. */

struct making {
	const struct quarantine *q;
	char *index;			/* of its own */
	char tip[OID_HEX_MAX + 1];	/* "" as long as nothing is there */
	char in_index[OID_HEX_MAX + 1]; /* the commit that the index has */
};

static struct git_place place_of(const struct making *m)
{
	struct git_place place = quarantine_place(m->q);

	place.index = m->index;
	return place;
}

static void set_tip(struct making *m, const char *oid)
{
	size_t len = strcspn(oid, "\n");

	if (len <= OID_HEX_MAX) {
		memcpy(m->tip, oid, len);
		m->tip[len] = '\0';
	}
}

static int load_index(struct making *m, struct error *err)
{
	const char *const args[] = {"read-tree",
				    *m->tip	   ? m->tip
				    : m->q->sha256 ? EMPTY_TREE_SHA256
						   : EMPTY_TREE_SHA1,
				    NULL};
	const struct git_place place = place_of(m);
	autostr struct str output = STR_INIT;

	if (strcmp(m->in_index, m->tip) == 0 && *m->tip)
		return 0;
	return git_run(&place, args, &output, err);
}

/* What a commit has changed, or some files of it. */
static int apply(struct making *m, const char *parent, const char *commit, const struct strv *paths,
		 struct error *err)
{
	static const char *const fixed[] = {"diff-tree",     "-r",	     "-p",
					    "--binary",	     "--full-index", "--no-renames",
					    "--no-ext-diff", "--no-textconv"};
	const char *const take[] = {"apply", "--cached", "--3way", "--whitespace=nowarn", NULL};
	const struct git_place place = place_of(m);
	autostrv struct strv args = STRV_INIT;
	autostr struct str patch = STR_INIT, output = STR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		strv_add(&args, fixed[i]);
	strv_add(&args, parent);
	strv_add(&args, commit);
	strv_add(&args, "--");
	for (size_t i = 0; paths && i < paths->len; i++)
		strv_addf(&args, ":(literal)%s", paths->items[i]);
	if (load_index(m, err) < 0 ||
	    git_run(&place, (const char *const *)args.items, &patch, err) < 0)
		return -1;
	return patch.len ? git_run_with(&place, take, &patch, &output, err) : 0;
}

/* The author and the message of a commit, on another tree. */
static int commit(struct making *m, const char *like, struct error *err)
{
	static const char format[] = "--format=GIT_AUTHOR_NAME=%an%x00GIT_AUTHOR_EMAIL=%ae%x00"
				     "GIT_AUTHOR_DATE=%ad%x00GIT_COMMITTER_DATE=%cd%x00%B";
	const char *const show[] = {"log", "-1", "--date=raw", format, like, "--", NULL};
	const char *const tree_args[] = {"write-tree", NULL};
	struct git_place place = place_of(m);
	autostr struct str about = STR_INIT, tree = STR_INIT, made = STR_INIT, message = STR_INIT;
	const char *env[] = {NULL,
			     NULL,
			     NULL,
			     NULL,
			     "GIT_COMMITTER_NAME=jib",
			     "GIT_COMMITTER_EMAIL=jib@localhost",
			     NULL};
	size_t at = 0;

	if (git_run(&place, show, &about, err) < 0 || git_run(&place, tree_args, &tree, err) < 0)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		env[i] = about.s + at;
		at += strlen(env[i]) + 1;
		if (at >= about.len)
			return error_set(err, ERR_GIT, "git log said something unexpected");
	}
	str_add_bytes(&message, about.s + at, about.len - at);
	tree.s[strcspn(tree.s, "\n")] = '\0';
	const char *args[8] = {"commit-tree", tree.s, "-F", "-"};

	if (*m->tip) {
		args[4] = "-p";
		args[5] = m->tip;
	}
	place.env = env;
	if (git_run_with(&place, args, &message, &made, err) < 0)
		return -1;
	set_tip(m, made.s);
	memcpy(m->in_index, m->tip, sizeof m->in_index);
	return 0;
}

static int add_commit(struct making *m, const struct pick_commit *item, bool all_before,
		      struct error *err)
{
	autofree char *parent = parent_of(m->q, item->oid, err);

	if (!parent)
		return -1;
	if (all_before || strcmp(parent, m->tip) == 0) {
		set_tip(m, item->oid);
		return 0;
	}
	if (item->merge)
		return error_set(err, ERR_CONFLICT,
				 "the merge %.12s cannot be brought without all that is before it",
				 item->oid);
	if (apply(m, parent, item->oid, NULL, err) < 0) {
		error_clear(err);
		error_set(err, ERR_CONFLICT,
			  "the commit %.12s does not fit without one that was left out", item->oid);
		return error_hint(err, "choose the ones before it too");
	}
	return commit(m, item->oid, err);
}

static int add_files(struct making *m, const struct pick *pick, const char *wip, bool all_before,
		     struct error *err)
{
	autofree char *parent = parent_of(m->q, wip, err);
	autostrv struct strv paths = STRV_INIT;

	for (size_t i = 0; i < pick->file_count; i++)
		if (pick->files[i].chosen)
			strv_add(&paths, pick->files[i].path);
	if (!parent || !paths.len)
		return parent ? 0 : -1;
	if (all_before && paths.len == pick->file_count) {
		set_tip(m, wip);
		return 0;
	}
	if (apply(m, parent, wip, &paths, err) < 0) {
		error_clear(err);
		error_set(err, ERR_CONFLICT,
			  "the files do not fit without a commit that was left out");
		return error_hint(err, "choose the commits before them too");
	}
	return commit(m, wip, err);
}

int pick_make(const struct quarantine *q, const struct pick *pick, const char *tip,
	      char ret_tip[OID_HEX_MAX + 1], struct error *err)
{
	autofree char *index = xasprintf("%s/pick-index", q->path);
	struct making m = {.q = q, .index = index};
	autofree char *start = pick->commit_count ? parent_of(q, pick->commits[0].oid, err)
						  : parent_of(q, tip, err);
	bool all = true, any = false;

	if (!start)
		return -1;
	if (strcmp(start, EMPTY_TREE_SHA1) != 0 && strcmp(start, EMPTY_TREE_SHA256) != 0)
		set_tip(&m, start);
	for (size_t i = 0; i < pick->commit_count; i++) {
		if (!pick->commits[i].chosen) {
			all = false;
			continue;
		}
		any = true;
		if (add_commit(&m, &pick->commits[i], all, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < pick->file_count; i++)
		any = any || pick->files[i].chosen;
	if (pick->wip && add_files(&m, pick, tip, all, err) < 0)
		return -1;
	memcpy(ret_tip, any ? m.tip : "", any ? sizeof m.tip : 1);
	return 0;
}
