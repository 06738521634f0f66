"""`python -m lab` as a user starts it, made small: used while it runs, then Ctrl-C, kill -9 and new starts.

All tests of one worker share one lab; each finds it running and leaves it running, so their order plays no part.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from tests.support.lab import EXPERIMENTS, ROOT, SUBSCRIBERS, Demo, Json, environment
from tests.support.radclient import MISSING, RADCLIENT, radclient

GRACE_S = 9.0
ONLINE = SUBSCRIBERS - EXPERIMENTS - 1
"""One order is held on purpose."""
GIGAWORD = 1 << 32

needs_radclient = pytest.mark.skipif(RADCLIENT is None, reason=MISSING)
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    made = Demo(tmp_path_factory.mktemp("lab"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def signs_in(demo: Demo, subscriber: Json, password: str, attribute: str = "User-Password") -> str:
    """radclient's output for a sign-in from 127.0.0.1; `attribute` User-Password is PAP, CHAP-Password is CHAP."""
    request = (
        f'User-Name = "{subscriber["username"]}"\n{attribute} = "{password}"\n'
        "NAS-IP-Address = 127.0.0.1\nMessage-Authenticator = 0x00\n"
    )
    return radclient(demo.json["auth_port"], "auth", request, demo.json["nas_secret"])


def accounts(demo: Demo, username: str, session_id: str, kind: str, **counters: int) -> None:
    """One accounting record from 127.0.0.1, which must be acknowledged."""
    request = f'User-Name = "{username}"\nAcct-Session-Id = "{session_id}"\nAcct-Status-Type = {kind}\n'
    request += "NAS-IP-Address = 127.0.0.1\n"
    request += "".join(f"{name.replace('_', '-')} = {value}\n" for name, value in counters.items())
    answer = radclient(demo.json["acct_port"], "acct", request, demo.json["nas_secret"])
    assert "Received Accounting-Response" in answer, answer + demo.said()


def until_online(demo: Demo) -> None:
    """One or two subscribers may just be dialling again."""
    demo.until(lambda: len(demo.live_sessions()) >= ONLINE - 2, 60)


def olt_configuration(demo: Demo) -> bytes:
    """The OLT's running configuration as it keeps it over a restart, in canonical XML."""
    saved = etree.fromstring((demo.data_dir / "lab" / "olt.xml").read_bytes())
    return bytes(etree.tostring(saved, method="c14n"))


def goes_on(demo: Demo, before: dict[str, Json]) -> bool:
    """Whether a session of `before` is the same live session still, and has moved more since."""
    return any(
        now["started_at"] == before[key]["started_at"]
        and now["session_id"] == before[key]["session_id"]
        and now["downstream_octets"] > before[key]["downstream_octets"]
        for key, now in demo.live_sessions().items()
        if key in before
    )


def test_what_the_first_start_leaves(demo: Demo) -> None:
    assert demo.data_dir.stat().st_mode & 0o777 == 0o700
    assert (demo.data_dir / "demo.json").stat().st_mode & 0o777 == 0o600
    assert (demo.json["http"], demo.json["auth_port"]) == (demo.url, int(demo.env["HEADEND_AUTH_PORT"]))
    assert len(demo.json["subscribers"]) == EXPERIMENTS
    until_online(demo)
    states = [order["state"] for order in demo.get("/orders", limit=100)["items"]]
    assert states.count("held") == 1
    assert states.count("completed") >= SUBSCRIBERS - 1
    assert set(states) == {"held", "completed"}


def test_a_business_line_is_on_the_olt_and_policed_by_the_router(demo: Demo) -> None:
    on_both = [s for s in demo.get("/services", limit=100)["items"] if len(s["attachments"]) == 2]
    assert len(on_both) == 1
    assert on_both[0]["standing"] == "verified"
    assert [a["observed"]["downstream_bps"] for a in on_both[0]["attachments"]] == [500_000_000] * 2
    running = (demo.data_dir / "lab" / "router" / "running-config").read_text()
    assert f"policy-map type quality-of-service headend-{on_both[0]['service_id']}" in running
    assert "police rate 250000000 bps" in running


