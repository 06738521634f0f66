"""Customers over HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from controller.domain.identity import CustomerId
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import Currency, IdText, In, Instant, Name, Out, ShortText
from erp.crm.model import Contact, Customer
from erp.crm.service import CrmService

# Only what every mail address has (RFC 5321 §4.1.2): whether mail arrives is learnt by sending one.
Email = Annotated[str, StringConstraints(pattern=r"^$|^[^@\s]{1,64}@[^@\s]{1,189}$")]


class CustomerIn(In):
    """A new customer; the billing account is made with it, in `currency` or else the legal entity's."""

    name: Name
    email: Email = ""
    phone: Annotated[str, StringConstraints(max_length=40, pattern=r"^[0-9+() ./-]*$")] = ""
    address: ShortText = ""
    language: Annotated[str, StringConstraints(max_length=35, pattern=r"^$|^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] = ""
    tax_id: Annotated[str, StringConstraints(max_length=64)] = ""
    currency: Currency | None = None


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
        return CustomerOut.of(await crm.create_customer(contact, actor=call.actor, currency=body.currency))

    async def index(call: Call) -> Page:
        query = call.query_as(CustomerQuery)
        after = query.last(str)
        found = await crm.customers(after, query.limit + 1, wanted=query.q.strip(), account_ids=query.account_id)
        return Page.of(found, query, lambda customer: (str(customer.customer_id),), CustomerOut.of)

    async def show(call: Call) -> CustomerOut:
        return CustomerOut.of(await crm.customer(CustomerId(call.path["customer_id"])))

    return [
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
