"""Bank files in ZIP archives: each is imported for itself, and nothing that would fill the memory is unpacked."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime

import httpx2
import pytest

from erp.payments.bank import archive, routes
from erp.payments.bank.archive import members
from erp.payments.errors import FileRefused
from tests.support.api import api_client
from tests.support.camt import IBAN, Entry, Stmt, Tx, camt
from tests.support.payments import Till

LIMIT = 1_000_000


def packed(*files: tuple[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as opened:
        for name, content in files:
            opened.writestr(name, content)
    return made.getvalue()


def refused(raw: bytes) -> dict[str, str]:
    return {name: str(content) for name, content in members(raw, LIMIT) if isinstance(content, FileRefused)}


def unpacked(raw: bytes) -> list[tuple[str, bytes]]:
    return [(name, content) for name, content in members(raw, LIMIT) if isinstance(content, bytes)]


def statement(ident: str, opening: str, amount: str, day: int) -> bytes:
    on = datetime(2026, 11, day, tzinfo=UTC).date()
    return camt("08", Stmt(opening, [Entry(amount, [Tx(text="Rent")], ref=ident, on=on)], ident=ident, on=on))


def test_files_are_read_in_the_order_of_their_names_and_folders_are_none() -> None:
    raw = packed(("b.xml", b"2"), ("in/", b""), ("in/c.xml", b"3"), ("a.xml", b"1"))
    assert unpacked(raw) == [("a.xml", b"1"), ("b.xml", b"2"), ("in/c.xml", b"3")]
    assert unpacked(packed(("a.xml", b"1"), how=zipfile.ZIP_STORED)) == [("a.xml", b"1")]


def test_what_unpacks_to_too_much_is_refused_by_name_and_the_others_are_read() -> None:
    raw = packed(("bomb.xml", bytes(LIMIT * 40)), ("fits.xml", bytes(LIMIT)))
    assert len(raw) < LIMIT // 10
    assert refused(raw) == {"bomb.xml": f"it unpacks to more than {LIMIT} octets"}
    assert [name for name, _ in unpacked(raw)] == ["fits.xml"]
    many = packed(*((f"{n:02}.xml", bytes(LIMIT)) for n in range(archive.MOST_TOGETHER + 2)))
    assert (len(unpacked(many)), list(refused(many))) == (archive.MOST_TOGETHER, ["10.xml", "11.xml"])


def test_a_member_that_says_to_be_small_and_is_not_is_refused() -> None:
    raw = packed(("liar.xml", bytes(50_000)))
    size = (50_000).to_bytes(4, "little")
    assert refused(raw.replace(size, (10).to_bytes(4, "little"))) == {
        "liar.xml": "it cannot be unpacked: its octets are not those that were packed"
    }


def test_many_files_a_large_directory_and_what_is_no_archive_are_refused() -> None:
    with pytest.raises(FileRefused, match="holds 1001 files"):
        unpacked(packed(*((f"{n}", b"") for n in range(archive.MOST_MEMBERS + 1)), how=zipfile.ZIP_STORED))
    with pytest.raises(FileRefused, match="too many files"):
        unpacked(packed(*((f"{n:0200}", b"") for n in range(3_000)), how=zipfile.ZIP_STORED))
    whole = packed(("a.xml", b"<a/>"))
    for raw in (packed(), whole[:-30], whole[:10], b"PK\x03\x04", whole + b"x" * 70_000):
        with pytest.raises(FileRefused):
            unpacked(raw)


def test_encrypted_and_strangely_compressed_files_are_refused_by_name() -> None:
    whole = bytearray(packed(("a.xml", b"<a/>")))
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in refused(bytes(whole))["a.xml"]
    for how in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        assert "not read" in refused(packed(("a.xml", b"<a/>"), how=how))["a.xml"]


async def test_each_file_of_an_archive_is_imported_for_itself_and_the_second_time_no_change(till: Till) -> None:
    till.clock.move_to(datetime(2026, 11, 21, 9, tzinfo=UTC))
    async with api_client(routes.endpoints(till.room), clock=till.clock) as api:
        await api.post("/bank-accounts", json={"name": "Testnetz GmbH", "iban": IBAN})
        raw = packed(
            ("C53_2.xml", statement("S2", "10.00", "5.00", 20)),
            ("C53_1.xml", statement("S1", "0.00", "10.00", 19)),
            ("readme.txt", b"Yours sincerely, your bank"),
            ("C53_3.xml", statement("S3", "15.00", "1.00", 21).replace(b"16.00", b"17.00")),
        )
        made = await send(api, raw)
        assert [(f["name"], f["imported"] and f["imported"]["lines"]) for f in made] == [
            ("C53_1.xml", 1), ("C53_2.xml", 1), ("C53_3.xml", None), ("readme.txt", None),
        ]  # fmt: skip
        assert made[1]["imported"]["notes"] == [], "in order, so there is no gap"
        assert "not 17.00" in made[2]["refused"]
        assert made[3]["refused"]
        again = await send(api, raw)
        assert [f["imported"]["is_new"] for f in again[:2]] == [False, False]
        assert len((await api.get("/bank-lines", params={"state": "open"})).json()["items"]) == 2
        kind = {"Content-Type": "application/xml"}
        assert (await api.post("/bank-archives", content=raw, headers=kind)).status_code == 415
        none = await api.post("/bank-archives", content=b"<a/>", headers={"Content-Type": "application/zip"})
        assert (none.status_code, none.json()["code"]) == (422, "bank-file")
    await till.assert_sound()


async def send(api: httpx2.AsyncClient, raw: bytes) -> list[dict[str, object]]:
    answer = await api.post(
        "/bank-archives", params={"name": "C53.zip"}, content=raw, headers={"Content-Type": "application/zip"}
    )
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["files"]
    return found
