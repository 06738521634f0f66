"""Who the ISP is and whom it serves: legal entities, customers and their billing accounts.

A legal entity fixes the zone in which days are counted, the currency of its books and the language of its papers. A
customer is a party of one entity; a billing account is what invoices are addressed to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from controller.domain.identity import AccountId, CustomerId, EntityId


@dataclass(frozen=True, slots=True)
class Entity:
    """A legal entity of the ISP. `zone` is an IANA name, `locale` such as "de_DE"."""

    entity_id: EntityId
    name: str
    zone: str
    currency: str
    locale: str
    address: str
    tax_id: str

    @property
    def zone_info(self) -> ZoneInfo:
        return ZoneInfo(self.zone)


@dataclass(frozen=True, slots=True)
class Contact:
    """What is known of a party. Empty text means not told; `language` is a BCP 47 tag."""

    name: str
    email: str = ""
    phone: str = ""
    address: str = ""
    language: str = ""
    tax_id: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """A billing account: everything on it is in `currency`, its days are counted in `zone`."""

    account_id: AccountId
    customer_id: CustomerId
    entity_id: EntityId
    currency: str
    zone: str

    @property
    def zone_info(self) -> ZoneInfo:
        return ZoneInfo(self.zone)


@dataclass(frozen=True, slots=True)
class Customer:
    customer_id: CustomerId
    entity_id: EntityId
    account: Account
    contact: Contact
    created_at: datetime
