#!/usr/bin/env bats
# T10, T11, T12, T14, T23: what is mounted where, and what a sandbox leaves behind for its next run.

load isolation

# A repository below the home directory, where a sandbox may put what it likes in the way.
home_repo() {
	R=$HOME/work/project
	make_repo "$R" 3
	cd "$R" || return
	mkdir -p "$T/victim/project/.git" "$T/shown"
	echo precious >"$T/victim/file"
	echo precious >"$T/victim/project/.git/config"
	echo shown >"$T/shown/file"
	victim=$(host_hash "$T/victim")
	repository=$(host_hash "$R")
}

# untouched: neither the victim nor the repository was written, and nothing is mounted on the host
untouched() {
	[[ $(host_hash "$T/victim") == "$victim" ]]
	[[ $(host_hash "$R") == "$repository" ]]
	[[ $(host_hash "$T/shown") == "$shown" ]]
	run ! grep -F "$T/" /proc/self/mountinfo
}

# works_or_says: status and output are those of a run that worked, or of one that was refused
works_or_says() {
	case $status in
	0) [[ $output == *"right place"* ]] ;;
	125) [[ $output == *"jib: "* ]] ;;
	*) false ;;
	esac
}

# ---- T10 ----

@test "T10: what a sandbox puts in the way of a mount point is not followed" {
	home_repo
	shown=$(host_hash "$T/shown")
	# From inside: everything between the home and the repository, and the targets of later binds.
	run -0 "$JIB" run a -q -- sh -c '
		cd ~ &&
		python3 -c "import os; os.rename(\"work\", \"moved\")" 2>/dev/null
		rmdir work/project work 2>/dev/null; ln -sT "$1" work 2>/dev/null
		ln -s "$1" directory && ln -s "$1/file" file && mkfifo fifo && ln -s /proc proc &&
		ln -s /proc/self/fd fds && ln -s / root && ln -s ../../../../.. up && mkdir real &&
		cd "$2" && rm -rf src && ln -s "$1" src && ln -s .git dotgit' \
		sh "$T/victim" "$R"
	untouched

	check='[ "$(cat "$1/file" 2>/dev/null || cat "$1")" = shown ] && [ "$(git rev-parse --show-toplevel)" = "$2" ] &&
		git status >/dev/null && echo right place'
	for place in directory directory/deeper directory/project/.git root/tmp up/tmp/x real/a/b fds/0 \
		proc proc/sys proc/self/fd/7; do
		run "$JIB" run a --bind "$T/shown:$HOME/$place" -- sh -c "$check" sh "$HOME/$place" "$R"
		echo "$place: $status: $output"
		works_or_says
		untouched
	done
	for place in file fifo real/file directory/file proc/version; do
		run "$JIB" run a --bind "$T/shown/file:$HOME/$place" -- sh -c "$check" sh "$HOME/$place" "$R"
		echo "$place: $status: $output"
		works_or_says
		untouched
	done
	for place in src src/project dotgit dotgit/hooks; do
		run "$JIB" run a --bind "$T/shown:$R/$place:rw" -- sh -c "$check" sh "$R/$place" "$R"
		echo "$place: $status: $output"
		works_or_says
		untouched
	done
	# And the sandbox is still one.
	run -0 "$JIB" run a -q -- git status
}

@test "T10: symbolic links in the uppers themselves are not followed at the next run" {
	home_repo
	shown=$(host_hash "$T/shown")
	run -0 "$JIB" run a -q -- sh -c 'echo x >~/x; echo x >x; git add x'
	check='[ "$(git rev-parse --show-toplevel)" = "$1" ] && echo y >>README.md && git add README.md &&
		git commit -qm y && echo right place'
	name=$(basename "$R")
	upper=$JIB_ROOT/a/upper

	# swap PLACE: a symbolic link to the victim in its place, one run, and back
	swap() {
		[[ ! -e $1 && ! -L $1 ]] || mv "$1" "$T/kept"
		mkdir -p "$(dirname "$1")"
		ln -s "${2-$T/victim}" "$1"
		run "$JIB" run a -- sh -c "$check" sh "$R"
		echo "$1: $status: $output"
		works_or_says
		untouched
		rm "$1"
		[[ ! -e $T/kept ]] || mv "$T/kept" "$1"
	}
	swap "$JIB_ROOT/a/home/work"
	rm -rf "$JIB_ROOT/a/home/work"
	swap "$JIB_ROOT/a/home/work/project" "$T/victim/project"
	rm -rf "$JIB_ROOT/a/home/work"
	swap "$upper/repos/$name/.git" "$T/victim/project/.git"
	swap "$upper/repos/$name"
	swap "$upper/git/$name"
	swap "$upper/git"
	swap "$JIB_ROOT/a/home"
	swap "$JIB_ROOT/a/work"
	swap "$JIB_ROOT/a/log" # not used here, and none of its business
	run -0 "$JIB" run a -q -- sh -c "$check" sh "$R"
	[[ $output == *"right place"* ]]
}

