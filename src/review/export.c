#include "review/export.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

static int make_empty(const char *path, int *ret, struct error *err)
{
	if (mkdir(path, 0777) < 0 && errno != EEXIST)
		return error_errno(err, "cannot make %s", path);
	autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autodir DIR *dir = fd < 0 ? NULL : fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 3));

	if (!dir)
		return error_errno(err, "cannot open %s", path);
	for (const struct dirent *entry; (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
			error_set(err, ERR_EXISTS, "%s is not empty", path);
			return error_hint(err, "name a new directory");
		}
	*ret = steal_fd(&fd);
	return 0;
}

static void add_known(const struct strv *known, struct strv *args)
{
	strv_add(args, "--not");
	for (size_t i = 0; i < known->len; i++)
		strv_add(args, known->items[i]);
}

static int write_patches(const struct quarantine *q, const struct persisted *item,
			 const struct strv *known, const char *path, int dirfd, struct error *err)
{
	static const char heads[] = "refs/heads/";
	static const char *const fixed[] = {"format-patch",  "--quiet",		 "--binary",
					    "--no-ext-diff", "--no-textconv",	 "--no-signature",
					    "--no-thread",   "--no-cover-letter"};
	const struct git_place place = quarantine_place(q);
	const char *branch =
		str_starts(item->source, heads) ? item->source + strlen(heads) : "detached";
	autofree char *target = xasprintf("%s/%s", path, branch);
	autostrv struct strv args = STRV_INIT;
	autostr struct str output = STR_INIT;
	autofd int made = -1;

	if (dir_make_path_at(dirfd, branch, 0777, &made, err) < 0)
		return error_wrap(err, "cannot make %s", target);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		strv_add(&args, fixed[i]);
	strv_add(&args, "-o");
	strv_add(&args, target);
	strv_add(&args, item->new_oid);
	add_known(known, &args);
	return git_run(&place, (const char *const *)args.items, &output, err);
}

static int write_bundle(const struct quarantine *q, const struct persist_result *result,
			const struct strv *known, const char *file, struct error *err)
{
	const struct git_place place = quarantine_place(q);
	autostrv struct strv args = STRV_INIT;
	autostr struct str output = STR_INIT;

	strv_add(&args, "bundle");
	strv_add(&args, "create");
	strv_add(&args, "--quiet");
	strv_add(&args, file);
	for (size_t i = 0; i < result->count; i++)
		strv_add(&args, result->items[i].target);
	add_known(known, &args);
	return git_run(&place, (const char *const *)args.items, &output, err);
}

int export_write(const struct quarantine *q, const struct persist_result *result,
		 const struct strv *known, const char *sandbox, const char *dir, struct error *err)
{
	autofd int fd = -1;

	if (make_empty(dir, &fd, err) < 0)
		return -1;
	autofree char *path = realpath(dir, NULL);

	if (!path)
		return error_errno(err, "cannot find %s", dir);
	autofree char *bundle = xasprintf("%s/%s.bundle", path, sandbox);

	for (size_t i = 0; i < result->count; i++)
		if ((str_starts(result->items[i].source, "refs/heads/") ||
		     strcmp(result->items[i].source, "HEAD") == 0) &&
		    write_patches(q, &result->items[i], known, path, fd, err) < 0)
			return error_wrap(err, "cannot write the patches of %s",
					  result->items[i].source);
	if (write_bundle(q, result, known, bundle, err) < 0)
		return error_wrap(err, "cannot write %s", bundle);
	return 0;
}
