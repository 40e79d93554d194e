"""Was a git of the host ever started on something that a sandbox can write?

    python3 git-trace.py calls DIR [--some]
        judges what git-trace.c has noted in DIR/calls. --some: that there was nothing to judge
        is a failure as well.
    python3 git-trace.py prove DIR
        shows that it would find such calls: a stand-in for jib makes some, and harmless ones.
    python3 git-trace.py strace FILE ROOT
        judges what strace -f -xx -y -v -s 65536 -o FILE has seen of one jib in the current
        directory, ROOT being the store; git inside of a sandbox is not the host's.

Below the store all belongs to sandboxes that is not in a directory whose name begins with a dot:
what jib itself makes (.tmp, .layers) no sandbox can write. The other place is an overlay that is
mounted on the host, below the stage: the view of a sandbox.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

# What takes a directory as the next argument, or behind "="
PLACES = ("--git-dir", "--work-tree", "--exec-path", "--super-prefix", "--reference",
          "--separate-git-dir", "--template")


class Call:
    def __init__(self, name, args, env, cwd, root, paths=(), views=()):
        self.name, self.args, self.env, self.cwd, self.root = name, args, env, cwd, root
        self.paths, self.views = list(paths), list(views)

    def words(self):
        """Every piece of the arguments and the environment that may be a path, and how it is
        called. Those that are none do no harm: they lie in the current directory."""
        after = None
        for arg in self.args:
            if after:
                yield after, arg
            after = arg if arg in PLACES else None
            if "=" in arg and not arg.startswith("/"):
                yield arg.split("=", 1)
            elif arg.startswith("/"):
                yield "argument", arg
        for name, value in self.env.items():
            pieces = value.split(":") if name == "GIT_ALTERNATE_OBJECT_DIRECTORIES" else [value]
            for piece in pieces:
                yield name, piece

    def directory(self):
        """Where git works: what -C says comes one after the other."""
        where = self.cwd
        for option, value in zip(self.args, self.args[1:]):
            if option == "-C":
                where = os.path.join(where, value)
        return where

    def places(self):
        where = self.directory()
        yield "directory", where
        for what, word in self.words():
            yield what, os.path.join(where, word.strip('"'))
        for path in self.paths:
            yield "path", path

    def breaches(self):
        for what, place in self.places():
            for path in {os.path.normpath(place), os.path.realpath(place)}:
                if why := self.writable(path):
                    yield f"{what} {path} is {why}"

    def writable(self, path):
        if path.startswith(self.root + "/"):
            sandbox = path[len(self.root) + 1:].split("/")[0]
            if not sandbox.startswith("."):
                return f"of the sandbox {sandbox}"
        for view in self.views:
            if path == view or path.startswith(view + "/"):
                return f"in the view that is mounted at {view}"
        return None

    def __str__(self):
        env = " ".join(f"{name}={value}" for name, value in self.env.items())
        return f"{self.name} {' '.join(self.args)} (in {self.cwd}, with {env})"


def judge(calls):
    """Prints what is wrong; returns how many calls are."""
    bad = 0
    for call in calls:
        breaches = sorted(set(call.breaches()))
        bad += bool(breaches)
        for breach in breaches:
            print(f"{call}: {breach}")
    return bad


# ---- what git-trace.c notes ----

def unescape(mount_point):
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), mount_point)


def parse_record(body):
    fields = {}
    for field in os.fsdecode(body).split("\0")[:-1]:
        name, value = field.split("=", 1)
        fields.setdefault(name, []).append(value)
    return Call(fields["name"][0], fields.get("arg", []),
                dict(item.split("=", 1) for item in fields.get("env", [])),
                fields["cwd"][0], fields["root"][0], fields.get("path", []),
                [unescape(view) for view in fields.get("view", [])])


def read_calls(directory):
    with open(os.path.join(directory, "calls"), "rb") as file:
        while head := file.readline():
            body = file.read(int(head))
            if len(body) != int(head):
                sys.exit("a record is cut off")
            yield parse_record(body)


def judge_calls(directory, some):
    calls = list(read_calls(directory))
    print(f"{len(calls)} calls of git by jib")
    return judge(calls) == 0 and (len(calls) > 0 or not some)


# ---- that it finds what it has to find ----

# In a store with the sandbox "a"; every line is what the stand-in for jib is told to do.
HARMLESS = """
git -C host status
GIT_DIR=host/.git git log -1
git -C store/.layers/x init -q --bare tree
GIT_DIR=$PWD/store/.tmp/q git init -q
cd store/a/upper && git -C $PWD/../../../host status
""".strip().split("\n")
HARMFUL = """
git -C store/a/upper/repos/r status
git -C store -C a/upper/repos/r status
cd store/a/home && git status
git --git-dir=store/a/upper/git/r log
git --git-dir store/a/upper/git/r log
git -C host --work-tree=$PWD/store/a/upper/repos/r status
GIT_DIR=store/a/upper/git/r git log
GIT_WORK_TREE=../store/a/upper/repos/r git -C host status
GIT_DIR=host/.git GIT_INDEX_FILE=$PWD/store/a/upper/git/r/index git status
GIT_OBJECT_DIRECTORY=$PWD/store/a/upper/git/r/objects git -C host log
GIT_ALTERNATE_OBJECT_DIRECTORIES="\\"/x\\":\\"$PWD/store/a/upper/carried/r/0\\"" git -C host log
git -C host fetch -q $PWD/store/a/upper/git/r
git -C host -c include.path=$PWD/store/a/home/config log
git -C link status
git -C pointer status
git -C borrower log
git -c alias.x='!git -C '$PWD'/store/a/home status' -C host x
""".strip().split("\n")


def make_ground(top):
    for path in ("store/a/upper/repos/r", "store/a/upper/carried/r/0", "store/a/home", "pointer",
                 "store/.layers/x", "store/.tmp", "bin", "home"):
        os.makedirs(os.path.join(top, path))
    for path in ("host", "borrower", "store/a/upper/git/r --bare"):
        subprocess.run(["git", "init", "-q", *path.split()], cwd=top, check=True)
    subprocess.run(["git", "-C", "host", "-c", "user.name=A", "-c", "user.email=a@b", "commit",
                    "-q", "--allow-empty", "-m", "one"], cwd=top, check=True)
    os.symlink("store/a/upper/repos/r", os.path.join(top, "link"))
    with open(os.path.join(top, "pointer/.git"), "w") as file:
        file.write("gitdir: ../store/a/upper/git/r\n")
    with open(os.path.join(top, "borrower/.git/objects/info/alternates"), "w") as file:
        file.write(f"{top}/store/a/upper/git/r/objects\n")
    # A shell of this name, which git-trace.c takes for jib
    shutil.copy(os.path.realpath("/bin/sh"), os.path.join(top, "bin/jib"))


def attempt(top, trace, line):
    open(os.path.join(trace, "calls"), "w").close()
    subprocess.run([os.path.join(top, "bin/jib"), "-c", line + "; :"], cwd=top,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
                   env={"PATH": f"{trace}:/usr/local/bin:/usr/bin:/bin", "HOME": f"{top}/home",
                        "PWD": top, "JIB_ROOT": f"{top}/store"})
    return list(read_calls(trace))


def prove(directory):
    good = True
    with tempfile.TemporaryDirectory() as top:
        top = os.path.realpath(top)
        make_ground(top)
        trace = os.path.join(top, "trace")
        shutil.copytree(directory, trace, symlinks=True,
                        ignore=shutil.ignore_patterns("calls"))
        for line in HARMLESS + HARMFUL:
            calls = attempt(top, trace, line)
            found = any(list(call.breaches()) for call in calls)
            if not calls or found != (line in HARMFUL):
                print(f"{'nothing' if not found else 'a breach'} was found in: {line}")
                good = False
        # What git has started itself
        started = [" ".join([call.name, *call.args[:1]])
                   for call in attempt(top, trace, "git clone -q --no-local host copy")]
        if not any(map(re.compile("git-upload-pack ").match, started)) or \
                "git index-pack" not in started:
            print(f"a clone has started {started}")
            good = False
        view = Call("git", ["status"], {}, "/mnt/a/sub", "/r", views=["/mnt/a"])
        good = good and len(list(view.breaches())) > 0
    return good


# ---- what strace has seen ----

STRING = r'"((?:\\x[0-9a-f]{2})*)"'


def decode(text):
    return os.fsdecode(bytes.fromhex(text.replace("\\x", "")))


def strings(text):
    return [decode(match) for match in re.findall(STRING, text)]


def read_events(path):
    """(pid, what the call was, its result), in order of their ends; a call that another process
    has interrupted in the log is put together again."""
    begun = {}
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            pid, text = line.rstrip("\n").split(None, 1)
            if text.endswith("<unfinished ...>"):
                begun[pid] = text[:-len("<unfinished ...>")]
                # The child of a vfork is at work before its parent hears of it.
                yield pid, begun[pid], None
                continue
            if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", text):
                text = begun.pop(pid, "") + resumed[1]
                if text.startswith("execve("):
                    continue  # told already
            result = re.search(r" = (-?\d+)[^=]*$", text)
            yield pid, text, int(result[1]) if result else None


class Process:
    def __init__(self, cwd, inside):
        self.cwd, self.inside = cwd, inside


def parents_of(events):
    """Whose child each process is, and whether it got a user namespace of its own. What a process
    inside returns are numbers of another pid namespace, but nobody asks for those."""
    parents = {}
    for pid, text, result in events:
        if re.match(r"(clone3?|v?fork)\(", text) and result and result > 0:
            parents.setdefault(str(result), (pid, "CLONE_NEWUSER" in text))
    return parents


def read_strace(path, root):
    events = list(read_events(path))
    parents = parents_of(events)
    processes = {events[0][0]: Process(os.getcwd(), False)} if events else {}

    def process(pid):
        if pid not in processes:
            parent, apart = parents.get(pid, (None, True))
            # A process that nobody outside has started
            above = process(parent) if parent else Process("/", True)
            processes[pid] = Process(above.cwd, above.inside or apart)
        return processes[pid]

    for pid, text, result in events:
        one = process(pid)
        if one.inside:
            continue
        name = text.split("(", 1)[0]
        if name in ("unshare", "setns") and "CLONE_NEWUSER" in text and result == 0:
            one.inside = True
        elif name == "chdir" and result == 0:
            one.cwd = os.path.join(one.cwd, strings(text)[0])
        elif name == "fchdir" and result == 0:
            one.cwd = decode(re.search(r"<((?:\\x[0-9a-f]{2})*)>", text)[1])
        elif name == "execve":
            program, argv, env = re.fullmatch(
                rf"execve\({STRING}, \[(.*?)\], \[(.*?)\].*", text).groups()
            program, argv = decode(program), strings(argv)
            if not re.fullmatch(r"git(-.*)?", os.path.basename(program)):
                continue
            variables = dict(item.split("=", 1) for item in strings(env)
                             if item.startswith("GIT_"))
            yield Call(program, argv[1:], variables, one.cwd, root)


def judge_strace(path, root):
    calls = list(read_strace(path, os.path.realpath(root)))
    print(f"{len(calls)} calls of git")
    return judge(calls) == 0


def main(mode, *args):
    if mode == "calls":
        return judge_calls(args[0], "--some" in args)
    if mode == "prove":
        return prove(args[0])
    return judge_strace(*args)


sys.exit(0 if main(*sys.argv[1:]) else 1)
