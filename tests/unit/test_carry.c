#include "support.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "git/repository.h"
#include "snapshot/carry.h"

/* What a test wants, as lists of words. */
struct wish {
	const char *mask, *unmask;
	unsigned long budget; /* 0: 16 MiB */
	bool no_ignored;
};

static void split(const char *text, char separator, struct strv *ret)
{
	while (text && *text) {
		const char *end = strchrnul(text, separator);

		strv_give(ret, xstrndup(text, (size_t)(end - text)));
		text = end + (*end != '\0');
	}
}

/* The two lists as git status gives them. */
static void ask_git(const char *path, struct strv *untracked, struct strv *ignored)
{
	autofree char *text = git_says(path, "status", "--porcelain=v2", "--untracked-files=all",
				       "--ignored=matching", NULL);
	autostrv struct strv lines = STRV_INIT;

	split(text, '\n', &lines);
	for (size_t i = 0; i < lines.len; i++) {
		if (str_starts(lines.items[i], "? "))
			strv_add(untracked, lines.items[i] + 2);
		else if (str_starts(lines.items[i], "! "))
			strv_add(ignored, lines.items[i] + 2);
	}
}

static int decide(const struct temp *temp, const struct wish *wish, struct carry *ret,
		  struct error *err)
{
	autorepository struct repository repository = REPOSITORY_INIT;
	autoroot struct root root = ROOT_INIT;
	autostrv struct strv untracked = STRV_INIT;
	autostrv struct strv ignored = STRV_INIT;
	autostrv struct strv mask = STRV_INIT;
	autostrv struct strv unmask = STRV_INIT;
	autofree char *path = temp_path(temp, "r");
	autofd int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (!getenv("JIB_ROOT"))
		open_test_root(temp, &root);
	else
		assert_success(root_open(NULL, &root, err), err);
	assert_success(repository_find(path, &repository, err), err);
	ask_git(path, &untracked, &ignored);
	split(wish->mask, ' ', &mask);
	split(wish->unmask, ' ', &unmask);
	return carry_decide(
		&(struct carry_request){.root = &root,
					.repository = &repository,
					.top = top,
					.untracked = &untracked,
					.ignored = &ignored,
					.carry_ignored = !wish->no_ignored,
					.budget = wish->budget ? wish->budget : 16UL << 20,
					.mask = &mask,
					.unmask = &unmask},
		ret, err);
}

static void add_list(struct str *text, const char *name, const struct strv *v)
{
	if (v->len)
		str_addf(text, "%s%s:", text->len ? "\n" : "", name);
	for (size_t i = 0; i < v->len; i++)
		str_addf(text, " %s", v->items[i]);
}

/* The whole decision as text: a line for each list that is not empty. */
static char *describe(const struct carry *carry)
{
	struct str text = STR_INIT;

	str_add(&text, "");
	add_list(&text, "copied", &carry->copied);
	add_list(&text, "mounted", &carry->mounted);
	for (size_t i = 0; i < carry->mounted.len; i++) {
		autofree char *name = xasprintf("in %s", carry->mounted.items[i]);

		add_list(&text, name, &carry->masks[i].paths);
	}
	add_list(&text, "masked", &carry->masked);
	add_list(&text, "left out", &carry->left_out);
	return str_take(&text);
}

static void expect(const struct temp *temp, const struct wish *wish, const char *wanted)
{
	autocarry struct carry carry = CARRY_INIT;
	autoerror struct error err = ERROR_INIT;

	assert_success(decide(temp, wish, &carry, &err), &err);
	autofree char *text = describe(&carry);

	assert_string_equal(text, wanted);
}

static const struct wish plain;

static void make(const struct temp *temp, const char *ignored)
{
	autofree char *path = make_repository(temp, "r");

	commit_file(path, ".gitignore", ignored);
}

static void put_size(const struct temp *temp, const char *name, size_t size)
{
	autofree char *bytes = xcalloc(1, size);

	put_bytes(temp->fd, name, bytes, size);
}

