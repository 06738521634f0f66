"""Contracts over HTTP: until when somebody is bound, and what leaving on a day would cost."""

from __future__ import annotations

from datetime import date

from controller.domain.identity import AccountId, ItemId, SubscriptionId
from controller.domain.price_text import contract_words
from controller.http.endpoint import Call, Endpoint
from controller.http.models import In, MoneyOut, Out
from erp.orders.contracts import ContractService, Standing
from erp.orders.item_routes import Day

_MOST = 100
"""Lines, and items, of an account whose contracts are told at once."""


class ContractQuery(In):
    """`on` is the first day without the service, today if absent."""

    on: Day | None = None


class ContractOut(Out):
    """`ends_on` is the first free day, `notice_on` the last to give notice; null when open-ended. `fee` is net."""

    version_id: str
    terms: str
    on: date
    begun_on: date
    renewals: int
    ends_on: date | None
    notice_on: date | None
    remind_on: date | None
    fee: MoneyOut
    months_served: int
    months_remaining: int
    steps: list[str]

    @classmethod
    def of(cls, found: Standing) -> ContractOut:
        contract = found.tariff.plan.contract
        assert contract is not None
        return cls(
            version_id=found.tariff.version_id,
            terms=contract_words(contract),
            on=found.on,
            begun_on=found.bound.begun_on,
            renewals=found.bound.renewals,
            ends_on=found.bound.ends_on,
            notice_on=found.bound.notice_on,
            remind_on=found.bound.remind_on,
            fee=MoneyOut.of(found.fee.amount),
            months_served=found.fee.months_served,
            months_remaining=found.fee.months_remaining,
            steps=list(found.fee.steps),
        )


class HeldContractOut(ContractOut):
    """`held_id` is the subscription or the item."""

    held_id: str


class AccountContractsOut(Out):
    contracts: list[HeldContractOut]


def endpoints(contracts: ContractService) -> list[Endpoint]:
    async def of_subscription(call: Call) -> ContractOut:
        on = call.query_as(ContractQuery).on
        return ContractOut.of(await contracts.of_subscription(SubscriptionId(call.path["subscription_id"]), on))

    async def of_item(call: Call) -> ContractOut:
        on = call.query_as(ContractQuery).on
        return ContractOut.of(await contracts.of_item(ItemId(call.path["item_id"]), on))

    async def of_account(call: Call) -> AccountContractsOut:
        found = await contracts.of_account(AccountId(call.path["account_id"]), _MOST)
        rows = [HeldContractOut(held_id=key, **dict(ContractOut.of(standing))) for key, standing in found.items()]
        return AccountContractsOut(contracts=rows)

    return [
        Endpoint(
            "GET",
            "/accounts/{account_id}/contracts",
            scope="orders:read",
            handler=of_account,
            summary="What binds an account today: its first 100 lines and items each, and what leaving them would cost",
            returns=AccountContractsOut,
        ),
        Endpoint(
            "GET",
            "/subscriptions/{subscription_id}/contract",
            scope="orders:read",
            handler=of_subscription,
            summary="Until when the customer is bound to a line, and what leaving on a day would cost",
            query=ContractQuery,
            returns=ContractOut,
        ),
        Endpoint(
            "GET",
            "/items/{item_id}/contract",
            scope="orders:read",
            handler=of_item,
            summary="Until when the customer is bound to an item, and what leaving on a day would cost",
            query=ContractQuery,
            returns=ContractOut,
        ),
    ]
