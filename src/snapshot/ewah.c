#include "snapshot/ewah.h"

#include <endian.h>

#include "base/memory.h"

/*
 * A run length word: the bit that is repeated, 32 bits of how many words of it, and 31 bits of how
 * many words follow literally. No bitmap of 32 bit positions comes near these limits.
 */
enum { RUN_SHIFT = 1, LITERAL_SHIFT = 33 };

static void append(struct ewah *ewah, uint64_t word)
{
	if (!ewah->words || ewah->len == ewah->alloc) {
		ewah->alloc = ewah->alloc ? ewah->alloc * 2 : 4;
		ewah->words = xreallocarray(ewah->words, ewah->alloc, sizeof word);
	}
	ewah->words[ewah->len++] = word;
}

static void start_run(struct ewah *ewah, uint64_t bit, uint64_t count)
{
	ewah->marker = ewah->len;
	append(ewah, bit | count << RUN_SHIFT);
}

static void add_run(struct ewah *ewah, uint64_t bit, uint64_t count)
{
	if (!count)
		return;
	uint64_t *marker = ewah->len ? &ewah->words[ewah->marker] : NULL;

	/* A run that goes on, and has no literal words yet. */
	if (marker && *marker >> LITERAL_SHIFT == 0 && (*marker & 1) == bit)
		*marker += count << RUN_SHIFT;
	else
		start_run(ewah, bit, count);
}

static void add_word(struct ewah *ewah, uint64_t word)
{
	if (word == 0 || word == UINT64_MAX) {
		add_run(ewah, word & 1, 1);
		return;
	}
	if (!ewah->len)
		start_run(ewah, 0, 0);
	ewah->words[ewah->marker] += (uint64_t)1 << LITERAL_SHIFT;
	append(ewah, word);
}

void ewah_set(struct ewah *ewah, uint32_t position)
{
	uint32_t word = position / 64;

	if (word != ewah->word) {
		add_word(ewah, ewah->pending);
		add_run(ewah, 0, word - ewah->word - 1);
		ewah->pending = 0;
		ewah->word = word;
	}
	ewah->pending |= (uint64_t)1 << position % 64;
	ewah->bits = position + 1;
}

static void add_u32(struct str *str, size_t number)
{
	uint32_t big = htobe32((uint32_t)number);

	str_add_bytes(str, &big, sizeof big);
}

void ewah_add_to(struct ewah *ewah, struct str *str)
{
	if (ewah->pending)
		add_word(ewah, ewah->pending);
	if (!ewah->len)
		start_run(ewah, 0, 0);
	add_u32(str, ewah->bits);
	add_u32(str, ewah->len);
	for (size_t i = 0; i < ewah->len; i++) {
		uint64_t big = htobe64(ewah->words[i]);

		str_add_bytes(str, &big, sizeof big);
	}
	add_u32(str, ewah->marker);
	ewah->pending = 0;
}

void ewah_release(struct ewah *ewah)
{
	free(ewah->words);
	*ewah = (struct ewah)EWAH_INIT;
}
