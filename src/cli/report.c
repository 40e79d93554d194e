#include "cli/report.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/str.h"
#include "cli/output.h"
#include "review/judge.h"
#include "store/name.h"

void report_release(struct report *report)
{
	free(report->name);
	free(report->broken);
	sandbox_release(&report->sandbox);
	glance_release(&report->glance);
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
		   glance_at(root, &report.sandbox, &report.glance, &failure) < 0) {
		/* What is removed while it is looked at is not broken, but gone. */
		if (sandbox_check_kept(root, &report.sandbox, err) < 0)
			return -1;
		report.state = SANDBOX_BROKEN;
	}
	report.work = report.glance.work;
	if (report.state == SANDBOX_BROKEN) {
		report.broken = xstrdup(failure.message);
		report.work = WORK_UNPERSISTED;
		/* As far as it can be read. */
		tree_usage_at(root->fd, name, &report.glance.survey.usage, NULL);
	}
	*ret = report;
	report = (struct report){.sandbox = SANDBOX_INIT};
	return 0;
}

int report_judge(const struct root *root, struct report *report, struct error *err)
{
	if (report->state == SANDBOX_BROKEN)
		return 0;
	return work_judge(root, &report->sandbox, &report->glance, false, &report->work, err);
}

struct gathering {
	const struct root *root;
	const struct strv *names;
	struct report *reports;
	atomic_size_t next;
};

static void *gather_share(void *data)
{
	struct gathering *gathering = data;
	size_t i;

	while ((i = atomic_fetch_add(&gathering->next, 1)) < gathering->names->len) {
		struct report *report = &gathering->reports[i];
		autoerror struct error gone = ERROR_INIT;

		*report = (struct report){.sandbox = SANDBOX_INIT};
		report_gather(gathering->root, gathering->names->items[i], report, &gone);
		fd_close(&report->sandbox.fd);
	}
	return NULL;
}

/* With file descriptors of its own: to share the table costs more than half of what it gains. */
static void *gather_apart(void *data)
{
	if (unshare(CLONE_FILES) < 0)
		return NULL;
	return gather_share(data);
}

void report_gather_all(const struct root *root, const struct strv *names, struct report *ret)
{
	enum { PARALLEL_FROM = 16 };
	struct gathering gathering = {.root = root, .names = names, .reports = ret};
	pthread_t thread;
	bool started = names->len >= PARALLEL_FROM &&
		       pthread_create(&thread, NULL, gather_apart, &gathering) == 0;

	gather_share(&gathering);
	if (started)
		pthread_join(thread, NULL);
}

static json_t *text_or_null(const char *text)
{
	json_t *value = text ? json_string(text) : NULL;

	return value ? value : json_null();
}

static json_t *checkpoints_json(const struct sandbox *sandbox)
{
	json_t *array = json_array();

	for (size_t i = 0; i < sandbox->checkpoint_count; i++) {
		const struct checkpoint *checkpoint = &sandbox->checkpoints[i];

		json_array_append_new(array, json_pack("{s:I,s:o,s:o}", "number",
						       (json_int_t)checkpoint->number, "created",
						       text_or_null(checkpoint->created), "message",
						       text_or_null(checkpoint->message)));
	}
	return array;
}

json_t *report_json(const struct report *report)
{
	const struct sandbox *sandbox = &report->sandbox;
	const struct view_changes *changes = &report->glance.survey.changes;
	json_t *repos = json_array();

	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];

		json_array_append_new(
			repos, json_pack("{s:o,s:o,s:o,s:o,s:o}", "name", text_or_null(repo->name),
					 "host", text_or_null(repo->host), "path",
					 text_or_null(repo->path), "base", text_or_null(repo->base),
					 "branch", text_or_null(repo->branch)));
	}
	return json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:I,s:b,s:s,s:b,s:{s:I,s:I,s:I},s:o,s:o}",
			 "name", report->name, "state", sandbox_state_name(report->state), "view",
			 "overlay", "engine", "native", "created", text_or_null(sandbox->created),
			 "repos", repos, "disk_bytes",
			 (json_int_t)report->glance.survey.usage.bytes, "unpersisted",
			 report->work == WORK_UNPERSISTED, "work", work_name(report->work), "live",
			 sandbox->live, "changes", "tree", (json_int_t)changes->tree, "git",
			 (json_int_t)changes->git, "home", (json_int_t)changes->home, "problem",
			 text_or_null(report->broken), "checkpoints", checkpoints_json(sandbox));
}

int report_json_one(const struct root *root, const char *name, struct error *err)
{
	autoreport struct report report = {.sandbox = SANDBOX_INIT};

	if (report_gather(root, name, &report, err) < 0 || report_judge(root, &report, err) < 0)
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
