#include <string.h>

#include "base/memory.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/report.h"
#include "review/usage.h"

static const struct option options[] = {
	{0, "json", NULL, "print one object"},
	{0, NULL, NULL, NULL},
};

/* The layers of one repository, or of none. */
struct group {
	const char *host;
	size_t layers;
	struct tree_usage own;
	uint64_t shared;
};

struct groups {
	struct group *items;
	size_t count;
};

static bool same_host(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : !a && !b;
}

static struct group *find_group(struct groups *groups, const char *host)
{
	for (size_t i = 0; i < groups->count; i++)
		if (same_host(groups->items[i].host, host))
			return &groups->items[i];
	groups->items = xreallocarray(groups->items, groups->count + 1, sizeof *groups->items);
	struct group *group = &groups->items[groups->count++];

	*group = (struct group){.host = host};
	return group;
}

/* What no sandbox uses comes last. */
static int compare_groups(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	if (!x->host || !y->host)
		return !x->host - !y->host;
	return strcmp(x->host, y->host);
}

static struct groups group_layers(const struct store_usage *usage)
{
	struct groups groups = {0};

	for (size_t i = 0; i < usage->layer_count; i++) {
		const struct layer_usage *layer = &usage->layers[i];
		struct group *group = find_group(&groups, layer->host);

		group->layers++;
		group->own.bytes += layer->own.bytes;
		group->own.inodes += layer->own.inodes;
		group->shared += layer->shared;
	}
	if (groups.count)
		qsort(groups.items, groups.count, sizeof *groups.items, compare_groups);
	return groups;
}

static json_t *escaped_or_null(const char *text)
{
	autostr struct str escaped = STR_INIT;

	if (!text)
		return json_null();
	str_add_escaped(&escaped, text, strlen(text));
	return json_string(escaped.s ? escaped.s : "");
}

static json_t *layers_json(const struct store_usage *usage, const char *host)
{
	json_t *array = json_array();

	for (size_t i = 0; i < usage->layer_count; i++) {
		const struct layer_usage *layer = &usage->layers[i];

		if (same_host(layer->host, host))
			json_array_append_new(array,
					      json_pack("{s:o,s:I,s:I,s:I}", "layer",
							escaped_or_null(layer->id), "bytes",
							(json_int_t)layer->own.bytes, "inodes",
							(json_int_t)layer->own.inodes,
							"shared_bytes", (json_int_t)layer->shared));
	}
	return array;
}

static json_t *usage_json(const struct store_usage *usage, const struct groups *groups)
{
	json_t *sandboxes = json_array(), *repos = json_array();
	struct tree_usage total = store_usage_total(usage);
	uint64_t shared = 0;

	for (size_t i = 0; i < usage->sandbox_count; i++) {
		const struct sandbox_usage *sandbox = &usage->sandboxes[i];

		json_array_append_new(sandboxes,
				      json_pack("{s:s,s:I,s:I}", "name", sandbox->name, "bytes",
						(json_int_t)sandbox->own.bytes, "inodes",
						(json_int_t)sandbox->own.inodes));
	}
	for (size_t i = 0; i < groups->count; i++) {
		const struct group *group = &groups->items[i];

		shared += group->shared;
		json_array_append_new(repos, json_pack("{s:o,s:o,s:I,s:I,s:I}", "host",
						       escaped_or_null(group->host), "layers",
						       layers_json(usage, group->host), "bytes",
						       (json_int_t)group->own.bytes, "inodes",
						       (json_int_t)group->own.inodes,
						       "shared_bytes", (json_int_t)group->shared));
	}
	return json_pack("{s:o,s:o,s:{s:I,s:I},s:I,s:I,s:I}", "sandboxes", sandboxes,
			 "repositories", repos, "other", "bytes", (json_int_t)usage->other.bytes,
			 "inodes", (json_int_t)usage->other.inodes, "bytes",
			 (json_int_t)total.bytes, "inodes", (json_int_t)total.inodes,
			 "shared_bytes", (json_int_t)shared);
}

static void add_row(struct str *text, const struct tree_usage *own, const uint64_t *shared,
		    const char *what)
{
	autofree char *size = report_size(own->bytes);
	autofree char *with_host = shared ? report_size(*shared) : xstrdup("");

	str_addf(text, "%10s %9llu %12s  ", size, (unsigned long long)own->inodes, with_host);
	str_add_escaped(text, what, strlen(what));
	str_add_char(text, '\n');
}

static int print(const struct store_usage *usage, const struct groups *groups, struct error *err)
{
	autostr struct str text = STR_INIT;
	struct tree_usage total = store_usage_total(usage);
	uint64_t shared = 0;

	str_addf(&text, "%10s %9s %12s  %s\n", "DISK", "INODES", "ALSO HOST'S", "WHAT");
	for (size_t i = 0; i < usage->sandbox_count; i++) {
		autofree char *what = xasprintf("sandbox %s", usage->sandboxes[i].name);

		add_row(&text, &usage->sandboxes[i].own, NULL, what);
	}
	for (size_t i = 0; i < groups->count; i++) {
		const struct group *group = &groups->items[i];
		autofree char *what =
			xasprintf("%zu layer%s %s%s", group->layers, group->layers == 1 ? "" : "s",
				  group->host ? "of " : "that no sandbox uses",
				  group->host ? group->host : "");

		shared += group->shared;
		add_row(&text, &group->own, &group->shared, what);
	}
	add_row(&text, &usage->other, NULL, "other: jib's own notes, and what is being removed");
	add_row(&text, &total, &shared, "in all");
	return output_text(text.s, err);
}

static int disk_usage(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	autousage struct store_usage usage = {0};

	if (root_open_existing(&root, err) < 0 || store_usage(&root, &usage, err) < 0)
		return -1;
	struct groups groups = group_layers(&usage);
	int result = option_given(invocation, "json")
			     ? output_json(usage_json(&usage, &groups), err)
			     : print(&usage, &groups, err);

	free(groups.items);
	return result;
}

const struct command cmd_du = {
	.name = "du",
	.synopsis = "[--json]",
	.summary = "tell what sandboxes and layers take on the disk",
	.options = options,
	.failure = 1,
	.run = disk_usage,
};
