# shellcheck shell=bash
# diff, status and log: what they say of every kind of change, and that looking disturbs nobody. The plain cases are
# in review.bats, what a terminal gets is in pager.bats too.

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

# names NAME [OPTION...]: what diff --name-status says, on one line
names() {
	"$JIB" diff "$@" --name-status 2>"$T/said" | tr '\t\n' ' ,'
}

# applied PATCH: the tree that results from the patch on what the sandbox started with
applied() {
	git worktree add -q --detach "$T/applied" "$base"
	git -C "$T/applied" apply --index "$1"
	git -C "$T/applied" write-tree
	git worktree remove --force "$T/applied"
}

# tree_inside NAME: the tree that git inside would commit
tree_inside() {
	inside "$1" 'cp .git/index /tmp/i; GIT_INDEX_FILE=/tmp/i git add -A
		GIT_INDEX_FILE=/tmp/i git write-tree'
}

every_change='
	printf "\0\1\2binary" >binary
	git add binary
	git commit -qm "a binary file"
	printf "\0\1\2more" >binary
	git mv docs papers
	git mv src/main.c main.c
	chmod 644 tool.sh
	chmod 755 README.md
	rm link
	ln -s tool.sh link
	ln -sf /nowhere absolute
	rm -r files
	echo "was a directory" >files
	rm src/lib/lib.h
	mkdir src/lib/lib.h
	echo "was a file" >src/lib/lib.h/inner
	printf "no newline" >last
	printf "carriage\r\nreturns\r\n" >dos
	: >empty
	git add main.c last
	git commit -qm "some of it" -- main.c last src/main.c
	echo uncommitted >>main.c'

@test "T42: a patch makes of the base what the sandbox has, byte by byte" {
	inside a "$every_change"
	jib diff a >"$T/patch"
	[[ $(applied "$T/patch") == "$(tree_inside a)" ]]
	jib diff a --patch --color=never --no-pager >"$T/again"
	cmp "$T/patch" "$T/again"
	# And so do both parts after each other.
	jib diff a --commits >"$T/one"
	jib diff a --uncommitted >"$T/two"
	git checkout -q --detach
	git apply --index "$T/one"
	[[ $(git write-tree) == "$(inside a 'git rev-parse HEAD^{tree}')" ]]
	git apply --index "$T/two"
	[[ $(git write-tree) == "$(tree_inside a)" ]]
}

@test "T42: a directory that became a file and a directory again" {
	inside a '
		rm -r files; echo file >files; rm files; mkdir -p files/0; echo other >files/0/other.txt
		rm README.md; mkdir README.md; rmdir README.md; printf "one\ntwo\n" >README.md
		rm -r docs; mkdir docs
		rm tool.sh; ln -s nowhere tool.sh; rm tool.sh; mkdir tool.sh; echo in >tool.sh/in'
	[[ $(names a) == "D docs/a name with spaces.txt,D files/0/0.txt,D files/0/1.txt,D files/0/2.txt,D files/0/3.txt,D files/0/4.txt,A files/0/other.txt,D tool.sh,A tool.sh/in," ]]
	jib persist a
	[[ $(git rev-parse jib/a/main^{tree}) == "$(tree_inside a)" ]]
	# The other way round, of what was only carried
	mkdir -p carried/deep
	echo x >carried/deep/x
	echo y >carried/y
	inside b 'rm -r carried; echo file >carried; ln -sf carried link; rm link; mkdir link; echo z >link/z'
	[[ $(names b) == "A carried,D carried/deep/x,D carried/y,D link,A link/z," ]]
	[[ $(names b --uncommitted) == "A carried,D link,A link/z," ]]
}

