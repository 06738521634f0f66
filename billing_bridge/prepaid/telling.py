"""Whose customers are to be told something of their credit: that it is going to expire, or that little of it is left.

The balance itself says so, in the transaction that moves it; who takes a notice from here writes it down in the same
transaction, so that it is told once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.prepaid import repository
from billing_bridge.prepaid.balance import to_key
from billing_bridge.prepaid.model import DUE, TOLD, Wallet
from billing_bridge.prepaid.service import PrepaidService
from billing_bridge.zones import today_of, zones_of
from controller.domain.clock import Clock, local_date

EXPIRY, LOW = "expiry", "low"


@dataclass(frozen=True, slots=True)
class ToTell:
    """`what` is told once. `expires_on` is the first day without the credit; None where little is left."""

    service_id: str
    account_id: str
    what: str
    unit: str
    balance: int
    expires_on: date | None = None


class PrepaidTelling:
    """Within the caller's transactions."""

    def __init__(self, clock: Clock, prepaid: PrepaidService) -> None:
        self._clock = clock
        self._prepaid = prepaid

    async def is_due(self, conn: AsyncConnection) -> bool:
        """Whether anybody is to be told anything now."""
        today = await today_of(conn, self._clock.now(), self._prepaid.zone)
        return bool(await repository.to_tell(conn, today, 1))

    async def take_in(self, conn: AsyncConnection, limit: int) -> tuple[list[ToTell], bool]:
        """What is to be told now, by services; and whether there may be more."""
        now = self._clock.now()
        ids = await repository.to_tell(conn, await today_of(conn, now, self._prepaid.zone), limit)
        found = []
        wallets = await repository.lock(conn, ids)
        zones = await zones_of(conn, (w.account_id for w in wallets.values()), self._prepaid.zone)
        for wallet in wallets.values():
            today = local_date(now, zones.of(wallet.account_id))
            expires_on = wallet.expires_on if wallet.notice_on is not None and wallet.notice_on <= today else None
            if expires_on is not None:
                wallet.notice_on = None
                if wallet.balance and expires_on > today:
                    found.append(_of(wallet, f"{EXPIRY}:{expires_on}", expires_on))
            if wallet.low_notice == DUE:
                wallet.low_notice = TOLD
                found.append(_of(wallet, f"{LOW}:{to_key(now)}", None))
            await repository.put(conn, wallet)
        return found, len(ids) >= limit

    async def is_over(self, conn: AsyncConnection, service_id: str, expires_on: date | None) -> str | None:
        """Why what was to be told is not true any more; None while it is."""
        wallet = await repository.get(conn, service_id)
        if wallet is None or not wallet.is_in_use:
            return "the balance was closed"
        if expires_on is None:
            return None if wallet.low_notice == TOLD else "the balance was topped up"
        if not wallet.balance:
            return "nothing is left that could expire"
        return None if wallet.expires_on == expires_on else "the credit is kept longer, or has expired"


def _of(wallet: Wallet, what: str, expires_on: date | None) -> ToTell:
    return ToTell(wallet.service_id, wallet.account_id, what, wallet.unit, wallet.balance, expires_on)
