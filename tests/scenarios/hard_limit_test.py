# SPDX-License-Identifier: MIT
"""MEMWATCH_HARD_LIMIT: a program that wants more than that hears it as it would from a system without memory, and does
what it does then. What it does is its own; what it must not is die by a signal."""

import json
import re
import shutil
import struct

from harness import LIBRARY, Scenario, Segments, main, memwatch, program, run
from segment import Segment

HARD_LIMIT = 10  # its place in common/segment.h
LIMIT = {"hard_limit": "40M", "output": "none"}
NOTE = re.compile(rb"an allocation of [\d.]+ \w+ has failed: it would have taken this process past its hard limit of 40 MiB "
                  rb"\(RSS [\d.]+ MiB\)")
PYTHON = shutil.which("python3", path="/usr/bin:/bin")


def tool(test, name):
    path = shutil.which(name)
    if not path:
        test.skipTest(f"{name} is not installed")
    return path


class Programs(Scenario):
    def limited(self, command, **options):
        result = run(command, options=LIMIT | options)
        self.assertGreaterEqual(result.returncode, 0, (command, result.stdout, result.stderr))
        return result

    def test_python_catches_memoryerror_and_goes_on(self):
        for block in ("bytearray(1 << 20)", "bytes(1000)", "[None] * 10", "object()"):
            script = ("import resource\n"
                      "def fill():\n"
                      "    blocks = []\n"
                      f"    while True: blocks.append({block})\n"
                      "for i in range(3):\n"
                      "    try: fill()\n"
                      "    except MemoryError: pass\n"
                      "block = bytearray(10 << 20)\n"
                      "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)\n")
            with self.subTest(block=block):
                result = self.limited([PYTHON, "-c", script])
                self.assertEqual((result.returncode, result.stderr), (0, b""))
                self.assertLess(int(result.stdout), 45)  # the kernel counts in batches

    def test_a_program_in_c_plus_plus_catches_bad_alloc_and_goes_on(self):
        for allocator in (None, "libjemalloc.so.2", "libtcmalloc.so.4", "libtcmalloc_minimal.so.4", "libmimalloc.so.2.0"):
            for sample in ("512K", "1", "off"):
                with self.subTest(allocator=allocator, sample=sample):
                    preload = {"LD_PRELOAD": f"{LIBRARY}:{allocator}"} if allocator else {}
                    if run(["true"], env=preload, options={"output": "none"}).stderr:
                        self.skipTest(f"{allocator} is not installed")
                    # mimalloc 2.0 returns whole segments of 32 MiB alone: one block that lives in the last, and nothing
                    # comes back, however it is asked.
                    times = ["once"] if allocator and "mimalloc" in allocator else []
                    result = run([program("greedy"), *times], options=LIMIT | {"sample": sample}, env=preload)
                    self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"greedy: went on\n", b""))

    def test_sqlite_says_that_it_is_out_of_memory(self):
        script = ("create table t(x); with recursive c(n) as (select 1 union all select n + 1 from c limit 200000) "
                  "insert into t select randomblob(1000) from c;")
        result = self.limited([tool(self, "sqlite3"), ":memory:", script])
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(b"out of memory", result.stderr)

    def test_perl_and_sh_end_by_themselves(self):
        result = self.limited([tool(self, "perl"), "-e", "my @a; push @a, 'x' x 1000 while 1"])
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(b"Out of memory", result.stderr)
        result = self.limited(["sh", "-c", "a=xxxxxxxxxxxxxxxx; while :; do a=$a$a; done"])
        self.assertNotEqual(result.returncode, 0)

    def test_threads_and_a_forked_child_are_held_to_it_too(self):
        script = ("import os, threading\n"
                  "caught = []\n"
                  "def fill():\n"
                  "    try:\n"
                  "        blocks = []\n"
                  "        while True: blocks.append(bytearray(100000))\n"
                  "    except MemoryError: caught.append(1)\n"
                  "threads = [threading.Thread(target=fill) for i in range(4)]\n"
                  "for t in threads: t.start()\n"
                  "for t in threads: t.join()\n"
                  "assert len(caught) == 4\n"
                  "if os.fork() == 0:\n"
                  "    fill()\n"
                  "    os._exit(7 if len(caught) == 5 else 1)\n"
                  "print(os.waitstatus_to_exitcode(os.wait()[1]))\n")
        result = self.limited([PYTHON, "-c", script])
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"7\n", b""))

    def test_without_it_nothing_fails(self):
        result = run([PYTHON, "-c", "b = bytearray(100 << 20)"], options={"output": "none"})
        self.assertEqual((result.returncode, result.stderr), (0, b""))


class Told(Segments):
    def test_the_first_is_a_line_and_all_are_events_with_their_stack(self):
        script = ("for i in range(3):\n"
                  "    try: bytearray(100 << 20)\n"
                  "    except MemoryError: pass\n")
        result = run([PYTHON, "-c", script], options={"dir": self.directory, "keep": "yes", "hard_limit": "40M"})
        self.assertEqual((result.returncode, result.stdout), (0, b""))
        self.assertEqual(len(NOTE.findall(result.stderr)), 1, result.stderr)
        segment = Segment(self.the_segment())
        events = [struct.unpack_from("=QII6Q", event) for event in struct.iter_unpack("64s", segment._section("events"))
                  for event in event]
        failed = [event for event in events if event[1] == HARD_LIMIT]
        self.assertTrue(failed)
        asked, rss, limit, stack, count = failed[0][3:8]
        self.assertGreaterEqual(asked, 100 << 20)
        self.assertLess(rss, limit)
        self.assertEqual((limit, count), (40 << 20, 1))
        self.assertIn(stack, segment.stacks)
        report = memwatch("report", self.the_segment())
        self.assertRegex(report, r"\nWhat happened last \(how long before the end\)\n")
        self.assertRegex(report, r"an allocation of 100 MiB failed at the hard limit of 40 MiB \(RSS [\d.]+ MiB; 1 so far\)\n"
                                 r" +\w+")
        self.assertRegex(memwatch("report", "--post-mortem", self.the_segment()),
                         r" before the end: an allocation of 100 MiB failed at the hard limit of 40 MiB")
        told, = [event for event in json.loads(memwatch("report", "--json", self.the_segment()))["Events"]
                 if event["Event"] == "hard limit"]
        self.assertEqual((told["Asked"], told["RSS"], told["Limit"], told["Failures"]), (asked, rss, limit, count))
        self.assertTrue(told["Frames"])


if __name__ == "__main__":
    main()
