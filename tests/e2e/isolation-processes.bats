#!/usr/bin/env bats
# T1, T2, T3, T13, T15: file descriptors, terminals, programs and processes.

load isolation

# ---- T1 ----

fds='
import os, stat, sys
allowed = {int(fd) for fd in sys.argv[1:]}
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        st = os.fstat(fd)
    except OSError:
        continue  # that of listdir itself
    what = os.readlink(f"/proc/self/fd/{fd}")
    assert fd in allowed, f"fd {fd} is open: {what}"
    assert not stat.S_ISDIR(st.st_mode), f"fd {fd} is the directory {what}"
for pid in os.listdir("/proc"):
    if pid.isdigit() and int(pid) != os.getpid():
        try:
            theirs = os.listdir(f"/proc/{pid}/fd")
        except PermissionError:
            continue
        for fd in theirs:  # root may list those of init, but no more than that
            try:
                what = os.readlink(f"/proc/{pid}/fd/{fd}")
            except (PermissionError, FileNotFoundError):
                continue
            assert pid != "1", f"init has {what}"
print("only", *sorted(allowed))'

@test "T1: nothing but stdin, stdout and stderr goes into a sandbox" {
	mkdir "$T/secret"
	run -0 "$JIB" run -q --rm -- python3 -c "$fds" 0 1 2 \
		4<"$T/secret" 5</etc/passwd 6>"$T/written" 7<"$T/secret" 100<"$T/secret"
	[[ $output == "only 0 1 2" ]]

	# Nor do the descriptors of the monitor and of init go on to a command on a terminal.
	run -0 in_tty "$JIB" run -q --rm -- python3 -c "$fds" 0 1 2 7<"$T/secret" </dev/null
	[[ $output == "only 0 1 2" ]]
}

@test "T1: nothing but stdin, stdout and stderr goes into exec and into a detached run" {
	mkdir "$T/secret"
	"$JIB" run a -q -d -- sh -c 'python3 -c "$1" 0 1 2 >~/fds 2>&1; exec sleep 1000' sh "$fds" \
		7<"$T/secret"
	run -0 "$JIB" exec a -- python3 -c "$fds" 0 1 2 7<"$T/secret"
	[[ $output == "only 0 1 2" ]]
	wait_for "$JIB" exec a -- test -s "$HOME/fds"
	run -0 "$JIB" exec a -- cat "$HOME/fds"
	[[ $output == "only 0 1 2" ]]
}

@test "T1: a directory as a standard stream is refused" {
	run -125 "$JIB" run --rm -- ls -l /proc/self/fd/ <"$R"
	[[ $output == *"standard input is a directory"* ]]
	run -125 sh -c '"$JIB" run -q --rm -- true 1<"$1" 2>"$2"' sh "$R" "$T/err"
	grep -F "standard output is a directory" "$T/err"
	run -125 sh -c '"$JIB" run -q --rm -- true 2<"$1"' sh "$R"

	"$JIB" run a -q -d -- sleep 1000
	run -125 "$JIB" exec a -- true <"$R"
	[[ $output == *"standard input is a directory"* ]]
}

# ---- T2 ----

tiocsti='
import ctypes, errno, fcntl, os, sys, termios
from attack import fails, syscall

byte = ctypes.create_string_buffer(b"x")
for fd in (0, 1, 2, os.open("/dev/tty", os.O_RDWR)):
    for request in (termios.TIOCSTI, 0x541C):  # TIOCLINUX
        for garbage in (0, 1 << 32, 0xffffffff << 32, 1 << 63):
            request_long = ctypes.c_ulong(request | garbage)
            fails(errno.EPERM, syscall, "ioctl", fd, request_long, ctypes.byref(byte))
print("device", os.fstat(0).st_dev)
assert os.getsid(0) == os.getpid(), "not a session of its own"
assert os.ttyname(0) == "/dev/pts/0", os.ttyname(0)
assert os.tcgetpgrp(0) == os.getpgrp()'

