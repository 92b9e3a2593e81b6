# SPDX-License-Identifier: MIT
"""What programs keep of the memory that they no longer need: resident memory a minute after the work is done."""

import time
from collections import defaultdict, deque
from contextlib import ExitStack
from dataclasses import dataclass

from contenders import BASE
from measure import spread
from sampled import INTERVAL_S, Sampled

FLOOR = "floor"
WATCHED_FLOOR = "memwatch and floor"  # memwatch's own: the same program with the same blocks in the same places
MOST_AT_ONCE = 24  # most of them quiet
WARMING = 0.2  # of a run


@dataclass(frozen=True)
class Retention:
    """Workloads that fall quiet. They work one after the other; the next begins when the last is quiet, so that the
    quiet times of many pass together."""

    title: str
    workloads: tuple
    contenders: tuple
    quiet_s: int = 60
    most_runs: int = 3

    def measure(self, bench):
        contenders = bench.lineup.choose(self.contenders)
        workloads = bench.works.choose(self.workloads)
        count = min(bench.runs, self.most_runs)
        for workload in workloads:
            bench.tell(f"{workload.name}: warming up")
            bench.works.run(workload, contenders[0], WARMING * bench.scale)
        runs = self.overlapping(bench, self.jobs(workloads, contenders, count))
        return {"kind": "retention", "title": self.title, "runs": count, "quiet_s": self.quiet_s * bench.scale,
                "rows": [self.row(w, c, runs) for w in workloads for c in contenders]}

    @staticmethod
    def jobs(workloads, contenders, rounds):
        """Each round begins with another contender, so that none always has the same neighbours."""
        for number in range(rounds):
            first = number * len(contenders) // rounds
            for workload in workloads:
                for contender in contenders[first:] + contenders[:first]:
                    yield workload, contender

    def overlapping(self, bench, jobs):
        """Lists of runs by names of workload and contender."""
        waiting, running, runs = deque(jobs), [], defaultdict(list)
        total = len(waiting)
        with ExitStack() as interrupted:
            while waiting or running:
                if waiting and len(running) < MOST_AT_ONCE and all(run.is_quiet for run in running):
                    bench.tell(f"{waiting[0][0].name}: {waiting[0][1].name}, {total - len(waiting) + 1} of {total}")
                    run = Sampled(bench.works, *waiting.popleft(), bench.scale, self.quiet_s * bench.scale)
                    running.append(interrupted.enter_context(run))
                time.sleep(INTERVAL_S)
                for run in [run for run in running if not run.look()]:
                    runs[run.workload.name, run.contender.name].append(run.end())
                    running.remove(run)
                    run.cleanup.close()
        bench.tell("")
        return runs

    @staticmethod
    def row(workload, contender, runs):
        own, base, floor, watched = (runs[workload.name, n] for n in (contender.name, BASE, FLOOR, WATCHED_FLOOR))
        row = {"workload": workload.name, "contender": contender.name,
               "failure": next((run.failure for run in (*own, *base) if run.failure), "")}
        if row["failure"]:
            return row
        row["after_kib"] = spread(run.after_kib for run in own)
        row["mean_kib"] = spread(run.mean_kib for run in own)
        row["peak_kib"] = spread(run.rss_kib for run in own)
        row["mean_ratio"] = spread(a.mean_kib / b.mean_kib for a, b in zip(own, base))
        row["throughput_ratio"] = spread(a.said("throughput") / b.said("throughput") for a, b in zip(own, base))
        row["cpu_ratio"] = spread(a.cpu_s / b.cpu_s for a, b in zip(own, base))
        if floor and not any(run.failure for run in floor):
            row["floor_ratio"] = spread(a.after_kib / b.after_kib for a, b in zip(own, floor))
        if contender.name == "memwatch" and watched and not any(run.failure for run in watched):
            row["watched_floor_ratio"] = spread(a.after_kib / b.after_kib for a, b in zip(own, watched))
        return row
