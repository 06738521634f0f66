"""Where an account stands with what it owes: a pure function of open items, days, policy and what it was told. Pure.

    due ─ reminder ─ warning ─ throttle ─ walled garden ─ suspension ─ proposal to end the contract ─ collections

Nothing of this is kept: `state_on` computes it anew from what is open, so paying or crediting to zero ends it at once,
whoever did it and in whichever order. What is kept is what cannot be undone: which step was taken for which invoice, on
which day (`Taken`). Steps are taken one after the other and never on one day, each only when the account was told of
the one before: nights that were missed, or a clock that leapt, postpone a ladder; they never make it skip a rung or say
one twice.

What a rung takes depends on the kind of the service: an internet line may be slowed down while television is off and
the telephone works. `State.services` says it for each kind of which something is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from controller.domain.price import ProductKind
from controller.domain.restriction import FREE, SERVICES, Measure, Restriction
from controller.domain.service import SpeedProfile

TERMINATION, COLLECTIONS = "termination", "collections"
"""What a step proposes to a person: to end the contract, to hand the claim over."""

_ONE_DAY = timedelta(days=1)
_LONGEST_SEARCH_DAYS = 366
"""A calendar without a working day in a year is none."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rung. It is taken `days` after the due day at the earliest, and `gap_days` after the rung before was told.

    `minimum_minor` is what the account must owe overdue for it to be taken, and to stay in force. `notice` is the text
    that is sent, "" for none; `fee_minor` is charged for it once per invoice. `services` says what it takes of services
    of some kinds, in place of what follows from `measure`.
    """

    name: str
    days: int
    gap_days: int = 1
    measure: Measure = Measure.NONE
    notice: str = ""
    minimum_minor: int = 0
    fee_minor: int = 0
    proposes: str = ""
    services: tuple[tuple[ProductKind, Measure], ...] = ()

    def measure_of(self, kind: ProductKind) -> Measure:
        """Of a kind that nobody named, internet has the measure; other services are there until it is a suspension."""
        for named, measure in self.services:
            if named is kind:
                return measure
        if kind is ProductKind.INTERNET:
            return self.measure
        return Measure.SUSPEND if self.measure is Measure.SUSPEND and kind in SERVICES else Measure.NONE


@dataclass(frozen=True, slots=True)
class Policy:
    """The ladder of a segment of customers, from a day on. An empty one duns nobody.

    An invoice climbs the ladder that held on the day it was due. Below `minimum_minor` overdue nothing happens.
    """

    policy_id: str
    segment: str
    currency: str
    version: int
    effective_on: date
    steps: tuple[Step, ...]
    minimum_minor: int = 0
    country: str = ""
    """Whose holidays are no working days (ISO 3166); "" knows of weekends alone."""
    subdivision: str = ""
    throttle: SpeedProfile | None = None
    bill_suspended: bool = True
    """Whether a suspended service is billed on."""
    grace_days: int = 2
    """How long after its day a promise or an instalment may still arrive."""
    rejected_days: int = 7
    """How long dunning rests after a dispute was rejected, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Debt:
    """An invoice that is not settled. `since` is its due day, or the later day on which a chargeback reopened it."""

    invoice_id: str
    number: str
    since: date
    open_minor: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that was taken. `told_on` is when its notice went out: None while it has not, `on` where there is none."""

    invoice_id: str
    since: date
    step: int
    on: date
    told_on: date | None


@dataclass(frozen=True, slots=True)
class Disputed:
    """An amount of an invoice that the customer contests, on the days [first_on, until_on)."""

    invoice_id: str
    amount_minor: int
    first_on: date
    until_on: date | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Days [first_on, until_on) on which no step is taken; where it `lifts`, measures are lifted meanwhile."""

    kind: str
    first_on: date
    until_on: date | None
    lifts: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A payment plan: `invoice_ids`, of which `opening_minor` was open, are paid by `instalments` of (day, amount).

    Its invoices rest while what was paid of them keeps up. It is judged by what is open: whoever pays the rest of a
    plan that was broken has kept it.
    """

    plan_id: str
    invoice_ids: frozenset[str]
    opening_minor: int
    instalments: tuple[tuple[date, int], ...]
    made_on: date
    grace_days: int = 0
    ended_on: date | None = None

    def expected(self, day: date, is_working: Callable[[date], bool]) -> int:
        """What should have arrived by then: an instalment is missed on the first working day after its grace."""
        grace = timedelta(days=self.grace_days + 1)
        return sum(amount for due_on, amount in self.instalments if working_day(due_on + grace, is_working) <= day)

    def holds(self, day: date, open_minor: Mapping[str, int], is_working: Callable[[date], bool]) -> bool:
        """Whether it is in force and kept. `open_minor` is what is open of each invoice."""
        if day < self.made_on or (self.ended_on is not None and day >= self.ended_on):
            return False
        left = sum(open_minor.get(invoice_id, 0) for invoice_id in self.invoice_ids)
        return self.opening_minor - left >= self.expected(day, is_working)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the state of an account on a day follows from. `debts` are those open at the end of that day."""

    policies: Sequence[Policy]
    debts: Sequence[Debt]
    taken: Sequence[Taken] = ()
    disputes: Sequence[Disputed] = ()
    pauses: Sequence[Pause] = ()
    agreements: Sequence[Agreement] = ()
    is_working: Callable[[date], bool] = lambda day: day.weekday() < 5


