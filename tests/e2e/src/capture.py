"""What a repository looks like to whoever works in it: the same program runs on the host and,
on its stdin, in a sandbox, and the two outputs are compared.

    python3 capture.py [--without PATTERN]...    in the work tree

PATTERN (as in a shell, against whole paths and names) leaves files out: what is masked.
The output has a section for each git command, and a line for each file: mode, type, path and
SHA-256 of the content, or the target of a link. Neither directories nor times are in it.
"""

import collections
import fnmatch
import hashlib
import os
import re
import stat
import subprocess
import sys

COMMANDS = [
    ["status", "--porcelain=v2", "--branch"],
    ["status"],
    ["ls-files", "-s"],
    ["ls-files", "-v"],
    ["stash", "list"],
    ["submodule", "status", "--recursive"],
    ["log", "--all", "--single-worktree", "--oneline"],
    ["for-each-ref"],
    ["symbolic-ref", "-q", "HEAD"],
    ["rev-parse", "--is-shallow-repository", "--show-object-format"],
]


def git(*argv):
    # A hint that comes only on a slow machine is no difference.
    done = subprocess.run(["git", "-c", "advice.statusUoption=false", *argv], check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode(errors="surrogateescape").splitlines()


def show(title, status, lines):
    print(f"== {title}: {status}")
    for line in lines:
        print(line)


def reflogs():
    """How many entries the log of each ref has; other work trees have logs of their own."""
    _, lines = git("reflog", "--all", "--format=%gD")
    names = collections.Counter(re.sub(r"@\{.*", "", line) for line in lines)
    return [f"{count} {name}" for name, count in sorted(names.items())
            if not name.startswith(("worktrees/", "main-worktree/"))]


def files(without):
    def left_out(path):
        return any(fnmatch.fnmatchcase(path, pattern) or
                   fnmatch.fnmatchcase(os.path.basename(path), pattern) for pattern in without)

    def fail(error):
        raise error

    for top, directories, names in os.walk(".", onerror=fail):
        links = [name for name in directories if os.path.islink(os.path.join(top, name))]
        directories[:] = [name for name in directories if name != ".git" and name not in links]
        for name in names + links:
            path = os.path.relpath(os.path.join(top, name))
            if name == ".git" or left_out(path):
                continue
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                # The mode of a link means nothing.
                yield f"link {path!r} -> {os.readlink(path)!r}"
            elif stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
                yield f"{mode:o} {path!r} {content}"


def main():
    without = [argument for argument in sys.argv[1:] if argument != "--without"]
    sys.stdout.reconfigure(errors="surrogateescape")
    for command in COMMANDS:
        show(" ".join(command), *git(*command))
    # Found in the order in which they lie in the object directories.
    status, lines = git("fsck", "--no-progress")
    show("fsck", status, sorted(lines))
    show("reflog --all", 0, reflogs())
    if os.path.lexists(".gitmodules"):
        script = "git status --porcelain=v2 --branch; git ls-files -s; git fsck --no-progress"
        show("in submodules", *git("submodule", "foreach", "--recursive", script))
    show("files", 0, sorted(files(without)))


main()