static void untracked_ones(void **state)
{
	const struct temp *temp = *state;

	make(temp, "/log\n");
	make_dirs(temp->fd, "r/dir/deep");
	put_text(temp->fd, "r/new", "");
	put_size(temp, "r/dir/large", 3 << 20);
	put_text(temp->fd, "r/dir/.env", "");
	put_text(temp->fd, "r/dir/deep/tls.pem", "key");
	put_text(temp->fd, "r/dir/deep/ca.pem", "-----BEGIN CERTIFICATE-----\n");
	assert_int_equal(symlinkat("dir/.env", temp->fd, "r/link"), 0);
	assert_int_equal(symlinkat("nothing", temp->fd, "r/.netrc"), 0);
	assert_int_equal(mkfifoat(temp->fd, "r/fifo", 0600), 0);
	git(temp->path, "init", "-q", "r/dir/other", NULL);
	put_text(temp->fd, "r/dir/other/x", "");
	put_text(temp->fd, "r/log", "");
	/* git does not tell of the fifo. */
	expect(temp, &(struct wish){.budget = 1},
	       "copied: dir/deep/ca.pem dir/large link log new\n"
	       "masked: .netrc dir/.env dir/deep/tls.pem\n"
	       "left out: dir/other/");
	expect(temp, &(struct wish){.no_ignored = true},
	       "copied: dir/deep/ca.pem dir/large link new\n"
	       "masked: .netrc dir/.env dir/deep/tls.pem\n"
	       "left out: dir/other/");
	expect(temp, &(struct wish){.mask = "new dir/", .unmask = ".env"},
	       "copied: dir/.env link log\n"
	       "masked: .netrc dir/deep/ca.pem dir/deep/tls.pem dir/large new\n"
	       "left out: dir/other/");
}

static void tracked_is_never_masked(void **state)
{
	const struct temp *temp = *state;

	make(temp, "*.key\n");
	git(temp->path, "-C", "r", "add", "-f", ".gitignore", NULL);
	put_text(temp->fd, "r/tracked.key", "key");
	git(temp->path, "-C", "r", "add", "-f", "tracked.key", NULL);
	put_text(temp->fd, "r/ignored.key", "key");
	expect(temp, &plain, "masked: ignored.key");
}

static void budget_in_bytes(void **state)
{
	const struct temp *temp = *state;

	make(temp, "ign*\nd/\ne/\n");
	put_size(temp, "r/ign1", 100);
	put_size(temp, "r/ign2", 1000);
	put_size(temp, "r/ign3", 100);
	make_dirs(temp->fd, "r/d/in");
	make_dirs(temp->fd, "r/e/empty");
	put_size(temp, "r/d/in/x", 50);
	put_size(temp, "r/d/y", 50);
	/* Untracked ones do not count. */
	put_size(temp, "r/new", 5000);
	expect(temp, &plain, "copied: d/in/x d/y e/empty/ ign1 ign2 ign3 new");
	expect(temp, &(struct wish){.budget = 1300},
	       "copied: d/in/x d/y e/empty/ ign1 ign2 ign3 new");
	expect(temp, &(struct wish){.budget = 1299},
	       "copied: e/empty/ ign1 ign2 ign3 new\nmounted: d");
	/* Files go first, and one that does not fit does not keep the next one out. */
	expect(temp, &(struct wish){.budget = 299},
	       "copied: e/empty/ ign1 ign3 new\nmounted: d\nleft out: ign2");
	expect(temp, &(struct wish){.budget = 300},
	       "copied: d/in/x d/y e/empty/ ign1 ign3 new\nleft out: ign2");
}

/* COUNT empty files NAME000, ... */
static void put_many(const struct temp *temp, const char *name, int count)
{
	for (int i = 0; i < count; i++) {
		autofree char *path = xasprintf("%s%03d", name, i);

		put_text(temp->fd, path, "");
	}
}

