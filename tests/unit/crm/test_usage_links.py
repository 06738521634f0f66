"""Links by which a customer sees usage: of one account, for a time, until they are withdrawn."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from controller.domain.clock import MovableClock
from controller.domain.errors import RuleError
from controller.domain.identity import AccountId
from controller.store import audit
from controller.store.engine import Database
from erp.crm.errors import NoAccount, NoUsageLink
from erp.crm.model import Contact
from erp.crm.service import CrmService
from erp.crm.tables import usage_link
from erp.crm.usage_link_routes import endpoints
from erp.crm.usage_links import UsageLinks
from tests.support.api import api_client

NOW = datetime(2026, 9, 1, 8, tzinfo=UTC)


async def opened(database: Database) -> tuple[UsageLinks, MovableClock, AccountId, AccountId]:
    """Two customers with an account each."""
    clock = MovableClock(NOW)
    crm = CrmService(database, clock)
    await crm.ensure_entity(
        name="Net GmbH", zone="Europe/Berlin", currency="EUR", locale="de_DE", address="Weg 1", tax_id="DE1"
    )
    made = [await crm.create_customer(Contact(n, "", "", "Allee 2", "de", ""), actor="user:t") for n in ("Ada", "Bo")]
    return UsageLinks(database, clock), clock, made[0].account.account_id, made[1].account.account_id


async def test_a_link_opens_its_own_account_until_it_ends(database: Database) -> None:
    links, clock, ada, bo = await opened(database)
    _, of_ada = await links.make(ada, 30, actor="user:t")
    _, of_bo = await links.make(bo, 31, actor="user:t")
    assert of_ada != of_bo
    assert (await links.account_of(of_ada), await links.account_of(of_bo)) == (ada, bo)
    clock.move_to(NOW + timedelta(days=30))
    with pytest.raises(NoUsageLink):
        await links.account_of(of_ada)
    assert await links.account_of(of_bo) == bo


async def test_what_was_withdrawn_never_existed_and_was_guessed_is_refused_alike(database: Database) -> None:
    links, _, ada, _ = await opened(database)
    made, secret = await links.make(ada, 30, actor="user:t")
    assert (await links.withdraw(made.link_id, actor="user:t")).withdrawn_at == NOW
    told = set()
    for guess in (secret, secrets.token_urlsafe(32), "", made.link_id, secret[:-1]):
        with pytest.raises(NoUsageLink) as refused:
            await links.account_of(guess)
        told.add(str(refused.value))
    assert len(told) == 1
    assert await links.withdraw(made.link_id, actor="user:other") == (await links.links(ada))[0]
    with pytest.raises(NoUsageLink):
        await links.withdraw("f" * 32, actor="user:t")


async def test_of_the_secret_its_digest_alone_is_kept_and_who_did_what_is_told(database: Database) -> None:
    links, _, ada, _ = await opened(database)
    made, secret = await links.make(ada, 30, actor="user:eve")
    await links.withdraw(made.link_id, actor="user:t")
    await links.withdraw(made.link_id, actor="user:t")
    async with database.read() as conn:
        row = (await conn.execute(select(usage_link))).one()
        told = [
            (entry["action"], entry["actor"])
            for action in ("usage-link.make", "usage-link.withdraw")
            for entry in await audit.about(conn, f"account:{ada}", action, limit=10)
        ]
        everything = [str(value) for value in row]
    assert not any(secret in value for value in everything)
    assert told == [("usage-link.make", "user:eve"), ("usage-link.withdraw", "user:t")]


async def test_a_link_is_of_an_account_that_there_is_and_for_days(database: Database) -> None:
    links, _, ada, _ = await opened(database)
    with pytest.raises(NoAccount):
        await links.make(AccountId("e" * 32), 30, actor="user:t")
    for days in (0, 401):
        with pytest.raises(RuleError, match="1 to 400 days"):
            await links.make(ada, days, actor="user:t")


async def test_the_address_is_told_once_to_whoever_may_change_customers(database: Database) -> None:
    links, clock, ada, _ = await opened(database)
    async with api_client(endpoints(links), clock=clock, scopes={"crm:read"}) as api:
        assert (await api.post(f"/accounts/{ada}/usage-links", json={})).status_code == 403
    async with api_client(endpoints(links), clock=clock) as api:
        made = (await api.post(f"/accounts/{ada}/usage-links", json={"days": 7})).json()
        secret = made["path"].removeprefix("/my-usage/")
        assert await links.account_of(secret) == ada
        listed = (await api.get(f"/accounts/{ada}/usage-links")).json()["links"]
        assert [link["link_id"] for link in listed] == [made["link_id"]]
        assert secret not in str(listed)
        assert (await api.post(f"/usage-links/{made['link_id']}/withdraw")).json()["withdrawn_at"] is not None
