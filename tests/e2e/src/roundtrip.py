#!/usr/bin/env python3
"""Whatever was done in a sandbox, what comes home is what git would have taken.

    python3 roundtrip.py --seed N --cases M --steps K [--per-sandbox P] [--sabotage] PLACE

Each case is K random operations of property.py, in a sandbox and in a plain copy of its repository,
which stay equal. Then, in PLACE:

    persist          the tree of the branch is the one that `git add -A` and `git write-tree` make of the copy
    diff             names what differs between the copy now and when it was made, and nothing else
    persist --apply  on an unchanged host: the work tree is the copy's; and --undo: it is as before
    persist --apply  on a changed host: each file is what `git merge-file` makes of the three, or, when
                     one is in conflict, nothing has changed

It runs on the host. The jib is $JIB. With --sabotage one file of the copy is changed behind its
back, which has to be found.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
PROPERTY = os.path.join(HERE, "property.py")
JIB = os.environ["JIB"]


class Difference(Exception):
    pass


def run(*argv, cwd=None, stdin=subprocess.DEVNULL, env=None, check=True):
    done = subprocess.run(argv, cwd=cwd, stdin=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False,
                          env={**os.environ, **(env or {})})
    if check and done.returncode:
        raise Difference(f"{' '.join(argv)}: status {done.returncode}: "
                         f"{(done.stdout + done.stderr).decode(errors='replace')[-1500:]}")
    return done


def text(*argv, **more):
    return run(*argv, **more).stdout.decode(errors="surrogateescape").rstrip("\n")


def listing(top):
    """{path: what it is} of a work tree: mode and content of files, targets of links."""
    found = {}
    for place, directories, names in os.walk(top):
        directories[:] = [name for name in directories if name != ".git"]
        for name in names + [each for each in directories
                             if os.path.islink(os.path.join(place, each))]:
            path = os.path.join(place, name)
            inner = os.path.relpath(path, top)
            if os.path.islink(path):
                found[inner] = "-> " + os.readlink(path)
                continue
            with open(path, "rb") as file:
                found[inner] = os.stat(path).st_mode & 0o100, file.read()
    return found


class Trip:
    def __init__(self, place):
        self.repo = os.path.join(place, "repo")
        self.copy = os.path.join(place, "copy")
        self.start = os.path.join(place, "start")
        self.index = os.path.join(place, "index")
        self.place = place

    def begin(self):
        for path in (self.repo, self.copy, self.start):
            shutil.rmtree(path, ignore_errors=True)
        run(JIB, "rm", "--force", "s", check=False)
        run("python3", PROPERTY, "--prepare", self.repo)
        run("cp", "-a", self.repo, self.copy)
        run("cp", "-a", self.repo, self.start)
        run(JIB, "new", "-q", "s", cwd=self.repo)

    def play(self, seed, steps):
        with open(PROPERTY, "rb") as script:
            run(JIB, "run", "s", "-q", "--bind", f"{self.copy}:{self.copy}:rw", "--", "python3", "-",
                "--seed", str(seed), "--steps", str(steps), self.repo, self.copy, stdin=script,
                cwd=self.repo)

    def tree_of(self, work_tree, indexed=None):
        """As git takes it, with an index, the copy's if none is said, telling what is tracked."""
        shutil.copy(os.path.join(indexed or self.copy, ".git/index"), self.index)
        env = {"GIT_INDEX_FILE": self.index, "GIT_DIR": os.path.join(self.copy, ".git"),
               "GIT_WORK_TREE": work_tree}
        run("git", "-c", "core.fsmonitor=false", "add", "-A", cwd=work_tree, env=env)
        return text("git", "write-tree", cwd=work_tree, env=env)

    def explain(self, wanted, got):
        env = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": os.path.join(self.copy, ".git/objects")}
        return text("git", "diff-tree", "-r", "--name-status", wanted, got, cwd=self.repo, env=env,
                    check=False)[:2000]

    def check_persist(self):
        wanted = self.tree_of(self.copy)
        answer = json.loads(text(JIB, "persist", "s", "--json", cwd=self.repo))
        branch = text("git", "rev-parse", "--abbrev-ref", "HEAD", cwd=self.copy)
        ref = "refs/heads/jib/s/" + ("detached" if branch == "HEAD" else branch)
        if all(each["ref"] != ref for each in answer["repos"][0]["branches"]):
            # There is nothing that the host does not have.
            got = text("git", "rev-parse", "HEAD^{tree}", cwd=self.copy)
        else:
            got = text("git", "rev-parse", ref + "^{tree}", cwd=self.repo)
        if got != wanted:
            raise Difference(f"persist: {ref} has another tree:\n{self.explain(wanted, got)}")

    def check_diff(self):
        """Names are quoted as git quotes them, by git on both sides."""
        before, now = self.tree_of(self.start, self.start), self.tree_of(self.copy)
        wanted = text("git", "diff-tree", "-r", "--no-renames", "--name-only", before, now,
                      cwd=self.copy).split("\n")
        said = json.loads(text(JIB, "diff", "s", "--json", cwd=self.repo))["repos"][0]["files"]
        got = {each["path"] for each in said} | {each["old_path"] for each in said} - {None}
        plain = {name.strip('"').encode().decode("unicode_escape").encode("latin-1").decode()
                 if name.startswith('"') else name for name in wanted} - {""}
        # What the host ignores at the beginning and git takes now is no change of the sandbox's own.
        if got != plain:
            raise Difference(f"diff: only jib names {sorted(got - plain)}, "
                             f"only git names {sorted(plain - got)}")

    def check_apply(self):
        before = listing(self.repo)
        wanted = self.tree_of(self.copy)
        run(JIB, "persist", "s", "--apply", cwd=self.repo)
        got = self.tree_of(self.repo)
        said = self.explain(wanted, got).split("\n") if got != wanted else []
        # A file that was ignored at the beginning is the host's own, also when it is removed inside.
        if any(line and not line.startswith(("A\td3/small.ign", "A\tcache/")) for line in said):
            raise Difference("persist --apply:\n" + "\n".join(said))
        if listing(self.repo) != before:
            run(JIB, "persist", "--undo", cwd=self.repo)
        after = listing(self.repo)
        if after != before:
            changed = sorted(path for path in before.keys() | after.keys()
                             if before.get(path) != after.get(path))
            raise Difference(f"persist --undo: {changed[:20]}")

    def merged(self, path, versions):
        """What merge-file makes of three versions of a text; None for a conflict."""
        names = []
        for name, content in zip(("host", "base", "theirs"), versions):
            names.append(os.path.join(self.place, "merge-" + name))
            with open(names[-1], "wb") as file:
                file.write(content)
        done = run("git", "merge-file", "-p", *names, cwd=self.place, check=False)
        return done.stdout if done.returncode == 0 else None

    def expect_merge(self, base, host, theirs):
        """{path: content} that has to be there afterwards, or None when anything is in conflict."""
        wanted = dict(host)
        for path in base.keys() | theirs.keys():
            old, new, ours = base.get(path), theirs.get(path), host.get(path)
            if new in (old, ours):
                continue
            if ours == old:
                if new is None:
                    wanted.pop(path, None)
                else:
                    wanted[path] = new
                continue
            if not all(isinstance(each, tuple) for each in (old, new, ours)):
                return None
            content = self.merged(path, (ours[1], old[1], new[1]))
            if content is None:
                return None
            mode = new[0] if ours[0] == old[0] else ours[0]
            wanted[path] = mode, content
        return wanted

    def check_merge(self, rng):
        """The host goes on by itself in a few files that are there, and in a new one."""
        base, theirs = listing(self.start), listing(self.copy)
        texts = sorted(path for path, what in base.items()
                       if isinstance(what, tuple) and b"\n" in what[1] and len(what[1]) < 65536
                       and not path.endswith(".ign") and not path.startswith("cache/"))
        for path in rng.sample(texts, 4):
            with open(os.path.join(self.repo, path), "r+b") as file:
                content = file.read()
                file.seek(0)
                file.truncate()
                file.write(rng.choice([b"host\n" + content, content + b"host\n"]))
        with open(os.path.join(self.repo, "of-the-host"), "w", encoding="ascii") as file:
            file.write("new\n")
        host = listing(self.repo)
        # Renames are followed by jib; file by file they are not the same.
        said = json.loads(text(JIB, "persist", "s", "--apply", "--dry-run", "--json",
                               cwd=self.repo))["repos"][0]
        paths = {each["path"] for each in said["files"]}
        renamed = any(each["from"] for each in said["files"])
        only = {path: what for path, what in theirs.items() if path in paths or path in base}
        wanted = self.expect_merge({path: what for path, what in base.items() if path in paths},
                                   host, {path: what for path, what in only.items()
                                          if path in paths})
        done = run(JIB, "persist", "s", "--apply", cwd=self.repo, check=False)
        got = listing(self.repo)
        if done.returncode:
            if got != host:
                raise Difference("persist --apply: refused, and has written all the same")
            if wanted is not None and not renamed:
                raise Difference("persist --apply: refused without a conflict: " +
                                 done.stderr.decode() + json.dumps(said))
        elif not renamed and got != wanted:
            changed = sorted(path for path in got.keys() | (wanted or {}).keys()
                             if got.get(path) != (wanted or {}).get(path))
            raise Difference(f"persist --apply: not the merge of each file: {changed[:20]}")
        if not done.returncode and got != host:
            run(JIB, "persist", "--undo", cwd=self.repo)
            if listing(self.repo) != host:
                raise Difference("persist --undo does not give the changed host back")
        for path in listing(self.repo).keys() - listing(self.start).keys():
            os.unlink(os.path.join(self.repo, path))
        for path, what in base.items():
            if host.get(path) != what and isinstance(what, tuple):
                with open(os.path.join(self.repo, path), "wb") as file:
                    file.write(what[1])
        return done.returncode == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--per-sandbox", type=int, default=8)
    parser.add_argument("--sabotage", action="store_true")
    parser.add_argument("place")
    arguments = parser.parse_args()
    trip = Trip(os.path.realpath(arguments.place))
    merges = 0
    for case in range(arguments.cases):
        seed = arguments.seed + case
        try:
            if case % arguments.per_sandbox == 0:
                trip.begin()
            trip.play(seed, arguments.steps)
            if arguments.sabotage:
                with open(os.path.join(trip.copy, "sabotage"), "w", encoding="ascii") as file:
                    file.write("sabotage\n")
            trip.check_persist()
            trip.check_diff()
            trip.check_apply()
            merges += trip.check_merge(random.Random(seed))
        except Difference as difference:
            print(f"seed {seed} ({arguments.steps} steps, case {case}): {difference}")
            return 1
    print(f"{arguments.cases} cases, {merges} merges without a conflict")
    return 0


if __name__ == "__main__":
    sys.exit(main())
