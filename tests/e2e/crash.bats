# shellcheck shell=bash
# Whatever dies, and whenever: the next command finds sandboxes that are whole, and takes away what
# was half made. The same where the disk is full or fails.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 5
	cd "$T/repo" || return
	base=$(git rev-parse HEAD)
}

teardown() {
	if [[ ${full-} ]]; then
		stop_everything
		umount "$full"
	fi
	jib_teardown
}

inside() {
	"$JIB" run "$1" -q -- sh -euc "$2" </dev/null
}

is_state() {
	[[ $("$JIB" show "$1" --json | json 'd["state"]') == "$2" ]]
}

# old_one: a sandbox with a commit and an uncommitted file, which has to outlast everything
old_one() {
	inside old 'echo committed >README.md; git commit -qam "of old"; echo uncommitted >new.txt'
	before=$(host_hash "$T/repo")
}

# A commit of the host, so that the next sandbox needs layers of its own.
next_base() {
	git commit -q --allow-empty -m "$1"
	before=$(host_hash "$T/repo")
}

# whole NAME...: what the command after a crash finds
whole() {
	local names left layer
	names=$("$JIB" ls --json | json \
		'[s["name"] for s in d] if {s["state"] for s in d} <= {"created", "stopped"} else d') || return
	[[ -z $(ls -A "$JIB_ROOT/.tmp") ]] || {
		echo "left in .tmp: $(ls -A "$JIB_ROOT/.tmp")"
		return 1
	}
	# A layer has its description, and nothing of a writer that died.
	left=$(find "$JIB_ROOT/.layers" -maxdepth 2 -name '*.tmp' -o -maxdepth 2 -name '*.lock')
	[[ -z $left ]] || {
		echo "left in .layers: $left"
		return 1
	}
	for layer in "$JIB_ROOT"/.layers/*; do
		[[ -s $layer/layer.json && -d $layer/tree ]] || return
	done
	! grep -F "$T/" /proc/self/mountinfo | grep -vF " ${full:-nowhere} " || return
	[[ $names == '["old"]' || $names == '["k", "old"]' ]] || {
		echo "there are $names"
		return 1
	}
}

old_is_intact() {
	local seen
	seen=$(inside old "git log --format=%s $base..; git status --porcelain; cat README.md new.txt
		git fsck --full --strict --no-dangling") || return
	[[ $seen == $'of old\n?? new.txt\ncommitted\nuncommitted' ]]
}

# a_new_one_works: the same name can be had, and is sound
a_new_one_works() {
	local seen
	seen=$(inside k "git rev-parse HEAD; git status --porcelain; git fsck --full --strict --no-dangling
		echo x >x; git add x; git commit -qm x") || return
	[[ $seen == "$(git rev-parse HEAD)" ]] || return
	"$JIB" rm --force k
	[[ $(host_hash "$T/repo") == "$before" ]]
}

# pid_of NAME: the monitor, which is the one that has the lease open
monitor_of() {
	python3 - "$JIB_ROOT/$1/lease" <<'PY'
import os, sys
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        if any(os.readlink(f"/proc/{pid}/fd/{fd}") == sys.argv[1] for fd in os.listdir(f"/proc/{pid}/fd")):
            print(pid)
            sys.exit()
    except OSError:
        pass
sys.exit(1)
PY
}

# begin NAME: a sandbox with work in it, in a session of its own that is led by the monitor
begin() {
	setsid "$JIB" run "$1" -q -- sh -euc '
		echo committed >README.md; git commit -qam "of '"$1"'"; echo uncommitted >new.txt
		echo home >~/mark; touch .git/index.lock; echo up; sleep infinity & wait
	' </dev/null >"$T/up" 2>"$T/err" 3>&- &
	job=$!
	wait_for grep -q up "$T/up"
}

# ended STATUS: with what the run ends
ended() {
	local status=0
	wait "$job" || status=$?
	((status == $1))
}

# reopens NAME: everything that was written is there
reopens() {
	[[ $(inside "$1" "rm .git/index.lock; git log --format=%s $base..; git status --porcelain
		cat README.md new.txt ~/mark; git fsck --full --strict --no-dangling") == \
		"of $1"$'\n?? new.txt\ncommitted\nuncommitted\nhome' ]]
	[[ -z $(ls -A "$JIB_ROOT/.tmp") ]]
	run -1 grep -F "$T/" /proc/self/mountinfo
}

# ---- Kill what runs ----

@test "SIGKILL of the monitor ends the sandbox, which can be reopened with all its files" {
	local monitor init
	begin a
	monitor=$(monitor_of a)
	[[ $monitor == "$job" ]]
	init=$(pgrep -P "$monitor")
	kill -KILL "$monitor"
	ended 137
	wait_for is_state a stopped
	wait_for none_of "$init"
	reopens a
}

@test "SIGKILL of init ends the run with 137, and the sandbox can be reopened with all its files" {
	begin a
	kill -KILL "$(pgrep -P "$(monitor_of a)")"
	ended 137
	is_state a stopped
	reopens a
}

@test "SIGKILL of everything at once leaves a sandbox that ls shows as stopped and run NAME reopens" {
	local init members
	begin a
	init=$(pgrep -P "$job")
	# The monitor's whole group, init, and (for who may see them) all that init has started.
	mapfile -t members < <(pgrep -P "$init" || true)
	kill -KILL -- "-$job" "$init" "${members[@]}" || true
	ended 137
	wait_for is_state a stopped
	[[ $(jib ls --json | json '[(s["name"], s["state"]) for s in d]') == '[["a", "stopped"]]' ]]
	reopens a
}

@test "SIGKILL of a detached monitor, over and over: the sandbox goes on each time" {
	local i
	for i in 1 2 3 4 5; do
		jib run a -q -d -- sh -euc "echo $i >>log.txt; git add log.txt; git commit -qm '$i'; echo up >up-$i
			exec sleep infinity" </dev/null >/dev/null
		wait_for test -s "$JIB_ROOT/a/upper/repos/repo/up-$i"
		kill -KILL "$(monitor_of a)"
		wait_for is_state a stopped
	done
	[[ $(inside a "git log --reverse --format=%s $base..; cat log.txt") == $'1\n2\n3\n4\n5\n1\n2\n3\n4\n5' ]]
	inside a 'git fsck --full --strict --no-dangling'
	jib rm --force a
	[[ -z $(ls -A "$JIB_ROOT/.tmp") ]]
}

@test "SIGKILL of a run --rm: what is left is a stopped sandbox that rm takes away" {
	setsid "$JIB" run a -q --rm -- sh -euc 'echo x >x; echo up; exec sleep infinity' \
		</dev/null >"$T/up" 2>&1 3>&- &
	local job=$!
	wait_for grep -q up "$T/up"
	kill -KILL "$job"
	wait_for is_state a stopped
	jib rm --force a
	[[ $(jib ls --json) == "[]" && -z $(ls -A "$JIB_ROOT/.tmp") ]]
	run -1 grep -F "$T/" /proc/self/mountinfo
}

# ---- Kill jib at any point of its work ----

# injected SYSCALL WHAT CMD...: CMD with something injected into its system calls
injected() {
	local call=$1 what=$2
	shift 2
	strace -qq -o /dev/null -e trace="$call" -e inject="$call:$what" "$@" </dev/null
}

# kill_at OPTION CALL:N... -- CMD...: CMD is killed at the Nth CALL; the state has to be whole
# after each of them. OPTION is -f to count in its children too.
kill_at() {
	local follow=$1 point status killed=0
	local -a points=()
	shift
	while [[ $1 != -- ]]; do
		points+=("$1")
		shift
	done
	shift
	for point in "${points[@]}"; do
		next_base "$point"
		status=0
		# In a group of its own, so that nothing of it outlives the look at what it left.
		strace $follow -qq -o /dev/null -e trace="${point%:*}" \
			-e inject="${point%:*}:signal=KILL:when=${point#*:}" "$@" </dev/null >"$T/out" 2>&1 ||
			status=$?
		((status == 0)) || killed=$((killed + 1))
		whole && a_new_one_works || {
			echo "after SIGKILL at $point of $*: $(cat "$T/out")"
			return 1
		}
	done 2>"$T/shell" # bash tells of each that is killed
	old_is_intact
	echo "# $killed of ${#points[@]} killed"
	((killed * 3 >= ${#points[@]} * 2))
}

@test "SIGKILL of jib at any point of the creation of a sandbox" {
	old_one
	kill_at "" mkdirat:{1,3,5,9} renameat2:{1,2,3} renameat:{1,3,4,5,6} linkat:{1,9} \
		openat2:{5,40} write:{1,4} fsync:{1,3,4,6} syncfs:1 unlinkat:1 clone3:{1,3} \
		-- "$JIB" new k -q
}

@test "SIGKILL of jib or of the git that it has started, at the creation of a tree layer" {
	old_one
	kill_at -f openat:40 write:{1,2} mkdir:1 execve:{1,2} close:60 -- "$JIB" new k -q
}

@test "SIGKILL of jib, of init or of what sets it up, at any point of run --rm" {
	old_one
	kill_at -f mount_setattr:1 move_mount:{1,8} fsmount:1 pivot_root:1 unshare:1 prctl:{1,10} \
		sendmsg:1 recvmsg:{1,2} poll:3 unlinkat:5 renameat2:2 seccomp:1 setsid:1 -- "$JIB" run k -q --rm -- true
}

@test "SIGKILL of rm: what it had begun to remove is gone after the next command" {
	local point
	old_one
	for point in renameat2:1 unlinkat:1 unlinkat:7 unlinkat:30 flock:1; do
		inside k 'mkdir d; for i in 1 2 3 4 5 6 7 8 9; do echo $i >d/$i; done'
		injected "${point%:*}" "signal=KILL:when=${point#*:}" "$JIB" rm --force k >"$T/out" 2>&1 || true
		whole
		[[ -e $JIB_ROOT/k ]] || [[ $point != flock:1 ]]
		# There or not there; never half there.
		[[ ! -e $JIB_ROOT/k ]] || [[ $(inside k 'cat d/*' | wc -l) == 9 ]]
		a_new_one_works_or_goes_on
	done 2>"$T/shell"
	old_is_intact
}

a_new_one_works_or_goes_on() {
	inside k 'git fsck --full --strict --no-dangling; echo x >x'
	"$JIB" rm --force k
}

@test "SIGKILL after increasing times, from the first moment of a creation to its end" {
	local i
	old_one
	for ((i = 0; i < 20; i++)); do
		next_base "$i"
		timeout -s KILL "0.$(printf %03d $((i * 2 + 1)))" "$JIB" run k -q -- sh -c 'echo x >x' \
			</dev/null >/dev/null 2>&1 || true
		wait_for whole
		! is_state k stopped 2>/dev/null || [[ $(inside k 'git rev-parse HEAD') == "$(git rev-parse HEAD)" ]]
		"$JIB" rm --force k 2>/dev/null || true
	done 2>"$T/shell"
	old_is_intact
	a_new_one_works
}

# ---- Errors of the disk ----

# fails_at ERROR WORDS STATUS CALL:N... -- CMD...: the Nth CALL of CMD fails. CMD says so and
# leaves nothing behind, or was not in need of it.
fails_at() {
	local error=$1 words=$2 expected=$3 point status failed=0
	local -a points=()
	shift 3
	while [[ $1 != -- ]]; do
		points+=("$1")
		shift
	done
	shift
	for point in "${points[@]}"; do
		next_base "$point"
		status=0
		injected "${point%:*}" "error=$error:when=${point#*:}" "$@" >"$T/out" 2>&1 || status=$?
		if ((status)); then
			failed=$((failed + 1))
			((status == expected)) && grep -q "^jib: .*$words" "$T/out" &&
				[[ ! -e $JIB_ROOT/k && -z $(ls -A "$JIB_ROOT/.tmp") ]] || {
				echo "$error at $point of $*: status $status, $(cat "$T/out"); $(ls -A "$JIB_ROOT" "$JIB_ROOT/.tmp")"
				return 1
			}
		fi
		"$JIB" rm --force k >/dev/null 2>&1 || true
		whole && a_new_one_works || {
			echo "after $error at $point of $*: $(cat "$T/out")"
			return 1
		}
	done
	old_is_intact
	echo "# $failed of ${#points[@]} failed"
	((failed * 3 >= ${#points[@]} * 2))
}

@test "ENOSPC at any point of new: an error that says so, and nothing is left" {
	old_one
	fails_at ENOSPC "No space left on device" 1 mkdirat:{3,9} renameat2:{2,3} \
		renameat:{1,3,4,5,6} linkat:4 openat2:40 write:{1,4} fsync:{1,2,3,4,6,8} \
		syncfs:1 copy_file_range:3 -- "$JIB" new k -q
}

@test "EIO at any point of new: an error that says so, and nothing is left" {
	old_one
	fails_at EIO "Input/output error" 1 mkdirat:4 renameat2:3 renameat:{3,5} linkat:1 openat2:15 \
		write:3 fsync:{3,6} syncfs:1 copy_file_range:1 -- "$JIB" new k -q
}

@test "ENOSPC and EIO at any point of run: exit 125, an error that says so, and nothing is left" {
	old_one
	fails_at ENOSPC "No space left on device" 125 mkdirat:{3,9} renameat2:{2,3} renameat:3 \
		linkat:4 write:4 bind:1 socketpair:1 -- "$JIB" run k -q -- sh -c 'echo x >x'
	fails_at EIO "Input/output error" 125 mkdirat:4 renameat2:2 linkat:1 write:3 \
		-- "$JIB" run k -q -- sh -c 'echo x >x'
}

@test "ENOSPC in git at the creation of a tree layer: an error that says so, and nothing is left" {
	local point
	old_one
	for point in one two; do
		# What the host has changed since the commit comes from the object store, by git.
		echo "$point" >written
		git add written
		next_base "$point"
		echo dirty >>written
		before=$(host_hash "$T/repo")
		run -1 strace -f -qq -o /dev/null -P written -e trace=openat \
			-e inject=openat:error=ENOSPC "$JIB" new k -q
		[[ $(host_hash "$T/repo") == "$before" ]]
		git checkout -q written
		before=$(host_hash "$T/repo")
		[[ $output == *"jib: "* ]]
		[[ ! -e $JIB_ROOT/k ]]
		whole
		a_new_one_works
	done
	old_is_intact
}

# fill LEAVE: the file system of the store is filled up to LEAVE KiB
fill() {
	local free
	rm -f "$full/filler"
	free=$(df --output=avail -k "$full" | tail -1)
	((free <= $1)) || head -c "$((free - $1))K" /dev/zero 2>/dev/null >"$full/filler" || true
	sync -f "$full/filler"
}

@test "a full file system (root: a real one of 16 MiB; else a limit on the size of files)" {
	local leave refused=0 made=0
	if ! as_root; then
		# What an ordinary user can have that is full: files that may not grow.
		old_one
		# The tree layer is there already: what has to be written is jib's own to write.
		git branch new-ref
		before=$(host_hash "$T/repo")
		trap '' XFSZ
		run -1 bash -c 'ulimit -f 0; exec "$JIB" new k -q'
		[[ $output == "jib: "*"File too large"* ]]
		run -125 bash -c 'ulimit -f 0; exec "$JIB" run k -q -- true'
		[[ $output == "jib: "*"File too large"* ]]
		trap - XFSZ
		[[ ! -e $JIB_ROOT/k ]]
		whole
		old_is_intact
		a_new_one_works
		return
	fi
	truncate -s 16M "$T/disk"
	mkfs.ext4 -q -m 0 -N 2048 "$T/disk"
	mkdir "$T/full"
	mount -o loop "$T/disk" "$T/full"
	full=$T/full
	rmdir "$full/lost+found"
	mkdir "$full/store"
	export JIB_ROOT=$full/store
	old_one
	for leave in 0 4 16 60 100 200 400 1000; do
		next_base "$leave"
		fill "$leave"
		if "$JIB" new k -q >"$T/out" 2>&1; then
			made=$((made + 1))
		else
			refused=$((refused + 1))
			grep -q '^jib: ' "$T/out"
			[[ $(cat "$T/out") == *"No space left on device"* || $(cat "$T/out") == *"unable to write"* ]]
			# It needs less room: nothing of it has to last.
			run jib run k -q -- true
			[[ $status == 0 || ($status == 125 && $output == *"jib: "*) ]]
		fi
		# Still full: nothing is left, and what can be read is read.
		whole
		jib show old
		"$JIB" rm --force k 2>/dev/null || true
		rm "$full/filler"
		old_is_intact
		a_new_one_works
	done
	((refused >= 2 && made >= 2))
}

@test "a full file system while a sandbox works: git says so, and what was there before is whole (root)" {
	if ! as_root; then
		old_one
		run ! inside old 'trap "" XFSZ; ulimit -f 0; echo much >>README.md; git commit -qam lost'
		inside old 'git checkout -q README.md; rm -f .git/*.lock'
		old_is_intact
		return
	fi
	truncate -s 16M "$T/disk"
	mkfs.ext4 -q -m 0 "$T/disk"
	mkdir "$T/full"
	mount -o loop "$T/disk" "$T/full"
	full=$T/full
	mkdir "$full/store"
	export JIB_ROOT=$full/store
	old_one
	run -1 --separate-stderr inside old 'cat /dev/zero >zeros'
	[[ $stderr == *"No space left on device"* ]]
	# And what is too small for it.
	run ! inside old 'mkdir small; i=0; while echo $i >small/$i; do i=$((i + 1)); done; false'
	run ! inside old 'echo more >more; git add more; git commit -qm more'
	jib ls
	jib show old
	rm "$JIB_ROOT/old/upper/repos/repo/zeros"
	inside old 'rm -rf small more .git/*.lock; git reset -q'
	old_is_intact
	jib rm --force old
	[[ -z $(ls -A "$JIB_ROOT/.tmp") ]]
}

@test "out of inodes (root); a store that may not be written (else): an error that says so" {
	if ! as_root; then
		old_one
		chmod 500 "$JIB_ROOT/.tmp"
		next_base readonly
		run -1 jib new k -q
		[[ $output == "jib: "*"Permission denied"* ]]
		chmod 700 "$JIB_ROOT/.tmp"
		whole
		old_is_intact
		a_new_one_works
		return
	fi
	local i
	truncate -s 16M "$T/disk"
	mkfs.ext4 -q -m 0 -N 512 "$T/disk"
	mkdir "$T/full"
	mount -o loop "$T/disk" "$T/full"
	full=$T/full
	mkdir "$full/store" "$full/fill"
	export JIB_ROOT=$full/store
	old_one
	next_base inodes
	for ((i = 0; i < 600; i++)); do
		: 2>/dev/null >"$full/fill/$i" || break
	done 2>/dev/null
	((i < 600))
	for i in 0 5 20; do
		# A few of them are had back.
		rm -f "$full/fill/"{0..4}
		((i < 20)) || rm -f "$full/fill/"{5..19}
		run -1 jib new k -q
		[[ $output == *"jib: "* && $output == *"No space left on device"* ]]
		whole
	done
	rm -r "$full/fill"
	old_is_intact
	a_new_one_works
}
