"""Direct debits: files that the ISO 20022 schemas accept, each invoice in one of them, and what banks answer."""

from __future__ import annotations

import asyncio
import io
import zipfile
from datetime import UTC, date, datetime
from importlib import resources

import pytest
from lxml import etree
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, InvoiceId
from erp.finance.model import Wanted
from erp.payments.errors import FileRefused, NeedsAnother, UnknownCollection, WrongState
from erp.payments.refunds import WantedRefund
from erp.payments.sepa import files, report, request
from erp.payments.sepa.days import is_bank_day, next_bank_day
from erp.payments.sepa.mandates import WantedMandate
from erp.payments.sepa.rows import Mandate
from erp.payments.tables import collection_item
from tests.support.camt import IBAN, Entry, Stmt, Tx, camt
from tests.support.en16931 import faults
from tests.support.pain import rejection
from tests.support.payments import Till, euro

THEIRS = "DE12500105170648489890"
COLLECT_ON = date(2026, 12, 7)


def assert_valid(content: bytes, form: str) -> etree._Element:
    """Against the schema of ISO 20022, as the package sepaxml ships it."""
    schema = resources.files("sepaxml").joinpath(f"schemas/{form}.xsd").read_bytes()
    document = etree.fromstring(content)
    etree.XMLSchema(etree.fromstring(schema)).assertValid(document)
    return document


def texts(document: etree._Element, name: str) -> list[str]:
    return [str(e.text) for e in document.iter() if etree.QName(e).localname == name]


async def our_account(till: Till, creditor_id: str = "DE98ZZZ09999999999") -> str:
    till.clock.move_to(datetime(2026, 11, 21, 9, tzinfo=UTC))
    made = await till.room.bank.add_account(
        name="Testnetz & Söhne GmbH", iban=IBAN, bic="BYLADEM1001", creditor_id=creditor_id, currency="EUR",
        actor="user:test",
    )  # fmt: skip
    return made.bank_account_id


async def mandate(till: Till, account: AccountId, reference: str, **more: object) -> Mandate:
    wanted = WantedMandate(account, reference, "CORE", True, date(2026, 1, 31), THEIRS, "Łukasz Ångström", **more)  # type: ignore[arg-type]
    return await till.room.mandates.add(wanted, actor="user:anna")


async def open_of(till: Till, *invoices: InvoiceId) -> list[int]:
    return [(await till.finance.invoice(i)).open_minor for i in invoices]


@pytest.mark.parametrize("form", files.FORMS)
async def test_a_file_is_valid_complete_and_the_same_octets(till: Till, form: str) -> None:
    ours = await our_account(till)
    one, two, none = [await till.account() for _ in range(3)]
    await mandate(till, one, "M-1")
    await till.room.mandates.add(
        WantedMandate(two, "M-2", "B2B", False, date(2026, 5, 1), THEIRS, "Firma", "INGDDEFFXXX"), actor="user:anna"
    )
    for account in (one, one, two, none):
        await till.issue(account)
    made = await till.room.sepa.collect(ours, COLLECT_ON, form, actor="user:anna")
    document = assert_valid(made.content.encode(), form)
    assert (made.items, str(made.total), texts(document, "CtrlSum")[0]) == (3, "107.10 EUR", "107.10")
    assert texts(document, "SeqTp") == ["OOFF", "FRST", "RCUR"]
    assert texts(document, "MndtId") == ["M-2", "M-1", "M-1"]
    assert "Lukasz Angstroem" in texts(document, "Nm")
    assert texts(document, "ReqdColltnDt") == ["2026-12-07"] * 3
    creditor = files.Party("Testnetz & Söhne GmbH", IBAN, "BYLADEM1001")
    debit = files.Debit("e", euro("1.00"), creditor, "M", COLLECT_ON, "CORE", "RCUR", "t")
    args = (form, "id", till.clock.now(), creditor, "DE98ZZZ09999999999", COLLECT_ON, [debit])
    assert files.direct_debits(*args) == files.direct_debits(*args)


