#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/index-internal.h"

struct index_writer {
	struct index_out out;
	uint32_t left;
};

int index_out_open(int dirfd, const char *name, bool sha256, struct index_out *ret,
		   struct error *err)
{
	int fd = open_beneath(dirfd, name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	if (fd < 0)
		return error_errno(err, "cannot create the index %s", name);
	*ret = (struct index_out){
		.dirfd = dirfd,
		.fd = fd,
		.name = xstrdup(name),
		.sha256 = sha256,
		.buffer = xmalloc(INDEX_WINDOW),
	};
	checksum_init(&ret->checksum, sha256);
	return 0;
}

static void release(struct index_out *out)
{
	free(out->buffer);
	free(out->name);
	*out = (struct index_out)INDEX_OUT_INIT;
}

void index_out_abort(struct index_out *out)
{
	if (out->fd < 0)
		return;
	fd_close(&out->fd);
	unlinkat(out->dirfd, out->name, 0);
	release(out);
}

static int put(struct index_out *out, const void *bytes, size_t len, struct error *err)
{
	if (write_all(out->fd, bytes, len) < 0)
		return error_errno(err, "cannot write the index %s", out->name);
	return 0;
}

static int flush(struct index_out *out, struct error *err)
{
	size_t len = out->len;

	out->len = 0;
	checksum_bytes(&out->checksum, out->buffer, len);
	return put(out, out->buffer, len, err);
}

int index_out_bytes(struct index_out *out, const void *bytes, size_t len, struct error *err)
{
	if (len > INDEX_WINDOW - out->len && flush(out, err) < 0)
		return -1;
	if (len > INDEX_WINDOW) {
		checksum_bytes(&out->checksum, bytes, len);
		return put(out, bytes, len, err);
	}
	memcpy(out->buffer + out->len, bytes, len);
	out->len += len;
	return 0;
}

int index_out_header(struct index_out *out, const char *signature, uint32_t version, uint32_t count,
		     struct error *err)
{
	unsigned char header[INDEX_HEADER];

	memcpy(header, signature, INDEX_SIGNATURE);
	put_u32(header + 4, version);
	put_u32(header + 8, count);
	return index_out_bytes(out, header, sizeof header, err);
}

static void put_stat(unsigned char *at, const struct index_stat *stat, uint32_t mode)
{
	put_u32(at, stat->changed);
	put_u32(at + 4, stat->changed_ns);
	put_u32(at + 8, stat->modified);
	put_u32(at + 12, stat->modified_ns);
	put_u32(at + 16, stat->dev);
	put_u32(at + 20, stat->ino);
	put_u32(at + 24, mode);
	put_u32(at + 28, stat->uid);
	put_u32(at + 32, stat->gid);
	put_u32(at + 36, stat->size);
}

/* Returns how many bytes they are. */
static size_t put_flags(unsigned char *at, const struct index_entry *entry, size_t path)
{
	unsigned int flags = path < FLAG_LENGTH ? (unsigned int)path : FLAG_LENGTH;
	unsigned int extended = 0;

	flags |= (entry->stage & FLAG_STAGE) << FLAG_STAGE_SHIFT;
	if (entry->assume_valid)
		flags |= FLAG_ASSUME_VALID;
	if (!index_entry_is_extended(entry)) {
		put_u16(at, (uint16_t)flags);
		return 2;
	}
	if (entry->skip_worktree)
		extended |= FLAG_SKIP_WORKTREE;
	if (entry->intent_to_add)
		extended |= FLAG_INTENT_TO_ADD;
	put_u16(at, (uint16_t)(flags | FLAG_EXTENDED));
	put_u16(at + 2, (uint16_t)extended);
	return 4;
}

int index_out_entry(struct index_out *out, const struct index_entry *entry, const char *path,
		    uint32_t mode, struct error *err)
{
	size_t oid = index_oid_size(out->sha256);
	size_t len = strlen(path);

	if (len > INDEX_PATH_MAX)
		return error_set(err, ERR_GIT, "a path of %zu bytes is too long for an index", len);
	if (INDEX_WINDOW - out->len < INDEX_ENTRY_MAX && flush(out, err) < 0)
		return -1;
	unsigned char *start = out->buffer + out->len;
	unsigned char *at = start + INDEX_STAT;

	put_stat(start, &entry->stat, mode);
	memcpy(at, entry->oid, oid);
	at += oid;
	at += put_flags(at, entry, len);
	size_t whole = index_entry_length((size_t)(at - start), len);

	memcpy(at, path, len + 1);
	at += len;
	memset(at, 0, whole - (size_t)(at - start));
	out->len += whole;
	return 0;
}

int index_out_extension(struct index_out *out, const char *signature, const struct str *content,
			struct error *err)
{
	unsigned char header[INDEX_SIGNATURE + 4];

	if (content->len > UINT32_MAX)
		return error_set(err, ERR_GIT, "too much for an index");
	memcpy(header, signature, INDEX_SIGNATURE);
	put_u32(header + INDEX_SIGNATURE, (uint32_t)content->len);
	if (index_out_bytes(out, header, sizeof header, err) < 0)
		return -1;
	return content->len ? index_out_bytes(out, content->s, content->len, err) : 0;
}

int index_out_finish(struct index_out *out, struct error *err)
{
	unsigned char checksum[INDEX_OID_MAX];

	if (flush(out, err) == 0 &&
	    put(out, checksum, checksum_end(&out->checksum, checksum), err) == 0) {
		fd_close(&out->fd);
		release(out);
		return 0;
	}
	index_out_abort(out);
	return -1;
}

int index_writer_open(int dirfd, const char *name, bool sha256, uint32_t count,
		      struct index_writer **ret, struct error *err)
{
	autowriter struct index_writer *writer = xcalloc(1, sizeof *writer);

	writer->out.fd = -1;
	writer->left = count;
	if (index_out_open(dirfd, name, sha256, &writer->out, err) < 0 ||
	    index_out_header(&writer->out, INDEX_GIT, 3, count, err) < 0)
		return -1;
	*ret = steal_ptr(&writer);
	return 0;
}

int index_writer_add(struct index_writer *writer, const struct index_entry *entry,
		     struct error *err)
{
	if (!writer->left)
		return error_set(err, ERR_CORRUPT, "more entries than the index %s has room for",
				 writer->out.name);
	writer->left--;
	return index_out_entry(&writer->out, entry, entry->path, entry->mode, err);
}

int index_writer_finish(struct index_writer **where, struct error *err)
{
	struct index_writer *writer = *where;
	int result;

	if (writer->left)
		result = error_set(err, ERR_CORRUPT, "%u entries of the index %s are missing",
				   writer->left, writer->out.name);
	else
		result = index_out_finish(&writer->out, err);
	index_writer_abort(where);
	return result;
}

void index_writer_abort(struct index_writer **where)
{
	if (!*where)
		return;
	index_out_abort(&(*where)->out);
	free(*where);
	*where = NULL;
}
