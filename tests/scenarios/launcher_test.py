# SPDX-License-Identifier: MIT
"""memwatch-run with real cgroups, real kills and real signals."""

import json
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import tempfile
import unittest

from harness import (CATCHABLE_SIGNALS, LAUNCHER, LIBRARY, WRITES_SIGNALS, Scenario, can_make_groups, left_groups, main,
                     memory_group, program, run, signal, start, wait_until)

GROUPS = can_make_groups()
LIMIT = 60 << 20
OOM = (rb"memwatch-run: \S+ \(pid \d+\) was killed by the kernel's OOM killer at its own limit after [^:]+: limit 60 MiB "
       rb"\(62914560 bytes\), peak 60 MiB \((\d+) bytes\), 1 OOM kill, working set at the end [^;\n]*")


def launch(*arguments, **keywords):
    return run([str(LAUNCHER), *arguments], preload=False, **keywords)


def start_launcher(*arguments, **keywords):
    return start([str(LAUNCHER), *arguments], preload=False, **keywords)


def child_of(process):
    """The process id of the launcher's child, once it runs its program."""
    def find():
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if children and os.readlink(f"/proc/{children[0]}/exe") != str(LAUNCHER):
            return int(children[0])
        return None
    return wait_until(find, "the program runs")


class Launcher(Scenario):
    def tearDown(self):
        self.assertEqual(left_groups(), [], "a group is left behind")


