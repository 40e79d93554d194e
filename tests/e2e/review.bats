# shellcheck shell=bash
# Looking at a sandbox from the host, and bringing its work home as branches: what a user sees. How a
# hostile sandbox fares is in hostile.bats.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo"
	cd "$T/repo" || return
	base=$(git rev-parse HEAD)
}

# inside NAME SCRIPT: runs the script in the sandbox
inside() {
	"$JIB" run "$1" -q -- sh -euc "$2" </dev/null
}

# untouched: the host's files, index, HEAD and branches are those that `before` says
remember() {
	before=$(host_state)
}

host_state() {
	git ls-files -s
	git status --porcelain
	git for-each-ref refs/heads/main refs/tags refs/remotes
	cat .git/HEAD
	[[ ! -e .git/FETCH_HEAD ]] || cat .git/FETCH_HEAD
	find . -path ./.git -prune -o -type f -exec sha256sum {} + | sort
}

untouched() {
	diff <(printf '%s\n' "$before") <(host_state)
}

# tree_inside NAME: the tree that git inside would commit
tree_inside() {
	inside "$1" 'cp .git/index /tmp/i; GIT_INDEX_FILE=/tmp/i git add -A
		GIT_INDEX_FILE=/tmp/i git write-tree'
}

work_of() {
	jib ls --json | json "[s['work'] for s in d if s['name'] == '$1'][0]"
}

# ---- diff, status, log ----

@test "diff: commits and uncommitted work together, from what the host had when it was made" {
	echo dirty >>README.md
	echo untracked >untracked.txt
	inside a '
		git rm -q docs/a*
		git commit -qm "remove"
		echo more >>README.md
		printf "x\0y" >binary
		mkdir -p deep/er && echo new >deep/er/new.txt
		echo object >main.o
		chmod 755 src/main.c
		ln -s nowhere dangling
	'
	run -0 --separate-stderr jib diff a --name-status
	[[ $output == $'M\tREADME.md\nA\tbinary\nA\tdangling\nA\tdeep/er/new.txt\nD\tdocs/a name with spaces.txt\nM\tsrc/main.c' ]]
	run -0 --separate-stderr jib diff a
	[[ $output == *"binary: binary, 3 bytes"* ]]
	[[ $output == *$'\n dirty\n+more\n'* || $output == *$'\n+more\n'* ]]
	[[ $output != *untracked.txt* && $output != *main.o* ]]
	# What git inside would say against the beginning is a patch for it.
	mkdir "$T/then"
	git archive HEAD | tar -x -C "$T/then"
	cp README.md untracked.txt "$T/then/"
	jib diff a 2>/dev/null | git -C "$T/then" apply
	[[ $(cat "$T/then/README.md") == $'one\ntwo\ndirty\nmore' && -x $T/then/src/main.c ]]
	[[ ! -e "$T/then/docs/a name with spaces.txt" && $(readlink "$T/then/dangling") == nowhere ]]
	printf 'x\0y' | cmp - "$T/then/binary"
}

@test "diff: --commits, --uncommitted, --ignored, --stat and a pathspec" {
	echo carried >carried.txt
	inside a 'echo c >c; git add c; git commit -qm c; echo u >u; echo o >x.o'
	[[ $(jib diff a --commits --name-status) == $'A\tc' ]]
	[[ $(jib diff a --uncommitted --name-status) == $'A\tcarried.txt\nA\tu' ]]
	[[ $(jib diff a --ignored --name-status) == $'A\tc\nA\tu\nA\tx.o' ]]
	[[ $(jib diff a --name-status -- u) == $'A\tu' ]]
	[[ $(jib diff a --stat) == *"2 files changed, 2 insertions(+)"* ]]
	run -2 jib diff a --commits --uncommitted
	run -2 jib diff a --color sometimes
	run -1 jib diff nobody
	run -1 jib diff a --repo elsewhere
	[[ $output == *"has no repository elsewhere"* ]]
}

