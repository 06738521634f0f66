"""Statements as several banks write them: versions 02, 04 and 08, each with its own habits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from xml.sax.saxutils import escape

IBAN = "DE02120300000000202051"


@dataclass
class Tx:
    """A transaction within an entry."""

    amount: str = ""
    text: str = ""
    name: str = ""
    iban: str = ""
    end_to_end: str = ""
    reference: str = ""
    reason: str = ""
    charge: str = ""


@dataclass
class Entry:
    amount: str
    details: Sequence[Tx] = ()
    on: date = date(2026, 11, 20)
    ref: str = ""
    batch: str = ""
    count: int = 0
    status: str = "BOOK"
    code: str = "PMNT/RCDT/ESCT"
    reversal: bool = False
    info: str = ""


@dataclass
class Stmt:
    opening: str
    entries: Sequence[Entry]
    ident: str = "2026-11-20"
    closing: str = ""
    iban: str = IBAN
    on: date = date(2026, 11, 20)
    currency: str = "EUR"
    extra: str = field(default="")


def camt(version: str, *statements: Stmt, kind: str = "053") -> bytes:
    """`version` is 02, 04 or 08."""
    body, each = {"053": ("BkToCstmrStmt", "Stmt"), "054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn")}[kind]
    inner = "".join(f"<{each}>{_statement(s, version, kind)}</{each}>" for s in statements)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.{kind}.001.{version}">'
        f"<{body}><GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-11-21T06:00:00</CreDtTm></GrpHdr>{inner}</{body}></Document>"
    ).encode()


def _statement(s: Stmt, version: str, kind: str) -> str:
    moved = sum((Decimal(e.amount) for e in s.entries if e.status == "BOOK"), Decimal(0))
    closing = s.closing or str(Decimal(s.opening) + moved)
    first = "PRCD" if version == "02" else "OPBD"
    balances = (
        ""
        if kind == "054"
        else _balance(first, s.opening, s) + _balance("CLBD", closing, s) + _balance("CLAV", closing, s)
    )
    entries = "".join(_entry(e, version, s.currency) for e in s.entries)
    return (
        f"<Id>{s.ident}</Id><ElctrncSeqNb>1</ElctrncSeqNb><CreDtTm>2026-11-21T06:00:00</CreDtTm>"
        f"<Acct><Id><IBAN>{s.iban}</IBAN></Id><Ccy>{s.currency}</Ccy></Acct>{balances}{entries}{s.extra}"
    )


def _balance(code: str, amount: str, s: Stmt) -> str:
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{_amount(amount, s.currency)}"
        f"<Dt><Dt>{s.on}</Dt></Dt></Bal>"
    )


def _amount(amount: str, currency: str) -> str:
    side = "DBIT" if Decimal(amount) < 0 else "CRDT"
    return f'<Amt Ccy="{currency}">{abs(Decimal(amount))}</Amt><CdtDbtInd>{side}</CdtDbtInd>'


def _entry(e: Entry, version: str, currency: str) -> str:
    status = f"<Sts><Cd>{e.status}</Cd></Sts>" if version == "08" else f"<Sts>{e.status}</Sts>"
    domain, family, sub = e.code.split("/")
    batch = f"<Btch><PmtInfId>{e.batch}</PmtInfId><NbOfTxs>{e.count or 1}</NbOfTxs></Btch>" if e.batch else ""
    details = "".join(_details(d, e, version, currency) for d in e.details)
    inner = f"<NtryDtls>{batch}{details}</NtryDtls>" if batch or details else ""
    reversal = "<RvslInd>true</RvslInd>" if e.reversal else ""
    ref = f"<AcctSvcrRef>{e.ref}</AcctSvcrRef>" if e.ref else ""
    info = f"<AddtlNtryInf>{escape(e.info)}</AddtlNtryInf>" if e.info else ""
    when = f"<Dt>{e.on}</Dt>" if version != "04" else f"<DtTm>{e.on}T00:00:00+01:00</DtTm>"
    return (
        f"<Ntry>{_amount(e.amount, currency)}{reversal}{status}"
        f"<BookgDt>{when}</BookgDt><ValDt><Dt>{e.on}</Dt></ValDt>{ref}"
        f"<BkTxCd><Domn><Cd>{domain}</Cd><Fmly><Cd>{family}</Cd><SubFmlyCd>{sub}</SubFmlyCd></Fmly></Domn></BkTxCd>"
        f"{inner}{info}</Ntry>"
    )


def _details(d: Tx, e: Entry, version: str, currency: str) -> str:
    came_in = Decimal(e.amount) > 0
    role = "Dbtr" if came_in or d.reason else "Cdtr"
    amount = ""
    if d.amount:
        if version == "02":
            amount = f'<AmtDtls><TxAmt><Amt Ccy="{currency}">{d.amount}</Amt></TxAmt></AmtDtls>'
        else:
            amount = f'<Amt Ccy="{currency}">{d.amount}</Amt><CdtDbtInd>{"CRDT" if came_in else "DBIT"}</CdtDbtInd>'
    charge = ""
    if d.charge:
        sum_of = f'<Amt Ccy="{currency}">{d.charge}</Amt>'
        charge = f"<Chrgs>{sum_of}</Chrgs>" if version == "02" else f"<Chrgs><Rcrd>{sum_of}</Rcrd></Chrgs>"
    name = f"<Nm>{escape(d.name)}</Nm>"
    party = f"<{role}><Pty>{name}</Pty></{role}>" if version == "08" else f"<{role}>{name}</{role}>"
    account = f"<{role}Acct><Id><IBAN>{d.iban}</IBAN></Id></{role}Acct>" if d.iban else ""
    strd = f"<Strd><CdtrRefInf><Ref>{d.reference}</Ref></CdtrRefInf></Strd>" if d.reference else ""
    ustrd = "".join(f"<Ustrd>{escape(d.text[i : i + 27])}</Ustrd>" for i in range(0, len(d.text), 27))
    returned = f"<RtrInf><Rsn><Cd>{d.reason}</Cd></Rsn></RtrInf>" if d.reason else ""
    return (
        f"<TxDtls><Refs><EndToEndId>{d.end_to_end or 'NOTPROVIDED'}</EndToEndId></Refs>{amount}{charge}"
        f"<RltdPties>{party if d.name else ''}{account}</RltdPties><RmtInf>{strd}{ustrd}</RmtInf>{returned}</TxDtls>"
    )
