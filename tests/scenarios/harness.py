# SPDX-License-Identifier: MIT
"""What the scenarios share: the built library and launcher, and waits that end.

MEMWATCH_BUILD names the build directory.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ["MEMWATCH_BUILD"]).resolve()
LIBRARY = BUILD / "preload" / "libmemwatch.so"
LAUNCHER = BUILD / "agent" / "memwatch-run"
MEMWATCH = BUILD / "agent" / "memwatch"
DEADLINE_S = 60
TEST_DEADLINE_S = int(os.environ.get("MEMWATCH_TEST_DEADLINE_S", "300"))  # less than what CTest gives the file
SHARED_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps nginx, also from a user's shell


def program(name):
    """The path of a program of tests/programs or examples."""
    for directory in ("tests", "examples"):
        path = BUILD / directory / name
        if path.exists():
            return str(path)
    raise FileNotFoundError(name)


def environment(preload=True, **options):
    """This environment, with MEMWATCH_<OPTION>=value for each option, and the library preloaded."""
    result = {k: v for k, v in os.environ.items() if not k.startswith("MEMWATCH_") and k != "LD_PRELOAD"}
    if preload:
        result["LD_PRELOAD"] = str(LIBRARY)
    result.update({f"MEMWATCH_{k.upper()}": str(v) for k, v in options.items()})
    return result


def run(command, *, preload=True, options=None, deadline=DEADLINE_S, **popen):
    """Runs a command to its end. Returns a subprocess.CompletedProcess with bytes."""
    popen.setdefault("stdin", subprocess.DEVNULL)
    extra = popen.pop("env", {})
    return subprocess.run(command, env=environment(preload, **(options or {})) | extra, capture_output=True,
                          timeout=deadline, check=False, **popen)


def memwatch(*arguments, check=True):
    """Runs the tool; returns its output, or the whole result where it may fail."""
    result = run([str(MEMWATCH), *map(str, arguments)], preload=False)
    if check and (result.returncode or result.stderr):
        raise AssertionError(f"memwatch {arguments}: {result.returncode}, {result.stderr}")
    return result.stdout.decode() if check else result


def start(command, *, preload=True, options=None, **popen):
    """Starts a command with pipes; use as a context manager. It is killed when the context ends."""
    popen.setdefault("stdin", subprocess.DEVNULL)
    popen.setdefault("stdout", subprocess.PIPE)
    popen.setdefault("stderr", subprocess.PIPE)
    extra = popen.pop("env", {})
    return Running(command, env=environment(preload, **(options or {})) | extra, **popen)


class Running(subprocess.Popen):
    def __exit__(self, *exception):
        if self.poll() is None:
            self.kill()
        return super().__exit__(*exception)


def wait_until(condition, what, deadline=DEADLINE_S):
    """Calls condition until it returns something true, and returns that."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError(f"not within {deadline} s: {what}")


def json_lines(text):
    """The JSON objects of an output, by line; text may be bytes, a str or a path. The last line may be under way."""
    if isinstance(text, pathlib.Path):
        text = text.read_bytes() if text.exists() else b""
    if isinstance(text, str):
        text = text.encode()
    return [json.loads(line) for line in text.split(b"\n")[:-1] if line.startswith(b"{")]


def statistics(text):
    """Of these, the lines of statistics, not events."""
    return [line for line in json_lines(text) if "Event" not in line]


def memory_group():
    """This process's memory cgroup directory, by our own reading, and the controller's version; None: there is none."""
    entries = [line.split(":", 2) for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines()]
    v1 = [path for _, controllers, path in entries if "memory" in controllers.split(",")]
    if v1:
        return pathlib.Path("/sys/fs/cgroup/memory" + v1[0].rstrip("/")), 1
    v2 = [path for number, controllers, path in entries if number == "0" and not controllers]
    directory = pathlib.Path("/sys/fs/cgroup" + v2[0].rstrip("/")) if v2 else None
    return (directory, 2) if directory and (directory / "cgroup.procs").exists() else None


def can_make_groups():
    """May a memory cgroup be made here?"""
    group = memory_group()
    if not group:
        return False
    directory, version = group
    probe = directory / f"memwatch-test-{os.getpid()}"
    try:
        probe.mkdir()
    except OSError:
        return False
    usable = (probe / ("memory.limit_in_bytes" if version == 1 else "memory.max")).exists()
    probe.rmdir()
    return usable


def left_groups():
    """Groups that a launcher has left behind: memwatch-PID-N, and no such launcher lives (others' tests run beside)."""
    group = memory_group()
    groups = group[0].glob("memwatch-[0-9]*") if group else []
    return sorted(path for path in groups if not pathlib.Path("/proc", path.name.split("-")[1]).exists())


# A program in Python that writes the number of each signal that reaches it. It waits for them rather than handling
# them: one that comes between a handler's end and pause() would be handled only once another comes.
CATCHABLE_SIGNALS = sorted(set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, 32, 33})
WRITES_SIGNALS = f"""
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {[*map(int, CATCHABLE_SIGNALS)]})
os.write(1, b"ready\\n")
while True:
    os.write(1, b"%d\\n" % signal.sigwait({[*map(int, CATCHABLE_SIGNALS)]}))
"""


class Scenario(unittest.TestCase):
    maxDiff = None
    deadline_s = TEST_DEADLINE_S

    def run(self, result=None):
        """A wait that has no deadline of its own, such as for a line of a pipe, ends with the test's."""
        def ends(*_):
            raise AssertionError(f"the test has not ended within {self.deadline_s} s")
        signal.signal(signal.SIGALRM, ends)
        signal.alarm(self.deadline_s)
        try:
            return super().run(result)
        finally:
            signal.alarm(0)


class Segments(Scenario):
    """With a directory of its own for the segments."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="memwatch-test-", dir=SHARED_MEMORY))
        self.addCleanup(shutil.rmtree, self.directory)
        self.place = self.directory / f"memwatch-{os.getuid()}"

    def options(self, **options):
        return {"dir": self.directory, "output": "none"} | options

    def segments(self):
        return sorted(self.place.glob("*.mw"))

    def segment(self, pid):
        return wait_until(lambda: next(iter(self.place.glob(f"{pid}-*.mw")), None), f"the segment of {pid}")

    def the_segment(self):
        segments = self.segments()
        self.assertEqual(len(segments), 1)
        return segments[0]


def main():
    """Runs the scenarios of the calling file. A skip is not silent: it is shouted at the end."""
    program = unittest.main(verbosity=2, exit=False)
    for test, reason in program.result.skipped:
        print(f"NOT RUN HERE: {test.id()}: {reason}")
    raise SystemExit(not program.result.wasSuccessful())


__all__ = ["BUILD", "CATCHABLE_SIGNALS", "DEADLINE_S", "LAUNCHER", "LIBRARY", "MEMWATCH", "Scenario", "Segments",
           "WRITES_SIGNALS", "can_make_groups", "environment", "json_lines", "left_groups", "main", "memory_group",
           "memwatch", "program", "run", "signal", "start", "statistics", "wait_until"]
