# shellcheck shell=bash
# What looks like a credential does not come along: it cannot be read inside by any path (T79),
# git does not take it for deleted, and one line on stderr says so.

load helpers

setup() {
	jib_setup
	mkdir "$T/host"
	make_repo "$T/host/repo"
	cd "$T/host/repo" || return
	random=$(od -An -tx8 -N8 /dev/urandom | tr -d ' ')
	canary=CANARY-$random
}

inside() {
	"$JIB" run a -q -- sh -euc "$1" </dev/null
}

# sweep NAME [PATH]...: of the sandbox NAME
sweep() {
	local name=$1
	shift
	"$JIB" run "$name" -q -- python3 - CANARY "$random" "$@" <"$BATS_TEST_DIRNAME/src/sweep.py"
}

# found_nothing: in what sweep has printed, having looked at a lot
found_nothing() {
	printf '%s\n' "${lines[@]}"
	[[ $output != *found:* ]]
	[[ ${lines[-1]} =~ ^0\ found\ in\ ([0-9]+)\ files$ ]]
	((BASH_REMATCH[1] > 100))
}

# secrets DIR: a file of every kind on the list; prints their paths
secrets() {
	mkdir -p "$1"
	(
		cd "$1" || return
		echo "TOKEN=$canary" >.env
		echo "TOKEN=$canary" >.env.local
		echo "TOKEN=$canary" >.env.production
		printf -- '-----BEGIN PRIVATE KEY-----\n%s\n' "$canary" | tee key.pem server.key id_rsa \
			id_ed25519 >/dev/null
		echo "machine example.org login me password $canary" >.netrc
		printf 'registry=https://registry.example.org/\n//registry.example.org/:_authToken=%s\n' \
			"$canary" >.npmrc
		printf '[pypi]\nusername = __token__\npassword = pypi-%s\n' "$canary" >.pypirc
		echo "https://me:$canary@example.org" >.git-credentials
		printf '{"type": "service_account", "project_id": "p", "private_key_id": "1",
			"private_key": "-----BEGIN PRIVATE KEY-----\\n%s\\n-----END PRIVATE KEY-----\\n",
			"client_email": "s@p.iam.gserviceaccount.com"}\n' "$canary" >project-1234.json
		printf '{"version": 4, "resources": [{"password": "%s"}]}\n' "$canary" >terraform.tfstate
		printf 'apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user:\n    token: %s\n' "$canary" \
			>kubeconfig
		chmod 600 id_rsa id_ed25519 key.pem server.key
		find "$PWD" -type f
	)
}

@test "the sweep finds what is there to be found" {
	echo "TOKEN=$canary" >plain.txt
	git add plain.txt
	git commit -qm 'a canary'
	git config user.name "$canary"
	run -0 sweep a
	[[ $output == *"found: $PWD/plain.txt"* ]]
	[[ $output == *"found: an object of git"* ]]
	[[ $output == *"found: git config"* ]]
	run -0 "$JIB" run a -q --env "LEAK=$canary" -- python3 - CANARY "$random" \
		<"$BATS_TEST_DIRNAME/src/sweep.py"
	[[ $output =~ found:\ /proc/[0-9]+/environ ]]
}

