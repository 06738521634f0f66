"""What prepaid credit is to the books: a receipt when it is paid, income when it expires, money back when it ends."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from pypdf import PdfReader
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from billing_bridge.prepaid.model import OCTETS
from billing_bridge.prepaid.service import NewTerms
from controller.domain.credit import FinalAction
from controller.domain.events import ServiceTerminated
from controller.domain.identity import OrderId, SubscriptionId, new_id
from controller.domain.money import Money
from controller.store.engine import Database
from controller.workflows.prepaid import TopUp
from erp.finance import words
from erp.finance.errors import DocumentAltered, UnknownReceipt
from erp.finance.payment_tables import receipt
from erp.finance.settlement import MoneyBack
from erp.finance.tables import series
from erp.finance.vouchers import Receipt, Receipts
from tests.support.prepaid import ACTOR, MB, SERVICE, key
from tests.unit.workflows.test_prepaid_sales import SalesWorld


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[SalesWorld]:
    made = SalesWorld(database, tmp_path)
    yield made
    await made.assert_controlled()
    await made.prepaid.log.close()


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


def receipts(world: SalesWorld) -> Receipts:
    return Receipts(world.prepaid.database)


async def all_of(world: SalesWorld) -> list[Receipt]:
    found = await receipts(world).page(account_id=world.account_id, service_id=SERVICE, before=None, limit=99)
    return list(reversed(found))


async def test_a_top_up_has_a_receipt_with_its_tax_and_the_same_one_again_has_the_same(world: SalesWorld) -> None:
    await world.open(OCTETS)
    for _ in range(2):
        await world.top_up(1_190, units=3 * MB, tax="19")
    (made,) = await all_of(world)
    assert (made.number, made.kind, made.reference) == ("RC-2026-000001", "receipt", "order 7")
    assert [m.minor for m in (made.net, made.tax, made.total)] == [1_000, 190, 1_190]
    found, pdf, _ = await receipts(world).pdf(made.receipt_id)
    assert found == made
    printed = text_of(pdf)
    for said in ("RC-2026-000001", "Prepaid", "3 MB", "19", "11,90"):
        assert said in printed, printed
    assert "zu zahlen" not in printed.lower()
    assert (await receipts(world).pdf(made.receipt_id))[1] == pdf, "the same octets every time"
    with pytest.raises(UnknownReceipt):
        await receipts(world).show("0" * 32)


async def test_receipts_are_numbered_without_gaps_whoever_takes_money_at_once_and_what_fails_takes_no_number(
    world: SalesWorld,
) -> None:
    await world.open()

    async def pay(n: int) -> None:
        paid = Money(100, "EUR" if n % 3 else "USD")
        await world.sales.top_up(SERVICE, TopUp(paid, "cash", f"{n}"), actor=ACTOR)

    answers = await asyncio.gather(*(pay(n) for n in range(12)), return_exceptions=True)
    assert sum(isinstance(a, Exception) for a in answers) == 4
    assert [r.number for r in sorted(await all_of(world), key=lambda r: r.number)] == [
        f"RC-2026-{n:06d}" for n in range(1, 9)
    ]
    async with world.prepaid.database.read() as conn:
        assert await conn.scalar(select(series.c.last_number).where(series.c.series == "RC-2026")) == 8
    assert await world.trial_balance() == {"1600": 800, "3530": -800}


async def test_a_receipt_is_never_changed_and_one_that_was_is_not_handed_out(world: SalesWorld) -> None:
    await world.open()
    await world.top_up(1_000)
    (made,) = await all_of(world)
    with pytest.raises(DBAPIError, match="never changed"):
        async with world.prepaid.database.begin() as conn:
            await conn.execute(update(receipt).values(total_minor=1))
    async with world.prepaid.database.begin() as conn:  # whoever owns the tables can take the guard away
        off = "DROP TRIGGER finance_receipt_no_update"
        if not world.prepaid.database.is_sqlite:
            off = "ALTER TABLE finance_receipt DISABLE TRIGGER finance_receipt_frozen"
        await conn.execute(text(off))
        await conn.execute(update(receipt).values(content=receipt.c.content.concat(" ")))
    with pytest.raises(DocumentAltered, match="RC-2026-000001"):
        await receipts(world).pdf(made.receipt_id)


async def test_what_is_left_is_given_back_with_its_tax_once_and_can_be_paid_out_like_any_payment(
    world: SalesWorld,
) -> None:
    await world.open(OCTETS)
    await world.top_up(1_190, units=3 * MB, tax="19")
    await world.prepaid.later(minutes=1)
    await world.top_up(1_070, "2", units=3 * MB, tax="7")
    await world.use(2 * MB)
    await world.prepaid.report("stop", 2 * MB)
    for _ in range(2):
        found = await world.sales.close(SERVICE, pay_out=True, actor=ACTOR, reason="moves away")
    assert (found.wallet.balance, found.wallet.worth_minor, found.wallet.reserved) == (0, 0, 0)
    await world.sales.post()
    # Units are worth 2,000 for 6 MB: a third was used. What is left is of the newest: 1,000 at 7 %, 334 at 19 %.
    assert await world.trial_balance() == {
        "1600": 2_260, "1200": -(1_334 + 70 + 63), "3806": -(260 - 133), "4410": -666,
    }  # fmt: skip
    refund = (await all_of(world))[-1]
    assert (refund.number, refund.kind, refund.total) == ("RC-2026-000003", "refund", Money(-1_467, "EUR"))
    assert "RC-2026-000003" in text_of((await receipts(world).pdf(refund.receipt_id))[1])
    (payment,) = await world.payments()
    assert (payment.method, payment.amount, payment.unapplied) == ("prepaid", Money(1_467, "EUR"), payment.amount)
    back = MoneyBack(payment.payment_id, payment.amount, "refund", "wire 1", "bank", "moves away")
    async with world.prepaid.database.begin() as conn:
        await world.settlement.reverse_in(conn, back, actor=ACTOR)
    assert (await world.trial_balance()).get("1200") is None


async def test_what_is_kept_at_closing_is_there_when_it_is_opened_again_and_a_service_that_ends_pays_it_out(
    world: SalesWorld,
) -> None:
    await world.open()
    await world.top_up(1_000)
    await world.sales.close(SERVICE, pay_out=False, actor=ACTOR, reason="a contract for some months")
    assert (await world.prepaid.amounts(), await world.payments()) == ((1_000, 0, 0), [])
    now = world.prepaid.clock.now()
    event = ServiceTerminated(
        event_id=new_id(now), at=now, actor=ACTOR, order_id=OrderId("0" * 32), subscription_id=SubscriptionId("0" * 32),
        service_id=SERVICE, account_id=world.account_id,
    )  # fmt: skip
    for _ in range(2):
        async with world.prepaid.database.begin() as conn:
            await world.sales.on_service_terminated(conn, event)
    assert [p.amount for p in await world.payments()] == [Money(1_000, "EUR")]
    assert await world.trial_balance() == {"1600": 1_000, "1200": -1_000}
    moved = await world.prepaid.prepaid.movements(SERVICE, before=None, limit=1)
    assert (moved[0].kind, moved[0].amount, moved[0].balance_after) == ("pay-out", -1_000, 0)


async def test_credit_expires_on_its_day_and_is_income_and_each_top_up_keeps_all_of_it_longer(
    world: SalesWorld,
) -> None:
    """10 November, 30 days: on 10 December it is gone."""
    await world.open(credit_days=30)
    await world.top_up(1_000)
    assert (await world.prepaid.wallet()).expires_on == date(2026, 12, 10)
    await world.use(2 * MB)
    await world.prepaid.later(days=20)
    await world.top_up(500, "2")
    assert (await world.prepaid.wallet()).expires_on == date(2026, 12, 30)
    await world.prepaid.later(days=29)
    await world.prepaid.report("interim", 3 * MB)
    assert (await world.prepaid.amounts())[0] == 1_200
    world.prepaid.clock.advance(timedelta(days=1))
    for _ in range(2):
        await world.prepaid.counter.catch_up()
        await world.sales.post()
    assert await world.prepaid.amounts() == (0, 0, 0)
    assert await world.trial_balance() == {"1600": 1_500, "4410": -300, "4440": -1_200}
    assert world.prepaid.access.ended == [(key("1"), FinalAction.GARDEN)]
    (expired,) = [e for e in await world.books.entries(limit=99) if "expired" in e.description]
    assert (expired.booked_on, expired.description) == (date(2026, 12, 30), "Prepaid credit expired on 2026-12-30")
    # A top-up begins anew, and takes the session out of the garden.
    await world.top_up(100, "3")
    wallet = await world.prepaid.wallet()
    assert (wallet.balance, wallet.expires_on, world.prepaid.access.resumed) == (100, date(2027, 1, 29), [key("1")])


async def test_credit_that_has_expired_is_not_rescued_by_a_top_up_that_comes_before_it_was_looked_at(
    world: SalesWorld,
) -> None:
    await world.open(credit_days=30)
    await world.top_up(1_000)
    await world.use(2 * MB)
    await world.prepaid.later(days=30)
    await world.top_up(100, "2")
    wallet = await world.prepaid.wallet()
    assert (wallet.balance, wallet.worth_minor, wallet.expires_on) == (100, 100, date(2027, 1, 9))
    assert world.prepaid.access.resumed == [key("1")], "with the new credit its session goes on"
    await world.prepaid.counter.catch_up()
    await world.sales.post()
    assert await world.trial_balance() == {"1600": 1_100, "3530": -100, "4410": -200, "4440": -800}


async def test_credit_that_has_expired_is_not_paid_out_when_its_balance_is_closed(world: SalesWorld) -> None:
    await world.open(credit_days=30)
    await world.top_up(1_000)
    await world.use(2 * MB)
    await world.prepaid.later(days=30)
    found = await world.sales.close(SERVICE, pay_out=True, actor=ACTOR, reason="moves away")
    assert (found.wallet.balance, found.wallet.worth_minor, found.wallet.reserved) == (0, 0, 0)
    assert (await world.payments(), found.wallet.closed_at) == ([], world.prepaid.clock.now())
    assert world.prepaid.access.ended == [(key("1"), FinalAction.DISCONNECT)]
    await world.sales.post()
    assert await world.trial_balance() == {"1600": 1_000, "4410": -200, "4440": -800}


async def test_terms_that_keep_credit_for_a_time_hold_for_what_is_there_and_others_lift_that(
    world: SalesWorld,
) -> None:
    await world.open()
    await world.top_up(1_000)
    terms = NewTerms(None, MB, 900, FinalAction.GARDEN)
    version = (await world.prepaid.prepaid.show(SERVICE)).terms.version_id
    for days, expires_on in ((7, date(2026, 11, 17)), (None, None)):
        wanted = NewTerms(version, terms.slice, terms.validity_s, terms.action, days)
        found = await world.sales.open(SERVICE, world.account_id, "EUR", "EUR", wanted, actor=ACTOR)
        assert found.wallet.expires_on == expires_on
    await world.prepaid.later(days=400)
    await world.prepaid.counter.catch_up()
    assert (await world.prepaid.amounts())[0] == 1_000


def test_every_language_names_them() -> None:
    for language in words.LANGUAGES:
        said = words.words_of(language)
        assert len({said[name] for name in ("receipt", "refund", "prepaid-credit", "received", "refunded")}) == 5
