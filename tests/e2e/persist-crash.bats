# shellcheck shell=bash
# The host never loses: whatever ends `jib persist`, and whenever, the host has its old state or the
# new one, git works at once, and a rerun gets to the end. The same where its disk is full or fails,
# or a git process of its own is at work.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 5
	cd "$T/repo" || return
}

teardown() {
	if [[ ${full-} ]]; then
		cd /
		stop_everything
		umount "$full"
	fi
	jib_teardown
}

inside() {
	"$JIB" run "$1" -q -- sh -euc "$2" </dev/null
}

# work: a sandbox with commits, uncommitted and untracked work of every kind, and a host that has
# gone on meanwhile
work() {
	inside a '
		echo committed >>README.md; git commit -qam "of a"
		echo uncommitted >>src/main.c; rm tool.sh; mkdir n; echo n >n/n; git mv docs/a* moved
		ln -sfn src link; rm -r files; echo a file >files'
	echo "of the host" >src/lib/lib.h
	git commit -qam "of the host"
	echo untracked >mine.txt
	echo dirty >>.gitignore
	git add .gitignore
	echo dirtier >>.gitignore
	old=$(look)
	git_state=$(look_at_git)
}

# look: the work tree, without times: what is old or new as a whole
look() {
	python3 -c '
import hashlib, os, stat
for top, dirs, files in sorted(os.walk(".")):
    if top == ".":
        dirs.remove(".git")
    for name in sorted(dirs + files):
        path = os.path.join(top, name)
        mode = os.lstat(path).st_mode
        what = os.readlink(path) if stat.S_ISLNK(mode) else ""
        if stat.S_ISREG(mode):
            what = hashlib.sha256(open(path, "rb").read()).hexdigest()
        print(repr(path), oct(mode), what)'
}

# What no --apply moves.
look_at_git() {
	git rev-parse HEAD
	git symbolic-ref HEAD
	git for-each-ref
	git ls-files -s
}

injected() {
	local follow=$1 call=$2 what=$3
	shift 3
	strace $follow -qq -o /dev/null -e trace="$call" -e inject="$call:$what" "$@" </dev/null
}

# git_works: at once, whatever jib has left
git_works() {
	git fsck --full --strict --no-dangling >"$T/fsck" 2>&1 && git status --porcelain >/dev/null &&
		[[ ! -e .git/index.lock && ! -e .git/HEAD.lock && ! -e .git/packed-refs.lock ]] || {
		echo "git does not work: $(cat "$T/fsck"); $(ls .git)"
		return 1
	}
}

# tidy: after the next command
tidy() {
	[[ -z $(ls -A "$JIB_ROOT/.tmp") && ! -e .git/jib/apply && -z $(find . -maxdepth 1 -name '.jib-*') ]] &&
		[[ -z $(find .git -name '*.lock' -o -name 'tmp_*') ]] || {
		echo "left: $(ls -A "$JIB_ROOT/.tmp" .git/jib); $(find .git -name '*.lock' -o -name 'tmp_*')"
		return 1
	}
}

# each_point COMMAND POINT...: COMMAND for every one of them; most have to have ended what they hit
each_point() {
	local command=$1 point total hit=0
	shift
	total=$#
	for point in "$@"; do
		"$command" "$point" || {
			echo "after $point: $(cat "$T/out")"
			return 1
		}
	done 2>"$T/shell" # bash tells of each that is killed
	((hit * 3 >= total * 2)) || {
		echo "$hit of $total hit"
		return 1
	}
}

# ---- Branches ----

# The branch is not there, or it is what it has to be.
branch_old_or_new() {
	local tree
	tree=$(git rev-parse -q --verify "jib/a/main^{tree}") || return 0
	[[ ! $branch || $tree == "$branch" ]]
}

# nothing_moved: neither the work tree nor what is not jib's
nothing_moved() {
	[[ $(look) == "$old" && $(look_at_git | grep -v refs/heads/jib/) == "$git_state" ]]
}

persist_killed() {
	injected "$follow" "${1%:*}" "signal=KILL:when=${1#*:}" "$JIB" persist a >"$T/out" 2>&1 || hit=$((hit + 1))
	git_works && branch_old_or_new && nothing_moved || return
	"$JIB" persist a >"$T/out" 2>&1 &&
		[[ $(git rev-parse 'jib/a/main^{tree}') == "$branch" && $(git rev-list --count main..jib/a/main) == 2 ]] &&
		nothing_moved && git_works && wait_for tidy || return
	git update-ref -d refs/heads/jib/a/main
}

