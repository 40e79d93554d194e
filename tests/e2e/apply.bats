# shellcheck shell=bash
# `jib persist --apply` and `--undo`, as a user has them: what comes into the host's work tree, what
# does not, and how it is taken back.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 5
	cd "$T/repo" || return
}

inside() {
	"$JIB" run "$1" -q -- sh -euc "$2" </dev/null
}

# What git has for the work tree's files: tracked and untracked, not the ignored ones.
listing='
import hashlib, os, stat, subprocess, sys
names = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], check=True, capture_output=True).stdout
for name in sorted(set(names.split(b"\0")) - {b""}):
    try:
        mode = os.lstat(name).st_mode
    except (FileNotFoundError, NotADirectoryError):
        continue
    if stat.S_ISLNK(mode):
        print(name, "link", os.readlink(name))
    elif stat.S_ISREG(mode):
        with open(name, "rb") as file:
            print(name, bool(mode & 0o100), hashlib.sha256(file.read()).hexdigest())
    else:
        print(name, oct(mode))
'

# tree: that of the host, from the top of the work tree
tree() {
	python3 -c "$listing"
}

# merged NAME: that of a sandbox
merged() {
	"$JIB" run "$1" -q -- python3 -c "$listing" </dev/null
}

# refused CMD...: with exit status 1, and nothing is written
refused() {
	local before
	before=$(host_hash "$T/repo")
	run -1 --separate-stderr "$@"
	[[ $(host_hash "$T/repo") == "$before" ]]
}

work_of() {
	"$JIB" ls --json | json "[s['unpersisted'] for s in d if s['name'] == '$1'][0]"
}

state_of_git() {
	git rev-parse HEAD
	git symbolic-ref HEAD
	git for-each-ref
	sha256sum <.git/index
	git stash list
}

tidy() {
	[[ ! -e .git/index.lock && ! -e .git/jib/apply && -z $(ls -A "$JIB_ROOT/.tmp") ]]
	[[ -z $(find . -maxdepth 1 -name '.jib-*') ]]
}

# ---- What comes ----

many_changes='
	echo three >>README.md
	git rm -q "docs/a name with spaces.txt"
	git mv tool.sh bin.sh
	git commit -qam "of the sandbox"
	echo uncommitted >new.txt
	git add new.txt
	mkdir -p deep/er/est empty
	echo untracked >deep/er/est/file
	printf "a\\0b\\377" >binary
	ln -sfn src/main.c link
	ln -s /nowhere/at/all dangling
	chmod +x src/main.c
	rm files/0/0.txt && ln -s 1.txt files/0/0.txt
	rm files/0/2.txt && mkdir files/0/2.txt && echo in >files/0/2.txt/in
	rm -r src/lib && echo a file now >src/lib
	echo out >ignored.o
	: >"$(printf "od\\033d\\nname \\377")"
	: >-n
'

@test "on an unchanged host the work tree is the sandbox's merged view; HEAD, refs and index stay; undo is exact" {
	local before list git
	list=$(host_list . | grep -v "^'./.git/jib" | sed -E 's/ [0-9]{19} / /')
	before=$(tree)
	git=$(state_of_git)
	inside a "$many_changes"
	jib persist a --apply >"$T/out"
	[[ $(tree) == "$(merged a)" ]]
	[[ $(tree) != "$before" ]]
	[[ $(state_of_git) == "$git" ]]
	[[ ! -e ignored.o && ! -e empty && -d files/0/2.txt && -f src/lib ]]
	# Nothing in it talks to the terminal.
	grep -qF 'od\x1bd\nname \xff' "$T/out"
	run ! grep -q $'\033' "$T/out"
	tidy
	git fsck --full --strict
	# Again: there is nothing left to do.
	[[ $(jib persist a --apply) == "nothing to apply" ]]
	[[ $(jib persist --undo) == *" put back, the host's as before" ]]
	[[ $(tree) == "$before" && $(state_of_git) == "$git" ]]
	# Each byte, mode and link; times are new where directories were written to.
	diff <(echo "$list") <(host_list . | grep -v "^'./.git/jib" | sed -E 's/ [0-9]{19} / /')
	[[ -z $(git status --porcelain) ]]
	tidy
}

