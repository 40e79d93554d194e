#include "snapshot/git-parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/settings.h"

enum { COPY_DEPTH = 64, REFLOG_MAX = 1 << 30 };

typedef int copy_file(int from, int to, const char *name, struct error *err);

int git_open(int base, const char *name)
{
	return openat(base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int copy_entry(int from, int to, const char *name, int depth, copy_file *copy,
		      struct error *err);

static int copy_content(int from, int to, int depth, copy_file *copy, struct error *err)
{
	autodir DIR *dir = fdopendir(fcntl(from, F_DUPFD_CLOEXEC, 3));

	if (!dir)
		return error_errno(err, "cannot read a directory");
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);

		if (!entry)
			return errno ? error_errno(err, "cannot read a directory") : 0;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    str_ends(entry->d_name, ".lock") || str_ends(entry->d_name, ".sample"))
			continue;
		if (copy_entry(from, to, entry->d_name, depth + 1, copy, err) < 0)
			return -1;
	}
}

/* A relative link means the same inside, where it is resolved; an absolute one need not. */
static int copy_link(int from, int to, const char *name, struct error *err)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(from, name, target, sizeof target - 1);

	if (len <= 0 || target[0] == '/')
		return 0;
	target[len] = '\0';
	if (symlinkat(target, to, name) < 0 && errno != EEXIST)
		return error_errno(err, "cannot create the link %s", name);
	return 0;
}

/*
 * What vanishes meanwhile is left out. Below the parts themselves (which may be links:
 * git-new-workdir makes such a git dir) no link is followed: it may lead in a circle, or to a file
 * that is nobody's business inside.
 */
static int copy_entry(int from, int to, const char *name, int depth, copy_file *copy,
		      struct error *err)
{
	int follow = depth ? O_NOFOLLOW : 0;
	autofd int fd = openat(from, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | follow);
	struct stat st;

	if (depth > COPY_DEPTH)
		return error_set(err, ERR_GIT, "directories are nested too deep");
	if (fd < 0 && errno == ELOOP && depth)
		return copy_link(from, to, name, err);
	if (fd < 0 && (errno == ENOENT || errno == ELOOP || errno == ENXIO))
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "cannot read %s", name);
	if (S_ISREG(st.st_mode)) {
		/* Of a linked worktree its own refs come first, the common ones fill up. */
		if (faccessat(to, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return 0;
		return copy(fd, to, name, err);
	}
	if (!S_ISDIR(st.st_mode))
		return 0;
	autofd int sub = -1;

	if (dir_make_at(to, name, 0755, &sub, err) < 0 ||
	    copy_content(fd, sub, depth, copy, err) < 0)
		return error_wrap(err, "%s", name);
	return 0;
}

int git_copy(int from, int to, const char *name, struct error *err)
{
	return copy_entry(from, to, name, 0, file_copy_at, err);
}

int git_copy_content(int from, int to, struct error *err)
{
	return copy_content(from, to, 0, file_copy_at, err);
}

/* "clone: from https://TOKEN@host/..." stands in reflogs. */
int git_copy_file_scrubbed(int from, int dirfd, const char *name, struct error *err)
{
	autostr struct str text = STR_INIT;
	autostr struct str clean = STR_INIT;

	if (read_all(from, REFLOG_MAX, &text, err) < 0)
		return error_wrap(err, "cannot read %s", name);
	urls_scrub(text.len ? text.s : "", text.len, &clean);
	autofd int fd = open_beneath(dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	if (fd < 0 || (clean.len && write_all(fd, clean.s, clean.len) < 0))
		return error_errno(err, "cannot write %s", name);
	return 0;
}

int git_copy_scrubbed(int from, int to, const char *name, struct error *err)
{
	return copy_entry(from, to, name, 0, git_copy_file_scrubbed, err);
}
