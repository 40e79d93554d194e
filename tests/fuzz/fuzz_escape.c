/* What is shown on a terminal never steers it, whatever the name of a file is. */
#include <string.h>

#include "base/str.h"
#include "support.h"

static int is_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* Valid UTF-8, said in another way than in str.c: by ranges of the first two bytes. */
static size_t sequence(const unsigned char *s, size_t len)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return len >= 2 && is_continuation(s[1]) ? 2 : 0;
	if (s[0] >= 0xe0 && s[0] <= 0xef) {
		if (len < 3 || !is_continuation(s[1]) || !is_continuation(s[2]) ||
		    (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
			return 0;
		return 3;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		if (len < 4 || !is_continuation(s[1]) || !is_continuation(s[2]) ||
		    !is_continuation(s[3]) || (s[0] == 0xf0 && s[1] < 0x90) ||
		    (s[0] == 0xf4 && s[1] > 0x8f))
			return 0;
		return 4;
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str shown = STR_INIT;

	str_add_escaped(&shown, (const char *)data, size);
	MUST(shown.len <= size * 4);
	for (size_t i = 0; i < shown.len;) {
		const unsigned char *s = (const unsigned char *)shown.s + i;
		size_t len = sequence(s, shown.len - i);

		MUST(len);
		MUST(s[0] >= 0x20 && s[0] != 0x7f);
		MUST(!(s[0] == 0xc2 && s[1] < 0xa0));
		MUST(!(len == 3 && s[0] == 0xe2 && s[1] == 0x80 && s[2] >= 0xaa && s[2] <= 0xae));
		MUST(!(len == 3 && s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9));
		i += len;
	}
	/* What can be shown as it is stays so: a second time changes nothing. */
	struct str again = STR_INIT;

	str_add_escaped(&again, shown.s ? shown.s : "", shown.len);
	MUST(again.len == shown.len);
	MUST(!shown.len || memcmp(again.s, shown.s, shown.len) == 0);
	str_release(&shown);
	str_release(&again);
	return 0;
}
