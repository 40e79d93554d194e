#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "git/git.h"
#include "snapshot/hash.h"
#include "snapshot/index.h"
#include "snapshot/layers.h"

/*
 * Which files a commit becomes depends on more than the commit: line endings, filters,
 * attributes. Two states of the configuration that differ in one of these get two layers.
 */
static bool decides_checkout(const char *key)
{
	static const char *const exact[] = {
		"core.autocrlf",       "core.eol",
		"core.symlinks",       "core.filemode",
		"core.ignorecase",     "core.precomposeunicode",
		"core.sparsecheckout", "core.sparsecheckoutcone",
		"core.attributesfile", "extensions.objectformat",
	};

	if (str_starts(key, "filter."))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(exact); i++)
		if (strcmp(key, exact[i]) == 0)
			return true;
	return false;
}

static void add_file(struct hash *hash, const char *directory, const char *name)
{
	enum { RULES_MAX = 16 << 20 };
	autofree char *path = xasprintf("%s/%s", directory, name);
	autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	autostr struct str text = STR_INIT;
	struct error ignored = ERROR_INIT;

	if (fd >= 0 && read_all(fd, RULES_MAX, &text, &ignored) == 0)
		hash_bytes(hash, text.s, text.len);
	error_clear(&ignored);
}

static char *tree_layer_id(const struct repository *repository, const struct repository_head *head,
			   const struct config *settings)
{
	struct hash hash;

	hash_init(&hash);
	hash_text(&hash, "tree 1");
	hash_text(&hash, repository->common_dir);
	hash_text(&hash, head->commit ? head->commit : "");
	for (size_t i = 0; i < settings->count; i++) {
		const struct config_item *item = &settings->items[i];

		if (decides_checkout(item->key)) {
			hash_text(&hash, item->key);
			hash_text(&hash, item->value ? item->value : "true");
		}
	}
	add_file(&hash, repository->common_dir, "info/attributes");
	add_file(&hash, repository->git_dir, "info/sparse-checkout");
	return hash_id(&hash, "tree");
}

static int check_out(const struct repository *repository, const char *commit, int layer,
		     struct error *err)
{
	/* Not /proc/self/fd: git changes its directory and names files absolutely. */
	autofree char *place = realpath(fd_path(layer).s, NULL);

	if (!place)
		return error_errno(err, "cannot name the layer's directory");
	autofree char *tree = xasprintf("%s/tree", place);
	autofree char *index = xasprintf("%s/index", place);
	struct git_place git = {
		.directory = repository->top,
		.git_dir = repository->git_dir,
		.work_tree = tree,
		.index = index,
	};
	const char *const args[] = {"-c",	 "index.version=2",
				    "-c",	 "core.splitIndex=false",
				    "-c",	 "feature.manyFiles=false",
				    "-c",	 "index.sparse=false",
				    "-c",	 "index.threads=true",
				    "-c",	 "checkout.workers=2",
				    "-c",	 "checkout.thresholdForParallelism=500",
				    "read-tree", "--reset",
				    "-u",	 "--no-recurse-submodules",
				    commit,	 NULL};
	autostr struct str output = STR_INIT;

	return git_run(&git, args, &output, err);
}

static int fill(const struct layer_making *making, const struct repository *repository,
		const struct repository_head *head, struct error *err)
{
	autofd int tree = -1;

	if (dir_make_at(making->fd, "tree", 0755, &tree, err) < 0)
		return -1;
	if (head->commit) {
		/*
		 * The commit's own date, so that the same commit looks the same whenever its layer
		 * is made; but never the present, see index.h.
		 */
		time_t past = time(NULL) - 10;
		time_t date = head->time > 0 && head->time < past ? head->time : past;

		if (check_out(repository, head->commit, making->fd, err) < 0 ||
		    index_settle(making->fd, "index", tree, strcmp(head->format, "sha256") == 0,
				 date, err) < 0)
			return -1;
	}
	/* Where the git dir is mounted. git never checks out a path of this name. */
	if (mkdirat(tree, ".git", 0755) < 0)
		return error_errno(err, "cannot create the mount point of the git dir");
	return 0;
}

int tree_layer(const struct root *root, const struct repository *repository,
	       const struct repository_head *head, const struct config *settings,
	       pin_progress *progress, char **ret_id, struct error *err)
{
	autofree char *id = tree_layer_id(repository, head, settings);
	automaking struct layer_making making = LAYER_MAKING_INIT;
	json_t *description = NULL;
	autofd int existing = -1;
	int result = layer_open(root, id, &description, &existing, err);

	json_decref(description);
	if (result < 0)
		return -1;
	if (result == 1) {
		if (progress && head->commit) {
			autofree char *text = xasprintf(
				"first sandbox on %.12s: preparing its files", head->commit);

			progress(text);
		}
		result = layer_begin(root, id, &making, err);
		if (result < 0)
			return -1;
		if (result == 0) {
			if (fill(&making, repository, head, err) < 0)
				return error_wrap(err, "cannot prepare the files of %s",
						  repository->top);
			description = json_pack("{s:i,s:s,s:s?}", "version", 1, "kind", "tree",
						"commit", head->commit);
			if (layer_finish(&making, description, err) < 0)
				return -1;
		}
	}
	*ret_id = steal_ptr(&id);
	return 0;
}
