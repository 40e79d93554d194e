# shellcheck shell=bash
# Where repositories appear, of what kinds they may be, and --live.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 1
	cd "$T/repo" || return
}

# works_in DIR [OPTION...]: a sandbox of the repository at DIR is whole, works by itself, and
# leaves the host's as it was, where GIT_DIRS names directories besides DIR that belong to it.
works_in() {
	local dir=$1 each before=() head
	shift
	for each in "$dir" "${GIT_DIRS[@]}"; do
		before+=("$(host_hash "$each")")
	done
	head=$(git -C "$dir" rev-parse HEAD)
	cd "$dir"
	run -0 --separate-stderr jib run whole -q "$@" -- sh -euc '
		git rev-parse HEAD
		test -z "$(git status --porcelain)"
		test -d .git
		echo inside >inside.txt
		git add inside.txt
		git commit -qm inside
		git checkout -qb topic
		git gc -q
		git fsck --strict --no-dangling >/dev/null
		git log --format=%s -1'
	[[ $output == "$head"$'\ninside' ]]
	cd "$T"
	local i=0
	for each in "$dir" "${GIT_DIRS[@]}"; do
		[[ $(host_hash "$each") == "${before[i++]}" ]]
	done
	[[ $("$JIB" run whole -q -- git log --format=%s -1 topic) == inside ]]
}

# ---- layouts ----

@test "--layout host, the default: everything at the paths of outside" {
	run -0 jib run -q --rm --layout host -- git rev-parse --show-toplevel --absolute-git-dir
	[[ $output == "$T/repo"$'\n'"$T/repo/.git" ]]
}

@test "--layout jib: /home/jib/repos/<repo> and /home/jib/.git/<repo>" {
	run -0 jib run one -q --layout jib -- sh -euc '
		pwd; echo "$HOME"; git rev-parse --show-toplevel
		git --git-dir=/home/jib/.git/repo log -1 --format=%s
		echo change >new; git add new; git commit -qm inside
		git --git-dir=/home/jib/.git/repo log -1 --format=%s
		git fsck --strict --no-dangling >/dev/null'
	[[ $output == $'/home/jib/repos/repo\n/home/jib\n/home/jib/repos/repo\nsecond line\ninside' ]]
	cd src
	run -0 jib run one -q -- sh -c "pwd; cat ../new; ls -d '$T' || true"
	[[ $output == $'/home/jib/repos/repo/src\nchange'* ]]
	[[ $output == *"cannot access '$T'"* ]]
	run -0 jib show one --json
	[[ $(json 'd["repos"][0]["path"]' <<<"$output") == /home/jib/repos/repo ]]
	[[ $(json 'd["repos"][0]["host"]' <<<"$output") == "$T/repo" ]]
}

@test "--layout jib with two repositories of one name" {
	make_repo "$T/deep/repo" 1
	run -0 jib run -q --rm --layout jib --repo . --repo "$T/deep/repo" -- \
		sh -c 'ls /home/jib/repos /home/jib/.git; git -C /home/jib/repos/repo-2 status --short'
	[[ $output == $'/home/jib/.git:\nrepo\nrepo-2\n\n/home/jib/repos:\nrepo\nrepo-2' ]]
}

@test "an unknown layout is refused" {
	run -125 --separate-stderr jib run --layout sideways -- true
	[[ $stderr == *'the layout is `host` or `jib`, not "sideways"'* ]]
	[[ $("$JIB" ls --json) == "[]" ]]
}

@test "a path with spaces, quotes, a colon, a comma and a backslash" {
	local name='a b,c:d\e"f'\''g'
	mv "$T/repo" "$T/$name"
	works_in "$T/$name"
	cd "$T/$name"
	[[ $("$JIB" run -q --rm --live -- git log -1 --format=%s) == "second line" ]]
}

# ---- kinds of repositories ----

@test "a repository with a separate git dir" {
	mkdir "$T/gits"
	git init -q --separate-git-dir "$T/gits/one.git" "$T/repo"
	[[ -f .git ]]
	GIT_DIRS=("$T/gits")
	works_in "$T/repo"
}

@test "a repository with a separate git dir, --live" {
	mkdir "$T/gits"
	git init -q --separate-git-dir "$T/gits/one.git" "$T/repo"
	GIT_DIRS=("$T/gits")
	works_in "$T/repo" --live
}

@test "a linked worktree: its own branch, self-contained inside" {
	git worktree add -q -b side "$T/linked"
	echo side >"$T/linked/side.txt"
	git -C "$T/linked" add side.txt
	git -C "$T/linked" commit -qm side
	GIT_DIRS=("$T/repo")
	works_in "$T/linked"
	[[ $("$JIB" show whole --json | json 'd["repos"][0]["branch"]') == side ]]
	run -0 jib run whole -q -- git log -1 --format=%s HEAD~1
	[[ $output == side ]]
}

@test "a linked worktree, --live" {
	git worktree add -q -b side "$T/linked"
	GIT_DIRS=("$T/repo")
	works_in "$T/linked" --live
}

@test "a linked worktree, --layout jib" {
	git worktree add -q -b side "$T/linked"
	GIT_DIRS=("$T/repo")
	works_in "$T/linked" --layout jib
}

