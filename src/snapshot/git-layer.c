#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/layers.h"

enum { COPY_DEPTH = 64, ALTERNATES_DEPTH = 5, ALTERNATES_MAX = 1 << 20, PACK_PASSES = 10 };

static int open_trusted(int base, const char *name)
{
	return openat(base, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int copy_entry(int from, int to, const char *name, int depth, struct error *err);

static int copy_content(int from, int to, int depth, struct error *err)
{
	autodir DIR *dir = fdopendir(fcntl(from, F_DUPFD_CLOEXEC, 3));

	if (!dir)
		return error_errno(err, "cannot read a directory");
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);

		if (!entry)
			return errno ? error_errno(err, "cannot read a directory") : 0;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    str_ends(entry->d_name, ".lock") || str_ends(entry->d_name, ".sample"))
			continue;
		if (copy_entry(from, to, entry->d_name, depth + 1, err) < 0)
			return -1;
	}
}

/* A relative link means the same inside, where it is resolved; an absolute one need not. */
static int copy_link(int from, int to, const char *name, struct error *err)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(from, name, target, sizeof target - 1);

	if (len <= 0 || target[0] == '/')
		return 0;
	target[len] = '\0';
	if (symlinkat(target, to, name) < 0 && errno != EEXIST)
		return error_errno(err, "cannot create the link %s", name);
	return 0;
}

/*
 * Copies a file or a directory of the host's git dir; what vanishes meanwhile is left out. Below
 * the parts themselves (which may be links: git-new-workdir makes such a git dir) no link is
 * followed: it may lead in a circle, or to a file that is nobody's business inside.
 */
static int copy_entry(int from, int to, const char *name, int depth, struct error *err)
{
	int follow = depth ? O_NOFOLLOW : 0;
	autofd int fd = openat(from, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | follow);
	struct stat st;

	if (depth > COPY_DEPTH)
		return error_set(err, ERR_GIT, "directories are nested too deep");
	if (fd < 0 && errno == ELOOP && depth)
		return copy_link(from, to, name, err);
	if (fd < 0 && (errno == ENOENT || errno == ELOOP || errno == ENXIO))
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, "cannot read %s", name);
	if (S_ISREG(st.st_mode)) {
		/* Of a linked worktree its own refs come first, the common ones fill up. */
		if (faccessat(to, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return 0;
		return file_copy_at(fd, to, name, err);
	}
	if (!S_ISDIR(st.st_mode))
		return 0;
	autofd int sub = -1;

	if (dir_make_at(to, name, 0755, &sub, err) < 0 || copy_content(fd, sub, depth, err) < 0)
		return error_wrap(err, "%s", name);
	return 0;
}

/*
 * Links an immutable file. Where a link cannot be (another file system, somebody else's file
 * under fs.protected_hardlinks, too many links) it is copied.
 */
static int link_file(int from, int to, const char *name, struct error *err)
{
	if (linkat(from, name, to, name, 0) == 0 || errno == EEXIST)
		return 0;
	if (errno == ENOENT)
		return 1;
	if (errno != EXDEV && errno != EPERM && errno != EMLINK && errno != EACCES)
		return error_errno(err, "cannot link %s", name);
	autofd int fd = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 1 : error_errno(err, "cannot read %s", name);
	return file_copy_at(fd, to, name, err);
}

typedef bool wanted_name(const char *name);

/* 0; 1 when a file vanished between being listed and being linked. */
static int link_directory(int from, int to, wanted_name *wanted, struct error *err)
{
	autodir DIR *dir = fdopendir(fcntl(from, F_DUPFD_CLOEXEC, 3));
	int vanished = 0;

	if (!dir)
		return error_errno(err, "cannot read a directory");
	rewinddir(dir);
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);

		if (!entry)
			return errno ? error_errno(err, "cannot read a directory") : vanished;
		if (!wanted(entry->d_name))
			continue;
		int result = link_file(from, to, entry->d_name, err);

		if (result < 0)
			return -1;
		vanished |= result;
	}
}

static bool is_hex(const char *name, size_t len)
{
	return strlen(name) == len && strspn(name, "0123456789abcdef") == len;
}

static bool is_loose_object(const char *name)
{
	return is_hex(name, 38) || is_hex(name, 62);
}

/*
 * git takes any name: its own maintenance writes loose-<id>.pack. Not multi-pack-index, which names
 * packs that may be gone a moment later (git works without), and nothing that is being written.
 */
