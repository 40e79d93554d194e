#include "scene.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "review/host-path.h"

#define LINES "1\n2\n3\n4\n5\n6\n7\n8\n9\n"
#define FIRST "one\n2\n3\n4\n5\n6\n7\n8\n9\n"
#define LAST "1\n2\n3\n4\n5\n6\n7\n8\nnine\n"
#define BOTH "one\n2\n3\n4\n5\n6\n7\n8\nnine\n"

static char *scratch_text(const struct merge *merge, const char *path)
{
	autofree char *name = merge_scratch_name(merge, verdict_of(merge, path));

	return get_text(merge->scratch_fd, name);
}

static void same_or_taken(void **state)
{
	autoscene struct scene s;

	scene_init(&s, *state);
	scene_put(&s, BASE | HOST, "changed", "old\n");
	scene_put(&s, THEIRS, "changed", "new\n");
	scene_put(&s, BASE, "already", "old\n");
	scene_put(&s, HOST | THEIRS, "already", "new\n");
	scene_put(&s, THEIRS, "dir/added", "new\n");
	scene_put(&s, BASE | HOST, "gone", "old\n");
	scene_put(&s, BASE, "gone already", "old\n");
	scene_put(&s, BASE | HOST | THEIRS, "mode", "same\n");
	scene_mode(&s, THEIRS, "mode", 0755);
	scene_link(&s, BASE | HOST, "link", "a");
	scene_link(&s, THEIRS, "link", "b");
	scene_put(&s, BASE | HOST, "kind", "text\n");
	scene_link(&s, THEIRS, "kind", "/etc/passwd");
	scene_put_bytes(&s, BASE | HOST, "binary", "a\0b", 3);
	scene_put_bytes(&s, THEIRS, "binary", "a\0c", 3);
	const char *const taken[] = {"changed", "dir/added", "gone",  "mode",
				     "link",	"kind",	     "binary"};
	const char *const same[] = {"already", "gone already"};

	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		scene_change(&s, taken[i], NULL);
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		scene_change(&s, same[i], NULL);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		assert_verdict(&s, taken[i], VERDICT_TAKE, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		assert_verdict(&s, same[i], VERDICT_SAME, NULL);
}

static void text_of_both(void **state)
{
	autoscene struct scene s;
	automerge struct merge merge = MERGE_INIT;

	scene_init(&s, *state);
	git(s.repository.top, "config", "merge.conflictStyle", "diff3", NULL);
	scene_put(&s, BASE, "fits", LINES);
	scene_put(&s, HOST, "fits", FIRST);
	scene_put(&s, THEIRS, "fits", LAST);
	scene_mode(&s, THEIRS, "fits", 0755);
	scene_put(&s, BASE, "overlaps", "a\nb\nc\n");
	scene_put(&s, HOST, "overlaps", "a\nhost\nc\n");
	scene_put(&s, THEIRS, "overlaps", "a\nsandbox\nc\n");
	scene_put_bytes(&s, BASE, "binary", "a\0a", 3);
	scene_put_bytes(&s, HOST, "binary", "a\0b", 3);
	scene_put_bytes(&s, THEIRS, "binary", "a\0c", 3);
	scene_put(&s, BASE | THEIRS, "their mode", LINES);
	scene_mode(&s, THEIRS, "their mode", 0755);
	scene_put(&s, HOST, "their mode", FIRST);
	scene_change(&s, "fits", NULL);
	scene_change(&s, "overlaps", NULL);
	scene_change(&s, "binary", NULL);
	scene_change(&s, "their mode", NULL);
	scene_merge(&s, &merge);
	assert_int_equal(merge.conflicts, 2);
	assert_int_equal(verdict_of(&merge, "fits")->kind, VERDICT_MERGED);
	assert_true(verdict_of(&merge, "fits")->result.executable);
	autofree char *fits = scratch_text(&merge, "fits");

	assert_string_equal(fits, BOTH);
	const struct verdict *overlaps = verdict_of(&merge, "overlaps");

	assert_int_equal(overlaps->kind, VERDICT_CONFLICT);
	assert_true(overlaps->markers);
	assert_int_equal(overlaps->conflicts, 1);
	autofree char *text = scratch_text(&merge, "overlaps");

	assert_string_equal(text, "a\n<<<<<<< host\nhost\n=======\nsandbox\n>>>>>>> box\nc\n");
	assert_int_equal(verdict_of(&merge, "binary")->kind, VERDICT_CONFLICT);
	assert_contains(verdict_of(&merge, "binary")->reason, "binary");
	assert_false(verdict_of(&merge, "binary")->markers);
	assert_int_equal(verdict_of(&merge, "their mode")->kind, VERDICT_MERGED);
	assert_int_equal(verdict_of(&merge, "their mode")->source, SOURCE_HOST);
	assert_true(verdict_of(&merge, "their mode")->result.executable);
}

/* T50: whatever does not fit is named, with a reason. */
static void conflicts(void **state)
{
	autoscene struct scene s;
	static const struct {
		const char *path, *base, *host, *theirs, *reason;
	} cases[] = {
		{"deleted here", "a\n", NULL, "b\n", "deleted on the host"},
		{"deleted there", "a\n", "b\n", NULL, "deleted in the sandbox"},
		{"both added", NULL, "a\n", "b\n", "both have added it"},
	};

	scene_init(&s, *state);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].base)
			scene_put(&s, BASE, cases[i].path, cases[i].base);
		if (cases[i].host)
			scene_put(&s, HOST, cases[i].path, cases[i].host);
		if (cases[i].theirs)
			scene_put(&s, THEIRS, cases[i].path, cases[i].theirs);
		scene_change(&s, cases[i].path, NULL);
	}
	scene_link(&s, BASE, "links", "a");
	scene_link(&s, HOST, "links", "b");
	scene_link(&s, THEIRS, "links", "c");
	scene_change(&s, "links", NULL);
	scene_put(&s, BASE, "kind", "a\n");
	scene_link(&s, HOST, "kind", "b");
	scene_put(&s, THEIRS, "kind", "c\n");
	scene_change(&s, "kind", NULL);
	scene_put(&s, THEIRS, "directory", "c\n");
	scene_put(&s, HOST, "directory/untracked", "mine\n");
	scene_change(&s, "directory", NULL);
	make_dirs(s.host, "empty");
	scene_put(&s, THEIRS, "empty", "c\n");
	scene_change(&s, "empty", NULL);
	scene_put(&s, HOST, "file-here", "mine\n");
	scene_put(&s, THEIRS, "file-here/below", "c\n");
	scene_change(&s, "file-here/below", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_verdict(&s, cases[i].path, VERDICT_CONFLICT, cases[i].reason);
	assert_verdict(&s, "links", VERDICT_CONFLICT, "changed on both sides");
	assert_verdict(&s, "kind", VERDICT_CONFLICT, "a symbolic link on the host");
	assert_verdict(&s, "directory", VERDICT_CONFLICT, "a directory");
	assert_verdict(&s, "empty", VERDICT_CONFLICT, "a directory");
	assert_verdict(&s, "file-here/below", VERDICT_CONFLICT, "no directory");
}

