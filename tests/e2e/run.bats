# shellcheck shell=bash
# jib run: the sandbox's life, the command's streams, signals and status, and what it is given.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 3
	cd "$T/repo" || return
}

names() {
	"$JIB" ls --json | json '" ".join(each["name"] for each in d)'
}

# inside [OPTION...] -- CMD...: in a sandbox that is gone afterwards
inside() {
	"$JIB" run -q --rm "$@" </dev/null
}

# fails_125 WORDS CMD...: CMD fails as jib itself does, and says WORDS on stderr
fails_125() {
	local words=$1
	shift
	run -125 --separate-stderr "$@"
	[[ -z $output ]]
	# shellcheck disable=SC2154 # set by run
	[[ $stderr == *"$words"* ]]
}

# ---- the sandbox's life ----

@test "without a NAME one is invented: the repository's and four letters" {
	run -0 --separate-stderr jib run -- sh -c 'echo change >new; echo "$JIB_SANDBOX"'
	[[ $output =~ ^repo-[a-z]{4}$ ]]
	[[ $(names) == "$output" ]]
}

@test "with a NAME the sandbox has it, and reopening it keeps its files" {
	jib run one -- sh -c 'echo change >new; git add new; git commit -qm inside'
	[[ $(names) == one ]]
	[[ ! -e new ]]
	run -0 --separate-stderr jib run one -- sh -c 'cat new; git log -1 --format=%s'
	[[ $output == $'change\ninside' ]]
	[[ $(git log -1 --format=%s) == "second line" ]]
}

@test "--rm discards a sandbox with changes" {
	run -0 --separate-stderr jib run one --rm -- sh -c 'echo change >new'
	[[ -z $output ]]
	[[ $(names) == "" ]]
	[[ -z $(ls "$JIB_ROOT/.tmp") ]]
}

@test "--rm discards an existing sandbox, and also when the command fails" {
	jib new one
	run -3 --separate-stderr jib run one --rm -- sh -c 'exit 3'
	[[ $(names) == "" ]]
	run -137 --separate-stderr jib run two --rm -- sh -c 'kill -KILL $$'
	[[ $(names) == "" ]]
}

@test "an unchanged sandbox is deleted by itself, which stderr says" {
	run -0 --separate-stderr jib run one -- true
	[[ -z $output ]]
	[[ $stderr == *"nothing was changed: one is gone"* ]]
	[[ $(names) == "" ]]
	[[ ! -e $JIB_ROOT/one ]]
}

@test "a sandbox that was there before is kept although nothing was changed" {
	jib new one
	jib run one -- true
	[[ $(names) == one ]]
}

@test "a changed sandbox is kept: one line on stderr says what changed, how to see and drop it" {
	run -0 --separate-stderr jib run one -- sh -c 'echo a >new; rm README.md'
	[[ -z $output ]]
	[[ $(grep -c kept <<<"$stderr") == 1 ]]
	[[ $(grep kept <<<"$stderr") == *"one (2 files of the work tree changed)"* ]]
	[[ $(grep kept <<<"$stderr") == *"jib show one"*"jib run one"*"jib rm --force one"* ]]
}

@test "a change in the git dir or the home alone is a change too" {
	jib run git -- git branch other
	jib run home -- sh -c 'echo a >~/note'
	[[ $(names) == "git home" ]]
}

@test "stdout carries only what the command printed, stderr its own beside jib's" {
	run -0 --separate-stderr jib run one -- sh -c 'echo out; echo err >&2; echo change >new'
	[[ $output == out ]]
	[[ $(grep -v '^jib: ' <<<"$stderr") == err ]]
	run -0 --separate-stderr jib run one -q -- sh -c 'echo out; echo err >&2'
	[[ $output == out ]]
	[[ $stderr == err ]]
}

@test "it says from what it starts, and whether clean" {
	echo dirty >>README.md
	run -0 --separate-stderr jib run --rm -- cat README.md
	[[ $output == $'one\ntwo\ndirty' ]]
	[[ $stderr == *"starts from $(git rev-parse --short=12 HEAD) on main, with what is not committed"* ]]
	run -0 --separate-stderr jib run --rm --clean -- cat README.md
	[[ $output == $'one\ntwo' ]]
	[[ $stderr == *"starts from $(git rev-parse --short=12 HEAD) on main, clean"* ]]
}

