# SPDX-License-Identifier: MIT
"""What is compared: the program as it is, memwatch in its modes, other allocators and other watchers.

To add one, add a line to the table CONTENDERS, and its name to the experiments that are to have it.
"""

import pathlib
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass, field, replace

BASE = "plain"
MEMWATCH = "preload/libmemwatch.so"
# The library is to watch as it does by default; only its lines have nowhere to go.
MEMWATCH_QUIET = {"MEMWATCH_OUTPUT": "none"}
FORWARD = "bench/bench_forward.so"
SLEEPER = "bench/bench_sleeper.so"
TRIMMER = "bench/bench_trimmer.so"
JEMALLOC, TCMALLOC, TCMALLOC_MINIMAL, MIMALLOC, MEMUSAGE = (
    "libjemalloc.so.2", "libtcmalloc.so.4", "libtcmalloc_minimal.so.4", "libmimalloc.so.2.0", "libmemusage.so")


@dataclass(frozen=True)
class Contender:
    name: str
    what: str
    preload: tuple = ()  # libraries: a path in the build directory, or a name to be found on the system
    environment: dict = field(default_factory=dict)
    prefix: tuple = ()  # the command before the program's
    over: str = ""  # the contender that it adds something to; it is compared to that one, too
    package: str = ""  # Debian's, which has what it needs

    @property
    def is_memwatch(self):
        return MEMWATCH in self.preload or any(p.endswith("/libmemwatch.so") for p in self.preload)

    @property
    def quiet_clock(self):
        return {"MEMWATCH_INTERVAL": "24h"} if self.is_memwatch else {}


def memwatch(name, what, *, above=None, over="", package="", **options):
    environment = MEMWATCH_QUIET | {f"MEMWATCH_{k.upper()}": v for k, v in options.items()}
    return Contender(name, what, (MEMWATCH, above) if above else (MEMWATCH,), environment, over=over, package=package)


def allocator(name, what, library, package, over="", **environment):
    return Contender(name, what, (library,), environment, over=over, package=package)


CONTENDERS = (
    Contender(BASE, "the program as it is, on glibc's allocator"),
    Contender("plain again", "the same once more: what it differs from 1 is noise"),
    Contender("forward", "a library that only passes malloc and free on: the floor", (FORWARD,)),
    Contender("sleeping pthread", "a library that only starts a pthread, which sleeps", (SLEEPER,)),
    Contender("floor", "plain, and the program itself calls malloc_trim when it is done",
              environment={"BENCH_TRIM": "1"}),
    Contender("2 arenas", "plain with MALLOC_ARENA_MAX=2", environment={"MALLOC_ARENA_MAX": "2"}),
    Contender("timer 1s", "plain, and a thread that calls malloc_trim every second", (TRIMMER,),
              {"BENCH_TRIM_EVERY_MS": "1000"}),
    Contender("timer 60s", "plain, and a thread that calls malloc_trim every minute", (TRIMMER,),
              {"BENCH_TRIM_EVERY_MS": "60000"}),

    # libmemwatch.so. Where the library does not know an option of these the line is not shown.
    memwatch("memwatch", "the library with its defaults"),
    memwatch("memwatch counters", "counters without sampling", sample="0"),
    memwatch("memwatch exact", "every block with its stack", sample="1"),
    memwatch("memwatch no monitor", "defaults without a monitor thread", monitor="off"),
    memwatch("memwatch thread", "defaults with a monitor that is a pthread", monitor="thread"),
    replace(memwatch("memwatch and floor", "memwatch, and the program itself calls malloc_trim when it is done"),
            environment=MEMWATCH_QUIET | {"BENCH_TRIM": "1"}),
    memwatch("memwatch at its limit", "MEMWATCH_LIMIT=200M, which the workload passes again and again", limit="200M"),
    memwatch("memwatch/jemalloc", "defaults above jemalloc", above=JEMALLOC, over="jemalloc", package="libjemalloc2"),
    memwatch("memwatch/tcmalloc", "defaults above gperftools' tcmalloc", above=TCMALLOC, over="tcmalloc",
             package="libgoogle-perftools4"),
    memwatch("memwatch/mimalloc", "defaults above mimalloc", above=MIMALLOC, over="mimalloc",
             package="libmimalloc2.0"),

    # Other allocators.
    allocator("jemalloc", "jemalloc", JEMALLOC, "libjemalloc2"),
    allocator("jemalloc decay 0", "jemalloc, dirty_decay_ms:0", JEMALLOC, "libjemalloc2", "jemalloc",
              MALLOC_CONF="dirty_decay_ms:0"),
    allocator("tcmalloc", "gperftools' tcmalloc", TCMALLOC, "libgoogle-perftools4"),
    allocator("tcmalloc-minimal", "gperftools' tcmalloc without its profiler", TCMALLOC_MINIMAL,
              "libtcmalloc-minimal4"),
    allocator("mimalloc", "mimalloc", MIMALLOC, "libmimalloc2.0"),

    # Other watchers, as one would leave them on.
    allocator("libmemusage", "glibc's own: counters and a histogram, no stacks", MEMUSAGE, "libc6"),
    allocator("jemalloc prof", "jemalloc, prof:true,lg_prof_sample:19", JEMALLOC, "libjemalloc2", "jemalloc",
              MALLOC_CONF="prof:true,lg_prof_sample:19"),
    allocator("tcmalloc sampling", "tcmalloc, TCMALLOC_SAMPLE_PARAMETER=524288", TCMALLOC, "libgoogle-perftools4",
              "tcmalloc", TCMALLOC_SAMPLE_PARAMETER="524288"),

    # Other watchers that see every block.
    allocator("jemalloc prof 0", "jemalloc, prof:true,lg_prof_sample:0", JEMALLOC, "libjemalloc2", "jemalloc",
              MALLOC_CONF="prof:true,lg_prof_sample:0"),
    allocator("tcmalloc HEAPPROFILE", "gperftools' heap profiler", TCMALLOC, "libgoogle-perftools4", "tcmalloc",
              HEAPPROFILE="heap-profile"),
    Contender("heaptrack raw", "heaptrack, its data not yet interpreted", prefix=("heaptrack", "-r", "-o", "heaptrack"),
              package="heaptrack"),
    Contender("heaptrack", "heaptrack as its script runs it", prefix=("heaptrack", "-o", "heaptrack"),
              package="heaptrack"),
    Contender("massif", "valgrind's massif", prefix=("valgrind", "--tool=massif", "--massif-out-file=massif"),
              package="valgrind"),
    Contender("DHAT", "valgrind's DHAT", prefix=("valgrind", "--tool=dhat", "--dhat-out-file=dhat"),
              package="valgrind"),
)


