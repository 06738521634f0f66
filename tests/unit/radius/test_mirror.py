"""The mirror of accounting: a queue that loses nothing, keeps the order of a session and says how late it is."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from controller.domain.clock import MovableClock
from controller.domain.errors import PeerError
from controller.store.engine import Database
from controller.store.metadata import to_micros
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCOUNTING_RESPONSE, STATUS_SERVER
from radius.protocol.hidden import Attributes
from radius.proxy import repository as proxy_rows
from radius.proxy.mirror import SET_ASIDE, Mirror, MirrorSettings
from radius.proxy.model import Route
from radius.proxy.pools import Pools
from radius.proxy.settings import PoolSettings
from radius.proxy.upstream import Reply, Sealed
from tests.support.proxy import MARK, NOW, home


class AnsweringUpstream:
    """A home server that takes accounting when `takes`."""

    def __init__(self) -> None:
        self.takes = True
        self.taken: list[Attributes] = []

    async def ask(self, code: int, attributes: Attributes, timeout_s: float) -> Reply:
        if not self.takes:
            raise TimeoutError
        Sealed.make(code, 0, attributes, SharedSecret(b"s3cret-of-home"), strict=False)
        if code != STATUS_SERVER:
            self.taken.append(attributes)
        return Reply(ACCOUNTING_RESPONSE, [])

    def close(self) -> None:
        return


class Queueing:
    """A mirror on a database, with one home server behind it."""

    def __init__(self, database: Database) -> None:
        self.clock = MovableClock(NOW)
        self.upstream = AnsweringUpstream()
        self.pools = Pools(PoolSettings(dead_after=100), lambda: None)
        self.pools.replace([home("one")])
        self.pools.of("b")[0].upstream = self.upstream
        self.mirror = Mirror(database, self.clock, self.pools, lambda: (33, MARK), MirrorSettings(first_retry_s=2))
        self.stored: list[int] = []

    def put(self, number: int, session: bytes = b"s", more: Attributes | None = None) -> None:
        attributes = [(44, session), (46, number.to_bytes(4, "big")), *(more or [])]
        route = Route("r", "b")
        self.mirror.put(route, attributes, to_micros(self.clock.now()), lambda: self.stored.append(number))

    def numbers(self) -> list[int]:
        return [int.from_bytes(dict(attributes)[46], "big") for attributes in self.upstream.taken]


async def test_records_are_acknowledged_when_stored_and_sent_in_the_order_of_their_session(database: Database) -> None:
    site = Queueing(database)
    for number in range(20):
        site.put(number)
    assert site.stored == []
    await site.mirror.store()
    assert site.stored == list(range(20))
    assert await site.mirror.send() == 20
    assert site.numbers() == list(range(20))
    assert await site.mirror.send() == 0


async def test_a_retransmission_is_one_row(database: Database) -> None:
    site = Queueing(database)
    site.put(1)
    await site.mirror.store()
    site.put(1)
    await site.mirror.store()
    assert site.stored == [1, 1]
    assert await site.mirror.send() == 1


async def test_what_is_not_taken_is_tried_later_and_says_how_late_it_is(database: Database) -> None:
    site = Queueing(database)
    site.put(1)
    await site.mirror.store()
    site.upstream.takes = False
    assert await site.mirror.send() == 1
    assert await site.mirror.send() == 0, "not due yet"
    site.upstream.takes = True
    site.clock.move_to(NOW + timedelta(seconds=60))
    assert await site.mirror.send() == 1
    assert (41, (60).to_bytes(4, "big")) in site.upstream.taken[0]
    assert (33, MARK) in site.upstream.taken[0]


async def test_a_record_that_fits_into_no_packet_is_set_aside_and_later_ones_go_on(database: Database) -> None:
    site = Queueing(database)
    site.put(1)
    site.put(2, more=[(18, bytes(253))] * 15 + [(18, bytes(233))])
    site.put(3)
    await site.mirror.store()
    set_aside = SET_ASIDE.labels("r")._value.get()
    with capture_logs() as said:
        assert await site.mirror.send() == 3
        assert site.numbers() == [1, 3], "our Proxy-State has no room beside the second"
        site.clock.move_to(NOW + timedelta(days=30))
        assert await site.mirror.send() == 0
    assert [line["event"] for line in said] == ["radius.mirror.cannot-be-sent"]
    assert SET_ASIDE.labels("r")._value.get() - set_aside == 1
    async with database.read() as conn:
        assert (await proxy_rows.backlog(conn), await proxy_rows.aside(conn)) == ({}, {"b": 1})


async def test_rows_of_a_killed_process_go_on_with_another(database: Database) -> None:
    one = Queueing(database)
    one.put(1)
    await one.mirror.store()
    one.upstream.takes = False
    sending = asyncio.create_task(one.mirror.send())
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])
    two = Queueing(database)
    two.clock.move_to(NOW + timedelta(seconds=31))
    assert await two.mirror.send() == 1
    assert two.numbers() == [1]


def test_more_than_can_wait_is_refused() -> None:
    site = Queueing.__new__(Queueing)
    clock = MovableClock(NOW)
    mirror = Mirror(None, clock, Pools(PoolSettings(), lambda: None), lambda: (33, MARK), MirrorSettings(max_pending=1))  # type: ignore[arg-type]
    site.clock, site.mirror, site.stored = clock, mirror, []
    site.put(1)
    with pytest.raises(PeerError, match="overload"):
        site.put(2)