@test "T10: /dev and /proc are what they seem to be, and /proc cannot be written" {
	run -0 attack <<'PY'
import ctypes, errno, os, stat
from attack import fails, libc

class Statfs(ctypes.Structure):
    _fields_ = [("type", ctypes.c_long), ("rest", ctypes.c_long * 20)]

def magic(path):
    buffer = Statfs()
    assert libc.statfs(path.encode(), ctypes.byref(buffer)) == 0, path
    return buffer.type

assert magic("/proc") == 0x9FA0
assert magic("/dev/pts") == 0x1CD1
for name, number in (("null", (1, 3)), ("zero", (1, 5)), ("full", (1, 7)), ("random", (1, 8)),
                     ("urandom", (1, 9)), ("tty", (5, 0))):
    st = os.lstat(f"/dev/{name}")
    assert stat.S_ISCHR(st.st_mode), name
    assert (os.major(st.st_rdev), os.minor(st.st_rdev)) == number, name
allowed = {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "ptmx", "fd", "stdin",
           "stdout", "stderr"}
assert set(os.listdir("/dev")) == allowed, os.listdir("/dev")
assert os.statvfs("/proc").f_flag & os.ST_RDONLY

# Nothing below it opens for writing, whatever its mode says.
tried = 0
for top, directories, files in os.walk("/proc"):
    for name in files:
        path = os.path.join(top, name)
        # Not links to what is elsewhere, nor the /dev/null that hides keys.
        if not os.path.lexists(path) or not stat.S_ISREG(os.lstat(path).st_mode):
            continue
        tried += 1
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            continue
        raise AssertionError(f"{path} can be written")
assert tried > 500, tried
for path in ("/proc/self/mem", "/proc/self/oom_score_adj", "/proc/self/attr/current",
             "/proc/self/uid_map", "/proc/self/timens_offsets", "/proc/self/comm"):
    fails((errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT), os.open, path, os.O_WRONLY)
fails(errno.EROFS, os.chmod, "/proc/self/comm", 0o777)
PY
}

# ---- T11 ----

# where: prints where a process is, and fails when that is not below its own root
where='
import os
here = os.stat(".")
path = os.getcwd()
assert not path.startswith("(unreachable)"), path
assert os.path.samestat(here, os.stat(path)), path
seen = []
while True:
    seen.append(os.stat("."))
    os.chdir("..")
    if os.path.samestat(os.stat("."), seen[-1]):
        break
assert os.path.samestat(os.stat("."), os.stat("/")), "another root"
assert len(seen) == 1 + len([part for part in path.split("/") if part]), (path, len(seen))
assert not os.path.exists("/etc/shadow")
print(path)'

