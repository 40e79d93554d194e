# shellcheck shell=bash
# Bringing a sandbox's work home, whatever the host has done meanwhile: nothing of the host's is touched, lost or
# reverted. What a user sees in the plain cases is in review.bats.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 5
	cd "$T/repo" || return
	base=$(git rev-parse HEAD)
}

# inside NAME SCRIPT: runs the script in the sandbox
inside() {
	"$JIB" run "$1" -q -- sh -euc "$2" </dev/null
}

# commit NAME [FILE]: one more commit in the sandbox
commit() {
	inside "$1" "echo ${2:-work} >${2:-work}.txt; git add ${2:-work}.txt; git commit -qm ${2:-work}"
}

# kept DIR: all of a host repository but objects, and refs and reflogs of jib's
kept() {
	host_list "$1" | grep -v -e "^'./.git/objects/" -e "^'./.git/\(logs/\)\?refs/heads/jib/" \
		-e "^'./.git/\(objects\|\(logs/\)\?refs\(/heads\(/jib\)\?\)\?\|logs\)' " -e "^'./.git' "
}

remember() {
	before=$(kept "$T/repo")
}

untouched() {
	diff <(printf '%s\n' "$before") <(kept "$T/repo")
}

# results NAME [OPTION...]: of persist, on one line
results() {
	"$JIB" persist "$@" --json |
		json '" ".join(b["ref"].removeprefix("refs/heads/") + "=" + b["result"] for r in d["repos"] for b in r["branches"])'
}

# unpersisted NAME true|false: by show, which looks closely, and by ls, which remembers what was found
unpersisted() {
	[[ $(jib show "$1" --json | json 'd["unpersisted"]') == "$2" ]]
	[[ $(jib ls --json | json "[s['unpersisted'] for s in d if s['name'] == '$1'][0]") == "$2" ]]
}

@test "nothing of the host's changes, whatever it is in the middle of" {
	commit a
	git checkout -qb side HEAD~1
	echo theirs >README.md
	git commit -qam "theirs"
	echo dirty >>src/main.c
	echo staged >staged.txt
	git add staged.txt
	echo untracked >untracked.txt
	git fetch -q . side
	run ! git merge main
	remember
	[[ $(results a) == jib/a/main=created ]]
	untouched
	git merge --abort 2>/dev/null || git reset -q --hard
	run ! git rebase main
	echo more >note.txt
	remember
	inside a 'echo more >>work.txt'
	[[ $(results a) == jib/a/main=updated ]]
	untouched
	# What is being rebased is not moved either.
	run -1 jib persist a --update --as side
	untouched
}

@test "locks that somebody holds: what needs none of them works" {
	commit a
	: >.git/index.lock
	: >.git/packed-refs.lock
	: >.git/HEAD.lock
	: >.git/config.lock
	remember
	[[ $(results a) == jib/a/main=created ]]
	untouched
	git show -q jib/a/main
	# One that is needed: nothing is half done, and the next one does it.
	inside a 'git checkout -qb other; echo x >x; git add x; git commit -qm x'
	: >.git/refs/heads/jib/a/other.lock
	inside a 'git commit -q --amend -m "another message"; git checkout -q main; echo y >y; git add y; git commit -qm y'
	local main
	main=$(git rev-parse jib/a/main)
	run -1 jib persist a
	[[ $output == *other* ]]
	[[ $(git rev-parse jib/a/main) == "$main" ]]
	unpersisted a true
	rm .git/refs/heads/jib/a/other.lock
	[[ $(results a) == "jib/a/main=updated jib/a/other=created" ]]
	[[ $(results a) == "jib/a/main=unchanged jib/a/other=unchanged" ]]
	unpersisted a false
}

