#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/index-internal.h"

#define INDEX "index"
#define FRESH "index.new"

enum {
	SIZE_MAX_READ = 1 << 30,
	COUNT_MAX = 10000000,
	/* git moves everything behind an addition, each time that it reads the index. */
	ADDITIONS_MAX = 1024,
	/* What differs is held in memory. */
	REPLACEMENTS_MAX = 1 << 16,
	PATHS_MAX = 1 << 20,
};

/* The sandbox's own index beside the shared one; both in the order of paths and stages. */
struct comparison {
	struct index_reader *base, *own;
	const struct index_entry *base_entry, *own_entry; /* the next ones, or NULL */
	uint32_t left;					  /* of its own, not read yet */
};

typedef int visit_fate(void *data, enum index_fate fate, const struct index_entry *entry,
		       struct error *err);

static int stays(const char *why, struct error *err)
{
	return error_set(err, ERR_UNSUPPORTED, "an index that %s stays as it is", why);
}

static int next_base(struct comparison *c, struct error *err)
{
	int result = index_reader_next(c->base, &c->base_entry, err);

	if (result == 0)
		c->base_entry = NULL;
	if (result == INDEX_FOREIGN)
		return stays("has a base that is none", err);
	return result < 0 ? -1 : 0;
}

/* Not beyond the last entry: what comes then is the caller's. */
static int next_own(struct comparison *c, struct error *err)
{
	c->own_entry = NULL;
	if (!c->left)
		return 0;
	c->left--;
	int result = index_reader_next(c->own, &c->own_entry, err);

	if (result == INDEX_FOREIGN)
		return stays("is split or sparse", err);
	return result < 0 ? -1 : 0;
}

static void comparison_end(struct comparison *c)
{
	index_reader_close(&c->base);
	index_reader_close(&c->own);
}
#define autocomparison __attribute__((cleanup(comparison_end)))

static int comparison_begin(const struct index_shrinking *request, struct comparison *c,
			    struct error *err)
{
	if (index_reader_open(request->base_dir, request->base, request->sha256, &c->base, err) <
		    0 ||
	    index_reader_open(request->dirfd, INDEX, request->sha256, &c->own, err) < 0)
		return -1;
	c->left = index_reader_count(c->own);
	return 0;
}

static bool is_same(const struct index_entry *a, const struct index_entry *b, size_t oid)
{
	return a->mode == b->mode && memcmp(a->oid, b->oid, oid) == 0 &&
	       memcmp(&a->stat, &b->stat, sizeof a->stat) == 0 &&
	       a->assume_valid == b->assume_valid && a->skip_worktree == b->skip_worktree &&
	       a->intent_to_add == b->intent_to_add;
}

/* Whether the next entry is the base's alone (below 0), of both, or its own alone (above 0). */
static int order(const struct comparison *c)
{
	if (!c->base_entry || !c->own_entry)
		return c->base_entry ? -1 : 1;
	int paths = strcmp(c->base_entry->path, c->own_entry->path);

	return paths ? paths : (int)c->base_entry->stage - (int)c->own_entry->stage;
}

/* Visits every entry of either: of what is in both, the own one. */
static int compare(struct comparison *c, size_t oid, visit_fate *visit, void *data,
		   struct error *err)
{
	if (next_base(c, err) < 0 || next_own(c, err) < 0)
		return -1;
	while (c->base_entry || c->own_entry) {
		int which = order(c);
		enum index_fate fate = which < 0 ? INDEX_GONE : INDEX_ADDED;

		if (which == 0)
			fate = is_same(c->base_entry, c->own_entry, oid) ? INDEX_KEPT
									 : INDEX_REPLACED;
		if (visit(data, fate, which < 0 ? c->base_entry : c->own_entry, err) < 0 ||
		    (which <= 0 && next_base(c, err) < 0) || (which >= 0 && next_own(c, err) < 0))
			return -1;
	}
	return 0;
}

struct shrinking {
	const struct index_shrinking *request;
	struct stat st;
	size_t oid;
	unsigned char id[INDEX_OID_MAX]; /* of the base */
	struct index_split split;
	struct index_edits replacements, additions; /* the first without their paths */
	size_t paths;				    /* bytes of those of additions */
	uint64_t saved;				    /* bytes */
	struct index_out out;
};

static void collect(struct shrinking *s, enum index_fate fate, const struct index_entry *entry)
{
	struct index_entry bare = *entry;

	bare.path = "";
	if (fate == INDEX_REPLACED)
		index_edits_add(&s->replacements, &bare, false, false);
	if (fate == INDEX_ADDED)
		index_edits_add(&s->additions, entry, false, false);
}

static int survey_entry(void *data, enum index_fate fate, const struct index_entry *entry,
			struct error *err)
{
	struct shrinking *s = data;
	size_t path = strlen(entry->path);

