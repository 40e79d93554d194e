#include "review/publish.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

/* Objects are stored one by one when they are few, as git does it itself. */
enum { LOOSE_MAX = 100, NAME_MAX_BYTES = 4096 };

/* Work trees. */

static int refuse(const struct repository *host, const char *ref, const char *what,
		  struct error *err)
{
	error_set(err, ERR_EXISTS, "the branch %s is %s in a work tree of %s", ref, what,
		  host->top);
	return error_hint(err, "give it another name with --as BRANCH, or merge what was brought "
			       "before");
}

static bool says(int dirfd, const char *path, const char *text)
{
	autoerror struct error ignored = ERROR_INIT;
	autostr struct str found = STR_INIT;
	size_t len = strlen(text);

	return file_read_at(dirfd, path, NAME_MAX_BYTES, &found, &ignored) == 0 &&
	       found.len >= len && memcmp(found.s, text, len) == 0 &&
	       (found.s[len] == '\n' || found.len == len);
}

/* One git dir, that of the repository or of a linked work tree. */
static int check_git_dir(const struct repository *host, int git_dir, const char *ref,
			 struct error *err)
{
	static const char *const moving[] = {"rebase-merge/head-name", "rebase-apply/head-name",
					     "BISECT_START"};
	autofree char *head = xasprintf("ref: %s", ref);
	const char *branch = ref + strlen("refs/heads/");

	if (says(git_dir, "HEAD", head))
		return refuse(host, ref, "checked out", err);
	for (size_t i = 0; i < ARRAY_SIZE(moving); i++)
		if (says(git_dir, moving[i], ref) || says(git_dir, moving[i], branch))
			return refuse(host, ref, "being rebased or bisected", err);
	return 0;
}

int publish_check(const struct repository *host, const char *ref, struct error *err)
{
	autofd int common = open(host->common_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (common < 0)
		return error_errno(err, "cannot open %s", host->common_dir);
	if (!str_starts(ref, "refs/heads/"))
		return 0;
	if (check_git_dir(host, common, ref, err) < 0)
		return -1;
	int fd = open_beneath(common, "worktrees", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		return errno == ENOENT ? 0 : error_errno(err, "cannot list the work trees");
	for (const struct dirent *entry; (entry = readdir(dir));) {
		autofd int one = entry->d_name[0] == '.' ? -1
							 : open_beneath(dirfd(dir), entry->d_name,
									O_RDONLY | O_DIRECTORY, 0);

		if (one >= 0 && check_git_dir(host, one, ref, err) < 0)
			return -1;
	}
	return 0;
}

/* Objects. */

/* "PACK", version, number of objects: gitformat-pack(5). */
static int count_objects(int pack, uint32_t *ret, struct error *err)
{
	uint32_t header[3];

	if (pread(pack, header, sizeof header, 0) != (ssize_t)sizeof header)
		return error_errno(err, "cannot read a pack of the quarantine");
	*ret = ntohl(header[2]);
	return 0;
}

static int store_pack(const struct repository *host, int pack, struct error *err)
{
	static const char *const loose[] = {"unpack-objects", "-q", NULL};
	static const char *const packed[] = {"index-pack", "--stdin", NULL};
	const struct git_place place = {.directory = host->top, .input = pack};
	autostr struct str output = STR_INIT;
	uint32_t count = 0;

	if (count_objects(pack, &count, err) < 0)
		return -1;
	if (!count)
		return 0;
	return git_run(&place, count < LOOSE_MAX ? loose : packed, &output, err);
}

static int store_objects(const struct quarantine *q, const struct repository *host,
			 struct error *err)
{
	int fd = open_beneath(q->fd, "objects/pack", O_RDONLY | O_DIRECTORY, 0);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		return error_errno(err, "cannot list the packs of the quarantine");
	for (const struct dirent *entry; (entry = readdir(dir));) {
		if (!str_ends(entry->d_name, ".pack"))
			continue;
		autofd int pack = open_beneath(dirfd(dir), entry->d_name, O_RDONLY, 0);

		if (pack < 0)
			return error_errno(err, "cannot open a pack of the quarantine");
		if (store_pack(host, pack, err) < 0)
			return error_wrap(err, "cannot store objects in %s", host->top);
	}
	return 0;
}

int publish(const struct quarantine *q, const struct repository *host,
	    const struct publish_ref *refs, size_t count, const char *reason, struct error *err)
{
	const char *const args[] = {"update-ref", "-m", reason, "--stdin", NULL};
	const struct git_place place = {.directory = host->top};
	autostr struct str input = STR_INIT, output = STR_INIT;

	for (size_t i = 0; i < count; i++)
		if (*refs[i].old_oid)
			str_addf(&input, "update %s %s %s\n", refs[i].name, refs[i].new_oid,
				 refs[i].old_oid);
		else
			str_addf(&input, "create %s %s\n", refs[i].name, refs[i].new_oid);
	if (!count)
		return 0;
	if (store_objects(q, host, err) < 0)
		return -1;
	if (git_run_with(&place, args, &input, &output, err) < 0)
		return error_wrap(err, "%s", host->top);
	return 0;
}