async def test_an_invoice_is_never_in_two_files_at_once(till: Till) -> None:
    ours = await our_account(till)
    account = await till.account()
    await mandate(till, account, "M-1")
    invoice = await till.issue(account)
    made = await asyncio.gather(
        *(till.room.sepa.collect(ours, COLLECT_ON, actor="user:anna") for _ in range(3)), return_exceptions=True
    )
    assert sum(isinstance(m, RuleError) for m in made) == 2
    (collection,) = await till.room.sepa.collections(before=None, limit=9)
    (item,) = await till.room.sepa.items(collection.collection_id)
    with pytest.raises(IntegrityError):
        async with till.database.begin() as conn:
            row = {c.name: getattr(item, c.name, None) for c in collection_item.c}
            await conn.execute(insert(collection_item).values(row | {"item_id": "x", "changed_at": till.clock.now()}))
    await till.room.sepa.drop(collection.collection_id, actor="user:anna", reason="wrong day")
    with pytest.raises(WrongState):
        await till.room.sepa.send(collection.collection_id, actor="user:anna")
    again = await till.room.sepa.collect(ours, COLLECT_ON, actor="user:anna")
    for _ in range(2):
        await till.room.sepa.send(again.collection_id, actor="user:anna")
    assert await open_of(till, invoice) == [0]
    assert await till.balance("1461") == 3570
    with pytest.raises(RuleError, match="no open invoice"):
        await till.room.sepa.collect(ours, COLLECT_ON, actor="user:anna")


async def test_a_mandate_that_ends_is_used_for_the_last_time_and_the_bank_is_told(till: Till) -> None:
    ours = await our_account(till)
    account = await till.account()
    signed = await mandate(till, account, "M-1")
    sepa, mandates = till.room.sepa, till.room.mandates

    async def collected(send: bool = True) -> tuple[str, list[str]]:
        made = await sepa.collect(ours, COLLECT_ON, actor="user:anna")
        if send:
            await sepa.send(made.collection_id, actor="user:anna")
        return made.collection_id, texts(assert_valid(made.content.encode(), made.form), "SeqTp")

    async def state() -> tuple[str, int]:
        (found,) = await mandates.all(account_id=account, after=None, limit=9)
        return found.state, found.collected

    await till.issue(account)
    assert (await collected())[1] == ["FRST"]
    ended = await mandates.end(signed.mandate_id, actor="user:anna", reason="moves", after_last=True)
    assert ended.state == "ending"
    await till.issue(account)
    invoice = await till.issue(account)
    dropped, sequences = await collected(send=False)
    assert sequences == ["RCUR", "FNAL"], "the last comes last"
    await till.later(minutes=1)
    await till.issue(account)
    with pytest.raises(RuleError, match="no open invoice"):
        await sepa.collect(ours, COLLECT_ON, actor="user:anna")
    await sepa.drop(dropped, actor="user:anna", reason="one more came")
    sent, sequences = await collected()
    assert (sequences, await state()) == (["RCUR", "FNAL"], ("ended", 4))
    (final,) = [i for i in await sepa.items(sent) if i.sequence == "FNAL"]
    assert final.invoice_id != invoice, "it is the latest one now"
    await sepa.report(rejection(sent, final.item_id, reason="AM04"), actor="user:anna")
    assert await state() == ("ending", 3), "it was not collected for the last time"
    assert (await collected())[1] == ["FNAL"]
    with pytest.raises(WrongState):
        await mandates.end(signed.mandate_id, actor="user:anna", reason="moves", after_last=True)
    await till.assert_sound()


async def test_the_bank_credits_the_sum_and_returns_one_with_its_fee(till: Till) -> None:
    ours = await our_account(till)
    accounts = [await till.account() for _ in range(3)]
    invoices = [await till.issue(a) for a in accounts]
    mandates = [await mandate(till, a, f"M-{n}") for n, a in enumerate(accounts)]
    made = await till.room.sepa.collect(ours, COLLECT_ON, actor="user:anna")
    await till.room.sepa.send(made.collection_id, actor="user:anna")
    items = await till.room.sepa.items(made.collection_id)
    late = {item.account_id: item.item_id for item in items}
    lump = Entry("107.10", [], ref="B1", batch=f"{made.message_id}-1", count=3, on=COLLECT_ON)
    till.clock.move_to(datetime(2026, 12, 10, 9, tzinfo=UTC))
    found = await till.room.statements.read(camt("08", Stmt("0.00", [lump], on=COLLECT_ON)), "1", actor="user:anna")
    assert (found.matched, await till.balance("1461"), await till.balance("1800")) == (1, 0, 10710)
    back = Tx("35.70", end_to_end=late[accounts[0]], reason="AM04", charge="3.00", name="Łukasz")
    inclusive = Tx(end_to_end=late[accounts[1]], reason="AC04")
    on = date(2026, 12, 9)
    entries = [
        Entry("-38.70", [back], ref="R1", on=on, code="PMNT/IDDT/UPDD", reversal=True),
        Entry("-40.00", [inclusive], ref="R2", on=on, code="PMNT/IDDT/UPDD", reversal=True),
    ]
    await till.room.statements.read(camt("02", Stmt("107.10", entries, ident="2", on=on)), "2", actor="user:anna")
    assert await open_of(till, *invoices) == [3570, 3570, 0]
    claims = [i for i in await till.finance.invoices(Wanted(state="open"), limit=9) if i.invoice_id not in invoices]
    assert {(i.account_id, i.total, i.tax.minor) for i in claims} == {
        (accounts[0], euro("3.00"), 0), (accounts[1], euro("4.30"), 0),
    }  # fmt: skip
    _, xml = await till.finance.ubl(claims[0].invoice_id)
    assert faults("ubl-invoice", xml) == []
    assert (await till.balance("6855"), await till.balance("1463"), await till.balance("1800")) == (300 + 430, 0, 2840)
    states = {m.reference: m.state for m in await till.room.mandates.all(account_id=None, after=None, limit=9)}
    assert states == {"M-0": "active", "M-1": "ended", "M-2": "active"}
    again = await till.room.sepa.collect(ours, date(2026, 12, 14), actor="user:anna")
    assert [i.account_id for i in await till.room.sepa.items(again.collection_id)] == [accounts[0]]
    assert again.items == 1, "the claim is not due yet"
    assert texts(etree.fromstring(again.content.encode()), "SeqTp") == ["RCUR"]
    assert mandates[0].collected == 0
    await till.assert_sound()


