"""The files we send: pain.008 (direct debits) and pain.001 (credit transfers), as octets. Pure.

The same values make the same octets: no clock, no random id, nothing of a library's in it. (sepaxml, which makes such
files too, puts its own time and random ids into them; its ISO 20022 schemas are what the tests hold these against.)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby

from lxml import etree

from controller.domain.money import Money

FORMS = ("pain.008.001.08", "pain.008.001.02")
TRANSFER_FORM = "pain.001.001.09"
_FOLDED = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "&": "+"}
    | {"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "đ": "d", "Đ": "D"}
)
_NOT_SEPA = re.compile(r"[^A-Za-z0-9/\-?:().,'+ ]")


@dataclass(frozen=True, slots=True)
class Party:
    """Whose account: of ours, or of who pays or is paid."""

    name: str
    iban: str
    bic: str = ""


@dataclass(frozen=True, slots=True)
class Debit:
    """One direct debit. `sequence` is FRST, RCUR, FNAL or OOFF, `scheme` CORE or B2B."""

    end_to_end: str
    amount: Money
    debtor: Party
    mandate: str
    signed_on: date
    scheme: str
    sequence: str
    text: str


@dataclass(frozen=True, slots=True)
class Transfer:
    end_to_end: str
    amount: Money
    creditor: Party
    text: str


def direct_debits(
    form: str,
    message_id: str,
    made_at: datetime,
    creditor: Party,
    creditor_id: str,
    collect_on: date,
    debits: Sequence[Debit],
) -> bytes:
    """A pain.008. One payment block for each scheme and sequence, whose id is the message's and a number.

    What is collected for the last time comes last: after it a bank may refuse more by the same mandate.
    """
    body, root = _document(form, "CstmrDrctDbtInitn")
    _header(body, message_id, made_at, creditor.name, [d.amount for d in debits])
    ordered = sorted(debits, key=lambda d: (d.scheme, d.sequence == "FNAL", d.sequence, d.end_to_end))
    for number, ((scheme, sequence), found) in enumerate(groupby(ordered, lambda d: (d.scheme, d.sequence)), 1):
        members = list(found)
        block = _add(body, "PmtInf")
        _add(block, "PmtInfId", f"{message_id}-{number}")
        _add(block, "PmtMtd", "DD")
        _sums(block, [d.amount for d in members])
        kind = _add(block, "PmtTpInf")
        _add(_add(kind, "SvcLvl"), "Cd", "SEPA")
        _add(_add(kind, "LclInstrm"), "Cd", scheme)
        _add(kind, "SeqTp", sequence)
        _add(block, "ReqdColltnDt", collect_on.isoformat())
        _add(_add(block, "Cdtr"), "Nm", _text(creditor.name, 70))
        _account(block, "CdtrAcct", creditor.iban)
        _agent(block, "CdtrAgt", creditor.bic, form)
        _add(block, "ChrgBr", "SLEV")
        identified = _add(_add(_add(_add(block, "CdtrSchmeId"), "Id"), "PrvtId"), "Othr")
        _add(identified, "Id", creditor_id)
        _add(_add(identified, "SchmeNm"), "Prtry", "SEPA")
        for debit in members:
            _debit(block, debit, form)
    return _octets(root)


def transfers(message_id: str, made_at: datetime, debtor: Party, execute_on: date, found: Sequence[Transfer]) -> bytes:
    """A pain.001.001.09 with one block."""
    body, root = _document(TRANSFER_FORM, "CstmrCdtTrfInitn")
    _header(body, message_id, made_at, debtor.name, [t.amount for t in found])
    block = _add(body, "PmtInf")
    _add(block, "PmtInfId", f"{message_id}-1")
    _add(block, "PmtMtd", "TRF")
    _sums(block, [t.amount for t in found])
    _add(_add(_add(block, "PmtTpInf"), "SvcLvl"), "Cd", "SEPA")
    _add(_add(block, "ReqdExctnDt"), "Dt", execute_on.isoformat())
    _add(_add(block, "Dbtr"), "Nm", _text(debtor.name, 70))
    _account(block, "DbtrAcct", debtor.iban)
    _agent(block, "DbtrAgt", debtor.bic, TRANSFER_FORM)
    _add(block, "ChrgBr", "SLEV")
    for transfer in sorted(found, key=lambda t: t.end_to_end):
        one = _add(block, "CdtTrfTxInf")
        _add(_add(one, "PmtId"), "EndToEndId", transfer.end_to_end)
        _money(_add(one, "Amt"), transfer.amount)
        _add(_add(one, "Cdtr"), "Nm", _text(transfer.creditor.name, 70))
        _account(one, "CdtrAcct", transfer.creditor.iban)
        _add(_add(one, "RmtInf"), "Ustrd", _text(transfer.text, 140))
    return _octets(root)


def sepa_text(text: str) -> str:
    """Within the characters that every bank of SEPA takes."""
    folded = unicodedata.normalize("NFKD", text.translate(_FOLDED))
    kept = "".join(c for c in folded if not unicodedata.combining(c))
    return re.sub(r" +", " ", _NOT_SEPA.sub(" ", kept)).strip()


def _debit(block: etree._Element, debit: Debit, form: str) -> None:
    one = _add(block, "DrctDbtTxInf")
    _add(_add(one, "PmtId"), "EndToEndId", debit.end_to_end)
    _money(one, debit.amount)
    related = _add(_add(one, "DrctDbtTx"), "MndtRltdInf")
    _add(related, "MndtId", debit.mandate)
    _add(related, "DtOfSgntr", debit.signed_on.isoformat())
    _agent(one, "DbtrAgt", debit.debtor.bic, form)
    _add(_add(one, "Dbtr"), "Nm", _text(debit.debtor.name, 70))
    _account(one, "DbtrAcct", debit.debtor.iban)
    _add(_add(one, "RmtInf"), "Ustrd", _text(debit.text, 140))


def _document(form: str, body: str) -> tuple[etree._Element, etree._Element]:
    namespace = f"urn:iso:std:iso:20022:tech:xsd:{form}"
    root = etree.Element(f"{{{namespace}}}Document", nsmap={None: namespace})
    return _add(root, body), root


def _header(body: etree._Element, message_id: str, made_at: datetime, name: str, amounts: Sequence[Money]) -> None:
    head = _add(body, "GrpHdr")
    _add(head, "MsgId", message_id)
    _add(head, "CreDtTm", made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    _sums(head, amounts)
    _add(_add(head, "InitgPty"), "Nm", _text(name, 70))


def _sums(parent: etree._Element, amounts: Sequence[Money]) -> None:
    _add(parent, "NbOfTxs", str(len(amounts)))
    _add(parent, "CtrlSum", str(sum(amounts, Money.zero(amounts[0].currency)).amount))


def _account(parent: etree._Element, role: str, iban: str) -> None:
    _add(_add(_add(parent, role), "Id"), "IBAN", iban)


def _agent(parent: etree._Element, role: str, bic: str, form: str) -> None:
    """The bank; without a BIC it follows from the IBAN, and is said to be not provided."""
    found = _add(_add(parent, role), "FinInstnId")
    if bic:
        _add(found, "BIC" if form.endswith(".02") else "BICFI", bic)
    else:
        _add(_add(found, "Othr"), "Id", "NOTPROVIDED")


def _money(parent: etree._Element, amount: Money) -> None:
    _add(parent, "InstdAmt", str(amount.amount)).set("Ccy", amount.currency)


def _text(text: str, length: int) -> str:
    return sepa_text(text)[:length].strip() or "-"


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    namespace = etree.QName(parent).namespace
    made = etree.SubElement(parent, f"{{{namespace}}}{name}")
    made.text = text
    return made


def _octets(root: etree._Element) -> bytes:
    found: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return found
