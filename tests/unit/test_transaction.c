#include "scene.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "faults.h"
#include "review/transaction.h"

#define LINES "1\n2\n3\n4\n5\n6\n7\n8\n9\n"
#define FIRST "one\n2\n3\n4\n5\n6\n7\n8\n9\n"
#define LAST "1\n2\n3\n4\n5\n6\n7\n8\nnine\n"
#define BOTH "one\n2\n3\n4\n5\n6\n7\n8\nnine\n"

static void recover(const struct scene *s, enum transaction_recovery expected)
{
	autoerror struct error err = ERROR_INIT;
	enum transaction_recovery recovery;

	assert_success(transaction_recover(&s->repository, &recovery, &err), &err);
	assert_int_equal(recovery, expected);
}

static int apply(const struct scene *s, bool markers)
{
	automerge struct merge merge = MERGE_INIT;
	autoerror struct error err = ERROR_INIT;

	scene_merge(s, &merge);
	int result = transaction_apply(&s->repository, &merge, markers, &err);

	if (result < 0)
		fail_msg("%s", err.message);
	return result;
}

static int undo(const struct scene *s)
{
	autoerror struct error err = ERROR_INIT;
	autoundo struct undo undo = UNDO_INIT;
	int result = transaction_undo(&s->repository, false, &undo, &err);

	if (result < 0)
		fail_msg("%s", err.message);
	return result;
}

/* One of everything. */
static void put_all(const struct scene *s)
{
	scene_put(s, HOST, "untouched/mine", "mine\n");
	scene_put(s, BASE | HOST, "changed", "old\n");
	scene_put(s, THEIRS, "changed", "new\n");
	scene_put(s, THEIRS, "new/deep/er/added", "new\n");
	scene_put(s, BASE | HOST, "old/deep/er/gone", "old\n");
	scene_put(s, BASE, "both", LINES);
	scene_put(s, HOST, "both", FIRST);
	scene_put(s, THEIRS, "both", LAST);
	scene_put(s, BASE | HOST, "from/renamed", LINES);
	scene_put(s, THEIRS, "to/renamed", LAST);
	scene_put(s, BASE | HOST | THEIRS, "mode", "mode\n");
	scene_mode(s, THEIRS, "mode", 0755);
	scene_link(s, BASE | HOST, "link", "old");
	scene_link(s, THEIRS, "link", "/etc/passwd");
	scene_put(s, BASE | HOST, "kind", "text\n");
	scene_link(s, THEIRS, "kind", "..");
	scene_put(s, BASE | HOST, "tree/leaf", "leaf\n");
	scene_put(s, BASE | HOST, "leaf", "leaf\n");
	unlinkat(s->theirs, "tree", 0);
	scene_put(s, THEIRS, "tree", "a file now\n");
	scene_put(s, THEIRS, "leaf/tree", "a directory now\n");
	scene_put_bytes(s, BASE | HOST, "binary", "a\0b", 3);
	scene_put_bytes(s, THEIRS, "binary", "a\0c", 3);
	scene_put(s, THEIRS, "\xff\n\x1b[1m%2f/-rf", "T51\n");
	scene_put(s, BASE | HOST, "only/one", "1\n");
	scene_put(s, THEIRS, "only/other", "2\n");
}

static void change_all(struct scene *s)
{
	static const char *const paths[] = {"changed",
					    "new/deep/er/added",
					    "old/deep/er/gone",
					    "both",
					    "mode",
					    "link",
					    "kind",
					    "tree/leaf",
					    "tree",
					    "leaf",
					    "leaf/tree",
					    "binary",
					    "only/one",
					    "only/other",
					    "\xff\n\x1b[1m%2f/-rf"};

	put_all(s);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		scene_change(s, paths[i], NULL);
	scene_change(s, "to/renamed", "from/renamed");
}