static void budget_in_number(void **state)
{
	const struct temp *temp = *state;
	autocarry struct carry carry = CARRY_INIT, more = CARRY_INIT;
	autoerror struct error err = ERROR_INIT;

	make(temp, "ign*\nd/\n");
	put_many(temp, "r/ign", 997);
	make_dirs(temp->fd, "r/d");
	put_many(temp, "r/d/", 2);
	assert_success(decide(temp, &plain, &carry, &err), &err);
	assert_int_equal(carry.copied.len, 999);
	assert_int_equal(carry.mounted.len, 0);
	put_many(temp, "r/d/", 3);
	assert_success(decide(temp, &plain, &more, &err), &err);
	assert_int_equal(more.copied.len, 997);
	assert_int_equal(more.mounted.len, 1);
	carry_release(&more);
	put_many(temp, "r/ignore", 5);
	put_text(temp->fd, "r/ignore.key", "");
	put_text(temp->fd, "r/ignored.key", "key");
	assert_success(decide(temp, &plain, &more, &err), &err);
	assert_int_equal(more.copied.len, 1000);
	assert_int_equal(more.mounted.len, 1);
	/* Masked ones do not count, and are found behind the last one that fits. */
	assert_int_equal(more.left_out.len, 3);
	assert_int_equal(more.masked.len, 1);
}

static void small_directories(void **state)
{
	const struct temp *temp = *state;

	make(temp, "d/\n/empty\n");
	make_dirs(temp->fd, "r/d/a/b");
	make_dirs(temp->fd, "r/d/.ssh");
	make_dirs(temp->fd, "r/d/masked");
	make_dirs(temp->fd, "r/empty");
	put_text(temp->fd, "r/d/a/x", "");
	put_text(temp->fd, "r/d/a.x", "");
	put_text(temp->fd, "r/d/.ssh/config", "");
	put_text(temp->fd, "r/d/masked/.env", "");
	assert_int_equal(symlinkat("a", temp->fd, "r/d/link"), 0);
	assert_int_equal(mkfifoat(temp->fd, "r/d/fifo.pem", 0600), 0);
	expect(temp, &plain,
	       "copied: d/a.x d/a/b/ d/a/x d/link d/masked/ empty/\n"
	       "masked: d/.ssh/ d/masked/.env\n"
	       "left out: d/fifo.pem");
	expect(temp, &(struct wish){.unmask = "d/.ssh/"},
	       "copied: d/.ssh/config d/a.x d/a/b/ d/a/x d/link d/masked/ empty/\n"
	       "masked: d/masked/.env\n"
	       "left out: d/fifo.pem");
	expect(temp, &(struct wish){.mask = "/d/"}, "copied: empty/\nmasked: d/");
}

static void large_directories(void **state)
{
	const struct temp *temp = *state;

	make(temp, "node_modules/\nbuild\n");
	make_dirs(temp->fd, "r/node_modules/x/.gnupg");
	make_dirs(temp->fd, "r/sub/node_modules");
	put_size(temp, "r/node_modules/large", 2000);
	put_text(temp->fd, "r/node_modules/x/.env", "");
	put_text(temp->fd, "r/node_modules/x/.gnupg/y", "");
	put_text(temp->fd, "r/node_modules/x/.npmrc", "_auth=x\n");
	put_size(temp, "r/sub/node_modules/large", 2000);
	put_text(temp->fd, "r/sub/file", "");
	assert_int_equal(symlinkat("node_modules", temp->fd, "r/build"), 0);
	expect(temp, &(struct wish){.budget = 1000},
	       "copied: build sub/file\n"
	       "mounted: node_modules sub/node_modules\n"
	       "in node_modules: x/.env x/.gnupg x/.npmrc\n"
	       "masked: node_modules/x/.env node_modules/x/.gnupg/ node_modules/x/.npmrc");
	expect(temp, &(struct wish){.budget = 1000, .unmask = ".npmrc", .mask = "sub/**/large"},
	       "copied: build sub/file sub/node_modules/\n"
	       "mounted: node_modules\n"
	       "in node_modules: x/.env x/.gnupg/y\n"
	       "masked: node_modules/x/.env node_modules/x/.gnupg/y sub/node_modules/large");
}

