#include "support.h"

#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/process.h"
#include "store/collect.h"
#include "store/layer.h"
#include "store/sandbox.h"

/* A layer with this description, as JSON. */
static void make_layer(const struct root *root, const char *id, const char *description)
{
	automaking struct layer_making making = LAYER_MAKING_INIT;
	autoerror struct error err = ERROR_INIT;

	assert_int_equal(layer_begin(root, id, &making, &err), 0);
	make_dirs(making.fd, "tree");
	put_text(making.fd, "tree/content", id);
	assert_success(layer_finish(&making, json_loads(description, 0, NULL), &err), &err);
}

/* A sandbox on one tree layer. */
static void make_sandbox(const struct root *root, const char *name, const char *layer)
{
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoerror struct error err = ERROR_INIT;
	struct sandbox_repo *repo;

	sandbox.name = xstrdup(name);
	sandbox.home = xstrdup("/home/me");
	repo = sandbox_add_repo(&sandbox);
	repo->name = xstrdup("r");
	repo->host = xstrdup("/work/r");
	repo->path = xstrdup("/work/r");
	strv_add(&repo->tree, layer);
	assert_success(sandbox_create(root, &sandbox, false, NULL, &err), &err);
}

/* "id id !kept", sorted, of what was collected. */
static char *collected(const struct root *root, const struct strv *only, bool dry_run)
{
	autocollection struct collection collection = {0};
	autoerror struct error err = ERROR_INIT;
	struct str text = STR_INIT;

	assert_success(collect(root, only, dry_run, &collection, &err), &err);
	for (size_t i = 0; i < collection.count; i++) {
		const struct collected *item = &collection.items[i];

		if (!item->kept)
			assert_true(item->bytes >= 4096);
		str_addf(&text, "%s%s%s", i ? " " : "", item->kept ? "!" : "", item->id);
	}
	return str_take(&text);
}

static void assert_collected(const struct root *root, const char *expected)
{
	autofree char *found = collected(root, NULL, false);

	assert_string_equal(found, expected);
}

static void assert_refused(const struct root *root, const char *why)
{
	autocollection struct collection collection = {0};
	autoerror struct error err = ERROR_INIT;
	size_t before = count_entries(root->layers);

	assert_failure(collect(root, NULL, false, &collection, &err), &err, ERR_CORRUPT, why);
	assert_contains(err.message, "no layer is removed");
	assert_int_equal(count_entries(root->layers), before);
	assert_int_equal(collection.count, 0);
}

static void only_what_no_record_names(void **state)
{
	autoroot struct root root = ROOT_INIT;
	size_t fds;

	open_test_root(*state, &root);
	make_layer(&root, "tree-a", "{}");
	make_layer(&root, "tree-b", "{}");
	make_layer(&root, "tree-c", "{}");
	make_sandbox(&root, "one", "tree-a");
	make_sandbox(&root, "two", "tree-a");
	make_sandbox(&root, "three", "tree-c");
	fds = count_fds();
	assert_collected(&root, "tree-b");
	assert_false(exists(root.layers, "tree-b"));
	assert_collected(&root, "");
	assert_success(sandbox_remove(&root, "one", NULL), &(struct error)ERROR_INIT);
	assert_success(sandbox_remove(&root, "three", NULL), &(struct error)ERROR_INIT);
	assert_collected(&root, "tree-c");
	assert_true(exists(root.layers, "tree-a/tree/content"));
	assert_int_equal(count_entries(root.temp), 0);
	assert_int_equal(count_fds(), fds);
}

/* What a sandbox or one of its checkpoints stands on is used; what neither does is not. */
static void what_sandboxes_stand_on(void **state)
{
	autosandbox struct sandbox sandbox = SANDBOX_INIT;
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;

	open_test_root(*state, &root);
	make_layer(&root, "tree", "{}");
	make_layer(&root, "state-now", "{\"kind\":\"state\"}");
	make_layer(&root, "state-then", "{\"kind\":\"state\"}");
	make_layer(&root, "state-other", "{\"kind\":\"state\"}");
	make_sandbox(&root, "one", "tree");
	assert_success(sandbox_open(&root, "one", &sandbox, &err), &err);
	strv_add(&sandbox.states, "state-then");
	assert_int_equal(sandbox_add_checkpoint(&sandbox, "then")->number, 1);
	assert_false(sandbox_keeps_others(&sandbox));
	strv_release(&sandbox.states);
	strv_add(&sandbox.states, "state-now");
	assert_true(sandbox_keeps_others(&sandbox));
	assert_success(sandbox_rewrite(&sandbox, &err), &err);
	assert_collected(&root, "state-other");
	assert_success(sandbox_remove(&root, "one", &err), &err);
	assert_collected(&root, "state-now state-then tree");
}