@test "credentials in files cannot be read by any path inside, /proc included (T79)" {
	local paths
	printf '/ignored/\n/large/\n' >>.gitignore
	# At the top they are ignored, too.
	printf '.env*\n*.pem\n*.key\nid_*\n.netrc\n.npmrc\n.pypirc\n.git-credentials\n' >>.gitignore
	printf '/*.json\n*.tfstate\nkubeconfig\n' >>.gitignore
	git commit -qam 'ignore credentials'
	mapfile -t paths < <(secrets . && secrets ignored/deep/er)
	mkdir untracked
	cp -a project-1234.json untracked/
	paths+=("$PWD/untracked/project-1234.json")
	# In a directory that is mounted from the host.
	mkdir -p large
	head -c 17M /dev/zero | tr '\0' x >large/file
	mapfile -t -O "${#paths[@]}" paths < <(secrets large && secrets large/pkg/deep)
	# Beside the repository, with ways to it.
	echo "$canary" >"$T/host/outside"
	ln -s "$T/host/outside" to-outside
	ln -s .env to-env
	paths+=("$T/host/outside" "$HOME/.netrc")
	cp .netrc .git-credentials "$HOME"
	((${#paths[@]} > 50))
	before=$(host_hash "$T/host")

	export LEAKED_TOKEN=$canary GITHUB_TOKEN=$canary
	exec 7<.env
	run -0 sweep a "${paths[@]}"
	exec 7<&-
	found_nothing
	# What has no credential in it is there.
	inside 'test -e large/file; test -L to-env'
	run -1 inside 'cat to-env to-outside large/.env large/pkg/deep/key.pem ignored/deep/er/.env'
	run ! grep -r "$canary" "$JIB_ROOT"
	[[ $(host_hash "$T/host") == "$before" ]]
}

@test "hard links of masked files cannot be read either, nor in mounted directories (T79)" {
	printf '/nm/\n.env\n' >>.gitignore
	git commit -qam 'ignore nm'
	mkdir nm
	(cd nm && seq -f 'file%g' 1100 | xargs touch)
	echo "$canary" >nm/.env
	echo "$canary" >.env
	echo fine >nm/fine
	ln nm/.env nm/plain
	ln nm/.env untracked
	ln .env nm/other
	ln nm/fine also-fine
	run -0 sweep a "$PWD/nm/plain" "$PWD/untracked" "$PWD/nm/other"
	found_nothing
	[[ $(inside 'cat nm/fine also-fine; git status --porcelain; ls -A nm | wc -l') == \
		$'fine\nfine\n?? also-fine\n1101' ]]
}

@test "copies that editors and people make of them cannot be read either (T79)" {
	local names=(.env~ .env-prod .netrc.bak id_rsa.old .pgpass~ '#.env#' .env.swp key.pem.bak)
	printf '/large/\n' >>.gitignore
	git commit -qam 'ignore large'
	mkdir large
	head -c 17M /dev/zero | tr '\0' x >large/file
	echo "$canary" | tee "${names[@]}" "${names[@]/#/large/}" >/dev/null
	echo fine | tee env.prod .env.example~ large/env.prod >/dev/null
	run -0 sweep a "${names[@]/#/$PWD/}" "${names[@]/#/$PWD/large/}"
	found_nothing
	[[ $(inside 'cat env.prod .env.example~ large/env.prod') == $'fine\nfine\nfine' ]]
}

@test "credentials in repositories in ignored directories cannot be read (T79)" {
	local url=https://me:$canary@example.org/x.git path
	printf '/small/\n/large/\n' >>.gitignore
	git commit -qam 'ignore two'
	for path in small large; do
		make_repo "$PWD/$path/y" 2
		git clone -q --bare "$path/y" "$path/mirror.git"
		git -C "$path/mirror.git" remote set-url origin "$url"
		git -C "$path/y" config extensions.worktreeConfig true
		git -C "$path/y" config --worktree http.extraHeader "Authorization: $canary"
		mkdir -p "$path/y/.git/modules/in/ner/logs/refs/heads"
		git config -f "$path/y/.git/modules/in/ner/config" remote.origin.url "$url"
		printf '0 1 me <me@example.org> 1 +0000\tclone: from %s\n' "$url" |
			tee "$path/y/.git/modules/in/ner/logs/refs/heads/main" >>"$path/y/.git/logs/HEAD"
		printf '00\t\tbranch main of %s\n' "$url" >"$path/y/.git/FETCH_HEAD"
	done
	head -c 17M /dev/zero | tr '\0' x >large/file
	mapfile -t paths < <(grep -rl "$canary" small large)
	((${#paths[@]} == 12))
	run -0 sweep a "${paths[@]/#/$PWD/}"
	found_nothing
	# They are repositories all the same.
	inside 'for i in small/y large/y small/mirror.git large/mirror.git; do git -C $i log -1 >/dev/null; done'
}

@test "git status takes nothing masked for deleted, and new files of these names can be made" {
	printf '.env\n' >>.gitignore
	git commit -qam 'ignore .env'
	echo "$canary" >.env
	echo "$canary" >key.pem
	mkdir only
	echo "$canary" >only/id_rsa
	echo seen >seen
	[[ $(git status --porcelain) == $'?? key.pem\n?? only/\n?? seen' ]]
	[[ $(inside 'git status --porcelain') == '?? seen' ]]
	inside 'test ! -e .env; test ! -L .env; test ! -e key.pem; test ! -e only/id_rsa
		! find . -name .git -prune -o -print | grep -E "\.env|key\.pem|id_rsa"'
	inside 'git add -A; git commit -qm all; echo own >.env; echo own >key.pem; cat .env key.pem'
	[[ $(inside 'git status --porcelain; cat key.pem .env') == $'?? key.pem\nown\nown' ]]
	[[ $(cat .env key.pem only/id_rsa) == "$canary"$'\n'"$canary"$'\n'"$canary" ]]
}

@test "one line on stderr names what is masked, at creation and not later" {
	echo "$canary" >key.pem
	mkdir -p only
	echo "$canary" >only/id_rsa
	echo '.env' >>.git/info/exclude
	echo "$canary" >.env
	run -0 --separate-stderr jib run a -- true
	[[ $output == "" ]]
	[[ $(grep -cE '\.env|key\.pem|id_rsa' <<<"$stderr") == 1 ]]
	line=$(grep -F .env <<<"$stderr")
	[[ $line == *key.pem* && $line == *only/id_rsa* && $line == *mask* ]]
	[[ $stderr != *"$canary"* ]]
	run -0 --separate-stderr jib new b
	[[ $stderr == *key.pem* ]]
	run -0 --separate-stderr jib run b -- true
	[[ $stderr != *key.pem* ]]
}

@test "nothing is named where nothing is masked, and what only looks like it is not" {
	printf '.env.example\n' >>.git/info/exclude
	echo 'TOKEN=' >.env.example
	echo 'registry=https://registry.example.org/' >.npmrc
	printf '[pypi]\nusername = me\n' >.pypirc
	echo '{"type": "module"}' >package.json
	echo 'environment' >environment
	echo 'the keys' >keys.md
	run -0 --separate-stderr jib run a -- cat .env.example .npmrc .pypirc package.json environment \
		keys.md
	[[ $output == "$(cat .env.example .npmrc .pypirc package.json environment keys.md)" ]]
	[[ $stderr != *mask* ]]
}

@test "--unmask PATTERN and jib.unmask show them" {
	mkdir -p sub
	echo "one" >.env
	echo "two" >sub/.env
	echo "three" >key.pem
	run -1 jib run a -q -- cat .env
	run -0 --separate-stderr jib run b --unmask .env -- cat .env sub/.env
	[[ $output == $'one\ntwo' ]]
	[[ $stderr == *key.pem* && $stderr != *.env* ]]
	run -1 jib run b -q -- cat key.pem
	[[ $(jib run c -q --unmask .env --unmask '*.pem' -- cat .env key.pem) == $'one\nthree' ]]
	[[ $(jib run d -q --unmask 'sub/.env' -- sh -c 'cat sub/.env; ls -d .env 2>&1') == two$'\n'*"No such file"* ]]
	git config jib.unmask '*.pem'
	git config --add jib.unmask sub/.env
	[[ $(jib run e -q -- sh -c 'cat sub/.env key.pem; ls -d .env 2>&1') == \
		$'two\nthree\n'*"No such file"* ]]
	run -0 jib run f --unmask .env -q -- git status --porcelain
	[[ $output == "$(git status --porcelain)" ]]
}

@test "jib.mask adds to the list" {
	echo "$canary" >secret-1.txt
	mkdir sub
	echo "$canary" >sub/secret-2.txt
	echo "$canary" >.env
	echo fine >open.txt
	git config jib.mask 'secret-*.txt'
	run -0 --separate-stderr jib run a -- git status --porcelain
	[[ $output == '?? open.txt' ]]
	[[ $stderr == *secret-1.txt* && $stderr == *secret-2.txt* && $stderr == *.env* ]]
	run -0 sweep a "$PWD/secret-1.txt" "$PWD/sub/secret-2.txt"
	found_nothing
}

@test "tracked files are never masked" {
	mkdir config
	echo 1 >config/.env
	echo 2 >cert.pem
	echo 3 >.npmrc
	printf '//r/:_authToken=%s\n' "$canary" >>.npmrc
	git add -A
	git commit -qm 'in the repository for all to see'
	echo 4 >>cert.pem
	echo 5 >staged.key
	git add staged.key
	git config jib.mask '*.md'
	run -0 --separate-stderr jib run a -- cat config/.env cert.pem .npmrc staged.key README.md
	[[ $output == "$(cat config/.env cert.pem .npmrc staged.key README.md)" ]]
	[[ $stderr != *mask* ]]
	[[ $(inside 'git status --porcelain') == "$(git status --porcelain)" ]]
}

@test "credentials in what git keeps cannot be read by any path inside (T79)" {
	local url=https://me:$canary@example.org/x.git
	make_repo "$T/host/library" 3
	git -c protocol.file.allow=always submodule --quiet add "$T/host/library" lib
	git commit -qm 'with a submodule'
	git remote add origin "$url"
	git remote add other "https://$canary@example.org/y.git"
	git config remote.origin.pushurl "$url"
	git config submodule.lib.url "$url"
	git -C lib remote set-url origin "$url"
	git -C lib config http.extraHeader "Authorization: Bearer $canary"
	git config http.extraHeader "Authorization: Basic $canary"
	git config http.https://example.org/.extraHeader "Authorization: Basic $canary"
	git config http.proxy "http://me:$canary@proxy.example.org:3128"
	git config credential.helper "!echo password=$canary"
	git config credential.https://example.org.username "$canary"
	git config core.sshCommand "ssh -o ProxyCommand=$canary"
	git config url."https://$canary@example.org/".insteadOf https://example.org/
	git config branch.main.remote "$url"
	git config tool.token "$canary"
	git config include.path "$T/host/included"
	printf '[http]\n\textraHeader = X: %s\n[alias]\n\tincluded = status\n' "$canary" >"$T/host/included"
	git config --global credential.helper store
	git config --global github.token "$canary"
	git config --global http.https://example.com/.extraHeader "Authorization: $canary"
	cp "$T/host/included" "$HOME/included"
	git config --global include.path '~/included'
	git config extensions.worktreeConfig true
	git config --worktree http.extraHeader "Authorization: $canary"
	printf '%s\t\tbranch main of %s\n' "$(git rev-parse HEAD)" "$url" | tee .git/FETCH_HEAD \
		>.git/modules/lib/FETCH_HEAD
	sed -i "1s|\t.*|\tclone: from $url|" .git/logs/HEAD .git/logs/refs/heads/main \
		.git/modules/lib/logs/HEAD
	grep -q "$canary" .git/logs/HEAD .git/modules/lib/logs/HEAD
	logged=$(git reflog --all | wc -l)

	export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=http.extraHeader GIT_CONFIG_VALUE_0="X: $canary"
	run -0 sweep a
	unset GIT_CONFIG_COUNT
	found_nothing
	run -1 inside "git -C lib config --list | grep '$canary'"
	run ! grep -r "$canary" "$JIB_ROOT"
	# What is harmless has come along: the addresses, the alias from the included file.
	[[ $(inside 'git config remote.origin.url; git -C lib config remote.origin.url') == \
		$'https://example.org/x.git\nhttps://example.org/x.git' ]]
	[[ $(inside 'git included --porcelain; git reflog --all | wc -l') == "$logged" ]]
	[[ $(inside 'git submodule status') == "$(git submodule status)" ]]
}

@test "--clean and --ignored none bring none of them either" {
	printf '.env\n' >>.git/info/exclude
	echo "$canary" >.env
	echo "$canary" >key.pem
	run -0 --separate-stderr jib run a --clean -- ls -A
	[[ $output != *@(.env|key.pem)* ]]
	jib new b -q --ignored none
	run -0 sweep b "$PWD/.env" "$PWD/key.pem"
	found_nothing
}
