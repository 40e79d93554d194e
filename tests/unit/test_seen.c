#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "snapshot/fingerprint.h"
#include "snapshot/seen.h"

static const struct strv nothing;

/* Lets the tick pass in which the test has just written: what is that new is not remembered. */
static void settle(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	fingerprint_wait(&now);
}

static int scan_with(const struct temp *temp, const struct strv *mask, const struct strv *unmask,
		     struct seen *ret)
{
	autoroot struct root root = ROOT_INIT;
	struct secrets secrets = {mask, unmask};
	autofree char *host = temp_path(temp, "tree");
	autofree char *path = temp_path(temp, "tree/mod");
	autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	open_test_root(temp, &root);
	settle();
	return seen_scan(&(struct seen_request){.root = &root,
						.secrets = &secrets,
						.host = host,
						.directory = "mod",
						.fd = fd},
			 ret);
}

static char *join(const struct strv *v)
{
	struct str text = STR_INIT;

	for (size_t i = 0; i < v->len; i++)
		str_addf(&text, "%s%s", i ? " " : "", v->items[i]);
	return str_take(&text);
}

/* Scans, and compares what is found and how many directories and files had to be read. */
static void expect(const struct temp *temp, const char *secrets, size_t read, size_t looked)
{
	autoseen struct seen seen = SEEN_INIT;

	assert_int_equal(scan_with(temp, &nothing, &nothing, &seen), 0);
	autofree char *found = join(&seen.secrets);

	assert_string_equal(found, secrets);
	if (seen.read != read || seen.looked != looked)
		fail_msg("%zu directories read, %zu files looked into; expected %zu and %zu",
			 seen.read, seen.looked, read, looked);
}

/* mod and six directories in it */
static void make_tree(const struct temp *temp)
{
	make_dirs(temp->fd, "tree/mod/a/deep/er");
	make_dirs(temp->fd, "tree/mod/b");
	make_dirs(temp->fd, "tree/mod/c/x");
	put_text(temp->fd, "tree/mod/a/deep/er/.env", "1");
	put_text(temp->fd, "tree/mod/a/ca.pem", "-----BEGIN CERTIFICATE-----\n");
	put_text(temp->fd, "tree/mod/b/tls.key", "key");
	put_text(temp->fd, "tree/mod/b/index.js", "");
}

static void only_changes_are_read(void **state)
{
	const struct temp *temp = *state;

	make_tree(temp);
	expect(temp, "a/deep/er/.env b/tls.key", 7, 2);
	expect(temp, "a/deep/er/.env b/tls.key", 0, 0);

	put_text(temp->fd, "tree/mod/c/x/.netrc", "");
	expect(temp, "a/deep/er/.env b/tls.key c/x/.netrc", 1, 0);
	expect(temp, "a/deep/er/.env b/tls.key c/x/.netrc", 0, 0);

	assert_int_equal(unlinkat(temp->fd, "tree/mod/a/deep/er/.env", 0), 0);
	expect(temp, "b/tls.key c/x/.netrc", 1, 0);

	/* Between others; its neighbours are known. */
	make_dirs(temp->fd, "tree/mod/aa/new");
	put_text(temp->fd, "tree/mod/aa/new/.env", "");
	expect(temp, "aa/new/.env b/tls.key c/x/.netrc", 3, 0);

	assert_int_equal(renameat(temp->fd, "tree/mod/c", temp->fd, "tree/mod/0"), 0);
	expect(temp, "0/x/.netrc aa/new/.env b/tls.key", 3, 0);

	autoerror struct error err = ERROR_INIT;

	assert_success(tree_remove_at(temp->fd, "tree/mod/aa", &err), &err);
	expect(temp, "0/x/.netrc b/tls.key", 1, 0);
	expect(temp, "0/x/.netrc b/tls.key", 0, 0);
}

