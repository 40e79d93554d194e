# shellcheck shell=bash
# The test cases of "Git Worktree Isolation: Implementation Gap Assessment", each by its name there.

load helpers

# What the assessment is about: one repository, with a linked worktree for each container.
setup() {
	jib_setup
	make_repo "$T/main"
	git -C "$T/main" worktree add -q "$T/wt-a" -b a
	git -C "$T/main" worktree add -q "$T/wt-b" -b b
	cd "$T/wt-a" || return
	base=$(git rev-parse HEAD)
	before=$(host_hash "$T/main")$(host_hash "$T/wt-a")$(host_hash "$T/wt-b")
}

# start NAME DIR [OPTION...]: a sandbox of DIR that keeps running
start() {
	local name=$1 dir=$2
	shift 2
	"$JIB" run "$name" -q -d --repo "$dir" "$@" -- sleep infinity </dev/null >/dev/null
}

into() {
	"$JIB" exec "$1" -- sh -euc "$2" </dev/null
}

inside() {
	"$JIB" run "$1" -q -- sh -euc "$2" </dev/null
}

untouched() {
	[[ $(host_hash "$T/main")$(host_hash "$T/wt-a")$(host_hash "$T/wt-b") == "$before" ]]
}

is_state() {
	[[ $("$JIB" show "$1" --json | json 'd["state"]') == "$2" ]]
}

# together CMD...: starts CMD in the background; `all_succeed` waits for every one of them
together() {
	"$@" </dev/null >>"$T/together" 2>&1 &
	started+=($!)
}

all_succeed() {
	local pid failed=0
	for pid in "${started[@]}"; do
		wait "$pid" || failed=$((failed + 1))
	done
	started=()
	cat "$T/together"
	((failed == 0))
}

# ---- Isolation Tests ----

@test "isolation: Container A cannot see Container B's worktree admin dir" {
	start a "$T/wt-a"
	start b "$T/wt-b"
	into a "
		test ! -e '$T/main/.git/worktrees/wt-b'
		test ! -e '$T/main'
		test ! -e .git/worktrees
		test \"\$(git worktree list | wc -l)\" = 1
		test \"\$(git rev-parse --git-common-dir)\" = .git
	"
	[[ $(into a 'git branch --show-current') == a ]]
	[[ $(into b 'git branch --show-current') == b ]]
	# Neither can A do to B what happened: operate on the wrong branch.
	into a 'git checkout -q b; echo wrong >wrong; git add wrong; git commit -qm wrong'
	[[ $(into b 'git rev-parse HEAD') == "$base" ]]
	untouched
}

@test "isolation: Container cannot ls or cd to other worktrees" {
	local where
	start a "$T/wt-a"
	start b "$T/wt-b"
	into b 'echo of-b >of-b'
	for where in "$T/wt-b" "$T/main" "$T/main/.git" "$JIB_ROOT" "$JIB_ROOT/b" \
		"$JIB_ROOT/b/upper/repos/wt-b" ../wt-b ../main; do
		run ! into a "ls '$where'"
		run ! into a "cd '$where'"
		run ! into a "cat '$where/of-b'"
	done
	into a "ls '$T/wt-a'; cd '$T/wt-a'; cd ../wt-a"
	[[ $(into b "cat '$T/wt-b/of-b'") == of-b ]]
	# Beside it there is only its private home.
	[[ $(into a 'ls ..') == $'home\nwt-a' ]]
}

@test "isolation: Modifying .git to point elsewhere fails (target doesn't exist)" {
	local target
	start a "$T/wt-a"
	start b "$T/wt-b"
	# In place of the .git itself: it is a mount point.
	run ! into a 'rm -rf .git'
	run ! into a 'mv .git elsewhere'
	for target in "$T/main/.git/worktrees/wt-b" "$T/main/.git" "$T/wt-b/.git" \
		"$JIB_ROOT/b/upper/git/wt-b"; do
		run -128 into a "
			mkdir -p trial; cd trial
			echo 'gitdir: $target' >.git
			git status
		"
		[[ $output == *"not a git repository"* ]]
		run -128 into a "git --git-dir='$target' status"
	done
	# The same words with a target that exists lead there.
	into a 'git init -q other; cd trial; echo "gitdir: ../other/.git" >.git; git status'
	untouched
}

# ---- Local Operation Tests ----

