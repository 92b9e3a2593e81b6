# SPDX-License-Identifier: MIT
"""memwatch serve on real programs: figures for Prometheus, profiles for pprof, and who is let in."""

import gzip
import io
import json
import os
import pathlib
import re
import shutil
import time
import unittest

import openmetrics
from harness import (MEMWATCH, Segments, can_make_groups, environment, main, memory_group, memwatch, run,
                     signal, start, wait_until)
from pprof import Profile
from serving import ALLOCATES, Agent, Unix

PYTHON = "/usr/bin/python3"
IS_ROOT = os.geteuid() == 0
needs_root = unittest.skipUnless(IS_ROOT, "namespaces of one's own need root")
TYPES = {"text": "text/plain; version=0.0.4; charset=utf-8",
         "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8"}


class Serving(Segments):
    def watched(self, command, **popen):
        return start(command, options=self.options(), **popen)

    def called(self, name):
        """Python by another name, so that its deaths are told from those of other tests' programs."""
        path = self.directory / name
        path.symlink_to(PYTHON)
        return str(path)

    def connect(self, agent):
        connection = agent.connect()
        self.addCleanup(connection.close)
        return connection

    def wait_for_profile(self, agent, pid):
        """A connection of one who waits for it, and a process that makes it."""
        connection = self.connect(agent)
        connection.request("GET", f"/debug/pprof/heap?pid={pid}&seconds=600")
        wait_until(agent.children, "the process that waits")
        return connection

    def metrics(self, agent):
        return openmetrics.parse(agent.get("/metrics", {"Accept": "application/openmetrics-text"}).body)

    def figures(self, agent, pid, deadline=60):
        """Those of one process, as soon as there are any."""
        return wait_until(lambda: openmetrics.values(self.metrics(agent), pid=str(pid)), f"figures of {pid}", deadline)

    def deaths(self, agent, comm):
        family = self.metrics(agent)["memwatch_deaths"]
        result = {}
        for (_, labels), value in family.samples.items():
            labels = dict(labels)
            if labels.get("comm") == comm:
                result[labels["cause"]] = result.get(labels["cause"], 0) + value
        return result