branch_of_a() {
	branch=''
	"$JIB" persist a >/dev/null
	branch=$(git rev-parse 'jib/a/main^{tree}')
	git update-ref -d refs/heads/jib/a/main
}

@test "T93: SIGKILL of persist at any point: the branch is old or new, git works, a rerun gets there" {
	local branch follow=""
	work
	branch_of_a
	each_point persist_killed openat2:{20,90,150} write:{1,2,12} fsync:{1,2} unlinkat:{2,20,45} \
		mkdirat:{3,11} renameat:{3,6} clone3:{1,3,4,5,6,7} poll:{2,20,50} sendmsg:{1,5} close:200
}

@test "T93: SIGKILL of what persist has started, as git or in the viewer: the same" {
	local branch follow=-f
	work
	branch_of_a
	each_point persist_killed execve:1 pivot_root:1 move_mount:2 mkdir:1
}

@test "T93: SIGKILL of a second persist: the branch that was brought before stays, or moves on" {
	local branch='' point first last
	work
	"$JIB" persist a >/dev/null
	first=$(git rev-parse jib/a/main)
	inside a 'echo more >>README.md; git commit -qam more'
	for point in openat2:150 write:12 fsync:1 clone3:{5,6,7,8} poll:40; do
		injected "" "${point%:*}" "signal=KILL:when=${point#*:}" "$JIB" persist a >"$T/out" 2>&1 || true
		git_works
		last=$(git rev-parse jib/a/main)
		[[ $last == "$first" || $(git show jib/a/main:README.md) == *more ]]
		nothing_moved
	done 2>"$T/shell"
	"$JIB" persist a
	[[ $(git show jib/a/main:README.md) == *more && $(git cat-file -t "$first") == commit ]]
	wait_for tidy
}

persist_failed() {
	local status=0
	injected "" "${1%:*}" "error=$error:when=${1#*:}" "$JIB" persist a >"$T/out" 2>&1 || status=$?
	git_works && branch_old_or_new && nothing_moved && [[ -z $(ls -A "$JIB_ROOT/.tmp") ]] || return
	if ((status)); then
		hit=$((hit + 1))
		((status == 1)) && grep -q "^jib: .*$words" "$T/out" || return
	fi
	"$JIB" persist a >"$T/out" 2>&1 && [[ $(git rev-parse 'jib/a/main^{tree}') == "$branch" ]] &&
		wait_for tidy && git update-ref -d refs/heads/jib/a/main
}

@test "T95: ENOSPC and EIO while a branch is brought: old state, an error that says so, a rerun gets there" {
	local branch error words
	work
	branch_of_a
	error=ENOSPC words="No space left on device"
	each_point persist_failed write:{1,2,3,10} mkdirat:{1,4,8} openat2:{60,120}
	error=EIO words="Input/output error"
	each_point persist_failed write:{1,5} mkdirat:4 openat2:150
}

# ---- The work tree ----

both_states() {
	"$JIB" persist a --apply >/dev/null
	new=$(look)
	[[ $new != "$old" ]]
	"$JIB" persist --undo >/dev/null
	[[ $(look) == "$old" && $(look_at_git) == "$git_state" ]]
}

old_or_new() {
	local now
	now=$(look)
	[[ $(look_at_git) == "$git_state" ]] || {
		echo "git's state has changed"
		return 1
	}
	[[ $now == "$old" || $now == "$new" ]] || {
		diff <(echo "$old") <(echo "$now")
		echo "and to the new one:"
		diff <(echo "$now") <(echo "$new")
		return 1
	}
}

apply_killed() {
	injected "$follow" "${1%:*}" "signal=KILL:when=${1#*:}" "$JIB" persist a --apply >"$T/out" 2>&1 || hit=$((hit + 1))
	git_works || return
	# The next command, whatever it is for, settles it.
	"$JIB" persist a --apply --dry-run >>"$T/out" 2>&1 && old_or_new && wait_for tidy || return
	"$JIB" persist a --apply >>"$T/out" 2>&1 && [[ $(look) == "$new" ]] && old_or_new || return
	"$JIB" persist --undo >>"$T/out" 2>&1 && [[ $(look) == "$old" ]] && git_works
}