# ---- where ----

@test "the directory is the same as outside, a subdirectory too" {
	[[ $(inside -- pwd) == "$T/repo" ]]
	cd src/lib
	[[ $(inside -- pwd) == "$T/repo/src/lib" ]]
	[[ $(inside -- cat lib.h) == "int lib(void);" ]]
}

@test "a directory that only the host has: the repository's top instead" {
	mkdir untracked
	cd untracked
	[[ $(inside -- pwd) == "$T/repo" ]]
}

@test "reopened from elsewhere: the repository's top" {
	jib new one
	cd /
	[[ $("$JIB" run one -q -- pwd) == "$T/repo" ]]
}

@test "--repo, several times: each at its own path, the first is where it starts" {
	make_repo "$T/other" 1
	cd /
	run -0 jib run one -q --repo "$T/repo" --repo "$T/other/src" -- sh -c "
		pwd
		git log -1 --format=%s
		cd '$T/other'
		git rev-parse --show-toplevel
		echo change >new"
	[[ $output == "$T/repo"$'\nsecond line\n'"$T/other" ]]
	[[ $("$JIB" show one --json | json '[each["name"] for each in d["repos"]]') == '["repo", "other"]' ]]
	[[ ! -e $T/other/new ]]
	[[ $("$JIB" run one -q -- cat "$T/other/new") == change ]]
}

@test "two repositories with the same basename have a view each" {
	make_repo "$T/deep/repo" 1
	echo deep >"$T/deep/repo/README.md"
	git -C "$T/deep/repo" commit -qam deep
	run -0 jib run one -q --repo "$T/repo" --repo "$T/deep/repo" -- sh -c "
		tail -n 1 README.md; cat '$T/deep/repo/README.md'
		echo a >new-a; cd '$T/deep/repo'; echo b >new-b; git add .; git commit -qm b"
	[[ $output == $'two\ndeep' ]]
	run -0 jib run one -q -- sh -c "ls; echo; ls '$T/deep/repo'; git -C '$T/deep/repo' fsck"
	[[ $output == *new-a*$'\n\n'*new-b* ]]
	[[ ${output%%$'\n\n'*} != *new-b* ]]
}

@test "the same repository named twice is refused" {
	fails_125 "$T/repo is named twice" jib run --repo . --repo src -- true
	[[ $(names) == "" ]]
}

@test "--repo of an existing sandbox is refused, not ignored" {
	jib new one
	fails_125 "--repo decides how a sandbox is made, and one exists already" \
		jib run one --repo . -- true
}

# ---- exit statuses ----

@test "the exit status is the command's: 0, 1, 42" {
	run -0 jib run -q --rm -- true
	run -1 jib run -q --rm -- false
	run -42 jib run -q --rm -- sh -c 'exit 42'
}

@test "a command that does not exist: 127, its name, and nothing is left" {
	run -127 --separate-stderr jib run -- no-such-command
	[[ -z $output ]]
	[[ $stderr == *"cannot run no-such-command: No such file or directory"* ]]
	run -127 jib run -- ./no-such-file
	[[ $(names) == "" ]]
}

@test "a command that is not executable: 126, its name, and nothing is left" {
	run -126 --separate-stderr jib run -- ./README.md
	[[ $stderr == *"cannot run ./README.md: Permission denied"* ]]
	run -126 jib run -- ./src
	[[ $(names) == "" ]]
}

@test "a command that is missing in an existing sandbox leaves that as it is" {
	jib new one
	run -127 jib run one -- no-such-command
	run -127 jib run one --detach -- no-such-command
	[[ $(names) == one ]]
	run -0 jib run one -- true
}

@test "killed by a signal: 128 and its number" {
	run -137 jib run -q --rm -- sh -c 'kill -KILL $$'
	run -143 jib run -q --rm -- sh -c 'kill -TERM $$'
	run -134 jib run -q --rm -- sh -c 'ulimit -c 0; kill -ABRT $$'
}

@test "a killed command's sandbox is kept even without changes" {
	run -137 jib run one -q -- sh -c 'kill -KILL $$'
	[[ $(names) == one ]]
}

