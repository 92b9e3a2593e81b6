# SPDX-License-Identifier: MIT
"""How little memory is enough: the lowest limit of a memory cgroup at which a workload is not killed."""

import os
import tempfile
from dataclasses import dataclass, replace

import groups
from contenders import BASE

MIB = 1 << 20
LEAST_BYTES = 2 * MIB  # no program of these lives in that
FINENESS = 0.02
SHARED_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
DEADLINE_S = 30  # one that crawls has not survived
MOST_TIMES_THE_GUESS = 8


class Failed(Exception):
    """A run ended by something else than the kernel's killing it."""


@dataclass(frozen=True)
class Survival:
    """Close to its limit it is chance whether a program is killed: it finishes at a limit where `times` of `times` runs
    do."""

    title: str
    workloads: tuple
    contenders: tuple
    times: int = 3
    scale: float = 0.67

    def measure(self, bench):
        times = min(bench.runs, self.times)
        section = {"kind": "survival", "title": self.title, "times": times, "rows": []}
        try:
            place = groups.place()
        except groups.Unavailable as why:
            return section | {"not_run": str(why)}
        with tempfile.TemporaryDirectory(prefix="memwatch-bench-", dir=SHARED_MEMORY) as directory:
            contenders = [with_segments_in(directory, c) for c in bench.lineup.choose(self.contenders)]
            for workload in bench.works.choose(self.workloads):
                section["rows"] += self.rows(bench, place, times, workload, contenders)
        bench.tell("")
        return section

    def rows(self, bench, place, times, workload, contenders):
        rows = [self.row(bench, place, times, workload, contender) for contender in contenders]
        base = next((r["limit_bytes"] for r in rows if r["contender"] == BASE and not r["failure"]), None)
        for row in rows:
            if base and not row["failure"]:
                row["ratio"] = row["limit_bytes"] / base
        return rows

    def row(self, bench, place, times, workload, contender):
        row = {"workload": workload.name, "contender": contender.name, "failure": "", "runs": 0, "killed": 0}

        def finishes(limit_bytes):
            bench.tell(f"{workload.name}: {contender.name} in {limit_bytes / MIB:.1f} MiB")
            survived = self.survives(bench, place, workload, contender, limit_bytes)
            row["runs"] += 1
            row["killed"] += not survived
            return survived

        run = bench.works.run(workload, contender, self.scale * bench.scale)
        row["failure"] = run.failure
        if run.failure:
            return row
        row["peak_kib"] = run.rss_kib
        try:
            row["limit_bytes"] = lowest(finishes, round(run.rss_kib * 1024 * 1.1) + LEAST_BYTES, times)
        except Failed as failure:
            row["failure"] = str(failure)
        return row

    def survives(self, bench, place, workload, contender, limit_bytes):
        """One run in a group of its own. Raises where it ends badly, and not by the kernel."""
        with groups.Group(*place, limit_bytes) as group:
            run = bench.works.run(workload, contender, self.scale * bench.scale, deadline_s=DEADLINE_S,
                                  group=group.entrance)
            if group.kills():
                return False
            if run.failure.startswith("not done"):
                return False
            if run.failure:
                raise Failed(f"{run.failure} at {limit_bytes / MIB:.1f} MiB, and not for its limit")
            return True


def with_segments_in(directory, contender):
    """What is killed leaves its segment behind, which is to be found and removed."""
    if not contender.is_memwatch:
        return contender
    return replace(contender, environment=contender.environment | {"MEMWATCH_DIR": directory})


def lowest(finishes, guess_bytes, times):
    """The lowest limit, to a MiB or two parts in a hundred, at which it finishes so many times of as many: found by
    halving with a run each, and then confirmed by the others. Below it every limit that was tried has killed it."""
    dead = LEAST_BYTES
    alive = []  # limits at which it has finished once, falling
    most_bytes = guess_bytes * MOST_TIMES_THE_GUESS
    while guess_bytes <= most_bytes:
        if not alive:
            if finishes(guess_bytes):
                alive.append(guess_bytes)
            else:
                dead = guess_bytes
            guess_bytes = guess_bytes * 3 // 2
        elif alive[-1] - dead > max(MIB, FINENESS * alive[-1]):
            middle = (dead + alive[-1]) // 2
            if finishes(middle):
                alive.append(middle)
            else:
                dead = middle
        elif all(finishes(alive[-1]) for _ in range(times - 1)):
            return alive[-1]
        else:
            dead = alive.pop()
    raise Failed(f"it does not finish in {dead / MIB:.0f} MiB")
