#include "git/repository.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "git/git.h"

enum { POINTER_MAX = 65536 };

void repository_release(struct repository *repository)
{
	free(repository->top);
	free(repository->git_dir);
	free(repository->common_dir);
	free(repository->name);
	*repository = (struct repository)REPOSITORY_INIT;
}

void repository_head_release(struct repository_head *head)
{
	free(head->commit);
	free(head->tree);
	free(head->ref);
	free(head->format);
	*head = (struct repository_head){0};
}

static bool is_git_dir(const char *path)
{
	static const char *const parts[] = {"HEAD", "objects", "refs"};
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		autofree char *part = xasprintf("%s/%s", path, parts[i]);

		if (lstat(part, &st) < 0)
			return false;
	}
	return true;
}

/* Reads a one-line file that holds a path, relative to `base`. NULL with errno on failure. */
static char *read_pointer(const char *file, const char *prefix, const char *base)
{
	autostr struct str text = STR_INIT;
	autofd int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct error ignored = ERROR_INIT;

	if (fd < 0)
		return NULL;
	if (read_all(fd, POINTER_MAX, &text, &ignored) < 0) {
		error_clear(&ignored);
		errno = EIO;
		return NULL;
	}
	while (text.len && (text.s[text.len - 1] == '\n' || text.s[text.len - 1] == '\r'))
		text.s[--text.len] = '\0';
	if (!str_starts(text.s, prefix)) {
		errno = EINVAL;
		return NULL;
	}
	const char *target = text.s + strlen(prefix);
	autofree char *joined =
		target[0] == '/' ? xstrdup(target) : xasprintf("%s/%s", base, target);

	return realpath(joined, NULL);
}

static int find_git_dir(const char *top, char **ret, struct error *err)
{
	autofree char *dot_git = xasprintf("%s/.git", top);
	struct stat st;

	if (stat(dot_git, &st) < 0)
		return 1;
	if (S_ISDIR(st.st_mode)) {
		/* An empty .git, or something that is no repository: git looks further up. */
		if (access(dot_git, R_OK | X_OK) == 0 && !is_git_dir(dot_git))
			return 1;
		*ret = realpath(dot_git, NULL);
		if (*ret && access(*ret, R_OK | X_OK) == 0)
			return 0;
		free(steal_ptr(ret));
		return error_errno(err, "cannot read the git directory %s", dot_git);
	}
	if (!S_ISREG(st.st_mode))
		return 1;
	*ret = read_pointer(dot_git, "gitdir: ", top);
	/* What is there need not be one. That of a linked worktree has little more than a HEAD. */
	autofree char *head = *ret ? xasprintf("%s/HEAD", *ret) : NULL;

	if (head && lstat(head, &st) < 0) {
		cleanup_free(ret); /* which leaves errno alone */
		*ret = NULL;
	}
	if (!*ret)
		return error_set(err, ERR_NOT_REPOSITORY, "%s does not lead to a git directory: %s",
				 dot_git, strerror(errno));
	return 0;
}

static bool owned_by_caller(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_uid == geteuid();
}

static int no_repository(const char *start, struct error *err)
{
	error_set(err, ERR_NOT_REPOSITORY, "%s is not inside a git repository", start);
	return error_hint(err, "run jib inside a repository, or name one with --repo DIR");
}

