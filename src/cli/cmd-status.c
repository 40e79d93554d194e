#include <string.h>

#include "base/memory.h"
#include "cli/commands.h"
#include "cli/look.h"
#include "cli/output.h"
#include "review/diff.h"
#include "review/log.h"

static const struct option status_options[] = {
	LOOK_OPTIONS,
	{0, NULL, NULL, NULL},
};

/* One repository: where its HEAD is, what was committed, and what was not. */
struct standing {
	struct state state;
	struct log log;
	struct diff diff;
};

static void standing_release(struct standing *standing)
{
	state_release(&standing->state);
	log_release(&standing->log);
	diff_release(&standing->diff);
}

static int look_at(struct look *look, size_t repo, struct standing *ret, struct error *err)
{
	const struct state_wishes wishes = {.whole = true};

	if (state_read(&look->viewer, repo, &wishes, &ret->state, err) < 0)
		return -1;
	struct diff_request request = {
		.viewer = &look->viewer,
		.repo = repo,
		.from = state_tree(&ret->state, ret->state.head_tree),
		.to = ret->state.now,
	};

	if (log_read(&look->viewer, repo, 0, &ret->log, err) < 0 ||
	    diff_read(&request, &ret->diff, err) < 0)
		return -1;
	return 0;
}

static const char *branch_of(const struct state *state)
{
	static const char heads[] = "refs/heads/";

	return state->head.ref && str_starts(state->head.ref, heads)
		       ? state->head.ref + strlen(heads)
		       : state->head.ref;
}

static void add_path(const char *path, struct str *text)
{
	str_add_escaped(text, path, strlen(path));
}

static void describe(const struct look *look, size_t repo, const struct standing *standing,
		     struct str *text)
{
	const struct state *state = &standing->state;
	const char *branch = branch_of(state);

	if (look->chosen_count > 1) {
		str_add(text, "repository ");
		add_path(look->sandbox.repos[repo].host, text);
		str_add_char(text, '\n');
	}
	if (branch) {
		str_add(text, "on branch ");
		add_path(branch, text);
	} else {
		str_addf(text, "HEAD detached at %.12s", state->head.oid);
	}
	if (*state->base)
		str_addf(text, ", started from %.12s", state->base);
	str_addf(text, "\n%zu new commit%s\n", standing->log.count,
		 standing->log.count == 1 ? "" : "s");
	str_add(text, standing->diff.count ? "not committed:\n" : "nothing uncommitted\n");
	for (size_t i = 0; i < standing->diff.count; i++) {
		const struct diff_file *file = &standing->diff.items[i];

		str_addf(text, "  %c  ", file->status);
		if (file->old_path) {
			add_path(file->old_path, text);
			str_add(text, " -> ");
		}
		add_path(file->path, text);
		str_add_char(text, '\n');
	}
}

static json_t *standing_json(const struct look *look, size_t repo, const struct standing *standing)
{
	const struct state *state = &standing->state;
	json_t *files = json_array();

	for (size_t i = 0; i < standing->diff.count; i++) {
		const struct diff_file *file = &standing->diff.items[i];
		const char status[] = {file->status, '\0'};

		json_array_append_new(files, json_pack("{s:o,s:o,s:s}", "path",
						       output_json_text(file->path), "old_path",
						       output_json_text(file->old_path), "status",
						       status));
	}
	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:I,s:o,s:o}", "name",
			 output_json_text(look->sandbox.repos[repo].name), "host",
			 output_json_text(look->sandbox.repos[repo].host), "branch",
			 output_json_text(branch_of(state)), "base",
			 *state->base ? json_string(state->base) : json_null(), "head",
			 *state->head.oid ? json_string(state->head.oid) : json_null(), "commits",
			 (json_int_t)standing->log.count, "uncommitted", files, "left_out",
			 left_out_json(state));
}

static int show_all(struct look *look, json_t *repos, struct str *text, struct error *err)
{
	for (size_t i = 0; i < look->sandbox.repo_count; i++) {
		struct standing standing = {0};

		if (!look->chosen[i])
			continue;
		int result = look_at(look, i, &standing, err);

		if (result == 0) {
			describe(look, i, &standing, text);
			json_array_append_new(repos, standing_json(look, i, &standing));
			say_left_out(&look->sandbox.repos[i], &standing.state);
		}
		standing_release(&standing);
		if (result < 0)
			return -1;
	}
	return 0;
}

static int status(const struct invocation *invocation, struct error *err)
{
	autolook struct look look = LOOK_INIT;
	autostr struct str text = STR_INIT;
	bool json = option_given(invocation, "json");
	json_t *repos = json_array();

	if (json)
		output_quiet();
	if (look_open(invocation, &look, err) < 0 || show_all(&look, repos, &text, err) < 0) {
		json_decref(repos);
		return -1;
	}
	if (json)
		return output_json(
			json_pack("{s:s,s:o}", "name", look.sandbox.name, "repos", repos), err);
	json_decref(repos);
	return output_text(text.len ? text.s : "", err);
}

const struct command cmd_status = {
	.name = "status",
	.synopsis = "NAME [--repo REPO] [--json]",
	.summary = "tell where a sandbox stands: commits, and what is not committed",
	.options = status_options,
	.min_args = 1,
	.max_args = 1,
	.failure = 1,
	.run = status,
};
