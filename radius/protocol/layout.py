"""Layouts of packets that were seen before: where which attribute starts.

A NAS fills the same few forms again and again: the same attributes, in the same order, of the same lengths. So the
octets that make a form, which are the Length of the packet and the Type and Length of each attribute (RFC 2865 §3, §5),
are compared with those of earlier packets at once, and only a packet that has none of their forms is walked through.

What is kept is a memo of a pure function, the same for every process and peer: bounded, and never wrong, because equal
octets in those places mean equal places.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from struct import Struct
from typing import Any

_HEADER = 20
_FORMS_OF_A_SIZE = 4
_SIZES = 512
_LONGEST = 1024
"""Longer packets are rare, and comparing them would take as long as reading them."""
_LEARN_EVERY = 8
"""Where every packet has a form of its own, hardly more than the comparisons is spent on it."""


class Layout:
    """One form: `offsets` maps an attribute type to where its first occurrence starts, `repeated` has the types that
    occur more than once."""

    __slots__ = ("bits", "mask", "offsets", "readers", "repeated")

    def __init__(self, packet: bytes, offsets: Mapping[int, int]) -> None:
        """`packet` was walked through: its lengths hold."""
        mask = bytearray(len(packet))
        mask[2:4] = b"\xff\xff"
        position = _HEADER
        repeated = set()
        while position < len(packet):
            if position != offsets[packet[position]]:
                repeated.add(packet[position])
            mask[position : position + 2] = b"\xff\xff"
            position += packet[position + 1]
        self.mask = int.from_bytes(mask, "big")
        self.bits = int.from_bytes(packet, "big") & self.mask
        self.offsets = offsets
        self.repeated = frozenset(repeated)
        self.readers: dict[Integers, tuple[Any, Any]] = {}


class Layouts:
    """What was learnt, by the size of the packet."""

    __slots__ = ("_by_size", "_unknown")

    def __init__(self) -> None:
        self._by_size: dict[int, list[Layout]] = {}
        self._unknown = 0

    def find(self, datagram: bytes) -> Layout | None:
        """The form that this datagram has; None where it must be walked through."""
        layouts = self._by_size.get(len(datagram))
        if layouts is not None:
            number = int.from_bytes(datagram, "big")
            for layout in layouts:
                if number & layout.mask == layout.bits:
                    return layout
        return None

    def learn(self, packet: bytes, offsets: Mapping[int, int]) -> Layout | None:
        """Keep the form of one in eight packets that had none yet; the oldest of its size makes room."""
        self._unknown += 1
        if self._unknown % _LEARN_EVERY or len(packet) > _LONGEST:
            return None
        if len(self._by_size) >= _SIZES:
            self._by_size.clear()
        layout = Layout(packet, offsets)
        self._by_size[len(packet)] = [layout, *self._by_size.get(len(packet), ())][:_FORMS_OF_A_SIZE]
        return layout


class Integers:
    """Reads the 32-bit values of some attribute types together ("integer" and "time" of RFC 2865 §5)."""

    __slots__ = ("_kinds",)

    def __init__(self, first: int, second: int, *kinds: int) -> None:
        self._kinds = (first, second, *kinds)

    def read(self, data: bytes, layout: Layout) -> tuple[int | None, ...] | None:
        """Values in the order of the kinds, None for one that is absent. None where one of them has not four octets."""
        reader = layout.readers.get(self)
        if reader is None:
            made = self._reader(data, layout.offsets)
            if made is None:
                return None
            reader = layout.readers[self] = made
        unpack, pick = reader
        values: tuple[int | None, ...] = pick((*unpack(data), None))
        return values

    def _reader(self, data: bytes, offsets: Mapping[int, int]) -> tuple[Any, Any] | None:
        present = sorted((offsets[kind] + 2, kind) for kind in self._kinds if kind in offsets)
        if any(data[position - 1] != 6 for position, _ in present):
            return None
        form, end = ">", 0
        for position, _ in present:
            form += f"{position - end}xI"
            end = position + 4
        order = [kind for _, kind in present]
        # What is absent is read from the None that stands behind the values.
        pick = itemgetter(*(order.index(kind) if kind in order else len(order) for kind in self._kinds))
        return Struct(form).unpack_from, pick
