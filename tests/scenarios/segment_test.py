# SPDX-License-Identifier: MIT
"""The segment on the real thing: kills at any moment, forks, bad places, and a process that runs.

PROFILE_KILLS: how often a process is killed in the midst of an allocation storm.
"""

import contextlib
import os
import pathlib
import random
import re
import resource
import shutil
import subprocess
import time

from harness import (BUILD, MEMWATCH, Segments, json_lines, main, memwatch, program, run, signal, start, statistics,
                     wait_until)
from segment import ENDED, Segment
from sites import Truth, folded, of_site, truth_of

KILLS = int(os.environ.get("PROFILE_KILLS", "60"))
PYTHON = shutil.which("python3", path="/usr/bin:/bin")


# ---- kills ----

class Kills(Segments):
    THREADS = 8

    def kill(self, seed, threads, sample, delay_s):
        with start([program("storm"), str(threads)], options=self.options(sample=sample, interval="10ms")) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n", seed)
            time.sleep(delay_s)  # a random moment is what is wanted
            process.kill()
            process.wait(30)
            self.assertEqual(process.stderr.read(), b"")
        return self.the_segment()

    def test_the_segment_is_whole_and_consistent_at_whatever_moment_the_process_is_killed(self):
        quiet = Segment(self.kill(0, 0, 1, 0))
        before = quiet.heap_blocks() - quiet.profile_blocks()
        self.the_segment().unlink()
        for seed in range(KILLS):
            chance = random.Random(seed)
            sample = chance.choice(["1", "2K", "20K", "512K"])
            path = self.kill(seed, self.THREADS, sample, chance.random() ** 3 * 0.2)
            with self.subTest(seed=seed, sample=sample):
                report = memwatch("report", path)
                self.assertIn("live heap", report)
                # a thread that ends and its heir live at the same time
                Segment(path).check(threads=2 * self.THREADS + 1, blocks_before=before)
            path.unlink()

    def test_while_it_starts_the_file_is_no_segment_yet_or_a_whole_one(self):
        for seed in range(KILLS // 3):
            with start([program("storm"), "1"], options=self.options()) as process:
                wait_until(self.segments, "the file")
                process.kill()
                process.wait(30)
            path = self.the_segment()
            result = memwatch("report", path, check=False)
            if result.returncode:
                self.assertRegex(result.stderr.decode(), r"\Amemwatch: .* (is not a memwatch segment|is cut off: .*)\n\Z")
            else:
                Segment(path).check(threads=2)
            path.unlink()


# ---- processes that come and go ----

class Processes(Segments):
    def test_a_child_has_its_parents_profile_and_goes_its_own_way(self):
        with start([program("forks")], options=self.options(sample=1)) as process:
            truth = {}
            for _ in range(6):
                pid, line = process.stdout.readline().decode().split(" ", 1)
                truth.setdefault(int(pid), []).append(Truth(line))
            self.assertEqual(len(truth), 2)
            (child,) = set(truth) - {process.pid}
            for pid, sites in truth.items():
                for value, options in (("live_bytes", []), ("live_blocks", ["--objects"]), ("allocated_bytes", ["--alloc"])):
                    stacks = folded(pid, *options)
                    self.assertEqual({site.name: of_site(stacks, site.name) for site in sites},
                                     {site.name: getattr(site, value) for site in sites}, value)
            parents, childs = Segment(self.segment(process.pid)), Segment(self.segment(child))
            self.assertEqual((parents.parent_pid, childs.parent_pid), (0, process.pid))
            for pid, segment in ((process.pid, parents), (child, childs)):
                self.assertEqual((segment.pid, segment.comm), (pid, "forks"))
                segment.check(threads=0)

    def test_what_ends_by_itself_leaves_no_file(self):
        scripts = ("exit 3", "true; /bin/true; (exit 4); exec /bin/true", "true | cat & wait",
                   f"exec {PYTHON} -c 'import os; os.fork() or os._exit(0); os.wait()'",
                   f"{PYTHON} -c 'import subprocess; subprocess.run([\"true\"]); subprocess.run([\"true\"], preexec_fn=int)'",
                   f"{PYTHON} -c 'import os; os.posix_spawn(\"/bin/true\", [\"true\"], os.environ); os.wait()'",
                   f"exec {program('sites')} exit >/dev/null")
        for script in scripts:
            run(["sh", "-c", script], options=self.options())
            self.assertEqual(self.segments(), [], script)
        self.assertTrue(self.place.exists(), "nothing was ever there, so this test tests nothing")

    def test_what_it_executes_has_the_file_from_then_on(self):
        with start(["sh", "-c", "exec sleep 1000"], options=self.options()) as process:
            wait_until(lambda: [s for s in self.segments() if Segment(s).comm == "sleep"], "the new image's segment")
            self.assertEqual(self.segments(), [self.segment(process.pid)])

    def test_what_is_killed_leaves_it_and_so_does_what_is_to_keep_it(self):
        run(["sh", "-c", "kill -TERM $$"], options=self.options())
        self.the_segment().unlink()
        for command in (["true"], ["sh", "-c", "exit 5"], [PYTHON, "-c", "import os; os._exit(6)"]):
            result = run(command, options=self.options(keep="yes"))
            segment = Segment(self.the_segment())
            self.assertEqual((segment.state, segment.exited_status), (ENDED, result.returncode))
            self.assertIn("live heap", memwatch("report", self.the_segment()))
            self.the_segment().unlink()

    def test_of_many_dead_ones_the_newest_are_kept(self):
        for _ in range(75):
            run(["sh", "-c", "kill -9 $$"], options=self.options())
        self.assertLessEqual(len(self.segments()), 65)
        self.assertGreaterEqual(len(self.segments()), 32)


# ---- bad places ----

class Places(Segments):
    def unharmed(self, command=None, preexec=None, **options):
        """The program does what it does without us. Returns what was said on standard error."""
        command = command or [program("sites"), "exit"]
        plain = run(command, preload=False)
        result = run(command, options=self.options(**options), preexec_fn=preexec)
        self.assertEqual(result.returncode, plain.returncode, result.stderr)
        self.assertEqual([line.split()[0] for line in result.stdout.splitlines()],
                         [line.split()[0] for line in plain.stdout.splitlines()])
        return result.stderr.decode()

    def small_place(self, size):
        """A file system of that size; returns its directory."""
        place = self.directory / size
        place.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place], capture_output=True, check=False)
        if mounted.returncode:
            self.skipTest("no file system can be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=True)
        return place

    def test_where_there_is_no_room_the_program_is_not_harmed_and_what_is_missing_is_counted(self):
        for size in ("4K", "64K", "128K", "256K", "1M"):
            place = self.small_place(size)
            for sample in (1, "64K"):
                with self.subTest(size=size, sample=sample):
                    self.assertEqual(self.unharmed(dir=place, sample=sample), "")
                    self.assertEqual(list(place.glob("*/*")), [], "it has ended")

    def test_what_found_no_room_is_counted(self):
        for size in ("64K", "96K", "128K"):
            place = self.small_place(size)
            result = run([program("sites"), "die"], options=self.options(dir=place, sample=1))
            self.assertEqual((result.returncode, result.stderr), (-signal.SIGKILL, b""))
            path, = place.glob("*/*.mw")
            segment = Segment(path)
            segment.check(threads=0)
            stacks = folded(path)
            missing = sum(site.live_bytes - of_site(stacks, site.name) for site in truth_of(result.stdout))
            nameless = sum(value for names, value in stacks if any(name.startswith("0x") for name in names))
            self.assertGreater(segment.dropped_stacks, 0, size)
            self.assertGreaterEqual(segment.dropped_bytes + (nameless if segment.dropped_modules else 0), missing)
            self.assertGreater(missing, 0, size)
            said = memwatch("report", path)
            self.assertRegex(said, r"missing for want of room: .* \d+ stacks")
            for what, count in (("module", segment.dropped_modules), ("thread", segment.dropped_slots)):
                self.assertEqual(bool(re.search(rf"for want of room: .*\b{count} {what}", said)), count > 0, said)

    def test_a_place_that_fills_up_under_the_program_does_it_no_harm(self):
        place = self.small_place("2M")

        def fill(left_bytes):
            with open(place / "filler", "ab", buffering=0) as filler, contextlib.suppress(OSError):
                while os.statvfs(place).f_bavail * 4096 > left_bytes:
                    filler.write(bytes(4096))
        fill(128 << 10)  # it wants twice as much, and most of that before it says that it is ready
        with start([program("storm"), "8"], options=self.options(dir=place, sample="2K", interval="10ms")) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            fill(0)
            path, = place.glob("*/*.mw")
            # Whose thread found no room for its slot has no samples either.
            wait_until(lambda: any(self.dropped(Segment(path))) if self.stopped(process) else None, "something found no room")
            process.send_signal(signal.SIGCONT)
            time.sleep(0.3)  # it lives on, and that takes time
            self.assertIsNone(process.poll())
            process.kill()
            process.wait(30)
        Segment(path).check(threads=17)

    @staticmethod
    def dropped(segment):
        return segment.dropped_stacks, segment.dropped_samples, segment.dropped_slots

    def stopped(self, process):
        """Lets it run for a moment and stops it, so that what it writes can be read at leisure."""
        process.send_signal(signal.SIGCONT)
        time.sleep(0.02)  # the moment
        process.send_signal(signal.SIGSTOP)
        stat = pathlib.Path(f"/proc/{process.pid}/stat")
        return wait_until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "it stops")

    def test_a_child_that_finds_no_room_goes_on_without_a_file(self):
        place = self.small_place("256K")
        script = "import os\nfor n in range(20):\n    if os.fork() == 0: x = [bytes(3000) for i in range(1000)]; os._exit(0)\n"
        self.assertEqual(self.unharmed([PYTHON, "-c", script + "for n in range(20): assert os.wait()[1] == 0\n"], dir=place,
                                       sample=1), "")

    def test_a_limit_on_the_size_of_files_is_no_signal(self):
        for limit in (0, 4096, 1 << 20):
            self.assertEqual(self.unharmed(preexec=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))),
                             "", limit)
            self.assertEqual(self.segments(), [])

    def test_a_directory_that_is_not_there_or_not_to_be_written_to(self):
        for place in (self.directory / "nowhere", "/proc", "/dev/null"):
            self.assertEqual(self.unharmed(dir=place), "")
        said = run(["sleep", "0.3"], options=self.options(dir="/proc", interval="50ms", output="stderr")).stderr
        self.assertEqual(said.count(b"no file for the segment could be had"), 1)

    def test_a_directory_of_anothers_or_open_to_others_is_not_used(self):
        if os.getuid() != 0:
            self.skipTest("needs root to give a directory away")
        for owner, mode in ((65534, 0o700), (0, 0o777), (0, 0o770)):
            self.place.mkdir()
            self.place.chmod(mode)
            os.chown(self.place, owner, 0)
            self.assertEqual(self.unharmed(keep="yes"), "")
            self.assertEqual(self.segments(), [])
            self.place.rmdir()

    def test_a_link_in_the_directorys_place_is_not_followed(self):
        victim = self.directory / "victim"
        victim.mkdir(mode=0o700)
        self.place.symlink_to(victim)
        self.assertEqual(self.unharmed(keep="yes"), "")
        self.assertEqual(list(victim.iterdir()), [])

    def test_a_link_in_the_files_place_is_not_followed(self):
        victim = self.directory / "victim"
        victim.write_bytes(b"precious")
        self.place.mkdir(mode=0o700)
        # plants it under the name that its own process will use, and becomes the program
        script = ("import os\n"
                  "ticks = open('/proc/self/stat').read().rsplit(')', 1)[1].split()[19]\n"
                  "space = os.readlink('/proc/self/ns/pid')[5:-1]\n"
                  f"name = f'{self.place}/{{os.getpid()}}-{{ticks}}-{{space}}.mw'\n"
                  f"os.symlink('{victim}', name)\n"
                  "os.environ['LD_PRELOAD'] = os.environ.pop('LATER')\n"
                  "os.execv('/bin/echo', ['echo', name])\n")
        options = self.options(keep="yes")
        result = run([PYTHON, "-c", script], preload=False, options=options, env={"LATER": str(BUILD / "preload/libmemwatch.so")})
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(victim.read_bytes(), b"precious")
        self.assertEqual(result.stdout.decode().strip(), str(self.the_segment()))
        self.assertFalse(self.the_segment().is_symlink())