@unittest.skipUnless(GROUPS, "no memory cgroup can be made here; ./dev test-vm runs this kind of test in a VM")
class Group(Launcher):
    def test_a_leak_is_killed_at_the_limit_called_an_oom_kill_and_restarted(self):
        result = launch("--limit", "60M", "--start-limit", "2", program("leak"), "1000", options={"output": "none"})
        self.assertEqual(result.returncode, 137)
        self.assertEqual(result.stdout, b"")
        peaks = [int(peak) for peak in re.findall(OOM, result.stderr)]
        if memory_group()[1] == 1:
            self.assertEqual(peaks, [LIMIT] * 3, result.stderr)
        else:
            self.assertEqual([abs(peak - LIMIT) < 1 << 20 for peak in peaks], [True] * 3, result.stderr)
        self.assertRegex(result.stderr, rb"restart 1 of at most 2 in 100 ms\n")
        self.assertRegex(result.stderr, rb"restart 2 of at most 2 in 200 ms\n")
        self.assertRegex(result.stderr, rb"not started again: 2 restarts")

    def test_a_kill_from_outside_is_not_called_an_oom_kill(self):
        with start_launcher("--limit", "60M", "sleep", "60") as process:
            os.kill(child_of(process), signal.SIGKILL)
            _, errors = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 137)
        self.assertIn(b"was killed by signal 9 (SIGKILL), not by the OOM killer,", errors)
        self.assertNotIn(b"restart", errors)

    def test_an_oom_kill_of_a_child_is_told_while_the_main_process_lives(self):
        result = launch("--limit", "60M", "sh", "-c", f"{program('leak')} 1000; exit 3", options={"output": "none"})
        self.assertEqual(result.returncode, 3)
        self.assertRegex(result.stderr, rb"exited with status 3 .*, 1 OOM kill \(of a process that it had "
                                        rb"started, at its own limit\), working set at the end ")

    def test_the_program_is_in_its_group_from_the_first_instruction(self):
        with start_launcher("--limit", "60M", "cat", "/proc/self/cgroup") as process:
            output, _ = process.communicate(timeout=30)
        self.assertIn(f"/memwatch-{process.pid}-1\n".encode(), output)
        first_touch = launch("--limit", "8M", "--restart", "no", "head", "-c", "64M", "/dev/zero")
        self.assertEqual(first_touch.returncode, 0)  # streaming needs little
        at_once = launch("--limit", "20M", "--restart", "no", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1",
                         options={"output": "none"})
        self.assertEqual(at_once.returncode, 137)
        self.assertIn(b"the kernel's OOM killer", at_once.stderr)

    def test_the_line_shows_the_groups_limit(self):
        result = launch("--limit", "60M", "sleep", "0.5", options={"interval": "100ms"})
        self.assertRegex(result.stderr, rb"Cgroup = [\d.]+ MiB of 60\.0 MiB\n")

    def test_near_the_groups_limit_memory_is_asked_back_by_default(self):
        # The wave holds up to 150 MiB and drops to 30; what it drops is kept by the allocator.
        result = launch("--limit", "170M", program("wave"), "40", "60", options={"interval": "50ms"})
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, rb"past the limit of 153 MiB, trim: [\d.]+ MiB came back")

    def test_what_the_program_leaves_behind_ends_with_it(self):
        result = launch("sh", "-c", "sleep 1000 & echo $!; setsid sleep 1000 & echo $!", stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 0)
        self.assertIn(b"memwatch-run: 2 processes that it left behind were ended\n", result.stderr)
        for pid in result.stdout.split():
            self.assertFalse(pathlib.Path(f"/proc/{pid.decode()}").exists())

    def test_a_limit_that_is_too_little_is_told_as_what_it_is(self):
        result = launch("--limit", "1M", "--restart", "no", "python3", "-c", "pass")
        self.assertEqual(result.returncode, 137)
        self.assertIn(b"was killed by the kernel's OOM killer", result.stderr)
        self.assertIn(b"limit 1 MiB", result.stderr)

    def test_a_share_is_of_the_memory_to_be_had(self):
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
        result = launch("--limit", "50%", "true")
        limit = int(re.search(rb"limit [^(]+\((\d+) bytes\) by", result.stderr)[1])
        self.assertLessEqual(limit, machine // 2)
        self.assertGreater(limit, 1 << 20)

    def test_swappiness(self):
        result = launch("--limit", "60M", "--swappiness", "0", "true")
        self.assertEqual(result.returncode, 0)
        self.assertEqual(b"--swappiness has no effect" in result.stderr, memory_group()[1] == 2, result.stderr)


class Restart(Launcher):
    def test_the_policies(self):
        cases = (("no", "exit 0", 1), ("no", "exit 3", 1), ("on-oom", "exit 3", 1), ("on-oom", "kill -9 $$", 1),
                 ("on-failure", "exit 0", 1), ("on-failure", "exit 3", 3), ("on-failure", "kill -15 $$", 3),
                 ("always", "exit 0", 3))
        for policy, script, starts in cases:
            result = launch("--restart", policy, "--start-limit", "2", "--restart-delay", "1ms", "sh", "-c",
                            f"echo start; {script}")
            self.assertEqual(result.stdout.count(b"start"), starts, (policy, script))

    def test_a_stop_during_the_wait_for_a_restart_ends_it(self):
        with start_launcher("--restart", "always", "--restart-delay", "1h", "true") as process:
            line = b""
            while b"restart 1 of" not in line:
                line = process.stderr.readline()
                self.assertTrue(line)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(30), 0)

    def test_after_sigint_nothing_is_restarted(self):
        with start_launcher("--restart", "always", "sleep", "60") as process:
            child_of(process)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 130)
        self.assertIn(b"was killed by signal 2 (SIGINT)", errors)
        self.assertNotIn(b"restart", errors)