@test "--dry-run changes nothing at all, and says what comes" {
	commit a
	inside a 'echo more >>work.txt'
	local before
	before=$(host_list "$T/repo")
	run -0 jib persist a --dry-run
	[[ $output == "jib/a/main  would be created: 1 commit and uncommitted work  ("*")" ]]
	[[ $(jib persist a -n --json | json '[d["dry_run"], d["repos"][0]["branches"][0]["commits"], d["repos"][0]["branches"][0]["wip"]]') == '[true, 1, true]' ]]
	diff <(echo "$before") <(host_list "$T/repo")
	unpersisted a true
	local told
	told=$(jib persist a -n --json | json 'd["repos"][0]["branches"][0]["new"]')
	jib persist a
	[[ $(git rev-parse jib/a/main) == "$told" ]]
	inside a 'git commit -qam more'
	run -0 jib persist a -n
	[[ $output == *"would be updated"* ]]
	[[ $(git rev-parse jib/a/main) == "$told" ]]
}

@test "what was not committed is replaced by what is not committed now, or was committed" {
	inside a 'echo one >one.txt'
	[[ $(results a) == jib/a/main=created ]]
	[[ $(git log --format='%an %cn' -1 jib/a/main) == "A Tester jib" ]]
	[[ $(results a) == jib/a/main=unchanged ]]
	inside a 'echo two >two.txt'
	[[ $(results a) == jib/a/main=updated ]]
	[[ $(git rev-list --count "$base..jib/a/main") == 1 ]]
	inside a 'git add -A; git commit -qm "both"'
	[[ $(results a) == jib/a/main=updated ]]
	[[ $(git log --format=%s "$base..jib/a/main") == both ]]
	# Amended and rebased inside: the sandbox knows what it has replaced.
	inside a 'git commit -q --amend -m "amended"'
	[[ $(results a) == jib/a/main=updated ]]
	inside a 'git reset -q --hard HEAD~1; echo three >three.txt; git add -A; git commit -qm "instead"'
	[[ $(results a) == jib/a/main=updated ]]
	[[ $(git log --format=%s "$base..jib/a/main") == instead ]]
}

@test "what the host has added is never dropped" {
	commit a
	jib persist a
	git worktree add -q "$T/tree" jib/a/main
	echo mine >"$T/tree/mine.txt"
	git -C "$T/tree" add -A
	git -C "$T/tree" commit -qm mine
	local mine
	mine=$(git rev-parse jib/a/main)
	commit a more
	# Checked out, and gone on
	run -1 jib persist a
	[[ $output == *"has commits that the sandbox a does not have"*"--as BRANCH"* ]]
	git -C "$T/tree" checkout -q --detach
	run -1 jib persist a --json
	[[ $(json 'd["error"]["code"]' <<<"$output") == exists ]]
	[[ $(git rev-parse jib/a/main) == "$mine" ]]
	unpersisted a true
	[[ $(results a --as elsewhere) == elsewhere=created ]]
	[[ $(git rev-parse jib/a/main) == "$mine" ]]
	unpersisted a false
	# A checked out branch is not moved, though nothing would be lost.
	git branch -f jib/a/main elsewhere
	git -C "$T/tree" checkout -q jib/a/main
	commit a third
	run -1 jib persist a
	[[ $output == *"is checked out in a work tree"* ]]
	[[ -z $(git -C "$T/tree" status --porcelain) ]]
}

@test "--update: fast-forward, or nothing" {
	commit a
	run -1 jib persist a --update
	[[ $output == *"refs/heads/main is checked out in a work tree of $T/repo"* ]]
	git checkout -q --detach
	[[ $(results a --update) == main=updated ]]
	[[ $(git log -1 --format=%s main) == work ]]
	commit a more
	git checkout -q main
	git commit -q --allow-empty -m "the host goes on"
	git checkout -q --detach
	run -1 jib persist a --update
	[[ $output == *"has gone on since"* ]]
	[[ $(git log -1 --format=%s main) == "the host goes on" ]]
	# What the sandbox started from, reverted by nobody
	[[ $(results a) == jib/a/main=created ]]
	git checkout -q main
	git merge -q --no-edit jib/a/main
	[[ -e more.txt ]]
	[[ $(results a --update --as newer) == newer=created ]]
}

