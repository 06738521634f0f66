"""What there is of a prepaid balance, by the prices of its terms: what is held for sessions and calls, taken, and noted
as a movement. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from billing_bridge.prepaid.model import DUE, Kind, Movement, PrepaidCall, Segment, Session, Terms, Used, Wallet
from billing_bridge.prepaid.telephony import Telephony
from billing_bridge.rating.metered import Share
from billing_bridge.rating.prepaid import Grant, Prepaid
from controller.domain.clock import local_date

_WHOLE = Share(1, 1)
_ACTOR = "system:prepaid"


@dataclass(slots=True)
class Day:
    """What was debited on a local day, and earned by that."""

    debited: int = 0
    earned_minor: int = 0
    lapsed_minor: int = 0


class Balance:
    """`terms` ascend; `sessions` are those that have not ended, and those that are reported of."""

    def __init__(
        self,
        wallet: Wallet,
        terms: Sequence[Terms],
        used: Mapping[Segment, Used],
        sessions: Iterable[Session],
        calls: Iterable[PrepaidCall] = (),
        *,
        zone: ZoneInfo,
        rounding: str,
    ) -> None:
        self.wallet = wallet
        self.terms = terms
        self.used = dict(used)
        self.sessions = {s.reservation_id: s for s in sessions}
        self.telephony = Telephony(calls, terms, (wallet.currency, rounding))
        self.days: dict[date, Day] = {}
        self.movements: list[Movement] = []
        self._zone = zone
        self._rounding = rounding

    def _charge_for(
        self,
        cost: int,
        day: date,
        key: str,
        session: Session | None,
        record_id: int | None,
        now: datetime,
        *,
        released: int = 0,
    ) -> int:
        """Take what something that was used costs of what nobody has reserved; how much that was. The rest is owed as
        far as others hold as much, for they may give it back, or it was `released` just now; beyond that it is
        overshoot."""
        wallet, held = self.wallet, self._held(now)
        taken = min(cost, max(0, wallet.balance - held))
        missing = wallet.owed + cost - taken
        wallet.owed = min(missing, held + max(0, released - taken), wallet.balance - taken)
        self._take(taken, missing - wallet.owed, day, key, session, record_id, now)
        return taken

    def _collect(self, held_before: int, key: str, now: datetime) -> None:
        """What is owed is taken of what was given back, since so much was held. What no slice is left for is overshoot.
        It is of the day on which it is taken."""
        wallet, held = self.wallet, self._held(now)
        if not wallet.owed:
            return
        taken = max(0, min(wallet.owed, held_before - held, wallet.balance - held))
        left = min(wallet.owed - taken, held, wallet.balance - taken)
        lost, wallet.owed = wallet.owed - taken - left, left
        if taken or lost:
            self._take(taken, lost, local_date(now, self._zone), f"{key}:owed", None, None, now)

    def _take(
        self,
        taken: int,
        overshoot: int,
        day: date,
        key: str,
        session: Session | None,
        record_id: int | None,
        now: datetime,
    ) -> None:
        wallet = self.wallet
        left = wallet.balance - taken
        # The last of it earns what is left of what was paid, so that the parts are exactly the whole.
        earned = wallet.worth_minor * taken // wallet.balance if left else wallet.worth_minor if taken else 0
        wallet.balance = left
        wallet.overshoot += overshoot
        low = self._terms_at(now).low_below
        if low is not None and left < low and wallet.low_notice is None:
            wallet.low_notice = DUE
        if taken:
            of_day = self.days.setdefault(day, Day())
            of_day.debited += taken
            of_day.earned_minor += earned
        self._record(
            Kind.DEBIT, -taken, key, now, worth=-earned, overshoot=overshoot, session=session, record_id=record_id
        )

    def _keep_until(self, until: date | None, now: datetime) -> None:
        """The first day on which what there is will be gone, and when the customer is told of it."""
        days = self._terms_at(now).notice_days
        self.wallet.expires_on = until
        self.wallet.notice_on = until - timedelta(days=days) if until is not None and days else None

    def _is_over(self, now: datetime) -> bool:
        """Whether what there is was kept for as long as its terms say."""
        until = self.wallet.expires_on
        return until is not None and local_date(now, self._zone) >= until and self.wallet.is_in_use

    def _lapse_credit(self, now: datetime) -> None:
        wallet, today = self.wallet, local_date(now, self._zone)
        left = min(wallet.balance, self.telephony.held)
        gone = wallet.balance - left
        earned = wallet.worth_minor * gone // wallet.balance if left else wallet.worth_minor
        wallet.balance = left
        of_day = self.days.setdefault(today, Day())
        of_day.lapsed_minor += earned
        self._record(Kind.LAPSE, -gone, f"lapse:{wallet.expires_on}", now, worth=-earned)
        wallet.expires_on, wallet.notice_on = today + timedelta(days=1) if left else None, None

    def _terms_at(self, at: datetime) -> Terms:
        """Those of an instant; before the first ones, those."""
        return next((t for t in reversed(self.terms) if t.since <= at), self.terms[0])

    def _state(self, now: datetime) -> Prepaid:
        """What is used and granted now, as the rating function has it."""
        return self._state_of(self._segment(now), now)

    def _segment(self, now: datetime) -> Segment:
        return Segment(self._priced_since(self._terms_at(now)), local_date(now, self._zone).replace(day=1))

    def _priced_since(self, terms: Terms) -> int:
        """The first terms with these prices: what a month includes is not had anew with each change of anything."""
        return next(t.sequence for t in self.terms if t.version_id == terms.version_id)

    def _state_of(self, segment: Segment, now: datetime) -> Prepaid:
        """Slices count where they are going to be used: in the segment of the present."""
        known = self.used.get(segment, Used())
        price = next(t for t in self.terms if t.sequence == segment.terms).price
        grants = {}
        if segment == self._segment(now):
            grants = {s.reservation_id: Grant(0, s.open, s.expires_at) for s in self.sessions.values()}
        balance = self.wallet.balance - self.telephony.held
        return Prepaid(price, _WHOLE, self.wallet.currency, self._rounding, balance, known.used, known.debited, grants)

    def _held(self, now: datetime) -> int:
        """What the open slices and the calls that go on would cost."""
        state = self._state(now)
        return max(0, state.price_of(state.used + state.granted) - state.debited_minor) + self.telephony.held

    def _record(
        self,
        kind: Kind,
        amount: int,
        key: str,
        now: datetime,
        *,
        actor: str = _ACTOR,
        worth: int = 0,
        overshoot: int = 0,
        session: Session | None = None,
        record_id: int | None = None,
    ) -> None:
        """Note what has happened, and what is reserved after it."""
        wallet = self.wallet
        wallet.worth_minor += worth
        reserved = min(wallet.balance, self._held(now))
        change, wallet.reserved = reserved - wallet.reserved, reserved
        if not amount and not change and not overshoot:
            return
        self.movements.append(
            Movement(
                wallet.service_id, kind, key, amount, change, wallet.balance, reserved, overshoot, worth,
                None if session is None else session.session_key, record_id, actor, now,
            )
        )  # fmt: skip


def to_key(at: datetime) -> str:
    """An instant within a key, to the microsecond."""
    return f"{at:%Y%m%dT%H%M%S.%f}"