@test "diff --json, status --json and log --json say the same as fields" {
	inside a 'git mv tool.sh moved.sh; echo x >>README.md; git commit -qam "two things"; printf "\0" >b; mkfifo f'
	run -0 --separate-stderr jib diff a --json
	[[ -z $stderr ]]
	[[ $(json '[(f["status"], f["path"], f["old_path"]) for f in d["repos"][0]["files"]]' <<<"$output") == '[["M", "README.md", null], ["A", "b", null], ["R", "moved.sh", "tool.sh"]]' ]]
	[[ $(json 'd["repos"][0]["files"][1]["bytes"]' <<<"$output") == 1 ]]
	[[ $(json 'd["repos"][0]["left_out"]' <<<"$output") == '[{"path": "f", "why": "fifo"}]' ]]
	[[ $(json 'd["repos"][0]["base"]' <<<"$output") == "$base" ]]
	run -0 --separate-stderr jib status a --json
	[[ $(json '(d["repos"][0]["branch"], d["repos"][0]["commits"], d["repos"][0]["uncommitted"])' <<<"$output") == '["main", 1, [{"path": "b", "old_path": null, "status": "A"}]]' ]]
	run -0 --separate-stderr jib log a --json
	[[ $(json '[(c["subject"], c["author_name"], c["parents"]) for c in d["repos"][0]["commits"]]' <<<"$output") == "[[\"two things\", \"A Tester\", [\"$base\"]]]" ]]
	run -1 --separate-stderr jib diff nobody --json
	[[ $(json 'd["error"]["code"]' <<<"$output") == not-found ]]
}

@test "log: what the sandbox has committed, on all of its branches" {
	inside a 'echo 1 >f; git add f; git commit -qm first-one; git switch -qc other; echo 2 >f; git commit -qam second-one'
	[[ $(jib log a --oneline | cut -d' ' -f2-) == $'(HEAD -> other) second-one\n(main) first-one' ]]
	[[ $(jib log a -n 1 --stat) == *"second-one"*"1 file changed"* ]]
	[[ $(jib log a -p) == *"+2"* ]]
	run -2 jib log a -n none
	inside b true
	inside b 'echo x >x'
	[[ -z $(jib log b) ]]
}

@test "a running sandbox is looked at, and goes on" {
	"$JIB" run a -q -d -- sh -c 'sleep 1000 & kill -STOP $!; echo $! >stopped; i=0
		while :; do i=$((i+1)); echo $i >.n; mv .n n; git add n; git commit -qm "n $i"; done' </dev/null
	wait_for test -e "$JIB_ROOT/a/upper/repos/repo/n"
	for _ in 1 2 3 4 5; do
		jib diff a --name-status | grep -q "n$"
		jib persist a 2>/dev/null | grep -q jib/a/main
		git fsck --strict --no-dangling
		[[ $(git show jib/a/main:n) -gt 0 ]]
	done
	# It was not left frozen, and what was stopped before is still stopped.
	local tip
	tip=$(jib log a -n 1 --oneline)
	wait_for not_same "$tip"
	[[ $("$JIB" exec a -- sh -c 'cut -d" " -f3 /proc/$(cat stopped)/stat') == T ]]
	[[ $(jib show a --json | json 'd["state"]') == running ]]
}

not_same() {
	[[ $(jib log a -n 1 --oneline) != "$1" ]]
}

@test "what is traced, and what waits for a vfork, is held still and goes on" {
	local upper=$JIB_ROOT/a/upper/repos/repo
	cp "$BATS_TEST_DIRNAME/src/held.py" .
	"$JIB" run a -q -d -- python3 held.py </dev/null
	wait_for stand a t
	wait_for stand a D
	for _ in 1 2 3; do
		run -0 jib diff a --name-status
	done
	[[ ! -e $upper/traced && ! -e $upper/waited ]]
	timeout 20 "$JIB" exec a -- sh -c ': >free; : >go; : >gate'
	wait_for test -e "$upper/traced" -a -e "$upper/waited"
}

# stand NAME STATE: one of its processes is in it
stand() {
	jib exec "$1" -- sh -c 'cat /proc/[0-9]*/stat' | grep -q "(python3) $2 "
}

@test "looking that is killed does not leave a sandbox frozen" {
	"$JIB" run a -q -d -- sh -c 'i=0; while :; do i=$((i+1)); echo $i >n; done' </dev/null
	wait_for test -s "$JIB_ROOT/a/upper/repos/repo/n"
	for n in 20 60 100 140; do
		strace -f -o /dev/null -e trace=read,poll -e inject=poll:signal=KILL:when="$n" "$JIB" diff a >/dev/null 2>&1 || true
		local then
		then=$(jib exec a -- cat n)
		wait_for differs_from "$then"
	done
}

differs_from() {
	[[ $(jib exec a -- cat n) != "$1" ]]
}

# ---- persist: branches ----