@needs_radclient
@pytest.mark.parametrize("attribute", ["User-Password", "CHAP-Password"])
def test_an_experiment_s_subscriber_signs_in_and_with_a_wrong_password_does_not(demo: Demo, attribute: str) -> None:
    assert demo.json["subscribers"]
    for subscriber in demo.json["subscribers"]:
        right = signs_in(demo, subscriber, subscriber["password"], attribute)
        assert "Received Access-Accept" in right, right + demo.said()
        wrong = signs_in(demo, subscriber, subscriber["password"] + "x", attribute)
        assert "Received Access-Reject" in wrong
        assert "Received Access-Accept" not in wrong


@needs_radclient
def test_a_session_accounted_for_from_this_machine_is_found_live_and_then_ended(demo: Demo) -> None:
    subscriber, session_id = demo.json["subscribers"][1], "experiment-000001"

    def found() -> tuple[str, int, int]:
        (session,) = demo.get("/sessions", session_id=session_id)["items"]
        assert (session["username"], session["service_id"]) == (subscriber["username"], subscriber["service_id"])
        return session["state"], session["upstream_octets"], session["downstream_octets"]

    accounts(demo, subscriber["username"], session_id, "Start")
    assert found() == ("live", 0, 0)
    accounts(
        demo, subscriber["username"], session_id, "Interim-Update", Acct_Session_Time=60,
        Acct_Input_Octets=1_234_567, Acct_Input_Gigawords=1, Acct_Output_Octets=7, Acct_Output_Gigawords=3,
    )  # fmt: skip
    assert found() == ("live", GIGAWORD + 1_234_567, 3 * GIGAWORD + 7)
    accounts(
        demo, subscriber["username"], session_id, "Stop", Acct_Session_Time=90, Acct_Terminate_Cause=1,
        Acct_Input_Octets=1_234_568, Acct_Input_Gigawords=1, Acct_Output_Octets=0, Acct_Output_Gigawords=4,
    )  # fmt: skip
    assert found() == ("ended", GIGAWORD + 1_234_568, 4 * GIGAWORD)


def test_one_command_orders_activates_and_invoices_a_line(demo: Demo) -> None:
    line = demo.run("line")
    assert line.returncode == 0, line.stdout + line.stderr + demo.said()
    pdf = re.search(r"PDF: (\S+)", line.stdout)
    assert pdf is not None
    assert Path(pdf[1]).read_bytes().startswith(b"%PDF-")


@pytest.mark.long
def test_after_ctrl_c_and_after_kill_9_the_next_start_goes_on_with_everything(demo: Demo) -> None:
    until_online(demo)
    offline, token = demo.json["subscribers"], demo.json["token"]
    orders = {order["order_id"]: order["state"] for order in demo.get("/orders", limit=100)["items"]}
    invoices = {invoice["invoice_id"] for invoice in demo.get("/invoices", limit=100)["items"]}
    for end in (demo.interrupt, demo.kill):
        configuration, before = olt_configuration(demo), demo.live_sessions()
        assert b"expected-serial-number" in configuration
        took_s = end()
        if took_s is not None:
            assert took_s < GRACE_S
        demo.start()
        assert "History" not in demo.output
        assert (demo.json["token"], demo.json["subscribers"]) == (token, offline)
        assert olt_configuration(demo) == configuration
        demo.until(lambda before=before: goes_on(demo, before), 60)  # type: ignore[misc]
        assert {order["order_id"]: order["state"] for order in demo.get("/orders", limit=100)["items"]} == orders
        assert {invoice["invoice_id"] for invoice in demo.get("/invoices", limit=100)["items"]} == invoices
        balances = demo.get("/trial-balance")
        assert balances["totals"] == ([{"amount": "0.00", "currency": "EUR"}] if balances["accounts"] else [])
        assert bool(balances["accounts"]) == bool(invoices), "what was invoiced is in the books, and nothing else"
    live = {session["username"] for session in demo.live_sessions().values()}
    assert not {subscriber["username"] for subscriber in offline} & live


def start_in_vain(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lab"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_taken_port_ends_the_start_with_the_variable_to_change(tmp_path: Path) -> None:
    env = environment(tmp_path / "demo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", int(env["HEADEND_ACCT_PORT"])))
        run = start_in_vain(env)
    assert run.returncode == 2
    assert "HEADEND_ACCT_PORT=" in run.stderr


def test_a_directory_of_a_headend_that_is_no_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "headend.db").write_text("mine")
    run = start_in_vain(environment(tmp_path / "demo"))
    assert run.returncode == 2
    assert "HEADEND_DATA_DIR" in run.stderr
    assert [entry.name for entry in (tmp_path / "demo").iterdir()] == ["headend.db"]
