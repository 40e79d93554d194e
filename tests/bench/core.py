"""What all measurements share: the scratch directory, the clock, the repositories, the results."""

import os
import random
import shutil
import statistics
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
FILES_PER_DIRECTORY = 100
KIB = 1024


class Failure(Exception):
    """The measuring itself cannot go on."""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


# ---- running things ----


class Bench:
    """The scratch directory, the environment of everything that runs, and the programs."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.store = self.path("store")
        self.jib = os.path.realpath(os.environ.get("JIB", os.path.join(TOP, "build", "jib")))
        if not os.access(self.jib, os.X_OK):
            raise Failure(f"there is no {self.jib}")
        self.log = open(self.path("stderr"), "w+b")
        # The caller's own settings must not decide: hooks, fsmonitor, a pager, aliases.
        self.env = {key: value for key, value in os.environ.items()
                    if not key.startswith(("GIT_", "JIB_"))}
        self.env.update(HOME=self.path("home"), JIB_ROOT=self.store, LC_ALL="C.UTF-8",
                        XDG_CONFIG_HOME=self.path("home/.config"))
        os.mkdir(self.path("home"))
        os.mkdir(self.path("discarded"))
        self.discarded = 0
        self.run("git", "config", "--global", "user.name", "Bench")
        self.run("git", "config", "--global", "user.email", "bench@example.com")
        self.run("git", "config", "--global", "gc.auto", "0")

    def path(self, name):
        return os.path.join(self.scratch, name)

    def wait(self, argv, status, cwd=None):
        if status == 0:
            return
        self.log.seek(0)
        said = self.log.read().decode(errors="replace").strip()[-400:]
        raise Failure(f"`{' '.join(argv)}` in {cwd} failed with status {status}: {said}")

    def run(self, *argv, cwd=None, stdin=subprocess.DEVNULL):
        """Runs without a clock. Returns what it printed."""
        self.log.truncate(0)
        done = subprocess.run(argv, cwd=cwd, env=self.env, stdin=stdin, stdout=subprocess.PIPE,
                              stderr=self.log, check=False)
        self.wait(argv, done.returncode, cwd)
        return done.stdout.decode(errors="replace")

    def clock(self, *argv):
        """Runs argv in the current directory. Returns the milliseconds from spawn to exit."""
        self.log.truncate(0)
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                   (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                   (os.POSIX_SPAWN_DUP2, self.log.fileno(), 2)]
        start = time.perf_counter()
        pid = os.posix_spawnp(argv[0], argv, self.env, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        spent = (time.perf_counter() - start) * 1e3
        self.wait(argv, os.waitstatus_to_exitcode(status), os.getcwd())
        return spent

    def sync(self):
        """What was written before is not on the account of what is measured next."""
        self.run("sync", "-f", self.scratch)

    def discard(self, path):
        """Out of the way at once; removed at the end, because removing slows what follows it."""
        if os.path.lexists(path):
            self.discarded += 1
            os.rename(path, self.path(f"discarded/{self.discarded}"))

    def clean_up(self):
        """Where each removal waits for the disk, many at once take as long as one."""
        parts = [os.path.join(place, name) for place in (self.path("discarded"), self.scratch)
                 for name in os.listdir(place)]
        # overlayfs keeps work directories at mode 000.
        script = 'chmod -R u+rwX "$1" 2>/dev/null; exec rm -rf "$1"'
        removals = [subprocess.Popen(["sh", "-c", script, "sh", part]) for part in parts
                    if part != self.path("discarded")]
        for removal in removals:
            removal.wait()
        subprocess.run(["rm", "-rf", self.scratch], check=False)


def take_turns(rounds, candidates):
    """candidates: {name: function that returns milliseconds}. Each round begins with another."""
    times = {name: [] for name in candidates}
    names = list(candidates)
    for i in range(rounds):
        for name in names[i % len(names):] + names[:i % len(names)]:
            times[name].append(candidates[name]())
    return times


# ---- the disk ----


def allocated(directory):
    """What `du` says, in KiB. Counts directories that cannot be entered, as themselves."""
    total = os.lstat(directory).st_blocks
    for place, directories, files in os.walk(directory):
        total += sum(os.lstat(os.path.join(place, name)).st_blocks
                     for name in directories + files)
    return total * 512 / KIB


# ---- the repositories ----


def make_repository(bench, count):
    """`count` files of 1 to 6 KiB of text, about a hundred in each directory, one commit."""
    repository = bench.path(f"repo-{count}")
    rng = random.Random(count)
    words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz_", k=rng.randint(2, 11)))
             for _ in range(2000)]
    pool = b"".join(rng.choice(words) + rng.choice((b" ", b" ", b"(", b");\n", b"\n\t"))
                    for _ in range(60000))
    bench.run("git", "init", "-q", "-b", "main", repository)
    importer = subprocess.Popen(["git", "-c", "core.compression=1", "fast-import", "--quiet"],
                                cwd=repository, env=bench.env, stdin=subprocess.PIPE)
    out = importer.stdin
    out.write(b"commit refs/heads/main\ncommitter Bench <bench@example.com> 1600000000 +0000\n"
              b"data 5\nfiles\n")
    for i in range(count):
        directory = i // FILES_PER_DIRECTORY
        size = rng.randint(KIB, 6 * KIB)
        at = rng.randrange(len(pool) - size)
        out.write(b"M 100644 inline src/%02d/part%02d/file%05d.c\ndata %d\n"
                  % (directory // 40, directory % 40, i, size))
        out.write(pool[at:at + size] + b"\n")
    out.close()
    if importer.wait() != 0:
        raise Failure("git fast-import failed")
    bench.run("git", "reset", "-q", "--hard", cwd=repository)
    return repository


# ---- results ----


class Results:
    def __init__(self):
        self.sections = []

    def section(self, title):
        self.sections.append({"title": title, "rows": []})

    def add(self, name, value, unit="ms", best=None, rounds=None, against=None, ratio=None,
            target=None, judged=None):
        """`judged` (default: the ratio) must not exceed `target`."""
        judged = ratio if judged is None else judged
        verdict = None if target is None else "ok" if judged <= target else "MISSED"
        self.sections[-1]["rows"].append({
            "name": name, "value": value, "unit": unit, "min": best, "rounds": rounds,
            "against": against, "ratio": ratio, "target": target, "verdict": verdict})

    def add_times(self, name, times, against=None, **more):
        """against: (name, times) of what the ratio is to."""
        median = statistics.median(times)
        if against:
            more.update(against=against[0], ratio=median / statistics.median(against[1]))
        self.add(name, median, best=min(times), rounds=len(times), **more)

    def add_absent(self, name, why):
        self.sections[-1]["rows"].append({"name": name, "absent": why})

    def missed(self):
        return [row for section in self.sections for row in section["rows"]
                if row.get("verdict") == "MISSED"]


def number(value, unit):
    if unit == "KiB":
        return f"{value:.0f} KiB"
    if unit == "us":
        return f"{value:.1f} us"
    if unit != "ms":
        return f"{value:.0f}"
    return f"{value:.2f} ms" if value < 100 else f"{value:.0f} ms"


def print_table(results):
    for section in results.sections:
        print(f"\n{section['title']}")
        print(f"  {'':46} {'median':>10} {'min':>10}  {'ratio':>7}  {'target':>9}")
        for row in section["rows"]:
            if "absent" in row:
                print(f"  {row['name']:46} {row['absent']}")
                continue
            unit = row["unit"]
            best = number(row["min"], unit) if row["min"] is not None else ""
            ratio = f"{row['ratio']:.2f} x" if row["ratio"] is not None else ""
            target = ""
            if row["target"] is not None:
                limit = f"{row['target']:.1f} x" if row["ratio"] is not None else \
                    number(row["target"], unit)
                target = f"<= {limit}"
            tail = row["verdict"] or ""
            if row["against"]:
                tail = f"{tail:7}of {row['against']}"
            print(f"  {row['name']:46} {number(row['value'], unit):>10} {best:>10}  {ratio:>7}"
                  f"  {target:>9}  {tail}".rstrip())
    missed = results.missed()
    print(f"\n{len(missed)} target{'' if len(missed) == 1 else 's'} missed")
