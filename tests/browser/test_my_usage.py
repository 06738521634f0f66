"""A customer's own look at usage in a real browser: a link is made on a form, opened by a stranger, and withdrawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import expect

from billing_bridge.billing.accounts import AccountBilling
from billing_bridge.reading import BillingReader
from billing_bridge.settings import BillingSettings
from controller.domain.identity import OfferingVersionId
from controller.store.engine import Database
from controller.workflows import routes_customer_usage
from controller.workflows.customer_usage import CustomerUsage
from erp.crm import routes as crm_routes
from erp.crm import usage_link_routes
from erp.crm.model import Contact
from erp.crm.usage_links import UsageLinks
from erp.finance.words import words_of
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, berlin
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser
PLAN = OfferingVersionId("a" * 32)


NAMES = (("de", "Glasfaser 250 für die ganze Familie"), ("fr", "Fibre 250 pour toute la famille"))
FOREIGN = ("de-DE", "fr-FR", "pl-PL", "pt-PT")


@dataclass
class Shown:
    """Where it is, and the secret of a customer's link by the customer's language."""

    address: str = ""
    secrets: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def shown(sqlite_template: Path, tmp_path: Path) -> Iterator[Shown]:
    """Ada and others used something on each day of September, were billed in October, and go on using."""
    made = Shown()

    async def furnish(database: Database) -> Furnished:
        plan = tariff(PLAN, "30.00", included=0, overage="0.05", name="Fibre 250 for the whole family")
        prices = [replace(plan, names=NAMES)]
        world = BillingWorld(database, tmp_path, prices, berlin(2026, 9, 1, 9))
        await world.entity()
        await world.launch()
        at = berlin(2026, 9, 1, 10)
        totals = [(at + timedelta(hours=12 * n), n * 300_000_001, n * (2 + n // 9) * 10**9) for n in range(70)]
        lines = {}
        for language in ("en", *FOREIGN):
            contact = Contact("Ada Lovelace" if language == "en" else f"Zoë {language}", language=language)
            account = (await world.crm.create_customer(contact, actor="user:test")).account.account_id
            lines[language] = await world.activate(PLAN, account)
            await world.account_for(lines[language], *totals)
        world.clock.move_to(berlin(2026, 10, 6, 9))
        await world.bill()
        await world.close()
        links = UsageLinks(database, world.clock)
        for language in FOREIGN:
            _, made.secrets[language] = await links.make(lines[language].account_id, 30, actor="user:test")
        accounts = AccountBilling(database, world.clock, world.crm, BillingSettings(zone=BERLIN))
        own = CustomerUsage(links, world.crm, accounts, BillingReader(database), world.finance)
        return world.clock, [
            *crm_routes.endpoints(world.crm),
            *usage_link_routes.endpoints(links),
            *routes_customer_usage.endpoints(own),
        ]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        made.address = url
        yield made


def test_a_customer_sees_the_own_usage_by_a_link_until_it_is_withdrawn(chromium: Chromium, shown: Shown) -> None:
    address = shown.address
    page = chromium.page(width=1440, height=900)
    sign_in(page, address, "/customers", "billing-user")
    page.get_by_role("link", name="Ada Lovelace").click()
    page.get_by_role("link", name="Show them their usage").click()
    expect(page.get_by_text("None was made yet.")).to_be_visible()
    page.get_by_role("button", name="Make a link").click()
    link = page.locator("dl", has_text="Address").get_by_text("/my-usage/").inner_text()
    assert_fits_both_widths(page)

    stranger = chromium.page(width=TELEPHONE, height=900)
    stranger.goto(link)
    expect(stranger.get_by_role("heading", level=1)).to_have_text("Usage in October 2026")
    expect(stranger.get_by_text("Nothing of this month is on an invoice yet.")).to_be_visible()
    stranger.get_by_role("link", name="September 2026").click()
    expect(stranger.get_by_role("heading", level=1)).to_have_text("Usage in September 2026")
    expect(stranger.locator(".bars dl > div")).to_have_count(30)
    row = stranger.locator("table tbody tr")
    expect(row).to_have_count(1)
    counted = row.locator("[data-value]").evaluate_all("all => all.map(one => one.dataset.value)")
    whole = stranger.locator("dl.facts [data-value]").get_attribute("data-value")
    assert counted == [whole, whole]
    assert_fits_both_widths(stranger)
    assert stranger.locator("nav").count() == 0
    chromium.assert_clean(address)

    page.get_by_role("link", name="Withdraw").click()
    page.get_by_role("button", name="Withdraw it").click()
    expect(page.get_by_role("link", name="Withdraw")).to_have_count(0)
    stranger.reload()
    expect(stranger.get_by_role("heading", level=1)).to_have_text("This link no longer works")
    expect(stranger.get_by_text("Ask for a new one")).to_be_visible()


SAID = {
    "de-DE": ("Verbrauch im September 2026", "Oktober 2026", "Tag für Tag", "Di., 1.", "01.09.2026 – 30.09.2026"),
    "fr-FR": (
        "Consommation\xa0: septembre 2026",
        "Octobre 2026",
        "Jour par jour",
        "mar. 1",
        "1 sept. 2026 – 30 sept. 2026",
    ),
    "pl-PL": ("Zużycie: wrzesień 2026", "Październik 2026", "Dzień po dniu", "wt., 1", "1 wrz 2026 – 30 wrz 2026"),
    "pt-PT": ("Consumo de setembro de 2026", "Outubro de 2026", "Dia a dia", "terça, 1", "01/09/2026 – 30/09/2026"),
}
"""Title, the month after, the name of the picture, the label of its first bar, and the period of the invoice's line."""


