"""Statements of several banks: read, checked, posted, matched; and twice is no change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from controller.domain.errors import RuleError
from controller.domain.identity import InvoiceId
from erp.finance.errors import ControlAccount, NoSuchAccount
from erp.finance.settlement import MoneyIn
from erp.payments.bank import camt as reader
from erp.payments.bank.matching import creditor_reference
from erp.payments.bank.reading import Imported
from erp.payments.bank.repository import BankLine
from erp.payments.errors import FileRefused, UnknownBankAccount, WrongState
from tests.support.camt import IBAN, Entry, Stmt, Tx, camt
from tests.support.payments import Till, euro

OTHER_IBAN = "DE89370400440532013000"
VERSIONS = ["02", "04", "08"]
_LIMIT = 1_000_000


async def bank(till: Till) -> str:
    till.clock.move_to(datetime(2026, 11, 21, 9, tzinfo=UTC))
    made = await till.room.bank.add_account(
        name="Testnetz GmbH", iban=IBAN, bic="BYLADEM1001", creditor_id="DE98ZZZ09999999999", currency="EUR",
        actor="user:test",
    )  # fmt: skip
    return made.bank_account_id


async def read(till: Till, raw: bytes) -> Imported:
    return await till.room.statements.read(raw, "statement.xml", actor="user:anna")


async def waiting_lines(till: Till) -> list[BankLine]:
    return await till.room.bank.lines(state="open", statement_id=None, after=None, limit=9)


async def number_of(till: Till, invoice_id: InvoiceId) -> str:
    return (await till.finance.invoice(invoice_id)).number


async def open_of(till: Till, invoice_id: InvoiceId) -> int:
    return (await till.finance.invoice(invoice_id)).open_minor


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_statement_is_posted_matched_and_the_second_time_no_change(till: Till, version: str) -> None:
    await bank(till)
    account = await till.account("Erika Beispiel")
    first, second, third = [await till.issue(account) for _ in range(3)]
    a, b, c = [await number_of(till, i) for i in (first, second, third)]
    raw = camt(
        version,
        Stmt(
            "100.00",
            [
                Entry("35.70", [Tx(text=f"Rechnung {a.lower()} danke", name="Beispiel, Erika")], ref="R1"),
                Entry("40.00", [Tx(reference=creditor_reference(b), name="E. Beispiel")], ref="R2"),
                Entry("12.34", [Tx(text="no idea", name="Somebody")], ref="R3"),
                Entry("-5.00", [Tx(text="Kontoführung")], ref="R4", code="ACMT/MDOP/CHRG"),
                Entry("99.00", [Tx(text=f"{c}")], status="PDNG"),
                Entry("0.00", info="Information"),
            ],
        ),
    )
    found = await read(till, raw)
    assert (found.is_new, found.statements, found.lines, found.matched) == (True, 1, 4, 3)
    assert [await open_of(till, i) for i in (first, second, third)] == [0, 0, 3570]
    assert await till.balance("1800") == 3570 + 4000 + 1234 - 500
    assert (await till.balance("1463"), await till.balance("6855")) == (-1234, 500)
    trial = await till.books.trial_balance()
    again = await read(till, raw)
    other_octets = await read(till, raw.replace(b"<MsgId>M1<", b"<MsgId>M2<"))
    assert (again.is_new, other_octets.is_new, other_octets.lines) == (False, False, 0)
    assert await till.books.trial_balance() == trial
    (position,) = await till.room.bank.positions()
    assert (position.closing, position.unidentified, position.open_lines) == (euro("183.04"), euro("12.34"), 1)
    await till.assert_sound()


async def test_each_bank_account_has_an_account_of_the_ledger_of_its_own_where_it_was_given_one(till: Till) -> None:
    ours = await bank(till)
    other = await till.room.bank.add_account(
        name="Testnetz GmbH", iban=OTHER_IBAN, bic="", creditor_id="", currency="EUR", actor="user:test"
    )
    await till.room.bank.set_ledger_account(ours, "1810", actor="user:anna")
    await read(till, camt("08", Stmt("0.00", [Entry("12.34", [Tx(text="a")], ref="R1")])))
    await read(till, camt("08", Stmt("0.00", [Entry("5.00", [Tx(text="b")], ref="R2")], iban=OTHER_IBAN)))
    assert (await till.balance("1810"), await till.balance("1800")) == (1234, 500)
    found = {p.account.iban: (p.ledger_code, p.ledger, p.closing) for p in await till.room.bank.positions()}
    assert found == {
        IBAN: ("1810", euro("12.34"), euro("12.34")), OTHER_IBAN: ("1800", euro("5.00"), euro("5.00")),
    }  # fmt: skip
    (flow,) = await till.books.cash_flow(date(2026, 1, 1), date(2026, 12, 31))
    assert (flow.closing.minor, flow.difference.minor) == (1734, 0)
    with pytest.raises(WrongState, match="name another"):
        await till.room.bank.set_ledger_account(other.bank_account_id, "1810", actor="user:anna")
    for wrong, error in (("1200", ControlAccount), ("1", NoSuchAccount), ("6300", RuleError)):
        with pytest.raises(error):
            await till.room.bank.set_ledger_account(ours, wrong, actor="user:anna")
    await till.room.bank.set_ledger_account(ours, None, actor="user:anna")
    await till.room.bank.set_ledger_account(other.bank_account_id, "1810", actor="user:anna")
    assert {p.account.iban: p.ledger_code for p in await till.room.bank.positions()} == {
        IBAN: "1800", OTHER_IBAN: "1810",
    }  # fmt: skip
    await till.assert_sound()


@pytest.mark.parametrize("version", VERSIONS)
async def test_batches_charges_reversals_and_several_statements_in_a_file(till: Till, version: str) -> None:
    await bank(till)
    account = await till.account()
    invoice = await till.issue(account)
    number = await number_of(till, invoice)
    monday, tuesday = date(2026, 11, 16), date(2026, 11, 17)
    raw = camt(
        version,
        Stmt(
            "0.00",
            [
                Entry(
                    "80.00",
                    [Tx("30.00", text="a"), Tx("35.70", text=number), Tx("14.30", text="c")],
                    ref="B1", batch="COUNTER", count=3, on=monday,
                ),
                Entry("98.50", [Tx("100.00", text="from abroad", charge="1.50")], ref="B2", on=monday),
                Entry("50.00", [], ref="B3", batch="SUM-ONLY", count=7, on=monday),
                Entry("20.00", [Tx("10.00", text="x"), Tx("11.00", text="does not add up")], ref="B4", on=monday),
            ],
            ident="1", on=monday,
        ),
        Stmt("248.50", [Entry("-30.00", [Tx(text="a")], ref="B5", reversal=True, on=tuesday)], ident="2", on=tuesday),
    )  # fmt: skip
    parsed = reader.parse(raw, _LIMIT)
    assert [[line.amount.minor for line in s.lines] for s in parsed.statements] == [
        [3000, 3570, 1430, 10000, -150, 5000, 2000],
        [-3000],
    ]
    assert [line.kind for line in parsed.statements[0].lines if line.kind != "movement"] == ["charge", "batch", "batch"]
    found = await read(till, raw)
    assert (found.statements, found.lines, found.matched) == (2, 8, 2)
    assert await open_of(till, invoice) == 0
    assert (await till.balance("1800"), await till.balance("6855")) == (21850, 150)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (Stmt("100.00", [Entry("10.00")], closing="120.00"), "not 120.00"),
        (Stmt("100.00", [Entry("10.00")], iban="DE12500105170648489890"), "none of ours"),
        (Stmt("100.00", [Entry("10.00")], currency="USD"), "is in USD"),
        (Stmt("1e3", [], closing="1000.001"), "no amount"),
    ],
)
async def test_what_does_not_add_up_or_is_not_ours_is_refused_as_a_whole(
    till: Till, statement: Stmt, says: str
) -> None:
    await bank(till)
    good = Stmt("0.00", [Entry("1.00", ref="G1")], ident="good")
    with pytest.raises((FileRefused, UnknownBankAccount), match=says):
        await read(till, camt("08", good, statement))
    assert (await till.room.bank.statements(limit=5), await till.balance("1800")) == ([], 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"not xml", b"<a/>", b"\xff\xfe<", b"<Document><BkToCstmrStmt/></Document>",
        b'<!DOCTYPE a [<!ENTITY x "y">]><Document><BkToCstmrStmt><Stmt><Id>&x;</Id></Stmt></BkToCstmrStmt></Document>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b"<Document><BkToCstmrStmt><Stmt><Id>1</Id></Stmt></BkToCstmrStmt></Document>", b"<a>" * 100_000,
        b"<Document>" + b" " * _LIMIT + b"</Document>",
    ],
    ids=range(10),
)  # fmt: skip
def test_hostile_and_broken_files_are_refused_with_words(raw: bytes) -> None:
    with pytest.raises(FileRefused):
        reader.parse(raw, _LIMIT)


async def test_a_statement_told_again_in_other_words_or_overlapping_is_refused(till: Till) -> None:
    await bank(till)
    await read(till, camt("08", Stmt("0.00", [Entry("10.00", ref="R1"), Entry("5.00", ref="R2")])))
    with pytest.raises(WrongState, match="other content"):
        await read(till, camt("08", Stmt("0.00", [Entry("10.00", ref="R1"), Entry("6.00", ref="R2")])))
    later = Stmt("15.00", [Entry("5.00", ref="R2")], ident="next", on=date(2026, 11, 21))
    with pytest.raises(WrongState, match="stands in an earlier statement"):
        await read(till, camt("02", later))
    gap = Stmt("20.00", [Entry("1.00", ref="R9")], ident="gap", on=date(2026, 11, 23))
    till.is_sound = False  # a statement is missing between the two
    found = await read(till, camt("02", gap))
    assert found.notes == ("gap opens with 20.00 EUR, the one before closed with 15.00 EUR",)
    assert (await till.room.bank.statements(limit=1))[0].note == found.notes[0]


async def test_an_unmatched_line_is_proposed_matched_by_hand_and_taken_back(till: Till) -> None:
    await bank(till)
    account, other = await till.account("Erika Beispiel"), await till.account("Bert Muster")
    invoice, foreign = await till.issue(account), await till.issue(other)
    theirs = "DE12500105170648489890"
    one = Entry("35.70", [Tx(text="thanks", name="BEISPIEL ERIKA", iban=theirs)], ref="R1")
    await read(till, camt("08", Stmt("0.00", [one, Entry("-20.00", [Tx(text="rent")], ref="R2")])))
    rent, line = sorted(await waiting_lines(till), key=lambda x: x.amount.minor)
    _, proposals = await till.room.bank.line(line.line_id)
    assert [(p.invoice_id, p.score) for p in proposals] == [(invoice, 90)]
    matched = await till.room.bank.match(line.line_id, other, None, actor="user:anna")
    assert (matched.matched, await open_of(till, foreign)) == ("payment", 0)
    with pytest.raises(WrongState):
        await till.room.bank.match(line.line_id, account, None, actor="user:anna")
    await till.room.bank.unmatch(line.line_id, reason="it was Erika's", actor="user:bert")
    assert (await open_of(till, foreign), await till.balance("1463")) == (3570, -3570 + 2000)
    await till.room.bank.match(line.line_id, account, [(invoice, euro("35.70"))], actor="user:bert")
    assert await open_of(till, invoice) == 0
    with pytest.raises(ControlAccount):
        await till.room.bank.book(rent.line_id, "1200", reason="no", actor="user:anna")
    await till.room.bank.book(rent.line_id, "6300", reason="rent", actor="user:anna")
    assert (await till.balance("1463"), await till.balance("6300")) == (0, 2000)
    again = await till.issue(account)
    tomorrow = date(2026, 11, 21)
    small = Entry("10.00", [Tx(text="part", name="?", iban=theirs)], ref="R3", on=tomorrow)
    await read(till, camt("08", Stmt("15.70", [small], ident="2", on=tomorrow)))
    (waiting,) = await waiting_lines(till)
    _, proposals = await till.room.bank.line(waiting.line_id)
    assert [(p.account_id, p.invoice_id) for p in proposals] == [(account, again)]
    await till.assert_sound()


async def test_lines_that_nobody_looked_at_before_the_process_died_are_looked_at_later(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bank(till)
    invoice = await till.issue(await till.account())
    entries = [Entry("35.70", [Tx(text=await number_of(till, invoice))], ref="0")]
    entries += [Entry("1.00", [Tx(text="?")], ref=f"{n}") for n in range(1, 50)]
    with monkeypatch.context() as patch:
        patch.setattr(till.room.statements, "look", None)
        with pytest.raises(TypeError):
            await read(till, camt("08", Stmt("0.00", entries)))
    assert {line.state for line in await waiting_lines(till)} == {"new"}
    assert (await till.balance("1800"), await till.balance("1463")) == (8470, -8470)
    await till.room.resume()
    assert ({line.state for line in await waiting_lines(till)}, await open_of(till, invoice)) == ({"open"}, 0)
    assert await till.room.statements.look() == 0


async def test_a_line_that_cannot_be_booked_is_left_open_and_keeps_no_other_waiting(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bank(till)
    account = await till.account()
    first, second = [await till.issue(account) for _ in range(2)]
    real = till.finance.settlement.receive_in

    async def refused(conn: Any, came: MoneyIn, *, actor: str) -> Any:
        booked = await real(conn, came, actor=actor)
        if came.apply and came.apply[0][0] == first:
            raise RuleError("no such thing")
        return booked

    monkeypatch.setattr(till.finance.settlement, "receive_in", refused)
    lines = [Entry("35.70", [Tx(text=await number_of(till, i))], ref=i[-4:]) for i in (first, second)]
    found = await read(till, camt("08", Stmt("0.00", lines)))
    assert (found.lines, found.matched) == (2, 1)
    assert [await open_of(till, i) for i in (first, second)] == [3570, 0]
    (left,) = await waiting_lines(till)
    assert (left.state, left.amount) == ("open", euro("35.70"))
    assert await till.balance("1463") == -3570
    await till.assert_sound()


async def test_one_transfer_pays_several_invoices_and_names_of_two_accounts_wait(till: Till) -> None:
    await bank(till)
    account, other = await till.account(), await till.account()
    invoices = [await till.issue(account), await till.issue(account), await till.issue(other)]
    a, b, c = [await number_of(till, i) for i in invoices]
    both = Tx(text=f"{a} and {b[:3]} {b[4:]}", name="x")
    await read(
        till,
        camt("04", Stmt("0.00", [Entry("80.00", [both], ref="1"), Entry("71.40", [Tx(text=f"{a},{c}")], ref="2")])),
    )
    assert [await open_of(till, i) for i in invoices] == [0, 0, 3570]
    (payment,) = await till.finance.payments(account_id=account, after=None, limit=5)
    assert payment.unapplied == euro("8.60")
    (waiting,) = await waiting_lines(till)
    assert waiting.amount == euro("71.40")


@pytest.mark.parametrize("notice_first", [True, False])
async def test_a_notification_details_a_batch_that_the_statement_told_as_a_sum(till: Till, notice_first: bool) -> None:
    await bank(till)
    account = await till.account()
    invoice = await till.issue(account)
    number = await number_of(till, invoice)
    details = [Tx("35.70", text=number), Tx("14.30", text="unclear", name="X")]
    notice = camt("08", Stmt("0", [Entry("50.00", details, ref="B1", batch="COUNTER", count=2)]), kind="054")
    statement = camt("08", Stmt("0.00", [Entry("50.00", [], ref="B1", batch="COUNTER", count=2)]))
    files = [notice, statement] if notice_first else [statement, notice]
    for raw in [*files, *files]:
        await read(till, raw)
    assert await open_of(till, invoice) == 0
    (waiting,) = await waiting_lines(till)
    assert (waiting.amount, waiting.booked_on) == (euro("14.30"), date(2026, 11, 20))
    assert (await till.balance("1800"), await till.balance("1463")) == (5000, -1430)
    await till.assert_sound()


def test_a_creditor_reference_is_iso_11649() -> None:
    assert creditor_reference("INV-2026-000001") == "RF94INV2026000001"
    assert creditor_reference("5390 0754 7034") == "RF18539007547034"  # the example of the standard
    assert creditor_reference("X" * 22) == ""


async def test_a_line_of_a_closed_month_is_booked_today_and_says_what_it_regards(till: Till) -> None:
    await bank(till)
    await till.books.close(date(2026, 11, 1), actor="user:anna", reason="closed")
    early = date(2026, 10, 30)
    await read(till, camt("08", Stmt("0.00", [Entry("1.00", ref="R", on=early)], on=early)))
    entries = await till.books.entries(limit=1)
    assert (entries[0].booked_on, entries[0].regards_on) == (date(2026, 11, 21), early)
