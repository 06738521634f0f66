"""Reminders and letters: each sent once, whoever dies meanwhile, and the ladder waits for what is uncertain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import text

from controller.store.engine import Database
from erp.crm.entities import EntityFacts, EntityService
from erp.crm.model import Contact
from erp.dunning.errors import NoticeSettled
from erp.dunning.mail import Never, NotNow, Unclear
from tests.support.dunning import ANNA, DunningWorld, dunning_world

AUSTRIAN = "AT611904300234573201"


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[DunningWorld]:
    async with dunning_world(database, tmp_path) as made:
        yield made


class Killed(BaseException):
    """What kill -9 does to whoever is sending."""


async def test_nobody_is_reminded_of_what_he_paid_while_the_reminder_waited(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    assert (await world.look(account)).steps == 1
    await world.pay(account, "59.50", "r1")
    assert await world.notices.work()
    (notice,) = await world.notices.page(account_id=account, state=None, after=None, limit=9)
    assert (notice.state, world.mail.sent, await world.steps(account)) == ("withdrawn", [], [])


async def test_a_mail_server_that_is_away_is_tried_again_and_holds_the_ladder(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    await world.look(account)
    world.mail.refuse = NotNow("421 busy")
    await world.notices.work()
    world.move_to(date(2026, 11, 27), hour=9)
    assert (await world.look(account)).steps == 0, "nobody is warned who was not reminded"
    await world.notices.work()
    assert len(world.mail.sent) == 1
    await world.nights(account, date(2026, 12, 2))
    assert [name for _, name in await world.steps(account)] == ["reminder", "warning"]


async def test_an_address_that_takes_no_mail_gets_a_letter(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    await world.look(account)
    world.mail.refuse = Never("550 no such user")
    while await world.notices.work():
        pass
    (notice,) = await world.notices.page(account_id=account, state="sent", after=None, limit=9)
    assert (notice.channel, (await world.notices.pdf(notice.notice_id))[:5]) == ("letter", b"%PDF-")
    by_post = await world.customer("Ohne Adresse", email="", language="en")
    await world.invoice(by_post)
    world.move_to(date(2026, 12, 8))
    await world.look(by_post)
    await world.notices.work()
    (letter,) = await world.notices.page(account_id=by_post, state="sent", after=None, limit=9)
    _, content = await world.notices.show(letter.notice_id)
    assert content is not None
    assert (letter.channel, content["locale"]) == ("letter", "en")


async def test_a_program_that_dies_while_it_sends_leaves_the_notice_to_a_person(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    await world.look(account)
    world.mail.refuse = Killed()
    with pytest.raises(Killed):
        await world.notices.work()
    again = world.sender()
    await again.start()
    assert not await again.work()
    (notice,) = await again.page(account_id=account, state="uncertain", after=None, limit=9)
    await world.nights(account, date(2026, 12, 4))
    assert [name for _, name in await world.steps(account)] == ["reminder"], "the ladder waits for the answer"
    await again.decide(notice.notice_id, arrived=True, actor=ANNA, reason="the customer called about it")
    with pytest.raises(NoticeSettled):
        await again.decide(notice.notice_id, arrived=False, actor=ANNA, reason="twice")
    await world.nights(account, date(2026, 12, 9))
    assert [name for _, name in await world.steps(account)] == ["reminder", "warning"]
    assert len(world.mail.sent) == 1


async def test_a_connection_that_broke_after_the_mail_leaves_it_uncertain_too(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    await world.look(account)
    world.mail.refuse = Unclear("gone")
    await world.notices.work()
    (notice,) = await world.notices.page(account_id=account, state="uncertain", after=None, limit=9)
    await world.notices.decide(notice.notice_id, arrived=False, actor=ANNA, reason="the log of the server says no")
    await world.notices.work()
    assert len(world.mail.sent) == 1


async def test_two_processes_send_one_mail(world: DunningWorld) -> None:
    account = await world.customer()
    await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    await world.look(account)
    await asyncio.gather(*(world.sender(f"headend-{n}").work() for n in range(4)))
    assert len(world.mail.sent) == 1


async def test_a_notice_that_cannot_be_written_is_left_to_a_person_and_keeps_no_other(world: DunningWorld) -> None:
    broken, fine = await world.customer("Broken"), await world.customer("Fine")
    for account in (broken, fine):
        await world.invoice(account)
    world.move_to(date(2026, 11, 18))
    for account in (broken, fine):
        await world.look(account)
    async with world.database.begin() as conn:
        await conn.execute(text("UPDATE dunning_notice SET text = 'poem' WHERE account_id = :a"), {"a": broken})
    while await world.notices.work():
        pass
    (notice,) = await world.notices.page(account_id=broken, state="uncertain", after=None, limit=9)
    assert "KeyError" in (notice.words or "")
    assert len(world.mail.sent) == 1


async def test_a_letter_names_the_legal_entity_of_the_customer_and_the_account_that_one_is_paid_to(
    world: DunningWorld,
) -> None:
    facts = EntityFacts("Testnetz Austria GmbH", "Europe/Vienna", "EUR", "de_AT", "AT", "Ring 1", "", AUSTRIAN)
    other, _ = await EntityService(world.database, world.clock).create(facts, actor=ANNA)
    told = {}
    for whose in (None, other.entity_id):
        contact = Contact("Anna", address="Gasse 2")
        customer = await world.books.crm.create_customer(contact, actor=ANNA, entity_id=whose)
        account = customer.account.account_id
        await world.invoice(account)
        told[account] = (
            ("Testnetz GmbH", "DE02120300000000202051") if whose is None else ("Testnetz Austria GmbH", AUSTRIAN)
        )
    world.move_to(date(2026, 11, 18))
    for account, (name, iban) in told.items():
        await world.look(account)
        while await world.notices.work():
            pass
        (letter,) = await world.notices.page(account_id=account, state="sent", after=None, limit=9)
        _, content = await world.notices.show(letter.notice_id)
        assert content is not None
        assert (content["seller"]["name"], content["seller"]["iban"]) == (name, iban)
