"""Errors as application/problem+json (RFC 9457): one shape for every refusal, and nothing of our internals in it.

    {"type": "urn:headend:problem:not-found", "title": "Not Found", "status": 404, "detail": "no such order",
     "code": "not-found"}

`code` is stable and meant for programs, `detail` for people. A failure of ours (500) tells an `error_id` that stands in
the log beside the traceback, and no more.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Container, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.responses import Response

from controller.domain.errors import (
    Conflict,
    NotFound,
    PeerError,
    PermanentDeviceError,
    RuleError,
    TemporaryDeviceError,
)

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """One thing wrong with the request: `pointer` says where (RFC 6901), `detail` what would be right."""

    pointer: str
    detail: str


class ProblemOut(BaseModel):
    """The body of every error."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    error_id: str | None = None
    errors: list[FieldError] | None = None


class Problem(Exception):
    """Ends a request with this status. Raised by the HTTP layer itself; rooms raise the errors of controller.domain."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code
        self.errors = list(errors)
        self.headers = dict(headers or {})


def respond(problem: Problem, *, error_id: str | None = None) -> Response:
    """The response for a problem."""
    out = ProblemOut(
        type=f"urn:headend:problem:{problem.code}",
        title=title(problem.status),
        status=problem.status,
        code=problem.code,
        detail=problem.detail,
        error_id=error_id,
        errors=problem.errors or None,
    )
    body = json.dumps(out.model_dump(exclude_none=True)).encode()  # ASCII: no surrogate of a caller can break it
    return Response(body, status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def respond_to(error: Exception) -> Response:
    """The response for anything that was raised.

    What is not an error made on purpose is logged: 503 while the database is away, else a bug, and 500.
    """
    problem = from_error(error)
    if problem is not None:
        return respond(problem)
    error_id = log_failure(error)
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
        away = Problem(
            503,
            "The database cannot be used at the moment; the log has the cause under this error_id.",
            code="store-unavailable",
            headers={"Retry-After": "5"},
        )
        return respond(away, error_id=error_id)
    return respond(
        Problem(
            500, "The request failed inside the server; its log has the cause under this error_id.", code="internal"
        ),
        error_id=error_id,
    )


def log_failure(error: Exception) -> str:
    """Log what nobody foresaw; the id under which it stands is all that a caller is told."""
    error_id = secrets.token_hex(8)
    log.error("http.failure", error_id=error_id, exc_info=error)
    return error_id


def from_error(error: Exception) -> Problem | None:
    """What the errors of controller.domain mean in HTTP; None for anything else."""
    match error:
        case Problem():
            return error
        case NotFound():
            return Problem(404, str(error), code=error.code)
        case Conflict():
            return Problem(409, str(error), code=error.code)
        case RuleError():
            return Problem(422, str(error), code=error.code)
        case TemporaryDeviceError():
            return Problem(503, str(error), code="device-unavailable", headers={"Retry-After": "10"})
        case PermanentDeviceError():
            return Problem(502, str(error), code="device-refused")
        case PeerError():
            return Problem(502, str(error), code="peer")
    return None


def invalid(error: ValidationError, *, where: str, document: Any = None) -> Problem:
    """A 422 that names each wrong field of `document`. No value is repeated: one of them may be a secret."""
    errors = [
        FieldError(pointer=_pointer(_within(document, item["loc"])), detail=_words(item))
        for item in error.errors(include_url=False, include_input=False)[:50]
    ]
    return Problem(422, f"The {where} is not valid.", code="invalid", errors=errors)


def _words(item: ErrorDetails) -> str:
    """pydantic counts the characters of a secret as items of a value."""
    context = item.get("ctx", {})
    if context.get("field_type") == "Value" and item["type"] == "too_short":
        return f"should have at least {context['min_length']} characters"
    if context.get("field_type") == "Value" and item["type"] == "too_long":
        return f"should have at most {context['max_length']} characters"
    return item["msg"]


def title(status: int) -> str:
    """The reason phrase of RFC 9110."""
    return HTTPStatus(status).phrase


def _within(document: Any, location: Sequence[int | str]) -> list[int | str]:
    """The location without the names of variants, which pydantic puts among the names of fields."""
    found: list[int | str] = []
    for depth, part in enumerate(location):
        if part in _parts(document):
            document = document[part]
        elif isinstance(document, dict | list) and depth + 1 < len(location):
            continue  # no such field: a variant
        found.append(part)
    return found


def _parts(document: Any) -> Container[int | str]:
    if isinstance(document, list):
        return range(len(document))
    return document if isinstance(document, dict) else ()


def _pointer(location: Sequence[int | str]) -> str:
    return "#" + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)
