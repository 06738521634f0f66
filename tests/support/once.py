"""What a process does once and tests would do again and again.

Statements: most tests open an engine of their own, and each would compile anew what the one before it had compiled, a
seventh of what store tests cost. Commands: all are built from their functions whenever one is run. Certificates: those
that the system trusts are read by each HTTP client, though nearly all of ours speak to loopback in clear.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from functools import cache
from typing import Any

import httpcore2
import typer.testing
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


def choose() -> None:
    """Before any engine, command or client is made."""
    Engine.__init__ = _make_sharing  # type: ignore[method-assign]
    typer.testing._get_command = cache(typer.testing._get_command)
    httpcore2.default_ssl_context = cache(httpcore2.default_ssl_context)
