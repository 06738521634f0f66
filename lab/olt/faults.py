"""Misbehaviour on request. Each fault is armed by a test, through the object or the control socket, and stays armed
until it is cleared, unless its description says once."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Faults:
    """Faults of one OLT, all off."""

    refuse_edits: str = ""
    """Answer edit-config with operation-failed and this message."""

    drop_before: set[str] = field(default_factory=set)
    """Once per name: cut the TCP connection when this RPC ("commit" …) arrives, before it has any effect."""

    drop_after: set[str] = field(default_factory=set)
    """Once per name: carry the RPC out, then cut the connection instead of answering."""

    delay_s: float = 0.0
    """Wait this long before each answer."""

    delay_rpc: set[str] = field(default_factory=set)
    """Only these RPCs are delayed; empty means all."""

    alter_after_commit: str = ""
    """Once: an edit (XML of a <config>) that somebody else makes right after the next confirming commit."""

    def set(self, name: str, value: Any) -> None:
        """Arm or clear a fault by its field name; lists become sets. Raises KeyError for an unknown name."""
        if name not in {f.name for f in fields(self)}:
            raise KeyError(f"no fault named {name!r}")
        setattr(self, name, set(value) if isinstance(value, list) else value)
