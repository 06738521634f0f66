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

    @property
    def is_empty(self) -> bool:
        """It was taken away, and nobody said yet when it had been given."""
        return self.since_us == self.until_us

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
        if not said.is_event:
            changed += _named(stretches, said, statement)
        elif said.is_given:
            changed += _given(stretches, said, statement)
        else:
            changed += _taken(stretches, said, statement)
    if statement.is_newest:
        changed += _left_out(stretches, statement)
    return list(dict.fromkeys(changed))


def _named(stretches: list[Stretch], said: Said, statement: Statement) -> list[Stretch]:
    """The session has it at that moment."""
    at_us = statement.event_us
    if any(stretch.is_of(said) and stretch.holds(at_us) for stretch in stretches):
        return []
    alike = [stretch for stretch in stretches if stretch.kind == said.kind]
    following = _first_after(alike, at_us)
    if following is not None and following.is_of(said):
        return [_begin_earlier(following, statement)]
    since_us = at_us if alike else statement.since_us
    return [_begin(stretches, said, statement, since_us, None if following is None else following.since_us)]


def _given(stretches: list[Stretch], said: Said, statement: Statement) -> list[Stretch]:
    """It was given at that moment. Held already, it was taken in between, and that is still on the way."""
    at_us = statement.event_us
    mine = [stretch for stretch in stretches if stretch.is_of(said)]
    held = next((stretch for stretch in mine if stretch.holds(at_us)), None)
    if held is not None:
        if held.since_us == at_us:
            return []
        until_us, held.until_us = held.until_us, at_us
        return [held, _begin(stretches, said, statement, at_us, until_us)]
    following = _first_after(mine, at_us)
    if following is not None and following.is_empty:
        return [_begin_earlier(following, statement)]
    return [_begin(stretches, said, statement, at_us, None if following is None else following.since_us)]


def _taken(stretches: list[Stretch], said: Said, statement: Statement) -> list[Stretch]:
    at_us = statement.event_us
    mine = [stretch for stretch in stretches if stretch.is_of(said)]
    if any(stretch.until_us == at_us for stretch in mine):
        return []
    held = next((stretch for stretch in mine if stretch.holds(at_us)), None)
    if held is None:
        # Its beginning is still on the way: an empty stretch waits for it.
        return [_begin(stretches, said, statement, at_us, at_us)]
    until_us, held.until_us = held.until_us, at_us
    if until_us is None or any(stretch.since_us == until_us for stretch in mine):
        return [held]
    # It was taken later once more, so it had been given again: that is still on the way.
    return [held, _begin(stretches, said, statement, until_us, until_us)]


def _first_after(stretches: list[Stretch], at_us: int) -> Stretch | None:
    return min((stretch for stretch in stretches if stretch.since_us > at_us), key=_since, default=None)


def _begin_earlier(stretch: Stretch, statement: Statement) -> Stretch:
    stretch.since_us = statement.event_us
    stretch.received_us, stretch.packet_sha256 = statement.received_us, statement.packet_sha256
    return stretch


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
