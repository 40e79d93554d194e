#include "review/quarantine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

enum { SHALLOW_MAX = 16 << 20 };

/* As git unquotes it: a path may hold a newline, or begin as a comment does. */
static void add_quoted(struct str *text, const char *path)
{
	str_add_char(text, '"');
	for (; *path; path++) {
		if (*path == '\n')
			str_add(text, "\\n");
		else if (*path == '"' || *path == '\\')
			str_addf(text, "\\%c", *path);
		else
			str_add_char(text, *path);
	}
	str_add(text, "\"\n");
}

static int write_file(int dirfd, const char *name, const char *text, struct error *err)
{
	return file_replace_at(dirfd, name, text, strlen(text), 0600, false, err);
}

static int add_host(const struct quarantine *q, const struct repository *host, struct error *err)
{
	autofree char *objects = xasprintf("%s/objects", host->common_dir);
	autostr struct str alternates = STR_INIT, shallow = STR_INIT;
	autofd int common = open(host->common_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autofd int info = -1;

	if (common < 0)
		return error_errno(err, "cannot open %s", host->common_dir);
	add_quoted(&alternates, objects);
	if (dir_make_path_at(q->fd, "objects/info", 0700, &info, err) < 0 ||
	    write_file(info, "alternates", alternates.s, err) < 0)
		return -1;
	if (faccessat(common, "shallow", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (file_read_at(common, "shallow", SHALLOW_MAX, &shallow, err) < 0)
		return -1;
	return write_file(q->fd, "shallow", shallow.s, err);
}

int quarantine_open(const struct root *root, const struct repository *host, bool sha256,
		    struct quarantine *ret, struct error *err)
{
	autoquarantine struct quarantine q = QUARANTINE_INIT;
	autofd int pack = -1, refs = -1;

	q.root = root;
	q.sha256 = sha256;
	if (root_make_temp(root, "quarantine", &q.name, &q.fd, err) < 0 ||
	    dir_make_path_at(q.fd, "objects/pack", 0700, &pack, err) < 0 ||
	    dir_make_path_at(q.fd, "refs/heads", 0700, &refs, err) < 0 ||
	    write_file(q.fd, "HEAD", "ref: refs/heads/none\n", err) < 0 ||
	    write_file(q.fd, "config",
		       sha256 ? "[core]\n\trepositoryformatversion = 1\n\tbare = true\n"
				"[extensions]\n\tobjectFormat = sha256\n"
			      : "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
		       err) < 0 ||
	    (host && add_host(&q, host, err) < 0))
		return error_wrap(err, "cannot make a quarantine");
	autofree char *path = xasprintf("%s/.tmp/%s", root->path, q.name);

	q.path = realpath(path, NULL);
	if (!q.path)
		return error_errno(err, "cannot find %s", path);
	*ret = q;
	q = (struct quarantine)QUARANTINE_INIT;
	return 0;
}

void quarantine_close(struct quarantine *q)
{
	if (q->name)
		tree_remove_at(q->root->temp, q->name, NULL);
	fd_close(&q->fd);
	free(q->name);
	free(q->path);
	*q = (struct quarantine)QUARANTINE_INIT;
}

struct git_place quarantine_place(const struct quarantine *q)
{
	return (struct git_place){.directory = q->path, .git_dir = q->path, .own = true};
}

int quarantine_filter_known(const struct git_place *place, const struct strv *oids,
			    struct strv *ret, struct error *err)
{
	const char *const args[] = {"cat-file", "--batch-check=%(objectname)", NULL};
	autostr struct str input = STR_INIT, output = STR_INIT;

	for (size_t i = 0; i < oids->len; i++)
		str_addf(&input, "%s\n", oids->items[i]);
	if (!oids->len)
		return 0;
	if (git_run_with(place, args, &input, &output, err) < 0)
		return -1;
	char *rest = output.s;

	for (char *line; (line = strsep(&rest, "\n"));)
		if (*line && !str_ends(line, " missing"))
			strv_add(ret, line);
	return 0;
}

static int stream(const struct quarantine *q, struct viewer *viewer, size_t repo,
		  const struct str *wanted, struct error *err)
{
	static const char *const pack[] = {"pack-objects",	  "--revs", "--stdout", "-q",
					   "--delta-base-offset", NULL};
	static const char *const take[] = {"index-pack", "--stdin", "--strict", "--fix-thin", NULL};
	autoviewergit struct viewer_git git = VIEWER_GIT_INIT;
	struct git_place place = quarantine_place(q);
	struct process process = PROCESS_INIT;
	autostr struct str output = STR_INIT;
	autofd int input = -1;
	int ends[2];

	if (git_input(wanted, &input, err) < 0)
		return -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(err, "cannot make a pipe");
	autofd int from = ends[0], to = ends[1];

	place.input = from;
	if (git_start(&place, take, &process, err) < 0)
		return -1;
	fd_close(&from);
	struct viewer_call call = {
		.repo = repo, .place = VIEWER_BARE, .args = pack, .input = input, .output = to};
	int result = viewer_git(viewer, &call, &git, err);

	fd_close(&to);
	if (result == 0)
		result = viewer_wait(viewer, &git, NULL, err);
	if (result < 0) {
		process_abandon(&process);
		return error_wrap(err, "cannot pack what the sandbox has");
	}
	if (git_finish(&process, &output, NULL, NULL, err) < 0) {
		err->code = ERR_CORRUPT;
		return error_wrap(err, "what the sandbox has is refused");
	}
	return 0;
}

static void list_wanted(const struct refs *tips, const struct strv *known, struct str *ret)
{
	for (size_t i = 0; i < tips->count; i++)
		str_addf(ret, "%s\n", tips->items[i].oid);
	for (size_t i = 0; i < known->len; i++)
		str_addf(ret, "^%s\n", known->items[i]);
}

/* git finds them as packed refs. */
static int name_tips(const struct quarantine *q, const struct refs *tips, struct error *err)
{
	autostr struct str text = STR_INIT;

	for (size_t i = 0; i < tips->count; i++)
		str_addf(&text, "%s %s\n", tips->items[i].oid, tips->items[i].name);
	return write_file(q->fd, "packed-refs", text.s, err);
}

int quarantine_receive(const struct quarantine *q, struct viewer *viewer, size_t repo,
		       const struct refs *tips, const struct strv *known, struct error *err)
{
	autostr struct str wanted = STR_INIT;

	if (!tips->count)
		return 0;
	list_wanted(tips, known, &wanted);
	if (stream(q, viewer, repo, &wanted, err) < 0)
		return -1;
	return name_tips(q, tips, err);
}

int quarantine_check(const struct quarantine *q, const struct refs *tips, const struct strv *known,
		     struct error *err)
{
	const char *const args[] = {"rev-list", "--objects", "--stdin", "--quiet", NULL};
	const struct git_place place = quarantine_place(q);
	autostr struct str wanted = STR_INIT, output = STR_INIT;

	list_wanted(tips, known, &wanted);
	if (git_run_with(&place, args, &wanted, &output, err) < 0) {
		err->code = ERR_CORRUPT;
		return error_wrap(err, "objects are missing");
	}
	return 0;
}
