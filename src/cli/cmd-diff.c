#include <string.h>

#include "base/memory.h"
#include "cli/commands.h"
#include "cli/look.h"
#include "cli/output.h"
#include "cli/render.h"
#include "review/diff.h"

static const struct option options[] = {
	{'p', "patch", NULL, "as a patch (the default)"},
	{0, "stat", NULL, "how much of each file"},
	{0, "name-status", NULL, "only the names, and what became of each"},
	{0, "commits", NULL, "only what is committed"},
	{0, "uncommitted", NULL, "only what is not committed"},
	{0, "ignored", NULL, "ignored files too"},
	{0, "nested", NULL, "files of repositories inside of the work tree too"},
	LOOK_OPTIONS,
	PAGER_OPTIONS,
	{0, NULL, NULL, NULL},
};

enum part { PART_ALL, PART_COMMITS, PART_UNCOMMITTED };

static int choose_part(const struct invocation *invocation, enum part *ret, struct error *err)
{
	bool commits = option_given(invocation, "commits");
	bool uncommitted = option_given(invocation, "uncommitted");

	if (commits && uncommitted)
		return error_set(err, ERR_USAGE, "--commits and --uncommitted exclude each other");
	if (commits && option_given(invocation, "ignored"))
		return error_set(
			err, ERR_USAGE,
			"--commits and --ignored exclude each other: what is committed is not "
			"ignored");
	*ret = commits ? PART_COMMITS : uncommitted ? PART_UNCOMMITTED : PART_ALL;
	return 0;
}

/* One repository, and what of it is compared. */
struct comparison {
	struct state state;
	struct diff_request request;
};

static int compare(struct look *look, size_t repo, const struct invocation *invocation,
		   enum part part, struct comparison *ret, struct error *err)
{
	struct state_wishes wishes = {
		.whole = part == PART_UNCOMMITTED,
		.ignored = option_given(invocation, "ignored"),
		.nested = option_given(invocation, "nested"),
	};

	if (state_read(&look->viewer, repo, &wishes, &ret->state, err) < 0)
		return -1;
	const struct state *state = &ret->state;

	ret->request = (struct diff_request){
		.viewer = &look->viewer,
		.repo = repo,
		.from = state_tree(state, part == PART_ALL	 ? state->then
					  : part == PART_COMMITS ? state->base_tree
								 : state->head_tree),
		.to = state_tree(state, part == PART_COMMITS ? state->head_tree : state->now),
		.pathspecs = invocation->rest,
	};
	return 0;
}

static json_t *mode_json(uint32_t mode)
{
	autofree char *text = xasprintf("%06o", mode);

	return mode ? json_string(text) : json_null();
}

static json_t *file_json(const struct diff_file *file)
{
	const char status[] = {file->status, '\0'};
	json_t *item = json_pack("{s:o,s:o,s:s,s:o,s:o,s:b}", "path", output_json_text(file->path),
				 "old_path", output_json_text(file->old_path), "status", status,
				 "old_mode", mode_json(file->old_mode), "new_mode",
				 mode_json(file->new_mode), "binary", file->binary);

	if (file->binary) {
		json_object_set_new(item, "bytes", json_integer((json_int_t)file->bytes));
	} else {
		json_object_set_new(item, "added", json_integer((json_int_t)file->added));
		json_object_set_new(item, "removed", json_integer((json_int_t)file->removed));
	}
	return item;
}

static int diff_json(struct look *look, const struct invocation *invocation, enum part part,
		     struct error *err)
{
	json_t *repos = json_array();

