#include "support.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/secrets.h"

static const struct secrets built_in;

static enum secret name_of(const char *path)
{
	return secrets_name(&built_in, path);
}

static void expect(const char *path, enum secret wanted)
{
	static const char *const words[] = {"no", "yes", "look"};

	if (name_of(path) != wanted)
		fail_msg("%s: %s, not %s", path, words[name_of(path)], words[wanted]);
}

/* Every row of the table in docs/carry.md, and names that are only like it. */
static void names(void **state)
{
	static const struct {
		const char *path;
		enum secret secret;
	} cases[] = {
		{".ssh/config", SECRET_YES},
		{"a/.ssh/deep/known_hosts", SECRET_YES},
		{".ssh", SECRET_NO},
		{"a/.ssh", SECRET_NO},
		{"a.ssh/config", SECRET_NO},
		{".gnupg/trustdb.gpg", SECRET_YES},
		{".gnupg-notes/x", SECRET_NO},

		{".env", SECRET_YES},
		{"deep/er/.env", SECRET_YES},
		{".ENV", SECRET_YES},
		{".env.local", SECRET_YES},
		{".env.production", SECRET_YES},
		{".env.example.local", SECRET_YES},
		{".env.example", SECRET_NO},
		{".env.sample", SECRET_NO},
		{".env.template", SECRET_NO},
		{".env.dist", SECRET_NO},
		{".env.defaults", SECRET_NO},
		{".environment", SECRET_NO},
		{"env", SECRET_NO},
		{"x.env", SECRET_NO},
		{".env/bin/python", SECRET_NO},
		{".envrc", SECRET_YES},
		{".envrc.example", SECRET_NO},

		{"server.pem", SECRET_LOOK},
		{"server.key", SECRET_LOOK},
		{"SERVER.PEM", SECRET_LOOK},
		{".pem", SECRET_LOOK},
		{"pem", SECRET_NO},
		{"server.pem.md", SECRET_NO},
		{"monkey", SECRET_NO},
		{"a.p12", SECRET_YES},
		{"a.p1", SECRET_NO},
		{"a.pfx", SECRET_YES},
		{"pfx", SECRET_NO},
		{"a.jks", SECRET_YES},
		{"a.jks.txt", SECRET_NO},
		{"debug.keystore", SECRET_YES},
		{"keystore.c", SECRET_NO},
		{"a.kdbx", SECRET_YES},
		{"a.kdb", SECRET_NO},
		{"a.ppk", SECRET_YES},
		{"ppk", SECRET_NO},
		{"id_rsa", SECRET_YES},
		{"id_ed25519", SECRET_YES},
		{"id_deploy", SECRET_YES},
		{"id_rsa.pub", SECRET_NO},
		{"id_rsa.1", SECRET_LOOK},
		{"id_map.js", SECRET_LOOK},
		{"idea", SECRET_NO},
		{"my_id_rsa", SECRET_NO},

		{".netrc", SECRET_YES},
		{"netrc", SECRET_NO},
		{"_netrc", SECRET_YES},
		{"a_netrc", SECRET_NO},
		{".git-credentials", SECRET_YES},
		{"git-credentials", SECRET_NO},
		{".pgpass", SECRET_YES},
		{"pgpass.c", SECRET_NO},
		{".htpasswd", SECRET_YES},
		{".htaccess", SECRET_NO},
		{".vault-token", SECRET_YES},
		{"vault-token", SECRET_NO},
		{".vault_pass", SECRET_YES},
		{".vault_pass.md", SECRET_NO},
		{".dockercfg", SECRET_YES},
		{".dockerignore", SECRET_NO},
		{".aws/credentials", SECRET_YES},
		{"home/.AWS/Credentials", SECRET_YES},
		{".aws/config", SECRET_NO},
		{"aws/credentials", SECRET_NO},
		{"x.aws/credentials", SECRET_NO},
		{".aws/x/credentials", SECRET_NO},
		{"credentials", SECRET_NO},
		{".cargo/credentials", SECRET_YES},
		{".cargo/credentials.toml", SECRET_YES},
		{".cargo/config.toml", SECRET_NO},
		{".gem/credentials", SECRET_YES},
		{"gem/credentials", SECRET_NO},
		{"credentials.tfrc.json", SECRET_YES},
		{"application_default_credentials.json", SECRET_YES},

		{".npmrc", SECRET_LOOK},
		{"npmrc", SECRET_NO},
		{".yarnrc", SECRET_LOOK},
		{".yarnrc.yml", SECRET_LOOK},
		{".yarnrc.js", SECRET_NO},
		{".pypirc", SECRET_LOOK},
		{"pypirc", SECRET_NO},
		{"pip.conf", SECRET_LOOK},
		{"pip.conf.md", SECRET_NO},
		{".my.cnf", SECRET_LOOK},
		{"my.cnf", SECRET_NO},
		{".docker/config.json", SECRET_LOOK},
		{"gh/hosts.yml", SECRET_LOOK},
		{"hosts.yml", SECRET_NO},
		{"sub/.git/config", SECRET_LOOK},
		{"git/config", SECRET_NO},
		{"bare.git/config", SECRET_LOOK},
		{"a/Bare.Git/config", SECRET_LOOK},
		{"bare.gitx/config", SECRET_NO},
		{"sub/.git/config.worktree", SECRET_LOOK},
		{"sub/.git/modules/a/b/config", SECRET_LOOK},
		{"sub/.git/worktrees/w/config.worktree", SECRET_LOOK},
		{"sub/.git/config/x", SECRET_NO},
		{"config.worktree", SECRET_NO},
		{"sub/.git/FETCH_HEAD", SECRET_LOOK},
		{"sub/.git/modules/a/FETCH_HEAD", SECRET_LOOK},
		{"FETCH_HEAD", SECRET_NO},
		{"sub/.git/HEAD", SECRET_NO},
		{"bare.git/logs/HEAD", SECRET_LOOK},
		{"sub/.git/logs/refs/heads/main", SECRET_LOOK},
		{"sub/.git/modules/a/logs/refs/heads/deep/er", SECRET_LOOK},
		{"sub/.git/refs/heads/main", SECRET_NO},
		{"sub/.git/refs/heads/logs", SECRET_NO},
		{"logs/bare.git/HEAD", SECRET_NO},
		{"logs/HEAD", SECRET_NO},

		{"terraform.tfstate", SECRET_YES},
		{"prod.tfstate", SECRET_YES},
		{"tfstate", SECRET_NO},
		{"terraform.tfstate.backup", SECRET_YES},
		{"terraform.tfstate.1700000000.backup", SECRET_YES},
		{"a.backup", SECRET_NO},
		{"terraform.tfvars", SECRET_YES},
		{"terraform.tfvars.example", SECRET_NO},
		{"a.auto.tfvars.json", SECRET_YES},

		{"kubeconfig", SECRET_YES},
		{"kubeconfig.go", SECRET_NO},
		{"dev.kubeconfig", SECRET_YES},
		{".kube/config", SECRET_YES},
		{".kube/cache", SECRET_NO},
		{"kube/config", SECRET_NO},

		{"package.json", SECRET_NO},
		{"tsconfig.json", SECRET_NO},
		{"credentials.json", SECRET_LOOK},
		{"client_secret_1.json", SECRET_LOOK},
		{"auth.json", SECRET_LOOK},
		{"service.json", SECRET_LOOK},
		{"service.json5", SECRET_NO},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect(cases[i].path, cases[i].secret);
}

/* Copies of them, by the names that editors and people give those. */
static void copies(void **state)
{
	static const struct {
		const char *path;
		enum secret secret;
	} cases[] = {
		{".env~", SECRET_YES},
		{".env.bak", SECRET_YES},
		{".env.swp", SECRET_YES},
		{"#.env#", SECRET_YES},
		{"a/#.env.local#", SECRET_YES},
		{"#.env", SECRET_NO},
		{"#.env~", SECRET_NO},
		{"#.env#~", SECRET_YES},
		{"x.env#", SECRET_NO},
		{"x.env.a#~", SECRET_NO},
		{".env#", SECRET_NO},
		{"##", SECRET_NO},
		{"~", SECRET_NO},
		{"a/~", SECRET_NO},
		{".bak", SECRET_NO},
		{".env-prod", SECRET_YES},
		{".env-prod.bak", SECRET_YES},
		{".env-example", SECRET_NO},
		{".env-sample", SECRET_NO},
		{".env-template", SECRET_NO},
		{".env-dist", SECRET_NO},
		{".env-defaults", SECRET_NO},
		{"env.prod", SECRET_NO},
		{"env~", SECRET_NO},
		{".env.example~", SECRET_NO},
		{".env.example.bak", SECRET_NO},
		{".env.example.swp", SECRET_NO},
		{"#.env.example#", SECRET_NO},
		{".netrc.bak", SECRET_YES},
		{".NETRC.BAK", SECRET_YES},
		{".netrc.orig~", SECRET_YES},
		{".netrc.bak.old", SECRET_YES},
		{".netrc.bak.old~", SECRET_NO},
		{".pgpass~", SECRET_YES},
		{"._netrc.swp", SECRET_YES},
		{"._netrc.swo", SECRET_YES},
		{"._netrc.bak", SECRET_NO},
		{"_netrc.swp", SECRET_YES},
		{".id_rsa.swp", SECRET_YES},
		{"id_rsa.old", SECRET_YES},
		{"id_rsa.save", SECRET_YES},
		{"id_rsa.pub.old", SECRET_NO},
		{"id_map.js~", SECRET_LOOK},
		{"key.pem.bak", SECRET_LOOK},
		{".key.pem.swp", SECRET_LOOK},
		{"key.pem.bak2", SECRET_NO},
		{"terraform.tfvars.old", SECRET_YES},
		{".aws/credentials~", SECRET_YES},
		{".aws/#credentials#", SECRET_YES},
		{"sub/.git/config.bak", SECRET_LOOK},
		{".ssh/notes~", SECRET_YES},
		{"main.c~", SECRET_NO},
		{".main.c.swp", SECRET_NO},
		{"#main.c#", SECRET_NO},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect(cases[i].path, cases[i].secret);
}

#define CERTIFICATE "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
#define PRIVATE "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"

static void content(void **state)
{
	static const struct {
		const char *path, *text;
		bool secret;
	} cases[] = {
		{"a.pem", CERTIFICATE, false},
		{"a.pem", "\n# Issuer: CN=Root\n" CERTIFICATE "\n# Issuer\n" CERTIFICATE, false},
		{"a.pem", "-----BEGIN PUBLIC KEY-----\nMIIB\n", false},
		{"a.pem", CERTIFICATE PRIVATE, true},
		{"a.pem", PRIVATE, true},
		{"a.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", true},
		{"a.pem", CERTIFICATE "-----BEGIN WHATEVER-----\n", true},
		{"a.pem", CERTIFICATE "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n", true},
		{"a.pem", "secret", true},
		{"a.key", "0123456789abcdef", true},
		{"a.key", CERTIFICATE, false},
		{"id_map.js", "module.exports = {}", false},
		{"id_rsa.1", "-----BEGIN OPENSSH PRIVATE KEY-----\n", true},
		{"id_rsa.2", "PuTTY-User-Key-File-3: ssh-rsa\n", true},

		{".npmrc", "registry=https://registry.example.org/\n", false},
		{".npmrc", "always-auth=true\n", false},
		{".npmrc", "//registry.example.org/:_authToken=npm_x\n", true},
		{".npmrc", "_auth = eDp5\n", true},
		{".npmrc", "//r.example.org/:_password=\"x\"\n", true},
		{".npmrc", "registry=https://me:pass@r.example.org/\n", true},
		{".npmrc", "registry=https://me@r.example.org/\n", false},
		{".npmrc", "registry=https://me:@r.example.org/\n", false},
		{".npmrc", "registry=https://npm_0123456789abcdefghij@r.example.org/\n", true},
		{".npmrc", "registry=https://r.example.org/@scope:x\n", false},
		{".yarnrc", "\"//r.example.org/:_authToken\" \"x\"\n", true},
		{".yarnrc", "registry \"https://r.example.org/\"\n", false},
		{".yarnrc.yml", "nodeLinker: node-modules\nnpmAlwaysAuth: true\n", false},
		{".yarnrc.yml", "npmAuthToken: x\n", true},
		{".yarnrc.yml", "npmAuthIdent: 'a:b'\n", true},
		{".pypirc", "[pypi]\nrepository = https://upload.example.org/\n", false},
		{".pypirc", "[pypi]\nusername = me\npassword = x\n", true},
		{"pip.conf", "[global]\nindex-url = https://pypi.example.org/simple\n", false},
		{"pip.conf", "[global]\nindex-url = https://a:b@pypi.example.org/simple\n", true},
		{".my.cnf", "[client]\nuser=me\n", false},
		{".my.cnf", "[client]\npassword=x\n", true},
		{".docker/config.json", "{\"credsStore\": \"pass\"}", false},
		{".docker/config.json", "{\"auths\": {\"r\": {\"auth\": \"eDp5\"}}}", true},
		{".docker/config.json", "{\"auths\": {\"r\": {\"identitytoken\": \"x\"}}}", true},
		{"gh/hosts.yml", "github.com:\n    user: me\n", false},
		{"gh/hosts.yml", "github.com:\n    oauth_token: gho_x\n", true},
		{".git/config", "[remote \"o\"]\n\turl = https://example.org/r\n", false},
		{".git/config", "[remote \"o\"]\n\turl = git@example.org:r\n", false},
		{".git/config", "[remote \"o\"]\n\turl = https://a:b@example.org/r\n", true},
		{".git/config", "[http]\n\textraheader = Authorization: x\n", true},
		{".git/config", "[alias]\n\tx = !curl -H 'Authorization: x'\n", true},
		{".git/config", "[tool]\n\ttoken = x\n", true},
		{".git/config.worktree", "[core]\n\tbare = true\n", false},
		{".git/config.worktree", "[remote \"o\"]\n\turl = https://a:b@example.org/r\n",
		 true},
		{".git/FETCH_HEAD", "00\t\tbranch 'main' of https://example.org/r\n", false},
		{".git/FETCH_HEAD", "00\t\tbranch 'main' of https://a:b@example.org/r\n", true},
		{".git/logs/HEAD", "0 1 me <a@b> 1 +0\tcommit: password: x\n", false},
		{".git/logs/HEAD", "0 1 me <a@b> 1 +0\tclone: from https://a:b@example.org/r\n",
		 true},

		{"credentials.json", "{\"list\": []}", false},
		{"credentials.json", "{\"client_secret\": \"x\"}", true},
		{"client_secret_1.json", "{\"installed\": {}}", false},
		{"client_secret_1.json", "{\"installed\": {\"client_secret\": \"x\"}}", true},
		{"auth.json", "{}", false},
		{"auth.json", "{\"github-oauth\": {}}", true},
		{"a.json", "{\"type\": \"service_account\"}", false},
		{"a.json", "{\"private_key\": \"x\"}", false},
		{"a.json", "{\"type\": \"service_account\", \"private_key\": \"x\"}", true},
		{"a.json", "", false},
	};
	const struct temp *temp = *state;

	make_dirs(temp->fd, ".docker");
	make_dirs(temp->fd, ".git/logs");
	make_dirs(temp->fd, "gh");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *path = cases[i].path;

		expect(path, SECRET_LOOK);
		put_text(temp->fd, path, cases[i].text);
		if (secrets_content(&built_in, temp->fd, path, path) != cases[i].secret)
			fail_msg("%s is %s secret: %s", path, cases[i].secret ? "a" : "no",
				 cases[i].text);
	}
}

static bool is_secret(const struct temp *temp, const char *path)
{
	return secrets_content(&built_in, temp->fd, path, path);
}

/* Writes `text` and then blanks up to `size` bytes. */
static void put_sized(const struct temp *temp, const char *name, const char *text, size_t size)
{
	autostr struct str bytes = STR_INIT;

	str_add(&bytes, text);
	while (bytes.len < size)
		str_add_char(&bytes, ' ');
	put_bytes(temp->fd, name, bytes.s, bytes.len);
}

static void how_much_is_read(void **state)
{
	static const char account[] = "{\"type\": \"service_account\", \"private_key\": \"x\"}";
	const struct temp *temp = *state;

	put_sized(temp, "a.json", account, 64 << 10);
	assert_true(is_secret(temp, "a.json"));
	put_sized(temp, "a.json", account, (64 << 10) + 1);
	assert_false(is_secret(temp, "a.json"));
	put_sized(temp, ".npmrc", "", 64 << 10);
	assert_false(is_secret(temp, ".npmrc"));
	put_sized(temp, ".npmrc", "", (64 << 10) + 1);
	assert_true(is_secret(temp, ".npmrc"));
	make_dirs(temp->fd, "x.git/logs");
	put_sized(temp, "x.git/config", "", 64 << 10);
	assert_false(is_secret(temp, "x.git/config"));
	put_sized(temp, "x.git/config", "", (64 << 10) + 1);
	assert_true(is_secret(temp, "x.git/config"));
	put_sized(temp, "x.git/logs/HEAD", "", 1 << 20);
	assert_false(is_secret(temp, "x.git/logs/HEAD"));
	put_sized(temp, "x.git/logs/HEAD", "", (1 << 20) + 1);
	assert_true(is_secret(temp, "x.git/logs/HEAD"));
	put_sized(temp, "a.pem", CERTIFICATE, 1 << 20);
	assert_false(is_secret(temp, "a.pem"));
	put_sized(temp, "a.pem", CERTIFICATE, (1 << 20) + 1);
	assert_true(is_secret(temp, "a.pem"));
	put_bytes(temp->fd, "a.pem", CERTIFICATE "\0" PRIVATE, sizeof CERTIFICATE + 28);
	assert_true(is_secret(temp, "a.pem"));
	put_sized(temp, "a.pem~", CERTIFICATE, 0);
	assert_false(is_secret(temp, "a.pem~"));
	put_sized(temp, ".a.pem.swp", PRIVATE, 0);
	assert_true(is_secret(temp, ".a.pem.swp"));
}

static int unreadable_body(const struct temp *temp)
{
	NEED(is_secret(temp, "a.json"));
	return 0;
}

static void what_cannot_be_read(void **state)
{
	const struct temp *temp = *state;

	assert_false(is_secret(temp, "a.json"));
	assert_false(is_secret(temp, "nowhere/a.pem"));
	put_text(temp->fd, "real.pem", PRIVATE);
	assert_int_equal(symlinkat("real.pem", temp->fd, "link.pem"), 0);
	assert_true(is_secret(temp, "link.pem"));
	assert_int_equal(symlinkat("real.pem", temp->fd, ".npmrc"), 0);
	assert_false(is_secret(temp, ".npmrc"));
	make_dirs(temp->fd, "directory.pem");
	assert_false(is_secret(temp, "directory.pem"));
	assert_int_equal(mkfifoat(temp->fd, "fifo.pem", 0600), 0);
	assert_false(is_secret(temp, "fifo.pem"));
	put_text(temp->fd, "a.json", "{}");
	assert_int_equal(fchmodat(temp->fd, "a.json", 0, 0), 0);
	in_user_child(unreadable_body, temp);
}

/* What the user's patterns make of a path: 'm' masked, '-' not, '?' to be looked into. */
static void expect_patterns(const char *mask, const char *unmask, const char *path, char wanted)
{
	autostrv struct strv masks = STRV_INIT;
	autostrv struct strv unmasks = STRV_INIT;
	struct secrets secrets = {&masks, &unmasks};

	if (mask)
		strv_add(&masks, mask);
	if (unmask)
		strv_add(&unmasks, unmask);
	char found = "-m?"[secrets_name(&secrets, path)];

	if (found != wanted)
		fail_msg("mask %s, unmask %s: %s: %c", mask ? mask : "none",
			 unmask ? unmask : "none", path, found);
}

static void patterns(void **state)
{
	(void)state;
	expect_patterns("*.secret", NULL, "deep/a.secret", 'm');
	expect_patterns("*.secret", NULL, "deep/A.SECRET", 'm');
	expect_patterns("*.secret", NULL, "a.secret.txt", '-');
	expect_patterns("conf/*.txt", NULL, "conf/a.txt", 'm');
	expect_patterns("conf/*.txt", NULL, "conf/deep/a.txt", '-');
	expect_patterns("conf/**.txt", NULL, "conf/deep/a.txt", 'm');
	expect_patterns("conf/*.txt", NULL, "x/conf/a.txt", '-');
	expect_patterns("**/conf/a", NULL, "conf/a", 'm');
	expect_patterns("/a.txt", NULL, "a.txt", 'm');
	expect_patterns("/a.txt", NULL, "b/a.txt", '-');
	expect_patterns("conf/", NULL, "conf/deep/a.txt", 'm');
	expect_patterns("conf/", NULL, "x/conf/a.txt", 'm');
	expect_patterns("/conf/", NULL, "x/conf/a.txt", '-');
	expect_patterns("conf/", NULL, "conf", '-');
	expect_patterns("a/b/", NULL, "a/b/c", 'm');
	expect_patterns("*.json", NULL, "a.json", 'm');
	expect_patterns("", NULL, "a", '-');

	expect_patterns(NULL, ".env", "deep/.env", '-');
	expect_patterns(NULL, ".env", ".env.local", 'm');
	expect_patterns(NULL, ".ENV", ".env", 'm');
	expect_patterns(NULL, "/.env", "deep/.env", 'm');
	expect_patterns(NULL, "a/*", "a/b/.env", 'm');
	expect_patterns(NULL, "a/", "a/b/.env", '-');
	expect_patterns(NULL, "*.pem", "a.pem", '-');
	expect_patterns(NULL, "*.key", "a.pem", '?');
	expect_patterns("*.txt", "a.txt", "a.txt", '-');
	expect_patterns("*.txt", "a.txt", "b.txt", 'm');
	expect_patterns(NULL, ".ssh/config", ".ssh/config", '-');
	expect_patterns(NULL, ".ssh/config", ".ssh/other", 'm');
}

static void directories(void **state)
{
	autostrv struct strv masks = STRV_INIT;
	autostrv struct strv unmasks = STRV_INIT;
	struct secrets secrets = {&masks, &unmasks};

	(void)state;
	assert_true(secrets_directory(&built_in, ".ssh"));
	assert_true(secrets_directory(&built_in, "a/.ssh/b"));
	assert_false(secrets_directory(&built_in, ".env"));
	assert_false(secrets_directory(&built_in, "a.git/logs"));
	assert_false(secrets_directory(&built_in, "a/.git/logs/refs"));
	assert_false(secrets_directory(&built_in, "a"));
	strv_add(&masks, "a");
	assert_false(secrets_directory(&secrets, "a"));
	strv_add(&masks, "a/");
	assert_true(secrets_directory(&secrets, "a"));
	assert_true(secrets_directory(&secrets, "b/a/c"));
	assert_false(secrets_directory(&secrets, "b"));
	/* Something below may be wanted. */
	strv_add(&unmasks, "x");
	assert_false(secrets_directory(&secrets, "a"));
}

static char *id_of(const char *mask, const char *unmask)
{
	autostrv struct strv masks = STRV_INIT;
	autostrv struct strv unmasks = STRV_INIT;
	struct secrets secrets = {&masks, &unmasks};
	struct hash hash;

	if (mask)
		strv_add(&masks, mask);
	if (unmask)
		strv_add(&unmasks, unmask);
	hash_init(&hash);
	secrets_hash(&secrets, &hash);
	return hash_id(&hash, "t");
}

static void hashes(void **state)
{
	autofree char *none = id_of(NULL, NULL);
	autofree char *again = id_of(NULL, NULL);
	autofree char *mask = id_of("a", NULL);
	autofree char *unmask = id_of(NULL, "a");

	(void)state;
	assert_string_equal(none, again);
	assert_string_not_equal(none, mask);
	assert_string_not_equal(none, unmask);
	assert_string_not_equal(mask, unmask);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(copies),
		WITH_TEMP(content),
		WITH_TEMP(how_much_is_read),
		WITH_TEMP(what_cannot_be_read),
		cmocka_unit_test(patterns),
		cmocka_unit_test(directories),
		cmocka_unit_test(hashes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
