"""Habits of banks: pages of a statement, statements issued anew, and the places where payers put a number."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from erp.payments.bank import camt as camt_reader
from erp.payments.bank.matching import creditor_reference
from erp.payments.bank.reading import Imported
from erp.payments.errors import FileRefused, WrongState
from tests.support.camt import IBAN, Entry, Stmt, Tx, camt
from tests.support.payments import Till, euro


@pytest.fixture
async def bank(till: Till) -> Till:
    till.clock.move_to(datetime(2026, 11, 21, 9, tzinfo=UTC))
    await till.room.bank.add_account(
        name="Testnetz GmbH", iban=IBAN, bic="BYLADEM1001", creditor_id="", currency="EUR", actor="user:test"
    )
    return till


async def read(till: Till, raw: bytes) -> Imported:
    return await till.room.statements.read(raw, "statement.xml", actor="user:anna")


def page(number: int, last: str, statement: Stmt, opens: str, closes: str) -> bytes:
    """A page of a statement, between balances of these kinds."""
    raw = camt("08", statement).replace(b"<Cd>OPBD<", f"<Cd>{opens}<".encode())
    raw = raw.replace(b"<Cd>CLBD<", f"<Cd>{closes}<".encode())
    pages = f"</Id><StmtPgntn><PgNb>{number}</PgNb><LastPgInd>{last}</LastPgInd></StmtPgntn><ElctrncSeqNb>"
    return raw.replace(b"</Id><ElctrncSeqNb>", pages.encode())


async def test_pages_of_a_statement_are_kept_each_once(bank: Till) -> None:
    pages = [
        page(1, "false", Stmt("100.00", [Entry("7.00", ref="1")]), "OPBD", "ITBD"),
        page(2, "false", Stmt("107.00", [Entry("9.00", ref="2")]), "ITBD", "ITBD"),
        page(3, "true", Stmt("116.00", [Entry("4.00")]), "ITBD", "CLBD"),
    ]
    found = [await read(bank, raw) for raw in [*pages, *pages]]
    assert [(f.lines, f.notes) for f in found if f.is_new] == [(1, ()), (1, ()), (1, ())]
    kept = {s.ident: s.closing for s in await bank.room.bank.statements(limit=9)}
    assert kept == {
        "2026-11-20/1": euro("107.00"), "2026-11-20/2": euro("116.00"), "2026-11-20/3": euro("120.00"),
    }  # fmt: skip
    assert await bank.balance("1800") == 2000


async def test_a_statement_issued_anew_under_another_id_is_refused_though_its_entries_have_no_reference(
    bank: Till,
) -> None:
    entries = [Entry("5.00", [Tx(text="rent", name="X")]), Entry("-5.00", [Tx(text="back", name="X")])]
    for number, told in enumerate((entries[:1], entries)):
        first = Stmt("10.00", told, ident=f"first-{number}", on=date(2026, 11, 18 + number))
        await read(bank, camt("02", first))
        anew = Stmt("10.00", told, ident=f"anew-{number}", on=date(2026, 11, 18 + number))
        with pytest.raises(WrongState, match="stands in an earlier statement"):
            await read(bank, camt("02", anew))
    week = Stmt("4.00", [Entry("2.00"), entries[0]], ident="week", on=date(2026, 11, 18))
    with pytest.raises(WrongState, match=r"an entry of 5\.00 EUR"):
        await read(bank, camt("02", week))
    assert await bank.balance("1800") == 500
    bank.is_sound = False  # the second statement opens with another balance than the first closed with


async def test_a_statement_that_repeats_a_day_of_another_and_follows_a_third_is_refused(bank: Till) -> None:
    dues = Entry("50.00", [Tx(text="dues", name="X")], on=date(2026, 11, 19))
    rent = Entry("-30.00", [Tx(text="rent", name="Y")], on=date(2026, 11, 20))
    more = Entry("80.00", [Tx(text="dues", name="Z")], on=date(2026, 11, 21))

    def told(opening: str, entries: list[Entry], began: int, ended: int) -> bytes:
        """With the opening balance of the day before the first entry, as banks have it."""
        raw = camt("08", Stmt(opening, entries, ident=f"{began} to {ended}", on=date(2026, 11, ended)))
        first, last = [f"<Dt>2026-11-{day}</Dt></Dt></Bal>".encode() for day in (began, ended)]
        return raw.replace(last, first, 1)

    await read(bank, told("100.00", [dues], 18, 19))
    await read(bank, told("150.00", [rent], 19, 20))
    with pytest.raises(WrongState, match="stands in an earlier statement"):
        await read(bank, told("150.00", [rent, more], 19, 21))
    assert (await read(bank, told("120.00", [more], 20, 21))).lines == 1
    assert await bank.balance("1800") == 10000


async def test_statements_of_one_day_that_follow_each_other_may_say_the_same(bank: Till) -> None:
    twice = [Entry("5.00", [Tx(text="coffee", name="X")])]
    for number, opening in enumerate(("10.00", "15.00", "20.00")):
        assert (await read(bank, camt("02", Stmt(opening, twice, ident=f"part {number}")))).lines == 1
    assert await bank.balance("1800") == 1500


@pytest.mark.parametrize(
    "habit",
    ["{a} 20.11.2026", "{a} 2026-11-20 / {b}, 12", "EREF+{x}SVWZ+ {a}", "document", "end to end", "two references"],
)
async def test_an_invoice_is_found_wherever_its_payers_bank_put_its_number(bank: Till, habit: str) -> None:
    account = await bank.account()
    first, second = await bank.issue(account), await bank.issue(account)
    a, b = [(await bank.finance.invoice(i)).number for i in (first, second)]
    told = Tx(text=habit.format(a=a, b=b, x="X1"), name="Somebody")
    raw = camt("08", Stmt("0.00", [Entry("71.40", [told], ref="1")]))
    named = {
        "document": f"<Strd><RfrdDocInf><Nb>{a}</Nb></RfrdDocInf></Strd>",
        "two references": "".join(
            f"<Strd><CdtrRefInf><Ref>{creditor_reference(n)}</Ref></CdtrRefInf></Strd>" for n in (a, b)
        ),
    }.get(habit)
    if named:
        raw = raw.replace(f"<Ustrd>{habit}</Ustrd>".encode(), named.encode())
    if habit == "end to end":
        raw = raw.replace(b"NOTPROVIDED", a.encode())
    assert (await read(bank, raw)).matched == 1
    assert (await bank.finance.invoice(first)).open_minor == 0
    left = (await bank.finance.invoice(second)).open_minor
    assert left == (0 if "{b}" in habit or habit == "two references" else 3570)


@pytest.mark.parametrize("text", ["{a}1", "{a}0 20.11.2026", "{short}", "{a} {other}"])
async def test_what_may_be_another_number_waits_for_a_person(bank: Till, text: str) -> None:
    a = (await bank.finance.invoice(await bank.issue(await bank.account()))).number
    other = (await bank.finance.invoice(await bank.issue(await bank.account()))).number
    said = text.format(a=a, short=a[:-1], other=other)
    raw = camt("08", Stmt("0.00", [Entry("35.70", [Tx(text=said, name="Nobody known")], ref="1")]))
    assert (await read(bank, raw)).matched == 0


@pytest.mark.parametrize("notice_first", [True, False])
async def test_a_notification_says_of_what_a_single_entry_is_that_the_statement_gave_no_details_of(
    bank: Till, notice_first: bool
) -> None:
    """Swiss banks tell references of QR-bills in the camt.054 alone, also on a day on which only one was paid."""
    invoice = await bank.issue(await bank.account())
    reference = creditor_reference((await bank.finance.invoice(invoice)).number)
    paid = Entry("35.70", [Tx("35.70", reference=reference)], ref="20261120000800123")
    other = Entry("9.00", [Tx("9.00")], ref="20261120000800124")
    notice = camt("08", Stmt("0", [paid, other]), kind="054")
    bare = [Entry(e.amount, [], ref=e.ref) for e in (paid, other)]
    statement = camt("08", Stmt("0.00", bare))
    for raw in (
        [notice, statement] if notice_first else [statement, notice, notice.replace(b"<MsgId>M1<", b"<MsgId>M2<")]
    ):
        await read(bank, raw)
    assert (await bank.finance.invoice(invoice)).open_minor == 0
    lines = await bank.room.bank.lines(state="open", statement_id=None, after=None, limit=9)
    assert [line.amount for line in lines] == [euro("9.00")], "what nothing is told of stays as it is"
    assert (await bank.balance("1800"), await bank.balance("1463")) == (4470, -900)
    await bank.assert_sound()


async def test_transactions_that_add_up_by_what_was_booked_of_each_are_lines_of_their_own(bank: Till) -> None:
    """Banks that deduct first tell the gross in TxAmt and what they booked in Amt, some without the charges."""
    account = await bank.account()
    number = (await bank.finance.invoice(await bank.issue(account))).number
    raw = camt("08", Stmt("0.00", [Entry("50.00", [Tx("35.70", text=number), Tx("14.30", text="?")], ref="1")]))
    for net, gross in (("35.70", "36.20"), ("14.30", "14.80")):
        own = f'<Amt Ccy="EUR">{net}</Amt><CdtDbtInd>CRDT</CdtDbtInd>'.encode()
        told = f'<AmtDtls><TxAmt><Amt Ccy="EUR">{gross}</Amt></TxAmt></AmtDtls>'.encode()
        raw = raw.replace(own, own + told)
    found = await read(bank, raw)
    assert (found.lines, found.matched) == (2, 1)
    await bank.assert_sound()


def test_a_statement_is_found_within_the_envelope_that_a_network_puts_round_it() -> None:
    told = camt("08", Stmt("0.00", [Entry("7.00", ref="1")]))
    bare = told.partition(b"?>")[2].strip()
    header = b'<AppHdr xmlns="urn:iso:std:iso:20022:tech:xsd:head.001.001.02"><BizMsgIdr>1</BizMsgIdr></AppHdr>'
    wrapped = b'<s:Envelope xmlns:s="urn:swift:xsd:envelope">' + header + bare + b"</s:Envelope>"
    assert camt_reader.parse(wrapped, 1_000_000) == camt_reader.parse(told, 1_000_000)


@pytest.mark.parametrize("amount", ["1e2", "1_00", "\u0661\u0662", "-5.00", "NaN", "5,00", "", "1.234"])
def test_what_the_schema_does_not_call_an_amount_is_none(amount: str) -> None:
    raw = camt("08", Stmt("0.00", [Entry("7.00", ref="1")])).replace(b">7.00</Amt>", f">{amount}</Amt>".encode())
    with pytest.raises(FileRefused, match="no amount"):
        camt_reader.parse(raw, 1_000_000)
