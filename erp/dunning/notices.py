"""Sends what waits to be told: looks once more whether it is still so, then by e-mail, or as a letter to be printed.

What a notice says is written in the transaction that claims it, from what is open then: nobody is reminded of what he
has paid. A process that dies while a mail is under way leaves its notice uncertain, for a person to decide: it is never
sent twice, and the next step waits until it is known that this one was told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.store import audit, outbox
from controller.store.engine import Database
from controller.store.waking import woken
from erp.crm.service import CrmService
from erp.dunning import letter, letter_pdf, notice_rows, repository
from erp.dunning.effects import effects_of
from erp.dunning.errors import NoticeSettled, UnknownNotice
from erp.dunning.mail import Mail, Mailer, Never, NotNow, Unclear
from erp.dunning.model import disputed_of, policy_on
from erp.dunning.notice_rows import EMAIL, LETTER, NOTICES, SENT, UNCERTAIN, WAITING, Notice
from erp.dunning.records import ACTOR, changed, step_told
from erp.dunning.service import DunningService
from erp.dunning.standing import Standing
from erp.finance.issuing import entity_of

log = structlog.get_logger()

SETTLED = Counter("headend_dunning_notices", "Notices by what became of them.", ["channel", "state"])

_POLL_S = 5.0
_AT_ONCE = 8
_FIRST_WAIT = timedelta(seconds=30)
_LONGEST_WAIT = timedelta(hours=1)


class NoticeService:
    """`mailer` None makes every notice a letter. `sender` is the address that mail comes from."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        crm: CrmService,
        dunning: DunningService,
        *,
        mailer: Mailer | None,
        sender: str = "",
        iban: str = "",
        process: str = "",
    ) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._dunning = dunning
        self._mailer = mailer
        self._sender = sender
        self._iban = iban
        self._process = process
        self._wake = asyncio.Event()
        database.on_commit(NOTICES, self._wake.set)

    async def run(self) -> None:
        """For ever; a database that is away is logged once and tried again."""
        healthy, started = True, False
        while True:
            try:
                if not started:
                    await self.start()
                    started = True
                self._wake.clear()
                await self._abandon(None)
                busy = await self.work()
                healthy = True
            except (SQLAlchemyError, OSError) as error:
                if healthy:
                    log.warning("dunning.notices_stalled", error=str(error))
                healthy, busy = False, False
            if not busy:
                await woken(self._wake, _POLL_S)

    async def work(self) -> bool:
        """Look after what is due, once. Whether there was anything."""
        async with self._database.read() as conn:
            due = await notice_rows.due(conn, self._clock.now(), _AT_ONCE)
        await asyncio.gather(*(self._look_after(found) for found in due))
        return bool(due)

    async def start(self) -> None:
        """Before anything is sent: what a process of our name was sending when it died is uncertain."""
        await self._abandon(self._process)

    async def page(
        self, *, account_id: str | None, state: str | None, after: str | None, limit: int
    ) -> Sequence[Notice]:
        async with self._database.read() as conn:
            return await notice_rows.page(conn, account_id=account_id, state=state, after=after, limit=limit)

    async def counts(self) -> dict[str, int]:
        async with self._database.read() as conn:
            return await notice_rows.counts(conn)

    async def show(self, notice_id: str) -> tuple[Notice, dict[str, Any] | None]:
        """The notice, and what it says once that was written. Raises UnknownNotice."""
        async with self._database.read() as conn:
            found = await notice_rows.get(conn, notice_id)
            if found is None:
                raise UnknownNotice(f"no notice {notice_id}")
            content, _, _ = await notice_rows.written(conn, notice_id)
        return found, None if content is None else json.loads(content)

    async def pdf(self, notice_id: str) -> bytes:
        """The letter as it was drawn. Raises UnknownNotice, also for one that went by e-mail or not yet."""
        await self.show(notice_id)
        async with self._database.read() as conn:
            _, _, drawn = await notice_rows.written(conn, notice_id)
        if drawn is None:
            raise UnknownNotice(f"notice {notice_id} is no letter, or not drawn yet")
        return drawn

    async def decide(self, notice_id: str, *, arrived: bool, actor: str, reason: str) -> Notice:
        """What became of an uncertain notice: it arrived, or it is sent again. Raises NoticeSettled for any other."""
        found, _ = await self.show(notice_id)
        now = self._clock.now()
        async with self._database.begin() as conn:
            await repository.lock_account(conn, found.account_id)
            if arrived:
                standing = await self._dunning.standing_in(conn, found.account_id)
                values = {"settled_at": now, "settled_on": standing.state.day, "words": f"arrived, says {actor}"}
                done = await notice_rows.decide(conn, notice_id, SENT, **values)
            else:
                done = await notice_rows.decide(conn, notice_id, WAITING, next_at=now, words=f"again, says {actor}")
            if not done:
                raise NoticeSettled(f"notice {notice_id} is {found.state}; only an uncertain one is decided")
            told = await self._events(conn, standing, notice_id, now) if arrived else []
            after = {"notice_id": notice_id, "arrived": arrived}
            await changed(conn, now, found.account_id, "notice.decide", actor, reason, None, after)
            await outbox.append(conn, *told)
        return (await self.show(notice_id))[0]

    # --- one notice

    async def _look_after(self, found: Notice) -> None:
        """One notice must not keep all others from being told: an error of ours is logged, and left to a person."""
        try:
            await self._tell(found)
        except (SQLAlchemyError, OSError):
            raise
        except Exception as error:
            log.error("dunning.notice_failed", notice_id=found.notice_id, exc_info=error)
            words = f"an error of the controller: {type(error).__name__}; the log tells more"
            async with self._database.begin() as conn:
                await notice_rows.give_up(conn, found.notice_id, words)
            SETTLED.labels(found.channel, UNCERTAIN).inc()

    async def _tell(self, found: Notice) -> None:
        if found.channel == EMAIL and self._mailer is None:
            found = await self._by_letter(found, "no mail server is set up")
        content = await self._claim(found)
        if content is None:
            return
        if found.channel == LETTER:
            drawn = await asyncio.to_thread(letter_pdf.pdf, content)
            await self._settle(found, SENT, pdf=drawn, words="drawn as a letter, to be printed")
            return
        assert self._mailer is not None
        try:
            await self._mailer.send(self._mail(found, content))
        except NotNow as error:
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(found.tries, 10))
            await self._settle(found, WAITING, next_at=self._clock.now() + wait, words=f"not yet: {error}"[:500])
        except Never as error:
            now = self._clock.now()
            await self._settle(found, WAITING, next_at=now, channel=LETTER, words=f"by letter: {error}"[:500])
        except Unclear as error:
            await self._settle(found, UNCERTAIN, words=f"whether it arrived is not known: {error}"[:500])
        else:
            await self._settle(found, SENT, words=f"accepted for {found.recipient}"[:500])

    async def _claim(self, found: Notice) -> dict[str, Any] | None:
        """What it says, if it is ours to say; None where somebody else does, or nothing is to be said any more."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            await repository.lock_account(conn, found.account_id)
            standing = await self._dunning.standing_in(conn, found.account_id)
            steps = await notice_rows.steps_of(conn, found.notice_id)
            why = _needless(standing, steps)
            if why is not None:
                await self._withdraw(conn, found, why, now)
                return None
            entity = await self._crm.entity(standing.customer.entity_id)
            iban = self._iban if entity.iban is None else entity.iban
            effects = effects_of(
                standing,
                await self._dunning.blocking_parent_in(conn, standing),
                await self._dunning.served_in(conn, found.account_id),
                steps,
                found.locale.replace("_", "-"),
            )
            content = letter.content_of(
                standing, found.text, effects, _fees(standing, steps), seller=entity, iban=iban, locale=found.locale
            )
            written = letter.canonical(content)
            claimed = await notice_rows.claim(conn, found, written.content, written.sha256, self._process, now)
        return content if claimed else None

    async def _withdraw(self, conn: AsyncConnection, found: Notice, why: str, now: datetime) -> None:
        customer = await self._crm.customer_of_in(conn, found.account_id)
        today = local_date(now, (await entity_of(conn, customer.entity_id)).zone_info)
        await notice_rows.withdraw(conn, found.notice_id, why, now, today)
        SETTLED.labels(found.channel, notice_rows.WITHDRAWN).inc()
        after = {"notice_id": found.notice_id, "text": found.text, "why": why}
        await changed(conn, now, found.account_id, "notice.withdraw", ACTOR, None, None, after)

    async def _settle(self, found: Notice, state: str, **values: Any) -> None:
        now = self._clock.now()
        async with self._database.begin() as conn:
            standing = await self._dunning.standing_in(conn, found.account_id)
            if state == SENT:
                values |= {"settled_at": now, "settled_on": standing.state.day}
            if not await notice_rows.put(conn, found.notice_id, state, **values):
                return
            if state == SENT:
                told = await self._events(conn, standing, found.notice_id, now)
                await audit.record(
                    conn,
                    now=now,
                    actor=ACTOR,
                    action="dunning.notice.send",
                    subject=f"account:{found.account_id}",
                    after={"notice_id": found.notice_id, "text": found.text, "channel": found.channel},
                )
                await outbox.append(conn, *told)
        SETTLED.labels(found.channel, state).inc()
        log.info("dunning.notice", notice_id=found.notice_id, channel=found.channel, state=state)

    async def _events(self, conn: AsyncConnection, standing: Standing, notice_id: str, now: datetime) -> list[Any]:
        steps = await notice_rows.steps_of(conn, notice_id)
        return [step_told(standing, s.invoice_id, s.name, _fee(standing, s), now) for s in steps]

    async def _by_letter(self, found: Notice, why: str) -> Notice:
        async with self._database.begin() as conn:
            return await notice_rows.change_channel(conn, found, LETTER, why)

    async def _abandon(self, process: str | None) -> None:
        async with self._database.begin() as conn:
            lost = await notice_rows.abandon(conn, self._clock.now(), process)
        if lost:
            log.warning("dunning.notices_uncertain", notices=len(lost))

    def _mail(self, found: Notice, content: dict[str, Any]) -> Mail:
        domain = self._sender.rpartition("@")[2] or "localhost"
        return Mail(
            message_id=f"<{found.notice_id}@{domain}>",
            sender=self._sender,
            recipient=found.recipient,
            subject=letter.subject(content),
            text=letter.plain(content),
            at=self._clock.now(),
            language=found.locale.replace("_", "-"),
        )


def _needless(standing: Standing, steps: Sequence[Any]) -> str | None:
    """Why there is nothing to be told any more; None while something is claimed of an invoice of these steps."""
    state, facts = standing.state, standing.facts
    if state.rests:
        return f"dunning rests: {', '.join(state.rests)}"
    if state.claimed_minor <= 0:
        return "nothing is claimed any more"
    open_minor = {(d.invoice_id, d.since): d.open_minor for d in facts.debts}
    left = [
        open_minor.get((s.invoice_id, s.since_on), 0) - disputed_of(s.invoice_id, state.day, facts.disputes)
        for s in steps
    ]
    return None if any(minor > 0 for minor in left) else "its invoices were settled or are disputed"


def _fees(standing: Standing, steps: Sequence[Any]) -> int:
    return sum(_fee(standing, s) for s in steps)


def _fee(standing: Standing, step: Any) -> int:
    """Of the ladder that the invoice climbs."""
    ladder = policy_on(standing.facts.policies, step.since_on)
    known = () if ladder is None else ladder.steps
    return next((s.fee_minor for s in known if s.name == step.name), 0)
