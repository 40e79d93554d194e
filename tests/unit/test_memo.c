#include "support.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "review/gc-plan.h"
#include "review/host-refs.h"
#include "review/memo.h"
#include "review/quick.h"

static void create(const struct temp *temp, const char *host, struct root *root,
		   struct sandbox *sandbox)
{
	autoerror struct error err = ERROR_INIT;

	open_test_root(temp, root);
	struct sandbox_repo *repo = sandbox_add_repo(sandbox);

	repo->name = xstrdup("r");
	repo->host = xstrdup(host);
	repo->path = xstrdup(host);
	strv_add(&repo->carried, "vendor");
	sandbox->name = xstrdup("one");
	sandbox->home = xstrdup("/home/me");
	assert_success(sandbox_create(root, sandbox, false, NULL, &err), &err);
}

static char *fingerprint(const struct sandbox *sandbox)
{
	autoerror struct error err = ERROR_INIT;
	char *text = NULL;

	assert_success(memo_fingerprint(sandbox, &text, &err), &err);
	return text;
}

static void assert_moved(const struct sandbox *sandbox, char **before, bool moved)
{
	char *now = fingerprint(sandbox);

	assert_int_equal(strcmp(*before, now) != 0, moved);
	free(*before);
	*before = now;
}

/* ---- the fingerprint ---- */

static void what_changes_it(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;

	create(*state, "/host/r", &root, &sandbox);
	autofree char *now = fingerprint(&sandbox);

	assert_moved(&sandbox, &now, false);
	put_text(sandbox.fd, "upper/repos/r/f", "one");
	assert_moved(&sandbox, &now, true);
	/* As long, in the next moment. */
	put_text(sandbox.fd, "upper/repos/r/f", "two");
	assert_moved(&sandbox, &now, true);
	assert_int_equal(fchmodat(sandbox.fd, "upper/repos/r/f", 0755, 0), 0);
	assert_moved(&sandbox, &now, true);
	put_text(sandbox.fd, "upper/carried/r/0/f", "");
	assert_moved(&sandbox, &now, true);
	make_dirs(sandbox.fd, "upper/git/r/refs/heads");
	put_text(sandbox.fd, "upper/git/r/refs/heads/index", "a branch of that name");
	assert_moved(&sandbox, &now, true);
	assert_int_equal(renameat(sandbox.fd, "upper/repos/r/f", sandbox.fd, "upper/repos/r/g"), 0);
	assert_moved(&sandbox, &now, true);
	assert_int_equal(unlinkat(sandbox.fd, "upper/repos/r/g", 0), 0);
	assert_moved(&sandbox, &now, true);
	/* The work of another layer is other work. */
	sandbox.repos[0].local = xstrdup("local-1");
	assert_moved(&sandbox, &now, true);
}

static void what_does_not(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;

	create(*state, "/host/r", &root, &sandbox);
	put_text(sandbox.fd, "upper/repos/r/f", "one");
	make_dirs(sandbox.fd, "upper/git/r/modules/m");
	autofree char *now = fingerprint(&sandbox);

	put_text(sandbox.fd, "upper/git/r/index", "");
	put_text(sandbox.fd, "upper/git/r/index.lock", "");
	put_text(sandbox.fd, "upper/git/r/modules/m/index", "");
	put_text(sandbox.fd, "home/f", "");
	put_text(sandbox.fd, "work/repos/r/f", "");
	put_text(sandbox.fd, "lease", "");
	assert_moved(&sandbox, &now, false);
	/* In a work tree it is a file like any other. */
	put_text(sandbox.fd, "upper/repos/r/index", "");
	assert_moved(&sandbox, &now, true);
	/* A temporary file leaves only the time of its directory. */
	put_text(sandbox.fd, "upper/repos/r/t", "");
	assert_int_equal(unlinkat(sandbox.fd, "upper/repos/r/t", 0), 0);
	assert_moved(&sandbox, &now, false);
}

/* ---- the note ---- */

static void note(const struct sandbox *sandbox, const char *host, const char *ref, const char *oid)
{
	automemo struct memo memo = MEMO_INIT;
	autoerror struct error err = ERROR_INIT;

	memo.fingerprint = fingerprint(sandbox);
	struct memo_repo *repo = memo_add_repo(&memo, "r", host);

	repo->applied = !ref;
	if (ref) {
		memo_add_ref(repo, ref, oid);
	} else {
		strv_add(&repo->files, "f");
		strv_add(&repo->files, "gone");
		repo->standing = memo_standing(host, &repo->files);
	}
	assert_success(memo_write(sandbox, &memo, &err), &err);
}

