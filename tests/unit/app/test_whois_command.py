"""`headend whois`: what is asked is understood, the answer can be signed, and the question is audited."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from controller.app import questions
from controller.app.settings import Settings
from controller.domain.errors import RuleError
from controller.store.audit import audit
from controller.store.engine import Database
from radius.protocol.codes import Attr
from radius.protocol.packet import integer_attribute
from tests.support.accounting import accounting
from tests.support.recorder import NOW, RecorderBench

T = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("203.0.113.7", ("203.0.113.7", None)),
        ("203.0.113.7:41022", ("203.0.113.7", 41_022)),
        ("2001:db8::1", ("2001:db8::1", None)),
        ("[2001:db8::1]", ("2001:db8::1", None)),
        ("[2001:db8::1]:443", ("2001:db8::1", 443)),
    ],
)
def test_an_address_may_have_a_port(text: str, place: tuple[str, int | None]) -> None:
    assert questions.place_and_instant(text, "2026-05-03T10:15:07Z") == (
        place,
        datetime(2026, 5, 3, 10, 15, 7, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("address", "instant", "said"),
    [
        ("203.0.113.7:70000", "2026-05-03T10:15:07Z", "'70000' is no port"),
        ("203.0.113.7", "2026-05-03T10:15:07", "no instant with a zone"),
        ("203.0.113.7", "yesterday", "no instant with a zone"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(address: str, instant: str, said: str) -> None:
    with pytest.raises(RuleError, match=said):
        questions.place_and_instant(address, instant)


async def test_the_answer_names_subscriber_session_and_records(sqlite_database: Database, tmp_path: Path) -> None:
    bench = RecorderBench(sqlite_database)
    mine = integer_attribute(Attr.FRAMED_IP_ADDRESS, 0xC6336409)
    await bench.send(accounting("start", b"8/07", at=T, more=mine))
    await bench.send(accounting("stop", b"8/07", at=T + 60, seconds=60, more=mine))
    await bench.stop()
    settings = Settings(data_dir=tmp_path)
    told = await questions.whois(settings, "198.51.100.9", None, NOW, actor="cli:ines", reason="request 17/26")
    assert told.splitlines()[0].split() == ["user", "name", "anna"]
    assert "session      8/07 on NAS" in told
    assert "until        2026-11-01T12:01:00+00:00" in told
    assert "record 1  start of 2026-11-01T12:00:00+00:00" in told
    assert "record 2  stop of 2026-11-01T12:01:00+00:00" in told
    assert await questions.whois(settings, "198.51.100.8", None, NOW, actor="cli:ines", reason="") == ""
    async with sqlite_database.read() as conn:
        entries = (await conn.execute(select(audit.c.actor, audit.c.object, audit.c.reason))).all()
    assert [tuple(entry) for entry in entries] == [
        ("cli:ines", "address:198.51.100.9", "request 17/26"),
        ("cli:ines", "address:198.51.100.8", None),
    ]
