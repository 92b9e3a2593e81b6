# SPDX-License-Identifier: MIT
"""The experiments: which contenders run which workloads, and what is made of the runs.

To add one, add a line to the table EXPERIMENTS. An experiment is one section or several; a section measures, and
returns what goes into JSON, from which report.py makes every table.
"""

import sys
from dataclasses import dataclass

from contenders import BASE
from latency import Latency
from launchers import Launching
from measure import geometric_mean, spread
from retention import WATCHED_FLOOR, Retention
from survival import Survival
from workloads import CPU, THROUGHPUT, WALL

EXACT_RUNS = 3
SLOW_SCALE = 0.1  # a program that is a hundred times slower is given less to do


class Bench:
    """What a section needs: the contenders and workloads that are there, how often to run, and what to tell."""

    def __init__(self, lineup, works, runs, scale):
        self.lineup, self.works, self.runs, self.scale = lineup, works, runs, scale

    @staticmethod
    def tell(what):
        """Where it is, on standard error."""
        if sys.stderr.isatty():
            print(f"\r\033[K  {what}", end="", file=sys.stderr, flush=True)

    def rounds(self, workload, contenders, scale, runs):
        """Interleaved runs, A B C A B C …, after one that warms up. A list of runs for each contender by name; one
        that has failed is not run again, and its list is that one Run."""
        results = {c.name: [] for c in contenders}
        failed = set()
        for number in range(-1, runs):
            for contender in contenders:
                if contender.name in failed:
                    continue
                self.tell(f"{workload.name}: {contender.name}, {number + 1} of {runs}")
                run = self.works.run(workload, contender, scale * self.scale)
                if run.failure:
                    failed.add(contender.name)
                    results[contender.name] = [run]
                elif number >= 0:
                    results[contender.name].append(run)
        self.tell("")
        return results


def figure(run, metric):
    """The one figure of a run that tells."""
    if metric == THROUGHPUT:
        return run.said("throughput")
    return run.cpu_s if metric == CPU else run.wall_s


def ratios(runs, base, metric):
    """Round by round."""
    return [figure(a, metric) / figure(b, metric) for a, b in zip(runs, base)]


def failure_of(runs, base, metric):
    """Why there can be no ratio; "" where there can."""
    for run in (*runs[:1], *base[:1]):
        if run.failure:
            return run.failure
        if not figure(run, metric):
            return f"it told no {metric}"
    return ""


@dataclass(frozen=True)
class Times:
    """Time and peak memory of runs against those of the plain program, and against the contender's own base."""

    title: str
    workloads: tuple
    contenders: tuple
    scale: float = 1.0
    most_runs: int = 1000
    focus: str = "time"  # what the tables are about: time, memory

    def measure(self, bench):
        contenders = bench.lineup.choose(self.contenders)
        rows = []
        for workload in bench.works.choose(self.workloads):
            runs = bench.rounds(workload, contenders, self.scale, min(bench.runs, self.most_runs))
            rows += [self.row(workload, c, runs, bench) for c in contenders]
        return {"kind": self.focus, "title": self.title, "rows": rows, "means": self.means(rows),
                "runs": min(bench.runs, self.most_runs)}

    def row(self, workload, contender, runs, bench):
        own, base = runs[contender.name], runs[BASE]
        count = max(1, round(workload.operations * self.scale * bench.scale))
        row = {"workload": workload.name, "contender": contender.name, "metric": workload.metric, "operations": count}
        row["failure"] = failure_of(own, base, workload.metric)
        if row["failure"]:
            return row
        row["ratios"] = ratios(own, base, workload.metric)
        row["ratio"] = spread(row["ratios"])
        row["wall_ratio"] = spread(ratios(own, base, "wall"))
        row["cpu_s"] = spread(r.cpu_s for r in own)
        row["wall_s"] = spread(r.wall_s for r in own)
        done = count * workload.threads
        row["ns_per_operation"] = row["wall_s" if workload.metric == WALL else "cpu_s"]["median"] / done * 1e9
        row["rss_kib"] = spread(r.rss_kib for r in own)
        row["rss_added_kib"] = spread(a.rss_kib - b.rss_kib for a, b in zip(own, base))
        row["rss_ratio"] = spread(a.rss_kib / b.rss_kib for a, b in zip(own, base))
        if workload.metric == THROUGHPUT:
            row["throughput"] = spread(r.said("throughput") for r in own)
        over = runs.get(contender.over)
        if over and not failure_of(own, over, workload.metric):
            row["over"] = {"base": contender.over, **spread(ratios(own, over, workload.metric))}
        return row

    @staticmethod
    def means(rows):
        """The geometric mean of a contender's ratios, throughput turned round, over the workloads that it could run."""
        means = []
        for name in dict.fromkeys(r["contender"] for r in rows):
            done = [r for r in rows if r["contender"] == name and not r["failure"]]
            if len(done) < 2:
                continue
            each = [[1 / x if r["metric"] == THROUGHPUT else x for x in r["ratios"]] for r in done]
            means.append({"contender": name, "workloads": [r["workload"] for r in done],
                          "ratio": spread(map(geometric_mean, zip(*each)))})
        return means


