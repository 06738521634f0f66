"""Which of the 256 identifiers of a connection are free, and what stands under the others. No sockets here.

A request that was given up keeps its identifier until its late answer has come: only so can that be told from a forged
one, which ends the connection (RFC 6613 §2.6.4). When all are taken the one that was given up first is used again.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Request = TypeVar("Request")


class Identifiers(Generic[Request]):
    """`take` one for a request, `find` it by that when the answer is here, `settle` or `give_up` at the end."""

    def __init__(self) -> None:
        self._free = list(range(256))
        self._taken: dict[int, Request] = {}
        self._given_up: dict[int, None] = {}

    def __len__(self) -> int:
        """How many answers are waited for."""
        return len(self._taken) - len(self._given_up)

    @property
    def has_room(self) -> bool:
        return bool(self._free or self._given_up)

    def take(self) -> int:
        """An identifier, to be filled by `keep`. Raises IndexError when there is none: look at `has_room` first."""
        if self._free:
            return self._free.pop()
        oldest = next(iter(self._given_up), None)
        if oldest is None:
            raise IndexError("256 requests are outstanding")
        del self._given_up[oldest], self._taken[oldest]
        return oldest

    def keep(self, identifier: int, request: Request) -> None:
        self._taken[identifier] = request

    def find(self, identifier: int) -> Request | None:
        return self._taken.get(identifier)

    def settle(self, identifier: int) -> None:
        """It was answered, or never sent: to the other end, so that an identifier rests as long as it can."""
        self._taken.pop(identifier, None)
        self._given_up.pop(identifier, None)
        self._free.insert(0, identifier)

    def give_up(self, identifier: int) -> None:
        """Nobody waits any more; its answer may still come."""
        if identifier in self._taken:
            self._given_up[identifier] = None

    def requests(self) -> list[Request]:
        return list(self._taken.values())
