#include "snapshot/seen.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/fingerprint.h"
#include "snapshot/hash.h"

/*
 * The file: `magic`, records, and a SHA-256 over all of that. A directory's record is followed by
 * those of what was found in it, and then by those of its directories in the order of their names,
 * each with all that is below it: `depth` tells where it ends.
 */
static const char magic[8] = "jibseen1";

enum kind {
	DIRECTORY = 'd',
	SECRET = 's',	/* by its name alone */
	INNOCENT = 'i', /* was looked into */
	GUILTY = 'g',	/* was looked into, and holds one */
};

struct record {
	uint64_t ino;
	int64_t changed, modified; /* nanoseconds; all zero: to be looked at again */
	uint16_t depth;
	uint8_t kind;
	uint8_t unused;
	uint32_t len; /* of the name, which follows with a NUL */
};

enum {
	CHECKSUM = 32,
	CACHE_MAX = 64 << 20,
	PATH_LIMIT = 3800, /* of a directory: what is in it has a path below PATH_MAX, too */
};

struct scan {
	const struct seen_request *request;
	struct seen *seen;
	struct str old;	 /* records of last time, without magic and checksum */
	struct str now;	 /* what will be written */
	struct str path; /* of what is looked at, relative to the directory */
	struct timespec before;
};

/* ---- records ---- */

/* Where `at` leads to in the old records; false at their end. */
static bool record_at(const struct scan *s, size_t at, struct record *ret, const char **ret_name)
{
	if (s->old.len - at < sizeof *ret)
		return false;
	memcpy(ret, s->old.s + at, sizeof *ret);
	*ret_name = s->old.s + at + sizeof *ret;
	return true;
}

static size_t record_size(const struct record *record)
{
	return sizeof *record + record->len + 1;
}

/* The first record from `at` on that is not below `depth`. */
static size_t skip_below(const struct scan *s, size_t at, unsigned int depth)
{
	struct record record;
	const char *name;

	while (record_at(s, at, &record, &name) && record.depth > depth)
		at += record_size(&record);
	return at;
}

static void add_record(struct scan *s, const struct record *facts, enum kind kind,
		       unsigned int depth, const char *name)
{
	struct record record = *facts;

	record.kind = (uint8_t)kind;
	record.depth = (uint16_t)depth;
	record.len = (uint32_t)strlen(name);
	str_add_bytes(&s->now, &record, sizeof record);
	str_add_bytes(&s->now, name, record.len + 1);
}

static int64_t nanoseconds(const struct statx_timestamp *t)
{
	return t->tv_sec * 1000000000 + t->tv_nsec;
}

/*
 * What has changed in this very tick may change again without a trace: nothing is remembered of
 * it.
 */
static struct record facts_of(const struct scan *s, const struct statx *stx)
{
	struct timespec changed = {.tv_sec = stx->stx_ctime.tv_sec,
				   .tv_nsec = stx->stx_ctime.tv_nsec};

	if (!fingerprint_is_settled(&s->before, &changed))
		return (struct record){0};
	return (struct record){.ino = stx->stx_ino,
			       .changed = nanoseconds(&stx->stx_ctime),
			       .modified = nanoseconds(&stx->stx_mtime)};
}

static bool is_same(const struct record *old, const struct statx *stx)
{
	return old->ino && old->ino == stx->stx_ino &&
	       old->changed == nanoseconds(&stx->stx_ctime) &&
	       old->modified == nanoseconds(&stx->stx_mtime);
}

/* ---- one directory ---- */

static size_t path_push(struct scan *s, const char *name)
{
	size_t len = s->path.len;

	if (len)
		str_add_char(&s->path, '/');
	str_add(&s->path, name);
	return len;
}

static void path_pop(struct scan *s, size_t len)
{
	s->path.len = len;
	s->path.s[len] = '\0';
}

static char *in_work_tree(const struct scan *s)
{
	return xasprintf("%s/%s", s->request->directory, s->path.s);
}

static int stat_here(const struct scan *s, struct statx *ret)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

	return statx(s->request->fd, s->path.len ? s->path.s : ".", flags, STATX_BASIC_STATS, ret);
}

static bool is_gone(int number)
{
	return number == ENOENT || number == ENOTDIR || number == ELOOP;
}

/* Looks into the file at s->path, unless it is what it was last time. */
static void check_content(struct scan *s, unsigned int depth, const char *name,
			  const struct record *old)
{
	struct statx stx = {0};

	if (stat_here(s, &stx) < 0 && is_gone(errno))
		return;
	struct record facts = facts_of(s, &stx);
	bool guilty = old && old->kind == GUILTY;

	if (!old || !is_same(old, &stx)) {
		autofree char *path = in_work_tree(s);

		guilty = secrets_content(s->request->secrets, s->request->fd, s->path.s, path);
		s->seen->looked++;
	}
	add_record(s, &facts, guilty ? GUILTY : INNOCENT, depth, name);
	if (guilty)
		strv_add(&s->seen->secrets, s->path.s);
}

