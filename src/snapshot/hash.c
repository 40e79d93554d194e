#include "snapshot/hash.h"

#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "base/str.h"

void hash_init(struct hash *hash)
{
	sha256_init(&hash->context);
}

void hash_bytes(struct hash *hash, const void *bytes, size_t len)
{
	uint64_t length = len;

	sha256_update(&hash->context, sizeof length, (const uint8_t *)&length);
	sha256_update(&hash->context, len, bytes);
}

void hash_text(struct hash *hash, const char *text)
{
	hash_bytes(hash, text, strlen(text));
}

char *hash_id(struct hash *hash, const char *kind)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct str id = STR_INIT;

	sha256_digest(&hash->context, sizeof digest, digest);
	str_addf(&id, "%s-", kind);
	for (size_t i = 0; i < 20; i++)
		str_addf(&id, "%02x", digest[i]);
	return str_take(&id);
}

void checksum_init(struct checksum *checksum, bool sha256)
{
	checksum->sha256 = sha256;
	if (sha256)
		sha256_init(&checksum->context.sha2);
	else
		sha1_init(&checksum->context.sha1);
}

void checksum_bytes(struct checksum *checksum, const void *bytes, size_t len)
{
	if (checksum->sha256)
		sha256_update(&checksum->context.sha2, len, bytes);
	else
		sha1_update(&checksum->context.sha1, len, bytes);
}

size_t checksum_end(struct checksum *checksum, unsigned char *out)
{
	if (checksum->sha256) {
		sha256_digest(&checksum->context.sha2, SHA256_DIGEST_SIZE, out);
		return SHA256_DIGEST_SIZE;
	}
	sha1_digest(&checksum->context.sha1, SHA1_DIGEST_SIZE, out);
	return SHA1_DIGEST_SIZE;
}

size_t hash_checksum(bool sha256, const void *bytes, size_t len, unsigned char *out)
{
	struct checksum checksum;

	checksum_init(&checksum, sha256);
	checksum_bytes(&checksum, bytes, len);
	return checksum_end(&checksum, out);
}