# ---- a process that runs ----

class Live(Segments):
    def setUp(self):
        super().setUp()
        self.lines = self.directory / "lines"

    def hoard(self, how, **options):
        """A process that hoards memory."""
        options = {"limit": "off", "format": "json", "output": self.lines, "interval": "24h"} | options
        process = start([program("hoard"), how], options=self.options(**{"trim_percent": "off"} | options))
        self.addCleanup(process.__exit__, None, None, None)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return process

    def stats(self, pid):
        return json_lines(memwatch("stats", "--json", pid))[0]

    def test_it_trims_when_it_is_told_to(self):
        with self.hoard("busy") as process:
            said = memwatch("trim", process.pid)
            returned = re.fullmatch(r".*: ([\d.]+) MiB came back in [\d.]+ [mu]?s\n", said)
            self.assertTrue(returned, said)
            self.assertGreater(float(returned[1]), 20)
            self.assertIn('"Event":"trim"', self.lines.read_text())

    def test_it_says_that_it_sleeps_and_trims_when_it_wakes_not(self):
        with self.hoard("asleep") as process:
            said = memwatch("trim", process.pid, check=False)
            self.assertEqual((said.returncode, said.stdout), (1, b""))
            self.assertIn(b"sleeps: it trims when one of its threads next calls the allocator", said.stderr)
            self.assertEqual(memwatch("set", process.pid, "interval=50ms").count("done"), 1)
            wait_until(lambda: statistics(self.lines), "its monitor lives on")

    def test_the_interval_can_be_changed(self):
        with self.hoard("busy") as process:
            self.assertEqual(statistics(self.lines), [])
            memwatch("set", process.pid, "interval=20ms")
            wait_until(lambda: len(statistics(self.lines)) >= 10, "lines at the new interval")
            memwatch("set", process.pid, "interval=24h")
            count = len(statistics(self.lines))
            time.sleep(0.3)  # in which there would be fifteen
            self.assertLessEqual(len(statistics(self.lines)), count + 1)

    def test_a_limit_can_be_set_and_is_kept(self):
        with self.hoard("busy", interval="50ms") as process:
            before = wait_until(lambda: (s := self.stats(process.pid))["RSS"] > 40 << 20 and s, "a look at all that it hoards")
            self.assertEqual((before["NumTrim"], before["NextTrim"]), (0, 0))
            memwatch("set", process.pid, "limit=20M")
            wait_until(lambda: self.stats(process.pid)["NumTrim"], "a trim past the limit")
            after = wait_until(lambda: (s := self.stats(process.pid))["RSS"] < before["RSS"] - (20 << 20) and s, "less memory")
            self.assertGreaterEqual(after["NextTrim"], 20 << 20)

    def test_a_percentage_can_be_set_and_is_kept(self):
        with self.hoard("busy", interval="50ms", limit="off") as process:
            wait_until(lambda: self.stats(process.pid)["RSS"] > 40 << 20, "a look at all that it hoards")
            self.assertEqual(self.stats(process.pid)["NumTrim"], 0)
            memwatch("set", process.pid, "trim_percent=1")
            wait_until(lambda: self.stats(process.pid)["NumTrim"], "a trim by percentage")

    def check_sampling(self, before):
        with self.hoard("busy", sample=before) as process:
            def blocks():
                return of_site(folded(process.pid, "--alloc", "--objects"), "allocate_while_busy")
            memwatch("set", process.pid, "sample=4K")
            wait_until(lambda: blocks() > 1000, "samples", deadline=10)
            memwatch("set", process.pid, "sample=off")
            wait_until(lambda: blocks() == (time.sleep(0.1), blocks())[1], "no more of them", deadline=10)

    def test_the_sampling_can_be_changed(self):
        self.check_sampling("512K")

    def test_the_sampling_can_be_switched_on(self):
        self.check_sampling("off")

    def test_a_block_that_was_chosen_by_another_mean_does_not_stand_for_this_one(self):
        for before in ("off", "4K"):
            with self.subTest(before=before), self.hoard("busy", sample=before, interval="50ms") as process:
                memwatch("set", process.pid, "sample=10T")
                then = self.stats(process.pid)["TotalAlloc"]
                wait_until(lambda then=then, pid=process.pid: self.stats(pid)["TotalAlloc"] > then + (50 << 20), "50 MiB more")
                # a real sample among them would be one chance in 200000
                claimed = sum(value for _, value in folded(process.pid, "--alloc"))
                self.assertLess(claimed, 2 * self.stats(process.pid)["TotalAlloc"] + (1 << 20))

    def test_all_at_once_and_what_is_wrong_is_told(self):
        with self.hoard("busy") as process:
            memwatch("set", process.pid, "interval=1s", "limit=1G", "sample=1M")
            wait_until(lambda: self.stats(process.pid)["NextTrim"] == 1 << 30, "the limit")
            for word in ("interval=1ns", "sample=1", "limit=much", "colour=red"):
                self.assertEqual(memwatch("set", process.pid, word, check=False).returncode, 2)

    def test_it_is_listed_alive_and_dead_until_it_is_swept_away(self):
        def listed(*options):
            result = run([str(MEMWATCH), "ps", "--json", *options], preload=False, options={"dir": self.directory})
            return {row["Pid"]: row for row in json_lines(result.stdout)}
        with self.hoard("asleep") as process:
            row = listed()[process.pid]
            self.assertEqual((row["Comm"], row["Program"]), ("hoard", program("hoard")))
            self.assertTrue(os.path.samefile(row["Segment"], self.segment(process.pid)))
            self.assertNotEqual(row["State"], "dead")
            process.kill()
            process.wait(30)
        self.assertNotIn(process.pid, listed())
        self.assertEqual(listed("--all")[process.pid]["State"], "dead")
        listed("--sweep")
        self.assertEqual(self.segments(), [])


if __name__ == "__main__":
    main()