static void what_a_used_layer_names(void **state)
{
	autoroot struct root root = ROOT_INIT;

	open_test_root(*state, &root);
	make_layer(&root, "git-used", "{\"tree\": \"tree-1\", \"base\": \"tree-other\"}");
	make_layer(&root, "tree-1", "{\"stack\": [\"tree-2\", \"tree-3\", 7, \"../x\"]}");
	make_layer(&root, "tree-2", "{\"parent\": \"tree-4\", \"layers\": [\"git-used\"]}");
	make_layer(&root, "tree-3", "{\"tree\": [\"tree-5\"], \"kind\": \"tree-other\"}");
	make_layer(&root, "tree-4", "{}");
	make_layer(&root, "tree-5", "{\"layers\": [\"tree-6\"]}");
	make_layer(&root, "tree-6", "{}");
	make_layer(&root, "tree-other", "{}");
	/* Itself unused, it keeps nothing. */
	make_layer(&root, "git-unused", "{\"tree\": \"tree-lost\"}");
	make_layer(&root, "tree-lost", "{\"parent\": \"git-unused\"}");
	make_sandbox(&root, "one", "git-used");
	assert_collected(&root, "git-unused tree-lost tree-other");
	assert_int_equal(count_entries(root.layers), 7);
	/* A layer of an earlier boot is not usable; what it names may be in use all the same. */
	autofd int tree = open_beneath(root.layers, "tree-3", O_RDONLY | O_DIRECTORY, 0);

	put_text(tree, "layer.json", "{\"boot\": \"another\", \"tree\": [\"tree-5\"]}");
	assert_collected(&root, "");
	put_text(tree, "layer.json", "{}");
	assert_collected(&root, "tree-5 tree-6");
}

static void what_somebody_holds(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autoholds struct layer_holds first = {0}, holds = {0};
	autoerror struct error err = ERROR_INIT;

	open_test_root(*state, &root);
	make_layer(&root, "git-1", "{\"tree\": \"tree-1\"}");
	make_layer(&root, "git-2", "{\"tree\": \"tree-1\"}");
	make_layer(&root, "tree-1", "{}");
	make_layer(&root, "tree-2", "{}");
	assert_int_equal(layer_holds_add(&root, "git-1", &first, &err), 0);
	assert_int_equal(layer_holds_add(&root, "tree-3", &first, &err), 1);
	layer_holds_move(&first, &holds);
	assert_int_equal(first.count, 0);
	assert_int_equal(layer_holds_add(&root, "git-1", &first, &err), 0);
	layer_holds_move(&first, &holds);
	assert_int_equal(holds.count, 2);
	assert_collected(&root, "!git-1 git-2 tree-2");
	layer_holds_release(&holds);
	assert_collected(&root, "git-1 tree-1");
	assert_int_equal(layer_holds_add(&root, "git-1", &holds, &err), 1);
	assert_int_equal(holds.count, 0);
}

static void nothing_when_a_record_cannot_be_read(void **state)
{
	autoroot struct root root = ROOT_INIT;

	open_test_root(*state, &root);
	make_layer(&root, "tree-1", "{}");
	make_sandbox(&root, "one", "tree-2");
	make_dirs(root.fd, "two");
	assert_refused(&root, "sandbox two is broken");
	put_text(root.fd, "two/sandbox.json", "{\"schema\": 99}");
	assert_refused(&root, "schema 99");
	/* Not a sandbox */
	assert_int_equal(renameat(root.fd, "two", root.fd, "_two"), 0);
	assert_collected(&root, "tree-1");
}

