"""All checks over one account's bill. Pure."""

from __future__ import annotations

from billing_bridge.checks.case import Case, Finding
from billing_bridge.checks.contract import by_contract
from billing_bridge.checks.history import by_history
from billing_bridge.checks.rules import by_rule
from controller.domain.money import Money


def detect(case: Case) -> list[Finding]:
    """Every finding, the dearest first; none means that the bill may leave."""
    found = [*by_rule(case), *by_contract(case), *by_history(case)]
    return sorted(found, key=lambda f: -f.at_stake.minor)


def at_stake(findings: list[Finding], currency: str) -> Money:
    """The money that a bill with these findings may be wrong by: of each subscription what its dearest finding says,
    because several findings mostly speak of the same fault."""
    dearest: dict[str, int] = {}
    for finding in findings:
        dearest[finding.subscription_id] = max(dearest.get(finding.subscription_id, 0), finding.at_stake.minor)
    return Money(sum(dearest.values()), currency)
