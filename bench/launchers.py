# SPDX-License-Identifier: MIT
"""What a launcher costs: from the start to the program's first line and to its end, and what is left beside a program
that sleeps.

To add a launcher, add a line to the table LAUNCHERS.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass

import groups
from contenders import BASE, installed
from measure import spread

LIMIT = "100M"
LIMIT_BYTES = 100 << 20
PROGRAMS = {"static": "bench/bench_born", "dynamic": "bench/bench_born_dynamic"}
MEMWATCH_RUN = "agent/memwatch-run"
DEADLINE_S = 20
SETTLING_S = 1
ASLEEP_S = 5
AGAIN = f"{BASE} again"
BY_HAND = "a group by hand"  # passes no signal on: nothing would end its sleeper


@dataclass(frozen=True)
class Launcher:
    """`command` makes the words before the program's of a Place. `programs`: those that it can start here."""

    name: str
    what: str
    command: object
    programs: tuple = tuple(PROGRAMS)
    needs: object = None  # a command, or a function that says what is not there
    package: str = ""


class Place:
    """Where it all is: the build, the bundles, the group in which groups are made."""

    def __init__(self, build, directory):
        self.build, self.directory = build, directory
        try:
            self.parent, self.version = groups.place()
            self.no_group = ""
        except groups.Unavailable as why:
            self.no_group = str(why)

    def launch(self, *options):
        return [str(self.build / MEMWATCH_RUN), "--quiet", *options, "--"]

    def limited(self):
        return [str(self.build / "bench" / "bench_limited"), str(self.parent), self.version.limit, LIMIT]

    def runc(self):
        return ["runc", "--root", str(self.directory / "state"), "run", "--bundle"]


def no_systemd(_):
    return "" if os.path.isdir("/run/systemd/system") else "needs systemd as the init process"


def no_root(place):
    return place.no_group or ("" if os.geteuid() == 0 else "needs root")


LAUNCHERS = (
    Launcher(BASE, "posix_spawn, and no launcher", lambda place: []),
    Launcher(AGAIN, "the same once more", lambda place: []),
    Launcher("env", "coreutils' env, which executes the program in its place", lambda place: ["env"], needs="env",
             package="coreutils"),
    Launcher("timeout", "coreutils' timeout 10", lambda place: ["timeout", "10"], needs="timeout",
             package="coreutils"),
    Launcher("tini", "tini -s: passes signals on, reaps", lambda place: ["tini", "-s", "--"], needs="tini",
             package="tini"),
    Launcher("dumb-init", "dumb-init: the same", lambda place: ["dumb-init", "--"], needs="dumb-init",
             package="dumb-init"),
    Launcher("memwatch-run", "memwatch-run --quiet, without a limit", lambda place: place.launch()),
    Launcher(BY_HAND, f"the least: a cgroup is made, limited to {LIMIT}, entered and removed",
             Place.limited, needs=lambda place: place.no_group),
    Launcher("memwatch-run, limit", f"memwatch-run --quiet --limit {LIMIT}",
             lambda place: place.launch("--limit", LIMIT), needs=lambda place: place.no_group),
    Launcher("systemd-run", f"systemd-run --scope -p MemoryMax={LIMIT}",
             lambda place: ["systemd-run", "--quiet", "--scope", "-p", f"MemoryMax={LIMIT}"], needs=no_systemd,
             package="systemd"),
    Launcher("runc run", f"runc run of a bundle with that limit: its own root, pid and mount namespaces",
             Place.runc, ("static",), needs=lambda place: no_root(place) or missing("runc"), package="runc"),
)


def missing(command):
    return "" if shutil.which(command) else f"there is no {command}"


def bundle(place, program, *arguments):
    """A directory that runc can run: the program, and nothing else beside what runc itself mounts."""
    made = pathlib.Path(tempfile.mkdtemp(dir=place.directory))
    root = made / "rootfs"
    root.mkdir()
    shutil.copy(program, root / "program")
    subprocess.run(["runc", "spec", "--bundle", made], check=True, timeout=DEADLINE_S)
    config = json.loads((made / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["/program", *arguments]}
    config["process"].pop("rlimits", None)
    config["linux"].setdefault("resources", {})["memory"] = {"limit": LIMIT_BYTES}
    (made / "config.json").write_text(json.dumps(config))
    return made


class Failed(Exception):
    """A launcher did not do what it was there for."""


class Started:
    """A program that was started by a launcher, and what it says."""

    def __init__(self, words, directory):
        self.output, end = os.pipe()
        with open(directory / "stderr", "w+b") as stderr, open(os.devnull, "rb") as null:
            files = [(os.POSIX_SPAWN_DUP2, null.fileno(), 0), (os.POSIX_SPAWN_DUP2, end, 1),
                     (os.POSIX_SPAWN_DUP2, stderr.fileno(), 2)]
            self.complaints = directory / "stderr"
            self.begin_ns = time.monotonic_ns()
            self.pid = os.posix_spawnp(words[0], words, os.environ, file_actions=files)
        os.close(end)

    def first_line(self):
        return int(os.read(self.output, 64) or self.fail())

    def fail(self):
        os.waitpid(self.pid, 0)
        said = self.complaints.read_text(errors="replace").strip().splitlines()
        raise Failed(said[-1][:100] if said else "the program did not start")

    def end(self):
        """Waits. Start to first line, and to the end."""
        _, status = os.waitpid(self.pid, 0)
        end_ns = time.monotonic_ns()
        if status:
            said = self.complaints.read_text(errors="replace").strip().splitlines()
            raise Failed(f"wait status {status}: {said[-1][:80] if said else 'it said nothing'}")
        return self.first_line() - self.begin_ns, end_ns - self.begin_ns

    def close(self):
        os.close(self.output)


def words_of(place, launcher, program, *arguments):
    path = place.build / PROGRAMS[program]
    if launcher.name != "runc run":
        return [*launcher.command(place), str(path), *arguments]
    key = (program, *arguments)
    if key not in place.bundles:
        place.bundles[key] = bundle(place, path, *arguments)
    place.number += 1
    return [*launcher.command(place), str(place.bundles[key]), f"memwatch-bench-{os.getpid()}-{place.number}"]


def once(place, launcher, program):
    started = Started(words_of(place, launcher, program), place.directory)
    try:
        return started.end()
    finally:
        started.close()


# ---- beside a program that sleeps ----


def field(text, name):
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name + ":")), 0)


