"""What it costs to look at a sandbox, to bring its work home, and to fork it."""

import os
import statistics

from core import say, take_turns

CHANGED = 10


def change(bench, repository, name):
    """A sandbox with CHANGED changed files."""
    script = (f"git ls-files | head -n 5000 | awk 'NR % 97 == 1' | head -n {CHANGED} |"
              " while read -r file; do echo changed >>$file; done; git status >/dev/null")
    bench.run(bench.jib, "new", "-q", "--clean", name, cwd=repository)
    bench.run(bench.jib, "run", "-q", name, "--", "sh", "-c", script, cwd=repository)


def measure_review(bench, results, repositories, rounds):
    """The same in the smallest and the largest repository, in turns."""
    sizes = sorted(repositories)
    small, large = sizes[0], sizes[-1]
    say(f"looking at {CHANGED} changed files of {small:,} and {large:,}")
    for size in (small, large):
        change(bench, repositories[size], f"look{size}")

    def command(size, *argv):
        name = f"look{size}"

        def run():
            os.chdir(repositories[size])
            return bench.clock(bench.jib, argv[0], name, *argv[1:])
        return run

    def persist(size):
        def run():
            spent = command(size, "persist")()
            bench.run("git", "update-ref", "-d", f"refs/heads/jib/look{size}/main",
                      cwd=repositories[size])
            return spent
        return run

    results.section(f"{CHANGED} changed files of {large:,}, against the same of {small:,}")
    for title, make in (("jib diff --stat", lambda size: command(size, "diff", "--stat")),
                        ("jib status", lambda size: command(size, "status")),
                        ("jib persist", persist)):
        times = take_turns(rounds, {size: make(size) for size in (small, large)})
        results.add_times(f"{title}, {small:,} files", times[small])
        results.add_times(f"{title}, {large:,} files", times[large],
                          against=(f"{small:,} files", times[small]), target=1.5)
    bench.run(bench.jib, "rm", "--force", *(f"look{size}" for size in (small, large)))


def measure_fork(bench, results, repository, rounds):
    """Whatever the upper holds: little, and many files."""
    say("forks")
    count = 20000
    script = f"mkdir many; cd many; for i in $(seq {count}); do echo $i >$i; done"
    results.section("A fork of a sandbox that does not run")
    numbers = iter(range(1000000))
    for title, fill in (("1 file in its upper", "echo x >>new"),
                        (f"{count:,} files in its upper", script)):
        times = []
        for _ in range(rounds):
            name, fork = f"from{next(numbers)}", f"fork{next(numbers)}"
            bench.run(bench.jib, "new", "-q", "--clean", name, cwd=repository)
            bench.run(bench.jib, "run", "-q", name, "--", "sh", "-c", fill, cwd=repository)
            bench.sync()
            times.append(bench.clock(bench.jib, "fork", name, fork))
            bench.run(bench.jib, "rm", "--force", name, fork)
        results.add(f"jib fork, {title}", statistics.median(times), best=min(times),
                    rounds=rounds, judged=statistics.median(times), target=15)