@test "T11: a working directory that is a descriptor of the host means nothing inside" {
	mkdir "$T/elsewhere"
	for start in "cd /proc/self/fd/7" "cd /proc/self/fd/8" "cd /" "cd $R/src" "cd /etc" "cd $T" \
		"PWD=/proc/self/fd/7; export PWD" "PWD=/proc/1/root; export PWD"; do
		run -0 bash -c "$start"' && exec "$JIB" run -q --rm --repo "$1" -- python3 -c "$2"' \
			bash "$R" "$where" 7<"$T/elsewhere" 8</
		echo "$start: $output"
		[[ $output == "$R" || $output == "$R/src" ]]
	done
	"$JIB" run a -q -d -- sleep 1000
	for start in "cd /proc/self/fd/7" "cd /" "cd $R/src"; do
		run -0 bash -c "$start"' && exec "$JIB" exec a -- python3 -c "$1"' bash "$where" \
			7<"$T/elsewhere"
		echo "$start: $output"
		[[ $output == "$R" || $output == "$R/src" ]]
	done

	# One that is gone.
	mkdir "$R/gone"
	run -0 bash -c 'cd gone && rmdir ../gone && exec "$JIB" run a -q -- python3 -c "$1"' \
		bash "$where"
	[[ $output == "$R" ]]
}

@test "T11: a working directory that the sandbox has replaced leads nowhere out of it" {
	"$JIB" run a -q -d -- sleep 1000
	cd "$R/src"
	for target in / /proc/1/root /proc/1/cwd /proc/self/root /proc/self/cwd /proc/self/fd/{0..24} \
		/proc/thread-self/fd/7 ../../../../../../../.. /nonexistent loop; do
		run -0 "$JIB" exec a -- sh -c 'rm -rf "$1" && ln -s "$2" "$1"' sh "$R/src" "$target"
		run -0 "$JIB" exec a -- python3 -c "$where"
	done
	"$JIB" stop a
	wait_for is_stopped a
	run -0 "$JIB" run a -q -- sh -c 'rm "$1" && ln -s /proc/self/fd/7 "$1"' sh "$R/src"
	run -0 "$JIB" run a -q -- python3 -c "$where" 7<"$T"
}

# ---- T12 ----

@test "T12: the host's root cannot be reached again" {
	outside=$(stat -c %d:%i /)
	# One that is kept: it has the home as a third overlay.
	run -0 in_sandbox a --env "OUTSIDE=$outside" --env "STORE=$JIB_ROOT" --env "SECRET=$T" -- \
		python3 - <<'PY'
import ctypes, errno, os
from attack import fails, libc

def same(path, as_path="/"):
    return os.path.samestat(os.stat(path), os.stat(as_path))

st = os.stat("/")
assert f"{st.st_dev}:{st.st_ino}" != os.environ["OUTSIDE"]
assert same("/..") and same("/../../..") and same("../" * 40)
assert same("/proc/self/root") and same("/proc/self/root/..")
os.chdir("/")
os.chdir("..")
assert os.getcwd() == "/"

def umount(path, flags):
    if libc.umount2(path.encode(), flags) < 0:
        raise OSError(ctypes.get_errno(), path)

with open("/proc/self/mountinfo") as file:
    lines = file.read().splitlines()
for line in lines:
    for flags in (0, 1, 2, 8):
        fails(errno.EPERM, umount, line.split()[4], flags)
    assert os.environ["STORE"] not in line, line
assert not os.path.exists(os.environ["STORE"])
assert sum(line.split()[4] == "/" for line in lines) == 1, lines

# The names of the layers are descriptors of a process that has ended.
overlays = [line for line in lines if " - overlay " in line]
assert len(overlays) == 3, overlays
for line in overlays:
    source, options = line.split(" - overlay ")[1].split(" ", 1)
    assert source.startswith("jib-") and "/" not in source
    for option in options.split(","):
        key, _, value = option.partition("=")
        if key in ("upperdir", "workdir", "lowerdir", "lowerdir+"):
            assert all(part.startswith("/proc/self/fd/") for part in value.split(":")), line
            assert not os.path.exists(value), value

# Nor does anything else of the host show: only what the plan names.
assert set(os.listdir("/")) <= {"usr", "opt", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc",
                                "dev", "proc", "tmp", "run", "var", "attack", "home", "root"} | {
                                    os.environ["SECRET"].split("/")[1]}, os.listdir("/")
for path in ("/etc/shadow", "/etc/ssh", "/etc/sudoers", "/etc/machine-id", "/boot", "/sys", "/mnt"):
    assert not os.path.exists(path), path
for line in lines:
    place, options = line.split()[4:6]
    if place.startswith(("/usr", "/opt", "/etc/", "/run/jib", "/proc", "/attack", "/bin", "/lib")):
        assert options.split(",")[0] == "ro", line
PY
}

