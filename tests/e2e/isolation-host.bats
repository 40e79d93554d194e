#!/usr/bin/env bats
# T33, T36, T39: the host's repository and a sandbox do not touch each other, wherever it lies.

load isolation

# ---- T33 ----

@test "T33: the host deletes the branch, repacks and prunes; the sandbox's repository is whole" {
	git switch -qc topic
	for i in 1 2 3; do
		seq "$i" 200 >"topic$i"
		git add -A
		git commit -qm "topic $i"
	done
	git tag -a -m note note
	git stash list
	git gc -q # packs, and loose objects beside them
	echo loose >loose
	git add loose
	git commit -qm loose
	base=$(git rev-parse HEAD)
	"$JIB" run a -q -d -- sleep 1000
	"$JIB" run b -q -- git commit -q --allow-empty -m mine
	"$JIB" exec a -- git commit -q --allow-empty -m mine

	git switch -q main
	git branch -qD topic
	git tag -d note >/dev/null
	git commit -q --amend -m "another history"
	git reflog expire --expire=now --all
	git repack -qadf
	git gc -q --prune=now
	run ! git cat-file -e "$base" # the host has got nothing of it left

	check='set -e
		git fsck --full --strict --no-dangling
		[ "$(git rev-parse HEAD^)" = "$1" ] && [ "$(git branch --show-current)" = topic ]
		[ "$(git log --format=%s -n 5 | tr "\n" ,)" = "mine,loose,topic 3,topic 2,topic 1," ]
		git cat-file -p note >/dev/null
		[ -z "$(git status --porcelain)" ]
		git log -p --all >/dev/null'
	run -0 "$JIB" exec a -- sh -c "$check" sh "$base"
	run -0 "$JIB" run b -q -- sh -c "$check" sh "$base"
	run -0 "$JIB" exec a -- sh -c 'git gc -q --prune=now && git fsck --full --strict --no-dangling'
	run -0 git fsck --full --strict --no-dangling
}

# ---- T36 ----

# Every way to write a file of a lower layer, from the inside.
writes='
import ctypes, errno, fcntl, mmap, os, pathlib, shutil, stat, sys
from attack import libc

FICLONE, AT_EMPTY_PATH, AT_SYMLINK_FOLLOW = 0x40049409, 0x1000, 0x400

def attempt(function, *args, **named):
    """What the file system cannot do it cannot do wrong either."""
    try:
        return function(*args, **named)
    except OSError as error:
        assert error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EPERM, errno.EINVAL,
                               errno.EACCES, errno.ENOTEMPTY, errno.ENOENT, errno.EBUSY, errno.ENODATA), error

def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "libc")
    return result

def opened(path, flags, function):
    fd = os.open(path, flags)
    try:
        return function(fd)
    finally:
        os.close(fd)

def map_and_write(fd):
    with mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as mapped:
        mapped[0:1] = b"M"
        mapped.flush()

def write_old_descriptor(path):
    # Read-only and of the lower file; what is written through /proc must be a copy.
    old = os.open(path, os.O_RDONLY)
    again = os.open(f"/proc/self/fd/{old}", os.O_WRONLY)
    os.write(again, b"P")
    os.fchmod(old, 0o600)
    os.futimens(old, 0) if hasattr(os, "futimens") else os.utime(old, (1, 1))
    attempt(os.setxattr, old, "user.old", b"x")
    os.close(again)
    os.close(old)

def tmpfile_over(path):
    fd = attempt(os.open, os.path.dirname(path) or ".", os.O_TMPFILE | os.O_RDWR)
    if fd is None:
        return
    os.write(fd, b"tmpfile")
    os.unlink(path)
    attempt(lambda: checked(libc.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, path.encode(),
                                        AT_SYMLINK_FOLLOW)))
    os.close(fd)

def link_and_write(path):
    os.link(path, path + ".link")
    with open(path + ".link", "ab") as file:
        file.write(b"through the link")

def from_other(function):
    def run(path):
        other = path + ".other"
        with open(other, "wb") as file:
            file.write(b"other" * 1000)
        os.chmod(path, 0o644)
        function(other, path)
    return run

