#include "base/memory.h"
#include "snapshot/index-internal.h"

void index_split_note(struct index_split *split, enum index_fate fate)
{
	if (fate == INDEX_GONE)
		ewah_set(&split->gone, split->base_at);
	if (fate == INDEX_REPLACED)
		ewah_set(&split->replaced, split->base_at);
	if (fate != INDEX_ADDED)
		split->base_at++;
	split->replacements += fate == INDEX_REPLACED;
	split->additions += fate == INDEX_ADDED;
}

int index_split_header(const struct index_split *split, struct index_out *out, struct error *err)
{
	return index_out_header(out, INDEX_GIT, 3, split->replacements + split->additions, err);
}

int index_split_entry(struct index_out *out, enum index_fate fate, const struct index_entry *entry,
		      struct error *err)
{
	return index_out_entry(out, entry, fate == INDEX_REPLACED ? "" : entry->path, entry->mode,
			       err);
}

int index_split_link(struct index_split *split, const unsigned char *id, struct index_out *out,
		     struct error *err)
{
	autostr struct str link = STR_INIT;

	str_add_bytes(&link, id, index_oid_size(out->sha256));
	ewah_add_to(&split->gone, &link);
	ewah_add_to(&split->replaced, &link);
	return index_out_extension(out, "link", &link, err);
}

void index_split_release(struct index_split *split)
{
	ewah_release(&split->gone);
	ewah_release(&split->replaced);
}

char *index_shared_name(bool sha256, const unsigned char *id)
{
	struct str name = STR_INIT;

	str_add(&name, INDEX_SHARED);
	for (size_t i = 0; i < index_oid_size(sha256); i++)
		str_addf(&name, "%02x", id[i]);
	return str_take(&name);
}
