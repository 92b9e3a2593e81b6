# SPDX-License-Identifier: MIT
"""How long a thread waits in malloc and free while memory is given back beside it."""

from dataclasses import dataclass

from contenders import BASE
from measure import spread
from sampled import run_alone

SAID = ("p50_ns", "p99_ns", "p999_ns", "max_ns", "wait_ns")


@dataclass(frozen=True)
class Latency:
    title: str
    workloads: tuple
    contenders: tuple
    most_runs: int = 3

    def measure(self, bench):
        contenders = bench.lineup.choose(self.contenders)
        count = min(bench.runs, self.most_runs)
        rows = []
        for workload in bench.works.choose(self.workloads):
            runs = {contender.name: [] for contender in contenders}
            for number in range(count):
                for contender in contenders:
                    bench.tell(f"{workload.name}: {contender.name}, {number + 1} of {count}")
                    runs[contender.name].append(run_alone(bench.works, workload, contender, bench.scale))
            rows += [self.row(workload, contender, runs) for contender in contenders]
        bench.tell("")
        return {"kind": "latency", "title": self.title, "rows": rows, "runs": count}

    @staticmethod
    def row(workload, contender, runs):
        own, base = runs[contender.name], runs[BASE]
        row = {"workload": workload.name, "contender": contender.name,
               "failure": next((run.failure for run in (*own, *base) if run.failure), "")}
        if not row["failure"]:
            row |= {word: spread(run.said(word) for run in own) for word in SAID}
            row["mean_kib"] = spread(run.mean_kib for run in own)
            row["cpu_ratio"] = spread(a.cpu_s / b.cpu_s for a, b in zip(own, base))
        return row
