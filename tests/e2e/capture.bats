# shellcheck shell=bash
# What a sandbox gets to see of the host's repository and configuration, and what it must not.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo"
	cd "$T/repo" || return
}

@test "no credentials come in with the user's configuration" {
	git config --global alias.leak '!git push https://user:SECRET@example.org/x'
	git config --global alias.lg 'log --oneline'
	git config --global user.signingkey SECRET
	git config --global user.token SECRET
	run -0 jib run a -q -- sh -c 'cat /etc/gitconfig; git lg'
	[[ $output != *SECRET* ]]
	[[ $output == *"A Tester"* ]]
}

@test "a repository that signs its commits: inside they are not signed" {
	git config commit.gpgSign true
	git config gpg.program /nonexistent
	run -0 jib run a -q -- git commit -q --allow-empty -m inside
}

@test "--live hides what holds credentials" {
	mkdir -p .git/modules/lib
	for file in config.worktree modules/lib/config FETCH_HEAD; do
		printf '[remote "origin"]\n\turl = https://user:SECRET@example.org/x\n' >".git/$file"
	done
	run -1 jib run a --live -q -- grep -rs SECRET .git
	[[ $output == "" ]]
}

@test "a filter that leaves a process behind keeps nobody waiting" {
	git config filter.slow.smudge "sh -c 'sleep 60 >/dev/null & cat'"
	echo '*.txt filter=slow' >.git/info/attributes
	run -0 timeout 20 "$JIB" run a -q -- git status --porcelain
}