@test "a dirty host: what it has staged, changed, added and removed stays as it is" {
	inside a 'echo three >>README.md; echo new >new.txt; git rm -q src/lib/lib.h; git commit -qm "of the sandbox"'
	echo "the host's" >>tool.sh
	echo staged >>src/main.c
	git add src/main.c
	echo untracked >mine.txt
	rm files/0/1.txt
	local index
	index=$(git ls-files -s)
	jib persist a --apply
	[[ $(git ls-files -s) == "$index" ]]
	[[ $(git status --porcelain | LC_ALL=C sort) == "\
 D files/0/1.txt
 D src/lib/lib.h
 M README.md
 M tool.sh
?? mine.txt
?? new.txt
M  src/main.c" ]]
	[[ $(cat mine.txt new.txt) == $'untracked\nnew' && $(tail -1 tool.sh) == "the host's" ]]
	jib persist --undo
	[[ $(git status --porcelain | LC_ALL=C sort) == "\
 D files/0/1.txt
 M tool.sh
?? mine.txt
M  src/main.c" ]]
	tidy
}

@test "what a host had not committed when the sandbox was made is no change of the sandbox's" {
	echo "carried along" >>README.md
	echo untracked >mine.txt
	inside a 'echo new >new.txt; echo more >>mine.txt'
	# It is committed since, and changed.
	git commit -qam "was carried"
	echo "and more of the host's" >>README.md
	[[ $(jib persist a --apply --dry-run) == $'changed   mine.txt\nadded     new.txt' ]]
	jib persist a --apply
	[[ $(cat mine.txt) == $'untracked\nmore' && $(tail -2 README.md) == $'carried along\nand more of the host\'s' ]]
}

@test "a stale base: the host's commits are not reverted, neither in the same files nor in others" {
	local i
	for i in {1..30}; do echo "line $i"; done >text
	git add text
	git commit -qm text
	inside a 'sed -i "s/line 2$/line two/" text; echo of the sandbox >>README.md; git commit -qam work; rm tool.sh'
	# A day of work on main.
	sed -i 's/line 28$/line twenty-eight/' text
	printf '#include <x.h>\n' >src/main.c
	git rm -q src/lib/lib.h
	echo new >of-the-host
	git add -A
	git commit -qm "of the host"
	git mv files/0/0.txt moved
	git commit -qm "moved on the host"
	local head
	head=$(git rev-parse HEAD)
	jib persist a --apply
	[[ $(git rev-parse HEAD) == "$head" ]]
	# What differs from the host's commits is the sandbox's work, and that alone.
	[[ $(git status --porcelain) == $' M README.md\n M text\n D tool.sh' ]]
	[[ $(git diff -U0 text | grep '^[-+][^-+]') == $'-line 2\n+line two' ]]
	[[ $(tail -1 README.md) == "of the sandbox" && -e moved && ! -e src/lib/lib.h && -e of-the-host ]]
}

@test "a host that has switched to another branch: into what is checked out, HEAD stays" {
	inside a 'echo of the sandbox >>src/main.c; git commit -qam work; echo new >new.txt'
	git checkout -q -b other
	echo "on another branch" >other.txt
	git add other.txt
	git commit -qm other
	jib persist a --apply
	[[ $(git symbolic-ref HEAD) == refs/heads/other ]]
	[[ $(git status --porcelain) == $' M src/main.c\n?? new.txt' ]]
	# A detached one, that has not got what the sandbox has changed.
	jib persist --undo
	[[ -z $(git status --porcelain) ]]
	git rm -q src/main.c
	git commit -qm "without it"
	git checkout -q --detach
	refused jib persist a --apply
	[[ $output == *"CONFLICT  src/main.c: deleted on the host, changed in the sandbox"* ]]
}

@test "a rename inside follows what the host has changed meanwhile" {
	local i
	for i in {1..30}; do echo "line $i"; done >text
	git add text
	git commit -qm text
	inside a 'mkdir to; git mv text to/renamed; sed -i "s/line 2$/line two/" to/renamed; git mv README.md READ; git commit -qm mv'
	sed -i 's/line 28$/line twenty-eight/' text
	echo "the host's" >>README.md
	chmod +x text
	jib persist a --apply
	[[ ! -e text && ! -e README.md && -x to/renamed ]]
	[[ $(sed -n '2p;28p' to/renamed) == $'line two\nline twenty-eight' ]]
	[[ $(tail -1 READ) == "the host's" ]]
	jib persist --undo
	[[ ! -e to && $(git status --porcelain) == $' M README.md\n M text' && -x text ]]
}

@test "modes: what the host has taken away stays away, setuid does not come, an executable does" {
	chmod 600 README.md
	inside a 'echo x >>README.md; chmod 4755 src/main.c; printf "#!/bin/sh\n" >run; chmod 777 run; chmod 644 tool.sh; umask 0; echo >open'
	(
		umask 027
		jib persist a --apply
	)
	[[ $(stat -c '%a %n' README.md src/main.c run tool.sh open) == "\
600 README.md
755 src/main.c
750 run
644 tool.sh
640 open" ]]
}

# ---- Conflicts ----

# Each kind of a conflict: that which the sandbox has done, and the host since.
conflicts() {
	printf 'a\0b' >binary
	printf 'a\0b' >gone
	ln -s README.md two-ways
	echo to-dir >to-dir
	echo x >to-link
	echo renamed, and long enough to be known again >source
	git add -A
	git commit -qm more
	inside a '
		echo of the sandbox >>README.md
		printf "a\\0c" >binary
		echo changed >>src/main.c
		git rm -q src/lib/lib.h
		echo one >both
		ln -sfn tool.sh two-ways
		rm to-dir; mkdir to-dir; echo x >to-dir/in
		echo more >>to-link
		git mv source target
		echo fine >fine.txt
		mkdir new; echo x >new/file
		git add -A; git commit -qm work'
	echo "of the host" >>README.md
	printf 'a\0d' >binary
	rm src/main.c
	echo "// changed" >>src/lib/lib.h
	echo two >both
	ln -sfn docs two-ways
	echo "changed" >>to-dir
	ln -sf tool.sh to-link
	echo mine >target
	echo "a file" >new
}

@test "T50: every conflict is listed, and with any of them nothing at all is written" {
	conflicts
	refused jib persist a --apply
	[[ $stderr == *"11 conflicts with the host"* && $stderr == *"--conflicts markers"* ]] || {
		echo "$output" "$stderr"
		false
	}
	local path
	for path in README.md binary src/main.c src/lib/lib.h both two-ways to-dir to-dir/in to-link target new/file; do
		grep -qE "^CONFLICT  ([^ ]+ -> )?$path: ." <<<"$output" || {
			echo "nothing of $path: $output"
			return 1
		}
	done
	refused jib persist a --apply --json
	[[ $(json 'd["repos"][0]["written"], d["repos"][0]["conflicts"]' <<<"$output") == "[false, 11]" ]]
	[[ $(json '[f["path"] for f in d["repos"][0]["files"] if f["verdict"] != "conflict"]' <<<"$output") == '["fine.txt"]' ]]
	[[ $(work_of a) == true ]]
	tidy
	[[ ! -e .git/jib ]]
}

@test "T50: with markers the rest comes, text is marked, the index has stages; git add solves, undo takes all back" {
	conflicts
	local before index seen
	git add src/lib/lib.h
	before=$(tree) index=$(git ls-files -s) seen=$(git status --porcelain)
	run -1 --separate-stderr jib persist a --apply --conflicts markers
	[[ $stderr == *"git add"* && $stderr == *"--undo"* ]]
	[[ $(cat fine.txt) == fine ]]
	grep -q '^<<<<<<<' README.md
	grep -q '^>>>>>>> a' README.md
	[[ $(grep -c 'of the' README.md) == 2 ]]
	# What is no text is the host's.
	[[ $(od -An -c binary) == "$(printf 'a\0d' | od -An -c)" && $(readlink two-ways) == docs ]]
	[[ $(cat both new target) == $'two\na file\nmine' && ! -e src/main.c ]]
	[[ $(git ls-files -u README.md | cut -f1 | cut -d' ' -f3 | xargs) == "1 2 3" ]]
	[[ $(git ls-files -u both | cut -f1 | cut -d' ' -f3 | xargs) == "2 3" ]]
	[[ $(git ls-files -u src/main.c | cut -f1 | cut -d' ' -f3 | xargs) == "1 3" ]]
	[[ $(git ls-files -u src/lib/lib.h | cut -f1 | cut -d' ' -f3 | xargs) == "1 2" ]]
	[[ $(git show :1:README.md) == $'one\ntwo' && $(git show :3:README.md) == $'one\ntwo\nof the sandbox' ]]
	run ! git commit -qm x
	tidy
	git fsck --full --strict
	jib persist --undo
	[[ $(tree) == "$before" && $(git ls-files -s) == "$index" && $(git status --porcelain) == "$seen" ]]
	# And there again.
	jib persist --undo
	[[ $(cat fine.txt) == fine && $(git ls-files -u README.md | wc -l) == 3 ]]
	# One of them is solved, and with that it is the user's.
	echo solved >README.md
	git add README.md
	[[ -z $(git ls-files -u README.md) ]]
	run -1 --separate-stderr jib persist --undo
	[[ $output == *"CONFLICT  README.md: "* && $(cat README.md) == solved && $(cat fine.txt) == fine ]]
	git checkout -q --ours -- binary two-ways to-link
	git add -A
	git commit -qm solved
}

@test "T41: a FIFO, a socket and a directory on the host, where a file is to come, are left alone" {
	inside a 'echo x >>README.md; echo y >new; echo z >dir; echo s >sock'
	rm README.md
	mkfifo README.md new
	mkdir dir
	touch dir/of-the-host
	python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'
	refused timeout 20 "$JIB" persist a --apply
	[[ $(grep -c ^CONFLICT <<<"$output") == 4 ]]
	[[ $output == *"CONFLICT  README.md: on the host it is a FIFO"* ]]
	run -1 timeout 20 "$JIB" persist a --apply --conflicts markers
	[[ -p README.md && -p new && -e dir/of-the-host && -S sock ]]
	tidy
}

@test "T41: FIFOs, sockets and setuid in the sandbox are told of, and do not come" {
	inside a 'mkfifo pipe; python3 -c "import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")"; rm tool.sh; mkfifo tool.sh; echo x >x'
	run --separate-stderr timeout 20 "$JIB" persist a --apply
	[[ ! -p pipe && ! -e sock && ! -p tool.sh && $(cat x) == x ]]
	[[ $stderr == *pipe* && $stderr == *sock* ]]
}

@test "T49: a host directory that is a link out of the repository is not written through" {
	mkdir "$T/victim"
	echo precious >"$T/victim/main.c"
	echo precious >"$T/victim/lib.h"
	inside a 'echo x >>src/main.c; echo new >src/new.c; rm docs/*; echo y >docs/y'
	rm -r src docs
	ln -s "$T/victim" src
	ln -s ../victim docs
	local victim
	victim=$(host_hash "$T/victim")
	refused jib persist a --apply
	[[ $output == *"CONFLICT  src/main.c"* && $output == *"CONFLICT  src/new.c"* && $output == *"CONFLICT  docs/y"* ]]
	run -1 jib persist a --apply --conflicts markers
	[[ $(host_hash "$T/victim") == "$victim" && -L src && -L docs ]]
	# Nor is a link inside of the repository.
	rm src docs
	git checkout -q .
	mv src other
	ln -s other src
	run -1 jib persist a --apply
	[[ $(cat other/main.c) == "$(git show HEAD:src/main.c)" && ! -e other/new.c ]]
	# Nor what was put there after an apply.
	rm src
	mv other src
	jib persist a --apply
	rm -r src
	ln -s "$T/victim" src
	run -1 jib persist --undo
	[[ $(host_hash "$T/victim") == "$victim" && -L src ]]
}

@test "untracked and ignored files of the host's are never overwritten" {
	inside a 'echo theirs >mine.txt; mkdir -p d; echo theirs >d/deep; echo theirs >file.o; git add -f file.o; echo same >same.txt'
	echo mine >mine.txt
	mkdir d
	echo mine >d/deep
	echo mine >file.o
	echo same >same.txt
	refused jib persist a --apply
	[[ $(grep -c '^CONFLICT' <<<"$output") == 3 && $output != *same.txt* ]]
	run -1 jib persist a --apply --conflicts markers
	[[ $(cat mine.txt d/deep file.o) == $'mine\nmine\nmine' ]]
}

# ---- Races ----

# Exchanges two names, over and over.
swapping='
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
one, other = (os.fsencode(name) for name in sys.argv[1:3])
print("up", flush=True)
while True:
    libc.renameat2(-100, one, -100, other, 2)
'

# victim: a directory out of the repository, whose files have the names of the repository's
victim() {
	mkdir "$T/victim"
	for name in main.c new.c other.c; do
		echo CANARY >"$T/victim/$name"
	done
	victim=$(host_hash "$T/victim")
}

# no_leak DIR...: nothing of the victim is there, and nothing was written to it
no_leak() {
	# What overlayfs keeps closed cannot be read.
	run grep -rlFs CANARY "$@"
	[[ -z $output ]]
	[[ $(host_hash "$T/victim") == "$victim" ]]
}

@test "T40: a host directory is swapped with a link that leads out, while files are applied and undone" {
	local swapper
	victim
	echo "int other;" >src/other.c
	git add src
	git commit -qm other
	inside a 'echo x >>src/main.c; echo new >src/new.c; rm src/other.c; echo y >>README.md'
	ln -s "$T/victim" aside
	python3 -c "$swapping" src aside >"$T/swaps" 3>&- &
	swapper=$!
	wait_for grep -q up "$T/swaps"
	for _ in $(seq "${JIB_RACE_TRIES:-40}"); do
		"$JIB" persist a --apply >>"$T/out" 2>&1 || true
		"$JIB" persist --undo >>"$T/out" 2>&1 || true
	done
	kill "$swapper"
	wait "$swapper" || true
	no_leak . "$T/out"
	# When nobody interferes any more there is an end to it.
	if [[ -L src ]]; then
		rm src
		mv aside src
	else
		rm aside
	fi
	jib persist a --apply
	[[ $(tail -1 src/main.c) == x && $(cat src/new.c) == new && ! -e src/other.c ]]
	no_leak .
	tidy
	git fsck --full --strict
}

@test "T40: a directory is swapped with a link inside of a running sandbox, while it is looked at and persisted" {
	victim
	jib run a -q -d -- sh -euc "mkdir d; ln -s '$T/victim' l; for n in main.c new.c other.c; do echo fine >d/\$n; done
		echo x >>README.md; exec python3 -uc '$swapping' d l >swaps" </dev/null >/dev/null 3>&-
	wait_for test -s "$JIB_ROOT/a/upper/repos/repo/swaps"
	for _ in $(seq "${JIB_RACE_TRIES:-8}"); do
		jib diff a >"$T/diff"
		jib persist a >"$T/out"
		git grep -qF fine jib/a/main
		run -1 git grep -lF CANARY jib/a/main
		jib persist a --apply >>"$T/out"
		jib persist --undo >>"$T/out"
		run -1 grep -F CANARY "$T/diff" "$T/out"
	done
	no_leak . "$JIB_ROOT/a/upper"
	# It goes on all the while.
	[[ $("$JIB" ls --json | json 'd[0]["state"]') == running ]]
	jib stop a
}

# ---- Ignored files ----

@test "--include brings ignored files and directories, also of a directory that is mounted, and what is not there is told" {
	printf 'node_modules/\n*.o\n/ignored/\n' >.gitignore
	git commit -qam ignore
	mkdir -p node_modules/big node_modules/pkg ignored
	head -c 17M /dev/zero >node_modules/big/blob
	echo one >node_modules/pkg/index.js
	echo old >ignored/kept
	# What is as young as the sandbox might have been changed since it was made.
	wait_for eval '(($(date +%s) > $(stat -c %Z ignored/kept)))'
	inside a 'echo two >node_modules/pkg/index.js; echo new >node_modules/pkg/new.js; echo out >main.o; echo other >other.o
		mkdir -p ignored/d; echo i >ignored/d/i; echo changed >ignored/kept; echo x >README.md'
	jib persist a --apply
	[[ ! -e main.o && $(cat README.md node_modules/pkg/index.js ignored/kept) == $'x\none\nold' ]]
	jib persist a --apply --include main.o --include node_modules/ --include ignored
	[[ $(cat main.o node_modules/pkg/index.js node_modules/pkg/new.js ignored/d/i ignored/kept) == \
		$'out\ntwo\nnew\ni\nchanged' ]]
	[[ ! -e other.o && $(stat -c %s node_modules/big/blob) == 17825792 ]]
	jib persist --undo
	[[ ! -e main.o && ! -e ignored/d && $(cat README.md node_modules/pkg/index.js ignored/kept) == $'x\none\nold' ]]
	refused jib persist a --apply --include nothing.o
	[[ $stderr == *nothing.o* ]]
	run -2 jib persist a --apply --include /etc
	run ! jib persist a --apply --include ../../etc/passwd
	run ! jib persist a --apply --include .git/config
	[[ $(cat README.md) == x ]]
}

# ---- Telling ----

@test "--dry-run tells as text and JSON what would be, and writes nothing" {
	inside a 'echo three >>README.md; git mv tool.sh bin.sh; git rm -q src/main.c; echo n >new.txt; git commit -qam x'
	local before
	before=$(host_hash .)
	[[ $(jib persist a --apply --dry-run) == "\
changed   README.md
renamed   tool.sh -> bin.sh
added     new.txt
removed   src/main.c" || $(jib persist a --apply -n | sort) == "\
added     new.txt
changed   README.md
removed   src/main.c
renamed   tool.sh -> bin.sh" ]]
	jib persist a --apply --dry-run --json >"$T/json"
	[[ $(json '(d["name"], d["dry_run"], len(d["repos"]))' <"$T/json") == '["a", true, 1]' ]]
	[[ $(json '[d["repos"][0][k] for k in ("name", "host", "conflicts", "written", "left_out")]' <"$T/json") == \
		"[\"repo\", \"$T/repo\", 0, false, []]" ]]
	[[ $(json '[[f[k] for k in ("path", "from", "verdict", "reason")] for f in d["repos"][0]["files"] if f["from"]]' <"$T/json") == \
		'[["bin.sh", "tool.sh", "take", null]]' ]]
	[[ $(host_hash .) == "$before" && ! -e .git/jib ]]
	jib persist a --apply --json >"$T/json"
	[[ $(json 'd["dry_run"], d["repos"][0]["written"]' <"$T/json") == "[false, true]" ]]
	# An undo of it, too.
	before=$(host_hash .)
	[[ $(jib persist --undo --dry-run) == "5 files would be put back, the host's as before" ]]
	[[ $(host_hash .) == "$before" ]]
	[[ $(jib persist --undo --json | json '[d["repos"][0][k] for k in ("host", "sandbox", "again", "files", "conflicts", "written")]') == \
		"[\"$T/repo\", \"a\", false, 5, [], true]" ]]
	[[ -z $(git status --porcelain) ]]
	# With conflicts a dry run has told what it was asked for.
	echo mine >new.txt
	jib persist a --apply --dry-run | grep '^CONFLICT  new.txt'
}

@test "--interactive: y, n, a, d and q, one for each file" {
	inside a 'echo 1 >f1; echo 2 >f2; echo 3 >f3; echo 4 >f4'
	refused "$JIB" persist a --apply -i <<<q
	refused "$JIB" persist a --apply -i </dev/null
	refused "$JIB" persist a --apply -i < <(printf 'y\ny\nq\n')
	printf 'y\nn\nwhat\ny\nn\n' | jib persist a --apply -i
	[[ $(git status --porcelain) == $'?? f1\n?? f3' ]]
	[[ $(work_of a) == true ]]
	jib persist --undo
	printf 'n\na\n' | jib persist a --apply -i
	[[ $(git status --porcelain) == $'?? f2\n?? f3\n?? f4' ]]
	jib persist --undo
	printf 'y\nd\n' | jib persist a --apply -i
	[[ $(git status --porcelain) == '?? f1' ]]
	printf 'a\n' | jib persist a --apply -i
	[[ $(git status --porcelain | wc -l) == 4 ]]
	# What was chosen is what an undo takes back: the last of them.
	jib persist --undo
	[[ $(git status --porcelain) == '?? f1' ]]
}

# ---- Undo ----

@test "--undo needs no sandbox, works once it was removed, from a directory below, and twice is a redo" {
	run -1 jib persist --undo
	[[ $output == *"nothing was applied"* ]]
	inside a 'echo x >>README.md; echo new >new.txt; git rm -q src/main.c'
	jib persist a --apply
	jib rm --force a
	(
		cd docs
		jib persist --undo
	)
	[[ -z $(git status --porcelain) ]]
	jib persist --undo --repo "$T/repo"
	[[ $(git status --porcelain) == $' M README.md\n D src/main.c\n?? new.txt' ]]
	cd /
	jib persist --undo --repo "$T/repo"
	cd "$T/repo"
	[[ -z $(git status --porcelain) ]]
	tidy
}

@test "--undo after a file was changed, removed or made again lists it and undoes nothing" {
	inside a 'echo x >>README.md; echo new >new.txt; git rm -q src/main.c; echo y >>tool.sh'
	jib persist a --apply
	echo "more of the user's" >>README.md
	rm new.txt
	echo again >src/main.c
	refused jib persist --undo
	[[ $(grep -c '^CONFLICT' <<<"$output") == 3 && $stderr == *"nothing was undone: 3 files were changed since then"* ]]
	refused jib persist a --undo --json
	[[ $(json '[(c["path"]) for c in d["repos"][0]["conflicts"]]' <<<"$output" | tr -d ' ') == *README.md* ]]
	[[ $(tail -1 tool.sh) == y ]]
	# When it is what was written again, it can be undone.
	git checkout -q README.md
	echo x >>README.md
	rm src/main.c
	echo new >new.txt
	jib persist a --undo
	[[ -z $(git status --porcelain) ]]
}

@test "ls: unpersisted until it is applied, and again when that is undone or thrown away" {
	inside a 'echo x >>README.md; echo new >new.txt; git add -A; git commit -qm work; echo y >>tool.sh'
	[[ $(work_of a) == true ]]
	jib persist a --apply
	[[ $(work_of a) == false ]]
	jib persist --undo
	[[ $(work_of a) == true ]]
	jib persist a --apply
	git add -A
	git commit -qm "what was applied"
	[[ $(work_of a) == false ]]
	# It goes on.
	inside a 'echo more >another.txt'
	[[ $(work_of a) == true ]]
	[[ $(jib persist a --apply) == "added     another.txt" ]]
	[[ $(work_of a) == false ]]
	rm another.txt
	[[ $(work_of a) == true ]]
	# A part is not all.
	printf 'd\n' | jib persist a --apply -i
	[[ $(work_of a) == true ]]
	jib persist a --apply
	[[ $(work_of a) == false ]]
	jib rm a
}

# ---- Several ----

@test "two at once: one writes, the other says so or has nothing left to do" {
	local i status one=0 two=0
	inside a 'for i in $(seq 200); do echo $i >n$i; done; echo x >>README.md'
	for i in 1 2 3 4 5; do
		one=0 two=0
		"$JIB" persist a --apply >"$T/1" 2>&1 3>&- &
		"$JIB" persist a --apply >"$T/2" 2>&1 || two=$?
		wait $! || one=$?
		((one == 0 || two == 0)) || {
			cat "$T/1" "$T/2"
			return 1
		}
		for status in "$one:$T/1" "$two:$T/2"; do
			[[ ${status%%:*} == 0 ]] || grep -qE 'another jib is|changed on the host meanwhile|conflict' "${status#*:}" || {
				cat "$T/1" "$T/2"
				return 1
			}
		done
		[[ $(git status --porcelain | wc -l) == 201 ]]
		tidy
		# One of them has it all: what is undone is all, once.
		jib persist --undo
		[[ -z $(git status --porcelain) ]]
	done
}

@test "a live sandbox has no snapshot to merge from: refused" {
	jib run a -q --live -- sh -c 'echo x >x; echo y >>README.md' </dev/null
	refused jib persist a --apply
	[[ $stderr == *"is live"* && $stderr == *"jib persist a"* ]]
}

@test "two repositories: both, or the one of --repo; undo of a sandbox is of both" {
	make_repo "$T/other" 2
	jib run a -q --repo "$T/repo" --repo "$T/other" -- sh -euc '
		echo x >>README.md; cd ../other; echo y >>README.md' </dev/null
	jib persist a --apply --repo other
	[[ -z $(git status --porcelain) && $(git -C ../other status --porcelain) == ' M README.md' ]]
	jib persist a --apply
	[[ $(git status --porcelain) == ' M README.md' ]]
	jib persist a --undo
	[[ -z $(git status --porcelain) && -z $(git -C ../other status --porcelain) ]]
}