@test "a detached HEAD stays detached" {
	git checkout -q --detach HEAD~1
	run -0 --separate-stderr jib run one -- sh -c 'git status | head -n 1; git log -1 --format=%s; touch new'
	[[ $output == "HEAD detached at $(git rev-parse --short HEAD)"$'\nfiles' ]]
	[[ $stderr == *"(detached)"* ]]
	[[ $("$JIB" show one --json | json 'd["repos"][0]["branch"]') == null ]]
	works_in "$T/repo"
}

@test "a SHA-256 repository" {
	git init -q --object-format=sha256 "$T/sha256"
	echo one >"$T/sha256/file"
	git -C "$T/sha256" add file
	git -C "$T/sha256" commit -qm one
	works_in "$T/sha256"
	[[ $("$JIB" show whole --json | json 'len(d["repos"][0]["base"])') == 64 ]]
}

@test "a repository with alternates: it works after the other is gone" {
	git clone -q --shared "$T/repo" "$T/shared"
	GIT_DIRS=("$T/repo")
	works_in "$T/shared"
	rm -rf "$T/repo"
	run -0 jib run whole -q -- sh -euc 'git fsck --strict --no-dangling; git log --oneline | wc -l; cat README.md'
	[[ $output == *$'4\none\ntwo' ]]
}

@test "a shallow clone stays shallow" {
	git clone -q --depth 1 "file://$T/repo" "$T/shallow"
	works_in "$T/shallow"
	run -0 jib run whole -q -- sh -c 'git rev-parse --is-shallow-repository; git log --oneline main~1'
	[[ ${lines[0]} == true ]]
	[[ ${#lines[@]} == 2 ]]
}

@test "a submodule's work tree as the repository" {
	make_repo "$T/super" 1
	git -C "$T/super" -c protocol.file.allow=always submodule --quiet add "$T/repo" sub
	git -C "$T/super" commit -qm "with sub"
	GIT_DIRS=("$T/super")
	works_in "$T/super/sub"
}

@test "packed refs, tags and other branches are there" {
	git branch other HEAD~1
	git tag -a v1 -m v1 HEAD~2
	git pack-refs --all
	git branch loose HEAD~1
	local refs
	refs=$(git for-each-ref)
	run -0 jib run -q --rm -- git for-each-ref
	[[ $output == "$refs" ]]
}

@test "a repository inside the home directory, and the home stays clean" {
	mv "$T/repo" ~/repo
	cd ~/repo
	echo mine >~/mine
	run -0 jib run one -q -- sh -c 'pwd; ls -A ~; echo change >new'
	[[ $output == "$HOME/repo"$'\nrepo' ]]
	[[ $("$JIB" show one --json | json 'd["changes"]["home"]') == 0 ]]
}

@test "one repository inside another: both, each its own" {
	make_repo "$T/repo/vendor/inner" 1
	echo deep >vendor/inner/README.md
	git -C vendor/inner commit -qam inner
	run -0 jib run one -q --repo . --repo vendor/inner -- sh -euc '
		git log -1 --format=%s; git -C vendor/inner log -1 --format=%s
		echo change >vendor/inner/new; git -C vendor/inner status --short; git status --short'
	[[ $output == $'second line\ninner\n?? new\n?? vendor/' ]]
	[[ ! -e vendor/inner/new ]]
}

# ---- live ----

@test "--live shows the host's uncommitted files and later changes, and says what it risks" {
	echo dirty >>README.md
	echo untracked >untracked
	run -0 --separate-stderr jib run one --live -- sh -c 'tail -n 1 README.md; cat untracked; echo change >new'
	[[ $output == $'dirty\nuntracked' ]]
	[[ $(grep -c '^jib: live: .*when the host changes them' <<<"$stderr") == 1 ]]
	[[ ! -e new ]]
	echo later >later
	run -0 jib run one -q -- cat later new
	[[ $output == $'later\nchange' ]]
	[[ $("$JIB" show one --json | json 'd["live"]') == true ]]
}

@test "--live shows a change of the host while it runs" {
	mkfifo "$T/go"
	"$JIB" run one -q --live --bind "$T/go:/go" -- \
		sh -c 'echo ready; read word </go; cat on-host' >"$T/out" </dev/null 3>&- &
	wait_for grep -q ready "$T/out"
	echo from-host >on-host
	echo word >"$T/go"
	wait $!
	[[ $(<"$T/out") == $'ready\nfrom-host' ]]
}

@test "--live writes nothing on the host: work tree and git dir" {
	local before
	before=$(host_hash "$T/repo")
	jib run one -q --live -- sh -euc '
		echo inside >>README.md; rm tool.sh; git add -A; git commit -qm inside
		git checkout -qb topic; git gc -q --prune=now; git fsck --no-dangling'
	[[ $(host_hash "$T/repo") == "$before" ]]
	[[ $("$JIB" run one -q -- git log -1 --format=%s) == inside ]]
}

@test "pinned, the default: later changes of the host are not seen" {
	jib new one
	echo later >later
	git add later
	git commit -qm later
	run -2 jib run one -q -- sh -c 'git log -1 --format=%s; ls later'
	[[ ${lines[0]} == "second line" && $output == *"cannot access 'later'"* ]]
}
