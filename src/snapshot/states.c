#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/fingerprint.h"
#include "snapshot/git-parts.h"
#include "snapshot/local-internal.h"

/* More is no rebase: the copy of it must have an end. */
enum { ENTRIES_MAX = 1 << 16 };

/* gitrepository-layout(5), and what the commands themselves leave there while they wait. */
static const char *const state_files[] = {
	"MERGE_HEAD",	       "MERGE_MSG",    "MERGE_MODE",	      "MERGE_RR",
	"MERGE_AUTOSTASH",     "AUTO_MERGE",   "CHERRY_PICK_HEAD",    "REVERT_HEAD",
	"REBASE_HEAD",	       "SQUASH_MSG",   "BISECT_ANCESTORS_OK", "BISECT_EXPECTED_REV",
	"BISECT_FIRST_PARENT", "BISECT_HEAD",  "BISECT_LOG",	      "BISECT_NAMES",
	"BISECT_RUN",	       "BISECT_START", "BISECT_TERMS",
};
static const char *const state_trees[] = {"rebase-merge", "rebase-apply", "sequencer"};

struct stamping {
	struct hash hash;
	struct timespec newest;
	size_t entries;
	struct error *err;
};

static int too_many(struct error *err)
{
	return error_set(err, ERR_UNSUPPORTED,
			 "a rebase or the like in progress has more than %d files", ENTRIES_MAX);
}

static void stamp(struct stamping *stamping, const char *name, const struct stat *st)
{
	fingerprint_add_stat(&stamping->hash, name, st);
	if (fingerprint_is_later(&st->st_ctim, &stamping->newest))
		stamping->newest = st->st_ctim;
}

