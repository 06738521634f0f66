"""Statements and notifications of banks: camt.053 and camt.054 in the shapes of their versions 02, 04 and 08. Pure.

    entry               with one or no transaction: a line
                        a batch whose transactions add up: a line for each (and one for charges that the bank kept)
                        a batch told as a sum: one line
    opening + entries   must be the closing balance, or the file is refused
    a page of several   is a statement of its own, between balances that banks call booked or interim

Versions differ in where things stand (a status as text or as code, a party beside or below its role), not in what they
mean, so each thing is looked for in each of its places.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from controller.domain.money import Money
from erp.payments import xml
from erp.payments.errors import FileRefused

_KINDS = {"BkToCstmrStmt": ("camt.053", "Stmt"), "BkToCstmrDbtCdtNtfctn": ("camt.054", "Ntfctn")}
_NOT_GIVEN = frozenset({"", "NOTPROVIDED", "NOT PROVIDED", "NONREF", "NONE", "N/A", "0"})
_MAX_LINES = 200_000
_DECIMAL = re.compile(r"\+?(?:[0-9]{1,13}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})", re.ASCII)
_TOLD_AMOUNTS = "AmtDtls/TxAmt/Amt", "Amt", "AmtDtls/InstdAmt/Amt"
_BOOKED_AMOUNTS = ("Amt",)
"""Of a transaction: what moved between the parties before its charges, and what of it is within the entry."""


@dataclass(frozen=True, slots=True)
class Line:
    """A movement: positive came in. `batch` is the id under which we sent a file, `code` the bank's kind of booking."""

    position: int
    part: int
    booked_on: date
    value_on: date
    amount: Money
    kind: str = "movement"
    """movement, charge (kept by the bank), or batch (a sum of transactions that were not told)."""
    end_to_end: str = ""
    reference: str = ""
    batch: str = ""
    bank_ref: str = ""
    code: str = ""
    return_reason: str = ""
    remittance: str = ""
    party: str = ""
    party_iban: str = ""

    @property
    def is_told(self) -> bool:
        """Whether it says whose it is. Of one that does not, a notification may tell more."""
        return self.kind != "batch" and bool(self.end_to_end or self.reference or self.party or self.party_iban)


@dataclass(frozen=True, slots=True)
class Statement:
    """Of one account. A notification has no balances."""

    ident: str
    iban: str
    currency: str
    first_on: date
    last_on: date
    opening: Money | None
    closing: Money | None
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class BankFile:
    """`kind` is camt.053 or camt.054."""

    kind: str
    message_id: str
    statements: tuple[Statement, ...]


def parse(raw: bytes, limit: int) -> BankFile:
    """Raises FileRefused, which says what is wrong and where."""
    root = xml.parse(raw, limit)
    # Networks deliver the document within an envelope, beside a business application header.
    for child in (child for holder in (root, *root.iter("{*}Document")) for child in holder):
        if xml.name_of(child) in _KINDS:
            kind, each = _KINDS[xml.name_of(child)]
            statements = tuple(_statement(s, kind) for s in xml.all_of(child, each))
            if not statements:
                raise FileRefused("the file holds no statement")
            return BankFile(kind, xml.text(child, "GrpHdr/MsgId"), statements)
    raise FileRefused("this is no camt.053 or camt.054")


def _statement(found: Any, kind: str) -> Statement:
    ident = xml.text(found, "Id")
    where = f"statement {ident or 'without an id'}"
    iban = re.sub(r"\s", "", xml.text(found, "Acct/Id/IBAN", "Acct/Id/Othr/Id")).upper()
    if not ident or not iban:
        raise FileRefused(f"{where}: an id and an account are needed")
    page = xml.text(found, "StmtPgntn/PgNb")
    if page and (page != "1" or xml.text(found, "StmtPgntn/LastPgInd") == "false"):
        ident = f"{ident[:130]}/{page}"
    entries = xml.all_of(found, "Ntry")
    currency = xml.text(found, "Acct/Ccy") or _currency(found, entries)
    opening = closing = None
    if kind == "camt.053":
        first, last = _balances(found, where)
        opening, closing = _signed(first, where), _signed(last, where)
        first_on, last_on = _day(first, where, "Dt"), _day(last, where, "Dt")
    lines: list[Line] = []
    for position, entry in enumerate(entries, 1):
        if xml.text(entry, "Sts/Cd", "Sts") not in ("BOOK", ""):
            continue  # announced, or told for information: what is booked comes again
        lines += _lines(entry, position, f"{where}, entry {position}")
        if len(lines) > _MAX_LINES:
            raise FileRefused(f"{where}: more than {_MAX_LINES} movements")
    if any(line.amount.currency != currency for line in lines):
        raise FileRefused(f"{where}: an entry is not in {currency}")
    if kind != "camt.053":
        days = [line.booked_on for line in lines]
        if not days:
            raise FileRefused(f"{where}: the notification has no booked entry")
        first_on, last_on = min(days), max(days)
    if opening is not None and closing is not None:
        moved = sum((line.amount for line in lines), Money.zero(currency))
        if opening + moved != closing:
            raise FileRefused(f"{where}: {opening} and entries of {moved} are {opening + moved}, not {closing}")
    return Statement(ident[:140], iban, currency, first_on, last_on, opening, closing, tuple(lines))


