"""What a point in time costs: carrying uncommitted work, layers, git status, memory, renames."""

import os
import random
import shutil
import statistics
import subprocess
import time

from core import KIB, Failure, allocated, say, take_turns

MIB = 1024 * KIB
# Debian's: the one that runs this may be where a sandbox does not see it.
PYTHON = "/usr/bin/python3"

# Prints the milliseconds of a command, twice, from inside of whatever this runs in.
STOPWATCH = """
import subprocess, sys, time
for _ in range(2):
    start = time.perf_counter()
    subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
    print((time.perf_counter() - start) * 1e3)
"""

# Prints the microseconds of the rename of a file, in the directory that it is given.
RENAMES = """
import os, sys, time
os.chdir(sys.argv[1])
names = [f"jib-bench-{i}" for i in range(200)]
for name in names:
    open(name, "w").close()
start = time.perf_counter()
for _ in range(5):
    for name in names:
        os.rename(name, name + "x")
    for name in names:
        os.rename(name + "x", name)
spent = time.perf_counter() - start
for name in names:
    os.unlink(name)
print(spent / (10 * len(names)) * 1e6)
"""


def files_of(repository):
    with_index = subprocess.run(["git", "ls-files", "-z"], cwd=repository, check=True,
                                stdout=subprocess.PIPE)
    return with_index.stdout.decode().split("\0")[:-1]


def change(repository, paths, text):
    for path in paths:
        with open(os.path.join(repository, path), "a", encoding="ascii") as file:
            file.write(text)


def new(bench, repository, name, *options):
    """Milliseconds of `jib new`."""
    os.chdir(repository)
    return bench.clock(bench.jib, "new", "-q", *options, name)


def remove(bench, *names):
    bench.run(bench.jib, "rm", "--force", *names)


# ---- git status ----


def measure_status(bench, results, size, repository, rounds):
    say(f"git status of {size:,} files")
    # Natively it is warm: the index has its stat data, and the kernel all directories.
    bench.run("git", "status", cwd=repository)
    status = [PYTHON, "-c", STOPWATCH, "git", "status"]
    later = []

    def native():
        return float(bench.run(*status, cwd=repository).split()[1])

    def fresh():
        said = bench.run(bench.jib, "run", "--rm", "-q", "--", *status, cwd=repository)
        first, second = said.split()
        later.append(float(second))
        return float(first)

    fresh()
    later.clear()
    times = take_turns(rounds, {"native": native, "fresh": fresh})
    target = 0.5 if size >= 100000 else None
    against = ("natively, warm", times["native"])
    results.section(f"git status, {size:,} files")
    results.add_times("natively, warm", times["native"])
    results.add_times("the first in a fresh sandbox", times["fresh"], against, target=target)
    results.add_times("a later one in it", later, against, target=target)


# ---- uncommitted work ----


def measure_carried(bench, results, size, repository, rounds):
    say(f"uncommitted work among {size:,} files")
    paths = files_of(repository)
    some = random.Random(1).sample(paths, 25)
    change(repository, some, "staged\n")
    bench.run("git", "add", "--", *some[:5], cwd=repository)
    change(repository, some[:2], "and modified\n")
    for i in range(20):
        os.makedirs(os.path.join(repository, "untracked", str(i % 4)), exist_ok=True)
        change(repository, [f"untracked/{i % 4}/{i}"], "untracked\n")
    bench.run("git", "status", cwd=repository)

    def run(*options):
        def clock():
            os.chdir(repository)
            return bench.clock(bench.jib, "run", "--rm", "-q", *options, "--", "/bin/true")
        return clock

    def native():
        os.chdir(repository)
        return bench.clock("git", "status")

    run()()
    run("--clean")()
    times = take_turns(rounds, {"native": native, "carried": run(), "clean": run("--clean")})
    results.section(f"45 uncommitted files carried along, of {size:,}")
    results.add_times("git status on the host", times["native"])
    results.add_times("jib run --rm --clean -- /bin/true", times["clean"])
    results.add_times("jib run --rm -- /bin/true", times["carried"],
                      ("git status", times["native"]))
    more = statistics.median(times["carried"]) - statistics.median(times["native"])
    results.add("that is more than git status by", more, judged=more, target=10)
    bench.run("git", "reset", "-q", "--hard", cwd=repository)
    bench.run("git", "clean", "-qfd", cwd=repository)
    bench.run("git", "status", cwd=repository)


