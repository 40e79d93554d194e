#include "snapshot/settle.h"

#include <endian.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/hash.h"

/* The part of an entry before the object id; all numbers big-endian. */
struct entry_stat {
	uint32_t changed, changed_ns;
	uint32_t modified, modified_ns;
	uint32_t dev, ino;
	uint32_t mode;
	uint32_t uid, gid;
	uint32_t size;
};

enum {
	HEADER = 12,
	INDEX_MAX = 1 << 30,
	FLAG_EXTENDED = 0x4000,
	FLAG_STAGE = 0x3000,
	FLAG_SKIP_WORKTREE = 0x4000, /* in the extended flags */
};

static int damaged(const char *name, struct error *err)
{
	return error_set(err, ERR_GIT, "git wrote an index %s that cannot be understood", name);
}

static uint16_t read_u16(const char *at)
{
	uint16_t number;

	memcpy(&number, at, sizeof number);
	return be16toh(number);
}

static uint32_t read_u32(const char *at)
{
	uint32_t number;

	memcpy(&number, at, sizeof number);
	return be32toh(number);
}

struct walk {
	const char *name; /* of the index */
	size_t oid;
	index_decide *decide;
	void *data;
};

static void put_stat(struct entry_stat *entry, const struct stat *st)
{
	entry->changed = htobe32((uint32_t)st->st_ctim.tv_sec);
	entry->changed_ns = htobe32((uint32_t)st->st_ctim.tv_nsec);
	entry->modified = htobe32((uint32_t)st->st_mtim.tv_sec);
	entry->modified_ns = htobe32((uint32_t)st->st_mtim.tv_nsec);
	entry->dev = htobe32((uint32_t)st->st_dev);
	entry->ino = htobe32((uint32_t)st->st_ino);
	entry->uid = htobe32(st->st_uid);
	entry->gid = htobe32(st->st_gid);
	entry->size = htobe32((uint32_t)st->st_size);
}

/* Handles the entry at `at` and returns the offset of the next one, or 0. */
static size_t walk_at(const struct walk *walk, struct str *index, size_t at, struct error *err)
{
	size_t flags_at = at + sizeof(struct entry_stat) + walk->oid;

	if (flags_at + 4 > index->len)
		return (void)damaged(walk->name, err), 0;
	uint16_t flags = read_u16(index->s + flags_at);
	bool extended = flags & FLAG_EXTENDED;
	size_t path_at = flags_at + 2 + (extended ? 2 : 0);
	const char *path = index->s + path_at;
	size_t len = strnlen(path, index->len - path_at);
	struct entry_stat entry;
	struct stat st = {0};

	/* 1 to 8 NUL bytes, to a multiple of eight from the beginning of the entry. */
	size_t next = at + ((path_at - at + len + 8) & ~(size_t)7);

	if (next > index->len || len == 0)
		return (void)damaged(walk->name, err), 0;
	memcpy(&entry, index->s + at, sizeof entry);
	mode_t mode = be32toh(entry.mode);
	bool skipped = extended && read_u16(index->s + flags_at + 2) & FLAG_SKIP_WORKTREE;

	if (!S_ISREG(mode) && !S_ISLNK(mode))
		return next;
	int result = walk->decide(walk->data, path, skipped, &st, err);

	if (result < 0)
		return 0;
	/* Of an unmerged path nothing is ever compared. */
	if (result == INDEX_SET && !(flags & FLAG_STAGE)) {
		put_stat(&entry, &st);
		memcpy(index->s + at, &entry, sizeof entry);
	}
	return next;
}

int index_rewrite(int dirfd, const char *name, bool sha256, index_decide *decide, void *data,
		  struct error *err)
{
	const struct walk walk = {name, sha256 ? 32 : 20, decide, data};
	autostr struct str index = STR_INIT;
	size_t at = HEADER;

	if (file_read_at(dirfd, name, INDEX_MAX, &index, err) < 0)
		return -1;
	if (index.len < HEADER + walk.oid || memcmp(index.s, "DIRC", 4) != 0)
		return damaged(name, err);
	uint32_t version = read_u32(index.s + 4);
	uint32_t count = read_u32(index.s + 8);

	if (version != 2 && version != 3)
		return damaged(name, err);
	index.len -= walk.oid;
	for (uint32_t i = 0; i < count && at; i++)
		at = walk_at(&walk, &index, at, err);
	if (!at)
		return -1;
	unsigned char checksum[32];

	hash_checksum(sha256, index.s, index.len, checksum);
	str_add_bytes(&index, checksum, walk.oid);
	return file_replace_at(dirfd, name, index.s, index.len, 0644, false, err);
}

struct settling {
	const char *name; /* of the index */
	int tree;
	time_t mtime;
	char *directory; /* where the entry before was, and that directory; they come in order */
	int parent;
};

/*
 * Opens the directory of an entry, and returns the entry's name in it. Never outside of the tree:
 * the paths come from a commit, which anybody may have written.
 */
static const char *open_parent(struct settling *s, const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return (void)damaged(s->name, err), NULL;
	if (s->parent >= 0 && strlen(s->directory) == len && memcmp(s->directory, path, len) == 0)
		return base;
	free(s->directory);
	fd_close(&s->parent);
	s->directory = xstrndup(path, len);
	s->parent = open_beneath(s->tree, len ? s->directory : ".", O_PATH | O_DIRECTORY, 0);
	if (s->parent < 0)
		return (void)error_errno(err, "cannot open the directory of %s", path), NULL;
	return base;
}

static int settle(void *data, const char *path, bool skipped, struct stat *st, struct error *err)
{
	struct settling *s = data;
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = s->mtime}};

	if (skipped)
		return INDEX_LEAVE;
	const char *base = open_parent(s, path, err);

	if (!base)
		return -1;
	if (utimensat(s->parent, base, times, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fstatat(s->parent, base, st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, "cannot set the time of %s", path);
	return INDEX_SET;
}

int index_settle(int dirfd, const char *name, int tree, bool sha256, time_t mtime,
		 struct error *err)
{
	struct settling settling = {.name = name, .tree = tree, .mtime = mtime, .parent = -1};
	int result = index_rewrite(dirfd, name, sha256, settle, &settling, err);

	free(settling.directory);
	fd_close(&settling.parent);
	return result;
}
