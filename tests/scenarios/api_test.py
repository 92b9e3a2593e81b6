# SPDX-License-Identifier: MIT
"""What a program can do by include/memwatch.h, in C and in C++: the calls, and what it is called back for."""

import re

from harness import Scenario, main, program, run

PROGRAMS = ("api", "api-no-pie", "api-cxx")


class Calls(Scenario):
    def say(self, how, **options):
        for name in PROGRAMS:
            result = run([program(name), how], **options)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, f"api: {how}\n".encode(), b""), name)

    def test_every_call_is_a_harmless_no_op_without_the_library(self):
        self.say("absent", preload=False)

    def test_every_call_works_with_it(self):
        self.say("present", options={"output": "none", "limit": "off"})

    def test_where_nobody_watches_pressure_is_not_supported(self):
        self.say("unwatched", options={"output": "none", "monitor": "off"})


class Pressure(Scenario):
    """A program with a cache, past its limit of 50 MiB."""

    def cache(self, mib, level, *more, **options):
        result = run([program("cache"), str(mib), str(level), *more],
                     options={"limit": "50M", "trim_percent": "off", "interval": "1h"} | options)
        self.assertEqual(result.returncode, 0, result.stderr)
        told = re.fullmatch(rb"calls (\d+), level (\d+), most (\d+) MiB\n", result.stdout)
        return [int(number) for number in told.groups()], result.stderr

    def test_who_does_not_listen_goes_past_the_limit(self):
        (calls, _, most), _ = self.cache(150, 0)
        self.assertEqual(calls, 0)
        self.assertGreater(most, 140)

    def test_the_callback_drops_the_cache_and_the_memory_goes_back(self):
        for monitor in ("auto", "thread"):
            with self.subTest(monitor=monitor):
                (calls, level, most), lines = self.cache(400, 2, monitor=monitor)
                self.assertGreaterEqual(calls, 2)
                self.assertEqual(level, 2)
                self.assertLess(most, 200)
                returned = re.findall(rb"after the program's pressure callbacks, trim: ([\d.]+) MiB came back", lines)
                self.assertGreater(max(map(float, returned)), 20, lines)

    def test_so_it_does_in_a_forked_child(self):
        (calls, _, most), _ = self.cache(400, 2, "fork")
        self.assertGreaterEqual(calls, 2)
        self.assertLess(most, 200)

    def test_far_from_the_limit_nobody_is_called(self):
        (calls, _, _), _ = self.cache(50, 1, limit="1G")
        self.assertEqual(calls, 0)


if __name__ == "__main__":
    main()
