# SPDX-License-Identifier: MIT
"""What a program says of its sites (tests/programs/sites.h), and what memwatch says of them."""

from harness import memwatch


class Truth:
    """What the program says of one of its sites."""

    def __init__(self, line):
        self.name, *numbers = line.split()
        self.live_bytes, self.live_blocks, self.allocated_bytes, self.allocated_blocks = map(int, numbers)


def truth_of(output):
    lines = output.decode().splitlines()
    assert lines[-1] == "end"
    return [Truth(line) for line in lines[:-1]]


def folded(segment, *options):
    """(names from the outside in, value) of each stack."""
    stacks = []
    for line in memwatch("profile", segment, "--folded", *options).splitlines():
        names, value = line.rsplit(" ", 1)
        stacks.append((names.split(";"), int(value)))
    return stacks


def of_site(stacks, site):
    return sum(value for names, value in stacks if site in names)
