/*
 * content: what lies at a path of a work tree, as raw bytes.
 *
 * Nothing that is found is trusted: no component of a path may be a symbolic link or a mount, what
 * is no regular file is never opened for reading (T41), and what is looked at is what is open, so
 * that a name that changes its meaning meanwhile leads nowhere (T40). A file of any size is read
 * in pieces.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum content_kind {
	CONTENT_ABSENT,
	CONTENT_FILE,
	CONTENT_LINK,
	CONTENT_DIRECTORY,
	CONTENT_SPECIAL,    /* FIFO, socket, device */
	CONTENT_BLOCKED,    /* something above is no directory */
	CONTENT_MOUNT,	    /* it, or something above, is on another file system */
	CONTENT_UNREADABLE, /* `number` says why */
};

enum { CONTENT_HASH = 32 };

struct content {
	enum content_kind kind;
	bool executable;	    /* of a file */
	uint8_t hash[CONTENT_HASH]; /* SHA-256 of a file's bytes, or of a link's target */
	uint64_t size;
	mode_t mode; /* permissions of a file or a directory */
	dev_t dev;
	ino_t ino;
	int number;
};

/* Looks, and reads. ERR_UNSTABLE when a file does not hold still while it is read. */
int content_look(int dirfd, const char *path, struct content *ret, struct error *err);

/* The same, but reads nothing: there is no hash. */
int content_peek(int dirfd, const char *path, struct content *ret, struct error *err);

/* The same kind, bytes, and executable bit; only of a file, a link, and nothing. */
bool content_equal(const struct content *a, const struct content *b);
/* The same bytes of two files, whatever their executable bits. */
bool content_same_bytes(const struct content *a, const struct content *b);

/*
 * Opens a regular file for reading. ERR_UNSTABLE when there is something else by now.
 */
int content_open(int dirfd, const char *path, int *ret_fd, struct error *err);

/* How a copy is made. */
struct content_wish {
	mode_t mode; /* of a file, less the umask */
	bool exact;  /* whatever the umask */
	bool synced;
};
/* Copies to the new `name` in `to`. ERR_UNSTABLE when that is not what was seen. */
int content_copy(int dirfd, const char *path, const struct content *seen,
		 const struct content_wish *wish, int to, const char *name, struct error *err);

/* 64 hexadecimal digits, NUL-terminated. */
void content_hash_text(const struct content *content, char ret[2 * CONTENT_HASH + 1]);

/* "a file", "a symbolic link", "nothing", ... */
const char *content_kind_text(const struct content *content);