@test "T12: the host's mounts are the same before, during and after a run" {
	cat >"$T/compare" <<'SH'
set -e
# What bats runs beside this may mount as well, but not here when the namespace is our own.
mounts() { sort /proc/self/mountinfo; }
[ "$1" = own ] || mounts() { grep -e "$2" -e 'overlay jib-' /proc/self/mountinfo || true; }
mounts "$@" >"$2/before"
"$JIB" run a -q --bind "$2" -d -- sleep 1000
mounts "$@" >"$2/during"
"$JIB" stop a
mounts "$@" >"$2/after"
diff "$2/before" "$2/during"
diff "$2/before" "$2/after"
SH
	mkdir "$T/place"
	sed -i 's/\$2\//$3\//g; s/--bind "\$2"/--bind "$3"/' "$T/compare"
	if as_root; then
		# Every mount of it is shared with a peer: what propagates would arrive there.
		run -0 unshare --mount --propagation shared sh -c '
			mount --bind "$2/place" "$2/place" && mount --make-shared "$2/place" &&
			sh "$2/compare" "$@"' sh own "$T" "$T/place"
	else
		run -0 sh "$T/compare" host "$T" "$T/place"
	fi
}

@test "T12: a bind does not bring in the host's kernel" {
	for place in /sys /sys/fs/cgroup /sys/kernel/mm /dev /dev/pts; do
		[[ -d $place ]] || continue
		run -125 "$JIB" run --rm --bind "$place:/bound" -- true
		[[ $output == *"a mount of the host's kernel"* ]]
	done
	[[ ! -e /sys/kernel/uevent_seqnum ]] ||
		run -125 "$JIB" run --rm --bind /sys/kernel/uevent_seqnum:/bound -- true
	# What is not the kernel's, and a device, which does not open.
	run -0 "$JIB" run -q --rm --bind /dev/shm:/bound --bind /dev/null:/null -- \
		sh -c '! echo x 2>/dev/null >/null'
	as_root || return 0
	mkdir -p "$T/chroot/proc" "$T/chroot/sub dir" "$T/chroot/sub"
	cat >"$T/binds" <<'SH'
mount -t proc proc "$T/chroot/proc" && mount -t sysfs sysfs "$T/chroot/sub dir" || exit 3
"$JIB" run --rm --bind "$T/chroot:/c:rw" -- test -e /c/proc/sys && exit 4
"$JIB" run --rm --bind "$T/chroot/proc/sys:/c:rw" -- true && exit 5
"$JIB" run --rm --bind "$T/chroot/proc/sys/kernel/core_pattern:/c:rw" -- true && exit 6
"$JIB" run --rm --bind "$T/chroot/sub dir:/c" -- true && exit 7
"$JIB" run --rm -q --bind "$T/chroot/sub:/c" -- test -d /c
SH
	run -0 unshare --mount sh "$T/binds"
	echo "$output"
	[[ $output == *"$T/chroot/proc is a mount of the host's kernel"* ]]
	[[ $output == *"$T/chroot/sub dir is a mount of the host's kernel"* ]]
}

@test "T12: the store, the home and the host's kernel are not seen through /opt" {
	if ! as_root; then
		# Nothing of an ordinary user's can be there, so there is nothing to see.
		JIB_ROOT=/opt/store run -125 "$JIB" run --rm -q --repo "$T/repo" -- true
		[[ $output == *"cannot create /opt/store"* ]]
		return
	fi
	opt=$(mktemp -d /opt/t.XXXX)
	status=0
	under_opt || status=$?
	rm -rf --one-file-system "$opt"
	[[ $status == 0 ]]
}

