"""Forms of passwords and lines in the database: what is stored, what every process knows of it, what is audited."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from controller.domain.clock import SystemClock
from controller.domain.errors import Conflict, NotFound, RuleError
from controller.domain.identity import ServiceId
from controller.domain.ports import Secret
from controller.store import audit
from controller.store.engine import Database
from radius import tables
from radius.authorization.directory import Directory
from radius.authorization.line import CIRCUIT, MAC, Line, line
from radius.authorization.password import ARGON2, CLEAR, NT, HashedPassword, same
from radius.follower import Follower, Registry
from radius.lines import LineService
from radius.passwords import PasswordService
from radius.protocol.mschap import NtPassword, nt_hash
from radius.subscribers import SubscriberService
from tests.support.radius import GOLD, SERVICE, secret_box

OTHER = ServiceId("0190a1b2c3d47e5f8a9b0c1d2e3f4a5c")
ADDRESS = line(MAC, b"0c:42:a1:00:ff:07")
CIRCUIT_4 = line(CIRCUIT, b"olt-1/1/1/4:0.100")


class Process:
    """One process of a site whose passwords are kept as `form`."""

    def __init__(self, database: Database, data_dir: Path, form: str = CLEAR) -> None:
        box, clock = secret_box(data_dir), SystemClock()
        self.directory = Directory()
        self.follower = Follower(database, box, Registry(), self.directory)
        self.subscribers = SubscriberService(database, clock, box, self.follower, password_form=form)
        self.passwords = PasswordService(database, clock, box, self.follower, form)
        self.lines = LineService(database, clock, self.follower)

    @classmethod
    async def serving(cls, database: Database, data_dir: Path, form: str = CLEAR) -> Process:
        made = cls(database, data_dir, form)
        await made.follower.load()
        return made

    async def put(self, service_id: ServiceId = SERVICE, username: str = "anna", password: str = "hunter2") -> None:
        await self.subscribers.put_subscriber(
            service_id=service_id,
            username=username,
            password=Secret(password),
            profile=GOLD,
            framed_ipv4=None,
            enabled=True,
            actor="user:test",
        )

    def password(self, username: str = "anna") -> object:
        found = self.directory.find(username.encode())
        assert found is not None
        return found.password


async def forms(database: Database) -> dict[str, str]:
    async with database.read() as conn:
        rows = await conn.execute(select(tables.subscriber.c.username, tables.subscriber.c.password_form))
        return {row.username: row.password_form for row in rows}


@pytest.mark.parametrize(("form", "kind"), [(CLEAR, bytes), (NT, NtPassword), (ARGON2, HashedPassword)])
async def test_a_password_is_kept_in_the_form_of_the_site(
    database: Database, tmp_path: Path, form: str, kind: type
) -> None:
    process = await Process.serving(database, tmp_path, form)
    await process.put()
    assert type(process.password()) is kind
    assert await forms(database) == {"anna": form}


async def test_a_service_may_have_a_form_of_its_own_and_its_next_password_has_it_too(
    database: Database, tmp_path: Path
) -> None:
    process = await Process.serving(database, tmp_path)
    await process.put()
    await process.passwords.choose_form(SERVICE, ARGON2, actor="user:test")
    kept = process.password()
    assert isinstance(kept, HashedPassword)
    assert same(kept, b"hunter2")
    await process.put(password="hunter3")
    kept = process.password()
    assert isinstance(kept, HashedPassword)
    assert same(kept, b"hunter3")


async def test_a_richer_form_is_refused_until_a_password_is_set(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path, NT)
    await process.put()
    with pytest.raises(RuleError, match="set the password anew"):
        await process.passwords.choose_form(SERVICE, CLEAR, actor="user:test")
    with pytest.raises(RuleError, match="no password form"):
        await process.passwords.choose_form(SERVICE, "md5", actor="user:test")
    with pytest.raises(NotFound):
        await process.passwords.choose_form(OTHER, NT, actor="user:test")
    assert await forms(database) == {"anna": NT}


async def test_a_site_that_changes_its_form_moves_what_follows_it_and_nothing_else(
    database: Database, tmp_path: Path
) -> None:
    before = await Process.serving(database, tmp_path)
    for number, name in enumerate(("anna", "bert", "carl")):
        await before.put(ServiceId(f"{number:032x}"), name, f"secret-{name}")
    await before.passwords.choose_form(f"{1:032x}", CLEAR, actor="user:test")
    after = await Process.serving(database, tmp_path, NT)
    assert await after.passwords.move_all() == 2
    assert await forms(database) == {"anna": NT, "bert": CLEAR, "carl": NT}
    kept = after.password("carl")
    assert isinstance(kept, NtPassword)
    assert kept.digest == nt_hash("secret-carl")
    assert await after.passwords.move_all() == 0
    await before.follower.refresh()
    assert isinstance(before.password("anna"), NtPassword), "the other process has followed"


async def test_a_site_that_wants_more_again_moves_nothing(database: Database, tmp_path: Path) -> None:
    await (await Process.serving(database, tmp_path, NT)).put()
    richer = await Process.serving(database, tmp_path, CLEAR)
    assert await richer.passwords.move_all() == 0
    await richer.put(password="hunter3")
    assert await forms(database) == {"anna": CLEAR}


async def test_a_password_that_must_be_changed_is_refused_until_it_is_another_one(
    database: Database, tmp_path: Path
) -> None:
    process = await Process.serving(database, tmp_path)
    await process.put()
    for _ in range(2):
        await process.passwords.expire(SERVICE, expired=True, actor="user:test")
        found = process.directory.find(b"anna")
        assert found is not None
        assert found.plan.guard is not None
        assert found.plan.guard.expired
        await process.put()
    await process.put(password="hunter3")
    found = process.directory.find(b"anna")
    assert found is not None
    assert found.plan.guard is None


async def test_nothing_of_a_password_stands_in_the_audit_log(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path)
    await process.put()
    await process.passwords.choose_form(SERVICE, NT, actor="user:test")
    async with database.read() as conn:
        entries = [str(dict(row._mapping)) for row in await conn.execute(select(audit.audit))]
    assert any("subscriber.password-form" in entry for entry in entries)
    for entry in entries:
        assert "hunter2" not in entry
        assert nt_hash("hunter2").hex() not in entry.lower()


async def test_a_line_leads_to_its_service_in_every_process(database: Database, tmp_path: Path) -> None:
    ours, theirs = await Process.serving(database, tmp_path), await Process.serving(database, tmp_path)
    await ours.put()
    await ours.lines.put(SERVICE, [ADDRESS, CIRCUIT_4], actor="user:test")
    await theirs.follower.refresh()
    for process in (ours, theirs):
        found = process.directory.holder_of(ADDRESS)
        assert found is not None
        assert found[0] == b"anna"
    assert set(await ours.lines.show(SERVICE)) == {ADDRESS, CIRCUIT_4}
    await ours.lines.put(SERVICE, [CIRCUIT_4], actor="user:test")
    await theirs.follower.refresh()
    assert theirs.directory.holder_of(ADDRESS) is None
    assert theirs.directory.holder_of(CIRCUIT_4) is not None


async def test_a_line_follows_its_service_to_another_user_name(database: Database, tmp_path: Path) -> None:
    ours, theirs = await Process.serving(database, tmp_path), await Process.serving(database, tmp_path)
    await ours.put()
    await ours.lines.put(SERVICE, [ADDRESS], actor="user:test")
    await ours.put(username="anna.new")
    await theirs.follower.refresh()
    for process in (ours, theirs):
        found = process.directory.holder_of(ADDRESS)
        assert found is not None
        assert found[0] == b"anna.new"


async def test_a_withdrawn_service_gives_its_lines_up(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path)
    await process.put()
    await process.put(OTHER, "bert")
    await process.lines.put(SERVICE, [ADDRESS], actor="user:test")
    with pytest.raises(Conflict, match="leads to service"):
        await process.lines.put(OTHER, [ADDRESS], actor="user:test")
    await process.subscribers.withdraw_subscriber(service_id=SERVICE, actor="user:test")
    assert process.directory.holder_of(ADDRESS) is None
    await process.lines.put(OTHER, [ADDRESS], actor="user:test")
    found = process.directory.holder_of(ADDRESS)
    assert found is not None
    assert found[0] == b"bert"


async def test_a_binary_circuit_id_is_kept_octet_by_octet(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path)
    await process.put()
    odd = Line(CIRCUIT, bytes(range(200)))
    await process.lines.put(SERVICE, [odd], actor="user:test")
    assert await process.lines.show(SERVICE) == [odd]
    assert process.directory.holder_of(odd) is not None


async def test_a_service_without_a_login_has_no_lines(database: Database, tmp_path: Path) -> None:
    process = await Process.serving(database, tmp_path)
    with pytest.raises(NotFound):
        await process.lines.put(SERVICE, [ADDRESS], actor="user:test")
    with pytest.raises(NotFound):
        await process.lines.show(SERVICE)
