#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/index-directories.h"
#include "snapshot/index-internal.h"

#define BASE "base"
#define FSMONITOR_TOKEN "jib:0"
enum { FSMONITOR_VERSION = 2 };

/* `edit` is where the entry comes from; NULL: from the base. */
typedef int visit_entry(void *data, enum index_fate fate, const struct index_entry *entry,
			const struct index_edit *edit, struct error *err);

struct merging {
	struct index_reader *base;
	const struct index_entry *entry; /* the next one of the base, or NULL */
	const struct index_edits *edits;
	size_t at; /* the next edit */
	visit_entry *visit;
	void *data;
};

static int next_entry(struct merging *m, struct error *err)
{
	int result = index_reader_next(m->base, &m->entry, err);

	if (result == INDEX_FOREIGN)
		return index_damaged(BASE, err);
	if (result == 0)
		m->entry = NULL;
	return result < 0 ? -1 : 0;
}

static size_t group_end(const struct merging *m)
{
	const char *path = m->edits->items[m->at].entry.path;
	size_t end = m->at + 1;

	while (end < m->edits->count && strcmp(m->edits->items[end].entry.path, path) == 0)
		end++;
	return end;
}

/* All edits of one path, and what the base has of it. */
static int merge_path(struct merging *m, struct error *err)
{
	size_t end = group_end(m);
	const struct index_edit *edit = &m->edits->items[m->at];
	const char *path = edit->entry.path;
	bool replaces = end == m->at + 1 && !edit->removed && !edit->entry.stage;

	while (m->entry && strcmp(m->entry->path, path) == 0) {
		int result;

		if (replaces && m->at < end && !m->entry->stage) {
			result = m->visit(m->data, INDEX_REPLACED, &edit->entry, edit, err);
			m->at++;
		} else {
			result = m->visit(m->data, INDEX_GONE, m->entry, NULL, err);
		}
		if (result < 0 || next_entry(m, err) < 0)
			return -1;
	}
	for (; m->at < end; m->at++) {
		edit = &m->edits->items[m->at];
		if (!edit->removed && m->visit(m->data, INDEX_ADDED, &edit->entry, edit, err) < 0)
			return -1;
	}
	return 0;
}

/* Visits every entry of the base, and of the edits those that are not removals, in order. */
static int merge(const struct index_composition *c, struct index_reader *base, visit_entry *visit,
		 void *data, struct error *err)
{
	static const struct index_edits none = INDEX_EDITS_INIT;
	struct merging m = {
		.base = base,
		.edits = c->edits ? c->edits : &none,
		.visit = visit,
		.data = data,
	};

	if (next_entry(&m, err) < 0)
		return -1;
	while (m.entry || m.at < m.edits->count) {
		bool kept = m.entry && (m.at == m.edits->count ||
					strcmp(m.entry->path, m.edits->items[m.at].entry.path) < 0);

		if (!kept) {
			if (merge_path(&m, err) < 0)
				return -1;
		} else if (visit(data, INDEX_KEPT, m.entry, NULL, err) < 0 ||
			   next_entry(&m, err) < 0) {
			return -1;
		}
	}
	return 0;
}

/* What is known once all entries were seen, and what comes of it. */
struct composer {
	const struct index_composition *composition;
	struct index_directories *directories;
	uint32_t count;
	bool extended; /* an entry has extended flags */
	struct index_split split;
	struct ewah dirty;		   /* by position in the result */
	const struct index_edit **changes; /* those that replace, then those that are added */
};

static void composer_release(struct composer *c)
{
	index_directories_free(&c->directories);
	index_split_release(&c->split);
	ewah_release(&c->dirty);
	free(c->changes);
}

/* The two kinds of edits, which were counted, grow from both ends of an array with room for all. */
static void note_change(struct composer *c, enum index_fate fate, const struct index_edit *edit)
{
	if (fate == INDEX_REPLACED)
		c->changes[c->split.replacements - 1] = edit;
	else
		c->changes[c->composition->edits->count - c->split.additions] = edit;
}

static int survey(void *data, enum index_fate fate, const struct index_entry *entry,
		  const struct index_edit *edit, struct error *err)
{
	struct composer *c = data;

	index_split_note(&c->split, fate);
	if (fate == INDEX_GONE)
		return 0;
	if (edit)
		note_change(c, fate, edit);
	index_directories_add(c->directories, entry);
	/* What git has to look at in any case must not pass for unchanged. */
	if ((edit && edit->dirty) || entry->stage || entry->intent_to_add)
		ewah_set(&c->dirty, c->count);
	c->extended |= index_entry_is_extended(entry);
	if (c->count++ == UINT32_MAX)
		return error_set(err, ERR_LIMIT, "too many files for an index");
	return 0;
}

static int write_entry(void *data, enum index_fate fate, const struct index_entry *entry,
		       const struct index_edit *edit, struct error *err)
{
	(void)edit;
	return fate == INDEX_GONE ? 0 : index_out_entry(data, entry, entry->path, entry->mode, err);
}