@test "persist: commits, and one for what is not committed; the host is not touched" {
	echo dirty >>README.md
	remember
	inside a 'echo c >c; git add c; git commit -qm "the commit"; echo u >u; rm tool.sh; echo o >x.o'
	run -0 --separate-stderr jib persist a
	[[ $output == "jib/a/main  created: 1 commit and uncommitted work"* ]]
	[[ $stderr == *"next: git -C $T/repo merge jib/a/main"* ]]
	untouched
	[[ $(git log --format=%s "$base..jib/a/main") == $'Uncommitted work of the sandbox a\nthe commit' ]]
	[[ $(git log -1 --format='%an %cn' jib/a/main) == "A Tester jib" ]]
	[[ $(git rev-parse jib/a/main^{tree}) == "$(tree_inside a)" ]]
	git fsck --strict --no-dangling
	run -0 --separate-stderr jib persist a
	[[ $output == *"is there already"* ]]
	git stash -q
	git merge -q jib/a/main
}

@test "persist again: what was brought is replaced, what the host has added is not" {
	inside a 'echo 1 >w'
	jib persist a
	inside a 'echo 2 >w; git add w; git commit -qm w; echo 3 >v'
	run -0 --separate-stderr jib persist a
	[[ $output == *updated* ]]
	[[ $(git log --format=%s "$base..jib/a/main") == $'Uncommitted work of the sandbox a\nw' ]]
	# Rewritten inside.
	inside a 'git commit -q --amend -m "w, better"'
	jib persist a
	[[ $(git log --format=%s -1 jib/a/main^) == "w, better" ]]
	# The host's own commit on it stays.
	git worktree add -q "$T/wt" jib/a/main
	git -C "$T/wt" commit -q --allow-empty -m "the host's"
	local own
	own=$(git rev-parse jib/a/main)
	inside a 'echo 4 >v'
	run -1 jib persist a
	[[ $output == *"has commits that the sandbox a does not have"*"--as BRANCH"* ]]
	[[ $(git rev-parse jib/a/main) == "$own" ]]
	jib persist a --as mine
	[[ $(git show mine:v) == 4 ]]
}

@test "persist --update: fast-forward only, and not of what is checked out" {
	inside a 'echo c >c; git add c; git commit -qm c'
	run -1 jib persist a --update
	[[ $output == *"is checked out"* ]]
	git switch -qc elsewhere
	jib persist a --update
	[[ $(git log -1 --format=%s main) == c ]]
	git switch -q main
	git reset -q --hard "$base"
	git commit -q --allow-empty -m "the host goes on"
	git switch -q elsewhere
	run -1 jib persist a --update
	[[ $output == *"cannot be fast-forwarded"* ]]
	[[ $(git log -1 --format=%s main) == "the host goes on" ]]
}

@test "persist: several branches, tags, notes, stashes, a detached HEAD" {
	inside a '
		echo 1 >one; git add one; git commit -qm one
		git switch -qc two; echo 2 >two; git add two; git commit -qm two
		git tag v1; git tag -a v2 -m "annotated"
		git notes add -m "a note"
		echo stashed >>README.md; git stash -q
		git checkout -q --detach; echo 3 >three; git add three; git commit -qm three
	'
	jib persist a --dry-run
	[[ -z $(git for-each-ref refs/heads/jib refs/tags refs/notes refs/jib) ]]
	jib persist a
	[[ $(git for-each-ref --format='%(refname:short)' refs/heads/jib) == $'jib/a/detached\njib/a/main\njib/a/two' ]]
	[[ $(work_of a) == unpersisted ]]
	jib persist a --tags --notes --stash
	[[ $(git cat-file -t refs/tags/jib/a/v2) == tag && $(git rev-parse jib/a/v1) == "$(git rev-parse jib/a/two)" ]]
	git rev-parse -q --verify refs/notes/jib/a/commits
	git stash apply -q refs/jib/a/stash/0
	[[ $(tail -1 README.md) == stashed ]]
	[[ $(work_of a) == persisted ]]
	run -2 jib persist a --as one-name
	jib persist a --branch two --as one-name
	[[ $(git log -1 --format=%s one-name) == two ]]
	run -1 jib persist a --branch none
	# HEAD stands for what no branch has, where there is such.
	run -0 jib persist a --branch HEAD --as head
	[[ $(git log -1 --format=%s head) == three ]]
	inside a 'git switch -q two'
	run -1 jib persist a --branch HEAD
	[[ $output == *"has no branch HEAD"* ]]
}

