"""Bank accounts, statements and their lines over HTTP. Bank files are sent as they are: application/xml or /zip."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from controller.domain.identity import AccountId, InvoiceId
from controller.domain.money import Money
from controller.http.content import read_body
from controller.http.endpoint import Call, Endpoint, Page
from controller.http.problem import Problem
from erp.payments import payout_routes
from erp.payments.answers import ReasonIn
from erp.payments.bank.answers import (
    BankAccountIn,
    BankAccountOut,
    BankAccountsOut,
    BookIn,
    LedgerAccountIn,
    LineDetailOut,
    LineOut,
    LineQuery,
    MatchIn,
    PartIn,
    ProposalOut,
    StatementOut,
    StatementsOut,
)
from erp.payments.bank.file_answers import ArchiveOut, FileQuery, ImportedOut, MemberOut
from erp.payments.room import PaymentsRoom

READ, WRITE = "finance:read", "finance:write"
_MOST_STATEMENTS = 200
XML_BODY = {
    "requestBody": {"required": True, "content": {"application/xml": {"schema": {"type": "string"}}}},
}


ZIP_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    },
}


def endpoints(room: PaymentsRoom) -> list[Endpoint]:
    return [*_accounts(room), *_lines(room), *payout_routes.endpoints(room.fees)]


def parts_of(given: Sequence[PartIn] | None) -> list[tuple[InvoiceId, Money]] | None:
    """Which invoices a payer named."""
    return None if given is None else [(InvoiceId(part.invoice_id), part.amount.money()) for part in given]


async def read_xml(call: Call, limit: int) -> bytes:
    """The body of a request that sends a bank file. Raises Problem 413, 415."""
    return await _read(call, limit, "application/xml", "text/xml")


async def read_packed(call: Call, limit: int) -> bytes:
    """The body of a request that sends an archive. Raises Problem 413, 415."""
    return await _read(call, limit, "application/zip", "application/x-zip-compressed")


async def _read(call: Call, limit: int, *media_types: str) -> bytes:
    media_type = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (*media_types, "application/octet-stream"):
        raise Problem(415, f"Send the file as it is, as {media_types[0]}.", code="media-type")
    return await read_body(call.request, limit)


def _accounts(room: PaymentsRoom) -> list[Endpoint]:
    async def accounts(_call: Call) -> BankAccountsOut:
        return BankAccountsOut(accounts=[BankAccountOut.of(p) for p in await room.bank.positions()])

    async def add(call: Call) -> BankAccountOut:
        body = call.body_as(BankAccountIn)
        made = await room.bank.add_account(
            name=body.name,
            iban=body.iban,
            bic=body.bic,
            creditor_id=body.creditor_id,
            currency=body.currency,
            actor=call.actor,
            entity_id=body.entity,
        )
        if body.ledger_code is not None:
            await room.bank.set_ledger_account(made.bank_account_id, body.ledger_code, actor=call.actor)
        return await position(made.bank_account_id)

    async def position(bank_account_id: str) -> BankAccountOut:
        (found,) = [p for p in await room.bank.positions() if p.account.bank_account_id == bank_account_id]
        return BankAccountOut.of(found)

    async def set_ledger(call: Call) -> BankAccountOut:
        bank_account_id = call.path["bank_account_id"]
        code = call.body_as(LedgerAccountIn).ledger_code
        await room.bank.set_ledger_account(bank_account_id, code, actor=call.actor)
        return await position(bank_account_id)

    async def read(call: Call) -> ImportedOut:
        raw = await read_xml(call, room.settings.bank_file_octets)
        return ImportedOut.of(await room.statements.read(raw, call.query_as(FileQuery).name, actor=call.actor))

    async def read_archive(call: Call) -> ArchiveOut:
        raw = await read_packed(call, room.settings.bank_file_octets)
        name = call.query_as(FileQuery).name
        found = await room.statements.read_archive(raw, name, actor=call.actor)
        return ArchiveOut(files=[MemberOut.of(member) for member in found])

    async def statements(_call: Call) -> StatementsOut:
        found = await room.bank.statements(limit=_MOST_STATEMENTS)
        return StatementsOut(statements=[StatementOut.of(s) for s in found])

    return [
        Endpoint("GET", "/bank-accounts", READ, accounts,
                 "Our bank accounts: the bank's balance, the ledger's, and what is not identified",
                 returns=BankAccountsOut),
        Endpoint("POST", "/bank-accounts", WRITE, add, "Add a bank account of ours", body=BankAccountIn,
                 returns=BankAccountOut, status=201),
        Endpoint("PUT", "/bank-accounts/{bank_account_id}/ledger-account", WRITE, set_ledger,
                 "Post a bank account to an account of the ledger of its own, from now on", body=LedgerAccountIn,
                 returns=BankAccountOut),
        Endpoint("POST", "/bank-files", WRITE, read, "Import a camt.053 or camt.054; the same again changes nothing",
                 query=FileQuery, returns=ImportedOut, problems=(413, 415), extra=XML_BODY),
        Endpoint("POST", "/bank-archives", WRITE, read_archive,
                 "Import each camt or pain.002 of a ZIP archive for itself: what came of it, or why it was refused",
                 query=FileQuery, returns=ArchiveOut, problems=(413, 415), extra=ZIP_BODY),
        Endpoint("GET", "/bank-statements", READ, statements, "Imported statements, the latest first",
                 returns=StatementsOut),
    ]  # fmt: skip


def _lines(room: PaymentsRoom) -> list[Endpoint]:
    async def detail(call: Call) -> LineDetailOut:
        line, proposals = await room.bank.line(call.path["line_id"])
        shown = [ProposalOut.of(p) for p in proposals]
        return LineDetailOut(proposals=shown, **LineOut.of(line, call.now).model_dump())

    async def lines(call: Call) -> Page:
        query = call.query_as(LineQuery)
        last = query.last_key(int, str)
        after = None
        if last is not None:
            after = (date.fromordinal(min(max(last[0], 1), date.max.toordinal())), last[1])
        found = await room.bank.lines(state=query.state, statement_id=query.statement_id, after=after, limit=query.rows)
        return Page.of(
            found, query, lambda li: (li.booked_on.toordinal(), li.line_id), lambda li: LineOut.of(li, call.now)
        )

    async def match(call: Call) -> LineOut:
        body = call.body_as(MatchIn)
        account_id = AccountId(body.account_id)
        found = await room.bank.match(call.path["line_id"], account_id, parts_of(body.invoices), actor=call.actor)
        return LineOut.of(found, call.now)

    async def book(call: Call) -> LineOut:
        body = call.body_as(BookIn)
        found = await room.bank.book(call.path["line_id"], body.code, reason=body.reason, actor=call.actor)
        return LineOut.of(found, call.now)

    async def unmatch(call: Call) -> LineOut:
        reason = call.body_as(ReasonIn).reason
        return LineOut.of(await room.bank.unmatch(call.path["line_id"], reason=reason, actor=call.actor), call.now)

    return [
        Endpoint("GET", "/bank-lines", READ, lines,
                 "Movements on our bank accounts, oldest first; open ones with their age", query=LineQuery,
                 returns=LineOut, paged=True),
        Endpoint("GET", "/bank-lines/{line_id}", READ, detail, "One movement, and for an open one what it may be",
                 returns=LineDetailOut),
        Endpoint("POST", "/bank-lines/{line_id}/match", WRITE, match, "Book a movement as a customer's payment",
                 body=MatchIn, returns=LineOut),
        Endpoint("POST", "/bank-lines/{line_id}/book", WRITE, book,
                 "Book a movement that is no customer's to an account of the ledger", body=BookIn, returns=LineOut),
        Endpoint("POST", "/bank-lines/{line_id}/unmatch", WRITE, unmatch,
                 "Take back that a movement was a customer's payment", body=ReasonIn, returns=LineOut),
    ]  # fmt: skip
