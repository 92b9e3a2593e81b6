# SPDX-License-Identifier: MIT
"""The limiter on real programs: memory comes back while they sleep, near their limits and when it is short, and
nothing of what they do is disturbed."""

import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from harness import (LAUNCHER, MEMWATCH, SHARED_MEMORY, Scenario, can_make_groups, json_lines, main, memory_group, program, run,
                     signal, start, statistics, wait_until)

PYTHON = shutil.which("python3", path="/usr/bin:/bin")
GROUPS = can_make_groups()
MIB = 1 << 20
BUILT_BYTES = 60 * MIB
QUIET_S = 8  # after 2 s a program is quiet; the monitor looks once a second; a slice of a sleep is another
WAITS = ("poll", "epoll_wait", "select", "nanosleep", "clock_nanosleep", "absolute", "sleep", "usleep")
STORM_S = float(os.environ.get("MEMWATCH_TEST_STORM_S", "10"))  # 600: ten minutes


def status(place):
    """/proc/…/status as a dict."""
    text = pathlib.Path(place, "status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def rss(pid):
    return int(status(f"/proc/{pid}")["VmRSS"].split()[0]) << 10


def tasks(pid):
    """The tasks of a process: their names by their ids."""
    names = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            names[int(task.name)] = (task / "comm").read_text().strip()
    return names


def children(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def together(function, cases):
    """Calls function with each, all at once: they sleep most of the time. Returns what they return, in order."""
    with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        return list(pool.map(function, cases))


class Limiter(Scenario):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="memwatch-test-", dir=SHARED_MEMORY))
        self.directory.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.directory)

    def lines(self, name):
        return self.directory / f"{name}.lines"

    def options(self, name, **more):
        return {"output": self.lines(name), "format": "json", "dir": self.directory, "limit": "off"} | more

    def trims(self, name):
        return [line for line in json_lines(self.lines(name)) if line.get("Event") == "trim"]

    def start(self, name, command, **options):
        """Starts a program that says something when it is ready."""
        # What the rest of the machine is short of is none of its business.
        environment = {"MEMORY_PRESSURE_WATCH": "/dev/null"} | options.pop("env", {})
        process = start(command, options=self.options(name, **options), env=environment)
        self.addCleanup(process.__exit__, None, None, None)
        self.assertTrue(process.stdout.readline(), name)
        return process

    def floor(self, name="trimmed"):
        """What is left where the program trims by itself."""
        process = self.start(name, [program("idlers"), name], trim_percent="off")
        floor = rss(process.pid)
        process.kill()
        self.assertLess(floor, BUILT_BYTES / 2)
        return floor

    def falls(self, pid, floor, what):
        most = floor * 1.1
        wait_until(lambda: rss(pid) <= most, f"{what} gives back what it has dropped, down to {most / MIB:.1f} MiB",
                   QUIET_S)


class Quiet(Limiter):
    def test_a_thread_that_sleeps_gives_back_what_it_has_dropped(self):
        floor = self.floor()

        def one(wait):
            process = self.start(wait, [program("idlers"), wait])
            self.falls(process.pid, floor, wait)
            self.assertEqual(status(f"/proc/{process.pid}")["Threads"], "2", f"{wait}: the program's and the monitor")
            trims = wait_until(lambda: self.trims(wait), "the line", 5)
            self.assertLessEqual({trim["Reason"] for trim in trims}, {"quiet", "percent"})
            self.assertEqual({trim["Thread"] for trim in trims}, {process.pid})
            process.kill()
        together(one, WAITS)

    def test_an_interpreter_that_sleeps_does_so_too(self):
        script = "import time\nheld = [b'%0150d' % i for i in range(300000)]\nheld = held[::2000]\nprint('dropped', flush=True)\ntime.sleep(100)\n"
        process = self.start("python", [PYTHON, "-c", script], env={"PYTHONMALLOC": "malloc"})
        wait_until(lambda: rss(process.pid) < 25 * MIB, "it gives back what it has dropped", QUIET_S)
        self.assertEqual(status(f"/proc/{process.pid}")["Threads"], "2")

    def test_of_several_threads_that_sleep_none_has_to_do_it(self):
        def one(name):
            process = self.start(name, [program("idlers"), name])
            self.falls(process.pid, floor, name)
            if name == "closed":  # the file for the lines, too
                return
            trims = wait_until(lambda: self.trims(name), "the line", 5)
            names = tasks(process.pid)
            self.assertEqual({names[trim["Thread"]] for trim in trims}, {"memwatch-trim"}, name)
            reclaimers = [task for task, comm in names.items() if comm == "memwatch-trim"]
            self.assertEqual(len(reclaimers), 1)
            blocked = int(status(f"/proc/{process.pid}/task/{reclaimers[0]}")["SigBlk"], 16)
            open_to = [number for number in range(1, 65) if not blocked >> (number - 1) & 1]
            self.assertLessEqual(set(open_to), {signal.SIGKILL, signal.SIGSTOP, 32, 33}, "but for libc's own two")
            process.kill()
        # Eight arenas keep more than one: an end of each, and what is between blocks that stay.
        floor = self.floor("trimmed") * 1.5
        together(one, ("threads", "pause", "closed"))

    def test_a_thread_that_was_there_before_the_library_and_children_of_programs_with_threads(self):
        def one(case):
            name, is_child, has_threads, most = case
            process = self.start(name, [program("idlers" if is_child else "idlers-early"), name])
            pid = process.pid
            if is_child:
                pid, = children(pid)
                self.addCleanup(os.kill, pid, signal.SIGKILL)
            self.falls(pid, most, name)
            self.assertEqual("memwatch-trim" in tasks(pid).values(), has_threads, tasks(pid))
        floor = self.floor()
        together(one, (("joins", False, True, floor), ("child", True, False, floor), ("child-threads", True, True, floor * 1.5)))


