#include "support.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "store/layer.h"

static void make_layer(const struct root *root, const char *id)
{
	automaking struct layer_making making = LAYER_MAKING_INIT;
	autoerror struct error err = ERROR_INIT;

	assert_int_equal(layer_begin(root, id, &making, &err), 0);
	put_text(making.fd, "content", id);
	assert_success(layer_finish(&making, json_pack("{s:s}", "kind", "test"), &err), &err);
}

/* 0 there, 1 not there, with the description's state. */
static int open_layer(const struct root *root, const char *id, bool *ret_settled)
{
	autoerror struct error err = ERROR_INIT;
	json_t *description = NULL;
	autofd int fd = -1;
	int result = layer_open(root, id, &description, &fd, &err);

	if (result < 0)
		fail_msg("%s", err.message);
	if (result == 0) {
		assert_true(exists(fd, "layer.json"));
		if (ret_settled)
			*ret_settled = layer_is_settled(description);
	}
	json_decref(description);
	return result;
}

static void making(void **state)
{
	autoroot struct root root = ROOT_INIT;
	struct layer_making making = LAYER_MAKING_INIT, second = LAYER_MAKING_INIT;
	autoerror struct error err = ERROR_INIT;
	size_t fds;

	open_test_root(*state, &root);
	fds = count_fds();
	assert_int_equal(open_layer(&root, "tree-1", NULL), 1);
	assert_int_equal(layer_begin(&root, "tree-1", &making, &err), 0);
	put_text(making.fd, "content", "x");
	/* Nobody sees it before it is complete. */
	assert_int_equal(open_layer(&root, "tree-1", NULL), 1);
	assert_int_equal(count_entries(root.layers), 0);
	assert_success(layer_finish(&making, json_pack("{s:s}", "kind", "test"), &err), &err);
	assert_int_equal(open_layer(&root, "tree-1", NULL), 0);
	assert_true(exists(root.layers, "tree-1/content"));
	assert_int_equal(layer_begin(&root, "tree-1", &second, &err), 1);
	/* Aborting what is finished, or was never begun, does nothing. */
	layer_abort(&making);
	layer_abort(&second);
	assert_int_equal(open_layer(&root, "tree-1", NULL), 0);
	assert_int_equal(count_entries(root.temp), 0);
	assert_int_equal(count_fds(), fds);
}

static void aborting(void **state)
{
	autoroot struct root root = ROOT_INIT;
	struct layer_making making = LAYER_MAKING_INIT;
	autoerror struct error err = ERROR_INIT;
	size_t fds;

	open_test_root(*state, &root);
	fds = count_fds();
	assert_int_equal(layer_begin(&root, "x", &making, &err), 0);
	make_dirs(making.fd, "tree/d");
	layer_abort(&making);
	assert_int_equal(open_layer(&root, "x", NULL), 1);
	assert_int_equal(count_entries(root.temp), 0);
	assert_int_equal(count_entries(root.layers), 0);
	/* The lock is free again, too. */
	make_layer(&root, "x");
	assert_int_equal(count_fds(), fds);
}

static void without_a_description(void **state)
{
	autoroot struct root root = ROOT_INIT;
	automaking struct layer_making making = LAYER_MAKING_INIT;
	autoerror struct error err = ERROR_INIT;

	open_test_root(*state, &root);
	assert_int_equal(layer_begin(&root, "x", &making, &err), 0);
	/* What json_pack() gives when a value is not UTF-8 */
	assert_failure(layer_finish(&making, json_pack("{s:s}", "k", "\xff"), &err), &err,
		       ERR_CORRUPT, "UTF-8");
	layer_abort(&making);
	assert_int_equal(count_entries(root.layers), 0);
	assert_int_equal(count_entries(root.temp), 0);
}

