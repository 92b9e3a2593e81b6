# SPDX-License-Identifier: MIT
"""memwatch-run as the first process of a PID namespace and as the parent of orphans, what is left when it is killed
itself, and what it costs while the program sleeps."""

import contextlib
import os
import pathlib
import re
import subprocess
import time
import unittest

from harness import (CATCHABLE_SIGNALS, LAUNCHER, WRITES_SIGNALS, Scenario, can_make_groups, main, memory_group,
                     program, run, signal, start, wait_until)

GROUPS = can_make_groups()
LIMIT = 60 << 20
ORPHANS = 10000
BATCH = 250  # that many end at the same moment
ORPHANS_DEADLINE_S = 240
WAITING_AT_MOST = 2 * BATCH  # for being reaped: one batch, and what of the next comes meanwhile
RSS_AT_MOST_KIB = 2048
QUIET_S = 2
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]
NO_GROUPS = "no memory cgroup can be made here; ./dev test-vm runs this kind of test in a VM"


def can_make_namespaces():
    return run([*NAMESPACE, "true"], preload=False).returncode == 0


def status_of(pid):
    """The lines of /proc/PID/status."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def children_of(pid):
    """Also those that have ended and are not reaped."""
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid):
    try:
        return status_of(pid)["State"][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def executable(pid):
    return os.readlink(f"/proc/{pid}/exe")


def memory_group_of(pid):
    """The directory's name."""
    line, = re.findall(r"^(?:\d+:(?:[^:]*,)?memory(?:,[^:]*)?|0:):(.*)$", pathlib.Path(f"/proc/{pid}/cgroup").read_text(), re.M)[:1]
    return line.rsplit("/", 1)[1]


class Life(Scenario):
    """Every launcher makes its groups in one of the scenario's own: of a launcher in a PID namespace the group's name
    holds the number 1, whoever it is."""

    within = ()

    def setUp(self):
        if GROUPS:
            self.parent = memory_group()[0] / f"memwatch-test-life-{os.getpid()}"
            self.parent.mkdir()
            self.addCleanup(self.leave)
            self.options = ["--cgroup", str(self.parent)]
        else:
            self.options = []

    def leave(self):
        left = self.groups()
        for group in left:
            group.rmdir()
        self.parent.rmdir()
        self.assertEqual(left, [], "a group is left behind")

    def groups(self):
        return sorted(path for path in self.parent.iterdir() if path.is_dir())

    def launch(self, *arguments):
        return run([*self.within, str(LAUNCHER), *self.options, *arguments], preload=False)

    def start(self, *arguments):
        """The context manager, of the process that was started: not the launcher's where it is in a namespace."""
        return start([*self.within, str(LAUNCHER), *self.options, *arguments], preload=False, stdin=subprocess.PIPE,
                     options={"output": "none"})

    def launcher_of(self, process):
        """The launcher's process id, as seen from here."""
        if not self.within:
            return process.pid
        return wait_until(lambda: next((child for child in children_of(process.pid) if executable(child) == str(LAUNCHER)), None),
                          "the launcher runs")

    def program_of(self, launcher):
        def find():
            children = children_of(launcher)
            return children[0] if children and executable(children[0]) != str(LAUNCHER) else None
        return wait_until(find, "the program runs")


class AsParent:
    """What holds for a subreaper and for the first process alike."""

    def test_all_exit_statuses_pass_through(self):
        for status in (0, 1, 2, 77, 124, 128, 200, 255):
            self.assertEqual(self.launch("sh", "-c", f"exit {status}").returncode, status)
        self.assertEqual(self.launch("sh", "-c", "kill -TERM $$").returncode, 143)
        self.assertEqual(self.launch("nonsense-nowhere").returncode, 127)
        self.assertEqual(self.launch("/").returncode, 126)
        self.assertEqual(self.launch("--nonsense").returncode, 125)

    def test_signals_reach_the_program(self):
        with self.start("/usr/bin/python3", "-c", WRITES_SIGNALS) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            launcher = self.launcher_of(process)
            for number in CATCHABLE_SIGNALS:
                os.kill(launcher, number)
                self.assertEqual(process.stdout.readline(), b"%d\n" % number)
            os.kill(self.program_of(launcher), signal.SIGKILL)
            process.communicate(timeout=30)
        self.assertEqual(process.returncode, 137)

    def test_ten_thousand_orphans_are_reaped(self):
        with self.start(program("orphans"), str(ORPHANS), str(BATCH)) as process:
            launcher = self.launcher_of(process)
            main_program = self.program_of(launcher)
            os.set_blocking(process.stdout.fileno(), False)
            most = 0

            def said():
                nonlocal most
                states = [state for state in map(self.state, children_of(launcher)) if state == "Z"]
                most = max(most, len(states))
                return process.stdout.read()
            self.assertEqual(wait_until(said, "all orphans have been made", ORPHANS_DEADLINE_S), b"all have ended or will\n")
            wait_until(lambda: children_of(launcher) == [main_program], "none but the program is the launcher's child")
            print(f"at most {most} orphans have ended and are not reaped, at a time")
            self.assertLessEqual(most, WAITING_AT_MOST)
            self.assertTrue(is_running(main_program))
            os.set_blocking(process.stdout.fileno(), True)
            _, errors = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0, errors)
        self.assertIn(b"orphans (pid ", errors)
        self.assertIn(b"exited with status 0", errors)

    @staticmethod
    def state(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return None

    @unittest.skipUnless(GROUPS, NO_GROUPS)
    def test_who_forks_twice_into_a_session_of_its_own_does_not_escape(self):
        script = "(setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & wait' &); echo ready; cat"
        with self.start("--limit", "60M", "--stop-timeout", "100ms", "sh", "-c", script) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            launcher = self.launcher_of(process)
            main_program = self.program_of(launcher)

            def escaping():
                orphan = [child for child in children_of(launcher) if child != main_program]
                return (orphan + children_of(orphan[0])) if orphan and children_of(orphan[0]) else None
            descendants = wait_until(escaping, "the launcher is the parent of the one that forked twice")
            group, = self.groups()
            for pid in descendants:
                self.assertEqual(memory_group_of(pid), group.name)
                self.assertNotEqual(os.getsid(pid), os.getsid(main_program))
            _, errors = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0)
        self.assertRegex(errors, rb"memwatch-run: 2 processes that it left behind were ended\n")
        self.assertEqual([pid for pid in descendants if is_running(pid)], [])


