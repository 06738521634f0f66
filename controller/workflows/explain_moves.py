"""Says in words what a line was made for and another service was given later: by whom, and on what document it stands.

A line is judged by what held when it was billed. What was moved since is no fault of it where a reversal took it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from billing_bridge.billing.model import BookedInterval
from billing_bridge.billing.moved import Moved
from billing_bridge.sources.booked import BookedCall
from controller.domain.identity import ChargeId
from erp.finance.service import FinanceService

_NAMED = 20
"""Reversals named in one step."""


async def of_moves(finance: FinanceService, moves: Sequence[Moved], charge_id: ChargeId) -> list[str]:
    """A step for each decision, by when it was billed and corrected; `charge_id` is what the line is for."""
    groups: dict[tuple[object, ...], list[Moved]] = {}
    for move in moves:
        groups.setdefault((move.billed_by, move.corrected_by, move.decision), []).append(move)
    steps = []
    for own in groups.values():
        first = own[0]
        if first.billed_by != charge_id:
            where = f"billed by {await _document(finance, first.billed_by)} and taken back here"
        elif first.corrected_by is None:
            where = "no bill knows of it yet: the next bill run corrects it"
        else:
            where = await _correction(finance, first.corrected_by)
        steps.append(f"{_what(own)}: {_whose(first)}; {where}")
    return steps


def _what(own: Sequence[Moved]) -> str:
    days: list[date] = sorted({m.booked.day for m in own})
    when = str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
    intervals = [m.booked for m in own if isinstance(m.booked, BookedInterval)]
    calls = [m.booked for m in own if isinstance(m.booked, BookedCall)]
    if calls:
        what = f"{len(calls)} calls of {sum(c.duration_s for c in calls)} s were reversed (call"
        ids = [c.call_id for c in calls]
    else:
        octets = sum(b.interval.upstream_octets + b.interval.downstream_octets for b in intervals)
        what = f"{octets} octets were reversed (interval"
        ids = [b.interval_id for b in intervals]
    pairs = [f"{i} by {m.reversal_id}" for i, m in zip(ids, own, strict=True)]
    more = f" and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else ""
    return f"{when}  {what} {', '.join(pairs[:_NAMED])}{more})"


def _whose(move: Moved) -> str:
    said = move.decision
    if said is None:
        return "the list of identifiers does not say by whose decision"
    to = f"given to service {said.service_id}" if said.service_id else "given to nobody"
    return (
        f"{said.kind} {said.identifier} was {to} from {said.since.isoformat()} on by {said.mapped_by} "
        f"at {said.mapped_at.isoformat()}"
    )


async def _document(finance: FinanceService, charge_id: ChargeId) -> str:
    found = await finance.of_charge(charge_id)
    return found.number if found else f"charge {charge_id}, which is on no document yet"


async def _correction(finance: FinanceService, charge_id: ChargeId) -> str:
    found = await finance.of_charge(charge_id)
    if found is None:
        return f"corrected by charge {charge_id}, which is on no document yet"
    return f"{'credited' if found.kind == 'credit-note' else 'corrected'} by {found.number}"
