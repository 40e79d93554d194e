# shellcheck shell=bash
# fork, checkpoint, rollback: a second sandbox of the same state, and states to go back to. Nothing that
# a sandbox holds may be lost, whoever is killed and whenever.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 5
	cd "$T/repo" || return
	base=$(git rev-parse HEAD)
	before=$(host_hash "$T/repo")
}

inside() {
	"$JIB" run "$1" -q -- sh -euc "$2" </dev/null
}

# work NAME: a commit, changes of every kind that are not committed, and a file in the home
work() {
	inside "$1" '
		echo committed >README.md; git commit -qam "of a"
		echo uncommitted >new.txt; mkdir -p deep/er; echo deep >deep/er/file
		rm src/main.c; mv docs papers; echo staged >staged; git add staged
		echo home >~/mark; ln -s nowhere dangling; chmod 600 tool.sh'
}

# look NAME: all that can be seen of it, as one text
look() {
	inside "$1" "
		git log --format=%s $base..; git -c core.fsmonitor=false status --porcelain
		git fsck --full --strict --no-dangling 2>&1
		find . -path ./.git -prune -o -printf '%P %M %l\n' | sort
		find . -path ./.git -prune -o -type f -exec sha256sum {} + | sort
		cat ~/mark"
}

layers() {
	find "$JIB_ROOT/.layers" -mindepth 1 -maxdepth 1 -name 'state-*' -printf '%f\n' | sort
}

swept() {
	[[ -z $(ls -A "$JIB_ROOT/.tmp") ]]
}

# begin NAME SCRIPT: something that runs, until it is stopped; the script says "up"
begin() {
	"$JIB" run "$1" -q -d -- sh -euc "$2" </dev/null >/dev/null
	wait_for grep -q up <("$JIB" logs "$1")
}

# is_up NAME FILE: it has come so far
is_up() {
	[[ -e $JIB_ROOT/$1/upper/repos/repo/$2 ]]
}

@test "a fork of a stopped sandbox has its files, its git state and its home" {
	work a
	seen=$(look a)
	run -0 jib fork a b
	[[ $output == *"jib run b"* ]]
	[[ $(jib show b --json | json '[d["state"], d["work"], d["unpersisted"]]') == '["created", "unpersisted", true]' ]]
	diff <(echo "$seen") <(look a)
	diff <(echo "$seen") <(look b)
	[[ $(host_hash "$T/repo") == "$before" ]]
	swept
}

@test "forks are independent afterwards, and so are forks of forks" {
	work a
	jib fork a b
	inside a 'echo a >README.md; git commit -qam "a goes on"; rm new.txt; echo a >~/mark'
	inside b 'echo b >new.txt; rm -r deep; mkdir deep; echo b >deep/b'
	jib fork b c
	inside b 'rm -r deep new.txt; git checkout -qf HEAD; git clean -qfdx'
	[[ $(inside a 'cat README.md ~/mark; ls deep; test ! -e new.txt; git log -1 --format=%s') == $'a\na\ner\na goes on' ]]
	[[ $(inside b 'cat README.md ~/mark; git status --porcelain') == $'committed\nhome' ]]
	[[ $(inside c 'cat README.md new.txt; ls deep; git log -1 --format=%s') == $'committed\nb\nb\nof a' ]]
	for each in a b c; do
		inside "$each" 'git fsck --full --strict --no-dangling'
	done
	jib rm --force a b
	[[ $(inside c 'cat README.md new.txt deep/b') == $'committed\nb\nb' ]]
	jib rm --force c
	[[ -z $(layers) ]]
}

@test "a fork of a sandbox without changes needs no layer, and is one without work" {
	jib new a -q
	run -0 jib fork a b --json
	[[ $(json '[d["name"], d["work"]]' <<<"$output") == '["b", "none"]' ]]
	[[ -z $(layers) ]]
	jib rm a b
}

@test "the work of a fork is persisted from it, and is unpersisted until then" {
	work a
	jib fork a b
	run -1 jib rm b
	[[ $output == *"exist nowhere else"* ]]
	run -0 jib gc
	[[ -d $JIB_ROOT/b ]]
	run -0 jib diff b --name-status
	diff <(jib diff a --name-status) <(echo "$output")
	[[ $output == *new.txt* && $output == *deep/er/file* && $output == *src/main.c* ]]
	run -0 jib persist b
	[[ $(git log -2 --format=%s jib/b/main) == *"of a" ]]
	[[ $(git show jib/b/main:deep/er/file) == deep ]]
	run -128 git cat-file -e jib/b/main:src/main.c
	jib rm b
	[[ $(jib show a --json | json 'd["work"]') == unpersisted ]]
	jib rm --force a
	[[ -z $(layers) ]]
}

