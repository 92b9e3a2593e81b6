# SPDX-License-Identifier: MIT
"""What is run under each contender: programs of our own, one question each, and real ones.

Each takes a number of operations, so that a run can be made shorter or longer. To add one, add a line to the table
WORKLOADS; ours are the C files of the directory workloads/.
"""

import pathlib
import re
import shutil
import subprocess
from dataclasses import dataclass, field

# Which figure tells: CPU time, time on the clock, or the throughput that the program prints.
CPU, WALL, THROUGHPUT = "CPU", "wall", "throughput"


@dataclass(frozen=True)
class Workload:
    """`command` is a function of the build directory, the number of operations (that each of the threads does) and the
    directory of inputs, which `prepare` fills; `needs` the programs without which it cannot be."""

    name: str
    what: str
    operations: int
    command: object
    metric: str = CPU
    unit: str = "operation"
    environment: dict = field(default_factory=dict)
    prepare: object = None
    needs: tuple = ()
    threads: int = 1
    client: object = None  # of a server: a function of the port and the number of operations


def ours(name, what, operations, *arguments, program=None, unit="pair", **keywords):
    def command(build, count, inputs):
        return [build / "bench" / f"bench_{program or name}", count, *(str(a).format(inputs=inputs) for a in arguments)]
    return Workload(name, what, operations, command, unit=unit, **keywords)


def real(name, what, operations, command, unit, *, needs=None, **keywords):
    return Workload(name, what, operations, lambda build, count, inputs: command(count, inputs), unit=unit,
                    needs=needs or (name,), **keywords)


# ---- real programs. Scripts are files: heaptrack loses its way where an argument has a newline in it. ----


def script(text):
    """What puts a script among the inputs."""
    return lambda directory: (directory / "script").write_text(text)


PYTHON = """
import json, sys
data = [{"id": i, "name": "n%d" % i, "tags": ["t%d" % (i * k % 977) for k in range(8)],
         "values": [i * k for k in range(12)]} for i in range(int(sys.argv[1]))]
for _ in range(3):
    text = json.dumps(data)
    assert json.loads(text) == data
"""

DROPS = """
import ctypes, os, sys, time
from concurrent.futures import ThreadPoolExecutor

def words():
    return ["%d words of some length" % i * 3 for i in range(300_000)]

def records():
    return [{"id": i, "name": "n%d" % i, "tags": ["t%d" % (i * k % 977) for k in range(8)],
             "values": [i * k for k in range(300, 312)]} for i in range(20_000)]

def pages():
    return [b"x" * (15_000 + i * 7919 % 85_000) for i in range(800)]

kept = {}

def work(turn):
    kept[turn % 12] = (words, records, pages)[turn % 3]()[::500]

turns = int(sys.argv[1])
workers = [ThreadPoolExecutor(1) for _ in range(4)]
begin = time.monotonic()
for turn in range(turns):
    workers[turn % len(workers)].submit(work, turn).result()
print("throughput %d" % (turns * 1e6 / (time.monotonic() - begin)))
if os.environ.get("BENCH_TRIM"):
    ctypes.CDLL(None).malloc_trim(0)
print("quiet", flush=True)
time.sleep(int(os.environ.get("BENCH_QUIET_MS", "0")) / 1000)
"""

PERL = r"""
my (%h, $s); $s = 1;
for my $i (1 .. $ARGV[0]) { $s = ($s * 1103515245 + 12345) % 2147483648; $h{$s % 50000} .= "x$i"; }
my $text = join "\n", map { join "", reverse split //, "$_=" . substr($h{$_}, 0, 20) } sort { $a <=> $b } keys %h;
$text =~ s/(\d)(\d)/$2$1/g;
my @words = map { [split /x/] } values %h;
print length $text, scalar @words;
"""

SQLITE = """
CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b REAL);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
INSERT INTO t SELECT i, printf('%08x', i * 2654435761 % 4294967296), i * 0.5 FROM n;
CREATE INDEX ta ON t(a);
SELECT substr(a, 1, 2) AS k, count(*), sum(b), group_concat(id) FROM t GROUP BY k ORDER BY 3 DESC LIMIT 50;
UPDATE t SET a = replace(a, 'a', 'bcd') WHERE id % 2;
DELETE FROM t WHERE id % 3 = 0;
"""


