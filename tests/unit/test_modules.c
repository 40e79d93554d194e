#include "support.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "snapshot/modules.h"
#include "snapshot/pin.h"

#define LOCAL "-c", "protocol.file.allow=always"

/* A superproject `super` with `sub` (named "lib/one") in it, which has `deep` in it. */
static char *make_super(const struct temp *temp)
{
	autofree char *deep = make_repository(temp, "deep-origin");
	autofree char *sub = make_repository(temp, "sub-origin");
	char *super = make_repository(temp, "super");

	commit_file(sub, "two", "two\n");
	git(sub, LOCAL, "submodule", "add", "-q", deep, "inner/deep", NULL);
	git(sub, "commit", "-qm", "with a submodule", NULL);
	git(super, LOCAL, "submodule", "add", "-q", "--name", "lib/one", sub, "dir/sub", NULL);
	git(super, "commit", "-qm", "with a submodule", NULL);
	git(super, LOCAL, "submodule", "update", "-q", "--init", "--recursive", NULL);
	return super;
}

static int capture(const struct root *root, const char *path, bool clean, const char *revision,
		   char **ret_id, struct error *err)
{
	autorepository struct repository repository = REPOSITORY_INIT;
	struct repository_head head = {0};
	struct local_wishes wishes = {.clean = clean};
	int result = repository_find(path, &repository, err);

	if (result == 0)
		result = repository_inspect(&repository, &head, err);
	if (result == 0 && revision) {
		free(head.commit);
		head.commit = git_says(path, "rev-parse", revision, NULL);
	}
	if (result == 0)
		result = modules_layer(&(struct modules_request){.root = root,
								 .repository = &repository,
								 .head = &head,
								 .wishes = &wishes},
				       ret_id, err);
	repository_head_release(&head);
	return result;
}

static char *layer_of(const struct root *root, const char *path, bool clean)
{
	autoerror struct error err = ERROR_INIT;
	char *id = NULL;

	assert_success(capture(root, path, clean, NULL, &id, &err), &err);
	return id;
}

static void run(const char *const *argv)
{
	autostrv struct strv args = STRV_INIT;
	struct process process = PROCESS_INIT;
	autoerror struct error err = ERROR_INIT;
	autostr struct str output = STR_INIT;
	int status;

	for (; *argv; argv++)
		strv_add(&args, *argv);
	assert_success(process_start(&(struct process_spec){.program = args.items[0],
							    .argv = args.items,
							    .env = environ},
				     &process, &err),
		       &err);
	assert_success(process_finish(&process, &output, NULL, &status, &err), &err);
	assert_int_equal(status, 0);
}

/* What is as young as the index git always reads: nothing would be left to its stat data. */
static void make_old(const char *tree)
{
	run((const char *const[]){"find", tree, "-name", ".git", "-prune", "-o", "-type", "f",
				  "-exec", "touch", "-d", "@1600000000", "{}", "+", NULL});
}

static void copy_over(const char *from, const char *to)
{
	autofree char *content = xasprintf("%s/.", from);

	run((const char *const[]){"cp", "-a", content, to, NULL});
}

/*
 * The layers one over the other, as a sandbox sees them, but as copies: `inside` in the test's
 * directory. What was captured is moved away before, so that nothing can come from there.
 */
static char *assemble(const struct temp *temp, const struct root *root, const char *super,
		      const char *id)
{
	autorepository struct repository repository = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;
	autopin struct pin pinned = {0};
	char *inside = temp_path(temp, "inside");
	autofree char *dot_git = xasprintf("%s/.git", inside);
	autofree char *away = xasprintf("%s.away", super);

	assert_success(repository_find(super, &repository, &err), &err);
	assert_success(pin_repository(root, &repository, NULL, &pinned, &err), &err);
	autofree char *tree = xasprintf("%s/.layers/%s/tree", root->path, pinned.tree.items[0]);
	autofree char *git_tree = xasprintf("%s/.layers/%s/tree", root->path, pinned.git.items[0]);
	autofree char *modules_tree = xasprintf("%s/.layers/%s/tree", root->path, id);
	autofree char *modules_git = xasprintf("%s/.layers/%s/git", root->path, id);

	assert_int_equal(rename(super, away), 0);
	run((const char *const[]){"mkdir", inside, NULL});
	copy_over(tree, inside);
	copy_over(git_tree, dot_git);
	copy_over(modules_tree, inside);
	copy_over(modules_git, dot_git);
	return inside;
}

