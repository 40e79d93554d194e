# shellcheck shell=bash
# Bad input: the exit status, one clear line on stderr that names the object, a hint where there
# is something to do, and nothing left.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 1
	cd "$T/repo" || return
}

# nothing_left: no sandbox, and nothing half-made
nothing_left() {
	[[ ! -e $JIB_ROOT ]] || [[ -z $(find "$JIB_ROOT" -mindepth 1 -maxdepth 1 ! -name .layers ! -name .tmp) ]]
	[[ ! -e $JIB_ROOT/.tmp ]] || [[ -z $(ls -A "$JIB_ROOT/.tmp") ]]
}

# complains STATUS MESSAGE HINT CMD...: CMD says exactly one line "jib: ...MESSAGE..." and one
# with HINT, or none where HINT is empty. Both are patterns. What a new sandbox starts from does not count.
complains() {
	local status=$1 message=$2 hint=$3 said
	shift 3
	run -"$status" --separate-stderr "$@"
	[[ -z $output ]]
	# shellcheck disable=SC2154 # set by run
	said=$(grep -v ' starts ' <<<"$stderr")
	# shellcheck disable=SC2053 # patterns
	[[ $(head -n 1 <<<"$said") == "jib: "*$message* ]]
	if [[ $hint ]]; then
		# shellcheck disable=SC2053
		[[ $(sed -n 2p <<<"$said") == "     "*$hint* ]]
		[[ $(wc -l <<<"$said") == 2 ]]
	else
		[[ $(wc -l <<<"$said") == 1 ]]
	fi
}

# ---- repositories ----

@test "not a repository" {
	mkdir "$T/plain"
	cd "$T/plain"
	complains 125 "$T/plain is not inside a git repository" "--repo DIR" jib run -- true
	complains 1 "$T/plain is not inside a git repository" "--repo DIR" jib new one
	complains 125 "$T/plain is not inside a git repository" "--repo DIR" jib run --repo "$T/plain" -- true
	nothing_left
	run -1 --separate-stderr jib new one --json
	[[ $(json 'd["error"]["code"]' <<<"$output") == not-a-repository ]]
}

@test "--repo that does not exist, is a file, cannot be entered" {
	complains 125 "$T/none: No such file or directory" "" jib run --repo "$T/none" -- true
	complains 125 "cannot open README.md: Not a directory" "" jib run --repo README.md -- true
	nothing_left
}

@test "a bare repository" {
	git clone -q --bare . "$T/bare.git"
	complains 125 "$T/bare.git is a git directory without a work tree" "worktree add" \
		jib run --repo "$T/bare.git" -- true
	complains 125 "$T/repo/.git is a git directory without a work tree" "worktree add" \
		jib run --repo .git -- true
	nothing_left
}

@test "a repository without commits works: an empty tree on an unborn branch" {
	git init -q "$T/empty"
	cd "$T/empty"
	run -0 --separate-stderr jib run one -- sh -euc '
		git status | head -n 1; ls -A; echo first >file; git add file; git commit -qm first; git log --format=%s'
	[[ $output == $'On branch main\n.git\nfirst' ]]
	[[ $stderr == *"one starts empty: the repository has no commit yet"* ]]
	[[ -z $(git for-each-ref) ]]
	[[ $("$JIB" run one -q -- cat file) == first ]]
}

@test "an unborn branch in a repository with commits" {
	git checkout -q --orphan fresh
	git rm -rqf .
	run -0 --separate-stderr jib run one -- sh -euc 'git symbolic-ref HEAD; ls -A; git log --format=%s -1 main'
	[[ $output == $'refs/heads/fresh\n.git\nsecond line' ]]
}

@test "an unreadable git dir" {
	chmod 0 .git
	if as_root; then # root reads it; what it cannot read is one that is no git dir
		chmod 755 .git
		mv .git/HEAD .git/NO-HEAD
		complains 125 "$T/repo is not inside a git repository" "--repo DIR" jib run -- true
	else
		complains 125 "cannot read the git directory $T/repo/.git: Permission denied" "" \
			jib run -- true
		chmod 755 .git
	fi
	nothing_left
}

