/*
 * index-internal: the format of git's index (gitformat-index(5)), for the files that make up
 * index.h.
 */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "snapshot/ewah.h"
#include "snapshot/hash.h"
#include "snapshot/index.h"

enum {
	INDEX_HEADER = 12,
	INDEX_SIGNATURE = 4,
	INDEX_STAT = 40, /* of an entry: what stands before the object id */
	INDEX_PATH_MAX = 64 << 10,
	INDEX_ENTRY_MAX = INDEX_PATH_MAX + 256,
	INDEX_WINDOW = 512 << 10,

	FLAG_ASSUME_VALID = 0x8000,
	FLAG_EXTENDED = 0x4000,
	FLAG_STAGE_SHIFT = 12,
	FLAG_STAGE = 3,
	FLAG_LENGTH = 0x0fff,

	FLAG_SKIP_WORKTREE = 0x4000, /* in the extended flags */
	FLAG_INTENT_TO_ADD = 0x2000,
	FLAGS_KNOWN = FLAG_SKIP_WORKTREE | FLAG_INTENT_TO_ADD,
};

#define INDEX_GIT "DIRC"

static inline size_t index_oid_size(bool sha256)
{
	return sha256 ? 32 : 20;
}

static inline uint16_t get_u16(const void *at)
{
	uint16_t number;

	memcpy(&number, at, sizeof number);
	return be16toh(number);
}

static inline uint32_t get_u32(const void *at)
{
	uint32_t number;

	memcpy(&number, at, sizeof number);
	return be32toh(number);
}

static inline void put_u16(void *at, uint16_t number)
{
	number = htobe16(number);
	memcpy(at, &number, sizeof number);
}

static inline void put_u32(void *at, uint32_t number)
{
	number = htobe32(number);
	memcpy(at, &number, sizeof number);
}

static inline void str_add_u32(struct str *str, uint32_t number)
{
	unsigned char bytes[4];

	put_u32(bytes, number);
	str_add_bytes(str, bytes, sizeof bytes);
}

/* Padded with 1 to 8 NUL bytes to a multiple of eight: the length of an entry on disk. */
static inline size_t index_entry_length(size_t before_path, size_t path)
{
	return (before_path + path + 8) & ~(size_t)7;
}

/* ERR_GIT: "the index NAME cannot be understood". */
int index_damaged(const char *name, struct error *err);

/*
 * Reads the variable width number at *at. False when it does not end before `end`, or is larger
 * than any index can hold.
 */
bool index_get_varint(const unsigned char **at, const unsigned char *end, size_t *ret);
void index_put_varint(struct str *str, size_t number);

/*
 * A file that is built like an index, but is none: it has a signature and a version of its own,
 * entries as in version 3 of the index, and modes that only its reader understands.
 */
int index_reader_open_as(int dirfd, const char *name, bool sha256, const char *signature,
			 uint32_t version, struct index_reader **ret, struct error *err);

struct index_out;

/* Before the end is reached: collects the extension with this signature in `into`, if any. */
void index_reader_collect(struct index_reader *reader, const char *signature, struct str *into);
/* The same for all of them: into `out`, but for those that tell where in the file something stands. */
void index_reader_copy(struct index_reader *reader, struct index_out *out);
/* Right after it was opened: index_reader_next() ends only if the file's checksum is right. */
void index_reader_verify(struct index_reader *reader);
uint32_t index_reader_version(const struct index_reader *reader);
/* The id at the end of the file. */
int index_reader_checksum(const struct index_reader *reader, unsigned char *ret, struct error *err);

/*
 * A new file of which everything is hashed, with the hash at its end. The directory stays the
 * caller's, and open until the end.
 */
struct index_out {
	int dirfd;
	int fd;
	char *name;
	bool sha256;
	struct checksum checksum;
	unsigned char *buffer;
	size_t len;
};

#define INDEX_OUT_INIT   \
	{                \
		.fd = -1 \
	}

int index_out_open(int dirfd, const char *name, bool sha256, struct index_out *ret,
		   struct error *err);
int index_out_bytes(struct index_out *out, const void *bytes, size_t len, struct error *err);
int index_out_header(struct index_out *out, const char *signature, uint32_t version, uint32_t count,
		     struct error *err);
/* `path` stands for the one in the entry; mode as it shall be in the file. */
int index_out_entry(struct index_out *out, const struct index_entry *entry, const char *path,
		    uint32_t mode, struct error *err);
int index_out_extension(struct index_out *out, const char *signature, const struct str *content,
			struct error *err);
/* Adds the checksum. Either way nothing is left to release; on failure not even the file. */
int index_out_finish(struct index_out *out, struct error *err);
/* Removes the file; does nothing after index_out_finish(). */
void index_out_abort(struct index_out *out);
#define autoout __attribute__((cleanup(index_out_abort)))

/*
 * A split index over a shared one: index_split_note() for each entry of either, in the order of
 * paths; then the header, those that replace one (which go without their path), those that are
 * added, and the link.
 */
#define INDEX_SHARED "sharedindex."

enum index_fate {
	INDEX_KEPT,
	INDEX_GONE,
	INDEX_REPLACED, /* by another one at the same place */
	INDEX_ADDED,
};

struct index_split {
	uint32_t base_at;
	struct ewah gone, replaced; /* by position in the shared index */
	uint32_t replacements, additions;
};

void index_split_note(struct index_split *split, enum index_fate fate);
int index_split_header(const struct index_split *split, struct index_out *out, struct error *err);
int index_split_entry(struct index_out *out, enum index_fate fate, const struct index_entry *entry,
		      struct error *err);
int index_split_link(struct index_split *split, const unsigned char *id, struct index_out *out,
		     struct error *err);
void index_split_release(struct index_split *split);

/* What git calls the shared index with this checksum. */
char *index_shared_name(bool sha256, const unsigned char *id);

static inline bool index_entry_is_extended(const struct index_entry *entry)
{
	return entry->skip_worktree || entry->intent_to_add;
}