static char *says_in(const char *top, const char *directory, const char *const *args)
{
	autofree char *path = xasprintf("%s/%s", top, directory);

	return git_says_at(path, args);
}

/* Whether git says the same in `sub`, a directory of both. */
#define same(a, b, sub, ...)                                     \
	do {                                                     \
		const char *const words[] = {__VA_ARGS__, NULL}; \
		autofree char *there = says_in(a, sub, words);   \
		autofree char *here = says_in(b, sub, words);    \
                                                                 \
		assert_string_equal(there, here);                \
	} while (0)

static void same_in(const char *away, const char *inside, const char *sub)
{
	same(away, inside, sub, "status", "--porcelain=v2", "--branch", "-uall");
	same(away, inside, sub, "ls-files", "-s");
	same(away, inside, sub, "log", "--all", "--format=%H %D %s");
	same(away, inside, sub, "for-each-ref");
	same(away, inside, sub, "stash", "list");
	same(away, inside, sub, "reflog");
	same(away, inside, sub, "diff");
	same(away, inside, sub, "diff", "--cached");
	same(away, inside, sub, "rev-parse", "--abbrev-ref", "HEAD");
}

static void as_it_is(void **state)
{
	const struct temp *temp = *state;
	autofree char *super = make_super(temp);
	autofree char *away = xasprintf("%s.away", super);
	autofree char *sub = xasprintf("%s/dir/sub", super);
	autofree char *deep = xasprintf("%s/inner/deep", sub);
	autoroot struct root root = ROOT_INIT;
	autofd int at = open(sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	open_test_root(temp, &root);
	git(sub, "switch", "-qc", "work", NULL);
	commit_file(sub, "three", "three\n");
	put_text(at, "file", "stashed\n");
	git(sub, "stash", "-q", NULL);
	put_text(at, "three", "modified\n");
	put_text(at, "staged", "staged\n");
	git(sub, "add", "staged", NULL);
	make_dirs(at, "new/directory");
	put_text(at, "new/directory/untracked", "untracked\n");
	assert_int_equal(symlinkat("nowhere", at, "new/link"), 0);
	assert_int_equal(unlinkat(at, "two", 0), 0);
	put_text(at, "index.lock", "not git's");
	commit_file(deep, "more", "more\n");
	autofree char *id = layer_of(&root, super, false);
	autofree char *inside = assemble(temp, &root, super, id);

	same(away, inside, ".", "submodule", "status", "--recursive");
	same(away, inside, ".", "submodule", "foreach", "--recursive", "-q", "git rev-parse HEAD");
	same(away, inside, ".", "status", "--porcelain=v2");
	same_in(away, inside, "dir/sub");
	same_in(away, inside, "dir/sub/inner/deep");
	same(away, inside, "dir/sub", "cat-file", "-p", ":staged");
	autofree char *modified =
		says_in(inside, "dir/sub", (const char *const[]){"diff", "--name-status", NULL});

	assert_string_equal(modified, "M\tinner/deep\nM\tthree\nD\ttwo");
	/* It is at home where it is now. */
	autofree char *top = says_in(inside, "dir/sub/inner/deep",
				     (const char *const[]){"rev-parse", "--show-toplevel", NULL});

	assert_string_equal(top + strlen(inside), "/dir/sub/inner/deep");
	autofree char *inner = xasprintf("%s/dir/sub", inside);

	git(inner, "fsck", "--full", "--strict", NULL);
	git(inner, "commit", "-qam", "inside", NULL);
	git(inside, "submodule", "update", "-q", "--recursive", "--force", NULL);
	git(inside, "submodule", "deinit", "-q", "-f", "--all", NULL);
	git(inside, "submodule", "update", "-q", "--init", "--recursive", NULL);
	autofree char *status = git_says(inside, "submodule", "status", "--recursive", NULL);

	assert_true(str_starts(status, " "));
	assert_lacks(status, "\n-");
}

/* The index of a captured submodule says of unchanged files what is true in the layer. */
static void assert_settled(const struct root *root, const char *id, const char *path,
			   const char *place, const char *expected)
{
	autofree char *tree = xasprintf("%s/.layers/%s/tree/%s", root->path, id, path);
	autofree char *git_dir = xasprintf("--git-dir=%s/.layers/%s/git/%s", root->path, id, place);
	autofree char *work_tree = xasprintf("--work-tree=%s", tree);
	/* diff-files compares stat data alone. */
	autofree char *changed = git_says(tree, git_dir, work_tree, "diff-files", "--name-only",
					  "--ignore-submodules=all", NULL);

	assert_string_equal(changed, expected);
}

static void any_index(void **state)
{
	static const char *const forms[][4] = {
		{"update-index", "--split-index", NULL},
		{"update-index", "--index-version", "4", NULL},
		{"sparse-checkout", "set", "--sparse-index", NULL},
		{"update-index", "--untracked-cache", NULL},
	};
	const struct temp *temp = *state;
	autofree char *super = make_super(temp);
	autofree char *sub = xasprintf("%s/dir/sub", super);
	autofd int at = open(sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoroot struct root root = ROOT_INIT;

	open_test_root(temp, &root);
	make_dirs(at, "many");
	commit_file(sub, "many/one", "1\n");
	commit_file(sub, "many/two", "2\n");
	put_text(at, "file", "modified\n");
	make_old(sub);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		git_at(sub, forms[i]);
		autofree char *before = git_says(sub, "ls-files", "-s", "-t", NULL);
		autofree char *id = layer_of(&root, super, false);
		autofree char *git_dir =
			xasprintf("--git-dir=%s/.layers/%s/git/modules/lib/one", root.path, id);
		autofree char *work_tree = xasprintf("--work-tree=%s", sub);
		autofree char *after =
			git_says(sub, git_dir, work_tree, "ls-files", "-s", "-t", NULL);

		assert_string_equal(before, after);
		assert_settled(&root, id, "dir/sub", "modules/lib/one", "file");
	}
}

static void clean(void **state)
{
	const struct temp *temp = *state;
	autofree char *super = make_super(temp);
	autofree char *away = xasprintf("%s.away", super);
	autofree char *sub = xasprintf("%s/dir/sub", super);
	autofree char *recorded = git_says(sub, "rev-parse", "HEAD", NULL);
	autofd int at = open(sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoroot struct root root = ROOT_INIT;

	open_test_root(temp, &root);
	git(sub, "switch", "-qc", "work", NULL);
	commit_file(sub, "three", "three\n");
	put_text(at, "file", "modified\n");
	put_text(at, "untracked", "untracked\n");
	autofree char *id = layer_of(&root, super, true);

	assert_settled(&root, id, "dir/sub", "modules/lib/one", "");
	assert_settled(&root, id, "dir/sub/inner/deep", "modules/lib/one/modules/inner/deep", "");
	autofree char *inside = assemble(temp, &root, super, id);
	autofree char *inner = xasprintf("%s/dir/sub", inside);
	autofree char *commit = git_says(inner, "rev-parse", "HEAD", NULL);
	autofree char *status = git_says(inside, "status", "--porcelain", "-uall", NULL);
	autofree char *inner_status = git_says(inner, "status", "--porcelain", "-uall", NULL);

	assert_string_equal(commit, recorded);
	assert_string_equal(status, "");
	assert_string_equal(inner_status, "");
	assert_int_not_equal(git_status(inner, "symbolic-ref", "-q", "HEAD", NULL), 0);
	/* What else there is can be had. */
	git(inner, "switch", "-q", "work", NULL);
	same(away, inside, "dir/sub", "for-each-ref");
}

/* A commit that the host has not fetched yet; another one that has no submodule at all. */
static void clean_elsewhere(void **state)
{
	const struct temp *temp = *state;
	autofree char *super = make_super(temp);
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	autofree char *id = NULL, *none = NULL;

	open_test_root(temp, &root);
	git(super, "update-index", "--cacheinfo",
	    "160000,1234567890123456789012345678901234567890,dir/sub", NULL);
	git(super, "commit", "-qm", "from the future", NULL);
	assert_success(capture(&root, super, true, NULL, &id, &err), &err);
	autofree char *tree = xasprintf("%s/tree/dir", id);
	autofree char *git_dir = xasprintf("%s/git/modules/lib/one", id);

	assert_false(exists(root.layers, tree));
	assert_true(exists(root.layers, git_dir));
	assert_success(capture(&root, super, true, "HEAD~2", &none, &err), &err);
	assert_null(none);
	/* The work tree is on a commit without, what was initialised before still counts. */
	git(super, "checkout", "-q", "-f", "HEAD~2", NULL);
	git(super, "clean", "-qffdx", NULL);
	assert_success(capture(&root, super, true, "main~1", &none, &err), &err);
	autofree char *head = xasprintf("%s/tree/dir/sub/inner/deep/.git", none);

	assert_true(exists(root.layers, head));
}

static void made_once(void **state)
{
	const struct temp *temp = *state;
	autofree char *super = make_super(temp);
	autofree char *sub = xasprintf("%s/dir/sub", super);
	autofree char *deep = xasprintf("%s/inner/deep", sub);
	autofd int at = open(deep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoroot struct root root = ROOT_INIT;

	open_test_root(temp, &root);
	autofree char *id = layer_of(&root, super, false);
	autofree char *again = layer_of(&root, super, false);
	autofree char *without = layer_of(&root, super, true);

	assert_string_equal(id, again);
	assert_string_not_equal(id, without);
	assert_int_equal(count_entries(root.layers), 2);
	/* Each of these is another state. */
	put_text(at, "untracked", "1\n");
	autofree char *untracked = layer_of(&root, super, false);

	put_text(at, "untracked", "2\n");
	autofree char *other = layer_of(&root, super, false);

	git(deep, "add", "untracked", NULL);
	autofree char *staged = layer_of(&root, super, false);

	git(deep, "tag", "tagged", NULL);
	autofree char *tagged = layer_of(&root, super, false);
	/* git status does not look at these, but they come along. */
	git(deep, "update-index", "--assume-unchanged", "file", NULL);
	autofree char *assumed = layer_of(&root, super, false);

	put_text(at, "file", "another\n");
	autofree char *modified = layer_of(&root, super, false);

	git(deep, "update-index", "--no-assume-unchanged", "--skip-worktree", "file", NULL);
	autofree char *skipped = layer_of(&root, super, false);

	put_text(at, "file", "and another\n");
	autofree char *modified_again = layer_of(&root, super, false);

	const char *const ids[] = {id,	    untracked, other,	staged,	       tagged,
				   assumed, modified,  skipped, modified_again};

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(ids[i], ids[k]);
	/* Not to be seen in a clean one but for the refs. */
	git(deep, "tag", "-d", "tagged", NULL);
	autofree char *still = layer_of(&root, super, true);

	git(deep, "rm", "-qf", "untracked", NULL);
	autofree char *same_clean = layer_of(&root, super, true);

	assert_string_equal(still, same_clean);
}

static void embedded(void **state)
{
	const struct temp *temp = *state;
	autofree char *super = make_repository(temp, "super");
	autofree char *away = xasprintf("%s.away", super);
	free(make_repository(temp, "super/sub"));
	autofd int at = open(super, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoroot struct root root = ROOT_INIT;

	open_test_root(temp, &root);
	put_text(at, ".gitmodules", "[submodule \"name\"]\n\tpath = sub\n\turl = ./nowhere\n");
	git(super, "-c", "advice.addEmbeddedRepo=false", "add", "sub", ".gitmodules", NULL);
	git(super, "commit", "-qm", "embedded", NULL);
	git(super, "submodule", "-q", "init", NULL);
	autofree char *id = layer_of(&root, super, false);
	autofree char *inside = assemble(temp, &root, super, id);
	autofree char *inner = xasprintf("%s/sub", inside);
	autofree char *git_dir = git_says(inner, "rev-parse", "--git-dir", NULL);

	same(away, inside, ".", "submodule", "status");
	same_in(away, inside, "sub");
	assert_string_equal(git_dir + strlen(inside), "/.git/modules/name");
}

/* Names and paths of .gitmodules are nobody's to choose. */
static void hostile_names(void **state)
{
	static const char *const names[] = {"../../x", "/x", "a/../../x", ".", "a//b", "x/.git/y"};
	const struct temp *temp = *state;
	autofree char *super = make_super(temp);
	autofd int at = open(super, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoroot struct root root = ROOT_INIT;

	open_test_root(temp, &root);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autofree char *text = xasprintf(
			"[submodule \"%s\"]\n\tpath = dir/sub\n\turl = ./nowhere\n", names[i]);

		put_text(at, ".gitmodules", text);
		assert_null(layer_of(&root, super, false));
	}
	/* A path that is none of this repository does not make the others unusable. */
	static const char *const paths[] = {"../x", "/x", "a/../../x", "", "."};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		autofree char *text = xasprintf("[submodule \"x\"]\n\tpath = %s\n"
						"[submodule \"name\"]\n\tpath = dir/sub\n",
						paths[i]);

		put_text(at, ".gitmodules", text);
		autofree char *found = layer_of(&root, super, false);
		autofree char *sub = xasprintf("%s/tree/dir/sub/.git", found);

		assert_true(exists(root.layers, sub));
	}
	/* Two names of which one lies in the other */
	free(make_repository(temp, "super/other"));

	git(super, "-c", "advice.addEmbeddedRepo=false", "add", "other", NULL);
	put_text(
		at, ".gitmodules",
		"[submodule \"a\"]\n\tpath = dir/sub\n[submodule \"a/objects\"]\n\tpath = other\n");
	autofree char *id = layer_of(&root, super, false);
	autofree char *first = xasprintf("%s/tree/dir/sub/.git", id);
	autofree char *second = xasprintf("%s/tree/other", id);

	assert_true(exists(root.layers, first));
	assert_false(exists(root.layers, second));
	put_text(
		at, ".gitmodules",
		"[submodule \"a/objects\"]\n\tpath = dir/sub\n[submodule \"a\"]\n\tpath = other\n");
	autofree char *turned = layer_of(&root, super, false);
	autofree char *outer = xasprintf("%s/tree/other", turned);

	assert_string_not_equal(id, turned);
	assert_false(exists(root.layers, outer));
}

/* What is carried of untracked and ignored files is decided as in the superproject. */
static void credentials_and_ignored(void **state)
{
	const struct temp *temp = *state;
	autofree char *super = make_super(temp);
	autofree char *sub = xasprintf("%s/dir/sub", super);
	autofd int at = open(sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autorepository struct repository repository = REPOSITORY_INIT;
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	struct repository_head head = {0};
	struct local_wishes wishes = {.ignored = true, .budget = 100};
	autostrv struct strv masked = STRV_INIT, left_out = STRV_INIT;
	autofree char *id = NULL, *plain = NULL;
	char large[200];

	open_test_root(temp, &root);
	commit_file(sub, ".gitignore", "*.o\n");
	put_text(at, ".env", "TOKEN=x\n");
	put_text(at, "small.o", "o\n");
	memset(large, 'x', sizeof large);
	put_bytes(at, "large.o", large, sizeof large);
	assert_success(repository_find(super, &repository, &err), &err);
	const struct modules_request request = {.root = &root,
						.repository = &repository,
						.head = &head,
						.wishes = &wishes,
						.masked = &masked,
						.left_out = &left_out};

	assert_success(modules_layer(&request, &id, &err), &err);
	autofree char *env = xasprintf("%s/tree/dir/sub/.env", id);
	autofree char *small = xasprintf("%s/tree/dir/sub/small.o", id);
	autofree char *big = xasprintf("%s/tree/dir/sub/large.o", id);

	assert_false(exists(root.layers, env));
	assert_true(exists(root.layers, small));
	assert_false(exists(root.layers, big));
	assert_int_equal(masked.len, 1);
	assert_string_equal(masked.items[0], "dir/sub/.env");
	assert_int_equal(left_out.len, 1);
	assert_string_equal(left_out.items[0], "dir/sub/large.o");
	/* Who wants it has it, and another layer. */
	strv_add(&wishes.unmask, ".env");
	wishes.ignored = false;
	assert_success(modules_layer(&request, &plain, &err), &err);
	autofree char *shown = xasprintf("%s/tree/dir/sub/.env", plain);
	autofree char *without = xasprintf("%s/tree/dir/sub/small.o", plain);

	assert_true(exists(root.layers, shown));
	assert_false(exists(root.layers, without));
	strv_release(&wishes.unmask);
}

/* A directory that became a link to somewhere else; a repository in it that nobody added. */
static void not_its_own(void **state)
{
	const struct temp *temp = *state;
	autofree char *super = make_super(temp);
	free(make_repository(temp, "super/dir/sub/nested"));
	autofree char *directory = xasprintf("%s/dir", super);
	autofree char *elsewhere = temp_path(temp, "super/elsewhere");
	autoroot struct root root = ROOT_INIT;

	open_test_root(temp, &root);
	autofree char *id = layer_of(&root, super, false);
	autofree char *inside = xasprintf("%s/tree/dir/sub/nested", id);

	assert_false(exists(root.layers, inside));
	assert_int_equal(rename(directory, elsewhere), 0);
	assert_int_equal(symlink("elsewhere", directory), 0);
	autofree char *other = layer_of(&root, super, false);
	autofree char *tree = xasprintf("%s/tree/dir", other);

	assert_false(exists(root.layers, tree));
}

static void without_any(void **state)
{
	const struct temp *temp = *state;
	autofree char *super = make_super(temp);
	autofree char *clone = temp_path(temp, "clone");
	autoroot struct root root = ROOT_INIT;

	open_test_root(temp, &root);
	git(temp->path, "clone", "-q", super, clone, NULL);
	assert_null(layer_of(&root, clone, false));
	assert_null(layer_of(&root, clone, true));
	assert_int_equal(count_entries(root.layers), 0);
	/* Its git dir stays when a submodule is given up, and brings it back. */
	git(super, "submodule", "deinit", "-q", "-f", "--all", NULL);
	autofree char *id = layer_of(&root, super, false);
	autofree char *inside = assemble(temp, &root, super, id);
	autofree char *before = git_says(inside, "submodule", "status", NULL);

	assert_true(str_starts(before, "-"));
	git(inside, "submodule", "update", "-q", "--init", NULL);
	autofree char *after = git_says(inside, "submodule", "status", NULL);

	assert_true(str_starts(after, " "));
}

static int find_canary(void *data, int dirfd, const char *name, const char *path,
		       const struct stat *st)
{
	autofree char *text = S_ISREG(st->st_mode) ? get_text(dirfd, name) : NULL;

	(void)data;
	if (text && strstr(text, "CANARY"))
		fail_msg("%s holds a credential", path);
	return 0;
}

static void no_credentials(void **state)
{
	const struct temp *temp = *state;
	autofree char *super = make_super(temp);
	autofree char *sub = xasprintf("%s/dir/sub", super);
	autofree char *git_dir = git_says(sub, "rev-parse", "--absolute-git-dir", NULL);
	autofd int at = open(git_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;

	open_test_root(temp, &root);
	git(sub, "config", "remote.origin.url", "https://u:CANARY@example.org/x", NULL);
	git(sub, "config", "http.extraHeader", "Authorization: CANARY", NULL);
	git(sub, "config", "credential.helper", "!echo password=CANARY", NULL);
	git(sub, "config", "core.sshCommand", "ssh -i CANARY", NULL);
	put_text(at, "FETCH_HEAD", "1234 branch 'main' of https://CANARY@example.org/x\n");
	put_text(at, "config.worktree", "[http]\n\textraHeader = CANARY\n");
	git(sub, "update-ref", "-m", "clone: from https://CANARY@example.org/x", "--create-reflog",
	    "refs/heads/new", "HEAD", NULL);
	put_text(at, "MERGE_MSG", "Merge branch 'x' of https://u:CANARY@example.org/x\n");
	for (int i = 0; i < 2; i++) {
		autofree char *id = layer_of(&root, super, i);
		autofd int layer = open_beneath(root.layers, id, O_RDONLY | O_DIRECTORY, 0);

		assert_success(tree_walk(layer, find_canary, NULL, &err), &err);
		autofree char *log = xasprintf("git/modules/lib/one/logs/refs/heads/new");
		autofree char *text = get_text(layer, log);

		assert_contains(text, "clone: from https://example.org/x\n");
	}
}

static void keeps_changing(void **state)
{
	const struct temp *temp = *state;
	autofree char *super = make_super(temp);
	autofree char *file = xasprintf("%s/dir/sub/busy", super);
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	autofree char *id = NULL;
	int status;

	open_test_root(temp, &root);
	pid_t child = fork();

	assert_true(child >= 0);
	while (child == 0) {
		int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

		if (fd < 0 || write(fd, "x", 1) != 1)
			_exit(1);
		close(fd);
	}
	/* It is there from now on. */
	while (access(file, F_OK) < 0)
		sched_yield();
	int result = capture(&root, super, false, NULL, &id, &err);

	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(wait_for(child, &status), 0);
	assert_failure(result, &err, ERR_UNSTABLE, "dir/sub/busy");
	assert_int_equal(count_entries(root.layers), 0);
}

static void sha256(void **state)
{
	const struct temp *temp = *state;
	autofree char *sub = temp_path(temp, "sub");
	autofree char *super = temp_path(temp, "super");
	autoroot struct root root = ROOT_INIT;

	open_test_root(temp, &root);
	git(temp->path, "init", "-q", "--object-format=sha256", sub, NULL);
	git(temp->path, "init", "-q", "--object-format=sha256", super, NULL);
	commit_file(sub, "file", "text\n");
	git(super, LOCAL, "submodule", "add", "-q", sub, "sub", NULL);
	git(super, "commit", "-qm", "with a submodule", NULL);
	for (int i = 0; i < 2; i++) {
		autofree char *id = layer_of(&root, super, i);

		assert_settled(&root, id, "sub", "modules/sub", "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(as_it_is),
		WITH_TEMP(any_index),
		WITH_TEMP(clean),
		WITH_TEMP(clean_elsewhere),
		WITH_TEMP(made_once),
		WITH_TEMP(embedded),
		WITH_TEMP(hostile_names),
		WITH_TEMP(not_its_own),
		WITH_TEMP(credentials_and_ignored),
		WITH_TEMP(without_any),
		WITH_TEMP(no_credentials),
		WITH_TEMP(keeps_changing),
		WITH_TEMP(sha256),
	};

	return cmocka_run_group_tests_name("modules", tests, NULL, NULL);
}
