# SPDX-License-Identifier: MIT
"""What memwatch is meant to reach, and what was reached. It is shown and never fails a run: figures move with the
machine."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """`figure` takes the rows of a section by (workload, contender), and gives a number to hold against the bound; a
    goal whose rows are not there is left out."""

    experiment: str
    section: int
    what: str
    figure: object
    at_most: object = None  # a number, or a function as figure is
    at_least: float = None


def median(workload, contender, key="ratio"):
    return lambda rows: rows[workload, contender][key]["median"]


def added(workload, contender="memwatch"):
    return lambda rows: rows[workload, contender]["added"]


def over(workload, contender):
    return median(workload, contender, "over")


def extra_us(workload, contender):
    def figure(rows):
        return (rows[workload, contender]["ns_per_operation"] - rows[workload, "plain"]["ns_per_operation"]) / 1000
    return figure


def prices():
    """Above an allocator memwatch is to cost less than that allocator's own profiler does."""
    for ours, theirs in (("memwatch/jemalloc", "jemalloc prof"), ("memwatch/tcmalloc", "tcmalloc sampling")):
        for workload in ("fast", "mix", "mix2", "python3"):
            yield Goal("above", 0, f"time of {ours} against its allocator, {workload}: no more than {theirs}",
                       over(workload, ours), over(workload, theirs))


GLIBC = ("plain", "2 arenas", "timer 60s", "timer 1s")  # what else can be done to glibc's allocator


def against_least(workload, value):
    """memwatch's figure as a ratio to the least of glibc's other settings."""
    def figure(rows):
        return value(rows[workload, "memwatch"]) / min(value(rows[workload, name]) for name in GLIBC)
    return figure


def p999_ms(contender):
    return lambda rows: rows["latency", contender]["p999_ns"]["median"] / 1e6


def limits():
    """What limiting itself is worth."""
    for workload in ("burst", "tides", "drops", "drops, pymalloc"):
        yield Goal("retention", 0, f"RSS after it, ratio to the floor, {workload}",
                   median(workload, "memwatch", "floor_ratio"), 1.05)
        yield Goal("retention", 0, f"RSS after it, ratio to what malloc_trim leaves when watched, {workload}",
                   median(workload, "memwatch", "watched_floor_ratio"), 1.05)
        for key, what in (("after_kib", "RSS after it"), ("mean_kib", "mean RSS")):
            yield Goal("retention", 0, f"{what}, ratio to glibc's best other setting, {workload}",
                       against_least(workload, lambda row, key=key: row[key]["median"]), 1.0)
        yield Goal("retention", 0, f"throughput, {workload}", median(workload, "memwatch", "throughput_ratio"),
                   at_least=0.97)
        yield Goal("retention", 0, f"CPU time, {workload}", median(workload, "memwatch", "cpu_ratio"), 1.03)
    for workload in ("burst in turn", "tides", "drops"):
        yield Goal("survival", 0, f"lowest limit, ratio to glibc's best other setting, {workload}",
                   against_least(workload, lambda row: row["limit_bytes"]), 1.0)
    yield Goal("survival", 0, "lowest limit, ratio to plain, burst in turn",
               lambda rows: rows["burst in turn", "memwatch"]["ratio"], 0.75)
    yield Goal("latency", 0, "p99.9 in ms: no more than timer 1s", p999_ms("memwatch"), p999_ms("timer 1s"))


GOALS = (
    Goal("instructions", 0, "instructions added to a pair, fast", added("fast"), 30),
    Goal("instructions", 0, "instructions added to a pair, mix", added("mix"), 26),
    Goal("micro", 0, "time, fast", median("fast", "memwatch"), 1.20),
    Goal("micro", 0, "time, mix", median("mix", "memwatch"), 1.12),
    Goal("micro", 0, "time, mix2", median("mix2", "memwatch"), 1.12),
    Goal("micro", 0, "time, handoff", median("handoff", "memwatch"), 1.05),
    Goal("micro", 0, "throughput, server", median("server", "memwatch"), at_least=0.97),
    Goal("real", 0, "time, geometric mean of the real programs", median("geometric mean", "memwatch"), 1.01),
    *prices(),
    *(Goal("above", 0, f"time of {contender} against plain, {workload}", median(workload, contender), bound)
      for workload, bound in (("mix", 0.65), ("python3", 0.66))
      for contender in ("memwatch/mimalloc", "memwatch/tcmalloc")),
    *(Goal("tax", 0, f"time, {workload}", median(workload, "memwatch"), 1.02)
      for workload in ("getc", "shared_ptr", "single")),
    *(Goal("scaling", 0, f"gain against plain's, {workload}", median(workload, "memwatch"), at_least=0.98)
      for workload in ("mix → mix2", "server1 → server")),
    Goal("scaling", 1, "time on the clock, 64 threads, mix64", median("mix64", "memwatch"), 1.0),
    Goal("scaling", 1, "throughput, 64 threads, server64", median("server64", "memwatch"), at_least=1.0),
    Goal("rss", 0, "KiB added to a small program, fast", median("fast", "memwatch", "rss_added_kib"), 1024),
    *(Goal("rss", 0, f"peak RSS of a large program, {workload}", median(workload, "memwatch", "rss_ratio"), 1.02)
      for workload in ("fragment", "python3", "perl", "clang", "gcc")),
    Goal("startup", 0, "µs of CPU time added to a thread's life, threads", extra_us("threads", "memwatch"), 2),
    Goal("launcher", 0, "MiB of memwatch-run beside a program",
         lambda rows: rows["static", "memwatch-run, limit"]["left"]["rss_kib"] / 1024, 2),
    Goal("launcher", 0, "wake-ups of memwatch-run while the program sleeps",
         lambda rows: rows["static", "memwatch-run, limit"]["left"]["wakeups"], 0),
    Goal("tick", 0, "µs of CPU time a tick", lambda rows: rows["idle", "memwatch"]["cpu_us_per_tick"], 100),
    *limits(),
)


def reached(report):
    """A line for each goal whose figure was taken: experiment, what, figure, bound, yes or NO."""
    lines = []
    for goal in GOALS:
        sections = report["experiments"].get(goal.experiment, [])
        if goal.section >= len(sections):
            continue
        section = sections[goal.section]
        rows = {(r["workload"], r["contender"]): r for r in section["rows"] if not r["failure"]}
        rows |= {("geometric mean", m["contender"]): m for m in section.get("means", ())}
        try:
            figure = goal.figure(rows)
            bound = goal.at_most(rows) if callable(goal.at_most) else goal.at_most
        except KeyError:
            continue
        met = figure <= bound if bound is not None else figure >= goal.at_least
        limit = f"≤ {bound:.4g}" if bound is not None else f"≥ {goal.at_least:.4g}"
        lines.append([goal.experiment, goal.what, f"{figure:.2f}", limit, "yes" if met else "NO"])
    return lines
