# SPDX-License-Identifier: MIT
"""Memory cgroups of the bench's own: below the one that it runs in, or, with v2, where a group that holds processes has
no limited children, below an ancestor of that one."""

import itertools
import os
import pathlib
import re
import time
from dataclasses import dataclass

REMOVAL_DEADLINE_S = 10
NUMBERS = itertools.count()


class Unavailable(Exception):
    """Why no group can be had."""


@dataclass(frozen=True)
class Version:
    """What the kernel calls it."""

    limit: str
    swap: tuple  # a file and what is written there for "none besides memory"; LIMIT stands for the limit
    others: tuple
    kills: str  # the file with a line oom_kill


V1 = Version("memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", "LIMIT"), (("memory.swappiness", "0"),),
             "memory.oom_control")
V2 = Version("memory.max", ("memory.swap.max", "0"), (), "memory.events")


class Group:
    """A new group with a limit. A context manager, which removes it; its processes must have ended."""

    def __init__(self, parent, version, limit_bytes):
        self.path = parent / f"memwatch-bench-{os.getpid()}-{next(NUMBERS)}"
        self.version, self.limit_bytes = version, limit_bytes

    def __enter__(self):
        self.path.mkdir()
        (self.path / self.version.limit).write_text(str(self.limit_bytes))
        for name, value in (self.version.swap, *self.version.others):
            if (self.path / name).exists():
                (self.path / name).write_text(value.replace("LIMIT", str(self.limit_bytes)))
        return self

    def __exit__(self, *exception):
        end = time.monotonic() + REMOVAL_DEADLINE_S
        while True:
            try:
                return self.path.rmdir()
            except OSError:  # what was killed is still leaving
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    @property
    def entrance(self):
        return self.path / "cgroup.procs"

    def kills(self):
        """How many processes the kernel has killed in it for want of memory."""
        found = re.search(r"^oom_kill (\d+)$", (self.path / self.version.kills).read_text(), re.MULTILINE)
        return int(found[1])


def own():
    """The directory of the memory cgroup that this process is in, and the controller's version."""
    paths = {controllers: path for _, controllers, path in
             (line.split(":", 2) for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines())}
    name = next((c for c in paths if "memory" in c.split(",")), "")
    kind, version = ("cgroup", V1) if name else ("cgroup2", V2)
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        options = after.split()[-1].split(",")
        if after.split()[0] == kind and (version is V2 or "memory" in options) and name in paths:
            inside = os.path.relpath(paths[name], root)
            if not inside.startswith(".."):
                return pathlib.Path(point, inside), pathlib.Path(point), version
    raise Unavailable("no memory controller of cgroups is mounted here")


def place():
    """Where groups with a limit can be made: the parent's directory, and the version."""
    directory, top, version = own()
    for parent in (directory, *directory.parents):
        if not parent.is_relative_to(top) or version is V1 and parent != directory:
            break
        probe = parent / f"memwatch-bench-{os.getpid()}-probe"
        try:
            probe.mkdir()
        except OSError as error:
            why = f"{parent}: {error.strerror}"
            continue
        usable = os.access(probe / version.limit, os.W_OK)
        probe.rmdir()
        if usable:
            return parent, version
        why = f"{parent}: its children have no {version.limit}"
    raise Unavailable(f"no memory cgroup can be made here ({why})")
