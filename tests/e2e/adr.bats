# shellcheck shell=bash
# What "ADR: Git Isolation via Overlayfs" asks for, in its own words: its requirements, its table
# of container exits, its mount structure.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo"
	cd "$T/repo" || return
	base=$(git rev-parse HEAD)
	before=$(host_hash "$T/repo")
}

# inside NAME SCRIPT: runs the script in the sandbox
inside() {
	"$JIB" run "$1" -q -- sh -euc "$2" </dev/null
}

# start NAME [OPTION...]: a sandbox that keeps running
start() {
	local name=$1
	shift
	"$JIB" run "$name" -q -d "$@" -- sleep infinity </dev/null >/dev/null
}

# into NAME SCRIPT: runs the script in a running sandbox
into() {
	"$JIB" exec "$1" -- sh -euc "$2" </dev/null
}

state_of() {
	"$JIB" show "$1" --json | json 'd["state"]'
}

is_state() {
	[[ $(state_of "$1") == "$2" ]]
}

untouched() {
	[[ $(host_hash "$T/repo") == "$before" ]]
}

# monitor_of NAME: the process on the host that holds the lease
monitor_of() {
	python3 - "$JIB_ROOT/$1/lease" <<'PY'
import os, sys
# An open file description lock has no owner in /proc/locks; the one who has it open does.
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if os.readlink(f"/proc/{pid}/fd/{fd}") == sys.argv[1]:
                print(pid)
                sys.exit()
    except OSError:
        pass
sys.exit(1)
PY
}

# The host's everyday git, on its own repository.
host_git_works() {
	git status --porcelain >/dev/null
	printf 'host %s\n' "$1" >>host.txt
	git add host.txt
	git commit -qm "host $1"
	[[ $(git log -1 --format=%s) == "host $1" ]]
	git branch "host-$1"
	git checkout -q "host-$1"
	git checkout -q main
	git branch -qD "host-$1"
	git fsck --strict --no-dangling
	[[ -z $(git status --porcelain) ]]
}

# ---- Requirements ----

@test "requirement 1: N containers simultaneously" {
	local i n=8
	for ((i = 1; i <= n; i++)); do
		start "s$i"
	done
	[[ $(jib ls --json | json 'sum(s["state"] == "running" for s in d)') == "$n" ]]
	for ((i = 1; i <= n; i++)); do
		into "s$i" "echo $i >mine; git add mine; git commit -qm 'work of s$i'"
	done
	for ((i = 1; i <= n; i++)); do
		[[ $(into "s$i" "git log --format=%s $base..") == "work of s$i" ]]
		[[ $(into "s$i" "cat mine") == "$i" ]]
	done
	untouched
}

@test "requirement 2: container isolation, modifications in one container don't affect others" {
	start a
	start b
	into a '
		echo changed >README.md
		rm docs/a*
		chmod 700 tool.sh
		echo new >new.txt
		git add -A
		git commit -qm "of a"
		git branch of-a
		git tag tag-a
		git config jib.test of-a
		touch .git/index.lock .git/refs/heads/main.lock .git/config.lock
		echo in-the-home >~/mark
		echo shared >/tmp/mark
	'
	# What b sees is what it saw at its creation, and nothing holds it up.
	[[ $(into b 'git rev-parse HEAD') == "$base" ]]
	[[ -z $(into b 'git status --porcelain') ]]
	[[ $(into b 'cat README.md') == $'one\ntwo' ]]
	into b 'test -e "docs/a name with spaces.txt"; test ! -e new.txt
		test ! -e ~/mark; test ! -e /tmp/mark'
	[[ $(into b 'git for-each-ref --format="%(refname)"') == refs/heads/main ]]
	run -1 into b 'git config jib.test'
	into b 'echo b >b.txt; git add b.txt; git commit -qm "of b"'
	[[ $(into b "git log --format=%s $base..") == "of b" ]]
	[[ $(into a "git log --format=%s $base..") == "of a" ]]
	run ! into b "git cat-file -e $(into a 'git rev-parse HEAD')"
	untouched
}

