#include "review/host-refs.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "git/repository.h"

enum { LOOSE_MAX = 4096, PACKED_MAX = 256 << 20, OID_MAX = 64 };

/* A line "OID NAME" of packed-refs. */
struct packed_ref {
	const char *oid;
	size_t oid_len;
	const char *name;
	size_t name_len;
};

struct place {
	char *host;
	char *common_dir; /* NULL when there is no repository */
	struct stat st;	  /* of the packed-refs that were read */
	struct str text;
	struct packed_ref *refs; /* sorted by name */
	size_t count;
};

static struct place *places;
static size_t place_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct place *find_place(const char *host)
{
	autorepository struct repository repository = REPOSITORY_INIT;
	autoerror struct error ignored = ERROR_INIT;

	for (size_t i = 0; i < place_count; i++)
		if (strcmp(places[i].host, host) == 0)
			return &places[i];
	places = xreallocarray(places, place_count + 1, sizeof *places);
	struct place *place = &places[place_count++];

	*place = (struct place){.host = xstrdup(host)};
	/* Not one further up that the directory lies in by now. */
	if (repository_find(host, &repository, &ignored) == 0 && strcmp(repository.top, host) == 0)
		place->common_dir = xstrdup(repository.common_dir);
	return place;
}

static int compare_names(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_packed(const void *a, const void *b)
{
	const struct packed_ref *one = a, *two = b;

	return compare_names(one->name, one->name_len, two->name, two->name_len);
}

static void parse_line(struct place *place, const char *line, size_t len)
{
	const char *space = memchr(line, ' ', len);
	size_t oid_len = space ? (size_t)(space - line) : 0;

	/* Comments, and what an annotated tag leads to. */
	if (!space || *line == '#' || *line == '^')
		return;
	if ((place->count & (place->count - 1)) == 0)
		place->refs = xreallocarray(place->refs, place->count ? place->count * 2 : 1,
					    sizeof *place->refs);
	place->refs[place->count++] =
		(struct packed_ref){line, oid_len, space + 1, len - oid_len - 1};
}

static void parse_packed(struct place *place)
{
	const char *at = place->text.s, *end = at + place->text.len;

	free(steal_ptr(&place->refs));
	place->count = 0;
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));

		if (!newline)
			break;
		parse_line(place, at, (size_t)(newline - at));
		at = newline + 1;
	}
	if (place->count)
		qsort(place->refs, place->count, sizeof *place->refs, compare_packed);
}

/* git replaces the file by rename(2): another one is another inode, or has another ctime. */
static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static bool load_packed(struct place *place, int common)
{
	autoerror struct error ignored = ERROR_INIT;
	autofd int fd = open_beneath(common, "packed-refs", O_RDONLY | O_NONBLOCK, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	if (place->text.s && is_same(&st, &place->st))
		return true;
	str_clear(&place->text);
	place->count = 0;
	place->st = (struct stat){0};
	if (read_all(fd, PACKED_MAX, &place->text, &ignored) < 0)
		return false;
	place->st = st;
	parse_packed(place);
	return true;
}

static bool packed_is(struct place *place, int common, const char *ref, const char *oid)
{
	const struct packed_ref wanted = {.name = ref, .name_len = strlen(ref)};

	if (!load_packed(place, common) || !place->count)
		return false;
	const struct packed_ref *found =
		bsearch(&wanted, place->refs, place->count, sizeof *place->refs, compare_packed);

	return found && found->oid_len == strlen(oid) &&
	       memcmp(found->oid, oid, found->oid_len) == 0;
}

static bool is_oid(const char *text)
{
	size_t len = strspn(text, "0123456789abcdef");

	return (len == 40 || len == OID_MAX) && !text[len];
}

/* 1 yes, 0 no, -1 there is no such file. */
static int loose_is(int common, const char *ref, const char *oid)
{
	autoerror struct error missing = ERROR_INIT;
	autostr struct str text = STR_INIT;

	if (file_read_at(common, ref, LOOSE_MAX, &text, &missing) < 0)
		return missing.number == ENOENT || missing.number == ENOTDIR ||
				       missing.code == ERR_CORRUPT
			       ? -1
			       : 0;
	size_t len = strlen(oid);

	return text.len > len && memcmp(text.s, oid, len) == 0 && text.s[len] == '\n';
}

bool host_ref_is(const char *host, const char *ref, const char *oid)
{
	if (!str_starts(ref, "refs/") || !is_oid(oid))
		return false;
	pthread_mutex_lock(&lock);
	const char *found = find_place(host)->common_dir;
	/* The places may move while others ask. */
	autofree char *common_dir = found ? xstrdup(found) : NULL;

	pthread_mutex_unlock(&lock);
	autofd int common = common_dir ? open(common_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (common < 0)
		return false;
	/* git removes the file after it has packed the ref, so in this order. */
	int loose = loose_is(common, ref, oid);

	if (loose >= 0)
		return loose;
	pthread_mutex_lock(&lock);
	bool packed = packed_is(find_place(host), common, ref, oid);

	pthread_mutex_unlock(&lock);
	return packed;
}
