#include <errno.h>
#include <stddef.h>

#include "kernel/cgroup.h"

enum { MAX_CPUS = 10000 };

/* What is behind the point: digits / scale, scale a power of ten. */
struct decimal {
	uint64_t whole;
	uint64_t digits;
	uint64_t scale;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int fail(int number)
{
	errno = number;
	return -1;
}

/* Reads "12" or "12.34" and leaves *text behind it. strtod(3) would take "inf", "0x1p3", " 1". */
static int parse_decimal(const char **text, unsigned int max_decimals, struct decimal *ret)
{
	struct decimal value = {.scale = 1};
	const char *at = *text;

	if (!is_digit(*at))
		return fail(EINVAL);
	for (; is_digit(*at); at++)
		if (__builtin_mul_overflow(value.whole, 10, &value.whole) ||
		    __builtin_add_overflow(value.whole, (uint64_t)(*at - '0'), &value.whole))
			return fail(ERANGE);
	if (*at == '.') {
		at++;
		if (!is_digit(*at))
			return fail(EINVAL);
		for (; is_digit(*at); at++) {
			if (!max_decimals--)
				return fail(EINVAL);
			value.digits = value.digits * 10 + (uint64_t)(*at - '0');
			value.scale *= 10;
		}
	}
	*text = at;
	*ret = value;
	return 0;
}

static unsigned int suffix_shift(char c)
{
	switch (c) {
	case 'K':
	case 'k':
		return 10;
	case 'M':
	case 'm':
		return 20;
	case 'G':
	case 'g':
		return 30;
	case 'T':
	case 't':
		return 40;
	default:
		return 0;
	}
}

int limits_parse_size(const char *text, uint64_t *ret)
{
	struct decimal value;
	uint64_t size;

	/* Six decimals: digits << 40 stays within 64 bits. */
	if (parse_decimal(&text, 6, &value) < 0)
		return -1;
	unsigned int shift = suffix_shift(*text);

	if (shift)
		text++;
	if (*text || (!shift && value.scale > 1))
		return fail(EINVAL);
	if (__builtin_mul_overflow(value.whole, UINT64_C(1) << shift, &size) ||
	    __builtin_add_overflow(size, (value.digits << shift) / value.scale, &size))
		return fail(ERANGE);
	if (!size)
		return fail(EINVAL);
	/* The kernel's counters are signed, and some of its parsers too. */
	if (size > INT64_MAX)
		return fail(ERANGE);
	*ret = size;
	return 0;
}

int limits_parse_cpus(const char *text, uint64_t *ret)
{
	struct decimal value;

	if (parse_decimal(&text, 3, &value) < 0)
		return -1;
	if (*text)
		return fail(EINVAL);
	if (value.whole > MAX_CPUS)
		return fail(ERANGE);
	uint64_t milli = value.whole * 1000 + value.digits * 1000 / value.scale;

	/* The kernel's scheduler gives no less than 1 ms in its period of 100 ms. */
	if (milli < 10)
		return fail(EINVAL);
	*ret = milli;
	return 0;
}

int limits_parse_count(const char *text, uint64_t *ret)
{
	struct decimal value;

	if (parse_decimal(&text, 0, &value) < 0)
		return -1;
	if (*text || !value.whole)
		return fail(EINVAL);
	*ret = value.whole;
	return 0;
}
