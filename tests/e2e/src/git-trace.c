/*
 * git-trace: stands before git in the PATH of the end-to-end tests, and notes what jib has git do.
 *
 *   DIR/git       this program           DIR/real      the git that it becomes
 *   DIR/calls     where it notes         DIR/libexec   git's own programs
 *   DIR/core/     git's programs again, those that are git itself as links to this program
 *
 * ./dev makes DIR; it is known by where this program lies, because jib hands on no variable of
 * git's. A call is noted when its parent is jib, or cannot be known, and when it comes from a git
 * that was noted: such a one has DIR/core as GIT_EXEC_PATH, where git looks for itself and for its
 * programs first, so upload-pack and its like are seen too. What git does in its own process, and
 * programs that are not git (a filter, ssh), are not; of those a git that they start is.
 *
 * A record is one write to the end of DIR/calls: its length and a newline, then fields
 * "NAME=VALUE", each ended by a NUL:
 *
 *   parent, name, cwd, root    the parent's program, as what it was called, the root of the store
 *   arg, env                   each argument but the first, each GIT_* of the environment
 *   path                       where a path among these, or what git finds from there, really is
 *   view                       where overlays are mounted below the stage
 *
 * git-trace.py judges them.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

static FILE *record;

static void die(const char *what)
{
	fprintf(stderr, "git-trace: %s: %s\n", what, strerror(errno));
	exit(125);
}

static char *join(const char *directory, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", directory, name) < 0)
		die("memory");
	return path;
}

static char *link_target(const char *path)
{
	char *target = calloc(1, PATH_MAX);

	if (!target || readlink(path, target, PATH_MAX - 1) < 0) {
		free(target);
		return NULL;
	}
	return target;
}

static void note(const char *name, const char *value)
{
	fprintf(record, "%s=%s", name, value);
	fputc('\0', record);
}

/* What does not exist yet is where its directory is. */
static char *resolve(const char *path)
{
	char *real = realpath(path, NULL);

	if (real || !path[0] || !strchr(path + 1, '/'))
		return real ? real : strdup(path);
	char *parent = strdup(path), *slash = strrchr(parent, '/');

	*slash = '\0';
	char *above = resolve(parent);

	real = join(above, slash + 1);
	free(above);
	free(parent);
	return real;
}

static void note_path(const char *path)
{
	char *real = resolve(path);

	note("path", real);
	free(real);
}

/* Each line of an alternates file; a relative one is below the directory. */
static void note_alternates(const char *objects)
{
	char *path = join(objects, "info/alternates"), *line = NULL;
	FILE *file = fopen(path, "re");
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
		char *joined = join(objects, line);

		note_path(line[0] == '/' ? line : joined);
		free(joined);
	}
	if (file)
		fclose(file);
	free(line);
	free(path);
}

static void note_git_dir(const char *git_dir)
{
	char *objects = join(git_dir, "objects");

	note_path(git_dir);
	note_path(objects);
	note_alternates(objects);
	free(objects);
}

/* The git directory that git finds from here, also one that a file names. */
static void note_discovered(const char *start)
{
	char *directory = resolve(start);

	for (;;) {
		char *git_dir = join(directory, ".git"), *line = NULL;
		FILE *file = fopen(git_dir, "re");
		bool there = access(git_dir, F_OK) == 0;
		size_t size = 0;

		if (there)
			note_git_dir(git_dir);
		/* Of a directory nothing is read. */
		if (file && getline(&line, &size, file) > 8 && strncmp(line, "gitdir: ", 8) == 0) {
			line[strcspn(line, "\n")] = '\0';
			char *joined = join(directory, line + 8);

			note_git_dir(line[8] == '/' ? line + 8 : joined);
			free(joined);
		}
		if (file)
			fclose(file);
		free(line);
		free(git_dir);
		char *slash = strrchr(directory, '/');

		if (there || !slash || slash == directory)
			break;
		*slash = '\0';
	}
	free(directory);
}

/* A path, also behind "--option=" and in quotes, as git writes a list of alternates. */
static void note_paths_in(const char *text)
{
	const char *equals = strchr(text, '=');
	const char *path = text[0] != '/' && equals ? equals + 1 : text;

	if (*path == '"')
		path++;
	if (*path != '/')
		return;
	char *copy = strndup(path, strcspn(path, "\""));

	note_path(copy);
	free(copy);
}