def c_source(directory):
    """A C file whose first n functions are compiled with -DCOUNT=n."""
    functions = "\n".join(f"""
#if COUNT > {i}
int f{i}(const int *a, int n) {{
    int s = {i};
    for (int k = 0; k < n; k++) {{
        s = s * 31 + (a[k] ^ {i * 7919});
        if (s % {i + 3} == 0) s += f{max(i - 1, 0)}(a, n / 2);
    }}
    switch (s & 7) {{ case 0: return s + 1; case 1: return s * 3; case 5: return -s; default: return s ^ {i}; }}
}}
#endif""" for i in range(1000))
    (directory / "functions.c").write_text("int f0(const int *a, int n);\n" + functions)


def gcc_compiler(count, inputs):
    """The compiler proper: the driver would only start it."""
    found = subprocess.run(["gcc", "-print-prog-name=cc1"], capture_output=True, check=True, text=True, timeout=30)
    return [found.stdout.strip(), "-quiet", "-O2", f"-DCOUNT={count}", inputs / "functions.c", "-o", "functions.s"]


def clang_compiler(count, inputs):
    return ["clang", "-O2", f"-DCOUNT={count}", "-S", inputs / "functions.c", "-o", "functions.s"]


def repository(directory):
    stream = []
    for i in range(6000):
        lines = "".join(f"line {j} of {i if j % 97 == i % 97 else j}\n" for j in range(300))
        stream.append(f"commit refs/heads/main\ncommitter A <a@example.org> {1600000000 + i * 60} +0000\n"
                      f"data 9\ncommit {i % 10}\nM 644 inline file{i % 40}\ndata {len(lines)}\n{lines}\n")
    git = ["git", "-C", directory]
    subprocess.run([*git, "init", "-q"], check=True, capture_output=True, timeout=30)
    subprocess.run([*git, "fast-import", "--quiet"], input="".join(stream).encode(), check=True, capture_output=True,
                   timeout=60)


def git_log(count, inputs):
    return ["git", "--no-pager", "-C", inputs, "-c", "safe.directory=*", "log", "-p", "--stat", f"--max-count={count}",
            "main"]


def python_script(count, inputs):
    return ["python3", inputs / "script", count]


def redis_server(port, _):
    return ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--loglevel",
            "warning"]


def redis_benchmark(port, count):
    return ["redis-benchmark", "-p", str(port), "-q", "-n", str(count), "-c", "20", "-P", "4", "-r", "20000", "-d",
            "300", "-t", "set,get,lpush,lpop,hset,zadd"]


def letters(directory):
    (directory / "letters").write_bytes(bytes(range(97, 97 + 26)) * (1 << 18))