	for (size_t i = 0; i < look->sandbox.repo_count; i++) {
		struct comparison comparison = {0};
		autodiff struct diff diff = {0};

		if (!look->chosen[i])
			continue;
		int result = compare(look, i, invocation, part, &comparison, err);

		if (result == 0)
			result = diff_read(&comparison.request, &diff, err);
		if (result < 0) {
			state_release(&comparison.state);
			json_decref(repos);
			return -1;
		}
		json_t *files = json_array();

		for (size_t k = 0; k < diff.count; k++)
			json_array_append_new(files, file_json(&diff.items[k]));
		json_array_append_new(
			repos,
			json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "name",
				  output_json_text(look->sandbox.repos[i].name), "host",
				  output_json_text(look->sandbox.repos[i].host), "base",
				  *comparison.state.base ? json_string(comparison.state.base)
							 : json_null(),
				  "head",
				  *comparison.state.head.oid
					  ? json_string(comparison.state.head.oid)
					  : json_null(),
				  "files", files, "left_out", left_out_json(&comparison.state)));
		state_release(&comparison.state);
	}
	return output_json(json_pack("{s:s,s:o}", "name", look->sandbox.name, "repos", repos), err);
}

static bool is_patch(const struct invocation *invocation)
{
	return !option_given(invocation, "stat") && !option_given(invocation, "name-status");
}

/* Of what is not text no patch tells much. */
static int show_binaries(struct outlet *outlet, const struct diff_request *request,
			 struct error *err)
{
	autodiff struct diff diff = {0};
	autostr struct str text = STR_INIT;

	if (diff_read(request, &diff, err) < 0)
		return -1;
	for (size_t i = 0; i < diff.count; i++)
		if (diff.items[i].binary) {
			/* In a patch no name must look like the begin of a file's. */
			if (outlet->style == RENDER_RAW)
				str_add(&text, "# ");
			str_add_escaped(&text, diff.items[i].path, strlen(diff.items[i].path));
			str_addf(&text, ": binary, %llu bytes\n",
				 (unsigned long long)diff.items[i].bytes);
		}
	return text.len ? outlet_text(outlet, text.s, err) : 0;
}

static int show_one(struct outlet *outlet, struct look *look, size_t repo,
		    const struct invocation *invocation, enum part part,
		    struct comparison *comparison, struct error *err)
{
	static const char *const patch[] = {"-p", NULL};
	static const char *const whole[] = {"-p", "--binary", "--full-index", NULL};
	static const char *const stat[] = {"--stat", NULL};
	static const char *const names[] = {"--name-status", NULL};
	const char *const *how = option_given(invocation, "stat")	   ? stat
				 : option_given(invocation, "name-status") ? names
				 : outlet->style == RENDER_RAW		   ? whole
									   : patch;
	autoviewergit struct viewer_git git = VIEWER_GIT_INIT;

	if (compare(look, repo, invocation, part, comparison, err) < 0 ||
	    outlet_repository(outlet, look, repo, err) < 0 ||
	    (is_patch(invocation) && show_binaries(outlet, &comparison->request, err) < 0) ||
	    diff_start(&comparison->request, how, &git, err) < 0)
		return -1;
	return outlet_git(outlet, &look->viewer, &git, err);
}

static int show(struct look *look, const struct invocation *invocation, enum part part,
		struct error *err)
{
	autooutlet struct outlet outlet = OUTLET_INIT;

	if (outlet_open(invocation, &look->viewer, "diff", is_patch(invocation), &outlet, err) < 0)
		return -1;
	for (size_t i = 0; i < look->sandbox.repo_count && !outlet.gone; i++) {
		struct comparison comparison = {0};

		if (!look->chosen[i])
			continue;
		int result = show_one(&outlet, look, i, invocation, part, &comparison, err);

		if (result == 0)
			say_left_out(&look->sandbox.repos[i], &comparison.state);
		state_release(&comparison.state);
		if (result < 0)
			return -1;
	}
	return outlet_close(&outlet, &look->viewer, err);
}

static int diff(const struct invocation *invocation, struct error *err)
{
	autolook struct look look = LOOK_INIT;
	enum part part = PART_ALL;

	if (choose_part(invocation, &part, err) < 0 || look_open(invocation, &look, err) < 0)
		return -1;
	return option_given(invocation, "json") ? diff_json(&look, invocation, part, err)
						: show(&look, invocation, part, err);
}

const struct command cmd_diff = {
	.name = "diff",
	.synopsis = "NAME [options] [-- PATHSPEC...]",
	.summary = "show what a sandbox has changed",
	.options = options,
	.min_args = 1,
	.max_args = 1,
	.takes_command = true,
	.failure = 1,
	.run = diff,
};