@test "T2: no input can be put into the user's terminal" {
	# What a command has put into this terminal would be read by the shell that started jib.
	run -0 in_tty sh -c '
		echo "host $(stat -Lc %d /dev/stdin)"
		"$JIB" run -q --rm --bind "$1:/attack" --env PYTHONPATH=/attack -- python3 -c "$2" ||
			exit
		stty -icanon min 0 time 0
		echo "left $(head -c 100 | wc -c)"' sh "$attacks" "$tiocsti" </dev/null
	echo "$output"
	[[ $output == *"left 0"* ]]
	# The terminal inside is another one, of a devpts that the host does not see.
	[[ $output =~ host\ ([0-9]+).*device\ ([0-9]+) ]]
	((BASH_REMATCH[1] != BASH_REMATCH[2]))
}

@test "T2: exec gives a terminal of its own too" {
	"$JIB" run a -q -d --bind "$attacks:/attack" -- sleep 1000
	run -0 in_tty "$JIB" exec a --env PYTHONPATH=/attack -- \
		python3 -c "${tiocsti/pts\/0/pts\/1}" </dev/null
}

@test "T2: the filter compares the low half of the request, on every ABI" {
	denied_everywhere T2
}

# ---- T3 ----

@test "T3: the programs that jib runs as cannot be written from inside" {
	mkdir "$T/bin"
	cp "$JIB" "$(dirname "$JIB")/jib-guest" "$T/bin" # the caller's own: modes protect nothing
	before=$(host_hash "$T/bin")
	real=$(sha256sum "$JIB" "$(dirname "$JIB")/jib-guest")
	JIB=$T/bin/jib

	run -0 attack <<'PY'
import ctypes, errno, os, signal
from attack import fails, libc

guest = "/run/jib/guest"
for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND):
    fails((errno.EROFS, errno.ETXTBSY), os.open, guest, flags)
fails(errno.EROFS, os.open, guest, os.O_WRONLY | os.O_TRUNC)
fails(errno.EROFS, os.truncate, guest, 0)
fails(errno.EROFS, os.chmod, guest, 0)
fails(errno.EROFS, os.chown, guest, os.getuid(), os.getgid())
fails(errno.EROFS, os.utime, guest, (0, 0))
fails(errno.EROFS, os.setxattr, guest, "user.jib", b"x")
fails((errno.EBUSY, errno.EROFS), os.unlink, guest)
fails((errno.EBUSY, errno.EROFS), os.rename, guest, "/run/jib/other")
fails((errno.EXDEV, errno.EROFS), os.link, guest, "/run/jib/link")
fails(errno.EACCES, os.open, "/proc/1/exe", os.O_RDONLY)

# The program itself, stopped right after its exec: its exe can be opened, but not for writing,
# neither while it runs nor through a descriptor that is kept until it has ended.
child = os.fork()
if child == 0:
    libc.ptrace(0, 0, None, None)  # PTRACE_TRACEME
    os.execv(guest, [guest, "init"])
_, status = os.waitpid(child, 0)
assert os.WIFSTOPPED(status), status
fails((errno.EROFS, errno.ETXTBSY), os.open, f"/proc/{child}/exe", os.O_WRONLY)
kept = os.open(f"/proc/{child}/exe", os.O_RDONLY)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
for flags in (os.O_WRONLY, os.O_RDWR):
    fails((errno.EROFS, errno.ETXTBSY), os.open, f"/proc/self/fd/{kept}", flags)
fails(errno.EROFS, os.open, f"/proc/self/fd/{kept}", os.O_WRONLY | os.O_TRUNC)
fails(errno.EROFS, os.fchmod, kept, 0)
PY
	[[ $(host_hash "$T/bin") == "$before" ]]
	sha256sum --quiet -c <<<"$real"
}