def idle_mebibytes():
    """8 GiB, or half of what there is."""
    available_kib = int(re.search(r"MemAvailable: +(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    return min(8192, available_kib // 2048)


WORKLOADS = (
    ours("fast", "malloc and free of 64 bytes", 30_000_000),
    ours("mix", "random 16 to 1,024 bytes, 10,000 live", 10_000_000),
    ours("mix2", "the same in 2 threads", 8_000_000, 2, program="mix", threads=2),
    ours("mix64", "the same in 64 threads", 100_000, 64, program="mix", threads=64, metric=WALL),
    ours("grow", "realloc growth, by bytes and by half, to 64 KiB", 1_500_000, unit="realloc"),
    ours("handoff", "one thread allocates, another frees", 3_000_000, unit="block"),
    ours("server1", "server with 1 thread", 8_000_000, 1, program="server", metric=THROUGHPUT),
    ours("server", "2 threads replace random blocks; their heirs free them", 8_000_000, 2, threads=2,
         metric=THROUGHPUT),
    ours("server64", "server with 64 threads", 60_000, 64, program="server", threads=64,
         metric=THROUGHPUT),
    ours("threads", "short threads of 8 blocks each", 16_000, unit="thread"),
    ours("fragment", "16 bytes to 256 KiB, many lifetimes", 3_000_000),

    ours("getc", "getc over a file", 120_000_000, "{inputs}/letters", unit="character", prepare=letters),
    ours("shared_ptr", "copies of a std::shared_ptr", 80_000_000, unit="copy"),
    ours("single", "one thread, random 16 to 4,096 bytes", 4_000_000, 1, 4096, program="mix"),

    ours("startup", "/bin/true, again and again", 1000, "/bin/true", metric=WALL, unit="start"),
    ours("idle", f"1,000 threads and {idle_mebibytes():,} MiB, asleep", 3000, 1000, idle_mebibytes(),
         unit="millisecond"),

    # Done at once, and then quiet for BENCH_QUIET_MS. Where BENCH_TRIM is set they call malloc_trim before that.
    ours("burst", "8 threads at once allocate 25 MiB each, and free 49 blocks of 50", 10, unit="burst", threads=8,
         metric=THROUGHPUT),
    ours("burst in turn", "burst, its threads one after the other", 3, 1, program="burst", unit="burst", threads=8,
         metric=THROUGHPUT),
    ours("gulps", "burst in turn, written as fast as the kernel gives pages", 3, 1, 1, program="burst", unit="burst",
         threads=8, metric=THROUGHPUT),
    ours("tides", "4 threads with 5 MiB each that live, and 40 MiB of changing sizes that come and go", 12,
         unit="tide", metric=THROUGHPUT),
    real("drops", "python3 builds and drops structures in 4 threads in turn, PYTHONMALLOC=malloc", 14, python_script,
         "structure", prepare=script(DROPS), environment={"PYTHONMALLOC": "malloc"}, needs=("python3",),
         metric=THROUGHPUT),
    real("drops, pymalloc", "drops with Python's own allocator", 14, python_script, "structure",
         prepare=script(DROPS), needs=("python3",), metric=THROUGHPUT),
    ours("latency", "a pair and a step of a tide in 300 MiB, every 100 µs in 2 threads", 10_000, unit="millisecond",
         threads=2, metric=WALL),

    real("python3", "json of strings and integers, PYTHONMALLOC=malloc", 14_000,
         python_script, "record", prepare=script(PYTHON),
         environment={"PYTHONMALLOC": "malloc"}),
    real("perl", "a hash of strings, sorted, split, substituted", 500_000,
         lambda count, inputs: ["perl", inputs / "script", count], "string", prepare=script(PERL)),
    real("sqlite3", "rows, an index, group by, update, in memory", 200_000,
         lambda count, _: ["sqlite3", ":memory:", " ".join(SQLITE.format(count=count).split())], "row"),
    real("redis", "redis-server under redis-benchmark", 30_000, redis_server, "request",
         needs=("redis-server", "redis-benchmark"), client=redis_benchmark),
    real("clang", "-O2 of generated C", 200, clang_compiler, "function", prepare=c_source),
    real("gcc", "its cc1, -O2 of the same", 200, gcc_compiler, "function", prepare=c_source),
    real("git", "log -p --stat", 6000, git_log, "commit", prepare=repository),
)

PACKAGES = {"python3": "python3", "perl": "perl", "sqlite3": "sqlite3", "redis-server": "redis-server",
            "redis-benchmark": "redis-tools", "clang": "clang", "gcc": "gcc", "git": "git"}


class Works:
    """The workloads that this machine has, ready to be run; and why the others are not there. `only`: those that are
    asked for at all."""

    def __init__(self, runner, only=()):
        self.runner = runner
        self.present = {}
        self.missing = {}  # name: why
        for workload in WORKLOADS:
            if only and workload.name not in only:
                continue
            lacking = [f"{need} (Debian's package {PACKAGES[need]})" for need in workload.needs
                       if not shutil.which(need, path=runner.environment["PATH"])]
            if not workload.needs:
                program = workload.command(runner.build, 1, "")[0]
                lacking = [] if program.exists() else [str(program.name)]
            if lacking:
                self.missing[workload.name] = f"there is no {', '.join(lacking)}"
            else:
                self.present[workload.name] = workload

    def choose(self, names):
        return [self.present[name] for name in names if name in self.present]

    def inputs(self, workload):
        """The directory with what the workload reads, made once."""
        directory = self.runner.directory / f"inputs-{workload.name}"
        if not directory.exists():
            directory.mkdir()
            if workload.prepare:
                workload.prepare(directory)
        return directory

    def run(self, workload, contender, scale=1.0, **how):
        """`how`: a deadline and a cgroup, as Runner.started takes them; a server has none."""
        inputs = self.inputs(workload)
        count = max(1, round(workload.operations * scale))
        build = self.runner.build
        if workload.client:
            return self.runner.run_server(contender, lambda port: workload.command(build, port, inputs),
                                          lambda port: workload.client(port, count))
        return self.runner.run(contender, workload.command(build, count, inputs), workload.environment, **how)

    def instructions(self, workload, contender, count):
        command = workload.command(self.runner.build, count, self.inputs(workload))
        return self.runner.instructions(contender, command, workload.environment)


def describe(name):
    return next(w for w in WORKLOADS if w.name == name)