static void nothing_when_a_used_layer_cannot_be_read(void **state)
{
	autoroot struct root root = ROOT_INIT;

	open_test_root(*state, &root);
	make_layer(&root, "tree-1", "{}");
	make_layer(&root, "tree-2", "{}");
	make_sandbox(&root, "one", "tree-2");
	put_text(root.layers, "tree-2/layer.json", "no description");
	assert_refused(&root, "tree-2");
	/* An unused one need not be read. */
	assert_int_equal(renameat(root.layers, "tree-2", root.layers, "tree-3"), 0);
	assert_collected(&root, "tree-1 tree-3");
}

static void telling_without_removing(void **state)
{
	autoroot struct root root = ROOT_INIT;

	open_test_root(*state, &root);
	make_layer(&root, "tree-1", "{}");
	make_layer(&root, "tree-2", "{}");
	make_sandbox(&root, "one", "tree-2");
	autofree char *dry = collected(&root, NULL, true);

	assert_string_equal(dry, "tree-1");
	assert_int_equal(count_entries(root.layers), 2);
	assert_collected(&root, "tree-1");
}

static void only_some(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autostrv struct strv only = STRV_INIT;

	open_test_root(*state, &root);
	make_layer(&root, "tree-1", "{\"parent\": \"tree-2\"}");
	make_layer(&root, "tree-2", "{}");
	make_layer(&root, "tree-3", "{}");
	make_sandbox(&root, "one", "tree-3");
	autofree char *none = collected(&root, &only, false);

	assert_string_equal(none, "");
	strv_add(&only, "tree-3");
	strv_add(&only, "tree-1");
	strv_add(&only, "tree-missing");
	strv_add(&only, "tree-1");
	autofree char *found = collected(&root, &only, false);

	assert_string_equal(found, "tree-1");
	assert_int_equal(count_entries(root.layers), 2);
}

/* More than are locked at once, and what is not a layer. */
static void many(void **state)
{
	enum { MANY = 300 };
	autoroot struct root root = ROOT_INIT;
	autocollection struct collection collection = {0};
	autoerror struct error err = ERROR_INIT;

	open_test_root(*state, &root);
	for (int i = 0; i < MANY; i++) {
		autofree char *path = xasprintf("tree-%d/closed", i);

		make_dirs(root.layers, path);
		assert_int_equal(fchmodat(root.layers, path, 0, 0), 0);
	}
	put_text(root.layers, "tree-7/layer.json", "{}");
	make_dirs(root.layers, ".seen/tree-1");
	put_text(root.layers, "a-file", "x");
	make_sandbox(&root, "one", "tree-7");
	assert_success(collect(&root, NULL, false, &collection, &err), &err);
	assert_int_equal(collection.count, MANY - 1);
	assert_true(exists(root.layers, "tree-7"));
	assert_true(exists(root.layers, ".seen/tree-1"));
	assert_true(exists(root.layers, "a-file"));
	assert_int_equal(count_entries(root.layers), 3);
	assert_int_equal(count_entries(root.temp), 0);
}

static int closed_body(const struct temp *temp)
{
	autoroot struct root root = ROOT_INIT;
	autocollection struct collection collection = {0};

	open_test_root(temp, &root);
	NEED(fchmodat(root.layers, "tree-1", 0, 0) == 0);
	NEED(collect(&root, NULL, false, &collection, NULL) == 0);
	NEED(fchmodat(root.layers, "tree-1", 0700, 0) == 0);
	NEED(collection.count == 2);
	NEED(strcmp(collection.items[0].id, "tree-1") == 0 && collection.items[0].kept);
	NEED(strcmp(collection.items[1].id, "tree-2") == 0 && !collection.items[1].kept);
	NEED(!exists(root.layers, "tree-2"));
	return 0;
}

/* One that cannot be opened keeps no other. */
static void a_closed_layer(void **state)
{
	autoroot struct root root = ROOT_INIT;

	open_test_root(*state, &root);
	make_layer(&root, "tree-1", "{}");
	make_layer(&root, "tree-2", "{}");
	in_user_child(closed_body, *state);
}

