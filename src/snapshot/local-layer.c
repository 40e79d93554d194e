#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/local-internal.h"

struct layer_tree {
	struct capture *capture;
	int host; /* what is copied from */
	int tree; /* to where */
	struct place from, to;
	struct error *err;
};

static void layer_tree_release(struct layer_tree *tree)
{
	place_release(&tree->from);
	place_release(&tree->to);
	fd_close(&tree->tree);
}

#define autolayertree __attribute__((cleanup(layer_tree_release)))

static int layer_tree_open(struct capture *capture, int layer, const char *name, int host,
			   struct layer_tree *ret, struct error *err)
{
	*ret = (struct layer_tree){
		.capture = capture,
		.host = host,
		.tree = -1,
		.from = {.base = host, .fd = -1},
		.to = {.fd = -1},
		.err = err,
	};
	if (dir_make_path_at(layer, name, 0755, &ret->tree, err) < 0)
		return -1;
	ret->to.base = ret->tree;
	return 0;
}

/* One directory of the layer, with the mode that the host's has. */
static int make_directory(struct layer_tree *tree, const char *path)
{
	struct stat st;
	autofd int from = open_beneath(tree->host, path, O_PATH | O_DIRECTORY, 0);

	if (from < 0 || fstat(from, &st) < 0)
		return is_gone(errno)
			       ? capture_unstable(tree->capture, path)
			       : error_errno(tree->err, "cannot read the directory %s", path);
	autofree char *parent = parent_of(path);
	autofd int to = open_beneath(tree->tree, parent, O_PATH | O_DIRECTORY, 0);

	if (to < 0)
		return error_errno(tree->err, "cannot open %s in the layer", parent);
	if (mkdirat(to, base_name(path), 0700) < 0)
		return errno == EEXIST
			       ? 0
			       : error_errno(tree->err, "cannot create the directory %s", path);
	if (fchmodat(to, base_name(path), (st.st_mode & 0777) | 0700, 0) < 0)
		return error_errno(tree->err, "cannot set the mode of %s", path);
	return 0;
}

/* The directory itself and all above it. */
static int make_directories(struct layer_tree *tree, const char *path)
{
	for (const char *end = path; *end;) {
		end += strcspn(end, "/");
		autofree char *prefix = xstrndup(path, (size_t)(end - path));
		int result = make_directory(tree, prefix);

		if (result != 0)
			return result;
		end += *end == '/';
	}
	return 0;
}

/* Makes the parent of a path, and opens it as tree->to. */
static int enter_target(struct layer_tree *tree, const char *path)
{
	if (place_enter(&tree->to, path) >= 0)
		return 0;
	if (errno != ENOENT)
		return error_errno(tree->err, "cannot open the directory of %s in the layer", path);
	autofree char *parent = parent_of(path);
	int result = make_directories(tree, parent);

	if (result != 0)
		return result;
	if (place_enter(&tree->to, path) < 0)
		return error_errno(tree->err, "cannot open %s in the layer", parent);
	return 0;
}

