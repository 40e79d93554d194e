#include "store/record.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "store/json.h"
#include "store/layer.h"

enum { SCHEMA = 3, RECORD_MAX = 1 << 20 };

static json_t *json_text(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *json_checkpoints(const struct sandbox *sandbox)
{
	json_t *array = json_array();

	for (size_t i = 0; i < sandbox->checkpoint_count; i++) {
		const struct checkpoint *checkpoint = &sandbox->checkpoints[i];

		json_array_append_new(array, json_pack("{s:I,s:o,s:o,s:o}", "number",
						       (json_int_t)checkpoint->number, "created",
						       json_text(checkpoint->created), "message",
						       json_text(checkpoint->message), "states",
						       json_strings(&checkpoint->states)));
	}
	return array;
}

static char *record_text(const struct sandbox *sandbox)
{
	json_t *repos = json_array();

	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];
		json_t *item = json_object();

		json_object_set_new(item, "name", json_text(repo->name));
		json_object_set_new(item, "host", json_text(repo->host));
		json_object_set_new(item, "path", json_text(repo->path));
		json_object_set_new(item, "git_path", json_text(repo->git_path));
		json_object_set_new(item, "base", json_text(repo->base));
		json_object_set_new(item, "branch", json_text(repo->branch));
		json_object_set_new(item, "local", json_text(repo->local));
		json_object_set_new(item, "modules", json_text(repo->modules));
		json_object_set_new(item, "tree", json_strings(&repo->tree));
		json_object_set_new(item, "git", json_strings(&repo->git));
		json_object_set_new(item, "carried", json_strings(&repo->carried));
		if (repo->live_git_dir) {
			json_object_set_new(item, "live_git_dir", json_text(repo->live_git_dir));
			json_object_set_new(item, "live_common_dir",
					    json_text(repo->live_common_dir));
		}
		json_array_append_new(repos, item);
	}
	json_t *record = json_object();

	json_object_set_new(record, "schema", json_integer(SCHEMA));
	json_object_set_new(record, "name", json_text(sandbox->name));
	json_object_set_new(record, "created", json_text(sandbox->created));
	json_object_set_new(record, "view", json_string("overlay"));
	json_object_set_new(record, "engine", json_string("native"));
	/* overlayfs keeps its marks in user.overlay.*; mounts of the other format refuse it. */
	json_object_set_new(record, "xattr", json_string("user"));
	json_object_set_new(record, "layout",
			    json_string(sandbox->layout == LAYOUT_JIB ? "jib" : "host"));
	json_object_set_new(record, "live", json_boolean(sandbox->live));
	json_object_set_new(record, "volatile", json_boolean(sandbox->is_volatile));
	json_object_set_new(record, "home", json_text(sandbox->home));
	json_object_set_new(record, "repos", repos);
	json_object_set_new(record, "states", json_strings(&sandbox->states));
	json_object_set_new(record, "checkpoints", json_checkpoints(sandbox));
	char *text = json_dumps(record, JSON_INDENT(2));

	json_decref(record);
	return text;
}

/* A path that is not UTF-8 has no place in JSON: json_string() gave NULL and the key is missing. */
static int check_text(const char *what, const char *text, struct error *err)
{
	json_t *value = text ? json_string(text) : json_null();

	if (!value)
		return error_set(err, ERR_UNSUPPORTED, "the %s %s is not valid UTF-8", what, text);
	json_decref(value);
	return 0;
}

static int check_texts(const struct strv *texts, struct error *err)
{
	for (size_t i = 0; i < texts->len; i++)
		if (check_text("path", texts->items[i], err) < 0)
			return -1;
	return 0;
}

int record_write(const struct sandbox *sandbox, int dirfd, bool durable, struct error *err)
{
	for (size_t i = 0; i < sandbox->repo_count; i++)
		if (check_text("path", sandbox->repos[i].host, err) < 0 ||
		    check_text("path", sandbox->repos[i].path, err) < 0 ||
		    check_text("path", sandbox->repos[i].branch, err) < 0 ||
		    check_text("path", sandbox->repos[i].live_git_dir, err) < 0 ||
		    check_text("path", sandbox->repos[i].live_common_dir, err) < 0 ||
		    check_texts(&sandbox->repos[i].carried, err) < 0)
			return -1;
	for (size_t i = 0; i < sandbox->checkpoint_count; i++)
		if (check_text("message", sandbox->checkpoints[i].message, err) < 0)
			return -1;
	if (check_text("path", sandbox->home, err) < 0)
		return -1;
	autofree char *text = record_text(sandbox);

	if (!text)
		abort();
	return file_replace_at(dirfd, "sandbox.json", text, strlen(text), 0600, durable, err);
}

struct reader {
	bool failed;
};

static char *read_text(struct reader *reader, const json_t *object, const char *key, bool needed)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_string(value))
		return xstrdup(json_string_value(value));
	if (needed || !(value == NULL || json_is_null(value)))
		reader->failed = true;
	return NULL;
}

