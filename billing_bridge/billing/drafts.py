"""Rows of drafts: what each document of a run comes to before it is issued, and how two runs differ."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, literal, null, select, tuple_, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.holds import STANDS, WHOLE_RUN
from billing_bridge.billing.model import DraftTotal, Key
from billing_bridge.tables import bill_draft, bill_hold, charge
from controller.domain.identity import AccountId, BillRunId
from controller.domain.money import Money
from controller.store.many import insert_rows, one_of

_COLUMNS = (
    "bill_run_id",
    "account_id",
    "currency",
    "batch",
    "charges",
    "agreed_minor",
    "net_minor",
    "tax_minor",
    "sha256",
    "issued",
    "content",
)
_WITHOUT_CONTENT = (*(bill_draft.c[name] for name in _COLUMNS if name != "content"), null().label("content"))


Digest = tuple[AccountId, str, bytes]
"""Account, currency, and of what."""


@dataclass(frozen=True, slots=True)
class DraftSums:
    """Of one currency, in minor units."""

    currency: str
    documents: int
    charges: int
    agreed: int
    net: int
    tax: int


async def put(conn: AsyncConnection, bill_run_id: BillRunId, batch: int, found: Sequence[DraftTotal]) -> None:
    """The drafts of a batch, in the place of those it had."""
    await conn.execute(delete(bill_draft).where(bill_draft.c.bill_run_id == bill_run_id, bill_draft.c.batch == batch))
    await insert_rows(conn, bill_draft, _COLUMNS, [_row(bill_run_id, batch, d) for d in found])


def _row(bill_run_id: BillRunId, batch: int, d: DraftTotal) -> tuple[Any, ...]:
    return (
        bill_run_id,
        d.account_id,
        d.net.currency,
        batch,
        d.charges,
        d.agreed.minor,
        d.net.minor,
        d.tax.minor,
        d.sha256,
        False,
        _deflated(d),
    )


def _deflated(d: DraftTotal) -> bytes | None:
    return None if d.content is None else zlib.compress(json.dumps(d.content).encode(), 1)


async def put_again(
    conn: AsyncConnection,
    bill_run_id: BillRunId,
    batch: int,
    accounts: Sequence[AccountId],
    done: Collection[Key],
    found: Sequence[DraftTotal],
) -> None:
    """The drafts of some accounts in the place of those they had; those that are `done` have their documents."""
    own = [bill_draft.c.bill_run_id == bill_run_id, one_of(conn, bill_draft.c.account_id, accounts)]
    if done:
        own.append(tuple_(bill_draft.c.account_id, bill_draft.c.currency).not_in(sorted(done)))
    await conn.execute(delete(bill_draft).where(*own))
    await insert_rows(conn, bill_draft, _COLUMNS, [_row(bill_run_id, batch, d) for d in found])


async def keep_contents(conn: AsyncConnection, bill_run_id: BillRunId, found: Sequence[DraftTotal]) -> None:
    """What these drafts say, where it is not known yet and they have the digests of it."""
    for d in found:
        known = (bill_draft.c.sha256 == d.sha256, bill_draft.c.content.is_(None))
        one = update(bill_draft).where(*_key(bill_run_id, d.account_id, d.net.currency), *known)
        await conn.execute(one.values(content=_deflated(d)))


async def set_issued(
    conn: AsyncConnection, bill_run_id: BillRunId, batch: int, issued: Mapping[tuple[AccountId, str], bytes]
) -> None:
    """These have their documents, which say what these digests are of."""
    own = (bill_draft.c.bill_run_id == bill_run_id, bill_draft.c.batch == batch)
    query = select(bill_draft.c.account_id, bill_draft.c.currency, bill_draft.c.sha256).where(*own)
    known = (await conn.execute(query)).all()
    for row in known:
        sha256 = issued.get((row.account_id, row.currency), row.sha256)
        if sha256 != row.sha256:
            one = update(bill_draft).where(*_key(bill_run_id, row.account_id, row.currency))
            await conn.execute(one.values(sha256=sha256))
    if all((row.account_id, row.currency) in issued for row in known):
        await conn.execute(update(bill_draft).where(*own).values(issued=True))
        return
    for currency in sorted({currency for _, currency in issued}):  # of an account one may have left, and another not
        done = one_of(conn, bill_draft.c.account_id, sorted(i for i, of in issued if of == currency))
        await conn.execute(update(bill_draft).where(*own, bill_draft.c.currency == currency, done).values(issued=True))


async def give_up_contents(conn: AsyncConnection, bill_run_id: BillRunId, batch: int) -> None:
    """What the drafts of a batch say; what they come to stays, and their digests."""
    own = (bill_draft.c.bill_run_id == bill_run_id, bill_draft.c.batch == batch)
    await conn.execute(update(bill_draft).where(*own, bill_draft.c.content.is_not(None)).values(content=None))


async def of_batch(conn: AsyncConnection, bill_run_id: BillRunId, batch: int) -> list[DraftTotal]:
    """Without what they say."""
    query = select(*_WITHOUT_CONTENT).where(bill_draft.c.bill_run_id == bill_run_id, bill_draft.c.batch == batch)
    return [_draft(row) for row in await conn.execute(query.order_by(bill_draft.c.account_id, bill_draft.c.currency))]


async def of_accounts(conn: AsyncConnection, bill_run_id: BillRunId, accounts: Sequence[str]) -> list[DraftTotal]:
    query = select(bill_draft).where(
        bill_draft.c.bill_run_id == bill_run_id, one_of(conn, bill_draft.c.account_id, sorted(accounts))
    )
    return [_draft(row) for row in await conn.execute(query.order_by(bill_draft.c.account_id, bill_draft.c.currency))]


async def accounts_of(conn: AsyncConnection, bill_run_id: BillRunId, batch: int) -> list[AccountId]:
    """The accounts that have drafts in a batch."""
    query = select(bill_draft.c.account_id).where(bill_draft.c.bill_run_id == bill_run_id, bill_draft.c.batch == batch)
    return [AccountId(i) for i in await conn.scalars(query.distinct())]


async def batches_of(conn: AsyncConnection, bill_run_id: BillRunId, account_id: AccountId) -> list[int]:
    """The batches in which an account has drafts: one, or none."""
    query = select(bill_draft.c.batch).where(
        bill_draft.c.bill_run_id == bill_run_id, bill_draft.c.account_id == account_id
    )
    return list(await conn.scalars(query.distinct()))


async def left(conn: AsyncConnection, bill_run_id: BillRunId) -> list[int]:
    """The batches with drafts that have no document, though nothing holds them."""
    waits = select(bill_hold.c.source).where(
        bill_hold.c.bill_run_id == bill_run_id,
        bill_hold.c.account_id.in_((bill_draft.c.account_id, WHOLE_RUN)),
        STANDS,
    )
    query = select(bill_draft.c.batch).where(
        bill_draft.c.bill_run_id == bill_run_id, bill_draft.c.issued.is_(False), ~waits.exists()
    )
    return list(await conn.scalars(query.distinct()))


async def page(
    conn: AsyncConnection,
    bill_run_id: BillRunId,
    after: tuple[str, str] | None,
    limit: int,
    *,
    issued: bool | None = None,
) -> list[DraftTotal]:
    """In order of account and currency: all, or those that have their document, or those that have not."""
    query = select(bill_draft).where(bill_draft.c.bill_run_id == bill_run_id)
    if issued is not None:
        query = query.where(bill_draft.c.issued.is_(issued))
    if after is not None:
        query = query.where(tuple_(bill_draft.c.account_id, bill_draft.c.currency) > tuple_(*map(literal, after)))
    rows = await conn.execute(query.order_by(bill_draft.c.account_id, bill_draft.c.currency).limit(limit))
    return [_draft(row) for row in rows]


async def digests(conn: AsyncConnection, bill_run_id: BillRunId, at_a_time: int) -> AsyncIterator[Sequence[Digest]]:
    """Of those with a document, so many at a time, in order of account and currency, as they come from the database."""
    query = select(bill_draft.c.account_id, bill_draft.c.currency, bill_draft.c.sha256)
    query = query.where(bill_draft.c.bill_run_id == bill_run_id, bill_draft.c.issued)
    rows = await conn.stream(query.order_by(bill_draft.c.account_id, bill_draft.c.currency))
    async for some in rows.partitions(at_a_time):
        yield [tuple(row) for row in some]


async def differing(
    conn: AsyncConnection,
    bill_run_id: BillRunId,
    preview_id: BillRunId,
    after: tuple[str, str] | None,
    limit: int,
) -> list[tuple[AccountId, str]]:
    """(account, currency) of what two runs do not say alike, or only one of them says, in that order."""
    own, shown = bill_draft.alias("own"), bill_draft.alias("shown")
    both = (
        _only_or_other(own, shown, bill_run_id, preview_id, other=True),
        _only_or_other(shown, own, preview_id, bill_run_id, other=False),
    )
    found = union(*both).subquery()
    query = select(found.c.account_id, found.c.currency)
    if after is not None:
        later = (found.c.account_id == after[0]) & (found.c.currency > after[1])
        query = query.where((found.c.account_id > after[0]) | later)
    rows = await conn.execute(query.order_by(found.c.account_id, found.c.currency).limit(limit))
    return [(AccountId(row.account_id), row.currency) for row in rows]


def _only_or_other(one: Any, two: Any, run: BillRunId, other_run: BillRunId, *, other: bool) -> Any:
    """Keys of `one` that `two` has not, or (`other`) has with another digest."""
    same = (two.c.bill_run_id == other_run) & (two.c.account_id == one.c.account_id)
    query = select(one.c.account_id, one.c.currency).select_from(
        one.outerjoin(two, same & (two.c.currency == one.c.currency))
    )
    differs = two.c.sha256.is_(None)
    return query.where(one.c.bill_run_id == run, (differs | (two.c.sha256 != one.c.sha256)) if other else differs)


async def sums(conn: AsyncConnection, bill_run_id: BillRunId, *, issued: bool = False) -> list[DraftSums]:
    """What all drafts come to, or those with a document, by currency."""
    own = bill_draft.c.bill_run_id == bill_run_id
    query = (
        select(
            bill_draft.c.currency,
            func.count(),
            func.sum(bill_draft.c.charges),
            func.sum(bill_draft.c.agreed_minor),
            func.sum(bill_draft.c.net_minor),
            func.sum(bill_draft.c.tax_minor),
        )
        .where(own & bill_draft.c.issued if issued else own)
        .group_by(bill_draft.c.currency)
        .order_by(bill_draft.c.currency)
    )
    return [DraftSums(currency, *(int(n) for n in numbers)) for currency, *numbers in await conn.execute(query)]


async def charged(conn: AsyncConnection, bill_run_id: BillRunId) -> dict[str, tuple[int, int]]:
    """(number, sum) of the charges of a run, by currency."""
    query = (
        select(charge.c.currency, func.count(), func.sum(charge.c.net_minor))
        .where(charge.c.bill_run_id == bill_run_id)
        .group_by(charge.c.currency)
    )
    return {currency: (int(count), int(minor)) for currency, count, minor in await conn.execute(query)}


def _key(bill_run_id: BillRunId, account_id: str, currency: str) -> tuple[Any, ...]:
    return (
        bill_draft.c.bill_run_id == bill_run_id,
        bill_draft.c.account_id == account_id,
        bill_draft.c.currency == currency,
    )


async def late(conn: AsyncConnection, bill_run_id: BillRunId, limit: int) -> list[dict[str, Any]]:
    """Charges that correct what was billed before, such as usage that arrived late; the dearest first."""
    query = select(charge).where(charge.c.bill_run_id == bill_run_id, charge.c.adjustment)
    rows = await conn.execute(query.order_by(func.abs(charge.c.net_minor).desc(), charge.c.charge_id).limit(limit))
    return [
        {
            "account_id": row.account_id,
            "subscription_id": row.subscription_id,
            "kind": row.kind,
            "first_on": row.period_first_on.isoformat(),
            "until_on": row.period_until_on.isoformat(),
            "octets": row.octets,
            "net_minor": row.net_minor,
            "currency": row.currency,
        }
        for row in rows
    ]


def _draft(row: Row[Any]) -> DraftTotal:
    return DraftTotal(
        AccountId(row.account_id),
        row.charges,
        Money(row.agreed_minor, row.currency),
        Money(row.net_minor, row.currency),
        Money(row.tax_minor, row.currency),
        row.sha256,
        issued=row.issued,
        content=None if row.content is None else json.loads(zlib.decompress(row.content)),
    )