class Metrics(Serving):
    def test_the_figures_are_those_of_memwatch_stats(self):
        with Agent() as agent, self.watched([PYTHON, "-c", "import time\nx = [bytes(1000)] * 10\ntime.sleep(600)"]) as p:
            figures = self.figures(agent, p.pid)
            table = pathlib.Path(__file__).parents[2] / "docs" / "statistics.md"
            rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \|.*\| `(memwatch_\w+)` \|$", table.read_text(), re.M)
            self.assertGreater(len(rows), 35)

            def stands_still():
                before, figures = memwatch_json(p.pid), self.figures(agent, p.pid)
                return before == memwatch_json(p.pid) and (before, figures)

            stats, figures = wait_until(stands_still, "figures of the same moment")
            for name, kind, unit, metric in rows:
                with self.subTest(name):
                    scale = 1e9 if unit in ("ns", "unix_ns") else 1
                    if kind == "optional" and not stats[name]:
                        self.assertNotIn(metric, figures)
                    else:
                        self.assertAlmostEqual(figures[metric], stats[name] / scale, places=5)
            self.assertEqual(figures["memwatch_process_info"], 1)
            self.assertAlmostEqual(figures["memwatch_start_timestamp_seconds"], time.time(), delta=60)
            self.assertAlmostEqual(figures["memwatch_tick_timestamp_seconds"], time.time(), delta=60)

    def test_both_formats_are_well_formed_and_say_the_same(self):
        with Agent() as agent, self.watched([PYTHON, "-c", ALLOCATES]) as p:
            self.figures(agent, p.pid)
            for accept, kind, parse in (
                    (None, "text", openmetrics.parse_text), ("*/*", "text", openmetrics.parse_text),
                    ("text/plain;version=0.0.4", "text", openmetrics.parse_text),
                    ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "openmetrics", openmetrics.parse)):
                with self.subTest(accept):
                    answer = agent.get("/metrics", {"Accept": accept} if accept else {})
                    self.assertEqual(answer.status, 200)
                    self.assertEqual(answer.headers["Content-Type"], TYPES[kind])
                    families = parse(answer.body)
                    self.assertGreater(openmetrics.values(families, pid=str(p.pid))["memwatch_alloc_bytes"], 1 << 20)
                    self.assertGreater(len(families), 45)
            packed = agent.get("/metrics", {"Accept-Encoding": "gzip"})
            self.assertEqual(packed.headers["Content-Encoding"], "gzip")
            openmetrics.parse_text(gzip.decompress(packed.body))
            head = agent.ask("HEAD", "/metrics")
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertGreater(int(head.headers["Content-Length"]), 1000)
            if shutil.which("promtool"):
                checked = run(["promtool", "check", "metrics"], preload=False, stdin=None,
                              input=agent.get("/metrics").body)
                self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, b""))

    def test_names_that_are_made_to_break_the_format(self):
        for name, label in (('a"b\\c\n} 1', 'a"b\\c?} 1'), (os.fsdecode(b"\xff\xfe"), "\ufffd\ufffd")):
            with self.subTest(name), Agent() as agent, \
                    self.watched([self.called(name), "-c", "import time; time.sleep(600)"]) as p:
                self.figures(agent, p.pid)
                self.assertEqual(openmetrics.values(self.metrics(agent), pid=str(p.pid), comm=label)
                                 ["memwatch_process_info"], 1)
                openmetrics.parse_text(agent.get("/metrics").body)

    def test_a_process_of_several_images_is_one_process(self):
        code = "import os, sys, time\nsys.stdin.readline()\n" \
               "os.execv('/usr/bin/python3', ['second', '-c', 'x = bytes(50 << 20)\\nimport time\\ntime.sleep(600)'])"
        name = f"mw-{os.getpid()}"
        with Agent() as agent, self.watched([self.called(name), "-c", code], stdin=-1) as p:
            self.assertLess(self.figures(agent, p.pid)["memwatch_alloc_bytes"], 20 << 20)
            p.stdin.write(b"\n")
            p.stdin.flush()
            wait_until(lambda: self.figures(agent, p.pid)["memwatch_alloc_bytes"] > 50 << 20, "the second image's figures")
            self.assertEqual(sum(self.deaths(agent, name).values()), 0)

    def test_what_executes_an_unwatched_program_is_not_dead_but_gone(self):
        code = "import os, sys\nsys.stdin.readline()\nos.environ.pop('LD_PRELOAD')\nos.execv('/bin/sleep', ['sleep', '60'])"
        name = f"mw-{os.getpid()}"
        with Agent() as agent, self.watched([self.called(name), "-c", code], stdin=-1) as p:
            self.figures(agent, p.pid)
            p.stdin.write(b"\n")
            p.stdin.flush()
            wait_until(lambda: not openmetrics.values(self.metrics(agent), pid=str(p.pid)), "its series' end")
            self.assertEqual(sum(self.deaths(agent, name).values()), 0)


