"""All checks over one account's bill. Pure."""

from __future__ import annotations

from dataclasses import replace

from billing_bridge.checks.case import Case, Finding
from billing_bridge.checks.contract import by_contract
from billing_bridge.checks.history import by_history
from billing_bridge.checks.rules import by_rule
from controller.domain.money import Money

NO_BILL = "no-bill"
"""A bill was expected, and there is none: whatever is missing has this name then."""


def detect(case: Case) -> list[Finding]:
    """Every finding, the dearest first; none means that the bill may leave, or that there is rightly none."""
    found = [*by_rule(case), *by_contract(case), *by_history(case)]
    if not case.charges:
        found = [replace(f, check=NO_BILL) if f.low is not None and f.actual.minor < f.low.minor else f for f in found]
    return sorted(found, key=lambda f: -f.at_stake.minor)


def at_stake(findings: list[Finding], currency: str) -> Money:
    """The money that a bill with these findings may be wrong by: of each subscription what its dearest finding says,
    because several findings mostly speak of the same fault."""
    dearest: dict[str, int] = {}
    for finding in findings:
        dearest[finding.subscription_id] = max(dearest.get(finding.subscription_id, 0), finding.at_stake.minor)
    return Money(sum(dearest.values()), currency)
