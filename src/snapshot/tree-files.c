#include "snapshot/tree-files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

enum { THREADS = 2, PARALLEL_FROM = 64 };

/* One directory of the target, and the same one in every place that files come from. */
struct directory {
	const struct tree_places *places;
	char *path; /* NULL: none is open */
	int target;
	int host;   /* -1: not there */
	int *stack; /* the same */
};

static void directory_close(struct directory *at)
{
	for (size_t i = 0; at->path && i < at->places->stack_count; i++)
		fd_close(&at->stack[i]);
	fd_close(&at->target);
	fd_close(&at->host);
	free(steal_ptr(&at->path));
}

static void directory_release(struct directory *at)
{
	directory_close(at);
	free(at->stack);
}

static int open_same(int place, const char *path)
{
	return open_beneath(place, *path ? path : ".", O_PATH | O_DIRECTORY, 0);
}

static mode_t host_mode(int host, const char *path)
{
	autofd int fd = host < 0 ? -1 : open_same(host, path);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? (st.st_mode & 0777) | S_IRWXU : 0755;
}

int tree_directory(int target, int host, const char *path, int *ret, struct error *err)
{
	autofd int at = open_beneath(target, ".", O_RDONLY | O_DIRECTORY, 0);

	for (size_t begin = 0; at >= 0 && path[begin];) {
		size_t end = begin + strcspn(path + begin, "/");
		autofree char *so_far = xstrndup(path, end);
		int made = mkdirat(at, so_far + begin, 0700);
		int next = made == 0 || errno == EEXIST
				   ? open_beneath(at, so_far + begin, O_RDONLY | O_DIRECTORY, 0)
				   : -1;

		if (next >= 0 && made == 0 && fchmod(next, host_mode(host, so_far)) < 0)
			fd_close(&next);
		fd_close(&at);
		at = next;
		begin = end + (path[end] == '/');
	}
	if (at < 0)
		return error_errno(err, "cannot make the directory %s", path);
	*ret = steal_fd(&at);
	return 0;
}

/*
 * Opens the directory of a file, and returns the file's name in it. Files come in order, so most
 * are where the one before was.
 */
static const char *enter(struct directory *at, const char *path, struct error *err)
{
	const char *base = path_last(path);
	size_t len = base == path ? 0 : (size_t)(base - path) - 1;

	if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return (void)error_set(err, ERR_GIT, "a file is called \"%s\"", path), NULL;
	if (at->path && strlen(at->path) == len && memcmp(at->path, path, len) == 0)
		return base;
	directory_close(at);
	at->path = xstrndup(path, len);
	for (size_t i = 0; i < at->places->stack_count; i++)
		at->stack[i] = open_same(at->places->stack[i], at->path);
	at->host = at->places->host < 0 ? -1 : open_same(at->places->host, at->path);
	if (tree_directory(at->places->target, at->places->host, at->path, &at->target, err) < 0)
		return NULL;
	return base;
}

