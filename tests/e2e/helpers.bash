# shellcheck shell=bash
# What every end-to-end test has at hand: `load helpers` at the top of the .bats file.
#
# A test starts in a directory of its own, $T, with HOME and the store inside, and leaves nothing
# behind. A file with a setup or teardown of its own calls jib_setup or jib_teardown in it.
#
# The tests run as root and as an ordinary user; both have to pass. ./dev check sets JIB; without
# it, `bats tests/e2e` takes build/jib.

# For `run -N` (expects status N), `run !` and `run --separate-stderr`.
bats_require_minimum_version 1.5.0

JIB=${JIB:-$(realpath "$BATS_TEST_DIRNAME/../../build/jib")}
export JIB

setup() {
	jib_setup
}

teardown() {
	jib_teardown
}

jib_setup() {
	# The path stays short: sockets below it must fit into 108 bytes.
	T=$(mktemp -d "${TMPDIR:-/var/tmp}/t.XXXX") || return
	T=$(realpath "$T")
	# The caller's own git and XDG variables would lead git out of here.
	local name
	for name in "${!GIT_@}" "${!XDG_@}"; do
		unset "$name"
	done
	export T HOME=$T/home JIB_ROOT=$T/store
	mkdir "$HOME"
	git config --global user.name "A Tester"
	git config --global user.email tester@example.com
	git config --global init.defaultBranch main
	cd "$T" || return
}

# Fails when a test left something mounted on the host: that would be jib's fault, and removing
# $T would reach through it.
jib_teardown() {
	[[ ${T-} ]] || return 0 # the setup failed
	cd / || return
	stop_everything
	if grep -F "$T/" /proc/self/mountinfo; then
		echo "still mounted on the host; $T is left as it is"
		return 1
	fi
	# Without root, directories without permissions (overlayfs makes some) have to be opened first.
	rm -rf --one-file-system "$T" 2>/dev/null || {
		chmod -R u+rwX "$T"
		rm -rf --one-file-system "$T"
	}
}

# stop_everything: first as a user would, then whatever was started with this test's store.
stop_everything() {
	local name pids=()
	if [[ -d $JIB_ROOT ]]; then
		while read -r name; do
			timeout 10 "$JIB" stop "$name" || true
		done < <(timeout 10 "$JIB" ls --json | python3 -c '
import json, sys
for each in json.load(sys.stdin):
    if each["state"] == "running":
        print(each["name"])' || true)
	fi
	# The environment they were started with tells them apart: bats has not got this JIB_ROOT in
	# its own, nor have the processes that search.
	mapfile -t pids < <(
		root=$JIB_ROOT
		unset JIB_ROOT
		grep -lszxF "JIB_ROOT=$root" /proc/[0-9]*/environ | cut -d/ -f3
	)
	if ((${#pids[@]})); then
		kill -KILL "${pids[@]}" 2>/dev/null || true
		wait_for none_of "${pids[@]}"
	fi
}

# none_of PID...: have all of them ended? A zombie has.
none_of() {
	! ps -o stat= -p "$*" | grep -qv '^Z'
}

jib() {
	"$JIB" "$@"
}

# as_root: is this the run as root?
as_root() {
	((EUID == 0))
}

# wait_for CMD...: until CMD succeeds, asked every 20 ms, at most for 20 s. The only way to wait.
wait_for() {
	local end=$((SECONDS + 20))
	until "$@" >/dev/null 2>&1; do
		if ((SECONDS >= end)); then
			echo "20 s were not enough for: $*" >&2
			return 1
		fi
		sleep 0.02
	done
}

# make_repo DIR [FILES]: a repository with three commits, directories, an executable, a symlink, a
# name with spaces, an ignore rule, and FILES (default 20) small files, 100 to a directory.
make_repo() {
	local dir=$1 files=${2:-20} i
	git init -q "$dir"
	mkdir -p "$dir/src/lib" "$dir/docs"
	printf 'one\n' >"$dir/README.md"
	printf '#!/bin/sh\necho hello\n' >"$dir/tool.sh"
	chmod 755 "$dir/tool.sh"
	ln -s README.md "$dir/link"
	printf 'spaces\n' >"$dir/docs/a name with spaces.txt"
	printf 'int main(void)\n{\n\treturn 0;\n}\n' >"$dir/src/main.c"
	printf 'int lib(void);\n' >"$dir/src/lib/lib.h"
	printf '*.o\n/ignored/\n' >"$dir/.gitignore"
	git -C "$dir" add -A
	git -C "$dir" commit -qm "first"
	for ((i = 0; i < files; i++)); do
		((i % 100)) || mkdir -p "$dir/files/$((i / 100))"
		printf 'file %d\n' "$i" >"$dir/files/$((i / 100))/$i.txt"
	done
	git -C "$dir" add -A
	git -C "$dir" commit -q --allow-empty -m "files"
	printf 'two\n' >>"$dir/README.md"
	git -C "$dir" commit -qam "second line"
}

# host_list DIR: one line for DIR and everything below it, .git included: path, type and mode,
# owner, mtime, content (the target of a symlink), xattrs. Two lists can be compared with diff.
host_list() {
	python3 -c '
import hashlib, os, stat, sys

def content(path, mode):
    if stat.S_ISLNK(mode):
        return repr(os.readlink(path))
    if not stat.S_ISREG(mode):
        return "-"
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()

def xattrs(path):
    return {name: os.getxattr(path, name, follow_symlinks=False)
            for name in sorted(os.listxattr(path, follow_symlinks=False))}

def line(path):
    st = os.lstat(path)
    try:
        what = f"{content(path, st.st_mode)} {xattrs(path)}"
    except PermissionError:
        what = "unreadable"
    return f"{path!r} {st.st_mode:o} {st.st_uid}:{st.st_gid} {st.st_mtime_ns} {what}"

def fail(error):
    raise error

os.chdir(sys.argv[1])
lines = [line(".")]
for top, dirs, files in os.walk(".", onerror=fail):
    lines += [line(os.path.join(top, name)) for name in dirs + files]
print("\n".join(sorted(lines)))
' "$1"
}

# host_hash DIR: the same in one word, to show that nothing below DIR was written
host_hash() {
	local list
	list=$(host_list "$1") || return
	sha256sum <<<"$list" | cut -d' ' -f1
}

# json EXPRESSION: evaluates a Python expression over d, the JSON on stdin. A string is printed
# as it is, all else as JSON: jib ls --json | json 'd[0]["name"]'
json() {
	python3 -c '
import json, sys
d = json.load(sys.stdin)
value = eval(sys.argv[1])
print(value if isinstance(value, str) else json.dumps(value))' "$1"
}

# in_tty CMD...: runs CMD on a terminal of its own, 80x24. What comes on stdin is typed into it;
# what CMD writes goes to stdout, without carriage returns. The exit status is that of CMD.
in_tty() {
	python3 -c '
import fcntl, os, pty, select, struct, sys, termios

pid, master = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        os.write(2, f"{sys.argv[1]}: {error.strerror}\n".encode())
        os._exit(127)
sources = [master, 0]
while True:
    ready, _, _ = select.select(sources, [], [])
    if 0 in ready:
        typed = os.read(0, 4096)
        if typed:
            os.write(master, typed)
        else:
            sources.remove(0)
    if master in ready:
        try:
            data = os.read(master, 4096)
        except OSError:  # EIO: the last process has closed it
            break
        if not data:
            break
        sys.stdout.buffer.write(data.replace(b"\r", b""))
        sys.stdout.buffer.flush()
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(status if status >= 0 else 128 - status)' "$@"
}