@dataclass(frozen=True)
class Instructions:
    """Instructions of one operation: the difference between two run lengths, by the difference in operations."""

    title: str
    workloads: tuple
    contenders: tuple
    shorter: int = 100_000
    longer: int = 300_000

    def measure(self, bench):
        rows = []
        for workload in bench.works.choose(self.workloads):
            base = None
            for contender in bench.lineup.choose(self.contenders):
                row = self.row(workload, contender, bench)
                if contender.name == BASE:
                    base = row.get("instructions")
                if base is not None and "instructions" in row:
                    row["added"] = row["instructions"] - base
                rows.append(row)
        self.add_over(rows, bench)
        bench.tell("")
        return {"kind": "instructions", "title": self.title, "rows": rows}

    def row(self, workload, contender, bench):
        bench.tell(f"{workload.name}: {contender.name}, counting instructions")
        row = {"workload": workload.name, "contender": contender.name, "unit": workload.unit, "failure": ""}
        counts = []
        for length in (self.shorter, self.longer):
            count, run = bench.works.instructions(workload, contender, length)
            row["failure"] = row["failure"] or run.failure
            counts.append(count)
        if not row["failure"]:
            row["instructions"] = (counts[1] - counts[0]) / (self.longer - self.shorter)
        return row

    @staticmethod
    def add_over(rows, bench):
        found = {(r["workload"], r["contender"]): r["instructions"] for r in rows if "instructions" in r}
        for row in rows:
            base = bench.lineup.present[row["contender"]].over
            if (row["workload"], base) in found and "instructions" in row:
                row["over"] = {"base": base, "added": row["instructions"] - found[row["workload"], base]}


@dataclass(frozen=True)
class Scaling:
    """How much more two threads do than one, against how much more the plain program's do."""

    title: str
    pairs: tuple  # of workloads: in one thread, in two
    contenders: tuple

    def measure(self, bench):
        contenders = bench.lineup.choose(self.contenders)
        rows = []
        for names in self.pairs:
            if len(bench.works.choose(names)) < 2:
                continue
            single, double = bench.works.choose(names)
            runs = self.rounds(bench, single, double, contenders)
            gains = {name: [self.gain(a, b, single, double) for a, b in pairs] for name, pairs in runs.items()}
            for name in gains:
                failure = next((r.failure for pair in runs[name] for r in pair if r.failure), "")
                row = {"workload": f"{single.name} → {double.name}", "contender": name, "failure": failure}
                if not failure and None not in gains[BASE]:
                    row["gain"] = spread(gains[name])
                    row["ratio"] = spread(a / b for a, b in zip(gains[name], gains[BASE]))
                rows.append(row)
        return {"kind": "scaling", "title": self.title, "rows": rows, "runs": bench.runs}

    @staticmethod
    def rounds(bench, single, double, contenders):
        runs = {c.name: [] for c in contenders}
        for number in range(-1, bench.runs):
            for contender in contenders:
                bench.tell(f"{single.name} → {double.name}: {contender.name}, {number + 1} of {bench.runs}")
                pair = [bench.works.run(w, contender, bench.scale) for w in (single, double)]
                if number >= 0:
                    runs[contender.name].append(pair)
        bench.tell("")
        return runs

    @staticmethod
    def gain(single_run, double_run, single, double):
        """Operations in a unit of time, of two threads by one. The workloads' numbers of operations are a thread's."""
        if single_run.failure or double_run.failure:
            return None
        if double.metric == THROUGHPUT:
            return double_run.said("throughput") / single_run.said("throughput")
        return double.threads * double.operations / double_run.wall_s / (single.operations / single_run.wall_s)


@dataclass(frozen=True)
class Tick:
    """CPU time of one of the monitor's ticks, in a process that sleeps."""

    title: str
    interval_ms: int = 20

    def measure(self, bench):
        rows = []
        for workload in bench.works.choose(("idle",)):
            for contender in bench.lineup.choose((BASE, "memwatch")):
                bench.tell(f"{workload.name}: {contender.name}")
                ticking = {"MEMWATCH_INTERVAL": f"{self.interval_ms}ms", "MEMWATCH_OUTPUT": "./lines"}
                run, lines = self.run(bench, workload, contender, ticking if contender.is_memwatch else {})
                row = {"workload": workload.name, "contender": contender.name, "failure": run.failure, "lines": lines,
                       "rss_kib": run.rss_kib}
                ticks = workload.operations / self.interval_ms
                if not run.failure:
                    row["cpu_us"] = run.said("cpu_ns") / 1000
                    row["cpu_us_per_tick"] = row["cpu_us"] / ticks
                    if contender.is_memwatch and lines < 0.9 * ticks:
                        row["failure"] = f"{lines} lines came, and not {ticks:.0f}"
                rows.append(row)
        bench.tell("")
        return {"kind": "tick", "title": self.title, "rows": rows, "interval_ms": self.interval_ms}

    @staticmethod
    def run(bench, workload, contender, variables):
        runner = bench.works.runner
        command = workload.command(runner.build, workload.operations, "")
        with runner.scratch() as directory, runner.started(contender, command, directory, variables) as (_, end):
            run = end()
            lines = directory / "lines"
            return run, len(lines.read_bytes().splitlines()) if lines.exists() else 0


