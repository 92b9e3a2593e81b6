# SPDX-License-Identifier: MIT
"""Programs that nothing can be preloaded into run all the same, with the limit in force, and one line says so."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import LAUNCHER, LIBRARY, Scenario, can_make_groups, main, run

HELLO = "#include <stdio.h>\n#include <stdlib.h>\nint main(void) { puts(getenv(\"LD_PRELOAD\") ? \"with\" : \"without\"); return 7; }\n"
NOBODY = 65534


class Kinds(Scenario):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="memwatch-test-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.directory.chmod(0o755)

    def compile(self, name, *arguments, source=HELLO, compiler="gcc"):
        path = self.directory / name
        subprocess.run([compiler, "-x", "c", "-", "-o", path, *arguments], input=source, text=True, check=True, timeout=60)
        return str(path)

    def script(self, name, text):
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def launch(self, *command, launcher=str(LAUNCHER), **keywords):
        return run([launcher, "--restart", "no", *command], preload=False, options={"output": "none"}, **keywords)

    def said(self, result):
        """What is said of the preload. Else the loader and the launcher say nothing but of the limit and the end."""
        lines = [line for line in result.stderr.decode().splitlines() if not re.search(
            r"memwatch-run: (limit |the limit asked|\S+ \(pid \d+\) |no memory cgroup)", line)]
        return [line.replace(f"{self.directory}/", "") for line in lines]

    def expect(self, result, output, *said, status=7):
        self.assertEqual((result.returncode, result.stdout.decode().split()), (status, [output] if output else []), result.stderr)
        self.assertEqual(self.said(result), [f"memwatch-run: {line}" for line in said])

    def test_an_ordinary_program_and_scripts_of_ordinary_interpreters_have_nothing_said(self):
        hello = self.compile("hello")
        self.expect(self.launch(hello), "with")
        for name, text in (("sh", f"#!/bin/sh\nexec {hello}\n"), ("none", f"exec {hello}\n"),
                           ("env", "#!/usr/bin/env python3\nimport os\nprint('with' if 'LD_PRELOAD' in os.environ else 'without')\n"
                                   "raise SystemExit(7)\n")):
            self.expect(self.launch(self.script(name, text)), "with")

    def test_static_programs_are_limited_and_their_children_may_be_watched(self):
        for name, flag in (("static", "-static"), ("static-pie", "-static-pie")):
            static = self.compile(name, flag)
            self.expect(self.launch(static), "with", f"{name} is statically linked: it is not watched")
        result = self.launch(self.script("script", f"#!{static}\n"))
        self.expect(result, "with", "script is run by static-pie, which is statically linked: it is not watched")

    @unittest.skipUnless(can_make_groups(), "no memory cgroup can be made here; ./dev test-vm runs this kind of test in a VM")
    def test_the_limit_holds_for_a_static_program(self):
        greedy = self.compile("greedy", "-static", source="#include <stdlib.h>\n#include <string.h>\n"
                              "int main(void) { for (;;) { char *p = malloc(1 << 20); memset(p, 1, 1 << 20); } }\n")
        result = self.launch("--limit", "20M", greedy)
        self.assertEqual(result.returncode, 137)
        self.assertIn(b"greedy is statically linked: it is not watched, and only a memory cgroup can limit it\n", result.stderr)
        self.assertIn(b"killed by the kernel's OOM killer", result.stderr)

    def test_musl_programs_start(self):
        if not shutil.which("musl-gcc"):
            self.skipTest("musl-gcc is not there; ./dev test installs it")
        musl = self.compile("musl", compiler="musl-gcc")
        said = "is linked with musl, whose loader cannot load a library that is made for glibc: it is not watched"
        self.expect(self.launch(musl), "without", f"musl {said}")
        self.expect(self.launch(self.script("script", f"#!{musl}\n")), "without", f"script is run by musl, which {said}")
        self.expect(self.launch("--allocator", "jemalloc", musl), "without", f"musl {said}")

    def test_sanitized_programs_start(self):
        for sanitizer in ("address", "leak"):
            self.expect(self.launch(self.compile(sanitizer, f"-fsanitize={sanitizer}"), env={"ASAN_OPTIONS": "detect_leaks=0"}),
                        "without", f"{sanitizer} is built with a sanitizer, whose runtime has to be the first library: it is not "
                        "watched")

    @unittest.skipUnless(os.uname().machine == "x86_64", "its machine code is for x86")
    def test_a_32_bit_program_starts(self):
        code = ".globl _start\n_start: movl $1, %eax\nmovl $7, %ebx\nint $0x80\n"
        subprocess.run(["as", "--32", "-o", self.directory / "exit.o", "-"], input=code, text=True, check=True, timeout=30)
        subprocess.run(["ld", "-m", "elf_i386", "-o", self.directory / "exit", self.directory / "exit.o"], check=True, timeout=30)
        try:
            plain = run([str(self.directory / "exit")], preload=False).returncode
        except OSError:
            plain = None
        result = self.launch(str(self.directory / "exit"))
        self.assertEqual(self.said(result)[0],
                         "memwatch-run: exit is made for another machine (32-bit x86): it is not watched")
        if plain == 7:  # the kernel runs such programs
            self.assertEqual(result.returncode, 7)

    @unittest.skipUnless(os.getuid() == 0, "needs root to make a setuid program and to run it as another user")
    def test_a_setuid_program_of_another_user_is_told_and_one_of_ones_own_is_watched(self):
        for source in (LAUNCHER, LIBRARY):
            (self.directory / source.parent.name).mkdir()
            shutil.copy(source, self.directory / source.parent.name)
        launcher = str(self.directory / "agent" / "memwatch-run")
        setuid = self.compile("setuid")
        os.chmod(setuid, 0o4755)
        self.expect(self.launch(setuid, launcher=launcher), "with")
        result = self.launch(setuid, launcher=launcher, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
        self.expect(result, "without", "setuid gains privileges as it starts (setuid, setgid or file capabilities), so that its "
                    "loader preloads nothing: it is not watched")

    def test_what_cannot_be_started_has_the_status_that_it_had(self):
        damaged = self.script("damaged", "")
        pathlib.Path(damaged).write_bytes(b"\177ELF\2\1\1\n")
        missing = self.script("missing", "#!/nowhere/sh\n")
        around = self.script("around", f"#!{self.directory}/around\n")
        for command, status, lines in ((missing, 127, 2), (around, 126, 1), (str(self.directory), 126, 1), ("/nowhere", 127, 1)):
            result = self.launch(command)
            self.assertEqual((result.returncode, result.stderr.count(b"\n")), (status, lines), result.stderr)
        self.assertIn(b"missing needs /nowhere/sh, which is not there\n", self.launch(missing).stderr)
        os.mkfifo(self.directory / "fifo", 0o755)
        self.assertEqual(self.launch(str(self.directory / "fifo")).returncode, 126)
        self.assertNotEqual(self.launch(damaged, cwd=self.directory).returncode, 0)  # by the shell, as execvp does

    def test_what_was_preloaded_stays_behind_in_its_order_and_relative(self):
        first, second = (self.compile(f"lib{name}.so", "-shared", "-fPIC", source=f"int {name};\n") for name in ("one", "two"))
        words = f"./{pathlib.Path(first).name} {second}"
        result = self.launch("sh", "-c", "echo $LD_PRELOAD; grep -o 'lib[a-z]*[.]so$' /proc/self/maps | uniq", cwd=self.directory,
                             env={"LD_PRELOAD": words})
        lines = result.stdout.decode().splitlines()
        self.assertEqual(lines[0], f"{LIBRARY}:{words}")
        self.assertEqual(set(lines[1:]) & {"libone.so", "libtwo.so", "libmemwatch.so"}, {"libone.so", "libtwo.so", "libmemwatch.so"})

    def test_a_sanitizers_runtime_that_was_preloaded_stays_alone(self):
        runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True,
                                 timeout=30).stdout.strip()
        result = self.launch(self.compile("hello"), env={"LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0"})
        self.assertEqual((result.returncode, result.stdout), (7, b"with\n"), result.stderr)
        self.assertEqual(len(self.said(result)), 1, result.stderr)


if __name__ == "__main__":
    main()
