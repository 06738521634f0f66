"""Tells customers before prepaid credit expires, as many days before as its terms say, and when little of it is left:
by e-mail and once. What is not true any more when it would be sent, after a top-up or a closing, is withdrawn."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.prepaid.tables import notice
from billing_bridge.prepaid.telling import PrepaidTelling, ToTell
from controller.domain.clock import Clock
from controller.domain.errors import Conflict, NotFound
from controller.domain.identity import AccountId
from controller.store.engine import Database
from controller.workflows.mailed_notices import MailedNotices, Notice
from controller.workflows.prepaid_texts import told
from erp.crm.service import CrmService
from erp.dunning.mail import Mailer

_PAGE = 200


class UnknownPrepaidNotice(NotFound):
    code = "unknown-prepaid-notice"


class PrepaidNoticeSettled(Conflict):
    code = "prepaid-notice-settled"


@dataclass(frozen=True, slots=True)
class PrepaidNotice(Notice):
    """`expires_on` is the first day without the credit; None where it says that little is left."""

    service_id: str
    expires_on: date | None


class PrepaidNotices(MailedNotices[PrepaidNotice]):
    kind, table, actor = "prepaid-notice", notice, "system:prepaid"
    unknown, settled = UnknownPrepaidNotice, PrepaidNoticeSettled

    def __init__(
        self,
        database: Database,
        clock: Clock,
        crm: CrmService,
        telling: PrepaidTelling,
        *,
        mailer: Mailer | None,
        sender: str = "",
        process: str = "",
    ) -> None:
        # Little credit is soon none: who is to be told is looked for as often as what is to be sent.
        super().__init__(database, clock, crm, mailer=mailer, sender=sender, process=process, look_every_s=0.0)
        self._telling = telling

    async def look(self) -> int:
        async with self._database.read() as conn:
            more = await self._telling.is_due(conn)
        made = 0
        while more:
            async with self._database.begin() as conn:
                found, more = await self._telling.take_in(conn, _PAGE)
                await self._write_down(conn, found)
            made += len(found)
        return made

    async def _write_down(self, conn: AsyncConnection, found: list[ToTell]) -> None:
        customers = await self._crm.customers_of_in(conn, {AccountId(f.account_id) for f in found}) if found else {}
        for one in found:
            customer = customers[AccountId(one.account_id)]
            entity = await self._crm.entity(customer.entity_id)
            locale = customer.contact.language.replace("-", "_") or entity.locale
            said = told(
                locale=locale, service_id=one.service_id, seller=entity.name, unit=one.unit, balance=one.balance,
                expires_on=one.expires_on,
            )  # fmt: skip
            more = {"expires_on": one.expires_on}
            once = {"service_id": one.service_id, "what": one.what}
            await self._write(conn, customer, said.title, said.text, locale, once, more)

    async def over(self, conn: AsyncConnection, found: PrepaidNotice, now: datetime) -> str | None:
        return await self._telling.is_over(conn, found.service_id, found.expires_on)

    def subject(self, found: PrepaidNotice) -> str:
        return f"service:{found.service_id}"

    def of_row(self, row: Row[Any]) -> PrepaidNotice:
        return PrepaidNotice(
            row.notice_id, AccountId(row.account_id), row.recipient, row.title, row.text, row.state, row.tries,
            row.words, row.created_at, row.settled_at, row.locale, row.service_id, row.expires_on,
        )  # fmt: skip
