# SPDX-License-Identifier: MIT
"""The heap profile on the real thing: programs that know who holds their memory, deaths, forks, and a live process.

PROFILE_RUNS: how often the sampled profiles are taken (100 shows their mean to 1 %).
PROFILE_KILLS: how often a process is killed in the midst of an allocation storm.
"""

import math
import os
import pathlib
import random
import re
import resource
import shutil
import subprocess
import time
import unittest

import pprof
from harness import (BUILD, LAUNCHER, LIBRARY, MEMWATCH, Segments, can_make_groups, json_lines, left_groups, main, memwatch,
                     program, run, signal, start, statistics, wait_until)
from segment import ENDED, TRUNCATED, Segment

RUNS = int(os.environ.get("PROFILE_RUNS", "6"))
KILLS = int(os.environ.get("PROFILE_KILLS", "60"))
PYTHON = shutil.which("python3", path="/usr/bin:/bin")
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


# ---- who holds what ----

MAPPING_SITES = ("site_mmap", "site_mremap")  # all of them are followed, however blocks are sampled


class Truth:
    """What the program says of one of its sites."""

    def __init__(self, line):
        self.name, *numbers = line.split()
        self.live_bytes, self.live_blocks, self.allocated_bytes, self.allocated_blocks = map(int, numbers)


def truth_of(output):
    lines = output.decode().splitlines()
    assert lines[-1] == "end"
    return [Truth(line) for line in lines[:-1]]


def folded(segment, *options):
    """(names from the outside in, value) of each stack."""
    stacks = []
    for line in memwatch("profile", segment, "--folded", *options).splitlines():
        names, value = line.rsplit(" ", 1)
        stacks.append((names.split(";"), int(value)))
    return stacks


def of_site(stacks, site):
    return sum(value for names, value in stacks if site in names)


def standard_errors(segment):
    """Of the live bytes of each function that is in a stack: as `memwatch profile --text` states them."""
    squares = {}
    for paragraph in memwatch("profile", segment, "--text").split("\n\n")[1:]:
        head, *frames = paragraph.splitlines()
        stated = re.match(r"live [\d.]+ \w+ \+- ([\d.]+) (\w+) in", head)
        if stated:
            for name in {frame.split()[0] for frame in frames}:
                squares[name] = squares.get(name, 0) + (float(stated[1]) * UNITS[stated[2]]) ** 2
    return {name: math.sqrt(square) for name, square in squares.items()}


def most_by_chance(trials, probability, risk=1e-6):
    """So many successes may be had: more are rarer than the risk."""
    term = (1 - probability) ** trials
    below, most = term, 0
    while 1 - below > risk and most < trials:
        term *= (trials - most) / (most + 1) * probability / (1 - probability)
        most += 1
        below += term
    return most


class Exact(Segments):
    """Every block is followed."""

    def setUp(self):
        super().setUp()
        result = run([program("sites"), "die"], options=self.options(sample=1))
        self.assertEqual((result.returncode, result.stderr), (-signal.SIGKILL, b""))
        self.truth = truth_of(result.stdout)

    def test_each_site_has_its_bytes_and_blocks_to_the_byte(self):
        self.assertGreaterEqual(len(self.truth), 20)
        for value, options in (("live_bytes", []), ("live_blocks", ["--objects"]), ("allocated_bytes", ["--alloc"]),
                               ("allocated_blocks", ["--alloc", "--objects"])):
            stacks = folded(self.the_segment(), *options)
            # how many mappings there are is known as a share of their bytes only
            sites = [site for site in self.truth if value != "live_blocks" or site.name not in MAPPING_SITES]
            self.assertEqual({site.name: of_site(stacks, site.name) for site in sites},
                             {site.name: getattr(site, value) for site in sites}, value)

    def test_so_it_is_above_other_allocators(self):
        for allocator in ("libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2.0"):
            self.the_segment().unlink()
            result = run([program("sites"), "die"], options=self.options(sample=1),
                         env={"LD_PRELOAD": f"{LIBRARY}:{allocator}"})
            self.assertEqual(result.stderr, b"", "a library that is missing is complained of")
            stacks, truth = folded(self.the_segment()), truth_of(result.stdout)
            self.assertEqual({site.name: of_site(stacks, site.name) for site in truth},
                             {site.name: site.live_bytes for site in truth}, allocator)

    def test_the_profile_has_all_that_is_live(self):
        stacks = folded(self.the_segment())
        mapped = sum(value for names, value in stacks if names[-1] == "[mmap]")
        live = json_lines(memwatch("stats", "--json", self.the_segment()))[0]["Alloc"]
        # libstdc++ takes 72704 bytes for emergencies, and the loader some, before anyone can look
        self.assertLessEqual(0, live - (sum(value for _, value in stacks) - mapped))
        self.assertLess(live - (sum(value for _, value in stacks) - mapped), 80000)

    def test_names_are_found_inlined_in_late_libraries_and_in_files_beside_stripped_ones(self):
        stacks = {names[-1]: names for names, _ in folded(self.the_segment())}
        self.assertEqual(stacks["site_inlined"][-3:], ["main", "site_around_inlined", "site_inlined"])
        for site in ("site_late_library", "site_stripped_library"):
            self.assertEqual(stacks[site][-3:], ["main", "sites_work", site])
        text = memwatch("report", "--top=30", self.the_segment())
        self.assertRegex(text, r"site_inlined sites\.c:\d+\n +site_around_inlined sites\.c:\d+\n")
        self.assertRegex(text, r"site_stripped_library sites_library\.c:\d+\n")

    def test_the_pprof_file_says_the_same(self):
        path = self.directory / "x.pb.gz"
        self.assertEqual(memwatch("profile", self.the_segment(), "-o", path), "")
        profile = pprof.Profile(path)
        self.assertEqual(list(zip(profile.types, profile.units)),
                         [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"),
                          ("inuse_space", "bytes")])
        for kind, options in (("inuse_space", []), ("inuse_objects", ["--objects"]), ("alloc_space", ["--alloc"]),
                              ("alloc_objects", ["--alloc", "--objects"])):
            self.assertEqual(profile.total(kind), sum(value for _, value in folded(self.the_segment(), *options)), kind)
        for site in self.truth:
            self.assertEqual((site.name, profile.of_function(site.name, "inuse_space")), (site.name, site.live_bytes))
            self.assertEqual((site.name, profile.of_function(site.name, "alloc_space")), (site.name, site.allocated_bytes))
        self.assertEqual(profile.mappings[0], program("sites"))

    def test_it_is_consistent(self):
        Segment(self.the_segment()).check(threads=1)


