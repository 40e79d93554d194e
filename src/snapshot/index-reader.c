#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/index-internal.h"

enum { EXTENSION_HEADER = INDEX_SIGNATURE + 4 };

struct index_reader {
	int fd;
	char *name;
	size_t oid;
	uint32_t version;
	uint32_t count, seen;
	bool ended, foreign;

	uint64_t checksum_at;
	uint64_t left; /* before the checksum, but not in the window yet */
	unsigned char *window;
	size_t at, len;

	/*
	 * The path of the entry before. It stands in the window until that moves on, or with
	 * version 4, where a path is told by its difference from the one before, in one of `paths`.
	 */
	const char *previous;
	struct str paths[2];

	struct index_entry entry;

	const char *wanted; /* index_reader_collect() */
	struct str *into;
	struct index_out *out; /* index_reader_copy() */
	bool verify;
	struct checksum checksum;
};

int index_damaged(const char *name, struct error *err)
{
	return error_set(err, ERR_GIT, "the index %s cannot be understood", name);
}

struct index_stat index_stat_of(const struct stat *st)
{
	return (struct index_stat){
		.changed = (uint32_t)st->st_ctim.tv_sec,
		.changed_ns = (uint32_t)st->st_ctim.tv_nsec,
		.modified = (uint32_t)st->st_mtim.tv_sec,
		.modified_ns = (uint32_t)st->st_mtim.tv_nsec,
		.dev = (uint32_t)st->st_dev,
		.ino = (uint32_t)st->st_ino,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.size = (uint32_t)st->st_size,
	};
}

bool index_get_varint(const unsigned char **at, const unsigned char *end, size_t *ret)
{
	const unsigned char *p = *at;
	size_t number = 0;

	for (bool more = true; more; p++) {
		if (p == end || number > UINT32_MAX)
			return false;
		if (p != *at)
			number++;
		number = (number << 7) + (*p & 127);
		more = *p & 128;
	}
	*at = p;
	*ret = number;
	return true;
}

void index_put_varint(struct str *str, size_t number)
{
	unsigned char bytes[10];
	size_t at = sizeof bytes - 1;

	bytes[at] = number & 127;
	while (number >>= 7)
		bytes[--at] = 128 | (--number & 127);
	str_add_bytes(str, bytes + at, sizeof bytes - at);
}

static void copy_path(struct str *into, const char *path)
{
	str_clear(into);
	str_add_bytes(into, path, strlen(path));
}

/* Fills the window as far as the file goes. */
static int move_window(struct index_reader *reader, struct error *err)
{
	if (reader->previous && reader->version != 4) {
		copy_path(&reader->paths[0], reader->previous);
		reader->previous = reader->paths[0].s;
	}
	reader->len -= reader->at;
	memmove(reader->window, reader->window + reader->at, reader->len);
	reader->at = 0;
	while (reader->left && reader->len < INDEX_WINDOW) {
		size_t room = INDEX_WINDOW - reader->len;
		ssize_t got = read(reader->fd, reader->window + reader->len,
				   reader->left < room ? (size_t)reader->left : room);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_errno(err, "cannot read the index %s", reader->name);
		if (got == 0)
			return index_damaged(reader->name, err);
		if (reader->verify)
			checksum_bytes(&reader->checksum, reader->window + reader->len,
				       (size_t)got);
		reader->len += (size_t)got;
		reader->left -= (size_t)got;
	}
	return 0;
}

/* Afterwards `need` bytes are in the window, or as many as there are. */
static int want(struct index_reader *reader, size_t need, struct error *err)
{
	if (reader->len - reader->at >= need || !reader->left)
		return 0;
	return move_window(reader, err);
}

static int open_file(struct index_reader *reader, int dirfd, const char *name, struct error *err)
{
	struct stat st;

	reader->fd = open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK, 0);
	if (reader->fd < 0 || fstat(reader->fd, &st) < 0)
		return error_errno(err, "cannot open the index %s", name);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < INDEX_HEADER + reader->oid)
		return index_damaged(name, err);
	reader->checksum_at = (uint64_t)st.st_size - reader->oid;
	reader->left = reader->checksum_at;
	return move_window(reader, err);
}

