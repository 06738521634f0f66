"""Two `headend serve` on one RADIUS port (SO_REUSEPORT) and one PostgreSQL: the kernel spreads the NAS's packets.

One of the two is killed and started again while accounting flows, so that sessions move from process to process and
back. Sums are right, each session is one, and both processes know every subscriber.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from controller.domain.clock import SystemClock
from controller.domain.identity import new_id
from controller.domain.ports import Secret
from controller.store import secrets
from controller.store.engine import Database
from radius.authorization.directory import Directory
from radius.follower import Follower, Registry
from radius.subscribers import SubscriberService
from tests.support.controller import Controller
from tests.support.databases import PostgresServer
from tests.support.eapol import EAPOL_TEST, eapol_test, network
from tests.support.eapol import MISSING as NO_EAPOL_TEST
from tests.support.killing import SECRET, Sender, prove_accounting, read_journal, register_nas, seed_of_this_run
from tests.support.radclient import MISSING, RADCLIENT, radclient
from tests.support.radius import GOLD

MOVES = 2
"""How often the second process dies and comes back."""

Pair = tuple[Controller, Controller]


@pytest.fixture(scope="module")
def pair(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory, name = tmp_path_factory.mktemp("pair"), f"reuse{uuid.uuid4().hex}"
    one = Controller(directory / "one", database_url=postgres.create(name))
    one.environment["HEADEND_SHARE_RADIUS_PORTS"] = "true"
    one.start()
    two = one.beside(directory / "two", "two", same_radius_ports=True)
    try:
        two.start()
        register_nas(one.http_port, one.token)
        yield one, two
    finally:
        one.stop()
        two.stop()
        postgres.drop(name)


def opened(pair: Pair) -> Database:
    return Database(pair[0].environment["HEADEND_DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"))


def counted(controller: Controller, sample: str) -> int:
    """A counter of this process, since it started."""
    found = re.search(rf"^{re.escape(sample)} ([0-9.e+]+)$", httpx2.get(f"{controller.url}/metrics").text, re.M)
    return 0 if found is None else int(float(found[1]))


def stored(controller: Controller) -> int:
    return counted(controller, 'headend_radius_accounting_records_total{result="stored"}')


def accepted(controller: Controller) -> int:
    sample = 'headend_radius_requests_total{code="Access-Request",nas="sender",result="accept"}'
    return counted(controller, sample)


async def put_subscriber(pair: Pair, username: str) -> None:
    database, box = opened(pair), secrets.load_or_create(pair[0].data_dir / "headend.key")
    try:
        await SubscriberService(
            database, SystemClock(), box, Follower(database, box, Registry(), Directory())
        ).put_subscriber(
            service_id=new_id(SystemClock().now()), username=username, password=Secret("hunter2"), profile=GOLD,
            framed_ipv4=None, enabled=True, actor="test",
        )  # fmt: skip
    finally:
        await database.close()


@pytest.mark.skipif(RADCLIENT is None, reason=MISSING)
async def test_a_subscriber_made_once_signs_in_at_whichever_process_the_kernel_picks(pair: Pair) -> None:
    one, two = pair
    before = accepted(one), accepted(two)
    await put_subscriber(pair, "anna")
    said: list[str] = []

    def both_have_accepted() -> bool:
        said.append(radclient(one.auth_port, "auth", 'User-Name = "anna", User-Password = "hunter2"', SECRET))
        return accepted(one) > before[0] and accepted(two) > before[1]

    one.until(both_have_accepted, "both processes have accepted")
    assert "Access-Accept" in said[-1]


@pytest.mark.skipif(EAPOL_TEST is None, reason=NO_EAPOL_TEST)
async def test_an_eap_conversation_stays_with_the_process_that_the_kernel_picked_for_its_socket(
    pair: Pair, tmp_path: Path
) -> None:
    one, two = pair
    known = "headend_radius_directory_subscribers"
    already = counted(one, known)
    await put_subscriber(pair, "eva")
    one.until(lambda: counted(one, known) == counted(two, known) == already + 1, "both processes know her")
    before = accepted(one), accepted(two)
    block = network("MSCHAPV2", "eva", password="hunter2")
    async with asyncio.timeout(60):
        while not (accepted(one) > before[0] and accepted(two) > before[1]):
            outcome = await eapol_test(tmp_path, one.auth_port, block, secret=SECRET)
            assert outcome.accepted, "three packets of one socket went to different processes: " + outcome.output
            assert outcome.keys_match


@pytest.mark.long
async def test_records_of_sessions_that_move_between_two_processes_are_stored_once_and_sum_up(
    pair: Pair, tmp_path: Path
) -> None:
    one, two = pair
    sender = Sender(tmp_path, one.acct_port, seed_of_this_run(), lines=24)
    try:
        for _ in range(MOVES):
            one.until(lambda: stored(two) > 20 and stored(one) > 20, "both store")
            two.kill()
            before = sender.answered_octets()
            one.until(lambda before=before: sender.answered_octets() > before + 20_000, "the other has its sessions")
            two.start()
        one.until(lambda: stored(two) > 20, "both store")
        totals = sender.finish()
    finally:
        sender.close()
    database = opened(pair)
    try:
        journal = read_journal(sender.journal)
        stored_of = await prove_accounting(database, journal, totals, at_least=200)
    finally:
        await database.close()
    assert stored_of == {entry["sha256"]: 1 for entry in journal}
