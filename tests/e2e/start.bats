# shellcheck shell=bash
# Where a sandbox starts: --clean, --from, -b, --ignored; that it is never torn; --volatile.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo"
	cd "$T/repo" || return
	base=$(git rev-parse HEAD)
}

# inside SCRIPT [OPTION...]: in the sandbox a, which is created with the options
inside() {
	local script=$1
	shift
	"$JIB" run a -q "$@" -- sh -euc "$script" </dev/null
}

# uncommitted: something of every kind
uncommitted() {
	echo staged >>README.md
	git add README.md
	echo modified >>src/main.c
	rm tool.sh
	echo untracked >untracked
	echo ignored >main.o
}

@test "--clean leaves out what is not committed" {
	uncommitted
	before=$(host_hash .)
	jib new a -q --clean
	inside 'test -z "$(git status --porcelain)"'
	inside 'test -x tool.sh; test ! -e untracked; test ! -e main.o; test -z "$(git stash list)"'
	[[ $(inside 'git rev-parse HEAD; git branch --show-current') == "$base"$'\nmain' ]]
	[[ $(host_hash .) == "$before" ]]
}

@test "--ignored none leaves out the ignored files, and jib.ignored decides without it" {
	uncommitted
	[[ $(inside 'ls main.o untracked' --ignored carry) == $'main.o\nuntracked' ]]
	run -0 jib run b -q --ignored none -- ls
	[[ $output == *untracked* && $output != *main.o* ]]
	git config jib.ignored none
	run -0 jib run c -q -- ls
	[[ $output == *untracked* && $output != *main.o* ]]
	[[ $(jib run d -q --ignored carry -- ls) == *main.o* ]]
	run -125 jib run e -q --ignored some -- true
	[[ $output == *some* ]]
	[[ ! -e $JIB_ROOT/e ]]
}

@test "the umask of the first caller does not stay in what sandboxes share" {
	local unreadable='find . -path ./.git/objects -prune -o ! -type l ! -perm -444 -print'
	echo modified >>src/main.c
	echo untracked >untracked
	(
		umask 077
		jib run --rm -q -- true
		jib run --rm -q --from HEAD~1 -- true
	)
	run -0 jib run --rm -q -- sh -euc "$unreadable; stat -c %a tool.sh README.md src"
	[[ $output == $'755\n644\n755' ]]
	run -0 jib run --rm -q --from HEAD~1 -- sh -euc "$unreadable; stat -c %a tool.sh README.md src"
	[[ $output == $'755\n644\n755' ]]
}

@test "--from: any commit-ish, clean, with the files of that commit" {
	local rev commit n=0
	git tag -a v1 -m 'version 1' HEAD~1
	git branch side HEAD~2
	git update-ref refs/remotes/origin/topic HEAD~1
	uncommitted
	before=$(host_hash .)
	for rev in HEAD HEAD~1 v1 side origin/topic "${base:0:12}" "main^{/first}" ':/second'; do
		n=$((n + 1))
		jib new "s$n" -q --from "$rev"
		run -0 jib run "s$n" -q -- sh -euc 'git rev-parse HEAD; git status --porcelain
			git write-tree'
		[[ $output == "$(git log -1 --format='%H%n%T' "$rev" --)" ]]
		run -0 jib run "s$n" -q -- ls -A
		commit=$(git log -1 --format=%H "$rev" --)
		[[ $output == ".git"$'\n'"$(git ls-tree --name-only "$commit" | LC_ALL=C sort)" ]]
	done
	[[ $(host_hash .) == "$before" ]]
}

@test "--from a commit without a ref that came after the first sandbox" {
	local rev stash
	jib run --rm -q -- true
	make_repo "$T/other"
	git -C "$T/other" commit -q --allow-empty -m theirs
	echo more >>README.md
	git fetch -q "$T/other" main
	stash=$(git stash create)
	before=$(host_hash .)
	for rev in FETCH_HEAD "$stash"; do
		run -0 jib run --rm -q --from "$rev" -- sh -euc 'git rev-parse HEAD
			git log -p -m --format= >/dev/null; git fsck --connectivity-only --no-dangling --no-progress'
		[[ $output == "$(git rev-parse "$rev")" ]]
	done
	rm -rf "$T/other"
	[[ $(host_hash .) == "$before" ]]
}

@test "-b: a new branch of the sandbox, with --from as well as with uncommitted work" {
	uncommitted
	status=$(git status --porcelain)
	jib new a -q -b topic/new
	[[ $(inside 'git branch --show-current; git status --porcelain') == $'topic/new\n'"$status" ]]
	inside 'git commit -qm "on it"; test "$(git rev-parse main)" = "$(git rev-parse HEAD~1)"'
	run -0 jib run b -q --from HEAD~1 -b old -- sh -c 'git branch --show-current; git rev-parse HEAD
		git status --porcelain'
	[[ $output == $'old\n'"$(git rev-parse HEAD~1)" ]]
	[[ $(git for-each-ref --format='%(refname)') == refs/heads/main ]]
}

