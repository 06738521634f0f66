"""Lines of a bill that lend themselves to an error, and the errors that one line can have by itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal

from bench.checks_people import Draft, Sub
from bench.checks_prices import CATALOGUE
from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import ChargeId, new_id
from controller.domain.money import Money

Spoiler = Callable[[random.Random, Draft], bool]


def fee_lines(draft: Draft) -> list[Charge]:
    return [c for c in draft.charges if c.kind is ChargeKind.RECURRING and c.net.minor > 100 and not c.adjustment]


def usage_lines(draft: Draft) -> list[Charge]:
    return [c for c in draft.charges if c.kind is ChargeKind.USAGE and c.net.minor > 200 and not c.adjustment]


def pick(rng: random.Random, found: Sequence[Charge]) -> Charge | None:
    return rng.choice(found) if found else None


def change_line(draft: Draft, old: Charge, **values: object) -> None:
    place = next(n for n, c in enumerate(draft.charges) if c is old)
    draft.charges[place] = replace(old, **values)  # type: ignore[arg-type]


def net_times(charge: Charge, factor: Decimal) -> Money:
    return Money.rounded(charge.net.amount * factor, charge.net.currency, ROUND_HALF_UP)


def another_line(rng: random.Random, charge: Charge, **values: object) -> Charge:
    made = new_id(datetime.fromtimestamp(rng.randrange(10**9), UTC))
    return replace(charge, charge_id=ChargeId(made), **values)  # type: ignore[arg-type]


def sub_of(draft: Draft, charge: Charge) -> Sub:
    return next(s for s in draft.subs if s.subscription_id == charge.subscription_id)


def on_line(choose: Callable[[Draft], Sequence[Charge]], **values: object) -> Spoiler:
    """An error that sets fields of a line; a callable is given the line."""

    def spoil(rng: random.Random, draft: Draft) -> bool:
        line = pick(rng, choose(draft))
        if line is None:
            return False
        change_line(draft, line, **{k: v(line) if callable(v) else v for k, v in values.items()})
        return True

    return spoil


def price_times(factor: str) -> dict[str, object]:
    f = Decimal(factor)
    return {"unit_price": lambda c: c.unit_price * f, "net": lambda c: net_times(c, f)}


def doubled(choose: Callable[[Draft], Sequence[Charge]]) -> Spoiler:
    def spoil(rng: random.Random, draft: Draft) -> bool:
        line = pick(rng, choose(draft))
        if line is None:
            return False
        draft.charges.append(another_line(rng, line))
        return True

    return spoil


def forgotten(choose: Callable[[Draft], Sequence[Charge]]) -> Spoiler:
    def spoil(rng: random.Random, draft: Draft) -> bool:
        line = pick(rng, choose(draft))
        if line is None or len(draft.charges) < 2:
            return False
        draft.charges = [c for c in draft.charges if c is not line]
        return True

    return spoil


def never_made(_: random.Random, draft: Draft) -> bool:
    """No bill at all, where there should be one, or a credit note."""
    if not draft.charges:
        return False
    draft.charges = []
    return True


def whole_months(draft: Draft) -> list[Charge]:
    return [c for c in fee_lines(draft) if c.unit == "month" and (c.until_on - c.first_on).days >= 28]


def parts_of_months(draft: Draft) -> list[Charge]:
    return [c for c in fee_lines(draft) if c.unit == "day" and (c.until_on - c.first_on).days < 25]


def discount_lines(draft: Draft) -> list[Charge]:
    return [c for c in draft.charges if c.kind is ChargeKind.RECURRING and c.net.minor < -100 and not c.adjustment]


def of_offering(*names: str) -> Callable[[Draft], list[Charge]]:
    return lambda draft: [c for c in fee_lines(draft) if CATALOGUE[c.version_id].offering_name in names]
