# SPDX-License-Identifier: MIT
"""A reader of pprof's profile format, by the format's own description, as far as the scenarios need it."""

import gzip


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _fields(data):
    """(number, value) of each field of a message: an int, or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value, at = _varint(data, at)
        elif key & 7 == 2:
            length, at = _varint(data, at)
            value = data[at:at + length]
            assert len(value) == length, "cut off"
            at += length
        else:
            raise AssertionError(f"wire type {key & 7}")
        yield key >> 3, value


def _all(data, number):
    """The values of a repeated field; of numbers, packed or not."""
    return [value for n, value in _fields(data) if n == number]


def _one(data, number):
    return ([0] + _all(data, number))[-1]


def _numbers(data, number):
    result = []
    for value in _all(data, number):
        if isinstance(value, int):
            result.append(value)
            continue
        at = 0
        while at < len(value):
            item, at = _varint(value, at)
            result.append(item)
    return [item - (1 << 64) if item >> 63 else item for item in result]


class Profile:
    """types: ["alloc_objects", …]; samples: (functions, the innermost first; values as types); mappings: paths."""

    def __init__(self, path):
        with gzip.open(path) as file:
            data = file.read()
        strings = [value.decode() for value in _all(data, 6)]
        assert strings[0] == "", "the first string is to be empty"
        self.types = [strings[_one(value, 1)] for value in _all(data, 1)]
        self.units = [strings[_one(value, 2)] for value in _all(data, 1)]
        self.default_type = strings[_one(data, 14)]
        self.period = _one(data, 12)
        self.mappings = [strings[_one(value, 5)] for value in _all(data, 3)]
        functions = {_one(value, 1): strings[_one(value, 2)] for value in _all(data, 5)}
        locations = {}
        for value in _all(data, 4):
            lines = [functions[_one(line, 1)] for line in _all(value, 4)]
            locations[_one(value, 1)] = lines or [hex(_one(value, 3))]
        self.samples = []
        for value in _all(data, 2):
            names = [name for location in _numbers(value, 1) for name in locations[location]]
            values = _numbers(value, 2)
            assert len(values) == len(self.types), "each sample has a value of each type"
            self.samples.append((names, dict(zip(self.types, values))))

    def total(self, kind):
        return sum(values[kind] for _, values in self.samples)

    def of_function(self, name, kind):
        return sum(values[kind] for names, values in self.samples if name in names)