class Passing(Launcher):
    def test_all_exit_statuses_pass_through(self):
        for status in range(256):
            self.assertEqual(launch("sh", "-c", f"exit {status}").returncode, status)

    def test_a_signals_death_is_128_and_its_number(self):
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1, signal.SIGRTMAX):
            self.assertEqual(launch("sh", "-c", f"kill -{number:d} $$").returncode, 128 + number)

    def test_every_catchable_signal_reaches_the_program(self):
        with start_launcher("/usr/bin/python3", "-c", WRITES_SIGNALS) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            for number in CATCHABLE_SIGNALS:
                process.send_signal(number)
                self.assertEqual(process.stdout.readline(), b"%d\n" % number)
            os.kill(child_of(process), signal.SIGKILL)
            process.communicate(timeout=30)

    def test_the_programs_signal_mask_and_streams_are_as_without(self):
        script = "grep -E 'Sig(Blk|Ign)' /proc/self/status; cat"
        plain = subprocess.run(["sh", "-c", script], input=b"input\n", capture_output=True, timeout=30, check=True)
        ours = run([str(LAUNCHER), "sh", "-c", script], preload=False, stdin=None, input=b"input\n")
        self.assertEqual(ours.stdout, plain.stdout)

    def test_an_ignored_sigchld_is_no_standstill_and_is_handed_on(self):
        result = launch("grep", "SigIgn", "/proc/self/status", preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        self.assertEqual(result.returncode, 0)
        self.assertTrue(int(result.stdout.split()[1], 16) >> (signal.SIGCHLD - 1) & 1)

    def test_an_ld_preload_that_was_there_stays_behind_ours(self):
        result = launch("sh", "-c", "echo $LD_PRELOAD", env={"LD_PRELOAD": "libc.so.6"})
        self.assertEqual(result.stdout.decode(), f"{LIBRARY}:libc.so.6\n")


class Supervising(Launcher):
    """How it is told to stop, to start again, to speak, and where it writes."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="memwatch-test-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def deaf(self, *options):
        """A program that does not heed SIGTERM, and a child of its that does not either."""
        process = start_launcher(*options, "sh", "-c", "trap '' TERM; sleep 1000 & echo ready; wait")
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return process

    @unittest.skipUnless(GROUPS, "no memory cgroup can be made here; ./dev test-vm runs this kind of test in a VM")
    def test_one_that_does_not_stop_in_time_is_killed_with_all_its_own(self):
        with self.deaf("--stop-timeout", "100ms") as process:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 137)
        self.assertRegex(errors, rb"sh \(pid \d+\) has not ended within 100 ms of being asked to: it is killed\n")
        self.assertIn(b"was killed by signal 9 (SIGKILL), not by the OOM killer", errors)

    def test_the_pidfile_names_the_program_while_it_runs(self):
        pidfile = self.directory / "pid"
        result = launch("--pidfile", str(pidfile), "sh", "-c", f"cat {pidfile}; echo $$")
        written, own = result.stdout.split()
        self.assertEqual(written, own)
        self.assertFalse(pidfile.exists())

    def test_its_lines_go_where_they_are_told_to(self):
        log = self.directory / "log"
        log.write_text("before\n")
        result = launch("--log", str(log), "sh", "-c", "echo error >&2; exit 3", options={"output": "none"})
        self.assertEqual((result.returncode, result.stderr), (3, b"error\n"))
        self.assertRegex(log.read_text(), r"\Abefore\nmemwatch-run: sh \(pid \d+\) exited with status 3 [^\n]*\n\Z")
        result = launch("--log", "/nowhere/log", "true")
        self.assertEqual((result.returncode, result.stderr),
                         (125, b"memwatch-run: --log: cannot open /nowhere/log: No such file or directory\n"))

    def test_a_report_of_the_longest_path_is_whole(self):
        program = self.directory / "program"
        program.write_text("#!/bin/sh\nexit 3\n")
        program.chmod(0o755)
        path = f"{self.directory}{'/.' * 2000}/program"
        result = launch("--quiet", "--report", "json", path, options={"output": "none"})
        self.assertEqual(json.loads(result.stderr)["Program"], path)

    def test_quiet_is_quiet_unless_something_went_wrong(self):
        self.assertEqual(launch("--quiet", "true", options={"output": "none"}).stderr, b"")
        self.assertIn(b"exited with status 3", launch("-q", "sh", "-c", "exit 3").stderr)

    def test_the_report_as_json_is_one_line(self):
        result = launch("--quiet", "--report", "json", "sh", "-c", "exit 3", options={"output": "none"})
        report = json.loads(result.stderr)
        self.assertEqual((report["Program"], report["Cause"], report["ExitStatus"], report["Restarts"]), ("sh", "exited", 3, 0))

    def parent_group(self):
        """One of our own, so that what is left there for a while is not taken for another test's."""
        parent = memory_group()[0] / f"memwatch-test-parent-{os.getpid()}"
        parent.mkdir()
        self.addCleanup(parent.rmdir)
        return parent

    @unittest.skipUnless(GROUPS, "no memory cgroup can be made here; ./dev test-vm runs this kind of test in a VM")
    def test_a_program_may_be_made_to_end_with_its_launcher(self):
        parent = self.parent_group()
        with start_launcher("--cgroup", str(parent), "--pdeathsig", "TERM", "sh", "-c", "trap 'echo ended; exit' TERM; echo ready; "
                            "while :; do sleep 0.01; done") as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            process.kill()
            self.assertEqual(process.stdout.readline(), b"ended\n")
            process.wait(30)

        def is_swept():
            launch("--cgroup", str(parent), "true")
            return not list(parent.glob("memwatch-*"))
        wait_until(is_swept, "what a launcher that was killed has left is removed by the next")

    @unittest.skipUnless(GROUPS, "no memory cgroup can be made here; ./dev test-vm runs this kind of test in a VM")
    def test_the_group_is_made_below_the_one_that_is_named(self):
        parent = self.parent_group()
        top = next(place for place in (parent, *parent.parents) if not (place.parent / "cgroup.procs").exists())
        for name in (str(parent), f"/{parent.relative_to(top)}", str(parent.relative_to(top))):
            result = launch("--cgroup", name, "--limit", "60M", "cat", "/proc/self/cgroup")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(f"{parent.relative_to(top)}/memwatch-".encode(), result.stdout)
        result = launch("--cgroup", "/nonsense", "true")
        self.assertEqual(result.returncode, 125)
        self.assertRegex(result.stderr, rb"--cgroup cannot be had: /nonsense is no memory cgroup that exists")

    @unittest.skipUnless(GROUPS and memory_group()[1] == 1, "what v1 has; ./dev test-vm has v2's part of it")
    def test_what_v1_has_of_the_further_limits(self):
        result = launch("--limit", "60M", "--swap", "4M", "--high", "50M", "--oom-group", "yes", "sh", "-c",
                        "d=$(grep :memory: /proc/self/cgroup | cut -d: -f3); cat /sys/fs/cgroup/memory/$d/memory.memsw.limit_in_bytes")
        accounts_for_swap = (memory_group()[0] / "memory.memsw.limit_in_bytes").exists()
        self.assertEqual(b"--swap has no effect" in result.stderr, not accounts_for_swap)
        self.assertEqual(result.stdout, b"%d\n" % (64 << 20) if accounts_for_swap else b"", result.stderr)
        self.assertIn(b"--high has no effect: cgroup v1", result.stderr)
        self.assertIn(b"--oom-group has no effect: cgroup v1", result.stderr)


class Terminal(Launcher):
    """Job control, in a real shell on a real terminal."""

    def setUp(self):
        self.shell, self.terminal = pty.fork()
        if self.shell == 0:
            os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"], {"PATH": os.environ["PATH"], "PS1": "$ ", "TERM": "dumb"})
        self.addCleanup(self.leave)
        self.seen = b""
        self.expect(rb"\$ ")

    def leave(self):
        os.close(self.terminal)
        os.kill(self.shell, signal.SIGKILL)
        os.waitpid(self.shell, 0)

    def type(self, text):
        os.write(self.terminal, text.encode())

    def expect(self, pattern):
        def found():
            if select.select([self.terminal], [], [], 0)[0]:
                self.seen += os.read(self.terminal, 65536)
            return re.search(pattern, self.seen)
        match = wait_until(found, lambda: f"{pattern} in {self.seen}")
        self.seen = self.seen[match.end():]
        return match

    def run_script(self, script):
        self.type(f"{LAUNCHER} /bin/bash -c '{script}'\n")

    def test_ctrl_c_reaches_the_program_once(self):
        self.run_script('n=0; trap "n=\\$((n+1)); echo got \\$n" INT; echo rea""dy; while [ $n -lt 2 ]; do sleep 0.01; done; sleep 0.3; echo in all $n')
        self.expect(rb"ready\r\n")
        self.type("\x03")
        self.expect(rb"got 1\r\n")
        self.type("\x03")
        self.expect(rb"got 2\r\n")
        self.expect(rb"in all 2\r\n")

    def test_ctrl_z_suspends_both_and_fg_goes_on(self):
        self.run_script('echo rea""dy; while :; do sleep 0.01; done')
        self.expect(rb"ready\r\n")
        for _ in range(3):
            self.type("\x1a")
            self.expect(rb"Stopped")
            self.expect(rb"\$ ")
            self.type("jobs -l; echo shell li''ves\n")
            self.expect(rb"shell lives\r\n")
            self.expect(rb"\$ ")
            self.type("fg\n")
            self.expect(rb"memwatch-run[^\n]*\n")
        self.type("\x03")
        self.expect(rb"was killed by signal 2 \(SIGINT\)")
        self.expect(rb"\$ ")


class Allocator(Launcher):
    LIBRARIES = {"jemalloc": r"\S+/libjemalloc\.so\.2", "tcmalloc": r"\S+/libtcmalloc_minimal\.so\.4",
                 "mimalloc": r"\S+/libmimalloc\.so\.2"}

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="memwatch-test-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def test_the_counters_are_exact_above_each_and_it_serves_what_they_count(self):
        for name, library in ({"glibc": r"\S+/libc\.so\.6"} | self.LIBRARIES).items():
            with self.subTest(name=name):
                exact = launch("--allocator", name, program("truth"), "8", "5", options={"output": "none"})
                self.assertEqual((exact.returncode, exact.stdout), (0, b"truth: all equal\n"), exact.stderr)
                self.assertEqual(exact.stderr.count(b"\n"), 1, exact.stderr)  # the loader complains of nothing
                bound = launch("--allocator", name, "true", env={"LD_DEBUG": "bindings"})
                for function in ("malloc", "calloc", "realloc", "free", "aligned_alloc", "malloc_usable_size"):
                    self.assertRegex(bound.stderr.decode(), rf"binding file {re.escape(str(LIBRARY))} \[0\] to {library} "
                                                            rf"\[0\]: normal symbol `{function}'")

    def test_it_stands_between_the_library_and_what_was_there(self):
        for name, library in self.LIBRARIES.items():
            result = launch("--allocator", name, "sh", "-c", "echo $LD_PRELOAD", env={"LD_PRELOAD": "libc.so.6"})
            self.assertRegex(result.stdout.decode(), rf"\A{re.escape(str(LIBRARY))}:{library}:libc\.so\.6\n\Z")

    def test_one_that_was_preloaded_already_yields_to_the_one_that_is_asked_for(self):
        result = launch("--allocator", "jemalloc", str(LAUNCHER), "--allocator", "mimalloc", program("truth"), "2", "2",
                        options={"output": "none"}, env={"LD_DEBUG": "bindings"})
        self.assertEqual((result.returncode, result.stdout), (0, b"truth: all equal\n"))
        served = re.findall(r"\[0\] to (\S+) \[0\]: normal symbol `calloc'\n", result.stderr.decode())
        self.assertRegex(served[-1], self.LIBRARIES["mimalloc"])

    def test_it_is_preloaded_also_where_the_library_is_not_found(self):
        alone = shutil.copy(LAUNCHER, self.directory)
        result = run([alone, "--allocator", "jemalloc", "sh", "-c", "echo $LD_PRELOAD"], preload=False)
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stdout.decode(), rf"\A{self.LIBRARIES['jemalloc']}\n\Z")
        self.assertIn(b"the program is not watched: libmemwatch.so is not found", result.stderr)

    def test_ld_library_path_comes_first_and_what_cannot_be_preloaded_is_told(self):
        installed = launch("--allocator", "jemalloc", "sh", "-c", "echo $LD_PRELOAD").stdout.decode().strip().split(":")[1]
        for directory, status in (("place", 0), ("a place", 125)):
            (self.directory / directory).mkdir()
            own = shutil.copy(installed, self.directory / directory)
            result = launch("--allocator", "jemalloc", "sh", "-c", "echo $LD_PRELOAD",
                            env={"LD_LIBRARY_PATH": str(self.directory / directory)})
            self.assertEqual((result.returncode, result.stdout.decode()), (status, "" if status else f"{LIBRARY}:{own}\n"))
            self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
        self.assertIn(f"{own} cannot be preloaded: LD_PRELOAD takes no path with a space or a colon".encode(), result.stderr)


