#include "snapshot/git-parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/settings.h"

enum { REF_MAX = 65536, PACKED_MAX = 1 << 30, RULES_MAX = 1 << 20 };

/* Refs that each work tree has for itself; git takes them from files only. */
static bool is_private(const char *name)
{
	return str_starts(name, "refs/bisect/") || str_starts(name, "refs/worktree/") ||
	       str_starts(name, "refs/rewritten/");
}

/*
 * Whether a name means in packed-refs what it means as a file: one that git-check-ref-format(1)
 * refuses is damage there, and here a line that git takes for the end of the world.
 */
static bool is_plain_name(const char *name)
{
	for (const char *c = name; *c; c++) {
		if ((unsigned char)*c <= ' ' || strchr("~^:?*[\\\x7f", *c))
			return false;
		if (*c == '.' &&
		    (c == name || c[-1] == '/' || c[-1] == '.' || !c[1] || c[1] == '/'))
			return false;
	}
	return !strstr(name, "@{") && !strstr(name, ".lock/") && !str_ends(name, ".lock");
}

/* An object id with a newline. The id of all zeroes is no object. */
static bool is_oid(const struct str *text)
{
	size_t len = text->len ? strspn(text->s, "0123456789abcdef") : 0;

	return (len == 40 || len == 64) && len + 1 == text->len && text->s[len] == '\n' &&
	       strspn(text->s, "0") < len;
}

struct gathering {
	struct loose_ref *refs;
	size_t count;
	int to;	     /* the directory `refs` of the layer */
	bool common; /* of a linked worktree's common dir: without what belongs to the main one */
	struct error *err;
};

static void gathering_release(struct gathering *gathering)
{
	for (size_t i = 0; i < gathering->count; i++) {
		free(gathering->refs[i].name);
		free(gathering->refs[i].oid);
	}
	free(gathering->refs);
}

static void gather_add(struct gathering *gathering, const char *name, const char *oid)
{
	/* To grow by doubling: whenever the count is a power of two, the array is full. */
	if ((gathering->count & (gathering->count - 1)) == 0)
		gathering->refs =
			xreallocarray(gathering->refs, gathering->count ? gathering->count * 2 : 1,
				      sizeof *gathering->refs);
	gathering->refs[gathering->count++] =
		(struct loose_ref){xstrdup(name), xstrndup(oid, strspn(oid, "0123456789abcdef"))};
}

/* What cannot be packed (a symbolic ref, a link, damage) stays a file. */
static int keep_file(struct gathering *gathering, int dirfd, const char *name, const char *path)
{
	const char *slash = strrchr(path, '/');
	autofree char *parent = xstrndup(path, slash ? (size_t)(slash - path) : 0);
	autofd int to = -1;

	if (dir_make_path_at(gathering->to, parent, 0755, &to, gathering->err) < 0 ||
	    git_copy(dirfd, to, name, gathering->err) < 0)
		return error_wrap(gathering->err, "refs/%s", path);
	return 0;
}

static int gather(void *data, int dirfd, const char *name, const char *path, const struct stat *st)
{
	struct gathering *gathering = data;
	autofree char *ref = xasprintf("refs/%s", path);
	autostr struct str text = STR_INIT;

	if (S_ISDIR(st->st_mode)) {
		autofree char *inside = xasprintf("%s/", ref);

		return gathering->common && is_private(inside) ? TREE_SKIP : 0;
	}
	if (str_ends(name, ".lock"))
		return 0;
	if (S_ISLNK(st->st_mode))
		return keep_file(gathering, dirfd, name, path);
	if (!S_ISREG(st->st_mode))
		return 0;
	autofd int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : error_errno(gathering->err, "cannot read %s", ref);
	if (read_all(fd, REF_MAX, &text, gathering->err) < 0)
		return error_wrap(gathering->err, "%s", ref);
	if (is_private(ref) || !is_oid(&text) || !is_plain_name(ref))
		return keep_file(gathering, dirfd, name, path);
	gather_add(gathering, ref, text.s);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct loose_ref *)a)->name, ((const struct loose_ref *)b)->name);
}