/* What has another name elsewhere is not freed. */
static void what_is_freed(void **state)
{
	enum { SIZE = 1 << 20 };
	autoroot struct root root = ROOT_INIT;
	autocollection struct collection collection = {0};
	autoerror struct error err = ERROR_INIT;
	autofree char *bytes = xcalloc(1, SIZE);

	open_test_root(*state, &root);
	memset(bytes, 'x', SIZE);
	make_layer(&root, "git-1", "{}");
	make_layer(&root, "tree-1", "{}");
	put_bytes(root.layers, "tree-1/index", bytes, SIZE);
	assert_int_equal(linkat(root.layers, "tree-1/index", root.layers, "git-1/index", 0), 0);
	put_bytes(root.layers, "git-1/pack", bytes, SIZE);
	assert_int_equal(linkat(root.layers, "git-1/pack", root.fd, "elsewhere", 0), 0);
	assert_success(collect(&root, NULL, false, &collection, &err), &err);
	assert_int_equal(collection.count, 2);
	assert_true(collection.items[0].bytes < SIZE / 2);
	assert_true(collection.items[1].bytes >= SIZE && collection.items[1].bytes < 2UL * SIZE);
}

/* Whether somebody waits for a lock of this file. */
static bool is_waited_for(int fd)
{
	autofd int locks = open("/proc/locks", O_RDONLY | O_CLOEXEC);
	autostr struct str text = STR_INIT;
	struct stat st;

	if (locks < 0 || fstat(fd, &st) < 0 || read_all(locks, 64 << 20, &text, NULL) < 0)
		return false;
	autofree char *inode = xasprintf(":%llu ", (unsigned long long)st.st_ino);
	char *rest = NULL;

	for (char *line = strtok_r(text.s, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (strstr(line, " -> ") && strstr(line, inode))
			return true;
	return false;
}

/* Has locked a torn layer, and lets go of it when the newcomer waits for its end. */
static int collector(const struct temp *temp, int started)
{
	autoroot struct root root = ROOT_INIT;
	autofd int lock = -1;

	open_test_root(temp, &root);
	autofd int layer = open_beneath(root.layers, "tree-1", O_RDONLY | O_DIRECTORY, 0);

	NEED(root_lock_collecting(&root, &lock, NULL) == 0);
	NEED(lock_directory_try(layer, NULL) == 0);
	NEED(write(started, "x", 1) == 1);
	while (!is_waited_for(lock))
		sched_yield();
	fd_close(&layer);
	return 0;
}

static void a_torn_layer_that_is_looked_at(void **state)
{
	autoroot struct root root = ROOT_INIT;
	automaking struct layer_making making = LAYER_MAKING_INIT;
	autoerror struct error err = ERROR_INIT;
	int started[2], status = -1;
	char byte;

	open_test_root(*state, &root);
	make_layer(&root, "tree-1", "{}");
	put_text(root.layers, "tree-1/layer.json", "{\"boot\": \"another\"}");
	assert_int_equal(pipe2(started, O_CLOEXEC), 0);
	pid_t pid = fork();

	if (pid == 0)
		_exit(collector(*state, started[1]));
	assert_int_equal(read(started[0], &byte, 1), 1);
	/* Nobody uses it: that is not for the newcomer to fail on. */
	assert_success(layer_begin(&root, "tree-1", &making, &err), &err);
	assert_false(exists(root.layers, "tree-1"));
	assert_int_equal(wait_for(pid, &status), 0);
	assert_int_equal(status, 0);
	close(started[0]);
	close(started[1]);
}

static void a_store_that_is_not_there(void **state)
{
	struct root root = ROOT_INIT;
	autocollection struct collection collection = {0};
	autoerror struct error err = ERROR_INIT;

	(void)state;
	assert_success(collect(&root, NULL, false, &collection, &err), &err);
	assert_int_equal(collection.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(only_what_no_record_names),
		WITH_TEMP(what_sandboxes_stand_on),
		WITH_TEMP(what_a_used_layer_names),
		WITH_TEMP(what_somebody_holds),
		WITH_TEMP(nothing_when_a_record_cannot_be_read),
		WITH_TEMP(nothing_when_a_used_layer_cannot_be_read),
		WITH_TEMP(telling_without_removing),
		WITH_TEMP(only_some),
		WITH_TEMP(many),
		WITH_TEMP(a_closed_layer),
		WITH_TEMP(what_is_freed),
		WITH_TEMP(a_torn_layer_that_is_looked_at),
		WITH_TEMP(a_store_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
