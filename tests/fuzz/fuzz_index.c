/*
 * An index of arbitrary bytes, its cache tree, and what jib keeps in the same form, is read or
 * refused. The first byte chooses the format.
 */
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/index.h"
#include "support.h"

static void read_index(int dir, bool sha256)
{
	autoreader struct index_reader *reader = NULL;
	autoerror struct error err = ERROR_INIT;
	const struct index_entry *entry = NULL;
	uint32_t count = 0;
	int result = index_reader_open(dir, "index", sha256, &reader, &err);

	if (result == 0)
		while ((result = index_reader_next(reader, &entry, &err)) == 1)
			count++;
	MUST(result < 0 ? err.code == ERR_GIT : err.code == ERR_NONE);
	MUST(result != 0 || count == index_reader_count(reader));
}

static void read_trees(int dir, bool sha256)
{
	autotrees struct index_trees trees = INDEX_TREES_INIT;
	autotrees struct index_trees stored = INDEX_TREES_INIT;
	autoerror struct error err = ERROR_INIT;
	int result = index_trees_read(dir, "index", sha256, &trees, &err);

	MUST(result < 0 ? err.code == ERR_GIT : err.code == ERR_NONE);
	error_clear(&err);
	result = index_trees_load(dir, "index", sha256, &stored, &err);
	MUST(result < 0 ? err.code == ERR_GIT : err.code == ERR_NONE);
}

static void read_edits(int dir, bool sha256)
{
	autoedits struct index_edits edits = INDEX_EDITS_INIT;
	autoerror struct error err = ERROR_INIT;
	int result = index_edits_load(dir, "index", sha256, &edits, &err);

	MUST(result < 0 ? err.code == ERR_GIT : err.code == ERR_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int dir = fuzz_directory(NULL);

	if (size == 0)
		return -1;
	{
		autofd int fd =
			openat(dir, "index", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

		MUST(fd >= 0 && write_all(fd, data + 1, size - 1) == 0);
	}
	read_index(dir, data[0] & 1);
	read_trees(dir, data[0] & 1);
	read_edits(dir, data[0] & 1);
	return 0;
}