/* T41: never opened, which for a FIFO would never return. */
static void special_files(void **state)
{
	autoscene struct scene s;
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	scene_init(&s, *state);
	assert_int_equal(mkfifoat(s.host, "fifo", 0600), 0);
	autofd int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct fd_path where = fd_path(s.host);

	snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", where.s);
	assert_int_equal(bind(socket_fd, (struct sockaddr *)&address, sizeof address), 0);
	scene_put(&s, BASE | THEIRS, "fifo", "a\n");
	scene_put(&s, THEIRS, "fifo", "b\n");
	scene_put(&s, THEIRS, "socket", "b\n");
	scene_put(&s, THEIRS, "fifo-above/file", "b\n");
	assert_int_equal(mkfifoat(s.host, "fifo-above", 0600), 0);
	scene_change(&s, "fifo", NULL);
	scene_change(&s, "socket", NULL);
	scene_change(&s, "fifo-above/file", NULL);
	assert_verdict(&s, "fifo", VERDICT_CONFLICT, "a FIFO");
	assert_verdict(&s, "socket", VERDICT_CONFLICT, "a FIFO");
	assert_verdict(&s, "fifo-above/file", VERDICT_CONFLICT, "no directory");
}

/* A version that is a FIFO by now, where a file was said to be. */
static void special_versions(void **state)
{
	autoscene struct scene s;
	automerge struct merge merge = MERGE_INIT;
	autoerror struct error err = ERROR_INIT;

	scene_init(&s, *state);
	scene_put(&s, THEIRS, "f", "a\n");
	scene_change(&s, "f", NULL);
	assert_int_equal(unlinkat(s.theirs, "f", 0), 0);
	assert_int_equal(mkfifoat(s.theirs, "f", 0600), 0);
	assert_failure(scene_try_merge(&s, &merge, &err), &err, ERR_UNSTABLE, "FIFO");
}

