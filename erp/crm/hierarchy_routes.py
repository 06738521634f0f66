"""Which account belongs to which, over HTTP."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field, StringConstraints

from controller.domain.identity import AccountId
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, Out
from erp.crm.hierarchy import Child, HierarchyService, Relation

Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(2199, 12, 31))]


class ParentIn(In):
    """Null `parent_id` ends it. From the day `since`, today if absent; what was billed before stays as it was.

    `heading` stands above its lines on the parent's document, by default its customer's name. With
    `blocked_with_parent` arrears of the parent may cut it off.
    """

    parent_id: IdText | None
    since: Day | None = None
    billed_to_parent: bool = True
    heading: Annotated[str, StringConstraints(max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    blocked_with_parent: bool = False


class RelationOut(Out):
    account_id: str
    since: date
    parent_id: str | None
    billed_to_parent: bool
    heading: str
    blocked_with_parent: bool
    changed_at: Instant
    changed_by: str

    @classmethod
    def of(cls, found: Relation) -> RelationOut:
        return cls(**{name: getattr(found, name) for name in Relation.__slots__})


class RelationsOut(Out):
    """Oldest first; of those that have begun the last one holds."""

    relations: list[RelationOut]


class ChildrenQuery(PageQuery):
    """`on` is today if absent."""

    on: Day | None = None


class ChildOut(Out):
    account_id: str
    customer_id: str
    name: str
    since: date
    billed_to_parent: bool
    heading: str
    blocked_with_parent: bool

    @classmethod
    def of(cls, found: Child) -> ChildOut:
        r = found.relation
        return cls(
            account_id=r.account_id,
            customer_id=found.customer_id,
            name=found.name,
            since=r.since,
            billed_to_parent=r.billed_to_parent,
            heading=r.heading,
            blocked_with_parent=r.blocked_with_parent,
        )


def endpoints(hierarchy: HierarchyService) -> list[Endpoint]:
    async def put(call: Call) -> RelationOut:
        body = call.body_as(ParentIn)
        made = await hierarchy.set_parent(
            AccountId(call.path["account_id"]),
            AccountId(body.parent_id) if body.parent_id else None,
            since=body.since,
            billed_to_parent=body.billed_to_parent,
            heading=body.heading,
            blocked_with_parent=body.blocked_with_parent,
            actor=call.actor,
        )
        return RelationOut.of(made)

    async def relations(call: Call) -> RelationsOut:
        found = await hierarchy.relations(AccountId(call.path["account_id"]))
        return RelationsOut(relations=[RelationOut.of(each) for each in found])

    async def children(call: Call) -> Page:
        query = call.query_as(ChildrenQuery)
        found = await hierarchy.children(
            AccountId(call.path["account_id"]), query.on, after=query.last(str), limit=query.limit + 1
        )
        return Page.of(found, query, lambda c: (str(c.relation.account_id),), ChildOut.of)

    return [
        Endpoint(
            "PUT",
            "/accounts/{account_id}/parent",
            scope="crm:write",
            handler=put,
            summary="Let an account belong to another from a day on, and say who pays",
            body=ParentIn,
            returns=RelationOut,
        ),
        Endpoint(
            "GET",
            "/accounts/{account_id}/parent",
            scope="crm:read",
            handler=relations,
            summary="To whom an account belonged, belongs and will belong",
            returns=RelationsOut,
        ),
        Endpoint(
            "GET",
            "/accounts/{account_id}/children",
            scope="crm:read",
            handler=children,
            summary="Accounts that belong to an account on a day",
            query=ChildrenQuery,
            returns=ChildOut,
            paged=True,
        ),
    ]