static void pycache(void **state)
{
	const struct temp *temp = *state;

	make(temp, "__pycache__/\n");
	make_dirs(temp->fd, "r/a/__pycache__");
	make_dirs(temp->fd, "r/b/__pycache__");
	put_size(temp, "r/a/__pycache__/x", 100);
	put_size(temp, "r/b/__pycache__/x", 101);
	expect(temp, &(struct wish){.budget = 100},
	       "copied: a/__pycache__/x\nleft out: b/__pycache__/");
}

static void many_mounts(void **state)
{
	const struct temp *temp = *state;
	autocarry struct carry carry = CARRY_INIT;
	autoerror struct error err = ERROR_INIT;

	make(temp, "d*/\n");
	for (int i = 0; i < 202; i++) {
		autofree char *dir = xasprintf("r/d%03d", i);
		autofree char *file = xasprintf("%s/x", dir);

		make_dirs(temp->fd, dir);
		put_size(temp, file, 100);
	}
	assert_success(decide(temp, &(struct wish){.budget = 10}, &carry, &err), &err);
	assert_int_equal(carry.mounted.len, 200);
	autofree char *text = describe(&carry);

	assert_contains(text, "left out: d200/ d201/");
}

static void link_to(const struct temp *temp, const char *file, const char *name)
{
	assert_int_equal(linkat(temp->fd, file, temp->fd, name, 0), 0);
}

static void hard_links(void **state)
{
	const struct temp *temp = *state;

	make(temp, "*.log\nd/\n");
	make_dirs(temp->fd, "r/d");
	put_text(temp->fd, "r/a.log", "secret");
	assert_int_equal(linkat(temp->fd, "r/a.log", temp->fd, "r/new", 0), 0);
	assert_int_equal(linkat(temp->fd, "r/a.log", temp->fd, "r/d/inner", 0), 0);
	assert_int_equal(linkat(temp->fd, "r/a.log", temp->fd, "r/d/.env", 0), 0);
	put_text(temp->fd, "r/one", "");
	assert_int_equal(linkat(temp->fd, "r/one", temp->fd, "r/two", 0), 0);
	expect(temp, &plain, "copied: d/ one two\nmasked: a.log d/.env d/inner new");
	expect(temp, &(struct wish){.unmask = "new"},
	       "copied: d/ new one two\nmasked: a.log d/.env d/inner");
}

