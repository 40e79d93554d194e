# shellcheck shell=bash
# What runs in the background: run -d, logs, attach, exec, stop.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 1
	cd "$T/repo" || return
	export SHELL=/bin/sh
}

# detach NAME SCRIPT: starts it
detach() {
	"$JIB" run "$1" -q -d -- sh -c "$2" </dev/null 3>&-
}

state_of() {
	"$JIB" show "$1" --json | json 'd["state"]'
}

is_state() {
	[[ $(state_of "$1") == "$2" ]]
}

user() {
	{
		echo "from terminal import *"
		cat
	} | PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$BATS_TEST_DIRNAME/src timeout 60 python3 -
}

ended_with() {
	local status=0
	wait "$2" || status=$?
	((status == $1))
}

in_log() {
	"$JIB" logs "$1" | grep -q "$2"
}

@test "run -d prints the name, returns while it runs, and the command goes on" {
	run -0 --separate-stderr detach one 'echo begun; exec sleep 1000'
	[[ $output == one ]]
	[[ $(state_of one) == running ]]
	[[ $("$JIB" exec one -- echo inside) == inside ]]
	jib stop one
	[[ $(state_of one) == stopped ]]
}

@test "run -d without NAME prints the one that was invented" {
	run -0 --separate-stderr jib run -q -d -- sleep 1000 3>&-
	[[ $output =~ ^repo-[a-z]{4}$ ]]
	[[ $(state_of "$output") == running ]]
}

@test "run -d of a command that cannot run: 127, 126, and nothing is left" {
	run -127 --separate-stderr jib run one -d -- no-such-command
	[[ -z $output ]]
	[[ $stderr == *"cannot run no-such-command: No such file or directory"* ]]
	run -126 --separate-stderr jib run one -d -- ./README.md
	[[ $stderr == *"cannot run ./README.md: Permission denied"* ]]
	[[ $("$JIB" ls --json) == "[]" ]]
}

@test "run -d does not keep the caller's stdout and stderr open" {
	# The reader of the pipe sees its end although the sandbox runs.
	[[ $("$JIB" run one -q -d -- sh -c 'echo on its own; exec sleep 1000' 2>&1 3>&- | cat) == one ]]
	[[ $(state_of one) == running ]]
}

@test "run -d --rm discards when the command ends" {
	mkfifo "$T/go"
	"$JIB" run one -q -d --rm --bind "$T/go:/go" -- sh -c 'echo change >new; read word </go' 3>&-
	[[ $(state_of one) == running ]]
	echo word >"$T/go"
	wait_for test ! -e "$JIB_ROOT/one"
}

@test "logs: what the command printed, stdout and stderr, running and afterwards" {
	detach one 'echo first; echo second >&2; exec sleep 1000'
	wait_for in_log one second
	[[ $("$JIB" logs one | tr -d '\r') == $'first\nsecond' ]]
	jib stop one
	[[ $("$JIB" logs one | tr -d '\r') == $'first\nsecond' ]]
}

@test "logs -f goes on until the sandbox ends, then ends itself with everything" {
	mkfifo "$T/go"
	"$JIB" run one -q -d --bind "$T/go:/go" -- \
		sh -c 'echo before; read word </go; echo "after $word"; echo change >new' 3>&-
	"$JIB" logs -f one >"$T/followed" 3>&- &
	local pid=$!
	wait_for grep -q before "$T/followed"
	run ! grep after "$T/followed"
	echo word >"$T/go"
	ended_with 0 "$pid"
	[[ $(tr -d '\r' <"$T/followed") == $'before\nafter word' ]]
}

@test "logs -f of one that has ended prints and ends" {
	detach one 'echo change >new; echo printed'
	wait_for is_state one stopped
	[[ $("$JIB" logs -f one | tr -d '\r') == printed ]]
}

@test "logs of a sandbox that never ran in the background: an error that says why" {
	jib new one
	run -1 --separate-stderr jib logs one
	[[ $stderr == *"the sandbox one has no log"*"jib run --detach"* ]]
}