@test "persist --no-wip, --json and --interactive" {
	inside a 'for i in 1 2 3; do echo $i >f$i; git add f$i; git commit -qm c$i; done; echo u >u; echo v >v'
	run -0 --separate-stderr jib persist a --no-wip --json
	[[ $(json '[(b["source"], b["ref"], b["commits"], b["wip"], b["result"]) for b in d["repos"][0]["branches"]]' <<<"$output") == '[["refs/heads/main", "refs/heads/jib/a/main", 3, false, "created"]]' ]]
	[[ $(json 'd["repos"][0]["whole"]' <<<"$output") == false ]]
	run -0 jib persist a --interactive --as picked <<<$'y\nn\ny\nn\ny'
	[[ $(git log --format=%s "$base..picked") == $'Uncommitted work of the sandbox a\nc3\nc1' ]]
	[[ $(git diff --name-only "$base" picked) == $'f1\nf3\nv' ]]
	run -1 jib persist a --interactive --as quit <<<q
	run ! git rev-parse -q --verify quit
}

@test "persist --export: patches that git am takes, and a bundle; also when the host is gone" {
	inside a 'echo c >c; git add c; git commit -qm "add c"; printf "\0\1" >bin'
	jib persist a --export "$T/out"
	[[ -z $(git for-each-ref refs/heads/jib) ]]
	git clone -q "$T/repo" "$T/clone"
	git -C "$T/clone" am -q "$T"/out/main/*.patch
	[[ $(git -C "$T/clone" rev-parse HEAD^{tree}) == "$(tree_inside a)" ]]
	git -C "$T/clone" fetch -q "$T/out/a.bundle" refs/heads/jib/a/main:b
	[[ $(git -C "$T/clone" rev-parse b^{tree}) == "$(tree_inside a)" ]]
	run -1 jib persist a --export "$T/out"
	[[ $output == *"is not empty"* ]]
	mv "$T/repo" "$T/elsewhere"
	cd "$T/clone"
	run -1 jib persist a
	[[ $output == *"is not there any more"*"--export"* ]]
	jib persist a --export "$T/again"
	git bundle verify -q "$T/again/a.bundle"
}

@test "persist --undo NAME: what that sandbox has brought, and only to a repository of its" {
	inside a 'echo a >a'
	inside b 'echo b >b'
	jib persist a --apply
	run -1 jib persist a --undo --repo "$T/nowhere"
	[[ $output == *"has no repository"* && -e a ]]
	run -1 jib persist b --undo
	[[ $output == *"is of the sandbox a"* && -e a ]]
	(
		cd docs
		jib persist a --undo --repo ..
	)
	[[ ! -e a ]]
	jib persist a --apply --undo && return 1
	jib persist b --apply
	jib persist --undo
	[[ ! -e b ]]
}

@test "persist: the host has rewritten and pruned what the sandbox stands on" {
	inside a 'echo c >c; git add c; git commit -qm c'
	git checkout -q --orphan fresh
	git commit -qm "all new"
	git branch -qD main
	git reflog expire --expire=now --all
	git gc -q --prune=now
	run ! git cat-file -e "$base"
	jib persist a
	[[ $(git log -1 --format=%s jib/a/main) == c ]]
	git fsck --strict
}

@test "unpersisted is computed: the host's branch goes, and so does the work that was in it" {
	inside a 'echo c >c; git add c; git commit -qm c; echo u >u'
	[[ $(work_of a) == unpersisted ]]
	run -1 jib rm a
	jib persist a
	[[ $(work_of a) == persisted && $(jib show a --json | json 'd["unpersisted"]') == false ]]
	git branch -qD jib/a/main
	[[ $(work_of a) == unpersisted ]]
	run -1 jib rm a
	jib persist a
	# Merged, and the branch is gone: the commits are reached all the same.
	git merge -q jib/a/main
	git branch -qd jib/a/main
	[[ $(jib show a --json | json 'd["work"]') == persisted ]]
	jib rm a
}

@test "persist: what stands in the way is said, and nothing is half done" {
	inside a 'git branch x; echo c >c; git add c; git commit -qm c; git switch -q x; echo d >d; git add d; git commit -qm d'
	git branch jib/a
	run -1 jib persist a
	[[ $output == *jib/a* ]]
	[[ -z $(git for-each-ref refs/heads/jib/a/) ]]
	git branch -qD jib/a
	mkdir -p .git/refs/heads/jib/a
	: >.git/refs/heads/jib/a/main.lock
	run -1 jib persist a
	[[ -z $(git for-each-ref refs/heads/jib/a/) ]]
	rm .git/refs/heads/jib/a/main.lock
	# The index is nobody's business here.
	: >.git/index.lock
	jib persist a
	[[ $(git for-each-ref --format='%(refname:short)' refs/heads/jib) == $'jib/a/main\njib/a/x' ]]
}