@dataclass(frozen=True, slots=True)
class Due:
    """A step to be taken today, for one invoice."""

    debt: Debt
    number: int
    step: Step
    policy: Policy


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is taken of an account's services of a kind, and whether a suspended one is billed on."""

    restriction: Restriction = FREE
    billed: bool = True

    @property
    def measure(self) -> Measure:
        return self.restriction.measure


UNTOUCHED = Treatment()


@dataclass(frozen=True, slots=True)
class State:
    """Where an account stands on a day. `stage` is its highest rung in force, "" for none; amounts are minor units.

    `services` has the kinds of service of which something is taken. `next_on` is the first day on which a step can be
    taken as things are; None when nothing is going to happen.
    """

    day: date
    open_minor: int = 0
    overdue_minor: int = 0
    disputed_minor: int = 0
    claimed_minor: int = 0
    oldest_on: date | None = None
    rung: int = 0
    stage: str = ""
    services: Mapping[ProductKind, Treatment] = field(default_factory=dict)
    proposes: frozenset[str] = frozenset()
    rests: tuple[str, ...] = ()
    due: tuple[Due, ...] = ()
    next_step: str = ""
    next_on: date | None = None

    def of(self, kind: ProductKind) -> Treatment:
        return self.services.get(kind, UNTOUCHED)

    @property
    def restricts(self) -> bool:
        """Whether anything is taken of anything."""
        return bool(self.services)

    @property
    def restriction(self) -> Restriction:
        """Of internet lines."""
        return self.of(ProductKind.INTERNET).restriction

    @property
    def measure(self) -> Measure:
        """Of internet lines."""
        return self.restriction.measure


