#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

/*
 * Of the directories on the way down only the first are kept open, so that neither the stack nor
 * the number of open files grows with the depth that a sandbox chose. Of all of them it is known
 * which of their directories are still to be visited.
 */
enum { KEEP_OPEN = 32, BUFFER = 32768 };

struct level {
	struct strv names;
	size_t next;
	size_t path; /* length of its path */
	int fd;	     /* -1 while one deeper down is read, unless it is among the first */
	ino_t ino;   /* known then */
};

struct walk {
	int start;
	struct level *levels;
	size_t depth;
	dev_t dev; /* of all that is entered */
	struct str path;
	char *buffer;
	tree_visit *visit;
	void *data;
	struct error *err;
};

/* What was renamed or replaced since its name was read is not there any more. */
static bool is_gone(int number)
{
	return number == ENOENT || number == ENOTDIR || number == ELOOP;
}

static void set_path(struct walk *w, const struct level *level, const char *name)
{
	w->path.len = level->path;
	if (level->path)
		str_add_char(&w->path, '/');
	str_add(&w->path, name);
}

static int visit_entry(struct walk *w, struct level *level, const char *name)
{
	struct stat st;

	if (fstatat(level->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return is_gone(errno) ? 0 : error_errno(w->err, "cannot stat %s", name);
	set_path(w, level, name);
	int result = w->visit(w->data, level->fd, name, w->path.s, &st);

	if (result == 0 && S_ISDIR(st.st_mode) && st.st_dev == w->dev)
		strv_add(&level->names, name);
	return result == TREE_SKIP ? 0 : result;
}

/* Visits what is in the directory, which becomes the uppermost level, and takes the fd. */
static int enter(struct walk *w, int fd)
{
	w->levels = xreallocarray(w->levels, w->depth + 1, sizeof *w->levels);
	struct level *level = &w->levels[w->depth++];

	*level = (struct level){.path = w->path.len, .fd = fd};
	for (;;) {
		ssize_t len = getdents64(fd, w->buffer, BUFFER);
		int result = 0;

		/* One that was removed meanwhile has no entries any more. */
		if (len < 0 && errno != ENOENT)
			return error_errno(w->err, "cannot read a directory");
		if (len <= 0)
			return 0;
		for (ssize_t at = 0; at < len && result == 0;) {
			const struct dirent64 *entry = (const void *)(w->buffer + at);

			at += entry->d_reclen;
			if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
				result = visit_entry(w, level, entry->d_name);
		}
		if (result != 0)
			return result;
	}
}

static int open_to_walk(int dirfd, const char *name)
{
	return open_within(dirfd, name, O_RDONLY | O_DIRECTORY);
}

/* The directory of the uppermost level again, after the one below it was left. */
static int reopen(struct walk *w, int below)
{
	struct level *level = &w->levels[w->depth - 1];
	struct stat st;

	level->fd = openat(below, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (level->fd >= 0 && fstat(level->fd, &st) == 0 && st.st_dev == w->dev &&
	    st.st_ino == level->ino)
		return 0;
	/* Somebody moved it meanwhile: from the start, by name. */
	fd_close(&level->fd);
	int at = open_to_walk(w->start, ".");

	for (size_t i = 0; i + 1 < w->depth && at >= 0; i++) {
		int next = open_to_walk(at, w->levels[i].names.items[w->levels[i].next - 1]);

		fd_close(&at);
		at = next;
	}
	level->fd = at;
	return at < 0 ? error_errno(w->err, "a directory was moved while it was read") : 0;
}

static int leave(struct walk *w)
{
	struct level *left = &w->levels[--w->depth];
	autofd int fd = left->fd;

	strv_release(&left->names);
	if (w->depth == 0 || w->levels[w->depth - 1].fd >= 0)
		return 0;
	return reopen(w, fd);
}

/* Closes a directory to which reopen() will come back. */
static int forget(struct walk *w, struct level *level)
{
	struct stat st;

	if (fstat(level->fd, &st) < 0)
		return error_errno(w->err, "cannot stat a directory");
	level->ino = st.st_ino;
	fd_close(&level->fd);
	return 0;
}

static int descend(struct walk *w, struct level *level)
{
	const char *name = level->names.items[level->next++];
	int fd = open_to_walk(level->fd, name);

	set_path(w, level, name);
	if (fd < 0)
		return errno == EXDEV || is_gone(errno)
			       ? 0
			       : error_errno(w->err, "cannot open %s", w->path.s);
	if (w->depth > KEEP_OPEN && forget(w, level) < 0) {
		fd_close(&fd);
		return -1;
	}
	return enter(w, fd);
}

static int walk(struct walk *w, int fd)
{
	int result = enter(w, fd);

	while (result == 0 && w->depth) {
		struct level *level = &w->levels[w->depth - 1];

		result = level->next == level->names.len ? leave(w) : descend(w, level);
	}
	return result;
}

int tree_walk(int dirfd, tree_visit *visit, void *data, struct error *err)
{
	autofree char *buffer = xmalloc(BUFFER);
	struct walk w = {
		.start = dirfd,
		.buffer = buffer,
		.visit = visit,
		.data = data,
		.err = err,
	};
	int fd = open_to_walk(dirfd, ".");
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		fd_close(&fd);
		return error_errno(err, "cannot open a directory");
	}
	w.dev = st.st_dev;
	int result = walk(&w, fd);

	while (w.depth) {
		struct level *level = &w.levels[--w.depth];

		strv_release(&level->names);
		fd_close(&level->fd);
	}
	free(w.levels);
	str_release(&w.path);
	return result;
}

static int count(void *data, int dirfd, const char *name, const char *path, const struct stat *st)
{
	struct tree_usage *usage = data;

	(void)dirfd;
	(void)name;
	(void)path;
	usage->bytes += (uint64_t)st->st_blocks * 512;
	usage->inodes++;
	/* overlayfs keeps its own empty work directory at mode 000. */
	return S_ISDIR(st->st_mode) && (st->st_mode & 0500) != 0500 ? TREE_SKIP : 0;
}

int tree_usage_at(int dirfd, const char *name, struct tree_usage *ret, struct error *err)
{
	struct tree_usage usage = {0};
	struct stat st;
	autofd int fd = open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "cannot open %s", name);
	count(&usage, dirfd, name, name, &st);
	if (tree_walk(fd, count, &usage, err) < 0)
		return -1;
	*ret = usage;
	return 0;
}