@test "a base that the host has left and pruned, or the whole history" {
	commit a
	commit b
	git reset -q --hard HEAD~1
	git reflog expire --expire=now --all
	git gc -q --prune=now
	run ! git cat-file -e "$base"
	[[ $(results a) == jib/a/main=created ]]
	[[ $(git log --format=%s "HEAD..jib/a/main" | tr '\n' ,) == "work,second line," ]]
	git fsck --strict --connectivity-only
	unpersisted a false
	# An unborn branch is no obstacle.
	git symbolic-ref HEAD refs/heads/unborn
	git branch -qD main jib/a/main
	git reflog expire --expire=now --all
	git gc -q --prune=now
	[[ $(results b) == jib/b/main=created ]]
	git fsck --strict --connectivity-only
	[[ $(git symbolic-ref HEAD) == refs/heads/unborn ]]
}

@test "part of what the sandbox stands on is gone: it comes again" {
	commit a
	local blob
	blob=$(git rev-parse "$base:README.md")
	git reset -q --hard HEAD~1
	git reflog expire --expire=now --all
	# The commit is there, and what it needs is not.
	rm -f ".git/objects/${blob:0:2}/${blob:2}"
	run ! git cat-file -e "$blob"
	[[ $(results a) == jib/a/main=created ]]
	git cat-file -e "$blob"
	git fsck --strict --connectivity-only
}

@test "the host's repository is elsewhere, or is not one any more" {
	commit a
	mv "$T/repo" "$T/moved"
	cd "$T"
	run -1 jib persist a
	[[ $output == *"$T/repo is not there any more"*"--export DIR"* ]]
	jib diff a --stat
	jib log a --oneline
	unpersisted a true
	run -1 jib rm a
	# One further up is not taken for it.
	mkdir "$T/repo"
	git init -q "$T"
	run -1 jib persist a
	[[ $output == *"is not there any more"* ]]
	rm -r "$T/.git" "$T/repo"
	mv "$T/moved" "$T/repo"
	[[ $(results a) == jib/a/main=created ]]
}

@test "names that stand in each other's way" {
	commit a
	git branch jib
	local before
	before=$(git for-each-ref)
	run -1 jib persist a
	[[ $output == *"refs/heads/jib"* ]]
	[[ $(git for-each-ref) == "$before" ]]
	git branch -qD jib
	git branch jib/a/main/x
	run -1 jib persist a
	[[ $output == *"jib/a/main"* ]]
	git branch -qD jib/a/main/x
	inside a 'git branch detached; git checkout -q --detach; git commit -q --allow-empty -m d; git branch -q other'
	[[ $(results a) == *"jib/a/other=created"* ]]
	run -2 jib persist a --branch main --as "no good"
	[[ $output == *"--as: no good is not a valid name for a branch"* ]]
	run -2 jib persist a --as ""
	run -2 jib persist a --branch main --as ../x
	run -2 jib persist a --as one
	[[ $output == *"branches of a have something new"*"--branch"* ]]
	run -1 jib persist a --branch nonesuch
	[[ $output == *"has no branch nonesuch"* ]]
	[[ $(results a --branch main --as one) == one=created ]]
}

@test "commits on no branch, and on a branch called like them" {
	inside a '
		git checkout -q --detach
		git commit -q --allow-empty -m nowhere
		echo x >x.txt'
	[[ $(results a) == jib/a/detached=created ]]
	[[ $(git log --format=%s "$base..jib/a/detached" | tail -1) == nowhere ]]
	inside a '
		git branch detached main
		git checkout -q detached
		git commit -q --allow-empty -m "somewhere"
		git checkout -q --detach main
		git commit -q --allow-empty -m "nowhere again"'
	run -0 jib persist a --json
	unpersisted a false
	[[ $(git log --all --format=%s | sort | uniq -d | wc -l) == 0 ]]
	git log --all --format=%s | grep -qx somewhere
	git log --all --format=%s | grep -qx "nowhere again"
}

