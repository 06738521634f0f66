"""The dunning board in a real browser, over the real services: who owes, what comes next, and what a person decides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from controller.domain.identity import AccountId
from controller.domain.money import Money
from controller.domain.price import ProductKind
from controller.store.engine import Database
from controller.workflows import routes_dunning
from controller.workflows.disputes import Disputes
from erp.crm import routes as crm_routes
from erp.dunning import routes as dunning_routes
from erp.dunning.board import BoardService
from erp.dunning.disputes import DisputeRequest
from erp.finance import routes as finance_routes
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.dunning import ANNA, DunningWorld, dunning_world
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser

_STORY = (
    ("Ada Lovelace", "12.00", 6),
    ("Grace Hopper & Söhne GmbH", "1300.00", 16),
    ("Edsger Dijkstra", "45.00", 23),
    ("Barbara Liskov", "39.90", 30),
    ("Donald Knuth", "60.00", 44),
    ("Katherine Johnson", "25.00", 44),
)
"""Name, net amount, and how many days after the due day it stands."""

_WORKED = {first + n for first in (3, 10, 17, 24, 38) for n in range(3)}
"""Days after the due one on which a step falls, and the two after it where that is a weekend."""


async def services(world: DunningWorld, account: AccountId) -> None:
    """A line with television and a telephone beside it."""
    await world.line(account, "knuth")
    for kind in (ProductKind.TV, ProductKind.VOICE):
        await world.item(account, kind)


async def story(world: DunningWorld) -> None:
    """Debts of six ages, worked by the nights; one of them contested, one promised."""
    longest = max(days for _, _, days in _STORY)
    first, accounts, due = world.today, {}, {}
    for day in range(longest + 15):
        world.move_to(first + timedelta(days=day))
        for name, net, days in _STORY:
            if day == longest - days:
                accounts[name], due[name] = await world.customer(name, email="somebody@example.net"), day + 14
                if name == "Donald Knuth":
                    await services(world, accounts[name])
                await world.invoice(accounts[name], net)
        tonight = [name for name in accounts if day - due[name] in _WORKED]
        for name in tonight:
            await world.look(accounts[name])
        while tonight and await world.notices.work():
            pass
    (promised, contested) = accounts["Katherine Johnson"], accounts["Edsger Dijkstra"]
    await world.dunning.promise(
        promised, pays_on=world.today + timedelta(days=9), amount=None, reason="salary", actor=ANNA
    )
    (invoice,) = [i for i in await world.books.finance.invoices(limit=50) if i.account_id == contested]
    (line,) = await world.books.finance.lines(invoice.invoice_id)
    late = DisputeRequest(invoice.invoice_id, None, Money.exact("5.00", "EUR"), "it came late")
    upheld = (await world.disputes.open(late, {}, actor=ANNA)).dispute_id
    credited = (await world.disputes.uphold(upheld, resolution="by a day", actor=ANNA)).credit_note_id
    assert credited is not None
    await world.books.finance.corrections.void(credited, reason="it was in time", actor=ANNA)
    world.clock.advance(timedelta(minutes=1))
    request = DisputeRequest(invoice.invoice_id, line.line_id, Money.exact("20.00", "EUR"), "I was away in May")
    await world.disputes.open(request, {line.line_id: '{"text": "30 of 31 days at 45.00 EUR"}'}, actor=ANNA)


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:

    async def furnish(database: Database) -> Furnished:
        async with dunning_world(database, tmp_path) as world:
            await story(world)
        board = BoardService(world.dunning, world.notices.counts)

        rooms = [crm_routes.endpoints(world.books.crm), finance_routes.endpoints(world.books.finance)]
        rooms += [dunning_routes.endpoints(world.dunning, board, world.notices)]
        opening = Disputes(world.disputes, world.books.finance, None)  # type: ignore[arg-type]
        rooms += [routes_dunning.endpoints(world.disputes, opening, world.work)]
        return world.clock, [e for room in rooms for e in room]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def test_from_the_board_to_an_account_held_and_resumed_and_to_a_dispute(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/dunning")
    lanes = page.locator(".lane h2").all_inner_texts()
    assert lanes == ["Reminder", "Warning", "Throttle", "Garden", "Suspension", "Left alone for now"]
    garden = page.get_by_label("Garden")
    expect(garden.get_by_role("link", name="Barbara Liskov")).to_be_visible()
    expect(garden.get_by_text("next: suspension")).to_be_visible()
    expect(page.get_by_label("Left alone for now").get_by_text("promised to pay")).to_be_visible()
    assert_fits_both_widths(page)

    garden.get_by_role("link", name="Barbara Liskov").click()
    expect(page.get_by_role("heading", name="Dunning of Barbara Liskov")).to_be_visible()
    expect(page.get_by_text("garden", exact=True).first).to_be_visible()
    page.get_by_role("link", name="Hold", exact=True).click()
    page.get_by_role("button", name="Hold", exact=True).click()
    expect(page.get_by_text("needed").first).to_be_visible()
    page.locator("#field-reason").fill("is in hospital")
    page.locator("#field-lifts").select_option("yes")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Hold", exact=True).click()
    expect(page.get_by_text("Nothing happens meanwhile: on hold.")).to_be_visible()
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Resume").click()
    page.locator("#field-reason").fill("is back")
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.get_by_text("Nothing happens meanwhile")).to_have_count(0)

    page.get_by_role("cell", name="garden").first.wait_for()
    page.goto(f"{address}/dunning/notices?state=sent")
    assert_fits_both_widths(page)
    page.locator("table a[href^='/dunning/notices/']").first.click()
    expect(page.get_by_text("Guten Tag")).to_be_visible()

    page.goto(f"{address}/disputes")
    page.locator("table a[href^='/disputes/']").first.click()
    expect(page.get_by_text("30 of 31 days at 45.00 EUR")).to_be_visible()
    page.get_by_role("link", name="Reject").click()
    page.locator("#field-resolution").fill("the line was used every day")
    page.get_by_role("button", name="Reject", exact=True).click()
    expect(page.get_by_text("rejected")).to_be_visible()
    assert_fits_both_widths(page)
    page.goto(f"{address}/disputes?state=upheld")
    expect(page.get_by_text("its credit was taken back")).to_be_visible()
    page.locator("table a[href^='/disputes/']").first.click()
    expect(page.get_by_role("link", name="5,00 EUR")).to_have_attribute("href", re.compile("/invoices/[0-9a-f]{32}"))
    page.goto(f"{address}/dunning/policies")
    expect(page.get_by_text("reminder after 3 days")).to_be_visible()
    assert_fits_both_widths(page)


def test_what_is_taken_is_shown_of_each_service_by_its_own_policy(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/dunning")
    lane = page.get_by_label("Suspension")
    expect(lane.get_by_text("internet: suspend, tv: suspend")).to_be_visible()
    assert_fits_both_widths(page)
    lane.get_by_role("link", name="Donald Knuth").click()
    for kind, measure in (("internet", "suspend"), ("tv", "suspend"), ("voice", "none")):
        expect(page.get_by_role("row", name=f"Kind {kind} What is taken {measure}")).to_be_visible()
    assert_fits_both_widths(page)
    page.goto(f"{address}/dunning/policies")
    expect(page.get_by_text("suspension after 38 days (voice: none, bundle: none)")).to_be_visible()
    assert_fits_both_widths(page)


def test_a_payment_plan_is_shown_agreed_and_ended(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/dunning")
    page.get_by_label("Suspension").get_by_role("link", name="Donald Knuth").click()
    page.get_by_role("link", name="Payment plan").click()
    expect(page.get_by_label("What")).to_contain_text("what is overdue: 71,40 EUR")
    page.get_by_label("Instalments").fill("1")
    page.get_by_label("Why").fill("agreed by telephone")
    page.get_by_role("button", name="Agree").click()
    expect(page.locator("#field-count-note")).to_have_text("2 to 60")
    page.get_by_label("Instalments").fill("4")
    page.get_by_label("The first is due on").fill("2020-01-31")
    page.get_by_role("button", name="Agree").click()
    expect(page.get_by_role("alert").first).to_contain_text("from today on")
    page.get_by_label("The first is due on").fill("2030-01-31")
    page.get_by_role("button", name="Show the instalments").click()
    expect(page.get_by_role("row", name="2030-02-28")).to_contain_text("17,85 EUR")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Agree").click()
    expect(page.get_by_text("Nothing happens meanwhile: pays by instalments.")).to_be_visible()
    expect(page.locator("tbody tr", has_text="17,85 EUR on 2030-04-30")).to_contain_text("71,40 EUR")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="End", exact=True).click()
    page.get_by_label("Why").fill("has not paid")
    page.get_by_role("button", name="End plan").click()
    expect(page.get_by_text("Nothing happens meanwhile")).to_have_count(0)
    page.get_by_role("link", name="Dispute").last.click()
    expect(page.get_by_label("Invoice")).to_contain_text("71,40 EUR open")
