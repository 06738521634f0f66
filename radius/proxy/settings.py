"""What an operator may tune of proxying."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How long is waited, and when a server counts as dead."""

    try_s: float = 1.5
    """Wait for one server: two of them fit into what a NAS waits."""
    dead_after: int = 3
    """Requests in a row without an answer."""
    check_s: float = 3.0
    """How often a dead server is asked for its status."""
    revive_s: float = 60.0
    """When a server that is not asked gets another chance."""