/* Below the work tree, and there as well when it is taken apart: no empty component, no dots. */
static bool is_inner_path(const char *text)
{
	for (const char *at = text;; at++) {
		size_t len = strcspn(at, "/");

		if (len == 0 || (len == 1 && at[0] == '.') ||
		    (len == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		at += len;
		if (!*at)
			return true;
	}
}

static void read_strings(struct reader *reader, const json_t *object, const char *key,
			 bool (*valid)(const char *), struct strv *ret)
{
	const json_t *array = json_object_get(object, key);

	if (!json_is_array(array))
		reader->failed = true;
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *text = json_string_value(json_array_get(array, i));

		if (!text || !valid(text))
			reader->failed = true;
		else
			strv_add(ret, text);
	}
}

static char *read_layer(struct reader *reader, const json_t *object, const char *key)
{
	char *id = read_text(reader, object, key, false);

	if (id && !layer_is_id(id))
		reader->failed = true;
	return id;
}

static void read_repo(struct reader *reader, const json_t *item, struct sandbox_repo *repo)
{
	repo->name = read_text(reader, item, "name", true);
	repo->host = read_text(reader, item, "host", true);
	repo->path = read_text(reader, item, "path", true);
	repo->git_path = read_text(reader, item, "git_path", false);
	repo->base = read_text(reader, item, "base", false);
	repo->branch = read_text(reader, item, "branch", false);
	repo->live_git_dir = read_text(reader, item, "live_git_dir", false);
	repo->live_common_dir = read_text(reader, item, "live_common_dir", false);
	repo->local = read_layer(reader, item, "local");
	repo->modules = read_layer(reader, item, "modules");
	read_strings(reader, item, "tree", layer_is_id, &repo->tree);
	read_strings(reader, item, "git", layer_is_id, &repo->git);
	/* A record of schema 1 has none. */
	if (json_object_get(item, "carried"))
		read_strings(reader, item, "carried", is_inner_path, &repo->carried);
	if ((repo->path && repo->path[0] != '/') || (repo->git_path && repo->git_path[0] != '/') ||
	    !repo->live_git_dir != !repo->live_common_dir)
		reader->failed = true;
	if (repo->name && (!*repo->name || strchr(repo->name, '/') ||
			   strcmp(repo->name, ".") == 0 || strcmp(repo->name, "..") == 0))
		reader->failed = true;
}

/* A record below schema 3 has none. */
static void read_states(struct reader *reader, const json_t *object, struct strv *ret)
{
	if (json_object_get(object, "states"))
		read_strings(reader, object, "states", layer_is_id, ret);
}

static void read_checkpoints(struct reader *reader, const json_t *record, struct sandbox *sandbox)
{
	const json_t *array = json_object_get(record, "checkpoints");

	if (array && !json_is_array(array))
		reader->failed = true;
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);
		struct checkpoint *checkpoint = sandbox_add_checkpoint(sandbox, NULL);
		json_int_t number = json_integer_value(json_object_get(item, "number"));

		strv_release(&checkpoint->states);
		free(checkpoint->created);
		checkpoint->created = read_text(reader, item, "created", true);
		checkpoint->message = read_text(reader, item, "message", false);
		read_states(reader, item, &checkpoint->states);
		/* They rise: rollback names one of them. */
		if (number < checkpoint->number || number > INT_MAX)
			reader->failed = true;
		else
			checkpoint->number = (unsigned int)number;
	}
}

static int parse(const char *text, size_t len, struct sandbox *sandbox, struct error *err)
{
	struct reader reader = {0};
	json_t *record = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *repos = json_object_get(record, "repos");
	const json_t *live = json_object_get(record, "live");
	const json_t *is_volatile = json_object_get(record, "volatile");
	const char *view = json_string_value(json_object_get(record, "view"));
	const char *xattr = json_string_value(json_object_get(record, "xattr"));
	json_int_t schema = json_integer_value(json_object_get(record, "schema"));

	if (schema > SCHEMA)
		error_set(err, ERR_CORRUPT, "its record has schema %lld, this jib knows up to %d",
			  (long long)schema, SCHEMA);
	if (schema < 1 || schema > SCHEMA || !view || strcmp(view, "overlay") != 0 || !xattr ||
	    strcmp(xattr, "user") != 0)
		reader.failed = true;
	sandbox->created = read_text(&reader, record, "created", true);
	sandbox->home = read_text(&reader, record, "home", true);
	autofree char *layout = read_text(&reader, record, "layout", true);

	sandbox->layout = layout && strcmp(layout, "jib") == 0 ? LAYOUT_JIB : LAYOUT_HOST;
	sandbox->live = json_is_true(live);
	sandbox->is_volatile = json_is_true(is_volatile);
	if (!json_is_array(repos) || !json_is_boolean(live) ||
	    (is_volatile && !json_is_boolean(is_volatile)) ||
	    (sandbox->home && sandbox->home[0] != '/') ||
	    (layout && sandbox->layout == LAYOUT_HOST && strcmp(layout, "host") != 0))
		reader.failed = true;
	for (size_t i = 0; i < json_array_size(repos); i++) {
		read_repo(&reader, json_array_get(repos, i), sandbox_add_repo(sandbox));
		/* Two of one name would be two overlays on one upper directory. */
		for (size_t k = 0; k < i && !reader.failed; k++)
			reader.failed = strcmp(sandbox->repos[k].name, sandbox->repos[i].name) == 0;
	}
	read_states(&reader, record, &sandbox->states);
	read_checkpoints(&reader, record, sandbox);
	json_decref(record);
	if (reader.failed)
		return error_set(err, ERR_CORRUPT, "its record sandbox.json cannot be understood");
	return 0;
}

int record_identify(int dirfd, struct sandbox *sandbox, struct error *err)
{
	struct stat st;

	if (fstatat(dirfd, "sandbox.json", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(err, "cannot find sandbox.json");
	sandbox->record_ino = st.st_ino;
	sandbox->record_time = (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
	return 0;
}

int record_read(int dirfd, struct sandbox *ret, struct error *err)
{
	autostr struct str text = STR_INIT;

	/* Before it is read: one that replaces it in between will not be the one that was noted. */
	if (record_identify(dirfd, ret, err) < 0)
		return -1;
	if (file_read_at(dirfd, "sandbox.json", RECORD_MAX, &text, err) < 0)
		return -1;
	return parse(text.s, text.len, ret, err);
}
