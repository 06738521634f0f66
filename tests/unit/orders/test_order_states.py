from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erp.orders.errors import NotAllowed
from erp.orders.model import OPEN, VERBS, OrderState, Transition, after, times_in_state

NOW = datetime(2026, 9, 1, tzinfo=UTC)

ARROWS = """
acknowledged start inProgress
acknowledged cancel pendingCancellation
inProgress hold held
inProgress complete completed
inProgress cancel pendingCancellation
pendingCancellation hold held
pendingCancellation undone cancelled
held redrive inProgress
held fail failed
held cancel pendingCancellation
"""


@pytest.mark.parametrize("arrow", ARROWS.strip().splitlines())
def test_the_arrows_are_those_of_the_drawing(arrow: str) -> None:
    before, verb, reached = arrow.split()
    assert after(OrderState(before), verb) is OrderState(reached)


@given(st.sampled_from(OrderState), st.sampled_from(sorted(VERBS)))
def test_every_other_arrow_is_refused(state: OrderState, verb: str) -> None:
    drawn = any(arrow.startswith(f"{state.value} {verb} ") for arrow in ARROWS.splitlines())
    if drawn:
        after(state, verb)
    else:
        with pytest.raises(NotAllowed, match=f"{state.value} cannot {verb}"):
            after(state, verb)


@given(st.lists(st.sampled_from(sorted(VERBS)), max_size=12))
def test_whatever_is_tried_an_order_ends_at_most_once_and_stays_there(verbs: list[str]) -> None:
    state, ended = OrderState.ACKNOWLEDGED, 0
    for verb in verbs:
        try:
            state = after(state, verb)
        except NotAllowed:
            continue
        ended += state not in OPEN
    assert ended <= 1
    if state not in OPEN:
        assert ended == 1


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=6), st.booleans())
def test_times_in_state_add_up_to_the_life_of_the_order(gaps: list[int], final: bool) -> None:
    at, history = NOW, []
    for gap in gaps:
        history.append(Transition(OrderState.IN_PROGRESS, at, "a", None))
        at += timedelta(seconds=gap)
    if final:
        history.append(Transition(OrderState.COMPLETED, at, "a", None))
    later = at + timedelta(days=1)
    total = sum(times_in_state(history, later), timedelta())
    assert total == (at if final else later) - NOW
