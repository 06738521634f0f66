"""Customers over HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from controller.domain.identity import AccountId, CustomerId, EntityId
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import Currency, IdText, In, Instant, Name, Out, ShortText
from erp.crm.model import Contact, Customer
from erp.crm.service import CrmService

# Only what every mail address has (RFC 5321 §4.1.2): whether mail arrives is learnt by sending one.
Email = Annotated[str, StringConstraints(pattern=r"^$|^[^@\s]{1,64}@[^@\s]{1,189}$")]

ZoneName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9+_/-]+$")]


class CustomerIn(In):
    """A new customer of a legal entity, by default the first; the billing account is made with it.

    That is in `currency` and `zone` (an IANA name such as Pacific/Apia), or else the entity's. By the days of its zone
    the account is billed; it never changes.
    """

    name: Name
    email: Email = ""
    phone: Annotated[str, StringConstraints(max_length=40, pattern=r"^[0-9+() ./-]*$")] = ""
    address: ShortText = ""
    language: Annotated[str, StringConstraints(max_length=35, pattern=r"^$|^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] = ""
    tax_id: Annotated[str, StringConstraints(max_length=64)] = ""
    currency: Currency | None = None
    entity_id: IdText | None = None
    zone: ZoneName | None = None


class ZoneIn(In):
    """In which zone the days of an account are counted."""

    zone: ZoneName


class CustomerQuery(PageQuery):
    """`q` is part of a name, an e-mail or an address; `account_id` may be repeated."""

    q: Annotated[str, Field(max_length=120)] = ""
    account_id: Annotated[tuple[IdText, ...], Field(max_length=500)] = ()


class CustomerOut(Out):
    customer_id: str
    account_id: str
    entity_id: str
    name: str
    email: str
    phone: str
    address: str
    language: str
    tax_id: str
    currency: str
    zone: str
    created_at: Instant

    @classmethod
    def of(cls, customer: Customer) -> CustomerOut:
        contact, account = customer.contact, customer.account
        return cls(
            customer_id=customer.customer_id,
            account_id=account.account_id,
            entity_id=customer.entity_id,
            name=contact.name,
            email=contact.email,
            phone=contact.phone,
            address=contact.address,
            language=contact.language,
            tax_id=contact.tax_id,
            currency=account.currency,
            zone=account.zone,
            created_at=customer.created_at,
        )


def endpoints(crm: CrmService) -> list[Endpoint]:
    async def create(call: Call) -> CustomerOut:
        body = call.body_as(CustomerIn)
        contact = Contact(body.name, body.email, body.phone, body.address, body.language, body.tax_id)
        whose = EntityId(body.entity_id) if body.entity_id else None
        made = await crm.create_customer(
            contact, actor=call.actor, entity_id=whose, currency=body.currency, zone=body.zone
        )
        return CustomerOut.of(made)

    async def index(call: Call) -> Page:
        query = call.query_as(CustomerQuery)
        after = query.last(str)
        found = await crm.customers(after, query.limit + 1, wanted=query.q.strip(), account_ids=query.account_id)
        return Page.of(found, query, lambda customer: (str(customer.customer_id),), CustomerOut.of)

    async def show(call: Call) -> CustomerOut:
        return CustomerOut.of(await crm.customer(CustomerId(call.path["customer_id"])))

    async def zone(call: Call) -> CustomerOut:
        body = call.body_as(ZoneIn)
        return CustomerOut.of(await crm.require_zone(AccountId(call.path["account_id"]), body.zone))

    return [
        Endpoint(
            "PUT",
            "/accounts/{account_id}/zone",
            scope="crm:write",
            handler=zone,
            summary="Nothing where it is the account's zone; any other is refused, for days would be billed twice",
            body=ZoneIn,
            returns=CustomerOut,
        ),
        Endpoint(
            "POST",
            "/customers",
            scope="crm:write",
            handler=create,
            summary="Create a customer and its billing account",
            body=CustomerIn,
            returns=CustomerOut,
            status=201,
        ),
        Endpoint(
            "GET",
            "/customers",
            scope="crm:read",
            handler=index,
            summary="Customers in order of creation",
            query=CustomerQuery,
            returns=CustomerOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/customers/{customer_id}",
            scope="crm:read",
            handler=show,
            summary="One customer",
            returns=CustomerOut,
        ),
    ]