class BadInput(Launcher):
    def test_one_line_names_what_is_wrong_and_what_is_accepted(self):
        cases = ((["--limit", "12Q", "true"], b'--limit takes a size of at least 1M, such as 100M'),
                 (["--limit", "", "true"], b'not ""'), (["--limit", "0", "true"], b'not "0"'),
                 (["--limit", "64K", "true"], b'at least 1M'), (["--limit=-5M", "true"], b'not "-5M"'),
                 (["--limit", "101%", "true"], b'not "101%"'), (["--limit", "0.0001%", "true"], b"the least is 1M"),
                 (["--limit", "99999999999999999999E", "true"], b"--limit takes"),
                 (["--limit"], b"--limit needs a value"),
                 (["--swappiness", "101", "true"], b"--swappiness takes a number from 0 to 100"),
                 (["--restart", "sometimes", "true"], b"--restart takes on-oom, on-failure, always or no"),
                 (["--restart-delay", "soon", "true"], b"--restart-delay takes a duration"),
                 (["--start-limit", "-1", "true"], b"--start-limit takes a number"),
                 (["--allocator", "hoard", "true"], b'--allocator takes glibc, jemalloc, tcmalloc or mimalloc, not "hoard"'),
                 (["--high", "512K", "--limit", "60M", "true"], b'--high takes a size of at least 1M'),
                 (["--high", "50M", "true"], b"--high needs a --limit besides"),
                 (["--high", "60M", "--limit", "60M", "true"], b"--high is to be below --limit"),
                 (["--swap", "some", "--limit", "60M", "true"], b'--swap takes a size such as 0 or 512M, or any, not "some"'),
                 (["--swap", "50%", "--limit", "60M", "true"], b'not "50%"'),
                 (["--swap", "0", "true"], b"--swap needs a --limit"),
                 (["--oom-group", "perhaps", "true"], b'--oom-group takes yes or no, not "perhaps"'),
                 (["--oom-group", "1", "true"], b'not "1"'),
                 (["--cgroup", "", "true"], b'--cgroup takes the path of a memory cgroup that exists, not ""'),
                 (["--cgroup", "/", "--limit-mode", "systemd", "true"], b"it takes --limit-mode=cgroup or none"),
                 (["--stop-timeout", "soon", "true"], b"--stop-timeout takes a duration"),
                 (["--stop-timeout=-1s", "true"], b'not "-1s"'),
                 (["--restart-growth", "0", "true"], b'--restart-growth takes a number from 1 to 100, not "0"'),
                 (["--restart-growth", "1.5", "true"], b'not "1.5"'),
                 (["--restart-jitter", "101", "true"], b'--restart-jitter takes a number from 0 to 100, not "101"'),
                 (["--restart-jitter", "5%", "true"], b'not "5%"'),
                 (["--pdeathsig", "NONSENSE", "true"], b"--pdeathsig takes the name or number of a signal"),
                 (["--pdeathsig", "0", "true"], b'not "0"'), (["--pdeathsig", "65", "true"], b'not "65"'),
                 (["--log", "", "true"], b'--log takes stderr, journal or the path of a file, not ""'),
                 (["--log", "/", "true"], b"--log: cannot open /: Is a directory"),
                 (["--report", "xml", "true"], b'--report takes text or json, not "xml"'),
                 (["--pidfile", "", "true"], b'--pidfile takes the path of a file, not ""'),
                 (["--quiet=yes", "true"], b"--quiet takes no value"), (["--pidfile"], b"--pidfile needs a value"),
                 (["--nonsense", "true"], b"there is no option --nonsense"),
                 (["-x", "true"], b"there is no option -x"),
                 ([], b"no program is named"), (["--"], b"no program is named"))
        for arguments, expected in cases:
            result = launch(*arguments)
            self.assertEqual((result.returncode, result.stdout), (125, b""), arguments)
            self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
            self.assertIn(expected, result.stderr)

    def test_programs_that_are_not_found_or_not_executable(self):
        for command, status, why in (("/nonsense", 127, b"No such file"), ("nonsense-nowhere", 127, b"No such file"),
                                     ("/etc/passwd", 126, b"Permission denied"), ("/", 126, b"Permission denied")):
            result = launch("--limit", "60M", command)
            self.assertEqual(result.returncode, status, command)
            self.assertIn(b"cannot execute " + command.encode(), result.stderr)
            self.assertIn(why, result.stderr)

    def test_help_and_version(self):
        for arguments, expected in ((["--help"], b"--limit=SIZE"), (["-h"], b"Usage: memwatch-run"),
                                    (["--version"], b"memwatch-run "), (["-V"], b"memwatch-run ")):
            result = launch(*arguments)
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertIn(expected, result.stdout)

    def test_options_end_where_the_program_begins(self):
        self.assertEqual(launch("--", "echo", "--limit", "x").stdout, b"--limit x\n")
        self.assertEqual(launch("echo", "--limit", "x").stdout, b"--limit x\n")


