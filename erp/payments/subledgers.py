"""What the rows of payments come to, beside the accounts of the ledger: gateways, direct debits, cash and the bank.

    card payments − refunds − disputes − fees − payouts        the balance at gateways
    debits sent − those that came back − credits of the bank   direct debits on their way
    payouts and refunds sent, cash between till and bank       money on its way
    lines that are matched with nothing                        bank lines to be identified
    what tills hold                                            cash
    closing balances less the first opening, and all lines     what statements posted to bank accounts

Each row is changed in the transaction that posts, so both agree in every snapshot.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import EntityId
from erp.finance.chart import (
    BANK,
    BANK_LINES,
    CASH,
    DIRECT_DEBITS,
    GATEWAY,
    IN_TRANSIT,
    UNKNOWN_PAYERS,
    Chart,
)
from erp.finance.journal_tables import journal_entry, posting
from erp.finance.payment_tables import deposit, payment, payment_reversal, prepayment
from erp.finance.subledger import Minor, Subledger, summed, together, turned
from erp.payments import fee_rows, refund_rows
from erp.payments.bank.repository import MATCHED
from erp.payments.booking import GATEWAY_REFUND
from erp.payments.cash import TRANSFER
from erp.payments.fees import ALL_FEE
from erp.payments.sepa.rows import REJECTED, RETURNED
from erp.payments.tables import (
    balance_transaction,
    bank_account,
    bank_line,
    card_payment,
    cash_receipt,
    collection,
    collection_item,
    dispute,
    gateway,
    payout,
    refund,
    shift,
    statement,
    till,
)

_BANK_LINE = "bank-line:"
"""How the sources of entries begin that an imported line posts."""
_DETAILS = "details"
"""What a sum is matched with whose transactions took its place."""


async def by_hand(conn: AsyncConnection, entity_id: EntityId) -> dict[tuple[str, str], int]:
    """Lines of statements that somebody booked to an account of the ledger: on each, the other side of the line."""
    query = (
        select(bank_line.c.subject, bank_line.c.currency, func.sum(bank_line.c.amount_minor))
        .select_from(_lines())
        .where(bank_account.c.entity_id == entity_id, bank_line.c.matched == "ledger")
        .group_by(bank_line.c.subject, bank_line.c.currency)
    )
    return {(code, currency): -int(minor) for code, currency, minor in await conn.execute(query)}


async def _gateway(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
    at = gateway.c.entity_id == entity_id
    paid = _of_gateway(card_payment, card_payment.c.amount_minor).where(at)
    back = (
        select(card_payment.c.currency, -func.sum(payment_reversal.c.amount_minor))
        .select_from(payment_reversal)
        .join(card_payment, card_payment.c.payment_id == payment_reversal.c.payment_id)
        .join(gateway, gateway.c.name == card_payment.c.gateway)
        .where(at, payment_reversal.c.kind == "refund")
        .where(func.substr(payment_reversal.c.reference, 1, len(GATEWAY_REFUND)) == GATEWAY_REFUND)
        .group_by(card_payment.c.currency)
    )
    disputed = _of_gateway(dispute, -dispute.c.withdrawn_minor - dispute.c.fees_minor).where(at)
    moved = balance_transaction.c
    cost = moved.fee_minor - case((moved.kind.in_(sorted(ALL_FEE)), moved.amount_minor), else_=0)
    fees = _of_gateway(balance_transaction, -cost).where(at, moved.entry_id.is_not(None))
    sent = _of_gateway(payout, -payout.c.amount_minor).where(at, payout.c.state != fee_rows.FAILED)
    return await summed(conn, paid, back, disputed, fees, sent)


def _of_gateway(table: Any, amount: ColumnElement[int]) -> Select[Any]:
    """Sums by currency of rows that name their gateway."""
    query = select(table.c.currency, func.sum(amount)).select_from(table)
    return query.join(gateway, gateway.c.name == table.c.gateway).group_by(table.c.currency)


async def _unknown_payers(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
    query = _of_gateway(card_payment, -card_payment.c.amount_minor)
    return await summed(conn, query.where(gateway.c.entity_id == entity_id, card_payment.c.payment_id.is_(None)))


async def _direct_debits(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
    """What came back is told by a line of a statement, which takes it from the bank, or by a file, which does not."""
    item = collection_item.c
    on_a_line = exists().where(bank_line.c.matched == "return", bank_line.c.subject == item.item_id)
    gone = and_(item.state.in_((REJECTED, RETURNED)), ~on_a_line)
    debits = (
        select(collection.c.currency, func.sum(item.amount_minor))
        .select_from(collection_item)
        .join(collection, collection.c.collection_id == item.collection_id)
        .join(bank_account, bank_account.c.bank_account_id == collection.c.bank_account_id)
        .where(bank_account.c.entity_id == entity_id, item.payment_id.is_not(None), ~gone)
        .group_by(collection.c.currency)
    )
    credited = _by_currency(-bank_line.c.amount_minor, entity_id).where(bank_line.c.matched == "collection")
    return await summed(conn, debits, credited)


async def _in_transit(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
    payouts = _of_gateway(payout, payout.c.amount_minor).where(
        gateway.c.entity_id == entity_id, payout.c.state == fee_rows.SENT
    )
    refunds = (
        select(refund.c.currency, -func.sum(refund.c.amount_minor))
        .select_from(refund)
        .join(payment, payment.c.payment_id == refund.c.payment_id)
        .where(payment.c.entity_id == entity_id, refund.c.way == "bank", refund.c.state == refund_rows.SENT)
        .group_by(refund.c.currency)
    )
    cash = (
        select(cash_receipt.c.currency, -func.sum(cash_receipt.c.amount_minor))
        .select_from(cash_receipt)
        .join(till, till.c.till_id == cash_receipt.c.till_id)
        .where(till.c.entity_id == entity_id, cash_receipt.c.kind == TRANSFER)
        .group_by(cash_receipt.c.currency)
    )
    return await summed(conn, payouts, refunds, cash)


async def _bank_lines(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
    return turned(
        await summed(conn, _by_currency(bank_line.c.amount_minor, entity_id).where(bank_line.c.state != MATCHED))
    )


async def _cash(conn: AsyncConnection, entity_id: EntityId, chart: Chart) -> Minor:
    """What tills hold, and what was taken to be held, or for prepaid credit, in cash."""
    last = select(shift.c.till_id, func.max(shift.c.number).label("number")).group_by(shift.c.till_id).subquery()
    moved = (
        select(func.coalesce(func.sum(cash_receipt.c.amount_minor), 0))
        .where(cash_receipt.c.shift_id == shift.c.shift_id)
        .scalar_subquery()
    )
    holds = case((shift.c.closed_at.is_not(None), shift.c.counted_minor), else_=shift.c.opening_minor + moved)
    each = (
        select(till.c.currency, holds.label("minor"))
        .select_from(shift)
        .join(last, and_(last.c.till_id == shift.c.till_id, last.c.number == shift.c.number))
        .join(till, till.c.till_id == shift.c.till_id)
        .where(till.c.entity_id == entity_id)
        .subquery()
    )
    tills = select(each.c.currency, func.sum(each.c.minor)).group_by(each.c.currency)
    deposits = (
        select(deposit.c.currency, func.sum(deposit.c.amount_minor))
        .select_from(deposit)
        .join(posting, and_(posting.c.entry_id == deposit.c.entry_id, posting.c.code == chart.code(CASH)))
        .where(deposit.c.entity_id == entity_id)
        .group_by(deposit.c.currency)
    )
    prepaid = (
        select(prepayment.c.currency, func.sum(prepayment.c.paid_minor))
        .where(prepayment.c.entity_id == entity_id, prepayment.c.into == "cash")
        .group_by(prepayment.c.currency)
    )
    return await summed(conn, tills, deposits, prepaid)


async def _told_by_lines(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
    return await summed(conn, _by_currency(bank_line.c.amount_minor, entity_id).where(bank_line.c.matched != _DETAILS))


async def _told_by_statements(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
    """Of each account the last closing balance less the first opening one: what lies between is all that moved."""
    query = (
        select(statement.c.bank_account_id, bank_account.c.currency, statement.c.first_on, statement.c.last_on,
               statement.c.opening_minor, statement.c.closing_minor)
        .join(bank_account, bank_account.c.bank_account_id == statement.c.bank_account_id)
        .where(bank_account.c.entity_id == entity_id)
        .order_by(statement.c.bank_account_id, statement.c.last_on, statement.c.first_on, statement.c.statement_id)
    )  # fmt: skip
    found: dict[str, list[Any]] = defaultdict(list)
    for row in await conn.execute(query):
        found[row.bank_account_id].append(row)
    return together({rows[0].currency: _between(rows)} for rows in found.values())


def _between(rows: list[Any]) -> int:
    """What an account moved from its first statement to its last; of one day that is told which follows which."""
    day = [row for row in rows if row.last_on == rows[-1].last_on]
    first = [row for row in rows if row.first_on == rows[0].first_on]
    closings, openings = [r.closing_minor for r in day], [r.opening_minor for r in first]
    last = next((c for c in reversed(closings) if c not in [r.opening_minor for r in day]), closings[-1])
    begin = next((o for o in openings if o not in [r.closing_minor for r in first]), openings[0])
    return int(last - begin)


async def _imported(conn: AsyncConnection, entity_id: EntityId, chart: Chart) -> Minor:
    """What imported lines posted to bank accounts: the other side of what they posted to lines to be identified."""
    query = (
        select(posting.c.currency, -func.sum(posting.c.amount_minor))
        .join(journal_entry, journal_entry.c.entry_id == posting.c.entry_id)
        .where(posting.c.entity_id == entity_id, posting.c.code == chart.code(BANK_LINES))
        .where(func.substr(journal_entry.c.source, 1, len(_BANK_LINE)) == _BANK_LINE)
        .group_by(posting.c.currency)
    )
    return await summed(conn, query)


def _lines() -> Any:
    return bank_line.join(bank_account, bank_account.c.bank_account_id == bank_line.c.bank_account_id)


def _by_currency(amount: ColumnElement[int], entity_id: EntityId) -> Select[Any]:
    query = select(bank_line.c.currency, func.sum(amount)).select_from(_lines())
    return query.where(bank_account.c.entity_id == entity_id).group_by(bank_line.c.currency)


SUBLEDGERS = (
    Subledger(
        "gateway", GATEWAY, "card payments less refunds, disputes, fees and payouts",
        "headend payments payouts, GET /card-payments", _gateway,
    ),
    Subledger(
        "direct-debits", DIRECT_DEBITS, "direct debits that were sent and neither credited nor returned",
        "headend payments collections", _direct_debits,
    ),
    Subledger(
        "money-in-transit", IN_TRANSIT, "payouts, refunds by bank and cash that are on their way",
        "headend payments refunds, payouts and cash receipts", _in_transit,
    ),
    Subledger(
        "bank-lines", BANK_LINES, "lines of statements that are not identified", "headend payments lines", _bank_lines
    ),
    Subledger(
        "unknown-payers", UNKNOWN_PAYERS, "card payments that nobody is known to have made",
        "headend payments unknown", _unknown_payers,
    ),
    Subledger("cash", CASH, "what tills hold, and deposits and prepaid credit taken in cash", "GET /tills", _cash),
    Subledger(
        "bank-imports", BANK, "lines of statements, identified or not, beside what they posted",
        "headend payments lines", _told_by_lines, _imported,
    ),
    Subledger(
        "bank-statements", BANK, "closing balances of statements less the first opening one; a gap is a lost statement",
        "headend payments statements", _told_by_statements, _imported,
    ),
)  # fmt: skip
