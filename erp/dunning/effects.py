"""What a notice says of each service of an account: what is taken of it, and what would be if nothing is paid. Pure.

Services are called as their customer knows them. Those of one name are counted: what is taken follows from the kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from controller.domain.price import ProductKind
from controller.domain.restriction import Measure, Restriction, measures_of
from erp.dunning.model import State, Taken, state_on
from erp.dunning.policy import MAX_STEPS
from erp.dunning.standing import Standing, stricter
from erp.orders.served import Served

_KINDS = tuple(ProductKind)


@dataclass(frozen=True, slots=True)
class Effect:
    """`since` is the day from which more is taken than before, where the steps of this notice brought that."""

    name: str
    count: int
    kind: ProductKind
    restriction: Restriction
    since: date | None = None


@dataclass(frozen=True, slots=True)
class Effects:
    """`now` is empty where nothing is taken of anything; `then` where no further step takes more than that."""

    now: tuple[Effect, ...] = ()
    then: tuple[Effect, ...] = ()


def effects_of(
    standing: Standing, above: Standing | None, services: Sequence[Served], steps: Sequence[Any], language: str
) -> Effects:
    """`above` is whose arrears restrict this account too; `steps` are the rows of those that the notice tells of."""
    day, facts = standing.state.day, standing.facts
    own = {(s.invoice_id, s.since_on, s.number) for s in steps}
    before = state_on(day, replace(facts, taken=[t for t in facts.taken if (t.invoice_id, t.since, t.step) not in own]))
    count = Counter((s.name_in(language), s.kind) for s in services if measures_of(s.kind) != (Measure.NONE,))
    named = dict(sorted(count.items(), key=lambda told: (_KINDS.index(told[0][1]), told[0][0])))
    kinds = {kind for _, kind in named}

    def taken(state: State) -> dict[ProductKind, Restriction]:
        here = replace(standing, state=state)
        return {kind: stricter(here, above, kind).state.of(kind).restriction for kind in kinds}

    now, was = taken(standing.state), taken(before)
    since = {kind: steps[0].taken_on for kind in kinds if _is_more(now[kind], was[kind])}
    ahead = (taken(state) for state in _ahead(standing, own))
    then = next((found for found in ahead if any(_is_more(found[kind], now[kind]) for kind in kinds)), {})
    restricts = any(now[kind].measure is not Measure.NONE for kind in kinds)
    return Effects(
        tuple(Effect(name, n, kind, now[kind], since.get(kind)) for (name, kind), n in named.items() if restricts),
        tuple(Effect(name, n, kind, then[kind]) for (name, kind), n in named.items() if then),
    )


def _is_more(one: Restriction, other: Restriction) -> bool:
    return one.measure.rank > other.measure.rank


def _ahead(standing: Standing, own: set[tuple[str, date, int]]) -> Iterator[State]:
    """Where the account stands after each further step of these invoices, as far as a ladder may go."""
    day, facts = standing.state.day, standing.facts
    last: dict[tuple[str, date], int] = {}
    for invoice_id, since, number in own:
        last[(invoice_id, since)] = max(number, last.get((invoice_id, since), 0))
    taken = list(facts.taken)
    for n in range(1, MAX_STEPS + 1):
        taken += [Taken(invoice_id, since, number + n, day, day) for (invoice_id, since), number in last.items()]
        yield state_on(day, replace(facts, taken=taken))
