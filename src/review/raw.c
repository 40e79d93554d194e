#include "review/raw.h"

#include <stdlib.h>
#include <string.h>

static int parse_mode(const char **at, uint32_t *ret)
{
	char *end;

	*ret = (uint32_t)strtoul(*at, &end, 8);
	if (end == *at || *end != ' ')
		return -1;
	*at = end + 1;
	return 0;
}

static int parse_oid(const char **at, char ret[OID_HEX_MAX + 1])
{
	size_t len = strspn(*at, "0123456789abcdef");

	if (!len || len > OID_HEX_MAX || (*at)[len] != ' ')
		return -1;
	memcpy(ret, *at, len);
	ret[len] = '\0';
	*at += len + 1;
	return 0;
}

int raw_parse(const char *head, struct raw *ret)
{
	const char *at = head + 1;

	if (*head != ':' || parse_mode(&at, &ret->old_mode) < 0 ||
	    parse_mode(&at, &ret->new_mode) < 0 || parse_oid(&at, ret->old_oid) < 0 ||
	    parse_oid(&at, ret->new_oid) < 0 || !*at)
		return -1;
	ret->status = *at;
	return 0;
}
