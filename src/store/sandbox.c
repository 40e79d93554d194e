#include "store/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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
#include "store/layer.h"
#include "store/name.h"
#include "store/record.h"

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

static void checkpoint_release(struct checkpoint *checkpoint)
{
	free(checkpoint->created);
	free(checkpoint->message);
	strv_release(&checkpoint->states);
}

void sandbox_release(struct sandbox *sandbox)
{
	for (size_t i = 0; i < sandbox->repo_count; i++)
		repo_release(&sandbox->repos[i]);
	for (size_t i = 0; i < sandbox->checkpoint_count; i++)
		checkpoint_release(&sandbox->checkpoints[i]);
	free(sandbox->checkpoints);
	strv_release(&sandbox->states);
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

struct checkpoint *sandbox_add_checkpoint(struct sandbox *sandbox, const char *message)
{
	size_t count = sandbox->checkpoint_count;

	sandbox->checkpoints =
		xreallocarray(sandbox->checkpoints, count + 1, sizeof *sandbox->checkpoints);
	struct checkpoint *checkpoint = &sandbox->checkpoints[sandbox->checkpoint_count++];

	*checkpoint = (struct checkpoint){
		.number = count ? sandbox->checkpoints[count - 1].number + 1 : 1,
		.created = now_text(),
		.message = message ? xstrdup(message) : NULL,
	};
	strv_add_all(&checkpoint->states, &sandbox->states);
	return checkpoint;
}

bool sandbox_keeps_others(const struct sandbox *sandbox)
{
	for (size_t i = 0; i < sandbox->checkpoint_count; i++)
		for (size_t k = 0; k < sandbox->checkpoints[i].states.len; k++)
			if (!strv_holds(&sandbox->states, sandbox->checkpoints[i].states.items[k]))
				return true;
	return false;
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
	if (make_directories(sandbox, fd, err) < 0 || record_write(sandbox, fd, durable, err) < 0 ||
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
	if (sandbox->fd < 0 || record_identify(sandbox->fd, sandbox, err) < 0 ||
	    (ret_lease && lock_directory_try(sandbox->fd, err) < 0) ||
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

	if (name_check(name, err) < 0)
		return -1;
	sandbox.name = xstrdup(name);
	if (root->fd < 0)
		return not_found(name, err);
	sandbox.fd = open_beneath(root->fd, name, O_RDONLY | O_DIRECTORY, 0);
	if (sandbox.fd < 0)
		return errno == ENOENT ? not_found(name, err)
				       : error_errno(err, "cannot open the sandbox %s", name);
	if (record_read(sandbox.fd, &sandbox, err) < 0) {
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

int sandbox_rewrite(struct sandbox *sandbox, struct error *err)
{
	if (record_write(sandbox, sandbox->fd, true, err) < 0 ||
	    record_identify(sandbox->fd, sandbox, err) < 0)
		return error_wrap(err, "cannot change the record of the sandbox %s", sandbox->name);
	return 0;
}

/* What was read of the record is still what it says. */
static int check_record(const struct sandbox *sandbox, struct error *err)
{
	struct sandbox now = SANDBOX_INIT;

	if (record_identify(sandbox->fd, &now, err) < 0)
		return -1;
	if (now.record_ino == sandbox->record_ino && now.record_time == sandbox->record_time)
		return 0;
	error_set(err, ERR_UNSTABLE, "the sandbox %s was forked, kept or rolled back meanwhile",
		  sandbox->name);
	return error_hint(err, "try it again");
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
		result = check_record(sandbox, err);
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
	if (root && (sandbox_check_kept(root, sandbox, err) < 0 || check_record(sandbox, err) < 0))
		return -1;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static void add_missing(struct strv *ret, const struct strv *ids)
{
	for (size_t i = 0; i < ids->len; i++)
		if (!strv_holds(ret, ids->items[i]))
			strv_add(ret, ids->items[i]);
}

/* What is mounted. */
static void add_stack(const struct sandbox *sandbox, struct strv *ret)
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
	add_missing(ret, &sandbox->states);
}

void sandbox_layers(const struct sandbox *sandbox, struct strv *ret)
{
	add_stack(sandbox, ret);
	for (size_t i = 0; i < sandbox->checkpoint_count; i++)
		add_missing(ret, &sandbox->checkpoints[i].states);
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

	/* Not those of checkpoints: the record keeps them, and there may be more than open files. */
	add_stack(sandbox, &ids);
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
