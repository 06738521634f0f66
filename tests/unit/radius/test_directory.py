"""Rows and memory: what is registered or changed holds for the next packet, in this process and in others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from controller.domain.clock import SystemClock
from controller.domain.errors import Conflict, NotFound, RuleError
from controller.domain.identity import NasId, ServiceId
from controller.domain.ports import Secret
from controller.domain.service import SpeedProfile
from controller.store import audit
from controller.store.engine import Database
from radius import tables
from radius.authorization.directory import Directory
from radius.follower import Follower, Registry
from radius.nas_registry import NasChange, NasService
from radius.subscribers import SubscriberService
from tests.support.radius import GOLD, SERVICE, directory, secret_box, subscriber

OTHER = ServiceId("0190a1b2c3d47e5f8a9b0c1d2e3f4a5c")


class Process:
    """One process's memory over a shared database."""

    def __init__(self, database: Database, data_dir: Path) -> None:
        box = secret_box(data_dir)
        self.registry, self.directory = Registry(), Directory()
        self.follower = Follower(database, box, self.registry, self.directory)
        self.nas = NasService(database, SystemClock(), box, self.follower)
        self.subscribers = SubscriberService(database, SystemClock(), box, self.follower)

    @classmethod
    async def serving(cls, database: Database, data_dir: Path) -> Process:
        """A process that has loaded its directory."""
        made = cls(database, data_dir)
        await made.follower.load()
        return made

    async def put(self, service_id: ServiceId = SERVICE, username: str = "anna", enabled: bool = True) -> None:
        await self.subscribers.put_subscriber(
            service_id=service_id,
            username=username,
            password=Secret("hunter2"),
            profile=GOLD,
            framed_ipv4=None,
            enabled=enabled,
            actor="user:test",
        )

    async def register(self, address: str = "127.0.0.1", name: str = "bras") -> str:
        row = await self.nas.register(name=name, address=address, secret=Secret("testing123"), actor="user:test")
        return row.nas_id


async def test_a_subscriber_may_log_in_as_soon_as_it_is_put(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path)
    await process.put()
    found = process.directory.find(b"anna")
    assert found is not None
    assert (found.password, found.enabled, found.plan.profile) == (b"hunter2", True, GOLD)
    assert process.directory.service_of(b"anna") == SERVICE
    assert process.directory.service_of(b"nobody") is None


async def test_a_withdrawn_login_is_gone_everywhere_and_its_name_is_free(database: Database, tmp_path: Path) -> None:
    ours, theirs = await Process.serving(database, tmp_path), await Process.serving(database, tmp_path)
    await ours.put()
    await theirs.follower.refresh()
    for _ in range(2):
        await ours.subscribers.withdraw_subscriber(service_id=SERVICE, actor="user:test")
    await theirs.follower.refresh()
    assert ours.directory.find(b"anna") is theirs.directory.find(b"anna") is None
    other = ServiceId("f" * 32)
    await ours.put(other)
    assert ours.directory.service_of(b"anna") == other
    await ours.subscribers.withdraw_subscriber(service_id=ServiceId("e" * 32), actor="user:test")


async def test_another_process_follows_by_revision(database: Database, tmp_path: Path) -> None:
    ours, theirs = await Process.serving(database, tmp_path), await Process.serving(database, tmp_path)
    await ours.put()
    nas_id = await ours.register()
    await theirs.follower.refresh()
    assert theirs.directory.find(b"anna") is not None
    assert theirs.registry.by_address["127.0.0.1"].nas_id == nas_id
    silver = SpeedProfile("silver-50", 50_000_000, 10_000_000)
    await ours.subscribers.set_profile(service_id=SERVICE, profile=silver, actor="user:test")
    await ours.subscribers.set_enabled(service_id=SERVICE, enabled=False, actor="user:test")
    await theirs.follower.refresh()
    found = theirs.directory.find(b"anna")
    assert found is not None
    assert (found.plan.profile, found.enabled) == (silver, False)


async def test_a_process_that_serves_no_radius_keeps_no_directory_and_still_finds_a_nas(
    database: Database, tmp_path: Path
) -> None:
    serving, api_only = await Process.serving(database, tmp_path), Process(database, tmp_path)
    await api_only.put()
    nas_id = await serving.register()
    found = await api_only.follower.nas(NasId(nas_id))
    assert found is not None
    assert found.secret.value == b"testing123"
    assert len(api_only.directory) == 0
    await serving.follower.refresh()
    assert len(serving.directory) == 1


async def test_a_given_up_user_name_leaves_every_directory(database: Database, tmp_path: Path) -> None:
    ours, theirs = await Process.serving(database, tmp_path), await Process.serving(database, tmp_path)
    await ours.put(username="anna")
    await theirs.follower.refresh()
    await ours.put(username="anna.new")
    await theirs.follower.refresh()
    for process in (ours, theirs):
        assert process.directory.find(b"anna") is None
        assert process.directory.service_of(b"anna.new") == SERVICE
    await ours.put(OTHER, "anna")
    assert ours.directory.service_of(b"anna") == OTHER, "the name is free again"


async def test_a_user_name_belongs_to_one_service(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path)
    await process.put()
    with pytest.raises(Conflict):
        await process.put(OTHER)
    await process.put()


async def test_of_two_who_want_one_name_or_address_at_once_one_is_refused(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path)
    logins = await asyncio.gather(process.put(), process.put(OTHER), return_exceptions=True)
    nas = await asyncio.gather(process.register(), process.register(), return_exceptions=True)
    for outcome in (logins, nas):
        assert [type(refusal) for refusal in outcome if isinstance(refusal, Exception)] == [Conflict]