static int open_base(const struct index_composition *c, struct index_reader **ret,
		     struct error *err)
{
	return index_reader_open(c->base_dir, BASE, c->sha256, ret, err);
}

static int write_plain(struct composer *c, struct index_out *out, struct error *err)
{
	autoreader struct index_reader *base = NULL;

	if (open_base(c->composition, &base, err) < 0 ||
	    index_out_header(out, INDEX_GIT, c->extended ? 3 : 2, c->count, err) < 0)
		return -1;
	return merge(c->composition, base, write_entry, out, err);
}

/*
 * What the base does not say: entries that replace one of it, without their paths and in its
 * order, and then new ones.
 */
static int write_changes(struct composer *c, struct index_out *out, struct error *err)
{
	size_t all = c->composition->edits ? c->composition->edits->count : 0;

	if (index_split_header(&c->split, out, err) < 0)
		return -1;
	for (size_t i = 0; i < c->split.replacements; i++)
		if (index_split_entry(out, INDEX_REPLACED, &c->changes[i]->entry, err) < 0)
			return -1;
	for (size_t i = 1; i <= c->split.additions; i++)
		if (index_split_entry(out, INDEX_ADDED, &c->changes[all - i]->entry, err) < 0)
			return -1;
	return 0;
}

/* By hard link, or a copy where the file system has no more of those to give. */
static int link_base(const struct index_composition *c, int dirfd, const unsigned char *id,
		     struct error *err)
{
	autofree char *name = index_shared_name(c->sha256, id);

	/* What has this name has this content. */
	if (linkat(c->base_dir, BASE, dirfd, name, 0) == 0 || errno == EEXIST)
		return 0;
	if (errno != EMLINK && errno != EXDEV && errno != EPERM)
		return error_errno(err, "cannot link the shared index %s", name);
	autofd int from = open_beneath(c->base_dir, BASE, O_RDONLY, 0);

	if (from < 0)
		return error_errno(err, "cannot open the index " BASE);
	return file_copy_at(from, dirfd, name, err);
}

static int write_split(struct composer *c, const struct index_reader *base, int dirfd,
		       struct index_out *out, struct error *err)
{
	unsigned char id[INDEX_OID_MAX];

	if (index_reader_checksum(base, id, err) < 0 ||
	    link_base(c->composition, dirfd, id, err) < 0 || write_changes(c, out, err) < 0)
		return -1;
	return index_split_link(&c->split, id, out, err);
}

static int write_fsmonitor(struct composer *c, struct index_out *out, struct error *err)
{
	autostr struct str content = STR_INIT;
	autostr struct str dirty = STR_INIT;

	ewah_add_to(&c->dirty, &dirty);
	str_add_u32(&content, FSMONITOR_VERSION);
	str_add_bytes(&content, FSMONITOR_TOKEN, sizeof FSMONITOR_TOKEN);
	str_add_u32(&content, (uint32_t)dirty.len);
	str_add_bytes(&content, dirty.s, dirty.len);
	return index_out_extension(out, "FSMN", &content, err);
}

/* In the order in which git writes them. */
static int write_extensions(struct composer *c, struct index_out *out, struct error *err)
{
	autostr struct str tree = STR_INIT;
	autostr struct str untracked = STR_INIT;

	index_directories_cache_tree(c->directories, &tree);
	if (index_out_extension(out, "TREE", &tree, err) < 0)
		return -1;
	if (c->composition->location) {
		index_directories_untracked(c->directories, &untracked);
		if (index_out_extension(out, "UNTR", &untracked, err) < 0)
			return -1;
	}
	return c->composition->fsmonitor ? write_fsmonitor(c, out, err) : 0;
}

static int compose(struct composer *c, int dirfd, struct error *err)
{
	const struct index_composition *composition = c->composition;
	autoreader struct index_reader *base = NULL;
	autoout struct index_out out = INDEX_OUT_INIT;

	if (open_base(composition, &base, err) < 0 || merge(composition, base, survey, c, err) < 0)
		return -1;
	index_directories_end(c->directories);
	if (index_out_open(dirfd, "index", composition->sha256, &out, err) < 0)
		return -1;
	int result = c->count < composition->split_from ? write_plain(c, &out, err)
							: write_split(c, base, dirfd, &out, err);

	if (result < 0 || write_extensions(c, &out, err) < 0)
		return -1;
	return index_out_finish(&out, err);
}

int index_compose(const struct index_composition *composition, int dirfd, struct error *err)
{
	struct composer c = {
		.composition = composition,
		.directories = index_directories_new(composition),
	};

	if (composition->edits && composition->edits->count)
		c.changes = xcalloc(composition->edits->count, sizeof(void *));
	int result = compose(&c, dirfd, err);

	composer_release(&c);
	return result < 0 ? error_wrap(err, "cannot compose an index") : 0;
}
