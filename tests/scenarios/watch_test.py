# SPDX-License-Identifier: MIT
"""LD_PRELOAD=libmemwatch.so on real programs: the lines, their places, and what happens when those fail."""

import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile
import time

from harness import (LIBRARY, Scenario, json_lines, main, program, run, signal, start, statistics,
                     wait_until)

TEXT_LINE = re.compile(rb"memwatch\[\d+\]: Alloc = [\d.]+ MiB +TotalAlloc = [\d.]+ MiB +Sys = [\d.]+ MiB +NumTrim = \d+ +"
                       rb"RSS = [\d.]+ MiB +Cgroup = [\d.]+ MiB(, no limit| of [\d.]+ MiB)\n")
PYTHON = shutil.which("python3", path="/usr/bin:/bin")
FAST = {"interval": "50ms"}


class Directory(Scenario):
    """With a directory of its own."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="memwatch-test-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.file = self.directory / "lines"

    def watch(self, command, **options):
        """Runs a command that writes JSON lines to self.file; returns the statistics."""
        result = run(command, options={"interval": "50ms", "output": self.file, "format": "json"} | options)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""))
        return statistics(self.file)

    def watch_until(self, command, wanted, what):
        """The same of a command that does not end, as soon as there are lines that `wanted` takes: it is given them
        all, and what it returns is returned."""
        with start(command, options={"interval": "50ms", "output": self.file, "format": "json"},
                   start_new_session=True) as process:
            try:
                return wait_until(lambda: wanted(statistics(self.file)), what)
            finally:
                os.killpg(process.pid, signal.SIGKILL)


class Truth(Scenario):
    def test_counters_agree_with_the_program_to_the_byte(self):
        for threads, rounds in ((1, 5), (8, 10), (64, 3)):
            result = run([program("truth"), str(threads), str(rounds)], options={"output": "none"})
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"truth: all equal\n", b""))

    def test_they_do_so_however_blocks_are_sampled_mapped_and_measured(self):
        cases = [({"sample": "1"}, {}), ({"sample": "off"}, {}), ({}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4096"}),
                 ({}, {"MALLOC_MMAP_THRESHOLD_": "5000"}), ({}, {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"})]
        for allocator in ("libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2.0"):
            cases.append(({}, {"LD_PRELOAD": f"{LIBRARY}:{allocator}"}))
        for options, environment in cases:
            with self.subTest(options=options, environment=environment):
                result = run([program("truth"), "8", "5"], options={"output": "none"} | options, env=environment)
                # a library that is missing is complained of on standard error
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"truth: all equal\n", b""))

    def test_they_do_so_for_new_and_delete_whose_ever_they_are(self):
        cases = [(name, allocator, options)
                 for name in ("news", "news-module", "news-static")
                 for allocator in (None, "libjemalloc.so.2", "libtcmalloc.so.4", "libtcmalloc_minimal.so.4", "libmimalloc.so.2.0")
                 for options in ({}, {"sample": "1"}, {"sample": "100"})]
        for name, allocator, options in cases:
            with self.subTest(name=name, allocator=allocator, options=options):
                preload = {"LD_PRELOAD": f"{LIBRARY}:{allocator}"} if allocator else {}
                if run(["true"], options={"output": "none"}, env=preload).stderr:
                    self.skipTest(f"{allocator} is not installed")
                result = run([program(name), "8", "5"], options={"output": "none"} | options, env=preload)
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"news: all equal\n", b""))

    def test_alloc_agrees_with_mallinfo2_within_what_tcache_holds(self):
        # Seven blocks of each of 64 sizes, in each of 5 threads; and with the caches off, nothing.
        capacity = 5 * 7 * sum(16 * n for n in range(2, 66))
        for tunables, most in (({}, capacity), ({"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}, 0)):
            result = run([program("mallinfo"), str(most)], options={"output": "none"}, env=tunables)
            self.assertEqual((result.returncode, result.stderr), (0, b""), result.stdout)

    def test_the_programs_own_mappings_are_counted_apart_and_exactly(self):
        result = run([program("mappings")], options={"output": "none"})
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"mappings: all right\n", b""))

    def test_glibcs_semantics_are_kept(self):
        for preload in (False, True):
            result = run([program("semantics")], preload=preload, options={"output": "none"})
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"semantics: all kept\n", b""))


class Lines(Directory):
    def test_one_line_an_interval_also_while_the_program_sleeps(self):
        lines = self.watch(["sleep", "1.05"], interval="100ms")
        self.assertGreaterEqual(len(lines), 5)
        self.assertLessEqual(len(lines), 10)

    def test_the_default_is_a_text_line_a_second_on_stderr(self):
        result = run(["sleep", "2.5"])
        self.assertEqual((result.returncode, result.stdout), (0, b""))
        self.assertRegex(result.stderr, rb"\A(" + TEXT_LINE.pattern + rb"){1,2}\Z")

    def test_lines_go_where_they_are_told(self):
        for output, place in (("stdout", "stdout"), ("stderr", "stderr"), ("fd:1", "stdout"), ("none", None)):
            result = run(["sleep", "0.5"], options=FAST | {"output": output})
            for name in ("stdout", "stderr"):
                if name == place:
                    self.assertRegex(getattr(result, name), rb"\A(" + TEXT_LINE.pattern + rb")+\Z")
                else:
                    self.assertEqual(getattr(result, name), b"", (output, name))

    def test_json_lines_have_gos_names_and_add_up(self):
        def wanted(lines):
            return lines if any(line["Alloc"] > 30 << 20 < line["RSS"] for line in lines) else None
        lines = self.watch_until([PYTHON, "-c", "import time; b = b'x' * (30 << 20); time.sleep(99)"], wanted, "30 MiB")
        last = lines[-1]
        self.assertEqual(last["Comm"], "python3")
        self.assertRegex(last["Time"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        self.assertGreater(last["Alloc"], 30 << 20)
        self.assertGreater(last["RSS"], 30 << 20)
        self.assertEqual(last["Sys"], last["HeapSys"] + last["StackSys"] + last["OtherSys"])
        self.assertEqual(last["HeapObjects"], last["Mallocs"] - last["Frees"])
        self.assertEqual(sum(c["Mallocs"] for c in last["BySize"]), last["Mallocs"])
        self.assertEqual(last["Threads"], 1)
        for line in lines:
            self.assertGreaterEqual(line["TotalAlloc"], line["Alloc"])

    def test_a_forked_child_is_watched_with_counters_of_its_own(self):
        script = ("import os, time\n"
                  "a = bytearray(10 << 20)\n"
                  "pid = os.fork()\n"
                  "if pid == 0: b = bytearray(20 << 20)\n"
                  "time.sleep(99)\n")

        def wanted(lines):
            """The last lines of both, when the child has allocated what it will."""
            by_pid = {line["Pid"]: line for line in lines}
            last = sorted(by_pid.values(), key=lambda line: line["Alloc"])
            return last if len(last) == 2 and last[0]["Alloc"] > 10 << 20 and last[1]["Alloc"] > 30 << 20 else None
        parent, child = self.watch_until([PYTHON, "-c", script], wanted, "both processes' lines")
        self.assertAlmostEqual(child["Alloc"] - parent["Alloc"], 20 << 20, delta=1 << 20)

    def test_options_go_on_over_exec(self):
        lines = self.watch(["sh", "-c", "exec sleep 0.4"])
        self.assertEqual({line["Comm"] for line in lines}, {"sleep"})

    def test_a_program_with_its_own_malloc_is_told_so_and_watched_from_outside(self):
        lines = self.watch([program("ownmalloc")])
        notes = [line for line in json_lines(self.file) if line.get("Event") == "note"]
        self.assertEqual(len(notes), 1)
        self.assertIn("malloc of its own", notes[0]["Text"])
        self.assertEqual(lines[-1]["Mallocs"], 0)
        self.assertGreater(lines[-1]["RSS"], 1 << 20)


class Limit(Directory):
    def test_past_the_limit_memory_comes_back(self):
        result = run([program("wave"), "40", "50"], options={"interval": "50ms", "limit": "100M", "trim_percent": "off"})
        self.assertEqual(result.returncode, 0)
        returned = [float(mib) for mib in re.findall(rb"past the limit of 100 MiB, trim: ([\d.]+) MiB came back in "
                                                     rb"[\d.]+ [mu]s, RSS [\d.]+ MiB -> [\d.]+ MiB\n", result.stderr)]
        self.assertTrue(returned, result.stderr)
        self.assertGreater(max(returned), 50)

    def test_trims_are_told_in_json_and_counted(self):
        lines = self.watch([program("wave"), "40", "50"], limit="100M", trim_percent="off")
        events = [line for line in json_lines(self.file) if line.get("Event") == "trim"]
        self.assertEqual({event["Reason"] for event in events}, {"limit"})
        self.assertEqual({event["Limit"] for event in events}, {100 << 20})
        self.assertGreater(min(event["Thread"] for event in events), 0)
        self.assertGreaterEqual(lines[-1]["NumTrim"], 1)
        self.assertGreaterEqual(lines[-1]["NextTrim"], 100 << 20)  # or later: not before there is something to return
        self.assertEqual(len(lines[-1]["PauseNs"]), lines[-1]["NumTrim"])
        self.assertEqual(sum(lines[-1]["PauseNs"]), lines[-1]["PauseTotalNs"])
        self.assertGreaterEqual(lines[-1]["TrimReleased"], max(event["Returned"] for event in events[:-1] or events))

    def test_off_means_off(self):
        lines = self.watch([program("wave"), "20", "20"], limit="off", trim_percent="off")
        self.assertEqual((lines[-1]["NumTrim"], lines[-1]["NextTrim"]), (0, 0))


class BadInput(Directory):
    def test_what_is_wrong_is_named_with_what_is_accepted_and_the_program_runs_on(self):
        cases = (("INTERVAL", "soon", b"a duration from 10ms to 24h"), ("INTERVAL", "1ms", b"a duration from 10ms"),
                 ("FORMAT", "xml", b"text or json"), ("OUTPUT", "stdrr", b"stderr, stdout, none, fd:N, or a path"),
                 ("LIMIT", "-5", b"a size such as"), ("LIMIT", "120%", b"a share such as 90%"),
                 ("TRIM_PERCENT", "-1", b"a number of per cent from 0 to 100000, or off"),
                 ("TRIM_PERCENT", "100001", b"a number of per cent"), ("TRIM_PERCENT", "much", b"a number of per cent"),
                 ("LIMIT", "9" * 200, b"a size such as"), ("OUTPUT", "fd:-1", b"fd:N"))
        for name, value, accepted in cases:
            result = run(["echo", "done"], options={name: value})
            self.assertEqual((result.returncode, result.stdout), (0, b"done\n"))
            self.assertEqual(result.stderr.count(b"\n"), 1, result.stderr)
            self.assertIn(f"MEMWATCH_{name}=".encode(), result.stderr)
            self.assertIn(accepted, result.stderr)

    def test_an_unknown_option_is_named(self):
        result = run(["echo", "done"], options={"INTERVALL": "1s"})
        self.assertEqual((result.returncode, result.stdout), (0, b"done\n"))
        self.assertIn(b'there is no option "MEMWATCH_INTERVALL"; the options are MEMWATCH_INTERVAL', result.stderr)

    def test_an_output_that_cannot_be_opened_is_told_once(self):
        result = run(["sleep", "0.3"], options=FAST | {"output": self.directory / "no" / "where"})
        self.assertEqual((result.returncode, result.stdout), (0, b""))
        self.assertEqual(result.stderr.count(b"\n"), 1)
        self.assertIn(b"No such file or directory", result.stderr)


class BadSurroundings(Directory):
    """The program is not to be harmed whatever becomes of the place the lines go to, or of /proc."""

    def test_a_full_disk_is_a_counted_drop(self):
        lines = run([program("drops")], options=FAST | {"output": "/dev/full"})
        self.assertEqual(lines.returncode, 0)
        self.assertGreater(int(lines.stdout), 0)

    def test_a_closed_pipe_is_a_counted_drop_and_no_sigpipe(self):
        reading, writing = os.pipe()
        os.close(reading)
        result = run([program("drops")], options=FAST | {"output": f"fd:{writing}"}, pass_fds=(writing,))
        os.close(writing)
        self.assertEqual(result.returncode, 0)
        self.assertGreater(int(result.stdout), 0)

    def test_a_pipe_that_nobody_reads_is_a_counted_drop_and_no_standstill(self):
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            while True:
                os.write(writing, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(writing, True)
        result = run([program("drops")], options=FAST | {"output": f"fd:{writing}"}, pass_fds=(writing,))
        os.close(reading)
        os.close(writing)
        self.assertEqual(result.returncode, 0)
        self.assertGreater(int(result.stdout), 0)

    def test_a_descriptor_that_becomes_something_else_is_not_written_to(self):
        precious = self.directory / "precious"
        script = ("import os, time\n"
                  f"os.dup2(os.open('{precious}', os.O_WRONLY | os.O_CREAT), 2)\n"
                  "os.write(2, b'data')\n"
                  "time.sleep(0.5)\n")
        result = run([PYTHON, "-c", script], options=FAST | {"output": "stderr"})
        self.assertEqual(result.returncode, 0)
        self.assertEqual(precious.read_bytes(), b"data")

    def test_standard_error_is_not_held_open_behind_the_program(self):
        # The launcher of a daemon waits for the end of the pipe; our copy of it would let it wait for ever.
        script = "import os, time\nos.close(1); os.close(2)\ntime.sleep(20)\n"
        with start([PYTHON, "-c", script], options=FAST) as process:
            begin = time.monotonic()
            process.stderr.read()
            process.stdout.read()
            self.assertLess(time.monotonic() - begin, 15)
            self.assertIsNone(process.poll())

    def test_a_program_that_closes_every_descriptor_runs_on_and_is_watched(self):
        script = "import os, time\ntime.sleep(0.3)\nos.closerange(3, 1024)\ntime.sleep(0.6)\n"
        lines = self.watch([PYTHON, "-c", script])
        self.assertGreaterEqual(len(lines), 12)
        self.assertGreater(lines[-1]["RSS"], 0)

    def test_a_program_that_puts_its_files_at_our_descriptors_keeps_them(self):
        precious = self.directory / "precious"
        script = ("import os, time\n"
                  "time.sleep(0.3)\n"
                  f"fd = os.open('{precious}', os.O_RDWR | os.O_CREAT)\n"
                  "for n in range(190, 230): os.dup2(fd, n)\n"
                  "os.write(220, b'data')\n"
                  "time.sleep(0.4)\n"
                  "for n in range(190, 230): assert os.fstat(n).st_ino == os.fstat(fd).st_ino, n\n")
        self.watch([PYTHON, "-c", script])
        self.assertEqual(precious.read_bytes(), b"data")

    def test_no_descriptor_below_200_is_taken_and_none_goes_over_exec(self):
        script = "import os, time; time.sleep(0.3); print(*sorted(int(n) for n in os.listdir('/proc/self/fd')))"
        outer = run([PYTHON, "-c", script], options=FAST | {"output": self.file})
        numbers = [int(n) for n in outer.stdout.split()]
        self.assertEqual([n for n in numbers if 3 < n < 200], [])
        self.assertTrue([n for n in numbers if n >= 200], "nothing is held, so this test tests nothing")
        exec_script = "import os, time; time.sleep(0.3); os.execve('/bin/ls', ['ls', '/proc/self/fd'], {{}})"
        inner = run([PYTHON, "-c", exec_script], options=FAST | {"output": self.file})
        self.assertEqual([n for n in map(int, inner.stdout.split()) if n > 3], [])

    def test_without_proc_the_counters_go_on(self):
        hide = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
        if run(hide + ["true"], preload=False).returncode:
            self.skipTest("this user may not hide /proc")
        last = self.watch_until(hide + [PYTHON, "-c", "import time; a = bytearray(10 << 20); time.sleep(99)"],
                                lambda lines: [line for line in lines if line["Alloc"] > 10 << 20], "10 MiB")[-1]
        self.assertEqual(last["RSS"], 0)

    def test_where_no_thread_can_be_had_the_program_runs_without_lines(self):
        # A user that has no other process: not even exec is allowed to one that has more than its limit.
        alone = 1_000_000_000 + os.getpid()

        def no_threads():
            resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
            os.setgid(alone)
            os.setuid(alone)
        if os.getuid() != 0:
            self.skipTest("needs root to become a user without processes to spare")
        directory = pathlib.Path(tempfile.mkdtemp(prefix="memwatch-test-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, directory)
        directory.chmod(0o755)
        library = shutil.copy(LIBRARY, directory)
        result = subprocess.run(["/bin/echo", "done"], env={"LD_PRELOAD": library}, capture_output=True, timeout=30,
                                preexec_fn=no_threads, check=False)
        self.assertEqual((result.returncode, result.stdout), (0, b"done\n"))
        self.assertEqual(result.stderr, b"memwatch: no lines will be printed: Resource temporarily unavailable; "
                                        b"the program runs on without\n")

    def test_little_address_space_and_few_descriptors(self):
        for name, value in ((resource.RLIMIT_AS, 24 << 20), (resource.RLIMIT_NOFILE, 4)):
            def little(name=name, value=value):
                resource.setrlimit(name, (value, value))
            with_us = run(["sh", "-c", "echo done; sleep 0.2"], options=FAST | {"output": "none"}, preexec_fn=little)
            self.assertEqual((with_us.returncode, with_us.stdout), (0, b"done\n"), with_us.stderr)


class Monitor(Directory):
    def test_the_programs_signals_reach_the_program(self):
        script = ("import signal, sys, time\n"
                  "signal.signal(signal.SIGUSR1, lambda *a: sys.exit(7))\n"
                  "print('ready', flush=True)\n"
                  "time.sleep(30)\n")
        with start([PYTHON, "-c", script], options=FAST | {"output": "none"}) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            process.send_signal(signal.SIGUSR1)
            self.assertEqual(process.wait(30), 7)

    def test_a_stopped_program_goes_on_with_one_line_an_interval(self):
        with start(["sleep", "20"], options={"interval": "100ms", "output": self.file, "format": "json"}) as process:
            wait_until(lambda: statistics(self.file), "a first line")
            process.send_signal(signal.SIGSTOP)
            time.sleep(1)  # not a wait for something: the stop has to last
            before = len(statistics(self.file))
            process.send_signal(signal.SIGCONT)
            wait_until(lambda: len(statistics(self.file)) > before, "a line after the stop")
            self.assertLessEqual(len(statistics(self.file)), before + 3, "missed lines must not be made up for")


if __name__ == "__main__":
    main()
