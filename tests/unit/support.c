#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"

int temp_setup(void **state)
{
	const char *where = getenv("TMPDIR");
	struct temp *temp = xcalloc(1, sizeof *temp);
	autofree char *made = xasprintf("%s/jib-test-XXXXXX", where ? where : "/tmp");

	if (!mkdtemp(made))
		return -1;
	temp->path = realpath(made, NULL);
	temp->fd = open(made, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = temp;
	if (!temp->path || temp->fd < 0)
		return -1;
	setenv("HOME", temp->path, 1);
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("JIB_ROOT");
	/* The empty safe.directory takes back what the machine's configuration allows. */
	put_text(temp->fd, ".gitconfig",
		 "[user]\n\tname = Test\n\temail = test@example.org\n"
		 "[init]\n\tdefaultBranch = main\n[safe]\n\tdirectory =\n"
		 "[protocol \"file\"]\n\tallow = always\n");
	return 0;
}

int temp_teardown(void **state)
{
	struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	char *slash = strrchr(temp->path, '/');
	autofree char *name = xstrdup(slash + 1);

	slash[1] = '\0';
	autofd int parent = open(temp->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = tree_remove_at(parent, name, &err);

	if (result < 0)
		print_error("%s\n", err.message);
	close(temp->fd);
	free(temp->path);
	free(temp);
	return result;
}

char *temp_path(const struct temp *temp, const char *name)
{
	return xasprintf("%s/%s", temp->path, name);
}

void open_test_root(const struct temp *temp, struct root *ret)
{
	autofree char *path = temp_path(temp, "root");
	autoerror struct error err = ERROR_INIT;

	setenv("JIB_ROOT", path, 1);
	assert_success(root_open(NULL, ret, &err), &err);
}

void put_bytes(int dirfd, const char *name, const void *bytes, size_t len)
{
	autofd int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write_all(fd, bytes, len) < 0)
		fail_msg("cannot write %s: %s", name, strerror(errno));
}

void put_text(int dirfd, const char *name, const char *text)
{
	put_bytes(dirfd, name, text, strlen(text));
}

char *get_text(int dirfd, const char *name)
{
	autofd int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	struct str text = STR_INIT;

	if (fd < 0 || read_all(fd, 64 << 20, &text, NULL) < 0)
		fail_msg("cannot read %s: %s", name, strerror(errno));
	return str_take(&text);
}

bool exists(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void make_dirs(int dirfd, const char *path)
{
	autoerror struct error err = ERROR_INIT;
	autofd int fd = -1;

	assert_success(dir_make_path_at(dirfd, path, 0755, &fd, &err), &err);
}

size_t count_entries(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autodir DIR *dir = fdopendir(fd);
	size_t count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	return count - 2;
}

size_t count_fds(void)
{
	autofd int fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return count_entries(fd);
}

void assert_success(int result, const struct error *err)
{
	if (result != 0)
		fail_msg("result %d: %s", result, err->message ? err->message : "no message");
	assert_false(error_is_set(err));
}

void assert_failure(int result, const struct error *err, enum error_code code, const char *text)
{
	if (result != -1)
		fail_msg("result %d instead of -1 (%s)", result, error_code_name(code));
	if (err->code != code || !err->message || !strstr(err->message, text))
		fail_msg("%s: %s; expected %s: %s", error_code_name(err->code), err->message,
			 error_code_name(code), text);
}

void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in:\n%s", part, text);
}

void assert_lacks(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("\"%s\" is in:\n%s", part, text);
}

/* ---- layers ---- */

bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static int lay_entry_over(void *data, int dirfd, const char *name, const char *path,
			  const struct stat *st)
{
	const int *to = data;
	char target[PATH_MAX] = "";
	struct stat there;
	bool directory =
		fstatat(*to, path, &there, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(there.st_mode);

	if (strcmp(path, ".git") == 0)
		return TREE_SKIP;
	if (!S_ISDIR(st->st_mode) || !directory)
		assert_int_equal(tree_remove_at(*to, path, NULL), 0);
	if (is_whiteout(st))
		return 0;
	if (S_ISDIR(st->st_mode)) {
		if (!directory)
			assert_int_equal(mkdirat(*to, path, 0700), 0);
		assert_int_equal(fchmodat(*to, path, st->st_mode & 0777, 0), 0);
	} else if (S_ISLNK(st->st_mode)) {
		assert_true(readlinkat(dirfd, name, target, sizeof target - 1) > 0);
		assert_int_equal(symlinkat(target, *to, path), 0);
	} else if (S_ISREG(st->st_mode)) {
		autofd int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);

		assert_int_equal(file_copy_at(fd, *to, path, NULL), 0);
	} else {
		assert_int_equal(mknodat(*to, path, st->st_mode, 0), 0);
	}
	return 0;
}

void lay_over(int from, int to)
{
	autoerror struct error err = ERROR_INIT;

	assert_success(tree_walk(from, lay_entry_over, &to, &err), &err);
}

/* ---- children ---- */

static int finish(pid_t pid)
{
	int status;

	assert_true(pid > 0);
	assert_int_equal(wait_for(pid, &status), 0);
	return status;
}

void in_child(child_body *body, const struct temp *temp)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(body(temp));
	assert_int_equal(finish(pid), 0);
}