@test "attach: the terminal of the command; ctrl-p ctrl-q leaves it running" {
	detach one 'echo change >new; while read line; do echo "got $line"; stty size; done'
	user <<'PY'
t = Terminal(JIB, "attach", "one", rows=31, columns=97)
t.until("it is not raw", t.is_raw)
t.type("first\r")
t.expect("got first")
t.expect("31 97")
t.resize(42, 133)
t.until("the size does not arrive", lambda: t.type("again\r") or t.take(0.2) and b"42 133" in t.shown)
t.type("\x10\x11")
t.expect("left one; it goes on running")
t.ends_with(0)
t.restored()
PY
	[[ $(state_of one) == running ]]
	user <<'PY'
t = Terminal(JIB, "attach", "one")
t.until("it is not raw", t.is_raw)
t.type("second\r")
t.expect("got second")
t.type("\x04")
t.ends_with(0)
t.restored()
PY
	wait_for is_state one stopped
	in_log one "got second"
}

@test "attach passes ctrl-C on, and has the command's status" {
	detach one 'trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.05; done'
	wait_for in_log one ready
	user <<'PY'
t = Terminal(JIB, "attach", "one")
t.until("it is not raw", t.is_raw)
t.type("\x03")
t.expect("caught")
t.ends_with(9)
t.restored()
PY
}

@test "attach: a lone ctrl-p reaches the command" {
	detach one 'stty raw -echo; echo ready; head -c 3 | od -An -tx1; exec sleep 1000'
	wait_for in_log one ready
	user <<'PY'
t = Terminal(JIB, "attach", "one")
t.until("it is not raw", t.is_raw)
t.type("\x10\x10x")
t.expect("10 10 78")
t.type("\x10")
t.type("\x11")
t.ends_with(0)
PY
	[[ $(state_of one) == running ]]
}

@test "two attached at once see the same" {
	detach one 'while read line; do echo "got $line"; done'
	user <<'PY'
a = Terminal(JIB, "attach", "one")
b = Terminal(JIB, "attach", "one")
for t in a, b:
    t.until("it is not raw", t.is_raw)
# Raw comes right after the request: a word that both see shows that both are there.
b.until("b sees nothing", lambda: a.type("hello\r") or b.take(0.2) and b"got hello" in b.shown)
b.type("from b\r")
a.expect("got from b")
b.expect("got from b")
a.type("\x10\x11")
a.ends_with(0)
b.type("\x04")
b.ends_with(0)
PY
}

@test "attach to one in the foreground of another without a terminal: refused with the reason" {
	"$JIB" run one -q -- sh -c 'echo ready; exec sleep 1000' >"$T/out" </dev/null 3>&- &
	wait_for grep -q ready "$T/out"
	run -125 --separate-stderr jib attach one
	[[ $stderr == *"the sandbox one refuses: it has no terminal to attach to"* ]]
	jib stop one
	ended_with 143 $!
}

@test "stop: the command hears TERM and may end in its own way" {
	detach one 'trap "echo stopped by TERM; echo kept >kept; exit 0" TERM; echo ready
		while :; do sleep 0.05; done'
	wait_for in_log one ready
	run -0 --separate-stderr jib stop one
	[[ -z $output ]]
	[[ $(state_of one) == stopped ]]
	in_log one "stopped by TERM"
	[[ $("$JIB" run one -q -- cat kept) == kept ]]
}

@test "stop: what ignores TERM is killed after the grace, and everything beside it" {
	detach one 'trap "" TERM; echo ready >ready; echo ready; while :; do sleep 0.05; done'
	wait_for in_log one ready
	"$JIB" exec one -- sh -c 'trap "" TERM; echo ready; while :; do sleep 0.05; done' \
		>"$T/out" </dev/null 3>&- &
	wait_for grep -q ready "$T/out"
	jib stop one --time 0
	ended_with 137 $!
	[[ $(state_of one) == stopped ]]
	[[ $("$JIB" run one -q -- cat ready) == ready ]]
}

@test "stop of several, of one that rests, of one that is not there" {
	detach one 'exec sleep 1000'
	detach two 'exec sleep 1000'
	jib stop one two
	[[ $(state_of one) == stopped && $(state_of two) == stopped ]]
	run -1 --separate-stderr jib stop one
	[[ $stderr == *"the sandbox one is not running"*"jib run one"* ]]
	run -1 --separate-stderr jib stop nobody
	[[ $stderr == *"there is no sandbox nobody"* ]]
	run -2 --separate-stderr jib stop one --time soon
	[[ $stderr == *'--time: "soon" is not a number of seconds'* ]]
}

