#include "review/stages.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "git/git.h"

/*
 * Beside the journal: paths, NUL-terminated, and entries as `git ls-files -s -z` prints and
 * `git update-index -z --index-info` reads them.
 */
static const char paths_file[] = "index-paths";
static const char before_file[] = "index-before";
static const char after_file[] = "index-after";
static const char input_file[] = "index-input";
static const char blob_file[] = "index-blob";

enum { STAGES_MAX = 1 << 28, PATHS_AT_ONCE = 65536 };

static struct git_place place_of(const struct repository *repository)
{
	return (struct git_place){.directory = repository->top};
}

int stages_check_lock(const struct repository *repository, int git_dir, struct error *err)
{
	if (faccessat(git_dir, "index.lock", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		error_set(err, ERR_RUNNING,
			  "another git process is working on %s: %s/index.lock exists",
			  repository->top, repository->git_dir);
		return error_hint(err, "wait for it; if none is running, remove the file");
	}
	if (errno != ENOENT)
		return error_errno(err, "cannot look into %s", repository->git_dir);
	return 0;
}

static int save(int dirfd, const char *name, const struct str *text, struct error *err)
{
	return file_replace_at(dirfd, name, text->len ? text->s : "", text->len, 0600, true, err);
}

/* A link's target is its blob. */
static int open_link(int from, const char *path, int dirfd, int *ret, struct error *err)
{
	const struct content_wish wish = {.mode = 0600};
	struct content seen;
	char target[4096];

	if (content_look(from, path, &seen, err) < 0 ||
	    content_copy(from, path, &seen, &wish, dirfd, blob_file, err) < 0)
		return -1;
	ssize_t len = readlinkat(dirfd, blob_file, target, sizeof target);

	if (len < 0)
		return error_errno(err, "cannot read a symbolic link");
	if (file_replace_at(dirfd, blob_file, target, (size_t)len, 0600, false, err) < 0)
		return -1;
	*ret = open_beneath(dirfd, blob_file, O_RDONLY, 0);
	return *ret < 0 ? error_errno(err, "cannot open a blob") : 0;
}

struct stage {
	const struct verdict *verdict;
	int number;
	const struct content *content;
	int from; /* where the content is */
	const char *from_path;
};

static int add_stage(const struct repository *repository, const struct stage *stage, int dirfd,
		     struct str *entries, struct error *err)
{
	const char *path = stage->verdict->change->path;
	autofree char *option = xasprintf("--path=%s", path);
	bool link = stage->content->kind == CONTENT_LINK;
	const char *args[] = {"hash-object", "-w", "--stdin", link ? NULL : option, NULL};
	struct git_place place = place_of(repository);
	autostr struct str oid = STR_INIT;
	autofd int input = -1;

	if (stage->content->kind == CONTENT_ABSENT)
		return 0;
	if ((link ? open_link(stage->from, stage->from_path, dirfd, &input, err)
		  : content_open(stage->from, stage->from_path, &input, err)) < 0)
		return -1;
	place.input = input;
	if (git_run(&place, args, &oid, err) < 0)
		return -1;
	if (link && unlinkat(dirfd, blob_file, 0) < 0)
		return error_errno(err, "cannot remove a blob");
	str_addf(entries, "%s %.*s %d\t%s",
		 link			      ? "120000"
		 : stage->content->executable ? "100755"
					      : "100644",
		 (int)strcspn(oid.s, "\n"), oid.s, stage->number, path);
	str_add_char(entries, '\0');
	return 0;
}

static int add_stages(const struct repository *repository, const struct merge *merge,
		      const struct verdict *verdict, int dirfd, struct str *entries,
		      struct error *err)
{
	const struct change *change = verdict->change;
	const struct stage stages[] = {
		{verdict, 1, &verdict->base, change->base.dirfd, change->base.path},
		{verdict, 2, &verdict->host, merge->top,
		 change->from ? change->from : change->path},
		{verdict, 3, &verdict->theirs, change->theirs.dirfd, change->theirs.path},
	};

	for (size_t i = 0; i < ARRAY_SIZE(stages); i++)
		if (add_stage(repository, &stages[i], dirfd, entries, err) < 0)
			return -1;
	return 0;
}

/* Whether a list of NUL-terminated paths holds one. */
static bool holds(const struct str *paths, const char *path)
{
	for (size_t at = 0; at < paths->len; at += strlen(paths->s + at) + 1)
		if (strcmp(paths->s + at, path) == 0)
			return true;
	return false;
}

/* "MODE OID STAGE\tPATH": the path, or NULL. */
static const char *entry_path(const char *entry)
{
	const char *tab = strchr(entry, '\t');

	return tab ? tab + 1 : NULL;
}

/* A pathspec that is the name of a directory finds what is in it. */
static void add_exact(const struct str *listed, const struct str *paths, struct str *ret)
{
	for (size_t at = 0; at < listed->len; at += strlen(listed->s + at) + 1) {
		const char *path = entry_path(listed->s + at);

		if (path && holds(paths, path))
			str_add_bytes(ret, listed->s + at, strlen(listed->s + at) + 1);
	}
}

/* Appends the entries that the index has of the paths. */
static int list_entries(const struct repository *repository, const struct str *paths,
			struct str *ret, struct error *err)
{
	const struct git_place place = place_of(repository);

	for (size_t at = 0; at < paths->len;) {
		autostrv struct strv args = STRV_INIT;
		autostr struct str listed = STR_INIT;
		size_t start = at;

		strv_add(&args, "--literal-pathspecs");
		strv_add(&args, "ls-files");
		strv_add(&args, "-s");
		strv_add(&args, "-z");
		strv_add(&args, "--");
		for (; at < paths->len && at - start < PATHS_AT_ONCE;
		     at += strlen(paths->s + at) + 1)
			strv_add(&args, paths->s + at);
		if (git_run(&place, (const char *const *)args.items, &listed, err) < 0)
			return -1;
		add_exact(&listed, paths, ret);
	}
	return 0;
}

int stages_prepare(const struct repository *repository, const struct merge *merge, int dirfd,
		   struct error *err)
{
	autostr struct str paths = STR_INIT;
	autostr struct str before = STR_INIT;
	autostr struct str after = STR_INIT;

	for (size_t i = 0; i < merge->count; i++) {
		const struct verdict *verdict = &merge->items[i];

		if (verdict->kind != VERDICT_CONFLICT || !verdict->sided)
			continue;
		if (add_stages(repository, merge, verdict, dirfd, &after, err) < 0)
			return -1;
		str_add_bytes(&paths, verdict->change->path, strlen(verdict->change->path) + 1);
	}
	if (!paths.len)
		return 1;
	if (list_entries(repository, &paths, &before, err) < 0 ||
	    save(dirfd, paths_file, &paths, err) < 0 ||
	    save(dirfd, before_file, &before, err) < 0 || save(dirfd, after_file, &after, err) < 0)
		return -1;
	return 0;
}

static int copy_text(int from, const char *name, int to, const char *as, struct error *err)
{
	autostr struct str text = STR_INIT;

	if (file_read_at(from, name, STAGES_MAX, &text, err) < 0)
		return -1;
	return save(to, as, &text, err);
}

int stages_reverse(int from, int dirfd, struct error *err)
{
	if (copy_text(from, paths_file, dirfd, paths_file, err) < 0 ||
	    copy_text(from, after_file, dirfd, before_file, err) < 0 ||
	    copy_text(from, before_file, dirfd, after_file, err) < 0)
		return -1;
	return 0;
}

/* The length of an object id of the repository, told by the entries there are. */
static size_t oid_length(const struct str *entries, const struct str *others)
{
	const struct str *some = entries->len ? entries : others;
	const char *space = some->len ? strchr(some->s, ' ') : NULL;

	return space ? strcspn(space + 1, " ") : 40;
}

int stages_write(const struct repository *repository, int dirfd, bool back, struct error *err)
{
	static const char *const args[] = {"update-index", "-z", "--index-info", NULL};
	struct git_place place = place_of(repository);
	autostr struct str paths = STR_INIT;
	autostr struct str entries = STR_INIT;
	autostr struct str others = STR_INIT;
	autostr struct str input = STR_INIT;
	autostr struct str output = STR_INIT;

	if (file_read_at(dirfd, paths_file, STAGES_MAX, &paths, err) < 0 ||
	    file_read_at(dirfd, back ? before_file : after_file, STAGES_MAX, &entries, err) < 0 ||
	    file_read_at(dirfd, back ? after_file : before_file, STAGES_MAX, &others, err) < 0)
		return -1;
	size_t length = oid_length(&entries, &others);

	/* Mode 0 removes all entries of a path. */
	for (size_t at = 0; at < paths.len; at += strlen(paths.s + at) + 1) {
		str_addf(&input, "0 %0*d\t%s", (int)length, 0, paths.s + at);
		str_add_char(&input, '\0');
	}
	if (entries.len)
		str_add_bytes(&input, entries.s, entries.len);
	if (file_replace_at(dirfd, input_file, input.s, input.len, 0600, false, err) < 0)
		return -1;
	autofd int fd = open_beneath(dirfd, input_file, O_RDONLY, 0);

	if (fd < 0)
		return error_errno(err, "cannot open %s", input_file);
	place.input = fd;
	if (git_run(&place, args, &output, err) < 0)
		return error_wrap(err, "cannot write the index of %s", repository->top);
	return 0;
}

/* All entries of one path, in the order of the index. */
static void entries_of(const struct str *entries, const char *path, struct str *ret)
{
	for (size_t at = 0; at < entries->len; at += strlen(entries->s + at) + 1) {
		const char *other = entry_path(entries->s + at);

		if (other && strcmp(other, path) == 0)
			str_add_bytes(ret, entries->s + at, strlen(entries->s + at) + 1);
	}
}

int stages_find_changed(const struct repository *repository, int dirfd, struct strv *ret,
			struct error *err)
{
	autostr struct str paths = STR_INIT;
	autostr struct str prepared = STR_INIT;
	autostr struct str now = STR_INIT;

	if (file_read_at(dirfd, paths_file, STAGES_MAX, &paths, err) < 0 ||
	    file_read_at(dirfd, after_file, STAGES_MAX, &prepared, err) < 0 ||
	    list_entries(repository, &paths, &now, err) < 0)
		return -1;
	for (size_t at = 0; at < paths.len; at += strlen(paths.s + at) + 1) {
		autostr struct str one = STR_INIT;
		autostr struct str other = STR_INIT;

		entries_of(&prepared, paths.s + at, &one);
		entries_of(&now, paths.s + at, &other);
		if (one.len != other.len || (one.len && memcmp(one.s, other.s, one.len) != 0))
			strv_add(ret, paths.s + at);
	}
	return 0;
}
