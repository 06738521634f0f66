"""Whose money a line of a statement is. Pure.

    certain   our end-to-end id or file id · a creditor reference (ISO 11649) · numbers of open invoices in the text
    proposed  an open amount and a name alike · an IBAN from which an account has paid before

What is certain is booked at once; a proposal waits for a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from stdnum import iso11649
from stdnum.iso7064 import mod_97_10

from controller.domain.money import Money

_NOT_PLAIN = re.compile(r"[^A-Z0-9]")
_ALIKE = 0.7
_MOST_PROPOSALS = 5


@dataclass(frozen=True, slots=True)
class OpenInvoice:
    """What can be paid. `name` is the customer's."""

    invoice_id: str
    number: str
    account_id: str
    name: str
    left: Money


@dataclass(frozen=True, slots=True)
class Match:
    """Settle these invoices, all of one account, and leave the rest of the amount on it."""

    account_id: str
    parts: tuple[tuple[str, Money], ...]
    why: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What it may be; `score` from 0 to 100."""

    account_id: str
    name: str
    invoice_id: str | None
    number: str
    left: Money | None
    why: str
    score: int


class OpenInvoices:
    """The open invoices of an entity in one currency, made to be looked into many times."""

    def __init__(self, found: Iterable[OpenInvoice]) -> None:
        self._all = list(found)
        self._left = {i.invoice_id: i.left for i in self._all}
        self._by_number = {plain(i.number): i for i in self._all}
        lengths = {(len(n), _head(n)) for n in self._by_number}
        # Numbers of one series have one shape: letters, then digits. The text is searched for these shapes only.
        self._shapes = [_shape(head, length - len(head)) for length, head in sorted(lengths)]
        self._by_amount: dict[int, list[OpenInvoice]] = {}
        for invoice in self._all:
            self._by_amount.setdefault(invoice.left.minor, []).append(invoice)

    def certain(self, amount: Money, reference: str, remittance: str) -> Match | None:
        """Who named the invoices that are paid by it, if all of them are of one account."""
        if iso11649.is_valid(reference):
            found = self._by_number.get(iso11649.compact(reference)[4:])
            named, why = ([found], "its creditor reference") if found else ([], "")
        else:
            named, why = self._named(f"{reference} {remittance}"), "the invoice numbers in its text"
        if not named or len({i.account_id for i in named}) > 1:
            return None
        return Match(named[0].account_id, tuple(self._parts(named, amount)), why)

    def proposals(self, amount: Money, party: str, known_account: str | None) -> list[Proposal]:
        """The likeliest first."""
        found = []
        for invoice in self._by_amount.get(amount.minor, ()):
            if self._left[invoice.invoice_id] != amount:
                continue
            likeness = alike(party, invoice.name)
            own = invoice.account_id == known_account
            if likeness >= _ALIKE or own:
                why = "its amount, and an account that paid from there before" if own else "its amount and name"
                found.append(_proposal(invoice, why, 95 if own else round(likeness * 90)))
        if known_account is not None and not found:
            of_account = [i for i in self._all if i.account_id == known_account and self._left[i.invoice_id]]
            found = [_proposal(i, "an account that paid from there before", 60) for i in of_account]
            if not of_account:
                found = [Proposal(known_account, "", None, "", None, "an account that paid from there before", 50)]
        if not found and party:
            likely = [(alike(party, i.name), i) for i in self._all if self._left[i.invoice_id]]
            best = sorted((x for x in likely if x[0] >= 0.85), key=lambda x: -x[0])[:_MOST_PROPOSALS]
            found = [_proposal(i, "its name", round(score * 50)) for score, i in best]
        return sorted(found, key=lambda p: (-p.score, p.number))[:_MOST_PROPOSALS]

    def settled(self, parts: Sequence[tuple[str, Money]]) -> None:
        """What was matched is not open any more for the lines that follow."""
        for invoice_id, part in parts:
            if invoice_id in self._left:
                self._left[invoice_id] -= part

    def _named(self, text: str) -> list[OpenInvoice]:
        found: dict[str, OpenInvoice] = {}
        for shape in self._shapes:
            for hit in shape.finditer(text.upper()):
                invoice = self._by_number.get(plain(hit.group()))
                if invoice is not None:
                    found.setdefault(invoice.invoice_id, invoice)
        return list(found.values())

    def _parts(self, named: Sequence[OpenInvoice], amount: Money) -> list[tuple[str, Money]]:
        left, parts = amount.minor, []
        for invoice in named:
            part = min(left, self._left[invoice.invoice_id].minor)
            if part > 0:
                parts.append((invoice.invoice_id, Money(part, amount.currency)))
                left -= part
        return parts


def creditor_reference(number: str) -> str:
    """The ISO 11649 reference of an invoice: RF, two check digits, its number without signs. "" for one too long."""
    body = plain(number)
    if not 1 <= len(body) <= 21:
        return ""
    return f"RF{mod_97_10.calc_check_digits(body + 'RF')}{body}"


def plain(text: str) -> str:
    """Without anything but letters and digits: banks break and fold what payers write."""
    return _NOT_PLAIN.sub("", text.upper())


def alike(one: str, other: str) -> float:
    """How alike two names are, 0 to 1, whichever way their words are turned round."""
    first, second = (" ".join(sorted(re.findall(r"\w+", name.casefold()))) for name in (one, other))
    return SequenceMatcher(None, first, second).ratio() if first and second else 0.0


def _shape(head: str, digits: int) -> re.Pattern[str]:
    """A number with anything but letters and digits in it, and no further digit right behind it: a date may follow."""
    return re.compile(r"[^A-Z0-9]*".join([*head, *[r"[0-9]"] * digits]) + r"(?![0-9])")


def _head(number: str) -> str:
    return re.match(r"\D*", number).group()  # type: ignore[union-attr]


def _proposal(invoice: OpenInvoice, why: str, score: int) -> Proposal:
    return Proposal(invoice.account_id, invoice.name, invoice.invoice_id, invoice.number, invoice.left, why, score)