static int gather_refs(struct gathering *gathering, int git_dir)
{
	autofd int refs = git_open(git_dir, "refs");

	if (refs < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : error_errno(gathering->err, "cannot read refs");
	return tree_walk(refs, gather, gathering, gathering->err);
}

/* A line "OID NAME" and, for a tag, "^OID" after it. */
struct record {
	const char *text;
	size_t len;
	const char *name;
	size_t name_len;
};

static int compare_names(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int by_record(const void *a, const void *b)
{
	const struct record *x = a, *y = b;

	return compare_names(x->name, x->name_len, y->name, y->name_len);
}

static const char *line_end(const char *at, const char *end)
{
	const char *newline = memchr(at, '\n', (size_t)(end - at));

	return newline ? newline : end;
}

static size_t parse_packed(const struct str *packed, struct record **ret)
{
	struct record *records = NULL;
	size_t count = 0, room = 0;
	const char *end = packed->s + packed->len;

	for (const char *at = packed->s, *next; at < end; at = next) {
		const char *stop = line_end(at, end);
		const char *space = memchr(at, ' ', (size_t)(stop - at));

		next = stop < end ? stop + 1 : end;
		if (*at == '^' && count) {
			records[count - 1].len = (size_t)(stop - records[count - 1].text);
			continue;
		}
		if (*at == '#' || !space)
			continue;
		if (count == room) {
			room = room ? room * 2 : 64;
			records = xreallocarray(records, room, sizeof *records);
		}
		records[count++] = (struct record){.text = at,
						   .len = (size_t)(stop - at),
						   .name = space + 1,
						   .name_len = (size_t)(stop - space - 1)};
	}
	*ret = records;
	return count;
}

void packed_refs_merge(const struct str *packed, const struct loose_ref *loose, size_t count,
		       struct str *ret)
{
	autofree struct record *records = NULL;
	size_t packed_count = packed->len ? parse_packed(packed, &records) : 0;
	size_t i = 0, k = 0;

	if (packed_count)
		qsort(records, packed_count, sizeof *records, by_record);
	/*
	 * Not "peeled": what a tag among the loose ones leads to, git looks up itself. Where it says so in
	 * the line it is believed all the same.
	 */
	str_add(ret, "# pack-refs with: sorted \n");
	while (i < packed_count || k < count) {
		int order = i == packed_count ? 1
			    : k == count      ? -1
					      : compare_names(records[i].name, records[i].name_len,
							      loose[k].name, strlen(loose[k].name));

		if (order < 0) {
			str_add_bytes(ret, records[i].text, records[i].len);
			str_add_char(ret, '\n');
		} else {
			str_addf(ret, "%s %s\n", loose[k].oid, loose[k].name);
			k++;
		}
		i += order <= 0;
	}
}

/* Loose refs were read before: what a pack-refs moves meanwhile is then found in one of them. */
static int write_packed(const struct gathering *gathering, int common, int git, struct error *err)
{
	autofd int fd = openat(common, "packed-refs", O_RDONLY | O_CLOEXEC);
	autostr struct str packed = STR_INIT;
	autostr struct str merged = STR_INIT;

	if (fd < 0 && errno != ENOENT)
		return error_errno(err, "cannot read packed-refs");
	if (!gathering->count)
		return fd < 0 ? 0 : git_copy(common, git, "packed-refs", err);
	if (fd >= 0 && read_all(fd, PACKED_MAX, &packed, err) < 0)
		return error_wrap(err, "packed-refs");
	packed_refs_merge(&packed, gathering->refs, gathering->count, &merged);
	return file_replace_at(git, "packed-refs", merged.s, merged.len, 0644, false, err);
}

static int pack_refs(int own, int common, bool linked, int git, struct error *err)
{
	__attribute__((cleanup(gathering_release))) struct gathering gathering = {.err = err};
	autofd int refs = -1, heads = -1, tags = -1;

	/*
	 * refs/ must exist for git to take it for a repository, even when all are packed; the other
	 * two git makes with every repository.
	 */
	if (dir_make_at(git, "refs", 0755, &refs, err) < 0 ||
	    dir_make_at(refs, "heads", 0755, &heads, err) < 0 ||
	    dir_make_at(refs, "tags", 0755, &tags, err) < 0)
		return -1;
	gathering.to = refs;
	if (linked && gather_refs(&gathering, own) < 0)
		return -1;
	gathering.common = linked;
	if (gather_refs(&gathering, common) < 0)
		return -1;
	if (gathering.count)
		qsort(gathering.refs, gathering.count, sizeof *gathering.refs, by_name);
	return write_packed(&gathering, common, git, err);
}

/* Those of refs that all work trees share. */
static int copy_shared_reflogs(int common, int to, struct error *err)
{
	autofd int from = git_open(common, "logs/refs");
	autodir DIR *dir = from < 0 ? NULL : fdopendir(fcntl(from, F_DUPFD_CLOEXEC, 3));

	if (from < 0)
		return errno == ENOENT ? 0 : error_errno(err, "cannot read logs/refs");
	if (!dir)
		return error_errno(err, "cannot read logs/refs");
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);

		if (!entry)
			return errno ? error_errno(err, "cannot read logs/refs") : 0;
		autofree char *inside = xasprintf("refs/%s/", entry->d_name);

		if (entry->d_name[0] != '.' && !is_private(inside) &&
		    git_copy_scrubbed(from, to, entry->d_name, err) < 0)
			return -1;
	}
}