/* Of a sandbox too: one file that cannot be had is no reason not to tell of the others. */
static void unreadable_versions(void **state)
{
	autoscene struct scene s;
	char name[301];

	scene_init(&s, *state);
	memset(name, 'a', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	scene_put(&s, THEIRS, "f", "a\n");
	scene_change(&s, "f", NULL);
	s.changes[0].theirs.path = name;
	assert_verdict(&s, "f", VERDICT_CONFLICT, "cannot be read in the sandbox");
}

static int mounted(const struct temp *temp)
{
	struct change change = {.path = "dir/file"};
	autofree char *path = temp_path(temp, "r");
	autofree char *dir = temp_path(temp, "r/dir");
	autofree char *scratch = temp_path(temp, "scratch");
	automerge struct merge merge = MERGE_INIT;
	autorepository struct repository repository = REPOSITORY_INIT;
	autoerror struct error err = ERROR_INIT;

	change.theirs = (struct side){SIDE_FILE, false, temp->fd, "theirs/f"};
	NEED(mount("none", dir, "tmpfs", 0, NULL) == 0);
	NEED(repository_find(path, &repository, &err) == 0);
	NEED(merge_make(&(struct merge_request){&repository, &change, 1, "box", scratch}, &merge,
			&err) == 0);
	NEED(merge.items[0].kind == VERDICT_CONFLICT);
	NEED(strstr(merge.items[0].reason, "on another file system"));
	return 0;
}

static void mount_in_the_work_tree(void **state)
{
	autoscene struct scene s;

	scene_init(&s, *state);
	make_dirs(s.host, "dir");
	scene_put(&s, THEIRS, "f", "new\n");
	in_mount_child(mounted, s.temp);
}

/* T49 */
static void host_directory_is_a_link(void **state)
{
	autoscene struct scene s;

	scene_init(&s, *state);
	make_dirs(s.temp->fd, "outside");
	put_text(s.temp->fd, "outside/file", "base\n");
	scene_link(&s, HOST, "dir", "../outside");
	scene_put(&s, BASE, "dir/file", "base\n");
	scene_put(&s, THEIRS, "dir/file", "evil\n");
	scene_put(&s, THEIRS, "dir/new", "evil\n");
	scene_put(&s, BASE, "dir/gone", "base\n");
	put_text(s.temp->fd, "outside/gone", "base\n");
	scene_change(&s, "dir/file", NULL);
	scene_change(&s, "dir/new", NULL);
	scene_change(&s, "dir/gone", NULL);
	assert_verdict(&s, "dir/file", VERDICT_CONFLICT, "no directory");
	assert_verdict(&s, "dir/new", VERDICT_CONFLICT, "no directory");
	assert_verdict(&s, "dir/gone", VERDICT_CONFLICT, "no directory");
}

static void renames(void **state)
{
	autoscene struct scene s;
	automerge struct merge merge = MERGE_INIT;

	scene_init(&s, *state);
	scene_put(&s, BASE | HOST, "plain", LINES);
	scene_put(&s, THEIRS, "to/plain", LAST);
	scene_put(&s, BASE, "edited", LINES);
	scene_put(&s, HOST, "edited", FIRST);
	scene_put(&s, THEIRS, "to/edited", LAST);
	scene_put(&s, BASE, "pure", LINES);
	scene_put(&s, HOST, "pure", FIRST);
	scene_put(&s, THEIRS, "to/pure", LINES);
	scene_put(&s, BASE | HOST, "taken", LINES);
	scene_put(&s, HOST, "to/taken", "mine\n");
	scene_put(&s, THEIRS, "to/taken", LINES);
	scene_put(&s, BASE, "gone", LINES);
	scene_put(&s, THEIRS, "to/gone", LINES);
	scene_put(&s, BASE, "done", LINES);
	scene_put(&s, HOST | THEIRS, "to/done", LAST);
	scene_change(&s, "to/plain", "plain");
	scene_change(&s, "to/edited", "edited");
	scene_change(&s, "to/pure", "pure");
	scene_change(&s, "to/taken", "taken");
	scene_change(&s, "to/gone", "gone");
	scene_change(&s, "to/done", "done");
	scene_merge(&s, &merge);
	assert_int_equal(verdict_of(&merge, "to/plain")->kind, VERDICT_TAKE);
	assert_int_equal(verdict_of(&merge, "to/edited")->kind, VERDICT_MERGED);
	autofree char *text = scratch_text(&merge, "to/edited");

	assert_string_equal(text, BOTH);
	assert_int_equal(verdict_of(&merge, "to/pure")->kind, VERDICT_MERGED);
	assert_int_equal(verdict_of(&merge, "to/pure")->source, SOURCE_HOST);
	assert_int_equal(verdict_of(&merge, "to/taken")->kind, VERDICT_CONFLICT);
	assert_int_equal(verdict_of(&merge, "to/gone")->kind, VERDICT_CONFLICT);
	assert_contains(verdict_of(&merge, "to/gone")->reason, "which the host has no more");
	assert_int_equal(verdict_of(&merge, "to/done")->kind, VERDICT_SAME);
}

static void directories_and_files_change_places(void **state)
{
	autoscene struct scene s;

	scene_init(&s, *state);
	scene_put(&s, BASE | HOST, "d/a", "a\n");
	scene_put(&s, BASE | HOST, "d/e/b", "b\n");
	scene_put(&s, THEIRS, "d", "file\n");
	scene_put(&s, BASE | HOST, "f", "f\n");
	scene_put(&s, THEIRS, "f/x", "x\n");
	scene_put(&s, BASE | HOST, "kept/a", "a\n");
	scene_put(&s, HOST, "kept/mine", "mine\n");
	scene_put(&s, THEIRS, "kept", "file\n");
	scene_put(&s, BASE, "edited/a", "a\n");
	scene_put(&s, HOST, "edited/a", "edited\n");
	scene_put(&s, THEIRS, "edited", "file\n");
	const char *const paths[] = {"d/a",    "d/e/b", "d",	    "f",     "f/x",
				     "kept/a", "kept",	"edited/a", "edited"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		scene_change(&s, paths[i], NULL);
	for (size_t i = 0; i < 5; i++)
		assert_verdict(&s, paths[i], VERDICT_TAKE, NULL);
	assert_verdict(&s, "kept", VERDICT_CONFLICT, "a directory");
	assert_verdict(&s, "edited/a", VERDICT_CONFLICT, "deleted in the sandbox");
	assert_verdict(&s, "edited", VERDICT_CONFLICT, "a directory");
}

static void refused_paths(void **state)
{
	static const char *const bad[] = {".git",
					  ".git/config",
					  "a/.git/hooks/x",
					  ".GIT/config",
					  ".Git",
					  "git~1",
					  "GIT~1/config",
					  ".git./x",
					  ".git /x",
					  ".git...",
					  ".git::$DATA",
					  ".git:x",
					  ".g\xe2\x80\x8cit/x",
					  "\xef\xbb\xbf.git",
					  "a\\.git\\config",
					  ".git\\config",
					  "..",
					  "../x",
					  "a/../b",
					  ".",
					  "a/./b",
					  "/etc/passwd",
					  "a//b",
					  "a/",
					  "",
					  "git~12"};
	static const char *const good[] = {".gitignore", ".github/x", "a/b",  "git",
					   "x.git",	 "...",	      "-rf",  "a\nb",
					   "\xff",	 ".gitx",     "git~", "git~x"};
	autofree char *long_name = xmalloc(PATH_MAX + 1);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!host_path_refusal("/top", bad[i]))
			fail_msg("%s is not refused", bad[i]);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (host_path_refusal("/top", good[i]))
			fail_msg("%s is refused", good[i]);
	memset(long_name, 'a', PATH_MAX);
	long_name[300] = '\0';
	assert_non_null(host_path_refusal("/top", long_name));
	for (size_t i = 1; i < PATH_MAX; i += 2)
		long_name[i] = '/';
	long_name[300] = '/';
	long_name[PATH_MAX] = '\0';
	assert_non_null(host_path_refusal("/top", long_name));
}

/* T51 */
static void hostile_names(void **state)
{
	static const char *const names[] = {"new\nline", "\x1b[31mred", "-rf",	"--output=x",
					    "\xff\xfe",	 "a b",		"%s%n", "'\"`$(x)"};
	autoscene struct scene s;
	automerge struct merge merge = MERGE_INIT;

	scene_init(&s, *state);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		scene_put(&s, BASE, names[i], LINES);
		scene_put(&s, HOST, names[i], FIRST);
		scene_put(&s, THEIRS, names[i], LAST);
		scene_change(&s, names[i], NULL);
	}
	scene_put(&s, THEIRS, "x", "x\n");
	scene_change(&s, ".git/hooks/post-commit", NULL);
	s.changes[s.count - 1].theirs = (struct side){SIDE_FILE, true, s.theirs, "x"};
	scene_merge(&s, &merge);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(verdict_of(&merge, names[i])->kind, VERDICT_MERGED);
	assert_int_equal(verdict_of(&merge, ".git/hooks/post-commit")->kind, VERDICT_CONFLICT);
	assert_false(verdict_of(&merge, ".git/hooks/post-commit")->sided);
}