@test "T3: a command that joins does not hand out a program of the host" {
	mkdir "$T/bin"
	cp "$JIB" "$(dirname "$JIB")/jib-guest" "$T/bin"
	before=$(host_hash "$T/bin")
	JIB=$T/bin/jib
	# As CVE-2019-5736: what is executed by the joiner is the joiner's own program again, and
	# somebody waits for a process whose exe can be written.
	printf '#!/proc/self/exe\n' >"$T/evil"
	chmod 755 "$T/evil"
	cat >"$T/watch.py" <<'PY'
import os
kept = {}
written = []
print("watching", flush=True)
while not os.path.exists("/tmp/stop"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        try:
            fd = os.open(f"/proc/{pid}/exe", os.O_RDONLY)
        except OSError:
            continue
        st = os.fstat(fd)
        if (st.st_dev, st.st_ino) in kept:
            os.close(fd)
        else:
            kept[st.st_dev, st.st_ino] = fd
    for fd in kept.values():
        try:
            os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
        except OSError:
            continue
        written.append(os.readlink(f"/proc/self/fd/{fd}"))
        os.ftruncate(fd, 0)
for fd in kept.values():
    print("seen", os.readlink(f"/proc/self/fd/{fd}"))
print("written", *written)
PY
	"$JIB" run a -q -d --bind "$T/evil:/evil" --bind "$T/watch.py:/watch.py" -- sleep 1000
	"$JIB" exec a -- python3 -u /watch.py >"$T/watched" 2>&1 3>&- &
	wait_for grep -q watching "$T/watched"
	for _ in {1..25}; do
		"$JIB" exec a -- /evil >/dev/null 2>&1 || true
		"$JIB" exec a -- true
	done
	"$JIB" exec a -- touch /tmp/stop
	wait $!
	cat "$T/watched"
	grep -qx 'written' "$T/watched"
	# The guest is seen, through its read-only bind, and nothing else of jib.
	grep -qx 'seen /run/jib/guest' "$T/watched"
	[[ $(grep -c /jib "$T/watched") == 1 ]]
	[[ $(host_hash "$T/bin") == "$before" ]]
}

# ---- T13 ----

@test "T13: processes of the host can be neither seen nor signalled, traced or read" {
	sleep 1000 3>&- &
	witness=$!
	run -0 attack --env "HOST=$witness $$ $BASHPID" <<'PY'
import ctypes, errno, os, signal
from attack import fails, syscall

own = {pid for pid in os.listdir("/proc") if pid.isdigit()}
assert own <= {"1", str(os.getpid())}, own
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
for pid in map(int, os.environ["HOST"].split()):
    assert not os.path.exists(f"/proc/{pid}")
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        fails(errno.ESRCH, os.kill, pid, number)
    fails(errno.ESRCH, syscall, "pidfd_open", pid, 0)
    fails(errno.ESRCH, syscall, "ptrace", 16, pid, 0, 0)  # PTRACE_ATTACH
    fails(errno.ESRCH, syscall, "ptrace", 0x4206, pid, 0, 0)  # PTRACE_SEIZE
    fails(errno.ESRCH, syscall, "process_vm_readv", pid, vector, 1, vector, 1, 0)
PY
	kill -0 "$witness"

	# -1 is everything that the sandbox may signal, and that is itself.
	run -0 "$JIB" run -q --rm -- python3 -c '
import os, signal, subprocess
child = subprocess.Popen(["sleep", "1000"])
os.kill(-1, signal.SIGKILL)
assert child.wait() == -signal.SIGKILL
print("alive")'
	[[ $output == alive ]]
	kill -0 "$witness"
	kill "$witness"
}

@test "T13: init can be neither killed nor looked into from inside" {
	run -0 attack <<'PY'
import ctypes, errno, os, signal
from attack import fails, syscall

for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGTERM):
    os.kill(1, number)  # allowed, but the kernel lets none of them reach an init
assert os.readlink("/proc/self/ns/pid")
with open("/proc/1/stat") as file:
    assert file.read().rsplit(")")[1].split()[0] in "SR"
fails(errno.EPERM, syscall, "ptrace", 16, 1, 0, 0)
fails(errno.EPERM, syscall, "ptrace", 0x4206, 1, 0, 0)
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
fails(errno.EPERM, syscall, "process_vm_readv", 1, vector, 1, vector, 1, 0)
for name in ("mem", "environ", "maps", "auxv"):
    fails((errno.EACCES, errno.EPERM), os.open, f"/proc/1/{name}", os.O_RDONLY)
for name in ("root", "cwd", "exe", "ns/mnt"):
    fails((errno.EACCES, errno.EPERM), os.open, f"/proc/1/{name}", os.O_RDONLY)
# The numbers are root's to list, what they are is not.
for fd in ("0", "3", "4"):
    fails((errno.EACCES, errno.EPERM), os.readlink, f"/proc/1/fd/{fd}")
    fails((errno.EACCES, errno.EPERM), os.open, f"/proc/1/fd/{fd}", os.O_RDWR)
PY
}