@test "T93: SIGKILL of --apply at any point: all old or all new after the next command, undo works" {
	local new follow=""
	work
	both_states
	each_point apply_killed renameat2:{1,2,3,4,5,6,7,8} renameat:{1,2,3,4,5} fsync:{1,4,7,10,13,16,19,22} \
		write:{1,5,9,14} unlinkat:{1,20,30} mkdirat:{3,8} openat2:{100,180,210,240} close:{150,280}
}

@test "T93: SIGKILL of what --apply has started: the same" {
	local new follow=-f
	work
	both_states
	each_point apply_killed execve:1 move_mount:2 mkdir:1
}

undo_killed() {
	"$JIB" persist a --apply >"$T/out" 2>&1 && [[ $(look) == "$new" ]] || return
	injected "" "${1%:*}" "signal=KILL:when=${1#*:}" "$JIB" persist --undo >>"$T/out" 2>&1 || hit=$((hit + 1))
	git_works || return
	"$JIB" persist a --apply --dry-run >>"$T/out" 2>&1 && old_or_new && wait_for tidy || return
	[[ $(look) == "$old" ]] || "$JIB" persist --undo >>"$T/out" 2>&1
	[[ $(look) == "$old" ]] && old_or_new
}

@test "T93: SIGKILL of --undo at any point: all old or all new after the next command" {
	local new
	work
	both_states
	each_point undo_killed renameat2:{1,2,3,4,5,6,7} renameat:{1,2,3,4} fsync:{1,5,9,13,17,21} write:{1,2,3} \
		unlinkat:{1,5,9} mkdirat:2 openat2:{10,30,45}
}

# The markers, the index and its stages belong to it.
@test "T93: SIGKILL of --apply with markers: files and index are old or new together" {
	local point files index new_files new_index
	inside a 'echo committed >>README.md; echo x >new; git rm -q src/main.c; echo y >both'
	echo "of the host" >>README.md
	echo "of the host" >>src/main.c
	echo mine >both
	files=$(look) index=$(git ls-files -s)
	run -1 "$JIB" persist a --apply --conflicts markers
	new_files=$(look) new_index=$(git ls-files -s)
	[[ $new_index != "$index" ]]
	"$JIB" persist --undo
	[[ $(look) == "$files" && $(git ls-files -s) == "$index" ]]
	for point in renameat2:{1,2} renameat:{2,4,6,8,9,10} fsync:{5,12} clone3:{5,7,8,9,10} write:12 unlinkat:30; do
		injected "" "${point%:*}" "signal=KILL:when=${point#*:}" "$JIB" persist a --apply --conflicts markers \
			>"$T/out" 2>&1 || true
		git fsck --full --strict --no-dangling 2>/dev/null
		# A git that it has started comes to its end by itself.
		wait_for test ! -e .git/index.lock
		git status >/dev/null
		"$JIB" persist a --apply --dry-run >>"$T/out" 2>&1
		[[ "$(look)$(git ls-files -s)" == "$files$index" || "$(look)$(git ls-files -s)" == "$new_files$new_index" ]] || {
			echo "at $point: a mixture; $(git status)"
			return 1
		}
		wait_for tidy
		[[ $(look) == "$files" ]] || "$JIB" persist --undo
		[[ $(look) == "$files" && $(git ls-files -s) == "$index" ]]
	done 2>"$T/shell"
}

apply_failed() {
	local status=0
	injected "" "${1%:*}" "error=$error:when=${1#*:}" "$JIB" persist a --apply >"$T/out" 2>&1 || status=$?
	git_works || return
	if ((status)); then
		hit=$((hit + 1))
		# Nothing is half done, at once: no other command is needed.
		((status == 1)) && grep -q "^jib: .*$words" "$T/out" && [[ $(look) == "$old" ]] && old_or_new &&
			[[ ! -e .git/jib/apply && -z $(ls -A "$JIB_ROOT/.tmp") ]] || return
	else
		[[ $(look) == "$new" ]] || return
	fi
	"$JIB" persist a --apply >>"$T/out" 2>&1 && [[ $(look) == "$new" ]] &&
		"$JIB" persist --undo >>"$T/out" 2>&1 && [[ $(look) == "$old" ]] && old_or_new && wait_for tidy
}