class Subreaper(AsParent, Life):
    pass


@unittest.skipUnless(can_make_namespaces(), "no PID namespace can be made here")
class FirstProcess(AsParent, Life):
    within = NAMESPACE

    def test_it_is_the_first_and_signals_from_inside_are_passed_on_too(self):
        script = "trap 'echo got it; exit 5' USR1; readlink /proc/1/exe; (kill -USR1 1); while :; do sleep 0.01; done"
        with self.start("sh", "-c", script) as process:
            self.assertEqual(process.stdout.readline().decode(), f"{LAUNCHER}\n")
            self.assertEqual(process.stdout.readline(), b"got it\n")
            self.assertEqual(process.wait(30), 5)

    @unittest.skipUnless(GROUPS, NO_GROUPS)
    def test_two_first_processes_have_a_group_each_and_what_one_has_left_is_no_hindrance(self):
        with self.start("--limit", "60M", "sh", "-c", "echo ready; cat") as first:
            self.assertEqual(first.stdout.readline(), b"ready\n")
            mine, = self.groups()
            with self.start("--limit", "60M", "sh", "-c", "echo ready; cat") as second:
                self.assertEqual(second.stdout.readline(), b"ready\n")
                self.assertEqual(len(self.groups()), 2)
                second.communicate(timeout=30)
            self.assertEqual((second.returncode, self.groups()), (0, [mine]))
            os.kill(self.launcher_of(first), signal.SIGKILL)
            first.wait(30)
        self.assertEqual(self.groups(), [mine])
        self.assertEqual(self.launch("--limit", "60M", "true").returncode, 0)
        self.assertEqual(self.groups(), [])


@unittest.skipUnless(GROUPS, NO_GROUPS)
class Killed(Life):
    """kill -9 of memwatch-run itself: nobody is left to say how the program ends, but the kernel still holds it."""

    @contextlib.contextmanager
    def without_launcher(self, script):
        """The process that was the launcher, for its pipes, and the program's process id."""
        with self.start("--limit", "60M", "sh", "-c", script) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            pid = self.program_of(process.pid)
            process.kill()
            process.wait(30)
            yield process, pid

    def oom_kills(self, group):
        name = "memory.oom_control" if memory_group()[1] == 1 else "memory.events"
        return int(re.search(r"^oom_kill (\d+)$", (group / name).read_text(), re.M)[1])

    def test_the_program_runs_on_in_its_group_under_its_limit_and_the_next_launcher_sweeps(self):
        script = "echo ready; read line; echo $line; read line; exec dd if=/dev/zero of=/dev/null bs=100M count=1"
        with self.without_launcher(script) as (process, pid):
            group, = self.groups()
            process.stdin.write(b"runs on\n")
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), b"runs on\n")
            self.assertEqual(memory_group_of(pid), group.name)
            limit_file = "memory.limit_in_bytes" if memory_group()[1] == 1 else "memory.max"
            self.assertEqual((group / limit_file).read_text(), f"{LIMIT}\n")
            self.assertEqual(self.launch("true").returncode, 0)
            self.assertEqual(self.groups(), [group], "one that is in use is left alone")
            self.assertEqual(self.oom_kills(group), 0)
            process.stdin.write(b"\n")
            process.stdin.flush()
            wait_until(lambda: not is_running(pid), "the program has ended")
            self.assertEqual(self.oom_kills(group), 1)
            self.assertEqual(self.launch("true").returncode, 0)
            self.assertEqual(self.groups(), [], "one that is empty is removed by the next launcher")


class Cost(Life):
    """Of the launcher, while the program sleeps."""

    @staticmethod
    def switches(pid):
        status = status_of(pid)
        return int(status["voluntary_ctxt_switches"]) + int(status["nonvoluntary_ctxt_switches"])

    def unchanged(self, pid, seconds):
        """Did it not run at all in that time? The time is what is measured."""
        before = self.switches(pid)
        time.sleep(seconds)
        return self.switches(pid) == before

    def test_it_does_not_wake_and_takes_little_memory(self):
        limit = ["--limit", "60M"] if GROUPS and memory_group()[1] == 1 else []  # v2: now and then it looks (./dev test-vm)
        with self.start(*limit, "sleep", "1000") as process:
            pid = self.program_of(process.pid)
            wait_until(lambda: self.unchanged(process.pid, 1.2), "the launcher has come to rest")  # it has a second look
            self.assertTrue(self.unchanged(process.pid, QUIET_S), "it has run, though nothing has happened")
            status = status_of(process.pid)
            self.assertEqual(status["Threads"], "1")
            print(f"launcher: VmRSS {status['VmRSS'].strip()}, of it anonymous {status['RssAnon'].strip()}")
            self.assertLessEqual(int(status["VmRSS"].split()[0]), RSS_AT_MOST_KIB)
            os.kill(pid, signal.SIGTERM)
            process.communicate(timeout=30)


if __name__ == "__main__":
    main()