static void many_makers(void **state)
{
	enum { MAKERS = 12 };
	autoroot struct root root = ROOT_INIT;
	int *made =
		mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[MAKERS];

	assert_true(made != MAP_FAILED);
	open_test_root(*state, &root);
	for (int i = 0; i < MAKERS; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] > 0)
			continue;
		automaking struct layer_making mine = LAYER_MAKING_INIT;
		int result = layer_begin(&root, "x", &mine, NULL);

		if (result < 0)
			_exit(1);
		if (result == 0) {
			__atomic_add_fetch(made, 1, __ATOMIC_SEQ_CST);
			sched_yield();
			if (file_replace_at(mine.fd, "content", "x", 1, 0644, false, NULL) < 0 ||
			    layer_finish(&mine, json_pack("{}"), NULL) < 0)
				_exit(2);
		}
		if (faccessat(root.layers, "x/content", F_OK, 0) < 0)
			_exit(3);
		_exit(0);
	}
	for (int i = 0; i < MAKERS; i++) {
		int status;

		assert_int_equal(wait_for(pids[i], &status), 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(*made, 1);
	assert_int_equal(count_entries(root.layers), 1);
	assert_int_equal(count_entries(root.temp), 0);
	munmap(made, sizeof *made);
}

/* A maker that dies leaves the next one neither a lock nor half a layer. */
static void killed_maker(void **state)
{
	autoroot struct root root = ROOT_INIT;
	int status;

	open_test_root(*state, &root);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct layer_making mine = LAYER_MAKING_INIT;

		if (layer_begin(&root, "x", &mine, NULL) == 0 &&
		    mkdirat(mine.fd, "half", 0700) == 0)
			raise(SIGKILL);
		_exit(1);
	}
	assert_int_equal(wait_for(pid, &status), 0);
	assert_true(WIFSIGNALED(status));
	make_layer(&root, "x");
	assert_false(exists(root.layers, "x/half"));
	root_sweep(&root);
	assert_int_equal(count_entries(root.temp), 0);
}

/* ---- what a power cut may leave ---- */

static void of_another_boot(void **state)
{
	autoroot struct root root = ROOT_INIT;
	bool settled = true;

	open_test_root(*state, &root);
	make_layer(&root, "x");
	assert_int_equal(open_layer(&root, "x", &settled), 0);
	assert_false(settled);
	put_text(root.layers, "x/layer.json", "{\"boot\": \"00000000-another-boot\"}");
	put_text(root.layers, "x/torn", "");
	assert_int_equal(open_layer(&root, "x", NULL), 1);
	make_layer(&root, "x");
	assert_int_equal(open_layer(&root, "x", NULL), 0);
	assert_false(exists(root.layers, "x/torn"));
	assert_int_equal(count_entries(root.temp), 0);
}

/* ext4 and xfs leave a file empty that was not synced when the power went. */
static void empty_description(void **state)
{
	autoroot struct root root = ROOT_INIT;

	open_test_root(*state, &root);
	make_layer(&root, "x");
	put_text(root.layers, "x/layer.json", "");
	assert_int_equal(open_layer(&root, "x", NULL), 1);
	make_layer(&root, "x");
	assert_int_equal(open_layer(&root, "x", NULL), 0);
}

/* Somebody removed it: what is left is a layer no more. */
static void missing_description(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	autostrv struct strv references = STRV_INIT;
	autofd int held = -1;

	open_test_root(*state, &root);
	make_layer(&root, "x");
	assert_int_equal(layer_hold(&root, "x", &held, &err), 0);
	assert_int_equal(unlinkat(root.layers, "x/layer.json", 0), 0);
	assert_int_equal(open_layer(&root, "x", NULL), 1);
	assert_success(layer_references(&root, "x", &references, &err), &err);
	assert_int_equal(references.len, 0);
	/* Not under who uses it */
	struct layer_making none = LAYER_MAKING_INIT;

	assert_failure(layer_begin(&root, "x", &none, &err), &err, ERR_RUNNING, "in use");
	assert_true(exists(root.layers, "x/content"));
	fd_close(&held);
	make_layer(&root, "x");
	assert_int_equal(open_layer(&root, "x", NULL), 0);
}

