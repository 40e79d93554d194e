#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "snapshot/layers.h"
#include "snapshot/settings.h"

/*
 * Whether the user in front of a host is an address ("git@"), as for ssh. For all else it is half
 * of a credential, or the whole of it. The scheme is what stands right before its end: a helper's
 * name may come first ("hg::https://").
 */
static bool user_is_address(const char *text, const char *scheme_end)
{
	const char *scheme = scheme_end;

	while (scheme > text && (isalnum((unsigned char)scheme[-1]) || strchr("+.-", scheme[-1])))
		scheme--;
	return scheme_end - scheme >= 3 &&
	       (strncasecmp(scheme, "ssh", 3) == 0 || strncasecmp(scheme_end - 3, "ssh", 3) == 0);
}

/* Of these the query is no part of where a repository is; ?private_token= stands there. */
static bool is_http(const char *text, const char *scheme_end)
{
	size_t len = (size_t)(scheme_end - text);

	return (len >= 4 && strncasecmp(scheme_end - 4, "http", 4) == 0) ||
	       (len >= 5 && strncasecmp(scheme_end - 5, "https", 5) == 0);
}

char *url_without_credentials(const char *url)
{
	const char *scheme_end = strstr(url, "://");

	if (!scheme_end)
		return xstrdup(url);
	const char *host = scheme_end + 3;
	const char *path = host + strcspn(host, "/?#");
	const char *at = memrchr(host, '@', (size_t)(path - host));
	size_t len = is_http(url, scheme_end) ? strcspn(url, "?") : strlen(url);

	if (!at)
		return xstrndup(url, len);
	const char *colon = memchr(host, ':', (size_t)(at - host));
	size_t user = user_is_address(url, scheme_end) ? (size_t)((colon ? colon : at) - host) : 0;

	return xasprintf("%.*s%.*s%s%.*s", (int)(host - url), url, (int)user, host, user ? "@" : "",
			 (int)(url + len - at - 1), at + 1);
}

static bool matches(const char *key, const char *pattern)
{
	size_t len = strlen(pattern);

	/* "section." takes all of it, "section.*.name" any subsection, else the key itself. */
	if (pattern[len - 1] == '.')
		return str_starts(key, pattern);
	const char *star = strstr(pattern, ".*.");

	if (!star)
		return strcmp(key, pattern) == 0;
	size_t head = (size_t)(star - pattern) + 1;
	const char *last = strrchr(key, '.');

	return strncmp(key, pattern, head) == 0 && last && last > key + head &&
	       strcmp(last, star + 2) == 0;
}

static bool is_one_of(const char *key, const char *const *patterns, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (matches(key, patterns[i]))
			return true;
	return false;
}

static bool is_kept(const char *key)
{
	static const char *const kept[] = {
		"core.repositoryformatversion",
		"core.filemode",
		"core.symlinks",
		"core.ignorecase",
		"core.precomposeunicode",
		"core.logallrefupdates",
		"core.autocrlf",
		"core.eol",
		"core.safecrlf",
		"core.whitespace",
		"core.quotepath",
		"core.abbrev",
		"core.commentchar",
		"core.sparsecheckout",
		"core.sparsecheckoutcone",
		"core.sharedrepository",
		"core.bigfilethreshold",
		"core.compression",
		"core.loosecompression",
		"core.deltabasecachelimit",
		"core.packedgitlimit",
		"core.packedgitwindowsize",
		"core.checkstat",
		"core.trustctime",
		"core.multipackindex",
		"core.commitgraph",
		"extensions.objectformat",
		"extensions.refstorage",
		"extensions.partialclone",
		"extensions.compatobjectformat",
		"extensions.preciousobjects",
		"remote.*.url",
		"remote.*.pushurl",
		"remote.*.fetch",
		"remote.*.push",
		"remote.*.tagopt",
		"remote.*.prune",
		"remote.*.prunetags",
		"remote.*.mirror",
		"remote.*.promisor",
		"remote.*.partialclonefilter",
		"remote.pushdefault",
		"branch.",
		"user.name",
		"user.email",
		"author.",
		"committer.",
		"alias.",
		"merge.",
		"rebase.",
		"pull.",
		"push.default",
		"push.autosetupremote",
		"push.followtags",
		"diff.",
		"color.",
		"log.",
		"format.",
		"status.",
		"commit.",
		"tag.",
		"fetch.prune",
		"fetch.prunetags",
		"fetch.recursesubmodules",
		"index.",
		"submodule.",
		"rerere.",
		"pack.",
		"gc.",
		"repack.",
		"feature.",
		"i18n.",
		"filter.*.clean",
		"filter.*.smudge",
		"filter.*.process",
		"filter.*.required",
		"lfs.repositoryformatversion",
		"lfs.fetchinclude",
		"lfs.fetchexclude",
		"apply.",
		"blame.",
		"checkout.",
		"clean.",
		"column.",
		"grep.",
		"notes.",
		"stash.",
		"worktree.",
		"advice.",
		"init.",
		"versionsort.",
		"whitespace.",
		"sequence.",
		"bisect.",
		"interactive.",
		"switch.",
		"transfer.",
	};

	return is_one_of(key, kept, ARRAY_SIZE(kept));
}