/* The host as put_all() leaves it, without anything of jib's. */
static void reset(const struct scene *s)
{
	autoerror struct error err = ERROR_INIT;
	autodir DIR *dir = fdopendir(fcntl(s->host, F_DUPFD_CLOEXEC, 3));

	rewinddir(dir);
	for (const struct dirent *entry; (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    strcmp(entry->d_name, ".git") != 0)
			assert_success(tree_remove_at(s->host, entry->d_name, &err), &err);
	assert_success(tree_remove_at(s->git_dir, "jib", &err), &err);
	put_all(s);
}

/* No staging directory, no lock, no temporary file: what a finished transaction leaves. */
static void assert_tidy(const struct scene *s)
{
	autofd int home = open_beneath(s->git_dir, "jib", O_RDONLY | O_DIRECTORY, 0);

	assert_false(exists(s->git_dir, "index.lock"));
	if (home < 0)
		return;
	assert_false(exists(home, "apply"));
	assert_false(exists(home, "kept-1"));
	assert_true(count_entries(home) <= 2);
}

static void everything_and_back(void **state)
{
	autoscene struct scene s;

	scene_init(&s, *state);
	size_t fds = count_fds();

	change_all(&s);
	scene_mode(&s, HOST, "changed", 0640);
	autofree char *before = scene_tree(&s);
	autofree char *index = scene_index(&s);

	assert_int_equal(apply(&s, false), 0);
	autofree char *after = scene_tree(&s);

	assert_contains(after, "changed 0640 new\n");
	assert_contains(after, "both 0644 " BOTH);
	assert_contains(after, "to/renamed 0644 " LAST);
	assert_contains(after, "mode 0755 mode\n");
	assert_contains(after, "link -> /etc/passwd\n");
	assert_contains(after, "kind -> ..\n");
	assert_contains(after, "tree 0644 a file now\n");
	assert_contains(after, "leaf/tree 0644 a directory now\n");
	assert_contains(after, "new/deep/er/added 0644 new\n");
	assert_contains(after, "untouched/mine 0644 mine\n");
	assert_lacks(after, "from");
	assert_lacks(after, "old/");
	assert_tidy(&s);
	assert_int_equal(apply(&s, false), 0);
	autofree char *again = scene_tree(&s);

	assert_string_equal(again, after);
	assert_int_equal(undo(&s), 0);
	autofree char *back = scene_tree(&s);

	assert_string_equal(back, before);
	assert_int_equal(undo(&s), 0);
	autofree char *redone = scene_tree(&s);

	assert_string_equal(redone, after);
	autofree char *same_index = scene_index(&s);

	assert_string_equal(same_index, index);
	assert_tidy(&s);
	assert_int_equal(count_fds(), fds);
}

static void all_or_nothing(void **state)
{
	autoscene struct scene s;
	autoerror struct error err = ERROR_INIT;
	autoundo struct undo undone = UNDO_INIT;

	scene_init(&s, *state);
	change_all(&s);
	scene_put(&s, HOST, "changed", "the host's\n");
	autofree char *before = scene_tree(&s);

	assert_int_equal(apply(&s, false), 1);
	autofree char *after = scene_tree(&s);

	assert_string_equal(after, before);
	assert_false(exists(s.git_dir, "jib"));
	assert_failure(transaction_undo(&s.repository, false, &undone, &err), &err, ERR_NOT_FOUND,
		       "nothing was applied");
}

/* T50: the host has changed a file between the merge and the writing. */
static void host_changes_meanwhile(void **state)
{
	static const char *const paths[] = {
		"changed", "both", "new/deep/er/added", "link", "old/deep/er/gone", "from/renamed"};
	autoscene struct scene s;

	scene_init(&s, *state);
	change_all(&s);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		automerge struct merge merge = MERGE_INIT;
		autoerror struct error err = ERROR_INIT;

		reset(&s);
		scene_merge(&s, &merge);
		scene_put(&s, HOST, paths[i], "the host's\n");
		autofree char *before = scene_tree(&s);

		assert_failure(transaction_apply(&s.repository, &merge, false, &err), &err,
			       ERR_UNSTABLE, paths[i]);
		autofree char *after = scene_tree(&s);

		assert_string_equal(after, before);
		assert_tidy(&s);
		recover(&s, RECOVERY_NONE);
	}
}

