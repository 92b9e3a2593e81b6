# SPDX-License-Identifier: MIT
"""Real programs give the same output and exit status with the library as without, byte for byte.

Run with --table to print docs/programs.md, made from the same runs.
"""

import hashlib
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile

from harness import Scenario, environment, main, run, signal, statistics, wait_until

# ---- what is run: each takes an empty directory and a function that runs a command in it, and returns what is to be
# the same: a list of bytes. A command's output and status are added by the function itself. ----


def python_json(directory, do):
    do("python3", "-c", """
import hashlib, json, random
random.seed(1)
data = [{"id": i, "name": "n%d" % i, "values": [random.random() for _ in range(20)]} for i in range(20000)]
text = json.dumps(data)
assert json.loads(text) == data
print(text[:100000], hashlib.sha256(text.encode()).hexdigest())
""")
    return []


def python_threads(directory, do):
    do("python3", "-c", """
import threading, zlib
def work(n, out):
    blocks = [bytes([n]) * (i % 5000) for i in range(3000)]
    out[n] = sum(zlib.crc32(zlib.compress(b"".join(blocks[i:i + 100]))) for i in range(0, 3000, 100))
out = {}
threads = [threading.Thread(target=work, args=(n, out)) for n in range(8)]
for t in threads: t.start()
for t in threads: t.join()
print(sorted(out.items()))
""")
    return []


def python_subprocess(directory, do):
    do("python3", "-c", """
import subprocess, multiprocessing
for i in range(50):
    print(subprocess.run(["sh", "-c", "echo %d; exit %d" % (i, i)], capture_output=True))
with multiprocessing.Pool(4) as pool:
    print(pool.map(str.upper, [chr(97 + i % 26) * 1000 for i in range(200)])[-1][:10])
""")
    return []


def perl(directory, do):
    do("perl", "-e", r"""
my %h; my $s = 1;
for my $i (1 .. 200000) { $s = ($s * 1103515245 + 12345) % 2147483648; $h{$s % 50000} .= "x$i"; }
my $text = join "\n", map { "$_=" . length $h{$_} } sort { $a <=> $b } keys %h;
$text =~ s/(\d)(\d)/$2$1/g;
print $text, "\n"; print `echo child`; exit 3;
""")
    return []


def gcc(directory, do):
    functions = "\n".join(f"""
int f{i}(const int *a, int n) {{
    int s = {i};
    for (int k = 0; k < n; k++) {{ s = s * 31 + (a[k] ^ {i * 7919}); if (s % {i + 3} == 0) s += f{max(i - 1, 0)}(a, n / 2); }}
    switch (s & 7) {{ case 0: return s + 1; case 1: return s * 3; case 5: return -s; default: return s ^ {i}; }}
}}""" for i in range(1500))
    (directory / "large.c").write_text("int f0(const int *a, int n);\n" + functions)
    do("gcc", "-O2", "-c", "large.c", "-o", "large.o", deadline=240)
    return [(directory / "large.o").read_bytes()]


def git(directory, do):
    stream = []
    for i in range(1500):
        text = "".join(f"line {j} of {i if j % 97 == i % 97 else j}\n" for j in range(300))
        stream.append(f"commit refs/heads/main\ncommitter A <a@example.org> {1600000000 + i * 60} +0000\n"
                      f"data 9\ncommit {i % 10}\nM 644 inline file{i % 40}\ndata {len(text)}\n{text}\n")
    subprocess.run(["git", "init", "-q", directory / "repo"], check=True, capture_output=True)
    subprocess.run(["git", "-C", directory / "repo", "fast-import", "--quiet"], input="".join(stream).encode(), check=True)
    do("git", "-C", "repo", "log", "-p", "--stat", "main")
    do("git", "-C", "repo", "repack", "-adq", "--threads=2")
    do("git", "-C", "repo", "fsck", "--no-progress")
    return []


def sqlite3(directory, do):
    do("sqlite3", "data.db", """
CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
INSERT INTO t SELECT i, printf('%08x', i * 2654435761 % 4294967296), i * 0.5 FROM n;
CREATE INDEX ta ON t(a);
SELECT substr(a, 1, 2) AS k, count(*), sum(b) FROM t GROUP BY k ORDER BY 3 DESC LIMIT 50;
DELETE FROM t WHERE id % 3 = 0; VACUUM; PRAGMA integrity_check; SELECT * FROM nonsense;
""")
    return [(directory / "data.db").read_bytes()]


def xz(directory, do):
    random.seed(2)
    words = [random.randbytes(random.randrange(3, 12)).hex().encode() for _ in range(3000)]
    (directory / "data").write_bytes(b" ".join(random.choices(words, k=600000)))
    do("xz", "-T2", "--block-size=2MiB", "-3", "-k", "data")
    do("xz", "-t", "-T2", "data.xz")
    return [(directory / "data.xz").read_bytes()]


def sort(directory, do):
    random.seed(3)
    (directory / "data").write_text("".join(f"{random.random()} {i}\n" for i in range(400000)))
    do("sort", "--parallel=2", "-S", "4M", "-T", ".", "-g", "-o", "sorted", "data")
    return [(directory / "sorted").read_bytes()]


