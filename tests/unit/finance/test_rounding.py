"""The rounding policy: tax once for each rate of a document or for each line, and every sum the same to the cent."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

import pytest

from controller.app import settings
from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import BillRunId, new_id
from erp.finance import deferral
from erp.finance.chart import Chart, default_accounts
from erp.finance.content import content_of
from erp.finance.document import due_minor
from erp.finance.einvoice import cii, ubl
from erp.finance.einvoice.model import of_content
from erp.finance.levies import levied
from erp.finance.model import CREDIT_NOTE, draft
from erp.finance.service import FinanceService
from erp.finance.settings import FinanceSettings
from erp.finance.tax import Exemption, TaxTable
from tests.support.charges import charge
from tests.support.en16931 import faults
from tests.support.finance import NOW, Books
from tests.support.levies import AUSTIN, levy_lines
from tests.support.papers import BUYER, SELLER, content

MISSION = Exemption("account", date(2026, 9, 1), date(2026, 9, 11), "Diplomatic mission, No. 7")
CHART = Chart(default_accounts())


HUNDRED_THOUSAND = 100_000


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("seed", "documents"),
    [(20261122, 1_000), *(pytest.param(n, HUNDRED_THOUSAND, marks=pytest.mark.long) for n in range(10))],
)
def test_lines_and_tax_are_the_total_the_journal_and_what_is_asked_for(seed: int, documents: int) -> None:
    """Random documents, a million in all: mixed rates, categories and signs, prices with tax, levies, each rounding."""
    chance = random.Random(seed)
    for _ in range(documents):
        lines = [_random_line(chance, n) for n in range(chance.randint(1, 12))]
        rounding, each_line = chance.choice([ROUND_HALF_UP, ROUND_HALF_EVEN]), chance.random() < 0.3
        plain = draft(lines, rounding, each_line=each_line)
        levies = levied(AUSTIN, levy_lines(plain, "US-TX-Austin")) if chance.random() < 0.3 else []
        made = draft(lines, rounding, levies, each_line=each_line)
        total = made.total.minor
        assert total == sum(c.net.minor for c in made.charges) + sum(t.minor for t in made.taxes)
        assert made.tax.minor == sum(g.tax.minor for g in made.groups) + sum(v.tax.minor for v in levies)
        assert made.net.minor == sum(g.net.minor for g in made.groups)
        if all(c.tax_included for c in lines) and not levies:
            assert total == sum(c.net.minor for c in lines)  # what was agreed, to the cent
        posted = deferral.postings(made, CHART, deferral.deferred(made.charges, date(2026, 9, 30), {}), {})
        assert sum(p.amount.minor for p in posted) == 0
        assert sum(p.amount.minor for p in posted if p.code == "1200") == total
        said = content_of(
            made,
            number="1",
            issued_on=date(2026, 10, 1),
            due_on=date(2026, 10, 15),
            seller=SELLER,
            buyer=BUYER,
            iban="",
            prepaid_minor=chance.choice([0, 1]) if total > 0 else 0,
        )
        assert due_minor(said) == (0 if made.kind == CREDIT_NOTE else total - said["prepaid_minor"])
        assert sum(x["net_minor"] + x["tax_minor"] for x in said["lines"]) == said["total_minor"] == total
        for group in made.groups:
            if not group.percent:
                assert not group.tax
                continue
            exact = group.net.amount * group.percent / 100
            off = Decimal("0.005") * len(lines) if each_line else Decimal("0.01")
            assert abs(group.tax.amount - exact) <= (off + Decimal("0.001")) * (1 + group.percent / 100)


def _random_line(chance: random.Random, n: int) -> Charge:
    percent = chance.choice(["0", "7", "19", "5.5", "25.5", "8.1"])
    made = charge(chance.randint(-(10**6), 10**7), percent, chance.choice(list(ChargeKind)), n)
    return replace(
        made,
        tax_included=chance.random() < 0.5,
        tax_category=chance.choice(["Z", "AE", "E", "O"]) if percent == "0" else "S",
        product=chance.choice(["voice", "internet"]),
        quantity=Decimal(chance.randint(1, 3)),
    )


def test_tax_is_rounded_for_the_document_or_for_each_line_as_the_site_says() -> None:
    """Three lines of 0.33 at 19 %: 0.0627 each is 0.06 a line, and 0.19 of the document."""
    lines = [charge(33, n=n) for n in range(3)]
    once, each = draft(lines, ROUND_HALF_UP), draft(lines, ROUND_HALF_UP, each_line=True)
    assert ([t.minor for t in once.taxes], once.tax.minor, once.total.minor) == ([7, 6, 6], 19, 118)
    assert ([t.minor for t in each.taxes], each.tax.minor, each.total.minor) == ([6, 6, 6], 18, 117)
    gross = [replace(charge(40, n=n), tax_included=True) for n in range(3)]  # 6.387 cents in each, 19.16 in all
    for each_line, tax in ((False, 19), (True, 18)):
        made = draft(gross, ROUND_HALF_UP, each_line=each_line)
        assert (made.tax.minor, made.total.minor) == (tax, 120), "what was agreed, to the cent"


@pytest.mark.parametrize("net", [33, -33])
def test_a_document_whose_lines_were_rounded_is_a_valid_e_invoice(net: int) -> None:
    table = TaxTable((), [MISSION])
    charges = [*table.apply([charge(net, n=1)]), *(charge(net, n=n) for n in range(2, 60))]
    found = of_content(content(charges, each_line=True))
    assert found.tax != (found.net * 19 / 100).quantize(Decimal("0.01"))
    assert faults("ubl-credit-note" if net < 0 else "ubl-invoice", ubl.render(found)) == []
    assert faults("cii", cii.render(found)) == []


async def test_a_document_whose_lines_were_rounded_is_posted_and_taken_back_to_the_cent(books: Books) -> None:
    finance = FinanceService(books.database, books.clock, books.crm, FinanceSettings(tax_each_line=True))
    account = await books.account()
    three = [books.charge(account, "0.33") for _ in range(3)]
    (made,) = await finance.issue(BillRunId(new_id(NOW)), three)
    assert (await finance.invoice(made)).tax.minor == 18
    balances = {b.code: b.balance.minor for b in await books.books.trial_balance()}
    assert balances == {"1200": 117, "4400": -99, "3806": -18}
    (line, *_) = await finance.lines(made)
    await finance.corrections.credit(made, {line.line_id: None}, reason="x", reference="a", actor="user:anna")
    await finance.corrections.void(made, reason="x", actor="user:anna")
    assert not any(b.balance for b in await books.books.trial_balance())


def test_an_operator_says_what_tax_is_rounded_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().tax_rounding == "document"
    monkeypatch.setenv("HEADEND_TAX_ROUNDING", "line")
    assert settings.load().tax_rounding == "line"
    monkeypatch.setenv("HEADEND_TAX_ROUNDING", "cent")
    with pytest.raises(SystemExit, match="HEADEND_TAX_ROUNDING"):
        settings.load()
