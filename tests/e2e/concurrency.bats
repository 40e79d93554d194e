# shellcheck shell=bash
# Many sandboxes at once, and the host at work meanwhile.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo"
	cd "$T/repo" || return
	base=$(git rev-parse HEAD)
	pids=()
}

# start NAME: a sandbox that keeps running
start() {
	"$JIB" run "$1" -q -d -- sleep infinity </dev/null >/dev/null
}

into() {
	"$JIB" exec "$1" -- sh -euc "$2" </dev/null
}

inside() {
	"$JIB" run "$1" -q -- sh -euc "$2" </dev/null
}

# together CMD...: starts CMD; its output goes to $T/out.N
together() {
	"$@" </dev/null >"$T/out.${#pids[@]}" 2>&1 &
	pids+=($!)
}

# failures: waits for all that were started, shows what failed; leaves the number in `failed`, and
# each one's status in `statuses`
failures() {
	local i
	failed=0 statuses=()
	for i in "${!pids[@]}"; do
		statuses[i]=0
		wait "${pids[i]}" || {
			statuses[i]=$?
			failed=$((failed + 1))
			echo "# $i failed: $(cat "$T/out.$i")"
		}
	done
	pids=()
}

all_succeed() {
	failures
	((failed == 0))
}

running() {
	(($("$JIB" ls --json | json 'sum(s["state"] == "running" for s in d)') == $1))
}

layers() {
	local kind=$1
	find "$JIB_ROOT/.layers" -mindepth 1 -maxdepth 1 -name "$kind-*" -type d | wc -l
}

nothing_half_made() {
	[[ -z $(ls -A "$JIB_ROOT/.tmp") ]] || return
	[[ -z $(find "$JIB_ROOT/.layers" -maxdepth 2 -name '*.lock' -o -maxdepth 2 -name '*.tmp') ]]
}

@test "50 sandboxes of one repository at once, each commits 20 times" {
	local i before n=50
	before=$(host_hash "$T/repo")
	mkfifo "$T/gate"
	exec 9<>"$T/gate"
	for ((i = 0; i < n; i++)); do
		"$JIB" run "s$i" -q -- sh -euc "
			read go
			i=0
			while [ \$i -lt 20 ]; do
				i=\$((i + 1))
				echo 'of s$i' \$i >>README.md
				echo \$i >new-$i-\$i
				git add -A
				git commit -qm 's$i '\$i
			done
			git fsck --full --strict --no-dangling
			test -z \"\$(git status --porcelain)\"
			git log --reverse --format=%s $base..
		" <"$T/gate" >"$T/out.$i" 2>&1 9>&- &
		pids+=($!)
	done
	# All are there before the first one begins.
	wait_for running "$n"
	for ((i = 0; i < n; i++)); do
		echo go >&9
	done
	all_succeed
	exec 9>&-
	for ((i = 0; i < n; i++)); do
		[[ $(cat "$T/out.$i") == "$(seq -f "s$i %g" 20)" ]]
	done
	[[ $(host_hash "$T/repo") == "$before" ]]
	[[ $(layers tree) == 1 && $(layers git) == 1 ]]
	nothing_half_made
	# After the end they are all there to be gone on with.
	[[ $(jib ls --json | json 'sum(s["state"] == "stopped" and s["unpersisted"] for s in d)') == "$n" ]]
	[[ $(inside s7 'git log -1 --format=%s; git rev-list --count HEAD') == $'s7 20\n23' ]]
}

@test "50 parallel first creations make the layers once" {
	local i
	# A filter of the host sees each time that files are checked out.
	git config filter.count.smudge "sh -c 'echo once >>\"$T/checkouts\"; cat'"
	printf 'README.md filter=count\n' >.git/info/attributes
	# Not as the index knows it: it has to come from git.
	echo changed >README.md
	for ((i = 0; i < 50; i++)); do
		together "$JIB" new "s$i" -q
	done
	all_succeed
	[[ $(cat "$T/checkouts") == once ]]
	[[ $(layers tree) == 1 && $(layers git) == 1 ]]
	nothing_half_made
	[[ $(jib ls --json | json 'len(set(s["name"] for s in d if s["state"] == "created"))') == 50 ]]
	for i in 0 24 49; do
		[[ $(inside "s$i" 'git rev-parse HEAD; git fsck --full') == "$base" ]]
	done
}