async def test_a_service_without_login_is_not_found(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path)
    with pytest.raises(NotFound):
        await process.subscribers.set_enabled(service_id=SERVICE, enabled=True, actor="user:test")


async def test_setting_what_is_set_changes_nothing(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path)
    await process.put()
    for _ in range(2):
        await process.subscribers.set_profile(service_id=SERVICE, profile=GOLD, actor="user:test")
    async with database.read() as conn:
        assert [entry["action"] for entry in await audit.entries(conn, before=None, limit=10)] == ["subscriber.put"]


async def test_secrets_rest_sealed_and_are_not_audited(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path)
    await process.put()
    nas_id = await process.register()
    await process.nas.change(nas_id, NasChange(secret=Secret("another-secret")), actor="user:test")
    async with database.read() as conn:
        [stored] = list(await conn.execute(select(tables.subscriber)))
        [nas] = list(await conn.execute(select(tables.nas)))
        entries = await audit.entries(conn, before=None, limit=10)
    assert b"hunter2" not in stored.password
    assert b"another-secret" not in nas.secret
    assert not [entry for entry in entries if "hunter2" in str(entry) or "testing123" in str(entry)]
    assert '"secret": "changed"' in entries[0]["after"]
    assert process.registry.by_address["127.0.0.1"].secret.value == b"another-secret"


async def test_a_moved_nas_is_known_by_its_new_address_only(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path)
    nas_id = await process.register("127.0.0.1")
    await process.nas.change(nas_id, NasChange(address="127.0.0.9"), actor="user:test")
    assert list(process.registry.by_address) == ["127.0.0.9"]
    other = await process.register("127.0.0.1", "second")
    assert process.registry.by_address["127.0.0.1"].nas_id == other
    await process.nas.change(nas_id, NasChange(enabled=False), actor="user:test")
    assert list(process.registry.by_address) == ["127.0.0.1"]


async def test_a_nas_needs_an_address_of_its_own(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path)
    await process.register("127.0.0.1")
    with pytest.raises(Conflict):
        await process.register("127.0.0.1", "second")
    with pytest.raises(Conflict):
        await process.register("127.0.0.2", "bras")
    for wrong in ({"address": "not-an-address"}, {"vendor": "nobody"}, {"interim_interval_s": 59}, {"coa_port": 0}):
        with pytest.raises(RuleError):
            values = {"name": "x", "address": "127.0.0.5", "secret": Secret("s")} | wrong
            await process.nas.register(**values, actor="user:test")


@pytest.mark.parametrize(
    ("username", "password", "address"),
    [
        ("", "p", None),
        ("x" * 254, "p", None),
        ("a", "", None),
        ("a", "p" * 129, None),
        ("a", "p\0", None),
        ("a", "p", "::1"),
    ],
)
async def test_logins_that_radius_cannot_carry_are_refused(
    database: Database, tmp_path: Path, username: str, password: str, address: str | None
) -> None:
    process = await Process.serving(database, tmp_path)
    with pytest.raises(RuleError):
        await process.subscribers.put_subscriber(
            service_id=SERVICE,
            username=username,
            password=Secret(password),
            profile=GOLD,
            framed_ipv4=address,
            enabled=True,
            actor="user:test",
        )


def test_a_subscriber_shows_no_password() -> None:
    row = subscriber(password="hunter2")
    assert "hunter2" not in repr(row)
    assert "hunter2" not in repr(directory(row).find(b"anna"))


def test_subscribers_of_one_profile_share_its_attributes() -> None:
    many = directory(*(subscriber(f"user{number}", framed_ipv4=None) for number in range(10)))
    assert len({id(many.find(f"user{number}".encode()).plan) for number in range(10)}) == 1


@pytest.mark.parametrize("cut", [None, 5, 0], ids=["another's", "cut within its nonce", "empty"])
async def test_a_password_that_no_key_opens_shuts_out_its_subscriber_alone(
    database: Database, tmp_path: Path, cut: int | None
) -> None:
    ours, running = await Process.serving(database, tmp_path), await Process.serving(database, tmp_path)
    await ours.put()
    await ours.put(OTHER, "berta")
    async with database.begin() as conn:
        sealed = await conn.scalar(select(tables.subscriber.c.password).where(tables.subscriber.c.username == "anna"))
        broken = update(tables.subscriber).where(tables.subscriber.c.username == "berta")
        await conn.execute(broken.values(password=sealed if cut is None else sealed[:cut]))
    for process in (running, Process(database, tmp_path)):
        with capture_logs() as lines:
            await process.follower.load()
        told = [(line["usernames"], line["count"]) for line in lines if line["event"] == "radius.directory.unopened"]
        assert told == [(["berta"], 1)]
        anna, berta = process.directory.find(b"anna"), process.directory.find(b"berta")
        assert anna is not None
        assert berta is not None
        assert (anna.enabled, berta.enabled) == (True, False)
        assert process.directory.service_of(b"berta") == OTHER, "what it still uses is its own"


async def test_with_the_key_file_of_another_installation_nothing_starts(database: Database, tmp_path: Path) -> None:
    for name in ("one", "another"):
        (tmp_path / name).mkdir()
    await (await Process.serving(database, tmp_path / "one")).put()
    with pytest.raises(RuleError, match="no key in the key file"):
        await Process(database, tmp_path / "another").follower.load()