static void locks(void **state)
{
	autoscene struct scene s;
	automerge struct merge merge = MERGE_INIT;
	autoerror struct error err = ERROR_INIT;
	autoerror struct error other = ERROR_INIT;
	enum transaction_recovery recovery;

	scene_init(&s, *state);
	change_all(&s);
	scene_merge(&s, &merge);
	autofree char *before = scene_tree(&s);

	put_text(s.git_dir, "index.lock", "");
	assert_failure(transaction_apply(&s.repository, &merge, false, &err), &err, ERR_RUNNING,
		       "index.lock");
	assert_true(exists(s.git_dir, "index.lock"));
	assert_int_equal(unlinkat(s.git_dir, "index.lock", 0), 0);
	error_clear(&err);
	autofd int lock = open_beneath(s.git_dir, "jib/lock", O_RDWR, 0);

	assert_int_equal(lock_try(lock, &err), 0);
	assert_failure(transaction_apply(&s.repository, &merge, false, &err), &err, ERR_RUNNING,
		       "another jib");
	assert_failure(transaction_recover(&s.repository, &recovery, &other), &other, ERR_RUNNING,
		       "another jib");
	fd_close(&lock);
	autofree char *after = scene_tree(&s);

	assert_string_equal(after, before);
	assert_int_equal(apply(&s, false), 0);
}

static void undo_of_what_changed(void **state)
{
	autoscene struct scene s;
	autoerror struct error err = ERROR_INIT;
	autoundo struct undo undone = UNDO_INIT;

	scene_init(&s, *state);
	change_all(&s);
	assert_int_equal(apply(&s, false), 0);
	scene_put(&s, HOST, "changed", "edited since\n");
	scene_put(&s, HOST, "old/deep/er/gone", "made since\n");
	assert_int_equal(unlinkat(s.host, "mode", 0), 0);
	autofree char *before = scene_tree(&s);

	assert_int_equal(transaction_undo(&s.repository, false, &undone, &err), 1);
	assert_string_equal(undone.name, "box");
	assert_false(undone.again);
	assert_int_equal(undone.conflict_count, 3);
	autofree char *after = scene_tree(&s);

	assert_string_equal(after, before);
	scene_put(&s, HOST, "changed", "new\n");
	assert_int_equal(unlinkat(s.host, "old/deep/er/gone", 0), 0);
	scene_put(&s, HOST, "mode", "mode\n");
	scene_mode(&s, HOST, "mode", 0755);
	assert_int_equal(undo(&s), 0);
}

static void put_conflicts(const struct scene *s)
{
	scene_put(s, BASE | HOST, "fine", "old\n");
	scene_put(s, THEIRS, "fine", "new\n");
	scene_put(s, BASE, "text", "a\nb\nc\n");
	scene_put(s, HOST, "text", "a\nhost\nc\n");
	scene_put(s, THEIRS, "text", "a\nsandbox\nc\n");
	scene_put(s, BASE, "-deleted\n", "a\n");
	scene_put(s, HOST, "-deleted\n", "b\n");
	scene_put(s, HOST, "untracked", "mine\n");
	scene_put(s, THEIRS, "untracked", "theirs\n");
	scene_link(s, BASE, "link", "a");
	scene_link(s, HOST, "link", "b");
	scene_link(s, THEIRS, "link", "c");
	scene_put(s, THEIRS, "way/file", "c\n");
	scene_put(s, HOST, "way", "mine\n");
}

static void change_conflicts(struct scene *s)
{
	put_conflicts(s);
	git(s->repository.top, "add", "--", "fine", "text", "-deleted\n", "link", NULL);
	git(s->repository.top, "commit", "-q", "-m", "files", NULL);
	scene_change(s, "fine", NULL);
	scene_change(s, "text", NULL);
	scene_change(s, "-deleted\n", NULL);
	scene_change(s, "untracked", NULL);
	scene_change(s, "link", NULL);
	scene_change(s, "way/file", NULL);
}

