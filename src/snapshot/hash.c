#include "snapshot/hash.h"

#include <nettle/sha1.h>
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

size_t hash_checksum(bool sha256, const void *bytes, size_t len, unsigned char *out)
{
	if (sha256) {
		struct sha256_ctx context;

		sha256_init(&context);
		sha256_update(&context, len, bytes);
		sha256_digest(&context, SHA256_DIGEST_SIZE, out);
		return SHA256_DIGEST_SIZE;
	}
	struct sha1_ctx context;

	sha1_init(&context);
	sha1_update(&context, len, bytes);
	sha1_digest(&context, SHA1_DIGEST_SIZE, out);
	return SHA1_DIGEST_SIZE;
}