@unittest.skipUnless(os.getuid() == 0, "needs root to become a user who may make no group")
class WithoutGroup(Launcher):
    def setUp(self):
        # A copy that a stranger may run, laid out as in the build tree.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="memwatch-test-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.directory.chmod(0o755)
        for source in (LAUNCHER, LIBRARY):
            (self.directory / source.parent.name).mkdir()
            shutil.copy(source, self.directory / source.parent.name)

    def launch(self, *arguments, **keywords):
        return run([str(self.directory / "agent" / "memwatch-run"), *arguments], preload=False, user=65534, group=65534,
                   extra_groups=[], cwd="/", **keywords)

    def test_the_limit_inside_the_process_holds_alone_and_the_status_is_unchanged(self):
        result = self.launch("--limit", "60M", "sh", "-c", "echo $MEMWATCH_LIMIT $MEMWATCH_HARD_LIMIT; exit 5")
        self.assertEqual((result.returncode, result.stdout), (5, b"56623104 62914560\n"))
        self.assertRegex(result.stderr, rb"\Amemwatch-run: no memory cgroup can be used \(.*Permission denied\): the kernel "
                                        rb"enforces no limit; past 60 MiB the program's allocations fail, as far as it is "
                                        rb"watched\n")
        self.assertRegex(result.stderr, rb"sh \(pid \d+\) exited with status 5 after [^:]*: in the cgroup that it shares: limit "
                                        rb"[^,]+, [^,]+\n\Z")

    def test_a_mode_that_is_insisted_on_and_cannot_be_had_ends_it(self):
        result = self.launch("--limit", "60M", "--limit-mode", "cgroup", "echo", "done")
        self.assertEqual((result.returncode, result.stdout), (125, b""))
        self.assertRegex(result.stderr, rb"\Amemwatch-run: --limit-mode=cgroup cannot be had: .*: Permission denied\n\Z")
        result = self.launch("--limit", "60M", "--limit-mode", "systemd", "echo", "done")
        self.assertEqual((result.returncode, result.stdout), (125, b""))
        self.assertRegex(result.stderr, rb"\Amemwatch-run: --limit-mode=systemd cannot be had: [^\n]+\n\Z")

    def test_without_a_limit_nothing_is_said_of_groups(self):
        result = self.launch("true")
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)

    def test_a_kill_is_not_called_an_oom_kill(self):
        result = self.launch("--limit", "60M", "sh", "-c", "kill -9 $$")
        self.assertEqual(result.returncode, 137)
        self.assertIn(b"was killed by signal 9 (SIGKILL), not by the OOM killer,", result.stderr)

    @unittest.skipUnless(GROUPS and memory_group()[1] == 1, "moves itself into a group of v1")
    def test_an_oom_kill_in_the_group_it_shares_is_called_one_and_restarted(self):
        directory, _ = memory_group()
        shared = directory / f"memwatch-test-{os.getpid()}"
        shared.mkdir()
        self.addCleanup(shared.rmdir)
        (shared / "memory.limit_in_bytes").write_text("60M")
        leak = shutil.copy(program("leak"), self.directory)
        def enter():
            (shared / "cgroup.procs").write_text("0")
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        result = run([str(self.directory / "agent" / "memwatch-run"), "--start-limit", "1", str(leak), "1000"],
                     preload=False, options={"output": "none"}, preexec_fn=enter, cwd="/")
        self.assertEqual(result.returncode, 137)
        self.assertEqual(len(re.findall(rb"killed by the kernel's OOM killer at the limit of the cgroup that it shares after "
                                        rb"[^:]+: in the cgroup that it shares: limit 60 MiB \(62914560 bytes\), 1 OOM kill", result.stderr)), 2, result.stderr)

    def test_a_library_that_cannot_be_preloaded_is_told(self):
        (self.directory / "preload").rename(self.directory / "elsewhere")
        result = self.launch("echo", "done")
        self.assertEqual((result.returncode, result.stdout), (0, b"done\n"))
        self.assertIn(b"the program is not watched: libmemwatch.so is not found", result.stderr)
        spaced = self.directory / "a place"
        spaced.mkdir()
        (self.directory / "elsewhere").rename(spaced / "preload")
        (self.directory / "agent").rename(spaced / "agent")
        result = run([str(spaced / "agent" / "memwatch-run"), "echo", "done"], preload=False)
        self.assertEqual((result.returncode, result.stdout), (0, b"done\n"))
        self.assertIn(b"LD_PRELOAD takes no path with a space or a colon", result.stderr)


if __name__ == "__main__":
    main()
