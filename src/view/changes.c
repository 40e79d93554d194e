#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "view/view.h"

void view_survey_release(struct view_survey *survey)
{
	free(survey->repos);
	*survey = (struct view_survey){0};
}

bool view_changed(const struct view_changes *changes)
{
	return changes->tree || changes->git || changes->home;
}

static bool has_mark(int fd, const char *name, char wanted)
{
	char value;
	ssize_t len = fgetxattr(fd, name, &value, 1);

	if (!wanted)
		return len >= 0 || errno == ERANGE;
	return len == 1 && value == wanted;
}

static bool is_empty(int fd)
{
	autodir DIR *dir = fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 3));
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			return false;
	return true;
}

/*
 * A directory that was only entered or re-stamped was copied up: it carries the mark of its
 * origin, and is no change. One that took the place of another is opaque. Of a new one its
 * content counts, or, when it has none, itself.
 */
static bool is_changed_directory(int dirfd, const char *name, bool *ret_opaque)
{
	autofd int fd = open_beneath(dirfd, name, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return false;
	*ret_opaque = has_mark(fd, "user.overlay.opaque", 'y');
	return *ret_opaque || (!has_mark(fd, "user.overlay.origin", '\0') && is_empty(fd));
}

static bool is_home_noise(const char *path)
{
	static const char *const noise[] = {".bash_history", ".zsh_history",	  ".python_history",
					    ".lesshst",	     ".viminfo",	  ".cache",
					    ".wget-hsts",    ".node_repl_history"};
	size_t len = strcspn(path, "/");

	for (size_t i = 0; i < ARRAY_SIZE(noise); i++)
		if (len == strlen(noise[i]) && memcmp(path, noise[i], len) == 0)
			return true;
	return false;
}

struct surveying {
	const struct sandbox *sandbox;
	bool whole; /* also what no change can be in */
	view_look *look;
	void *data;
	struct view_survey *result;
	size_t *roots; /* of each repository, how many of its uppers were there */
};

/* Takes the first component off a path: NULL when it is the last one. */
static const char *skip_component(const char *path)
{
	const char *slash = strchr(path, '/');

	return slash ? slash + 1 : NULL;
}

static bool is_component(const char *path, const char *name)
{
	size_t len = strlen(name);

	return strncmp(path, name, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* An entry's place, as far as it lies in an upper of the record's. */
struct place {
	enum view_kind kind;
	size_t repo;
	const char *inner; /* relative to the upper; NULL for the upper itself */
};

static bool is_carried(const struct sandbox_repo *repo, const char *number)
{
	for (size_t n = 0; n < repo->carried.len; n++) {
		autofree char *name = xasprintf("%zu", n);

		if (is_component(number, name))
			return true;
	}
	return false;
}

static bool find_place(const struct sandbox *sandbox, const char *path, struct place *ret)
{
	static const struct {
		const char *name;
		enum view_kind kind;
	} parts[] = {{"repos", VIEW_TREE}, {"git", VIEW_GIT}, {"carried", VIEW_CARRIED}};
	const char *part = skip_component(path);
	const char *repo = part ? skip_component(part) : NULL;
	size_t kind = 0, which = 0;

	if (is_component(path, "home")) {
		*ret = (struct place){.kind = VIEW_HOME, .inner = part};
		return true;
	}
	if (!repo || !is_component(path, "upper"))
		return false;
	while (kind < ARRAY_SIZE(parts) && !is_component(part, parts[kind].name))
		kind++;
	while (which < sandbox->repo_count && !is_component(repo, sandbox->repos[which].name))
		which++;
	if (kind == ARRAY_SIZE(parts) || which == sandbox->repo_count)
		return false;
	const char *inner = skip_component(repo);

	if (parts[kind].kind == VIEW_CARRIED) {
		if (!inner || !is_carried(&sandbox->repos[which], inner))
			return false;
		inner = skip_component(inner);
	}
	*ret = (struct place){.kind = parts[kind].kind, .repo = which, .inner = inner};
	return true;
}

/* One that was closed from inside is a change, of which the caller cannot see more. */
static bool is_closed(const struct stat *st)
{
	return S_ISDIR(st->st_mode) && (st->st_mode & 0500) != 0500;
}

static void count_change(struct surveying *s, const struct place *place)
{
	struct view_changes *all = &s->result->changes;

	switch (place->kind) {
	case VIEW_HOME:
		all->home += !place->inner || !is_home_noise(place->inner);
		break;
	case VIEW_GIT:
		all->git++;
		s->result->repos[place->repo].git++;
		break;
	case VIEW_TREE:
	case VIEW_CARRIED:
		all->tree++;
		s->result->repos[place->repo].tree++;
		break;
	case VIEW_BESIDE: /* of view_peek() alone */
		break;
	}
}

static void look_at_entry(struct surveying *s, const struct place *place, int dirfd,
			  const char *name, const char *path, const struct stat *st)
{
	bool opaque = false;

	if (!place->inner && place->kind != VIEW_HOME && S_ISDIR(st->st_mode))
		s->roots[place->repo]++;
	/* An upper itself is none, unless it was closed with all that is in it. */
	if (is_closed(st) ||
	    (place->inner && (!S_ISDIR(st->st_mode) || is_changed_directory(dirfd, name, &opaque))))
		count_change(s, place);
	if (s->look && place->inner && place->kind != VIEW_HOME)
		s->look(s->data, &(struct view_entry){.kind = place->kind,
						      .repo = place->repo,
						      .path = path,
						      .inner = place->inner,
						      .opaque = opaque,
						      .st = st});
}

/* The times of what overlayfs keeps for itself, and of jib's own note, say nothing. */
static bool tells_use(const char *path)
{
	return !is_component(path, "work") && !is_component(path, "persisted.json");
}

static int survey_entry(void *data, int dirfd, const char *name, const char *path,
			const struct stat *st)
{
	struct surveying *s = data;
	struct timespec *used = &s->result->used;
	struct place place;

	if (!s->whole && (is_component(path, "work") || is_component(path, "log")))
		return TREE_SKIP;
	s->result->usage.bytes += (uint64_t)st->st_blocks * 512;
	s->result->usage.inodes++;
	if (tells_use(path) &&
	    (st->st_ctim.tv_sec > used->tv_sec ||
	     (st->st_ctim.tv_sec == used->tv_sec && st->st_ctim.tv_nsec > used->tv_nsec)))
		*used = st->st_ctim;
	if (find_place(s->sandbox, path, &place))
		look_at_entry(s, &place, dirfd, name, path, st);
	/* A work directory without another one in it is empty: most are. */
	return is_closed(st) || (S_ISDIR(st->st_mode) && st->st_nlink == 2 &&
				 is_component(path, "work"))
		       ? TREE_SKIP
		       : 0;
}

static int check_upper(const struct sandbox *sandbox, const char *path, struct error *err)
{
	autofd int fd = open_beneath(sandbox->fd, path, O_RDONLY | O_DIRECTORY, 0);

	return fd < 0 ? error_errno(err, "cannot open %s of the sandbox %s", path, sandbox->name)
		      : 0;
}

/* Which upper of a repository is not there. */
static int say_missing(const struct sandbox *sandbox, const struct sandbox_repo *repo,
		       struct error *err)
{
	autofree char *tree = xasprintf("upper/repos/%s", repo->name);
	autofree char *git = xasprintf("upper/git/%s", repo->name);

	if (check_upper(sandbox, tree, err) < 0 || check_upper(sandbox, git, err) < 0)
		return -1;
	for (size_t n = 0; n < repo->carried.len; n++) {
		autofree char *carried = xasprintf("upper/carried/%s/%zu", repo->name, n);

		if (check_upper(sandbox, carried, err) < 0)
			return -1;
	}
	return error_set(err, ERR_CORRUPT, "not all uppers of the sandbox %s can be read",
			 sandbox->name);
}

static int survey(struct surveying *s, struct error *err)
{
	struct stat st;

	if (fstat(s->sandbox->fd, &st) < 0)
		return error_errno(err, "cannot look at the sandbox %s", s->sandbox->name);
	s->result->usage.bytes = (uint64_t)st.st_blocks * 512;
	s->result->usage.inodes = 1;
	if (tree_walk(s->sandbox->fd, survey_entry, s, err) < 0)
		return error_wrap(err, "sandbox %s", s->sandbox->name);
	for (size_t i = 0; i < s->sandbox->repo_count; i++)
		if (s->roots[i] != 2 + s->sandbox->repos[i].carried.len)
			return say_missing(s->sandbox, &s->sandbox->repos[i], err);
	return 0;
}

int view_survey(const struct sandbox *sandbox, view_look *look, void *data, struct view_survey *ret,
		struct error *err)
{
	autosurvey struct view_survey result = {
		.repos = xcalloc(sandbox->repo_count + 1, sizeof *result.repos)};
	autofree size_t *roots = xcalloc(sandbox->repo_count + 1, sizeof *roots);
	struct surveying s = {sandbox, true, look, data, &result, roots};

	if (survey(&s, err) < 0)
		return -1;
	*ret = result;
	result = (struct view_survey){0};
	return 0;
}

int view_changes(const struct sandbox *sandbox, struct view_changes *ret, struct error *err)
{
	autosurvey struct view_survey result = {
		.repos = xcalloc(sandbox->repo_count + 1, sizeof *result.repos)};
	autofree size_t *roots = xcalloc(sandbox->repo_count + 1, sizeof *roots);
	struct surveying s = {sandbox, false, NULL, NULL, &result, roots};

	if (survey(&s, err) < 0)
		return -1;
	*ret = result.changes;
	return 0;
}