@test "a .git file that leads nowhere, and one that is rubbish" {
	mkdir "$T/lost"
	echo "gitdir: $T/none" >"$T/lost/.git"
	complains 125 "$T/lost/.git does not lead to a git directory: No such file" "" \
		jib run --repo "$T/lost" -- true
	echo rubbish >"$T/lost/.git"
	complains 125 "$T/lost/.git does not lead to a git directory" "" \
		jib run --repo "$T/lost" -- true
	nothing_left
}

@test "a damaged repository: HEAD that names no commit, and a missing tree" {
	local tree
	tree=$(git rev-parse 'HEAD^{tree}')
	git checkout -q --detach
	cp .git/HEAD "$T/HEAD"
	echo 1111111111111111111111111111111111111111 >.git/HEAD
	complains 125 "git cannot read the repository $T/repo" "" jib run -- true
	cp "$T/HEAD" .git/HEAD
	rm -f ".git/objects/${tree:0:2}/${tree:2}"
	run -125 --separate-stderr jib run -- true
	[[ $stderr == *"jib: "* && $stderr == *"$tree"* || $stderr == *"$T/repo"* ]]
	nothing_left
}

@test "a repository that belongs to somebody else" {
	if as_root; then
		chown -R 65534:65534 "$T/repo"
		complains 125 "the repository $T/repo belongs to somebody else" \
			"git config --global --add safe.directory" jib run -- true
		nothing_left
		git config --global --add safe.directory "$T/repo"
		run -0 jib run -q --rm -- cat README.md
		[[ $output == $'one\ntwo' ]]
	else
		# Without root there is nobody to give it to: git is made to take the owner for another.
		mkdir "$T/bin"
		printf '#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec %s "$@"\n' "$(command -v git)" >"$T/bin/git"
		chmod 755 "$T/bin/git"
		PATH=$T/bin:$PATH complains 125 "the repository $T/repo belongs to somebody else" \
			"git config --global --add safe.directory" jib run -- true
		nothing_left
	fi
}

# ---- names ----

@test "NAMEs that are none: for run, new, exec, show, rm, stop" {
	local long each command
	long=$(printf 'n%.0s' {1..300})
	for each in a/b .. . ../up .hidden 'a b' $'a\nb' $'a\x1b[31mb' 'ä' '' "$long" '*'; do
		for command in run new exec show rm stop logs attach; do
			run --separate-stderr jib "$command" "$each" $([[ $command == exec ]] && echo -- true)
			case $command in
			run | exec | attach) ((status == 125)) ;;
			*) ((status == 1)) ;;
			esac
			[[ $stderr == *"sandbox name"* || $stderr == *"a sandbox needs a name, this one is empty"* ]]
			# What a terminal would obey is never printed.
			[[ $stderr != *$'\x1b'* ]]
			[[ $(wc -l <<<"$stderr") == 2 ]]
		done
	done
	complains 125 '"a/b" is no sandbox name: it contains a slash' "use letters, digits" jib run a/b
	complains 125 '".." is no sandbox name' "use letters, digits" jib run ..
	complains 125 "a sandbox name has at most * characters, this one 300" "use letters" jib run "$long"
	nothing_left
}

@test "a NAME with a leading dash is an option, or after -- no name" {
	complains 125 'has no option -x' "jib run --help" jib run -x
	complains 2 'has no option -x' "jib new --help" jib new -x
	complains 1 '"-x" is no sandbox name: it does not begin with a letter or a digit' "use letters" jib new -- -x
	nothing_left
}

# ---- options and commands ----

@test "an unknown command and unknown options" {
	complains 2 'there is no command "frob"' "jib --help" jib frob
	complains 2 'there is no command "--frob"' "jib --help" jib --frob
	complains 125 '`jib run` has no option --frob' "jib run --help" jib run --frob
	complains 125 '`jib exec` has no option --frob' "jib exec --help" jib exec one --frob -- true
	complains 2 '`jib ls` has no option --frob' "jib ls --help" jib ls --frob
	complains 2 '`jib rm` has no option -z' "jib rm --help" jib rm -fz one
	nothing_left
}

@test "an option without its value, and a value where none belongs" {
	complains 125 "--repo needs a value: --repo DIR" "" jib run --repo
	complains 125 "--env needs a value" "" jib run -e
	complains 2 "--layout needs a value" "" jib new one --layout
	complains 125 "--rm takes no value" "" jib run --rm=yes
	complains 2 "--json takes no value" "" jib ls --json=1
	nothing_left
}

