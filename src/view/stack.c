#include "view/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/file.h"
#include "base/memory.h"

static ssize_t get_mark(int fd, const char *name, char *ret)
{
	return getxattr(fd_path(fd).s, name, ret, 1);
}

enum stack_kind stack_kind_of(int fd, const struct stat *st)
{
	char value;

	if (S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0))
		return STACK_HIDDEN;
	if (S_ISREG(st->st_mode))
		return st->st_size == 0 && get_mark(fd, "user.overlay.whiteout", &value) >= 0
			       ? STACK_HIDDEN
			       : STACK_FILE;
	if (S_ISDIR(st->st_mode))
		return STACK_DIRECTORY;
	return S_ISLNK(st->st_mode) ? STACK_LINK : STACK_OTHER;
}

int stack_is_opaque(int fd)
{
	char value;

	return get_mark(fd, "user.overlay.opaque", &value) == 1 && value == 'y';
}

/* One layer: STACK_NOWHERE when the ones below have to be asked. */
static int look(int directory, const char *path, struct stack_entry *ret, struct error *err)
{
	for (size_t len = strcspn(path, "/");; len += 1 + strcspn(path + len + 1, "/")) {
		autofree char *prefix = xstrndup(path, len);
		autofd int fd = open_beneath(directory, prefix, O_PATH | O_NOFOLLOW, 0);
		bool last = path[len] == '\0';

		if (fd < 0 && errno == ENOENT)
			return 0;
		if (fd < 0 || fstat(fd, &ret->st) < 0)
			return error_errno(err, "cannot look at %s", prefix);
		enum stack_kind kind = stack_kind_of(fd, &ret->st);

		if (last || kind != STACK_DIRECTORY) {
			/* Below something that is no directory there is nothing. */
			ret->kind = last ? kind : STACK_HIDDEN;
			return 0;
		}
		if (stack_is_opaque(fd)) {
			autofd int inner = open_beneath(directory, path, O_PATH | O_NOFOLLOW, 0);

			if (inner < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
				return error_errno(err, "cannot look at %s", path);
			if (inner < 0 || fstat(inner, &ret->st) < 0)
				ret->kind = STACK_HIDDEN;
			else
				ret->kind = stack_kind_of(inner, &ret->st);
			return 0;
		}
	}
}

int stack_find(const int *directories, size_t count, const char *path, struct stack_entry *ret,
	       struct error *err)
{
	struct stack_entry entry = {.kind = STACK_NOWHERE};

	for (size_t i = 0; i < count && entry.kind == STACK_NOWHERE; i++) {
		entry.level = i;
		if (look(directories[i], path, &entry, err) < 0)
			return -1;
	}
	*ret = entry;
	return 0;
}
