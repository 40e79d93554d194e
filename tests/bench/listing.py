"""What it costs to look at many sandboxes."""

import os

from core import say, take_turns

COUNT = 1000


def measure_listing(bench, results, repository, rounds):
    """`jib ls` of COUNT sandboxes with a few changed files each: copies of one that was used."""
    say(f"a list of {COUNT:,} sandboxes")
    kept, bench.store = bench.store, bench.path("listed-store")
    bench.env["JIB_ROOT"] = bench.store
    script = "for i in 1 2 3 4 5; do echo changed >new$i; done; git add new1; git rm -q --cached new1"
    bench.run(bench.jib, "new", "-q", "s0", cwd=repository)
    bench.run(bench.jib, "run", "-q", "s0", "--", "sh", "-c", script, cwd=repository)
    for i in range(1, COUNT):
        bench.run("cp", "-a", os.path.join(bench.store, "s0"), os.path.join(bench.store, f"s{i}"))
    times = take_turns(rounds, {
        "text": lambda: bench.clock(bench.jib, "ls"),
        "json": lambda: bench.clock(bench.jib, "ls", "--json"),
    })
    results.section(f"A list of {COUNT:,} sandboxes, each with a few changed files")
    for name, command in (("text", "jib ls"), ("json", "jib ls --json")):
        median = sorted(times[name])[len(times[name]) // 2]
        results.add(command, median, best=min(times[name]), rounds=rounds, judged=median,
                    target=100)
    bench.discard(bench.store)
    bench.store = kept
    bench.env["JIB_ROOT"] = kept
