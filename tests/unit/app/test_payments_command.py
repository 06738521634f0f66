"""`headend payments …` against the API as it is served, over real services."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.types import ASGIApp
from typer.testing import CliRunner

from controller.app.settling_cli import payments_app
from controller.http.endpoint import Principal
from controller.store.engine import Database
from erp.finance import note_routes, settlement_routes
from erp.finance import routes as finance_routes
from erp.payments import cash_routes, routes
from erp.payments.bank import routes as bank_routes
from erp.payments.sepa import routes as sepa_routes
from erp.payments.sepa.mandates import WantedMandate
from tests.support.api import api_app
from tests.support.camt import IBAN, Entry, Stmt, Tx, camt
from tests.support.finance import NOW, made_entity
from tests.support.http_server import serving
from tests.support.payments import Till

THEIRS = "DE12500105170648489890"


@pytest.fixture
def ids(sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An account with a mandate, an invoice of 35.70, and a payment of 100.00 of another account."""
    shutil.copy(sqlite_template, tmp_path / "headend.db")
    found: dict[str, str] = {}

    async def build() -> ASGIApp:
        till = Till(Database(f"sqlite+aiosqlite:///{tmp_path}/headend.db"))
        await made_entity(till)
        till.clock.move_to(datetime(2026, 11, 21, 9, tzinfo=UTC))
        account, other = await till.account(), await till.account()
        found.update(account=account, other=other, invoice=await till.issue(account))
        found["payment"], _ = await till.pay(other, "100.00", "a")
        third = await till.account()
        found["credited"], found["note"] = await till.issue(third), await till.issue(third, "-10.00")
        await till.room.bank.add_account(
            name="Testnetz", iban=IBAN, bic="", creditor_id="DE98ZZZ09999999999", currency="EUR", actor="user:test"
        )
        mandate = WantedMandate(account, "M-1", "CORE", True, NOW.date(), THEIRS, "Erika")  # type: ignore[arg-type]
        await till.room.mandates.add(mandate, actor="user:test")
        await till.room.cash.add_till("HQ1", actor="user:test")
        rooms = [finance_routes.endpoints(till.finance), settlement_routes.endpoints(till.finance)]
        rooms += [note_routes.endpoints(till.finance)]
        rooms += [m.endpoints(till.room) for m in (routes, bank_routes, sepa_routes, cash_routes)]
        everybody = Principal("user:test", frozenset({"*"}))
        return api_app([e for room in rooms for e in room], principal=everybody, clock=till.clock)

    with serving(build) as url:
        monkeypatch.setenv("HEADEND_URL", url)
        monkeypatch.setenv("HEADEND_TOKEN", "token")
        yield found


def run(*words: str, fails: str = "") -> str:
    result = CliRunner().invoke(payments_app, list(words))
    assert result.exit_code == (2 if fails else 0), result.output
    assert fails in result.output
    return result.output.strip()


def test_a_day_of_payments_by_command(ids: dict[str, str], tmp_path: Path) -> None:
    assert ids["payment"] in run("waiting")
    file = tmp_path / "statement.xml"
    file.write_bytes(camt("08", Stmt("0.00", [Entry("10.00", [Tx(text="?")], ref="1"), Entry("-4.00", ref="2")])))
    assert run("import", str(file)) == "camt.053, new: 1 statements, 2 lines, 0 matched"
    assert "nothing changed" in run("import", str(file))
    run("import", str(tmp_path / "none.xml"), fails="No such file")
    archive = tmp_path / "statements.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(file, "a.xml")
        packed.writestr("readme.txt", "Yours sincerely")
    told = run("import", str(archive), fails="refused: ").splitlines()
    assert told[:3] == ["a.xml:", "camt.053, known, nothing changed: 1 statements, 2 lines, 0 matched", "readme.txt:"]
    line = next(row.split()[0] for row in run("lines").splitlines() if "10.00 EUR" in row)
    rent = next(row.split()[0] for row in run("lines").splitlines() if "-4.00 EUR" in row)
    paid = run("match", line, ids["account"]).split()[1]
    assert run("book", rent, "6300", "--reason", "rent") == "booked to 6300"
    assert run("unmatch", line, "--reason", "no") == "open again"
    assert "to identify 10.00 EUR in 1 lines" in run("bank")
    assert paid
    assert run("ledger", IBAN, "1810") == f"{IBAN} is account 1810"
    assert run("ledger", IBAN, "1200", fails="sum of receivables") != ""
    assert run("settings").endswith("claimed")
    assert run("settings", "--no-claim-return-fee").endswith("borne by us")

    written = tmp_path / "debits.xml"
    collection = run("collect", IBAN, "2026-12-07", "--output", str(written)).split()[0]
    assert b"pain.008.001.08" in written.read_bytes()
    assert run("drop", collection, "--reason", "tomorrow") == "dropped"
    collection = run("collect", "DE02 1203 0000 0000 2020 51", "2026-12-07").split()[0]
    assert run("send", collection) == "sent"
    run("collect", IBAN, "2026-12-07", fails="no open invoice")
    run("collect", THEIRS, "2026-12-07", fails="no bank account of ours")

    refund = run("refund", ids["payment"], "40.00", "bank", "--reason", "moved", "--creditor", "E", "--iban", THEIRS)
    assert run("approve", refund) == "approved"
    out = tmp_path / "refunds.xml"
    run("transfer", IBAN, "2026-11-23", "--output", str(out))
    assert b"pain.001.001.09" in out.read_bytes()
    other = run("refund", ids["payment"], "1.00", "cash", "--reason", "x")
    assert run("refuse", other, "--reason", "no") == "refused"

    run("shift-open", "HQ1", "0.00")
    assert run("cash", "HQ1", ids["account"], "5.00") == "CASH-HQ1-2026-000001"
    assert run("shift-close", "HQ1", "4.00", "--reason", "lost") == "difference: -1.00 EUR"
    run("cash", "HQ2", ids["account"], "5.00", fails="no till is called HQ2")

    assert "events go to" in run("gateway", "stripe", "--webhook-secret", "whsec_12345678", "--api-key", "sk_12345678")
    assert (run("events"), run("unknown")) == ("", "")
    run("retry", "7", fails="no event 7")
    run("write-off", ids["invoice"], "--reason", "x", fails="are open")
    settled = run("credit-matches", ids["note"]).splitlines()
    assert settled[-1].endswith("unapplied: 0.00 EUR")
    freed = run("take-back-credit", settled[0].split()[0], "--reason", "another")
    assert freed == "CN-2026-000001, unapplied: 11.90 EUR"
    assert run("apply-credit", ids["note"], ids["credited"], "5.00").endswith("unapplied: 6.90 EUR")
    assert run("void", ids["payment"], "--reason", "never came").endswith("100.00 EUR")
