#include "review/log.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "git/git.h"

enum { LOG_MAX = 1 << 30, FIELDS = 8 };

void log_release(struct log *log)
{
	for (size_t i = 0; i < log->count; i++) {
		struct log_commit *commit = &log->items[i];

		strv_release(&commit->parents);
		free(commit->author_name);
		free(commit->author_email);
		free(commit->author_date);
		free(commit->committer_date);
		free(commit->subject);
		free(commit->body);
	}
	free(log->items);
	*log = (struct log){0};
}

/* What git reads as its revisions; false when there are none. */
static int revisions(struct viewer *viewer, size_t repo, struct str *ret, struct error *err)
{
	const char *base = viewer->sandbox->repos[repo].base;
	autorefs struct refs now = {0}, then = {0};
	struct head head;
	bool any = false;

	if (refs_now(viewer, repo, &now, err) < 0 || refs_then(viewer, repo, &then, err) < 0 ||
	    head_now(viewer, repo, &now, &head, err) < 0)
		return -1;
	free(head.ref);
	if (*head.oid) {
		str_addf(ret, "%s\n", head.oid);
		any = true;
	}
	for (size_t i = 0; i < now.count; i++)
		if (str_starts(now.items[i].name, "refs/heads/")) {
			str_addf(ret, "%s\n", now.items[i].oid);
			any = true;
		}
	if (base)
		str_addf(ret, "^%s\n", base);
	for (size_t i = 0; i < then.count; i++)
		str_addf(ret, "^%s\n", then.items[i].oid);
	return any ? 0 : 1;
}

static void add_arguments(unsigned long max, const char *const *options, struct strv *args)
{
	static const char *const fixed[] = {
		"log",		"--no-color",	       "--no-ext-diff",	   "--no-textconv",
		"--no-mailmap", "--no-show-signature", "--ignore-missing", "--no-notes"};

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		strv_add(args, fixed[i]);
	if (max)
		strv_addf(args, "--max-count=%lu", max);
	for (; *options; options++)
		strv_add(args, *options);
	strv_add(args, "--stdin");
}

int log_start(struct viewer *viewer, size_t repo, unsigned long max, const char *const *options,
	      struct viewer_git *ret, struct error *err)
{
	autostrv struct strv args = STRV_INIT;
	autostr struct str input = STR_INIT;
	int result = revisions(viewer, repo, &input, err);

	if (result != 0)
		return result;
	autofd int fd = -1;

	if (git_input(&input, &fd, err) < 0)
		return -1;
	add_arguments(max, options, &args);
	strv_add(&args, "--decorate");
	return viewer_git(viewer,
			  &(struct viewer_call){.repo = repo,
						.place = VIEWER_REFS,
						.args = (const char *const *)args.items,
						.input = fd},
			  ret, err);
}

/* Of a record the fields stand behind each other, each with a NUL at its end. */
static void parse(const struct str *output, struct log *ret)
{
	const char *fields[FIELDS];

	for (size_t at = 0; at < output->len;) {
		size_t n = 0;

		for (; n < FIELDS && at < output->len; n++) {
			fields[n] = output->s + at;
			at += strlen(fields[n]) + 1;
		}
		/* A newline stands between two. */
		const char *oid = fields[0] + strspn(fields[0], "\n");

		if (n < FIELDS || strlen(oid) > OID_HEX_MAX)
			return;
		ret->items = xreallocarray(ret->items, ret->count + 1, sizeof *ret->items);
		struct log_commit *commit = &ret->items[ret->count++];

		*commit = (struct log_commit){
			.author_name = xstrdup(fields[2]),
			.author_email = xstrdup(fields[3]),
			.author_date = xstrdup(fields[4]),
			.committer_date = xstrdup(fields[5]),
			.subject = xstrdup(fields[6]),
			.body = xstrdup(fields[7]),
		};
		memcpy(commit->oid, oid, strlen(oid) + 1);
		autofree char *parents = xstrdup(fields[1]);
		char *rest = parents;

		for (char *parent; (parent = strsep(&rest, " "));)
			if (*parent)
				strv_add(&commit->parents, parent);
	}
}

int log_read(struct viewer *viewer, size_t repo, unsigned long max, struct log *ret,
	     struct error *err)
{
	static const char *const format[] = {
		"--format=%H%x00%P%x00%an%x00%ae%x00%aI%x00%cI%x00%s%x00%b%x00", NULL};
	autostrv struct strv args = STRV_INIT;
	autostr struct str input = STR_INIT, output = STR_INIT;
	int result = revisions(viewer, repo, &input, err);

	if (result != 0)
		return result < 0 ? -1 : 0;
	add_arguments(max, format, &args);
	struct viewer_call call = {
		.repo = repo, .place = VIEWER_REFS, .args = (const char *const *)args.items};

	if (viewer_run(viewer, &call, &input, LOG_MAX, &output, NULL, err) < 0)
		return error_wrap(err, "cannot list the commits of %s", viewer->sandbox->name);
	parse(&output, ret);
	return 0;
}