static int read_header(struct index_reader *reader, const char *signature, struct error *err)
{
	size_t least = INDEX_STAT + reader->oid + 2 + 1;

	if (memcmp(reader->window, signature, INDEX_SIGNATURE) != 0)
		return index_damaged(reader->name, err);
	reader->version = get_u32(reader->window + 4);
	reader->count = get_u32(reader->window + 8);
	reader->at = INDEX_HEADER;
	/* The count is believed by those who ask for it. */
	if (reader->count > reader->checksum_at / least)
		return index_damaged(reader->name, err);
	return 0;
}

static int open_reader(int dirfd, const char *name, bool sha256, const char *signature,
		       struct index_reader **ret, struct error *err)
{
	struct index_reader *reader = xcalloc(1, sizeof *reader);

	reader->fd = -1;
	reader->name = xstrdup(name);
	reader->oid = index_oid_size(sha256);
	reader->window = xmalloc(INDEX_WINDOW);
	if (open_file(reader, dirfd, name, err) < 0 || read_header(reader, signature, err) < 0) {
		index_reader_close(&reader);
		return -1;
	}
	*ret = reader;
	return 0;
}

int index_reader_open(int dirfd, const char *name, bool sha256, struct index_reader **ret,
		      struct error *err)
{
	autoreader struct index_reader *reader = NULL;

	if (open_reader(dirfd, name, sha256, INDEX_GIT, &reader, err) < 0)
		return -1;
	if (reader->version < 2 || reader->version > 4)
		return index_damaged(name, err);
	*ret = steal_ptr(&reader);
	return 0;
}

int index_reader_open_as(int dirfd, const char *name, bool sha256, const char *signature,
			 uint32_t version, struct index_reader **ret, struct error *err)
{
	autoreader struct index_reader *reader = NULL;

	if (open_reader(dirfd, name, sha256, signature, &reader, err) < 0)
		return -1;
	if (reader->version != version)
		return index_damaged(name, err);
	reader->version = 3;
	*ret = steal_ptr(&reader);
	return 0;
}

void index_reader_close(struct index_reader **where)
{
	struct index_reader *reader = *where;

	if (!reader)
		return;
	fd_close(&reader->fd);
	free(reader->name);
	free(reader->window);
	for (size_t i = 0; i < ARRAY_SIZE(reader->paths); i++)
		str_release(&reader->paths[i]);
	free(reader);
	*where = NULL;
}

uint32_t index_reader_count(const struct index_reader *reader)
{
	return reader->count;
}

void index_reader_collect(struct index_reader *reader, const char *signature, struct str *into)
{
	reader->wanted = signature;
	reader->into = into;
}

void index_reader_copy(struct index_reader *reader, struct index_out *out)
{
	reader->out = out;
}

void index_reader_verify(struct index_reader *reader)
{
	reader->verify = true;
	checksum_init(&reader->checksum, reader->oid == 32);
	checksum_bytes(&reader->checksum, reader->window, reader->len);
}

uint32_t index_reader_version(const struct index_reader *reader)
{
	return reader->version;
}

int index_reader_checksum(const struct index_reader *reader, unsigned char *ret, struct error *err)
{
	ssize_t got = pread(reader->fd, ret, reader->oid, (off_t)reader->checksum_at);

	if (got < 0)
		return error_errno(err, "cannot read the index %s", reader->name);
	return (size_t)got == reader->oid ? 0 : index_damaged(reader->name, err);
}

