#include <string.h>

#include "base/memory.h"
#include "cli/commands.h"
#include "cli/create.h"
#include "cli/output.h"
#include "cli/report.h"

static const struct option ls_options[] = {
	{0, "json", NULL, "print an array of objects, as `show --json` prints one"},
	{0, NULL, NULL, NULL},
};

/* "main@1a2b3c4d5e6f" of the first repository, and how many more there are. */
static char *base_text(const struct sandbox *sandbox)
{
	if (!sandbox->repo_count)
		return xstrdup("-");
	const struct sandbox_repo *repo = &sandbox->repos[0];
	const char *branch = repo->branch ? repo->branch : "(detached)";
	autofree char *more =
		sandbox->repo_count > 1 ? xasprintf(" +%zu", sandbox->repo_count - 1) : xstrdup("");

	return repo->base ? xasprintf("%s@%.12s%s", branch, repo->base, more)
			  : xasprintf("%s (empty)%s", branch, more);
}

static void add_row(const struct report *report, struct str *text)
{
	autostr struct str base = STR_INIT;
	autofree char *age = report_age(report);
	autofree char *size = report_size(report->glance.survey.usage.bytes);
	autofree char *raw = base_text(&report->sandbox);

	str_add_escaped(&base, raw, strlen(raw));
	str_addf(text, "%-28s %-8s %8s %10s  %-11s %s\n", report->name,
		 sandbox_state_name(report->state), age, size, work_name(report->work), base.s);
}

static int print_json(const struct report *reports, size_t count, struct error *err)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		if (reports[i].name)
			json_array_append_new(array, report_json(&reports[i]));
	return output_json(array, err);
}

static int print_text(const struct report *reports, size_t count, struct error *err)
{
	autostr struct str text = STR_INIT;

	str_addf(&text, "%-28s %-8s %8s %10s  %-11s %s\n", "NAME", "STATE", "AGE", "DISK", "WORK",
		 "BASE");
	for (size_t i = 0; i < count; i++)
		if (reports[i].name)
			add_row(&reports[i], &text);
	return output_text(text.s, err);
}

static int list(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	autostrv struct strv names = STRV_INIT;

	if (root_open_existing(&root, err) < 0 || sandbox_names(&root, &names, err) < 0)
		return -1;
	autofree struct report *reports = xcalloc(names.len + 1, sizeof *reports);

	report_gather_all(&root, &names, reports);
	int result = option_given(invocation, "json") ? print_json(reports, names.len, err)
						      : print_text(reports, names.len, err);

	for (size_t i = 0; i < names.len; i++)
		report_release(&reports[i]);
	return result;
}

const struct command cmd_ls = {
	.name = "ls",
	.synopsis = "[--json]",
	.summary = "list the sandboxes",
	.options = ls_options,
	.failure = 1,
	.run = list,
};

static const struct option show_options[] = {
	{0, "json", NULL, "print one object"},
	{0, NULL, NULL, NULL},
};

static void add_line(struct str *text, const char *key, const char *value)
{
	str_addf(text, "%-12s ", key);
	str_add_escaped(text, value, strlen(value));
	str_add_char(text, '\n');
}

static void add_repos(const struct sandbox *sandbox, struct str *text)
{
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];

		add_line(text, "repository", repo->name);
		add_line(text, "  host", repo->host);
		add_line(text, "  inside", repo->path);
		add_line(text, "  base", repo->base ? repo->base : "none: it had no commit");
		add_line(text, "  branch", repo->branch ? repo->branch : "none: detached");
	}
}

static void add_checkpoints(const struct sandbox *sandbox, struct str *text)
{
	for (size_t i = 0; i < sandbox->checkpoint_count; i++) {
		const struct checkpoint *checkpoint = &sandbox->checkpoints[i];
		autofree char *key = xasprintf("checkpoint %u", checkpoint->number);
		autofree char *value =
			xasprintf("%s%s%s", checkpoint->created, checkpoint->message ? "  " : "",
				  checkpoint->message ? checkpoint->message : "");

		add_line(text, key, value);
	}
}

static const char *work_text(enum work work)
{
	static const char *const texts[] = {
		"none: work trees and git dirs are as they were",
		"persisted: all of it is on the host, but for ignored files",
		"unpersisted",
	};

	return texts[work];
}

static int show(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	autoreport struct report report = {.sandbox = SANDBOX_INIT};
	autostr struct str text = STR_INIT;
	const char *name = invocation->args[0];

	if (root_open_existing(&root, err) < 0)
		return -1;
	if (option_given(invocation, "json"))
		return report_json_one(&root, name, err);
	if (report_gather(&root, name, &report, err) < 0 || report_judge(&root, &report, err) < 0)
		return -1;
	const struct view_changes *counted = &report.glance.survey.changes;
	autofree char *age = report_age(&report);
	autofree char *size = report_size(report.glance.survey.usage.bytes);
	autofree char *directory = xasprintf("%s/%s", root.path, name);
	autofree char *changes = xasprintf("%zu in work trees, %zu in git dirs, %zu in the home",
					   counted->tree, counted->git, counted->home);

	add_line(&text, "name", name);
	add_line(&text, "state", sandbox_state_name(report.state));
	if (report.broken)
		add_line(&text, "problem", report.broken);
	add_line(&text, "created", report.sandbox.created ? report.sandbox.created : "?");
	add_line(&text, "age", age);
	add_line(&text, "view", report.sandbox.live ? "overlay, live" : "overlay, pinned");
	add_line(&text, "changed", changes);
	add_line(&text, "work", work_text(report.work));
	add_line(&text, "disk", size);
	add_line(&text, "directory", directory);
	add_repos(&report.sandbox, &text);
	add_checkpoints(&report.sandbox, &text);
	return output_text(text.s, err);
}

const struct command cmd_show = {
	.name = "show",
	.synopsis = "NAME [--json]",
	.summary = "show one sandbox: state, base, changes, disk",
	.options = show_options,
	.min_args = 1,
	.max_args = 1,
	.failure = 1,
	.run = show,
};
