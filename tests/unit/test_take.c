#include "support.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "snapshot/take.h"

struct scene {
	const struct temp *temp;
	char *path;
	struct root root;
	struct repository repository;
	struct local_wishes wishes;
	struct taken taken;
	char *tree; /* where the layers are put together */
	char *git;
};

static void scene_release(struct scene *scene)
{
	free(scene->path);
	root_close(&scene->root);
	repository_release(&scene->repository);
	taken_release(&scene->taken);
	free(scene->tree);
	free(scene->git);
}

#define autoscene __attribute__((cleanup(scene_release)))

/* A repository with two commits, of which the first one is tagged. */
static struct scene scene_setup(const struct temp *temp)
{
	struct scene scene = {
		.temp = temp,
		.path = make_repository(temp, "r"),
		.root = ROOT_INIT,
		.tree = temp_path(temp, "view/tree"),
		.git = temp_path(temp, "view/git"),
		.wishes = {.ignored = true, .budget = 1 << 20},
	};
	autoerror struct error err = ERROR_INIT;

	git(scene.path, "tag", "first", NULL);
	commit_file(scene.path, "second", "2\n");
	open_test_root(temp, &scene.root);
	assert_success(repository_find(scene.path, &scene.repository, &err), &err);
	return scene;
}

static int try_take(struct scene *scene, const char *from, struct pin *recalled, struct error *err)
{
	const struct take_request request = {
		.repository = &scene->repository,
		.wishes = &scene->wishes,
		.from = from,
		.location = scene->repository.top,
	};

	taken_release(&scene->taken);
	return take_repository(&scene->root, &request, recalled, &scene->taken, err);
}

static void overlay(const struct scene *scene, const char *layer, const char *part, const char *to)
{
	autofree char *path = xasprintf("%s/%s", layer, part);
	autofd int from_fd = open_beneath(scene->root.layers, path, O_RDONLY | O_DIRECTORY, 0);
	autofd int to_fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (from_fd >= 0)
		lay_over(from_fd, to_fd);
}

/* Takes, and puts together what there is. */
static void take(struct scene *scene, const char *from, struct pin *recalled)
{
	autoerror struct error err = ERROR_INIT;
	const struct taken *taken = &scene->taken;

	assert_success(try_take(scene, from, recalled, &err), &err);
	assert_int_equal(tree_remove_at(scene->temp->fd, "view", NULL), 0);
	make_dirs(scene->temp->fd, "view/tree");
	make_dirs(scene->temp->fd, "view/git");
	for (size_t i = taken->pin.tree.len; i-- > 0;)
		overlay(scene, taken->pin.tree.items[i], "tree", scene->tree);
	overlay(scene, taken->pin.git.items[0], "tree", scene->git);
	if (taken->modules)
		overlay(scene, taken->modules, "tree", scene->tree);
	if (taken->local.id) {
		overlay(scene, taken->local.id, "tree", scene->tree);
		overlay(scene, taken->local.id, "git", scene->git);
	}
}

static void recall(const struct scene *scene, struct pin *ret)
{
	autoerror struct error err = ERROR_INIT;

	assert_success(pin_recall(&scene->root, &scene->repository, ret, &err), &err);
}

#define inside(scene, ...)                                                                       \
	git_says((scene)->tree, "--no-optional-locks", "--git-dir", (scene)->git, "--work-tree", \
		 (scene)->tree, __VA_ARGS__, NULL)

/* ---- the host goes on while it is taken ---- */

static void commit_in_between(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autopin struct pin recalled = {0};

	take(&scene, NULL, NULL);
	recall(&scene, &recalled);
	commit_file(scene.path, "third", "3\n");
	put_text(scene.temp->fd, "r/file", "uncommitted\n");
	autofree char *tip = git_says(scene.path, "rev-parse", "HEAD", NULL);

	take(&scene, NULL, &recalled);
	/* Files and history of one commit, and what is not committed against that one. */
	assert_string_equal(scene.taken.pin.head.commit, tip);
	autofree char *head = inside(&scene, "rev-parse", "HEAD");
	autofree char *status = inside(&scene, "status", "--porcelain");

	assert_string_equal(head, tip);
	assert_string_equal(status, " M file");
	assert_null(recalled.fingerprint);
	assert_int_equal(count_entries(scene.root.temp), 0);
}

/* What git status does not tell counts, too. */
static void ref_in_between(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autopin struct pin recalled = {0};

	take(&scene, NULL, NULL);
	recall(&scene, &recalled);
	git(scene.path, "branch", "meanwhile", NULL);
	take(&scene, NULL, &recalled);
	autofree char *ref = inside(&scene, "rev-parse", "--abbrev-ref", "meanwhile");

	assert_string_equal(ref, "meanwhile");
}