int repository_find(const char *directory, struct repository *ret, struct error *err)
{
	autorepository struct repository found = REPOSITORY_INIT;
	autofree char *start = realpath(directory, NULL);

	autofd int fd = start ? open(start, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd < 0)
		return error_errno(err, "cannot open %s", directory);
	autofree char *at = xstrdup(start);

	for (;;) {
		int result = find_git_dir(at, &found.git_dir, err);

		if (result < 0)
			return -1;
		if (result == 0)
			break;
		if (is_git_dir(at)) {
			error_set(err, ERR_BARE, "%s is a git directory without a work tree", at);
			return error_hint(err,
					  "a sandbox needs files to work on: clone it, or "
					  "`git -C %s worktree add DIR`",
					  at);
		}
		char *slash = strrchr(at, '/');

		if (slash == at && !at[1])
			return no_repository(start, err);
		slash[slash == at] = '\0';
	}
	found.top = steal_ptr(&at);
	autofree char *commondir = xasprintf("%s/commondir", found.git_dir);

	found.common_dir = read_pointer(commondir, "", found.git_dir);
	if (!found.common_dir) {
		if (errno != ENOENT)
			return error_errno(err, "cannot read %s", commondir);
		found.common_dir = xstrdup(found.git_dir);
	}
	const char *slash = strrchr(found.top, '/');

	found.name = xstrdup(slash[1] ? slash + 1 : "root");
	found.trusted = owned_by_caller(found.top) && owned_by_caller(found.git_dir) &&
			owned_by_caller(found.common_dir);
	*ret = found;
	found = (struct repository)REPOSITORY_INIT;
	return 0;
}

static char *take_line(char **at)
{
	char *line = *at;
	size_t len = strcspn(line, "\n");

	*at = line + len + (line[len] == '\n');
	line[len] = '\0';
	return line;
}

static int explain_refusal(const struct repository *repository, const struct str *errors,
			   struct error *err)
{
	const char *text = errors->len ? errors->s : "";

	if (strstr(text, "dubious ownership") || strstr(text, "safe.directory")) {
		error_set(err, ERR_OWNERSHIP, "the repository %s belongs to somebody else",
			  repository->top);
		return error_hint(err,
				  "if you trust it: git config --global --add safe.directory '%s'",
				  repository->top);
	}
	const char *fatal = strstr(text, "fatal: ");

	fatal = fatal ? fatal + strlen("fatal: ") : text;
	return error_set(err, ERR_GIT, "git cannot read the repository %s: %.*s", repository->top,
			 (int)strcspn(fatal, "\n"), fatal);
}

/* "COMMIT TREE DATE" */
static int parse_commit(const struct str *output, struct repository_head *head, struct error *err)
{
	size_t commit = output->len ? strcspn(output->s, " \n") : 0;
	const char *rest = output->len ? output->s + commit : "";
	size_t tree = *rest == ' ' ? strcspn(rest + 1, " \n") : 0;

	if (!tree || rest[1 + tree] != ' ')
		return error_set(err, ERR_GIT, "git log says \"%s\"", output->len ? output->s : "");
	head->commit = xstrndup(output->s, commit);
	head->tree = xstrndup(rest + 1, tree);
	head->time = strtol(rest + 1 + tree, NULL, 10);
	return 0;
}

static int ask_head(const struct repository *repository, struct repository_head *head,
		    struct error *err)
{
	autostr struct str output = STR_INIT;
	const char *const symbolic[] = {"symbolic-ref", "-q", "HEAD", NULL};
	const char *const commit[] = {
		"log", "-1", "--no-show-signature", "--format=%H %T %ct", "HEAD", "--", NULL};
	struct git_place place = {.directory = repository->top};
	struct process process = PROCESS_INIT;
	int status;

	if (git_start(&place, symbolic, &process, err) < 0 ||
	    git_finish(&process, &output, &status, NULL, err) < 0)
		return -1;
	if (status == 0 && output.len) {
		output.s[strcspn(output.s, "\n")] = '\0';
		head->ref = xstrdup(output.s);
	}
	str_clear(&output);
	if (git_start(&place, commit, &process, err) < 0)
		return -1;
	autostr struct str errors = STR_INIT;

	if (git_finish(&process, &output, &status, &errors, err) < 0)
		return -1;
	if (status == 0 && output.len)
		return parse_commit(&output, head, err);
	/* An unborn branch is a branch that does not resolve; anything else is damage. */
	if (head->ref && errors.len && strstr(errors.s, "bad revision"))
		return 0;
	return explain_refusal(repository, &errors, err);
}