def _balances(found: Any, where: str) -> tuple[Any, Any]:
    """The opening and the closing one; a page in the middle has interim ones (ITBD) instead, the opening one first."""
    by_type: dict[str, list[Any]] = {}
    for balance in xml.all_of(found, "Bal"):
        by_type.setdefault(xml.text(balance, "Tp/CdOrPrtry/Cd", "Tp/CdOrPrtry/Prtry"), []).append(balance)
    first = by_type.get("OPBD") or by_type.get("PRCD")
    last = by_type.get("CLBD")
    interim = by_type.get("ITBD", [])
    if first is None and interim:
        first, interim = interim[:1], interim[1:]
    last = last or interim[-1:]
    if not first or not last:
        raise FileRefused(f"{where}: the opening or the closing balance is missing")
    return first[0], last[0]


def _currency(found: Any, entries: Sequence[Any]) -> str:
    for element in (*xml.all_of(found, "Bal/Amt"), *(a for e in entries for a in xml.all_of(e, "Amt"))):
        return str(element.get("Ccy", ""))
    raise FileRefused("the statement says no currency")


def _lines(entry: Any, position: int, where: str) -> list[Line]:
    amount = _signed(entry, where)
    common: dict[str, Any] = {
        "position": position,
        "booked_on": _day(entry, where, "BookgDt", "ValDt"),
        "value_on": _day(entry, where, "ValDt", "BookgDt"),
        "code": _code(entry),
    }
    details = xml.all_of(entry, "NtryDtls/TxDtls")
    batch = _given(xml.text(entry, "NtryDtls/Btch/PmtInfId", "NtryDtls/Btch/MsgId"))
    own_ref = _given(xml.text(entry, "AcctSvcrRef", "NtryRef"))
    info = xml.text(entry, "AddtlNtryInf")
    if len(details) == 1:
        told = _told(details[0], amount.minor > 0, info)
        charge = _charges(details[0], amount.currency) or _charges(entry, amount.currency)
        gross = _detail_amount(details[0], amount)
        told["batch"] = told["batch"] or batch
        told["bank_ref"] = own_ref or told["bank_ref"]
        if charge and gross is not None and gross - charge == amount:
            return _with_charge([Line(part=1, amount=gross, **common, **told)], charge, common, own_ref)
        return _nonzero([Line(part=1, amount=amount, **common, **told)])
    if details:
        return _batch(details, amount, common, batch, own_ref, info, _charges(entry, amount.currency))
    count = xml.text(entry, "NtryDtls/Btch/NbOfTxs")
    kind = "batch" if batch or (count.isdecimal() and int(count) > 1) else "movement"
    return _nonzero(
        [Line(part=1, amount=amount, kind=kind, batch=batch, bank_ref=own_ref, remittance=info[:1000], **common)]
    )


def _batch(
    details: Sequence[Any], amount: Money, common: dict[str, Any], batch: str, own_ref: str, info: str, charge: Money
) -> list[Line]:
    """A line for each transaction where they add up to the entry, else one for all of them."""
    kept = charge or sum((_charges(d, amount.currency) for d in details), Money.zero(amount.currency))
    for paths in (_TOLD_AMOUNTS, _BOOKED_AMOUNTS):
        lines = []
        for part, detail in enumerate(details, 1):
            own = _detail_amount(detail, amount, paths)
            told = _told(detail, amount.minor > 0, info)
            told["batch"], told["bank_ref"] = told["batch"] or batch, own_ref or told["bank_ref"]
            if own is not None:
                lines.append(Line(part=part, amount=own, **common, **told))
        total = sum((line.amount for line in lines), Money.zero(amount.currency))
        if len(lines) == len(details) and total == amount:
            return _nonzero(lines)
        if len(lines) == len(details) and kept and total - kept == amount:
            return _with_charge(lines, kept, common, own_ref)
    texts = " / ".join(line.remittance for line in lines if line.remittance)[:1000]
    one = Line(part=1, amount=amount, kind="batch", batch=batch, bank_ref=own_ref, remittance=texts or info, **common)
    return _nonzero([one])