/* A second name of what is masked: in a mount, beside it, in another one. */
static void hard_links_and_mounts(void **state)
{
	const struct temp *temp = *state;
	static const struct wish small = {.budget = 100};
	static const struct wish allowed = {.budget = 100, .unmask = "nm/in/plain"};

	make(temp, ".env\n/nm/\n/small/\n/other/\n/.ssh/\n");
	make_dirs(temp->fd, "r/nm/in");
	make_dirs(temp->fd, "r/other/.gnupg/deep");
	make_dirs(temp->fd, "r/small");
	make_dirs(temp->fd, "r/.ssh");
	put_size(temp, "r/nm/large", 1000);
	put_size(temp, "r/other/large", 1000);
	put_text(temp->fd, "r/.env", "1");
	put_text(temp->fd, "r/nm/.env", "2");
	put_text(temp->fd, "r/other/.gnupg/deep/x", "3");
	put_text(temp->fd, "r/.ssh/config", "4");
	put_text(temp->fd, "r/small/.netrc", "5");
	put_text(temp->fd, "r/nm/fine", "6");
	expect(temp, &small,
	       "copied: small/\nmounted: nm other\nin nm: .env\nin other: .gnupg\n"
	       "masked: .env .ssh/ nm/.env other/.gnupg/ small/.netrc");
	link_to(temp, "r/.env", "r/nm/of-the-top");
	link_to(temp, "r/nm/.env", "r/nm/in/plain");
	link_to(temp, "r/nm/.env", "r/other/in-another");
	link_to(temp, "r/nm/.env", "r/untracked");
	link_to(temp, "r/nm/.env", "r/small/copied");
	link_to(temp, "r/other/.gnupg/deep/x", "r/of-a-directory");
	link_to(temp, "r/other/.gnupg/deep/x", "r/other/.gnupg/again");
	link_to(temp, "r/.ssh/config", "r/nm/of-ssh");
	link_to(temp, "r/small/.netrc", "r/nm/of-small");
	link_to(temp, "r/nm/fine", "r/nm/in/fine");
	link_to(temp, "r/nm/fine", "r/fine");
	expect(temp, &small,
	       "copied: fine small/\nmounted: nm other\n"
	       "in nm: .env in/plain of-small of-ssh of-the-top\n"
	       "in other: .gnupg in-another\n"
	       "masked: .env .ssh/ nm/.env nm/in/plain nm/of-small nm/of-ssh nm/of-the-top "
	       "of-a-directory other/.gnupg/ other/in-another small/.netrc small/copied "
	       "untracked");
	/* What was remembered is asked again: a name more changes no directory of the masked one. */
	link_to(temp, "r/nm/.env", "r/other/one-more");
	expect(temp, &allowed,
	       "copied: .ssh/ fine small/\nmounted: nm other\n"
	       "in nm: .env of-small of-ssh of-the-top\n"
	       "in other: .gnupg/again .gnupg/deep/x in-another one-more\n"
	       "masked: .env .ssh/config nm/.env nm/of-small nm/of-ssh nm/of-the-top "
	       "of-a-directory other/.gnupg/again other/.gnupg/deep/x other/in-another "
	       "other/one-more small/.netrc small/copied untracked");
}

static void worktreeinclude(void **state)
{
	const struct temp *temp = *state;

	make(temp, "*.key\n.env*\nnode_modules/\nbuild/\n*.log\nkeys/\n");
	make_dirs(temp->fd, "r/config");
	make_dirs(temp->fd, "r/node_modules/x");
	make_dirs(temp->fd, "r/build/out");
	make_dirs(temp->fd, "r/keys/in");
	put_text(temp->fd, "r/config/a.key", "-----BEGIN CERTIFICATE-----\n");
	put_text(temp->fd, "r/b.key", "-----BEGIN CERTIFICATE-----\n");
	put_text(temp->fd, "r/.env.local", "");
	put_text(temp->fd, "r/.env.sample", "");
	put_text(temp->fd, "r/node_modules/x/y", "");
	put_text(temp->fd, "r/build/one", "");
	put_text(temp->fd, "r/build/two", "");
	put_text(temp->fd, "r/build/out/three", "");
	put_text(temp->fd, "r/a.log", "");
	put_text(temp->fd, "r/b.log", "");
	put_text(temp->fd, "r/keys/in/k", "");
	put_text(temp->fd, "r/new", "");

	put_text(temp->fd, "r/.worktreeinclude", "");
	expect(temp, &plain, "copied: .worktreeinclude new");
	put_text(temp->fd, "r/.worktreeinclude", "config/*.key\n# comment\nnode_modules/\n");
	expect(temp, &plain, "copied: .worktreeinclude config/a.key new node_modules/x/y");
	/* A wish for a file is no permission to show a credential. */
	put_text(temp->fd, "r/.worktreeinclude", ".env*\n*.log\n!b.log\n");
	expect(temp, &plain, "copied: .env.sample .worktreeinclude a.log new\nmasked: .env.local");
	expect(temp, &(struct wish){.unmask = ".env.local"},
	       "copied: .env.local .env.sample .worktreeinclude a.log new");
	put_text(temp->fd, "r/.worktreeinclude", "build/*\n!build/two\n");
	expect(temp, &plain, "copied: .worktreeinclude build/one build/out/three new");
	expect(temp, &(struct wish){.budget = 1, .no_ignored = true},
	       "copied: .worktreeinclude new");
	put_text(temp->fd, "r/.worktreeinclude", "/keys/in\n");
	expect(temp, &plain, "copied: .worktreeinclude keys/in/k new");
	put_text(temp->fd, "r/.worktreeinclude", "k\nthree\n");
	expect(temp, &plain, "copied: .worktreeinclude build/out/three keys/in/k new");
	put_size(temp, "r/build/out/three", 100);
	/* Once, though git names the directory and the file, with all in it chosen. */
	put_text(temp->fd, "r/.worktreeinclude", "three\n");
	expect(temp, &(struct wish){.budget = 100}, "copied: .worktreeinclude build/out/three new");
	put_text(temp->fd, "r/.worktreeinclude", "config/\n");
	expect(temp, &plain, "copied: .worktreeinclude config/a.key new");
	put_text(temp->fd, "r/.worktreeinclude", "out/\n");
	expect(temp, &(struct wish){.budget = 50},
	       "copied: .worktreeinclude new\nmounted: build/out");
}