class Deaths(Serving):
    def comm(self, cause):
        return f"mw-{os.getpid() % 10000}-{cause}"[:15]

    def test_how_they_ended(self):
        scripts = {"exit": "exit", "failure": "exit 3", "killed": "kill -9 $$"}
        with Agent() as agent:
            for cause, script in scripts.items():
                shell = self.directory / self.comm(cause)
                shutil.copy("/bin/bash", shell)
                with self.subTest(cause), self.watched([str(shell), "-c", f"read x; {script}"], stdin=-1) as p:
                    self.figures(agent, p.pid)
                    self.assertEqual(self.deaths(agent, shell.name),
                                     {"exit": 0, "failure": 0, "oom_kill": 0, "killed": 0})
                    p.communicate(b"\n")
                    wait_until(lambda: self.deaths(agent, shell.name)[cause] == 1, "the death")
                    self.assertEqual(sum(self.deaths(agent, shell.name).values()), 1)
                    self.assertEqual(openmetrics.values(self.metrics(agent), pid=str(p.pid)), {})

    @unittest.skipUnless(can_make_groups(), "no memory cgroup can be made here")
    def test_an_oom_kill_is_told_from_another_kill(self):
        directory, version = memory_group()
        group = directory / f"memwatch-test-serve-{os.getpid()}"
        group.mkdir()
        self.addCleanup(group.rmdir)
        if version == 1:
            (group / "memory.swappiness").write_text("0")
        (group / ("memory.limit_in_bytes" if version == 1 else "memory.max")).write_text(str(60 << 20))
        name = self.comm("oom")
        eater = self.called(name)
        eats = "import sys\nsys.stdin.readline()\nx = bytearray(200 << 20)"

        def enter():
            (group / "cgroup.procs").write_text("0")

        with Agent() as agent, self.watched([eater, "-c", eats], stdin=-1, preexec_fn=enter) as first, \
                self.watched([eater, "-c", eats], stdin=-1, preexec_fn=enter) as second:
            self.assertEqual(self.figures(agent, first.pid)["memwatch_cgroup_limit_bytes"], 60 << 20)
            self.figures(agent, second.pid)
            second.kill()
            second.wait()
            wait_until(lambda: self.deaths(agent, name)["killed"] == 1, "the kill")
            first.communicate(b"\n")
            self.assertEqual(first.returncode, -signal.SIGKILL)
            wait_until(lambda: self.deaths(agent, name)["oom_kill"] == 1, "the OOM kill")
            self.assertEqual(sum(self.deaths(agent, name).values()), 2)


