"""Mandates: who lets us collect from which account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from controller.domain.clock import Clock, local_date
from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, new_id
from controller.store import audit
from controller.store.engine import Database
from erp.crm.service import CrmService
from erp.payments.errors import UnknownMandate, WrongState
from erp.payments.sepa import files, rows
from erp.payments.sepa.days import checked_account
from erp.payments.sepa.rows import ACTIVE, ENDED, ENDING, Mandate


@dataclass(frozen=True, slots=True)
class WantedMandate:
    account_id: AccountId
    reference: str
    scheme: str
    recurrent: bool
    signed_on: date
    iban: str
    debtor: str
    bic: str = ""


class MandateService:
    """The one writer of mandates, but for what collecting by them changes."""

    def __init__(self, database: Database, clock: Clock, crm: CrmService) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm

    async def add(self, wanted: WantedMandate, *, actor: str) -> Mandate:
        """Raises NotFound for no account, RuleError for a wrong IBAN, BIC or day, WrongState for a known reference."""
        now = self._clock.now()
        customer = await self._crm.customer_of(wanted.account_id)
        iban, bic = checked_account(wanted.iban, wanted.bic)
        if customer.account.currency != "EUR":
            raise RuleError("direct debits of SEPA are in EUR", code="currency")
        if wanted.signed_on > local_date(now, customer.account.zone_info):
            raise RuleError("a mandate is not signed in the future", code="mandate-signed")
        if wanted.reference != files.sepa_text(wanted.reference) or " " in wanted.reference:
            raise RuleError("a mandate reference is of A-Z a-z 0-9 / - ? : ( ) . , ' +", code="mandate-reference")
        made = Mandate(
            new_id(now), wanted.account_id, wanted.reference, wanted.scheme, wanted.recurrent, wanted.signed_on,
            iban, bic, wanted.debtor, ACTIVE, 0, None, now,
        )  # fmt: skip
        async with self._database.begin() as conn:
            if await rows.mandates(conn, reference=wanted.reference):
                raise WrongState(f"a mandate {wanted.reference} is there already", code="mandate-known")
            await rows.add_mandate(conn, made, actor)
            what = {"account_id": made.account_id, "reference": made.reference, "iban": f"{iban[:4]}…{iban[-4:]}"}
            await audit.record(
                conn, now=now, actor=actor, action="mandate.add", subject=f"mandate:{made.mandate_id}", after=what
            )
        return made

    async def end(self, mandate_id: str, *, actor: str, reason: str, after_last: bool = False) -> Mandate:
        """At once, or `after_last`: by the next file that collects by it, whose last debit says that it is (FNAL).

        Raises UnknownMandate; with `after_last` WrongState for one that is ended or for one collection only.
        """
        async with self._database.begin() as conn:
            known = await rows.mandates(conn, mandate_id=mandate_id)
            if not known:
                raise UnknownMandate(f"no mandate {mandate_id}")
            if after_last and (known[0].state == ENDED or not known[0].recurrent):
                raise WrongState(f"nothing more is collected by mandate {known[0].reference} but once")
            await rows.change_mandate(conn, mandate_id, state=ENDING if after_last else ENDED)
            subject = f"mandate:{mandate_id}"
            now = self._clock.now()
            after = {"after_last_collection": after_last}
            await audit.record(
                conn, now=now, actor=actor, action="mandate.end", subject=subject, after=after, reason=reason
            )
            (found,) = await rows.mandates(conn, mandate_id=mandate_id)
        return found

    async def all(self, *, account_id: str | None, after: str | None, limit: int) -> list[Mandate]:
        async with self._database.read() as conn:
            return await rows.mandates(conn, account_id=account_id, after=after, limit=limit)
