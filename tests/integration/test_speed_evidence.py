"""A plan change on a live session of the lab's BRAS, as it is and as it misbehaves: what counts as proof of the speed.

change_speed ── CoA ──→ BRAS ── Interim-Update ──→ recorder → session → observed_rate → verdict
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from controller.domain.clock import SystemClock
from controller.domain.ports import CoaOutcome
from controller.domain.service import SpeedProfile
from controller.provisioning import verify
from controller.provisioning.model import SessionVerification
from controller.store.engine import Database
from lab.bras.nas import Bras, BrasSettings
from lab.bras.session import Line, Session
from lab.clock import now
from radius.nas_registry import NasChange
from radius.room import RadiusRoom
from tests.support.radius import GOLD, SECRET, SERVICE, recording_room, register

SILVER = SpeedProfile("silver-50", 50_000_000, 10_000_000)
LINE = Line("anna", "hunter2", "02:00:00:00:00:01", 1, "ether1")


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: the session table is tested on both elsewhere."""
    return sqlite_database


@dataclass
class Changed:
    """A live session whose plan was changed."""

    room: RadiusRoom
    bras: Bras
    session: Session
    outcome: CoaOutcome

    async def verdict(self) -> SessionVerification:
        """What the next accounting record makes of it."""
        since = SystemClock().now() - timedelta(microseconds=1)
        await self.bras.interim(self.session)
        (key,) = await self.room.sessions.live_sessions(SERVICE)
        seen = await self.room.sessions.observed_rate(key, since)
        return verify.sessions(SILVER, [(key, seen)], await self.room.sessions.failures(SERVICE))


@asynccontextmanager
async def changed(
    database: Database, directory: Path, fault: str | None = None, *, reports_rate: bool = False
) -> AsyncIterator[Changed]:
    """anna is in with gold-100, and the BRAS was asked for silver-50."""
    async with recording_room(database, directory) as running:
        room = running.room
        bras = _bras(room, directory, reports_rate)
        bras.bind()
        try:
            await register(room, address="127.0.0.2", vendor="mikrotik", coa_port=bras.coa_port)
            session = await bras.login("anna", wait_for_start=True)
            assert (session.downstream_bps, session.upstream_bps) == (100_000_000, 20_000_000)
            if fault is not None:
                setattr(bras.dynauth.faults, fault, True)
            (key,) = await room.sessions.live_sessions(SERVICE)
            yield Changed(room, bras, session, await room.sessions.change_speed(key, SILVER))
        finally:
            await bras.close()


def _bras(room: RadiusRoom, directory: Path, reports_rate: bool) -> Bras:
    listener = room.listener
    settings = BrasSettings(
        "127.0.0.2",
        SECRET,
        ("127.0.0.1", listener.auth_port),
        ("127.0.0.1", listener.acct_port),
        directory / "bras.json",
        reports_rate=reports_rate,
    )
    return Bras(settings, [LINE], now)


async def test_a_bras_that_reports_its_rates_verifies_the_speed(database: Database, tmp_path: Path) -> None:
    async with changed(database, tmp_path, reports_rate=True) as line:
        verdict = await line.verdict()
        assert (line.outcome.result, verdict.state) == ("ack", "verified")
        assert "verified by rate" in verdict.details[0]


async def test_class_alone_is_taken_and_called_so_unless_the_nas_must_show_a_rate(
    database: Database, tmp_path: Path
) -> None:
    async with changed(database, tmp_path) as line:
        verdict = await line.verdict()
        assert (line.outcome.result, verdict.state) == ("ack", "class-echoed")
        assert "Class echoed only" in verdict.details[0]
        [nas] = await line.room.nas.list(after=None, limit=10)
        await line.room.nas.change(nas.nas_id, NasChange(class_proves_speed=False), actor="user:test")
        assert (await line.verdict()).state == "pending"


@pytest.mark.parametrize(
    ("fault", "answer", "words"),
    [
        ("class_after_half", "ack", "upstream is 20 Mbit/s, desired 10 Mbit/s"),
        ("nak_after_half", "nak", "upstream is 1 Gbit/s, desired 10 Mbit/s"),
        ("ack_without_applying", "ack", "downstream is 100 Mbit/s, desired 50 Mbit/s"),
    ],
)
async def test_half_a_change_is_seen_whatever_was_answered_where_the_bras_reports_its_rates(
    database: Database, tmp_path: Path, fault: str, answer: str, words: str
) -> None:
    async with changed(database, tmp_path, fault, reports_rate=True) as line:
        verdict = await line.verdict()
        state = "refused" if answer == "nak" else "mismatch"
        assert (line.outcome.result, verdict.state) == (answer, state)
        assert words in verdict.details[0]


async def test_half_a_change_with_the_whole_class_is_beyond_what_class_can_show(
    database: Database, tmp_path: Path
) -> None:
    """Why a Class alone is called "class-echoed", and why a NAS that reports its rates should be made to."""
    async with changed(database, tmp_path, "class_after_half") as line:
        assert line.session.upstream_bps == GOLD.upstream_bps
        assert (await line.verdict()).state == "class-echoed"


@pytest.mark.parametrize(("fault", "answer"), [("nak_after_half", "nak"), ("ack_without_applying", "ack")])
async def test_a_change_that_was_not_made_is_seen_by_the_class_where_there_is_no_rate(
    database: Database, tmp_path: Path, fault: str, answer: str
) -> None:
    async with changed(database, tmp_path, fault) as line:
        verdict = await line.verdict()
        state = "refused" if answer == "nak" else "mismatch"
        assert (line.outcome.result, verdict.state) == (answer, state)