class Profiles(Serving):
    def test_heap_and_allocs(self):
        with Agent() as agent, self.watched(["redis-server", "--port", "0", "--save", "", "--unixsocket",
                                                f"{self.directory}/redis"]) as redis, \
                self.watched([PYTHON, "-c", ALLOCATES]) as python:
            for p, function in ((redis, "main"), (python, "PyByteArray_Resize")):
                self.figures(agent, p.pid)
                self.profile_with(agent, p.pid, function)
                for name, first in (("heap", "inuse_space"), ("allocs", "alloc_space")):
                    answer = agent.get(f"/debug/pprof/{name}?pid={p.pid}")
                    self.assertEqual(answer.status, 200)
                    self.assertEqual(answer.headers["Content-Type"], "application/octet-stream")
                    self.assertEqual(answer.headers["Content-Disposition"], f'attachment; filename="{name}"')
                    profile = Profile(io.BytesIO(answer.body))
                    self.assertEqual(profile.default_type, first)
                    self.assertEqual(profile.types, ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"])

    def profile_with(self, agent, pid, function):
        """As soon as a block of that function has been sampled."""
        def get():
            profile = Profile(io.BytesIO(agent.get(f"/debug/pprof/allocs?pid={pid}").body))
            return profile if profile.of_function(function, "alloc_space") else None
        self.figures(agent, pid)
        return wait_until(get, f"a sample of {function}")

    def test_a_difference_holds_only_what_came_within(self):
        with Agent() as agent, self.watched([PYTHON, "-c", ALLOCATES]) as p:
            self.profile_with(agent, p.pid, "PyByteArray_Resize")
            before = Profile(io.BytesIO(agent.get(f"/debug/pprof/heap?pid={p.pid}").body))
            began = time.monotonic()
            answer = agent.get(f"/debug/pprof/heap?pid={p.pid}&seconds=2")
            self.assertGreaterEqual(time.monotonic() - began, 2)
            self.assertEqual(answer.headers["Content-Disposition"], 'attachment; filename="heap-delta"')
            delta = Profile(io.BytesIO(answer.body))
            after = Profile(io.BytesIO(agent.get(f"/debug/pprof/heap?pid={p.pid}").body))
            self.assertGreater(delta.total("alloc_space"), 0)
            for kind in ("alloc_space", "alloc_objects"):
                self.assertLessEqual(delta.total(kind), after.total(kind) - before.total(kind))

    def test_others_are_answered_meanwhile_and_who_leaves_leaves_nothing(self):
        with Agent() as agent, self.watched([PYTHON, "-c", ALLOCATES]) as p:
            self.figures(agent, p.pid)
            waiting = self.wait_for_profile(agent, p.pid)
            for _ in range(5):
                began = time.monotonic()
                self.assertEqual(agent.get("/metrics").status, 200)
                self.assertLess(time.monotonic() - began, 5)
            waiting.close()
            wait_until(lambda: not agent.children(), "the end of the process that waited")
            self.assertEqual(agent.get("/metrics").status, 200)

    def test_a_crash_of_what_makes_the_profile_is_an_answer(self):
        with Agent() as agent, self.watched([PYTHON, "-c", ALLOCATES]) as p:
            self.figures(agent, p.pid)
            waiting = self.connect(agent)
            waiting.request("GET", f"/debug/pprof/heap?pid={p.pid}&seconds=600")
            child, = wait_until(agent.children, "the process that waits")
            os.kill(child, signal.SIGSEGV)
            self.assertEqual(waiting.getresponse().status, 500)
            self.assertEqual(agent.get("/metrics").status, 200)

    def test_the_process_may_end_or_change_meanwhile(self):
        change = "import os, sys\nsys.stdin.readline()\nos.execv('/usr/bin/python3', ['p', '-c', 'import time; time.sleep(60)'])"
        leave = "import sys\nsys.stdin.readline()"
        for code, status, said in ((leave, 404, b"has ended"), (change, 500, b"another program")):
            with self.subTest(said), Agent() as agent, self.watched([PYTHON, "-c", code], stdin=-1) as p:
                self.figures(agent, p.pid)
                waiting = self.connect(agent)
                waiting.request("GET", f"/debug/pprof/heap?pid={p.pid}&seconds=5")
                child, = wait_until(agent.children, "the process that waits")
                wait_until(lambda: sleeps(child), "its first look")
                p.stdin.write(b"\n")
                p.stdin.flush()
                answer = waiting.getresponse()
                self.assertEqual(answer.status, status)
                self.assertIn(said, answer.read())

    def test_as_text(self):
        with Agent() as agent, self.watched([PYTHON, "-c", ALLOCATES]) as p:
            self.profile_with(agent, p.pid, "PyByteArray_Resize")
            answer = agent.get(f"/debug/pprof/heap?pid={p.pid}&debug=1")
            self.assertEqual(answer.headers["Content-Type"], "text/plain; charset=utf-8")
            text = answer.body.decode()
            self.assertRegex(text, r"\Aheap profile: \d+: \d+ \[\d+: \d+\] @ heapprofile\n\d+: \d+ \[\d+: \d+\] @ 0x")
            self.assertRegex(text, r"\n#\t0x[0-9a-f]+\tPyByteArray_Resize\t")

    def test_questions_that_make_no_sense(self):
        with Agent() as agent, self.watched([PYTHON, "-c", ALLOCATES]) as p, \
                self.watched([PYTHON, "-c", ALLOCATES]) as other:
            self.figures(agent, p.pid)
            self.figures(agent, other.pid)
            cases = [("", 400, f"pid={p.pid} (python3)"), ("?pid=", 400, "takes a number"), ("?pid=0", 400, "pid="),
                     ("?pid=x", 400, 'not "x"'), ("?pid=1&pid=2", 400, "2 times"), ("?pid=4194304", 404, "not watched"),
                     ("?pid=99999999999999999999", 400, "pid="), (f"?pid={os.getpid()}", 404, "not watched"),
                     (f"?pid={p.pid}&seconds=0", 400, "seconds="), (f"?pid={p.pid}&seconds=601", 400, "600"),
                     (f"?pid={p.pid}&seconds=-1", 400, "seconds="), (f"?pid={p.pid}&debug=3", 400, "debug="),
                     (f"?pid={p.pid}&seconds=1&debug=1", 400, "together"), (f"?pid={p.pid}%00", 400, "no text")]
            for query, status, said in cases:
                with self.subTest(query):
                    answer = agent.get("/debug/pprof/heap" + query)
                    self.assertEqual((answer.status, said in answer.body.decode()), (status, True), answer.body)
                    self.assertEqual(answer.body.count(b"\n"), 1)
            self.assertEqual(agent.get(f"/debug/pprof/heap?pid={p.pid}&gc=1").status, 200)  # what others may send
            self.assertIn(f"/debug/pprof/heap?pid={p.pid} (python3)\n", agent.get("/debug/pprof/").body.decode())

    @unittest.skipUnless(shutil.which("go"), "Go is not installed")
    def test_go_tool_pprof(self):
        with Agent() as agent, self.watched([PYTHON, "-c", ALLOCATES]) as p:
            self.profile_with(agent, p.pid, "PyByteArray_Resize")
            base = self.directory / "base"
            base.write_bytes(agent.get(f"/debug/pprof/heap?pid={p.pid}").body)
            heap = f"{agent.url}/debug/pprof/heap?pid={p.pid}"
            for words in ([heap], ["-base", str(base), heap], [heap + "&seconds=5"], [heap + "&debug=1"]):
                with self.subTest(words):
                    result = run(["go", "tool", "pprof", "-top", "-sample_index=alloc_space", *words], preload=False,
                                 env={"HOME": str(self.directory), "PPROF_TMPDIR": str(self.directory)})
                    self.assertEqual(result.returncode, 0, result.stderr)
                    self.assertIn(b"Type: alloc_space", result.stdout)
                    if "debug" not in words[-1]:
                        self.assertIn(b"PyByteArray_Resize", result.stdout)


@needs_root
class Namespaces(Serving):
    """A process namespace in which nobody else is watched, and mounts of a container."""

    def inside(self, script):
        return start(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script], preload=False,
                     env=self.options_as_environment())

    def options_as_environment(self):
        env = environment(False, **self.options())
        return {key: value for key, value in env.items() if key.startswith("MEMWATCH_")} | {
            "LIBRARY": environment()["LD_PRELOAD"], "MEMWATCH": str(MEMWATCH), "PYTHON": PYTHON, "CODE": ALLOCATES,
            "SOCKET": str(self.directory / "socket")}

    def test_the_only_process_need_not_be_named(self):
        script = 'LD_PRELOAD="$LIBRARY" "$PYTHON" -c "$CODE" & exec "$MEMWATCH" serve --listen="unix:$SOCKET"'
        with self.inside(script):
            wait_until(lambda: (self.directory / "socket").exists(), "the socket")
            agent = Unix(self.directory / "socket")
            wait_until(lambda: agent.get("/debug/pprof/heap").status == 200, "the process")
            Profile(io.BytesIO(agent.get("/debug/pprof/heap").body))

    def test_nothing_is_watched(self):
        with self.inside('exec "$MEMWATCH" serve --listen="unix:$SOCKET"'):
            wait_until(lambda: (self.directory / "socket").exists(), "the socket")
            agent = Unix(self.directory / "socket")
            openmetrics.parse(agent.get("/metrics", {"Accept": "application/openmetrics-text"}).body)
            answer = agent.get("/debug/pprof/heap")
            self.assertEqual((answer.status, answer.body), (404, b"no process is watched\n"))

    def test_its_memory_does_not_grow(self):
        """By its own figures: it is watched by itself, and by nobody who comes and goes meanwhile."""
        script = 'LD_PRELOAD="$LIBRARY" "$PYTHON" -c "$CODE" & ' \
                 'LD_PRELOAD="$LIBRARY" exec "$MEMWATCH" serve --listen="unix:$SOCKET"'
        with self.inside(script):
            wait_until(lambda: (self.directory / "socket").exists(), "the socket")
            agent = Unix(self.directory / "socket")

            def watched():
                family = self.metrics(agent)["memwatch_process"]
                pids = {dict(labels)["comm"]: dict(labels)["pid"] for _, labels in family.samples}
                return {"python3", "memwatch"} <= set(pids) and pids

            pids = wait_until(watched, "both")
            connection = self.connect(agent)

            def scrape(times):
                for i in range(times):
                    headers = [{}, {"Accept": "application/openmetrics-text"}, {"Accept-Encoding": "gzip"}][i % 3]
                    connection.request("GET", "/metrics", headers=headers)
                    answer = connection.getresponse()
                    answer.read()
                    self.assertEqual(answer.status, 200)

            def measure():
                agent.fresh_metrics()
                return self.figures(agent, pids["memwatch"])

            scrape(500)
            before = measure()
            for _ in range(5):
                scrape(400)
                self.assertEqual(agent.get(f"/debug/pprof/heap?pid={pids['python3']}").status, 200)
            after = measure()
            self.assertLess(after["memwatch_alloc_bytes"] - before["memwatch_alloc_bytes"], 64 << 10)
            self.assertGreater(after["memwatch_allocated_objects_total"], before["memwatch_allocated_objects_total"])

    def test_a_container_with_a_shared_memory_of_its_own(self):
        script = 'mount -t tmpfs none /dev/shm && LD_PRELOAD="$LIBRARY" MEMWATCH_DIR=/dev/shm exec "$PYTHON" -c "$CODE"'
        with Agent() as agent, start(["unshare", "--mount", "sh", "-c", script], preload=False,
                                     env=self.options_as_environment()) as p:
            self.figures(agent, p.pid)
            wait_until(lambda: agent.get(f"/debug/pprof/heap?pid={p.pid}").status == 200, "its profile")


