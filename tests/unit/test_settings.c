#include "support.h"

#include <string.h>

#include "snapshot/layers.h"
#include "snapshot/settings.h"

static void urls(void **state)
{
	static const struct {
		const char *url;
		const char *clean;
	} cases[] = {
		{"https://example.org/x.git", "https://example.org/x.git"},
		{"https://user:pw@example.org/x.git", "https://example.org/x.git"},
		{"https://TOKEN@example.org/x.git", "https://example.org/x.git"},
		{"https://oauth2:TOKEN@example.org:8443/x", "https://example.org:8443/x"},
		{"http://user:@example.org/", "http://example.org/"},
		{"http://:pw@example.org/", "http://example.org/"},
		{"HTTPS://User:PW@example.org/", "HTTPS://example.org/"},
		{"https://user:p%40w@example.org/", "https://example.org/"},
		/* The last @ of the authority is the one that counts. */
		{"https://user:p@w@example.org/a", "https://example.org/a"},
		{"https://example.org/a@b:c@d", "https://example.org/a@b:c@d"},
		{"https://example.org?x=a@b", "https://example.org"},
		{"https://u:p@example.org/x?private_token=T#f", "https://example.org/x"},
		{"ssh://git@example.org/x?y", "ssh://git@example.org/x?y"},
		{"https://example.org#a:b@c", "https://example.org#a:b@c"},
		{"https://u:p@example.org", "https://example.org"},
		{"https://u:p@[::1]:80/x", "https://[::1]:80/x"},
		{"ftp://u:p@example.org/x", "ftp://example.org/x"},
		{"ftps://u:p@example.org/x", "ftps://example.org/x"},
		/* For ssh the user is part of the address; a password is none of it. */
		{"ssh://git@example.org/x", "ssh://git@example.org/x"},
		{"ssh://git:pw@example.org:22/x", "ssh://git@example.org:22/x"},
		{"git+ssh://git@example.org/x", "git+ssh://git@example.org/x"},
		{"ssh://example.org/x", "ssh://example.org/x"},
		/* What names a program in front of the address */
		{"hg::https://TOKEN@example.org/x", "hg::https://example.org/x"},
		{"persistent-https://TOKEN@example.org/x", "persistent-https://example.org/x"},
		/* no URLs */
		{"git@example.org:x.git", "git@example.org:x.git"},
		{"/srv/x@y.git", "/srv/x@y.git"},
		{"../x", "../x"},
		{"file:///srv/x", "file:///srv/x"},
		{"", ""},
		{"://", "://"},
		{"https://", "https://"},
		{"https://@", "https://"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autofree char *clean = url_without_credentials(cases[i].url);

		assert_string_equal(clean, cases[i].clean);
	}
}

static char *sanitised(const struct config_item *items, size_t count)
{
	struct config config = {(struct config_item *)(uintptr_t)items, count};
	struct str text = STR_INIT;

	settings_sanitise(&config, &text);
	return str_take(&text);
}

/* A SECRET in any of these is dropped, whole. */
static void dropped(void **state)
{
	static const char *const settings[][2] = {
		{"http.extraheader", "Authorization: Basic SECRET"},
		{"http.https://example.org/.extraheader", "Authorization: SECRET"},
		{"http.proxy", "http://u:SECRET@proxy"},
		{"http.sslkey", "/home/me/SECRET"},
		{"http.cookiefile", "SECRET"},
		{"credential.helper", "!echo SECRET"},
		{"credential.https://example.org.username", "SECRET"},
		{"url.https://u:SECRET@example.org/.insteadof", "https://example.org/"},
		{"url.https://SECRET@example.org/.pushinsteadof", "x"},
		{"core.sshcommand", "ssh -i SECRET"},
		{"core.askpass", "SECRET"},
		{"core.worktree", "/home/SECRET"},
		{"core.hookspath", "/home/SECRET"},
		{"core.fsmonitor", "/home/SECRET"},
		{"core.excludesfile", "/home/SECRET"},
		{"core.gitproxy", "SECRET"},
		{"core.pager", "SECRET"},
		{"core.editor", "SECRET"},
		{"include.path", "/home/SECRET"},
		{"includeif.gitdir:/x/.path", "/home/SECRET"},
		{"sendemail.smtppass", "SECRET"},
		{"github.token", "SECRET"},
		{"unheard.of", "SECRET"},
		{"user.signingkey", "SECRET"},
		{"user.password", "SECRET"},
		{"gpg.program", "SECRET"},
		{"remote.origin.proxy", "SECRET"},
		{"remote.origin.vcs", "SECRET"},
		{"remote.origin.uploadpack", "SECRET"},
		{"remote.url", "SECRET"},
		{"lfs.url", "https://u:SECRET@example.org"},
		{"lfs.https://example.org/.access", "SECRET"},
		{"extensions.worktreeconfig", "SECRET"},
		{"alias.leak", "!git push https://u:SECRET@example.org/x"},
		{"alias.token", "!git push https://SECRET@example.org/x"},
		{"branch.main.pushremote", "https://u:SECRET@example.org/x"},
		{"branch.main.pushremote", "https://SECRET@example.org/x"},
		{"branch.https://u:SECRET@example.org.merge", "refs/heads/x"},
		{"remote.pushdefault", "https://SECRET@example.org/x"},
		{"merge.tool.driver", "x \"https://u:SECRET@h/\" y"},
		{"diff.x.textconv", "curl http://a.b/ ftp://u:SECRET@h"},
		{"remote.origin.url", "https://proxy.org/https://u:SECRET@example.org/x"},
		{"bare", "SECRET"},
		{"alias.query", "!curl https://example.org/x?private_token=SECRET"},
		/* what only the host has */
		{"commit.gpgsign", "true"},
		{"tag.gpgsign", "true"},
		{"push.gpgsign", "true"},
		{"commit.template", "SECRET"},
		{"diff.external", "SECRET"},
		{"diff.x.command", "SECRET"},
		{"merge.x.driver", "SECRET"},
		{"merge.x.name", "SECRET"},
		{"interactive.difffilter", "SECRET"},
		{"log.showsignature", "true"},
		{"blame.ignorerevsfile", "/SECRET"},
		{"diff.orderfile", "~/SECRET"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		autofree char *key = xstrdup(settings[i][0]);
		autofree char *value = xstrdup(settings[i][1]);
		const struct config_item item = {key, value, true};
		autofree char *text = sanitised(&item, 1);

		if (strcmp(text, "[core]\n\tbare = false\n") != 0)
			fail_msg("%s = %s leaves: %s", key, value, text);
	}
}

static void kept(void **state)
{
	static const char *const settings[][2] = {
		{"core.repositoryformatversion", "1"},
		{"core.autocrlf", "input"},
		{"extensions.objectformat", "sha256"},
		{"remote.origin.url", "ssh://git@example.org/x"},
		{"remote.a.b.fetch", "+refs/heads/*:refs/remotes/a.b/*"},
		{"branch.main.remote", "origin"},
		{"branch.main.merge", "refs/heads/main"},
		{"branch.main.pushremote", "ssh://git@example.org/x"},
		{"user.name", "A \"B\" \\ C"},
		{"user.email", "a@example.org"},
		{"alias.lg", "log --format='%h # %s'"},
		{"alias.mail", "!mail a@example.org"},
		{"filter.lfs.clean", "git-lfs clean -- %f"},
		{"merge.ff", "only"},
		{"remote.origin.url", "/srv/x.git"},
		{"blame.ignorerevsfile", ".git-blame-ignore-revs"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		autofree char *key = xstrdup(settings[i][0]);
		autofree char *value = xstrdup(settings[i][1]);
		const struct config_item item = {key, value, true};
		autofree char *text = sanitised(&item, 1);
		autostr struct str expected = STR_INIT;

		str_add(&expected, "[core]\n\tbare = false\n");
		config_write_item(&expected, key, value);
		assert_string_equal(text, expected.s);
		/* What is the user's or the machine's comes into a sandbox another way, or not. */
		const struct config_item global = {key, value, false};
		autofree char *none = sanitised(&global, 1);

		assert_string_equal(none, "[core]\n\tbare = false\n");
	}
}

static void cleaned(void **state)
{
	static const char *const keys[] = {"remote.origin.url", "remote.a.b.pushurl",
					   "submodule.lib.url", "branch.main.remote"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		autofree char *key = xstrdup(keys[i]);
		autofree char *value = xstrdup("https://u:SECRET@example.org/x.git");
		const struct config_item item = {key, value, true};
		autofree char *text = sanitised(&item, 1);

		assert_lacks(text, "SECRET");
		assert_contains(text, "\"https://example.org/x.git\"");
	}
}

/* Through git, from a real repository and back. */
static void with_git(void **state)
{
	const struct temp *temp = *state;
	autofree char *path = make_repository(temp, "r");
	autofree char *result = temp_path(temp, "result");
	autoconfig struct config config = CONFIG_INIT;
	autoerror struct error err = ERROR_INIT;
	autostr struct str text = STR_INIT;

	git(path, "config", "--global", "user.signingkey", "SECRET", NULL);
	git(path, "config", "remote.origin.url", "https://u:SECRET@example.org/x.git", NULL);
	git(path, "config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*", NULL);
	git(path, "config", "--add", "remote.origin.fetch", "+refs/pull/*:refs/pull/*", NULL);
	git(path, "config", "http.extraHeader", "Authorization: SECRET", NULL);
	git(path, "config", "core.hooksPath", "/SECRET", NULL);
	git(path, "config", "core.bare", "false", NULL);
	git(path, "config", "url.https://SECRET@example.org/.insteadOf", "x:", NULL);
	git(path, "config", "alias.odd", "!f() { echo \"a\\b\" # c\n; }; f", NULL);
	git(path, "config", "branch.we.ird \"name\".remote", "origin", NULL);
	assert_success(config_read_all(path, &config, &err), &err);
	settings_sanitise(&config, &text);
	assert_lacks(text.s, "SECRET");
	put_text(temp->fd, "result", text.s);

	autofree char *url = git_says(path, "config", "-f", result, "remote.origin.url", NULL);
	autofree char *fetch =
		git_says(path, "config", "-f", result, "--get-all", "remote.origin.fetch", NULL);
	autofree char *alias = git_says(path, "config", "-f", result, "alias.odd", NULL);
	autofree char *bare =
		git_says(path, "config", "-f", result, "--get-all", "core.bare", NULL);
	autofree char *branch =
		git_says(path, "config", "-f", result, "branch.we.ird \"name\".remote", NULL);

	assert_string_equal(url, "https://example.org/x.git");
	assert_string_equal(fetch, "+refs/heads/*:refs/remotes/origin/*\n+refs/pull/*:refs/pull/*");
	assert_string_equal(alias, "!f() { echo \"a\\b\" # c\n; }; f");
	assert_string_equal(bare, "false");
	assert_string_equal(branch, "origin");
	assert_int_equal(git_status(path, "config", "-f", result, "user.name", NULL), 1);
}

static void addresses_in_text(void **state)
{
	static const char *const cases[][2] = {
		{"", ""},
		{"no address: at all\n", "no address: at all\n"},
		{"clone: from https://TOKEN@h/x\n", "clone: from https://h/x\n"},
		{"a 'https://u:p@h/x' b ssh://git:p@h/y\nhttps://h/?t=T",
		 "a 'https://h/x' b ssh://git@h/y\nhttps://h/"},
		{"https://proxy/https://u:p@h/x done", "(address) done"},
		{"://", "://"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		autostr struct str text = STR_INIT;

		urls_scrub(cases[i][0], strlen(cases[i][0]), &text);
		assert_string_equal(text.len ? text.s : "", cases[i][1]);
	}
}

/* What of the user's and the machine's settings, or of the repository's, is for all of a sandbox. */
static void for_all_repositories(void **state)
{
	static const struct {
		const char *key, *value;
		bool local, global;
	} cases[] = {
		{"user.name", "A", false, true},
		{"user.email", "a@h", true, true},
		{"user.signingkey", "SECRET", false, false},
		{"user.token", "SECRET", false, false},
		{"alias.st", "status", true, true},
		{"init.defaultbranch", "x", false, true},
		{"core.autocrlf", "input", false, true},
		{"core.autocrlf", "input", true, false},
		{"core.pager", "SECRET", false, false},
		{"core.sshcommand", "SECRET", false, false},
		{"core.repositoryformatversion", "1", false, false},
		{"extensions.objectformat", "sha256", false, false},
		{"status.showuntrackedfiles", "no", false, true},
		{"branch.autosetuprebase", "always", false, true},
		{"branch.main.remote", "SECRET", false, false},
		{"remote.origin.url", "SECRET", false, false},
		{"submodule.recurse", "true", false, true},
		{"submodule.x.url", "SECRET", false, false},
		{"commit.gpgsign", "true", false, false},
		{"alias.leak", "!curl https://SECRET@h/", false, false},
		{"http.extraheader", "SECRET", false, false},
		{"jib.net", "none", false, false},
		{"core.excludesfile", "/home/me/ignore", false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config config = CONFIG_INIT;
		autostr struct str text = STR_INIT;

		config.items = xcalloc(1, sizeof *config.items);
		config.items[config.count++] = (struct config_item){
			xstrdup(cases[i].key), xstrdup(cases[i].value), cases[i].local};
		settings_global(&config, &text);
		if ((text.len > 0) != cases[i].global)
			fail_msg("%s leaves: %s", cases[i].key, text.len ? text.s : "nothing");
		/* What is kept beside: jib's own, and the names of files that it reads itself. */
		settings_reduce(&config);
		assert_int_equal(config.count,
				 cases[i].global || str_starts(cases[i].key, "jib.") ||
					 strcmp(cases[i].key, "core.excludesfile") == 0);
		config_release(&config);
	}
}

/* One program that is not inside takes the whole filter away. */
static void filters(void **state)
{
	static const struct {
		const char *clean, *smudge;
		bool kept;
	} cases[] = {
		{"cat", "cat %f", true},
		{"cat", "no-such-program %f", false},
		{"/usr/bin/cat", "cat", true},
		{"/home/me/bin/cat", "cat", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_item items[] = {
			{(char *)"filter.x.clean", (char *)(uintptr_t)cases[i].clean, false},
			{(char *)"filter.x.smudge", (char *)(uintptr_t)cases[i].smudge, false},
			{(char *)"filter.x.required", (char *)"true", false},
			{(char *)"filter.xy.clean", (char *)"cat", false},
		};
		const struct config config = {items, ARRAY_SIZE(items)};
		autostr struct str text = STR_INIT;

		settings_global(&config, &text);
		assert_contains(text.s, "[filter \"xy\"]");
		if (cases[i].kept)
			assert_contains(text.s, "required");
		else
			assert_lacks(text.s, "[filter \"x\"]");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls),
		cmocka_unit_test(dropped),
		cmocka_unit_test(kept),
		cmocka_unit_test(cleaned),
		WITH_TEMP(with_git),
		cmocka_unit_test(addresses_in_text),
		cmocka_unit_test(for_all_repositories),
		cmocka_unit_test(filters),
	};

	return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