@pytest.mark.parametrize("language", FOREIGN)
def test_it_speaks_the_language_of_the_accounts_documents(chromium: Chromium, shown: Shown, language: str) -> None:
    title, after, picture, first, period = SAID[language]
    page, words = chromium.page(width=TELEPHONE), words_of(language.replace("-", "_"))
    page.goto(f"{shown.address}/my-usage/{shown.secrets[language]}?month=2026-09")
    expect(page.locator("html")).to_have_attribute("lang", language[:2])
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    expect(page.get_by_role("link", name=after)).to_be_visible()
    expect(page.locator(".bars h3")).to_have_text(picture)
    expect(page.locator(".bars dt").first).to_have_text(first)
    octets = page.locator("dl.facts [data-value]").get_attribute("data-value")
    exact = words.number(Decimal(octets or 0))
    expect(page.locator("dl.facts dd").nth(1)).to_have_text(exact)
    row = page.locator("table tbody tr")
    name = dict(NAMES).get(language[:2], "Fibre 250 for the whole family")
    for said in (name, words["usage"], period):
        expect(row).to_contain_text(said)
    text = page.locator("body").inner_text()
    assert [each for each in ENGLISH if each in text.replace("Fibre 250 for the whole family", "")] == []
    assert_fits_both_widths(page)
    chromium.assert_clean(shown.address)


ENGLISH = ("Usage", "Headend", "invoice", "Invoice", "Description", "Period", "Used", "Day by", "Skip")
"""Words that are of the English page, or of staff's pages."""


@pytest.mark.parametrize(
    ("asked", "spoken", "said"),
    [
        ("pl", "pl", "Ten link już nie działa"),
        ("pt-BR", "pt", "Este link já não funciona"),
        ("sv-SE", "en", "This link no longer works"),
    ],
)
def test_a_link_that_opens_nothing_says_so_in_the_browsers_language(
    chromium: Chromium, shown: Shown, asked: str, spoken: str, said: str
) -> None:
    page = chromium.page(width=TELEPHONE, locale=asked)
    answer = page.goto(f"{shown.address}/my-usage/{shown.secrets['fr-FR'][::-1]}")
    assert answer is not None
    assert (answer.status, answer.headers["vary"]) == (404, "Accept-Language")
    expect(page.locator("html")).to_have_attribute("lang", spoken)
    expect(page.get_by_role("heading", level=1)).to_have_text(said)
    assert_fits_both_widths(page)


def test_a_month_that_is_none_shows_the_running_one(chromium: Chromium, shown: Shown) -> None:
    page = chromium.page(width=TELEPHONE)
    page.goto(f"{shown.address}/my-usage/{shown.secrets['de-DE']}?month=2026-13")
    expect(page.get_by_role("heading", level=1)).to_have_text("Verbrauch im Oktober 2026")
