"""Tells customers before a contract ends or renews, as many days before as its terms say, by e-mail and once.

    due (remind_on has come) → waiting ──claim──▸ sending ──accepted──▸ sent
                                  ▲                  ├── not now: waiting again, later
                                  │                  ├── never, no address, no mail server ─▸ uncertain
                                  │                  └── the process died here ─▸ uncertain
                                  └───────────── a person decides: send again, or it was told

A contract and its end have one notice (the database says so). One whose contract is over, or ends another day by then,
is withdrawn before it is sent. A mail that may have arrived is never sent again without a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Row, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.errors import Conflict, NotFound
from controller.domain.identity import AccountId, OfferingVersionId, new_id
from controller.domain.tariff import TariffVersion
from controller.store import audit
from controller.store.engine import Database
from controller.store.many import insert_rows, one_of
from controller.workflows.contract_texts import told
from erp.catalog import repository as catalog_rows
from erp.catalog.tables import version
from erp.crm.service import CrmService
from erp.dunning.mail import Mail, Mailer, Never, NotNow, Unclear
from erp.orders.contract import Bound, bound
from erp.orders.model import SubscriptionState
from erp.orders.tables import contract_notice, item, subscription

log = structlog.get_logger()

WAITING, SENDING, SENT, WITHDRAWN, UNCERTAIN = "waiting", "sending", "sent", "withdrawn", "uncertain"
ACTOR = "system:contracts"
_CLAIM = timedelta(minutes=5)
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
_PAGE = 500
_AT_ONCE = 8


class UnknownContractNotice(NotFound):
    code = "unknown-contract-notice"


class ContractNoticeSettled(Conflict):
    code = "contract-notice-settled"


@dataclass(frozen=True, slots=True)
class ContractNotice:
    notice_id: str
    subject: str
    ends_on: date
    account_id: AccountId
    recipient: str
    title: str
    text: str
    state: str
    tries: int
    words: str | None
    created_at: datetime
    settled_at: datetime | None
    locale: str


@dataclass(frozen=True, slots=True)
class _Held:
    """A line or an item under a contract."""

    subject: str
    account_id: AccountId
    tariff: TariffVersion
    begun_at: datetime


class ContractNotices:
    """`mailer` None leaves every notice to a person."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        crm: CrmService,
        *,
        mailer: Mailer | None,
        sender: str = "",
        process: str = "",
        look_every_s: float = 3600.0,
        poll_s: float = 5.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._mailer = mailer
        self._sender = sender
        self._process = process
        self._look_every_s = look_every_s
        self._poll_s = poll_s

    async def run(self) -> None:
        """For ever; a database that is away is logged and tried again."""
        loop, started, look_at_s = asyncio.get_running_loop(), False, 0.0
        while True:
            try:
                if not started:
                    await self.start()
                    started = True
                if loop.time() >= look_at_s:
                    await self.look()
                    look_at_s = loop.time() + self._look_every_s
                await self._abandon(contract_notice.c.next_at <= self._clock.now())
                if await self.work():
                    continue
            except (SQLAlchemyError, OSError) as error:
                log.warning("contract_notices.stalled", error=str(error))
            await asyncio.sleep(self._poll_s)

    async def start(self) -> None:
        """Before anything is sent: what a process of our name was sending when it died is uncertain."""
        await self._abandon(contract_notice.c.claimed_by == self._process)

    async def look(self) -> int:
        """Write down who is to be told today; how many."""
        async with self._database.read() as conn:
            binding = await _binding(conn)
        made, after = 0, ""
        for table, key, since, living in (
            (subscription, subscription.c.subscription_id, subscription.c.activated_at,
             subscription.c.state == SubscriptionState.ACTIVE.value),
            (item, item.c.item_id, item.c.held_since, item.c.ended_at.is_(None)),
        ):  # fmt: skip
            after = ""
            while binding:
                query = select(key.label("id"), table.c.account_id, table.c.version_id, since.label("begun_at")).where(
                    key > after, living, since.is_not(None), one_of(conn, table.c.version_id, sorted(binding))
                )
                async with self._database.begin() as writing:
                    rows = (await writing.execute(query.order_by(key).limit(_PAGE))).all()
                    kind = "item" if table is item else "subscription"
                    held = [
                        _Held(f"{kind}:{r.id}", AccountId(r.account_id), binding[r.version_id], r.begun_at)
                        for r in rows
                    ]
                    made += await self._write_down(writing, held)
                if len(rows) < _PAGE:
                    break
                after = rows[-1].id
        return made

    async def work(self) -> bool:
        """Send what is due, once. Whether there was anything."""
        now = self._clock.now()
        query = select(contract_notice).where(contract_notice.c.state == WAITING, contract_notice.c.next_at <= now)
        async with self._database.read() as conn:
            rows = (await conn.execute(query.order_by(contract_notice.c.next_at).limit(_AT_ONCE))).all()
        for row in rows:
            await self._send(_notice(row))
        return bool(rows)

    async def page(
        self, *, state: str | None, account_id: str | None, after: str | None, limit: int
    ) -> Sequence[ContractNotice]:
        """In order of their ids, which is that of their making."""
        query = select(contract_notice).order_by(contract_notice.c.notice_id).limit(limit)
        for column, value in ((contract_notice.c.state, state), (contract_notice.c.account_id, account_id)):
            if value is not None:
                query = query.where(column == value)
        if after is not None:
            query = query.where(contract_notice.c.notice_id > after)
        async with self._database.read() as conn:
            return [_notice(row) for row in await conn.execute(query)]

    async def decide(self, notice_id: str, *, arrived: bool, actor: str, reason: str) -> ContractNotice:
        """Of an uncertain one: it was told, or is sent again. Raises UnknownContractNotice, ContractNoticeSettled."""
        now = self._clock.now()
        values: dict[str, Any] = {"state": SENT, "settled_at": now, "words": f"told, says {actor}"}
        if not arrived:
            values = {"state": WAITING, "next_at": now, "words": f"again, says {actor}"}
        async with self._database.begin() as conn:
            row = (await conn.execute(_one(notice_id))).one_or_none()
            if row is None:
                raise UnknownContractNotice(f"no contract notice {notice_id}")
            if not await _put(conn, notice_id, UNCERTAIN, values):
                raise ContractNoticeSettled(f"notice {notice_id} is {row.state}; only an uncertain one is decided")
            await audit.record(
                conn, now=now, actor=actor, action="contract-notice.decide", subject=row.subject,
                before={"state": row.state}, after={"state": values["state"]}, reason=reason,
            )  # fmt: skip
            return _notice((await conn.execute(_one(notice_id))).one())

    async def _write_down(self, conn: AsyncConnection, held: Sequence[_Held]) -> int:
        now, made = self._clock.now(), 0
        customers = await self._crm.customers_of_in(conn, {h.account_id for h in held}) if held else {}
        for one in held:
            customer = customers[one.account_id]
            today = local_date(now, customer.account.zone_info)
            standing = _standing(one, today, customer.account.zone_info)
            if standing.ends_on is None or standing.remind_on is None or not standing.remind_on <= today:
                continue
            known = select(contract_notice.c.notice_id).where(
                contract_notice.c.subject == one.subject, contract_notice.c.ends_on == standing.ends_on
            )
            if await conn.scalar(known) is not None:
                continue
            entity = await self._crm.entity(customer.entity_id)
            locale = customer.contact.language.replace("-", "_") or entity.locale
            contract = one.tariff.plan.contract
            assert contract is not None
            assert standing.notice_on is not None
            said = told(
                locale=locale, name=one.tariff.offering_name, seller=entity.name,
                last_on=standing.ends_on - timedelta(days=1), notice_on=standing.notice_on,
                renewal_months=contract.renewal_months,
            )  # fmt: skip
            values = {
                "notice_id": new_id(now), "subject": one.subject, "ends_on": standing.ends_on,
                "account_id": one.account_id, "recipient": customer.contact.email, "locale": locale[:16],
                "title": said.title[:300], "text": said.text, "state": WAITING, "tries": 0, "next_at": now,
                "created_at": now,
            }  # fmt: skip
            # Another process may be looking too: the first one writes it.
            await insert_rows(
                conn,
                contract_notice,
                list(values),
                [tuple(values.values())],
                "ON CONFLICT (subject, ends_on) DO NOTHING",
            )
            made += 1
        return made

    async def _send(self, found: ContractNotice) -> None:
        if not await self._claim(found):
            return
        try:
            if self._mailer is None or not found.recipient:
                raise Never("no mail server is set up" if self._mailer is None else "the customer has no address")
            await self._mailer.send(self._mail(found))
        except NotNow as error:
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(found.tries, 10))
            await self._settle(found, WAITING, f"not yet: {error}", next_at=self._clock.now() + wait)
        except Never as error:
            await self._settle(found, UNCERTAIN, f"not by mail, tell them otherwise: {error}")
        except Unclear as error:
            await self._settle(found, UNCERTAIN, f"whether it arrived is not known: {error}")
        else:
            await self._settle(found, SENT, f"accepted for {found.recipient}", settled_at=self._clock.now())

    async def _claim(self, found: ContractNotice) -> bool:
        """Whether it is ours to send; one that is not true any more is withdrawn."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            if not await self._still(conn, found, now):
                values = {"state": WITHDRAWN, "settled_at": now, "words": "the contract is over, or ends another day"}
                await _put(conn, found.notice_id, WAITING, values)
                return False
            values = {"state": SENDING, "claimed_by": self._process, "next_at": now + _CLAIM, "tries": found.tries + 1}
            return await _put(conn, found.notice_id, WAITING, values)

    async def _still(self, conn: AsyncConnection, found: ContractNotice, now: datetime) -> bool:
        kind, _, key = found.subject.partition(":")
        if kind == "item":
            query = select(item.c.version_id, item.c.held_since.label("begun_at")).where(
                item.c.item_id == key, item.c.ended_at.is_(None)
            )
        else:
            query = select(subscription.c.version_id, subscription.c.activated_at.label("begun_at")).where(
                subscription.c.subscription_id == key, subscription.c.state == SubscriptionState.ACTIVE.value
            )
        row = (await conn.execute(query)).one_or_none()
        tariff = None if row is None else await catalog_rows.find_version(conn, OfferingVersionId(row.version_id))
        if row is None or tariff is None or tariff.plan.contract is None:
            return False
        zone = (await self._crm.customer_of_in(conn, found.account_id)).account.zone_info
        held = _Held(found.subject, found.account_id, tariff, row.begun_at)
        return _standing(held, local_date(now, zone), zone).ends_on == found.ends_on

    async def _settle(self, found: ContractNotice, state: str, words: str, **values: Any) -> None:
        values |= {"state": state, "words": words[:500], "claimed_by": None}
        async with self._database.begin() as conn:
            if await _put(conn, found.notice_id, SENDING, values) and state == SENT:
                await audit.record(
                    conn, now=self._clock.now(), actor=ACTOR, action="contract-notice.send", subject=found.subject,
                    after={"notice_id": found.notice_id, "ends_on": found.ends_on.isoformat()},
                )  # fmt: skip
        log.info("contract_notices.settled", notice_id=found.notice_id, state=state)

    async def _abandon(self, which: Any) -> None:
        words = "the program ended while this was being sent: whether it arrived is not known"
        lost = update(contract_notice).where(contract_notice.c.state == SENDING, which)
        async with self._database.begin() as conn:
            await conn.execute(lost.values(state=UNCERTAIN, claimed_by=None, words=words))

    def _mail(self, found: ContractNotice) -> Mail:
        domain = self._sender.rpartition("@")[2] or "localhost"
        return Mail(
            f"<{found.notice_id}@{domain}>", self._sender, found.recipient, found.title, found.text,
            self._clock.now(), found.locale.replace("_", "-"),
        )  # fmt: skip


async def _binding(conn: AsyncConnection) -> dict[str, TariffVersion]:
    """Versions by whose contract somebody is to be told."""
    found = {}
    for version_id in await conn.scalars(select(version.c.version_id).where(version.c.plan.contains('"contract"'))):
        tariff = await catalog_rows.find_version(conn, OfferingVersionId(version_id))
        if tariff is not None and tariff.plan.contract is not None and tariff.plan.contract.remind_days:
            found[version_id] = tariff
    return found


def _standing(held: _Held, today: date, zone: Any) -> Bound:
    assert held.tariff.plan.contract is not None
    return bound(held.tariff.plan.contract, local_date(held.begun_at, zone), today)


async def _put(conn: AsyncConnection, notice_id: str, before: str, values: dict[str, Any]) -> bool:
    changed = update(contract_notice).where(contract_notice.c.notice_id == notice_id, contract_notice.c.state == before)
    return bool((await conn.execute(changed.values(**values))).rowcount)


def _one(notice_id: str) -> Any:
    return select(contract_notice).where(contract_notice.c.notice_id == notice_id)


def _notice(row: Row[Any]) -> ContractNotice:
    return ContractNotice(
        row.notice_id, row.subject, row.ends_on, AccountId(row.account_id), row.recipient, row.title, row.text,
        row.state, row.tries, row.words, row.created_at, row.settled_at, row.locale,
    )  # fmt: skip
