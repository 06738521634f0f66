"""Accounts beside the subledgers that they are the sum of, over HTTP."""

from __future__ import annotations

from datetime import date

from controller.http.endpoint import Call, Endpoint
from controller.http.models import Instant, MoneyOut, Out
from erp.finance.books_answers import EntityQuery
from erp.finance.control import Compared, ControlAccounts


class ControlAccountOut(Out):
    """Debits are positive. `difference` is what the ledger says too much beside `subledger` and `by_hand`, which is
    what people booked there; where it is not zero, `hint` says since when and where to look.

    At the end of the day `as_of`, or where that is null as things stood when it was looked at.
    """

    entity_id: str
    name: str
    rows: str
    code: str
    as_of: date | None
    subledger: MoneyOut
    by_hand: MoneyOut
    ledger: MoneyOut
    difference: MoneyOut
    agreed_at: Instant | None
    hint: str

    @classmethod
    def of(cls, found: Compared, control: ControlAccounts) -> ControlAccountOut:
        return cls(
            entity_id=found.entity_id,
            name=found.name,
            rows=control.rows_of(found.name),
            code=found.code,
            as_of=found.as_of,
            subledger=MoneyOut.of(found.subledger),
            by_hand=MoneyOut.of(found.by_hand),
            ledger=MoneyOut.of(found.ledger),
            difference=MoneyOut.of(found.difference),
            agreed_at=found.agreed_at,
            hint=control.hint(found),
        )


class ControlAccountsOut(Out):
    """Of the last look; `looked_at` is null where there was none yet."""

    looked_at: Instant | None
    apart: int
    accounts: list[ControlAccountOut]


def endpoints(control: ControlAccounts) -> list[Endpoint]:
    async def last(call: Call) -> ControlAccountsOut:
        found = await control.last(call.query_as(EntityQuery).entity)
        return ControlAccountsOut(
            looked_at=found[0].looked_at if found else None,
            apart=sum(bool(each.difference) for each in found),
            accounts=[ControlAccountOut.of(each, control) for each in found],
        )

    async def look(call: Call) -> ControlAccountsOut:
        await control.look()
        return await last(call)

    return [
        Endpoint(
            "GET", "/control-accounts", scope="finance:read", handler=last,
            summary="Accounts beside the subledgers that they are the sum of, as the last look found them",
            query=EntityQuery, returns=ControlAccountsOut,
        ),
        Endpoint(
            "POST", "/control-accounts", scope="finance:write", handler=look,
            summary="Compare every subledger with its account now", query=EntityQuery, returns=ControlAccountsOut,
        ),
    ]  # fmt: skip
