#include "review/memo.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "review/marks.h"
#include "snapshot/fingerprint.h"
#include "snapshot/hash.h"
#include "view/view.h"

enum { SCHEMA = 1, MEMO_MAX = 4 << 20, TRIES = 200 };

static const char file_name[] = "persisted.json";

void memo_release(struct memo *memo)
{
	for (size_t i = 0; i < memo->repo_count; i++) {
		struct memo_repo *repo = &memo->repos[i];

		for (size_t k = 0; k < repo->ref_count; k++) {
			free(repo->refs[k].ref);
			free(repo->refs[k].oid);
		}
		free(repo->refs);
		free(repo->name);
		free(repo->host);
		free(repo->tree);
		free(repo->standing);
		strv_release(&repo->files);
	}
	free(memo->repos);
	free(memo->fingerprint);
	*memo = (struct memo)MEMO_INIT;
}

struct memo_repo *memo_add_repo(struct memo *memo, const char *name, const char *host)
{
	memo->repos = xreallocarray(memo->repos, memo->repo_count + 1, sizeof *memo->repos);
	struct memo_repo *repo = &memo->repos[memo->repo_count++];

	*repo = (struct memo_repo){.name = xstrdup(name), .host = xstrdup(host)};
	return repo;
}

void memo_add_ref(struct memo_repo *repo, const char *ref, const char *oid)
{
	repo->refs = xreallocarray(repo->refs, repo->ref_count + 1, sizeof *repo->refs);
	repo->refs[repo->ref_count++] = (struct memo_ref){xstrdup(ref), xstrdup(oid)};
}

void memo_copy_applied(const struct memo_repo *from, struct memo_repo *to)
{
	to->applied = from->applied;
	to->tree = from->tree ? xstrdup(from->tree) : NULL;
	to->standing = from->standing ? xstrdup(from->standing) : NULL;
	strv_add_all(&to->files, &from->files);
}

const struct memo_repo *memo_find_repo(const struct memo *memo, const char *name)
{
	for (size_t i = 0; i < memo->repo_count; i++)
		if (strcmp(memo->repos[i].name, name) == 0)
			return &memo->repos[i];
	return NULL;
}