/* Whether a text holds an address with a password or token in it, wherever it stands. */
static bool holds_credentials(const char *text)
{
	for (const char *url = strstr(text, "://"); url; url = strstr(url + 3, "://")) {
		const char *end = url + 3 + strcspn(url + 3, "/?# \t\n\"'");
		const char *at = memrchr(url + 3, '@', (size_t)(end - url - 3));

		if (at &&
		    (!user_is_address(text, url) || memchr(url + 3, ':', (size_t)(at - url - 3))))
			return true;
		if (is_http(text, url) && url[3 + strcspn(url + 3, "? \t\n\"'")] == '?')
			return true;
	}
	return false;
}

/*
 * What runs a program or needs a key that only the host has: with it, what the user does all day
 * (a commit, a diff) would fail inside. All of a merge driver goes, for without the program its
 * name alone makes git give up.
 */
static bool needs_host(const char *key, const char *value)
{
	static const char *const bound[] = {
		"commit.gpgsign",	  "commit.template",	    "tag.gpgsign",
		"tag.forcesignannotated", "push.gpgsign",	    "log.showsignature",
		"merge.verifysignatures", "diff.external",	    "diff.*.command",
		"diff.*.textconv",	  "merge.*.driver",	    "merge.*.name",
		"merge.*.recursive",	  "interactive.difffilter", "format.signaturefile",
		"submodule.*.update",	  "user.signingkey",	    "gpg.",
	};
	/* Where a path is an address, a name or a program that may well be there. */
	static const char *const paths[] = {
		"remote.", "branch.",	 "submodule.*.url", "user.",
		"author.", "committer.", "alias.",	    "filter.",
	};

	if (is_one_of(key, bound, ARRAY_SIZE(bound)))
		return true;
	return value && (value[0] == '/' || str_starts(value, "~/")) &&
	       !is_one_of(key, paths, ARRAY_SIZE(paths));
}

bool setting_is_safe(const char *key, const char *value)
{
	return !needs_host(key, value) && !holds_credentials(key) &&
	       !(value && holds_credentials(value));
}

void settings_sanitise(const struct config *settings, struct str *ret)
{
	static const char *const urls[] = {"remote.*.url", "remote.*.pushurl", "submodule.*.url",
					   "branch.*.remote"};

	str_add(ret, "[core]\n\tbare = false\n");
	for (size_t i = 0; i < settings->count; i++) {
		const struct config_item *item = &settings->items[i];

		if (!item->local || !is_kept(item->key) || needs_host(item->key, item->value))
			continue;
		if (item->value && is_one_of(item->key, urls, ARRAY_SIZE(urls))) {
			autofree char *clean = url_without_credentials(item->value);

			/* An address within an address: that of a proxy */
			if (!holds_credentials(item->key) && !holds_credentials(clean))
				config_write_item(ret, item->key, clean);
		} else if (setting_is_safe(item->key, item->value)) {
			config_write_item(ret, item->key, item->value);
		}
	}
}

void urls_scrub(const char *text, size_t len, struct str *ret)
{
	static const char ends[] = " \t\r\n\"'<>";
	const char *end = text + len, *done = text;

	for (const char *url; (url = memmem(done, (size_t)(end - done), "://", 3));) {
		const char *start = url, *stop = url;

		while (start > done && start[-1] && !strchr(ends, start[-1]))
			start--;
		while (stop < end && *stop && !strchr(ends, *stop))
			stop++;
		autofree char *address = xstrndup(start, (size_t)(stop - start));
		autofree char *clean = url_without_credentials(address);

		str_add_bytes(ret, done, (size_t)(start - done));
		str_add(ret, holds_credentials(clean) ? "(address)" : clean);
		done = stop;
	}
	str_add_bytes(ret, done, (size_t)(end - done));
}

/* What says something about one repository, and nothing in a configuration for all of them. */
static bool is_of_repository(const char *key)
{
	static const char *const own[] = {
		"core.repositoryformatversion",
		"core.sparsecheckout",
		"core.sparsecheckoutcone",
		"core.sharedrepository",
		"extensions.",
		"user.",
		"lfs.",
	};
	/* Of a single remote, branch or submodule; what is set for all of them is the user's. */
	static const char *const parts[] = {"remote.", "branch.", "submodule."};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (str_starts(key, parts[i]) && strchr(key, '.') != strrchr(key, '.'))
			return true;
	return is_one_of(key, own, ARRAY_SIZE(own));
}

