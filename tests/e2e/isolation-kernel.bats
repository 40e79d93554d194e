#!/usr/bin/env bats
# T4 to T9: what the kernel would give to whoever asks.

load isolation

# ---- T4 ----

@test "T4: no inode is opened by its handle" {
	denied_everywhere T4
	run -0 attack <<'PY'
import ctypes, errno, os
from attack import fails, libc

class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("handle", ctypes.c_ubyte * 128)]

def open_handle(mount, handle, flags):
    fd = libc.open_by_handle_at(mount, ctypes.byref(handle), flags)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "open_by_handle_at")
    return fd

# Every mount, with a handle that the kernel made and with the one of an ext4's root ("shocker").
for place in ("/", "/usr", os.getcwd(), os.environ["HOME"], "/attack", "/dev/null", "/run/jib/guest"):
    mount = os.open(place, os.O_RDONLY if os.path.isdir(place) else os.O_PATH)
    handles = []
    made, mount_id = Handle(bytes=128), ctypes.c_int()
    if libc.name_to_handle_at(mount, b"", ctypes.byref(made), ctypes.byref(mount_id), 0x1000) == 0:
        handles.append(made)
    shocker = Handle(bytes=8, type=1)
    shocker.handle[0] = 2
    handles.append(shocker)
    for handle in handles:
        for flags in (os.O_RDONLY, os.O_PATH, os.O_RDONLY | os.O_DIRECTORY):
            fails(errno.EPERM, open_handle, mount, handle, flags)
PY
}

# ---- T5 ----

@test "T5: the machine's own switches are out of reach, for root too" {
	core_pattern=$(cat /proc/sys/kernel/core_pattern)
	denied_everywhere T5
	run -0 attack --env "UID_=$EUID" <<'PY'
import errno, os, socket, stat
from attack import fails

denied = (errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOENT)
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname",
             "/proc/sys/kernel/domainname", "/proc/sys/kernel/sysrq", "/proc/sysrq-trigger",
             "/proc/sys/vm/drop_caches", "/proc/sys/net/ipv4/ip_forward", "/proc/mtrr",
             "/proc/sys/fs/binfmt_misc/register", "/proc/irq/default_smp_affinity",
             "/sys/kernel/uevent_helper", "/sys/fs/cgroup/release_agent",
             "/sys/kernel/debug/x", "/dev/kmsg", "/dev/mem", "/dev/port", "/dev/sda", "/dev/vda",
             "/dev/fuse", "/dev/loop-control", "/dev/net/tun", "/dev/kvm"):
    fails(denied, os.open, path, os.O_WRONLY)
for path in ("/proc/kmsg", "/proc/kcore", "/dev/kmsg"):
    fails(denied, os.open, path, os.O_RDONLY)
assert not os.path.exists("/sys/kernel")

kmsg, root_disk = os.makedev(1, 11), os.makedev(254, 0)
for place in ("/tmp", "/dev", "/dev/shm", os.getcwd(), os.getcwd() + "/.git", os.environ["HOME"]):
    for kind, device in ((stat.S_IFCHR, kmsg), (stat.S_IFBLK, root_disk), (stat.S_IFCHR, os.makedev(1, 1))):
        fails(errno.EPERM, os.mknod, f"{place}/device", kind | 0o666, device)

# One user, who is nobody else's root, without any right.
uid = int(os.environ["UID_"])
with open("/proc/self/uid_map") as file:
    assert file.read().split() == [str(uid), str(uid), "1"]
with open("/proc/self/setgroups") as file:
    assert file.read() == "deny\n"
status = dict(line.rstrip("\n").split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)
for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
    assert int(status[name], 16) == 0, (name, status[name])
assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
assert status["Groups"].split() in ([], [str(os.getgid())], ["65534"]), status["Groups"]
fails((errno.EINVAL, errno.EPERM), os.setuid, 1 - min(uid, 1))
fails(errno.EPERM, os.setgroups, [0])
fails(errno.EPERM, socket.sethostname, "other")
fails((errno.EPERM, errno.EACCES), os.setpriority, os.PRIO_PROCESS, 0, -5)
PY
	[[ $(cat /proc/sys/kernel/core_pattern) == "$core_pattern" ]]
}

@test "T5: execution brings no right back" {
	run -0 "$JIB" run -q --rm -- sh -c '
		cp /usr/bin/env ./env && chmod 6755 ./env
		./env grep Cap /proc/self/status
		setpriv --ambient-caps +all true 2>/dev/null && echo "ambient worked"
		setcap cap_sys_admin+ep ./env 2>/dev/null && echo "setcap worked"
		true'
	[[ $(grep -c '0000000000000000$' <<<"$output") == 5 ]]
	[[ $output != *worked* ]]
}

# ---- T6 ----

@test "T6: no namespaces and no mounts inside, on every ABI" {
	denied_everywhere T6
}

