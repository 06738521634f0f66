"""What people get: in their language, on any number of pages, with a code to pay by, and as PDF/A-3 for Factur-X."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader
from reportlab.pdfbase import pdfmetrics

from controller.domain.charge import Charge, ChargeKind, Missing
from controller.domain.money import Money
from erp.finance.document import render
from erp.finance.einvoice import facturx
from erp.finance.einvoice.model import of_content
from erp.finance.line_notes import note_of
from erp.finance.paper import FONT, printable, register_fonts, text
from erp.finance.payment_code import epc
from erp.finance.words import LANGUAGES, texts_of, words_of
from tests.support.charges import charge
from tests.support.papers import BUYER, content

pages_of = shutil.which("pdftotext")
reads_codes = shutil.which("zbarimg")


def said(pdf: bytes) -> list[str]:
    """The text of each page, as it is laid out."""
    if pages_of is None:
        pytest.skip("pdftotext is missing: apt-get install poppler-utils")
    found = subprocess.run([pages_of, "-layout", "-", "-"], input=pdf, capture_output=True, check=True)
    return found.stdout.decode().split("\f")[:-1]


def paper(charges: Sequence[Charge], language: str = "en", **changes: Any) -> list[str]:
    buyer = replace(BUYER, contact=replace(BUYER.contact, language=language))
    return said(render(content(charges, buyer=buyer) | changes))


def test_bins_that_are_missing_stand_below_their_line_in_every_language() -> None:
    """The first five of seven gaps, in the account's time; where the clocks are set, with the difference to UTC."""
    begin = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # the hour from 02:00 comes twice that night
    gaps = [
        ("", begin, begin + timedelta(minutes=60)),
        ("sw1/a", begin + timedelta(hours=3), begin + timedelta(hours=25)),
    ]
    gaps += [("", begin + timedelta(days=n), begin + timedelta(days=n, minutes=5)) for n in range(2, 7)]
    missing = Missing(17, 8640, tuple(gaps))
    line = replace(charge(3000), missing=missing)
    for language in LANGUAGES:
        (page,) = paper([line], language)
        told, words = " ".join(page.split()), texts_of(language)
        assert words["missing"].format(bins=17, expected=words_of(language).number(Decimal(8640))).split()[0] in told
        assert "02:30+02:00" in told
        assert words["more-missing"].format(count=2).split()[-1] in told
    note = note_of(content([line])["lines"][0], words_of("en_GB"))
    assert note.startswith(
        "17 of 8,640 five-minute values are missing and were left out: 25 Oct 2026 02:30+02:00 – 02:30+01:00; "
    )
    assert "port sw1/a 25 Oct 2026 04:30 – 26 Oct 2026 02:30; 27 Oct 2026 01:30 – 01:35" in note
    assert note.endswith("; and 2 more: see usage")
    one = replace(line, missing=replace(missing, bins=0, gaps=tuple(gaps[1:2])))
    assert note_of(content([one])["lines"][0], words_of("en")).startswith(
        "Five-minute values of single ports are missing: port"
    )
    assert note_of(content([charge(100)])["lines"][0], words_of("en")) == ""


def test_every_language_says_everything_with_the_same_blanks() -> None:
    english = texts_of("en")
    for language in LANGUAGES:
        told = texts_of(language)
        assert told.keys() == english.keys(), language
        for key, words in told.items():
            assert sorted(re.findall(r"{\w+}", words)) == sorted(re.findall(r"{\w+}", english[key])), (language, key)


@pytest.mark.parametrize(
    ("language", "title", "item", "amount", "day"),
    [
        ("en", "Invoice", "Fibre", "€1,234.50", "Oct 1, 2026"),
        ("de", "Rechnung", "Glasfaser", "1.234,50 €", "01.10.2026"),
        ("de-AT", "Rechnung", "Glasfaser", "1.234,50", "01.10.2026"),
        ("fr", "Facture", "Fibre optique", "1 234,50 €", "1 oct. 2026"),
        ("es", "Factura", "Fibre", "1.234,50 €", "1 oct 2026"),
        ("pt-PT", "Fatura", "Fibre", "234,50 €", "01/10/2026"),
        ("pl", "Faktura", "Światłowód", "234,50 zł", "1 paź 2026"),
        ("it", "Fattura", "Fibre", "1.234,50 €", "1 ott 2026"),
        ("xx", "Invoice", "Fibre", "1,234.50", "2026"),
    ],
)
def test_papers_are_in_the_language_of_the_customer(
    language: str, title: str, item: str, amount: str, day: str
) -> None:
    names = (("de", "Glasfaser"), ("fr", "Fibre optique"), ("pl", "Światłowód"))
    currency = "PLN" if language == "pl" else "EUR"
    sold = replace(charge(123450, "0"), item="Fibre", names=names, net=Money(123450, currency))
    (page,) = paper([sold], language)
    flat = page.replace("\u00a0", " ").replace("\u202f", " ")
    for wanted in (title, item, amount, day):
        assert wanted in flat, wanted


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "¥3,000"), ("KWD", "KWD 3.000"), ("EUR", "€30.00")])
def test_amounts_have_the_decimals_of_their_currency(currency: str, amount: str) -> None:
    (page,) = paper([replace(charge(3000, "0"), net=Money(3000, currency), unit_price=Money(3000, currency).amount)])
    assert amount in page.replace("\u00a0", " ")


