# SPDX-License-Identifier: MIT
"""memwatch-run --attach: a limit for processes that run already, with real cgroups and real kills."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import unittest

from harness import (LAUNCHER, Scenario, Segments, can_make_groups, left_groups, main, memory_group, program, run,
                     signal, start, wait_until)

GROUPS = can_make_groups()
NO_GROUPS = "no memory cgroup can be made here; ./dev test-vm runs this kind of test in a VM"
HELD_MIB = 40
MIB = 1 << 20

# Holds some memory, then does what it is told to, a line of Python at a time, and says so.
OBEYS = f"""
import os, signal, sys, time
held = bytearray(b"x") * ({HELD_MIB} << 20)
def grow():
    while True:
        held.extend(b"x" * (1 << 20))
def fork(then):
    child = os.fork()
    if not child:
        then()
        os._exit(0)
    return child
print("ready", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


def attach(process, *arguments, **keywords):
    return run([str(LAUNCHER), "--attach", str(process), *arguments], preload=False, **keywords)


def group_of(pid):
    """The directory of a process's memory cgroup."""
    directory, version = memory_group()
    mark = ":memory:" if version == 1 else "0::"
    top = str(directory)[:len(str(directory)) - len(own_path(mark))]
    line = next(line for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines() if mark in line)
    return pathlib.Path(top + line.split(mark)[1].rstrip("/"))


def own_path(mark):
    line = next(line for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines() if mark in line)
    return line.split(mark)[1].rstrip("/")


def processes_in(directory):
    return {int(pid) for pid in (directory / "cgroup.procs").read_text().split()}


class Attach(Scenario):
    def tearDown(self):
        self.assertEqual(left_groups(), [], "a group is left behind")

    def obedient(self, command=("/usr/bin/python3", "-c", OBEYS), **keywords):
        process = start(command, preload=False, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, **keywords)
        self.addCleanup(process.__exit__, None, None, None)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return process

    def tell(self, process, order):
        process.stdin.write(order.encode() + b"\n")
        process.stdin.flush()

    def order(self, process, order):
        self.tell(process, order)
        self.assertEqual(process.stdout.readline(), b"done\n")

    def attach(self, process, *arguments, **keywords):
        """A launcher that has said that the process has its limit, and what it has said."""
        launcher = start([str(LAUNCHER), "--attach", str(process.pid), *arguments], preload=False, **keywords)
        self.addCleanup(launcher.__exit__, None, None, None)
        said = launcher.stderr.readline()
        self.assertIn(b" by cgroup v" if "--limit" in arguments else b"cgroup v", said)
        return launcher, said.decode()

    def end(self, launcher):
        """What it has said since, and its exit status."""
        _, errors = launcher.communicate(timeout=60)
        return errors.decode(), launcher.returncode

    @contextlib.contextmanager
    def group(self, name):
        """A group beside the test's own (v1: below it), for a process of its own."""
        directory, version = memory_group()
        group = (directory if version == 1 else directory.parent) / f"attach-test-{os.getpid()}-{name}"
        group.mkdir()
        try:
            yield group
        finally:
            def is_removed():
                try:
                    group.rmdir()
                except OSError:
                    return False
                return True
            wait_until(is_removed, f"{group} is empty")


@unittest.skipUnless(GROUPS, NO_GROUPS)
class Limit(Attach):
    def test_a_leak_is_killed_at_the_limit_and_the_verdict_tells_what_did_not_count(self):
        process = self.obedient()
        group = group_of(process.pid)
        launcher, said = self.attach(process, "--limit", "30M")
        held, met = map(float, re.search(r"the ([\d.]+) MiB that it holds now \(RSS\) stay charged to \S+ and do not "
                                         r"count: the limit is met at about ([\d.]+) MiB in all\n", said).groups())
        self.assertTrue(HELD_MIB <= held <= HELD_MIB + 20, said)
        self.assertAlmostEqual(met, held + 30, delta=0.2)
        self.assertIn(f"stay charged to {group} and", said)
        self.assertIn(f"(pid {process.pid}): limit 30 MiB (31457280 bytes) by cgroup v", said)
        self.assertIn(f"/memwatch-{launcher.pid}-1", str(group_of(process.pid)))
        self.tell(process, "grow()")
        self.assertEqual(process.wait(60), -signal.SIGKILL)
        errors, status = self.end(launcher)
        self.assertEqual(status, 137)
        self.assertRegex(errors, r"python3 \(pid \d+\) was killed by the kernel's OOM killer at its own limit after .*: "
                                 r"limit 30 MiB .*, 1 OOM kill, working set at the end .*; besides, [\d.]+ MiB were held "
                                 r"before it was attached and did not count\n")

    def test_that_the_limit_is_near_is_said(self):
        process = self.obedient()
        launcher, _ = self.attach(process, "--limit", "30M")
        self.order(process, "more = bytearray(29 << 20)")
        self.assertRegex(launcher.stderr.readline(), rb"python3 \(pid \d+\) is near its limit: [\d.]+ MiB of 30 MiB in use ")
        launcher.send_signal(signal.SIGTERM)
        self.assertEqual(self.end(launcher)[1], 0)

    def test_what_it_holds_already_does_not_kill_it(self):
        process = self.obedient()
        launcher, _ = self.attach(process, "--limit", "20M")
        self.order(process, "held[0::4096] = held[0::4096]")
        self.order(process, "more = bytearray(b'x') * (5 << 20)")
        launcher.send_signal(signal.SIGTERM)
        self.assertEqual(self.end(launcher)[1], 0)

    def test_without_a_limit_its_end_is_told_all_the_same(self):
        process = self.obedient()
        launcher, said = self.attach(process)
        self.assertRegex(said, r"\(pid \d+\): cgroup v\d \S+; the [\d.]+ MiB that .* and do not count\n")
        self.tell(process, "os._exit(0)")
        errors, status = self.end(launcher)
        self.assertEqual(status, 0)
        self.assertIn(" exited with status 0 after ", errors)

    def test_a_child_that_is_killed_is_told_while_it_lives_on_itself(self):
        process = self.obedient()
        launcher, _ = self.attach(process, "--limit", "30M")
        self.order(process, "os.waitpid(fork(grow), 0)")
        self.tell(process, "os._exit(3)")
        errors, status = self.end(launcher)
        self.assertEqual(status, 3)
        self.assertIn("exited with status 3 after", errors)
        self.assertIn("1 OOM kill (of a process that it had started, at its own limit)", errors)

    def test_the_group_is_made_below_the_one_named(self):
        process = self.obedient()
        with self.group("named") as group:
            launcher, _ = self.attach(process, "--limit", "30M", "--cgroup", str(group))
            self.assertEqual(group_of(process.pid), group / f"memwatch-{launcher.pid}-1")
            launcher.send_signal(signal.SIGTERM)
            self.assertEqual(self.end(launcher)[1], 0)

    def test_a_limit_above_is_not_escaped(self):
        process = self.obedient()
        limit = "memory.limit_in_bytes" if memory_group()[1] == 1 else "memory.max"
        with self.group("outer") as group:
            (group / limit).write_text(str(90 * MIB))
            (group / "cgroup.procs").write_text(str(process.pid))
            launcher, said = self.attach(process, "--limit", "200M")
            self.assertIn("limit 90 MiB", said)
            self.assertIn(b"the limit asked for was 200 MiB; the groups above allow no more", launcher.stderr.readline())
            launcher.send_signal(signal.SIGTERM)
            self.assertEqual(self.end(launcher)[1], 0)
            process.kill()
            process.wait()

    def test_quiet_and_json(self):
        process = self.obedient()
        launcher = start([str(LAUNCHER), "--attach", str(process.pid), "--limit", "30M", "--quiet", "--report", "json"],
                         preload=False)
        wait_until(lambda: "memwatch-" in str(group_of(process.pid)), "it is in its group")
        self.tell(process, "os._exit(5)")
        errors, status = self.end(launcher)
        self.assertEqual(status, 5)
        report = json.loads(errors)
        self.assertEqual((report["Cause"], report["ExitStatus"], report["Pid"], report["Limit"]),
                         ("exited", 5, process.pid, 30 * MIB))


@unittest.skipUnless(GROUPS, NO_GROUPS)
class End(Attach):
    """It is no child of the launcher's, which learns of its end all the same."""

    def test_the_status_is_known_whether_its_parent_takes_notice_or_not(self):
        orders = (("os._exit(0)", 0, "exited with status 0 "), ("os._exit(255)", 255, "exited with status 255 "),
                  ("os.kill(os.getpid(), 15)", 143, "was killed by signal 15 (SIGTERM) "),
                  ("os.kill(os.getpid(), 9)", 137, "was killed by signal 9 (SIGKILL), not by the OOM killer, "),
                  ("os.abort()", 134, "crashed with signal 6 (SIGABRT)"))
        for order, status, words in orders:
            for is_reaped_late in (True, False):
                process = self.obedient()
                launcher, _ = self.attach(process, "--limit", "30M")
                self.tell(process, order)
                if not is_reaped_late:
                    process.wait()
                errors, launcher_status = self.end(launcher)
                if "with what status is not known" in errors and not is_reaped_late:
                    print("NOT SHOWN HERE: the kernel did not tell the status of one that its parent was quick to reap")
                    continue
                self.assertIn(words, errors)
                self.assertEqual(launcher_status, status, errors)

    def test_what_it_leaves_behind_lives_on_where_it_was(self):
        process = self.obedient()
        group = group_of(process.pid)
        launcher, _ = self.attach(process, "--limit", "30M")
        self.tell(process, "print(fork(lambda: time.sleep(1000)), flush=True)")
        child = int(process.stdout.readline())
        self.assertEqual(process.stdout.readline(), b"done\n")
        self.assertIn("memwatch-", str(group_of(child)))
        process.kill()
        errors, _ = self.end(launcher)
        self.assertIn(f"what it has left behind: 1 process is back in {group}, without the limit\n", errors)
        self.assertEqual(group_of(child), group)
        os.kill(child, signal.SIGKILL)


class PostMortem(Segments):
    @unittest.skipUnless(GROUPS, NO_GROUPS)
    def test_of_a_watched_process_it_is_told_who_held_the_memory(self):
        kept = self.directory / "kept"
        with start([program("leak"), "20"], options=self.options(sample="1K")) as process:
            self.segment(process.pid)
            with start([str(LAUNCHER), "--attach", str(process.pid), "--limit", "30M", "--keep", str(kept)],
                       preload=False, options=self.options()) as launcher:
                _, errors = launcher.communicate(timeout=120)
            self.assertEqual(process.wait(60), -signal.SIGKILL)
        self.assertEqual(launcher.returncode, 137)
        self.assertIn(b"OOM killer at its own limit", errors)
        self.assertRegex(errors, rb"leak\.c:\d+")
        self.assertEqual(len(list(kept.glob(f"heap-{process.pid}-*.pb.gz"))), 1)
        self.assertIn("OOM killer", json.loads((kept / "deaths.jsonl").read_text())["Verdict"])
        self.assertEqual(len(self.segments()), 1, "what it has left is not ours to remove")


# Forks without pause: children that have children of their own, which live on. With "orphans" those in between end, so
# that their parents do not tell any more whose they are.
FORKS = """
import os, sys, time
print("ready", flush=True)
for _ in range(60):
    if not os.fork():
        for _ in range(2):
            if not os.fork():
                time.sleep(1000)
                os._exit(0)
            time.sleep(0.001)
        if "orphans" in sys.argv:
            os._exit(0)
        time.sleep(1000)
    time.sleep(0.005)
print("all", flush=True)
time.sleep(1000)
"""


def session_of(pid):
    """The processes of a session that are alive."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if fields[0] != "Z" and int(fields[3]) == pid:
                found.add(int(path.parent.name))
    return found


@unittest.skipUnless(GROUPS, NO_GROUPS)
class Descendants(Attach):
    def check_none_escapes(self, process):
        group = group_of(process.pid)
        launcher, said = self.attach(process, "--limit", "500M")
        ours = group_of(process.pid)
        self.assertIn(f"/memwatch-{launcher.pid}-", str(ours))
        self.assertRegex(said, rf"^memwatch-run: python3 \(pid {process.pid}\) and \d+ descendants?: limit 500 MiB .*")
        self.assertEqual(process.stdout.readline(), b"all\n")
        all_of_them = session_of(process.pid)
        self.assertGreaterEqual(len(all_of_them), 121)
        self.assertEqual(all_of_them - processes_in(ours), set())
        launcher.send_signal(signal.SIGTERM)
        errors, status = self.end(launcher)
        self.assertEqual(status, 0)
        self.assertIn(f"let go of python3 (pid {process.pid}): {len(all_of_them)} processes are back in {group}, ", errors)
        self.assertFalse(ours.exists())
        self.assertEqual(all_of_them - processes_in(group), set())

    def test_none_escapes_while_they_fork_not_even_orphans(self):
        for arguments in ((), ("orphans",)):
            process = self.obedient(("/usr/bin/python3", "-c", FORKS, *arguments), start_new_session=True)
            self.addCleanup(os.killpg, process.pid, signal.SIGKILL)
            wait_until(lambda: len(session_of(process.pid)) > 15, "it has children")
            self.check_none_escapes(process)

    def test_one_in_a_group_of_its_own_stays_there(self):
        process = self.obedient()
        self.tell(process, "print(fork(lambda: time.sleep(1000)), flush=True)")
        child = int(process.stdout.readline())
        self.assertEqual(process.stdout.readline(), b"done\n")
        with self.group("others") as group:
            (group / "cgroup.procs").write_text(str(child))
            launcher, said = self.attach(process, "--limit", "30M")
            self.assertIn("; 1 more descendant is in another group and stays there\n", said)
            self.assertEqual(group_of(child), group)
            launcher.send_signal(signal.SIGTERM)
            self.assertEqual(self.end(launcher)[1], 0)
            self.assertEqual(group_of(child), group)
            os.kill(child, signal.SIGKILL)

    def test_the_launcher_itself_is_left_out(self):
        with start(["sh", "-c", f"{LAUNCHER} --attach $$ --limit 30M; echo $?"], preload=False) as process:
            said = process.stderr.readline()
            self.assertIn(b"limit 30 MiB", said)
            self.assertNotIn(b"descendant", said)
            launcher = int(re.search(r"memwatch-(\d+)-", str(group_of(process.pid)))[1])
            self.assertEqual(group_of(launcher), group_of("self"))
            os.kill(launcher, signal.SIGINT)
            self.assertEqual(process.communicate(timeout=60)[0], b"0\n")


@unittest.skipUnless(GROUPS, NO_GROUPS)
class LettingGo(Attach):
    def test_the_process_goes_on_where_it_was(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            process = self.obedient()
            group = group_of(process.pid)
            launcher, _ = self.attach(process, "--limit", "20M")
            limited = group_of(process.pid)
            launcher.send_signal(number)
            errors, status = self.end(launcher)
            self.assertEqual(status, 0, number)
            self.assertEqual(errors, f"memwatch-run: let go of python3 (pid {process.pid}): 1 process is back in {group}, "
                                     "without the limit\n")
            self.assertEqual(group_of(process.pid), group)
            self.assertFalse(limited.exists())
            self.order(process, "more = bytearray(b'x') * (50 << 20)")  # more than the limit was

    def test_an_ignored_sighup_lets_nobody_go(self):
        process = self.obedient()
        launcher, _ = self.attach(process, "--limit", "30M",
                                  preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        launcher.send_signal(signal.SIGHUP)
        self.tell(process, "os._exit(4)")
        self.assertEqual(self.end(launcher)[1], 4)

    def test_after_a_kill_of_the_launcher_the_limit_holds_and_the_next_one_sweeps(self):
        process = self.obedient()
        with self.group("killed") as parent:
            launcher, _ = self.attach(process, "--limit", "30M", "--cgroup", str(parent))
            limited = group_of(process.pid)
            launcher.kill()
            launcher.wait()
            self.assertEqual(group_of(process.pid), limited)
            self.tell(process, "grow()")
            self.assertEqual(process.wait(60), -signal.SIGKILL)
            run([str(LAUNCHER), "--limit", "30M", "--cgroup", str(parent), "true"], preload=False)
            self.assertFalse(limited.exists())

    def test_a_second_one_is_within_the_first(self):
        process = self.obedient()
        group = group_of(process.pid)
        first, _ = self.attach(process, "--limit", "60M")
        outer = group_of(process.pid)
        second, said = self.attach(process, "--limit", "30M")
        self.assertIn(f"stay charged to {outer} and", said)
        second.send_signal(signal.SIGTERM)
        self.assertEqual(self.end(second)[1], 0)
        self.assertEqual(group_of(process.pid), outer)
        first.send_signal(signal.SIGTERM)
        self.assertEqual(self.end(first)[1], 0)
        self.assertEqual(group_of(process.pid), group)


class Refused(Attach):
    def refused(self, result, words):
        self.assertEqual(result.returncode, 125, result.stderr)
        self.assertRegex(result.stderr.decode(), words)
        self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
        self.assertEqual(result.stdout, b"")

    def test_what_is_no_process(self):
        for pid in ("0", "-1", "", "abc", "1x", "4194305", "99999999999999999999", "1 "):
            self.refused(run([str(LAUNCHER), f"--attach={pid}"], preload=False),
                         f'--attach takes the process id of a running process, not "{pid}"')
        free = max(int(path.name) for path in pathlib.Path("/proc").glob("[0-9]*")) + 100000
        self.refused(attach(free), f"there is no process {free}")

    def test_what_cannot_be_limited(self):
        self.refused(run(["sh", "-c", f"exec {LAUNCHER} --attach $$"], preload=False), r"process \d+ is memwatch-run itself")
        process = self.obedient()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self.refused(attach(process.pid), rf"process {process.pid} \(python3\) has ended already")
        process.wait()
        self.refused(attach(process.pid), f"there is no process {process.pid}")
        kernels = [int(path.parent.name) for path in pathlib.Path("/proc").glob("[0-9]*/stat")
                   if int(path.read_text().rpartition(")")[2].split()[6]) & 0x200000]
        if kernels:  # a container has none
            self.refused(attach(kernels[0]), r"is a thread of the kernel's")

    def test_a_thread_is_no_process(self):
        process = self.obedient()
        self.order(process, "import threading; threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()")
        thread = max(int(path.name) for path in pathlib.Path(f"/proc/{process.pid}/task").glob("*"))
        self.refused(attach(thread), f"{thread} is a thread of the process {process.pid}, not a process")

    def test_what_is_for_a_start(self):
        process = self.obedient()
        self.refused(attach(process.pid, "--limit", "30M", "true"), "it takes no program to start, as true is")
        self.refused(attach(process.pid, "--restart", "no"), "--restart is for a program that memwatch-run starts")
        self.refused(attach(process.pid, "--limit", "30M", "--limit-mode", "in-process"), "memwatch set")
        self.refused(attach(process.pid, "--limit", "30M", "--cgroup", "/there/is/none"),
                     "--cgroup cannot be had: /there/is/none is no memory cgroup that exists|no memory cgroup")
        self.assertNotIn("memwatch-", pathlib.Path(f"/proc/{process.pid}/cgroup").read_text())

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_without_privilege(self):
        def become_nobody():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        if subprocess.run([str(LAUNCHER), "--version"], capture_output=True, check=False,
                          preexec_fn=become_nobody).returncode:
            self.skipTest("the build directory is not for other users to see")
        roots = self.obedient()
        self.refused(attach(roots.pid, "--limit", "30M", preexec_fn=become_nobody),
                     rf"process {roots.pid} \(python3\) is of another user \(0\): that takes root")
        own = self.obedient(preexec_fn=become_nobody)
        self.refused(attach(own.pid, "--limit", "30M", preexec_fn=become_nobody),
                     "--attach cannot be had: .*; nor is it watched, so that it could be asked to give memory back")
        with start([program("leak"), "1"], preexec_fn=become_nobody) as watched:
            wait_until(lambda: "memwatch" in pathlib.Path(f"/proc/{watched.pid}/maps").read_text(), "it is watched")
            result = wait_until(lambda: self.with_hint(watched.pid, become_nobody), "its segment is found")
            self.refused(result, f"--attach cannot be had: .*; it is watched: `memwatch set {watched.pid} limit=SIZE` has it")

    def with_hint(self, pid, become_nobody):
        result = attach(pid, "--limit", "30M", preexec_fn=become_nobody)
        return result if b"memwatch set" in result.stderr else None


if __name__ == "__main__":
    main()