@test "too few and too many words" {
	complains 2 '`jib new` needs more: jib new NAME' "jib new --help" jib new
	complains 2 '`jib rm` needs more' "jib rm --help" jib rm
	complains 125 '`jib run` does not know what to do with "true"' "after \`--\`" jib run one true
	complains 2 '`jib ls` does not know what to do with "one"' "jib ls --help" jib ls one
	nothing_left
}

@test "-- without a command, and an empty command" {
	complains 125 'there is no command after `--`' "" jib run --
	complains 125 'there is no command after `--`' "" jib run one --
	complains 125 "the command is empty" "" jib run -- ""
	nothing_left
	jib new one
	complains 125 'there is no command after `--`' "" jib run one --
	[[ $("$JIB" ls --json | json 'len(d)') == 1 ]]
}

@test "a command that does not exist, is not executable, has no interpreter" {
	complains 127 "cannot run no-such: No such file or directory" "" jib run -- no-such
	complains 126 "cannot run ./README.md: Permission denied" "" jib run -- ./README.md
	printf '#!/no/interpreter\n' >bad.sh
	chmod 755 bad.sh
	git add bad.sh
	git commit -qm bad
	complains 127 "cannot run ./bad.sh: No such file or directory" "" jib run -- ./bad.sh
	nothing_left
}

@test "limits that are none" {
	complains 125 '--memory: "lots" is not a limit' "" jib run --memory lots -- true
	complains 125 '--pids: "-1" is not a limit' "" jib run --pids -1 -- true
	complains 125 '--cpus: "none" is not a limit' "" jib run --cpus none -- true
	nothing_left
}

@test "control characters of the caller are not printed" {
	run -125 --separate-stderr jib run --repo $'/no/\x1b]0;title\x07' -- true
	[[ $stderr == *"No such file"* && $stderr != *$'\x1b'* && $stderr != *$'\x07'* ]]
	run -2 --separate-stderr jib $'fr\x1bob'
	[[ $stderr != *$'\x1b'* ]]
	run -127 --separate-stderr jib run -- $'no\x1bsuch'
	[[ $stderr != *$'\x1b'* ]]
}

@test "standard input that is a directory" {
	complains 125 "standard input is a directory" "--bind DIR" \
		bash -c '"$JIB" run -- true <"$T/repo"'
	nothing_left
}

# ---- the store ----

@test "JIB_ROOT relative, HOME unset, both unset" {
	complains 125 'JIB_ROOT is "relative/path", not an absolute path' "" \
		env JIB_ROOT=relative/path "$JIB" run -- true
	complains 1 'JIB_ROOT is "relative/path"' "" env JIB_ROOT=relative/path "$JIB" ls
	[[ ! -e relative ]]
	complains 125 "neither JIB_ROOT nor HOME names a directory" "set JIB_ROOT" \
		env -u JIB_ROOT -u HOME "$JIB" run -- true
	complains 125 "neither JIB_ROOT nor HOME names a directory" "set JIB_ROOT" \
		env -u JIB_ROOT HOME=relative "$JIB" run -- true
}

@test "HOME unset with JIB_ROOT set: the home inside is /home/jib" {
	run -0 env -u HOME GIT_CONFIG_GLOBAL="$HOME/.gitconfig" "$JIB" run -q --rm -- sh -c 'echo "$HOME"; touch ~/works'
	[[ $output == /home/jib ]]
}

@test "without JIB_ROOT the store is ~/.jib-overlays, for its owner alone" {
	run -0 env -u JIB_ROOT "$JIB" new one
	[[ -f ~/.jib-overlays/one/sandbox.json ]]
	[[ $(stat -c %a ~/.jib-overlays) == 700 ]]
}

@test "JIB_ROOT that cannot be made, is a file, or is somebody else's" {
	touch "$T/file"
	JIB_ROOT=$T/none/deep complains 125 "$T/none/deep: No such file or directory" "set JIB_ROOT" jib run -- true
	JIB_ROOT=$T/file complains 125 "$T/file: Not a directory" "" jib run -- true
	mkdir "$T/closed"
	chmod 500 "$T/closed"
	if as_root; then
		chown 65534 "$T/closed"
		JIB_ROOT=$T/closed complains 125 "$T/closed belongs to somebody else" "of your own" jib run -- true
		[[ -z $(ls -A "$T/closed") && $(stat -c %a "$T/closed") == 500 ]]
	else
		JIB_ROOT=$T/closed/store complains 125 "cannot create $T/closed/store: Permission denied" \
			"that you can write" jib run -- true
		JIB_ROOT=/proc complains 125 "/proc belongs to somebody else" "of your own" jib run -- true
	fi
}