under_opt() {
	mkdir -p "$opt/h/work" "$opt/chroot/proc" "$opt/link"
	cp "$HOME/.gitconfig" "$opt/h"
	echo password >"$opt/h/.netrc"
	echo other >"$opt/other"
	cat >"$T/inside" <<'SH'
set -e
[ "$(cat "$1/other")" = other ]
[ -z "$(ls -A "$1/store")" ] || { echo the store; exit 1; }
if touch "$1/store/x" 2>/dev/null; then exit 1; fi
[ ! -e "$1/h/.netrc" ] || { echo the home; exit 1; }
[ -z "$(ls -A "$1/chroot/proc")" ] || { echo proc; exit 1; }
SH
	# A home in memory, one that is kept, and the one of the other layout.
	HOME=$opt/h JIB_ROOT=$opt/store unshare --mount sh -e -c '
		mount -t proc proc "$1/chroot/proc"
		"$JIB" run -q --rm --bind "$T/inside:/inside" -- sh /inside "$1"
		"$JIB" run -q --rm -- sh -c "echo x >~/x"
		"$JIB" run a -q --bind "$T/inside:/inside" --bind "$T/inside:$HOME/deep/inside" -- \
			sh -c "sh /inside \$1 && sh \$HOME/deep/inside \$1 && echo kept >~/kept" sh "$1"
		"$JIB" run a -q -- grep kept "$1/h/kept"
		"$JIB" run b -q --layout jib --bind "$T/inside:/inside" --bind "$T/inside:$HOME/work/i" -- \
			sh -c "sh /inside \$1 && sh $HOME/work/i \$1 && echo x >~/x" sh "$1"
		rm -r "$HOME" && ! "$JIB" run a -q -- true' sh "$opt" >"$T/out" 2>&1 || {
		cat "$T/out"
		return 1
	}
	cat "$T/out"
	grep -q "the home directory $opt/h cannot be made" "$T/out" && [[ ! -e $opt/h ]] &&
		[[ $(ls -A "$opt/store/a/home") == kept ]]
}

# ---- T14 ----

@test "T14: a setuid file of a sandbox gives nobody anything" {
	# The directory above the store is open to all; the store is not.
	open=$(mktemp -d /var/tmp/iso.XXXXXX)
	chmod 755 "$open"
	JIB_ROOT=$open/store
	umask 0
	name=$(basename "$R")
	status=0
	{
		"$JIB" run a -q -- sh -c '
			for place in . .git ~ /tmp; do
				cp /usr/bin/id "$place/id" && chmod 6755 "$place/id" || exit
				"$place/id" -u
			done' &&
			[[ -u $JIB_ROOT/a/upper/repos/$name/id && -u $JIB_ROOT/a/upper/git/$name/id &&
				-u $JIB_ROOT/a/home/id ]] &&
			no_way_in &&
			chmod 755 "$JIB_ROOT" && # what somebody has opened is closed by the next command
			"$JIB" ls >/dev/null &&
			no_way_in
	} || status=$?
	chmod -R u+rwX "$open"
	rm -rf "$open"
	[[ $status == 0 ]]
}

# no_way_in: nobody but the owner passes the store's door
no_way_in() {
	local path
	[[ $(stat -c %a "$JIB_ROOT") == 700 ]] || return
	for path in "$JIB_ROOT"/a "$JIB_ROOT"/.layers "$JIB_ROOT"/.tmp; do
		[[ $(stat -c %a "$path") == *00 ]] || return
	done
	as_root || return 0
	# Somebody else can try; an ordinary user cannot become one.
	setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$open" || return
	for path in a a/upper "a/upper/repos/$name/id" a/home/id .layers; do
		! setpriv --reuid 65534 --regid 65534 --clear-groups stat "$JIB_ROOT/$path" || return
	done
}

@test "T14: every mount is nosuid, and but for six devices nodev" {
	run -0 attack --bind "$T/repo:/bound:ro" <<'PY'
import os
devices = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "pts")}
devices |= {"/proc/keys", "/proc/key-users"}  # /dev/null
with open("/proc/self/mountinfo") as file:
    for line in file:
        place, options = line.split()[4:6]
        options = options.split(",")
        assert "nosuid" in options, line
        assert "nodev" in options or place in devices, line
for path in (".", "/usr", "/tmp", "/bound", os.environ["HOME"], "/dev/shm", "/attack", "/opt"):
    flags = os.statvfs(path).f_flag
    assert flags & os.ST_NOSUID and flags & os.ST_NODEV, path
PY
}

# ---- T23 ----

