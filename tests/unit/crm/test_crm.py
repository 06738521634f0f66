from datetime import UTC, datetime

import pytest

from controller.domain.clock import MovableClock
from controller.domain.events import CustomerCreated
from controller.store import outbox
from controller.store.engine import Database
from erp.crm.errors import FixedZone, NoAccount, NoCustomer, NoEntity, NoZone, OtherZone
from erp.crm.model import Contact
from erp.crm.routes import endpoints
from erp.crm.service import CrmService
from tests.support.api import api_client

NOW = datetime(2026, 9, 1, 8, tzinfo=UTC)
ENTITY = {
    "name": "Net GmbH",
    "zone": "Europe/Berlin",
    "currency": "EUR",
    "locale": "de_DE",
    "address": "Weg 1",
    "tax_id": "DE1",
}


def crm_on(database: Database) -> CrmService:
    return CrmService(database, MovableClock(NOW))


async def test_the_default_entity_is_made_once_and_later_settings_do_not_change_it(database: Database) -> None:
    crm = crm_on(database)
    with pytest.raises(NoEntity):
        await crm.entity()
    first = await crm.ensure_entity(**ENTITY)
    assert await crm.ensure_entity(**{**ENTITY, "name": "Another", "currency": "CHF"}) == first
    with pytest.raises(OtherZone, match="HEADEND_ENTITY_ZONE says Pacific/Auckland: set it to Europe/Berlin"):
        await crm.ensure_entity(**{**ENTITY, "zone": "Pacific/Auckland"})
    assert await crm.entity() == first
    assert first.zone_info.key == "Europe/Berlin"


async def test_a_customer_has_one_account_in_the_currency_and_zone_of_its_entity(database: Database) -> None:
    crm = crm_on(database)
    entity = await crm.ensure_entity(**ENTITY)
    contact = Contact("Anna Muster", "anna@example.net", "+49 30 1", "Allee 2", "de", "")
    made = await crm.create_customer(contact, actor="user:t")
    assert (made.account.currency, made.account.zone) == ("EUR", "Europe/Berlin")
    assert await crm.customer(made.customer_id) == made
    assert await crm.customer_of(made.account.account_id) == made
    assert made.entity_id == entity.entity_id
    async with database.read() as conn:
        (delivery,) = await outbox.pending(conn, "s", ["customer.created"], 10)
    event = delivery.event
    assert isinstance(event, CustomerCreated)
    assert (event.account_id, event.display_name) == (made.account.account_id, "Anna Muster")


async def test_the_zone_of_an_account_is_said_when_it_is_opened_and_never_again(database: Database) -> None:
    crm = crm_on(database)
    await crm.ensure_entity(**ENTITY)
    made = await crm.create_customer(Contact("Sina Tuiasosopo"), actor="user:t", zone="Pacific/Apia")
    account = made.account
    assert (await crm.customer_of(account.account_id)).account.zone_info.key == "Pacific/Apia"
    async with database.read() as conn:
        (delivery,) = await outbox.pending(conn, "s", ["customer.created"], 10)
    assert isinstance(delivery.event, CustomerCreated)
    assert delivery.event.zone == "Pacific/Apia"
    assert await crm.require_zone(account.account_id, "Pacific/Apia") == made
    with pytest.raises(FixedZone, match="Open another account in Europe/Berlin"):
        await crm.require_zone(account.account_id, "Europe/Berlin")
    with pytest.raises(NoZone, match="'Europe/Atlantis' is no IANA time zone"):
        await crm.require_zone(account.account_id, "Europe/Atlantis")


async def test_another_zone_is_refused_over_the_api_with_words_that_say_what_to_do(database: Database) -> None:
    crm = crm_on(database)
    await crm.ensure_entity(**ENTITY)
    async with api_client(endpoints(crm)) as api:
        answer = await api.post("/customers", json={"name": "Sina Tuiasosopo", "zone": "Pacific/Apia"})
        made = answer.json()
        assert (answer.status_code, made["zone"]) == (201, "Pacific/Apia")
        where = f"/accounts/{made['account_id']}/zone"
        assert (await api.put(where, json={"zone": "Pacific/Apia"})).status_code == 200
        refused = await api.put(where, json={"zone": "Europe/Berlin"})
        assert refused.status_code == 422
        assert "Open another account in Europe/Berlin" in refused.json()["detail"]
        unknown = await api.post("/customers", json={"name": "Nobody", "zone": "Mars/Base"})
        assert "is no IANA time zone" in unknown.json()["detail"]


async def test_customers_are_listed_in_order_of_creation(database: Database) -> None:
    clock = MovableClock(NOW)
    crm = CrmService(database, clock)
    await crm.ensure_entity(**ENTITY)
    made = []
    for minute in range(3):
        clock.move_to(NOW.replace(minute=minute))
        made.append(await crm.create_customer(Contact(f"c{minute}"), actor="user:t"))
    assert list(await crm.customers(None, 10)) == made
    assert list(await crm.customers(made[0].customer_id, 1)) == made[1:2]


async def test_unknown_ids_are_named(database: Database) -> None:
    crm = crm_on(database)
    with pytest.raises(NoCustomer, match="nobody"):
        await crm.customer("nobody")  # type: ignore[arg-type]
    with pytest.raises(NoAccount, match="nothing"):
        await crm.customer_of("nothing")  # type: ignore[arg-type]


async def test_customers_are_found_by_part_of_name_mail_or_address_and_by_account(database: Database) -> None:
    crm = crm_on(database)
    await crm.ensure_entity(**ENTITY)
    ada = await crm.create_customer(Contact("Ada 100% Lovelace", "ada@x.example", address="Ring 1"), actor="user:a")
    bob = await crm.create_customer(Contact("Bob", "bob@y.example", address="Marktplatz 2"), actor="user:a")

    async def found(wanted: str, *account_ids: str) -> list[str]:
        return [c.contact.name for c in await crm.customers(None, 10, wanted=wanted, account_ids=account_ids)]

    assert await found("LOVE") == [ada.contact.name]
    assert await found("y.example") == ["Bob"]
    assert await found("marktplatz") == ["Bob"]
    assert await found("100%") == [ada.contact.name]
    assert await found("_") == []
    assert await found("", bob.account.account_id) == ["Bob"]
    assert await found("ada", bob.account.account_id) == []
