"""From when until when a session had an address: stretches of time, made from records in whatever order. Pure.

    record says:   A      A    A+B     B         stretches:  A [since, until)
                   |      |     |      |                       |-----------|
                                                             B       |-------- until its session ends

A stretch is half-open and ends when its session does, unless something ended it before. The first statement of a
session whose Start was lost, or was the statement itself, holds from the session's beginning; a later one from its own
instant, because nobody knows since when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from radius.accounting.addressing import Said


@dataclass(slots=True, eq=False)
class Stretch:
    """One address of one session; `received_us` and `packet_sha256` are of the record that said it first.

    `stored` tells whether its row exists, `stored_since_us` under which beginning.
    """

    kind: str
    network: str
    first_port: int
    last_port: int
    since_us: int
    until_us: int | None
    received_us: int
    packet_sha256: bytes
    stored_since_us: int | None = None

    def is_of(self, said: Said) -> bool:
        return self.network == said.network and (self.first_port, self.last_port) == said.ports

    def holds(self, at_us: int) -> bool:
        return self.since_us <= at_us and (self.until_us is None or at_us < self.until_us)


@dataclass(frozen=True, slots=True)
class Statement:
    """When a record spoke, and what of. `is_newest`: nothing later is known of the session yet."""

    said: Sequence[Said]
    event_us: int
    since_us: int
    received_us: int
    packet_sha256: bytes
    is_newest: bool


def follow(stretches: list[Stretch], statement: Statement) -> list[Stretch]:
    """Take a record over into `stretches`; returns those that are new or changed."""
    changed: list[Stretch] = []
    for said in statement.said:
        if said.is_event and not said.is_given:
            changed += _taken(stretches, said, statement)
        else:
            changed += _given(stretches, said, statement)
    if statement.is_newest:
        changed += _left_out(stretches, statement)
    return list(dict.fromkeys(changed))


def _given(stretches: list[Stretch], said: Said, statement: Statement) -> list[Stretch]:
    at_us = statement.event_us
    mine = [stretch for stretch in stretches if stretch.is_of(said)]
    if any(stretch.holds(at_us) for stretch in mine):
        return []
    alike = mine if said.is_event else [stretch for stretch in stretches if stretch.kind == said.kind]
    following = min((s for s in alike if s.since_us > at_us), key=_since, default=None)
    if following is not None and following.is_of(said):
        following.since_us = at_us
        following.received_us, following.packet_sha256 = statement.received_us, statement.packet_sha256
        return [following]
    since_us = at_us if any(stretch.kind == said.kind for stretch in stretches) else statement.since_us
    until_us = None if following is None else following.since_us
    return [_begin(stretches, said, statement, since_us, until_us)]


def _taken(stretches: list[Stretch], said: Said, statement: Statement) -> list[Stretch]:
    at_us = statement.event_us
    for stretch in stretches:
        if stretch.is_of(said) and stretch.since_us <= at_us and stretch.until_us is None:
            stretch.until_us = at_us
            return [stretch]
    if any(stretch.is_of(said) and stretch.until_us == at_us for stretch in stretches):
        return []
    # Its beginning is still on the way: an empty stretch waits for it.
    return [_begin(stretches, said, statement, at_us, at_us)]


def _left_out(stretches: list[Stretch], statement: Statement) -> list[Stretch]:
    """A kind that is spoken of is spoken of completely: what is not named is not held any more."""
    kinds = {said.kind for said in statement.said if not said.is_event}
    gone = [
        stretch
        for stretch in stretches
        if stretch.kind in kinds
        and stretch.until_us is None
        and stretch.since_us < statement.event_us
        and not any(stretch.is_of(said) for said in statement.said)
    ]
    for stretch in gone:
        stretch.until_us = statement.event_us
    return gone


def _begin(stretches: list[Stretch], said: Said, statement: Statement, since_us: int, until_us: int | None) -> Stretch:
    first, last = said.ports
    stretch = Stretch(
        said.kind, said.network, first, last, since_us, until_us, statement.received_us, statement.packet_sha256
    )
    stretches.append(stretch)
    return stretch


def _since(stretch: Stretch) -> int:
    return stretch.since_us