@test "100 parallel creations of one name: exactly one wins" {
	local i
	for ((i = 0; i < 100; i++)); do
		together "$JIB" new same -q
	done
	failures
	((failed == 99))
	[[ $(cat "$T"/out.* | grep -cx same) == 1 ]]
	[[ $(cat "$T"/out.* | grep -c "there is a sandbox same already") == 99 ]]
	[[ $(jib ls --json | json '[s["name"] for s in d]') == '["same"]' ]]
	nothing_half_made
	[[ $(inside same 'git rev-parse HEAD') == "$base" ]]
}

@test "parallel runs of one name: one creates it, no other gets a sandbox of its own" {
	local i
	for ((i = 0; i < 20; i++)); do
		together "$JIB" run same -q -- sh -euc "echo $i >ran-$i"
	done
	failures
	((failed < 20))
	for ((i = 0; i < 20; i++)); do
		case ${statuses[i]} in
		0) [[ $(inside same "cat ran-$i") == "$i" ]] ;;
		# Who has joined and was not done when the first one ended is killed with the sandbox.
		137) ;;
		# Who came at the wrong moment says so.
		*) [[ ${statuses[i]} == 125 && $(cat "$T/out.$i") == "jib: "*same* ]] ;;
		esac
	done
	[[ $(jib ls --json | json '[s["name"] for s in d]') == '["same"]' ]]
	nothing_half_made
}

