#include "review/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"

enum { NAMES_MAX = 1 << 16, VALUE_MAX = 1 << 16 };

/* A file with more than one name, and the first of them in the copy. */
struct linked {
	dev_t dev;
	ino_t ino;
	char *path;
};

/* What a directory gets when all that is in it is there. */
struct pending {
	char *path;
	struct stat st;
	bool opened; /* it was closed, and was opened to be read */
};

struct copying {
	int from;
	int to;
	bool git;
	void *linked; /* tsearch(3) */
	struct pending *directories;
	size_t count;
	char *parent; /* the directory that was opened last, in the copy */
	int parent_fd;
	struct error *err;
};

/* Attributes. */

static int copy_xattr(const char *from, const char *to, const char *name, struct error *err)
{
	autofree char *value = xmalloc(VALUE_MAX);
	ssize_t len = getxattr(from, name, value, VALUE_MAX);

	if (len < 0 || setxattr(to, name, value, (size_t)len, 0) < 0)
		return error_errno(err, "cannot copy an extended attribute");
	return 0;
}

/*
 * Only user.*: others are not a sandbox's to set. Of overlayfs' marks not those that would make a file
 * another one (T38): with `userxattr` it writes none, and follows none.
 */
static bool is_copied(const char *name, bool marks)
{
	static const char overlay[] = "user.overlay.";
	static const char *const forged[] = {"user.overlay.redirect", "user.overlay.metacopy"};

	for (size_t i = 0; i < ARRAY_SIZE(forged); i++)
		if (strcmp(name, forged[i]) == 0)
			return false;
	return str_starts(name, "user.") && (marks || !str_starts(name, overlay));
}

static int copy_xattrs(int from, int to, bool marks, struct error *err)
{
	struct fd_path from_path = fd_path(from), to_path = fd_path(to);
	autofree char *names = xmalloc(NAMES_MAX);
	ssize_t len = listxattr(from_path.s, names, NAMES_MAX);

	if (len < 0)
		return errno == ENOTSUP ? 0 : error_errno(err, "cannot list extended attributes");
	for (const char *name = names; name < names + len; name += strlen(name) + 1)
		if (is_copied(name, marks) && copy_xattr(from_path.s, to_path.s, name, err) < 0)
			return -1;
	return 0;
}

static int set_look(int to, const struct stat *st, struct error *err)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	struct fd_path path = fd_path(to);

	if (chmod(path.s, st->st_mode & 07777) < 0 || utimensat(AT_FDCWD, path.s, times, 0) < 0)
		return error_errno(err, "cannot set mode and times");
	return 0;
}

int copy_look(int from, int to, bool marks, struct error *err)
{
	struct stat st;

	if (fstat(from, &st) < 0)
		return error_errno(err, "cannot look at a directory");
	return copy_xattrs(from, to, marks, err) < 0 ? -1 : set_look(to, &st, err);
}

/* Paths of any length. */

static int open_path(int top, const char *path, struct error *err)
{
	enum { STEP = 2048 };
	autofd int at = open_beneath(top, ".", O_PATH | O_DIRECTORY, 0);

	for (const char *rest = path; at >= 0 && *rest;) {
		size_t len = strlen(rest);

		if (len > STEP)
			for (len = STEP; rest[len] != '/'; len--)
				;
		autofree char *step = xstrndup(rest, len);
		int next = open_beneath(at, step, O_PATH | O_DIRECTORY, 0);

		fd_close(&at);
		at = next;
		rest += len + (rest[len] == '/');
	}
	if (at < 0)
		return error_errno(err, "cannot open a directory of the copy");
	return steal_fd(&at);
}

/* The directory in the copy that holds a path; it stays open for what comes next. */
static int open_parent(struct copying *c, const char *path)
{
	const char *slash = strrchr(path, '/');
	autofree char *parent = xstrndup(path, slash ? (size_t)(slash - path) : 0);

	if (c->parent && strcmp(c->parent, parent) == 0)
		return c->parent_fd;
	fd_close(&c->parent_fd);
	free(c->parent);
	c->parent = steal_ptr(&parent);
	c->parent_fd = open_path(c->to, c->parent, c->err);
	return c->parent_fd;
}

/* Entries. */

static int compare_linked(const void *a, const void *b)
{
	const struct linked *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static void free_linked(void *item)
{
	struct linked *linked = item;

	free(linked->path);
	free(linked);
}

/* 0 when it is there now, by a link to another name of it; 1 when this is the first. */
static int link_known(struct copying *c, int parent, const char *name, const char *path,
		      const struct stat *st)
{
	struct linked *item = xmalloc(sizeof *item);

	*item = (struct linked){st->st_dev, st->st_ino, xstrdup(path)};
	void *found = tsearch(item, &c->linked, compare_linked);

	if (!found)
		abort(); /* no memory */
	const struct linked *first = *(struct linked *const *)found;

	if (first == item)
		return 1;
	free_linked(item);
	const char *slash = strrchr(first->path, '/');
	autofree char *directory = xstrndup(first->path, slash ? (size_t)(slash - first->path) : 0);
	autofd int fd = open_path(c->to, directory, c->err);

	if (fd < 0)
		return -1;
	if (linkat(fd, path_last(first->path), parent, name, 0) < 0)
		return error_errno(c->err, "cannot link %s", path);
	return 0;
}

/* A file that its owner may not read is opened all the same: what it holds is work. */
static int open_file(int dirfd, const char *name)
{
	autofd int place = open_beneath(dirfd, name, O_PATH | O_NOFOLLOW, 0);
	struct stat st;

	if (place < 0 || fstat(place, &st) < 0)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = ESTALE;
		return -1;
	}
	struct fd_path path = fd_path(place);
	int fd = open(path.s, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 || errno != EACCES || chmod(path.s, (st.st_mode & 07777) | S_IRUSR) < 0)
		return fd;
	fd = open(path.s, O_RDONLY | O_CLOEXEC);
	if (chmod(path.s, st.st_mode & 07777) < 0)
		fd_close(&fd);
	return fd;
}