/* Of `user.` nothing but who commits: what else stands there names keys and accounts. */
static bool is_personal(const char *key)
{
	static const char *const personal[] = {
		"user.name", "user.email", "user.useconfigonly", "alias.",
		"init.",     "author.",	   "committer.",
	};

	return is_one_of(key, personal, ARRAY_SIZE(personal));
}

static bool is_global(const struct config_item *item)
{
	if (!setting_is_safe(item->key, item->value))
		return false;
	return is_personal(item->key) ||
	       (!item->local && is_kept(item->key) && !is_of_repository(item->key));
}

/* Whether a program that a filter names by its first word is in a directory that sandboxes have. */
static bool program_is_inside(const char *command)
{
	static const char *const places[] = {"/usr/local/bin", "/usr/bin", "/bin"};
	size_t len = strcspn(command, " \t");

	if (!len)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		autofree char *path = xasprintf("%s/%.*s", places[i], (int)len, command);

		if (command[0] != '/' && access(path, X_OK) == 0)
			return true;
	}
	return str_starts(command, "/usr/") || str_starts(command, "/opt/");
}

/* One program that is missing makes a required filter fail: then all of the filter goes. */
static bool filter_is_inside(const struct config *config, const char *key)
{
	static const char *const programs[] = {"filter.*.clean", "filter.*.smudge",
					       "filter.*.process"};
	size_t len = (size_t)(strrchr(key, '.') + 1 - key);

	for (size_t i = 0; i < config->count; i++) {
		const struct config_item *item = &config->items[i];

		if (strncmp(item->key, key, len) == 0 && item->value &&
		    is_one_of(item->key, programs, ARRAY_SIZE(programs)) &&
		    !program_is_inside(item->value))
			return false;
	}
	return true;
}

void settings_global(const struct config *config, struct str *ret)
{
	for (size_t i = 0; i < config->count; i++) {
		const struct config_item *item = &config->items[i];

		if (!is_global(item) ||
		    (str_starts(item->key, "filter.") && !filter_is_inside(config, item->key)))
			continue;
		config_write_item(ret, item->key, item->value);
	}
}

void settings_reduce(struct config *config)
{
	static const char *const used[] = {"jib.", "core.excludesfile", "core.attributesfile"};
	size_t kept = 0;

	for (size_t i = 0; i < config->count; i++) {
		struct config_item *item = &config->items[i];

		if (is_global(item) || is_one_of(item->key, used, ARRAY_SIZE(used))) {
			config->items[kept++] = *item;
			continue;
		}
		free(item->key);
		free(item->value);
	}
	config->count = kept;
}

/* As git reads a path in a configuration, but for other users' homes and its own prefix. */
static char *resolve(const char *value, const char *top)
{
	const char *home = getenv("HOME");

	if (value[0] == '/')
		return xstrdup(value);
	if (str_starts(value, "~/"))
		return home ? xasprintf("%s%s", home, value + 1) : NULL;
	if (value[0] == '~' || value[0] == '%')
		return NULL;
	return xasprintf("%s/%s", top, value);
}

char *settings_file(const struct config *config, const char *key, const char *usual,
		    const char *top)
{
	const char *value = config_value(config, key);
	const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (value)
		return *value ? resolve(value, top) : NULL;
	if (xdg && *xdg)
		return xasprintf("%s/git/%s", xdg, usual);
	return home ? xasprintf("%s/.config/git/%s", home, usual) : NULL;
}

static char *hooks_place(const struct repository *repository, const struct config *settings)
{
	const char *value = config_value(settings, "core.hookspath");
	autofree char *path = value && *value ? resolve(value, repository->top) : NULL;
	char *real = path ? realpath(path, NULL) : NULL;

	/* What is not there may come, by a checkout or a build. */
	return real || !path || strstr(path, "/../") || str_ends(path, "/..") ? real
									      : steal_ptr(&path);
}

static bool is_in_git_dir(const struct repository *repository, const char *path)
{
	return path_within(path, repository->git_dir) || path_within(path, repository->common_dir);
}

char *hooks_in_git_dir(const struct repository *repository, const struct config *settings)
{
	autofree char *place = hooks_place(repository, settings);

	return place && is_in_git_dir(repository, place) ? steal_ptr(&place) : NULL;
}

void settings_add_hooks(const struct repository *repository, const struct config *settings,
			struct str *ret)
{
	autofree char *place = hooks_place(repository, settings);

	if (!place || !path_within(place, repository->top) || is_in_git_dir(repository, place))
		return;
	const char *relative = place + strlen(repository->top);

	config_write_item(ret, "core.hooksPath", *relative ? relative + 1 : ".");
}

int settings_patterns(const char *path, struct str *ret, struct error *err)
{
	enum { PATTERNS_MAX = 1 << 20 };
	autofd int fd = path ? open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	if (read_all(fd, PATTERNS_MAX, ret, err) < 0)
		return error_wrap(err, "%s", path);
	if (ret->len && ret->s[ret->len - 1] != '\n')
		str_add_char(ret, '\n');
	return 0;
}