	index_split_note(&s->split, fate);
	collect(s, fate, entry);
	if (fate == INDEX_KEPT)
		s->saved += INDEX_STAT + s->oid + 2;
	if (fate == INDEX_KEPT || fate == INDEX_REPLACED)
		s->saved += path;
	if (fate == INDEX_ADDED)
		s->paths += path;
	return s->split.additions > ADDITIONS_MAX || s->split.replacements > REPLACEMENTS_MAX ||
			       s->paths > PATHS_MAX
		       ? stays("has much of its own", err)
		       : 0;
}

/* By the name that git looks for, and nothing else. */
static int identify_base(struct shrinking *s, const struct index_reader *base, struct error *err)
{
	if (index_reader_checksum(base, s->id, err) < 0)
		return -1;
	autofree char *name = index_shared_name(s->request->sha256, s->id);

	return strcmp(name, s->request->base) == 0 ? 0 : stays("has a base of another name", err);
}

static int write_entries(struct shrinking *s, enum index_fate fate, const struct index_edits *edits,
			 struct error *err)
{
	for (size_t i = 0; i < edits->count; i++)
		if (index_split_entry(&s->out, fate, &edits->items[i].entry, err) < 0)
			return -1;
	return 0;
}

/*
 * Of the extensions none depends on where an entry comes from. Only with their end it is known
 * that the index is sound.
 */
static int copy_rest(struct shrinking *s, struct index_reader *own, struct error *err)
{
	const struct index_entry *none;

	index_reader_copy(own, &s->out);
	int result = index_reader_next(own, &none, err);

	return result == INDEX_FOREIGN ? stays("is split or sparse", err) : result;
}

static int write_index(struct shrinking *s, struct index_reader *own, struct error *err)
{
	/* What a run that was killed has left. */
	if (unlinkat(s->request->scratch, FRESH, 0) < 0 && errno != ENOENT)
		return error_errno(err, "cannot remove " FRESH);
	if (index_out_open(s->request->scratch, FRESH, s->request->sha256, &s->out, err) < 0 ||
	    index_split_header(&s->split, &s->out, err) < 0 ||
	    write_entries(s, INDEX_REPLACED, &s->replacements, err) < 0 ||
	    write_entries(s, INDEX_ADDED, &s->additions, err) < 0 ||
	    index_split_link(&s->split, s->id, &s->out, err) < 0 || copy_rest(s, own, err) < 0)
		return -1;
	return index_out_finish(&s->out, err);
}

/*
 * The time too: from it git tells which files may have changed in the instant after the index was
 * written, and a later one would have it trust them.
 */
static int take_over(const struct shrinking *s, struct error *err)
{
	const struct index_shrinking *request = s->request;
	const struct timespec times[2] = {s->st.st_atim, s->st.st_mtim};
	autofd int fd = open_beneath(request->scratch, FRESH, O_RDONLY, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "cannot open " FRESH);
	if ((st.st_uid != s->st.st_uid || st.st_gid != s->st.st_gid) &&
	    fchown(fd, s->st.st_uid, s->st.st_gid) < 0)
		return error_errno(err, "cannot change the owner of " FRESH);
	if (fchmod(fd, s->st.st_mode & 0777) < 0 || futimens(fd, times) < 0)
		return error_errno(err, "cannot change the mode of " FRESH);
	if (request->durable && fsync(fd) < 0)
		return error_errno(err, "cannot sync " FRESH);
	if (renameat(request->scratch, FRESH, request->dirfd, INDEX) < 0)
		return error_errno(err, "cannot replace " INDEX);
	return 0;
}

static int replace(const struct shrinking *s, struct error *err)
{
	if (take_over(s, err) == 0)
		return INDEX_SHRUNK;
	unlinkat(s->request->scratch, FRESH, 0);
	return -1;
}

static int shrink(struct shrinking *s, struct error *err)
{
	autocomparison struct comparison c = {0};

	if (fstatat(s->request->dirfd, INDEX, &s->st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, "cannot find " INDEX);
	if (!S_ISREG(s->st.st_mode) || s->st.st_size > SIZE_MAX_READ)
		return stays("is no file, or very large,", err);
	if (comparison_begin(s->request, &c, err) < 0)
		return -1;
	/* What is split is written as version 3, and who has asked for 4 shall keep it. */
	if (index_reader_version(c.own) > 3 || index_reader_count(c.own) > COUNT_MAX)
		return stays("is compressed, or very large,", err);
	index_reader_verify(c.own);
	if (identify_base(s, c.base, err) < 0 || compare(&c, s->oid, survey_entry, s, err) < 0)
		return -1;
	if (s->saved * 2 < (uint64_t)s->st.st_size)
		return 0;
	return write_index(s, c.own, err) < 0 ? -1 : replace(s, err);
}

int index_shrink(const struct index_shrinking *request, struct error *err)
{
	struct shrinking s = {
		.request = request,
		.oid = index_oid_size(request->sha256),
		.out = INDEX_OUT_INIT,
	};
	int result = shrink(&s, err);

	index_out_abort(&s.out);
	index_split_release(&s.split);
	index_edits_release(&s.replacements);
	index_edits_release(&s.additions);
	return result;
}