@test "each kind of change is named, with its modes and its size" {
	inside a "$every_change"
	[[ $(names a) == *"M README.md,A absolute,A binary,A dos,A empty,A files,"*"M link,A main.c,"*"M tool.sh,"* ||
		$(names a) == *"M README.md,A absolute,A binary,A dos,A empty,A files,"*"M link,R"*"M tool.sh,"* ]]
	run -0 jib diff a --json
	python3 - "$output" <<-"END"
		import json, sys
		repo, = json.loads(sys.argv[1])["repos"]
		files = {f["path"]: f for f in repo["files"]}
		assert set(repo) == {"name", "host", "base", "head", "files", "left_out"}, repo.keys()
		for f in files.values():
		    sized = {"bytes"} if f["binary"] else {"added", "removed"}
		    assert set(f) == {"path", "old_path", "status", "old_mode", "new_mode", "binary"} | sized, f
		binary = files["binary"]
		assert (binary["binary"], binary["bytes"], binary["status"], binary["old_mode"]) == (True, 7, "A", None)
		assert files["papers/a name with spaces.txt"]["old_path"] == "docs/a name with spaces.txt"
		assert (files["tool.sh"]["old_mode"], files["tool.sh"]["new_mode"]) == ("100755", "100644")
		assert files["absolute"]["new_mode"] == "120000"
		assert files["empty"]["added"] == 0 and files["dos"]["added"] == 2
		assert files["src/lib/lib.h/inner"]["status"] in "AR"
	END
	[[ $(json 'd["repos"][0]["base"]' <<<"$output") == "$base" ]]
	[[ $(jib diff a --stat) == *"binary"*"Bin 0 -> 7 bytes"*"files changed"* ]]
	# The file that was never text is told by its size.
	jib diff a | grep -qxF "# binary: binary, 7 bytes"
}

@test "what the host had not committed is no change of the sandbox, unless asked for" {
	echo host >>README.md
	echo host >host.txt
	git rm -q --cached tool.sh
	rm link
	jib new a -q
	[[ -z $(names a) ]]
	[[ $(jib diff a --json | json 'd["repos"][0]["files"]') == "[]" ]]
	inside a 'echo sandbox >>host.txt; rm README.md'
	[[ $(names a) == "D README.md,M host.txt," ]]
	[[ $(jib diff a -- host.txt | grep '^[+-][a-z]') == "+sandbox" ]]
	[[ $(names a --uncommitted) == "D README.md,A host.txt,D link," ]]
	[[ -z $(names a --commits) ]]
	inside a 'git checkout -q HEAD -- README.md; printf "host\n" >host.txt'
	# The sandbox has taken back what the host had: that is a change.
	[[ $(names a) == "M README.md," ]]
}

@test "pathspecs, also with magic; and options that make no sense" {
	inside a 'echo x >>README.md; echo x >>src/main.c; echo x >>src/lib/lib.h; echo x >"docs/[a]"'
	[[ $(names a -- src) == "M README.md,"* ]] && false
	[[ $(jib diff a --name-status -- src | wc -l) == 2 ]]
	[[ $(jib diff a --name-status -- '*.md' ':(glob)docs/**' | wc -l) == 2 ]]
	[[ $(jib diff a --name-status -- . ':!src') == $'M\tREADME.md\nA\tdocs/[a]' ]]
	[[ $(jib diff a --name-status -- ':(literal)docs/[a]') == $'A\tdocs/[a]' ]]
	[[ -z $(jib diff a -- nonesuch) ]]
	[[ $(jib diff a --json -- src/lib | json 'len(d["repos"][0]["files"])') == 1 ]]
	run -1 jib diff a -- ../outside
	run -1 jib diff a -- ':(nonsense)x'
	run -2 jib diff
	run -2 jib diff a b
	run -2 jib diff a --commits --uncommitted
	run -2 jib diff a --commits --ignored
	run -2 jib diff a --color=sometimes
	run -2 jib diff a --output=/tmp/x
	run -2 jib log a --max-count=-1
	run -2 jib log a --max-count=x
	run -2 jib log a -- src
	run -2 jib status a --patch
	run -1 jib diff a --repo nonesuch
	[[ $output == *"has no repository nonesuch"*"jib show a"* ]]
	local command
	for command in diff log status; do
		run -1 jib $command nonesuch
		[[ $output == *"no sandbox nonesuch"* ]]
		run -1 --separate-stderr jib $command nonesuch --json
		[[ $(json 'd["error"]["code"]' <<<"$output") == not-found && ! $stderr ]]
		run -1 jib $command ../a
	done
}

