"""Looks for a canary in everything that a process of a sandbox can read (T79).

    python3 sweep.py WORD REST [PATH]...

The canary is WORD-REST, in two parts so that this command line does not hold it. Prints where it
was found and, at last, how much was read: the files and links below /, what /proc shows of every
process, and the objects of the repository in the current directory. PATHs are tried as they
are, and through the root and current directories of every process. What all machines have in
/usr is left out, and so are /sys and the devices.
"""

import os
import stat
import subprocess
import sys

canary = f"{sys.argv[1]}-{sys.argv[2]}".encode()
ELSEWHERE = {"/usr", "/opt", "/sys", "/proc", "/dev"}
OF_PROCESSES = ("environ", "cmdline", "comm", "maps", "mountinfo", "mounts", "stat", "status",
                "cgroup", "limits", "uid_map", "mountstats")
PIECE = 1 << 20
read = 0
found = 0


def hit(where):
    global found
    found += 1
    print(f"found: {where}")


def search(path):
    """Reads in pieces that overlap by the length of the canary."""
    global read
    try:
        with open(path, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return
            read += 1
            tail = b""
            while piece := file.read(PIECE):
                if canary in tail + piece:
                    hit(path)
                    return
                tail = piece[-len(canary):]
    except OSError:
        pass


def search_link(path):
    try:
        if canary in os.fsencode(os.readlink(path)):
            hit(path)
    except OSError:
        pass


def sweep_files():
    for top, directories, names in os.walk("/"):
        directories[:] = [name for name in directories
                          if os.path.join(top, name) not in ELSEWHERE]
        for name in names + directories:
            path = os.path.join(top, name)
            if canary in os.fsencode(name):
                hit(path)
            if os.path.islink(path):
                search_link(path)
            elif name in names and stat.S_ISREG(os.lstat(path).st_mode):
                search(path)


def sweep_processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in OF_PROCESSES:
            search(f"/proc/{pid}/{name}")
        for directory in ("fd", "map_files"):
            try:
                entries = os.listdir(f"/proc/{pid}/{directory}")
            except OSError:
                continue
            for entry in entries:
                path = f"/proc/{pid}/{directory}/{entry}"
                search_link(path)
                # A pipe would be waited for.
                try:
                    regular = stat.S_ISREG(os.stat(path).st_mode)
                except OSError:
                    continue
                if regular:
                    search(path)
        for path in sys.argv[3:]:
            search(f"/proc/{pid}/root{path}")
            search(f"/proc/{pid}/cwd/{os.path.relpath(path)}")


def sweep_objects():
    done = subprocess.run(["git", "cat-file", "--batch-all-objects", "--batch"], check=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    if canary in done.stdout:
        hit("an object of git")
    # What git itself tells.
    for command in (["config", "--list", "--show-origin"], ["reflog", "--all"], ["remote", "-v"],
                    ["var", "-l"], ["submodule", "status"], ["stash", "list"],
                    ["status", "--ignored"]):
        done = subprocess.run(["git", *command], check=False, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if canary in done.stdout:
            hit("git " + " ".join(command))


sweep_files()
sweep_processes()
sweep_objects()
for path in sys.argv[3:]:
    search(path)
print(f"{found} found in {read} files")
