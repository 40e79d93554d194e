#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "git/git.h"
#include "snapshot/local-internal.h"

static struct git_place place_of(const struct local_request *request)
{
	return (struct git_place){.directory = request->repository->top,
				  .git_dir = request->repository->git_dir};
}

/* `git check-ref-format --branch` also takes @{-1} and says what that is; here it is no name. */
static int check_name(const struct local_request *request, const char *name, struct error *err)
{
	const struct git_place place = place_of(request);
	const char *const args[] = {"check-ref-format", "--branch", name, NULL};
	struct process process = PROCESS_INIT;
	autostr struct str output = STR_INIT;
	int status;

	if (git_start(&place, args, &process, err) < 0 ||
	    git_finish(&process, &output, &status, NULL, err) < 0)
		return -1;
	size_t len = output.len && output.s[output.len - 1] == '\n' ? output.len - 1 : output.len;

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || len != strlen(name) ||
	    memcmp(output.s, name, len) != 0)
		return error_set(err, ERR_USAGE, "%s is not a valid name for a branch", name);
	return 0;
}

/* Whether a line of git for-each-ref is the branch itself, above it or below it. */
static int check_ref(const char *line, const char *name, struct error *err)
{
	static const char heads[] = "refs/heads/";

	if (!str_starts(line, heads))
		return 0;
	const char *other = line + strlen(heads);
	size_t len = strlen(name), other_len = strlen(other);

	if (strcmp(other, name) == 0) {
		error_set(err, ERR_EXISTS, "there is a branch %s already", name);
		return error_hint(err, "choose another name, or start from it with --from %s",
				  name);
	}
	if ((strncmp(other, name, len) == 0 && other[len] == '/') ||
	    (strncmp(name, other, other_len) == 0 && name[other_len] == '/'))
		return error_set(err, ERR_EXISTS,
				 "a branch %s cannot be beside the branch %s, which is there", name,
				 other);
	return 0;
}

static int check_free(const struct local_request *request, const char *name, struct error *err)
{
	const struct git_place place = place_of(request);
	autostrv struct strv args = STRV_INIT;
	autostr struct str output = STR_INIT;

	strv_add(&args, "for-each-ref");
	strv_add(&args, "--format=%(refname)");
	/* A pattern is a ref, or a directory with all that is in it. */
	for (size_t len = 0; name[len]; len++)
		if (name[len] == '/')
			strv_addf(&args, "refs/heads/%.*s", (int)len, name);
	strv_addf(&args, "refs/heads/%s", name);
	if (git_run(&place, (const char *const *)args.items, &output, err) < 0)
		return -1;
	char *at = output.s;

	for (char *line; (line = strsep(&at, "\n"));)
		if (check_ref(line, name, err) < 0)
			return -1;
	return 0;
}

int branch_check(const struct local_request *request, struct error *err)
{
	const char *name = request->wishes->branch;
	autofree char *reftable = xasprintf("%s/reftable", request->repository->common_dir);

	if (!name && !request->switched)
		return 0;
	if (faccessat(AT_FDCWD, reftable, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		error_set(err, ERR_UNSUPPORTED,
			  "%s keeps its branches in a reftable, where no other can be chosen",
			  request->repository->top);
		return error_hint(err, "without -b and --from it starts where the repository is");
	}
	if (!name)
		return 0;
	return check_name(request, name, err) < 0 ? -1 : check_free(request, name, err);
}

static int write_file(int git, const char *path, const char *text, struct error *err)
{
	autofree char *directory = xstrdup(path);
	char *slash = strrchr(directory, '/');
	autofd int fd = -1;

	if (slash)
		*slash = '\0';
	if (dir_make_path_at(git, slash ? directory : ".", 0755, &fd, err) < 0)
		return -1;
	return file_replace_at(fd, slash ? slash + 1 : path, text, strlen(text), 0644, false, err);
}

/* "Name <email> seconds zone" */
static int identity(const struct local_request *request, struct str *ret, struct error *err)
{
	const struct git_place place = place_of(request);
	const char *const args[] = {"var", "GIT_COMMITTER_IDENT", NULL};
	struct process process = PROCESS_INIT;
	int status;

	if (git_start(&place, args, &process, err) < 0 ||
	    git_finish(&process, ret, &status, NULL, err) < 0)
		return -1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && ret->len) {
		ret->s[strcspn(ret->s, "\n")] = '\0';
		return 0;
	}
	/* Who has not told git yet: a reflog needs some name. */
	str_clear(ret);
	str_addf(ret, "jib <jib> %lld +0000", (long long)time(NULL));
	return 0;
}

