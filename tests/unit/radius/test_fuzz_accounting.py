"""Accounting-Requests that are rightly signed and nonsense inside: a NAS with a bug, or with bad intentions.

Nothing but PeerError comes out of them, no record ends the recorder or holds up the others, and whatever is answered
is in the log, under the digest of what was sent.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import pytest
from sqlalchemy import text

from controller.domain.errors import PeerError
from controller.store.engine import Database
from controller.store.metadata import to_micros
from radius.accounting.record import AccountingRecord
from radius.accounting.settings import AccountingSettings
from radius.accounting.views import SessionFilter
from radius.protocol.codes import ACCOUNTING_REQUEST, Attr
from radius.protocol.duplicates import InFlight
from radius.protocol.packet import Packet, attribute, vendor_attribute
from radius.protocol.server import AccountingServer
from tests.support.accounting import NAS
from tests.support.recorder import NOW, RecorderBench

_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)
PACKETS = 20_000
AT_ONCE = 500
REASONS = {"no-status-type", "no-session-id", "attribute-value"}
T = int(NOW.timestamp())

_NUMBERS = (40, 41, 42, 43, 46, 49, 52, 53, 55)
"""Attributes whose value is an integer: status, delay, octets, seconds, cause, gigawords, timestamp."""
_EDGES = (0, 1, 2, 3, 7, 8, 59, 2**31 - 1, 2**31, 2**32 - 1, T - 400, T - 300, T, T + 301)
_WORDS = (b"", b"anna", b"\x00", b"\xff\xfe", "Zoë\u202e".encode(), b"a\x00b", b"' OR 1=1 --", b"%s%n", b"x" * 253)
_RATES = (b"20M/100M", b"0/0", b"-1M/1M", b"9" * 240, b"1M/\xff", b"", b"/", "٣M/٣M".encode())


def _value(kind: int, rng: random.Random) -> bytes:
    """Mostly of the right shape with an extreme inside, sometimes of any length and content."""
    if rng.random() < 0.04:
        return rng.randbytes(rng.randrange(254))
    if kind in _NUMBERS:
        return rng.choice(_EDGES).to_bytes(4, "big") if rng.random() < 0.7 else rng.randbytes(4)
    if kind == 44:
        return rng.choice((b"%d" % rng.randrange(60), b"%d" % rng.randrange(60), rng.choice(_WORDS)))
    if kind == 8:
        return rng.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\xfe", bytes(4), rng.randbytes(rng.randrange(18))))
    return rng.choice(_WORDS)


def _datagram(rng: random.Random, identifier: int) -> bytes:
    """A signed record. Most have a status and a session, or nothing would ever reach the tables."""
    kinds = rng.choices((1, 8, 25, 26, 31, 44, 87, 95, *_NUMBERS, rng.randrange(256)), k=rng.randrange(14))
    if rng.random() < 0.95:
        kinds += [40, 44]
    rng.shuffle(kinds)
    body = b""
    for kind in kinds:
        value = rng.choices((1, 2, 3), (2, 2, 5))[0].to_bytes(4, "big") if kind == 40 else b""
        made = attribute(kind, value if value and rng.random() < 0.9 else _value(kind, rng))
        if kind == 26 and rng.random() < 0.8:
            made = vendor_attribute(14988, 8, rng.choice(_RATES))
        body += made if len(body) + len(made) < 3900 else b""
    return NAS.secret.request(ACCOUNTING_REQUEST, identifier, body, signed=False)


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[RecorderBench]:
    made = RecorderBench(database, AccountingSettings(max_sessions_in_memory=40))
    yield made
    await made.stop()


def test_a_signed_record_of_nonsense_is_read_or_refused_with_a_peer_error() -> None:
    rng = random.Random(2866)
    outcomes: Counter[str] = Counter()
    for number in range(PACKETS):
        datagram = _datagram(rng, number % 256)
        try:
            record = AccountingRecord(Packet.decode(datagram), NAS, to_micros(NOW))
        except PeerError as error:
            outcomes[error.reason] += 1
            continue
        outcomes[record.kind] += 1
        record.rate(), record.framed_ipv4(), record.terminate_cause(), record.text(31)
        assert "\x00" not in record.username
        for octets in (record.upstream_octets, record.downstream_octets):
            assert octets is None or 0 <= octets < 2**63
    assert set(outcomes) == REASONS | {"start", "stop", "interim", "on", "off", "event"}


async def test_what_is_answered_of_nonsense_is_stored_and_the_recorder_lives_on(bench: RecorderBench) -> None:
    rng = random.Random(2869)
    server = AccountingServer({NAS.address: NAS}, InFlight())
    answered: list[bytes] = []
    refused: Counter[str] = Counter()
    submitted: list[Packet] = []
    forged = repeated = 0
    bench.start()

    def answer(packet: Packet) -> None:
        server.respond(packet, NAS)
        answered.append(packet.data)

    for number in range(PACKETS):
        source = (NAS.address, 40_000 + number // 256)  # 256 identifiers per source port
        verdict = server.receive(_datagram(rng, number % 256), source, 0.0)
        assert verdict.reply is None
        assert verdict.packet is not None
        if _MESSAGE_AUTHENTICATOR in verdict.packet.offsets:
            assert verdict.result == "message-authenticator", "random octets never are the right one"
            forged += 1
            continue
        if verdict.result == "in-flight":
            assert any(verdict.packet.data == packet.data for packet in submitted[-AT_ONCE:]), "the same to the bit"
            repeated += 1
            continue
        assert verdict.result == "record", verdict
        packet = verdict.packet
        try:
            bench.recorder.submit(packet, NAS, to_micros(NOW), partial(answer, packet))
            submitted.append(packet)
        except PeerError as error:
            server.refuse(packet)
            refused[error.reason] += 1
        if number % AT_ONCE == AT_ONCE - 1:
            await _until_settled(bench)
    await _until_settled(bench)

    counters = bench.recorder.counters
    assert set(refused) == REASONS
    assert len(submitted) + sum(refused.values()) + forged + repeated == PACKETS
    assert counters.rejected == 0, "nothing that was read could not be stored"
    assert Counter(answered) == Counter(packet.data for packet in submitted), "each once"
    stored = await _stored(bench.database)
    assert len(stored) == counters.stored == len(submitted) - counters.duplicates
    assert {AccountingRecord(packet, NAS, 0).packet_sha256 for packet in submitted} == set(stored)
    assert len(await bench.sessions.find(SessionFilter(), before=None, limit=100_000)) > 50
    assert bench.task is not None
    assert not bench.task.done()


async def _until_settled(bench: RecorderBench) -> None:
    """Every record was answered or set aside. Fails with the recorder's own error when it has died."""
    async with asyncio.timeout(20):
        while bench.recorder.depth:
            assert bench.task is not None
            if bench.task.done():
                bench.task.result()
            await asyncio.sleep(0.002)


async def _stored(database: Database) -> list[bytes]:
    async with database.read() as conn:
        return [bytes(row[0]) for row in await conn.execute(text("SELECT packet_sha256 FROM store_usage_record"))]
