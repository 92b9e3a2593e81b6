# SPDX-License-Identifier: MIT
"""A reader of segments, by docs/segment.md and the layout in common/segment.h, and what is to be true of every one."""

import collections
import struct

SECTIONS = ("snapshot", "control", "events", "seconds", "minutes", "modules", "buckets", "stacks", "samples", "slots")
STARTING, RUNNING, ENDED = range(3)
OBJECT = 65536
MMAP, TRUNCATED = 1, 2
FIRST_STACK = 8
STACK_WORDS = 16
DEEPEST = 64
SIZE_CLASSES = 102
FREED_CLASSES, ALLOCATED_CLASSES = 129, 1153

Stack = collections.namedtuple("Stack", "number next hash depth flags allocated_objects allocated_bytes freed_objects "
                                        "freed_bytes allocated_samples freed_samples frames")
Sample = collections.namedtuple("Sample", "address bytes objects born_ns stack next_free")
Module = collections.namedtuple("Module", "start end path")


def rounded(number, divisor):
    return (number + divisor // 2) // divisor


def size_class(usable_bytes):
    if usable_bytes <= 1024:
        return (usable_bytes - 1) // 16 if usable_bytes else 0
    return min(53 + (usable_bytes - 1).bit_length(), SIZE_CLASSES - 1)


class Segment:
    """Of a process that is dead: nothing in it moves."""

    def __init__(self, path):
        data = memoryview(path.read_bytes())
        (magic, self.version, count, self.segment_bytes, self.page_bytes, self.pid, self.pid_namespace, self.start_ticks,
         self.started_ns, self.started_unix_ns, self.sample_mean_bytes, self.scale_bytes, self.overhead_bytes,
         self.parent_pid) = struct.unpack_from("=QIIQIIQQQQQQQQ", data)
        assert data[:8] == b"memwatch" and magic, "no segment"
        assert len(data) == self.segment_bytes and count >= len(SECTIONS)
        self.comm = bytes(data[96:160]).split(b"\0")[0].decode()
        places = {name: struct.unpack_from("=QII", data, 736 + 16 * i) for i, name in enumerate(SECTIONS)}
        (self.state, self.modules_used, self.slots_used, self.exited_status, self.stacks_used,
         self.events_next) = struct.unpack_from("=IIIIQQ", data, 1280)
        self.samples_used, self.samples_free = struct.unpack_from("=QQ", data, 1472)
        (self.dropped_samples, self.dropped_bytes, self.dropped_stacks, self.dropped_modules,
         self.dropped_slots) = struct.unpack_from("=QQQQQ", data, 1536)
        self._data, self._places = data, places
        self._read_stacks()
        self._read_samples()
        self._read_slots()
        self._read_modules()

    def _section(self, name, used=None):
        offset, item_bytes, capacity = self._places[name]
        if used is not None:
            assert used <= capacity, f"{name}: {used} of {capacity}"
        return self._data[offset:offset + item_bytes * (capacity if used is None else used)]

    def _read_stacks(self):
        words = self._section("stacks", self.stacks_used)
        buckets = self._section("buckets").cast("I")
        self.stacks = {}
        for index in range(len(buckets)):
            number, above = buckets[index], self.stacks_used
            while number:
                assert FIRST_STACK <= number < above, "a chain leads to older stacks only"
                fields = struct.unpack_from("=IIHH4xQQQQQQ", words, 8 * number)
                depth = fields[2]
                assert 1 <= depth <= DEEPEST and number + STACK_WORDS + depth <= self.stacks_used
                frames = struct.unpack_from(f"={depth}Q", words, 8 * (number + STACK_WORDS))
                assert number not in self.stacks, "in two chains"
                assert fields[1] & (len(buckets) - 1) == index, "in another's chain"
                self.stacks[number] = Stack(number, *fields, frames)
                number, above = fields[0], number
        end = FIRST_STACK
        for number in sorted(self.stacks):
            assert number >= end, "within another"
            end = number + STACK_WORDS + self.stacks[number].depth

    def _read_samples(self):
        items = [Sample(*item) for item in struct.iter_unpack("=QQQQII", self._section("samples", self.samples_used))]
        self.samples = [item for item in items if item.address]
        self.free_samples = []
        index = self.samples_free & 0xffffffff
        while index:
            self.free_samples.append(items[index - 1])
            assert len(self.free_samples) <= len(items), "the list of free samples has no end"
            index = items[index - 1].next_free

    def _read_slots(self):
        """Sums over all slots. In Mallocs, Frees: by size class."""
        _, item_bytes, _ = self._places["slots"]
        self.mallocs, self.frees = [0] * SIZE_CLASSES, [0] * SIZE_CLASSES
        self.allocated_bytes = self.freed_bytes = self.chosen = 0
        slots = self._section("slots", self.slots_used)
        for i in range(self.slots_used):
            words = slots[i * item_bytes:(i + 1) * item_bytes].cast("Q").tolist()
            self.chosen += words[4]
            at = 5
            self.freed_bytes += self._add_classes(self.frees, words[at:at + FREED_CLASSES])
            at += FREED_CLASSES
            for of, name in ((self.frees, "freed_bytes"), (self.mallocs, "allocated_bytes")):
                for k in range(SIZE_CLASSES):
                    of[k] += words[at + k]
                setattr(self, name, getattr(self, name) + words[at + SIZE_CLASSES])
                at += SIZE_CLASSES + 1
            self.allocated_bytes += self._add_classes(self.mallocs, words[at:at + ALLOCATED_CLASSES])

    def _add_classes(self, to, counts):
        total = 0
        for i, count in enumerate(counts):
            if count:
                usable_bytes = i * self.scale_bytes - self.overhead_bytes
                to[size_class(usable_bytes)] += count
                total += count * usable_bytes
        return total

    def _read_modules(self):
        self.modules = []
        for fields in struct.iter_unpack("=QQQQI32s412s", self._section("modules", self.modules_used)):
            if fields[0]:
                self.modules.append(Module(fields[0], fields[1], fields[6].split(b"\0")[0].decode()))

    def heap_stacks(self):
        return [stack for stack in self.stacks.values() if not stack.flags & MMAP]

    def profile_blocks(self):
        """Blocks that the stacks say are live; of a profile in which every block is followed."""
        return sum(stack.allocated_samples - stack.freed_samples for stack in self.heap_stacks())

    def heap_blocks(self):
        return sum(self.mallocs) - sum(self.frees)

    def check(self, threads, blocks_before=None, code_everywhere=True):
        """Is it consistent, when so many threads may have been killed in the midst of an allocation or a free?

        1. What was freed had been allocated: of the whole heap, in blocks and bytes; of each size class; of each stack,
           in blocks, bytes and samples.
        2. A sample is counted before it is published and taken away before it counts as freed: no stack has less than
           its live samples stand for, in blocks, bytes and samples.
        3. And none has more, but for what the killed threads had under way: one sample each, in all stacks together.
        4. Each live sample belongs to a stack, and no two are at one address, but for those that realloc has moved and
           not yet told of. None of them is in the list of free ones, and none is lost from both but what is under way.
        5. Where every block is followed, the profile and the threads' counters, which are written apart from each other,
           have the same number of live blocks, but for those under way; blocks_before are from before the profile.
        6. What sampling has chosen is in the profile, or was dropped and counted, or is under way.
        7. Frames are in modules that are known, where all modules found room. (Not those of code that is compiled at run
           time: here is none.)
        """
        assert self.version == 2 and self.state in (STARTING, RUNNING, ENDED)
        # 1
        assert self.freed_bytes <= self.allocated_bytes
        for mallocs, frees in zip(self.mallocs, self.frees):
            assert frees <= mallocs
        # 2
        standing = collections.defaultdict(lambda: [0, 0, 0])
        for sample in self.samples:
            assert sample.stack in self.stacks, "a sample of no stack"
            sums = standing[sample.stack]
            for i, value in enumerate((sample.objects, rounded(sample.bytes * sample.objects, OBJECT), 1)):
                sums[i] += value
        under_way = 0
        for stack in self.stacks.values():
            live = (stack.allocated_objects - stack.freed_objects, stack.allocated_bytes - stack.freed_bytes,
                    0 if stack.flags & MMAP else stack.allocated_samples - stack.freed_samples) # mappings go in pieces
            assert min(live) >= 0, f"more was freed than allocated: {stack}"
            for has, stands in zip(live, standing[stack.number]):
                assert has >= stands, f"less than its samples stand for: {stack}, {standing[stack.number]}"
            if self.sample_mean_bytes > 1 and not stack.flags & MMAP:
                extra = [has - stands for has, stands in zip(live, standing[stack.number])]
                # 3: counted as objects, then bytes, then samples: the first of them to differ tells
                under_way += max(extra[2], 1 if any(extra) else 0)
        assert under_way <= threads, f"{under_way} samples under way"
        # 4
        if self.sample_mean_bytes > 1:
            addresses = {sample.address for sample in self.samples}
            assert len(self.samples) - len(addresses) <= threads, "two live samples at one address"
            assert not any(sample.address for sample in self.free_samples), "a live sample is in the list of free ones"
            assert 0 <= self.samples_used - len(self.samples) - len(self.free_samples) <= threads, "samples are lost"
        # 5
        if self.sample_mean_bytes == 1 and blocks_before is not None:
            difference = self.profile_blocks() + self.dropped_stacks - (self.heap_blocks() - blocks_before)
            assert abs(difference) <= threads, f"{difference} blocks more in the profile than in the counters"
        # 6
        noted = sum(stack.allocated_samples for stack in self.heap_stacks())
        if self.sample_mean_bytes > 1:
            assert noted + self.dropped_samples + self.dropped_stacks <= self.chosen
        # 7
        for stack in self.stacks.values() if code_everywhere and not self.dropped_modules else ():
            for frame in stack.frames:
                assert any(module.start <= frame - 1 < module.end for module in self.modules), f"{frame:#x} in no module"
