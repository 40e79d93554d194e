#include "snapshot/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/str.h"

/* Changes when the tests of content below do: what was found with other rules is not trusted. */
static const char rules_version[] = "3";

/* ---- content ---- */

enum { SMALL = 64 << 10, MEDIUM = 1 << 20 };

static bool holds(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcasestr(text, *words))
			return true;
	return false;
}
#define HOLDS(text, ...) holds(text, (const char *const[]){__VA_ARGS__, NULL})

/* "word =" or "word:", whatever stands before it. */
static bool assigns(const char *text, const char *word)
{
	for (const char *at = text; (at = strcasestr(at, word)); at++) {
		const char *next = at + strlen(word);

		next += strspn(next, " \t\"'");
		if (*next == '=' || *next == ':')
			return true;
	}
	return false;
}

/* A token in the place of a user name is long; a user name alone is no secret. */
enum { TOKEN_LENGTH = 20 };

/* http://user:password@host, or with a token alone. */
static bool has_address(const char *text)
{
	for (const char *at = text; (at = strstr(at, "://")); at += 3) {
		const char *user = at + 3;
		size_t len = strcspn(user, "/?#@ \t\r\n\"'");
		const char *colon = memchr(user, ':', len);

		if (user[len] == '@' &&
		    ((colon && colon + 1 < user + len) ||
		     (len >= TOKEN_LENGTH && at - text >= 4 && (at[-1] == 'p' || at[-1] == 's'))))
			return true;
	}
	return false;
}

static bool has_token(const char *text)
{
	return HOLDS(text, "_authToken", "_password", "npmAuthToken", "npmAuthIdent") ||
	       assigns(text, "_auth") || assigns(text, "password") || has_address(text);
}

static bool has_password(const char *text)
{
	return assigns(text, "password");
}

static bool has_docker_auth(const char *text)
{
	return assigns(text, "\"auth\"") || assigns(text, "\"identitytoken\"") ||
	       assigns(text, "\"registrytoken\"");
}

static bool has_oauth_token(const char *text)
{
	return assigns(text, "oauth_token");
}

static bool has_git_credential(const char *text)
{
	return assigns(text, "extraheader") || assigns(text, "authorization") ||
	       assigns(text, "password") || assigns(text, "token") || has_address(text);
}

static bool has_client_secret(const char *text)
{
	return HOLDS(text, "secret", "private_key", "token", "password");
}

static bool has_registry_login(const char *text)
{
	return HOLDS(text, "oauth", "token", "password", "bearer");
}

static bool has_service_account(const char *text)
{
	return strstr(text, "\"service_account\"") && strstr(text, "\"private_key\"");
}

static bool has_private_key(const char *text)
{
	return strstr(text, "PRIVATE KEY") || str_starts(text, "PuTTY-User-Key-File");
}

/* Whether there is anything but certificates and public keys, or not even those. */
static bool is_not_public(const char *text)
{
	static const char *const labels[] = {"CERTIFICATE-----",	 "TRUSTED CERTIFICATE-----",
					     "X509 CERTIFICATE-----",	 "X509 CRL-----",
					     "CERTIFICATE REQUEST-----", "PUBLIC KEY-----",
					     "RSA PUBLIC KEY-----"};
	static const char begin[] = "-----BEGIN ";
	bool any = false;

	for (const char *at = text; (at = strstr(at, begin)); any = true) {
		bool is_public = false;

		at += strlen(begin);
		for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
			is_public = is_public || str_starts(at, labels[i]);
		if (!is_public)
			return true;
	}
	return !any || has_private_key(text);
}

/* ---- names ---- */

/* A test of what a file begins with; a NUL ends the text. */
typedef bool test(const char *text);

/*
 * The first rule that fits decides. "NAME" is the last component, "DIR/NAME" the last two, "DIR/"
 * any directory on the way; "*" stands for any characters but a slash. "DIR//" before "NAME" or
 * "DIR/" is a directory at any height above that.
 */
