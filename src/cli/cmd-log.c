#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/commands.h"
#include "cli/look.h"
#include "cli/output.h"
#include "cli/render.h"
#include "review/log.h"

static const struct option log_options[] = {
	{'n', "max-count", "N", "only the N latest commits"},
	{0, "oneline", NULL, "one line for each"},
	{0, "stat", NULL, "how much of each file"},
	{'p', "patch", NULL, "with the patches"},
	LOOK_OPTIONS,
	PAGER_OPTIONS,
	{0, NULL, NULL, NULL},
};

static int read_count(const struct invocation *invocation, unsigned long *ret, struct error *err)
{
	const char *text = option_value(invocation, "max-count");
	char *end;

	*ret = 0;
	if (!text)
		return 0;
	*ret = strtoul(text, &end, 10);
	if (!*text || *end || *text == '-' || *text == '+' || *ret == 0 || *ret > 1000000000)
		return error_set(err, ERR_USAGE, "--max-count: \"%s\" is not a number of commits",
				 text);
	return 0;
}

static json_t *commit_json(const struct log_commit *commit)
{
	json_t *parents = json_array();

	for (size_t i = 0; i < commit->parents.len; i++)
		json_array_append_new(parents, output_json_text(commit->parents.items[i]));
	return json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "id", commit->oid, "parents", parents,
			 "author_name", output_json_text(commit->author_name), "author_email",
			 output_json_text(commit->author_email), "author_date",
			 output_json_text(commit->author_date), "committer_date",
			 output_json_text(commit->committer_date), "subject",
			 output_json_text(commit->subject), "body", output_json_text(commit->body));
}

static int log_json(struct look *look, unsigned long count, struct error *err)
{
	json_t *repos = json_array();

	for (size_t i = 0; i < look->sandbox.repo_count; i++) {
		autolog struct log log = {0};

		if (!look->chosen[i])
			continue;
		if (log_read(&look->viewer, i, count, &log, err) < 0) {
			json_decref(repos);
			return -1;
		}
		json_t *commits = json_array();

		for (size_t k = 0; k < log.count; k++)
			json_array_append_new(commits, commit_json(&log.items[k]));
		json_array_append_new(
			repos, json_pack("{s:o,s:o,s:o}", "name",
					 output_json_text(look->sandbox.repos[i].name), "host",
					 output_json_text(look->sandbox.repos[i].host), "commits",
					 commits));
	}
	return output_json(json_pack("{s:s,s:o}", "name", look->sandbox.name, "repos", repos), err);
}

static int show_one(struct outlet *outlet, struct look *look, size_t repo, unsigned long count,
		    const struct invocation *invocation, struct error *err)
{
	autoviewergit struct viewer_git git = VIEWER_GIT_INIT;
	const char *options[8];
	size_t n = 0;

	if (option_given(invocation, "oneline"))
		options[n++] = "--oneline";
	if (option_given(invocation, "stat"))
		options[n++] = "--stat";
	if (option_given(invocation, "patch"))
		options[n++] = "-p";
	options[n] = NULL;
	int result = log_start(&look->viewer, repo, count, options, &git, err);

	/* 1: there is nothing to show. */
	if (result != 0)
		return result < 0 ? -1 : 0;
	if (outlet_repository(outlet, look, repo, err) < 0)
		return -1;
	return outlet_git(outlet, &look->viewer, &git, err);
}

static int show(struct look *look, unsigned long count, const struct invocation *invocation,
		struct error *err)
{
	autooutlet struct outlet outlet = OUTLET_INIT;

	if (outlet_open(invocation, &look->viewer, "log", false, &outlet, err) < 0)
		return -1;
	for (size_t i = 0; i < look->sandbox.repo_count && !outlet.gone; i++)
		if (look->chosen[i] && show_one(&outlet, look, i, count, invocation, err) < 0)
			return -1;
	return outlet_close(&outlet, &look->viewer, err);
}

static int show_log(const struct invocation *invocation, struct error *err)
{
	autolook struct look look = LOOK_INIT;
	unsigned long count;

	if (read_count(invocation, &count, err) < 0 || look_open(invocation, &look, err) < 0)
		return -1;
	return option_given(invocation, "json") ? log_json(&look, count, err)
						: show(&look, count, invocation, err);
}

const struct command cmd_log = {
	.name = "log",
	.synopsis = "NAME [options]",
	.summary = "show the commits that a sandbox has made",
	.options = log_options,
	.min_args = 1,
	.max_args = 1,
	.failure = 1,
	.run = show_log,
};
