#include "store/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "store/json.h"
#include "store/layer.h"
#include "store/name.h"

enum { SCHEMA = 2, RECORD_MAX = 1 << 20 };

static void repo_release(struct sandbox_repo *repo)
{
	free(repo->name);
	free(repo->host);
	free(repo->path);
	free(repo->git_path);
	free(repo->base);
	free(repo->branch);
	free(repo->live_git_dir);
	free(repo->live_common_dir);
	free(repo->local);
	free(repo->modules);
	strv_release(&repo->tree);
	strv_release(&repo->git);
	strv_release(&repo->carried);
}

void sandbox_release(struct sandbox *sandbox)
{
	for (size_t i = 0; i < sandbox->repo_count; i++)
		repo_release(&sandbox->repos[i]);
	free(sandbox->repos);
	free(sandbox->name);
	free(sandbox->created);
	free(sandbox->home);
	fd_close(&sandbox->fd);
	*sandbox = (struct sandbox)SANDBOX_INIT;
}

struct sandbox_repo *sandbox_add_repo(struct sandbox *sandbox)
{
	sandbox->repos =
		xreallocarray(sandbox->repos, sandbox->repo_count + 1, sizeof *sandbox->repos);
	struct sandbox_repo *repo = &sandbox->repos[sandbox->repo_count++];

	*repo = (struct sandbox_repo){0};
	return repo;
}

/* The record. */

static json_t *json_text(const char *text)
{
	return text ? json_string(text) : json_null();
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
	char *text = json_dumps(record, JSON_INDENT(2));

	json_decref(record);
	return text;
}

/* A path that is not UTF-8 has no place in JSON: json_string() gave NULL and the key is missing. */
static int check_text(const char *text, struct error *err)
{
	json_t *value = text ? json_string(text) : json_null();

	if (!value)
		return error_set(err, ERR_UNSUPPORTED, "the path %s is not valid UTF-8", text);
	json_decref(value);
	return 0;
}

static int check_texts(const struct strv *texts, struct error *err)
{
	for (size_t i = 0; i < texts->len; i++)
		if (check_text(texts->items[i], err) < 0)
			return -1;
	return 0;
}

static int write_record(const struct sandbox *sandbox, int fd, bool durable, struct error *err)
{
	for (size_t i = 0; i < sandbox->repo_count; i++)
		if (check_text(sandbox->repos[i].host, err) < 0 ||
		    check_text(sandbox->repos[i].path, err) < 0 ||
		    check_text(sandbox->repos[i].branch, err) < 0 ||
		    check_text(sandbox->repos[i].live_git_dir, err) < 0 ||
		    check_text(sandbox->repos[i].live_common_dir, err) < 0 ||
		    check_texts(&sandbox->repos[i].carried, err) < 0)
			return -1;
	if (check_text(sandbox->home, err) < 0)
		return -1;
	autofree char *text = record_text(sandbox);

	if (!text)
		abort();
	return file_replace_at(fd, "sandbox.json", text, strlen(text), 0600, durable, err);
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

static int read_record(const char *text, size_t len, struct sandbox *sandbox, struct error *err)
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
	json_decref(record);
	if (reader.failed)
		return error_set(err, ERR_CORRUPT, "its record sandbox.json cannot be understood");
	return 0;
}

/* Life. */

static char *now_text(void)
{
	struct timespec now;
	struct tm tm;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return xstrdup(text);
}

static int make_carried(const struct sandbox *sandbox, int fd, const char *part, struct error *err)
{
	for (size_t i = 0; i < sandbox->repo_count; i++)
		for (size_t k = 0; k < sandbox->repos[i].carried.len; k++) {
			autofree char *path =
				xasprintf("%s/carried/%s/%zu", part, sandbox->repos[i].name, k);
			autofd int made = -1;

			if (dir_make_path_at(fd, path, 0755, &made, err) < 0)
				return -1;
		}
	return 0;
}

