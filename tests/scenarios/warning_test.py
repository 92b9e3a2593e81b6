# SPDX-License-Identifier: MIT
"""The warning before the kill: memwatch-run says in time that a program is near its limit."""

import json
import pathlib
import re
import select
import subprocess
import tempfile
import time
import unittest

from harness import LAUNCHER, Scenario, can_make_groups, main, memory_group, run, start

GROUPS = can_make_groups()
NO_GROUPS = "no memory cgroup can be made here; ./dev test-vm runs this kind of test in a VM"
MIB = 1 << 20
LIMIT = 60 * MIB
SECOND_LOOK_S = 1  # after the start the launcher looks again by then at the latest
NEAR = re.compile(rb"memwatch-run: \S+ \(pid (\d+)\) is near its limit: ([\d.]+) MiB of 60 MiB in use \(([\d.]+) %\)[^\n]*\n")
# Holds as many MiB as each line of its input says, and says so.
HOLDER = ("import signal, sys\n"
          "signal.signal(signal.SIGUSR1, lambda n, f: print('got it', flush=True))\n"
          "held = []\n"
          "print('ready', flush=True)\n"
          "for line in sys.stdin:\n"
          "    while len(held) < int(line): held.append(bytearray(1 << 20))\n"
          "    del held[int(line):]\n"
          "    print(len(held), flush=True)\n")


class Warnings(Scenario):
    def holder(self, *options, **keywords):
        """Without the library, so that all that the program frees goes back to the kernel at once."""
        return start([LAUNCHER, "--limit", "60M", "--restart", "no", *options, "env", "-u", "LD_PRELOAD", "python3", "-c", HOLDER],
                     preload=False, stdin=subprocess.PIPE, bufsize=0, options={"output": "none"}, **keywords)

    def hold(self, process, mib):
        process.stdin.write(b"%d\n" % mib)
        self.assertEqual(process.stdout.readline(), b"%d\n" % mib)

    def own_mib(self, process):
        """What the program, and so its group, holds before it is asked to hold anything: whole MiB, rounded up."""
        pid = int(pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"^RssAnon:\s+(\d+) kB", status, re.M)[1]) // 1024 + 1

    def errors_until(self, process, pattern):
        """What the launcher says up to that line."""
        said = b""
        while not re.search(pattern, said):
            line = process.stderr.readline()
            self.assertTrue(line, said)
            said += line
        return said

    def errors_within(self, process, seconds):
        """What the launcher says in that time, which is what is waited for: that nothing comes."""
        said, end = b"", time.monotonic() + seconds
        while select.select([process.stderr], [], [], max(0, end - time.monotonic()))[0]:
            said += process.stderr.readline()
        return said

    @unittest.skipUnless(GROUPS, NO_GROUPS)
    def test_a_leak_is_told_of_before_it_is_killed(self):
        script = "import time\nheld = []\nwhile True: held.append(bytearray(1 << 20)); time.sleep(0.02)"
        result = run([LAUNCHER, "--limit", "60M", "--restart", "no", "python3", "-c", script], preload=False, options={"output": "none"})
        self.assertEqual(result.returncode, 137)
        warnings = NEAR.findall(result.stderr)
        self.assertEqual(len(warnings), 1, result.stderr)
        self.assertGreaterEqual(float(warnings[0][2]), 95)
        self.assertRegex(result.stderr, rb"growing by [\d.]+ MiB a second: full in [\d.]+ [mu]?s\n")
        self.assertLess(result.stderr.index(b"is near its limit"), result.stderr.index(b"was killed by the kernel's OOM killer"))

    @unittest.skipUnless(GROUPS, NO_GROUPS)
    def test_who_lives_on_is_told_once_and_gets_the_signal_that_was_asked_for(self):
        with self.holder("--warn", "50%", "--warn-signal", "USR1") as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            own = self.own_mib(process)
            self.hold(process, 20 - own)
            process.stdin.write(b"%d\n" % (40 - own))
            self.assertEqual(sorted(process.stdout.readline() for _ in range(2)), [b"%d\n" % (40 - own), b"got it\n"])
            self.hold(process, 45 - own)
            self.hold(process, 5)
            _, errors = process.communicate(timeout=30)
        self.assertEqual(len(NEAR.findall(errors)), 1, errors)
        self.assertGreaterEqual(float(NEAR.search(errors)[3]), 50)

    @unittest.skipUnless(GROUPS, NO_GROUPS)
    def test_file_cache_is_no_reason_and_what_grows_under_it_is_seen(self):
        with tempfile.TemporaryDirectory(prefix="memwatch-test-", dir="/var/tmp") as directory, self.holder() as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            own = self.own_mib(process)
            group, = memory_group()[0].glob(f"memwatch-{process.pid}-*")
            file = pathlib.Path(directory, "file")
            # Each page once: what is used again counts as in use.
            shell = f"echo 0 >{group}/cgroup.procs; exec dd if=/dev/zero of={file} bs=1M count=100"
            subprocess.run(["sh", "-c", shell], check=True, capture_output=True, timeout=60)
            usage = group / ("memory.usage_in_bytes" if memory_group()[1] == 1 else "memory.current")
            if int(usage.read_text()) < LIMIT * 95 // 100:
                self.skipTest("this file system's cache is not charged to the group")
            self.assertNotRegex(self.errors_within(process, 2 * SECOND_LOOK_S), NEAR)
            self.hold(process, 58 - own)
            said = self.errors_until(process, NEAR)
            process.communicate(timeout=30)
        self.assertGreaterEqual(float(NEAR.search(said)[3]), 95)

    @unittest.skipUnless(GROUPS, NO_GROUPS)
    def test_off_is_off_and_json_is_an_event(self):
        for options, count in ((["--warn", "off"], 0), (["--warn", "30M"], 1)):
            with self.holder("--report", "json", "--quiet", *options) as process:
                self.assertEqual(process.stdout.readline(), b"ready\n")
                self.hold(process, 40)
                said = self.errors_until(process, rb'"Event":"Warning"[^\n]*\n') if count else b""
                rest = process.communicate(timeout=30)[1]
            lines = [json.loads(line) for line in (said + rest).splitlines()]
            warnings = [line for line in lines if line.get("Event") == "Warning"]
            self.assertEqual([(w["Reason"], w["Limit"]) for w in warnings], [("limit", LIMIT)] * count)
            self.assertEqual([w["WorkingSet"] >= 30 * MIB for w in warnings], [True] * count)

    def test_without_a_group_the_process_is_looked_at(self):
        with self.holder("--limit-mode", "in-process") as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            process.stdin.write(b"57\n")
            self.errors_until(process, NEAR)
            process.communicate(timeout=30)


if __name__ == "__main__":
    main()
