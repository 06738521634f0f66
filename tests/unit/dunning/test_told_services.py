"""What mails and letters say of each service of an account: what is taken of it, since when, what would follow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.domain.identity import AccountId
from controller.domain.price import ProductKind
from controller.store.engine import Database
from erp.catalog.model import Product
from erp.crm.hierarchy import HierarchyService
from erp.dunning.mail import Never
from erp.dunning.policy import DEFAULT
from erp.orders.items import ItemRequest
from erp.orders.selling import Offer
from tests.support.dunning import ANNA, DunningWorld, dunning_world
from tests.support.isp import TERMS
from tests.support.plans import plan_of

WARNED, THROTTLED, GARDEN, SUSPENDED = date(2026, 11, 25), date(2026, 12, 2), date(2026, 12, 9), date(2026, 12, 23)
"""Days on which the steps of an invoice are taken that is issued on 1 November."""
TV_FIRST: dict[str, Any] = {
    **DEFAULT,
    "steps": [
        {**step, "services": {"throttle": {"tv": "suspend", "voice": "none"}}.get(step["name"], {})}
        for step in DEFAULT["steps"]
    ],
}


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[DunningWorld]:
    async with dunning_world(database, tmp_path) as made:
        yield made


async def furnished(world: DunningWorld, *, language: str = "en") -> AccountId:
    """An account that owes an invoice, with a line and a rented box, television and a telephone."""
    await world.dunning.add_policy("standard", "EUR", date(2026, 1, 1), TV_FIRST, actor=ANNA)
    account = await world.customer(language=language)
    line = await world.line(account, "anna")
    await world.item(account, ProductKind.RENTAL, line=line)
    terms = replace(TERMS, speed=None, plan=plan_of("10.00"), effective_on=date(2026, 1, 1))
    for kind, name, german in ((ProductKind.TV, "TV plus", "Fernsehen plus"), (ProductKind.VOICE, "Phone", "Telefon")):
        made = await world.catalog.create_offering(Product(name, "", kind, (("de", german),)), terms, actor=ANNA)
        await world.items.add(ItemRequest(account, german, Offer(offering_id=made.offering_id)), actor=ANNA)
    await world.deliver()
    await world.invoice(account)
    return account


def listed(mail: str) -> list[str]:
    return [line for line in mail.splitlines() if line.startswith("- ")]


async def test_a_mail_says_of_each_service_what_is_taken_of_it_and_since_when_it_is_more(world: DunningWorld) -> None:
    account = await furnished(world)
    said = {}
    for night in (WARNED - timedelta(days=1), WARNED, THROTTLED, GARDEN, SUSPENDED):
        await world.nights(account, night)
        said[night] = (world.mail.sent[-1].subject.partition(" INV")[0], listed(world.mail.sent[-1].text))
    works = "- Phone: stays in use, emergency calls too"
    assert list(said.values()) == [
        ("A reminder of", []),
        (world.mail.sent[1].subject, ["- Fibre 100: slowed down to 1\xa0Mbit/s", works, "- TV plus: suspended"]),
        ("Your services are restricted until", [
            "- Fibre 100: slowed down to 1\xa0Mbit/s, from Dec 2, 2026", works,
            "- TV plus: suspended, from Dec 2, 2026",
        ]),
        ("Your services are restricted until", [
            "- Fibre 100: only our payment page can be reached, from Dec 9, 2026", works, "- TV plus: suspended",
        ]),
        ("Your services are restricted until", [
            "- Fibre 100: suspended, from Dec 23, 2026", works, "- TV plus: suspended",
        ]),
    ]  # fmt: skip
    assert "If your payment does not arrive, we shall restrict your services:" in world.mail.sent[1].text
    assert all("your line" not in mail.text.lower() for mail in world.mail.sent)


async def test_services_are_called_as_the_catalogue_has_them_in_the_customers_language(world: DunningWorld) -> None:
    account = await furnished(world, language="de-AT")
    await world.nights(account, THROTTLED - timedelta(days=1))
    world.move_to(THROTTLED)
    await world.look(account)
    world.mail.refuse = Never("550 no such user")
    while await world.notices.work():
        pass
    (notice, *_) = await world.notices.page(account_id=account, state="sent", after=None, limit=9)
    _, content = await world.notices.show(notice.notice_id)
    assert content is not None
    assert (notice.channel, content["text"]) == ("letter", "services")
    assert [(s["name"], s["measure"], s["since"]) for s in content["services"]] == [
        ("Fibre 100", "throttle", "2026-12-02"), ("Telefon", "none", None),
        ("Fernsehen plus", "suspend", "2026-12-02"),
    ]  # fmt: skip


async def test_who_has_only_lines_is_written_to_about_the_line(world: DunningWorld) -> None:
    account = await world.customer(language="en")
    await world.line(account, "anna")
    await world.line(account, "berta")
    await world.invoice(account)
    await world.nights(account, THROTTLED)
    mail = world.mail.sent[-1]
    assert mail.subject.startswith("Your line is slower until")
    assert listed(mail.text) == ["- 2 × Fibre 100: slowed down to 1\xa0Mbit/s, from Dec 2, 2026"]


async def test_who_has_no_service_is_told_of_none_and_of_no_restriction(world: DunningWorld) -> None:
    account = await world.customer(language="en")
    await world.item(account, ProductKind.DISCOUNT)
    await world.invoice(account)
    await world.nights(account, THROTTLED)
    assert [listed(mail.text) for mail in world.mail.sent] == [[], [], []]
    assert all("line" not in mail.text and "services" not in mail.text for mail in world.mail.sent)


async def test_what_a_payment_in_part_gave_back_before_the_mail_went_out_is_not_called_taken(
    world: DunningWorld,
) -> None:
    account = await furnished(world)
    await world.nights(account, GARDEN - timedelta(days=1))
    world.move_to(GARDEN)
    await world.look(account)
    await world.pay(account, "45.00", "r1")
    while await world.notices.work():
        pass
    assert listed(world.mail.sent[-1].text)[0] == "- Fibre 100: slowed down to 1\xa0Mbit/s", "14.50 is below the garden"
    assert world.mail.sent[-1].subject.startswith("Your services are restricted until")


async def test_what_the_arrears_of_the_parent_take_is_said_too_and_not_dated_by_this_notice(
    world: DunningWorld,
) -> None:
    account, parent = await furnished(world), await world.customer("Holding", language="en")
    family = HierarchyService(world.database, world.clock)
    await family.set_parent(account, parent, blocked_with_parent=True, actor=ANNA)
    await world.invoice(parent)
    await world.nights(parent, THROTTLED)
    world.mail.sent.clear()
    await world.look(account)
    while await world.notices.work():
        pass
    assert world.mail.sent[-1].subject.startswith("A reminder of")
    assert listed(world.mail.sent[-1].text) == [
        "- Fibre 100: slowed down to 1\xa0Mbit/s", "- Phone: stays in use, emergency calls too",
        "- TV plus: suspended",
    ]  # fmt: skip
