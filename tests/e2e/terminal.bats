# shellcheck shell=bash
# jib run on a terminal: src/terminal.py is the user in front of it.

load helpers

setup() {
	jib_setup
	make_repo "$T/repo" 1
	cd "$T/repo" || return
	export SHELL=/bin/sh
}

# user: the Python program on stdin
user() {
	{
		echo "from terminal import *"
		cat
	} | PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$BATS_TEST_DIRNAME/src timeout 60 python3 -
}

@test "all three streams are a terminal inside, and the same one" {
	user <<'PY'
t = Terminal(JIB, "run", "-q", "--rm", "--", "sh", "-c",
             "test -t 0 && test -t 1 && test -t 2 && echo all; tty; tty <&1; exit 7")
t.expect("all\r\n/dev/pts/0\r\n/dev/pts/0\r\n")
t.ends_with(7)
PY
}

@test "it is the controlling terminal of a session of its own" {
	user <<'PY'
t = Terminal(JIB, "run", "-q", "--rm", "--", "sh", "-c",
             "echo through >/dev/tty; ps -o tty=,sid= -p $$ | tr -s ' '; echo mine $$")
t.expect("through")
t.ends_with(0)
words = t.shown.decode().split()
assert words[1] == "pts/0" and words[2] == words[4], words
PY
}

@test "the window's size is the caller's, and SIGWINCH comes with the new one" {
	user <<'PY'
t = Terminal(JIB, "run", "-q", "--rm", "--", "bash", "-c",
             "stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done",
             rows=31, columns=97)
t.expect("31 97\r\n")
t.expect("ready")
t.resize(42, 133)
t.expect("42 133\r\n")
t.ends_with(0)
PY
}

@test "ctrl-C interrupts the command and not jib" {
	user <<'PY'
t = Terminal(JIB, "run", "-q", "--rm", "--", "sh", "-c",
             "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done")
t.expect("ready")
t.type("\x03")
t.expect("caught")
t.ends_with(9)
t.restored()
PY
}

@test "ctrl-C without a trap: 130" {
	user <<'PY'
t = Terminal(JIB, "run", "-q", "--rm", "--", "sh", "-c", "echo ready; exec sleep 1000")
t.expect("ready")
t.type("\x03")
t.ends_with(130)
t.restored()
PY
}

@test "ctrl-backslash quits: 131" {
	user <<'PY'
t = Terminal(JIB, "run", "-q", "--rm", "--", "sh", "-c", "ulimit -c 0; echo ready; exec sleep 1000")
t.expect("ready")
t.type("\x1c")
t.ends_with(131)
t.restored()
PY
}

@test "the caller's terminal is raw while the command runs, and restored afterwards" {
	user <<'PY'
t = Terminal(JIB, "run", "-q", "--rm", "--", "sh", "-c", "echo ready; read line; echo got $line")
t.expect("ready")
t.until("it is not raw", t.is_raw)
t.type("words\r")
t.expect("got words")
t.ends_with(0)
t.restored()
PY
}

@test "the terminal is restored when the command is missing, is killed, and when jib gets TERM" {
	user <<'PY'
t = Terminal(JIB, "run", "--", "no-such-command")
t.expect("cannot run no-such-command")
t.ends_with(127)
t.restored()
t = Terminal(JIB, "run", "-q", "--rm", "--", "sh", "-c", "kill -KILL $$")
t.ends_with(137)
t.restored()
t = Terminal(JIB, "run", "-q", "--rm", "--", "sh", "-c", "echo ready; exec sleep 1000")
t.expect("ready")
t.until("it is not raw", t.is_raw)
os.kill(t.pid, signal.SIGTERM)
t.ends_with(143)
t.restored()
PY
}

@test "ctrl-D is the end of what is typed" {
	user <<'PY'
t = Terminal(JIB, "run", "-q", "--rm", "--", "sh", "-c", "echo ready; cat; echo end of it")
t.expect("ready")
t.type("typed\r")
t.expect("typed\r\ntyped\r\n")
t.type("\x04")
t.expect("end of it")
t.ends_with(0)
PY
}

