"""Customers are told before a contract ends or renews: on the day its terms say, by one mail, across crashes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import httpx2
import pytest

from controller.domain.clock import MovableClock
from controller.domain.price import ProductKind
from controller.domain.price_text import plan_from_data
from controller.store.engine import Database
from controller.workflows.contract_notices import ContractNotices
from controller.workflows.routes_contract_notices import endpoints
from erp.catalog.model import Product, VersionTerms
from erp.catalog.service import CatalogService
from erp.crm.model import Contact
from erp.crm.service import CrmService
from erp.dunning.mail import Mailer, Never, NotNow, Unclear
from erp.orders.items import Item, ItemRequest, ItemService
from erp.orders.selling import Offer
from tests.support.api import api_client
from tests.support.dunning import KeptMail

ACTOR = "user:anna"


class Killed(BaseException):
    """The process is gone in the middle of a mail."""


class World:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = MovableClock(datetime(2026, 3, 12, 9, tzinfo=UTC))
        self.crm = CrmService(database, self.clock)
        self.catalog = CatalogService(database, self.clock)
        self.items = ItemService(database, self.clock, crm=self.crm, catalog=self.catalog)
        self.mail = KeptMail()

    def sender(self, mailer: Mailer | None = None, process: str = "headend-1") -> ContractNotices:
        return ContractNotices(
            self.database, self.clock, self.crm, mailer=mailer or self.mail, sender="isp@example.net", process=process
        )

    async def rented(self, *, email: str = "erika@example.org", language: str = "", renewal: int = 12) -> Item:
        """A router for a year, of which the customer is told sixty days before."""
        await self.crm.ensure_entity(
            name="Testnetz", zone="Europe/Berlin", currency="EUR", locale="de_DE", address="Weg 1", tax_id="DE1"
        )
        contact = Contact("Erika", address="Weg 2", email=email, language=language)
        account = (await self.crm.create_customer(contact, actor=ACTOR)).account.account_id
        contract = {"term_months": 12, "renewal_months": renewal, "notice_days": 30, "remind_days": 60}
        plan = plan_from_data({"prices": [{"model": "flat", "code": "fee", "amount": "5.00"}], "contract": contract})
        terms = VersionTerms(date(2026, 1, 1), "EUR", Decimal(19), plan, None)
        made = await self.catalog.create_offering(Product("Router 7", kind=ProductKind.RENTAL), terms, actor=ACTOR)
        return await self.items.add(ItemRequest(account, "router", Offer(offering_id=made.offering_id)), actor=ACTOR)

    async def tick(self, notices: ContractNotices) -> None:
        await notices.look()
        await notices.work()


@pytest.fixture
async def world(database: Database) -> World:
    return World(database)


@pytest.fixture
async def api(world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with api_client(endpoints(world.sender()), clock=world.clock, actor=ACTOR) as client:
        yield client


async def test_one_mail_goes_out_on_the_day_of_the_terms_and_one_more_for_the_next_end(world: World) -> None:
    await world.rented()
    notices = world.sender()
    world.clock.move_to(datetime(2027, 1, 10, 12, tzinfo=UTC))
    await world.tick(notices)
    assert world.mail.sent == []
    world.clock.move_to(datetime(2027, 1, 11, 12, tzinfo=UTC))  # sixty days before 12 March
    for _ in range(3):
        await world.tick(notices)
        await world.tick(world.sender(process="headend-2"))
    (mail,) = world.mail.sent
    assert (mail.recipient, mail.subject, mail.language) == ("erika@example.org", "Ihr Vertrag Router 7", "de-DE")
    for wanted in ("läuft bis 11.03.2027", "um 12 Monate", "bis 10.02.2027 kündigen"):
        assert wanted in mail.text
    world.clock.move_to(datetime(2028, 1, 13, 12, tzinfo=UTC))
    await world.tick(notices)
    assert [("11.03.2028" in m.text) for m in world.mail.sent] == [False, True]


async def test_a_mail_that_was_under_way_when_the_program_was_killed_is_never_sent_again_by_itself(
    world: World, api: httpx2.AsyncClient
) -> None:
    await world.rented()
    world.clock.move_to(datetime(2027, 1, 20, 12, tzinfo=UTC))
    world.mail.refuse = Killed()
    with pytest.raises(Killed):
        await world.tick(world.sender())
    restarted = world.sender()
    await restarted.start()
    await world.tick(restarted)
    assert world.mail.sent == []
    (found,) = (await api.get("/contract-notices", params={"state": "uncertain"})).json()["items"]
    assert "the program ended" in found["words"]
    answer = await api.post(
        f"/contract-notices/{found['notice_id']}/decide", json={"arrived": False, "reason": "not in the mail log"}
    )
    assert answer.json()["state"] == "waiting"
    await world.tick(restarted)
    assert len(world.mail.sent) == 1
    refused = await api.post(f"/contract-notices/{found['notice_id']}/decide", json={"arrived": True, "reason": "x"})
    assert (refused.status_code, refused.json()["code"]) == (409, "contract-notice-settled")
    assert (
        await api.post(f"/contract-notices/{'0' * 32}/decide", json={"arrived": True, "reason": "x"})
    ).status_code == 404


async def test_a_kill_before_the_mail_loses_nothing(world: World) -> None:
    await world.rented()
    world.clock.move_to(datetime(2027, 1, 20, 12, tzinfo=UTC))
    await world.sender().look()
    restarted = world.sender()
    await restarted.start()
    await world.tick(restarted)
    assert len(world.mail.sent) == 1


async def test_not_now_is_tried_again_later_and_what_is_unclear_or_refused_waits_for_a_person(world: World) -> None:
    await world.rented()
    notices = world.sender()
    world.clock.move_to(datetime(2027, 1, 20, 12, tzinfo=UTC))
    world.mail.refuse = NotNow("450 busy")
    await world.tick(notices)
    await world.tick(notices)
    assert world.mail.sent == []
    world.clock.advance(timedelta(minutes=1))
    world.mail.refuse = Unclear("the answer never came")
    await world.tick(notices)
    world.clock.advance(timedelta(days=1))
    await world.tick(notices)
    assert world.mail.sent == []
    (found,) = await notices.page(state=None, account_id=None, after=None, limit=9)
    assert (found.state, found.words) == ("uncertain", "whether it arrived is not known: the answer never came")


@pytest.mark.parametrize(("email", "refuse"), [("", None), ("nobody@example.org", Never("550 no such user"))])
async def test_whoever_cannot_be_mailed_is_told_by_a_person(world: World, email: str, refuse: Never | None) -> None:
    await world.rented(email=email)
    world.clock.move_to(datetime(2027, 1, 20, 12, tzinfo=UTC))
    world.mail.refuse = refuse
    notices = world.sender()
    await world.tick(notices)
    (found,) = await notices.page(state="uncertain", account_id=None, after=None, limit=9)
    assert (found.words or "").startswith("not by mail, tell them otherwise:")
    done = await notices.decide(found.notice_id, arrived=True, actor=ACTOR, reason="phoned")
    assert (done.state, world.mail.sent) == ("sent", [])


async def test_a_contract_that_was_ended_meanwhile_is_not_told_of(world: World) -> None:
    held = await world.rented(language="en", renewal=0)
    notices = world.sender()
    world.clock.move_to(datetime(2027, 1, 20, 12, tzinfo=UTC))
    await notices.look()
    await world.items.end(held.item_id, None, actor=ACTOR)
    await notices.work()
    (found,) = await notices.page(state="withdrawn", account_id=None, after=None, limit=9)
    assert "can be ended at any time" in found.text
    assert world.mail.sent == []


async def test_the_task_looks_sends_and_goes_on(world: World) -> None:
    await world.rented()
    world.clock.move_to(datetime(2027, 1, 20, 12, tzinfo=UTC))
    running = asyncio.create_task(world.sender().run())
    async with asyncio.timeout(20):
        while not world.mail.sent:  # nothing announces it  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert len(world.mail.sent) == 1
    assert not running.done(), "it goes on"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
