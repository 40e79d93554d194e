/*
 * hash: SHA-256 over a sequence of strings, for layer ids, and the trailing checksum of a git
 * index. The arithmetic is nettle's.
 */
#pragma once

#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stddef.h>

struct hash {
	struct sha256_ctx context;
};

void hash_init(struct hash *hash);
/* Each text is hashed with its length, so that two sequences never run together. */
void hash_text(struct hash *hash, const char *text);
void hash_bytes(struct hash *hash, const void *bytes, size_t len);
/* "<kind>-" and 40 hexadecimal digits. */
char *hash_id(struct hash *hash, const char *kind);

/* What ends a git index, over all that stands before it: SHA-1, or SHA-256. */
struct checksum {
	bool sha256;
	union {
		struct sha1_ctx sha1;
		struct sha256_ctx sha2;
	} context;
};

void checksum_init(struct checksum *checksum, bool sha256);
void checksum_bytes(struct checksum *checksum, const void *bytes, size_t len);
/* Writes 20 or 32 bytes to `out`, and says how many. */
size_t checksum_end(struct checksum *checksum, unsigned char *out);

/* Writes the checksum of `len` bytes to `out`: SHA-1 (20 bytes) or SHA-256 (32). */
size_t hash_checksum(bool sha256, const void *bytes, size_t len, unsigned char *out);
