# SPDX-License-Identifier: MIT
"""A run whose resident memory is looked at from outside, until the end of the quiet time that follows its work."""

import contextlib
import os
import pathlib
import statistics
import time

from measure import DEADLINE_S

INTERVAL_S = 0.05
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
LAST = 10  # samples that make the last figure: half a second


class Sampled:
    """A started workload. `look` is to be called every INTERVAL_S until it says that the run is over, then `end`. A
    context manager."""

    def __init__(self, works, workload, contender, scale, quiet_s):
        self.works, self.workload, self.contender = works, workload, contender
        self.scale, self.quiet_s = scale, quiet_s
        self.samples = []  # (time, KiB)
        self.quiet_since = None
        self.cleanup = contextlib.ExitStack()

    def __enter__(self):
        runner = self.works.runner
        count = max(1, round(self.workload.operations * self.scale))
        command = self.workload.command(runner.build, count, self.works.inputs(self.workload))
        variables = self.workload.environment | {"BENCH_QUIET_MS": round(self.quiet_s * 1000)}
        self.directory = self.cleanup.enter_context(runner.scratch())
        self.process, self.wait = self.cleanup.enter_context(
            runner.started(self.contender, command, self.directory, variables, DEADLINE_S + round(self.quiet_s)))
        return self

    def __exit__(self, *exception):
        self.cleanup.close()

    @property
    def is_quiet(self):
        return self.quiet_since is not None

    def look(self):
        """Takes a sample. False: the run is over."""
        now = time.monotonic()
        if not self.is_quiet and b"\nquiet\n" in (self.directory / "stdout").read_bytes():
            self.quiet_since = now
        rss_kib = resident_kib(self.process.pid)
        if rss_kib and not (self.is_quiet and now > self.quiet_since + self.quiet_s - INTERVAL_S):
            self.samples.append((now, rss_kib))
        return self.process.poll() is None

    def end(self):
        """The Run, with what it had at the end of the quiet time, and over all of the run."""
        run = self.wait()
        if not run.failure and len(self.samples) < 2:
            run.failure = "its resident memory could not be read"
        if not run.failure:
            run.after_kib = statistics.median(kib for _, kib in self.samples[-LAST:])
            run.mean_kib = mean(self.samples)
        return run


def resident_kib(helper):
    """Resident memory of the one child of a process; 0: there is none now."""
    try:
        child = pathlib.Path(f"/proc/{helper}/task/{helper}/children").read_text().split()[0]
        return int(pathlib.Path(f"/proc/{child}/statm").read_text().split()[1]) * PAGE_KIB
    except (OSError, IndexError):
        return 0


def mean(samples):
    """Over time: each value counts until the next."""
    area = sum((after[0] - before[0]) * before[1] for before, after in zip(samples, samples[1:]))
    return area / (samples[-1][0] - samples[0][0])


def run_alone(works, workload, contender, scale):
    """A Run of a workload that has no quiet time."""
    with Sampled(works, workload, contender, scale, 0) as run:
        while run.look():
            time.sleep(INTERVAL_S)
        return run.end()