static void markers_and_stages(void **state)
{
	autoscene struct scene s;

	scene_init(&s, *state);
	change_conflicts(&s);
	autofree char *before = scene_tree(&s);
	autofree char *index = scene_index(&s);

	assert_int_equal(apply(&s, true), 1);
	autofree char *after = scene_tree(&s);
	autofree char *unmerged = git_says(s.repository.top, "ls-files", "-u", NULL);
	autofree char *status = git_says(s.repository.top, "status", "--porcelain", NULL);

	assert_contains(after, "fine 0644 new\n");
	assert_contains(after, "<<<<<<< host\nhost\n=======\nsandbox\n>>>>>>> box\n");
	assert_contains(after, "untracked 0644 mine\n");
	assert_contains(after, "-deleted\\n 0644 b\n");
	assert_contains(after, "link -> b\n");
	assert_contains(after, "way 0644 mine\n");
	assert_contains(unmerged, " 1\ttext");
	assert_contains(unmerged, " 2\ttext");
	assert_contains(unmerged, " 3\ttext");
	assert_contains(status, "UU text");
	assert_contains(status, "UD \"-deleted\\n\"");
	assert_contains(status, "AA untracked");
	assert_contains(status, "UU link");
	assert_lacks(unmerged, "way");
	autofree char *link = git_says(s.repository.top, "show", ":3:link", NULL);
	autofree char *theirs = git_says(s.repository.top, "show", ":3:untracked", NULL);

	assert_string_equal(link, "c");
	assert_string_equal(theirs, "theirs");
	assert_tidy(&s);
	assert_int_equal(undo(&s), 0);
	autofree char *back = scene_tree(&s);
	autofree char *index_back = scene_index(&s);

	assert_string_equal(back, before);
	assert_string_equal(index_back, index);
	assert_int_equal(undo(&s), 0);
	autofree char *again = git_says(s.repository.top, "ls-files", "-u", NULL);

	assert_string_equal(again, unmerged);
	git(s.repository.top, "add", "text", NULL);
	assert_int_equal(undo(&s), 1);
}

/* Another file system than the one that the tests work in. */
static const char *elsewhere;

