#include "snapshot/carry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "git/git.h"
#include "snapshot/carry-links.h"
#include "snapshot/secrets.h"
#include "snapshot/seen.h"

enum {
	COPIES_MAX = 1000, /* ignored files and directories */
	MOUNTS_MAX = 200,
};

static const char include_file[] = ".worktreeinclude";

struct decision {
	const struct carry_request *request;
	struct secrets secrets;
	struct carry carry;
	char *store;	     /* the root relative to the work tree, when it is in there */
	unsigned long bytes; /* what is left of the budget */
	size_t count;
	struct carry_links copied; /* files with several names */
};

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts, and drops what is there twice. */
static void sort(struct strv *v)
{
	size_t kept = 0;

	if (!v->len)
		return;
	qsort(v->items, v->len, sizeof *v->items, compare);
	for (size_t i = 0; i < v->len; i++) {
		if (kept && strcmp(v->items[kept - 1], v->items[i]) == 0)
			free(v->items[i]);
		else
			v->items[kept++] = v->items[i];
	}
	v->len = kept;
	v->items[kept] = NULL;
}

static bool is_gone(int number)
{
	return number == ENOENT || number == ENOTDIR || number == ELOOP;
}

/* ---- one file ---- */

struct file {
	const char *path; /* relative to the work tree */
	int dirfd;	  /* the directory that it is in */
	const char *name;
	struct stat st;
};

/* Whether it is masked, or can never be carried; it is listed then. */
static bool is_kept_back(struct decision *d, const struct file *file)
{
	enum secret secret = secrets_name(&d->secrets, file->path);

	if (!S_ISREG(file->st.st_mode) && !S_ISLNK(file->st.st_mode)) {
		strv_add(&d->carry.left_out, file->path);
		return true;
	}
	if (secret == SECRET_YES ||
	    (secret == SECRET_LOOK &&
	     secrets_content(&d->secrets, file->dirfd, file->name, file->path))) {
		strv_add(&d->carry.masked, file->path);
		return true;
	}
	if (S_ISREG(file->st.st_mode) &&
	    faccessat(file->dirfd, file->name, R_OK, AT_EACCESS | AT_SYMLINK_NOFOLLOW) < 0) {
		if (!is_gone(errno))
			strv_add(&d->carry.left_out, file->path);
		return true;
	}
	return false;
}

static void copy(struct decision *d, const char *path, const struct stat *st)
{
	if (S_ISREG(st->st_mode) && st->st_nlink > 1)
		carry_links_add(&d->copied, st, d->carry.copied.len);
	strv_add(&d->carry.copied, path);
}

/* Takes it from the budget; false when that is not enough. */
static bool afford(struct decision *d, const struct stat *st)
{
	unsigned long size = S_ISDIR(st->st_mode) ? 0 : (unsigned long)st->st_size;

	if (!d->count || size > d->bytes)
		return false;
	d->count--;
	d->bytes -= size;
	return true;
}

/* Opens the directory that holds a file; -1 with errno. */
static int open_parent(int top, const char *path, const char **ret_name)
{
	const char *name = path_last(path);

	*ret_name = name;
	if (name == path)
		return open_beneath(top, ".", O_PATH | O_DIRECTORY, 0);
	autofree char *parent = xstrndup(path, (size_t)(name - path) - 1);

	return open_beneath(top, parent, O_PATH | O_DIRECTORY, 0);
}

static bool is_in_store(const struct decision *d, const char *path)
{
	return d->store && path_within(path, d->store);
}

