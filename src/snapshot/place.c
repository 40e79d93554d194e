#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/local-internal.h"

void place_release(struct place *place)
{
	fd_close(&place->fd);
	free(place->path);
	place->path = NULL;
}

const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

char *parent_of(const char *path)
{
	const char *name = base_name(path);

	return name == path ? xstrdup(".") : xstrndup(path, (size_t)(name - path - 1));
}

int place_enter(struct place *place, const char *path)
{
	size_t len = (size_t)(base_name(path) - path);

	if (place->path &&
	    len == (place->path[0] == '.' && !place->path[1] ? 0 : strlen(place->path) + 1) &&
	    strncmp(place->path, path, len ? len - 1 : 0) == 0)
		return 0;
	place_release(place);
	autofree char *parent = parent_of(path);

	place->fd = open_beneath(place->base, parent, O_PATH | O_DIRECTORY, 0);
	if (place->fd < 0)
		return -1;
	place->path = steal_ptr(&parent);
	return 1;
}

bool is_gone(int number)
{
	return number == ENOENT || number == ENOTDIR || number == ELOOP || number == ENXIO;
}

size_t missing_length(int top, const char *path, int *ret_parent)
{
	size_t at = 0;

	for (;;) {
		size_t end = at + strcspn(path + at, "/");
		autofree char *prefix = xstrndup(path, end);
		autofd int fd = open_beneath(top, prefix, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);

		if (fd < 0)
			return end;
		fd_close(ret_parent);
		*ret_parent = steal_fd(&fd);
		if (!path[end])
			return 0;
		at = end + 1;
	}
}

bool is_below(const char *path, const char *missing)
{
	size_t len = missing ? strlen(missing) : 0;

	return len && strncmp(path, missing, len) == 0 && (!path[len] || path[len] == '/');
}
