#include "support.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

static char *path;
static pid_t owner;
static int fd = -1;

static void remove_directory(void)
{
	char *slash = strrchr(path, '/');

	/* A child that libFuzzer forks ends too. */
	if (getpid() != owner)
		return;
	*slash = '\0';
	autofd int parent = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	tree_remove_at(parent, slash + 1, NULL);
	fd_close(&fd);
	free(path);
}

int fuzz_directory(const char **ret_path)
{
	if (!path) {
		const char *where = getenv("TMPDIR");

		path = xasprintf("%s/jib-fuzz-XXXXXX", where ? where : "/tmp");
		owner = getpid();
		MUST(mkdtemp(path));
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		MUST(fd >= 0 && atexit(remove_directory) == 0);
	}
	if (ret_path)
		*ret_path = path;
	return fd;
}