static void named_twice(void **state)
{
	autoscene struct scene s;
	automerge struct merge merge = MERGE_INIT;
	autoerror struct error err = ERROR_INIT;

	scene_init(&s, *state);
	scene_put(&s, BASE, "a", "a\n");
	scene_put(&s, THEIRS, "b", "a\n");
	scene_change(&s, "b", "a");
	scene_change(&s, "a", NULL);
	assert_failure(scene_try_merge(&s, &merge, &err), &err, ERR_CORRUPT, "changed twice");
}

/* A file that is never in memory as a whole, and is not merged either. */
static void large_files(void **state)
{
	autoscene struct scene s;
	automerge struct merge merge = MERGE_INIT;

	scene_init(&s, *state);
	scene_put(&s, BASE, "big", "a\n");
	scene_put(&s, HOST, "big", "b\n");
	scene_put(&s, THEIRS, "big", "c\n");
	autofd int fd = open_beneath(s.theirs, "big", O_WRONLY, 0);

	assert_int_equal(ftruncate(fd, (64 << 20) + 1), 0);
	scene_change(&s, "big", NULL);
	scene_merge(&s, &merge);
	assert_contains(verdict_of(&merge, "big")->reason, "too large");
	assert_true(verdict_of(&merge, "big")->sided);
}