static int copy_file(struct copying *c, int dirfd, const char *name, int parent,
		     const struct stat *st)
{
	autofd int from = open_file(dirfd, name);

	if (from < 0)
		return error_errno(c->err, "cannot open %s", name);
	if (file_copy_at(from, parent, name, c->err) < 0)
		return -1;
	autofd int to = open_beneath(parent, name, O_PATH | O_NOFOLLOW, 0);

	if (to < 0)
		return error_errno(c->err, "cannot open the copy of %s", name);
	/* An attribute takes the right to write. */
	if (!(st->st_mode & S_IWUSR) && chmod(fd_path(to).s, 0600) < 0)
		return error_errno(c->err, "cannot open the copy of %s", name);
	return copy_xattrs(from, to, true, c->err) < 0 ? -1 : set_look(to, st, c->err);
}

static int copy_link(struct copying *c, int dirfd, const char *name, int parent,
		     const struct stat *st)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	size_t size = (size_t)st->st_size + 1;
	autofree char *target = xmalloc(size);
	ssize_t len = readlinkat(dirfd, name, target, size);

	if (len < 0 || (size_t)len >= size)
		return error_errno(c->err, "cannot read the link %s", name);
	target[len] = '\0';
	if (symlinkat(target, parent, name) < 0 ||
	    utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(c->err, "cannot make the link %s", name);
	return 0;
}

/* A whiteout, a FIFO, a socket. */
static int copy_node(struct copying *c, const char *name, int parent, const struct stat *st)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};

	if (mknodat(parent, name, st->st_mode & (S_IFMT | 0777), st->st_rdev) < 0 ||
	    utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(c->err, "cannot make %s", name);
	return 0;
}

/* It is written to and entered first; see finish(). */
static int copy_directory(struct copying *c, int dirfd, const char *name, const char *path,
			  int parent, const struct stat *st)
{
	autofd int from = open_beneath(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
	autofd int to = -1;
	bool closed = (st->st_mode & 0500) != 0500;

	if (from < 0)
		return error_errno(c->err, "cannot open %s", name);
	if (closed && geteuid() != 0 && chmod(fd_path(from).s, (st->st_mode & 07777) | 0500) < 0)
		return error_errno(c->err, "cannot enter %s", name);
	/* By doubling: whenever the count is a power of two, the array is full. */
	if ((c->count & (c->count - 1)) == 0)
		c->directories = xreallocarray(c->directories, c->count ? 2 * c->count : 1,
					       sizeof *c->directories);
	c->directories[c->count++] = (struct pending){xstrdup(path), *st, closed && geteuid() != 0};
	if (dir_make_at(parent, name, 0700, &to, c->err) < 0)
		return -1;
	return copy_xattrs(from, to, true, c->err);
}

/* git ends no name of its own in .lock, but for those. */
static bool is_lock(const struct copying *c, const char *path, const struct stat *st)
{
	return c->git && S_ISREG(st->st_mode) && str_ends(path, ".lock") &&
	       !str_starts(path, "hooks/");
}

static int copy_entry(void *data, int dirfd, const char *name, const char *path,
		      const struct stat *st)
{
	struct copying *c = data;
	int parent = open_parent(c, path);

	if (parent < 0)
		return -1;
	if (is_lock(c, path, st))
		return 0;
	if (S_ISDIR(st->st_mode))
		return copy_directory(c, dirfd, name, path, parent, st);
	if (S_ISLNK(st->st_mode))
		return copy_link(c, dirfd, name, parent, st);
	if (st->st_nlink > 1) {
		int result = link_known(c, parent, name, path, st);

		if (result <= 0)
			return result;
	}
	if (S_ISREG(st->st_mode))
		return copy_file(c, dirfd, name, parent, st);
	if (S_ISFIFO(st->st_mode) || S_ISSOCK(st->st_mode) ||
	    (S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0)))
		return copy_node(c, name, parent, st);
	return error_set(c->err, ERR_UNSUPPORTED, "%s is a device", name);
}

/* From the innermost to the outermost, also of a copy that has failed: what was opened is closed again. */
static int finish(struct copying *c, bool copied)
{
	int result = 0;

	for (size_t i = c->count; i-- > 0;) {
		struct pending *directory = &c->directories[i];
		autofd int to = copied ? open_path(c->to, directory->path, c->err) : -1;
		autofd int from =
			directory->opened ? open_path(c->from, directory->path, c->err) : -1;

		if (from >= 0 && chmod(fd_path(from).s, directory->st.st_mode & 07777) < 0)
			result = error_errno(c->err, "cannot close %s", directory->path);
		if (copied && (to < 0 || set_look(to, &directory->st, c->err) < 0))
			result = -1;
		free(directory->path);
	}
	free(c->directories);
	return result;
}

int copy_upper(int from, int to, bool git, struct error *err)
{
	struct copying c = {.from = from, .to = to, .git = git, .parent_fd = -1, .err = err};
	int result = tree_walk(from, copy_entry, &c, err);

	if (finish(&c, result == 0) < 0)
		result = -1;
	fd_close(&c.parent_fd);
	free(c.parent);
	tdestroy(c.linked, free_linked);
	return result < 0 ? -1 : 0;
}