@test "T95: ENOSPC and EIO while files are applied: all is as it was, an error that says so, a rerun gets there" {
	local new error words
	work
	both_states
	error=ENOSPC words="No space left on device"
	each_point apply_failed renameat2:{1,2,4,6} renameat:{1,2,3} fsync:{2,6,10,14,18} write:{2,6,10} mkdirat:{4,8}
	error=EIO words="Input/output error"
	each_point apply_failed renameat2:3 fsync:{1,4,8,12,16} write:{3,7} openat2:150
}

@test "T95: a host whose disk is full (root: a file system of 1 MiB; else: files that may not grow)" {
	local leave refused=0 done=0 before
	if ! as_root; then
		inside a 'head -c 200000 /dev/urandom >big; echo x >>README.md'
		old=$(look) git_state=$(look_at_git)
		trap '' XFSZ
		run -1 bash -c 'ulimit -f 100; exec "$JIB" persist a --apply'
		[[ $output == *"jib: "*"File too large"* && $(look) == "$old" && $(look_at_git) == "$git_state" ]]
		run -1 bash -c 'ulimit -f 100; exec "$JIB" persist a'
		trap - XFSZ
		[[ $output == *"jib: "* && $(look) == "$old" && $(look_at_git) == "$git_state" ]]
		git_works
		"$JIB" persist a
		"$JIB" persist a --apply
		cmp big <(git show jib/a/main:big)
		tidy
		return
	fi
	mkdir "$T/full"
	mount -t tmpfs -o size=1M tmpfs "$T/full"
	full=$T/full
	make_repo "$full/repo" 5
	cd "$full/repo"
	inside a 'head -c 200000 /dev/urandom >big; for i in 1 2 3 4 5 6 7 8 9; do echo $i >n$i; done; echo x >>README.md'
	old=$(look) git_state=$(look_at_git)
	for leave in 0 4 20 100 190 210 260 600; do
		for command in "persist a --apply" "persist a"; do
			head -c "$(($(df --output=avail -k "$full" | tail -1) - leave))K" /dev/zero >"$full/filler" || true
			# shellcheck disable=SC2086
			if "$JIB" $command >"$T/out" 2>&1; then
				done=$((done + 1))
			else
				refused=$((refused + 1))
				grep -qE '^jib: .*(No space left on device|unable to|cannot store)' "$T/out" || {
					cat "$T/out"
					return 1
				}
				[[ $(look) == "$old" && $(look_at_git) == "$git_state" ]]
			fi
			# Still full: what can be read is read.
			git status >/dev/null
			"$JIB" ls >/dev/null
			rm "$full/filler"
			git_works
			# It gets there when there is room.
			# shellcheck disable=SC2086
			"$JIB" $command >/dev/null
			[[ $command == "persist a" ]] || cp big "$T/big"
			[[ $command != "persist a" ]] || cmp "$T/big" <(git show jib/a/main:big)
			git update-ref -d refs/heads/jib/a/main
			[[ $(look) == "$old" ]] || "$JIB" persist --undo >/dev/null
			[[ $(look) == "$old" && $(look_at_git) == "$git_state" ]]
			rm -rf .git/jib
			git gc -q --prune=now
		done
	done
	((refused >= 4 && done >= 3))
	tidy
}

# ---- git at work on the host ----

@test "a lock that some git process holds: an error that names it, or it is not needed; nothing is half done" {
	local lock before
	work
	for lock in index.lock HEAD.lock packed-refs.lock refs/heads/jib/a/main.lock refs/heads/jib/a.lock; do
		mkdir -p "$(dirname ".git/$lock")"
		touch ".git/$lock"
		for command in "persist a" "persist a --apply"; do
			# shellcheck disable=SC2086
			run "$JIB" $command
			if ((status)); then
				[[ $status == 1 && $output == *"jib: "*lock* ]]
				[[ $(look) == "$old" && $(look_at_git) == "$git_state" ]]
			fi
			# It is not jib's to remove.
			[[ -e .git/$lock ]]
		done
		rm ".git/$lock"
		git_works
		# An apply was not in need of it.
		[[ $(look) == "$old" ]] || "$JIB" persist --undo
		git update-ref -d refs/heads/jib/a/main
		nothing_moved
		"$JIB" persist a
		git update-ref -d refs/heads/jib/a/main
	done
	tidy
	# Those that matter do refuse.
	touch .git/index.lock
	run -1 "$JIB" persist a --apply
	[[ $output == *"another git process"*index.lock* ]]
	rm .git/index.lock
	"$JIB" persist a --apply
	touch .git/index.lock
	run -1 "$JIB" persist --undo
	rm .git/index.lock
	mkdir -p .git/refs/heads/jib/a
	touch .git/refs/heads/jib/a/main.lock
	run -1 "$JIB" persist a
	rm .git/refs/heads/jib/a/main.lock
	"$JIB" persist --undo
	[[ $(look) == "$old" ]]
}