int repository_inspect(const struct repository *repository, struct repository_head *ret,
		       struct error *err)
{
	autostr struct str output = STR_INIT;
	autostr struct str errors = STR_INIT;
	const char *const parse[] = {"rev-parse", "--show-object-format", "--is-inside-work-tree",
				     "--show-toplevel", NULL};
	struct process process = PROCESS_INIT;
	struct repository_head head = {0};
	int status;

	if (git_start(&(struct git_place){.directory = repository->top}, parse, &process, err) <
		    0 ||
	    git_finish(&process, &output, &status, &errors, err) < 0)
		return -1;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return explain_refusal(repository, &errors, err);
	char *at = output.s;
	const char *format = take_line(&at);
	const char *inside = take_line(&at);

	/* --show-toplevel is last: a newline in it does no harm. */
	if (output.s + output.len > at && output.s[output.len - 1] == '\n')
		output.s[output.len - 1] = '\0';
	if (strcmp(inside, "true") != 0 || strcmp(at, repository->top) != 0)
		return error_set(err, ERR_NOT_REPOSITORY,
				 "git says that the work tree of %s is %s (core.worktree?)",
				 repository->top, at);
	head.format = xstrdup(format);
	if (ask_head(repository, &head, err) < 0) {
		repository_head_release(&head);
		return -1;
	}
	*ret = head;
	return 0;
}

static int no_commit(const struct repository *repository, const char *revision, struct error *err)
{
	autostr struct str shown = STR_INIT;

	str_add_escaped(&shown, revision, strlen(revision));
	error_set(err, ERR_NOT_FOUND, "%s has no commit \"%s\"", repository->top,
		  shown.len ? shown.s : "");
	return error_hint(err, "`git log --oneline --all` lists the commits there are");
}

/* 0 and what git prints; 1 when it fails. */
static int ask(const struct repository *repository, const char *const *args, struct str *ret,
	       struct error *err)
{
	struct process process = PROCESS_INIT;
	int status;

	if (git_start(&(struct git_place){.directory = repository->top}, args, &process, err) < 0 ||
	    git_finish(&process, ret, &status, NULL, err) < 0)
		return -1;
	return status != 0;
}

static int resolve(const struct repository *repository, const char *revision,
		   struct repository_head *head, struct error *err)
{
	/* Peeled in a second step: ":/text^{commit}" would look for that text. */
	const char *const verify[] = {"rev-parse",	  "--quiet", "--verify",
				      "--end-of-options", revision,  NULL};
	autostr struct str object = STR_INIT;
	autostr struct str commit = STR_INIT;
	autostr struct str none = STR_INIT;
	autofree char *ref = xasprintf("refs/heads/%s", revision);
	const char *const branch[] = {"show-ref", "--verify", "--quiet", "--", ref, NULL};
	int result = ask(repository, verify, &object, err);

	if (result != 0 || !object.len)
		return result < 0 ? -1 : no_commit(repository, revision, err);
	object.s[strcspn(object.s, "\n")] = '\0';
	const char *const show[] = {
		"log", "-1", "--no-show-signature", "--format=%H %T %ct", object.s, "--", NULL};

	result = ask(repository, show, &commit, err);
	if (result != 0)
		return result < 0 ? -1 : no_commit(repository, revision, err);
	if (parse_commit(&commit, head, err) < 0)
		return -1;
	result = ask(repository, branch, &none, err);
	if (result == 0)
		head->ref = steal_ptr(&ref);
	return result < 0 ? -1 : 0;
}

int repository_resolve(const struct repository *repository, const char *revision,
		       struct repository_head *ret, struct error *err)
{
	struct repository_head head = {0};

	if (resolve(repository, revision, &head, err) < 0) {
		repository_head_release(&head);
		return -1;
	}
	head.format = xstrdup(strlen(head.commit) == 64 ? "sha256" : "sha1");
	*ret = head;
	return 0;
}