class Waits(Limiter):
    """The same output with the library and without; that the times are right the program checks."""

    def same(self, *arguments):
        name = "-".join(arguments)
        wild = {"trim_percent": "0"}
        with_us = run([program("waits"), *arguments], options=self.options(name, **wild))
        without = run([program("waits"), *arguments], preload=False)
        self.assertEqual((without.returncode, without.stderr), (0, b""), arguments)
        self.assertEqual((with_us.returncode, with_us.stdout.decode(), with_us.stderr),
                         (0, without.stdout.decode(), b""), arguments)

    def test_each_keeps_its_meaning(self):
        cases = [(name,) for name in (*WAITS, "errors", "small")] + [("poll", "forked"), ("nanosleep", "forked")]
        together(lambda case: self.same(*case), cases)

    def test_a_signal_handler_that_sleeps_is_left_alone(self):
        # It has interrupted malloc, most likely.
        def one(number):
            name = f"handler{number}"
            result = run([program("waits"), "handler"], options=self.options(name), deadline=30)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"survived\n", b""))
            self.assertEqual(self.trims(name), [])
        together(one, range(4))

    def sandbox(self, percent):
        result = run([program("waits"), "sandbox"], options=self.options(percent, trim_percent=percent))
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"alive\n", b""))

    def test_a_sandbox_is_not_shown_other_calls(self):
        self.sandbox("off")

    def test_nor_is_one_that_memory_could_be_asked_of(self):
        self.sandbox("50")


class Harmless(Limiter):
    def several(self, name, **keywords):
        return run([program("several"), name], options=self.options(name), deadline=30, **keywords)

    def test_the_last_thread_ends_the_process(self):
        for _ in range(3):
            result = self.several("last")
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"last\nhandler\n", b""))

    def test_a_user_namespace_may_be_entered_once_all_threads_have_ended(self):
        plain = run([program("several"), "userns"], preload=False)
        if plain.returncode:
            self.skipTest(f"this user may make no user namespace: {plain.stderr}")
        result = self.several("userns")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"inside\n", b""))

    def test_it_gives_up_what_the_program_gives_up(self):
        if os.getuid() != 0:
            self.skipTest("needs root to give it up")
        process = self.start("setuid", [program("several"), "setuid"])
        both = {"memwatch", "memwatch-trim"}
        wait_until(lambda: both <= set(tasks(process.pid).values()), "the monitor and the reclaimer", 10)
        for task, name in tasks(process.pid).items():
            if name != "memwatch":  # which has never had any
                credentials = status(f"/proc/{process.pid}/task/{task}")
                self.assertEqual((credentials["Uid"].split(), credentials["Gid"].split()), (["12345"] * 4, ["12345"] * 4), name)
                self.assertEqual(int(credentials["CapEff"], 16), 0, name)

    def test_an_exit_while_a_trim_is_under_way(self):
        for attempt in range(10):
            with start([program("several"), "exit"], options=self.options("exit", trim_percent="off"),
                       stdin=subprocess.PIPE) as process:
                self.assertEqual(process.stdout.readline(), b"ready\n")
                asked = subprocess.Popen([MEMWATCH, "trim", str(process.pid)], stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
                time.sleep(attempt * 0.002)  # not a wait for something: once before it, once after it
                output, errors = process.communicate(b"x", timeout=30)
                asked.wait(30)
                self.assertEqual((process.returncode, output, errors), (7, b"handler\n", b""))

    def test_two_thousand_short_threads_leave_nothing(self):
        result = self.several("short")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"3\n", b""))

    def test_the_child_of_a_process_with_threads_works(self):
        result = self.several("fork")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"child\nparent\n", b""))