# ---- layers ----


def measure_delta(bench, results, size, repository, rounds):
    say(f"commits of 10 of {size:,} files")
    paths = files_of(repository)
    rng = random.Random(2)
    names = ["base"]
    new(bench, repository, "base", "--clean")
    made = []
    known = []
    for i in range(rounds):
        some = rng.sample(paths, 10)
        change(repository, some, f"commit {i}\n")
        bench.run("git", "commit", "-q", "-m", f"commit {i}", "--", *some, cwd=repository)
        bench.sync()
        made.append(new(bench, repository, f"made-{i}", "--clean"))
        known.append(new(bench, repository, f"known-{i}", "--clean"))
        names += [f"made-{i}", f"known-{i}"]
    remove(bench, *names)
    results.section(f"The next commit: 10 of {size:,} files changed")
    results.add_times("jib new on the new commit", made)
    results.add_times("jib new on one that is known", known)
    more = statistics.median(made) - statistics.median(known)
    results.add("the layer of the commit takes", more, judged=more,
                target=50 if size >= 100000 else None)


# ---- large ignored directories ----


def make_modules(repository, count=30000, size=1 << 30):
    """node_modules with `count` files of `size` bytes in all"""
    data = random.Random(3).randbytes(1 << 20)
    each = size // count
    for i in range(count):
        directory = os.path.join(repository, f"node_modules/package{i // 100}/lib{i // 10 % 10}")
        if i % 10 == 0:
            os.makedirs(directory)
        with open(os.path.join(directory, f"{i}.js"), "wb") as file:
            file.write(data[i:i + each])


def measure_modules(bench, results, repository, rounds):
    """Measures, too, what a sandbox takes on the disk that carries everything."""
    say("node_modules of 1 GB")
    pair = {}
    for name in ("without", "with"):
        pair[name] = bench.path(f"modules-{name}")
        bench.run("git", "clone", "-q", repository, pair[name])
        with open(os.path.join(pair[name], ".git/info/exclude"), "a", encoding="ascii") as file:
            file.write("node_modules/\n*.o\n")
    make_modules(pair["with"])
    bench.sync()

    def run(name):
        def clock():
            os.chdir(pair[name])
            return bench.clock(bench.jib, "run", "--rm", "-q", "--", "/bin/true")
        return clock

    candidates = {name: run(name) for name in pair}
    first = {name: clock() for name, clock in candidates.items()}
    times = take_turns(rounds, candidates)
    results.section("A second sandbox, with node_modules of 1 GB in 30,000 files")
    results.add_times("jib run --rm -- /bin/true, without", times["without"])
    results.add_times("with", times["with"], ("without", times["without"]))
    more = statistics.median(times["with"]) - statistics.median(times["without"])
    results.add("that is more by", more, judged=more, target=20)
    results.add("the first one was more by", first["with"] - first["without"])

    results.section("Disk of a sandbox that carries everything, nothing changed in it")
    change(pair["with"], files_of(pair["with"])[:20] + ["untracked", "a.o"], "changed\n")
    new(bench, pair["with"], "clean", "--clean")
    layers = allocated(os.path.join(bench.store, ".layers"))
    new(bench, pair["with"], "everything")
    grown = allocated(os.path.join(bench.store, ".layers")) - layers
    own = allocated(os.path.join(bench.store, "everything"))
    results.add("after jib new", own, unit="KiB", judged=own, target=128)
    bench.run(bench.jib, "run", "-q", "everything", "--", "/bin/true", cwd=pair["with"])
    own = allocated(os.path.join(bench.store, "everything"))
    results.add("after jib run", own, unit="KiB", judged=own, target=128)
    results.add("the layer with what is carried", grown, unit="KiB")
    remove(bench, "everything", "clean")