static void note_arguments(char **argv)
{
	bool discovers = !getenv("GIT_DIR");

	for (char **arg = argv + 1; *arg; arg++) {
		note("arg", *arg);
		note_paths_in(*arg);
		if (strcmp(arg[0], "-C") == 0 && arg[1] && discovers) {
			note_discovered(arg[1]);
			discovers = false;
		}
	}
	if (discovers)
		note_discovered(".");
}

static void note_environment(void)
{
	for (char **item = environ; *item; item++)
		if (strncmp(*item, "GIT_", 4) == 0) {
			note("env", *item);
			note_paths_in(*item);
		}
	const char *git_dir = getenv("GIT_DIR"), *objects = getenv("GIT_OBJECT_DIRECTORY");

	if (git_dir)
		note_git_dir(git_dir);
	if (objects)
		note_alternates(objects);
}

/* The fifth field is the mount point; behind " - " comes the type. */
static void note_views(const char *stage)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, *point = NULL;
	size_t size = 0;

	if (!file)
		die("/proc/self/mountinfo");
	while (getline(&line, &size, file) > 0) {
		if (!strstr(line, " - overlay ") ||
		    sscanf(line, "%*s %*s %*s %*s %ms", &point) != 1)
			continue;
		if (strncmp(point, stage, strlen(stage)) == 0)
			note("view", point);
		free(point);
		point = NULL;
	}
	free(line);
	fclose(file);
}

static void append(const char *directory, const char *bytes, size_t len)
{
	char *path = join(directory, "calls"), *all = malloc(len + 32);
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd < 0 || !all)
		die(path);
	size_t head = (size_t)snprintf(all, 32, "%zu\n", len);

	memcpy(all + head, bytes, len);
	if (write(fd, all, head + len) != (ssize_t)(head + len))
		die(path);
	close(fd);
	free(all);
	free(path);
}

static void note_call(const char *directory, const char *parent, const char *name, char **argv)
{
	const char *root = getenv("JIB_ROOT"), *home = getenv("HOME");
	char *bytes = NULL, *stage = strdup(directory), *standard, *cwd = getcwd(NULL, 0);
	size_t len = 0;

	*strrchr(stage, '/') = '\0';
	standard = join(home ? home : "", ".jib-overlays");
	record = open_memstream(&bytes, &len);
	if (!record)
		die("memory");
	note("parent", parent ? parent : "?");
	note("name", name);
	note("cwd", cwd ? cwd : "?");
	char *real = resolve(root ? root : standard);

	note("root", real);
	note_arguments(argv);
	note_environment();
	note_views(stage);
	if (fclose(record) != 0)
		die("memory");
	append(directory, bytes, len);
	free(bytes);
	free(real);
	free(standard);
	free(stage);
	free(cwd);
}

/* Also of a jib that was replaced meanwhile, and one that is not the stage's */
static bool is_jib(const char *parent)
{
	const char *name = strrchr(parent, '/');

	return name && (strcmp(name, "/jib") == 0 || strcmp(name, "/jib (deleted)") == 0);
}

int main(int argc, char **argv)
{
	const char *called = (const char *)getauxval(AT_EXECFN);
	char *directory = link_target("/proc/self/exe"), *parent, *core, *program;
	const char *exec_path = getenv("GIT_EXEC_PATH");

	(void)argc;
	if (!directory || !called)
		die("where is this program?");
	*strrchr(directory, '/') = '\0';
	called = strrchr(called, '/') ? strrchr(called, '/') + 1 : called;
	if (asprintf(&program, "/proc/%d/exe", (int)getppid()) < 0)
		die("memory");
	parent = link_target(program);
	core = join(directory, "core");
	if (!parent || is_jib(parent) || (exec_path && strcmp(exec_path, core) == 0)) {
		note_call(directory, parent, called, argv);
		if (setenv("GIT_EXEC_PATH", core, 1) < 0)
			die("memory");
	}
	free(program);
	if (asprintf(&program, "%s/libexec/%s", directory, called) < 0)
		die("memory");
	if (strcmp(called, "git") == 0)
		program = join(directory, "real");
	execv(program, argv);
	die(program);
	return 125;
}
