# SPDX-License-Identifier: MIT
"""The monitor: a thread that costs a single-threaded program nothing and stands in no program's way."""

import pathlib
import re
import shutil
import tempfile

from harness import Scenario, json_lines, main, os, program, run, signal, start, statistics, wait_until

KINDS = ("auto", "thread")


def tasks(process):
    """The tasks of a process by their names, once the monitor is there."""
    def find():
        directory = pathlib.Path(f"/proc/{process.pid}/task")
        found = {(task / "comm").read_text().strip(): task for task in directory.iterdir()}
        return found if "memwatch" in found else None
    return wait_until(find, "a thread named memwatch")


def status(task):
    """/proc/…/status as a dict."""
    return dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)


class Monitor(Scenario):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="memwatch-test-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.file = self.directory / "lines"

    def options(self, **more):
        return {"interval": "50ms", "output": self.file, "format": "json"} | more

    def test_auto_leaves_the_program_single_threaded_to_libc(self):
        for kind, expected in (("auto", b"single\n"), ("thread", b"multi\n"), ("off", b"single\n")):
            result = run([program("alone"), "libc"], options=self.options(monitor=kind))
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, expected, b""), kind)

    def test_every_kind_prints_and_off_does_not(self):
        for kind in (*KINDS, "off"):
            self.file.unlink(missing_ok=True)
            result = run(["sleep", "0.5"], options=self.options(monitor=kind))
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"", b""), kind)
            self.assertEqual(bool(statistics(self.file)), kind != "off")

    def test_every_kind_brings_memory_back(self):
        for kind in KINDS:
            result = run([program("wave"), "40", "50"], options={"interval": "50ms", "limit": "100M", "trim_percent": "off",
                                                                "monitor": kind})
            self.assertEqual(result.returncode, 0)
            returned = re.findall(rb"past the limit of 100 MiB, trim: ([\d.]+) MiB came back", result.stderr)
            self.assertGreater(max(map(float, returned), default=0), 50, (kind, result.stderr))

    def test_it_blocks_every_signal_libcs_own_too(self):
        with start(["sleep", "60"], options=self.options()) as process:
            blocked = int(status(tasks(process)["memwatch"])["SigBlk"], 16)
            for number in range(1, 65):
                if number not in (signal.SIGKILL, signal.SIGSTOP):
                    self.assertTrue(blocked >> (number - 1) & 1, number)

    def test_forked_children_have_one_of_their_own(self):
        script = "import os, time\npid = os.fork()\ntime.sleep(0.6)\nif pid: os.waitpid(pid, 0)\n"
        for kind in KINDS:
            self.file.unlink(missing_ok=True)
            result = run(["/usr/bin/python3", "-c", script], options=self.options(monitor=kind))
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertEqual(len({line["Pid"] for line in statistics(self.file)}), 2)

    def test_a_thread_that_forks_and_ends_is_no_trouble(self):
        script = ("import os, threading, time\n"
                  "def work():\n"
                  "    if os.fork() == 0:\n"
                  "        threading.Thread(target=lambda: None).start()\n"
                  "        time.sleep(0.3); os._exit(0)\n"
                  "for i in range(5):\n"
                  "    t = threading.Thread(target=work); t.start(); t.join()\n"
                  "    os.waitpid(-1, 0)\n")
        result = run(["/usr/bin/python3", "-c", script], options=self.options())
        self.assertEqual((result.returncode, result.stderr), (0, b""))

    def test_sandboxed_programs_live_on(self):
        for kind in KINDS:
            for sandbox in ("strict", "filter"):
                result = run([program("alone"), sandbox], options=self.options(monitor=kind))
                self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"alive\n", b""), (kind, sandbox))

    def test_a_program_whose_last_thread_ends_by_itself_ends(self):
        # `alone` ends by the bare system call that ends a thread: no other one of the program's is there to go on
        for kind in KINDS:
            result = run([program("alone"), "libc"], options=self.options(monitor=kind), deadline=20)
            self.assertEqual(result.returncode, 0, kind)

    def test_a_program_may_enter_a_user_namespace(self):
        # There the monitor cannot become another user, for none is mapped: it says so and ends.
        result = run([program("alone"), "userns"], options=self.options(), preload=False)
        if b"Operation not permitted" in result.stderr:
            self.skipTest("this user may make no user namespace")
        result = run([program("alone"), "userns"], options=self.options())
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"inside\n", b""))
        notes = [line["Text"] for line in json_lines(self.file) if line.get("Event") == "note"]
        self.assertEqual(len(notes), 1)
        self.assertIn("could not give up its privilege", notes[0])

    def test_nothing_of_what_the_program_gives_up_stays_with_the_monitor(self):
        if os.getuid() != 0:
            self.skipTest("needs root to give it up")
        with start(["sleep", "60"], options=self.options()) as process:
            monitor = status(tasks(process)["memwatch"])
            self.assertNotIn("0", monitor["Uid"].split() + monitor["Gid"].split())
            self.assertEqual(monitor["Groups"].strip(), "")
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertEqual(int(monitor[name], 16), 0, name)
            self.assertEqual(monitor["NoNewPrivs"], "1")
            program_status = status(tasks(process)["sleep"])
            self.assertEqual(program_status["Uid"].split(), ["0"] * 4)
            self.assertEqual(program_status["NoNewPrivs"], "0")
        for kind in KINDS:
            result = run([program("alone"), "setuid"], options=self.options(monitor=kind))
            self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"given up\n", b""))

    def test_the_program_can_still_be_debugged_and_dump_core(self):
        with start(["sleep", "60"], options=self.options()) as process:
            tasks(process)
            wait_until(lambda: statistics(self.file), "a line")
            self.assertEqual(os.stat(f"/proc/{process.pid}/mem").st_uid, os.getuid())  # root's where not dumpable

    def test_valgrind_takes_it(self):
        if not shutil.which("valgrind"):
            self.skipTest("valgrind is not installed")
        result = run(["valgrind", "--tool=memcheck", "-q", "--error-exitcode=9", "sleep", "0.5"], options=self.options())
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_its_descriptors_are_not_the_programs(self):
        with start(["sleep", "60"], options=self.options()) as process:
            monitor = tasks(process)["memwatch"]
            wait_until(lambda: statistics(self.file), "a line")
            own = {os.readlink(fd) for fd in (monitor / "fd").iterdir()}
            programs = {os.readlink(fd) for fd in pathlib.Path(f"/proc/{process.pid}/fd").iterdir()}
            self.assertTrue(any("/status" in target for target in own), own)
            self.assertFalse(any("/status" in target for target in programs), programs)
            self.assertFalse(any(target.startswith("pipe:") for target in own), "a pipe is held open")


if __name__ == "__main__":
    main()