static void settling(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	autostrv struct strv ids = STRV_INIT;
	bool settled = false;

	open_test_root(*state, &root);
	make_layer(&root, "one");
	make_layer(&root, "two");
	strv_add(&ids, "one");
	strv_add(&ids, "two");
	assert_success(layer_settle(&root, ids.items, &err), &err);
	assert_int_equal(open_layer(&root, "one", &settled), 0);
	assert_true(settled);
	assert_int_equal(open_layer(&root, "two", &settled), 0);
	assert_true(settled);
	autofree char *text = get_text(root.layers, "one/layer.json");

	assert_contains(text, "\"kind\": \"test\"");
	assert_lacks(text, "boot");
	assert_success(layer_settle(&root, ids.items, &err), &err);
	assert_success(layer_settle(&root, NULL, &err), &err);
	/* What is not there is not promised to last, nor what a power cut may have torn. */
	strv_add(&ids, "torn");
	assert_failure(layer_settle(&root, ids.items, &err), &err, ERR_CORRUPT, "torn");
	error_clear(&err);
	make_layer(&root, "torn");
	put_text(root.layers, "torn/layer.json", "{\"boot\": \"00000000-another-boot\"}");
	assert_failure(layer_settle(&root, ids.items, &err), &err, ERR_CORRUPT, "torn");
}

/* What a running sandbox looks at is not replaced under it. */
static void holding(void **state)
{
	autoroot struct root root = ROOT_INIT;
	autoerror struct error err = ERROR_INIT;
	automaking struct layer_making making = LAYER_MAKING_INIT;
	int first = -1, second = -1, none = -1;

	open_test_root(*state, &root);
	assert_int_equal(layer_hold(&root, "x", &none, &err), 1);
	make_layer(&root, "x");
	assert_success(layer_hold(&root, "x", &first, &err), &err);
	assert_success(layer_hold(&root, "x", &second, &err), &err);
	put_text(root.layers, "x/layer.json", "{\"boot\": \"00000000-another-boot\"}");
	assert_int_equal(layer_hold(&root, "x", &none, &err), 1);
	assert_int_equal(none, -1);
	fd_close(&first);
	assert_failure(layer_begin(&root, "x", &making, &err), &err, ERR_RUNNING, "in use");
	error_clear(&err);
	fd_close(&second);
	assert_success(layer_begin(&root, "x", &making, &err), &err);
	assert_false(exists(root.layers, "x"));
}

static void damaged(void **state)
{
	static const char *const texts[] = {
		"{", "[]", "null", "{\"a\":1,\"a\":2}", "{} x", "\xff", "{\"a\": \"\xff\"}",
	};
	autoroot struct root root = ROOT_INIT;

	open_test_root(*state, &root);
	make_layer(&root, "x");
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_t *untouched = NULL;
		int fd = -1;
		autoerror struct error err = ERROR_INIT;
		struct layer_making none = LAYER_MAKING_INIT;
		size_t fds = count_fds();

		put_text(root.layers, "x/layer.json", texts[i]);
		assert_failure(layer_open(&root, "x", &untouched, &fd, &err), &err, ERR_CORRUPT,
			       "layer x");
		assert_contains(err.hint, ".layers/x");
		assert_null(untouched);
		assert_int_equal(fd, -1);
		error_clear(&err);
		/* What sandboxes may stand on is not removed without being asked. */
		assert_failure(layer_begin(&root, "x", &none, &err), &err, ERR_CORRUPT, "layer x");
		assert_true(exists(root.layers, "x/content"));
		assert_int_equal(count_fds(), fds);
	}
}

static void strange_names(void **state)
{
	const struct temp *temp = *state;
	static const char *const ids[] = {"../.tmp", "link", "file", "/"};
	autoroot struct root root = ROOT_INIT;

	open_test_root(temp, &root);
	make_dirs(temp->fd, "outside");
	put_text(temp->fd, "outside/layer.json", "{}");
	assert_int_equal(symlinkat("../../outside", root.layers, "link"), 0);
	put_text(root.layers, "file", "");
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		json_t *untouched = NULL;
		int fd = -1;
		autoerror struct error err = ERROR_INIT;

		assert_failure(layer_open(&root, ids[i], &untouched, &fd, &err), &err, ERR_SYSTEM,
			       ids[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(making),
		WITH_TEMP(aborting),
		WITH_TEMP(without_a_description),
		WITH_TEMP(many_makers),
		WITH_TEMP(killed_maker),
		WITH_TEMP(of_another_boot),
		WITH_TEMP(holding),
		WITH_TEMP(empty_description),
		WITH_TEMP(missing_description),
		WITH_TEMP(settling),
		WITH_TEMP(damaged),
		WITH_TEMP(strange_names),
	};

	return cmocka_run_group_tests_name("layer", tests, NULL, NULL);
}
