"""How an endpoint is declared: method, path, scope, models and one handler. Rooms list theirs in `routes.endpoints`.

    Endpoint("GET", "/customers/{customer_id}", scope="crm:read", handler=show, returns=CustomerOut)

The handler is given a `Call` and returns a model, a Page, or a Starlette Response. There is no endpoint without a
scope: `PUBLIC` must be said.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from controller.domain.errors import NotFound
from controller.http import cursor

PUBLIC = "public"
"""The scope of endpoints that need no token, such as /healthz."""

ModelT = TypeVar("ModelT", bound=BaseModel)
RowT = TypeVar("RowT")
KeyT = TypeVar("KeyT", int, str)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. `actor` goes into events and the audit log: "user:anna", "token:demo"."""

    actor: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """A scope is "area:verb"; "area:*" and "*" grant more."""
        return scope == PUBLIC or bool(self.scopes & {scope, scope.split(":")[0] + ":*", "*"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request, already authorised and validated."""

    principal: Principal
    now: datetime
    path: dict[str, str]
    body: BaseModel | None
    query: BaseModel | None
    request: Request

    @property
    def actor(self) -> str:
        return self.principal.actor

    def body_as(self, model: type[ModelT]) -> ModelT:
        return cast(ModelT, self.body)

    def path_int(self, name: str) -> int:
        """A path parameter that is a number, such as a record id. Raises NotFound when it cannot be one."""
        text = self.path[name]
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise NotFound(f"{name} is a number")
        return int(text)

    def query_as(self, model: type[ModelT]) -> ModelT:
        return cast(ModelT, self.query)


class PageQuery(BaseModel):
    """Keyset pagination: `after` is the `next` of the page before."""

    after: str | None = Field(default=None, max_length=400)
    limit: int = Field(default=50, ge=1, le=500)

    model_config = {"extra": "forbid"}

    @property
    def rows(self) -> int:
        """How many rows to ask for: one more than are shown tells whether a page follows."""
        return self.limit + 1

    def last_key(self, *kinds: type) -> tuple[Any, ...] | None:
        """The sort key of the last row of the page before, a value per kind; None for the first page.

        Raises Problem 400 for what is no cursor of this list.
        """
        return None if self.after is None else cursor.decode(self.after, *kinds)

    def last(self, kind: type[KeyT]) -> KeyT | None:
        """The same where the sort key is a single value."""
        return None if self.after is None else cast(KeyT, cursor.decode(self.after, kind)[0])


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: {"items": […], "next": cursor or null}."""

    items: Sequence[BaseModel]
    next: str | None

    @classmethod
    def of(
        cls,
        found: Sequence[RowT],
        query: PageQuery,
        key: Callable[[RowT], tuple[int | str, ...]],
        shape: Callable[[RowT], BaseModel],
    ) -> Page:
        """Of the `query.rows` rows that were asked for: those of this page as `shape` shows them, and the next."""
        shown, following = cursor.cut(found, query.limit, key)
        return cls([shape(row) for row in shown], following)


Result = BaseModel | Page | Response | None
Handler = Callable[[Call], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`path` is below /api/v1. `returns` is the model of the answer, or of one item when `paged`. None means 204."""

    method: str
    path: str
    scope: str
    handler: Handler
    summary: str
    returns: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    status: int = 200
    paged: bool = False
    problems: Sequence[int] = field(default=())
    """Statuses beyond the usual (400, 401, 403, 404, 409, 422) that the handler may answer with problem+json."""
    media_type: str = "application/json"
    also: Sequence[str] = field(default=())
    """Other media types of the answer, where the query chooses among them."""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def may_lack_body(self) -> bool:
        """A POST whose body may say nothing at all can be sent without one, and then without its type."""
        fields = self.body.model_fields.values() if self.body is not None else ()
        return self.method == "POST" and self.body is not None and not any(f.is_required() for f in fields)
