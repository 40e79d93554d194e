#!/usr/bin/env python3
"""The same random operations in a sandbox and in a plain copy of its repository: after every
step what git status says, HEAD and all files have to be the same.

    python3 property.py --prepare DIR [--files N]
    python3 property.py --seed N --steps M REPOSITORY COPY

The first makes the repository to begin with; COPY is made with `cp -a` and stays outside of
any sandbox. The second runs in the sandbox, with COPY bound read-write at its path. It prints
the seed, and at the first difference the step, the operations up to it and what differs; the
same seed and steps on such a repository do the same again.

In REPOSITORY git is as the sandbox configures it, with fsmonitor. In COPY all that could make it
fast is off.
"""

import argparse
import ctypes
import errno
import os
import random
import shutil
import subprocess
import sys

PLAIN = ["-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false"]
STATUS = ["status", "--porcelain=v2", "--branch"]
LARGE = "cache"  # ignored and large: mounted from the host, where a sandbox does so
FEW, MANY = 25, 80
EVERY = 20  # steps, for what is compared less often
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
AT_FDCWD = -100
LIBC = ctypes.CDLL(None, use_errno=True)


class Difference(Exception):
    pass


def environment(step):
    """Commits have the same ids on both sides, and other ones at each step."""
    date = f"{1000000000 + step} +0000"
    return {**os.environ, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date,
            "GIT_AUTHOR_NAME": "P", "GIT_AUTHOR_EMAIL": "p@example.com",
            "GIT_COMMITTER_NAME": "P", "GIT_COMMITTER_EMAIL": "p@example.com",
            "GIT_EDITOR": "true", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8",
            # The reflog of a stash or the time of a gc is not what is tested.
            "GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": "gc.auto", "GIT_CONFIG_VALUE_0": "0",
            "GIT_CONFIG_KEY_1": "advice.statusUoption", "GIT_CONFIG_VALUE_1": "false"}