/* 0; 1 when it is there. */
static int stamp_file(struct stamping *stamping, int git, const char *name)
{
	struct stat st;

	if (fstatat(git, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		stamp(stamping, name, &st);
		return 1;
	}
	if (errno != ENOENT)
		return error_errno(stamping->err, "cannot stat %s", name);
	return 0;
}

static int stamp_entry(void *data, int dirfd, const char *name, const char *path,
		       const struct stat *st)
{
	struct stamping *stamping = data;

	(void)dirfd;
	(void)name;
	if (str_ends(path, ".lock"))
		return TREE_SKIP;
	if (++stamping->entries > ENTRIES_MAX)
		return too_many(stamping->err);
	/* A directory changes with every lock in it. */
	if (!S_ISDIR(st->st_mode))
		stamp(stamping, path, st);
	return 0;
}

/* 0; 1 when there is such a directory. */
static int open_tree_state(int git, const char *name, int *ret, struct error *err)
{
	int fd = open_beneath(git, name, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP
			       ? 0
			       : error_errno(err, "cannot read %s", name);
	*ret = fd;
	return 1;
}

static int stamp_tree(struct stamping *stamping, int git, const char *name)
{
	autofd int fd = -1;
	int result = open_tree_state(git, name, &fd, stamping->err);

	if (result <= 0)
		return result;
	hash_text(&stamping->hash, name);
	return tree_walk(fd, stamp_entry, stamping, stamping->err) < 0 ? -1 : 1;
}

static int stamp_states(struct stamping *stamping, int git, bool *ret_in_progress)
{
	for (size_t i = 0; i < ARRAY_SIZE(state_files); i++) {
		int found = stamp_file(stamping, git, state_files[i]);

		if (found < 0)
			return -1;
		*ret_in_progress |= found;
	}
	for (size_t i = 0; i < ARRAY_SIZE(state_trees); i++) {
		int found = stamp_tree(stamping, git, state_trees[i]);

		if (found < 0)
			return -1;
		*ret_in_progress |= found;
	}
	return 0;
}

static int open_git_dir(const struct repository *repository, int *ret, struct error *err)
{
	int fd = open(repository->git_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(err, "cannot read the git directory %s", repository->git_dir);
	*ret = fd;
	return 0;
}

int states_stamp(const struct repository *repository, char **ret, struct timespec *ret_newest,
		 bool *ret_in_progress, struct error *err)
{
	struct stamping stamping = {.err = err};
	bool in_progress = false;
	autofd int git = -1;

	if (open_git_dir(repository, &git, err) < 0)
		return -1;
	hash_init(&stamping.hash);
	if (stamp_file(&stamping, git, "HEAD") < 0 || stamp_file(&stamping, git, "index") < 0 ||
	    stamp_states(&stamping, git, &in_progress) < 0)
		return error_wrap(err, "%s", repository->git_dir);
	*ret = hash_id(&stamping.hash, "states");
	*ret_newest = stamping.newest;
	*ret_in_progress = in_progress;
	return 0;
}

/* Of a rebase: it only applies as it is, and what is in it is content as in any file. */
static bool is_patch(const char *name)
{
	return strcmp(name, "patch") == 0 || !name[strspn(name, "0123456789")];
}

/* 0; 1 when it vanished. What is no regular file is no state of git's. */
static int copy_file(int from, const char *name, int to, const char *path, struct error *err)
{
	autofd int fd = open_beneath(from, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return 1;
	if (fd < 0 && (errno == ELOOP || errno == ENXIO))
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "cannot read %s", path);
	if (!S_ISREG(st.st_mode))
		return 0;
	return is_patch(path) ? file_copy_at(fd, to, path, err)
			      : git_copy_file_scrubbed(fd, to, path, err);
}

struct copying {
	int to;
	size_t entries;
	bool vanished;
	struct error *err;
};

static int copy_entry(void *data, int dirfd, const char *name, const char *path,
		      const struct stat *st)
{
	struct copying *copying = data;

	if (str_ends(path, ".lock"))
		return TREE_SKIP;
	if (++copying->entries > ENTRIES_MAX)
		return too_many(copying->err);
	if (S_ISDIR(st->st_mode))
		return mkdirat(copying->to, path, 0755) < 0
			       ? error_errno(copying->err, "cannot create %s", path)
			       : 0;
	int result = copy_file(dirfd, name, copying->to, path, copying->err);

	copying->vanished |= result > 0;
	return result < 0 ? -1 : 0;
}

static int copy_tree(struct copying *copying, int from, int to, const char *name)
{
	autofd int source = -1;
	autofd int target = -1;
	int result = open_tree_state(from, name, &source, copying->err);

	if (result <= 0)
		return result;
	if (dir_make_at(to, name, 0755, &target, copying->err) < 0)
		return -1;
	copying->to = target;
	return tree_walk(source, copy_entry, copying, copying->err);
}

int states_copy(const struct repository *repository, int git, struct error *err)
{
	struct copying copying = {.err = err};
	autofd int from = -1;

	if (open_git_dir(repository, &from, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(state_files); i++)
		/* Most of them never were there. */
		if (copy_file(from, state_files[i], git, state_files[i], err) < 0)
			return error_wrap(err, "%s", repository->git_dir);
	for (size_t i = 0; i < ARRAY_SIZE(state_trees); i++)
		if (copy_tree(&copying, from, git, state_trees[i]) < 0)
			return error_wrap(err, "%s", repository->git_dir);
	return copying.vanished;
}

/* Every word that looks like one. */
static void find_objects(const char *text, struct strv *ret)
{
	static const char hex[] = "0123456789abcdef";

	while (*text) {
		size_t len = strspn(text, hex);
		size_t word = len + strcspn(text + len, " \t\r\n");

		if (len == word && (len == 40 || len == 64))
			strv_give(ret, xstrndup(text, len));
		text += word;
		text += strspn(text, " \t\r\n");
	}
}

int states_objects(const struct repository *repository, struct strv *ret, struct error *err)
{
	static const char *const names[] = {
		"MERGE_HEAD",
		"MERGE_AUTOSTASH",
		"AUTO_MERGE",
		"CHERRY_PICK_HEAD",
		"REVERT_HEAD",
		"REBASE_HEAD",
		"BISECT_EXPECTED_REV",
		"BISECT_HEAD",
		"rebase-merge/autostash",
		"rebase-merge/onto",
		"rebase-merge/orig-head",
		"rebase-merge/stopped-sha",
		"rebase-apply/autostash",
		"rebase-apply/onto",
		"rebase-apply/orig-head",
		"sequencer/head",
		"sequencer/abort-safety",
	};
	autofd int git = -1;

	if (open_git_dir(repository, &git, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		enum { IDS_MAX = 1 << 20 };
		autofd int fd = open_beneath(git, names[i], O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
		autostr struct str text = STR_INIT;

		if (fd < 0)
			continue;
		if (read_all(fd, IDS_MAX, &text, err) < 0)
			return error_wrap(err, "%s", names[i]);
		find_objects(text.s, ret);
	}
	return 0;
}