@test "T6: the tools for it are told so, and processes and threads work" {
	run -0 attack <<'PY'
import subprocess, threading

for command in ("unshare -Ur true", "unshare -Urm true", "unshare -n true", "unshare -rp --fork true",
                "mount -t tmpfs none /tmp", "mount --bind / /tmp", "umount /proc", "umount -l /",
                "mount -o remount,rw /usr", "mount -o remount,rw /proc", "nsenter -t 1 -m true",
                "chroot / true", "pivot_root / /tmp"):
    result = subprocess.run(command.split(), capture_output=True, text=True)
    assert result.returncode != 0, command
thread = threading.Thread(target=print, args=("a thread",))
thread.start()
thread.join()
PY
	[[ $output == "a thread" ]]
}

# ---- T7 ----

@test "T7: the usual ways into the kernel are denied, on every ABI" {
	denied_everywhere T7
}

# ---- T8 ----

@test "T8: abstract sockets of the host cannot be reached, nor those of a sandbox" {
	name=jib-test-$$-$RANDOM
	python3 -c '
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind("\0" + sys.argv[1])
listener.listen()
datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
datagrams.bind("\0" + sys.argv[1] + "-dgram")
tcp = socket.create_server(("127.0.0.1", 0))
print(tcp.getsockname()[1], flush=True)
while True:
    listener.accept()' "$name" >"$T/port" 3>&- &
	server=$!
	wait_for test -s "$T/port"
	cat >"$T/connect.py" <<'PY'
import socket, sys
name, port = sys.argv[1:]
unix = ((socket.SOCK_STREAM, "\0" + name), (socket.SOCK_DGRAM, f"\0{name}-dgram"))
for family, kind, address in (*((socket.AF_UNIX, *each) for each in unix),
                              (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", int(port)))):
    try:
        socket.socket(family, kind).connect(address)
        print("connected")
    except OSError as error:
        print(error.strerror)
with open("/proc/net/unix") as file:
    print("listed" if name in file.read() else "not listed")
PY
	run -0 python3 "$T/connect.py" "$name" "$(cat "$T/port")"
	[[ $output == $'connected\nconnected\nconnected\nlisted' ]]
	refused=$'Connection refused\nConnection refused\nConnection refused\nnot listed'
	run -0 "$JIB" run -q --rm -- python3 - "$name" "$(cat "$T/port")" <"$T/connect.py"
	[[ $output == "$refused" ]]
	"$JIB" run a -q -d -- sleep 1000
	run -0 "$JIB" exec a -- python3 - "$name" "$(cat "$T/port")" <"$T/connect.py"
	[[ $output == "$refused" ]]
	kill "$server"

	# The other direction, and from one sandbox to the next.
	"$JIB" exec a -- python3 -c '
import pathlib, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind("\0" + sys.argv[1])
listener.listen()
datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
datagrams.bind("\0" + sys.argv[1] + "-dgram")
tcp = socket.create_server(("127.0.0.1", 0))
print(tcp.getsockname()[1], flush=True)
while True:
    listener.accept()' "$name" >"$T/port2" 3>&- &
	wait_for test -s "$T/port2"
	run -0 "$JIB" exec a -- python3 - "$name" "$(cat "$T/port2")" <"$T/connect.py"
	[[ $output == $'connected\nconnected\nconnected\nlisted' ]]
	run -0 python3 "$T/connect.py" "$name" "$(cat "$T/port2")"
	[[ $output == "$refused" ]]
	run -0 "$JIB" run b -q -- python3 - "$name" "$(cat "$T/port2")" <"$T/connect.py"
	[[ $output == "$refused" ]]
}

# ---- T9 ----

teardown() {
	[[ ! ${key-} ]] || on_host "$key" <<<'
import sys
from attack import syscall
syscall("keyctl", 9, int(sys.argv[1]), -4)  # KEYCTL_UNLINK from the user keyring'
	jib_teardown
}

@test "T9: keys of the host can be neither read nor listed" {
	description=jib-test-$$-$RANDOM
	# In the user's keyring, and readable for every process of the user's.
	key=$(on_host "$description" <<'PY'
import sys
from attack import syscall
key = syscall("add_key", b"user", sys.argv[1].encode(), b"secret", 6, -4)
syscall("keyctl", 5, key, 0x3f3f0000)  # KEYCTL_SETPERM
print(key)
PY
	)
	cat >"$T/read.py" <<'PY'
import ctypes, os, sys
from attack import syscall
key, description = sys.argv[1:]
buffer = ctypes.create_string_buffer(100)
try:
    length = syscall("keyctl", 11, int(key), buffer, 100)  # KEYCTL_READ
    print(buffer.raw[:length].decode())
except OSError as error:
    print(error.strerror)
with open("/proc/keys") as file:
    print("listed" if description in file.read() else "not listed")
PY
	run -0 on_host "$key" "$description" <"$T/read.py"
	[[ $output == $'secret\nlisted' ]]
	run -0 sandboxed -- python3 - "$key" "$description" <"$T/read.py"
	[[ $output == $'Operation not permitted\nnot listed' ]]
	# Not one key, of whomever.
	run -0 "$JIB" run -q --rm -- cat /proc/keys /proc/key-users
	[[ ! $output ]]
	denied_everywhere T9
}