def measure_commit(bench, results, size, repository):
    results.section(f"Disk of a sandbox after a commit of one file of {size:,}")
    new(bench, repository, "commit")
    script = 'echo more >>"$1" && git commit -qm one -- "$1" && git status --porcelain'
    bench.run(bench.jib, "run", "-q", "commit", "--", "sh", "-c", script, "sh",
              files_of(repository)[size // 2], cwd=repository)
    own = allocated(os.path.join(bench.store, "commit"))
    results.add("after git commit and git status", own, unit="KiB", judged=own,
                target=1024 if size >= 100000 else None)
    remove(bench, "commit")


# ---- memory ----


def peak_of(pid):
    """KiB, as far as the process has come."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def watch(bench, argv, cwd, stdout=subprocess.DEVNULL):
    """
    The peak of each of jib's processes while argv runs: looked at again and again, because what
    wait4() says of a process holds for the git that it waited for, too. A peak in the last
    moment of a process goes unseen. 0 when all were over too soon.
    """
    programs = {bench.jib, os.path.join(os.path.dirname(bench.jib), "jib-guest")}
    peaks = {}
    bench.log.truncate(0)
    process = subprocess.Popen(argv, cwd=cwd, env=bench.env, stdin=subprocess.DEVNULL,
                               stdout=stdout, stderr=bench.log)
    while process.poll() is None:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/exe") in programs:
                    peaks[pid] = max(peak_of(pid), peaks.get(pid, 0))
            except OSError:
                continue  # it has ended, or is somebody else's
        time.sleep(0.0005)
    bench.wait(argv, process.returncode, cwd)
    return max(peaks.values(), default=0)


def measure_memory(bench, results, size, repository):
    say(f"memory at {size:,} files")
    paths = files_of(repository)
    bench.store, kept = bench.path("memory-store"), bench.store
    bench.env["JIB_ROOT"] = bench.store
    inside = "git status >/dev/null; git mv src moved; : >new; git status >/dev/null"
    results.section(f"Peak memory of jib's processes, {size:,} files")

    def row(name, *argv):
        peak = watch(bench, [bench.jib, *argv], repository)
        if peak:
            results.add(name, peak, unit="KiB", judged=peak, target=64 * KIB - 1)
        else:
            results.add_absent(name, "over before it could be looked at")

    row("the first sandbox: its layers are made", "run", "--rm", "-q", "--", "/bin/true")
    row("a later one", "run", "--rm", "-q", "--", "/bin/true")
    row("git status, renames of directories inside", "run", "-q", "used", "--", "sh", "-c", inside)
    change(repository, paths[:: max(1, size // 1000)], "more\n")
    row("with 1,000 modified files", "run", "--rm", "-q", "--", "/bin/true")
    bench.run("git", "commit", "-qam", "more", cwd=repository)
    row("on the next commit", "new", "-q", "next")
    row("jib show", "show", "used")
    row("jib rm", "rm", "--force", "used", "next")
    bench.store = kept
    bench.env["JIB_ROOT"] = kept


# ---- renames ----


def plain_overlay(bench):
    """argv that runs a command on an overlay that is not jib's, and its directory; or None."""
    if not shutil.which("unshare"):
        return None
    place = bench.path("overlay")
    for name in ("lower", "upper", "work", "merged"):
        os.makedirs(os.path.join(place, name))
    script = ('cd "$1" && shift && mount -t overlay overlay -o '
              'lowerdir=lower,upperdir=upper,workdir=work,userxattr merged && exec "$@"')
    argv = ["unshare", "-rm", "sh", "-c", script, "sh", place]
    try:
        bench.run(*argv, "true")
    except Failure:
        return None
    return argv, os.path.join(place, "merged")


def measure_renames(bench, results, repository, rounds):
    say("renames")
    overlay = plain_overlay(bench)
    candidates = {
        "native": lambda: float(bench.run(PYTHON, "-c", RENAMES, bench.scratch)),
        "inside": lambda: float(bench.run(bench.jib, "run", "--rm", "-q", "--", PYTHON, "-c",
                                          RENAMES, ".", cwd=repository)),
    }
    if overlay:
        candidates["overlay"] = lambda: float(bench.run(*overlay[0], PYTHON, "-c", RENAMES,
                                                        overlay[1]))
    times = take_turns(rounds, candidates)
    results.section("The rename of a file")
    results.add_times("natively", times["native"], unit="us")
    if overlay:
        results.add_times("on an overlay that is not jib's", times["overlay"], unit="us")
    else:
        results.add_absent("on an overlay that is not jib's", "absent: it cannot be mounted here")
    results.add_times("in a sandbox", times["inside"], unit="us")
    than = "overlay" if overlay else "native"
    more = statistics.median(times["inside"]) - statistics.median(times[than])
    results.add("that is more than " + ("on the overlay by" if overlay else "natively by"), more,
                unit="us", judged=more, target=20)