struct rule {
	const char *pattern;
	test *test;   /* with SECRET_LOOK */
	size_t limit; /* bytes that are looked at */
	enum secret secret;
	bool large; /* what a file larger than that is taken for */
	bool link;  /* what a symbolic link is taken for */
};

#define YES(pattern)                                     \
	{                                                \
		pattern, NULL, 0, SECRET_YES, true, true \
	}
#define NO(pattern)                                       \
	{                                                 \
		pattern, NULL, 0, SECRET_NO, false, false \
	}
#define IF(pattern, test)                                      \
	{                                                      \
		pattern, test, SMALL, SECRET_LOOK, true, false \
	}
/* What git writes for every branch. */
#define IF_ADDRESS(pattern)                                            \
	{                                                              \
		pattern, has_address, MEDIUM, SECRET_LOOK, true, false \
	}
/* Too large for a credential. */
#define IF_SMALL(pattern, test)                                 \
	{                                                       \
		pattern, test, SMALL, SECRET_LOOK, false, false \
	}
/* Taken for a key unless it is seen to hold none. */
#define UNLESS_PUBLIC(pattern)                                          \
	{                                                               \
		pattern, is_not_public, MEDIUM, SECRET_LOOK, true, true \
	}

static const struct rule rules[] = {
	YES(".ssh/"),
	YES(".gnupg/"),

	/* Of other repositories, bare ones, those of submodules and work trees included. */
	IF("*.git//config", has_git_credential),
	IF("*.git//config.worktree", has_git_credential),
	IF_ADDRESS("*.git//fetch_head"),
	IF_ADDRESS("*.git//logs/"),

	NO(".env.example"),
	NO(".env.sample"),
	NO(".env.template"),
	NO(".env.dist"),
	NO(".env.defaults"),
	YES(".env"),
	YES(".env.*"),
	NO(".env-example"),
	NO(".env-sample"),
	NO(".env-template"),
	NO(".env-dist"),
	NO(".env-defaults"),
	YES(".env-*"),
	YES(".envrc"),

	UNLESS_PUBLIC("*.pem"),
	UNLESS_PUBLIC("*.key"),
	YES("*.p12"),
	YES("*.pfx"),
	YES("*.jks"),
	YES("*.keystore"),
	YES("*.kdbx"),
	YES("*.ppk"),
	NO("id_*.pub"),
	IF_SMALL("id_*.*", has_private_key),
	YES("id_*"),

	YES(".netrc"),
	YES("_netrc"),
	YES(".git-credentials"),
	YES(".pgpass"),
	YES(".htpasswd"),
	YES(".vault-token"),
	YES(".vault_pass"),
	YES(".dockercfg"),
	YES(".aws/credentials"),
	YES(".cargo/credentials"),
	YES(".cargo/credentials.toml"),
	YES(".gem/credentials"),
	YES("credentials.tfrc.json"),
	YES("application_default_credentials.json"),

	IF(".npmrc", has_token),
	IF(".yarnrc", has_token),
	IF(".yarnrc.yml", has_token),
	IF(".pypirc", has_token),
	IF("pip.conf", has_token),
	IF(".my.cnf", has_password),
	IF(".docker/config.json", has_docker_auth),
	IF("gh/hosts.yml", has_oauth_token),

	YES("*.tfstate"),
	YES("*.tfstate.backup"),
	YES("*.tfstate.*.backup"),
	YES("*.tfvars"),
	YES("*.tfvars.json"),

	YES("kubeconfig"),
	YES("*.kubeconfig"),
	YES(".kube/config"),

	/* By far the most *.json of a node_modules: not worth a look at each. */
	NO("package.json"),
	NO("tsconfig.json"),
	IF_SMALL("credentials.json", has_client_secret),
	IF_SMALL("client_secret*.json", has_client_secret),
	IF_SMALL("auth.json", has_registry_login),
	IF_SMALL("*.json", has_service_account),
};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The patterns are in lower case. */
static bool fits(const char *pattern, const char *text, const char *end)
{
	for (; *pattern != '*'; pattern++, text++) {
		if (text == end)
			return !*pattern;
		if (*pattern != lower(*text))
			return false;
	}
	for (pattern++; text <= end; text++)
		if (fits(pattern, text, end))
			return true;
	return false;
}

