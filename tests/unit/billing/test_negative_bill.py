"""A bill whose discounts are more than its fees waits; credits, and discounts that came after the fee, do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

from billing_bridge.billing.cycle import Calendar
from billing_bridge.checks.case import Case, Finding, Holding, Key
from billing_bridge.checks.rules import by_rule
from billing_bridge.rating.proration import Change
from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import AccountId, OfferingVersionId, SubscriptionId
from controller.domain.money import Money
from controller.domain.price import Flat, PricePlan
from tests.support.billing_fakes import tariff
from tests.support.charges import charge

FEE, OFF = (OfferingVersionId(c * 32) for c in "ab")
ACCOUNT = AccountId("9" * 32)
TARIFFS = {
    FEE: tariff(FEE, "20.00"),
    OFF: replace(tariff(OFF, "0", name="Discount"), plan=PricePlan(prices=(Flat(code="fee", amount=Decimal(-50)),))),
}


def line(version_id: OfferingVersionId, minor: int, *, adjustment: bool = False) -> Charge:
    return replace(
        charge(minor),
        account_id=ACCOUNT,
        subscription_id=SubscriptionId(version_id),
        version_id=version_id,
        kind=ChargeKind.RECURRING,
        first_on=date(2026, 6, 1),
        until_on=date(2026, 7, 1),
        net=Money(minor, "EUR"),
        adjustment=adjustment,
    )


def found(charges: Sequence[Charge], before: Mapping[OfferingVersionId, int] | None = None) -> list[Finding]:
    holdings = [
        Holding(
            v, "", ACCOUNT, Calendar(1, date(2026, 1, 1)), [Change(date(2026, 1, 1), v)],
            charged={Key(date(2026, 6, 1), v, ChargeKind.RECURRING): minor} if (minor := (before or {}).get(v)) else {},
        )
        for v in TARIFFS
    ]  # fmt: skip
    case = Case(ACCOUNT, "EUR", date(2026, 6, 2), charges, holdings, TARIFFS)
    return [f for f in by_rule(case) if f.check == "negative-bill"]


def test_more_discount_than_fees_waits_with_what_is_at_stake() -> None:
    (finding,) = found([line(FEE, 2000), line(OFF, -5000)])
    assert (finding.actual, finding.at_stake) == (Money(-3000, "EUR"), Money(3000, "EUR"))
    assert [r.what for r in finding.records] == ["charge"]


def test_a_discount_that_comes_after_its_fee_was_billed_does_not_wait() -> None:
    assert found([line(OFF, -500)], {FEE: 2000}) == []
    assert len(found([line(OFF, -5000)], {FEE: 2000})) == 1


def test_what_is_given_back_is_no_discount() -> None:
    assert found([line(FEE, -1200, adjustment=True)], {FEE: 2000}) == []
    assert found([line(FEE, 2000), line(OFF, -1999)]) == []