/* All but the path. Returns where that begins, or NULL. */
static const unsigned char *read_numbers(struct index_reader *reader, const unsigned char *at,
					 const unsigned char *end, size_t *ret_length)
{
	struct index_entry *entry = &reader->entry;
	uint16_t extended = 0;

	if ((size_t)(end - at) < INDEX_STAT + reader->oid + 2 + 2)
		return NULL;
	entry->stat.changed = get_u32(at);
	entry->stat.changed_ns = get_u32(at + 4);
	entry->stat.modified = get_u32(at + 8);
	entry->stat.modified_ns = get_u32(at + 12);
	entry->stat.dev = get_u32(at + 16);
	entry->stat.ino = get_u32(at + 20);
	entry->mode = get_u32(at + 24);
	entry->stat.uid = get_u32(at + 28);
	entry->stat.gid = get_u32(at + 32);
	entry->stat.size = get_u32(at + 36);
	memcpy(entry->oid, at + INDEX_STAT, reader->oid);
	at += INDEX_STAT + reader->oid;
	uint16_t flags = get_u16(at);

	at += 2;
	if (flags & FLAG_EXTENDED) {
		extended = get_u16(at);
		at += 2;
	}
	if (extended & ~FLAGS_KNOWN)
		return NULL;
	entry->stage = flags >> FLAG_STAGE_SHIFT & FLAG_STAGE;
	entry->assume_valid = flags & FLAG_ASSUME_VALID;
	entry->skip_worktree = extended & FLAG_SKIP_WORKTREE;
	entry->intent_to_add = extended & FLAG_INTENT_TO_ADD;
	*ret_length = flags & FLAG_LENGTH;
	return at;
}

/* The length of the string at `at`, or -1 if it does not end, or is not as long as was said. */
static ssize_t path_length(const unsigned char *at, const unsigned char *end, size_t said)
{
	size_t most = (size_t)(end - at);
	const unsigned char *nul = memchr(at, 0, most);

	if (!nul || nul - at > INDEX_PATH_MAX)
		return -1;
	size_t len = (size_t)(nul - at);

	if (said == FLAG_LENGTH ? len < said : len != said)
		return -1;
	return (ssize_t)len;
}

/* Version 4: how much of the path before to drop, and what comes instead. */
static const unsigned char *read_compressed(struct index_reader *reader, const unsigned char *at,
					    const unsigned char *end)
{
	size_t turn = reader->seen & 1;
	struct str *path = &reader->paths[turn];
	const struct str *before = &reader->paths[!turn];
	size_t drop = 0;

	if (!index_get_varint(&at, end, &drop) || drop > before->len)
		return NULL;
	const unsigned char *nul = memchr(at, 0, (size_t)(end - at));

	if (!nul || before->len - drop + (size_t)(nul - at) > INDEX_PATH_MAX)
		return NULL;
	str_clear(path);
	if (before->len > drop)
		str_add_bytes(path, before->s, before->len - drop);
	str_add_bytes(path, at, (size_t)(nul - at));
	reader->entry.path = path->s;
	return nul + 1;
}

static const unsigned char *read_plain(struct index_reader *reader, const unsigned char *start,
				       const unsigned char *at, const unsigned char *end,
				       size_t said)
{
	ssize_t len = path_length(at, end, said);

	if (len < 0)
		return NULL;
	size_t whole = index_entry_length((size_t)(at - start), (size_t)len);

	if (whole > (size_t)(end - start))
		return NULL;
	reader->entry.path = (const char *)at;
	return start + whole;
}

/* 1; INDEX_FOREIGN; -1. */
static int read_entry(struct index_reader *reader, struct error *err)
{
	const unsigned char *start = reader->window + reader->at;
	const unsigned char *end = reader->window + reader->len;
	size_t said = 0;
	unsigned int stage_before = reader->entry.stage;
	const unsigned char *at = read_numbers(reader, start, end, &said);

	if (at && reader->version == 4)
		at = read_compressed(reader, at, end);
	else if (at)
		at = read_plain(reader, start, at, end, said);
	if (!at)
		return index_damaged(reader->name, err);
	const char *path = reader->entry.path;

	if (!*path || S_ISDIR(reader->entry.mode)) {
		reader->foreign = true;
		return INDEX_FOREIGN;
	}
	if (reader->previous) {
		int order = strcmp(reader->previous, path);

		if (order > 0 || (order == 0 && stage_before >= reader->entry.stage))
			return index_damaged(reader->name, err);
	}
	reader->previous = path;
	reader->at = (size_t)(at - reader->window);
	reader->seen++;
	return 1;
}