@test "local operation: git status works" {
	jib new a -q
	[[ $(inside a 'git status') == *"nothing to commit, working tree clean"* ]]
	inside a 'echo changed >README.md; echo new >new; rm tool.sh; mkdir d; echo x >d/x'
	[[ $(inside a 'git status --porcelain') == $' M README.md\n D tool.sh\n?? d/\n?? new' ]]
	untouched
}

@test "local operation: git add works" {
	jib new a -q
	inside a 'echo changed >README.md; echo new >new; echo no >x.o; git add README.md new'
	[[ $(inside a 'git diff --cached --name-only') == $'README.md\nnew' ]]
	run -1 inside a 'git add x.o'
	[[ $output == *ignored* ]]
	inside a 'rm tool.sh; git add -A'
	[[ $(inside a 'git status --porcelain') == $'M  README.md\nA  new\nD  tool.sh' ]]
	untouched
}

@test "local operation: git commit works" {
	jib new a -q
	inside a 'echo changed >README.md; git commit -qam one; git commit -q --amend -m two
		git commit -q --allow-empty -m three'
	[[ $(inside a "git log --format=%s $base..") == $'three\ntwo' ]]
	[[ $(inside a 'git show HEAD:README.md') == changed ]]
	[[ $(inside a "git rev-parse HEAD~2") == "$base" ]]
	untouched
}

@test "local operation: git log works" {
	jib new a -q
	[[ $(inside a 'git log --format="%H %an %s"') == "$(git log --format='%H %an %s')" ]]
	[[ $(inside a 'git log --follow --oneline -- README.md') == "$(git log --follow --oneline -- README.md)" ]]
	[[ $(inside a 'git log -p') == "$(git log -p)" ]]
	[[ $(inside a 'git log --all --format=%H') == "$(git log --all --format=%H)" ]]
	untouched
}

@test "local operation: git diff works" {
	jib new a -q
	[[ -z $(inside a 'git diff') ]]
	inside a 'echo three >>README.md; chmod -x tool.sh'
	[[ $(inside a 'git diff') == *"+three"* ]]
	[[ $(inside a 'git diff --summary') == " mode change 100755 => 100644 tool.sh" ]]
	[[ $(inside a 'git diff HEAD~2 --stat') == *"README.md"* ]]
	inside a 'git add README.md'
	[[ $(inside a 'git diff --name-only') == tool.sh ]]
	[[ $(inside a 'git diff --cached --name-only') == README.md ]]
	untouched
}

@test "local operation: git reset works" {
	jib new a -q
	inside a 'echo changed >README.md; echo new >new; git add -A; git reset -q'
	[[ $(inside a 'git status --porcelain') == $' M README.md\n?? new' ]]
	inside a 'git reset -q --soft HEAD~1'
	[[ $(inside a 'git diff --cached --name-only') == README.md ]]
	inside a "git reset -q --hard $base"
	[[ $(inside a 'git status --porcelain') == '?? new' ]]
	[[ $(inside a 'cat README.md') == $'one\ntwo' ]]
	inside a 'git reset -q --hard HEAD~2; test ! -e files'
	inside a "git reset -q --hard $base; test -e files/0/19.txt"
	untouched
}

@test "local operation: git checkout works" {
	jib new a -q
	inside a 'git checkout -q HEAD~2; test ! -e files; git checkout -q a; test -e files/0/0.txt
		git checkout -qb new; echo changed >README.md; rm -r src; git checkout -q -- README.md src
		test -z "$(git status --porcelain)"; git checkout -q HEAD~1 -- README.md'
	[[ $(inside a 'git branch --show-current; git diff --cached --name-only') == $'new\nREADME.md' ]]
	[[ $(inside a 'cat README.md') == one ]]
	inside a 'git reset -q --hard; echo other >README.md'
	run -1 inside a 'git checkout -q HEAD~2'
	[[ $output == *"would be overwritten"* ]]
	inside a 'git checkout -qf main; test -z "$(git status --porcelain)"'
	untouched
}