def test_five_hundred_lines_are_carried_over_from_page_to_page() -> None:
    lines = [replace(charge(100 + n, n=n), item=f"Line {n}", group=f"Site {n // 125}") for n in range(500)]
    pages = paper(lines)
    assert len(pages) > 20
    so_far = brought = 0
    for page in pages:
        if brought:
            assert re.findall(r"Brought forward +(\S+)", page) == [f"€{brought / 100:,.2f}"]
        shown = [int(n) for n in re.findall(r"Line (\d+) ", page)]
        so_far += sum(100 + n for n in shown)
        carried = re.search(r"Carried forward +(\S+)", page)
        assert carried is None or carried.group(1) == f"€{so_far / 100:,.2f}"
        brought = so_far if carried else 0
    assert so_far == sum(c.net.minor for c in lines)
    text = "\n".join(pages)
    for site in range(4):
        total = sum(100 + n for n in range(site * 125, (site + 1) * 125))
        assert re.search(rf"Subtotal Site {site} +€{total / 100:,.2f}", text), site
    assert sum(f"Line {n} " in text for n in range(500)) == 500


def test_a_heading_never_stands_alone_at_the_foot_of_a_page() -> None:
    lines = [replace(charge(100, n=n), group=f"Site {n:02d}") for n in range(60)]
    pages = paper(lines)
    assert len(pages) > 1
    for page in pages:
        before = page.split("Carried forward")[0].rstrip().splitlines()
        assert not re.search(r"^ *Site \d\d$", before[-1]), before[-1]


def test_prices_with_tax_are_shown_with_it_and_the_tax_as_part_of_the_total() -> None:
    sold = replace(charge(3570), tax_included=True, unit_price=Decimal("35.70"))
    (page,) = paper([sold], prepaid_minor=1000)
    for wanted in ("incl. tax", r"Total +€35\.70", r"including VAT 19.% on €30\.00 +€5\.70", r"To pay +€25\.70"):
        assert re.search(wanted, page), wanted
    (mixed,) = paper([sold, charge(1000, "7", n=1)])
    for wanted in (r"Net +€40\.00", r"VAT 19.% on €30\.00 +€5\.70", r"Total +€46\.40"):
        assert re.search(wanted, mixed), wanted


def test_a_promotion_says_when_it_ends_and_tax_that_is_not_due_says_why() -> None:
    off = replace(charge(-500, n=1), ends_on=date(2027, 3, 1))
    (page,) = paper([charge(3000), off, replace(charge(100, "0", n=2), tax_category="AE")])
    assert "Discount (until Feb 28, 2027)" in page
    assert "Reverse charge: the customer owes the tax." in page


def test_a_credit_note_says_what_it_takes_back() -> None:
    (page,) = paper([charge(-3000)], regards="INV-2026-000007", reason="outage")
    for wanted in ("Credit note INV", "For invoice INV-2026-000007", "Reason: outage", "will be set off"):
        assert wanted in page
    assert "Due" not in page


@pytest.mark.parametrize(
    ("language", "title"),
    [("en", "Debit note INV"), ("de", "Nachberechnung INV"), ("fr", "Note de débit INV"), ("pl", "Nota debetowa INV")],
)
def test_a_debit_note_says_what_it_adds_to(language: str, title: str) -> None:
    (page,) = paper([replace(charge(3000), adjustment=True)], language, regards="INV-2026-000007")
    assert title in page
    assert "INV-2026-000007" in page


def test_what_is_paid_asks_for_nothing() -> None:
    (page,) = paper([charge(3000)], prepaid_minor=3570)
    assert "has been paid" in page


def test_a_bank_reads_the_code(tmp_path: Path) -> None:
    if reads_codes is None or shutil.which("pdftoppm") is None:
        pytest.skip("zbarimg or pdftoppm is missing: apt-get install zbar-tools poppler-utils")
    (tmp_path / "a.pdf").write_bytes(render(content([charge(3000)])))
    picture = tmp_path / "a"
    subprocess.run(["pdftoppm", "-r", "150", "-png", "-singlefile", tmp_path / "a.pdf", picture], check=True)
    read = subprocess.run(
        [reads_codes, "--raw", "-q", "--nodbus", f"{picture}.png"], capture_output=True, check=True, text=True
    )
    assert read.stdout.rstrip("\n").split("\n") == [
        "BCD", "002", "1", "SCT", "", "Testnetz GmbH", "DE02120300000000202051", "EUR35.70", "", "", "INV-2026-000001",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("iban", "amount"), [("", Money(100, "EUR")), ("DE1", Money(100, "USD")), ("DE1", Money(0, "EUR"))]
)
def test_there_is_no_code_for_what_sepa_cannot_transfer(iban: str, amount: Money) -> None:
    assert epc(name="A", iban=iban, amount=amount, number="1") is None