def policy_on(policies: Sequence[Policy], day: date) -> Policy | None:
    """The version in force on a day; before the first one took effect, that first one."""
    ordered = sorted(policies, key=lambda p: (p.effective_on, p.version))
    began = [p for p in ordered if p.effective_on <= day]
    return began[-1] if began else next(iter(ordered), None)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What may be claimed of one invoice, and how far up its ladder it is."""

    debt: Debt
    policy: Policy
    minor: int
    told: Mapping[int, Taken]
    resumed_on: date

    def in_force(self, day: date, total: int) -> list[tuple[int, Step]]:
        steps = []
        for number, step in enumerate(self.policy.steps, 1):
            taken = self.told.get(number)
            if taken is None or taken.on > day:
                break
            if total >= max(step.minimum_minor, self.policy.minimum_minor):
                steps.append((number, step))
        return steps

    def following(self) -> tuple[int, Step] | None:
        """The rung after the last one taken, whenever that was."""
        number = next(n for n in range(1, len(self.told) + 2) if n not in self.told)
        return None if number > len(self.policy.steps) else (number, self.policy.steps[number - 1])

    def opens_on(self, number: int, step: Step, is_working: Callable[[date], bool]) -> date | None:
        """The first working day on which a rung can be taken; None until the one before was told."""
        earliest = max(self.debt.since + timedelta(days=max(1, step.days)), self.resumed_on)
        if number > 1:
            told_on = self.told[number - 1].told_on
            if told_on is None:
                return None
            earliest = max(earliest, told_on + timedelta(days=max(1, step.gap_days)))
        return working_day(earliest, is_working)


def working_day(day: date, is_working: Callable[[date], bool]) -> date:
    """`day`, or the next one on which people work. Raises ValueError for a calendar that has none in a year."""
    for n in range(_LONGEST_SEARCH_DAYS):
        if is_working(day + n * _ONE_DAY):
            return day + n * _ONE_DAY
    raise ValueError(f"the calendar has no working day in the year from {day}")


def state_on(day: date, facts: Facts) -> State:
    """Where the account stands at the end of `day`. What was taken after it counts only as not to be repeated."""
    open_minor = {debt.invoice_id: debt.open_minor for debt in facts.debts}
    overdue = [debt for debt in facts.debts if debt.since < day]
    agreed = {i for plan in facts.agreements if plan.holds(day, open_minor, facts.is_working) for i in plan.invoice_ids}
    every = [c for c in (_claim(debt, day, facts, agreed) for debt in facts.debts) if c is not None]
    claims = [c for c in every if c.debt.since < day]
    total = sum(claim.minor for claim in claims)
    pauses = [p for p in facts.pauses if _covers(p.first_on, p.until_on, day)]
    standing = [(claim.policy, number, step) for claim in claims for number, step in claim.in_force(day, total)]
    _, rung, top = max(standing, key=lambda f: (f[1], f[2].measure.rank), default=(None, 0, None))
    in_force = [] if any(p.lifts for p in pauses) else standing
    due, coming = ((), []) if pauses else _coming(day, every, facts.is_working)
    next_on, next_step = min(coming, default=(None, ""))
    return State(
        day,
        open_minor=sum(open_minor.values()),
        overdue_minor=sum(debt.open_minor for debt in overdue),
        disputed_minor=sum(min(d.open_minor, disputed_of(d.invoice_id, day, facts.disputes)) for d in facts.debts),
        claimed_minor=total,
        oldest_on=min((debt.since for debt in overdue), default=None),
        rung=rung,
        stage="" if top is None else top.name,
        services=_treatments(in_force),
        proposes=frozenset(step.proposes for _, _, step in in_force if step.proposes),
        rests=tuple(dict.fromkeys([p.kind for p in pauses] + (["plan"] if agreed else []))),
        due=due,
        next_step=next_step,
        next_on=next_on,
    )


def disputed_of(invoice_id: str, day: date, disputes: Collection[Disputed]) -> int:
    """What of an invoice is contested on a day."""
    return sum(d.amount_minor for d in disputes if d.invoice_id == invoice_id and _covers(d.first_on, d.until_on, day))


def _claim(debt: Debt, day: date, facts: Facts, agreed: Collection[str]) -> _Claim | None:
    policy = policy_on(facts.policies, debt.since)
    minor = debt.open_minor - disputed_of(debt.invoice_id, day, facts.disputes)
    if policy is None or minor <= 0 or debt.invoice_id in agreed:
        return None
    told = {t.step: t for t in facts.taken if (t.invoice_id, t.since) == (debt.invoice_id, debt.since)}
    ended = [p.until_on for p in facts.pauses if p.until_on is not None and p.until_on <= day]
    ended += [
        d.until_on
        for d in facts.disputes
        if d.invoice_id == debt.invoice_id and d.until_on is not None and d.until_on <= day
    ]
    return _Claim(debt, policy, minor, told, max(ended, default=debt.since))


def _treatments(in_force: Sequence[tuple[Policy, int, Step]]) -> dict[ProductKind, Treatment]:
    """The strictest measure for each kind, and whether it is billed on under the policy that imposed that."""
    found = {}
    for kind in ProductKind if in_force else ():
        policy, _, step = max(in_force, key=lambda f: f[2].measure_of(kind).rank)
        measure = step.measure_of(kind)
        if measure is not Measure.NONE:
            profile = policy.throttle if measure is Measure.THROTTLE else None
            found[kind] = Treatment(Restriction(measure, profile), policy.bill_suspended)
    return found


def _coming(
    day: date, claims: Sequence[_Claim], is_working: Callable[[date], bool]
) -> tuple[tuple[Due, ...], list[tuple[date, str]]]:
    """The steps that are due today, and (day, name) of the next step of each invoice, due already or not yet."""
    due, coming = [], []
    for claim in claims:
        found = claim.following()
        opens_on = None if found is None else claim.opens_on(*found, is_working)
        if found is None or opens_on is None:
            continue
        number, step = found
        on = max(opens_on, day)
        total = sum(other.minor for other in claims if other.debt.since < on)
        if total < max(step.minimum_minor, claim.policy.minimum_minor):
            continue
        if on == day and is_working(day):
            due.append(Due(claim.debt, number, step, claim.policy))
        coming.append((working_day(on, is_working), step.name))
    return tuple(due), coming


def _covers(first_on: date, until_on: date | None, day: date) -> bool:
    return first_on <= day and (until_on is None or day < until_on)