@test "local operation: git branch works" {
	jib new a -q
	inside a 'git branch new; git branch -m new renamed; git branch -c renamed copied
		git branch -d copied; git branch deleted; git branch -D deleted b'
	[[ $(inside a 'git branch --format="%(refname:short)"') == $'a\nmain\nrenamed' ]]
	[[ $(inside a 'git branch --contains HEAD --format="%(refname:short)"') == $'a\nmain\nrenamed' ]]
	inside a 'git pack-refs --all; git branch -D main; git branch main HEAD~1'
	[[ $(inside a 'git rev-parse main') == "$(git rev-parse HEAD~1)" ]]
	# The host's branches are where they were.
	[[ $(git branch --format='%(refname:short)') == $'a\nb\nmain' ]]
	untouched
}

# ---- Host Protection Tests ----

@test "host protection: Host git status works on worktree after container exit" {
	run -0 jib run a -q -- sh -euc 'echo changed >README.md; git commit -qam x; rm -rf src'
	untouched
	[[ -z $(git status --porcelain) ]]
	echo mine >mine
	[[ $(git status --porcelain) == '?? mine' ]]
	[[ -z $(git -C "$T/wt-b" status --porcelain) && -z $(git -C "$T/main" status --porcelain) ]]
}

@test "host protection: Host git log works on worktree after container exit" {
	run -0 jib run a -q -- sh -euc 'git commit -q --allow-empty -m x; git update-ref -d refs/heads/b'
	[[ $(git log -1 --format=%H) == "$base" ]]
	[[ $(git log --oneline --all | wc -l) == 3 ]]
	[[ $(git -C "$T/wt-b" log -1 --format=%H) == "$base" ]]
	untouched
}

@test "host protection: gitdir file has the host path while a container runs and after its exit" {
	local gitdir=$T/main/.git/worktrees/wt-a/gitdir
	[[ $(cat "$gitdir") == "$T/wt-a/.git" ]]
	start a "$T/wt-a" --layout jib
	into a 'git status; git worktree add -q ../more; git worktree prune; git gc -q'
	[[ $(cat "$gitdir") == "$T/wt-a/.git" ]]
	[[ $(cat .git) == "gitdir: $T/main/.git/worktrees/wt-a" ]]
	untouched
	jib stop a
	[[ $(cat "$gitdir") == "$T/wt-a/.git" ]]
	[[ -z $(git worktree prune -n) ]]
	untouched
}

@test "host protection: there is never a gitdir.host-backup" {
	start a "$T/wt-a" --layout jib
	[[ -z $(find "$T" -name '*.host-backup') ]]
	jib stop a
	[[ -z $(find "$T" -name '*.host-backup') ]]
	[[ -n $(find "$T" -name gitdir) ]]
	untouched
}

@test "host protection: a crashed container leaves nothing to restore" {
	local monitor
	setsid "$JIB" run a -q -- sh -euc 'echo x >x; git add x; git commit -qm x; touch .git/index.lock
		echo up; exec sleep infinity' </dev/null >"$T/out" 3>&- &
	monitor=$!
	wait_for grep -q up "$T/out"
	kill -KILL "$monitor"
	wait_for is_state a stopped
	untouched
	git status
	echo mine >mine
	git add mine
	git commit -qm mine
	git fsck --no-dangling
	[[ $(git log -2 --format=%s) == $'mine\nsecond line' ]]
}

@test "host protection: No container paths in host metadata, not even during container runtime" {
	run -1 grep -rIlF -e /home/jib -e "$JIB_ROOT" "$T/main/.git" "$T/wt-a/.git" "$T/wt-b/.git"
	start a "$T/wt-a" --layout jib
	start b "$T/wt-b"
	into a 'echo x >x; git add x; git commit -qm x; git worktree add -q ../more; git config a.b /home/jib'
	# It is there inside.
	into a 'grep -rqIF /home/jib .git/config .git/worktrees'
	run -1 grep -rIlF -e /home/jib -e "$JIB_ROOT" "$T/main/.git" "$T/wt-a/.git" "$T/wt-b/.git"
	jib stop a
	jib stop b
	run -1 grep -rIlF -e /home/jib -e "$JIB_ROOT" "$T/main/.git" "$T/wt-a/.git" "$T/wt-b/.git"
	untouched
}

# ---- Concurrency Tests ----

