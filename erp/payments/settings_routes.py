"""What a legal entity decides about its payments, over HTTP."""

from __future__ import annotations

from controller.http.endpoint import Call, Endpoint
from controller.http.models import In, Out
from erp.finance.books_answers import EntityQuery
from erp.payments.entity_settings import Decided, EntitySettings


class PaymentSettingsIn(In):
    """`claim_return_fee`: what a bank takes for a returned direct debit is claimed from who was to pay it."""

    claim_return_fee: bool


class PaymentSettingsOut(Out):
    entity_id: str
    claim_return_fee: bool

    @classmethod
    def of(cls, found: Decided) -> PaymentSettingsOut:
        return cls(entity_id=found.entity_id, claim_return_fee=found.claim_return_fee)


def endpoints(settings: EntitySettings) -> list[Endpoint]:
    async def show(call: Call) -> PaymentSettingsOut:
        return PaymentSettingsOut.of(await settings.of(call.query_as(EntityQuery).entity))

    async def put(call: Call) -> PaymentSettingsOut:
        claim = call.body_as(PaymentSettingsIn).claim_return_fee
        entity_id = call.query_as(EntityQuery).entity
        return PaymentSettingsOut.of(await settings.put(entity_id, claim_return_fee=claim, actor=call.actor))

    return [
        Endpoint(
            "GET",
            "/payment-settings",
            scope="finance:read",
            handler=show,
            summary="What a legal entity has decided about its payments",
            query=EntityQuery,
            returns=PaymentSettingsOut,
        ),
        Endpoint(
            "PUT",
            "/payment-settings",
            scope="finance:write",
            handler=put,
            summary="Decide about the payments of a legal entity",
            query=EntityQuery,
            body=PaymentSettingsIn,
            returns=PaymentSettingsOut,
        ),
    ]
