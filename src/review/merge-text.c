/*
 * Three versions of a text, merged by git: in files that jib has named, in a directory of its own
 * that is no repository, so that nothing but the three has a say in it.
 */
#include <sys/wait.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"
#include "git/git.h"
#include "review/merge-parts.h"

enum { MERGE_MAX = 64 << 20, MERGE_FAILED = 128 };

char *merge_scratch_name(const struct merge *merge, const struct verdict *verdict)
{
	return xasprintf("%zu", (size_t)(verdict - merge->items));
}

static int copy_versions(const struct merge *merge, const struct verdict *verdict,
			 struct error *err)
{
	const struct change *change = verdict->change;
	const char *host = change->from ? change->from : change->path;

	const struct content_wish wish = {.mode = 0600};
	int to = merge->scratch_fd;

	if (content_copy(merge->top, host, &verdict->host, &wish, to, "host", err) < 0 ||
	    content_copy(change->base.dirfd, change->base.path, &verdict->base, &wish, to, "base",
			 err) < 0 ||
	    content_copy(change->theirs.dirfd, change->theirs.path, &verdict->theirs, &wish, to,
			 "theirs", err) < 0)
		return -1;
	return 0;
}

static int remove_versions(const struct merge *merge, struct error *err)
{
	static const char *const names[] = {"host", "base", "theirs"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (tree_remove_at(merge->scratch_fd, names[i], err) < 0)
			return -1;
	return 0;
}

/* *ret_conflicts is what git exits with. */
static int run_git(const struct merge *merge, struct str *ret, int *ret_conflicts,
		   struct error *err)
{
	/* A git dir that is none: git does not look for one, and reads no configuration. */
	const struct git_place place = {
		.directory = merge->scratch, .git_dir = merge->scratch, .own = true};
	const char *args[] = {"merge-file", "-p",	 "-L",	 "host", "-L",	   "base",
			      "-L",	    merge->name, "host", "base", "theirs", NULL};
	autostr struct str errors = STR_INIT;
	struct process process = PROCESS_INIT;
	int status;

	if (git_start(&place, args, &process, err) < 0 ||
	    git_finish(&process, ret, &status, &errors, err) < 0)
		return -1;
	if (!WIFEXITED(status))
		return error_set(err, ERR_GIT, "git merge-file was killed by signal %d",
				 WTERMSIG(status));
	*ret_conflicts = WEXITSTATUS(status);
	return 0;
}

int merge_text(const struct merge *merge, struct verdict *verdict, bool executable,
	       struct error *err)
{
	autofree char *name = merge_scratch_name(merge, verdict);
	autostr struct str text = STR_INIT;
	int conflicts = 0;

	verdict->sided = true;
	if (verdict->base.size > MERGE_MAX || verdict->host.size > MERGE_MAX ||
	    verdict->theirs.size > MERGE_MAX)
		return merge_conflict(verdict, "changed on both sides, and too large to be merged");
	if (copy_versions(merge, verdict, err) < 0 || run_git(merge, &text, &conflicts, err) < 0 ||
	    remove_versions(merge, err) < 0)
		return -1;
	if (conflicts >= MERGE_FAILED)
		return merge_conflict(verdict, "binary, and changed on both sides");
	if (file_replace_at(merge->scratch_fd, name, text.s, text.len, 0600, false, err) < 0 ||
	    content_look(merge->scratch_fd, name, &verdict->result, err) < 0)
		return -1;
	if (conflicts)
		merge_conflict(verdict, "changed on both sides, in %d %s that overlap%s", conflicts,
			       conflicts == 1 ? "place" : "places", conflicts == 1 ? "s" : "");
	verdict->result.executable = executable;
	verdict->source = SOURCE_SCRATCH;
	verdict->conflicts = conflicts;
	verdict->markers = conflicts > 0;
	return 0;
}
