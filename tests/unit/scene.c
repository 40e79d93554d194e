#include "scene.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static int make_open(const struct temp *temp, const char *name)
{
	make_dirs(temp->fd, name);
	return open_beneath(temp->fd, name, O_RDONLY | O_DIRECTORY, 0);
}

void scene_init(struct scene *scene, const struct temp *temp)
{
	autoerror struct error err = ERROR_INIT;
	autofree char *path = make_repository(temp, "r");

	*scene = (struct scene){.temp = temp};
	assert_success(repository_find(path, &scene->repository, &err), &err);
	scene->host = open_beneath(temp->fd, "r", O_RDONLY | O_DIRECTORY, 0);
	scene->git_dir = open_beneath(temp->fd, "r/.git", O_RDONLY | O_DIRECTORY, 0);
	scene->base = make_open(temp, "base");
	scene->theirs = make_open(temp, "theirs");
	make_dirs(temp->fd, "scratch");
	scene->scratch = temp_path(temp, "scratch");
}

void scene_clear(struct scene *scene)
{
	autofd int scratch = open(scene->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Whatever happened, a merge leaves nothing behind. */
	assert_int_equal(count_entries(scratch), 0);
	for (size_t i = 0; i < scene->count; i++)
		free(scene->paths[i]);
	free(scene->scratch);
	fd_close(&scene->host);
	fd_close(&scene->base);
	fd_close(&scene->theirs);
	fd_close(&scene->git_dir);
	repository_release(&scene->repository);
}

/* -1 for what is not meant. */
static int place_fd(const struct scene *scene, int where, int place)
{
	if (!(where & place))
		return -1;
	if (place == BASE)
		return scene->base;
	return place == HOST ? scene->host : scene->theirs;
}

static void clear_way(int fd, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash) {
		autofree char *above = xstrndup(path, (size_t)(slash - path));

		make_dirs(fd, above);
	}
	unlinkat(fd, path, 0);
}

void scene_put_bytes(const struct scene *scene, int where, const char *path, const void *bytes,
		     size_t len)
{
	for (int place = BASE; place <= THEIRS; place <<= 1) {
		int fd = place_fd(scene, where, place);

		if (fd < 0)
			continue;
		clear_way(fd, path);
		put_bytes(fd, path, bytes, len);
	}
}

void scene_put(const struct scene *scene, int where, const char *path, const char *text)
{
	scene_put_bytes(scene, where, path, text, strlen(text));
}

void scene_link(const struct scene *scene, int where, const char *path, const char *target)
{
	for (int place = BASE; place <= THEIRS; place <<= 1) {
		int fd = place_fd(scene, where, place);

		if (fd < 0)
			continue;
		clear_way(fd, path);
		assert_int_equal(symlinkat(target, fd, path), 0);
	}
}

void scene_mode(const struct scene *scene, int where, const char *path, mode_t mode)
{
	for (int place = BASE; place <= THEIRS; place <<= 1) {
		int fd = place_fd(scene, where, place);

		if (fd >= 0)
			assert_int_equal(fchmodat(fd, path, mode, 0), 0);
	}
}

static struct side side_of(int fd, const char *path)
{
	struct side side = {.dirfd = fd, .path = path};
	struct stat st;

	if (fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode))
		return side;
	side.kind = S_ISLNK(st.st_mode) ? SIDE_LINK : SIDE_FILE;
	side.executable = S_ISREG(st.st_mode) && (st.st_mode & 0100);
	return side;
}

void scene_change(struct scene *scene, const char *path, const char *from)
{
	assert_true(scene->count < SCENE_MAX);
	char *copy = scene->paths[scene->count] = xstrdup(path);

	scene->changes[scene->count++] = (struct change){
		.path = copy,
		.from = from,
		.base = side_of(scene->base, from ? from : copy),
		.theirs = side_of(scene->theirs, copy),
	};
}

int scene_try_merge(const struct scene *scene, struct merge *ret, struct error *err)
{
	return merge_make(&(struct merge_request){.repository = &scene->repository,
						  .changes = scene->changes,
						  .count = scene->count,
						  .name = "box",
						  .scratch = scene->scratch},
			  ret, err);
}

void scene_merge(const struct scene *scene, struct merge *ret)
{
	autoerror struct error err = ERROR_INIT;

	assert_success(scene_try_merge(scene, ret, &err), &err);
}

const struct verdict *verdict_of(const struct merge *merge, const char *path)
{
	for (size_t i = 0; i < merge->count; i++)
		if (strcmp(merge->items[i].change->path, path) == 0)
			return &merge->items[i];
	fail_msg("no verdict on %s", path);
	return NULL;
}

void assert_verdict(const struct scene *scene, const char *path, enum verdict_kind kind,
		    const char *reason)
{
	automerge struct merge merge = MERGE_INIT;

	scene_merge(scene, &merge);
	const struct verdict *verdict = verdict_of(&merge, path);

	if (verdict->kind != kind)
		fail_msg("%s: %s (%s)", path, verdict_name(verdict->kind),
			 verdict->reason ? verdict->reason : "");
	if (reason)
		assert_contains(verdict->reason, reason);
}

static int add_line(void *data, int dirfd, const char *name, const char *path,
		    const struct stat *st)
{
	struct strv *lines = data;
	autostr struct str line = STR_INIT;
	char target[PATH_MAX];

	if (strcmp(path, ".git") == 0)
		return TREE_SKIP;
	str_add_escaped(&line, path, strlen(path));
	if (S_ISREG(st->st_mode)) {
		autofree char *text = get_text(dirfd, name);

		str_addf(&line, " %04o %s", st->st_mode & 07777, text);
	} else if (S_ISLNK(st->st_mode)) {
		ssize_t len = readlinkat(dirfd, name, target, sizeof target);

		str_addf(&line, " -> %.*s", (int)len, target);
	} else {
		str_add(&line, S_ISDIR(st->st_mode) ? "/" : "?");
	}
	strv_add(lines, line.s);
	return 0;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *scene_tree(const struct scene *scene)
{
	autoerror struct error err = ERROR_INIT;
	autostrv struct strv lines = STRV_INIT;
	struct str all = STR_INIT;

	assert_success(tree_walk(scene->host, add_line, &lines, &err), &err);
	if (lines.len)
		qsort(lines.items, lines.len, sizeof *lines.items, compare_lines);
	for (size_t i = 0; i < lines.len; i++)
		str_addf(&all, "%s\n", lines.items[i]);
	return str_take(&all);
}

char *scene_index(const struct scene *scene)
{
	return git_says(scene->repository.top, "ls-files", "-s", NULL);
}
