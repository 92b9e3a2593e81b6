# SPDX-License-Identifier: MIT
"""What each allocator gives back when it is asked, and that the counters stay right over it."""

import contextlib
import pathlib
import re
import shutil
import socket
import subprocess
import threading

from harness import (BUILD, DEADLINE_S, LIBRARY, Segments, json_lines, main, memwatch, program, run, start, statistics, wait_until)

PYTHON = shutil.which("python3", path="/usr/bin:/bin")
MIB = 1 << 20

# That nothing comes back but by the purge.
STILL = {"MEMWATCH_TRIM_PERCENT": "off", "PYTHONMALLOC": "malloc", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_CONF": "dirty_decay_ms:-1,muzzy_decay_ms:-1",
         "TCMALLOC_RELEASE_RATE": "0", "MIMALLOC_DECOMMIT_DELAY": str(3600000), "MIMALLOC_SEGMENT_DECOMMIT_DELAY": str(3600000)}

ALLOCATORS = {  # what is to be preloaded beneath, by name
    "glibc": (None,),
    "jemalloc": ("libjemalloc.so.2",),
    "tcmalloc": ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4"),
    "mimalloc": ("libmimalloc.so.2.0",),
}
CASES = [(name, library) for name, libraries in ALLOCATORS.items() for library in libraries]

# Builds 400,000 objects; at a line from us drops all but one in so many, or all; goes on allocating a little until its
# input ends.
WAVE = """
import select, sys
held = [b"%0150d" % i for i in range(400000)]
print("built", flush=True)
sys.stdin.readline()
held = held[::int(sys.argv[1])] if sys.argv[1] != "0" else None
print("dropped", flush=True)
while not select.select([sys.stdin], [], [], 0.001)[0]:
    [bytes(3000) for i in range(100)]
"""
WAVE_BYTES = 400000 * (150 + 33)


def preloaded(*libraries):
    """The environment for a process under these, in this order."""
    return STILL | {"LD_PRELOAD": ":".join(str(library) for library in libraries if library)}


def is_there(library):
    """Can it be preloaded? The loader complains of what it does not find."""
    return not run(["true"], preload=False, env={"LD_PRELOAD": library}).stderr


def stats(pid):
    """As memwatch shows them: counters as they are now, the kernel's figures of the monitor's last look."""
    return json_lines(memwatch("stats", "--json", pid))[0]


