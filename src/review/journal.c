#include "review/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "review/host-path.h"

enum { SCHEMA = 1, JOURNAL_MAX = 1 << 28 };

static const char journal_file[] = "journal.json";
static const char *const state_names[] = {
	[JOURNAL_PREPARING] = "preparing",
	[JOURNAL_COMMITTING] = "committing",
	[JOURNAL_DONE] = "done",
};

void journal_add(struct journal *journal, const char *path, const struct content *before,
		 const struct content *after, size_t kept)
{
	journal->steps = xreallocarray(journal->steps, journal->count + 1, sizeof *journal->steps);
	journal->steps[journal->count++] = (struct step){xstrdup(path), *before, *after, kept};
}

static int compare_steps(const void *a, const void *b)
{
	const struct step *one = a, *other = b;
	bool removes = one->after.kind == CONTENT_ABSENT;

	if (removes != (other->after.kind == CONTENT_ABSENT))
		return removes ? -1 : 1;
	return strcmp(one->path, other->path);
}

/* How much of a path is the directories of another one. */
static size_t shared_directories(const char *path, const char *other)
{
	size_t shared = 0;

	for (size_t i = 0; path[i] && path[i] == other[i]; i++)
		if (path[i] == '/')
			shared = i;
	return shared;
}

void journal_arrange(struct journal *journal)
{
	size_t writes = 0;

	if (!journal->count)
		return;
	qsort(journal->steps, journal->count, sizeof *journal->steps, compare_steps);
	while (writes < journal->count && journal->steps[writes].after.kind == CONTENT_ABSENT)
		writes++;
	/* Both halves are in order: what shares most with a removal stands where it would. */
	for (size_t i = 0, at = writes; i < writes; i++) {
		struct step *step = &journal->steps[i];

		while (at < journal->count && strcmp(journal->steps[at].path, step->path) < 0)
			at++;
		for (size_t near = at > writes ? at - 1 : at; near <= at && near < journal->count;
		     near++) {
			size_t shared = shared_directories(step->path, journal->steps[near].path);

			if (shared > step->kept)
				step->kept = shared;
		}
	}
}