@test "the sandbox ends with its command, whatever runs in the background" {
	run -0 jib run one -q -- sh -c 'echo change >new; sleep 1000 >/dev/null 2>&1 & echo done'
	[[ $output == "done" ]]
	[[ $("$JIB" show one --json | json 'd["state"]') == stopped ]]
}

# ---- pipes ----

@test "stdin, stdout and stderr are the caller's, byte for byte" {
	head -c 3000000 /dev/urandom >"$T/bytes"
	"$JIB" run -q --rm -- sh -c 'tee /dev/stderr' <"$T/bytes" >"$T/out" 2>"$T/err"
	cmp "$T/bytes" "$T/out"
	cmp "$T/bytes" "$T/err"
}

@test "binary data through pipes on both sides" {
	head -c 3000000 /dev/urandom >"$T/bytes"
	# shellcheck disable=SC2002 # a pipe is what is tested
	cat "$T/bytes" | "$JIB" run -q --rm -- cat | cat >"$T/out"
	cmp "$T/bytes" "$T/out"
}

@test "the command sees the end of stdin, and an empty stdin" {
	[[ $(printf 'a\nb' | "$JIB" run -q --rm -- wc -c) == 3 ]]
	[[ $("$JIB" run -q --rm -- wc -c </dev/null) == 0 ]]
}

@test "closed stdin, stdout and stderr are no harm" {
	"$JIB" run one -q -- sh -c 'cat >copy; echo status $? >>copy' <&-
	[[ $("$JIB" run one -q -- cat copy) == "status 0" ]]
	"$JIB" run one -q -- sh -c 'echo ran >copy' >&- 2>&-
	[[ $("$JIB" run one -q -- cat copy) == ran ]]
}

@test "when the reader of stdout goes, the command gets SIGPIPE" {
	# shellcheck disable=SC2016 # for the inner shell
	run -141 bash -c '"$JIB" run -q --rm -- yes | head -n 1; exit "${PIPESTATUS[0]}"'
	[[ $output == y ]]
}

@test "stdin, stdout and stderr are no terminals when the caller's are none" {
	run -0 jib run -q --rm -- sh -c 'for fd in 0 1 2; do test -t $fd && echo $fd; done; echo end'
	[[ $output == end ]]
}

# ---- signals ----

# ended_with STATUS PID: waits for a process of this shell
ended_with() {
	local status=0
	wait "$2" || status=$?
	((status == $1))
}