@pytest.mark.parametrize("id_of", ["PmtInfId", "MsgId"])
async def test_a_bank_may_tell_the_sum_of_a_file_as_its_one_transaction(till: Till, id_of: str) -> None:
    """German banks do, with the file's id in the references and nobody's end-to-end id."""
    ours = await our_account(till)
    account = await till.account()
    await mandate(till, account, "M-1")
    for _ in range(2):
        await till.issue(account)
    made = await till.room.sepa.collect(ours, COLLECT_ON, actor="user:anna")
    await till.room.sepa.send(made.collection_id, actor="user:anna")
    said = made.message_id + ("-1" if id_of == "PmtInfId" else "")
    raw = camt(
        "02", Stmt("0.00", [Entry("71.40", [Tx("71.40", text="SAMMLER")], ref="B1", on=COLLECT_ON)], on=COLLECT_ON)
    )
    raw = raw.replace(b"<Refs>", f"<Refs><{id_of}>{said}</{id_of}>".encode())
    till.clock.move_to(datetime(2026, 12, 10, 9, tzinfo=UTC))
    found = await till.room.statements.read(raw, "1", actor="user:anna")
    assert (found.matched, await till.balance("1461"), await till.balance("1463")) == (1, 0, 0)
    await till.assert_sound()


async def test_a_fee_is_not_claimed_where_the_entity_bears_it(till: Till) -> None:
    ours = await our_account(till)
    account = await till.account()
    await mandate(till, account, "M-1")
    invoice = await till.issue(account)
    decided = await till.room.entity_settings.put(None, claim_return_fee=False, actor="user:anna")
    assert await till.room.entity_settings.of(decided.entity_id) == decided
    made = await till.room.sepa.collect(ours, COLLECT_ON, actor="user:anna")
    await till.room.sepa.send(made.collection_id, actor="user:anna")
    (item,) = await till.room.sepa.items(made.collection_id)
    till.clock.move_to(datetime(2026, 12, 10, 9, tzinfo=UTC))
    back = Entry("-37.70", [Tx(end_to_end=item.item_id, reason="AM04")], ref="R1", on=date(2026, 12, 9))
    await till.room.statements.read(camt("08", Stmt("0.00", [back], on=date(2026, 12, 9))), "x", actor="user:anna")
    assert await open_of(till, invoice) == [3570]
    assert [i.total.minor for i in await till.finance.invoices(Wanted(), limit=9)] == [3570]
    assert await till.balance("6855") == 200
    await till.assert_sound()


@pytest.mark.parametrize("status", ["PDNG", "INFO"])
async def test_a_return_that_is_announced_and_not_booked_opens_nothing(till: Till, status: str) -> None:
    ours = await our_account(till)
    account = await till.account()
    await mandate(till, account, "M-1")
    invoice = await till.issue(account)
    made = await till.room.sepa.collect(ours, COLLECT_ON, actor="user:anna")
    await till.room.sepa.send(made.collection_id, actor="user:anna")
    (item,) = await till.room.sepa.items(made.collection_id)
    back = Entry("-35.70", [Tx(end_to_end=item.item_id, reason="AM04")], ref="R1", status=status, on=COLLECT_ON)
    other = Entry("1.00", ref="R2", on=COLLECT_ON)
    await till.room.statements.read(camt("08", Stmt("0", [back, other]), kind="054"), "n", actor="user:anna")
    assert await open_of(till, invoice) == [0]
    with pytest.raises(FileRefused, match="no booked entry"):
        await till.room.statements.read(camt("08", Stmt("0", [back]), kind="054"), "m", actor="user:anna")


