#include "cli/report.h"
#include "cli/changes.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/str.h"
#include "cli/output.h"
#include "store/name.h"

void report_release(struct report *report)
{
	free(report->name);
	free(report->broken);
	sandbox_release(&report->sandbox);
	*report = (struct report){.sandbox = SANDBOX_INIT};
}

int report_gather(const struct root *root, const char *name, struct report *ret, struct error *err)
{
	autoreport struct report report = {.sandbox = SANDBOX_INIT};
	autoerror struct error failure = ERROR_INIT;

	report.name = xstrdup(name);
	if (sandbox_open(root, name, &report.sandbox, &failure) < 0) {
		if (failure.code == ERR_NOT_FOUND || failure.code == ERR_NAME) {
			*err = failure;
			failure = (struct error)ERROR_INIT;
			return -1;
		}
		if (faccessat(root->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			return error_set(err, ERR_NOT_FOUND, "there is no sandbox %s", name);
		report.state = SANDBOX_BROKEN;
	} else if (sandbox_state(&report.sandbox, &report.state, &failure) < 0 ||
		   changes_of(root, &report.sandbox, &report.changes, &failure) < 0) {
		/* What is removed while it is looked at is not broken, but gone. */
		if (sandbox_check_kept(root, &report.sandbox, err) < 0)
			return -1;
		report.state = SANDBOX_BROKEN;
	}
	if (report.state == SANDBOX_BROKEN)
		report.broken = xstrdup(failure.message);
	error_clear(&failure);
	/* Of a running sandbox files come and go while they are counted. */
	if (sandbox_disk(root, name, &report.disk, &failure) < 0)
		report.disk = 0;
	*ret = report;
	report = (struct report){.sandbox = SANDBOX_INIT};
	return 0;
}

static json_t *text_or_null(const char *text)
{
	json_t *value = text ? json_string(text) : NULL;

	return value ? value : json_null();
}

json_t *report_json(const struct report *report)
{
	const struct sandbox *sandbox = &report->sandbox;
	json_t *repos = json_array();

	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];

		json_array_append_new(
			repos, json_pack("{s:o,s:o,s:o,s:o,s:o}", "name", text_or_null(repo->name),
					 "host", text_or_null(repo->host), "path",
					 text_or_null(repo->path), "base", text_or_null(repo->base),
					 "branch", text_or_null(repo->branch)));
	}
	return json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:I,s:b,s:b,s:{s:I,s:I,s:I},s:o}", "name",
			 report->name, "state", sandbox_state_name(report->state), "view",
			 "overlay", "engine", "native", "created", text_or_null(sandbox->created),
			 "repos", repos, "disk_bytes", (json_int_t)report->disk, "unpersisted",
			 view_changed(&report->changes), "live", sandbox->live, "changes", "tree",
			 (json_int_t)report->changes.tree, "git", (json_int_t)report->changes.git,
			 "home", (json_int_t)report->changes.home, "problem",
			 text_or_null(report->broken));
}

int report_json_one(const struct root *root, const char *name, struct error *err)
{
	autoreport struct report report = {.sandbox = SANDBOX_INIT};

	if (report_gather(root, name, &report, err) < 0)
		return -1;
	return output_json(report_json(&report), err);
}

char *report_age(const struct report *report)
{
	static const struct {
		long seconds;
		const char *unit;
	} units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
	struct tm tm = {0};

	if (!report->sandbox.created ||
	    !strptime(report->sandbox.created, "%Y-%m-%dT%H:%M:%SZ", &tm))
		return xstrdup("?");
	long age = (long)(time(NULL) - timegm(&tm));

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (age >= units[i].seconds)
			return xasprintf("%ld %s", age / units[i].seconds, units[i].unit);
	return xstrdup("0 s");
}

char *report_size(uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double size = (double)bytes / 1024;
	size_t unit = 0;

	while (size >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		size /= 1024;
		unit++;
	}
	return xasprintf(unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
}
