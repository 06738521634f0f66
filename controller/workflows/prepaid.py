"""Prepaid services between billing, which keeps the balance, and finance, which keeps the money.

top up   balance + prepayment of the customer + its receipt, one transaction: none is there without the others
close    once all that was used is debited, what is left of the balance becomes a payment of the account, in one
         transaction
run      what was used and stands in no books yet becomes revenue, by the local day of use; balance's mark and
         entry are one transaction, so it is posted once whenever the program dies
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from decimal import Decimal

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.errors import NotPrepaid
from billing_bridge.prepaid.closing import PrepaidClosing
from billing_bridge.prepaid.model import OCTETS
from billing_bridge.prepaid.plans import UNITS
from billing_bridge.prepaid.service import NewTerms, PrepaidService, PrepaidState
from controller.domain.errors import HeadendError, NotFound, RuleError
from controller.domain.events import ServiceActivated, ServiceTerminated
from controller.domain.identity import AccountId, ServiceId
from controller.domain.money import Money
from controller.domain.ports import AccountDirectory
from controller.domain.units import human_octets
from controller.store.engine import Database
from erp.finance.prepayments import Earned, Paid, Prepayments

log = structlog.get_logger()

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DAYS = 500
_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class TopUp:
    """`paid` with its tax; `units` of a balance that is no money, and then the tax in `paid` has this per cent."""

    paid: Money
    into: str
    reference: str
    units: int | None = None
    tax_percent: Decimal | None = None


class PrepaidSales:
    """`run` is its background task."""

    def __init__(
        self,
        database: Database,
        prepaid: PrepaidService,
        closing: PrepaidClosing,
        prepayments: Prepayments,
        accounts: AccountDirectory[AsyncConnection],
    ) -> None:
        self._database = database
        self._prepaid = prepaid
        self._closing = closing
        self._prepayments = prepayments
        self._accounts = accounts

    async def open(
        self, service_id: ServiceId, account_id: AccountId, unit: str, currency: str, wanted: NewTerms, *, actor: str
    ) -> PrepaidState:
        """Make a service prepaid. Raises NotFound for an account that nobody has, and what PrepaidService raises.

        Its login may be made later: then it is prepaid from the first.
        """
        if not _ID.fullmatch(service_id):
            raise NotFound(f"no service {service_id!r}")
        async with self._database.read() as conn:
            await self._accounts.require_in(conn, account_id)
        return await self._prepaid.open(service_id, account_id, unit, currency, wanted, actor=actor)

    async def top_up(self, service_id: ServiceId, wanted: TopUp, *, actor: str) -> PrepaidState:
        """Take money and add what it buys; live sessions in the garden go on. The same reference again adds nothing.

        Raises UnknownPrepaid, NotPrepaid, Conflict for a reference of another amount, and what Prepayments raises.
        """
        wallet = (await self._prepaid.show(service_id)).wallet
        async with self._database.begin() as conn:
            await self._prepayments.lock_in(conn)
            tariff = await self._prepaid.tariff_of(conn, service_id)
            if (wanted.units is None) == (wallet.unit in UNITS):
                raise NotPrepaid(f"the balance is in {wallet.unit}: say how many units are bought, or none for money")
            percent = wanted.tax_percent if tariff is None else tariff.tax_percent
            if percent is None:
                raise RuleError("say tax_percent, the tax in what was paid: a balance of units has no price to tell")
            category = tariff.tax_category if tariff is not None else "S" if percent else "O"
            paid = Paid(
                service_id, AccountId(wallet.account_id), wanted.paid, percent, wanted.into, wanted.reference,
                category, _in_words(wanted.units, wallet.unit),
            )  # fmt: skip
            net = await self._prepayments.take_in(conn, paid, actor=actor)
            units = wanted.units
            if units is None:
                # Prices with the tax in them take it from what was paid; net prices take net.
                units = wanted.paid.minor if tariff is not None and tariff.plan.tax_included else net.minor
            await self._prepaid.top_up_in(conn, service_id, units, net.minor, wanted.reference, actor=actor)
        await self._prepaid.follow()
        return await self._prepaid.show(service_id)

    async def close(self, service_id: ServiceId, *, pay_out: bool, actor: str, reason: str) -> PrepaidState:
        """The service is prepaid no more; the balance is closed as soon as all that was used of it is known. With
        `pay_out` what is left then becomes a payment of the account. Again it changes nothing, but may pay out what was
        left before. Raises UnknownPrepaid."""
        async with self._database.begin() as conn:
            await self._prepayments.lock_in(conn)
            closed = await self._closing.begin_in(conn, service_id, pay_out=pay_out, actor=actor, reason=reason)
            if closed and pay_out:
                await self._pay_out(conn, service_id, actor)
        await self._prepaid.follow()
        return await self._prepaid.show(service_id)

    async def _pay_out(self, conn: AsyncConnection, service_id: ServiceId, actor: str) -> None:
        left = await self._closing.pay_out_in(conn, service_id, actor=actor)
        if left is not None:
            account_id = AccountId(left.account_id)
            await self._prepayments.give_back_in(conn, service_id, account_id, left.worth, actor=actor)

    async def on_service_activated(self, conn: AsyncConnection, event: ServiceActivated) -> None:
        """A balance that was opened before there was a login."""
        await self._prepaid.activated_in(conn, event.service_id)

    async def on_service_terminated(self, conn: AsyncConnection, event: ServiceTerminated) -> None:
        """Its balance ends with it, and the customer gets what is left of that."""
        await self._prepayments.lock_in(conn)
        if await self._closing.end_in(conn, event.service_id, actor=event.actor):
            await self._pay_out(conn, event.service_id, event.actor)

    async def run(self) -> None:
        """For ever. A database that is away is logged and tried again."""
        while True:
            try:
                await self.pay_out()
                while await self.post():
                    continue
            except (DBAPIError, PoolTimeout, OSError) as error:
                log.warning("prepaid.not_posted", error=type(error).__name__)
            await asyncio.sleep(_EVERY_S)

    async def pay_out(self) -> None:
        """Pay out what is left of balances that were closed meanwhile. One that cannot be is told of, and keeps nobody
        else waiting."""
        after = ""
        while some := await self._closing.unpaid(after):
            after = some[-1].service_id
            for found in some:
                try:
                    async with self._database.begin() as conn:
                        await self._prepayments.lock_in(conn)
                        await self._pay_out(conn, ServiceId(found.service_id), found.actor)
                except HeadendError as error:
                    log.error("prepaid.not_paid_out", service_id=found.service_id, error=str(error))

    async def post(self) -> bool:
        """Post some of what was earned; whether there may be more."""
        if not await self._prepaid.any_unposted():
            return False
        async with self._database.begin() as conn:
            await self._prepayments.lock_in(conn)
            days = await self._prepaid.unposted_in(conn, _DAYS)
            earned = [
                Earned(AccountId(d.account_id), d.day, Money(minor, d.currency), expired)
                for d in days
                for minor, expired in ((d.earned_minor, False), (d.lapsed_minor, True))
                if minor
            ]
            if earned:
                await self._prepayments.earn_in(conn, earned)
                await self._prepaid.post_in(conn, days)
        return len(days) == _DAYS


def _in_words(units: int | None, unit: str) -> str:
    """What was bought, on its receipt; the empty text for money."""
    if units is None:
        return ""
    return human_octets(units) if unit == OCTETS else f"{units} s"