@test "requirement 2: the other container's files cannot even be named" {
	start a
	into a 'echo secret >secret.txt'
	start b
	into b "
		test ! -e '$JIB_ROOT/a'
		test ! -e secret.txt
		test -z \"\$(find / -xdev -name secret.txt 2>/dev/null)\"
	"
	# The search would have found it.
	into a '[ "$(find "$PWD" -xdev -name secret.txt)" = "$PWD/secret.txt" ]'
}

@test "requirement 3: host isolation, container modifications don't affect host git operations" {
	start a
	into a '
		echo changed >README.md
		git commit -qam "of a"
		git branch extra
		git checkout -qb other
		git config core.bare true
		touch .git/index.lock .git/HEAD.lock .git/config.lock .git/packed-refs.lock
		touch .git/refs/heads/main.lock
	'
	untouched
	host_git_works running
	into a 'rm -rf src docs files; find .git -mindepth 1 -delete; test -z "$(ls -A .git)"'
	host_git_works destroyed
	jib stop a
	host_git_works stopped
	[[ $(git for-each-ref --format='%(refname)') == refs/heads/main ]]
	[[ $(cat README.md) == $'one\ntwo' ]]
}

@test "requirement 4: gateway access, a running container's files and new commits are read from outside" {
	local commit upper=$JIB_ROOT/a/upper
	start a
	into a 'echo changed >README.md; echo new >new.txt; git add -A; git commit -qm "of a"'
	commit=$(into a 'git rev-parse HEAD')
	# The upper directories are the list of what was changed, and hold it. No git runs on them.
	[[ $(cat "$upper/repos/repo/README.md") == changed ]]
	[[ $(cd "$upper/repos/repo" && find . -type f | sort) == $'./README.md\n./new.txt' ]]
	[[ $(cat "$upper/git/repo/refs/heads/main") == "$commit" ]]
	run -0 python3 -c '
import sys, zlib
print(zlib.decompress(open(sys.argv[1], "rb").read()).decode())
' "$upper/git/repo/objects/${commit:0:2}/${commit:2}"
	[[ $output == commit* ]]
	[[ $output == *"parent $base"* ]]
	[[ $output == *"of a" ]]
	untouched
}

@test "requirement 4: gateway access, the merged view on the host (root), or the refusal that says so" {
	mkdir "$T/view"
	start a
	into a 'echo changed >README.md; rm tool.sh; git add -A; git commit -qm "of a"'
	if ! as_root; then
		run -1 jib mount a "$T/view"
		[[ $output == *root* ]]
		[[ $output == *sudo* ]]
		[[ -z $(ls -A "$T/view") ]]
		[[ $(cat "$JIB_ROOT/a/upper/repos/repo/README.md") == changed ]]
		return
	fi
	jib mount a "$T/view"
	[[ $(cat "$T/view/README.md") == changed ]]
	[[ $(cat "$T/view/src/main.c") == $'int main(void)\n{\n\treturn 0;\n}' ]]
	[[ ! -e $T/view/tool.sh ]]
	# Its metadata is not there for a git of the host to trust.
	[[ -z $(ls -A "$T/view/.git") ]]
	# It is the live view, not a second mount of the upper.
	into a 'echo later >later.txt'
	[[ $(cat "$T/view/later.txt") == later ]]
	jib umount "$T/view"
	[[ -z $(ls -A "$T/view") ]]
	jib stop a
	# And at rest.
	jib mount a "$T/view"
	[[ $(cat "$T/view/later.txt") == later ]]
	jib umount "$T/view"
	untouched
}