def bash(directory, do):
    (directory / "configure").write_text(r"""
set -e
check() { printf 'checking for %s... ' "$1"; printf '%s\nint main(void) { return 0; }\n' "$2" > conftest.c
  if gcc -c conftest.c -o conftest.o 2>conftest.err; then echo yes; echo "#define HAVE_$1 1" >> config.h
  else echo no; sed -e 's/^/  | /' conftest.err | grep -c error || true; fi; }
: > config.h
for header in stdio stdlib nonsense string unistd fcntl nowhere errno; do check "$header" "#include <$header.h>"; done
for n in $(seq 1 150); do x=$(echo "$n" | tr 0-9 a-j); case $x in *a) echo "$x" | sed 's/a/A/' ;; esac; done | sort | uniq -c | tail -5
sum=0; for ((i = 0; i < 20000; i++)); do ((sum += i)) || true; done; echo $sum
sed -e 's/@X@/value/' <<< 'x = @X@' > Makefile; cat config.h Makefile; (exit 4) || echo "status $?"; exit 5
""")
    do("bash", "configure")
    return []


def cmake(directory, do):
    (directory / "CMakeLists.txt").write_text("""
cmake_minimum_required(VERSION 3.20)
project(p C)
include(CheckFunctionExists)
foreach(f fork printf nonsense_function malloc_trim)
  check_function_exists(${f} HAVE_${f})
  message(STATUS "${f}: ${HAVE_${f}}")
endforeach()
file(WRITE m.c "int main(void) { return 0; }")
add_executable(m m.c)
""")
    do("sh", "-c", "cmake -S . -B build -G 'Unix Makefiles' && cmake --build build -- -j2 -s && build/m", deadline=120)
    return []


def tar_gzip(directory, do):
    random.seed(4)
    (directory / "in").mkdir()
    for i in range(300):
        (directory / "in" / f"{i:03}").write_bytes(random.randbytes(i * 10) + b"x" * i * 50)
    do("tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-czf", "out.tar.gz", "in")
    do("tar", "-tvzf", "out.tar.gz")
    return [(directory / "out.tar.gz").read_bytes()]


def awk(directory, do):
    do("awk", "BEGIN { for (i = 0; i < 300000; i++) a[i % 5000] = a[i % 5000] i % 10; "
              "for (i = 0; i < 5000; i += 500) print i, length(a[i]), substr(a[i], 1, 30); exit 7 }")
    return []


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def redis(directory, do):
    port = free_port()
    server = do.start("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", ".", "--daemonize",
                      "no", "--loglevel", "warning")
    wait_until(lambda: answers(port), "redis answers")
    commands = "".join(f"SET key:{i} {'v' * (i % 3000)}\nLPUSH list {i}\nHSET hash f{i} {i}\n" for i in range(3000))
    commands += "DBSIZE\nLLEN list\nHGET hash f77\nGET key:99\nNONSENSE\nDEBUG DIGEST\nMEMORY USAGE key:99\n"
    do("redis-cli", "-p", str(port), input=commands.encode(), cost=False)
    bench = do.quiet("redis-benchmark", "-p", str(port), "-q", "-n", "20000", "-c", "20", "-t", "set,get,lpush,lrange_100")
    do("redis-cli", "-p", str(port), "SHUTDOWN", "NOSAVE")
    return [b"benchmark %d" % bench.returncode, b"lines %d" % bench.stdout.count(b"requests per second"),
            b"server %d" % server.wait(30)]