@pytest.mark.parametrize("notice_first", [True, False])
async def test_a_return_told_by_notice_and_by_statement_is_booked_once(till: Till, notice_first: bool) -> None:
    ours = await our_account(till)
    account = await till.account()
    await mandate(till, account, "M-1")
    invoice = await till.issue(account)
    made = await till.room.sepa.collect(ours, COLLECT_ON, actor="user:anna")
    await till.room.sepa.send(made.collection_id, actor="user:anna")
    (item,) = await till.room.sepa.items(made.collection_id)
    till.clock.move_to(datetime(2026, 12, 10, 9, tzinfo=UTC))
    on = date(2026, 12, 9)
    back = Entry("-37.70", [Tx(end_to_end=item.item_id, reason="AM04")], ref="R1", on=on)
    credit = Entry("35.70", [Tx(end_to_end=item.item_id)], ref="R0", on=on)
    notice = camt("08", Stmt("0", [back], on=on), kind="054")
    statement = camt("08", Stmt("0.00", [credit, back], on=on))
    for raw in [notice, statement, notice] if notice_first else [statement, notice]:
        await till.room.statements.read(raw, "x", actor="user:anna")
    assert await open_of(till, invoice) == [3570]
    totals = [i.total for i in await till.finance.invoices(Wanted(state="open"), limit=9)]
    assert sorted(t.minor for t in totals) == [200, 3570], "the fee is claimed once"
    balances = [await till.balance(code) for code in ("1461", "1463", "1800", "6855")]
    assert balances == [0, 0, -200, 200]
    await till.assert_sound()


async def test_a_report_rejects_one_item_a_block_or_the_whole_file_once(till: Till) -> None:
    ours = await our_account(till)
    accounts = [await till.account() for _ in range(2)]
    invoices = [await till.issue(a) for a in accounts]
    for n, account in enumerate(accounts):
        await mandate(till, account, f"M-{n}")
    made = await till.room.sepa.collect(ours, COLLECT_ON, actor="user:anna")
    await till.room.sepa.send(made.collection_id, actor="user:anna")
    items = {i.account_id: i.item_id for i in await till.room.sepa.items(made.collection_id)}
    one = rejection(made.message_id, items[accounts[0]])
    assert [await till.room.sepa.report(one, actor="user:anna") for _ in range(2)] == [1, 0]
    assert await open_of(till, *invoices) == [3570, 0]
    first = await till.room.mandates.all(account_id=accounts[0], after=None, limit=1)
    assert (first[0].state, first[0].collected) == ("ended", 0)
    # The other one is listed, too, without a status of its own: that of its block holds.
    block = rejection(made.message_id, items[accounts[1]], block=f"{made.message_id}-1")
    block = block.replace(b"<TxSts>RJCT</TxSts>", b"")
    assert await till.room.sepa.report(block, actor="user:anna") == 1
    assert (await open_of(till, *invoices), await till.balance("1461")) == ([3570, 3570], 0)
    assert await till.room.sepa.report(rejection(made.message_id, group="RJCT"), actor="user:anna") == 0
    with pytest.raises(UnknownCollection):
        await till.room.sepa.report(rejection("other", group="RJCT"), actor="user:anna")
    for wrong in (b"<a/>", b"<Document><CstmrPmtStsRpt/></Document>"):
        with pytest.raises(FileRefused):
            report.parse(wrong, 1000)
    await till.assert_sound()