/* Whether a directory on the way, or with `whole` the last component too, fits "DIR/". */
static bool fits_directory(const char *pattern, const char *path, bool whole)
{
	autofree char *name = xstrndup(pattern, strlen(pattern) - 1);

	for (;;) {
		size_t len = strcspn(path, "/");

		if ((path[len] || whole) && fits(name, path, path + len))
			return true;
		if (!path[len])
			return false;
		path += len + 1;
	}
}

/* What is below the uppermost directory on the way that fits; NULL: none does. */
static const char *below(const char *pattern, const char *pattern_end, const char *path)
{
	autofree char *name = xstrndup(pattern, (size_t)(pattern_end - pattern));

	for (const char *slash; (slash = strchr(path, '/')); path = slash + 1)
		if (fits(name, path, slash))
			return slash + 1;
	return NULL;
}

static bool rule_fits(const struct rule *rule, const char *path, const char *name)
{
	const char *pattern = rule->pattern;
	const char *outer = strstr(pattern, "//");

	if (outer) {
		path = below(pattern, outer, path);
		if (!path)
			return false;
		pattern = outer + 2;
	}
	const char *slash = strchr(pattern, '/');

	if (slash && !slash[1])
		return strchr(path, '/') && fits_directory(pattern, path, false);
	if (slash) {
		if (name == path)
			return false;
		/* The component before the last one. */
		for (name--; name > path && name[-1] != '/'; name--)
			;
	}
	return fits(pattern, name, name + strlen(name));
}

static const struct rule *find_exact(const char *path)
{
	const char *name = path_last(path);

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (rule_fits(&rules[i], path, name))
			return &rules[i];
	return NULL;
}

enum { DECORATIONS_MAX = 2 };

/* What editors and cautious people add to the name of a copy; 0: nothing. */
static size_t decoration(const char *name, bool *ret_swap)
{
	static const struct {
		const char *text;
		bool swap;
	} endings[] = {
		{"~", false},	  {".bak", false}, {".old", false}, {".orig", false},
		{".save", false}, {".swp", true},  {".swo", true},
	};
	size_t len = strlen(name);

	*ret_swap = false;
	if (len > 2 && name[0] == '#' && name[len - 1] == '#')
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		size_t n = strlen(endings[i].text);

		if (len > n && strcasecmp(name + len - n, endings[i].text) == 0) {
			*ret_swap = endings[i].swap;
			return n;
		}
	}
	return 0;
}

static void drop_first(char *name)
{
	memmove(name, name + 1, strlen(name));
}

/* A copy is judged as what it is a copy of; when that says nothing, by its own name. */
static const struct rule *find_rule(const char *path)
{
	const struct rule *rule;
	bool swap, any_swap = false;
	const char *last = path_last(path);

	if (!decoration(last, &swap))
		return find_exact(path);
	autofree char *plain = xstrdup(path);
	char *name = plain + (last - path);

	for (int i = 0; i < DECORATIONS_MAX; i++) {
		size_t len = decoration(name, &swap);
		char *end = name + strlen(name);
		bool both_sides = len && end[-1] == '#';

		end[-(ssize_t)len] = '\0';
		if (both_sides)
			drop_first(name);
		any_swap = any_swap || swap;
	}
	rule = find_exact(plain);
	/* vim puts a dot before the name, unless there is one. */
	if (!rule && any_swap && name[0] == '.') {
		drop_first(name);
		rule = find_exact(plain);
	}
	return rule ? rule : find_exact(path);
}

/* ---- the user's patterns ---- */

/*
 * On the path or, when there is no slash in it, on the last component. "*" does not stand for a
 * slash, unless there is a "**".
 */