@test "git status says the same before a fork and after it, as without a monitor" {
	local kind each
	local same='for mode in -unormal -uno -unormal; do
			expected=$(GIT_OPTIONAL_LOCKS=0 git -c core.fsmonitor=false -c core.untrackedCache=false status --porcelain=v2 $mode)
			found=$(git status --porcelain=v2 $mode)
			[ "$found" = "$expected" ] || { echo "found $found instead of $expected"; exit 1; }
		done'
	for kind in 'true' 'git status >/dev/null' 'git status -uno >/dev/null' 'git add README.md'; do
		# A change that the index has never heard of, one that it has, and what is gone again.
		inside a "
			echo tracked >src/lib/lib.h; echo x >src/lib/untracked; echo gone >docs/gone
			git status >/dev/null; $kind; echo new >src/main.c; echo y >docs/other; rm docs/gone
			rm link; $kind; mkdir -p n/m; echo z >n/m/z; touch x; rm tool.sh"
		jib fork a b
		jib fork b c
		for each in a b c; do
			inside "$each" "$same"
			inside "$each" "echo again >files/0/1.txt; rm x; echo more >n/more; $same
				rm -r n; git add -A; $same; git commit -qm all; $same; echo q >docs/q; $same"
		done
		jib rm --force a b c
	done
}

@test "git status after a rollback says what it says without a monitor" {
	local same='expected=$(GIT_OPTIONAL_LOCKS=0 git -c core.fsmonitor=false -c core.untrackedCache=false status --porcelain=v2)
		for i in 1 2 3; do found=$(git status --porcelain=v2)
		[ "$found" = "$expected" ] || { echo "found $found instead of $expected"; exit 1; }; done'
	inside a 'git status >/dev/null; echo one >README.md; git status >/dev/null; echo one >src/main.c'
	jib checkpoint a
	inside a 'git status >/dev/null; git add -A; rm link; echo >docs/new; git status >/dev/null; git commit -qm x'
	jib checkpoint a
	jib rollback a 1
	inside a "$same; git add -A; $same"
	jib rollback a 2
	inside a "$same; rm docs/new; $same"
	jib rollback a 1
	inside a "$same"
}