static int copy_reflogs(int own, int common, bool linked, int git, struct error *err)
{
	autofd int to = -1;

	if (!linked)
		return git_copy_scrubbed(common, git, "logs", err);
	if (git_copy_scrubbed(own, git, "logs", err) < 0 ||
	    dir_make_path_at(git, "logs/refs", 0755, &to, err) < 0)
		return -1;
	return copy_shared_reflogs(common, to, err);
}

/*
 * Rules may be kept elsewhere, with a link in the git dir. What it leads to is not there inside, so that
 * comes along as a file; what is none, or a large one, does not.
 */
static int copy_linked_rules(int from, int to, const char *name, struct error *err)
{
	autostr struct str text = STR_INIT;
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(st.st_mode))
		return 0;
	autofd int fd = openat(from, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > RULES_MAX)
		return 0;
	if (read_all(fd, RULES_MAX, &text, err) < 0)
		return error_wrap(err, "cannot read info/%s", name);
	return file_replace_at(to, name, text.len ? text.s : "", text.len, 0644, false, err);
}

static int copy_all_linked_rules(int own, int common, int to, struct error *err)
{
	autofd int from = git_open(common, "info");
	autofd int patterns = git_open(own, "info");

	if (from >= 0 && (copy_linked_rules(from, to, "attributes", err) < 0 ||
			  copy_linked_rules(from, to, "exclude", err) < 0))
		return -1;
	return patterns < 0 ? 0 : copy_linked_rules(patterns, to, "sparse-checkout", err);
}

/* Sparse patterns belong to a work tree, the rest of info/ to all of them. */
static int copy_info(int own, int common, bool linked, int git, struct error *err)
{
	static const char *const shared[] = {"attributes", "exclude", "grafts"};

	autofd int from = git_open(common, "info");
	autofd int to = -1;

	if (dir_make_at(git, "info", 0755, &to, err) < 0 ||
	    copy_all_linked_rules(own, common, to, err) < 0)
		return -1;
	if (!linked)
		return git_copy(common, git, "info", err);
	if (git_copy(own, git, "info", err) < 0)
		return -1;
	for (size_t i = 0; from >= 0 && i < ARRAY_SIZE(shared); i++)
		if (git_copy(from, to, shared[i], err) < 0)
			return -1;
	return 0;
}

/* Those of core.hooksPath, when that is in the git dir: inside they are in the usual place. */
static int copy_hooks(const struct repository *repository, const struct config *settings,
		      int common, int git, struct error *err)
{
	autofree char *place = hooks_in_git_dir(repository, settings);
	autofd int from = place ? git_open(AT_FDCWD, place) : -1;
	autofd int to = -1;

	if (!place)
		return git_copy(common, git, "hooks", err);
	if (from < 0)
		return errno == ENOENT ? 0 : error_errno(err, "cannot read %s", place);
	if (dir_make_at(git, "hooks", 0755, &to, err) < 0)
		return -1;
	return git_copy_content(from, to, err);
}

int git_copy_refs(const struct repository *repository, const struct config *settings, int git,
		  struct error *err)
{
	static const char *const rest[] = {"reftable", "shallow", "rr-cache", NULL};
	autofd int own = git_open(AT_FDCWD, repository->git_dir);
	autofd int common = git_open(AT_FDCWD, repository->common_dir);
	bool linked = strcmp(repository->git_dir, repository->common_dir) != 0;

	if (own < 0 || common < 0)
		return error_errno(err, "cannot read %s", repository->git_dir);
	if (pack_refs(own, common, linked, git, err) < 0 ||
	    copy_reflogs(own, common, linked, git, err) < 0 ||
	    copy_info(own, common, linked, git, err) < 0 ||
	    copy_hooks(repository, settings, common, git, err) < 0 ||
	    git_copy(own, git, "ORIG_HEAD", err) < 0)
		return -1;
	for (const char *const *name = rest; *name; name++)
		if (git_copy(common, git, *name, err) < 0)
			return -1;
	return 0;
}

int git_write_head(int git, const struct repository_head *head, struct error *err)
{
	autofree char *text =
		head->ref ? xasprintf("ref: %s\n", head->ref) : xasprintf("%s\n", head->commit);

	return file_replace_at(git, "HEAD", text, strlen(text), 0644, false, err);
}