@test "T23: a second run joins the first one's mounts" {
	"$JIB" run a -q -d -- sleep 1000
	where=$("$JIB" exec a -- readlink /proc/self/ns/mnt)
	for i in {1..8}; do
		"$JIB" run a -q -- sh -c 'readlink /proc/self/ns/mnt; echo "$1" >>both' sh "$i" \
			>"$T/joined.$i" 3>&- &
		joined[i]=$!
	done
	for i in {1..8}; do
		wait "${joined[i]}"
		[[ $(cat "$T/joined.$i") == "$where" ]]
	done
	[[ $("$JIB" exec a -- sh -c 'wc -l <both') == 8 ]]
}

@test "T23: of runs that start at once one mounts" {
	"$JIB" new a -q
	for i in {1..8}; do
		"$JIB" run a -d -- sleep 1000 >"$T/out.$i" 2>&1 3>&- &
		started[i]=$!
	done
	worked=0
	for i in {1..8}; do
		if wait "${started[i]}"; then
			((++worked))
		else
			grep -q "is running already" "$T/out.$i"
		fi
	done
	[[ $worked == 1 ]]
}

@test "T23: who does not get the lease does not mount" {
	"$JIB" run a -q -- touch kept
	before=$(host_hash "$JIB_ROOT/a/upper")
	# Somebody who has the lease, and hangs up on whoever calls its monitor.
	python3 -c '
import fcntl, os, socket, sys
os.chdir(sys.argv[1])
lease = open("lease", "r+")
fcntl.lockf(lease, fcntl.LOCK_EX)
if os.path.lexists("control"):
    os.unlink("control")
monitor = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
monitor.bind("control")
monitor.listen()
print("held", flush=True)
while True:
    monitor.accept()[0].close()' "$JIB_ROOT/a" >"$T/held" 3>&- &
	thief=$!
	wait_for grep -q held "$T/held"
	for command in "run a" "run a -d" "exec a"; do
		# shellcheck disable=SC2086 # a command and its options
		run -125 "$JIB" $command -- touch stolen
		echo "$output"
	done
	run ! "$JIB" rm a
	if as_root; then
		mkdir "$T/shown"
		run ! "$JIB" mount a "$T/shown"
		run ! mountpoint -q "$T/shown"
	fi
	[[ $(host_hash "$JIB_ROOT/a/upper") == "$before" ]]
	kill "$thief"
	wait_for none_of "$thief"
	run -0 "$JIB" run a -q -- test -e kept
}

@test "T23: jib mount shows the live view, and keeps runs away from a resting one" {
	mkdir "$T/shown"
	if ! as_root; then
		"$JIB" run a -q -- touch kept
		run -1 "$JIB" mount a "$T/shown"
		[[ $output == *"needs root"* ]]
		run ! mountpoint -q "$T/shown"
		run -0 "$JIB" run a -q -- test -e kept
		return
	fi
	"$JIB" run a -q -d -- sleep 1000
	run -0 "$JIB" mount a "$T/shown"
	"$JIB" exec a -- sh -c 'echo live >live'
	[[ $(cat "$T/shown/live") == live ]]
	# One mount: the same device, and not another overlay of the same upper.
	[[ $("$JIB" exec a -- stat -c %d .) == "$(stat -c %d "$T/shown")" ]]
	grep -F " $T/shown " /proc/self/mountinfo | grep -q nosuid,nodev
	"$JIB" umount "$T/shown"
	"$JIB" stop a
	wait_for is_stopped a

	run -0 "$JIB" mount a "$T/shown"
	[[ $(cat "$T/shown/live") == live ]]
	grep -F " $T/shown " /proc/self/mountinfo | grep -q nosuid,nodev
	run -125 "$JIB" run a -- touch second
	[[ $output == *"is mounted at $T/shown"* ]]
	run -125 "$JIB" run a -d -- touch second
	run -125 "$JIB" exec a -- touch second
	mkdir "$T/other"
	run ! "$JIB" mount a "$T/other"
	run ! "$JIB" rm --force a
	[[ ! -e $T/shown/second ]]
	"$JIB" umount "$T/shown"
	run -0 "$JIB" run a -q -- sh -c '[ "$(cat live)" = live ] && [ ! -e second ]'
}