async def test_reports_in_an_archive_are_read_beside_statements(till: Till) -> None:
    ours = await our_account(till)
    account = await till.account()
    invoice = await till.issue(account)
    await mandate(till, account, "M-1")
    made = await till.room.sepa.collect(ours, COLLECT_ON, actor="user:anna")
    await till.room.sepa.send(made.collection_id, actor="user:anna")
    members = {
        "1.xml": rejection(made.message_id, group="RJCT"),
        "2.xml": rejection("other", group="RJCT"),
        "3.xml": camt("08", Stmt("0.00", [Entry("1.00", [Tx(text="?")], ref="1")])),
        "4.xml": b"<pain.002/>",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    for rejected in (1, 0):  # the same again changes nothing
        found = await till.room.statements.read_archive(packed.getvalue(), "x.zip", actor="user:anna")
        assert [m.rejected for m in found] == [rejected, None, None, None]
        assert [bool(m.refused) for m in found] == [False, True, False, True]
        assert found[2].imported is not None
    assert await open_of(till, invoice) == [3570]
    await till.assert_sound()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"iban": "DE12500105170648489891"}, "iban"),
        ({"bic": "NOBIC"}, "bic"),
        ({"signed_on": date(2027, 1, 1)}, "mandate-signed"),
        ({"reference": "M 1"}, "mandate-reference"),
    ],
)
async def test_a_wrong_mandate_is_refused(till: Till, changed: dict[str, object], code: str) -> None:
    await our_account(till)
    values = {
        "account_id": await till.account(), "reference": "M-1", "scheme": "CORE", "recurrent": True,
        "signed_on": date(2026, 1, 1), "iban": THEIRS, "debtor": "E",
    }  # fmt: skip
    with pytest.raises(RuleError) as refused:
        await till.room.mandates.add(WantedMandate(**(values | changed)), actor="user:anna")  # type: ignore[arg-type]
    assert refused.value.code == code


async def test_a_wrong_creditor_identifier_and_days_without_banks_are_refused(till: Till) -> None:
    with pytest.raises(RuleError, match="creditor identifier"):
        await our_account(till, "DE97ZZZ09999999999")
    ours = await our_account(till, "")
    with pytest.raises(RuleError, match="has no SEPA creditor"):
        await till.room.sepa.collect(ours, COLLECT_ON, actor="user:anna")
    assert [is_bank_day(date(2026, 12, d)) for d in (24, 25, 26, 27, 28)] == [True, False, False, False, True]
    assert (next_bank_day(date(2027, 3, 26)), is_bank_day(date(2027, 5, 3))) == (date(2027, 3, 30), True)


def test_the_code_of_a_payment_request_is_the_guidelines() -> None:
    text = request.payload(files.Party("Testnetz & Söhne", IBAN, "BYLADEM1001"), euro("35.70"), "INV-2026-000001")
    assert text.split("\n") == [
        "BCD", "002", "1", "SCT", "BYLADEM1001", "Testnetz + Soehne", IBAN, "EUR35.70", "", "RF94INV2026000001",
    ]  # fmt: skip
    assert request.drawn(text).count("<rect") > 100
    with pytest.raises(RuleError):
        request.payload(files.Party("x", IBAN), euro("0.00"), "1")


async def test_refunds_by_bank_go_in_one_valid_file_and_are_done_when_the_statement_says_so(till: Till) -> None:
    ours = await our_account(till)
    account = await till.account()
    payment_id, _ = await till.pay(account, "100.00", "a")
    wanted = WantedRefund(payment_id, euro("80.00"), "bank", "moved out", "Erika Beispiel", THEIRS)  # type: ignore[arg-type]
    asked = await till.room.refunds.request(wanted, actor="user:anna")
    with pytest.raises(NeedsAnother):
        await till.room.refunds.approve(asked.refund_id, actor="user:anna")
    with pytest.raises(RuleError, match="no refund by bank"):
        await till.room.transfers.make(ours, date(2026, 11, 23), actor="user:bert")
    await till.room.refunds.approve(asked.refund_id, actor="user:bert")
    made = await till.room.transfers.make(ours, date(2026, 11, 23), actor="user:bert")
    document = assert_valid(await till.room.transfers.content(made.file_id), files.TRANSFER_FORM)
    assert (texts(document, "EndToEndId"), texts(document, "CtrlSum")) == ([asked.refund_id], ["80.00"] * 2)
    assert ((await till.room.refunds.get(asked.refund_id)).state, await till.balance("1462")) == ("sent", -8000)
    with pytest.raises(RuleError, match="no refund by bank"):
        await till.room.transfers.make(ours, date(2026, 11, 23), actor="user:bert")
    till.clock.move_to(datetime(2026, 11, 24, 9, tzinfo=UTC))
    out = Entry("-80.00", [Tx(end_to_end=asked.refund_id)], ref="R1", on=date(2026, 11, 23), code="PMNT/ICDT/ESCT")
    await till.room.statements.read(camt("08", Stmt("100.00", [out], on=date(2026, 11, 23))), "x", actor="user:anna")
    assert ((await till.room.refunds.get(asked.refund_id)).state, await till.balance("1462")) == ("done", 0)
    await till.assert_sound()