@test "--ignored, also in what is mounted from the host" {
	mkdir -p ignored
	head -c 40000 /dev/urandom >ignored/large
	inside a 'echo new >ignored/new; echo x >x.o; echo y >y.c'
	[[ $(names a) == "A y.c," ]]
	[[ $(names a --ignored) == *"A ignored/new,"*"A x.o,A y.c,"* ]]
	[[ $(names a --ignored) != *large* ]]
	# Added by force, or ignored only by the sandbox's word: both are there.
	inside b 'echo x >x.o; git add -f x.o; echo "*.c" >>.gitignore; echo y >y.c; echo y >>src/main.c'
	[[ $(names b) == "M .gitignore,M src/main.c,A x.o," ]]
	[[ $(names b --ignored) == "M .gitignore,M src/main.c,A x.o,A y.c," ]]
}

@test "several repositories, together and one by one" {
	make_repo "$T/other" 5
	jib run a -q --repo "$T/repo" --repo "$T/other" -- sh -euc "
		cd $T/repo; echo one >one.txt; git add .; git commit -qm one
		cd $T/other; echo two >two.txt" </dev/null
	run -0 jib diff a --name-status
	[[ $output == "repository $T/repo"*one.txt*"repository $T/other"*two.txt* ]]
	[[ $(jib diff a --repo other --name-status) == $'A\ttwo.txt' ]]
	[[ $(jib diff a --repo "$T/repo" --name-status) == $'A\tone.txt' ]]
	[[ $(jib diff a --json | json '[[r["name"], len(r["files"])] for r in d["repos"]]') == '[["repo", 1], ["other", 1]]' ]]
	[[ $(jib status a) == *"repository $T/other"*"  A  two.txt"* ]]
	[[ $(jib log a --json | json '[len(r["commits"]) for r in d["repos"]]') == "[1, 0]" ]]
	[[ $(jib log a --oneline) == *"repository $T/repo"*" one"* ]]
	[[ $(jib status a --repo repo --json | json 'd["repos"][0]["commits"]') == 1 ]]
}

@test "created, running, stopped: looking disturbs none of them" {
	jib new a -q
	[[ -z $(names a) ]]
	jib run a -q -d -- sh -c '
		i=0
		sh -c "kill -STOP \$\$; echo resumed >resumed.txt" &
		echo $! >/tmp/stopped
		while :; do i=$((i + 1)); echo $i >count.txt; done' </dev/null
	wait_for test -s "$JIB_ROOT/a/upper/repos/repo/count.txt"
	stopped() {
		[[ $(jib exec a -- sh -c 'cut -d" " -f3 /proc/$(cat /tmp/stopped)/stat') == T ]]
	}
	wait_for stopped
	local command
	for command in "diff a" "diff a --json" "status a" "log a" "persist a --dry-run"; do
		# shellcheck disable=SC2086
		jib $command >"$T/out"
		[[ -s $T/out || $command == log* ]]
		stopped
		seen=$(cat "$JIB_ROOT/a/upper/repos/repo/count.txt")
		goes_on() {
			[[ $(cat "$JIB_ROOT/a/upper/repos/repo/count.txt") != "$seen" ]]
		}
		wait_for goes_on
	done
	[[ $(names a) == "A count.txt," ]]
	[[ ! -e $JIB_ROOT/a/upper/repos/repo/resumed.txt ]]
	jib stop a
	[[ $(names a) == "A count.txt," ]]
	[[ $(jib show a --json | json 'd["state"]') == stopped ]]
}

@test "a shell on a terminal does not see that it was looked at" {
	mkfifo "$T/typed"
	in_tty "$JIB" run a -q -- bash --norc -i <"$T/typed" >"$T/screen" 2>&1 3>&- &
	local pid=$!
	exec 7>"$T/typed"
	echo 'cat >from-cat.txt' >&7
	echo 'one' >&7
	wait_for grep -q one "$JIB_ROOT/a/upper/repos/repo/from-cat.txt"
	jib diff a --stat >"$T/out"
	jib status a >"$T/out"
	grep -q from-cat.txt "$T/out"
	echo 'two' >&7
	wait_for grep -q two "$JIB_ROOT/a/upper/repos/repo/from-cat.txt"
	printf '\004' >&7
	echo 'exit 7' >&7
	exec 7>&-
	local status=0
	wait "$pid" || status=$?
	((status == 7))
	run -1 grep -i stopped "$T/screen"
}