def nginx(directory, do):
    port = free_port()
    for name in ("logs", "html", "tmp"):
        (directory / name).mkdir()
    (directory / "html" / "page").write_bytes(b"".join(b"line %d\n" % i for i in range(5000)))
    (directory / "conf").write_text(f"""
daemon off; worker_processes 2; pid logs/pid; error_log stderr warn;
{'user root;' if os.getuid() == 0 else ''}
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path tmp/b; proxy_temp_path tmp/p; fastcgi_temp_path tmp/f; uwsgi_temp_path tmp/u;
  scgi_temp_path tmp/s; gzip on; gzip_types *; gzip_min_length 100;
  server {{ listen 127.0.0.1:{port}; root html; }} }}
""")
    server = do.start("nginx", "-p", str(directory) + "/", "-c", str(directory / "conf"))
    wait_until(lambda: answers(port), "nginx answers")
    load = do.quiet("ab", "-q", "-n", "3000", "-c", "20", "-H", "Accept-Encoding: gzip", f"http://127.0.0.1:{port}/page")
    facts = [line for line in load.stdout.splitlines()
             if line.startswith((b"Complete requests", b"Failed requests", b"Non-2xx", b"Document Length", b"HTML transferred"))]
    do("python3", "-c", f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/page').read())")
    server.send_signal(signal.SIGQUIT)
    return [b"load %d" % load.returncode, *facts, b"server %d" % server.wait(30)]


PROGRAMS = (  # name, what is run, how to ask for the version, the function
    ("python3", "json of 20,000 records", ["python3", "--version"], python_json),
    ("python3", "8 threads, zlib", ["python3", "--version"], python_threads),
    ("python3", "50 subprocesses, a pool of 4", ["python3", "--version"], python_subprocess),
    ("perl", "hash of 50,000 strings, regex, a child", ["perl", "-e", "print $^V"], perl),
    ("gcc", "-O2 of 1,500 functions", ["gcc", "--version"], gcc),
    ("git", "log -p --stat of 1,500 commits, repack with 2 threads, fsck", ["git", "--version"], git),
    ("sqlite3", "100,000 rows, index, group by, vacuum", ["sqlite3", "--version"], sqlite3),
    ("redis-server", "9,000 writes, redis-benchmark of 80,000 requests", ["redis-server", "--version"], redis),
    ("nginx", "2 workers, gzip, 3,000 requests by ab", ["nginx", "-v"], nginx),
    ("xz", "-T2 of 6 MB", ["xz", "--version"], xz),
    ("bash", "a configure-like script: 8 compilations, some 700 forks", ["bash", "--version"], bash),
    ("cmake", "configure, check functions, build", ["cmake", "--version"], cmake),
    ("sort", "400,000 lines, 2 threads, temporary files", ["sort", "--version"], sort),
    ("tar", "300 files through gzip", ["tar", "--version"], tar_gzip),
    ("awk", "300,000 string appends", ["awk", "-W", "version"], awk),
)


class Doing:
    """Runs commands in a directory, with the library or without, and keeps what they said."""

    def __init__(self, directory, preload, lines):
        self.directory = directory
        self.preload = preload
        self.options = {"output": lines, "format": "json", "interval": "20ms"} if preload else {}
        self.same = []
        self.running = []

    def __call__(self, *command, deadline=60, cost=True, **keywords):
        if "input" in keywords:
            keywords["stdin"] = None
        result = run(command, preload=self.preload, options=self.options, cwd=self.directory, deadline=deadline, **keywords)
        self.same += [b"status %d" % result.returncode, result.stdout, result.stderr]
        return result

    def quiet(self, *command, **keywords):
        """What says when it ran, or how fast, cannot be the same."""
        return run(command, preload=self.preload, options=self.options, cwd=self.directory, **keywords)

    def start(self, *command):
        process = subprocess.Popen(command, env=environment(self.preload, **self.options), cwd=self.directory,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.running.append(process)
        return process

    def end(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait()


class Outcome:
    """One program, run with the library or without."""

    def __init__(self, function, preload):
        lines = pathlib.Path(tempfile.mkstemp(prefix="memwatch-lines-")[1])
        # The same path each time: it shows in messages and in debug information.
        directory = pathlib.Path(tempfile.gettempdir()) / f"memwatch-programs-{os.getpid()}"
        directory.mkdir()
        do = Doing(directory, preload, lines)
        try:
            parts = function(directory, do)
            self.same = do.same + list(parts)
            self.lines = statistics(lines)
        finally:
            do.end()
            shutil.rmtree(directory)
            lines.unlink()

    def compared_bytes(self):
        return sum(map(len, self.same))

    def digest(self):
        return hashlib.sha256(b"\0".join(self.same)).hexdigest()


class Programs(Scenario):
    def test_output_and_status_are_the_same_with_and_without(self):
        for name, what, _, function in PROGRAMS:
            with self.subTest(name=name, what=what):
                self.assertIsNotNone(shutil.which(name), f"{name} is not installed")
                plain, watched = Outcome(function, False), Outcome(function, True)
                for before, after in zip(plain.same, watched.same, strict=True):
                    self.assertEqual(before[-3000:], after[-3000:])
                self.assertEqual(plain.digest(), watched.digest())
                self.assertTrue(watched.lines, "it was not watched")
                for line in watched.lines:
                    self.assertGreaterEqual(line["TotalAlloc"], line["Alloc"])
                    self.assertEqual(line["MmapDrops"], 0)


def version(command):
    result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=30, check=False)
    words = (result.stdout or result.stderr).decode(errors="replace").splitlines()[0].replace("v=", "").split()
    return next((w.strip("v,)").split("/")[-1] for w in words if any(c.isdigit() for c in w) and "." in w), "?")


def table():
    print("# Real programs under the library\n\n"
          "Each was run without the library and with it (a JSON line every 20 ms); standard output, standard error, exit\n"
          "status and the files written were compared byte for byte. Made by\n"
          "`MEMWATCH_BUILD=build/dev python3 tests/scenarios/programs_test.py --table`; the same runs are the test\n"
          "`scenario.programs`.\n\n"
          "| program | version | what was run | bytes compared | the same | largest Alloc seen | processes watched |\n"
          "|---|---|---|---|---|---|---|")
    for name, what, ask, function in PROGRAMS:
        plain, watched = Outcome(function, False), Outcome(function, True)
        peak = max((line["Alloc"] for line in watched.lines), default=0)
        pids = len({line["Pid"] for line in watched.lines})
        same = "yes" if plain.digest() == watched.digest() else "NO"
        print(f"| {name} | {version(ask)} | {what} | {plain.compared_bytes():,} | {same} | {peak / (1 << 20):.1f} MiB | {pids} |",
              flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--table"]:
        table()
    else:
        main()
