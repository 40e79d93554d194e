# shellcheck shell=bash
# What takes long is shown on a terminal, and nowhere else. A filter of git's, which waits for the
# test, makes it long.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 1
	cd "$T/repo" || return
	git config filter.slow.clean cat
	git config filter.slow.smudge "cat <$T/gate && cat"
	echo 'slow.txt filter=slow' >.gitattributes
	echo content >slow.txt
	git add -A
	git commit -qm slow
	# What the host has changed comes from git.
	echo mine >slow.txt
	mkfifo "$T/gate"
	export TERM=xterm
}

# user: the Python program on stdin
user() {
	{
		echo "from terminal import *"
		echo "gate = lambda: open(os.environ['T'] + '/gate', 'w').close()"
		cat
	} | PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$BATS_TEST_DIRNAME/src timeout 60 python3 -
}

# open_gate: lets the filter go on as soon as it waits
open_gate() {
	: >"$T/gate" &
}

@test "on a terminal there is a bar, and it is gone when the command runs" {
	user <<'PY'
t = Terminal(JIB, "run", "--clean", "--rm", "--", "cat", "slow.txt")
t.expect("\rjib: writing files of the commit [")
t.expect("====")
t.expect("\x1b[K\rjib: writing files ")  # once more: it moves
gate()
t.expect("\r\x1b[Kjib: ")
t.expect("starts from")
t.expect("content")
t.ends_with(0)
t.restored()
PY
}

@test "a bar is as wide as the terminal allows" {
	user <<'PY'
t = Terminal(JIB, "run", "--clean", "-d", "--", "true", columns=20)
t.expect("\rjib: writing files \x1b[K")
gate()
t.expect("\r\x1b[Kjib: ")
t.ends_with(0)
PY
}

@test "ctrl-C takes the bar away and ends jib; the next one finds nothing half made" {
	user <<'PY'
t = Terminal(JIB, "run", "--clean", "--rm", "--", "true")
t.expect("writing files of the commit [")
t.type("\x03")
t.expect("\r\x1b[K")
t.ends_with(-2)
if not t.shown.endswith(b"\x1b[K"):
    t.fail("the line is still there")
PY
	open_gate
	run -0 jib run -q --rm --clean -- cat slow.txt
	[[ $output == content ]]
	[[ -z $(ls -A "$JIB_ROOT/.tmp") ]]
}

@test "an error takes the bar away" {
	user <<'PY'
os.environ["JIB_ROOT"] += "/store"
os.makedirs(os.path.dirname(os.environ["JIB_ROOT"]))
t = Terminal(JIB, "run", "--clean", "--rm", "--", "true")
t.expect("writing files of the commit [")
os.rename(os.environ["JIB_ROOT"] + "/.layers", os.environ["JIB_ROOT"] + "/layers")
os.rmdir(os.environ["JIB_ROOT"] + "/layers")
gate()
t.expect("\r\x1b[Kjib: cannot ")
t.ends_with(125)
PY
}

# Where nothing is drawn there is nothing to wait for: git gets longer than a bar's half second.
@test "no bar with --quiet, on a terminal that cannot erase, or without a terminal" {
	user <<'PY'
for term, option in ("xterm", "-q"), ("dumb", "--rm"):
    os.environ["TERM"] = term
    t = Terminal(JIB, "run", "--clean", "--rm", option, "--", "cat", "slow.txt")
    with open(os.environ["T"] + "/gate", "w"):
        time.sleep(0.7)
    t.expect("content")
    t.ends_with(0)
    if b"\x1b" in t.shown or b"writing" in t.shown:
        t.fail("there was a bar")
    os.spawnv(os.P_WAIT, JIB, [JIB, "gc"])
PY
	sleep 0.7 >"$T/gate" &
	run -0 --separate-stderr jib run --rm --clean -- cat slow.txt
	[[ $output == content ]]
	[[ $stderr == *"starts from"* && $stderr != *writing* && $stderr != *[$'\e\r']* ]]
}
