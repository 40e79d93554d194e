#include <string.h>

#include "base/memory.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/report.h"
#include "store/collect.h"

static const struct option options[] = {
	{'n', "dry-run", NULL, "only tell what would be removed"},
	{0, "json", NULL, "print one object"},
	{0, NULL, NULL, NULL},
};

static json_t *collection_json(const struct collection *collection, bool dry_run)
{
	json_t *removed = json_array(), *kept = json_array();
	uint64_t bytes = 0;

	for (size_t i = 0; i < collection->count; i++) {
		const struct collected *item = &collection->items[i];

		if (item->kept) {
			autostr struct str reason = STR_INIT;

			/* It may quote a file's name, which need not be UTF-8. */
			str_add_escaped(&reason, item->kept, strlen(item->kept));
			json_array_append_new(kept, json_pack("{s:s,s:s}", "layer", item->id,
							      "reason", reason.s));
			continue;
		}
		json_array_append_new(removed, json_pack("{s:s,s:I}", "layer", item->id, "bytes",
							 (json_int_t)item->bytes));
		bytes += item->bytes;
	}
	return json_pack("{s:o,s:o,s:I,s:b}", "removed", removed, "kept", kept, "bytes",
			 (json_int_t)bytes, "dry_run", dry_run);
}

static void add_row(const struct collected *item, bool dry_run, struct str *text)
{
	autofree char *size = item->kept ? xstrdup("-") : report_size(item->bytes);

	str_add_escaped(text, item->id, strlen(item->id));
	str_addf(text, " %10s  ", size);
	if (item->kept) {
		str_add(text, "kept: ");
		str_add_escaped(text, item->kept, strlen(item->kept));
	} else {
		str_add(text, dry_run ? "would be removed" : "removed");
	}
	str_add_char(text, '\n');
}

static int print(const struct collection *collection, bool dry_run, struct error *err)
{
	autostr struct str text = STR_INIT;
	uint64_t bytes = 0;
	size_t count = 0;

	for (size_t i = 0; i < collection->count; i++) {
		add_row(&collection->items[i], dry_run, &text);
		if (collection->items[i].kept)
			continue;
		bytes += collection->items[i].bytes;
		count++;
	}
	autofree char *size = report_size(bytes);

	str_addf(&text, "%zu layer%s%s, %s\n", count, count == 1 ? "" : "s",
		 dry_run ? " would be removed" : " removed", size);
	return output_text(text.s, err);
}

static int collect_garbage(const struct invocation *invocation, struct error *err)
{
	autoroot struct root root = ROOT_INIT;
	autocollection struct collection collection = {0};
	bool dry_run = option_given(invocation, "dry-run");

	/* Opening a root sweeps what dead commands left in it. */
	if (root_open_existing(&root, err) < 0 ||
	    collect(&root, NULL, dry_run, &collection, err) < 0)
		return -1;
	return option_given(invocation, "json")
		       ? output_json(collection_json(&collection, dry_run), err)
		       : print(&collection, dry_run, err);
}

const struct command cmd_gc = {
	.name = "gc",
	.synopsis = "[--dry-run] [--json]",
	.summary = "remove the layers that no sandbox uses",
	.options = options,
	.failure = 1,
	.run = collect_garbage,
};