@test "JIB_ROOT that holds other things is not made private, and nothing in it is a sandbox" {
	mkdir "$T/mine"
	chmod 755 "$T/mine"
	mkdir "$T/mine/documents"
	JIB_ROOT=$T/mine complains 125 "$T/mine holds other things than sandboxes" "new or empty" jib run -- true
	JIB_ROOT=$T/mine complains 1 "$T/mine holds other things than sandboxes" "new or empty" jib rm --force documents
	[[ $(stat -c %a "$T/mine") == 755 && $(ls -A "$T/mine") == documents ]]
	rmdir "$T/mine/documents"
	JIB_ROOT=$T/mine run -0 jib new one
	[[ $(stat -c %a "$T/mine") == 700 ]]
}

@test "JIB_ROOT on a file system that cannot hold an upper: says which and why" {
	mkdir "$T/fs"
	if as_root; then
		# shellcheck disable=SC2016 # for the inner shell
		complains 125 "$T/fs/store cannot hold sandboxes: this file system (ramfs) cannot hold*attributes" \
			"set JIB_ROOT to a directory on ext4, xfs or btrfs" \
			unshare -m sh -euc 'mount -t ramfs none "$T/fs"; JIB_ROOT=$T/fs/store exec "$JIB" run -- true'
	else
		# What an ordinary user has that holds no upper is his own directory in /proc.
		JIB_ROOT=/proc/self/task/store complains 125 "cannot create /proc/self/task/store" \
			"that you can write" jib run -- true
	fi
	[[ -z $(ls -A "$T/fs") ]]
	nothing_left
}

@test "JIB_ROOT on a read-only file system" {
	mkdir "$T/fs"
	if as_root; then
		# shellcheck disable=SC2016
		complains 125 "cannot create $T/fs/store: Read-only file system" "that you can write" \
			unshare -m sh -euc 'mount -t tmpfs -o ro none "$T/fs"; JIB_ROOT=$T/fs/store exec "$JIB" run -- true'
	else
		JIB_ROOT=/usr/jib-store complains 125 "cannot create /usr/jib-store: Permission denied" \
			"that you can write" jib run -- true
	fi
	nothing_left
}

# ---- two at once ----

@test "two run of the same new NAME at once: both work, or one says why" {
	local i pids=() statuses=(0 0) status
	for i in 1 2; do
		"$JIB" run same -q -- sh -c "echo $i >made-$i; cat >/dev/null; echo ran-$i" \
			</dev/null >"$T/out-$i" 2>"$T/err-$i" 3>&- &
		pids+=($!)
	done
	# Both first: one that is looked into meanwhile ends with the other.
	for i in 0 1; do
		wait "${pids[i]}" || statuses[i]=$?
	done
	for i in 1 2; do
		status=${statuses[i - 1]}
		if ((status == 0)); then
			[[ $(<"$T/out-$i") == "ran-$i" ]]
			[[ $("$JIB" run same -q -- cat "made-$i") == "$i" ]]
		else
			# The one that was joined may have ended meanwhile, and everything with it.
			((status == 125 || status == 137))
			[[ $status == 137 || $(<"$T/err-$i") == "jib: "*same* ]]
		fi
	done
	[[ $(cat "$T"/out-?) == *ran-* ]]
	[[ $("$JIB" ls --json | json '[each["name"] for each in d]') == '["same"]' ]]
	[[ -z $(ls -A "$JIB_ROOT/.tmp") ]]
}

@test "the second run of a NAME that runs joins it" {
	mkfifo "$T/go"
	"$JIB" run same -q --bind "$T/go:/go" -- sh -c 'echo a >/tmp/a; echo ready; read word </go' \
		>"$T/out" </dev/null 3>&- &
	wait_for grep -q ready "$T/out"
	[[ $("$JIB" run same -q -- cat /tmp/a) == a ]]
	echo word >"$T/go"
	wait $!
}