char *memo_standing(const char *host, const struct strv *files)
{
	autofd int top = open(host, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct hash hash;

	if (top < 0)
		return NULL;
	hash_init(&hash);
	for (size_t i = 0; i < files->len; i++) {
		autofd int fd = open_beneath(top, files->items[i], O_PATH | O_NOFOLLOW, 0);
		struct stat st = {0};

		if (fd < 0 ? errno != ENOENT && errno != ENOTDIR : fstat(fd, &st) < 0)
			return NULL;
		const int64_t numbers[] = {
			(int64_t)st.st_ino, st.st_mode,	       st.st_size,	  st.st_mtim.tv_sec,
			st.st_mtim.tv_nsec, st.st_ctim.tv_sec, st.st_ctim.tv_nsec};

		hash_text(&hash, files->items[i]);
		hash_bytes(&hash, numbers, sizeof numbers);
	}
	return hash_id(&hash, "standing");
}

bool memo_stands(const struct memo_repo *repo)
{
	autofree char *now = memo_standing(repo->host, &repo->files);

	return now && repo->standing && strcmp(now, repo->standing) == 0;
}

static int take(const struct sandbox *sandbox, struct marks *marks, struct error *err)
{
	autosurvey struct view_survey survey = {0};

	return view_survey(sandbox, marks_add, marks, &survey, err);
}

int memo_fingerprint(const struct sandbox *sandbox, char **ret, struct error *err)
{
	for (int i = 0; i < TRIES; i++) {
		automarks struct marks marks = {0};
		struct timespec before;

		clock_gettime(CLOCK_REALTIME_COARSE, &before);
		if (take(sandbox, &marks, err) < 0)
			return -1;
		if (fingerprint_is_settled(&before, &marks.newest)) {
			*ret = marks_end(&marks, sandbox);
			return 0;
		}
		fingerprint_wait(&marks.newest);
	}
	return error_set(err, ERR_UNSTABLE, "the sandbox %s keeps changing", sandbox->name);
}

/* Writing. */

/* Names in a sandbox's hand need not be UTF-8. */
static json_t *encode(const char *name)
{
	autostr struct str text = STR_INIT;

	str_add_encoded(&text, name);
	return json_string(text.len ? text.s : "");
}

static json_t *refs_to_json(const struct memo_repo *repo)
{
	json_t *refs = json_array();

	for (size_t i = 0; i < repo->ref_count; i++)
		json_array_append_new(refs, json_pack("{s:o,s:s}", "ref", encode(repo->refs[i].ref),
						      "oid", repo->refs[i].oid));
	return refs;
}

static json_t *files_to_json(const struct strv *files)
{
	json_t *array = json_array();

	for (size_t i = 0; i < files->len; i++)
		json_array_append_new(array, encode(files->items[i]));
	return array;
}

static json_t *memo_to_json(const struct memo *memo)
{
	json_t *repos = json_array();

	for (size_t i = 0; i < memo->repo_count; i++) {
		const struct memo_repo *repo = &memo->repos[i];
		json_t *refs = refs_to_json(repo);
		json_t *item = json_pack("{s:s,s:s,s:b,s:s?,s:s?,s:o,s:o}", "name", repo->name,
					 "host", repo->host, "applied", repo->applied, "tree",
					 repo->tree, "standing", repo->standing, "files",
					 files_to_json(&repo->files), "refs", refs);

		if (json_array_append_new(repos, item) < 0) {
			json_decref(repos);
			return NULL;
		}
	}
	return json_pack("{s:i,s:s,s:o}", "schema", SCHEMA, "fingerprint", memo->fingerprint,
			 "repos", repos);
}

int memo_write(const struct sandbox *sandbox, const struct memo *memo, struct error *err)
{
	json_t *value = memo_to_json(memo);
	autofree char *text = value ? json_dumps(value, JSON_INDENT(2)) : NULL;

	json_decref(value);
	if (!text)
		return error_set(err, ERR_UNSUPPORTED,
				 "what was persisted of the sandbox %s cannot be noted: the path "
				 "of a repository is not valid UTF-8",
				 sandbox->name);
	return file_replace_at(sandbox->fd, file_name, text, strlen(text), 0600, true, err);
}

/* Reading. */

static char *decode(const json_t *value)
{
	const char *text = json_string_value(value);

	return text ? str_decoded(text) : NULL;
}

static bool read_refs(const json_t *array, struct memo_repo *repo)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);
		autofree char *ref = decode(json_object_get(item, "ref"));
		const char *oid = json_string_value(json_object_get(item, "oid"));

		if (!ref || !oid)
			return false;
		memo_add_ref(repo, ref, oid);
	}
	return json_is_array(array);
}

static bool read_repo(const json_t *item, struct memo *memo)
{
	const char *name = json_string_value(json_object_get(item, "name"));
	const char *host = json_string_value(json_object_get(item, "host"));
	const json_t *applied = json_object_get(item, "applied");
	const json_t *files = json_object_get(item, "files");
	const char *tree = json_string_value(json_object_get(item, "tree"));
	const char *standing = json_string_value(json_object_get(item, "standing"));

	if (!name || !host || !json_is_boolean(applied))
		return false;
	struct memo_repo *repo = memo_add_repo(memo, name, host);

	repo->applied = json_is_true(applied);
	repo->tree = tree ? xstrdup(tree) : NULL;
	repo->standing = standing ? xstrdup(standing) : NULL;
	for (size_t i = 0; i < json_array_size(files); i++) {
		autofree char *file = decode(json_array_get(files, i));

		if (!file)
			return false;
		strv_add(&repo->files, file);
	}
	return read_refs(json_object_get(item, "refs"), repo);
}

static bool parse(const json_t *value, struct memo *memo)
{
	const char *fingerprint = json_string_value(json_object_get(value, "fingerprint"));
	const json_t *repos = json_object_get(value, "repos");
	bool good = fingerprint && json_is_array(repos) &&
		    json_integer_value(json_object_get(value, "schema")) == SCHEMA;

	for (size_t i = 0; good && i < json_array_size(repos); i++)
		good = read_repo(json_array_get(repos, i), memo);
	if (good)
		memo->fingerprint = xstrdup(fingerprint);
	return good;
}

bool memo_read(const struct sandbox *sandbox, struct memo *ret)
{
	automemo struct memo memo = MEMO_INIT;
	autostr struct str text = STR_INIT;

	if (file_read_at(sandbox->fd, file_name, MEMO_MAX, &text, NULL) < 0)
		return false;
	json_t *value = json_loadb(text.s, text.len, JSON_REJECT_DUPLICATES, NULL);
	bool good = parse(value, &memo);

	json_decref(value);
	if (!good)
		return false;
	*ret = memo;
	memo = (struct memo)MEMO_INIT;
	return true;
}