static void worktreeinclude_is_no_file(void **state)
{
	const struct temp *temp = *state;
	autocarry struct carry carry = CARRY_INIT;
	autoerror struct error err = ERROR_INIT;

	make(temp, "*.log\n");
	assert_int_equal(mkfifoat(temp->fd, "r/.worktreeinclude", 0600), 0);
	assert_failure(decide(temp, &plain, &carry, &err), &err, ERR_CONFIG,
		       ".worktreeinclude is not a regular file");
	assert_non_null(err.hint);
}

static void the_store(void **state)
{
	const struct temp *temp = *state;
	autofree char *outer = temp_path(temp, "r/out/store");
	autofree char *plain_one = temp_path(temp, "r/store");

	make(temp, "out/\n*.log\n");
	make_dirs(temp->fd, "r/out/other");
	setenv("JIB_ROOT", outer, 1);
	expect(temp, &plain, "left out: out/");
	/* Not ignored: git lists each of its files. */
	setenv("JIB_ROOT", plain_one, 1);
	make_dirs(temp->fd, "r/store/.layers");
	put_text(temp->fd, "r/store/.layers/one", "");
	put_text(temp->fd, "r/store/.layers/two", "");
	put_text(temp->fd, "r/store/.layers/x.log", "");
	put_text(temp->fd, "r/store-like", "");
	make_dirs(temp->fd, "r/store/.layers/out");
	put_text(temp->fd, "r/store/.layers/out/x", "");
	assert_int_equal(symlinkat("store", temp->fd, "r/alias"), 0);
	autofree char *alias = temp_path(temp, "r/alias");

	setenv("JIB_ROOT", alias, 1);
	expect(temp, &plain,
	       "copied: alias out/other/ out/store/.layers/ out/store/.tmp/ store-like\n"
	       "left out: store/");
	unsetenv("JIB_ROOT");
}

/* git has listed them, and then they went or became something else. */
static void what_vanishes(void **state)
{
	const struct temp *temp = *state;
	autorepository struct repository repository = REPOSITORY_INIT;
	autoroot struct root root = ROOT_INIT;
	autostrv struct strv untracked = STRV_INIT;
	autostrv struct strv ignored = STRV_INIT;
	autocarry struct carry carry = CARRY_INIT;
	autoerror struct error err = ERROR_INIT;
	autofree char *path = make_repository(temp, "r");
	autofd int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	open_test_root(temp, &root);
	assert_success(repository_find(path, &repository, &err), &err);
	split("gone gone/x gone.pem .env now-a-directory file/x real now-a-link/x", ' ',
	      &untracked);
	split("gone-too gone-directory/ file/ now-a-link/ d/e/ d/ d/e/ fifo", ' ', &ignored);
	make_dirs(temp->fd, "r/now-a-directory");
	make_dirs(temp->fd, "r/d/e");
	put_text(temp->fd, "r/d/e/x", "content");
	put_text(temp->fd, "r/real", "");
	put_text(temp->fd, "r/d/x", "");
	assert_int_equal(symlinkat("d", temp->fd, "r/now-a-link"), 0);
	assert_int_equal(mkfifoat(temp->fd, "r/fifo", 0600), 0);
	assert_success(carry_decide(&(struct carry_request){.root = &root,
							    .repository = &repository,
							    .top = top,
							    .untracked = &untracked,
							    .ignored = &ignored,
							    .carry_ignored = true,
							    .budget = 1},
				    &carry, &err),
		       &err);
	autofree char *text = describe(&carry);

	assert_string_equal(text, "copied: real\nmounted: d\nleft out: fifo");
}

