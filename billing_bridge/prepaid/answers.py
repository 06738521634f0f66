"""What is said and asked about prepaid balances over HTTP."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from billing_bridge.prepaid.model import Movement, PrepaidCall, Session
from billing_bridge.prepaid.service import PrepaidState
from controller.http.endpoint import PageQuery
from controller.http.models import Currency, IdText, In, Instant, MoneyOut, Out

_MOST = 2**50


class PrepaidIn(In):
    """How a service is paid in advance. `unit` is what the balance counts: minor units of the currency, by the prices
    of the offering version; or octets or seconds, which are bought as such.

    A `slice` (octets, or seconds) is reserved for a session at a time, for `validity_s` without hearing of it: some
    interim intervals. `when_empty` is what becomes of sessions and logins once nothing is left. Credit is kept for
    `credit_days` after the last top-up (null: for ever), and is the operator's income after that. The customer is told
    `notice_days` before (null: 7, or half of `credit_days` where that is less; 0: never), and when less than
    `low_balance`, in the unit of the balance, is left (null: never).
    """

    account_id: IdText
    unit: Literal["money", "octets", "seconds"] = "money"
    currency: Currency
    version_id: IdText | None = None
    slice: Annotated[int, Field(gt=0, le=_MOST)] = 100_000_000
    validity_s: Annotated[int, Field(ge=60, le=86_400)] = 1_800
    when_empty: Literal["disconnect", "garden"] = "disconnect"
    credit_days: Annotated[int, Field(gt=0, le=3_650)] | None = None
    notice_days: Annotated[int, Field(ge=0, le=3_650)] | None = None
    low_balance: Annotated[int, Field(gt=0, le=_MOST)] | None = None


class CloseIn(In):
    """With `pay_out` what is left becomes a payment of the account, once all that was used is debited; without, it
    stays for when the balance is opened again, or closed once more."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    pay_out: bool = True


class PrepaidQuery(PageQuery):
    account_id: IdText | None = None


class CallIn(In):
    """A call that begins, or goes on: `wanted_s` seconds from its begin. `call_id` is the exchange's."""

    call_id: Annotated[str, StringConstraints(pattern=r"^[\x21-\x2e\x30-\x7e]{1,64}$")]
    number: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$")]
    wanted_s: Annotated[int, Field(gt=0, le=86_400)] = 600


class CallEndIn(In):
    duration_s: Annotated[int, Field(ge=0, le=604_800)]


class CallOut(Out):
    """Until `granted_s` from its begin a call may go on; 0 is no. What one that has ended cost is `debited`."""

    call_id: str
    number: str
    began_at: Instant
    granted_s: int
    duration_s: int | None
    debited: int

    @classmethod
    def of(cls, found: PrepaidCall) -> CallOut:
        return cls(
            call_id=found.call_id,
            number=found.number,
            began_at=found.began_at,
            granted_s=found.granted_s,
            duration_s=found.duration_s,
            debited=found.debited,
        )


class SliceOut(Out):
    """What is reserved for one session, in octets or seconds; `session_key` is null until its accounting begins."""

    session_key: str | None
    state: str
    reserved: int
    used_upstream_octets: int
    used_downstream_octets: int
    used_seconds: int
    expires_at: Instant

    @classmethod
    def of(cls, found: Session) -> SliceOut:
        return cls(
            session_key=found.session_key,
            state=found.state,
            reserved=found.open,
            used_upstream_octets=found.upstream_octets,
            used_downstream_octets=found.downstream_octets,
            used_seconds=found.seconds,
            expires_at=found.expires_at,
        )


class PrepaidOut(Out):
    """`balance`, `reserved` and `available` are in `unit`: minor units of a currency, octets or seconds. `worth` was
    paid, net, for what is left. `overshoot` was used beyond the balance and is paid by nobody; what is `owed` was used
    while the rest was reserved for others, and is taken of what these give back. From `expires_on` on
    what is left is gone, unless it is topped up before. `standing` is closing while what sessions have used is waited
    for, until `closing_until` at most, and until what is left is paid out (`pays_out`)."""

    service_id: str
    account_id: str
    unit: str
    balance: int
    reserved: int
    available: int
    worth: MoneyOut
    overshoot: int
    owed: int
    standing: str
    opened_at: Instant
    closing_at: Instant | None
    closing_until: Instant | None
    pays_out: bool
    closed_at: Instant | None
    expires_on: date | None
    version_id: str | None
    slice: int
    validity_s: int
    when_empty: str
    credit_days: int | None
    notice_days: int | None
    low_balance: int | None
    sessions: list[SliceOut]

    @classmethod
    def of(cls, found: PrepaidState) -> PrepaidOut:
        wallet, terms, closing = found.wallet, found.terms, found.closing
        shut = "closing" if closing else "closed" if wallet.closed_at else None
        return cls(
            service_id=wallet.service_id,
            account_id=wallet.account_id,
            unit=wallet.unit,
            balance=wallet.balance,
            reserved=wallet.reserved,
            available=wallet.available,
            worth=MoneyOut.of(wallet.worth),
            overshoot=wallet.overshoot,
            owed=wallet.owed,
            standing=shut or wallet.standing.value,
            opened_at=wallet.opened_at,
            closing_at=wallet.closing_at,
            closing_until=None if closing is None else closing.until_at,
            pays_out=closing is not None and closing.pay_out,
            closed_at=wallet.closed_at,
            expires_on=wallet.expires_on,
            version_id=terms.version_id,
            slice=terms.slice,
            validity_s=terms.validity_s,
            when_empty=terms.action.value,
            credit_days=terms.credit_days,
            notice_days=terms.notice_days,
            low_balance=terms.low_below,
            sessions=[SliceOut.of(session) for session in found.sessions],
        )


class MovementOut(Out):
    """One entry, in the unit of its balance; of what is reserved, `reserved_change`."""

    sequence: int
    kind: str
    amount: int
    reserved_change: int
    balance_after: int
    reserved_after: int
    overshoot: int
    key: str
    session_key: str | None
    record_id: int | None
    actor: str
    at: Instant

    @classmethod
    def of(cls, found: Movement) -> MovementOut:
        return cls(
            sequence=found.sequence,
            kind=found.kind.value,
            amount=found.amount,
            reserved_change=found.reserved_change,
            balance_after=found.balance_after,
            reserved_after=found.reserved_after,
            overshoot=found.overshoot,
            key=found.key,
            session_key=found.session_key,
            record_id=found.record_id,
            actor=found.actor,
            at=found.at,
        )
