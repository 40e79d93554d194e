/* A sandbox's record of arbitrary bytes: opened or refused, and what is opened can be used. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "store/layer.h"
#include "store/sandbox.h"
#include "support.h"
#include "view/view.h"

static struct root root = ROOT_INIT;

static void close_root(void)
{
	root_close(&root);
}

static void prepare(void)
{
	struct error err = ERROR_INIT;
	const char *path;
	int directory = fuzz_directory(&path);

	if (root.fd >= 0)
		return;
	autofree char *place = xasprintf("%s/root", path);
	autofd int fd = -1;

	MUST(mkdirat(directory, "root", 0700) == 0);
	setenv("JIB_ROOT", place, 1);
	MUST(root_open(NULL, &root, &err) == 0 && atexit(close_root) == 0);
	/* What a good record names is there. */
	static const char *const dirs[] = {
		"one/upper/repos/r", "one/upper/git/r", "one/work/repos/r", "one/work/git/r",
		"one/work/home",     "one/home",	".layers/t/tree",   ".layers/g/tree"};

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		MUST(dir_make_path_at(root.fd, dirs[i], 0700, &fd, &err) == 0);
		fd_close(&fd);
	}
}

static void put(const char *name, const uint8_t *data, size_t size)
{
	autofd int fd = openat(root.fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	MUST(fd >= 0 && write_all(fd, data, size) == 0);
}

static void use(struct sandbox *sandbox)
{
	struct view view = VIEW_INIT;
	struct view_changes changes;
	struct error err = ERROR_INIT;
	enum sandbox_state state;

	MUST(sandbox->home[0] == '/' && sandbox->created);
	for (size_t i = 0; i < sandbox->repo_count; i++) {
		const struct sandbox_repo *repo = &sandbox->repos[i];

		MUST(!strchr(repo->name, '/') && *repo->name && strcmp(repo->name, "..") != 0);
		MUST(repo->path[0] == '/' && repo->host);
		MUST(!repo->git_path || repo->git_path[0] == '/');
		MUST(!repo->live_git_dir == !repo->live_common_dir);
		for (size_t k = 0; k < repo->tree.len; k++)
			MUST(!strchr(repo->tree.items[k], '/') && repo->tree.items[k][0] != '.');
	}
	MUST(sandbox_state(sandbox, &state, &err) == 0 && state == SANDBOX_CREATED);
	if (view_open(&root, sandbox, false, &view, &err) < 0)
		MUST(err.code != ERR_NONE);
	view_release(&view);
	error_clear(&err);
	view_changes(sandbox, &changes, &err);
	error_clear(&err);
	/* What was read can be written, and is read again as the same. */
	free(sandbox->name);
	sandbox->name = xstrdup("two");
	if (sandbox_create(&root, sandbox, false, NULL, &err) == 0) {
		struct sandbox again = SANDBOX_INIT;

		MUST(sandbox_open(&root, "two", &again, &err) == 0);
		MUST(again.repo_count == sandbox->repo_count && again.live == sandbox->live);
		MUST(strcmp(again.home, sandbox->home) == 0);
		sandbox_release(&again);
		MUST(sandbox_remove(&root, "two", &err) == 0);
	}
	error_clear(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sandbox sandbox = SANDBOX_INIT;
	struct error err = ERROR_INIT;
	json_t *description = NULL;
	autofd int fd = -1;

	prepare();
	put("one/sandbox.json", data, size);
	if (sandbox_open(&root, "one", &sandbox, &err) == 0)
		use(&sandbox);
	else
		MUST(err.code == ERR_CORRUPT && err.hint);
	sandbox_release(&sandbox);
	error_clear(&err);
	/* The same bytes as the description of a layer */
	put(".layers/t/layer.json", data, size);
	int result = layer_open(&root, "t", &description, &fd, &err);

	MUST(result == 0 ? description && fd >= 0 : !description && fd < 0);
	MUST(result >= 0 || err.code == ERR_CORRUPT);
	if (description)
		layer_is_settled(description);
	json_decref(description);
	error_clear(&err);
	return 0;
}
