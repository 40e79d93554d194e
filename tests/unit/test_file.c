#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"

/* ---- open_beneath ---- */

static void stays_beneath(void **state)
{
	const struct temp *temp = *state;
	autofree char *absolute = temp_path(temp, "d/file");
	const char *const refused[] = {"..",	     "../x",	     "d/../../x", "/etc/passwd",
				       absolute,     "link",	     "up",	  "dirlink/file",
				       "d/dirlink2", "dirlink/../d", "absolute",  "dangling"};

	make_dirs(temp->fd, "d/e");
	put_text(temp->fd, "d/file", "x");
	assert_int_equal(symlinkat("d/file", temp->fd, "link"), 0);
	assert_int_equal(symlinkat("..", temp->fd, "up"), 0);
	assert_int_equal(symlinkat("d", temp->fd, "dirlink"), 0);
	assert_int_equal(symlinkat("e", temp->fd, "d/dirlink2"), 0);
	assert_int_equal(symlinkat("/etc/passwd", temp->fd, "absolute"), 0);
	assert_int_equal(symlinkat("nothing", temp->fd, "dangling"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		int fd = open_beneath(temp->fd, refused[i], O_RDONLY, 0);

		if (fd >= 0)
			fail_msg("%s can be opened", refused[i]);
		fd = open_beneath(temp->fd, refused[i], O_WRONLY | O_CREAT, 0644);
		if (fd >= 0)
			fail_msg("%s can be created", refused[i]);
	}
	assert_false(exists(temp->fd, "nothing"));
	autofd int ok = open_beneath(temp->fd, "d/../d/./file", O_RDONLY, 0);
	autofd int self = open_beneath(temp->fd, ".", O_RDONLY | O_DIRECTORY, 0);

	assert_true(ok >= 0);
	assert_true(self >= 0);
	assert_true(fcntl(ok, F_GETFD) & FD_CLOEXEC);
}

static void no_magic_links(void **state)
{
	autofd int proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static const char *const links[] = {"root", "cwd", "exe", "fd/0", "ns/user"};

	(void)state;
	assert_true(proc >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		assert_int_equal(open_beneath(proc, links[i], O_PATH, 0), -1);
		assert_true(errno == ELOOP || errno == ENOENT);
	}
}

/* ---- reading and writing ---- */

static void reading(void **state)
{
	const struct temp *temp = *state;
	autofree char *fifo = temp_path(temp, "fifo");
	autoerror struct error err = ERROR_INIT;
	autostr struct str text = STR_INIT;

	put_bytes(temp->fd, "f",
		  "12\0"
		  "345",
		  6);
	assert_success(file_read_at(temp->fd, "f", 6, &text, &err), &err);
	assert_int_equal(text.len, 6);
	assert_memory_equal(text.s,
			    "12\0"
			    "345",
			    7);
	/* It appends, and one byte too many is too many. */
	assert_failure(file_read_at(temp->fd, "f", 5, &text, &err), &err, ERR_SYSTEM, "5 bytes");
	assert_int_equal(err.number, EFBIG);
	error_clear(&err);
	assert_failure(file_read_at(temp->fd, "none", 9, &text, &err), &err, ERR_SYSTEM, "none");
	assert_int_equal(err.number, ENOENT);
	error_clear(&err);
	/* Without a writer, an ordinary open() would wait for ever. */
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_failure(file_read_at(temp->fd, "fifo", 9, &text, &err), &err, ERR_CORRUPT,
		       "regular file");
	error_clear(&err);
	assert_failure(file_read_at(temp->fd, ".", 9, &text, &err), &err, ERR_CORRUPT, ".");
	error_clear(&err);
	assert_int_equal(symlinkat("f", temp->fd, "l"), 0);
	assert_failure(file_read_at(temp->fd, "l", 9, &text, &err), &err, ERR_SYSTEM, "l");
	put_text(temp->fd, "empty", "");
	autostr struct str none = STR_INIT;

	error_clear(&err);
	assert_success(file_read_at(temp->fd, "empty", 0, &none, &err), &err);
	assert_string_equal(none.s, "");
}

static void replacing(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	struct stat before, after;
	size_t entries = count_entries(temp->fd);

	assert_success(file_replace_at(temp->fd, "f", "one", 3, 0640, true, &err), &err);
	assert_int_equal(fstatat(temp->fd, "f", &before, 0), 0);
	assert_int_equal(before.st_mode & 0777, 0640);
	autofd int reader = openat(temp->fd, "f", O_RDONLY | O_CLOEXEC);

	assert_success(file_replace_at(temp->fd, "f", "second", 6, 0640, false, &err), &err);
	assert_int_equal(fstatat(temp->fd, "f", &after, 0), 0);
	/* Who has the old one open goes on seeing all of it. */
	assert_true(before.st_ino != after.st_ino);
	autostr struct str old = STR_INIT;

	assert_success(read_all(reader, 100, &old, &err), &err);
	assert_string_equal(old.s, "one");
	autofree char *text = get_text(temp->fd, "f");

	assert_string_equal(text, "second");
	assert_int_equal(count_entries(temp->fd), entries + 1);
}

static void replacing_a_link(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	struct stat st;

	put_text(temp->fd, "target", "untouched");
	assert_int_equal(symlinkat("target", temp->fd, "f"), 0);
	assert_success(file_replace_at(temp->fd, "f", "new", 3, 0600, false, &err), &err);
	assert_int_equal(fstatat(temp->fd, "f", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISREG(st.st_mode));
	autofree char *text = get_text(temp->fd, "target");

	assert_string_equal(text, "untouched");
}

static void replacing_fails(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;

	make_dirs(temp->fd, "d/x");
	size_t entries = count_entries(temp->fd);

	/* A directory cannot be replaced by a file; the temporary one goes again. */
	assert_failure(file_replace_at(temp->fd, "d", "x", 1, 0600, false, &err), &err, ERR_SYSTEM,
		       "d");
	assert_int_equal(count_entries(temp->fd), entries);
}

static int fill_the_disk(const struct temp *temp)
{
	struct rlimit limit = {4, 4};
	autoerror struct error err = ERROR_INIT;

	signal(SIGXFSZ, SIG_IGN);
	NEED(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	NEED(file_replace_at(temp->fd, "f", "longer", 6, 0600, true, &err) == -1);
	NEED(err.number == EFBIG);
	return 0;
}

/* A write that does not fit leaves the old content, and nothing else. */
static void replacing_on_a_full_disk(void **state)
{
	const struct temp *temp = *state;

	put_text(temp->fd, "f", "old");
	size_t entries = count_entries(temp->fd);

	in_child(fill_the_disk, temp);
	autofree char *text = get_text(temp->fd, "f");

	assert_string_equal(text, "old");
	assert_int_equal(count_entries(temp->fd), entries);
}

/* Readers that look all the time see one or the other, never a part. */
static int read_while_replaced(const struct temp *temp)
{
	enum { LENGTH = 40000, ROUNDS = 300 };
	autofree char *text = xmalloc(LENGTH);
	pid_t parent = getpid();
	int status;

	memset(text, 'a', LENGTH);
	NEED(file_replace_at(temp->fd, "f", text, LENGTH, 0600, false, NULL) == 0);
	pid_t pid = fork();

	if (pid == 0) {
		while (getppid() == parent) {
			memset(text, text[0] == 'a' ? 'b' : 'a', LENGTH);
			if (file_replace_at(temp->fd, "f", text, LENGTH, 0600, false, NULL) < 0)
				_exit(1);
		}
		_exit(0);
	}
	for (int i = 0; i < ROUNDS; i++) {
		autostr struct str seen = STR_INIT;

		NEED(file_read_at(temp->fd, "f", LENGTH, &seen, NULL) == 0);
		NEED(seen.len == LENGTH);
		for (size_t k = 1; k < LENGTH; k++)
			NEED(seen.s[k] == seen.s[0]);
	}
	kill(pid, SIGKILL);
	NEED(wait_for(pid, &status) == 0);
	return 0;
}

static void replacing_is_atomic(void **state)
{
	in_child(read_while_replaced, *state);
}

static void copying(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	struct stat st;
	const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000, .tv_nsec = 5}};
	autofree char *large = xmalloc(300000);

	memset(large, 'z', 300000);
	put_bytes(temp->fd, "from", large, 300000);
	assert_int_equal(fchmodat(temp->fd, "from", 04751, 0), 0);
	assert_int_equal(utimensat(temp->fd, "from", times, 0), 0);
	autofd int from = openat(temp->fd, "from", O_RDONLY | O_CLOEXEC);

	assert_success(file_copy_at(from, temp->fd, "to", &err), &err);
	assert_int_equal(fstatat(temp->fd, "to", &st, 0), 0);
	assert_int_equal(st.st_size, 300000);
	/* setuid does not travel */
	assert_int_equal(st.st_mode & 07777, 0751);
	assert_int_equal(st.st_mtim.tv_sec, 2000);
	assert_int_equal(st.st_mtim.tv_nsec, 5);
	autofree char *text = get_text(temp->fd, "to");

	assert_memory_equal(text, large, 300000);
	assert_failure(file_copy_at(from, temp->fd, "to", &err), &err, ERR_SYSTEM, "to");
	assert_int_equal(err.number, EEXIST);
	error_clear(&err);
	/* From where neither sharing nor copy_file_range(2) works. */
	autofd int proc = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	assert_success(file_copy_at(proc, temp->fd, "proc", &err), &err);
	autofree char *copied = get_text(temp->fd, "proc");

	assert_true(strlen(copied) > 20);
}

static void copying_holes(void **state)
{
	enum { SIZE = 64 << 20, FIRST = 8 << 20, SECOND = 24 << 20 };
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	autofd int from = open_beneath(temp->fd, "from", O_RDWR | O_CREAT, 0644);
	struct stat after;
	char text[9] = "";

	assert_int_equal(pwrite(from, "the first", 9, FIRST), 9);
	assert_int_equal(pwrite(from, "otherwise", 9, SECOND), 9);
	assert_int_equal(ftruncate(from, SIZE), 0);
	assert_success(file_copy_at(from, temp->fd, "to", &err), &err);
	autofd int to = open_beneath(temp->fd, "to", O_RDONLY, 0);

	assert_int_equal(fstat(to, &after), 0);
	assert_int_equal(after.st_size, SIZE);
	assert_true(after.st_blocks < SIZE / 512 / 8);
	assert_int_equal(pread(to, text, 9, FIRST), 9);
	assert_memory_equal(text, "the first", 9);
	assert_int_equal(pread(to, text, 9, SECOND), 9);
	assert_memory_equal(text, "otherwise", 9);
	assert_int_equal(pread(to, text, 1, SIZE - 1), 1);
	assert_int_equal(text[0], '\0');
}

static void directories(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	autofd int one = -1, again = -1, deep = -1, inner = -1;
	int untouched = -7;
	struct stat st, there;

	assert_success(dir_make_at(temp->fd, "a", 0700, &one, &err), &err);
	assert_success(dir_make_at(temp->fd, "a", 0755, &again, &err), &err);
	assert_int_equal(fstat(again, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_success(dir_make_path_at(temp->fd, "a//./b/c/", 0755, &deep, &err), &err);
	assert_int_equal(fstat(deep, &st), 0);
	assert_int_equal(fstatat(temp->fd, "a/b/c", &there, 0), 0);
	assert_int_equal(st.st_ino, there.st_ino);

	put_text(deep, "file", "");
	assert_int_equal(symlinkat("a", deep, "l"), 0);
	static const char *const refused[] = {"../x", "l/x", "l", "file", "file/x", "a/../../x"};

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		assert_failure(dir_make_path_at(deep, refused[i], 0755, &untouched, &err), &err,
			       ERR_SYSTEM, "");
		error_clear(&err);
		assert_int_equal(untouched, -7);
	}
	assert_int_equal(dir_make_path_at(deep, "a", 0755, &inner, &err), 0);
	assert_int_equal(count_entries(inner), 0);
	assert_false(exists(deep, "../x"));
}

/* ---- removing ---- */

static int make_deep(int dirfd, const char *name, int depth, mode_t mode)
{
	autofd int at = -1;

	NEED(mkdirat(dirfd, name, 0755) == 0);
	at = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 1; i < depth; i++) {
		NEED(mkdirat(at, "d", 0755) == 0);
		if (i % 100 == 0)
			put_text(at, "file", "x");
		int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		NEED(next >= 0 && fchmod(at, mode) == 0);
		close(at);
		at = next;
	}
	NEED(fchmod(at, mode) == 0);
	return 0;
}

static void removing_what_is_there(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	size_t entries = count_entries(temp->fd);

	assert_success(tree_remove_at(temp->fd, "nothing", &err), &err);
	put_text(temp->fd, "f", "");
	assert_success(tree_remove_at(temp->fd, "f", &err), &err);
	make_dirs(temp->fd, "d/a/b");
	make_dirs(temp->fd, "d/c");
	put_text(temp->fd, "d/a/f", "");
	assert_success(tree_remove_at(temp->fd, "d", &err), &err);
	assert_int_equal(count_entries(temp->fd), entries);
}

static void removing_deep_trees(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	size_t fds = count_fds();

	assert_int_equal(make_deep(temp->fd, "deep", 3000, 0755), 0);
	/* and beside it what the deep directories are called while they are moved */
	make_dirs(temp->fd, "deep/deep-0/x");
	put_text(temp->fd, "deep/deep-1", "x");
	assert_success(tree_remove_at(temp->fd, "deep", &err), &err);
	assert_false(exists(temp->fd, "deep"));
	assert_int_equal(count_fds(), fds);
}

static int remove_any_mode(const struct temp *temp)
{
	static const mode_t modes[] = {0000, 0100, 0200, 0400, 0500, 0600, 0300};
	autoerror struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		/* Also at the top, and deeper than directories are opened within each other. */
		const int depths[] = {1, 3, modes[i] == 0 || modes[i] == 0500 ? 700 : 5};

		for (size_t k = 0; k < ARRAY_SIZE(depths); k++) {
			NEED(make_deep(temp->fd, "modes", depths[k], modes[i]) == 0);
			if (tree_remove_at(temp->fd, "modes", &err) < 0)
				fprintf(stderr, "# mode %o depth %d: %.200s\n", modes[i], depths[k],
					err.message);
			NEED(!error_is_set(&err));
			NEED(!exists(temp->fd, "modes"));
		}
	}
	return 0;
}

