"""Pauses of lines: the seasonal hold that a customer asks for by the day, and days on which we take a line out of use.

    agreed ── first day ──▸ in force ── last day over ──▸ over
       └────────── called off, or ended earlier or later ──────▸ the same pause with other days

A pause is days, [first_on, until_on), on which `percent` of the fees go on; they may lie in the past, for a flood that
is only told of afterwards. Billing is told in the same transaction and computes the difference. Whether the line is in
use on these days is the network's side, which follows by the clock (`due`, `set_off`) and never leads.

A seasonal pause is the customer's wish and no sign of arrears; whoever duns must not mistake one for the other, so the
kind stands with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, and_, insert, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.events import ServicePaused
from controller.domain.identity import AccountId, ItemId, PauseId, ServiceId, SubscriptionId, new_id
from controller.domain.price import ProductKind
from controller.store import audit, outbox
from controller.store.engine import Database
from erp.catalog.tables import offering, version
from erp.crm.service import CrmService
from erp.orders import repository
from erp.orders.errors import BadTime, NoPause, NoSubscription, NotAllowed
from erp.orders.model import Subscription, SubscriptionState
from erp.orders.pause_model import LinePause, PauseKind, PauseRequest
from erp.orders.tables import item, pause
from erp.orders.tables import subscription as subscriptions

_FARTHEST_DAYS = 366
"""How far from today a pause may begin or end: a slip in the year is no order."""
_DAY = timedelta(days=1)


class PauseService:
    """Methods that take `conn` join the caller's transaction."""

    def __init__(self, database: Database, clock: Clock, *, crm: CrmService) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm

    async def take_turn(self, conn: AsyncConnection, subscription_ids: Collection[SubscriptionId]) -> None:
        """Put pauses of these lines, and the end of one, one after the other until the transaction ends.

        Whoever writes more than a pause takes this turn before it writes: the audit log's comes after it, everywhere.
        """
        column = subscriptions.c.subscription_id
        query = select(column).where(column.in_(sorted(subscription_ids))).order_by(column)
        await conn.execute(query.with_for_update())

    async def place(self, request: PauseRequest, *, actor: str) -> LinePause:
        """Raises NoSubscription, NotAllowed, BadTime."""
        async with self._database.begin() as conn:
            return await self.place_in(conn, request, actor=actor)

    async def place_in(self, conn: AsyncConnection, request: PauseRequest, *, actor: str) -> LinePause:
        now = self._clock.now()
        line = await self._line(conn, request.subscription_id)
        today = await self._today(conn, line.account_id)
        assert line.activated_at is not None
        customer = await self._crm.customer_of_in(conn, line.account_id)
        begun_on = local_date(line.activated_at, customer.account.zone_info)
        if request.first_on < begun_on:
            raise BadTime(f"the line begins on {begun_on}; it cannot be paused before that")
        _check_days(request.first_on, request.until_on, today)
        made = LinePause(
            pause_id=PauseId(new_id(now)),
            subscription_id=line.subscription_id,
            service_id=line.service_id,
            account_id=line.account_id,
            item_id=None,
            with_pause_id=None,
            kind=request.kind,
            first_on=request.first_on,
            until_on=request.until_on,
            percent=request.percent,
            reason=request.reason,
            service_off=request.service_off,
            off_since=None,
            agreed_at=now,
            agreed_by=actor,
            changed_at=now,
        )
        await self._refuse_overlap(conn, made)
        items = await self._of_items(conn, made, request.item_kinds, now) if request.with_items else []
        for each in [made, *items]:
            await conn.execute(insert(pause).values({name: getattr(each, name) for name in LinePause.__slots__}))
            await self._tell(conn, None, each, actor)
        return made

    async def end(self, pause_id: PauseId, on: date | None, *, actor: str) -> LinePause:
        """In use and charged again from the local day `on` (None: today). Before its first day: called off.

        A pause may so be made longer too. Raises NoPause, NotAllowed, BadTime.
        """
        async with self._database.begin() as conn:
            return await self.end_in(conn, pause_id, on, actor=actor)

    async def end_in(self, conn: AsyncConnection, pause_id: PauseId, on: date | None, *, actor: str) -> LinePause:
        before = await self._get(conn, pause_id, lock=True)
        if before.with_pause_id is not None:
            raise NotAllowed(f"the item pauses with its line: end pause {before.with_pause_id}")
        if before.called_off:
            raise NotAllowed("the pause was called off")
        today = await self._today(conn, before.account_id)
        until_on = max(on or today, before.first_on)
        if until_on == before.until_on:
            return before
        _check_day(until_on, today)
        after = replace(before, until_on=until_on, changed_at=self._clock.now())
        await self._refuse_overlap(conn, after)
        for old in [before, *await self._with(conn, before)]:
            new = replace(old, until_on=until_on, changed_at=after.changed_at)
            await self._write(conn, new)
            await self._tell(conn, old, new, actor)
        return after

    async def pause(self, pause_id: PauseId) -> LinePause:
        """Raises NoPause."""
        async with self._database.read() as conn:
            return await self._get(conn, pause_id)

    async def pauses(
        self, *, account_id: str | None = None, subscription_id: str | None = None, after: str | None = None, limit: int
    ) -> Sequence[LinePause]:
        """Of lines, in the order in which they were agreed; those of items go with them."""
        query = select(pause).where(pause.c.item_id.is_(None)).order_by(pause.c.pause_id).limit(limit)
        if account_id is not None:
            query = query.where(pause.c.account_id == account_id)
        if subscription_id is not None:
            query = query.where(pause.c.subscription_id == subscription_id)
        if after is not None:
            query = query.where(pause.c.pause_id > after)
        async with self._database.read() as conn:
            return [_pause(row) for row in await conn.execute(query)]

    async def in_force_in(
        self, conn: AsyncConnection, subscription_id: SubscriptionId, kind: PauseKind
    ) -> LinePause | None:
        """The line's pause of a kind that is in force today."""
        query = select(pause).where(
            pause.c.subscription_id == subscription_id, pause.c.item_id.is_(None), pause.c.kind == kind.value
        )
        for found in [_pause(row) for row in await conn.execute(query)]:
            if found.in_force(await self._today(conn, found.account_id)):
                return found
        return None

    async def today_of(self, account_id: AccountId) -> date:
        """The local day of an account. Raises NoAccount."""
        async with self._database.read() as conn:
            return await self._today(conn, account_id)

    async def is_off(self, subscription_id: SubscriptionId) -> bool:
        """Whether a pause keeps the line out of use today."""
        async with self._database.read() as conn:
            query = _off().where(pause.c.subscription_id == subscription_id)
            found = [_pause(row) for row in await conn.execute(query)]
            return any([p.in_force(await self._today(conn, p.account_id)) for p in found])

    async def due(self) -> list[tuple[LinePause, bool]]:
        """Pauses whose line is in use and should not be, or the other way round: (pause, should it be off today)."""
        now = self._clock.now()
        # Nowhere is it more than a day earlier or later than in UTC; each account's own day decides below.
        first, last = now.date() - _DAY, now.date() + _DAY
        active = subscriptions.c.state == SubscriptionState.ACTIVE.value
        off = and_(pause.c.first_on <= last, or_(pause.c.until_on.is_(None), pause.c.until_on > first), active)
        on = not_(and_(pause.c.first_on <= first, or_(pause.c.until_on.is_(None), pause.c.until_on > last), active))
        query = (
            _off()
            .join(subscriptions, subscriptions.c.subscription_id == pause.c.subscription_id)
            .where(or_(and_(off, pause.c.off_since.is_(None)), and_(on, pause.c.off_since.is_not(None))))
            .order_by(pause.c.pause_id)
            .add_columns(active.label("is_active"))
        )
        async with self._database.read() as conn:
            rows = (await conn.execute(query)).all()
            customers = await self._crm.customers_of_in(conn, {AccountId(row.account_id) for row in rows})
        today = {i: local_date(now, customer.account.zone_info) for i, customer in customers.items()}
        found = [(one := _pause(row), row.is_active and one.in_force(today[one.account_id])) for row in rows]
        return [(one, off) for one, off in found if off == (one.off_since is None)]

    async def set_off(self, pause_id: PauseId, *, off: bool, actor: str) -> None:
        """The network was seen to have the line out of use, or in use again."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            before = await self._get(conn, pause_id, lock=True)
            if off == (before.off_since is not None):
                return
            await self._write(conn, replace(before, off_since=now if off else None))
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="pause.off" if off else "pause.on",
                subject=f"subscription:{before.subscription_id}",
                after={"pause_id": pause_id},
            )

    async def living(self, subscription_id: SubscriptionId) -> tuple[Subscription | None, bool]:
        """The subscription, and whether an order of it is under way."""
        async with self._database.read() as conn:
            found = await repository.find_subscription(conn, subscription_id)
            return found, await repository.open_order_of(conn, subscription_id) is not None

    async def _line(self, conn: AsyncConnection, subscription_id: SubscriptionId) -> Subscription:
        await self.take_turn(conn, [subscription_id])
        found = await repository.find_subscription(conn, subscription_id)
        if found is None:
            raise NoSubscription(f"no subscription {subscription_id}")
        if found.state is not SubscriptionState.ACTIVE:
            raise NotAllowed(f"subscription {subscription_id} is {found.state.value}, not active")
        return found

    async def _today(self, conn: AsyncConnection, account_id: AccountId) -> date:
        customer = await self._crm.customer_of_in(conn, account_id)
        return local_date(self._clock.now(), customer.account.zone_info)

    async def _refuse_overlap(self, conn: AsyncConnection, made: LinePause) -> None:
        query = select(pause).where(
            pause.c.subscription_id == made.subscription_id,
            pause.c.item_id.is_(None),
            pause.c.kind == made.kind.value,
            pause.c.pause_id != made.pause_id,
        )
        for row in await conn.execute(query):
            other = _pause(row)
            first, until = max(other.first_on, made.first_on), min(_until(other), _until(made))
            if first < until:
                raise NotAllowed(f"pause {other.pause_id} of that kind lies on {first} already: end it, or move it")

    async def _of_items(
        self, conn: AsyncConnection, made: LinePause, kinds: frozenset[ProductKind] | None, now: datetime
    ) -> list[LinePause]:
        """The same for each item of the line that is held on a day of the pause."""
        query = select(item.c.item_id, item.c.ended_at).where(item.c.subscription_id == made.subscription_id)
        if kinds is not None:
            query = (
                query.join(version, version.c.version_id == item.c.version_id)
                .join(offering, offering.c.offering_id == version.c.offering_id)
                .where(offering.c.kind.in_([kind.value for kind in kinds]))
            )
        return [
            replace(
                made,
                pause_id=PauseId(new_id(now)),
                item_id=ItemId(row.item_id),
                with_pause_id=made.pause_id,
                service_off=False,
            )
            for row in await conn.execute(query.where(item.c.ended_at.is_(None)).order_by(item.c.item_id))
        ]

    async def _with(self, conn: AsyncConnection, made: LinePause) -> list[LinePause]:
        query = select(pause).where(pause.c.with_pause_id == made.pause_id).order_by(pause.c.pause_id)
        return [_pause(row) for row in (await conn.execute(query)).all()]

    async def _get(self, conn: AsyncConnection, pause_id: PauseId, *, lock: bool = False) -> LinePause:
        query = select(pause).where(pause.c.pause_id == pause_id)
        row = (await conn.execute(query)).one_or_none()
        if row is None:
            raise NoPause(f"no pause {pause_id}")
        if lock:
            await self.take_turn(conn, [row.subscription_id])
            row = (await conn.execute(query)).one()
        return _pause(row)

    async def _write(self, conn: AsyncConnection, changed: LinePause) -> None:
        values = {name: getattr(changed, name) for name in ("until_on", "off_since", "changed_at")}
        await conn.execute(update(pause).where(pause.c.pause_id == changed.pause_id).values(**values))

    async def _tell(self, conn: AsyncConnection, old: LinePause | None, new: LinePause, actor: str) -> None:
        now = self._clock.now()
        target = SubscriptionId(new.item_id) if new.item_id else new.subscription_id
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action="pause.place" if old is None else "pause.change",
            subject=f"subscription:{target}",
            before=None if old is None else _days(old),
            after=_days(new) | {"kind": new.kind.value, "percent": new.percent},
            reason=new.reason or None,
        )
        await outbox.append(
            conn,
            ServicePaused(
                event_id=new_id(now),
                at=now,
                actor=actor,
                pause_id=new.pause_id,
                subscription_id=target,
                service_id=ServiceId(new.item_id) if new.item_id else new.service_id,
                account_id=new.account_id,
                kind=new.kind.value,
                first_on=new.first_on,
                until_on=new.until_on,
                percent=new.percent,
            ),
        )


def _check_days(first_on: date, until_on: date | None, today: date) -> None:
    if until_on is not None and until_on <= first_on:
        raise BadTime("a pause has a day: until_on is the first day without it")
    for day in (first_on, until_on or first_on):
        _check_day(day, today)


def _check_day(day: date, today: date) -> None:
    if abs((day - today).days) > _FARTHEST_DAYS:
        raise BadTime(f"{day} is more than a year from today")


def _until(found: LinePause) -> date:
    return found.until_on or date.max


def _days(found: LinePause) -> dict[str, Any]:
    return {
        "pause_id": found.pause_id,
        "first_on": found.first_on.isoformat(),
        "until_on": found.until_on.isoformat() if found.until_on else None,
    }


def _off() -> Select[Any]:
    return select(pause).where(pause.c.service_off.is_(True), pause.c.item_id.is_(None))


def _pause(row: Row[Any]) -> LinePause:
    values = {name: getattr(row, name) for name in LinePause.__slots__}
    return LinePause(**values | {"kind": PauseKind(row.kind)})