@test "ctrl-D ends the shell that runs without a command" {
	user <<'PY'
t = Terminal(JIB, "run", "-q", "--rm")
t.type("echo shell=$((40 + 2))\r")
t.expect("shell=42")
t.type("\x04")
t.ends_with(0)
t.restored()
PY
}

@test "the shell has job control: ctrl-Z, jobs, fg" {
	user <<'PY'
t = Terminal(JIB, "run", "-q", "--rm", "--", "bash", "--norc", "-i")
t.type("PS1='prompt''> '\r")
t.expect("prompt> ")
# Before it is in the foreground keys would not reach it; what it prints shows that it is. A
# single process: a shell in the middle of a vfork(2) does not stop.
t.type("python3 -c 'import os, signal; "
       "signal.signal(signal.SIGCONT, lambda *a: os.write(1, b\"continued %d \" % (40 + 3))); "
       "os.write(1, b\"foreground %d \" % (40 + 2)); "
       "[signal.pause() for n in iter(int, 1)]'\r")
t.expect("foreground 42")
t.type("\x1a")
t.expect("Stopped")
t.expect("prompt> ")
t.type("jobs\r")
t.expect("Stopped")
t.expect("prompt> ")
t.type("fg\r")
t.expect("continued 43")
t.type("\x03")
t.expect("prompt> ")
t.type("exit 5\r")
t.ends_with(5)
assert b"no job control" not in t.shown, t.shown
t.restored()
PY
}

@test "output to a pipe while stdin is a terminal: the pipe gets it, byte for byte" {
	user <<'PY'
read_end, write_end = os.pipe()
t = Terminal(JIB, "run", "-q", "--rm", "--", "sh", "-c",
             "test -t 1 || echo no terminal; echo on the terminal >&2; printf 'a\\nb\\n'",
             output=write_end)
os.close(write_end)
got = b""
while chunk := os.read(read_end, 4096):
    got += chunk
t.expect("on the terminal")
t.ends_with(0)
assert got == b"no terminal\na\nb\n", got
t.restored()
PY
}

@test "stderr to a file while the rest is a terminal: only errors go there" {
	user <<'PY'
error = os.open(os.environ["T"] + "/errors", os.O_RDWR | os.O_CREAT)
t = Terminal(JIB, "run", "-q", "--rm", "--", "sh", "-c",
             "test -t 0 && test -t 1 && echo shown; echo written >&2", error=error)
t.expect("shown")
t.ends_with(0)
assert os.pread(error, 100, 0) == b"written\n", os.pread(error, 100, 0)
assert b"written" not in t.shown, t.shown
PY
}

@test "much output is all shown before jib ends" {
	user <<'PY'
t = Terminal(JIB, "run", "-q", "--rm", "--", "sh", "-c", "seq 1 50000; echo the end")
t.expect("50000\r\nthe end\r\n")
t.ends_with(0)
numbers = t.shown.split(b"\r\n")
assert numbers[:50000] == [b"%d" % i for i in range(1, 50001)]
PY
}

@test "the words of jib itself end with a proper line on the terminal" {
	user <<'PY'
t = Terminal(JIB, "run", "one", "--", "sh", "-c", "echo change >new; echo done")
t.expect("done\r\n")
t.ends_with(0)
t.restored()
tail = t.shown[t.shown.index(b"done"):]
assert tail.startswith(b"done\r\njib: kept one") and tail.endswith(b"\r\n"), t.shown
PY
	[[ $(jib run one -q -- cat new) == change ]]
}

@test "exec has a terminal too: size, ctrl-C, status, restored mode" {
	jib run one -q -d -- sleep 1000 3>&-
	user <<'PY'
t = Terminal(JIB, "exec", "one", "--", "sh", "-c",
             "stty size; trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done",
             rows=31, columns=97)
t.expect("31 97\r\nready")
t.type("\x03")
t.expect("caught")
t.ends_with(9)
t.restored()
PY
}

@test "the helper's own terminal: in_tty" {
	[[ $(in_tty "$JIB" run -q --rm -- sh -c 'test -t 0 && stty size' </dev/null) == "24 80" ]]
}
