#include "git/git.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

/* A list: a colon, or a quote at the beginning, means more in it than in a path. */
static void add_alternate(const char *path, struct strv *env)
{
	autostr struct str quoted = STR_INIT;

	for (; *path; path++) {
		if (*path == '"' || *path == '\\')
			str_add(&quoted, "\\");
		str_add_bytes(&quoted, path, 1);
	}
	strv_addf(env, "GIT_ALTERNATE_OBJECT_DIRECTORIES=\"%s\"", quoted.len ? quoted.s : "");
}

/*
 * The caller's environment less everything that steers git from outside the repository, and
 * less what would make it ask. GIT_SSH_COMMAND and friends stay out with the rest: a lazy fetch
 * of a partial clone takes them from the configuration.
 */
static void add_environment(const struct git_place *place, struct strv *env)
{
	static const char *const dropped[] = {"GIT_",  "SSH_ASKPASS=", "LANGUAGE=", "LC_",
					      "LANG=", "PAGER=",       "TERM="};
	static const char *const alone[] = {
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_NO_LAZY_FETCH=1",	 "GIT_GRAFT_FILE=/dev/null",	"GIT_ALLOW_PROTOCOL=",
	};

	for (char **item = environ; *item; item++) {
		bool drop = false;

		for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
			drop = drop || str_starts(*item, dropped[i]);
		if (!drop)
			strv_add(env, *item);
	}
	strv_add(env, "LC_ALL=C"); /* messages are looked at, and quoted in errors */
	strv_add(env, "GIT_TERMINAL_PROMPT=0");
	strv_add(env, "GIT_ASKPASS=/bin/false");
	strv_add(env, "SSH_ASKPASS=/bin/false");
	strv_add(env, "GIT_OPTIONAL_LOCKS=0");
	strv_add(env, "GIT_NO_REPLACE_OBJECTS=1");
	strv_add(env, "GIT_PAGER=cat");
	strv_add(env, "GIT_EDITOR=/bin/false");
	if (place->own)
		for (size_t i = 0; i < ARRAY_SIZE(alone); i++)
			strv_add(env, alone[i]);
	for (const char *const *item = place->env; item && *item; item++)
		strv_add(env, *item);
	if (place->git_dir)
		strv_addf(env, "GIT_DIR=%s", place->git_dir);
	if (place->work_tree)
		strv_addf(env, "GIT_WORK_TREE=%s", place->work_tree);
	if (place->index)
		strv_addf(env, "GIT_INDEX_FILE=%s", place->index);
	if (place->objects)
		strv_addf(env, "GIT_OBJECT_DIRECTORY=%s", place->objects);
	if (place->alternates)
		add_alternate(place->alternates, env);
}

static void add_arguments(const struct git_place *place, const char *const *args, struct strv *argv)
{
	static const char *const settings[] = {
		"core.hooksPath=/dev/null",  "core.fsmonitor=false",
		"core.untrackedCache=false", "gc.auto=0",
		"maintenance.auto=false",    "submodule.recurse=false",
		"advice.detachedHead=false",
	};

	strv_add(argv, "git");
	if (place->directory) {
		strv_add(argv, "-C");
		strv_add(argv, place->directory);
	}
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		strv_add(argv, "-c");
		strv_add(argv, settings[i]);
	}
	for (; *args; args++)
		strv_add(argv, *args);
}

int git_start(const struct git_place *place, const char *const *args, struct process *ret,
	      struct error *err)
{
	autostrv struct strv argv = STRV_INIT;
	autostrv struct strv env = STRV_INIT;

	add_arguments(place, args, &argv);
	add_environment(place, &env);
	if (process_start(&(struct process_spec){.program = "git",
						 .argv = argv.items,
						 .env = env.items,
						 .stdin_fd = place->input,
						 .limit = 1UL << 30},
			  ret, err) < 0)
		return err && err->number == ENOENT
			       ? error_hint(err, "install git: sudo apt install git")
			       : -1;
	ret->progress = place->progress;
	ret->what = place->what;
	return 0;
}

void git_quote_errors(const struct str *errors, struct str *ret)
{
	const char *line = errors->len ? errors->s : "";
	const char *best = line;

	while (*line) {
		size_t len = strcspn(line, "\n");

		if (str_starts(line, "fatal: ") || str_starts(line, "error: "))
			best = line;
		line += len + (line[len] == '\n');
	}
	str_add_bytes(ret, best, strcspn(best, "\n"));
}

int git_finish(struct process *process, struct str *ret, int *ret_status, struct str *ret_errors,
	       struct error *err)
{
	autostr struct str errors = STR_INIT;
	autostr struct str quoted = STR_INIT;
	int status;

	if (process_finish(process, ret, &errors, &status, err) < 0)
		return error_wrap(err, "git");
	if (ret_status) {
		*ret_status = status;
		if (ret_errors && errors.len)
			str_add_bytes(ret_errors, errors.s, errors.len);
		return 0;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFSIGNALED(status))
		return error_set(err, ERR_GIT, "git was killed by signal %d", WTERMSIG(status));
	git_quote_errors(&errors, &quoted);
	return error_set(err, ERR_GIT, "git failed: %s",
			 quoted.len ? quoted.s : "without a message");
}

int git_run(const struct git_place *place, const char *const *args, struct str *ret,
	    struct error *err)
{
	struct process process = PROCESS_INIT;

	if (git_start(place, args, &process, err) < 0)
		return -1;
	return git_finish(&process, ret, NULL, NULL, err);
}

int git_input(const struct str *text, int *ret_fd, struct error *err)
{
	autofd int fd = memfd_create("input", MFD_CLOEXEC);

	if (fd < 0 || write_all(fd, text->len ? text->s : "", text->len) < 0 ||
	    lseek(fd, 0, SEEK_SET) < 0)
		return error_errno(err, "cannot prepare the input of git");
	*ret_fd = steal_fd(&fd);
	return 0;
}

int git_run_with(const struct git_place *place, const char *const *args, const struct str *input,
		 struct str *ret, struct error *err)
{
	struct git_place with_input = *place;
	autofd int fd = -1;

	if (git_input(input, &fd, err) < 0)
		return -1;
	with_input.input = fd;
	return git_run(&with_input, args, ret, err);
}
