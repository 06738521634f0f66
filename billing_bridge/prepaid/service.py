"""Use cases of prepaid services: open a balance, change its terms, top it up, reserve of it, and look at it.

Each is one transaction. Whoever changes a balance holds its row, so that of any number of logins at once, in any number
of processes, no two reserve the same last octet; and a check of the table refuses what a mistake of ours would.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.errors import NotPrepaid, UnknownPrepaid
from billing_bridge.prepaid import closing_rows, log_rows, repository
from billing_bridge.prepaid.barring import Barring
from billing_bridge.prepaid.book import Book
from billing_bridge.prepaid.model import Closing, Movement, PrepaidCall, Session, State, Terms, Wallet
from billing_bridge.prepaid.plans import Plans
from billing_bridge.prepaid.repository import TermsRow, UsedDay
from billing_bridge.settings import BillingSettings
from billing_bridge.zones import zones_of
from controller.domain.clock import Clock, add_months
from controller.domain.credit import FinalAction, NoCredit, Slice, Standing
from controller.domain.errors import Conflict
from controller.domain.identity import AccountId, OfferingVersionId, ServiceId, new_id
from controller.domain.ports import CreditAccess, TariffSource, UsageReader
from controller.domain.tariff import TariffVersion
from controller.store import audit
from controller.store.engine import Database

RESERVED = Counter("headend_prepaid_reservations", "Slices that logins asked for, by what became of it.", ["result"])
OVERSHOOT = Counter(
    "headend_prepaid_overshoot", "Used beyond a prepaid balance and paid by nobody, in its unit.", ["unit"]
)
NOTICE_DAYS = 7
"""Before credit is gone the customer is told, unless the terms say otherwise."""
MOST = 2**53
"""Of any balance: what JSON carries exactly, and a sum of two fits its column."""


@dataclass(frozen=True, slots=True)
class NewTerms:
    """`slice` is in octets, or seconds of a balance in seconds; `version_id` names the prices, None where the balance
    is units. `validity_s`: how long a slice is kept for a session that is not heard of."""

    version_id: OfferingVersionId | None
    slice: int
    validity_s: int
    action: FinalAction
    credit_days: int | None = None
    """How long credit is kept after the last top-up; None is for ever."""
    notice_days: int | None = None
    """Before credit is gone the customer is told: so many days, 0 is never; None is NOTICE_DAYS, or half of
    `credit_days` where these are fewer."""
    low_below: int | None = None
    """The customer is told when less than this is left, in the unit of the balance; None is never."""

    @property
    def days_of_notice(self) -> int | None:
        """Raises NotPrepaid where the customer would be told before there is anything to tell."""
        if self.credit_days is None:
            return None
        if self.notice_days is None:
            return min(NOTICE_DAYS, self.credit_days // 2)
        if self.notice_days >= self.credit_days:
            raise NotPrepaid(
                f"credit is kept for {self.credit_days} days: tell customers fewer days before it is gone than"
                f" {self.notice_days}"
            )
        return self.notice_days


@dataclass(frozen=True, slots=True)
class PrepaidState:
    """A balance with the terms in force and the slices of its sessions."""

    wallet: Wallet
    terms: TermsRow
    sessions: Sequence[Session]
    closing: Closing | None = None


class PrepaidService:
    """controller.domain.ports.CreditControl, and what people and the follower of the usage log do.

    `access` puts into force at logins and sessions what a balance comes to.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        usage: UsageReader,
        tariffs: TariffSource[AsyncConnection],
        access: CreditAccess[AsyncConnection],
        settings: BillingSettings,
    ) -> None:
        self._database = database
        self._clock = clock
        self._usage = usage
        self._access = access
        self._settings = settings
        self.zone = settings.zone
        self.plans = Plans(tariffs)
        self.barring = Barring()

    # --- by people

    async def open(
        self, service_id: ServiceId, account_id: AccountId, unit: str, currency: str, wanted: NewTerms, *, actor: str
    ) -> PrepaidState:
        """Make a service prepaid, with an empty balance, or give it other terms. What its sessions used until now
        costs nothing.

        Raises NotPrepaid for prices by which that cannot be, NotFound for a version that nobody has, and Conflict for a
        service whose balance is of another account or kind.
        """
        now, watermark = self._clock.now(), await self._usage.watermark()
        async with self._database.begin() as conn:
            await log_rows.begin_at(conn, watermark)
            await self.plans.check(conn, unit, currency, wanted.version_id)
            await self.plans.check_not_billed(conn, service_id)
            made = Wallet(service_id, account_id, unit, currency, 0, 0, 0, 0, Standing.OUT, now)
            fresh = await repository.add(conn, made)
            before = (await repository.lock(conn, [service_id]))[service_id]
            if (before.account_id, before.unit, before.currency) != (account_id, unit, currency):
                # What moved on a balance stays told in its unit and of its account: no other one takes its place.
                raise Conflict(
                    f"the prepaid balance of service {service_id} is of account {before.account_id} in {before.unit}"
                    f" ({before.currency}) and stays that, also when it is closed: open it so, or another service"
                )
            if await closing_rows.get(conn, service_id) is not None:
                raise Conflict(
                    f"the prepaid balance of service {service_id} is being closed: what its sessions used is counted,"
                    " and what is left paid out; open it again once it is closed"
                )
            before.closed_at = None
            await repository.put(conn, before)
            row = TermsRow(
                0, service_id, now, wanted.version_id, wanted.slice, wanted.validity_s, wanted.action, actor,
                wanted.credit_days, wanted.days_of_notice, wanted.low_below,
            )  # fmt: skip
            await repository.add_terms(conn, row)
            if fresh:
                await log_rows.begin_with_what_was(conn, service_id, now, timedelta(seconds=wanted.validity_s))
            (book,) = (await self._books(conn, {service_id: before})).values()
            book.follow_terms(now)
            await self.keep(conn, [book], now)
            await self._access.take_turn(conn)
            await self._access.put(conn, service_id, book.wallet.standing)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="prepaid.open" if fresh else "prepaid.terms",
                subject=f"service:{service_id}",
                after={
                    "unit": unit, "version_id": wanted.version_id, "slice": wanted.slice,
                    "validity_s": wanted.validity_s, "action": wanted.action.value, "credit_days": wanted.credit_days,
                    "notice_days": wanted.days_of_notice, "low_below": wanted.low_below,
                },
            )  # fmt: skip
        await self._access.follow()
        return await self.show(service_id)

    async def top_up_in(
        self,
        conn: AsyncConnection,
        service_id: ServiceId,
        units: int,
        worth_minor: int,
        reference: str,
        *,
        actor: str,
    ) -> Movement:
        """Add to the balance within the caller's transaction, who calls `follow` after it. One `reference` adds once.

        Raises UnknownPrepaid, NotPrepaid for an amount that cannot be, Conflict for a reference of another amount.
        """
        now, key = self._clock.now(), f"top-up:{reference}"
        book = await self.locked(conn, service_id)
        known = await repository.moved(conn, service_id, key)
        if known is not None:
            if (known.amount, known.worth_change_minor) != (units, worth_minor):
                raise Conflict(f"top-up {reference} was of {known.amount} {book.wallet.unit}")
            return known
        if not book.wallet.is_in_use:
            raise Conflict(f"the prepaid balance of service {service_id} {book.wallet.shut}; open it again first")
        if not 0 < units <= MOST - book.wallet.balance or not 0 <= worth_minor <= MOST:
            raise NotPrepaid(f"a top-up is positive, and no balance is more than {MOST}")
        book.top_up(units, worth_minor, key, now, actor=actor)
        await self.keep(conn, [book], now)
        await self._access.take_turn(conn)
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action="prepaid.top-up",
            subject=f"service:{service_id}",
            after={"units": units, "unit": book.wallet.unit, "reference": reference},
        )
        made = await repository.moved(conn, service_id, key)
        assert made is not None, "it was written just now"
        return made

    async def follow(self) -> None:
        """After a transaction of the caller's: logins of this process know at once."""
        await self._access.follow()

    # --- by logins

    async def reserve(self, service_id: ServiceId, station: str, nas_id: str) -> Slice | NoCredit:
        """controller.domain.ports.CreditControl."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            wallets = await repository.lock(conn, [service_id])
            if service_id not in wallets:
                RESERVED.labels("none").inc()
                return NoCredit(FinalAction.DISCONNECT, f"service {service_id} is prepaid and has no balance")
            (book,) = (await self._books(conn, wallets)).values()
            got = book.reserve(new_id(now), station, nas_id, now)
            await self.keep(conn, [book], now)
        RESERVED.labels("granted" if isinstance(got, Slice) else "refused").inc()
        return got

    # --- by telephone exchanges

    async def grant_call(self, service_id: ServiceId, call_id: str, number: str, wanted_s: int) -> PrepaidCall:
        """Reserve seconds for a call that begins or goes on: `granted_s` from its begin, 0 where nothing is left.

        Raises UnknownPrepaid, NotPrepaid for a number that the prices do not name, Conflict for a call that has ended,
        Suspended: what was granted to a call under way stays so.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            book = await self.locked(conn, service_id)
            await self.barring.check(conn, service_id)
            made = book.grant_call(new_id(now), call_id, number, wanted_s, now)
            await self.keep(conn, [book], now)
        await self._access.follow()
        return made

    async def end_call(self, service_id: ServiceId, call_id: str, duration_s: int) -> PrepaidCall:
        """A call has ended after so many seconds: debit it, once.

        Raises UnknownPrepaid, NotFound for a call that nothing was reserved for, Conflict where it ended otherwise.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            book = await self.locked(conn, service_id)
            ended = book.end_call(call_id, duration_s, now)
            await self.keep(conn, [book], now)
        await self._access.follow()
        return ended

    # --- by time and the usage log

    async def locked(self, conn: AsyncConnection, service_id: str) -> Book:
        """Raises UnknownPrepaid."""
        found = await repository.lock(conn, [service_id])
        if service_id not in found:
            raise UnknownPrepaid(f"service {service_id} is not prepaid")
        (book,) = (await self._books(conn, found)).values()
        return book

    async def locked_all(
        self, conn: AsyncConnection, service_ids: Iterable[str], session_keys: Iterable[str] = ()
    ) -> dict[str, Book]:
        """Those of them that are prepaid."""
        return await self._books(conn, await repository.lock(conn, service_ids), session_keys)

    async def keep(self, conn: AsyncConnection, books: Sequence[Book], now: datetime) -> bool:
        """Write what came of them, and put into force what that means for logins and sessions; whether it meant
        anything. Who calls from outside a login calls `follow` after the commit."""
        changed = [(book, book.standing(now)) for book in books if self._means_something(book, now)]
        for book, standing in changed:
            book.wallet.standing = standing
        await repository.store(conn, books)
        for book in books:
            for moved in book.movements:
                OVERSHOOT.labels(book.wallet.unit).inc(moved.overshoot)
        prolonged = [book for book in books if book.told.prolonged]
        if changed or prolonged:
            await self._access.take_turn(conn)
        await self._put_into_force(conn, changed)
        for book in prolonged:
            await self._access.prolong(conn, ServiceId(book.wallet.service_id), book.told.prolonged)
        return bool(changed)

    async def _put_into_force(self, conn: AsyncConnection, changed: Sequence[tuple[Book, Standing]]) -> None:
        for book, standing in changed:
            service_id = ServiceId(book.wallet.service_id)
            if book.wallet.is_in_use:
                await self._access.put(conn, service_id, standing)
            for action in FinalAction:
                ended = [key for key, said in book.told.ended.items() if said is action]
                if ended:
                    await self._access.end(conn, service_id, ended, action)
            if book.told.go_on:
                await self._access.go_on(conn, service_id, book.told.go_on)

    async def stations(self, conn: AsyncConnection, session_keys: Collection[str]) -> Mapping[str, str]:
        """Session → the station that a login asked with, where accounting knows it."""
        return await self._access.stations(conn, session_keys) if session_keys else {}

    async def activated_in(self, conn: AsyncConnection, service_id: ServiceId) -> None:
        """Its login was made, perhaps after its balance."""
        found = await repository.get(conn, service_id)
        if found is not None and found.is_in_use:
            await self._access.take_turn(conn)
            await self._access.put(conn, service_id, found.standing)

    async def let_everybody_in(self, conn: AsyncConnection, service_id: ServiceId) -> None:
        """Its logins ask for no credit any more."""
        await self._access.take_turn(conn)
        await self._access.put(conn, service_id, None)

    async def without_credit(self, conn: AsyncConnection, service_id: str) -> set[str]:
        """The sessions of a service that nothing is left for: in the garden, or told to end."""
        found = await repository.get(conn, service_id)
        if found is None or not found.is_in_use:
            return set()
        rows = await repository.sessions_of(conn, service_id)
        return {row.session_key for row in rows if row.session_key and row.state in (State.WALLED, State.FINAL)}

    async def told_limit(self, conn: AsyncConnection, session_key: str) -> int | None:
        """How many seconds since its begin the NAS of a session was told to let it last; None where it was not."""
        return await repository.told_limit(conn, session_key)

    # --- to look at

    async def show(self, service_id: ServiceId) -> PrepaidState:
        """Raises UnknownPrepaid."""
        async with self._database.read() as conn:
            found = await repository.get(conn, service_id)
            if found is None:
                raise UnknownPrepaid(f"service {service_id} is not prepaid")
            rows = (await repository.terms_of(conn, [service_id]))[service_id]
            closing = (await closing_rows.of(conn, [service_id])).get(service_id)
            return PrepaidState(found, rows[-1], await repository.sessions_of(conn, service_id), closing)

    async def page(self, *, account_id: str | None, after: str | None, limit: int) -> list[PrepaidState]:
        """By service."""
        async with self._database.read() as conn:
            found = await repository.page(conn, account_id=account_id, after=after, limit=limit)
            ids = [w.service_id for w in found]
            rows, closing = await repository.terms_of(conn, ids), await closing_rows.of(conn, ids)
        return [PrepaidState(w, rows[w.service_id][-1], (), closing.get(w.service_id)) for w in found]

    async def movements(self, service_id: ServiceId, *, before: int | None, limit: int) -> list[Movement]:
        """Newest first."""
        async with self._database.read() as conn:
            return await repository.movements(conn, service_id, before=before, limit=limit)

    async def any_unposted(self) -> bool:
        """Whether anything was earned that stands in no books yet."""
        async with self._database.read() as conn:
            return await repository.any_unposted(conn)

    async def unposted_in(self, conn: AsyncConnection, limit: int) -> list[UsedDay]:
        """What was earned and stands in no books yet, held for the caller until its transaction ends."""
        return await repository.unposted(conn, limit)

    async def post_in(self, conn: AsyncConnection, days: Iterable[UsedDay]) -> None:
        """These stand in the books now."""
        await repository.post(conn, days)

    async def tariff_of(self, conn: AsyncConnection, service_id: ServiceId) -> TariffVersion | None:
        """The prices in force; None for a balance of units. Raises UnknownPrepaid."""
        rows = (await repository.terms_of(conn, [service_id])).get(service_id)
        if rows is None:
            raise UnknownPrepaid(f"service {service_id} is not prepaid")
        return await self.plans.tariff(conn, rows[-1].version_id)

    # --- how

    @staticmethod
    def _means_something(book: Book, now: datetime) -> bool:
        said = book.told.ended or book.told.go_on
        return bool(said) or (book.wallet.is_in_use and book.standing(now) is not book.wallet.standing)

    async def _books(
        self, conn: AsyncConnection, wallets: Mapping[str, Wallet], session_keys: Iterable[str] = ()
    ) -> dict[str, Book]:
        rows = await repository.terms_of(conn, wallets)
        priced = {i: [await self._priced(conn, row) for row in of] for i, of in rows.items()}
        zones = await zones_of(conn, (w.account_id for w in wallets.values()), self._settings.zone)
        earliest, rounding = self._clock.now().date() - timedelta(days=1), self._settings.rounding  # of any zone
        since_on = add_months(earliest.replace(day=1), -1)
        return await repository.books(conn, wallets, priced, since_on, session_keys, zones=zones, rounding=rounding)

    async def _priced(self, conn: AsyncConnection, row: TermsRow) -> Terms:
        return row.with_tariff(await self.plans.tariff(conn, row.version_id))