static int user_body(child_body *body, const struct temp *temp)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[2] = {0};

	NEED(syscall(SYS_capset, &header, none) == 0);
	return body(temp);
}

void in_user_child(child_body *body, const struct temp *temp)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(user_body(body, temp));
	assert_int_equal(finish(pid), 0);
}

enum { NO_NAMESPACES = 77 };

static int mount_body(child_body *body, const struct temp *temp)
{
	autofree char *uids = xasprintf("%u %u 1", geteuid(), geteuid());
	autofree char *gids = xasprintf("%u %u 1", getegid(), getegid());

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return NO_NAMESPACES;
	put_text(AT_FDCWD, "/proc/self/setgroups", "deny");
	put_text(AT_FDCWD, "/proc/self/uid_map", uids);
	put_text(AT_FDCWD, "/proc/self/gid_map", gids);
	NEED(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	/* An fd from before leads to the mounts of the other namespace. */
	struct temp here = {temp->path, open(temp->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};

	NEED(here.fd >= 0);
	return body(&here);
}

void in_mount_child(child_body *body, const struct temp *temp)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(mount_body(body, temp));
	int status = finish(pid);

	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_NAMESPACES)
		fail_msg("user namespaces are needed for this test");
	assert_int_equal(status, 0);
}

/* ---- git ---- */

static int run_git(const char *directory, const char *const *args, struct str *output,
		   struct str *errors)
{
	autostrv struct strv argv = STRV_INIT;
	autostrv struct strv env = STRV_INIT;
	autoerror struct error err = ERROR_INIT;
	struct process process = PROCESS_INIT;
	int status;

	strv_add(&argv, "git");
	strv_add(&argv, "-C");
	strv_add(&argv, directory);
	for (; *args; args++)
		strv_add(&argv, *args);
	for (char **item = environ; *item; item++)
		if (!str_starts(*item, "GIT_"))
			strv_add(&env, *item);
	strv_add(&env, "LC_ALL=C");
	strv_add(&env, "GIT_CONFIG_NOSYSTEM=1");
	strv_add(&env, "GIT_AUTHOR_DATE=1600000000 +0000");
	strv_add(&env, "GIT_COMMITTER_DATE=1600000000 +0000");
	assert_success(process_start(&(struct process_spec){.program = "git",
							    .argv = argv.items,
							    .env = env.items},
				     &process, &err),
		       &err);
	assert_success(process_finish(&process, output, errors, &status, &err), &err);
	return status;
}

void git_at(const char *directory, const char *const *args)
{
	autostr struct str output = STR_INIT;
	autostr struct str errors = STR_INIT;
	int status = run_git(directory, args, &output, &errors);

	if (status != 0)
		fail_msg("git: %s%s", output.s, errors.len ? errors.s : "");
}

char *git_says_at(const char *directory, const char *const *args)
{
	struct str output = STR_INIT;
	autostr struct str errors = STR_INIT;
	int status = run_git(directory, args, &output, &errors);

	if (status != 0)
		fail_msg("git: %s", errors.len ? errors.s : "failed");
	if (output.len && output.s[output.len - 1] == '\n')
		output.s[--output.len] = '\0';
	return str_take(&output);
}

int git_status_at(const char *directory, const char *const *args)
{
	autostr struct str output = STR_INIT;
	autostr struct str errors = STR_INIT;
	int status = run_git(directory, args, &output, &errors);

	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void commit_file(const char *repository, const char *file, const char *text)
{
	autofd int fd = open(repository, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	put_text(fd, file, text);
	git(repository, "add", file, NULL);
	git(repository, "commit", "-q", "-m", file, NULL);
}

char *make_repository(const struct temp *temp, const char *name)
{
	char *path = temp_path(temp, name);

	git(temp->path, "init", "-q", name, NULL);
	commit_file(path, "file", "content\n");
	return path;
}
