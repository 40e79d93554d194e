#include <ctype.h>
#include <string.h>
#include <strings.h>

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