static int copy_regular(struct layer_tree *tree, const char *path)
{
	const char *name = base_name(path);
	autofd int fd = openat(tree->from.fd, name,
			       O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return is_gone(errno) ? capture_unstable(tree->capture, path)
				      : error_errno(tree->err, "cannot read %s", path);
	if (file_copy_at(fd, tree->to.fd, name, tree->err) < 0)
		return error_wrap(tree->err, "%s", path);
	/* Changed while it was copied: then that was after the moment. */
	if (fstat(fd, &st) < 0)
		return error_errno(tree->err, "cannot stat %s", path);
	return capture_settled(tree->capture, path, &st);
}

static int copy_link(struct layer_tree *tree, const char *path, const struct stat *st)
{
	const char *name = base_name(path);
	char target[PATH_MAX];
	ssize_t len = readlinkat(tree->from.fd, name, target, sizeof target - 1);
	const struct timespec times[2] = {st->st_atim, st->st_mtim};

	if (len < 0)
		return is_gone(errno) || errno == EINVAL
			       ? capture_unstable(tree->capture, path)
			       : error_errno(tree->err, "cannot read the link %s", path);
	target[len] = '\0';
	if (symlinkat(target, tree->to.fd, name) < 0 ||
	    utimensat(tree->to.fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return error_errno(tree->err, "cannot create the link %s", path);
	return 0;
}

/* Whatever stands between this and the stock of everything afterwards, that notices. */
static int copy_file(struct layer_tree *tree, const char *path)
{
	const char *name = base_name(path);
	struct stat st;

	if (place_enter(&tree->from, path) < 0 ||
	    fstatat(tree->from.fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return is_gone(errno) ? capture_unstable(tree->capture, path)
				      : error_errno(tree->err, "cannot stat %s", path);
	int result = enter_target(tree, path);

	if (result != 0)
		return result;
	if (S_ISREG(st.st_mode))
		return copy_regular(tree, path);
	if (S_ISLNK(st.st_mode))
		return copy_link(tree, path, &st);
	if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
		return capture_unstable(tree->capture, path);
	if (mknodat(tree->to.fd, name, st.st_mode & (S_IFMT | 0777), 0) < 0)
		return error_errno(tree->err, "cannot create %s", path);
	return 0;
}

/* A character device 0/0 hides the name in the layers below; no privilege is needed. */
static int whiteout(struct layer_tree *tree, const char *path)
{
	int result = enter_target(tree, path);

	if (result != 0)
		return result;
	/* What is there hides it too: a file in the place of a directory, or the other way round. */
	if (mknodat(tree->to.fd, base_name(path), S_IFCHR, makedev(0, 0)) < 0 && errno != EEXIST)
		return error_errno(tree->err, "cannot hide %s", path);
	return 0;
}

static int hide_gone(struct layer_tree *tree)
{
	const struct strv *gone = &tree->capture->gone;
	autofree char *missing = NULL;

	for (size_t i = 0; i < gone->len; i++) {
		autofd int parent = -1;

		if (is_below(gone->items[i], missing))
			continue;
		size_t len = missing_length(tree->host, gone->items[i], &parent);
		autofree char *prefix = xstrndup(gone->items[i], len);
		int result = len ? whiteout(tree, prefix) : make_directories(tree, gone->items[i]);

		if (result != 0)
			return result;
		free(missing);
		missing = steal_ptr(&prefix);
	}
	return 0;
}

static int make_all(struct layer_tree *tree, const struct strv *directories)
{
	for (size_t i = 0; i < directories->len; i++) {
		int result = make_directories(tree, directories->items[i]);

		if (result != 0)
			return result;
	}
	return 0;
}

static int fill_tree(struct capture *capture, int layer, struct error *err)
{
	autolayertree struct layer_tree tree;
	int result = layer_tree_open(capture, layer, "tree", capture->top, &tree, err);

	for (size_t i = 0; result == 0 && i < capture->count; i++)
		result = copy_file(&tree, capture->files[i].path);
	if (result == 0)
		result = make_all(&tree, &capture->directories);
	if (result == 0)
		result = make_all(&tree, &capture->mounted);
	return result == 0 ? hide_gone(&tree) : result;
}

static int fill_mask(struct capture *capture, int layer, size_t n, struct error *err)
{
	autofree char *name = xasprintf("carried/%zu", n);
	autofd int host =
		open_beneath(capture->top, capture->mounted.items[n], O_PATH | O_DIRECTORY, 0);
	autolayertree struct layer_tree tree = {.tree = -1, .from.fd = -1, .to.fd = -1};

	if (host < 0)
		return is_gone(errno)
			       ? capture_unstable(capture, capture->mounted.items[n])
			       : error_errno(err, "cannot open %s", capture->mounted.items[n]);
	const struct strv *masks = capture_masks(capture, n);
	struct stat st;
	int result = layer_tree_open(capture, layer, name, host, &tree, err);

	/* The uppermost layer decides what mode a directory has. */
	if (result == 0 &&
	    (fstat(host, &st) < 0 || fchmod(tree.tree, (st.st_mode & 0777) | 0700) < 0))
		return error_errno(err, "cannot set the mode of %s", name);
	for (size_t i = 0; result == 0 && i < masks->len; i++)
		result = whiteout(&tree, masks->items[i]);
	return result;
}

static int write_reported(const struct capture *capture, int layer, struct error *err)
{
	const struct str *text = &capture->reported;

	return text->len ? file_replace_at(layer, "reported", text->s, text->len, 0644, false, err)
			 : 0;
}

int capture_files(struct capture *capture, int layer, struct error *err)
{
	int result = 0;

	if (capture->count || capture->gone.len || capture->directories.len || capture->mounted.len)
		result = fill_tree(capture, layer, err);
	for (size_t i = 0; result == 0 && i < capture->mounted.len; i++)
		if (capture_masks(capture, i)->len)
			result = fill_mask(capture, layer, i, err);
	return result == 0 ? write_reported(capture, layer, err) : result;
}