MICRO = ("fast", "mix", "mix2", "grow", "handoff", "server", "threads", "fragment")
REAL = ("python3", "perl", "sqlite3", "redis", "clang", "gcc", "git")
MODES = ("memwatch", "memwatch counters", "memwatch exact")
LEFT_ON = ("libmemusage", "jemalloc", "jemalloc prof", "tcmalloc", "tcmalloc sampling", "tcmalloc-minimal", "mimalloc")
EXACT = ("memwatch exact", "heaptrack raw", "heaptrack")
SLOW = ("jemalloc prof 0", "tcmalloc HEAPPROFILE", "massif", "DHAT")
WATCHED_EXACTLY = ("mix", "mix2", "python3", "perl", "sqlite3", "clang")
ABOVE = ("jemalloc", "jemalloc prof", "memwatch/jemalloc", "tcmalloc", "tcmalloc sampling", "memwatch/tcmalloc",
         "mimalloc", "memwatch/mimalloc")

GLIBC = ("2 arenas", "timer 60s", "timer 1s")
ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc")

EXPERIMENTS = {  # name: sections. The order is that of the report.
    "quick": (
        Instructions("A short look: instructions", ("fast", "mix"), (BASE, "memwatch")),
        Times("A short look: time", ("fast", "mix", "python3"), (BASE, "memwatch"), 0.5, 3)),
    "instructions": (
        Instructions("Instructions", ("fast", "mix", "grow", "fragment"),
                     (BASE, "forward", *MODES, "libmemusage", *ABOVE)),),
    "micro": (
        Times("The malloc path", MICRO, (BASE, "plain again", "forward", *MODES)),),
    "real": (
        Times("Real programs", REAL, (BASE, "plain again", *MODES)),),
    "above": (
        Times("Above other allocators", ("fast", "mix", "mix2", "server", "python3"), (BASE, *ABOVE)),),
    "tax": (
        Times("What a second thread costs", ("getc", "shared_ptr", "single"),
              (BASE, "plain again", "sleeping pthread", "memwatch", "memwatch no monitor", "memwatch thread")),),
    "scaling": (
        Scaling("From one thread to two", (("mix", "mix2"), ("server1", "server")),
                (BASE, "plain again", "libmemusage", *MODES)),
        Times("64 threads", ("mix64", "server64"), (BASE, "plain again", *MODES))),
    "rss": (
        Times("Peak memory", ("fast", "mix", "fragment", "server", "handoff", *REAL),
              (BASE, *MODES, "libmemusage", "jemalloc prof", "tcmalloc sampling"), 1.0, 5, "memory"),),
    "startup": (
        Times("Birth and death of processes and threads", ("startup", "threads"),
              (BASE, "plain again", "forward", *MODES, "libmemusage", "jemalloc prof", "tcmalloc sampling")),),
    "launcher": (
        Launching("Starting a program"),
        Launching("Starting a program now and then", 2, 0.2)),
    "tick": (
        Tick("A tick of the monitor"),),
    "retention": (
        Retention("What is kept after the work is done", ("burst", "tides", "drops", "drops, pymalloc"),
                  (BASE, *GLIBC, "memwatch", "floor", WATCHED_FLOOR, "jemalloc decay 0", *ALLOCATORS)),),
    "survival": (
        Survival("The lowest limit at which it finishes", ("burst in turn", "gulps", "tides", "drops"),
                 (BASE, *GLIBC, "memwatch", *ALLOCATORS)),),
    "latency": (
        Latency("Waiting for malloc while memory is given back", ("latency",),
                (BASE, "plain again", "timer 1s", "memwatch", "memwatch at its limit")),),
    "peers": (
        Times("Peers as one would leave them on", ("fast", "mix", "mix2", "handoff", "server", "python3", "perl",
                                                   "sqlite3", "redis"), (BASE, "memwatch", *LEFT_ON), 1.0, 5),
        Times("Peers that see every block", WATCHED_EXACTLY, (BASE, *EXACT), 1.0, EXACT_RUNS),
        Times("Peers that see every block, slowly: with a tenth of the work", WATCHED_EXACTLY, (BASE, *SLOW),
              SLOW_SCALE, EXACT_RUNS)),
}