/* What is collected of an extension, and copied. */
struct sink {
	struct str *into;
	struct index_out *out;
};

static int read_content(struct index_reader *reader, size_t size, const struct sink *sink,
			struct error *err)
{
	while (size) {
		if (want(reader, 1, err) < 0)
			return -1;
		const unsigned char *at = reader->window + reader->at;
		size_t here = reader->len - reader->at;

		if (here > size)
			here = size;
		if (!here)
			return index_damaged(reader->name, err);
		if (sink->into)
			str_add_bytes(sink->into, at, here);
		if (sink->out && index_out_bytes(sink->out, at, here, err) < 0)
			return -1;
		reader->at += here;
		size -= here;
	}
	return 0;
}

/* Where entries or extensions stand in the file. */
static bool is_about_places(const unsigned char *signature)
{
	return memcmp(signature, "EOIE", 4) == 0 || memcmp(signature, "IEOT", 4) == 0;
}

static int read_extensions(struct index_reader *reader, struct error *err)
{
	reader->previous = NULL;
	for (;;) {
		if (want(reader, EXTENSION_HEADER, err) < 0)
			return -1;
		const unsigned char *at = reader->window + reader->at;
		size_t here = reader->len - reader->at;
		struct sink sink = {0};

		if (here == 0)
			return 0;
		if (here < EXTENSION_HEADER)
			return index_damaged(reader->name, err);
		bool known = memcmp(at, "link", 4) == 0 || memcmp(at, "sdir", 4) == 0;

		if (known)
			reader->foreign = true;
		else if (*at < 'A' || *at > 'Z')
			return index_damaged(reader->name, err);
		if (reader->wanted && memcmp(at, reader->wanted, 4) == 0)
			sink.into = reader->into;
		if (reader->out && !is_about_places(at))
			sink.out = reader->out;
		if (sink.out && index_out_bytes(sink.out, at, EXTENSION_HEADER, err) < 0)
			return -1;
		uint32_t size = get_u32(at + INDEX_SIGNATURE);

		reader->at += EXTENSION_HEADER;
		if (read_content(reader, size, &sink, err) < 0)
			return -1;
	}
}

/* git leaves zeroes where index.skipHash is set, and takes them for right. */
static int check(struct index_reader *reader, struct error *err)
{
	static const unsigned char none[INDEX_OID_MAX];
	unsigned char said[INDEX_OID_MAX], found[INDEX_OID_MAX];

	if (index_reader_checksum(reader, said, err) < 0)
		return -1;
	checksum_end(&reader->checksum, found);
	if (memcmp(said, none, reader->oid) == 0 || memcmp(said, found, reader->oid) == 0)
		return 0;
	return index_damaged(reader->name, err);
}

static int read_end(struct index_reader *reader, struct error *err)
{
	if (read_extensions(reader, err) < 0)
		return -1;
	return reader->verify ? check(reader, err) : 0;
}

int index_reader_next(struct index_reader *reader, const struct index_entry **ret,
		      struct error *err)
{
	if (reader->foreign)
		return INDEX_FOREIGN;
	if (reader->seen < reader->count) {
		int result = want(reader, INDEX_ENTRY_MAX, err);

		if (result == 0)
			result = read_entry(reader, err);
		if (result == 1)
			*ret = &reader->entry;
		return result;
	}
	if (!reader->ended && read_end(reader, err) < 0)
		return -1;
	reader->ended = true;
	return reader->foreign ? INDEX_FOREIGN : 0;
}