class Memory:
    """What a process has now, by the kernel and by its counters."""

    def __init__(self, pid):
        status = dict(re.findall(r"(\w+):\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text()))
        self.rss = int(status["VmRSS"]) << 10
        self.live = stats(pid)["Alloc"]
        self.retained = (int(status["RssAnon"]) << 10) - self.live


def said_bytes(said):
    """What `memwatch trim` says came back."""
    number, unit = re.fullmatch(r".*: ([\d.]+) ([KMG]?i?B) came back in [\d.]+ [mu]?s\n", said).groups()
    return float(number) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[unit]


class Purges(Segments):
    """What they share."""

    def options(self, **options):
        return super().options(limit="off", **{"interval": "20ms"} | options)

    def each(self, *names):
        """The cases of these allocators: what comes after each is a subtest of it."""
        return [(self.subTest(allocator=name, library=library), name, library) for name, library in CASES if name in names]

    def need(self, *libraries):
        for library in libraries:
            if library and not is_there(library):
                self.skipTest(f"{library} is not installed")

    def wave(self, *libraries, keep=2000):
        """A process that has dropped what it held, and goes on; and what it had before."""
        process = start([PYTHON, "-c", WAVE, str(keep)], options=self.options(), env=preloaded(*libraries), stdin=subprocess.PIPE)
        self.addCleanup(process.__exit__, None, None, None)
        self.assertEqual(process.stdout.readline(), b"built\n")
        full = Memory(process.pid)
        process.stdin.write(b"drop\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"dropped\n")
        return process, full

    def end(self, process):
        process.stdin.close()
        self.assertEqual((process.wait(60), process.stderr.read()), (0, b""))


class Purge(Purges):
    def test_what_a_program_has_dropped_comes_back(self):
        for case, name, library in self.each("glibc", "jemalloc", "tcmalloc"):
            with case:
                self.need(library)
                process, full = self.wave(LIBRARY, library)
                before = Memory(process.pid)
                self.assertGreater(before.retained, 0.9 * WAVE_BYTES, "it is still held")
                returned = said_bytes(memwatch("trim", process.pid))
                after = Memory(process.pid)
                self.assertGreater(returned, 0.75 * before.retained)
                self.assertLess(after.rss, before.rss - 0.75 * before.retained)
                self.check_accounts(name, process.pid, full, after, returned)
                self.end(process)

    def check_accounts(self, name, pid, full, after, returned):
        self.assertGreater(full.live, WAVE_BYTES)
        self.assertLess(after.live, full.live - 0.9 * WAVE_BYTES)
        shown = wait_until(lambda: (lambda line: line if line["NumTrim"] else None)(stats(pid)), "the monitor's next look")
        self.assertEqual((shown["NumTrim"], shown["NumForcedTrim"]), (1, 1))
        self.assertEqual(shown["PauseNs"], [shown["PauseTotalNs"]])
        self.assertGreater(shown["PauseTotalNs"], 0)
        self.assertGreater(shown["LastTrim"], 0)
        self.assertAlmostEqual(shown["TrimReleased"], returned, delta=MIB)
        self.check_own_figures(shown, name)

    def check_own_figures(self, shown, name):
        """What the allocator says of itself, against what is counted and what the kernel says."""
        own, = shown["Allocators"]
        self.assertEqual((own["Name"], own["LastTrim"]), (name, shown["LastTrim"]))
        self.assertEqual(own["Sys"], own["Inuse"] + own["Idle"])
        self.assertAlmostEqual(own["Inuse"], shown["Alloc"], delta=2 * MIB)
        self.assertGreater(shown["HeapSys"], own["Sys"] - 2 * MIB)
        self.assertLess(shown["HeapSys"], own["Sys"] + 10 * MIB) # tcmalloc's own records are 8 MiB, and not in its books
        if "Released" in own: # what is surely not resident; untouched records too
            self.assertGreater(own["Released"], 0.75 * own["Idle"])
            self.assertLess(shown["HeapReleased"], own["Released"] + 10 * MIB)

    def test_of_mimalloc_what_is_free_as_a_whole_segment_comes_back(self):
        for case, _, library in self.each("mimalloc"):
            with case:
                self.need(library)
                process, _ = self.wave(LIBRARY, library, keep=0)
                before = Memory(process.pid)
                self.assertGreater(before.retained, 0.9 * WAVE_BYTES, "it is still held")
                returned = said_bytes(memwatch("trim", process.pid))
                self.assertGreater(returned, 0.5 * before.retained)
                self.assertLess(Memory(process.pid).rss, before.rss - 0.5 * before.retained)
                self.end(process)

    def test_the_counters_stay_right_to_the_byte_over_many_purges(self):
        for case, name, library in self.each(*ALLOCATORS):
            with case:
                self.need(library)
                with start([program("truth"), "8", "100"], options=self.options(), env=preloaded(LIBRARY, library)) as process:
                    trims = []
                    wait_until(lambda: trims.append(memwatch("trim", process.pid, check=False)) or process.poll() is not None,
                               "it ends")
                    self.assertEqual((process.returncode, process.stdout.read(), process.stderr.read()),
                                     (0, b"truth: all equal\n", b""))
                    self.assertIn(0, [trim.returncode for trim in trims])

    def test_the_allocators_own_figures_follow_what_happens(self):
        for case, name, library in self.each(*ALLOCATORS):
            with case:
                self.need(library)
                result = run([str(BUILD / "tests" / "allocators_test")], preload=False,
                             env=preloaded(library) | {"MEMWATCH_TEST_ALLOCATOR": name})
                self.assertEqual(result.returncode, 0, result.stderr.decode())


class Server(Purges):
    def test_redis_gives_back_what_was_deleted(self):
        redis = shutil.which("redis-server")
        self.assertTrue(redis, "redis-server is not installed")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        with start([redis, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.directory)],
                   options=self.options(), env=STILL, stdout=subprocess.DEVNULL) as server:
            connection = wait_until(lambda: self.connected(port), "redis answers")
            with connection, connection.makefile("rwb") as stream:
                # not FLUSHALL: redis purges then by itself
                stream.write(b"EVAL \"for i = 1, 300000 do redis.call('SET', i, string.rep('v', 200)) end\" 0\r\n")
                stream.flush()
                self.assertEqual(stream.readline(), b"$-1\r\n")
                stream.write(b"EVAL \"for i = 1, 300000 do redis.call('DEL', i) end\" 0\r\nSET key value\r\n")
                stream.flush()
                self.assertEqual([stream.readline() for _ in range(2)], [b"$-1\r\n", b"+OK\r\n"])
                before = Memory(server.pid)
                self.assertGreater(before.retained, 50 * MIB, "it is still held")
                with self.kept_busy(port):
                    returned = said_bytes(memwatch("trim", server.pid))
                after = Memory(server.pid)
                self.assertGreater(returned, 0.75 * before.retained)
                self.assertLess(after.rss, before.rss - 0.75 * before.retained)
                stream.write(b"GET key\r\n")
                stream.flush()
                self.assertEqual([stream.readline() for _ in range(2)], [b"$5\r\n", b"value\r\n"])
                stream.write(b"SHUTDOWN NOSAVE\r\n")
            self.assertEqual((server.wait(60), server.stderr.read()), (0, b""))

    @contextlib.contextmanager
    def kept_busy(self, port):
        """It trims when it next comes by."""
        end = threading.Event()
        thread = threading.Thread(target=self.write_until, args=(end, port))
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join(DEADLINE_S)

    def write_until(self, end, port):
        with self.connected(port) as connection, connection.makefile("rwb") as stream:
            while not end.is_set():
                stream.write(b"SET busy %s\r\n" % (b"v" * 5000))
                stream.flush()
                stream.readline()

    def connected(self, port):
        try:
            return socket.create_connection(("127.0.0.1", port), 10)
        except OSError:
            return None


class Beside(Purges):
    """An allocator that we do not stand before."""

    ASK = """
import ctypes, time
held = [b"%0150d" % i for i in range(200000)]
held = held[::2000]
print(ctypes.CDLL(None).memwatch_v1_trim())
"""

    def own(self, name):
        try:
            return program(name)
        except FileNotFoundError:
            self.skipTest("no jemalloc to be linked in (libjemalloc-dev)")

    def hoard(self, name, **options):
        """A process with jemalloc linked in, that hoards memory; what is said of it goes to self.lines."""
        self.lines = self.directory / f"{name}-{options.get('monitor')}"
        process = start([self.own(name), "busy"], env=STILL,
                        options=self.options(output=self.lines, format="json", **options))
        self.addCleanup(process.__exit__, None, None, None)
        self.assertEqual(process.stdout.readline(), b"ready\n")
        return process

    def events(self, what):
        return [line for line in json_lines(self.lines) if line.get("Event") == what]

    def test_it_is_purged_where_it_exports_the_function(self):
        process = self.hoard("hoard-jemalloc", monitor="thread")
        before = Memory(process.pid)
        self.assertEqual(stats(process.pid)["Mallocs"], 0)
        returned = said_bytes(memwatch("trim", process.pid))
        self.assertGreater(returned, 30 * MIB)
        self.assertLess(Memory(process.pid).rss, before.rss - 30 * MIB)
        wait_until(lambda: len(statistics(self.lines)) > 20, "lines")
        note, = self.events("note")
        self.assertIn("malloc of its own", note["Text"])
        own, = stats(process.pid)["Allocators"]
        self.assertEqual(own["Name"], "jemalloc")
        self.assertGreater(own["Released"], 30 * MIB)
        self.assertEqual(own["Sys"], own["Inuse"] + own["Idle"])

    def test_past_the_limit_too(self):
        process = self.hoard("hoard-jemalloc", monitor="thread")
        memwatch("set", process.pid, f"limit={Memory(process.pid).rss - 10 * MIB}")
        wait_until(lambda: self.events("trim"), "a trim")
        self.assertGreater(self.events("trim")[0]["Returned"], 30 * MIB)

    def test_it_is_said_where_it_does_not(self):
        for monitor in ("auto", "thread"):
            process = self.hoard("hoard-jemalloc-hidden", monitor=monitor)
            said = memwatch("trim", process.pid, check=False)
            self.assertEqual((said.returncode, said.stdout), (1, b""))
            self.assertIn(b"has an allocator that cannot be asked to return memory", said.stderr)
            memwatch("set", process.pid, f"limit={Memory(process.pid).rss - 10 * MIB}")
            wait_until(lambda: len(self.events("note")) > 1, "it is said that it is only watched")
            wait_until(lambda: len(statistics(self.lines)) > 20, "lines")
            self.assertEqual(len(self.events("note")), 2, "each is said once")
            for note, words in zip(self.events("note"), ("malloc of its own", "it is only watched")):
                self.assertIn(words, note["Text"])
            self.assertEqual(self.events("trim"), [])
            last = statistics(self.lines)[-1]
            self.assertEqual((last["Mallocs"], last["NumTrim"], last["Allocators"]), (0, 0, []))
            self.assertGreater(last["RSS"], 30 * MIB)  # the kernel's figures go on
            self.assertGreater(last["MmapSys"], 30 * MIB)  # from outside, its mappings are the program's
            process.kill()
            process.wait(60)

    def test_one_preloaded_in_front_of_us_is_purged(self):
        for case, name, library in self.each("jemalloc", "tcmalloc"):
            with case:
                self.need(library)
                result = run([PYTHON, "-c", self.ASK], options=self.options(), env=preloaded(library, LIBRARY))
                self.assertEqual((result.returncode, result.stderr), (0, b""))
                self.assertGreater(int(result.stdout), 15 * MIB)

    def test_one_that_is_loaded_but_not_in_use_is_left_alone(self):
        if not (is_there("libtcmalloc_minimal.so.4") and is_there("libjemalloc.so.2")):
            self.skipTest("one of the two is not installed")
        process, _ = self.wave(LIBRARY, "libtcmalloc_minimal.so.4", "libjemalloc.so.2")
        before = Memory(process.pid)
        self.assertGreater(said_bytes(memwatch("trim", process.pid)), 0.75 * before.retained)
        self.end(process)


if __name__ == "__main__":
    main()