static char *move_git_dir(struct scene *s)
{
	char *git_dir = xasprintf("%s/jib-test-XXXXXX", elsewhere);

	assert_non_null(mkdtemp(git_dir));
	free(s->repository.git_dir);
	s->repository.git_dir = xstrdup(git_dir);
	fd_close(&s->git_dir);
	s->git_dir = open(git_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return git_dir;
}

static void remove_git_dir(char *git_dir)
{
	autoerror struct error err = ERROR_INIT;
	autofd int above = open(elsewhere, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_success(tree_remove_at(above, path_last(git_dir), &err), &err);
	free(git_dir);
}

/* The git dir on another file system than the work tree: what is staged lies in the work tree. */
static void git_dir_elsewhere(void **state)
{
	autoscene struct scene s;

	scene_init(&s, *state);
	change_all(&s);
	char *git_dir = move_git_dir(&s);
	autofree char *before = scene_tree(&s);

	assert_int_equal(apply(&s, false), 0);
	autofree char *after = scene_tree(&s);

	assert_contains(after, "both 0644 " BOTH);
	assert_lacks(after, ".jib-");
	assert_int_equal(undo(&s), 0);
	autofree char *back = scene_tree(&s);

	assert_string_equal(back, before);
	assert_tidy(&s);
	remove_git_dir(git_dir);
}

struct run {
	const struct scene *scene;
	const struct merge *merge;
	bool markers;
};

static int apply_body(void *data)
{
	const struct run *run = data;

	return transaction_apply(&run->scene->repository, run->merge, run->markers, NULL) < 0;
}

static int undo_body(void *data)
{
	const struct run *run = data;
	autoundo struct undo undone = UNDO_INIT;

	return transaction_undo(&run->scene->repository, false, &undone, NULL);
}

struct states {
	char *before, *after;
};

/* What is left is one of two states, and says so; and from there all goes on. */
static void assert_converges(const struct scene *s, const struct states *states, int at)
{
	autoerror struct error err = ERROR_INIT;
	enum transaction_recovery recovery;

	assert_success(transaction_recover(&s->repository, &recovery, &err), &err);
	autofree char *now = scene_tree(s);

	if (strcmp(now, states->before) != 0 && strcmp(now, states->after) != 0)
		fail_msg("killed at %d, neither old nor new:\n%s", at, now);
	if (recovery == RECOVERY_DISCARDED)
		assert_string_equal(now, states->before);
	if (recovery == RECOVERY_FINISHED)
		assert_string_equal(now, states->after);
	assert_tidy(s);
}

static void find_states(const struct scene *s, struct states *ret)
{
	ret->before = scene_tree(s);
	assert_int_equal(apply(s, false), 0);
	ret->after = scene_tree(s);
	reset(s);
}

/* T93 */
static void kill_at_each_call(struct scene *s)
{
	struct states states;
	enum fault_result result = FAULT_KILLED;
	int n = 0;

	change_all(s);
	assert_int_equal(unlinkat(s->host, "file", 0), 0);
	find_states(s, &states);
	while (result != FAULT_NONE) {
		automerge struct merge merge = MERGE_INIT;
		struct run run = {s, &merge, false};

		scene_merge(s, &merge);
		result = faults_run(apply_body, &run, &(struct fault){.at = ++n});
		assert_converges(s, &states, n);
		assert_int_equal(apply(s, false), 0);
		autofree char *after = scene_tree(s);

		assert_string_equal(after, states.after);
		assert_int_equal(undo(s), 0);
		autofree char *back = scene_tree(s);

		assert_string_equal(back, states.before);
		reset(s);
	}
	assert_true(n > 20);
	free(states.before);
	free(states.after);
}

static void killed_at_each_system_call(void **state)
{
	autoscene struct scene s;

	scene_init(&s, *state);
	kill_at_each_call(&s);
}

static void killed_with_git_dir_elsewhere(void **state)
{
	autoscene struct scene s;

	scene_init(&s, *state);
	char *git_dir = move_git_dir(&s);

	kill_at_each_call(&s);
	remove_git_dir(git_dir);
}

/*
 * Killed in the middle, and then the host edits both what was written already and what was not: it
 * cannot go on, and not back in full. Nothing that anybody has written is lost.
 */
static void killed_and_edited(void **state)
{
	autoscene struct scene s;
	autoerror struct error err = ERROR_INIT;
	enum transaction_recovery recovery;
	bool half = false;

	scene_init(&s, *state);
	change_all(&s);
	for (int n = 1; !half; n++) {
		automerge struct merge merge = MERGE_INIT;
		struct run run = {&s, &merge, false};

		reset(&s);
		scene_merge(&s, &merge);
		assert_int_equal(faults_run(apply_body, &run, &(struct fault){.at = n}),
				 FAULT_KILLED);
		autofree char *both = get_text(s.host, "both");
		autofree char *changed = get_text(s.host, "changed");

		half = strcmp(both, BOTH) == 0 && strcmp(changed, "old\n") == 0;
	}
	scene_put(&s, HOST, "both", "edited\n");
	scene_put(&s, HOST, "changed", "edited\n");
	assert_failure(transaction_recover(&s.repository, &recovery, &err), &err, ERR_UNSTABLE,
		       "1 file was written to meanwhile and left alone");
	error_clear(&err);
	autofree char *tree = scene_tree(&s);

	assert_contains(tree, "both 0644 edited\n");
	assert_contains(tree, "changed 0644 edited\n");
	assert_contains(tree, "old/deep/er/gone 0644 old\n");
	assert_lacks(tree, "added");
	autofd int kept = open_beneath(s.git_dir, "jib/kept-1", O_RDONLY | O_DIRECTORY, 0);
	bool found = false;

	assert_true(kept >= 0);
	for (int i = 0; i < 20; i++) {
		autofree char *name = xasprintf("%d", i);
		struct content content, first;

		scene_put(&s, BASE, "first", FIRST);
		assert_success(content_look(kept, name, &content, &err), &err);
		assert_success(content_look(s.base, "first", &first, &err), &err);
		found = found || content_same_bytes(&content, &first);
	}
	assert_true(found);
	recover(&s, RECOVERY_NONE);
}

static void killed_while_undoing(void **state)
{
	autoscene struct scene s;
	struct states states;
	enum fault_result result = FAULT_KILLED;
	int n = 0;

	scene_init(&s, *state);
	change_all(&s);
	assert_int_equal(unlinkat(s.host, "file", 0), 0);
	find_states(&s, &states);
	const struct states backwards = {states.after, states.before};

	while (result != FAULT_NONE) {
		struct run run = {&s, NULL, false};

		assert_int_equal(apply(&s, false), 0);
		result = faults_run(undo_body, &run, &(struct fault){.at = ++n});
		assert_converges(&s, &backwards, n);
		reset(&s);
	}
	assert_true(n > 20);
	free(states.before);
	free(states.after);
}

static char *all_of(const struct scene *s)
{
	autofree char *tree = scene_tree(s);
	autofree char *index = scene_index(s);

	return xasprintf("%s\n%s", tree, index);
}

/* With the index, which git writes: by a process that lives on. */
static void killed_with_markers(void **state)
{
	autoscene struct scene s;
	enum fault_result result = FAULT_KILLED;
	int n = 0;

	scene_init(&s, *state);
	change_conflicts(&s);
	autofree char *before = all_of(&s);

	assert_int_equal(apply(&s, true), 1);
	autofree char *after = all_of(&s);

	assert_int_equal(undo(&s), 0);
	while (result != FAULT_NONE) {
		automerge struct merge merge = MERGE_INIT;
		autoerror struct error err = ERROR_INIT;
		struct run run = {&s, &merge, true};
		enum transaction_recovery recovery;

		scene_merge(&s, &merge);
		result = faults_run(apply_body, &run, &(struct fault){.at = ++n});
		/* git may still be about to write the index; then the lock is in the way. */
		while (transaction_recover(&s.repository, &recovery, &err) < 0) {
			assert_int_not_equal(err.code, ERR_CORRUPT);
			error_clear(&err);
		}
		autofree char *now = all_of(&s);

		if (strcmp(now, before) != 0 && strcmp(now, after) != 0)
			fail_msg("killed at %d, neither old nor new:\n%s", n, now);
		if (strcmp(now, after) == 0)
			assert_int_equal(undo(&s), 0);
		autofree char *back = all_of(&s);

		assert_string_equal(back, before);
	}
	assert_true(n > 20);
}

/* T95: one call fails; the host is as it was, at once. */
static void disk_fails_once(void **state)
{
	static const int numbers[] = {ENOSPC, EIO};
	autoscene struct scene s;
	struct states states;

	scene_init(&s, *state);
	change_all(&s);
	assert_int_equal(unlinkat(s.host, "file", 0), 0);
	find_states(&s, &states);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		enum fault_result result = FAULT_FAILED;

		for (int n = 1; result != FAULT_NONE; n++) {
			automerge struct merge merge = MERGE_INIT;
			struct run run = {&s, &merge, false};

			scene_merge(&s, &merge);
			result = faults_run(apply_body, &run,
					    &(struct fault){.at = n, .number = numbers[i]});
			autofree char *now = scene_tree(&s);

			if (strcmp(now, result == FAULT_FAILED ? states.before : states.after) != 0)
				fail_msg("call %d failed (%s), left is:\n%s", n,
					 strerror(numbers[i]), now);
			assert_converges(&s, &states, n);
			reset(&s);
		}
	}
	free(states.before);
	free(states.after);
}

/* T95: nothing can be written any more, and later it can. */
static void disk_stays_full(void **state)
{
	autoscene struct scene s;
	struct states states;
	enum fault_result result = FAULT_FAILED;

	scene_init(&s, *state);
	change_all(&s);
	assert_int_equal(unlinkat(s.host, "file", 0), 0);
	find_states(&s, &states);
	for (int n = 1; result != FAULT_NONE; n++) {
		automerge struct merge merge = MERGE_INIT;
		struct run run = {&s, &merge, false};

		scene_merge(&s, &merge);
		result = faults_run(apply_body, &run,
				    &(struct fault){.at = n, .number = ENOSPC, .forever = true});
		assert_converges(&s, &states, n);
		reset(&s);
	}
	free(states.before);
	free(states.after);
}

struct swapper {
	int fd;
	atomic_bool stop;
};

static void *swap(void *data)
{
	struct swapper *swapper = data;

	while (!atomic_load(&swapper->stop))
		syscall(SYS_renameat2, swapper->fd, "dir", swapper->fd, "away", 2U);
	return NULL;
}

/* T40: a directory is swapped with a link that leads out, while files are written into it. */
static void swapped_while_written(void **state)
{
	autoscene struct scene s;
	struct swapper swapper;
	pthread_t thread;

	scene_init(&s, *state);
	make_dirs(s.temp->fd, "outside");
	put_text(s.temp->fd, "outside/file", "base\n");
	scene_put(&s, BASE | HOST, "dir/file", "base\n");
	scene_put(&s, THEIRS, "dir/file", "theirs\n");
	scene_put(&s, THEIRS, "dir/new", "theirs\n");
	scene_link(&s, HOST, "away", "../outside");
	scene_change(&s, "dir/file", NULL);
	scene_change(&s, "dir/new", NULL);
	swapper = (struct swapper){.fd = s.host};
	struct stat untouched, now;

	assert_int_equal(fstatat(s.temp->fd, "outside", &untouched, 0), 0);
	for (int i = 0; i < 300; i++) {
		automerge struct merge merge = MERGE_INIT;
		autoerror struct error err = ERROR_INIT;
		enum transaction_recovery recovery;

		scene_merge(&s, &merge);
		assert_int_equal(merge.conflicts, 0);
		atomic_store(&swapper.stop, false);
		assert_int_equal(pthread_create(&thread, NULL, swap, &swapper), 0);
		transaction_apply(&s.repository, &merge, false, &err);
		atomic_store(&swapper.stop, true);
		assert_int_equal(pthread_join(thread, NULL), 0);
		autofree char *outside = get_text(s.temp->fd, "outside/file");

		assert_string_equal(outside, "base\n");
		assert_false(exists(s.temp->fd, "outside/new"));
		/* Not even for a moment. */
		assert_int_equal(fstatat(s.temp->fd, "outside", &now, 0), 0);
		assert_memory_equal(&now.st_mtim, &untouched.st_mtim, sizeof now.st_mtim);
		struct stat st;

		assert_int_equal(fstatat(s.host, "dir", &st, AT_SYMLINK_NOFOLLOW), 0);
		if (!S_ISDIR(st.st_mode))
			assert_int_equal(syscall(SYS_renameat2, s.host, "dir", s.host, "away", 2U),
					 0);
		error_clear(&err);
		assert_success(transaction_recover(&s.repository, &recovery, &err), &err);
		scene_put(&s, HOST, "dir/file", "base\n");
		unlinkat(s.host, "dir/new", 0);
	}
	autofd int outside = open_beneath(s.temp->fd, "outside", O_RDONLY | O_DIRECTORY, 0);

	assert_int_equal(count_entries(outside), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(everything_and_back),
		WITH_TEMP(all_or_nothing),
		WITH_TEMP(host_changes_meanwhile),
		WITH_TEMP(locks),
		WITH_TEMP(undo_of_what_changed),
		WITH_TEMP(markers_and_stages),
		WITH_TEMP(git_dir_elsewhere),
		WITH_TEMP(killed_at_each_system_call),
		WITH_TEMP(killed_with_git_dir_elsewhere),
		WITH_TEMP(killed_and_edited),
		WITH_TEMP(killed_while_undoing),
		WITH_TEMP(killed_with_markers),
		WITH_TEMP(disk_fails_once),
		WITH_TEMP(disk_stays_full),
		WITH_TEMP(swapped_while_written),
	};

	/* Thousands of files are synced here, and none of them has to last. */
	elsewhere = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
	setenv("TMPDIR", "/dev/shm", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
