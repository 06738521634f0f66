"""The calls of a prepaid balance: seconds reserved for those that go on, and what those that ended cost. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from billing_bridge.errors import NotPrepaid
from billing_bridge.prepaid.model import PrepaidCall, Segment, Terms
from billing_bridge.rating.calls import destination_of
from billing_bridge.rating.prepaid_calls import affordable_s, cost_of
from controller.domain.errors import Conflict, NotFound
from controller.domain.price import Calls


class Telephony:
    """`calls` are those that go on, and those of their periods; `money` is the currency and its rounding."""

    def __init__(self, calls: Iterable[PrepaidCall], terms: Sequence[Terms], money: tuple[str, str]) -> None:
        self.calls = {c.call_id: c for c in calls}
        self._terms = terms
        self._money = money

    def begin(self, service_id: str, call_id: str, number: str, segment: Segment, now: datetime) -> PrepaidCall:
        """The call, as nothing were reserved for it. Raises NotPrepaid for a number without a price, Conflict."""
        price = self._price(segment.terms)
        if price is None or destination_of(price, number) is None:
            raise NotPrepaid(f"the prices of the service name no destination for {number}")
        made = PrepaidCall(service_id, call_id, number, now, segment.terms, segment.period_on, 0, None, 0, now)
        call = self.calls.setdefault(call_id, made)
        if call.duration_s is not None or call.number != number:
            said = f"has ended after {call.duration_s} s" if call.duration_s is not None else f"is to {call.number}"
            raise Conflict(f"call {call_id} {said}")
        call.granted_s = 0
        return call

    def grant(self, call: PrepaidCall, wanted_s: int, spare: int, validity: timedelta) -> None:
        """Reserve the seconds up to `wanted_s` that cost no more than `spare`."""
        price = self._price_of(call)
        beside = [c.lasting(_seconds(c)) for c in self._of_period(call) if c is not call]
        most = spare + cost_of(price, beside, *self._money)
        call.granted_s = affordable_s(price, beside, call.lasting(0), wanted_s, most, *self._money)
        call.expires_at = call.began_at + timedelta(seconds=call.granted_s) + validity

    def end(self, call_id: str, duration_s: int) -> tuple[PrepaidCall, bool]:
        """The call with its cost in `debited`; whether it ended now. All calls of its period are rounded together.

        Raises NotFound for one that nothing was reserved for, Conflict for one that ended otherwise.
        """
        call = self.calls.get(call_id)
        if call is None:
            raise NotFound(f"nothing was reserved for call {call_id}")
        if call.duration_s is not None:
            if call.duration_s != duration_s:
                raise Conflict(f"call {call_id} has ended after {call.duration_s} s")
            return call, False
        call.granted_s, call.duration_s = 0, duration_s
        made = [c for c in self._of_period(call) if c.duration_s is not None]
        cost = cost_of(self._price_of(call), [c.lasting(_seconds(c)) for c in made], *self._money)
        call.debited = cost - sum(c.debited for c in made)
        return call, True

    def lapse(self, now: datetime) -> list[PrepaidCall]:
        """Give back the seconds of calls that nothing was heard of; these calls."""
        lapsed = [c for c in self.calls.values() if c.granted_s and c.expires_at <= now]
        for call in lapsed:
            call.granted_s = 0
        return lapsed

    @property
    def held(self) -> int:
        """What the calls that go on would cost."""
        periods = {(c.terms, c.period_on): c for c in self.calls.values() if c.granted_s}
        return sum(self._held_of(one) for one in periods.values())

    def _held_of(self, one: PrepaidCall) -> int:
        calls = self._of_period(one)
        whole = cost_of(self._price_of(one), [c.lasting(_seconds(c)) for c in calls], *self._money)
        return max(0, whole - sum(c.debited for c in calls))

    def _of_period(self, of: PrepaidCall) -> list[PrepaidCall]:
        return [c for c in self.calls.values() if (c.terms, c.period_on) == (of.terms, of.period_on)]

    def _price_of(self, call: PrepaidCall) -> Calls:
        price = self._price(call.terms)
        assert price is not None, "seconds were granted by it"
        return price

    def _price(self, sequence: int) -> Calls | None:
        return next(t for t in self._terms if t.sequence == sequence).calls


def _seconds(call: PrepaidCall) -> int:
    """For as long as was granted, while it goes on."""
    return call.granted_s if call.duration_s is None else call.duration_s