@test "the host is at work while branches and files come: each gets all of its own" {
	local i
	inside a 'for i in 1 2 3 4 5 6 7 8 9; do echo $i >n$i; done; echo x >>README.md; git add .; git commit -qm work'
	(
		for i in {1..25}; do
			echo "$i" >>mine
			git add mine
			git commit -qm "mine $i" || exit
		done
	) >"$T/host" 2>&1 3>&- &
	for i in {1..6}; do
		"$JIB" persist a >>"$T/out" 2>&1
		"$JIB" persist a --apply >>"$T/out" 2>&1 || grep -q 'another git process' "$T/out"
	done
	wait $!
	"$JIB" persist a --apply
	[[ $(git log --format=%s main | grep -c '^mine ') == 25 && $(tail -1 README.md) == x && $(cat n9) == 9 ]]
	# No commit of the host's holds what only the work tree has.
	[[ $(git show main:README.md) == $'one\ntwo' ]]
	git_works
	tidy
}

# ---- A running sandbox ----

# frozen: what runs inside is held still
frozen() {
	[[ $(ps -o stat= -p "$worker") == T* ]]
}

not_frozen() {
	! frozen
}

grows() {
	(($(stat -c %s "$JIB_ROOT/a/upper/repos/repo/log") > $1))
}

# running: a sandbox in which a file grows
running() {
	local monitor
	jib run a -q -d -- python3 -uc '
import time
with open("log", "wb", buffering=0) as log:
    while True:
        log.write(b"x")
        time.sleep(0.01)' </dev/null >/dev/null 3>&-
	wait_for test -s "$JIB_ROOT/a/upper/repos/repo/log"
	worker=$(pgrep -nf '^python3 -uc.*open."log", "wb"')
	monitor=$(ps -o ppid= -p "$(ps -o ppid= -p "$worker" | tr -d ' ')" | tr -d ' ')
	echo "$monitor" >"$T/monitor"
}

# stopped_at POINT CMD...: CMD is held (SIGSTOP) at a system call at which the sandbox is frozen
stopped_at() {
	local point=$1
	shift
	strace -qq -o /dev/null -e trace="${point%:*}" -e inject="${point%:*}:signal=STOP:when=${point#*:}" "$@" \
		</dev/null >"$T/out" 2>&1 3>&- &
	tracer=$!
	wait_for frozen
	client=$(pgrep -P "$tracer")
}

@test "SIGKILL of diff, persist or --apply while a running sandbox is held still: it goes on" {
	local worker tracer client size command
	running
	for command in "diff a" "persist a" "persist a --apply"; do
		# shellcheck disable=SC2086
		stopped_at clone3:2 "$JIB" $command
		kill -KILL "$client"
		wait "$tracer" || true
		wait_for not_frozen
		size=$(stat -c %s "$JIB_ROOT/a/upper/repos/repo/log")
		wait_for grows "$size"
	done 2>"$T/shell"
	jib diff a >/dev/null
	wait_for not_frozen
	git_works
	jib persist a
	jib stop a
	wait_for tidy
}

@test "SIGKILL of a sandbox's monitor while it is held still: who looks comes to an end, and it can be reopened" {
	local worker tracer client status=0
	running
	stopped_at clone3:2 "$JIB" persist a
	kill -KILL "$(cat "$T/monitor")"
	kill -CONT "$client"
	wait "$tracer" || status=$?
	((status == 0 || status == 1))
	((status == 0)) || grep -q '^jib: ' "$T/out"
	wait_for none_of "$worker"
	git_works
	[[ -s $JIB_ROOT/a/upper/repos/repo/log ]]
	jib persist a
	[[ $(git show jib/a/main:log) == x* ]]
	inside a 'git status --porcelain'
	tidy
}
