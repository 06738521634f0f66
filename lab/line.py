"""`python -m lab line`: one line from order to invoice against the running demo, each step with its time.

It speaks to the controller like any other client: HTTP with the token of demo.json, RADIUS as the NAS 127.0.0.1.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lab.api import Api, Json
from lab.bras.nas import Bras, BrasSettings
from lab.clock import now
from lab.console import say
from lab.office import Office
from lab.settings import LOOPBACK, LabSettings, Unusable
from lab.world import ON_A_SERVER, PON_PORTS, Subscriber, World, random_word

OFFERING = "fibre-100-volume"
OCTETS = (2_500_000_000, 9_000_000_000)


@dataclass(slots=True)
class Steps:
    """Prints a sentence per step with the seconds since the beginning."""

    began: float

    def done(self, what: str) -> None:
        say(f"{time.monotonic() - self.began:6.1f} s  {what}")


async def run(settings: LabSettings) -> int:
    """Returns the exit status."""
    demo, world = _demo(settings)
    if world.notes.get(ON_A_SERVER) and not settings.database_url:
        settings = replace(settings, database_url="of the demo")
    api = Api(demo["http"], demo["token"])
    steps = Steps(time.monotonic())
    try:
        office = Office(api, world)
        subscriber = _newcomer(world)
        await _activate(office, subscriber, steps)
        await _use(settings, demo, subscriber, steps)
        return await _invoice(settings, office, subscriber, steps)
    finally:
        await api.close()


def _demo(settings: LabSettings) -> tuple[Json, World]:
    path, world = settings.demo_json, settings.lab_dir / "world.json"
    if not path.exists() or not world.exists():
        raise Unusable(f"no demo in {settings.data_dir}: start one with `make run`, or set HEADEND_DATA_DIR")
    return json.loads(path.read_text()), World.load(world)


def _newcomer(world: World) -> Subscriber:
    word = secrets.token_hex(4)
    return Subscriber(
        index=0,
        name=f"Nova {word.capitalize()}",
        email=f"{word}@example.net",
        address="Neubauweg 1\n10115 Berlin",
        username=f"line-{word}",
        password=random_word(12),
        serial=f"LABX{word.upper()}",
        mac=f"02:4c:4e:00:{word[0:2]}:{word[2:4]}",
        pon_port=PON_PORTS[int(word, 16) % len(PON_PORTS)],
        chap=False,
        offering=OFFERING,
        ordered_on_day=0,
        experiment=True,
    )


async def _activate(office: Office, subscriber: Subscriber, steps: Steps) -> None:
    await office.create_customer(subscriber)
    steps.done(f"customer {subscriber.name}, account {subscriber.account_id}")
    await office.receive_onu(subscriber)
    order = await office.order_line(subscriber)
    steps.done(f"order {order['order_id']} of {OFFERING}, ONU {subscriber.serial} on {subscriber.pon_port} reserved")
    settled = await office.settled(order["order_id"])
    if settled["state"] != "completed":
        raise Unusable(f"the order is {settled['state']} at {settled.get('step')}: {settled.get('cause')}")
    steps.done(f"order completed: service {subscriber.service_id} provisioned on the OLT, read back and verified")


async def _use(settings: LabSettings, demo: Json, subscriber: Subscriber, steps: Steps) -> None:
    """Sign in and move some traffic, as a NAS would report it."""
    clock = _Clock(now() - timedelta(seconds=2))
    nas = Bras(
        BrasSettings(
            source=LOOPBACK,
            secret=demo["nas_secret"].encode(),
            auth=(LOOPBACK, demo["auth_port"]),
            acct=(LOOPBACK, demo["acct_port"]),
            state_file=settings.lab_dir / f"line-{subscriber.username}.json",
            identifier="experiments",
        ),
        [subscriber.line()],
        clock,
    )
    try:
        nas.bind()
        nas.number_from(secrets.randbelow(1 << 24) + 1)
        session = await nas.login(subscriber.username, wait_for_start=True)
        steps.done(
            f"signed in over RADIUS: session {session.acct_session_id}, "
            f"{session.downstream_bps // 10**6}/{session.upstream_bps // 10**6} Mbit/s, address {session.framed_ip}"
        )
        session.upstream_octets, session.downstream_octets = OCTETS
        clock.at = now()
        await nas.logout(subscriber.username)
        steps.done(f"accounting acknowledged: {sum(OCTETS) / 10**9:.1f} GB in session {session.acct_session_id}")
    finally:
        await nas.close()
        nas.settings.state_file.unlink(missing_ok=True)


async def _invoice(settings: LabSettings, office: Office, subscriber: Subscriber, steps: Steps) -> int:
    run = await office.bill({"account_id": subscriber.account_id})
    steps.done(f"bill run {run['bill_run_id']} {run['state']}")
    invoices = await office.invoices(account_id=subscriber.account_id)
    if not invoices:
        say("No invoice was made: the run had nothing to charge.")
        return 1
    invoice = await office.api.get(f"/invoices/{invoices[-1]['invoice_id']}")
    path = settings.lab_dir / f"invoice-{invoice['number'].replace('/', '-')}.pdf"
    path.write_bytes(await office.api.raw(f"/invoices/{invoice['invoice_id']}/pdf"))
    steps.done(f"invoice {invoice['number']} over {invoice['total']['amount']} {invoice['total']['currency']}")
    for line in invoice["lines"]:
        say(f"          {line['description']}: {line['net']['amount']} {line['net']['currency']}")
    say(f"          PDF: {path}")
    say("Down to the packets:")
    say(explain_command(settings, invoice["lines"][-1]["line_id"]))
    return 0


def explain_command(settings: LabSettings, line_id: str) -> str:
    environment = f"HEADEND_DATA_DIR={settings.data_dir} "
    if settings.database_url:
        environment += "HEADEND_DATABASE_URL=… "
    return f"  {environment}{Path('.venv/bin/headend')} explain {line_id}"


class _Clock:
    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> Any:
        return self.at