@test "concurrency: Two containers commit simultaneously - both succeed without corruption" {
	local who
	local -a started=()
	start a "$T/wt-a"
	start b "$T/wt-a"
	for who in a b; do
		together "$JIB" exec $who -- sh -euc "
			for i in \$(seq 25); do
				echo $who \$i >>README.md; echo \$i >$who-\$i
				git add -A; git commit -qm '$who '\$i
			done
		"
	done
	all_succeed
	for who in a b; do
		[[ $(into $who "git log --reverse --format=%s $base..") == \
			"$(seq -f "$who %g" 25)" ]]
		[[ $(into $who "git log --format=%s $base.. | cut -d' ' -f1 | sort -u") == "$who" ]]
		into $who 'git fsck --full --strict --no-dangling; test -z "$(git status --porcelain)"'
	done
	untouched
}

@test "concurrency: git ref locking works inside a container" {
	local i won=0
	local -a pids=()
	start a "$T/wt-a"
	into a 'git update-ref refs/heads/race HEAD~1'
	# All expect the same old value: whoever comes second has to be refused.
	for ((i = 0; i < 8; i++)); do
		"$JIB" exec a -- sh -euc "
			new=\$(git commit-tree -m 'writer $i' -p HEAD HEAD^{tree})
			git update-ref refs/heads/race \$new \$(git rev-parse HEAD~1)
		" </dev/null >/dev/null 2>&1 &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		if wait "$i"; then
			won=$((won + 1))
		fi
	done
	((won == 1))
	[[ $(into a 'git log -1 --format=%s race') == "writer "[0-7] ]]
	into a 'test ! -e .git/refs/heads/race.lock; git fsck --no-dangling'
}

@test "concurrency: a ref that is locked in one container is free in another, and on the host" {
	start a "$T/wt-a"
	start b "$T/wt-a"
	into a 'touch .git/refs/heads/a.lock .git/index.lock'
	run ! into a 'git commit -q --allow-empty -m locked'
	[[ $output == *lock* ]]
	into b 'git commit -q --allow-empty -m free'
	untouched
	git commit -q --allow-empty -m "of the host"
	[[ $(into b "git log --format=%s $base..") == free ]]
	[[ -z $(into a "git log --format=%s $base..") ]]
}

@test "concurrency: no data loss when containers write to objects/ concurrently" {
	local who
	local -a started=()
	start a "$T/wt-a"
	start b "$T/wt-a"
	for who in a b; do
		# Every object of `same` is written by both; those of `own` by one.
		together "$JIB" exec $who -- sh -euc "
			for i in \$(seq 200); do
				echo same \$i | git hash-object -w --stdin
				echo $who \$i | git hash-object -w --stdin
			done >~/written
		"
	done
	all_succeed
	for who in a b; do
		[[ $(into $who 'git cat-file --batch-check="%(objecttype)" <~/written | sort | uniq -c') \
			== *" 400 blob" ]]
		into $who 'git fsck --full --no-dangling'
	done
	# One that only the other has written is not there.
	run ! into a "git cat-file -e $(into b 'tail -1 ~/written')"
	untouched
}

@test "concurrency: Concurrent git add operations don't corrupt index files (each container has own index)" {
	local i
	local -a started=()
	for i in 1 2 3 4; do
		start "s$i" "$T/wt-a"
	done
	for i in 1 2 3 4; do
		together "$JIB" exec "s$i" -- sh -euc "
			for n in \$(seq 30); do echo $i >own-$i-\$n; git add own-$i-\$n; done
			echo $i >README.md; git add -u
		"
	done
	all_succeed
	for i in 1 2 3 4; do
		[[ $(into "s$i" 'git diff --cached --name-only | sort -V') == \
			$'README.md\n'"$(seq -f "own-$i-%g" 30)" ]]
		into "s$i" 'git fsck --no-dangling; test -z "$(git diff --name-only)"; git write-tree'
	done
	[[ -z $(git diff --cached --name-only) ]]
	untouched
}

@test "concurrency: concurrent git add in one container, those that get the lock are all in the index" {
	local i
	local -a started=()
	start a "$T/wt-a"
	for i in 1 2 3 4 5 6; do
		# git does not wait for the index: who is refused tries again.
		together "$JIB" exec a -- sh -euc "
			echo $i >own-$i
			for try in \$(seq 200); do git add own-$i 2>/dev/null && exit 0; done
			exit 1
		"
	done
	all_succeed
	[[ $(into a 'git diff --cached --name-only') == "$(seq -f own-%g 6)" ]]
	into a 'test ! -e .git/index.lock; git fsck --no-dangling'
}