static int unreadable_body(const struct temp *temp)
{
	autocarry struct carry carry = CARRY_INIT;
	autoerror struct error err = ERROR_INIT;

	NEED(decide(temp, &plain, &carry, &err) == 0);
	autofree char *text = describe(&carry);

	NEED(strcmp(text, "copied: d/readable\n"
			  "mounted: e\n"
			  "in e: closed\n"
			  "masked: new.json\n"
			  "left out: d/unreadable e/closed/ f/ ign.log new") == 0);
	return 0;
}

static void unreadable(void **state)
{
	static const char *const closed[] = {"r/new",	       "r/new.json", "r/ign.log",
					     "r/d/unreadable", "r/e/closed", "r/f"};
	const struct temp *temp = *state;

	make(temp, "*.log\nd/\ne/\n/f\n");
	make_dirs(temp->fd, "r/d");
	make_dirs(temp->fd, "r/e/closed");
	make_dirs(temp->fd, "r/f/x");
	put_text(temp->fd, "r/new", "");
	put_text(temp->fd, "r/new.json", "");
	put_text(temp->fd, "r/ign.log", "");
	put_text(temp->fd, "r/d/unreadable", "");
	put_text(temp->fd, "r/d/readable", "");
	put_text(temp->fd, "r/f/x/y", "");
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++)
		assert_int_equal(fchmodat(temp->fd, closed[i], 0, 0), 0);
	in_user_child(unreadable_body, temp);
}

static int mount_body(const struct temp *temp)
{
	autocarry struct carry carry = CARRY_INIT;
	autoerror struct error err = ERROR_INIT;
	autofree char *whole = temp_path(temp, "r/whole");
	autofree char *inner = temp_path(temp, "r/d/inner");

	NEED(mount("none", whole, "tmpfs", 0, NULL) == 0);
	NEED(mount("none", inner, "tmpfs", 0, NULL) == 0);
	put_text(temp->fd, "r/whole/large", "content");
	NEED(decide(temp, &(struct wish){.budget = 1}, &carry, &err) == 0);
	autofree char *text = describe(&carry);

	NEED(strcmp(text, "mounted: d whole\nin d: inner\nleft out: d/inner/") == 0);
	return 0;
}

static void other_file_systems(void **state)
{
	const struct temp *temp = *state;

	make(temp, "d/\nwhole/\n");
	make_dirs(temp->fd, "r/d/inner");
	make_dirs(temp->fd, "r/whole");
	in_mount_child(mount_body, temp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(untracked_ones),    WITH_TEMP(tracked_is_never_masked),
		WITH_TEMP(budget_in_bytes),   WITH_TEMP(budget_in_number),
		WITH_TEMP(small_directories), WITH_TEMP(large_directories),
		WITH_TEMP(pycache),	      WITH_TEMP(many_mounts),
		WITH_TEMP(hard_links),	      WITH_TEMP(hard_links_and_mounts),
		WITH_TEMP(worktreeinclude),   WITH_TEMP(worktreeinclude_is_no_file),
		WITH_TEMP(the_store),	      WITH_TEMP(what_vanishes),
		WITH_TEMP(unreadable),	      WITH_TEMP(other_file_systems),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
