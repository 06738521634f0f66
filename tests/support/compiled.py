"""Statements are put into words once for each kind of database, as in a process that runs for long.

Most tests open an engine of their own, and each would compile anew what the one before it had compiled: a seventh of
what store tests cost.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import Compiled

_Key = tuple[Any, ...]


class Shared(MutableMapping[_Key, Compiled]):
    """A cache of statements for engines of one kind: SQLAlchemy's keys begin with the dialect object of the engine."""

    def __init__(self) -> None:
        self._compiled: dict[_Key, Compiled] = {}

    def __getitem__(self, key: _Key) -> Compiled:
        return self._compiled[_of_kind(key)]

    def __setitem__(self, key: _Key, value: Compiled) -> None:
        self._compiled[_of_kind(key)] = value

    def __delitem__(self, key: _Key) -> None:
        del self._compiled[_of_kind(key)]

    def __iter__(self) -> Iterator[_Key]:
        return iter(self._compiled)

    def __len__(self) -> int:
        return len(self._compiled)


def _of_kind(key: _Key) -> _Key:
    dialect, *rest = key
    return (type(dialect), *rest)


_SHARED = Shared()
_make = Engine.__init__


def _make_sharing(self: Engine, *arguments: Any, **named: Any) -> None:
    _make(self, *arguments, **named)
    self.update_execution_options(compiled_cache=_SHARED)


def share() -> None:
    """From here on, engines share what they compile."""
    Engine.__init__ = _make_sharing  # type: ignore[method-assign]