@test "requirement 5: no cleanup required, host works correctly regardless of container state" {
	local pid
	# created
	jib new a -q
	is_state a created
	host_git_works created
	# running
	start a
	into a 'echo changed >README.md; git commit -qam "of a"; touch .git/index.lock'
	is_state a running
	host_git_works running
	# crashed
	pid=$(monitor_of a)
	kill -KILL "$pid"
	wait_for is_state a stopped
	host_git_works crashed
	# broken
	rm "$JIB_ROOT/a/sandbox.json"
	is_state a broken
	host_git_works broken
	# gone, without jib
	rm -rf "$JIB_ROOT/a"
	host_git_works gone
	# the whole store gone
	rm -rf "$JIB_ROOT"
	host_git_works storeless
	run -1 grep -rIl -e "$JIB_ROOT" -e /home/jib .git
}

# ---- Container exit handling ----

@test "clean exit, no changes to keep: delete upper layer directory" {
	jib run a -q -- git status
	[[ ! -e $JIB_ROOT/a ]]
	[[ $(jib ls --json) == "[]" ]]
	# Changes that are not to be kept.
	jib run b -q --rm -- sh -euc 'echo x >x; git add x; git commit -qm x'
	[[ ! -e $JIB_ROOT/b ]]
	jib run c -q -- sh -euc 'echo x >x'
	[[ -d $JIB_ROOT/c ]]
	jib rm --force c
	[[ ! -e $JIB_ROOT/c ]]
	[[ -z $(ls -A "$JIB_ROOT/.tmp") ]]
	untouched
}

@test "clean exit, want to persist changes: they are kept, and reach the host by no implicit way" {
	run -0 --separate-stderr jib run a -- sh -euc 'echo kept >kept; git add kept; git commit -qm kept'
	[[ $stderr == *"kept a"* ]]
	[[ $stderr == *"jib show a"* ]]
	[[ $stderr == *"jib rm --force a"* ]]
	[[ $(cat "$JIB_ROOT/a/upper/repos/repo/kept") == kept ]]
	[[ $(jib show a --json | json 'd["unpersisted"]') == true ]]
	# What exists nowhere else is not lost by mistake either.
	run -1 jib rm a
	[[ $(inside a "git log --format=%s $base..") == kept ]]
	untouched
}

@test "crash/kill: upper layer remains; can be inspected" {
	local pid
	start a
	into a 'echo committed >README.md; git commit -qam "of a"; echo uncommitted >new.txt'
	pid=$(monitor_of a)
	kill -KILL "$pid"
	wait_for is_state a stopped
	[[ $(cat "$JIB_ROOT/a/upper/repos/repo/new.txt") == uncommitted ]]
	[[ $(jib show a --json | json 'd["changes"]["tree"]') == 2 ]]
	[[ $(inside a 'git status --porcelain') == '?? new.txt' ]]
	[[ $(inside a "git log --format=%s $base..") == "of a" ]]
	inside a 'git fsck --strict --no-dangling'
	untouched
}

@test "crash/kill: upper layer remains; can be deleted" {
	local pid
	start a
	into a 'echo x >x'
	pid=$(monitor_of a)
	kill -KILL "$pid"
	wait_for is_state a stopped
	run -1 jib rm a
	[[ $output == *changes* ]]
	jib rm --force a
	[[ ! -e $JIB_ROOT/a ]]
	untouched
}

@test "host cleanup: simply rm -rf ~/.jib-overlays/{container-id}" {
	unset JIB_ROOT
	jib run a -q -- sh -euc 'echo x >x; git add x; git commit -qm "first life"'
	[[ -d $HOME/.jib-overlays/a/upper ]]
	rm -rf ~/.jib-overlays/a
	[[ ! -e $HOME/.jib-overlays/a ]]
	[[ $(jib ls --json) == "[]" ]]
	run -1 jib show a
	# Nothing remembers it: the name begins anew.
	[[ $(jib run a -q -- git log -1 --format=%s) == "second line" ]]
	untouched
}

# ---- Mount structure ----

