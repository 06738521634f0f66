"""A form that changes one thing and then leads back to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.responses import RedirectResponse, Response

from controller.web.office.form import Filled, Form, sent, show
from controller.web.site import Site, Visit, WebPage

Make = Callable[[Visit], Awaitable[Form]]
Apply = Callable[[Visit, Filled], Awaitable[object]]
Begin = Callable[[Visit], Awaitable[Filled | None]]
"""What stands in a fresh form; None leaves it to the form."""


def pages(site: Site, path: str, make: Make, apply: Apply, *, begin: Begin | None = None) -> list[WebPage]:
    """The form at `path`, and `apply` when it was filled in; its refusals are shown beside the fields."""

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await make(visit), await begin(visit) if begin is not None else None)

    async def change(visit: Visit) -> Response:
        form = await make(visit)

        async def send(filled: Filled) -> Response:
            await apply(visit, filled)
            return RedirectResponse(form.back.href, status_code=303)

        return await sent(site, visit, form, send)

    return [WebPage("GET", path, "radius:write", fresh), WebPage("POST", path, "radius:write", change)]