static void files_are_looked_into_again(void **state)
{
	const struct temp *temp = *state;

	make_tree(temp);
	expect(temp, "a/deep/er/.env b/tls.key", 7, 2);
	/* In its place: the directory is what it was. */
	put_text(temp->fd, "tree/mod/a/ca.pem", "-----BEGIN PRIVATE KEY-----\n");
	expect(temp, "a/ca.pem a/deep/er/.env b/tls.key", 0, 1);
	expect(temp, "a/ca.pem a/deep/er/.env b/tls.key", 0, 0);
	/* Of the same size, and with the old time of modification. */
	struct stat st;

	assert_int_equal(fstatat(temp->fd, "tree/mod/a/ca.pem", &st, 0), 0);
	put_text(temp->fd, "tree/mod/a/ca.pem", "-----BEGIN CERTIFICATE-----\n");
	assert_int_equal(utimensat(temp->fd, "tree/mod/a/ca.pem",
				   (struct timespec[2]){st.st_atim, st.st_mtim}, 0),
			 0);
	expect(temp, "a/deep/er/.env b/tls.key", 0, 1);
	put_text(temp->fd, "tree/mod/a/ca.pem", "-----BEGIN PRIVATE KEY-----\n");
	expect(temp, "a/ca.pem a/deep/er/.env b/tls.key", 0, 1);
	put_text(temp->fd, "tree/mod/b/tls.key", "-----BEGIN CERTIFICATE-----\n");
	expect(temp, "a/ca.pem a/deep/er/.env", 0, 1);
	expect(temp, "a/ca.pem a/deep/er/.env", 0, 0);
}

static void a_directory_replaced_by_another(void **state)
{
	const struct temp *temp = *state;

	make_tree(temp);
	expect(temp, "a/deep/er/.env b/tls.key", 7, 2);
	assert_int_equal(renameat2(temp->fd, "tree/mod/a", temp->fd, "tree/mod/c", RENAME_EXCHANGE),
			 0);
	expect(temp, "b/tls.key c/deep/er/.env", 6, 1);
	expect(temp, "b/tls.key c/deep/er/.env", 0, 0);
}