def run(directory, argv, step=0):
    done = subprocess.run(argv, cwd=directory, env=environment(step), check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode(errors="surrogateescape")


# ---- the repository to begin with ----


def prepare(directory, count):
    def git(*argv):
        status, said = run(directory, ["git", *argv])
        if status:
            sys.exit(f"git {' '.join(argv)}: {said}")

    def write(path, text):
        os.makedirs(os.path.dirname(os.path.join(directory, path)), exist_ok=True)
        with open(os.path.join(directory, path), "w", encoding="ascii") as file:
            file.write(text)

    os.makedirs(directory)
    git("init", "-q", "-b", "main")
    write(".gitignore", f"*.ign\n/{LARGE}/\n")
    for i in range(40):
        write(f"d{i % 5}/e{i % 3}/f{i}.txt" if i % 4 else f"f{i}.txt", f"file {i}\n" * (i + 1))
    for i in range(count):
        write(f"many/{i // 100}/{i}.txt", f"{i}\n")
    git("add", "-A")
    git("commit", "-qm", "main")
    for branch in ("one", "two"):
        git("switch", "-qc", branch, "main")
        for i in range(0, 40, 8 if branch == "one" else 12):
            write(f"{branch}/{i}.txt", f"{branch} {i}\n")
            write(f"f{i}.txt", f"of {branch}\n")
        git("rm", "-qr", "d1" if branch == "one" else "d2/e0")
        git("add", "-A")
        git("commit", "-qm", branch)
    git("switch", "-q", "main")
    write("f4.txt", "modified at the beginning\n")
    write("untracked/u.txt", "untracked at the beginning\n")
    write("staged.txt", "staged at the beginning\n")
    git("add", "staged.txt")
    write("d3/small.ign", "ignored\n")
    for i in range(3):
        write(f"{LARGE}/{i}/large", chr(ord("a") + i) * (6 << 20))


# ---- what is compared ----


class Tree:
    """The files and links below a directory."""

    def __init__(self, top, remembers):
        self.top = top
        # Thousands of files cannot be read at each step; now and then they are all the same.
        self.known = {} if remembers else None

    def forget(self):
        if self.known:
            self.known.clear()

    def content(self, path, about):
        if about.st_size > 1 << 20:
            return str(about.st_size)
        key = path, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
        if self.known is not None and key in self.known:
            return self.known[key]
        with open(path, "rb") as file:
            content = file.read()
        if self.known is not None:
            self.known[key] = content
        return content

    def look(self):
        """{path: what it is}. The content of the large ones is their size."""
        found = {}
        pending = [""]
        while pending:
            directory = pending.pop()
            with os.scandir(os.path.join(self.top, directory)) as entries:
                for entry in entries:
                    path = os.path.join(directory, entry.name)
                    if entry.name == ".git":
                        continue
                    if entry.is_symlink():
                        found[path] = "-> " + os.readlink(entry.path)
                    elif entry.is_dir():
                        pending.append(path)
                    else:
                        about = entry.stat()
                        found[path] = about.st_mode, self.content(entry.path, about)
        return found


def differences(one, other):
    return [f"  {path!r}: {str(one.get(path))[:150]} in the sandbox, "
            f"{str(other.get(path))[:150]} in the copy"
            for path in sorted(one.keys() | other.keys()) if one.get(path) != other.get(path)]


def expect(what, sandbox, copy):
    if sandbox != copy:
        raise Difference(f"{what} in the sandbox:\n{sandbox}\nand in the copy:\n{copy}")


def compare(pair, step):
    """Returns the tree, for the next operation to choose from."""
    sandbox, copy = pair[0].top, pair[1].top
    expected = run(copy, ["git", *PLAIN, *STATUS])
    expect("git status", run(sandbox, ["git", *STATUS]), expected)
    if step % EVERY == 0:
        for each in pair:
            each.forget()
    trees = pair[0].look(), pair[1].look()
    if trees[0] != trees[1]:
        raise Difference("\n".join(["the files:", *differences(*trees)]))
    if step % EVERY == 0:
        expect("git status without fsmonitor", run(sandbox, ["git", *PLAIN, *STATUS]), expected)
        for command in (["for-each-ref"], ["ls-files", "-s"], ["write-tree"]):
            expect(f"git {' '.join(command)}", run(sandbox, ["git", *command]),
                   run(copy, ["git", *command]))
    return trees[1]


# ---- the operations ----


def renameat2(old, new, flags):
    if LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


class Chooser:
    """Chooses operations; each is (its words for the log, function of the top directory)."""

    def __init__(self, seed, fixed):
        self.rng = random.Random(seed)
        self.fixed = fixed  # how many files there are at least
        self.serial = 0
        self.files = self.links = self.directories = []

    def look(self, found):
        self.files = sorted(path for path, what in found.items() if isinstance(what, tuple)
                            and not path.startswith(LARGE + "/"))
        self.links = sorted(path for path, what in found.items() if isinstance(what, str))
        parents = set()
        for path in self.files:
            while path := os.path.dirname(path):
                parents.add(path)
        self.directories = sorted(parents)

    def name(self):
        self.serial += 1
        name = f"n{self.serial}" + self.rng.choice([".txt", ".txt", ".txt", ".c", ".ign", " é"])
        parent = self.rng.choice(self.directories + ["", "", LARGE]) if self.directories else ""
        if self.rng.random() < 0.1:
            parent = os.path.join(parent, f"new{self.serial}")
        return os.path.join(parent, name)

    def text(self):
        return f"text {self.rng.randrange(1000)}\n".encode() * self.rng.choice([1, 1, 3, 50])

    def choose(self):
        crowd = len(self.files) - self.fixed
        if crowd < FEW:
            options = [(self.create, 10), (self.restore, 2)]
        elif crowd > MANY:
            options = [(self.unlink, 8), (self.remove_directory, 1), (self.git_reset_hard, 1)]
        else:
            options = OPTIONS
        kinds, weights = zip(*options)
        kind = self.rng.choices(kinds, weights)[0]
        # A function of the table has no self yet.
        return kind() if hasattr(kind, "__self__") else kind(self)

    def git(self, *argv, loud=True):
        def act(top, step):
            status, _ = run(top, ["git", *argv], step)
            return status if loud else None
        return " ".join(("git", *argv)), act

    @staticmethod
    def call(words, function):
        """A function of absolute paths; errors other than EXDEV and EBUSY are the outcome."""
        def act(top, _):
            try:
                function(lambda path: os.path.join(top, path))
            except OSError as error:
                return errno.errorcode[error.errno]
            return 0
        return words, act

    # Files.

    def create(self):
        path, text = self.name(), self.text()

        def act(at):
            os.makedirs(os.path.dirname(at(path)), exist_ok=True)
            with open(at(path), "xb") as file:
                file.write(text)
        return self.call(f"create {path!r}", act)

    def overwrite(self):
        path, text = self.rng.choice(self.files), self.text()
        # In place, or as most editors do.
        replace = self.rng.random() < 0.5

        def act(at):
            with open(at(path) + "~" if replace else at(path), "wb") as file:
                file.write(text)
            if replace:
                os.rename(at(path) + "~", at(path))
        return self.call(f"write {path!r} {len(text)} {'by rename' if replace else ''}", act)

    def same_size(self):
        path = self.rng.choice(self.files)

        def act(at):
            with open(at(path), "r+b") as file:
                first = file.read(1)
                file.seek(0)
                file.write(bytes([first[0] ^ 1]) if first else b"")
        return self.call(f"change a byte of {path!r}", act)

    def append(self):
        path, text = self.rng.choice(self.files), self.text()

        def act(at):
            with open(at(path), "ab") as file:
                file.write(text)
        return self.call(f"append {path!r} {len(text)}", act)

    def truncate(self):
        path, size = self.rng.choice(self.files), self.rng.choice([0, 0, 5, 100])
        return self.call(f"truncate {path!r} {size}", lambda at: os.truncate(at(path), size))

    def unlink(self):
        path = self.rng.choice(self.files + self.links)
        return self.call(f"unlink {path!r}", lambda at: os.unlink(at(path)))

    def touch(self):
        path, when = self.rng.choice(self.files), self.rng.randrange(10**9)
        return self.call(f"touch {path!r} {when}", lambda at: os.utime(at(path), (when, when)))

    def rename_file(self):
        old = self.rng.choice(self.files)
        new = self.rng.choice([self.name(), self.rng.choice(self.files)])
        if new.startswith(LARGE + "/"):
            new = os.path.basename(new)  # the other one is another file system

        def act(at):
            os.makedirs(os.path.dirname(at(new)), exist_ok=True)
            os.rename(at(old), at(new))
        return self.call(f"rename {old!r} {new!r}", act)

    def exchange_files(self):
        old, new = self.rng.choice(self.files), self.rng.choice(self.files)
        return self.call(f"exchange {old!r} {new!r}",
                         lambda at: renameat2(at(old), at(new), RENAME_EXCHANGE))

    def chmod(self):
        path, mode = self.rng.choice(self.files), self.rng.choice([0o644, 0o755])
        return self.call(f"chmod {mode:o} {path!r}", lambda at: os.chmod(at(path), mode))

    def hard_link(self):
        old, new = self.rng.choice(self.files), self.name()
        if new.startswith(LARGE + "/"):
            new = os.path.basename(new)

        def act(at):
            os.makedirs(os.path.dirname(at(new)), exist_ok=True)
            os.link(at(old), at(new))
        return self.call(f"link {old!r} {new!r}", act)

    def symlink(self):
        target = self.rng.choice(self.files + self.directories + ["nowhere"])
        path = self.rng.choice([self.name(), self.rng.choice(self.files)])

        def act(at):
            os.makedirs(os.path.dirname(at(path)), exist_ok=True)
            if os.path.lexists(at(path)):
                os.unlink(at(path))
            os.symlink(target, at(path))
        return self.call(f"symlink {target!r} {path!r}", act)

    # Directories.

    def make_directory(self):
        path = self.name()
        return self.call(f"mkdir {path!r}", lambda at: os.makedirs(at(path)))

    def remove_directory(self):
        if not self.directories:
            return self.create()
        path = self.rng.choice(self.directories)
        # The one that large files made large is not in the list.
        return self.call(f"rm -r {path!r}", lambda at: shutil.rmtree(at(path)))

    def file_to_directory(self):
        path = self.rng.choice(self.files)

        def act(at):
            os.unlink(at(path))
            os.mkdir(at(path))
            with open(os.path.join(at(path), "in"), "xb") as file:
                file.write(b"in\n")
        return self.call(f"directory in place of {path!r}", act)

    def directory_to_file(self):
        if not self.directories:
            return self.create()
        path = self.rng.choice(self.directories)

        def act(at):
            shutil.rmtree(at(path))
            with open(at(path), "xb") as file:
                file.write(b"a directory before\n")
        return self.call(f"file in place of {path!r}", act)

    def again(self):
        """A directory that goes and comes: an opaque one over one of a layer."""
        if not self.directories:
            return self.create()
        path = self.rng.choice(self.directories)

        def act(at):
            shutil.rmtree(at(path))
            os.mkdir(at(path))
            with open(os.path.join(at(path), "again"), "xb") as file:
                file.write(b"again\n")
        return self.call(f"{path!r} anew", act)

    def rename_directory(self):
        if not self.directories:
            return self.create()
        old = self.rng.choice(self.directories)
        self.serial += 1
        parent = self.rng.choice([path for path in self.directories + [""]
                                  if path != old and not path.startswith(old + "/")])
        new = os.path.join(parent, f"moved{self.serial}")
        flags = self.rng.choice([0, 0, RENAME_NOREPLACE])
        return self.call(f"rename {old!r} {new!r} flags {flags}",
                         lambda at: renameat2(at(old), at(new), flags))

    def rename_onto_directory(self):
        if not self.directories:
            return self.create()
        old = self.rng.choice(self.directories)
        self.serial += 1
        new = f"empty{self.serial}"

        def act(at):
            os.mkdir(at(new))
            os.rename(at(old), at(new))
        return self.call(f"rename {old!r} onto the empty {new!r}", act)

    def exchange_directories(self):
        if len(self.directories) < 2:
            return self.create()
        old = self.rng.choice(self.directories)
        new = self.rng.choice(self.directories + self.files[:3])
        return self.call(f"exchange {old!r} {new!r}",
                         lambda at: renameat2(at(old), at(new), RENAME_EXCHANGE))

    def in_large(self):
        name = f"{LARGE}/{self.rng.randrange(3)}/g{self.rng.randrange(5)}"
        kind, text = self.rng.choice(["write", "unlink", "rename"]), self.text()

        def act(at):
            if kind == "write":
                os.makedirs(os.path.dirname(at(name)), exist_ok=True)
                with open(at(name), "wb") as file:
                    file.write(text)
            elif kind == "unlink":
                os.unlink(at(name))
            else:
                os.rename(at(name), at(f"{LARGE}/of-{os.path.basename(name)}"))
        return self.call(f"{kind} {name!r}", act)

    # git.

    def some(self):
        return self.rng.choice(self.files + self.directories) if self.files else "."

    def git_add(self):
        return self.git("add", *self.rng.choice([["-A"], ["-u"], ["-A", "--", self.some()],
                                                 ["-N", "--", self.some()], ["."]]))

    def git_commit(self):
        self.serial += 1
        how = self.rng.choice([[], [], ["-a"], ["--amend"]])
        return self.git("commit", "-q", *how, "-m", f"commit {self.serial}")

    def git_checkout_branch(self):
        how = self.rng.choice([[], [], ["-f"], ["-m"]])
        return self.git("checkout", "-q", *how, self.branch())

    def branch(self):
        return self.rng.choice(["main", "main", "one", "two", "b0", "b1", "b2"])

    def git_checkout_paths(self):
        return self.git("checkout", "-q", *self.rng.choice([[], ["HEAD"], [self.branch()]]),
                        "--", self.rng.choice([self.some(), self.some(), "."]))

    def git_restore(self):
        return self.git("restore", "-q", *self.rng.choice([["--staged"], ["-S", "-W"]]), "--",
                        self.some())

    def git_stash_push(self):
        return self.git("stash", "push", "-q", *self.rng.choice([[], ["-u"], ["-k"], ["-S"]]))

    def git_stash_pop(self):
        return self.git("stash", self.rng.choice(["pop", "pop", "apply", "drop"]), "-q")

    def git_reset_hard(self):
        return self.git("reset", "-q", "--hard", self.rng.choice(["HEAD", "HEAD", "HEAD~1"]))

    def git_reset_mixed(self):
        return self.git("reset", "-q", self.rng.choice(["HEAD", "HEAD~1"]))

    def git_clean(self):
        how = self.rng.choice(["-fd", "-fdx", "-fdX"])
        words, act = self.git("clean", "-q", how, loud=False)

        def clean(top, step):
            # A mounted directory is emptied and cannot be removed, of which git complains.
            act(top, step)
            os.makedirs(os.path.join(top, LARGE), exist_ok=True)
        return words, clean

    def git_mv(self):
        self.serial += 1
        return self.git("mv", "-f", "--", self.some(),
                        self.rng.choice([f"mv{self.serial}", self.some()]))

    def git_rm(self):
        return self.git("rm", "-q", *self.rng.choice([["-rf"], ["-r", "--cached"]]), "--",
                        self.some())

    def git_switch(self):
        return self.git("switch", "-q", "-C", self.rng.choice(["b0", "b1", "b2"]),
                        self.rng.choice(["HEAD", "HEAD", "main", "one"]))

    def git_merge(self):
        return self.git("merge", "-q", *self.rng.choice([[], ["-X", "ours"], ["--no-ff"],
                                                         ["--squash"]]), self.branch())

    def git_abort(self):
        return self.git(self.rng.choice(["merge", "rebase", "cherry-pick"]), "--abort")

    def git_rebase(self):
        return self.git(*self.rng.choice([["rebase", "-q", "HEAD~1", "--force-rebase"],
                                          ["rebase", "-q", "main"],
                                          ["cherry-pick", "main", "-X", "theirs"],
                                          ["revert", "--no-edit", "HEAD"]]))

    def git_maintenance(self):
        return self.git(*self.rng.choice([["gc", "-q"], ["pack-refs", "--all"],
                                          ["update-index", "-q", "--really-refresh"],
                                          ["read-tree", "HEAD"]]))

    def restore(self):
        return self.git("checkout", "-q", "-f", "main", "--", ".")


OPTIONS = [
    (Chooser.create, 10), (Chooser.overwrite, 6), (Chooser.same_size, 4), (Chooser.append, 5),
    (Chooser.truncate, 3), (Chooser.unlink, 6), (Chooser.touch, 2), (Chooser.rename_file, 6),
    (Chooser.exchange_files, 1), (Chooser.chmod, 3), (Chooser.hard_link, 3), (Chooser.symlink, 4),
    (Chooser.make_directory, 1), (Chooser.remove_directory, 1), (Chooser.file_to_directory, 1),
    (Chooser.directory_to_file, 1), (Chooser.again, 2), (Chooser.rename_directory, 4),
    (Chooser.rename_onto_directory, 1), (Chooser.exchange_directories, 1), (Chooser.in_large, 3),
    (Chooser.git_add, 8), (Chooser.git_commit, 7), (Chooser.git_checkout_branch, 5),
    (Chooser.git_checkout_paths, 4), (Chooser.git_restore, 2), (Chooser.git_stash_push, 3),
    (Chooser.git_stash_pop, 3), (Chooser.git_reset_hard, 2), (Chooser.git_reset_mixed, 1),
    (Chooser.git_clean, 1), (Chooser.git_mv, 4), (Chooser.git_rm, 2), (Chooser.git_switch, 2),
    (Chooser.git_merge, 3), (Chooser.git_abort, 1), (Chooser.git_rebase, 1),
    (Chooser.git_maintenance, 0.4),
]


def play(arguments):
    tops = os.path.realpath(arguments.repository), os.path.realpath(arguments.copy)
    pair = [Tree(top, arguments.files > 0) for top in tops]
    log = []
    step = 0
    chooser = Chooser(arguments.seed, arguments.files)
    try:
        chooser.look(compare(pair, 0))
        for step in range(1, arguments.steps + 1):
            words, act = chooser.choose()
            log.append(words)
            outcome = act(tops[0], step)
            expect(f"the outcome of `{words}`", outcome, act(tops[1], step))
            if step == arguments.sabotage:
                with open(os.path.join(tops[0], "sabotage"), "wb"):
                    pass
            log[-1] += f" = {outcome}"
            chooser.look(compare(pair, step))
    except Difference as difference:
        print(f"seed {arguments.seed} differs after step {step}. What was done:")
        print("\n".join(f"{number:5} {words}" for number, words in enumerate(log, 1)))
        print(difference)
        print(f"replay: python3 property.py --seed {arguments.seed} --steps {step} "
              f"--files {arguments.files} {' '.join(tops)}")
        return 1
    done = sum(words.endswith((" = 0", " = None")) for words in log)
    print(f"seed {arguments.seed}: {step} steps, {done} of them did something")
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--prepare", metavar="DIR")
    parser.add_argument("--files", type=int, default=0, help="small files beyond the usual ones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--sabotage", type=int, metavar="STEP",
                        help="makes a difference after STEP, which has to be found")
    parser.add_argument("repository", nargs="?")
    parser.add_argument("copy", nargs="?")
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments.prepare, arguments.files)
        return 0
    if not arguments.repository or not arguments.copy:
        parser.error("REPOSITORY and COPY are needed")
    return play(arguments)


sys.exit(main())
