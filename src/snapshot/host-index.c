#include "snapshot/host-index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "git/git.h"

static const char copy_name[] = "host-index";

void host_index_close(struct host_index *index)
{
	index_reader_close(&index->reader);
	*index = (struct host_index)HOST_INDEX_INIT;
}

static int open_index(int dirfd, const char *name, bool sha256, struct index_reader **ret,
		      struct error *err)
{
	const struct index_entry *entry;
	autoreader struct index_reader *reader = NULL;
	int result;

	/* Whether it can be read at all is known at its end. */
	if (index_reader_open(dirfd, name, sha256, &reader, err) < 0)
		return -1;
	while ((result = index_reader_next(reader, &entry, err)) == 1)
		;
	if (result != 0)
		return result;
	return index_reader_open(dirfd, name, sha256, ret, err);
}

static int write_out(const struct repository *repository, int git_dir, int scratch,
		     struct error *err)
{
	autofd int from = openat(git_dir, "index", O_RDONLY | O_CLOEXEC);
	autofree char *place = realpath(fd_path(scratch).s, NULL);
	autostr struct str output = STR_INIT;

	if (from < 0 || !place)
		return error_errno(err, "cannot open the index of %s", repository->top);
	autofree char *copy = xasprintf("%s/%s", place, copy_name);
	const char *const args[] = {"-c",
				    "core.splitIndex=false",
				    "-c",
				    "index.sparse=false",
				    "update-index",
				    "--no-split-index",
				    "--force-write-index",
				    NULL};

	if (unlinkat(scratch, copy_name, 0) < 0 && errno != ENOENT)
		return error_errno(err, "cannot remove %s", copy);
	if (file_copy_at(from, scratch, copy_name, err) < 0)
		return -1;
	return git_run(&(struct git_place){.directory = repository->top, .index = copy}, args,
		       &output, err);
}

static int advance(struct host_index *index, struct error *err)
{
	int result = index_reader_next(index->reader, &index->current, err);

	if (result != 1)
		index->current = NULL;
	return result < 0 ? -1 : 0;
}

int host_index_open(const struct repository *repository, int scratch, bool sha256,
		    struct host_index *ret, struct error *err)
{
	autohostindex struct host_index index = HOST_INDEX_INIT;
	autofd int git_dir = open(repository->git_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	index.sha256 = sha256;
	if (git_dir < 0)
		return error_errno(err, "cannot open %s", repository->git_dir);
	if (fstatat(git_dir, "index", &st, 0) < 0) {
		if (errno != ENOENT)
			return error_errno(err, "cannot read the index of %s", repository->top);
		*ret = index;
		return 0;
	}
	index.written = st.st_mtim;
	int result = open_index(git_dir, "index", sha256, &index.reader, err);

	if (result == INDEX_FOREIGN) {
		if (write_out(repository, git_dir, scratch, err) < 0)
			return error_wrap(err, "cannot read the index of %s", repository->top);
		result = open_index(scratch, copy_name, sha256, &index.reader, err);
	}
	if (result != 0 || advance(&index, err) < 0)
		return error_wrap(err, "cannot read the index of %s", repository->top);
	*ret = index;
	index = (struct host_index)HOST_INDEX_INIT;
	return 0;
}

static bool is_older(const struct index_stat *stat, const struct timespec *written)
{
	uint32_t seconds = (uint32_t)written->tv_sec;

	return stat->modified < seconds ||
	       (stat->modified == seconds && stat->modified_ns < (uint32_t)written->tv_nsec);
}

/*
 * git takes the size away from an entry when it finds that the file may have been changed right
 * after it was added: a file that is empty now would look like it.
 */
static bool is_smudged(const struct host_index *index, const struct index_entry *entry)
{
	unsigned char nothing[INDEX_OID_MAX] = {0};

	if (entry->stat.size)
		return false;
	index_exclude_id(index->sha256, "", 0, nothing);
	return memcmp(entry->oid, nothing, sizeof nothing) != 0;
}

int host_index_ask(struct host_index *index, const struct index_entry *entry,
		   struct index_stat *ret, struct error *err)
{
	const struct index_entry *host;

	while ((host = index->current) && strcmp(host->path, entry->path) < 0)
		if (advance(index, err) < 0)
			return -1;
	if (!host || strcmp(host->path, entry->path) != 0 || host->stage || host->intent_to_add ||
	    host->assume_valid || host->skip_worktree || host->mode != entry->mode ||
	    memcmp(host->oid, entry->oid, INDEX_OID_MAX) != 0)
		return 0;
	*ret = host->stat;
	return is_older(&host->stat, &index->written) && !is_smudged(index, host) ? 1 : HOST_UNSURE;
}
