#include "snapshot/fingerprint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"

enum { HEAD_MAX = 65536, TRIES = 200 };

struct state {
	struct hash *hash;
	struct timespec newest;
	struct error *err;
};

bool fingerprint_is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

void fingerprint_add_stat(struct hash *hash, const char *what, const struct stat *st)
{
	struct {
		uint64_t ino, mode, size;
		int64_t changed, changed_ns, modified, modified_ns;
	} facts;

	memset(&facts, 0, sizeof facts);
	facts.ino = st->st_ino;
	facts.mode = st->st_mode;
	facts.size = (uint64_t)st->st_size;
	facts.changed = st->st_ctim.tv_sec;
	facts.changed_ns = st->st_ctim.tv_nsec;
	facts.modified = st->st_mtim.tv_sec;
	facts.modified_ns = st->st_mtim.tv_nsec;
	hash_text(hash, what);
	hash_bytes(hash, &facts, sizeof facts);
}

static void add_stat(struct state *state, const char *what, const struct stat *st)
{
	fingerprint_add_stat(state->hash, what, st);
	if (fingerprint_is_later(&st->st_ctim, &state->newest))
		state->newest = st->st_ctim;
}

static int visit(void *data, int dirfd, const char *name, const char *path, const struct stat *st)
{
	(void)dirfd;
	(void)name;
	/* A lock that comes and goes is no state; what it guards shows when it is done. */
	if (str_ends(path, ".lock"))
		return TREE_SKIP;
	/* A directory changes with every lock; its entries are looked at themselves. */
	if (!S_ISDIR(st->st_mode))
		add_stat(data, path, st);
	return 0;
}

/* LFS objects never change once they are there, so their directories tell: ab/cd/abcd... */
static int visit_fans(void *data, int dirfd, const char *name, const char *path,
		      const struct stat *st)
{
	(void)dirfd;
	(void)name;
	if (!S_ISDIR(st->st_mode))
		return 0;
	add_stat(data, path, st);
	return strchr(path, '/') ? TREE_SKIP : 0;
}

/* Order matters in a hash and readdir(3) has none of its own, but it is stable while unchanged. */
static int add_tree(struct state *state, int base, const char *name, tree_visit *look)
{
	autofd int fd = openat(base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0)
		return error_errno(state->err, "cannot read %s", name);
	hash_text(state->hash, name);
	return tree_walk(fd, look, state, state->err);
}

static int add_parts(struct state *state, const char *directory, const char *const *files,
		     const char *const *trees)
{
	autofd int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(state->err, "cannot read the git directory %s", directory);
	hash_text(state->hash, directory);
	hash_bytes(state->hash, &st.st_uid, sizeof st.st_uid);
	for (; *files; files++) {
		if (fstatat(fd, *files, &st, 0) == 0)
			add_stat(state, *files, &st);
		else if (errno != ENOENT && errno != ENOTDIR)
			return error_errno(state->err, "cannot stat %s/%s", directory, *files);
	}
	for (; *trees; trees++)
		if (add_tree(state, fd, *trees, visit) < 0)
			return error_wrap(state->err, "%s", directory);
	return 0;
}

static int add_lfs(struct state *state, const struct repository *repository)
{
	autofd int fd = open(repository->common_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_errno(state->err, "cannot read the git directory %s",
				   repository->common_dir);
	return add_tree(state, fd, "lfs/objects", visit_fans);
}

static int add_head(struct state *state, const struct repository *repository)
{
	autofree char *path = xasprintf("%s/HEAD", repository->git_dir);
	autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	autostr struct str text = STR_INIT;

	if (fd < 0)
		return error_errno(state->err, "cannot read %s", path);
	if (read_all(fd, HEAD_MAX, &text, state->err) < 0)
		return error_wrap(state->err, "%s", path);
	hash_text(state->hash, text.s);
	return 0;
}

static int take(const struct repository *repository, struct state *state)
{
	static const char *const own_files[] = {
		"HEAD", "ORIG_HEAD", "config.worktree", "info/sparse-checkout", "logs/HEAD", NULL};
	static const char *const own_trees[] = {"refs", "logs/refs", NULL};
	static const char *const common_files[] = {"config",
						   "packed-refs",
						   "shallow",
						   "info/attributes",
						   "info/exclude",
						   "info/grafts",
						   "objects/info/alternates",
						   NULL};
	static const char *const common_trees[] = {"refs",  "logs/refs", "reftable",
						   "hooks", "rr-cache",	 NULL};
	static const char *const none[] = {NULL};
	bool linked = strcmp(repository->git_dir, repository->common_dir) != 0;

	if (add_head(state, repository) < 0 ||
	    add_parts(state, repository->git_dir, own_files, linked ? own_trees : none) < 0 ||
	    add_parts(state, repository->common_dir, common_files, common_trees) < 0 ||
	    add_lfs(state, repository) < 0)
		return -1;
	return 0;
}

bool fingerprint_is_settled(const struct timespec *before, const struct timespec *newest)
{
	return fingerprint_is_later(before, newest) || newest->tv_sec > before->tv_sec + 1;
}

void fingerprint_wait(const struct timespec *newest)
{
	struct timespec now;

	for (;;) {
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
		if (fingerprint_is_later(&now, newest))
			return;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

int fingerprint_take(const struct repository *repository, struct hash *hash, struct error *err)
{
	for (int i = 0; i < TRIES; i++) {
		struct hash attempt = *hash;
		struct state state = {.hash = &attempt, .err = err};
		struct timespec before;

		clock_gettime(CLOCK_REALTIME_COARSE, &before);
		if (take(repository, &state) < 0)
			return -1;
		/*
		 * All that was seen is older than the tick in which looking began: a change since
		 * then has a later time. Only a file from the future (a clock that was set back)
		 * is not waited for.
		 */
		if (fingerprint_is_settled(&before, &state.newest)) {
			*hash = attempt;
			return 0;
		}
		fingerprint_wait(&state.newest);
	}
	return error_set(err, ERR_UNSTABLE, "%s keeps changing", repository->git_dir);
}
