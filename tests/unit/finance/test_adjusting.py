"""No transaction waits for a tax service: what it must be asked about is noted, and issued once, when it answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from controller.domain.identity import AccountId
from controller.domain.money import Money
from erp.finance import adjusting as adjusting_module
from erp.finance import adjusting_routes, adjustments
from erp.finance.adjusting import Adjusting
from erp.finance.adjustments import Adjustment
from erp.finance.errors import WrongCurrency
from erp.finance.levy_adapters import HttpLevies
from erp.finance.service import FinanceService
from erp.finance.settings import FinanceSettings
from tests.support.api import api_client
from tests.support.finance import Books


class Peer:
    """A tax service on a socket. While `mute` it takes the question and says nothing, or one octet at a time."""

    def __init__(self) -> None:
        self.mute = True
        self.drips = False
        self.asked = asyncio.Event()
        self.questions = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            question = json.loads(await reader.readexactly(length))
            self.questions += 1
            self.asked.set()
            body = json.dumps({"documents": [{"levies": []} for _ in question["documents"]]}).encode()
            said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
            if self.mute and not self.drips:
                await reader.read()
                return
            writer.write(said)
            for octet in body:
                writer.write(bytes([octet]))
                await writer.drain()
                if self.mute:
                    await asyncio.sleep(0.05)
        except ConnectionError:
            return
        finally:
            writer.close()


@asynccontextmanager
async def service(books: Books, peer: Peer, patience_s: float) -> AsyncIterator[FinanceService]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    levies = HttpLevies(f"http://127.0.0.1:{port}/", None, patience_s=patience_s)
    try:
        yield FinanceService(books.database, books.clock, books.crm, FinanceSettings(), levies)
    finally:
        await levies.close()
        server.close()


def wanted(account_id: AccountId, currency: str = "EUR") -> Adjustment:
    return Adjustment(
        account_id, Money.exact("5.00", currency), Decimal(0), "Late fee", "late", "late-fee:1",
        tax_category="O", names=(("de", "Mahngebühr"),),
    )  # fmt: skip


async def test_a_transaction_does_not_wait_for_a_tax_service_that_hangs(books: Books) -> None:
    account, peer = await books.account(), Peer()
    async with service(books, peer, patience_s=0.5) as finance:
        adjusting = Adjusting(books.database, books.clock, finance.corrections)
        for _ in range(2):  # the event may be delivered again
            async with asyncio.timeout(5), books.database.begin() as conn:
                await finance.corrections.adjust_in(conn, wanted(account), actor="system:x")
        assert peer.questions == 0
        (found,) = await adjusting.noted(10)
        assert found.wanted == wanted(account)

        waits = asyncio.create_task(adjusting.once())
        await peer.asked.wait()
        async with books.database.begin() as conn:  # nobody holds the one writer of SQLite meanwhile
            await finance.corrections.adjust_in(conn, wanted(account), actor="system:x")
        assert not waits.done()
        assert await waits == 0
        (found,) = await adjusting.noted(10)
        assert (found.attempts, await books.numbers()) == (1, [])
        assert "does not answer" in found.detail

        peer.mute = False
        assert await adjusting.once() == 0  # not asked again at once
        books.clock.advance(timedelta(seconds=15))
        assert await adjusting.once() == 1
        assert await adjusting.noted(10) == []
        assert await books.numbers() == ["INV-2026-000001"]
        async with books.database.begin() as conn:
            await finance.corrections.adjust_in(conn, wanted(account), actor="system:x")
        assert await adjusting.once() == 1
        assert await books.numbers() == ["INV-2026-000001"]


async def test_an_answer_that_comes_octet_by_octet_ends_in_time(books: Books) -> None:
    account, peer = await books.account(), Peer()
    peer.drips = True
    async with service(books, peer, patience_s=0.3) as finance:
        adjusting = Adjusting(books.database, books.clock, finance.corrections)
        async with books.database.begin() as conn:
            await finance.corrections.adjust_in(conn, wanted(account), actor="system:x")
        async with asyncio.timeout(10):
            assert await adjusting.once() == 0
        async with api_client(adjusting_routes.endpoints(adjusting), clock=books.clock) as api:
            (told,) = (await api.get("/adjustments/waiting")).json()["adjustments"]
    assert (told["account_id"], told["attempts"], told["net"]["amount"]) == (account, 1, "5.00")
    assert told["detail"] == "the tax service does not answer: TimeoutError"


async def test_what_waits_is_withdrawn_for_good_or_tried_at_once(books: Books) -> None:
    account, peer = await books.account(), Peer()
    async with service(books, peer, patience_s=0.3) as finance:
        adjusting = Adjusting(books.database, books.clock, finance.corrections)

        async def note(reference: str) -> None:
            async with books.database.begin() as conn:
                told = replace(wanted(account), reference=reference)
                await finance.corrections.adjust_in(conn, told, actor="system:x")

        await note("late-fee:1")
        await note("late-fee:2")
        assert await adjusting.once() == 0
        async with api_client(adjusting_routes.endpoints(adjusting), clock=books.clock) as api:
            body = {"account_id": account, "reference": "late-fee:1", "reason": "goodwill"}
            path = "/adjustments/waiting/withdraw"
            assert (await api.post(path, json=body)).json()["item"] == "Late fee"
            assert (await api.post(path, json=body)).json()["code"] == "unknown-adjustment"
            await note("late-fee:1")  # the event is told again
            peer.mute = False
            assert (await api.post("/adjustments/waiting/try")).json() == {"issued": 1, "waiting": 0}
    assert await books.numbers() == ["INV-2026-000001"]


async def test_all_that_waits_is_tried_at_once_however_many_and_whatever_fails_among_it(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adjusting_module, "_BATCH", 2)
    account, peer = await books.account(), Peer()
    peer.mute = False
    async with service(books, peer, patience_s=5) as finance:
        adjusting = Adjusting(books.database, books.clock, finance.corrections)
        async with books.database.begin() as conn:
            for n in range(7):
                told = replace(wanted(account), reference=f"late-fee:{n}")
                if n < 2:  # a whole batch that is refused
                    await adjustments.note(conn, replace(told, net=Money(1, "CHF")), books.clock.now(), "system:x")
                else:
                    await finance.corrections.adjust_in(conn, told, actor="system:x")
        async with api_client(adjusting_routes.endpoints(adjusting), clock=books.clock) as api:
            assert (await api.post("/adjustments/waiting/try")).json() == {"issued": 5, "waiting": 2}


async def test_what_is_withdrawn_while_the_tax_service_is_asked_is_not_issued(books: Books) -> None:
    account, peer = await books.account(), Peer()
    async with service(books, peer, patience_s=30) as finance:
        adjusting = Adjusting(books.database, books.clock, finance.corrections)
        async with books.database.begin() as conn:
            await finance.corrections.adjust_in(conn, wanted(account), actor="system:x")
        peer.mute = False
        (found,) = await adjusting.noted(10)
        await adjusting.withdraw(account, "late-fee:1", reason="goodwill", actor="user:anna")
        assert await finance.corrections.issue_noted(found) is None
    assert await books.numbers() == []


async def test_what_was_withdrawn_is_not_issued_when_no_tax_service_is_asked_any_more(books: Books) -> None:
    account, peer = await books.account(), Peer()
    async with service(books, peer, patience_s=0.3) as finance:
        async with books.database.begin() as conn:
            await finance.corrections.adjust_in(conn, wanted(account), actor="system:x")
        await finance.corrections.withdraw_noted(account, "late-fee:1", reason="goodwill", actor="user:anna")
    async with books.database.begin() as conn:  # the event is told again
        await books.corrections.adjust_in(conn, wanted(account), actor="system:x")
    assert await books.numbers() == []


async def test_what_cannot_be_issued_is_not_noted_and_nothing_is_noted_where_nobody_is_asked(books: Books) -> None:
    account, peer = await books.account(), Peer()
    async with service(books, peer, patience_s=0.3) as finance:
        with pytest.raises(WrongCurrency):
            async with books.database.begin() as conn:
                await finance.corrections.adjust_in(conn, wanted(account, "CHF"), actor="system:x")
        adjusting = Adjusting(books.database, books.clock, finance.corrections)
        async with books.database.begin() as conn:
            await books.corrections.adjust_in(conn, wanted(account), actor="system:x")
        assert await adjusting.noted(10) == []
    assert await books.numbers() == ["INV-2026-000001"]