static bool pattern_fits(const char *pattern, const char *path, int flags)
{
	while (str_starts(pattern, "**/"))
		pattern += 3;
	if (!strstr(pattern, "**"))
		flags |= FNM_PATHNAME;
	return fnmatch(pattern + (pattern[0] == '/'), path, flags) == 0 ||
	       fnmatch(pattern, path_last(path), flags) == 0;
}

/* A pattern that ends in a slash is for a directory and all below; `whole`: path is a directory. */
static bool pattern_covers(const char *pattern, const char *path, bool whole, int flags)
{
	size_t len = strlen(pattern);

	if (!len || pattern[len - 1] != '/')
		return pattern_fits(pattern, path, flags);
	autofree char *name = xstrndup(pattern, len - 1);
	autofree char *at = xstrdup(path);

	for (char *slash = strchr(at, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (pattern_fits(name, at, flags))
			return true;
		*slash = '/';
	}
	return whole && pattern_fits(name, at, flags);
}

static bool any_covers(const struct strv *patterns, const char *path, bool whole, int flags)
{
	for (size_t i = 0; patterns && i < patterns->len; i++)
		if (pattern_covers(patterns->items[i], path, whole, flags))
			return true;
	return false;
}

/* ---- judging ---- */

bool secrets_unmasked(const struct secrets *secrets, const char *path)
{
	return any_covers(secrets->unmask, path, false, 0);
}

enum secret secrets_name(const struct secrets *secrets, const char *path)
{
	if (any_covers(secrets->mask, path, false, FNM_CASEFOLD))
		return secrets_unmasked(secrets, path) ? SECRET_NO : SECRET_YES;
	const struct rule *rule = find_rule(path);

	if (!rule || rule->secret == SECRET_NO || secrets_unmasked(secrets, path))
		return SECRET_NO;
	return rule->secret;
}

bool secrets_content(const struct secrets *secrets, int dirfd, const char *name, const char *path)
{
	const struct rule *rule = find_rule(path);
	autostr struct str text = STR_INIT;
	struct stat st;

	if (!rule || rule->secret != SECRET_LOOK || secrets_name(secrets, path) != SECRET_LOOK)
		return secrets_name(secrets, path) == SECRET_YES;
	autofd int fd = open_beneath(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);

	if (fd < 0)
		return errno == ELOOP ? rule->link : errno != ENOENT && errno != ENOTDIR;
	if (fstat(fd, &st) < 0)
		return true;
	if (!S_ISREG(st.st_mode))
		return false;
	if ((size_t)st.st_size > rule->limit)
		return rule->large;
	if (read_all(fd, rule->limit, &text, NULL) < 0)
		return true;
	/* In UTF-16 every word would be missed. */
	if (text.len && memchr(text.s, '\0', text.len))
		return rule->large;
	return text.len && rule->test(text.s);
}

bool secrets_directory(const struct secrets *secrets, const char *path)
{
	if (secrets->unmask && secrets->unmask->len)
		return false; /* each file is asked for */
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (rules[i].secret == SECRET_YES && str_ends(rules[i].pattern, "/") &&
		    fits_directory(rules[i].pattern, path, true))
			return true;
	for (size_t i = 0; secrets->mask && i < secrets->mask->len; i++)
		if (str_ends(secrets->mask->items[i], "/") &&
		    pattern_covers(secrets->mask->items[i], path, true, FNM_CASEFOLD))
			return true;
	return false;
}

static void hash_patterns(const struct strv *patterns, struct hash *hash)
{
	for (size_t i = 0; patterns && i < patterns->len; i++)
		hash_text(hash, patterns->items[i]);
	hash_text(hash, "/end");
}

void secrets_hash(const struct secrets *secrets, struct hash *hash)
{
	hash_text(hash, rules_version);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		hash_text(hash, rules[i].pattern);
		hash_bytes(hash, &rules[i].secret, sizeof rules[i].secret);
	}
	hash_patterns(secrets->mask, hash);
	hash_patterns(secrets->unmask, hash);
}
