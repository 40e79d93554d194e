# shellcheck shell=bash
# No command has a git of the host work on what a sandbox can write: every execve(2) that it makes
# outside of the sandbox's namespaces is looked at. The whole suite is watched too, see
# src/git-trace.c; here also what is started by another path than PATH's.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 5
	cd "$T/repo" || return
	# Every place in which a repository could be found that is the sandbox's
	"$JIB" run a -q -- sh -euc '
		echo changed >README.md
		git commit -qam "of the sandbox"
		echo uncommitted >new.txt
		git init -q nested
		git init -q ~/own' </dev/null
}

# seen CMD...: runs CMD, and what strace has seen of it is in $T/trace
seen() {
	strace -f -qq -xx -y -v -s 65536 -o "$T/trace" \
		-e trace=execve,clone,clone3,fork,vfork,unshare,setns,chdir,fchdir \
		"$@" </dev/null >"$T/out" 2>&1
}

# judged: what strace has seen is harmless, and how many calls of git it was
judged() {
	PYTHONDONTWRITEBYTECODE=1 python3 "$BATS_TEST_DIRNAME/src/git-trace.py" \
		strace "$T/trace" "$JIB_ROOT"
}

# In this order; the last one is the end of the sandbox "a".
commands=(
	"run a -q -- git status"
	"new b"
	"exec a -- git log -1"
	"ls"
	"ls --json"
	"show a"
	"show a --json"
	"diff a"
	"diff a --stat --json"
	"status a"
	"log a"
	"log a -p"
	"persist a"
	"persist a --apply"
	"persist a --undo"
	"persist a --export $BATS_TEST_TMPDIR/out"
	"fork a c"
	"checkpoint a"
	"rollback a"
	"du"
	"gc"
	"rm --force a"
)

@test "no command has git work on what is a sandbox's" {
	local each
	local -a words
	set -o pipefail
	for each in "${commands[@]}"; do
		read -ra words <<<"$each"
		seen "$JIB" "${words[@]}" || {
			echo "jib $each: $(cat "$T/out")"
			return 1
		}
		judged || {
			echo "by jib $each"
			return 1
		}
	done | tee "$T/judged" || return
	# A new sandbox of a repository cannot be had without git.
	grep -q "^[1-9]" "$T/judged"
}

@test "not from within a sandbox's own directory either" {
	local each
	for each in upper/repos/repo upper/git/repo home home/own; do
		cd "$JIB_ROOT/a/$each" || return
		seen "$JIB" ls
		judged
		seen "$JIB" show a
		judged
	done
}

@test "a git that works there would be seen" {
	local bad
	for bad in "git -C $JIB_ROOT/a/upper/repos/repo status" \
		"cd $JIB_ROOT/a/home/own && (git status)" \
		"GIT_DIR=$JIB_ROOT/a/upper/git/repo git status" \
		"cd $T && git -C store/a/home/own status"; do
		seen sh -c "$bad; :"
		run -1 judged
		[[ $output == *"is of the sandbox a"* ]]
	done
	seen sh -c "git -C $T/repo status; :"
	run -0 judged
	[[ $output != "0 calls"* ]]
	# What happens in namespaces of its own is a sandbox's affair.
	seen unshare --user --map-root-user sh -c "git -C $JIB_ROOT/a/home/own status; :"
	run -0 judged
	[[ $output == "0 calls"* ]]
}