@test "colours: on a terminal, by git's settings, or as asked for" {
	inside a 'echo x >>README.md; git commit -qam "a commit"'
	export TERM=xterm GIT_PAGER=cat
	local esc=$'\e'
	[[ $(jib diff a) != *"$esc"* ]]
	[[ $(jib diff a --color=always) == *"$esc[32m+"*"x$esc[m"* ]]
	[[ $(jib log a --color always) == *"$esc"* ]]
	[[ $(in_tty "$JIB" diff a </dev/null) == *"$esc[32m+"*"x$esc[m"* ]]
	[[ $(in_tty "$JIB" diff a --color=never </dev/null) != *"$esc"* ]]
	[[ $(NO_COLOR=1 in_tty "$JIB" diff a </dev/null) != *"$esc"* ]]
	[[ $(TERM=dumb in_tty "$JIB" diff a </dev/null) != *"$esc"* ]]
	git config --global color.ui false
	[[ $(in_tty "$JIB" diff a </dev/null) != *"$esc"* ]]
	# The sandbox has no say in it.
	inside a 'git config color.ui always; git config color.diff.new "blink red"; git config core.pager false'
	[[ $(jib diff a) != *"$esc"* ]]
	[[ $(in_tty "$JIB" diff a </dev/null) == *"+x"* ]]
}

@test "log: all branches, merges, how many, and fields of any bytes" {
	inside a '
		git checkout -qb side
		git commit -q --allow-empty -m "on side"
		git checkout -q main
		git commit -q --allow-empty -m "on main"
		git merge -q --no-ff side -m "merged"
		git commit -q --allow-empty --allow-empty-message -m ""
		printf "subject\n\nbody line\n\nand \001\377more\n" | git -c i18n.commitEncoding=ISO-8859-1 commit -q --allow-empty -F -
		git notes add -m "a note"'
	[[ $(jib log a --oneline | wc -l) == 5 ]]
	[[ $(jib log a --oneline -n 2 | wc -l) == 2 ]]
	run -0 jib log a --json
	[[ $(json 'sorted(len(c["parents"]) for c in d["repos"][0]["commits"])' <<<"$output") == "[1, 1, 1, 1, 2]" ]]
	[[ $(json 'sorted(d["repos"][0]["commits"][0])' <<<"$output") == \
		'["author_date", "author_email", "author_name", "body", "committer_date", "id", "parents", "subject"]' ]]
	[[ $(json 'd["repos"][0]["commits"][0]["subject"]' <<<"$output") == subject ]]
	[[ $(json 'd["repos"][0]["commits"][0]["body"]' <<<"$output") == $'body line\n\nand \001\u00ffmore' ]]
	[[ $(json 'sorted(c["subject"] for c in d["repos"][0]["commits"])' <<<"$output") == \
		'["", "merged", "on main", "on side", "subject"]' ]]
	[[ $(jib log a --json --max-count=1 | json 'len(d["repos"][0]["commits"])') == 1 ]]
	jib new b -q
	run -0 --separate-stderr jib log b
	[[ ! $output && ! $stderr ]]
	[[ $(jib log b --json | json 'd["repos"][0]["commits"]') == "[]" ]]
}

@test "status: where it stands" {
	jib new a -q
	[[ $(jib status a) == "on branch main, started from ${base:0:12}"$'\n0 new commits\nnothing uncommitted' ]]
	inside a 'git checkout -qb topic/x; git commit -q --allow-empty -m x; git mv README.md READ; echo n >new'
	[[ $(jib status a) == "on branch topic/x, started from ${base:0:12}"$'\n1 new commit\nnot committed:\n  R  README.md -> READ\n  A  new' ]]
	[[ $(jib status a --json | json '[[r["branch"], r["commits"], [[f["status"], f["old_path"], f["path"]] for f in r["uncommitted"]]] for r in d["repos"]]') == \
		'[["topic/x", 1, [["R", "README.md", "READ"], ["A", null, "new"]]]]' ]]
	inside a 'git checkout -q --detach'
	[[ $(jib status a) == "HEAD detached at "* ]]
	[[ $(jib status a --json | json 'd["repos"][0]["branch"]') == null ]]
	inside a 'git checkout -q --orphan unborn; git rm -rfq .; echo only >only'
	[[ $(jib status a --repo repo) == "on branch unborn"*"  A  only"* ]]
	jib diff a --name-status | grep -qx $'D\tREADME.md'
	jib persist a
	[[ $(git ls-tree --name-only jib/a/unborn | tr '\n' ' ') == *"only "* ]]
}
