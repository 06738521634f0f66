"""Reading the history costs the same with ten times as many sessions in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.history import measure
from tests.support.databases import PostgresServer

pytestmark = pytest.mark.long

_SLACK_MS = 10.0
"""What the same look-up may differ by on a machine that does other things too."""


async def _slower(few_url: str, many_url: str) -> dict[str, tuple[object, object]]:
    """The looks that cost more with ten times as many, each with both figures."""
    few, many = await measure(few_url, 100_000), await measure(many_url, 1_000_000)
    looks = [name for name, found in few.items() if isinstance(found, dict) and "slowest_ms" in found]
    assert len(looks) == 6
    return {name: (few[name], many[name]) for name in looks if _ms(many[name]) > 2 * _ms(few[name]) + _SLACK_MS}


def _ms(found: object) -> float:
    """The fastest of many: what the others took longer is the machine's."""
    assert isinstance(found, dict)
    return float(found["fastest_ms"])


@pytest.mark.timeout(900)
async def test_a_million_sessions_are_read_like_a_hundred_thousand_on_sqlite(tmp_path: Path) -> None:
    assert await _slower(f"sqlite+aiosqlite:///{tmp_path}/few.db", f"sqlite+aiosqlite:///{tmp_path}/many.db") == {}


@pytest.mark.timeout(900)
async def test_a_million_sessions_are_read_like_a_hundred_thousand_on_postgresql(postgres: PostgresServer) -> None:
    few, many = postgres.create("history_few"), postgres.create("history_many")
    try:
        assert await _slower(few, many) == {}
    finally:
        postgres.drop("history_few")
        postgres.drop("history_many")
