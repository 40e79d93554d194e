#include "snapshot/sources.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/str.h"
#include "git/config.h"
#include "git/git.h"
#include "snapshot/fingerprint.h"

enum { TRIES = 200 };

/* What is not there is a state as well: it may come. */
static json_t *state_of(const char *path, struct timespec *newest)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return json_null();
	if (newest && fingerprint_is_later(&st.st_ctim, newest))
		*newest = st.st_ctim;
	return json_pack("[I,I,I,I,I,I]", (json_int_t)st.st_ino, (json_int_t)st.st_ctim.tv_sec,
			 (json_int_t)st.st_ctim.tv_nsec, (json_int_t)st.st_mtim.tv_sec,
			 (json_int_t)st.st_mtim.tv_nsec, (json_int_t)st.st_size);
}

bool sources_same(const json_t *sources)
{
	const char *path;
	json_t *known;

	if (!sources)
		return false;
	json_object_foreach((json_t *)(uintptr_t)sources, path, known)
	{
		json_t *now = state_of(path, NULL);
		bool same = json_equal(now, known);

		json_decref(now);
		if (!same)
			return false;
	}
	return true;
}

/* As git reads a path in a file: `base` is the file it stands in, or the work tree's directory. */
static void add_path(json_t *sources, const char *path, const char *base, bool base_is_file)
{
	const char *home = getenv("HOME");
	const char *slash = strrchr(base, '/');
	autofree char *full = NULL;

	if (path[0] == '/')
		full = xstrdup(path);
	else if (str_starts(path, "~/"))
		full = xasprintf("%s%s", home ? home : "", path + 1);
	else if (base_is_file)
		full = xasprintf("%.*s/%s", slash ? (int)(slash - base) : 0, base, path);
	else
		full = xasprintf("%s/%s", base, path);
	/* JSON is UTF-8; of another path nothing is remembered. */
	json_object_set_new(sources, full, json_null());
}

/* Where git looks whether or not there is something. */
static void add_usual(json_t *sources)
{
	static const char *const usual[] = {"config", "attributes", "ignore"};
	const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME");

	add_path(sources, "/etc/gitconfig", "", false);
	add_path(sources, "/etc/gitattributes", "", false);
	if (home && home[0] == '/')
		add_path(sources, "~/.gitconfig", "", false);
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
		autofree char *path =
			xdg && xdg[0] ? xasprintf("%s/git/%s", xdg, usual[i])
				      : xasprintf("%s/.config/git/%s", home ? home : "", usual[i]);

		add_path(sources, path, "", false);
	}
}

static bool names_file(const char *key)
{
	return strcmp(key, "include.path") == 0 || strcmp(key, "core.attributesfile") == 0 ||
	       strcmp(key, "core.excludesfile") == 0 || strcmp(key, "core.hookspath") == 0 ||
	       (str_starts(key, "includeif.") && str_ends(key, ".path"));
}

/* ORIGIN NUL KEY [LF VALUE] NUL; an origin that is no file was said on the command line. */
static void add_listed(json_t *sources, const struct repository *repository, struct str *output)
{
	for (size_t at = 0; at < output->len;) {
		const char *origin = output->s + at;

		at += strlen(origin) + 1;
		if (at >= output->len)
			break;
		char *item = output->s + at;

		at += strlen(item) + 1;
		if (!str_starts(origin, "file:"))
			continue;
		const char *name = origin + strlen("file:");
		autofree char *file =
			name[0] == '/' ? xstrdup(name) : xasprintf("%s/%s", repository->top, name);
		char *value = strchr(item, '\n');

		add_path(sources, file, "", false);
		if (!value)
			continue;
		*value++ = '\0';
		/* Neither attributes nor hooks are relative to where they are named. */
		if (names_file(item))
			add_path(sources, value,
				 str_starts(item, "include") ? file : repository->top,
				 str_starts(item, "include"));
	}
}

static void take_states(json_t *sources, struct timespec *newest)
{
	for (void *at = json_object_iter(sources); at; at = json_object_iter_next(sources, at))
		json_object_iter_set_new(sources, at, state_of(json_object_iter_key(at), newest));
}

int sources_take(const struct repository *repository, json_t **ret, struct error *err)
{
	autofree char *own = config_own_file();
	autofree char *include = own ? xasprintf("include.path=%s", own) : xstrdup("jib.none=");
	const char *const args[] = {"-c", include, "config", "--list", "-z", "--show-origin", NULL};

	for (int i = 0; i < TRIES; i++) {
		autostr struct str output = STR_INIT;
		struct timespec before, newest = {0};

		clock_gettime(CLOCK_REALTIME_COARSE, &before);
		if (git_run(&(struct git_place){.directory = repository->top}, args, &output, err) <
		    0)
			return error_wrap(err, "cannot read the configuration of %s",
					  repository->top);
		json_t *sources = json_object();

		add_usual(sources);
		if (own)
			add_path(sources, own, "", false);
		add_listed(sources, repository, &output);
		take_states(sources, &newest);
		if (fingerprint_is_settled(&before, &newest)) {
			*ret = sources;
			return 0;
		}
		json_decref(sources);
		fingerprint_wait(&newest);
	}
	return error_set(err, ERR_UNSTABLE, "the configuration of %s keeps changing",
			 repository->top);
}
