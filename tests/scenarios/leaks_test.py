# SPDX-License-Identifier: MIT
"""memwatch leaks on servers under load, while they run and after they were killed.

LEAKS_SECONDS: how long they serve before they are judged. LEAKS_SAMPLE: their MEMWATCH_SAMPLE.
"""

import os
import re
import time

from harness import Segments, main, memwatch, program, start

SECONDS = int(os.environ.get("LEAKS_SECONDS", "15"))
SAMPLE = os.environ.get("LEAKS_SAMPLE", "16K")
A_SECOND = 2000
LEAK = "note_for_audit"
CACHE = "cache_page"
TITLES = {"Looks like a leak": "leak", "May be a leak": "maybe", "Has grown, and stopped": "stopped",
          "No growth to be seen": "steady"}


def of_time(share):
    """The MiB that a part of a server holds when it has kept an entry of each request for such a share of the time."""
    return max(round(A_SECOND * SECONDS * share * 4096 / (1 << 20)), 1)


# Each part is at its size before a third of the time is over, or renews itself several times.
CACHE_PART = f"cache={of_time(1 / 4)}"
SERVERS = {
    "neither": [],
    "a leak": ["leak=1"],
    "a cache": [CACHE_PART],
    "a leak and a cache": ["leak=1", CACHE_PART],
    "a leak in all that is healthy": ["leak=1", CACHE_PART, f"found={of_time(1 / 12)}", f"queue={of_time(1 / 10)}",
                                      f"exchange={of_time(1 / 20)}", f"batch={A_SECOND * SECONDS // 10}"]}


class Judgement:
    """What `memwatch leaks` says: the functions that it names, by what it says of them, in its order."""

    def __init__(self, target):
        self.text = memwatch("leaks", target)
        self.named = {kind: [] for kind in TITLES.values()}
        kind = None
        for line in self.text.splitlines():
            kind = next((TITLES[title] for title in TITLES if line.startswith(title)), kind)
            place = re.match(r"(?: *\d+\.|    +[\d.]+ [KMG]iB ) (\w+) requests\.c:\d+$", line)
            if place:
                self.named[kind].append(place[1])


class UnderLoad(Segments):
    def setUp(self):
        """All of them at once: it takes its time."""
        super().setUp()
        began = time.monotonic()
        self.servers = {}
        for name, parts in SERVERS.items():
            server = start([program("requests"), str(A_SECOND), *parts], options=self.options(sample=SAMPLE))
            self.addCleanup(server.__exit__, None, None, None)
            self.servers[name] = server
        for name, parts in SERVERS.items():
            if CACHE_PART in parts:
                self.assertEqual(self.servers[name].stdout.readline(), b"filled\n")
        filled_s = time.monotonic() - began
        time.sleep(max(SECONDS, 4 * filled_s) - filled_s)  # not a wait for something: that it stays full has to last

    def judge(self, name, target):
        judgement = Judgement(target)
        with self.subTest(name, said=judgement.text):
            self.assertEqual(judgement.named["leak"], [LEAK] if "leak=1" in SERVERS[name] else [])
            if CACHE_PART in SERVERS[name]:
                self.assertIn(CACHE, judgement.named["stopped"] + judgement.named["steady"])

    def test_the_leak_ranks_first_and_alone_and_neither_a_full_cache_nor_what_is_healthy_does(self):
        for name, server in self.servers.items():
            self.judge(name, server.pid)
        for name, server in self.servers.items():
            segment = self.segment(server.pid)
            server.kill()
            self.judge(name, segment)  # also while it is still dying
            server.wait()
            self.judge(name, segment)


if __name__ == "__main__":
    main()