def clone(other, path):
    opened(other, os.O_RDONLY, lambda source: opened(path, os.O_WRONLY,
           lambda fd: attempt(fcntl.ioctl, fd, FICLONE, source)))

def copy_range(other, path):
    opened(other, os.O_RDONLY, lambda source: opened(path, os.O_WRONLY,
           lambda fd: attempt(os.copy_file_range, source, fd, 100)))

def splice(other, path):
    opened(other, os.O_RDONLY, lambda source: opened(path, os.O_WRONLY,
           lambda fd: attempt(os.sendfile, fd, source, 0, 100)))

def exchange(other, path):
    attempt(lambda: checked(libc.renameat2(-100, other.encode(), -100, path.encode(), 2)))
    with open(path, "ab") as file:
        file.write(b"x")
    with open(other, "ab") as file:
        file.write(b"x")

ways = {
    "write": lambda p: opened(p, os.O_WRONLY, lambda fd: os.pwrite(fd, b"W", 0)),
    "append": lambda p: opened(p, os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"A")),
    "read-write": lambda p: opened(p, os.O_RDWR, lambda fd: os.pwritev(fd, [b"R"], 0)),
    "open and truncate": lambda p: opened(p, os.O_WRONLY | os.O_TRUNC, lambda fd: None),
    "truncate": lambda p: os.truncate(p, 0),
    "extend": lambda p: os.truncate(p, 5000),
    "mmap": lambda p: opened(p, os.O_RDWR, map_and_write),
    "fallocate": lambda p: opened(p, os.O_RDWR, lambda fd: attempt(os.posix_fallocate, fd, 0, 9000)),
    "punch": lambda p: opened(p, os.O_RDWR, lambda fd: attempt(
        lambda: checked(libc.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(1))))),
    "clone": from_other(clone),
    "copy_file_range": from_other(copy_range),
    "sendfile": from_other(splice),
    "exchange": from_other(exchange),
    "rename over": from_other(os.rename),
    "setxattr": lambda p: attempt(os.setxattr, p, "user.jib", b"x"),
    "overlay xattr": lambda p: attempt(os.setxattr, p, "user.overlay.redirect", b"/x"),
    "removexattr": lambda p: attempt(os.removexattr, p, "user.jib"),
    "chmod": lambda p: os.chmod(p, 0o4777),
    "chown": lambda p: attempt(os.chown, p, os.getuid(), os.getgid()),
    "chown to another": lambda p: attempt(os.chown, p, 12345, 12345),
    "utimensat": lambda p: os.utime(p, ns=(1, 1)),
    "flags": lambda p: opened(p, os.O_RDONLY, lambda fd: attempt(fcntl.ioctl, fd, 0x40086602, b"\x10\0\0\0\0\0\0\0")),
    "link": link_and_write,
    "old descriptor": write_old_descriptor,
    "rename away": lambda p: os.rename(p, p + ".moved"),
    "unlink": os.unlink,
    "unlink and create": lambda p: (os.unlink(p), pathlib.Path(p).write_text("new")),
    "O_TMPFILE": tmpfile_over,
    "replace by a directory": lambda p: (os.unlink(p), os.mkdir(p)),
    "replace by a link": lambda p: (os.unlink(p), os.symlink("/etc/hostname", p)),
}
files = sys.argv[1:]
assert len(files) >= len(ways), (len(files), len(ways))
for path, (name, way) in zip(files, ways.items()):
    before = os.stat(path)
    if before.st_mode & 0o200 == 0:
        os.chmod(path, before.st_mode | 0o200)
    try:
        way(path)
    except Exception as error:
        raise AssertionError(f"{name} of {path}: {error}") from error
    print(name, "done")'

directories='
import os, shutil, sys
top = sys.argv[1]
for directory in ("src", "docs", "files"):
    path = os.path.join(top, directory)
    os.chmod(path, 0o777)
    os.utime(path, ns=(1, 1))
    try:
        os.setxattr(path, "user.overlay.opaque", b"y")
    except OSError:
        pass
for link in ("link",):
    path = os.path.join(top, link)
    os.utime(path, ns=(1, 1), follow_symlinks=False)
    os.unlink(path)