def _with_charge(lines: list[Line], charge: Money, common: dict[str, Any], own_ref: str) -> list[Line]:
    kept = Line(
        part=len(lines) + 1, amount=-charge, kind="charge", bank_ref=own_ref, remittance="kept by the bank", **common
    )
    return _nonzero([*lines, kept])


def _nonzero(lines: list[Line]) -> list[Line]:
    """Banks book messages of 0.00, which move nothing."""
    return [line for line in lines if line.amount]


def _told(detail: Any, came_in: bool, info: str) -> dict[str, Any]:
    """What a transaction says of itself; `party` is who is on the other side of it."""
    role = "Dbtr" if came_in else "Cdtr"
    returned = xml.text(detail, "RtrInf/Rsn/Cd", "RtrInf/Rsn/Prtry")
    if returned and not came_in:
        role = "Dbtr"  # the other side of a direct debit that comes back is still who was to pay it
    free = (*xml.texts(detail, "RmtInf/Ustrd"), *xml.texts(detail, "RmtInf/Strd/AddtlRmtInf"))
    structured = xml.texts(detail, "RmtInf/Strd/CdtrRefInf/Ref") or xml.texts(detail, "RmtInf/Strd/RfrdDocInf/Nb")
    return {
        "end_to_end": _given(xml.text(detail, "Refs/EndToEndId"))[:70],
        "reference": " ".join(structured)[:140],
        "batch": _given(xml.text(detail, "Refs/PmtInfId", "Refs/MsgId"))[:70],
        "bank_ref": _given(xml.text(detail, "Refs/AcctSvcrRef", "Refs/TxId"))[:70],
        "return_reason": returned[:8],
        "remittance": (" ".join(free) or info)[:1000],
        "party": xml.text(detail, f"RltdPties/{role}/Nm", f"RltdPties/{role}/Pty/Nm")[:140],
        "party_iban": re.sub(r"\s", "", xml.text(detail, f"RltdPties/{role}Acct/Id/IBAN"))[:34],
    }


def _detail_amount(detail: Any, entry: Money, paths: Sequence[str] = _TOLD_AMOUNTS) -> Money | None:
    for path in paths:
        for found in xml.all_of(detail, path):
            if found.get("Ccy") == entry.currency:
                amount = _amount(found, "a transaction")
                against = xml.text(detail, "CdtDbtInd")
                negative = against == "DBIT" if against else entry.minor < 0
                return -amount if negative else amount
    return None


def _charges(element: Any, currency: str) -> Money:
    """What the bank kept of the amount: positive."""
    total = Money.zero(currency)
    for record in (*xml.all_of(element, "Chrgs/Rcrd"), *(c for c in xml.all_of(element, "Chrgs"))):
        for found in xml.all_of(record, "Amt"):
            if found.get("Ccy") == currency:
                back = xml.text(record, "CdtDbtInd") == "CRDT"
                total += -_amount(found, "a charge") if back else _amount(found, "a charge")
    return total


def _signed(element: Any, where: str) -> Money:
    found = xml.one(element, "Amt")
    direction = xml.text(element, "CdtDbtInd")
    if found is None or direction not in ("CRDT", "DBIT"):
        raise FileRefused(f"{where}: an amount and its direction are needed")
    amount = _amount(found, where)
    return amount if direction == "CRDT" else -amount


def _amount(found: Any, where: str) -> Money:
    try:
        said = (found.text or "").strip()
        if not _DECIMAL.fullmatch(said):
            raise ValueError
        return Money.exact(Decimal(said), found.get("Ccy", ""))
    except (InvalidOperation, ValueError):
        raise FileRefused(f"{where}: {(found.text or '')[:40]!r} {found.get('Ccy')} is no amount") from None


def _day(element: Any, where: str, *names: str) -> date:
    said = xml.text(element, *(path for name in names for path in (f"{name}/Dt", f"{name}/DtTm", name)))
    try:
        return date.fromisoformat(said[:10])
    except ValueError:
        raise FileRefused(f"{where}: {said[:40]!r} is no date") from None


def _code(entry: Any) -> str:
    domain = [xml.text(entry, f"BkTxCd/Domn/{p}") for p in ("Cd", "Fmly/Cd", "Fmly/SubFmlyCd")]
    return "/".join(part for part in domain if part)[:40] or xml.text(entry, "BkTxCd/Prtry/Cd")[:40]


def _given(text: str) -> str:
    return "" if text.upper() in _NOT_GIVEN else text[:70]
