/*
 * An index of arbitrary bytes is settled or refused, and never does a time outside of the tree
 * change. The first byte chooses the format.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/index.h"
#include "support.h"

static int tree = -1, outside = -1;

static void prepare(int dir)
{
	static const char *const files[] = {"outside/f", "tree/f", "tree/d/g", "tree/d/e/h"};
	const struct timespec times[2] = {{.tv_sec = 7}, {.tv_sec = 7}};

	if (tree >= 0)
		return;
	MUST(mkdirat(dir, "outside", 0755) == 0 && mkdirat(dir, "tree", 0755) == 0 &&
	     mkdirat(dir, "tree/d", 0755) == 0 && mkdirat(dir, "tree/d/e", 0755) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		autofd int fd = openat(dir, files[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		MUST(fd >= 0);
	}
	MUST(symlinkat("../outside", dir, "tree/up") == 0);
	MUST(symlinkat("f", dir, "tree/link") == 0);
	outside = openat(dir, "outside", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	tree = openat(dir, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MUST(tree >= 0 && outside >= 0 && utimensat(outside, "f", times, 0) == 0 &&
	     futimens(outside, times) == 0 && futimens(tree, times) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_INIT;
	int dir = fuzz_directory(NULL);
	struct stat st;

	if (size == 0)
		return -1;
	prepare(dir);
	{
		autofd int fd =
			openat(dir, "index", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

		MUST(fd >= 0 && write_all(fd, data + 1, size - 1) == 0);
	}
	int result = index_settle(dir, "index", tree, data[0] & 1, 1000, &err);

	MUST(result == 0 ? err.code == ERR_NONE : result == -1 && err.code != ERR_NONE);
	MUST(fstatat(dir, "index", &st, 0) == 0 && st.st_size == (off_t)size - 1);
	MUST(fstat(outside, &st) == 0 && st.st_mtim.tv_sec == 7);
	MUST(fstatat(outside, "f", &st, 0) == 0 && st.st_mtim.tv_sec == 7);
	MUST(fstat(tree, &st) == 0 && st.st_mtim.tv_sec == 7);
	error_clear(&err);
	return 0;
}
