#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/fingerprint.h"
#include "snapshot/local-internal.h"

/*
 * So often a capture starts over before an ignored file that is never the same is left out, and before
 * a directory in which something comes and goes is taken as it is.
 */
enum { PATIENCE = 3 };

/* ---- what there is to do ---- */

static void add_file(struct capture *capture, const char *path, int kind)
{
	if ((capture->count & (capture->count - 1)) == 0)
		capture->files =
			xreallocarray(capture->files, capture->count ? capture->count * 2 : 1,
				      sizeof *capture->files);
	capture->files[capture->count++] = (struct local_file){.path = path, .kind = kind};
}

static void report(struct capture *capture, const char *path)
{
	str_add_bytes(&capture->reported, path, strlen(path) + 1);
}

/* What git has been told not to look at: as it stands. */
static void list_quiet(struct capture *capture, const char *path)
{
	autofd int fd = open_beneath(capture->top, path, O_PATH | O_NOFOLLOW, 0);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
		add_file(capture, path, TRACKED);
	else
		strv_add(&capture->gone, path);
}

static void list_tracked(struct capture *capture, const struct status_entry *entry)
{
	bool module = !entry->unmerged && entry->in_index == MODE_GITLINK;

	if (entry->unmerged || entry->unstaged != '.')
		report(capture, entry->path);
	if (entry->quiet)
		list_quiet(capture, entry->path);
	else if ((!entry->unmerged && entry->staged == 'D') || entry->in_tree == 0)
		strv_add(&capture->gone, entry->path);
	else if (module && entry->in_tree != MODE_GITLINK)
		/* A file where a repository should be. */
		add_file(capture, entry->path, TRACKED);
	else if (module && entry->in_commit != MODE_GITLINK)
		strv_add(&capture->directories, entry->path);
	else if (!module && entry->in_tree == MODE_GITLINK)
		/* A repository where a file should be: not carried, but the file is not there. */
		strv_add(&capture->gone, entry->path);
	else if (!module)
		add_file(capture, entry->path, TRACKED);
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_in(const struct strv *sorted, const char *path)
{
	return sorted->len &&
	       bsearch(&path, sorted->items, sorted->len, sizeof path, compare_strings);
}

/* What vanished after git had seen it is in no list of what is carried. */
static int find_vanished(struct capture *capture)
{
	const struct carry *carry = &capture->carry;
	const struct strv *untracked = &capture->status.untracked;

	for (size_t i = 0; i < untracked->len; i++) {
		const char *path = untracked->items[i];
		struct stat st;

		if (is_in(&carry->copied, path) || is_in(&carry->masked, path) ||
		    is_in(&carry->left_out, path))
			continue;
		autofd int fd = open_beneath(capture->top, path, O_PATH | O_NOFOLLOW, 0);

		if (fd < 0 || fstat(fd, &st) < 0)
			return capture_unstable(capture, path);
		if (capture_settled(capture, path, &st) != 0)
			return UNSTABLE;
	}
	return 0;
}

static void list_carried(struct capture *capture)
{
	const struct carry *carry = &capture->carry;
	struct strv *untracked = &capture->status.untracked;

	if (untracked->len)
		qsort(untracked->items, untracked->len, sizeof *untracked->items, compare_strings);
	for (size_t i = 0; i < carry->copied.len; i++) {
		char *const *item = &carry->copied.items[i];

		if (str_ends(*item, "/")) {
			strv_add(&capture->directories, *item);
			continue;
		}
		bool known = is_in(untracked, *item);

		if (known)
			report(capture, *item);
		add_file(capture, *item, known ? UNTRACKED : IGNORED);
	}
	for (size_t i = 0; i < carry->left_out.len; i++)
		strv_add(&capture->left_out, carry->left_out.items[i]);
}

/* A sandbox's record is JSON, which is UTF-8: a directory that it cannot name is left out. */
static void list_mounted(struct capture *capture)
{
	const struct carry *carry = &capture->carry;

	capture->masks = xcalloc(carry->mounted.len + 1, sizeof *capture->masks);
	for (size_t i = 0; i < carry->mounted.len; i++) {
		const char *path = carry->mounted.items[i];
		json_t *text = json_string(path);

		json_decref(text);
		if (!text) {
			strv_addf(&capture->left_out, "%s/", path);
			continue;
		}
		capture->masks[capture->mounted.len] = i;
		strv_add(&capture->mounted, path);
		str_addf(&capture->reported, "%s/", path);
		str_add_char(&capture->reported, '\0');
	}
}

int capture_list(struct capture *capture)
{
	for (size_t i = 0; i < capture->status.count; i++)
		list_tracked(capture, &capture->status.items[i]);
	for (size_t i = 0; i < capture->quiet.len; i++)
		list_quiet(capture, capture->quiet.items[i]);
	for (size_t i = 0; i < capture->touched.len; i++)
		add_file(capture, capture->touched.items[i], TRACKED);
	list_carried(capture);
	list_mounted(capture);
	return find_vanished(capture);
}

const struct strv *capture_masks(const struct capture *capture, size_t n)
{
	return &capture->carry.masks[capture->masks[n]].paths;
}

bool capture_is_empty(const struct capture *capture)
{
	return !capture->count && !capture->gone.len && !capture->directories.len &&
	       !capture->mounted.len && !capture->reported.len;
}

/* ---- is everything as it was at the moment? ---- */

static int directory_settled(struct capture *capture, const char *path)
{
	autofd int fd = open_beneath(capture->top, path, O_PATH | O_DIRECTORY, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return capture_unstable(capture, path);
	return capture_settled(capture, path, &st);
}

/*
 * A file under a directory that was renamed looks like an old one, also where there was one before:
 * directories tell, up to the top.
 */
static int parents_settled(struct capture *capture, const char *parent)
{
	int result = directory_settled(capture, ".");

	if (strcmp(parent, ".") == 0)
		return result;
	for (const char *end = parent; result == 0 && *end; end += *end == '/') {
		end += strcspn(end, "/");
		autofree char *directory = xstrndup(parent, (size_t)(end - parent));

		result = directory_settled(capture, directory);
	}
	return result;
}

static int stock_place(struct capture *capture, struct place *place, const struct local_file *file,
		       struct hash *hash, struct error *err)
{
	struct stat st;
	int entered = place_enter(place, file->path);

	if (entered < 0)
		return is_gone(errno)
			       ? capture_unstable(capture, file->path)
			       : error_errno(err, "cannot read the directory of %s", file->path);
	if (!entered)
		return 0;
	if (fstat(place->fd, &st) < 0)
		return error_errno(err, "cannot stat %s", place->path);
	/* The layer's directory gets this mode. */
	hash_bytes(hash, &st.st_mode, sizeof st.st_mode);
	return file->kind != IGNORED && capture->try < PATIENCE
		       ? parents_settled(capture, place->path)
		       : 0;
}

static bool is_unreadable(int dirfd, const char *name, const struct stat *st)
{
	return S_ISREG(st->st_mode) && (st->st_uid != geteuid() || !(st->st_mode & S_IRUSR)) &&
	       faccessat(dirfd, name, R_OK, AT_EACCESS) < 0 && errno == EACCES;
}

/* 0; UNSTABLE; -1; LEAVE_OUT. */
enum { LEAVE_OUT = 2 };

static int stock_file(struct capture *capture, struct place *place, const struct local_file *file,
		      struct hash *hash, struct error *err)
{
	const char *name = base_name(file->path);
	struct stat st;
	int result = stock_place(capture, place, file, hash, err);

	if (result != 0)
		return result;
	if (fstatat(place->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return is_gone(errno) ? capture_unstable(capture, file->path)
				      : error_errno(err, "cannot stat %s", file->path);
	if (S_ISDIR(st.st_mode))
		return capture_unstable(capture, file->path);
	if (capture_settled(capture, file->path, &st) != 0)
		return UNSTABLE;
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ||
	    (file->kind != TRACKED && is_unreadable(place->fd, name, &st)))
		return LEAVE_OUT;
	fingerprint_add_stat(hash, file->path, &st);
	return 0;
}

static int stock_files(struct capture *capture, struct hash *hash, struct error *err)
{
	autoplace struct place place = {.base = capture->top, .fd = -1};
	size_t kept = 0;

	for (size_t i = 0; i < capture->count; i++) {
		struct local_file *file = &capture->files[i];
		int result = stock_file(capture, &place, file, hash, err);

		if (result == UNSTABLE && file->kind == IGNORED && capture->try >= PATIENCE)
			result = LEAVE_OUT;
		if (result == LEAVE_OUT)
			strv_add(&capture->left_out, file->path);
		else if (result != 0)
			return result;
		else
			capture->files[kept++] = *file;
	}
	capture->count = kept;
	return 0;
}

static int stock_gone(struct capture *capture, struct hash *hash)
{
	autofree char *missing = NULL;

	for (size_t i = 0; i < capture->gone.len; i++) {
		const char *path = capture->gone.items[i];
		autofd int parent = fcntl(capture->top, F_DUPFD_CLOEXEC, 3);
		struct stat st;

		hash_text(hash, path);
		if (is_below(path, missing))
			continue;
		size_t len = missing_length(capture->top, path, &parent);
		autofree char *prefix = xstrndup(path, len);

		hash_bytes(hash, &len, sizeof len);
		/* When the name went is only known of the directory that it was in. */
		if (parent < 0 || fstat(parent, &st) < 0)
			return capture_unstable(capture, path);
		if (capture->try < PATIENCE && capture_settled(capture, path, &st) != 0)
			return UNSTABLE;
		free(missing);
		missing = steal_ptr(&prefix);
	}
	return 0;
}

int capture_stock(struct capture *capture, struct hash *hash, struct error *err)
{
	int result = stock_files(capture, hash, err);

	return result != 0 ? result : stock_gone(capture, hash);
}
