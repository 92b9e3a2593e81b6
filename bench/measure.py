# SPDX-License-Identifier: MIT
"""One run of a program, and figures out of many."""

import contextlib
import math
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass

DEADLINE_S = 150
ANSWER_DEADLINE_S = 60
SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"  # Debian's programs, not what a user has before them
# What would change a program's allocator behind the table's back.
NOT_INHERITED = re.compile(
    "MEMWATCH_|BENCH_|LD_|MALLOC_|GLIBC_TUNABLES|TCMALLOC_|HEAP|MIMALLOC_|MEMUSAGE|PYTHON|GIT_|PERL")


@dataclass
class Run:
    """What one run took. Where `failure` says why there is none, nothing else counts."""

    wall_s: float = 0
    cpu_s: float = 0
    rss_kib: int = 0  # peak
    mean_kib: float = 0  # RSS over the run, and at its end, where it was looked at
    after_kib: float = 0
    output: str = ""
    failure: str = ""

    def said(self, word):
        """The number that the program printed after a word; None: it did not."""
        found = re.search(rf"^{word} (\d+)$", self.output, re.MULTILINE)
        return int(found[1]) if found else None


class Runner:
    """Runs programs under contenders, in a directory of their own. A context manager."""

    def __init__(self, build):
        self.build = build
        self.helper = build / "bench" / "bench_measure"
        self.environment = {k: v for k, v in os.environ.items() if not NOT_INHERITED.match(k)}
        self.environment |= {"LC_ALL": "C", "PYTHONHASHSEED": "0"}
        self.environment["PATH"] = SYSTEM_PATH
        self.running = []

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="memwatch-bench-"))
        return self

    def __exit__(self, *exception):
        for process in self.running:
            stop(process)
        shutil.rmtree(self.directory)

    @contextlib.contextmanager
    def scratch(self):
        """An empty directory in which a program may leave what it likes."""
        path = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=self.directory))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def started(self, contender, command, directory, variables=None, deadline_s=DEADLINE_S, group=None):
        """Starts a command under a contender, in a cgroup if one is given. Yields a function that waits for its end and
        returns the Run."""
        variables = {**contender.environment, **(variables or {})}
        joining = [f"@{group}"] if group else []
        figures, figures_end = os.pipe()
        with open(directory / "stdout", "w+b") as stdout, open(directory / "stderr", "w+b") as stderr:
            process = subprocess.Popen(
                [self.helper, str(deadline_s), str(figures_end), *joining, *(f"{k}={v}" for k, v in variables.items()),
                 "--", *contender.prefix, *map(str, command)],
                cwd=directory, env=self.environment, pass_fds=[figures_end], stdin=subprocess.DEVNULL,
                stdout=stdout, stderr=stderr)
            os.close(figures_end)
            self.running.append(process)

            def end():
                process.wait(deadline_s + 10)
                with open(figures, closefd=False) as pipe:
                    return run_of(pipe.read(), text(stdout), text(stderr), deadline_s)

            try:
                yield process, end
            finally:
                stop(process)
                self.running.remove(process)
                os.close(figures)

    def run(self, contender, command, variables=None, **how):
        with self.scratch() as directory, self.started(contender, command, directory, variables, **how) as (_, end):
            return end()

    def run_server(self, contender, command, client):
        """A server on a free port, and a client that is not watched. The time is the client's, CPU and memory are the
        server's. The commands are functions of the port."""
        port = free_port()
        with self.scratch() as directory, self.started(contender, command(port), directory) as (process, end):
            end_of_start = time.monotonic() + ANSWER_DEADLINE_S
            while not answers(port):
                if process.poll() is not None:
                    return Run(failure=end().failure or "ended before it answered")
                if time.monotonic() > end_of_start:
                    return Run(failure=f"did not answer within {ANSWER_DEADLINE_S} s")
                time.sleep(0.005)
            begin = time.monotonic()
            try:
                ended = subprocess.run(client(port), env=self.environment, cwd=directory, stdin=subprocess.DEVNULL,
                                       capture_output=True, timeout=DEADLINE_S, check=False)
            except subprocess.TimeoutExpired:
                return Run(failure=f"the client did not end within {DEADLINE_S} s")
            wall_s = time.monotonic() - begin
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(b"SHUTDOWN NOSAVE\r\n")
                connection.recv(100)
            run = end()
            if not run.failure and ended.returncode != 0:
                run.failure = f"the client ended with status {ended.returncode}"
            run.wall_s = wall_s
            return run

    def instructions(self, contender, command, variables=None):
        """How many instructions a program executes in user space. Returns the number and a Run."""
        counting = Counting(contender)
        with self.scratch() as directory, self.started(counting, command, directory, variables) as (_, end):
            run = end()
            log = directory / "callgrind.log"
            found = re.findall(r"Collected : (\d+)", log.read_text() if log.exists() else "")
            if not run.failure and not found:
                run.failure = "callgrind has counted nothing"
            return (0 if run.failure else int(found[-1])), run


class Counting:
    """A contender under callgrind. A watcher's clock ticks are not to be counted: the program is slower than it is."""

    def __init__(self, contender):
        self.environment = contender.environment | contender.quiet_clock
        self.prefix = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--log-file=callgrind.log")


def stop(process):
    """Ends the helper, which ends what it runs."""
    process.terminate()
    process.wait()


def text(file):
    file.seek(0)
    return file.read().decode(errors="replace")


def run_of(line, stdout, stderr, deadline_s):
    """The Run that a line of the helper tells of."""
    words = line.split()
    if len(words) != 5:
        return Run(failure="could not be run: " + last_line(stderr))
    how, status, (wall_ns, cpu_us, rss_kib) = words[0], int(words[1]), map(int, words[2:])
    failure = ""
    if how == "deadline":
        failure = f"not done after {deadline_s} s"
    elif how == "killed":
        failure = f"killed by {signal.Signals(status).name}"
    elif status != 0:
        failure = f"exit status {status}: {last_line(stderr)}"
    return Run(wall_ns / 1e9, cpu_us / 1e6, rss_kib, output=stdout, failure=failure)


def last_line(message):
    message = re.sub(r"\x1b\[[\d;]*m", "", message)
    lines = [" ".join(line.split()) for line in message.splitlines() if line.strip()]
    return lines[-1][:100] if lines else "it said nothing"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def spread(values):
    """Median, least and greatest, as they go into tables and JSON."""
    values = list(values)
    return {"median": statistics.median(values), "min": min(values), "max": max(values)} if values else None


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))