@test "a fork of a running sandbox has the state of one moment, and it goes on" {
	jib run a -q -d -- sh -euc 'echo home >~/mark; echo committed >README.md; git commit -qam "of a"
		echo half >new.txt; touch .git/index.lock .git/refs/heads/x.lock; mkfifo fifo; ln new.txt other
		truncate -s 50M sparse; mkdir closed; echo in >closed/in; echo in >secret; rm src/main.c
		rm -r docs; mkdir docs; touch -d @1000000000 old docs; python3 -c "
import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")"
		ln -s x dangling; chmod 000 closed secret; touch up; exec sleep infinity' </dev/null >/dev/null
	wait_for is_up a up
	run -0 jib fork a b
	[[ $(jib show a --json | json 'd["state"]') == running ]]
	[[ $(inside b 'git log -1 --format=%s; ls .git/*.lock .git/refs/heads/*.lock 2>/dev/null || true
		stat -c "%n %A %h" closed secret fifo sock new.txt other; stat -c "%n %Y" old docs; readlink dangling
		test ! -e src/main.c; ls docs; chmod 700 closed secret; cat closed/in secret ~/mark
		stat -c %b sparse; git fsck --full --strict --no-dangling') == "of a
closed d--------- 2
secret ---------- 1
fifo prw-r--r-- 1
sock srwxr-xr-x 1
new.txt -rw-r--r-- 2
other -rw-r--r-- 2
old 1000000000
docs 1000000000
x
in
in
home
0" ]]
	# What was closed in the first one is closed there still.
	[[ $(stat -c %A "$JIB_ROOT/a/upper/repos/repo/"{closed,secret}) == $'d---------\n----------' ]]
	inside b 'git add new.txt other; git commit -qm "of b"'
	jib exec a -- sh -euc 'test "$(git log -1 --format=%s)" = "of a"; test -e .git/index.lock'
	jib stop a
	chmod 700 "$JIB_ROOT/a/upper/repos/repo/closed"
}

@test "T55: forks of a sandbox that commits in a loop are all clean" {
	local i each
	jib run a -q -d -- sh -c 'i=0; while :; do i=$((i + 1)); echo $i >README.md; echo $i >new-$((i % 7))
		git add -A; git commit -qm "commit $i"; [ $((i % 9)) != 0 ] || git branch "b$i"; touch up; done' </dev/null >/dev/null
	wait_for is_up a up
	for ((i = 0; i < 15; i++)); do
		jib fork a "f$i"
	done
	[[ $(jib show a --json | json 'd["state"]') == running ]]
	jib stop a --time 1
	for each in f{0..14}; do
		run -0 inside "$each" 'git fsck --full --strict --no-dangling; git rev-list --count HEAD >/dev/null
			git status --porcelain >/dev/null; git add -A; git commit -qm "goes on" --allow-empty'
		[[ $output != *error* && $output != *missing* && $output != *corrupt* ]]
	done
	[[ $(inside f14 "git rev-list --count HEAD") -gt $(inside f0 "git rev-list --count HEAD") ]]
}

@test "checkpoint and rollback: there and back again, and show lists them" {
	inside a 'echo one >README.md; echo one >~/mark; echo one >only-one'
	run -0 jib checkpoint a -m "the first"
	[[ $output == *"checkpoint 1"* ]]
	inside a 'echo two >README.md; echo two >~/mark; rm only-one; echo two >only-two; git add -A; git commit -qm two'
	run -0 jib checkpoint a --json
	[[ $(json 'd["number"]' <<<"$output") == 2 ]]
	inside a 'git reset -q --hard HEAD~1; echo three >README.md'
	[[ $(jib show a --json | json '[(c["number"], c["message"], len(c["created"])) for c in d["checkpoints"]]') == \
		'[[1, "the first", 20], [2, null, 20]]' ]]
	run -0 jib show a
	[[ $output == *"checkpoint 1"*"the first"* ]]
	run -0 jib rollback a 1
	[[ $output == *"jib rollback a 3"* ]]
	[[ $(inside a 'cat README.md ~/mark only-one; test ! -e only-two; git log -1 --format=%s') == $'one\none\none\nsecond line' ]]
	# Undone.
	jib rollback a
	[[ $(inside a 'cat README.md ~/mark; test ! -e only-one; git log -1 --format=%s') == $'three\ntwo\nsecond line' ]]
	jib rollback a 2
	[[ $(inside a 'cat README.md ~/mark only-two; git log -1 --format=%s; git status --porcelain') == $'two\ntwo\ntwo\ntwo' ]]
	jib rollback a 4
	[[ $(inside a 'cat README.md') == one ]]
	[[ $(jib show a --json | json '[c["message"] for c in d["checkpoints"]][2:]') == \
		'["before rollback to 1", "before rollback to 3", "before rollback to 2", "before rollback to 4"]' ]]
	for each in $(layers); do
		[[ $(jib gc --dry-run --json) != *"$each"* ]]
	done
	run -1 jib rm a
	jib rm --force a
	[[ -z $(layers) && $(host_hash "$T/repo") == "$before" ]]
}

@test "a checkpoint of a running sandbox; rollback wants it stopped" {
	jib run a -q -d -- sh -euc 'echo one >README.md; echo one >~/mark; touch up; exec sleep infinity' </dev/null >/dev/null
	wait_for is_up a up
	jib checkpoint a -m running
	jib exec a -- sh -euc 'echo two >README.md; git commit -qam two; echo two >~/mark'
	run -1 jib rollback a
	[[ $output == *"is running"*"jib stop a"* ]]
	jib stop a
	jib rollback a
	[[ $(inside a 'cat README.md ~/mark; git log -1 --format=%s') == $'one\none\nsecond line' ]]
	jib rollback a
	[[ $(inside a 'cat README.md ~/mark; git log -1 --format=%s') == $'two\ntwo\ntwo' ]]
}

@test "what only a checkpoint holds keeps a sandbox from being removed" {
	inside a 'echo one >README.md'
	jib checkpoint a
	jib fork a clean
	inside a 'git checkout -q README.md'
	jib checkpoint a
	jib rollback a 1
	inside a 'git checkout -q README.md'
	# The present holds no work, but the way to it does.
	run -1 jib rm a
	jib gc
	[[ -d $JIB_ROOT/a ]]
	jib rollback a 1
	[[ $(inside a 'cat README.md') == one ]]
}

@test "directories that are mounted from the host are forked as well" {
	mkdir ignored
	head -c 3M /dev/zero >ignored/large
	for ((i = 0; i < 1500; i++)); do
		: >"ignored/$i"
	done
	inside a 'echo mine >ignored/mine; rm ignored/7; git status --porcelain'
	[[ $(ls "$JIB_ROOT/a/upper/carried/repo") == 0 ]]
	jib fork a b
	inside b 'test "$(cat ignored/mine)" = mine; test ! -e ignored/7; test -e ignored/8; echo b >ignored/mine'
	[[ $(inside a 'cat ignored/mine') == mine ]]
}

@test "live and volatile sandboxes are forked as what they are" {
	jib new l -q --live
	inside l 'echo live >README.md; git commit -qam live'
	jib fork l m
	[[ $(inside m 'cat README.md; git log -1 --format=%s; git status --porcelain') == $'live\nlive' ]]
	jib new v -q --volatile
	inside v 'echo volatile >README.md'
	jib fork v w
	[[ $(inside w 'cat README.md') == volatile ]]
	[[ -e $JIB_ROOT/w/boot && $(host_hash "$T/repo") == "$before" ]]
}

@test "a work tree whose mode was changed inside" {
	inside a 'echo one >new; echo x >~/x; chmod 555 .; chmod 500 ~'
	jib fork a b
	[[ $(inside b 'stat -c %a .; stat -c %a ~; cat new') == $'555\n500\none' ]]
	[[ $(inside a 'stat -c %a .; stat -c %a ~; cat new') == $'555\n500\none' ]]
	jib checkpoint a
	inside a 'chmod 755 . ~'
	jib rollback a 1
	[[ $(inside a 'stat -c %a .; stat -c %a ~; cat new') == $'555\n500\none' ]]
	jib rollback a
	[[ $(inside a 'stat -c %a .; cat new') == $'755\none' ]]
}

@test "errors: names, what exists, what does not, and what is mounted" {
	work a
	run -1 jib fork a 'b/c'
	[[ $output == *"jib: "* ]]
	run -1 jib fork nobody b
	[[ $output == *"there is no sandbox nobody"* ]]
	run -1 jib fork a a
	[[ $output == *"there is a sandbox a already"* ]]
	jib new b -q
	run -1 jib fork a b --json
	[[ $(json 'd["error"]["code"]' <<<"$output") == exists ]]
	run -1 jib checkpoint nobody
	run -1 jib checkpoint a -m $'not \xff utf'
	[[ $output == *UTF-8* ]]
	run -1 jib rollback a
	[[ $output == *"has no checkpoint"* ]]
	run -1 jib rollback a 7
	[[ $output == *"has no checkpoint 7"* ]]
	run -2 jib rollback a 0
	run -2 jib rollback a x
	run -2 jib fork a
	# None of them has changed anything but where the work lies.
	[[ $(inside a 'cat README.md new.txt ~/mark') == $'committed\nuncommitted\nhome' ]]
	swept
	if as_root; then
		mkdir "$T/mnt"
		jib mount a "$T/mnt"
		run -1 jib fork a c
		[[ $output == *"mounted"* ]]
		run -1 jib checkpoint a
		jib umount "$T/mnt"
	fi
	jib fork a c
}

@test "no more states than a mount can take: an error that says so" {
	local i
	inside a 'echo 0 >README.md'
	for ((i = 0; i < 40; i++)); do
		jib checkpoint a 2>/dev/null
		echo "$i" >"$JIB_ROOT/a/upper/repos/repo/new"
	done
	[[ $(inside a 'cat README.md new; git status --porcelain') == $'0\n39\n M README.md\n?? new' ]]
	run -1 jib checkpoint a
	[[ $output == *"40 states"*"persist"* ]]
	jib rollback a 3
	[[ $(inside a 'cat new') == 1 ]]
}

# injected SYSCALL WHAT CMD...: CMD with something injected into its system calls
injected() {
	local call=$1 what=$2
	shift 2
	strace -qq -o /dev/null -e trace="$call" -e inject="$call:$what" "$@" </dev/null
}

# broken_off WHAT CALLS... -- CMD...: CMD is killed, or fails, at every one of its CALLS, in one sandbox; nothing of
# it may be lost, and the same command succeeds afterwards
broken_off() {
	local what=$1 call n status ended=0 cut=0
	local -a calls=()
	shift
	while [[ $1 != -- ]]; do
		calls+=("$1")
		shift
	done
	shift
	for call in "${calls[@]}"; do
		for ((n = 1; n < 40; n++)); do
			echo "$call $n" >"$JIB_ROOT/a/upper/repos/repo/at"
			echo "$call $n" >"$JIB_ROOT/a/home/at"
			status=0
			injected "$call" "$what:when=$n" "$@" >"$T/out" 2>&1 || status=$?
			((status == 0)) || cut=$((cut + 1))
			[[ $(inside a 'cat at ~/at README.md new.txt ~/mark') == "$call $n"$'\n'"$call $n"$'\ncommitted\nuncommitted\nhome' ]] || {
				echo "after $call:$n of $*: $(cat "$T/out")"
				return 1
			}
			[[ -z $(ls -A "$JIB_ROOT/.tmp") ]]
			if [[ -e $JIB_ROOT/b ]]; then
				[[ $(inside b 'cat at ~/at') == "$call $n"$'\n'"$call $n" ]]
				jib rm --force b
			fi
			"$@" >/dev/null 2>&1
			[[ ! -e $JIB_ROOT/b ]] || jib rm --force b
			((status)) || break
			# States do not pile up here.
			renew
		done
	done 2>"$T/shell" # bash tells of each that is killed
	jib gc
	echo "# $cut cut"
	((cut >= 15))
}

# renew: the first sandbox, with the same work and without states
renew() {
	jib rm --force a
	work a
}

@test "SIGKILL of fork at any point: nothing is lost, and a rerun converges" {
	work a
	broken_off signal=KILL renameat2 renameat mkdirat fsync -- "$JIB" fork a b
}

@test "ENOSPC of fork at any point: nothing is lost, and a rerun converges" {
	work a
	broken_off error=ENOSPC renameat2 renameat mkdirat write fsync -- "$JIB" fork a b
}

@test "SIGKILL of checkpoint at any point" {
	work a
	broken_off signal=KILL renameat2 renameat fsync -- "$JIB" checkpoint a
}

@test "SIGKILL of rollback at any point: the present or the checkpoint, and the way to both" {
	local call n status=1 killed=0
	for call in renameat2 renameat fsync; do
		status=1
		for ((n = 1; status && n < 40; n++)); do
			inside a 'echo one >README.md'
			jib checkpoint a
			inside a 'echo two >README.md; git commit -qam two; echo two >~/mark'
			status=0
			injected "$call" "signal=KILL:when=$n" "$JIB" rollback a 1 >"$T/out" 2>&1 || status=$?
			((status == 0)) || killed=$((killed + 1))
			[[ $(inside a 'cat README.md') == one ]] || jib rollback a 1
			[[ $(inside a 'cat README.md; test ! -e ~/mark; git log -1 --format=%s') == $'one\nsecond line' ]]
			jib rollback a 2
			[[ $(inside a 'cat README.md ~/mark; git log -1 --format=%s') == $'two\ntwo\ntwo' ]]
			jib rm --force a
			swept
		done
	done 2>"$T/shell" # bash tells of each that is killed
	echo "# $killed killed"
	((killed >= 8))
}

@test "T38: a forged redirect or metacopy mark is neither copied nor followed" {
	"$JIB" run a -q -d -- sh -c 'mkdir -p src/new; echo mine >src/new/mine; echo >up; sleep infinity' </dev/null >/dev/null
	wait_for test -e "$JIB_ROOT/a/upper/repos/repo/up"
	# Nothing inside can set them; whoever could write the store might.
	setfattr -n user.overlay.redirect -v /docs "$JIB_ROOT/a/upper/repos/repo/src"
	setfattr -n user.overlay.metacopy -v "" "$JIB_ROOT/a/upper/repos/repo/src/new/mine"
	jib fork a b
	jib stop a
	run -0 getfattr -R -d -m . --absolute-names "$JIB_ROOT/.layers"
	[[ $output != *redirect* && $output != *metacopy* ]]
	[[ $(inside b 'cat src/new/mine; ls src') == $'mine\nlib\nmain.c\nnew' ]]
	# Where they are, what they point to does not appear.
	run jib run a -q -- ls src
	[[ $output != *"a name with spaces"* ]]
}