@test "what --from and -b cannot mean is refused, and nothing is left" {
	local rev
	git branch taken
	for rev in nonsense HEAD~100 'HEAD:README.md' --all '' 'main..taken'; do
		run ! jib new a "--from=$rev"
		[[ $output == jib:* && $output != *"no option"* ]]
	done
	for rev in taken 'a..b' -x 'a b' HEAD refs/heads/ '' 'x.lock' 'taken/below'; do
		run ! jib new a -b "$rev"
		[[ $output == jib:* && $output != *"no option"* ]]
	done
	[[ ! -e $JIB_ROOT/a ]]
	run ! jib new a --live --from HEAD~1
	[[ ! -e $JIB_ROOT/a ]]
}

@test "a sandbox that is there already is not started anew" {
	local options
	jib new a -q
	for options in --clean '--from HEAD~1' '-b topic' '--ignored none' '--unmask x'; do
		# shellcheck disable=SC2086 # words
		run -125 jib run a $options -- true
		[[ $output == *"${options%% *}"* || $output == *"--branch"* ]]
		[[ $output == *already* ]]
	done
	inside 'test -z "$(git status --porcelain)"'
}

@test "a repository that changes all the time: a sandbox is not torn, or refused" {
	local writer n good=0 a b
	echo 0 >first
	echo 0 >second
	git add first second
	git commit -qm numbers
	# First one file, then the other: at any moment the first is as far, or one step further.
	: >go
	python3 -c '
import os
n = 0
while os.path.exists("go"):
    n += 1
    for name in ("first", "second"):
        with open(name + "~", "w") as file:
            file.write(f"{n:09}\n")
        os.rename(name + "~", name)
' &
	writer=$!
	wait_for grep -q 00000 second
	printf 'go\n*~\n' >>.git/info/exclude
	for n in 1 2 3 4 5; do
		if jib new "s$n" -q 2>"$T/said"; then
			read -r a b < <(jib run "s$n" -q -- sh -c 'echo $(cat first second)')
			echo "s$n: $a $b"
			((10#$a == 10#$b || 10#$a == 10#$b + 1))
			[[ $(jib run "s$n" -q -- git status --porcelain) == $' M first\n M second' ]]
			good=$((good + 1))
		else
			cat "$T/said"
			grep -qE 'first|second' "$T/said"
			[[ ! -e $JIB_ROOT/s$n ]]
		fi
	done
	rm go
	wait "$writer"
	# At rest it is captured.
	jib new rest -q
	[[ $(jib run rest -q -- cat first second) == "$(cat first second)" ]]
}

@test "layers that somebody damaged: made anew, or a hint that helps" {
	local layer
	jib run --rm -q -- true
	rm "$JIB_ROOT"/.layers/*/layer.json
	run -0 jib run --rm -q -- git status --porcelain
	[[ ! $output ]]
	layer=$(echo "$JIB_ROOT"/.layers/tree-*)
	rm -rf "$layer/tree"
	run -125 jib run --rm -q -- true
	[[ $output == *"remove $layer;"* ]]
	rm -rf "$layer"
	run -0 jib run a -q -- sh -c 'git status --porcelain; touch new'
	[[ ! $output ]]
	rm "$JIB_ROOT"/.layers/*/layer.json
	run -125 jib run a -q -- true
	[[ $output == *damaged*"new sandbox"* ]]
	jib rm --force a
	jib gc
	[[ ! $(ls "$JIB_ROOT/.layers") ]]
}

@test "--volatile: what it has written is there at the next opening" {
	inside 'echo more >>README.md; git commit -qam volatile; echo x >x' --volatile
	[[ $(inside 'git log -1 --format=%s; cat x; git status --porcelain') == $'volatile\nx\n?? x' ]]
	inside 'git fsck --no-dangling'
	# Also when it was killed.
	"$JIB" run a -q -d -- sleep infinity </dev/null >/dev/null
	"$JIB" exec a -- sh -euc 'echo y >y' </dev/null
	"$JIB" stop a
	[[ $(inside 'cat x y') == $'x\ny' ]]
}

@test "the user's identity, aliases, ignore file and init.defaultBranch are the user's inside" {
	git config --global alias.lg 'log --oneline'
	git config --global init.defaultBranch trunk
	git config --global core.excludesFile "$HOME/ignore"
	git config --global core.attributesFile "$HOME/attributes"
	echo '*.mine' >"$HOME/ignore"
	echo '*.txt diff=plain' >"$HOME/attributes"
	echo x >x.mine
	[[ $(inside 'git lg | wc -l; git config user.name; git status --porcelain
		git check-ignore y.mine; git check-attr diff a.txt
		git init -q ~/new; git -C ~/new symbolic-ref HEAD') == \
		$'3\nA Tester\ny.mine\na.txt: diff: plain\nrefs/heads/trunk' ]]
}
