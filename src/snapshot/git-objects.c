#include "snapshot/git-parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

enum { ALTERNATES_DEPTH = 5, ALTERNATES_MAX = 1 << 20, PACK_PASSES = 10 };

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
		autofd int source = git_open(from, name);
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
	autofd int source = git_open(from, "pack");
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
	autofd int source = git_open(from, "info");
	autofd int target = -1;

	if (dir_make_at(to, "info", 0755, &target, err) < 0)
		return -1;
	if (source < 0)
		return errno == ENOENT ? 0 : error_errno(err, "cannot read objects/info");
	if (link_directory(source, target, is_graph, err) < 0)
		return -1;
	autofd int graphs = git_open(source, "commit-graphs");
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
		autofd int other = git_open(from, line);

		/* git says so, and goes on with what there is. */
		if (other < 0 && (errno == ENOENT || errno == ENOTDIR))
			continue;
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

static bool is_lfs_object(const char *name)
{
	return is_hex(name, 64);
}

/* ab/cd/abcd...: calls itself for the second level. */
static int link_fans(int from, int to, int levels, struct error *err)
{
	autodir DIR *dir = fdopendir(fcntl(from, F_DUPFD_CLOEXEC, 3));

	if (!dir)
		return error_errno(err, "cannot read a directory");
	rewinddir(dir);
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);

		if (!entry)
			return errno ? error_errno(err, "cannot read a directory") : 0;
		if (!is_hex(entry->d_name, 2))
			continue;
		autofd int source = git_open(from, entry->d_name);
		autofd int target = -1;

		if (source < 0 && (errno == ENOENT || errno == ENOTDIR))
			continue;
		if (source < 0)
			return error_errno(err, "cannot read %s", entry->d_name);
		if (dir_make_at(to, entry->d_name, 0755, &target, err) < 0)
			return -1;
		int result = levels > 1 ? link_fans(source, target, levels - 1, err)
					: link_directory(source, target, is_lfs_object, err);

		if (result < 0)
			return error_wrap(err, "%s", entry->d_name);
	}
}

/*
 * The files that git-lfs keeps by their hash, so that a checkout inside finds them; inside they
 * are where git-lfs has them without configuration.
 */
static int link_lfs(const struct repository *repository, const struct config *settings, int git,
		    struct error *err)
{
	const char *storage = config_value(settings, "lfs.storage");

	if (!storage || !*storage)
		storage = "lfs";
	autofree char *path = storage[0] == '/'
				      ? xasprintf("%s/objects", storage)
				      : xasprintf("%s/%s/objects", repository->common_dir, storage);
	autofd int from = git_open(AT_FDCWD, path);
	autofd int to = -1;

	if (from < 0)
		return errno == ENOENT ? 0 : error_errno(err, "cannot read %s", path);
	if (dir_make_path_at(git, "lfs/objects", 0755, &to, err) < 0 ||
	    link_fans(from, to, 2, err) < 0)
		return error_wrap(err, "%s", path);
	return 0;
}

int git_link_objects(const struct repository *repository, const struct config *settings, int git,
		     struct error *err)
{
	autofree char *path = xasprintf("%s/objects", repository->common_dir);
	autofd int from = git_open(AT_FDCWD, path);
	autofd int to = -1;

	if (from < 0)
		return error_errno(err, "cannot read %s", path);
	if (dir_make_at(git, "objects", 0755, &to, err) < 0 || link_objects(from, to, 0, err) < 0 ||
	    add_graphs(repository, from, to, err) < 0)
		return -1;
	return link_lfs(repository, settings, git, err);
}

int git_link_fetched(const struct root *root, const struct strv *tree, int git, struct error *err)
{
	for (size_t i = 0; i < tree->len; i++) {
		autofree char *path = xasprintf("%s/objects", tree->items[i]);
		autofd int from = open_beneath(root->layers, path, O_RDONLY | O_DIRECTORY, 0);
		autofd int to = -1;

		if (from < 0 && errno == ENOENT)
			continue;
		if (from < 0)
			return error_errno(err, "cannot read %s", path);
		if (dir_make_at(git, "objects", 0755, &to, err) < 0 ||
		    link_loose(from, to, err) < 0 || link_packs(from, to, err) < 0)
			return error_wrap(err, "%s", path);
	}
	return 0;
}