size_t journal_find(const struct journal *journal, const char *path, bool removes)
{
	size_t low = 0, high = journal->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct step *step = &journal->steps[middle];
		bool gone = step->after.kind == CONTENT_ABSENT;

		if (gone != removes ? gone : strcmp(step->path, path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* JSON cannot hold what is not UTF-8. */
static json_t *encode(const char *path)
{
	autostr struct str text = STR_INIT;

	str_add_encoded(&text, path);
	return json_string(text.len ? text.s : "");
}

/* NULL when it is not what encode() writes. */
static char *decode(const json_t *value)
{
	const char *text = json_string_value(value);

	return text ? str_decoded(text) : NULL;
}

static json_t *content_json(const struct content *content)
{
	char hash[2 * CONTENT_HASH + 1];
	json_t *object = json_object();

	if (content->kind == CONTENT_ABSENT)
		return object;
	content_hash_text(content, hash);
	json_object_set_new(object, "kind",
			    json_string(content->kind == CONTENT_LINK ? "link" : "file"));
	json_object_set_new(object, "executable", json_boolean(content->executable));
	json_object_set_new(object, "sha256", json_string(hash));
	json_object_set_new(object, "size", json_integer((json_int_t)content->size));
	json_object_set_new(object, "mode", json_integer(content->mode));
	return object;
}

static bool read_content(const json_t *object, struct content *ret)
{
	const char *kind = json_string_value(json_object_get(object, "kind"));
	const char *hash = json_string_value(json_object_get(object, "sha256"));

	*ret = (struct content){.kind = CONTENT_ABSENT};
	if (!kind)
		return json_is_object(object);
	if (!hash || strlen(hash) != 2UL * CONTENT_HASH)
		return false;
	for (size_t i = 0; i < CONTENT_HASH; i++) {
		int byte = str_hex_byte(hash + 2 * i);

		if (byte < 0)
			return false;
		ret->hash[i] = (uint8_t)byte;
	}
	ret->kind = strcmp(kind, "link") == 0 ? CONTENT_LINK : CONTENT_FILE;
	ret->executable = json_is_true(json_object_get(object, "executable"));
	ret->size = (uint64_t)json_integer_value(json_object_get(object, "size"));
	ret->mode = (mode_t)json_integer_value(json_object_get(object, "mode")) & 0777;
	return true;
}

int journal_write(int dirfd, const struct journal *journal, struct error *err)
{
	json_t *steps = json_array();
	json_t *object = json_object();

	for (size_t i = 0; i < journal->count; i++) {
		const struct step *step = &journal->steps[i];
		json_t *item = json_object();

		json_object_set_new(item, "path", encode(step->path));
		json_object_set_new(item, "before", content_json(&step->before));
		json_object_set_new(item, "after", content_json(&step->after));
		json_object_set_new(item, "kept", json_integer((json_int_t)step->kept));
		json_array_append_new(steps, item);
	}
	json_object_set_new(object, "schema", json_integer(SCHEMA));
	json_object_set_new(object, "state", json_string(state_names[journal->state]));
	json_object_set_new(object, "name", encode(journal->name));
	json_object_set_new(object, "undoes", json_boolean(journal->undoes));
	if (journal->outside)
		json_object_set_new(object, "outside", encode(journal->outside));
	json_object_set_new(object, "index", json_boolean(journal->index));
	json_object_set_new(object, "steps", steps);
	autofree char *text = json_dumps(object, JSON_INDENT(1));

	json_decref(object);
	if (!text)
		abort();
	return file_replace_at(dirfd, journal_file, text, strlen(text), 0600, true, err);
}

/* What is there is the user's own; but nothing that it says may lead out of the work tree. */
static bool read_step(const json_t *item, struct journal *journal)
{
	autofree char *path = decode(json_object_get(item, "path"));
	json_int_t kept = json_integer_value(json_object_get(item, "kept"));
	struct content before, after;

	if (!path || host_path_refusal("", path) || kept < 0 || (size_t)kept > strlen(path) ||
	    !read_content(json_object_get(item, "before"), &before) ||
	    !read_content(json_object_get(item, "after"), &after))
		return false;
	journal_add(journal, path, &before, &after, (size_t)kept);
	return true;
}

static bool read_journal(const json_t *object, struct journal *journal)
{
	const char *state = json_string_value(json_object_get(object, "state"));
	const json_t *steps = json_object_get(object, "steps");
	const json_t *outside = json_object_get(object, "outside");
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(state_names); i++) {
		if (!state || strcmp(state, state_names[i]) != 0)
			continue;
		journal->state = (enum journal_state)i;
		known = true;
	}
	journal->name = decode(json_object_get(object, "name"));
	journal->undoes = json_is_true(json_object_get(object, "undoes"));
	journal->index = json_is_true(json_object_get(object, "index"));
	journal->outside = outside ? decode(outside) : NULL;
	if (!known || !journal->name || !json_is_array(steps) ||
	    json_integer_value(json_object_get(object, "schema")) != SCHEMA ||
	    (outside && (!journal->outside || !str_starts(journal->outside, ".jib-") ||
			 strchr(journal->outside, '/'))))
		return false;
	for (size_t i = 0; i < json_array_size(steps); i++)
		if (!read_step(json_array_get(steps, i), journal))
			return false;
	return true;
}

int journal_read(int dirfd, struct journal *ret, struct error *err)
{
	autojournal struct journal journal = JOURNAL_INIT;
	autostr struct str text = STR_INIT;
	json_t *object;

	if (faccessat(dirfd, journal_file, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 1 : error_errno(err, "cannot look for %s", journal_file);
	if (file_read_at(dirfd, journal_file, JOURNAL_MAX, &text, err) < 0)
		return -1;
	object = json_loadb(text.s, text.len, JSON_REJECT_DUPLICATES, NULL);
	bool sound = object && read_journal(object, &journal);

	json_decref(object);
	if (!sound)
		return error_set(err, ERR_CORRUPT, "the journal of a transaction cannot be read");
	*ret = journal;
	journal = (struct journal)JOURNAL_INIT;
	return 0;
}

int journal_remove(int dirfd, struct error *err)
{
	if (unlinkat(dirfd, journal_file, 0) < 0 && errno != ENOENT)
		return error_errno(err, "cannot remove %s", journal_file);
	if (fsync(dirfd) < 0)
		return error_errno(err, "cannot sync a directory");
	return 0;
}

void journal_release(struct journal *journal)
{
	for (size_t i = 0; i < journal->count; i++)
		free(journal->steps[i].path);
	free(journal->steps);
	free(journal->name);
	free(journal->outside);
	*journal = (struct journal)JOURNAL_INIT;
}
