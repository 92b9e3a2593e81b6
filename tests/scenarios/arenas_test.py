# SPDX-License-Identifier: MIT
"""Under a memory limit and a quota of CPU time, glibc makes arenas for the CPUs that can be used, not for all there are."""

import os
import pathlib
import re

from harness import Segments, main, memwatch, program, run, start, wait_until

CPUS = len(os.sched_getaffinity(0))
GROUPS = pathlib.Path("/sys/fs/cgroup/cpu")
THREADS = 12 * CPUS
FEW = 8
LIMIT = {"limit": "1G", "output": "/dev/null"}


class Arenas(Segments):
    """Of v1's cpu controller. That of v2 is tried in the virtual machine (./dev test-vm)."""

    def setUp(self):
        super().setUp()
        if CPUS < 2:
            self.skipTest("NOT RUN HERE: no quota is less than the one CPU that there is")
        self.group = GROUPS / f"memwatch-arenas-test-{os.getpid()}"
        try:
            self.group.mkdir()
        except OSError as error:
            self.skipTest(f"NOT RUN HERE: no cgroup of v1's cpu controller can be made: {error}")
        self.addCleanup(lambda: wait_until(self.remove, "the group is empty", 10))
        self.quota(50000)
        self.many = int(run([program("arenas"), str(THREADS)], preload=False).stdout.split()[1])
        self.assertGreater(self.many, FEW)

    def remove(self):
        try:
            self.group.rmdir()
        except OSError:
            return False
        return True

    def quota(self, quota_us):
        (self.group / "cpu.cfs_quota_us").write_text(str(quota_us))

    def enter(self):
        (self.group / "cgroup.procs").write_text("0")

    def arenas(self, *arguments, inside=True, env=None, **options):
        result = run([program("arenas"), str(THREADS), *arguments], options=LIMIT | options, env=env or {},
                     preexec_fn=self.enter if inside else None)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return int(re.fullmatch(rb"arenas (\d+)\n", result.stdout)[1])

    def test_they_follow_the_quota(self):
        for _ in range(10):  # not by luck
            self.assertEqual(self.arenas(), FEW)
        self.assertEqual(self.arenas(monitor="thread"), FEW)

    def test_as_many_as_glibc_likes_without_a_limit_or_a_quota(self):
        self.assertEqual(self.arenas(limit="off"), self.many)
        self.assertEqual(self.arenas(monitor="off"), self.many)
        self.assertEqual(self.arenas(inside=False), self.many)
        self.quota(100000 * CPUS)
        self.assertEqual(self.arenas(), self.many)
        self.quota(-1)
        self.assertEqual(self.arenas(), self.many)

    def test_what_the_user_or_the_program_has_chosen_stands(self):
        self.assertEqual(self.arenas(env={"MALLOC_ARENA_MAX": "11"}), 11)
        self.assertEqual(self.arenas(env={"GLIBC_TUNABLES": "glibc.malloc.arena_max=3"}), 3)
        self.assertEqual(self.arenas("12"), 12)

    def test_it_is_told(self):
        with start([program("arenas"), str(THREADS), "0", "stay"], options=LIMIT | {"dir": self.directory},
                   preexec_fn=self.enter) as process:
            self.assertEqual(process.stdout.readline(), b"arenas %d\n" % FEW)
            self.assertRegex(memwatch("stats", self.the_segment()), rf"\narenas +at most {FEW}, by the CPU quota\n")


if __name__ == "__main__":
    main()