static char *cache_of(const struct temp *temp)
{
	autofd int fd = open_beneath(temp->fd, "root/.layers/.seen", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fdopendir(steal_fd(&fd));
	const struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			return xasprintf("root/.layers/.seen/%s", entry->d_name);
	fail_msg("there is no cache");
	return NULL;
}

static void damage(void **state)
{
	const struct temp *temp = *state;
	struct stat st, later;

	make_tree(temp);
	expect(temp, "a/deep/er/.env b/tls.key", 7, 2);
	autofree char *cache = cache_of(temp);
	autofd int fd = open_beneath(temp->fd, cache, O_RDONLY, 0);
	autostr struct str bytes = STR_INIT;

	assert_int_equal(read_all(fd, 1 << 20, &bytes, NULL), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	for (size_t i = 0; i < bytes.len; i += 7) {
		bytes.s[i] ^= 1;
		put_bytes(temp->fd, cache, bytes.s, bytes.len);
		expect(temp, "a/deep/er/.env b/tls.key", 7, 2);
		bytes.s[i] ^= 1;
		put_bytes(temp->fd, cache, bytes.s, i);
		expect(temp, "a/deep/er/.env b/tls.key", 7, 2);
	}
	/* What says the same is not written again. */
	assert_int_equal(fstatat(temp->fd, cache, &st, 0), 0);
	expect(temp, "a/deep/er/.env b/tls.key", 0, 0);
	assert_int_equal(fstatat(temp->fd, cache, &later, 0), 0);
	assert_int_equal(st.st_ino, later.st_ino);
	assert_int_equal(unlinkat(temp->fd, cache, 0), 0);
	expect(temp, "a/deep/er/.env b/tls.key", 7, 2);
}

static void no_place_for_the_cache(void **state)
{
	const struct temp *temp = *state;

	make_tree(temp);
	make_dirs(temp->fd, "root/.layers");
	put_text(temp->fd, "root/.layers/.seen", "");
	expect(temp, "a/deep/er/.env b/tls.key", 7, 2);
	expect(temp, "a/deep/er/.env b/tls.key", 7, 2);
}

static void what_is_new_is_not_remembered(void **state)
{
	const struct temp *temp = *state;

	make_tree(temp);
	expect(temp, "a/deep/er/.env b/tls.key", 7, 2);
	expect(temp, "a/deep/er/.env b/tls.key", 0, 0);

	autoroot struct root root = ROOT_INIT;
	autoseen struct seen seen = SEEN_INIT, again = SEEN_INIT;
	struct secrets secrets = {NULL, NULL};
	autofree char *host = temp_path(temp, "tree");
	autofd int fd = open_beneath(temp->fd, "tree/mod", O_RDONLY | O_DIRECTORY, 0);
	struct seen_request request = {&root, &secrets, host, "mod", fd};

	open_test_root(temp, &root);
	/* The clock may tick before the scan begins: then the directory is remembered. */
	for (int i = 0; i < 1000 && again.read != 1; i++) {
		seen_release(&seen);
		seen_release(&again);
		put_text(temp->fd, "tree/mod/c/x/one", "");
		assert_int_equal(unlinkat(temp->fd, "tree/mod/c/x/one", 0), 0);
		assert_int_equal(seen_scan(&request, &seen), 0);
		assert_int_equal(seen_scan(&request, &again), 0);
	}
	assert_int_equal(again.read, 1);
}

static void patterns_have_their_own(void **state)
{
	const struct temp *temp = *state;
	autostrv struct strv mask = STRV_INIT;
	autostrv struct strv unmask = STRV_INIT;
	autoseen struct seen seen = SEEN_INIT, other = SEEN_INIT, whole = SEEN_INIT;

	make_tree(temp);
	expect(temp, "a/deep/er/.env b/tls.key", 7, 2);
	strv_add(&mask, "index.js");
	assert_int_equal(scan_with(temp, &mask, &nothing, &seen), 0);
	autofree char *first = join(&seen.secrets);

	assert_string_equal(first, "a/deep/er/.env b/index.js b/tls.key");
	strv_add(&unmask, "mod/a/");
	assert_int_equal(scan_with(temp, &mask, &unmask, &other), 0);
	autofree char *second = join(&other.secrets);

	assert_string_equal(second, "b/index.js b/tls.key");
	strv_add(&mask, "mod/a/");
	assert_int_equal(scan_with(temp, &mask, &nothing, &whole), 0);
	autofree char *third = join(&whole.secrets);

	assert_string_equal(third, "a/ b/index.js b/tls.key");
	assert_int_equal(whole.read, 4);
	seen_release(&whole);
	assert_int_equal(scan_with(temp, &mask, &nothing, &whole), 0);
	autofree char *fourth = join(&whole.secrets);

	assert_string_equal(fourth, third);
	assert_int_equal(whole.read, 0);
	expect(temp, "a/deep/er/.env b/tls.key", 0, 0);
}

static void not_only_files(void **state)
{
	const struct temp *temp = *state;

	make_dirs(temp->fd, "tree/mod/.env");
	make_dirs(temp->fd, "tree/mod/.ssh/x");
	assert_int_equal(symlinkat("nowhere", temp->fd, "tree/mod/.netrc"), 0);
	assert_int_equal(symlinkat("/", temp->fd, "tree/mod/root"), 0);
	assert_int_equal(mkfifoat(temp->fd, "tree/mod/fifo.pem", 0600), 0);
	expect(temp, ".netrc .ssh/", 2, 0);
	expect(temp, ".netrc .ssh/", 0, 0);
}

static void too_deep(void **state)
{
	const struct temp *temp = *state;
	autoseen struct seen seen = SEEN_INIT;
	autofree char *name = xcalloc(1, 251);
	autofd int at = -1;

	make_dirs(temp->fd, "tree/mod");
	memset(name, 'd', 250);
	at = open_beneath(temp->fd, "tree/mod", O_RDONLY | O_DIRECTORY, 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(mkdirat(at, name, 0755), 0);
		int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		fd_close(&at);
		at = next;
		assert_true(at >= 0);
	}
	put_text(at, ".env", "");
	assert_int_equal(scan_with(temp, &nothing, &nothing, &seen), 0);
	assert_int_equal(seen.closed.len, 1);
	assert_int_equal(strlen(seen.closed.items[0]), 16 * 251 - 1);
	assert_int_equal(seen.secrets.len, 0);
}

static int unreadable_body(const struct temp *temp)
{
	for (int i = 0; i < 2; i++) {
		autoseen struct seen seen = SEEN_INIT;

		NEED(scan_with(temp, &nothing, &nothing, &seen) == 0);
		autofree char *closed = join(&seen.closed);
		autofree char *secrets = join(&seen.secrets);

		NEED(strcmp(closed, "a c") == 0);
		NEED(strcmp(secrets, "b/tls.key") == 0);
	}
	NEED(fchmodat(temp->fd, "tree/mod/a", 0755, 0) == 0);
	autoseen struct seen seen = SEEN_INIT;

	NEED(scan_with(temp, &nothing, &nothing, &seen) == 0);
	autofree char *closed = join(&seen.closed);
	autofree char *secrets = join(&seen.secrets);

	NEED(strcmp(closed, "c") == 0);
	NEED(strcmp(secrets, "a/deep/er/.env b/tls.key") == 0);
	return 0;
}

static void unreadable(void **state)
{
	const struct temp *temp = *state;

	make_tree(temp);
	assert_int_equal(fchmodat(temp->fd, "tree/mod/a", 0, 0), 0);
	assert_int_equal(fchmodat(temp->fd, "tree/mod/c", 0311, 0), 0);
	in_user_child(unreadable_body, temp);
	assert_int_equal(fchmodat(temp->fd, "tree/mod/c", 0755, 0), 0);
}

static int top_body(const struct temp *temp)
{
	autoseen struct seen seen = SEEN_INIT;
	autoroot struct root root = ROOT_INIT;
	struct secrets secrets = {NULL, NULL};
	autofree char *host = temp_path(temp, "tree");
	autofd int fd = open_beneath(temp->fd, "tree/mod", O_PATH | O_DIRECTORY, 0);

	open_test_root(temp, &root);
	NEED(seen_scan(&(struct seen_request){&root, &secrets, host, "mod", fd}, &seen) == 1);
	NEED(!seen.closed.len);
	return 0;
}

static void top_unreadable(void **state)
{
	const struct temp *temp = *state;

	make_tree(temp);
	assert_int_equal(fchmodat(temp->fd, "tree/mod", 0311, 0), 0);
	in_user_child(top_body, temp);
	assert_int_equal(fchmodat(temp->fd, "tree/mod", 0755, 0), 0);
}

static int mount_body(const struct temp *temp)
{
	autofree char *where = temp_path(temp, "tree/mod/a");

	for (int i = 0; i < 3; i++) {
		autoseen struct seen seen = SEEN_INIT;

		if (i == 1)
			NEED(mount("none", where, "tmpfs", 0, NULL) == 0);
		if (i == 2)
			NEED(umount(where) == 0);
		NEED(scan_with(temp, &nothing, &nothing, &seen) == 0);
		autofree char *closed = join(&seen.closed);
		autofree char *secrets = join(&seen.secrets);

		NEED(strcmp(closed, i == 1 ? "a" : "") == 0);
		NEED(strcmp(secrets, i == 1 ? "b/tls.key" : "a/deep/er/.env b/tls.key") == 0);
	}
	return 0;
}

static void a_mount_point(void **state)
{
	const struct temp *temp = *state;

	make_tree(temp);
	in_mount_child(mount_body, temp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_TEMP(only_changes_are_read),
		WITH_TEMP(files_are_looked_into_again),
		WITH_TEMP(a_directory_replaced_by_another),
		WITH_TEMP(damage),
		WITH_TEMP(no_place_for_the_cache),
		WITH_TEMP(what_is_new_is_not_remembered),
		WITH_TEMP(patterns_have_their_own),
		WITH_TEMP(not_only_files),
		WITH_TEMP(too_deep),
		WITH_TEMP(unreadable),
		WITH_TEMP(top_unreadable),
		WITH_TEMP(a_mount_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