static void removing_any_mode(void **state)
{
	in_user_child(remove_any_mode, *state);
}

static void removing_does_not_follow(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;

	make_dirs(temp->fd, "outside/d");
	put_text(temp->fd, "outside/d/f", "x");
	make_dirs(temp->fd, "tree/sub");
	assert_int_equal(symlinkat("../outside", temp->fd, "tree/link"), 0);
	assert_int_equal(symlinkat("../../outside/d", temp->fd, "tree/sub/link"), 0);
	assert_int_equal(symlinkat("/", temp->fd, "tree/root"), 0);
	assert_int_equal(symlinkat("outside", temp->fd, "toplink"), 0);
	assert_success(tree_remove_at(temp->fd, "tree", &err), &err);
	assert_success(tree_remove_at(temp->fd, "toplink", &err), &err);
	assert_false(exists(temp->fd, "toplink"));
	assert_true(exists(temp->fd, "outside/d/f"));
}

/* T41: what a sandbox leaves is removed without being opened. */
static void removing_special_files(void **state)
{
	const struct temp *temp = *state;
	autofree char *fifo = temp_path(temp, "t/fifo");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autofd int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	autoerror struct error err = ERROR_INIT;
	char name[256];

	make_dirs(temp->fd, "t");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	snprintf(address.sun_path, sizeof address.sun_path, "%s/t/s", temp->path);
	assert_int_equal(bind(sock, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(mknodat(temp->fd, "t/whiteout", S_IFCHR, makedev(0, 0)), 0);
	memset(name, 'n', 255);
	name[255] = '\0';
	autofd int t = openat(temp->fd, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	put_text(t, name, "");
	put_text(t, "-rf\n\x1b*", "");
	assert_success(tree_remove_at(temp->fd, "t", &err), &err);
	assert_false(exists(temp->fd, "t"));
}

static int mounts_stay(const struct temp *temp)
{
	autoerror struct error err = ERROR_INIT;
	autoerror struct error at_top = ERROR_INIT;
	autofree char *inner = temp_path(temp, "t/a/m");
	autofree char *kept = temp_path(temp, "kept");
	autofree char *top = temp_path(temp, "top");

	/* The same file system: only the mount tells them apart. */
	NEED(mount(kept, inner, NULL, MS_BIND, NULL) == 0);
	NEED(tree_remove_at(temp->fd, "t", &err) == -1);
	NEED(err.number == EBUSY || err.number == EXDEV);
	NEED(exists(temp->fd, "kept/f"));
	NEED(mount(kept, top, NULL, MS_BIND, NULL) == 0);
	NEED(tree_remove_at(temp->fd, "top", &at_top) == -1);
	NEED(at_top.number == EBUSY || at_top.number == EXDEV);
	NEED(exists(temp->fd, "kept/f"));
	NEED(umount(top) == 0 && umount(inner) == 0);
	NEED(tree_remove_at(temp->fd, "t", NULL) == 0);
	NEED(tree_remove_at(temp->fd, "top", NULL) == 0);
	return 0;
}

static void removing_stops_at_mounts(void **state)
{
	const struct temp *temp = *state;

	make_dirs(temp->fd, "t/a/m");
	make_dirs(temp->fd, "top");
	make_dirs(temp->fd, "kept");
	put_text(temp->fd, "kept/f", "x");
	in_mount_child(mounts_stay, temp);
	assert_true(exists(temp->fd, "kept/f"));
}

/* ---- walking ---- */

struct seen {
	struct strv paths;
	const char *skip;
	const char *stop;
};

static int see(void *data, int dirfd, const char *name, const char *path, const struct stat *st)
{
	struct seen *seen = data;
	struct stat here;

	if (fstatat(dirfd, name, &here, AT_SYMLINK_NOFOLLOW) < 0 || here.st_ino != st->st_ino ||
	    !str_ends(path, name))
		return -77;
	strv_add(&seen->paths, path);
	if (seen->stop && strcmp(path, seen->stop) == 0)
		return 42;
	return seen->skip && strcmp(path, seen->skip) == 0 ? TREE_SKIP : 0;
}

static bool has(const struct seen *seen, const char *path)
{
	for (size_t i = 0; i < seen->paths.len; i++)
		if (strcmp(seen->paths.items[i], path) == 0)
			return true;
	return false;
}

static void walking(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	struct seen all = {0}, some = {.skip = "d/e"}, few = {.stop = "d/e"};
	size_t fds = count_fds();

	make_dirs(temp->fd, "w/d/e");
	make_dirs(temp->fd, "w/empty");
	put_text(temp->fd, "w/d/e/f", "x");
	put_text(temp->fd, "w/f", "x");
	assert_int_equal(symlinkat("d", temp->fd, "w/link"), 0);
	autofd int w = openat(temp->fd, "w", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_success(tree_walk(w, see, &all, &err), &err);
	assert_int_equal(all.paths.len, 6);
	assert_true(has(&all, "d") && has(&all, "d/e") && has(&all, "d/e/f") && has(&all, "f") &&
		    has(&all, "empty") && has(&all, "link"));
	/* Parents first. */
	for (size_t i = 0, d = 0; i < all.paths.len; i++) {
		d += strcmp(all.paths.items[i], "d") == 0;
		if (str_starts(all.paths.items[i], "d/"))
			assert_int_equal(d, 1);
	}
	/* The directory's own offset is left alone: it can be walked again. */
	assert_success(tree_walk(w, see, &some, &err), &err);
	assert_int_equal(some.paths.len, 5);
	assert_false(has(&some, "d/e/f"));
	assert_int_equal(tree_walk(w, see, &few, &err), 42);
	assert_false(error_is_set(&err));
	assert_false(has(&few, "d/e/f"));
	strv_release(&all.paths);
	strv_release(&some.paths);
	strv_release(&few.paths);
	assert_int_equal(count_fds(), fds + 1);
}

/* Neither the open files nor the stack are used up by a depth that a sandbox chose. */
static void walking_deep_trees(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	struct seen all = {0};
	struct tree_usage used;

	assert_int_equal(make_deep(temp->fd, "w", 1500, 0755), 0);
	put_text(temp->fd, "w/d/last", "x");
	autofd int w = openat(temp->fd, "w", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_success(tree_walk(w, see, &all, &err), &err);
	/* 1499 directories below it, a file in each hundredth, and the one that comes after */
	assert_int_equal(all.paths.len, 1499 + 14 + 1);
	assert_true(has(&all, "d/last"));
	assert_success(tree_usage_at(temp->fd, "w", &used, &err), &err);
	assert_int_equal(used.inodes, 1500 + 14 + 1);
	strv_release(&all.paths);
}

struct meddling {
	const struct temp *temp;
	size_t files;
};

static int move_away(void *data, int dirfd, const char *name, const char *path,
		     const struct stat *st)
{
	struct meddling *meddling = data;
	int fd = meddling->temp->fd;

	(void)st;
	if (strcmp(path, "a/b/c") == 0 && renameat(fd, "w/a/b", fd, "elsewhere") < 0)
		return -77;
	if (strcmp(name, "vanishes") == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) < 0)
		return -78;
	if (strcmp(name, "becomes-link") == 0 &&
	    (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 || symlinkat("/", dirfd, name) < 0))
		return -79;
	meddling->files += strcmp(name, "f") == 0;
	return 0;
}

/* What is moved while it is walked leads back to where it came from all the same. */
static void walking_what_changes(void **state)
{
	enum { SIBLINGS = 20 };
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	struct meddling meddling = {.temp = temp};

	make_dirs(temp->fd, "w/a/b/c/d");
	make_dirs(temp->fd, "w/vanishes");
	make_dirs(temp->fd, "w/becomes-link");
	for (int i = 0; i < SIBLINGS; i++) {
		autofree char *sibling = xasprintf("w/a/s%d", i);
		autofree char *file = xasprintf("%s/f", sibling);

		make_dirs(temp->fd, sibling);
		put_text(temp->fd, file, "x");
	}
	autofd int w = openat(temp->fd, "w", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_success(tree_walk(w, move_away, &meddling, &err), &err);
	assert_int_equal(meddling.files, SIBLINGS);
	assert_true(exists(temp->fd, "elsewhere/c/d"));
}

static void usage(void **state)
{
	const struct temp *temp = *state;
	autoerror struct error err = ERROR_INIT;
	struct tree_usage used, more, untouched = {7, 7};
	autofree char *large = xcalloc(1, 1 << 20);

	make_dirs(temp->fd, "u/d");
	assert_success(tree_usage_at(temp->fd, "u", &used, &err), &err);
	assert_int_equal(used.inodes, 2);
	memset(large, 'x', 1 << 20);
	put_bytes(temp->fd, "u/d/f", large, 1 << 20);
	autofd int f = openat(temp->fd, "u/d/f", O_RDONLY | O_CLOEXEC);

	assert_int_equal(fsync(f), 0);
	assert_success(tree_usage_at(temp->fd, "u", &more, &err), &err);
	assert_int_equal(more.inodes, 3);
	assert_true(more.bytes >= used.bytes + (1 << 20));
	assert_true(more.bytes < used.bytes + (3 << 20));
	assert_failure(tree_usage_at(temp->fd, "none", &untouched, &err), &err, ERR_SYSTEM, "none");
	assert_int_equal(untouched.bytes, 7);
}

static int usage_of_closed_directories(const struct temp *temp)
{
	struct tree_usage used;

	make_dirs(temp->fd, "u/work/work");
	NEED(fchmodat(temp->fd, "u/work/work", 0, 0) == 0);
	NEED(tree_usage_at(temp->fd, "u", &used, NULL) == 0);
	NEED(used.inodes == 3);
	NEED(tree_remove_at(temp->fd, "u", NULL) == 0);
	return 0;
}

static void usage_with_closed_directories(void **state)
{
	in_user_child(usage_of_closed_directories, *state);
}

static int walk_past_mounts(const struct temp *temp)
{
	autofree char *place = temp_path(temp, "w/m");
	autofree char *other = temp_path(temp, "w/t");
	autofree char *kept = temp_path(temp, "kept");
	struct seen seen = {0};
	autofd int w = openat(temp->fd, "w", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	NEED(mount(kept, place, NULL, MS_BIND, NULL) == 0);
	NEED(mount("test", other, "tmpfs", 0, NULL) == 0);
	put_text(temp->fd, "w/t/f", "x");
	NEED(tree_walk(w, see, &seen, NULL) == 0);
	NEED(has(&seen, "m") && has(&seen, "t") && has(&seen, "f"));
	NEED(!has(&seen, "t/f"));
	NEED(!has(&seen, "m/f"));
	strv_release(&seen.paths);
	return 0;
}

static void walking_stops_at_mounts(void **state)
{
	const struct temp *temp = *state;

	make_dirs(temp->fd, "w/m");
	make_dirs(temp->fd, "w/t");
	make_dirs(temp->fd, "kept");
	put_text(temp->fd, "kept/f", "x");
	put_text(temp->fd, "w/f", "x");
	in_mount_child(walk_past_mounts, temp);
}

int main(void)
{
	/* What opens a file for each level of a deep tree runs out of them, on every machine. */
	struct rlimit few;
	const struct CMUnitTest tests[] = {
		WITH_TEMP(stays_beneath),
		cmocka_unit_test(no_magic_links),
		WITH_TEMP(reading),
		WITH_TEMP(replacing),
		WITH_TEMP(replacing_a_link),
		WITH_TEMP(replacing_fails),
		WITH_TEMP(replacing_on_a_full_disk),
		WITH_TEMP(replacing_is_atomic),
		WITH_TEMP(copying),
		WITH_TEMP(copying_holes),
		WITH_TEMP(directories),
		WITH_TEMP(removing_what_is_there),
		WITH_TEMP(removing_deep_trees),
		WITH_TEMP(removing_any_mode),
		WITH_TEMP(removing_does_not_follow),
		WITH_TEMP(removing_special_files),
		WITH_TEMP(removing_stops_at_mounts),
		WITH_TEMP(walking),
		WITH_TEMP(walking_deep_trees),
		WITH_TEMP(walking_what_changes),
		WITH_TEMP(usage),
		WITH_TEMP(usage_with_closed_directories),
		WITH_TEMP(walking_stops_at_mounts),
	};

	if (getrlimit(RLIMIT_NOFILE, &few) < 0)
		return 1;
	few.rlim_cur = 256;
	if (setrlimit(RLIMIT_NOFILE, &few) < 0)
		return 1;
	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
