"""Dunning as a pure function: against a walk day by day written independently, and by what must always be true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.price import ProductKind
from controller.domain.restriction import SERVICES, Measure, Restriction, measures_of
from erp.dunning import calendar
from erp.dunning.errors import PolicyRefused
from erp.dunning.model import Agreement, Debt, Disputed, Facts, Pause, Policy, State, Taken, state_on, working_day
from erp.dunning.policy import DEFAULT, default, read
from erp.finance.model import Open, settle
from tests.support.dunning_oracle import Invoice, every_night, walk

FIRST = date(2026, 11, 2)
GERMAN = replace(default("EUR"), country="DE", subdivision="BE")
BERLIN = calendar.working("DE", "BE")


def after_the_night(state: State, facts: Facts) -> tuple[Facts, State]:
    """What `state` says is due is taken and told, as the executor does; the facts and the state thereafter."""
    taken = [Taken(d.debt.invoice_id, d.debt.since, d.number, state.day, state.day) for d in state.due]
    facts = replace(facts, taken=(*facts.taken, *taken))
    return facts, state_on(state.day, facts)


def facts_on(day: date, invoices: Sequence[Invoice], taken: Sequence[Taken] = (), **known: object) -> Facts:
    debts = [Debt(i.name, i.name, i.due, left) for i in invoices if (left := i.open_at_end_of(day)) > 0]
    return Facts(**({"policies": [GERMAN], "debts": debts, "taken": taken, "is_working": BERLIN} | known))  # type: ignore[arg-type]


days = st.integers(0, 130).map(lambda n: FIRST + timedelta(days=n))
spans = st.tuples(days, st.one_of(st.none(), st.integers(1, 60)))


def ended(first_on: date, length: int | None) -> date | None:
    return None if length is None else first_on + timedelta(days=length)


@st.composite
def accounts(draw: st.DrawFn) -> tuple[list[Invoice], list[Disputed], list[Pause], list[date]]:
    invoices = []
    for n in range(draw(st.integers(1, 3))):
        invoice = Invoice(f"I{n}", draw(days), draw(st.integers(100, 9_000)))
        left = invoice.total
        for _ in range(draw(st.integers(0, 3))):
            part = draw(st.integers(0, left))
            invoice.paid.append((draw(days), part))
            left -= part
        invoices.append(invoice)
    disputes = [
        Disputed(draw(st.sampled_from(invoices)).name, draw(st.integers(1, 4_000)), first, ended(first, length))
        for first, length in draw(st.lists(spans, max_size=2))
    ]
    pauses = [
        Pause("hold", first, ended(first, length), draw(st.booleans()))
        for first, length in draw(st.lists(spans, max_size=2))
    ]
    nights = [night for night in every_night(FIRST, 160) if draw(st.integers(0, 9)) < 8]
    return invoices, disputes, pauses, nights


@settings(max_examples=60, deadline=None)
@given(accounts())
def test_every_night_comes_to_what_a_walk_day_by_day_comes_to(
    account: tuple[list[Invoice], list[Disputed], list[Pause], list[date]],
) -> None:
    invoices, disputes, pauses, nights = account
    told = walk(invoices, GERMAN, nights, disputes=disputes, pauses=pauses, works=BERLIN)
    taken: tuple[Taken, ...] = ()
    climbed: list[tuple[str, int, date]] = []
    for night in nights:
        facts = facts_on(night, invoices, taken, disputes=disputes, pauses=pauses)
        state = state_on(night, facts)
        facts, settled = after_the_night(state, facts)
        taken = tuple(facts.taken)
        climbed += [(d.debt.invoice_id, d.number, night) for d in state.due]
        assert [(d.debt.invoice_id, d.number) for d in state.due] == told[night].took, night
        assert (settled.measure.value, settled.claimed_minor) == (told[night].measure, told[night].claimed), night
        assert not settled.due, "a night that is run again finds nothing to do"
    for invoice in invoices:
        rungs = [(number, on) for name, number, on in climbed if name == invoice.name]
        assert [number for number, _ in rungs] == list(range(1, len(rungs) + 1)), "no rung is skipped or said twice"
        assert all(BERLIN(on) for _, on in rungs)
        assert all(
            (later - before).days >= GERMAN.steps[number - 1].gap_days
            for (_, before), (number, later) in pairwise(rungs)
        )


@settings(max_examples=60, deadline=None)
@given(accounts(), st.randoms(use_true_random=False))
def test_payments_lead_to_one_state_in_whichever_order_they_arrive(
    account: tuple[list[Invoice], list[Disputed], list[Pause], list[date]], chance: object
) -> None:
    invoices, disputes, pauses, nights = account
    owed = [Open(i.name, i.total) for i in sorted(invoices, key=lambda i: i.due)]
    amounts = [amount for i in invoices for _, amount in i.paid]
    day = nights[-1]

    def arrive(order: Sequence[int]) -> State:
        left = {o.key: o.minor for o in owed}
        for n, amount in enumerate(order):
            for key, _, part in settle([Open(o.key, left[o.key]) for o in owed if left[o.key]], [Open(str(n), amount)]):
                left[key] -= part
        debts = [Debt(i.name, i.name, i.due, left[i.name]) for i in invoices if left[i.name]]
        return state_on(day, Facts([GERMAN], debts, (), disputes, pauses, (), BERLIN))

    shuffled = list(amounts)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert arrive(shuffled) == arrive(amounts)


@settings(max_examples=60, deadline=None)
@given(accounts(), st.integers(0, 2), st.integers(1, 9_000))
def test_money_that_arrives_never_makes_anything_worse_and_all_of_it_ends_it(
    account: tuple[list[Invoice], list[Disputed], list[Pause], list[date]], which: int, amount: int
) -> None:
    invoices, disputes, pauses, nights = account
    facts = facts_on(nights[0], invoices, (), disputes=disputes, pauses=pauses)
    for night in nights:
        facts = facts_on(night, invoices, facts.taken, disputes=disputes, pauses=pauses)
        facts, before = after_the_night(state_on(night, facts), facts)
    debts = list(facts.debts)
    if debts:
        paid = debts[which % len(debts)]
        debts[which % len(debts)] = replace(paid, open_minor=max(0, paid.open_minor - amount))
    after = state_on(nights[-1], replace(facts, debts=debts))
    assert after.measure.rank <= before.measure.rank
    assert after.rung <= before.rung
    nothing = state_on(nights[-1], replace(facts, debts=()))
    assert (nothing.measure, nothing.stage, nothing.due, nothing.next_on) == (Measure.NONE, "", (), None)


def run(nights: Sequence[date], invoices: Sequence[Invoice], **known: object) -> list[tuple[date, str]]:
    taken: tuple[Taken, ...] = ()
    steps = []
    for night in nights:
        facts = facts_on(night, invoices, taken, **known)
        state = state_on(night, facts)
        steps += [(night, d.step.name) for d in state.due]
        taken = tuple(after_the_night(state, facts)[0].taken)
    return steps


def test_the_ladder_of_one_invoice_over_christmas_by_hand() -> None:
    """Due on Monday 30 November: each step on its day, and on the next working day where that is none in Berlin."""
    steps = run(every_night(date(2026, 11, 30), 110), [Invoice("I", date(2026, 11, 30), 5_000)])
    assert steps == [
        (date(2026, 12, 3), "reminder"),
        (date(2026, 12, 10), "warning"),
        (date(2026, 12, 17), "throttle"),
        (date(2026, 12, 24), "garden"),  # Christmas Eve is a working day by law
        (date(2027, 1, 7), "suspension"),
        (date(2027, 1, 29), "termination"),
        (date(2027, 3, 1), "collections"),  # day 90 is a Sunday
    ]


def test_a_step_that_falls_on_a_holiday_is_taken_on_the_next_working_day() -> None:
    assert run(every_night(date(2026, 12, 22), 10), [Invoice("I", date(2026, 12, 22), 5_000)]) == [
        (date(2026, 12, 28), "reminder")  # 25 December is a Friday
    ]


def test_a_month_of_missed_nights_says_one_step_and_goes_on_from_there_in_its_own_time() -> None:
    nights = [date(2026, 12, 3), *every_night(date(2027, 1, 11), 30)]
    assert run(nights, [Invoice("I", date(2026, 11, 30), 5_000)])[:4] == [
        (date(2026, 12, 3), "reminder"),
        (date(2027, 1, 11), "warning"),
        (date(2027, 1, 18), "throttle"),  # 5 days after is a Saturday
        (date(2027, 1, 25), "garden"),
    ]


def test_a_clock_that_leapt_and_came_back_repeats_nothing() -> None:
    leapt = run([date(2027, 6, 1), *every_night(date(2026, 12, 3), 20)], [Invoice("I", date(2026, 11, 30), 5_000)])
    assert leapt == [(date(2027, 6, 1), "reminder")]


def test_who_was_not_told_of_a_step_is_not_taken_to_the_next() -> None:
    due_on, invoice = date(2026, 11, 30), Invoice("I", date(2026, 11, 30), 5_000)
    waiting = Taken("I", due_on, 1, date(2026, 12, 3), None)
    for night in every_night(date(2026, 12, 3), 60):
        assert state_on(night, facts_on(night, [invoice], [waiting])).due == ()
    told = replace(waiting, told_on=date(2027, 1, 28))
    steps = [n for n in every_night(date(2027, 1, 28), 9) if state_on(n, facts_on(n, [invoice], [told])).due]
    assert steps[0] == date(2027, 2, 2)


def climbed(invoice: Invoice, rungs: int) -> list[Taken]:
    return [Taken(invoice.name, invoice.due, n, invoice.due, invoice.due) for n in range(1, rungs + 1)]


def test_a_partial_payment_keeps_the_rung_and_one_below_the_minimum_frees_the_line() -> None:
    invoice, today = Invoice("I", date(2026, 11, 30), 5_000), date(2027, 1, 8)
    held = climbed(invoice, 5)
    assert state_on(today, facts_on(today, [invoice], held)).measure is Measure.SUSPEND
    invoice.paid = [(today, 2_000)]
    partly = state_on(today, facts_on(today, [invoice], held))
    assert (partly.measure, partly.rung, partly.claimed_minor) == (Measure.SUSPEND, 5, 3_000)
    invoice.paid = [(today, 3_500)]  # 15.00 is less than a suspension and a garden take, not than a throttle does
    mild = state_on(today, facts_on(today, [invoice], held))
    assert mild.restriction == Restriction(Measure.THROTTLE, GERMAN.throttle)
    invoice.paid = [(today, 4_501)]
    assert state_on(today, facts_on(today, [invoice], held)).measure is Measure.NONE


def test_a_dispute_holds_its_own_amount_and_nothing_else() -> None:
    invoice, today = Invoice("I", date(2026, 11, 30), 5_000), date(2027, 1, 8)
    held = climbed(invoice, 5)
    part = state_on(today, facts_on(today, [invoice], held, disputes=[Disputed("I", 1_000, today)]))
    assert (part.measure, part.claimed_minor, part.disputed_minor) == (Measure.SUSPEND, 4_000, 1_000)
    whole = [Disputed("I", 5_000, today, today + timedelta(days=20))]
    free = state_on(today, facts_on(today, [invoice], held, disputes=whole))
    assert (free.measure, free.claimed_minor, free.due) == (Measure.NONE, 0, ())
    again = state_on(today + timedelta(days=20), facts_on(today, [invoice], held, disputes=whole))
    assert again.measure is Measure.SUSPEND


def test_a_segment_without_steps_is_never_dunned() -> None:
    vip = replace(GERMAN, segment="vip", steps=())
    assert run(every_night(FIRST, 400), [Invoice("I", FIRST, 90_000)], policies=[vip]) == []


def test_an_invoice_climbs_the_ladder_that_held_on_the_day_it_was_due() -> None:
    strict = replace(GERMAN, version=2, effective_on=date(2026, 12, 1), steps=(replace(GERMAN.steps[0], days=1),))
    old, new = Invoice("old", date(2026, 11, 30), 5_000), Invoice("new", date(2026, 12, 1), 5_000)
    steps = run(every_night(date(2026, 12, 1), 9), [old, new], policies=[GERMAN, strict])
    assert steps[:2] == [(date(2026, 12, 2), "reminder"), (date(2026, 12, 3), "reminder")]


def test_a_reopened_invoice_begins_its_ladder_anew() -> None:
    due_on, reopened = date(2026, 11, 30), date(2027, 2, 1)
    held = climbed(Invoice("I", due_on, 5_000), 5)
    state = state_on(reopened, Facts([GERMAN], [Debt("I", "I", reopened, 5_000)], held, (), (), (), BERLIN))
    assert (state.measure, state.rung) == (Measure.NONE, 0)


def test_a_plan_that_is_kept_holds_its_invoices_and_one_that_is_not_does_not() -> None:
    invoice, made_on = Invoice("I", date(2026, 11, 30), 6_000), date(2027, 1, 8)
    held, months = climbed(invoice, 5), [date(2027, 2, 1), date(2027, 3, 1), date(2027, 4, 1)]
    plan = Agreement("P", frozenset({"I"}), 6_000, tuple((m, 2_000) for m in months), made_on, grace_days=2)

    def measure(day: date) -> Measure:
        return state_on(day, facts_on(day, [invoice], held, agreements=[plan])).measure

    assert measure(made_on) is Measure.NONE
    assert [measure(date(2027, 2, n)) for n in (3, 4)] == [Measure.NONE, Measure.SUSPEND]
    invoice.paid = [(date(2027, 2, 5), 2_000)]
    assert [measure(date(2027, 2, n)) for n in (4, 5)] == [Measure.SUSPEND, Measure.NONE]
    assert measure(date(2027, 3, 4)) is Measure.SUSPEND
    plan = replace(plan, ended_on=date(2027, 2, 10))
    assert measure(date(2027, 2, 10)) is Measure.SUSPEND


def test_every_country_that_is_known_has_working_days_and_others_are_refused() -> None:
    for country, part in (("DE", "BY"), ("US", "CA"), ("IN", ""), ("AE", ""), ("", "")):
        calendar.check(country, part)
        assert working_day(date(2026, 12, 24), calendar.working(country, part)) < date(2027, 1, 5)
    for country, part in (("ZZ", ""), ("DE", "XX"), ("", "BE")):
        with pytest.raises(Exception, match="holidays"):
            calendar.check(country, part)


def policy_of(**changed: object) -> Policy:
    return read({**DEFAULT, **changed}, policy_id="p", segment="s", currency="EUR", version=1, effective_on=FIRST)


def said_of(*services: object, measure: str = "garden") -> dict[str, object]:
    """A reminder, and steps that say this of services."""
    steps = [{"name": f"s{n}", "days": 9 + n, "measure": measure, "services": said} for n, said in enumerate(services)]
    return {"steps": [{"name": "first", "days": 1}, *steps]}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": [{"name": "cut", "days": 1, "measure": "suspend"}]}, "first step restricts nobody"),
        ({"steps": [{"name": "a", "days": 9}, {"name": "b", "days": 8}]}, "comes before"),
        ({"steps": [{"name": "a", "days": 9}, {"name": "a", "days": 9}]}, "one name"),
        ({"steps": [{"name": "a", "days": 1}, {"name": "b", "days": 1, "gap_days": 0}]}, "never fall on one day"),
        ({"steps": [{"name": "a", "days": -1}]}, "days is 0 to"),
        ({"steps": [{"name": "a", "days": 1, "fee": "1.005"}]}, "fee is an amount of EUR"),
        ({"steps": [{"name": "a", "days": 1, "fee": "Infinity"}]}, "fee is an amount of EUR"),
        ({"steps": [{"name": "a", "days": 1, "notice": "bailiff"}]}, "no notice"),
        ({"steps": [{"name": "a", "days": 1, "colour": "red"}]}, "has no colour"),
        ({"throttle": None}, "does not say to which speed"),
        ({"throttle": {"downstream_kbps": 0, "upstream_kbps": 1}}, "above 0"),
        ({"steps": "all of them"}, "is a list"),
        ({"steps": [{"name": "a", "days": 1, "services": {"tv": "suspend"}}]}, "first step restricts nobody"),
        (said_of({"tea": "none"}), "nothing can be taken of 'tea'"),
        (said_of({"rental": "suspend"}), "nothing can be taken of 'rental'"),
        (said_of({"voice": "throttle"}), "of voice can be taken none, suspend, not 'throttle'"),
        (said_of({"tv": "garden"}), "of tv can be taken"),
        (said_of({"tv": ["suspend"]}), "of tv can be taken"),
        (said_of(["tv"]), "services is an object"),
        (said_of({"tv": "suspend"}, {"tv": "none"}), "milder to tv"),
        (said_of({"internet": "garden"}, {"internet": "throttle"}), "milder to internet"),
        ({"throttle": None, **said_of({"internet": "throttle"}, measure="none")}, "does not say to which speed"),
    ],
)
def test_a_ladder_that_cannot_be_climbed_is_refused_in_words(changed: dict[str, object], said: str) -> None:
    with pytest.raises(PolicyRefused, match=said):
        policy_of(**changed)


def test_nobody_is_reminded_on_the_day_on_which_an_invoice_is_due() -> None:
    at_once = replace(GERMAN, minimum_minor=0, steps=(replace(GERMAN.steps[0], days=0),))
    due_on = date(2026, 12, 1)
    assert run(every_night(due_on, 4), [Invoice("I", due_on, 5_000)], policies=[at_once]) == [
        (date(2026, 12, 2), "reminder")
    ]
    before = state_on(due_on, facts_on(due_on, [Invoice("I", due_on, 5_000)], policies=[at_once]))
    assert (before.next_step, before.next_on, before.overdue_minor) == ("reminder", date(2026, 12, 2), 0)


def test_what_a_step_says_of_a_kind_holds_until_another_says_otherwise_and_the_rest_follows_its_measure() -> None:
    silent = policy_of(**said_of({}, measure="suspend"))
    assert {kind for kind in ProductKind if silent.steps[1].measure_of(kind) is Measure.SUSPEND} == SERVICES
    with pytest.raises(PolicyRefused, match="milder to voice"):  # suspended already: it is to be spared in time
        policy_of(**said_of({}, {"voice": "none"}, measure="suspend"))
    spared = policy_of(**said_of({"voice": "none"}, {}, {"voice": "suspend"}, measure="suspend"))
    assert [step.measure_of(ProductKind.VOICE).value for step in spared.steps] == ["none", "none", "none", "suspend"]
    assert [step.measure_of(ProductKind.RENTAL).value for step in spared.steps] == ["none"] * 4


@st.composite
def ladders(draw: st.DrawFn) -> Policy:
    """Of steps that say something of some services; never milder than before."""
    measures, said, steps = list(Measure), {}, [{"name": "first", "days": 1}]
    named = draw(st.lists(st.sampled_from(sorted(SERVICES)), unique=True))
    rank = 0
    for n in range(draw(st.integers(1, 6))):
        rank = draw(st.integers(rank, len(measures) - 1))
        for kind in named:
            possible = measures_of(kind)
            said[kind] = draw(st.integers(said.get(kind, 0), len(possible) - 1))
        services = {kind.value: measures_of(kind)[said[kind]].value for kind in named}
        step = {"name": f"s{n}", "days": 2 + n, "measure": measures[rank].value, "services": services}
        steps.append(step | {"minimum": draw(st.sampled_from(["0.00", "5.00", "30.00"]))})
    return policy_of(steps=steps, minimum="0.00")


@settings(max_examples=60, deadline=None)
@given(ladders(), st.integers(100, 9_000))
def test_along_a_ladder_no_kind_of_service_is_ever_treated_milder_and_settling_gives_all_of_it_back(
    ladder: Policy, owed: int
) -> None:
    invoice, facts = Invoice("I", FIRST, owed), Facts([ladder], ())
    before: dict[ProductKind, int] = {}
    for night in every_night(FIRST, 40):
        facts, state = after_the_night(
            state_on(night, replace(facts, debts=facts_on(night, [invoice]).debts, is_working=BERLIN)),
            replace(facts, debts=facts_on(night, [invoice]).debts, is_working=BERLIN),
        )
        ranks = {kind: state.of(kind).measure.rank for kind in ProductKind}
        assert all(ranks[kind] >= before.get(kind, 0) for kind in ProductKind)
        assert all(state.of(kind).measure in measures_of(kind) for kind in ProductKind)
        before = ranks
    free = state_on(night, replace(facts, debts=()))
    assert (free.restricts, dict(free.services)) == (False, {})
    lifted = state_on(night, replace(facts, pauses=[Pause("promise", FIRST, None, lifts=True)]))
    assert not lifted.restricts