@test "exec joins: same files, same processes, the caller's directory, streams of its own" {
	detach one 'echo secret >/tmp/of-one; exec sleep 1000'
	wait_for jib exec one -- test -e /tmp/of-one
	run -0 --separate-stderr jib exec one -- sh -c 'cat /tmp/of-one; pwd; echo err >&2; echo new >new'
	[[ $output == $'secret\n'"$T/repo" ]]
	[[ $stderr == err ]]
	[[ $("$JIB" exec one -- cat new) == new ]]
	cd src
	[[ $("$JIB" exec one -- pwd) == "$T/repo/src" ]]
	[[ $("$JIB" exec one -- sh -c 'ps -e -o comm= | grep -c sleep') == 1 ]]
	[[ $(printf 'a\0b' | "$JIB" exec one -- wc -c) == 3 ]]
}

@test "exec: the exit status is the command's, 127, 126, 128 and the signal" {
	detach one 'exec sleep 1000'
	run -0 jib exec one -- true
	run -42 jib exec one -- sh -c 'exit 42'
	run -143 jib exec one -- sh -c 'kill -TERM $$'
	run -127 --separate-stderr jib exec one -- no-such-command
	[[ $stderr == *"cannot run no-such-command: No such file or directory"* ]]
	run -126 --separate-stderr jib exec one -- ./README.md
	[[ $stderr == *"cannot run ./README.md: Permission denied"* ]]
	[[ $(state_of one) == running ]]
}

@test "exec forwards a signal to its own command alone" {
	detach one 'trap "echo wrong" TERM; while :; do sleep 0.05; done'
	"$JIB" exec one -- sh -c 'trap "exit 9" TERM; echo ready; while :; do sleep 0.05; done' \
		>"$T/out" </dev/null 3>&- &
	wait_for grep -q ready "$T/out"
	kill -TERM $!
	ended_with 9 $!
	[[ $(state_of one) == running ]]
	run ! in_log one wrong
	jib stop one --time 0
}

@test "exec into a resting sandbox starts it, and it rests again afterwards" {
	jib new one
	run -0 --separate-stderr jib exec one -- sh -c 'echo change >new; pwd'
	[[ $output == "$T/repo" ]]
	[[ $(state_of one) == stopped ]]
	run -42 jib exec one -- sh -c 'cat new; exit 42'
	[[ $output == *change* ]]
	run -127 jib exec one -- no-such-command
	[[ $(state_of one) == stopped ]]
}

@test "exec --env reaches its command; what needs a new start is refused" {
	detach one 'exec sleep 1000'
	[[ $("$JIB" exec one -e WORD=x -- sh -c 'echo $WORD') == x ]]
	run -125 --separate-stderr jib exec one --net host -- true
	[[ $stderr == *"--net cannot be changed while the sandbox one is running"*"jib stop one"* ]]
	run -125 --separate-stderr jib exec one --bind "$T/repo:/mnt" -- true
	[[ $stderr == *"--bind cannot be changed while the sandbox one is running"* ]]
}

@test "exec and attach of what is not there: 125" {
	run -125 --separate-stderr jib exec nobody -- true
	[[ $stderr == *"there is no sandbox nobody"* ]]
	run -125 --separate-stderr jib attach nobody
	[[ $stderr == *"there is no sandbox nobody"* ]]
	jib new one
	run -125 --separate-stderr jib attach one
	[[ $stderr == *"the sandbox one is not running"* ]]
	run -125 --separate-stderr jib exec one
	[[ $stderr == *'`jib exec` needs a command'* ]]
}

@test "run of one that runs joins it, and does not end or discard it" {
	detach one 'echo shared >/tmp/of-one; exec sleep 1000'
	wait_for jib exec one -- test -e /tmp/of-one
	run -0 jib run one -- cat /tmp/of-one
	[[ $output == shared ]]
	run -42 jib run one -- sh -c 'exit 42'
	run -127 jib run one -- no-such-command
	[[ $(state_of one) == running ]]
	run -125 --separate-stderr jib run one -d -- true
	[[ $stderr == *"the sandbox one is running already"*"jib exec one"* ]]
	run -125 --separate-stderr jib run one --rm -- true
	[[ $stderr == *"the sandbox one is running already"* ]]
	[[ $(state_of one) == running ]]
}

@test "when the sandbox ends, the commands of exec end with it" {
	mkfifo "$T/go"
	"$JIB" run one -q -d --bind "$T/go:/go" -- sh -c 'echo change >new; read word </go' 3>&-
	"$JIB" exec one -- sh -c 'echo ready; exec sleep 1000' >"$T/out" </dev/null 3>&- &
	wait_for grep -q ready "$T/out"
	echo word >"$T/go"
	ended_with 137 $!
	wait_for is_state one stopped # it is told before the monitor has tidied up
}
