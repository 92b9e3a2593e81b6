# SPDX-License-Identifier: MIT
"""What is installed works from where it is installed, and is no more than what is meant."""

import pathlib
import re
import shutil
import subprocess
import tempfile

from harness import BUILD, LIBRARY, Scenario, main, run

SOURCE = pathlib.Path(__file__).resolve().parents[2]


class Install(Scenario):
    def setUp(self):
        self.prefix = pathlib.Path(tempfile.mkdtemp(prefix="memwatch-test-"))
        self.addCleanup(shutil.rmtree, self.prefix)

    def install(self):
        subprocess.run(["cmake", "--install", BUILD, "--prefix", self.prefix], check=True, capture_output=True, timeout=60)

    def test_the_launcher_finds_the_library_where_both_are_installed(self):
        self.install()
        result = run([str(self.prefix / "bin" / "memwatch-run"), "sh", "-c", "echo $LD_PRELOAD"], preload=False)
        self.assertEqual(result.returncode, 0)
        self.assertTrue(result.stdout.strip().startswith(str(self.prefix).encode()), result.stdout)
        self.assertTrue(result.stdout.strip().endswith(b"/libmemwatch.so"), result.stdout)
        self.assertNotIn(b"not watched", result.stderr)

    def test_the_header_compiles_on_its_own_as_every_c_and_c_plus_plus_with_all_warnings(self):
        self.install()
        program = "#include <memwatch.h>\nint main(void) { struct memwatch_stats s; return memwatch_read_stats(&s) == 0; }\n"
        for compiler, suffix, standards in (("gcc", ".c", ("c99", "c11", "c17", "c2x", "gnu17")),
                                            ("g++", ".cpp", ("c++11", "c++17", "c++20"))):
            source = self.prefix / ("program" + suffix)
            source.write_text(program)
            for standard in standards:
                subprocess.run([compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wundef",
                                "-I", self.prefix / "include", source, "-o", self.prefix / "program"], check=True, timeout=60)
                self.assertEqual(run([str(self.prefix / "program")], preload=False).returncode, 0)
                self.assertEqual(run([str(self.prefix / "program")], options={"output": "none"}).returncode, 1)

    def test_the_manual_is_installed_clean_and_names_every_option_command_and_statistic(self):
        self.install()
        pages = {name: self.prefix / "share" / "man" / f"man{name[-1]}" / name
                 for name in ("memwatch-run.1", "memwatch.1", "memwatch.7")}
        text = {}
        for name, page in pages.items():
            lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True, timeout=30,
                                  check=False)
            self.assertEqual((lint.returncode, lint.stdout), (0, ""))
            shown = subprocess.run(["mandoc", "-Tutf8", "-Owidth=1000", page], check=True, capture_output=True, text=True, timeout=30)
            text[name] = re.sub(".\b", "", shown.stdout)
            self.assertRegex(text[name], r"\nNAME\n +memwatch\S*(, libmemwatch)? - \w")  # what whatis reads
            for section in ("SYNOPSIS", "DESCRIPTION", "ENVIRONMENT", "EXAMPLES", "SEE ALSO"):
                self.assertIn(f"\n{section}\n", text[name])
        for name, header, pattern, written in (
                ("memwatch-run.1", "agent/run_options.h", r'X\("([a-z-]+)"', r"\n +(-\w, )?--{}(=|\n)"),
                ("memwatch.1", "agent/commands.h", r"X\((\w+), +\"", "\n +memwatch {} "),
                ("memwatch.7", "common/options.h", r"X\(([A-Z_]+), +\w+, +\w+, +\"", "\n +MEMWATCH_{}\n"),
                ("memwatch.7", "include/memwatch_statistics.h", r"X\(\w+, +(\w+), +(?:gauge|counter),", "\n +{}[ \n]")):
            listed = re.findall(pattern, (SOURCE / header).read_text())
            self.assertGreater(len(listed), 5, header)
            for word in listed:
                self.assertRegex(text[name], written.format(word))
        for word in ("125", "126", "127", "SIGNALS", "HOW IT ENDED"):
            self.assertIn(word, text["memwatch-run.1"])


class Library(Scenario):
    def test_it_exports_what_is_listed_and_nothing_else(self):
        listed = set(re.findall(r"\b(\w+\*?);", (SOURCE / "preload" / "libmemwatch.map").read_text().split("local:")[0]))
        nm = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, capture_output=True, text=True, timeout=30)
        exported = {line.split()[2].split("@")[0] for line in nm.stdout.splitlines()}
        api = {name for name in exported if name.startswith("memwatch_v1_")}
        self.assertEqual(api, {f"memwatch_v1_{name}" for name in (
            "read_stats", "trim", "set_memory_limit", "set_trim_percent", "get_trim_percent", "on_pressure", "remove_pressure",
            "pressure")})
        self.assertEqual(exported - api, listed - {"memwatch_v1_*"})

    def test_it_needs_only_libc_and_little_static_tls(self):
        dynamic = subprocess.run(["readelf", "-dW", LIBRARY], check=True, capture_output=True, text=True, timeout=30).stdout
        needed = re.findall(r"NEEDED.*\[(.*)\]", dynamic)
        self.assertEqual([name for name in needed if not name.startswith(("libc.so", "ld-linux"))], [])
        self.assertIn("NODELETE", dynamic)
        segments = subprocess.run(["readelf", "-lW", LIBRARY], check=True, capture_output=True, text=True, timeout=30).stdout
        tls = re.search(r"^\s*TLS\s+\S+\s+\S+\s+\S+\s+\S+\s+(\S+)", segments, re.MULTILINE)
        self.assertLessEqual(int(tls[1], 16), 64)


if __name__ == "__main__":
    main()