static bool record(struct tree_file *file, int dirfd, const char *base)
{
	struct stat st;

	if (fstatat(dirfd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	file->stat = index_stat_of(&st);
	return true;
}

static bool copy_symlink(int from, const char *base, const struct stat *st, int to)
{
	char text[PATH_MAX];
	ssize_t len = readlinkat(from, base, text, sizeof text - 1);
	const struct timespec times[2] = {st->st_atim, st->st_mtim};

	if (len <= 0 || len == (ssize_t)sizeof text - 1)
		return false;
	text[len] = '\0';
	if (symlinkat(text, to, base) < 0)
		return false;
	if (utimensat(to, base, times, AT_SYMLINK_NOFOLLOW) == 0)
		return true;
	unlinkat(to, base, 0);
	return false;
}

/*
 * The uppermost one is what the layers show. A link to it would change its ctime, by which git knows it
 * in every sandbox that stands on those layers.
 */
static bool copy_from_stack(const struct directory *at, struct tree_file *file, const char *base)
{
	struct stat st;

	for (size_t i = 0; i < at->places->stack_count; i++) {
		autoerror struct error ignored = ERROR_INIT;

		if (at->stack[i] < 0 || fstatat(at->stack[i], base, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if ((st.st_mode & S_IFMT) != (file->mode & S_IFMT))
			return false;
		if (S_ISLNK(st.st_mode))
			return copy_symlink(at->stack[i], base, &st, at->target) &&
			       record(file, at->target, base);
		autofd int from = open_beneath(at->stack[i], base, O_RDONLY, 0);

		return from >= 0 && file_copy_at(from, at->target, base, &ignored) == 0 &&
		       record(file, at->target, base);
	}
	return false;
}

static bool same_stat(const struct stat *st, const struct index_stat *wanted)
{
	struct index_stat found = index_stat_of(st);

	/* The device's number changes with every boot, and git does not look at it either. */
	found.dev = wanted->dev;
	return memcmp(&found, wanted, sizeof found) == 0;
}

/* As with a file: what changes while it is copied is looked at again. */
static bool copy_link(const struct directory *at, struct tree_file *file, const char *base)
{
	struct stat st;

	if (fstatat(at->host, base, &st, AT_SYMLINK_NOFOLLOW) < 0 || !same_stat(&st, &file->host) ||
	    !copy_symlink(at->host, base, &st, at->target))
		return false;
	if (fstatat(at->host, base, &st, AT_SYMLINK_NOFOLLOW) == 0 && same_stat(&st, &file->host) &&
	    record(file, at->target, base))
		return true;
	unlinkat(at->target, base, 0);
	return false;
}

/* What changes while it is copied is looked at again: ctime cannot be set back. */
static bool copy_regular(const struct directory *at, struct tree_file *file, const char *base)
{
	autofd int from =
		openat(at->host, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	autoerror struct error ignored = ERROR_INIT;
	struct stat st;

	if (from < 0 || fstat(from, &st) < 0 || !S_ISREG(st.st_mode) ||
	    !same_stat(&st, &file->host))
		return false;
	if (file_copy_at(from, at->target, base, &ignored) == 0 && fstat(from, &st) == 0 &&
	    same_stat(&st, &file->host) && record(file, at->target, base))
		return true;
	unlinkat(at->target, base, 0);
	return false;
}

static int make_one(struct directory *at, struct tree_file *file, struct error *err)
{
	const char *base = enter(at, file->path, err);

	if (!base)
		return -1;
	if (S_ISREG(file->mode) || S_ISLNK(file->mode)) {
		file->made = file->in_stack && copy_from_stack(at, file, base);
		if (!file->made && file->on_host && at->host >= 0)
			file->made = S_ISLNK(file->mode) ? copy_link(at, file, base)
							 : copy_regular(at, file, base);
		return 0;
	}
	/* A submodule: an empty directory, as git makes it. */
	if (mkdirat(at->target, base, 0755) < 0 && errno != EEXIST)
		return error_errno(err, "cannot create %s", file->path);
	file->made = true;
	return 0;
}

struct share {
	const struct tree_places *places;
	struct tree_file *files;
	size_t count;
	struct error err;
};

static void *make_share(void *data)
{
	struct share *share = data;
	struct directory at = {.places = share->places, .target = -1, .host = -1};

	at.stack = xcalloc(share->places->stack_count + 1, sizeof *at.stack);
	for (size_t i = 0; i < share->count; i++)
		if (make_one(&at, &share->files[i], &share->err) < 0)
			break;
	directory_release(&at);
	return NULL;
}

int tree_files_make(const struct tree_places *places, struct tree_file *files, size_t count,
		    struct error *err)
{
	struct share shares[THREADS] = {0};
	pthread_t threads[THREADS];
	size_t used = count < PARALLEL_FROM ? 1 : THREADS, started = 0;

	for (size_t i = 0; i < used; i++) {
		size_t begin = count * i / used, end = count * (i + 1) / used;

		shares[i] = (struct share){places, files + begin, end - begin, ERROR_INIT};
	}
	/* The first share is this thread's own; one that cannot be started is done here as well. */
	for (size_t i = 1; i < used; i++)
		if (pthread_create(&threads[i], NULL, make_share, &shares[i]) == 0)
			started = i;
		else
			break;
	make_share(&shares[0]);
	for (size_t i = started + 1; i < used; i++)
		make_share(&shares[i]);
	for (size_t i = 1; i <= started; i++)
		pthread_join(threads[i], NULL);
	int result = 0;

	for (size_t i = 0; i < used; i++) {
		if (result == 0 && error_is_set(&shares[i].err)) {
			*err = shares[i].err;
			result = -1;
		} else {
			error_clear(&shares[i].err);
		}
	}
	return result;
}