@test "INT, TERM, QUIT and HUP reach the command, whose own traps run" {
	local each number=40 pid
	for each in INT TERM QUIT HUP; do
		# A background job of this shell would ignore INT and QUIT; python3 resets them.
		python3 -c '
import os, signal, sys
for each in signal.SIGINT, signal.SIGQUIT:
    signal.signal(each, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$JIB" run "s-$each" -q -- sh -c "
			trap 'echo $each >got; exit $number' $each
			echo >>ready; echo ready
			while :; do sleep 0.05; done" >"$T/out-$each" 2>"$T/err-$each" 3>&- &
		pid=$!
		wait_for grep -q ready "$T/out-$each"
		kill -s "$each" "$pid"
		ended_with "$number" "$pid"
		[[ $("$JIB" run "s-$each" -q -- cat got) == "$each" ]]
	done
}

@test "a signal without a trap: the status says so" {
	"$JIB" run one -q -- sh -c 'echo ready; exec sleep 1000' >"$T/out" 3>&- &
	local pid=$!
	wait_for grep -q ready "$T/out"
	kill -TERM "$pid"
	ended_with 143 "$pid"
	[[ $("$JIB" show one --json | json 'd["state"]') == stopped ]]
}

# ---- configuration ----

@test "jib.env in the user's, the repository's and jib's own file: the nearer wins" {
	mkdir -p ~/.config/jib
	git config -f ~/.config/jib/config jib.env PLACE=own
	[[ $(inside -- sh -c 'echo $PLACE') == own ]]
	git config --global jib.env PLACE=user
	[[ $(inside -- sh -c 'echo $PLACE') == user ]]
	git config jib.env PLACE=repository
	[[ $(inside -- sh -c 'echo $PLACE') == repository ]]
	[[ $(inside --env PLACE=option -- sh -c 'echo $PLACE') == option ]]
}

@test "jib.layout and jib.live: file, user, repository, option" {
	mkdir -p ~/.config/jib
	git config -f ~/.config/jib/config jib.layout jib
	[[ $(inside -- pwd) == /home/jib/repos/repo ]]
	git config --global jib.layout host
	[[ $(inside -- pwd) == "$T/repo" ]]
	git config jib.layout jib
	[[ $(inside -- pwd) == /home/jib/repos/repo ]]
	[[ $(inside --layout host -- pwd) == "$T/repo" ]]
	git config jib.live true
	echo dirty >>README.md
	[[ $(inside -- tail -n 1 README.md) == dirty ]]
}

@test "jib's own file is found through XDG_CONFIG_HOME too" {
	mkdir -p "$T/xdg/jib"
	git config -f "$T/xdg/jib/config" jib.env PLACE=xdg
	[[ $(XDG_CONFIG_HOME=$T/xdg inside -- sh -c 'echo $PLACE') == xdg ]]
}

@test "jib.bind adds to --bind" {
	mkdir "$T/a" "$T/b"
	git config --global jib.bind "$T/a:/mnt/a"
	run -0 inside --bind "$T/b:/mnt/b" -- ls /mnt
	[[ $output == $'a\nb' ]]
}

@test "a bad value is an error that names its key, and leaves nothing" {
	git config jib.bind relative:rel
	fails_125 "jib.bind" jib run -- true
	git config --unset jib.bind
	git config jib.live perhaps
	fails_125 "jib.live is \"perhaps\", which is neither true nor false" jib run -- true
	git config --unset jib.live
	git config jib.layout sideways
	fails_125 '"sideways"' jib run -- true
	git config --unset jib.layout
	git config jib.net moon
	fails_125 '"moon"' jib run -- true
	[[ $(names) == "" ]]
}

@test "a configuration that git cannot read is an error that says where" {
	printf '[jib\n' >>.git/config
	fails_125 "config" jib run -- true
	[[ $(names) == "" ]]
}

# ---- environment ----

@test "the environment is an allowlist" {
	export SECRET=hidden AWS_SECRET_ACCESS_KEY=hidden SSH_AUTH_SOCK=/hidden GIT_DIR_X=hidden
	export LC_TIME=C TZ=Europe/Berlin COLORTERM=truecolor TERM=vt100 LANG=C.UTF-8
	run -0 inside -- env
	[[ $output != *hidden* ]]
	[[ $output == *TZ=Europe/Berlin* ]]
	[[ $(cut -d= -f1 <<<"$output" | LC_ALL=C sort | xargs) == \
		"COLORTERM HOME JIB_SANDBOX LANG LC_TIME LOGNAME PATH SHELL TERM TZ USER" ]]
}

@test "--env sets a variable, passes one on, and refuses one that is not there" {
	export PASSED='a value = with "all"'
	[[ $(inside --env PASSED -e SET=x=y --env EMPTY= -- sh -c 'echo "$PASSED|$SET|${EMPTY-unset}"') == \
		"$PASSED|x=y|" ]]
	fails_125 "--env MISSING: there is no such variable to pass on" \
		jib run --env MISSING -- true
	fails_125 "no name before" jib run --env =x -- true
	[[ $(names) == "" ]]
}

@test "SHELL is what runs without a command" {
	[[ $(echo 'echo "I am $0"' | SHELL=/bin/bash "$JIB" run -q --rm) == "I am /bin/bash" ]]
	[[ $(echo 'echo "I am $0"' | SHELL=/bin/sh "$JIB" run -q --rm) == "I am /bin/sh" ]]
	# One that the sandbox does not see is no shell.
	[[ $(echo 'echo "I am $0"' | SHELL=$T/mine "$JIB" run -q --rm) == "I am /bin/sh" ]]
}

# ---- --bind ----

@test "--bind: read-only by default, :ro, :rw, DST, a single file" {
	mkdir "$T/data"
	echo data >"$T/data/file"
	[[ $(inside --bind "$T/data" -- cat "$T/data/file") == data ]]
	run ! inside --bind "$T/data" -- sh -c "echo x >'$T/data/file'"
	run ! inside --bind "$T/data:ro" -- touch "$T/data/new"
	run ! inside --bind "$T/data:/mnt/data:ro" -- touch /mnt/data/new
	[[ $(inside --bind "$T/data:/mnt/data" -- ls /mnt/data) == file ]]
	inside --bind "$T/data:/mnt/data:rw" -- sh -c 'echo new >/mnt/data/new'
	[[ $(<"$T/data/new") == new ]]
	[[ $(<"$T/data/file") == data ]]
	[[ $(inside --bind "$T/data/file:/mnt/deep/one" -- cat /mnt/deep/one) == data ]]
	run ! inside --bind "$T/data/file:/mnt/one" -- sh -c 'echo x >/mnt/one'
	inside --bind "$T/data/file:/mnt/one:rw" -- sh -c 'echo changed >/mnt/one'
	[[ $(<"$T/data/file") == changed ]]
}

@test "--bind of a symlink shows what it leads to" {
	mkdir "$T/data"
	echo data >"$T/data/file"
	ln -s data "$T/way"
	[[ $(inside --bind "$T/way:/mnt/way" -- cat /mnt/way/file) == data ]]
}

@test "--bind refuses the store and what is in it" {
	jib new one
	fails_125 "the store $JIB_ROOT is never visible" jib run --bind "$JIB_ROOT:/mnt" -- true
	fails_125 "the store $JIB_ROOT is never visible" jib run --bind "$JIB_ROOT/one:/mnt" -- true
	fails_125 "the store $JIB_ROOT is never visible" jib run --bind "$T:/mnt:rw" -- true
	ln -s "$JIB_ROOT" "$T/way"
	fails_125 "the store $JIB_ROOT is never visible" jib run --bind "$T/way:/mnt" -- true
	[[ $(names) == one ]]
}

@test "--bind refuses to make the host repository writable, above and below it too" {
	mkdir "$T/up" && mv "$T/repo" "$T/up/repo" && cd "$T/up/repo"
	local each
	for each in "$T/up/repo" "$T/up/repo/.git" "$T/up/repo/src" "$T/up"; do
		fails_125 "would let the sandbox write the host repository $T/up/repo" \
			jib run --bind "$each:/mnt:rw" -- true
	done
	[[ $(names) == "" ]]
	[[ $(inside --bind "$T/up/repo:/mnt" -- cat /mnt/README.md) == $'one\ntwo' ]]
	run ! inside --bind "$T/up/repo:/mnt" -- touch /mnt/new
	[[ ! -e new ]]
}

@test "--bind refuses to make a git dir that lies elsewhere writable" {
	mkdir "$T/gits"
	git clone -q --separate-git-dir "$T/gits/one" . "$T/separate"
	git worktree add -q "$T/linked"
	fails_125 "would let the sandbox write" \
		jib run --repo "$T/separate" --bind "$T/gits:/mnt:rw" -- true
	fails_125 "would let the sandbox write" \
		jib run --repo "$T/linked" --bind "$T/repo/.git:/mnt:rw" -- true
	[[ $(names) == "" ]]
}

@test "--bind refuses a target in a repository" {
	mkdir "$T/data"
	echo data >"$T/data/file"
	local each
	for each in "$T/data/file:$T/repo/new" "$T/data:$T/repo/src" "$T/data:$T/repo:rw"; do
		fails_125 "lies in a repository of the sandbox" jib run --bind "$each" -- true
	done
	fails_125 "lies in a repository of the sandbox" \
		jib run --layout jib --bind "$T/data:/home/jib/.git/repo/x" -- true
	[[ $(names) == "" ]]
	[[ $(inside --bind "$T/data/file:$T/repository" -- cat "$T/repository") == data ]]
}

@test "--bind refuses the sandbox's own places and what cannot be meant" {
	mkdir "$T/data"
	fails_125 "/proc is the sandbox's own" jib run --bind "$T/data:/proc" -- true
	fails_125 "/proc/sys is the sandbox's own" jib run --bind "$T/data:/proc/sys" -- true
	fails_125 "/dev is the sandbox's own" jib run --bind "$T/data:/dev" -- true
	fails_125 "the root itself cannot be replaced" jib run --bind "$T/data:/" -- true
	fails_125 "--bind $T/none: No such file" jib run --bind "$T/none" -- true
	fails_125 "not an absolute path" jib run --bind "$T/data:rel" -- true
	fails_125 "neither ro nor rw" jib run --bind "$T/data:/mnt:wr" -- true
	fails_125 'too many `:`' jib run --bind "$T/data:/a:/b:rw" -- true
	[[ $(names) == "" ]]
}

@test "--bind refuses the host's /proc as a source" {
	fails_125 "/proc" jib run --bind /proc:/mnt -- true
	[[ $(names) == "" ]]
}

# ---- network ----

@test "--net none, the default: loopback and nothing else" {
	[[ $(inside -- python3 -c 'import socket; print([n for _, n in socket.if_nameindex()])') == "['lo']" ]]
	[[ $(inside --net none -- python3 -c '
import socket
s = socket.create_server(("127.0.0.1", 0))
socket.create_connection(s.getsockname())
print("works")') == works ]]
}

# listen: a server on the host's 127.0.0.1; its port goes to $T/port
listen() {
	python3 -c '
import os, socket, sys
s = socket.create_server(("127.0.0.1", 0))
with open(sys.argv[1] + ".new", "w") as f:
    print(s.getsockname()[1], file=f)
os.rename(sys.argv[1] + ".new", sys.argv[1])
while True:
    s.accept()[0].sendall(b"from the host")' "$T/port" 3>&- &
	listener=$!
	wait_for test -e "$T/port"
}

@test "--net host reaches a listener on the host's 127.0.0.1, --net none does not" {
	listen
	local get='import socket, sys
print(socket.create_connection(("127.0.0.1", int(sys.argv[1]))).recv(100).decode())'
	[[ $(inside --net host -- python3 -c "$get" "$(<"$T/port")") == "from the host" ]]
	run -1 inside -- python3 -c "$get" "$(<"$T/port")"
	[[ $output == *ConnectionRefusedError* ]]
	git config jib.net host
	[[ $(inside -- python3 -c "$get" "$(<"$T/port")") == "from the host" ]]
	run -1 inside --net none -- python3 -c "$get" "$(<"$T/port")"
	kill "$listener"
}

@test "another network is refused by its name" {
	fails_125 'not "moon"' jib run --net moon -- true
	[[ $(names) == "" ]]
}

# ---- home and identity ----

@test "the home is private and kept, at the path of the caller's own" {
	echo mine >~/private
	run -0 jib run one -q -- sh -c 'echo "$HOME"; ls -A ~; echo kept >~/kept'
	[[ $output == "$HOME" ]]
	[[ $("$JIB" run one -q -- cat "$HOME/kept") == kept ]]
	[[ ! -e ~/kept ]]
	[[ $(jib run two -q --rm -- ls -A "$HOME") == "" ]]
}

@test "/tmp is private and not kept" {
	echo mine >"/tmp/jib-test-$$"
	run -0 jib run one -q -- sh -c 'ls -A /tmp; echo a >/tmp/a; echo change >new'
	rm "/tmp/jib-test-$$"
	[[ -z $output ]]
	[[ $("$JIB" run one -q -- ls -A /tmp) == "" ]]
}

@test "commits inside have the host's identity" {
	git config --global user.name "Jürgen \"J\" O'Neil"
	run -0 jib run one -q -- sh -c 'git commit -q --allow-empty -m inside; git log -1 --format="%an <%ae> %cn"'
	[[ $output == "Jürgen \"J\" O'Neil <tester@example.com> Jürgen \"J\" O'Neil" ]]
}

@test "the repository's own identity wins over the user's" {
	git config user.email repository@example.com
	run -0 inside -- sh -c 'git commit -q --allow-empty -m inside; git log -1 --format=%ae'
	[[ $output == repository@example.com ]]
}

@test "the uid, gid and account name are the caller's" {
	run -0 inside -- sh -c 'id -u; id -g; id -un; stat -c %U README.md'
	[[ $output == "$(id -u; id -g; id -un; id -un)" ]]
}