static void judge_file(struct scan *s, unsigned int depth, const char *name)
{
	autofree char *path = in_work_tree(s);

	switch (secrets_name(s->request->secrets, path)) {
	case SECRET_NO:
		break;
	case SECRET_YES:
		add_record(s, &(struct record){0}, SECRET, depth, name);
		strv_add(&s->seen->secrets, s->path.s);
		break;
	case SECRET_LOOK:
		check_content(s, depth, name, NULL);
		break;
	}
}

/* 1 when the whole directory at s->path is masked. */
static int judge_directory(struct scan *s, unsigned int depth, const char *name)
{
	autofree char *path = in_work_tree(s);
	autofree char *marked = xasprintf("%s/", name);

	if (!secrets_directory(s->request->secrets, path))
		return 0;
	add_record(s, &(struct record){0}, SECRET, depth, marked);
	strv_addf(&s->seen->secrets, "%s/", s->path.s);
	return 1;
}

static unsigned char type_of(int dirfd, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type;
	if (fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return DT_UNKNOWN;
	return (unsigned char)IFTODT(st.st_mode);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(struct strv *v)
{
	if (v->len)
		qsort(v->items, v->len, sizeof *v->items, compare);
}

/* Judges what is in the directory at s->path, and lists its directories. -1: unreadable. */
static int read_directory(struct scan *s, unsigned int depth, struct strv *directories)
{
	const char *where = s->path.len ? s->path.s : ".";
	autofd int fd = open_beneath(s->request->fd, where, O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		return -1;
	int dir_fd = steal_fd(&fd);

	s->seen->read++;
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);

		if (!entry)
			return errno ? -1 : 0;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		unsigned char type = type_of(dir_fd, entry);
		size_t len = path_push(s, entry->d_name);

		if (type == DT_DIR) {
			if (!judge_directory(s, depth + 1, entry->d_name))
				strv_add(directories, entry->d_name);
		} else if (type == DT_REG || type == DT_LNK) {
			judge_file(s, depth + 1, entry->d_name);
		}
		path_pop(s, len);
	}
}

/* ---- the tree ---- */

static void scan_directory(struct scan *s, unsigned int depth, const char *name,
			   const struct record *old, size_t at);

static void scan_child(struct scan *s, unsigned int depth, const char *name,
		       const struct record *old, size_t at)
{
	size_t len = path_push(s, name);

	scan_directory(s, depth, name, old, at);
	path_pop(s, len);
}

/*
 * Moves *at over the old records of a directory's content to its directory `name`, if that was
 * there: the records are in the order of names, and so is what they are asked for.
 */
static bool find_old(const struct scan *s, unsigned int depth, const char *name, size_t *at,
		     struct record *ret)
{
	const char *old_name;

	while (record_at(s, *at, ret, &old_name) && ret->depth == depth) {
		int order = ret->kind == DIRECTORY ? strcmp(old_name, name) : -1;

		if (order >= 0)
			return order == 0;
		*at = skip_below(s, *at + record_size(ret), depth);
	}
	return false;
}

/* The directory at s->path has changed: its names are new, some of its directories are known. */
static void scan_changed(struct scan *s, unsigned int depth, const struct strv *directories,
			 bool known, size_t at)
{
	for (size_t i = 0; i < directories->len; i++) {
		const char *name = directories->items[i];
		struct record old;

		if (known && find_old(s, depth + 1, name, &at, &old))
			scan_child(s, depth + 1, name, &old, at + record_size(&old));
		else
			scan_child(s, depth + 1, name, NULL, 0);
	}
}

/* The directory at s->path is what it was. */
static void scan_same(struct scan *s, unsigned int depth, size_t at)
{
	struct record record;
	const char *name;

	while (record_at(s, at, &record, &name) && record.depth == depth + 1) {
		size_t inner = at + record_size(&record);

		at = skip_below(s, inner, record.depth);
		if (record.kind == DIRECTORY) {
			scan_child(s, depth + 1, name, &record, inner);
			continue;
		}
		size_t len = path_push(s, name);

		if (record.kind == SECRET) {
			add_record(s, &record, SECRET, depth + 1, name);
			strv_add(&s->seen->secrets, s->path.s);
		} else {
			check_content(s, depth + 1, name, &record);
		}
		path_pop(s, len);
	}
}

/* Where a scan was before a directory that turns out to be none, or to be closed. */
struct mark {
	size_t records, secrets;
};

static void forget(struct scan *s, struct mark mark)
{
	s->now.len = mark.records;
	while (s->seen->secrets.len > mark.secrets) {
		free(s->seen->secrets.items[--s->seen->secrets.len]);
		s->seen->secrets.items[s->seen->secrets.len] = NULL;
	}
}

static void close_directory(struct scan *s, unsigned int depth, const char *name)
{
	add_record(s, &(struct record){0}, DIRECTORY, depth, name);
	strv_add(&s->seen->closed, s->path.s);
}

static void scan_directory(struct scan *s, unsigned int depth, const char *name,
			   const struct record *old, size_t at)
{
	autostrv struct strv directories = STRV_INIT;
	struct mark mark = {s->now.len, s->seen->secrets.len};
	struct statx stx;

	if (s->path.len > PATH_LIMIT || stat_here(s, &stx) < 0) {
		if (s->path.len > PATH_LIMIT || !is_gone(errno))
			close_directory(s, depth, name);
		return;
	}
	if (!S_ISDIR(stx.stx_mode))
		return;
	if (depth && stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) {
		close_directory(s, depth, name);
		return;
	}
	struct record facts = facts_of(s, &stx);

	add_record(s, &facts, DIRECTORY, depth, name);
	if (old && is_same(old, &stx)) {
		scan_same(s, depth, at);
	} else if (read_directory(s, depth, &directories) == 0) {
		sort(&directories);
		scan_changed(s, depth, &directories, old != NULL, at);
	} else {
		bool gone = is_gone(errno);

		forget(s, mark);
		if (!gone)
			close_directory(s, depth, name);
	}
}

/* ---- the file ---- */

static char *cache_name(const struct seen_request *request)
{
	struct hash hash;

	hash_init(&hash);
	hash_text(&hash, request->host);
	hash_text(&hash, request->directory);
	secrets_hash(request->secrets, &hash);
	return hash_id(&hash, "seen");
}

/* Whether every record is whole, and has a place in the tree. */
static bool is_sound(const struct scan *s)
{
	struct record record;
	const char *name;
	size_t at = 0, before = 0;

	while (record_at(s, at, &record, &name)) {
		if (record.len >= s->old.len - at - sizeof record || name[record.len] ||
		    (at == 0) != (record.depth == 0) || record.depth > before + 1)
			return false;
		before = record.depth;
		at += record_size(&record);
	}
	return at == s->old.len;
}

/* What was found last time; nothing when there is none, or it is damaged. */
static void load(struct scan *s, int dirfd, const char *name)
{
	if (file_read_at(dirfd, name, CACHE_MAX, &s->old, NULL) == 0 &&
	    s->old.len > sizeof magic + CHECKSUM && memcmp(s->old.s, magic, sizeof magic) == 0) {
		unsigned char sum[CHECKSUM];

		s->old.len -= CHECKSUM;
		hash_checksum(true, s->old.s, s->old.len, sum);
		if (memcmp(sum, s->old.s + s->old.len, CHECKSUM) == 0) {
			str_drop(&s->old, sizeof magic);
			if (is_sound(s))
				return;
		}
	}
	str_clear(&s->old);
}

/* It only saves time: what cannot be written is found again. */
static void save(struct scan *s, int dirfd, const char *name)
{
	unsigned char sum[CHECKSUM];
	size_t len = s->now.len - sizeof magic;

	if (s->old.len == len && memcmp(s->old.s, s->now.s + sizeof magic, len) == 0)
		return;
	hash_checksum(true, s->now.s, s->now.len, sum);
	str_add_bytes(&s->now, sum, sizeof sum);
	if (s->now.len <= CACHE_MAX)
		file_replace_at(dirfd, name, s->now.s, s->now.len, 0600, false, NULL);
}

int seen_scan(const struct seen_request *request, struct seen *ret)
{
	autofree char *name = cache_name(request);
	autofd int dirfd = -1;
	struct seen seen = SEEN_INIT;
	struct scan s = {.request = request, .seen = &seen};
	struct record old;
	const char *old_name;

	str_add_bytes(&s.now, magic, sizeof magic);
	str_add(&s.path, "");
	clock_gettime(CLOCK_REALTIME_COARSE, &s.before);
	if (dir_make_at(request->root->layers, ".seen", 0700, &dirfd, NULL) == 0)
		load(&s, dirfd, name);
	bool known = record_at(&s, 0, &old, &old_name);

	scan_directory(&s, 0, "", known ? &old : NULL, known ? record_size(&old) : 0);
	bool closed = seen.closed.len && !*seen.closed.items[0];

	if (!closed && dirfd >= 0)
		save(&s, dirfd, name);
	str_release(&s.old);
	str_release(&s.now);
	str_release(&s.path);
	if (closed) {
		seen_release(&seen);
		return 1;
	}
	sort(&seen.secrets);
	sort(&seen.closed);
	*ret = seen;
	return 0;
}

void seen_release(struct seen *seen)
{
	strv_release(&seen->secrets);
	strv_release(&seen->closed);
	*seen = (struct seen)SEEN_INIT;
}
