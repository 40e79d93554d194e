/*
 * doctor: what this machine can do, what is missing, and the command that mends it.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/str.h"
#include "cli/command.h"
#include "cli/output.h"
#include "git/git.h"
#include "kernel/probe.h"
#include "store/root.h"

/*
 * The objects directory of a repository, by git itself, which alone knows linked worktrees and
 * separate git directories. 0; 1 when there is no git to ask (which is a check of its own).
 */
static int find_objects(const char *repo, char **ret, struct error *err)
{
	const char *const args[] = {"rev-parse", "--path-format=absolute", "--git-path", "objects",
				    NULL};
	autostr struct str output = STR_INIT;
	struct error failure = ERROR_INIT;

	if (git_run(&(struct git_place){.directory = repo}, args, &output, &failure) < 0) {
		bool missing = failure.number == ENOENT;

		if (!missing) {
			error_set(err, ERR_NOT_REPOSITORY,
				  "%s is not a repository that git reads: %s", repo,
				  failure.message);
			error_hint(err, "name a repository of yours with --repo, or none at all");
		}
		error_clear(&failure);
		return missing ? 1 : -1;
	}
	if (output.len && output.s[output.len - 1] == '\n')
		output.s[--output.len] = '\0';
	*ret = str_take(&output);
	return 0;
}

static int choose_objects(const struct invocation *invocation, char **ret, struct error *err)
{
	const char *repo = option_value(invocation, "repo");

	if (!repo && access(".git", F_OK) < 0)
		return 0;
	if (repo)
		return find_objects(repo, ret, err) < 0 ? -1 : 0;
	/* A broken repository in the current directory, of which nobody has spoken, is no error. */
	find_objects(".", ret, NULL);
	return 0;
}

static int show_json(const struct probe_report *report, struct error *err)
{
	json_t *checks = json_array();

	for (size_t i = 0; i < report->len; i++) {
		const struct probe_check *check = &report->checks[i];
		autostr struct str found = STR_INIT;
		json_t *item;

		/* JSON is UTF-8, a path may be anything. */
		str_add_escaped(&found, check->found, strlen(check->found));
		item = json_pack("{s:s, s:s, s:s, s:s, s:s?}", "name", check->name, "state",
				 probe_state_name(check->state), "found", found.s, "needed_for",
				 check->needed_for, "remedy", check->remedy);
		if (!item || json_array_append_new(checks, item) < 0) {
			json_decref(checks);
			return error_set(err, ERR_SYSTEM, "cannot make JSON of %s", check->name);
		}
	}
	return output_json(json_pack("{s:b, s:o}", "ok", probe_works(report), "checks", checks),
			   err);
}

static int width(int at_least, const char *text)
{
	int len = (int)strlen(text);

	return len > at_least ? len : at_least;
}

static int show_text(const struct probe_report *report, struct error *err)
{
	static const char state_head[] = "STATE", name_head[] = "CHECK", for_head[] = "NEEDED FOR";
	autostr struct str text = STR_INIT;
	int state = width(0, state_head), name = width(0, name_head), need = width(0, for_head);

	for (size_t i = 0; i < report->len; i++) {
		state = width(state, probe_state_name(report->checks[i].state));
		name = width(name, report->checks[i].name);
		need = width(need, report->checks[i].needed_for);
	}
	str_addf(&text, "%-*s  %-*s  %-*s  FOUND\n", state, state_head, name, name_head, need,
		 for_head);
	for (size_t i = 0; i < report->len; i++) {
		const struct probe_check *check = &report->checks[i];

		str_addf(&text, "%-*s  %-*s  %-*s  ", state, probe_state_name(check->state), name,
			 check->name, need, check->needed_for);
		str_add_escaped(&text, check->found, strlen(check->found));
		str_add_char(&text, '\n');
		if (check->remedy) {
			str_addf(&text, "%*s  remedy: ", state, "");
			str_add_escaped(&text, check->remedy, strlen(check->remedy));
			str_add_char(&text, '\n');
		}
	}
	str_addf(&text, "\n%s\n",
		 probe_works(report) ? "jib works here."
				     : "jib does not work here: see what is missing above.");
	return output_text(text.s, err);
}

static int run(const struct invocation *invocation, struct error *err)
{
	struct probe_report report = {0};
	autofree char *root = NULL;
	autofree char *objects = NULL;

	if (root_path(&root, err) < 0 || choose_objects(invocation, &objects, err) < 0 ||
	    probe_machine(root, objects, &report, err) < 0)
		return -1;
	int result = option_given(invocation, "json") ? show_json(&report, err)
						      : show_text(&report, err);
	if (result == 0)
		result = probe_works(&report) ? 0 : 1;
	probe_report_release(&report);
	return result;
}

static const struct option options[] = {
	{0, "repo", "DIR", "repository to try hard links from (default: the current directory)"},
	{0, "json", NULL, "print JSON"},
	{0, NULL, NULL, NULL},
};

const struct command cmd_doctor = {
	.name = "doctor",
	.synopsis = "[--repo DIR] [--json]",
	.summary = "tell what this machine can do, what is missing, and the remedy",
	.options = options,
	.max_args = 0,
	.failure = 1,
	.run = run,
};