class Sampled(Segments):
    def take(self, count, mean, scale):
        """So many runs. Of each: {site: (estimated bytes, stated error, estimated blocks)}."""
        result = run([program("sites"), "exit", str(scale)], options=self.options(sample="off"))
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.truth = truth_of(result.stdout)
        runs = []
        for _ in range(count):
            result = run([program("sites"), "die", str(scale)], options=self.options(sample=mean))
            self.assertEqual((result.returncode, result.stderr), (-signal.SIGKILL, b""))
            segment = self.the_segment()
            stacks, blocks, errors = folded(segment), folded(segment, "--objects"), standard_errors(segment)
            runs.append({site.name: (of_site(stacks, site.name), errors.get(site.name, 0), of_site(blocks, site.name))
                         for site in self.truth})
            segment.unlink()
        return runs

    def judge(self, runs):
        sites = [site for site in self.truth if site.name not in MAPPING_SITES]
        beyond = {3: 0, 4: 0}
        ratios = []
        for site in sites:
            misses = [estimates[site.name][0] - site.live_bytes for estimates in runs]
            errors = [estimates[site.name][1] for estimates in runs]
            slack = site.live_bytes / 400  # where an aligned block lies decides on up to 32 bytes of it
            for bound in beyond:
                beyond[bound] += sum(abs(miss) > bound * error + slack for miss, error in zip(misses, errors))
            if max(errors) > 10 * slack:
                ratios.append(sum(miss ** 2 for miss in misses) / sum(error ** 2 for error in errors))
            if site.name != "site_malloc_of_many_sizes":  # of the others all blocks are of a size
                for estimated_bytes, _, estimated_blocks in (estimates[site.name] for estimates in runs):
                    self.assertAlmostEqual(estimated_bytes / site.live_bytes, estimated_blocks / site.live_blocks,
                                           delta=0.01 + 0.5 / site.live_blocks)
        trials = len(sites) * len(runs)
        # The number of samples is near to Poisson's, and the error is stated from it: a site with 16 samples on average has
        # 7 or less, or 35 or more, which is 3 stated errors off, in 1 % of runs, and is 4 off in 0.15 %.
        self.assertLessEqual(beyond[3], most_by_chance(trials, 0.01))
        self.assertLessEqual(beyond[4], most_by_chance(trials, 0.0015))
        # Are the stated errors as large as the misses? The sum of n squares has a relative error of sqrt(2 / n).
        ratio = sum(ratios) / len(ratios)
        self.assertAlmostEqual(ratio, 1, delta=5 * math.sqrt(2 / (len(ratios) * len(runs))))
        whole = sum(site.live_bytes for site in sites)
        mean = sum(sum(estimates[site.name][0] for site in sites) for estimates in runs) / len(runs)
        error = math.sqrt(sum(estimates[site.name][1] ** 2 for site in sites for estimates in runs)) / len(runs)
        self.assertLessEqual(abs(mean - whole), 4.5 * error + whole / 1000)
        if len(runs) >= 100:
            self.assertLess(abs(mean - whole), whole / 100)
        print(f"\n  {len(runs)} runs, {len(sites)} sites: mean of the total {100 * mean / whole - 100:+.2f} % off "
              f"(+- {100 * error / whole:.2f} %), {beyond[3]} and {beyond[4]} of {trials} beyond 3 and 4 standard errors, "
              f"misses^2 / errors^2 = {ratio:.2f}", flush=True)
        for site in self.truth:
            if site.name in MAPPING_SITES:
                self.assertEqual([estimates[site.name][:2] for estimates in runs], [(site.live_bytes, 0)] * len(runs))

    def test_each_site_is_as_near_the_truth_as_its_error_says(self):
        self.judge(self.take(RUNS, "64K", 1))

    def test_so_it_is_at_the_default_mean(self):
        self.judge(self.take(max(RUNS // 3, 1), "512K", 5))


# ---- deaths ----

@unittest.skipUnless(can_make_groups(), "no memory cgroup can be made here")
class Deaths(Segments):
    def tearDown(self):
        self.assertEqual(left_groups(), [], "a group is left behind")

    def die(self, *command, starts=1, environment=None):
        """Runs a command until the OOM killer has taken it so many times. Returns what the launcher said."""
        self.kept = self.directory / "kept"
        result = run([str(LAUNCHER), "--limit", "100M", "--start-limit", str(starts - 1), "--keep", str(self.kept), *command],
                     preload=False, options=self.options(limit="off"), env=environment or {})
        text = result.stderr.decode()
        self.assertEqual(result.returncode, 137, text)
        self.assertEqual(text.count("was killed by the kernel's OOM killer"), starts, text)
        self.assertEqual(self.segments(), [], "what the dead left is swept away")
        return text

    def deaths(self):
        return json_lines(self.kept / "deaths.jsonl")

    def test_a_leaking_extension_of_a_script_is_named_and_the_history_goes_on_over_restarts(self):
        library = BUILD / "tests" / "libleaky.so"
        script = f"import ctypes\nleaky = ctypes.CDLL('{library}')\nwhile True: leaky.leak_through_extension(10000)\n"
        text = self.die(PYTHON, "-c", script, starts=2)
        holders = re.findall(r"held at the end: .*\n *([\d.]+) %  .*\n +(\w+) leaky\.c:\d+", text)
        self.assertEqual([name for _, name in holders], ["leak_through_extension"] * 2, text)
        for percent, _ in holders:
            self.assertGreater(float(percent), 80)
        deaths = self.deaths()
        self.assertEqual(len(deaths), 2)
        self.assertEqual(len({death["Run"] for death in deaths}), 1)
        self.assertEqual(len({death["Profile"] for death in deaths}), 2)
        for death in deaths:
            self.assertIn("OOM killer", death["Verdict"])
            profile = pprof.Profile(death["Profile"])
            leaked = profile.of_function("leak_through_extension", "inuse_space")
            self.assertGreater(leaked, 0.8 * profile.total("inuse_space"))
            self.assertAlmostEqual(leaked / (100 << 20), 0.9, delta=0.4)
        self.die(PYTHON, "-c", script)
        self.assertEqual(self.deaths()[:2], deaths, "another run adds to the history")
        self.assertEqual(len(self.deaths()), 3)

    @unittest.skipUnless(shutil.which("sqlite3"), "sqlite3 is not installed")
    def test_a_database_in_memory_that_is_filled_up_is_named(self):
        fill = ("create table t(x blob); "
                "with recursive c(n) as (select 1 union all select n + 1 from c) insert into t select zeroblob(60000) from c;")
        text = self.die("sqlite3", ":memory:", fill)
        holder = re.search(r"held at the end: .*\n *([\d.]+) %  .*\n +(.*)\n", text)
        self.assertGreater(float(holder[1]), 80)
        self.assertIn("sqlite3Malloc (libsqlite3.so", holder[2])
        profile = pprof.Profile(self.deaths()[0]["Profile"])
        self.assertGreater(profile.of_function("sqlite3_step", "inuse_space"), 0.8 * profile.total("inuse_space"))

    @unittest.skipUnless(shutil.which("redis-server") and shutil.which("redis-cli"), "redis is not installed")
    def test_a_server_that_is_filled_up_is_named(self):
        socket = self.directory / "socket"
        server = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--enable-debug-command", "yes"]
        with start([str(LAUNCHER), "--limit", "60M", "--restart", "no", *server], preload=False, stdout=subprocess.DEVNULL,
                   options=self.options(limit="off")) as launcher:
            wait_until(socket.exists, "the server listens")
            run(["redis-cli", "-s", str(socket), "debug", "populate", "3000000", "key", "200"], preload=False)
            _, errors = launcher.communicate(timeout=60)
        text = errors.decode()
        self.assertIn("OOM killer", text)
        self.assertRegex(text, r"held at the end: [\d.]+ MiB")
        self.assertRegex(text, r"sdsnewlen|createStringObject|createObject|dictAdd|dictExpand|zmalloc")


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


# ---- strange stacks ----

class Strange(Segments):
    BLOCKS = 400

    def take(self, way, **options):
        """Runs one of the ways; returns its heap's stacks, by the names from the outside in: blocks."""
        for old in self.segments():
            old.unlink()
        result = run([program("strange"), way], options=self.options(**options))
        self.assertEqual((result.returncode, result.stdout, result.stderr), (-signal.SIGKILL, b"done\n", b""), way)
        segment = Segment(self.the_segment())
        # where there are neither tables nor frame pointers, a word that looks like one is followed
        segment.check(threads=0, code_everywhere=way != "bare")
        stacks = [] if options["sample"] == "off" else folded(self.the_segment(), "--objects")
        return segment, [(names, blocks) for names, blocks in stacks if names[-1] != "[mmap]"]

    def test_no_stack_does_harm_and_who_allocates_is_known_of_each(self):
        allocating = {"coroutine": "allocate_in_coroutine", "handler": "allocate_in_handler", "bare": "allocate_bare",
                      "small": "allocate_at_the_end", "deep": "allocate_deep"}
        for way, function in allocating.items():
            for options in ({"sample": 1}, {"sample": 1, "unwind": "fp"}, {"sample": 64}, {"sample": "off"}):
                with self.subTest(way=way, options=options):
                    _, stacks = self.take(way, **options)
                    blocks = sum(value for names, value in stacks if names[-1] == function)
                    self.assertEqual(blocks, 0 if options["sample"] == "off" else self.BLOCKS)

    def test_a_stack_of_its_own_is_followed_to_its_end_and_no_further(self):
        _, stacks = self.take("coroutine", sample=1)
        for names, _ in stacks:
            self.assertEqual(names[-2:], ["run_coroutine", "allocate_in_coroutine"])
            self.assertLessEqual(len(names), 3)

    def test_a_handler_on_its_own_stack_is_followed_into_what_it_interrupted(self):
        _, stacks = self.take("handler", sample=1)
        (names, _), = stacks
        interrupted = names.index("interrupt")
        self.assertEqual(names[interrupted - 2:interrupted], ["main", "handler"])
        self.assertEqual(names[-2:], ["handle", "allocate_in_handler"])

    def test_of_more_frames_than_are_kept_the_inner_ones_are_and_it_says_so(self):
        segment, stacks = self.take("deep", sample=1)
        for names, _ in stacks:
            self.assertEqual(len(names), 64)
        for stack in segment.heap_stacks():
            self.assertTrue(stack.flags & TRUNCATED)

    def test_a_walk_that_is_remembered_comes_to_the_same_stacks(self):
        # in the exact mode a thread's walks are compared to its last one
        for way in ("coroutine", "bare", "deep"):
            shapes = []
            for sample in (1, 64):
                segment, _ = self.take(way, sample=sample)
                shapes.append(sorted((stack.depth, stack.flags, stack.allocated_samples) for stack in segment.heap_stacks()))
            self.assertEqual(shapes[0], shapes[1], way)


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
            self.assertGreater(segment.dropped_stacks, 0, size)
            self.assertGreaterEqual(segment.dropped_bytes, missing)
            self.assertGreater(missing, 0, size)
            self.assertRegex(memwatch("report", path), r"missing for want of room: .* \d+ stacks")

    def test_a_place_that_fills_up_under_the_program_does_it_no_harm(self):
        place = self.small_place("2M")
        with start([program("storm"), "8"], options=self.options(dir=place, sample="2K", interval="10ms")) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            with open(place / "filler", "wb", buffering=0) as filler:
                try:
                    while True:
                        filler.write(bytes(4096))
                except OSError:
                    pass
            path, = place.glob("*/*.mw")
            wait_until(lambda: Segment(path).dropped_stacks + Segment(path).dropped_samples if self.stopped(process) else None,
                       "something found no room")
            process.send_signal(signal.SIGCONT)
            time.sleep(0.3)  # it lives on, and that takes time
            self.assertIsNone(process.poll())
            process.kill()
            process.wait(30)
        Segment(path).check(threads=17)

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
        process = start([program("hoard"), how], options=self.options(**options))
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
            self.assertEqual(after["NextTrim"], 20 << 20)

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
