/*
 * hash: SHA-256 over a sequence of strings, for layer ids, and the trailing checksum of a git
 * index. The arithmetic is nettle's.
 */
#pragma once

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

/* Writes the checksum of `len` bytes to `out`: SHA-1 (20 bytes) or SHA-256 (32). */
size_t hash_checksum(bool sha256, const void *bytes, size_t len, unsigned char *out);