def look(pid):
    """Resident KiB, of which its own alone, and how often its threads have been scheduled."""
    process = pathlib.Path(f"/proc/{pid}")
    status = (process / "status").read_text()
    switches = 0
    for thread in (process / "task").iterdir():
        text = (thread / "status").read_text()
        switches += field(text, "voluntary_ctxt_switches") + field(text, "nonvoluntary_ctxt_switches")
    return field(status, "VmRSS"), field(status, "RssAnon"), switches


def is_program(pid):
    """Has the launcher become the program? Then nothing is left of it."""
    return os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith("bench_born")


def asleep(place, launchers):
    """What is left of each launcher beside a sleeping program, all at once. By the launcher's name."""
    left, running = {}, []
    try:
        for launcher in launchers:
            running.append((launcher.name, Started(words_of(place, launcher, "static", "sleep"), place.directory)))
            running[-1][1].first_line()
        time.sleep(SETTLING_S)
        before = {name: look(started.pid) for name, started in running if not is_program(started.pid)}
        time.sleep(ASLEEP_S)
        for name, started in running:
            if name in before:
                rss_kib, anonymous_kib, switches = look(started.pid)
                left[name] = {"rss_kib": rss_kib, "anonymous_kib": anonymous_kib,
                              "wakeups": switches - before[name][2]}
    finally:
        for _, started in running:
            stop(started)
    return left


def stop(started):
    os.kill(started.pid, 15)
    os.waitpid(started.pid, 0)
    started.close()


@dataclass(frozen=True)
class Launching:
    """Interleaved, as all experiments; a run takes milliseconds, so there are more of them."""

    title: str
    runs_each: int = 10  # times the runs that are asked for
    gap_s: float = 0.0
    contenders: tuple = ()
    workloads: tuple = ()

    def measure(self, bench):
        runs = max(1, round(bench.runs * self.runs_each * bench.scale))
        with tempfile.TemporaryDirectory(prefix="memwatch-bench-") as directory:
            place = Place(bench.works.runner.build, pathlib.Path(directory))
            place.bundles, place.number = {}, 0
            why_not = {launcher.name: self.why_not(launcher, place) for launcher in LAUNCHERS}
            ready = [launcher for launcher in LAUNCHERS if not why_not[launcher.name]]
            rows = []
            for program in PROGRAMS:
                able = [launcher for launcher in ready if program in launcher.programs]
                times, failures = self.rounds(bench, place, program, able, runs)
                for launcher in LAUNCHERS:
                    if program in launcher.programs:
                        failure = why_not[launcher.name] or failures.get(launcher.name, "")
                        rows.append(row(program, launcher.name, times, failure))
            bench.tell("launchers beside a sleeping program")
            left = asleep(place, [launcher for launcher in ready if launcher.name not in failures and
                                  launcher.name not in (BASE, AGAIN, BY_HAND)])
        bench.tell("")
        for each in rows:
            each |= {"left": left[each["contender"]]} if each["contender"] in left else {}
        return {"kind": "launching", "title": self.title, "rows": rows, "runs": runs, "asleep_s": ASLEEP_S,
                "gap_s": self.gap_s, "versions": installed(launcher.package for launcher in LAUNCHERS)}

    @staticmethod
    def why_not(launcher, place):
        lacking = launcher.needs(place) if callable(launcher.needs) else missing(launcher.needs or "true")
        return f"NOT RUN HERE: {lacking}" if lacking else ""

    def rounds(self, bench, place, program, launchers, runs):
        times = {launcher.name: [] for launcher in launchers}
        failures = {}
        for number in range(-1, runs):
            bench.tell(f"launching, {program}, {number + 1} of {runs}")
            for launcher in launchers:
                if launcher.name in failures:
                    continue
                time.sleep(self.gap_s)
                try:
                    took = once(place, launcher, program)
                except (Failed, OSError, subprocess.SubprocessError) as failure:
                    failures[launcher.name] = str(failure)
                    continue
                if number >= 0:
                    times[launcher.name].append(took)
        return times, failures


def row(program, name, times, failure):
    made = {"workload": program, "contender": name, "failure": failure}
    if failure:
        return made
    for index, what in enumerate(("first", "end")):
        own = [took[index] for took in times[name]]
        made[f"{what}_ns"] = spread(own)
        made[f"{what}_ratio"] = spread(a / b[index] for a, b in zip(own, times[BASE]))
    return made