static bool is_pack_file(const char *name)
{
	static const char *const suffixes[] = {".pack",	  ".idx",      ".rev",
					       ".bitmap", ".promisor", ".mtimes"};

	if (str_starts(name, "multi-pack-index") || str_starts(name, "tmp_") ||
	    str_starts(name, ".tmp-"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
		if (str_ends(name, suffixes[i]))
			return true;
	return false;
}

static bool is_graph(const char *name)
{
	return strcmp(name, "commit-graph") == 0 || str_ends(name, ".graph") ||
	       strcmp(name, "commit-graph-chain") == 0;
}

static int link_loose(int from, int to, struct error *err)
{
	for (unsigned int i = 0; i < 256; i++) {
		char name[3] = {"0123456789abcdef"[i >> 4], "0123456789abcdef"[i & 15], '\0'};
		autofd int source = open_trusted(from, name);
		autofd int target = -1;

		if (source < 0 && errno == ENOENT)
			continue;
		if (source < 0)
			return error_errno(err, "cannot read objects/%s", name);
		if (dir_make_at(to, name, 0755, &target, err) < 0 ||
		    link_directory(source, target, is_loose_object, err) < 0)
			return error_wrap(err, "objects/%s", name);
	}
	return 0;
}

/* A `.keep` beside each pack, so that a gc inside does not copy the host's history into an upper. */
static int keep_packs(int pack, struct error *err)
{
	autodir DIR *dir = fdopendir(fcntl(pack, F_DUPFD_CLOEXEC, 3));

	if (!dir)
		return error_errno(err, "cannot read a directory");
	rewinddir(dir);
	for (const struct dirent *entry; (entry = readdir(dir));) {
		if (!str_ends(entry->d_name, ".pack"))
			continue;
		autofree char *keep =
			xasprintf("%.*s.keep", (int)strlen(entry->d_name) - 5, entry->d_name);
		autofd int fd = open_beneath(pack, keep, O_WRONLY | O_CREAT, 0444);

		if (fd < 0)
			return error_errno(err, "cannot create %s", keep);
	}
	return 0;
}

static int link_packs(int from, int to, struct error *err)
{
	autofd int source = open_trusted(from, "pack");
	autofd int target = -1;

	if (dir_make_at(to, "pack", 0755, &target, err) < 0)
		return -1;
	if (source < 0)
		return errno == ENOENT ? 0 : error_errno(err, "cannot read objects/pack");
	/* A repack writes the new pack before it removes the old ones: look again until still. */
	for (int pass = 0; pass < PACK_PASSES; pass++) {
		struct stat before, after;

		if (fstat(source, &before) < 0)
			return error_errno(err, "cannot stat objects/pack");
		int result = link_directory(source, target, is_pack_file, err);

		if (result < 0 || fstat(source, &after) < 0)
			return error_wrap(err, "objects/pack");
		if (result == 0 && before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
		    before.st_mtim.tv_nsec == after.st_mtim.tv_nsec)
			return keep_packs(target, err);
	}
	return error_set(err, ERR_UNSTABLE, "objects/pack keeps changing");
}

static int link_graphs(int from, int to, struct error *err)
{
	autofd int source = open_trusted(from, "info");
	autofd int target = -1;

	if (dir_make_at(to, "info", 0755, &target, err) < 0)
		return -1;
	if (source < 0)
		return errno == ENOENT ? 0 : error_errno(err, "cannot read objects/info");
	if (link_directory(source, target, is_graph, err) < 0)
		return -1;
	autofd int graphs = open_trusted(source, "commit-graphs");
	autofd int graphs_target = -1;

	if (graphs < 0)
		return errno == ENOENT ? 0 : error_errno(err, "cannot read commit-graphs");
	if (dir_make_at(target, "commit-graphs", 0755, &graphs_target, err) < 0 ||
	    link_directory(graphs, graphs_target, is_graph, err) < 0)
		return -1;
	return 0;
}

static int link_objects(int from, int to, int depth, struct error *err);

/* What a repository borrows from others becomes its own in the layer. */
static int link_alternates(int from, int to, int depth, struct error *err)
{
	autofd int fd = openat(from, "info/alternates", O_RDONLY | O_CLOEXEC);
	autostr struct str text = STR_INIT;

	if (fd < 0)
		return errno == ENOENT ? 0
				       : error_errno(err, "cannot read objects/info/alternates");
	if (depth >= ALTERNATES_DEPTH)
		return error_set(err, ERR_GIT, "alternates are nested too deep");
	if (read_all(fd, ALTERNATES_MAX, &text, err) < 0)
		return error_wrap(err, "objects/info/alternates");
	char *at = text.s;

	for (char *line; (line = strsep(&at, "\n"));) {
		if (!*line || *line == '#')
			continue;
		autofd int other = open_trusted(from, line);

		if (other < 0)
			return error_errno(err, "cannot read the alternate %s", line);
		if (link_objects(other, to, depth + 1, err) < 0)
			return error_wrap(err, "alternate %s", line);
	}
	return 0;
}

/* Loose objects before packs: what a gc moves from one to the other is then found in one of them. */
static int link_objects(int from, int to, int depth, struct error *err)
{
	if (link_loose(from, to, err) < 0 || link_packs(from, to, err) < 0 ||
	    link_alternates(from, to, depth, err) < 0)
		return -1;
	return 0;
}

/* A gc of the host holds this file from its beginning to its end. */
static bool gc_is_running(const struct repository *repository)
{
	autofree char *path = xasprintf("%s/gc.pid", repository->common_dir);

	return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/*
 * A gc prunes commits first and writes the graph without them last: a graph from in between
 * names commits that are not there, and fsck takes that for damage. git works without.
 */
static int add_graphs(const struct repository *repository, int from, int to, struct error *err)
{
	if (gc_is_running(repository))
		return 0;
	if (link_graphs(from, to, err) < 0)
		return -1;
	return gc_is_running(repository) ? tree_remove_at(to, "info", err) : 0;
}

static int write_text(int dirfd, const char *name, const char *text, struct error *err)
{
	return file_replace_at(dirfd, name, text, strlen(text), 0644, false, err);
}

static int write_head(int git, const struct repository_head *head, struct error *err)
{
	autofree char *text =
		head->ref ? xasprintf("ref: %s\n", head->ref) : xasprintf("%s\n", head->commit);

	return write_text(git, "HEAD", text, err);
}

static int copy_refs(const struct repository *repository, int git, struct error *err)
{
	static const char *const own[] = {"refs", "logs", NULL};
	static const char *const common[] = {"refs", "packed-refs", "reftable", "shallow",
					     "info", "hooks",	    "logs",	NULL};
	autofd int own_fd = open_trusted(AT_FDCWD, repository->git_dir);
	autofd int common_fd = open_trusted(AT_FDCWD, repository->common_dir);

	if (own_fd < 0 || common_fd < 0)
		return error_errno(err, "cannot read %s", repository->git_dir);
	for (const char *const *name = own; *name; name++)
		if (copy_entry(own_fd, git, *name, 0, err) < 0)
			return -1;
	/* The index belongs to the tree layer; sparse patterns of a linked worktree to itself. */
	autofd int own_info = open_trusted(own_fd, "info");

	if (own_info >= 0 && copy_entry(own_fd, git, "info", 0, err) < 0)
		return -1;
	for (const char *const *name = common; *name; name++)
		if (copy_entry(common_fd, git, *name, 0, err) < 0)
			return -1;
	return 0;
}

static int add_index(const struct layer_making *making, const char *tree_id, int git,
		     struct error *err)
{
	autofree char *index = xasprintf("%s/index", tree_id);

	if (linkat(making->root->layers, index, git, "index", 0) < 0 && errno != ENOENT)
		return error_errno(err, "cannot link the index");
	return 0;
}

int git_layer_fill(const struct layer_making *making, const struct repository *repository,
		   const struct repository_head *head, const struct config *settings,
		   const char *tree_id, struct error *err)
{
	autofree char *objects_path = xasprintf("%s/objects", repository->common_dir);
	autofd int from = open_trusted(AT_FDCWD, objects_path);
	autofd int git = -1, objects = -1, refs = -1;
	autostr struct str config = STR_INIT;

	if (from < 0)
		return error_errno(err, "cannot read %s", objects_path);
	settings_sanitise(settings, &config);
	if (dir_make_at(making->fd, "tree", 0755, &git, err) < 0 ||
	    dir_make_at(git, "objects", 0755, &objects, err) < 0 ||
	    copy_refs(repository, git, err) < 0 ||
	    /* refs/ must exist for git to take it for a repository, even when all are packed */
	    dir_make_at(git, "refs", 0755, &refs, err) < 0 ||
	    link_objects(from, objects, 0, err) < 0 ||
	    add_graphs(repository, from, objects, err) < 0 || write_head(git, head, err) < 0 ||
	    write_text(git, "config", config.s, err) < 0)
		return -1;
	return tree_id ? add_index(making, tree_id, git, err) : 0;
}