class Reasons(Limiter):
    def test_off_is_off(self):
        result = run([program("shifts"), "swing", "4"], options=self.options("off", trim_percent="off"))
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(self.trims("off"), [])
        self.assertEqual({line["NumTrim"] for line in statistics(self.lines("off"))}, {0})

    def test_by_percentage_alone(self):
        process = self.start("percent", [program("shifts"), "hold"])
        wait_until(lambda: self.trims("percent"), "a trim", 10)
        self.assertEqual(self.trims("percent")[0]["Reason"], "percent")
        self.assertGreater(self.trims("percent")[0]["Returned"], 15 * MIB)
        self.assertEqual(self.trims("percent")[0]["Thread"], process.pid)

    @unittest.skipUnless(GROUPS, "no memory cgroup can be made here")
    def test_a_limit_is_kept_that_the_program_would_die_at(self):
        for name, limit in (("phases", "100M"), ("turns", "100M")):
            cases = (("off", {"limit": "off", "trim_percent": "off"}), ("limit", {"limit": "90%", "trim_percent": "off"}),
                     ("both", {"limit": "90%"}))
            for case, options in cases:
                with self.subTest(name=name, case=case):
                    lines = f"{name}-{case}"
                    result = run([str(LAUNCHER), "--limit", limit, "--restart", "no", program("shifts"), name],
                                 preload=False, options=self.options(lines, **options))
                    expected = 137 if case == "off" else 0
                    self.assertEqual(result.returncode, expected, (result.stderr, self.trims(lines)))
                    if case == "limit":
                        self.assertEqual({trim["Reason"] for trim in self.trims(lines)} - {"pressure"}, {"limit"})


class Storms(Limiter):
    """What it may take where there is no end of reasons to trim."""

    def cost(self, name, command, **options):
        begin = time.monotonic()
        process = self.start(name, command, interval="500ms", **options)
        self.assertEqual(process.stdout.readline(), b"done\n")
        lived_ns = (time.monotonic() - begin) * 1e9
        process.wait(30)
        last = statistics(self.lines(name))[-1]
        return last, lived_ns, max(last["PauseNs"], default=0)

    def test_it_is_bounded(self):
        # Under a limit that what is live and what it needs besides are past, for ever; and by percentage alone.
        def one(case):
            name, share, calm_ns, options = case
            last, lived_ns, longest_ns = self.cost(name, [program("shifts"), name, str(STORM_S)], **options)
            spent_ns, bound_ns = last["PauseTotalNs"], share * lived_ns + calm_ns + longest_ns
            print(f"{name}: {spent_ns / 1e9:.2f} s of {lived_ns / 1e9:.0f} s in {last['NumTrim']} trims, "
                  f"the longest {longest_ns / 1e6:.0f} ms; allowed {bound_ns / 1e9:.2f} s")
            self.assertGreater(last["NumTrim"], 0, name)
            self.assertLessEqual(spent_ns, bound_ns, name)
        together(one, (("churn", 0.25, 0.5e9, {"limit": "58M", "trim_percent": "off"}),
                       ("swing", 0.02, 0.04e9, {"trim_percent": "0"})))


# Reads a file whose pages do not fit: they have to go before the next ones come.
READER = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
print("reading", flush=True)
while True:
    for at in range(0, 64 << 20, 1 << 20):
        os.pread(file, 1 << 20, at)
"""


@unittest.skipUnless(GROUPS, "no memory cgroup can be made here")
class Pressure(Limiter):
    def group(self):
        directory = memory_group()[0] / f"memwatch-limiter-test-{os.getpid()}"
        directory.mkdir()
        self.addCleanup(lambda: wait_until(lambda: self.removed(directory), "the group is empty", 10))
        return directory

    def leave(self, directory, free_bytes):
        """Limits a group so that there is so much besides what is its processes' own."""
        own = re.search(r"^rss (\d+)$", (directory / "memory.stat").read_text(), re.M)[1]
        (directory / "memory.limit_in_bytes").write_text(str(int(own) + free_bytes))

    def removed(self, directory):
        with contextlib.suppress(OSError):
            directory.rmdir()
        return not directory.exists()

    def into(self, directory):
        return lambda: (directory / "cgroup.procs").write_text("0")

    def large_file(self):
        """On a disk; and none of its pages is ours, or they would not be the group's."""
        descriptor, path = tempfile.mkstemp(prefix="memwatch-test-", dir="/var/tmp")
        self.addCleanup(os.unlink, path)
        for _ in range(64):
            os.write(descriptor, bytes(MIB))
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        return path

    def test_what_is_held_is_given_back_when_a_neighbour_needs_it(self):
        if memory_group()[1] != 1:
            self.skipTest("by memory.pressure_level, of cgroup v1")
        group = self.group()
        file = self.large_file()
        with start([program("shifts"), "hold"], options=self.options("hold", trim_percent="100000"),
                   preexec_fn=self.into(group)) as holder:
            self.assertEqual(holder.stdout.readline(), b"ready\n")
            with start([PYTHON, "-c", READER, file], preload=False, preexec_fn=self.into(group)) as neighbour:
                self.assertEqual(neighbour.stdout.readline(), b"reading\n")
                for free_bytes in (5 * MIB, 4 * MIB, 3 * MIB, 2 * MIB):  # the tighter, the surer
                    self.leave(group, free_bytes)
                    with contextlib.suppress(AssertionError):
                        wait_until(lambda: self.trims("hold"), "a trim", 5)
                        break
                trims = self.trims("hold")
                self.assertTrue(trims, "no trim")
                self.assertIsNone(neighbour.poll(), "it lives")
        self.assertEqual(trims[0]["Reason"], "pressure")
        self.assertGreater(trims[0]["Returned"], 15 * MIB)


if __name__ == "__main__":
    main()