static const char *short_name(const char *ref)
{
	return str_starts(ref, "refs/heads/") ? ref + strlen("refs/heads/") : ref;
}

/* What HEAD is in the git layer, and the commit that it leads to as the last line of its reflog says. */
static void parse_old(const struct str *head, const struct str *log, char **ret_name,
		      char **ret_commit)
{
	static const char symbolic[] = "ref: ";
	const char *name = "";
	size_t end = log->len;

	if (head->len)
		name = str_starts(head->s, symbolic) ? short_name(head->s + strlen(symbolic))
						     : head->s;
	*ret_name = xstrndup(name, strcspn(name, "\n"));
	if (end && log->s[end - 1] == '\n')
		end--;
	while (end && log->s[end - 1] != '\n')
		end--;
	const char *line = log->len ? log->s + end : "";
	const char *second = line + strcspn(line, " ");

	second += *second == ' ';
	*ret_commit = xstrndup(second, strcspn(second, " "));
}

/* A file of the git layer; empty when there is none. */
static int read_below(const struct local_request *request, const char *name, struct str *ret,
		      struct error *err)
{
	enum { LOG_MAX = 64 << 20 };
	autofree char *path = xasprintf("%s/tree/%s", request->git_id, name);
	autofd int fd = open_beneath(request->root->layers, path, O_RDONLY, 0);

	if (fd < 0)
		return errno == ENOENT ? 0 : error_errno(err, "cannot read %s", path);
	if (read_all(fd, LOG_MAX, ret, err) < 0)
		return error_wrap(err, "%s", path);
	return 0;
}

/* As `git switch` does, if the repository keeps reflogs at all. */
static int write_logs(const struct local_request *request, int git, struct error *err)
{
	const char *commit = request->head->commit, *branch = request->wishes->branch;
	autostr struct str head = STR_INIT;
	autostr struct str log = STR_INIT;
	autostr struct str who = STR_INIT;
	autofree char *old_name = NULL;
	autofree char *old_commit = NULL;

	if (!commit)
		return 0;
	if (read_below(request, "HEAD", &head, err) < 0 ||
	    read_below(request, "logs/HEAD", &log, err) < 0)
		return -1;
	if (!log.len)
		return 0;
	if (identity(request, &who, err) < 0)
		return -1;
	parse_old(&head, &log, &old_name, &old_commit);
	const char *target = branch		  ? branch
			     : request->head->ref ? short_name(request->head->ref)
						  : commit;

	str_addf(&log, "%s %s %s\tcheckout: moving from %s to %s\n", old_commit, commit, who.s,
		 old_name, target);
	if (write_file(git, "logs/HEAD", log.s, err) < 0)
		return -1;
	if (!branch)
		return 0;
	autofree char *path = xasprintf("logs/refs/heads/%s", branch);
	autofree char *none = xstrdup(commit);
	autofree char *text = NULL;

	memset(none, '0', strlen(none));
	text = xasprintf("%s %s %s\tbranch: Created from HEAD\n", none, commit, who.s);
	return write_file(git, path, text, err);
}

int branch_write(const struct local_request *request, int git, struct error *err)
{
	const char *branch = request->wishes->branch;
	autofree char *ref = branch		  ? xasprintf("refs/heads/%s", branch)
			     : request->head->ref ? xstrdup(request->head->ref)
						  : NULL;
	autofree char *head =
		ref ? xasprintf("ref: %s\n", ref) : xasprintf("%s\n", request->head->commit);
	autofree char *commit =
		request->head->commit ? xasprintf("%s\n", request->head->commit) : NULL;

	if (!branch && !request->switched)
		return 0;
	if (write_file(git, "HEAD", head, err) < 0 ||
	    (branch && commit && write_file(git, ref, commit, err) < 0))
		return -1;
	return write_logs(request, git, err);
}