static int make_directories(const struct sandbox *sandbox, int fd, struct error *err)
{
	static const char *const pairs[][2] = {
		{"upper", "repos"}, {"upper", "git"}, {"work", "repos"}, {"work", "git"}};
	autofd int home = -1, home_work = -1;

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		autofd int outer = -1, inner = -1;

		if (dir_make_at(fd, pairs[i][0], 0700, &outer, err) < 0 ||
		    dir_make_at(outer, pairs[i][1], 0700, &inner, err) < 0)
			return -1;
		for (size_t k = 0; k < sandbox->repo_count; k++)
			if (mkdirat(inner, sandbox->repos[k].name, 0755) < 0)
				return error_errno(err, "cannot create %s/%s/%s", pairs[i][0],
						   pairs[i][1], sandbox->repos[k].name);
		if (i == 2 && !sandbox->passing &&
		    dir_make_at(outer, "home", 0700, &home_work, err) < 0)
			return -1;
	}
	if (make_carried(sandbox, fd, "upper", err) < 0 ||
	    make_carried(sandbox, fd, "work", err) < 0)
		return -1;
	return sandbox->passing ? 0 : dir_make_at(fd, "home", 0700, &home, err);
}

static int note_boot(int fd, struct error *err)
{
	const char *id = boot_id();

	return file_replace_at(fd, "boot", id, strlen(id), 0600, false, err);
}

int sandbox_note_boot(const struct sandbox *sandbox, struct error *err)
{
	return note_boot(sandbox->fd, err);
}

bool sandbox_outlived_boot(const struct sandbox *sandbox)
{
	enum { ID_MAX = 64 };
	autostr struct str noted = STR_INIT;
	autoerror struct error missing = ERROR_INIT;

	/* The note may itself have been lost. */
	return file_read_at(sandbox->fd, "boot", ID_MAX, &noted, &missing) < 0 || !noted.s ||
	       strcmp(noted.s, boot_id()) != 0;
}

int sandbox_create(const struct root *root, struct sandbox *sandbox, bool durable, int *ret_lease,
		   struct error *err)
{
	autofree char *temp = NULL;
	autofd int fd = -1;
	autofd int lease = -1;