def sleeps(pid):
    """Is it in a clock_nanosleep?"""
    return pathlib.Path(f"/proc/{pid}/syscall").read_text().startswith("230 ")


def memwatch_json(pid):
    stats = json.loads(memwatch("stats", pid, "--json"))
    stats.pop("Time")
    return stats


class Life(Serving):
    def test_it_ends_when_it_is_asked_to(self):
        for end in (signal.SIGTERM, signal.SIGINT):
            with Agent(f"--listen=unix:{self.directory}/socket") as agent:
                agent.process.send_signal(end)
                self.assertEqual(agent.process.wait(timeout=30), 0)
                self.assertFalse((self.directory / "socket").exists())

    def test_it_ends_with_what_waits(self):
        with Agent() as agent, self.watched([PYTHON, "-c", ALLOCATES]) as p:
            self.figures(agent, p.pid)
            self.wait_for_profile(agent, p.pid)
            agent.process.send_signal(signal.SIGTERM)
            self.assertEqual(agent.process.wait(timeout=30), 0)

    def test_an_address_is_taken_once(self):
        with Agent() as agent:
            second = memwatch("serve", f"--listen={agent.address}", check=False)
            self.assertEqual(second.returncode, 1)
            self.assertRegex(second.stderr, rb"\Amemwatch: cannot listen on http://127.0.0.1:\d+/: Address already in use\n\Z")

    def test_wrong_command_lines(self):
        short = self.directory / "short"
        short.write_text("secret\n")
        for words, status, said in (
                (["--listen=0.0.0.0:9464"], 2, b"--token-file"), (["--listen=[::]:9464"], 2, b"--token-file"),
                (["--listen=9464"], 2, b"--listen takes "), (["--listen"], 2, b"--listen takes "),
                (["--token-file"], 2, b"--token-file takes "), (["extra"], 2, b"no argument"), (["--port=1"], 2, b"no option"),
                (["--token-file=/nowhere"], 1, b"cannot read the token in /nowhere"),
                ([f"--token-file={short}"], 1, b"16 to 510 printable characters"),
                (["--listen=unix:/nowhere/socket"], 1, b"cannot listen on unix:/nowhere/socket")):
            with self.subTest(words):
                result = memwatch("serve", *words, check=False)
                self.assertEqual((result.returncode, said in result.stderr), (status, True), result.stderr)
                self.assertEqual((result.stderr.count(b"\n"), result.stdout), (1, b""))


if __name__ == "__main__":
    main()