@test "T13: the death of init ends everything in the sandbox" {
	"$JIB" run a -q -d --env "MARK=$T" -- sh -c '
		trap "" HUP TERM
		sleep 1000 &
		setsid sleep 1000 &
		touch ~/ready
		sleep 1000'
	wait_for "$JIB" exec a -- test -e "$HOME/ready"
	mapfile -t pids < <(host_pids "MARK=$T")
	((${#pids[@]} >= 4))
	init=$(sed -n 's/^PPid:\t//p' "/proc/${pids[0]}/status")
	[[ $(sed -n 's/^NSpid:.*\t//p' "/proc/$init/status") == 1 ]]
	kill -KILL "$init"
	wait_for none_of "${pids[@]}"
	wait_for is_stopped a
	run -0 "$JIB" run a -q -- test -e "$HOME/ready"
}

@test "T13: the death of the monitor ends everything in the sandbox" {
	"$JIB" run a -q --env "MARK=$T" -- sh -c 'touch ~/ready; setsid sleep 1000 & exec sleep 1000' 3>&- &
	monitor=$!
	wait_for "$JIB" exec a -- test -e "$HOME/ready"
	mapfile -t pids < <(host_pids "MARK=$T")
	((${#pids[@]} >= 2))
	kill -KILL "$monitor"
	wait_for none_of "${pids[@]}"
	wait_for is_stopped a
}

# ---- T15 ----

namespaces='for ns in user mnt pid ipc uts net; do readlink /proc/self/ns/$ns; done'

@test "T15: every namespace is the sandbox's own, and nothing propagates" {
	host=$(eval "$namespaces")
	run -0 "$JIB" run -q --rm -- sh -c "$namespaces"
	[[ $(wc -l <<<"$output") == 6 ]]
	run ! grep -xF "$host" <<<"$output"

	# Only the network, and only when asked for.
	run -0 "$JIB" run -q --rm --net host -- sh -c "$namespaces"
	[[ $(grep -cxF "$host" <<<"$output") == 1 ]]
	grep -xF "$(readlink /proc/self/ns/net)" <<<"$output"

	run -0 "$JIB" run -q --rm -- cat /proc/self/mountinfo
	run ! grep -E ' (shared|master|propagate_from):' <<<"$output"
}

@test "T15: there is no way to ask for more than that" {
	for option in --privileged --pid=host --ipc=host --userns=host --cap-add=ALL --device=/dev/kmsg \
		--security-opt=seccomp=unconfined --mount=type=bind; do
		run -125 "$JIB" run --rm "$option" -- true
		[[ $output == *"no option"* ]]
	done
	run -125 "$JIB" run --rm --net=container:x -- true
	for target in / /proc /proc/sys /dev /dev/null /run/jib; do
		run -125 "$JIB" run --rm --bind "$T:$target" -- true
	done
}
