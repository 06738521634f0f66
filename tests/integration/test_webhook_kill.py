"""kill -9 around the booking of a webhook: once stored, inside its transaction, right after it. Booked once."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from controller.store import secrets
from controller.store.engine import Database
from tests.support.finance import made_entity
from tests.support.payments import Till

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("when", "left"), [("stored", "received"), ("booking", "received"), ("booked", "booked")])
async def test_a_payment_is_booked_once_wherever_the_process_dies(
    database: Database, tmp_path: Path, when: str, left: str
) -> None:
    key_file = tmp_path / "headend.key"
    till = Till(database, secrets.load_or_create(key_file))
    await made_entity(till)
    await till.gateway()
    account = await till.account()
    invoice = await till.issue(account)
    url = database.url.render_as_string(hide_password=False)
    command = ("-m", "tests.support.webhook_child", url, str(key_file), account, when)
    child = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT)
    assert await child.wait() == -signal.SIGKILL
    assert await till.told() == [("payment_intent.succeeded", left)]
    till.stripe.paid(3570, metadata={"account_id": account})
    again = till.stripe.events[0]
    (known,) = await till.room.inbox.events(state=None, before=None, limit=2)
    again["id"], again["data"]["object"]["id"] = known.provider_id, known.object_id
    assert await till.deliver(again) is False, "the gateway tells it again because it was not answered"
    await asyncio.gather(till.room.inbox.drain(), till.room.inbox.drain())
    (payment,) = await till.finance.payments(account_id=account, after=None, limit=5)
    assert ((await till.finance.invoice(invoice)).open_minor, payment.unapplied.minor) == (0, 0)
    assert await till.balance("1460") == 3570
    await till.assert_sound()
    await till.room.close()