static void what_is_written_is_read(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	automemo struct memo memo = MEMO_INIT;

	create(*state, "/host/r", &root, &sandbox);
	assert_false(memo_read(&sandbox, &memo));
	/* What git takes for a ref need not be UTF-8. */
	note(&sandbox, "/host/r", "refs/heads/jib/one/m\xe4in", "0123");
	assert_true(memo_read(&sandbox, &memo));
	const struct memo_repo *repo = memo_find_repo(&memo, "r");

	assert_non_null(repo);
	assert_null(memo_find_repo(&memo, "s"));
	assert_string_equal(repo->host, "/host/r");
	assert_false(repo->applied);
	assert_int_equal(repo->ref_count, 1);
	assert_string_equal(repo->refs[0].ref, "refs/heads/jib/one/m\xe4in");
	assert_string_equal(repo->refs[0].oid, "0123");
}

static void what_cannot_be_noted(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	automemo struct memo memo = {.fingerprint = xstrdup("work-1")};
	autoerror struct error err = ERROR_INIT;

	create(*state, "/host/r", &root, &sandbox);
	memo_add_repo(&memo, "r", "/host/\xff");
	assert_failure(memo_write(&sandbox, &memo, &err), &err, ERR_UNSUPPORTED, "UTF-8");
	assert_false(exists(sandbox.fd, "persisted.json"));
}

static void assert_work(const struct root *root, const struct sandbox *sandbox, enum work expected)
{
	autoerror struct error err = ERROR_INIT;
	enum work work;

	assert_success(work_quick(root, sandbox, &work, &err), &err);
	assert_string_equal(work_name(work), work_name(expected));
}