@test "ls, show and rm in parallel with creations and runs" {
	local i
	jib new fixed -q
	for i in 1 2 3; do
		together bash -euc '
			for n in {1..12}; do
				"$JIB" new "$0-$n" -q >/dev/null
				"$JIB" run "$0-$n" -q -- sh -euc "echo x >x; git add x; git commit -qm x"
				"$JIB" rm --force "$0-$n"
			done
		' "w$i"
	done
	together bash -euc 'for n in {1..12}; do "$JIB" run -q --rm -- sh -c "echo x >x"; done'
	# Whatever comes and goes: a list is a list, and nobody is half there.
	for i in 1 2; do
		together bash -euc '
			for n in {1..60}; do
				"$JIB" ls --json | python3 -c "
import json, sys
d = json.load(sys.stdin)
assert any(s[\"name\"] == \"fixed\" for s in d), d
assert all(s[\"state\"] != \"broken\" for s in d), d"
				"$JIB" show fixed >/dev/null
				"$JIB" show w1-5 >/dev/null 2>&1 || [ $? = 1 ]
			done
		'
	done
	all_succeed
	[[ $(jib ls --json | json '[s["name"] for s in d]') == '["fixed"]' ]]
	nothing_half_made
}

@test "parallel rm of the same sandboxes: each is gone, none comes back" {
	local i others
	for i in 1 2 3 4 5 6; do
		inside "s$i" "mkdir -p d; for n in \$(seq 50); do echo \$n >d/\$n; done"
	done
	for ((i = 0; i < 12; i++)); do
		together "$JIB" rm --force s1 s2 s3 s4 s5 s6
	done
	failures
	# Who came too late was told that there is none.
	others=$(cat "$T"/out.* | grep -v -e 'there is no sandbox s[1-6]' -e '`jib ls` lists' || true)
	[[ -z $others ]]
	[[ $(jib ls --json) == "[]" ]]
	nothing_half_made
}

@test "T33 T34: the host commits, rebases, switches branch and prunes; each sandbox shows only its own work" {
	local i tip
	git commit -q --allow-empty -m "to be rebased away"
	base=$(git rev-parse HEAD)
	for i in 1 2 3; do
		start "s$i"
	done
	into s1 'echo 1 >own; git add own; git commit -qm "of s1"'
	# The host goes on.
	echo edited >>README.md
	echo created >created.txt
	rm tool.sh
	git add -A
	git commit -qm "of the host"
	into s2 'echo 2 >own; git add own; git commit -qm "of s2"'
	git rebase -q --onto HEAD~2 HEAD~1 main
	git switch -qc elsewhere HEAD~2
	git branch -qD main
	git reflog expire --expire=now --expire-unreachable=now --all
	rm -f .git/ORIG_HEAD .git/REBASE_HEAD
	git gc -q --prune=now
	run ! git cat-file -e "$base"
	into s3 'echo 3 >own; git add own; git commit -qm "of s3"'
	for i in 1 2 3; do
		[[ -z $(into "s$i" 'git status --porcelain') ]]
		[[ $(into "s$i" 'git log --format=%s') == "of s$i
to be rebased away
second line
files
first" ]]
		into "s$i" 'test -x tool.sh; test ! -e created.txt; git fsck --full --strict --no-dangling'
		[[ $(into "s$i" 'cat README.md own; git branch --show-current') == $'one\ntwo\n'"$i"$'\nmain' ]]
		jib stop "s$i"
		# And when it is opened again.
		[[ $(inside "s$i" "git log --format=%s $base..; git status --porcelain") == "of s$i" ]]
		inside "s$i" 'git gc -q --prune=now; git fsck --full --strict --no-dangling'
	done
	[[ -z $(git status --porcelain) ]]
	[[ $(git for-each-ref --format='%(refname)') == refs/heads/elsewhere ]]
	git fsck --full --strict --no-dangling
	# A new one is of the new present.
	tip=$(git rev-parse HEAD)
	[[ $(inside new 'git rev-parse HEAD; git branch --show-current') == "$tip"$'\nelsewhere' ]]
}

# host_works KIND: 150 commits, and what KIND says, as fast as it goes
host_works() {
	local n
	for ((n = 1; n <= 150; n++)); do
		echo "$n" >>README.md
		git commit -qam "host $n"
		case $1$((n % 10)) in
		branches3) git switch -qc "b$n" ;;
		branches6)
			git branch -qf main
			git switch -q main
			git for-each-ref --format='%(refname:short)' 'refs/heads/b*' |
				xargs git branch -qD
			;;
		branches9) git pack-refs --all --prune ;;
		gc5) git reset -q --hard "$base" ;;
		gc0)
			git reflog expire --expire=now --all
			git gc -q --prune=now
			;;
		esac
	done
	touch "$T/done"
}

# consistent NAME: what it began with is whole, and is what `show` says
consistent() {
	local seen
	seen=$(inside "$1" "
		git rev-parse --verify HEAD^{commit}
		git status --porcelain
		git diff-files --raw
		git merge-base --is-ancestor $base HEAD
		git fsck --full --strict --no-dangling
	" 2>&1) && [[ $seen == "$("$JIB" show "$1" --json | json 'd["repos"][0]["base"]')" ]] && return
	echo "$1 is not consistent: $seen"
	return 1
}

# races KIND: sandboxes are created for as long as the host works, one after the other
races() {
	local i host refused=0
	host_works "$1" >"$T/host" 2>&1 3>&- &
	host=$!
	for ((i = 0; i < 40; i++)); do
		[[ ! -e $T/done ]] || break
		if ! "$JIB" new "s$i" -q --clean >"$T/out" 2>&1; then
			# The one thing that it may say: that there was no still moment.
			refused=$((refused + 1))
			grep "keeps changing while it is captured" "$T/out" || {
				cat "$T/out"
				kill "$host"
				return 1
			}
		fi
	done
	wait "$host" || {
		cat "$T/host"
		return 1
	}
	jib new last -q
	echo "# $refused of $i were refused"
	for ((i = 0; i < 40; i++)); do
		[[ ! -d $JIB_ROOT/s$i ]] || consistent "s$i" || return
	done
	consistent last
	[[ $(jib show last --json | json 'd["repos"][0]["base"]') == "$(git rev-parse HEAD)" ]]
	nothing_half_made
	git fsck --full --no-dangling
}

@test "creations that race with a host that keeps committing are consistent" {
	races commits
}

@test "creations that race with a host that makes, deletes and packs branches are consistent" {
	races branches
}

@test "creations that race with a host that resets and prunes are consistent" {
	races gc
}
