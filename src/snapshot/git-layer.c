#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/inside.h"
#include "base/memory.h"
#include "snapshot/git-parts.h"
#include "snapshot/layers.h"
#include "snapshot/settings.h"

int git_layer_fill(const struct layer_making *making, const struct repository *repository,
		   const struct repository_head *head, const struct config *settings,
		   const struct strv *tree, struct error *err)
{
	autofd int git = -1;
	autostr struct str config = STR_INIT;
	autofree char *excludes =
		settings_file(settings, "core.excludesfile", "ignore", repository->top);

	settings_sanitise(settings, &config);
	settings_add_hooks(repository, settings, &config);
	/* Of the work tree the guest knows what has changed, and the index is made for it. */
	config_write_item(&config, "core.fsmonitor", INSIDE_FSMONITOR);
	config_write_item(&config, "core.fsmonitorHookVersion", "2");
	/*
	 * The shared index is the layer's. git would judge by its time whether it is still used, and
	 * that is never renewed inside; nor shall it write another one into the upper.
	 */
	config_write_item(&config, "splitIndex.sharedIndexExpire", "never");
	config_write_item(&config, "splitIndex.maxPercentChange", "100");
	if (dir_make_at(making->fd, "tree", 0755, &git, err) < 0 ||
	    git_copy_refs(repository, settings, git, err) < 0 ||
	    git_link_objects(repository, settings, git, err) < 0 ||
	    git_link_fetched(making->root, tree, git, err) < 0 ||
	    git_write_head(git, head, err) < 0 ||
	    file_replace_at(git, "config", config.s, config.len, 0644, false, err) < 0)
		return -1;
	return tree_index(making->root,
			  &(struct tree_index){
				  .repository = repository,
				  .tree = tree,
				  .sha256 = strcmp(head->format, "sha256") == 0,
				  .location = repository->top,
				  .excludes_file = excludes,
			  },
			  git, err);
}