@test "a sandbox with nothing to bring" {
	jib new a -q
	run -0 --separate-stderr jib persist a
	[[ $output == "nothing to persist" && ! $stderr ]]
	[[ $(jib persist a --json | json 'd["repos"][0]["branches"]') == "[]" ]]
	run -1 jib persist nonesuch
	run -1 jib persist nonesuch --json
	[[ $(json 'd["error"]["code"]' <<<"$output") == not-found ]]
	run -2 jib persist
	run -2 jib persist a --undone
	run -2 jib persist a b
	run -1 jib persist a --repo nonesuch
	# The host's own work is none of the sandbox's.
	echo dirty >>README.md
	jib new b -q
	[[ -z $(results b) ]]
	unpersisted b false
}

@test "a repository without a commit" {
	git init -q "$T/empty"
	cd "$T/empty"
	inside a 'echo first >first.txt'
	[[ $(jib diff a --name-status 2>&1) == $'A\tfirst.txt' ]]
	jib status a
	[[ $(results a) == jib/a/main=created ]]
	[[ $(git show jib/a/main:first.txt) == first ]]
	inside a 'git add -A; git commit -qm first'
	[[ $(results a) == jib/a/main=updated ]]
	[[ $(git log --format=%s jib/a/main) == first ]]
	git merge -q jib/a/main
	[[ -e first.txt ]]
}

@test "several repositories: each gets its own, and one that is chosen comes alone" {
	make_repo "$T/other" 5
	jib run a -q --repo "$T/repo" --repo "$T/other" -- sh -euc "
		echo one >$T/repo/one.txt
		echo two >$T/other/two.txt" </dev/null
	[[ $(results a --repo other) == jib/a/main=created ]]
	run -1 git -C "$T/repo" rev-parse -q --verify jib/a/main
	git -C "$T/other" cat-file -e jib/a/main:two.txt
	unpersisted a true
	[[ $(results a --repo "$T/repo") == jib/a/main=created ]]
	unpersisted a false
	[[ $(results a) == "jib/a/main=unchanged jib/a/main=unchanged" ]]
}

@test "unpersisted is what the host has no ref to, and rm goes by it" {
	commit a
	unpersisted a true
	run -1 jib rm a
	jib persist a
	unpersisted a false
	git branch -qD jib/a/main
	unpersisted a true
	run -1 jib rm a
	jib persist a
	git merge -q jib/a/main
	git branch -qd jib/a/main
	unpersisted a false
	inside a 'git tag -a -m note v1; git notes add -m note; echo s >>README.md; git stash -q'
	unpersisted a true
	jib persist a --tags --notes
	unpersisted a true
	jib persist a --tags --notes --stash
	unpersisted a false
	[[ $(git for-each-ref --format='%(refname)' | grep jib | tr '\n' ' ') == \
		*"refs/jib/a/stash/0 "*"refs/notes/jib/a/commits "*"refs/tags/jib/a/v1 "* ]]
	[[ $(git show "refs/jib/a/stash/0:README.md" | tail -1) == s ]]
	jib rm a
}

@test "tags of what is no commit" {
	inside a '
		git tag blob "$(git rev-parse HEAD:README.md)"
		git tag new "$(echo new | git hash-object -w --stdin)"
		git tag -a -m x tree "HEAD^{tree}"'
	run -0 jib persist a --tags
	[[ $(git cat-file -t jib/a/blob) == blob ]]
	[[ $(git cat-file -p jib/a/new) == new ]]
	[[ $(git cat-file -t jib/a/tree) == tag ]]
	unpersisted a false
	jib persist a --tags
}

@test "a running sandbox goes on, and what it does later is not taken for persisted" {
	jib run a -q -d -- sh -c 'echo one >one.txt; while :; do :; [ -e stop ] && break; done; sleep 1000' </dev/null
	wait_for test -e "$JIB_ROOT/a/upper/repos/repo/one.txt"
	[[ $(results a) == jib/a/main=created ]]
	git cat-file -e jib/a/main:one.txt
	[[ $(jib ls --json | json 'd[0]["state"]') == running ]]
	jib exec a -- sh -c 'echo two >two.txt; touch stop'
	jib stop a
	unpersisted a true
	[[ $(results a) == jib/a/main=updated ]]
	git cat-file -e jib/a/main:two.txt
}
