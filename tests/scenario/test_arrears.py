"""An unpaid account on a running controller: reminded by mail, its line slowed down and put into the garden by CoA, its
other services off by their own policy, and all of it free again within seconds of the payment; killed in between, it
goes on without saying anything twice.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from lab.bras.session import Session
from tests.support.controller import Controller
from tests.support.radclient import MISSING, RADCLIENT, radclient
from tests.support.road import (
    LINE,
    SERIAL,
    START,
    Network,
    billed,
    move,
    offering,
    ordered,
    register_network,
    rows,
)
from tests.support.smtp import MailServer

SERVICES = {"throttle": {"tv": "suspend"}, "garden": {"hosting": "suspend", "voice": "suspend"}}
"""What steps take beside the line."""
PROBE_SECRET = "s3cret-of-the-probe"
RESTORED_WITHIN_S = 10.0
"""Row A14."""


@pytest.fixture
def controller(controller: Controller, mail_server: MailServer) -> Controller:
    """With a mail server; started anew to know it."""
    controller.kill()
    controller.environment["HEADEND_SMTP_URL"] = mail_server.url
    controller.environment["HEADEND_DEMO_START"] = START.isoformat()
    controller.start()
    return controller


def sold(controller: Controller, network: Network) -> tuple[str, Session]:
    """A customer's line with a live session; the account and the session."""
    olt_id = register_network(controller, network)
    controller.post("/nas", {"name": "probe", "address": "127.0.0.1", "secret": PROBE_SECRET})
    hundred = offering(controller, "Fibre 100", "30.00", 100_000_000, 50_000_000)
    customer = controller.post(
        "/customers", {"name": "Ada Lovelace", "address": "Ring 1\n10115 Berlin", "email": "ada@example.net"}
    )
    controller.post("/stock-items", {"serial": SERIAL})
    ordered(controller, {
        "action": "add", "account_id": customer["account_id"], "offering_id": hundred["offering_id"],
        "username": LINE.username, "password": LINE.password,
        "attachments": [{"kind": "onu", "device_id": olt_id, "pon_port": "pon-1", "onu_serial": SERIAL}],
    })  # fmt: skip
    return customer["account_id"], network.do(network.bras.login(LINE.username, wait_for_start=True))


def sold_beside(controller: Controller, account_id: str) -> dict[str, str]:
    """Items by kind, under the built-in ladder with a policy for each; the telephone is prepaid."""
    ladder = controller.get("/dunning/policies")["built_in"]
    ladder["steps"] = [{**step, "services": SERVICES.get(step["name"], {})} for step in ladder["steps"]]
    controller.post(
        "/dunning/policies",
        {"segment": "standard", "currency": "EUR", "effective_on": "2026-01-01", "policy": ladder},
    )
    made = {}
    for kind in ("tv", "hosting", "voice", "rental"):
        prices = [{"model": "flat", "code": "fee", "amount": "10.00"}]
        sold = controller.post("/offerings", {
            "name": kind, "kind": kind, "effective_on": "2026-01-01", "tax_percent": "19", "prices": prices,
        })  # fmt: skip
        body = {"account_id": account_id, "reference": f"{kind}-1", "offering_id": sold["offering_id"]}
        made[kind] = controller.post("/items", body)["item_id"]
    prepaid = {"account_id": account_id, "unit": "octets", "currency": "EUR"}
    controller.put(f"/services/{made['voice']}/prepaid", prepaid)
    return made


def suspended(controller: Controller, account_id: str) -> set[str]:
    """The kinds of item that are, as the account's dunning and the items themselves say."""
    services = standing(controller, account_id)["services"]
    wanted = {s["kind"] for s in services if s["item_id"] and s["measure"] == "suspend"}
    assert wanted == {s["kind"] for s in services if s["since"]}
    listed = controller.get("/items", account_id=account_id)["items"]
    assert wanted == {item["reference"][:-2] for item in listed if item["suspended_since"]}
    return wanted


def in_one_commit(controller: Controller, hosting: str) -> None:
    """After a kill: the step that suspends hosting was taken where that is suspended, and where its platform was told;
    or nothing of it was."""
    found = [
        rows(controller, "SELECT count(*) FROM dunning_step WHERE name = 'garden'"),
        rows(controller, f"SELECT count(*) FROM orders_suspension WHERE item_id = '{hosting}'"),
        rows(controller, "SELECT count(*) FROM store_outbox WHERE name = 'item.restricted' AND payload LIKE"
             f" '%{hosting}%'"),
    ]  # fmt: skip
    assert found in ([[(0,)]] * 3, [[(1,)]] * 3)


def night(controller: Controller, network: Network, session: Session, month: int, day: int) -> None:
    """The night's work of a day, and its mail."""
    awake(controller, network, session, datetime(2026, month, day, 8, tzinfo=UTC))
    controller.post("/dunning/runs")
    controller.until(lambda: finished(controller, day), "the night's work is done")
    controller.until(
        lambda: not controller.get("/dunning/notices", state="waiting")["items"], "what waited to be told was told"
    )


def awake(controller: Controller, network: Network, session: Session, at: datetime) -> None:
    """It is `at`, and the session is still heard of."""
    move(controller, network, at)
    network.report(session, session.upstream_octets + 1_000, session.downstream_octets + 1_000)