@test "per-container overlay: upper/repos/{repo}, upper/git/{repo} and work below ~/.jib-overlays" {
	unset JIB_ROOT
	local own=$HOME/.jib-overlays/a
	jib run a -q -- sh -euc 'echo changed >README.md; git add -A; git commit -qm "of a"'
	# Modified working files, and only those.
	[[ $(cd "$own/upper/repos" && find . -type f) == ./repo/README.md ]]
	[[ $(cat "$own/upper/repos/repo/README.md") == changed ]]
	# Modified git metadata.
	[[ -f $own/upper/git/repo/refs/heads/main ]]
	[[ -f $own/upper/git/repo/logs/HEAD ]]
	# overlayfs' work directories.
	[[ -d $own/work/repos/repo && -d $own/work/git/repo ]]
	[[ $(stat -c %a "$HOME/.jib-overlays") == 700 ]]
	untouched
}

@test "container mount structure: /home/jib/repos/{repo} and /home/jib/.git/{repo} are overlays" {
	make_repo "$T/other"
	run -0 jib run a -q --layout jib --repo "$T/repo" --repo "$T/other" -- sh -euc '
		for repo in repo other; do
			for at in /home/jib/repos/$repo /home/jib/.git/$repo; do
				awk -v at="$at" "\$5 == at && / - overlay /{ print at }" /proc/self/mountinfo
			done
			git -C /home/jib/repos/$repo status --porcelain
			git --git-dir=/home/jib/.git/$repo rev-parse --git-dir
			echo $repo >/home/jib/repos/$repo/mine
			git -C /home/jib/repos/$repo add mine
			git -C /home/jib/repos/$repo commit -qm "in $repo"
			git --git-dir=/home/jib/.git/$repo log -1 --format=%s
		done
		pwd
	'
	[[ $output == "/home/jib/repos/repo
/home/jib/.git/repo
/home/jib/.git/repo
in repo
/home/jib/repos/other
/home/jib/.git/other
/home/jib/.git/other
in other
/home/jib/repos/repo" ]]
	[[ $(cat "$JIB_ROOT/a/upper/repos/repo/mine") == repo ]]
	[[ $(cat "$JIB_ROOT/a/upper/repos/other/mine") == other ]]
	[[ -f $JIB_ROOT/a/upper/git/repo/logs/HEAD && -f $JIB_ROOT/a/upper/git/other/logs/HEAD ]]
	# The host's paths mean nothing inside.
	inside a "test ! -e '$T/repo'"
	untouched
}

@test "mount configuration: lower=host repo, upper=container-specific (--live)" {
	jib new a -q --live --layout jib
	printf 'host\n' >host.txt
	before=$(host_hash "$T/repo")
	# Reads are served from the host's directory; writes go to the container's upper layer only.
	[[ $(inside a 'cat host.txt') == host ]]
	inside a 'echo changed >host.txt; rm tool.sh; git add -A; git commit -qm "of a"'
	[[ $(cat "$JIB_ROOT/a/upper/repos/repo/host.txt") == changed ]]
	[[ $(inside a 'cat /home/jib/repos/repo/host.txt') == changed ]]
	[[ $(inside a "git --git-dir=/home/jib/.git/repo log --format=%s $base..") == "of a" ]]
	# Host operations always see the original files; another container has its own upper.
	[[ $(cat host.txt) == host && -x tool.sh ]]
	[[ $(git rev-parse HEAD) == "$base" ]]
	jib new b -q --live --layout jib
	[[ $(inside b 'cat host.txt; git rev-parse HEAD') == $'host\n'"$base" ]]
	untouched
}

@test "mount structure: nothing is mounted on the host, whatever runs" {
	start a
	start b --layout jib
	run -1 grep -F "$T/" /proc/self/mountinfo
	run -1 grep -F ' /home/jib/' /proc/self/mountinfo
	# There are mounts, though: inside.
	into a 'grep -q " - overlay " /proc/self/mountinfo'
}