struct swapper {
	int fd;
	atomic_bool stop;
};

/* Swaps a directory with a link that leads out, as fast as it can. */
static void *swap(void *data)
{
	struct swapper *swapper = data;

	while (!atomic_load(&swapper->stop))
		syscall(SYS_renameat2, swapper->fd, "dir", swapper->fd, "link", 2U);
	return NULL;
}

/* T40, both directions: the host's work tree, and the versions of a sandbox. */
static void swapped_while_read(void **state)
{
	autoscene struct scene s;
	int seen = 0;

	scene_init(&s, *state);
	make_dirs(s.temp->fd, "outside");
	put_text(s.temp->fd, "outside/file", "secret\n");
	scene_put(&s, BASE | HOST | THEIRS, "dir/file", "base\n");
	scene_put(&s, THEIRS, "dir/file", "theirs\n");
	scene_link(&s, HOST | THEIRS, "link", "../outside");
	scene_change(&s, "dir/file", NULL);
	const int places[] = {s.host, s.theirs};

	for (size_t place = 0; place < ARRAY_SIZE(places); place++) {
		struct swapper swapper = {.fd = places[place]};
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, swap, &swapper), 0);
		for (int i = 0; i < 2000; i++) {
			automerge struct merge merge = MERGE_INIT;
			autoerror struct error err = ERROR_INIT;
			struct content content;

			if (scene_try_merge(&s, &merge, &err) < 0)
				continue;
			const struct verdict *verdict = &merge.items[0];

			seen += verdict->kind == VERDICT_TAKE;
			assert_int_not_equal(verdict->kind, VERDICT_MERGED);
			assert_success(content_look(s.temp->fd, "outside/file", &content, &err),
				       &err);
			assert_false(content_equal(&content, &verdict->host));
			assert_false(content_equal(&content, &verdict->theirs));
		}
		atomic_store(&swapper.stop, true);
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
	assert_true(seen > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(same_or_taken),
		WITH_TEMP(text_of_both),
		WITH_TEMP(conflicts),
		WITH_TEMP(special_files),
		WITH_TEMP(special_versions),
		WITH_TEMP(unreadable_versions),
		WITH_TEMP(mount_in_the_work_tree),
		WITH_TEMP(host_directory_is_a_link),
		WITH_TEMP(renames),
		WITH_TEMP(directories_and_files_change_places),
		cmocka_unit_test(refused_paths),
		WITH_TEMP(hostile_names),
		WITH_TEMP(named_twice),
		WITH_TEMP(large_files),
		WITH_TEMP(swapped_while_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