/* Without uncommitted work the moment is the one of the pin. */
static void clean_is_known(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autopin struct pin recalled = {0};
	autofree char *before = git_says(scene.path, "rev-parse", "HEAD", NULL);

	scene.wishes.clean = true;
	put_text(scene.temp->fd, "r/file", "uncommitted\n");
	take(&scene, NULL, NULL);
	recall(&scene, &recalled);
	commit_file(scene.path, "third", "3\n");
	take(&scene, NULL, &recalled);
	assert_string_equal(scene.taken.pin.head.commit, before);
	assert_null(scene.taken.local.id);
	autofree char *head = inside(&scene, "rev-parse", "HEAD");
	autofree char *status = inside(&scene, "status", "--porcelain");

	assert_string_equal(head, before);
	assert_string_equal(status, "");
}

/* An error that has nothing to do with the host's doings is one. */
static void error_is_kept(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autoerror struct error err = ERROR_INIT;

	scene.wishes.branch = "no..name";
	assert_failure(try_take(&scene, NULL, NULL, &err), &err, ERR_USAGE, "no..name");
}

/* ---- another commit ---- */

static void from(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autofree char *first = git_says(scene.path, "rev-parse", "first", NULL);

	git(scene.path, "branch", "old", "first", NULL);
	scene.wishes.clean = true;
	static const char *const names[] = {"first", "HEAD~", "old"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		take(&scene, names[i], NULL);
		assert_string_equal(scene.taken.pin.head.commit, first);
		autofree char *head = inside(&scene, "rev-parse", "HEAD");
		autofree char *branch = inside(&scene, "rev-parse", "--abbrev-ref", "HEAD");
		autofree char *status = inside(&scene, "status", "--porcelain");
		autofree char *files = inside(&scene, "ls-files");
		autofree char *host = inside(&scene, "rev-parse", "main~");

		assert_string_equal(head, first);
		/* A branch of that name is where a sandbox is then. */
		assert_string_equal(branch, i == 2 ? "old" : "HEAD");
		assert_string_equal(status, "");
		assert_string_equal(files, "file");
		assert_string_equal(host, first);
		assert_false(exists(scene.temp->fd, "view/tree/second"));
	}
}

static void from_nowhere(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autoerror struct error err = ERROR_INIT;

	scene.wishes.clean = true;
	assert_failure(try_take(&scene, "nowhere", NULL, &err), &err, ERR_NOT_FOUND, "nowhere");
	assert_null(scene.taken.pin.fingerprint);
	assert_int_equal(count_entries(scene.root.temp), 0);
}

static void branch(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autofree char *first = git_says(scene.path, "rev-parse", "first", NULL);
	autofree char *tip = git_says(scene.path, "rev-parse", "HEAD", NULL);

	scene.wishes.branch = "topic";
	put_text(scene.temp->fd, "r/file", "uncommitted\n");
	for (int i = 0; i < 2; i++) {
		scene.wishes.clean = i == 1;
		take(&scene, i ? "first" : NULL, NULL);
		autofree char *head = inside(&scene, "rev-parse", "HEAD");
		autofree char *name = inside(&scene, "symbolic-ref", "HEAD");
		autofree char *status = inside(&scene, "status", "--porcelain");

		assert_string_equal(head, i ? first : tip);
		assert_string_equal(name, "refs/heads/topic");
		assert_string_equal(status, i ? "" : " M file");
	}
	/* On the host there is none. */
	assert_int_not_equal(git_status(scene.path, "rev-parse", "-q", "--verify", "topic", NULL),
			     0);
}

/* ---- all of it ---- */

static void modules(void **state)
{
	autoscene struct scene scene = scene_setup(*state);
	autofree char *module = make_repository(scene.temp, "module");

	take(&scene, NULL, NULL);
	assert_null(scene.taken.modules);
	git(scene.path, "submodule", "--quiet", "add", module, "deep/m", NULL);
	git(scene.path, "commit", "-q", "-m", "module", NULL);
	put_text(scene.temp->fd, "r/deep/m/file", "uncommitted\n");
	take(&scene, NULL, NULL);
	assert_non_null(scene.taken.modules);
	autofree char *text = get_text(scene.temp->fd, "view/tree/deep/m/file");

	assert_string_equal(text, "uncommitted\n");
	/* Everything that was made is held: tree, git, modules. */
	assert_true(scene.taken.pin.holds.count >= 3);
	for (size_t i = 0; i < scene.taken.pin.holds.count; i++)
		assert_true(fcntl(scene.taken.pin.holds.fds[i], F_GETFD) >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(commit_in_between),
		WITH_TEMP(ref_in_between),
		WITH_TEMP(clean_is_known),
		WITH_TEMP(error_is_kept),
		WITH_TEMP(from),
		WITH_TEMP(from_nowhere),
		WITH_TEMP(branch),
		WITH_TEMP(modules),
	};

	return cmocka_run_group_tests_name("take", tests, NULL, NULL);
}