def test_factur_x_keeps_the_rules_of_pdf_a_3() -> None:
    """Rules of ISO 19005-3 level B that a producer breaks most easily, by their clauses."""
    told = content([charge(3000), replace(charge(500, "7", ChargeKind.USAGE, 1), group="Łódź")])
    reader = PdfReader(io.BytesIO(facturx.render(of_content(told), render(told), language="de-DE")))
    root: Any = reader.trailer["/Root"]
    assert reader.pdf_header in {f"%PDF-1.{n}" for n in range(8)}  # 6.1.2
    assert len(reader.trailer["/ID"]) == 2  # type: ignore[arg-type]  # 6.1.3
    assert not reader.is_encrypted
    (intent,) = root["/OutputIntents"]  # 6.2.3
    profile = intent["/DestOutputProfile"]
    assert (intent["/S"], profile["/N"]) == ("/GTS_PDFA1", 3)
    assert profile.get_data()[36:40] == b"acsp"
    fonts = [font.get_object() for page in reader.pages for font in page["/Resources"]["/Font"].values()]  # type: ignore[index,union-attr]
    assert fonts
    for font in fonts:  # 6.2.11.4.1: all of them are in the file; 6.2.11.6: symbolic ones have no encoding
        assert "/FontFile2" in font["/FontDescriptor"], font["/BaseFont"]
        assert "/Encoding" not in font
        assert "/ToUnicode" in font
    for page in reader.pages:  # 6.2.10: nothing is transparent here
        for state in page["/Resources"].get("/ExtGState", {}).values():  # type: ignore[union-attr]
            assert (state.get("/ca", 1), state.get("/CA", 1), state.get("/SMask", "/None")) == (1, 1, "/None")
        assert "/AA" not in page
    assert not {"/OpenAction", "/AA", "/AcroForm"} & root.keys()  # 6.5.1
    metadata = root["/Metadata"].get_object()
    assert (metadata["/Type"], metadata["/Subtype"]) == ("/Metadata", "/XML")  # 6.6.2.1
    xmp = ET.fromstring(re.sub(rb"<\?xpacket.*?\?>", b"", metadata.get_data()).strip())
    spaces = {"a": "http://www.aiim.org/pdfa/ns/id/", "p": "http://ns.adobe.com/pdf/1.3/"}
    assert [xmp.findtext(f".//a:{name}", namespaces=spaces) for name in ("part", "conformance")] == ["3", "B"]  # 6.6.4
    assert xmp.findtext(".//p:Producer", namespaces=spaces) == reader.metadata.producer  # type: ignore[union-attr]
    (attached,) = root["/AF"].get_object()  # 6.8: the file is associated, named twice, and has a type
    spec = attached.get_object()
    assert (spec["/AFRelationship"], spec["/F"], spec["/UF"]) == ("/Data", "factur-x.xml", "factur-x.xml")
    assert spec["/EF"]["/F"]["/Subtype"] == "/text/xml"
    assert "/ModDate" in spec["/EF"]["/F"]["/Params"]


def test_amounts_of_any_locale_can_be_written() -> None:
    for locale in ("ja_JP", "ar_EG", "hi_IN", "tr_TR", "sv_SE"):
        assert words_of(locale).money(-123456, "EUR")


def test_characters_that_no_font_has_are_marked_and_never_lost() -> None:
    page = paper([charge(3000)], seller={**content([charge(3000)])["seller"], "name": "𝖠-Netz 😀 \U0001fae8 株"})[0]
    assert "𝖠-Netz 😀 � �" in page, "the bold font lacks the first: the other one prints it"
    assert paper([replace(charge(3000), item="東京 \ue000 ㈱ Glasfaser")])[0].count("�") == 4
    register_fonts()
    assert printable("👨🏽 नि\x07") == "� �", "a tone and a vowel's sign have no shape of their own"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_whatever_a_text_holds_is_printed_or_marked(value: str) -> None:
    register_fonts()
    shown = printable(value)
    known = pdfmetrics.getFont(FONT).face.charToGlyph
    assert all(ord(c) in known for c in shown)
    for character in value:
        has_shape = unicodedata.category(character)[0] in "LNPS" and not 0x1F3FB <= ord(character) <= 0x1F3FF
        assert not has_shape or printable(character), hex(ord(character))
    assert text(value, size=9, bold=True).wrap(200, 200)