static void whether_it_is_on_the_host(void **state)
{
	const struct temp *temp = *state;
	autoroot struct root root = ROOT_INIT;
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autofree char *host = make_repository(temp, "r");
	autofree char *oid = git_says(host, "rev-parse", "HEAD", NULL);

	create(temp, host, &root, &sandbox);
	assert_work(&root, &sandbox, WORK_NONE);
	put_text(sandbox.fd, "home/f", "");
	assert_work(&root, &sandbox, WORK_NONE);
	put_text(sandbox.fd, "upper/repos/r/f", "one");
	assert_work(&root, &sandbox, WORK_UNPERSISTED);
	note(&sandbox, host, "refs/heads/jib/main", oid);
	assert_work(&root, &sandbox, WORK_UNPERSISTED);
	git(host, "branch", "jib/main", NULL);
	assert_work(&root, &sandbox, WORK_PERSISTED);
	git(host, "pack-refs", "--all", NULL);
	assert_work(&root, &sandbox, WORK_PERSISTED);
	git(host, "branch", "-D", "jib/main", NULL);
	assert_work(&root, &sandbox, WORK_UNPERSISTED);
	git(host, "branch", "jib/main", NULL);
	assert_work(&root, &sandbox, WORK_PERSISTED);
	/* Another repository of that name. */
	free(sandbox.repos[0].host);
	sandbox.repos[0].host = xstrdup("/elsewhere");
	assert_work(&root, &sandbox, WORK_UNPERSISTED);
	free(sandbox.repos[0].host);
	sandbox.repos[0].host = xstrdup(host);
	put_text(sandbox.fd, "upper/repos/r/f", "two");
	assert_work(&root, &sandbox, WORK_UNPERSISTED);
	autofd int top = open(host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	put_text(top, "f", "two");
	note(&sandbox, host, NULL, NULL);
	assert_work(&root, &sandbox, WORK_PERSISTED);
	/* What was applied is taken back, or removed again. */
	put_text(top, "gone", "");
	assert_work(&root, &sandbox, WORK_UNPERSISTED);
	assert_int_equal(unlinkat(top, "gone", 0), 0);
	assert_work(&root, &sandbox, WORK_PERSISTED);
	assert_int_equal(unlinkat(top, "f", 0), 0);
	assert_work(&root, &sandbox, WORK_UNPERSISTED);
	put_text(top, "f", "two");
	note(&sandbox, host, NULL, NULL);
	assert_work(&root, &sandbox, WORK_PERSISTED);
	/* One that the note does not speak of. */
	struct sandbox_repo *more = sandbox_add_repo(&sandbox);

	more->name = xstrdup("s");
	more->host = xstrdup(host);
	make_dirs(sandbox.fd, "upper/repos/s");
	make_dirs(sandbox.fd, "upper/git/s");
	assert_work(&root, &sandbox, WORK_PERSISTED);
	put_text(sandbox.fd, "upper/git/s/f", "");
	assert_work(&root, &sandbox, WORK_UNPERSISTED);
}

static void refs_of_the_host(void **state)
{
	const struct temp *temp = *state;
	autofree char *host = make_repository(temp, "r");
	autofree char *oid = git_says(host, "rev-parse", "HEAD", NULL);

	assert_true(host_ref_is(host, "refs/heads/main", oid));
	assert_false(host_ref_is(host, "refs/heads/main", "0123"));
	assert_false(host_ref_is(host, "HEAD", oid));
	assert_false(host_ref_is(host, "refs/../refs/heads/../../../r/.git/refs/heads/none", oid));
	git(host, "symbolic-ref", "refs/heads/alias", "refs/heads/main", NULL);
	assert_false(host_ref_is(host, "refs/heads/alias", oid));
	git(host, "pack-refs", "--all", NULL);
	assert_true(host_ref_is(host, "refs/heads/main", oid));
	/* A loose one is the newer. */
	commit_file(host, "file", "more");
	assert_false(host_ref_is(host, "refs/heads/main", oid));
	git(host, "branch", "old", "HEAD~1", NULL);
	git(host, "pack-refs", "--all", NULL);
	assert_true(host_ref_is(host, "refs/heads/old", oid));
	assert_false(host_ref_is(temp->path, "refs/heads/main", oid));
}

/* ---- which ones gc removes ---- */

enum { NOW = 1000000, COUNT = 4 };

static void fill(struct candidate *candidates)
{
	static char names[COUNT][16] = {"new", "none", "persisted", "work"};
	const struct candidate all[COUNT] = {
		{.name = names[0], .work = WORK_NONE, .used.tv_sec = NOW - 10},
		{.name = names[1], .work = WORK_NONE, .used.tv_sec = NOW - 100},
		{.name = names[2], .work = WORK_PERSISTED, .used.tv_sec = NOW - 200},
		{.name = names[3], .work = WORK_UNPERSISTED, .used.tv_sec = NOW - 300},
	};

	memcpy(candidates, all, sizeof all);
}

/* `expected` has a character for each: R removed, K kept and said so, - not mentioned. */
static void assert_plan(struct gc_request request, const char *expected)
{
	struct candidate candidates[COUNT];

	fill(candidates);
	gc_plan(&request, NOW, candidates, COUNT);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(candidates[i].removed	? 'R'
				 : candidates[i].reason ? 'K'
							: '-',
				 expected[i]);
}

static void plans(void **state)
{
	(void)state;
	assert_plan((struct gc_request){0}, "-R--");
	assert_plan((struct gc_request){.aged = true, .older_than = 0}, "RRRK");
	assert_plan((struct gc_request){.aged = true, .older_than = 150}, "--RK");
	assert_plan((struct gc_request){.aged = true, .older_than = 301}, "----");
	assert_plan((struct gc_request){.aged = true, .older_than = 150, .force = true}, "--RR");
	assert_plan((struct gc_request){.force = true}, "-R--");
}

static void plans_for_room(void **state)
{
	struct sandbox_usage sandboxes[] = {
		{.name = (char[]){"new"}, .own.bytes = 10},
		{.name = (char[]){"none"}, .own.bytes = 10},
		{.name = (char[]){"persisted"}, .own.bytes = 10},
		{.name = (char[]){"work"}, .own.bytes = 10},
	};
	struct layer_usage layers[] = {{.id = (char[]){"tree-1"}, .own.bytes = 100},
				       {.id = (char[]){"tree-2"}, .own.bytes = 1000}};
	struct store_usage usage = {sandboxes, COUNT, layers, 2, {.bytes = 1}};
	struct gc_request request = {.capped = true, .max_disk = 1140};
	struct candidate candidates[COUNT];

	(void)state;
	/* Nobody uses the second. */
	for (size_t i = 0; i < COUNT; i++)
		strv_add(&sandboxes[i].layers, "tree-1");
	fill(candidates);
	assert_int_equal(gc_plan_cap(&request, NOW, &usage, candidates, COUNT), 141);
	assert_null(candidates[1].reason);
	/* What has no work goes before what is older. */
	request.max_disk = 131;
	assert_int_equal(gc_plan_cap(&request, NOW, &usage, candidates, COUNT), 131);
	assert_true(candidates[1].removed && !candidates[2].removed);
	request.max_disk = 130;
	assert_int_equal(gc_plan_cap(&request, NOW, &usage, candidates, COUNT), 121);
	assert_true(candidates[2].removed);
	request.max_disk = 1;
	assert_int_equal(gc_plan_cap(&request, NOW, &usage, candidates, COUNT), 121);
	assert_false(candidates[3].removed || candidates[0].removed);
	assert_contains(candidates[3].reason, "unpersisted");
	/* With the last of its sandboxes a layer goes. */
	fill(candidates);
	request = (struct gc_request){.capped = true, .max_disk = 1, .aged = true, .force = true};
	candidates[0].held = (char[]){"it is running"};
	assert_int_equal(gc_plan_cap(&request, NOW, &usage, candidates, COUNT), 111);
	assert_string_equal(candidates[0].reason, "it is running");
	candidates[0].held = NULL;
	assert_int_equal(gc_plan_cap(&request, NOW, &usage, candidates, COUNT), 1);
	for (size_t i = 0; i < COUNT; i++)
		strv_release(&sandboxes[i].layers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(what_changes_it),
		WITH_TEMP(what_does_not),
		WITH_TEMP(what_is_written_is_read),
		WITH_TEMP(what_cannot_be_noted),
		WITH_TEMP(whether_it_is_on_the_host),
		WITH_TEMP(refs_of_the_host),
		cmocka_unit_test(plans),
		cmocka_unit_test(plans_for_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