shutil.rmtree(os.path.join(top, "src"))
os.mkdir(os.path.join(top, "src"))
shutil.rmtree(os.path.join(top, ".git", "objects"))
for path in (".git/HEAD", ".git/config", ".git/index", ".git/logs/HEAD", ".git/refs/heads/main"):
    path = os.path.join(top, path)
    if os.path.exists(path):
        with open(path, "r+b") as file:
            file.truncate(0)
open(os.path.join(top, ".git", "packed-refs"), "w").close()
shutil.rmtree(os.path.join(top, ".git", "refs"))
os.chmod(top, 0o700)
os.chmod(os.path.join(top, ".git"), 0o700)'

# attack_files [OPTION...]: all of it, in two sandboxes of the repository
attack_files() {
	local objects
	# Loose objects and packs: they are hard links to the host's.
	mapfile -t objects < <(cd "$R" && find .git/objects -type f ! -name '*.keep' | sort)
	((${#objects[@]} >= 40))
	attack "$@" --env "FILES=files/0" <<<"import sys, glob
sys.argv[1:] = sorted(glob.glob('files/0/*'))
$writes" >"$T/tree.out"
	[[ $(grep -c done "$T/tree.out") -ge 30 ]]
	sandboxed "$@" -- python3 -c "$writes" "${objects[@]}" >"$T/git.out"
	[[ $(grep -c done "$T/git.out") -ge 30 ]]
	sandboxed "$@" -- python3 -c "$directories" "$R"
	sandboxed "$@" -- sh -c 'git checkout -q HEAD^ && git gc -q --prune=now && git repack -qadF &&
		git reset -q --hard && rm -rf .git/* * 2>/dev/null; find . -mindepth 1 -delete 2>/dev/null; true'
}

@test "T36: no way of writing the merged view writes a layer or the host" {
	rm -rf "$R"
	make_repo "$R" 60
	cd "$R"
	"$JIB" run --rm -q -- true
	layers=$(host_list "$JIB_ROOT/.layers")
	host=$(host_list "$R")
	[[ $(wc -l <<<"$layers") -gt 100 ]]
	attack_files
	diff <(echo "$host") <(host_list "$R")
	diff <(echo "$layers") <(host_list "$JIB_ROOT/.layers")
	# What comes next sees the commit as it is.
	run -0 "$JIB" run -q --rm -- sh -c 'git fsck --full --strict && git status --porcelain'
	[[ $output != *files/* ]]
	git fsck --full --strict
}

@test "T36: with --live the same, and there the layer is the host itself" {
	rm -rf "$R"
	make_repo "$R" 60
	cd "$R"
	host=$(host_list "$R")
	attack_files --live
	diff <(echo "$host") <(host_list "$R")
}

@test "T36: a repository that is bound in cannot be bound writable" {
	for place in "$R" "$R/.git" "$R/src" "$T"; do
		run -125 "$JIB" run --rm --bind "$place:/bound:rw" -- true
		[[ $output == *"would let the sandbox write"* || $output == *"the store"* ]]
	done
	run -0 attack --bind "$R:/bound" <<'PY'
import errno, os
from attack import fails
fails(errno.EROFS, os.open, "/bound/README.md", os.O_WRONLY)
fails(errno.EROFS, os.chmod, "/bound/.git/config", 0o777)
fails(errno.EROFS, os.mkdir, "/bound/new")
PY
	run -125 "$JIB" run --rm --bind "$JIB_ROOT:/bound" -- true
	run -125 "$JIB" run --rm --bind "$JIB_ROOT/.layers:/bound" -- true
}

# ---- T39 ----

# works_at DIR [OPTION...]: a sandbox of the repository there can be worked in
works_at() {
	local dir=$1 head before
	shift
	head=$(git -C "$dir" rev-parse HEAD)
	before=$(host_hash "$dir")
	(cd "$dir/src" && "$JIB" run -q --rm "$@" -- sh -c 'set -e
		[ -z "$(git status --porcelain)" ]
		[ "$(git rev-parse --show-toplevel)" = "$(cd .. && pwd -P)" ]
		[ "$(cd .. && pwd -P)" = "$2" ] || [ "$3" = jib ]
		echo new >new && git add new && git commit -qm new
		[ "$(git rev-parse HEAD^)" = "$1" ]
		git fsck --strict --no-dangling
		! grep -F "$4" /proc/self/mountinfo' \
		sh "$head" "$dir" "${2-host}" "$JIB_ROOT" >"$T/out" 2>&1) || {
		printf 'in %q:\n' "$dir"
		cat "$T/out"
		return 1
	}
	[[ $(host_hash "$dir") == "$before" ]]
	git -C "$dir" fsck --strict
}

odd_names=(
	'a:b' 'a,b' 'a\b' 'a\,b\:c' 'a b' ' lead' 'trail ' $'tab\there' "quote'quote" 'double"quote' '$(id)'
	'`id`' '%s%n' '-rf' '--help' 'lowerdir=x,upperdir=y' '\040' 'ümläut' '*?[x]' ':' '\' ','
	$'new\nline' 'a;b&c|d' '#hash' '~' 'x.git'
)

@test "T39: repositories at odd paths work" {
	make_repo "$T/plain" 1
	for name in "${odd_names[@]}"; do
		mkdir "$T/odd"
		cp -a "$T/plain" "$T/odd/$name"
		works_at "$T/odd/$name"
		rm -rf "$T/odd"
	done
}

@test "T39: repositories at odd paths work with --layout jib" {
	make_repo "$T/plain" 1
	mkdir "$T/odd"
	for name in 'a:b' 'a,b\' $'new\nline' '-rf' "'" '"' ' ' '..x'; do
		cp -a "$T/plain" "$T/odd/$name"
		works_at "$T/odd/$name" --layout jib
	done
}

@test "T39: home and store at odd paths work" {
	for name in 'a:b,c\d e"f' $'new\nline' 'lowerdir=,x'; do
		export HOME=$T/home$name JIB_ROOT=$T/store$name
		mkdir "$HOME"
		cp "$T/home/.gitconfig" "$HOME"
		run -0 "$JIB" run a -q -- sh -c 'echo x >~/file && cat ~/file && git commit -q --allow-empty -m x'
		run -0 "$JIB" run a -q -- cat "$HOME/file"
		[[ $output == x ]]
		run -0 "$JIB" rm --force a
	done
}

@test "T39: a name that is not UTF-8 works, or is refused in words" {
	before=$(ls "$T")
	mkdir "$T/odd"
	make_repo "$T/plain" 1
	for name in $'a\xffb' $'\xc3\x28' $'\xed\xa0\x80' $'\x80' $'esc\x1b[31m' $'\x01\x7f'; do
		cp -a "$T/plain" "$T/odd/$name" || continue
		before=$(host_hash "$T/odd")
		cd "$T/odd/$name"
		run --separate-stderr "$JIB" run one -- git rev-parse --show-toplevel
		printf '%q: %s: %q\n' "$name" "$status" "$stderr"
		case $status in
		0) [[ $output == "$T/odd/$name" ]] ;;
		125) [[ $stderr == jib:* ]] ;;
		*) false ;;
		esac
		# Neither way may the terminal be given what the name holds, or the record be unreadable.
		[[ $stderr != *$'\x1b'* ]]
		run -0 "$JIB" ls --json
		json 'd' <<<"$output"
		run "$JIB" rm --force one
		cd "$T"
		[[ $(host_hash "$T/odd") == "$before" ]]
	done
}

@test "T39: very long paths work, or are refused in words" {
	make_repo "$T/plain" 1
	long=$(printf 'x%.0s' {1..250})
	deep=$T/deep
	# 255 bytes is the most for one name; 4095 for a path in one call.
	for depth in 1 4 8 15; do
		path=$deep
		for ((i = 0; i < depth; i++)); do path+=/$long; done
		mkdir -p "$path"
		cp -a "$T/plain" "$path/r"
		if ((depth < 15)); then
			works_at "$path/r"
		else
			cd "$path/r"
			run "$JIB" run --rm -- git rev-parse HEAD
			echo "$status: ${#path}: ${output: -300}"
			[[ $status == 0 || ($status == 125 && $output == *"jib: "*) ]]
			cd "$T"
		fi
		rm -rf "$deep"
	done
}