def find_library(name, build):
    """The path of a library of the build directory, or of the system; None: it is not there."""
    multiarch = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    directories = [build] if "/" in name else map(pathlib.Path, (f"/usr/lib/{multiarch}", f"/lib/{multiarch}",
                                                                 "/usr/lib64", "/usr/lib", "/usr/local/lib"))
    return next((str(d / name) for d in directories if (d / name).exists()), None)


class Lineup:
    """The contenders that this machine has, by name, ready to be run; and why the others are not there. `only`: those
    that are asked for at all."""

    def __init__(self, build, only=()):
        self.present = {}
        self.missing = {}  # name: why, to be told
        self.unknown = {}  # name: why, of memwatch's modes that this library does not have
        for contender in CONTENDERS:
            if only and contender.name not in only:
                continue
            paths = [find_library(name, build) for name in contender.preload]
            lacking = [name for name, path in zip(contender.preload, paths) if path is None]
            lacking += [name for name in contender.prefix[:1] if not shutil.which(name)]
            if lacking:
                package = f" (Debian's package {contender.package})" if contender.package else ""
                self.missing[contender.name] = f"there is no {', '.join(lacking)}{package}"
                continue
            environment = contender.environment | ({"LD_PRELOAD": ":".join(paths)} if paths else {})
            ready = replace(contender, preload=tuple(paths), environment=environment)
            complaint = self.complaint(ready)
            if complaint:
                self.unknown[contender.name] = complaint
            else:
                self.present[contender.name] = ready

    @staticmethod
    def complaint(contender):
        """What memwatch says of options that it does not know; it names them on standard error."""
        if not contender.is_memwatch:
            return ""
        said = subprocess.run(["/bin/true"], env=contender.environment, capture_output=True, stdin=subprocess.DEVNULL,
                              timeout=30, check=False).stderr.decode(errors="replace")
        return "; ".join(line for line in said.splitlines() if "MEMWATCH_" in line)

    def choose(self, names):
        return [self.present[name] for name in names if name in self.present]


def describe(name):
    return next(c.what for c in CONTENDERS if c.name == name)


def versions(names):
    """Debian's versions of what the named contenders are made of."""
    return installed(c.package for c in CONTENDERS if c.name in names)


def installed(packages):
    """Debian's versions of those packages, of which some are "", that are there."""
    packages = sorted({package for package in packages if package})
    if not packages or not shutil.which("dpkg-query"):
        return {}
    listed = subprocess.run(["dpkg-query", "-W", "-f=${Package} ${Version}\n", *packages], capture_output=True,
                            timeout=30, check=False, text=True).stdout
    return dict(line.split() for line in listed.splitlines() if len(line.split()) == 2)
