#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/report.h"
#include "kernel/cgroup.h"
#include "review/gc.h"

static const struct option options[] = {
	{'n', "dry-run", NULL, "only tell what would be removed"},
	{0, "older-than", "AGE", "only sandboxes unused for so long (30m, 12h, 7d, 2w)"},
	{0, "max-disk", "SIZE", "also others, until the store takes no more (512M, 20G)"},
	{'f', "force", NULL, "with --older-than: also what holds unpersisted work"},
	{0, "json", NULL, "print one object"},
	{0, NULL, NULL, NULL},
};

static int parse_age(const char *text, time_t *ret, struct error *err)
{
	static const struct {
		char unit;
		long seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7 * 86400}};
	enum { AGE_MAX = 1000000 };
	char *end;
	long number = -1;

	/* No sign and no blank, which strtol(3) would take. */
	if (text[0] >= '0' && text[0] <= '9')
		number = strtol(text, &end, 10);
	for (size_t i = 0; number >= 0 && number <= AGE_MAX && i < ARRAY_SIZE(units); i++) {
		if (end[0] != units[i].unit || end[1])
			continue;
		*ret = number * units[i].seconds;
		return 0;
	}
	error_set(err, ERR_USAGE, "--older-than: \"%s\" is no age", text);
	return error_hint(err, "a whole number and s, m, h, d or w: 30m, 12h, 7d, 2w");
}

static int read_request(const struct invocation *invocation, struct gc_request *ret,
			struct error *err)
{
	const char *age = option_value(invocation, "older-than");
	const char *size = option_value(invocation, "max-disk");
	struct gc_request request = {
		.dry_run = option_given(invocation, "dry-run"),
		.force = option_given(invocation, "force"),
		.aged = age != NULL,
		.capped = size != NULL,
	};

	if (age && parse_age(age, &request.older_than, err) < 0)
		return -1;
	if (size && limits_parse_size(size, &request.max_disk) < 0) {
		error_set(err, ERR_USAGE, "--max-disk: \"%s\" is no size", size);
		return error_hint(err, "a number and K, M, G or T: 512M, 20G");
	}
	if (request.force && !request.aged) {
		error_set(err, ERR_USAGE, "--force discards unpersisted work only with an age");
		return error_hint(err, "add --older-than AGE; `jib rm --force NAME` discards one");
	}
	*ret = request;
	return 0;
}

static json_t *escaped_json(const char *text)
{
	autostr struct str escaped = STR_INIT;

	/* It may quote a file's name, which need not be UTF-8. */
	str_add_escaped(&escaped, text, strlen(text));
	return json_string(escaped.s ? escaped.s : "");
}

static const char *what_of(const struct gc_item *item)
{
	return item->is_sandbox ? "sandbox" : "layer";
}

static json_t *result_json(const struct gc_request *request, const struct gc_result *result)
{
	json_t *removed = json_array(), *kept = json_array();

	for (size_t i = 0; i < result->count; i++) {
		const struct gc_item *item = &result->items[i];

		json_array_append_new(item->kept ? kept : removed,
				      json_pack("{s:s,s:o,s:I,s:o}", "what", what_of(item),
						what_of(item), escaped_json(item->name), "bytes",
						(json_int_t)item->bytes, "reason",
						escaped_json(item->reason)));
	}
	json_t *object = json_pack("{s:o,s:o,s:I,s:b}", "removed", removed, "kept", kept, "bytes",
				   (json_int_t)result->bytes, "dry_run", request->dry_run);

	if (request->capped) {
		json_object_set_new(object, "max_disk",
				    json_integer((json_int_t)request->max_disk));
		json_object_set_new(object, "disk_bytes", json_integer((json_int_t)result->disk));
		json_object_set_new(object, "reached",
				    json_boolean(result->disk <= request->max_disk));
	}
	return object;
}

static void add_row(const struct gc_item *item, bool dry_run, struct str *text)
{
	autofree char *size = report_size(item->bytes);
	const char *fate = item->kept ? "kept" : dry_run ? "would be removed" : "removed";

	str_addf(text, "%-8s ", what_of(item));
	str_add_escaped(text, item->name, strlen(item->name));
	str_addf(text, " %10s  %s: ", size, fate);
	str_add_escaped(text, item->reason, strlen(item->reason));
	str_add_char(text, '\n');
}

static const char *plural(size_t count, const char *one, const char *many)
{
	return count == 1 ? one : many;
}

static int print(const struct gc_request *request, const struct gc_result *result,
		 struct error *err)
{
	autostr struct str text = STR_INIT;
	autofree char *freed = report_size(result->bytes);
	size_t sandboxes = 0, layers = 0;

	for (size_t i = 0; i < result->count; i++) {
		const struct gc_item *item = &result->items[i];

		add_row(item, request->dry_run, &text);
		sandboxes += item->is_sandbox && !item->kept;
		layers += !item->is_sandbox && !item->kept;
	}
	if (sandboxes)
		str_addf(&text, "%zu %s, ", sandboxes, plural(sandboxes, "sandbox", "sandboxes"));
	str_addf(&text, "%zu %s%s, %s\n", layers, plural(layers, "layer", "layers"),
		 request->dry_run ? " would be removed" : " removed", freed);
	if (request->capped) {
		autofree char *disk = report_size(result->disk);
		autofree char *goal = report_size(request->max_disk);

		str_addf(&text,
			 result->disk <= request->max_disk
				 ? "the store %s %s, within %s\n"
				 : "the store %s %s, more than %s: the rest is in use or holds "
				   "unpersisted work\n",
			 request->dry_run ? "would take" : "takes", disk, goal);
	}
	return output_text(text.s, err);
}

static int collect_garbage(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	autogc struct gc_result result = {0};
	struct gc_request request;

	/* Opening a root sweeps what dead commands left in it. */
	if (read_request(invocation, &request, err) < 0 || root_open_existing(&root, err) < 0 ||
	    gc(&root, &request, &result, err) < 0)
		return -1;
	return option_given(invocation, "json") ? output_json(result_json(&request, &result), err)
						: print(&request, &result, err);
}

const struct command cmd_gc = {
	.name = "gc",
	.synopsis = "[--older-than AGE] [--max-disk SIZE] [--dry-run] [--force] [--json]",
	.summary = "remove sandboxes without changes and layers that no sandbox uses",
	.options = options,
	.failure = 1,
	.run = collect_garbage,
};