	if (name_check(sandbox->name, err) < 0)
		return -1;
	if (faccessat(root->fd, sandbox->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return error_set(err, ERR_EXISTS, "there is a sandbox %s already", sandbox->name);
	if (root_make_temp(root, "new", &temp, &fd, err) < 0)
		return error_wrap(err, "cannot create the sandbox %s", sandbox->name);
	free(sandbox->created);
	sandbox->created = now_text();
	if (make_directories(sandbox, fd, err) < 0 || write_record(sandbox, fd, durable, err) < 0 ||
	    (sandbox->is_volatile && note_boot(fd, err) < 0))
		goto failed;
	if (ret_lease) {
		lease = open_beneath(fd, "lease", O_RDWR | O_CREAT, 0600);
		if (lease < 0 || lock_try(lease, err) != 0) {
			error_errno(err, "cannot take the lease");
			goto failed;
		}
	}
	if (syscall(SYS_renameat2, root->temp, temp, root->fd, sandbox->name, RENAME_NOREPLACE) <
	    0) {
		if (errno == EEXIST)
			error_set(err, ERR_EXISTS, "there is a sandbox %s already", sandbox->name);
		else
			error_errno(err, "cannot put it in place");
		goto failed;
	}
	/* A second opening of the directory: the lock of its making ends with the first. */
	fd_close(&sandbox->fd);
	sandbox->fd = open_beneath(root->fd, sandbox->name, O_RDONLY | O_DIRECTORY, 0);
	fd_close(&fd);
	if (sandbox->fd < 0 || (ret_lease && lock_directory_try(sandbox->fd, err) < 0) ||
	    (durable && fsync(root->fd) < 0)) {
		error_errno(err, "cannot create the sandbox %s", sandbox->name);
		/* Who is told that it failed must not find it there. */
		sandbox_remove(root, sandbox->name, NULL);
		return -1;
	}
	if (ret_lease)
		*ret_lease = steal_fd(&lease);
	return 0;
failed:
	tree_remove_at(root->temp, temp, NULL);
	return error_wrap(err, "cannot create the sandbox %s", sandbox->name);
}

static int not_found(const char *name, struct error *err)
{
	error_set(err, ERR_NOT_FOUND, "there is no sandbox %s", name);
	return error_hint(err, "`jib ls` lists the sandboxes");
}

int sandbox_open(const struct root *root, const char *name, struct sandbox *ret, struct error *err)
{
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autostr struct str text = STR_INIT;

	if (name_check(name, err) < 0)
		return -1;
	sandbox.name = xstrdup(name);
	if (root->fd < 0)
		return not_found(name, err);
	sandbox.fd = open_beneath(root->fd, name, O_RDONLY | O_DIRECTORY, 0);
	if (sandbox.fd < 0)
		return errno == ENOENT ? not_found(name, err)
				       : error_errno(err, "cannot open the sandbox %s", name);
	if (file_read_at(sandbox.fd, "sandbox.json", RECORD_MAX, &text, err) < 0 ||
	    read_record(text.s, text.len, &sandbox, err) < 0) {
		if (err && err->number == ENOENT)
			err->code = ERR_CORRUPT;
		error_wrap(err, "the sandbox %s is broken", name);
		return error_hint(err,
				  "its files are in %s/%s/upper; `jib rm --force %s` discards it",
				  root->path, name, name);
	}
	*ret = sandbox;
	sandbox = (struct sandbox)SANDBOX_INIT;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_directory(int dirfd, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	return fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

int sandbox_names(const struct root *root, struct strv *ret, struct error *err)
{
	if (root->fd < 0) {
		*ret = (struct strv)STRV_INIT;
		return 0;
	}
	int fd = open_beneath(root->fd, ".", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	autostrv struct strv names = STRV_INIT;

	if (!dir)
		return error_errno(err, "cannot read %s", root->path);
	for (;;) {
		struct error invalid = ERROR_INIT;

		errno = 0;
		const struct dirent *entry = readdir(dir);

		/* The layers of one that is left out would be removed. */
		if (!entry && errno)
			return error_errno(err, "cannot read %s", root->path);
		if (!entry)
			break;
		if (is_directory(fd, entry) && name_check(entry->d_name, &invalid) == 0)
			strv_add(&names, entry->d_name);
		error_clear(&invalid);
	}
	if (names.len)
		qsort(names.items, names.len, sizeof *names.items, compare_names);
	*ret = names;
	names = (struct strv)STRV_INIT;
	return 0;
}

/* Removal is by name: what is leased must be what has the name. */
int sandbox_check_kept(const struct root *root, const struct sandbox *sandbox, struct error *err)
{
	return lock_still_named(root->fd, sandbox->name, sandbox->fd)
		       ? 0
		       : not_found(sandbox->name, err);
}

int sandbox_lease(const struct root *root, const struct sandbox *sandbox, int *ret_fd,
		  struct error *err)
{
	/* Also before: a file in the directory of one that is being removed would be in the way. */
	if (sandbox_check_kept(root, sandbox, err) < 0)
		return -1;
	autofd int fd = open_beneath(sandbox->fd, "lease", O_RDWR | O_CREAT, 0600);

	if (fd < 0)
		return errno == ENOENT
			       ? not_found(sandbox->name, err)
			       : error_errno(err, "cannot open the lease of %s", sandbox->name);
	int result = lock_try(fd, err);

	if (result == 0)
		result = lock_directory_try(sandbox->fd, err);
	if (result == 0)
		result = sandbox_check_kept(root, sandbox, err);
	if (result == 0)
		*ret_fd = steal_fd(&fd);
	return result;
}

int sandbox_lease_wait(const struct root *root, const struct sandbox *sandbox, int *ret_fd,
		       struct error *err)
{
	if (root && sandbox_check_kept(root, sandbox, err) < 0)
		return -1;
	autofd int fd = open_beneath(sandbox->fd, "lease", O_RDWR | O_CREAT, 0600);

	if (fd < 0 && errno == ENOENT && root)
		return not_found(sandbox->name, err);
	if (fd < 0 || lock_wait(fd, err) < 0 || lock_directory_wait(sandbox->fd, err) < 0)
		return error_errno(err, "cannot wait for the lease of %s", sandbox->name);
	if (root && sandbox_check_kept(root, sandbox, err) < 0)
		return -1;
	*ret_fd = steal_fd(&fd);
	return 0;
}

void sandbox_layers(const struct sandbox *sandbox, struct strv *ret)
{
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];

		if (repo->local)
			strv_add(ret, repo->local);
		if (repo->modules)
			strv_add(ret, repo->modules);
		for (size_t k = 0; k < repo->tree.len; k++)
			strv_add(ret, repo->tree.items[k]);
		for (size_t k = 0; k < repo->git.len; k++)
			strv_add(ret, repo->git.items[k]);
	}
}

static int hold_layer(const struct root *root, const struct sandbox *sandbox, const char *id,
		      struct layer_holds *holds, struct error *err)
{
	int result = layer_holds_add(root, id, holds, err);

	if (result <= 0)
		return result < 0 ? error_wrap(err, "sandbox %s", sandbox->name) : 0;
	if (faccessat(root->layers, id, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		error_errno(err, "sandbox %s: cannot open the layer %s", sandbox->name, id);
		return error_hint(err, "it was removed from %s/.layers", root->path);
	}
	error_set(err, ERR_CORRUPT,
		  "the layer %s of the sandbox %s is damaged, or was cut off by a power failure "
		  "before it was synced",
		  id, sandbox->name);
	return error_hint(err,
			  "a new sandbox of the same commit makes it anew; its changes are in "
			  "%s/%s/upper",
			  root->path, sandbox->name);
}

int sandbox_hold_layers(const struct root *root, const struct sandbox *sandbox,
			struct layer_holds *ret, struct error *err)
{
	autoholds struct layer_holds holds = {0};
	autostrv struct strv ids = STRV_INIT;

	sandbox_layers(sandbox, &ids);
	for (size_t i = 0; i < ids.len; i++)
		if (hold_layer(root, sandbox, ids.items[i], &holds, err) < 0)
			return -1;
	*ret = holds;
	holds = (struct layer_holds){0};
	return 0;
}

const char *sandbox_state_name(enum sandbox_state state)
{
	static const char *const names[] = {"created", "running", "stopped", "broken"};

	return names[state];
}

int sandbox_state(const struct sandbox *sandbox, enum sandbox_state *ret, struct error *err)
{
	autofd int fd = open_beneath(sandbox->fd, "lease", O_RDWR, 0);

	if (fd < 0 && errno == ENOENT) {
		*ret = SANDBOX_CREATED;
		return 0;
	}
	if (fd < 0)
		return error_errno(err, "cannot open the lease of %s", sandbox->name);
	int held = lock_probe(fd, err);

	if (held < 0)
		return error_wrap(err, "lease of %s", sandbox->name);
	*ret = held ? SANDBOX_RUNNING : SANDBOX_STOPPED;
	return 0;
}

int sandbox_disk(const struct root *root, const char *name, uint64_t *ret_bytes, struct error *err)
{
	struct tree_usage usage;

	if (tree_usage_at(root->fd, name, &usage, err) < 0)
		return -1;
	*ret_bytes = usage.bytes;
	return 0;
}

int sandbox_remove(const struct root *root, const char *name, struct error *err)
{
	if (root_discard(root, root->fd, name, err) < 0)
		return error_wrap(err, "cannot remove the sandbox %s", name);
	return 0;
}

int sandbox_settle(const struct root *root, const struct sandbox *sandbox, struct error *err)
{
	autofd int fd = open_beneath(sandbox->fd, "sandbox.json", O_RDONLY, 0);

	if (fd < 0 || fsync(fd) < 0 || fsync(sandbox->fd) < 0 || fsync(root->fd) < 0)
		return error_errno(err, "cannot sync the sandbox %s", sandbox->name);
	return 0;
}

char *sandbox_mount_source(const struct sandbox *sandbox)
{
	struct stat st;

	if (fstat(sandbox->fd, &st) < 0)
		return xstrdup("jib");
	return xasprintf("jib-%llx-%llx", (unsigned long long)st.st_dev,
			 (unsigned long long)st.st_ino);
}