def finished(controller: Controller, day: int) -> bool:
    found = controller.get("/dunning/runs")["runs"]
    return any(run["finished_at"] for run in found if int(run["day"][-2:]) == day)


def standing(controller: Controller, account_id: str) -> dict[str, Any]:
    found: dict[str, Any] = controller.get(f"/dunning/accounts/{account_id}")
    return found


@pytest.mark.skipif(RADCLIENT is None, reason=MISSING)
def test_an_unpaid_line_is_restricted_by_coa_and_free_within_seconds_of_its_payment(
    controller: Controller, network: Network, mail_server: MailServer
) -> None:
    account_id, session = sold(controller, network)
    items = sold_beside(controller, account_id)
    move(controller, network, datetime(2026, 6, 1, 6, tzinfo=UTC))
    (invoice,) = billed(controller)
    assert invoice["due_on"] == "2026-06-15"
    for month, day in ((6, 18), (6, 25)):
        night(controller, network, session, month, day)
    assert [m["Subject"].split()[0] for m in mail_server.mails] == ["Zahlungserinnerung", "Mahnung"]
    assert (session.downstream_bps, suspended(controller, account_id)) == (100_000_000, set())

    night(controller, network, session, 7, 2)
    controller.until(lambda: session.downstream_bps == 1_000_000, "the live session was slowed down by CoA")
    assert standing(controller, account_id)["stage"] == "throttle"
    assert suspended(controller, account_id) == {"tv"}
    listed = [line for line in mail_server.mails[-1].get_content().splitlines() if line.startswith("- ")]
    assert listed == [
        "- Fibre 100: verlangsamt auf 1\xa0Mbit/s, ab 02.07.2026", "- voice: bleibt nutzbar, auch für Notrufe",
        "- tv: gesperrt, ab 02.07.2026", "- hosting: bleibt nutzbar",
    ]  # fmt: skip

    # Killed with the night's work under way; the next process goes on, and nobody is told anything twice.
    awake(controller, network, session, datetime(2026, 7, 9, 8, tzinfo=UTC))
    controller.post("/dunning/runs")
    controller.kill()
    in_one_commit(controller, items["hosting"])
    controller.environment["HEADEND_DEMO_START"] = datetime(2026, 7, 9, 8, tzinfo=UTC).isoformat()
    controller.start()
    controller.post("/dunning/runs")
    controller.until(lambda: finished(controller, 9), "the night's work is done")
    controller.until(lambda: standing(controller, account_id)["stage"] == "garden", "the line is in the garden")
    steps = [s["step"] for s in standing(controller, account_id)["steps"]]
    assert steps == ["garden", "throttle", "warning", "reminder"]
    _told_of_garden(controller, mail_server)
    controller.until(lambda: "garden" in next_login(controller), "the next login is put into the garden")
    assert suspended(controller, account_id) == {"tv", "hosting", "voice"}
    call = {"call_id": "c1", "number": "4312345"}
    refused = controller.api.post(f"/services/{items['voice']}/prepaid/calls", json=call)
    assert (refused.status_code, "overdue" in refused.text) == (409, True), refused.text

    begun = time.monotonic()
    controller.post("/payments", {
        "account_id": account_id, "amount": invoice["total"], "reference": "R-1",
    })  # fmt: skip
    controller.until(
        lambda: session.downstream_bps == 100_000_000, "the live session has its full speed again", timeout_s=30
    )
    assert suspended(controller, account_id) == set()
    took = time.monotonic() - begun
    print(f"restored {took:.2f} s after the payment was posted")
    assert took < RESTORED_WITHIN_S
    controller.until(lambda: next_login(controller).endswith("/100m-50m"), "the next login has its plan again")
    assert time.monotonic() - begun < RESTORED_WITHIN_S
    after = standing(controller, account_id)
    assert (after["stage"], after["measure"], after["claimed"]["amount"]) == ("", "none", "0.00")
    told = controller.get("/events", name="item.restricted", limit=50)["items"]
    measures = [(event["data"]["kind"], event["data"]["measure"]) for event in reversed(told)]
    assert measures[:1] == [("tv", "suspend")]
    assert sorted(measures[-3:]) == [("hosting", "none"), ("tv", "none"), ("voice", "none")]
    changes = controller.get("/audit-log", limit=200)["items"]
    assert [e["actor"] for e in changes if e["action"] == "subscriber.restore"] == ["system:dunning"]


def _told_of_garden(controller: Controller, mail_server: MailServer) -> None:
    """Once by mail, or left to a person where the kill fell between the mail and its record."""

    def settled() -> bool:
        return not controller.get("/dunning/notices", state="waiting")["items"]

    controller.until(settled, "nothing waits to be told")
    assert sum("ist erreichbar, ab 09.07.2026" in m.get_content() for m in mail_server.mails) <= 1


def next_login(controller: Controller) -> str:
    """The profile that the next login is given, as its Class says; radclient's NAS is another than the session's."""
    login = f'User-Name = "{LINE.username}"\nUser-Password = "{LINE.password}"'
    said = radclient(controller.auth_port, "auth", login, PROBE_SECRET)
    assert "Class = 0x" in said, said
    return bytes.fromhex(said.partition("Class = 0x")[2].split()[0]).decode(errors="replace")
