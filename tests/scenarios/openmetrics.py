# SPDX-License-Identifier: MIT
"""Strict readers of OpenMetrics 1.0 and of Prometheus' text format 0.0.4, by their specifications, as far as types go
that memwatch uses: whatever the specification does not allow is an AssertionError."""

import re

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)?\}})? (\S+)(?: (\S+))?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?[iI]nf|NaN")
_SUFFIXES = {"gauge": [""], "counter": ["_total", "_created"], "info": ["_info"], "unknown": [""]}


class Family:
    def __init__(self, name):
        self.name = name
        self.type = self.unit = self.help = None
        self.samples = {}  # (name, labels as a sorted tuple): value

    def __repr__(self):
        return f"{self.name}: {self.type}, {self.unit}"


def _unescape(text):
    return re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), text)


def _sample(line):
    match = _SAMPLE.fullmatch(line)
    assert match, f"no sample: {line!r}"
    pairs = [(name, _unescape(value)) for name, value in re.findall(_LABEL, match[2] or "")]
    assert len({name for name, _ in pairs}) == len(pairs), f"a label is there twice: {line!r}"
    value, timestamp = match.groups()[-2:]
    assert _NUMBER.fullmatch(value), f"no number: {line!r}"
    assert timestamp is None, f"nothing of ours has a timestamp: {line!r}"
    return match[1], tuple(sorted(pairs)), float(value)


def _lines(text):
    assert isinstance(text, bytes)
    text = text.decode("utf-8")  # or it is no text of either format
    assert text.endswith("\n"), "the last line has no end"
    assert "\r" not in text
    return text[:-1].split("\n")


class _Reader:
    def __init__(self, order):
        self.families = {}
        self.order = order  # of the keywords
        self.last = None  # the family that the last line was of
        self.seen = []  # its keywords

    def family(self, name):
        if self.last is None or self.last.name != name:
            assert name not in self.families, f"{name} is there in two places"
            self.last = self.families[name] = Family(name)
            self.seen = []
        return self.last

    def comment(self, line):
        parts = line.split(" ", 3)
        assert len(parts) == 4 and parts[0] == "#" and parts[1] in self.order, f"no comment of this format: {line!r}"
        _, keyword, name, rest = parts
        assert re.fullmatch(_NAME, name), line
        family = self.family(name)
        assert not family.samples, f"{keyword} behind the samples: {line!r}"
        assert keyword not in self.seen, f"twice: {line!r}"
        assert all(self.order.index(keyword) > self.order.index(k) for k in self.seen), f"out of order: {line!r}"
        self.seen.append(keyword)
        setattr(family, keyword.lower(), rest)

    def sample(self, line, suffixes):
        name, labels, value = _sample(line)
        family = self.last
        assert family and family.type in suffixes, f"a sample of no family: {line!r}"
        assert name in [family.name + suffix for suffix in suffixes[family.type]], f"not of {family}: {line!r}"
        assert (name, labels) not in family.samples, f"twice: {line!r}"
        if family.type == "counter":
            assert value >= 0, f"a counter below 0: {line!r}"
        if family.type == "info":
            assert value == 1, f"an info other than 1: {line!r}"
        family.samples[name, labels] = value


def parse(text):
    """OpenMetrics. Returns {name: Family}."""
    lines = _lines(text)
    assert lines.pop() == "# EOF", "it does not end with # EOF"
    reader = _Reader(["TYPE", "UNIT", "HELP"])
    for line in lines:
        assert line, "an empty line"
        if line.startswith("#"):
            assert line != "# EOF", "# EOF is not the end"
            reader.comment(line)
        else:
            reader.sample(line, _SUFFIXES)
    for family in reader.families.values():
        assert family.type in _SUFFIXES, family
        if family.unit is not None:
            assert family.unit and family.name.endswith("_" + family.unit), family
            assert family.type in ("gauge", "counter"), f"{family} has no unit"
        assert not any(family.name.endswith(suffix) for suffix in ("_total", "_created", "_info")), family
        if family.help:
            assert not re.search(r'\\[^n\\"]|(?<!\\)"', family.help), f"not escaped: {family.help}"
    return reader.families


def parse_text(text):
    """The text format 0.0.4. Returns the same, the families by the names of their samples."""
    reader = _Reader(["TYPE", "HELP"])
    for line in _lines(text):
        if line.startswith("# "):
            reader.comment(line)
        elif line:
            reader.sample(line, {"gauge": [""], "counter": [""], "untyped": [""]})
    return reader.families


def values(families, **labels):
    """{sample name: value} of those samples that have all these labels; of several, the sum."""
    result = {}
    for family in families.values():
        for (name, pairs), value in family.samples.items():
            if set(labels.items()) <= set(pairs):
                result[name] = result.get(name, 0) + value
    return result