/* An untracked or an ignored file, as git names it. */
static void decide_file(struct decision *d, const char *path, bool ignored)
{
	struct file file = {.path = path, .dirfd = -1};

	if (is_in_store(d, path)) {
		strv_addf(&d->carry.left_out, "%s/", d->store);
		return;
	}
	/* There may be many of them; a look would not change what becomes of them. */
	if (ignored && !d->count && secrets_name(&d->secrets, path) == SECRET_NO) {
		strv_add(&d->carry.left_out, path);
		return;
	}
	autofd int parent = open_parent(d->request->top, path, &file.name);

	file.dirfd = parent;
	if (parent < 0 || fstatat(parent, file.name, &file.st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (!is_gone(errno))
			strv_add(&d->carry.left_out, path);
		return;
	}
	/* Was a file when git looked. */
	if (S_ISDIR(file.st.st_mode) || is_kept_back(d, &file))
		return;
	if (ignored && !afford(d, &file.st))
		strv_add(&d->carry.left_out, path);
	else
		copy(d, path, &file.st);
}

/* ---- a directory that may be small ---- */

struct probe {
	struct decision decision; /* as it would be */
	const char *path;
	dev_t dev;
};

enum { TOO_LARGE = 2 };

static int probe_entry(void *data, int dirfd, const char *name, const char *path,
		       const struct stat *st)
{
	struct probe *probe = data;
	struct decision *d = &probe->decision;
	autofree char *full = xasprintf("%s/%s", probe->path, path);
	struct file file = {full, dirfd, name, *st};

	if (S_ISDIR(st->st_mode)) {
		if (secrets_directory(&d->secrets, full)) {
			strv_addf(&d->carry.masked, "%s/", full);
			return TREE_SKIP;
		}
		if (st->st_dev != probe->dev || !afford(d, st))
			return TOO_LARGE;
		strv_addf(&d->carry.copied, "%s/", full);
		return 0;
	}
	if (is_kept_back(d, &file))
		return 0;
	if (!afford(d, st))
		return TOO_LARGE;
	copy(d, full, st);
	return 0;
}

static void move_all(struct strv *from, struct strv *to)
{
	for (size_t i = 0; i < from->len; i++)
		strv_give(to, from->items[i]);
	free(from->items);
	*from = (struct strv)STRV_INIT;
}

static void move_links(const struct carry_links *from, struct carry_links *to, size_t offset)
{
	for (size_t i = 0; i < from->len; i++) {
		struct stat st = {.st_dev = from->items[i].dev, .st_ino = from->items[i].ino};

		carry_links_add(to, &st, from->items[i].copied + offset);
	}
}

/* 0 when it fits and is taken, TOO_LARGE when not. */
static int take_small(struct decision *d, const char *path, int fd, const struct stat *st)
{
	struct probe probe = {.decision = {.request = d->request,
					   .secrets = d->secrets,
					   .bytes = d->bytes,
					   .count = d->count},
			      .path = path,
			      .dev = st->st_dev};
	struct decision *it = &probe.decision;
	autoerror struct error ignored = ERROR_INIT;
	int result = TOO_LARGE;

	/* What cannot be read to its end is taken for large. */
	if (afford(it, st)) {
		strv_addf(&it->carry.copied, "%s/", path);
		result = tree_walk(fd, probe_entry, &probe, &ignored);
	}
	if (result == 0) {
		d->bytes = it->bytes;
		d->count = it->count;
		move_links(&it->copied, &d->copied, d->carry.copied.len);
		move_all(&it->carry.copied, &d->carry.copied);
		move_all(&it->carry.masked, &d->carry.masked);
		move_all(&it->carry.left_out, &d->carry.left_out);
	}
	free(it->copied.items);
	carry_release(&it->carry);
	return result == 0 ? 0 : TOO_LARGE;
}

/* ---- a large directory ---- */

static void mount(struct decision *d, const char *path, int fd)
{
	struct carry *carry = &d->carry;
	struct seen_request request = {.root = d->request->root,
				       .secrets = &d->secrets,
				       .host = d->request->repository->top,
				       .directory = path,
				       .fd = fd};
	autoseen struct seen seen = SEEN_INIT;
	struct strv masks = STRV_INIT;

	if (carry->mounted.len == MOUNTS_MAX || seen_scan(&request, &seen) != 0) {
		strv_addf(&carry->left_out, "%s/", path);
		return;
	}
	for (size_t i = 0; i < seen.secrets.len; i++) {
		const char *secret = seen.secrets.items[i];

		strv_addf(&carry->masked, "%s/%s", path, secret);
		strv_give(&masks, xstrndup(secret, strlen(secret) - str_ends(secret, "/")));
	}
	for (size_t i = 0; i < seen.closed.len; i++) {
		strv_addf(&carry->left_out, "%s/%s/", path, seen.closed.items[i]);
		strv_add(&masks, seen.closed.items[i]);
	}
	sort(&masks);
	carry->masks = xreallocarray(carry->masks, carry->mounted.len + 1, sizeof *carry->masks);
	carry->masks[carry->mounted.len] = (struct carry_masks){masks};
	strv_add(&carry->mounted, path);
}

/* An ignored directory, with a slash at the end. */
static void decide_directory(struct decision *d, const char *name)
{
	const struct strv *mounted = &d->carry.mounted;
	autofree char *path = xstrndup(name, strlen(name) - 1);
	struct stat st;

	/* In the order of names what is in a directory follows it at once. */
	if (mounted->len && path_within(path, mounted->items[mounted->len - 1]))
		return;
	if (secrets_directory(&d->secrets, path)) {
		strv_add(&d->carry.masked, name);
		return;
	}
	if (is_in_store(d, path)) {
		strv_addf(&d->carry.left_out, "%s/", d->store);
		return;
	}
	if (d->store && path_within(d->store, path)) {
		strv_add(&d->carry.left_out, name);
		return;
	}
	autofd int fd = open_beneath(d->request->top, path, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0 || fstat(fd, &st) < 0) {
		if (!is_gone(errno))
			strv_add(&d->carry.left_out, name);
		return;
	}
	if (take_small(d, path, fd, &st) == 0)
		return;
	/* One beside every package, and python makes it anew: not worth a mount each. */
	if (strcmp(path_last(path), "__pycache__") == 0)
		strv_add(&d->carry.left_out, name);
	else
		mount(d, path, fd);
}

/* ---- .worktreeinclude ---- */

/* NUL-terminated paths */
static void split(const struct str *text, struct strv *ret)
{
	for (size_t at = 0; at < text->len; at += strlen(text->s + at) + 1)
		strv_add(ret, text->s + at);
}

static bool has(const struct strv *sorted, const char *path)
{
	return sorted->len && bsearch(&path, sorted->items, sorted->len, sizeof path, compare);
}

/* Whether a path or a directory above it is in the list. */
static bool is_chosen(const struct strv *chosen, const char *path)
{
	autofree char *at = xstrdup(path);

	if (has(chosen, path))
		return true;
	for (char *slash = at + strlen(at); slash > at; slash--) {
		if (slash[-1] != '/')
			continue;
		*slash = '\0';
		if (has(chosen, at))
			return true;
	}
	return false;
}

/* Adds what is chosen below a directory. */
static void add_chosen_below(const struct strv *chosen, const char *directory, struct strv *ret)
{
	const char *last = NULL;

	for (size_t i = 0; i < chosen->len; i++) {
		const char *path = chosen->items[i];

		/* git lists what is in a chosen directory beside it. */
		if (!str_starts(path, directory) || (last && str_starts(path, last)))
			continue;
		strv_add(ret, path);
		if (str_ends(path, "/"))
			last = path;
	}
}

/*
 * Those ignored entries that the work tree's list chooses; git compares. 1 when there is no
 * list.
 */
static int choose(const struct carry_request *request, struct strv *ret, struct error *err)
{
	static const char *const args[] = {"ls-files",	  "-z",
					   "--others",	  "--ignored",
					   "--directory", "--exclude-from=.worktreeinclude",
					   NULL};
	struct git_place place = {.directory = request->repository->top};
	autostrv struct strv chosen = STRV_INIT;
	autostr struct str output = STR_INIT;
	struct stat st;

	if (fstatat(request->top, include_file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 1 : error_errno(err, "cannot stat %s", include_file);
	if (!S_ISREG(st.st_mode)) {
		error_set(err, ERR_CONFIG, "%s is not a regular file", include_file);
		return error_hint(err, "make it one, or remove it");
	}
	if (git_run(&place, args, &output, err) < 0)
		return error_wrap(err, "cannot tell what %s chooses", include_file);
	split(&output, &chosen);
	sort(&chosen);
	for (size_t i = 0; i < request->ignored->len; i++) {
		const char *path = request->ignored->items[i];

		if (is_chosen(&chosen, path))
			strv_add(ret, path);
		else if (str_ends(path, "/"))
			add_chosen_below(&chosen, path, ret);
	}
	return 0;
}

/* ---- all of it ---- */

static int wanted(const struct carry_request *request, struct strv *ret, struct error *err)
{
	if (!request->carry_ignored)
		return 0;
	int result = choose(request, ret, err);

	for (size_t i = 0; result == 1 && i < request->ignored->len; i++)
		strv_add(ret, request->ignored->items[i]);
	sort(ret);
	return result < 0 ? -1 : 0;
}

/*
 * Sorts, drops what was masked late, and of the directories those that hold something: they are
 * made with it.
 */
static void finish_copied(struct strv *copied)
{
	size_t kept = 0;

	for (size_t i = 0; i < copied->len; i++)
		if (copied->items[i])
			copied->items[kept++] = copied->items[i];
	copied->len = kept;
	sort(copied);
	kept = 0;
	for (size_t i = 0; i < copied->len; i++) {
		char *path = copied->items[i];

		if (str_ends(path, "/") && i + 1 < copied->len &&
		    str_starts(copied->items[i + 1], path))
			free(path);
		else
			copied->items[kept++] = path;
	}
	copied->len = kept;
	if (copied->items)
		copied->items[kept] = NULL;
}

static void find_store(struct decision *d)
{
	const struct carry_request *request = d->request;
	autofree char *path = realpath(request->root->path, NULL);
	const char *top = request->repository->top;

	if (path && path_within(path, top) && strcmp(path, top) != 0)
		d->store = xstrdup(path + strlen(top) + 1);
}

static void decide(struct decision *d, const struct strv *untracked, const struct strv *ignored)
{
	for (size_t i = 0; i < untracked->len; i++) {
		if (str_ends(untracked->items[i], "/")) /* another repository */
			strv_add(&d->carry.left_out, untracked->items[i]);
		else
			decide_file(d, untracked->items[i], false);
	}
	for (size_t i = 0; i < ignored->len; i++)
		if (!str_ends(ignored->items[i], "/"))
			decide_file(d, ignored->items[i], true);
	for (size_t i = 0; i < ignored->len; i++)
		if (str_ends(ignored->items[i], "/"))
			decide_directory(d, ignored->items[i]);
	carry_links_mask(d->request->top, &d->secrets, &d->copied, &d->carry);
	finish_copied(&d->carry.copied);
	sort(&d->carry.masked);
	sort(&d->carry.left_out);
}

int carry_decide(const struct carry_request *request, struct carry *ret, struct error *err)
{
	autostrv struct strv ignored = STRV_INIT;
	struct decision d = {.request = request,
			     .secrets = {request->mask, request->unmask},
			     .bytes = request->budget,
			     .count = COPIES_MAX};

	if (wanted(request, &ignored, err) < 0)
		return -1;
	find_store(&d);
	decide(&d, request->untracked, &ignored);
	free(d.copied.items);
	free(d.store);
	*ret = d.carry;
	return 0;
}

void carry_release(struct carry *carry)
{
	for (size_t i = 0; carry->masks && i < carry->mounted.len; i++)
		strv_release(&carry->masks[i].paths);
	free(carry->masks);
	strv_release(&carry->copied);
	strv_release(&carry->mounted);
	strv_release(&carry->masked);
	strv_release(&carry->left_out);
	*carry = (struct carry){0};
}
